//! `nman container ...`: Docker's longer names of the commands for containers.

use super::{
    AttachArgs, Command, CommitArgs, ContainerPruneArgs, CpArgs, CreateArgs, DiffArgs, ExecArgs,
    ExportArgs, InspectArgs, InspectType, KillArgs, LogsArgs, Names, PortArgs, PsArgs, RenameArgs,
    RmArgs, RunArgs, StartArgs, StatsArgs, StopArgs, TopArgs, UpdateArgs, WaitArgs,
};
use clap::Subcommand;

/// The commands of the family.
#[derive(Debug, Subcommand)]
pub enum ContainerCommand {
    /// Create a container from an image and run a command in it
    Run(Box<RunArgs>),
    /// Create a container from an image without starting it
    Create(Box<CreateArgs>),
    /// Rename a container
    Rename(RenameArgs),
    /// Change the limits of containers
    Update(Box<UpdateArgs>),
    /// Start stopped containers
    Start(StartArgs),
    /// Stop containers: their stop signal, then SIGKILL
    Stop(StopArgs),
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
    /// Attach to a running container
    Attach(AttachArgs),
    /// Run a command in a running container
    Exec(ExecArgs),
    /// List containers
    #[command(visible_aliases = ["list", "ps"])]
    Ls(PsArgs),
    /// Show what a container has written
    #[command(visible_alias = "log")]
    Logs(LogsArgs),
    /// Show the processes of a container
    Top(TopArgs),
    /// Show what containers use
    Stats(StatsArgs),
    /// List the published ports of a container
    Port(PortArgs),
    /// Show everything that is known about containers, as JSON
    Inspect(InspectArgs),
    /// Make an image from what a container has changed
    Commit(CommitArgs),
    /// Copy files between a container and the host
    Cp(CpArgs),
    /// Show what a container has changed in its root file system
    Diff(DiffArgs),
    /// Write a container's root file system to an archive
    Export(ExportArgs),
    /// Remove containers
    #[command(visible_alias = "remove")]
    Rm(RmArgs),
    /// Remove all containers that do not run
    Prune(ContainerPruneArgs),
}

impl ContainerCommand {
    /// The command without its family; `None` for one that exists only here.
    #[must_use]
    pub fn into_command(self) -> Command {
        match self {
            Self::Run(args) => Command::Run(args),
            Self::Create(args) => Command::Create(args),
            Self::Rename(args) => Command::Rename(args),
            Self::Update(args) => Command::Update(args),
            Self::Start(args) => Command::Start(args),
            Self::Stop(args) => Command::Stop(args),
            Self::Restart(args) => Command::Restart(args),
            Self::Kill(args) => Command::Kill(args),
            Self::Pause(names) => Command::Pause(names),
            Self::Unpause(names) => Command::Unpause(names),
            Self::Wait(args) => Command::Wait(args),
            Self::Attach(args) => Command::Attach(args),
            Self::Exec(args) => Command::Exec(args),
            Self::Ls(args) => Command::Ps(args),
            Self::Logs(args) => Command::Logs(args),
            Self::Top(args) => Command::Top(args),
            Self::Stats(args) => Command::Stats(args),
            Self::Port(args) => Command::Port(args),
            Self::Inspect(args) => {
                Command::Inspect(InspectArgs { kind: Some(InspectType::Container), ..args })
            }
            Self::Commit(args) => Command::Commit(args),
            Self::Cp(args) => Command::Cp(args),
            Self::Diff(args) => Command::Diff(args),
            Self::Export(args) => Command::Export(args),
            Self::Rm(args) => Command::Rm(args),
            Self::Prune(args) => Command::Container(Self::Prune(args)),
        }
    }
}
