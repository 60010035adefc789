//! Options about networks.

use crate::cli::Publish;
use crate::container::NetworkWish;
use crate::error::{Error, Result};
use crate::network::dns::{HostEntry, Overrides};
use crate::network::endpoint::INTERFACE;
use crate::network::{Endpoint, MacAddress, Mode, Wishes, names, port};
use clap::Args;
use oci_spec::image::ImageConfiguration;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// How the container is connected.
#[derive(Clone, Debug, Default, Args)]
pub struct NetworkArgs {
    /// Network: none, host, bridge, container:NAME, ns:PATH, or a network's name, or name=NETWORK with alias=, ip=, ip6=, mac-address=,
    /// link-local-ip=, gw-priority=, driver-opt=; may be given several times; without root also pasta or slirp4netns
    #[arg(long, visible_alias = "net", value_name = "NETWORK")]
    pub network: Vec<NetworkChoice>,
    /// Publish a port of the container on the host
    #[arg(short, long, value_name = "[[IP:]HOST:]PORT[/PROTOCOL]")]
    pub publish: Vec<Publish>,
    /// Publish every exposed port on a free port of the host
    #[arg(short = 'P', long)]
    pub publish_all: bool,
    /// Expose a port or a range of ports
    #[arg(long, value_name = "PORT[/PROTOCOL]", value_parser = exposed)]
    pub expose: Vec<String>,
    /// A further name of the container on its network
    #[arg(long, visible_alias = "net-alias", value_name = "NAME", value_parser = alias)]
    pub network_alias: Vec<String>,
    /// IPv4 address of the container
    #[arg(long, value_name = "ADDRESS", value_parser = ipv4)]
    pub ip: Option<Ipv4Addr>,
    /// IPv6 address of the container
    #[arg(long, value_name = "ADDRESS", value_parser = ipv6)]
    pub ip6: Option<Ipv6Addr>,
    /// Link address of the container
    #[arg(long, value_name = "ADDRESS", value_parser = mac_address)]
    pub mac_address: Option<MacAddress>,
    /// A link-local address more of the container's interface
    #[arg(long, value_name = "ADDRESS", value_parser = link_local)]
    pub link_local_ip: Vec<IpAddr>,
    /// DNS server to ask instead of the host's
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    pub dns: Vec<IpAddr>,
    /// Domain in which names are looked up; `.` for none
    #[arg(long, value_name = "DOMAIN", value_parser = word)]
    pub dns_search: Vec<String>,
    /// Option of resolv.conf
    #[arg(long, visible_alias = "dns-opt", value_name = "OPTION", value_parser = word)]
    pub dns_option: Vec<String>,
    /// Add a line to the container's /etc/hosts; the address may be host-gateway
    #[arg(long, value_name = "NAME:ADDRESS")]
    pub add_host: Vec<HostEntry>,
}

/// One `--network`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkChoice {
    /// Which.
    pub mode: Mode,
    /// How.
    pub wishes: Wishes,
}

impl FromStr for NetworkChoice {
    type Err = String;

    /// Docker's `name=NET,KEY=VALUE,...`, and Podman's `NET:KEY=VALUE,...`.
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let mode = |name: &str| name.parse::<Mode>().map_err(|error| error.to_string());
        if text.is_empty() {
            return Err(
                "no name set for network: left out it is the default one, `none` is no network"
                    .to_owned(),
            );
        }
        if !text.contains('=') || text.starts_with("ns:") {
            return Ok(Self { mode: mode(text)?, wishes: Wishes::default() });
        }
        let before = text.split('=').next().unwrap_or_default();
        let (mut name, fields) = match before.split_once(':') {
            Some((name, _)) => (Some(mode(name)?), &text[name.len() + 1..]),
            None => (None, text),
        };
        let mut wishes = Wishes::default();
        for field in fields_of(fields)? {
            let (key, value) = field
                .split_once('=')
                .ok_or_else(|| format!("invalid field {field}: must be a key=value pair"))?;
            let (key, value) = (key.trim().to_ascii_lowercase(), value.trim());
            match key.as_str() {
                "name" => name = Some(mode(value)?),
                _ => wish(&mut wishes, &key, value)?,
            }
        }
        let mode = name.ok_or("network name/id is not specified")?;
        Ok(Self { mode, wishes })
    }
}

