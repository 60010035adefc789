//! Making a container's cgroup as it was planned, and putting processes into it.
//!
//! Every directory that is made here is taken back when a later step fails. All limits but the device rules are in force
//! when [`Cgroup::create`] returns, before any process of the container exists; the device rules wait for
//! [`Cgroup::restrict_devices`], because the container's own set-up may mount a block device that the container itself may
//! not open.

use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::Pid;
use sys::fd::until_exec;

use super::directories::{Made, make_v1, make_v2};
use super::plan::{CgroupPlan, Devices, Member, OnMissing, Version, Write};
use super::systemd::{Unit, UnitPlan};
use super::{Error, Mark, Paths, files, owner};

/// A container's cgroup: its directories in every hierarchy.
#[derive(Debug)]
pub struct Cgroup {
    pub(super) paths: Paths,
    /// Directories that did not exist before, parents first.
    made: Vec<PathBuf>,
    /// Directories that the container can do without: see [`Member::optional`].
    optional: Vec<PathBuf>,
    /// systemd's unit, where systemd is asked.
    pub(super) unit: Option<Unit>,
    /// What is written on it, where it is known whose it is.
    pub(super) mark: Option<Mark>,
    /// The container's init and when that was started, where there is one.
    pub(super) init: Option<(i32, u64)>,
    /// Cgroups of other containers below it are left alone.
    pub(super) spares_others: bool,
    /// Where processes are put, from the v2 directory, if the container has been given a cgroup below that.
    delegated: Option<PathBuf>,
    /// The unit is still to be started, around the container's first process; nothing was made yet.
    awaits_process: bool,
    /// The v2 directory, once it was opened.
    directory: Option<BorrowedFd<'static>>,
}

impl Cgroup {
    /// Makes the directories, writes the limits, and marks it. On failure no directory is left that was not there before; a
    /// controller that was enabled above it stays enabled.
    ///
    /// With a unit of systemd nothing is made yet: that takes a process, see [`Cgroup::admit`].
    pub fn create(plan: &CgroupPlan, mark: Mark) -> Result<Cgroup, Error> {
        let optional = plan.members.iter().filter(|member| member.optional);
        let optional = optional.map(Member::directory).collect();
        if let Some(UnitPlan { unit, .. }) = &plan.unit {
            let (unit, delegated) = (Some(unit.clone()), plan.delegated.clone());
            return Ok(Cgroup {
                optional,
                unit,
                delegated,
                awaits_process: true,
                ..Cgroup::open(plan.paths()).of(mark)
            });
        }
        let (paths, made) = make_all(plan, None)?;
        let delegated = plan.delegated.clone();
        let cgroup = Cgroup { made, optional, delegated, ..Cgroup::open(paths).of(mark) };
        cgroup.write_mark();
        Ok(cgroup)
    }

    /// Refuses directories that somebody else is in. [`Cgroup::create`] does so for all; whoever notes them before that has to know at
    /// once of those through which [`Cgroup::kill`] finds and thaws processes, because what is noted is what `delete --force` ends.
    pub fn refuse_used(paths: &Paths) -> Result<(), Error> {
        let exists = |path: &&Path| files::exists(path) == Ok(true);
        let (listed, freezer) = (paths.all().first().copied(), paths.controller("freezer"));
        for directory in listed.into_iter().chain(freezer).filter(exists) {
            let unified = paths.unified() == Some(directory);
            let version = if unified { Version::V2 } else { Version::V1 };
            refuse_used(version, directory, None)?;
        }
        Ok(())
    }

    /// Whether [`Cgroup::admit`] has to come before anything can be put into it.
    pub fn awaits_process(&self) -> bool {
        self.awaits_process
    }

    /// Puts a process into the unit: the container's first, for which the unit is started and the limits are written, when
    /// there is a plan; a further one otherwise.
    pub fn admit(&mut self, plan: Option<&CgroupPlan>, pid: Pid) -> Result<(), Error> {
        match (plan, &self.unit) {
            (Some(plan), _) => match &plan.unit {
                Some(unit) => self.start(plan, unit, pid),
                None => self.add(pid),
            },
            (None, Some(unit)) => unit.attach(pid, self.paths.unified()),
            (None, None) => self.add(pid),
        }
    }

