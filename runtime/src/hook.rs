//! Running one hook to its end: used by the parent, by the commands after the start, and by the child inside the container.
//!
//! The hook reads the container's state from a pipe, has a session and process group of its own and no fd but its three streams.
//! What it writes is kept for the error message, the last kilobyte of each stream and no more, however much it is. Everything that
//! a hook is given was made ready by the plan, so that the child, too, only makes system calls here (invariant I2).

use crate::plan::hooks::Hook;
use crate::wire::{End, KEPT, Message};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, waitpgid, waitpid};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;
use sys::clone;
use sys::exec::CStringArray;

/// The most that is read after the hook has ended, in reads: what it left running may write for ever.
const LAST_READS: usize = 64;
/// What a hook in the container's namespaces starts with; the runtime itself has none there.
const UMASK: u32 = 0o022;

/// The end of what a stream carried.
#[derive(Clone, Debug)]
pub struct Tail {
    bytes: [u8; KEPT],
    length: usize,
}

impl Tail {
    fn new() -> Tail {
        Tail { bytes: [0; KEPT], length: 0 }
    }

    fn push(&mut self, more: &[u8]) {
        let more = &more[more.len().saturating_sub(KEPT)..];
        let keep = self.length.min(KEPT - more.len());
        self.bytes.copy_within(self.length - keep..self.length, 0);
        self.bytes[keep..keep + more.len()].copy_from_slice(more);
        self.length = keep + more.len();
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// Why a hook did not do what it is for.
#[derive(Debug)]
pub enum Trouble {
    /// It could not be run at all.
    System(Errno),
    /// A step that the container's program takes failed in the hook's process.
    Step {
        /// Index of the step.
        step: usize,
        /// Why.
        errno: Errno,
    },
    /// It ran and failed. What it wrote to its two streams comes with it.
    Failed(End, Box<[Tail; 2]>),
    /// It was killed: nobody wants its container any more.
    Unwanted,
}

impl From<Errno> for Trouble {
    fn from(errno: Errno) -> Trouble {
        Trouble::System(errno)
    }
}

/// What a hook is run with besides what is in its description.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'a> {
    /// The container's process id as the hook sees it; `None` when it has ended.
    pub pid: Option<Pid>,
    /// Its environment.
    pub env: &'a CStringArray,
    /// Files for its two output streams.
    pub outputs: &'a [Option<OwnedFd>; 2],
    /// It runs in the container's namespaces, where the runtime has an umask of zero.
    pub contained: bool,
    /// By which it is killed.
    pub ended_by: EndedBy<'a>,
    /// The runtime's own process id, where nobody wants what the hook does once that was killed: the kernel kills it then.
    pub ends_with: Option<Pid>,
}

/// As soon as one of these is ready for what is asked of it, or hangs up, nobody wants the container any more.
pub type EndedBy<'a> = [Option<(BorrowedFd<'a>, PollFlags)>; 2];

/// Runs a hook and waits for its end, or kills it when its time is up. `enter` is called in its process right before the exec; its
/// error is the step that failed.
///
/// # Errors
/// Everything but an exit status of 0.
pub fn run(
    hook: &Hook,
    setting: &Setting<'_>,
    enter: impl FnOnce() -> Result<(), (usize, Errno)>,
) -> Result<(), Trouble> {
    let started = Instant::now();
    let (ours, theirs) = streams(setting.outputs)?;
    let (report, their_report) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    let child = clone::spawn(&clone::Options::default(), || {
        let Err((step, errno)) = become_hook(hook, setting, &theirs, enter);
        // Told by write(2) alone: a filter may be in force by now.
        let _ = Message::Failure { step, errno }.send(their_report.as_fd());
        127
    })?;
    drop((theirs, their_report));
    let mut running = Running {
        hook,
        ended_by: setting.ended_by,
        child,
        report: Some(report),
        refusal: None,
        input: Some(ours.input),
        given: Given::new(hook, setting.pid),
        outputs: ours.outputs,
        tails: [Tail::new(), Tail::new()],
    };
    running.follow(started)
}

/// Our ends of a hook's pipes.
struct Ours {
    input: OwnedFd,
    outputs: [Option<OwnedFd>; 2],
}

/// What becomes a hook's standard streams.
struct Theirs<'a> {
    input: OwnedFd,
    outputs: [Stream<'a>; 2],
}

enum Stream<'a> {
    Pipe(OwnedFd),
    File(BorrowedFd<'a>),
}

impl AsFd for Stream<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Pipe(fd) => fd.as_fd(),
            Stream::File(fd) => *fd,
        }
    }
}

