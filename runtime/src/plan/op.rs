//! The operations that turn a cloned process into a container's init, as data.
//!
//! A plan is a flat list of these (invariant I2): the child applies them in order and does nothing else, the parent walks
//! the same list for its barriers (I3), `nrun plan` prints it, and the golden tests compare it. Everything that an
//! operation needs is in it, ready for the kernel: nothing is parsed, formatted or allocated after the clone.

use super::attributes::Attribute;
use super::hooks::Hook;
use super::idmap::IdMaps;
use super::mounts::Label;
use super::seccomp::{Filter, Listener};
use rustix::mount::MountPropagationFlags;
use std::ffi::{CStr, CString};
use sys::beneath::Target;
use sys::exec::CStringArray;
use sys::mount::Attributes;
use sys::namespace::Kinds;

/// One operation with the place in config.json that asked for it.
#[derive(Clone, Debug)]
pub struct Step {
    /// What is done.
    pub op: Op,
    /// JSON pointer into config.json (or process.json for `exec`); empty for what the runtime does of its own accord.
    pub pointer: String,
}

/// A point where the child waits for the parent, which has something to do in the host's namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Barrier {
    /// The parent has systemd make a unit around the child, and puts it into the cgroups that systemd does not know of.
    Cgroup,
    /// The parent writes the id mappings: until then the child has no ids of its own.
    Maps,
    /// The parent moves network devices into the container's network namespace.
    NetDevices,
    /// Everything is mounted: the parent runs the hooks `prestart` and `createRuntime`.
    Hooks,
    /// Everything is set up and the executable was found: the parent commits the container's state.
    Ready,
    /// The `startContainer` hooks are done: whoever starts the container is told so.
    Hooked,
}

