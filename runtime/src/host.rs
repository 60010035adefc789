//! The facts about the host that planning may use, read once.
//!
//! Planning is pure (invariant I1): whatever it needs to know about the kernel or the caller is a field here, so that a golden
//! test can state it. Nothing else in the runtime asks the host before the plan is made.

use crate::cgroup;
use crate::error::{Error, Result};
use crate::plan::seccomp;

/// What the runtime runs on, and as whom.
#[derive(Clone, Debug)]
pub struct Host {
    /// Effective user id of the caller.
    pub uid: u32,
    /// Effective group id of the caller.
    pub gid: u32,
    /// The caller's permitted capabilities, bit N for capability N.
    pub capabilities: u64,
    /// Where cgroups are mounted, and where we are in them.
    pub cgroup: cgroup::Layout,
    /// What the kernel's seccomp can do.
    pub seccomp: seccomp::Kernel,
}

/// `CAP_SYS_ADMIN`, as a bit of a capability mask.
pub(crate) const SYS_ADMIN: u64 = 1 << 21;

impl Host {
    /// Reads the facts. What the kernel's seccomp can do takes seven questions, which are asked only where the answers are needed.
    ///
    /// # Errors
    /// When /proc is not there, or the cgroup hierarchies cannot be made out.
    pub fn probe(with_seccomp: bool) -> Result<Host> {
        let sets = rustix::thread::capabilities(None)
            .map_err(|errno| Error::system("read our capabilities", errno))?;
        Ok(Host {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            capabilities: sets.permitted.bits(),
            cgroup: cgroup::probe()?,
            seccomp: seccomp::Kernel::ask(
                |action| with_seccomp && sys::seccomp::action_is_available(action),
                |flag| with_seccomp && sys::seccomp::flag_is_available(flag),
            ),
        })
    }

    /// Whether we may do everything on this host that a container asks for: clone mount trees, write id mappings of any
    /// range, make device nodes.
    pub fn privileged(&self) -> bool {
        self.uid == 0 && self.capabilities & SYS_ADMIN != 0
    }

    /// A plain host with root, for tests of plans.
    #[cfg(test)]
    pub fn for_tests() -> Host {
        Host {
            uid: 0,
            gid: 0,
            capabilities: (1 << 41) - 1,
            cgroup: cgroup::Layout::Legacy(Vec::new()),
            seccomp: seccomp::Kernel::ask(|_| true, |_| true),
        }
    }
}
