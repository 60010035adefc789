//! sd_notify(3) for containers: the program says that it is ready, and the service manager that waits for us is told so.
//!
//! As in runc, the container of a caller with `NOTIFY_SOCKET` finds a socket of its own in that variable. `create` makes the directory
//! that it sees at /run/notify; the socket is made there by whoever is to listen, `start` or `run`. Nothing that a container sends
//! reaches the manager: a line `READY=1` makes us send our own words, all else is read and forgotten, fds that come with it too.

use crate::error::{Error, Result};
use crate::log;
use crate::record::{Record, datagrams};
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, recv, send,
    sendmsg,
};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, getpid};
use std::ffi::OsString;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// Whom our caller wants to be told, as the variable has it; none when it is empty, as with runc.
pub fn address() -> Option<OsString> {
    std::env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty())
}

/// The largest message that is looked at. The manager's own limit is half of it (systemd: PIPE_BUF).
const LARGEST: usize = 8192;
/// How many messages are read before something else has its turn: more than a socket has room for (net.unix.max_dgram_qlen).
const MOST: usize = 1024;
/// How long the manager may take: runc's limit.
const PATIENCE: Duration = Duration::from_secs(30);

/// The service manager, reached.
#[derive(Debug)]
pub struct Manager {
    socket: OwnedFd,
    address: OsString,
}

impl Manager {
    /// Reaches the one that the environment names, if it names one.
    ///
    /// # Errors
    /// When the address is none, or nobody is there.
    pub fn of_caller() -> Result<Option<Manager>> {
        address().map(Manager::reach).transpose()
    }

    fn reach(address: OsString) -> Result<Manager> {
        match connect(address.as_bytes()) {
            Ok(socket) => Ok(Manager { socket, address }),
            Err(errno) => Err(Error::Hinted {
                what: format!(
                    "reach the service manager at `{}` (NOTIFY_SOCKET)",
                    address.to_string_lossy()
                ),
                errno,
                hint: match errno {
                    Errno::AFNOSUPPORT => {
                        "it has to be an absolute path, or `@` and the name of an abstract socket"
                    }
                    _ => "unset NOTIFY_SOCKET if nobody waits for the container to be ready",
                },
            }),
        }
    }

    /// Tells that the service is ready, and which process it is now.
    fn tell(&self, main: Pid) -> Result<()> {
        let main = format!("MAINPID={}\n", main.as_raw_nonzero());
        ["READY=1\n", &main]
            .into_iter()
            .try_for_each(|text| {
                send(&self.socket, text.as_bytes(), SendFlags::NOSIGNAL).map(|_| ())
            })
            .map_err(|errno| self.failed(errno))
    }

    /// Waits until the manager has read what it was told: it looks at who has sent it, and we are about to end.
    /// It closes the pipe's end then (sd_notify_barrier(3)).
    fn settle(&self) -> Result<()> {
        match self.barrier() {
            Ok(true) => {}
            Ok(false) => log::tell(&format!(
                "the service manager at `{}` (NOTIFY_SOCKET) does not confirm that it has read what it was told",
                self.address.to_string_lossy()
            )),
            Err(errno) => return Err(self.failed(errno)),
        }
        Ok(())
    }

