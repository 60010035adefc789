//! The command line: one definition, from which parsing and help come.
//!
//! What was typed is parsed here into values that mean something; what has to be looked up on the host or in an
//! image is not this module's business.

mod values;

pub use values::{
    CPU_PERIOD, CpuSet, Cpus, Memory, Publish, SignalNumber, Volume, VolumeSource, variable,
};

use crate::network::Mode;
use crate::registry::Platform;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Run containers from images, without a daemon
#[derive(Debug, Parser)]
#[command(
    name = "nman",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every command takes.
#[derive(Debug, Args)]
pub struct Global {
    /// Directory of images, layers and containers
    #[arg(
        long,
        value_name = "DIR",
        env = "NMAN_ROOT",
        default_value = "/var/lib/nman",
        global = true
    )]
    pub root: PathBuf,
    /// Directory of what does not survive a reboot
    #[arg(
        long,
        value_name = "DIR",
        env = "NMAN_STATE",
        default_value = "/run/nman",
        global = true
    )]
    pub state: PathBuf,
    /// OCI runtime to use: a name or a path [default: nrun, found beside nman or in PATH]
    #[arg(long, value_name = "RUNTIME", env = "NMAN_RUNTIME", global = true)]
    pub runtime: Option<String>,
    /// Keep the runtime's debug log and the monitor's messages in the container's directory
    #[arg(long, global = true)]
    pub debug: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create a container from an image and run a command in it
    Run(Box<RunArgs>),
    /// Start stopped containers
    Start(StartArgs),
    /// Attach to a running container
    Attach(AttachArgs),
    /// Run a command in a running container
    Exec(ExecArgs),
    /// List containers
    Ps(PsArgs),
    /// Show what a container has written
    Logs(LogsArgs),
    /// Stop containers: their stop signal, then SIGKILL
    Stop(StopArgs),
    /// Send a signal to containers
    Kill(KillArgs),
    /// Wait until containers have ended, and print their exit codes
    Wait(Names),
    /// Remove containers
    Rm(RmArgs),
    /// Show everything that is known about containers or images, as JSON
    Inspect(Names),
    /// Pull an image from a registry
    Pull(PullArgs),
    /// Load images from an archive that `docker save` or an OCI tool has made
    Load(LoadArgs),
    /// List images
    Images(ImagesArgs),
    /// Remove images, or names of images
    Rmi(RmiArgs),
    /// Show where things are and what is used
    Info,
    /// Show the versions of nman and of the runtime
    Version,
}

/// One or more containers or images.
#[derive(Debug, Args)]
pub struct Names {
    /// Names or ids
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
}

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

/// `nman run`
#[derive(Clone, Debug, Default, Args)]
#[command(override_usage = "nman run [OPTIONS] IMAGE [COMMAND] [ARG]...")]
pub struct RunArgs {
    /// Keep stdin open
    #[arg(short, long)]
    pub interactive: bool,
    /// Give the container a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// Run in the background and print the container's id
    #[arg(short, long)]
    pub detach: bool,
    /// Remove the container and its anonymous volumes when it ends
    #[arg(long)]
    pub rm: bool,
    /// Name of the container [default: a random one]
    #[arg(long, value_name = "NAME", value_parser = crate::container::ContainerName::parse)]
    pub name: Option<crate::container::ContainerName>,
    /// Set an environment variable, or pass on one of ours
    #[arg(short, long, value_name = "KEY[=VALUE]", value_parser = variable)]
    pub env: Vec<(String, Option<String>)>,
    /// Read environment variables from a file
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,
    /// Mount a path of the host or a named volume
    #[arg(short, long, value_name = "[SOURCE:]TARGET[:OPTIONS]")]
    pub volume: Vec<Volume>,
    /// Network: none, host, bridge, or the name of a network
    #[arg(long, visible_alias = "net", value_name = "NETWORK", default_value = "bridge")]
    pub network: Mode,
    /// Publish a port of the container on the host
    #[arg(short, long, value_name = "[[IP:]HOST:]PORT[/PROTOCOL]")]
    pub publish: Vec<Publish>,
    /// Limit memory, such as 512m
    #[arg(short, long, value_name = "SIZE")]
    pub memory: Option<Memory>,
    /// Limit CPU time to this number of CPUs, such as 1.5
    #[arg(long, value_name = "NUMBER")]
    pub cpus: Option<Cpus>,
    /// Run on these CPUs only, such as 0-1
    #[arg(long, value_name = "LIST")]
    pub cpuset_cpus: Option<CpuSet>,
    /// Cgroup below which the container gets its own
    #[arg(long, value_name = "PATH", value_parser = cgroup_parent, default_value = "/nman")]
    pub cgroup_parent: String,
    /// Run as this user
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub user: Option<String>,
    /// Working directory in the container
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// Replace the image's entry point
    #[arg(long, value_name = "COMMAND")]
    pub entrypoint: Option<String>,
    /// Host name of the container
    #[arg(long, value_name = "NAME", value_parser = hostname)]
    pub hostname: Option<String>,
    /// Make the root file system read-only
    #[arg(long)]
    pub read_only: bool,
    /// Set a label
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    pub label: Vec<String>,
    /// Seconds that `stop` waits before it kills
    #[arg(long, value_name = "SECONDS")]
    pub stop_timeout: Option<u32>,
    /// Signal that `stop` sends
    #[arg(long, value_name = "SIGNAL")]
    pub stop_signal: Option<SignalNumber>,
    /// Pass signals on to the container; always off with a terminal
    #[arg(long, value_name = "BOOL", action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value = "true", default_missing_value = "true")]
    pub sig_proxy: bool,
    /// When to pull the image
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    pub pull: PullWhen,
    /// How registries are reached.
    #[command(flatten)]
    pub registry: RegistryArgs,
    /// Image, and the command to run in it instead of its own
    #[arg(required = true, trailing_var_arg = true, value_name = "IMAGE [COMMAND] [ARG]...")]
    pub words: Vec<String>,
}

