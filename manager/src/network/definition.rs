//! Network definitions: CNI conflists on disk, read into what this program carries out itself.
//!
//! `bridge`, `host-local`, `portmap`, `firewall` and `loopback` are built in. A key that is not understood is an error,
//! never ignored: a network that quietly lacks what its definition asks for would be a hole. Other plug-in types
//! are kept as [`ForeignPlugin`], and are programs that [`super::plugin`] runs.

mod conflist;
pub mod creation;

use super::error::{Error, Result};
use super::host::HostFacts;
use super::ipam::LeasedAddress;
use super::name::{InterfaceName, Mode, NetworkName};
use super::subnet::Subnet;
use crate::clock::Timestamp;
use crate::notice;
use crate::pending::create_new;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The network that is there without a file.
pub const DEFAULT_NAME: &str = "nman";
/// Its bridge.
pub const DEFAULT_BRIDGE: &str = "nman0";

/// The kernel has no IPv6 on a link of a smaller MTU, nor its switches.
pub(super) const LEAST_MTU_OF_IPV6: u32 = 1280;

/// Docker's option for the address that ports are published on.
const HOST_BINDING: &str = "com.docker.network.bridge.host_binding_ipv4";

/// A network, as its conflist has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// The conflist's `name`, which is also the file's.
    pub name: NetworkName,
    /// The version of CNI that it is written in.
    pub version: String,
    /// What this program keeps about it.
    pub about: About,
    /// What makes a container's interface.
    pub driver: Driver,
    /// Plug-ins that are not built in and come after that, in their order.
    pub chained: Vec<ForeignPlugin>,
    /// Whether those are asked if everything is as they left it (no `disableCheck`).
    pub is_checked: bool,
}

/// The first plug-in of the list.
#[derive(Clone, Debug, PartialEq)]
pub enum Driver {
    /// Built in.
    Bridge(Bridge),
    /// A program of CNI_PATH.
    Foreign(ForeignPlugin),
}

/// What is kept in a conflist under the key `nman`, which plug-ins never see.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct About {
    /// Sixty-four hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// When it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// No way out: no route, no translation, no published port, no names from outside.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub internal: bool,
    /// `--attachable`: shown again, and nothing else.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub attachable: bool,
    /// `--label`
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// `-o`, as they were typed.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
    /// `--aux-address`: addresses of the subnets that are others'.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub aux_addresses: BTreeMap<String, IpAddr>,
}

/// A bridge of this program's own making.
#[derive(Clone, Debug, PartialEq)]
pub struct Bridge {
    /// The bridge that its containers are ports of.
    pub name: InterfaceName,
    /// Whether the bridge has the gateway's address (`isGateway`).
    pub is_gateway: bool,
    /// Whether containers reach the outside under the host's address (`ipMasq`).
    pub masquerade: bool,
    /// Whether a frame may leave by the port it came in by (`hairpinMode`).
    pub hairpin: bool,
    /// Whether containers are kept from each other (`portIsolation`).
    pub port_isolation: bool,
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
}

impl Definition {
    /// Its id; one that was written by hand has one that follows from its name.
    #[must_use]
    pub fn id(&self) -> String {
        self.about.id.clone().unwrap_or_else(|| {
            let digest = Sha256::digest(self.name.as_str().as_bytes());
            digest.iter().map(|byte| format!("{byte:02x}")).collect()
        })
    }

    /// The bridge, if that is what it is.
    #[must_use]
    pub fn bridge(&self) -> Option<&Bridge> {
        match &self.driver {
            Driver::Bridge(bridge) => Some(bridge),
            Driver::Foreign(_) => None,
        }
    }

    /// The driver's name: the type of the first plug-in.
    #[must_use]
    pub fn driver_name(&self) -> &str {
        match &self.driver {
            Driver::Bridge(_) => "bridge",
            Driver::Foreign(plugin) => &plugin.kind,
        }
    }

    /// Every range that is leased from, also by a plug-in's own `host-local`.
    #[must_use]
    pub fn ranges(&self) -> Vec<Range> {
        match &self.driver {
            Driver::Bridge(bridge) => bridge.range_sets.iter().flatten().copied().collect(),
            Driver::Foreign(plugin) => conflist::ranges_of(&plugin.config),
        }
    }

    /// Whether containers get IPv6 addresses.
    #[must_use]
    pub fn has_ipv6(&self) -> bool {
        self.ranges().iter().any(|range| range.subnet.network().is_ipv6())
    }

