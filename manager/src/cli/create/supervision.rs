//! Options about how the container is looked after: how it is stopped, and what becomes of it.

use crate::cli::SignalNumber;
use clap::Args;

/// What the container's monitor does.
#[derive(Clone, Debug, Default, Args)]
pub struct SupervisionArgs {
    /// Remove the container and its anonymous volumes when it ends
    #[arg(long)]
    pub rm: bool,
    /// Seconds that `stop` waits before it kills
    #[arg(long, value_name = "SECONDS")]
    pub stop_timeout: Option<u32>,
    /// Signal that `stop` sends
    #[arg(long, value_name = "SIGNAL")]
    pub stop_signal: Option<SignalNumber>,
}
