//! Runs a container's health check at its times, and writes down what comes of it.
//!
//! The runtime runs the command: `exec` in the foreground, as a child of ours whose exit code is the command's. Nothing
//! of it is waited for: its output is read when it comes, 4096 bytes of it, and its end is heard from the loop.

use crate::clock::Timestamp;
use crate::container::{Dir, HealthCheck, Mark, Record};
use crate::duration;
use crate::event::emit_of_running;
use crate::health::{FILE, Finding, Health, LONGEST_OUTPUT, PROCESS, Status};
use crate::process::Process;
use crate::runtime::Runtime;
use crate::settings::Settings;
use crate::source::Source;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Signal;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// Where the runtime writes the process id of the command.
const PID_FILE: &str = "health.pid";

/// The health checks of one life of a container.
pub struct Prober<'a> {
    settings: &'a Settings,
    record: &'a Record,
    dir: &'a Dir,
    runtime: &'a Runtime,
    init: i32,
    check: HealthCheck,
    health: Health,
    began: Instant,
    next: Instant,
    running: Option<Probe>,
}

/// A check that is under way.
struct Probe {
    /// The runtime's process.
    pid: i32,
    output: Option<OwnedFd>,
    kept: Vec<u8>,
    start: Timestamp,
    deadline: Instant,
    timed_out: bool,
}

impl<'a> Prober<'a> {
    /// Nothing is known yet about the container with this init, a child of ours. `None` for a container without a check.
    pub fn new(
        settings: &'a Settings,
        record: &'a Record,
        dir: &'a Dir,
        runtime: &'a Runtime,
        init: i32,
    ) -> Option<Self> {
        let check = record.supervision.health.clone()?;
        let health = Health::default();
        // What cannot be written is not seen, and that is all.
        let _ = dir.write(FILE, &health);
        let began = Instant::now();
        let mut prober = Self {
            settings,
            record,
            dir,
            runtime,
            init,
            check,
            health,
            began,
            next: began,
            running: None,
        };
        prober.next = began + prober.interval();
        Some(prober)
    }

    /// The container has ended: whatever it was, it is healthy no longer. Docker's word for that, and as there no event.
    pub fn finish(mut self) {
        self.health.status = Status::Unhealthy;
        // As above.
        let _ = self.dir.write(FILE, &self.health);
    }

    fn is_starting(&self) -> bool {
        self.began.elapsed() < self.check.start_period
    }

    fn interval(&self) -> Duration {
        if self.is_starting() && self.health.status == Status::Starting {
            self.check.start_interval
        } else {
            self.check.interval
        }
    }

    fn begin(&mut self) {
        if self.dir.has(Mark::Paused) {
            // As in Docker: what stands still is not asked.
            self.next = Instant::now() + self.interval();
            return;
        }
        match self.spawn() {
            Ok(probe) => self.running = Some(probe),
            Err(error) => {
                let now = Timestamp::now();
                self.note(Finding {
                    start: now,
                    end: now,
                    exit_code: -1,
                    output: error.to_string(),
                });
            }
        }
    }

    fn spawn(&self) -> std::io::Result<Probe> {
        let (output, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&output, true)?;
        let mut command = self.runtime.foreground_exec(
            &self.record.id,
            &self.dir.join(PROCESS),
            &self.dir.join(PID_FILE),
        );
        let child = command.stdout(theirs.try_clone()?).stderr(theirs).spawn()?;
        let deadline = Instant::now() + self.check.timeout;
        let pid = i32::try_from(child.id()).unwrap_or(0);
        let start = Timestamp::now();
        Ok(Probe { pid, output: Some(output), kept: Vec::new(), start, deadline, timed_out: false })
    }

    fn note(&mut self, finding: Finding) {
        let starting = self.is_starting();
        let changed = self.health.take(&self.check, finding, starting);
        let _ = self.dir.write(FILE, &self.health);
        if changed {
            let action = format!("health_status: {}", self.health.status.as_str());
            emit_of_running(self.settings, self.record, &action, &[]);
        }
        self.next = Instant::now() + self.interval();
    }

    /// Ends a check that takes too long: its command first, and the runtime if there is none.
    fn cut_off(&self, runtime: i32) {
        let text = std::fs::read_to_string(self.dir.join(PID_FILE)).unwrap_or_default();
        let command = text.trim().parse().ok();
        let command = command
            .and_then(|pid| Process::open(pid, |command| self.dir.has_process(command.id())));
        // The runtime is a child of ours that nobody has collected.
        let target = command.or_else(|| Process::open(runtime, |_| true));
        // Refused when it has ended meanwhile.
        let _ = target.map(|target| target.send(Signal::KILL));
    }
}

impl Probe {
    /// Reads what there is. Beyond what is kept, it is read all the same: the command must not wait for us.
    fn read(&mut self) {
        let mut buffer = [0; 4096];
        while let Some(output) = &self.output {
            match rustix::io::read(output, &mut buffer) {
                Ok(length) if length > 0 => {
                    let room = LONGEST_OUTPUT - self.kept.len();
                    self.kept.extend_from_slice(&buffer[..length.min(room)]);
                    if length == buffer.len() {
                        // One chunk a turn: the container's own output has its turn as well.
                        return;
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                _ => self.output = None,
            }
        }
    }
}

/// Whether a child of ours has begun to end: before the kernel ends the others of its pid namespace, it has no program any more.
fn is_ending(child: i32) -> bool {
    let program = std::fs::read_link(format!("/proc/{child}/exe"));
    program.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

impl Source for Prober<'_> {
    fn watch<'b>(&'b self, watched: &mut Vec<PollFd<'b>>) {
        let output = self.running.as_ref().and_then(|probe| probe.output.as_ref());
        watched.extend(output.map(|output| PollFd::new(output, PollFlags::IN)));
    }

    fn due(&self) -> Option<Instant> {
        match &self.running {
            Some(probe) => (!probe.timed_out).then_some(probe.deadline),
            None => Some(self.next),
        }
    }

    fn turn(&mut self, _ready: &[PollFlags]) {
        let now = Instant::now();
        let Some(probe) = &mut self.running else {
            if now >= self.next {
                self.begin();
            }
            return;
        };
        probe.read();
        if now >= probe.deadline && !probe.timed_out {
            probe.timed_out = true;
            let pid = probe.pid;
            self.cut_off(pid);
        }
    }

    fn child_ended(&mut self, pid: i32, code: u8) {
        let Some(mut probe) = self.running.take_if(|probe| probe.pid == pid) else { return };
        if code != 0 && !probe.timed_out && is_ending(self.init) {
            // The end of the container is that of the check: it says nothing, and the init's own is about to be heard.
            self.next = Instant::now() + self.interval();
            return;
        }
        probe.read();
        let output = String::from_utf8_lossy(&probe.kept).into_owned();
        let (exit_code, output) = if probe.timed_out {
            let timeout = duration::text(self.check.timeout);
            (-1, format!("Health check exceeded timeout ({timeout}): {output}"))
        } else {
            (i32::from(code), output)
        };
        self.note(Finding { start: probe.start, end: Timestamp::now(), exit_code, output });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

    #[test]
    fn a_child_ends_as_soon_as_it_has_no_program() {
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let pid = Pid::from_child(&child);
        assert!(!is_ending(pid.as_raw_nonzero().get()));
        child.kill().unwrap();
        // Until it has ended, and nobody has collected it.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(pid), options).unwrap();
        assert!(is_ending(pid.as_raw_nonzero().get()));
        child.wait().unwrap();
    }
}
