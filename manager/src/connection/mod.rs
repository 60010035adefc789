//! A container's way into its networks: from what was asked for to a namespace that is connected.
//!
//! The namespace is bound to a file of the container's directory, in the mount namespace of its monitor: config.json
//! can name it before anything runs, and nothing has to be removed when everything dies.

mod attendant;
mod carrier;
mod files;
pub mod ground;
pub(crate) mod identity;
mod isolated;
mod join;
mod live;
mod membership;
mod order;
mod publication;

pub use carrier::published as published_by_user;
pub use live::{connect_to_network, disconnect_from_network};
pub use membership::endpoints;

use crate::bundle::NetworkNamespace;
use crate::bundle::host::HostFacts;
use crate::container::{ContainerId, Containers, Dir, NetworkWish, Record, Status};
use crate::error::{Error, Result};
use crate::network::resolver::{self, Resolver, Upstream};
use crate::network::{self, Carrier, Mode, NetworkName, NetworkPlan, State, ipam, orphan};
use crate::settings::Settings;
use crate::source::Source;
use attendant::Attendant;
use bundle::reason::reason;
use ground::Ground;
use join::Joining;
use publication::Publication;
use rustix::fs::{Mode as FileMode, OFlags, fstatfs};
use rustix::io::Errno;
use rustix::mount::mount_bind;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

/// Says that another container has come into a container's namespace, which then may outlive it.
const SHARED: &str = "netns.shared";

/// The program that connects containers without root where nothing is said about it, if there is one.
#[must_use]
pub fn carrier() -> Option<Carrier> {
    carrier::preferred()
}

/// The process that connects a container, if it is one of a user without root and has one.
#[must_use]
pub fn carried_by(dir: &Dir) -> Option<i32> {
    carrier::process(dir.path())
}

/// Where a container's network namespace is bound.
#[must_use]
pub fn namespace_path(dir: &Dir) -> PathBuf {
    dir.join("netns")
}

/// What config.json says about the network.
#[must_use]
pub fn namespace(mode: &Mode, dir: &Dir) -> NetworkNamespace {
    match mode {
        Mode::Host => NetworkNamespace::Host,
        Mode::None => NetworkNamespace::New,
        Mode::Container(_) | Mode::Namespace(_) | Mode::User(_) | Mode::Network(_) => {
            NetworkNamespace::Prepared(namespace_path(dir))
        }
    }
}

/// Makes what `--network` says last: another container is known by its id from then on, whatever it is called later.
///
/// # Errors
/// There is no such container.
pub fn resolve(settings: &Settings, mode: Mode) -> Result<Mode> {
    let Mode::Container(name) = mode else { return Ok(mode) };
    let dir = Containers::open(&settings.containers())?.find(&name)?;
    Ok(Mode::Container(dir.record()?.id.to_string()))
}

/// The container's host name.
///
/// # Errors
/// A container whose network is shared has a host name of its own already.
pub fn hostname(
    settings: &Settings,
    wanted: Option<&str>,
    mode: &Mode,
    id: &ContainerId,
    host: &HostFacts,
) -> Result<String> {
    match (wanted, mode) {
        (Some(_), Mode::Container(_)) => {
            Err(Error::Usage("conflicting options: hostname and the network mode".to_owned()))
        }
        (None, Mode::Container(other)) => {
            let dir = Containers::open(&settings.containers())?.find(other)?;
            Ok(dir.record()?.network.hostname)
        }
        (Some(name), _) => Ok(name.to_owned()),
        (None, Mode::Host) => Ok(host.hostname.clone()),
        (None, _) => Ok(id.short().to_owned()),
    }
}

/// Connects a container to the networks that it is to be on, and writes the files about them that it sees.
///
/// # Errors
/// With whatever is connected by then still on record, for [`disconnect`].
pub fn connect(settings: &Settings, record: &Record, dir: &Dir) -> Result<()> {
    let mode = mode(&record.network)?;
    let plans = match mode {
        Mode::Host => Vec::new(),
        Mode::None if !membership::has_changed(dir) => Vec::new(),
        Mode::Container(other) => {
            let (namespace, theirs) = share(settings, &other)?;
            keep(&namespace, &namespace_path(dir))?;
            return files::copy(&theirs, record, dir);
        }
        Mode::Namespace(path) => {
            keep(&foreign_namespace(&path)?, &namespace_path(dir))?;
            Vec::new()
        }
        Mode::User(carrier) => {
            let namespace = isolated::create_namespace(dir)?;
            keep(&namespace, &namespace_path(dir))?;
            let _ = std::fs::remove_file(dir.join(SHARED));
            carrier::connect(carrier, record, dir)?;
            Vec::new()
        }
        Mode::None | Mode::Network(_) => {
            if mode == Mode::None {
                isolated::name_namespace(record, dir)?;
            }
            let namespace = isolated::create_namespace(dir)?;
            keep(&namespace, &namespace_path(dir))?;
            // The namespace is a new one, which nobody shares yet.
            let _ = std::fs::remove_file(dir.join(SHARED));
            connect_all(settings, record, dir, &namespace)?
        }
    };
    files::write(settings, record, dir, &plans)
}

