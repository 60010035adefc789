//! Deciding what to do: from a checked config.json and the facts about the host to a list of operations.
//!
//! Everything in here is pure (invariant I1): it opens nothing, forks nothing, and can be tested without root. The order of
//! the operations is decided in `builder` and nowhere else; each rule has a comment where it is made and a test that fails when it
//! is broken.

pub mod attributes;
mod binds;
mod builder;
mod cgroup_mounts;
mod cgroups;
pub mod devices;
mod display;
pub mod exec;
pub mod files;
pub mod hooks;
pub mod idmap;
mod labels;
mod legacy;
pub mod mounts;
pub mod namespaces;
pub mod net_devices;
pub mod op;
pub mod process;
mod propagation;
mod sd_notify;
pub mod seccomp;
mod sysctl;

#[cfg(test)]
mod tests;

use crate::cgroup::{self, CgroupPlan};
use crate::host::Host;
use crate::intel_rdt;
use crate::rootless;
use builder::Builder;
use bundle::Checked;
use bundle::config::mount_options as options;
use hooks::ByParent;
use idmap::IdMaps;
use namespaces::Shape;
use net_devices::NetDevice;
use oci_spec::runtime::Process;
use op::{Console, Source, Step};
use std::ffi::CString;
use std::path::PathBuf;
use sys::namespace::Kinds;

/// Why there is no plan: a place in config.json, or in what `exec` was given, and what is wrong with it.
#[derive(Debug, thiserror::Error)]
#[error("{}: {message}", place(document, pointer))]
pub struct Error {
    /// The file that the pointer is into; empty where it is the command line that asks.
    pub document: &'static str,
    /// JSON pointer.
    pub pointer: String,
    /// What is wrong.
    pub message: String,
}

impl Error {
    /// What is wrong, and where.
    pub(crate) fn at(pointer: impl Into<String>, message: impl Into<String>) -> Error {
        Error::new(pointer, message)
    }

    fn new(pointer: impl Into<String>, message: impl Into<String>) -> Error {
        Error { document: "config.json", pointer: pointer.into(), message: message.into() }
    }

    /// The same of a process that is not config.json's. What the container has for all of its processes is from there all the same.
    fn of_process(self, document: &'static str) -> Error {
        let document = if self.pointer.starts_with("/linux/") { self.document } else { document };
        Error { document, ..self }
    }
}

fn place(document: &str, pointer: &str) -> String {
    match document {
        "" => "the process to be executed".to_owned(),
        document => format!("{document} {pointer}"),
    }
}

/// What the command line adds to config.json.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The container's id.
    pub id: String,
    /// `--no-pivot`
    pub no_pivot: bool,
    /// `--no-new-keyring`
    pub no_new_keyring: bool,
    /// How many sockets are passed on that systemd has opened (sd_listen_fds(3)). They are the first fds after the standard streams.
    pub listen_fds: u32,
    /// `--preserve-fds`
    pub preserve_fds: u32,
    /// The process waits for `start` (`create`), or goes on at once (`run`).
    pub await_start: bool,
    /// Which program manages cgroups.
    pub cgroup_manager: cgroup::Manager,
    /// `--rootless`
    pub rootless_cgroups: rootless::Cgroups,
    /// The directory with the container's socket for sd_notify(3), on the host. The caller's `NOTIFY_SOCKET` asks for it.
    pub notify: Option<PathBuf>,
}

/// Everything that is done to make a container.
#[derive(Debug)]
pub struct Plan {
    /// The container's id.
    pub id: String,
    /// What is asked for and not done, for the log.
    pub warnings: Vec<String>,
    /// The file that the pointers of the steps point into: `config.json`, or `process.json` for `exec`.
    pub document: &'static str,
    /// All namespaces in which the container differs from the host.
    pub namespaces: Kinds,
    /// The processes that are made.
    pub shape: Shape,
    /// The container's cgroup; the parent makes it before the clone. `None` for `exec`, which joins what is there.
    pub cgroup: Option<CgroupPlan>,
    /// The container's class of cache and memory bandwidth; the parent makes it before the clone.
    pub intel_rdt: Option<intel_rdt::GroupPlan>,
    /// Id mappings of a new user namespace; written by the parent at [`Barrier::Maps`].
    pub id_maps: Option<IdMaps>,
    /// What the parent does with the child's /proc entry and limits at [`Barrier::Maps`], because the child has no
    /// privilege over the host any more: the same operations as the child's own, without a user namespace.
    pub by_parent: Vec<Step>,
    /// What the parent does for the child at [`Barrier::Ready`], for the same reason: how it is scheduled.
    pub scheduled_by_parent: Vec<Step>,
    /// What the parent moves into the network namespace at [`Barrier::NetDevices`].
    pub net_devices: Vec<NetDevice>,
    /// Hooks that the parent runs at [`Barrier::Hooks`], and where all hooks write.
    pub hooks: ByParent,
    /// As many files as the parent, or the child, may have open at once.
    pub files: u64,
    /// Bind sources, opened by the parent before the clone.
    pub sources: Vec<Source>,
    /// What the child does, in order.
    pub steps: Vec<Step>,
}

/// Plans a container.
///
/// # Errors
/// For what config.json asks and this host, or this runtime, cannot do, naming its place.
pub fn create(
    checked: &Checked,
    host: &Host,
    options: &Options,
) -> Result<Plan, crate::error::Error> {
    let Some(process) = checked.spec.process() else {
        return Err(Error::new("/process", "must be there").into());
    };
    let cgroup = cgroups::plan(checked, host, options)?;
    let intel_rdt =
        intel_rdt::plan_for(checked.spec.linux().as_ref(), &options.id, host.intel_rdt.as_ref())?;
    let mut builder = Builder::new(checked, process, host, options)?;
    builder.enter_namespaces()?;
    builder.configure_namespaces()?;
    builder.file_systems(&cgroup)?;
    builder.process()?;
    Ok(Plan {
        id: options.id.clone(),
        warnings: builder.warnings(),
        document: "config.json",
        namespaces: builder.namespaces.all(),
        shape: builder.shape,
        cgroup: Some(cgroup),
        intel_rdt,
        id_maps: builder.id_maps,
        by_parent: builder.by_parent,
        scheduled_by_parent: builder.scheduled_by_parent,
        net_devices: builder.net_devices,
        hooks: builder.hooks,
        files: builder.files,
        sources: builder.sources,
        steps: builder.steps,
    })
}

/// The terminal of a process.
fn console(process: &Process, mount: bool) -> Console {
    let clamp = |n: u64| u16::try_from(n).unwrap_or(u16::MAX);
    let size = process.console_size().map(|size| (clamp(size.height()), clamp(size.width())));
    Console { size, mount, uid: process.user().uid() }
}

/// A string for the kernel.
fn c_string(bytes: &[u8], pointer: &str) -> Result<CString, Error> {
    CString::new(bytes).map_err(|_| Error::new(pointer, "contains a NUL byte"))
}
