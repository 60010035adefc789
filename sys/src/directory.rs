//! What is in a directory.

use crate::Result;
use rustix::fs::Dir;
use std::os::fd::AsFd;

/// The names in a directory but `.` and `..`, in the order in which its file system has them.
///
/// # Errors
/// As getdents64(2).
pub fn names(directory: impl AsFd) -> Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use rustix::fs::{Mode, OFlags};

    #[test]
    fn a_directory_is_told_without_itself_and_what_is_above_it() {
        let path = std::env::temp_dir().join(format!("sys-directory-{}", std::process::id()));
        std::fs::create_dir_all(path.join(".hidden/below")).unwrap();
        let directory = rustix::fs::open(&path, OFlags::RDONLY, Mode::empty()).unwrap();
        assert_eq!(super::names(&directory).unwrap(), [b".hidden"]);
        std::fs::remove_dir_all(path).unwrap();
    }
}
