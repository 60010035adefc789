//! What a container's monitor does about networks when it is asked to, by `network connect` and `network disconnect`.
//!
//! A container on `none` costs nothing until then: it is made what a container on a network is from the beginning, with a resolver
//! (`isolated`). The ports of a user's container are served by the monitor, which looks at what is on record: where networks stand
//! in the user's own namespace, nothing of the host's leads there. As it has that namespace open, the container is connected as long as
//! it runs, whatever becomes of the process that holds it.

use super::isolated;
use crate::container::{ContainerId, Dir, Record};
use crate::error::{Error, Result};
use crate::network::State;
use crate::network::port::Proxy;
use crate::network::resolver::Resolver;
use crate::rootless::netns as user;
use crate::settings::Settings;
use crate::socket::{connect_to, listen_at, socket_dir};
use crate::source::{Source, UNTIL_LISTENING};
use crate::wire;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{SocketFlags, SocketType, accept_with};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// What the monitor answers when it is done; else it says why not.
const DONE: &[u8] = b"done";

/// A container's networks, while its monitor looks after them.
#[derive(Debug)]
pub(super) struct Attendant {
    settings: Settings,
    record: Record,
    dir: Dir,
    listener: OwnedFd,
    /// On `none`, since the container has left it.
    resolver: Option<Resolver>,
    /// A user's.
    proxy: Option<Proxy>,
    /// Until then nobody is let in: there are no descriptors to be had.
    deaf: Option<Instant>,
}

fn socket_path(settings: &Settings, id: &ContainerId) -> PathBuf {
    socket_dir(settings, id).join("network")
}

impl Attendant {
    /// Does what is on record, and waits to be asked.
    ///
    /// # Errors
    /// A socket cannot be made, or a port is somebody else's by now.
    pub(super) fn begin(settings: &Settings, record: &Record, dir: &Dir) -> Result<Self> {
        let mut attendant = Self {
            settings: settings.clone(),
            record: record.clone(),
            dir: dir.clone(),
            listener: listen_at(&socket_path(settings, &record.id), SocketType::SEQPACKET)?,
            resolver: super::open_resolver(settings, record, dir)?,
            proxy: None,
            deaf: None,
        };
        attendant.publish()?;
        Ok(attendant)
    }

    fn answer(&mut self) {
        let client = match accept_with(&self.listener, SocketFlags::CLOEXEC) {
            Ok(client) => client,
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => return,
            Err(_) => return self.deaf = Some(Instant::now() + UNTIL_LISTENING),
        };
        let message = match self.leave_none().and_then(|()| self.publish()) {
            Ok(()) => DONE.to_vec(),
            Err(error) => error.to_string().into_bytes(),
        };
        // Who does not wait for the answer does not need it.
        let _ = wire::put(client.as_fd(), &message, false);
    }

    fn leave_none(&mut self) -> Result<()> {
        if self.resolver.is_some() {
            return Ok(());
        }
        isolated::leave(&self.record, &self.dir)?;
        self.resolver = super::open_resolver(&self.settings, &self.record, &self.dir)?;
        Ok(())
    }

    /// Serves the ports that are on record, and no others.
    fn publish(&mut self) -> Result<()> {
        if !self.settings.rootless {
            return Ok(());
        }
        let plans = State::at(&self.settings.state).connected_to(&self.record.id)?;
        if plans.is_empty() {
            // Nor is the namespace kept, of which the container was the last.
            self.proxy = None;
            return Ok(());
        }
        let wanted: Vec<_> = plans.iter().flat_map(|plan| plan.targets()).collect();
        // It has the namespace open already, or was asked by who has found it with the process that holds it: nobody who is at work
        // on it is waited for.
        let current = user::current(&self.settings).map(Arc::new);
        match (&mut self.proxy, current) {
            (Some(proxy), current) => proxy.follow(current, &wanted)?,
            (None, Some(namespace)) => self.proxy = Some(Proxy::open(namespace, &wanted)?),
            (None, None) => {
                return Err(Error::WrongState {
                    message: "the user's network namespace is gone".to_owned(),
                    hint: Some("`nman restart` connects the container anew".to_owned()),
                });
            }
        }
        Ok(())
    }
}

impl Source for Attendant {
    fn watch<'a>(&'a self, watched: &mut Vec<PollFd<'a>>) {
        let wanted = if self.deaf.is_none() { PollFlags::IN } else { PollFlags::empty() };
        watched.push(PollFd::new(&self.listener, wanted));
        if let Some(proxy) = &self.proxy {
            proxy.watch(watched);
        }
        if let Some(resolver) = &self.resolver {
            resolver.watch(watched);
        }
    }

    fn due(&self) -> Option<Instant> {
        self.proxy.as_ref().and_then(|proxy| proxy.due()).into_iter().chain(self.deaf).min()
    }

    fn leave(self: Box<Self>) {
        if let Some(proxy) = self.proxy {
            proxy.end();
        }
    }

    fn turn(&mut self, ready: &[PollFlags]) {
        self.deaf.take_if(|until| *until <= Instant::now());
        let (own, others) = ready.split_at(1);
        let (of_proxy, of_resolver) = others.split_at(usize::from(self.proxy.is_some()));
        if let Some(proxy) = &mut self.proxy {
            proxy.turn(of_proxy);
        }
        if let Some(resolver) = self.resolver.as_mut().filter(|_| !of_resolver.is_empty()) {
            resolver.turn(of_resolver);
        }
        if !own[0].is_empty() {
            self.answer();
        }
    }
}

/// Asks the monitor of a container to have it ready for networks if it was made on `none`, and to publish what is on record. One
/// that has ended, and one that is ready and publishes by rules, have nobody to ask.
///
/// # Errors
/// The monitor could not do it.
pub(super) fn ask(settings: &Settings, id: &ContainerId) -> Result<()> {
    let path = socket_path(settings, id);
    let socket = match connect_to(&path) {
        Ok(socket) => socket,
        Err(Errno::NOENT | Errno::CONNREFUSED) => return Ok(()),
        Err(errno) => return Err(Error::io("connect to the monitor at", &path)(errno)),
    };
    let mut buffer = Vec::new();
    match wire::get(socket.as_fd(), &mut buffer) {
        None | Some(DONE) => Ok(()),
        Some(reason) => Err(Error::WrongState {
            message: format!(
                "cannot change the container's networks: {}",
                String::from_utf8_lossy(reason)
            ),
            hint: None,
        }),
    }
}
