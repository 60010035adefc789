//! `--cache-from`: steps that other builds have made, taken from registries and image layouts.
//!
//! A cache is opened when a step is not here that it may have. One that cannot be had, or that has something else than it says, is told of once
//! and asked no more: the step is then made. What comes is verified by its digest, and has to stand on what the step stands on;
//! that it is what the step would make is the word of whoever wrote the cache.

use super::format::{self, Found};
use super::history::{self, Told};
use crate::build::report::Report;
use crate::cli::{BuildArgs, CacheSource, InLayout};
use crate::error::Result;
use crate::layout::find;
use crate::progress::{LayerProgress, NoProgress, Progress, Way};
use crate::pull::{Called, Source, install_as, look_at};
use crate::reference::Reference;
use crate::registry::manifest::{Kind, read};
use crate::registry::{self, Access, Document, Mirrors, Platform, Registry};
use crate::store::{Image, Store};
use crate::transfer;
use bundle::digest::{ChainId, Digest};
use bundle::layout::Layout;
use oci_spec::image::{Descriptor, ImageManifest, MediaType};
use serde_json::Value;
use std::collections::HashMap;
use std::io::{Cursor, Read};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// All caches that steps may be taken from, in the order in which they are asked.
pub(in crate::build) struct Caches<'a> {
    store: &'a Store,
    access: Access,
    /// The platform of the result, if it was asked for.
    platform: Option<Platform>,
    quiet: bool,
    sources: Vec<Cache>,
}

/// Why a cache, or a step of it, is not to be had: a clause.
type Answer<T> = std::result::Result<T, String>;

struct Cache {
    /// What it is called in messages.
    name: String,
    place: Place,
    opened: OnceLock<Option<Opened>>,
    /// Something of it was not what it said.
    is_broken: AtomicBool,
}

enum Place {
    /// An image here; that there is none is no news.
    Here(Reference),
    Registry(Reference),
    Layout(PathBuf, InLayout),
}

struct Opened {
    registry: Box<dyn Registry + Send>,
    steps: HashMap<Digest, Found>,
    /// The configuration and the manifest of an image that has no steps in it, but a history.
    image: Option<(Value, ImageManifest)>,
}

impl Opened {
    fn find(&self, key: &Digest, told: Option<Told<'_>>) -> Option<Found> {
        let by_history = || {
            let (config, manifest) = self.image.as_ref()?;
            history::find(told?, config, manifest)
        };
        self.steps.get(key).cloned().or_else(by_history)
    }
}

impl<'a> Caches<'a> {
    /// Those that were asked for. Nothing is opened yet.
    pub(in crate::build) fn new(
        store: &'a Store,
        args: &BuildArgs,
        platform: Option<Platform>,
        quiet: bool,
    ) -> Result<Self> {
        let mut sources = Vec::new();
        for source in &args.cache_from {
            match source {
                CacheSource::Names(names) => {
                    for name in names {
                        let name: Reference = name.parse()?;
                        sources.push(Cache::new(name.to_string(), Place::Here(name.clone())));
                        sources.push(Cache::new(name.to_string(), Place::Registry(name)));
                    }
                }
                CacheSource::Registry(name) => {
                    let name: Reference = name.parse()?;
                    sources.push(Cache::new(name.to_string(), Place::Registry(name)));
                }
                CacheSource::Layout { path, what } => {
                    let place = Place::Layout(path.clone(), what.clone());
                    sources.push(Cache::new(path.display().to_string(), place));
                }
            }
        }
        let access = Access { credentials: None, tls: transfer::tls(&args.tls) };
        Ok(Self { store, access, platform, quiet, sources })
    }

    /// What a cache has for a key, or of a step of which a history would tell, brought here, and which cache that is; `below` are the layers that the
    /// step stands on.
    pub(in crate::build) fn take(
        &self,
        key: &Digest,
        told: Option<Told<'_>>,
        below: &[ChainId],
        report: &Report,
    ) -> Option<(Image, &str)> {
        for cache in self.sources.iter().filter(|cache| !cache.is_broken.load(Relaxed)) {
            let Some(opened) = cache.opened.get_or_init(|| self.open(cache, report)) else {
                continue;
            };
            let Some(found) = opened.find(key, told) else { continue };
            match self.bring(opened, &found, key, below) {
                Ok(image) => return Some((image, &cache.name)),
                Err(why) => {
                    cache.is_broken.store(true, Relaxed);
                    report.warn(&format!("nothing is taken from cache `{}`: {why}", cache.name));
                }
            }
        }
        None
    }

    fn open(&self, cache: &Cache, report: &Report) -> Option<Opened> {
        let opened = match &cache.place {
            Place::Here(name) => return self.here(name),
            Place::Registry(name) => self.in_registry(name),
            Place::Layout(path, what) => self.in_layout(path, what),
        };
        match opened {
            Ok(opened) => Some(opened),
            Err(why) => {
                report.warn(&format!("nothing is taken from cache `{}`: {why}", cache.name));
                None
            }
        }
    }

