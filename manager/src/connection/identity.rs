//! What networks, and connections to them, are called by: ids, and the networks that are there without a definition.

use super::ground;
use crate::network::{NetworkName, NetworkPlan, definition};
use crate::settings::Settings;
use bundle::digest::Digest;

/// The networks that are there without a definition.
pub(crate) const PREDEFINED: [&str; 2] = ["host", "none"];

/// Docker's name of the driver of one of them.
pub(crate) fn predefined_driver(name: &str) -> &str {
    if name == "none" { "null" } else { name }
}

/// Fewer letters are more likely a name that was mistyped.
pub(crate) const SHORTEST_ID: usize = 4;

/// What `network ls` shows of an id.
const SHOWN: usize = 12;

/// Which of the networks without a definition is meant by a name or an id, if one is.
pub(crate) fn predefined(wanted: &str) -> Option<&'static str> {
    let named = PREDEFINED.into_iter().find(|name| *name == wanted);
    named.or_else(|| predefined_by_id(wanted, SHOWN))
}

/// The same by the beginning of an id, which has to have so many letters.
pub(crate) fn predefined_by_id(wanted: &str, shortest: usize) -> Option<&'static str> {
    PREDEFINED.into_iter().find(|name| wanted.len() >= shortest && hex(name).starts_with(wanted))
}

/// The id of a network that a container is on; none if it is no more.
pub(crate) fn id_of(settings: &Settings, network: &NetworkName) -> String {
    if PREDEFINED.contains(&network.as_str()) {
        return hex(network.as_str());
    }
    let found = ground::facts(settings, None)
        .and_then(|host| definition::find(&settings.root, network.as_str(), &host));
    found.map(|definition| definition.id()).unwrap_or_default()
}

/// Docker's id of a connection: the same as long as both ends are.
pub(crate) fn endpoint_id(plan: &NetworkPlan) -> String {
    hex(&format!("{}@{}", plan.container, plan.network))
}

/// The id of what has no other: the digest of what it is called.
pub(crate) fn hex(text: &str) -> String {
    Digest::of(text.as_bytes()).hex().to_owned()
}
