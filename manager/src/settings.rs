//! Where this invocation keeps its data and its state, and which runtime it calls.
//!
//! Resolved once from flags and environment; everything below takes it by reference and reads no environment
//! of its own.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The global options, resolved.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Images, layers, container records: survives a reboot. Default: see [`Places`].
    pub root: PathBuf,
    /// Sockets, leases, the runtime's state: gone after a reboot. Default: see [`Places`].
    pub state: PathBuf,
    /// What `--runtime` said: a name to look up or a path.
    pub runtime: Option<String>,
    /// Pass `--debug` on to the runtime and keep the monitor's own messages.
    pub debug: bool,
    /// An ordinary user has called: what only the host's root can do is left out or done otherwise.
    pub rootless: bool,
}

/// The two directories of an invocation that does not name them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// See [`Settings::root`].
    pub root: PathBuf,
    /// See [`Settings::state`].
    pub state: PathBuf,
}

impl Places {
    /// Root's. No variable has a say in them: whoever calls through sudo may have set it.
    #[must_use]
    pub fn of_root() -> Self {
        Self { root: "/var/lib/nman".into(), state: "/run/nman".into() }
    }

    /// A user's, by the XDG Base Directory Specification, for which a relative path is none: `$XDG_DATA_HOME/nman`, else
    /// `~/.local/share/nman`; and `$XDG_RUNTIME_DIR/nman`, else `/run/user/UID/nman` where that is the user's (`is_own`), so that cron and
    /// `su`, which set no variable, find what the user's sessions have started, else a directory in `/tmp` with the user's id in its
    /// name. `None` for a user without a home.
    #[must_use]
    pub fn of_user(
        uid: u32,
        variable: &dyn Fn(&str) -> Option<OsString>,
        is_own: &dyn Fn(&Path) -> bool,
    ) -> Option<Self> {
        let directory = |name: &str| {
            let path = PathBuf::from(variable(name)?);
            path.is_absolute().then_some(path)
        };
        let data = || Some(directory("HOME")?.join(".local/share"));
        let root = directory("XDG_DATA_HOME").or_else(data)?.join("nman");
        let of_sessions = || Some(run_directory(uid)).filter(|path| is_own(path));
        let state = directory("XDG_RUNTIME_DIR").or_else(of_sessions).map_or_else(
            || Path::new("/tmp").join(format!("nman-{uid}")),
            |runtime| runtime.join("nman"),
        );
        Some(Self { root, state })
    }
}

/// Where the login manager has the `XDG_RUNTIME_DIR` of a user's sessions (pam_systemd(8)).
#[must_use]
pub fn run_directory(uid: u32) -> PathBuf {
    Path::new("/run/user").join(uid.to_string())
}

impl Settings {
    /// One directory per container, with its record and its bundle.
    #[must_use]
    pub fn containers(&self) -> PathBuf {
        self.root.join("containers")
    }

    /// One directory per named volume.
    #[must_use]
    pub fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }

    /// The state root that is passed to the runtime.
    #[must_use]
    pub fn runtime_root(&self) -> PathBuf {
        self.state.join("runtime")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_user(variables: &[(&str, &str)]) -> Option<(String, String)> {
        places(variables, false)
    }

    fn places(variables: &[(&str, &str)], in_session: bool) -> Option<(String, String)> {
        let variable = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
        };
        let places = Places::of_user(1000, &variable, &|_| in_session)?;
        Some((places.root.display().to_string(), places.state.display().to_string()))
    }

    #[test]
    fn a_users_directories_are_where_xdg_says() {
        let pair = |root: &str, state: &str| Some((root.to_owned(), state.to_owned()));
        let home = ("HOME", "/home/eve");
        let given = [home, ("XDG_DATA_HOME", "/data"), ("XDG_RUNTIME_DIR", "/run/user/1000")];
        assert_eq!(of_user(&given), pair("/data/nman", "/run/user/1000/nman"));
        let by_default = pair("/home/eve/.local/share/nman", "/tmp/nman-1000");
        assert_eq!(of_user(&[home]), by_default);
        assert_eq!(of_user(&[home, ("XDG_DATA_HOME", "x"), ("XDG_RUNTIME_DIR", "")]), by_default);
        assert_eq!(of_user(&[]), None);
    }

    #[test]
    fn without_a_variable_state_is_where_the_users_sessions_have_theirs() {
        let state = |variables: &[(&str, &str)]| places(variables, true).unwrap().1;
        let home = ("HOME", "/home/eve");
        assert_eq!(state(&[home]), "/run/user/1000/nman");
        assert_eq!(state(&[home, ("XDG_RUNTIME_DIR", "/own")]), "/own/nman");
    }
}
