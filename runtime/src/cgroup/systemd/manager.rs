//! What systemd is asked: to start and stop a unit, to change it, to move a process into it.

use std::path::{Path, PathBuf};

use ::systemd::{Connection, Property, Writer};
use oci_spec::runtime::LinuxResources;
use rustix::process::Pid;

use super::super::Error;
use super::properties;
use super::unit::{Unit, UnitPlan};

/// The oldest systemd that knows all properties without which a container's limits could be lost (`AllowedCPUs`).
const OLDEST: u32 = 244;

/// What planning has to know about the systemd that runs here.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Facts {
    /// Its version: 252.
    pub version: u32,
    /// It is a user's, not the system's.
    pub user: bool,
    /// The cgroup below which it keeps its slices, from the root of the hierarchy.
    pub control_group: PathBuf,
}

impl Facts {
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.version >= OLDEST {
            return Ok(());
        }
        let why = format!("its version is {}, {OLDEST} is the oldest that is taken", self.version);
        Err(Error::Systemd { what: "let systemd make the cgroup".into(), why })
    }
}

/// Asks systemd what planning has to know; `None` where it does not run.
pub fn probe() -> Result<Option<Facts>, Error> {
    if !::systemd::is_running() {
        return Ok(None);
    }
    let user = ::systemd::is_user();
    let ask = || {
        let mut connection = Connection::open(user)?;
        let version = version(&connection.manager_property("Version")?);
        let control_group = match user {
            true => connection.manager_property("ControlGroup")?,
            false => "/".into(),
        };
        Ok(Facts { version, user, control_group: control_group.into() })
    };
    ask().map(Some).map_err(|error| failed("ask systemd for its version".into(), &error))
}

/// `252.38-1~deb12u1`, `v245`: the first number, 0 without any.
fn version(text: &str) -> u32 {
    let digits = text.trim_start_matches('v');
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().unwrap_or(0)
}

fn failed(what: String, error: &::systemd::Error) -> Error {
    Error::Systemd { what, why: error.to_string() }
}

/// How a unit's start went wrong.
#[derive(Debug)]
pub(in super::super) struct StartError {
    /// What the user reads.
    pub(in super::super) error: Error,
    /// systemd may have made the unit: it has to be stopped.
    pub(in super::super) made: bool,
}

impl UnitPlan {
    /// Starts the unit around a process, and returns when the process is in its cgroup.
    ///
    /// A unit of that name that has failed and stayed is cleared away first; one that is in use is not ours to touch.
    pub(in super::super) fn start(&self, pid: Pid) -> Result<(), StartError> {
        let name = &self.unit.name;
        let what = || format!("start the unit `{name}`");
        let not_made = |error| StartError { error: failed(what(), &error), made: false };
        let mut connection = Connection::open(self.unit.user).map_err(not_made)?;
        connection.subscribe().map_err(not_made)?;
        let mut started = self.ask_to_start(&mut connection, pid);
        if started.as_ref().is_err_and(|error| error.is("UnitExists")) {
            let _ = connection.reset_failed_unit(name);
            started = self.ask_to_start(&mut connection, pid);
        }
        let job = started.map_err(|error| StartError {
            made: !matches!(error, ::systemd::Error::Refused { .. }),
            error: failed(what(), &error),
        })?;
        let result = connection.wait(&job);
        let why = match &result {
            Ok(result) if result == "done" => return Ok(()),
            Ok(result) => format!("its job ended as `{result}`"),
            Err(error) => error.to_string(),
        };
        let _ = connection.reset_failed_unit(name);
        Err(StartError { error: Error::Systemd { what: what(), why }, made: true })
    }

    fn ask_to_start(
        &self,
        connection: &mut Connection,
        pid: Pid,
    ) -> Result<String, ::systemd::Error> {
        let pid = pid.as_raw_nonzero().get().unsigned_abs();
        connection.start_transient_unit(&self.unit.name, &self.properties, pid)
    }
}

