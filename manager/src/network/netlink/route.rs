//! The rtnetlink requests that connecting a container takes: links, addresses and routes.
//!
//! Each call is one request and its answer. Calls that "ensure" take what is already there for done; the others
//! fail with the kernel's EEXIST. Replies about links are read attribute by attribute, so that an attribute of a
//! newer kernel cannot make a link unreadable.

use super::{Error, Socket, attribute};
use crate::network::name::InterfaceName;
use crate::network::plan::MacAddress;
use crate::network::subnet::Subnet;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload, Parseable,
};
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::{
    InfoBridge, InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind, InfoVeth,
    LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::io::Errno;
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

/// What is asked about a link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) mac: Option<MacAddress>,
    pub(crate) mtu: u32,
    /// `bridge`, `veth`; empty for a physical device.
    pub(crate) kind: String,
    pub(crate) is_up: bool,
}

/// A route of the main table, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) destination: Subnet,
    pub(crate) interface: Option<u32>,
    pub(crate) metric: u32,
}

/// One end of a veth pair to be made.
pub(crate) struct VethEnd<'a> {
    pub(crate) name: &'a InterfaceName,
    pub(crate) mac: MacAddress,
}

/// A port of a bridge, by what is known of it: a link that has just been made has a number that nobody has asked for yet.
#[derive(Clone, Copy)]
pub(crate) enum Port<'a> {
    At(u32),
    Named(&'a InterfaceName),
}

/// An rtnetlink conversation in the namespace of the thread that opened it.
pub(crate) struct RouteSocket {
    socket: Socket,
    /// Indices that were looked up already: a step names its interface, and the kernel wants a number.
    known: HashMap<InterfaceName, u32>,
}

const NETLINK_ROUTE: isize = 0;

/// One queue in each direction, which is what a veth pair has in any case. Of one that is asked for nothing the kernel makes as many as
/// there are processors, takes all but the first away again, and waits for each of its ends until no processor uses them.
const ONE_QUEUE: [LinkAttribute; 2] =
    [LinkAttribute::NumTxQueues(1), LinkAttribute::NumRxQueues(1)];

