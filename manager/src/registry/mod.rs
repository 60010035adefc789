//! Registries: where images come from.
//!
//! [`Registry`] is all that the rest of the program knows about where images come from, and [`Mirrors`] the one that speaks
//! the OCI distribution protocol, with the hosts that `hosts.toml` names. What it returns is verified: a manifest has the
//! digest it was asked for by, and a blob's reader fails unless size and digest are right, so callers need not check.
//! [`Target`] is where images are pushed to.

mod answer;
mod auth;
mod blob;
mod challenge;
mod client;
mod download;
mod error;
mod fault;
mod helper;
mod hosts;
pub mod list;
mod logins;
pub mod manifest;
mod mirrors;
mod tags;
mod tls;
mod upload;

use std::io::Read;

use oci_spec::image::Descriptor;

pub use auth::Credentials;
pub(crate) use download::{Download, without_user};
pub use error::{Error, TlsFault};
pub use logins::{HUB_KEY, Kept, Logins};
pub use mirrors::Mirrors;
pub use tls::Tls;
pub use upload::{Target, Upload};

use bundle::digest::Digest;
pub use bundle::platform::Platform;

/// The largest manifest or index that is read; the distribution specification's own limit.
pub const MAX_MANIFEST: u64 = 4 << 20;
/// The largest image configuration that is read.
pub const MAX_CONFIG: u64 = 8 << 20;

/// How a registry is to be approached.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// What to log in with, if the registry asks; what was stored for it, if not given.
    pub credentials: Option<Credentials>,
    /// How far its identity is checked, and where files about registries are.
    pub tls: Tls,
}

/// A manifest or an index as it came, with what is known of it.
#[derive(Clone, Debug)]
pub struct Document {
    /// The digest of [`content`](Self::content), computed here.
    pub digest: Digest,
    /// What the registry says it is; the content itself may say so too.
    pub media_type: String,
    /// The bytes that the digest is of.
    pub content: Vec<u8>,
}

/// One repository of a registry, seen by somebody who wants to pull from it.
pub trait Registry: Sync {
    /// The manifest or index that `selector`, a tag or a digest, stands for now.
    fn resolve(&self, selector: &str) -> Result<Document, Error>;

    /// The manifest or index that an index points to.
    fn manifest(&self, descriptor: &Descriptor) -> Result<Document, Error>;

    /// The content of a blob, verified as it is read: its end is an error of kind `InvalidData`
    /// unless size and digest are what `descriptor` says.
    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Error>;

    /// How many places content may come from.
    fn places(&self) -> usize {
        1
    }

    /// The same from a place, counted from 0, or one behind it.
    fn blob_at(
        &self,
        _place: usize,
        descriptor: &Descriptor,
    ) -> Result<Box<dyn Read + Send + '_>, Error> {
        self.blob(descriptor)
    }
}
