//! `nman system check`: whether everything on disk is whole and belongs to something, and with `--repair` makes it so.

use crate::bundle;
use crate::connection::{self, ground};
use crate::container::{ContainerId, Containers, Dir, State};
use crate::error::{Error, Result};
use crate::network;
use crate::network::survey::Remedy;
use crate::pull;
use crate::rm;
use crate::settings::Settings;
use crate::snapshot::entries;
use crate::store::{self, Store};
use crate::volume::{Volumes, place};
use ::bundle::digest::ChainId;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the layers of containers are, below the root.
const ACTIVE: &str = "snapshots/active";

/// What was found.
#[derive(Debug, Default)]
pub struct Report {
    /// A line for each thing that is wrong, and what was done about it.
    pub text: String,
    /// How many of them still are.
    pub broken: usize,
}

impl Report {
    fn add(&mut self, what: &str, mended: Option<bool>, hint: &str) {
        let (state, hint) = match mended {
            Some(true) => ("repaired", ""),
            _ => ("damaged", hint),
        };
        if mended != Some(true) {
            self.broken += 1;
        }
        let line = format!("{state}: {}", crate::table::plain(what));
        self.text.push_str(&if hint.is_empty() {
            format!("{line}\n")
        } else {
            format!("{line} ({hint})\n")
        });
    }
}

/// Looks at everything, and mends what can be mended if `repair` says so.
pub fn check(settings: &Settings, repair: bool) -> Result<Report> {
    if repair {
        refuse_read_only(&settings.root)?;
    }
    let mut report = Report::default();
    // Containers first: what they leave behind keeps layers.
    check_containers(settings, repair, &mut report)?;
    check_definitions(settings, &mut report)?;
    if check_readable(settings, repair, &mut report)? {
        check_networks(settings, repair, &mut report)?;
        check_ground(settings, repair, &mut report)?;
        check_connections(settings, repair, &mut report)?;
        check_records(settings, repair, &mut report)?;
    }
    check_store(settings, repair, &mut report)?;
    check_volumes(settings, repair, &mut report)?;
    if report.text.is_empty() {
        report.text.push_str("No problems found\n");
    }
    Ok(report)
}

/// What cannot be written cannot be mended: of several things that are wrong, some would be, and the first of the others would end it.
fn refuse_read_only(root: &Path) -> Result<()> {
    use rustix::fs::{Access, access};
    match access(root, Access::WRITE_OK) {
        Err(errno @ rustix::io::Errno::ROFS) => Err(Error::io("repair", root)(errno)),
        _ => Ok(()),
    }
}

/// Networks whose definitions do not read back.
fn check_definitions(settings: &Settings, report: &mut Report) -> Result<()> {
    for (name, error) in network::definition::damaged(&settings.root)? {
        let hint = format!("`nman network rm -f {name}` removes it");
        report.add(&format!("network {name}: {error}"), None, &hint);
    }
    Ok(())
}

fn check_store(settings: &Settings, repair: bool, report: &mut Report) -> Result<()> {
    let store = Store::open(&settings.root)?;
    let up = running(settings, &store)?;
    for damage in store.verify()? {
        if let store::Remedy::Unpack(_, chain) = &damage.remedy
            && let Some((name, _)) = up.iter().find(|(_, chains)| chains.contains(chain))
        {
            // It has the layer mounted: what is taken away below it, it loses.
            report.add(&damage.what, None, &format!("container {name} runs on it: stop it first"));
            continue;
        }
        let unpack = |image: &store::Image| pull::unpack_again(&store, image).is_ok();
        let mended = if repair { Some(store.mend(&damage, unpack)?) } else { None };
        let what = match (&damage.remedy, mended) {
            (store::Remedy::Forget(_, name), Some(true)) => {
                format!(
                    "{}; it was given up, `nman pull {name}` or loading it brings it back",
                    damage.what
                )
            }
            (store::Remedy::ForgetList(..), Some(true)) => {
                format!("{}; it was given up, `nman manifest create` makes it again", damage.what)
            }
            _ => damage.what.clone(),
        };
        report.add(&what, mended, &advice(&damage.remedy));
    }
    Ok(())
}

