//! What can go wrong with a layout.

use std::{
    io,
    path::{Path, PathBuf},
};

use oci_spec::image::Descriptor;

use crate::{
    digest::{Digest, ParseDigestError},
    platform::UNNAMED,
    reason::reason,
    tarball::printable,
};

/// Why a layout could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The directory is no image layout.
    #[error("`{}` is not an OCI image layout: {why}", .path.display())]
    NotALayout {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The directory lacks a file that each image layout has.
    #[error("`{}` is not an OCI image layout: it has no file `{file}`", .path.display())]
    Incomplete {
        /// The directory.
        path: PathBuf,
        /// The file's name.
        file: &'static str,
    },
    /// No image of the name.
    #[error("{what} in the layout `{}`", .layout.display())]
    NoImage {
        /// What was looked for.
        what: String,
        /// Where.
        layout: PathBuf,
        /// The names that are there.
        names: Vec<String>,
    },
    /// The image is for other platforms.
    #[error("no image for {wanted} in `{digest}`; it has {offered}")]
    NoPlatform {
        /// The image or the index.
        digest: String,
        /// What was looked for.
        wanted: String,
        /// What there is.
        offered: String,
    },
    /// A blob that is referred to is not there.
    #[error("blob `{digest}` is missing in the layout `{}`", .layout.display())]
    MissingBlob {
        /// The blob.
        digest: Digest,
        /// Where it was looked for.
        layout: PathBuf,
    },
    /// A blob could not be read, or is not what its name says
    /// ([`Mismatch::within`](crate::digest::Mismatch::within) the source tells).
    #[error("cannot use blob `{digest}`: {}", reason(.source))]
    Blob {
        /// The blob, as it was named.
        digest: String,
        /// The failure.
        source: io::Error,
    },
    /// The content of a blob that has no name yet could not be read or written.
    #[error("cannot make a new blob: {}", reason(.0))]
    NewBlob(#[source] io::Error),
    /// A manifest, index or configuration makes no sense.
    #[error("`{}` is not valid: {}", printable(.name.as_bytes()), printable(.why.as_bytes()))]
    Document {
        /// Which document.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// A descriptor has a digest that cannot be used.
    #[error(transparent)]
    Digest(#[from] ParseDigestError),
    /// A system call failed.
    #[error("cannot {action} `{}`: {}", .path.display(), reason(.source))]
    File {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl Error {
    /// What to do about it, where there is something to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Incomplete { .. } => Some(
                "an image layout is a directory with `oci-layout`, `index.json` and `blobs`, as \
                 `nbundle pack --output DIR` or `skopeo copy IMAGE oci:DIR` make it"
                    .to_owned(),
            ),
            Self::NoImage { names, .. } if !names.is_empty() => {
                Some(format!("it has {}", list(names)))
            }
            Self::NoPlatform { offered, .. } if offered != UNNAMED => {
                Some("choose one of these with --platform".to_owned())
            }
            _ => None,
        }
    }

    pub(super) fn not_a_layout(path: &Path, why: impl Into<String>) -> Self {
        Self::NotALayout { path: path.to_owned(), why: why.into() }
    }

    pub(super) fn document(descriptor: &Descriptor, why: impl Into<String>) -> Self {
        Self::Document { name: descriptor.digest().to_string(), why: why.into() }
    }

    pub(super) fn file(action: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::File { action, path: path.to_owned(), source: source.into() }
    }
}

/// Names for a message, of which a layout may have thousands.
fn list(names: &[String]) -> String {
    const SHOWN: usize = 10;
    let mut listed: Vec<String> =
        names.iter().take(SHOWN).map(|name| format!("`{}`", printable(name.as_bytes()))).collect();
    if names.len() > SHOWN {
        listed.push(format!("and {} more", names.len() - SHOWN));
    }
    listed.join(", ")
}
