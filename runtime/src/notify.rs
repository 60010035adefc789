//! seccomp user notification: the agent that decides, and how it gets the listener.
//!
//! The filter is the last thing that a process installs, so the listener's fd is told by its number, with the one system call
//! that every profile leaves alone. Whoever follows that process takes a copy with pidfd_getfd(2), sends it to the agent with the
//! container process state (runtime-spec, config-linux.md), one connection each, and lets the process go on.

use crate::error::{Error, Result};
use crate::hooks;
use crate::plan::Plan;
use crate::plan::op::Op;
use crate::plan::seccomp::Listener;
use crate::record::Saved;
use crate::socket;
use crate::wire::Message;
use rustix::io::Errno;
use rustix::net::sockopt::set_socket_passcred;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, Shutdown, recvmsg, sendmsg,
};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use serde_json::json;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// The one fd that is sent, by its name in the specification.
const FD_NAME: &str = "seccompFd";

/// Who sent a message.
#[derive(Debug)]
pub struct Sender {
    /// Its process id: a hook of the start phase has a filter of its own, and only the kernel can tell us which process it is.
    pid: Pid,
    /// The listener, where the process sends it itself.
    listener: Option<OwnedFd>,
}

/// A seccomp agent that takes listeners.
#[derive(Debug)]
pub struct Agent {
    listener: Listener,
    /// The connection for the next listener: the first is made before anything of the container is.
    next: Option<OwnedFd>,
}

impl Agent {
    /// Connects to the agent.
    ///
    /// # Errors
    /// When nobody listens there.
    pub fn connect(listener: &Listener) -> Result<Agent> {
        let next = Some(connect(&listener.path)?);
        Ok(Agent { listener: listener.clone(), next })
    }

    /// Makes the kernel name the sender of each message on a socket. To be called before the other side goes on.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn watch(&self, socket: BorrowedFd<'_>) -> Result<()> {
        set_socket_passcred(socket, true).map_err(|errno| self.failed(errno))
    }

    /// Receives a message with its sender.
    ///
    /// # Errors
    /// `EBADMSG` for anything that is not a message.
    pub fn receive(
        &self,
        socket: BorrowedFd<'_>,
    ) -> std::result::Result<Option<(Message, Sender)>, Errno> {
        let mut space =
            [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1), ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut bytes = [0; 16];
        let length = loop {
            let mut into = [IoSliceMut::new(&mut bytes)];
            match recvmsg(socket, &mut into, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
                Err(Errno::INTR) => {}
                received => break received?.bytes,
            }
        };
        if length == 0 {
            return Ok(None);
        }
        let (mut pid, mut listener) = (None, None);
        for message in ancillary.drain() {
            match message {
                RecvAncillaryMessage::ScmCredentials(credentials) => pid = Some(credentials.pid),
                RecvAncillaryMessage::ScmRights(mut fds) => listener = fds.next(),
                _ => {}
            }
        }
        let message = Message::received(&bytes[..length.min(bytes.len())])?;
        Ok(Some((message, Sender { pid: pid.ok_or(Errno::BADMSG)?, listener })))
    }

    /// Sends the listener to the agent: the one that came from `sender`, or its `fd`. `status` is the container's.
    ///
    /// # Errors
    /// When it cannot be taken, or the agent does not take it.
    pub fn hand_over(
        &mut self,
        sender: Sender,
        fd: i32,
        saved: &Saved,
        status: &str,
    ) -> Result<()> {
        let Sender { pid: sender, listener } = sender;
        let take = || {
            let process = pidfd_open(sender, PidfdFlags::empty())?;
            pidfd_getfd(process, fd, PidfdGetfdFlags::empty())
        };
        let taken = listener.map_or_else(take, Ok).map_err(|errno| {
            Error::system("take the seccomp listener from the container's process", errno)
        })?;
        let socket = match self.next.take() {
            Some(socket) => socket,
            None => connect(&self.listener.path)?,
        };
        let text = self.state(sender, saved, status);
        send(socket.as_fd(), text.as_bytes(), taken.as_fd()).map_err(|errno| self.failed(errno))
    }

    /// The container process state.
    fn state(&self, sender: Pid, saved: &Saved, status: &str) -> String {
        let sender = sender.as_raw_nonzero().get();
        let init = if saved.pid == 0 { sender } else { saved.pid };
        let mut state = json!({
            "ociVersion": saved.oci_version,
            "fds": [FD_NAME],
            "pid": sender,
            "state": hooks::subject(saved).state(status, init.unsigned_abs()),
        });
        if let Some(metadata) = self.listener.metadata.as_ref().filter(|text| !text.is_empty()) {
            state["metadata"] = metadata.as_str().into();
        }
        state.to_string()
    }

    fn failed(&self, errno: Errno) -> Error {
        let path = self.listener.path.display();
        Error::system(format!("send the seccomp listener to the agent at `{path}`"), errno)
    }
}

impl Plan {
    /// Who decides on system calls, where the filter leaves it to somebody.
    pub fn listener(&self) -> Option<&Listener> {
        self.steps.iter().find_map(|step| match &step.op {
            Op::Seccomp { listener, .. } => listener.as_ref(),
            _ => None,
        })
    }
}

/// That there is a socket for an agent: `create` leaves the connection to `start`, because an agent gets one listener by each.
///
/// # Errors
/// When there is none.
pub fn check(listener: &Listener) -> Result<()> {
    let path = &listener.path;
    let stat = rustix::fs::stat(path).map_err(|errno| unreachable(path, errno))?;
    match rustix::fs::FileType::from_raw_mode(stat.st_mode) {
        rustix::fs::FileType::Socket => Ok(()),
        _ => Err(unreachable(path, Errno::NOTSOCK)),
    }
}

fn connect(path: &Path) -> Result<OwnedFd> {
    socket::connect_stream(path).map_err(|errno| unreachable(path, errno))
}

/// With runc's words in it.
fn unreachable(path: &Path, errno: Errno) -> Error {
    Error::State(format!(
        "failed to connect with seccomp agent `{}` (config.json /linux/seccomp/listenerPath): {}",
        path.display(),
        sys::text(errno)
    ))
}

/// The fd goes with the first bytes; what does not fit into the socket at once follows.
fn send(socket: BorrowedFd<'_>, text: &[u8], fd: BorrowedFd<'_>) -> std::result::Result<(), Errno> {
    let fds = [fd];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(Errno::NOBUFS);
    }
    let mut sent = sendmsg(socket, &[IoSlice::new(text)], &mut ancillary, SendFlags::NOSIGNAL)?;
    while sent < text.len() {
        sent += rustix::net::send(socket, &text[sent..], SendFlags::NOSIGNAL)?;
    }
    // The container's process has a copy of this socket until its exec, which may be what the agent is to decide on.
    rustix::net::shutdown(socket, Shutdown::Both)
}
