//! What a caller may ask of [`unpack`](super::unpack), and what it learns.

use std::os::fd::AsFd;

use super::Accepted;
use crate::digest::DiffId;

/// How whiteouts (`.wh.NAME`, `.wh..wh..opq`) are carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Whiteouts {
    /// As overlayfs has them: a character device 0:0 and the xattr `trusted.overlay.opaque`. The layer must be unpacked into an
    /// empty directory of its own.
    #[default]
    Overlay,
    /// The same with `user.overlay.opaque`, for an overlay mounted with `userxattr` in a user namespace.
    OverlayUser,
    /// The named files of lower layers, unpacked earlier into the same directory, are removed.
    Apply,
    /// Not at all: the archive is no layer, and its names mean nothing.
    None,
}

/// What becomes of something that is there where an entry of the same name is a directory, or of a directory where it is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clash {
    /// The entry takes its place. What a directory had in it is gone.
    #[default]
    Replaced,
    /// It stays, and the entry is refused; so is one in whose way something is mounted.
    Refused,
}

/// Some ids in a row, and what they are on the other side of a user namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdRange {
    /// The first one here.
    pub from: u32,
    /// The first one there.
    pub to: u32,
    /// How many.
    pub size: u32,
}

/// The owners of files on one side of a user namespace, as the other side has them. Ids of no range stay as they are; without
/// any range all do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnerMap {
    /// Of users.
    pub uids: Vec<IdRange>,
    /// Of groups.
    pub gids: Vec<IdRange>,
}

impl OwnerMap {
    /// User and group on the other side.
    #[must_use]
    pub fn map(&self, uid: u32, gid: u32) -> (u32, u32) {
        let other = |ranges: &[IdRange], id: u32| {
            let range =
                ranges.iter().find(|range| (0..range.size).contains(&id.wrapping_sub(range.from)));
            range.map_or(id, |range| range.to + (id - range.from))
        };
        (other(&self.uids, uid), other(&self.gids, gid))
    }

    /// The way back.
    #[must_use]
    pub fn inverse(&self) -> Self {
        let inverse = |ranges: &[IdRange]| {
            ranges
                .iter()
                .map(|&IdRange { from, to, size }| IdRange { from: to, to: from, size })
                .collect()
        };
        Self { uids: inverse(&self.uids), gids: inverse(&self.gids) }
    }
}

/// Choices of the caller.
#[derive(Clone, Debug)]
pub struct Options {
    /// How whiteouts are carried out.
    pub whiteouts: Whiteouts,
    /// What becomes of what is in the way of an entry of another kind.
    pub clash: Clash,
    /// Whether files get the owners that the layer names; if not, all belong to the caller (rootless with one id).
    pub owners: bool,
    /// What the owners that the layer names are here.
    pub owner_map: OwnerMap,
    /// An owner for all files instead of those, uid and gid.
    pub owner: Option<(u32, u32)>,
    /// Whether device nodes are made; if not, they are left out and reported in [`Stats::ignored`].
    pub devices: bool,
    /// By what the archive may be compressed.
    pub accepted: Accepted,
    /// Upper bounds.
    pub limits: Limits,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            whiteouts: Whiteouts::default(),
            clash: Clash::default(),
            owners: true,
            owner_map: OwnerMap::default(),
            owner: None,
            devices: true,
            accepted: Accepted::default(),
            limits: Limits::default(),
        }
    }
}

/// Upper bounds, generous for images that people make and small for archives made to fill a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the uncompressed stream; a sparse file counts in full.
    pub bytes: u64,
    /// How many bytes one compressed byte may become, looked at once [`ratio_from`](Self::ratio_from) bytes came out.
    pub ratio: u64,
    /// See [`ratio`](Self::ratio): zeros compress a thousandfold, and a few megabytes of them are no bomb.
    pub ratio_from: u64,
    /// Entries.
    pub entries: u64,
    /// Components of a path.
    pub depth: usize,
    /// Bytes of all extended attributes of one entry, as they stand in the archive.
    pub xattrs: usize,
    /// Bytes of memory for what has to be remembered to the end: the paths of directories and of whiteouts, and of everything where
    /// whiteouts are [applied](Whiteouts::Apply). Of an archive of images, the names of its members.
    pub paths: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 64 << 30,
            ratio: 400,
            ratio_from: 256 << 20,
            entries: 4_000_000,
            depth: 256,
            xattrs: 1 << 20,
            paths: 256 << 20,
        }
    }
}

impl Limits {
    /// For what goes to the disk that `directory` is on. Files of zeros are ordinary, and compress a thousandfold: that becomes
    /// suspicious where it would take an eighth of what is free, since several layers come in at a time.
    pub fn on_disk(directory: impl AsFd) -> Self {
        let free = rustix::fs::fstatvfs(directory)
            .map_or(0, |disk| disk.f_bavail.saturating_mul(disk.f_frsize));
        Self::with_free(free)
    }

    fn with_free(bytes: u64) -> Self {
        let limits = Self::default();
        Self { ratio_from: limits.ratio_from.max(bytes / 8), ..limits }
    }

    /// For what was made here, or held to limits already when it came: it is as large as it is meant to be.
    pub fn of_own() -> Self {
        Self { ratio: u64::MAX, paths: usize::MAX, ..Self::default() }
    }
}

/// What was done.
#[derive(Clone, Debug)]
pub struct Stats {
    /// The digest of the uncompressed stream.
    pub diff_id: DiffId,
    /// The length of the uncompressed stream.
    pub bytes: u64,
    /// Entries in the archive.
    pub entries: u64,
    /// Directories that had to be made although the layer has no entry for them, as paths relative to the root. In an overlay
    /// they hide the lower directory's owner and mode: see [`inherit`](super::inherit).
    pub implied: Vec<Vec<u8>>,
    /// The marks that were made of names that are gone, as paths relative to the root; see
    /// [`drop_idle_whiteouts`](super::drop_idle_whiteouts).
    pub whiteouts: Vec<Vec<u8>>,
    /// The layer hides everything below it. overlayfs has no mark for that on a layer's root: leave the lower layers out.
    pub opaque_root: bool,
    /// What was left out, with the reason: the first of it, as much as a person would read.
    pub ignored: Vec<Ignored>,
    /// How much more was left out than is in [`ignored`](Self::ignored).
    pub ignored_more: u64,
}

/// Something that an entry asked for and did not get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ignored {
    /// The entry.
    pub entry: String,
    /// What was left out and why.
    pub what: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn much_of_little_is_suspicious_where_it_would_fill_the_disk() {
        let ratio_from = |free| Limits::with_free(free).ratio_from;
        assert_eq!(ratio_from(80 << 30), 10 << 30);
        assert_eq!(ratio_from(0), Limits::default().ratio_from);
        assert_eq!(Limits::of_own().bytes, Limits::default().bytes);
    }
}
