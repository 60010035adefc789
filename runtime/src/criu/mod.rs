//! criu: the program that writes processes to disk and makes them from there.
//!
//! It is started as `criu swrk N`, serves one request on the socket N, and reports on the way where it is, so that the
//! runtime can do its own part there. It is a privileged program of the host: it is looked up in the runtime's own PATH, and gets
//! no file descriptors but those that it is meant to have.

pub mod failure;
pub mod mounts;
pub mod namespaces;
pub mod options;
pub mod protobuf;
pub mod root;
pub mod rpc;
pub mod stdio;

use crate::error::{Error, Result};
use failure::Failure;
use protobuf::Message;
use rpc::{Kind, Response};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, SocketFlags,
    SocketType, recvmsg, send, socketpair,
};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, waitpid};
use std::ffi::CString;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use sys::exec::CStringArray;
use sys::{clone, signals};

/// The oldest criu that is taken: the first that reports `status-ready`, and knows external pid namespaces (2020).
const OLDEST: i32 = 31500;
/// Longer than any answer: the longest has a path of the host in it.
const ANSWER: usize = 40 * 1024;
/// The status of a child that could not become criu.
const FAILED: i32 = 127;

/// A criu that is installed and new enough.
#[derive(Debug)]
pub struct Criu {
    program: CString,
    /// 31701 is 3.17.1.
    pub version: i32,
}

/// How criu is started, besides its socket.
#[derive(Debug, Default)]
pub struct Launch<'a> {
    /// File descriptors that it inherits, under their numbers.
    pub inherited: Vec<BorrowedFd<'a>>,
    /// What takes its standard error; ours if there is none.
    pub stderr: Option<BorrowedFd<'a>>,
}

/// Our part of what criu does.
pub trait Conversation {
    /// criu runs, and waits for the request: whatever it makes will be in the cgroups that it is put into now.
    ///
    /// # Errors
    /// For which the request is not made.
    fn started(&mut self, _criu: Pid) -> Result<()> {
        Ok(())
    }

    /// criu is at a point that it reports, and waits.
    ///
    /// # Errors
    /// For which criu takes back what it did.
    fn notice(&mut self, _notice: Notice) -> Result<()> {
        Ok(())
    }
}

/// A request on the way of which there is nothing to be done.
struct Question;

impl Conversation for Question {}

/// Where criu is, and the file descriptors that come with it.
#[derive(Debug)]
pub struct Notice {
    /// The name of the point.
    pub script: String,
    /// The process that it is about, in our pid namespace; 0 if it is about none.
    pub pid: i32,
    /// The master of a terminal (`orphan-pts-master`).
    pub fd: Option<OwnedFd>,
}

impl Criu {
    /// Finds criu, under the name or at the path that `--criu` gives, and asks for its version.
    ///
    /// # Errors
    /// When it is not installed, too old, or does not work on this kernel.
    pub fn find(named: Option<&str>) -> Result<Criu> {
        let named = named.unwrap_or("criu");
        let usable = |program: &Path| {
            program.is_file() && rustix::fs::access(program, rustix::fs::Access::EXEC_OK).is_ok()
        };
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = match named.contains('/') {
            true => std::path::absolute(named).ok().filter(|program| usable(program)),
            false => std::env::split_paths(&path)
                .filter(|directory| directory.is_absolute())
                .map(|directory| directory.join(named))
                .find(|program| usable(program)),
        };
        let program = found.and_then(|path| CString::new(path.into_os_string().into_vec()).ok());
        let program = program.ok_or_else(|| {
            Error::Criu(Box::new(Failure {
                kind: Kind::Version,
                what: "checkpoint and restore containers".into(),
                errno: 0,
                reason: failure::NOT_FOUND.into(),
                log: None,
            }))
        })?;
        let mut criu = Criu { program, version: 0 };
        let what = "find out criu's version";
        criu.version = criu.ask(&rpc::version_request(), Kind::Version, what)?.version;
        if criu.version < OLDEST {
            return Err(Error::State(format!(
                "criu {} is too old: CRIU version must be 3.15 or higher",
                dotted(criu.version)
            )));
        }
        Ok(criu)
    }

    /// Makes sure that the kernel tracks memory (`--pre-dump`) or can bring it over later (`--lazy-pages`).
    ///
    /// # Errors
    /// When it cannot.
    pub fn require(&self, track: bool, lazy: bool) -> Result<()> {
        if !track && !lazy {
            return Ok(());
        }
        let what = "find out what criu can do";
        let response = self.ask(&rpc::feature_request(), Kind::FeatureCheck, what)?;
        let missing = match response.features {
            (false, _) if track => "MemTrack (`--pre-dump`)",
            (_, false) if lazy => "LazyPages (`--lazy-pages`)",
            _ => return Ok(()),
        };
        Err(Error::State(format!("criu is missing features: {missing}, on this kernel")))
    }

    /// A question without options. What criu writes to its standard error then is all that it says of a kernel it cannot
    /// work on.
    fn ask(&self, request: &Message, kind: Kind, what: &str) -> Result<Response> {
        let output = memfd_create("criu", MemfdFlags::CLOEXEC)
            .map_err(|errno| Error::system(what, errno))?;
        let launch = Launch { stderr: Some(output.as_fd()), ..Launch::default() };
        self.run(request, kind, what, &launch, &mut Question).map_err(|error| match error {
            Error::Criu(failure) => Error::Criu(Box::new(failure.with_output(output.into()))),
            error => error,
        })
    }

