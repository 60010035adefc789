//! The parent: makes the child and answers it at the barriers of the plan (invariant I3).
//!
//! There is no state machine here: the parent receives "waiting at step N", looks up step N in the same list that the child walks,
//! and does what that barrier asks for. A child that dies is seen as the end of its socket.

use crate::cgroup::{self, Cgroup};
use crate::child::{Child, Resources};
use crate::child::{attributes, identity};
use crate::error::{Error, Result};
use crate::failure::attempt;
use crate::files;
use crate::hook::EndedBy;
use crate::hooks;
use crate::id_maps;
use crate::interrupt::Interrupt;
use crate::kill;
use crate::launch::{self, Launch, RUN, failure, lost, step_failure};
use crate::log;
use crate::net_devices::Devices;
use crate::plan::Plan;
use crate::plan::attributes::Attribute;
use crate::plan::op::{Barrier, Op, Step};
use crate::record::Saved;
use crate::signal::SIGKILL;
use crate::sources;
use crate::wire::{self, HookText, Message};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Pid, PidfdFlags, WaitOptions, WaitStatus, pidfd_open, waitpid};
use std::os::fd::{AsFd, OwnedFd};
use sys::clone;
use sys::namespace::Kinds;

/// The container's init, set up and waiting for the answer to [`Barrier::Ready`].
#[derive(Debug)]
pub struct Init {
    /// Its process id on the host.
    pub pid: Pid,
    /// An fd of exactly this process.
    pub pidfd: OwnedFd,
    /// The socket to it.
    pub socket: OwnedFd,
    /// What was opened for it, which it has copies of.
    resources: Resources,
    /// Network devices that it takes from the host.
    devices: Option<Devices>,
    /// Tells that nobody wants what hooks do any more.
    interrupt: Option<Interrupt>,
}

impl Init {
    /// Lets it go on to `AwaitStart` or to the exec.
    ///
    /// # Errors
    /// When it died while it waited.
    pub fn go(&self, plan: &Plan) -> Result<()> {
        wire::send_go(self.socket.as_fd()).map_err(|_| died(plan, self.pid))
    }

    /// Maps the ids of a bind source that it has found in its root, and lets it go on.
    fn map_tree(&self, plan: &Plan, step: usize, tree: i32) -> Result<()> {
        let Some(Op::Bind(bind)) = plan.steps.get(step).map(|step| &step.op) else {
            return Err(lost(Errno::PROTO));
        };
        let (child, trees) = (self.pidfd.as_fd(), &self.resources.trees);
        sources::map_for(child, tree, plan, bind.source, trees)?;
        self.go(plan)
    }

    /// The helper stage has made the init, our child too (`CLONE_PARENT`), and ends.
    fn continue_in(&mut self, plan: &Plan, pid: i32) -> Result<()> {
        let wrong =
            |errno| Error::system(format!("find the container's init, process {pid}"), errno);
        let pid = Pid::from_raw(pid).ok_or_else(|| wrong(Errno::SRCH))?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(wrong)?;
        let _ = waitpid(Some(self.pid), WaitOptions::empty());
        (self.pid, self.pidfd) = (pid, pidfd);
        self.go(plan)
    }

