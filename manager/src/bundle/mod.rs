//! From a container's record to an OCI bundle's config.json: Docker's defaults, as a pure value.
//!
//! [`plan`] opens nothing. What it has to know from outside, such as who `--user` is in the image's own files or which
//! numbers a device has, is looked up before, in [`rootfs`], [`host`] and [`crate::device`], and passed in.

mod amend;
mod capabilities;
mod confinement;
mod defaults;
mod devices;
pub mod host;
mod mounts;
mod namespaces;
mod oom_score;
mod process;
pub mod resources;
pub mod rootfs;
pub mod seccomp;

use crate::container::Record;
use crate::device::Found;
use crate::error::{Error, Result};
use crate::network::Mode;
use crate::passwd::Identity;
use host::HostFacts;
use oci_spec::OciSpecError;
use oci_spec::runtime::{LinuxBuilder, LinuxCapabilities, RootBuilder, Spec, SpecBuilder};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

pub use amend::{amend, read};
pub use confinement::{Confinement, UNCONFINED};
pub(crate) use mounts::{place, shared_memory, shm_size};
pub(crate) use namespaces::joined;
pub use oom_score::adapt_oom_score;
pub use process::{change, console_size, process_user};

/// What goes into a plan.
pub struct Inputs<'a> {
    /// What was asked for.
    pub record: &'a Record,
    /// The container's directory.
    pub dir: &'a Path,
    /// Who the process is.
    pub identity: &'a Identity,
    /// Devices, and what they bring with them.
    pub found: &'a Found,
    /// The seccomp profile, unless the container is not to have any.
    pub profile: Option<&'a seccomp::Profile>,
    /// The numbers of the devices that limits name.
    pub numbers: &'a resources::Numbers,
    /// The network namespace.
    pub network: &'a NetworkNamespace,
    /// The size of the client's terminal: rows, columns.
    pub window: Option<(u16, u16)>,
    /// Facts of the host.
    pub host: &'a HostFacts,
}

impl Inputs<'_> {
    /// Whether the network namespace is another container's, or was made by somebody else.
    fn joins_network(&self) -> bool {
        matches!(self.record.network.network.parse(), Ok(Mode::Container(_) | Mode::Namespace(_)))
    }
}

/// Which network namespace a container gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkNamespace {
    /// The host's.
    Host,
    /// A new one, made by the runtime.
    New,
    /// One that was made and connected before.
    Prepared(PathBuf),
}

/// A value of the types' builders, which fail only on a field left out.
type Built<T> = std::result::Result<T, OciSpecError>;

/// Every capability that we can give away: what `exec --privileged` gives.
pub(crate) fn every_capability() -> LinuxCapabilities {
    capabilities::sets(&host::capabilities())
}

/// Plans the whole of config.json.
pub fn plan(inputs: &Inputs<'_>) -> Result<Spec> {
    let confinement = Confinement::of(&inputs.record.host_config);
    build(inputs, &confinement).map_err(|error| Error::Rejected {
        message: format!("cannot plan config.json: {error}"),
        hint: None,
    })
}

fn build(inputs: &Inputs<'_>, confinement: &Confinement) -> Built<Spec> {
    let Inputs { record, host, .. } = *inputs;
    let config = &record.host_config;
    let set = capabilities::plan(config, &host.capabilities);
    let root = RootBuilder::default().path("rootfs").readonly(config.readonly_rootfs).build()?;
    let mut resources = resources::plan(&config.limits, inputs.numbers, host, false);
    resources.set_devices(Some(devices::rules(config, inputs.found)?));
    let mut linux = LinuxBuilder::default()
        .namespaces(namespaces::plan(inputs)?)
        .resources(resources)
        .masked_paths(confinement.masked.clone())
        .readonly_paths(confinement.read_only.clone())
        .build()?;
    let parent = &config.limits.cgroup_parent;
    let group = || match &host.delegation {
        Some(delegation) => delegation.path(parent, &record.id),
        None => format!("{parent}/{}", record.id).into(),
    };
    linux.set_cgroups_path(record.has_cgroup().then(group));
    let ids = &config.id_mappings;
    linux.set_uid_mappings(namespaces::id_mappings(&ids.uid_map)?);
    linux.set_gid_mappings(namespaces::id_mappings(&ids.gid_map)?);
    linux.set_seccomp(inputs.profile.and_then(|profile| profile.resolve(&set, host.kernel)));
    let nodes: Vec<_> = inputs.found.devices.iter().map(|device| device.node.clone()).collect();
    linux.set_devices(Some(nodes).filter(|nodes| !nodes.is_empty()));
    let sysctl: HashMap<String, String> = namespaces::sysctls(inputs).into_iter().collect();
    linux.set_sysctl(Some(sysctl).filter(|sysctl| !sysctl.is_empty()));
    linux.set_mount_label(record.selinux.as_ref().map(|labels| labels.mount.clone()));
    linux.set_rootfs_propagation(mounts::root_propagation(record));
    let mut spec = SpecBuilder::default()
        .version("1.0.2")
        .root(root)
        .process(process::plan(inputs, confinement, &set)?)
        .mounts(mounts::plan(inputs)?)
        .linux(linux)
        .build()?;
    spec.set_hostname(namespaces::hostname(record));
    let annotations: HashMap<_, _> = config.annotations.clone().into_iter().collect();
    spec.set_annotations(Some(annotations).filter(|annotations| !annotations.is_empty()));
    spec.set_hooks(devices::hooks(&inputs.found.edits)?);
    Ok(spec)
}

#[cfg(test)]
pub(crate) mod tests;
