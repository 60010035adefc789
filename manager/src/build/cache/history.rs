//! Steps by the history of an image that nobody has put steps into, as the classic builder takes them.
//!
//! A history has the text of each instruction, of RUN also the arguments that it was given, and the layers say what came of it. That is all that
//! a command depends on, as far as a builder can know. Which files a COPY has copied, and what a variable of the Dockerfile stood for elsewhere,
//! no history says: what is copied is copied anew, and what comes behind it is found if that has made the same layer. Pure.

use super::Surroundings;
use super::format::{Found, HISTORY, LAYERS, list, put_together};
use crate::build::state::Run;
use oci_spec::image::ImageManifest;
use serde_json::Value;

/// What BuildKit writes behind each instruction.
const BUILDKIT: &str = " # buildkit";

/// A step of which a history would tell all.
#[derive(Clone, Copy, Debug)]
pub(in crate::build) struct Told<'a> {
    /// The configuration that it stands on, with its own part in it.
    pub(in crate::build) document: &'a Value,
    /// How many entries of its history are those of the image that the stage begins with.
    pub(in crate::build) base: usize,
    /// What the history says of the step.
    pub(in crate::build) by: &'a str,
}

/// Whether a history would tell all of a command: nothing is mounted for it, nothing is special about how it is run, and the words that call a
/// shell are not others than they look like side by side.
pub(in crate::build) fn tells_of(run: &Run) -> bool {
    let is_word = |word: &String| !word.is_empty() && !word.contains(char::is_whitespace);
    // What a shell gets is one word, whatever is in it; and words without one stand in a list.
    let words = if run.is_shell { run.words.len() - 1 } else { 0 };
    run.mounts.is_empty()
        && run.script.is_none()
        && run.network.is_none()
        && !run.insecure
        && run.words[..words].iter().all(is_word)
}

/// RUN as the history has it: with what it was run among, the arguments that it was given, and the command as it was called. What another builder
/// would not write there makes a step of an image of ours another one, so that nobody takes it for one that was run without. Words that no shell
/// gets are a list in JSON: side by side, `["touch", "a b"]` would look like `["touch", "a", "b"]`, and `["/bin/sh", "-c", "a", "b"]` like what a
/// shell gets as one word.
pub(in crate::build) fn spelled(run: &Run, around: Surroundings<'_>) -> String {
    let mut words = vec!["RUN".to_owned()];
    words.extend(run.mounts.iter().map(|mount| format!("--mount={}", mount.text)));
    words.extend(around.network.map(|network| format!("--network={}", network.mode)));
    words.extend(around.hosts.iter().map(|host| format!("--add-host={host}")));
    words.extend(run.insecure.then(|| "--security=insecure".to_owned()));
    if !run.args.is_empty() {
        words.push(format!("|{}", run.args.len()));
    }
    words.extend(run.args.iter().map(|(name, value)| format!("{name}={value}")));
    match run.is_shell || run.script.is_some() {
        true => words.extend(run.words.iter().cloned()),
        false => words.push(Value::from(run.words.as_slice()).to_string()),
    }
    words.join(" ")
}

/// The step in an image, by the image's configuration and manifest.
pub(super) fn find(told: Told<'_>, image: &Value, manifest: &ImageManifest) -> Option<Found> {
    let (own, layers) = (list(told.document, HISTORY)?, list(told.document, LAYERS)?);
    let (all, all_layers) = (list(image, HISTORY)?, list(image, LAYERS)?);
    let is_same = |(own, other): (&Value, &Value)| {
        text(own) == text(other) && is_empty(own) == is_empty(other)
    };
    let next = all.get(own.len())?;
    // Two images of the same layers may be configured differently: what has made them does not say all, but says when.
    let is_same_base = own.get(..told.base)? == all.get(..told.base)?;
    let stands_on_it =
        is_same_base && all_layers.starts_with(layers) && own.iter().zip(all).all(is_same);
    if !stands_on_it || own.iter().any(is_vague) || text(next) != told.by {
        return None;
    }
    let mut step = told.document.clone();
    step["created"] = next.get("created")?.clone();
    step.pointer_mut(HISTORY)?.as_array_mut()?.push(next.clone());
    let count = layers.len() + usize::from(!is_empty(next));
    *step.pointer_mut(LAYERS)? = all_layers.get(..count)?.into();
    put_together(&step, manifest.layers().get(..count)?)
}

fn text(entry: &Value) -> &str {
    let text = entry["created_by"].as_str().unwrap_or_default();
    text.strip_suffix(BUILDKIT).unwrap_or(text)
}

fn is_empty(entry: &Value) -> bool {
    entry["empty_layer"] == true
}

/// Whether an instruction has set something, for the commands behind it, that its text does not say.
fn is_vague(entry: &Value) -> bool {
    let (word, rest) = text(entry).split_once(' ').unwrap_or_default();
    ["ENV", "USER", "WORKDIR"].contains(&word) && rest.contains('$')
}

