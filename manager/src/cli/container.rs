//! Commands for containers that are there already.

use super::values::{SignalNumber, variable};
use crate::listing::ListArgs;
use clap::Args;

/// `nman start`
#[derive(Debug, Args)]
pub struct StartArgs {
    /// Attach to the container and wait for it
    #[arg(short, long)]
    pub attach: bool,
    /// Also forward stdin
    #[arg(short, long)]
    pub interactive: bool,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    pub names: Vec<String>,
}

/// `nman attach`
#[derive(Debug, Args)]
pub struct AttachArgs {
    /// Do not forward stdin
    #[arg(long)]
    pub no_stdin: bool,
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
    #[arg(short = 'n', long, value_name = "NUMBER", allow_negative_numbers = true)]
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
    /// Show the last lines only
    #[arg(short = 'n', long, value_name = "NUMBER", value_parser = tail, default_value = "all")]
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
    match text {
        "all" => Ok(Tail::All),
        text => text.parse().map(Tail::Last).map_err(|_| "a number of lines, or `all`".to_owned()),
    }
}

/// `nman stop`
#[derive(Debug, Args)]
pub struct StopArgs {
    /// Seconds to wait before killing [default: the container's, or 10]
    #[arg(short = 't', long, value_name = "SECONDS")]
    pub time: Option<u32>,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    pub names: Vec<String>,
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
    /// Accepted for compatibility: anonymous volumes are always removed
    #[arg(short, long)]
    pub volumes: bool,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    pub names: Vec<String>,
}