    fn start(&mut self, plan: &CgroupPlan, unit: &UnitPlan, pid: Pid) -> Result<(), Error> {
        unit.start(pid).map_err(|failed| {
            self.awaits_process = !failed.made;
            failed.error
        })?;
        self.awaits_process = false;
        find_unit(plan, unit)?;
        if unit.unit.subgroup.is_some() || self.delegated.is_some() {
            // First of all on v2: only a cgroup without processes of its own can pass controllers on.
            self.enter_subgroup(pid)?;
        }
        let (paths, made) = make_all(plan, Some(pid))?;
        (self.paths, self.made) = (paths, made);
        self.write_mark();
        self.add(pid)
    }

    fn enter_subgroup(&self, pid: Pid) -> Result<(), Error> {
        let Some(directory) = self.entrance() else { return Ok(()) };
        let mut made = Made::default();
        make_v1(&directory, &mut made)?;
        // It goes with the unit.
        made.keep();
        add_to(&directory, pid)
    }

    /// The cgroup of a container that exists, from its state. Opens nothing.
    pub fn open(paths: Paths) -> Cgroup {
        Cgroup {
            paths,
            made: Vec::new(),
            optional: Vec::new(),
            unit: None,
            mark: None,
            init: None,
            spares_others: false,
            delegated: None,
            awaits_process: false,
            directory: None,
        }
    }

    /// The same, where systemd made it.
    pub fn of_unit(self, unit: Option<Unit>) -> Cgroup {
        Cgroup { unit, ..self }
    }

    /// The directories.
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// The directory in the v2 hierarchy that processes are put into.
    fn entrance(&self) -> Option<PathBuf> {
        let directory = self.paths.unified()?;
        Some(
            self.delegated.as_ref().map_or_else(|| directory.into(), |below| directory.join(below)),
        )
    }

