//! Values of options about privileges and namespaces: each is parsed once, by clap, into what it means.

use crate::device::is_access;
use crate::id_map::mode::Mode as UserMode;
use oci_spec::runtime::Capability;
use std::str::FromStr;

/// A capability as the kernel's headers have it, `CAP_SYS_ADMIN`, or `ALL`; typed with or without `CAP_`, in any case.
pub fn capability(text: &str) -> Result<String, String> {
    let upper = text.trim().to_ascii_uppercase();
    let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
    if name == "ALL" {
        return Ok(name.to_owned());
    }
    match Capability::from_str(name) {
        Ok(_) => Ok(format!("CAP_{name}")),
        Err(_) => Err(format!(
            "unknown capability: \"CAP_{name}\", capabilities(7) lists those that there are; ALL stands for all"
        )),
    }
}

/// One `--security-opt`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecurityOption {
    /// No program gets more privileges than who executes it.
    NoNewPrivileges(bool),
    /// `unconfined`, `builtin`, or the path of a profile.
    Seccomp(String),
    /// The name of a profile.
    AppArmor(String),
    /// `disable`, or `user:`, `role:`, `type:`, `level:` with a value.
    Label(String),
    /// Nothing below /proc and /sys is masked or read-only.
    SystemPaths,
    /// Whether the cgroups can be written to.
    WritableCgroups(bool),
    /// These paths are not masked; `ALL` stands for all.
    Unmask(Vec<String>),
    /// These paths are masked too.
    Mask(Vec<String>),
}

impl FromStr for SecurityOption {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| Err(format!("invalid --security-opt: \"{text}\"{what}"));
        // Docker has separated them by a colon once, and still takes that.
        let (name, value) =
            text.split_once('=').or_else(|| text.split_once(':')).unwrap_or((text, ""));
        let paths = || -> Vec<String> { value.split(':').map(str::to_owned).collect() };
        let absolute = |paths: &[String]| paths.iter().all(|path| path.starts_with('/'));
        match (name, value) {
            ("no-new-privileges", "" | "true") => Ok(Self::NoNewPrivileges(true)),
            ("no-new-privileges", "false") => Ok(Self::NoNewPrivileges(false)),
            ("writable-cgroups", "" | "true") => Ok(Self::WritableCgroups(true)),
            ("writable-cgroups", "false") => Ok(Self::WritableCgroups(false)),
            ("no-new-privileges" | "writable-cgroups", _) => wrong(", it is `true` or `false`"),
            ("systempaths", "unconfined") => Ok(Self::SystemPaths),
            ("systempaths", _) => wrong(", its only value is `unconfined`"),
            (_, "") => wrong(", it is NAME=VALUE"),
            ("seccomp", value) => Ok(Self::Seccomp(value.to_owned())),
            ("apparmor", value) => Ok(Self::AppArmor(value.to_owned())),
            ("label", "disable") => Ok(Self::Label("disable".to_owned())),
            ("label", value) => match value.split_once(':') {
                Some(("user" | "role" | "type" | "level" | "filetype", part))
                    if !part.is_empty() =>
                {
                    Ok(Self::Label(value.to_owned()))
                }
                _ => wrong(
                    ", a label is `disable` or user:, role:, type:, level: or filetype: and a value",
                ),
            },
            ("unmask", _) if value.eq_ignore_ascii_case("all") => {
                Ok(Self::Unmask(vec!["ALL".to_owned()]))
            }
            ("unmask", _) if absolute(&paths()) => Ok(Self::Unmask(paths())),
            ("mask", _) if absolute(&paths()) => Ok(Self::Mask(paths())),
            ("mask" | "unmask", _) => wrong(", it is a list of absolute paths with `:` between"),
            _ => wrong(
                ", there are seccomp, apparmor, label, no-new-privileges, writable-cgroups, systempaths, mask and unmask",
            ),
        }
    }
}

/// Whose namespace a container has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// Its own.
    #[default]
    Private,
    /// Its own, which others may join.
    Shareable,
    /// Its own, and no shared memory.
    None,
    /// The host's.
    Host,
    /// That of another container.
    Container(String),
}

impl FromStr for Sharing {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" | "private" => Ok(Self::Private),
            "shareable" => Ok(Self::Shareable),
            "none" => Ok(Self::None),
            "host" => Ok(Self::Host),
            text => match text.strip_prefix("container:") {
                Some(name) if !name.is_empty() => Ok(Self::Container(name.to_owned())),
                _ => Err(text.to_owned()),
            },
        }
    }
}

impl std::fmt::Display for Sharing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Private => f.write_str("private"),
            Self::Shareable => f.write_str("shareable"),
            Self::None => f.write_str("none"),
            Self::Host => f.write_str("host"),
            Self::Container(name) => write!(f, "container:{name}"),
        }
    }
}

/// `--pid`
pub fn pid_mode(text: &str) -> Result<Sharing, String> {
    match text.parse() {
        Ok(mode @ (Sharing::Private | Sharing::Host | Sharing::Container(_))) => Ok(mode),
        _ => Err("invalid PID mode, it is `host`, `private` or `container:NAME`".to_owned()),
    }
}

/// `--ipc`
pub fn ipc_mode(text: &str) -> Result<Sharing, String> {
    text.parse().map_err(|_| {
        "invalid IPC mode, it is `private`, `shareable`, `none`, `host` or `container:NAME`"
            .to_owned()
    })
}

/// `--uts`
pub fn uts_mode(text: &str) -> Result<Sharing, String> {
    match text.parse() {
        Ok(mode @ (Sharing::Private | Sharing::Host)) => Ok(mode),
        _ => Err("invalid UTS mode, it is `host` or `private`".to_owned()),
    }
}

