//! `nman volume` and its commands.

use crate::listing::ListArgs;
use clap::{Args, Subcommand};

/// The commands.
#[derive(Debug, Subcommand)]
pub enum VolumeCommand {
    /// Create a volume
    Create(VolumeCreateArgs),
    /// List volumes
    #[command(visible_alias = "list")]
    Ls(ListArgs),
    /// Show everything that is known about volumes, as JSON
    Inspect(VolumeInspectArgs),
    /// Remove volumes that no container uses
    #[command(visible_alias = "remove")]
    Rm(VolumeRmArgs),
    /// Remove anonymous volumes that no container uses
    Prune(VolumePruneArgs),
}

/// `nman volume create`
#[derive(Debug, Args)]
pub struct VolumeCreateArgs {
    /// Driver: there is `local`
    #[arg(short, long, value_name = "DRIVER", default_value = "local", value_parser = ["local"])]
    pub driver: String,
    /// Set a label
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    pub label: Vec<String>,
    /// Option of the driver: type=, device=, o=
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub opt: Vec<String>,
    /// Name [default: a random one]
    #[arg(value_name = "VOLUME")]
    pub name: Option<String>,
    /// The same, as Docker took it before it was an argument
    #[arg(long = "name", value_name = "VOLUME", hide = true)]
    pub named: Option<String>,
}

/// `nman volume inspect`
#[derive(Debug, Args)]
pub struct VolumeInspectArgs {
    /// Print a template's text for each, or JSON
    #[arg(short, long, value_name = "FORMAT")]
    pub format: Option<String>,
    /// Names
    #[arg(required = true, value_name = "VOLUME")]
    pub names: Vec<String>,
}

/// `nman volume rm`
#[derive(Debug, Args)]
pub struct VolumeRmArgs {
    /// A volume that does not exist is not an error
    #[arg(short, long)]
    pub force: bool,
    /// Names
    #[arg(required = true, value_name = "VOLUME")]
    pub names: Vec<String>,
}

/// `nman volume prune`
#[derive(Debug, Args)]
pub struct VolumePruneArgs {
    /// Remove named volumes too
    #[arg(short, long)]
    pub all: bool,
    /// Do not ask
    #[arg(short, long)]
    pub force: bool,
    /// Remove those only: label=, label!=
    #[arg(long, value_name = "FILTER")]
    pub filter: Vec<String>,
}
