//! Links of the host: found, made, and deleted only if they are ours.
//!
//! What is ours is known by its link address: a link that somebody else has made under the same name stays.

use super::error::{Error, Result};
use super::name::InterfaceName;
use super::netlink::route::{Link, RouteSocket, missing_is_fine};
use super::plan::{MacAddress, veth_mac, veth_name};
use crate::id::ContainerId;

/// The index of a link that has to be there.
pub(super) fn find(socket: &mut RouteSocket, name: &InterfaceName) -> Result<u32> {
    socket
        .index(name)
        .map_err(|error| Error::kernel(format_args!("find interface `{name}`"), error))
}

/// A conversation in the namespace of the calling thread.
pub(super) fn open() -> Result<RouteSocket> {
    RouteSocket::open().map_err(|error| Error::kernel("open a netlink socket", error))
}

/// Makes a bridge, unless there is one of that name.
pub(super) fn ensure_bridge(
    socket: &mut RouteSocket,
    name: &InterfaceName,
    mac: MacAddress,
    mtu: u32,
) -> Result<()> {
    let failed = |error| Error::kernel(format_args!("create bridge `{name}`"), error);
    match socket.link(name).map_err(failed)? {
        Some(link) if link.kind == "bridge" => Ok(()),
        Some(_) => Err(Error::NotABridge { bridge: name.to_string() }),
        None => socket.create_bridge(name, mac, mtu).map_err(failed),
    }
}

/// Deletes a bridge of ours that nobody is connected to, unless somebody made an interface of their own a port of it. A link of ours may
/// still be there while the kernel takes its namespace away.
pub(super) fn delete_bridge(
    socket: &mut RouteSocket,
    name: &InterfaceName,
    mac: MacAddress,
) -> Result<()> {
    let failed = |error| Error::kernel(format_args!("delete bridge `{name}`"), error);
    if let Some(link) = socket.link(name).map_err(failed)?
        && !socket.ports(link.index).map_err(failed)?.iter().all(is_veth_of_ours)
    {
        return Ok(());
    }
    delete_if_ours(socket, name, "bridge", mac)
}

/// Whether a link looks like the host's end of a container's, by whatever state directory.
pub(super) fn is_veth_of_ours(port: &Link) -> bool {
    let hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    let id = port.name.strip_prefix("nm");
    port.kind == "veth" && id.is_some_and(|id| id.len() >= 12 && id.bytes().all(hex))
}

/// Whether a link is the host's end of one of this container's, whatever network that leads to.
pub(super) fn is_link_of(container: &ContainerId, link: &Link) -> bool {
    let is_end = |number| {
        link.name == veth_name(container, number) && link.mac == Some(veth_mac(container, number))
    };
    link.kind == "veth" && (0..=u8::MAX).any(is_end)
}

/// Deletes a link if its kind and its link address say that it is the one that was planned.
pub(super) fn delete_if_ours(
    socket: &mut RouteSocket,
    name: &InterfaceName,
    kind: &str,
    mac: MacAddress,
) -> Result<()> {
    let Some(index) = own_link(socket, name, kind, mac)? else { return Ok(()) };
    // It may go by itself meanwhile: a veth pair does when the namespace of one end ends.
    missing_is_fine(socket.delete_link(index))
        .map_err(|error| Error::kernel(format_args!("delete {kind} `{name}`"), error))
}

/// A link, if its kind and its link address say that it is the one that was planned.
pub(super) fn own_link(
    socket: &mut RouteSocket,
    name: &InterfaceName,
    kind: &str,
    mac: MacAddress,
) -> Result<Option<u32>> {
    let link = socket
        .link(name)
        .map_err(|error| Error::kernel(format_args!("find {kind} `{name}`"), error))?;
    let own = link.filter(|link| link.kind == kind && link.mac == Some(mac));
    Ok(own.map(|link| link.index))
}
