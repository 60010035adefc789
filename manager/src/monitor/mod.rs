//! One small process per container: it calls the runtime, holds the container's stdio, writes its log and its exit
//! code, serves attached clients, and cleans up when the container has ended.
//!
//! It is `nman` itself, executed again under the name in [`ARGV0`], and is told everything by the container's
//! directory. It holds the container's lock for as long as it lives, and lives in the mount namespace in which the
//! root file system was mounted, so that a kill -9 leaves neither a lock nor a mount. It prints nothing.

pub mod log;
pub mod pump;
pub mod stdio;
pub mod wire;

use crate::clock::Timestamp;
use crate::container::{ContainerId, Containers, Dir, Guard, Record, State, Status};
use crate::error::{Error, Result};
use crate::runtime::{Launch, Runtime, Streams};
use crate::settings::Settings;
use log::Log;
use pump::{Ended, Parts, Pump};
use rustix::net::SocketType;
use rustix::process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, set_child_subreaper, setsid};
use std::ffi::OsString;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode};
use stdio::{ConsoleSocket, Ends};
use sys::signals::{Mask, SignalFd};
use wire::Event;

/// The name under which `main` runs [`main`] instead of the command line.
pub const ARGV0: &str = "nman-monitor";

/// The monitor's argument for a container that is new: if it cannot be started, nothing of it is kept.
const FIRST: &str = "first";
/// The same for one that has run before.
const AGAIN: &str = "again";

/// A container that is ready for the runtime: mounted, connected, and locked by us.
#[derive(Debug)]
pub struct Assembled {
    /// Its directory.
    pub dir: Dir,
    /// Its lock.
    pub guard: Guard,
    /// Whether it has never run.
    pub first: bool,
}

/// A client's connection to a monitor.
#[derive(Debug)]
pub struct Link {
    /// Where it talks to us.
    pub socket: OwnedFd,
    /// The monitor itself, if we have started it.
    pub child: Option<Child>,
}

impl Link {
    /// After the monitor's last word: waits until it is gone too, so that nothing of the container outlives us.
    pub fn see_off(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.wait();
        }
    }
}

/// What the monitor passes on to the container when it is sent to the monitor.
const FORWARDED: [Signal; 3] = [Signal::TERM, Signal::INT, Signal::HUP];

/// The container's sockets, below the state directory.
#[must_use]
pub fn socket_dir(settings: &Settings, id: &ContainerId) -> PathBuf {
    settings.state.join("containers").join(id.as_str())
}

/// Where further clients attach.
#[must_use]
pub fn attach_socket(settings: &Settings, id: &ContainerId) -> PathBuf {
    socket_dir(settings, id).join("attach")
}

/// Starts a monitor for a container that is ready to be created, and hands it the container's lock.
///
/// Returns the socket on which it reports; it reads its own end from fd 0 and takes the lock from fd 1, because these
/// are the descriptors that a child can be given without any window in which another child would inherit them.
pub fn launch(settings: &Settings, id: &ContainerId, assembled: Assembled) -> Result<Link> {
    let Assembled { dir, guard, first } = assembled;
    let (ours, theirs) = wire::pair().map_err(Error::system("make a socket pair"))?;
    let path = dir.join("monitor.log");
    let messages = std::fs::File::create(&path).map_err(Error::io("write", &path))?;
    let mut command = Command::new("/proc/self/exe");
    command.arg0(ARGV0).arg(&settings.root).arg(&settings.state).arg(id.as_str());
    command.arg(if first { FIRST } else { AGAIN });
    if settings.debug {
        command.arg("debug");
    }
    command.stdin(theirs).stdout(guard.into_fd()).stderr(messages).current_dir("/");
    let child = command.spawn().map_err(Error::system("start the container's monitor"))?;
    Ok(Link { socket: ours, child: Some(child) })
}

/// The monitor's whole life. `args` are those after the name.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.collect();
    let [root, state, id, purpose, debug @ ..] = args.as_slice() else {
        return ExitCode::from(125);
    };
    let Some(id) = id.to_str().and_then(ContainerId::parse) else { return ExitCode::from(125) };
    let settings = Settings {
        root: root.into(),
        state: state.into(),
        runtime: None,
        debug: !debug.is_empty(),
    };
    // Whoever started us hears of a failure on the socket; there is nobody else to tell.
    match Monitor::take_over(&settings, &id, purpose == FIRST) {
        Ok(monitor) => monitor.run(),
        Err(_) => ExitCode::from(125),
    }
}

