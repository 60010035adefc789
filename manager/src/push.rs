//! Pushing: from an image in the store to a repository of a registry.
//!
//! Layers go first, several at a time, then the configuration, at last the manifest, byte for byte as it is stored, or as it came: nobody
//! can see an image that is not whole, and its digest there is its digest here.

mod list;

pub use list::{Sent, push_list};

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use bundle::digest::Digest;
use oci_spec::image::{Descriptor, ImageManifest, MediaType};

use crate::progress::{LayerProgress, NoProgress, Outcome, Progress, Way};
use crate::pull::{Cause, Error};
use crate::reference::Reference;
use crate::registry::manifest;
use crate::registry::{self, Access, Document, Mirrors, Platform, Registry as _, Target, Upload};
use crate::store::{self, Image, Store};

/// Layers that are sent at the same time.
const PARALLEL: usize = 4;
/// The most repositories that are asked for a layer.
const MAX_SOURCES: usize = 8;
/// The size of the pieces in which a large layer is sent.
const CHUNK: u64 = 64 << 20;

/// Choices of the caller.
#[derive(Clone, Debug)]
pub struct PushOptions {
    /// Login and certificates.
    pub access: Access,
    /// A layer that is larger is sent in pieces of this size.
    pub chunk: u64,
    /// How many layers are sent at the same time.
    pub parallel: usize,
    /// Which image of a list is sent; that for this machine, if not given.
    pub platform: Option<Platform>,
}

impl Default for PushOptions {
    fn default() -> Self {
        Self { access: Access::default(), chunk: CHUNK, parallel: PARALLEL, platform: None }
    }
}

/// What the registry has now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The digest of the manifest.
    pub digest: Digest,
    /// Its length.
    pub size: u64,
}

/// Sends the image that is called `reference` here to where its name says.
pub fn push(
    reference: &Reference,
    options: &PushOptions,
    store: &Store,
    progress: &dyn Progress,
) -> Result<Pushed, Error> {
    try_push(reference, options, store, progress)
        .map_err(|cause| Error::new("push", reference.to_string(), cause))
}

fn try_push(
    reference: &Reference,
    options: &PushOptions,
    store: &Store,
    progress: &dyn Progress,
) -> Result<Pushed, Cause> {
    let image = store.named_for(reference, options.platform.as_ref())?;
    let Some(image) = image else { return Err(missing(reference, options, store)) };
    let others = store.list()?;
    let sources = sources(reference, &image.layers, &others);
    let target = Target::connect(reference, &options.access, &sources)?;
    let content = store.content(&image.manifest_digest)?;
    let manifest = content.ok_or(Cause::NotHere)?.manifest;
    let sending = Sending { target: &target, store, origin: None, sources: &sources, options };
    // Docker names what is pushed by its diff id.
    let names: Vec<Digest> = image.diff_ids.iter().map(|id| id.digest().clone()).collect();
    sending.layers(&image.layers, &names, progress)?;
    sending.blob(manifest.config(), &NoProgress)?;

    let Document { digest, media_type, content } = document(store, &image, &manifest)?;
    target.manifest(&reference.selector(), &media_type, &content)?;
    Ok(Pushed { digest, size: content.len() as u64 })
}

/// Why there is nothing to be sent.
fn missing(reference: &Reference, options: &PushOptions, store: &Store) -> Cause {
    match (&options.platform, store.named_list(reference)) {
        (Some(wanted), Ok(Some(list))) => Cause::Store(store::Error::NotInList {
            name: reference.to_string(),
            wanted: wanted.clone(),
            offered: list.list.offered(),
        }),
        _ => Cause::NoSuchName(reference.familiar_name()),
    }
}

/// What the registry is sent as the manifest: what once came, where that is kept in other words, so that the image keeps its digest
/// from one registry to the next; else what is kept.
pub(crate) fn document(
    store: &Store,
    image: &Image,
    manifest: &ImageManifest,
) -> Result<Document, Cause> {
    let kept = &image.manifest_digest;
    if let Some(digest) = manifest::origin(manifest)
        && let Ok(document) = store.layout().resolve(digest.as_str())
        && let Some(origin) = manifest::as_origin(document, kept)
    {
        return Ok(origin);
    }
    // What has no media type of its own is OCI's.
    let media_type = manifest.media_type().clone().unwrap_or(MediaType::ImageManifest);
    let document = store.layout().resolve(kept.as_str())?;
    Ok(Document { media_type: media_type.to_string(), ..document })
}

/// Other repositories of the same registry that are likely to have layers of an image: those under whose names it, or another
/// image with one of its layers, is here.
fn sources(reference: &Reference, layers: &[Descriptor], others: &[Image]) -> Vec<String> {
    let shares = |other: &&Image| {
        other.layers.iter().any(|layer| layers.iter().any(|own| own.digest() == layer.digest()))
    };
    let names = others.iter().filter(shares).flat_map(|other| &other.names);
    let repositories: BTreeSet<&str> = names
        .filter(|name| {
            name.domain() == reference.domain() && name.repository() != reference.repository()
        })
        .map(Reference::repository)
        .collect();
    repositories.into_iter().take(MAX_SOURCES).map(str::to_owned).collect()
}

