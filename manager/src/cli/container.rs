//! Commands for containers that are there already.

use super::number;
use super::values::{SignalNumber, variable};
use crate::boolean::OFF;
use crate::clock::Timestamp;
use crate::duration;
use crate::listing::ListArgs;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// `nman start`
#[derive(Debug, Args)]
pub struct StartArgs {
    /// Attach to the container and wait for it
    #[arg(short, long)]
    pub attach: bool,
    /// Also forward stdin
    #[arg(short, long)]
    pub interactive: bool,
    /// Keys that detach from the container [default: ctrl-p,ctrl-q]
    #[arg(long, value_name = "KEYS")]
    pub detach_keys: Option<String>,
    /// Pass signals on to the container; always off with a terminal
    #[arg(long, value_name = "BOOL", action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value = "true", default_missing_value = "true")]
    pub sig_proxy: bool,
    /// Start every container whose restart policy asks for it, as after a reboot
    #[arg(long)]
    pub by_policy: bool,
    /// Names or ids
    #[arg(required_unless_present = "by_policy", required_if_eq_any = OFF.map(|off| ("by_policy", off)), value_name = "CONTAINER")]
    pub names: Vec<String>,
}

/// `nman attach`
#[derive(Debug, Args)]
pub struct AttachArgs {
    /// Do not forward stdin
    #[arg(long)]
    pub no_stdin: bool,
    /// Keys that detach from the container [default: ctrl-p,ctrl-q]
    #[arg(long, value_name = "KEYS")]
    pub detach_keys: Option<String>,
    /// Pass signals on to the container; always off with a terminal
    #[arg(long, value_name = "BOOL", action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value = "true", default_missing_value = "true")]
    pub sig_proxy: bool,
    /// Name or id
    #[arg(value_name = "CONTAINER")]
    pub name: String,
}

/// `nman exec`
#[derive(Clone, Debug, Args)]
#[command(override_usage = "nman exec [OPTIONS] CONTAINER COMMAND [ARG]...")]
pub struct ExecArgs {
    /// Keep stdin open
    #[arg(short, long)]
    pub interactive: bool,
    /// Give the command a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// Run in the background
    #[arg(short, long)]
    pub detach: bool,
    /// Set an environment variable, or pass on one of ours
    #[arg(short, long, value_name = "KEY[=VALUE]", value_parser = variable)]
    pub env: Vec<(String, Option<String>)>,
    /// Read environment variables from a file
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,
    /// Give the command every capability
    #[arg(long)]
    pub privileged: bool,
    /// Keys that detach from the container [default: ctrl-p,ctrl-q]
    #[arg(long, value_name = "KEYS")]
    pub detach_keys: Option<String>,
    /// Run as this user
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub user: Option<String>,
    /// Working directory in the container
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// Container, and the command to run in it
    #[arg(required = true, num_args = 2.., trailing_var_arg = true, value_names = ["CONTAINER", "COMMAND"])]
    pub words: Vec<String>,
}

/// `nman ps`
#[derive(Clone, Debug, Default, Args)]
pub struct PsArgs {
    /// Also show containers that do not run
    #[arg(short, long)]
    pub all: bool,
    /// Show only this many of the newest containers, whether they run or not
    #[arg(short = 'n', long, value_name = "NUMBER", value_parser = number::any, allow_negative_numbers = true)]
    pub last: Option<i64>,
    /// Show only the newest container, whether it runs or not
    #[arg(short, long)]
    pub latest: bool,
    /// Also show how much each container has written
    #[arg(short, long)]
    pub size: bool,
    /// How the list is printed.
    #[command(flatten)]
    pub list: ListArgs,
}

impl PsArgs {
    /// How many of the newest are wanted; as in Docker, nothing below one is a limit.
    #[must_use]
    pub fn count(&self) -> Option<usize> {
        let last = self.last.and_then(|last| usize::try_from(last).ok()).filter(|last| *last > 0);
        if self.latest { Some(1) } else { last }
    }
}

/// `nman logs`
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// Go on until the container ends
    #[arg(short, long)]
    pub follow: bool,
    /// Show what was written from then on: a time, or how long ago
    #[arg(long, value_name = "TIME", value_parser = duration::moment)]
    pub since: Option<Timestamp>,
    /// Show what was written before then
    #[arg(long, value_name = "TIME", value_parser = duration::moment)]
    pub until: Option<Timestamp>,
    /// Show what `--log-opt` has marked the lines with
    #[arg(long)]
    pub details: bool,
    /// Show the last lines only
    #[arg(short = 'n', long, value_name = "NUMBER", value_parser = tail, default_value = "all", allow_hyphen_values = true)]
    pub tail: Tail,
    /// Show when each line was written
    #[arg(short, long)]
    pub timestamps: bool,
    /// Name or id
    #[arg(value_name = "CONTAINER")]
    pub name: String,
}

/// How much of a log is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// Everything
    All,
    /// The last lines
    Last(u64),
}

