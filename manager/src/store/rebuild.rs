//! The index made again from what is in the store: the names of images stood there alone, and are lost.

use std::fs;

use bundle::digest::Digest;

use super::index::{Entry, Index};
use super::{Error, Store};
use crate::registry::manifest::OCI_MANIFEST;
use crate::snapshot::entries;

impl Store {
    /// Writes an index that leads to every image whose manifest and configuration are among the blobs.
    pub(super) fn rebuild_index(&self) -> Result<(), Error> {
        let _lock = self.lock()?;
        let mut index = Index::default();
        for blob in entries(&self.layout.path().join("blobs/sha256"))? {
            let name = blob.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let Ok(manifest) = format!("sha256:{name}").parse::<Digest>() else { continue };
            // Layers, configurations and lists are no manifests, and neither is what does not have its digest.
            if !matches!(self.content(&manifest), Ok(Some(_))) {
                continue;
            }
            let size = fs::metadata(&blob).map_err(Error::file("read", &blob))?.len();
            index.name(Entry {
                manifest,
                media_type: OCI_MANIFEST.to_owned(),
                size,
                name: None,
                source: None,
                made: None,
                step: None,
            });
        }
        // What does not read back would be read before it is replaced.
        let path = self.layout.path().join("index.json");
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::file("remove", &path)(error));
            }
            _ => {}
        }
        index.write(&self.layout)
    }
}