/// A step of the child. The order in which they may follow each other is documented in [`crate::plan`].
///
/// A plan has sixty of them, most of them short: the longest are boxed, so that a step has half the size.
#[derive(Clone, Debug)]
pub enum Op {
    /// Tell the parent that this point is reached, and go on when it says so.
    Wait(Barrier),
    /// Become user and group 0 of the user namespace.
    NamespaceRoot {
        /// Our /proc entry must stay ours: something is still written there.
        dumpable: bool,
    },
    /// Enter the container's cgroups, through the fds that the parent opened.
    JoinCgroup,
    /// Join an existing namespace.
    JoinNamespace {
        /// Its kind: exactly one.
        kind: Kinds,
        /// The namespace file, in the host's mount namespace.
        path: CString,
    },
    /// Join these namespaces of the container's init at once (`exec`).
    JoinInit {
        /// Which of its namespaces differ from ours.
        kinds: Kinds,
    },
    /// Make a new namespace that cannot be made by the clone itself.
    Unshare(Kinds),
    /// Make a time namespace with these offsets and enter it.
    TimeOffsets {
        /// Lines for /proc/self/timens_offsets.
        offsets: CString,
    },
    /// Continue in a grandchild: pid namespaces that were joined take effect for children only.
    Fork {
        /// The namespaces made for the grandchild.
        namespaces: Kinds,
    },
    /// Start a session of our own, without a controlling terminal.
    NewSession,
    /// Set the propagation of every mount of the new mount namespace.
    Propagation {
        /// `MS_*` propagation bits, with `MS_REC` where it is recursive.
        flags: u64,
    },
    /// Attach the root file system over `/` of the new mount namespace. Every later target is resolved under its fd, and
    /// nothing of the container is reached by a path of the host again.
    Root {
        /// Index into [`crate::plan::Plan::sources`].
        source: usize,
        /// What it is attached over may be shared with the host.
        over_shared: bool,
        /// Attach it there and not over `/`, until the hooks that look for it are done.
        at: Option<RootPath>,
    },
    /// Move the root over `/`, from where hooks found it.
    RootOver,
    /// Run a hook and wait for it.
    Hook(Box<Hook>),
    /// Open the root of the mount namespace that was joined (`exec`).
    OpenRoot,
    /// Mount a new file system.
    Mount(Box<Mount>),
    /// Attach a bind mount.
    Bind(Box<Bind>),
    /// Change the mount that is at a place already.
    Remount(Box<Remount>),
    /// Make the file systems read-only in which later steps had to make something.
    ReadOnlyMounts,
    /// Mount a tmpfs with the container's v1 cgroups in it, a directory for each hierarchy.
    Cgroups(Box<Cgroups>),
    /// Make a directory, and those on the way, if it is missing.
    Directory {
        /// Which.
        target: Target,
    },
    /// Make a device node.
    Device(Device),
    /// Make a symbolic link, unless there is something already.
    Symlink {
        /// Where.
        target: Target,
        /// What it points to.
        to: CString,
    },
    /// Make a pseudo-terminal in the container's devpts, hand its master out and make it our terminal and `/dev/console`.
    Console(Console),
    /// Make the root file system the root of the mount namespace, and drop the host's.
    Pivot {
        /// The host's mounts are still peers of the host's: the propagation is shared.
        shared: bool,
    },
    /// Make the root file system `/` by moving it, for hosts whose root is an initramfs, which cannot be pivoted away.
    MoveRoot {
        /// Where the host has procfs and sysfs in full, which go first.
        bare: Vec<RootPath>,
    },
    /// chroot(2): the container has no mount namespace of its own.
    Chroot {
        /// Host path of the root file system.
        path: CString,
    },
    /// Set the propagation of the container's root mount.
    RootPropagation {
        /// `MS_*` propagation bits.
        flags: u64,
    },
    /// Set the host name.
    Hostname(String),
    /// Set the NIS domain name.
    Domainname(String),
    /// Write a file of the host's /proc, which shows the namespaces of whoever opens it: `sys/...` or `self/...`. Done before
    /// anything of the container is mounted, so that no image can redirect it (class D).
    WriteProc {
        /// Absolute path on the host.
        path: CString,
        /// The value.
        value: String,
    },
    /// Bring up the loopback interface of a new network namespace.
    Loopback,
    /// Make a path read-only, if it exists.
    ReadOnly {
        /// The path.
        target: Target,
    },
    /// Hide a path, if it exists: files behind /dev/null, directories behind an empty read-only tmpfs.
    Mask(Mask),
    /// Make the container's root mount read-only.
    ReadOnlyRoot,
    /// Set a resource limit.
    Rlimit {
        /// Which.
        resource: rustix::process::Resource,
        /// The soft limit; `None` is unlimited.
        soft: Option<u64>,
        /// The hard limit; `None` is unlimited.
        hard: Option<u64>,
    },
    /// Set how the process is scheduled, labelled or executed.
    Attribute(Attribute),
    /// Join a session keyring of our own.
    Keyring(CString),
    /// Set `no_new_privs`.
    NoNewPrivileges,
    /// Drop every capability from the bounding set that is not in this mask.
    Bounding(u64),
    /// Take user and group ids, keeping the permitted capabilities.
    User {
        /// User id.
        uid: u32,
        /// Group id.
        gid: u32,
        /// Supplementary groups; `None` keeps the caller's.
        groups: Option<Vec<u32>>,
        /// setgroups(2) may be denied in the user namespace: without groups to set, those of the caller stay then.
        may_be_denied: bool,
    },
    /// Give our standard streams to the container's user, who could not open /dev/stdout otherwise.
    StandardStreams {
        /// User id.
        uid: u32,
    },
    /// Set the effective, permitted, inheritable and ambient sets.
    Capabilities(Capabilities),
    /// Set the file mode creation mask.
    Umask(u32),
    /// Change to the working directory, through no magic link, and make sure that it is inside the root.
    WorkingDirectory {
        /// The directory, in the container.
        path: CString,
        /// The second attempt, if the first one was not permitted.
        last: bool,
    },
    /// Nobody in the container may trace us or read our /proc entries while we are still the runtime.
    NotDumpable,
    /// Look up HOME in the container's passwd: the environment has none.
    Home {
        /// User id.
        uid: u32,
    },
    /// Find the executable, so that `create` and not `start` reports a missing one.
    FindExecutable {
        /// The name as it was given.
        name: String,
        /// The paths to try in order: one, or the name in every directory of PATH.
        candidates: Vec<CString>,
    },
    /// Let what asks a program to end, as an engine does with a container that was never started, end this process too: runc's init
    /// does so. Before the caller hears that the container is there; a signal that comes earlier is lost on the first process of a
    /// pid namespace, which has no default (pid_namespaces(7)).
    EndWhenAsked,
    /// Set the limit on open files back to the caller's, where the set-up took more and config.json has none.
    CallersFiles,
    /// Close what the set-up needed, before anything is looked up for the process: an fd of what is masked or read-only by now leads to
    /// what lies below, and `/proc/self/fd` to the fd.
    CloseSetUp {
        /// The first fd that is not the container's.
        first: u32,
    },
    /// Wait until `start` connects to the socket.
    AwaitStart,
    /// Install the seccomp filter.
    Seccomp {
        /// The program.
        program: Vec<sys::seccomp::Instruction>,
        /// `SECCOMP_FILTER_FLAG_*`.
        flags: u32,
        /// Who decides, where the profile leaves it to somebody.
        listener: Option<Listener>,
        /// The process sends the listener's fd itself.
        sent: bool,
    },
    /// Mark every fd from this number on close-on-exec.
    CloseFds {
        /// The first one that the container must not see.
        first: u32,
    },
    /// Become the container's process.
    Exec {
        /// Its arguments.
        argv: CStringArray,
        /// Its environment.
        env: CStringArray,
    },
}

