//! Bind sources: opened once, before the clone, as detached mount trees (class J: nothing can be swapped in later).

use crate::error::{Error, Result};
use crate::id_maps;
use crate::plan::Plan;
use crate::plan::idmap::IdMaps;
use crate::plan::op::{Carrier, IdMapped, MappedBy, Source};
use crate::wire;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{PidfdGetfdFlags, WaitOptions, pidfd_getfd, waitpid};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use sys::clone;
use sys::mount::clone_tree;
use sys::namespace::Kinds;

/// The trees of a plan's sources, in their order. For those that the child opens itself: the user namespace that it maps their ids
/// by, if any.
///
/// # Errors
/// When a source is not there, or its ids cannot be mapped.
pub fn open(plan: &Plan) -> Result<Vec<Option<OwnedFd>>> {
    let mut namespaces = Namespaces::default();
    let mut trees = Vec::with_capacity(plan.sources.len());
    for source in &plan.sources {
        trees.push(match source.carrier {
            Carrier::Path | Carrier::Root => {
                refuse_magic_link(plan, source)?;
                let by = source.id_map.as_ref().map(|id_map| namespaces.of(&id_map.by));
                by.transpose()?.map(OwnedFd::try_clone).transpose().map_err(|error| {
                    Error::io("duplicate the user namespace of an idmapped mount", &error)
                })?
            }
            Carrier::Tree => Some(tree(plan, source, &mut namespaces)?),
        });
    }
    Ok(trees)
}

fn tree<'p>(
    plan: &'p Plan,
    source: &'p Source,
    namespaces: &mut Namespaces<'p>,
) -> Result<OwnedFd> {
    let tree = detached(source).map_err(|errno| at(OPEN, plan, source, errno))?;
    if let Some(id_map) = &source.id_map {
        let mapped = sys::mount::set_idmap(
            tree.as_fd(),
            namespaces.of(&id_map.by)?.as_fd(),
            id_map.recursive,
        );
        mapped.map_err(|errno| at(MAP, plan, source, errno))?;
    }
    Ok(tree)
}

/// What the child could say of that is no more than an errno, which has other reasons there.
fn refuse_magic_link(plan: &Plan, source: &Source) -> Result<()> {
    match source.carrier == Carrier::Path && source.no_magic_links {
        true if found(source).err() == Some(Errno::LOOP) => {
            Err(at(OPEN, plan, source, Errno::LOOP))
        }
        _ => Ok(()),
    }
}

const OPEN: &str = "open the mount source";
const MAP: &str = "map the ids of the mount source";

/// Maps the ids of a tree that the child has found, its fd number `tree`, by the user namespace that [`open`] made for it.
///
/// # Errors
/// When the kernel refuses.
pub fn map_for(
    child: BorrowedFd<'_>,
    tree: i32,
    plan: &Plan,
    source: usize,
    trees: &[Option<OwnedFd>],
) -> Result<()> {
    let (Some(of), Some(Some(namespace))) = (plan.sources.get(source), trees.get(source)) else {
        return Err(Error::system(MAP, Errno::PROTO));
    };
    let recursive = of.id_map.as_ref().is_some_and(|id_map| id_map.recursive);
    let mapped = pidfd_getfd(child, tree, PidfdGetfdFlags::empty())
        .and_then(|tree| sys::mount::set_idmap(tree.as_fd(), namespace.as_fd(), recursive));
    mapped.map_err(|errno| at(MAP, plan, of, errno))
}

/// A detached copy of what is mounted at the path of a source, for whoever calls.
///
/// # Errors
/// As openat2(2) and open_tree(2).
pub fn detached(source: &Source) -> std::result::Result<OwnedFd, Errno> {
    if !source.no_magic_links && !source.no_follow {
        return clone_tree(CWD, &source.path, &source.attributes(), source.recursive);
    }
    clone_tree(found(source)?.as_fd(), c"", &source.attributes(), source.recursive)
}

