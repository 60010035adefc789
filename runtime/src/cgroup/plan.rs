//! Which cgroup directories a container gets, and which value goes into which file: decided purely, from the
//! configuration and the host's [`Layout`].
//!
//! A container gets a directory in every mounted hierarchy, whether it has limits there or not: its processes are found,
//! frozen and counted through them. A limit whose controller the host does not have is refused here, before anything is
//! made.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxDevice, LinuxResources};
use sys::bpf::Instruction;

use super::location::Location;
use super::{
    Error, Hierarchy, Layout, Paths, Rule, Unified, below, device_program, devices, systemd, v1, v2,
};

/// Who makes the cgroups.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Manager {
    /// We do, in the cgroup file systems.
    #[default]
    Cgroupfs,
    /// systemd does, as a scope unit.
    Systemd,
    /// Nobody: the container stays in the caller's cgroups.
    Disabled,
}

/// What the command line and the caller's privileges say.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// Who makes the cgroups.
    pub manager: Manager,
    /// Without `cgroupsPath` and without limits, the container does without a hierarchy that we may not write to.
    pub rootless: bool,
    /// The systemd that runs here, if it is asked for and does.
    pub systemd: Option<&'a systemd::Facts>,
    /// The mounts of the hierarchies in which the caller may make a cgroup where it goes by default; `None` for the host's root, to whom
    /// they all belong. Nobody else can set device rules: they are left out.
    pub delegated: Option<&'a [PathBuf]>,
}

/// What the configuration says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request<'a> {
    /// The container's id, its cgroup's name when it has no path.
    pub id: &'a str,
    /// `linux.cgroupsPath`.
    pub path: Option<&'a Path>,
    /// `linux.resources`.
    pub resources: Option<&'a LinuxResources>,
    /// `linux.devices`: a node at a default device's path takes away that default's rule. A node is not a permission:
    /// engines put a rule for each beside it.
    pub devices: &'a [LinuxDevice],
    /// `linux.resources.pids` is there, but has no limit in it: the types read that as a limit of 0.
    pub no_pids_limit: bool,
    /// The user of the host to whom the container's part of v2 is to belong.
    pub owner: Option<u32>,
    /// `annotations`: some are for systemd.
    pub annotations: Option<&'a HashMap<String, String>>,
}

/// What to do about a file that the kernel does not have, or a value that it does not give.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OnMissing {
    /// The limit cannot be kept: fail.
    Refuse,
    /// Without the file, the value is what is the case anyway.
    Skip,
    /// The same limit has another name: the next write. It is left out when this one succeeds.
    Next,
    /// An ancestor may not permit it (`EPERM`): then the container goes without, and nobody has asked for it.
    Forgo,
}

/// One value for one file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Write {
    /// The file's name.
    pub file: Cow<'static, str>,
    /// What is written, in one system call.
    pub value: String,
    /// Where in `config.json` it comes from.
    pub pointer: String,
    /// What a missing file means.
    pub on_missing: OnMissing,
}

impl Write {
    #[expect(clippy::needless_pass_by_value, reason = "numbers and texts alike")]
    pub(super) fn new(
        file: impl Into<Cow<'static, str>>,
        value: impl ToString,
        pointer: impl Into<String>,
    ) -> Write {
        Write {
            file: file.into(),
            value: value.to_string(),
            pointer: pointer.into(),
            on_missing: OnMissing::Refuse,
        }
    }

    pub(super) fn if_missing(self, on_missing: OnMissing) -> Write {
        Write { on_missing, ..self }
    }

    /// A kernel without the file behaves as with the value in it.
    pub(super) fn missing_is_zero(self, harmless: bool) -> Write {
        let on_missing = if harmless { OnMissing::Skip } else { OnMissing::Refuse };
        Write { on_missing, ..self }
    }
}

/// The version of a hierarchy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Version {
    /// One of several hierarchies, each with controllers of its own.
    V1,
    /// The unified hierarchy.
    V2,
}

