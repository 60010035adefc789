//! A new network's conflist, from what was asked for and what is there already: pure.

use super::{About, Bridge, Definition, conflist, pools};
use crate::boolean::boolean;
use crate::clock::Timestamp;
use crate::network::error::{Error, Result};
use crate::network::host::HostFacts;
use crate::network::name::{InterfaceName, NetworkName};
use crate::network::subnet::Subnet;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

/// What `network create` was asked for.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The name.
    pub name: NetworkName,
    /// Sixty-four hexadecimal digits.
    pub id: String,
    /// When.
    pub created: Timestamp,
    /// `bridge`, or the type of a plug-in.
    pub driver: String,
    /// `--subnet`
    pub subnets: Vec<Subnet>,
    /// `--gateway`
    pub gateways: Vec<IpAddr>,
    /// `--ip-range`
    pub ranges: Vec<Subnet>,
    /// `--ipv6`
    pub ipv6: bool,
    /// `--ipv4=false` leaves IPv4 out.
    pub ipv4: bool,
    /// `--internal`
    pub internal: bool,
    /// `--attachable`
    pub attachable: bool,
    /// `--label`
    pub labels: BTreeMap<String, String>,
    /// `-o`
    pub options: BTreeMap<String, String>,
    /// `--aux-address`
    pub aux_addresses: BTreeMap<String, IpAddr>,
}

/// Docker's options of a bridge, and their short forms.
const BRIDGE_NAME: &str = "com.docker.network.bridge.name";
const MASQUERADE: &str = "com.docker.network.bridge.enable_ip_masquerade";
const BETWEEN_CONTAINERS: &str = "com.docker.network.bridge.enable_icc";
const MTU: [&str; 2] = ["com.docker.network.driver.mtu", "mtu"];
const ISOLATE: &str = "isolate";

/// The modes of the drivers that put containers onto a link of the host, the default first.
const MODES: [(&str, &[&str]); 2] =
    [("macvlan", &["bridge", "private", "vepa", "passthru"]), ("ipvlan", &["l2", "l3", "l3s"])];

impl Draft {
    /// The conflist's text.
    ///
    /// # Errors
    /// What was asked for does not fit together, or with another network.
    pub fn conflist(&self, others: &[Definition], host: &HostFacts) -> Result<String> {
        let subnets = self.choose_subnets(others, host)?;
        let ranges =
            subnets.iter().map(|subnet| self.range(*subnet)).collect::<Result<Vec<_>>>()?;
        self.check_strays(&subnets)?;
        let routes: Vec<Value> = subnets
            .iter()
            .filter(|_| !self.internal)
            .map(|subnet| json!({ "dst": Subnet::everything(subnet.network()) }))
            .collect();
        let ipam = json!({ "type": "host-local", "ranges": ranges, "routes": routes });
        let plugins = match self.driver.as_str() {
            "bridge" => self.bridge(&ipam, others)?,
            _ => vec![self.foreign(ipam)?],
        };
        let about = About {
            id: Some(self.id.clone()),
            created: Some(self.created),
            internal: self.internal,
            attachable: self.attachable,
            labels: self.labels.clone(),
            options: self.options.clone(),
            aux_addresses: self.aux_addresses.clone(),
        };
        let list = json!({
            "cniVersion": "1.0.0", "name": self.name.as_str(), "nman": about, "plugins": plugins,
        });
        let text = format!("{list:#}\n");
        let definition = conflist::parse(&text)
            .map_err(|fault| self.refuse(format!("{}: {}", fault.pointer, fault.reason)))?;
        self.check_others(&definition)?;
        Ok(text)
    }

    fn refuse(&self, reason: impl Into<String>) -> Error {
        Error::Invalid { what: "network", text: self.name.to_string(), reason: reason.into() }
    }

    /// The subnets that were asked for which lie where a route of the host leads, each with that route.
    #[must_use]
    pub fn hidden_routes(&self, host: &HostFacts) -> Vec<(Subnet, Subnet)> {
        let overlapping = |subnet: &Subnet| host.routes.iter().find(|route| route.overlaps(subnet));
        let of = |subnet: &Subnet| Some((*subnet, *overlapping(subnet)?));
        self.subnets.iter().filter_map(of).collect()
    }

