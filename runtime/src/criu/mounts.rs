//! Mounts of a container that come from outside of it, and how they are named in the images.
//!
//! A name is the destination as config.json has it, and never what it resolves to in the root file system: links there are the
//! container's own, and could make the name of one mount that of another (CVE-2026-119101). At a restore the host's path comes
//! from config.json alone; a name that is not in it is refused by criu.

use super::rpc::ExternalMount;
use crate::error::{Error, Result};
use crate::plan::Plan;
use crate::plan::op::{Carrier, HierarchySource, Op};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use sys::beneath::{self, Target};

/// A mount whose source is outside of the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct External {
    /// Where it is, as config.json says.
    pub target: Target,
    /// The host's path.
    pub source: PathBuf,
    /// It is there only if the target is a file: a masked directory has a tmpfs of its own.
    pub files_only: bool,
}

/// What hides a masked file.
const NULL: &str = "/dev/null";

impl External {
    fn name(&self) -> String {
        format!("/{}", self.target.path().to_string_lossy())
    }
}

/// Every external mount of a plan, in the order of the plan.
///
/// # Errors
/// When two are mounted at the same place: criu could not tell them apart.
pub fn external(plan: &Plan) -> Result<Vec<External>> {
    let mut found: Vec<External> = Vec::new();
    for step in &plan.steps {
        let source = |index: usize| {
            let path = plan.sources.get(index).map(|source| source.path.as_bytes());
            PathBuf::from(std::ffi::OsStr::from_bytes(path.unwrap_or_default()))
        };
        let mut add = |target: &Target, source: PathBuf, files_only| -> Result<()> {
            if found.iter().any(|other| other.target.path() == target.path()) {
                return Err(Error::State(format!(
                    "container `{}` has two mounts at `/{}` (config.json {}), which criu cannot tell apart",
                    plan.id,
                    target.path().to_string_lossy(),
                    step.pointer
                )));
            }
            found.push(External { target: target.clone(), source, files_only });
            Ok(())
        };
        match &step.op {
            Op::Bind(bind) if is_inside(plan, bind.source) => {}
            Op::Bind(bind) if is_mapped(plan, bind.source) => {
                return Err(Error::State(format!(
                    "container `{}` has an idmapped mount (config.json {}), which criu would restore without its mapping",
                    plan.id, step.pointer
                )));
            }
            Op::Bind(bind) if bind.over_link || bind.copy_link || is_of_link(plan, bind.source) => {
                return Err(Error::State(format!(
                    "container `{}` has a mount of a link or over one (config.json {}), which criu would look for elsewhere",
                    plan.id, step.pointer
                )));
            }
            Op::Bind(bind) => add(&bind.target, source(bind.source), false)?,
            Op::Device(device) => {
                if let Some(bind) = device.bind {
                    add(&device.target, source(bind), false)?;
                }
            }
            Op::Mask(mask) => add(&mask.target, NULL.into(), true)?,
            Op::Cgroups(cgroups) => {
                for hierarchy in &cgroups.hierarchies {
                    let HierarchySource::Bind(path) = &hierarchy.from else { continue };
                    let below = [cgroups.tmpfs.target.path(), &hierarchy.name].map(CStr::to_bytes);
                    let target = Target::new(&below.join(&b'/'))
                        .map_err(|_| Error::system("name a cgroup's mount", Errno::INVAL))?;
                    add(
                        &target,
                        Path::new(std::ffi::OsStr::from_bytes(path.to_bytes())).into(),
                        false,
                    )?;
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

/// What comes from the container's own root is none from outside.
fn is_inside(plan: &Plan, source: usize) -> bool {
    plan.sources.get(source).is_some_and(|source| source.carrier == Carrier::Root)
}

/// The source is what its path says, though that be a link.
fn is_of_link(plan: &Plan, source: usize) -> bool {
    plan.sources.get(source).is_some_and(|source| source.no_follow)
}

fn is_mapped(plan: &Plan, source: usize) -> bool {
    plan.sources.get(source).is_some_and(|source| source.id_map.is_some())
}

/// For a dump: where each mount is in the container of process `pid`, and its name. One that is not there has no place.
///
/// # Errors
/// When the container's root cannot be opened, or its links lead two mounts to one place.
pub fn for_dump(externals: &[External], pid: i32) -> Result<Vec<ExternalMount>> {
    let path = format!("/proc/{pid}/root");
    let failed = |errno| Error::system(format!("open `{path}`"), errno);
    let root = rustix::fs::open(&*path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let root = root.map_err(failed)?;
    let mut mounts: Vec<ExternalMount> = Vec::with_capacity(externals.len());
    for external in externals {
        let found = match beneath::find(root.as_fd(), external.target.path()) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
            found => found.map_err(failed)?,
        };
        let is_directory = is_directory(&found).map_err(failed)?;
        if external.files_only && is_directory {
            continue;
        }
        let key = place(&found).map_err(failed)?;
        let value = external.name();
        if let Some(other) = mounts.iter().find(|other| other.key == key) {
            return Err(Error::State(format!(
                "links in the container lead `{value}` and `{}` to the same place `{key}`",
                other.value
            )));
        }
        mounts.push(ExternalMount { key, value });
    }
    Ok(mounts)
}

/// For a restore: the host's path for each name.
pub fn for_restore(externals: &[External]) -> Vec<ExternalMount> {
    let mount = |external: &External| ExternalMount {
        key: external.name(),
        value: external.source.to_string_lossy().into_owned(),
    };
    externals.iter().map(mount).collect()
}

fn is_directory(fd: &OwnedFd) -> std::result::Result<bool, Errno> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode) == FileType::Directory)
}

/// The path of an open file from the root of the mount namespace that it is in: the kernel tells it so, whose ever that is.
fn place(fd: &OwnedFd) -> std::result::Result<String, Errno> {
    let link: CString =
        rustix::fs::readlink(format!("/proc/self/fd/{}", fd.as_raw_fd()), Vec::new())?;
    Ok(link.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::{Layout, Unified};
    use crate::host::Host;
    use crate::plan;

    fn plan_of(change: &str) -> Plan {
        let bundle = tempfile::tempdir().unwrap();
        std::fs::create_dir(bundle.path().join("rootfs")).unwrap();
        let text = format!(
            r#"{{"ociVersion": "1.2.0", "root": {{"path": "rootfs"}},
                "process": {{"args": ["sh"], "cwd": "/", "user": {{"uid": 0, "gid": 0}}}},
                "mounts": [{{"destination": "/proc", "type": "proc", "source": "proc"}},
                           {{"destination": "/dev", "type": "tmpfs", "source": "tmpfs"}}{change}],
                "linux": {{"namespaces": [{{"type": "mount"}}], "maskedPaths": ["/proc/kcore"]}}}}"#
        );
        std::fs::write(bundle.path().join("config.json"), text).unwrap();
        let checked = bundle::check(bundle::load(bundle.path()).unwrap()).unwrap();
        let options = plan::Options { id: "c".into(), ..plan::Options::default() };
        let unified =
            Unified { mount: "/sys/fs/cgroup".into(), controllers: Vec::new(), own: "/".into() };
        let host = Host { cgroup: Layout::Unified(unified), ..Host::for_tests() };
        plan::create(&checked, &host, &options).unwrap()
    }

    #[test]
    fn binds_and_masked_files_are_external_and_have_the_names_of_config_json() {
        let plan =
            plan_of(r#", {"destination": "//data/./in", "source": "/srv", "options": ["rbind"]}"#);
        let externals = external(&plan).unwrap();
        let named = for_restore(&externals);
        let pairs: Vec<(&str, &str)> =
            named.iter().map(|mount| (mount.key.as_str(), mount.value.as_str())).collect();
        assert_eq!(pairs, [("/data/in", "/srv"), ("/proc/kcore", "/dev/null")]);
    }

    #[test]
    fn a_mount_from_the_containers_own_root_is_not_external_and_an_idmapped_one_is_refused() {
        let inside = r#", {"destination": "/x", "source": "rootfs/data", "options": ["bind"]}"#;
        let externals = external(&plan_of(inside)).unwrap();
        assert_eq!(externals.len(), 1, "the masked file: {externals:?}");
        let mapped = r#", {"destination": "/x", "source": "/srv", "options": ["bind"],
            "uidMappings": [{"containerID": 0, "hostID": 5, "size": 1}],
            "gidMappings": [{"containerID": 0, "hostID": 5, "size": 1}]}"#;
        let error = external(&plan_of(mapped)).unwrap_err().to_string();
        assert!(error.contains("idmapped mount (config.json /mounts/2)"), "{error}");
    }

    #[test]
    fn a_mount_of_a_link_or_over_one_is_refused() {
        for option in ["src-nofollow", "dest-nofollow", "copy-symlink"] {
            let mount = format!(
                r#", {{"destination": "/x", "source": "/srv", "options": ["bind", "{option}"]}}"#
            );
            let error = external(&plan_of(&mount)).unwrap_err().to_string();
            assert!(error.contains("or over one (config.json /mounts/2)"), "{option}: {error}");
        }
    }

    #[test]
    fn two_mounts_at_one_place_are_refused() {
        let bind = r#", {"destination": "/data", "source": "/srv", "options": ["bind"]}"#;
        let error = external(&plan_of(&bind.repeat(2))).unwrap_err().to_string();
        assert!(error.contains("two mounts at `/data` (config.json /mounts/3)"), "{error}");
    }
}