/// What mends a damage of the store.
fn advice(remedy: &store::Remedy) -> String {
    match remedy {
        store::Remedy::Collect | store::Remedy::Unpack(..) => {
            "`nman system check --repair` mends it".to_owned()
        }
        store::Remedy::Rebuild => {
            "put a copy of it back, or `nman system check --repair` makes it again from the images that are there, which lose their names".to_owned()
        }
        // As long as it is there it counts, and nobody fetches it.
        store::Remedy::Fetch(Some(blob), name) if blob.exists() => format!(
            "`nman system check --repair` removes it, and `nman pull {name}` or loading it again then mends it"
        ),
        store::Remedy::Fetch(_, name) => {
            format!("`nman pull {name}` or loading it again mends it")
        }
        // To pull what has the list's name would be the end of the list.
        store::Remedy::Member(blob, list, digest) => {
            let is_there = blob.as_ref().is_some_and(|blob| blob.exists());
            let first =
                if is_there { "`nman system check --repair` removes it, and then " } else { "" };
            format!(
                "{first}pulling or loading the image `{digest}` again mends it, or `nman manifest remove {list} {digest}` takes that out of the list"
            )
        }
        store::Remedy::ForgetList(_, list) => format!(
            "`nman manifest rm {list}` or `nman system check --repair` gives it up; `nman manifest create` makes it again"
        ),
        store::Remedy::Forget(_, name) => format!(
            "`nman pull {name}` or loading it again mends it, `nman system check --repair` gives it up"
        ),
    }
}

