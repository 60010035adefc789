//! A container as elements of the firewall's sets: pure.

use super::ruleset::Set;
use crate::network::name::InterfaceName;
use crate::network::plan::{PublishedPort, Rules};

/// One element, as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) set: Set,
    /// The fields of the key, each padded to four bytes.
    pub(super) key: Vec<u8>,
    /// For a map, the fields of the value.
    pub(super) data: Vec<u8>,
    /// The published port that this element is.
    pub(super) published: Option<PublishedPort>,
}

/// Every element that a container needs, those of its bridge among them.
pub(super) fn of(rules: &Rules) -> Vec<Element> {
    let bridge = interface(&rules.bridge);
    let mut elements =
        vec![plain(Set::Bridges, bridge.to_vec()), plain(Set::Within, [bridge, bridge].concat())];
    if rules.isolate {
        elements.push(plain(Set::Isolated, bridge.to_vec()));
    }
    for address in &rules.addresses {
        elements.push(plain(Set::Home, [&address.octets()[..], &bridge].concat()));
        if rules.masquerade {
            elements.push(plain(Set::Masqueraded, address.octets().to_vec()));
        }
    }
    elements.extend(rules.published.iter().map(published));
    elements
}

fn plain(set: Set, key: Vec<u8>) -> Element {
    Element { set, key, data: Vec::new(), published: None }
}

fn published(port: &PublishedPort) -> Element {
    let mut key = Vec::with_capacity(12);
    key.extend(port.host.iter().flat_map(|host| host.octets()));
    key.extend([port.protocol.number(), 0, 0, 0]);
    key.extend(port.host_port.to_be_bytes());
    key.extend([0, 0]);
    let mut data = port.address.octets().to_vec();
    data.extend(port.port.to_be_bytes());
    data.extend([0, 0]);
    let set = if port.host.is_some() { Set::PublishedOn } else { Set::Published };
    Element { set, key, data, published: Some(*port) }
}

/// An interface's name as a packet's metadata has it: sixteen bytes, zeroes behind.
fn interface(name: &InterfaceName) -> [u8; 16] {
    let mut bytes = [0; 16];
    // An `InterfaceName` is at most 15 bytes long.
    bytes[..name.as_str().len()].copy_from_slice(name.as_str().as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::port::Protocol;

    #[test]
    fn a_container_is_exactly_these_elements() {
        let port = PublishedPort {
            host: None,
            host_port: 8080,
            protocol: Protocol::Tcp,
            address: [10, 90, 0, 2].into(),
            port: 80,
        };
        let on =
            PublishedPort { host: Some([127, 0, 0, 1].into()), protocol: Protocol::Udp, ..port };
        let rules = Rules {
            bridge: "nman0".parse().unwrap(),
            addresses: vec![[10, 90, 0, 2].into()],
            masquerade: true,
            isolate: true,
            published: vec![port, on],
        };
        let elements = of(&rules);
        let sets: Vec<Set> = elements.iter().map(|element| element.set).collect();
        use Set::{Bridges, Home, Isolated, Masqueraded, Published, PublishedOn, Within};
        assert_eq!(sets, [Bridges, Within, Isolated, Home, Masqueraded, Published, PublishedOn]);
        assert_eq!(elements[5].key, [6, 0, 0, 0, 0x1f, 0x90, 0, 0]);
        assert_eq!(elements[5].data, [10, 90, 0, 2, 0, 80, 0, 0]);
        assert_eq!(elements[6].key, [127, 0, 0, 1, 17, 0, 0, 0, 0x1f, 0x90, 0, 0]);
        assert_eq!(elements[3].key[..10], *b"\x0a\x5a\x00\x02nman0\0");
    }

    #[test]
    fn every_key_and_value_is_as_long_as_its_set_says() {
        let rules = Rules {
            bridge: "a".repeat(15).parse().unwrap(),
            addresses: vec![[10, 90, 0, 2].into()],
            masquerade: true,
            isolate: true,
            published: Vec::new(),
        };
        for element in of(&rules) {
            assert_eq!(element.key.len(), element.set.key().length as usize, "{:?}", element.set);
        }
    }
}
