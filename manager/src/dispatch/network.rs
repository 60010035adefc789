//! The commands for networks.

use super::{lines, print, several};
use nman::cli::{NetworkCommand, NetworkPruneArgs};
use nman::error::Result;
use nman::network::Endpoint;
use nman::settings::Settings;
use nman::{connection, networks, terminal};

/// Runs the command; returns the program's exit code.
pub(super) fn dispatch(settings: &Settings, command: &NetworkCommand) -> Result<u8> {
    match command {
        NetworkCommand::Create(args) => print(&(networks::create(settings, args)? + "\n")),
        NetworkCommand::Ls(args) => print(&networks::list(settings, args)?),
        NetworkCommand::Inspect(args) => {
            let (text, errors) = networks::inspect(settings, args)?;
            print(&text)?;
            several(errors)
        }
        NetworkCommand::Rm(args) => return lines(networks::rm(settings, args)?),
        NetworkCommand::Prune(args) => return prune(settings, args),
        NetworkCommand::Connect(args) => {
            let endpoint = Endpoint { network: args.network.clone(), wishes: args.wishes() };
            connection::connect_to_network(settings, &args.container, endpoint)
        }
        NetworkCommand::Disconnect(args) => connection::disconnect_from_network(
            settings,
            &args.container,
            &args.network,
            args.force,
        ),
        NetworkCommand::Reload => return lines(networks::reload(settings)?),
    }
    .map(|()| 0)
}

fn prune(settings: &Settings, args: &NetworkPruneArgs) -> Result<u8> {
    let prune = networks::Prune::new(args)?;
    if !args.force && !terminal::confirm(networks::Prune::QUESTION)? {
        return Ok(0);
    }
    let (done, errors) = prune.run(settings)?;
    if !done.is_empty() {
        print(&format!("Deleted Networks:\n{}\n\n", done.join("\n")))?;
    }
    several(errors).map(|()| 0)
}
