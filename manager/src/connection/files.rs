//! The files about the network that a container sees: `resolv.conf`, `hosts` and `hostname`.

use super::carrier;
use crate::container::{Dir, NetworkWish, Record};
use crate::error::{Error, Result};
use crate::network::{HostFacts, Mode, NetworkPlan, definition, dns};
use crate::settings::Settings;
use std::fs::File;
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::Path;

const FILES: [&str; 3] = ["resolv.conf", "hosts", "hostname"];

/// Writes them. With the host's network, they are the host's own.
pub(super) fn write(
    settings: &Settings,
    record: &Record,
    dir: &Dir,
    plans: &[NetworkPlan],
) -> Result<()> {
    let Texts { resolv_conf, hosts } = texts(settings, record, plans)?;
    let labels = record.selinux.as_ref();
    dir.write_shared("resolv.conf", resolv_conf.as_bytes(), labels)?;
    dir.write_shared("hosts", hosts.as_bytes(), labels)?;
    dir.write_shared("hostname", format!("{}\n", record.network.hostname).as_bytes(), labels)
}

/// Changes them for a container that runs, from what its connections were to what they are. What was written there meanwhile, which is
/// the container's to do, stays.
pub(super) fn rewrite(
    settings: &Settings,
    record: &Record,
    dir: &Dir,
    [had, has]: [&[NetworkPlan]; 2],
) -> Result<()> {
    let (before, after) = (texts(settings, record, had)?, texts(settings, record, has)?);
    let labels = record.selinux.as_ref();
    // Whoever leaves `none` gets a resolver of its own, and no other is asked from then on.
    if before.resolv_conf != after.resolv_conf {
        dir.write_shared("resolv.conf", after.resolv_conf.as_bytes(), labels)?;
    }
    let hosts = dns::amended(&written(&dir.join("hosts"))?, &before.hosts, &after.hosts);
    dir.write_shared("hosts", hosts.as_bytes(), labels)
}

/// What stands in such a file, as far as a C library would read it; the container may have written anything.
fn written(path: &Path) -> Result<String> {
    const MOST: u64 = 1 << 20;
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MOST).read_to_end(&mut text));
    read.map_err(Error::io("read", path))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// What two of the files say.
struct Texts {
    resolv_conf: String,
    hosts: String,
}

fn texts(settings: &Settings, record: &Record, plans: &[NetworkPlan]) -> Result<Texts> {
    let wish = &record.network;
    let needs_gateway = wish.extra_hosts.iter().any(|entry| entry.address.is_none());
    let read = |path: &str| std::fs::read_to_string(Path::new(path)).unwrap_or_default();
    let of_host = read("/etc/resolv.conf");
    let (resolv_conf, hosts) = match wish.network.parse::<Mode>()? {
        Mode::Host => {
            let mut hosts = read("/etc/hosts");
            for (name, address) in extra_hosts(wish, Some(Ipv4Addr::LOCALHOST.into()))? {
                hosts.push_str(&format!("{address}\t{name}\n"));
            }
            (dns::resolv_conf_of_host(&of_host, &wish.dns), hosts)
        }
        Mode::None | Mode::Container(_) | Mode::Namespace(_) if plans.is_empty() => {
            let gateway = match needs_gateway {
                true if settings.rootless => host_address(),
                true => default_gateway(settings),
                false => None,
            };
            let extra = extra_hosts(wish, gateway)?;
            let hosts = dns::hosts(&[], "", &extra);
            (dns::resolv_conf_of_host(&of_host, &wish.dns), hosts)
        }
        Mode::User(_) => {
            let host = host_address();
            let mut extra = extra_hosts(wish, host)?;
            extra.extend(names_of_host(wish, host));
            let hosts = dns::hosts(&[carrier::ADDRESS.into()], &own_names(record), &extra);
            (dns::resolv_conf(&of_host, &wish.dns), hosts)
        }
        Mode::None | Mode::Container(_) | Mode::Namespace(_) | Mode::Network(_) => {
            let addresses: Vec<IpAddr> = plans
                .iter()
                .flat_map(|plan| &plan.addresses)
                .map(|leased| leased.address)
                .collect();
            // A user's gateway is not the host, which is reached by the way out.
            let (host, named) = match settings.rootless {
                true => (host_address(), names_of_host(wish, host_address())),
                false => {
                    let elsewhere = || default_gateway(settings).filter(|_| needs_gateway);
                    (gateway(plans).or_else(elsewhere), Vec::new())
                }
            };
            let mut extra = extra_hosts(wish, host)?;
            extra.extend(named);
            let hosts = dns::hosts(&addresses, &own_names(record), &extra);
            (dns::resolv_conf(&of_host, &wish.dns), hosts)
        }
    };
    Ok(Texts { resolv_conf, hosts })
}

