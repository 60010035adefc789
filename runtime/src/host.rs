//! The facts about the host that planning may use, read once.
//!
//! Planning is pure (invariant I1): whatever it needs to know about the kernel or the caller is a field here, so that a golden
//! test can state it. Nothing else in the runtime asks the host before the plan is made.

use crate::bare_mounts;
use crate::cgroup;
use crate::criu;
use crate::error::{Error, Result};
use crate::intel_rdt;
use crate::plan::{Options, idmap, namespaces, seccomp};
use crate::rootless;
use oci_spec::runtime::{LinuxNamespace, Process, Spec};
use std::path::PathBuf;
use sys::namespace::Kinds;

/// What the runtime runs on, and as whom.
#[derive(Clone, Debug)]
pub struct Host {
    /// Effective user id of the caller.
    pub uid: u32,
    /// Effective group id of the caller.
    pub gid: u32,
    /// The caller's permitted capabilities, bit N for capability N.
    pub capabilities: u64,
    /// The caller's user namespace is not the host's first one. Asked of root alone: an ordinary user has no privilege that could be
    /// taken for the host's.
    pub in_user_namespace: bool,
    /// The kinds in which a namespace that config.json joins by its path is the one that we are in, where that is asked for.
    pub joined_own: Kinds,
    /// What a caller who is not the host's root may do.
    pub rootless: rootless::Facts,
    /// Where cgroups are mounted, and where we are in them.
    pub cgroup: cgroup::Layout,
    /// What the kernel's seccomp can do.
    pub seccomp: seccomp::Kernel,
    /// The systemd that runs here, where it is to make cgroups.
    pub systemd: Option<cgroup::systemd::Facts>,
    /// The resctrl file system, where it is asked for and mounted.
    pub intel_rdt: Option<intel_rdt::Facts>,
    /// Where the host has procfs and sysfs in full.
    pub bare_mounts: Vec<PathBuf>,
    /// Whether AppArmor confines processes, and where it takes profiles.
    pub apparmor: AppArmor,
    /// Whether SELinux is there with a policy.
    pub selinux: bool,
    /// Whether the kernel has memory policies (NUMA).
    pub memory_policies: bool,
}

/// AppArmor, as far as a profile for the next exec goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppArmor {
    /// It confines nothing.
    Disabled,
    /// It takes a profile in /proc/PID/attr, which it shares with other security modules (Linux before 5.1).
    SharedFiles,
    /// It has a directory of its own in /proc/PID/attr.
    OwnFiles,
}

/// The facts that cost system calls of their own and that only some containers need.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'a> {
    /// Which of these namespaces are our own: what is set in them is set outside of the container.
    pub namespaces: &'a [LinuxNamespace],
    /// What the kernel's seccomp can do: seven questions.
    pub seccomp: bool,
    /// Which systemd runs: a connection and a question or two.
    pub systemd: bool,
    /// What resctrl has: a file for each of its classes.
    pub intel_rdt: bool,
    /// Where procfs and sysfs are.
    pub bare_mounts: bool,
    /// AppArmor.
    pub apparmor: bool,
    /// SELinux.
    pub selinux: bool,
    /// Memory policies.
    pub memory_policies: bool,
    /// Which programs write id mappings for a user.
    pub id_tools: bool,
}

impl<'a> Asked<'a> {
    /// What planning this config.json will want to know.
    pub fn by(spec: &'a Spec) -> Asked<'a> {
        let linux = spec.linux().as_ref();
        let configured =
            linux.filter(|linux| linux.sysctl().as_ref().is_some_and(|it| !it.is_empty()));
        let asked = Asked {
            namespaces: configured.and_then(|it| it.namespaces().as_deref()).unwrap_or_default(),
            seccomp: linux.is_some_and(|linux| linux.seccomp().is_some()),
            selinux: linux.is_some_and(|linux| linux.mount_label().is_some()),
            intel_rdt: linux.is_some_and(|linux| linux.intel_rdt().is_some()),
            memory_policies: linux.is_some_and(|linux| linux.memory_policy().is_some()),
            id_tools: linux.is_some_and(idmap::maps_more_than_one),
            ..Asked::default()
        };
        spec.process().as_ref().map_or(asked, |process| asked.and_by(process))
    }

    /// And what planning a process, which may be another one than config.json's, will want to know.
    pub fn and_by(self, process: &Process) -> Asked<'a> {
        let given = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
        Asked {
            apparmor: self.apparmor || given(process.apparmor_profile()),
            selinux: self.selinux || given(process.selinux_label()),
            ..self
        }
    }

