//! Container ids: the one name that becomes a path, and is checked once.

use crate::error::{Error, Result};
use std::fmt;

/// A container's id: letters, digits and `_ + - .`, but neither `.` nor `..`: what runc accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerId(String);

/// A directory's name may be no longer (`NAME_MAX`).
const LONGEST: usize = 255;

impl ContainerId {
    /// Checks an id.
    ///
    /// # Errors
    /// When it could not be the name of a directory below the root, or of a cgroup.
    pub fn new(id: &str) -> Result<ContainerId> {
        let wrong = |why: String| {
            Err(Error::Usage(format!("invalid container id `{}`: {why}", id.escape_debug())))
        };
        if id.is_empty() {
            return wrong("it is empty".into());
        }
        if id == "." || id == ".." {
            return wrong("it is a directory's own name".into());
        }
        if id.len() > LONGEST {
            return wrong(format!("it is longer than {LONGEST} characters"));
        }
        match id.chars().find(|c| !c.is_ascii_alphanumeric() && !"_+-.".contains(*c)) {
            Some(c) => wrong(format!("{c:?} is not a letter, a digit or one of _ + - .")),
            None => Ok(ContainerId(id.to_owned())),
        }
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_engines_use_are_taken() {
        for id in ["a", "web-1", "k8s.io_x+y", &"f".repeat(64)] {
            assert!(ContainerId::new(id).is_ok(), "{id}");
        }
    }

    #[test]
    fn an_id_cannot_lead_out_of_the_root() {
        for id in ["", ".", "..", "a/b", "../x", "a b", "a\n", "é", &"f".repeat(256)] {
            assert!(ContainerId::new(id).is_err(), "{id:?}");
        }
    }
}
