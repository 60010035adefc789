//! Where networks stand: root's in the host's network namespace, a user's in one of the user's own.
//!
//! The user's is made when the first container is put onto a network, and goes with the last. Its way out is the program that
//! connects single containers of users, started for it once: the bridges' traffic is forwarded there, as root's is to the host's
//! interfaces. Where that program has ended, or could not be started, whoever connects next tries again.

use super::carrier;
use crate::error::{Error, Result};
use crate::network::{self, Carrier, Definition, HostFacts, PortRequest, Protocol, State, netns};
use crate::notice;
use crate::rootless::{netns as user, scope};
use crate::settings::Settings;
use std::fs;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What the way out is called in the user's namespace.
const INTERFACE: &str = "uplink";

/// How long somebody who only looks, or takes something away, keeps whoever leaves waiting.
const PATIENCE: Duration = Duration::from_secs(1);

/// The networks, while a container is being connected: as long as this is kept, a user's namespace is neither taken away nor made
/// by somebody else.
pub(super) struct Ground<'a> {
    pub(super) state: State,
    _place: Option<user::Place<'a>>,
}

/// Where the program that is the way out has its files.
fn uplink(settings: &Settings) -> PathBuf {
    settings.state.join("network/uplink")
}

impl<'a> Ground<'a> {
    /// Has networks stand, with their way out.
    ///
    /// # Errors
    /// There is no namespace to be had. That nothing outside is reached is told, and no error: neighbours are.
    pub(super) fn hold(settings: &'a Settings) -> Result<Self> {
        let state = State::open(&settings.state)?;
        if !settings.rootless {
            return Ok(Self { state, _place: None });
        }
        let place = user::Place::lock(settings)?;
        let namespace = match place.find()? {
            Some(namespace) => namespace,
            None => {
                // What another one has left.
                carrier::disconnect(&uplink(settings))?;
                place.make()?
            }
        };
        refuse_from_within(&namespace)?;
        if let Err(error) = provide_uplink(&uplink(settings), &place) {
            notice::note(format!(
                "containers on networks with a bridge reach nothing outside: {error}"
            ));
        }
        Ok(Self { state: state.within(namespace), _place: Some(place) })
    }
}

/// Refuses who is in the namespace that the networks stand in: to them it would be the host's, in which ports are published and the
/// way out begins.
fn refuse_from_within(namespace: &OwnedFd) -> Result<()> {
    if netns::name(netns::current()?.as_fd())? == netns::name(namespace.as_fd())? {
        return Err(Error::WrongState {
            message: "cannot connect a container from within the user's network namespace"
                .to_owned(),
            hint: Some("leave `nman unshare --rootless-netns` first".to_owned()),
        });
    }
    Ok(())
}

/// Starts the way out, unless it is there.
fn provide_uplink(directory: &Path, place: &user::Place<'_>) -> Result<()> {
    crate::container::make_private(directory)?;
    if carrier::process(directory).is_some() {
        return Ok(());
    }
    let gone = || Error::system("find the network namespace")(rustix::io::Errno::SRCH);
    let link = directory.join("netns");
    let _ = fs::remove_file(&link);
    std::os::unix::fs::symlink(user::path_of(place.holder().ok_or_else(gone)?), &link)
        .map_err(Error::io("make", &link))?;
    carrier::connect_any(directory, INTERFACE)?;
    if let Some(pid) = carrier::process(directory).and_then(|pid| u32::try_from(pid).ok()) {
        scope::shelter("uplink", "way out of the network namespace", pid);
    }
    Ok(())
}

/// The networks as they stand, for whoever looks at them or takes something down. What was in a user's namespace that is gone has gone
/// with it: an empty one, in which nothing of it is found, takes its place.
///
/// # Errors
/// The state directory cannot be read, or no namespace be made.
pub fn networks(settings: &Settings) -> Result<State> {
    let state = State::open(&settings.state)?;
    if !settings.rootless {
        return Ok(state);
    }
    let namespace = match namespace(settings)? {
        Some(namespace) => namespace,
        None => netns::create()?,
    };
    Ok(state.within(namespace))
}

/// A user's namespace, if it is there. Whoever connects a container in it is not waited for: monitors come here, too.
///
/// # Errors
/// Its place cannot be locked, or the process not be started that holds what was found with a monitor.
pub fn namespace(settings: &Settings) -> Result<Option<OwnedFd>> {
    let mut found = None;
    let place = user::Place::lock_unless(settings, || {
        found = user::current(settings);
        Ok(found.is_some())
    })?;
    match place {
        Some(place) => place.find(),
        None => Ok(found),
    }
}

