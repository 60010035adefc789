//! Device rules: which device nodes the container's processes may make, read and write.
//!
//! The rules of `linux.resources.devices` are read in order, each access on its own: the last rule that matches it decides,
//! and what no rule matches is denied. After them come the default rules, without which no container works. v2 takes that
//! reading as it is, as a program. v1 holds one default and a list of exceptions from it, and what such a list cannot say
//! (a hole in an exception) is refused: half a rule would let more through than was asked for.

use std::fmt;
use std::path::Path;

use oci_spec::runtime::{LinuxDevice, LinuxDeviceCgroup, LinuxDeviceType};

use super::Error;

/// What a rule is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Block devices.
    Block,
    /// Character devices.
    Char,
}

/// A set of accesses: making a node, reading, writing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Access(u8);

impl Access {
    /// Making a node, as the kernel numbers it for programs (`BPF_DEVCG_ACC_MKNOD`).
    pub const MKNOD: Access = Access(1);
    /// Reading.
    pub const READ: Access = Access(2);
    /// Writing.
    pub const WRITE: Access = Access(4);
    /// All three.
    pub const ALL: Access = Access(7);

    /// The kernel's bits.
    pub fn bits(self) -> u8 {
        self.0
    }

    fn parse(text: &str) -> Option<Access> {
        let bit = |letter| match letter {
            'm' => Some(Access::MKNOD.0),
            'r' => Some(Access::READ.0),
            'w' => Some(Access::WRITE.0),
            _ => None,
        };
        let bits = text.chars().try_fold(0, |bits, letter| Some(bits | bit(letter)?))?;
        (bits != 0).then_some(Access(bits))
    }

    fn without(self, other: Access) -> Access {
        Access(self.0 & !other.0)
    }

    fn overlaps(self, other: Access) -> bool {
        self.0 & other.0 != 0
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters = [(Access::READ, "r"), (Access::WRITE, "w"), (Access::MKNOD, "m")];
        letters
            .iter()
            .filter(|(access, _)| self.overlaps(*access))
            .try_for_each(|(_, l)| f.write_str(l))
    }
}

/// Devices by kind and number; `None` stands for every number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Devices {
    kind: Kind,
    major: Option<u32>,
    minor: Option<u32>,
}

impl Devices {
    fn contains(self, other: Devices) -> bool {
        let all = |ours: Option<u32>, theirs| ours.is_none() || ours == theirs;
        self.kind == other.kind && all(self.major, other.major) && all(self.minor, other.minor)
    }

    fn overlaps(self, other: Devices) -> bool {
        let some = |a: Option<u32>, b: Option<u32>| a.is_none() || b.is_none() || a == b;
        self.kind == other.kind && some(self.major, other.major) && some(self.minor, other.minor)
    }
}

/// One rule.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rule {
    /// All accesses to all devices are allowed or denied, whatever was said before.
    All {
        /// Allowed.
        allow: bool,
    },
    /// Some accesses to some devices.
    These {
        /// Allowed.
        allow: bool,
        /// Block or character devices.
        kind: Kind,
        /// The major number, or every.
        major: Option<u32>,
        /// The minor number, or every.
        minor: Option<u32>,
        /// The accesses; those that are not in it are not decided.
        access: Access,
    },
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |allow: bool| if allow { "allow" } else { "deny" };
        match *self {
            Rule::All { allow } => write!(f, "{} a", word(allow)),
            Rule::These { allow, kind, major, minor, access } => {
                write!(
                    f,
                    "{} {}",
                    word(allow),
                    Exception { devices: Devices { kind, major, minor }, access }
                )
            }
        }
    }
}

/// An exception of the v1 controller, in the form of its files.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Exception {
    devices: Devices,
    access: Access,
}

impl Exception {
    /// The kind, and the major and minor number; `None` stands for every number.
    pub(super) fn devices(&self) -> (Kind, Option<u32>, Option<u32>) {
        let Devices { kind, major, minor } = self.devices;
        (kind, major, minor)
    }

    /// What is excepted.
    pub(super) fn access(&self) -> Access {
        self.access
    }
}

impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |number: Option<u32>| number.map_or("*".into(), |number| number.to_string());
        let kind = match self.devices.kind {
            Kind::Block => 'b',
            Kind::Char => 'c',
        };
        let (major, minor) = (number(self.devices.major), number(self.devices.minor));
        write!(f, "{kind} {major}:{minor} {}", self.access)
    }
}

/// A default, and what differs from it: all that the v1 controller can hold.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Exceptions {
    pub(super) allow: bool,
    pub(super) list: Vec<Exception>,
}

const POINTER: &str = "/linux/resources/devices";

/// The rules of the configuration, then the default ones. A default rule for a device of its own gives way when the
/// configuration puts another device at that path, as in runc.
pub(super) fn rules(
    configured: &[LinuxDeviceCgroup],
    nodes: &[LinuxDevice],
) -> Result<Vec<Rule>, Error> {
    let configured = configured.iter().enumerate().map(|(index, rule)| parse(index, rule));
    let defaults = DEFAULTS.iter().filter(|(path, _)| {
        path.is_none_or(|path| !nodes.iter().any(|node| node.path() == Path::new(path)))
    });
    configured.chain(defaults.map(|(_, rule)| Ok(*rule))).collect()
}

fn parse(index: usize, rule: &LinuxDeviceCgroup) -> Result<Rule, Error> {
    let pointer = |name: &str| format!("{POINTER}/{index}/{name}");
    let refuse = |name: &str, why: String| {
        Err(Error::refused(format!("apply the device rule `{rule}`"), pointer(name), why))
    };
    let allow = rule.allow();
    let access = match rule.access().as_deref().unwrap_or("") {
        // To deny without saying what is to deny all; to allow without saying what would be a guess.
        "" if !allow => Access::ALL,
        "" => return refuse("access", "it says nothing that is allowed".into()),
        text => match Access::parse(text) {
            Some(access) => access,
            None => return refuse("access", format!("`{text}` is not made of `r`, `w` and `m`")),
        },
    };
    let number = |name: &str, given: Option<i64>| match given {
        None | Some(-1) => Ok(None),
        // The kernel's device numbers have 12 and 20 bits; the bound is that of a program's operands.
        Some(number) => {
            match i32::try_from(number).ok().and_then(|number| u32::try_from(number).ok()) {
                Some(number) => Ok(Some(number)),
                None => refuse(name, format!("{number} is no device number")).map(|_: Rule| None),
            }
        }
    };
    let major = number("major", rule.major())?;
    let minor = number("minor", rule.minor())?;
    let kind = match rule.typ().unwrap_or_default() {
        LinuxDeviceType::B => Kind::Block,
        LinuxDeviceType::C | LinuxDeviceType::U => Kind::Char,
        LinuxDeviceType::P => return refuse("type", "a FIFO is no device".into()),
        LinuxDeviceType::A if major.is_none() && minor.is_none() && access == Access::ALL => {
            return Ok(Rule::All { allow });
        }
        LinuxDeviceType::A => {
            let why = "a rule for all types applies to all devices and accesses (`rwm`)";
            return refuse("type", why.into());
        }
    };
    Ok(Rule::These { allow, kind, major, minor, access })
}

const fn default(
    path: Option<&'static str>,
    major: u32,
    minor: Option<u32>,
) -> (Option<&'static str>, Rule) {
    let rule = Rule::These {
        allow: true,
        kind: Kind::Char,
        major: Some(major),
        minor,
        access: Access::ALL,
    };
    (path, rule)
}

const fn nodes_of(kind: Kind) -> (Option<&'static str>, Rule) {
    let rule = Rule::These { allow: true, kind, major: None, minor: None, access: Access::MKNOD };
    (None, rule)
}