/// One wish for a network, under Docker's or Podman's name.
fn wish(wishes: &mut Wishes, key: &str, value: &str) -> std::result::Result<(), String> {
    let invalid = || format!("invalid value '{value}' for '{key}'");
    match key {
        "alias" => wishes.aliases.push(alias(value)?),
        "ip" => wishes.ip = Some(value.parse().map_err(|_| invalid())?),
        "ip6" => wishes.ip6 = Some(value.parse().map_err(|_| invalid())?),
        "mac-address" | "mac" => wishes.mac = Some(mac_address(value)?),
        "link-local-ip" => wishes.link_local.push(link_local(value)?),
        "gw-priority" => wishes.gw_priority = gw_priority(value)?,
        "driver-opt" => wishes.add_driver_opt(value)?,
        "interface_name" => wishes.add_driver_opt(&format!("{INTERFACE}={value}"))?,
        _ => return Err(format!("invalid field key {key}")),
    }
    Ok(())
}

/// The fields between commas; one that has some itself stands in quotation marks, as in Docker.
pub(crate) fn fields_of(text: &str) -> std::result::Result<Vec<String>, String> {
    let (mut fields, mut rest) = (Vec::new(), text);
    loop {
        let (field, behind) = match rest.strip_prefix('"') {
            None => match rest.split_once(',') {
                Some((field, behind)) => (field.to_owned(), Some(behind)),
                None => (rest.to_owned(), None),
            },
            Some(quoted) => {
                let (field, behind) = quoted
                    .split_once('"')
                    .ok_or_else(|| format!("a quotation mark is missing in {text}"))?;
                let is_end = behind.is_empty() || behind.starts_with(',');
                if !is_end {
                    return Err(format!("something stands behind a quotation mark in {text}"));
                }
                (field.to_owned(), behind.strip_prefix(','))
            }
        };
        fields.push(field);
        match behind {
            Some(behind) => rest = behind,
            None => return Ok(fields),
        }
    }
}