    fn barrier(&self) -> std::result::Result<bool, Errno> {
        let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
        let fds = [theirs.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !ancillary.push(SendAncillaryMessage::ScmRights(&fds)) {
            return Err(Errno::NOBUFS);
        }
        let text = [IoSlice::new(b"BARRIER=1")];
        sendmsg(&self.socket, &text, &mut ancillary, SendFlags::NOSIGNAL)?;
        drop(theirs);
        let limit = Timespec::try_from(PATIENCE).map_err(|_| Errno::INVAL)?;
        // There are no handlers that could interrupt it; after a stop the kernel goes on with what is left of the time (signal(7)).
        poll(&mut [PollFd::new(&ours, PollFlags::IN)], Some(&limit)).map(|ready| ready > 0)
    }

    fn failed(&self, errno: Errno) -> Error {
        let address = self.address.to_string_lossy();
        Error::system(
            format!(
                "tell the service manager at `{address}` (NOTIFY_SOCKET) that the container is ready"
            ),
            errno,
        )
    }
}

fn connect(address: &[u8]) -> std::result::Result<OwnedFd, Errno> {
    let address = parse(address)?;
    let socket = datagrams()?;
    // A manager that does not read must not hold us up for ever.
    set_socket_timeout(&socket, Timeout::Send, Some(PATIENCE))?;
    rustix::net::connect(&socket, &address)?;
    Ok(socket)
}

/// As sd_notify(3) has addresses; it takes no path that is relative.
fn parse(address: &[u8]) -> std::result::Result<SocketAddrUnix, Errno> {
    match address {
        [b'/', ..] => SocketAddrUnix::new(address),
        [b'@', name @ ..] if !name.is_empty() => SocketAddrUnix::new_abstract_name(name),
        _ => Err(Errno::AFNOSUPPORT),
    }
}

/// Whether a program says that it is ready.
fn says_ready(message: &[u8]) -> bool {
    message.split(|byte| *byte == b'\n').any(|line| line == b"READY=1")
}

/// A container's socket, and who is to be told.
#[derive(Debug)]
pub struct Notify {
    container: OwnedFd,
    manager: Manager,
}

impl Notify {
    /// Between a container and a manager, where there are both.
    pub fn between(container: Option<OwnedFd>, manager: Option<Manager>) -> Option<Notify> {
        container.zip(manager).map(|(container, manager)| Notify { container, manager })
    }

    /// What `start` needs, before the container goes on: who is told, and the socket at which the container finds it.
    ///
    /// # Errors
    /// When the manager cannot be reached; when the container was created without a place for a socket.
    pub fn for_start(record: &Record) -> Result<Option<Notify>> {
        let Some(manager) = Manager::of_caller()? else { return Ok(None) };
        if !record.saved.notify {
            return Err(Error::Hinted {
                what: format!(
                    "start container `{}` with NOTIFY_SOCKET, which it was created without",
                    record.saved.id
                ),
                errno: Errno::NOENT,
                hint: "set NOTIFY_SOCKET for `create` too, or unset it for `start`",
            });
        }
        let container = record.listen_for_notify()?;
        Ok(Some(Notify { container, manager }))
    }

    /// Waits until the program is ready, and says so, or until the init ends.
    ///
    /// # Errors
    /// When the manager cannot be told.
    pub fn wait(&self, init: BorrowedFd<'_>, pid: Pid) -> Result<()> {
        let ready = self.await_ready(init);
        let ready = ready.map_err(|errno| {
            Error::system("wait for the container's program to be ready", errno)
        })?;
        if ready {
            self.manager.tell(pid)?;
            self.manager.settle()?;
        }
        Ok(())
    }

    fn await_ready(&self, init: BorrowedFd<'_>) -> std::result::Result<bool, Errno> {
        loop {
            let mut fds = [
                PollFd::new(&self.container, PollFlags::IN),
                PollFd::from_borrowed_fd(init, PollFlags::IN),
            ];
            poll(&mut fds, None)?;
            let ended = !fds[1].revents().is_empty();
            // Its last word may have been that it is ready.
            if self.take()? {
                return Ok(true);
            }
            if ended {
                return Ok(false);
            }
        }
    }

