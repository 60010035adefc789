//! What each fact means: pure.

use super::kernel::Presence;
use super::probe::Host;
use super::{security, user};
use crate::listing::human_size;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Good,
    /// Something works less well, or not at all.
    Limited,
    /// Containers do not run.
    Missing,
}

impl Verdict {
    /// A word for a table.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Limited => "limited",
            Self::Missing => "missing",
        }
    }
}

/// What was found out about one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The thing.
    pub check: &'static str,
    /// How bad it is.
    pub verdict: Verdict,
    /// What is there.
    pub found: String,
    /// How to get what is not.
    pub advice: Option<String>,
}

use Verdict::{Good, Limited, Missing};

/// A finding that is good, or else as bad as that, with advice.
pub(super) fn finding(
    check: &'static str,
    good: bool,
    otherwise: Verdict,
    found: impl Into<String>,
    advice: impl Into<String>,
) -> Finding {
    let verdict = if good { Good } else { otherwise };
    Finding { check, verdict, found: found.into(), advice: (!good).then(|| advice.into()) }
}

/// Every finding, in the order in which a container needs the things.
#[must_use]
pub fn judge(host: &Host) -> Vec<Finding> {
    let mut all = process(host);
    match &host.user {
        Some(user) => {
            all.retain(|one| !user::INSTEAD_OF.contains(&one.check));
            all.extend(user::findings(user, host.user_namespaces));
        }
        None => all.extend(cgroups(host)),
    }
    all.extend(security::findings(host));
    all.extend(storage(host));
    all.extend(links(host));
    if host.user.is_none() {
        all.extend(network(host));
    }
    all.extend(surroundings(host));
    all
}

const NAMESPACES: [&str; 7] = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"];

fn process(host: &Host) -> Vec<Finding> {
    let lacking: Vec<&str> = NAMESPACES
        .into_iter()
        .filter(|kind| !host.namespaces.iter().any(|own| own == kind))
        .collect();
    let needed = lacking.iter().any(|kind| *kind != "user" && *kind != "cgroup");
    let options: Vec<String> =
        lacking.iter().map(|kind| format!("CONFIG_{}_NS", kind.to_uppercase())).collect();
    let runtime = match &host.runtime {
        Ok((path, version)) => format!("{version} ({})", path.display()),
        Err(why) => why.clone(),
    };
    vec![
        finding(
            "root",
            host.root,
            Missing,
            if host.root { "running as root" } else { "not running as root" },
            "run nman as root, such as with sudo",
        ),
        finding(
            "runtime",
            host.runtime.is_ok(),
            Missing,
            runtime,
            "put `nrun` beside `nman` or in PATH, or name another OCI runtime with `--runtime`, such as Debian's package runc",
        ),
        finding(
            "kernel",
            host.missing_calls.is_empty(),
            Missing,
            match host.missing_calls.is_empty() {
                true => format!("Linux {}", host.release),
                false => {
                    format!("Linux {} without {}", host.release, host.missing_calls.join(", "))
                }
            },
            "run Linux 5.12 or later",
        ),
        finding(
            "namespaces",
            lacking.is_empty(),
            if needed { Missing } else { Limited },
            match lacking.is_empty() {
                true => NAMESPACES.join(", "),
                false => format!("no {}", lacking.join(", ")),
            },
            format!("run a kernel with {}", options.join(", ")),
        ),
        finding(
            "user namespaces",
            host.user_namespaces > 0,
            Limited,
            format!("at most {}", host.user_namespaces),
            "`--userns` needs them: `sysctl user.max_user_namespaces=15000`",
        ),
    ]
}

/// The controllers, which options need them, and the kernel's option.
const CONTROLLERS: [(&str, &str, &str, &str); 5] = [
    (
        "cgroup memory",
        "memory",
        "`--memory`",
        "CONFIG_MEMCG; some distributions need `cgroup_enable=memory` on the kernel's command line",
    ),
    ("cgroup cpu", "cpu", "`--cpus`", "CONFIG_CGROUP_SCHED and CONFIG_CFS_BANDWIDTH"),
    ("cgroup cpuset", "cpuset", "`--cpuset-cpus`", "CONFIG_CPUSETS"),
    ("cgroup pids", "pids", "`--pids-limit`", "CONFIG_CGROUP_PIDS"),
    ("cgroup io", "io", "`--blkio-weight`", "CONFIG_BLK_CGROUP"),
];

