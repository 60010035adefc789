//! A container's standard streams, which lead out of it: what they were is noted beside the images, and a restore puts its own in
//! their place. The file and its form are runc's.

use super::rpc::Options;
use crate::error::{Error, Result};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;

const FILE: &str = "descriptors.json";
/// The three streams.
const STREAMS: usize = 3;
/// More than three paths of the kernel's need.
const LONGEST: u64 = 64 * 1024;

/// Writes what the standard streams of process `pid` are.
///
/// # Errors
/// When the file cannot be written.
pub fn note(images: &OwnedFd, pid: i32) -> Result<()> {
    let read = |stream: usize| {
        let link = rustix::fs::readlink(format!("/proc/{pid}/fd/{stream}"), Vec::new());
        // A stream that was closed is none of our business.
        link.map_or("null".to_owned(), |link| link.to_string_lossy().into_owned())
    };
    let streams: Vec<String> = (0..STREAMS).map(read).collect();
    let text = serde_json::to_vec(&streams).expect("strings have a JSON form");
    // Written anew, so that a link of that name leads nowhere.
    let _ = rustix::fs::unlinkat(images, FILE, AtFlags::empty());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    rustix::fs::openat(images, FILE, flags, Mode::RUSR | Mode::WUSR)
        .map_err(std::io::Error::from)
        .and_then(|file| std::fs::File::from(file).write_all(&text))
        .map_err(|error| Error::io(format!("write `{FILE}` beside the images"), &error))
}

/// Has our own streams take the place of those that were pipes: whoever held their other ends holds ours now.
///
/// # Errors
/// When the file is not there, or not what [`note`] writes.
pub fn replace(images: &OwnedFd, options: &mut Options) -> Result<()> {
    let what = || format!("read `{FILE}` beside the images");
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(images, FILE, flags, Mode::empty())
        .map_err(|errno| Error::system(what(), errno))?;
    let mut text = Vec::new();
    std::fs::File::from(file)
        .take(LONGEST)
        .read_to_end(&mut text)
        .map_err(|error| Error::io(what(), &error))?;
    let streams: Vec<String> =
        serde_json::from_slice(&text).map_err(|_| Error::system(what(), Errno::BADMSG))?;
    for (stream, target) in (0..).zip(streams.into_iter().take(STREAMS)) {
        if target.starts_with("pipe:") {
            options.inherited.push((target, stream));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images() -> (tempfile::TempDir, OwnedFd) {
        let directory = tempfile::tempdir().unwrap();
        let fd = std::fs::File::open(directory.path()).unwrap().into();
        (directory, fd)
    }

    #[test]
    fn pipes_are_replaced_and_nothing_else() {
        let (directory, fd) = images();
        let text = r#"["/dev/null","pipe:[7]","pipe:[8]","pipe:[9]"]"#;
        std::fs::write(directory.path().join(FILE), text).unwrap();
        let mut options = Options::default();
        replace(&fd, &mut options).unwrap();
        assert_eq!(options.inherited, [("pipe:[7]".to_owned(), 1), ("pipe:[8]".to_owned(), 2)]);
    }

    #[test]
    fn what_is_noted_are_the_streams_of_the_process_and_no_link_is_followed() {
        let (directory, fd) = images();
        std::fs::write(directory.path().join("victim"), "kept").unwrap();
        std::os::unix::fs::symlink("victim", directory.path().join(FILE)).unwrap();
        note(&fd, std::process::id().cast_signed()).unwrap();
        assert_eq!(std::fs::read_to_string(directory.path().join("victim")).unwrap(), "kept");
        let text = std::fs::read_to_string(directory.path().join(FILE)).unwrap();
        assert_eq!(serde_json::from_str::<Vec<String>>(&text).unwrap().len(), 3);
        replace(&fd, &mut Options::default()).unwrap();
    }

    #[test]
    fn a_file_that_is_none_of_ours_is_refused() {
        let (directory, fd) = images();
        for text in ["", "{}", "[1]"] {
            std::fs::write(directory.path().join(FILE), text).unwrap();
            assert!(replace(&fd, &mut Options::default()).is_err(), "{text:?}");
        }
        std::fs::remove_file(directory.path().join(FILE)).unwrap();
        let error = replace(&fd, &mut Options::default()).unwrap_err().to_string();
        assert!(error.contains("descriptors.json"), "{error}");
    }
}
