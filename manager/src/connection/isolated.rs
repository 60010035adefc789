//! A container that was started on `none`, and leaves it.
//!
//! Its namespace is the runtime's to make, and nobody looks after names in it: `none` costs nothing. Its monitor waits to
//! be asked, and then makes it what a container on a network is from the beginning: the namespace is bound to its file,
//! config.json names that, and the resolver is there.

use super::{keep, kept, namespace_path, running_namespace};
use crate::container::{ContainerId, Dir, Record};
use crate::error::{Error, Result};
use crate::monitor::source::Source;
use crate::monitor::stdio::{connect_to, listen_at};
use crate::monitor::{socket_dir, wire};
use crate::network;
use crate::network::resolver::Resolver;
use crate::settings::Settings;
use crate::user_namespace;
use oci_spec::runtime::{LinuxNamespaceType, Spec};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{SocketFlags, SocketType, accept_with};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;

/// What the monitor answers when it is done; else it says why not.
const DONE: &[u8] = b"done";

/// Such a container, looked after by its monitor.
#[derive(Debug)]
pub(super) struct Isolated {
    settings: Settings,
    record: Record,
    dir: Dir,
    listener: OwnedFd,
    /// Since it has left.
    resolver: Option<Resolver>,
}

fn socket_path(settings: &Settings, id: &ContainerId) -> PathBuf {
    socket_dir(settings, id).join("network")
}

impl Isolated {
    /// Waits to be asked.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub(super) fn listen(settings: &Settings, record: &Record, dir: &Dir) -> Result<Self> {
        Ok(Self {
            settings: settings.clone(),
            record: record.clone(),
            dir: dir.clone(),
            listener: listen_at(&socket_path(settings, &record.id), SocketType::SEQPACKET)?,
            resolver: None,
        })
    }

    fn answer(&mut self) {
        let Ok(client) = accept_with(&self.listener, SocketFlags::CLOEXEC) else { return };
        let message = match self.leave() {
            Ok(()) => DONE.to_vec(),
            Err(error) => error.to_string().into_bytes(),
        };
        // Who does not wait for the answer does not need it.
        let _ = wire::put(client.as_fd(), &message, false);
    }

    fn leave(&mut self) -> Result<()> {
        if self.resolver.is_some() {
            return Ok(());
        }
        if kept(&self.dir).is_none() {
            let namespace = match running_namespace(&self.dir)? {
                Some(namespace) => namespace,
                // Between two lives: the next one begins in it.
                None => create_namespace(&self.dir)?,
            };
            keep(&namespace, &namespace_path(&self.dir))?;
        }
        name_namespace(&self.record, &self.dir)?;
        self.resolver = super::open_resolver(&self.settings, &self.record, &self.dir)?;
        Ok(())
    }
}

impl Source for Isolated {
    fn watch<'a>(&'a self, watched: &mut Vec<PollFd<'a>>) {
        watched.push(PollFd::new(&self.listener, PollFlags::IN));
        if let Some(resolver) = &self.resolver {
            resolver.watch(watched);
        }
    }

    fn turn(&mut self, ready: &[PollFlags]) {
        let (own, of_resolver) = ready.split_at(1);
        if let Some(resolver) = self.resolver.as_mut().filter(|_| !of_resolver.is_empty()) {
            resolver.turn(of_resolver);
        }
        if !own[0].is_empty() {
            self.answer();
        }
    }
}

/// Asks the monitor of a container that was made on `none` to have it ready for networks. One that has ended, and one that
/// was ready from its start, have nobody to ask.
///
/// # Errors
/// The monitor could not do it.
pub(super) fn leave(settings: &Settings, id: &ContainerId) -> Result<()> {
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
                "cannot take the container off network `none`: {}",
                String::from_utf8_lossy(reason)
            ),
            hint: None,
        }),
    }
}

/// Has config.json name the container's namespace, where the runtime was to make one.
///
/// # Errors
/// config.json cannot be read or written.
pub(super) fn name_namespace(record: &Record, dir: &Dir) -> Result<()> {
    let path = dir.join("config.json");
    let text = std::fs::read(&path).map_err(Error::io("read", &path))?;
    let mut spec: Spec =
        serde_json::from_slice(&text).map_err(|source| Error::Damaged { path, source })?;
    let namespaces = spec.linux_mut().as_mut().and_then(|linux| linux.namespaces_mut().as_mut());
    let mut all = namespaces.into_iter().flatten();
    let network = all.find(|namespace| namespace.typ() == LinuxNamespaceType::Network);
    let Some(network) = network.filter(|network| network.path().is_none()) else { return Ok(()) };
    network.set_path(Some(namespace_path(dir)));
    dir.write_bundle(record, &spec)
}

/// A new network namespace for a container, in its user namespace if it has one; only its loopback interface is up.
pub(super) fn create_namespace(dir: &Dir) -> Result<OwnedFd> {
    let Some(namespace) = user_namespace::network(dir)? else {
        return Ok(network::create_namespace()?);
    };
    network::set_loopback_up(namespace.as_fd())?;
    Ok(namespace)
}