fn cgroups(host: &Host) -> Vec<Finding> {
    let own = &host.cgroups;
    let mut all = vec![finding(
        "cgroups",
        own.version > 0,
        Missing,
        match own.version {
            0 => "not mounted".to_owned(),
            1 if own.hybrid => "v1, and v2 beside it".to_owned(),
            version => format!("v{version}"),
        },
        "mount them: `mount -t cgroup2 none /sys/fs/cgroup`; systemd and Debian's package cgroupfs-mount do",
    )];
    if own.version == 0 {
        return all;
    }
    if own.read_only {
        all[0] = finding(
            "cgroups",
            false,
            Missing,
            format!("v{}, read-only", own.version),
            "no container gets its cgroup: mount them writable; a container of another manager has them so with `--privileged`",
        );
    }
    for (check, controller, options, config) in CONTROLLERS {
        let v1_name = if controller == "io" { "blkio" } else { controller };
        let good = own.controllers.iter().any(|name| name == controller || name == v1_name);
        let found = if good { "there" } else { "not there" };
        let advice = format!("{options} need it: run a kernel with {config}");
        all.push(finding(check, good, Limited, found, advice));
    }
    if own.version == 1 {
        let advice = match own.hybrid {
            // A program on the other hierarchy does it, as on version 2.
            true => {
                "nrun does without, runc and crun start no container: run a kernel with CONFIG_CGROUP_DEVICE"
            }
            false => {
                "a container's devices cannot be limited: run a kernel with CONFIG_CGROUP_DEVICE"
            }
        };
        let good = own.controllers.iter().any(|name| name == "devices");
        all.push(finding(
            "cgroup devices",
            good,
            if own.hybrid { Limited } else { Missing },
            if good { "there" } else { "not there" },
            advice,
        ));
    }
    all.push(finding(
        "swap limit",
        own.swap,
        Limited,
        if own.swap { "there" } else { "not there" },
        "`--memory-swap` needs it: `swapaccount=1` on the kernel's command line",
    ));
    all
}

/// Magic numbers of file systems on which overlayfs cannot have its upper directory.
const NO_UPPER: [(u64, &str); 6] = [
    (0x794c_7630, "overlayfs"),
    (0x6969, "NFS"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x4d44, "FAT"),
    (0x6573_5546, "FUSE"),
];
const TMPFS: u64 = 0x0102_1994;
/// Below the first nothing can be pulled, below the second not much.
const LEAST_SPACE: u64 = 100_000_000;
const LITTLE_SPACE: u64 = 2_000_000_000;

fn storage(host: &Host) -> Vec<Finding> {
    let own = &host.storage;
    let overlay = host.filesystems.contains("\toverlay\n")
        || matches!(
            host.kernel.has("CONFIG_OVERLAY_FS", "overlay"),
            Presence::There | Presence::Loadable
        );
    let unfit = NO_UPPER.iter().find(|(kind, _)| *kind == own.kind).map(|(_, name)| *name);
    let path = own.path.display();
    let (few_files, no_files) =
        (own.files > 0 && own.free_files < 50_000, own.files > 0 && own.free_files < 1000);
    vec![
        finding(
            "overlayfs",
            overlay,
            Missing,
            if overlay { "there" } else { "not there" },
            "`modprobe overlay`, or run a kernel with CONFIG_OVERLAY_FS",
        ),
        finding(
            "storage",
            unfit.is_none() && own.kind != TMPFS && own.fault.is_none(),
            if unfit.is_some() || own.fault.is_some() { Missing } else { Limited },
            match (&own.fault, unfit, own.kind) {
                (Some(fault), ..) => format!("{path}: {fault}"),
                (None, Some(name), _) => format!("{path} is on {name}"),
                (None, None, TMPFS) => format!("{path} is in memory"),
                _ => path.to_string(),
            },
            match unfit {
                _ if own.fault.is_some() => {
                    "no container starts from there: mount it writable, look at the disk, or choose another place with `--root`"
                }
                Some(_) => {
                    "overlayfs needs ext4, xfs, btrfs or tmpfs below its upper directory: choose another place with `--root`"
                }
                None => "images are gone after a reboot: choose another place with `--root`",
            },
        ),
        finding(
            "disk space",
            own.free >= LITTLE_SPACE && !few_files,
            if own.free < LEAST_SPACE || no_files { Missing } else { Limited },
            match few_files {
                true => {
                    format!("{} and {} files free on {path}", human_size(own.free), own.free_files)
                }
                false => format!("{} free on {path}", human_size(own.free)),
            },
            "make room: `nman system prune`, or choose another place with `--root`",
        ),
    ]
}

