//! One small process per container: it calls the runtime, holds the container's stdio, writes its log and its exit
//! code, serves attached clients, and cleans up when the container has ended.
//!
//! It is `nman` itself, executed again under the name in [`MONITOR`], and is told everything by the container's
//! directory. It holds the container's lock for as long as it lives, and lives in the mount namespace in which the
//! root file system was mounted, so that a kill -9 leaves neither a lock nor a mount. It prints nothing.

pub mod fault;
pub mod log;
pub mod oom;
pub mod probe;
pub mod pump;
pub mod restart;
pub mod stdio;
mod uses;

use crate::apparmor;
use crate::clock::Timestamp;
use crate::container::{
    ContainerId, Containers, Dir, Guard, Mark, Record, RestartPolicy, State, Status,
};
use crate::error::{Error, Result};
use crate::forget::{Volumes, forget};
use crate::forward::Forwarder;
use crate::journal::Writer;
use crate::process::{self, MONITOR};
use crate::rootless::scope;
use crate::runtime::{Launch, Runtime, Streams};
use crate::settings::Settings;
use crate::socket::{listen_at, socket_dir};
use crate::source::Source;
use crate::volume::place;
use crate::wire::{self, Event};
use log::Log;
use oom::OomWatch;
use probe::Prober;
use pump::{Ended, Hold, Idle, Parts, Pump};
use restart::{End, Restarter};
use rustix::net::SocketType;
use rustix::process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, set_child_subreaper, setsid};
use std::ffi::OsString;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitCode};
use std::time::{Duration, Instant};
use stdio::{ConsoleSocket, Ends};
use sys::signals::{Mask, SignalFd};

/// The monitor's argument for a container that is new: if it cannot be started, nothing of it is kept.
const FIRST: &str = "first";
/// The same for one that has run before.
const AGAIN: &str = "again";

/// Further arguments: to keep the runtime's messages, and that the container is a user's.
const DEBUG: &str = "debug";
const OF_USER: &str = "user";

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

/// How long clients that do not read are waited for when they are to be told of the end.
const FOR_LAST_WORD: Duration = Duration::from_secs(1);

/// What the monitor passes on to the container when it is sent to the monitor.
const FORWARDED: [Signal; 3] = [Signal::TERM, Signal::INT, Signal::HUP];

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
    command.arg0(MONITOR).arg(&settings.root).arg(&settings.state).arg(id.as_str());
    command.arg(if first { FIRST } else { AGAIN });
    let words = [(settings.debug, DEBUG), (settings.rootless, OF_USER)];
    command.args(words.iter().filter(|(is_given, _)| *is_given).map(|(_, word)| word));
    command.stdin(theirs).stdout(guard.into_fd()).stderr(messages).current_dir("/");
    let child = command.spawn().map_err(Error::system("start the container's monitor"))?;
    Ok(Link { socket: ours, child: Some(child) })
}

/// The monitor's whole life. `args` are those after the name.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.collect();
    let [root, state, id, purpose, words @ ..] = args.as_slice() else {
        return ExitCode::from(125);
    };
    let Some(id) = id.to_str().and_then(ContainerId::parse) else { return ExitCode::from(125) };
    let settings = Settings {
        root: root.into(),
        state: state.into(),
        runtime: None,
        debug: words.iter().any(|word| word == DEBUG),
        rootless: words.iter().any(|word| word == OF_USER),
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
    /// Whoever has started us, until it is attached.
    client: Option<OwnedFd>,
    /// How often the policy has started the container again.
    restarts: u32,
    /// Whether the kernel has killed a process of it in this life.
    oom_killed: bool,
}

/// What a monitor keeps from one life of its container to the next.
struct Post {
    signals: SignalFd,
    listener: OwnedFd,
    log: Log,
    /// What is watched for as long as the monitor lives.
    sources: Vec<Box<dyn Source>>,
}

