//! `nman exec`: a further process in a running container.
//!
//! The runtime starts it detached, with pipes or a terminal of ours, and leaves it to us as the nearest subreaper:
//! what the container gets are never the caller's own descriptors. With `-d`, a small process of ours stays as its
//! parent: a process that nobody collects keeps its pid namespace, and with it the container, from ending.

mod running;

pub use running::ids;

use crate::bundle::rootfs::Rootfs;
use crate::bundle::{change, console_size, every_capability, process_user};
use crate::cli::ExecArgs;
use crate::container::{Attachment, Containers, Dir, Record, Status};
use crate::create::look_up;
use crate::create::record::variables_of;
use crate::detach::DetachKeys;
use crate::error::{Error, Result};
use crate::event::emit_container;
use crate::monitor::stdio::{ConsoleSocket, Ends, pipes};
use crate::pending::create_new;
use crate::relay::{Left, relay};
use crate::rootless::scope;
use crate::runtime::{Launch, Runtime, Streams, null};
use crate::settings::Settings;
use crate::socket::socket_dir;
use crate::terminal::write_out;
use crate::{apparmor, bundle, oom_score, process, terminal};
use oci_spec::OciSpecError;
use oci_spec::runtime::Process;
use running::Running;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, getpid, set_child_subreaper, setsid, waitpid};
use rustix::stdio;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// The name under which `nman exec -d` runs again, as the parent of the command.
pub const REAPER: &str = "nman-reaper";

/// What the reaper says when the command runs, and whoever holds its terminal when it does.
const RUNNING: &[u8] = b"running";

