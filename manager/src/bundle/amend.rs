//! Reading a container's config.json back, and changing it after it was planned.

use crate::container::{Dir, Record};
use crate::error::{Error, Result};
use oci_spec::runtime::Spec;

/// Reads a container's config.json.
///
/// # Errors
/// The file cannot be read, or is none.
pub fn read(dir: &Dir) -> Result<Spec> {
    let path = dir.join("config.json");
    let text = std::fs::read(&path).map_err(Error::io("read", &path))?;
    serde_json::from_slice(&text).map_err(|source| Error::Damaged { path, source })
}

/// Changes a container's config.json; `change` says whether anything is different now.
///
/// # Errors
/// The file cannot be read or written, or is none.
pub fn amend(record: &Record, dir: &Dir, change: impl FnOnce(&mut Spec) -> bool) -> Result<()> {
    let mut spec = read(dir)?;
    if change(&mut spec) { dir.write_bundle(record, &spec) } else { Ok(()) }
}