fn connect_all(
    settings: &Settings,
    record: &Record,
    dir: &Dir,
    namespace: &OwnedFd,
) -> Result<Vec<NetworkPlan>> {
    let mut publication = Publication::of(record)?;
    // Who takes it off a network meanwhile waits, and finds it there.
    let _lock = membership::lock(dir)?;
    let mut plans = Vec::new();
    let mut endpoints = membership::endpoints(record, dir)?;
    endpoints.retain(|endpoint| !endpoint.is_private());
    if endpoints.is_empty() {
        return Ok(plans);
    }
    let ground = Ground::hold(settings)?;
    for placed in order::place(settings, &ground.state, &endpoints)? {
        let joining = Joining { settings, state: &ground.state, record, placed };
        plans.push(joining.join(namespace.as_fd(), &mut publication)?);
    }
    publication.check()?;
    Ok(plans)
}

/// A network namespace that somebody else has made.
fn foreign_namespace(path: &Path) -> Result<OwnedFd> {
    let failed = |reason: String, hint: Option<&str>| Error::Rejected {
        message: format!("cannot join the network namespace {}: {reason}", path.display()),
        hint: hint.map(str::to_owned),
    };
    // A FIFO is not waited for.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let found = rustix::fs::open(path, flags, FileMode::empty()).map_err(|errno| {
        let is_missing = errno == Errno::NOENT;
        let hint = is_missing.then_some("`ip netns add NAME` makes /run/netns/NAME");
        failed(reason(&errno.into()), hint)
    })?;
    if !is_namespace(&found) {
        let gone = "what has made it may be gone: such a file is one only while it is bound there";
        return Err(failed("it is not a namespace".to_owned(), Some(gone)));
    }
    // The kernel says so of another kind, and of one that the caller has no right to.
    match network::netns::run_in(found.as_fd(), || Ok(())) {
        Ok(()) => Ok(found),
        Err(network::Error::Kernel { source, .. }) if source.is_permission() => Err(failed(
            "operation not permitted".to_owned(),
            Some(
                "without root it has to be of your own containers' user namespace: `nman unshare` leads there",
            ),
        )),
        Err(network::Error::Kernel { source, .. }) if source.errno() == Some(Errno::INVAL) => {
            Err(failed("it is a namespace of another kind".to_owned(), None))
        }
        Err(error) => Err(error.into()),
    }
}

/// Another container's namespace, and that container's directory.
fn share(settings: &Settings, other: &str) -> Result<(OwnedFd, Dir)> {
    let found = Containers::open(&settings.containers())?.find(other);
    let dir = found.map_err(|error| match error {
        Error::NoSuchContainer(_) => Error::WrongState {
            message: format!("cannot join network of container {other}, which is no more"),
            hint: Some(
                "make this one anew, with `--network container:NAME` of one that is there"
                    .to_owned(),
            ),
        },
        other => other,
    })?;
    // Before it is opened: from here on, its monitor does not count on the namespace's end.
    // All that it says is that it is there: several may make it at once.
    let shared = dir.join(SHARED);
    std::fs::File::create(&shared).map_err(Error::io("make", &shared))?;
    match running_namespace(&dir)? {
        Some(namespace) => Ok((namespace, dir)),
        None => Err(Error::WrongState {
            message: format!("cannot join network of a non running container: {other}"),
            hint: Some(format!("start it with `nman start {}`", dir.record()?.name)),
        }),
    }
}

/// The network namespace of a container's init, while it runs.
fn running_namespace(dir: &Dir) -> Result<Option<OwnedFd>> {
    let state = dir.state()?;
    let init = state.status.has_process().then(|| dir.init(&state)).flatten();
    let Some(init) = init else { return Ok(None) };
    match init.open_file("ns/net", OFlags::RDONLY) {
        // It has ended, and its monitor has not come to write that down.
        Err(Errno::SRCH) => Ok(None),
        opened => opened.map(Some).map_err(Error::system("open the container's network namespace")),
    }
}