/// `nman exec -d`: lets a process of its own do the work, and waits until the command runs.
///
/// What goes wrong before that is printed by that process; the exit code is passed on.
pub fn exec_in_background() -> Result<u8> {
    let mut reaper = Command::new("/proc/self/exe")
        .arg0(REAPER)
        .args(std::env::args_os().skip(1))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(Error::system("start the parent of the command"))?;
    let mut said = Vec::new();
    if let Some(mut stdout) = reaper.stdout.take() {
        let _ = stdout.read_to_end(&mut said);
    }
    if said == RUNNING {
        return Ok(0);
    }
    let status = reaper.wait().map_err(Error::system("wait for the parent of the command"))?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// Says that the command runs, lets go of everything of the caller's, and waits for the command; its exit code.
fn stay_as_parent(pid: i32) -> Result<u8> {
    let _ = setsid();
    write_out(stdio::stdout(), RUNNING)?;
    let null = null()?;
    let detach = || -> rustix::io::Result<()> {
        stdio::dup2_stdout(&null)?;
        stdio::dup2_stderr(&null)
    };
    detach().map_err(Error::system("let go of the terminal"))?;
    let ended = waitpid(Pid::from_raw(pid), WaitOptions::empty()).ok().flatten();
    let code = ended.and_then(|(_, status)| {
        let signal = status.terminating_signal().map(|signal| 128 + signal);
        status.exit_status().or(signal).and_then(|code| u8::try_from(code).ok())
    });
    Ok(code.unwrap_or(255))
}

/// Runs a command in a container; returns its exit code.
pub fn exec(settings: &Settings, args: &ExecArgs) -> Result<u8> {
    let (name, words) =
        args.words.split_first().ok_or_else(|| Error::Usage("no container".to_owned()))?;
    let dir = Containers::open(&settings.containers())?.find(name)?;
    let (record, state) = (dir.record()?, dir.state()?);
    let Some(init) = state.status.has_process().then(|| dir.init(&state)).flatten() else {
        let lost = dir.lost_processes(record.name.as_str());
        return Err(lost.unwrap_or_else(|| Error::WrongState {
            message: format!("container {} is not running", record.id),
            hint: Some(format!("start it with `nman start {}`", record.name)),
        }));
    };
    terminal::check(args.interactive, args.tty, args.detach)?;
    if state.status == Status::Paused {
        return Err(Error::WrongState {
            message: format!("container {name} is paused, unpause the container before exec"),
            hint: Some(format!("`nman unpause {name}`")),
        });
    }
    let keys = DetachKeys::find(args.detach_keys.as_deref())?;
    let process = plan(&dir, &init, args, words)?;
    let directory = socket_dir(settings, &record.id);
    let running = Running::begin(&directory)?;
    let files = Files::write(&directory, running.id(), &process)?;
    let command = words.join(" ");
    let tell = |action: &str, more: &[(&str, &str)]| {
        let all = [&[("execID", running.id())], more].concat();
        emit_container(settings, &record, action, &all);
    };
    let died = |code: u8| tell("exec_die", &[("exitCode", &code.to_string())]);
    tell(&format!("exec_create: {command}"), &[]);
    let runtime = Runtime::new(&record.runtime, settings);
    apparmor::provide(&record)?;
    scope::join(&record, init.id())?;
    set_child_subreaper(Some(getpid()))
        .map_err(Error::system("become the parent of the command"))?;
    if args.detach {
        let pid = files.start_detached(&runtime, &record, args)?;
        drop(files);
        tell(&format!("exec_start: {command}"), &[]);
        died(stay_as_parent(pid)?);
        return Ok(0);
    }
    let (pid, ends) = files.start(&runtime, &record, args)?;
    tell(&format!("exec_start: {command}"), &[]);
    match relay(pid, ends, args.interactive, keys)? {
        Left::Ended(code) => {
            died(code);
            Ok(code)
        }
        Left::Detached(terminal) => {
            drain_in_background(terminal)?;
            tell("exec_detach", &[]);
            crate::attach::left()
        }
    }
}

/// The name under which `nman` goes on holding a terminal that was detached from.
pub const DRAIN: &str = "nman-drain";

/// Leaves the terminal to a process of its own: a command whose terminal is closed is hung up on. Returns when that is in a session
/// of its own: with a client that leads one, all that is in the terminal's foreground is hung up on.
fn drain_in_background(terminal: OwnedFd) -> Result<()> {
    rustix::io::ioctl_fionbio(&terminal, false).map_err(Error::system("keep the terminal"))?;
    let mut drain = Command::new("/proc/self/exe")
        .arg0(DRAIN)
        .stdin(terminal)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .current_dir("/")
        .spawn()
        .map_err(Error::system("keep the terminal"))?;
    let mut said = Vec::new();
    if let Some(mut stdout) = drain.stdout.take() {
        let _ = stdout.read_to_end(&mut said);
    }
    match said == RUNNING {
        true => Ok(()),
        false => Err(Error::system("keep the terminal")(Errno::IO)),
    }
}

/// The whole life of that process: reads until nobody writes there any more.
#[must_use]
pub fn drain() -> ExitCode {
    let _ = setsid();
    let _ = write_out(stdio::stdout(), RUNNING);
    if null().and_then(|null| stdio::dup2_stdout(&null).map_err(Error::system("let go"))).is_err() {
        return ExitCode::FAILURE;
    }
    let mut buffer = [0; 4096];
    while let Ok(1..) | Err(Errno::INTR) = rustix::io::read(stdio::stdin(), &mut buffer) {}
    ExitCode::SUCCESS
}

/// The container's own process with another command: its capabilities and limits hold here too.
fn plan(dir: &Dir, init: &process::Process, args: &ExecArgs, words: &[String]) -> Result<Process> {
    let spec = bundle::read(dir)?;
    let mut process = spec.process().clone().unwrap_or_default();
    let mut env: Vec<(String, String)> = process.env().iter().flatten().map(|v| split(v)).collect();
    if let Some(user) = &args.user {
        let root = init
            .open_file("root", OFlags::PATH | OFlags::DIRECTORY)
            .map_err(Error::system("open the container's root"))?;
        let rootfs = Rootfs::at(root, &PathBuf::from(format!("/proc/{}/root", init.id())));
        let identity = look_up(user, &rootfs)?;
        change(&mut env, &[("HOME".to_owned(), Some(identity.home.clone()))]);
        process.set_user(process_user(&identity).map_err(|error| unplanned(&error))?);
    }
    if args.tty {
        change(&mut env, &[("TERM".to_owned(), Some("xterm".to_owned()))]);
    }
    for path in &args.env_file {
        change(&mut env, &variables_of(path)?);
    }
    change(&mut env, &args.env);
    oom_score::adapt_process(&mut process);
    process.set_env(Some(env.into_iter().map(|(name, value)| format!("{name}={value}")).collect()));
    if let Some(directory) = &args.workdir {
        if !directory.starts_with('/') {
            return Err(Error::Process(format!(
                "the working directory '{directory}' is invalid, it needs to be an absolute path"
            )));
        }
        process.set_cwd(directory.into());
    }
    if args.privileged {
        process.set_capabilities(Some(every_capability()));
    }
    process.set_args(Some(words.to_vec()));
    process.set_terminal(Some(args.tty));
    let window = terminal::size().filter(|_| args.tty);
    let size = window.map(|(rows, columns)| console_size(rows, columns)).transpose();
    process.set_console_size(size.map_err(|error| unplanned(&error))?);
    Ok(process)
}

fn split(variable: &str) -> (String, String) {
    let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
    (name.to_owned(), value.to_owned())
}

fn unplanned(error: &OciSpecError) -> Error {
    Error::Rejected { message: format!("cannot plan the command: {error}"), hint: None }
}

/// The files by which we and the runtime talk about one command. Gone when this is dropped.
struct Files {
    process: PathBuf,
    log: PathBuf,
    pid: PathBuf,
    console: PathBuf,
}

impl Files {
    /// Not on the disk of the containers: one that has filled it can be entered all the same.
    fn write(directory: &Path, id: &str, process: &Process) -> Result<Self> {
        let [file, log, pid] = running::files(directory, id);
        let text = serde_json::to_vec(process)
            .map_err(|source| Error::Damaged { path: file.clone(), source })?;
        create_new(&file, &text).map_err(Error::io("write", &file))?;
        Ok(Self { process: file, log, pid, console: directory.join(running::tag(id)) })
    }

    fn start(&self, runtime: &Runtime, record: &Record, args: &ExecArgs) -> Result<(i32, Ends)> {
        if args.tty {
            let console = ConsoleSocket::listen(self.console.clone())?;
            let pid = self.launch(runtime, record, Some(&console), Streams::null()?)?;
            return Ok((pid, console.receive()?));
        }
        let attachment = Attachment { stdin: args.interactive, ..Attachment::default() };
        let (streams, ends) = pipes(attachment)?;
        Ok((self.launch(runtime, record, None, streams)?, ends))
    }

    /// Nobody is at its stdio; its terminal, if it has one, is held for as long as somebody writes there.
    fn start_detached(&self, runtime: &Runtime, record: &Record, args: &ExecArgs) -> Result<i32> {
        if !args.tty {
            return self.launch(runtime, record, None, Streams::null()?);
        }
        let (pid, ends) = self.start(runtime, record, args)?;
        ends.outputs.into_iter().try_for_each(|(terminal, _)| drain_in_background(terminal))?;
        Ok(pid)
    }

    fn launch(
        &self,
        runtime: &Runtime,
        record: &Record,
        console: Option<&ConsoleSocket>,
        streams: Streams,
    ) -> Result<i32> {
        let launch = Launch {
            log: &self.log,
            pid_file: &self.pid,
            console: console.map(ConsoleSocket::path),
            streams,
        };
        runtime.exec(&record.id, &self.process, launch)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        for path in [&self.process, &self.log, &self.pid] {
            let _ = std::fs::remove_file(path);
        }
    }
}
