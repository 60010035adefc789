//! What can go wrong with a layer.

use std::io;

use rustix::io::Errno;

use crate::{
    digest::Mismatch,
    reason::reason,
    tarball::{TarError, printable},
};

/// Why a layer could not be unpacked or packed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The stream failed, ended early, or is not the content that was promised ([`mismatch`](Self::mismatch) tells).
    #[error("cannot read the layer: {}", reason(.0))]
    Stream(#[source] io::Error),
    /// The archive in the stream makes no sense.
    #[error("cannot read the layer: {0}")]
    Archive(#[source] TarError),
    /// An entry that no image should have: it would leave the root, or be something else than it says.
    #[error("layer entry `{entry}` is refused: {why}")]
    Refused {
        /// Its name.
        entry: String,
        /// The reason.
        why: String,
    },
    /// The layer is larger than the limits allow.
    #[error("the layer is too large{}: {limit}", at(.entry.as_deref()))]
    Limit {
        /// The entry at which the limit was passed.
        entry: Option<String>,
        /// Which limit.
        limit: String,
    },
    /// An entry belongs to an id that there is none for in our user namespace.
    #[error("layer entry `{entry}` belongs to {uid}:{gid}, which is no id of this user namespace")]
    Unmapped {
        /// Its name.
        entry: String,
        /// The user.
        uid: u32,
        /// The group.
        gid: u32,
    },
    /// A system call failed.
    #[error("cannot {action} `{path}`: {}", reason(.source))]
    File {
        /// What was tried.
        action: &'static str,
        /// The object, relative to the root.
        path: String,
        /// Why it failed.
        source: io::Error,
    },
}

fn at(entry: Option<&str>) -> String {
    entry.map_or_else(String::new, |name| format!(" at entry `{name}`"))
}

impl Error {
    /// What to do about it, where there is something to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Limit { .. } => Some(
                "`nbundle unpack --max-size BYTES` unpacks an image that is meant to be this large"
                    .to_owned(),
            ),
            Self::Unmapped { .. } => Some(
                "the user needs more ids: a range of 65536 in /etc/subuid and in /etc/subgid, and the package `uidmap`"
                    .to_owned(),
            ),
            Self::File { action: "make the device", source, .. }
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                Some("device nodes need CAP_MKNOD outside of a user namespace".to_owned())
            }
            _ => None,
        }
    }

    /// How the content differs from what was promised, if that is the failure.
    pub fn mismatch(&self) -> Option<&Mismatch> {
        match self {
            Self::Stream(source) | Self::Archive(TarError::Read { source, .. }) => {
                Mismatch::within(source)
            }
            _ => None,
        }
    }

    pub(crate) fn stream(source: io::Error) -> Self {
        match super::stream::Exceeded::within(&source) {
            Some(exceeded) => Self::Limit { entry: None, limit: exceeded.to_string() },
            None => Self::Stream(source),
        }
    }

    pub(super) fn refused(name: &[u8], why: impl Into<String>) -> Self {
        Self::Refused { entry: printable(name), why: why.into() }
    }

    pub(super) fn limit(name: &[u8], limit: impl Into<String>) -> Self {
        Self::Limit { entry: Some(printable(name)), limit: limit.into() }
    }

    /// For `map_err`: that `entry` cannot be given its owner.
    pub(super) fn owner(entry: &[u8], uid: u32, gid: u32) -> impl FnOnce(Errno) -> Self {
        move |errno| match errno {
            // chown(2): the id has no mapping.
            Errno::INVAL => Self::Unmapped { entry: printable(entry), uid, gid },
            errno => Self::file("set the owner of", entry, errno),
        }
    }

    pub(super) fn file(action: &'static str, path: &[u8], source: impl Into<io::Error>) -> Self {
        let path = if path.is_empty() { ".".to_owned() } else { printable(path) };
        Self::File { action, path, source: source.into() }
    }
}

impl From<TarError> for Error {
    fn from(error: TarError) -> Self {
        match error {
            TarError::Read { entry, source } => match super::stream::Exceeded::within(&source) {
                Some(exceeded) => Self::Limit { entry, limit: exceeded.to_string() },
                None if entry.is_none() => Self::Stream(source),
                None => Self::Archive(TarError::Read { entry, source }),
            },
            other => Self::Archive(other),
        }
    }
}