/// Binds a namespace to a file, in our own mount namespace.
fn keep(namespace: &OwnedFd, path: &Path) -> Result<()> {
    std::fs::write(path, "").map_err(Error::io("write", path))?;
    let source = format!("/proc/self/fd/{}", namespace.as_raw_fd());
    mount_bind(source, path).map_err(Error::io("bind the network namespace to", path))
}

/// The namespace that is bound to the container's file, seen from its monitor's mount namespace.
fn kept(dir: &Dir) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::open(namespace_path(dir), flags, FileMode::empty()).ok()?;
    Some(file).filter(is_namespace)
}

/// The namespace of a container that is up, seen from anywhere: its init's, or what its monitor keeps in the pause before a
/// restart.
fn held_namespace(dir: &Dir) -> Result<Option<OwnedFd>> {
    let state = dir.state()?;
    if state.status != Status::Restarting {
        return running_namespace(dir);
    }
    let inside = format!("root{}", namespace_path(dir).display());
    let file = dir.monitor(&state).and_then(|it| it.open_file(&inside, OFlags::RDONLY).ok());
    Ok(file.filter(is_namespace))
}

/// Whether a file is a namespace that is bound there, and not only the file.
fn is_namespace(file: &OwnedFd) -> bool {
    /// NSFS_MAGIC
    const NAMESPACE: i64 = 0x6e73_6673;
    fstatfs(file).is_ok_and(|found| found.f_type == NAMESPACE)
}

/// Whether a container is on record as connected, rightly or not.
///
/// # Errors
/// What is on record cannot be read.
pub fn is_on_record(settings: &Settings, id: &ContainerId) -> Result<bool> {
    Ok(!State::at(&settings.state).connected_to(id)?.is_empty())
}

/// The networks that a container is connected to although no record says so: the directory of the state was emptied below it.
#[must_use]
pub fn off_record(state: &State, record: &Record, dir: &Dir) -> Vec<NetworkName> {
    if !matches!(mode(&record.network), Ok(Mode::Network(_))) {
        return Vec::new();
    }
    let mut networks: Vec<NetworkName> = membership::endpoints(record, dir)
        .unwrap_or_default()
        .into_iter()
        .map(|endpoint| endpoint.network)
        .filter(|network| identity::predefined(network.as_str()).is_none())
        .collect();
    networks.retain(|network| matches!(state.connection(&record.id, network), Ok(None)));
    // One that ends is disconnected first, and then written down as ended.
    let runs = |state: crate::container::State| state.pid.is_some_and(|pid| dir.has_process(pid));
    if networks.is_empty() || !dir.state().is_ok_and(runs) { Vec::new() } else { networks }
}

/// Takes down what connects a container. Goes on after an error; nothing to take down is a success.
pub fn disconnect(settings: &Settings, record: &Record, dir: &Dir) -> Vec<Error> {
    match mode(&record.network) {
        Ok(Mode::Network(_)) => {}
        Ok(Mode::None) if membership::has_changed(dir) => {}
        Ok(Mode::User(_)) => return carrier::disconnect(dir.path()).err().into_iter().collect(),
        Ok(Mode::None | Mode::Host | Mode::Container(_) | Mode::Namespace(_)) => return Vec::new(),
        Err(error) => return vec![error],
    }
    disconnect_all(settings, &record.id, dir)
}

/// Takes down what is on record of a container's connections, whatever it was to be on.
pub fn disconnect_all(settings: &Settings, id: &ContainerId, dir: &Dir) -> Vec<Error> {
    let state = match ground::networks(settings) {
        Ok(state) => state,
        Err(error) => return vec![error],
    };
    let mut errors = match state.connected_to(id) {
        Ok(plans) => take_down(settings, &state, id, dir, &plans),
        Err(error) => vec![error],
    };
    errors.extend(ipam::release_all(&state, id));
    let of_carrier = carrier::disconnect(dir.path()).err();
    let of_ground = ground::leave(settings).err();
    errors.into_iter().map(Error::from).chain(of_carrier).chain(of_ground).collect()
}

