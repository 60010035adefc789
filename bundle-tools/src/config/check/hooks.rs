//! Hooks.

use oci_spec::runtime::Hooks;

use super::{Check, Report, Subject, elements};

pub(super) const CHECKS: &[Check] = &[hooks];

/// "`path` MUST be absolute"; "if set, `timeout` MUST be greater than zero" (config.md, hooks).
fn hooks(subject: &Subject<'_>, report: &mut Report) {
    let Some(hooks) = subject.spec.hooks() else { return };
    for (kind, list) in kinds(hooks) {
        for (index, hook) in elements(list) {
            let path = hook.path();
            if !path.is_absolute() {
                let message = format!("must be an absolute path, not `{}`", path.display());
                report.add(format!("/hooks/{kind}/{index}/path"), message);
            }
            if let Some(timeout) = hook.timeout().filter(|timeout| *timeout <= 0) {
                let message = format!("must be greater than 0 seconds, not {timeout}");
                report.add(format!("/hooks/{kind}/{index}/timeout"), message);
            }
        }
    }
}

type List = Option<Vec<oci_spec::runtime::Hook>>;

/// All kinds of hooks by their names in JSON, the deprecated ones too: engines still write them.
fn kinds(hooks: &Hooks) -> [(&'static str, &List); 6] {
    [
        ("prestart", hooks.prestart()),
        ("createRuntime", hooks.create_runtime()),
        ("createContainer", hooks.create_container()),
        ("startContainer", hooks.start_container()),
        ("poststart", hooks.poststart()),
        ("poststop", hooks.poststop()),
    ]
}
