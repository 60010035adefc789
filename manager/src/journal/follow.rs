//! Waits for more of a log, until nobody writes any more.

use super::{Output, Reader};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::process::Process;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use std::mem::MaybeUninit;
use std::path::Path;
use std::time::Duration;

/// Who writes the log, and for how long that is of interest.
#[derive(Debug, Default)]
pub struct Watched {
    /// The monitor; `None` when nobody writes.
    pub monitor: Option<Process>,
    /// Not longer than until then.
    pub until: Option<Timestamp>,
}

/// Shows what is there, and what comes. `directory` has the log's files.
pub fn follow(
    directory: &Path,
    reader: &mut Reader,
    out: &mut Output,
    watched: &Watched,
) -> Result<()> {
    let changes = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
        .map_err(Error::system("watch the container's log"))?;
    // The directory, and not the file: there will be others.
    let flags =
        WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR;
    inotify::add_watch(&changes, directory, flags).map_err(Error::io("watch", directory))?;
    loop {
        // Looked at before reading: what is written before the monitor ends is read after.
        let left = watched.until.map(Timestamp::left);
        let ended = watched.monitor.as_ref().is_none_or(has_ended)
            || left.is_some_and(|left| left.is_zero());
        reader.read_on(out)?;
        if ended {
            return Ok(());
        }
        let mut fds = vec![PollFd::new(&changes, PollFlags::IN)];
        fds.extend(watched.monitor.as_ref().map(|monitor| PollFd::new(monitor, PollFlags::IN)));
        let patience = left.map(|left| left + Duration::from_millis(1));
        let _ = poll(&mut fds, patience.and_then(|left| Timespec::try_from(left).ok()).as_ref());
        let mut space = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&changes, &mut space);
        while events.next().is_ok() {}
    }
}

fn has_ended(process: &Process) -> bool {
    process.wait_for_exit(Some(Duration::ZERO)) == Ok(true)
}
