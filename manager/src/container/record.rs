//! What is written down about a container: [`Record`] when it is made, and where somebody changes that, [`State`] at every turn of its life.

use super::{Config, ContainerId, ContainerName, HostConfig, MountPoint, Supervised, Supervision};
use crate::cgroup::is_slice;
use crate::clock::{Timestamp, human};
use crate::error::Error;
use crate::network::Endpoint;
use crate::network::dns::{HostEntry, Overrides};
use crate::selinux::Labels;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What a container was made from, as `rename`, `update` and the like have changed it since.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Its id.
    pub id: ContainerId,
    /// Its name.
    pub name: ContainerName,
    /// When it was made.
    pub created: Timestamp,
    /// The image.
    pub image: ImageUsed,
    /// What runs in it: `process.args`.
    pub command: Vec<String>,
    /// Its stdio.
    pub attachment: Attachment,
    /// Remove everything when it ends (`--rm`).
    pub remove: bool,
    /// The runtime's executable.
    pub runtime: PathBuf,
    /// How it is stopped.
    pub stop: StopPolicy,
    /// Labels of the image and of the command line.
    pub labels: BTreeMap<String, String>,
    /// How it is to be connected.
    pub network: NetworkWish,
    /// What runs, as it was asked for.
    #[serde(default)]
    pub config: Config,
    /// How it is confined.
    #[serde(default)]
    pub host_config: HostConfig,
    /// The AppArmor profile that its programs have, or `unconfined`; `None` where they have what the runtime has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apparmor: Option<String>,
    /// The SELinux labels that it has; `None` where there are none for containers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selinux: Option<Labels>,
    /// What it sees of the host and of volumes.
    #[serde(default)]
    pub mounts: Vec<MountPoint>,
    /// How it is looked after.
    #[serde(default)]
    pub supervision: Supervision,
    /// The build that it runs a step of, by the name of its session in the store: it ends with that build, and is removed then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
}

/// The image that a container was made from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ImageUsed {
    /// As it was asked for, in its short form.
    pub name: String,
    /// The digest of its configuration.
    pub id: String,
}

impl Record {
    /// Whether it has a cgroup of its own: without root, one is made where that is delegated.
    #[must_use]
    pub fn has_cgroup(&self) -> bool {
        !self.host_config.limits.cgroup_parent.is_empty()
    }

    /// The slice of the user's systemd in which it has a scope of its own, if it has.
    #[must_use]
    pub fn slice(&self) -> Option<&str> {
        Some(self.host_config.limits.cgroup_parent.as_str()).filter(|parent| is_slice(parent))
    }

    /// That something cannot be done with it because it has none.
    #[must_use]
    pub fn lacks_cgroup(&self, to: &str) -> Error {
        Error::WrongState {
            message: format!("cannot {to} container {}: it has no cgroup", self.name),
            hint: Some(
                "without root, containers have one that are made where one is delegated: `nman doctor` says what that takes".to_owned(),
            ),
        }
    }
}

/// Where a container's stdio leads.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attachment {
    /// It has a terminal (`-t`).
    pub terminal: bool,
    /// Its stdin is kept open (`-i`).
    pub stdin: bool,
    /// Its stdin ends when the first client leaves: the opposite of `-d`.
    pub stdin_once: bool,
    /// What `-a` names, if it names anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub named: Option<Attached>,
}

/// To which of a container's streams somebody is attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attached {
    /// What is read here goes there.
    pub stdin: bool,
    /// Its output is shown.
    pub stdout: bool,
    /// So is what it complains of.
    pub stderr: bool,
}

impl Attached {
    /// To both outputs, and perhaps to stdin.
    #[must_use]
    pub fn to_output(stdin: bool) -> Self {
        Self { stdin, stdout: true, stderr: true }
    }

    /// Whether anything is shown.
    #[must_use]
    pub fn shows(self) -> bool {
        self.stdout || self.stderr
    }
}

impl Attachment {
    /// What `nman run` is attached to. As in Docker, `-i` brings stdin whatever `-a` names.
    #[must_use]
    pub fn attached(self) -> Attached {
        match self.named {
            _ if !self.stdin_once => Attached::default(),
            None => Attached::to_output(self.stdin),
            Some(named) => Attached { stdin: named.stdin || self.stdin, ..named },
        }
    }
}

/// How a container is asked to stop.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct StopPolicy {
    /// The signal number of the image's StopSignal, or SIGTERM.
    pub signal: i32,
    /// Seconds until SIGKILL; -1 for never.
    pub timeout: i32,
}

/// How a container is to be connected, as it was typed: what that comes to is decided at every start.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct NetworkWish {
    /// `--network`
    pub network: String,
    /// Each `-p`
    pub publish: Vec<String>,
    /// `-P`: what that comes to is among `publish`.
    #[serde(default)]
    pub publish_all: bool,
    /// The container's host name.
    pub hostname: String,
    /// Exposed ports, as `80/tcp`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exposed: Vec<String>,
    /// `--dns` and its like.
    #[serde(default)]
    pub dns: Overrides,
    /// `--add-host`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extra_hosts: Vec<HostEntry>,
    /// The networks that it was made with; `networks.json` has those that it is to be on now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<Endpoint>,
}

/// How far a container got.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// The turn of its life.
    pub status: Status,
    /// The process id of its init on the host, while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// When that began ([`crate::process::birth`]): where no cgroup names it, and for a user's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub born: Option<u64>,
    /// The monitor's process id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitor: Option<i32>,
    /// When that began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitor_born: Option<u64>,
    /// In which start of the machine these processes were there ([`crate::process::boot`]): ids and moments are counted anew in each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<String>,
    /// When it was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<Timestamp>,
    /// Its exit code: 128 + N for signal N.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<u8>,
    /// What went wrong, if it was not the container itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What has happened while it was looked after.
    #[serde(default)]
    pub supervised: Supervised,
}

