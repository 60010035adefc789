//! Why an image could not be pulled or loaded.

use std::io;

use bundle::digest::{DiffId, Digest};
use bundle::layer;
use bundle::platform::UNNAMED;
use bundle::reason::reason;

use crate::registry::{self, Platform};
use crate::{snapshot, store};

/// An image that did not arrive.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} `{object}`: {cause}")]
pub struct Error {
    /// `pull`, `push` or `load`.
    pub action: &'static str,
    /// The image's name, or the archive's.
    pub object: String,
    /// Why it did not arrive.
    pub cause: Box<Cause>,
}

/// Where it failed.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// At the registry, or on the way from it.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// In the store, or on its disk.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// In a layer's archive.
    #[error("layer `{digest}`: {source}")]
    Layer {
        /// The layer's blob.
        digest: Digest,
        /// What is wrong with it.
        source: layer::Error,
    },
    /// A layer's blob is the right one, and its archive is not the one that the image names.
    #[error(
        "layer `{digest}` does not match: its uncompressed digest is `{found}`, not `{expected}`"
    )]
    WrongDiffId {
        /// The layer's blob.
        digest: Digest,
        /// What the image's configuration says.
        expected: DiffId,
        /// What it is.
        found: DiffId,
    },
    /// The image is for other platforms.
    #[error("no image for {wanted} in it; it has {offered}")]
    NoPlatform {
        /// What was looked for.
        wanted: Platform,
        /// What there is.
        offered: String,
    },
    /// It is not in the store, and may not be fetched.
    #[error("it is not in the store, and the pull policy is `never`")]
    NotHere,
    /// It is not in the store, and is to be pushed.
    #[error("An image does not exist locally with the tag: {0}")]
    NoSuchName(String),
    /// Another layer of the image failed.
    #[error("cancelled")]
    Cancelled,
    /// Other processes removed layers of the image again and again while it came in.
    #[error("its layers are removed by another process while they come in")]
    Contended,
    /// At the file to load from.
    #[error("{}", reason(.0))]
    Open(#[source] io::Error),
    /// The archive to load from calls an image what it cannot be called.
    #[error("it calls an image `{name}`: {why}")]
    Name {
        /// What stands there.
        name: String,
        /// Why it cannot be its name.
        why: String,
    },
    /// In the archive to load from.
    #[error(transparent)]
    Archive(#[from] bundle::archive::Error),
}

impl Error {
    pub(crate) fn new(action: &'static str, object: String, cause: Cause) -> Self {
        Self { action, object, cause: Box::new(cause) }
    }

    /// What the user can do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match &*self.cause {
            Cause::Registry(error) => error.hint(),
            Cause::Store(error) => error.hint(),
            Cause::Layer { source, .. } => source.hint(),
            Cause::WrongDiffId { .. } => {
                Some("the image was put together wrongly; it has to be built again".to_owned())
            }
            Cause::NoPlatform { offered, .. } if offered == UNNAMED => None,
            Cause::NoPlatform { .. } => Some(
                "choose one of these with --platform; this machine must be able to run it".into(),
            ),
            Cause::NoSuchName(_) => Some("`nman images` lists what is here".to_owned()),
            Cause::NotHere => Some("pull it first, or use another pull policy".to_owned()),
            Cause::Archive(bundle::archive::Error::Layout(error)) => store::hint_of_layout(error),
            Cause::Archive(error) => error.hint(),
            Cause::Name { .. } => {
                Some("the archive has to be made again, with another name".to_owned())
            }
            Cause::Cancelled | Cause::Contended | Cause::Open(_) => None,
        }
    }
}

impl From<snapshot::Error> for Cause {
    fn from(error: snapshot::Error) -> Self {
        Self::Store(error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_that_has_no_room_in_the_store_is_told_what_makes_some() {
        let full = io::Error::from_raw_os_error(rustix::io::Errno::NOSPC.raw_os_error());
        let archive = bundle::archive::Error::Layout(bundle::layout::Error::NewBlob(full));
        let error = Error::new("load", "image.tar".to_owned(), archive.into());
        assert!(error.to_string().ends_with("no space left on device"), "{error}");
        assert!(error.hint().unwrap().contains("`nman system prune` frees some"));
    }
}