/// The container's place in one hierarchy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Member {
    /// Which kind of hierarchy.
    pub version: Version,
    /// Where it is mounted.
    pub mount: PathBuf,
    /// The directory, below the mount; without `.` and `..`.
    pub path: PathBuf,
    /// v1: the controllers of the hierarchy. v2: those to enable, from the mount down to the directory's parent.
    pub controllers: Vec<String>,
    /// What is written, in this order.
    pub writes: Vec<Write>,
    /// Without permission to make the directory, or to move a process to it, the container starts without it.
    pub optional: bool,
}

impl Member {
    /// The directory.
    pub fn directory(&self) -> PathBuf {
        self.mount.join(&self.path)
    }

    /// Notes the directory.
    pub(super) fn record(&self, paths: &mut Paths) {
        let v1 = self.version == Version::V1;
        paths.insert(if v1 { &self.controllers } else { &[] }, &self.directory());
    }

    fn of_v1(hierarchy: &Hierarchy, location: &Location) -> Member {
        Member {
            version: Version::V1,
            mount: hierarchy.mount.clone(),
            path: location.in_v1(&hierarchy.own),
            controllers: hierarchy.controllers.clone(),
            writes: Vec::new(),
            // A hierarchy without controllers is some manager's book-keeping, and limits nothing.
            optional: hierarchy.controllers.iter().all(|name| name.starts_with("name=")),
        }
    }

    fn of_v2(unified: &Unified, location: &Location, beside_v1: bool) -> Member {
        // Alone, v2 gets every controller for the container, so that its use is measured even where it is not limited.
        // Beside v1, only what the container's limits need is enabled on the way down.
        let all = unified.controllers.iter().filter(|name| ENABLED.contains(&name.as_str()));
        Member {
            version: Version::V2,
            mount: unified.mount.clone(),
            path: location.in_v2(&unified.own),
            controllers: if beside_v1 { Vec::new() } else { all.cloned().collect() },
            writes: Vec::new(),
            optional: beside_v1,
        }
    }
}

/// The controllers that measure or limit what the specification knows; `perf_event` is always on.
const ENABLED: [&str; 8] = ["cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc"];

/// How device rules are kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Devices {
    /// Not at all: the container may use what its parent cgroup may.
    Inherit,
    /// By v1's controller.
    Files(Vec<Write>),
    /// By a program on the directory in the v2 hierarchy; without one, everything is allowed.
    Program {
        /// What the program does.
        rules: Vec<Rule>,
        /// The program.
        program: Option<Vec<Instruction>>,
    },
}

/// Everything that is done about the container's cgroup.
#[derive(Clone, Debug, PartialEq)]
pub struct CgroupPlan {
    /// The unit in which systemd makes the directories that it knows of, around the container's first process.
    pub unit: Option<systemd::UnitPlan>,
    /// The user of the host who owns the container's directory, where v2 is alone.
    pub owner: Option<u32>,
    /// The cgroup below the container's, where v2 is alone, that the container's processes are in and that it may divide.
    pub delegated: Option<PathBuf>,
    /// A directory in each hierarchy.
    pub members: Vec<Member>,
    /// The device rules.
    pub devices: Devices,
}

impl CgroupPlan {
    /// The directories, for the container's state: recorded before the first of them is made.
    pub fn paths(&self) -> Paths {
        let mut paths = Paths::default();
        self.members.iter().for_each(|member| member.record(&mut paths));
        paths
    }
}