impl RunArgs {
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

/// A path below the root of the cgroup tree, which nothing can lead out of (class F of the known attacks).
fn cgroup_parent(text: &str) -> Result<String, String> {
    let good = |part: &str| {
        !matches!(part, "" | "." | "..")
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
    };
    match text.strip_prefix('/') {
        Some(rest) if rest.split('/').all(good) => Ok(text.to_owned()),
        _ => Err("a cgroup is an absolute path of plain names".to_owned()),
    }
}

fn hostname(text: &str) -> Result<String, String> {
    let good = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
    };
    if text.len() <= 64 && text.split('.').all(good) {
        Ok(text.to_owned())
    } else {
        Err("a host name is made of letters, digits, `-` and `.`, 64 characters at most".to_owned())
    }
}

/// `nman start`
#[derive(Debug, Args)]
pub struct StartArgs {
    /// Attach to the container and wait for it
    #[arg(short, long)]
    pub attach: bool,
    /// Also forward stdin
    #[arg(short, long)]
    pub interactive: bool,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    pub names: Vec<String>,
}

/// `nman attach`
#[derive(Debug, Args)]
pub struct AttachArgs {
    /// Do not forward stdin
    #[arg(long)]
    pub no_stdin: bool,
    /// Name or id
    #[arg(value_name = "CONTAINER")]
    pub name: String,
}

/// `nman exec`
#[derive(Clone, Debug, Args)]
#[command(override_usage = "nman exec [OPTIONS] CONTAINER COMMAND [ARG]...")]
pub struct ExecArgs {
    /// Keep stdin open
    #[arg(short, long)]
    pub interactive: bool,
    /// Give the command a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// Run in the background
    #[arg(short, long)]
    pub detach: bool,
    /// Set an environment variable, or pass on one of ours
    #[arg(short, long, value_name = "KEY[=VALUE]", value_parser = variable)]
    pub env: Vec<(String, Option<String>)>,
    /// Run as this user
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub user: Option<String>,
    /// Working directory in the container
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// Container, and the command to run in it
    #[arg(required = true, num_args = 2.., trailing_var_arg = true, value_names = ["CONTAINER", "COMMAND"])]
    pub words: Vec<String>,
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

/// `nman ps`
#[derive(Debug, Args)]
pub struct PsArgs {
    /// Also show containers that do not run
    #[arg(short, long)]
    pub all: bool,
    /// Show ids only
    #[arg(short, long)]
    pub quiet: bool,
    /// Do not shorten ids and commands
    #[arg(long)]
    pub no_trunc: bool,
    /// Print a table or JSON
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    pub format: Format,
}

/// `nman logs`
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// Go on until the container ends
    #[arg(short, long)]
    pub follow: bool,
    /// Show the last lines only
    #[arg(short = 'n', long, value_name = "NUMBER", value_parser = tail, default_value = "all")]
    pub tail: Tail,
    /// Show when each line was written
    #[arg(short, long)]
    pub timestamps: bool,
    /// Name or id
    #[arg(value_name = "CONTAINER")]
    pub name: String,
}

/// How much of a log is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// Everything
    All,
    /// The last lines
    Last(u64),
}

fn tail(text: &str) -> Result<Tail, String> {
    match text {
        "all" => Ok(Tail::All),
        text => text.parse().map(Tail::Last).map_err(|_| "a number of lines, or `all`".to_owned()),
    }
}

/// `nman stop`
#[derive(Debug, Args)]
pub struct StopArgs {
    /// Seconds to wait before killing [default: the container's, or 10]
    #[arg(short = 't', long, value_name = "SECONDS")]
    pub time: Option<u32>,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    pub names: Vec<String>,
}

/// `nman kill`
#[derive(Debug, Args)]
pub struct KillArgs {
    /// Signal to send
    #[arg(short, long, value_name = "SIGNAL", default_value = "KILL")]
    pub signal: SignalNumber,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    pub names: Vec<String>,
}

/// `nman rm`
#[derive(Debug, Args)]
pub struct RmArgs {
    /// Kill the container if it runs; a container that does not exist is not an error
    #[arg(short, long)]
    pub force: bool,
    /// Accepted for compatibility: anonymous volumes are always removed
    #[arg(short, long)]
    pub volumes: bool,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    pub names: Vec<String>,
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

/// `nman rmi`
#[derive(Debug, Args)]
pub struct RmiArgs {
    /// Remove an image by its id even if it has several names, and even if containers use it
    #[arg(short, long)]
    pub force: bool,
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    fn run(words: &[&str]) -> RunArgs {
        let cli = Cli::try_parse_from(["nman", "run"].iter().chain(words)).unwrap();
        match cli.command {
            Command::Run(args) => *args,
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
        assert!(args.interactive && args.tty && args.rm);
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
            &["--nosuch", "x"],
            &[],
        ] {
            let error = Cli::try_parse_from(["nman", "run"].iter().chain(words)).unwrap_err();
            assert!(error.to_string().starts_with("error: "), "{words:?}");
        }
    }
}
