//! `nrun restore`: makes a container from what `checkpoint` wrote, with criu.
//!
//! What the container may have of the host is decided by config.json, as in `create`: its cgroup, the sources of its mounts, the
//! namespaces that it joins. The images say what was in it. criu does its mounts in a mount namespace of this process, so that
//! nothing of a restore is ever mounted on the host, also when it is killed.

use crate::args::Args;
use crate::cgroup::Cgroup;
use crate::checkpoint::CRIU_CONFIG;
use crate::cli::Parsed;
use crate::create;
use crate::criu::options::{self, Directories};
use crate::criu::root::{self, Home, Root};
use crate::criu::rpc::{self, Kind, Options, field};
use crate::criu::{Conversation, Criu, Launch, Notice, mounts, namespaces, stdio};
use crate::delete;
use crate::error::{Error, Result};
use crate::foreground::{self, Foreground};
use crate::hooks;
use crate::host::{Asked, Host};
use crate::interrupt::Interrupt;
use crate::launch::{RUN, refuse_interrupted};
use crate::log;
use crate::pid_file;
use crate::plan::namespaces::Namespaces;
use crate::plan::{self, Plan};
use crate::record::{Made, Slot};
use bundle::Checked;
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitOptions, pidfd_open, waitpid};
use std::os::fd::{AsFd, OwnedFd};
use sys::clone;
use sys::namespace::Kinds;

/// A container's init that runs again.
#[derive(Debug)]
struct Restored {
    pid: Pid,
    pidfd: OwnedFd,
}

/// Restores a container. In the foreground its exit status is returned, and it is deleted when it ends.
///
/// # Errors
/// What config.json asks for and cannot be had, or what criu cannot do. Nothing is left then.
pub fn run(parsed: &Parsed) -> Result<u8> {
    let mut args = Args::of(parsed, false)?;
    // What was dumped has no such mount.
    args.options.notify = None;
    let checked = create::check(&args)?;
    if parsed.is_set("detach") {
        return restore(parsed, &args, &checked, None, None).map(|_| 0);
    }
    let terminal =
        checked.spec.process().as_ref().is_some_and(|process| process.terminal().unwrap_or(false));
    let (mut foreground, console) = Foreground::prepare(terminal && args.console_socket.is_none())?;
    if !parsed.is_set("no-subreaper") {
        let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    }
    let interrupt = Some(foreground::interrupt()?);
    let (Restored { pid, pidfd }, made) = restore(parsed, &args, &checked, console, interrupt)?;
    let ended = foreground.attach().and_then(|()| foreground.wait(pid, &pidfd, |_| Ok(())));
    delete::remove_made(made);
    ended
}

fn restore(
    parsed: &Parsed,
    args: &Args,
    checked: &Checked,
    console: Option<OwnedFd>,
    interrupt: Option<Interrupt>,
) -> Result<(Restored, Made)> {
    let home = root::leave_host()?;
    let directories = Directories::open(parsed, "restore.log", false)?;
    let mut options = asked(parsed, checked)?;
    let namespaces = Namespaces::of(checked.spec.linux().as_ref()).map_err(Error::Plan)?;
    let joined = namespaces::join(&namespaces, &mut options)?;
    stdio::replace(&directories.images, &mut options)?;
    refuse(args, checked)?;
    let asked = Asked::by(&checked.spec).with_options(&args.options);
    let host = Host::probe(asked)?;
    let plan = plan::create(checked, &host, &args.options)?;
    if !namespaces.new.contains(Kinds::MOUNT) {
        return Err(Error::State(
            "cannot restore a container without a mount namespace of its own (config.json /linux/namespaces)".into(),
        ));
    }
    options.mounts = mounts::for_restore(&mounts::external(&plan)?);
    options.cgroup_roots = cgroup_roots(&plan);
    let console = create::console_socket(args, checked, console)?;
    let hook_outputs = hooks::open_outputs(&plan.hooks.outputs)?;
    let criu = Criu::find(parsed.value("criu"))?;
    criu.require(false, parsed.is_set("lazy-pages"))?;
    directories.set(&mut options)?;

    let mut slot = Slot::reserve(
        &args.root,
        &args.id,
        create::saved(args, checked, &host, &plan),
        checked.text(),
    )?;
    let at = root::attach(&slot.criu_root()?, &checked.rootfs, &plan)?;
    options.string(field::ROOT, at.path().to_string_lossy());
    slot.own(create::make_cgroup(&plan, slot.mark())?);
    let inherited = joined.iter().map(AsFd::as_fd).collect();
    let launch = Launch { inherited, stderr: None };
    let mut restoring = Restoring {
        plan: &plan,
        namespaces: &namespaces,
        hook_outputs,
        interrupt,
        console,
        home: Some(home),
        init: None,
        _root: at,
        slot,
    };
    let restored = restoring.run(&criu, &options, &launch);
    match restored.and_then(|()| restoring.check(args)) {
        Ok(()) => restoring.finish(),
        Err(error) => {
            restoring.abandon();
            Err(directories.explain(error))
        }
    }
}