struct Sending<'a> {
    target: &'a Target,
    store: &'a Store,
    /// Where what is not here comes from.
    origin: Option<&'a Mirrors>,
    sources: &'a [String],
    options: &'a PushOptions,
}

impl Sending<'_> {
    /// Sends layers, which people know by `names`, and each blob once.
    fn layers(
        &self,
        layers: &[Descriptor],
        names: &[Digest],
        progress: &dyn Progress,
    ) -> Result<(), Cause> {
        let reporters: Vec<_> = layers
            .iter()
            .zip(names)
            .map(|(layer, name)| progress.layer(name, layer.size(), Way::Push))
            .collect();
        let next = AtomicUsize::new(0);
        let failed: Mutex<Option<Cause>> = Mutex::new(None);
        let fault = || failed.lock().unwrap_or_else(PoisonError::into_inner);
        let work = || {
            while fault().is_none() {
                let position = next.fetch_add(1, Ordering::Relaxed);
                let Some(layer) = layers.get(position) else { return };
                let is_same = |other: &Descriptor| other.digest() == layer.digest();
                if layers[..position].iter().any(is_same) {
                    continue;
                }
                let outcome = self.blob(layer, &*reporters[position]).unwrap_or_else(|cause| {
                    fault().get_or_insert(cause);
                    Outcome::Failed
                });
                for (_, twin) in layers.iter().zip(&reporters).filter(|(other, _)| is_same(other)) {
                    twin.end(outcome.clone());
                }
            }
        };
        thread::scope(|scope| {
            for _ in 1..self.options.parallel.min(layers.len()) {
                scope.spawn(work);
            }
            work();
        });
        let cause = fault().take();
        cause.map_or(Ok(()), Err)
    }

    /// What is here of a blob from `offset` on.
    fn kept(&self, digest: &Digest, offset: u64) -> io::Result<Box<dyn Read + '_>> {
        let mut file = File::open(self.store.layout().blob_path(digest))?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(Box::new(file))
    }

    fn blob(
        &self,
        descriptor: &Descriptor,
        progress: &dyn LayerProgress,
    ) -> Result<Outcome, Cause> {
        if is_foreign(descriptor) {
            return Ok(Outcome::Skipped);
        }
        if self.target.has(descriptor)? {
            return Ok(Outcome::PresentThere);
        }
        for source in self.sources {
            // That a layer cannot be taken over is no reason not to send it: the other repository may be somebody else's.
            if self.target.mount(descriptor, source).is_ok_and(|mounted| mounted) {
                return Ok(Outcome::Mounted(source.clone()));
            }
        }
        let digest = Digest::try_from(descriptor)
            .map_err(|error| registry::Error::Invalid(error.to_string()))?;
        let origin = self.origin.filter(|_| !self.store.has_blob(&digest, descriptor.size()));
        let content = |offset: u64| match origin {
            Some(origin) => passed_on(origin, descriptor, offset),
            None => self.kept(&digest, offset),
        };
        let sent = |bytes| progress.stands_at(bytes);
        // What is passed on would come from its beginning again for every piece.
        let chunk = if origin.is_some() { u64::MAX } else { self.options.chunk };
        let upload = Upload { descriptor, content: &content, chunk, sent: &sent };
        match self.target.upload(&upload) {
            Ok(()) => Ok(Outcome::Pushed),
            Err(error) if origin.is_some() => Err(error.into()),
            // A registry that refuses it says that it is not what was promised, and not that it is damaged here.
            Err(error) => match self.store.blob(&digest, descriptor.size())?.finish() {
                Err(why) => Err(store::Error::layer_damaged(digest, &why).into()),
                Ok(_) => Err(error.into()),
            },
        }
    }
}

/// What another registry has of a blob from `offset` on.
fn passed_on<'a>(
    origin: &'a Mirrors,
    descriptor: &Descriptor,
    offset: u64,
) -> io::Result<Box<dyn Read + 'a>> {
    let mut content = origin.blob(descriptor).map_err(io::Error::other)?;
    io::copy(&mut content.by_ref().take(offset), &mut io::sink())?;
    Ok(content)
}

/// Whether the layer is to be had from elsewhere and must not be distributed.
fn is_foreign(descriptor: &Descriptor) -> bool {
    let has_urls = descriptor.urls().as_ref().is_some_and(|urls| !urls.is_empty());
    let kinds = [
        MediaType::ImageLayerNonDistributable,
        MediaType::ImageLayerNonDistributableGzip,
        MediaType::ImageLayerNonDistributableZstd,
    ];
    has_urls && kinds.contains(descriptor.media_type())
}
