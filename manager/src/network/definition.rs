//! Network definitions: CNI conflists on disk, read into what this program carries out itself.
//!
//! `bridge`, `host-local`, `portmap`, `firewall` and `loopback` are built in. A key that is not understood is an error,
//! never ignored: a network that quietly lacks what its definition asks for would be a hole. Other plug-in types
//! are kept as [`ForeignPlugin`] for whoever executes plug-ins; a plan refuses them.

mod conflist;

use super::error::{Error, Result};
use super::host::HostFacts;
use super::ipam::LeasedAddress;
use super::name::{InterfaceName, NetworkName};
use super::subnet::Subnet;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The network that is there without a file.
pub const DEFAULT_NAME: &str = "nman";
/// Its bridge.
pub const DEFAULT_BRIDGE: &str = "nman0";

/// A network, as its conflist has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// The conflist's `name`, which is also the file's.
    pub name: NetworkName,
    /// The bridge that its containers are ports of.
    pub bridge: InterfaceName,
    /// Whether the bridge has the gateway's address (`isGateway`).
    pub is_gateway: bool,
    /// Whether containers reach the outside under the host's address (`ipMasq`).
    pub masquerade: bool,
    /// Whether a frame may leave by the port it came in by (`hairpinMode`).
    pub hairpin: bool,
    /// The MTU; without one, that of the host's up-link.
    pub mtu: Option<u32>,
    /// A container gets one address of each set.
    pub range_sets: Vec<Vec<Range>>,
    /// Routes of the container.
    pub routes: Vec<Route>,
    /// Whether ports can be published (`portmap` is in the chain).
    pub portmap: bool,
    /// Whether other networks and the outside are kept away (`firewall` is in the chain).
    pub firewall: bool,
    /// Plug-ins that are not built in, in their order.
    pub foreign: Vec<ForeignPlugin>,
}

/// Addresses to lease from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The subnet.
    pub subnet: Subnet,
    /// The bridge's address.
    pub gateway: IpAddr,
    first: IpAddr,
    last: IpAddr,
}

/// A route inside the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where to.
    pub destination: Subnet,
    /// By way of; without one, the subnet's gateway.
    pub gateway: Option<IpAddr>,
}

/// A plug-in that is not built in.
#[derive(Clone, Debug, PartialEq)]
pub struct ForeignPlugin {
    /// The conflist's `type`: the name of an executable, without a slash.
    pub kind: String,
    /// The plug-in's whole configuration.
    pub config: serde_json::Value,
}

impl Range {
    /// A range of a subnet: all of its hosts, or those from `first` to `last`.
    fn new(
        subnet: Subnet,
        gateway: Option<IpAddr>,
        first: Option<IpAddr>,
        last: Option<IpAddr>,
    ) -> Option<Self> {
        // IPv4 keeps the network and the broadcast address out; a subnet without a host between has none.
        let hosts = subnet.offset(subnet.last())?.checked_sub(1).filter(|hosts| *hosts > 0)?;
        let range = Self {
            subnet,
            gateway: gateway.or_else(|| subnet.nth(1))?,
            first: first.or_else(|| subnet.nth(1))?,
            last: last.or_else(|| subnet.nth(hosts))?,
        };
        let offset = |address| subnet.offset(address).filter(|offset| (1..=hosts).contains(offset));
        offset(range.gateway)?;
        (offset(range.first)? <= offset(range.last)?).then_some(range)
    }

    /// Whether `address` can be leased from here.
    #[must_use]
    pub fn holds(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.first.is_ipv4() && (self.first..=self.last).contains(&address)
    }

    /// Every address of the range, in order.
    pub(crate) fn all(&self) -> impl Iterator<Item = IpAddr> + use<> {
        self.between(self.subnet.offset(self.first))
    }

    /// The addresses behind `address`, in order.
    pub(crate) fn after(&self, address: IpAddr) -> impl Iterator<Item = IpAddr> + use<> {
        self.between(self.subnet.offset(address).map(|offset| offset + 1))
    }