impl NetworkArgs {
    /// What the first `--network` says.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.network.first().map(|choice| choice.mode.clone()).unwrap_or_default()
    }

    /// What is written down about it.
    ///
    /// # Errors
    /// [`Error::Usage`] for options that exclude each other, in Docker's words.
    pub fn wish(
        &self,
        mode: &Mode,
        hostname: String,
        image: &ImageConfiguration,
    ) -> Result<NetworkWish> {
        self.check(mode)?;
        let exposed = self.exposed(image)?;
        let mut publish: Vec<String> =
            self.publish.iter().map(|publish| publish.text.clone()).collect();
        if self.publish_all {
            publish.extend(exposed.iter().filter(|port| !self.is_published(port)).cloned());
        }
        if matches!(mode, Mode::Host | Mode::Container(_)) {
            // As in Docker: there is nothing to translate. Who leaves `none` for a network has them published there.
            publish.clear();
        }
        Ok(NetworkWish {
            network: mode.to_string(),
            publish,
            publish_all: self.publish_all,
            hostname,
            exposed: exposed.into_iter().collect(),
            dns: Overrides {
                servers: self.dns.clone(),
                search: self.dns_search.clone(),
                options: self.dns_option.clone(),
            },
            extra_hosts: self.add_host.clone(),
            endpoints: if matches!(mode, Mode::Network(_)) { self.endpoints() } else { Vec::new() },
        })
    }

    /// The networks, each with its own options; those without a network's name are of the first.
    fn endpoints(&self) -> Vec<Endpoint> {
        let first = NetworkChoice { mode: Mode::default(), wishes: Wishes::default() };
        let choices = if self.network.is_empty() { &[first][..] } else { &self.network };
        let mut endpoints = Vec::new();
        for (at, choice) in choices.iter().enumerate() {
            let Mode::Network(network) = &choice.mode else { continue };
            let mut wishes = choice.wishes.clone();
            if at == 0 {
                wishes.aliases.extend(self.network_alias.iter().cloned());
                wishes.ip = wishes.ip.or(self.ip);
                wishes.ip6 = wishes.ip6.or(self.ip6);
                wishes.mac = wishes.mac.or(self.mac_address);
                wishes.link_local.extend(&self.link_local_ip);
            }
            endpoints.push(Endpoint { network: network.clone(), wishes });
        }
        endpoints
    }

    /// Ports of `--expose` and of the image, as `80/tcp`.
    fn exposed(&self, image: &ImageConfiguration) -> Result<BTreeSet<String>> {
        let of_image = image.config().as_ref().and_then(|config| config.exposed_ports().clone());
        let mut exposed = BTreeSet::new();
        for text in self.expose.iter().chain(of_image.iter().flatten()) {
            let ports = port::parse_exposed(text)?;
            exposed.extend(ports.iter().map(|(port, protocol)| format!("{port}/{protocol}")));
        }
        Ok(exposed)
    }

    fn is_published(&self, exposed: &str) -> bool {
        let requests = self.publish.iter().flat_map(|publish| &publish.requests);
        requests
            .map(|request| format!("{}/{}", request.container_port, request.protocol))
            .any(|published| published == exposed)
    }

    /// Refuses what is said twice of the first network; returns whether anything is.
    fn check_first(&self) -> Result<bool> {
        let first = self.network.first().map(|choice| choice.wishes.clone()).unwrap_or_default();
        let said = [
            (
                !self.network_alias.is_empty(),
                !first.aliases.is_empty(),
                "--network-alias and per-network alias",
            ),
            (self.ip.is_some(), first.ip.is_some(), "--ip and per-network IPv4 address"),
            (self.ip6.is_some(), first.ip6.is_some(), "--ip6 and per-network IPv6 address"),
            (
                !self.link_local_ip.is_empty(),
                !first.link_local.is_empty(),
                "--link-local-ip and per-network link-local IP addresses",
            ),
        ];
        let of_link = (
            self.mac_address.is_some(),
            first.mac.is_some(),
            "--mac-address and per-network MAC address",
        );
        match said.iter().chain([&of_link]).find(|(given, named, _)| *given && *named) {
            Some((_, _, what)) => {
                Err(Error::Usage(format!("conflicting options: cannot specify both {what}")))
            }
            None => Ok(said.iter().any(|(given, named, _)| *given || *named)),
        }
    }

    fn check(&self, mode: &Mode) -> Result<()> {
        let conflict = |what: &str| Err(Error::Usage(format!("conflicting options: {what}")));
        let several = self.network.len() > 1;
        if several && self.network.iter().any(|choice| !matches!(choice.mode, Mode::Network(_))) {
            return conflict("cannot attach both user-defined and non-user-defined network-modes");
        }
        for (at, choice) in self.network.iter().enumerate() {
            if self.network[..at].iter().any(|other| other.mode == choice.mode) {
                return conflict(&format!("network {} is given twice", choice.mode));
            }
        }
        let addressed = self.check_first()?;
        if !matches!(mode, Mode::Network(_)) {
            if addressed {
                return Err(Error::Usage(
                    "network-scoped aliases and addresses are only supported for containers in user defined networks"
                        .to_owned(),
                ));
            }
            if self.mac_address.is_some() && *mode != Mode::None {
                return conflict("mac-address and the network mode");
            }
        }
        if matches!(mode, Mode::Namespace(_)) && (!self.publish.is_empty() || self.publish_all) {
            return conflict("port publishing and the ns type network mode");
        }
        if matches!(mode, Mode::Container(_)) {
            for (given, what) in [
                (
                    !self.publish.is_empty() || self.publish_all,
                    "port publishing and the container type network mode",
                ),
                (!self.expose.is_empty(), "port exposing and the container type network mode"),
                (!self.dns.is_empty(), "dns and the network mode"),
                (!self.add_host.is_empty(), "custom host-to-IP mapping and the network mode"),
            ] {
                if given {
                    return conflict(what);
                }
            }
        }
        Ok(())
    }
}

