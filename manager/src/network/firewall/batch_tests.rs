use super::*;
use crate::network::netlink::frame as split;

/// The messages of a batch, each with its type and flags.
fn messages(bytes: &[u8]) -> Vec<(u16, u16, Vec<u8>)> {
    let mut messages = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (header, payload, after) = split(rest).unwrap();
        messages.push((header.message_type, header.flags, payload.to_vec()));
        rest = after;
    }
    messages
}

#[test]
fn a_batch_begins_with_the_subsystem_it_is_for() {
    let batch = Batch::new();
    #[rustfmt::skip]
    assert_eq!(batch.bytes, [
        20, 0, 0, 0,  16, 0,  1, 0,  1, 0, 0, 0,  0, 0, 0, 0,
        0, 0, 0, 10,
    ]);
}

#[test]
fn a_table_is_this_message() {
    let mut batch = Batch::new();
    batch.add_table(Family::V4);
    #[rustfmt::skip]
    assert_eq!(batch.bytes[20..], [
        32, 0, 0, 0,  0, 10,  1, 4,  2, 0, 0, 0,  0, 0, 0, 0,
        2, 0, 0, 0,
        9, 0, 1, 0,  b'n', b'm', b'a', b'n', 0, 0, 0, 0,
    ]);
}

#[test]
fn a_drop_is_this_rule() {
    let mut expressions = Vec::new();
    Writer(&mut expressions).nested(LIST_ELEMENT, |element| {
        Expression::Verdict(Expression::DROP).write(element);
    });
    let mut batch = Batch::new();
    batch.add_rule(Family::V4, &Rule { chain: "x", expressions });
    let (kind, flags, payload) = messages(&batch.bytes).remove(1);
    assert_eq!((kind, flags), (10 << 8 | 6, 0x1 | 0x400 | 0x800));
    #[rustfmt::skip]
    assert_eq!(payload[4..76], [
        9, 0, 1, 0,  b'n', b'm', b'a', b'n', 0, 0, 0, 0,
        6, 0, 2, 0,  b'x', 0, 0, 0,
        // list { element { name "immediate", data { register 0, data { verdict { code 0 } } } } }
        52, 0, 4, 0x80,  48, 0, 1, 0x80,
        14, 0, 1, 0,  b'i', b'm', b'm', b'e', b'd', b'i', b'a', b't', b'e', 0, 0, 0,
        28, 0, 2, 0x80,  8, 0, 1, 0,  0, 0, 0, 0,
        16, 0, 2, 0x80,  12, 0, 2, 0x80,  8, 0, 1, 0,  0, 0, 0, 0,
    ]);
    assert_eq!(payload[76..82], [14, 0, 7, 0, b'n', 8]);
}

#[test]
fn no_two_rules_of_a_chain_have_one_mark() {
    for family in Family::ALL {
        let rules = super::super::ruleset::rules(family);
        for (index, rule) in rules.iter().enumerate() {
            let same = |other: &&Rule| other.chain == rule.chain && other.mark() == rule.mark();
            assert_eq!(rules[..index].iter().find(same).map(|other| other.chain), None);
        }
    }
}

#[test]
fn only_the_last_message_asks_for_an_answer() {
    let mut batch = Batch::new();
    batch.add_table(Family::V4);
    batch.delete_table(Family::V4);
    batch.request_answer_to_last();
    let flags: Vec<u16> =
        messages(&batch.bytes).iter().map(|message| message.1 & NLM_F_ACK).collect();
    assert_eq!(flags, [0, 0, NLM_F_ACK]);
}

#[test]
fn an_element_reads_back_as_it_was_written() {
    let element = Element {
        family: Family::V4,
        set: Set::Published,
        key: vec![6, 0, 0, 0, 0, 80, 0, 0],
        data: vec![1; 8],
        published: None,
    };
    let mut batch = Batch::new();
    batch.add_element(&element);
    let (_, _, payload) = messages(&batch.bytes).remove(1);
    let list = attribute::find(&payload[4..], ELEMENTS).unwrap();
    let one = attribute::find(list, LIST_ELEMENT).unwrap();
    assert_eq!(parse_element(Family::V4, Set::Published, one), Some(element));
    assert_eq!(parse_element(Family::V4, Set::Published, &one[..6]), None);
}
