//! The plan of a container while it is being made: each phase adds its steps after those of the one before.
//!
//! The order of the operations is decided here; each rule has a comment where it is made and a test in `plan/tests.rs`.

use super::hooks::{self, ByParent};
use super::idmap::{self, IdMaps};
use super::mounts::{self, Planned, UserNamespace};
use super::namespaces::{self, Namespaces, Shape};
use super::net_devices::{self, NetDevice};
use super::op::{Barrier, Carrier, Mask, Op, RootPath, Source, Step};
use super::{
    Error, Options, attributes, c_string, cgroup_mounts, console, devices, files, labels, process,
    propagation, sd_notify, seccomp, sysctl,
};
use crate::cgroup::{self, CgroupPlan};
use crate::host::Host;
use bundle::Checked;
use oci_spec::runtime::{Linux, LinuxTimeOffset, Process, Spec};
use rustix::mount::MountPropagationFlags as Propagation;
use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use sys::beneath::Target;
use sys::namespace::Kinds;

/// The plan while it is being made: each method adds its steps after those of the one before.
pub(super) struct Builder<'a> {
    pub(super) checked: &'a Checked,
    pub(super) process: &'a Process,
    pub(super) host: &'a Host,
    pub(super) options: &'a Options,
    pub(super) linux: Option<&'a Linux>,
    pub(super) namespaces: Namespaces,
    /// Offsets of a new time namespace, if there are any.
    pub(super) offsets: Option<&'a HashMap<String, LinuxTimeOffset>>,
    pub(super) new_user: bool,
    /// Id mappings of a new user namespace.
    pub(super) id_maps: Option<IdMaps>,
    pub(super) in_user_namespace: bool,
    /// Our /proc entry must stay writable, until everything was written there, for a caller, or for a root of the user namespace,
    /// who is not the host's root.
    pub(super) stays_dumpable: bool,
    /// What the set-up takes.
    pub(super) needed: files::Needed,
    pub(super) has_mounts: bool,
    pub(super) carrier: Carrier,
    pub(super) shape: Shape,
    pub(super) by_parent: Vec<Step>,
    pub(super) scheduled_by_parent: Vec<Step>,
    pub(super) net_devices: Vec<NetDevice>,
    pub(super) hooks: ByParent,
    pub(super) sources: Vec<Source>,
    /// What is written after the last hook of the create phase.
    pub(super) labels_after_hooks: Vec<Step>,
    pub(super) steps: Vec<Step>,
}

