//! Programs: where one is, and execve(2) over argument arrays that were built before the process was made.

use crate::last_errno;
use rustix::fs::FileType;
use rustix::io::Errno;
use std::ffi::{CStr, CString, NulError, OsStr, c_char};
use std::path::{Path, PathBuf};

/// A null-terminated array of C strings, ready for execve(2).
pub struct CStringArray {
    strings: Vec<CString>,
    pointers: Vec<*const c_char>,
}

// SAFETY: the pointers lead to strings that the array itself owns and never hands out for writing.
unsafe impl Send for CStringArray {}

impl CStringArray {
    /// Copies the strings.
    ///
    /// # Errors
    /// When a string contains a NUL byte.
    pub fn new<S: Into<Vec<u8>>>(
        strings: impl IntoIterator<Item = S>,
    ) -> Result<CStringArray, NulError> {
        let strings = strings.into_iter().map(CString::new).collect::<Result<Vec<_>, _>>()?;
        let mut array = CStringArray { pointers: Vec::with_capacity(strings.len() + 1), strings };
        array.rebuild();
        Ok(array)
    }

    /// Adds a string at the end.
    pub fn push(&mut self, string: CString) {
        self.strings.push(string);
        self.rebuild();
    }

    /// The strings.
    pub fn as_slice(&self) -> &[CString] {
        &self.strings
    }

    fn rebuild(&mut self) {
        self.pointers.clear();
        self.pointers.extend(self.strings.iter().map(|string| string.as_ptr()));
        self.pointers.push(std::ptr::null());
    }
}

impl std::fmt::Debug for CStringArray {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.strings.fmt(f)
    }
}

impl Clone for CStringArray {
    fn clone(&self) -> CStringArray {
        let mut array = CStringArray { strings: self.strings.clone(), pointers: Vec::new() };
        array.rebuild();
        array
    }
}

/// Replaces the program of this process. Returns only if that failed.
pub fn execve(path: &CStr, argv: &CStringArray, envp: &CStringArray) -> Errno {
    // SAFETY: `path` is a C string; both arrays end in a null pointer and point into strings that they own, which
    // `CStringArray` upholds.
    unsafe { libc::execve(path.as_ptr(), argv.pointers.as_ptr(), envp.pointers.as_ptr()) };
    last_errno()
}

/// An executable of this name in the absolute directories of a list as PATH has it: what a relative one means depends on where we
/// are.
pub fn find_program(name: &str, path: &OsStr) -> Option<PathBuf> {
    let directories = std::env::split_paths(path).filter(|directory| directory.is_absolute());
    directories.map(|directory| directory.join(name)).find(|candidate| is_program(candidate))
}

/// Whether a path leads to a file that somebody may execute.
pub fn is_program(path: &Path) -> bool {
    rustix::fs::stat(path).is_ok_and(|stat| {
        FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_mode & 0o111 != 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_in_absolute_directories_only() {
        let find = |name, path| find_program(name, OsStr::new(path));
        assert_eq!(find("sh", ".:/nonexistent:/bin"), Some("/bin/sh".into()));
        assert_eq!(find("there-is-no-such-program", "/bin:/usr/bin"), None);
        assert_eq!(find("bin", "/usr"), None, "a directory");
        assert_eq!(find("passwd", "/etc"), None, "a file that nobody may execute");
    }
}
