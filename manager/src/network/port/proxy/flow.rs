//! Datagrams: each client has a socket of its own towards the container, by which answers find the way back. They leave from the
//! address that the client has asked, and no other: it takes none from elsewhere.

use super::{AT_ONCE, MOST_FLOWS, Proxy};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{SocketType, connect};
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};
use sys::datagram::{Local, receive, send_from};

/// After so long without a datagram in either direction a client is forgotten.
const PATIENCE: Duration = Duration::from_secs(90);

#[derive(Debug)]
pub(super) struct Flow {
    /// The port that the client has sent to.
    pub(super) door: u64,
    client: SocketAddr,
    /// Which address of the host's it has asked.
    asked: Local,
    server: OwnedFd,
    pub(super) deadline: Instant,
}

impl Proxy {
    /// Passes on what has come to a port.
    pub(super) fn take_datagrams(&mut self, at: usize, buffer: &mut [u8]) {
        for _ in 0..AT_ONCE {
            match receive(self.doors[at].socket.as_fd(), buffer) {
                Ok((length, Some(client), Some(asked))) => {
                    self.pass_on(at, client, asked, &buffer[..length]);
                }
                // An answer of ours was refused: that is not about this datagram.
                Err(Errno::CONNREFUSED | Errno::INTR) | Ok(_) => {}
                Err(_) => return,
            }
        }
    }

    /// A datagram that cannot be passed on is lost, as datagrams are.
    fn pass_on(&mut self, at: usize, client: SocketAddr, asked: Local, datagram: &[u8]) {
        let door = self.doors[at].number;
        let is_own =
            |flow: &&mut Flow| flow.door == door && flow.client == client && flow.asked == asked;
        if let Some(flow) = self.flows.values_mut().find(is_own) {
            flow.deadline = Instant::now() + PATIENCE;
            // A refusal of the one before is told first.
            if rustix::io::write(&flow.server, datagram) == Err(Errno::CONNREFUSED) {
                let _ = rustix::io::write(&flow.server, datagram);
            }
            return;
        }
        let target = self.doors[at].target;
        let Ok(server) = self.socket(target, SocketType::DGRAM) else { return };
        let number = self.number();
        let watched = EventData::new_u64(number << 1);
        let begun = connect(&server, &target)
            .and_then(|()| epoll::add(&self.events, &server, watched, EventFlags::IN))
            .and_then(|()| rustix::io::write(&server, datagram));
        if begun.is_ok() {
            self.make_room();
            let deadline = Instant::now() + PATIENCE;
            self.flows.insert(number, Flow { door, client, asked, server, deadline });
        }
    }

    fn make_room(&mut self) {
        if self.flows.len() >= MOST_FLOWS {
            let oldest = self.flows.iter().min_by_key(|(_, flow)| flow.deadline);
            if let Some(number) = oldest.map(|(number, _)| *number) {
                self.flows.remove(&number);
            }
        }
    }

    /// Sends back what the container has answered.
    pub(super) fn answer(&mut self, number: u64, buffer: &mut [u8]) {
        let Some(flow) = self.flows.get_mut(&number) else { return };
        let Some(door) = self.doors.iter().find(|door| door.number == flow.door) else { return };
        for _ in 0..AT_ONCE {
            match rustix::io::read(&flow.server, &mut *buffer) {
                Ok(length) => {
                    flow.deadline = Instant::now() + PATIENCE;
                    let answer = &buffer[..length];
                    let _ = send_from(door.socket.as_fd(), answer, flow.client, flow.asked);
                }
                // Nobody listens in the container: the client hears nothing, and may try again.
                Err(Errno::CONNREFUSED | Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }
}
