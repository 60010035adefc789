//! Commands for images, and how registries are reached.

use crate::registry::Platform;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// When `run` pulls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum PullWhen {
    /// Even if the image is there
    Always,
    /// If it is not there
    #[default]
    Missing,
    /// Never
    Never,
}

/// How registries are reached.
#[derive(Clone, Debug, Default, Args)]
pub struct RegistryArgs {
    /// Verify the registry's certificate; `false` also allows plain HTTP
    #[arg(long, value_name = "BOOL", action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value = "true", default_missing_value = "true")]
    pub tls_verify: bool,
    /// Also trust the certificate authorities of this PEM file
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Platform of a multi-platform image, such as linux/amd64
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub platform: Option<Platform>,
}

/// `nman pull`
#[derive(Debug, Args)]
pub struct PullArgs {
    /// Print the image's id only
    #[arg(short, long)]
    pub quiet: bool,
    /// How registries are reached.
    #[command(flatten)]
    pub registry: RegistryArgs,
    /// Image
    #[arg(value_name = "IMAGE")]
    pub image: String,
}
