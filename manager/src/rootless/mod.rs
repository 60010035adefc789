//! nman for an ordinary user: all is done as root of a user namespace in which the user is root.
//!
//! There is one such namespace for each state directory, and every command of the user enters it before it does anything else:
//! then each may signal, enter and look into what the others have started. A small process holds it ([`pause`]), and whatever
//! monitor still runs if that one was killed. Nothing here is setuid, and nothing of it is asked for when root calls.
//!
//! Mounts are not a part of it. A command that mounts makes a mount namespace of its own, as root's does, from the host's as it is
//! at that moment; what is mounted in it belongs to the user namespace.

pub mod delegation;
mod holder;
pub mod mapping;
pub mod netns;
pub mod pause;
pub mod scope;

use crate::error::{Error, Result, reason};
use crate::network::{Carrier, Mode as NetworkMode};
use crate::privilege::is_in_namespace;
use crate::settings::Settings;
pub use delegation::Delegation;
pub use mapping::{Plan, User};
use pause::Purpose;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use std::fs;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use sys::namespace::{Kinds, join};

/// The variable that is set for what `unshare` executes: whoever is root in there is the user still.
pub const INSIDE: &str = "NMAN_IN_USER_NAMESPACE";

/// What a user is told whose directories, as far as they are named, are somebody else's.
pub const OF_OTHERS: &str = "without root, leave --root, --state and their variables out, or give directories of your own; XDG_RUNTIME_DIR and HOME may be another user's after `su`";

/// Whether an ordinary user calls: somebody who has to enter a namespace of its own before anything can be done, or is in it. For
/// the host's root the variable says nothing.
#[must_use]
pub fn is_called_by_user() -> bool {
    !rustix::process::geteuid().is_root() || std::env::var_os(INSIDE).is_some() && is_in_namespace()
}

/// Enters the namespace of the user that calls, which is made if need be. `warn` is told when it has no more than one id.
///
/// The process must have a single thread (setns(2)). Groups that the user has beside its own stay, and are nobody's in there.
///
/// # Errors
/// The state directory is somebody else's, the namespace cannot be made, or its ids cannot be mapped.
pub fn enter(settings: &Settings, warn: &mut dyn FnMut(&str)) -> Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let user = User::of_caller();
    make_reachable(&settings.root)?;
    make_reachable(&settings.state)?;
    own_directory(&settings.state, user.uid)?;
    let note = pause::Note::lock(&settings.state)?;
    if let Some(holder) = note.holder()
        && go(&holder)?
    {
        return Ok(());
    }
    // A container that runs is reached from the namespace that it is in, and from no other.
    for process in holder::candidates(&settings.containers()) {
        if go(&process)? {
            return pause::start(&note, Purpose::User).map(drop);
        }
    }
    let plan = Plan::probe(&user);
    if let Plan::Own { lack } = &plan {
        warn(&format!("Containers have the ids of user `{}` alone: {lack}", user.name));
    }
    match go(&pause::start(&note, Purpose::NewUser(&user, &plan))?)? {
        true => Ok(()),
        false => Err(Error::system("enter the user namespace")(Errno::SRCH)),
    }
}

/// What `--network` comes to for a user without root, and what there is to say about it. `carrier` is the program that carries a
/// container's traffic, `publishes` whether ports are to be published.
///
/// Without a word, that program connects it; where there is none, a container begins without a network, unless that would leave out
/// what was asked for.
///
/// # Errors
/// Ports are to be published by a program which is not there.
pub fn network(
    asked: Option<NetworkMode>,
    publishes: bool,
    carrier: Option<Carrier>,
) -> Result<(NetworkMode, Option<String>)> {
    match (asked, carrier) {
        (None, Some(carrier)) => Ok((NetworkMode::User(carrier), None)),
        (None, None) if !publishes => {
            let warning = "The container has no network: without root it takes the program `pasta` (package passt) or `slirp4netns`. Give `--network none` or `--network host` to do without.";
            Ok((NetworkMode::None, Some(warning.to_owned())))
        }
        (None, None) => Err(Error::Rejected {
            message: "cannot connect the container: there is no `pasta` in PATH".to_owned(),
            hint: Some(
                "let root install the package `passt`, or give `--network bridge`, `none` or `host`"
                    .to_owned(),
            ),
        }),
        // Whether the program is there that is named is found out when it is started.
        (Some(mode), _) => Ok((mode, None)),
    }
}

