//! Builds images: a configuration, layers and the manifest that binds them, stored in a layout.
//!
//! The result depends on what is put in alone: without a time that the caller gives, there is none in it.

mod busybox;
mod convert;
mod user;

use std::{
    collections::HashMap,
    io::{BufWriter, Read, Write},
    os::fd::BorrowedFd,
};

pub use busybox::Busybox;
pub use convert::{ConvertError, to_spec};
pub use user::{User, UserError};

use oci_spec::image::{
    Config, Descriptor, History, HistoryBuilder, ImageConfigurationBuilder, ImageManifestBuilder,
    MediaType, Platform, RootFsBuilder,
};

use crate::{
    digest::{DiffId, HashWriter},
    layer::{self, Compression, Ignored, Limits, PackOptions},
    layout::{self, BlobWriter, Layout},
    reason::reason,
};

/// Why an image could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A layer could not be made or read.
    #[error(transparent)]
    Layer(#[from] layer::Error),
    /// The layout could not be written.
    #[error(transparent)]
    Layout(#[from] layout::Error),
    /// Compressing failed.
    #[error("cannot compress the layer: {}", reason(.0))]
    Compress(#[source] std::io::Error),
}

impl Error {
    /// What to do about it, where there is something to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Layer(error) => error.hint(),
            Self::Layout(error) => error.hint(),
            Self::Compress(_) => None,
        }
    }
}

/// Stores what `write` writes, a plain tar stream, as a layer's blob: its descriptor, its diff id, and what `write` returned.
pub fn put_layer<T>(
    layout: &Layout,
    compression: Compression,
    write: impl FnOnce(&mut dyn Write) -> Result<T, layer::Error>,
) -> Result<(Descriptor, DiffId, T), Error> {
    let (writer, diff_id, answer) = write_layer(layout, compression, write)?;
    Ok((name_layer(writer, compression)?, diff_id, answer))
}

/// The same without a name for the blob yet.
fn write_layer<T>(
    layout: &Layout,
    compression: Compression,
    write: impl FnOnce(&mut dyn Write) -> Result<T, layer::Error>,
) -> Result<(BlobWriter, DiffId, T), Error> {
    let writer = layout.writer(None)?;
    // Hashed on both sides of the compression: the diff id and the blob's digest in one pass.
    let encoder = compression.encoder(writer).map_err(Error::Compress)?;
    let mut plain = HashWriter::new(BufWriter::with_capacity(128 << 10, encoder));
    let answer = write(&mut plain)?;
    let (buffered, diff_id, _) = plain.finish();
    let encoder = buffered.into_inner().map_err(|e| Error::Compress(e.into_error()))?;
    let writer = encoder.finish().map_err(Error::Compress)?;
    Ok((writer, diff_id.into(), answer))
}

fn name_layer(writer: BlobWriter, compression: Compression) -> Result<Descriptor, Error> {
    let (digest, size) = writer.commit()?;
    Ok(Descriptor::new(compression.media_type(), size, &digest))
}

/// Stores a tar archive, compressed or not, as a layer's blob: byte for byte, unless no layer may be compressed so, which gzip
/// then takes the place of. It is read to its end and must be one, before the blob gets its name: nothing refers to one that is no
/// layer, so that it would lie in the layout for good.
pub fn import_layer(
    layout: &Layout,
    archive: impl Read + Send,
    limits: &Limits,
) -> Result<(Descriptor, DiffId), Error> {
    let (head, mut archive) = layer::peek(archive).map_err(layer::Error::Stream)?;
    let (writer, compression) = if layer::fits_a_layer(&head) {
        let mut writer = layout.writer(None)?;
        writer.fill(&mut archive).map_err(|e| writer.failed(e))?;
        (writer, Compression::sniff(&head))
    } else {
        let decompress = |output: &mut dyn Write| layer::decompress(archive, limits, output);
        (write_layer(layout, Compression::Gzip, decompress)?.0, Compression::Gzip)
    };
    let diff_id = layer::scan(writer.content()?, limits, |_| {})?;
    Ok((name_layer(writer, compression)?, diff_id))
}

/// An image in the making.
#[derive(Debug)]
pub struct Builder<'l> {
    layout: &'l Layout,
    config: Config,
    platform: Platform,
    created: Option<String>,
    annotations: HashMap<String, String>,
    layers: Vec<Descriptor>,
    diff_ids: Vec<DiffId>,
    history: Vec<History>,
    ignored: Vec<Ignored>,
}

impl<'l> Builder<'l> {
    /// An image without layers, for this program's platform, to be stored in `layout`.
    pub fn new(layout: &'l Layout) -> Self {
        Self {
            layout,
            config: Config::default(),
            platform: layout::host_platform(),
            created: None,
            annotations: HashMap::new(),
            layers: Vec::new(),
            diff_ids: Vec::new(),
            history: Vec::new(),
            ignored: Vec::new(),
        }
    }

