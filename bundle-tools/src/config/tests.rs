//! Tests of loading and checking as a whole: what is found, and where it is said to be.

mod engines;
mod faults;
mod loading;
mod robustness;

use std::path::PathBuf;

use tempfile::TempDir;

use super::*;

/// A configuration with every section in it, all valid.
const FULL: &str = include_str!("tests/full.json");

/// A bundle with a root file system and no configuration.
struct Bundle {
    directory: TempDir,
}

impl Bundle {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("rootfs")).unwrap();
        Bundle { directory }
    }

    /// Without symbolic links, as `load` gives it.
    fn path(&self) -> PathBuf {
        self.directory.path().canonicalize().unwrap()
    }

    fn config(&self) -> PathBuf {
        self.path().join(CONFIG_NAME)
    }

    fn parse(&self, text: &str) -> Result<Loaded, Error> {
        parse(text.as_bytes(), &self.config())
    }

    /// Parses and checks a text.
    fn check(&self, text: &str) -> Result<Checked, Error> {
        Ok(check(self.parse(text)?)?)
    }

    fn write(&self, text: impl AsRef<[u8]>) {
        std::fs::write(self.config(), text).unwrap();
    }
}

/// The findings of a text that must have some.
fn findings(result: Result<impl Sized, Error>) -> Vec<Finding> {
    match result.map(drop).unwrap_err() {
        Error::Invalid(findings) => findings.list,
        error @ Error::Read { .. } => panic!("not a finding: {error}"),
    }
}

/// The full configuration with one place changed.
fn changed(from: &str, to: &str) -> String {
    assert_eq!(FULL.matches(from).count(), 1, "`{from}` must be at one place");
    FULL.replace(from, to)
}

/// Takes the mark `«` out of a text and gives the line and column that it was at, by counting in
/// another way than the code under test.
fn take_mark(text: &str) -> (String, usize, usize) {
    let (before, after) = text.split_once('«').expect("the text has a mark");
    let line = before.lines().count();
    let column = before.lines().next_back().unwrap().chars().count() + 1;
    assert!(!before.ends_with('\n') && !after.contains('«'));
    (format!("{before}{after}"), line, column)
}
