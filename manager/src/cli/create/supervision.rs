//! Options about how the container is looked after: how it is stopped, and what becomes of it.

use crate::cli::{StopSignal, number};
use crate::container::{LogDriver, RestartPolicy};
use crate::duration;
use clap::Args;
use std::time::Duration;

/// What the container's monitor does.
#[derive(Clone, Debug, Default, Args)]
pub struct SupervisionArgs {
    /// Remove the container and its anonymous volumes when it ends
    #[arg(long)]
    pub rm: bool,
    /// Start it again when it has ended: no, on-failure[:TIMES], always, unless-stopped
    #[arg(long, value_name = "POLICY", default_value = "no", hide_default_value = true)]
    pub restart: RestartPolicy,
    /// Seconds that `stop` waits before it kills; -1 for ever
    #[arg(long, value_name = "SECONDS", value_parser = number::between::<i32>(-1, number::SECONDS),
          allow_negative_numbers = true)]
    pub stop_timeout: Option<i32>,
    /// Signal that `stop` sends
    #[arg(long, value_name = "SIGNAL")]
    pub stop_signal: Option<StopSignal>,
    /// Run an init in the container that forwards signals and reaps processes
    #[arg(long)]
    pub init: bool,
    /// Where the output goes: json-file, local, journald, syslog, gelf, fluentd, none
    #[arg(long, value_name = "DRIVER")]
    pub log_driver: Option<LogDriver>,
    /// Option of the log driver, such as max-size=10m
    #[arg(long, value_name = "KEY=VALUE")]
    pub log_opt: Vec<String>,
    /// Shell command that finds out whether the container is healthy
    #[arg(long, value_name = "COMMAND")]
    pub health_cmd: Option<String>,
    /// Time between checks [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub health_interval: Option<Duration>,
    /// Time that a check may take [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub health_timeout: Option<Duration>,
    /// Failures in a row that make the container unhealthy [default: 3]
    #[arg(long, value_name = "NUMBER", value_parser = number::between::<u32>(0, number::COUNT), allow_negative_numbers = true)]
    pub health_retries: Option<u32>,
    /// Time after the start in which failures do not count
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub health_start_period: Option<Duration>,
    /// Time between checks in the start period [default: 5s]
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub health_start_interval: Option<Duration>,
    /// Do not check, whatever the image says
    #[arg(long)]
    pub no_healthcheck: bool,
}
