//! A container as elements of the firewall's sets: pure.

use super::ruleset::{Family, Set, Type};
use crate::network::name::InterfaceName;
use crate::network::plan::{PublishedPort, Rules};
use std::net::IpAddr;

/// One element, as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) family: Family,
    pub(super) set: Set,
    /// The fields of the key, each padded to four bytes.
    pub(super) key: Vec<u8>,
    /// For a map, the fields of the value.
    pub(super) data: Vec<u8>,
    /// The published port that this element is.
    pub(super) published: Option<PublishedPort>,
}

impl Element {
    /// The interface that the key is, or that is behind the address in it.
    pub(super) fn interface(&self) -> Option<InterfaceName> {
        let address = if self.set == Set::Home { self.family.address().length } else { 0 };
        let name = self.key.get(address as usize..)?;
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        std::str::from_utf8(&name[..end]).ok()?.parse().ok()
    }

    /// Whether the set takes it: another version's may have had other keys or values.
    pub(super) fn fits(&self) -> bool {
        let length =
            |bytes: &[u8], of: Option<Type>| bytes.len() == of.map_or(0, |of| of.length as usize);
        length(&self.key, Some(self.set.key(self.family)))
            && length(&self.data, self.set.data(self.family))
    }

    /// The container's address that this is about; `None` for what is about a bridge.
    pub(super) fn address(&self) -> Option<IpAddr> {
        match self.set {
            Set::Home | Set::Masqueraded => self.family.address_in(&self.key),
            Set::Published | Set::PublishedOn => self.target(),
            _ => None,
        }
    }

    /// The container's address that a published port leads to.
    pub(super) fn target(&self) -> Option<IpAddr> {
        self.family.address_in(&self.data)
    }
}

/// Every element that a container needs in each family that it has addresses of, those of its bridge among them.
pub(super) fn of(rules: &Rules) -> Vec<Element> {
    Family::ALL.into_iter().flat_map(|family| of_family(rules, family)).collect()
}

/// Those of one family.
pub(super) fn of_family(rules: &Rules, family: Family) -> Vec<Element> {
    let is_of = |address: &&IpAddr| Family::of(**address) == family;
    let addresses: Vec<&IpAddr> = rules.addresses.iter().filter(is_of).collect();
    if addresses.is_empty() {
        return Vec::new();
    }
    let bridge = interface(&rules.bridge);
    let plain = |set, key| Element { family, set, key, data: Vec::new(), published: None };
    let mut elements = of_bridge(family, &rules.bridge).to_vec();
    elements.retain(|element| match element.set {
        Set::Isolated => rules.isolate,
        Set::Internal => rules.internal,
        _ => true,
    });
    for address in addresses {
        elements.push(plain(Set::Home, [&octets(*address)[..], &bridge].concat()));
        if rules.masquerade {
            elements.push(plain(Set::Masqueraded, octets(*address)));
        }
    }
    let published = rules.published.iter().filter(|port| is_of(&&port.address)).map(published);
    elements.extend(published);
    elements
}

/// Every element of one family that is about a bridge.
pub(super) fn of_bridge(family: Family, bridge: &InterfaceName) -> [Element; 4] {
    let bridge = interface(bridge);
    [Set::Bridges, Set::Within, Set::Isolated, Set::Internal].map(|set| Element {
        family,
        set,
        key: if set == Set::Within { [bridge, bridge].concat() } else { bridge.to_vec() },
        data: Vec::new(),
        published: None,
    })
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

fn published(port: &PublishedPort) -> Element {
    let mut key = port.host.map(octets).unwrap_or_default();
    key.extend([port.protocol.number(), 0, 0, 0]);
    key.extend(port.host_port.to_be_bytes());
    key.extend([0, 0]);
    let mut data = octets(port.address);
    data.extend(port.port.to_be_bytes());
    data.extend([0, 0]);
    let set = if port.host.is_some() { Set::PublishedOn } else { Set::Published };
    Element { family: Family::of(port.address), set, key, data, published: Some(*port) }
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
            internal: false,
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
        assert_eq!(elements[0].interface(), Some(rules.bridge.clone()));
        assert_eq!(elements[3].interface(), Some(rules.bridge));
        assert_eq!(elements[4].interface(), None);
        let about: Vec<bool> = elements.iter().map(|one| one.address().is_some()).collect();
        assert_eq!(about, [false, false, false, true, true, true, true]);
        assert!(elements[3..].iter().all(|one| one.address() == Some([10, 90, 0, 2].into())));
    }

    #[test]
    fn every_key_and_value_is_as_long_as_its_set_says() {
        let address: IpAddr = "fd00::2".parse().unwrap();
        let port = |host: Option<IpAddr>| PublishedPort {
            host,
            host_port: 8080,
            protocol: Protocol::Tcp,
            address,
            port: 80,
        };
        let rules = Rules {
            bridge: "a".repeat(15).parse().unwrap(),
            addresses: vec![[10, 90, 0, 2].into(), address],
            masquerade: true,
            isolate: true,
            internal: true,
            published: vec![port(None), port(Some("::1".parse().unwrap()))],
        };
        assert_eq!(of(&rules).len(), 6 + 6 + 2);
        for element in of(&rules) {
            assert!(element.fits(), "{element:?}");
        }
    }
}
