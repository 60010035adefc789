//! The user's terminal: raw while a container has it, and restored on every way out.

use crate::error::{Error, Result};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::stdio;
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};
use std::os::fd::{AsRawFd as _, BorrowedFd};

/// The terminal of our stdin in raw mode, until this is dropped.
#[derive(Debug)]
pub struct Raw {
    before: Termios,
}

impl Raw {
    /// Makes it raw: every key goes to the container.
    pub fn enter() -> Result<Self> {
        let failed = || Error::system("make the terminal raw");
        let before = tcgetattr(stdio::stdin()).map_err(failed())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdio::stdin(), OptionalActions::Now, &raw).map_err(failed())?;
        Ok(Self { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that is gone needs no restoring. What is still in its output queue was meant for raw mode.
        let _ = tcsetattr(stdio::stdin(), OptionalActions::Drain, &self.before);
    }
}

/// Whether our stdin is a terminal.
#[must_use]
pub fn stdin_is_terminal() -> bool {
    isatty(stdio::stdin())
}

/// The size of our terminal: rows, columns.
#[must_use]
pub fn size() -> Option<(u16, u16)> {
    let size = tcgetwinsize(stdio::stdout()).or_else(|_| tcgetwinsize(stdio::stdin())).ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}

/// Refuses a terminal for the container whose input is not one.
pub fn check(interactive: bool, tty: bool, detach: bool) -> Result<()> {
    if interactive && tty && !detach && !stdin_is_terminal() {
        return Err(Error::NoTerminal);
    }
    Ok(())
}

/// Asks a question on stdout and reads the answer from stdin: whether it is yes.
pub fn confirm(question: &str) -> Result<bool> {
    write_out(stdio::stdout(), question.as_bytes())?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(Error::system("read the answer"))?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// Writes everything, also to a descriptor that somebody has made non-blocking.
pub fn write_out(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let _ = poll(&mut [PollFd::new(&fd, PollFlags::OUT)], None);
            }
            Err(errno) if fd.as_raw_fd() == stdio::raw_stderr() => {
                return Err(Error::system("write to stderr")(errno));
            }
            Err(errno) => return Err(Error::system("write to stdout")(errno)),
        }
    }
    Ok(())
}
