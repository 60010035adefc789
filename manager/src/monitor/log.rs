//! The container's log, as the pump sees it: what cannot be written is lost and counted, and what follows is tried
//! again. A full disk that somebody has cleared does not keep a container silent until it is started anew.

use crate::container::Dir;
use crate::forward::Forwarder;
use crate::journal::{Stream, Writer};
use rustix::event::PollFlags;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// The container's state is not written more often than this on account of its log.
const BETWEEN_REPORTS: Duration = Duration::from_secs(1);

/// A log, and what is wrong with it in this life of the container.
#[derive(Debug)]
pub struct Log {
    writer: Writer,
    /// Where what is wrong is written down.
    dir: Dir,
    /// What the writer had lost before.
    before: u64,
    fault: Option<Fault>,
}

#[derive(Debug)]
struct Fault {
    reason: io::Error,
    lost: u64,
    /// Whether this is written down.
    told: bool,
    /// When that may be tried next.
    due: Instant,
}

impl Log {
    /// The log of the container with this directory.
    #[must_use]
    pub fn new(writer: Writer, dir: Dir) -> Self {
        Self { writer, dir, before: 0, fault: None }
    }

    /// The container is started: nothing is known to be lost in this life.
    pub fn begin_life(&mut self) {
        (self.before, self.fault) = (self.writer.lost(), None);
    }

    /// Takes what the container has written.
    pub fn take(&mut self, stream: Stream, bytes: &[u8]) {
        let taken = self.writer.take(stream, bytes);
        self.note(taken);
    }

    /// The container has ended: what is left of its output may take a few seconds, [`Log::finish`] included.
    pub fn begin_last_turn(&mut self) {
        if let Some(forwarder) = self.writer.forwarder_mut() {
            forwarder.begin_last_turn();
        }
    }

    /// Writes what is left, and says why the log is not complete, if it is not. What waits to be sent goes on waiting: the container may be
    /// started again.
    pub fn end_life(&mut self) -> Option<String> {
        let finished = self.writer.finish();
        self.note(finished);
        self.fault()
    }

    /// The container has ended for good: sends what waits for the last time, and says why the log is not complete, if it is not.
    pub fn finish(&mut self) -> Option<String> {
        let sent = self.writer.forwarder_mut().map_or(Ok(()), Forwarder::finish);
        self.note(sent);
        self.fault()
    }

    fn fault(&self) -> Option<String> {
        self.fault.as_ref().map(Fault::to_string)
    }

    fn note(&mut self, result: io::Result<()>) {
        let Err(reason) = result else { return };
        let lost = self.writer.lost() - self.before;
        let now = Instant::now();
        match &mut self.fault {
            Some(fault) => {
                fault.told &= fault.lost == lost;
                (fault.reason, fault.lost) = (reason, lost);
            }
            // The first one at once.
            fault => *fault = Some(Fault { reason, lost, told: false, due: now }),
        }
        self.tell(now);
    }

    /// Whether somebody who is sent the log has not taken everything yet.
    pub fn is_behind(&self) -> bool {
        self.writer.forwarder().is_some_and(Forwarder::is_behind)
    }

    /// Until when nothing more is to be taken, because that somebody is slow.
    pub fn held_until(&self) -> Option<Instant> {
        self.writer.forwarder().and_then(Forwarder::held_until)
    }

    /// What is waited for: [`Log::turn`] is to be called when it is ready.
    pub fn watch(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        self.writer.forwarder().and_then(Forwarder::watch)
    }

    /// When [`Log::turn`] is to be called, if not before.
    pub fn due(&self) -> Option<Instant> {
        let untold = self.fault.as_ref().filter(|fault| !fault.told).map(|fault| fault.due);
        let unsent = self.writer.forwarder().and_then(Forwarder::due);
        [untold, unsent].into_iter().flatten().min()
    }

    /// Does what it is time for.
    pub fn turn(&mut self, now: Instant) {
        let sent = self.writer.forwarder_mut().map_or(Ok(()), Forwarder::turn);
        self.note(sent);
        self.tell(now);
    }

    /// Writes down what is wrong, if it is time to.
    fn tell(&mut self, now: Instant) {
        if let Some(fault) = self.fault.as_mut().filter(|fault| !fault.told && fault.due <= now) {
            // The state may be on the same full disk.
            fault.told = self.dir.set_error(&fault.to_string()).is_ok();
            fault.due = now + BETWEEN_REPORTS;
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { reason, lost, .. } = self;
        write!(f, "cannot write the container's log: {reason}; {lost} bytes of output are lost")
    }
}