    /// Starts criu, makes the request, and does our part. criu has ended when this returns.
    ///
    /// # Errors
    /// What criu says, or the error of our part.
    pub fn run(
        &self,
        request: &Message,
        kind: Kind,
        what: &str,
        launch: &Launch<'_>,
        ours: &mut dyn Conversation,
    ) -> Result<Response> {
        let failed = |errno| Error::system(format!("{what}: talk to criu"), errno);
        let (socket, peer) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .map_err(failed)?;
        let child = self.spawn(peer.as_fd(), launch).map_err(failed)?;
        // Only criu holds the other end now: its end is the end of the socket.
        drop(peer);
        let conversation =
            ours.started(child.pid).and_then(|()| converse(&socket, request, kind, what, ours));
        // criu waits for further requests after a pre-dump.
        drop(socket);
        let ended = loop {
            match waitpid(Some(child.pid), WaitOptions::empty()) {
                Err(Errno::INTR) => {}
                ended => break ended.map_err(failed)?,
            }
        };
        match (conversation?, ended) {
            (Some(response), _) => Ok(response),
            (None, ended) => Err(silent(kind, what, ended.map(|(_, status)| status))),
        }
    }

    fn spawn(
        &self,
        socket: BorrowedFd<'_>,
        launch: &Launch<'_>,
    ) -> std::result::Result<clone::Child, Errno> {
        let number = socket.as_raw_fd().to_string();
        let argv = CStringArray::new(["criu", "swrk", &number]).map_err(|_| Errno::INVAL)?;
        let variables = std::env::vars_os()
            .map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat());
        let env = CStringArray::new(variables).map_err(|_| Errno::INVAL)?;
        clone::spawn(&clone::Options::default(), || {
            let _ = self.become_criu(socket, launch, &argv, &env);
            FAILED
        })
    }

    /// In the child: nothing but the program's own descriptors, signals as they are by default.
    fn become_criu(
        &self,
        socket: BorrowedFd<'_>,
        launch: &Launch<'_>,
        argv: &CStringArray,
        env: &CStringArray,
    ) -> std::result::Result<(), Errno> {
        if let Some(stderr) = launch.stderr {
            rustix::stdio::dup2_stderr(stderr)?;
        }
        sys::fd::cloexec_from(3)?;
        for fd in launch.inherited.iter().chain([&socket]) {
            fcntl_setfd(fd, FdFlags::empty())?;
        }
        for signal in [Signal::PIPE, Signal::CHILD, Signal::QUIT, Signal::TERM] {
            signals::set_default(signal);
        }
        signals::set_mask(&signals::Mask::empty());
        Err(sys::exec::execve(&self.program, argv, env))
    }
}

/// The conversation up to criu's final answer; `None` when criu ended without one.
fn converse(
    socket: &OwnedFd,
    request: &Message,
    kind: Kind,
    what: &str,
    ours: &mut dyn Conversation,
) -> Result<Option<Response>> {
    let failed = |errno| Error::system(format!("{what}: talk to criu"), errno);
    let say = |message: &Message| match send(socket, message.as_bytes(), SendFlags::NOSIGNAL) {
        // It is gone; what is to be read tells more.
        Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
        sent => sent.map(drop).map_err(failed),
    };
    say(request)?;
    loop {
        let Some((response, fd)) = receive(socket).map_err(failed)? else { return Ok(None) };
        match response.kind {
            _ if !response.success => {
                let failure = Failure::answered(what.to_owned(), kind, &response);
                return Err(Error::Criu(Box::new(failure)));
            }
            Some(Kind::Notify) => {
                let notice = Notice { script: response.script, pid: response.pid, fd };
                let handled = ours.notice(notice);
                say(&rpc::notified(handled.is_ok()))?;
                if handled.is_err() {
                    // criu takes back what it did, and ends.
                    while let Ok(Some(_)) = receive(socket) {}
                    return handled.map(|()| None);
                }
            }
            Some(answered) if answered == kind => return Ok(Some(response)),
            _ => return Err(failed(Errno::PROTO)),
        }
    }
}

/// One answer and the fd that came with it; `None` at the end.
fn receive(socket: &OwnedFd) -> std::result::Result<Option<(Response, Option<OwnedFd>)>, Errno> {
    let mut bytes = vec![0u8; ANSWER];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let length = loop {
        let mut parts = [IoSliceMut::new(&mut bytes)];
        match recvmsg(socket, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            Err(Errno::CONNRESET) => return Ok(None),
            received => break received?.bytes,
        }
    };
    let fds = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    let fd = fds.flatten().next();
    match length {
        0 => Ok(None),
        length if length == ANSWER => Err(Errno::MSGSIZE),
        length => Ok(Some((rpc::response(&bytes[..length]).ok_or(Errno::BADMSG)?, fd))),
    }
}

/// criu ended without an answer.
fn silent(kind: Kind, what: &str, status: Option<WaitStatus>) -> Error {
    let status = status.map(|status| (status.exit_status(), status.terminating_signal()));
    let reason = match status {
        Some((Some(FAILED), _)) => "it could not be executed".to_owned(),
        Some((Some(status), _)) => format!("it exited with status {status} without an answer"),
        Some((_, Some(signal))) => format!("it was killed by signal {signal}"),
        _ => "it ended without an answer".to_owned(),
    };
    Error::Criu(Box::new(Failure { kind, what: what.to_owned(), errno: 0, reason, log: None }))
}

fn dotted(version: i32) -> String {
    format!("{}.{}.{}", version / 10_000, version / 100 % 100, version % 100)
}
