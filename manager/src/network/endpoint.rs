//! What was asked for about one network of a container: written down, and carried out at every start.

use super::name::{InterfaceName, NetworkName};
use super::plan::MacAddress;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Docker's option of a driver for what an interface is called in the container.
pub const INTERFACE: &str = "com.docker.network.endpoint.ifname";

/// Docker's option of a driver for parameters of an interface, separated by commas: `net.X.Y.IFNAME.Z=V`.
pub const SYSCTLS: &str = "com.docker.network.endpoint.sysctls";

/// A container's wish to be on a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Which network.
    pub network: NetworkName,
    /// How.
    #[serde(flatten)]
    pub wishes: Wishes,
}

/// What can be asked for about one network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wishes {
    /// What neighbours may call the container, in lower case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// `--ip`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<Ipv4Addr>,
    /// `--ip6`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip6: Option<Ipv6Addr>,
    /// `--mac-address`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddress>,
    /// `--link-local-ip`: further addresses of the interface, which nobody leases.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub link_local: Vec<IpAddr>,
    /// `gw-priority`: of the highest is the container's default route.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gw_priority: i64,
    /// `driver-opt`: [`INTERFACE`] and [`SYSCTLS`] are carried out, others are kept and shown, as in Docker.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub driver_opts: BTreeMap<String, String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(priority: &i64) -> bool {
    *priority == 0
}

/// A parameter of a container's interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceSysctl {
    /// Before and behind the interface's name, below `/proc/sys`: `net/ipv4/conf` and `log_martians`.
    parts: (String, String),
    /// What is written.
    pub value: String,
}

impl InterfaceSysctl {
    /// The file, for an interface of that name.
    #[must_use]
    pub fn key(&self, interface: &InterfaceName) -> String {
        format!("{}/{interface}/{}", self.parts.0, self.parts.1)
    }

    /// Reads `net.X.Y.IFNAME.Z=V`. Nothing in it can lead anywhere else.
    fn parse(text: &str) -> Result<Self, String> {
        let plain = |part: &&str| {
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
        };
        let (key, value) = text
            .split_once('=')
            .ok_or_else(|| format!("expected sysctl '{text}' to have format name=value"))?;
        match key.split('.').collect::<Vec<_>>().as_slice() {
            ["net", family @ ("ipv4" | "ipv6" | "mpls"), group, "IFNAME" | "ifname", name]
                if plain(group) && plain(name) =>
            {
                let parts = (format!("net/{family}/{group}"), (*name).to_owned());
                Ok(Self { parts, value: value.to_owned() })
            }
            _ => Err(format!(
                "unrecognised network interface sysctl '{text}'; represent 'net.X.Y.ethN.Z=V' as 'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'"
            )),
        }
    }
}

impl Endpoint {
    /// One without wishes.
    #[must_use]
    pub fn on(network: NetworkName) -> Self {
        Self { network, wishes: Wishes::default() }
    }

    /// Whether it is on none: `none` stands on the list as a network does, and alone.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.network.as_str() == "none"
    }
}

impl Wishes {
    /// The addresses that were asked for.
    #[must_use]
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.ip.map(IpAddr::V4).into_iter().chain(self.ip6.map(IpAddr::V6)).collect()
    }

    /// What the interface is to be called.
    ///
    /// # Errors
    /// It cannot be called so.
    pub fn interface(&self) -> Result<Option<InterfaceName>, String> {
        let Some(name) = self.driver_opts.get(INTERFACE) else { return Ok(None) };
        match name.parse() {
            Ok(_) if name == "lo" => {
                Err("an interface cannot be called `lo`: every container has that".to_owned())
            }
            Ok(name) => Ok(Some(name)),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The parameters of the interface that were asked for.
    ///
    /// # Errors
    /// One is none of an interface, in Docker's words.
    pub fn sysctls(&self) -> Result<Vec<InterfaceSysctl>, String> {
        let text = self.driver_opts.get(SYSCTLS).map(|text| text.split(','));
        text.into_iter().flatten().map(InterfaceSysctl::parse).collect()
    }

    /// Adds an option of the driver.
    ///
    /// # Errors
    /// It is no `KEY=VALUE`, or not what can be carried out.
    pub fn add_driver_opt(&mut self, text: &str) -> Result<(), String> {
        let (key, value) = text
            .split_once('=')
            .map(|(key, value)| (key.trim(), value.trim()))
            .filter(|(key, _)| !key.is_empty())
            .ok_or("invalid key/value pair format in driver options")?;
        self.driver_opts.insert(key.to_owned(), value.to_owned());
        self.interface()?;
        self.sysctls().map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_of_an_older_version_is_read() {
        let old = r#"{"network":"web","aliases":["db"],"ip":"10.1.0.5"}"#;
        let endpoint: Endpoint = serde_json::from_str(old).unwrap();
        assert_eq!((endpoint.wishes.aliases.len(), endpoint.wishes.gw_priority), (1, 0));
        assert_eq!(serde_json::to_string(&endpoint).unwrap(), old);
    }

    #[test]
    fn parameters_are_of_the_interface_and_of_nothing_else() {
        let sysctl = |text: &str| {
            let mut wishes = Wishes::default();
            wishes.add_driver_opt(&format!("{SYSCTLS}={text}"))?;
            let name = "eth0".parse().unwrap();
            let all = wishes.sysctls()?;
            Ok::<_, String>(all.iter().map(|one| (one.key(&name), one.value.clone())).collect())
        };
        let both: Vec<_> =
            sysctl("net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.neigh.ifname.ucast_solicit=5")
                .unwrap();
        assert_eq!(both[0], ("net/ipv4/conf/eth0/log_martians".to_owned(), "1".to_owned()));
        assert_eq!(both[1].0, "net/ipv6/neigh/eth0/ucast_solicit");
        for bad in [
            "net.ipv4.conf.eth0.log_martians=1",
            "net.core.conf.IFNAME.x=1",
            "kernel.ipv4.conf.IFNAME.x=1",
            "net.ipv4.conf.IFNAME.x.y=1",
            "net.ipv4.conf.IFNAME./../x=1",
            "net.ipv4..IFNAME.x=1",
        ] {
            assert!(sysctl(bad).unwrap_err().contains("unrecognised"), "{bad}");
        }
        assert!(sysctl("net.ipv4.conf.IFNAME.x").unwrap_err().contains("name=value"));
    }

    #[test]
    fn an_interface_has_a_name_that_the_kernel_takes() {
        let named = |name: &str| {
            let mut wishes = Wishes::default();
            wishes.add_driver_opt(&format!(" {INTERFACE} = {name}"))?;
            wishes.interface()
        };
        assert_eq!(named("wan").unwrap().unwrap().as_str(), "wan");
        for bad in ["lo", "", "a/b", "sixteen-letters-"] {
            assert!(named(bad).is_err(), "{bad}");
        }
        let mut wishes = Wishes::default();
        wishes.add_driver_opt("other=1").expect("what nobody knows is kept");
        assert!(wishes.add_driver_opt("=1").is_err() && wishes.add_driver_opt("x").is_err());
    }
}
