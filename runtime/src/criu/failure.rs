//! Why criu failed, as far as it says so: in its answer, in its log, or on its standard error.

use std::fmt;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use super::rpc::{Kind, Response};
use rustix::fs::{Mode, OFlags};
use std::os::fd::BorrowedFd;

/// What criu could not do.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    /// What it was asked for, or what it failed to answer.
    pub kind: Kind,
    /// What that is for.
    pub what: String,
    /// Its errno, 0 if it gave none.
    pub errno: i32,
    /// The last error in its log, or its own words.
    pub reason: String,
    /// Its log, where it came to write one.
    pub log: Option<PathBuf>,
}

/// The reason when there is no criu.
pub const NOT_FOUND: &str = "`criu` is not in PATH";

/// How much of the end of a log is looked at, in bytes.
const TAIL: u64 = 64 * 1024;

impl Failure {
    /// From criu's answer.
    pub fn answered(what: String, asked: Kind, response: &Response) -> Failure {
        Failure {
            kind: response.kind.unwrap_or(asked),
            what,
            errno: response.errno,
            reason: response.message.clone(),
            log: None,
        }
    }

    /// Adds what the log says. `directory` is where criu wrote it.
    #[must_use]
    pub fn with_log(mut self, directory: BorrowedFd<'_>, path: PathBuf, name: &str) -> Failure {
        // A link with that name is not followed: a directory of images may be from anywhere.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let Ok(file) = rustix::fs::openat(directory, name, flags, Mode::empty()) else {
            return self;
        };
        if let Some(line) = last_error(file.into()) {
            self.reason = line;
        }
        self.log = Some(path.join(name));
        self
    }

    /// Adds what criu wrote to its standard error before it had a log.
    #[must_use]
    pub fn with_output(mut self, output: std::fs::File) -> Failure {
        if let Some(line) = last_error(output) {
            self.reason = line;
        }
        self
    }

    /// What the reader can do.
    pub fn hint(&self) -> String {
        if self.reason == NOT_FOUND {
            return "criu is a package of its own on most distributions".to_owned();
        }
        if self.reason.contains("kerndat") || self.reason.contains("vdso") {
            return "this criu does not know this kernel: `criu check` shows what is missing, and a newer criu may have it"
                .to_owned();
        }
        "`criu check --all` shows what criu and the kernel can do; criu's log has the details"
            .to_owned()
    }
}

impl fmt::Display for Failure {
    /// With runc's words in it, which people search for.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot {}: criu failed: type {} errno {}",
            self.what,
            self.kind.name(),
            self.errno
        )?;
        if !self.reason.is_empty() {
            write!(f, ": {}", self.reason)?;
        }
        match &self.log {
            Some(log) => write!(f, " (log file: {})", log.display()),
            None => Ok(()),
        }
    }
}

/// The last line that tells of an error, without the time before it.
fn last_error(mut file: std::fs::File) -> Option<String> {
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).ok()?;
    let mut text = Vec::new();
    file.take(TAIL).read_to_end(&mut text).ok()?;
    // The first is the cause; the others are of what was given up because of it.
    let text = String::from_utf8_lossy(&text);
    let errors: Vec<&str> =
        text.lines().filter_map(|line| line.find("Error (").map(|at| &line[at..])).collect();
    let told =
        |line: &&&str| !line.contains("Dumping FAILED") && !line.contains("Restoring FAILED");
    errors.iter().find(told).or(errors.last()).map(|line| line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_failure_has_runcs_words_criu_s_first_error_and_the_log() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(
            directory.path().join("dump.log"),
            "(00.01) mnt: fine\n(00.02) Error (criu/tty.c:1): tty: dangling\n(00.03) Error (criu/cr-dump.c:2): Dumping FAILED.\n",
        )
        .unwrap();
        let fd = std::fs::File::open(directory.path()).unwrap();
        let response = Response { kind: Some(Kind::Dump), errno: 22, ..Response::default() };
        let failure = Failure::answered("checkpoint container `c`".into(), Kind::Dump, &response)
            .with_log(fd.as_fd(), "/images".into(), "dump.log");
        assert_eq!(
            failure.to_string(),
            "cannot checkpoint container `c`: criu failed: type DUMP errno 22: Error (criu/tty.c:1): tty: dangling (log file: /images/dump.log)"
        );
    }

    #[test]
    fn a_link_in_the_logs_place_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("secret"), "Error (a secret)\n").unwrap();
        std::os::unix::fs::symlink("secret", directory.path().join("dump.log")).unwrap();
        let fd = std::fs::File::open(directory.path()).unwrap();
        let failure = Failure::answered("x".into(), Kind::Dump, &Response::default()).with_log(
            fd.as_fd(),
            "/images".into(),
            "dump.log",
        );
        assert_eq!((failure.reason.as_str(), failure.log), ("", None));
    }

    #[test]
    fn a_kernel_that_criu_does_not_know_has_a_hint_of_its_own() {
        let mut failure = Failure::answered("x".into(), Kind::Version, &Response::default());
        assert!(failure.hint().contains("criu check --all"));
        failure.reason = "Error (criu/kerndat.c:1): kerndat_vdso failed".into();
        assert!(failure.hint().contains("newer criu"));
    }
}
