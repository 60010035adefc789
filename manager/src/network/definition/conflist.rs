//! The JSON of a CNI network configuration list, strictly.
//!
//! Every fault has a JSON pointer. Pure: text in, definition out.

use super::{
    About, Bridge, DEFAULT_BRIDGE, DEFAULT_NAME, Definition, Driver, ForeignPlugin, HOST_BINDING,
    LEAST_MTU_OF_IPV6, Range, Route,
};
use crate::network::name::{InterfaceName, NetworkName};
use crate::network::subnet::Subnet;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::net::IpAddr;

/// What is wrong, and where.
pub(super) struct Fault {
    pub(super) pointer: String,
    pub(super) reason: String,
}

fn fault<T>(pointer: impl Into<String>, reason: impl Into<String>) -> Result<T, Fault> {
    Err(Fault { pointer: pointer.into(), reason: reason.into() })
}

/// The versions of the CNI specification whose lists read the same.
const VERSIONS: [&str; 8] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0", "0.2.0", "0.1.0", ""];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct List {
    #[serde(default)]
    cni_version: String,
    name: NetworkName,
    plugins: Vec<Value>,
    #[serde(default)]
    disable_check: bool,
    #[serde(default, rename = "disableGC")]
    _disable_gc: bool,
    #[serde(default)]
    nman: About,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct JsonBridge {
    #[serde(rename = "type")]
    _kind: String,
    #[serde(default = "cni_bridge")]
    bridge: InterfaceName,
    #[serde(default)]
    is_gateway: bool,
    #[serde(default)]
    is_default_gateway: bool,
    #[serde(default)]
    ip_masq: bool,
    #[serde(default)]
    hairpin_mode: bool,
    #[serde(default)]
    port_isolation: bool,
    #[serde(default)]
    mtu: Option<u32>,
    ipam: Value,
}

/// CNI's own default.
fn cni_bridge() -> InterfaceName {
    "cni0".parse().expect("a valid interface name")
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct HostLocal {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    ranges: Vec<Vec<JsonRange>>,
    #[serde(default)]
    routes: Vec<JsonRoute>,
    // The older form, of one range.
    subnet: Option<Subnet>,
    gateway: Option<IpAddr>,
    range_start: Option<IpAddr>,
    range_end: Option<IpAddr>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct JsonRange {
    subnet: Subnet,
    gateway: Option<IpAddr>,
    range_start: Option<IpAddr>,
    range_end: Option<IpAddr>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct JsonRoute {
    dst: Subnet,
    gw: Option<IpAddr>,
}

/// A plug-in whose presence in the chain is all that it says.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Marker {
    #[serde(rename = "type")]
    _kind: String,
    #[serde(default, rename = "capabilities")]
    _capabilities: Option<Value>,
}

/// Reads a conflist.
pub(super) fn parse(text: &str) -> Result<Definition, Fault> {
    // Read as a tree first: only serde_json's own pass knows the line and column of broken JSON.
    let value: Value = serde_json::from_str(text).or_else(|error| fault("", error.to_string()))?;
    let list: List = read(&value, "")?;
    if !VERSIONS.contains(&list.cni_version.as_str()) {
        return fault(
            "/cniVersion",
            format!("`{}` is not a known version of CNI", list.cni_version),
        );
    }
    let Some((first, chained)) = list.plugins.split_first() else {
        return fault("/plugins", "the list is empty");
    };
    let kind = kind_of(first, "/plugins/0")?;
    let version = if list.cni_version.is_empty() { "1.0.0".to_owned() } else { list.cni_version };
    let mut driver = match kind {
        "bridge" => Driver::Bridge(bridge(first)?),
        kind => Driver::Foreign(foreign(kind, first)),
    };
    let mut rest = Vec::new();
    for (index, plugin) in chained.iter().enumerate() {
        let pointer = format!("/plugins/{}", index + 1);
        match (kind_of(plugin, &pointer)?, &mut driver) {
            ("bridge", _) => {
                return fault(pointer + "/type", "a list has one `bridge`, and it comes first");
            }
            ("loopback", _) => drop(read::<Marker>(plugin, &pointer)?),
            ("portmap", Driver::Bridge(bridge)) => {
                bridge.portmap = read::<Marker>(plugin, &pointer).map(|_| true)?;
            }
            ("firewall", Driver::Bridge(bridge)) => {
                bridge.firewall = read::<Marker>(plugin, &pointer).map(|_| true)?;
            }
            (kind, _) => rest.push(foreign(kind, plugin)),
        }
    }
    let definition = Definition {
        name: list.name,
        version,
        about: list.nman,
        driver,
        chained: rest,
        is_checked: !list.disable_check,
    };
    check_binding(&definition)?;
    Ok(definition)
}

/// Ports would be published everywhere instead.
fn check_binding(definition: &Definition) -> Result<(), Fault> {
    let text = definition.about.options.get(HOST_BINDING).filter(|_| definition.bridge().is_some());
    match text {
        Some(text) if definition.host_binding().is_none() => fault(
            format!("/nman/options/{HOST_BINDING}"),
            format!("`{text}` is not an IPv4 address"),
        ),
        _ => Ok(()),
    }
}

fn foreign(kind: &str, config: &Value) -> ForeignPlugin {
    ForeignPlugin { kind: kind.to_owned(), config: config.clone() }
}

/// The ranges of a plug-in that leases by `host-local`; none for one that does not.
pub(super) fn ranges_of(config: &Value) -> Vec<Range> {
    let sets = config.get("ipam").and_then(|ipam| host_local(ipam, "").ok());
    sets.map(|(sets, _)| sets.into_iter().flatten().collect()).unwrap_or_default()
}

/// The plug-in's type. It is the name of a file in a directory of programs that run as root, so it must not be
/// able to leave that directory (CVE-2021-20206).
fn kind_of<'a>(plugin: &'a Value, pointer: &str) -> Result<&'a str, Fault> {
    let Some(kind) = plugin.get("type").and_then(Value::as_str) else {
        return fault(format!("{pointer}/type"), "a plug-in has a type, which is a string");
    };
    let plain = kind.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
    if kind.is_empty() || !plain || kind.starts_with(['.', '-']) {
        return fault(format!("{pointer}/type"), format!("`{kind}` is not the name of a plug-in"));
    }
    Ok(kind)
}