    /// The address of the host that a port is published on without one of its own, if the network says that.
    #[must_use]
    pub fn host_binding(&self) -> Option<Ipv4Addr> {
        self.about.options.get(HOST_BINDING).and_then(|text| text.parse().ok())
    }

    /// Whether ports can be published on it.
    #[must_use]
    pub fn publishes(&self) -> bool {
        let portmap = |plugin: &ForeignPlugin| plugin.kind == "portmap";
        !self.about.internal
            && match &self.driver {
                Driver::Bridge(bridge) => bridge.portmap && bridge.is_gateway,
                Driver::Foreign(_) => self.chained.iter().any(portmap),
            }
    }
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

impl Route {
    /// Whether it is the default route of that gateway's family.
    #[must_use]
    pub fn is_default_for(&self, gateway: IpAddr) -> bool {
        self.destination == Subnet::everything(gateway)
    }
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

    /// The first address that is leased.
    #[must_use]
    pub fn first(&self) -> IpAddr {
        self.first
    }

    /// The last one.
    #[must_use]
    pub fn last(&self) -> IpAddr {
        self.last
    }

    /// Whether these are all of the subnet's hosts.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        Self::new(self.subnet, None, None, None)
            .is_some_and(|whole| (whole.first, whole.last) == (self.first, self.last))
    }

    /// The prefix whose hosts these are, if they are those of one: what `--ip-range` was given.
    #[must_use]
    pub fn prefix(&self) -> Option<Subnet> {
        let lengths = (self.subnet.prefix()..=128).rev();
        let mut around = lengths.filter_map(|length| Subnet::of(self.first, length));
        let closest = around.find(|subnet| subnet.contains(self.last))?;
        // The network's own address and that of all are no hosts where the subnet begins and ends.
        let at_its_ends = [
            closest.offset(self.first)? <= 1,
            closest.offset(closest.last())? - closest.offset(self.last)? <= 1,
        ];
        at_its_ends.iter().all(|fits| *fits).then_some(closest)
    }

    /// Whether `address` can be asked for: any host of the subnet but the gateway.
    #[must_use]
    pub fn admits(&self, address: IpAddr) -> bool {
        address != self.gateway
            && Self::new(self.subnet, None, None, None).is_some_and(|whole| whole.holds(address))
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

/// Finds a network by its name, its id, or the unambiguous beginning of its id.
///
/// # Errors
/// As [`load`].
pub fn find(root: &Path, wanted: &str, host: &HostFacts) -> Result<Definition> {
    let unknown = || Error::UnknownNetwork { name: wanted.to_owned() };
    let name = match wanted.parse::<Mode>()? {
        Mode::Network(name) => name,
        _ => return Err(unknown()),
    };
    match load(root, &name, host) {
        Err(Error::UnknownNetwork { .. }) => {
            let mut fitting = list(root)?;
            if fitting.iter().all(|definition| definition.name.as_str() != DEFAULT_NAME) {
                fitting.extend(default(host, &fitting));
            }
            fitting.retain(|definition| definition.id().starts_with(wanted));
            match &fitting[..] {
                [one] => load(root, &one.name, host),
                _ => Err(unknown()),
            }
        }
        found => found,
    }
}

/// Makes sure that a network is still there: for who has read it, and has put a connection on record since.
///
/// # Errors
/// It was removed meanwhile.
pub fn confirm(root: &Path, name: &NetworkName) -> Result<()> {
    let is_there = path_of(root, name).exists();
    is_there.then_some(()).ok_or_else(|| Error::UnknownNetwork { name: name.to_string() })
}

/// Every definition of `<root>/networks`, by name; the default network is among them once it has been used.
///
/// One that cannot be carried out is left out, which is told: it must not take all others from view.
///
/// # Errors
/// The directory or one of its files cannot be read.
pub fn list(root: &Path) -> Result<Vec<Definition>> {
    let mut definitions = Vec::new();
    for (name, definition) in read_all(root)? {
        match definition {
            Ok(definition) => definitions.push(definition),
            Err(error) => notice::note(format!(
                "a network is left out: {error} (`nman network rm -f {name}` removes it)"
            )),
        }
    }
    definitions.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(definitions)
}

/// The names of the definitions that cannot be carried out, and why not.
///
/// # Errors
/// The directory or one of its files cannot be read.
pub fn damaged(root: &Path) -> Result<Vec<(String, Error)>> {
    let all = read_all(root)?.into_iter();
    Ok(all.filter_map(|(name, definition)| Some((name, definition.err()?))).collect())
}

/// What is made of each file of the directory, by its name.
fn read_all(root: &Path) -> Result<Vec<(String, Result<Definition>)>> {
    let directory = root.join("networks");
    let entries = match std::fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::file("read", directory, error)),
    };
    let mut all = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| Error::file("read", &directory, error))?.path();
        if path.extension().is_some_and(|extension| extension == "conflist") {
            let text = std::fs::read_to_string(&path)
                .map_err(|error| Error::file("read", &path, error))?;
            let name = path.file_stem().unwrap_or_default().display().to_string();
            all.push((name, parse(&text, &path)));
        }
    }
    Ok(all)
}