/// What is at the path of a source.
fn found(source: &Source) -> std::result::Result<OwnedFd, Errno> {
    let mut flags = OFlags::PATH | OFlags::CLOEXEC;
    flags.set(OFlags::NOFOLLOW, source.no_follow);
    let mut resolve = ResolveFlags::empty();
    // `/proc/self/fd/7` and `/dev/stdin` are files that this program has open, not what config.json can mean.
    resolve.set(ResolveFlags::NO_MAGICLINKS, source.no_magic_links);
    rustix::fs::openat2(CWD, &*source.path, flags, Mode::empty(), resolve)
}

/// The error for a source, with what can be done about it.
fn at(what: &str, plan: &Plan, source: &Source, errno: Errno) -> Error {
    let path = source.path.to_string_lossy();
    let what = format!(
        "{what} `{path}` for container `{}` ({} {})",
        plan.id, plan.document, source.pointer
    );
    match hint(source, errno) {
        Some(hint) => Error::Hinted { what, errno, hint },
        None => Error::system(what, errno),
    }
}

fn hint(source: &Source, errno: Errno) -> Option<&'static str> {
    Some(match (errno, &source.id_map) {
        (Errno::LOOP, _) if source.no_magic_links => {
            "the path leads through a link to what a process has open: name the file itself"
        }
        (Errno::INVAL, Some(_)) => {
            "its file system cannot be idmapped on this kernel, or the mapping is empty: tmpfs can since Linux 6.3, \
             overlayfs since 5.19 by its layers, most network file systems not at all"
        }
        (Errno::PERM, Some(IdMapped { by: MappedBy::Namespace(_), .. })) => {
            "the user namespace must not be the host's own, and the file system not idmapped already"
        }
        (Errno::PERM, Some(_)) => {
            "the mount is idmapped already, or its file system belongs to another user namespace"
        }
        (Errno::NOSYS, Some(_)) => "idmapped mounts need Linux 5.12",
        _ => return None,
    })
}

/// The user namespaces that carry the mappings of mounts, one for each distinct mapping.
#[derive(Default)]
struct Namespaces<'p> {
    made: Vec<(&'p MappedBy, OwnedFd)>,
}

impl<'p> Namespaces<'p> {
    fn of(&mut self, by: &'p MappedBy) -> Result<&OwnedFd> {
        let known = self.made.iter().position(|(known, _)| *known == by);
        let index = match known {
            Some(index) => index,
            None => {
                let namespace = match by {
                    MappedBy::Maps(maps) => with_maps(maps)?,
                    MappedBy::Namespace(path) => open_namespace(path.to_bytes())?,
                };
                self.made.push((by, namespace));
                self.made.len() - 1
            }
        };
        Ok(&self.made[index].1)
    }
}

fn open_namespace(path: &[u8]) -> Result<OwnedFd> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(|errno| {
        let path = String::from_utf8_lossy(path);
        Error::system(format!("open the user namespace `{path}` for an idmapped mount"), errno)
    })
}

/// A new user namespace with these mappings. The process that it is made with only waits for its end: at a word from us, or when
/// we are gone and its socket ends.
fn with_maps(mapping: &IdMaps) -> Result<OwnedFd> {
    let wrong = |errno| Error::system("make a user namespace for an idmapped mount", errno);
    let (socket, peer) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(wrong)?;
    let mut socket = Some(socket);
    let options = clone::Options { namespaces: Kinds::USER, ..clone::Options::default() };
    let child = clone::spawn(&options, || {
        // With its copy of our end it would never see that we are gone.
        drop(socket.take());
        let _ = wire::wait_go(peer.as_fd());
        0
    })
    .map_err(wrong)?;
    let namespace = id_maps::write(mapping, child.pid).and_then(|()| {
        open_namespace(format!("/proc/{}/ns/user", child.pid.as_raw_nonzero()).as_bytes())
    });
    drop(socket);
    let _ = waitpid(Some(child.pid), WaitOptions::empty());
    namespace
}
