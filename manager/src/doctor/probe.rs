//! Every fact about the host that [`super::judge`] looks at.

use super::kernel::Kernel;
use super::user::UserFacts;
use crate::apparmor::{self, Availability};
use crate::bundle::host::has_apparmor;
use crate::error::reason;
use crate::network;
use crate::runtime::Runtime;
use crate::selinux;
use crate::settings::Settings;
use rustix::fs::{Access, CWD, Mode, OFlags, ResolveFlags, access};
use rustix::io::Errno;
use rustix::mount::{FsOpenFlags, OpenTreeFlags};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The facts.
#[derive(Clone, Debug)]
pub struct Host {
    /// Whether root asks.
    pub root: bool,
    /// What concerns an ordinary user, if one asks.
    pub user: Option<UserFacts>,
    /// The kernel's release.
    pub release: String,
    /// System calls that the kernel does not know, of those that are needed.
    pub missing_calls: Vec<&'static str>,
    /// What the kernel was built with.
    pub kernel: Kernel,
    /// `/proc/filesystems`
    pub filesystems: String,
    /// The kinds of namespaces, as in `/proc/self/ns`.
    pub namespaces: Vec<String>,
    /// How many user namespaces there may be.
    pub user_namespaces: u64,
    /// How cgroups are mounted.
    pub cgroups: Cgroups,
    /// Whether a seccomp filter can be installed.
    pub seccomp: bool,
    /// How the AppArmor profile of containers can be had; `None` where AppArmor is not enabled.
    pub apparmor: Option<Availability>,
    /// Whether SELinux labels containers; `None` where it is not enabled.
    pub selinux: Option<selinux::Standing>,
    /// Where images and containers are.
    pub storage: Storage,
    /// `/proc/sys/net/ipv4/ip_forward`
    pub forwarding: bool,
    /// Whether that cannot be written, because `/proc/sys` is mounted read-only.
    pub switches_are_fixed: bool,
    /// Chains of others that drop what is forwarded; an error if nf_tables cannot be asked.
    pub dropping: Result<Vec<String>, String>,
    /// Directories of CNI plug-ins, with how many are in each.
    pub plugins: Vec<(PathBuf, usize)>,
    /// Seconds since 1970.
    pub time: u64,
    /// The soft limit of open files.
    pub open_files: u64,
    /// The largest number of processes.
    pub processes: u64,
    /// The runtime's path and first line of its version, or why there is none.
    pub runtime: Result<(PathBuf, String), String>,
    /// Whether a bundle of certificate authorities is there.
    pub authorities: bool,
    /// Name servers in `/etc/resolv.conf`.
    pub name_servers: usize,
}

/// How cgroups are mounted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cgroups {
    /// 1 or 2; 0 if they are not mounted.
    pub version: u8,
    /// Beside version 1, the hierarchy of version 2 is mounted, too.
    pub hybrid: bool,
    /// None can be made there, as in a container of another manager's.
    pub read_only: bool,
    /// The controllers that can be used, of either version.
    pub controllers: Vec<String>,
    /// Whether swap can be limited.
    pub swap: bool,
}

/// A directory's file system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Storage {
    /// The directory, or the nearest one above it that exists.
    pub path: PathBuf,
    /// The magic number of its type.
    pub kind: u64,
    /// Bytes that can be used.
    pub free: u64,
    /// Files that can be made; 0 with `files` 0 if there is no limit.
    pub free_files: u64,
    /// Files that there can be.
    pub files: u64,
    /// Why nothing can be kept there whoever asks: it is read-only, or its disk fails.
    pub fault: Option<String>,
}

/// The switch by which a host passes IPv4 packets on.
const IP_FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

/// Where distributions put CNI's plug-ins.
const PLUGIN_DIRECTORIES: &str = "/opt/cni/bin:/usr/lib/cni:/usr/libexec/cni";

impl Host {
    /// Looks.
    #[must_use]
    pub fn probe(settings: &Settings) -> Self {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let resolv = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let is_root = rustix::process::geteuid().is_root();
        Self {
            root: is_root,
            user: (settings.rootless && !is_root).then(UserFacts::probe),
            missing_calls: missing_calls(),
            kernel: Kernel::probe(&release),
            filesystems: fs::read_to_string("/proc/filesystems").unwrap_or_default(),
            namespaces: names("/proc/self/ns"),
            user_namespaces: number("/proc/sys/user/max_user_namespaces"),
            cgroups: Cgroups::probe(),
            seccomp: fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail")
                .is_ok_and(|actions| actions.contains("errno")),
            apparmor: has_apparmor().then(|| apparmor::find(apparmor::PROFILE)),
            selinux: selinux::find(),
            storage: Storage::probe(&settings.root),
            forwarding: number(IP_FORWARD) == 1,
            switches_are_fixed: rustix::fs::access(IP_FORWARD, rustix::fs::Access::WRITE_OK)
                == Err(Errno::ROFS),
            dropping: network::dropping_chains().map_err(|error| error.to_string()),
            plugins: plugins(),
            time: since.unwrap_or_default().as_secs(),
            open_files: rustix::process::getrlimit(rustix::process::Resource::Nofile)
                .current
                .unwrap_or(u64::MAX),
            processes: number("/proc/sys/kernel/threads-max")
                .min(number("/proc/sys/kernel/pid_max")),
            runtime: runtime(settings),
            authorities: crate::certificates::has_authorities(),
            name_servers: resolv
                .lines()
                .filter(|line| line.trim_start().starts_with("nameserver"))
                .count(),
            release,
        }
    }
}

