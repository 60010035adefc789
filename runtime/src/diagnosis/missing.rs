//! Why there is no program under a name.

use super::view::{Found, Place};
use super::{Diagnosis, Subject};
use rustix::io::Errno;
use std::path::{Path, PathBuf};

/// Where programs lie, besides the directories of PATH.
const ELSEWHERE: &[&str] = &[
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
    "/app",
    "/opt/bin",
    "/",
];

impl Subject {
    /// Why a name was not found.
    pub(super) fn missing(&self, name: &str, paths: &[PathBuf]) -> Diagnosis {
        if let Some((first, rest)) = name.split_once(' ').filter(|_| !name.starts_with(' ')) {
            return Diagnosis::new(
                format!(
                    "the first argument is a whole command line, and it is taken for the name of a program: `{name}`"
                ),
                format!(
                    "give each word as an argument of its own: \"{first}\", \"{}\"",
                    rest.replace(' ', "\", \"")
                ),
            );
        }
        if let Some(diagnosis) = paths.iter().find_map(|path| self.broken_link(path)) {
            return diagnosis;
        }
        match paths {
            [path] => self.missing_path(path),
            paths => self.missing_name(name, paths),
        }
    }

    fn broken_link(&self, path: &Path) -> Option<Diagnosis> {
        if let Found::Missing(Errno::LOOP) = self.view.find(path) {
            return Some(Diagnosis::new(
                format!("the symbolic links at `{}` lead in a circle", path.display()),
                "let one of them point to the program",
            ));
        }
        let target = self.view.link(path)?;
        Some(Diagnosis::new(
            format!(
                "`{}` is a symbolic link to `{}`, which is not there",
                path.display(),
                target.display()
            ),
            "add what it points to to the image, or mount it",
        ))
    }

    /// A bare name that none of the paths made from PATH leads to.
    fn missing_name(&self, name: &str, paths: &[PathBuf]) -> Diagnosis {
        let elsewhere = ELSEWHERE.iter().map(|directory| Path::new(directory).join(name));
        let here = |path: &PathBuf| matches!(self.view.find(path), Found::Here { .. });
        if let Some(path) = elsewhere.filter(|path| !paths.contains(path)).find(here) {
            let path = path.display();
            return Diagnosis::new(
                format!("`{path}` is there, and its directory is not in PATH"),
                format!("add the directory to PATH in `process.env`, or call the program `{path}`"),
            );
        }
        let found = paths.iter().map(|path| self.view.find(path));
        let hidden = found.filter_map(|found| match found {
            Found::Covered(place) => Some(covered(place)),
            _ => None,
        });
        hidden.into_iter().next().unwrap_or_else(|| {
            Diagnosis::new(
                format!("no directory of PATH has a program `{name}`"),
                "the directories are those of PATH in the process's environment, as they are inside the container",
            )
        })
    }

    fn missing_path(&self, path: &Path) -> Diagnosis {
        if let Some(directory) = self.unsearchable(path) {
            return self.closed(&directory);
        }
        if let Found::Covered(place) = self.view.find(path) {
            return covered(place);
        }
        let absent = path.ancestors().skip(1).take_while(|directory| {
            !matches!(self.view.find(directory), Found::Here { .. } | Found::Covered(_))
        });
        let above = path
            .ancestors()
            .skip(1)
            .find(|above| matches!(self.view.find(above), Found::Here { .. } | Found::Covered(_)));
        if let (Found::Missing(Errno::NOTDIR), Some(above)) = (self.view.find(path), above) {
            return Diagnosis::new(
                format!("`{}` is a file, and there is nothing below it", above.display()),
                "correct the path of the program",
            );
        }
        match absent.last() {
            Some(directory) => Diagnosis::new(
                format!("the root file system has no `{}`", directory.display()),
                "is it the right image, and was it unpacked as a whole?",
            ),
            None => Diagnosis::new(
                format!("the root file system has no `{}`", path.display()),
                "the path is the one inside the container, not on the host",
            ),
        }
    }
}

/// What is on the image at that place is not seen.
fn covered(place: &Place) -> Diagnosis {
    Diagnosis::new(
        format!(
            "a {} is mounted on `{}` and hides what the image has there (config.json {})",
            place.kind,
            place.destination.display(),
            place.pointer
        ),
        "mount it elsewhere, or put the program elsewhere",
    )
}
