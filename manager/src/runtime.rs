//! Calling an OCI runtime's program: the only thing that is known about it is its command line (invariant I6).
//!
//! The calls are those of containerd's shim and of conmon. A runtime's error is taken from its JSON log, because its
//! stderr may be the container's.

use crate::container::ContainerId;
use crate::error::{Error, Failure, Result};
use crate::program::find_program;
use crate::settings::Settings;
use oci_spec::runtime::LinuxResources;
use serde::Deserialize;
use std::ffi::OsStr;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use sys::exec::is_program;

/// The default runtime's name.
const DEFAULT: &str = "nrun";

/// As much of a runtime's log or stderr as is ever read.
const LONGEST_MESSAGE: u64 = 64 * 1024;

/// A runtime and where it keeps its state.
#[derive(Clone, Debug)]
pub struct Runtime {
    path: PathBuf,
    root: PathBuf,
    debug: bool,
}

/// The three standard streams of a process that a runtime makes.
#[derive(Debug)]
pub struct Streams {
    /// fd 0
    pub stdin: OwnedFd,
    /// fd 1
    pub stdout: OwnedFd,
    /// fd 2
    pub stderr: OwnedFd,
}

impl Streams {
    /// /dev/null three times: for a process whose streams are a terminal that comes by the console socket.
    pub fn null() -> Result<Self> {
        Ok(Self { stdin: null()?, stdout: null()?, stderr: null()? })
    }
}

/// Opens /dev/null.
pub fn null() -> Result<OwnedFd> {
    let path = Path::new("/dev/null");
    let file = fs::OpenOptions::new().read(true).write(true).open(path);
    file.map(OwnedFd::from).map_err(Error::io("open", path))
}

/// What the runtime is told about a process's stdio and pid.
#[derive(Debug)]
pub struct Launch<'a> {
    /// Where the runtime writes what it has to say; removed afterwards.
    pub log: &'a Path,
    /// Where the runtime writes the process id; removed afterwards.
    pub pid_file: &'a Path,
    /// The socket that takes the terminal's master end, if there is to be a terminal.
    pub console: Option<&'a Path>,
    /// The streams.
    pub streams: Streams,
}

impl Runtime {
    /// A runtime by its executable.
    #[must_use]
    pub fn new(path: &Path, settings: &Settings) -> Self {
        Self { path: path.to_owned(), root: settings.runtime_root(), debug: settings.debug }
    }

    /// Finds the executable: a path as it is; a name beside our own executable, then in PATH.
    pub fn find(wanted: Option<&str>) -> Result<PathBuf> {
        let wanted = wanted.unwrap_or(DEFAULT);
        let missing = || Error::NoRuntime(wanted.to_owned());
        if wanted.contains('/') {
            return fs::canonicalize(wanted).map_err(|_| missing());
        }
        let own = std::env::current_exe().ok();
        let beside = own.map(|own| own.with_file_name(wanted)).filter(|path| is_program(path));
        let found = beside.or_else(|| find_program(wanted));
        found.and_then(|found| fs::canonicalize(found).ok()).ok_or_else(missing)
    }