    /// The same, opened: a process can be cloned into it (CLONE_INTO_CGROUP), and is counted and limited there from its first
    /// instruction.
    pub fn open_entrance(&mut self) -> Result<Option<BorrowedFd<'static>>, Error> {
        let entrance = self.entrance().as_deref().map(open).transpose()?;
        if self.delegated.is_none() {
            self.directory = entrance;
        }
        Ok(entrance)
    }

    /// Puts a process, with all its threads, into the cgroup. A directory that is optional and that we may not move the
    /// process to is dropped from [`Cgroup::paths`].
    ///
    /// On v2 the kernel refuses it (EBUSY) when the container has passed controllers on to cgroups of its own, as an init
    /// system in a container does: see [`Cgroup::for_another`].
    pub fn add(&mut self, pid: Pid) -> Result<(), Error> {
        let unified = self.entrance();
        let mut dropped = Vec::new();
        for directory in unified.as_deref().into_iter().chain(self.paths.legacy()) {
            match add_to(directory, pid) {
                Err(error)
                    if denied(&error) && self.optional.iter().any(|path| path == directory) =>
                {
                    dropped.push(directory.to_owned());
                }
                other => other?,
            }
        }
        dropped.iter().for_each(|directory| self.paths.remove(directory));
        Ok(())
    }

    /// Puts the device rules into force.
    pub fn restrict_devices(&self, plan: &CgroupPlan) -> Result<(), Error> {
        if let Some(unit) = plan.unit.as_ref().filter(|unit| !unit.devices.is_empty()) {
            unit.unit.set(&unit.devices)?;
        }
        match &plan.devices {
            Devices::Inherit => Ok(()),
            Devices::Files(writes) => match self.paths.controller("devices") {
                Some(directory) => apply(directory, writes),
                None => Err(Error::system("restrict devices: no `devices` cgroup", Errno::NOENT)),
            },
            Devices::Program { program, .. } => match (self.directory, self.paths.unified()) {
                (Some(directory), _) => self.attach(directory, program.as_deref()),
                (None, Some(directory)) => self.attach(open(directory)?, program.as_deref()),
                (None, None) => Err(Error::system("restrict devices: no v2 cgroup", Errno::NOENT)),
            },
        }
    }

    /// Attaches the program and then takes off what an earlier container left on the directory: between the two, both
    /// have to agree, so that nothing is ever allowed that the new rules deny.
    fn attach(
        &self,
        directory: BorrowedFd<'_>,
        program: Option<&[sys::bpf::Instruction]>,
    ) -> Result<(), Error> {
        let failed = |errno| Error::System {
            what: "attach the device rules to the container's cgroup".into(),
            pointer: "/linux/resources/devices".into(),
            errno,
        };
        // In a unit, what is there is systemd's, which has just been given the same rules.
        let fresh = self.unit.is_some()
            || self.paths.unified().is_some_and(|path| self.made.iter().any(|made| made == path));
        let old = if fresh {
            Vec::new()
        } else {
            sys::bpf::device_programs(directory).map_err(failed)?
        };
        if let Some(program) = program {
            let program = until_exec(sys::bpf::load_device_program(program).map_err(failed)?);
            sys::bpf::attach_device_program(directory, program).map_err(failed)?;
        }
        for program in &old {
            sys::bpf::detach_device_program(directory, program).map_err(failed)?;
        }
        Ok(())
    }

    /// Undoes [`Cgroup::create`]: ends whoever is in the cgroup, a hook's children say, which nobody but us can have brought there, and
    /// removes it and the parents that were made for it and are empty.
    pub fn undo(self) -> Result<(), Error> {
        if self.awaits_process {
            // What is there under these names is somebody else's.
            return Ok(());
        }
        let _ = self.kill();
        let result = self.remove();
        drop(Made(self.made));
        result
    }
}

/// Until the process ends: a container is made once in it.
fn open(directory: &Path) -> Result<BorrowedFd<'static>, Error> {
    files::open_directory(directory)
        .map(until_exec)
        .map_err(|errno| Error::system(format!("open cgroup `{}`", directory.display()), errno))
}

/// Opens the files by which the writer of `0` enters the cgroup, until the process ends; without that of v2 for who was cloned into it
/// (`in_unified`).
///
/// In a v1 hierarchy that is `tasks`, which moves the one thread that writes. The kernel moves it without stopping all forks and exits
/// of the machine, as it does for `cgroup.procs`: that takes a grace period of RCU, 5 to 20 ms, unless another process entered a
/// cgroup a moment ago. So whoever writes has to have one thread.
///
/// # Errors
/// When one cannot be opened.
pub fn entrances(paths: &Paths, in_unified: bool) -> Result<Vec<BorrowedFd<'static>>, Error> {
    let unified = paths.unified().filter(|_| !in_unified);
    let unified = unified.map(|directory| (directory, "cgroup.procs"));
    let legacy = paths.legacy().into_iter().map(|directory| (directory, "tasks"));
    let open = |(directory, name): (&Path, &str)| {
        files::open_once(directory, name, OFlags::WRONLY)
            .map_err(|errno| Error::system(format!("open `{}/{name}`", directory.display()), errno))
    };
    unified.into_iter().chain(legacy).map(open).collect()
}

fn add_to(directory: &Path, pid: Pid) -> Result<(), Error> {
    files::write(directory, "cgroup.procs", &pid.to_string()).map_err(|errno| {
        let what = format!("put process {pid} into cgroup `{}`", directory.display());
        Error::system(what, errno)
    })
}

/// Whether a step failed for want of permission.
fn denied(error: &Error) -> bool {
    matches!(error, Error::System { errno: Errno::ACCESS | Errno::PERM | Errno::ROFS, .. })
}

