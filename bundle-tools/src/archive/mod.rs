//! Image archives: what `docker save`, `podman save` and `skopeo copy ... oci-archive:` write, read into a layout, and written.
//!
//! An archive is read once, from front to back, so it may come through a pipe: each member becomes a blob, and what they are is
//! known at the end, when `manifest.json` or `index.json` was seen. Every digest and every diff id is then checked; nothing gets a
//! name before that. What no image refers to is removed, and on failure everything that was new.

mod docker;
mod error;
mod intake;
mod oci;
mod outgoing;
mod save;
mod write;

use std::io::Read;

use oci_spec::image::Descriptor;

pub use error::Error;
pub use outgoing::{Name, Outgoing, place, put_blobs};
pub use save::save;
pub use write::{Form, write};

use crate::{
    digest::DiffId,
    layer::{self, Limits},
    layout::Layout,
};
use intake::Intake;

/// An image that an archive had.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The names it has in the archive, as they stand there: `alpine:3.20`, or a mere tag. None for an untagged image.
    pub names: Vec<String>,
    /// Its manifest, or an index.
    pub descriptor: Descriptor,
}

/// Reads the images of `archive` (plain or compressed tar) into `layout`. They get no names there: that is up to the caller,
/// who knows what a name means ([`Layout::tag`]).
pub fn load(
    archive: impl Read + Send,
    layout: &Layout,
    limits: &Limits,
) -> Result<Vec<Loaded>, Error> {
    let intake = Intake::read(archive, layout, limits)?;
    let loaded = if intake.has("oci-layout") && intake.has("index.json") {
        oci::load(&intake, limits)?
    } else if intake.has("manifest.json") {
        docker::load(&intake, limits)?
    } else if intake.has("repositories") {
        return Err(Error::invalid(
            "it was written by Docker before 1.10, in a format without digests",
        ));
    } else {
        return Err(Error::invalid("it has neither `index.json` nor `manifest.json`"));
    };
    intake.keep(&loaded)?;
    Ok(loaded)
}

/// Whether a layer that is in the layout is the one that the configuration means.
fn check_layer(
    layout: &Layout,
    layer: &Descriptor,
    expected: &DiffId,
    limits: &Limits,
) -> Result<(), Error> {
    let got = layer::diff_id(layout.blob(layer)?, limits)?;
    if got == *expected {
        return Ok(());
    }
    Err(Error::DiffId { layer: layer.digest().to_string(), expected: expected.clone(), got })
}

#[cfg(test)]
mod tests;