    fn between(&self, from: Option<u128>) -> impl Iterator<Item = IpAddr> + use<> {
        let (subnet, last) = (self.subnet, self.last);
        from.into_iter()
            .flat_map(|from| from..=u128::MAX)
            .map_while(move |offset| subnet.nth(offset))
            .take_while(move |address| *address <= last)
    }

    pub(crate) fn lease(&self, address: IpAddr) -> LeasedAddress {
        LeasedAddress { address, subnet: self.subnet, gateway: self.gateway }
    }
}

/// Reads one network's definition from `<root>/networks`; the default network needs no file.
///
/// The default network's subnet is chosen at its first use, by the routes that the host has then, and written to
/// its conflist: it stays what it is while containers come and go.
///
/// # Errors
/// [`Error::UnknownNetwork`] without a file; [`Error::Definition`] for one that cannot be carried out.
pub fn load(root: &Path, name: &NetworkName, host: &HostFacts) -> Result<Definition> {
    let path = path_of(root, name);
    match std::fs::read_to_string(&path) {
        Ok(text) => parse(&text, &path),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::file("read", path, error))
        }
        Err(_) if name.as_str() == DEFAULT_NAME => create_default(root, &path, host),
        Err(_) => Err(Error::UnknownNetwork { name: name.to_string() }),
    }
}

/// Every definition of `<root>/networks`, by name; the default network is among them once it has been used.
///
/// # Errors
/// The directory cannot be read, or one of its conflists cannot be carried out.
pub fn list(root: &Path) -> Result<Vec<Definition>> {
    let directory = root.join("networks");
    let entries = match std::fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::file("read", directory, error)),
    };
    let mut definitions = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| Error::file("read", &directory, error))?.path();
        if path.extension().is_some_and(|extension| extension == "conflist") {
            let text = std::fs::read_to_string(&path)
                .map_err(|error| Error::file("read", &path, error))?;
            definitions.push(parse(&text, &path)?);
        }
    }
    definitions.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(definitions)
}

/// The default network with the first pool that no route of the host overlaps: pure.
///
/// # Errors
/// Every pool is in use.
pub fn default(host: &HostFacts) -> Result<Definition> {
    let free = |pool: &Subnet| !host.routes.iter().any(|route| route.overlaps(pool));
    let pool = pools().find(free).ok_or_else(|| Error::Exhausted {
        network: DEFAULT_NAME.to_owned(),
        range: "the pools 10.90.0.0/16 to 10.99.0.0/16 and 172.24.0.0/16 to 172.31.0.0/16, which all overlap \
                routes of the host,"
            .to_owned(),
    })?;
    Ok(built_in(pool))
}

/// Private ranges that other engines do not start with, sixteen bits of hosts each.
fn pools() -> impl Iterator<Item = Subnet> {
    let ten = (90..=99).map(|second| [10, second, 0, 0]);
    let one_seven_two = (24..=31).map(|second| [172, second, 0, 0]);
    ten.chain(one_seven_two).filter_map(|octets| Subnet::of(IpAddr::from(octets), 16))
}

/// The default network on that subnet.
pub(crate) fn built_in(subnet: Subnet) -> Definition {
    parse(&conflist::default_text(subnet), Path::new("the built-in default"))
        .expect("the built-in conflist is a valid one")
}

fn path_of(root: &Path, name: &NetworkName) -> PathBuf {
    root.join("networks").join(format!("{name}.conflist"))
}

fn parse(text: &str, path: &Path) -> Result<Definition> {
    let definition = conflist::parse(text).map_err(|fault| Error::Definition {
        path: path.to_owned(),
        pointer: fault.pointer,
        reason: fault.reason,
    })?;
    let expected = path.extension().and(path.file_stem());
    if expected.is_some_and(|stem| stem != definition.name.as_str()) {
        return Err(Error::Definition {
            path: path.to_owned(),
            pointer: "/name".into(),
            reason: format!("`{}` is not the name of the file", definition.name),
        });
    }
    Ok(definition)
}

