//! A failed step of the plan, told to a person: what, on which object, where in config.json, why, and what to do.

use crate::hooks;
use crate::plan::Plan;
use crate::plan::attributes::Attribute;
use crate::plan::op::{Inherited, Mask, Mount, Op, Step};
use oci_spec::runtime::LinuxSchedulerPolicy as Policy;
use rustix::io::Errno;
use rustix::process::Resource;
use std::fmt;
use std::fs;

/// A step that failed in the child, or was done for it by the parent.
#[derive(Debug)]
pub struct Failure {
    /// The container.
    pub id: String,
    /// The file that the pointer points into; empty where the command line says it.
    pub document: &'static str,
    /// The step.
    pub step: Step,
    /// Why.
    pub errno: Errno,
    /// Whether the container has a user namespace of its own, which many refusals come from.
    pub user_namespace: bool,
    /// Whether it has a pid namespace of its own.
    pub pid_namespace: bool,
}

/// What is tried with the container by a plan whose process is described by `document`: an `exec` has one of its own, or its command line.
pub fn attempt(document: &str) -> &'static str {
    if document == "config.json" { "start" } else { "exec in" }
}

impl Failure {
    /// The failure of a step of `plan`.
    pub fn of(plan: &Plan, step: &Step, errno: Errno) -> Box<Failure> {
        Box::new(Failure {
            id: plan.id.clone(),
            document: plan.document,
            step: step.clone(),
            errno,
            user_namespace: plan.namespaces.contains(sys::namespace::Kinds::USER),
            pid_namespace: plan.namespaces.contains(sys::namespace::Kinds::PID),
        })
    }

    /// Whether a process could not be made because there are as many already as may be (clone(2)).
    pub fn is_for_want_of_processes(&self) -> bool {
        matches!(self.step.op, Op::Fork { .. }) && self.errno == Errno::AGAIN
    }

    /// Where what failed was asked for, if a file asked for it.
    fn place(&self) -> String {
        if self.step.pointer.is_empty() || self.document.is_empty() {
            return String::new();
        }
        format!(" ({} {})", self.document, self.step.pointer)
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        if let (Op::Mount(mount), Errno::NOENT) = (&self.step.op, self.errno)
            && let Some(missing) = missing(mount)
        {
            return Some(missing);
        }
        let hint = self
            .change_hint()
            .or_else(|| self.place_hint())
            .or_else(|| self.file_system_hint())
            .or_else(|| self.namespace_hint())
            .or_else(|| self.process_hint())?;
        Some(hint.to_owned())
    }