/// Joins the user namespace of a process; false if it has just ended. The kernel lets the namespace's owner do that from outside
/// (user_namespaces(7)).
fn go(holder: &OwnedFd) -> Result<bool> {
    match join(holder.as_fd(), Kinds::USER) {
        Err(Errno::SRCH) => return Ok(false),
        joined => joined.map_err(Error::system("enter the user namespace"))?,
    }
    if rustix::process::geteuid().is_root() {
        return Ok(true);
    }
    Err(Error::Rejected {
        message: "cannot enter the user namespace: it does not have us for root".to_owned(),
        hint: Some("remove the state directory, which `nman info` shows, and try again".to_owned()),
    })
}

/// Makes a directory. Where somebody else's are named, it is said that a user has some of its own.
fn make_reachable(path: &Path) -> Result<()> {
    match crate::container::make_private(path) {
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::PermissionDenied => {
            Err(Error::Rejected {
                message: format!("cannot make `{}`: permission denied", path.display()),
                hint: Some(OF_OTHERS.to_owned()),
            })
        }
        // Whoever needs it hears of anything else.
        _ => Ok(()),
    }
}

/// Refuses a directory that is not the user's alone: whoever can write there says which processes we signal. Its place may be one
/// where anybody can make it before us.
fn own_directory(path: &Path, uid: u32) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let stat = rustix::fs::open(path, flags, Mode::empty())
        .and_then(rustix::fs::fstat)
        .map_err(Error::io("open", path))?;
    let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    if is_directory && stat.st_uid == uid && stat.st_mode & 0o022 == 0 {
        return Ok(());
    }
    Err(Error::Rejected {
        message: format!(
            "cannot keep state in `{}`: it belongs to, or can be written to by, another user",
            path.display()
        ),
        hint: Some("set XDG_RUNTIME_DIR to a directory of your own, or give --state".to_owned()),
    })
}

/// What keeps ordinary users from making user namespaces, as what root can do about it; `None` where nothing is known to.
#[must_use]
pub fn what_forbids_namespaces() -> Option<&'static str> {
    let holds =
        |path: &str, value: &str| fs::read_to_string(path).is_ok_and(|text| text.trim() == value);
    if holds("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        Some("let root run `sysctl kernel.unprivileged_userns_clone=1`")
    } else if holds("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
        Some(
            "AppArmor restricts user namespaces here: let root run `sysctl kernel.apparmor_restrict_unprivileged_userns=0`, or load a profile with `userns` for nman",
        )
    } else if holds("/proc/sys/user/max_user_namespaces", "0") {
        Some("let root run `sysctl user.max_user_namespaces=15000`")
    } else {
        None
    }
}

/// Why there is no user namespace to be had.
fn no_namespace(errno: Errno) -> Error {
    Error::Rejected {
        message: format!("cannot make a user namespace: {}", reason(&errno.into())),
        hint: what_forbids_namespaces().map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_users_container_is_connected_by_a_program_where_that_is_there() {
        let mode = |text: &str| Some(text.parse::<NetworkMode>().unwrap());
        let chosen = |asked, publishes, carrier| {
            let (mode, warning) = network(asked, publishes, carrier).unwrap();
            (mode.to_string(), warning.is_some())
        };
        for carrier in [Carrier::Pasta, Carrier::Slirp4netns] {
            let own = (carrier.program().to_owned(), false);
            assert_eq!(chosen(None, true, Some(carrier)), own);
            assert_eq!(chosen(mode("bridge"), true, Some(carrier)), ("nman".to_owned(), false));
        }
        assert_eq!(chosen(None, false, None), ("none".to_owned(), true));
        for word in ["none", "host", "container:web", "pasta", "slirp4netns", "backend"] {
            assert_eq!(chosen(mode(word), true, None), (word.to_owned(), false));
        }
        let refused = network(None, true, None).unwrap_err().to_string();
        assert!(refused.contains("no `pasta`"), "{refused}");
    }

    #[test]
    fn a_state_directory_is_the_users_own_or_refused() {
        let place = tempfile::tempdir().unwrap();
        let uid = rustix::process::geteuid().as_raw();
        let path = place.path().join("nman");
        make_reachable(&path).unwrap();
        own_directory(&path, uid).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        let refused = own_directory(&path, uid + 1).unwrap_err().to_string();
        assert!(refused.contains("another user"), "{refused}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o770)).unwrap();
        assert!(own_directory(&path, uid).is_err(), "its group can write to it");
        let link = place.path().join("link");
        std::os::unix::fs::symlink(place.path(), &link).unwrap();
        assert!(own_directory(&link, uid).is_err(), "a link leads wherever its owner likes");
    }
}