/// Decides what is done about a container's cgroup.
pub fn plan(
    request: &Request<'_>,
    layout: &Layout,
    options: &Options<'_>,
) -> Result<CgroupPlan, Error> {
    let none = LinuxResources::default();
    let resources = request.resources.unwrap_or(&none);
    if options.manager == Manager::Disabled {
        refuse_limits(resources)?;
        return Ok(CgroupPlan {
            unit: None,
            owner: None,
            delegated: below::delegated(request.annotations, layout, &[])?,
            members: Vec::new(),
            devices: Devices::Inherit,
        });
    }
    let user =
        options.manager == Manager::Systemd && options.systemd.is_some_and(|facts| facts.user);
    let restricted = options.delegated.is_some() || user;
    let unit = match options.manager {
        Manager::Systemd => Some(plan_unit(request, layout, options.systemd, restricted)?),
        Manager::Cgroupfs | Manager::Disabled => None,
    };
    let location = match &unit {
        Some(unit) => Location::Absolute(unit.directory()),
        None => Location::parse(request.path, request.id)?,
    };
    let resources = &*as_meant(resources, request, unit.is_some());
    let beside_v1 = matches!(layout, Layout::Hybrid(..));
    let v1 = layout.hierarchies().iter().map(|hierarchy| Member::of_v1(hierarchy, &location));
    let v2 = layout.unified().map(|unified| Member::of_v2(unified, &location, beside_v1));
    let mut members: Vec<Member> = v1.chain(v2).collect();
    let available = layout.unified().map_or(&[][..], |unified| &unified.controllers);
    place_limits(resources, &mut members, available, "this host", unit.is_some())?;
    let given = request.path.filter(|path| !path.as_os_str().is_empty());
    // What systemd makes it makes for us.
    let lenient = options.rootless && given.is_none() && unit.is_none();
    if lenient && let Some(delegated) = options.delegated {
        let is_ours = |member: &Member| delegated.contains(&member.mount);
        for member in members.iter().filter(|member| !is_ours(member)) {
            refuse_first(&member.writes, NOT_DELEGATED)?;
        }
        members.retain(is_ours);
    }
    for member in &mut members {
        member.optional = (member.optional || lenient) && member.writes.is_empty();
    }
    let devices =
        if restricted { Devices::Inherit } else { place_devices(request, resources, &members)? };
    let owner = request.owner.filter(|_| matches!(layout, Layout::Unified(_)));
    let delegated = below::delegated(request.annotations, layout, &members)?;
    Ok(CgroupPlan { unit, owner, delegated, members, devices })
}

fn plan_unit(
    request: &Request<'_>,
    layout: &Layout,
    facts: Option<&systemd::Facts>,
    restricted: bool,
) -> Result<systemd::UnitPlan, Error> {
    let configured = request.resources.and_then(|resources| resources.devices().as_deref());
    let rules = devices::rules(configured.unwrap_or_default(), request.devices)?;
    let resources = request.resources.map(|resources| as_meant(resources, request, true));
    let request = Request { resources: resources.as_deref(), ..*request };
    systemd::plan(&request, layout, facts, (!restricted).then_some(&rules))
}

/// The limits without one that is none, and with the quota that systemd will have: two writers of one file have to agree.
fn as_meant<'r>(
    resources: &'r LinuxResources,
    request: &Request<'_>,
    by_systemd: bool,
) -> Cow<'r, LinuxResources> {
    let quota = systemd::round_up_quota(resources).filter(|_| by_systemd);
    if quota.is_none() && !request.no_pids_limit {
        return Cow::Borrowed(resources);
    }
    let mut changed = resources.clone();
    if let (Some(cpu), Some(_)) = (changed.cpu_mut(), quota) {
        cpu.set_quota(quota);
    }
    if request.no_pids_limit {
        changed.set_pids(None);
    }
    Cow::Owned(changed)
}

/// runc's words.
const NOT_DELEGATED: &str =
    "rootless needs no limits + no cgrouppath when no permission is granted for cgroups";

/// One group of limits, its controllers and its tables.
struct Group {
    v1: &'static str,
    v2: &'static str,
    v1_writes: fn(&LinuxResources) -> v1::Writes,
    v2_writes: fn(&LinuxResources) -> v1::Writes,
}

const fn group(
    v1: &'static str,
    v1_writes: fn(&LinuxResources) -> v1::Writes,
    v2: &'static str,
    v2_writes: fn(&LinuxResources) -> v1::Writes,
) -> Group {
    Group { v1, v2, v1_writes, v2_writes }
}

