//! How a container is looked after: what was asked for ([`Supervision`]), and what has come of it ([`Supervised`]).

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// What the monitor is asked to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Supervision {
    /// What becomes of it when it has ended.
    pub restart: RestartPolicy,
    /// How its health is found out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthCheck>,
    /// Where its output goes.
    pub log: LogConfig,
    /// Whether a small init of ours is its first process (`--init`).
    pub init: bool,
}

/// What has happened to a container while it was looked after.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Supervised {
    /// How often the policy has started it again since it was last started by somebody.
    pub restart_count: u32,
    /// Whether the kernel has killed a process of it for want of memory.
    pub oom_killed: bool,
}

/// `--restart`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum RestartPolicy {
    /// It stays as it is.
    #[default]
    No,
    /// Started again when its exit code is not 0.
    OnFailure {
        /// This often at most in a row; 0 for without end.
        retries: u32,
    },
    /// Started again whatever its exit code, and after a reboot even if it was stopped.
    Always,
    /// Started again, but not after a reboot if it was stopped before.
    UnlessStopped,
}

impl RestartPolicy {
    /// Docker's name of the policy.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::OnFailure { .. } => "on-failure",
            Self::Always => "always",
            Self::UnlessStopped => "unless-stopped",
        }
    }

    /// How often at most, where that is limited.
    #[must_use]
    pub fn retries(self) -> u32 {
        match self {
            Self::OnFailure { retries } => retries,
            _ => 0,
        }
    }
}

impl FromStr for RestartPolicy {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, count) = match text.split_once(':') {
            Some((name, count)) => (name, Some(count)),
            None => (text, None),
        };
        let policy = match name {
            "" | "no" => Self::No,
            "always" => Self::Always,
            "unless-stopped" => Self::UnlessStopped,
            "on-failure" => {
                let retries = count.unwrap_or("0").parse().map_err(|_| {
                    "invalid restart policy: maximum retry count must be a positive integer"
                        .to_owned()
                })?;
                return Ok(Self::OnFailure { retries });
            }
            _ => {
                return Err(format!(
                    "invalid restart policy: unknown policy '{name}'; use one of 'no', 'always', 'on-failure', or \
                     'unless-stopped'"
                ));
            }
        };
        match count {
            None => Ok(policy),
            Some(_) => Err(format!(
                "invalid restart policy: maximum retry count can only be used with 'on-failure', not '{name}'"
            )),
        }
    }
}

impl fmt::Display for RestartPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OnFailure { retries } if *retries > 0 => write!(f, "on-failure:{retries}"),
            policy => f.write_str(policy.name()),
        }
    }
}

impl TryFrom<String> for RestartPolicy {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<RestartPolicy> for String {
    fn from(policy: RestartPolicy) -> Self {
        policy.to_string()
    }
}

/// How a container's health is found out, with every default filled in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheck {
    /// `CMD` and the words of a command, or `CMD-SHELL` and one line for the shell.
    pub test: Vec<String>,
    /// From the end of one check to the beginning of the next.
    pub interval: Duration,
    /// How long a check may take.
    pub timeout: Duration,
    /// For so long after its start a failed check does not count.
    pub start_period: Duration,
    /// The interval while the start period lasts.
    pub start_interval: Duration,
    /// So many failures in a row make it unhealthy.
    pub retries: u32,
}

impl HealthCheck {
    /// A check with Docker's defaults.
    #[must_use]
    pub fn new(test: Vec<String>) -> Self {
        Self {
            test,
            interval: Duration::from_secs(30),
            timeout: Duration::from_secs(30),
            start_period: Duration::ZERO,
            start_interval: Duration::from_secs(5),
            retries: 3,
        }
    }

    /// The words of the command that is run.
    #[must_use]
    pub fn command(&self) -> Vec<String> {
        match self.test.split_first() {
            Some((kind, words)) if kind == "CMD-SHELL" => ["/bin/sh", "-c"]
                .iter()
                .map(|&word| word.to_owned())
                .chain(words.to_vec())
                .collect(),
            Some((_, words)) => words.to_vec(),
            None => Vec::new(),
        }
    }
}