#[cfg(test)]
mod tests {
    use super::*;
    use bundle::digest::Digest;
    use oci_spec::image::{Descriptor, ImageManifestBuilder, MediaType};
    use serde_json::json;
    use std::collections::BTreeMap;

    fn entry(by: &str, empty: bool) -> Value {
        json!({"created": format!("at {by}"), "created_by": by, "empty_layer": empty})
    }

    fn document(history: &[Value], layers: usize) -> Value {
        let layers: Vec<String> = (0..layers).map(|at| format!("layer {at}")).collect();
        json!({"created": "", "config": {}, "history": history, "rootfs": {"type": "layers", "diff_ids": layers}})
    }

    fn manifest(layers: usize) -> ImageManifest {
        let one =
            |text: &str| Descriptor::new(MediaType::ImageLayer, 1, &Digest::of(text.as_bytes()));
        ImageManifestBuilder::default()
            .schema_version(2_u32)
            .config(one("config"))
            .layers((0..layers).map(|at| one(&at.to_string())).collect::<Vec<_>>())
            .build()
            .unwrap()
    }

    #[test]
    fn a_command_is_found_behind_what_it_stands_on_and_nowhere_else() {
        let base = entry("base $x", false);
        let variable = entry("ENV A=b", true);
        let run = entry("RUN x # buildkit", false);
        let last = entry("RUN y", false);
        let image = document(&[base.clone(), variable.clone(), run.clone(), last], 3);
        let on = document(&[base.clone(), variable.clone()], 1);
        let later = |mut entry: Value| {
            entry["created"] = "later".into();
            entry
        };
        let found = |on: &Value, by: &str| {
            let told = Told { document: on, base: 1, by };
            find(told, &image, &manifest(3))
        };
        let Some(Found::Parts { config, manifest }) = found(&on, "RUN x") else { panic!() };
        let config: Value = serde_json::from_slice(&config).unwrap();
        assert_eq!(config, {
            let mut expected = document(&[base.clone(), variable.clone(), run], 2);
            expected["created"] = "at RUN x # buildkit".into();
            expected
        });
        let manifest: ImageManifest = serde_json::from_slice(&manifest).unwrap();
        assert_eq!(manifest.layers().len(), 2);
        let mut elsewhere = document(&[base.clone(), variable.clone()], 1);
        elsewhere["rootfs"]["diff_ids"] = json!(["another"]);
        for (on, by) in [
            (&on, "RUN y"),
            (&document(&[base.clone(), entry("ENV A=c", true)], 1), "RUN x"),
            (&document(&[base.clone(), entry("ENV A=b", false)], 1), "RUN x"),
            (&document(&[later(base), variable.clone()], 1), "RUN x"),
            (&elsewhere, "RUN x"),
            (&document(&[], 0), "RUN x"),
        ] {
            assert!(found(on, by).is_none(), "{on} {by}");
        }
        // What the stage itself says has another time each time.
        assert!(
            found(&document(&[entry("base $x", false), later(variable)], 1), "RUN x").is_some()
        );
    }

    #[test]
    fn commands_of_other_words_are_spelled_otherwise() {
        let spell = |words: &[&str], is_shell| {
            let run = Run {
                words: words.iter().map(|word| (*word).to_owned()).collect(),
                is_shell,
                args: BTreeMap::new(),
                proxies: BTreeMap::new(),
                network: None,
                mounts: Vec::new(),
                script: None,
                insecure: false,
            };
            assert!(tells_of(&run), "{words:?}");
            spelled(&run, Surroundings::default())
        };
        assert_eq!(spell(&["touch", "a b"], false), r#"RUN ["touch","a b"]"#);
        assert_eq!(spell(&["touch", "a", "b"], false), r#"RUN ["touch","a","b"]"#);
        assert_eq!(spell(&["/bin/sh", "-c", "a b"], true), "RUN /bin/sh -c a b");
        assert_eq!(spell(&["/bin/sh", "-c", "a", "b"], false), r#"RUN ["/bin/sh","-c","a","b"]"#);
    }

    #[test]
    fn what_a_variable_stood_for_is_not_guessed() {
        for (instruction, tells) in
            [("ENV A=$B", false), ("USER $B", false), ("WORKDIR /$B", false), ("RUN echo $B", true)]
        {
            let before = [entry(instruction, true)];
            let image = document(&[before[0].clone(), entry("RUN x", true)], 1);
            let on = document(&before, 1);
            let told = |base| Told { document: &on, base, by: "RUN x" };
            assert_eq!(find(told(0), &image, &manifest(1)).is_some(), tells, "{instruction}");
            // In the image that the other stage began with, it may have been something else.
            assert_eq!(find(told(1), &image, &manifest(1)).is_some(), tells, "{instruction}");
        }
    }
}