/// What a monitor works on.
struct Monitor<'a> {
    settings: &'a Settings,
    containers: Containers,
    dir: Dir,
    record: Record,
    runtime: Runtime,
    guard: Guard,
    first: bool,
    client: OwnedFd,
}

impl<'a> Monitor<'a> {
    fn take_over(settings: &'a Settings, id: &ContainerId, first: bool) -> Result<Self> {
        let take =
            |number| sys::fd::inherited(number).map_err(Error::system("take over a descriptor"));
        let copy = |fd: OwnedFd| {
            rustix::io::fcntl_dupfd_cloexec(&fd, 3).map_err(Error::system("copy a descriptor"))
        };
        let (client, lock) = (take(0)?, take(1)?);
        let (client_copy, lock_copy) = (copy(client)?, copy(lock)?);
        // The lowest free numbers are given out, so these are 0 and 1, and nothing of ours may get them later.
        sys::fd::until_exec(crate::runtime::null()?);
        sys::fd::until_exec(crate::runtime::null()?);
        let containers = Containers::open(&settings.containers())?;
        let dir = containers.dir(id);
        let record = dir.record()?;
        let runtime = Runtime::new(&record.runtime, settings);
        let guard = Guard::from_fd(lock_copy);
        Ok(Self { settings, containers, dir, record, runtime, guard, first, client: client_copy })
    }

    fn run(self) -> ExitCode {
        // It has a session and a terminal of its own, or none: not those of whoever typed `nman run`.
        let _ = setsid();
        let _ = set_child_subreaper(Some(getpid()));
        let signals = Mask::of(&[Signal::CHILD, FORWARDED[0], FORWARDED[1], FORWARDED[2]]);
        sys::signals::set_mask(&signals);
        let mut message = Vec::new();
        match SignalFd::new(&signals).map_err(Error::system("watch signals")) {
            Ok(signals) => match self.supervise(&signals) {
                Ok(ended) => self.conclude(ended),
                Err(error) => self.give_up(&error),
            },
            Err(error) => {
                Event::Failed(125, &error.to_string()).encode(&mut message);
                let _ = wire::put(self.client.as_fd(), &message, true);
                ExitCode::from(125)
            }
        }
    }

    /// From the first call of the runtime to the end of the container's init.
    fn supervise(&self, signals: &SignalFd) -> Result<Ended> {
        let id = &self.record.id;
        let sockets = socket_dir(self.settings, id);
        crate::container::make_private(&sockets)?;
        let listener = stdio::listen_at(&sockets.join("attach"), SocketType::SEQPACKET)?;
        let log_path = self.dir.log();
        let log = Log::open(&log_path).map_err(Error::io("open", &log_path))?;
        let (pid, ends) = self.create()?;
        let (init, pidfd) = adopt(pid)?;
        let mut state = State::created();
        state.pid = Some(pid);
        state.monitor = Some(getpid().as_raw_nonzero().get());
        state.status = Status::Running;
        state.started = Some(Timestamp::now());
        self.dir.set_state(&state)?;
        self.runtime.start(id)?;
        let mut pump = Pump::new(Parts { ends, listener, signals, init, pidfd, log });
        let mut message = Vec::new();
        Event::Started.encode(&mut message);
        let client = rustix::io::fcntl_dupfd_cloexec(&self.client, 3)
            .map_err(Error::system("copy a socket"))?;
        if wire::put(client.as_fd(), &message, true).is_ok() {
            pump.attach(client, self.record.attachment.stdin_once);
        }
        pump.run().map_err(Error::system("wait for the container"))
    }

    fn create(&self) -> Result<(i32, Ends)> {
        let socket_path = socket_dir(self.settings, &self.record.id).join("console");
        let (console, streams, ends) = if self.record.attachment.terminal {
            (Some(ConsoleSocket::listen(socket_path)?), Streams::null()?, None)
        } else {
            let (streams, ends) = stdio::pipes(self.record.attachment)?;
            (None, streams, Some(ends))
        };
        let launch = Launch {
            log: &self.dir.join("runtime.log"),
            pid_file: &self.dir.join("init.pid"),
            console: console.as_ref().map(ConsoleSocket::path),
            streams,
        };
        let pid = self.runtime.create(&self.record.id, self.dir.path(), launch)?;
        let ends = match (ends, console) {
            (Some(ends), _) => ends,
            (None, Some(console)) => console.receive()?,
            (None, None) => unreachable!("a container has a terminal or pipes"),
        };
        Ok((pid, ends))
    }

