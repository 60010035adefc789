//! What the commands are told that make a container, and what every command is told: where containers are kept.

use crate::cgroup::Manager;
use crate::cli::Parsed;
use crate::error::{Error, Result};
use crate::id::ContainerId;
use crate::{pidfd_socket, plan, record, rootless, sd_notify};
use std::path::PathBuf;

/// What `create` and `run` are told.
#[derive(Debug)]
pub struct Args {
    /// The container's id.
    pub id: ContainerId,
    /// `--root`
    pub root: PathBuf,
    /// `--bundle`
    pub bundle: PathBuf,
    /// `--config`
    pub config: Option<PathBuf>,
    /// `--console-socket`
    pub console_socket: Option<PathBuf>,
    /// `--pidfd-socket`
    pub pidfd_socket: Option<PathBuf>,
    /// `--pid-file`
    pub pid_file: Option<PathBuf>,
    /// What the plan depends on.
    pub options: plan::Options,
}

impl Args {
    /// Reads the command line.
    ///
    /// # Errors
    /// For an id that is none, or a number that is none.
    pub fn of(parsed: &Parsed, await_start: bool) -> Result<Args> {
        Args::for_id(
            parsed.operands.first().map(String::as_str).unwrap_or_default(),
            parsed,
            await_start,
        )
    }

    /// Reads the command line, but for the id.
    ///
    /// # Errors
    /// As [`Args::of`].
    pub fn for_id(id: &str, parsed: &Parsed, await_start: bool) -> Result<Args> {
        let (id, root) = (ContainerId::new(id)?, root(parsed));
        let listen_fds = listen_fds()?;
        let options = plan::Options {
            id: id.to_string(),
            no_pivot: parsed.is_set("no-pivot"),
            no_new_keyring: parsed.is_set("no-new-keyring"),
            listen_fds,
            preserve_fds: preserved_fds(parsed, listen_fds)?,
            await_start,
            rootless_cgroups: rootless::Cgroups::parse(parsed.value("rootless"))?,
            cgroup_manager: cgroup_manager(parsed)?,
            notify: sd_notify::address()
                .map(|_| record::notify_directory(&root, &id))
                .transpose()?,
        };
        Ok(Args {
            id,
            root,
            bundle: parsed.value("bundle").unwrap_or(".").into(),
            config: parsed.value("config").filter(|path| !path.is_empty()).map(PathBuf::from),
            console_socket: parsed
                .value("console-socket")
                .filter(|path| !path.is_empty())
                .map(PathBuf::from),
            pidfd_socket: pidfd_socket::path(parsed),
            pid_file: parsed.value("pid-file").filter(|path| !path.is_empty()).map(PathBuf::from),
            options,
        })
    }
}

/// How many sockets systemd has opened for this process (sd_listen_fds(3)): they are the container's, as with runc. All have to be
/// there: another that came by one of the numbers would be the container's too.
fn listen_fds() -> Result<u32> {
    let number = |name| std::env::var(name).ok()?.parse::<u32>().ok();
    let ours = |_: &u32| number("LISTEN_PID") == Some(std::process::id());
    let count = number("LISTEN_FDS").filter(ours).unwrap_or(0);
    match first_missing(3, count) {
        None => Ok(count),
        Some((_, fd)) => {
            Err(Error::Usage(format!("LISTEN_FDS={count}: file descriptor {fd} is not open")))
        }
    }
}

/// `--preserve-fds`: so many after those `before`. What is to be passed on has to be there: the words are runc's.
pub(crate) fn preserved_fds(parsed: &Parsed, before: u32) -> Result<u32> {
    let count = parsed.number("preserve-fds")?.unwrap_or(0);
    match first_missing(before.saturating_add(3), count) {
        None => Ok(count),
        Some((index, fd)) => Err(Error::Usage(format!(
            "unable to stat preserved-fd {index} (of {count}): stat /proc/self/fd/{fd}: no such file or directory"
        ))),
    }
}

/// The first of so many file descriptors that was not passed on to us: which one it is, and its number.
fn first_missing(first: u32, count: u32) -> Option<(u32, u32)> {
    let is_there = |fd: u32| i32::try_from(fd).is_ok_and(sys::fd::is_passed_on);
    let mut numbered = (0..count).map(|index| (index, first.saturating_add(index)));
    numbered.find(|(_, fd)| !is_there(*fd))
}

/// `--cgroup-manager`, or `--systemd-cgroup`, which is runc's word for one of its values.
fn cgroup_manager(parsed: &Parsed) -> Result<Manager> {
    match parsed.value("cgroup-manager") {
        None | Some("cgroupfs") if parsed.is_set("systemd-cgroup") => Ok(Manager::Systemd),
        None | Some("cgroupfs") => Ok(Manager::Cgroupfs),
        Some("systemd") => Ok(Manager::Systemd),
        Some("disabled") => Ok(Manager::Disabled),
        Some(other) => Err(Error::Usage(format!(
            "invalid value `{other}` for flag --cgroup-manager: it must be cgroupfs, systemd or disabled"
        ))),
    }
}

/// `--root`, or where it is by default.
pub fn root(parsed: &Parsed) -> PathBuf {
    parsed.value("root").map_or_else(rootless::default_root, PathBuf::from)
}
