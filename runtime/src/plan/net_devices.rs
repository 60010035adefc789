//! Deciding which network devices are moved into the container, and under which names.

use super::Error;
use crate::host::Host;
use oci_spec::runtime::Linux;

/// A network device to move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetDevice {
    /// Its name on the host.
    pub name: String,
    /// Its name in the container.
    pub new_name: String,
    /// JSON pointer to it.
    pub pointer: String,
}

/// The devices of config.json in the order of their names: a list in another order each time would be no plan.
///
/// # Errors
/// Without privilege over the host's network.
pub fn plan(linux: Option<&Linux>, host: &Host) -> Result<Vec<NetDevice>, Error> {
    let Some(wanted) = linux.and_then(|linux| linux.net_devices().as_ref()) else {
        return Ok(Vec::new());
    };
    if !wanted.is_empty() && !host.privileged() {
        return Err(Error::new("/linux/netDevices", "only root can move network devices"));
    }
    let mut names: Vec<&String> = wanted.keys().collect();
    names.sort_unstable();
    let device = |name: &String| NetDevice {
        name: name.clone(),
        new_name: wanted[name].name().clone().filter(|new| !new.is_empty()).unwrap_or(name.clone()),
        pointer: format!("/linux/netDevices/{name}"),
    };
    Ok(names.into_iter().map(device).collect())
}
