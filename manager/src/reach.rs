//! Reaching the files of a container, running or not, without running anything of its image.
//!
//! What comes out is a descriptor of its root; every path is then resolved under it by the kernel (invariant I7). The root of
//! a running container is that of its init, pinned by a pidfd. A stopped container's is mounted in a mount namespace of our
//! own, under the container's lock, so that nobody starts it meanwhile.

use crate::assemble::{enter_private_mounts, mount_root};
use crate::container::{Dir, Guard, Record};
use crate::error::{Error, Result};
use crate::process::Process;
use crate::settings::Settings;
use crate::volume::place;
use bundle::layer::{IdRange, OwnerMap};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use serde_json::Value;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use sys::beneath::Target;
use sys::mount::{Attributes, RDONLY, set_attributes};
use sys::namespace::{Kinds, join, unshare};

/// How much of a container is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// What its processes see: volumes and all.
    Whole,
    /// Its own root file system, without what is mounted in it.
    Root,
}

/// A container's files, as long as this is held.
#[derive(Debug)]
pub(crate) struct Reach {
    root: OwnedFd,
    owners: OwnerMap,
    /// Keeps a stopped container from being started.
    _guard: Option<Guard>,
}

impl Reach {
    /// Opens the root of a container.
    pub(crate) fn open(
        settings: &Settings,
        dir: &Dir,
        record: &Record,
        view: View,
    ) -> Result<Self> {
        if let Some(init) = init(dir)? {
            let root = match view {
                View::Whole => root_of(dir, &init)?,
                View::Root => bare_root_of(&init)?,
            };
            return Ok(Self { root, owners: owners(dir), _guard: None });
        }
        let Some(guard) = dir.try_lock()? else {
            let lost = dir.lost_processes(record.name.as_str());
            return Err(lost.unwrap_or_else(|| Error::WrongState {
                message: format!(
                    "container {} is being started or removed by another nman",
                    record.name
                ),
                hint: Some("try again in a moment".to_owned()),
            }));
        };
        let root = stopped_root(settings, dir, record, view)?;
        Ok(Self { root, owners: owners(dir), _guard: Some(guard) })
    }

    /// What the ids of the container are out here.
    pub(crate) fn owners(&self) -> &OwnerMap {
        &self.owners
    }

    /// The root.
    pub(crate) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}

/// What the ids of the container are out here, by the id mappings in its config.json.
fn owners(dir: &Dir) -> OwnerMap {
    let text = std::fs::read(dir.join("config.json")).unwrap_or_default();
    let config: Value = serde_json::from_slice(&text).unwrap_or_default();
    let ranges = |mappings: &str| {
        let mappings = config["linux"][mappings].as_array().into_iter().flatten();
        let id = |mapping: &Value, key: &str| u32::try_from(mapping[key].as_u64()?).ok();
        let range = |mapping: &Value| {
            let (from, to) = (id(mapping, "containerID")?, id(mapping, "hostID")?);
            Some(IdRange { from, to, size: id(mapping, "size")? })
        };
        mappings.filter_map(range).collect()
    };
    OwnerMap { uids: ranges("uidMappings"), gids: ranges("gidMappings") }
}

/// The first process of a running container.
fn init(dir: &Dir) -> Result<Option<Process>> {
    let state = dir.state()?;
    Ok(state.status.has_process().then(|| dir.init(&state)).flatten())
}

const ROOT: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

fn root_of(dir: &Dir, init: &Process) -> Result<OwnedFd> {
    init.open_file("root", ROOT).map_err(|errno| match errno {
        Errno::SRCH => Error::WrongState {
            message: format!("container {} has ended meanwhile", dir.path().display()),
            hint: Some("try again".to_owned()),
        },
        errno => Error::io("open", format!("/proc/{}/root", init.id()).as_ref())(errno),
    })
}

/// A copy of the root's mount alone, taken from within the container's mount namespace by a thread that does nothing else there.
fn bare_root_of(init: &Process) -> Result<OwnedFd> {
    let taken = std::thread::scope(|scope| {
        let thread = scope.spawn(|| -> rustix::io::Result<OwnedFd> {
            // A namespace of its own first: joining needs a working directory that no other thread shares.
            unshare(Kinds::MOUNT)?;
            join(init.as_fd(), Kinds::MOUNT)?;
            let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
            open_tree(CWD, "/", flags)
        });
        thread.join().unwrap_or(Err(Errno::IO))
    });
    taken.map_err(Error::system("look at the container's root without its mounts"))
}

fn stopped_root(settings: &Settings, dir: &Dir, record: &Record, view: View) -> Result<OwnedFd> {
    enter_private_mounts(record, dir)?;
    mount_root(settings, record, dir)?;
    let path = dir.rootfs();
    let root = rustix::fs::open(&path, ROOT, Mode::empty()).map_err(Error::io("open", &path))?;
    if view == View::Whole {
        place::mount_all(settings, record, dir)?;
        let path = dir.join("config.json");
        // Without one it was never made whole, and has no mounts.
        if let Ok(text) = std::fs::read(&path) {
            let config: Value =
                serde_json::from_slice(&text).map_err(|source| Error::Damaged { path, source })?;
            mount_binds(&root, &config)?;
        }
    }
    Ok(root)
}

/// Mounts what config.json binds into the container, each as read-only as it says.
fn mount_binds(root: &OwnedFd, config: &Value) -> Result<()> {
    for mount in config["mounts"].as_array().into_iter().flatten() {
        let options: Vec<&str> =
            mount["options"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let (Some(source), Some(target)) =
            (mount["source"].as_str(), mount["destination"].as_str())
        else {
            continue;
        };
        if !options.iter().any(|option| matches!(*option, "bind" | "rbind")) {
            continue;
        }
        bind(root, source, target, options.contains(&"ro"))
            .map_err(Error::system(format!("mount `{source}` on `{target}`")))?;
    }
    if config["root"]["readonly"].as_bool() == Some(true) {
        set_attributes(root.as_fd(), &Attributes { set: RDONLY, ..Attributes::default() }, false)
            .map_err(Error::system("make the container's root read-only"))?;
    }
    Ok(())
}

fn bind(root: &OwnedFd, source: &str, target: &str, read_only: bool) -> rustix::io::Result<()> {
    // A file that every start writes anew, or a source that is gone: the container would not see it either.
    let Ok(metadata) = std::fs::metadata(source) else { return Ok(()) };
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE;
    let tree = open_tree(CWD, source, flags)?;
    if read_only {
        set_attributes(tree.as_fd(), &Attributes { set: RDONLY, ..Attributes::default() }, true)?;
    }
    let target = Target::new(target.as_bytes()).map_err(|_| Errno::INVAL)?;
    let place = target.ensure(root.as_fd(), !metadata.is_dir())?;
    let empty = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(&tree, "", &place, "", empty)
}
