//! The two ends of a container's stdio: what the runtime is given, and what the monitor keeps.

use crate::container::Attachment;
use crate::error::{Error, Result};
use crate::runtime::{Streams, null};
use crate::socket::{Address, listen_at};
use crate::stream::Stream;
use rustix::io::{Errno, fcntl_setfd};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType, accept_with,
    recvmsg,
};
use rustix::pipe::{PipeFlags, pipe_with};
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// The ends that the monitor, or `nman exec`, keeps.
#[derive(Debug)]
pub struct Ends {
    /// Where the process's output is read, and as which stream it counts.
    pub outputs: Vec<(OwnedFd, Stream)>,
    /// Where its input is written.
    pub input: Option<OwnedFd>,
    /// Whether they are one terminal.
    pub terminal: bool,
}

/// What came of reading an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// There may be more.
    More,
    /// There is nothing now.
    Nothing,
    /// There will never be more.
    End,
}

impl Ends {
    /// Writes of `unread` to the process's input what it takes. `false` when nobody reads that any more: it is closed then, and
    /// what was left is dropped.
    pub fn feed(&mut self, unread: &mut Vec<u8>) -> bool {
        let Some(input) = &self.input else { return true };
        match rustix::io::write(input, unread) {
            Ok(written) => {
                unread.drain(..written);
                true
            }
            Err(Errno::AGAIN | Errno::INTR) => true,
            Err(_) => {
                unread.clear();
                self.input = None;
                false
            }
        }
    }
}

/// Pipes for a process without a terminal: its ends and ours.
pub fn pipes(attachment: Attachment) -> Result<(Streams, Ends)> {
    let make = || pipe_with(PipeFlags::CLOEXEC).map_err(Error::system("make a pipe"));
    let (stdout, stdout_end) = make()?;
    let (stderr, stderr_end) = make()?;
    let (stdin_end, input) = if attachment.stdin {
        let (stdin_end, input) = make()?;
        (stdin_end, Some(input))
    } else {
        (null()?, None)
    };
    // Only our ends: the flag belongs to the open file, and a program with a non-blocking stdin fails.
    for end in [Some(&stdout), Some(&stderr), input.as_ref()].into_iter().flatten() {
        set_nonblocking(end)?;
    }
    let outputs = vec![(stdout, Stream::Stdout), (stderr, Stream::Stderr)];
    let streams = Streams { stdin: stdin_end, stdout: stdout_end, stderr: stderr_end };
    Ok((streams, Ends { outputs, input, terminal: false }))
}

/// The socket by which a runtime hands over the master end of a terminal. Its path is gone when it is dropped.
#[derive(Debug)]
pub struct ConsoleSocket {
    socket: OwnedFd,
    path: PathBuf,
    address: Address,
}

impl ConsoleSocket {
    /// Listens at `path`, in a directory that only root may enter.
    pub fn listen(path: PathBuf) -> Result<Self> {
        let socket = listen_at(&path, SocketType::STREAM)?;
        let address = Address::of(&path).map_err(Error::io("name", &path))?;
        Ok(Self { socket, path, address })
    }

    /// Where the runtime connects to.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.address.path()
    }

    /// Takes the terminal that the runtime, which has returned by now, has sent.
    pub fn receive(self) -> Result<Ends> {
        let receive = || -> std::result::Result<Option<OwnedFd>, Errno> {
            // Non-blocking: a runtime that has returned without connecting never will.
            rustix::io::ioctl_fionbio(&self.socket, true)?;
            let connection = accept_with(&self.socket, SocketFlags::CLOEXEC)?;
            take_fd(&connection)
        };
        let master = receive()
            .and_then(|master| master.ok_or(Errno::PROTO))
            .map_err(Error::system("take the container's terminal from the runtime"))?;
        set_nonblocking(&master)?;
        let copy = rustix::io::fcntl_dupfd_cloexec(&master, 3)
            .map_err(Error::system("copy the container's terminal"))?;
        Ok(Ends { outputs: vec![(master, Stream::Stdout)], input: Some(copy), terminal: true })
    }
}

impl Drop for ConsoleSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn take_fd(connection: &OwnedFd) -> std::result::Result<Option<OwnedFd>, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    // The payload is the terminal's name, which says nothing that the fd does not.
    let mut name = [0_u8; 4096];
    recvmsg(
        connection,
        &mut [IoSliceMut::new(&mut name)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let mut fds = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    Ok(fds.next().and_then(|mut fds| fds.next()))
}

fn set_nonblocking(fd: &OwnedFd) -> Result<()> {
    rustix::io::ioctl_fionbio(fd, true).map_err(Error::system("make a pipe non-blocking"))?;
    fcntl_setfd(fd, rustix::io::FdFlags::CLOEXEC).map_err(Error::system("keep a pipe to ourselves"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_that_sends_no_terminal_is_an_error_not_a_wait() {
        let dir = tempfile::tempdir().unwrap();
        let socket = ConsoleSocket::listen(dir.path().join("console")).unwrap();
        let path = socket.path().to_owned();
        assert!(socket.receive().is_err());
        assert!(!path.exists());
    }

    #[test]
    fn a_path_that_is_too_long_for_an_address_is_listened_at_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("d".repeat(120));
        std::fs::create_dir(&deep).unwrap();
        let socket = ConsoleSocket::listen(deep.join("console")).unwrap();
        std::os::unix::net::UnixStream::connect(socket.path()).unwrap();
        assert!(deep.join("console").exists());
        drop(socket);
        assert!(!deep.join("console").exists());
    }

    #[test]
    fn without_i_stdin_is_dev_null() {
        let (_, ends) = pipes(Attachment::default()).unwrap();
        assert!(ends.input.is_none());
        assert_eq!(ends.outputs.len(), 2);
    }
}
