//! Writes a layout as an OCI archive.

use std::{fs::File, io::Write, os::fd::AsFd};

use super::Error;
use crate::{
    layer::{self, PackOptions},
    layout::Layout,
    tarball::Timespec,
};

/// Writes the whole of `layout` to `output` as an OCI archive, the same bytes for the same content.
pub fn save(layout: &Layout, output: impl Write) -> Result<(), Error> {
    let root = File::open(layout.path()).map_err(|source| crate::layout::Error::File {
        action: "open",
        path: layout.path().to_owned(),
        source,
    })?;
    let options = PackOptions {
        mtime: Some(Timespec::default()),
        owner: Some((0, 0)),
        ..PackOptions::default()
    };
    layer::pack(root.as_fd(), &options, output)?;
    Ok(())
}
