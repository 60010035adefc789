//! From a resolved manifest to an image in the store, wherever its blobs come from.

use std::fs::{self, File};
use std::io::{Read, Write as _};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use bundle::digest::{ChainId, DiffId, Digest, Expected, Verifier};
use bundle::layout::Layout;
use bundle::{layer, platform};
use oci_spec::image::{Descriptor, ImageManifest};

use super::Cause;
use super::unpack::Incoming;
use crate::progress::{LayerProgress, NoProgress, Outcome, Progress, Way};
use crate::reference::Reference;
use crate::registry::manifest::{self, Kept, Kind};
use crate::registry::{self, Document, Platform, Registry};
use crate::selinux;
use crate::snapshot::{FILES, LayerRecord, Snapshots, create_directory, remove_tree};
use crate::store::{self, Content, Image, Staging, Store};

/// Layers that come in at the same time, as many as Docker takes and one more.
const PARALLEL: usize = 4;
/// An index may point to an index; nobody needs more of that.
const MAX_NESTING: usize = 3;
/// How often a pull begins again because what it relied on was removed meanwhile.
const MAX_ATTEMPTS: usize = 3;

/// Where an image comes from, and for which platform it is chosen.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) registry: &'a dyn Registry,
    pub(crate) platform: &'a Platform,
    /// Whether somebody asked for this platform: an image for another one only is then an error.
    pub(crate) asked: bool,
    /// Whether its layers were made here, or were here already.
    pub(crate) made_here: bool,
    /// The layout in a session of ours that it is in: its blobs become the store's as they are, and are not copied.
    pub(crate) staged: Option<&'a Layout>,
}

impl<'a> Source<'a> {
    /// What comes from elsewhere, for a platform that nobody has asked for.
    pub(crate) fn new(registry: &'a dyn Registry, platform: &'a Platform) -> Self {
        Self { registry, platform, asked: false, made_here: false, staged: None }
    }

    /// Whether a blob was linked to `path`, where there is nothing yet. If it is not one of a session's, or its file system has no links, it is not.
    fn links(&self, digest: &Digest, path: &Path) -> bool {
        self.staged.is_some_and(|layout| fs::hard_link(layout.blob_path(digest), path).is_ok())
    }
}