    /// What a container of the image runs, and how.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// The platform that the image is for.
    #[must_use]
    pub fn platform(mut self, platform: Platform) -> Self {
        self.platform = platform;
        self
    }

    /// When the image was made (RFC 3339).
    #[must_use]
    pub fn created(mut self, created: Option<String>) -> Self {
        self.created = created;
        self
    }

    /// An annotation of the manifest.
    #[must_use]
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Packs the directory `root` as the next layer; `by` says in the history what made it.
    pub fn pack(
        &mut self,
        root: BorrowedFd<'_>,
        options: &PackOptions,
        compression: Compression,
        by: &str,
    ) -> Result<(), Error> {
        let packed = self.layer(compression, by, |output| layer::pack(root, options, output))?;
        self.ignored.extend(packed.ignored);
        Ok(())
    }

    /// Takes what `write` writes, a plain tar stream, as the next layer.
    pub fn layer<T>(
        &mut self,
        compression: Compression,
        by: &str,
        write: impl FnOnce(&mut dyn Write) -> Result<T, layer::Error>,
    ) -> Result<T, Error> {
        let (descriptor, diff_id, answer) = put_layer(self.layout, compression, write)?;
        self.push(descriptor, diff_id, by);
        Ok(answer)
    }

    /// Takes a tar archive, compressed or not, as the next layer, as [`import_layer`] does.
    pub fn import(
        &mut self,
        archive: impl Read + Send,
        limits: &Limits,
        by: &str,
    ) -> Result<(), Error> {
        let (descriptor, diff_id) = import_layer(self.layout, archive, limits)?;
        self.push(descriptor, diff_id, by);
        Ok(())
    }

    /// Takes a blob that is in the layout already as the next layer.
    pub fn push(&mut self, layer: Descriptor, diff_id: DiffId, by: &str) {
        self.layers.push(layer);
        self.diff_ids.push(diff_id);
        let history = HistoryBuilder::default().created_by(by);
        let history = match &self.created {
            Some(created) => history.created(created.as_str()),
            None => history,
        };
        self.history.push(history.build().expect("a history entry needs nothing"));
    }

    /// What had no place in a layer.
    pub fn ignored(&self) -> &[Ignored] {
        &self.ignored
    }

    /// Stores configuration and manifest. The descriptor carries the platform; naming it is up to the caller.
    pub fn finish(self) -> Result<Descriptor, Error> {
        let diff_ids: Vec<String> = self.diff_ids.iter().map(ToString::to_string).collect();
        let rootfs = RootFsBuilder::default().typ("layers").diff_ids(diff_ids);
        let mut config = ImageConfigurationBuilder::default()
            .os(self.platform.os().clone())
            .architecture(self.platform.architecture().clone())
            .config(self.config)
            .rootfs(rootfs.build().expect("all that a rootfs needs is set"))
            .history(self.history);
        if let Some(variant) = self.platform.variant() {
            config = config.variant(variant.as_str());
        }
        if let Some(created) = self.created {
            config = config.created(created);
        }
        let config = config.build().expect("all that a configuration needs is set");
        let config = self.layout.put_json(MediaType::ImageConfig, &config)?;
        let mut manifest = ImageManifestBuilder::default()
            .schema_version(2_u32)
            .media_type(MediaType::ImageManifest)
            .config(config)
            .layers(self.layers);
        if !self.annotations.is_empty() {
            manifest = manifest.annotations(self.annotations);
        }
        let manifest = manifest.build().expect("all that a manifest needs is set");
        let mut descriptor = self.layout.put_json(MediaType::ImageManifest, &manifest)?;
        descriptor.set_platform(Some(self.platform));
        Ok(descriptor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_layer_gets_no_name_in_the_layout() {
        let place = tempfile::tempdir().unwrap();
        let layout = Layout::create(place.path().join("l")).unwrap();
        let mut cut = Compression::Gzip.encoder(Vec::new()).unwrap();
        cut.write_all(&[0; 1024]).unwrap();
        let mut cut = cut.finish().unwrap();
        cut.truncate(cut.len() - 4);
        for text in [&[1; 5000][..], &cut] {
            import_layer(&layout, text, &Limits::default()).unwrap_err();
        }
        let blobs = place.path().join("l/blobs/sha256");
        assert_eq!(std::fs::read_dir(&blobs).unwrap().count(), 0);
        import_layer(&layout, &[0; 1024][..], &Limits::default()).unwrap();
        assert_eq!(std::fs::read_dir(&blobs).unwrap().count(), 1);
    }
}
