//! Questions to the name server of a network, which any of its containers asks: an answer is one to the question, and fits.
#![no_main]

#[path = "../../manager/src/network/resolver/message.rs"]
mod message;

use std::net::IpAddr;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: (&[u8], Vec<IpAddr>, &str)| {
    let (query, addresses, name) = data;
    let Some(question) = message::parse(query) else { return };
    if let Some(name) = &question.name {
        let _ = message::reverse(name);
    }
    assert_eq!(question.is_of_internet(), question.class == 1);
    let family = |address: &&IpAddr| match question.kind {
        message::A => address.is_ipv4(),
        message::AAAA => address.is_ipv6(),
        _ => false,
    };
    let addresses: Vec<IpAddr> = addresses.iter().filter(family).copied().collect();
    let answer = message::addresses(query, &question, &addresses, message::DATAGRAM);
    assert!(answer.len() <= message::DATAGRAM, "{} bytes", answer.len());
    for answer in [
        answer,
        message::failure(query, &question, message::NO_SUCH_NAME),
        message::failure(query, &question, message::SERVER_FAILURE),
        message::pointer(query, &question, name),
    ] {
        assert!(message::answers(query, &answer), "{question:?}: {answer:x?}");
        assert_eq!(message::parse(&answer), None, "an answer is no question");
    }
});