fn bridge(plugin: &Value) -> Result<Bridge, Fault> {
    const POINTER: &str = "/plugins/0";
    /// What IPv4 asks of a link, and the most that an IPv4 packet can be.
    const MTU: std::ops::RangeInclusive<u32> = 68..=65535;
    let bridge: JsonBridge = read(plugin, POINTER)?;
    if let Some(mtu) = bridge.mtu.filter(|mtu| *mtu != 0 && !MTU.contains(mtu)) {
        return fault(
            format!("{POINTER}/mtu"),
            format!("{mtu} is not between {} and {}", MTU.start(), MTU.end()),
        );
    }
    let (range_sets, mut routes) = host_local(&bridge.ipam, &format!("{POINTER}/ipam"))?;
    let has_ipv6 = range_sets.iter().flatten().any(|range| range.subnet.network().is_ipv6());
    if let Some(mtu) = bridge.mtu.filter(|mtu| *mtu != 0 && *mtu < LEAST_MTU_OF_IPV6 && has_ipv6) {
        return fault(
            format!("{POINTER}/mtu"),
            format!("{mtu} is too little for IPv6, which takes {LEAST_MTU_OF_IPV6} at least"),
        );
    }
    if bridge.is_default_gateway {
        for range in range_sets.iter().flatten() {
            let missing = |route: &Route| !route.is_default_for(range.gateway);
            if routes.iter().all(missing) {
                let destination = Subnet::everything(range.gateway);
                routes.push(Route { destination, gateway: None });
            }
        }
    }
    Ok(Bridge {
        name: bridge.bridge,
        is_gateway: bridge.is_gateway || bridge.is_default_gateway,
        masquerade: bridge.ip_masq,
        hairpin: bridge.hairpin_mode,
        port_isolation: bridge.port_isolation,
        // CNI writes "the default" as zero.
        mtu: bridge.mtu.filter(|mtu| *mtu != 0),
        range_sets,
        routes,
        portmap: false,
        firewall: false,
    })
}

