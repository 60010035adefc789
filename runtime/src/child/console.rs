//! The pseudo-terminal of a container with `process.terminal`.

use super::Child;
use super::file_systems::{attach, clone_tree};
use crate::plan::op::Console;
use rustix::fs::{Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use rustix::termios::Winsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use sys::beneath::{self, Target};

/// `DEVPTS_SUPER_MAGIC`
const DEVPTS: u64 = 0x1cd1;
/// The name that goes with the master: what runc sends is for show, and nobody opens it.
const NAME: &[u8] = b"/dev/ptmx";

impl Child<'_> {
    /// The pair comes from the container's own devpts, checked to be one, and the slave from the master itself: no path in
    /// /dev/pts is ever opened (CVE-2025-52565).
    pub(super) fn console(&self, console: Console) -> Result<(), Errno> {
        let root = self.root()?;
        let pts = beneath::find(root, c"dev/pts")?;
        if u64::try_from(rustix::fs::fstatfs(&pts)?.f_type) != Ok(DEVPTS) {
            return Err(Errno::NOTTY);
        }
        // Looked at before it is opened: an image could have a device there that acts on being opened.
        let master = beneath::open_with(
            pts.as_fd(),
            c"ptmx",
            OFlags::RDWR | OFlags::NOCTTY,
            Mode::empty(),
            ResolveFlags::NO_XDEV,
        )?;
        unlockpt(&master)?;
        let slave = ioctl_tiocgptpeer(
            &master,
            OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC,
        )?;
        if let Some((rows, columns)) = console.size {
            let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
            rustix::termios::tcsetwinsize(&master, size)?;
        }
        if console.uid != 0 {
            rustix::fs::fchown(&slave, Some(Uid::from_raw(console.uid)), None)?;
        }
        if console.mount {
            let target = Target::new(b"dev/console").map_err(|_| Errno::INVAL)?;
            let target = target.ensure_with(root, true, ResolveFlags::NO_SYMLINKS)?;
            attach(clone_tree(slave.as_fd(), c"", false)?, target.as_fd())?;
        }
        self.hand_out(&master)?;
        become_terminal(slave.as_fd())
    }

    fn hand_out(&self, master: &OwnedFd) -> Result<(), Errno> {
        let socket = self.resources.console.as_ref().ok_or(Errno::BADF)?;
        send_master(socket.as_fd(), master.as_fd())
    }
}

/// Sends a terminal's master to whoever is to hold it.
pub(crate) fn send_master(socket: BorrowedFd<'_>, master: BorrowedFd<'_>) -> Result<(), Errno> {
    sys::fd::send(socket, NAME, master)
}

/// The session was made by an earlier step, so that the terminal can become its controlling one.
fn become_terminal(slave: BorrowedFd<'_>) -> Result<(), Errno> {
    rustix::process::ioctl_tiocsctty(slave)?;
    rustix::stdio::dup2_stdin(slave)?;
    rustix::stdio::dup2_stdout(slave)?;
    rustix::stdio::dup2_stderr(slave)
}