    /// What a hook that runs meanwhile is ended by: that we are told to end, or that there is no init any more.
    fn ended_by(&self) -> EndedBy<'_> {
        let interrupt = self.interrupt.as_ref().map(AsFd::as_fd);
        [interrupt, Some(self.pidfd.as_fd())].map(|fd| Some((fd?, PollFlags::IN)))
    }

    /// Fails when we were told to end.
    fn refuse_interrupted(&self, plan: &Plan) -> Result<()> {
        let attempt = match attempt(plan.document) {
            "start" => RUN,
            other => other,
        };
        let refuse = |interrupt| launch::refuse_interrupted(interrupt, attempt, &plan.id);
        self.interrupt.as_ref().map_or(Ok(()), refuse)
    }

    /// Runs the hooks that are the parent's. Why nobody wants the container any more is worth more than how its hook ended then.
    fn hooks(&self, plan: &Plan) -> Result<()> {
        let outputs = &self.resources.hook_outputs;
        hooks::at_create(plan, self.pid, outputs, self.ended_by()).or_else(|error| {
            self.refuse_interrupted(plan)?;
            Err(if kill::has_ended(&self.pidfd) { died(plan, self.pid) } else { error })
        })
    }

    /// Closes what only the init needed: a detached mount tree that stays open keeps the host's mounts in use, and a socket in its
    /// network namespace keeps that.
    pub fn close_resources(&mut self) {
        self.resources = Resources::default();
        self.devices = None;
    }

    /// Waits until it has executed its program, or says why it could not.
    ///
    /// # Errors
    /// The step that failed.
    pub fn executed(&self, plan: &Plan, launch: &mut Launch<'_>) -> Result<()> {
        let interrupt = self.interrupt.as_ref();
        launch.follow(self.socket.as_fd(), interrupt).map_err(|why| launch::error(plan, why))
    }

    /// Runs the `poststart` hooks. When we are told to end they are ended; the signal is left for the program, which runs.
    ///
    /// # Errors
    /// The first hook that fails.
    pub fn poststart(&self, saved: &Saved) -> Result<()> {
        let interrupt = self.interrupt.as_ref();
        hooks::poststart(saved, interrupt).or_else(|error| match interrupt {
            Some(interrupt) if interrupt.is_there() => {
                log::warning(&format!("told to end, and passed on: {error}"));
                Ok(())
            }
            _ => Err(error),
        })
    }

    /// The same for who does not wait for its end, which would tell that it was killed before its exec.
    ///
    /// # Errors
    /// The step that failed, or that it was killed.
    pub fn surely_executed(&self, plan: &Plan, launch: &mut Launch<'_>) -> Result<()> {
        self.executed(plan, launch)?;
        launch::has_executed(self.pid).map_err(|why| launch::error(plan, why))
    }

    /// Ends it, whatever it is doing, and takes back what it was given. The cgroup is that of a container that did not come about: a hook
    /// may have paused it, and what v1's freezer holds dies only when it goes on.
    pub fn end(&mut self, cgroup: Option<&Cgroup>) {
        // Before systemd has made the unit, what is there under these names is somebody else's.
        if let Some(cgroup) = cgroup.filter(|cgroup| !cgroup.awaits_process()) {
            let _ = cgroup.thaw_to_end();
        }
        let _ = sys::signals::send(self.pidfd.as_fd(), SIGKILL);
        let _ = waitpid(Some(self.pid), WaitOptions::empty());
        if let Some(devices) = &mut self.devices {
            devices.take_back();
        }
    }
}

/// What the child is given, besides the plan.
#[derive(Debug, Default)]
pub struct Handed {
    /// Where the master of the pseudo-terminal goes.
    pub console: Option<OwnedFd>,
    /// The socket on which it waits for `start`.
    pub start: Option<OwnedFd>,
    /// The init whose namespaces it joins (`exec`).
    pub init: Option<OwnedFd>,
    /// Network devices that it takes from the host.
    pub devices: Option<Devices>,
    /// By which it is taken back while its hooks run, or before it is ready.
    pub interrupt: Option<Interrupt>,
}

