//! Images whose manifest or configuration does not read back: they take no other image from view, keep what may be theirs
//! until they are removed, and can be removed by what the index says of them.

use std::collections::HashSet;

use bundle::digest::Digest;

use super::index::{Entry, Index};
use super::removal::Removal;
use super::{Error, Removed, Store, is_id_prefix};
use crate::notice;
use crate::reference::Reference;
use crate::registry::manifest;

/// What images need of one kind, by its name on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Needed {
    /// These.
    Only(HashSet<String>),
    /// One image does not tell: it may be anything.
    Unknown,
}

impl Needed {
    pub(super) fn has(&self, name: &str) -> bool {
        match self {
            Self::Only(names) => names.contains(name),
            Self::Unknown => true,
        }
    }

    /// What one more image needs, if it tells.
    fn add(&mut self, more: Option<Vec<String>>) {
        match (self, more) {
            (Self::Only(names), Some(more)) => names.extend(more),
            (this, None) => *this = Self::Unknown,
            (Self::Unknown, Some(_)) => {}
        }
    }

    /// Together with what is used otherwise.
    pub(super) fn and(mut self, used: Option<HashSet<String>>) -> Self {
        self.add(used.map(|used| used.into_iter().collect()));
        self
    }
}

/// What the index leads to.
pub(super) struct Reachable {
    /// Blobs.
    pub(super) blobs: Needed,
    /// Chains of layers.
    pub(super) chains: Needed,
}

/// The image, or the list of images, or nothing if it is damaged, which is told.
pub(super) fn unless_damaged<T>(
    image: Result<T, Error>,
    index: &Index,
    digest: &Digest,
) -> Result<Option<T>, Error> {
    match image {
        Err(error @ Error::Damaged { .. }) => {
            let name = called(index, digest);
            // What a registry has under the name of a list is no list.
            notice::note(match index.entry(digest).is_some_and(Entry::is_list) {
                true => format!(
                    "manifest list `{name}` is left out: {error} (`nman manifest rm {name}` removes it)"
                ),
                false => format!(
                    "image `{name}` is left out: {error} (`nman pull {name}` or loading it again mends it, `nman rmi {name}` removes it)"
                ),
            });
            Ok(None)
        }
        image => image.map(Some),
    }
}

/// The first name of an image, or its manifest's digest.
pub(super) fn called(index: &Index, digest: &Digest) -> String {
    index.names(digest).first().map_or_else(|| digest.to_string(), ToString::to_string)
}

impl Store {
    /// The blobs and the chains, by their hexadecimal names, that the index leads to. What cannot be read keeps all that
    /// it may lead to: one bad file must not cost the layers of its image, or of others.
    pub(super) fn reachable(&self, index: &Index) -> Reachable {
        let empty = || Needed::Only(HashSet::new());
        let mut reachable = Reachable { blobs: empty(), chains: empty() };
        for digest in index.manifests_with_steps() {
            let blobs = self.manifest(&digest).ok().map(|manifest| {
                let origin = manifest.as_ref().and_then(manifest::origin);
                let descriptors = manifest
                    .iter()
                    .flat_map(|manifest| manifest.layers().iter().chain([manifest.config()]));
                let digests = descriptors.filter_map(|d| Digest::try_from(d).ok());
                let digests = digests.chain([digest.clone()]).chain(origin);
                digests.map(|digest| digest.hex().to_owned()).collect()
            });
            reachable.blobs.add(blobs);
            let chains = self.content(&digest).ok().map(|content| {
                let chains = content.into_iter().flat_map(|content| content.chain_ids);
                chains.map(|chain| chain.digest().hex().to_owned()).collect()
            });
            reachable.chains.add(chains);
        }
        for digest in index.lists() {
            reachable.blobs.add(self.kept_by_list(&digest));
        }
        reachable
    }

    /// Removes a damaged image by name, by id as far as its manifest still tells it, or by (the beginning of) its
    /// manifest's digest. With its last name it goes whether or not containers are of it: they keep their layers. The lock
    /// is held.
    pub(super) fn remove_damaged(
        &self,
        index: Index,
        text: &str,
    ) -> Result<Option<Vec<Removed>>, Error> {
        let Some((digest, named)) = self.find_damaged(&index, text)? else { return Ok(None) };
        let names = index.names(&digest);
        let removal = match named {
            Some(name) if names.len() > 1 => Removal { untag: vec![name], delete: false },
            _ => Removal { untag: names, delete: true },
        };
        self.forget(index, &digest, digest.clone(), &[], removal).map(Some)
    }

    fn find_damaged(
        &self,
        index: &Index,
        text: &str,
    ) -> Result<Option<(Digest, Option<Reference>)>, Error> {
        let is_damaged = |digest: &Digest| self.image(index, digest).is_err();
        if let Ok(name) = text.parse::<Reference>()
            && let Some(entry) = index.named(&name)
        {
            let found = Some(&entry.manifest).filter(|digest| is_damaged(digest));
            return Ok(found.map(|digest| (digest.clone(), entry.name.clone())));
        }
        let is_meant = |digest: &Digest| {
            let manifest = self.manifest(digest).ok().flatten();
            let id = manifest.and_then(|manifest| Digest::try_from(manifest.config()).ok());
            is_id_prefix(digest, text) || id.is_some_and(|id| is_id_prefix(&id, text))
        };
        let mut fitting = index.manifests_with_steps();
        fitting.retain(|digest| is_meant(digest) && is_damaged(digest));
        match fitting.len() {
            0 | 1 => Ok(fitting.pop().map(|digest| (digest, None))),
            _ => Err(Error::Ambiguous(text.to_owned())),
        }
    }

    /// Gives an image up that does not read back, with all its names. False if it does by now.
    pub(super) fn forget_damaged(&self, digest: &Digest) -> Result<bool, Error> {
        let _session = self.stage()?;
        let _lock = self.lock()?;
        let mut index = self.index()?;
        if self.image(&index, digest).is_ok() || self.list_of(digest).is_ok() {
            return Ok(false);
        }
        index.forget(digest, &[], true);
        index.forget_steps(|step| step == digest);
        index.write(self.layout())?;
        self.collect(&index)?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_tell_what_it_needs_needs_everything() {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut needed = Needed::Only(HashSet::new());
        needed.add(Some(names(&["a"])));
        assert!(needed.has("a") && !needed.has("b"));
        assert!(!needed.clone().and(Some(HashSet::new())).has("b"));
        assert!(needed.clone().and(None).has("b"));
        needed.add(None);
        needed.add(Some(names(&["c"])));
        assert!(needed.has("b"));
    }
}
