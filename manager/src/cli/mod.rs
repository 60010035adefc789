//! The command line: one definition, from which parsing and help come.
//!
//! What was typed is parsed here into values that mean something; what has to be looked up on the host or in an
//! image is not this module's business.

mod build;
mod builder;
pub mod completion;
pub mod confinement;
mod container;
mod create;
mod empty;
mod family;
mod files;
mod flag;
mod hot;
mod image;
pub mod limits;
mod manifest;
pub mod mounts;
mod network;
mod number;
mod overview;
mod registry;
mod store;
mod system;
mod update;
mod usage;
mod values;
mod volume;

pub use build::{
    AgentPlace, BuildAgent, BuildArgs, BuildOutput, BuildSecret, CachePlace, CacheSource,
    CacheTarget, ContextSource, Entitlement, InLayout, NamedContext, NoAttestation, ProgressKind,
    SecretSource,
};
pub use builder::{BuilderCommand, BuilderPruneArgs};
pub use container::{
    AttachArgs, ContainerPruneArgs, EventsArgs, ExecArgs, InspectArgs, InspectType, KillArgs,
    LogsArgs, PortArgs, PsArgs, RmArgs, StartArgs, StatsArgs, StopArgs, Tail, TopArgs, WaitArgs,
    WaitFor,
};
pub use create::{
    CreateArgs, LimitArgs, NetworkArgs, NetworkChoice, ProcessArgs, ResourceArgs, RunArgs,
    SecurityArgs, StorageArgs, SupervisionArgs, Typed,
};
pub use family::ContainerCommand;
pub use files::{CommitArgs, CpArgs, DiffArgs, ExportArgs};
pub use image::{PullWhen, RegistryArgs, TlsArgs};
pub use limits::{CPU_PERIOD, CpuSet, Cpus, Memory, MemorySwap, Size};
pub use manifest::{
    ListFormat, ManifestAddArgs, ManifestAnnotateArgs, ManifestCommand, ManifestCreateArgs,
    ManifestInspectArgs, ManifestPushArgs, ManifestRemoveArgs, MemberArgs,
};
pub use network::{
    NetworkCommand, NetworkConnectArgs, NetworkCreateArgs, NetworkDisconnectArgs,
    NetworkInspectArgs, NetworkPruneArgs, NetworkRmArgs,
};
pub use registry::{LoginArgs, LogoutArgs, PullArgs, PushArgs};
pub use store::{
    ArchiveFormat, HistoryArgs, ImageCommand, ImagePruneArgs, ImagesArgs, ImportArgs,
    InspectImagesArgs, LoadArgs, RmiArgs, SaveArgs, TagArgs,
};
pub use system::{CheckArgs, DfArgs, SystemCommand, SystemPruneArgs};
pub use update::{RenameArgs, UpdateArgs};
pub use usage::{Complaint, complain};
pub use values::{Publish, SignalNumber, StandardStream, StopSignal, variable};
pub use volume::{
    VolumeCommand, VolumeCreateArgs, VolumeInspectArgs, VolumePruneArgs, VolumeRmArgs,
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// How many columns a help text has at the most: those of a terminal that nobody has made wider.
const WIDTH: usize = 80;

/// Run containers from images, without a daemon
#[derive(Debug, Parser)]
#[command(
    name = "nman",
    version,
    max_term_width = WIDTH,
    disable_version_flag = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// Show the version
    #[arg(short = 'v', long, action = clap::ArgAction::Version)]
    version: Option<bool>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// The same with the short name of a command that was given by its long one: `container ls` is `ps`.
    #[must_use]
    pub fn shortened(self) -> Self {
        match self.command {
            Command::Container(command) => Self { command: command.into_command(), ..self },
            Command::Image(command) => Self { command: command.into_command(), ..self },
            Command::Builder(command) => Self { command: command.into_command(), ..self },
            _ => self,
        }
    }
}

/// Below this heading they stand in the help of a command, behind its own.
const GLOBAL: &str = "Global Options";

