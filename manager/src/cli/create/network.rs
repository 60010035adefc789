//! Options about networks.

use crate::cli::Publish;
use crate::network::Mode;
use clap::Args;

/// How the container is connected.
#[derive(Clone, Debug, Default, Args)]
pub struct NetworkArgs {
    /// Network: none, host, bridge, or the name of a network
    #[arg(long, visible_alias = "net", value_name = "NETWORK", default_value = "bridge")]
    pub network: Mode,
    /// Publish a port of the container on the host
    #[arg(short, long, value_name = "[[IP:]HOST:]PORT[/PROTOCOL]")]
    pub publish: Vec<Publish>,
}
