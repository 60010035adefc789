//! The facts about the host that planning may use, read once.
//!
//! Planning is pure (invariant I1): whatever it needs to know about the kernel or the caller is a field here, so that a golden
//! test can state it. Nothing else in the runtime asks the host before the plan is made.

use crate::cgroup;
use crate::error::{Error, Result};
use crate::plan::{idmap, seccomp};
use crate::rootless;
use oci_spec::runtime::Spec;

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
    /// What a caller who is not the host's root may do.
    pub rootless: rootless::Facts,
    /// Where cgroups are mounted, and where we are in them.
    pub cgroup: cgroup::Layout,
    /// What the kernel's seccomp can do.
    pub seccomp: seccomp::Kernel,
    /// SELinux is enabled.
    pub selinux: bool,
}

/// The facts that cost system calls of their own and that only some containers need.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked {
    /// What the kernel's seccomp can do: seven questions.
    pub seccomp: bool,
    /// Whether SELinux is enabled: one question.
    pub selinux: bool,
    /// Which programs write id mappings for a user.
    pub id_tools: bool,
}

impl Asked {
    /// What planning this config.json will want to know.
    pub fn by(spec: &Spec) -> Asked {
        let linux = spec.linux().as_ref();
        Asked {
            seccomp: linux.is_some_and(|linux| linux.seccomp().is_some()),
            selinux: linux.is_some_and(|linux| linux.mount_label().is_some()),
            id_tools: linux.is_some_and(idmap::maps_more_than_one),
        }
    }
}

/// `CAP_SYS_ADMIN`, as a bit of a capability mask.
pub(crate) const SYS_ADMIN: u64 = 1 << 21;

/// selinuxfs is mounted where every distribution with SELinux has it.
fn selinux_is_enabled() -> bool {
    const SELINUX_MAGIC: u64 = 0xf97c_ff8c;
    let found = rustix::fs::statfs("/sys/fs/selinux");
    found.is_ok_and(|statfs| u64::try_from(statfs.f_type) == Ok(SELINUX_MAGIC))
}

impl Host {
    /// Reads the facts, those that not every container needs only where they are asked for.
    ///
    /// # Errors
    /// When /proc is not there, or the cgroup hierarchies cannot be made out.
    pub fn probe(asked: Asked) -> Result<Host> {
        let sets = rustix::thread::capabilities(None)
            .map_err(|errno| Error::system("read our capabilities", errno))?;
        let (uid, gid) = sys::ids::effective_at_exec();
        let mut host = Host {
            uid,
            gid,
            capabilities: sets.permitted.bits(),
            in_user_namespace: false,
            rootless: rootless::Facts::default(),
            cgroup: cgroup::probe()?,
            seccomp: seccomp::Kernel::ask(
                |action| asked.seccomp && sys::seccomp::action_is_available(action),
                |flag| asked.seccomp && sys::seccomp::flag_is_available(flag),
            ),
            selinux: asked.selinux && selinux_is_enabled(),
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
            rootless: rootless::Facts::default(),
            cgroup: cgroup::Layout::Legacy(Vec::new()),
            seccomp: seccomp::Kernel::ask(|_| true, |_| true),
            selinux: false,
        }
    }
}