/// v2 has no `net_cls` and `net_prio`: those names are never among its controllers.
const GROUPS: [Group; 9] = [
    group("memory", v1::memory, "memory", v2::memory),
    group("cpu", v1::cpu, "cpu", v2::cpu),
    group("cpuset", v1::cpuset, "cpuset", v1::cpuset),
    group("pids", v1::pids, "pids", v1::pids),
    group("blkio", v1::blkio, "io", v2::io),
    group("hugetlb", v1::hugetlb, "hugetlb", v2::hugetlb),
    group("rdma", v1::rdma, "rdma", v1::rdma),
    group("net_cls", v1::net_cls, "net_cls", v1::net_cls),
    group("net_prio", v1::net_prio, "net_prio", v1::net_prio),
];

/// Puts every limit to the member that has its controller. `available` are v2's controllers; `whose` they are is told to
/// whoever asks for another. In a unit systemd writes some of them as well, and both have to write the same.
pub(super) fn place_limits(
    resources: &LinuxResources,
    members: &mut [Member],
    available: &[String],
    whose: &str,
    in_unit: bool,
) -> Result<(), Error> {
    for group in &GROUPS {
        match group.v2 {
            "io" if in_unit => {
                let group = Group { v2_writes: v2::io_of_unit, ..*group };
                place(&group, resources, members, available, whose)?;
            }
            _ => place(group, resources, members, available, whose)?,
        }
    }
    place_unified(resources, members, available, whose)
}

/// Puts the writes of a group to the hierarchy that has its controller: on a hybrid host each controller is in one.
fn place(
    group: &Group,
    resources: &LinuxResources,
    members: &mut [Member],
    available: &[String],
    whose: &str,
) -> Result<(), Error> {
    let has = |member: &&mut Member| match member.version {
        Version::V1 => member.controllers.iter().any(|name| name == group.v1),
        Version::V2 => available.iter().any(|name| name == group.v2),
    };
    let only_v2 = members.iter().all(|member| member.version == Version::V2);
    let Some(member) = members.iter_mut().find(has) else {
        let (name, writes) = if only_v2 && !members.is_empty() {
            (group.v2, (group.v2_writes)(resources)?)
        } else {
            (group.v1, (group.v1_writes)(resources)?)
        };
        return refuse_first(&writes, &format!("{whose} has no `{name}` controller"));
    };
    let writes = match member.version {
        Version::V1 => (group.v1_writes)(resources)?,
        Version::V2 => (group.v2_writes)(resources)?,
    };
    if member.version == Version::V2 && !writes.is_empty() {
        enable(member, group.v2);
    }
    member.writes.extend(writes);
    Ok(())
}

fn enable(member: &mut Member, controller: &str) {
    if !member.controllers.iter().any(|name| name == controller) {
        member.controllers.push(controller.to_owned());
    }
}

/// v2's own names, last: what is said there counts over the converted limits.
fn place_unified(
    resources: &LinuxResources,
    members: &mut [Member],
    available: &[String],
    whose: &str,
) -> Result<(), Error> {
    let writes = v2::unified(resources)?;
    let Some(member) = members.iter_mut().find(|member| member.version == Version::V2) else {
        let writes: Vec<_> = writes.into_iter().map(|(write, _)| write).collect();
        return refuse_first(&writes, &format!("{whose} has no cgroup v2"));
    };
    for (write, controller) in writes {
        if controller != "cgroup" {
            if !available.contains(&controller) {
                let why = format!("{whose} has no `{controller}` controller on cgroup v2");
                return refuse_first(&[write], &why);
            }
            enable(member, &controller);
        }
        member.writes.push(write);
    }
    Ok(())
}

/// Refuses a group by its first write: the one that a reader of the configuration meets first. Of a group without
/// writes, or whose writes change nothing, there is nothing to refuse.
fn refuse_first(writes: &[Write], why: &str) -> Result<(), Error> {
    match writes.iter().find(|write| write.on_missing != OnMissing::Skip) {
        Some(Write { file, value, pointer, .. }) => {
            Err(Error::refused(format!("set `{file}` to `{value}`"), pointer, why))
        }
        None => Ok(()),
    }
}

