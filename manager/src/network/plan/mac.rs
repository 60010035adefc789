//! Link addresses that follow from what they are for, so that a second run, or another process, finds the same.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use std::net::IpAddr;

/// A link (MAC) address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddress([u8; 6]);

/// First octet: locally administered, for one station.
const LOCAL: u8 = 0x02;

impl MacAddress {
    /// Takes six octets.
    #[must_use]
    pub const fn new(octets: [u8; 6]) -> Self {
        Self(octets)
    }

    /// The six octets.
    #[must_use]
    pub const fn octets(self) -> [u8; 6] {
        self.0
    }

    /// Whether an interface can have it (`is_valid_ether_addr` of the kernel): neither of a group nor all zeros.
    #[must_use]
    pub fn is_of_one(self) -> bool {
        self.0[0] & 1 == 0 && self.0 != [0; 6]
    }

    /// One address per IP address: who has a neighbour's old entry for it still reaches its new owner.
    #[must_use]
    pub fn of_address(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => {
                let [a, b, c, d] = v4.octets();
                Self([LOCAL, b'n', a, b, c, d])
            }
            IpAddr::V6(v6) => Self::derived(&v6.to_string()),
        }
    }

    /// One address per name.
    #[must_use]
    pub fn derived(name: &str) -> Self {
        let digest = Sha256::digest(name.as_bytes());
        Self([LOCAL, digest[0], digest[1], digest[2], digest[3], digest[4]])
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl TryFrom<String> for MacAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let octets: Option<Vec<u8>> = text
            .split(':')
            .map(|octet| (octet.len() == 2).then(|| u8::from_str_radix(octet, 16).ok())?)
            .collect();
        octets
            .and_then(|octets| octets.try_into().ok())
            .map(Self)
            .ok_or_else(|| format!("`{text}` is not a link address"))
    }
}

impl From<MacAddress> for String {
    fn from(mac: MacAddress) -> Self {
        mac.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reads_back() {
        let mac = MacAddress::of_address("10.90.0.2".parse().unwrap());
        assert_eq!(mac.to_string(), "02:6e:0a:5a:00:02");
        assert_eq!(MacAddress::try_from(mac.to_string()).unwrap(), mac);
        for bad in ["", "02:6e", "02:6e:0a:5a:00:02:03", "2:6e:0a:5a:00:02", "zz:6e:0a:5a:00:02"] {
            assert!(MacAddress::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn derived_addresses_are_local_and_of_one_station() {
        for name in ["a", "b", "nman0"] {
            assert_eq!(MacAddress::derived(name).octets()[0] & 3, 2);
        }
        assert_ne!(MacAddress::derived("a"), MacAddress::derived("b"));
    }
}
