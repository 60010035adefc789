//! The nf_tables expressions that our rules are made of.
//!
//! A rule is a list of expressions that load packet fields into registers, compare or look up registers, and give
//! a verdict. Constants are those of linux/netfilter/nf_tables.h.

use super::batch::DATA_VALUE;
use super::ruleset::{Family, Set};
use crate::network::netlink::attribute::Writer;

/// A four-byte register. A field of a key starts at one, and a longer field runs on into the next.
#[derive(Clone, Copy)]
pub(super) struct Register(pub(super) u32);

impl Register {
    fn number(self) -> u32 {
        /// NFT_REG32_00.
        const FIRST: u32 = 8;
        FIRST + self.0
    }
}

/// A fact about a packet beyond its bytes.
#[derive(Clone, Copy)]
pub(super) enum Meta {
    InputInterface = 6,
    OutputInterface = 7,
    TransportProtocol = 16,
}

/// What connection tracking knows.
#[derive(Clone, Copy)]
pub(super) enum Tracking {
    State = 0,
    Status = 2,
}

/// Bytes of a packet: header, offset and length.
#[derive(Clone, Copy)]
pub(super) struct Field {
    base: u32,
    offset: u32,
    length: u32,
}

impl Field {
    const NETWORK: u32 = 1;
    const TRANSPORT: u32 = 2;
    /// The IPv4 source address.
    pub(super) const SOURCE: Self = Self { base: Self::NETWORK, offset: 12, length: 4 };
    /// The IPv4 destination address.
    pub(super) const DESTINATION: Self = Self { base: Self::NETWORK, offset: 16, length: 4 };
    /// The IPv6 source address.
    pub(super) const SOURCE_V6: Self = Self { base: Self::NETWORK, offset: 8, length: 16 };
    /// The IPv6 destination address.
    pub(super) const DESTINATION_V6: Self = Self { base: Self::NETWORK, offset: 24, length: 16 };
    /// The destination port of TCP, UDP and SCTP alike.
    pub(super) const DESTINATION_PORT: Self = Self { base: Self::TRANSPORT, offset: 2, length: 2 };

    /// The first `length` bytes of the field.
    pub(super) const fn first(self, length: u32) -> Self {
        Self { length, ..self }
    }
}

/// One expression.
pub(super) enum Expression {
    LoadMeta(Meta, Register),
    LoadField(Field, Register),
    LoadTracking(Tracking, Register),
    /// A constant.
    LoadValue(Vec<u8>, Register),
    /// The kind of route to the packet's destination, as RTN_* number.
    LoadDestinationKind(Register),
    /// Keeps the bits of a mask.
    And(Register, [u8; 4]),
    Equal(Register, Vec<u8>),
    NotEqual(Register, Vec<u8>),
    /// The key that starts at a register is in the set.
    In(Set, Register),
    /// The key that starts at the first register is in the map, and its value goes to the second.
    Map(Set, Register, Register),
    /// Destination NAT to the address and port in these registers.
    Redirect {
        family: Family,
        address: Register,
        port: Register,
    },
    Masquerade,
    /// Ends the packet's way through this chain.
    Verdict(u32),
}

impl Expression {
    /// NF_DROP.
    pub(super) const DROP: u32 = 0;
    /// NF_ACCEPT.
    pub(super) const ACCEPT: u32 = 1;

    fn name(&self) -> &'static str {
        match self {
            Self::LoadMeta(..) => "meta",
            Self::LoadField(..) => "payload",
            Self::LoadTracking(..) => "ct",
            Self::LoadDestinationKind(_) => "fib",
            Self::And(..) => "bitwise",
            Self::Equal(..) | Self::NotEqual(..) => "cmp",
            Self::In(..) | Self::Map(..) => "lookup",
            Self::Redirect { .. } => "nat",
            Self::Masquerade => "masq",
            Self::Verdict(_) | Self::LoadValue(..) => "immediate",
        }
    }

    /// Writes NFTA_EXPR_NAME and NFTA_EXPR_DATA.
    pub(super) fn write(&self, attributes: &mut Writer<'_>) {
        attributes.string(1, self.name());
        attributes.nested(2, |data| self.write_data(data));
    }

    fn write_data(&self, data: &mut Writer<'_>) {
        match self {
            // NFTA_META_DREG, NFTA_META_KEY
            Self::LoadMeta(key, to) => {
                data.be32(1, to.number()).be32(2, *key as u32);
            }
            // NFTA_PAYLOAD_DREG, _BASE, _OFFSET, _LEN
            Self::LoadField(field, to) => {
                data.be32(1, to.number())
                    .be32(2, field.base)
                    .be32(3, field.offset)
                    .be32(4, field.length);
            }
            // NFTA_CT_DREG, NFTA_CT_KEY
            Self::LoadTracking(key, to) => {
                data.be32(1, to.number()).be32(2, *key as u32);
            }
            Self::LoadDestinationKind(to) => {
                const ADDRESS_TYPE: u32 = 3;
                const OF_DESTINATION: u32 = 2;
                // NFTA_FIB_DREG, NFTA_FIB_RESULT, NFTA_FIB_FLAGS
                data.be32(1, to.number()).be32(2, ADDRESS_TYPE).be32(3, OF_DESTINATION);
            }
            // NFTA_BITWISE_SREG, _DREG, _LEN, _MASK, _XOR
            Self::And(register, mask) => {
                data.be32(1, register.number()).be32(2, register.number()).be32(3, 4);
                write_value(data, 4, mask);
                write_value(data, 5, &[0; 4]);
            }
            Self::Equal(register, value) => write_compare(data, *register, 0, value),
            Self::NotEqual(register, value) => write_compare(data, *register, 1, value),
            // NFTA_LOOKUP_SET, NFTA_LOOKUP_SREG, NFTA_LOOKUP_DREG
            Self::In(set, key) => {
                data.string(1, set.name()).be32(2, key.number());
            }
            Self::Map(set, key, to) => {
                data.string(1, set.name()).be32(2, key.number()).be32(3, to.number());
            }
            Self::Redirect { family, address, port } => {
                const DESTINATION: u32 = 1;
                // NFTA_NAT_TYPE, _FAMILY, _REG_ADDR_MIN, _REG_PROTO_MIN
                data.be32(1, DESTINATION)
                    .be32(2, family.protocol().into())
                    .be32(3, address.number())
                    .be32(5, port.number());
            }
            // NFTA_IMMEDIATE_DREG, NFTA_IMMEDIATE_DATA
            Self::LoadValue(value, to) => {
                data.be32(1, to.number());
                write_value(data, 2, value);
            }
            Self::Masquerade => {}
            Self::Verdict(code) => {
                const VERDICT_REGISTER: u32 = 0;
                // NFTA_IMMEDIATE_DREG, NFTA_IMMEDIATE_DATA { NFTA_DATA_VERDICT { NFTA_VERDICT_CODE } }
                data.be32(1, VERDICT_REGISTER).nested(2, |value| {
                    value.nested(2, |verdict| {
                        verdict.be32(1, *code);
                    });
                });
            }
        }
    }
}

/// NFTA_CMP_SREG, NFTA_CMP_OP, NFTA_CMP_DATA.
fn write_compare(data: &mut Writer<'_>, register: Register, operation: u32, value: &[u8]) {
    data.be32(1, register.number()).be32(2, operation);
    write_value(data, 3, value);
}

fn write_value(data: &mut Writer<'_>, kind: u16, value: &[u8]) {
    data.nested(kind, |inner| {
        inner.bytes(DATA_VALUE, value);
    });
}
