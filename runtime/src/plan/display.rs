//! How a plan and its steps read: in `nrun plan`, in error messages, and in the golden tests.

use super::Plan;
use super::hooks::Hook;
use super::idmap::IdMap;
use super::legacy::I_VERSION;
use super::mounts::Label;
use super::net_devices::NetDevice;
use super::op::{
    Barrier, Bind, Carrier, Cgroups, HierarchySource, IdMapped, Legacy, MappedBy, Mask, Mount, Op,
    RemountTo, Step,
};
use rustix::mount::MountPropagationFlags as Propagation;
use std::ffi::CStr;
use std::fmt::{self, Display, Formatter};
use sys::beneath::Target;
use sys::mount::{self as attr, Attributes};
use sys::namespace::Kinds;

/// A file name as it is read, whatever its bytes.
struct Name<'a>(&'a CStr);

impl Display for Name<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.0.to_string_lossy())
    }
}

/// A target as the container sees it.
fn path(target: &Target) -> String {
    match target.path().to_string_lossy().as_ref() {
        "." => "`/`".to_owned(),
        path => format!("`/{path}`"),
    }
}

fn kinds(kinds: Kinds) -> String {
    const NAMES: &[(Kinds, &str)] = &[
        (Kinds::USER, "user"),
        (Kinds::PID, "pid"),
        (Kinds::MOUNT, "mount"),
        (Kinds::NETWORK, "network"),
        (Kinds::IPC, "ipc"),
        (Kinds::UTS, "uts"),
        (Kinds::CGROUP, "cgroup"),
        (Kinds::TIME, "time"),
    ];
    let names: Vec<&str> =
        NAMES.iter().filter(|(kind, _)| kinds.contains(*kind)).map(|(_, name)| *name).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(" ") }
}

fn attributes(set: u64) -> String {
    const NAMES: &[(u64, &str)] = &[
        (attr::RDONLY, "ro"),
        (attr::NOSUID, "nosuid"),
        (attr::NODEV, "nodev"),
        (attr::NOEXEC, "noexec"),
        (attr::NOATIME, "noatime"),
        (attr::STRICTATIME, "strictatime"),
        (attr::NODIRATIME, "nodiratime"),
        (attr::NOSYMFOLLOW, "nosymfollow"),
    ];
    let names: Vec<&str> =
        NAMES.iter().filter(|(bit, _)| set & bit != 0).map(|(_, name)| *name).collect();
    names.join(",")
}

fn changes(attributes_of: &Attributes) -> String {
    let mut text = String::new();
    if attributes_of.set != 0 {
        text.push_str(&format!(" +{}", attributes(attributes_of.set)));
    }
    let cleared = attributes(attributes_of.clear & !attr::ATIME_FIELD);
    if !cleared.is_empty() {
        text.push_str(&format!(" -{cleared}"));
    }
    text
}

fn propagation(flags: u64) -> String {
    let flags = Propagation::from_bits_retain(flags as u32);
    let name = if flags.contains(Propagation::SHARED) {
        "shared"
    } else if flags.contains(Propagation::DOWNSTREAM) {
        "slave"
    } else if flags.contains(Propagation::UNBINDABLE) {
        "unbindable"
    } else {
        "private"
    };
    format!("{}{name}", if flags.contains(Propagation::REC) { "r" } else { "" })
}

fn barrier_phrase(barrier: Barrier) -> &'static str {
    match barrier {
        Barrier::Cgroup => "wait to be put into the cgroup by systemd",
        Barrier::Maps => "wait for the id mappings",
        Barrier::NetDevices => "wait for the network devices",
        Barrier::Hooks => "wait for the hooks of the runtime",
        Barrier::Hooked => "report that the hooks are done",
        Barrier::Ready => "report that everything is ready",
    }
}