    /// For what becomes of a mount besides its being made.
    fn change_hint(&self) -> Option<&'static str> {
        Some(match (&self.step.op, self.errno) {
            (Op::Mount(mount), Errno::INVAL | Errno::PERM)
                if mount.copy_up.is_some() && self.user_namespace =>
            {
                "what is copied up has an owner without an id in the user namespace, or is a device node, which cannot be made there"
            }
            (Op::Mount(mount), Errno::NOSPC) if mount.copy_up.is_some() => {
                "what is copied up needs more room than `size=` gives the tmpfs"
            }
            (Op::Remount(_), Errno::INVAL) => {
                "nothing is mounted at exactly that place, or an option is not known to its file system"
            }
            _ => return None,
        })
    }

    /// For what is in a place already, or on the way to it.
    fn place_hint(&self) -> Option<&'static str> {
        Some(match (&self.step.op, self.errno) {
            (Op::Device(_), Errno::EXIST) => "another file is there",
            (Op::Device(_), Errno::NXIO) => {
                "in a user namespace the host's own node at that path is taken, and what the host has there is not this device"
            }
            (Op::Directory { .. }, Errno::LOOP) => {
                "the path leads through a link to what a process has open, such as /proc/self/fd/3, or to itself"
            }
            (Op::Bind(bind), Errno::EXIST) if bind.copy_link => {
                "something else is there, and a link is copied over none but its like"
            }
            (Op::Device(_) | Op::Symlink { .. } | Op::Console(_), Errno::LOOP) => {
                "the image has a symbolic link there: /dev must be a directory of its own, most often a tmpfs in `mounts`"
            }
            (Op::Mask(_), Errno::NXIO) => {
                "files are hidden behind the container's /dev/null, and what lies there is another device or none"
            }
            _ => return None,
        })
    }

    fn file_system_hint(&self) -> Option<&'static str> {
        Some(match (&self.step.op, self.errno) {
            (Op::Mount(mount), Errno::PERM)
                if mount.kind.as_c_str() == c"proc" && !self.pid_namespace =>
            {
                "a new proc can be mounted only with a pid namespace of its own: add one, or bind the host's /proc"
            }
            (Op::Mount(mount), Errno::PERM) if mount.kind.as_c_str() == c"sysfs" => {
                "sysfs can be mounted only with a network namespace of its own: add one, or bind the host's /sys"
            }
            (Op::Mount(mount), Errno::LOOP | Errno::NOTDIR) if mount.ordinary => {
                "the image has a symbolic link there: it must be mounted on ordinary directory"
            }
            (op, Errno::LOOP) if op.is_off_proc() => {
                "a symbolic link of the image leads into /proc, where nothing may be mounted that way, or to itself"
            }
            (Op::Console(_), Errno::NOENT) => {
                "a terminal needs a mount of type `devpts` on /dev/pts"
            }
            (Op::Mount(_), Errno::NODEV) => {
                "this kernel does not have that file system: see /proc/filesystems"
            }
            (Op::Mount(mount), Errno::INVAL) if has_id_option(mount) => {
                "the ids in `uid=` and `gid=` must be ones of the user namespace: a rootless container mostly has no other than 0"
            }
            (Op::Mount(mount), Errno::PERM) if mount.kind.as_c_str() == c"proc" => {
                "in a user namespace proc can be mounted only where one is visible in full: what masks parts of it here must go first"
            }
            (Op::Mount(mount), Errno::INVAL) if has_label(mount) => {
                "the host's SELinux policy does not know the label of /linux/mountLabel, or an option is not known to this file system: see `dmesg`"
            }
            (Op::Mask(Mask { label: Some(_), .. }), Errno::INVAL) => {
                "the host's SELinux policy does not know the label of /linux/mountLabel"
            }
            (Op::Mount(_), Errno::INVAL) => {
                "an option is not known to this file system: see `dmesg`"
            }
            (Op::Root { .. } | Op::Bind(_) | Op::Mount(_), Errno::ACCESS)
                if self.user_namespace =>
            {
                "the container's root user must be able to reach it: every directory on the way needs the `x` bit"
            }
            (op, Errno::PERM) if keeps_flags(op) => {
                "in a user namespace a bind keeps the `ro`, `nosuid`, `nodev`, `noexec` and atime options that the host has given to its source"
            }
            (Op::Bind(_) | Op::Mount(_), Errno::NOTDIR) => {
                "a directory goes on a directory, and anything else on a file: what is at the target, or on its way, is of the other kind"
            }
            (Op::Pivot { .. }, Errno::INVAL) => {
                "on a host whose root is an initramfs, `--no-pivot` is needed"
            }
            _ => return None,
        })
    }

    fn namespace_hint(&self) -> Option<&'static str> {
        Some(match (&self.step.op, self.errno) {
            (Op::Fork { namespaces }, Errno::PERM | Errno::ACCESS | Errno::NOSPC)
                if namespaces.contains(sys::namespace::Kinds::USER) =>
            {
                "user namespaces are limited here: look at /proc/sys/user/max_user_namespaces and, in /proc/sys/kernel, at \
                 unprivileged_userns_clone and apparmor_restrict_unprivileged_userns"
            }
            (Op::Fork { .. }, Errno::NOSPC) => {
                "there are too many namespaces, or they lie too deep in one another: look at /proc/sys/user"
            }
            (Op::NamespaceRoot { .. }, Errno::INVAL) => {
                "the container is set up by root of its user namespace: id 0 must be in uidMappings and gidMappings"
            }
            (Op::JoinCgroup, Errno::ACCESS | Errno::PERM) => {
                "a user can move a process only within the cgroups that were delegated: run nrun in them, as `systemd-run --user --scope` does"
            }
            _ => return None,
        })
    }

    fn process_hint(&self) -> Option<&'static str> {
        Some(match (&self.step.op, self.errno) {
            (Op::Rlimit { resource: Resource::Nofile, hard, .. }, Errno::PERM)
                if is_above_nr_open(*hard) =>
            {
                "no process may have more open files than /proc/sys/fs/nr_open says: it takes a lower limit, or a higher value there"
            }
            (Op::Rlimit { .. }, Errno::PERM) => {
                "raising a hard limit needs CAP_SYS_RESOURCE: keep it at or below nrun's own, see `ulimit -Ha`"
            }
            (Op::User { .. }, Errno::INVAL) => {
                "cannot set uid to unmapped user in user namespace: uid and gid must be among those of uidMappings and gidMappings"
            }
            (Op::User { .. }, Errno::PERM) => {
                "this user namespace denies setgroups: additional groups take a mapping of more than one group, see /etc/subgid"
            }
            (Op::WriteProc { path, .. }, Errno::ACCESS | Errno::PERM)
                if path.to_bytes().ends_with(b"oom_score_adj") =>
            {
                "lowering the score needs CAP_SYS_RESOURCE"
            }
            (Op::WriteProc { .. }, Errno::NOENT) => "this kernel does not have that parameter",
            (Op::Attribute(attribute), errno) => return attribute_hint(attribute, errno),
            (Op::WorkingDirectory { .. }, Errno::LOOP) => {
                "the path leads through a link to what a process has open, or through links without end"
            }
            (Op::WorkingDirectory { .. }, Errno::XDEV) => {
                "the working directory is outside the container's root"
            }
            (Op::FindExecutable { candidates, .. }, Errno::NOENT) if candidates.len() > 1 => {
                "the directories are those of PATH in the process's environment, as they are inside the container"
            }
            (Op::FindExecutable { .. }, Errno::ACCESS) => {
                "it must have the `x` bit for the container's user, and lie on a mount without `noexec`"
            }
            (Op::Exec { .. }, Errno::NOENT) => {
                "the file is there: its interpreter (the line after #!, or the ELF loader) is not"
            }
            (Op::Exec { .. }, Errno::NOEXEC) => {
                "it is not a program for this machine, or a script without a `#!` line"
            }
            _ => return None,
        })
    }
}

