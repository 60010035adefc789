//! The SELinux labels of a container: which ones it gets, and what else has to bear them.
//!
//! As Docker and Podman have it: what runs in a container has the process label, what belongs to it has the mount label, and both
//! have a pair of categories that no other container of this store has, so that one cannot touch what is another's. Where SELinux is
//! not enabled, there is nothing of this, at the cost of one look. A container that is to be confined by a label never runs without.

mod choice;
mod context;
mod relabel;

use crate::container::Record;
use crate::error::{Error, Result};
pub use choice::choose;
pub use context::{Context, Contexts};
pub use relabel::{label_file, label_layers, provide_layers, relabel};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::path::Path;
use sys::selinux::{MOUNT, is_enabled};

/// What a container is labelled with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Labels {
    /// What its processes have; empty where they have what whoever starts it has.
    pub process: String,
    /// What its files have.
    pub mount: String,
}

impl Labels {
    /// The label of files that other containers have too: the same without categories.
    #[must_use]
    pub fn shared(&self) -> String {
        Context::parse(&self.mount).map_or_else(
            || self.mount.clone(),
            |context| context.with_level(context::SHARED).to_string(),
        )
    }
}

/// Whether containers are given labels here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// They are, and the kernel does as the policy says.
    Enforced,
    /// They are, and the kernel writes down only what the policy would deny.
    Permissive,
    /// The policy has nothing for containers.
    NoContexts,
    /// A file names contexts for containers, and the policy does not know them.
    NoTypes,
}

/// Finds it out; `None` where SELinux is not enabled.
#[must_use]
pub fn find() -> Option<Standing> {
    if !is_enabled() {
        return None;
    }
    let Some(contexts) = Contexts::of_host() else { return Some(Standing::NoContexts) };
    if ![&contexts.process, &contexts.file].iter().all(|context| is_known(&context.to_string())) {
        return Some(Standing::NoTypes);
    }
    let enforces =
        std::fs::read(format!("{MOUNT}/enforce")).is_ok_and(|text| text.starts_with(b"1"));
    Some(if enforces { Standing::Enforced } else { Standing::Permissive })
}

/// The label of files that all containers share, such as a new volume; `None` where they have none.
#[must_use]
pub fn of_shared_files() -> Option<String> {
    shared(|contexts| contexts.file)
}

/// Labels the new directory that an image's layer is to be unpacked in, and with it what is made in it.
///
/// All files of a container's overlay have one label. But what a program has mapped of a file is the one below, and where it protects
/// that memory, as every program does when it begins, it has to be let read that one too (seen on Linux 6.1).
///
/// # Errors
/// As setxattr(2).
pub fn label_layer(directory: &Path) -> std::io::Result<()> {
    label_directory(directory, of_layers())
}

fn of_layers() -> Option<String> {
    shared(|contexts| contexts.read_only)
}

/// Labels the new directory of a volume, and with it what is made in it: every container may have it.
///
/// # Errors
/// As setxattr(2).
pub fn label_volume(directory: &Path) -> std::io::Result<()> {
    label_directory(directory, of_shared_files())
}

fn label_directory(directory: &Path, label: Option<String>) -> std::io::Result<()> {
    let Some(label) = label else { return Ok(()) };
    Ok(label_file(std::fs::File::open(directory)?, &label)?)
}

/// One of the policy's contexts without categories, if the policy knows it.
fn shared(of: impl FnOnce(Contexts) -> Context) -> Option<String> {
    if !is_enabled() {
        return None;
    }
    let label = of(Contexts::of_host()?).with_level(context::SHARED).to_string();
    is_known(&label).then_some(label)
}

/// Asks the kernel whether the policy knows a context. Who may not ask hears from the runtime.
fn is_known(label: &str) -> bool {
    let path = format!("{MOUNT}/context");
    let asked = rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .and_then(|file| rustix::io::write(file, format!("{label}\0").as_bytes()));
    asked != Err(Errno::INVAL)
}

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

    #[test]
    fn what_is_shared_has_no_categories() {
        let labels = |mount: &str| Labels { process: String::new(), mount: mount.to_owned() };
        assert_eq!(labels("u:object_r:f_t:s0:c1,c2").shared(), "u:object_r:f_t:s0");
        assert_eq!(labels("u:object_r:f_t").shared(), "u:object_r:f_t");
    }

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
