//! Where a layer is made: an image's layers mounted, changed, and what was changed packed.
//!
//! Each step has a thread with a mount namespace of its own: what is mounted there goes with the thread, however that ends. The
//! directories lie in the build's session, which the next session sweeps if this process is killed.

use crate::bundle::rootfs::Rootfs;
use crate::changes::{Changes, changes};
use crate::error::{Error, Result};
use crate::labels;
use crate::new_image::NewImage;
use crate::privilege::is_in_namespace;
use crate::selinux;
use crate::snapshot::{self, Layers};
use crate::store::{Staging, Store};
use bundle::digest::{ChainId, DiffId};
use bundle::layer::{self, PackOptions};
use bundle::tarball::Timespec;
use oci_spec::image::Descriptor;
use rustix::fs::Mode;
use rustix::mount::{MountPropagationFlags, mount_change};
use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use sys::namespace::{Kinds, unshare};

/// A layer in the store's words.
pub(super) type Layer = (Descriptor, DiffId);

/// The build's own directory.
pub(super) struct Workshop<'a> {
    pub(super) store: &'a Store,
    pub(super) staging: &'a Staging,
}

/// A tree that is mounted for a step.
pub(super) struct Mounted {
    /// Its root.
    pub(super) root: Rootfs,
    /// What it is stacked from.
    pub(super) layers: Layers,
    directory: PathBuf,
}

/// Does something in a mount namespace of its own.
pub(super) fn apart<T: Send>(action: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(Kinds::MOUNT).map_err(Error::system("make a mount namespace"))?;
            let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
            mount_change("/", slave).map_err(Error::system("keep mounts from the host"))?;
            action()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// From here on, files and directories that are made get the modes that they are given. In [`apart`], where that is this thread's own
/// affair: leaving the namespace of mounts is leaving what threads have in common of file systems, too.
pub(super) fn give_exact_modes() {
    rustix::process::umask(Mode::empty());
}

impl Workshop<'_> {
    /// Mounts a stack of layers, to be read and changed. In [`apart`].
    pub(super) fn mount(&self, chain: &[ChainId], name: &str) -> Result<Mounted> {
        let directory = self.staging.path(name);
        let (prepared, layers) = self.store.snapshots().prepare_in(chain, &directory)?;
        let target = directory.join("root");
        snapshot::create_directory(&target, 0o700)?;
        // The command of a step may have it mounted.
        labels::label_layers(&prepared)?;
        snapshot::mount(&prepared, &target, selinux::of_shared_files().as_deref())?;
        Ok(Mounted { root: Rootfs::open(&target)?, layers, directory })
    }

    /// Takes away what a step was done in.
    pub(super) fn clear(&self, mounted: Mounted) -> Result<()> {
        let Mounted { root, directory, .. } = mounted;
        drop(root);
        snapshot::unmount(&directory.join("root"))?;
        std::fs::remove_dir_all(&directory).map_err(Error::io("remove", &directory))
    }

    /// What was changed in a mounted tree, as a layer; nothing if that is nothing.
    pub(super) fn pack(
        &self,
        image: &NewImage<'_>,
        mounted: &Mounted,
        latest: Option<i64>,
    ) -> Result<Option<Layer>> {
        let found = changes(&mounted.layers, &BTreeSet::new())?;
        pack(image, &mounted.layers.upper, found, latest)
    }
}

/// Packs changes that lie in the upper directory of an overlay. What is later than `latest`, in seconds since 1970, gets that time.
pub(super) fn pack(
    image: &NewImage<'_>,
    upper: &Path,
    changes: Changes,
    latest: Option<i64>,
) -> Result<Option<Layer>> {
    if changes.list.is_empty() {
        return Ok(None);
    }
    let directory = File::open(upper).map_err(Error::io("open", upper))?;
    let latest = latest.map(|seconds| Timespec { tv_sec: seconds, tv_nsec: 0 });
    let (omit, user_marks) = (changes.incidental, is_in_namespace());
    let options = PackOptions { latest, omit, user_marks, ..PackOptions::default() };
    let (descriptor, diff_id, _) =
        image.layer(|output| layer::diff(directory.as_fd(), &options, output))?;
    Ok(Some((descriptor, diff_id)))
}
