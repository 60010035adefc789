//! A container's way into the network: from `--network` and `-p` to a namespace that is connected.
//!
//! The namespace is bound to a file of the container's directory, in the mount namespace of its monitor: config.json
//! can name it before anything runs, and nothing has to be removed when everything dies.

use crate::bundle::NetworkNamespace;
use crate::bundle::host::HostFacts;
use crate::container::{ContainerId, Dir, NetworkWish, Record};
use crate::error::{Error, Result};
use crate::network::{self, Mode, NetworkName, State, definition, dns, ipam, netns, port};
use crate::settings::Settings;
use rustix::mount::mount_bind;
use std::net::IpAddr;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

/// Where a container's network namespace is bound.
#[must_use]
pub fn namespace_path(dir: &Dir) -> PathBuf {
    dir.join("netns")
}

/// What config.json says about the network.
#[must_use]
pub fn namespace(mode: &Mode, dir: &Dir) -> NetworkNamespace {
    match mode {
        Mode::Host => NetworkNamespace::Host,
        Mode::None => NetworkNamespace::New,
        Mode::Bridge(_) => NetworkNamespace::Prepared(namespace_path(dir)),
    }
}

/// The container's host name.
#[must_use]
pub fn hostname(wanted: Option<&str>, mode: &Mode, id: &ContainerId, host: &HostFacts) -> String {
    match (wanted, mode) {
        (Some(name), _) => name.to_owned(),
        (None, Mode::Host) => host.hostname.clone(),
        (None, _) => id.short().to_owned(),
    }
}

/// Connects a container to the network that its record names, and writes the files about it that the container sees.
pub fn connect(settings: &Settings, record: &Record, dir: &Dir) -> Result<()> {
    let addresses = match mode(&record.network)? {
        Mode::None | Mode::Host => Vec::new(),
        Mode::Bridge(name) => {
            let (addresses, namespace) = connect_to(settings, record, &name)?;
            keep(&namespace, &namespace_path(dir))?;
            addresses
        }
    };
    write_files(&record.network, dir, &addresses)
}

/// The container's addresses, and the connected namespace.
fn connect_to(
    settings: &Settings,
    record: &Record,
    name: &NetworkName,
) -> Result<(Vec<IpAddr>, OwnedFd)> {
    let state = State::open(&settings.state)?;
    let host = network::HostFacts::probe()?;
    let definition = definition::load(&settings.root, name, &host)?;
    let mut requests = Vec::new();
    for text in &record.network.publish {
        requests.extend(port::parse(text)?);
    }
    let lease = ipam::reserve(&state, &definition, &record.id)?;
    // The host's ports stay taken until the rules are in place.
    let reservation = port::reserve(&requests)?;
    let plan = network::plan(&definition, &lease, &reservation.ports, &host)?;
    let namespace = netns::create()?;
    network::apply(&state, &plan, namespace.as_fd())?;
    Ok((lease.addresses.iter().map(|leased| leased.address).collect(), namespace))
}

/// Binds a namespace to a file, in our own mount namespace.
fn keep(namespace: &OwnedFd, path: &Path) -> Result<()> {
    std::fs::write(path, "").map_err(Error::io("write", path))?;
    let source = format!("/proc/self/fd/{}", namespace.as_raw_fd());
    mount_bind(source, path).map_err(Error::io("bind the network namespace to", path))
}

/// Takes down what connects a container. Goes on after an error; nothing to take down is a success.
pub fn disconnect(settings: &Settings, record: &Record) -> Vec<Error> {
    let name = match mode(&record.network) {
        Ok(Mode::Bridge(name)) => name,
        Ok(Mode::None | Mode::Host) => return Vec::new(),
        Err(error) => return vec![error],
    };
    let state = match State::open(&settings.state) {
        Ok(state) => state,
        Err(error) => return vec![error.into()],
    };
    let mut errors = Vec::new();
    match state.connected_to(&record.id) {
        Ok(plans) => {
            errors.extend(plans.iter().filter_map(|plan| network::remove(&state, plan).err()));
        }
        Err(error) => errors.push(error),
    }
    errors.extend(ipam::release(&state, &name, &record.id).err());
    errors.into_iter().map(Error::from).collect()
}

fn mode(wish: &NetworkWish) -> Result<Mode> {
    Ok(wish.network.parse::<Mode>()?)
}

/// resolv.conf, hosts and hostname. With the host's network, the host's own.
fn write_files(wish: &NetworkWish, dir: &Dir, addresses: &[IpAddr]) -> Result<()> {
    let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    let resolv_conf = read(Path::new("/etc/resolv.conf"));
    let (resolv_conf, hosts) = match mode(wish)? {
        Mode::Host => (resolv_conf, read(Path::new("/etc/hosts"))),
        Mode::None => (resolv_conf, dns::hosts(&[], &wish.hostname, &[])),
        Mode::Bridge(_) => {
            let source = read(dns::source(&resolv_conf));
            let ipv6 = addresses.iter().any(IpAddr::is_ipv6);
            let resolv_conf = dns::resolv_conf(&source, &dns::Overrides::default(), ipv6);
            (resolv_conf, dns::hosts(addresses, &wish.hostname, &[]))
        }
    };
    dir.write_shared("resolv.conf", resolv_conf.as_bytes())?;
    dir.write_shared("hosts", hosts.as_bytes())?;
    dir.write_shared("hostname", format!("{}\n", wish.hostname).as_bytes())
}
