//! What `inspect` says about a container's networks, under Docker's names.

use crate::connection;
use crate::connection::identity;
use crate::container::{Dir, Record};
use crate::error::Result;
use crate::network::{Endpoint, NetworkPlan, PortMapping, State, port};
use crate::settings::Settings;
use serde_json::{Map, Value, json};
use std::net::IpAddr;

/// Addresses and published ports while the container is connected, and the networks that it is to be on.
pub(super) fn settings(settings: &Settings, dir: &Dir, record: &Record) -> Result<Value> {
    let plans = State::at(&settings.state).connected_to(&record.id)?;
    let mut networks = Map::new();
    for endpoint in connection::endpoints(record, dir)? {
        let name = &endpoint.network;
        let object = if identity::predefined(name.as_str()).is_some() {
            predefined(&identity::id_of(settings, name))
        } else {
            let plan = plans.iter().find(|plan| plan.network == *name);
            network(settings, record, &endpoint, plan)
        };
        networks.insert(name.to_string(), object);
    }
    let mut object = plans.first().map_or_else(|| addresses(None), |plan| addresses(Some(plan)));
    object["Mode"] = record.network.network.as_str().into();
    object["SandboxKey"] = json!(connection::namespace_path(dir));
    let by_user = connection::published_by_user(record, dir);
    let published = plans.iter().flat_map(|plan| &plan.ports).chain(&by_user);
    let connected = !plans.is_empty() || !by_user.is_empty();
    object["Ports"] = ports(record, connected, published).into();
    object["Networks"] = networks.into();
    Ok(object)
}

fn network(
    settings: &Settings,
    record: &Record,
    endpoint: &Endpoint,
    plan: Option<&NetworkPlan>,
) -> Value {
    let wishes = &endpoint.wishes;
    let wanted = |address: Option<String>| address.unwrap_or_default();
    let mut object = addresses(plan);
    object["IPAMConfig"] = json!({
        "IPv4Address": wanted(wishes.ip.map(|ip| ip.to_string())),
        "IPv6Address": wanted(wishes.ip6.map(|ip| ip.to_string())),
    });
    if !wishes.link_local.is_empty() {
        object["IPAMConfig"]["LinkLocalIPs"] = json!(wishes.link_local);
    }
    object["Aliases"] = json!(wishes.aliases);
    object["GwPriority"] = wishes.gw_priority.into();
    object["DriverOpts"] = match wishes.driver_opts.is_empty() {
        true => Value::Null,
        false => json!(wishes.driver_opts),
    };
    object["NetworkID"] = identity::id_of(settings, &endpoint.network).into();
    object["EndpointID"] = match plan {
        Some(plan) => identity::endpoint_id(plan).into(),
        None => "".into(),
    };
    let names = plan.map(NetworkPlan::names).unwrap_or_default();
    object["DNSNames"] =
        [record.name.as_str()].into_iter().chain(names.iter().map(String::as_str)).collect();
    object
}

/// What Docker says of `host` and `none`, on which nobody has an address of their own.
fn predefined(id: &str) -> Value {
    let mut object = addresses(None);
    for (field, value) in [
        ("IPAMConfig", Value::Null),
        ("Aliases", Value::Null),
        ("DriverOpts", Value::Null),
        ("GwPriority", 0.into()),
        ("NetworkID", id.into()),
        ("EndpointID", "".into()),
        ("DNSNames", Value::Null),
    ] {
        object[field] = value;
    }
    object
}

/// The addresses of one connection; empty without one.
fn addresses(plan: Option<&NetworkPlan>) -> Value {
    let of = |v6: bool| {
        let addresses = plan.map(|plan| plan.addresses.as_slice()).unwrap_or_default();
        let leased = addresses.iter().find(|leased| leased.address.is_ipv6() == v6);
        let text = |address: Option<IpAddr>| {
            let known = address.filter(|address| !address.is_unspecified());
            known.map(|address| address.to_string()).unwrap_or_default()
        };
        (
            text(leased.map(|leased| leased.address)),
            leased.map_or(0, |leased| leased.subnet.prefix()),
            text(leased.map(|leased| leased.gateway)),
        )
    };
    let ((v4, length4, gateway4), (v6, length6, gateway6)) = (of(false), of(true));
    let mac = plan.and_then(|plan| plan.mac).map(|mac| mac.to_string());
    json!({
        "IPAddress": v4, "IPPrefixLen": length4, "Gateway": gateway4,
        "GlobalIPv6Address": v6, "GlobalIPv6PrefixLen": length6, "IPv6Gateway": gateway6,
        "MacAddress": mac.unwrap_or_default(),
    })
}

/// Published ports with where they are published; exposed ones without.
fn ports<'a>(
    record: &Record,
    connected: bool,
    published: impl Iterator<Item = &'a PortMapping>,
) -> Map<String, Value> {
    let mut ports = Map::new();
    if connected {
        ports.extend(record.network.exposed.iter().map(|port| (port.clone(), Value::Null)));
    }
    for port in published {
        let key = format!("{}/{}", port.container_port, port.protocol);
        let binding = json!({
            "HostIp": port.host_address.to_string(), "HostPort": port.host_port.to_string(),
        });
        match ports.get_mut(&key) {
            Some(Value::Array(bindings)) => bindings.push(binding),
            _ => drop(ports.insert(key, json!([binding]))),
        }
    }
    ports
}

/// What was asked for.
pub(super) fn add_host_config(record: &Record, host_config: &mut Value) {
    let wish = &record.network;
    let mut bindings = Map::new();
    for request in wish.publish.iter().flat_map(|text| port::parse(text).unwrap_or_default()) {
        let key = format!("{}/{}", request.container_port, request.protocol);
        let host = match &request.host_port {
            port::HostPort::Any => String::new(),
            port::HostPort::FirstOf(range) if range.start() == range.end() => {
                range.start().to_string()
            }
            port::HostPort::FirstOf(range) => format!("{}-{}", range.start(), range.end()),
        };
        let address = request.host_address.map(|address| address.to_string()).unwrap_or_default();
        let binding = json!({ "HostIp": address, "HostPort": host });
        let list = bindings.entry(key).or_insert_with(|| json!([]));
        if let Some(list) = list.as_array_mut() {
            list.push(binding);
        }
    }
    host_config["NetworkMode"] = wish.network.as_str().into();
    host_config["PublishAllPorts"] = wish.publish_all.into();
    host_config["PortBindings"] = bindings.into();
    host_config["Dns"] = json!(wish.dns.servers);
    host_config["DnsSearch"] = json!(wish.dns.search);
    host_config["DnsOptions"] = json!(wish.dns.options);
    host_config["ExtraHosts"] = json!(wish.extra_hosts);
}

/// Docker's set of ports that the container says it listens on: what is published is exposed, too.
pub(crate) fn exposed(record: &Record) -> Map<String, Value> {
    let wish = &record.network;
    let published = wish.publish.iter().flat_map(|text| port::parse(text).unwrap_or_default());
    let published =
        published.map(|request| format!("{}/{}", request.container_port, request.protocol));
    wish.exposed.iter().cloned().chain(published).map(|port| (port, json!({}))).collect()
}