    /// The runtime's name, for messages.
    #[must_use]
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.arg("--root").arg(&self.root).stdin(Stdio::null()).stdout(Stdio::null());
        // A runtime with it waits until the container says that it is ready. Whoever waits for us, as the unit of a service may, does
        // not wait for that.
        command.env_remove("NOTIFY_SOCKET");
        command
    }

    fn logged(&self, log: &Path) -> Command {
        let mut command = self.command();
        command.arg("--log").arg(log).args(["--log-format", "json"]);
        if self.debug {
            command.arg("--debug");
        }
        command
    }

    /// Makes the container of `bundle` up to, but not including, its program. Returns the pid of its init.
    pub fn create(&self, id: &ContainerId, bundle: &Path, launch: Launch<'_>) -> Result<i32> {
        let mut command = self.logged(launch.log);
        command.arg("create").arg("--bundle").arg(bundle);
        self.launch(command, "create", launch, id)
    }

    /// Starts a further process in the container, detached. Returns its pid.
    pub fn exec(&self, id: &ContainerId, process: &Path, launch: Launch<'_>) -> Result<i32> {
        let mut command = self.logged(launch.log);
        command.args(["exec", "--detach", "--process"]).arg(process);
        self.launch(command, "exec", launch, id)
    }

    /// A further process in the container, as a child that ends when it ends, with its exit code; not started yet.
    #[must_use]
    pub fn foreground_exec(&self, id: &ContainerId, process: &Path, pid_file: &Path) -> Command {
        let mut command = self.command();
        command.arg("exec").arg("--process").arg(process).arg("--pid-file").arg(pid_file);
        command.arg(id.as_str());
        command
    }

    fn launch(
        &self,
        mut command: Command,
        what: &str,
        launch: Launch<'_>,
        id: &ContainerId,
    ) -> Result<i32> {
        command.arg("--pid-file").arg(launch.pid_file);
        if let Some(socket) = launch.console {
            command.arg("--console-socket").arg(socket);
        }
        command.arg(id.as_str());
        let Streams { stdin, stdout, stderr } = launch.streams;
        command.stdin(stdin).stdout(stdout).stderr(stderr);
        let status = command.status().map_err(Error::io("run", &self.path))?;
        // The command still holds the streams: the container must be the only one that does.
        drop(command);
        let said = if status.success() { None } else { last_error(launch.log) };
        if !self.debug {
            let _ = fs::remove_file(launch.log);
        }
        let pid = fs::read_to_string(launch.pid_file);
        let _ = fs::remove_file(launch.pid_file);
        if !status.success() {
            let said = said.unwrap_or_else(|| unsaid(status, launch.log));
            return Err(self.failure(what, said).into());
        }
        pid.ok()
            .and_then(|pid| pid.trim().parse().ok())
            .ok_or_else(|| self.failure(what, "it wrote no process id".to_owned()).into())
    }

    /// Lets a created container run its program.
    pub fn start(&self, id: &ContainerId) -> Result<()> {
        self.call("start", &[OsStr::new(id.as_str())])
    }

    /// Sends a signal to the container's init.
    pub fn kill(&self, id: &ContainerId, signal: i32) -> Result<()> {
        self.call("kill", &[OsStr::new(id.as_str()), OsStr::new(&signal.to_string())])
    }

    /// Freezes every process of the container.
    pub fn pause(&self, id: &ContainerId) -> Result<()> {
        self.call("pause", &[OsStr::new(id.as_str())])
    }

    /// Lets them go on.
    pub fn resume(&self, id: &ContainerId) -> Result<()> {
        self.call("resume", &[OsStr::new(id.as_str())])
    }

    /// Kills and removes what is left of the container. That nothing is left is a success.
    pub fn delete(&self, id: &ContainerId) -> Result<()> {
        self.call("delete", &[OsStr::new("--force"), OsStr::new(id.as_str())])
    }

    /// Changes the limits of a container that is there.
    pub fn update(&self, id: &ContainerId, resources: &LinuxResources) -> Result<()> {
        let text = serde_json::to_vec(resources).map_err(|source| Error::Damaged {
            path: "the limits of the container".into(),
            source,
        })?;
        let mut child = self
            .command()
            .args(["update", "--resources", "-"])
            .arg(id.as_str())
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(Error::io("run", &self.path))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A runtime that does not read to the end has failed, and says why.
            let _ = stdin.write_all(&text);
        }
        self.finish("update", child)
    }

    /// The first line of `--version`.
    pub fn version(&self) -> Result<String> {
        let output = Command::new(&self.path)
            .arg("--version")
            .stdin(Stdio::null())
            .output()
            .map_err(Error::io("run", &self.path))?;
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(text.lines().next().unwrap_or_default().to_owned())
    }

    /// A call whose stderr is the runtime's own.
    fn call(&self, what: &str, args: &[&OsStr]) -> Result<()> {
        let child = self
            .command()
            .arg(what)
            .args(args)
            .stderr(Stdio::piped())
            .spawn()
            .map_err(Error::io("run", &self.path))?;
        self.finish(what, child)
    }

    /// Waits for a call, and takes its last words if it failed.
    fn finish(&self, what: &str, mut child: Child) -> Result<()> {
        let mut said = Vec::new();
        if let Some(stderr) = child.stderr.take() {
            // Bounded: a runtime that never stops talking gets SIGPIPE, not our memory.
            let _ = stderr.take(LONGEST_MESSAGE).read_to_end(&mut said);
        }
        let status = child.wait().map_err(Error::io("run", &self.path))?;
        if status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&said);
        let message = match message_of(&self.name(), &said) {
            Some(message) => message,
            None => status.to_string(),
        };
        Err(self.failure(what, message).into())
    }

    fn failure(&self, command: &str, message: String) -> Failure {
        Failure { runtime: self.name(), command: command.to_owned(), message }
    }
}

#[derive(Deserialize)]
struct LogLine {
    level: String,
    msg: String,
}

/// The message of the last line of level `error` in a runtime's JSON log.
fn last_error(log: &Path) -> Option<String> {
    let mut text = Vec::new();
    fs::File::open(log).ok()?.take(LONGEST_MESSAGE).read_to_end(&mut text).ok()?;
    text.split(|&byte| byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<LogLine>(line).ok())
        .rfind(|line| line.level == "error")
        .map(|line| one_line(&line.msg))
}

