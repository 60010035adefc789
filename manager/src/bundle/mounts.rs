//! What is mounted in a container, parents before what is below them.
//!
//! A volume, a path of the host and an image are mounted in the container's directory by us, before the runtime is called,
//! from descriptors that were opened once: what config.json names is a place that nobody else can change.

use super::defaults::{self, mount};
use super::host::NamespaceFacts;
use super::{Built, Confinement, Inputs, NetworkNamespace};
use crate::bundle::namespaces::sharing;
use crate::cli::confinement::Sharing;
use crate::container::NETWORK_FILES;
use crate::container::{HostConfig, MountKind, MountPoint, Record};
use crate::id_map;
use crate::supervise;
use oci_spec::runtime::Mount;
use std::path::{Path, PathBuf};

/// Docker's size of /dev/shm.
const SHARED_MEMORY: i64 = 64 << 20;

/// Where the source of the mount number `at` is found, below the container's directory.
#[must_use]
pub(crate) fn place(dir: &Path, at: usize) -> PathBuf {
    dir.join("mounts").join(at.to_string())
}

/// Where the shared memory is that other containers may have too.
#[must_use]
pub(crate) fn shared_memory(dir: &Path) -> PathBuf {
    dir.join("shm")
}

pub(super) fn plan(inputs: &Inputs<'_>) -> Built<Vec<Mount>> {
    let record = inputs.record;
    let mut mounts = defaults::mounts()?;
    match inputs.host.namespace {
        Some(facts) => fit_into_namespace(inputs, facts, &mut mounts)?,
        None if has_foreign_network(inputs) => bind_sysfs(&mut mounts)?,
        None => {}
    }
    make_writable(&mut mounts, &record.host_config);
    shared_memory_mounts(inputs, &mut mounts)?;
    let mut further = Vec::new();
    for (at, point) in record.mounts.iter().enumerate() {
        further.push(of_point(point, &place(inputs.dir, at))?);
    }
    for edit in &inputs.found.edits.mounts {
        let kind = edit.kind.as_deref().unwrap_or("bind");
        let mut options: Vec<&str> = edit.options.iter().map(String::as_str).collect();
        if kind == "bind" && !options.iter().any(|option| matches!(*option, "bind" | "rbind")) {
            options.push("rbind");
        }
        further.push(mount(kind, &edit.host_path, &edit.container_path, &options)?);
    }
    if record.supervision.init {
        let source = inputs.dir.join(supervise::INIT_FILE);
        let options = ["rbind", "ro", "rprivate"];
        further.push(mount("bind", &source.to_string_lossy(), supervise::INIT, &options)?);
    }
    // They are a part of the root file system as far as the container is concerned.
    let access = if record.host_config.readonly_rootfs { "ro" } else { "rw" };
    for file in NETWORK_FILES {
        let target = format!("/etc/{file}");
        if !further.iter().any(|mount| mount.destination() == Path::new(&target)) {
            let source = inputs.dir.join(file);
            let source = source.to_string_lossy();
            further.push(mount("bind", &source, &target, &["rbind", access, "rprivate"])?);
        }
    }
    // A mount over a default one, such as /dev/shm, replaces it.
    let replaced =
        |mount: &Mount| further.iter().any(|further| further.destination() == mount.destination());
    mounts.retain(|mount| !replaced(mount));
    further.sort_by_key(|mount| mount.destination().components().count());
    mounts.extend(further);
    Ok(mounts)
}

fn of_point(point: &MountPoint, place: &Path) -> Built<Mount> {
    if point.kind == MountKind::Tmpfs {
        let options: Vec<&str> = point.detail.options.iter().map(String::as_str).collect();
        return mount("tmpfs", "tmpfs", &point.destination, &options);
    }
    let bind = if point.detail.non_recursive { "bind" } else { "rbind" };
    let propagation = if point.propagation.is_empty() { "rprivate" } else { &point.propagation };
    // Neither `rw` nor `ro`: whoever names one flag wants no other, and `nosuid` or `noexec` of what is mounted there would be gone,
    // or be refused to a user. What is not to be written to is mounted like that already.
    mount("bind", &place.to_string_lossy(), &point.destination, &[bind, propagation])
}

/// Propagation of the root, which has to let through what a mount below it is to share: as in Docker.
pub(super) fn root_propagation(record: &Record) -> Option<String> {
    let any = |words: [&str; 2]| {
        record.mounts.iter().any(|point| words.contains(&point.propagation.as_str()))
    };
    let word = match (any(["shared", "rshared"]), any(["slave", "rslave"])) {
        (true, _) => "shared",
        (false, true) => "rslave",
        (false, false) => return None,
    };
    Some(word.to_owned())
}

