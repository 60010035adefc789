//! Which namespaces are made by the clone, which are joined, and whether a helper stage is needed.
//!
//! One `clone3` makes everything where the kernel lets it. A stage of its own is needed only where a namespace must be
//! entered *before* the container's init is made: a joined pid namespace takes effect for children only, and a user
//! namespace, joined or new, takes away the right to join what belongs to the host.

use super::op::{Op, Step};
use super::{Error, c_string};
use oci_spec::runtime::{Linux, LinuxNamespaceType, LinuxTimeOffset};
use std::collections::HashMap;
use std::ffi::CString;
use sys::namespace::Kinds;

/// A namespace that exists already.
#[derive(Clone, Debug)]
pub struct Joined {
    /// Exactly one kind.
    pub kind: Kinds,
    /// Its file.
    pub path: CString,
    /// Where config.json names it.
    pub pointer: String,
}

/// What config.json asks for.
#[derive(Clone, Debug, Default)]
pub struct Namespaces {
    /// Kinds to make.
    pub new: Kinds,
    /// Namespaces to join.
    pub joined: Vec<Joined>,
}

impl Namespaces {
    /// Reads `linux.namespaces`.
    ///
    /// # Errors
    /// When a path contains a NUL byte.
    pub fn of(linux: Option<&Linux>) -> Result<Namespaces, Error> {
        let mut namespaces = Namespaces::default();
        let listed = linux.and_then(|linux| linux.namespaces().as_deref()).unwrap_or_default();
        for (i, namespace) in listed.iter().enumerate() {
            let kind = kind_of(namespace.typ());
            let pointer = format!("/linux/namespaces/{i}/path");
            match namespace.path().as_ref().filter(|path| !path.as_os_str().is_empty()) {
                None => namespaces.new = namespaces.new.union(kind),
                Some(path) => {
                    let path = c_string(path.as_os_str().as_encoded_bytes(), &pointer)?;
                    namespaces.joined.push(Joined { kind, path, pointer });
                }
            }
        }
        Ok(namespaces)
    }

    /// All kinds, made or joined, in which the container differs from the host.
    pub fn all(&self) -> Kinds {
        self.joined.iter().fold(self.new, |all, joined| all.union(joined.kind))
    }

    /// Whether the container joins a namespace of this kind.
    fn joins(&self, kind: Kinds) -> bool {
        self.joined.iter().any(|joined| joined.kind == kind)
    }
}

/// The kind that oci-spec's enum names.
pub fn kind_of(typ: LinuxNamespaceType) -> Kinds {
    match typ {
        LinuxNamespaceType::Mount => Kinds::MOUNT,
        LinuxNamespaceType::Cgroup => Kinds::CGROUP,
        LinuxNamespaceType::Uts => Kinds::UTS,
        LinuxNamespaceType::Ipc => Kinds::IPC,
        LinuxNamespaceType::User => Kinds::USER,
        LinuxNamespaceType::Pid => Kinds::PID,
        LinuxNamespaceType::Network => Kinds::NETWORK,
        LinuxNamespaceType::Time => Kinds::TIME,
    }
}

/// The processes that a container is made by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Namespaces of the first clone.
    pub clone: Kinds,
    /// Namespaces of the second one, where a helper stage comes between.
    pub stage: Option<Kinds>,
}

/// Decides the shape.
///
/// A cgroup namespace is never made by a clone: its root is the cgroup that the *caller* is in at that moment, and the child
/// enters its own cgroup only afterwards (cgroup_namespaces(7)). A time namespace with offsets is not either: they can
/// be written only while nobody is inside (time_namespaces(7)).
pub fn shape(namespaces: &Namespaces, time_offsets: bool) -> Shape {
    let mut by_clone = namespaces.new.without(Kinds::CGROUP);
    if time_offsets {
        by_clone = by_clone.without(Kinds::TIME);
    }
    let new_user = namespaces.new.contains(Kinds::USER);
    let staged = namespaces.joins(Kinds::PID)
        || namespaces.joins(Kinds::USER)
        || (new_user && !namespaces.joined.is_empty());
    if staged {
        Shape { clone: Kinds::NONE, stage: Some(by_clone) }
    } else {
        Shape { clone: by_clone, stage: None }
    }
}

/// The steps that enter the joined namespaces, in the only order that works.
///
/// With privilege over all of them, the user namespace comes last: entering it drops the right to join what the host
/// owns. Without privilege it comes first: it is what grants the right to join the others. The mount namespace is
/// entered after the others, whose paths are the host's.
pub fn join(namespaces: &Namespaces, privileged: bool) -> Vec<Step> {
    let rank = |kind: Kinds| match kind {
        Kinds::USER if privileged => 3,
        Kinds::USER => 0,
        Kinds::MOUNT => 2,
        _ => 1,
    };
    let of_rank =
        |wanted| namespaces.joined.iter().filter(move |joined| rank(joined.kind) == wanted);
    let step = |joined: &Joined| Step {
        op: Op::JoinNamespace { kind: joined.kind, path: joined.path.clone() },
        pointer: joined.pointer.clone(),
    };
    (0..=3).flat_map(of_rank).map(step).collect()
}