/// What networks with a bridge are made of, whoever has them.
fn links(host: &Host) -> Vec<Finding> {
    let kinds = [("bridge", "CONFIG_BRIDGE", "bridge"), ("veth", "CONFIG_VETH", "veth")];
    let one = |(check, option, module)| {
        let (good, found) = match host.kernel.has(option, module) {
            Presence::There => (true, "there"),
            Presence::Loadable => (true, "a module"),
            Presence::Unknown => (true, "the kernel does not tell"),
            Presence::Absent => (false, "not there"),
        };
        let advice = format!(
            "networks other than host and none need it: `modprobe {module}`, or run a kernel with {option}"
        );
        finding(check, good, Limited, found, advice)
    };
    kinds.into_iter().map(one).collect()
}

fn network(host: &Host) -> Vec<Finding> {
    let mut all = Vec::new();
    all.push(finding(
        "nf_tables",
        host.dropping.is_ok(),
        Limited,
        host.dropping.as_ref().map_or_else(Clone::clone, |_| "there".to_owned()),
        "networks other than host and none need it: `modprobe nf_tables`, or run a kernel with CONFIG_NF_TABLES, CONFIG_NFT_NAT and CONFIG_NFT_MASQ",
    ));
    let dropping = host.dropping.clone().unwrap_or_default();
    all.push(finding(
        "firewall",
        dropping.is_empty(),
        Limited,
        match dropping.is_empty() {
            true => "no chain drops what is forwarded".to_owned(),
            false => format!("{} drops what is forwarded", dropping.join(", ")),
        },
        "containers cannot reach the outside, nor be reached: let packets of nman's bridges pass, such as with \
         `iptables -I FORWARD -i 'nman+' -j ACCEPT; iptables -I FORWARD -o 'nman+' -j ACCEPT` (Docker: in the chain DOCKER-USER; firewalld: \
         `firewall-cmd --zone=trusted --add-interface=BRIDGE`)",
    ));
    all.push(finding(
        "forwarding",
        host.forwarding || !host.switches_are_fixed,
        Limited,
        match (host.forwarding, host.switches_are_fixed) {
            (true, _) => "on",
            (false, true) => "off, and /proc/sys is read-only",
            (false, false) => "off; turned on with the first network",
        },
        "networks other than host and none need it: `sysctl net.ipv4.ip_forward=1` where /proc/sys can be written",
    ));
    let plugins: Vec<String> =
        host.plugins.iter().map(|(path, count)| format!("{count} in {}", path.display())).collect();
    all.push(finding(
        "CNI plug-ins",
        !plugins.is_empty(),
        Limited,
        if plugins.is_empty() { "none".to_owned() } else { plugins.join(", ") },
        "networks of foreign types, such as macvlan, need them: install Debian's package containernetworking-plugins, or set CNI_PATH",
    ));
    all
}

/// The beginning of 2024: a clock before that is not set.
const EARLIEST: u64 = 1_704_067_200;