/// A name on a network, in lower case as names are compared.
pub(crate) fn alias(text: &str) -> std::result::Result<String, String> {
    let name = text.to_ascii_lowercase();
    if names::is_valid(&name) {
        return Ok(name);
    }
    Err("a name on a network is made of letters, digits, `_`, `.` and `-`".to_owned())
}

pub(crate) fn mac_address(text: &str) -> std::result::Result<MacAddress, String> {
    let address = MacAddress::try_from(text.replace('-', ":"))
        .map_err(|_| format!("invalid MAC address: {text}"))?;
    if address.is_of_one() {
        return Ok(address);
    }
    Err(format!("invalid MAC address: {text} is not the address of one interface"))
}

pub(crate) fn ipv4(text: &str) -> std::result::Result<Ipv4Addr, String> {
    text.parse().map_err(|_| "must be an IPv4 address, such as 10.1.0.5".to_owned())
}

pub(crate) fn ipv6(text: &str) -> std::result::Result<Ipv6Addr, String> {
    text.parse().map_err(|_| "must be an IPv6 address, such as fd00::5".to_owned())
}

/// An address beside those that are leased. As in Docker, any may be given that is one interface's.
pub(crate) fn link_local(text: &str) -> std::result::Result<IpAddr, String> {
    let address = text.parse::<IpAddr>().map(|address| address.to_canonical());
    let is_fit = |address: &IpAddr| {
        !address.is_unspecified() && !address.is_multicast() && !address.is_loopback()
    };
    address.ok().filter(is_fit).ok_or_else(|| format!("invalid link-local IP address: {text}"))
}

pub(crate) fn gw_priority(text: &str) -> std::result::Result<i64, String> {
    text.parse().map_err(|_| format!("invalid gw-priority ({text}): must be a number"))
}

/// An address of either family, in Docker's words for one that is none.
pub(crate) fn address(text: &str) -> std::result::Result<IpAddr, String> {
    text.parse().map_err(|_| format!("IP address is not correctly formatted: {text}"))
}