/// criu makes the processes: there is no moment at which they could be handed to those who keep them apart.
fn refuse(args: &Args, checked: &Checked) -> Result<()> {
    let linux = checked.spec.linux().as_ref();
    if linux.is_none_or(|linux| linux.intel_rdt().is_none()) {
        return Ok(());
    }
    Err(Error::State(format!(
        "cannot restore container `{}` with a class of cache and memory bandwidth (config.json /linux/intelRdt)",
        args.id
    )))
}

/// What the command line and config.json ask of criu.
fn asked(parsed: &Parsed, checked: &Checked) -> Result<Options> {
    let annotations = checked.spec.annotations().as_ref();
    let config_file = annotations.and_then(|all| all.get(CRIU_CONFIG)).map(String::as_str);
    let mut options = options::common(parsed, config_file)?;
    options.number(field::EVASIVE_DEVICES, 1).number(field::RST_SIBLING, 1);
    let lsm =
        [("lsm-profile", field::LSM_PROFILE), ("lsm-mount-context", field::LSM_MOUNT_CONTEXT)];
    for (name, field) in lsm {
        if let Some(value) = parsed.value(name).filter(|value| !value.is_empty()) {
            options.string(field, value);
        }
    }
    Ok(options)
}

/// The container's cgroups, which may be called otherwise than when it was dumped.
fn cgroup_roots(plan: &Plan) -> Vec<(String, String)> {
    let mut roots = Vec::new();
    for member in plan.cgroup.iter().flat_map(|cgroup| &cgroup.members) {
        let path = format!("/{}", member.path.display());
        match member.version {
            crate::cgroup::Version::V2 => roots.push((String::new(), path)),
            crate::cgroup::Version::V1 => {
                roots.extend(member.controllers.iter().map(|name| (name.clone(), path.clone())));
            }
        }
    }
    roots
}

/// A restore that is going on. Dropped before it is finished, it leaves nothing.
struct Restoring<'a> {
    plan: &'a Plan,
    namespaces: &'a Namespaces,
    hook_outputs: [Option<OwnedFd>; 2],
    /// By which it is taken back while hooks run.
    interrupt: Option<Interrupt>,
    /// Where the master of the terminal goes.
    console: Option<OwnedFd>,
    /// The way back from the mount namespace that criu works in.
    home: Option<Home>,
    /// Dropped before the slot, which can remove a cgroup without processes only.
    init: Option<Uncommitted>,
    /// Before the slot, too: a directory that something is mounted on here cannot be removed here.
    _root: Root,
    slot: Slot,
}

/// The restored init, until the container is committed: killed and reaped with everything in its cgroup when it is dropped.
struct Uncommitted {
    init: Option<Restored>,
    cgroup: Cgroup,
}

impl Drop for Uncommitted {
    fn drop(&mut self) {
        if let Some(init) = &self.init {
            let _ = sys::signals::send(init.pidfd.as_fd(), 9);
            let _ = self.cgroup.kill();
            let _ = waitpid(Some(init.pid), WaitOptions::empty());
        }
    }
}

