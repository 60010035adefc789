//! `nman builder ...`: Docker's longer name of `build`, and the removal of what builds keep for later ones.

use super::{BuildArgs, Command};
use clap::{Args, Subcommand};

/// `nman builder prune`
#[derive(Debug, Args)]
pub struct BuilderPruneArgs {
    /// Remove also the steps that images stand on, and the caches of RUN --mount=type=cache
    #[arg(short, long)]
    pub all: bool,
    /// Do not ask
    #[arg(short, long)]
    pub force: bool,
    /// Remove only what fits: until
    #[arg(long, value_name = "KEY=VALUE")]
    pub filter: Vec<String>,
}

/// The commands of the family.
#[derive(Debug, Subcommand)]
pub enum BuilderCommand {
    /// Build an image from a Dockerfile
    Build(Box<BuildArgs>),
    /// Remove what builds have kept for later ones
    Prune(BuilderPruneArgs),
}

impl BuilderCommand {
    /// The command without its family, where it has a short name.
    #[must_use]
    pub fn into_command(self) -> Command {
        match self {
            Self::Build(args) => Command::Build(args),
            Self::Prune(args) => Command::Builder(Self::Prune(args)),
        }
    }
}
