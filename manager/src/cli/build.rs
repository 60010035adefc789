//! `nman build`

mod agent;
mod cache;
mod output;
mod values;

pub use agent::{AgentPlace, BuildAgent};
pub use cache::{CachePlace, CacheSource, CacheTarget, InLayout};
pub use output::BuildOutput;
pub use values::{
    BuildSecret, ContextSource, Entitlement, NamedContext, NoAttestation, SecretSource,
};

use super::create::cgroup_parent;
use super::values::variable;
use super::{LimitArgs, NetworkChoice, Size, TlsArgs};
use crate::cgroup::DEFAULT_PARENT;
use crate::container::Ulimit;
use crate::network::dns::HostEntry;
use crate::registry::Platform;
use clap::{ArgAction, Args, ValueEnum};
use std::path::PathBuf;

/// `nman build`
#[derive(Clone, Debug, Default, Args)]
pub struct BuildArgs {
    /// Name of the image; may be given several times
    #[arg(short, long, value_name = "REPOSITORY[:TAG]")]
    pub tag: Vec<String>,
    /// Dockerfile, or `-` for stdin [default: Dockerfile or Containerfile in the context]
    #[arg(short, long, value_name = "FILE|-")]
    pub file: Option<PathBuf>,
    /// Give an ARG of the Dockerfile a value, or pass on one of our variables
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = variable)]
    pub build_arg: Vec<(String, Option<String>)>,
    /// Stage to build [default: the last one]
    #[arg(long, value_name = "STAGE")]
    pub target: Option<String>,
    /// Take no step from earlier builds
    #[arg(long)]
    pub no_cache: bool,
    /// Take none of these stages' steps from earlier builds
    #[arg(long, value_name = "STAGE", value_delimiter = ',')]
    pub no_cache_filter: Vec<String>,
    /// Take steps that are not here from a cache in a registry or an image layout, or from an image
    #[arg(long, value_name = "NAME|type=TYPE,KEY=VALUE")]
    pub cache_from: Vec<CacheSource>,
    /// Write the steps to a registry, to an image layout, or into the image, for --cache-from elsewhere
    #[arg(long, value_name = "NAME|type=TYPE,KEY=VALUE")]
    pub cache_to: Vec<CacheTarget>,
    /// Pull the images of FROM even if they are here
    #[arg(long)]
    pub pull: bool,
    /// Print the image's id alone
    #[arg(short, long)]
    pub quiet: bool,
    /// Set a label of the image
    #[arg(long, value_name = "KEY[=VALUE]")]
    pub label: Vec<String>,
    /// Set an annotation of the image's manifest
    #[arg(long, value_name = "[manifest:]KEY=VALUE", value_parser = values::annotation)]
    pub annotation: Vec<(String, String)>,
    /// Make one layer of all that the steps have made
    #[arg(long)]
    pub squash: bool,
    /// Write the files of the result to a directory, or as an archive, or its image as an archive, instead of keeping an image
    #[arg(short, long, value_name = "DIR|-|type=TYPE,dest=PATH")]
    pub output: Vec<BuildOutput>,
    /// More files, or an image, under a name that FROM and --from may have
    #[arg(long, value_name = "NAME=PATH|URL|docker-image://IMAGE|oci-layout://DIR")]
    pub build_context: Vec<NamedContext>,
    /// Network of the steps that run something: none, host, bridge, or a network's name [default: bridge]
    #[arg(long, value_name = "NETWORK")]
    pub network: Option<NetworkChoice>,
    /// How it is shown how the build gets on
    #[arg(long, value_enum, value_name = "KIND", default_value_t)]
    pub progress: ProgressKind,
    /// Write the image's id to this file
    #[arg(long, value_name = "FILE")]
    pub iidfile: Option<PathBuf>,
    /// Write the digests and names of what was built to this file, as JSON
    #[arg(long, value_name = "FILE")]
    pub metadata_file: Option<PathBuf>,
    /// Add a line to /etc/hosts of the steps that run something; the address may be host-gateway
    #[arg(long, value_name = "NAME:ADDRESS")]
    pub add_host: Vec<HostEntry>,
    /// Limits of the steps that run something.
    #[command(flatten)]
    pub limits: LimitArgs,
    /// Set a limit of their processes, such as nofile=1024:2048
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    pub ulimit: Vec<Ulimit>,
    /// Size of their /dev/shm [default: 64m]
    #[arg(long, value_name = "SIZE")]
    pub shm_size: Option<Size>,
    /// Cgroup below which they get their own
    #[arg(long, value_name = "PATH", value_parser = cgroup_parent, default_value = DEFAULT_PARENT)]
    pub cgroup_parent: String,
    /// Accepted for compatibility: no container of a build stays
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value = "true", default_missing_value = "true")]
    pub rm: bool,
    /// Accepted for compatibility: no container of a build stays
    #[arg(long)]
    pub force_rm: bool,
    /// Keep the image here, also if -o writes its files or the image elsewhere
    #[arg(long)]
    pub load: bool,
    /// Push the image to each registry that -t names, once it is built
    #[arg(long, conflicts_with = "output")]
    pub push: bool,
    /// Accepted for compatibility with `false`: no provenance is attested
    #[arg(long, value_name = "false")]
    pub provenance: Option<NoAttestation>,
    /// Accepted for compatibility with `false`: no list of what is in the image is attested
    #[arg(long, value_name = "false")]
    pub sbom: Option<NoAttestation>,
    /// Accepted for compatibility: nothing of the context is sent to anybody
    #[arg(long)]
    pub compress: bool,
    /// Accepted for compatibility: there is `default`
    #[arg(long, value_name = "KIND", value_parser = ["default"])]
    pub isolation: Option<String>,
    /// Bring a file, or a variable of ours, that RUN --mount=type=secret may have
    #[arg(long, value_name = "id=ID[,src=FILE|,env=NAME]", value_parser = values::secret)]
    pub secret: Vec<BuildSecret>,
    /// Forward an agent for SSH to RUN --mount=type=ssh: default for that of SSH_AUTH_SOCK, or its socket, or one that has the keys of files
    #[arg(long, value_name = "default|ID[=SOCKET|KEY,...]")]
    pub ssh: Vec<BuildAgent>,
    /// Allow what steps ask for that takes them out of their confinement
    #[arg(long, value_enum, value_name = "ENTITLEMENT", value_delimiter = ',')]
    pub allow: Vec<Entitlement>,
    /// Platform of the result, such as linux/amd64; the results for several are a list
    #[arg(
        long,
        value_name = "OS/ARCH[/VARIANT]",
        value_delimiter = ',',
        env = "DOCKER_DEFAULT_PLATFORM"
    )]
    pub platform: Vec<Platform>,
    /// List of images that the results are added to, made if it is not there
    #[arg(long, value_name = "LIST[:TAG]")]
    pub manifest: Option<String>,
    /// How far registries are trusted.
    #[command(flatten)]
    pub tls: TlsArgs,
    /// Directory of the files that can be copied; `-` for a Dockerfile or an archive of such a directory on stdin; or where either, or a repository of git, is
    #[arg(value_name = "PATH|URL|-")]
    pub context: PathBuf,
}

/// How it is shown how a build gets on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ProgressKind {
    /// As it is best
    #[default]
    Auto,
    /// A line for each step, and all output
    #[value(alias = "tty")]
    Plain,
    /// Not at all
    Quiet,
}
