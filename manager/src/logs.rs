//! `nman logs`: what a container has written, from its log.

use crate::attach::write_out;
use crate::cli::{LogsArgs, Tail};
use crate::container::{Containers, Dir};
use crate::error::{Error, Result};
use crate::monitor::log::{Entry, Stream};
use crate::settings::Settings;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::stdio;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;

/// How much of a log is read at once when its end is looked for.
const BLOCK: u64 = 64 * 1024;

/// Prints a container's log; with `--follow`, until the container has ended.
pub fn logs(settings: &Settings, args: &LogsArgs) -> Result<()> {
    let dir = Containers::open(&settings.containers())?.find(&args.name)?;
    let path = dir.log();
    let mut file = match File::open(&path) {
        Ok(file) => file,
        // It was made but never started.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::io("open", &path)(error)),
    };
    if let Tail::Last(lines) = args.tail {
        let start = start_of_last(&mut file, lines).map_err(Error::io("read", &path))?;
        file.seek(SeekFrom::Start(start)).map_err(Error::io("read", &path))?;
    }
    let mut reader =
        Reader { lines: BufReader::new(file), partial: String::new(), timestamps: args.timestamps };
    if args.follow {
        return follow(&dir, &path, &mut reader);
    }
    reader.print_all(&path)
}

/// Prints what is there, and what comes, until nobody writes any more.
fn follow(dir: &Dir, path: &Path, reader: &mut Reader) -> Result<()> {
    let monitor = watched_monitor(dir);
    let changes = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
        .map_err(Error::system("watch the container's log"))?;
    inotify::add_watch(&changes, path, WatchFlags::MODIFY).map_err(Error::io("watch", path))?;
    loop {
        // Looked at before reading: what is written before the monitor ends is read after.
        let ended = monitor.as_ref().is_none_or(has_ended);
        reader.print_all(path)?;
        if ended {
            return Ok(());
        }
        let mut fds = vec![PollFd::new(&changes, PollFlags::IN)];
        fds.extend(monitor.as_ref().map(|monitor| PollFd::new(monitor, PollFlags::IN)));
        let _ = poll(&mut fds, None);
        let mut space = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&changes, &mut space);
        while events.next().is_ok() {}
    }
}

/// The monitor of a container that runs.
fn watched_monitor(dir: &Dir) -> Option<OwnedFd> {
    if !dir.is_held() {
        return None;
    }
    let pid = Pid::from_raw(dir.state().ok()?.monitor?)?;
    pidfd_open(pid, PidfdFlags::empty()).ok().filter(|_| dir.is_held())
}

fn has_ended(process: &OwnedFd) -> bool {
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    matches!(poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&now)), Ok(ready) if ready > 0)
}

struct Reader {
    lines: BufReader<File>,
    /// A line of which the rest is not there yet.
    partial: String,
    timestamps: bool,
}

impl Reader {
    /// Prints every line that is complete.
    fn print_all(&mut self, path: &Path) -> Result<()> {
        loop {
            let read = self.lines.read_line(&mut self.partial).map_err(Error::io("read", path))?;
            if read == 0 || !self.partial.ends_with('\n') {
                return Ok(());
            }
            let line = std::mem::take(&mut self.partial);
            // A line that the monitor could not finish, on a full disk, is not worth losing the rest for.
            if let Ok(entry) = serde_json::from_str::<Entry<'_>>(&line) {
                self.print(&entry)?;
            }
        }
    }

    fn print(&self, entry: &Entry<'_>) -> Result<()> {
        let target = match entry.stream {
            Stream::Stdout => stdio::stdout(),
            Stream::Stderr => stdio::stderr(),
        };
        if self.timestamps {
            write_out(target, format!("{} {}", entry.time, entry.log).as_bytes())
        } else {
            write_out(target, entry.log.as_bytes())
        }
    }
}

/// Where the last `lines` lines begin. Reads backwards, so that a long log costs no more than a short one.
fn start_of_last(file: &mut File, lines: u64) -> std::io::Result<u64> {
    let end = file.seek(SeekFrom::End(0))?;
    let (mut position, mut seen) = (end, 0);
    let mut block = Vec::new();
    while position > 0 {
        let length = position.min(BLOCK);
        position -= length;
        file.seek(SeekFrom::Start(position))?;
        block.clear();
        file.by_ref().take(length).read_to_end(&mut block)?;
        for (at, _) in block.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            // The newline at the very end ends the last line; the one before it begins it.
            if seen == lines {
                return Ok(position + at as u64 + 1);
            }
            seen += 1;
        }
    }
    Ok(if lines == 0 { end } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn the_last_lines_are_found_across_blocks() {
        let mut file = tempfile::tempfile().unwrap();
        let line = format!("{}\n", "x".repeat(999));
        for _ in 0..200 {
            file.write_all(line.as_bytes()).unwrap();
        }
        let total = 200 * 1000;
        for (lines, start) in
            [(0, total), (1, total - 1000), (100, total - 100_000), (200, 0), (500, 0)]
        {
            assert_eq!(start_of_last(&mut file, lines).unwrap(), start, "{lines}");
        }
    }

    #[test]
    fn an_empty_log_has_no_last_line() {
        let mut file = tempfile::tempfile().unwrap();
        assert_eq!(start_of_last(&mut file, 5).unwrap(), 0);
    }
}
