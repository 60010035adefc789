//! What the steps of builds have made: images without a name that the same steps of other builds take from here.
//!
//! They are in the index as images are, so that what they lead to stays, under the keys of their steps. Nobody misses one: it can
//! be made again. So they go with the image that stands on them, and those that no image stands on with `image prune` or
//! `builder prune`; but none as long as a build is under way, which may be about to stand on it.

use std::collections::HashSet;
use std::fs::{File, TryLockError};

use bundle::digest::{ChainId, Digest};

use super::index::{Entry, Index};
use super::{Error, Held, Image, Store};
use crate::registry::Document;

impl Store {
    /// Keeps all steps for as long as the file is open. It is let go of by the end of the process, too.
    pub(crate) fn hold_steps(&self) -> Result<File, Error> {
        let file = self.steps_lock()?;
        file.lock_shared().map_err(Error::file("lock", &self.steps_path()))?;
        Ok(file)
    }

    fn steps_path(&self) -> std::path::PathBuf {
        self.root.join("build.lock")
    }

    fn steps_lock(&self) -> Result<File, Error> {
        let path = self.steps_path();
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        file.map_err(Error::file("open", &path))
    }

    /// What the step with this key has made, if all of it is still here.
    pub(crate) fn step(&self, key: &Digest) -> Result<Option<Image>, Error> {
        let _lock = self.lock_shared()?;
        let index = self.index()?;
        let Some(entry) = index.of_step(key) else { return Ok(None) };
        // One that is damaged is made again.
        let Ok(image) = self.image(&index, &entry.manifest) else { return Ok(None) };
        let has_blobs = image.layers.iter().all(|layer| {
            Digest::try_from(layer).is_ok_and(|digest| self.has_blob(&digest, layer.size()))
        });
        let is_whole = has_blobs && image.chain_ids.iter().all(|id| self.snapshots.contains(id));
        Ok(is_whole.then_some(image))
    }

    /// Keeps builds from beginning until what it gives is dropped; `None` where one is under way, which may be about to stand on any step.
    pub(crate) fn hold_off_builds(&self) -> Result<Option<Held>, Error> {
        if self.is_bare {
            return Ok(Some(Held(None)));
        }
        let file = self.steps_lock()?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Held(Some(file)))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(Error::file("lock", &self.steps_path())(error)),
        }
    }

    /// Removes what steps have made that no image stands on, or with `all` what any has made, as far as `chosen` takes it; the ids of it, and how
    /// many bytes of disk that freed. What is damaged goes in any case. The caller holds off builds.
    pub(crate) fn prune_steps(
        &self,
        all: bool,
        chosen: impl Fn(&Image) -> bool,
    ) -> Result<(Vec<Digest>, u64), Error> {
        if self.is_bare {
            return Ok((Vec::new(), 0));
        }
        let _session = self.stage_removal()?;
        let _lock = self.lock()?;
        let mut index = self.index()?;
        // What a build that was killed has held.
        index.forget_step(&key_of_held());
        let used = self.used_chains(&index);
        let mut removed = Vec::new();
        for manifest in index.steps() {
            let goes = match self.image(&index, &manifest) {
                Ok(image) => {
                    let stands_alone = image.chain_ids.last().is_none_or(|top| !used.contains(top));
                    ((all || stands_alone) && chosen(&image)).then_some(image.id)
                }
                Err(_) => Some(manifest.clone()),
            };
            if let Some(id) = goes {
                index.forget_steps(|step| *step == manifest);
                removed.push(id);
            }
        }
        index.write(&self.layout)?;
        Ok((removed, self.collect(&index)?))
    }

    /// Writes down that a step has made an image that is in place. The lock is held.
    pub(crate) fn name_step(&self, key: &Digest, document: &Document) -> Result<Image, Error> {
        let mut index = self.index()?;
        index.name(Entry {
            manifest: document.digest.clone(),
            media_type: document.media_type.clone(),
            size: document.content.len() as u64,
            name: None,
            source: None,
            made: None,
            step: Some(key.clone()),
        });
        index.write(&self.layout)?;
        self.image(&index, &document.digest)
    }

    /// Keeps an image for builds, whatever becomes of its names: until none is under way.
    pub(crate) fn hold_image(&self, image: &Image) -> Result<(), Error> {
        let _lock = self.lock()?;
        let mut index = self.index()?;
        let Some(entry) = index.entry(&image.manifest_digest).cloned() else {
            return Err(Error::NoSuchImage(image.id.to_string()));
        };
        index.name(Entry { name: None, source: None, step: Some(key_of_held()), ..entry });
        index.write(&self.layout)
    }

    /// Lets go of the images that builds hold, unless one is still under way, which then does it: also for those that were killed.
    /// The caller's own is over, and holds no steps any more.
    pub(crate) fn let_go(&self) -> Result<(), Error> {
        let steps = self.steps_lock()?;
        if steps.try_lock().is_err() {
            return Ok(());
        }
        let _session = self.stage()?;
        let _lock = self.lock()?;
        let mut index = self.index()?;
        let before = index.manifests_with_steps().len();
        index.forget_step(&key_of_held());
        index.write(&self.layout)?;
        // What somebody has removed meanwhile goes now.
        if index.manifests_with_steps().len() < before {
            self.collect(&index)?;
        }
        Ok(())
    }

    /// Forgets the steps that only an image stood on that has just been forgotten; `chain` is its layers'.
    pub(super) fn forget_steps_below(
        &self,
        index: &mut Index,
        chain: &[ChainId],
    ) -> Result<(), Error> {
        self.forget_steps(index, |top| chain.contains(top))
    }

    /// Forgets the steps that no image stands on.
    pub(super) fn forget_loose_steps(&self, index: &mut Index) -> Result<(), Error> {
        self.forget_steps(index, |_| true)
    }

    fn forget_steps(
        &self,
        index: &mut Index,
        concerned: impl Fn(&ChainId) -> bool,
    ) -> Result<(), Error> {
        if self.steps_lock()?.try_lock().is_err() {
            return Ok(());
        }
        self.drop_steps(index, concerned);
        Ok(())
    }

    /// Takes the steps out of the index that are concerned by their uppermost layer, and that no image stands on.
    pub(super) fn drop_steps(&self, index: &mut Index, concerned: impl Fn(&ChainId) -> bool) {
        let used = self.used_chains(index);
        let goes = |manifest: &Digest| match self.chains_of(manifest).last() {
            Some(top) => concerned(top) && !used.contains(top),
            // Without layers, or damaged.
            None => true,
        };
        index.forget_steps(goes);
    }

    /// All that images stand on.
    fn used_chains(&self, index: &Index) -> HashSet<ChainId> {
        index.manifests().iter().flat_map(|image| self.chains_of(image)).collect()
    }

    /// What an image stands on; nothing if it is damaged.
    fn chains_of(&self, manifest: &Digest) -> Vec<ChainId> {
        self.content(manifest).ok().flatten().map_or(Vec::new(), |content| content.chain_ids)
    }
}

/// The key of the images that builds hold; no step's.
pub(crate) fn key_of_held() -> Digest {
    Digest::of(b"held by builds")
}
