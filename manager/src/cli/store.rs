//! Commands for images that are here: their lists, their names, and archives of them.

use super::{BuildArgs, Command, PullArgs, PushArgs, TlsArgs};
use crate::listing::ListArgs;
use crate::registry::Platform;
use clap::{ArgAction, Args, Subcommand, ValueEnum};
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
    /// Load only what is for this platform
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub platform: Option<Platform>,
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
    /// Save only what is for this platform
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub platform: Option<Platform>,
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
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", env = "DOCKER_DEFAULT_PLATFORM")]
    pub platform: Option<Platform>,
    /// How far the server of a URL is trusted.
    #[command(flatten)]
    pub tls: TlsArgs,
    /// Archive of a root file system: a file, an http:// or https:// URL, or `-` for stdin
    #[arg(value_name = "FILE|URL|-")]
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
    /// Refuse an image that is for another platform
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub platform: Option<Platform>,
    /// Names or ids
    #[arg(required = true, value_name = "IMAGE")]
    pub names: Vec<String>,
}

/// `nman images`
#[derive(Debug, Args)]
pub struct ImagesArgs {
    /// Accepted for compatibility: what the steps of builds have made is not listed
    #[arg(short, long)]
    pub all: bool,
    /// Show digests
    #[arg(long)]
    pub digests: bool,
    /// How the list is printed.
    #[command(flatten)]
    pub list: ListArgs,
    /// Show only images of this name
    #[arg(value_name = "REPOSITORY[:TAG]")]
    pub name: Option<String>,
}

/// `nman history`
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// Print a `table`, `json`, `table TEMPLATE`, or a Go template for each line
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
    /// Print sizes and times for people
    #[arg(short = 'H', long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value = "true", default_missing_value = "true")]
    pub human: bool,
    /// Do not shorten what is shown
    #[arg(long)]
    pub no_trunc: bool,
    /// Show ids only
    #[arg(short, long)]
    pub quiet: bool,
    /// Refuse an image that is for another platform; of a list, take that for this one
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub platform: Option<Platform>,
    /// Name or id
    #[arg(value_name = "IMAGE")]
    pub image: String,
}

/// `nman image inspect`
#[derive(Debug, Args)]
pub struct InspectImagesArgs {
    /// Print `json`, or a Go template for each image
    #[arg(short, long, value_name = "FORMAT")]
    pub format: Option<String>,
    /// Refuse an image that is for another platform; of a list, take that for this one
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub platform: Option<Platform>,
    /// Names or ids
    #[arg(required = true, value_name = "IMAGE")]
    pub names: Vec<String>,
}

/// `nman image prune`
#[derive(Debug, Args)]
pub struct ImagePruneArgs {
    /// Remove all images that no container uses, not only those without a name
    #[arg(short, long)]
    pub all: bool,
    /// Do not ask
    #[arg(short, long)]
    pub force: bool,
    /// Remove only what fits: until, label, label!
    #[arg(long, value_name = "KEY=VALUE")]
    pub filter: Vec<String>,
}

/// `nman image ...`: the commands of the family.
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// List images
    #[command(visible_alias = "list")]
    Ls(ImagesArgs),
    /// Build an image from a Dockerfile
    Build(Box<BuildArgs>),
    /// Pull an image from a registry
    Pull(PullArgs),
    /// Push an image to a registry
    Push(PushArgs),
    /// Load images from an archive that `docker save` or an OCI tool has made
    Load(LoadArgs),
    /// Save images to an archive
    Save(SaveArgs),
    /// Make an image from the archive of a root file system
    Import(ImportArgs),
    /// Give an image a further name
    Tag(TagArgs),
    /// Show the steps by which an image was made
    History(HistoryArgs),
    /// Show everything that is known about images, as JSON
    Inspect(InspectImagesArgs),
    /// Remove images, or names of images
    #[command(visible_alias = "remove")]
    Rm(RmiArgs),
    /// Remove images that are not used
    Prune(ImagePruneArgs),
}

impl ImageCommand {
    /// The command without its family, where it has a short name.
    #[must_use]
    pub fn into_command(self) -> Command {
        match self {
            Self::Ls(args) => Command::Images(args),
            Self::Build(args) => Command::Build(args),
            Self::Pull(args) => Command::Pull(args),
            Self::Push(args) => Command::Push(args),
            Self::Load(args) => Command::Load(args),
            Self::Save(args) => Command::Save(args),
            Self::Import(args) => Command::Import(args),
            Self::Tag(args) => Command::Tag(args),
            Self::History(args) => Command::History(args),
            Self::Rm(args) => Command::Rmi(args),
            other => Command::Image(other),
        }
    }
}
