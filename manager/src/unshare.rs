//! `nman unshare`: a command of the user's as root of the user namespace that the user's containers are in.
//!
//! What containers and volumes have on disk belongs to ids that are the user's in there alone: to look at it, to change it or to
//! remove it takes a command that is in there too. `nman` itself, called in there, works on what the user has.

use crate::cli::UnshareArgs;
use crate::connection::ground;
use crate::error::{Error, Result, reason};
use crate::rootless::INSIDE;
use crate::settings::Settings;
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use sys::namespace::{Kinds, join, unshare as leave};

/// Becomes the command, or the user's shell. The namespace has been entered before; a mount namespace is made here, in which root
/// of the user namespace may mount.
///
/// # Errors
/// Root calls, who has no use for it, there is no such network namespace, or the command cannot be executed: otherwise it does not
/// return.
pub fn unshare(settings: &Settings, args: &UnshareArgs) -> Result<u8> {
    if !settings.rootless {
        return Err(Error::refusal(
            "cannot enter a user namespace: root has none for its containers",
        ));
    }
    if args.rootless_netns {
        let namespace = ground::namespace(settings)?.ok_or_else(no_network)?;
        join(namespace.as_fd(), Kinds::NETWORK)
            .map_err(Error::system("enter the network namespace"))?;
    }
    leave(Kinds::MOUNT).map_err(Error::system("make a mount namespace"))?;
    let shell = || std::env::var_os("SHELL").filter(|shell| !shell.is_empty());
    let mut command = match args.command.split_first() {
        Some((program, words)) => {
            let mut command = Command::new(program);
            command.args(words);
            command
        }
        None => Command::new(shell().unwrap_or_else(|| "/bin/sh".into())),
    };
    command.env(INSIDE, "1").env("NMAN_ROOT", &settings.root).env("NMAN_STATE", &settings.state);
    let error = command.exec();
    let program = command.get_program().display().to_string();
    Err(Error::refusal(format!("cannot execute `{program}`: {}", reason(&error))))
}

fn no_network() -> Error {
    Error::WrongState {
        message: "there is no network namespace: no container is on a network with a bridge"
            .to_owned(),
        hint: Some(
            "it is there while one runs that was started with `--network bridge`, say".to_owned(),
        ),
    }
}
