//! Deciding what to do: from a checked config.json and the facts about the host to a list of operations.
//!
//! Everything in here is pure (invariant I1): it opens nothing, forks nothing, and can be tested without root. The order of
//! the operations is decided here and nowhere else; each rule has a comment where it is made and a test that fails when it
//! is broken.

pub mod attributes;
pub mod devices;
mod display;
pub mod exec;
pub mod hooks;
pub mod idmap;
pub mod mounts;
pub mod namespaces;
pub mod net_devices;
pub mod op;
pub mod options;
pub mod process;
pub mod seccomp;
mod sysctl;
mod unsupported;

#[cfg(test)]
mod tests;

use crate::cgroup::{self, CgroupPlan};
use crate::host::Host;
use crate::rootless;
use bundle::Checked;
use hooks::Hook;
use idmap::IdMaps;
use mounts::CgroupView;
use namespaces::{Namespaces, Shape};
use net_devices::NetDevice;
use oci_spec::runtime::{Linux, LinuxTimeOffset, Process, Spec};
use op::{Barrier, Carrier, Console, Op, Source, Step};
use rustix::mount::MountPropagationFlags as Propagation;
use std::collections::HashMap;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use sys::beneath::Target;
use sys::namespace::Kinds;

/// Why there is no plan: a place in config.json and what is wrong with it.
#[derive(Debug, thiserror::Error)]
#[error("config.json {pointer}: {message}")]
pub struct Error {
    /// JSON pointer.
    pub pointer: String,
    /// What is wrong.
    pub message: String,
}

impl Error {
    fn new(pointer: impl Into<String>, message: impl Into<String>) -> Error {
        Error { pointer: pointer.into(), message: message.into() }
    }
}

/// What the command line adds to config.json.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The container's id.
    pub id: String,
    /// `--no-pivot`
    pub no_pivot: bool,
    /// `--no-new-keyring`
    pub no_new_keyring: bool,
    /// `--preserve-fds`
    pub preserve_fds: u32,
    /// The process waits for `start` (`create`), or goes on at once (`run`).
    pub await_start: bool,
    /// Which program manages cgroups.
    pub cgroup_manager: cgroup::Manager,
    /// `--rootless`
    pub rootless_cgroups: rootless::Cgroups,
}

/// Everything that is done to make a container.
#[derive(Debug)]
pub struct Plan {
    /// The container's id.
    pub id: String,
    /// What is asked for and not done, for the log.
    pub warnings: Vec<String>,
    /// The file that the pointers of the steps point into: `config.json`, or `process.json` for `exec`.
    pub document: &'static str,
    /// All namespaces in which the container differs from the host.
    pub namespaces: Kinds,
    /// The processes that are made.
    pub shape: Shape,
    /// The container's cgroup; the parent makes it before the clone. `None` for `exec`, which joins what is there.
    pub cgroup: Option<CgroupPlan>,
    /// Id mappings of a new user namespace; written by the parent at [`Barrier::Maps`].
    pub id_maps: Option<IdMaps>,
    /// What the parent does with the child's /proc entry and limits at [`Barrier::Maps`], because the child has no
    /// privilege over the host any more: the same operations as the child's own, without a user namespace.
    pub by_parent: Vec<Step>,
    /// What the parent does for the child at [`Barrier::Ready`], for the same reason: how it is scheduled.
    pub scheduled_by_parent: Vec<Step>,
    /// What the parent moves into the network namespace at [`Barrier::NetDevices`].
    pub net_devices: Vec<NetDevice>,
    /// Hooks that the parent runs at [`Barrier::Hooks`].
    pub hooks: Vec<Hook>,
    /// Where hooks write, standard output first; `None` is kept for the error message.
    pub hook_outputs: [Option<PathBuf>; 2],
    /// Who decides on system calls, where the profile leaves it to somebody.
    pub listener: Option<seccomp::Listener>,
    /// Bind sources, opened by the parent before the clone.
    pub sources: Vec<Source>,
    /// What the child does, in order.
    pub steps: Vec<Step>,
}