impl Post {
    /// Closes what is watched: a published port is free before anybody hears that the container has ended. Returns why the log is not
    /// complete, if it is not.
    fn leave(&mut self) -> Option<String> {
        self.sources.drain(..).for_each(Source::leave);
        self.log.finish()
    }
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
        let client = Some(client_copy);
        Ok(Self {
            settings,
            containers,
            dir,
            record,
            runtime,
            guard,
            first,
            client,
            restarts: 0,
            oom_killed: false,
        })
    }

    fn run(mut self) -> ExitCode {
        // It has a session and a terminal of its own, or none: not those of whoever typed `nman run`.
        let _ = setsid();
        let _ = set_child_subreaper(Some(getpid()));
        let mask = Mask::of(&[Signal::CHILD, FORWARDED[0], FORWARDED[1], FORWARDED[2]]);
        sys::signals::set_mask(&mask);
        uses::tell_begin(self.settings, &self.record, &self.dir);
        let mut post = match self.take_place().and_then(|()| self.take_post(&mask)) {
            Ok(post) => post,
            Err(error) => return self.give_up(&error),
        };
        let mut restarter = Restarter::default();
        let mut code = 0;
        loop {
            let mut ended = match self.rejoin().and_then(|()| self.live(&mut post)) {
                Ok(Some(ended)) => ended,
                Ok(None) => {
                    let fault = post.leave();
                    return self.conclude_rest(code, fault);
                }
                Err(error) if self.restarts == 0 => {
                    post.leave();
                    return self.give_up(&error);
                }
                // It may be about to be started, too.
                Err(error @ Error::WrongState { .. }) => self.failed_again(&error),
                Err(error) => {
                    let mut ended = self.failed_again(&error);
                    ended.log_failed = post.leave();
                    return self.conclude(ended);
                }
            };
            let policy = self.read_again();
            let by_hand = self.dir.has(Mark::Stopped);
            let end = End { code: ended.code, ran: ended.ran, by_hand };
            let Some(delay) = restarter.after(policy, end) else {
                ended.log_failed = post.leave();
                return self.conclude(ended);
            };
            code = ended.code;
            if !self.rest(&mut post, ended, delay) {
                let fault = post.leave();
                return self.conclude_rest(code, fault);
            }
        }
    }

    /// Reads the record anew: the container may have another name and another policy than when it was started.
    fn read_again(&mut self) -> RestartPolicy {
        let Ok(record) = self.dir.record() else { return RestartPolicy::No };
        self.record = record;
        self.record.supervision.restart
    }

    /// Joins the namespaces of another container again, before each life but the first: for that, whoever has started us has done so.
    ///
    /// # Errors
    /// [`Error::WrongState`] if that container does not run; it is gone, or cannot be joined.
    fn rejoin(&self) -> Result<()> {
        match self.restarts {
            0 => Ok(()),
            _ => place::join_again(self.settings, &self.record, &self.dir),
        }
    }

    /// Goes where the container's cgroup is to be made, if that takes being there.
    fn take_place(&self) -> Result<()> {
        scope::enter(&self.record, crate::connection::carried_by(&self.dir))
    }

    /// What stays the same from one life of the container to the next.
    fn take_post(&self, mask: &Mask) -> Result<Post> {
        let sockets = socket_dir(self.settings, &self.record.id);
        crate::container::make_private(&sockets)?;
        let log_path = self.dir.log();
        let config = &self.record.supervision.log;
        let attributes = crate::supervise::log::attributes(&self.record);
        // Before anything in the container can ask it; it goes on while the container is started again.
        let network = crate::connection::source(self.settings, &self.record, &self.dir)?;
        Ok(Post {
            signals: SignalFd::new(mask).map_err(Error::system("watch signals"))?,
            listener: listen_at(&sockets.join("attach"), SocketType::SEQPACKET)?,
            log: Log::new(
                Writer::open(&log_path, config, &attributes)
                    .map_err(Error::io("open", &log_path))?
                    .and_to(Forwarder::open(&self.record)?),
                self.dir.clone(),
            ),
            sources: network.into_iter().collect(),
        })
    }

    /// From the first call of the runtime to the end of the container's init. `None` when somebody has stopped the container before it
    /// began once more.
    fn live(&mut self, post: &mut Post) -> Result<Option<Ended>> {
        let rested = (self.restarts > 0).then(|| self.last_state());
        // What `update` changes meanwhile would be written down, and not hold.
        let changes = self.dir.lock_changes()?;
        let (pid, ends) = self.create()?;
        let (init, pidfd) = adopt(pid)?;
        let mut state = State::created();
        state.pid = Some(pid);
        state.born = process::birth(pid);
        set_monitor(&mut state);
        state.status = Status::Running;
        state.started = Some(Timestamp::now());
        state.supervised.restart_count = self.restarts;
        self.dir.set_state(&state)?;
        drop(changes);
        // Whoever sets the mark looks at the state after that. Either he finds that it runs, and has it ended, or he is seen here: what
        // he has sent us for having found it at rest nobody reads.
        if let Some(rested) = rested.filter(|_| self.dir.has(Mark::Stopped)) {
            self.restarts -= 1;
            self.dir.set_state(&rested)?;
            return Ok(None);
        }
        let mut oom = OomWatch::new(self.settings, &self.record, pid);
        // Whoever hears that it runs is not to find what was found out in its last life.
        let mut prober = Prober::new(self.settings, &self.record, &self.dir, &self.runtime, pid);
        let begun = Instant::now();
        let has_begun = self.begin(&pidfd)?;
        // It has run: whatever fails from here on, its layer and its volumes are somebody's.
        self.first = false;
        let Post { signals, listener, log, sources } = post;
        log.begin_life();
        let mut pump = Pump::new(Parts { ends, listener, signals, init, pidfd, log, begun });
        if let Some(client) = self.client.take() {
            welcome(&mut pump, client, &self.record);
        }
        let mut sources: Vec<&mut dyn Source> =
            sources.iter_mut().map(|source| &mut **source as &mut dyn Source).collect();
        sources.extend(prober.as_mut().map(|prober| prober as &mut dyn Source));
        sources.extend(oom.as_mut().map(|oom| oom as &mut dyn Source));
        let mut ended = pump.run(&mut sources).map_err(Error::system("wait for the container"))?;
        if !has_begun {
            // A runtime's own process makes of a signal what it likes: runc's ends with 2.
            ended.code = State::KILLED_CODE;
        }
        self.oom_killed = oom.is_some_and(|mut oom| oom.look());
        if let Some(prober) = prober {
            prober.finish();
        }
        Ok(Some(ended))
    }

    /// Has the container's program started; false if it was stopped before that.
    fn begin(&self, pidfd: &OwnedFd) -> Result<bool> {
        let started = self.runtime.start(&self.record.id);
        // Whoever stops it may come before its program: it has ended as he wanted then, and with what is found out as ever.
        let is_stopped = self.dir.has(Mark::Stopped) && pump::is_readable(pidfd.as_fd());
        let has_begun = match started {
            Err(_) if is_stopped => false,
            started => started.map(|()| true)?,
        };
        let _ = self.containers.finished(&self.record.id);
        crate::event::emit_container(self.settings, &self.record, "start", &[]);
        Ok(has_begun)
    }

    fn create(&mut self) -> Result<(i32, Ends)> {
        if self.restarts > 0 {
            // Before its first life whoever made the container has seen to that, and says more if it fails. What is to be said of it
            // was said then.
            let _ = apparmor::provide_again(&self.containers, &self.dir, &mut self.record)?;
        }
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

    /// Between two lives: what is left of the one is removed, its clients are told, and the next is waited for. The
    /// root file system stays mounted and the network connected, with the same address.
    ///
    /// Whether the next one begins: false when somebody has stopped the container meanwhile.
    fn rest(&mut self, post: &mut Post, ended: Ended, delay: Duration) -> bool {
        let deadline = Instant::now() + delay;
        let left: Vec<Error> = self.runtime.delete(&self.record.id).err().into_iter().collect();
        self.restarts += 1;
        let mut state = self.ended_state(&ended, Status::Restarting);
        set_monitor(&mut state);
        state.error = ended.faults(&left);
        let _ = self.dir.set_state(&state);
        self.tell_died(&ended);
        tell(&ended.clients, &Event::Restarting(ended.code));
        drop(ended);
        // Looked at after the state is written: whoever sets the mark later finds that state, and wakes us.
        while !self.dir.has(Mark::Stopped) {
            match pump::idle(&post.signals, &mut post.sources, &mut post.log, deadline) {
                // Whoever has set the mark may not have known whom to wake.
                Ok(Idle::Due) if !self.dir.has(Mark::Stopped) => return true,
                Ok(Idle::Woken) => {}
                Ok(Idle::Due | Idle::Asked) | Err(_) => break,
            }
        }
        self.restarts -= 1;
        false
    }

    /// The runtime refused to start it again.
    fn failed_again(&self, error: &Error) -> Ended {
        let mut state = self.dir.state().unwrap_or_else(|_| State::created());
        let failure = Some(error.to_string());
        state.error.clone_from(&failure);
        let _ = self.dir.set_state(&state);
        Ended {
            code: error.exit_code(),
            ran: Duration::ZERO,
            clients: Vec::new(),
            failure,
            log_failed: None,
        }
    }

    /// What is written down, without the processes that have ended.
    fn last_state(&self) -> State {
        self.dir.state().unwrap_or_else(|_| State::created()).without_processes()
    }

    /// What is written down about a container that has just ended.
    fn ended_state(&self, ended: &Ended, status: Status) -> State {
        let mut state = self.last_state();
        let _ = self.dir.clear(Mark::Paused);
        state.status = status;
        state.finished = Some(Timestamp::now());
        state.exit_code = Some(ended.code);
        state.supervised.restart_count = self.restarts;
        state.supervised.oom_killed = self.oom_killed;
        state
    }

    fn tell_died(&self, ended: &Ended) {
        // Whole seconds, as in Docker.
        let (ran, code) = (ended.ran.as_secs().to_string(), ended.code.to_string());
        let attributes = [("execDuration", ran.as_str()), ("exitCode", &code)];
        crate::event::emit_container(self.settings, &self.record, "die", &attributes);
    }

    /// The container has ended: write it down, clean up, tell those who are attached.
    fn conclude(self, mut ended: Ended) -> ExitCode {
        let errors = self.clean_up();
        let mut state = self.ended_state(&ended, Status::Exited);
        state.error = ended.faults(&errors).or(state.error);
        let _ = self.dir.set_state(&state);
        self.tell_died(&ended);
        let clients = std::mem::take(&mut ended.clients);
        // A build looks at what a step has changed, if it is still there.
        let is_orphan = self.record.build.is_some() && clients.is_empty();
        let remove = self.record.remove && (is_orphan || !self.dir.has(Mark::Kept));
        self.farewell(remove, &Event::Exited(ended.code), &clients)
    }

    /// It was stopped between two lives: when it ended, and with what, has been written down and told.
    fn conclude_rest(self, code: u8, log_failed: Option<String>) -> ExitCode {
        let errors = self.clean_up();
        let mut state = self.last_state();
        state.status = Status::Exited;
        state.supervised.restart_count = self.restarts;
        let known = state.error.into_iter().chain(log_failed);
        state.error = fault::all(known.chain(errors.iter().map(ToString::to_string)));
        let _ = self.dir.set_state(&state);
        let remove = self.record.remove;
        self.farewell(remove, &Event::Exited(code), &[])
    }

    /// It could not be started: undo everything, and say why.
    fn give_up(mut self, error: &Error) -> ExitCode {
        // Hidden in what is to be removed anyway, or in the way of the next start.
        let _ = self.clean_up();
        let code = error.exit_code();
        if !self.first
            && let Ok(mut state) = self.dir.state()
        {
            let ran = state.started.is_some();
            state.status = if ran { Status::Exited } else { Status::Created };
            state.exit_code = Some(code);
            state.error = Some(error.to_string());
            let _ = self.dir.set_state(&state.without_processes());
        }
        let remove = self.first || self.record.remove;
        let clients: Vec<OwnedFd> = self.client.take().into_iter().collect();
        self.farewell(remove, &Event::Failed(code, &error.to_string()), &clients);
        ExitCode::from(code)
    }

    /// Takes down what the container has while it runs. Goes on after an error.
    fn clean_up(&self) -> Vec<Error> {
        let id = &self.record.id;
        // The kernel takes some milliseconds to forget what a published port was, and keeps us until it has: it begins with that.
        let mut errors = crate::connection::disconnect(self.settings, &self.record, &self.dir);
        errors.extend(self.runtime.delete(id).err());
        errors.extend(crate::assemble::unmount(&self.record, &self.dir));
        uses::tell_end(self.settings, &self.record, &self.dir);
        if let Err(error) = std::fs::remove_dir_all(socket_dir(self.settings, id))
            && error.kind() != std::io::ErrorKind::NotFound
        {
            errors.push(Error::io("remove", &socket_dir(self.settings, id))(error));
        }
        errors
    }

    /// Removes the container if it is to be removed, lets go of its lock, and tells the clients.
    fn farewell(self, remove: bool, event: &Event<'_>, clients: &[OwnedFd]) -> ExitCode {
        if remove && let Err(error) = self.forget() {
            // There is nobody to tell: what stays is seen by `ps`, says why, and can be removed again.
            let mut state = self.dir.state().unwrap_or_else(|_| State::created());
            state.error = Some(format!("it was to be removed: {error}"));
            let _ = self.dir.set_state(&state);
        }
        // Before the clients hear of it: their next command finds a container that nobody holds.
        drop(self.guard);
        tell(clients, event);
        ExitCode::SUCCESS
    }

    fn forget(&self) -> Result<()> {
        let Self { settings, containers, record, .. } = self;
        forget(settings, containers, record, Volumes::Remove)
    }
}