    /// What planning will want to know besides, with these options.
    pub fn with_options(self, options: &Options) -> Asked<'a> {
        Asked {
            systemd: options.cgroup_manager == cgroup::Manager::Systemd,
            bare_mounts: options.no_pivot,
            ..self
        }
    }
}

/// `CAP_SYS_ADMIN`, as a bit of a capability mask.
pub(crate) const SYS_ADMIN: u64 = 1 << 21;

impl Host {
    /// Reads the facts, those that not every container needs only where they are asked for.
    ///
    /// # Errors
    /// When /proc is not there, or the cgroup hierarchies cannot be made out.
    pub fn probe(asked: Asked<'_>) -> Result<Host> {
        let sets = rustix::thread::capabilities(None)
            .map_err(|errno| Error::system("read our capabilities", errno))?;
        let (uid, gid) = sys::ids::effective_at_exec();
        let mut host = Host {
            uid,
            gid,
            capabilities: sets.permitted.bits(),
            in_user_namespace: false,
            joined_own: own_of(asked.namespaces),
            rootless: rootless::Facts::default(),
            cgroup: cgroup::probe()?,
            seccomp: seccomp::Kernel::ask(
                |action| asked.seccomp && sys::seccomp::action_is_available(action),
                |flag| asked.seccomp && sys::seccomp::flag_is_available(flag),
            ),
            intel_rdt: if asked.intel_rdt { intel_rdt::probe()? } else { None },
            bare_mounts: if asked.bare_mounts { bare_mounts::probe()? } else { Vec::new() },
            systemd: if asked.systemd { cgroup::systemd::probe()? } else { None },
            apparmor: if asked.apparmor { apparmor() } else { AppArmor::Disabled },
            selinux: asked.selinux && sys::selinux::is_enabled(),
            memory_policies: asked.memory_policies && sys::execution::has_memory_policies(),
        };
        host.in_user_namespace = host.administers() && rootless::in_user_namespace();
        if !host.privileged() {
            host.rootless = rootless::Facts::probe(&host.cgroup, asked.id_tools);
        }
        Ok(host)
    }

    /// Whether we are root of our own user namespace, be it the host's or another: we may write every id mapping whose ids we have
    /// ourselves, and join what belongs to the namespace.
    pub fn administers(&self) -> bool {
        self.uid == 0 && self.capabilities & SYS_ADMIN != 0
    }

    /// Whether we may do everything on this host that a container asks for: clone mount trees, write id mappings of any
    /// range, make device nodes.
    pub fn privileged(&self) -> bool {
        self.administers() && !self.in_user_namespace
    }

    /// A plain host with root, for tests of plans.
    #[cfg(test)]
    pub fn for_tests() -> Host {
        Host {
            uid: 0,
            gid: 0,
            capabilities: (1 << 41) - 1,
            in_user_namespace: false,
            joined_own: Kinds::NONE,
            rootless: rootless::Facts::default(),
            cgroup: cgroup::Layout::Legacy(Vec::new()),
            seccomp: seccomp::Kernel::ask(|_| true, |_| true),
            systemd: None,
            intel_rdt: None,
            bare_mounts: Vec::new(),
            apparmor: AppArmor::OwnFiles,
            selinux: true,
            memory_policies: true,
        }
    }
}

/// The kinds of those that lead to the namespace that we are in. One that leads nowhere is found out when it is joined.
fn own_of(listed: &[LinuxNamespace]) -> Kinds {
    let is_own = |namespace: &LinuxNamespace, kind| {
        let own = format!("/proc/self/ns/{}", criu::namespaces::name(kind));
        let path = namespace.path().as_ref().filter(|path| !path.as_os_str().is_empty());
        let found = path.and_then(|path| rustix::fs::stat(path).ok());
        let own = found.and_then(|found| Some((found, rustix::fs::stat(own).ok()?)));
        own.is_some_and(|(a, b)| (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino))
    };
    listed.iter().fold(Kinds::NONE, |own, namespace| {
        let kind = namespaces::kind_of(namespace.typ());
        if is_own(namespace, kind) { own.union(kind) } else { own }
    })
}

fn apparmor() -> AppArmor {
    let enabled = std::fs::read("/sys/module/apparmor/parameters/enabled");
    match enabled {
        Ok(enabled) if enabled.first() == Some(&b'Y') => {
            let own = rustix::fs::stat("/proc/self/attr/apparmor").is_ok();
            if own { AppArmor::OwnFiles } else { AppArmor::SharedFiles }
        }
        _ => AppArmor::Disabled,
    }
}