impl Op {
    /// What the step does, so that `cannot ` can stand before it: `mount proc on /proc`.
    pub fn phrase(&self) -> String {
        match self {
            Op::Wait(barrier) => barrier_phrase(*barrier).into(),
            Op::Hook(hook) => hook_phrase(hook),
            Op::NamespaceRoot { .. } => "become root of the user namespace".into(),
            Op::JoinCgroup => "enter the cgroup".into(),
            Op::JoinNamespace { kind, path } => {
                format!("join the {} namespace {}", kinds(*kind), Name(path))
            }
            Op::JoinInit { kinds: joined } => {
                format!("join the container's namespaces: {}", kinds(*joined))
            }
            Op::Unshare(made) => format!("make a {} namespace", kinds(*made)),
            Op::TimeOffsets { .. } => "set the offsets of the time namespace".into(),
            Op::Fork { namespaces } => {
                format!("make the container's init (new namespaces: {})", kinds(*namespaces))
            }
            Op::NewSession => "start a session".into(),
            Op::Loopback => "bring up the loopback interface".into(),
            Op::Hostname(name) => format!("set the host name to `{name}`"),
            Op::Domainname(name) => format!("set the domain name to `{name}`"),
            Op::WriteProc { path, value } => format!("write `{value}` to {}", Name(path)),
            Op::Propagation { flags } => format!("make the mounts {}", propagation(*flags)),
            Op::RootPropagation { flags } => format!("make the root mount {}", propagation(*flags)),
            Op::Pivot { .. } => "pivot to the root file system".into(),
            Op::MoveRoot { .. } => "move to the root file system".into(),
            Op::Chroot { path } => format!("change the root to {}", Name(path)),
            Op::Rlimit { resource, .. } => {
                format!("set the limit {}", format!("{resource:?}").to_uppercase())
            }
            Op::CallersFiles => "set the limit NOFILE to the caller's".into(),
            Op::Attribute(attribute) => attribute.phrase(),
            Op::Keyring(name) => format!("join the session keyring {}", Name(name)),
            Op::NoNewPrivileges => "set no_new_privs".into(),
            Op::Bounding(_) => "drop capabilities from the bounding set".into(),
            Op::StandardStreams { uid } => format!("give the standard streams to user {uid}"),
            Op::User { uid, gid, .. } => format!("become user {uid} and group {gid}"),
            Op::Capabilities(_) => "set the capabilities".into(),
            Op::Umask(mask) => format!("set the umask to {mask:04o}"),
            Op::WorkingDirectory { path, .. } => {
                format!("change to the working directory {}", Name(path))
            }
            Op::NotDumpable => "become invisible to tracers".into(),
            Op::Home { uid } => format!("look up the home directory of user {uid}"),
            Op::FindExecutable { name, .. } => format!("find `{name}`"),
            Op::EndWhenAsked => "end when a signal asks for it".into(),
            Op::CloseSetUp { first } => format!("close what the set-up needed, from {first} on"),
            Op::AwaitStart => "wait for start".into(),
            Op::Seccomp { .. } => "install the seccomp filter".into(),
            Op::CloseFds { first } => format!("close file descriptors from {first} on"),
            Op::Exec { argv, .. } => {
                let name =
                    argv.as_slice().first().map(|name| name.to_string_lossy()).unwrap_or_default();
                format!("execute `{name}`")
            }
            _ => self.file_system_phrase(),
        }
    }

    fn file_system_phrase(&self) -> String {
        match self {
            Op::Root { .. } => "attach the root file system".into(),
            Op::RootOver => "move the root file system over `/`".into(),
            Op::OpenRoot => "open the container's root".into(),
            Op::Mount(mount) => format!("mount {} on {}", Name(&mount.kind), path(&mount.target)),
            Op::Bind(bind) => format!("bind on {}", path(&bind.target)),
            Op::Remount(remount) => format!("change the mount on {}", path(&remount.target)),
            Op::ReadOnlyMounts => "make file systems read-only that are complete now".into(),
            Op::Cgroups(cgroups) => format!("mount the cgroups on {}", path(&cgroups.tmpfs.target)),
            Op::Directory { target } => format!("make the directory {}", path(target)),
            Op::Device(device) => format!("make the device {}", path(&device.target)),
            Op::Symlink { target, to } => format!("link {} to {}", path(target), Name(to)),
            Op::Console(_) => "set up the terminal".into(),
            Op::ReadOnly { target } => format!("make {} read-only", path(target)),
            Op::Mask(Mask { target, label: Some(Label { parameter, label }), .. }) => {
                let label = label.to_string_lossy();
                format!("mask {} {}={label}", path(target), parameter.to_string_lossy())
            }
            Op::Mask(mask) => format!("mask {}", path(&mask.target)),
            Op::ReadOnlyRoot => "make the root file system read-only".into(),
            _ => "do a step".into(),
        }
    }

