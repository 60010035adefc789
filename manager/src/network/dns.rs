//! A container's `resolv.conf` and `hosts`, as text: pure.
//!
//! A nameserver on a loopback address is the host's own and cannot be reached from a container, so it is dropped;
//! Docker's rules otherwise.

use std::fmt::Write;
use std::net::IpAddr;
use std::path::Path;

/// What the command line says about DNS; what is empty comes from the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--dns`.
    pub servers: Vec<IpAddr>,
    /// `--dns-search`; a single `.` means none.
    pub search: Vec<String>,
    /// `--dns-option`.
    pub options: Vec<String>,
}

/// What is used when the host has no nameserver that a container could reach.
const FALLBACK: [&str; 2] = ["8.8.8.8", "8.8.4.4"];
/// The C library reads no more.
const MOST_SERVERS: usize = 3;

/// Where the host's settings are to be read from, given what `/etc/resolv.conf` has.
///
/// With systemd-resolved's stub as the only nameserver, the real ones are in resolved's own file.
#[must_use]
pub fn source(resolv_conf: &str) -> &'static Path {
    let mut servers = values(resolv_conf, "nameserver").flatten();
    let stub = servers.next() == Some("127.0.0.53") && servers.next().is_none();
    Path::new(if stub { "/run/systemd/resolve/resolv.conf" } else { "/etc/resolv.conf" })
}

/// The container's `resolv.conf`, from the host's text and the overrides.
///
/// `ipv6` says whether the container can reach IPv6 nameservers.
#[must_use]
pub fn resolv_conf(host: &str, overrides: &Overrides, ipv6: bool) -> String {
    let reachable = |text: &&str| {
        // A zone (fe80::1%eth0) names an interface of the host.
        text.parse::<IpAddr>()
            .is_ok_and(|address| !address.is_loopback() && (ipv6 || address.is_ipv4()))
    };
    let mut servers: Vec<String> = overrides.servers.iter().map(ToString::to_string).collect();
    if servers.is_empty() {
        servers =
            values(host, "nameserver").flatten().filter(reachable).map(str::to_owned).collect();
    }
    if servers.is_empty() {
        servers = FALLBACK.map(str::to_owned).to_vec();
    }
    servers.truncate(MOST_SERVERS);
    // The last `search` counts; `domain` is its older spelling.
    let search = chosen(&overrides.search, || {
        let last = values(host, "search").last().map(Iterator::collect);
        last.or_else(|| values(host, "domain").last().map(Iterator::collect)).unwrap_or_default()
    });
    let options = chosen(&overrides.options, || values(host, "options").flatten().collect());

    let mut text = String::new();
    for server in servers {
        let _ = writeln!(text, "nameserver {server}");
    }
    if !search.is_empty() && search != ["."] {
        let _ = writeln!(text, "search {}", search.join(" "));
    }
    if !options.is_empty() {
        let _ = writeln!(text, "options {}", options.join(" "));
    }
    text
}

fn chosen<'a>(overrides: &'a [String], host: impl FnOnce() -> Vec<&'a str>) -> Vec<&'a str> {
    if overrides.is_empty() { host() } else { overrides.iter().map(String::as_str).collect() }
}

/// The values of every line that begins with `keyword`.
fn values<'a>(text: &'a str, keyword: &str) -> impl Iterator<Item = std::str::SplitWhitespace<'a>> {
    text.lines().filter_map(move |line| {
        let line = line.split(['#', ';']).next().unwrap_or_default();
        let mut words = line.split_whitespace();
        (words.next() == Some(keyword)).then_some(words)
    })
}

/// The container's `hosts`: loopback, what `--add-host` says, and its own addresses under its own name.
#[must_use]
pub fn hosts(own: &[IpAddr], host_name: &str, extra: &[(String, IpAddr)]) -> String {
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
        let _ = writeln!(text, "{address}\t{host_name}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_nameservers_are_dropped_and_the_rest_is_kept() {
        let host = "# made by hand\nnameserver 127.0.0.1\nnameserver 10.0.0.53 # office\nnameserver ::1\n\
                    nameserver fd00::53\nnameserver fe80::1%eth0\nsearch a.test b.test\noptions ndots:2 edns0\n";
        let text = resolv_conf(host, &Overrides::default(), false);
        assert_eq!(text, "nameserver 10.0.0.53\nsearch a.test b.test\noptions ndots:2 edns0\n");
        assert!(resolv_conf(host, &Overrides::default(), true).contains("nameserver fd00::53\n"));
    }

    #[test]
    fn a_host_with_only_loopback_nameservers_falls_back() {
        let text = resolv_conf("nameserver 127.0.0.53\n", &Overrides::default(), false);
        assert_eq!(text, "nameserver 8.8.8.8\nnameserver 8.8.4.4\n");
        assert_eq!(resolv_conf("", &Overrides::default(), false), text);
    }

    #[test]
    fn overrides_replace_each_their_own_line() {
        let host = "nameserver 10.0.0.1\nsearch a.test\noptions ndots:2\n";
        let overrides =
            Overrides { servers: vec!["127.0.0.1".parse().unwrap()], ..Overrides::default() };
        let text = resolv_conf(host, &overrides, false);
        assert_eq!(text, "nameserver 127.0.0.1\nsearch a.test\noptions ndots:2\n");
        let overrides = Overrides {
            search: vec![".".into()],
            options: vec!["use-vc".into()],
            ..Overrides::default()
        };
        assert_eq!(resolv_conf(host, &overrides, false), "nameserver 10.0.0.1\noptions use-vc\n");
    }

    #[test]
    fn the_last_search_line_counts_and_domain_stands_in_for_it() {
        let search = |host| resolv_conf(host, &Overrides::default(), false);
        assert!(search("search a.test\nsearch b.test\n").ends_with("search b.test\n"));
        assert!(search("domain c.test\n").ends_with("search c.test\n"));
    }

    #[test]
    fn no_more_nameservers_than_a_c_library_reads() {
        let host: String = (1..=5).map(|n| format!("nameserver 10.0.0.{n}\n")).collect();
        assert_eq!(
            resolv_conf(&host, &Overrides::default(), false).matches("nameserver").count(),
            3
        );
    }

    #[test]
    fn resolveds_stub_sends_us_to_resolveds_file() {
        assert_eq!(
            source("nameserver 127.0.0.53\noptions edns0\n"),
            Path::new("/run/systemd/resolve/resolv.conf")
        );
        for other in ["nameserver 127.0.0.53\nnameserver 10.0.0.1\n", "nameserver 127.0.0.1\n", ""]
        {
            assert_eq!(source(other), Path::new("/etc/resolv.conf"), "{other}");
        }
    }

    #[test]
    fn a_container_finds_itself_and_its_extra_hosts() {
        let text = hosts(
            &["10.90.0.2".parse().unwrap()],
            "web",
            &[("db".into(), "10.90.0.3".parse().unwrap())],
        );
        assert!(text.starts_with("127.0.0.1\tlocalhost\n"));
        assert!(text.ends_with("10.90.0.3\tdb\n10.90.0.2\tweb\n"));
    }
}