fn surroundings(host: &Host) -> Vec<Finding> {
    vec![
        finding(
            "name servers",
            host.name_servers > 0,
            Limited,
            format!("{} in /etc/resolv.conf", host.name_servers),
            "names of registries and of hosts are not found: put `nameserver ADDRESS` into /etc/resolv.conf",
        ),
        finding(
            "certificates",
            host.authorities,
            Limited,
            if host.authorities { "there" } else { "no bundle of authorities" },
            "registries cannot be trusted: install Debian's package ca-certificates, or set SSL_CERT_FILE",
        ),
        finding(
            "clock",
            host.time >= EARLIEST,
            Limited,
            if host.time >= EARLIEST { "set" } else { "before 2024" },
            "certificates of registries seem not yet valid: set the clock, such as with `timedatectl set-ntp true`",
        ),
        finding(
            "open files",
            host.open_files >= 1024,
            Limited,
            format!("at most {}", host.open_files),
            "raise the limit: `ulimit -n 65536`, or LimitNOFILE= of the service",
        ),
        finding(
            "processes",
            host.processes >= 4096,
            Limited,
            format!("at most {}", host.processes),
            "raise it: `sysctl kernel.pid_max=4194304 kernel.threads-max=100000`",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::kernel::Kernel;
    use super::super::probe::{Cgroups, Storage};
    use super::*;
    use crate::apparmor::{Availability, Lack};
    use crate::selinux::Standing;
    use std::path::PathBuf;

    fn good() -> Host {
        Host {
            root: true,
            user: None,
            release: "6.1.0".to_owned(),
            missing_calls: Vec::new(),
            kernel: Kernel {
                config: "CONFIG_BRIDGE=y\nCONFIG_VETH=y\n".to_owned(),
                ..Kernel::default()
            },
            filesystems: "nodev\toverlay\n".to_owned(),
            namespaces: NAMESPACES.map(str::to_owned).into(),
            user_namespaces: 1000,
            cgroups: Cgroups {
                version: 2,
                hybrid: false,
                read_only: false,
                controllers: ["cpu", "cpuset", "io", "memory", "pids"].map(str::to_owned).into(),
                swap: true,
            },
            seccomp: true,
            apparmor: Some(Availability::Loaded),
            selinux: None,
            storage: Storage {
                path: PathBuf::from("/var"),
                kind: 0xef53,
                free: 50_000_000_000,
                free_files: 1_000_000,
                files: 2_000_000,
                fault: None,
            },
            forwarding: false,
            switches_are_fixed: false,
            dropping: Ok(Vec::new()),
            plugins: vec![(PathBuf::from("/opt/cni/bin"), 20)],
            time: EARLIEST + 1,
            open_files: 20_000,
            processes: 100_000,
            runtime: Ok((PathBuf::from("/usr/bin/nrun"), "nrun 0.1".to_owned())),
            authorities: true,
            name_servers: 1,
        }
    }

    /// A host that differs from a good one in one thing has one finding, with advice.
    #[track_caller]
    fn finds(change: impl FnOnce(&mut Host), check: &str, verdict: Verdict, advice: &str) {
        let mut host = good();
        change(&mut host);
        let found: Vec<_> = judge(&host).into_iter().filter(|one| one.verdict != Good).collect();
        let [one] = &found[..] else { panic!("{found:?}") };
        assert_eq!((one.check, one.verdict), (check, verdict));
        assert!(one.advice.as_deref().unwrap().contains(advice), "{one:?}");
    }

    #[test]
    fn a_good_host_lacks_nothing() {
        assert!(
            judge(&good())
                .iter()
                .all(|finding| finding.verdict == Good && finding.advice.is_none())
        );
    }

    #[test]
    fn what_is_needed_is_told_apart_from_what_is_worth_having() {
        finds(|host| host.root = false, "root", Missing, "sudo");
        finds(|host| host.runtime = Err("no".to_owned()), "runtime", Missing, "nrun");
        finds(|host| host.missing_calls = vec!["openat2"], "kernel", Missing, "5.12");
        finds(
            |host| host.namespaces.retain(|kind| kind != "pid"),
            "namespaces",
            Missing,
            "CONFIG_PID_NS",
        );
        finds(
            |host| host.namespaces.retain(|kind| kind != "cgroup"),
            "namespaces",
            Limited,
            "CONFIG_CGROUP_NS",
        );
        finds(
            |host| host.user_namespaces = 0,
            "user namespaces",
            Limited,
            "sysctl user.max_user_namespaces",
        );
        finds(|host| host.cgroups.version = 0, "cgroups", Missing, "mount -t cgroup2");
        finds(|host| host.cgroups.read_only = true, "cgroups", Missing, "mount them writable");
        finds(
            |host| host.cgroups.controllers.retain(|name| name != "memory"),
            "cgroup memory",
            Limited,
            "cgroup_enable=memory",
        );
        finds(|host| host.seccomp = false, "seccomp", Missing, "CONFIG_SECCOMP_FILTER");
        finds(|host| host.filesystems.clear(), "overlayfs", Missing, "modprobe overlay");
        finds(|host| host.storage.kind = 0x794c_7630, "storage", Missing, "--root");
        finds(|host| host.storage.kind = TMPFS, "storage", Limited, "--root");
        finds(|host| host.storage.free = 1_000_000_000, "disk space", Limited, "prune");
        finds(|host| host.storage.free_files = 10, "disk space", Missing, "prune");
        finds(
            |host| host.kernel.config = "CONFIG_VETH=y\n".to_owned(),
            "bridge",
            Limited,
            "modprobe bridge",
        );
        finds(
            |host| host.dropping = Err("no".to_owned()),
            "nf_tables",
            Limited,
            "CONFIG_NF_TABLES",
        );
        finds(
            |host| host.dropping = Ok(vec!["filter/FORWARD".to_owned()]),
            "firewall",
            Limited,
            "DOCKER-USER",
        );
        finds(|host| host.switches_are_fixed = true, "forwarding", Limited, "sysctl net.ipv4");
        finds(|host| host.plugins.clear(), "CNI plug-ins", Limited, "containernetworking-plugins");
        finds(|host| host.name_servers = 0, "name servers", Limited, "resolv.conf");
        finds(|host| host.authorities = false, "certificates", Limited, "ca-certificates");
        finds(|host| host.time = 5, "clock", Limited, "timedatectl");
        finds(|host| host.open_files = 256, "open files", Limited, "ulimit -n");
        finds(|host| host.processes = 100, "processes", Limited, "pid_max");
    }

    #[test]
    fn it_is_said_why_containers_have_no_profile() {
        let finds = |apparmor, advice| {
            finds(|host| host.apparmor = apparmor, "security module", Limited, advice);
        };
        finds(None, "apparmor=1");
        for (lack, advice) in [
            (Lack::NoParser, "package apparmor"),
            (Lack::NotRoot, "/etc/apparmor.d"),
            (Lack::NoAnswer, "securityfs"),
        ] {
            finds(Some(Availability::Absent(lack)), advice);
        }
        finds(Some(Availability::Unknown), "ProtectKernelTunables=");
        let mut host = good();
        host.apparmor = Some(Availability::Loadable("/sbin/parser".into()));
        host.selinux = Some(Standing::Enforced);
        assert_eq!(security::module(&host).found, "AppArmor");
        host.apparmor = None;
        assert_eq!(security::module(&host).found, "SELinux");
    }

    #[test]
    fn it_is_said_why_labels_do_not_hold_containers() {
        for (standing, advice) in [
            (Standing::Permissive, "setenforce 1"),
            (Standing::NoContexts, "container-selinux"),
            (Standing::NoTypes, "does not know the one"),
        ] {
            let change = |host: &mut Host| (host.apparmor, host.selinux) = (None, Some(standing));
            finds(change, "security module", Limited, advice);
        }
    }

    #[test]
    fn a_store_that_takes_nothing_is_told() {
        let fault = Some("read-only file system".to_owned());
        let change = |host: &mut Host| host.storage.fault = fault;
        finds(change, "storage", Missing, "mount it writable");
    }

    #[test]
    fn version_1_must_limit_devices_and_calls_io_by_another_name() {
        let v1 = |host: &mut Host, names: &[&str]| {
            host.cgroups.version = 1;
            host.cgroups.controllers = names.iter().map(|&name| name.to_owned()).collect();
        };
        let all = ["blkio", "cpu", "cpuset", "devices", "memory", "pids"];
        finds(
            |host| v1(host, &["blkio", "cpu", "cpuset", "memory", "pids"]),
            "cgroup devices",
            Missing,
            "CONFIG_CGROUP_DEVICE",
        );
        // Where version 2 is there as well, a program on it limits devices.
        let hybrid = |host: &mut Host| {
            v1(host, &["blkio", "cpu", "cpuset", "memory", "pids"]);
            host.cgroups.hybrid = true;
        };
        finds(hybrid, "cgroup devices", Limited, "nrun does without");
        let mut host = good();
        v1(&mut host, &all);
        assert!(judge(&host).iter().all(|finding| finding.verdict == Good));
    }
}