/// The default network with the first pool that neither a route of the host nor another network overlaps: pure.
///
/// # Errors
/// Every pool is in use.
pub fn default(host: &HostFacts, others: &[Definition]) -> Result<Definition> {
    // A network has no route before its first container comes.
    let theirs: Vec<Subnet> =
        others.iter().flat_map(Definition::ranges).map(|range| range.subnet).collect();
    let free = |pool: &Subnet| !host.routes.iter().chain(&theirs).any(|other| other.overlaps(pool));
    let pool = pools().find(free).ok_or_else(|| Error::Exhausted {
        network: DEFAULT_NAME.to_owned(),
        range: "the pools 10.90.0.0/16 to 10.99.0.0/16 and 172.24.0.0/16 to 172.31.0.0/16, which all overlap \
                routes of the host or other networks,"
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
    let definition = default(host, &list(root)?)?;
    let subnet = definition.ranges()[0].subnet;
    match write_new(root, &definition.name, &conflist::default_text(subnet)) {
        Ok(()) | Err(Error::NetworkExists { .. }) => {}
        // It can be looked at, as in a list; who connects to it fails at what is to be written then.
        Err(error) if error.is_read_only() => return Ok(definition),
        Err(error) => return Err(error),
    }
    let text = std::fs::read_to_string(path).map_err(|error| Error::file("read", path, error))?;
    parse(&text, path)
}

/// Puts a new conflist in place, whole or not at all.
///
/// # Errors
/// [`Error::NetworkExists`] if there is one of that name.
pub fn write_new(root: &Path, name: &NetworkName, text: &str) -> Result<()> {
    let (directory, path) = (root.join("networks"), path_of(root, name));
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&directory)
        .map_err(|error| Error::file("create", &directory, error))?;
    create_new(&path, text.as_bytes()).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Error::NetworkExists { name: name.to_string() },
        _ => Error::file("create", path, error),
    })
}

/// Forgets a network's definition; the caller has made sure that nobody is connected to it.
///
/// # Errors
/// The file cannot be removed, or is not there.
pub fn remove(root: &Path, name: &NetworkName) -> Result<()> {
    let path = path_of(root, name);
    std::fs::remove_file(&path).map_err(|error| Error::file("remove", path, error))
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
        definition.ranges()[0].subnet.to_string()
    }

    #[test]
    fn the_default_pool_keeps_clear_of_the_hosts_routes() {
        let chosen = |routes: &[&str]| default(&facts(routes), &[]);
        assert_eq!(subnet_of(&chosen(&[]).unwrap()), "10.90.0.0/16");
        assert_eq!(subnet_of(&chosen(&["10.90.7.0/24"]).unwrap()), "10.91.0.0/16");
        assert_eq!(subnet_of(&chosen(&["10.0.0.0/8"]).unwrap()), "172.24.0.0/16");
        let error = chosen(&["10.0.0.0/8", "172.16.0.0/12"]).unwrap_err();
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
    fn the_pool_of_another_network_is_not_chosen() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("networks")).unwrap();
        let other = conflist::default_text("10.90.0.0/16".parse().unwrap())
            .replace("\"nman\"", "\"first\"");
        std::fs::write(root.path().join("networks/first.conflist"), other).unwrap();
        let name: NetworkName = DEFAULT_NAME.parse().unwrap();
        assert_eq!(subnet_of(&load(root.path(), &name, &facts(&[])).unwrap()), "10.91.0.0/16");
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
        assert_eq!(list(root.path()).unwrap(), []);
        let host = facts(&[]);
        let error = load(root.path(), &"other".parse().unwrap(), &host).unwrap_err().to_string();
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
