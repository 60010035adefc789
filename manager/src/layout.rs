//! An OCI image layout on disk as a place to get images from: an unpacked archive, or the store.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use bundle::digest::{Digest, Expected, Verifier};
use bundle::reason::reason;
use oci_spec::image::Descriptor;

use crate::registry::{Document, Error, MAX_MANIFEST, Registry};

/// A layout's directory.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    directory: PathBuf,
}

impl Layout {
    pub(crate) fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    fn open(&self, object: &'static str, digest: &Digest) -> Result<File, Error> {
        let blobs = self.directory.join("blobs").join(digest.algorithm().as_str());
        File::open(blobs.join(digest.hex())).map_err(|error| {
            Error::Invalid(format!("cannot read {object} `{digest}`: {}", reason(&error)))
        })
    }

    fn document(&self, digest: Digest, media_type: String) -> Result<Document, Error> {
        let file = self.open("manifest", &digest)?.take(MAX_MANIFEST);
        let mut content = Vec::new();
        let read = Verifier::new(file, Expected::from(digest.clone())).read_to_end(&mut content);
        read.map_err(|error| Error::from_read(error, "manifest", &digest))?;
        Ok(Document { digest, media_type, content })
    }
}

fn digest_of(text: &str) -> Result<Digest, Error> {
    text.parse().map_err(|error: bundle::digest::ParseDigestError| Error::Invalid(error.to_string()))
}

impl Registry for Layout {
    fn resolve(&self, selector: &str) -> Result<Document, Error> {
        self.document(digest_of(selector)?, String::new())
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Document, Error> {
        let media_type = descriptor.media_type().to_string();
        self.document(digest_of(descriptor.digest().as_ref())?, media_type)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Error> {
        let digest = digest_of(descriptor.digest().as_ref())?;
        let file = self.open("blob", &digest)?;
        let expected = Expected { digest, size: Some(descriptor.size()) };
        Ok(Box::new(Verifier::new(file, expected)))
    }
}