fn exposed(text: &str) -> std::result::Result<String, String> {
    port::parse_exposed(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// A word of resolv.conf: one that cannot begin another line.
fn word(text: &str) -> std::result::Result<String, String> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
    if plain { Ok(text.to_owned()) } else { Err(format!("{text:?} is not one word")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::endpoint::SYSCTLS;

    fn args(words: &[&str]) -> NetworkArgs {
        use clap::Parser as _;
        #[derive(clap::Parser)]
        struct Only {
            #[command(flatten)]
            network: NetworkArgs,
        }
        Only::try_parse_from(["x"].iter().chain(words)).unwrap().network
    }

    fn wish(words: &[&str]) -> Result<NetworkWish> {
        let args = args(words);
        args.wish(&args.mode(), "web".into(), &ImageConfiguration::default())
    }

    #[test]
    fn a_network_has_a_short_and_a_long_form() {
        let long: NetworkChoice =
            "name=web,ip=10.1.0.5,ip6=fd00::5,alias=DB,alias=x,mac-address=02:00:00:00:00:05,gw-priority=-2,link-local-ip=169.254.8.8"
                .parse()
                .unwrap();
        let wishes = &long.wishes;
        assert_eq!(
            (long.mode.to_string().as_str(), &wishes.aliases[..], wishes.gw_priority),
            ("web", &["db".into(), "x".into()][..], -2)
        );
        assert_eq!(
            (wishes.ip.unwrap().octets()[3], wishes.ip6.is_some(), wishes.mac.is_some()),
            (5, true, true)
        );
        assert_eq!(wishes.link_local, ["169.254.8.8".parse::<IpAddr>().unwrap()]);
        let podmans = "web:ip=10.1.0.5,mac=02:00:00:00:00:05,interface_name=lan".parse();
        let podmans: NetworkChoice = podmans.unwrap();
        assert_eq!((podmans.mode.to_string().as_str(), podmans.wishes.ip), ("web", wishes.ip));
        assert_eq!(podmans.wishes.interface().unwrap().unwrap().as_str(), "lan");
        let several = format!(
            "name=web,\"driver-opt={SYSCTLS}=net.ipv4.conf.IFNAME.rp_filter=1,net.ipv4.conf.IFNAME.log_martians=1\",driver-opt=a=b"
        );
        let several: NetworkChoice = several.parse().unwrap();
        assert_eq!(several.wishes.sysctls().unwrap().len(), 2);
        assert_eq!(several.wishes.driver_opts["a"], "b");
        assert_eq!("web".parse::<NetworkChoice>().unwrap().mode.to_string(), "web");
        for (bad, why) in [
            ("ip=10.1.0.5", "not specified"),
            ("name=web,ip=x", "invalid value 'x' for 'ip'"),
            ("name=web,foo=1", "invalid field key foo"),
            ("name=web,gw-priority=x", "invalid gw-priority (x)"),
            ("name=web,link-local-ip=::", "invalid link-local IP address: ::"),
            ("name=web,driver-opt=x", "invalid key/value pair"),
            ("name=web,\"alias=x", "quotation mark"),
            ("name=web,\"alias=x\"y", "quotation mark"),
            ("name=web,foo", "must be a key=value pair"),
            ("name=web,alias=../x", "a name on a network"),
            ("../x", "network name"),
        ] {
            let error = bad.parse::<NetworkChoice>().unwrap_err();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }

    #[test]
    fn options_of_no_network_are_the_first_networks() {
        let wish = wish(&[
            "--network",
            "a",
            "--network",
            "name=b,alias=y",
            "--network-alias",
            "x",
            "--ip",
            "10.0.0.9",
        ])
        .unwrap();
        assert_eq!(wish.endpoints.len(), 2);
        assert_eq!(
            (&wish.endpoints[0].wishes.aliases[..], &wish.endpoints[1].wishes.aliases[..]),
            (&["x".into()][..], &["y".into()][..])
        );
        assert!(wish.endpoints[0].wishes.ip.is_some() && wish.endpoints[1].wishes.ip.is_none());
    }

    #[test]
    fn exposed_ports_are_published_only_where_that_is_asked_for_and_once() {
        let exposed =
            ["--expose", "80", "--expose", "53/udp", "--expose", "7000-7001", "-p", "8080:80"];
        assert_eq!(wish(&exposed).unwrap().publish, ["8080:80"]);
        let all = wish(&[&exposed[..], &["-P"]].concat()).unwrap();
        assert_eq!(all.publish, ["8080:80", "53/udp", "7000/tcp", "7001/tcp"]);
        assert_eq!(all.exposed.len(), 4);
    }

    #[test]
    fn a_link_address_is_of_one_interface() {
        assert!(mac_address("02-00-00-00-00-05").is_ok());
        for (text, why) in [
            ("zz", "invalid MAC address: zz"),
            ("01:00:5e:00:00:01", "not the address of one interface"),
            ("00:00:00:00:00:00", "not the address of one interface"),
        ] {
            let error = mac_address(text).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn what_excludes_each_other_says_so_in_dockers_words() {
        for (words, why) in [
            (&["--network", "host", "--network", "web"][..], "cannot attach both"),
            (&["--network", "web", "--network", "web"], "given twice"),
            (&["--network", "container:a", "-p", "80"], "port publishing and the container"),
            (&["--network", "container:a", "--expose", "80"], "port exposing"),
            (&["--network", "container:a", "--dns", "10.0.0.1"], "dns and the network mode"),
            (&["--network", "container:a", "--add-host", "a:10.0.0.1"], "host-to-IP mapping"),
            (&["--network", "host", "--mac-address", "02:00:00:00:00:05"], "mac-address and"),
            (&["--network", "none", "--network-alias", "a"], "only supported"),
            (&["--network", "host", "--ip", "10.0.0.1"], "only supported"),
            (&["--network", "none", "--link-local-ip", "169.254.8.8"], "only supported"),
            (&["--network", "name=a,ip=10.0.0.1", "--ip", "10.0.0.2"], "cannot specify both --ip"),
        ] {
            let error = wish(words).unwrap_err().to_string();
            assert!(error.contains(why), "{words:?}: {error}");
        }
        assert!(wish(&["--network", "host", "-p", "80"]).unwrap().publish.is_empty());
    }
}
