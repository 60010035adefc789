//! What keeps containers from the host beside namespaces and capabilities. Pure.

use super::judge::Verdict::{Limited, Missing};
use super::judge::{Finding, finding};
use super::probe::Host;
use crate::apparmor::{Availability, Lack};
use crate::selinux::Standing;

/// What filters system calls, and what confines containers beside that.
pub(super) fn findings(host: &Host) -> Vec<Finding> {
    vec![
        finding(
            "seccomp",
            host.seccomp,
            Missing,
            if host.seccomp { "filters" } else { "no filters" },
            "run a kernel with CONFIG_SECCOMP_FILTER, or every container with `--security-opt seccomp=unconfined`",
        ),
        module(host),
    ]
}

/// The security module that containers are confined by. Where there are two, they are given a profile of AppArmor's.
pub(super) fn module(host: &Host) -> Finding {
    let (good, found, advice) = match &host.apparmor {
        Some(Availability::Absent(lack)) => {
            let (found, advice) = without_profile(*lack);
            (false, found, advice)
        }
        Some(Availability::Unknown) => (
            false,
            "AppArmor that does not answer",
            "containers are given the profile, and refused where it is not loaded: let nman write to /sys/kernel/security/apparmor/.access, \
             from which `ProtectKernelTunables=` keeps a unit of systemd",
        ),
        Some(_) => (true, "AppArmor", ""),
        None => labels(host.selinux),
    };
    finding("security module", good, Limited, found, advice)
}

/// Whether containers have SELinux labels that hold them, what is found, and what to do about it.
fn labels(selinux: Option<Standing>) -> (bool, &'static str, &'static str) {
    match selinux {
        Some(Standing::Enforced) => (true, "SELinux", ""),
        Some(Standing::Permissive) => (
            false,
            "SELinux that does not enforce",
            "what the policy denies containers is written down, and done nevertheless: `setenforce 1`",
        ),
        Some(Standing::NoContexts) => (
            false,
            "SELinux without contexts for containers",
            "containers have no label: install a policy for them such as container-selinux, which has a file `lxc_contexts`",
        ),
        Some(Standing::NoTypes) => (
            false,
            "SELinux without types for containers",
            "containers have no label, for the policy does not know the one that its file `lxc_contexts` names: install a policy for them \
             such as container-selinux",
        ),
        None => (
            false,
            "neither AppArmor nor SELinux",
            "containers are held by namespaces, capabilities and seccomp alone: boot with `apparmor=1 security=apparmor`, and \
             install Debian's package apparmor",
        ),
    }
}

/// What is found, and what to do about it, where containers have no profile although there is AppArmor.
fn without_profile(lack: Lack) -> (&'static str, &'static str) {
    match lack {
        Lack::NoParser => (
            "AppArmor without `apparmor_parser`",
            "containers have no profile: install Debian's package apparmor, which has the program that loads it",
        ),
        Lack::NotRoot | Lack::NotOurs => (
            "AppArmor without the profile of containers",
            "containers of users have it when root has loaded it: any container of root's does that, and the boot where it is in /etc/apparmor.d",
        ),
        Lack::NoAnswer => (
            "AppArmor out of reach",
            "containers have no profile: mount securityfs on /sys/kernel/security",
        ),
    }
}
