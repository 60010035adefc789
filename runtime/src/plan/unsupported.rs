//! What runtime-spec has and this version does not do: refused by name before anything is made, never skipped.

use super::Error;
use oci_spec::runtime::Spec;

/// Refuses a config.json that asks for one of them.
pub(super) fn refuse(spec: &Spec) -> Result<(), Error> {
    match asked(spec).first() {
        None => Ok(()),
        Some((pointer, what)) => {
            Err(Error::new(*pointer, format!("{what}, which this version of nrun cannot do")))
        }
    }
}

fn asked(spec: &Spec) -> Vec<(&'static str, &'static str)> {
    let mut asked = Vec::new();
    let mut note = |present: bool, pointer, what| {
        if present {
            asked.push((pointer, what));
        }
    };
    let set = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
    if let Some(linux) = spec.linux() {
        note(set(linux.mount_label()), "/linux/mountLabel", "asks for a mount label");
        note(linux.intel_rdt().is_some(), "/linux/intelRdt", "asks for cache allocation");
    }
    asked
}
