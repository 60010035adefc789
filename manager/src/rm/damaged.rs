//! A container whose record does not read back: removed by what its directory, its bundle and its id lead to.
//!
//! Each step is right where there is nothing to do, so that a removal which is cut short can be begun again; before its layers go, it
//! is hidden, so that whoever makes the next container removes the rest. Volumes stay: which of them were made for this container only the record could say.

use super::{PATIENCE, remove_sockets};
use crate::assemble::disassemble_found;
use crate::cgroup::processes_below;
use crate::container::{ContainerId, Containers, Dir, Guard, State};
use crate::error::{Error, Result};
use crate::event::{Kind, emit};
use crate::forget::{left, remove_layers};
use crate::process::{self, Process};
use crate::runtime::Runtime;
use crate::settings::Settings;
use crate::snapshot::entries;
use crate::volume::place;
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Between two looks at what is about to end.
const PAUSE: Duration = Duration::from_millis(10);

/// Where cgroups are mounted: v2 here, each controller of v1 in a directory below.
const CGROUPS: &str = "/sys/fs/cgroup";

/// Removes it wholly.
pub(crate) fn remove(settings: &Settings, containers: &Containers, dir: &Dir) -> Result<()> {
    let id =
        ContainerId::parse(dir.id()).ok_or_else(|| Error::NoSuchContainer(dir.id().to_owned()))?;
    let _guard = match take(settings, &id, dir) {
        // Its own monitor was faster: it was to be removed when it ends.
        Err(_) if !dir.path().is_dir() => return Ok(()),
        taken => taken?,
    };
    let mut errors = Vec::new();
    errors.extend(delete(settings, &id).err());
    errors.extend(end_groups(dir, &id).err());
    errors.extend(disassemble_found(settings, &id, dir));
    errors.extend(remove_sockets(settings, &id).err());
    if !errors.is_empty() {
        return Err(Error::Several(errors));
    }
    containers.hide(&id)?;
    let removed = remove_hidden(settings, containers, &id);
    emit(settings, Kind::Container, "destroy", id.as_str(), &[]);
    removed.map_err(|error| left(id.short(), &error))
}

/// Removes the layers that are found of a hidden container, and its directory.
pub(super) fn remove_hidden(
    settings: &Settings,
    containers: &Containers,
    id: &ContainerId,
) -> Result<()> {
    let active = entries(&settings.root.join("snapshots/active"))?.into_iter();
    let names = active.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()));
    remove_layers(settings, names.filter(|name| place::owner(name).as_ref() == Some(id)))?;
    containers.discard(id)
}

/// Gets hold of it: ends what runs in it, and its monitor if that does not let go.
fn take(settings: &Settings, id: &ContainerId, dir: &Dir) -> Result<Guard> {
    if let Some(guard) = dir.try_lock()? {
        return Ok(guard);
    }
    dir.set_stopped()?;
    // Refused by a runtime that does not know it; its monitor is then ended all the same.
    let _ = delete(settings, id);
    if let Some(guard) = wait_for_lock(dir)? {
        return Ok(guard);
    }
    // Refused when it has ended meanwhile.
    let _ = dir.monitor(&dir.state()?).map(|monitor| monitor.send(Signal::KILL));
    wait_for_lock(dir)?.ok_or_else(|| Error::WrongState {
        message: format!("cannot remove container {}: somebody is at work on it", id.short()),
        hint: Some("end the `nman` process that holds the container's `lock`".to_owned()),
    })
}

fn wait_for_lock(dir: &Dir) -> Result<Option<Guard>> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if let Some(guard) = dir.try_lock()? {
            return Ok(Some(guard));
        }
        std::thread::sleep(PAUSE);
    }
    Ok(None)
}

/// Lets the runtime remove what it has of the container, if it has anything. Which one made it is lost: it is taken for the
/// one that would make the next.
fn delete(settings: &Settings, id: &ContainerId) -> Result<()> {
    if !settings.runtime_root().join(id.as_str()).exists() {
        return Ok(());
    }
    let path = Runtime::find(settings.runtime.as_deref())?;
    Runtime::new(&path, settings).delete(id)
}