/// Plans a container.
///
/// # Errors
/// For what config.json asks and this host, or this runtime, cannot do, naming its place.
pub fn create(
    checked: &Checked,
    host: &Host,
    options: &Options,
) -> Result<Plan, crate::error::Error> {
    let spec = &checked.spec;
    unsupported::refuse(spec)?;
    let linux = spec.linux().as_ref();
    let Some(process) = spec.process() else {
        return Err(Error::new("/process", "must be there").into());
    };
    let namespaces = Namespaces::of(linux)?;
    let offsets =
        linux.and_then(|linux| linux.time_offsets().as_ref()).filter(|offsets| !offsets.is_empty());
    let new_user = namespaces.new.contains(Kinds::USER);
    let in_user_namespace = namespaces.all().contains(Kinds::USER);
    let cgroup = plan_cgroup(linux, host, options)?;
    let id_maps = linux.filter(|_| new_user).map(|linux| idmap::plan(linux, host)).transpose()?;
    if id_maps.as_ref().is_some_and(|maps| maps.deny_setgroups) {
        refuse_groups(process)?;
    }
    let mut builder = Builder {
        checked,
        process,
        host,
        options,
        linux,
        has_mounts: namespaces.all().contains(Kinds::MOUNT),
        carrier: if host.privileged() || host.rootless.clones_mounts {
            Carrier::Tree
        } else {
            Carrier::Path
        },
        shape: namespaces::shape(&namespaces, offsets.is_some()),
        offsets,
        new_user,
        in_user_namespace,
        stays_dumpable: if host.privileged() {
            in_user_namespace && offsets.is_some()
        } else {
            new_user || offsets.is_some()
        },
        namespaces,
        by_parent: Vec::new(),
        scheduled_by_parent: Vec::new(),
        net_devices: net_devices::plan(linux, host)?,
        hooks: Vec::new(),
        listener: None,
        sources: Vec::new(),
        steps: Vec::with_capacity(64),
    };
    builder.enter_namespaces()?;
    builder.configure_namespaces()?;
    builder.file_systems(&cgroup)?;
    builder.process()?;
    let rights = process::Rights::of(host, in_user_namespace);
    let warnings = process::warnings(process, &rights, "config.json", "/process");
    Ok(Plan {
        id: options.id.clone(),
        warnings,
        document: "config.json",
        namespaces: builder.namespaces.all(),
        shape: builder.shape,
        cgroup: Some(cgroup),
        id_maps,
        by_parent: builder.by_parent,
        scheduled_by_parent: builder.scheduled_by_parent,
        net_devices: builder.net_devices,
        hooks: builder.hooks,
        hook_outputs: hooks::outputs(spec.annotations().as_ref())?,
        listener: builder.listener,
        sources: builder.sources,
        steps: builder.steps,
    })
}

/// Whether there is nothing in a config.json that this version cannot do on any host.
pub fn can(spec: &Spec) -> bool {
    unsupported::refuse(spec).is_ok()
}

fn plan_cgroup(
    linux: Option<&Linux>,
    host: &Host,
    options: &Options,
) -> Result<CgroupPlan, cgroup::Error> {
    let request = cgroup::Request {
        id: &options.id,
        path: linux.and_then(|linux| linux.cgroups_path().as_deref()),
        resources: linux.and_then(|linux| linux.resources().as_ref()),
        devices: linux.and_then(|linux| linux.devices().as_deref()).unwrap_or_default(),
    };
    cgroup::plan(
        &request,
        &host.cgroup,
        &cgroup::Options {
            manager: options.cgroup_manager,
            rootless: match options.rootless_cgroups {
                rootless::Cgroups::Auto => !host.privileged(),
                rootless::Cgroups::Lenient => true,
                rootless::Cgroups::Strict => false,
            },
            delegated: (!host.privileged()).then_some(&host.rootless.cgroups),
        },
    )
}

/// Refused before anything is made, because setgroups(2) is going to be denied (runc's words).
fn refuse_groups(process: &Process) -> Result<(), Error> {
    if process.user().additional_gids().as_deref().unwrap_or_default().is_empty() {
        return Ok(());
    }
    Err(Error::new(
        "/process/user/additionalGids",
        "cannot set any additional groups in a rootless container whose only group is the caller's own",
    ))
}

