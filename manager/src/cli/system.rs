//! `nman system` and its commands.

use clap::{Args, Subcommand};

/// Commands for everything at once.
#[derive(Debug, Subcommand)]
pub enum SystemCommand {
    /// Show what takes how much of the disk
    Df(DfArgs),
    /// Remove what is not used
    Prune(SystemPruneArgs),
    /// Show where things are and what is used
    Info(super::FormatArgs),
    /// Show what happens to containers, images, networks and volumes
    Events(super::EventsArgs),
    /// Check that everything on disk is whole and belongs to something
    Check(CheckArgs),
}

/// `nman system df`
#[derive(Debug, Args)]
pub struct DfArgs {
    /// Show each image, container and volume
    #[arg(short, long)]
    pub verbose: bool,
    /// Print a `table`, `json`, `table TEMPLATE`, or a Go template for each line
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
}

/// `nman system prune`
#[derive(Debug, Args)]
pub struct SystemPruneArgs {
    /// Remove all images that no container uses, not only those without a name
    #[arg(short, long)]
    pub all: bool,
    /// Do not ask
    #[arg(short, long)]
    pub force: bool,
    /// Also remove anonymous volumes that no container uses
    #[arg(long)]
    pub volumes: bool,
    /// Remove only what fits: until, label, label!
    #[arg(long, value_name = "KEY=VALUE")]
    pub filter: Vec<String>,
}

/// `nman system check`
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Mend what can be mended: remove what belongs to nothing, unpack damaged layers again
    #[arg(long)]
    pub repair: bool,
}