fn tail(text: &str) -> Result<Tail, String> {
    match text.parse::<i64>() {
        // As Docker: a negative number is no limit.
        Ok(lines) => Ok(u64::try_from(lines).map_or(Tail::All, Tail::Last)),
        Err(_) if text == "all" => Ok(Tail::All),
        Err(_) => Err("must be a number of lines, or `all`".to_owned()),
    }
}

/// `nman stop` and `nman restart`
#[derive(Debug, Args)]
pub struct StopArgs {
    /// Seconds to wait before killing, -1 for ever [default: the container's, or 10]
    #[arg(
        short = 't',
        long,
        visible_alias = "timeout",
        value_name = "SECONDS",
        value_parser = number::between::<i32>(-1, number::SECONDS),
        allow_negative_numbers = true
    )]
    pub time: Option<i32>,
    /// Signal to send first [default: the container's, or TERM]
    #[arg(short, long, value_name = "SIGNAL")]
    pub signal: Option<SignalNumber>,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    pub names: Vec<String>,
}

/// `nman wait`
#[derive(Debug, Args)]
pub struct WaitArgs {
    /// What to wait for
    #[arg(long, value_enum, value_name = "CONDITION", default_value_t)]
    pub condition: WaitFor,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    pub names: Vec<String>,
}

/// What `nman wait` waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum WaitFor {
    /// Its process has ended
    #[default]
    #[value(aliases = ["stopped", "exited"])]
    NotRunning,
    /// Its process ends the next time
    NextExit,
    /// It is removed
    Removed,
    /// It runs
    Running,
    /// It is paused
    Paused,
    /// Its health check says that it is healthy
    Healthy,
    /// Its health check says that it is not
    Unhealthy,
}

/// `nman top`
#[derive(Debug, Args)]
pub struct TopArgs {
    /// Name or id
    #[arg(value_name = "CONTAINER")]
    pub name: String,
    /// Options of ps(1), which is run on the host
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "PS OPTIONS")]
    pub options: Vec<String>,
}

/// `nman port`
#[derive(Debug, Args)]
pub struct PortArgs {
    /// Name or id
    #[arg(value_name = "CONTAINER")]
    pub name: String,
    /// Only this port of the container
    #[arg(value_name = "PORT[/PROTOCOL]")]
    pub port: Option<String>,
}

/// `nman stats`
#[derive(Debug, Args)]
pub struct StatsArgs {
    /// Also show containers that do not run
    #[arg(short, long)]
    pub all: bool,
    /// Show it once, and do not go on
    #[arg(long)]
    pub no_stream: bool,
    /// Do not shorten ids
    #[arg(long)]
    pub no_trunc: bool,
    /// table, json, or a template
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
    /// Names or ids [default: all that run]
    #[arg(value_name = "CONTAINER")]
    pub names: Vec<String>,
}

/// `nman container prune`
#[derive(Debug, Args)]
pub struct ContainerPruneArgs {
    /// Do not ask
    #[arg(short, long)]
    pub force: bool,
    /// Only what fits: until=TIME, label=KEY[=VALUE], label!=KEY[=VALUE]
    #[arg(long, value_name = "FILTER")]
    pub filter: Vec<String>,
}

/// `nman events`
#[derive(Debug, Args)]
pub struct EventsArgs {
    /// Show what happened from then on: a time, or how long ago
    #[arg(long, value_name = "TIME", value_parser = duration::moment)]
    pub since: Option<Timestamp>,
    /// Stop at this time
    #[arg(long, value_name = "TIME", value_parser = duration::moment)]
    pub until: Option<Timestamp>,
    /// Only what fits, such as type=container, event=die, container=NAME, label=KEY
    #[arg(short, long, value_name = "FILTER")]
    pub filter: Vec<String>,
    /// json, or a template
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
}

/// `nman kill`
#[derive(Debug, Args)]
pub struct KillArgs {
    /// Signal to send
    #[arg(short, long, value_name = "SIGNAL", default_value = "KILL")]
    pub signal: SignalNumber,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    pub names: Vec<String>,
}

/// `nman rm`
#[derive(Debug, Args)]
pub struct RmArgs {
    /// Kill the container if it runs; a container that does not exist is not an error
    #[arg(short, long)]
    pub force: bool,
    /// Also remove its volumes that have no name
    #[arg(short, long)]
    pub volumes: bool,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    pub names: Vec<String>,
}

/// `nman inspect`
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// Print a template's text for each, or JSON
    #[arg(short, long, value_name = "FORMAT")]
    pub format: Option<String>,
    /// Also show how much a container's own files take up
    #[arg(short, long)]
    pub size: bool,
    /// Look for objects of this kind only
    #[arg(long = "type", value_enum, value_name = "TYPE")]
    pub kind: Option<InspectType>,
    /// Names or ids
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
}

/// What `nman inspect` looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum InspectType {
    /// A container
    Container,
    /// An image
    Image,
    /// A network
    Network,
    /// A volume
    Volume,
}
