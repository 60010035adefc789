//! What a monitor's loop watches beside the container's stdio: a health check, the kernel's word about memory, a
//! resolver. A source says what it waits for; the loop waits for everything at once and gives it its turn.
//!
//! A turn must not block: the container's output waits meanwhile.

use rustix::event::{PollFd, PollFlags, Timespec};
use std::time::{Duration, Instant};

/// Something that wants a turn of the loop now and then.
pub trait Source {
    /// Adds what it waits for now.
    fn watch<'a>(&'a self, watched: &mut Vec<PollFd<'a>>);

    /// When it wants a turn even if nothing that it watches is ready.
    fn due(&self) -> Option<Instant> {
        None
    }

    /// Its turn: `ready` has the events of what [`Source::watch`] has added, in that order.
    fn turn(&mut self, ready: &[PollFlags]);

    /// The container has ended for good: the last turn, which may take a moment.
    fn leave(self: Box<Self>) {}

    /// A process that is not the container's init has ended and was collected, with this exit code.
    fn child_ended(&mut self, _pid: i32, _code: u8) {}
}

/// How long nobody is let in after that has failed for want of descriptors or memory.
pub const UNTIL_LISTENING: Duration = Duration::from_secs(1);

/// How long may be waited for: until the first of the sources is due, or until a time of the loop's own.
#[must_use]
pub fn patience(sources: &[&mut dyn Source], own: Option<Instant>) -> Option<Timespec> {
    let due = sources.iter().filter_map(|source| source.due()).chain(own).min()?;
    let left = due.saturating_duration_since(Instant::now());
    // Poll returns early by less than a tick: rather late by one than a turn for nothing.
    Timespec::try_from(left + Duration::from_millis(1)).ok()
}

/// Where the fds of each source begin among those that were watched, and the place after the last.
#[derive(Debug, Default)]
pub struct Places(Vec<usize>);

impl Places {
    /// Lets every source add what it waits for.
    pub fn of<'a>(sources: &'a [&mut dyn Source], watched: &mut Vec<PollFd<'a>>) -> Self {
        let mut places = vec![watched.len()];
        for source in sources {
            source.watch(watched);
            places.push(watched.len());
        }
        Self(places)
    }

    /// What is ready of each source; `None` where nothing is and it is not due either.
    #[must_use]
    pub fn ready(
        &self,
        sources: &[&mut dyn Source],
        watched: &[PollFd<'_>],
    ) -> Vec<Option<Vec<PollFlags>>> {
        let now = Instant::now();
        let of = |(at, source): (usize, &&mut dyn Source)| {
            let own = &watched[self.0[at]..self.0[at + 1]];
            let due = source.due().is_some_and(|due| due <= now);
            let ready: Vec<PollFlags> = own.iter().map(PollFd::revents).collect();
            (due || ready.iter().any(|flags| !flags.is_empty())).then_some(ready)
        };
        sources.iter().enumerate().map(of).collect()
    }
}

/// Gives those a turn that are ready.
pub fn take_turns(sources: &mut [&mut dyn Source], ready: Vec<Option<Vec<PollFlags>>>) {
    for (source, ready) in sources.iter_mut().zip(ready) {
        if let Some(ready) = ready {
            source.turn(&ready);
        }
    }
}