impl Op {
    /// Whether it makes a mount whose target may not turn out to be on a procfs.
    pub fn is_off_proc(&self) -> bool {
        match self {
            Op::Mount(mount) => mount.off_proc,
            Op::Bind(bind) => bind.off_proc,
            _ => false,
        }
    }
}

impl From<Filter> for Op {
    fn from(filter: Filter) -> Op {
        let Filter { program, flags, listener, sent, unknown: _ } = filter;
        Op::Seccomp { program, flags, listener, sent }
    }
}

/// The root file system by its path on the host.
#[derive(Clone, Debug)]
pub struct RootPath {
    /// The path.
    pub path: CString,
    /// The path and every directory above it, to `/`: one of them is where the mount is that the root is attached on.
    pub above: Vec<CString>,
}

/// A new file system and where it goes.
#[derive(Clone, Debug)]
pub struct Mount {
    /// Where, under the root.
    pub target: Target,
    /// File system type.
    pub kind: CString,
    /// Options for the file system itself, in order: `key` or `key=value`.
    pub options: Vec<(CString, Option<CString>)>,
    /// `MOUNT_ATTR_*` bits of the mount.
    pub attributes: u64,
    /// Propagation to set after it is attached, in this order.
    pub propagation: Vec<u64>,
    /// The target must be reached without symbolic links: an image may not move this one elsewhere.
    pub ordinary: bool,
    /// The target may not turn out to be on a procfs.
    pub off_proc: bool,
    /// A tmpfs gets the mode of the directory that it covers, where there is one and no option says otherwise.
    pub inherits_mode: bool,
    /// A tmpfs begins with a copy of the directory that it covers.
    pub copy_up: Option<CopyUp>,
    /// Becomes read-only at [`Op::ReadOnlyMounts`], because later steps make something inside it.
    pub read_only_last: bool,
    /// Made by mount(2), with these `MS_*` flags and this data, which has bits that fsconfig(2) has no names for.
    pub legacy: Option<Legacy>,
}

impl Mount {
    /// Whether nothing is left to be done to it once it is mounted.
    pub fn is_whole_when_mounted(&self) -> bool {
        self.propagation.is_empty()
            && !self.inherits_mode
            && self.copy_up.is_none()
            && !self.read_only_last
    }

    /// The path of what it is made from, a device most often; other sources are only words.
    pub fn source(&self) -> Option<&CStr> {
        let (_, source) = self.options.iter().find(|(key, _)| key.as_c_str() == c"source")?;
        source.as_deref().filter(|source| source.to_bytes().starts_with(b"/"))
    }