/// /sys for a privileged container, and the cgroups for one that may write to them.
fn make_writable(mounts: &mut [Mount], config: &HostConfig) {
    let cgroups = Confinement::of(config).writable_cgroups;
    for mount in mounts {
        let is_cgroup = mount.typ().as_deref() == Some("cgroup");
        let writable = if is_cgroup { cgroups } else { config.privileged };
        if writable && let Some(options) = mount.options_mut() {
            for option in options.iter_mut().filter(|option| *option == "ro") {
                "rw".clone_into(option);
            }
        }
    }
}

/// Whether a container with ids of its own, and so a user namespace, comes into a network namespace that is of another one.
fn has_foreign_network(inputs: &Inputs<'_>) -> bool {
    !inputs.record.host_config.id_mappings.uid_map.is_empty() && inputs.joins_network()
}

/// The host's sysfs, for who cannot mount that of the network namespace.
fn bind_sysfs(mounts: &mut [Mount]) -> Built<()> {
    for sysfs in mounts.iter_mut().filter(|mount| mount.destination() == Path::new("/sys")) {
        *sysfs = mount("bind", "/sys", "/sys", &["rbind", "nosuid", "noexec", "nodev", "ro"])?;
    }
    Ok(())
}

/// What root of a user namespace cannot mount: sysfs of a network namespace, and proc of a pid namespace, that is not its own, so
/// that the host's are bound; and a file system of terminals for a group that has no id.
fn fit_into_namespace(
    inputs: &Inputs<'_>,
    facts: NamespaceFacts,
    mounts: &mut [Mount],
) -> Built<()> {
    /// The group of terminals, as everywhere.
    const TTY: u32 = 5;
    let is_host = |mode: &str| sharing(mode) == Sharing::Host;
    let config = &inputs.record.host_config;
    if *inputs.network == NetworkNamespace::Host || has_foreign_network(inputs) {
        bind_sysfs(mounts)?;
    }
    let groups = id_map::mappings(&config.id_mappings.gid_map);
    let has_tty = match groups.as_slice() {
        [] => facts.last_group >= TTY,
        lines => lines.iter().any(|line| (0..line.size).contains(&TTY.wrapping_sub(line.inside))),
    };
    for default in mounts {
        match default.destination().to_str() {
            Some("/proc") if is_host(&config.pid_mode) => {
                *default =
                    mount("bind", "/proc", "/proc", &["rbind", "nosuid", "noexec", "nodev"])?;
            }
            Some("/dev/pts") if !has_tty => {
                if let Some(options) = default.options_mut() {
                    options.retain(|option| option != "gid=5");
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// /dev/shm and /dev/mqueue belong to the IPC namespace.
fn shared_memory_mounts(inputs: &Inputs<'_>, mounts: &mut Vec<Mount>) -> Built<()> {
    let config = &inputs.record.host_config;
    let shm = mounts.iter().position(|mount| mount.destination() == Path::new("/dev/shm"));
    let Some(at) = shm else { return Ok(()) };
    let bind = |source: &Path, target: &str| {
        mount("bind", &source.to_string_lossy(), target, &["rbind", "rw", "rprivate"])
    };
    match sharing(&config.ipc_mode) {
        Sharing::None => drop(mounts.remove(at)),
        Sharing::Host => {
            mounts[at] = bind(Path::new("/dev/shm"), "/dev/shm")?;
            // Without a user namespace, what is mounted is the host's. Not every host has it in /dev/mqueue.
            let is_ours = config.id_mappings.uid_map.is_empty() && inputs.host.namespace.is_none();
            let of_host =
                |mount: &&mut Mount| !is_ours && mount.destination() == Path::new("/dev/mqueue");
            for mount in mounts.iter_mut().filter(of_host) {
                *mount = bind(Path::new("/dev/mqueue"), "/dev/mqueue")?;
            }
            if inputs.host.namespace.is_some_and(|facts| !facts.message_queues) {
                mounts.retain(|mount| mount.destination() != Path::new("/dev/mqueue"));
            }
        }
        Sharing::Shareable | Sharing::Container(_) => {
            mounts[at] = bind(&shared_memory(inputs.dir), "/dev/shm")?;
        }
        Sharing::Private => {
            let size = format!("size={}", shm_size(config.shm_size));
            if let Some(options) = mounts[at].options_mut() {
                for option in options.iter_mut().filter(|option| option.starts_with("size=")) {
                    size.clone_into(option);
                }
            }
        }
    }
    Ok(())
}

/// The size of the shared memory that a record asks for.
#[must_use]
pub(crate) fn shm_size(asked: i64) -> i64 {
    if asked > 0 { asked } else { SHARED_MEMORY }
}
