//! The rules: which packets are translated, which are dropped.
//!
//! They are the same on every host and for every container; [`Set`] says what makes them about one. `nft list table ip
//! nman` and `nft list table ip6 nman` show them. The attack that each defence is against stands beside it.

use super::batch::{Batch, LIST_ELEMENT};
use super::expression::{Expression, Field, Meta, Register, Tracking};
use crate::network::netlink::attribute::Writer;
use sha2::{Digest, Sha256};
use std::net::{IpAddr, Ipv6Addr};

/// The table's name in either family.
pub(super) const TABLE: &str = "nman";

/// The two kinds of table: `ip` and `ip6`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) const ALL: [Self; 2] = [Self::V4, Self::V6];

    pub(super) fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// NFPROTO_*.
    pub(super) fn protocol(self) -> u8 {
        match self {
            Self::V4 => 2,
            Self::V6 => 10,
        }
    }

    /// The address that some bytes begin with.
    pub(super) fn address_in(self, bytes: &[u8]) -> Option<IpAddr> {
        match self {
            Self::V4 => bytes.first_chunk::<4>().map(|octets| IpAddr::from(*octets)),
            Self::V6 => bytes.first_chunk::<16>().map(|octets| IpAddr::from(*octets)),
        }
    }

    /// The register behind an address that starts at the first.
    fn behind_address(self) -> Register {
        match self {
            Self::V4 => Register(1),
            Self::V6 => Register(4),
        }
    }

    fn source(self) -> Field {
        match self {
            Self::V4 => Field::SOURCE,
            Self::V6 => Field::SOURCE_V6,
        }
    }

    fn destination(self) -> Field {
        match self {
            Self::V4 => Field::DESTINATION,
            Self::V6 => Field::DESTINATION_V6,
        }
    }

    pub(super) fn address(self) -> Type {
        match self {
            Self::V4 => ADDRESS,
            Self::V6 => ADDRESS_V6,
        }
    }

    fn is_loopback(self, field: Field) -> [Expression; 2] {
        match self {
            Self::V4 => {
                [Expression::LoadField(field.first(1), FIRST), Expression::Equal(FIRST, vec![127])]
            }
            Self::V6 => {
                let loopback = Ipv6Addr::LOCALHOST.octets().to_vec();
                [Expression::LoadField(field, FIRST), Expression::Equal(FIRST, loopback)]
            }
        }
    }
}

/// A base chain.
pub(super) struct Chain {
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    /// NF_INET_*.
    pub(super) hook: u32,
    pub(super) priority: i32,
}

const NF_INET_PRE_ROUTING: u32 = 0;
const NF_INET_FORWARD: u32 = 2;
const NF_INET_LOCAL_OUT: u32 = 3;
const NF_INET_POST_ROUTING: u32 = 4;

/// Before connection tracking and NAT: packets are as they came in.
const GUARD: Chain =
    Chain { name: "guard", kind: "filter", hook: NF_INET_PRE_ROUTING, priority: -300 };
const PREROUTING: Chain =
    Chain { name: "prerouting", kind: "nat", hook: NF_INET_PRE_ROUTING, priority: -100 };
const OUTPUT: Chain =
    Chain { name: "output", kind: "nat", hook: NF_INET_LOCAL_OUT, priority: -100 };
const FORWARD: Chain =
    Chain { name: "forward", kind: "filter", hook: NF_INET_FORWARD, priority: 0 };
const POSTROUTING: Chain =
    Chain { name: "postrouting", kind: "nat", hook: NF_INET_POST_ROUTING, priority: 100 };

/// The sets that the rules refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Set {
    /// Interface: a bridge of ours.
    Bridges,
    /// Interface and the same again: a packet that stays on its bridge.
    Within,
    /// Interface: a bridge that only published ports are reached on from elsewhere.
    Isolated,
    /// Interface: a bridge that nothing leaves for elsewhere.
    Internal,
    /// Address and interface: a container and its bridge.
    Home,
    /// Address: a container that leaves the host under the host's address.
    Masqueraded,
    /// Protocol and port, on every address of the host, to a container's address and port.
    Published,
    /// Host address, protocol and port, to a container's address and port.
    PublishedOn,
}

/// A type of keys or values: `nft`'s number for it, by which it prints elements, and its length in bytes.
#[derive(Clone, Copy)]
pub(super) struct Type {
    pub(super) number: u32,
    pub(super) length: u32,
    /// In which order `nft` takes the bytes to be; a concatenation leaves that to its fields.
    pub(super) order: Option<Order>,
}

/// `nft`'s numbers for byte orders.
#[derive(Clone, Copy)]
pub(super) enum Order {
    Host = 1,
    Network = 2,
}

const ADDRESS: Type = Type { number: 7, length: 4, order: Some(Order::Network) };
const ADDRESS_V6: Type = Type { number: 8, length: 16, order: Some(Order::Network) };
const PROTOCOL: Type = Type { number: 12, length: 4, order: Some(Order::Network) };
const PORT: Type = Type { number: 13, length: 4, order: Some(Order::Network) };
const INTERFACE: Type = Type { number: 41, length: 16, order: Some(Order::Host) };