fn attribute_hint(attribute: &Attribute, errno: Errno) -> Option<&'static str> {
    Some(match (attribute, errno) {
        (Attribute::Scheduler { name: Policy::SchedFifo | Policy::SchedRr, .. }, Errno::PERM) => {
            "a realtime policy needs CAP_SYS_NICE, and with cgroup v1 a budget: /linux/resources/cpu/realtimeRuntime"
        }
        (Attribute::Scheduler { name: Policy::SchedDeadline, .. }, Errno::PERM) => {
            "a deadline needs CAP_SYS_NICE, and such a process scheduler can't be used together with AllowedCPUs, which are /linux/resources/cpu/cpus"
        }
        (Attribute::Scheduler { name: Policy::SchedDeadline, .. }, Errno::BUSY) => {
            "the processors have not that much time left for deadlines"
        }
        (Attribute::Scheduler { .. } | Attribute::IoPriority { .. }, Errno::PERM) => {
            "a higher priority than nrun's own needs CAP_SYS_NICE"
        }
        (Attribute::Affinity(_), Errno::INVAL) => {
            "none of these CPUs is there and in the container's cpuset"
        }
        (Attribute::MemoryPolicy { .. }, Errno::INVAL) => {
            "none of these nodes is there and in the container's cpuset, or the kernel is too old for the mode"
        }
        (Attribute::Label(label), Errno::NOENT) if label.is_of_apparmor() => {
            "the profile is not loaded: `apparmor_parser` loads it, `aa-status` lists those that are"
        }
        (Attribute::Label(label), Errno::INVAL) if !label.is_of_apparmor() => {
            "the host's SELinux policy does not know the label: `seinfo -t` lists its types"
        }
        (Attribute::Label(_), Errno::XDEV) => "/proc is not a procfs here",
        (Attribute::Label(_), Errno::ACCESS | Errno::PERM) => {
            "what nrun itself is confined by does not allow that change"
        }
        _ => return None,
    })
}

