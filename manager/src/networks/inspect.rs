//! `nman network inspect`: Docker's fields.

use super::name_of;
use crate::cli::NetworkInspectArgs;
use crate::connection::ground;
use crate::connection::identity::{
    PREDEFINED, SHORTEST_ID, endpoint_id, hex, predefined_by_id, predefined_driver,
};
use crate::error::{Error, Result};
use crate::listing;
use crate::network::{Definition, NetworkPlan, State, definition};
use crate::settings::Settings;
use serde_json::{Map, Value, json};

/// The networks that were found, as text, and what went wrong with the others.
///
/// # Errors
/// A mistake in the template.
pub fn inspect(settings: &Settings, args: &NetworkInspectArgs) -> Result<(String, Vec<Error>)> {
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    for name in &args.names {
        match one(settings, name) {
            Ok(object) => found.push(object),
            Err(error) => errors.push(error),
        }
    }
    Ok((listing::objects(args.format.as_deref(), &found)?, errors))
}

pub(crate) fn one(settings: &Settings, name: &str) -> Result<Value> {
    if PREDEFINED.contains(&name) {
        return Ok(object_of_predefined(name));
    }
    let found = definition::find(&settings.root, name, &ground::facts(settings, None)?);
    // What `network ls` shows of them, in full or cut off.
    let definition = match (found, predefined_by_id(name, SHORTEST_ID)) {
        (Err(_), Some(one)) => return Ok(object_of_predefined(one)),
        (found, _) => found?,
    };
    let members = State::at(&settings.state).members(&definition.name)?;
    let containers: Map<String, Value> =
        members.iter().map(|plan| member(settings, plan)).collect();
    let about = &definition.about;
    let ranges = definition.ranges();
    Ok(json!({
        "Name": definition.name.as_str(),
        "Id": definition.id(),
        "Created": about.created,
        "Scope": "local",
        "Driver": definition.driver_name(),
        "EnableIPv4": ranges.iter().any(|range| range.subnet.network().is_ipv4()),
        "EnableIPv6": definition.has_ipv6(),
        "IPAM": { "Driver": "default", "Options": {}, "Config": pools(&definition) },
        "Internal": about.internal,
        "Attachable": about.attachable,
        "Ingress": false,
        "ConfigFrom": { "Network": "" },
        "ConfigOnly": false,
        "Containers": containers,
        "Options": about.options,
        "Labels": about.labels,
        "Bridge": definition.bridge().map(|bridge| bridge.name.as_str()),
    }))
}

fn pools(definition: &Definition) -> Vec<Value> {
    let pool = |range: &definition::Range| {
        let mut pool = json!({ "Subnet": range.subnet, "Gateway": range.gateway });
        if !range.is_whole() {
            let ends = || format!("{}-{}", range.first(), range.last());
            pool["IPRange"] = range.prefix().map_or_else(ends, |prefix| prefix.to_string()).into();
        }
        let inside = definition.about.aux_addresses.iter();
        let aux: Map<String, Value> = inside
            .filter(|(_, address)| range.subnet.contains(**address))
            .map(|(name, address)| (name.clone(), json!(address)))
            .collect();
        if !aux.is_empty() {
            pool["AuxiliaryAddresses"] = aux.into();
        }
        pool
    };
    definition.ranges().iter().map(pool).collect()
}

fn member(settings: &Settings, plan: &NetworkPlan) -> (String, Value) {
    let address = |v6: bool| {
        let leased = plan.addresses.iter().find(|leased| leased.address.is_ipv6() == v6);
        leased.map_or_else(String::new, |leased| {
            format!("{}/{}", leased.address, leased.subnet.prefix())
        })
    };
    let object = json!({
        "Name": name_of(settings, plan),
        "EndpointID": endpoint_id(plan),
        "MacAddress": plan.mac.map_or_else(String::new, |mac| mac.to_string()),
        "IPv4Address": address(false),
        "IPv6Address": address(true),
    });
    (plan.container.to_string(), object)
}

/// `host` and `none`.
fn object_of_predefined(name: &str) -> Value {
    json!({
        "Name": name, "Id": hex(name), "Created": null, "Scope": "local",
        "Driver": predefined_driver(name),
        "EnableIPv4": name == "host", "EnableIPv6": false,
        "IPAM": { "Driver": "default", "Options": {}, "Config": [] },
        "Internal": false, "Attachable": false, "Ingress": false,
        "ConfigFrom": { "Network": "" }, "ConfigOnly": false,
        "Containers": {}, "Options": {}, "Labels": {},
    })
}