/// A concatenation's number holds its fields', six bits each; every field is padded to a register.
fn concatenation(fields: &[Type]) -> Type {
    fields.iter().fold(Type { number: 0, length: 0, order: None }, |whole, field| Type {
        number: whole.number << 6 | field.number,
        length: whole.length + field.length,
        order: None,
    })
}

impl Set {
    pub(super) const ALL: [Self; 8] = [
        Self::Bridges,
        Self::Within,
        Self::Isolated,
        Self::Internal,
        Self::Home,
        Self::Masqueraded,
        Self::Published,
        Self::PublishedOn,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bridges => "bridges",
            Self::Within => "within",
            Self::Isolated => "isolated",
            Self::Internal => "internal",
            Self::Home => "home",
            Self::Masqueraded => "masqueraded",
            Self::Published => "published",
            Self::PublishedOn => "published_on",
        }
    }

    /// Whether its elements are about bridges rather than containers.
    pub(super) fn is_of_bridges(self) -> bool {
        matches!(self, Self::Bridges | Self::Within | Self::Isolated | Self::Internal)
    }

    pub(super) fn key(self, family: Family) -> Type {
        let address = family.address();
        match self {
            Self::Bridges | Self::Isolated | Self::Internal => INTERFACE,
            Self::Within => concatenation(&[INTERFACE, INTERFACE]),
            Self::Home => concatenation(&[address, INTERFACE]),
            Self::Masqueraded => address,
            Self::Published => concatenation(&[PROTOCOL, PORT]),
            Self::PublishedOn => concatenation(&[address, PROTOCOL, PORT]),
        }
    }

    /// The type of a map's values.
    pub(super) fn data(self, family: Family) -> Option<Type> {
        let target = concatenation(&[family.address(), PORT]);
        matches!(self, Self::Published | Self::PublishedOn).then_some(target)
    }
}

/// One rule, encoded.
pub(super) struct Rule {
    pub(super) chain: &'static str,
    /// The list of expressions, as the attribute's value.
    pub(super) expressions: Vec<u8>,
}

impl Rule {
    fn new(chain: &Chain, expressions: &[Expression]) -> Self {
        let mut bytes = Vec::new();
        for expression in expressions {
            Writer(&mut bytes).nested(LIST_ELEMENT, |element| expression.write(element));
        }
        Self { chain: chain.name, expressions: bytes }
    }

    /// What the kernel keeps beside the rule, so that the rule is known again: a type, a length and a digest, in the
    /// form of `nft`'s own remarks, with a type that `nft` does not know and passes over.
    pub(super) fn mark(&self) -> [u8; 10] {
        const TYPE: u8 = b'n';
        const LENGTH: u8 = 8;
        let digest = Sha256::digest(&self.expressions);
        let mut mark = [TYPE, LENGTH, 0, 0, 0, 0, 0, 0, 0, 0];
        mark[2..].copy_from_slice(&digest[..usize::from(LENGTH)]);
        mark
    }
}

/// Replaces the table, whatever it was, by one with these rules and empty sets.
pub(super) fn replace(batch: &mut Batch, family: Family, rules: &[Rule]) {
    // Adding comes first because only a table that is there can be deleted.
    batch.add_table(family);
    batch.delete_table(family);
    batch.add_table(family);
    Set::ALL.into_iter().for_each(|set| batch.add_set(family, set));
    let chains: &[Chain] = match family {
        Family::V4 => &[GUARD, PREROUTING, OUTPUT, FORWARD, POSTROUTING],
        Family::V6 => &[PREROUTING, OUTPUT, FORWARD, POSTROUTING],
    };
    chains.iter().for_each(|chain| batch.add_chain(family, chain));
    rules.iter().for_each(|rule| batch.add_rule(family, rule));
}

/// All rules, in order within each chain.
pub(super) fn rules(family: Family) -> Vec<Rule> {
    // The kernel itself drops what comes in for, or from, ::1.
    let mut rules = if family == Family::V4 { guard() } else { Vec::new() };
    rules.extend(redirections(family));
    rules.extend(forward());
    rules.extend(postrouting(family));
    rules
}

const FIRST: Register = Register(0);

/// A bridge of ours routes 127.0.0.0/8, so that the host's own 127.0.0.1:PORT reaches a container. Its containers
/// must not reach the host's 127.0.0.1 in turn (CVE-2020-8558), nor pretend to be it.
fn guard() -> Vec<Rule> {
    let drop_loopback = |field| {
        let mut rule = interface_in(Meta::InputInterface, Set::Bridges);
        rule.extend(Family::V4.is_loopback(field));
        rule.push(Expression::Verdict(Expression::DROP));
        Rule::new(&GUARD, &rule)
    };
    [Field::DESTINATION, Field::SOURCE].map(drop_loopback).into()
}