/// Ends what the runtime has left of a container, as one does that has lost its state or looks for it elsewhere, and removes its cgroups.
pub(super) fn end_groups(dir: &Dir, id: &ContainerId) -> Result<()> {
    let groups = groups(Path::new(CGROUPS), dir, id);
    if groups.is_empty() {
        end_without_group(dir);
    }
    remove_groups(dir, &groups)
}

/// The same for a container without a cgroup: its processes are those in its init's mount namespace.
fn end_without_group(dir: &Dir) {
    let Ok(State { pid: Some(init), born: Some(_), .. }) = dir.recorded_state() else { return };
    // The init goes last: it is by what it has in common with the others that they are found.
    let others = process::all().into_iter().filter(|&pid| pid != init);
    for pid in others.chain([init]) {
        let Some(own) = Process::open(pid, |own| dir.has_process(own.id())) else { continue };
        // Refused when it has ended meanwhile.
        let _ = own.send(Signal::KILL);
        let _ = own.wait_for_exit(Some(PATIENCE));
    }
}

/// The container's cgroups below `mounts`: where its bundle says, if that reads back, else where they are by default.
fn groups(mounts: &Path, dir: &Dir, id: &ContainerId) -> Vec<PathBuf> {
    let bundle = std::fs::read(dir.join("config.json")).unwrap_or_default();
    let bundle: serde_json::Value = serde_json::from_slice(&bundle).unwrap_or_default();
    let named = bundle.pointer("/linux/cgroupsPath").and_then(serde_json::Value::as_str);
    let path = named.map_or_else(|| format!("/nman/{id}"), str::to_owned);
    let relative = Path::new(path.trim_start_matches('/'));
    if !relative.ends_with(id.as_str()) {
        // Not the container's own.
        return Vec::new();
    }
    let controllers = entries(mounts).unwrap_or_default();
    let roots = std::iter::once(mounts.to_owned()).chain(controllers);
    roots.map(|root| root.join(relative)).filter(|group| group.is_dir()).collect()
}

/// Ends what is left in cgroups, and removes them with all below.
fn remove_groups(dir: &Dir, groups: &[PathBuf]) -> Result<()> {
    for group in groups {
        let begun = Instant::now();
        loop {
            for pid in processes_below(group) {
                // Refused when it has ended meanwhile.
                let own = Process::open(pid, |own| dir.has_process(own.id()));
                let _ = own.map(|own| own.send(Signal::KILL));
            }
            match remove_group(group) {
                Ok(()) => break,
                Err(error) if begun.elapsed() > PATIENCE => {
                    return Err(Error::io("remove", group)(error));
                }
                Err(_) => std::thread::sleep(PAUSE),
            }
        }
    }
    Ok(())
}

/// A cgroup has files that cannot be removed: only its directories are.
fn remove_group(group: &Path) -> std::io::Result<()> {
    for entry in entries(group).unwrap_or_default() {
        if entry.is_dir() {
            remove_group(&entry)?;
        }
    }
    match std::fs::remove_dir(group) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroups_are_found_by_the_bundle_or_where_they_are_by_default_and_only_the_containers_own() {
        let root = tempfile::tempdir().unwrap();
        let containers = Containers::open(&root.path().join("containers")).unwrap();
        let id = ContainerId::random();
        let dir = containers.dir(&id);
        std::fs::create_dir_all(dir.path()).unwrap();
        let own = format!("memory/nman/{id}");
        for path in [&own, &format!("other/{id}")] {
            std::fs::create_dir_all(root.path().join(path)).unwrap();
        }
        let found = || groups(root.path(), &dir, &id);
        let names = |path: &str| {
            let bundle = serde_json::json!({"linux": {"cgroupsPath": path}});
            std::fs::write(dir.join("config.json"), bundle.to_string()).unwrap();
        };
        std::fs::write(dir.join("config.json"), "").unwrap();
        assert_eq!(found(), [root.path().join(&own)]);
        names(&format!("/other/{id}"));
        assert_eq!(found(), [root.path().join(format!("other/{id}"))]);
        names("/memory/nman");
        assert_eq!(found(), Vec::<PathBuf>::new());
    }
}
