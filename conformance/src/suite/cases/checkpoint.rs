//! `checkpoint` and `restore`, where criu works on this kernel.

use std::fs;

use tempfile::TempDir;

use crate::fixture::{BundleDir, Capture, cgroups, find_tool};
use crate::suite::case::{Finding, Known, Topic, Verdict, contract, crun, runc};
use crate::suite::expect::{has, holds, same};
use crate::suite::live::Live;
use crate::suite::trial::{Trial, exits, fails, succeeded};

/// Counts in a file of the root file system, so that it shows whether it goes on where it was.
const COUNTER: &str =
    "exec </dev/null >/dev/null 2>&1; while :; do i=$((i+1)); echo $i >/count; sleep 0.05; done";

const CRUN_WITHOUT_CRIU: Known = crun("Debian builds it without criu");

pub(super) const CHECKPOINT: Topic = Topic {
    name: "checkpoint",
    title: "containers that are written to disk and go on later",
    section: "docs/checkpoint.md",
    cases: &[
        contract("a container goes on where it was", |t| {
            let bundle = counter(t)?;
            let live = counting(t, &bundle)?;
            let images = t.directory();
            checkpoint(t, &live, &images, &[])?;
            let gone = t.call(["state", live.id()])?;
            fails("no container after `checkpoint`", &gone)?;
            let left = cgroups::named(live.id());
            holds(left.is_empty(), "no cgroup after `checkpoint`", &left)?;
            // One that began anew would take as long again to come to this number.
            let before = count(&bundle);
            fs::write(bundle.rootfs().join("count"), "0").expect("write a file");
            restore(t, &bundle, live.id(), &images, &[])?;
            same("status", "running", live.status()?.as_str())?;
            let next = t.wait_for("a new number", || match count(&bundle) {
                0 => Err("none".to_owned()),
                number => Ok(number),
            })?;
            holds(next > before, &format!("a number above {before}"), &next)?;
            live.exec(&["true"]).map(drop)
        })
        .known(&[CRUN_WITHOUT_CRIU]),
        contract("--leave-running writes a container that goes on", |t| {
            let bundle = counter(t)?;
            let live = counting(t, &bundle)?;
            checkpoint(t, &live, &t.directory(), &["--leave-running"])?;
            same("status", "running", live.status()?.as_str())?;
            counts_beyond(t, &bundle, count(&bundle))
        })
        .known(&[CRUN_WITHOUT_CRIU]),
        contract("what was written is restored under another id", |t| {
            let bundle = counter(t)?;
            let live = counting(t, &bundle)?;
            let images = t.directory();
            checkpoint(t, &live, &images, &[])?;
            let other = t.new_id();
            restore(t, &bundle, &other, &images, &[])?;
            has(&exits(t.call(["state", &other])?, 0)?.json(), "/status", "running")?;
            counts_beyond(t, &bundle, count(&bundle))
        })
        .known(&[runc("leaves the cgroup of the first behind"), CRUN_WITHOUT_CRIU]),
        contract("restore writes the pid file", |t| {
            let bundle = counter(t)?;
            let live = counting(t, &bundle)?;
            let images = t.directory();
            checkpoint(t, &live, &images, &[])?;
            let file = images.path().join("pid");
            let options = ["--pid-file", &file.display().to_string()];
            restore(t, &bundle, live.id(), &images, &options)?;
            let text = fs::read_to_string(file).unwrap_or_default();
            same("the pid file", live.pid()?.as_raw_nonzero().to_string().as_str(), text.as_str())
        })
        .known(&[CRUN_WITHOUT_CRIU]),
        contract("images that are not there are an error, and no container is left", |t| {
            let (bundle, id) = (counter(t)?, t.new_id());
            let images = t.directory();
            let output = try_restore(t, &bundle, &id, &images, &[])?;
            fails("a failure", &output)?;
            let state = t.call(["state", &id])?;
            fails("no container", &state)
        }),
        contract("a container that is only created cannot be checkpointed", |t| {
            let bundle = counter(t)?;
            let live = t.create(&bundle)?;
            let images = t.directory().path().display().to_string();
            let output = t.call(["checkpoint", "--image-path", &images, live.id()])?;
            fails("a failure", &output)?;
            same("status", "created", live.status()?.as_str())
        }),
    ],
};

/// A bundle that counts; the case says nothing where criu does not work.
fn counter(trial: &Trial) -> Result<BundleDir, Finding> {
    if find_tool("criu").is_none() {
        return Err(Finding::skip("the host has no criu"));
    }
    let check = Capture::of("criu").args(["check"]).run();
    if !check.success() {
        let text = check.stderr() + &check.stdout();
        let first = text.lines().find(|line| line.contains("Error")).unwrap_or_default();
        return Err(Finding::skip(format!("criu does not work here: {first}")));
    }
    Ok(trial.bundle().shell(COUNTER))
}

/// Starts it and waits until it counts.
fn counting<'t>(trial: &'t Trial, bundle: &'t BundleDir) -> Result<Live<'t>, Finding> {
    let live = trial.start(bundle)?;
    counts_beyond(trial, bundle, 3)?;
    Ok(live)
}

fn count(bundle: &BundleDir) -> u64 {
    let text = fs::read_to_string(bundle.rootfs().join("count")).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

fn counts_beyond(trial: &Trial, bundle: &BundleDir, least: u64) -> Verdict {
    trial.wait_for(&format!("a number above {least}"), || match count(bundle) {
        number if number > least => Ok(()),
        number => Err(number.to_string()),
    })
}

fn checkpoint(trial: &Trial, live: &Live, images: &TempDir, options: &[&str]) -> Verdict {
    let path = images.path().display().to_string();
    let words = [&["checkpoint", "--image-path", &path], options, &[live.id()]].concat();
    trial.call_ok(words).map(drop)
}

fn restore(
    trial: &Trial,
    bundle: &BundleDir,
    id: &str,
    images: &TempDir,
    options: &[&str],
) -> Verdict {
    succeeded(try_restore(trial, bundle, id, images, options)?).map(drop)
}

fn try_restore(
    trial: &Trial,
    bundle: &BundleDir,
    id: &str,
    images: &TempDir,
    options: &[&str],
) -> Result<crate::fixture::Output, Finding> {
    let path = images.path().display().to_string();
    let options = [&["--detach", "--image-path", &path], options].concat();
    trial.finish_call(trial.runtime().bundle_call("restore", bundle, options, id))
}
