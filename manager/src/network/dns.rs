//! A container's `resolv.conf` and `hosts`, as text: pure.
//!
//! A container on a network asks the resolver in its own namespace ([`super::resolver`]), which asks the host's
//! nameservers in turn, whatever they are at that moment.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::fmt::Write;
use std::net::IpAddr;
use std::str::FromStr;

/// The address at which a container finds its resolver, as in Docker.
pub const RESOLVER: std::net::Ipv4Addr = std::net::Ipv4Addr::new(127, 0, 0, 11);

/// What the command line says about DNS; what is empty comes from the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Overrides {
    /// `--dns`.
    pub servers: Vec<IpAddr>,
    /// `--dns-search`; a single `.` means none.
    pub search: Vec<String>,
    /// `--dns-option`.
    pub options: Vec<String>,
}

/// One `--add-host`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostEntry {
    /// The name.
    pub name: String,
    /// Its address; without one, the host's as containers see it (`host-gateway`).
    pub address: Option<IpAddr>,
}

const HOST_GATEWAY: &str = "host-gateway";

impl FromStr for HostEntry {
    type Err = String;

    /// `NAME:ADDRESS` or `NAME=ADDRESS`; an IPv6 address may stand in brackets.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("bad format for add-host: {text:?}");
        let (name, address) =
            text.split_once('=').or_else(|| text.split_once(':')).ok_or_else(wrong)?;
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
            return Err(wrong());
        }
        let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let address = match bare.unwrap_or(address) {
            HOST_GATEWAY => None,
            text => Some(
                text.parse().map_err(|_| format!("invalid IP address in add-host: {text:?}"))?,
            ),
        };
        Ok(Self { name: name.to_owned(), address })
    }
}

impl TryFrom<String> for HostEntry {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for HostEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => write!(f, "{}:{address}", self.name),
            None => write!(f, "{}:{HOST_GATEWAY}", self.name),
        }
    }
}

impl From<HostEntry> for String {
    fn from(entry: HostEntry) -> Self {
        entry.to_string()
    }
}

/// The C library reads no more.
const MOST_SERVERS: usize = 3;

/// A nameserver: an address, and of one that is an interface's own the interface (`fe80::1%eth0`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its address.
    pub address: IpAddr,
    /// The name or the number of an interface.
    pub zone: Option<String>,
}

impl From<IpAddr> for Server {
    fn from(address: IpAddr) -> Self {
        Self { address, zone: None }
    }
}

impl FromStr for Server {
    type Err = std::net::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('%') {
            None => text.parse::<IpAddr>().map(Self::from),
            Some((address, zone)) => Ok(Self {
                address: address.parse::<std::net::Ipv6Addr>()?.into(),
                zone: Some(zone.to_owned()),
            }),
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)?;
        self.zone.iter().try_for_each(|zone| write!(f, "%{zone}"))
    }
}

/// The nameservers of a `resolv.conf`.
#[must_use]
pub fn servers(resolv_conf: &str) -> Vec<Server> {
    values(resolv_conf, &["nameserver"])
        .flatten()
        .filter_map(|text| text.parse().ok())
        .take(MOST_SERVERS)
        .collect()
}

/// The `resolv.conf` of a container on a network, from the host's text and the overrides.
#[must_use]
pub fn resolv_conf(host: &str, overrides: &Overrides) -> String {
    let mut options = options(host, overrides);
    if !options.iter().any(|option| option.starts_with("ndots:")) {
        // A neighbour's name is tried as it is before a domain is put behind it.
        options.push("ndots:0");
    }
    text(&[IpAddr::from(RESOLVER).into()], &search(host, overrides), &options)
}

/// The `resolv.conf` of a container without a resolver of its own: the host's, as the overrides change it.
#[must_use]
pub fn resolv_conf_of_host(host: &str, overrides: &Overrides) -> String {
    if *overrides == Overrides::default() {
        return host.to_owned();
    }
    let servers = match overrides.servers.as_slice() {
        [] => servers(host),
        servers => servers.iter().copied().map(Server::from).collect(),
    };
    text(&servers, &search(host, overrides), &options(host, overrides))
}

fn text(servers: &[Server], search: &[&str], options: &[&str]) -> String {
    let mut text: String = servers.iter().map(|server| format!("nameserver {server}\n")).collect();
    if !search.is_empty() && search != ["."] {
        let _ = writeln!(text, "search {}", search.join(" "));
    }
    if !options.is_empty() {
        let _ = writeln!(text, "options {}", options.join(" "));
    }
    text
}

/// The last line counts, of `search` or of `domain`, its older spelling (resolv.conf(5)).
fn search<'a>(host: &'a str, overrides: &'a Overrides) -> Vec<&'a str> {
    chosen(&overrides.search, || {
        values(host, &["search", "domain"]).last().map(Iterator::collect).unwrap_or_default()
    })
}

fn options<'a>(host: &'a str, overrides: &'a Overrides) -> Vec<&'a str> {
    chosen(&overrides.options, || values(host, &["options"]).flatten().collect())
}

fn chosen<'a>(overrides: &'a [String], host: impl FnOnce() -> Vec<&'a str>) -> Vec<&'a str> {
    if overrides.is_empty() { host() } else { overrides.iter().map(String::as_str).collect() }
}

/// The values of every line that begins with one of `keywords`.
fn values<'a>(
    text: &'a str,
    keywords: &[&str],
) -> impl Iterator<Item = std::str::SplitWhitespace<'a>> {
    text.lines().filter_map(move |line| {
        let line = line.split(['#', ';']).next().unwrap_or_default();
        let mut words = line.split_whitespace();
        words.next().is_some_and(|word| keywords.contains(&word)).then_some(words)
    })
}