/// The plan while it is being made: each method adds its steps after those of the one before.
struct Builder<'a> {
    checked: &'a Checked,
    process: &'a Process,
    host: &'a Host,
    options: &'a Options,
    linux: Option<&'a Linux>,
    namespaces: Namespaces,
    /// Offsets of a new time namespace, if there are any.
    offsets: Option<&'a HashMap<String, LinuxTimeOffset>>,
    new_user: bool,
    in_user_namespace: bool,
    /// Our /proc entry must stay writable, until everything was written there, for a caller, or for a root of the user namespace,
    /// who is not the host's root.
    stays_dumpable: bool,
    has_mounts: bool,
    carrier: Carrier,
    shape: Shape,
    by_parent: Vec<Step>,
    scheduled_by_parent: Vec<Step>,
    net_devices: Vec<NetDevice>,
    hooks: Vec<Hook>,
    listener: Option<seccomp::Listener>,
    sources: Vec<Source>,
    steps: Vec<Step>,
}

impl Builder<'_> {
    fn push(&mut self, op: Op, pointer: impl Into<String>) {
        self.steps.push(Step { op, pointer: pointer.into() });
    }

    fn spec(&self) -> &Spec {
        &self.checked.spec
    }

    /// Ids first: without a mapping the child may do nothing. The cgroup before the cgroup namespace, whose root is the
    /// cgroup of whoever makes it. Joined namespaces before those that are to belong to a joined user namespace.
    fn enter_namespaces(&mut self) -> Result<(), Error> {
        // Out of reach of tracers before anybody in a joined pid namespace can see us.
        let hidden = !self.stays_dumpable;
        if hidden && self.host.privileged() {
            self.push(Op::NotDumpable, "");
        }
        // The cgroup is entered by the first process, while it still has the host's privileges.
        self.push(Op::JoinCgroup, "/linux/cgroupsPath");
        self.steps.push(attributes::any_processor());
        let labels = attributes::labels(self.process, self.host, "/process")?;
        self.steps.extend(labels);
        if self.limits_come_first() {
            let limits = self.limits();
            self.steps.extend(limits);
        }
        if hidden && !self.host.privileged() {
            self.push(Op::NotDumpable, "");
        }
        let joins = namespaces::join(&self.namespaces, self.host.administers());
        self.steps.extend(joins);
        if let Some(namespaces) = self.shape.stage {
            self.push(Op::Fork { namespaces }, "/linux/namespaces");
        }
        if self.new_user {
            self.push(Op::Wait(Barrier::Maps), "/linux/uidMappings");
        }
        if self.in_user_namespace {
            let dumpable = self.stays_dumpable;
            self.push(Op::NamespaceRoot { dumpable }, "/linux/uidMappings");
        }
        if self.namespaces.new.contains(Kinds::CGROUP) {
            self.push(Op::Unshare(Kinds::CGROUP), "/linux/namespaces");
        }
        if let Some(offsets) = self.offsets {
            let offsets = namespaces::time_offsets(offsets)?;
            self.push(Op::TimeOffsets { offsets }, "/linux/timeOffsets");
        }
        self.push(Op::NewSession, "");
        Ok(())
    }

    /// What is set through the host's /proc comes before anything of the container is mounted (class D).
    fn configure_namespaces(&mut self) -> Result<(), Error> {
        if !self.net_devices.is_empty() {
            // Before the kernel parameters, which a device may have some of.
            self.push(Op::Wait(Barrier::NetDevices), "/linux/netDevices");
        }
        if self.namespaces.new.contains(Kinds::NETWORK) {
            self.push(Op::Loopback, "/linux/namespaces");
        }
        if let Some(name) = self.spec().hostname().clone() {
            self.push(Op::Hostname(name), "/hostname");
        }
        if let Some(name) = self.spec().domainname().clone() {
            self.push(Op::Domainname(name), "/domainname");
        }
        let sysctls = sysctl::plan(self.linux)?;
        self.steps.extend(sysctls);
        if self.new_user {
            // The child has lost the privilege to raise a hard limit or lower its score.
            let limits = self.limits();
            self.by_parent.extend(limits);
        } else if !self.limits_come_first() {
            let limits = self.limits();
            self.steps.extend(limits);
        }
        if self.stays_dumpable {
            // After everything was written to our /proc entry, which belongs to root alone from here on.
            self.push(Op::NotDumpable, "");
        }
        // Modes of nodes and directories are given in full; the container's own umask is set at the end.
        self.push(Op::Umask(0), "");
        Ok(())
    }

    /// A user namespace that is joined takes away the right to raise a limit; and but for the host's root, nobody can write to the /proc
    /// entry of a process that is hidden, be it its own.
    fn limits_come_first(&self) -> bool {
        !self.new_user && (self.in_user_namespace || !self.host.privileged())
    }

    /// Limits and the score of the out-of-memory killer.
    fn limits(&self) -> Vec<Step> {
        let mut limits = process::rlimits(self.process, "/process");
        if let Some(score) = self.process.oom_score_adj() {
            let op = Op::WriteProc {
                path: c"/proc/self/oom_score_adj".to_owned(),
                value: score.to_string(),
            };
            limits.push(Step { op, pointer: "/process/oomScoreAdj".into() });
        }
        limits
    }

    fn file_systems(&mut self, cgroup: &CgroupPlan) -> Result<(), Error> {
        let root = c_string(self.checked.rootfs.as_os_str().as_bytes(), "/root/path")?;
        let listed = self.spec().mounts().as_deref().unwrap_or_default();
        if !self.has_mounts {
            self.refuse_without_mount_namespace(listed.is_empty())?;
            self.create_hooks()?;
            self.push(Op::Chroot { path: root }, "/root/path");
            return Ok(());
        }
        let propagation = propagation(self.linux)?;
        if self.namespaces.new.contains(Kinds::MOUNT) {
            // Before the first mount: what is mounted below a shared mount appears on the host.
            self.push(
                Op::Propagation { flags: propagation.bits().into() },
                "/linux/rootfsPropagation",
            );
        }
        let at = hooks::root_path(self.spec(), &root)?;
        let moves = at.is_some();
        self.sources.push(Source {
            path: root,
            recursive: true,
            carrier: self.carrier,
            pointer: "/root/path".into(),
        });
        // A shared mount cannot be pivoted to; it becomes one afterwards.
        let inherited = match bind_propagation(propagation) {
            shared if shared.contains(Propagation::SHARED) => {
                Propagation::DOWNSTREAM | Propagation::REC
            }
            other => other,
        };
        let inherited = inherited.bits().into();
        self.push(
            Op::Root { source: self.sources.len() - 1, propagation: inherited, at },
            "/root/path",
        );
        self.mounts(cgroup, propagation)?;
        self.devices()?;
        let cwd = Target::new(self.process.cwd().as_os_str().as_bytes())
            .map_err(|_| Error::new("/process/cwd", "contains a NUL byte"))?;
        if cwd.path() != c"." {
            self.push(Op::Directory { target: cwd }, "/process/cwd");
        }
        self.create_hooks()?;
        if moves {
            self.push(Op::RootOver, "/root/path");
        }
        if self.process.terminal().unwrap_or(false) {
            // After devpts is mounted, and while the root fd still shows the container's tree alone.
            self.push(Op::Console(console(self.process, true)), "/process/terminal");
        }
        let cut_off = propagation.intersects(Propagation::DOWNSTREAM | Propagation::PRIVATE);
        // Without `r` the mounts below `/` are left as they are, and most hosts share them.
        let shared = !(cut_off && propagation.contains(Propagation::REC));
        self.push(
            if self.options.no_pivot { Op::MoveRoot } else { Op::Pivot { shared } },
            "/root/path",
        );
        if propagation.contains(Propagation::SHARED)
            || propagation.contains(Propagation::UNBINDABLE)
        {
            let flags = propagation.difference(Propagation::REC).bits().into();
            self.push(Op::RootPropagation { flags }, "/linux/rootfsPropagation");
        }
        self.protect_paths()
    }

    fn refuse_without_mount_namespace(&self, no_mounts: bool) -> Result<(), Error> {
        let linux = self.linux;
        let none = |paths: Option<&[String]>| paths.is_none_or(<[String]>::is_empty);
        let wanted = [
            (!no_mounts, "/mounts"),
            (!none(linux.and_then(|linux| linux.masked_paths().as_deref())), "/linux/maskedPaths"),
            (
                !none(linux.and_then(|linux| linux.readonly_paths().as_deref())),
                "/linux/readonlyPaths",
            ),
            (
                self.spec().root().as_ref().is_some_and(|root| root.readonly().unwrap_or(false)),
                "/root/readonly",
            ),
            (self.process.terminal().unwrap_or(false), "/process/terminal"),
        ];
        match wanted.iter().find(|(wanted, _)| *wanted) {
            None => Ok(()),
            Some((_, pointer)) => {
                Err(Error::new(*pointer, "would change the host's mounts: add a `mount` namespace"))
            }
        }
    }

    fn mounts(&mut self, cgroup: &CgroupPlan, propagation: Propagation) -> Result<(), Error> {
        let views: Vec<CgroupView> = cgroup_views(cgroup, &self.host.cgroup);
        let context = mounts::Context {
            bundle: &self.checked.bundle,
            carrier: self.carrier,
            propagation: bind_propagation(propagation).bits().into(),
            cgroups: &views,
            cgroup_namespace: self.namespaces.new.contains(Kinds::CGROUP),
        };
        let listed = self.checked.spec.mounts().as_deref().unwrap_or_default();
        let steps = mounts::plan(listed, &context, &mut self.sources)?;
        self.steps.extend(steps);
        Ok(())
    }

    /// `/dev` is furnished unless the bundle binds one that is.
    fn devices(&mut self) -> Result<(), Error> {
        let listed = self.spec().mounts().as_deref().unwrap_or_default();
        let is_dev = |mount: &&oci_spec::runtime::Mount| mount.destination().as_os_str() == "/dev";
        let bound = listed.iter().filter(is_dev).any(|mount| {
            options::parse(mount.options().as_deref().unwrap_or_default()).bind
                || mount.typ().as_deref() == Some("bind")
        });
        if bound {
            return Ok(());
        }
        let nested = self.in_user_namespace || self.host.in_user_namespace;
        let bind = nested.then_some(self.carrier);
        let devices = self.linux.and_then(|linux| linux.devices().as_deref()).unwrap_or_default();
        let steps = devices::plan(devices, bind, &mut self.sources)?;
        self.steps.extend(steps);
        Ok(())
    }

    /// Read-only before masked: a mask below a read-only path is a mount of its own and stays in force. The root itself
    /// last, because targets of masks may have to be found through it.
    fn protect_paths(&mut self) -> Result<(), Error> {
        let target = |path: &String, pointer: &str| {
            Target::new(path.as_bytes()).map_err(|_| Error::new(pointer, "contains a NUL byte"))
        };
        let read_only =
            self.linux.and_then(|linux| linux.readonly_paths().as_deref()).unwrap_or_default();
        for (i, path) in read_only.iter().enumerate() {
            let pointer = format!("/linux/readonlyPaths/{i}");
            self.push(Op::ReadOnly { target: target(path, &pointer)? }, pointer);
        }
        let masked =
            self.linux.and_then(|linux| linux.masked_paths().as_deref()).unwrap_or_default();
        for (i, path) in masked.iter().enumerate() {
            let pointer = format!("/linux/maskedPaths/{i}");
            self.push(Op::Mask { target: target(path, &pointer)? }, pointer);
        }
        let root = self.spec().root().as_ref();
        if root.is_some_and(|root| root.readonly().unwrap_or(false)) {
            self.push(Op::ReadOnlyRoot, "/root/readonly");
        }
        Ok(())
    }

    fn process(&mut self) -> Result<(), crate::error::Error> {
        if !self.options.no_new_keyring {
            let name = c_string(format!("_ses.{}", self.options.id).as_bytes(), "")?;
            self.push(Op::Keyring(name), "");
        }
        let filter = match self.linux.and_then(|linux| linux.seccomp().as_ref()) {
            Some(profile) => {
                let annotations = self.spec().annotations().as_ref();
                let profile = seccomp::with_receiver(profile, annotations);
                Some(seccomp::compile(&profile, &self.host.seccomp)?)
            }
            None => None,
        };
        let no_new_privileges = self.process.no_new_privileges().unwrap_or(false);
        let scheduling = attributes::scheduling(self.process, "/process")?;
        if self.in_user_namespace && self.host.privileged() {
            self.scheduled_by_parent = scheduling;
        } else {
            self.steps.extend(scheduling);
        }
        let execution = attributes::execution(self.linux, self.host)?;
        self.steps.extend(execution);
        let rights = process::Rights::of(self.host, self.in_user_namespace)
            .with(self.spec().annotations().as_ref());
        let mut steps = process::privileges(self.process, &rights, "/process")?;
        if filter.is_some() && !no_new_privileges {
            process::keep_sys_admin(&mut steps);
        }
        self.steps.extend(steps);
        // With the container's own ids and before the state is committed, so that `create` reports a missing program.
        let find = process::find_executable(self.process, "/process")?;
        self.steps.push(find);
        self.push(Op::Wait(Barrier::Ready), "");
        if self.options.await_start {
            self.push(Op::AwaitStart, "");
        }
        self.start_hooks()?;
        self.steps.extend(process::last_rlimit(self.process, "/process"));
        self.push(Op::CloseFds { first: self.options.preserve_fds.saturating_add(3) }, "");
        if let Some(filter) = filter {
            self.listener = filter.listener;
            // Last, so that the filter need not allow anything that only the runtime does.
            self.push(
                Op::Seccomp { program: filter.program, flags: filter.flags },
                "/linux/seccomp",
            );
        }
        let exec = process::exec(self.process, "/process")?;
        self.steps.push(exec);
        Ok(())
    }
}