impl RouteSocket {
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Self { socket: Socket::open(NETLINK_ROUTE)?, known: HashMap::new() })
    }

    /// The index of a link that exists.
    pub(crate) fn index(&mut self, name: &InterfaceName) -> Result<u32, Error> {
        if let Some(index) = self.known.get(name) {
            return Ok(*index);
        }
        self.link(name)?.map(|link| link.index).ok_or_else(|| Errno::NODEV.into())
    }

    /// Looks a link up by its name.
    pub(crate) fn link(&mut self, name: &InterfaceName) -> Result<Option<Link>, Error> {
        let mut query = LinkMessage::default();
        query.attributes.push(LinkAttribute::IfName(name.to_string()));
        let link = self.query_link(query)?;
        if let Some(link) = &link {
            self.known.insert(name.clone(), link.index);
        }
        Ok(link)
    }

    /// Looks a link up by its index.
    pub(crate) fn link_at(&mut self, index: u32) -> Result<Option<Link>, Error> {
        let mut query = LinkMessage::default();
        query.header.index = index;
        self.query_link(query)
    }

    fn query_link(&mut self, mut query: LinkMessage) -> Result<Option<Link>, Error> {
        query.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        let mut found = None;
        let answer = self.request(RouteNetlinkMessage::GetLink(query), 0, |payload| {
            found = parse_link(payload);
        });
        match answer {
            Ok(()) => Ok(found),
            Err(error) if error.errno() == Some(Errno::NODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The ports of a bridge.
    pub(crate) fn ports(&mut self, bridge: u32) -> Result<Vec<Link>, Error> {
        let mut query = LinkMessage::default();
        query.attributes = vec![
            LinkAttribute::Controller(bridge),
            LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]),
        ];
        let mut ports = Vec::new();
        self.request(RouteNetlinkMessage::GetLink(query), NLM_F_DUMP, |payload| {
            ports.extend(parse_link(payload));
        })?;
        Ok(ports)
    }

    /// Makes a bridge that is still down.
    pub(crate) fn create_bridge(
        &mut self,
        name: &InterfaceName,
        mac: MacAddress,
        mtu: u32,
    ) -> Result<(), Error> {
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName(name.to_string()),
            // A bridge without an address of its own takes its lowest port's and changes it as ports come and go.
            LinkAttribute::Address(mac.octets().to_vec()),
            LinkAttribute::Mtu(mtu),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Bridge),
                LinkInfo::Data(InfoData::Bridge(vec![InfoBridge::ForwardDelay(0)])),
            ]),
        ];
        self.execute(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Makes a veth pair: `near` here, up and a port of `bridge`; `far` in `netns`, still down.
    pub(crate) fn create_veth(
        &mut self,
        near: &VethEnd<'_>,
        far: &VethEnd<'_>,
        netns: BorrowedFd<'_>,
        bridge: u32,
        mtu: u32,
    ) -> Result<(), Error> {
        let mut peer = LinkMessage::default();
        peer.attributes = vec![
            LinkAttribute::IfName(far.name.to_string()),
            LinkAttribute::Address(far.mac.octets().to_vec()),
            LinkAttribute::Mtu(mtu),
            LinkAttribute::NetNsFd(netns.as_raw_fd()),
        ];
        peer.attributes.extend(ONE_QUEUE);
        let mut message = LinkMessage::default();
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        message.attributes = vec![
            LinkAttribute::IfName(near.name.to_string()),
            LinkAttribute::Address(near.mac.octets().to_vec()),
            LinkAttribute::Mtu(mtu),
            LinkAttribute::Controller(bridge),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Veth),
                LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
            ]),
        ];
        message.attributes.extend(ONE_QUEUE);
        self.execute(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Makes a link a port of a bridge; one that is already stays so.
    pub(crate) fn set_bridge(&mut self, port: u32, bridge: u32) -> Result<(), Error> {
        let mut message = LinkMessage::default();
        message.header.index = port;
        message.attributes = vec![LinkAttribute::Controller(bridge)];
        self.execute(RouteNetlinkMessage::SetLink(message), 0)
    }

    /// Sets what a bridge does with frames for one of its ports: whether one may go back out of the port that it came
    /// in by, and whether the port is kept from others that are isolated.
    pub(crate) fn set_port(
        &mut self,
        port: Port<'_>,
        hairpin: bool,
        isolated: bool,
    ) -> Result<(), Error> {
        let mut message = LinkMessage::default();
        match port {
            Port::At(index) => message.header.index = index,
            // The kernel goes by the name where there is no number.
            Port::Named(name) => message.attributes.push(LinkAttribute::IfName(name.to_string())),
        }
        message.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(InfoPortData::BridgePort(vec![
                InfoBridgePort::HairpinMode(hairpin),
                InfoBridgePort::Isolated(isolated),
            ])),
        ]));
        self.execute(RouteNetlinkMessage::NewLink(message), 0)
    }

    /// Sets a link up.
    pub(crate) fn set_up(&mut self, index: u32) -> Result<(), Error> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        self.execute(RouteNetlinkMessage::SetLink(message), 0)
    }

    /// Deletes a link, and with one end of a veth pair the other.
    pub(crate) fn delete_link(&mut self, index: u32) -> Result<(), Error> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        self.known.retain(|_, known| *known != index);
        self.execute(RouteNetlinkMessage::DelLink(message), 0)
    }

    /// The addresses of a link.
    pub(crate) fn addresses(&mut self, index: u32) -> Result<Vec<IpAddr>, Error> {
        self.addresses_of(|link| link == index)
    }

    /// The addresses of all links.
    pub(crate) fn every_address(&mut self) -> Result<Vec<IpAddr>, Error> {
        self.addresses_of(|_| true)
    }

    fn addresses_of(&mut self, is_meant: impl Fn(u32) -> bool) -> Result<Vec<IpAddr>, Error> {
        let mut addresses = Vec::new();
        let mut malformed = None;
        let query = AddressMessage::default();
        self.request(RouteNetlinkMessage::GetAddress(query), NLM_F_DUMP, |payload| {
            match AddressMessage::parse(payload) {
                // The kernel sends every link's to a socket without strict checking.
                Ok(message) if is_meant(message.header.index) => {
                    addresses.extend(message.attributes.iter().filter_map(|attribute| {
                        match attribute {
                            AddressAttribute::Address(address) => Some(*address),
                            _ => None,
                        }
                    }));
                }
                Ok(_) => {}
                Err(error) => malformed = Some(error),
            }
        })?;
        malformed.map_or(Ok(addresses), |error| Err(error.into()))
    }

    /// Gives a link an address, unless it has it.
    pub(crate) fn ensure_address(
        &mut self,
        index: u32,
        address: IpAddr,
        prefix: u8,
    ) -> Result<(), Error> {
        let mut message = address_message(index, address, prefix);
        if address.is_ipv6() {
            // The lease says that nobody else has it: it can be used at once, without asking the neighbours.
            message.header.flags = AddressHeaderFlags::Nodad;
        }
        if let Some(IpAddr::V4(last)) = Subnet::of(address, prefix).map(|subnet| subnet.last()) {
            message.attributes.push(AddressAttribute::Broadcast(last));
        }
        existing_is_fine(
            self.execute(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL),
        )
    }

    /// Takes an address of a link away.
    pub(crate) fn delete_address(
        &mut self,
        index: u32,
        address: IpAddr,
        prefix: u8,
    ) -> Result<(), Error> {
        let message = address_message(index, address, prefix);
        self.execute(RouteNetlinkMessage::DelAddress(message), 0)
    }

    /// Adds a route by way of `gateway`, or straight onto the link.
    pub(crate) fn add_route(
        &mut self,
        index: u32,
        destination: Subnet,
        gateway: Option<IpAddr>,
        metric: u32,
    ) -> Result<(), Error> {
        let message = route_message(index, destination, gateway, metric);
        self.execute(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Takes such a route away.
    pub(crate) fn delete_route(
        &mut self,
        index: u32,
        destination: Subnet,
        gateway: Option<IpAddr>,
        metric: u32,
    ) -> Result<(), Error> {
        /// What an IPv6 route has that was added without a metric; without one, whichever is found first would go.
        const IPV6_DEFAULT: u32 = 1024;
        let is_ipv6 = destination.network().is_ipv6();
        let metric = if metric == 0 && is_ipv6 { IPV6_DEFAULT } else { metric };
        let message = route_message(index, destination, gateway, metric);
        self.execute(RouteNetlinkMessage::DelRoute(message), 0)
    }

    /// Has packets for one of the host's own addresses taken that come in by this interface; once is enough.
    pub(crate) fn ensure_local_route(&mut self, index: u32, address: IpAddr) -> Result<(), Error> {
        let message = local_route_message(index, address);
        existing_is_fine(
            self.execute(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_EXCL),
        )
    }

    /// Takes such a route away.
    pub(crate) fn delete_local_route(&mut self, index: u32, address: IpAddr) -> Result<(), Error> {
        let message = local_route_message(index, address);
        self.execute(RouteNetlinkMessage::DelRoute(message), 0)
    }

    /// The routes of one family in the main table.
    pub(crate) fn routes(&mut self, family: AddressFamily) -> Result<Vec<Route>, Error> {
        let mut query = RouteMessage::default();
        query.header.address_family = family;
        query.header.table = RouteHeader::RT_TABLE_MAIN;
        let mut routes = Vec::new();
        let mut malformed = None;
        self.request(RouteNetlinkMessage::GetRoute(query), NLM_F_DUMP, |payload| {
            match RouteMessage::parse(payload) {
                // The kernel sends every table's routes to a socket without strict checking.
                Ok(message) if message.header.table == RouteHeader::RT_TABLE_MAIN => {
                    routes.extend(parse_route(&message));
                }
                Ok(_) => {}
                Err(error) => malformed = Some(error),
            }
        })?;
        malformed.map_or(Ok(routes), |error| Err(error.into()))
    }

    fn execute(&mut self, message: RouteNetlinkMessage, flags: u16) -> Result<(), Error> {
        self.request(message, flags, |_| {})
    }

    fn request(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
        each: impl FnMut(&[u8]),
    ) -> Result<(), Error> {
        let sequence = self.socket.next_sequence();
        self.socket.exchange(&serialize(message, flags | NLM_F_ACK, sequence), sequence, each)
    }
}

fn address_message(index: u32, address: IpAddr, prefix: u8) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(address);
    message.header.prefix_len = prefix;
    message.header.index = index;
    message.attributes = vec![AddressAttribute::Address(address), AddressAttribute::Local(address)];
    message
}