/// Makes every directory and writes the limits. Where systemd was there first, `pid` is in some of them.
fn make_all(plan: &CgroupPlan, pid: Option<Pid>) -> Result<(Paths, Vec<PathBuf>), Error> {
    let mut paths = Paths::default();
    let mut made = Made::default();
    for member in &plan.members {
        match make(member, pid, &mut made) {
            Ok(()) => member.record(&mut paths),
            Err(error) if member.optional && denied(&error) => continue,
            Err(error) => return Err(error),
        }
        let entrance = match &plan.delegated {
            Some(below) => delegate(member, below, &mut made)?,
            None => member.directory(),
        };
        if let Some(owner) = plan.owner {
            owner::give(&entrance, owner)?;
        }
    }
    Ok((paths, made.keep()))
}

/// Makes the cgroup below the container's that the container is given, with all the controllers that the container has.
fn delegate(member: &Member, below: &Path, made: &mut Made) -> Result<PathBuf, Error> {
    let below = Member { path: member.path.join(below), ..member.clone() };
    make_v2(&below, made)?;
    Ok(below.directory())
}

/// systemd has made the unit's cgroup where we think that it is: in the hierarchy that it keeps all processes in.
fn find_unit(plan: &CgroupPlan, unit: &UnitPlan) -> Result<(), Error> {
    let named = |member: &&Member| member.controllers.iter().any(|name| name == "name=systemd");
    let unified = |member: &&Member| member.version == Version::V2;
    let members = || plan.members.iter();
    if let Some(member) = members().find(named).or_else(|| members().find(unified)) {
        let directory = member.mount.join(&unit.path);
        if files::exists(&directory) != Ok(true) {
            let what = format!("find the cgroup of the unit `{}`", unit.unit.name);
            let why = format!("systemd has not made it at `{}`", directory.display());
            return Err(Error::Systemd { what, why });
        }
    }
    Ok(())
}

/// Makes one member's directory and writes its limits.
fn make(member: &Member, pid: Option<Pid>, made: &mut Made) -> Result<(), Error> {
    let directory = member.directory();
    match member.version {
        Version::V1 => make_v1(&directory, made),
        Version::V2 => make_v2(member, made),
    }
    .map_err(|error| with_pointer(error, member))?;
    if !made.contains(&directory) {
        refuse_used(member.version, &directory, pid)?;
    }
    let cpuset = member.controllers.iter().any(|name| name == "cpuset");
    if cpuset && member.version == Version::V1 {
        return fill_cpuset(member, &directory, made);
    }
    apply(&directory, &member.writes)
}

/// A directory that cannot be made is reported with the first limit that needs it.
fn with_pointer(error: Error, member: &Member) -> Error {
    match (error, member.writes.first()) {
        (Error::System { what, pointer, errno }, Some(write)) if pointer.is_empty() => {
            Error::System { what, pointer: write.pointer.clone(), errno }
        }
        (error, _) => error,
    }
}

/// A directory that was there before must be nobody's: a second container in it would be limited, frozen and killed with
/// the first.
fn refuse_used(version: Version, directory: &Path, own: Option<Pid>) -> Result<(), Error> {
    let found = super::control::processes(directory)?;
    let processes = found.iter().filter(|pid| Some(**pid) != own).count();
    if processes > 0 {
        return Err(Error::Occupied { path: directory.to_owned(), processes });
    }
    let frozen = match version {
        Version::V1 => super::control::frozen_v1(directory),
        Version::V2 => super::control::frozen_v2(directory),
    }?;
    if frozen {
        return Err(Error::Frozen { path: directory.to_owned() });
    }
    Ok(())
}

/// Writes values to the files of a directory.
///
/// The kernel checks some values against others: a memory limit against the limit with swap, a quota against its period.
/// In a directory that had other values before, no fixed order is always right, so a value that is invalid at its turn
/// (EINVAL) is tried once more after the others.
pub(super) fn apply(directory: &Path, writes: &[Write]) -> Result<(), Error> {
    apply_noting(directory, writes, &mut Vec::new())
}

