//! Writing a small file anew where its disk has no room for another: over what is there, in the blocks that it has.

use serde::Serialize;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

/// The unit of `st_blocks`.
const BLOCK: u64 = 512;

/// Writes a file over in one step, so that whoever reads it finds the old value or the new one.
///
/// # Errors
/// The value needs more room than the file has, or, where the file system copies what is written, there is none for the copy.
pub(super) fn overwrite<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let file = File::options().write(true).open(path)?;
    let metadata = file.metadata()?;
    let mut text = serde_json::to_vec(value)?;
    let length = text.len() as u64;
    if length > metadata.len().max(metadata.blocks() * BLOCK) {
        return Err(io::ErrorKind::StorageFull.into());
    }
    // Spaces where more was before: cutting the file off would be a second step.
    text.resize(length.max(metadata.len()).try_into().unwrap_or(usize::MAX), b' ');
    file.write_all_at(&text, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_longer_or_shorter_is_written_over_and_what_has_no_room_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, "\"first\"").unwrap();
        let read = || serde_json::from_slice::<String>(&std::fs::read(&path).unwrap()).unwrap();
        for value in ["a longer one".to_owned(), "s".to_owned()] {
            overwrite(&path, &value).unwrap();
            assert_eq!(read(), value);
        }
        let before = std::fs::metadata(&path).unwrap();
        assert!(overwrite(&path, &"x".repeat(1 << 20)).is_err());
        assert_eq!(read(), "s");
        assert_eq!(std::fs::metadata(&path).unwrap().len(), before.len());
    }
}