fn host_local(ipam: &Value, pointer: &str) -> Result<(Vec<Vec<Range>>, Vec<Route>), Fault> {
    let ipam: HostLocal = read(ipam, pointer)?;
    if ipam.kind != "host-local" {
        return fault(
            format!("{pointer}/type"),
            format!("`{}` is not built in; use `host-local`", ipam.kind),
        );
    }
    let mut sets = Vec::new();
    if let Some(subnet) = ipam.subnet {
        let old = JsonRange {
            subnet,
            gateway: ipam.gateway,
            range_start: ipam.range_start,
            range_end: ipam.range_end,
        };
        sets.push(vec![range(&old, pointer)?]);
    }
    for (set, ranges) in ipam.ranges.iter().enumerate() {
        let pointer = format!("{pointer}/ranges/{set}");
        let read = ranges
            .iter()
            .enumerate()
            .map(|(index, json)| range(json, &format!("{pointer}/{index}")));
        let read = read.collect::<Result<Vec<_>, _>>()?;
        if read.is_empty() {
            return fault(pointer, "a set of ranges has at least one");
        }
        sets.push(read);
    }
    if sets.is_empty() {
        return fault(format!("{pointer}/ranges"), "there is no range to lease from");
    }
    let all: Vec<&Range> = sets.iter().flatten().collect();
    for (index, range) in all.iter().enumerate() {
        if let Some(other) = all[..index].iter().find(|other| other.subnet.overlaps(&range.subnet))
        {
            return fault(
                format!("{pointer}/ranges"),
                format!("{} overlaps {}", range.subnet, other.subnet),
            );
        }
    }
    let routes = ipam
        .routes
        .iter()
        .map(|route| Route { destination: route.dst, gateway: route.gw })
        .collect();
    Ok((sets, routes))
}

fn range(json: &JsonRange, pointer: &str) -> Result<Range, Fault> {
    Range::new(json.subnet, json.gateway, json.range_start, json.range_end).map_or_else(
        || {
            fault(
                pointer,
                format!("gateway, start and end are not hosts of {} in order", json.subnet),
            )
        },
        Ok,
    )
}

fn read<T: DeserializeOwned>(value: &Value, pointer: &str) -> Result<T, Fault> {
    serde_path_to_error::deserialize(value).or_else(|error| {
        let mut pointer = pointer.to_owned();
        for segment in error.path() {
            use serde_path_to_error::Segment;
            match segment {
                Segment::Seq { index } => pointer += &format!("/{index}"),
                Segment::Map { key } => pointer += &format!("/{key}"),
                Segment::Enum { .. } | Segment::Unknown => {}
            }
        }
        fault(pointer, error.into_inner().to_string())
    })
}