/// The turns of a container's life, in Docker's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It has everything but a process.
    Created,
    /// Its process runs.
    Running,
    /// Its process exists, and is kept from running.
    Paused,
    /// Its process has ended, and its policy is about to start it again.
    Restarting,
    /// Its process has ended.
    Exited,
}

impl Status {
    /// Docker's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Exited => "exited",
        }
    }

    /// Whether it has a process, or is about to have one again: what `ps` shows without `-a`.
    #[must_use]
    pub fn is_up(self) -> bool {
        matches!(self, Self::Running | Self::Paused | Self::Restarting)
    }

    /// Whether it has a process.
    #[must_use]
    pub fn has_process(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }
}

impl State {
    /// A container that has no process yet.
    #[must_use]
    pub fn created() -> Self {
        Self {
            status: Status::Created,
            pid: None,
            born: None,
            monitor: None,
            monitor_born: None,
            boot: None,
            started: None,
            finished: None,
            exit_code: None,
            error: None,
            supervised: Supervised::default(),
        }
    }

    /// Docker's exit code of what has ended without anybody hearing with what.
    pub const UNKNOWN_CODE: u8 = 255;

    /// The exit code of what SIGKILL has ended.
    pub const KILLED_CODE: u8 = 137;

    /// A container whose monitor and process are gone without a word: the monitor was killed, or its disk took nothing.
    #[must_use]
    pub fn lost(self) -> Self {
        Self {
            status: Status::Exited,
            exit_code: Some(Self::UNKNOWN_CODE),
            error: Some("its end was not written down: its monitor was killed, or the disk could not be written".to_owned()),
            ..self.without_processes()
        }
    }

    /// The same without its processes: it has none, or they are not believed in.
    #[must_use]
    pub fn without_processes(self) -> Self {
        Self { pid: None, born: None, monitor: None, monitor_born: None, boot: None, ..self }
    }

    /// What of it is true in this start of the machine: processes of another one are gone, and their ids and moments may be those
    /// of others by now.
    #[must_use]
    pub fn since(self, boot: Option<&str>) -> Self {
        match (&self.boot, boot) {
            (Some(written), Some(boot)) if written != boot => self.without_processes(),
            _ => self,
        }
    }

    /// A container of which nothing is known but whether somebody looks after it: what was written down does not read
    /// back. Whoever changes its state writes it down anew.
    #[must_use]
    pub fn unknown(is_held: bool) -> Self {
        let error = Some("its state cannot be read".to_owned());
        let up = Self { status: Status::Running, ..Self::created() };
        if is_held { Self { error, ..up } } else { Self { error, ..up.lost() } }
    }

    /// The STATUS column of `ps`.
    #[must_use]
    pub fn sentence(&self) -> String {
        match self.status {
            Status::Created => "Created".to_owned(),
            Status::Running => self.up(),
            Status::Paused => format!("{} (Paused)", self.up()),
            Status::Restarting => self.ended("Restarting"),
            Status::Exited => self.ended("Exited"),
        }
    }

    fn up(&self) -> String {
        match self.started {
            Some(started) => format!("Up {}", human(started.age())),
            None => "Up".to_owned(),
        }
    }

    fn ended(&self, word: &str) -> String {
        let code = self.exit_code.unwrap_or(255);
        match self.finished {
            Some(finished) => format!("{word} ({code}) {} ago", human(finished.age())),
            None => format!("{word} ({code})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_column_reads_as_dockers() {
        let mut state = State::created();
        assert_eq!(state.sentence(), "Created");
        state.status = Status::Running;
        state.started = Some(Timestamp::now());
        assert_eq!(state.sentence(), "Up Less than a second");
        state.status = Status::Paused;
        assert_eq!(state.sentence(), "Up Less than a second (Paused)");
        state.finished = Some(Timestamp::now());
        state.exit_code = Some(3);
        state.status = Status::Restarting;
        assert_eq!(state.sentence(), "Restarting (3) Less than a second ago");
        state.status = Status::Exited;
        assert_eq!(state.sentence(), "Exited (3) Less than a second ago");
    }

    #[test]
    fn a_state_that_does_not_read_back_is_up_only_while_somebody_looks_after_it() {
        assert_eq!(State::unknown(true).status, Status::Running);
        let ended = State::unknown(false);
        assert_eq!((ended.status, ended.exit_code), (Status::Exited, Some(255)));
    }

    #[test]
    fn what_is_named_is_attached_and_nothing_else_but_the_stdin_of_i() {
        let to = |stdin, stdout, stderr| Attached { stdin, stdout, stderr };
        let attached = |stdin, stdin_once, named| {
            Attachment { stdin, stdin_once, named, ..Attachment::default() }.attached()
        };
        assert_eq!(attached(false, true, None), to(false, true, true));
        assert_eq!(attached(true, true, None), to(true, true, true));
        assert_eq!(attached(false, true, Some(to(false, false, true))), to(false, false, true));
        assert_eq!(attached(true, true, Some(to(false, true, false))), to(true, true, false));
        assert_eq!(attached(true, false, None), to(false, false, false));
    }

    #[test]
    fn a_lost_container_counts_as_exited_with_255() {
        let state = State { status: Status::Running, pid: Some(7), ..State::created() }.lost();
        assert_eq!((state.status, state.exit_code, state.pid), (Status::Exited, Some(255), None));
    }
}
