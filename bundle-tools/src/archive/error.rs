//! What can go wrong with an archive.

use crate::{digest::DiffId, layer, layout, reason::reason};

/// Why an archive could not be loaded or saved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is no image archive, or one that contradicts itself.
    #[error("the archive is not usable: {0}")]
    Invalid(String),
    /// A layer is not the one that the image's configuration names.
    #[error("layer `{layer}` has diff id `{got}` where its image expects `{expected}`")]
    DiffId {
        /// The layer's blob.
        layer: String,
        /// What the configuration says.
        expected: DiffId,
        /// What the content has.
        got: DiffId,
    },
    /// The stream failed, ended early, is no tar archive or exceeds the limits.
    #[error("cannot read the archive: {0}")]
    Unreadable(String),
    /// The archive could not be written.
    #[error("cannot write the archive: {}", reason(.0))]
    Write(#[source] std::io::Error),
    /// A layer could not be read.
    #[error(transparent)]
    Layer(#[from] layer::Error),
    /// The layout could not be written, or a document in it is not valid.
    #[error(transparent)]
    Layout(#[from] layout::Error),
}

impl Error {
    /// What to do about it, where there is something to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Layer(error) => error.hint(),
            Self::Layout(error) => error.hint(),
            Self::Invalid(_) => Some(
                "an archive comes from `docker save`, `podman save` or `skopeo copy ... oci-archive:FILE`; \
                 the tarball of a root file system is not one"
                    .to_owned(),
            ),
            Self::DiffId { .. } | Self::Unreadable(_) | Self::Write(_) => None,
        }
    }

    /// What went wrong with the archive itself, which is read by the same means as a layer.
    pub(super) fn unreadable(error: &layer::Error) -> Self {
        Self::Unreadable(match error {
            layer::Error::Stream(source) => reason(source),
            layer::Error::Archive(source) => source.to_string(),
            layer::Error::Refused { entry, why } => format!("member `{entry}`: {why}"),
            layer::Error::Limit { limit, .. } => limit.clone(),
            other => other.to_string(),
        })
    }

    pub(super) fn invalid(why: impl Into<String>) -> Self {
        Self::Invalid(why.into())
    }
}