/// Makes the child and follows it until it is ready.
///
/// # Errors
/// What could not be opened, or the step that failed. The child is gone then.
pub fn spawn(plan: &Plan, cgroup: &mut Cgroup, mut handed: Handed) -> Result<Init> {
    let (devices, interrupt) = (handed.devices.take(), handed.interrupt.take());
    // First, and the child's end before ours: see `create::make`.
    let (peer, socket) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(|errno| Error::system("make a socket pair", errno))?;
    let into_cgroup = if starts_in_cgroup(plan, cgroup) { cgroup.open_entrance()? } else { None };
    let in_unified = into_cgroup.is_some();
    let resources = acquire(plan, cgroup, in_unified, handed)?;
    let options = clone::Options { namespaces: plan.shape.clone, into_cgroup, sibling: false };
    let mut socket = Some(socket);
    let child = clone::spawn(&options, || {
        // The child's copy of our end: with it, the child would never see that we are gone, and wait for ever with
        // the lock of the container's directory held.
        drop(socket.take());
        Child::new(&plan.steps, &resources, peer.as_fd()).run(0)
    })
    .map_err(|errno| cannot_clone(plan, in_unified, errno))?;
    // The first words are runc's: its test suite looks for them, and for those in `follow`.
    log::debug(|| {
        let (pid, affinity) = (child.pid.as_raw_nonzero(), affinity(plan));
        format!("nsexec container setup: nsexec started as process {pid}{affinity}")
    });
    // Only the child holds the other end now: its death is the end of the socket.
    drop(peer);
    let Some(socket) = socket else { return Err(cannot_clone(plan, in_unified, Errno::BADF)) };
    let init = Init { pid: child.pid, pidfd: child.pidfd, socket, resources, devices, interrupt };
    follow(plan, cgroup, init)
}

/// Whether the process can be cloned into the container's v2 cgroup. The first one can, unless systemd makes the cgroup around it; a
/// further one if it enters first of all, and does not bind itself to processors before, which need not be among the cgroup's.
/// To enter later takes a grace period of RCU on a quiet machine (see [`cgroup::entrances`]).
fn starts_in_cgroup(plan: &Plan, cgroup: &Cgroup) -> bool {
    match &plan.cgroup {
        Some(_) => !cgroup.awaits_process(),
        None => matches!(plan.steps.first(), Some(Step { op: Op::JoinCgroup, .. })),
    }
}

/// The processors that the child binds itself to first, as the log tells them.
fn affinity(plan: &Plan) -> String {
    let initial = plan.steps.iter().find_map(|step| match &step.op {
        Op::Attribute(Attribute::Affinity(mask)) => Some(mask),
        _ => None,
    });
    let Some((last, words)) = initial.and_then(|mask| mask.split_last()) else {
        return String::new();
    };
    let rest: String = words.iter().rev().map(|word| format!("{word:016x}")).collect();
    format!(": affinity: {last:#x}{rest}")
}

/// Follows the child until it is ready, or ends it.
fn follow(plan: &Plan, cgroup: &mut Cgroup, mut init: Init) -> Result<Init> {
    match until_ready(plan, cgroup, &mut init) {
        Ok(()) => Ok(init),
        Err(error) => {
            // Without a plan for it the container is there already, and whoever paused it wants it so.
            init.end(plan.cgroup.is_some().then_some(&*cgroup));
            Err(error)
        }
    }
}

fn until_ready(plan: &Plan, cgroup: &mut Cgroup, init: &mut Init) -> Result<()> {
    let runs_hooks = plan.steps.iter().any(|step| matches!(step.op, Op::Hook(_)));
    loop {
        if runs_hooks || init.interrupt.is_some() {
            await_word(plan, runs_hooks.then_some(&*cgroup), init)?;
        }
        match Message::receive(init.socket.as_fd()) {
            Ok(Some(Message::Failure { step, errno })) => return Err(failure(plan, step, errno)),
            Ok(Some(Message::Hook { step, end })) => {
                let text = HookText::receive(init.socket.as_fd());
                return Err(launch::hook_failure(plan, step, end, &text));
            }
            Ok(Some(Message::Waiting { step })) => {
                let barrier = barrier(plan, step)?;
                at_barrier(plan, cgroup, init, barrier)?;
                if barrier == Barrier::Ready {
                    log::debug(|| format!("child process in init() has done {step} steps"));
                    return Ok(());
                }
                // It may have died meanwhile, which the socket will tell.
                let _ = wire::send_go(init.socket.as_fd());
            }
            Ok(Some(Message::Forked { step, pid }))
                if matches!(plan.steps.get(step), Some(Step { op: Op::Fork { .. }, .. })) =>
            {
                init.continue_in(plan, pid)?;
            }
            Ok(Some(Message::Tree { step, fd })) => init.map_tree(plan, step, fd)?,
            Ok(Some(Message::Forked { .. } | Message::Listener { .. })) => {
                return Err(lost(Errno::PROTO));
            }
            // Reset: it ended with our last answer unread.
            Ok(None) | Err(Errno::CONNRESET) => return Err(died(plan, init.pid)),
            Err(errno) => return Err(lost(errno)),
        }
    }
}

