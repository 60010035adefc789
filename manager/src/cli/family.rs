//! `nman container ...`: the commands for containers under their family's name, as Docker has them, too.

use super::{
    AttachArgs, Command, ExecArgs, KillArgs, LogsArgs, Names, PsArgs, RmArgs, RunArgs, StartArgs,
    StopArgs,
};
use clap::Subcommand;

/// The family of containers.
#[derive(Debug, Subcommand)]
pub enum ContainerCommand {
    /// Attach to a running container
    Attach(AttachArgs),
    /// Run a command in a running container
    Exec(ExecArgs),
    /// Show everything that is known about containers, as JSON
    Inspect(Names),
    /// Send a signal to containers
    Kill(KillArgs),
    /// Show what a container has written
    #[command(visible_alias = "log")]
    Logs(LogsArgs),
    /// List containers
    #[command(visible_aliases = ["list", "ps"])]
    Ls(PsArgs),
    /// Remove containers
    #[command(visible_alias = "remove")]
    Rm(RmArgs),
    /// Create a container from an image and run a command in it
    Run(Box<RunArgs>),
    /// Start stopped containers
    Start(StartArgs),
    /// Stop containers: their stop signal, then SIGKILL
    Stop(StopArgs),
    /// Wait until containers have ended, and print their exit codes
    Wait(Names),
}

impl From<ContainerCommand> for Command {
    fn from(command: ContainerCommand) -> Self {
        use ContainerCommand as Container;
        match command {
            Container::Attach(args) => Self::Attach(args),
            Container::Exec(args) => Self::Exec(args),
            Container::Inspect(args) => Self::Inspect(args),
            Container::Kill(args) => Self::Kill(args),
            Container::Logs(args) => Self::Logs(args),
            Container::Ls(args) => Self::Ps(args),
            Container::Rm(args) => Self::Rm(args),
            Container::Run(args) => Self::Run(args),
            Container::Start(args) => Self::Start(args),
            Container::Stop(args) => Self::Stop(args),
            Container::Wait(args) => Self::Wait(args),
        }
    }
}
