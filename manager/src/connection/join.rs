//! One container onto one network.

use super::ground;
use super::identity;
use super::order::Placed;
use super::publication::Publication;
use crate::container::{ContainerId, Record};
use crate::error::{Error, Result};
use crate::event::{self, Kind};
use crate::network::plan::carrying::arrange;
use crate::network::port::{self, PortMapping, PortRequest, Reservation};
use crate::network::{
    self, Appearance, Definition, Lease, NetworkPlan, State, definition, ipam, names, orphan,
};
use crate::settings::Settings;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::BorrowedFd;

/// What connecting a container to a network takes.
pub(super) struct Joining<'a> {
    pub(super) settings: &'a Settings,
    pub(super) state: &'a State,
    pub(super) record: &'a Record,
    pub(super) placed: Placed<'a>,
}

impl Joining<'_> {
    /// Connects, and publishes the ports that no network carries yet and that one can.
    pub(super) fn join(
        &self,
        netns: BorrowedFd<'_>,
        publication: &mut Publication,
    ) -> Result<NetworkPlan> {
        let mut host = ground::facts(self.settings, Some(self.state))?;
        let wanted = self.placed.endpoint.network.as_str();
        let definition = definition::find(&self.settings.root, wanted, &host)?;
        ground::refuse_foreign(self.settings, &definition)?;
        if definition.has_ipv6() {
            ground::add_ipv6(self.settings, self.state, &mut host)?;
        }
        if let Some(bridge) = definition.bridge() {
            self.state.run(|| host.probe_bridge(&bridge.name))?;
        }
        let container = &self.record.id;
        let addresses = self.placed.endpoint.wishes.addresses();
        // From the choice of an address on: another state directory may have containers on the same bridge.
        let lock = self.state.lock()?;
        let mut taken = orphan::strays(self.state, &lock)?;
        taken.extend(host.lent.iter().flatten());
        let lease = ipam::reserve(self.state, &definition, container, &addresses, &taken)?;
        // The host's ports stay taken until the rules are in place.
        let reservation = self.reserve(&definition, &lease, publication)?;
        let appearance = self.appearance()?;
        let plan = network::plan(&definition, &lease, &appearance, &reservation.ports, &host)?;
        network::apply_locked(self.state, &plan, netns, &lock)?;
        drop(lock);
        // The record keeps it from here on; until now nothing did.
        if let Err(error) = definition::confirm(&self.settings.root, &definition.name) {
            network::remove(self.state, &plan, Some(netns))?;
            return Err(error.into());
        }
        tell(self.settings, "connect", &plan);
        // A plug-in has put its own addresses into the record.
        Ok(self.state.connection(container, &definition.name)?.unwrap_or(plan))
    }

    fn reserve(
        &self,
        definition: &Definition,
        lease: &Lease,
        publication: &mut Publication,
    ) -> Result<Reservation> {
        if !definition.publishes() {
            return Ok(Reservation::default());
        }
        let has = |v6: bool| lease.addresses.iter().any(|leased| leased.address.is_ipv6() == v6);
        let everywhere = everywhere(definition, lease);
        let [v4, v6] = self.placed.carries;
        let requests = publication.requests(v4 && has(false), v6 && has(true), &everywhere);
        if requests.is_empty() {
            return Ok(Reservation::default());
        }
        ground::refuse_ports(self.settings, &requests)?;
        let reservation = port::reserve(&requests, &everywhere, &self.state.published()?)?;
        publication.carried(&reservation.ports);
        Ok(reservation)
    }

    fn appearance(&self) -> Result<Appearance> {
        let Record { id, name, network, .. } = self.record;
        let Placed { endpoint, number, interface, rank, .. } = &self.placed;
        let wishes = &endpoint.wishes;
        let mut known = vec![id.short().to_owned(), network.hostname.to_ascii_lowercase()];
        known.extend(wishes.aliases.iter().cloned());
        known.retain(|name| names::is_valid(name));
        known.sort_unstable();
        known.dedup();
        Ok(Appearance {
            container_name: name.to_string(),
            names: known,
            number: *number,
            interface: Some(interface.clone()),
            mac: wishes.mac,
            addresses: wishes.addresses(),
            sysctls: wishes.sysctls().map_err(Error::refusal)?,
            link_local: wishes.link_local.clone(),
            gw_priority: wishes.gw_priority,
            rank: *rank,
        })
    }
}

/// Has the ports of a running container, and `left` of a network that it has left, published each on the first of its networks that can,
/// in the order of their default routes.
///
/// # Errors
/// Somebody else has taken a port of `left` meanwhile, or the rules are refused.
pub(super) fn arrange_ports(
    settings: &Settings,
    state: &State,
    container: &ContainerId,
    left: &[PortMapping],
) -> Result<()> {
    let mut plans = state.connected_to(container)?;
    if left.is_empty() && plans.iter().all(|plan| plan.ports.is_empty()) {
        return Ok(());
    }
    plans.sort_by_key(NetworkPlan::rank);
    let host = ground::facts(settings, Some(state))?;
    let mut carriers = Vec::new();
    for plan in plans.into_iter().filter(|plan| plan.rules().is_some()) {
        if definition::load(&settings.root, &plan.network, &host)?.publishes() {
            carriers.push(plan);
        }
    }
    let has_home = |port: &&PortMapping| carriers.iter().any(|plan| plan.reaches(port));
    let requests: Vec<_> = left.iter().filter(has_home).map(PortRequest::again).collect();
    // The host's ports stay taken until the rules are in place.
    let reservation = port::reserve(&requests, &[], &state.published()?)?;
    network::publish(state, &arrange(&carriers, &reservation.ports))?;
    Ok(())
}

/// The host's addresses that a `-p` without one stands for: those of the families that the container has.
fn everywhere(definition: &Definition, lease: &Lease) -> Vec<IpAddr> {
    if let Some(address) = definition.host_binding() {
        return vec![address.into()];
    }
    let v6 = lease.addresses.iter().any(|leased| leased.address.is_ipv6());
    let v4 = !v6 || lease.addresses.iter().any(|leased| leased.address.is_ipv4());
    let every = [(v4, Ipv4Addr::UNSPECIFIED.into()), (v6, Ipv6Addr::UNSPECIFIED.into())];
    every.into_iter().filter(|(has, _)| *has).map(|(_, address)| address).collect()
}

/// Tells the same of `none` and of `host`, which nobody is joined to.
pub(super) fn tell_predefined(
    settings: &Settings,
    action: &str,
    container: &ContainerId,
    network: &network::NetworkName,
) {
    let kind = identity::predefined_driver(network.as_str());
    let attributes =
        [("container", container.as_str()), ("name", network.as_str()), ("type", kind)];
    let id = identity::id_of(settings, network);
    event::emit(settings, Kind::Network, action, &id, &attributes);
}

/// Tells that a container has come to a network, or left it.
pub(super) fn tell(settings: &Settings, action: &str, plan: &NetworkPlan) {
    let (container, name) = (plan.container.as_str(), plan.network.as_str());
    let attributes = [("container", container), ("name", name), ("type", plan.driver.as_str())];
    event::emit(settings, Kind::Network, action, &plan.network_id, &attributes);
}