fn names(directory: &str) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

pub(super) fn number(path: &str) -> u64 {
    fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// Calls the kernel with nothing to do: what it does not know it answers with ENOSYS.
fn missing_calls() -> Vec<&'static str> {
    let unknown = |answer: Result<rustix::fd::OwnedFd, Errno>| answer.err() == Some(Errno::NOSYS);
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let pidfd = rustix::process::pidfd_open(
        rustix::process::getpid(),
        rustix::process::PidfdFlags::empty(),
    );
    [
        (
            "openat2",
            unknown(rustix::fs::openat2(CWD, "/", directory, Mode::empty(), ResolveFlags::IN_ROOT)),
        ),
        ("fsopen", unknown(rustix::mount::fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC))),
        (
            "open_tree",
            unknown(rustix::mount::open_tree(CWD, "/", OpenTreeFlags::OPEN_TREE_CLOEXEC)),
        ),
        ("pidfd_open", unknown(pidfd)),
    ]
    .into_iter()
    .filter_map(|(name, is_unknown)| is_unknown.then_some(name))
    .collect()
}

impl Cgroups {
    fn probe() -> Self {
        let root = Path::new("/sys/fs/cgroup");
        let controllers_of = |directory: &Path| {
            let text = fs::read_to_string(directory.join("cgroup.controllers"));
            text.map(|text| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        };
        let is_read_only =
            |directory: &Path| access(directory, Access::WRITE_OK) == Err(Errno::ROFS);
        let swap = root.join("memory/memory.memsw.limit_in_bytes").exists();
        match controllers_of(root) {
            Ok(controllers) => Self {
                version: 2,
                hybrid: false,
                read_only: is_read_only(root),
                controllers,
                swap: Path::new("/proc/swaps").exists(),
            },
            Err(_) => {
                let mut hierarchies = names("/sys/fs/cgroup");
                hierarchies.retain(|name| root.join(name).join("cgroup.procs").exists());
                let read_only = hierarchies.iter().any(|name| is_read_only(&root.join(name)));
                let mut controllers: Vec<String> = hierarchies
                    .iter()
                    .flat_map(|name| name.split(',').map(str::to_owned).collect::<Vec<_>>())
                    .filter(|name| name != "unified")
                    .collect();
                let version = u8::from(!controllers.is_empty());
                let unified = controllers_of(&root.join("unified"));
                let hybrid = unified.is_ok();
                controllers.extend(unified.unwrap_or_default());
                Self { version, hybrid, read_only, controllers, swap }
            }
        }
    }
}

impl Storage {
    fn probe(root: &Path) -> Self {
        let path = root.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
        let (Ok(kind), Ok(space)) = (rustix::fs::statfs(path), rustix::fs::statvfs(path)) else {
            return Self::default();
        };
        Self {
            path: path.to_owned(),
            kind: u64::from_ne_bytes(kind.f_type.to_ne_bytes()),
            free: space.f_bavail.saturating_mul(space.f_frsize),
            free_files: space.f_favail,
            files: space.f_files,
            fault: fault(path),
        }
    }
}

/// Whether a file system takes and gives nothing. Nothing is written to find out, and whose it is does not matter here.
fn fault(path: &Path) -> Option<String> {
    let written = rustix::fs::access(path, rustix::fs::Access::WRITE_OK).map_err(io::Error::from);
    let read = fs::read_dir(path).and_then(|mut entries| entries.next().transpose());
    let errors = [written.err(), read.err()];
    let concerns_all = |error: &io::Error| {
        let errno = Errno::from_io_error(error);
        matches!(errno, Some(Errno::ROFS | Errno::IO))
    };
    errors.into_iter().flatten().find(concerns_all).map(|error| reason(&error))
}

fn plugins() -> Vec<(PathBuf, usize)> {
    let path = std::env::var("CNI_PATH").unwrap_or_else(|_| PLUGIN_DIRECTORIES.to_owned());
    let count = |directory: PathBuf| {
        let count = names(&directory.to_string_lossy()).len();
        (count > 0).then_some((directory, count))
    };
    std::env::split_paths(&path).filter_map(count).collect()
}

fn runtime(settings: &Settings) -> Result<(PathBuf, String), String> {
    let path = Runtime::find(settings.runtime.as_deref()).map_err(|error| error.to_string())?;
    let version = Runtime::new(&path, settings).version().map_err(|error| error.to_string())?;
    Ok((path, version))
}
