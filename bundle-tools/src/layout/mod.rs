//! An OCI image layout on disk: `oci-layout`, `index.json` and `blobs/ALGORITHM/HEX`, as skopeo, umoci and every engine read it.
//!
//! A blob appears under its name only whole and verified; one that is being written has no name at all where the file system
//! allows that, so a kill leaves nothing behind. `index.json` changes by an atomic rename under a lock on the directory. What is
//! read is verified again: a layout may come from anywhere.

mod blob;
mod document;
mod error;
mod index;

use std::{
    fs,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use oci_spec::image::{Descriptor, MediaType};
use rustix::fs::Mode;
use serde::{Serialize, de::DeserializeOwned};

pub use blob::BlobWriter;
pub use document::{Document, Image, host_platform};
pub use error::Error;
pub use index::REF_NAME;

use crate::{
    config::{TO_READ, regular},
    digest::{Digest, Expected, Verifier},
};

/// The largest JSON document that is read: registries refuse larger manifests.
pub const MAX_DOCUMENT: u64 = 4 << 20;

/// What a document of which nothing is known is given room for: without any the first reads are of 32 bytes.
pub const USUAL_DOCUMENT: usize = 4 << 10;

/// The file that makes a directory a layout.
const MARKER: &str = "oci-layout";
const VERSION: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

/// An image layout.
#[derive(Clone, Debug)]
pub struct Layout {
    path: PathBuf,
}

impl Layout {
    /// Opens the layout at `path`.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let layout = Self::marked(path.into())?;
        match layout.path.join(index::INDEX).try_exists() {
            Ok(false) => Err(Error::Incomplete { path: layout.path, file: index::INDEX }),
            _ => Ok(layout),
        }
    }

    /// The same, whether it has an index or not.
    fn marked(path: PathBuf) -> Result<Self, Error> {
        let marker = path.join(MARKER);
        let text = read_bounded(&marker).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                let why = match fs::metadata(&path) {
                    Ok(there) if there.is_dir() => {
                        return Error::Incomplete { path: path.clone(), file: MARKER };
                    }
                    Ok(_) => "it is no directory; an archive is to be unpacked first, with `tar`",
                    Err(_) => "no such directory",
                };
                Error::not_a_layout(&path, why)
            }
            _ => Error::file("read", &marker, source),
        })?;
        let marker: oci_spec::image::OciLayout = serde_json::from_slice(&text)
            .map_err(|_| Error::not_a_layout(&path, "its `oci-layout` is not valid"))?;
        if !marker.image_layout_version().starts_with("1.") {
            let why = format!("version `{}` is not known", marker.image_layout_version());
            return Err(Error::not_a_layout(&path, why));
        }
        Ok(Self { path })
    }

    /// Opens the layout at `path`, or makes an empty one in a directory that is empty or not there yet.
    pub fn create(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let layout = Self { path: path.into() };
        let is_marked = || layout.marker().exists();
        if is_marked() {
            match Self::marked(layout.path.clone()) {
                // Taken away again in this moment.
                Err(_) if !is_marked() => {}
                opened => return opened,
            }
        }
        let _lock = layout.make_directory()?;
        if is_marked() {
            return Self::marked(layout.path);
        }
        if fs::read_dir(&layout.path).is_ok_and(|mut dir| dir.any(|entry| !is_of_layout(&entry))) {
            return Err(Error::not_a_layout(
                &layout.path,
                "it is a directory with other things in it",
            ));
        }
        layout.make_blobs("sha256")?;
        layout.change_index(|_| ())?;
        // Last: what is found half made is completed, not believed.
        index::replace(&layout.path, MARKER, VERSION.as_bytes())?;
        Ok(layout)
    }

    /// Makes the directory where it is not there, and keeps others out of it.
    fn make_directory(&self) -> Result<fs::File, Error> {
        loop {
            fs::create_dir_all(&self.path).map_err(|e| Error::file("make", &self.path, e))?;
            // Whoever makes a layout of it at the same moment, or takes that away again, ends first.
            match self.lock() {
                Err(_) if !self.path.exists() => {}
                Ok(lock) if lock.metadata().is_ok_and(|there| there.nlink() == 0) => {}
                locked => return locked,
            }
        }
    }

    /// Takes away what [`create`](Self::create) makes, where nothing was put into it; its directory as well where `whole` says so, and
    /// nothing else is in that. Nobody else may be using the layout.
    pub fn remove_empty(&self, whole: bool) -> Result<(), Error> {
        let _lock = self.lock()?;
        self.remove_parts(whole).map_err(|e| Error::file("remove", &self.path, e))
    }

    fn remove_parts(&self, whole: bool) -> io::Result<()> {
        let blobs = self.path.join("blobs");
        // Fails where there is a blob, before anything else is taken away.
        fs::remove_dir(blobs.join("sha256"))?;
        fs::remove_dir(blobs)?;
        fs::remove_file(self.path.join(index::INDEX))?;
        fs::remove_file(self.marker())?;
        if whole { fs::remove_dir(&self.path) } else { Ok(()) }
    }

    /// The file that makes its directory a layout.
    pub fn marker(&self) -> PathBuf {
        self.path.join(MARKER)
    }

    /// A layout that is looked for nowhere and made nowhere: for a place that is known to have none, whose blobs are all missing.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Sees to it that there is a directory for the blobs of an algorithm, in the layout itself: a link would lead what is written to
    /// any directory of the host.
    fn make_blobs(&self, algorithm: &str) -> Result<PathBuf, Error> {
        let all = self.path.join("blobs");
        let dir = all.join(algorithm);
        for dir in [&all, &dir] {
            if fs::symlink_metadata(dir).is_ok_and(|there| there.is_symlink()) {
                let why = io::Error::other("it leads elsewhere, which a layout must not");
                return Err(Error::file("write to", dir, why));
            }
        }
        fs::create_dir_all(&dir).map_err(|e| Error::file("make", &dir, e))?;
        Ok(dir)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file that the blob has, or would have.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.path.join("blobs").join(digest.algorithm().as_str()).join(digest.hex())
    }

    /// Whether the blob is there.
    pub fn contains(&self, digest: &Digest) -> bool {
        self.blob_path(digest).is_file()
    }

    /// Whether the blob is there as it should be. It is read: a crash or an interrupted copy may have cut it off, and a layout that comes from
    /// elsewhere may have anything under its name.
    pub fn has(&self, expected: &Expected) -> bool {
        blob::is_there(&self.blob_path(&expected.digest), expected)
    }

    /// A blob to be written piece by piece.
    pub fn writer(&self, expected: Option<Expected>) -> Result<BlobWriter, Error> {
        BlobWriter::new(self, expected)
    }

    /// Stores what `reader` yields. Nothing is stored if it is not what was expected.
    pub fn put(
        &self,
        mut reader: impl Read,
        expected: Option<Expected>,
    ) -> Result<(Digest, u64), Error> {
        let mut writer = self.writer(expected)?;
        writer.fill(&mut reader).map_err(|e| writer.failed(e))?;
        writer.commit()
    }

    /// Stores a document, in one form for one content: keys sorted, no white space.
    pub fn put_json(
        &self,
        media_type: MediaType,
        document: &impl Serialize,
    ) -> Result<Descriptor, Error> {
        let bytes = canonical(document);
        let (digest, size) = self.put(&bytes[..], None)?;
        Ok(Descriptor::new(media_type, size, &digest))
    }

    /// The blob's content, verified while it is read.
    pub fn blob(&self, descriptor: &Descriptor) -> Result<Verifier<fs::File>, Error> {
        let expected = Expected::try_from(descriptor).map_err(Error::Digest)?;
        let path = self.blob_path(&expected.digest);
        let file = open_regular(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => {
                Error::MissingBlob { digest: expected.digest.clone(), layout: self.path.clone() }
            }
            _ => Error::file("open", &path, source),
        })?;
        Ok(Verifier::new(file, expected))
    }

    /// The whole of a blob that is a document.
    pub fn read(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        if descriptor.size() > MAX_DOCUMENT {
            return Err(Error::document(
                descriptor,
                format!("it has {} bytes; at most {MAX_DOCUMENT} are read", descriptor.size()),
            ));
        }
        // One byte more, for the read that finds its end. The size is within the limit.
        let room = usize::try_from(descriptor.size()).unwrap_or(USUAL_DOCUMENT) + 1;
        let mut bytes = Vec::with_capacity(room);
        let mut blob = self.blob(descriptor)?;
        blob.read_to_end(&mut bytes)
            .map_err(|source| Error::Blob { digest: descriptor.digest().to_string(), source })?;
        Ok(bytes)
    }

    /// A blob that is JSON.
    pub fn read_json<T: DeserializeOwned>(&self, descriptor: &Descriptor) -> Result<T, Error> {
        let bytes = self.read(descriptor)?;
        serde_json::from_slice(&bytes).map_err(|e| Error::document(descriptor, e.to_string()))
    }
}