/// What an image is called here.
#[derive(Clone, Copy)]
pub(crate) enum Called<'a> {
    /// By these names; without any, it is there all the same.
    Names(&'a [Reference]),
    /// By the key of the step of a build that has made it.
    Step(&'a Digest),
}

/// Brings in the image that `document` stands for and gives it `names`.
pub(crate) fn install(
    source: &Source<'_>,
    document: Document,
    names: &[Reference],
    store: &Store,
    progress: &dyn Progress,
) -> Result<Image, Cause> {
    install_as(source, document, Called::Names(names), store, progress)
}

/// Brings in the image that `document` stands for.
pub(crate) fn install_as(
    source: &Source<'_>,
    document: Document,
    called: Called<'_>,
    store: &Store,
    progress: &dyn Progress,
) -> Result<Image, Cause> {
    let resolved = document.digest.clone();
    let Chosen { document, origin, content, config: (config_digest, config) } =
        choose_image(source, document)?;
    let mut documents = vec![(config_digest, config.as_slice())];
    let manifests = origin.iter().chain([&document]);
    documents.extend(manifests.map(|one| (one.digest.clone(), one.content.as_slice())));
    for _ in 0..MAX_ATTEMPTS {
        let staging = store.stage()?;
        let (layers, documents) = (plan(&content, store)?, documents.as_slice());
        let pending = Pending { staging, store, layers, documents };
        let staged = pending.fetch(source, progress)?;
        pending.inherit(&staged)?;
        pending.stage_documents()?;
        pending.make_last(&staged)?;
        if let Some(image) = pending.commit(&staged, &document, called, &resolved)? {
            return Ok(image);
        }
    }
    Err(Cause::Contended)
}

/// What the image that `document` stands for says of itself, and its configuration as it came. Nothing is brought in.
pub(crate) fn look_at(
    source: &Source<'_>,
    document: Document,
) -> Result<(Content, Vec<u8>), Cause> {
    let chosen = choose_image(source, document)?;
    Ok((chosen.content, chosen.config.1))
}

/// The image that a document stands for.
struct Chosen {
    /// Its manifest, as it is kept.
    document: Document,
    /// What that was made from.
    origin: Option<Document>,
    content: Content,
    /// Its configuration with its digest.
    config: (Digest, Vec<u8>),
}

fn choose_image(source: &Source<'_>, document: Document) -> Result<Chosen, Cause> {
    let Kept { document, manifest, origin } = choose(source, document)?;
    let config = read_config(source.registry, &manifest)?;
    let content = Content::new(manifest, &config.1)
        .map_err(|why| registry::Error::Invalid(format!("the image's configuration {why}")))?;
    if source.asked && !source.platform.fits(&content.config) {
        let (wanted, offered) = (source.platform.clone(), platform::name(&content.config));
        return Err(Cause::NoPlatform { wanted, offered });
    }
    Ok(Chosen { document, origin, content, config })
}

/// Unpacks an image's layers from the store's own blobs.
pub(crate) fn unpack_again(store: &Store, image: &Image) -> Result<Image, Cause> {
    let layout = store.layout();
    let document = layout.resolve(image.manifest_digest.as_str())?;
    // What only a list keeps may be in Docker's words: it says itself what it is.
    let document = Document { media_type: String::new(), ..document };
    let host = Platform::host();
    let source = Source { made_here: true, ..Source::new(layout, &host) };
    install(&source, document, &[], store, &NoProgress)
}

/// Follows indexes to the manifest for the platform.
fn choose(source: &Source<'_>, document: Document) -> Result<Kept, Cause> {
    let mut document = document;
    for _ in 0..MAX_NESTING {
        match manifest::parse(&document)? {
            Kind::Manifest(manifest) => return Ok(manifest::normalize(document, *manifest)?),
            Kind::Index(index) => {
                let chosen = match source.asked {
                    true => source.platform.choose(index.manifests()),
                    false => source.platform.choose_runnable(index.manifests()),
                };
                let descriptor = chosen.ok_or_else(|| Cause::NoPlatform {
                    wanted: source.platform.clone(),
                    offered: platform::offered(index.manifests()),
                })?;
                document = source.registry.manifest(descriptor)?;
            }
        }
    }
    Err(registry::Error::Invalid("its indexes are nested too deeply".to_owned()).into())
}

fn read_config(
    source: &dyn Registry,
    manifest: &ImageManifest,
) -> Result<(Digest, Vec<u8>), Cause> {
    let descriptor = manifest.config();
    let digest = digest_of(descriptor)?;
    let config = read_blob(source, descriptor, |_, mut content| {
        let mut config = Vec::new();
        let read = content.read_to_end(&mut config);
        read.map_err(|error| registry::Error::from_read(error, "config", &digest))?;
        Ok(config)
    })?;
    Ok((digest, config))
}

/// Reads a blob from the first place where it is what its digest says: a mirror may have something else. `read` is told how many were
/// tried before.
fn read_blob<T>(
    source: &dyn Registry,
    descriptor: &Descriptor,
    read: impl Fn(usize, Box<dyn Read + Send + '_>) -> Result<T, Cause>,
) -> Result<T, Cause> {
    let mut errors = Vec::new();
    loop {
        let place = errors.len();
        let content = source.blob_at(place, descriptor).map_err(Cause::from);
        let error = match content.and_then(|content| read(place, content)) {
            Err(Cause::Registry(error)) => error,
            other => return other,
        };
        let is_wrong = matches!(error, registry::Error::Mismatch { .. });
        errors.push(error);
        if !is_wrong || errors.len() >= source.places() {
            return Err(registry::Error::of_several(errors).into());
        }
    }
}

fn digest_of(descriptor: &Descriptor) -> Result<Digest, registry::Error> {
    Digest::try_from(descriptor).map_err(|error| registry::Error::Invalid(error.to_string()))
}

/// A layer of the image, and what of it is missing here.
#[derive(Debug)]
struct Layer {
    descriptor: Descriptor,
    digest: Digest,
    diff_id: DiffId,
    chain: ChainId,
    needs_blob: bool,
    needs_files: bool,
    /// The first layer that is the same blob and brings it in, if that is another.
    twin: Option<usize>,
}

fn plan(content: &Content, store: &Store) -> Result<Vec<Layer>, Cause> {
    let ids = content.diff_ids.iter().zip(&content.chain_ids);
    let mut layers: Vec<Layer> = Vec::new();
    for (descriptor, (diff_id, chain)) in content.manifest.layers().iter().zip(ids) {
        let digest = digest_of(descriptor)?;
        let twin = layers.iter().position(|layer| layer.digest == digest && layer.needs_blob);
        layers.push(Layer {
            needs_blob: twin.is_none() && !store.has_blob(&digest, descriptor.size()),
            needs_files: !store.snapshots().contains(chain),
            descriptor: descriptor.clone(),
            digest,
            diff_id: diff_id.clone(),
            chain: chain.clone(),
            twin,
        });
    }
    Ok(layers)
}

/// What a layer left in the staging directory.
#[derive(Debug, Default)]
struct Staged {
    blob: Option<PathBuf>,
    files: Option<(PathBuf, LayerRecord)>,
    /// Directories without an entry in the layer; see [`layer::inherit`].
    implied: Vec<Vec<u8>>,
    /// What the layer hides; see [`layer::drop_idle_whiteouts`].
    whiteouts: Vec<Vec<u8>>,
}

/// An image that is coming in.
struct Pending<'a> {
    staging: Staging,
    store: &'a Store,
    layers: Vec<Layer>,
    /// The small blobs, which have been verified: the configuration, the manifest, and what that was made from.
    documents: &'a [(Digest, &'a [u8])],
}