/// The default network's conflist on that subnet.
pub(super) fn default_text(subnet: Subnet) -> String {
    let list = serde_json::json!({
        "cniVersion": "1.0.0",
        "name": DEFAULT_NAME,
        "plugins": [
            {
                "type": "bridge",
                "bridge": DEFAULT_BRIDGE,
                "isGateway": true,
                "ipMasq": true,
                "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{ "subnet": subnet.to_string() }]],
                    "routes": [{ "dst": "0.0.0.0/0" }],
                },
            },
            { "type": "portmap", "capabilities": { "portMappings": true } },
            { "type": "firewall" },
        ],
    });
    format!("{list:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(plugins: &str) -> String {
        format!(r#"{{"cniVersion":"1.0.0","name":"web","plugins":{plugins}}}"#)
    }

    fn with_bridge(keys: &str) -> String {
        let ipam = r#""ipam":{"type":"host-local","ranges":[[{"subnet":"10.1.0.0/24"}]]}"#;
        list(&format!(r#"[{{"type":"bridge",{keys}{ipam}}}]"#))
    }

    #[test]
    fn the_default_reads_back_with_everything_on() {
        let definition = parse(&default_text("10.90.0.0/16".parse().unwrap())).ok().unwrap();
        let bridge = definition.bridge().unwrap();
        assert_eq!(bridge.name.as_str(), "nman0");
        assert!(bridge.is_gateway && bridge.masquerade && bridge.hairpin);
        assert!(bridge.portmap && bridge.firewall && definition.chained.is_empty());
        assert_eq!(bridge.range_sets[0][0].gateway.to_string(), "10.90.0.1");
        assert!(bridge.routes[0].destination.is_default());
    }

    #[test]
    fn the_older_form_of_one_range_reads_too() {
        let text = list(
            r#"[{"type":"bridge","isDefaultGateway":true,"mtu":0,"ipam":{"type":"host-local",
                "subnet":"10.2.0.0/24","rangeStart":"10.2.0.10","rangeEnd":"10.2.0.12","gateway":"10.2.0.254"}}]"#,
        );
        let definition = parse(&text).ok().unwrap();
        let bridge = definition.bridge().unwrap();
        assert!(bridge.is_gateway && bridge.routes.len() == 1 && bridge.mtu.is_none());
        let all: Vec<String> = bridge.range_sets[0][0].all().map(|a| a.to_string()).collect();
        assert_eq!(all, ["10.2.0.10", "10.2.0.11", "10.2.0.12"]);
    }

    #[test]
    fn a_foreign_plugin_is_kept_whole() {
        let plugin = r#"{"type":"bridge","ipam":{"type":"host-local","subnet":"10.1.0.0/24"}}"#;
        let text = list(&format!(r#"[{plugin},{{"type":"tuning","sysctl":{{}}}}]"#));
        let definition = parse(&text).ok().unwrap();
        assert_eq!(definition.chained[0].kind, "tuning");
        assert!(definition.chained[0].config.get("sysctl").is_some());
    }

    #[test]
    fn a_driver_of_another_type_keeps_its_whole_chain() {
        let ipam = r#"{"type":"host-local","subnet":"10.1.0.0/24"}"#;
        let text = list(&format!(
            r#"[{{"type":"macvlan","master":"eth0","ipam":{ipam}}},{{"type":"portmap"}}]"#
        ));
        let definition = parse(&text).ok().unwrap();
        assert_eq!((definition.driver_name(), definition.chained.len()), ("macvlan", 1));
        assert_eq!(definition.ranges()[0].subnet.to_string(), "10.1.0.0/24");
        assert!(definition.publishes());
    }

    #[test]
    fn a_gateway_is_the_default_of_each_family_that_it_has() {
        let ipam = r#"{"type":"host-local","ranges":[[{"subnet":"10.1.0.0/24"}],[{"subnet":"fd00::/64"}]]}"#;
        let text = list(&format!(r#"[{{"type":"bridge","isDefaultGateway":true,"ipam":{ipam}}}]"#));
        let definition = parse(&text).ok().unwrap();
        let routes = &definition.bridge().unwrap().routes;
        assert_eq!(
            routes.iter().map(|route| route.destination.to_string()).collect::<Vec<_>>(),
            ["0.0.0.0/0", "::/0"]
        );
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let bad_range = |range: &str| {
            list(&format!(
                r#"[{{"type":"bridge","ipam":{{"type":"host-local","ranges":[[{range}]]}}}}]"#
            ))
        };
        for (text, pointer, reason) in [
            ("{".to_owned(), "", "line 1 column 1"),
            (list("[]"), "/plugins", "empty"),
            (list("[{}]"), "/plugins/0/type", "has a type"),
            (list(r#"[{"type":"../x"}]"#), "/plugins/0/type", "`../x`"),
            (list(r#"[{"type":"bridge"}]"#), "/plugins/0", "missing field `ipam`"),
            (with_bridge(r#""vlan":5,"#), "/plugins/0/vlan", "unknown field `vlan`"),
            (with_bridge(r#""mtu":9,"#), "/plugins/0/mtu", "between 68 and 65535"),
            (
                with_bridge(r#""mtu":1279,"#).replace("10.1.0.0/24", "fd00::/64"),
                "/plugins/0/mtu",
                "1279 is too little for IPv6",
            ),
            (with_bridge(r#""bridge":"a/b","#), "/plugins/0/bridge", "`a/b`"),
            (
                bad_range(r#"{"subnet":"10.0.0.1/24"}"#),
                "/plugins/0/ipam/ranges/0/0/subnet",
                "host bits",
            ),
            (
                bad_range(r#"{"subnet":"fd00::/64","gateway":"10.0.0.1"}"#),
                "/plugins/0/ipam/ranges/0/0",
                "not hosts of fd00::/64",
            ),
            (bad_range(""), "/plugins/0/ipam/ranges/0", "at least one"),
            (
                bad_range(r#"{"subnet":"10.0.0.0/8"},{"subnet":"10.1.0.0/16"}"#),
                "/plugins/0/ipam/ranges",
                "overlaps 10.0.0.0/8",
            ),
            (
                bad_range(r#"{"subnet":"10.0.0.0/24","gateway":"10.0.1.1"}"#),
                "/plugins/0/ipam/ranges/0/0",
                "not hosts of 10.0.0.0/24",
            ),
        ] {
            let Err(fault) = parse(&text) else { panic!("{text} is taken") };
            assert_eq!(fault.pointer, pointer, "{text}: {}", fault.reason);
            assert!(fault.reason.contains(reason), "{text}: {}", fault.reason);
        }
    }

    #[test]
    fn an_unknown_version_of_cni_is_refused() {
        let text = with_bridge("").replace("1.0.0", "9.0.0");
        assert_eq!(parse(&text).err().unwrap().pointer, "/cniVersion");
    }
}