/// The container's `hosts`: loopback, what `--add-host` says, and its own addresses under its own names.
#[must_use]
pub fn hosts(own: &[IpAddr], names: &str, extra: &[(&str, IpAddr)]) -> String {
    let mut text = String::from(
        "127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::\tip6-localnet\n\
         ff00::\tip6-mcastprefix\n\
         ff02::1\tip6-allnodes\n\
         ff02::2\tip6-allrouters\n",
    );
    for (name, address) in extra {
        let _ = writeln!(text, "{address}\t{name}");
    }
    for address in own {
        let _ = writeln!(text, "{address}\t{names}");
    }
    text
}

/// A file of a container that was `before` when we wrote it, is `now`, and is to be `after`: lines of ours go and come, others stay.
#[must_use]
pub fn amended(now: &str, before: &str, after: &str) -> String {
    if now == before {
        return after.to_owned();
    }
    let has = |text: &str, line: &str| text.lines().any(|other| other == line);
    let stays = now.lines().filter(|line| has(after, line) || !has(before, line));
    let comes = after.lines().filter(|line| !has(before, line) && !has(now, line));
    stays.chain(comes).map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "# made by hand\nnameserver 127.0.0.53\nnameserver 10.0.0.53 # office\n\
                        nameserver fe80::1%eth0\nsearch a.test b.test\noptions ndots:2 edns0\n";

    #[test]
    fn a_container_asks_its_own_resolver_and_the_resolver_the_hosts_servers() {
        assert_eq!(
            resolv_conf(HOST, &Overrides::default()),
            "nameserver 127.0.0.11\nsearch a.test b.test\noptions ndots:2 edns0\n"
        );
        assert_eq!(
            resolv_conf("", &Overrides::default()),
            "nameserver 127.0.0.11\noptions ndots:0\n"
        );
        let expected = ["127.0.0.53", "10.0.0.53", "fe80::1%eth0"];
        assert_eq!(servers(HOST), expected.map(|server| server.parse().unwrap()));
        let searching = Overrides { search: vec!["c.test".into()], ..Overrides::default() };
        assert!(resolv_conf_of_host(HOST, &searching).contains("nameserver fe80::1%eth0\n"));
        assert_eq!(servers("nameserver 10.0.0.1%eth0\nnameserver fe80::%\n").len(), 1);
    }

    #[test]
    fn overrides_replace_each_their_own_line() {
        let overrides = Overrides {
            search: vec![".".into()],
            options: vec!["use-vc".into()],
            ..Overrides::default()
        };
        assert_eq!(
            resolv_conf(HOST, &overrides),
            "nameserver 127.0.0.11\noptions use-vc ndots:0\n"
        );
        let overrides = Overrides { servers: vec!["10.9.9.9".parse().unwrap()], ..overrides };
        assert_eq!(resolv_conf_of_host(HOST, &overrides), "nameserver 10.9.9.9\noptions use-vc\n");
        assert_eq!(resolv_conf_of_host(HOST, &Overrides::default()), HOST);
    }

    #[test]
    fn the_last_line_counts_of_search_and_of_domain_which_is_its_older_spelling() {
        let search = |host| resolv_conf(host, &Overrides::default());
        assert!(search("search a.test\nsearch b.test\n").contains("\nsearch b.test\n"));
        assert!(search("domain c.test\n").contains("\nsearch c.test\n"));
        assert!(search("search a.test\ndomain c.test\n").contains("\nsearch c.test\n"));
    }

    #[test]
    fn no_more_nameservers_than_a_c_library_reads() {
        let host: String = (1..=5).map(|n| format!("nameserver 10.0.0.{n}\n")).collect();
        assert_eq!(servers(&host).len(), 3);
    }

    #[test]
    fn a_further_host_has_a_name_and_an_address() {
        for (text, shown) in [
            ("db:10.0.0.1", "db:10.0.0.1"),
            ("db=10.0.0.1", "db:10.0.0.1"),
            ("db:fd00::1", "db:fd00::1"),
            ("db:[fd00::1]", "db:fd00::1"),
            ("host:host-gateway", "host:host-gateway"),
        ] {
            assert_eq!(text.parse::<HostEntry>().unwrap().to_string(), shown);
        }
        for bad in ["db", ":10.0.0.1", "db:", "db:x", "a b:10.0.0.1", "a\nb:10.0.0.1"] {
            assert!(bad.parse::<HostEntry>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_a_container_has_written_stays_when_its_own_addresses_change() {
        let (before, after) = ("a\nb 1\n", "a\nb 2\n");
        assert_eq!(amended(before, before, after), after);
        assert_eq!(amended("a\nb 1\nmine", before, after), "a\nmine\nb 2\n");
        // What was taken out is not put back, and what is there already is not put there twice.
        assert_eq!(amended("b 2\nb 1\n", before, after), "b 2\n");
        assert_eq!(amended("", before, after), "b 2\n");
    }

    #[test]
    fn a_container_finds_itself_and_its_extra_hosts() {
        let text =
            hosts(&["10.90.0.2".parse().unwrap()], "web", &[("db", "10.90.0.3".parse().unwrap())]);
        assert!(text.starts_with("127.0.0.1\tlocalhost\n"));
        assert!(text.ends_with("10.90.0.3\tdb\n10.90.0.2\tweb\n"));
    }
}
