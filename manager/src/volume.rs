//! Volumes: directories of their own that outlive containers, and the commands for them.
//!
//! A volume is a directory below `<root>/volumes` with its record and its data. Which containers use it is written in the
//! containers' records, and nowhere else.

mod fill;
mod list;
mod mount;
pub mod place;
mod store;

pub use crate::volume_name::VolumeName;
pub use list::{ls, prune_report};
pub(crate) use store::Lock as VolumeLock;
pub use store::{Volume, Volumes};

use crate::bundle::rootfs::Rootfs;
use crate::cli::{VolumeCreateArgs, VolumePruneArgs, VolumeRmArgs};
use crate::container::{ContainerId, Containers, Dir, MountKind, Record};
use crate::error::{Error, Result};
use crate::event::{self, Kind};
use crate::listing::Filters;
use crate::notice;
use crate::preferences;
use crate::settings::Settings;
use crate::store::Store;
use std::collections::BTreeMap;

/// Docker's label of a volume that nobody has named.
pub const ANONYMOUS: &str = "com.docker.volume.anonymous";

/// The label of a volume that is a cache of builds; its value is the cache's id.
pub const BUILD_CACHE: &str = "dev.nman.build.cache";

/// Makes the volumes of a container that are not there, and fills those that are empty with what the image has in their place.
///
/// The container's record names them already: nobody removes them from here on.
pub fn provide(settings: &Settings, record: &Record, dir: &Dir, rootfs: &Rootfs) -> Result<()> {
    let volumes = Volumes::of(settings);
    for point in record.mounts.iter().filter(|point| point.kind == MountKind::Volume) {
        let name = VolumeName::parse(&point.name).map_err(Error::refusal)?;
        let mut labels = point.detail.labels.clone();
        if point.detail.anonymous {
            labels.insert(ANONYMOUS.to_owned(), String::new());
        }
        mount::check(&point.detail.volume_options)?;
        let volume = volumes.ensure(&name, labels, point.detail.volume_options.clone())?;
        mount::mount(&volumes, &volume)?;
        if !point.detail.no_copy && point.detail.subpath.is_empty() {
            fill::fill((&volumes, &volume), (record, dir), rootfs, &point.destination)?;
        }
    }
    Ok(())
}

/// The ids of the containers that use a volume.
fn users(settings: &Settings, name: &str) -> Result<Vec<ContainerId>> {
    let containers = Containers::open(&settings.containers())?;
    let mut unreadable = containers.unreadable()?;
    unreadable.retain(|id| may_use(&containers.dir(id), name));
    let uses = |record: &Record| {
        record.mounts.iter().any(|point| point.kind == MountKind::Volume && point.name == name)
    };
    let known = containers.list()?.into_iter().filter(|(record, _)| uses(record));
    Ok(known.map(|(record, _)| record.id).chain(unreadable).collect())
}

/// Whether a container whose record does not read back may use a volume: its bundle says whether, if that reads back.
fn may_use(dir: &Dir, name: &str) -> bool {
    let bundle = std::fs::read_to_string(dir.join("config.json")).unwrap_or_default();
    let is_whole = serde_json::from_str::<serde::de::IgnoredAny>(&bundle).is_ok();
    !is_whole || bundle.contains(name)
}

/// Removes the volumes that were made for a container and have no name, unless another one uses them too.
pub fn remove_anonymous(settings: &Settings, record: &Record) -> Result<()> {
    let anonymous = record.mounts.iter().filter(|point| point.detail.anonymous);
    let names: Vec<&String> = anonymous.map(|point| &point.name).collect();
    if names.is_empty() {
        return Ok(());
    }
    let volumes = Volumes::of(settings);
    for name in names {
        let Ok(name) = VolumeName::parse(name) else { continue };
        let _lock = volumes.lock()?;
        if users(settings, name.as_str())?.iter().all(|user| *user == record.id) {
            volumes.remove(&name)?;
        }
    }
    Ok(())
}

/// `nman volume create`: its name.
pub fn create(settings: &Settings, args: &VolumeCreateArgs) -> Result<String> {
    let pairs = |list: &[String]| -> BTreeMap<String, String> {
        let pair = |text: &String| {
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            (name.to_owned(), value.to_owned())
        };
        list.iter().map(pair).collect()
    };
    let (mut labels, options) = (pairs(&args.label), pairs(&args.opt));
    mount::check(&options)?;
    if args.name.is_some() && args.named.is_some() {
        return Err(Error::Usage("conflicting options: cannot specify a volume-name through both --name and as a positional arg".to_owned()));
    }
    let name = match args.name.as_ref().or(args.named.as_ref()) {
        Some(name) => VolumeName::parse(name).map_err(Error::refusal)?,
        None => {
            labels.insert(ANONYMOUS.to_owned(), String::new());
            VolumeName::random()
        }
    };
    Ok(Volumes::of(settings).ensure(&name, labels, options)?.name.to_string())
}