/// Options that every command takes.
#[derive(Debug, Args)]
pub struct Global {
    /// Directory of images, layers and containers [default: /var/lib/nman, a user's is ~/.local/share/nman]
    #[arg(long, value_name = "DIR", env = "NMAN_ROOT", global = true, help_heading = GLOBAL)]
    pub root: Option<PathBuf>,
    /// Directory of what does not survive a reboot [default: /run/nman, a user's is $XDG_RUNTIME_DIR/nman]
    #[arg(long, value_name = "DIR", env = "NMAN_STATE", global = true, help_heading = GLOBAL)]
    pub state: Option<PathBuf>,
    /// OCI runtime to use: a name or a path [default: nrun, found beside nman or in PATH]
    #[arg(long, value_name = "RUNTIME", env = "NMAN_RUNTIME", global = true, help_heading = GLOBAL)]
    pub runtime: Option<String>,
    /// Keep the runtime's debug log and the monitor's messages in the container's directory
    #[arg(short = 'D', long, global = true, help_heading = GLOBAL)]
    pub debug: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create a container from an image and run a command in it
    Run(Box<RunArgs>),
    /// Create a container from an image without starting it
    Create(Box<CreateArgs>),
    /// Start stopped containers
    Start(StartArgs),
    /// Attach to a running container
    Attach(AttachArgs),
    /// Run a command in a running container
    Exec(ExecArgs),
    /// List containers
    Ps(PsArgs),
    /// Show what a container has written
    #[command(visible_alias = "log")]
    Logs(LogsArgs),
    /// Stop containers: their stop signal, then SIGKILL
    Stop(StopArgs),
    /// Show the processes of a container
    Top(TopArgs),
    /// Show what containers use
    Stats(StatsArgs),
    /// List the published ports of a container
    Port(PortArgs),
    /// Show what happens to containers, images, networks and volumes
    Events(EventsArgs),
    /// Stop containers and start them again
    Restart(StopArgs),
    /// Send a signal to containers
    Kill(KillArgs),
    /// Freeze all processes of containers
    Pause(Names),
    /// Let all processes of containers go on
    Unpause(Names),
    /// Wait until containers have ended, and print their exit codes
    Wait(WaitArgs),
    /// Remove containers
    Rm(RmArgs),
    /// Build an image from a Dockerfile
    Build(Box<BuildArgs>),
    /// Build images, and remove what builds keep
    #[command(subcommand, visible_alias = "buildx")]
    Builder(BuilderCommand),
    /// Make an image from what a container has changed
    Commit(CommitArgs),
    /// Copy files between a container and the host
    Cp(CpArgs),
    /// Show what a container has changed in its root file system
    Diff(DiffArgs),
    /// Write a container's root file system to an archive
    Export(ExportArgs),
    /// Rename a container
    Rename(RenameArgs),
    /// Change the limits of containers
    Update(Box<UpdateArgs>),
    /// Create, list, show and remove volumes
    #[command(subcommand)]
    Volume(VolumeCommand),
    /// Show all of containers, images, networks or volumes, as JSON
    Inspect(InspectArgs),
    /// Pull an image from a registry
    Pull(PullArgs),
    /// Push an image to a registry
    Push(PushArgs),
    /// Log in to a registry
    Login(LoginArgs),
    /// Log out of a registry
    Logout(LogoutArgs),
    /// Make lists of images for several platforms
    #[command(subcommand)]
    Manifest(ManifestCommand),
    /// Load images from an archive of `docker save` or of an OCI tool
    Load(LoadArgs),
    /// Save images to an archive
    Save(SaveArgs),
    /// Make an image from the archive of a root file system
    Import(ImportArgs),
    /// Give an image a further name
    Tag(TagArgs),
    /// List images
    Images(ImagesArgs),
    /// Show the steps by which an image was made
    History(HistoryArgs),
    /// Commands for images
    #[command(subcommand)]
    Image(ImageCommand),
    /// Commands for all that there is on disk
    #[command(subcommand)]
    System(SystemCommand),
    /// Remove images, or names of images
    Rmi(RmiArgs),
    /// Manage networks
    #[command(subcommand)]
    Network(NetworkCommand),
    /// Show where things are and what is used
    Info(FormatArgs),
    /// Show the versions of nman and of the runtime
    Version(FormatArgs),
    /// Look for what this host lacks, and say how to get it
    Doctor(DoctorArgs),
    /// Run a command in the user namespace of containers without root
    Unshare(UnshareArgs),
    /// Print a script that completes command lines in a shell
    Completion {
        /// Which shell
        #[arg(value_enum)]
        shell: completion::Shell,
    },
    /// What could come next on a command line
    #[command(name = "__complete", hide = true)]
    Complete {
        /// The words behind the program's name
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// Manage containers
    #[command(subcommand)]
    Container(ContainerCommand),
}

/// One or more containers or images.
#[derive(Debug, Args)]
pub struct Names {
    /// Names or ids
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
}

/// How one object is printed.
#[derive(Clone, Debug, Default, Args)]
pub struct FormatArgs {
    /// Print `json`, or fill a Go template
    #[arg(short, long, value_name = "FORMAT")]
    pub format: Option<String>,
}

/// `nman doctor`
#[derive(Clone, Debug, Default, Args)]
pub struct DoctorArgs {
    /// Print a `table`, `json`, or a Go template for each line
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
}

/// `nman unshare`
#[derive(Clone, Debug, Default, Args)]
pub struct UnshareArgs {
    /// In the network namespace that networks with a bridge stand in, too
    #[arg(long)]
    pub rootless_netns: bool,
    /// The command; without one, $SHELL
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// How a list is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns
    #[default]
    Table,
    /// One JSON object a line
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    fn run(words: &[&str]) -> CreateArgs {
        let cli = Cli::try_parse_from(["nman", "run"].iter().chain(words)).unwrap();
        match cli.command {
            Command::Run(args) => args.create,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_end_at_the_image() {
        let args = run(&["-it", "--rm", "alpine", "ls", "-l", "--rm", "-x"]);
        assert!(args.interactive && args.tty && args.supervision.rm);
        assert_eq!(args.image(), "alpine");
        assert_eq!(args.command(), ["ls", "-l", "--rm", "-x"]);
    }

    #[test]
    fn an_option_right_after_the_image_belongs_to_the_command() {
        assert_eq!(run(&["alpine", "-t"]).command(), ["-t"]);
        assert!(!run(&["alpine", "-t"]).tty);
        assert_eq!(run(&["alpine", "--", "-t"]).command(), ["--", "-t"]);
    }

    #[test]
    fn bad_values_are_refused_with_the_option_named() {
        for words in [
            &["--memory", "1k", "x"][..],
            &["--cpus", "many", "x"],
            &["-v", "/a:b", "x"],
            &["--name", "a/b", "x"],
            &["--hostname", "-x", "x"],
            &["--cgroup-parent", "/a/../..", "x"],
            &["--cgroup-parent", "a", "x"],
            &["--cgroup-parent", "/a.slice/..", "x"],
            &["--cgroup-parent", "a--b.slice", "x"],
            &["--cgroup-parent", ".slice", "x"],
            &["--nosuch", "x"],
            &[],
        ] {
            let error = Cli::try_parse_from(["nman", "run"].iter().chain(words)).unwrap_err();
            assert!(error.to_string().starts_with("error: "), "{words:?}");
        }
    }
}