/// What the child waits for in this step.
fn barrier(plan: &Plan, step: usize) -> Result<Barrier> {
    match plan.steps.get(step).map(|step| &step.op) {
        Some(Op::Wait(barrier)) => Ok(*barrier),
        _ => Err(lost(Errno::PROTO)),
    }
}

/// Does what the child waits for.
fn at_barrier(plan: &Plan, cgroup: &mut Cgroup, init: &mut Init, barrier: Barrier) -> Result<()> {
    match barrier {
        Barrier::Cgroup => cgroup.admit(plan.cgroup.as_ref(), init.pid)?,
        Barrier::Maps => {
            map(plan, init.pid)?;
            log::debug(|| "id mappings written".to_owned());
        }
        Barrier::Hooks => {
            init.hooks(plan)?;
            refuse_paused(plan, cgroup)?;
        }
        Barrier::NetDevices => {
            let devices = init.devices.as_mut().ok_or_else(|| lost(Errno::PROTO))?;
            devices.give(&plan.id, init.pid, init.pidfd.as_fd())?;
        }
        Barrier::Ready => {
            // Last: the container's own set-up may use a device that the container may not.
            if let Some(cgroup_plan) = &plan.cgroup {
                cgroup.restrict_devices(cgroup_plan)?;
            }
            schedule(plan, init.pid)?;
        }
        Barrier::Hooked => return Err(lost(Errno::PROTO)),
    }
    Ok(())
}

/// Waits until the child says something, or we are told to end. One that its own hook has paused does not say anything any more, and would
/// be waited for without end: that is looked for now and then, where there are hooks that may pause the `cgroup`. Whoever else pauses it
/// for a moment, from outside, lets it go on.
fn await_word(plan: &Plan, cgroup: Option<&Cgroup>, init: &Init) -> Result<()> {
    const NOW_AND_THEN: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
    const LOOKS: u32 = 5;
    let mut paused = 0;
    let mut fds = vec![PollFd::new(&init.socket, PollFlags::IN)];
    fds.extend(init.interrupt.as_ref().map(|interrupt| PollFd::new(interrupt, PollFlags::IN)));
    while paused < LOOKS {
        match poll(&mut fds, Some(&NOW_AND_THEN)) {
            Ok(0) if cgroup.map_or(Ok(false), Cgroup::is_frozen)? => paused += 1,
            Ok(0) => paused = 0,
            Ok(_) if fds[0].revents().is_empty() => init.refuse_interrupted(plan)?,
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(lost(errno)),
        }
    }
    Err(paused_by_hook(plan))
}

/// Nobody would let an init go on that a hook of the runtime has paused.
fn refuse_paused(plan: &Plan, cgroup: &Cgroup) -> Result<()> {
    if cgroup.is_frozen()? { Err(paused_by_hook(plan)) } else { Ok(()) }
}

fn paused_by_hook(plan: &Plan) -> Error {
    Error::Hook(format!(
        "cannot create container `{}` (config.json /hooks): a hook has paused it, and it is not set up yet",
        plan.id
    ))
}

/// How a child without privilege over the host is scheduled. Last, so that its own set-up is not held up by a low priority.
fn schedule(plan: &Plan, pid: Pid) -> Result<()> {
    for step in &plan.scheduled_by_parent {
        let done = match &step.op {
            Op::Attribute(attribute) => attributes::schedule(Some(pid), attribute),
            _ => Err(Errno::PROTO),
        };
        done.map_err(|errno| step_failure(plan, step, errno))?;
    }
    Ok(())
}