/// `nman volume rm`: the names of those that are gone, and what went wrong.
pub fn rm(settings: &Settings, args: &VolumeRmArgs) -> Result<(Vec<String>, Vec<Error>)> {
    let volumes = Volumes::of(settings);
    let (mut done, mut errors) = (Vec::new(), Vec::new());
    for name in &args.names {
        match remove(settings, &volumes, name, args.force) {
            Ok(()) => done.push(name.clone()),
            Err(error) => errors.push(error),
        }
    }
    Ok((done, errors))
}

fn remove(settings: &Settings, volumes: &Volumes, name: &str, force: bool) -> Result<()> {
    let find = || match volumes.find(name) {
        // It is not there.
        Err(Error::Rejected { .. }) if force => Ok(None),
        // What its record does not say any more is not asked.
        Err(Error::Damaged { .. }) if force => {
            VolumeName::parse(name).map(Some).map_err(Error::refusal)
        }
        found => found.map(|volume| Some(volume.name)),
    };
    // That it is not there needs no lock, which cannot be had on a disk that is read-only.
    if find()?.is_none() {
        return Ok(());
    }
    let _lock = volumes.lock()?;
    let Some(found) = find()? else { return Ok(()) };
    let users = users(settings, name)?;
    if !users.is_empty() {
        let ids: Vec<&str> = users.iter().map(ContainerId::as_str).collect();
        return Err(Error::WrongState {
            message: format!("remove {name}: volume is in use - [{}]", ids.join(", ")),
            hint: Some(format!("remove the container first: `nman rm {}`", users[0].short())),
        });
    }
    volumes.remove(&found)
}

/// What `inspect` shows of a volume.
pub fn object(settings: &Settings, name: &str) -> Result<serde_json::Value> {
    let volumes = Volumes::of(settings);
    Ok(volumes.object(&volumes.find(name)?))
}

/// `nman volume inspect`: the objects of those that were found, and what went wrong with the others.
pub fn inspect(
    settings: &Settings,
    names: &[String],
) -> Result<(Vec<serde_json::Value>, Vec<Error>)> {
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    for name in names {
        match object(settings, name) {
            Ok(object) => found.push(object),
            Err(error) => errors.push(error),
        }
    }
    Ok((found, errors))
}

/// `nman volume prune`: what was removed, and how many bytes that has freed.
pub fn prune(settings: &Settings, args: &VolumePruneArgs) -> Result<(Vec<String>, u64)> {
    let volumes = Volumes::of(settings);
    let filters = preferences::prune_filters(&args.filter);
    let filters = Filters::parse(&filters, &["all", "label", "label!"])?;
    // Docker has had this filter before it had the option.
    let all = args.all || filters.truth("all")? == Some(true);
    let chosen =
        |volume: &Volume| (all || volume.is_anonymous()) && filters.labelled(&volume.labels);
    let mut chosen: Vec<Volume> = volumes.list()?.into_iter().filter(chosen).collect();
    let mut no_build = None;
    if chosen.iter().any(Volume::is_build_cache) {
        no_build = Store::open(&settings.root)?.hold_off_builds()?;
    }
    if no_build.is_none() {
        let count = chosen.len();
        chosen.retain(|volume| !volume.is_build_cache());
        if chosen.len() < count {
            notice::note(
                "a build is under way, which may need the caches of builds: they stay".to_owned(),
            );
        }
    }
    remove_unused(settings, &volumes, &chosen)
}

/// Removes the caches of builds. The caller holds off builds.
pub(crate) fn prune_caches(settings: &Settings) -> Result<(Vec<String>, u64)> {
    let volumes = Volumes::of(settings);
    let mut chosen = volumes.list()?;
    chosen.retain(Volume::is_build_cache);
    remove_unused(settings, &volumes, &chosen)
}

/// Removes those that no container uses: their names, and how many bytes that has freed.
fn remove_unused(
    settings: &Settings,
    volumes: &Volumes,
    chosen: &[Volume],
) -> Result<(Vec<String>, u64)> {
    let (mut removed, mut freed) = (Vec::new(), 0);
    for volume in chosen {
        let _lock = volumes.lock()?;
        if !users(settings, volume.name.as_str())?.is_empty() {
            continue;
        }
        let size = crate::disk::usage(&volumes.data(&volume.name));
        match volumes.remove(&volume.name) {
            Ok(()) => {
                freed += size;
                removed.push(volume.name.to_string());
            }
            // Something is mounted there, which keeps none of the others.
            Err(error @ Error::WrongState { .. }) => notice::note(error.to_string()),
            Err(error) => return Err(error),
        }
    }
    event::emit(settings, Kind::Volume, "prune", "", &[("reclaimed", &freed.to_string())]);
    Ok((removed, freed))
}
