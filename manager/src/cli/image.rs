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

/// How far registries are trusted.
#[derive(Clone, Debug, Default, Args)]
pub struct TlsArgs {
    /// Verify the registry's certificate; `false` also allows plain HTTP
    #[arg(long, value_name = "BOOL", action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value = "true", default_missing_value = "true")]
    pub tls_verify: bool,
    /// Also trust the certificate authorities of this PEM file
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
}

/// How registries are reached, and what is taken from them.
#[derive(Clone, Debug, Default, Args)]
pub struct RegistryArgs {
    /// How far they are trusted.
    #[command(flatten)]
    pub tls: TlsArgs,
    /// Platform of a multi-platform image, such as linux/amd64
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", env = "DOCKER_DEFAULT_PLATFORM")]
    pub platform: Option<Platform>,
}