/// What every container may use: any node may be made (not opened), the default devices, terminals, and what makes tunnels.
const DEFAULTS: [(Option<&str>, Rule); 11] = [
    nodes_of(Kind::Char),
    nodes_of(Kind::Block),
    default(Some("/dev/null"), 1, Some(3)),
    default(Some("/dev/zero"), 1, Some(5)),
    default(Some("/dev/full"), 1, Some(7)),
    default(Some("/dev/random"), 1, Some(8)),
    default(Some("/dev/urandom"), 1, Some(9)),
    default(Some("/dev/tty"), 5, Some(0)),
    // Terminals of any devpts instance: the slaves, and ptmx.
    default(None, 136, None),
    default(None, 5, Some(2)),
    // The specification does not ask for it; programs for private networks make the node themselves, and engines leave the rule to
    // runc, which has it (its 1.2.0 had not, and it was missed).
    default(None, TUNNELS.0, Some(TUNNELS.1)),
];

/// /dev/net/tun, which makes nothing without CAP_NET_ADMIN.
const TUNNELS: (u32, u32) = (10, 200);

/// The exception that allows tunnels, where none of the configuration's rules is about that device: then nobody has asked for it.
pub(super) fn unasked(configured: &[Rule]) -> Option<Exception> {
    let (major, minor) = (Some(TUNNELS.0), Some(TUNNELS.1));
    let devices = Devices { kind: Kind::Char, major, minor };
    let is_about = |rule: &Rule| matches!(*rule, Rule::These { kind, major, minor, .. } if Devices { kind, major, minor } == devices);
    (!configured.iter().any(is_about)).then_some(Exception { devices, access: Access::ALL })
}

/// The rules, of which the first `configured` are the configuration's, as a default and exceptions from it.
///
/// # Errors
/// A rule that goes back on part of an earlier, wider exception.
pub(super) fn exceptions(rules: &[Rule], configured: usize) -> Result<Exceptions, Error> {
    let mut result = Exceptions { allow: false, list: Vec::new() };
    for (index, rule) in rules.iter().enumerate() {
        match *rule {
            Rule::All { allow } => result = Exceptions { allow, list: Vec::new() },
            Rule::These { allow, kind, major, minor, access } => {
                let devices = Devices { kind, major, minor };
                let change = Exception { devices, access };
                if allow == result.allow {
                    take_back(&mut result.list, change).map_err(|exception| {
                        let what = format!("apply the device rule `{rule}`");
                        let why = format!(
                            "cgroup v1 cannot take it out of the wider `{exception}` that an earlier rule made"
                        );
                        let pointer = match index < configured {
                            true => format!("{POINTER}/{index}"),
                            false => POINTER.to_owned(),
                        };
                        Error::refused(what, pointer, why)
                    })?;
                } else {
                    add(&mut result.list, change);
                }
            }
        }
    }
    Ok(result)
}

fn add(list: &mut Vec<Exception>, new: Exception) {
    match list.iter_mut().find(|known| known.devices == new.devices) {
        Some(known) => known.access = Access(known.access.0 | new.access.0),
        None => list.push(new),
    }
}