    /// Those that were asked for, and one of each family that is missing; none may overlap another network's.
    fn choose_subnets(&self, others: &[Definition], host: &HostFacts) -> Result<Vec<Subnet>> {
        let mut taken = Vec::new();
        for other in others {
            taken.extend(other.ranges().iter().map(|range| (range.subnet, &other.name)));
        }
        for subnet in &self.subnets {
            if !subnet.has_hosts() {
                return Err(self.refuse(format!("no interface can have an address of {subnet}")));
            }
            if let Some((other, name)) = taken.iter().find(|(other, _)| other.overlaps(subnet)) {
                return Err(self.refuse(format!(
                    "Pool overlaps with other one on this address space: {subnet} and {other} of network `{name}`"
                )));
            }
            taken.push((*subnet, &self.name));
        }
        for v6 in [false, true] {
            let of_family = |subnet: &&Subnet| subnet.network().is_ipv6() == v6;
            if self.driver == "bridge" && self.subnets.iter().filter(of_family).count() > 1 {
                return Err(self.refuse("bridge driver doesn't support multiple subnets"));
            }
        }
        let mut subnets = self.subnets.clone();
        let has = |v6: bool| self.subnets.iter().any(|s| s.network().is_ipv6() == v6);
        if self.ipv4 && !has(false) && (self.ipv6 || !has(true)) {
            let used = || taken.iter().map(|(subnet, _)| subnet).chain(&host.routes);
            let is_free = |pool: &Subnet| !used().any(|other| other.overlaps(pool));
            let pool = small_pools().chain(pools()).find(is_free).ok_or_else(|| {
                self.refuse("all predefined address pools have been fully subnetted")
            })?;
            subnets.insert(0, pool);
        }
        if self.ipv6 && !has(true) {
            subnets.push(self.unique_local());
        }
        if subnets.is_empty() {
            return Err(self.refuse("IPv4 or IPv6 must be enabled"));
        }
        subnets.sort_by_key(|subnet| subnet.network().is_ipv6());
        Ok(subnets)
    }

    /// fd and forty bits that nobody else has (RFC 4193): the id is random.
    fn unique_local(&self) -> Subnet {
        let digest = Sha256::digest(self.id.as_bytes());
        let mut octets = [0; 16];
        octets[0] = 0xfd;
        octets[1..8].copy_from_slice(&digest[..7]);
        let inside = IpAddr::V6(Ipv6Addr::from(octets));
        Subnet::of(inside, 64).unwrap_or_else(|| Subnet::everything(inside))
    }

    /// One set of one range, as `host-local` has it.
    fn range(&self, subnet: Subnet) -> Result<Value> {
        let mut range = json!({ "subnet": subnet });
        if let Some(gateway) = self.gateways.iter().find(|gateway| subnet.contains(**gateway)) {
            range["gateway"] = json!(gateway);
        }
        if let Some(inner) = self.ranges.iter().find(|range| subnet.contains(range.network())) {
            if inner.prefix() < subnet.prefix() {
                return Err(self.refuse(format!("the range {inner} is not inside {subnet}")));
            }
            // The first and the last address of the subnet itself are no hosts.
            let first = inner.network().max(subnet.nth(1).unwrap_or(inner.network()));
            let before_last = subnet
                .offset(subnet.last())
                .and_then(|offset| subnet.nth(offset.checked_sub(1)?))
                .unwrap_or(inner.last());
            range["rangeStart"] = json!(first);
            range["rangeEnd"] = json!(inner.last().min(before_last));
        }
        Ok(json!([range]))
    }

    /// What belongs to no subnet is a mistake.
    fn check_strays(&self, subnets: &[Subnet]) -> Result<()> {
        let named = [
            ("gateway", self.gateways.clone()),
            ("auxiliary address", self.aux_addresses.values().copied().collect()),
        ];
        let ranges = self.ranges.iter().map(Subnet::network).collect();
        for (what, addresses) in named.into_iter().chain([("range", ranges)]) {
            let stray =
                |address: &&IpAddr| !subnets.iter().any(|subnet| subnet.contains(**address));
            if let Some(address) = addresses.iter().find(stray) {
                return Err(self.refuse(format!("no matching subnet for {what} {address}")));
            }
        }
        // One that is left over: of each subnet the first is taken.
        let ranges: Vec<IpAddr> = self.ranges.iter().map(Subnet::network).collect();
        for addresses in [&self.gateways, &ranges] {
            let of = |subnet: &Subnet| {
                addresses.iter().filter(|address| subnet.contains(**address)).count()
            };
            if subnets.iter().any(|subnet| of(subnet) > 1) {
                return Err(
                    self.refuse("every ip-range or gateway must have a corresponding subnet")
                );
            }
        }
        for gateway in &self.gateways {
            let is_edge = |subnet: &&Subnet| [subnet.network(), subnet.last()].contains(gateway);
            if let Some(subnet) = subnets.iter().find(is_edge) {
                return Err(self.refuse(format!("gateway {gateway} is no host of {subnet}")));
            }
        }
        Ok(())
    }