/// Writes down who looks after the container, and when.
fn set_monitor(state: &mut State) {
    let own = getpid().as_raw_nonzero().get();
    (state.monitor, state.monitor_born) = (Some(own), process::birth(own));
    state.boot = process::boot().map(str::to_owned);
}

/// Tells whoever has started the container that it runs, and attaches him.
fn welcome(pump: &mut Pump<'_>, client: OwnedFd, record: &Record) {
    let mut message = Vec::new();
    Event::Started.encode(&mut message);
    if wire::put(client.as_fd(), &message, true).is_ok() {
        let hold = match (&record.build, record.attachment.stdin_once) {
            (Some(_), _) => Hold::Life,
            (None, true) => Hold::Stdin,
            (None, false) => Hold::Nothing,
        };
        pump.attach(client, hold);
    } else if record.build.is_some() {
        pump.end();
    }
}

/// Sends every client one message.
fn tell(clients: &[OwnedFd], event: &Event<'_>) {
    let mut message = Vec::new();
    event.encode(&mut message);
    // Those who are slow to take it keep nobody else waiting, and us not for long.
    let slow =
        clients.iter().filter(|client| wire::put(client.as_fd(), &message, false) == Ok(false));
    let slow: Vec<_> = slow.collect();
    let deadline = Instant::now() + FOR_LAST_WORD;
    for client in slow {
        let _ = wire::put_until(client.as_fd(), &message, deadline);
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