/// The same, and notes which were made, in this order.
pub(super) fn apply_noting(
    directory: &Path,
    writes: &[Write],
    written: &mut Vec<usize>,
) -> Result<(), Error> {
    let mut again = Vec::new();
    let mut open: Option<(&str, BorrowedFd<'static>)> = None;
    let mut answered = false;
    for (index, write) in writes.iter().enumerate() {
        if std::mem::take(&mut answered) {
            continue;
        }
        match write_one(directory, write, &mut open) {
            Ok(()) => {
                written.push(index);
                answered = write.on_missing == OnMissing::Next;
            }
            Err(Errno::NOENT) if write.on_missing != OnMissing::Refuse => {}
            Err(Errno::PERM) if write.on_missing == OnMissing::Forgo => {}
            Err(Errno::INVAL) if write.on_missing != OnMissing::Next => again.push((index, write)),
            Err(errno) => return Err(failed(directory, write, errno)),
        }
    }
    for (index, write) in again {
        write_one(directory, write, &mut open).map_err(|errno| failed(directory, write, errno))?;
        written.push(index);
    }
    Ok(())
}

/// Writes one value; writes to one file in a row share an open.
fn write_one<'w>(
    directory: &Path,
    write: &'w Write,
    open: &mut Option<(&'w str, BorrowedFd<'static>)>,
) -> Result<(), Errno> {
    let file = &*write.file;
    if open.as_ref().is_none_or(|(name, _)| *name != file) {
        let fd = files::open_once(directory, file, OFlags::WRONLY)?;
        *open = Some((file, fd));
    }
    let Some((_, fd)) = open else { return Ok(()) };
    rustix::io::write(*fd, write.value.as_bytes()).map(drop)
}

fn failed(directory: &Path, write: &Write, errno: Errno) -> Error {
    let Write { file, value, pointer, .. } = write;
    let what = format!("set `{file}` to `{value}` in cgroup `{}`", directory.display());
    match errno {
        // Not the kernel's words: to an engine they would mean that the container's executable is missing.
        Errno::NOENT => Error::refused(what, pointer, "this kernel has no such limit"),
        errno => Error::System { what, pointer: pointer.clone(), errno },
    }
}

/// Writes the limits of a v1 cpuset. A directory is made with empty lists there: nothing can be put into it, nor allowed
/// below it, before it has both. So those above are filled first, from the top down, each from its parent, and then what
/// the configuration does not give.
fn fill_cpuset(member: &Member, directory: &Path, made: &Made) -> Result<(), Error> {
    let parent = directory.parent().unwrap_or(&member.mount);
    let mut missing = Vec::new();
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let given = member.writes.iter().any(|write| write.file == file);
        if !given || parent != member.mount {
            let list = inherit(&member.mount, parent, file, made)?;
            if !given {
                missing.push((file, list));
            }
        }
    }
    apply(directory, &member.writes)?;
    for (file, list) in missing {
        if made.contains(directory) {
            set_list(directory, file, &list)?;
        } else {
            inherit(&member.mount, directory, file, made)?;
        }
    }
    Ok(())
}

/// Gives a directory of a v1 cpuset its parent's list where its own is empty, and gives back what is there then.
fn inherit(mount: &Path, directory: &Path, file: &str, made: &Made) -> Result<String, Error> {
    if !made.contains(directory) {
        let list = files::read_once(directory, file).map_err(|errno| {
            Error::system(format!("read `{}/{file}`", directory.display()), errno)
        })?;
        if directory == mount || !list.trim().is_empty() {
            return Ok(list);
        }
    }
    let list = inherit(mount, directory.parent().unwrap_or(mount), file, made)?;
    set_list(directory, file, &list)?;
    Ok(list)
}

fn set_list(directory: &Path, file: &str, list: &str) -> Result<(), Error> {
    files::open_once(directory, file, OFlags::WRONLY)
        .and_then(|fd| rustix::io::write(fd, list.as_bytes()))
        .map(drop)
        .map_err(|errno| Error::system(format!("set `{}/{file}`", directory.display()), errno))
}