    /// An auxiliary address is another host's: no gateway of the network's, which is its bridge's, and no second one's.
    fn check_others(&self, definition: &Definition) -> Result<()> {
        let mut taken: BTreeSet<IpAddr> =
            definition.ranges().iter().map(|range| range.gateway).collect();
        match self.aux_addresses.iter().find(|(_, address)| !taken.insert(**address)) {
            None => Ok(()),
            Some((name, address)) => Err(self.refuse(format!(
                "failed to allocate secondary ip address ({name}:{address}): Address already in use"
            ))),
        }
    }

    fn bridge(&self, ipam: &Value, others: &[Definition]) -> Result<Vec<Value>> {
        let bridge = json!({
            "type": "bridge",
            "bridge": self.bridge_name(others)?,
            "isGateway": true,
            "ipMasq": !self.internal && self.truth(MASQUERADE, true)?,
            "hairpinMode": true,
            "portIsolation": !self.truth(BETWEEN_CONTAINERS, true)?,
            "mtu": self.mtu()?,
            "ipam": ipam,
        });
        let mut plugins = vec![bridge];
        if !self.internal {
            plugins.push(json!({ "type": "portmap", "capabilities": { "portMappings": true } }));
        }
        if self.internal || self.truth(ISOLATE, true)? {
            plugins.push(json!({ "type": "firewall" }));
        }
        let is_known =
            |key: &str| key.starts_with("com.docker.") || MTU.contains(&key) || key == ISOLATE;
        match self.options.keys().find(|key| !is_known(key)) {
            Some(key) => Err(self.refuse(format!("a bridge has no option `{key}`"))),
            None => Ok(plugins),
        }
    }

    /// The bridge that the network is to stand on, if it names one.
    ///
    /// # Errors
    /// That is no name of a link.
    pub fn named_bridge(&self) -> Result<Option<InterfaceName>> {
        self.options.get(BRIDGE_NAME).map(|name| name.parse()).transpose()
    }

    fn bridge_name(&self, others: &[Definition]) -> Result<InterfaceName> {
        let wanted = match self.named_bridge()? {
            Some(name) => name,
            None => format!("br-{}", &self.id[..12]).parse()?,
        };
        let has = |other: &&Definition| {
            other.bridge().is_some_and(|bridge: &Bridge| bridge.name == wanted)
        };
        match others.iter().find(has) {
            Some(other) => Err(self.refuse(format!(
                "network {} ({}): conflicts with network: networks have same bridge name {wanted}",
                other.id(),
                other.name
            ))),
            None => Ok(wanted),
        }
    }

    fn truth(&self, key: &str, default: bool) -> Result<bool> {
        match self.options.get(key).map(String::as_str) {
            None => Ok(default),
            Some("") => Ok(true),
            Some(text) => boolean(text).map_err(|_| {
                self.refuse(format!("the option `{key}` is true or false, not `{text}`"))
            }),
        }
    }

    /// Zero is the default, as in CNI.
    fn mtu(&self) -> Result<u32> {
        let text = MTU.iter().find_map(|key| self.options.get(*key));
        text.map_or(Ok(0), |text| {
            text.parse().map_err(|_| self.refuse(format!("the MTU is a number, not `{text}`")))
        })
    }

    /// The link of the host that the network is to stand on, if it names one.
    ///
    /// # Errors
    /// That is no name of a link.
    pub fn parent(&self) -> Result<Option<InterfaceName>> {
        let named = ["parent", "master"].iter().find_map(|key| self.options.get(*key));
        named
            .filter(|_| MODES.iter().any(|(driver, _)| *driver == self.driver))
            .map(|name| name.parse())
            .transpose()
    }

