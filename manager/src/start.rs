//! `nman start`: runs a stopped container again, from its record and its own layer.

mod order;

use crate::assemble::{disassemble, enter_private_mounts, mount_root};
use crate::attach::{self, Shown, Wish};
use crate::cli::StartArgs;
use crate::connection;
use crate::container::{
    Attached, Containers, Dir, Guard, Mark, RestartPolicy, State, Status, Turn,
};
use crate::detach::DetachKeys;
use crate::each::each;
use crate::error::{Error, Result};
use crate::monitor::{self, Assembled, Link};
use crate::settings::Settings;
use crate::volume::place;
use crate::{apparmor, bundle, labels, notice, rm, terminal};
use std::panic::resume_unwind;

/// Starts a container. The socket is its monitor's.
pub fn start(settings: &Settings, name: &str) -> Result<Option<Link>> {
    let containers = Containers::open(&settings.containers())?;
    let dir = containers.find(name)?;
    let mut record = dir.record()?;
    let taken = match take(&dir, name) {
        // Removed since it was found.
        Err(_) if !dir.path().is_dir() => return Err(Error::NoSuchContainer(name.to_owned())),
        taken => taken?,
    };
    let Some((guard, abandoned)) = taken else { return Ok(None) };
    if abandoned || rm::is_left(settings, &record.id)? {
        rm::take_down(settings, &record, &dir)?;
    }
    dir.clear(Mark::Stopped)?;
    dir.clear(Mark::Paused)?;
    dir.clear(Mark::Kept)?;
    let warning = apparmor::provide_again(&containers, &dir, &mut record)?;
    warning.into_iter().for_each(notice::note);
    labels::provide(&record)?;
    bundle::adapt_oom_score(&containers, &record, &dir)?;
    let assemble = || {
        enter_private_mounts(&record, &dir)?;
        mount_root(settings, &record, &dir)?;
        place::mount_all(settings, &record, &dir)?;
        place::join(settings, &record, &dir)?;
        connection::connect(settings, &record, &dir)
    };
    if let Err(error) = assemble() {
        let mut errors = vec![error];
        errors.extend(disassemble(settings, &record, &dir));
        return Err(Error::Several(errors));
    }
    monitor::launch(settings, &record.id, Assembled { dir, guard, first: false }).map(Some)
}

/// Gets hold of a container that does not run, and says whether its monitor was killed. `None` when it runs already: as
/// in Docker, that is no error.
///
/// Who has written down that it has ended may still be about to let go of it, and somebody may be starting or copying
/// from it: as in Docker, that is waited for.
fn take(dir: &Dir, name: &str) -> Result<Option<(Guard, bool)>> {
    let turn = Turn::begin();
    loop {
        match dir.state()?.status {
            Status::Running | Status::Restarting => return Ok(None),
            Status::Paused => {
                return Err(Error::WrongState {
                    message: format!(
                        "cannot start a paused container, try unpause instead: {name}"
                    ),
                    hint: Some(format!("`nman unpause {name}`")),
                });
            }
            Status::Created | Status::Exited => {}
        }
        if let Some(guard) = dir.try_lock()? {
            // With its lock: what is written down as running has nobody who looks after it.
            let abandoned = dir.recorded_state().ok().filter(|state| state.status.is_up());
            let is_abandoned = abandoned.is_some();
            if let Some(state) = abandoned {
                // Who looks from now on sees the lock held, and believes what is written down.
                dir.set_state(&state.lost())?;
            }
            return Ok(Some((guard, is_abandoned)));
        }
        if !turn.wait() {
            return Err(dir.busy("start", name));
        }
    }
}

/// `nman start --by-policy`: what the daemon of other managers does when it begins. Starts each container whose policy
/// asks for it: after a reboot, and after its monitor was killed. Removes those that were to be removed when they end.
pub fn start_by_policy(settings: &Settings, args: &StartArgs) -> Result<(Vec<String>, Vec<Error>)> {
    if args.attach || args.interactive || !args.names.is_empty() {
        return Err(Error::Usage(
            "conflicting options: --by-policy goes with neither names nor a terminal".to_owned(),
        ));
    }
    let containers = Containers::open(&settings.containers())?;
    rm::unseen::remove_unfinished(settings, &containers);
    let left = rm::unseen::remove_ended(settings, &containers);
    let mut wanted = Vec::new();
    for id in containers.ids()? {
        let dir = containers.dir(&id);
        // One that is removed meanwhile is not wanted.
        let (Ok(record), Ok(state)) = (dir.record(), dir.state()) else { continue };
        if wants(record.supervision.restart, &state, dir.has(Mark::Stopped)) {
            wanted.push(record);
        }
    }
    wanted.sort_by_key(|record| record.created);
    let wanted: Vec<String> = wanted.iter().map(|record| record.name.to_string()).collect();
    let (started, mut errors) = start_detached(settings, &wanted)?;
    errors.extend(left);
    Ok((started, errors))
}