/// Which parameter of a mount names a path that is not there: the kernel says no more than that one is missing.
fn missing(mount: &Mount) -> Option<String> {
    mount.options.iter().find_map(|(key, value)| {
        let (key, value) = (key.to_str().ok()?, value.as_ref()?.to_str().ok()?);
        // The layers of an overlay are one parameter; the name of a device may have colons in it.
        let between = if key == "lowerdir" { ':' } else { '\0' };
        // `//` is a server, and a backslash escapes what follows.
        let is_path =
            |path: &str| path.starts_with('/') && !path.starts_with("//") && !path.contains('\\');
        let gone = |path: &&str| is_path(path) && matches!(fs::exists(path), Ok(false));
        let path = value.split(between).find(gone)?;
        Some(format!("`{key}` names `{path}`, which is not there on the host"))
    })
}

/// RLIMIT_NOFILE goes no further than this for anybody, whatever capabilities he has (`do_prlimit` in the kernel's kernel/sys.c).
fn is_above_nr_open(hard: Option<u64>) -> bool {
    let most =
        fs::read_to_string("/proc/sys/fs/nr_open").ok().and_then(|most| most.trim().parse().ok());
    most.is_some_and(|most: u64| hard.is_none_or(|hard| hard > most))
}

/// Whether a mount has flags of the host's that it cannot lose.
fn keeps_flags(op: &Op) -> bool {
    let inherited = match op {
        Op::Bind(bind) => bind.inherited,
        Op::Remount(remount) => remount.inherited,
        _ => return false,
    };
    inherited == Inherited::Locked
}

fn has_id_option(mount: &Mount) -> bool {
    mount.options.iter().any(|(key, _)| matches!(key.to_bytes(), b"uid" | b"gid"))
}

fn has_label(mount: &Mount) -> bool {
    mount.options.iter().any(|(key, _)| key.to_bytes().ends_with(b"context"))
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = sys::text(self.errno);
        let (id, place) = (&self.id, self.place());
        let attempt = attempt(self.document);
        match &self.step.op {
            // The words that engines match to tell exit status 127 and 126 from 125.
            Op::FindExecutable { name, .. } => {
                write!(f, "cannot {attempt} container `{id}`{place}: exec: \"{name}\": ")?;
                match self.errno {
                    Errno::NOENT if !name.contains('/') => {
                        write!(f, "executable file not found in $PATH")
                    }
                    Errno::NOENT => write!(f, "stat {name}: no such file or directory"),
                    // Podman knows only the second half, which is what runc says.
                    Errno::ISDIR => write!(f, "is a directory: permission denied"),
                    _ => write!(f, "{why}"),
                }
            }
            Op::Hook(hook) => write!(f, "{}", hooks::not_run(id, hook, self.errno)),
            Op::Exec { argv, .. } => {
                let name =
                    argv.as_slice().first().map(|name| name.to_string_lossy()).unwrap_or_default();
                write!(f, "cannot {attempt} container `{id}`{place}: exec {name}: {why}")
            }
            op => {
                let from = match op {
                    Op::Mount(mount) => mount.source(),
                    _ => None,
                };
                let from = from.map(|path| format!(" from `{}`", path.to_string_lossy()));
                let (what, from) = (op.phrase(), from.unwrap_or_default());
                write!(f, "cannot {what}{from} in container `{id}`{place}: {why}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::attributes::Label;

    #[test]
    fn what_is_wrong_with_a_label_is_said_by_whose_it_is() {
        let hint = |value: &std::ffi::CStr, errno| {
            let (what, path) = (String::new(), c"/proc/self/attr/exec");
            let label = Label { what, path, value: value.to_owned(), optional: false };
            attribute_hint(&Attribute::Label(label), errno).unwrap_or_default()
        };
        let (profile, label) = (c"exec acme", c"system_u:system_r:container_t:s0");
        assert!(hint(profile, Errno::NOENT).contains("`apparmor_parser` loads it"));
        assert_eq!(hint(profile, Errno::INVAL), "");
        assert!(hint(label, Errno::INVAL).contains("SELinux policy does not know the label"));
        assert_eq!(hint(label, Errno::NOENT), "");
        for value in [profile, label] {
            assert!(hint(value, Errno::ACCESS).contains("what nrun itself is confined by"));
        }
    }
}
