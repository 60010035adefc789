//! Two rules of a container's own packet filter: its port 53 at the resolver's address is the resolver's port.
//!
//! The table is in the container's namespace and goes with it.

use super::batch::{Batch, LIST_ELEMENT};
use super::expression::{Expression, Field, Meta, Register};
use super::ruleset::{Chain, Family, Rule};
use super::{Error, Result, open};
use crate::network::netlink::attribute::Writer;
use std::net::Ipv4Addr;

const TABLE: &str = "nman_resolver";
const NF_INET_LOCAL_OUT: u32 = 3;
const OUTPUT: Chain =
    Chain { name: "output", kind: "nat", hook: NF_INET_LOCAL_OUT, priority: -100 };
const PORT: u16 = 53;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// Redirects the calling thread's namespace's queries to these ports.
///
/// # Errors
/// The kernel refuses the rules.
pub(crate) fn redirect_resolver(address: Ipv4Addr, udp: u16, tcp: u16) -> Result<()> {
    let mut batch = Batch::of_table(TABLE);
    batch.add_table(Family::V4);
    batch.add_chain(Family::V4, &OUTPUT);
    for (protocol, port) in [(UDP, udp), (TCP, tcp)] {
        batch.add_rule(Family::V4, &rule(address, protocol, port));
    }
    open()?
        .commit(batch)
        .map_err(|refusal| Error::kernel("lead the container to its resolver", refusal.error))
}

fn rule(address: Ipv4Addr, protocol: u8, port: u16) -> Rule {
    let (first, second) = (Register(0), Register(1));
    let expressions = [
        Expression::LoadField(Field::DESTINATION, first),
        Expression::Equal(first, address.octets().to_vec()),
        Expression::LoadMeta(Meta::TransportProtocol, first),
        Expression::Equal(first, vec![protocol]),
        Expression::LoadField(Field::DESTINATION_PORT, first),
        Expression::Equal(first, PORT.to_be_bytes().to_vec()),
        Expression::LoadValue(address.octets().to_vec(), first),
        Expression::LoadValue(port.to_be_bytes().to_vec(), second),
        Expression::Redirect { family: Family::V4, address: first, port: second },
    ];
    let mut bytes = Vec::new();
    for expression in &expressions {
        Writer(&mut bytes).nested(LIST_ELEMENT, |element| expression.write(element));
    }
    Rule { chain: OUTPUT.name, expressions: bytes }
}