/// Where a user's namespace can be opened, and what is its way out, as far as they are there. Nothing is entered or locked for it.
#[must_use]
pub fn describe(settings: &Settings) -> (Option<PathBuf>, Option<Carrier>) {
    (user::holder(settings).map(user::path_of), carrier::program(&uplink(settings)))
}

/// The networks for whoever puts back what is lost of them: a user's namespace is made anew where a container needs one, and its way out
/// started.
///
/// # Errors
/// As [`networks`], and what is on record cannot be read.
pub fn mend(settings: &Settings) -> Result<State> {
    match State::open(&settings.state)?.connected()?.is_empty() {
        true => networks(settings),
        false => Ground::hold(settings).map(|ground| ground.state),
    }
}

/// What planning has to know where networks stand. `state` is that of a user's networks where they stand already. A user's traffic leaves by
/// the host's interfaces in the end: what the host has a route to is out of reach below a subnet of that kind.
///
/// # Errors
/// netlink is refused.
pub fn facts(settings: &Settings, state: Option<&State>) -> network::Result<HostFacts> {
    if !settings.rootless {
        return HostFacts::probe();
    }
    let mut facts = match state {
        Some(state) => state.run(HostFacts::probe)?,
        None => HostFacts::default(),
    };
    facts.add_routes()?;
    facts.routes.extend(carrier::subnet());
    Ok(facts)
}

/// What only a network with IPv6 has to know.
///
/// # Errors
/// netlink is refused, or the kernel has no IPv6.
pub(super) fn add_ipv6(
    settings: &Settings,
    state: &State,
    facts: &mut HostFacts,
) -> network::Result<()> {
    state.run(|| facts.probe_ipv6())?;
    // Of a user's, the host's own [::1] is served by a process, not by the packet filter.
    facts.bridge_filters_ipv6 &= !settings.rootless;
    Ok(())
}

/// Refuses a network that stands on an interface of the host, which a user cannot give away.
///
/// # Errors
/// A user calls.
pub fn refuse_driver(settings: &Settings, driver: &str) -> Result<()> {
    if !settings.rootless || driver == "bridge" {
        return Ok(());
    }
    Err(Error::Rejected {
        message: format!(
            "cannot use driver `{driver}`: without root, a network stands on no interface of the host"
        ),
        hint: Some("leave --driver out for a network with a bridge".to_owned()),
    })
}

/// The same of a network that is there: its definition may have been written by hand.
///
/// # Errors
/// As [`refuse_driver`].
pub(super) fn refuse_foreign(settings: &Settings, definition: &Definition) -> Result<()> {
    match definition.bridge() {
        Some(_) => Ok(()),
        None => refuse_driver(settings, definition.driver_name()),
    }
}

/// Refuses ports of a protocol that no process passes on.
///
/// # Errors
/// A user calls, and asks for one.
pub(super) fn refuse_ports(settings: &Settings, requests: &[PortRequest]) -> Result<()> {
    match requests.iter().find(|request| request.protocol == Protocol::Sctp) {
        Some(request) if settings.rootless => Err(carrier::no_sctp(request)),
        _ => Ok(()),
    }
}

/// Takes a user's namespace away, with its way out, once no container is connected any more.
///
/// Whoever is connecting one needs it, and leaves it as well if that fails: it is not waited for beyond a moment.
///
/// # Errors
/// What is on record cannot be read, or the way out does not end.
pub fn leave(settings: &Settings) -> Result<()> {
    if !settings.rootless {
        return Ok(());
    }
    let state = State::at(&settings.state);
    let begun = Instant::now();
    let is_needless = || Ok(!state.connected()?.is_empty() || begun.elapsed() > PATIENCE);
    let Some(place) = user::Place::lock_unless(settings, is_needless)? else { return Ok(()) };
    if state.connected()?.is_empty() {
        carrier::disconnect(&uplink(settings))?;
        place.end()?;
    }
    Ok(())
}

/// What is wrong with a user's namespace, if it is there.
///
/// # Errors
/// What is on record cannot be read.
pub fn check(settings: &Settings) -> Result<Option<&'static str>> {
    if !settings.rootless {
        return Ok(None);
    }
    let Some(place) = user::Place::lock_known(settings)? else { return Ok(None) };
    let is_used = !State::at(&settings.state).connected()?.is_empty();
    let has_uplink = carrier::process(&uplink(settings)).is_some();
    Ok(match (place.find()?, is_used) {
        (Some(_), false) => {
            Some("the user's network namespace is there, and no container is in it")
        }
        (None, true) => Some("the user's network namespace is gone"),
        (Some(_), true) if !has_uplink => {
            Some("the user's network namespace has no way out: what was it has ended")
        }
        _ => None,
    })
}
