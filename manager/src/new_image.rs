//! A new image in the making, for `commit`, `import` and `build`: made in a staging directory, installed as if it had been pulled.
//!
//! What an image is called and when it was made here stands in the store's index. Its own configuration has no time but the
//! one it is given, so the same content gives the same digests.

use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::progress::NoProgress;
use crate::pull::{self, Called, Source, install_as};
use crate::reference::Reference;
use crate::registry::{Platform, Registry as _};
use crate::store::{self, Image, Staging, Store};
use bundle::digest::DiffId;
use bundle::layer::{Compression, Limits};
use bundle::layout::Layout;
use bundle::{image, layer};
use oci_spec::image::{Descriptor, ImageManifestBuilder, MediaType};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};

/// An image that is being made.
pub(crate) struct NewImage<'a> {
    store: &'a Store,
    layout: Layout,
    annotations: HashMap<String, String>,
    /// Takes everything away that was not installed.
    _staging: Staging,
}

impl<'a> NewImage<'a> {
    /// Begins one.
    pub(crate) fn begin(store: &'a Store) -> Result<Self> {
        let staging = store.stage()?;
        let layout = Layout::create(staging.path("layout")).map_err(store::Error::from)?;
        Ok(Self { store, layout, annotations: HashMap::new(), _staging: staging })
    }

    /// Gives its manifest annotations.
    pub(crate) fn annotate(&mut self, annotations: &[(String, String)]) {
        self.annotations.extend(annotations.iter().cloned());
    }

    /// A layer of what `write` writes, gzipped.
    pub(crate) fn layer<T>(
        &self,
        write: impl FnOnce(&mut dyn Write) -> std::result::Result<T, layer::Error>,
    ) -> Result<(Descriptor, DiffId, T)> {
        Ok(image::put_layer(&self.layout, Compression::Gzip, write)?)
    }

    /// A layer that is an archive as it came, if layers may be compressed so.
    pub(crate) fn import(&self, archive: impl Read + Send) -> Result<(Descriptor, DiffId)> {
        let path = self.layout.path();
        let disk = File::open(path).map_err(Error::io("open", path))?;
        Ok(image::import_layer(&self.layout, archive, &Limits::on_disk(disk))?)
    }

    /// Installs the image of this configuration and these layers, of which those that are in the store already need not be
    /// here, and gives it its name.
    pub(crate) fn finish(
        self,
        config: &Value,
        layers: Vec<Descriptor>,
        name: Option<&Reference>,
    ) -> Result<Image> {
        let store = self.store;
        let names: Vec<Reference> = name.cloned().into_iter().collect();
        let image = self.install(config, layers, Called::Names(&names))?;
        Ok(store.note_made(&image, Timestamp::now())?)
    }

    /// The same for a build: under several names, or under a step's key. One that was here already is as old as it was.
    pub(crate) fn finish_as(
        self,
        config: &Value,
        layers: Vec<Descriptor>,
        called: Called<'_>,
    ) -> Result<Image> {
        let store = self.store;
        let image = self.install(config, layers, called)?;
        match image.made {
            Some(_) => Ok(image),
            None => Ok(store.note_made(&image, Timestamp::now())?),
        }
    }

    fn install(self, config: &Value, layers: Vec<Descriptor>, called: Called<'_>) -> Result<Image> {
        let put = |media_type, document: &Value| {
            self.layout.put_json(media_type, document).map_err(store::Error::from)
        };
        let config = put(MediaType::ImageConfig, config)?;
        let mut manifest = ImageManifestBuilder::default()
            .schema_version(2_u32)
            .media_type(MediaType::ImageManifest)
            .config(config)
            .layers(layers);
        if !self.annotations.is_empty() {
            manifest = manifest.annotations(self.annotations);
        }
        let manifest = manifest
            .build()
            .map_err(|error| Error::Rejected { message: error.to_string(), hint: None })?;
        let descriptor = self
            .layout
            .put_json(MediaType::ImageManifest, &manifest)
            .map_err(store::Error::from)?;
        let name = match called {
            Called::Names(names) => names.first(),
            Called::Step(_) => None,
        };
        let label = name.map_or_else(|| descriptor.digest().to_string(), ToString::to_string);
        let failed = |cause| pull::Error::new("make", label.clone(), cause);
        let document = self.layout.manifest(&descriptor).map_err(|error| failed(error.into()))?;
        // The platform was chosen when the image was made: there is nothing to choose from.
        let platform = &Platform::host();
        let layout = &self.layout;
        let (made_here, staged) = (true, Some(layout));
        let source = Source { made_here, staged, ..Source::new(layout, platform) };
        Ok(install_as(&source, document, called, self.store, &NoProgress).map_err(failed)?)
    }
}

/// The variable that says what time everything that is made is to have.
pub(crate) const SOURCE_DATE_EPOCH: &str = "SOURCE_DATE_EPOCH";

/// The time that SOURCE_DATE_EPOCH asks for, in seconds since 1970.
pub(crate) fn source_date_epoch() -> Result<Option<i64>> {
    std::env::var_os(SOURCE_DATE_EPOCH).map_or(Ok(None), |text| epoch(&text))
}

/// The time that a value of SOURCE_DATE_EPOCH asks for; an empty one asks for none.
pub(crate) fn epoch(text: &OsStr) -> Result<Option<i64>> {
    if text.is_empty() {
        return Ok(None);
    }
    let parsed = text.to_str().and_then(|text| text.parse().ok());
    let shown = text.display();
    parsed.map(Some).ok_or_else(|| {
        Error::refusal(format!(
            "SOURCE_DATE_EPOCH is `{shown}`, not a number of seconds since 1970"
        ))
    })
}

/// An entry of an image's history.
pub(crate) fn history(created: &str, by: &str, comment: Option<&str>, empty: bool) -> Value {
    let mut entry = json!({ "created": created });
    if !by.is_empty() {
        entry["created_by"] = by.into();
    }
    if let Some(comment) = comment.filter(|comment| !comment.is_empty()) {
        entry["comment"] = comment.into();
    }
    if empty {
        entry["empty_layer"] = true.into();
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;
    use bundle::digest::Digest;
    use bundle::layer::PackOptions;
    use std::fs;
    use std::os::fd::AsFd as _;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn a_layer_becomes_the_stores_without_being_copied() {
        let directory = tempfile::tempdir().unwrap();
        let files = directory.path().join("files");
        fs::create_dir(&files).unwrap();
        fs::write(files.join("file"), "content").unwrap();
        let files = File::open(&files).unwrap();
        let store = Store::open(&directory.path().join("store")).unwrap();
        let new = NewImage::begin(&store).unwrap();
        let pack = |output: &mut dyn Write| {
            layer::diff(files.as_fd(), &PackOptions::default(), output).map(drop)
        };
        let (layer, diff_id, ()) = new.layer(pack).unwrap();
        let digest = Digest::try_from(&layer).unwrap();
        let inode = |layout: &Layout| fs::metadata(layout.blob_path(&digest)).unwrap().ino();
        let made = inode(&new.layout);
        let config = json!({
            "architecture": "amd64", "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [diff_id.to_string()]},
        });
        let image = new.finish(&config, vec![layer], None).unwrap();
        assert_eq!(inode(store.layout()), made);
        assert!(store.is_unpacked(&image));
    }
}
