//! How much of the disk images take, alone and together.

use std::collections::HashSet;
use std::path::PathBuf;

use bundle::digest::Digest;

use super::damaged::{Needed, Reachable};
use super::{Error, Image, Store};
use crate::disk::usage;
use crate::snapshot::{entries, name_of};

impl Store {
    /// The bytes of disk that removing all images would free that `keep` does not keep.
    pub fn reclaimable(&self, keep: &dyn Fn(&Image) -> bool) -> Result<u64, Error> {
        let _lock = self.lock_shared()?;
        let mut index = self.index()?;
        for digest in index.manifests() {
            if self.image(&index, &digest).is_ok_and(|image| !keep(&image)) {
                index.forget(&digest, &[], true);
            }
        }
        for digest in index.lists() {
            index.forget(&digest, &[], true);
        }
        self.drop_steps(&mut index, |_| true);
        let Reachable { blobs, chains } = self.reachable(&index);
        let needed = chains.and(self.snapshots().used()?);
        let mut bytes = 0;
        for algorithm in entries(&self.layout().path().join("blobs"))? {
            bytes += outside(&entries(&algorithm)?, &blobs);
        }
        // The copies of a layer that goes are counted with it.
        let mut copies = self.snapshots().unused_copies()?;
        copies.retain(|copy| {
            copy.ancestors().nth(2).is_some_and(|layer| needed.has(&name_of(layer)))
        });
        bytes += copies.iter().map(|copy| usage(copy)).sum::<u64>();
        Ok(bytes + outside(&self.snapshots().committed_directories()?, &needed))
    }

    /// The bytes of disk of an image that it has in common with others of `all`, and those that it has alone.
    pub fn shares(&self, image: &Image, all: &[Image]) -> (u64, u64) {
        let others = all.iter().filter(|other| other.manifest_digest != image.manifest_digest);
        let others: HashSet<PathBuf> = others.flat_map(|other| self.places(other)).collect();
        let (mut shared, mut unique) = (0, 0);
        for place in self.places(image) {
            let bytes = usage(&place);
            *(if others.contains(&place) { &mut shared } else { &mut unique }) += bytes;
        }
        (shared, unique)
    }

    /// Where an image is on disk: its blobs and its unpacked layers.
    fn places(&self, image: &Image) -> HashSet<PathBuf> {
        let layers = image.layers.iter().filter_map(|layer| Digest::try_from(layer).ok());
        let blobs = layers.chain([image.id.clone(), image.manifest_digest.clone()]);
        let blobs = blobs.map(|digest| self.layout().blob_path(&digest));
        let unpacked = image.chain_ids.iter().filter_map(|chain| {
            self.snapshots().files(chain).parent().map(std::path::Path::to_owned)
        });
        blobs.chain(unpacked).collect()
    }
}

fn outside(paths: &[PathBuf], needed: &Needed) -> u64 {
    paths.iter().filter(|path| !needed.has(&name_of(path))).map(|path| usage(path)).sum()
}