/// The lines for /proc/self/timens_offsets: `CLOCK SECONDS NANOSECONDS`.
///
/// # Errors
/// For a clock that has no offset in a time namespace.
pub fn time_offsets(offsets: &HashMap<String, LinuxTimeOffset>) -> Result<CString, Error> {
    let mut lines = String::new();
    let mut clocks: Vec<&String> = offsets.keys().collect();
    clocks.sort_unstable();
    for clock in clocks {
        let offset = &offsets[clock];
        if !matches!(clock.as_str(), "monotonic" | "boottime") {
            return Err(Error::new(
                format!("/linux/timeOffsets/{clock}"),
                format!(
                    "clock `{clock}` has no offset in a time namespace: `monotonic` and `boottime` have"
                ),
            ));
        }
        let (secs, nanosecs) = (offset.secs().unwrap_or(0), offset.nanosecs().unwrap_or(0));
        lines.push_str(&format!("{clock} {secs} {nanosecs}\n"));
    }
    c_string(lines.as_bytes(), "/linux/timeOffsets")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespaces(new: &[Kinds], joined: &[Kinds]) -> Namespaces {
        Namespaces {
            new: new.iter().fold(Kinds::NONE, |all, kind| all.union(*kind)),
            joined: joined
                .iter()
                .map(|&kind| Joined { kind, path: c"/ns".to_owned(), pointer: String::new() })
                .collect(),
        }
    }

    #[test]
    fn a_stage_is_made_only_where_the_kernel_needs_one() {
        use Kinds as K;
        let table: &[(&[Kinds], &[Kinds], bool)] = &[
            (&[K::PID, K::MOUNT, K::NETWORK], &[], false),
            (&[K::PID, K::MOUNT], &[K::NETWORK, K::IPC], false),
            (&[K::USER, K::PID, K::MOUNT], &[], false),
            (&[K::USER, K::MOUNT], &[K::NETWORK], true),
            (&[K::MOUNT], &[K::PID], true),
            (&[K::MOUNT, K::PID], &[K::USER], true),
            (&[], &[K::USER, K::PID, K::MOUNT], true),
        ];
        for (new, joined, staged) in table {
            let shape = shape(&namespaces(new, joined), false);
            assert_eq!(shape.stage.is_some(), *staged, "new {new:?} joined {joined:?}");
        }
    }

    #[test]
    fn a_cgroup_namespace_is_never_made_by_the_clone() {
        let shape = shape(&namespaces(&[Kinds::CGROUP, Kinds::PID], &[]), false);
        assert_eq!(shape, Shape { clone: Kinds::PID, stage: None });
    }

    #[test]
    fn a_time_namespace_with_offsets_is_not_made_by_the_clone() {
        let wanted = namespaces(&[Kinds::TIME, Kinds::PID], &[]);
        assert_eq!(shape(&wanted, true).clone, Kinds::PID);
        assert_eq!(shape(&wanted, false).clone, Kinds::PID.union(Kinds::TIME));
    }

    #[test]
    fn the_user_namespace_is_joined_last_with_privilege_and_first_without() {
        let wanted = namespaces(&[], &[Kinds::MOUNT, Kinds::USER, Kinds::NETWORK]);
        let order = |privileged| -> Vec<Kinds> {
            let kind = |step: Step| match step.op {
                Op::JoinNamespace { kind, .. } => kind,
                op => panic!("{op:?}"),
            };
            join(&wanted, privileged).into_iter().map(kind).collect()
        };
        assert_eq!(order(true), [Kinds::NETWORK, Kinds::MOUNT, Kinds::USER]);
        assert_eq!(order(false), [Kinds::USER, Kinds::NETWORK, Kinds::MOUNT]);
    }

    #[test]
    fn time_offsets_are_written_as_the_kernel_reads_them() {
        let offset = |json: &str| serde_json::from_str::<LinuxTimeOffset>(json).unwrap();
        let offsets = HashMap::from([
            ("monotonic".to_owned(), offset(r#"{"secs": 7}"#)),
            ("boottime".to_owned(), offset(r#"{"secs": -5, "nanosecs": 9}"#)),
        ]);
        assert_eq!(time_offsets(&offsets).unwrap(), c"boottime -5 9\nmonotonic 7 0\n".to_owned());
        let unknown = HashMap::from([("realtime".to_owned(), offset("{}"))]);
        assert_eq!(time_offsets(&unknown).unwrap_err().pointer, "/linux/timeOffsets/realtime");
    }
}