    fn is_mode(&self, key: &str) -> bool {
        key == "mode" || key.strip_suffix("_mode") == Some(&self.driver)
    }

    /// The plug-in would refuse it as well, but only when the first container comes.
    fn check_mode(&self) -> Result<()> {
        let Some((driver, modes)) = MODES.iter().find(|(driver, _)| *driver == self.driver) else {
            return Ok(());
        };
        let mut wanted = self.options.iter().filter(|(key, _)| self.is_mode(key));
        match wanted.find(|(_, mode)| !modes.contains(&mode.as_str())) {
            None => Ok(()),
            Some((_, mode)) => Err(self.refuse(format!(
                "requested {driver} mode '{mode}' is not valid, '{}' mode is the {driver} driver default",
                modes[0]
            ))),
        }
    }

    /// A plug-in of another type gets the options as its own keys: numbers and truths as such, and `parent` and
    /// `TYPE_mode` under the names that CNI has for them.
    fn foreign(&self, ipam: Value) -> Result<Value> {
        if self.internal {
            return Err(self.refuse(format!("the driver `{}` cannot be internal", self.driver)));
        }
        self.check_mode()?;
        let mut plugin = Map::new();
        plugin.insert("type".into(), self.driver.as_str().into());
        plugin.insert("capabilities".into(), json!({ "mac": true, "ips": true }));
        for (key, value) in &self.options {
            let key = match key.as_str() {
                "parent" => "master",
                key if self.is_mode(key) => "mode",
                key if MTU.contains(&key) => "mtu",
                key => key,
            };
            let read = serde_json::from_str::<Value>(value).ok();
            let plain = read.filter(|value| value.is_number() || value.is_boolean());
            plugin.insert(key.to_owned(), plain.unwrap_or_else(|| value.as_str().into()));
        }
        plugin.insert("ipam".into(), ipam);
        Ok(plugin.into())
    }
}

