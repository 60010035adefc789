//! The keys under which steps are kept: what a step stands on, what it says, and what it takes in.
//!
//! Pure. Two steps with one key make the same, as far as a builder can know: what a command fetches from elsewhere is no part of it.

pub(super) mod export;
mod format;
pub(super) mod history;
pub(super) mod import;

pub(super) use format::STEPS;

use super::state::{Copy, Run};
use crate::chmod::Chmod;
use crate::cli::NetworkChoice;
use crate::network::dns::HostEntry;
use bundle::digest::Digest;
use serde_json::{Value, json};

/// Raised when the same step makes something else than before.
const FORM: u32 = 3;

/// The build argument that asks BuildKit for what `--cache-to type=inline` asks for.
pub(super) const INLINE_CACHE: &str = "BUILDKIT_INLINE_CACHE";

/// What a command finds when it reaches out.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Surroundings<'a> {
    /// What it is connected to, if that was said.
    pub(super) network: Option<&'a NetworkChoice>,
    /// `--add-host`
    pub(super) hosts: &'a [HostEntry],
}

/// Of RUN. Proxies that nothing declares change nothing about what a command does. `files` are the digests of what it has bound.
pub(super) fn of_run(
    document: &Value,
    run: &Run,
    around: Surroundings<'_>,
    files: &[Digest],
    epoch: Option<i64>,
) -> Digest {
    let args: Vec<_> = run.args.iter().collect();
    let mounts: Vec<&str> = run.mounts.iter().map(|mount| mount.text.as_str()).collect();
    let files: Vec<&str> = files.iter().map(Digest::as_str).collect();
    let script = run.script.as_ref().map(|script| [&script.name, &script.text]);
    let network = around
        .network
        .map(|choice| json!({"mode": choice.mode.to_string(), "wishes": choice.wishes}));
    let step = json!({
        "run": run.words, "args": args, "mounts": mounts, "files": files, "script": script,
        "insecure": run.insecure, "network": network, "hosts": around.hosts,
    });
    key(document, epoch, &step)
}

/// Of COPY and ADD. `sources` are the digests of what is copied; `kept` says that it keeps its owners.
pub(super) fn of_copy(
    document: &Value,
    copy: &Copy,
    sources: &[Digest],
    kept: bool,
    epoch: Option<i64>,
) -> Digest {
    let sources: Vec<&str> = sources.iter().map(Digest::as_str).collect();
    key(
        document,
        epoch,
        &json!({
            "copy": sources, "target": copy.target, "owner": copy.owner,
            "mode": copy.mode.as_ref().map(Chmod::text), "parents": copy.parents,
            "unpack": copy.unpack, "kept": kept,
        }),
    )
}

/// Of a directory that is to be there.
pub(super) fn of_directory(document: &Value, path: &str, epoch: Option<i64>) -> Digest {
    key(document, epoch, &json!({"directory": path}))
}

/// The document has the layers below in it, and how they came about; `epoch` is the time that everything is to have.
fn key(document: &Value, epoch: Option<i64>, step: &Value) -> Digest {
    let on = Digest::of(document.to_string().as_bytes());
    Digest::of(
        json!({"form": FORM, "on": on.as_str(), "epoch": epoch, "step": step})
            .to_string()
            .as_bytes(),
    )
}

#[cfg(test)]
mod tests {
    use super::super::mount::parse;
    use super::super::state::{Script, Unpack};
    use super::*;
    use std::collections::BTreeMap;

    fn run(word: &str, args: &[(&str, &str)]) -> Run {
        let args = args.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Run {
            words: vec![word.to_owned()],
            is_shell: false,
            args: args.collect(),
            proxies: BTreeMap::new(),
            network: None,
            mounts: Vec::new(),
            script: None,
            insecure: false,
        }
    }

    #[test]
    fn a_key_changes_with_all_that_a_step_depends_on() {
        let base = json!({"config": {}});
        let alone = Surroundings::default();
        let of = |run: &Run| of_run(&base, run, alone, &[], None);
        let first_run = run("a", &[("X", "1")]);
        let first = of(&first_run);
        let proxies = BTreeMap::from([("http_proxy".to_owned(), "p".to_owned())]);
        assert_eq!(of(&Run { proxies, ..first_run.clone() }), first);
        let script = Script { name: String::new(), text: "#!".to_owned() };
        let (network, hosts) = ("none".parse().unwrap(), ["foo:1.2.3.4".parse().unwrap()]);
        let mounts = |text| vec![parse(text, "/", 0).unwrap()];
        let other = json!({"config": {"Env": ["A=1"]}});
        for other in [
            of(&run("b", &[("X", "1")])),
            of(&run("a", &[("X", "2")])),
            // One that is declared is an argument like any other.
            of(&run("a", &[("X", "1"), ("http_proxy", "p")])),
            of(&Run { insecure: true, ..first_run.clone() }),
            of(&Run { mounts: mounts("type=tmpfs,target=/t"), ..first_run.clone() }),
            of(&Run { script: Some(script), ..first_run.clone() }),
            of_run(&other, &first_run, alone, &[], None),
            of_directory(&base, "/a", None),
            of_run(&base, &first_run, alone, &[], Some(1)),
            of_run(&base, &first_run, alone, &[Digest::of(b"file")], None),
            of_run(&base, &first_run, Surroundings { network: Some(&network), ..alone }, &[], None),
            of_run(&base, &first_run, Surroundings { hosts: &hosts, ..alone }, &[], None),
        ] {
            assert_ne!(other, first);
        }
        let copy = Copy { target: "/x".to_owned(), ..Copy::nothing(Unpack::Never) };
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        let first = of_copy(&base, &copy, std::slice::from_ref(&one), false, None);
        let owned = Copy { owner: Some("1".to_owned()), ..copy.clone() };
        let unpacked = Copy { unpack: Unpack::All, ..copy.clone() };
        let moded = Copy { mode: Some(Chmod::parse("u+x").unwrap()), ..copy.clone() };
        let with_parents = Copy { parents: true, ..copy.clone() };
        let elsewhere = Copy { target: "/y".to_owned(), ..copy.clone() };
        for other in [
            of_copy(&base, &copy, std::slice::from_ref(&two), false, None),
            of_copy(&base, &copy, std::slice::from_ref(&one), true, None),
            of_copy(&base, &owned, std::slice::from_ref(&one), false, None),
            of_copy(&base, &unpacked, std::slice::from_ref(&one), false, None),
            of_copy(&base, &moded, std::slice::from_ref(&one), false, None),
            of_copy(&base, &with_parents, std::slice::from_ref(&one), false, None),
            of_copy(&base, &elsewhere, std::slice::from_ref(&one), false, None),
            of_copy(&base, &copy, std::slice::from_ref(&one), false, Some(1)),
            of_copy(&other, &copy, std::slice::from_ref(&one), false, None),
        ] {
            assert_ne!(other, first);
        }
    }
}