impl Restoring<'_> {
    fn run(&mut self, criu: &Criu, options: &Options, launch: &Launch<'_>) -> Result<()> {
        let request = rpc::request(Kind::Restore, options);
        let what = format!("restore container `{}`", self.plan.id);
        criu.run(&request, Kind::Restore, &what, launch, self).map(drop)
    }

    fn set_up(&self, pid: i32) -> Result<()> {
        if self.namespaces.new.contains(Kinds::NETWORK) {
            loopback_up(pid)?;
        }
        // As in runc, those that set up what is outside; the container's own programs were started before.
        let interrupt = self.interrupt.as_ref();
        let ended_by = [interrupt.map(|interrupt| (interrupt.as_fd(), PollFlags::IN)), None];
        hooks::at_create(self.plan, process(pid)?, &self.hook_outputs, ended_by).or_else(|error| {
            let refuse = |interrupt| refuse_interrupted(interrupt, RUN, &self.plan.id);
            interrupt.map_or(Ok(()), refuse).and(Err(error))
        })
    }

    fn commit(&mut self, pid: i32) -> Result<()> {
        let pid = process(pid)?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|errno| {
            Error::system(format!("find the restored process {}", pid.as_raw_nonzero()), errno)
        })?;
        let paths = self.slot.cgroup().map(|cgroup| cgroup.paths().clone()).unwrap_or_default();
        let planned = self.plan.cgroup.as_ref();
        let unit = planned.and_then(|cgroup| Some(cgroup.unit.as_ref()?.unit.clone()));
        let cgroup = Cgroup::open(paths).of_unit(unit);
        // criu makes a time namespace that nobody asked for, so that the container's clocks go on from where they were.
        self.slot.note_namespaces(namespaces::differing(pid.as_raw_nonzero().get())?)?;
        self.slot.note_init(pid)?;
        if let Some(plan) = planned {
            // Not before: criu makes the container's devices, whatever the container itself may.
            cgroup.restrict_devices(plan)?;
        }
        self.init = Some(Uncommitted { init: Some(Restored { pid, pidfd }), cgroup });
        Ok(())
    }

    fn hand_out(&mut self, master: Option<OwnedFd>) -> Result<()> {
        let what = "hand out the master of the restored terminal";
        let master = master.ok_or_else(|| Error::system(what, Errno::BADMSG))?;
        let Some(socket) = self.console.take() else {
            return Err(Error::State(
                "the images have a terminal, and config.json (/process/terminal) has none".into(),
            ));
        };
        crate::child::console::send_master(socket.as_fd(), master.as_fd())
            .map_err(|errno| Error::system(what, errno))
    }

    /// Everything runs. The pid file last: whoever waits for it may ask for the state at once.
    fn check(&self, args: &Args) -> Result<()> {
        if self.console.is_some() {
            return Err(missing("terminal, which config.json (/process/terminal) asks for"));
        }
        let init = self.init.as_ref().and_then(|uncommitted| uncommitted.init.as_ref());
        let init = init.ok_or_else(|| missing("process"))?;
        pid_file::write(args.pid_file.as_deref(), init.pid)
    }

    /// From here on the container stays until it is deleted.
    fn finish(self) -> Result<(Restored, Made)> {
        let mut uncommitted = self.init.ok_or_else(|| missing("process"))?;
        let init = uncommitted.init.take().ok_or_else(|| missing("process"))?;
        let made = self.slot.commit();
        made.unlock();
        Ok((init, made))
    }

    /// Takes everything back, in the order of the fields. The hooks run on the host, also where criu failed before it told us
    /// of anything.
    fn abandon(self) {
        let Restoring { home, init, _root: root, slot, .. } = self;
        drop(init);
        drop(root);
        if let Some(Err(error)) = home.map(|home| home.return_to()) {
            log::warning(&error.to_string());
        }
        hooks::poststop(&slot.undo());
    }
}

impl Conversation for Restoring<'_> {
    /// A scope of systemd's is made around criu, as in `create` around the container's first process.
    fn started(&mut self, criu: Pid) -> Result<()> {
        match self.slot.cgroup_mut() {
            Some(cgroup) => Ok(cgroup.admit(self.plan.cgroup.as_ref(), criu)?),
            None => Ok(()),
        }
    }

    /// Does our part at the points that criu stops at.
    fn notice(&mut self, notice: Notice) -> Result<()> {
        // criu has opened all that it needs of us: hooks, and we, belong on the host.
        if let Some(home) = self.home.take() {
            home.return_to()?;
        }
        match notice.script.as_str() {
            // The namespaces are there, and nothing is in them yet.
            "setup-namespaces" => self.set_up(notice.pid),
            // Everything is there, and nothing runs yet.
            "post-restore" => self.commit(notice.pid),
            "orphan-pts-master" => self.hand_out(notice.fd),
            _ => Ok(()),
        }
    }
}

fn missing(what: &str) -> Error {
    Error::State(format!("criu restored no {what}"))
}

/// A process id that criu reports.
fn process(pid: i32) -> Result<Pid> {
    Pid::from_raw(pid).ok_or_else(|| Error::system("follow criu", Errno::PROTO))
}

/// In a new network namespace the loopback interface is down, and criu does not bring it up where interfaces are not its business.
/// A container that was created had it up from the start.
fn loopback_up(pid: i32) -> Result<()> {
    let failed = |errno| Error::system("bring up the container's loopback interface", errno);
    let process = pidfd_open(process(pid)?, PidfdFlags::empty()).map_err(failed)?;
    let child = clone::spawn(&clone::Options::default(), || {
        let up = sys::namespace::join(process.as_fd(), Kinds::NETWORK)
            .and_then(|()| sys::network::loopback_up());
        up.map_or_else(|errno| errno.raw_os_error(), |()| 0)
    })
    .map_err(failed)?;
    match waitpid(Some(child.pid), WaitOptions::empty()).map_err(failed)? {
        Some((_, status)) => match status.exit_status() {
            Some(0) => Ok(()),
            errno => Err(failed(Errno::from_raw_os_error(errno.unwrap_or(5)))),
        },
        None => Err(failed(Errno::CHILD)),
    }
}
