//! `--pid-file`.

use crate::error::{Error, Result};
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::process::Pid;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::Path;

/// As that of any file that a program makes: the caller's umask decides.
const MODE: Mode = Mode::from_raw_mode(0o666);
/// How many names are tried: a killed nrun with the same process id may have left one.
const TRIES: u32 = 100;

/// Writes a process id to a file that nobody reads half of: it has its name when it is complete. Where there is none yet, it had no
/// other before, which a killed nrun would leave. A device or a pipe is written to: nothing takes its place.
///
/// # Errors
/// When it cannot be written.
pub fn write(path: Option<&Path>, pid: Pid) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    let text = pid.as_raw_nonzero().to_string();
    write_unnamed(path, &text)
        .or_else(|_| match std::fs::metadata(path) {
            Ok(there) if !there.is_file() && !there.is_dir() => {
                File::options().write(true).open(path)?.write_all(text.as_bytes())
            }
            _ => write_beside(path, &text),
        })
        .map_err(|error| Error::io(format!("write the pid file `{}`", path.display()), &error))
}

/// Takes the file of a process back that never became the program: where it is, conmon takes `exec` for done, and others signal who
/// has that process id by then. What another has written there meanwhile stays, and what cannot be removed is less than what failed.
pub fn take_back(path: Option<&Path>, pid: Pid) {
    let Some(path) = path else { return };
    let text = pid.as_raw_nonzero().to_string();
    // To read from a pipe would take somebody who writes to it.
    let is_file = std::fs::symlink_metadata(path).is_ok_and(|there| there.is_file());
    if is_file && std::fs::read(path).is_ok_and(|found| found == text.as_bytes()) {
        let _ = std::fs::remove_file(path);
    }
}

/// Not every file system has files without a name, and none replaces what is there by one.
fn write_unnamed(path: &Path, text: &str) -> std::io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::open(directory.unwrap_or(Path::new(".")), flags, MODE)?;
    let mut file = File::from(file);
    file.write_all(text.as_bytes())?;
    let unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(rustix::fs::linkat(CWD, unnamed, CWD, path, AtFlags::SYMLINK_FOLLOW)?)
}

/// Under another name first. What is there under that is somebody else's, and is neither written to nor taken away.
fn write_beside(path: &Path, text: &str) -> std::io::Result<()> {
    let (mut tries, name) = (0..TRIES, path.file_name().unwrap_or_default().to_string_lossy());
    let (mut file, temporary) = loop {
        let number = tries.next().ok_or(std::io::ErrorKind::AlreadyExists)?;
        let temporary = path.with_file_name(format!(".{name}.{text}.{number}.tmp"));
        match File::create_new(&temporary) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => break (made?, temporary),
        }
    };
    file.write_all(text.as_bytes())
        .and_then(|()| std::fs::rename(&temporary, path))
        .inspect_err(|_| drop(std::fs::remove_file(&temporary)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_there_is_replaced_and_what_a_killed_one_has_left_is_not_in_the_way() {
        let directory = tempfile::tempdir().unwrap();
        let (path, pid) = (directory.path().join("pid"), Pid::from_raw(62).unwrap());
        std::fs::write(&path, "a longer number: 1234567890").unwrap();
        std::fs::write(directory.path().join(".pid.62.0.tmp"), "6").unwrap();
        for _ in 0..2 {
            write(Some(&path), pid).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), "62");
        }
        let left = directory.path().join(".pid.62.0.tmp");
        assert_eq!(std::fs::read_to_string(left).unwrap(), "6", "somebody else's");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2);
        let error = write(Some(&directory.path().join("no/such")), pid).unwrap_err().to_string();
        assert!(error.contains("no such file or directory"), "{error}");
    }

    #[test]
    fn a_pipe_is_written_to_and_stays() {
        let directory = tempfile::tempdir().unwrap();
        let (path, pid) = (directory.path().join("pid"), Pid::from_raw(62).unwrap());
        rustix::fs::mknodat(CWD, &path, rustix::fs::FileType::Fifo, MODE, 0).unwrap();
        let mut reader = File::options().read(true).write(true).open(&path).unwrap();
        write(Some(&path), pid).unwrap();
        let mut read = [0; 2];
        std::io::Read::read_exact(&mut reader, &mut read).unwrap();
        assert_eq!(&read, b"62");
        take_back(Some(&path), pid);
        assert!(!path.symlink_metadata().unwrap().is_file());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_taken_back_is_ones_own() {
        let directory = tempfile::tempdir().unwrap();
        let (path, pid) = (directory.path().join("pid"), Pid::from_raw(62).unwrap());
        take_back(Some(&path), pid);
        std::fs::write(&path, "621").unwrap();
        take_back(Some(&path), pid);
        assert!(path.exists(), "another's");
        write(Some(&path), pid).unwrap();
        take_back(Some(&path), pid);
        assert!(!path.exists());
    }
}