/// The JSON of `document` with sorted keys: the maps of `oci_spec` have no order of their own.
///
/// # Panics
/// If `document` is no map with text keys, as all documents of OCI are.
pub fn canonical(document: &impl Serialize) -> Vec<u8> {
    let mut value = serde_json::to_value(document).expect("OCI documents are maps with text keys");
    value.sort_all_objects();
    value.to_string().into_bytes()
}

/// Whether an entry of a directory is there because a layout was being made when somebody stopped it: it is completed then.
fn is_of_layout(entry: &io::Result<fs::DirEntry>) -> bool {
    let Ok(entry) = entry else { return true };
    let name = entry.file_name();
    let own = ["blobs", index::INDEX].iter().any(|own| name == *own);
    own || [index::INDEX, MARKER].iter().any(|file| name == index::temporary(file).as_str())
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(USUAL_DOCUMENT);
    open_regular(path)?.take(MAX_DOCUMENT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_DOCUMENT {
        return Err(io::Error::other(format!("it is larger than {MAX_DOCUMENT} bytes")));
    }
    Ok(bytes)
}

fn open_regular(path: &Path) -> io::Result<fs::File> {
    let file = fs::File::from(rustix::fs::open(path, TO_READ, Mode::empty())?);
    regular(&file)?;
    Ok(file)
}

#[cfg(test)]
mod tests;