/// Subnets for networks that are made by name: enough for one host, and small.
fn small_pools() -> impl Iterator<Item = Subnet> {
    let octets = (100..104).flat_map(|second| (0..=255).map(move |third| [10, second, third, 0]));
    octets.filter_map(|octets| Subnet::of(IpAddr::from(octets), 24))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::definition::{Driver, HOST_BINDING, built_in};

    fn draft(name: &str) -> Draft {
        Draft {
            name: name.parse().unwrap(),
            id: "0123456789abcdef".repeat(4),
            created: Timestamp::now(),
            driver: "bridge".into(),
            subnets: Vec::new(),
            gateways: Vec::new(),
            ranges: Vec::new(),
            ipv6: false,
            ipv4: true,
            internal: false,
            attachable: false,
            labels: BTreeMap::new(),
            options: BTreeMap::new(),
            aux_addresses: BTreeMap::new(),
        }
    }

    fn made(draft: &Draft) -> Definition {
        let text = draft.conflist(&[], &HostFacts::default()).unwrap();
        conflist::parse(&text).ok().unwrap()
    }

    fn refused(draft: &Draft, others: &[Definition]) -> String {
        draft.conflist(others, &HostFacts::default()).unwrap_err().to_string()
    }

    fn option(key: &str, value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(key.to_owned(), value.to_owned())])
    }

    #[test]
    fn a_network_has_a_free_subnet_and_a_bridge_of_its_own() {
        let host =
            HostFacts { routes: vec!["10.100.0.0/24".parse().unwrap()], ..HostFacts::default() };
        let text = draft("web").conflist(&[], &host).unwrap();
        let network = conflist::parse(&text).ok().unwrap();
        assert_eq!(network.ranges()[0].subnet.to_string(), "10.100.1.0/24");
        let bridge = network.bridge().unwrap();
        assert_eq!(bridge.name.as_str(), "br-0123456789ab");
        assert!(bridge.masquerade && bridge.portmap && bridge.firewall && network.publishes());
        assert_eq!(network.id(), "0123456789abcdef".repeat(4));
    }

    #[test]
    fn ipv6_is_a_unique_local_subnet_beside_the_other() {
        let network = made(&Draft { ipv6: true, ..draft("web") });
        let subnets: Vec<Subnet> = network.ranges().iter().map(|range| range.subnet).collect();
        assert_eq!(subnets.len(), 2);
        assert!(subnets[1].to_string().starts_with("fd") && subnets[1].prefix() == 64);
        assert!(network.has_ipv6());
        let only = made(&Draft { ipv6: true, ipv4: false, ..draft("web") });
        assert_eq!(only.ranges().len(), 1);
    }

    #[test]
    fn an_internal_network_has_no_way_out() {
        let network = made(&Draft { internal: true, ..draft("web") });
        let bridge = network.bridge().unwrap();
        assert!(network.about.internal && !network.publishes());
        assert!(!bridge.masquerade && bridge.routes.is_empty() && bridge.firewall);
    }

    #[test]
    fn a_range_and_a_gateway_belong_to_their_subnet() {
        let mut wanted = Draft {
            subnets: vec!["10.1.0.0/16".parse().unwrap(), "fd00:1::/64".parse().unwrap()],
            gateways: vec!["10.1.0.254".parse().unwrap()],
            ranges: vec!["10.1.255.0/24".parse().unwrap()],
            ..draft("web")
        };
        let range = made(&wanted).ranges()[0];
        assert_eq!(range.gateway.to_string(), "10.1.0.254");
        assert_eq!(
            (range.first().to_string(), range.last().to_string()),
            ("10.1.255.0".into(), "10.1.255.254".into())
        );
        wanted.gateways = vec!["10.2.0.1".parse().unwrap()];
        assert!(refused(&wanted, &[]).contains("no matching subnet for gateway 10.2.0.1"));
        for edge in ["10.1.0.0", "10.1.255.255"] {
            wanted.gateways = vec![edge.parse().unwrap()];
            let said = refused(&wanted, &[]);
            assert!(
                said.ends_with(&format!(": gateway {edge} is no host of 10.1.0.0/16")),
                "{said}"
            );
        }
    }

    #[test]
    fn what_another_network_has_is_refused() {
        let others = [built_in("10.90.0.0/16".parse().unwrap())];
        let overlapping = Draft { subnets: vec!["10.90.7.0/24".parse().unwrap()], ..draft("web") };
        assert!(refused(&overlapping, &others).ends_with("and 10.90.0.0/16 of network `nman`"));
        let bridge = Draft { options: option(BRIDGE_NAME, "nman0"), ..draft("web") };
        assert!(refused(&bridge, &others).contains("networks have same bridge name nman0"));
    }

    #[test]
    fn each_range_and_gateway_is_taken_by_a_subnet() {
        let subnets = ["10.5.0.0/24", "10.6.0.0/24"].map(|text| text.parse().unwrap()).to_vec();
        let wanted = |gateways: &[&str], ranges: &[&str]| Draft {
            driver: "macvlan".into(),
            subnets: subnets.clone(),
            gateways: gateways.iter().map(|text| text.parse().unwrap()).collect(),
            ranges: ranges.iter().map(|text| text.parse().unwrap()).collect(),
            ..draft("lan")
        };
        made(&wanted(&["10.5.0.1", "10.6.0.1"], &["10.6.0.0/25", "10.5.0.0/25"]));
        let why = "every ip-range or gateway must have a corresponding subnet";
        for over in
            [wanted(&["10.5.0.1", "10.5.0.2"], &[]), wanted(&[], &["10.5.0.0/25", "10.5.0.128/25"])]
        {
            assert!(refused(&over, &[]).contains(why));
        }
    }

    #[test]
    fn an_auxiliary_address_is_no_gateway_and_no_other_auxiliary_address() {
        let wanted = |gateway: Option<&str>, others: [(&str, &str); 2]| Draft {
            subnets: ["10.5.0.0/24", "fd00:5::/64"].map(|text| text.parse().unwrap()).to_vec(),
            gateways: gateway.iter().map(|text| text.parse().unwrap()).collect(),
            aux_addresses: others.map(|(a, b)| (a.to_owned(), b.parse().unwrap())).into(),
            ..draft("web")
        };
        let other = ("a", "10.5.0.7");
        made(&wanted(Some("10.5.0.9"), [other, ("b", "10.5.0.1")]));
        for (gateway, second) in [
            (None, ("b", "10.5.0.1")),
            (None, ("b", "fd00:5::1")),
            (Some("10.5.0.9"), ("b", "10.5.0.9")),
            (None, ("b", "10.5.0.7")),
        ] {
            let said = refused(&wanted(gateway, [other, second]), &[]);
            let why = format!("secondary ip address (b:{}): Address already in use", second.1);
            assert!(said.contains(&why), "{said}");
        }
    }

    #[test]
    fn a_bridge_has_one_subnet_of_each_family() {
        let subnets = ["10.5.0.0/24", "10.6.0.0/24"].map(|text| text.parse().unwrap()).to_vec();
        let two = Draft { subnets, ..draft("web") };
        assert!(refused(&two, &[]).contains("bridge driver doesn't support multiple subnets"));
    }

    #[test]
    fn a_subnet_is_of_addresses_that_interfaces_have() {
        for subnet in ["127.0.0.0/24", "224.1.0.0/16", "0.0.0.0/8", "ff05::/64", "::/64"] {
            let wanted = Draft { subnets: vec![subnet.parse().unwrap()], ..draft("web") };
            let said = refused(&wanted, &[]);
            assert!(said.contains(&format!("an address of {subnet}")), "{said}");
        }
    }

    #[test]
    fn a_subnet_that_hides_a_route_of_the_host_is_known() {
        let host = HostFacts {
            routes: ["10.9.0.0/16", "192.0.2.0/24"].map(|text| text.parse().unwrap()).to_vec(),
            ..HostFacts::default()
        };
        let subnets = ["192.0.2.128/25", "fd00:1::/64"].map(|text| text.parse().unwrap()).to_vec();
        let hidden = Draft { subnets, ..draft("web") }.hidden_routes(&host);
        assert_eq!(hidden, [("192.0.2.128/25".parse().unwrap(), host.routes[1])]);
    }

    #[test]
    fn options_are_the_bridges_or_an_error() {
        let network = made(&Draft {
            options: option("com.docker.network.driver.mtu", "1400"),
            ..draft("web")
        });
        assert_eq!(network.bridge().unwrap().mtu, Some(1400));
        let network = made(&Draft { options: option(BETWEEN_CONTAINERS, "false"), ..draft("web") });
        assert!(network.bridge().unwrap().port_isolation);
        let network = made(&Draft { options: option(ISOLATE, "false"), ..draft("web") });
        assert!(!network.bridge().unwrap().firewall);
        for (key, value, why) in [
            ("nosuch", "1", "no option `nosuch`"),
            ("mtu", "x", "the MTU is a number"),
            (BETWEEN_CONTAINERS, "maybe", "true or false"),
            (BRIDGE_NAME, "a/b", "interface name"),
            (HOST_BINDING, "127.0.0.l", "`127.0.0.l` is not an IPv4 address"),
            (HOST_BINDING, "", "`` is not an IPv4 address"),
        ] {
            let error = refused(&Draft { options: option(key, value), ..draft("web") }, &[]);
            assert!(error.contains(why), "{key}: {error}");
        }
    }

    #[test]
    fn a_plugins_options_are_its_own_keys() {
        let mut options = option("parent", "eth0");
        options.extend(option("macvlan_mode", "bridge"));
        options.extend(option("mtu", "1400"));
        let network = made(&Draft { driver: "macvlan".into(), options, ..draft("lan") });
        let Driver::Foreign(plugin) = &network.driver else { panic!("{network:?}") };
        assert_eq!(
            (&plugin.config["master"], &plugin.config["mode"]),
            (&json!("eth0"), &json!("bridge"))
        );
        assert_eq!(plugin.config["mtu"], json!(1400));
        assert_eq!(plugin.config["ipam"]["type"], "host-local");
    }

    #[test]
    fn a_mode_that_the_driver_has_not_is_refused_when_the_network_is_made() {
        let wish = |driver: &str, key: &str, mode: &str| Draft {
            driver: driver.into(),
            options: option(key, mode),
            ..draft("lan")
        };
        for (driver, key, mode) in [
            ("macvlan", "macvlan_mode", "passthru"),
            ("ipvlan", "mode", "l3s"),
            ("ipvlan", "macvlan_mode", "bridge"),
            ("other", "mode", "any"),
        ] {
            made(&wish(driver, key, mode));
        }
        for (driver, key, default) in
            [("macvlan", "mode", "bridge"), ("ipvlan", "ipvlan_mode", "l2")]
        {
            let said = refused(&wish(driver, key, "l4"), &[]);
            let why = format!("requested {driver} mode 'l4' is not valid, '{default}' mode is");
            assert!(said.contains(&why), "{said}");
        }
    }
}
