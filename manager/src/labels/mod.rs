//! The SELinux labels of a container: which ones it gets, and what else has to bear them.
//!
//! As Docker and Podman have it: what runs in a container has the process label, what belongs to it has the mount label, and both
//! have a pair of categories that no other container of this store has, so that one cannot touch what is another's. Where SELinux is
//! not enabled, there is nothing of this, at the cost of one look. A container that is to be confined by a label never runs without.

mod choice;
mod relabel;

use crate::container::Record;
use crate::error::{Error, Result};
pub use choice::choose;
pub use relabel::{label_layers, provide_layers, relabel};
use sys::selinux::is_enabled;

/// Makes sure that a container's labels mean something before it is started: SELinux may have been disabled since it was made.
///
/// # Errors
/// It is not enabled.
pub fn provide(record: &Record) -> Result<()> {
    match &record.selinux {
        Some(labels) if !is_enabled() => Err(Error::Rejected {
            message: match labels.process.as_str() {
                "" => format!(
                    "container {} was made with SELinux label `{}` for its files: SELinux is not enabled on this host",
                    record.name, labels.mount
                ),
                process => format!(
                    "cannot confine container {} by SELinux label `{process}`: SELinux is not enabled on this host",
                    record.name
                ),
            },
            hint: Some("it was made where it is; make it anew to run it without".to_owned()),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selinux::Labels;

    #[test]
    fn a_container_with_labels_is_not_started_where_they_mean_nothing() {
        if is_enabled() {
            return;
        }
        let (mut record, _) = crate::bundle::tests::record(&["image", "true"], "{}").unwrap();
        assert!(provide(&record).is_ok());
        let process = "u:r:c_t:s0:c1,c2".to_owned();
        record.selinux = Some(Labels { process, mount: "u:object_r:f_t:s0:c1,c2".to_owned() });
        let refused = provide(&record).unwrap_err().to_string();
        assert!(refused.contains("`u:r:c_t:s0:c1,c2`: SELinux is not enabled"), "{refused}");
        // A privileged one was never to be confined.
        record.selinux = record.selinux.map(|labels| Labels { process: String::new(), ..labels });
        let refused = provide(&record).unwrap_err().to_string();
        let expected = "was made with SELinux label `u:object_r:f_t:s0:c1,c2` for its files: ";
        assert!(refused.contains(expected) && !refused.contains("confine"), "{refused}");
    }
}