/// What is said in the place of a runtime that left nothing in its log. On a full disk it could not.
fn unsaid(status: ExitStatus, log: &Path) -> String {
    let room = log.parent().and_then(|directory| rustix::fs::statvfs(directory).ok());
    match room {
        Some(room) if is_full(room.f_bavail, room.f_frsize) => {
            let log = log.display();
            format!("{status}, and it could not write why to `{log}`: no space left on device")
        }
        _ => status.to_string(),
    }
}

/// Whether a disk with so many free blocks of this size had none for a message: what a runtime that has failed had written before, it
/// has removed by now.
fn is_full(blocks: u64, size: u64) -> bool {
    const LEAST: u64 = 64 * 1024;
    blocks.saturating_mul(size) < LEAST
}

/// The message in the stderr of the runtime `name`: its last line, without the prefixes of runc's logger or with the hint of ours, which
/// stands below it.
fn message_of(name: &str, stderr: &str) -> Option<String> {
    let mut lines = stderr.lines().rev().filter(|line| !line.trim().is_empty());
    let last = lines.next()?;
    let (line, hint) = match last.strip_prefix("hint: ") {
        Some(hint) => (lines.next().unwrap_or_default(), Some(hint)),
        None => (last, None),
    };
    let quoted = line.split_once("level=error msg=").map(|(_, message)| message);
    let message = match quoted {
        Some(message) => serde_json::from_str(message).unwrap_or_else(|_| message.to_owned()),
        None => line.strip_prefix(&format!("{name}: ")).unwrap_or(line).to_owned(),
    };
    let hint = hint.map_or_else(String::new, |hint| format!(" (hint: {hint})"));
    Some((one_line(&message) + &hint).trim_start().to_owned())
}

fn one_line(message: &str) -> String {
    message.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(message: &str) -> Failure {
        Failure { runtime: "runc".into(), command: "create".into(), message: message.into() }
    }

    #[test]
    fn a_runtime_is_not_told_of_a_service_manager_that_waits_for_us() {
        let root = Path::new("/x").to_owned();
        let command = Runtime { path: "/bin/true".into(), root, debug: false }.command();
        assert!(command.get_envs().any(|variable| variable == (OsStr::new("NOTIFY_SOCKET"), None)));
    }

    #[test]
    fn a_runtimes_words_decide_between_125_126_and_127() {
        for (message, code) in [
            ("exec: \"x\": executable file not found in $PATH", 127),
            ("stat /x: no such file or directory", 127),
            ("exec: \"/etc\": permission denied", 126),
            ("exec /etc: is a directory", 126),
            ("Executable File Not Found", 125),
            ("invalid argument", 125),
        ] {
            assert_eq!(failure(message).exit_code(), code, "{message}");
        }
    }

    #[test]
    fn the_last_error_of_the_log_is_what_the_runtime_said() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        fs::write(
            &log,
            "{\"level\":\"error\",\"msg\":\"first\",\"time\":\"t\"}\nnot json\n\
             {\"level\":\"error\",\"msg\":\"second\\n line\",\"time\":\"t\"}\n\
             {\"level\":\"warning\",\"msg\":\"third\",\"time\":\"t\"}\n",
        )
        .unwrap();
        assert_eq!(last_error(&log).as_deref(), Some("second: line"));
        assert_eq!(last_error(&dir.path().join("none")), None);
    }

    #[test]
    fn runcs_logger_is_stripped_from_its_stderr() {
        let text = "time=\"2024\" level=error msg=\"container does not exist\"\n";
        assert_eq!(message_of("runc", text).as_deref(), Some("container does not exist"));
        assert_eq!(message_of("nrun", "nrun: gone\n").as_deref(), Some("gone"));
        assert_eq!(message_of("nrun", "\n"), None);
    }

    #[test]
    fn a_hint_below_an_error_does_not_take_its_place() {
        let text = "nrun: warning: odd\nnrun: exec: \"x\": no such file or directory\n\nhint: look at `x`\n";
        let said = message_of("nrun", text).unwrap();
        assert_eq!(said, "exec: \"x\": no such file or directory (hint: look at `x`)");
        assert_eq!(failure(&said).exit_code(), 127);
        assert_eq!(message_of("nrun", "hint: alone").as_deref(), Some("(hint: alone)"));
    }

    #[test]
    fn a_disk_is_full_also_when_a_runtime_that_failed_has_made_some_room() {
        assert!(is_full(0, 4096) && is_full(6, 4096));
        assert!(!is_full(16, 4096) && !is_full(u64::MAX, 4096));
    }

    #[test]
    fn an_unknown_runtime_is_named() {
        let error = Runtime::find(Some("no-such-runtime")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot find the OCI runtime `no-such-runtime`: no such file or directory"
        );
        assert!(Runtime::find(Some("/no/such/runtime")).is_err());
    }
}