fn streams(files: &[Option<OwnedFd>; 2]) -> Result<(Ours, Theirs<'_>), Errno> {
    let (input, feed) = pipe_with(PipeFlags::CLOEXEC)?;
    let (out, their_out) = output(&files[0])?;
    let (err, their_err) = output(&files[1])?;
    let ours = Ours { input: not_blocking(feed)?, outputs: [out, err] };
    Ok((ours, Theirs { input, outputs: [their_out, their_err] }))
}

fn output(file: &Option<OwnedFd>) -> Result<(Option<OwnedFd>, Stream<'_>), Errno> {
    match file {
        Some(file) => Ok((None, Stream::File(file.as_fd()))),
        None => {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
            Ok((Some(not_blocking(read)?), Stream::Pipe(write)))
        }
    }
}

/// Only our own ends are not to block: the other ends are other descriptions.
fn not_blocking(fd: OwnedFd) -> Result<OwnedFd, Errno> {
    rustix::fs::fcntl_setfl(&fd, OFlags::NONBLOCK)?;
    Ok(fd)
}

/// In the hook's process, up to its exec. Nothing after `enter` but execve(2): it may have installed a filter.
fn become_hook(
    hook: &Hook,
    setting: &Setting<'_>,
    theirs: &Theirs<'_>,
    enter: impl FnOnce() -> Result<(), (usize, Errno)>,
) -> Result<std::convert::Infallible, (usize, Errno)> {
    let prepare = || {
        if let Some(runtime) = setting.ends_with {
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            // It may be gone already, which no signal tells any more.
            if rustix::process::getppid() != Some(runtime) {
                return Err(Errno::SRCH);
            }
        }
        rustix::process::setsid()?;
        rustix::stdio::dup2_stdin(&theirs.input)?;
        rustix::stdio::dup2_stdout(&theirs.outputs[0])?;
        rustix::stdio::dup2_stderr(&theirs.outputs[1])?;
        if let Some(directory) = &hook.directory {
            rustix::process::chdir(&**directory)?;
        }
        if setting.contained {
            rustix::process::umask(Mode::from_raw_mode(UMASK));
        }
        // Ours are marked already; those that whoever started us left open, and `--preserve-fds`, are not the hook's.
        sys::fd::cloexec_from(3)?;
        sys::signals::reset_for_exec();
        Ok(())
    };
    prepare().map_err(|errno| (NO_STEP, errno))?;
    enter()?;
    Err((NO_STEP, sys::exec::execve(&hook.path, &hook.argv, setting.env)))
}

/// The step of a failure of the hook itself.
const NO_STEP: usize = u32::MAX as usize;

/// What a hook reads: the state, with the process id in its place.
struct Given<'a> {
    parts: [&'a [u8]; 2],
    /// The process id in digits, which goes between the parts.
    digits: [u8; 10],
    digits_length: usize,
    /// How much has been read.
    done: usize,
}

impl<'a> Given<'a> {
    fn new(hook: &'a Hook, pid: Option<Pid>) -> Given<'a> {
        let mut digits = [0; 10];
        let mut length = 0;
        // Not `map_or(0, ...)` and a `while`: optimised by rustc 1.95, that wrote a `0` where there is no process.
        if let Some(pid) = pid {
            let mut rest = pid.as_raw_nonzero().get().unsigned_abs();
            loop {
                digits[length] = b'0' + (rest % 10) as u8;
                rest /= 10;
                length += 1;
                if rest == 0 {
                    break;
                }
            }
        }
        digits[..length].reverse();
        Given {
            parts: [&hook.state.before, &hook.state.after],
            digits,
            digits_length: length,
            done: 0,
        }
    }

    /// What is to be written next; empty at the end.
    fn next(&self) -> &[u8] {
        let mut skip = self.done;
        for part in [self.parts[0], &self.digits[..self.digits_length], self.parts[1]] {
            if skip < part.len() {
                return &part[skip..];
            }
            skip -= part.len();
        }
        &[]
    }
}

/// A hook that has been started.
struct Running<'a> {
    hook: &'a Hook,
    ended_by: EndedBy<'a>,
    child: clone::Child,
    /// Its end, or a failure before the exec.
    report: Option<OwnedFd>,
    refusal: Option<(usize, Errno)>,
    input: Option<OwnedFd>,
    given: Given<'a>,
    outputs: [Option<OwnedFd>; 2],
    tails: [Tail; 2],
}

