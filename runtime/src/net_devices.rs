//! Moves network devices of the host into the container's network namespace, and back if the container does not come about.
//!
//! They are looked up before anything is made, and moved by the parent, which alone has the privilege on both sides. After the
//! container is created they are the namespace's: where they go when it ends is the kernel's affair (config-linux.md, Network
//! Devices), and a `kill -9` in the middle of it has the same effect.

use crate::error::{Error, Result};
use crate::netlink::{Address, Socket};
use crate::plan::Plan;
use crate::plan::net_devices::NetDevice;
use rustix::io::Errno;
use rustix::process::Pid;
use std::os::fd::{AsFd, BorrowedFd};
use sys::namespace::{self, Kinds};

/// The devices that a container takes, as they were found.
#[derive(Debug)]
pub struct Devices {
    host: Socket,
    found: Vec<Found>,
    /// Where those that were moved are: a socket in the container's namespace, which keeps that namespace alive.
    container: Option<Socket>,
    /// The names in the container of those that were moved, or that we began to move.
    moved: Vec<String>,
}

/// A device before it is moved.
#[derive(Debug)]
struct Found {
    device: NetDevice,
    index: u32,
    up: bool,
    addresses: Vec<Address>,
}

/// Looks the devices of a plan up; `None` if it has none.
///
/// # Errors
/// For one that is not there, with its place in config.json.
pub fn find(plan: &Plan) -> Result<Option<Devices>> {
    if plan.net_devices.is_empty() {
        return Ok(None);
    }
    let host = Socket::open().map_err(|errno| Error::system("open a netlink socket", errno))?;
    let mut found = Vec::with_capacity(plan.net_devices.len());
    for device in &plan.net_devices {
        let looked_up =
            host.link(&device.name).and_then(|link| Ok((link, host.addresses(link.index)?)));
        let (link, addresses) =
            looked_up.map_err(|errno| failed("find", plan.id.as_str(), device, errno))?;
        // Addresses are read before it goes down, which costs an IPv6 address its place.
        found.push(Found { device: device.clone(), index: link.index, up: link.up, addresses });
    }
    Ok(Some(Devices { host, found, container: None, moved: Vec::new() }))
}

impl Devices {
    /// Moves them into the network namespace of the container's init.
    ///
    /// # Errors
    /// For the first that cannot be moved. [`Devices::take_back`] undoes what was done.
    pub fn give(&mut self, id: &str, init: Pid, init_fd: BorrowedFd<'_>) -> Result<()> {
        let what = || format!("enter the network namespace of container `{id}`");
        let container = socket_of(init_fd).map_err(|errno| Error::system(what(), errno))?;
        let container = self.container.insert(container);
        if same_namespace(init).map_err(|errno| Error::system(what(), errno))? {
            let Some(found) = self.found.first() else { return Ok(()) };
            return Err(failed("move", id, &found.device, Errno::BUSY));
        }
        for found in &self.found {
            // Moving and renaming are two steps to the kernel: a name that is taken is found out before the first.
            let name = free_name(container, &found.device.new_name)
                .map_err(|errno| failed("move", id, &found.device, errno))?;
            self.moved.push(name.clone());
            transfer(&self.host, container, found.index, init, &name, found)
                .map_err(|errno| failed("move", id, &found.device, errno))?;
        }
        Ok(())
    }

    /// Moves those that were moved back, in reverse, as far as that goes: the container does not come about.
    pub fn take_back(&mut self) {
        let Some(container) = self.container.take() else { return };
        let us = rustix::process::getpid();
        for (found, new_name) in self.found.iter().zip(&self.moved).rev() {
            let name = &found.device.name;
            // Under its old name if the rename was what failed, and here if the move was.
            let link = container.link(new_name).or_else(|_| container.link(name));
            let _ = match link {
                Ok(link) => transfer(&container, &self.host, link.index, us, name, found),
                Err(_) => dress(&self.host, name, found),
            };
            if !found.up {
                let _ = self.host.link(name).and_then(|link| self.host.set_up(link.index, false));
            }
        }
        self.moved.clear();
    }
}

/// The name itself, or with the least number for its `%d` with which nothing is called yet.
fn free_name(socket: &Socket, name: &str) -> std::result::Result<String, Errno> {
    let candidates = match name.split_once("%d") {
        None => vec![name.to_owned()],
        Some((before, after)) => (0..1000).map(|n| format!("{before}{n}{after}")).collect(),
    };
    for candidate in candidates {
        match socket.link(&candidate) {
            Err(Errno::NODEV) => return Ok(candidate),
            Ok(_) => {}
            Err(errno) => return Err(errno),
        }
    }
    Err(Errno::EXIST)
}

/// Moves one device with its addresses. Down first: nothing of the one side is to happen on it while it changes to the other.
fn transfer(
    from: &Socket,
    to: &Socket,
    index: u32,
    pid: Pid,
    name: &str,
    found: &Found,
) -> std::result::Result<(), Errno> {
    from.set_up(index, false)?;
    from.move_link(index, pid, name)?;
    dress(to, name, found)
}

/// Gives a device its addresses again, and takes it up: "The runtime MUST set the network device state to "up" after moving it"
/// (config-linux.md).
fn dress(socket: &Socket, name: &str, found: &Found) -> std::result::Result<(), Errno> {
    let link = socket.link(name)?;
    for address in &found.addresses {
        match socket.add_address(link.index, address) {
            Err(Errno::EXIST) => {}
            added => added?,
        }
    }
    socket.set_up(link.index, true)
}

/// A socket in the network namespace of the process behind a pidfd. Made by a thread of its own, so that nothing can go on in
/// the wrong namespace.
fn socket_of(init: BorrowedFd<'_>) -> std::result::Result<Socket, Errno> {
    std::thread::scope(|scope| {
        let inside = scope.spawn(|| {
            namespace::join(init.as_fd(), Kinds::NETWORK)?;
            Socket::open()
        });
        inside.join().unwrap_or(Err(Errno::IO))
    })
}

/// Whether the container's network namespace is our own, in which there is nowhere to move to.
fn same_namespace(init: Pid) -> std::result::Result<bool, Errno> {
    let inode = |pid: &str| rustix::fs::stat(format!("/proc/{pid}/ns/net")).map(|stat| stat.st_ino);
    Ok(inode("self")? == inode(&init.as_raw_nonzero().to_string())?)
}

fn failed(verb: &str, id: &str, device: &NetDevice, errno: Errno) -> Error {
    let NetDevice { name, new_name, pointer } = device;
    let place = format!("for container `{id}` (config.json {pointer})");
    match errno {
        Errno::EXIST => Error::State(format!(
            "cannot move the network device `{name}` {place}: its namespace has a device `{new_name}`"
        )),
        Errno::BUSY => Error::State(format!(
            "cannot move the network device `{name}` {place}: the network namespace is nrun's own"
        )),
        Errno::INVAL if verb == "move" => Error::State(format!(
            "cannot move the network device `{name}` {place}: devices of this kind cannot leave their network namespace"
        )),
        errno => Error::system(format!("{verb} the network device `{name}` {place}"), errno),
    }
}
