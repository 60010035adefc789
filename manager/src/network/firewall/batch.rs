//! nf_tables over netlink: batches that are taken whole or not at all, and two queries.
//!
//! Only framing here. What the kernel refuses is told by the sequence number of the refused message, so that a caller
//! can tell which of its messages that was.

use super::element::Element;
use super::expression::Expression;
use super::ruleset::{Chain, Family, Rule, Set, TABLE};
use crate::network::netlink::attribute::{self, Writer};
use crate::network::netlink::{Error, HEADER, Socket, acknowledgement};
use netlink_packet_core::{
    Emitable, NLA_F_NESTED, NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL,
    NLM_F_REQUEST, NetlinkHeader,
};
use rustix::io::Errno;
use std::io;

/// The size of `struct nfgenmsg`, which comes before a message's attributes.
pub(super) const NFGENMSG: usize = 4;

const NETLINK_NETFILTER: isize = 12;
const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFNL_MSG_BATCH_BEGIN: u16 = 16;
const NFNL_MSG_BATCH_END: u16 = 17;
const NFPROTO_UNSPEC: u8 = 0;

// enum nf_tables_msg_types
const NEW_TABLE: u16 = 0;
const GET_TABLE: u16 = 1;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const NEW_RULE: u16 = 6;
const GET_RULE: u16 = 7;
const NEW_SET: u16 = 9;
const NEW_ELEMENT: u16 = 12;
const GET_ELEMENT: u16 = 13;
const DELETE_ELEMENT: u16 = 14;

/// Every object's first attribute names its table (NFTA_*_TABLE; a table's own is its name).
const TABLE_NAME: u16 = 1;
/// NFTA_LIST_ELEM.
pub(super) const LIST_ELEMENT: u16 = 1;
/// NFTA_RULE_CHAIN and NFTA_RULE_USERDATA.
const RULE_CHAIN: u16 = 2;
const RULE_USER_DATA: u16 = 7;
/// NFTA_DATA_VALUE.
pub(super) const DATA_VALUE: u16 = 1;

/// Changes that are to be made together.
pub(super) struct Batch {
    table: &'static str,
    bytes: Vec<u8>,
    /// The last message's number, and where it starts.
    sequence: u32,
    last: usize,
}

/// Why a batch was refused.
pub(super) struct Refusal {
    /// The message that was refused; `None` for the batch as a whole.
    pub(super) sequence: Option<u32>,
    pub(super) error: Error,
}

impl Batch {
    /// Changes of our table.
    pub(super) fn new() -> Self {
        Self::of_table(TABLE)
    }

    pub(super) fn of_table(table: &'static str) -> Self {
        let mut batch = Self { table, bytes: Vec::with_capacity(8 * 1024), sequence: 0, last: 0 };
        batch.frame(NFNL_MSG_BATCH_BEGIN, 0, NFPROTO_UNSPEC, NFNL_SUBSYS_NFTABLES, |_| {});
        batch
    }

    pub(super) fn add_table(&mut self, family: Family) {
        self.message(family, NEW_TABLE, NLM_F_CREATE, |_| {});
    }

    pub(super) fn delete_table(&mut self, family: Family) {
        self.message(family, DELETE_TABLE, 0, |_| {});
    }

    pub(super) fn add_chain(&mut self, family: Family, chain: &Chain) {
        self.message(family, NEW_CHAIN, NLM_F_CREATE, |attributes| {
            const NAME: u16 = 3;
            const HOOK: u16 = 4;
            const POLICY: u16 = 5;
            const TYPE: u16 = 7;
            attributes.string(NAME, chain.name);
            attributes.nested(HOOK, |hook| {
                const NUMBER: u16 = 1;
                const PRIORITY: u16 = 2;
                hook.be32(NUMBER, chain.hook);
                hook.be32(PRIORITY, chain.priority.cast_unsigned());
            });
            attributes.be32(POLICY, Expression::ACCEPT);
            attributes.string(TYPE, chain.kind);
        });
    }

    pub(super) fn add_rule(&mut self, family: Family, rule: &Rule) {
        self.message(family, NEW_RULE, NLM_F_CREATE | NLM_F_APPEND, |attributes| {
            const EXPRESSIONS: u16 = 4 | NLA_F_NESTED;
            attributes.string(RULE_CHAIN, rule.chain);
            attributes.bytes(EXPRESSIONS, &rule.expressions);
            attributes.bytes(RULE_USER_DATA, &rule.mark());
        });
    }

