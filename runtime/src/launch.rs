//! The last stretch: from the answer that lets a process go on to the exec of its program.
//!
//! Followed by whoever gave that answer: `start`, `run` or `exec`. An exec closes the socket, and so does death; what tells them
//! apart is a flag that the kernel takes away from a process with its first exec.

use crate::error::{Error, Result};
use crate::failure::{Failure, attempt};
use crate::hooks;
use crate::interrupt::Interrupt;
use crate::notify::{Agent, Sender};
use crate::plan::Plan;
use crate::plan::op::{Barrier, Op, Step};
use crate::process;
use crate::record::{Record, Saved};
use crate::wire::{self, End, HookText, Message};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::Pid;
use std::os::fd::BorrowedFd;

/// Why a process did not get to its program.
#[derive(Debug)]
pub enum Unexecuted {
    /// A step failed.
    Step {
        /// Index of the step.
        step: usize,
        /// Why.
        errno: Errno,
    },
    /// A hook failed.
    Hook {
        /// Index of the step.
        step: usize,
        /// How.
        end: End,
        /// What it wrote.
        text: HookText,
    },
    /// It ended without a word.
    Died,
    /// Everything that can be said without the plan.
    Other(Error),
}

/// Who follows, and what is to be expected.
#[derive(Debug)]
pub struct Launch<'a> {
    /// The container.
    pub saved: &'a Saved,
    /// Its status.
    pub status: &'static str,
    /// Takes listeners, where the profile asks for it.
    pub agent: Option<&'a mut Agent>,
    /// `startContainer` hooks are still to come.
    pub hooks: bool,
    /// Where to note that they are done: until then the container counts as created (runtime-spec, runtime.md "Lifecycle").
    pub record: Option<&'a Record>,
}

impl Launch<'_> {
    /// Whether the process needs answers on its way to the exec.
    pub fn is_attended(&self) -> bool {
        self.agent.is_some() || self.hooks
    }

    /// Reads until the socket ends, which it does when the program is executed: it is close-on-exec. What has ended well ends so again.
    /// While hooks run, an `interrupt` ends that.
    ///
    /// # Errors
    /// Why it was not executed, as far as the socket tells.
    pub fn follow(
        &mut self,
        socket: BorrowedFd<'_>,
        interrupt: Option<&Interrupt>,
    ) -> std::result::Result<(), Unexecuted> {
        loop {
            if let Some(interrupt) = interrupt.filter(|_| self.hooks) {
                self.await_word(socket, interrupt).map_err(Unexecuted::Other)?;
            }
            match self.receive(socket) {
                Ok(None) if !self.hooks => return Ok(()),
                // Reset: it ended with our last answer unread.
                Ok(None) | Err(Errno::CONNRESET) => return Err(Unexecuted::Died),
                Ok(Some((Message::Failure { step, errno }, _))) => {
                    return Err(Unexecuted::Step { step, errno });
                }
                Ok(Some((Message::Hook { step, end }, _))) => {
                    return Err(Unexecuted::Hook { step, end, text: HookText::receive(socket) });
                }
                Ok(Some((Message::Waiting { .. }, _))) if self.hooks => {
                    self.hooks = false;
                    if let Some(record) = self.record {
                        record.started();
                    }
                }
                Ok(Some((Message::Listener { fd, .. }, Some(sender)))) => {
                    self.hand_over(sender, fd).map_err(Unexecuted::Other)?;
                }
                Ok(Some(_)) => return Err(Unexecuted::Other(lost(Errno::PROTO))),
                Err(errno) => return Err(Unexecuted::Other(lost(errno))),
            }
            // It may have died meanwhile, which the socket will tell.
            let _ = wire::send_go(socket);
        }
    }

    /// Waits until the process says something.
    fn await_word(&self, socket: BorrowedFd<'_>, interrupt: &Interrupt) -> Result<()> {
        loop {
            let word = PollFd::from_borrowed_fd(socket, PollFlags::IN);
            let mut fds = [word, PollFd::new(interrupt, PollFlags::IN)];
            match poll(&mut fds, None) {
                Ok(_) if fds[0].revents().is_empty() => {
                    refuse_interrupted(interrupt, RUN, &self.saved.id)?;
                }
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(lost(errno)),
            }
        }
    }

    fn receive(
        &self,
        socket: BorrowedFd<'_>,
    ) -> std::result::Result<Option<(Message, Option<Sender>)>, Errno> {
        match &self.agent {
            None => Ok(Message::receive(socket)?.map(|message| (message, None))),
            Some(agent) => {
                Ok(agent.receive(socket)?.map(|(message, sender)| (message, Some(sender))))
            }
        }
    }

    fn hand_over(&mut self, sender: Sender, fd: i32) -> Result<()> {
        match &mut self.agent {
            Some(agent) => agent.hand_over(sender, fd, self.saved, self.status),
            None => Err(lost(Errno::PROTO)),
        }
    }
}