/// `--userns`
pub fn userns_mode(text: &str) -> Result<String, String> {
    text.parse::<UserMode>().map(|_| text.to_owned())
}

/// `--cgroupns`
pub fn cgroupns_mode(text: &str) -> Result<Sharing, String> {
    match text.parse() {
        Ok(mode @ (Sharing::Private | Sharing::Host)) => Ok(mode),
        _ => Err("invalid CGROUP mode, it is `host` or `private`".to_owned()),
    }
}

/// System V's parameters that belong to an IPC namespace.
const IPC_SYSCTLS: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// Whether a kernel parameter belongs to an IPC namespace.
#[must_use]
pub fn is_of_ipc(name: &str) -> bool {
    IPC_SYSCTLS.contains(&name) || name.starts_with("fs.mqueue.")
}

/// A kernel parameter that belongs to a namespace of the container's: others would change the host.
pub fn sysctl(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("it is NAME=VALUE")?;
    if is_of_ipc(name) || name.starts_with("net.") {
        return Ok((name.to_owned(), value.to_owned()));
    }
    Err(format!(
        "sysctl '{text}' is not allowed, only net.*, fs.mqueue.* and the kernel's msg*, sem and shm* belong to a container"
    ))
}

/// A rule for the devices that the container may make and use: `c 10:200 rwm`.
pub fn device_rule(text: &str) -> Result<String, String> {
    let wrong = || {
        format!(
            "invalid device cgroup format '{text}', it is TYPE MAJOR:MINOR ACCESS such as 'c 10:200 rwm'"
        )
    };
    let words: Vec<&str> = text.split_whitespace().collect();
    let [kind, numbers, access] = words.as_slice() else { return Err(wrong()) };
    let number = |text: &str| text == "*" || text.parse::<u32>().is_ok();
    let (major, minor) = numbers.split_once(':').ok_or_else(wrong)?;
    let good =
        matches!(*kind, "a" | "b" | "c") && number(major) && number(minor) && is_access(access);
    if good { Ok(words.join(" ")) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capability_is_typed_in_any_way() {
        for text in ["SYS_ADMIN", "cap_sys_admin", "CAP_SYS_ADMIN", "sys_admin"] {
            assert_eq!(capability(text).unwrap(), "CAP_SYS_ADMIN");
        }
        assert_eq!(capability("all").unwrap(), "ALL");
        assert_eq!(capability("CAP_ALL").unwrap(), "ALL");
        assert!(capability("nosuch").unwrap_err().contains("unknown capability: \"CAP_NOSUCH\""));
    }

    #[test]
    fn security_options_have_dockers_forms() {
        let of = |text: &str| text.parse::<SecurityOption>();
        assert_eq!(of("no-new-privileges"), Ok(SecurityOption::NoNewPrivileges(true)));
        assert_eq!(of("no-new-privileges:false"), Ok(SecurityOption::NoNewPrivileges(false)));
        assert_eq!(of("no-new-privileges=true"), Ok(SecurityOption::NoNewPrivileges(true)));
        assert_eq!(of("writable-cgroups"), Ok(SecurityOption::WritableCgroups(true)));
        assert_eq!(of("writable-cgroups=false"), Ok(SecurityOption::WritableCgroups(false)));
        assert_eq!(of("seccomp=unconfined"), Ok(SecurityOption::Seccomp("unconfined".into())));
        assert_eq!(of("unmask=/a:/b"), Ok(SecurityOption::Unmask(vec!["/a".into(), "/b".into()])));
        assert_eq!(of("unmask=all"), Ok(SecurityOption::Unmask(vec!["ALL".into()])));
        assert_eq!(of("systempaths=unconfined"), Ok(SecurityOption::SystemPaths));
        for part in ["type:x_t", "level:s0:c1,c2", "filetype:x_t", "disable"] {
            assert_eq!(of(&format!("label={part}")), Ok(SecurityOption::Label(part.into())));
        }
        for bad in [
            "",
            "seccomp",
            "nosuch=1",
            "no-new-privileges=x",
            "writable-cgroups=dang",
            "mask=a",
            "label=x",
            "systempaths=all",
        ] {
            assert!(of(bad).unwrap_err().starts_with("invalid --security-opt: "), "{bad}");
        }
    }

    #[test]
    fn each_namespace_has_its_own_modes() {
        assert_eq!(pid_mode("container:web"), Ok(Sharing::Container("web".into())));
        assert!(pid_mode("shareable").is_err() && pid_mode("container:").is_err());
        assert_eq!(ipc_mode("none"), Ok(Sharing::None));
        assert!(ipc_mode("all").is_err());
        assert!(uts_mode("container:web").is_err() && cgroupns_mode("none").is_err());
        assert_eq!(Sharing::Container("a".into()).to_string(), "container:a");
    }

    #[test]
    fn only_parameters_of_a_namespace_can_be_set() {
        assert_eq!(sysctl("net.ipv4.ip_forward=1").unwrap().1, "1");
        assert!(sysctl("kernel.shmmax=1").is_ok() && sysctl("fs.mqueue.msg_max=1").is_ok());
        assert!(sysctl("kernel.core_pattern=|/x").is_err() && sysctl("net.x").is_err());
        assert!(sysctl("kernel.shmmax.x=1").is_err());
    }

    #[test]
    fn a_device_rule_has_three_words() {
        assert_eq!(device_rule("c 10:200 rwm").unwrap(), "c 10:200 rwm");
        assert_eq!(device_rule("a *:*  m").unwrap(), "a *:* m");
        for bad in ["", "c 1:3", "x 1:3 r", "c 1 r", "c 1:3 rr", "c 1:3 x", "c -1:3 r"] {
            assert!(device_rule(bad).is_err(), "{bad}");
        }
    }
}
