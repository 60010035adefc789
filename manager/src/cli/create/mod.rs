//! `nman run` and `nman create`: the options of a new container, in groups of what they are about.

mod network;
mod process;
mod resources;
mod security;
mod storage;
mod supervision;

pub use network::{NetworkArgs, NetworkChoice};
pub(crate) use network::{
    address, alias, fields_of, gw_priority, ipv4, ipv6, link_local, mac_address,
};
pub use process::ProcessArgs;
pub(crate) use resources::cgroup_parent;
pub use resources::{LimitArgs, ResourceArgs};
pub use security::SecurityArgs;
pub use storage::{StorageArgs, Typed};
pub use supervision::SupervisionArgs;

use super::{PullWhen, RegistryArgs, StandardStream};
use clap::Args;

/// `nman run`
#[derive(Clone, Debug, Default, Args)]
#[command(override_usage = "nman run [OPTIONS] IMAGE [COMMAND] [ARG]...", disable_help_flag = true)]
pub struct RunArgs {
    /// Run in the background and print the container's id
    #[arg(short, long)]
    pub detach: bool,
    /// Pass signals on to the container; always off with `-it`, where keys make the container's own
    #[arg(long, value_name = "BOOL", action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value = "true", default_missing_value = "true")]
    pub sig_proxy: bool,
    /// Keys that detach from the container [default: ctrl-p,ctrl-q]
    #[arg(long, value_name = "KEYS")]
    pub detach_keys: Option<String>,
    /// The container.
    #[command(flatten)]
    pub create: CreateArgs,
}

/// `nman create`, and what `nman run` has in common with it.
#[derive(Clone, Debug, Default, Args)]
#[command(
    override_usage = "nman create [OPTIONS] IMAGE [COMMAND] [ARG]...",
    disable_help_flag = true
)]
pub struct CreateArgs {
    /// Keep stdin open
    #[arg(short, long)]
    pub interactive: bool,
    /// Give the container a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// Attach to this stream and, but for the stdin of `-i`, to no other [default: both outputs]
    #[arg(short, long, value_enum, ignore_case = true, value_name = "STREAM")]
    pub attach: Vec<StandardStream>,
    /// Name of the container [default: a random one]
    #[arg(long, value_name = "NAME", value_parser = crate::container::ContainerName::parse)]
    pub name: Option<crate::container::ContainerName>,
    /// Write the container's id to this file, which must not exist
    #[arg(long, value_name = "FILE")]
    pub cidfile: Option<std::path::PathBuf>,
    /// Show no progress while pulling
    #[arg(short, long)]
    pub quiet: bool,
    /// When to pull the image
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    pub pull: PullWhen,
    /// How registries are reached.
    #[command(flatten)]
    pub registry: RegistryArgs,
    /// What runs.
    #[command(flatten)]
    pub process: ProcessArgs,
    /// Limits.
    #[command(flatten)]
    pub resources: ResourceArgs,
    /// Privileges and namespaces.
    #[command(flatten)]
    pub security: SecurityArgs,
    /// Volumes.
    #[command(flatten)]
    pub storage: StorageArgs,
    /// Networks.
    #[command(flatten)]
    pub network: NetworkArgs,
    /// The monitor's work.
    #[command(flatten)]
    pub supervision: SupervisionArgs,
    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    pub help: Option<bool>,
    /// Image, and the command to run in it instead of its own
    #[arg(required = true, trailing_var_arg = true, value_name = "IMAGE [COMMAND] [ARG]...")]
    pub words: Vec<String>,
}

impl CreateArgs {
    /// The image.
    #[must_use]
    pub fn image(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// The words after the image.
    #[must_use]
    pub fn command(&self) -> &[String] {
        self.words.get(1..).unwrap_or_default()
    }
}