/// Takes them from the container whose network this one shares.
pub(super) fn copy(from: &Dir, record: &Record, to: &Dir) -> Result<()> {
    FILES.into_iter().try_for_each(|name| {
        let path = from.join(name);
        let bytes = std::fs::read(&path).map_err(Error::io("read", &path))?;
        to.write_shared(name, &bytes, record.selinux.as_ref())
    })
}

/// A container's names for its own addresses, the full one first as hosts(5) has it: `web.example.org web`.
fn own_names(record: &Record) -> String {
    let (name, domain) = (&record.network.hostname, &record.config.domainname);
    let full = if domain.is_empty() { name.clone() } else { format!("{name}.{domain}") };
    match full.split_once('.') {
        Some((short, _)) if !short.is_empty() => format!("{full} {short}"),
        _ => full,
    }
}

/// The host as a container sees it: its first network's gateway.
fn gateway(plans: &[NetworkPlan]) -> Option<IpAddr> {
    let leased = plans.iter().flat_map(|plan| &plan.addresses);
    leased.map(|leased| leased.gateway).find(|gateway| !gateway.is_unspecified())
}

/// The host as a container on no network is told of it: as in Docker the default network's gateway, though it is out of reach.
fn default_gateway(settings: &Settings) -> Option<IpAddr> {
    let host = HostFacts::probe().ok()?;
    let network = definition::find(&settings.root, definition::DEFAULT_NAME, &host).ok()?;
    network.ranges().first().map(|range| range.gateway)
}

/// The host as a user's container reaches it: the address that it has for whoever is outside. What listens on its loopback interface
/// alone has none. Asking for a route to a place for documentation sends nothing; a host without a way out has no such address.
fn host_address() -> Option<IpAddr> {
    let outside = [("0.0.0.0:0", "192.0.2.1:9"), ("[::]:0", "[2001:db8::1]:9")];
    outside.iter().find_map(|(own, other)| {
        let socket = UdpSocket::bind(own).ok()?;
        socket.connect(other).ok()?;
        let address = socket.local_addr().ok()?.ip();
        Some(address).filter(|address| !address.is_loopback() && !address.is_unspecified())
    })
}

/// What a user's container calls the host without having asked, as in Podman; but for names that were asked for.
fn names_of_host(wish: &NetworkWish, host: Option<IpAddr>) -> Vec<(&'static str, IpAddr)> {
    let is_asked = |name: &str| wish.extra_hosts.iter().any(|entry| entry.name == name);
    let names = ["host.containers.internal", "host.docker.internal"];
    let names = names.into_iter().filter(|name| !is_asked(name));
    host.map(|host| names.map(|name| (name, host)).collect()).unwrap_or_default()
}

fn extra_hosts(wish: &NetworkWish, gateway: Option<IpAddr>) -> Result<Vec<(&str, IpAddr)>> {
    let place = |entry: &'_ dns::HostEntry| entry.address.or(gateway);
    wish.extra_hosts
        .iter()
        .map(|entry| match place(entry) {
            Some(address) => Ok((entry.name.as_str(), address)),
            None => Err(Error::Usage(
                "unable to derive the IP value for host-gateway: there is no address of the host that the container could reach"
                    .to_owned(),
            )),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(hosts: &[&str]) -> NetworkWish {
        let extra_hosts = hosts.iter().map(|text| text.parse().unwrap()).collect();
        NetworkWish { extra_hosts, ..NetworkWish::default() }
    }

    #[test]
    fn the_host_has_podmans_names_unless_they_are_somebody_elses() {
        let host: IpAddr = "192.0.2.2".parse().unwrap();
        let names = |hosts: &[&str], address| -> Vec<&str> {
            names_of_host(&wish(hosts), address).into_iter().map(|(name, _)| name).collect()
        };
        let both = ["host.containers.internal", "host.docker.internal"];
        assert_eq!(names(&["db:10.0.0.1"], Some(host)), both);
        assert_eq!(names(&["host.docker.internal:10.0.0.1"], Some(host)), both[..1]);
        assert_eq!(names(&[], None), Vec::<&str>::new());
    }

    #[test]
    fn host_gateway_is_an_address_or_an_error() {
        let host: IpAddr = "192.0.2.2".parse().unwrap();
        let wish = wish(&["gate:host-gateway", "db:10.0.0.1"]);
        let other: IpAddr = "10.0.0.1".parse().unwrap();
        assert_eq!(extra_hosts(&wish, Some(host)).unwrap(), [("gate", host), ("db", other)]);
        let error = extra_hosts(&wish, None).unwrap_err().to_string();
        assert!(error.starts_with("unable to derive the IP value for host-gateway"), "{error}");
    }
}