/// Removes an access to devices from every exception inside them; the exception that reaches beyond them is the error.
fn take_back(list: &mut Vec<Exception>, old: Exception) -> Result<(), Exception> {
    for known in list.iter_mut() {
        if !known.access.overlaps(old.access) || !known.devices.overlaps(old.devices) {
            continue;
        }
        if !old.devices.contains(known.devices) {
            return Err(*known);
        }
        known.access = known.access.without(old.access);
    }
    list.retain(|known| known.access.0 != 0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configured(json: &str) -> Vec<LinuxDeviceCgroup> {
        serde_json::from_str(json).unwrap()
    }

    fn lines(json: &str) -> Vec<String> {
        let rules = rules(&configured(json), &[]).unwrap();
        rules.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_rule_without_a_type_is_for_everything() {
        let rules = lines(r#"[{"allow":false,"access":"rwm"},{"allow":true}]"#.replace(r#",{"allow":true}"#, "").as_str());
        assert_eq!(rules[0], "deny a");
        assert_eq!(lines(r#"[{"allow":false}]"#)[0], "deny a");
    }

    #[test]
    fn the_default_rules_follow_the_configured_ones() {
        let rules = lines(r#"[{"allow":false,"type":"c","major":1,"minor":3,"access":"w"}]"#);
        assert_eq!(rules[0], "deny c 1:3 w");
        assert_eq!(rules[1], "allow c *:* m");
        assert!(rules.contains(&"allow c 1:3 rwm".to_owned()));
        assert_eq!(rules.len(), 1 + DEFAULTS.len());
    }

    #[test]
    fn a_node_of_the_configuration_takes_the_place_of_the_default_rule_for_its_path() {
        let nodes: Vec<LinuxDevice> =
            serde_json::from_str(r#"[{"path":"/dev/null","type":"c","major":10,"minor":1}]"#)
                .unwrap();
        let rules = rules(&[], &nodes).unwrap();
        assert!(!rules.iter().any(|rule| rule.to_string() == "allow c 1:3 rwm"));
    }

    #[test]
    fn a_rule_that_says_too_little_or_nonsense_is_refused_at_its_place() {
        let table = [
            (r#"{"allow":true}"#, "/access"),
            (r#"{"allow":true,"access":"rx"}"#, "/access"),
            (r#"{"allow":true,"type":"a","access":"r"}"#, "/type"),
            (r#"{"allow":true,"type":"a","major":1,"access":"rwm"}"#, "/type"),
            (r#"{"allow":true,"type":"p","access":"rwm"}"#, "/type"),
            (r#"{"allow":true,"type":"c","major":-2,"access":"r"}"#, "/major"),
            (r#"{"allow":true,"type":"c","minor":4294967296,"access":"r"}"#, "/minor"),
        ];
        for (json, place) in table {
            let error = rules(&configured(&format!("[{json}]")), &[]).unwrap_err().to_string();
            let place = format!("(config.json /linux/resources/devices/0{place})");
            assert!(error.contains(&place), "{json}: {error}");
        }
    }

    fn v1(json: &str) -> Result<Exceptions, Error> {
        let rules: Result<Vec<Rule>, Error> =
            configured(json).iter().enumerate().map(|(index, rule)| parse(index, rule)).collect();
        exceptions(&rules?, usize::MAX)
    }

    #[test]
    fn a_denial_takes_back_exceptions_inside_it() {
        let result = v1(r#"[{"allow":true,"type":"c","major":1,"minor":3,"access":"rw"},
                            {"allow":true,"type":"c","major":1,"minor":5,"access":"w"},
                            {"allow":false,"type":"c","major":1,"access":"w"}]"#);
        let list: Vec<_> = result.unwrap().list.iter().map(ToString::to_string).collect();
        assert_eq!(list, ["c 1:3 r"]);
    }

    #[test]
    fn a_hole_in_an_exception_is_refused_on_v1() {
        let error = v1(r#"[{"allow":true,"type":"c","access":"rwm"},
                           {"allow":false,"type":"c","major":1,"minor":3,"access":"w"}]"#)
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot apply the device rule `deny c 1:3 w` (config.json /linux/resources/devices/1): cgroup v1 cannot \
             take it out of the wider `c *:* rwm` that an earlier rule made"
        );
    }

    #[test]
    fn a_default_rule_that_cannot_be_kept_is_refused_at_the_list() {
        let json = r#"[{"allow":true,"access":"rwm"},
                       {"allow":false,"type":"c","major":1,"access":"rwm"}]"#;
        let error = exceptions(&rules(&configured(json), &[]).unwrap(), 2).unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("`allow c 1:3 rwm` (config.json /linux/resources/devices)"),
            "{error}"
        );
    }

    #[test]
    fn after_everything_is_allowed_denials_are_the_exceptions() {
        let result =
            v1(r#"[{"allow":false,"access":"rwm"},{"allow":true,"type":"a","access":"rwm"},
                            {"allow":false,"type":"b","major":8,"access":"w"},
                            {"allow":true,"type":"c","major":1,"minor":3,"access":"r"}]"#)
            .unwrap();
        assert!(result.allow);
        assert_eq!(result.list.iter().map(ToString::to_string).collect::<Vec<_>>(), ["b 8:* w"]);
    }
}