impl Unit {
    /// Stops the unit and clears it away if it has failed. One that is not there is no error.
    pub(in super::super) fn stop(&self) -> Result<(), Error> {
        let stop = || {
            let mut connection = Connection::open(self.user)?;
            connection.subscribe()?;
            let stopped = connection.stop_unit(&self.name).and_then(|job| connection.wait(&job));
            let _ = connection.reset_failed_unit(&self.name);
            match stopped {
                // However the job ended: the processes are killed and the directories removed by name.
                Ok(_) => Ok(()),
                Err(error) if error.is("NoSuchUnit") => Ok(()),
                Err(error) => Err(error),
            }
        };
        stop().map_err(|error| failed(format!("stop the unit `{}`", self.name), &error))
    }

    /// Changes the running unit, until it ends.
    pub(in super::super) fn set(&self, list: &[Property]) -> Result<(), Error> {
        let set = || {
            let mut body = Writer::default();
            body.string(&self.name);
            // Only as long as it runs: nothing is written to /etc.
            body.u32(1);
            body.properties(list);
            Connection::open(self.user)?.call("SetUnitProperties", "sba(sv)", body, "").map(drop)
        };
        set().map_err(|error| failed(format!("change the unit `{}`", self.name), &error))
    }

    /// Moves a process into the unit, to a directory in it: what a user may not do, the user's systemd has done by the system's.
    pub(in super::super) fn attach(&self, pid: Pid, to: Option<&Path>) -> Result<(), Error> {
        let attach = || {
            let pid = pid.as_raw_nonzero().get().unsigned_abs();
            let below = self.path_below(to);
            Connection::open(self.user)?.attach_process_to_unit(&self.name, &below, pid)
        };
        attach().map_err(|error| {
            failed(format!("put process {pid} into the unit `{}`", self.name), &error)
        })
    }
}

impl Unit {
    /// A directory, from the unit's own: `/` for the unit's own, and for one that is elsewhere.
    fn path_below(&self, directory: Option<&Path>) -> String {
        let unit = |above: &&Path| above.ends_with(&self.name);
        let below = directory.and_then(|path| path.strip_prefix(path.ancestors().find(unit)?).ok());
        format!("/{}", below.unwrap_or(Path::new("")).display())
    }
}

/// Tells systemd of new limits of a container. The files are the caller's to write, after this: systemd would overwrite them.
///
/// `unified` says that the host has cgroup v2 alone.
///
/// # Errors
/// When the limits cannot be, or systemd refuses.
pub fn set_resources(unit: &Unit, resources: &LinuxResources, unified: bool) -> Result<(), Error> {
    let what = || format!("change the unit `{}`", unit.name);
    let text = Connection::open(unit.user)
        .and_then(|mut connection| connection.manager_property("Version"))
        .map_err(|error| failed(what(), &error))?;
    let list = properties::of_resources(resources, unified, version(&text))?;
    if list.is_empty() { Ok(()) } else { unit.set(&list) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers_with_anything_behind_them() {
        for (text, number) in
            [("252.38-1~deb12u1", 252), ("v245", 245), ("257", 257), ("x", 0), ("", 0)]
        {
            assert_eq!(version(text), number, "{text}");
        }
    }

    #[test]
    fn a_directory_is_named_from_the_units_own() {
        let unit = Unit { name: "a-b.scope".into(), ..Unit::default() };
        let below = |path: &str| unit.path_below(Some(Path::new(path)));
        assert_eq!(below("/sys/fs/cgroup/user.slice/a-b.scope/inner/more"), "/inner/more");
        assert_eq!(below("/sys/fs/cgroup/user.slice/a-b.scope"), "/");
        assert_eq!(below("/sys/fs/cgroup/elsewhere"), "/");
        assert_eq!(unit.path_below(None), "/");
    }

    #[test]
    fn a_systemd_that_is_too_old_is_refused() {
        let facts = |version| Facts { version, user: false, control_group: "/".into() };
        assert!(facts(244).check().is_ok());
        assert!(facts(243).check().unwrap_err().to_string().contains("its version is 243"));
    }
}
