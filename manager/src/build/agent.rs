//! `RUN --mount=type=ssh`: an agent for SSH, as far as a command needs one to sign with.
//!
//! The command gets a socket of ours and not the agent's own: that has its owner and mode, and would take orders to add, remove and lock
//! keys (the agent protocol, draft-ietf-sshm-ssh-agent). Here only the questions that a login asks are passed on.

use crate::error::{Error, Result};
use crate::socket::listen_at;
use rustix::net::{Shutdown, SocketType, shutdown};
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

/// SSH_AGENTC_REQUEST_IDENTITIES and SSH_AGENTC_SIGN_REQUEST.
const PASSED_ON: [u8; 2] = [11, 13];
/// SSH_AGENT_FAILURE, as a whole message.
const FAILURE: [u8; 5] = [0, 0, 0, 1, 5];
/// No message is longer than this, as with OpenSSH.
const LONGEST: u32 = 256 << 10;
/// As many connections are served at once.
const MOST: usize = 64;

/// A socket that stands for an agent, for as long as this is there.
#[derive(Debug)]
pub(super) struct Forwarding {
    listener: UnixListener,
    path: PathBuf,
}

impl Forwarding {
    /// Listens at `path` and asks the agent at `agent`.
    pub(super) fn begin(agent: &Path, path: PathBuf) -> Result<Self> {
        // Whether it is there is told now, and not by a command that fails.
        UnixStream::connect(agent).map_err(Error::io("reach the agent at", agent))?;
        let listener = UnixListener::from(listen_at(&path, SocketType::STREAM)?);
        let clients = listener.try_clone().map_err(Error::io("listen at", &path))?;
        let agent: Arc<Path> = agent.into();
        thread::spawn(move || {
            while let Ok((client, _)) = clients.accept() {
                // Each connection has the agent's name, and so is counted.
                let agent = Arc::clone(&agent);
                if Arc::strong_count(&agent) <= MOST + 1 {
                    thread::spawn(move || serve(client, &agent));
                }
            }
        });
        Ok(Self { listener, path })
    }
}

impl Drop for Forwarding {
    fn drop(&mut self) {
        // Nobody is accepted any more, and the thread ends. Connections end with those who have them.
        let _ = shutdown(&self.listener, Shutdown::Both);
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Passes on what one client asks. That it has gone, or the agent, is nobody's fault.
fn serve(mut client: UnixStream, agent: &Path) {
    let Ok(mut agent) = UnixStream::connect(agent) else { return };
    while let Ok(request) = message(&mut client) {
        let answer = match request.get(4) {
            Some(kind) if PASSED_ON.contains(kind) => {
                agent.write_all(&request).and_then(|()| message(&mut agent))
            }
            _ => Ok(FAILURE.to_vec()),
        };
        if answer.and_then(|answer| client.write_all(&answer)).is_err() {
            return;
        }
    }
}

/// One message with its length before it.
fn message(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let count = u32::from_be_bytes(length);
    if count > LONGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut message = length.to_vec();
    stream.take(u64::from(count)).read_to_end(&mut message)?;
    if message.len() != 4 + count as usize {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An agent that answers each message with its kind, and one more.
    fn agent(path: &Path) {
        let listener = UnixListener::bind(path).unwrap();
        thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                thread::spawn(move || {
                    while let Ok(request) = message(&mut client) {
                        let _ = client.write_all(&[0, 0, 0, 1, request[4] + 1]);
                    }
                });
            }
        });
    }

    fn ask(stream: &mut UnixStream, kind: u8) -> u8 {
        stream.write_all(&[0, 0, 0, 3, kind, 1, 2]).unwrap();
        message(stream).unwrap()[4]
    }

    #[test]
    fn questions_are_passed_on_and_orders_are_not() {
        let directory = tempfile::tempdir().unwrap();
        let (real, ours) = (directory.path().join("real"), directory.path().join("ours"));
        agent(&real);
        let forwarding = Forwarding::begin(&real, ours.clone()).unwrap();
        let mut stream = UnixStream::connect(&ours).unwrap();
        assert_eq!((ask(&mut stream, 11), ask(&mut stream, 13)), (12, 14));
        // Add and remove identities, lock.
        for kind in [17, 18, 19, 22, 25] {
            assert_eq!(ask(&mut stream, kind), FAILURE[4], "{kind}");
        }
        let mut second = UnixStream::connect(&ours).unwrap();
        assert_eq!(ask(&mut second, 11), 12);
        drop(forwarding);
        assert!(UnixStream::connect(&ours).is_err() && !ours.exists());
    }

    #[test]
    fn what_is_too_long_or_cut_off_ends_the_connection() {
        assert!(message(&mut &[0xff, 0xff, 0xff, 0xff, 11][..]).is_err());
        assert!(message(&mut &[0, 0, 0, 2, 11][..]).is_err());
        assert_eq!(message(&mut &[0, 0, 0, 1, 11, 9][..]).unwrap(), [0, 0, 0, 1, 11]);
    }

    #[test]
    fn an_agent_that_is_not_there_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("none");
        let error = Forwarding::begin(&missing, directory.path().join("ours")).unwrap_err();
        assert!(error.to_string().contains("cannot reach the agent at"), "{error}");
    }
}