    /// The details that `nrun plan` shows behind the phrase.
    fn details(&self, plan: &Plan) -> String {
        match self {
            Op::Root { source, at, .. } => {
                let at = at.as_ref().map(|at| format!(" at {}", Name(&at.path)));
                let (from, how) = (source_text(plan, *source), plan.sources[*source].propagation);
                format!(" from {from}, {}{}", propagation(how), at.unwrap_or_default())
            }
            Op::Wait(Barrier::Hooks) => plan
                .hooks
                .list
                .iter()
                .map(|hook| format!("\n        {}", hook_text(hook)))
                .collect(),
            Op::Hook(hook) => hook_text(hook).split_off(hook_phrase(hook).len()),
            Op::Mount(mount) => mount_text(mount),
            Op::Bind(bind) => bind_text(plan, bind),
            Op::Remount(remount) => {
                let to = match &remount.to {
                    RemountTo::Mount(to) => changes(to),
                    RemountTo::FileSystem(to) => legacy_text(to),
                };
                to + &recursive_text(&remount.recursive)
            }
            Op::Cgroups(cgroups) => cgroups_text(cgroups),
            Op::Device(device) => {
                let from =
                    device.bind.map(|source| format!(" bound from {}", source_text(plan, source)));
                let made = format!(
                    " {}:{} mode {:04o} owner {}:{}",
                    device.major, device.minor, device.mode, device.uid, device.gid
                );
                from.unwrap_or(made)
            }
            Op::Rlimit { soft, hard, .. } => {
                let limit = |limit: &Option<u64>| {
                    limit.map_or("unlimited".into(), |limit| limit.to_string())
                };
                format!(" to {} of {}", limit(soft), limit(hard))
            }
            Op::Attribute(attribute) => attribute.details(),
            Op::Bounding(keep) => format!(", keeping {keep:#x}"),
            Op::Capabilities(sets) => format!(
                ": effective {:#x} permitted {:#x} inheritable {:#x} ambient {:#x}",
                sets.effective, sets.permitted, sets.inheritable, sets.ambient
            ),
            Op::User { groups: Some(groups), .. } if !groups.is_empty() => {
                format!(", with groups {groups:?}")
            }
            Op::FindExecutable { candidates, .. } => {
                let names: Vec<_> = candidates.iter().map(|name| name.to_string_lossy()).collect();
                format!(" in {}", names.join(" "))
            }
            Op::Seccomp { .. } => seccomp_text(self),
            Op::TimeOffsets { offsets } => {
                format!(": {}", offsets.to_string_lossy().trim_end().replace('\n', ", "))
            }
            _ => String::new(),
        }
    }
}

/// Which hook it is, as runc says it.
pub(crate) fn hook_phrase(hook: &Hook) -> String {
    format!("run the {} hook #{}", hook.kind.name(), hook.index)
}

fn hook_text(hook: &Hook) -> String {
    let args: Vec<_> = hook.argv.as_slice().iter().map(|arg| arg.to_string_lossy()).collect();
    let limit = hook.timeout.map(|limit| format!(", for at most {limit:?}")).unwrap_or_default();
    format!("{}: {} as `{}`{limit}", hook_phrase(hook), Name(&hook.path), args.join(" "))
}

fn seccomp_text(op: &Op) -> String {
    let Op::Seccomp { program, flags, listener, sent: _ } = op else { return String::new() };
    let agent = listener.as_ref().map(|agent| format!(", agent `{}`", agent.path.display()));
    let agent = agent.unwrap_or_default();
    format!(": {} instructions, flags {flags:#x}{agent}", program.len())
}

fn mount_text(mount: &Mount) -> String {
    let mut text = String::new();
    for (key, value) in &mount.options {
        let value =
            value.as_ref().map(|value| format!("={}", value.to_string_lossy())).unwrap_or_default();
        text.push_str(&format!(" {}{value}", key.to_string_lossy()));
    }
    text.push_str(&changes(&Attributes { set: mount.attributes, ..Attributes::default() }));
    for (wanted, words) in [
        (mount.inherits_mode, ", with the mode of what it covers"),
        (mount.copy_up.is_some(), ", with a copy of what it covers"),
        (mount.read_only_last, ", read-only at the end"),
    ] {
        text.push_str(if wanted { words } else { "" });
    }
    let only_there = |legacy: &&Legacy| legacy.flags & I_VERSION != 0;
    text + &mount.legacy.as_ref().filter(only_there).map(legacy_text).unwrap_or_default()
}

/// What the options do not say already.
fn legacy_text(legacy: &Legacy) -> String {
    format!(", by mount(2) with flags {:#x} and data {}", legacy.flags, Name(&legacy.data))
}

fn recursive_text(attributes: &Attributes) -> String {
    let text = changes(attributes);
    if text.is_empty() { text } else { format!(" recursively{text}") }
}

