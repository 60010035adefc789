//! The content of one file, copied by the kernel where it can, with its holes.

use rustix::fs::{SeekFrom, copy_file_range, ftruncate, seek, sendfile};
use rustix::io::Errno;
use std::io;
use std::os::fd::BorrowedFd;

/// As much as is asked of the kernel at once.
const MOST: u64 = 1 << 30;
/// As much as is copied at once where the kernel cannot.
const CHUNK: usize = 256 << 10;

/// How bytes get from one file to the other; each is tried until it is found not to work between these two.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Within the file system, which may share the blocks.
    Range,
    /// Through the page cache.
    Send,
    /// Through our memory.
    Buffer,
}

/// Copies the `size` bytes that `from` has into the empty file `to`; says how many of them were data. A file that has become
/// shorter meanwhile is copied as far as it goes.
///
/// One without a size, as all of procfs are, may have content all the same: it is read until there is no more.
pub(super) fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>, size: u64) -> io::Result<u64> {
    if size == 0 {
        return to_its_end(from, to);
    }
    let mut way = Way::Range;
    let (mut at, mut copied) = (0, 0);
    while at < size {
        let Some((start, end)) = next_data(from, at, size)? else { break };
        let moved = run(from, to, start, end, &mut way)?;
        copied += moved;
        if moved < end - start {
            // It is shorter than it says, as files of sysfs are, which all claim to be a page long.
            return Ok(copied);
        }
        at = end;
    }
    // A hole at the end.
    let length = rustix::fs::fstat(to)?.st_size;
    if u64::try_from(length).unwrap_or(0) < size {
        ftruncate(to, size)?;
    }
    Ok(copied)
}

fn to_its_end(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<u64> {
    let mut at = 0;
    loop {
        match buffered(from, to, at, CHUNK) {
            Ok(0) => return Ok(at),
            Ok(copied) => at += copied as u64,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// The next run of data at or behind `at`. A file system that knows no holes has data everywhere.
fn next_data(from: BorrowedFd<'_>, at: u64, size: u64) -> io::Result<Option<(u64, u64)>> {
    let start = match seek(from, SeekFrom::Data(at)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return Ok(None),
        Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(Some((at, size))),
        Err(errno) => return Err(errno.into()),
    };
    if start >= size {
        return Ok(None);
    }
    let end = seek(from, SeekFrom::Hole(start)).unwrap_or(size).min(size);
    Ok(Some((start, end)))
}

fn run(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    start: u64,
    end: u64,
    way: &mut Way,
) -> io::Result<u64> {
    let mut at = start;
    while at < end {
        let length = usize::try_from((end - at).min(MOST)).unwrap_or(CHUNK);
        let moved = match way {
            Way::Range => {
                let (mut source, mut target) = (at, at);
                copy_file_range(from, Some(&mut source), to, Some(&mut target), length)
            }
            Way::Send => {
                seek(to, SeekFrom::Start(at))?;
                let mut source = at;
                sendfile(to, from, Some(&mut source), length)
            }
            Way::Buffer => buffered(from, to, at, length),
        };
        match moved {
            Ok(0) => break,
            Ok(moved) => at += moved as u64,
            Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::BADF)
                if *way == Way::Range =>
            {
                *way = Way::Send;
            }
            Err(Errno::INVAL | Errno::NOSYS) if *way == Way::Send => *way = Way::Buffer,
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(at - start)
}

fn buffered(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    at: u64,
    length: usize,
) -> Result<usize, Errno> {
    let mut buffer = vec![0; CHUNK.min(length)];
    let read = rustix::io::pread(from, &mut buffer, at)?;
    let mut written = 0;
    while written < read {
        written += rustix::io::pwrite(to, &buffer[written..read], at + written as u64)?;
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::os::fd::AsFd as _;
    use std::os::unix::fs::{FileExt as _, MetadataExt as _};

    #[test]
    fn a_file_that_does_not_know_its_size_is_copied_to_its_end() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["/proc/version", "/sys/kernel/mm/transparent_hugepage/enabled"] {
            let Ok(source) = File::open(path) else { continue };
            let to = dir.path().join("to");
            let target = File::create(&to).unwrap();
            let size = source.metadata().unwrap().len();
            let copied = copy(source.as_fd(), target.as_fd(), size).unwrap();
            let expected = fs::read(path).unwrap();
            assert!(!expected.is_empty() && expected == fs::read(&to).unwrap(), "{path}");
            assert_eq!(copied, expected.len() as u64, "{path}");
        }
    }

    #[test]
    fn holes_stay_holes_and_data_stays_where_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        let file = File::create(&from).unwrap();
        file.write_at(b"first", 0).unwrap();
        file.write_at(b"middle", 8 << 20).unwrap();
        file.set_len(32 << 20).unwrap();
        let source = File::open(&from).unwrap();
        for way in ["/", "to"] {
            // The second time into a file system of its own, where nothing can be shared.
            let target = if way == "/" { to.clone() } else { "/dev/shm/nman-cp-test".into() };
            let file = File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(true)
                .open(&target)
                .unwrap();
            copy(source.as_fd(), file.as_fd(), 32 << 20).unwrap();
            assert!(fs::read(&from).unwrap() == fs::read(&target).unwrap());
            assert!(file.metadata().unwrap().blocks() * 512 < 1 << 20);
            fs::remove_file(&target).unwrap();
        }
    }
}
