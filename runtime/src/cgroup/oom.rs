//! Word from the kernel that a container is out of memory.
//!
//! v1 signals an eventfd (`cgroup.event_control`), v2 changes `memory.events`. Both are one fd to poll.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd};
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::{Cgroup, Error, files};

/// A watch on a container's memory.
#[derive(Debug)]
pub enum OomWatch {
    /// v1: every time that a process finds no memory.
    Signalled {
        /// What the kernel counts up.
        events: OwnedFd,
        /// The file whose events they are, which has to stay open.
        control: OwnedFd,
        /// The container's directory in the hierarchy: the kernel signals its removal, too.
        directory: PathBuf,
    },
    /// v2: processes that were killed.
    Counted {
        /// `memory.events`, which polls as changed until it is read.
        events: OwnedFd,
        /// The same of the cgroup above, which is still there when the container's own is gone. The root of all has none.
        above: Option<OwnedFd>,
        /// What was read last.
        counts: Counts,
    },
}

/// How many processes were killed when that was read last.
#[derive(Debug)]
pub struct Counts {
    /// In the container's cgroup and below it.
    own: u64,
    /// In the cgroup above and all below that, when `own` was read; unknown where there is none.
    above: Option<u64>,
    /// When that was.
    at: Instant,
}

/// How soon after its last word a container that was out of memory is gone. systemd removes a cgroup as soon as it is empty, and the
/// kernel holds back word of a change for up to 10 ms after the one before.
const LAST_WORD: Duration = Duration::from_secs(2);

/// How often to ask [`OomWatch::happened`] at least, though nothing is polled: what is above is counted for others as well, and has to be
/// known as it was shortly before the container's end.
pub const ASK_AGAIN: Duration = Duration::from_secs(1);

impl Counts {
    /// Reads both and tells whether more were killed in the container's cgroup since the last time.
    ///
    /// What kills the init may remove the cgroup with its count: it is concluded from the one above then. That the kill there
    /// was another container's would take two that are out of memory at one moment.
    fn have_grown(
        &mut self,
        own: impl Fn() -> Result<u64, Errno>,
        above: impl Fn() -> Option<u64>,
    ) -> Result<bool, Errno> {
        let mut more = false;
        loop {
            // This one first: whoever is killed after the other was read must not be in what is noted here.
            let noted = above();
            match own() {
                Ok(now) if now > self.own => {
                    more = true;
                    self.own = now;
                }
                Ok(_) => {
                    *self = Counts { own: self.own, above: noted, at: Instant::now() };
                    return Ok(more);
                }
                // Gone with its container.
                Err(Errno::NODEV) => {
                    let lately = self.at.elapsed() < LAST_WORD;
                    let grown = self.above.take().zip(above()).is_some_and(|(was, is)| is > was);
                    return Ok(more || lately && grown);
                }
                Err(errno) => return Err(errno),
            }
        }
    }
}

impl Cgroup {
    /// Watches for the container being out of memory, from now on.
    ///
    /// # Errors
    /// When it has no `memory` controller.
    pub fn watch_memory(&self) -> Result<OomWatch, Error> {
        if let Some(directory) = self.paths.controller("memory") {
            return signalled(directory);
        }
        let Some(directory) = self.paths.unified() else {
            return Err(unwatched("the container has no cgroup of its own", Errno::NOENT));
        };
        let events = files::open(directory, "memory.events", OFlags::RDONLY);
        let events = events.map_err(|errno| unwatched(directory.display(), errno))?;
        let above = directory
            .parent()
            .and_then(|above| files::open(above, "memory.events", OFlags::RDONLY).ok());
        let noted = above.as_ref().and_then(|above| killed(above).ok());
        let own = killed(&events).map_err(|errno| unwatched(directory.display(), errno))?;
        let counts = Counts { own, above: noted, at: Instant::now() };
        Ok(OomWatch::Counted { events, above, counts })
    }
}

fn signalled(directory: &Path) -> Result<OomWatch, Error> {
    let register = || {
        let events = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let control = files::open(directory, "memory.oom_control", OFlags::RDONLY)?;
        let request = format!("{} {}", events.as_raw_fd(), control.as_raw_fd());
        files::write(directory, "cgroup.event_control", &request)?;
        Ok((events, control))
    };
    let (events, control) = register().map_err(|errno| unwatched(directory.display(), errno))?;
    Ok(OomWatch::Signalled { events, control, directory: directory.to_owned() })
}