/// The layers that running containers stand on.
fn running(settings: &Settings, store: &Store) -> Result<Vec<(String, Vec<ChainId>)>> {
    let containers = Containers::open(&settings.containers())?;
    let mut up = containers.list()?;
    up.retain(|(_, state)| state.status.is_up());
    // One whose record does not read back may run all the same.
    let mut unreadable = containers.unreadable()?;
    unreadable.retain(|id| containers.dir(id).is_held());
    let known = up.into_iter().map(|(record, _)| (record.id, record.name.to_string()));
    let named = known.chain(unreadable.into_iter().map(|id| (id.clone(), id.short().to_owned())));
    let named: BTreeMap<ContainerId, String> = named.collect();
    let layers = |active: PathBuf| {
        let key = file_name(&active);
        let name = named.get(&place::owner(&key)?)?.clone();
        Some((name, store.snapshots().layers(&key).ok()?.chain))
    };
    Ok(entries(&settings.root.join(ACTIVE))?.into_iter().filter_map(layers).collect())
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The state of the networks; nothing on a read-only disk where there never was any.
fn network_state(settings: &Settings) -> Result<Option<network::State>> {
    match ground::networks(settings) {
        Err(Error::Network(error)) if error.is_read_only() => Ok(None),
        state => Ok(Some(state?)),
    }
}

/// Records of connections that do not read back. As long as there is one, nothing else is known about connections, and nobody connects;
/// returns whether there is none any more.
fn check_readable(settings: &Settings, repair: bool, report: &mut Report) -> Result<bool> {
    let Some(state) = network_state(settings)? else { return Ok(true) };
    let mut all_read = true;
    for (path, error) in state.damaged()? {
        let mended = repair.then(|| state.forget_damaged(&path).is_ok());
        all_read &= mended == Some(true);
        let hint = "`nman system check --repair` removes it, and tells what is connected without a record then";
        report.add(&format!("the record of a connection: {error}"), mended, hint);
    }
    Ok(all_read)
}

/// Leases and connections of containers that there are not.
fn check_networks(settings: &Settings, repair: bool, report: &mut Report) -> Result<()> {
    let Some(state) = network_state(settings)? else { return Ok(()) };
    let containers = Containers::open(&settings.containers())?;
    let living = || Ok::<_, Error>(containers.ids()?.into_iter().collect());
    let orphans = network::orphan::find(&state, living)?;
    let plans = orphans.plans.iter().map(|plan| {
        format!(
            "the connection to network `{}` of container {}",
            plan.network,
            plan.container.short()
        )
    });
    let leases = orphans
        .leases
        .iter()
        .map(|(network, address)| format!("the address {address} of network `{network}`"));
    let found: Vec<String> = plans.chain(leases).collect();
    if found.is_empty() {
        return Ok(());
    }
    let mended = match repair {
        true => Some(network::orphan::clear(&state, &orphans).is_empty()),
        false => None,
    };
    for what in found {
        let what = format!("{what} belongs to no container");
        report.add(&what, mended, "`nman system check --repair` gives it back");
    }
    Ok(())
}

/// The namespace that a user's networks stand in.
fn check_ground(settings: &Settings, repair: bool, report: &mut Report) -> Result<()> {
    let Some(what) = ground::check(settings)? else { return Ok(()) };
    let mended = match repair {
        true => {
            ground::leave(settings)?;
            ground::mend(settings)?;
            Some(ground::check(settings)?.is_none())
        }
        false => None,
    };
    let hint = "`nman network reload` or `nman system check --repair` mends it";
    report.add(what, mended, hint);
    Ok(())
}

/// What the host has lost of containers that run.
fn check_connections(settings: &Settings, repair: bool, report: &mut Report) -> Result<()> {
    let Some(state) = network_state(settings)? else { return Ok(()) };
    let containers = Containers::open(&settings.containers())?;
    let up = |id: &ContainerId| {
        let dir = containers.dir(id);
        let is_up = dir.state().is_ok_and(|state| state.status.is_up());
        dir.record().ok().filter(|_| is_up).map(|record| record.name.to_string())
    };
    let losses = network::survey::find(&state, &up)?;
    let reloads = losses.iter().any(|loss| loss.remedy == Remedy::Reload);
    let reloaded =
        (repair && reloads).then(|| network::reload(&state).is_ok_and(|failed| failed.is_empty()));
    for loss in losses {
        match loss.remedy {
            Remedy::Reload => {
                let hint = "`nman network reload` or `nman system check --repair` puts it back";
                report.add(&loss.what, reloaded, hint);
            }
            Remedy::Restart(container) => {
                let hint = format!("`nman restart {container}` connects it again");
                report.add(&loss.what, None, &hint);
            }
        }
    }
    Ok(())
}

/// What the packet filter and running containers have that the records do not: somebody has emptied the directory of the state.
fn check_records(settings: &Settings, repair: bool, report: &mut Report) -> Result<()> {
    let Some(state) = network_state(settings)? else { return Ok(()) };
    if settings.rootless && state.namespace().is_none() {
        return Ok(());
    }
    let containers = Containers::open(&settings.containers())?;
    let mut cut_off = false;
    for (record, of_record) in containers.list()? {
        if !of_record.status.has_process() {
            continue;
        }
        for network in connection::off_record(&state, &record, &containers.dir(&record.id)) {
            cut_off = true;
            let what = format!(
                "container {} is on network `{network}`, and no record says so",
                record.name
            );
            report.add(&what, None, &format!("`nman restart {}` connects it again", record.name));
        }
    }
    let strays = network::orphan::lost(&state)?;
    if strays.is_empty() {
        return Ok(());
    }
    // Which of them are those of such containers is not known, and what is published for these goes on working.
    let may_go = repair && !cut_off;
    let mended = may_go.then(|| network::orphan::forget_lost(&state).is_ok());
    let hint = match cut_off {
        true => {
            "once those containers are restarted, `nman system check --repair` removes what is left"
        }
        false => "`nman system check --repair` removes it",
    };
    for address in strays {
        report.add(
            &format!("the packet filter knows {address}, which is no container's on record"),
            mended,
            hint,
        );
    }
    Ok(())
}

/// Volumes whose records do not read back.
fn check_volumes(settings: &Settings, repair: bool, report: &mut Report) -> Result<()> {
    let volumes = Volumes::of(settings);
    for (name, error) in volumes.damaged()? {
        let mended = if repair { Some(volumes.mend(&name)?) } else { None };
        report.add(
            &format!("volume {name}: {error}"),
            mended,
            "`nman system check --repair` writes it anew, without labels and options; what is in the volume stays",
        );
    }
    Ok(())
}

/// What of a container has no container, and containers that lack what they need.
fn check_containers(settings: &Settings, repair: bool, report: &mut Report) -> Result<()> {
    let containers = Containers::open(&settings.containers())?;
    let store = Store::open(&settings.root)?;
    for id in &containers.ids()? {
        let dir = containers.dir(id);
        // Somebody is at work on it: what it stands on may be half made, or half gone.
        if dir.is_held() {
            check_held(id, &dir, report);
        } else {
            check_container(settings, &containers, &store, id, &dir, repair, report)?;
        }
    }
    let parts = parts(settings);
    // Only then who is there: a container is before it has parts, and until it has none.
    let census = containers.census()?;
    let mut clear = |orphan: &Path| -> Result<()> {
        let what = format!("`{}` belongs to no container", orphan.display());
        let mended = if repair { Some(remove(orphan)?) } else { None };
        report.add(&what, mended, "`nman system check --repair` removes it");
        Ok(())
    };
    // While nobody can take one of the names.
    census.left.iter().try_for_each(|orphan| clear(orphan))?;
    let known = census.into_known();
    let is_known = |owner: Option<ContainerId>| owner.is_some_and(|id| known.contains(&id));
    let orphans = parts.into_iter().filter(|(path, owner)| {
        // Those of a container that has been removed meanwhile have gone with it.
        !is_known(owner.clone()) && fs::symlink_metadata(path).is_ok()
    });
    orphans.map(|(path, _)| path).try_for_each(|path| clear(&path))
}

/// A container that runs: what is written down of it is not changed below its monitor.
fn check_held(id: &ContainerId, dir: &Dir, report: &mut Report) {
    // A config.json that is not there may be one that is not there yet.
    let bundle = || bundle::read(dir).err().filter(|error| matches!(error, Error::Damaged { .. }));
    let unreadable = dir.record().err().or_else(|| dir.state_damage()).or_else(bundle);
    let Some(error) = unreadable.filter(Error::is_damage) else { return };
    // It may have gone meanwhile.
    if dir.is_held() && dir.path().is_dir() {
        let what = format!("container {}, which runs: {error}", id.short());
        let hint =
            format!("`nman rm -f {}` removes it, and a state is mended by an end", id.short());
        report.add(&what, None, &hint);
    }
}

/// A container that nobody is at work on. One whose record a power cut has emptied goes: nothing can be done with it. One
/// whose state is lost has ended, and everything else of it is kept.
fn check_container(
    settings: &Settings,
    containers: &Containers,
    store: &Store,
    id: &ContainerId,
    dir: &Dir,
    repair: bool,
    report: &mut Report,
) -> Result<()> {
    let what = |error: &dyn std::fmt::Display| format!("container {}: {error}", id.short());
    let hint = format!("`nman rm -f {}` removes it", id.short());
    let record = match dir.record() {
        Ok(record) => record,
        Err(Error::NoSuchContainer(_)) => return Ok(()),
        Err(error) if error.is_wreck() => {
            let hint = format!("{hint}, and so does `nman system check --repair`");
            let gone = || rm::damaged::remove(settings, containers, dir);
            let removed = if repair { Some(gone()) } else { None };
            report.add(&what(&error), removed.as_ref().map(Result::is_ok), &hint);
            // What is in the way of the removal is one more thing that is wrong.
            if let Some(Err(error)) = removed {
                report.add(&what(&error), None, &hint);
            }
            return Ok(());
        }
        Err(error) => {
            report.add(&what(&error), None, &hint);
            return Ok(());
        }
    };
    if let Some(error) = dir.state_damage() {
        let mended = if repair { Some(mend_state(dir)?) } else { None };
        report.add(&what(&error), mended, "`nman system check --repair` takes it for ended");
    }
    // Whatever is missing: the container may have been removed meanwhile.
    if let Err(error) = bundle::read(dir)
        && dir.path().is_dir()
    {
        report.add(&what(&error), None, &hint);
    }
    for key in std::iter::once(id.to_string()).chain(place::image_keys(&record)) {
        match store.snapshots().resume(&key) {
            Err(error) if dir.path().is_dir() => report.add(&what(&error), None, &hint),
            _ => {}
        }
    }
    Ok(())
}

fn mend_state(dir: &Dir) -> Result<bool> {
    let Some(_guard) = dir.try_lock()? else { return Ok(false) };
    dir.set_state(&State::unknown(false))?;
    Ok(true)
}

/// What there is of containers beside their own directories, and whose it is.
fn parts(settings: &Settings) -> Vec<(PathBuf, Option<ContainerId>)> {
    let of_id: fn(&str) -> Option<ContainerId> = ContainerId::parse;
    let places = [
        (settings.root.join(ACTIVE), place::owner as fn(&str) -> Option<ContainerId>),
        (settings.state.join("containers"), of_id),
        (settings.runtime_root(), of_id),
    ];
    let inside = |(directory, owner): (PathBuf, fn(&str) -> Option<ContainerId>)| {
        let paths = entries(&directory).unwrap_or_default().into_iter();
        paths.map(move |path| (path.clone(), owner(&file_name(&path))))
    };
    places.into_iter().flat_map(inside).collect()
}

fn remove(path: &Path) -> Result<bool> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        removed => removed.map(|()| true).map_err(Error::io("remove", path)),
    }
}