    /// An image that has steps within it.
    fn here(&self, name: &Reference) -> Option<Opened> {
        let image = self.store.named_for(name, self.platform.as_ref()).ok().flatten()?;
        let layout = self.store.layout().clone();
        let document = layout.resolve(image.manifest_digest.as_str()).ok()?;
        self.opened(Box::new(layout), document).ok()
    }

    fn in_registry(&self, name: &Reference) -> Answer<Opened> {
        let registry = Mirrors::new(name, &self.access).map_err(text)?;
        let document = registry.resolve(&name.selector()).map_err(text)?;
        self.opened(Box::new(registry), document)
    }

    fn in_layout(&self, path: &std::path::Path, what: &InLayout) -> Answer<Opened> {
        let layout = Layout::open(path).map_err(text)?;
        let descriptor = find(&layout, what).map_err(text)?;
        let document = Registry::manifest(&layout, &descriptor).map_err(text)?;
        self.opened(Box::new(layout), document)
    }

    /// The steps of a cache, or those that are within an image, or an image.
    fn opened(&self, registry: Box<dyn Registry + Send>, document: Document) -> Answer<Opened> {
        if let Kind::Index(index) = read(&document).map_err(text)?
            && let Some(steps) = format::of_index(&index)
        {
            return Ok(Opened { registry, steps, image: None });
        }
        let host = Platform::host();
        let platform = self.platform.as_ref().unwrap_or(&host);
        let asked = self.platform.is_some();
        let (content, config) =
            look_at(&Source { asked, ..Source::new(&*registry, platform) }, document)
                .map_err(text)?;
        let config = serde_json::from_slice(&config).map_err(text)?;
        let steps = format::within(&config, &content.manifest);
        let image = steps.is_empty().then_some((config, content.manifest));
        Ok(Opened { registry, steps, image })
    }

    fn bring(
        &self,
        opened: &Opened,
        found: &Found,
        key: &Digest,
        below: &[ChainId],
    ) -> Answer<Image> {
        let parts;
        let (registry, document): (&dyn Registry, Document) = match found {
            Found::Image(image) => {
                (&*opened.registry, opened.registry.manifest(image).map_err(text)?)
            }
            Found::Parts { config, manifest } => {
                parts = Parts { below: &*opened.registry, id: Digest::of(config), config };
                (&parts, document(manifest))
            }
        };
        // Whom it is for was asked when the step's key was made.
        let host = Platform::host();
        let source = Source::new(registry, &host);
        let (content, _) = look_at(&source, document.clone()).map_err(text)?;
        let own = content.chain_ids.len().checked_sub(below.len());
        if !content.chain_ids.starts_with(below) || own.is_none_or(|own| own > 1) {
            return Err("a step in it does not stand on what it should".to_owned());
        }
        let own = content.manifest.layers().iter().skip(below.len());
        let own = own.filter_map(|layer| Digest::try_from(layer).ok()).collect();
        let progress = Above { progress: &*transfer::reporter(self.quiet), own };
        install_as(&source, document, Called::Step(key), self.store, &progress).map_err(text)
    }
}

/// Tells of a step's own layer. The others are here.
struct Above<'a> {
    progress: &'a dyn Progress,
    own: Vec<Digest>,
}

impl Progress for Above<'_> {
    fn note(&self, text: &str) {
        self.progress.note(text);
    }

    fn layer(&self, digest: &Digest, size: u64, way: Way) -> Box<dyn LayerProgress + '_> {
        match self.own.contains(digest) {
            true => self.progress.layer(digest, size, way),
            false => NoProgress.layer(digest, size, way),
        }
    }
}

impl Cache {
    fn new(name: String, place: Place) -> Self {
        Self { name, place, opened: OnceLock::new(), is_broken: AtomicBool::new(false) }
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn document(manifest: &[u8]) -> Document {
    Document {
        digest: Digest::of(manifest),
        media_type: MediaType::ImageManifest.to_string(),
        content: manifest.to_vec(),
    }
}

/// A configuration that was put together, and layers from elsewhere.
struct Parts<'a> {
    below: &'a dyn Registry,
    id: Digest,
    config: &'a [u8],
}

impl Registry for Parts<'_> {
    fn resolve(&self, selector: &str) -> std::result::Result<Document, registry::Error> {
        self.below.resolve(selector)
    }

    fn manifest(&self, descriptor: &Descriptor) -> std::result::Result<Document, registry::Error> {
        self.below.manifest(descriptor)
    }

    fn blob(
        &self,
        descriptor: &Descriptor,
    ) -> std::result::Result<Box<dyn Read + Send + '_>, registry::Error> {
        match descriptor.digest().to_string() == self.id.as_str() {
            true => Ok(Box::new(Cursor::new(self.config))),
            false => self.below.blob(descriptor),
        }
    }
}