    /// The container has ended: write it down, clean up, tell those who are attached.
    fn conclude(self, ended: Ended) -> ExitCode {
        let recorded = self.dir.state().ok();
        let mut state = recorded.unwrap_or_else(State::created);
        let mut errors = self.clean_up();
        errors.extend(ended.log_failed.map(Error::system("write the container's log")));
        state.status = Status::Exited;
        (state.pid, state.monitor) = (None, None);
        state.finished = Some(Timestamp::now());
        state.exit_code = Some(ended.code);
        state.error = errors.first().map(ToString::to_string);
        let _ = self.dir.set_state(&state);
        let remove = self.record.remove;
        self.farewell(remove, &Event::Exited(ended.code), &ended.clients)
    }

    /// The container could not be started, or could not be watched any more.
    fn give_up(self, error: &Error) -> ExitCode {
        let _ = self.clean_up();
        let client = rustix::io::fcntl_dupfd_cloexec(&self.client, 3).ok();
        let (code, text) = (error.exit_code(), error.to_string());
        let state = State { error: Some(text.clone()), exit_code: Some(code), ..State::created() };
        let _ = self.dir.set_state(&state);
        let remove = self.record.remove || self.first;
        self.farewell(remove, &Event::Failed(code, &text), client.as_slice())
    }

    /// What a running container has and a stopped one has not. Goes on after an error.
    fn clean_up(&self) -> Vec<Error> {
        let id = &self.record.id;
        let mut errors = Vec::new();
        errors.extend(self.runtime.delete(id).err());
        errors.extend(crate::assemble::disassemble(self.settings, &self.record, &self.dir));
        if let Err(error) = std::fs::remove_dir_all(socket_dir(self.settings, id))
            && error.kind() != std::io::ErrorKind::NotFound
        {
            errors.push(Error::io("remove", &socket_dir(self.settings, id))(error));
        }
        errors
    }

    /// Removes the container if it is to be removed, lets go of its lock, and tells the clients.
    fn farewell(self, remove: bool, event: &Event<'_>, clients: &[OwnedFd]) -> ExitCode {
        if remove {
            // What stays is seen by `ps` and can be removed again; there is nobody to tell.
            let _ = crate::rm::forget(
                self.settings,
                &self.containers,
                &self.record,
                &self.dir,
                crate::rm::Volumes::Remove,
            );
        }
        // Before the clients hear of it: their next command finds a container that nobody holds.
        drop(self.guard);
        let mut message = Vec::new();
        event.encode(&mut message);
        // Those who are slow to take it keep nobody else waiting.
        let slow =
            clients.iter().filter(|client| wire::put(client.as_fd(), &message, false) == Ok(false));
        for client in slow.collect::<Vec<_>>() {
            let _ = wire::put(client.as_fd(), &message, true);
        }
        ExitCode::SUCCESS
    }
}

/// Takes a process that the runtime has left to us, its nearest subreaper.
fn adopt(pid: i32) -> Result<(Pid, OwnedFd)> {
    let init = Pid::from_raw(pid)
        .ok_or(rustix::io::Errno::SRCH)
        .map_err(Error::system("find the container's init"))?;
    let pidfd = pidfd_open(init, PidfdFlags::empty())
        .map_err(Error::system("open the container's init"))?;
    Ok((init, pidfd))
}

/// Waits until a process has ended; `false` if that takes longer than `timeout`.
pub fn wait_for_exit(
    pidfd: &OwnedFd,
    timeout: Option<std::time::Duration>,
) -> std::result::Result<bool, rustix::io::Errno> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let deadline = timeout.map(|timeout| std::time::Instant::now() + timeout);
    loop {
        let left = deadline.map(|at| at.saturating_duration_since(std::time::Instant::now()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut [PollFd::new(pidfd, PollFlags::IN)], left.as_ref()) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}