impl<'a> Builder<'a> {
    /// Everything that is decided before the first step.
    pub(super) fn new(
        checked: &'a Checked,
        process: &'a Process,
        host: &'a Host,
        options: &'a Options,
    ) -> Result<Builder<'a>, Error> {
        let linux = checked.spec.linux().as_ref();
        let namespaces = Namespaces::of(linux)?;
        let offsets = linux
            .and_then(|linux| linux.time_offsets().as_ref())
            .filter(|offsets| !offsets.is_empty());
        let new_user = namespaces.new.contains(Kinds::USER);
        let in_user_namespace = namespaces.all().contains(Kinds::USER);
        let id_maps =
            linux.filter(|_| new_user).map(|linux| idmap::plan(linux, host)).transpose()?;
        if id_maps.as_ref().is_some_and(|maps| maps.deny_setgroups) {
            refuse_groups(process)?;
        }
        let clones_mounts = host.privileged() || host.rootless.clones_mounts;
        Ok(Builder {
            checked,
            process,
            host,
            options,
            linux,
            needed: files::needed(&checked.spec),
            has_mounts: namespaces.all().contains(Kinds::MOUNT),
            carrier: if clones_mounts { Carrier::Tree } else { Carrier::Path },
            shape: namespaces::shape(&namespaces, offsets.is_some()),
            offsets,
            new_user,
            id_maps,
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
            hooks: ByParent::new(&checked.spec)?,
            sources: Vec::new(),
            labels_after_hooks: Vec::new(),
            steps: Vec::with_capacity(64),
        })
    }

    /// What is asked for and not done.
    pub(super) fn warnings(&self) -> Vec<String> {
        let rights = process::Rights::of(self.host, self.in_user_namespace);
        process::warnings(self.process, &rights, "config.json", "/process")
    }

    pub(super) fn push(&mut self, op: Op, pointer: impl Into<String>) {
        self.steps.push(Step { op, pointer: pointer.into() });
    }

    pub(super) fn spec(&self) -> &Spec {
        &self.checked.spec
    }

    /// Ids first: without a mapping the child may do nothing. The cgroup before the cgroup namespace, whose root is the
    /// cgroup of whoever makes it. Joined namespaces before those that are to belong to a joined user namespace.
    pub(super) fn enter_namespaces(&mut self) -> Result<(), Error> {
        // Out of reach of tracers before anybody in a joined pid namespace can see us.
        let hidden = !self.stays_dumpable;
        if hidden && self.host.privileged() {
            self.push(Op::NotDumpable, "");
        }
        // The cgroup is entered by the first process, while it still has the host's privileges.
        self.push(
            match self.options.cgroup_manager {
                cgroup::Manager::Systemd => Op::Wait(Barrier::Cgroup),
                cgroup::Manager::Cgroupfs | cgroup::Manager::Disabled => Op::JoinCgroup,
            },
            "/linux/cgroupsPath",
        );
        self.steps.push(attributes::any_processor());
        self.labels()?;
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
    pub(super) fn configure_namespaces(&mut self) -> Result<(), Error> {
        if !self.net_devices.is_empty() {
            // Before the kernel parameters, which a device may have some of.
            self.push(Op::Wait(Barrier::NetDevices), "/linux/netDevices");
        }
        if self.namespaces.new.contains(Kinds::NETWORK) {
            self.push(Op::Loopback, "/linux/namespaces");
        }
        // An empty name is none, and needs no UTS namespace: it would be the host's.
        let given = |name: &Option<String>| name.clone().filter(|name| !name.is_empty());
        if let Some(name) = given(self.spec().hostname()) {
            self.push(Op::Hostname(name), "/hostname");
        }
        if let Some(name) = given(self.spec().domainname()) {
            self.push(Op::Domainname(name), "/domainname");
        }
        let sysctls = sysctl::plan(self.linux, self.host.joined_own)?;
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
        let mut limits = process::rlimits(self.process, self.needed, "/process");
        if let Some(score) = self.process.oom_score_adj() {
            let op = Op::WriteProc {
                path: c"/proc/self/oom_score_adj".to_owned(),
                value: score.to_string(),
            };
            limits.push(Step { op, pointer: "/process/oomScoreAdj".into() });
        }
        limits
    }

    /// Labels are written to the host's procfs: where another mount namespace is joined, before that.
    ///
    /// Those of the next execution, where hooks are executed on the way, are written after these: a hook of the create phase is a program
    /// of the host, that would be confined as the container is.
    fn labels(&mut self) -> Result<(), Error> {
        let labels = attributes::labels(self.process, self.host, "/process")?;
        let later = self.namespaces.new.contains(Kinds::MOUNT)
            && hooks::are_executed_while_creating(self.spec());
        let (after, now): (Vec<_>, Vec<_>) =
            labels.into_iter().partition(|step| later && attributes::is_of_next_exec(step));
        self.labels_after_hooks = after;
        self.steps.extend(now);
        Ok(())
    }

    pub(super) fn file_systems(&mut self, cgroup: &CgroupPlan) -> Result<(), Error> {
        let root = c_string(self.checked.rootfs.as_os_str().as_bytes(), "/root/path")?;
        let listed = self.spec().mounts().as_deref().unwrap_or_default();
        if !self.has_mounts {
            self.refuse_without_mount_namespace(listed.is_empty())?;
            if self.options.notify.is_some() {
                return Err(sd_notify::refuse_without_mount_namespace());
            }
            self.create_hooks()?;
            self.push(Op::Chroot { path: root }, "/root/path");
            return Ok(());
        }
        let propagation = propagation::of_root(self.linux)?;
        if self.options.no_pivot && propagation.contains(Propagation::PRIVATE) {
            // The host's mounts stay below the root there, and would be kept in use for as long as the container runs.
            return Err(Error::new(
                "/linux/rootfsPropagation",
                "[r]private is not safe without pivot_root",
            ));
        }
        if self.namespaces.new.contains(Kinds::MOUNT) {
            // Before the first mount: what is mounted below a shared mount appears on the host.
            self.push(
                Op::Propagation { flags: propagation.bits().into() },
                "/linux/rootfsPropagation",
            );
        }
        let at = hooks::root_path(self.spec(), &root)?;
        // A shared mount cannot be pivoted to; it becomes one afterwards.
        let inherited = match propagation::of_bind(propagation) {
            shared if shared.contains(Propagation::SHARED) => {
                Propagation::DOWNSTREAM | Propagation::REC
            }
            other => other,
        };
        let source = self.sources.len();
        self.sources.push(Source {
            propagation: inherited.bits().into(),
            ..Source::new(root, true, self.carrier, "/root/path".into())
        });
        let over_shared = !self.namespaces.new.contains(Kinds::MOUNT)
            || !propagation.intersects(Propagation::DOWNSTREAM | Propagation::PRIVATE);
        self.push(Op::Root { source, over_shared, at }, "/root/path");
        let label = labels::plan(self.spec(), self.host)?;
        let Planned { steps, binds_dev } = self.mounts(cgroup, propagation, label.as_ref())?;
        self.steps.extend(steps);
        // A /dev that is bound has its devices.
        if !binds_dev {
            self.devices()?;
        }
        let cwd = Target::new(self.process.cwd().as_os_str().as_bytes())
            .map_err(|_| Error::new("/process/cwd", "contains a NUL byte"))?;
        if cwd.path() != c"." {
            self.push(Op::Directory { target: cwd }, "/process/cwd");
        }
        self.create_hooks()?;
        if self.process.terminal().unwrap_or(false) {
            // After devpts is mounted, and while the root fd still shows the container's tree alone.
            self.push(Op::Console(console(self.process, true)), "/process/terminal");
        }
        self.change_root(propagation)?;
        self.protect_paths(label.as_ref())
    }

    fn change_root(&mut self, propagation: Propagation) -> Result<(), Error> {
        let cut_off = propagation.intersects(Propagation::DOWNSTREAM | Propagation::PRIVATE);
        // Without `r` the mounts below `/` are left as they are, and most hosts share them.
        let shared = !(cut_off && propagation.contains(Propagation::REC));
        self.push(
            match self.options.no_pivot {
                true => Op::MoveRoot { bare: self.bare_mounts()? },
                false => Op::Pivot { shared },
            },
            "/root/path",
        );
        if propagation.contains(Propagation::SHARED)
            || propagation.contains(Propagation::UNBINDABLE)
        {
            let flags = propagation.difference(Propagation::REC).bits().into();
            self.push(Op::RootPropagation { flags }, "/linux/rootfsPropagation");
        }
        Ok(())
    }

    fn bare_mounts(&self) -> Result<Vec<RootPath>, Error> {
        self.host.bare_mounts.iter().map(|path| hooks::path_and_above(path, "/root/path")).collect()
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

    /// Whether a user namespace, the container's or the caller's, is between the container and the host.
    fn nested(&self) -> bool {
        self.in_user_namespace || self.host.in_user_namespace
    }

    fn mounts(
        &mut self,
        cgroup: &CgroupPlan,
        propagation: Propagation,
        label: Option<&mounts::Label>,
    ) -> Result<Planned, Error> {
        let views = cgroup_mounts::views(cgroup, &self.host.cgroup);
        let joined_user = self.namespaces.joined.iter().find(|joined| joined.kind == Kinds::USER);
        let joined_user = joined_user.map(|joined| joined.path.clone());
        let context = mounts::Context {
            bundle: &self.checked.bundle,
            rootfs: &self.checked.rootfs,
            carrier: self.carrier,
            propagation: propagation::of_bind(propagation).bits().into(),
            cgroups: &views,
            cgroup_carrier: if cgroup.unit.is_some() { Carrier::Path } else { self.carrier },
            cgroup_namespace: self.namespaces.all().contains(Kinds::CGROUP),
            user_namespace: match (&self.id_maps, &joined_user) {
                (Some(maps), _) => UserNamespace::New(maps),
                (None, Some(path)) => UserNamespace::Joined(path),
                (None, None) => UserNamespace::None,
            },
            in_user_namespace: self.nested(),
            linux: self.linux,
            label,
            earlier: &[],
        };
        let listed = self.checked.spec.mounts().as_deref().unwrap_or_default();
        let mut planned = mounts::plan(listed, &context, &mut self.sources)?;
        if let Some(directory) = &self.options.notify {
            planned.steps.push(sd_notify::mount(directory, &context, &mut self.sources)?);
        }
        Ok(planned)
    }

    fn devices(&mut self) -> Result<(), Error> {
        let bind = self.nested().then_some(self.carrier);
        let devices = self.linux.and_then(|linux| linux.devices().as_deref()).unwrap_or_default();
        let steps = devices::plan(devices, bind, &mut self.sources)?;
        self.steps.extend(steps);
        Ok(())
    }

    /// Read-only before masked: a mask below a read-only path is a mount of its own and stays in force. The root itself
    /// last, because targets of masks may have to be found through it.
    fn protect_paths(&mut self, label: Option<&mounts::Label>) -> Result<(), Error> {
        let target = |path: &String, pointer: &str| {
            Target::new(path.as_bytes()).map_err(|_| Error::new(pointer, "contains a NUL byte"))
        };
        let read_only =
            self.linux.and_then(|linux| linux.readonly_paths().as_deref()).unwrap_or_default();
        let mut root = None;
        for (i, path) in read_only.iter().enumerate() {
            let pointer = format!("/linux/readonlyPaths/{i}");
            let target = target(path, &pointer)?;
            // A view of the root on top of it would be seen by nobody, who is in the root already.
            match target.path() == c"." {
                true => root = Some(pointer),
                false => self.push(Op::ReadOnly { target }, pointer),
            }
        }
        let masked =
            self.linux.and_then(|linux| linux.masked_paths().as_deref()).unwrap_or_default();
        let first = self.steps.len();
        for (i, path) in masked.iter().enumerate() {
            let pointer = format!("/linux/maskedPaths/{i}");
            let target = target(path, &pointer)?;
            // An engine adds its own to those it is given: a second mask would be one more mount that hides what the first does.
            let same = |step: &Step| matches!(&step.op, Op::Mask(mask) if mask.target == target);
            if !self.steps[first..].iter().any(same) {
                let directory = is_masked_directory(&target);
                self.push(Op::Mask(Mask { target, directory, label: label.cloned() }), pointer);
            }
        }
        let last = |step: &Step| matches!(&step.op, Op::Mount(mount) if mount.read_only_last);
        if self.steps.iter().any(last) {
            self.push(Op::ReadOnlyMounts, "/mounts");
        }
        if self.spec().root().as_ref().is_some_and(|root| root.readonly().unwrap_or(false)) {
            root = Some("/root/readonly".to_owned());
        }
        if let Some(pointer) = root {
            self.push(Op::ReadOnlyRoot, pointer);
        }
        Ok(())
    }

    pub(super) fn process(&mut self) -> Result<(), crate::error::Error> {
        if !self.options.no_new_keyring {
            let name = c_string(format!("_ses.{}", self.options.id).as_bytes(), "")?;
            self.push(Op::Keyring(name), "");
        }
        let filter = match self.linux.and_then(|linux| linux.seccomp().as_ref()) {
            Some(profile) => {
                let annotations = self.spec().annotations().as_ref();
                let profile = seccomp::with_receiver(profile, annotations);
                Some(seccomp::compile_for(&profile, self.host)?)
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
        let listen_fds = self.options.listen_fds;
        let first = listen_fds.saturating_add(self.options.preserve_fds).saturating_add(3);
        self.push(Op::CloseSetUp { first }, "");
        self.steps.extend(steps);
        // With the container's own ids and before the state is committed, so that `create` reports a missing program.
        let find = process::find_executable(self.process, "/process")?;
        self.steps.push(find);
        if self.options.await_start {
            self.push(Op::EndWhenAsked, "");
        }
        self.push(Op::Wait(Barrier::Ready), "");
        if self.options.await_start {
            self.push(Op::AwaitStart, "");
        }
        self.start_hooks()?;
        self.steps.extend(process::last_rlimits(self.process, self.needed, "/process"));
        self.push(Op::CloseFds { first }, "");
        if let Some(filter) = filter {
            // Last, so that the filter need not allow anything that only the runtime does.
            self.push(filter.into(), "/linux/seccomp");
        }
        let exec = process::exec(self.process, "/process", &process::told(self.options))?;
        self.steps.push(exec);
        Ok(())
    }
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

/// Whether a path that engines mask is a directory of the kernel's.
fn is_masked_directory(target: &Target) -> bool {
    let path = target.path().to_bytes();
    let known: [&[u8]; 5] = [
        b"proc/acpi",
        b"proc/asound",
        b"proc/scsi",
        b"sys/firmware",
        b"sys/devices/virtual/powercap",
    ];
    known.contains(&path) || path.ends_with(b"/thermal_throttle")
}