/// Published ports: only on addresses of the host itself, so that a packet that is merely routed through keeps its way.
fn redirections(family: Family) -> Vec<Rule> {
    let mut rules = Vec::new();
    for chain in [PREROUTING, OUTPUT] {
        for set in [Set::PublishedOn, Set::Published] {
            let mut rule = is_local_destination();
            if chain.hook == NF_INET_PRE_ROUTING && family == Family::V4 {
                // What is published on 127.0.0.1 is for the host, which goes through `output`. A neighbour can send
                // packets for 127.0.0.1 to the host's link address, and translation comes before the check for that.
                rule.extend([
                    Expression::LoadField(Field::DESTINATION.first(1), FIRST),
                    Expression::NotEqual(FIRST, vec![127]),
                ]);
            }
            if chain.hook == NF_INET_LOCAL_OUT && family == Family::V6 && set == Set::Published {
                // Where [::1] can be published, it is an address of its own (`published_on`).
                let loopback = Ipv6Addr::LOCALHOST.octets().to_vec();
                rule.extend([
                    Expression::LoadField(family.destination(), FIRST),
                    Expression::NotEqual(FIRST, loopback),
                ]);
            }
            let mut next = FIRST;
            if set == Set::PublishedOn {
                rule.push(Expression::LoadField(family.destination(), FIRST));
                next = family.behind_address();
            }
            rule.extend([
                Expression::LoadMeta(Meta::TransportProtocol, next),
                Expression::LoadField(Field::DESTINATION_PORT, Register(next.0 + 1)),
                Expression::Map(set, FIRST, FIRST),
                Expression::Redirect { family, address: FIRST, port: family.behind_address() },
            ]);
            rules.push(Rule::new(&chain, &rule));
        }
    }
    rules
}

/// Into an isolated network come replies, published ports and neighbours; from other networks, or from a host
/// that has a route here, nothing else. From an internal one, nothing goes anywhere but to neighbours.
fn forward() -> Vec<Rule> {
    /// `established` and `related`.
    const REPLY: u32 = 1 << 1 | 1 << 2;
    let verdict = |mut rule: Vec<Expression>, code| {
        rule.push(Expression::Verdict(code));
        Rule::new(&FORWARD, &rule)
    };
    // Frames that stay on the bridge come by here only where br_netfilter sends them.
    let within = vec![
        Expression::LoadMeta(Meta::InputInterface, FIRST),
        Expression::LoadMeta(Meta::OutputInterface, Register(4)),
        Expression::In(Set::Within, FIRST),
    ];
    let mut published = interface_in(Meta::OutputInterface, Set::Isolated);
    published.extend(was_redirected());
    vec![
        verdict(tracking_has(Tracking::State, REPLY), Expression::ACCEPT),
        verdict(within, Expression::ACCEPT),
        verdict(interface_in(Meta::InputInterface, Set::Internal), Expression::DROP),
        verdict(published, Expression::ACCEPT),
        verdict(interface_in(Meta::OutputInterface, Set::Isolated), Expression::DROP),
    ]
}

/// Source addresses change only where an answer would not find its way back; an outside client's never does.
fn postrouting(family: Family) -> Vec<Rule> {
    // The host's own loopback address means nothing inside a container.
    let mut loopback = interface_in(Meta::OutputInterface, Set::Bridges);
    loopback.extend(family.is_loopback(family.source()));
    loopback.push(Expression::Masquerade);

    // A container that uses a port published by a neighbour, or by itself: the answer would go past the host.
    let mut hairpin = was_redirected();
    hairpin.extend(is_home(family));
    hairpin.push(Expression::Masquerade);

    let mut home = is_home(family);
    home.push(Expression::Verdict(Expression::ACCEPT));

    let outward = vec![
        Expression::LoadField(family.source(), FIRST),
        Expression::In(Set::Masqueraded, FIRST),
        Expression::Masquerade,
    ];
    [loopback, hairpin, home, outward].map(|rule| Rule::new(&POSTROUTING, &rule)).into()
}

fn interface_in(which: Meta, set: Set) -> Vec<Expression> {
    vec![Expression::LoadMeta(which, FIRST), Expression::In(set, FIRST)]
}

fn is_local_destination() -> Vec<Expression> {
    const RTN_LOCAL: u32 = 2;
    vec![
        Expression::LoadDestinationKind(FIRST),
        Expression::Equal(FIRST, RTN_LOCAL.to_ne_bytes().to_vec()),
    ]
}

/// A container's packet on its own bridge.
fn is_home(family: Family) -> Vec<Expression> {
    vec![
        Expression::LoadField(family.source(), FIRST),
        Expression::LoadMeta(Meta::OutputInterface, family.behind_address()),
        Expression::In(Set::Home, FIRST),
    ]
}

fn was_redirected() -> Vec<Expression> {
    const IPS_DST_NAT: u32 = 1 << 5;
    tracking_has(Tracking::Status, IPS_DST_NAT)
}

fn tracking_has(what: Tracking, bits: u32) -> Vec<Expression> {
    vec![
        Expression::LoadTracking(what, FIRST),
        Expression::And(FIRST, bits.to_ne_bytes()),
        Expression::NotEqual(FIRST, vec![0; 4]),
    ]
}
