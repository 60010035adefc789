//! SELinux on this host: whether it is enabled, the labels that its policy has for containers, and the labelling of files.

mod context;
pub(crate) mod tree;

pub use context::{Context, Contexts};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::path::Path;
use sys::selinux::{MOUNT, is_enabled};
pub use tree::label_file;

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

pub(crate) fn of_layers() -> Option<String> {
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
pub(crate) fn is_known(label: &str) -> bool {
    let path = format!("{MOUNT}/context");
    let asked = rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .and_then(|file| rustix::io::write(file, format!("{label}\0").as_bytes()));
    asked != Err(Errno::INVAL)
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
}