/// The terminal of a process.
fn console(process: &Process, mount: bool) -> Console {
    let clamp = |n: u64| u16::try_from(n).unwrap_or(u16::MAX);
    let size = process.console_size().map(|size| (clamp(size.height()), clamp(size.width())));
    Console { size, mount, uid: process.user().uid() }
}

/// `rootfsPropagation`, `rslave` where there is none: mounts of the host arrive, none goes back.
fn propagation(linux: Option<&Linux>) -> Result<Propagation, Error> {
    let rec = Propagation::REC;
    Ok(match linux.and_then(|linux| linux.rootfs_propagation().as_deref()).unwrap_or_default() {
        "" | "rslave" => Propagation::DOWNSTREAM | rec,
        "slave" => Propagation::DOWNSTREAM,
        "private" => Propagation::PRIVATE,
        "rprivate" => Propagation::PRIVATE | rec,
        "shared" => Propagation::SHARED,
        "rshared" => Propagation::SHARED | rec,
        "unbindable" => Propagation::UNBINDABLE,
        "runbindable" => Propagation::UNBINDABLE | rec,
        other => {
            return Err(Error::new(
                "/linux/rootfsPropagation",
                format!("`{other}` is not a propagation"),
            ));
        }
    })
}

/// What a bind without an option of its own gets. It is cloned on the host, a peer of the host's mount, and would carry
/// the container's mounts back there if it were left so.
fn bind_propagation(root: Propagation) -> Propagation {
    if root.contains(Propagation::SHARED) {
        return root | Propagation::REC;
    }
    if root.contains(Propagation::DOWNSTREAM) {
        return Propagation::DOWNSTREAM | Propagation::REC;
    }
    Propagation::PRIVATE | Propagation::REC
}