/// Chooses the default network's pool and keeps the choice; of two that do so at once, the first wins.
fn create_default(root: &Path, path: &Path, host: &HostFacts) -> Result<Definition> {
    let definition = default(host)?;
    let subnet = definition.range_sets[0][0].subnet;
    let directory = root.join("networks");
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&directory)
        .map_err(|error| Error::file("create", &directory, error))?;
    let temporary = directory.join(format!(".{DEFAULT_NAME}.{}", std::process::id()));
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| file.write_all(conflist::default_text(subnet).as_bytes()))
        .map_err(|error| Error::file("write", &temporary, error))
        .and_then(|()| match std::fs::hard_link(&temporary, path) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                Err(Error::file("create", path, error))
            }
            _ => Ok(()),
        });
    let _ = std::fs::remove_file(&temporary);
    written?;
    let text = std::fs::read_to_string(path).map_err(|error| Error::file("read", path, error))?;
    parse(&text, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(routes: &[&str]) -> HostFacts {
        HostFacts {
            routes: routes.iter().map(|r| r.parse().unwrap()).collect(),
            ..HostFacts::default()
        }
    }

    fn subnet_of(definition: &Definition) -> String {
        definition.range_sets[0][0].subnet.to_string()
    }

    #[test]
    fn the_default_pool_keeps_clear_of_the_hosts_routes() {
        assert_eq!(subnet_of(&default(&facts(&[])).unwrap()), "10.90.0.0/16");
        assert_eq!(subnet_of(&default(&facts(&["10.90.7.0/24"])).unwrap()), "10.91.0.0/16");
        assert_eq!(subnet_of(&default(&facts(&["10.0.0.0/8"])).unwrap()), "172.24.0.0/16");
        let error = default(&facts(&["10.0.0.0/8", "172.16.0.0/12"])).unwrap_err();
        assert!(error.to_string().contains("overlap"), "{error}");
    }

    #[test]
    fn the_first_choice_of_a_pool_stays() {
        let root = tempfile::tempdir().unwrap();
        let name: NetworkName = DEFAULT_NAME.parse().unwrap();
        assert!(list(root.path()).unwrap().is_empty());
        let first = load(root.path(), &name, &facts(&["10.90.0.0/16"])).unwrap();
        let second = load(root.path(), &name, &facts(&["10.91.0.0/16"])).unwrap();
        assert_eq!(subnet_of(&first), "10.91.0.0/16");
        assert_eq!(first, second);
        assert_eq!(list(root.path()).unwrap(), [first]);
        let files = std::fs::read_dir(root.path().join("networks")).unwrap().count();
        assert_eq!(files, 1, "no temporary file is left");
    }

    #[test]
    fn an_unknown_network_is_named() {
        let root = tempfile::tempdir().unwrap();
        let error = load(root.path(), &"web".parse().unwrap(), &facts(&[])).unwrap_err();
        assert_eq!(error.to_string(), "network `web` not found");
    }

    #[test]
    fn a_conflist_must_bear_its_files_name() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("networks");
        std::fs::create_dir(&directory).unwrap();
        let text = conflist::default_text("10.5.0.0/16".parse().unwrap());
        std::fs::write(directory.join("other.conflist"), text).unwrap();
        let error = list(root.path()).unwrap_err().to_string();
        assert!(
            error.contains("other.conflist` at /name: `nman` is not the name of the file"),
            "{error}"
        );
    }

    #[test]
    fn a_range_never_gives_the_network_or_the_broadcast_address() {
        let range = Range::new("10.0.0.0/30".parse().unwrap(), None, None, None).unwrap();
        let all: Vec<String> = range.all().map(|a| a.to_string()).collect();
        assert_eq!(all, ["10.0.0.1", "10.0.0.2"]);
        assert_eq!(range.after("10.0.0.2".parse().unwrap()).count(), 0);
        assert!(Range::new("10.0.0.0/31".parse().unwrap(), None, None, None).is_none());
        assert!(
            Range::new(
                "10.0.0.0/24".parse().unwrap(),
                Some("10.0.0.255".parse().unwrap()),
                None,
                None
            )
            .is_none()
        );
    }
}