    pub(super) fn add_set(&mut self, family: Family, set: Set) {
        self.message(family, NEW_SET, NLM_F_CREATE, |attributes| {
            const NAME: u16 = 2;
            const FLAGS: u16 = 3;
            const KEY_TYPE: u16 = 4;
            const KEY_LENGTH: u16 = 5;
            const DATA_TYPE: u16 = 6;
            const DATA_LENGTH: u16 = 7;
            const ID: u16 = 10;
            const IS_MAP: u32 = 8;
            attributes.string(NAME, set.name());
            attributes.be32(FLAGS, if set.data(family).is_some() { IS_MAP } else { 0 });
            attributes.be32(KEY_TYPE, set.key(family).number);
            attributes.be32(KEY_LENGTH, set.key(family).length);
            if let Some(data) = set.data(family) {
                attributes.be32(DATA_TYPE, data.number);
                attributes.be32(DATA_LENGTH, data.length);
            }
            if let Some(order) = set.key(family).order {
                const USER_DATA: u16 = 13;
                // Only `nft` reads this, to print elements: NFTNL_UDATA_SET_KEYBYTEORDER, a length, a number.
                let [a, b, c, d] = (order as u32).to_ne_bytes();
                attributes.bytes(USER_DATA, &[0, 4, a, b, c, d]);
            }
            // The kernel insists on a number within the batch, though rules refer to sets by name here.
            attributes.be32(ID, set as u32 + 1);
        });
    }

    pub(super) fn add_element(&mut self, element: &Element) {
        self.element(NEW_ELEMENT, NLM_F_CREATE, element);
    }

    /// Refused with EEXIST if there is an element with that key; returns the message's number.
    pub(super) fn add_element_exclusively(&mut self, element: &Element) -> u32 {
        self.element(NEW_ELEMENT, NLM_F_CREATE | NLM_F_EXCL, element);
        self.sequence
    }

    pub(super) fn delete_element(&mut self, element: &Element) {
        self.element(DELETE_ELEMENT, 0, element);
    }

    fn element(&mut self, kind: u16, flags: u16, element: &Element) {
        self.message(element.family, kind, flags, |attributes| {
            attributes.string(ELEMENTS_SET, element.set.name());
            attributes.nested(ELEMENTS, |list| {
                list.nested(LIST_ELEMENT, |one| {
                    one.nested(ELEMENT_KEY, |key| {
                        key.bytes(DATA_VALUE, &element.key);
                    });
                    if kind == NEW_ELEMENT && !element.data.is_empty() {
                        one.nested(ELEMENT_DATA, |data| {
                            data.bytes(DATA_VALUE, &element.data);
                        });
                    }
                });
            });
        });
    }