/// Writes the id mappings, and what the child has lost the privilege for.
fn map(plan: &Plan, pid: Pid) -> Result<()> {
    if let Some(maps) = &plan.id_maps {
        id_maps::write(maps, pid)?;
    }
    for step in &plan.by_parent {
        let done = match &step.op {
            Op::Rlimit { resource, soft, hard } => {
                identity::rlimit(Some(pid), *resource, *soft, *hard)
            }
            Op::WriteProc { value, .. } => {
                let path = format!("/proc/{}/oom_score_adj", pid.as_raw_nonzero());
                std::fs::write(path, value)
                    .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
            }
            _ => Err(Errno::PROTO),
        };
        done.map_err(|errno| step_failure(plan, step, errno))?;
    }
    Ok(())
}

/// Opens what the child needs and could not open itself. `in_unified`: it starts in the v2 cgroup.
fn acquire(plan: &Plan, cgroup: &Cgroup, in_unified: bool, handed: Handed) -> Result<Resources> {
    let files = files::raise(plan.files);
    let trees = sources::open(plan)?;
    let joins = plan.steps.iter().any(|step| matches!(step.op, Op::JoinCgroup));
    let cgroups = if joins { cgroup::entrances(cgroup.paths(), in_unified)? } else { Vec::new() };
    let Handed { console, start, init, .. } = handed;
    let hook_outputs = hooks::open_outputs(&plan.hooks.outputs)?;
    let (sources, user_namespace) = (plan.sources.clone(), user_namespace(plan)?);
    Ok(Resources {
        files,
        cgroups,
        sources,
        trees,
        console,
        start,
        init,
        user_namespace,
        hook_outputs,
    })
}

/// The user namespace that the child joins after a mount namespace.
fn user_namespace(plan: &Plan) -> Result<Option<OwnedFd>> {
    let is_of = |step: &&Step, wanted| matches!(&step.op, Op::JoinNamespace { kind, .. } if *kind == wanted);
    let mut after = plan.steps.iter().skip_while(|step| !is_of(step, Kinds::MOUNT));
    let Some(step) = after.find(|step| is_of(step, Kinds::USER)) else { return Ok(None) };
    let Op::JoinNamespace { path, .. } = &step.op else { return Ok(None) };
    rustix::fs::open(&**path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map(Some)
        .map_err(|errno| step_failure(plan, step, errno))
}

/// What the clone failed at: to enter the v2 cgroup, if it was to, or to make the namespaces.
fn cannot_clone(plan: &Plan, in_unified: bool, errno: Errno) -> Error {
    let (op, pointer) = match errno {
        Errno::ACCESS | Errno::BUSY | Errno::OPNOTSUPP | Errno::NODEV if in_unified => {
            (Op::JoinCgroup, "")
        }
        _ => (Op::Fork { namespaces: plan.shape.clone }, "/linux/namespaces"),
    };
    step_failure(plan, &Step { op, pointer: pointer.into() }, errno)
}

/// It ended without a word: killed from outside, most often for its memory limit.
fn died(plan: &Plan, pid: Pid) -> Error {
    let how = match waitpid(Some(pid), WaitOptions::empty()) {
        Ok(Some((_, status))) => end(status),
        _ => "ended".to_owned(),
    };
    let what = match attempt(plan.document) {
        "start" => format!("container `{}` did not get ready: its init", plan.id),
        other => format!("cannot {other} container `{}`: its process", plan.id),
    };
    Error::Died(format!("{what} {how} (`delete --force`, or a memory limit that is too low?)"))
}

fn end(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(status), _) => format!("exited with status {status}"),
        (_, Some(signal)) => format!("was killed by signal {signal}"),
        _ => "ended".to_owned(),
    }
}
