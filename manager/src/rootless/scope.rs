//! The scope of a user's container: a unit of the user's systemd, with the container's cgroup in it, and one for its monitor.
//!
//!     user@1000.service/user.slice/nman-0123456789ab.scope
//!         monitor      the monitor, and what connects the container
//!         ID           the container's processes, made by the runtime as a file system's directory
//!
//! It is the form that systemd gives managers of containers (CGROUP_DELEGATION.md). The monitor stays in the scope: what was counted
//! is there to be read when the container has ended, and neither ends with the session that somebody was in who started them.

use super::delegation::{connect, directory, may_write, scope};
use crate::cgroup::unified_of;
use crate::container::Record;
use crate::error::{Error, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use systemd::{Connection, Property, Value};

/// The cgroup of the monitor, from the scope's own. One that passes controllers on takes no processes itself.
const MONITOR: &str = "monitor";

/// How long a scope of that name may take to go whose last process has ended.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Moves us, a container's monitor, to a scope of the container's, if it is to have one. `carrier` is the process that connects it.
///
/// # Errors
/// The user's systemd does not make it, or the kernel does not take us there.
pub fn enter(record: &Record, carrier: Option<i32>) -> Result<()> {
    let Some(slice) = record.slice() else { return Ok(()) };
    let name = scope(&record.id);
    let mut connection = connect().map_err(|error| failed(&name, &error.to_string()))?;
    go(&mut connection, &name, &properties(record, slice)).map_err(|why| failed(&name, &why))?;
    let own = unified_of("self").unwrap_or_default();
    if own.ends_with(&name) {
        let place = directory(&own).join(MONITOR);
        fs::create_dir(&place).map_err(Error::io("make", &place))?;
        let list = place.join("cgroup.procs");
        fs::write(&list, "0").map_err(Error::io("write", &list))?;
    } else if !own.ends_with(Path::new(&name).join(MONITOR)) {
        return Err(failed(&name, "we are not in it afterwards"));
    }
    // It has begun where somebody has typed `nman`, and can do its work there, if it has to.
    if let Some(pid) = carrier.and_then(|pid| u32::try_from(pid).ok()) {
        let _ = connection.attach_process_to_unit(&name, &format!("/{MONITOR}"), pid);
    }
    Ok(())
}

/// Starts a scope around us, and waits until we are in it. That of the container's last life may be there still: it is about to go,
/// or somebody is in it who has not seen the end of an `exec`. We join them.
fn go(
    connection: &mut Connection,
    name: &str,
    properties: &[Property],
) -> std::result::Result<(), String> {
    let say = |error: systemd::Error| error.to_string();
    connection.subscribe().map_err(say)?;
    let (own, begun) = (std::process::id(), Instant::now());
    let job = loop {
        match connection.start_transient_unit(name, properties, own) {
            Err(error) if error.is("UnitExists") && begun.elapsed() < PATIENCE => {
                if connection.attach_process_to_unit(name, &format!("/{MONITOR}"), own).is_ok() {
                    return Ok(());
                }
                let _ = connection.reset_failed_unit(name);
                std::thread::sleep(PAUSE);
            }
            started => break started.map_err(say)?,
        }
    };
    match connection.wait(&job).map_err(say)?.as_str() {
        "done" => Ok(()),
        result => Err(format!("its job ended as `{result}`")),
    }
}

fn failed(name: &str, why: &str) -> Error {
    Error::Rejected {
        message: format!("cannot start the container's unit `{name}`: {why}"),
        hint: Some(
            "it is a scope of your own systemd, which runs while you are logged in, or always with `loginctl enable-linger`".to_owned(),
        ),
    }
}

/// Everything is delegated, and nothing is limited: that is the container's own cgroup's matter. Whoever ends the scope, as systemd
/// does with the user's last session, waits as long as `nman stop` would.
fn properties(record: &Record, slice: &str) -> Vec<Property> {
    let seconds = u64::try_from(record.stop.timeout).ok();
    let timeout = seconds.map_or(u64::MAX, |seconds| seconds.saturating_mul(1_000_000));
    vec![
        Property::new("Description", Value::text(format!("nman container {}", record.name))),
        Property::new("Slice", Value::text(slice)),
        Property::new("Delegate", Value::Bool(true)),
        Property::new("TasksMax", Value::Uint64(u64::MAX)),
        Property::new("CollectMode", Value::text("inactive-or-failed")),
        Property::new("TimeoutStopUSec", Value::Uint64(timeout)),
    ]
}

/// Moves us into a running container's scope, if we are where we cannot put a process into its cgroup: in a session of the user's,
/// which is root's (cgroups(7), "delegation containment").
///
/// # Errors
/// The user's systemd does not move us.
pub fn join(record: &Record, init: i32) -> Result<()> {
    if record.slice().is_none() {
        return Ok(());
    }
    let (Some(own), Some(wanted)) = (unified_of("self"), unified_of(init)) else {
        return Ok(());
    };
    let Some(unit) = unit(&wanted) else { return Ok(()) };
    if may_write(&directory(&shared(&own, &wanted)).join("cgroup.procs")) {
        return Ok(());
    }
    let attach =
        || connect()?.attach_process_to_unit(&unit, &format!("/{MONITOR}"), std::process::id());
    attach().map_err(|error| Error::Rejected {
        message: format!("cannot enter the container's unit `{unit}`: {error}"),
        hint: None,
    })
}

/// The scope of ours that a cgroup is in.
fn unit(group: &Path) -> Option<String> {
    let names = group.iter().filter_map(|name| name.to_str());
    let mut units = names.filter(|name| name.starts_with("nman-") && name.ends_with(".scope"));
    units.next().map(str::to_owned)
}

/// The cgroup that both are in.
fn shared(one: &Path, other: &Path) -> PathBuf {
    let both = one.components().zip(other.components());
    both.take_while(|(a, b)| a == b).map(|(a, _)| a).collect()
}

/// Has the user's systemd move a process of ours out of the session that we are in, which it is to outlive. Where that cannot be, it
/// stays. The unit is called by what the process does.
pub(crate) fn shelter(does: &str, about: &str, pid: u32) {
    if !systemd::is_running() || fs::metadata("/sys/fs/cgroup/cgroup.controllers").is_err() {
        return;
    }
    let properties = [
        Property::new("Description", Value::text(format!("nman's {about}"))),
        Property::new("Slice", Value::text("user.slice")),
        Property::new("CollectMode", Value::text("inactive-or-failed")),
    ];
    let name = format!("nman-{does}-{pid}.scope");
    let _ = connect()
        .and_then(|mut connection| connection.start_transient_unit(&name, &properties, pid));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_moved_to_the_unit_that_the_container_is_in() {
        let group = Path::new("/user.slice/user@7.service/user.slice/nman-0a.scope/0abc/inner");
        assert_eq!(unit(group).as_deref(), Some("nman-0a.scope"));
        assert_eq!(unit(Path::new("/user.slice/session-3.scope")), None);
        let session = Path::new("/user.slice/session-3.scope");
        assert_eq!(shared(session, group), Path::new("/user.slice"));
        assert_eq!(shared(Path::new("/"), group), Path::new("/"));
        let monitor = Path::new("/user.slice/user@7.service/user.slice/nman-0a.scope/monitor");
        assert!(shared(monitor, group).ends_with("nman-0a.scope"));
    }
}
