//! execve(2) over argument arrays that were built before the process was made.

use crate::last_errno;
use rustix::io::Errno;
use std::ffi::{CStr, CString, NulError, c_char};

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