    /// A new file system without options.
    pub fn new(target: Target, kind: CString) -> Mount {
        Mount {
            target,
            kind,
            options: Vec::new(),
            attributes: 0,
            propagation: Vec::new(),
            ordinary: false,
            off_proc: false,
            inherits_mode: false,
            copy_up: None,
            read_only_last: false,
            legacy: None,
        }
    }
}

/// What the root of a tmpfs takes over from the directory that it covers, besides the content, times and attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyUp {
    /// Owner and group: no option gives one.
    pub owner: bool,
    /// Permission bits: no option gives them.
    pub mode: bool,
}

/// The arguments of mount(2) that say what is mounted, but for the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Legacy {
    /// Source; `none` where there is none.
    pub source: CString,
    /// `MS_*` flags.
    pub flags: u32,
    /// Options of the file system, between commas.
    pub data: CString,
}

/// A change of what is mounted at a place: `remount` of mount(8).
#[derive(Clone, Debug)]
pub struct Remount {
    /// Where, under the root.
    pub target: Target,
    /// What to.
    pub to: RemountTo,
    /// What becomes of attributes that are not named.
    pub inherited: Inherited,
    /// Attributes of the mount and everything below it.
    pub recursive: Attributes,
    /// Propagation to set afterwards, in this order.
    pub propagation: Vec<u64>,
    /// The target may not turn out to be on a procfs.
    pub off_proc: bool,
}

/// What a mount is changed to: all flags, not only those that change.
#[derive(Clone, Debug)]
pub enum RemountTo {
    /// The mount alone.
    Mount(Attributes),
    /// The mount and its file system.
    FileSystem(Legacy),
}

/// A bind mount and where it goes.
#[derive(Clone, Debug)]
pub struct Bind {
    /// Where, under the root.
    pub target: Target,
    /// Index into [`crate::plan::Plan::sources`].
    pub source: usize,
    /// Attributes of the mount itself, as its options give them.
    pub attributes: Attributes,
    /// What becomes of those attributes of the source that the options do not name, where they name any.
    pub inherited: Inherited,
    /// Attributes of the mount and everything below it.
    pub recursive: Attributes,
    /// Propagation to set after it is attached, in this order.
    pub propagation: Vec<u64>,
    /// The target may not turn out to be on a procfs.
    pub off_proc: bool,
    /// A link at the target is the target itself.
    pub over_link: bool,
    /// A link at the source is made anew at the target, instead of being mounted.
    pub copy_link: bool,
}

/// The attributes that a bind mount inherits from the mount that it is a view of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inherited {
    /// Dropped where the kernel lets us: `MS_REMOUNT|MS_BIND` replaces the whole set, and so does every runtime.
    Dropped,
    /// Kept, and a contradiction is refused: what holds for every mount that a user namespace inherits (mount_namespaces(7),
    /// "Restrictions on mount namespaces"). A tree that was detached by a privileged parent is not locked by the kernel.
    Locked,
}

/// The tmpfs over /sys/fs/cgroup of a host with v1 hierarchies, and what is in it.
///
/// One operation and not a mount for each hierarchy: inside a file system that was made a moment ago, and that nobody else can
/// write to yet, names need no resolving, which saves two thirds of the system calls for what are ten mounts on many hosts.
#[derive(Clone, Debug)]
pub struct Cgroups {
    /// The tmpfs; it becomes read-only, if it is to be, after everything is in it.
    pub tmpfs: Mount,
    /// The hierarchies.
    pub hierarchies: Vec<Hierarchy>,
    /// What the tmpfs and their mounts are given when all of them are there.
    pub attributes: Attributes,
    /// Links from the name of a controller to the hierarchy that it shares with others.
    pub links: Vec<(CString, CString)>,
}

/// A hierarchy as it is mounted for the container.
#[derive(Clone, Debug)]
pub struct Hierarchy {
    /// Name of its directory.
    pub name: CString,
    /// Where it comes from.
    pub from: HierarchySource,
}

