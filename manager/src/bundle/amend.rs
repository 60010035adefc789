//! What of a container's config.json is changed after it was planned.

use crate::container::{Dir, Record};
use crate::error::{Error, Result};
use oci_spec::runtime::Spec;

/// Changes a container's config.json; `change` says whether anything is different now.
///
/// # Errors
/// The file cannot be read or written, or is none.
pub fn amend(record: &Record, dir: &Dir, change: impl FnOnce(&mut Spec) -> bool) -> Result<()> {
    let path = dir.join("config.json");
    let text = std::fs::read(&path).map_err(Error::io("read", &path))?;
    let mut spec: Spec =
        serde_json::from_slice(&text).map_err(|source| Error::Damaged { path, source })?;
    if change(&mut spec) { dir.write_bundle(record, &spec) } else { Ok(()) }
}