/// Whether a policy starts a container that nobody looks after.
fn wants(policy: RestartPolicy, state: &State, stopped: bool) -> bool {
    let ended = state.status == Status::Exited;
    match policy {
        RestartPolicy::No => false,
        RestartPolicy::Always => ended,
        RestartPolicy::UnlessStopped => ended && !stopped,
        RestartPolicy::OnFailure { .. } => ended && !stopped && state.exit_code != Some(0),
    }
}

/// `nman start -a`: the exit code of the container.
pub fn start_attached(settings: &Settings, args: &StartArgs) -> Result<u8> {
    let [name] = args.names.as_slice() else {
        return Err(Error::Usage(
            "you cannot start and attach multiple containers at once".to_owned(),
        ));
    };
    let containers = Containers::open(&settings.containers())?;
    let record = containers.find(name)?.record()?;
    terminal::check(args.interactive, record.attachment.terminal, false)?;
    let stdin = args.interactive && record.attachment.stdin;
    let keys = DetachKeys::find(args.detach_keys.as_deref())?;
    // As in Docker, whatever `create -a` has named: that is for `inspect`.
    let streams = Attached::to_output(stdin);
    let terminal = record.attachment.terminal;
    let signals = args.sig_proxy && !terminal;
    let output = Shown::AsItIs;
    let wish = Wish { streams, terminal, signals, keys, redraw: false, output };
    match start(settings, name)? {
        Some(mut monitor) => attach::follow(settings, &record.id, &mut monitor, wish),
        None => {
            attach::follow(settings, &record.id, &mut attach::open(settings, &record.id)?, wish)
        }
    }
}

/// `nman start`: returns the names of those that run, and what went wrong.
pub fn start_detached(settings: &Settings, names: &[String]) -> Result<(Vec<String>, Vec<Error>)> {
    let containers = Containers::open(&settings.containers())?;
    Ok(each_in_order(&containers, names, |name| {
        if let Some(mut monitor) = start(settings, name)? {
            attach::until_started(&mut monitor)?;
        }
        Ok(Some(name.to_owned()))
    }))
}

/// Does something to each of the named containers that has it run afterwards: to those that join namespaces of others when these run.
pub fn each_in_order(
    containers: &Containers,
    names: &[String],
    act: impl Fn(&str) -> Result<Option<String>> + Sync,
) -> (Vec<String>, Vec<Error>) {
    let waves = order::waves(containers, names);
    if let [all] = waves.as_slice() {
        return each(all, act);
    }
    let (mut done, mut errors) = (Vec::new(), Vec::new());
    for wave in waves {
        // A start makes a mount namespace, also that of a wave of one: the next wave must not inherit it.
        let (of_wave, failed) = std::thread::scope(|scope| {
            scope.spawn(|| each(&wave, &act)).join().unwrap_or_else(|panic| resume_unwind(panic))
        });
        done.extend(of_wave);
        errors.extend(failed);
    }
    (done, errors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_decides_what_starts_after_a_reboot() {
        let state =
            |code| State { status: Status::Exited, exit_code: Some(code), ..State::created() };
        let wanted = |policy, code, stopped| wants(policy, &state(code), stopped);
        assert!(wanted(RestartPolicy::Always, 0, true));
        assert!(wanted(RestartPolicy::UnlessStopped, 0, false));
        assert!(!wanted(RestartPolicy::UnlessStopped, 0, true));
        assert!(wanted(RestartPolicy::OnFailure { retries: 1 }, 255, false));
        assert!(!wanted(RestartPolicy::OnFailure { retries: 1 }, 0, false));
        assert!(!wanted(RestartPolicy::No, 1, false));
        assert!(!wants(RestartPolicy::Always, &State::created(), false));
    }
}