/// What is mounted for a hierarchy.
#[derive(Clone, Debug)]
pub enum HierarchySource {
    /// The container's cgroup, bound from the host: there is no cgroup namespace.
    Bind(CString),
    /// A mount of its own, which shows the cgroup namespace's root.
    Mount {
        /// `cgroup` or `cgroup2`.
        kind: CString,
        /// Mount data: the controllers.
        data: CString,
    },
}

/// A bind source that is opened before the clone, once (class J: nothing can be swapped in later).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Host path, or a path under the root for [`Carrier::Root`].
    pub path: CString,
    /// With the mounts below it.
    pub recursive: bool,
    /// How it is carried over.
    pub carrier: Carrier,
    /// JSON pointer to the mount that names it.
    pub pointer: String,
    /// The path is where links lead to other processes' files, and may not lead through one of them.
    pub no_magic_links: bool,
    /// Propagation that its mounts are given as they are cloned, before anybody sees them, `MS_*`; 0 to leave what they have.
    pub propagation: u64,
    /// The ids of its files are mapped.
    pub id_map: Option<IdMapped>,
    /// A link at the end of the path is the source itself.
    pub no_follow: bool,
}

impl Source {
    /// A source whose path the runtime knows itself, or that was looked at before.
    pub fn new(path: CString, recursive: bool, carrier: Carrier, pointer: String) -> Source {
        let (no_magic_links, propagation, id_map, no_follow) = (false, 0, None, false);
        Source { path, recursive, carrier, pointer, no_magic_links, propagation, id_map, no_follow }
    }

    /// What its mounts are given as they are cloned.
    pub fn attributes(&self) -> Attributes {
        let propagation = self.propagation & !u64::from(MountPropagationFlags::REC.bits());
        Attributes { propagation, ..Attributes::default() }
    }
}

/// The id mapping of a mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdMapped {
    /// From the ids in the file system to those on the host.
    pub by: MappedBy,
    /// The mounts below the source are mapped too.
    pub recursive: bool,
    /// The child finds the source, and the parent maps its ids: the child has no privilege over the file system.
    pub by_parent: bool,
}

/// Where an id mapping comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MappedBy {
    /// Mappings of its own, or those of the container's new user namespace.
    Maps(IdMaps),
    /// A user namespace that the container joins: its file.
    Namespace(CString),
}

/// How a bind source reaches the child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// A detached mount tree, cloned by a privileged parent: it can be attached even under a new user namespace.
    Tree,
    /// A path that the child opens itself: a tree cloned without privilege could not be attached by the child.
    Path,
    /// A path inside the container's root, which the child opens when its turn comes: earlier mounts are in it.
    Root,
}

/// A device node and where it goes.
#[derive(Clone, Debug)]
pub struct Device {
    /// Where, under the root.
    pub target: Target,
    /// Character, block or FIFO.
    pub kind: rustix::fs::FileType,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Owning group.
    pub gid: u32,
    /// Bind the host's node instead: mknod(2) is refused in a user namespace. Index into the sources.
    pub bind: Option<usize>,
    /// Another file in its place is replaced. For a device of config.json it is an error (runtime-spec, "Devices").
    pub may_replace: bool,
}

/// The pseudo-terminal.
#[derive(Clone, Copy, Debug)]
pub struct Console {
    /// Size in rows and columns, where config.json gives one.
    pub size: Option<(u16, u16)>,
    /// Bind it over `/dev/console` (not for `exec`, which finds that done).
    pub mount: bool,
    /// Who owns the terminal.
    pub uid: u32,
}

/// A path to hide.
#[derive(Clone, Debug)]
pub struct Mask {
    /// The path.
    pub target: Target,
    /// It is a directory where it is there, as far as its name tells.
    pub directory: bool,
    /// What the tmpfs is labelled with.
    pub label: Option<Label>,
}

/// Capability sets as masks, bit N for capability N.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// In force.
    pub effective: u64,
    /// May be put in force.
    pub permitted: u64,
    /// Kept across exec of a file with inheritable capabilities.
    pub inheritable: u64,
    /// Kept across exec of any file.
    pub ambient: u64,
}