    /// One message about the batch's table.
    fn message(
        &mut self,
        family: Family,
        kind: u16,
        flags: u16,
        fill: impl FnOnce(&mut Writer<'_>),
    ) {
        let table = self.table;
        self.frame(NFNL_SUBSYS_NFTABLES << 8 | kind, flags, family.protocol(), 0, |attributes| {
            attributes.string(TABLE_NAME, table);
            fill(attributes);
        });
    }

    /// Sets NLM_F_ACK in the last message's header.
    fn request_answer_to_last(&mut self) {
        const FLAGS: std::ops::Range<usize> = 6..8;
        let flags = &mut self.bytes[self.last..][FLAGS];
        let with_ack = u16::from_ne_bytes([flags[0], flags[1]]) | NLM_F_ACK;
        flags.copy_from_slice(&with_ack.to_ne_bytes());
    }

    fn frame(
        &mut self,
        kind: u16,
        flags: u16,
        family: u8,
        resource: u16,
        fill: impl FnOnce(&mut Writer<'_>),
    ) {
        self.sequence += 1;
        self.last = self.bytes.len();
        frame(&mut self.bytes, kind, flags, self.sequence, family, resource, fill);
    }
}

fn frame(
    bytes: &mut Vec<u8>,
    kind: u16,
    flags: u16,
    sequence: u32,
    family: u8,
    resource: u16,
    fill: impl FnOnce(&mut Writer<'_>),
) {
    let start = bytes.len();
    bytes.resize(start + HEADER, 0);
    // struct nfgenmsg
    bytes.extend_from_slice(&[family, 0]);
    bytes.extend_from_slice(&resource.to_be_bytes());
    fill(&mut Writer(bytes));
    let mut header = NetlinkHeader::default();
    header.length = u32::try_from(bytes.len() - start).expect("a message is shorter than 4 GiB");
    header.message_type = kind;
    header.flags = NLM_F_REQUEST | flags;
    header.sequence_number = sequence;
    header.emit(&mut bytes[start..start + HEADER]);
}

// Attributes of element lists (NFTA_SET_ELEM_LIST_*) and of elements (NFTA_SET_ELEM_*).
const ELEMENTS_SET: u16 = 2;
const ELEMENTS: u16 = 3;
const ELEMENT_KEY: u16 = 1;
const ELEMENT_DATA: u16 = 2;

/// A conversation with the packet filter of the namespace of the thread that opened it.
pub(super) struct Connection(Socket);

impl Connection {
    pub(super) fn open() -> io::Result<Self> {
        Socket::open(NETLINK_NETFILTER).map(Self)
    }

    /// Makes all changes of a batch, or none.
    pub(super) fn commit(&mut self, mut batch: Batch) -> Result<(), Refusal> {
        // The kernel answers what asks for an answer, and what it refuses; the last message asks, so that its answer
        // ends the wait. Answers come in order, after the whole batch was taken or refused.
        let last = batch.sequence;
        if last == 1 {
            return Ok(());
        }
        batch.request_answer_to_last();
        batch.frame(NFNL_MSG_BATCH_END, 0, NFPROTO_UNSPEC, NFNL_SUBSYS_NFTABLES, |_| {});
        self.0.send(&batch.bytes)?;
        let mut refusal: Option<Refusal> = None;
        loop {
            let done = self.0.receive::<Error>(|header, payload| {
                let Some(answer) = acknowledgement(header, payload) else { return Ok(false) };
                let sequence = header.sequence_number;
                // The begin message's number stands for the batch: no permission, or the commit itself failed.
                let whole = sequence <= 1;
                if let (Err(error), None) = (answer, &refusal) {
                    refusal = Some(Refusal { sequence: (!whole).then_some(sequence), error });
                }
                Ok(whole || sequence >= last)
            })?;
            if done {
                return refusal.map_or(Ok(()), Err);
            }
        }
    }

    /// Whether our table is there.
    pub(super) fn table_exists(&mut self, family: Family) -> Result<bool, Error> {
        match self.query(family, GET_TABLE, NLM_F_ACK, |_| {}, |_| {}) {
            Ok(()) => Ok(true),
            Err(error) if error.errno() == Some(Errno::NOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether our table has exactly these rules, by their marks.
    pub(super) fn has_rules(&mut self, family: Family, wanted: &[Rule]) -> Result<bool, Error> {
        let mut found: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        self.query(
            family,
            GET_RULE,
            NLM_F_DUMP,
            |_| {},
            |payload| {
                let attributes = payload.get(NFGENMSG..).unwrap_or_default();
                let value = |kind| attribute::find(attributes, kind).unwrap_or_default().to_vec();
                found.push((value(RULE_CHAIN), value(RULE_USER_DATA)));
            },
        )?;
        let name = |rule: &Rule| [rule.chain.as_bytes(), b"\0"].concat();
        let mut wanted: Vec<_> =
            wanted.iter().map(|rule| (name(rule), rule.mark().to_vec())).collect();
        // The order of chains is nothing; that of a chain's rules is kept, as sorting is stable.
        found.sort_by(|a, b| a.0.cmp(&b.0));
        wanted.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(found == wanted)
    }

    /// The elements of a set.
    pub(super) fn elements(&mut self, family: Family, set: Set) -> Result<Vec<Element>, Error> {
        let mut elements = Vec::new();
        let ask = |attributes: &mut Writer<'_>| {
            attributes.string(ELEMENTS_SET, set.name());
        };
        let answer = self.query(family, GET_ELEMENT, NLM_F_DUMP, ask, |payload| {
            let attributes = payload.get(NFGENMSG..).unwrap_or_default();
            let list = attribute::find(attributes, ELEMENTS).unwrap_or_default();
            elements.extend(
                attribute::iterate(list).filter_map(|(_, one)| parse_element(family, set, one)),
            );
        });
        match answer {
            Err(error) if error.errno() == Some(Errno::NOENT) => Ok(Vec::new()),
            Err(error) => Err(error),
            Ok(()) => Ok(elements),
        }
    }

    /// Asks about our table.
    fn query(
        &mut self,
        family: Family,
        kind: u16,
        flags: u16,
        ask: impl FnOnce(&mut Writer<'_>),
        each: impl FnMut(&[u8]),
    ) -> Result<(), Error> {
        let fill = |attributes: &mut Writer<'_>| {
            attributes.string(TABLE_NAME, TABLE);
            ask(attributes);
        };
        self.exchange(family, NFNL_SUBSYS_NFTABLES << 8 | kind, flags, fill, each)
    }

    /// One request to any part of netfilter, and its answer.
    pub(super) fn exchange(
        &mut self,
        family: Family,
        kind: u16,
        flags: u16,
        ask: impl FnOnce(&mut Writer<'_>),
        each: impl FnMut(&[u8]),
    ) -> Result<(), Error> {
        // Far from a batch's numbers, which start at one: a late answer to a batch is not an answer to this.
        let sequence = self.0.next_sequence() | 1 << 31;
        let mut bytes = Vec::new();
        frame(&mut bytes, kind, flags, sequence, family.protocol(), 0, ask);
        self.0.exchange(&bytes, sequence, each)
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self { sequence: None, error: error.into() }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self { sequence: None, error }
    }
}

fn parse_element(family: Family, set: Set, bytes: &[u8]) -> Option<Element> {
    let value =
        |kind| attribute::find(attribute::find(bytes, kind)?, DATA_VALUE).map(<[u8]>::to_vec);
    Some(Element {
        family,
        set,
        key: value(ELEMENT_KEY)?,
        data: value(ELEMENT_DATA).unwrap_or_default(),
        published: None,
    })
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
