//! Options about what the container sees of the file system.

use crate::cli::Volume;
use clap::Args;

/// Volumes, mounts, and the root file system.
#[derive(Clone, Debug, Default, Args)]
pub struct StorageArgs {
    /// Mount a path of the host or a named volume
    #[arg(short, long, value_name = "[SOURCE:]TARGET[:OPTIONS]")]
    pub volume: Vec<Volume>,
    /// Make the root file system read-only
    #[arg(long)]
    pub read_only: bool,
}