/// Without cgroups there are no limits: refuse them all.
fn refuse_limits(resources: &LinuxResources) -> Result<(), Error> {
    let why = "cgroups are disabled";
    for group in &GROUPS {
        refuse_first(&(group.v1_writes)(resources)?, why)?;
    }
    let unified: Vec<_> = v2::unified(resources)?.into_iter().map(|(write, _)| write).collect();
    refuse_first(&unified, why)
}

/// The device rules: by v1's controller where there is one, else by a program on v2. Without either, a container could
/// use every device whose node it makes: that is refused.
fn place_devices(
    request: &Request<'_>,
    resources: &LinuxResources,
    members: &[Member],
) -> Result<Devices, Error> {
    let configured = resources.devices().as_deref().unwrap_or(&[]);
    let rules = devices::rules(configured, request.devices)?;
    let v1 = |member: &Member| {
        member.version == Version::V1 && member.controllers.iter().any(|name| name == "devices")
    };
    if members.iter().any(v1) {
        return devices::exceptions(&rules, configured.len()).map(|exceptions| {
            Devices::Files(device_writes(&exceptions, devices::unasked(&rules[..configured.len()])))
        });
    }
    if members.iter().any(|member| member.version == Version::V2) {
        let program = device_program::assemble(&rules);
        return Ok(Devices::Program { rules, program });
    }
    let why = "this host has neither the `devices` controller nor cgroup v2";
    Err(Error::refused("restrict devices", "/linux/resources/devices", why))
}

/// The default first, which clears what was there before. What is `unasked` for an ancestor may keep from the container.
fn device_writes(
    exceptions: &devices::Exceptions,
    unasked: Option<devices::Exception>,
) -> Vec<Write> {
    let (default, other) = match exceptions.allow {
        true => ("devices.allow", "devices.deny"),
        false => ("devices.deny", "devices.allow"),
    };
    let pointer = "/linux/resources/devices";
    let first = Write::new(default, "a", pointer);
    let rest = exceptions.list.iter().map(|exception| {
        let write = Write::new(other, exception, pointer);
        if Some(*exception) == unasked { write.if_missing(OnMissing::Forgo) } else { write }
    });
    std::iter::once(first).chain(rest).collect()
}

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {:?} ({})", self.file, self.value, self.pointer)?;
        match self.on_missing {
            OnMissing::Refuse => Ok(()),
            OnMissing::Skip => f.write_str(" if it exists"),
            OnMissing::Next => f.write_str(" or else"),
            OnMissing::Forgo => f.write_str(" if permitted"),
        }
    }
}

impl fmt::Display for CgroupPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(unit) = &self.unit {
            write!(f, "{unit}")?;
        }
        for member in &self.members {
            let optional = if member.optional { " if permitted" } else { "" };
            writeln!(f, "cgroup {}{optional}", member.directory().display())?;
            if member.version == Version::V2 && !member.controllers.is_empty() {
                writeln!(f, "  enable {}", member.controllers.join(" "))?;
            }
            for write in &member.writes {
                writeln!(f, "  {write}")?;
            }
            if let Some(delegated) = &self.delegated {
                writeln!(f, "  delegate {}", delegated.display())?;
            }
            if let Some(owner) = self.owner {
                writeln!(f, "  owned by user {owner}")?;
            }
        }
        match &self.devices {
            Devices::Inherit => writeln!(f, "devices as the parent cgroup"),
            Devices::Files(writes) => {
                writeln!(f, "devices by files")?;
                writes
                    .iter()
                    .try_for_each(|write| writeln!(f, "  {} = {:?}", write.file, write.value))
            }
            Devices::Program { rules, program } => {
                match program {
                    Some(program) => {
                        writeln!(f, "devices by a program of {} instructions", program.len())?;
                    }
                    None => writeln!(f, "devices without a program")?,
                }
                rules.iter().try_for_each(|rule| writeln!(f, "  {rule}"))
            }
        }
    }
}