fn bind_text(plan: &Plan, bind: &Bind) -> String {
    let flags: Vec<String> = bind.propagation.iter().map(|flags| propagation(*flags)).collect();
    let over = if bind.over_link { ", over a link that is there" } else { "" };
    let copied = if bind.copy_link { ", or a copy of it if it is a link" } else { "" };
    format!(
        " from {}, {}{}{}{over}{copied}",
        source_text(plan, bind.source),
        flags.join(" "),
        changes(&bind.attributes),
        recursive_text(&bind.recursive)
    )
}

fn cgroups_text(cgroups: &Cgroups) -> String {
    let mut text = changes(&Attributes { set: cgroups.tmpfs.attributes, ..Attributes::default() });
    if cgroups.attributes.set & attr::RDONLY != 0 {
        text.push_str(" then +ro");
    }
    for hierarchy in &cgroups.hierarchies {
        let from = match &hierarchy.from {
            HierarchySource::Bind(from) => format!("bound from {}", Name(from)),
            HierarchySource::Mount { kind, data } => {
                format!("{} {}", kind.to_string_lossy(), data.to_string_lossy())
            }
        };
        text.push_str(&format!(
            "\n        {} {}",
            hierarchy.name.to_string_lossy(),
            from.trim_end()
        ));
    }
    for (link, to) in &cgroups.links {
        text.push_str(&format!("\n        {} -> {}", link.to_string_lossy(), to.to_string_lossy()));
    }
    text
}

fn source_text(plan: &Plan, source: usize) -> String {
    let source = &plan.sources[source];
    let depth = if source.recursive { " with what is below it" } else { "" };
    let carrier = match source.carrier {
        Carrier::Tree => "",
        Carrier::Path => " (by path)",
        Carrier::Root => " (in the root)",
    };
    let itself = if source.no_follow { " (itself, if it is a link)" } else { "" };
    let mapped = source.id_map.as_ref().map(id_map_text).unwrap_or_default();
    format!("{}{itself}{depth}{carrier}{mapped}", Name(&source.path))
}

fn id_map_text(id_map: &IdMapped) -> String {
    let depth = if id_map.recursive { " all" } else { "" };
    let by = match &id_map.by {
        MappedBy::Namespace(path) => format!("by the user namespace {}", Name(path)),
        MappedBy::Maps(maps) => {
            let text = |map: &IdMap| map.lines.trim_end().replace('\n', ", ");
            format!("uids {} gids {}", text(&maps.uid), text(&maps.gid))
        }
    };
    format!(" ({} ids mapped: {by})", depth.trim_start()).replace("( ", "(")
}

fn step_line(f: &mut Formatter<'_>, number: usize, step: &Step, plan: &Plan) -> fmt::Result {
    let text = format!("{}{}", step.op.phrase(), step.op.details(plan));
    let pointer =
        if step.pointer.is_empty() { String::new() } else { format!("  # {}", step.pointer) };
    writeln!(f, "{number:4}  {text}{pointer}")
}

fn id_map_line(f: &mut Formatter<'_>, kind: &str, map: &IdMap) -> fmt::Result {
    write!(f, "{kind} map: {}", map.lines.trim_end().replace('\n', ", "))?;
    match &map.tool {
        Some(tool) => writeln!(f, " (by `{}`)", tool.display()),
        None => writeln!(f),
    }
}

impl Display for Plan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "container `{}`", self.id)?;
        writeln!(f, "clone with new namespaces: {}", kinds(self.shape.clone))?;
        if let Some(stage) = self.shape.stage {
            writeln!(f, "helper stage, then new namespaces: {}", kinds(stage))?;
        }
        if let Some(cgroup) = &self.cgroup {
            write!(f, "{cgroup}")?;
        }
        if let Some(class) = &self.intel_rdt {
            write!(f, "{class}")?;
        }
        if let Some(maps) = &self.id_maps {
            id_map_line(f, "uid", &maps.uid)?;
            id_map_line(f, "gid", &maps.gid)?;
        }
        for device in &self.net_devices {
            let NetDevice { name, new_name, pointer } = device;
            writeln!(f, "network device `{name}` as `{new_name}`  # {pointer}")?;
        }
        for (number, step) in self.by_parent.iter().enumerate() {
            write!(f, "parent ")?;
            step_line(f, number, step, self)?;
        }
        for (number, step) in self.scheduled_by_parent.iter().enumerate() {
            write!(f, "parent, when ready ")?;
            step_line(f, number, step, self)?;
        }
        for (number, step) in self.steps.iter().enumerate() {
            step_line(f, number, step, self)?;
        }
        Ok(())
    }
}