fn local_route_message(index: u32, address: IpAddr) -> RouteMessage {
    const RT_TABLE_LOCAL: u8 = 255;
    /// After the route by the address's own interface, which is the one that the host itself uses.
    const LAST: u32 = 1024;
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: family(address),
        destination_prefix_length: if address.is_ipv4() { 32 } else { 128 },
        table: RT_TABLE_LOCAL,
        protocol: RouteProtocol::Static,
        scope: RouteScope::Host,
        kind: RouteType::Local,
        ..RouteHeader::default()
    };
    message.attributes = vec![
        RouteAttribute::Oif(index),
        RouteAttribute::Destination(route_address(address)),
        RouteAttribute::Priority(LAST),
    ];
    message
}

fn route_message(
    index: u32,
    destination: Subnet,
    gateway: Option<IpAddr>,
    metric: u32,
) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: family(destination.network()),
        destination_prefix_length: destination.prefix(),
        table: RouteHeader::RT_TABLE_MAIN,
        protocol: RouteProtocol::Static,
        scope: if gateway.is_some() { RouteScope::Universe } else { RouteScope::Link },
        kind: RouteType::Unicast,
        ..RouteHeader::default()
    };
    message.attributes.push(RouteAttribute::Oif(index));
    if !destination.is_default() {
        message.attributes.push(RouteAttribute::Destination(route_address(destination.network())));
    }
    if let Some(gateway) = gateway {
        message.attributes.push(RouteAttribute::Gateway(route_address(gateway)));
    }
    if metric > 0 {
        message.attributes.push(RouteAttribute::Priority(metric));
    }
    message
}

