//! An OCI image layout on disk as a place to get images from: an unpacked archive, or the store.

use std::io::Read;

use bundle::digest::Digest;
use bundle::layout::Layout;
use oci_spec::image::{Descriptor, MediaType};
use serde_json::Value;

use crate::cli::InLayout;
use crate::registry::{Document, Error, Registry};

fn invalid(error: impl std::fmt::Display) -> Error {
    Error::Invalid(error.to_string())
}

/// What is meant of a layout.
pub(crate) fn find(layout: &Layout, what: &InLayout) -> Result<Descriptor, Error> {
    match what {
        InLayout::Tag(tag) => layout.find(Some(tag)).map_err(invalid),
        InLayout::Latest => {
            layout.find(Some(InLayout::TAG)).or_else(|_| layout.find(None)).map_err(invalid)
        }
        InLayout::Digest(digest) => {
            let index = layout.index().map_err(invalid)?;
            let is_it = |one: &&Descriptor| one.digest().to_string() == digest.as_str();
            let found = index.manifests().iter().find(is_it).cloned();
            found.map_or_else(|| unlisted(layout, digest), Ok)
        }
    }
}

/// What only another index of the layout names, or nothing: a blob that says itself what it is.
fn unlisted(layout: &Layout, digest: &Digest) -> Result<Descriptor, Error> {
    let length = std::fs::metadata(layout.blob_path(digest)).map(|blob| blob.len());
    let length = length.map_err(|_| invalid(format!("nothing in it has the digest `{digest}`")))?;
    let one = |media_type| Descriptor::new(media_type, length, digest);
    let content: Value = layout.read_json(&one(MediaType::ImageManifest)).map_err(invalid)?;
    Ok(one(match content["mediaType"].as_str() {
        Some(text) => MediaType::from(text),
        None if content["manifests"].is_array() => MediaType::ImageIndex,
        None => MediaType::ImageManifest,
    }))
}

impl Registry for Layout {
    /// The selector is a digest: names in a layout are not those of a repository.
    fn resolve(&self, selector: &str) -> Result<Document, Error> {
        let digest: Digest = selector.parse().map_err(invalid)?;
        let length = std::fs::metadata(self.blob_path(&digest)).map_or(0, |blob| blob.len());
        self.manifest(&Descriptor::new(MediaType::ImageManifest, length, &digest))
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Document, Error> {
        let content = self.read(descriptor).map_err(invalid)?;
        let digest = Digest::try_from(descriptor).map_err(invalid)?;
        Ok(Document { digest, media_type: descriptor.media_type().to_string(), content })
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Error> {
        Ok(Box::new(Layout::blob(self, descriptor).map_err(invalid)?))
    }
}