/// What a container that is being made is to do.
pub const RUN: &str = "run";

/// Fails when we were told to end, with this `attempt` at container `id` under way.
///
/// # Errors
/// [`Error::Interrupted`].
pub fn refuse_interrupted(interrupt: &Interrupt, attempt: &str, id: &str) -> Result<()> {
    match interrupt.signal() {
        None => Ok(()),
        Some(signal) => {
            Err(Error::Interrupted { what: format!("{attempt} container `{id}`"), signal })
        }
    }
}

/// Makes sure that a process whose socket has ended executed its program. For who does not wait for its end: that tells, too.
///
/// # Errors
/// [`Unexecuted::Died`].
pub fn has_executed(pid: Pid) -> std::result::Result<(), Unexecuted> {
    match process::never_executed(pid) {
        Ok(false) => Ok(()),
        Ok(true) => Err(Unexecuted::Died),
        Err(error) => Err(Unexecuted::Other(error)),
    }
}

/// Whether the plan has hooks of the start phase.
pub fn has_hooks(plan: &Plan) -> bool {
    plan.steps.iter().any(|step| matches!(step.op, Op::Wait(Barrier::Hooked)))
}

/// Why it failed, in the words of the plan.
pub fn error(plan: &Plan, why: Unexecuted) -> Error {
    match why {
        Unexecuted::Step { step, errno } => failure(plan, step, errno),
        Unexecuted::Hook { step, end, text } => hook_failure(plan, step, end, &text),
        Unexecuted::Died => died(&plan.id, attempt(plan.document)),
        Unexecuted::Other(error) => error,
    }
}

/// A hook that the child ran.
pub fn hook_failure(plan: &Plan, step: usize, end: End, text: &HookText) -> Error {
    match plan.steps.get(step).map(|step| &step.op) {
        Some(Op::Hook(hook)) => hooks::failed(&plan.id, hook, end, text),
        _ => lost(Errno::PROTO),
    }
}

/// A process was killed on the last stretch of an `attempt`.
pub fn died(id: &str, attempt: &str) -> Error {
    Error::Died(format!(
        "cannot {attempt} container `{id}`: its process was killed before it could execute the program"
    ))
}

/// The conversation with the init did not go as the plan says.
#[cold]
#[inline(never)]
pub(crate) fn lost(errno: Errno) -> Error {
    Error::system("follow the container's init", errno)
}

/// The error for a step that failed in the child.
pub fn failure(plan: &Plan, step: usize, errno: Errno) -> Error {
    match plan.steps.get(step) {
        Some(step) => step_failure(plan, step, errno),
        None => lost(Errno::PROTO),
    }
}

#[cold]
#[inline(never)]
pub(crate) fn step_failure(plan: &Plan, step: &Step, errno: Errno) -> Error {
    Error::Step(Failure::of(plan, step, errno))
}