fn unwatched(place: impl std::fmt::Display, errno: Errno) -> Error {
    match errno {
        // Not the kernel's words: to an engine they would mean that the container's executable is missing.
        Errno::NOENT => Error::NoMemoryEvents { place: place.to_string() },
        errno => Error::system(format!("watch the memory of cgroup `{place}`"), errno),
    }
}

impl OomWatch {
    /// What to poll for.
    pub fn poll(&self) -> PollFd<'_> {
        match self {
            OomWatch::Signalled { events, .. } => {
                PollFd::from_borrowed_fd(events.as_fd(), PollFlags::IN)
            }
            OomWatch::Counted { events, .. } => {
                PollFd::from_borrowed_fd(events.as_fd(), PollFlags::PRI)
            }
        }
    }

    /// Whether the container was out of memory since the last time that this was asked.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn happened(&mut self) -> Result<bool, Error> {
        let failed = |errno| Error::system("read the memory events of the container", errno);
        match self {
            OomWatch::Signalled { events, directory, .. } => {
                let mut count = [0; 8];
                match rustix::io::read(&*events, &mut count) {
                    Ok(_) => {}
                    Err(Errno::AGAIN | Errno::INTR) => return Ok(false),
                    Err(errno) => return Err(failed(errno)),
                }
                Ok(files::exists(&directory.join("cgroup.event_control")) == Ok(true))
            }
            OomWatch::Counted { events, above, counts } => counts
                .have_grown(|| killed(events), || killed(above.as_ref()?).ok())
                .map_err(failed),
        }
    }
}

/// How many processes were killed for want of memory, in the directory and below it.
fn killed(events: &OwnedFd) -> Result<u64, Errno> {
    let mut buffer = [0; 512];
    let length = rustix::io::pread(events, &mut buffer, 0)?;
    let text = String::from_utf8_lossy(&buffer[..length]);
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok());
    count.ok_or(Errno::BADMSG)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    /// Reads of the container's own count and of the one above, in the order in which they are expected.
    fn grown(counts: &mut Counts, reads: &[(&str, Result<u64, Errno>)]) -> bool {
        let reads = RefCell::new(reads.iter());
        let next = |which: &str| {
            let (expected, count) = *reads.borrow_mut().next().expect("no further read");
            assert_eq!(which, expected);
            count
        };
        let grown = counts.have_grown(|| next("own"), || next("above").ok()).expect("counts");
        assert_eq!(reads.borrow_mut().next(), None, "a read less");
        grown
    }

    fn counts(own: u64, above: u64) -> Counts {
        Counts { own, above: Some(above), at: Instant::now() }
    }

    #[test]
    fn a_kill_is_told_of_once() {
        let mut counts = counts(0, 5);
        assert!(!grown(&mut counts, &[("above", Ok(5)), ("own", Ok(0))]));
        let reads = [("above", Ok(5)), ("own", Ok(1)), ("above", Ok(6)), ("own", Ok(1))];
        assert!(grown(&mut counts, &reads));
        let gone = [("above", Ok(6)), ("own", Err(Errno::NODEV)), ("above", Ok(6))];
        assert!(!grown(&mut counts, &gone));
    }

    #[test]
    fn a_kill_between_two_reads_is_not_lost_with_the_cgroup() {
        let mut counts = counts(0, 5);
        // The kill comes right after the second read.
        assert!(!grown(&mut counts, &[("above", Ok(5)), ("own", Ok(0))]));
        let gone = [("above", Ok(6)), ("own", Err(Errno::NODEV)), ("above", Ok(6))];
        assert!(grown(&mut counts, &gone));
    }

    #[test]
    fn a_kill_whose_cgroup_is_gone_at_the_next_read_is_told_of() {
        let mut counts = counts(0, 5);
        let gone = [("above", Ok(5)), ("own", Err(Errno::NODEV)), ("above", Ok(6))];
        assert!(grown(&mut counts, &gone));
    }

    #[test]
    fn a_kill_long_after_the_last_word_is_another_containers() {
        let long_ago = Instant::now().checked_sub(LAST_WORD).expect("a machine that is up");
        let mut counts = Counts { at: long_ago, ..counts(0, 5) };
        let gone = [("above", Ok(6)), ("own", Err(Errno::NODEV)), ("above", Ok(6))];
        assert!(!grown(&mut counts, &gone));
    }
}