impl Pending<'_> {
    /// Brings in all layers, several at a time, and each blob once; the first failure stops the others.
    fn fetch(&self, source: &Source<'_>, progress: &dyn Progress) -> Result<Vec<Staged>, Cause> {
        let next = AtomicUsize::new(0);
        let cancelled = AtomicBool::new(false);
        let results: Vec<Mutex<Option<Result<Staged, Cause>>>> =
            self.layers.iter().map(|_| Mutex::new(None)).collect();
        let reporters: Vec<_> = self
            .layers
            .iter()
            .map(|layer| progress.layer(&layer.digest, layer.descriptor.size(), Way::Pull))
            .collect();
        // The largest first: none of them is then left to come in alone.
        let mut order: Vec<usize> = (0..self.layers.len())
            .filter(|position| self.layers[*position].twin.is_none())
            .collect();
        order.sort_by_key(|position| std::cmp::Reverse(self.layers[*position].descriptor.size()));
        let fetch = |position: usize| {
            let result = self.fetch_layer(position, source, &*reporters[position], &cancelled);
            if result.is_err() {
                cancelled.store(true, Ordering::Relaxed);
            }
            *results[position].lock().unwrap_or_else(|poisoned| poisoned.into_inner()) =
                Some(result);
        };
        let work = || {
            while !cancelled.load(Ordering::Relaxed) {
                let turn = next.fetch_add(1, Ordering::Relaxed);
                let Some(&first) = order.get(turn) else { return };
                fetch(first);
                self.twins_of(first)
                    .take_while(|_| !cancelled.load(Ordering::Relaxed))
                    .for_each(fetch);
            }
        };
        thread::scope(|scope| {
            for _ in 1..PARALLEL.min(order.len()) {
                scope.spawn(work);
            }
            work();
        });
        let results = results
            .into_iter()
            .map(|slot| slot.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()))
            .map(|result| result.unwrap_or(Err(Cause::Cancelled)));
        let (staged, failed): (Vec<_>, Vec<_>) = results.partition(Result::is_ok);
        // One layer's failure cancels the others: report the failure, not the cancelling.
        let mut failed: Vec<Cause> = failed.into_iter().filter_map(Result::err).collect();
        failed.sort_by_key(|cause| matches!(cause, Cause::Cancelled));
        match failed.into_iter().next() {
            Some(cause) => Err(cause),
            None => Ok(staged.into_iter().filter_map(Result::ok).collect()),
        }
    }

    /// The other layers that are the same blob.
    fn twins_of(&self, first: usize) -> impl Iterator<Item = usize> {
        let layers = self.layers.iter().enumerate();
        layers.filter(move |(_, layer)| layer.twin == Some(first)).map(|(position, _)| position)
    }

    fn fetch_layer(
        &self,
        position: usize,
        source: &Source<'_>,
        progress: &dyn LayerProgress,
        cancelled: &AtomicBool,
    ) -> Result<Staged, Cause> {
        let layer = &self.layers[position];
        if !layer.needs_blob && !layer.needs_files {
            progress.end(Outcome::Present);
            return Ok(Staged::default());
        }
        let result = self.bring_in(position, source, progress, cancelled);
        progress.end(if result.is_ok() { Outcome::Pulled } else { Outcome::Failed });
        result
    }

    fn bring_in(
        &self,
        position: usize,
        source: &Source<'_>,
        progress: &dyn LayerProgress,
        cancelled: &AtomicBool,
    ) -> Result<Staged, Cause> {
        let layer = &self.layers[position];
        let blob = layer.needs_blob.then(|| self.blob_path(position));
        // What is linked is read all the same, and thereby verified.
        let copy = blob.as_deref().filter(|blob| !source.links(&layer.digest, blob));
        let take = |content: Box<dyn Read + Send + '_>| {
            let digest = layer.digest.clone();
            let incoming = Incoming::new(digest, content, copy, progress, cancelled)?;
            match layer.needs_files {
                true => self.unpack(position, layer, incoming, source.made_here),
                false => incoming.keep().map(|()| Staged::default()),
            }
        };
        let staged = if layer.needs_blob {
            read_blob(source.registry, &layer.descriptor, |tried, content| {
                if tried > 0 {
                    self.clear(position)?;
                }
                take(content)
            })?
        } else {
            take(self.kept(layer)?)?
        };
        Ok(Staged { blob, ..staged })
    }

    /// The content of a blob that is here: in the store, or brought in by another layer.
    fn kept(&self, layer: &Layer) -> Result<Box<dyn Read + Send + '_>, Cause> {
        let size = layer.descriptor.size();
        let Some(twin) = layer.twin else {
            return Ok(Box::new(self.store.blob(&layer.digest, size)?));
        };
        let path = self.blob_path(twin);
        let file = File::open(&path).map_err(store::Error::file("open", &path))?;
        let expected = Expected { digest: layer.digest.clone(), size: Some(size) };
        Ok(Box::new(Verifier::new(file, expected)))
    }

    fn blob_path(&self, position: usize) -> PathBuf {
        self.staging.path(&format!("{position}.blob"))
    }

    /// Takes away what came of a layer that was not what it should be.
    fn clear(&self, position: usize) -> Result<(), Cause> {
        let blob = self.blob_path(position);
        fs::remove_file(&blob).map_err(store::Error::file("remove", &blob))?;
        Ok(remove_tree(&self.staging.path(&format!("{position}.layer")))?)
    }

    fn unpack(
        &self,
        position: usize,
        layer: &Layer,
        incoming: Incoming<'_>,
        made_here: bool,
    ) -> Result<Staged, Cause> {
        let directory = self.staging.path(&format!("{position}.layer"));
        create_directory(&directory, 0o700)?;
        let files = directory.join(FILES);
        create_directory(&files, 0o755)?;
        selinux::label_layer(&files).map_err(store::Error::file("label", &files))?;
        let stats = incoming.unpack(&files, &layer.diff_id, made_here)?;
        let record = LayerRecord { size: stats.bytes, opaque_root: stats.opaque_root };
        let (implied, whiteouts) = (stats.implied, stats.whiteouts);
        Ok(Staged { blob: None, files: Some((directory, record)), implied, whiteouts })
    }

    /// Gives directories that a layer has no entry for the look they have below, and takes away whiteouts that hide nothing, from
    /// the bottom up.
    fn inherit(&self, staged: &[Staged]) -> Result<(), Cause> {
        let open = |path: PathBuf| {
            File::open(&path).map_err(crate::store::Error::file("open", &path)).map_err(Cause::from)
        };
        let mut below: Vec<File> = Vec::new();
        for (layer, staged) in self.layers.iter().zip(staged) {
            let files = match &staged.files {
                Some((directory, _)) => directory.join(FILES),
                None => self.store.snapshots().files(&layer.chain),
            };
            let files = open(files)?;
            if !staged.implied.is_empty() || !staged.whiteouts.is_empty() {
                let lowers: Vec<_> = below.iter().rev().map(AsFd::as_fd).collect();
                layer::inherit(files.as_fd(), &lowers, &staged.implied)
                    .and_then(|()| {
                        layer::drop_idle_whiteouts(files.as_fd(), &lowers, &staged.whiteouts)
                    })
                    .map_err(|source| Cause::Layer { digest: layer.digest.clone(), source })?;
            }
            below.push(files);
        }
        Ok(())
    }

    /// Moves everything to its place and names the image; `None` if something that was here when
    /// the pull began is not any more.
    fn commit(
        &self,
        staged: &[Staged],
        document: &Document,
        called: Called<'_>,
        resolved: &Digest,
    ) -> Result<Option<Image>, Cause> {
        let _lock = self.store.lock()?;
        for (layer, staged) in self.layers.iter().zip(staged) {
            if let Some(blob) = &staged.blob {
                self.store.adopt(blob, &layer.digest)?;
            }
            if let Some((directory, _)) = &staged.files {
                self.store.snapshots().commit(directory, &layer.chain)?;
            }
            let is_whole = self.store.has_blob(&layer.digest, layer.descriptor.size())
                && self.store.snapshots().contains(&layer.chain);
            if !is_whole {
                return Ok(None);
            }
        }
        for (digest, _) in self.documents {
            self.store.adopt(&self.document_path(digest), digest)?;
        }
        self.store.make_names_last()?;
        let names = match called {
            Called::Step(key) => return Ok(Some(self.store.name_step(key, document)?)),
            Called::Names(names) => names,
        };
        let mut image = None;
        for name in names {
            image = Some(self.store.name(Some(name), document, resolved)?);
        }
        match image {
            Some(image) => Ok(Some(image)),
            None => Ok(Some(self.store.name(None, document, resolved)?)),
        }
    }

    fn document_path(&self, digest: &Digest) -> PathBuf {
        self.staging.path(&format!("{}.document", digest.hex()))
    }

    /// Writes the small blobs beside the layers.
    fn stage_documents(&self) -> Result<(), Cause> {
        for (digest, content) in self.documents {
            let path = self.document_path(digest);
            let written = File::create(&path)
                .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_data()));
            written.map_err(crate::store::Error::file("write", &path))?;
        }
        Ok(())
    }

    /// Waits until the disk has what came in: the index must not name what a power cut could take back, and a layer must
    /// not count before all its files are whole. One call for the thousands of files of a layer; a blob alone by itself.
    fn make_last(&self, staged: &[Staged]) -> Result<(), Cause> {
        let directory = self.staging.path("");
        for (files, record) in staged.iter().filter_map(|staged| staged.files.as_ref()) {
            Snapshots::describe(files, record)?;
        }
        if staged.iter().any(|staged| staged.files.is_some()) {
            let synced = File::open(&directory).and_then(|file| Ok(rustix::fs::syncfs(&file)?));
            synced.map_err(crate::store::Error::file("write to disk", &directory))?;
        } else {
            for blob in staged.iter().filter_map(|staged| staged.blob.as_ref()) {
                let synced = File::open(blob).and_then(|file| file.sync_data());
                synced.map_err(crate::store::Error::file("write to disk", blob))?;
            }
        }
        Ok(())
    }
}