/// How the container's cgroups are shown under /sys/fs/cgroup. In a hierarchy where it has none of its own, it is in the caller's.
fn cgroup_views(cgroup: &CgroupPlan, layout: &cgroup::Layout) -> Vec<CgroupView> {
    let root = std::path::Path::new("/sys/fs/cgroup");
    let view = |mount: &std::path::Path, controllers: &[String], path| CgroupView {
        name: mount
            .strip_prefix(root)
            .ok()
            .filter(|name| !name.as_os_str().is_empty())
            .map(|name| name.to_string_lossy().into_owned()),
        controllers: controllers.to_vec(),
        path,
    };
    let mut views: Vec<CgroupView> = cgroup
        .members
        .iter()
        .map(|member| match member.version {
            cgroup::Version::V1 => view(&member.mount, &member.controllers, member.directory()),
            cgroup::Version::V2 => view(&member.mount, &[], member.directory()),
        })
        .collect();
    let is_member = |mount: &std::path::Path| {
        cgroup.members.iter().any(|member| member.mount.as_path() == mount)
    };
    for hierarchy in layout.hierarchies().iter().filter(|one| !is_member(&one.mount)) {
        views.push(view(&hierarchy.mount, &hierarchy.controllers, hierarchy.own_directory()));
    }
    if let Some(unified) = layout.unified().filter(|one| !is_member(&one.mount)) {
        views.push(view(&unified.mount, &[], unified.own_directory()));
    }
    views
}

/// A string for the kernel.
fn c_string(bytes: &[u8], pointer: &str) -> Result<CString, Error> {
    CString::new(bytes).map_err(|_| Error::new(pointer, "contains a NUL byte"))
}
