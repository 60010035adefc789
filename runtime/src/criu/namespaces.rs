//! Namespaces that config.json takes from elsewhere: they are not in the images, and have to be there at the restore.

use super::rpc::{Options, field};
use crate::error::{Error, Result};
use crate::plan::namespaces::{Joined, Namespaces};
use rustix::fs::{Mode, OFlags};
use std::os::fd::{AsRawFd, OwnedFd};
use sys::namespace::Kinds;

/// Every kind with its name in /proc/PID/ns, which is criu's name for it too.
const NAMES: [(Kinds, &str); 8] = [
    (Kinds::CGROUP, "cgroup"),
    (Kinds::IPC, "ipc"),
    (Kinds::MOUNT, "mnt"),
    (Kinds::NETWORK, "net"),
    (Kinds::PID, "pid"),
    (Kinds::TIME, "time"),
    (Kinds::USER, "user"),
    (Kinds::UTS, "uts"),
];

/// The kinds that criu can leave out of the images, and the names under which they are found again: runc's.
const EXTERNAL: [(Kinds, &str); 2] =
    [(Kinds::NETWORK, "extRootNetNS"), (Kinds::PID, "extRootPidNS")];

/// The name of a kind in /proc/PID/ns.
pub fn name(kind: Kinds) -> &'static str {
    NAMES.iter().find(|(known, _)| *known == kind).map_or("", |(_, name)| name)
}

fn key(kind: Kinds) -> Option<&'static str> {
    EXTERNAL.iter().find(|(known, _)| *known == kind).map(|(_, key)| *key)
}

/// For a dump: tells criu which of the namespaces of process `pid` are not the container's own.
///
/// # Errors
/// When /proc cannot be read.
pub fn leave_out(namespaces: &Namespaces, pid: i32, options: &mut Options) -> Result<()> {
    for joined in &namespaces.joined {
        let Some(key) = key(joined.kind) else { continue };
        let name = name(joined.kind);
        let inode = inode(&pid.to_string(), name)?;
        options.string(field::EXTERNAL, format!("{name}[{inode}]:{key}"));
    }
    Ok(())
}

/// For a restore: the namespaces to join. criu inherits the fds that are returned.
///
/// # Errors
/// When one does not exist, or is of a kind that criu cannot join.
pub fn join(namespaces: &Namespaces, options: &mut Options) -> Result<Vec<OwnedFd>> {
    let mut fds = Vec::new();
    for joined in &namespaces.joined {
        let path = joined.path.to_string_lossy().into_owned();
        match key(joined.kind) {
            Some(key) => {
                let fd = open(joined)?;
                options.inherited.push((key.to_owned(), fd.as_raw_fd()));
                fds.push(fd);
            }
            None if joined.kind == Kinds::CGROUP || joined.kind == Kinds::TIME => {
                return Err(Error::State(format!(
                    "cannot restore a container that joins a {} namespace (config.json {}): criu cannot",
                    name(joined.kind),
                    joined.pointer
                )));
            }
            None => options.join.push((name(joined.kind).to_owned(), path)),
        }
    }
    Ok(fds)
}

fn open(joined: &Joined) -> Result<OwnedFd> {
    rustix::fs::open(&*joined.path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(
        |errno| {
            let path = joined.path.to_string_lossy();
            Error::system(
                format!("open the namespace `{path}` (config.json {})", joined.pointer),
                errno,
            )
        },
    )
}

/// The kinds in which a process differs from us.
///
/// # Errors
/// When /proc cannot be read.
pub fn differing(pid: i32) -> Result<Kinds> {
    let mut kinds = Kinds::NONE;
    for (kind, name) in NAMES {
        // A kernel without this kind has it for nobody.
        let Ok(ours) = inode("self", name) else { continue };
        if inode(&pid.to_string(), name)? != ours {
            kinds = kinds.union(kind);
        }
    }
    Ok(kinds)
}

fn inode(pid: &str, name: &str) -> Result<u64> {
    let path = format!("/proc/{pid}/ns/{name}");
    rustix::fs::stat(&path)
        .map(|stat| stat.st_ino)
        .map_err(|errno| Error::system(format!("read `{path}`"), errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joining(kind: Kinds, path: &str) -> Namespaces {
        let path = std::ffi::CString::new(path).unwrap();
        let joined = Joined { kind, path, pointer: "/linux/namespaces/0/path".into() };
        Namespaces { new: Kinds::MOUNT, joined: vec![joined] }
    }

    #[test]
    fn a_joined_network_is_left_out_and_found_again_by_its_key() {
        let namespaces = joining(Kinds::NETWORK, "/proc/self/ns/net");
        let mut options = Options::default();
        let own = std::process::id().cast_signed();
        leave_out(&namespaces, own, &mut options).unwrap();
        let inode = inode("self", "net").unwrap();
        assert_eq!(options.strings, [(field::EXTERNAL, format!("net[{inode}]:extRootNetNS"))]);
        let mut options = Options::default();
        let fds = join(&namespaces, &mut options).unwrap();
        assert_eq!(options.inherited, [("extRootNetNS".to_owned(), fds[0].as_raw_fd())]);
    }

    #[test]
    fn other_kinds_are_joined_by_path_or_refused() {
        let mut options = Options::default();
        assert!(join(&joining(Kinds::IPC, "/x/ipc"), &mut options).unwrap().is_empty());
        assert_eq!(options.join, [("ipc".to_owned(), "/x/ipc".to_owned())]);
        let error = join(&joining(Kinds::CGROUP, "/x"), &mut options).unwrap_err().to_string();
        assert!(error.contains("/linux/namespaces/0/path"), "{error}");
        let gone = join(&joining(Kinds::NETWORK, "/nowhere"), &mut options).unwrap_err();
        assert!(gone.to_string().contains("open the namespace `/nowhere`"), "{gone}");
    }

    #[test]
    fn we_differ_from_ourselves_in_nothing() {
        assert_eq!(differing(std::process::id().cast_signed()).unwrap(), Kinds::NONE);
    }
}