fn serialize(message: RouteNetlinkMessage, flags: u16, sequence: u32) -> Vec<u8> {
    let mut message = NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::from(message));
    message.header.flags = NLM_F_REQUEST | flags;
    message.header.sequence_number = sequence;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// Takes "it is there already" for success.
pub(crate) fn existing_is_fine(answer: Result<(), Error>) -> Result<(), Error> {
    match answer {
        Err(error) if error.errno() == Some(Errno::EXIST) => Ok(()),
        other => other,
    }
}

/// How the kernel says of a link, an address or a route that it is not there.
const MISSING: [Errno; 4] = [Errno::NODEV, Errno::NOENT, Errno::SRCH, Errno::ADDRNOTAVAIL];

/// Takes "it is gone already" for success.
pub(crate) fn missing_is_fine(answer: Result<(), Error>) -> Result<(), Error> {
    match answer {
        Err(error) if error.errno().is_some_and(|errno| MISSING.contains(&errno)) => Ok(()),
        other => other,
    }
}

fn parse_link(payload: &[u8]) -> Option<Link> {
    /// The size of `struct ifinfomsg`, whose second word is the link's index and whose third has its flags.
    const IFINFOMSG: usize = 16;
    /// The lowest bit of its third word.
    const IFF_UP: u32 = 1;
    const IFLA_ADDRESS: u16 = 1;
    const IFLA_IFNAME: u16 = 3;
    const IFLA_MTU: u16 = 4;
    const IFLA_LINKINFO: u16 = 18;
    const IFLA_INFO_KIND: u16 = 1;

    let index = u32::from_ne_bytes(*payload.get(4..)?.first_chunk()?);
    let flags = u32::from_ne_bytes(*payload.get(8..)?.first_chunk()?);
    let mut link = Link { index, is_up: flags & IFF_UP != 0, ..Link::default() };
    for (kind, value) in attribute::iterate(payload.get(IFINFOMSG..)?) {
        match kind {
            IFLA_ADDRESS => link.mac = value.try_into().ok().map(MacAddress::new),
            IFLA_IFNAME => {
                link.name = String::from_utf8_lossy(value).trim_end_matches('\0').to_owned();
            }
            IFLA_MTU => {
                link.mtu = value.first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes));
            }
            IFLA_LINKINFO => {
                let kind = attribute::find(value, IFLA_INFO_KIND).unwrap_or_default();
                link.kind = String::from_utf8_lossy(kind).trim_end_matches('\0').to_owned();
            }
            _ => {}
        }
    }
    Some(link)
}

fn parse_route(message: &RouteMessage) -> Option<Route> {
    let anywhere = match message.header.address_family {
        AddressFamily::Inet6 => IpAddr::from([0; 16]),
        _ => IpAddr::from([0; 4]),
    };
    let mut route = Route { destination: Subnet::of(anywhere, 0)?, interface: None, metric: 0 };
    let prefix = message.header.destination_prefix_length;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(address)) => {
                route.destination = Subnet::of(IpAddr::V4(*address), prefix)?;
            }
            RouteAttribute::Destination(RouteAddress::Inet6(address)) => {
                route.destination = Subnet::of(IpAddr::V6(*address), prefix)?;
            }
            RouteAttribute::Oif(index) => route.interface = Some(*index),
            RouteAttribute::Priority(metric) => route.metric = *metric,
            _ => {}
        }
    }
    Some(route)
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

fn route_address(address: IpAddr) -> RouteAddress {
    match address {
        IpAddr::V4(v4) => RouteAddress::Inet(v4),
        IpAddr::V6(v6) => RouteAddress::Inet6(v6),
    }
}