impl Running<'_> {
    fn follow(&mut self, started: Instant) -> Result<(), Trouble> {
        loop {
            let left = match self.hook.timeout {
                None => None,
                Some(limit) => match limit.checked_sub(started.elapsed()) {
                    Some(left) => Some(left),
                    None => return self.give_up(),
                },
            };
            if self.wait(left).inspect_err(|_| self.kill())? {
                return self.ended();
            }
        }
    }

    /// Waits for something to happen and deals with it. True when the hook has ended.
    fn wait(&mut self, left: Option<std::time::Duration>) -> Result<bool, Trouble> {
        let timeout = left.map(|left| {
            Timespec::try_from(left).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 })
        });
        let ready = {
            let child = &self.child.pidfd;
            let mut fds = [
                PollFd::new(child, PollFlags::IN),
                watched(&self.report, child, PollFlags::IN),
                watched(&self.input, child, PollFlags::OUT),
                watched(&self.outputs[0], child, PollFlags::IN),
                watched(&self.outputs[1], child, PollFlags::IN),
                awaited(self.ended_by[0], child),
                awaited(self.ended_by[1], child),
            ];
            match poll(&mut fds, timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            fds.map(|fd| !fd.revents().is_empty())
        };
        let [ended, report, input, out, err, unwanted @ ..] = ready;
        if !ended && unwanted.contains(&true) {
            return Err(Trouble::Unwanted);
        }
        if report && let Some(socket) = &self.report {
            if let Ok(Some(Message::Failure { step, errno })) = Message::receive(socket.as_fd()) {
                self.refusal = Some((step, errno));
            }
            self.report = None;
        }
        if input {
            self.feed();
        }
        for stream in [out.then_some(0), err.then_some(1)].into_iter().flatten() {
            self.read(stream, 1);
        }
        Ok(ended)
    }

    /// A hook need not read its input, and may close it.
    fn feed(&mut self) {
        let Some(input) = &self.input else { return };
        match rustix::io::write(input, self.given.next()) {
            Ok(written) => self.given.done += written,
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.input = None,
        }
        if self.given.next().is_empty() {
            self.input = None;
        }
    }

    fn read(&mut self, stream: usize, times: usize) {
        let mut buffer = [0; KEPT];
        for _ in 0..times {
            let Some(output) = &self.outputs[stream] else { return };
            match rustix::io::read(output, &mut buffer[..]) {
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Ok(0) | Err(_) => self.outputs[stream] = None,
                Ok(length) => self.tails[stream].push(&buffer[..length]),
            }
        }
    }

    fn ended(&mut self) -> Result<(), Trouble> {
        let status = loop {
            match waitpid(Some(self.child.pid), WaitOptions::empty()) {
                Err(Errno::INTR) => {}
                waited => break waited?.map(|(_, status)| status),
            }
        };
        // It may have ended before its report was looked at.
        if let Some(report) = self.report.take()
            && let Ok(Some(Message::Failure { step, errno })) = Message::receive(report.as_fd())
        {
            self.refusal = Some((step, errno));
        }
        match self.refusal {
            Some((NO_STEP, errno)) => return Err(Trouble::System(errno)),
            Some((step, errno)) => return Err(Trouble::Step { step, errno }),
            None => {}
        }
        match status.and_then(end) {
            None => Ok(()),
            Some(end) => self.failed(end),
        }
    }

    fn failed(&mut self, end: End) -> Result<(), Trouble> {
        self.read(0, LAST_READS);
        self.read(1, LAST_READS);
        Err(Trouble::Failed(end, Box::new(self.tails.clone())))
    }

    fn give_up(&mut self) -> Result<(), Trouble> {
        self.kill();
        self.failed(End::TimedOut)
    }

    /// Kills the hook with what it started, and reaps of that what is ours to reap.
    fn kill(&self) {
        let group = self.child.pid;
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
        let _ = sys::signals::send(self.child.pidfd.as_fd(), Signal::KILL.as_raw());
        let _ = waitpid(Some(group), WaitOptions::empty());
        while let Ok(Some(_)) | Err(Errno::INTR) = waitpgid(group, WaitOptions::empty()) {}
    }
}

/// `None` for success.
fn end(status: WaitStatus) -> Option<End> {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(0), _) => None,
        (Some(status), _) => Some(End::Exited(u8::try_from(status).unwrap_or(u8::MAX))),
        (None, signal) => Some(End::Killed(signal.and_then(|s| u8::try_from(s).ok()).unwrap_or(0))),
    }
}

/// In the place of a stream that has ended nothing is asked for.
fn watched<'fd>(
    stream: &'fd Option<OwnedFd>,
    child: &'fd OwnedFd,
    flags: PollFlags,
) -> PollFd<'fd> {
    awaited(stream.as_ref().map(|stream| (stream.as_fd(), flags)), child)
}

fn awaited<'fd>(what: Option<(BorrowedFd<'fd>, PollFlags)>, child: &'fd OwnedFd) -> PollFd<'fd> {
    match what {
        Some((fd, flags)) => PollFd::from_borrowed_fd(fd, flags),
        None => PollFd::new(child, PollFlags::empty()),
    }
}