    /// Reads what there is, and returns whether the program is ready. Without room for them, the kernel closes fds that come along.
    ///
    /// Not a part of its callers, whose stack would have room for the buffer whether there is a socket or not.
    #[inline(never)]
    fn take(&self) -> std::result::Result<bool, Errno> {
        let mut buffer = [0; LARGEST];
        for _ in 0..MOST {
            match recv(&self.container, &mut buffer, RecvFlags::DONTWAIT | RecvFlags::TRUNC) {
                Ok((read, length)) if length <= LARGEST && says_ready(&buffer[..read]) => {
                    return Ok(true);
                }
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(false),
                Err(errno) => return Err(errno),
            }
        }
        Ok(false)
    }
}

/// The same for who waits for signals: one fd tells of both.
#[derive(Debug)]
pub struct Relay {
    notify: Notify,
    both: OwnedFd,
    told: bool,
}

impl Relay {
    /// Beside the fd of signals.
    ///
    /// # Errors
    /// When there can be no more fds.
    pub fn beside(signals: BorrowedFd<'_>, notify: Notify) -> Result<Relay> {
        let both = epoll::create(epoll::CreateFlags::CLOEXEC).and_then(|both| {
            for fd in [signals, notify.container.as_fd()] {
                epoll::add(&both, fd, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
            }
            Ok(both)
        });
        let both = both.map_err(|errno| Error::system("prepare for NOTIFY_SOCKET", errno))?;
        Ok(Relay { notify, both, told: false })
    }

    /// Readable when there is a signal or a message.
    pub fn awaited(&self) -> BorrowedFd<'_> {
        self.both.as_fd()
    }

    /// Takes what there is. The service's main process is we, as with runc: we pass its signals on, and end as it does. What comes after
    /// is read too: nobody reads it otherwise, and a program would wait for that for ever. There is no barrier to wait for: we stay.
    pub fn pass_on(&mut self) {
        let taken = self.notify.take();
        let told = match taken {
            Ok(ready) if ready && !self.told => {
                self.told = true;
                self.notify.manager.tell(getpid())
            }
            Ok(_) => Ok(()),
            Err(errno) => Err(self.notify.manager.failed(errno)),
        };
        // The container runs, and goes on to.
        if let Err(error) = told {
            log::tell(&error.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType};

    #[test]
    fn a_line_of_its_own_says_ready_and_nothing_else_does() {
        for message in ["READY=1", "READY=1\n", "STATUS=up\nREADY=1", "READY=1\nMAINPID=7\n"] {
            assert!(says_ready(message.as_bytes()), "{message:?}");
        }
        for message in ["", "\n", "READY=0", "READY=11", "XREADY=1", "READY=1 ", "STATUS=READY=1"] {
            assert!(!says_ready(message.as_bytes()), "{message:?}");
        }
    }

    #[test]
    fn addresses_are_absolute_paths_and_abstract_names() {
        let path = parse(b"/run/systemd/notify").unwrap();
        assert_eq!(path.path_bytes(), Some(&b"/run/systemd/notify"[..]));
        let name = parse(b"@/org/freedesktop/systemd1/notify/1").unwrap();
        assert_eq!(name.abstract_name(), Some(&b"/org/freedesktop/systemd1/notify/1"[..]));
        for other in ["notify.sock", "./x", "vsock:2:1234", "@", ""] {
            assert_eq!(parse(other.as_bytes()).unwrap_err(), Errno::AFNOSUPPORT, "{other}");
        }
        let long = format!("/{}", "x".repeat(200));
        assert_eq!(parse(long.as_bytes()).unwrap_err(), Errno::NAMETOOLONG);
    }

    #[test]
    fn a_message_that_is_cut_does_not_count_and_a_flood_is_read_in_parts() {
        let (container, program) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )
        .unwrap();
        let manager = Manager { socket: datagrams().unwrap(), address: "/x".into() };
        let notify = Notify { container, manager };
        let say = |message: &[u8]| send(&program, message, SendFlags::empty()).unwrap();
        let padded = |length: usize| {
            let mut message = b"READY=1\n".to_vec();
            message.resize(length, b'x');
            message
        };
        say(&padded(LARGEST + 1));
        assert_eq!(notify.take(), Ok(false));
        say(b"STATUS=nearly");
        say(&padded(LARGEST));
        assert_eq!(notify.take(), Ok(true));
        assert_eq!(notify.take(), Ok(false));
    }
}
