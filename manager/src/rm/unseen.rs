//! What an `nman` that was killed has left, and what Docker's daemon would have removed.

use super::{damaged, remove, remove_sockets, take_down};
use crate::clock::Timestamp;
use crate::container::{ContainerId, Containers, Dir, State, Status};
use crate::error::{Error, Result};
use crate::forget::{Volumes, forget, left};
use crate::notice;
use crate::settings::Settings;
use crate::store::Store;
use crate::volume;

/// Removes containers that were never finished: a `create` or `run` was killed before there was anything that runs; and the rest of
/// those that somebody was removing who was killed. Told, not returned, is what stays: it keeps no other container from being made.
pub(crate) fn remove_unfinished(settings: &Settings, containers: &Containers) {
    for (id, dir, _guard) in containers.cut_short() {
        if let Err(error) = remove_rest(settings, containers, &id, &dir) {
            notice::note(left(id.short(), &error).to_string());
        }
    }
    for (dir, _guard) in containers.unfinished() {
        // What does not read back is left to whoever mends damage.
        let Ok(record) = dir.record() else { continue };
        let removed = take_down(settings, &record, &dir)
            .and_then(|()| damaged::end_groups(&dir, &record.id))
            .and_then(|()| forget(settings, containers, &record, Volumes::Remove));
        if let Err(error) = removed {
            let name = &record.name;
            notice::note(format!("container `{name}` was never finished, and stays: {error}"));
        }
    }
}

/// Removes the rest of a hidden container. Whether its volumes were to go is known where they go with it in any case: others stay, for
/// `volume prune`.
fn remove_rest(
    settings: &Settings,
    containers: &Containers,
    id: &ContainerId,
    dir: &Dir,
) -> Result<()> {
    if let Ok(record) = dir.record()
        && record.remove
    {
        volume::remove_anonymous(settings, &record)?;
    }
    remove_sockets(settings, id)?;
    damaged::remove_hidden(settings, containers, id)
}

/// Does for a container that has been ended what its monitor would have done, which was killed: takes it down and writes down that it
/// has ended, or removes it if it was to be removed. `code` is what is known of how it has ended: only its monitor could have heard.
pub(crate) fn conclude_abandoned(
    settings: &Settings,
    containers: &Containers,
    dir: &Dir,
    code: u8,
) -> Result<()> {
    // What does not read back is left to whoever mends damage.
    let Ok(record) = dir.record() else { return Ok(()) };
    if record.remove {
        return remove(settings, containers, record.id.as_str(), false, Volumes::Remove);
    }
    let Some(_guard) = dir.try_lock()? else { return Ok(()) };
    let state = dir.recorded_state()?;
    // With the lock: somebody may have started it meanwhile, or done this.
    if !state.status.is_up() || state.pid.is_some_and(|pid| dir.has_process(pid)) {
        return Ok(());
    }
    take_down(settings, &record, dir)?;
    let finished = Some(Timestamp::now());
    dir.set_state(&State { finished, exit_code: Some(code), error: None, ..state.lost() })
}

/// Removes containers of builds that were killed in the instant between the end of a step and the layer that it makes.
pub(crate) fn remove_of_dead_builds(settings: &Settings, containers: &Containers, store: &Store) {
    for id in containers.ids().unwrap_or_default() {
        let dir = containers.dir(&id);
        let (Ok(record), Ok(state)) = (dir.record(), dir.state()) else { continue };
        let is_dead = record.build.as_ref().is_some_and(|session| !store.is_alive(session));
        if !is_dead || state.status.is_up() || dir.is_held() {
            continue;
        }
        // What cannot be removed keeps no build from being done.
        let _ = remove(settings, containers, id.as_str(), false, Volumes::Remove);
    }
}

/// Removes containers of `--rm` whose monitor was killed, or the host switched off, before they had ended.
pub(crate) fn remove_ended(settings: &Settings, containers: &Containers) -> Vec<Error> {
    let mut errors = Vec::new();
    for id in containers.ids().unwrap_or_default() {
        let dir = containers.dir(&id);
        let (Ok(record), Ok(state)) = (dir.record(), dir.state()) else { continue };
        // That of a build is the build's, or of the next one.
        let is_other = record.build.is_some() || state.status != Status::Exited;
        if !record.remove || is_other || dir.is_held() {
            continue;
        }
        match remove(settings, containers, id.as_str(), false, Volumes::Remove) {
            // Somebody has started or removed it meanwhile.
            Ok(()) | Err(Error::WrongState { .. } | Error::NoSuchContainer(_)) => {}
            Err(error) => errors.push(error),
        }
    }
    errors
}