/// Where a container's output goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LogConfig {
    /// In which form.
    pub driver: LogDriver,
    /// The options as they were given, for `inspect`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
    /// A file that has grown beyond this is put aside; 0 for never.
    pub max_size: u64,
    /// So many files at most, the current one among them.
    pub max_files: u32,
    /// Whether files that were put aside are compressed.
    #[serde(skip_serializing_if = "is_false")]
    pub compress: bool,
    /// Whether nothing is kept here of what goes elsewhere (`cache-disabled`).
    #[serde(skip_serializing_if = "is_false")]
    pub uncached: bool,
    /// What each line is marked with (`labels`, `env`, `tag`).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// Unlike Docker's json-file, ours does not fill the disk unless it is told to.
pub const DEFAULT_MAX_SIZE: u64 = 20_000_000;
/// Files of that size.
pub const DEFAULT_MAX_FILES: u32 = 5;

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            driver: LogDriver::default(),
            options: BTreeMap::new(),
            max_size: DEFAULT_MAX_SIZE,
            max_files: DEFAULT_MAX_FILES,
            compress: false,
            uncached: false,
            attributes: BTreeMap::new(),
        }
    }
}

/// `--log-driver`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogDriver {
    /// Docker's lines of JSON.
    JsonFile,
    /// Our own form: half the size, and read at the speed of a copy.
    #[default]
    Local,
    /// To systemd's journal.
    Journald,
    /// To a syslog daemon, here or elsewhere.
    Syslog,
    /// To Graylog, or whoever else takes its form.
    Gelf,
    /// To fluentd, or whoever else speaks its forward protocol.
    Fluentd,
    /// Nowhere.
    None,
}

impl LogDriver {
    /// All of them, by their names.
    pub const ALL: [Self; 7] = [
        Self::JsonFile,
        Self::Local,
        Self::Journald,
        Self::Syslog,
        Self::Gelf,
        Self::Fluentd,
        Self::None,
    ];

    /// Docker's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::JsonFile => "json-file",
            Self::Local => "local",
            Self::Journald => "journald",
            Self::Syslog => "syslog",
            Self::Gelf => "gelf",
            Self::Fluentd => "fluentd",
            Self::None => "none",
        }
    }

    /// Whether somebody else is given what the container writes.
    #[must_use]
    pub fn forwards(self) -> bool {
        matches!(self, Self::Journald | Self::Syslog | Self::Gelf | Self::Fluentd)
    }
}

impl FromStr for LogDriver {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        // Podman's name for it is taken too.
        let name = if text == "k8s-file" { "json-file" } else { text };
        Self::ALL.into_iter().find(|driver| driver.as_str() == name).ok_or_else(|| {
            let known = Self::ALL.map(Self::as_str).join(", ");
            format!("logger: no log driver named '{text}' is registered; there are {known}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_reads_and_writes_as_dockers() {
        for (text, policy) in [
            ("no", RestartPolicy::No),
            ("on-failure", RestartPolicy::OnFailure { retries: 0 }),
            ("on-failure:3", RestartPolicy::OnFailure { retries: 3 }),
            ("always", RestartPolicy::Always),
            ("unless-stopped", RestartPolicy::UnlessStopped),
        ] {
            assert_eq!(text.parse(), Ok(policy));
            assert_eq!(policy.to_string(), text);
        }
        for wrong in ["sometimes", "always:3", "on-failure:x", "on-failure:-1"] {
            assert!(wrong.parse::<RestartPolicy>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_shell_line_and_a_command_are_told_apart() {
        let check = |words: &[&str]| {
            HealthCheck::new(words.iter().map(|&word| word.to_owned()).collect()).command()
        };
        assert_eq!(check(&["CMD-SHELL", "a | b"]), ["/bin/sh", "-c", "a | b"]);
        assert_eq!(check(&["CMD", "a", "b"]), ["a", "b"]);
    }

    #[test]
    fn a_record_without_supervision_has_the_defaults() {
        let supervision: Supervision = serde_json::from_str("{}").unwrap();
        assert_eq!(supervision, Supervision::default());
        let text = serde_json::to_string(&supervision).unwrap();
        assert_eq!(serde_json::from_str::<Supervision>(&text).unwrap(), supervision);
    }
}
