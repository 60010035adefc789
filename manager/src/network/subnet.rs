//! An IP subnet in CIDR notation.
//!
//! Parsed once; the host bits are always zero. Both families fit, so that IPv6 needs no second set of types.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A network address and the length of its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet {
    network: IpAddr,
    prefix: u8,
}

impl Subnet {
    /// Takes the subnet that `address` lies in; `None` if the prefix is longer than the family's addresses.
    #[must_use]
    pub fn of(address: IpAddr, prefix: u8) -> Option<Self> {
        let width = width(address);
        (prefix <= width).then(|| Self {
            network: from_bits(address, to_bits(address) & mask(width, prefix)),
            prefix,
        })
    }

    /// Every address of that address's family: the destination of a default route.
    #[must_use]
    pub fn everything(family: IpAddr) -> Self {
        Self { network: from_bits(family, 0), prefix: 0 }
    }

    /// The address with all host bits zero.
    #[must_use]
    pub fn network(&self) -> IpAddr {
        self.network
    }

    /// The length of the prefix in bits.
    #[must_use]
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// The address with all host bits one: for IPv4 the broadcast address.
    #[must_use]
    pub fn last(&self) -> IpAddr {
        let width = width(self.network);
        from_bits(self.network, to_bits(self.network) | (all(width) & !mask(width, self.prefix)))
    }

    /// The address `offset` places after the network address, if it is inside.
    #[must_use]
    pub fn nth(&self, offset: u128) -> Option<IpAddr> {
        let bits = to_bits(self.network).checked_add(offset)?;
        (bits <= to_bits(self.last())).then(|| from_bits(self.network, bits))
    }

    /// How far `address` is behind the network address, if it is inside.
    #[must_use]
    pub fn offset(&self, address: IpAddr) -> Option<u128> {
        self.contains(address).then(|| to_bits(address) - to_bits(self.network))
    }

    /// Whether `address` lies inside.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        Self::of(address, self.prefix).is_some_and(|other| other == *self)
    }

    /// Whether the two have an address in common.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.network) || other.contains(self.network)
    }

    /// Whether interfaces have addresses of it: it meets neither loopback nor multicast, and does not begin with zeros.
    #[must_use]
    pub fn has_hosts(&self) -> bool {
        let reserved: &[(IpAddr, u8)] = match self.network {
            IpAddr::V4(_) => &[
                (IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8),
                (IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8),
                (IpAddr::V4(Ipv4Addr::new(224, 0, 0, 0)), 4),
            ],
            IpAddr::V6(_) => &[
                (IpAddr::V6(Ipv6Addr::UNSPECIFIED), 64),
                (IpAddr::V6(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0)), 8),
            ],
        };
        let mut reserved =
            reserved.iter().filter_map(|(address, prefix)| Self::of(*address, *prefix));
        !reserved.any(|reserved| reserved.overlaps(self))
    }

    /// Whether this is every address of its family: the destination of a default route.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.prefix == 0
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn all(width: u8) -> u128 {
    if width == 128 { u128::MAX } else { (1 << width) - 1 }
}

fn mask(width: u8, prefix: u8) -> u128 {
    all(width) & !all(width).checked_shr(u32::from(prefix)).unwrap_or(0)
}

fn to_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn from_bits(family: IpAddr, bits: u128) -> IpAddr {
    match family {
        // Bits never exceed the family's width: every caller masks or compares with `last`.
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or(u32::MAX))),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(bits)),
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

impl FromStr for Subnet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, prefix) =
            text.split_once('/').ok_or("no prefix length, as in 10.1.0.0/16")?;
        let address: IpAddr =
            address.parse().map_err(|_| format!("`{address}` is not an IP address"))?;
        let subnet = prefix
            .parse()
            .ok()
            .filter(|_| prefix.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|prefix| Self::of(address, prefix))
            .ok_or_else(|| format!("`{prefix}` is not a prefix length"))?;
        if subnet.network != address {
            return Err(format!("host bits are set; the network address is {}", subnet.network));
        }
        Ok(subnet)
    }
}

impl TryFrom<String> for Subnet {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> Self {
        subnet.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    #[test]
    fn a_subnet_knows_its_ends() {
        let s = subnet("10.90.0.0/16");
        assert_eq!(s.last(), "10.90.255.255".parse::<IpAddr>().unwrap());
        assert_eq!(s.nth(1), Some("10.90.0.1".parse().unwrap()));
        assert_eq!(s.nth(65536), None);
        assert_eq!(s.offset("10.90.1.0".parse().unwrap()), Some(256));
        assert_eq!(s.offset("10.91.0.0".parse().unwrap()), None);
        assert_eq!(
            subnet("fd00::/64").last(),
            "fd00::ffff:ffff:ffff:ffff".parse::<IpAddr>().unwrap()
        );
        assert_eq!(subnet("0.0.0.0/0").last(), "255.255.255.255".parse::<IpAddr>().unwrap());
        assert_eq!(subnet("::/0").nth(1), Some("::1".parse().unwrap()));
    }

    #[test]
    fn overlap_is_symmetric_and_keeps_families_apart() {
        assert!(subnet("10.0.0.0/8").overlaps(&subnet("10.90.0.0/16")));
        assert!(subnet("10.90.0.0/16").overlaps(&subnet("10.0.0.0/8")));
        assert!(!subnet("10.90.0.0/16").overlaps(&subnet("10.91.0.0/16")));
        assert!(!subnet("0.0.0.0/0").overlaps(&subnet("::/0")));
    }

    #[test]
    fn what_is_not_a_subnet_says_why() {
        for (text, why) in [
            ("10.0.0.0", "no prefix"),
            ("10.0.0/8", "not an IP"),
            ("10.0.0.0/33", "`33`"),
            ("10.0.0.0/+8", "`+8`"),
            ("10.0.0.0/", "``"),
            ("10.0.0.1/8", "network address is 10.0.0.0"),
        ] {
            let error = text.parse::<Subnet>().unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
