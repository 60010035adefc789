//! What can go wrong in the image store.

use std::io;
use std::path::{Path, PathBuf};

use bundle::digest::Digest;
use bundle::layout;
use bundle::platform::Platform;
use bundle::reason::{is_full, reason};

use crate::reference::Reference;
use crate::snapshot;

/// Why the store cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No image has this name, id or digest.
    #[error("No such image: {0}")]
    NoSuchImage(String),
    /// The beginning of an id fits several images.
    #[error("the id `{0}` is ambiguous: it fits several images")]
    Ambiguous(String),
    /// A list has no image here for the platform.
    #[error(
        "`{name}` is a list of images for several platforms: no image for {wanted} of it is here; it has {offered}"
    )]
    NotInList {
        /// The list.
        name: String,
        /// What was looked for.
        wanted: Platform,
        /// What it has, here or in registries.
        offered: String,
    },
    /// Names or containers are in the way of a removal; the clause says which.
    #[error("conflict: {0}")]
    Conflict(String),
    /// A blob that an image needs is gone or altered.
    #[error("{object} `{digest}` in the image store is damaged: {why}")]
    Damaged {
        /// `manifest`, `config` or `layer`.
        object: &'static str,
        /// The blob.
        digest: Digest,
        /// What is wrong with it.
        why: String,
    },
    /// What says which images there are does not read back, or is not there. Nothing is known to be garbage then.
    #[error("cannot read `{}`, which says what images there are: {why}", path.display())]
    NoIndex {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The image layout.
    #[error(transparent)]
    Layout(#[from] layout::Error),
    /// A file or a directory of the store.
    #[error("cannot {action} `{}`: {}", path.display(), reason(source))]
    File {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which object.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The unpacked layers.
    #[error(transparent)]
    Snapshot(#[from] snapshot::Error),
}

impl Error {
    pub(crate) fn file<E: Into<io::Error>>(
        action: &'static str,
        path: &Path,
    ) -> impl FnOnce(E) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source: source.into() }
    }

    /// Whether the disk has room for nothing more.
    pub(super) fn is_full(&self) -> bool {
        let (Self::File { source, .. } | Self::Snapshot(snapshot::Error::File { source, .. })) =
            self
        else {
            return false;
        };
        is_full(source)
    }

    /// A layer's blob that did not pass for what its name says.
    pub(crate) fn layer_damaged(digest: Digest, why: &io::Error) -> Self {
        Self::Damaged { object: "layer", digest, why: reason(why) }
    }

    /// What the user can do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            // What is no name was meant as an id, which no registry is asked for.
            Self::NoSuchImage(name) => Some(match name.parse::<Reference>() {
                Ok(_) => format!("`nman pull {name}` may get it"),
                Err(_) => "`nman images` lists what is here".to_owned(),
            }),
            Self::NotInList { name, .. } => {
                Some(format!("`nman manifest inspect {name}` shows what is in it"))
            }
            Self::Ambiguous(_) => Some("give more digits of the id".to_owned()),
            Self::Conflict(why) if why.contains("running container") => {
                Some("stop and remove the container first".to_owned())
            }
            Self::Conflict(_) => Some("`nman rmi -f` removes it all the same".to_owned()),
            Self::Damaged { object: "layer", .. } => Some(
                "`nman system check --repair` removes what is damaged; then pull or load the image again".to_owned(),
            ),
            Self::Damaged { object: "manifest list", .. } => Some(
                "`nman manifest rm` removes it, and `nman manifest create` makes it again".to_owned(),
            ),
            Self::Damaged { .. } => Some("pull or load the image again".to_owned()),
            Self::NoIndex { .. } => Some(
                "put a copy of it back, or `nman system check --repair` makes it again from the images that are there, which lose their names".to_owned(),
            ),
            Self::Layout(error) => hint_of_layout(error),
            Self::Snapshot(error) => error.hint(),
            _ => None,
        }
    }
}

/// What to do about the store's layout, which others write as well: an archive is loaded straight into it.
pub(crate) fn hint_of_layout(error: &layout::Error) -> Option<String> {
    match error {
        layout::Error::Blob { source, .. } | layout::Error::NewBlob(source) if is_full(source) => {
            Some("the disk of the image store is full: `nman system df` shows what takes the room, `nman system prune` frees some".to_owned())
        }
        error => error.hint(),
    }
}
