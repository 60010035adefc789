//! COPY and ADD: the listed sources, written into the image's tree by Docker's rules for where they go.
//!
//! The tree is an image's, and its links are whoever's made it: places in it are found under its root's descriptor. What is in the
//! way of a file is replaced, not written through.

use super::sources::{Source, SourceKind};
use super::state::{Copy, Unpack};
use crate::bundle::rootfs::Rootfs;
use crate::cp::place::{Place, Root};
use crate::cp::tree::{Copier, Fault, Owners};
use crate::create;
use crate::error::{Error, Result};
use bundle::layer::{self, Accepted, Limits, Options, OwnerMap, Whiteouts};
use rustix::fs::{Mode, OFlags, openat};
use std::fs::File;
use std::io::{Seek as _, SeekFrom};
use std::os::fd::AsFd as _;

/// Whose copies are, if the instruction does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Default {
    /// Root's: what comes from the context is whoever's has made it.
    Root,
    /// As they are in the image that they come from.
    Kept,
}

/// Copies the sources into the tree at `root`.
pub(super) fn copy(root: &Rootfs, sources: &[Source], wish: &Copy, default: Default) -> Result<()> {
    let owners = owners(root, wish, default)?;
    let target = Target::of(root, sources, wish);
    if target.is_directory {
        wish.check_names().map_err(Error::refusal)?;
    }
    for source in sources {
        let copied = Copied { root, source, wish, owners: &owners };
        match source.is_directory() {
            true => copied.directory(&target)?,
            false => copied.file(&target)?,
        }
    }
    Ok(())
}

/// Where copies go.
struct Target<'a> {
    path: &'a str,
    /// Files go into it.
    is_directory: bool,
}

impl<'a> Target<'a> {
    fn of(root: &Rootfs, sources: &[Source], wish: &'a Copy) -> Self {
        let path = wish.target.as_str();
        // Its links are followed within the tree, so a link to a directory is one.
        let is_there = root.ownership(path).is_some();
        let is_directory = path.ends_with('/') || is_there || sources.len() > 1;
        Self { path, is_directory }
    }
}

fn owners(root: &Rootfs, wish: &Copy, default: Default) -> Result<Owners> {
    let Some(text) = &wish.owner else {
        return Ok(match default {
            Default::Root => Owners::One(0, 0),
            Default::Kept => Owners::Kept(OwnerMap::default()),
        });
    };
    // A number without a group is the group's number, too.
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let text = if is_number { format!("{text}:{text}") } else { text.clone() };
    let identity = create::look_up(&text, root)?;
    Ok(Owners::One(identity.uid, identity.gid))
}

impl Source {
    /// Copies what is in it, a directory, into one that was made for it.
    pub(super) fn merge_as(
        &self,
        copier: &mut Copier<'_>,
        there: &Place,
    ) -> std::result::Result<(), Fault> {
        match self.kind {
            SourceKind::Root => copier.merge_plain(&self.place, there),
            _ => copier.merge_as(&self.place, there),
        }
    }
}

struct Copied<'a> {
    root: &'a Rootfs,
    source: &'a Source,
    wish: &'a Copy,
    owners: &'a Owners,
}

impl Copied<'_> {
    fn copier(&self) -> Copier<'_> {
        let entries = &self.source.entries;
        let keep = Box::new(move |path: &[u8]| entries.contains_key(path));
        Copier::for_build(self.owners.clone(), self.wish.mode.clone(), keep)
    }

    /// What is in a directory goes into the target, which becomes one.
    fn directory(&self, target: &Target<'_>) -> Result<()> {
        // The directory that parents are copied to is not the one that they are copied from.
        let keeps_look = self.root.ownership(target.path).is_some()
            || self.source.kind == SourceKind::WithParents;
        let there = self.ensure(target.path)?;
        let mut copier = self.copier();
        let copied = match keeps_look {
            true => copier.merge(&self.source.place, &there),
            false => self.source.merge_as(&mut copier, &there),
        };
        copied.map_err(|fault| fault.explain(&self.source.name, target.path))
    }

    fn file(&self, target: &Target<'_>) -> Result<()> {
        let unpacks = match self.wish.unpack {
            Unpack::Never => false,
            Unpack::Local => self.source.kind != SourceKind::Fetched,
            Unpack::All => true,
        };
        if unpacks && self.unpack(target)? {
            return Ok(());
        }
        let path = match target.is_directory {
            true => format!("{}/{}", target.path.trim_end_matches('/'), self.source.name),
            false => target.path.to_owned(),
        };
        self.ensure_directory(path.rsplit_once('/').map_or("", |(parent, _)| parent))?;
        let there = self.tree().destination(&path)?.place;
        let copied = self.copier().copy(&self.source.place, &there.parent, &there.name);
        copied.map_err(|fault| fault.explain(&self.source.name, &path))
    }

    /// Unpacks an archive into the target, which becomes a directory; says whether it is one. As with Docker, `--chown` is about
    /// what is in it, and `--chmod` is not.
    fn unpack(&self, target: &Target<'_>) -> Result<bool> {
        let Some(mut file) = self.open()? else { return Ok(false) };
        let failed = Error::system(format!("read `{}`", self.source.name));
        let rewound = file
            .try_clone()
            .and_then(|copy| Ok((layer::is_archive(copy), file.seek(SeekFrom::Start(0))?)));
        let (is_archive, _) = rewound.map_err(failed)?;
        if !is_archive {
            return Ok(false);
        }
        let there = self.ensure(target.path)?;
        let directory = there
            .open_directory()
            .map_err(Error::system(format!("open `{}` in the image", target.path)))?;
        let options = Options {
            whiteouts: Whiteouts::None,
            owner: self.chosen_owner(),
            accepted: Accepted::Archives,
            limits: Limits::on_disk(&directory),
            ..Options::default()
        };
        layer::unpack(file, directory.as_fd(), &options).map_err(|error| Error::Rejected {
            message: format!("cannot unpack `{}`: {error}", self.source.name),
            hint: error.hint(),
        })?;
        Ok(true)
    }

    fn open(&self) -> Result<Option<File>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let place = &self.source.place;
        let file = openat(&place.parent, &place.name[..], flags, Mode::empty());
        let file = file.map_err(Error::system(format!("open `{}`", self.source.name)))?;
        let file = File::from(file);
        let is_file = file.metadata().is_ok_and(|metadata| metadata.is_file());
        Ok(is_file.then_some(file))
    }

    fn tree(&self) -> Root<'_> {
        Root::Container { root: self.root.fd(), name: "the image" }
    }

    /// The owner and group that `--chown` says.
    fn chosen_owner(&self) -> Option<(u32, u32)> {
        match self.owners {
            Owners::One(uid, gid) if self.wish.owner.is_some() => Some((*uid, *gid)),
            _ => None,
        }
    }

    /// Makes sure that a directory is there. What is made for it is whose `--chown` says that the copies are, as with Docker.
    fn ensure_directory(&self, path: &str) -> Result<()> {
        let path = if path.is_empty() { "/" } else { path };
        match self.chosen_owner() {
            Some(owner) => self.root.ensure_directory_of(path, owner),
            None => self.root.ensure_directory(path),
        }
    }

    fn ensure(&self, path: &str) -> Result<Place> {
        let path = path.trim_end_matches('/');
        self.ensure_directory(path)?;
        Ok(self.tree().destination(&format!("{path}/."))?.place)
    }
}
