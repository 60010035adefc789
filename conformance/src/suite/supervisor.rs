//! Starting workers, asking them, and ending those that hang, with everything they started.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{WaitOptions, waitpid};

use super::case::{Fault, Finding};
use super::worker::{Order, READY, Reply};
use crate::fixture::{PREFIX, cgroups};
use crate::sweep::kill_descendants;

/// The words that make this program a worker.
pub const WORKER: &str = "suite-worker";

/// How long a worker may take to begin, and to clean up once it was told to end.
const FAREWELL: Duration = Duration::from_secs(60);

/// The workers of this process, so that what they leave to it can be told from them.
static WORKERS: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

fn workers() -> MutexGuard<'static, BTreeSet<u32>> {
    WORKERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A worker for one runtime, started anew whenever it is lost.
pub(super) struct Supervisor {
    order: Order,
    limit: Duration,
    worker: Option<Worker>,
}

impl Supervisor {
    /// For workers that do this; a case may take as long as `limit`.
    pub(super) fn new(order: Order, limit: Duration) -> Self {
        Self { order, limit, worker: None }
    }

    /// Has a case run. What goes wrong beside the case is its failure.
    ///
    /// # Errors
    /// When no worker can be started.
    pub(super) fn ask(&mut self, case: usize) -> Result<Reply, String> {
        let worker = match &mut self.worker {
            Some(worker) => worker,
            none => none.insert(Worker::start(&self.order)?),
        };
        match worker.ask(case, self.limit) {
            Ok(reply) => Ok(reply),
            Err(lost) => {
                let said = self.worker.take().map(Worker::kill).unwrap_or_default();
                let (fault, seen) = match lost {
                    Lost::Hung => {
                        (Fault::Hung, format!("it still ran after {:?}\n{said}", self.limit))
                    }
                    Lost::Ended => {
                        (Fault::Crashed, format!("the process that ran it ended\n{said}"))
                    }
                };
                let finding = Finding::fault(fault, "the case comes to an end", seen.trim_end());
                Ok(Reply { finding: Some(finding), config: Vec::new(), millis: 0 })
            }
        }
    }

    /// Ends the worker in good order.
    pub(super) fn end(self) {
        if let Some(worker) = self.worker {
            worker.end();
        }
    }
}

/// How a worker was lost.
enum Lost {
    Hung,
    Ended,
}

struct Worker {
    child: Child,
    stdin: ChildStdin,
    replies: mpsc::Receiver<String>,
    errors: File,
}

impl Worker {
    fn start(order: &Order) -> Result<Self, String> {
        let failed = |why: String| format!("cannot start a worker: {why}");
        let errors = memfd_create("errors", MemfdFlags::CLOEXEC)
            .map_err(|errno| failed(sys::text(errno)))?;
        let errors = File::from(errors);
        let stderr = errors.try_clone().map_err(|error| failed(error.to_string()))?;
        let mut command = Command::new("/proc/self/exe");
        command.arg(WORKER).arg("--runtime").arg(&order.program);
        command.arg("--limit").arg(order.limit.as_secs().to_string());
        for (flag, is_set) in
            [("--systemd", order.mode.systemd), ("--rootless", order.mode.rootless)]
        {
            if is_set {
                command.arg(flag);
            }
        }
        // An interrupt from a terminal ends the supervisor alone: the worker then sees the end of its input and cleans up.
        command.process_group(0);
        // The worker is no test, whoever may have started the supervisor.
        command.env_remove("NEXTEST_EXECUTION_MODE");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr);
        let mut known = workers();
        let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
        known.insert(child.id());
        drop(known);
        let stdin = child.stdin.take().expect("a pipe to the worker");
        let stdout = child.stdout.take().expect("a pipe from the worker");
        let (sender, replies) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let worker = Self { child, stdin, replies, errors };
        // Before it is ready, it is the host that lacks something, whatever the runtime.
        match worker.replies.recv_timeout(FAREWELL) {
            Ok(line) if line == READY => Ok(worker),
            _ => Err(failed(worker.kill())),
        }
    }

    fn ask(&mut self, case: usize, limit: Duration) -> Result<Reply, Lost> {
        writeln!(self.stdin, "{case}").map_err(|_| Lost::Ended)?;
        let line = self.replies.recv_timeout(limit).map_err(|error| match error {
            mpsc::RecvTimeoutError::Timeout => Lost::Hung,
            mpsc::RecvTimeoutError::Disconnected => Lost::Ended,
        })?;
        serde_json::from_str(&line).map_err(|_| Lost::Ended)
    }

    /// Ends it with everything below it, and gives what it said last.
    fn kill(mut self) -> String {
        end_by_force(&mut self.child);
        let mut said = String::new();
        let _ = self.errors.seek(SeekFrom::Start(0));
        let _ = self.errors.read_to_string(&mut said);
        let lines: Vec<&str> = said.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Lets it clean up and end.
    fn end(self) {
        let Self { mut child, stdin, replies, .. } = self;
        drop(stdin);
        // Nothing is asked any more: the next thing to be heard is the end of its output.
        if replies.recv_timeout(FAREWELL) == Err(mpsc::RecvTimeoutError::Disconnected) {
            let _ = child.wait();
            clear_orphans(child.id());
        } else {
            end_by_force(&mut child);
        }
    }
}

fn end_by_force(child: &mut Child) {
    let id = child.id();
    // First what it started: while it lives, nothing of that can get away from it.
    kill_descendants(id, &[]);
    let _ = child.kill();
    let _ = child.wait();
    // What was frozen, or was made in between.
    cgroups::destroy(&format!("{PREFIX}{id}-"));
    clear_orphans(id);
}

/// Ends what a worker that is gone has left to this process, its subreaper.
fn clear_orphans(gone: u32) {
    let mut known = workers();
    known.remove(&gone);
    let kept: Vec<u32> = known.iter().copied().collect();
    kill_descendants(std::process::id(), &kept);
    // Workers are waited for by who started them; whatever else is a child now is nobody's.
    for pid in crate::leaks::processes()
        .filter(|process| process.parent == std::process::id() && !kept.contains(&process.pid))
        .filter_map(|process| rustix::process::Pid::from_raw(process.pid.try_into().ok()?))
        .collect::<Vec<_>>()
    {
        let _ = waitpid(Some(pid), WaitOptions::NOHANG);
    }
}