/// Takes connections down, the last that was made first, and tells of each.
fn take_down(
    settings: &Settings,
    state: &State,
    id: &ContainerId,
    dir: &Dir,
    plans: &[NetworkPlan],
) -> Vec<network::Error> {
    let mut errors = Vec::new();
    let (namespace, shared) = (kept(dir), dir.join(SHARED).exists());
    // What was on record of a container that still has its namespace was lost.
    if let Some(namespace) = namespace.as_ref().filter(|_| plans.is_empty()) {
        errors.extend(orphan::forget_strays_within(state, namespace.as_fd()).err());
    }
    let has_ground = !settings.rootless || state.namespace().is_some();
    if plans.is_empty() && has_ground {
        // The kernel does so as well, if later: a damaged record of another container keeps none from going.
        let _ = orphan::take_links(state, id);
    }
    for plan in plans.iter().rev() {
        let left = match &namespace {
            Some(namespace) if !shared => {
                network::remove_with_namespace(state, plan, namespace.as_fd())
            }
            _ => network::remove(state, plan, namespace.as_ref().map(OwnedFd::as_fd)),
        };
        match left {
            Ok(()) => join::tell(settings, "disconnect", plan),
            Err(error) => errors.push(error),
        }
    }
    errors
}

/// Tells that a container that is on `none` or on the host's network has come to it, or left it; nothing of any other.
pub fn tell_alone(settings: &Settings, action: &str, record: &Record, dir: &Dir) {
    for endpoint in membership::endpoints(record, dir).iter().flatten() {
        if identity::predefined(endpoint.network.as_str()).is_some() {
            join::tell_predefined(settings, action, &record.id, &endpoint.network);
        }
    }
}

/// Takes one connection of a container down that goes on, and tells.
fn leave(
    settings: &Settings,
    state: &State,
    plan: &NetworkPlan,
    namespace: Option<&OwnedFd>,
) -> network::Result<()> {
    network::remove(state, plan, namespace.map(|namespace| namespace.as_fd()))?;
    join::tell(settings, "disconnect", plan);
    Ok(())
}

/// What is wrong with a container's connection, by its link and by what foreign plug-ins say; nothing where it does not run.
#[must_use]
pub fn check(settings: &Settings, plan: &NetworkPlan) -> Vec<Error> {
    let namespace = Containers::open(&settings.containers())
        .and_then(|containers| held_namespace(&containers.dir(&plan.container)));
    let state = match ground::networks(settings) {
        Ok(state) => state,
        Err(error) => return vec![error],
    };
    match namespace {
        Ok(Some(namespace)) => {
            let link = network::check_link(&state, plan).err();
            let complaints = network::check_plugins(&state, plan, namespace.as_fd());
            link.into_iter().chain(complaints).map(Error::from).collect()
        }
        Ok(None) => Vec::new(),
        Err(error) => vec![error],
    }
}

/// What a container's monitor has to look after of its network: its resolver, on `none` whether it leaves that, and of a user's
/// container the ports that networks with a bridge publish. The namespace is looked for in the monitor's mount namespace.
///
/// # Errors
/// The sockets for it cannot be made, or a port is somebody else's by now.
pub fn source(settings: &Settings, record: &Record, dir: &Dir) -> Result<Option<Box<dyn Source>>> {
    let boxed = |resolver| Box::new(resolver) as Box<dyn Source>;
    let is_attended = match mode(&record.network)? {
        Mode::Host | Mode::Container(_) | Mode::Namespace(_) => return Ok(None),
        Mode::None => settings.rootless || kept(dir).is_none(),
        Mode::Network(_) => settings.rootless,
        Mode::User(_) => false,
    };
    match is_attended {
        true => Ok(Some(Box::new(Attendant::begin(settings, record, dir)?))),
        false => Ok(open_resolver(settings, record, dir)?.map(boxed)),
    }
}

fn open_resolver(settings: &Settings, record: &Record, dir: &Dir) -> Result<Option<Resolver>> {
    let Some(namespace) = kept(dir) else { return Ok(None) };
    let upstream = match record.network.dns.servers.as_slice() {
        [] => Upstream::Host,
        servers => Upstream::Fixed(servers.to_vec()),
    };
    let directory = resolver::Directory {
        state: State::at(&settings.state),
        names: settings.containers().join("names"),
        container: record.id.clone(),
    };
    Ok(Some(Resolver::open(namespace, directory, upstream)?))
}

fn mode(wish: &NetworkWish) -> Result<Mode> {
    Ok(wish.network.parse::<Mode>()?)
}
