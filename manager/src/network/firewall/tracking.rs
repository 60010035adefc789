//! Forgets what connection tracking remembers of published datagram ports.
//!
//! A datagram flow has no end: as long as its client keeps sending, the kernel keeps sending it where it went first, past
//! a port that was published since, or to a container that is gone. So flows to a port are forgotten when the port is
//! published and when it is withdrawn; their next packet is looked at anew.

use super::batch::{Connection, NFGENMSG};
use super::ruleset::Family;
use crate::network::netlink::attribute::{self, Writer};
use crate::network::netlink::{Error, route::missing_is_fine};
use crate::network::plan::PublishedPort;
use crate::network::port::Protocol;
use netlink_packet_core::{NLA_F_NESTED, NLM_F_ACK, NLM_F_DUMP};
use rustix::io::Errno;
use std::net::IpAddr;

const NFNL_SUBSYS_CTNETLINK: u16 = 1;
const GET: u16 = NFNL_SUBSYS_CTNETLINK << 8 | 1;
const DELETE: u16 = NFNL_SUBSYS_CTNETLINK << 8 | 2;

/// CTA_TUPLE_ORIG: the flow as its first packet was.
const ORIGINAL: u16 = 1;
/// CTA_ZONE.
const ZONE: u16 = 18;

/// A tracked flow: its attributes, as they are sent back to name it.
struct Flow {
    original: Vec<u8>,
    zone: Vec<u8>,
}

/// Forgets the flows to these ports.
pub(super) fn forget(connection: &mut Connection, ports: &[PublishedPort]) -> Result<(), Error> {
    Family::ALL.into_iter().try_for_each(|family| {
        let concerned = |port: &&PublishedPort| {
            port.protocol != Protocol::Tcp && Family::of(port.address) == family
        };
        let ports: Vec<&PublishedPort> = ports.iter().filter(concerned).collect();
        if ports.is_empty() { Ok(()) } else { forget_family(connection, family, &ports) }
    })
}

fn forget_family(
    connection: &mut Connection,
    family: Family,
    ports: &[&PublishedPort],
) -> Result<(), Error> {
    let mut flows = Vec::new();
    let dump = connection.exchange(
        family,
        GET,
        NLM_F_DUMP,
        |_| {},
        |payload| {
            let attributes = payload.get(NFGENMSG..).unwrap_or_default();
            flows.extend(
                parse(attributes)
                    .filter(|(to, _)| ports.iter().any(|port| to.is(port)))
                    .map(|(_, flow)| flow),
            );
        },
    );
    match dump {
        // A kernel without this part of netfilter; its flows end by themselves, when their clients pause.
        Err(error) if matches!(error.errno(), Some(Errno::INVAL | Errno::OPNOTSUPP)) => {
            return Ok(());
        }
        other => other?,
    }
    flows.iter().try_for_each(|flow| {
        let name = |attributes: &mut Writer<'_>| {
            attributes.bytes(ORIGINAL | NLA_F_NESTED, &flow.original);
            if !flow.zone.is_empty() {
                attributes.bytes(ZONE, &flow.zone);
            }
        };
        missing_is_fine(connection.exchange(family, DELETE, NLM_F_ACK, name, |_| {}))
    })
}

/// Where a flow's first packet was sent to.
struct Target {
    address: IpAddr,
    protocol: u8,
    port: u16,
}

impl Target {
    fn is(&self, port: &PublishedPort) -> bool {
        self.protocol == port.protocol.number()
            && self.port == port.host_port
            && port.host.is_none_or(|host| host == self.address)
    }
}

fn parse(attributes: &[u8]) -> Option<(Target, Flow)> {
    const IP: u16 = 1;
    const IPV4_DESTINATION: u16 = 2;
    const IPV6_DESTINATION: u16 = 4;
    const PROTOCOL: u16 = 2;
    const PROTOCOL_NUMBER: u16 = 1;
    const PROTOCOL_DESTINATION_PORT: u16 = 3;
    let original = attribute::find(attributes, ORIGINAL)?;
    let ip = attribute::find(original, IP)?;
    let v4 = attribute::find(ip, IPV4_DESTINATION).and_then(|octets| octets.first_chunk::<4>());
    let v6 = attribute::find(ip, IPV6_DESTINATION).and_then(|octets| octets.first_chunk::<16>());
    let protocol = attribute::find(original, PROTOCOL)?;
    let target = Target {
        address: v4
            .map(|octets| IpAddr::from(*octets))
            .or(v6.map(|octets| IpAddr::from(*octets)))?,
        protocol: *attribute::find(protocol, PROTOCOL_NUMBER)?.first()?,
        port: u16::from_be_bytes(
            *attribute::find(protocol, PROTOCOL_DESTINATION_PORT)?.first_chunk()?,
        ),
    };
    let zone = attribute::find(attributes, ZONE).unwrap_or_default().to_vec();
    Some((target, Flow { original: original.to_vec(), zone }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(port: u16) -> Vec<u8> {
        let mut bytes = Vec::new();
        Writer(&mut bytes).nested(ORIGINAL, |original| {
            original.nested(1, |ip| {
                ip.bytes(1, &[192, 0, 2, 2]).bytes(2, &[192, 0, 2, 1]);
            });
            original.nested(2, |protocol| {
                protocol.bytes(1, &[17]).bytes(2, &[0x80, 0]).bytes(3, &port.to_be_bytes());
            });
        });
        bytes
    }

    #[test]
    fn a_flow_is_known_by_what_its_client_sent_to() {
        let (target, named) = parse(&flow(5353)).unwrap();
        let port = PublishedPort {
            host: None,
            host_port: 5353,
            protocol: Protocol::Udp,
            address: [10, 90, 0, 2].into(),
            port: 53,
        };
        assert!(target.is(&port));
        assert!(target.is(&PublishedPort { host: Some([192, 0, 2, 1].into()), ..port }));
        assert!(!target.is(&PublishedPort { host: Some([192, 0, 2, 9].into()), ..port }));
        assert!(!target.is(&PublishedPort { host_port: 5354, ..port }));
        assert!(!target.is(&PublishedPort { protocol: Protocol::Sctp, ..port }));
        assert_eq!(attribute::find(&flow(5353), ORIGINAL), Some(&named.original[..]));
    }

    #[test]
    fn what_is_not_a_flow_with_ports_is_passed_over() {
        assert!(parse(&[]).is_none());
        let whole = flow(1);
        for length in 0..whole.len() - 4 {
            assert!(parse(&whole[..length]).is_none(), "{length}");
        }
    }
}
