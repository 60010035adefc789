//! Commands for images that are here: their lists, their names, and archives of them.

use super::Format;
use crate::registry::Platform;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// `nman load`
#[derive(Debug, Args)]
pub struct LoadArgs {
    /// Archive to read [default: stdin]
    #[arg(short, long, value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// Accepted for compatibility: nothing but names is printed
    #[arg(short, long)]
    pub quiet: bool,
}

/// `nman save`
#[derive(Debug, Args)]
pub struct SaveArgs {
    /// File to write [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// What the archive is readable as
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    pub format: ArchiveFormat,
    /// Names or ids; a name without a tag stands for all tags of it
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<String>,
}

/// What an archive is readable as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ArchiveFormat {
    /// By `docker load` and as an OCI layout, as Docker 25 and later write it
    #[default]
    #[value(alias = "docker-archive")]
    Docker,
    /// As an OCI layout only
    #[value(alias = "oci-archive")]
    Oci,
}

impl From<ArchiveFormat> for bundle::archive::Form {
    fn from(format: ArchiveFormat) -> Self {
        match format {
            ArchiveFormat::Docker => Self::Docker,
            ArchiveFormat::Oci => Self::Oci,
        }
    }
}

/// `nman import`
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// Apply a line of a Dockerfile to the image (CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, USER, VOLUME, WORKDIR, ...)
    #[arg(short, long, value_name = "INSTRUCTION")]
    pub change: Vec<String>,
    /// Message for the image's history
    #[arg(short, long, value_name = "TEXT")]
    pub message: Option<String>,
    /// Platform of the image [default: this machine's]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub platform: Option<Platform>,
    /// Archive of a root file system: a file, or `-` for stdin
    #[arg(value_name = "FILE|-")]
    pub source: PathBuf,
    /// Name of the image
    #[arg(value_name = "REPOSITORY[:TAG]")]
    pub name: Option<String>,
}

/// `nman tag`
#[derive(Debug, Args)]
pub struct TagArgs {
    /// Name or id of the image
    #[arg(value_name = "SOURCE_IMAGE[:TAG]")]
    pub source: String,
    /// Its further name
    #[arg(value_name = "TARGET_IMAGE[:TAG]")]
    pub target: String,
}

/// `nman rmi`
#[derive(Debug, Args)]
pub struct RmiArgs {
    /// Remove an image by its id even if it has several names, and even if stopped containers use it
    #[arg(short, long)]
    pub force: bool,
    /// Accepted for compatibility: there are no untagged parents
    #[arg(long)]
    pub no_prune: bool,
    /// Names or ids
    #[arg(required = true, value_name = "IMAGE")]
    pub names: Vec<String>,
}

/// `nman images`
#[derive(Debug, Args)]
pub struct ImagesArgs {
    /// Show ids only
    #[arg(short, long)]
    pub quiet: bool,
    /// Do not shorten ids
    #[arg(long)]
    pub no_trunc: bool,
    /// Print a table or JSON
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    pub format: Format,
}
