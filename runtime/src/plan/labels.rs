//! `linux.mountLabel`: the SELinux label of the files of new file systems.

use super::mounts::Label;
use super::{Error, c_string};
use crate::host::Host;
use oci_spec::runtime::Spec;

/// The annotation that says which of mount(8)'s label options is used; Podman writes it.
const TYPE: &str = "run.oci.mount_context_type";

/// The label of the container's mounts, if there is one.
///
/// # Errors
/// When this host has no SELinux, or the annotation names no such option.
pub(super) fn plan(spec: &Spec, host: &Host) -> Result<Option<Label>, Error> {
    let label = spec.linux().as_ref().and_then(|linux| linux.mount_label().as_deref());
    let Some(label) = label.filter(|label| !label.is_empty()) else { return Ok(None) };
    if !host.selinux {
        return Err(Error::new(
            "/linux/mountLabel",
            format!(
                "asks for the SELinux label `{label}`, and SELinux is not enabled on this host"
            ),
        ));
    }
    let annotation = spec.annotations().as_ref().and_then(|annotations| annotations.get(TYPE));
    let parameter = match annotation.map(String::as_str) {
        None | Some("") | Some("context") => c"context",
        Some("fscontext") => c"fscontext",
        Some("defcontext") => c"defcontext",
        Some("rootcontext") => c"rootcontext",
        Some(other) => {
            return Err(Error::new(
                format!("/annotations/{TYPE}"),
                format!("`{other}` is none of `context`, `fscontext`, `defcontext`, `rootcontext`"),
            ));
        }
    };
    Ok(Some(Label {
        parameter: parameter.to_owned(),
        label: c_string(label.as_bytes(), "/linux/mountLabel")?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn planned(annotation: &str, selinux: bool) -> Result<Option<Label>, Error> {
        let spec = json!({
            "ociVersion": "1.0.2",
            "linux": {"mountLabel": "system_u:object_r:container_file_t:s0:c1,c2"},
            "annotations": {TYPE: annotation},
        });
        let host = Host { selinux, ..Host::for_tests() };
        plan(&serde_json::from_value(spec).unwrap(), &host)
    }

    #[test]
    fn the_annotation_says_what_the_label_is_of() {
        for (annotation, parameter) in [
            ("", c"context"),
            ("context", c"context"),
            ("fscontext", c"fscontext"),
            ("defcontext", c"defcontext"),
            ("rootcontext", c"rootcontext"),
        ] {
            let label = planned(annotation, true).unwrap().unwrap();
            assert_eq!(label.parameter.as_c_str(), parameter);
            assert_eq!(label.label.as_c_str(), c"system_u:object_r:container_file_t:s0:c1,c2");
        }
        let error = planned("seclabel", true).unwrap_err();
        assert_eq!(error.pointer, "/annotations/run.oci.mount_context_type");
    }

    #[test]
    fn a_host_without_selinux_refuses_a_label() {
        assert_eq!(planned("", false).unwrap_err().pointer, "/linux/mountLabel");
    }
}
