//! `nman network create`

use crate::cli::NetworkCreateArgs;
use crate::clock::Timestamp;
use crate::connection::ground;
use crate::connection::identity::PREDEFINED;
use crate::container::ContainerId;
use crate::error::{Error, Result};
use crate::event::{self, Kind};
use crate::network::definition::creation::Draft;
use crate::network::{self, State, definition};
use crate::notice;
use crate::settings::Settings;
use std::collections::BTreeMap;

/// CNI's versions that we write, the newest first.
const VERSION: &str = "1.0.0";

/// Makes a network; returns its id. Notes what it hides from the host.
///
/// # Errors
/// The name is taken, what was asked for does not fit together, or there is no such plug-in.
pub fn create(settings: &Settings, args: &NetworkCreateArgs) -> Result<String> {
    let name = args.name.as_str();
    if PREDEFINED.contains(&name) || matches!(name, "bridge" | "default") {
        return Err(Error::WrongState {
            message: format!("operation is not permitted on predefined {name} network"),
            hint: None,
        });
    }
    ground::refuse_driver(settings, &args.driver)?;
    let mut host = ground::facts(settings, None)?;
    // One at a time: two that choose a subnet at once must not choose the same.
    let _lock = State::open(&settings.state)?.lock_definitions()?;
    let others = definition::list(&settings.root)?;
    if name == definition::DEFAULT_NAME || others.iter().any(|other| other.name == args.name) {
        return Err(network::Error::NetworkExists { name: name.to_owned() }.into());
    }
    let draft = draft(args)?;
    let text = draft.conflist(&others, &host)?;
    if draft.driver != "bridge" {
        network::check_plugin(&draft.driver, VERSION)?;
        check_parent(&draft)?;
    }
    // A user's networks stand on no link of the host's.
    if let (Some(bridge), false) = (draft.named_bridge()?, settings.rootless) {
        host.leave_out(&bridge)?;
    }
    definition::write_new(&settings.root, &draft.name, &text)?;
    let attributes = [("name", name), ("type", draft.driver.as_str())];
    event::emit(settings, Kind::Network, "create", &draft.id, &attributes);
    if draft.driver == "bridge" {
        for (subnet, route) in draft.hidden_routes(&host) {
            notice::note(format!(
                "the host has a route to {route}, which subnet {subnet} overlaps: what is there is out of reach while the network is in use"
            ));
        }
    }
    Ok(draft.id)
}

/// A network that stands on no link would be found out by its first container.
fn check_parent(draft: &Draft) -> Result<()> {
    let Some(parent) = draft.parent()? else { return Ok(()) };
    if network::host::has_link(&parent)? {
        return Ok(());
    }
    let hint = match parent.as_str().rsplit_once('.') {
        Some((link, tag)) => format!(
            "a VLAN's is made first: `ip link add link {link} name {parent} type vlan id {tag}`"
        ),
        None => "`ip link` shows those that there are".to_owned(),
    };
    Err(Error::WrongState {
        message: format!("parent interface {parent} does not exist"),
        hint: Some(hint),
    })
}

fn draft(args: &NetworkCreateArgs) -> Result<Draft> {
    let mut aux_addresses = BTreeMap::new();
    for (at, (name, address)) in args.aux_address.iter().enumerate() {
        let name = if name.is_empty() { at.to_string() } else { name.clone() };
        aux_addresses.insert(name, *address);
    }
    Ok(Draft {
        name: args.name.clone(),
        id: ContainerId::random().to_string(),
        created: Timestamp::now(),
        driver: args.driver.clone(),
        subnets: args.subnet.clone(),
        gateways: args.gateway.clone(),
        ranges: args.ip_range.clone(),
        ipv6: args.ipv6,
        ipv4: args.ipv4,
        internal: args.internal,
        attachable: args.attachable,
        labels: pairs(&args.label),
        options: pairs(&args.options),
        aux_addresses,
    })
}

fn pairs(texts: &[String]) -> BTreeMap<String, String> {
    let pair = |text: &String| {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        (key.to_owned(), value.to_owned())
    };
    texts.iter().map(pair).collect()
}
