//! The last failures, kept for `explain`: a small file for each id, beside the state of containers and never in it.
//!
//! A failed create leaves nothing under `--root`; engines rely on that. So these lie in a directory of their own, which only its owner
//! may enter, are few, and are lost with the boot. Nothing depends on them: what cannot be written or read is left out.

use crate::id::ContainerId;
use crate::rootless;
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// How many are kept: the latest.
const MOST: usize = 32;

/// What was tried and failed.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Attempt {
    /// `--root`, an absolute path.
    pub(super) root: PathBuf,
    /// The container.
    pub(super) id: String,
    /// The command.
    pub(super) command: String,
    /// When, RFC 3339 in UTC.
    pub(super) time: String,
    /// The error; empty where there was none and the container ended at once.
    pub(super) message: String,
    /// The reason that was told with it.
    pub(super) hint: Option<String>,
    /// The bundle, an absolute path, where it was to be made from one.
    pub(super) bundle: Option<PathBuf>,
    /// `--config`
    pub(super) config: Option<PathBuf>,
    /// The exit status of a container that was run in the foreground.
    pub(super) status: Option<u8>,
    /// How often the kernel had killed something in its cgroup for the memory limit.
    pub(super) out_of_memory: u64,
    /// How often a process could not be made in it for the limit on processes.
    pub(super) out_of_processes: u64,
}

/// Where they are kept: `/run/nrun-failures`, or its like for a user who is not root. `None` where another user could have a say
/// in what is in it.
fn directory() -> Option<PathBuf> {
    let mut name = rootless::default_root().into_os_string();
    name.push("-failures");
    let directory = PathBuf::from(name);
    rootless::refuse_foreign(&directory).is_ok().then_some(directory)
}

/// The same id may be used under several roots, and a name has no room for both.
fn path(directory: &Path, root: &Path, id: &ContainerId) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    (root, id.as_str()).hash(&mut hasher);
    directory.join(format!("{:016x}.json", hasher.finish()))
}

/// Whether a name is one that [`path`] gives: nothing else is ever removed.
fn is_ours(name: &OsStr) -> bool {
    let stem = name.to_str().and_then(|name| name.strip_suffix(".json"));
    stem.is_some_and(|stem| stem.len() == 16 && stem.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Keeps an attempt, in the place of an earlier one under the same id. The oldest of too many goes.
pub(super) fn keep(attempt: &Attempt, id: &ContainerId) {
    if let Some(directory) = directory() {
        keep_in(&directory, attempt, id);
    }
}

fn keep_in(directory: &Path, attempt: &Attempt, id: &ContainerId) {
    let Ok(text) = serde_json::to_vec(attempt) else { return };
    let _ = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
    let path = path(directory, &attempt.root, id);
    // Removed first: whatever lies there is not written through.
    let _ = std::fs::remove_file(&path);
    let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    let _ = made.and_then(|mut file| std::io::Write::write_all(&mut file, &text));
    let files = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut files: Vec<(SystemTime, PathBuf)> = files
        .filter(|file| is_ours(&file.file_name()))
        .filter_map(|file| Some((file.metadata().ok()?.modified().ok()?, file.path())))
        .filter(|(_, other)| *other != path)
        .collect();
    while files.len() >= MOST
        && let Some(oldest) = (0..files.len()).min_by(|a, b| files[*a].cmp(&files[*b]))
    {
        let _ = std::fs::remove_file(files.swap_remove(oldest).1);
    }
}

/// The last attempt under an id.
pub(super) fn find(root: &Path, id: &ContainerId) -> Option<Attempt> {
    find_in(&directory()?, root, id)
}

fn find_in(directory: &Path, root: &Path, id: &ContainerId) -> Option<Attempt> {
    let text = std::fs::read(path(directory, root, id)).ok()?;
    let attempt: Attempt = serde_json::from_slice(&text).ok()?;
    // Two of them may have one hash.
    (attempt.root == root && attempt.id == id.as_str()).then_some(attempt)
}

/// Forgets what failed under an id, and removes the directory with the last one.
pub(super) fn forget(root: &Path, id: &ContainerId) {
    let Some(directory) = directory() else { return };
    if std::fs::remove_file(path(&directory, root, id)).is_ok() {
        let _ = std::fs::remove_dir(directory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_attempts_are_kept_and_found_by_root_and_id() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path().join("failures");
        let id = |n: usize| ContainerId::new(&format!("c{n}")).unwrap();
        let attempt = |n: usize| Attempt {
            root: "/r".into(),
            id: format!("c{n}"),
            message: format!("failed {n}"),
            ..Attempt::default()
        };
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join("other.json"), "").unwrap();
        for n in 0..40 {
            keep_in(&directory, &attempt(n), &id(n));
        }
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), MOST + 1);
        assert!(directory.join("other.json").exists(), "what is not ours stays, however old it is");
        std::fs::remove_file(directory.join("other.json")).unwrap();
        assert_eq!(find_in(&directory, Path::new("/r"), &id(39)), Some(attempt(39)));
        assert_eq!(find_in(&directory, Path::new("/other"), &id(39)), None);
        let again = Attempt { message: "again".into(), ..attempt(39) };
        keep_in(&directory, &again, &id(39));
        assert_eq!(find_in(&directory, Path::new("/r"), &id(39)), Some(again));
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), MOST);
    }
}
