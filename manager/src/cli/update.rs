//! Commands that change containers that are there already.

use super::LimitArgs;
use crate::container::RestartPolicy;
use clap::Args;

/// `nman update`
#[derive(Debug, Args)]
pub struct UpdateArgs {
    /// Limits.
    #[command(flatten)]
    pub limits: LimitArgs,
    /// Start it again when it has ended: no, on-failure[:TIMES], always, unless-stopped
    #[arg(long, value_name = "POLICY")]
    pub restart: Option<RestartPolicy>,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    pub names: Vec<String>,
}

/// `nman rename`
#[derive(Debug, Args)]
pub struct RenameArgs {
    /// Name or id
    #[arg(value_name = "CONTAINER")]
    pub name: String,
    /// Its new name
    #[arg(value_name = "NEW_NAME")]
    pub new: String,
}
