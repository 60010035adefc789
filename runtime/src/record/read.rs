//! What the directory of a container says, for those who look.

use super::{
    CONFIG, INIT, Record, STATE, Saved, awaits_start, is_locked, open_container, open_own,
};
use crate::error::{Error, Result};
use crate::id::ContainerId;
use crate::process;
use oci_spec::runtime::Spec;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::io::Read;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;

/// The state without the lock, for commands that only look.
///
/// # Errors
/// [`Error::NoContainer`]; or that its state cannot be read.
pub fn peek(root: &Path, id: &ContainerId) -> Result<(Saved, bool)> {
    let path = root.join(id.as_str());
    let directory = open_container(root, id, &path)?;
    let saved = look(&directory, root, id, &path)?;
    Ok((saved, awaits_start(&directory)))
}

fn look(directory: &OwnedFd, root: &Path, id: &ContainerId, path: &Path) -> Result<Saved> {
    let saved = read_state(directory, path)?.ok_or_else(|| Error::no_container(root, id))?;
    let creating = saved.pid == 0 && is_locked(directory);
    Ok(Saved { creating, ..saved })
}

/// The config.json that a container was created from.
///
/// # Errors
/// When it cannot be read or parsed.
pub fn config(root: &Path, id: &ContainerId) -> Result<Box<Spec>> {
    let path = root.join(id.as_str());
    parse_config(&open_container(root, id, &path)?, &path)
}

fn parse_config(directory: &OwnedFd, path: &Path) -> Result<Box<Spec>> {
    Ok(bundle::parse(&read_config(directory, path)?, &path.join(CONFIG))?.spec)
}

impl Record {
    /// Opens a container's directory, as [`peek`] does, for who acts by what is in it without the lock.
    ///
    /// # Errors
    /// As [`peek`]; that it is another user's.
    pub fn unlocked(root: &Path, id: &ContainerId) -> Result<Record> {
        let path = root.join(id.as_str());
        let directory = open_own(root, id, &path)?;
        let saved = look(&directory, root, id, &path)?;
        Ok(Record { directory, path, saved })
    }

    /// The config.json that the container was created from.
    ///
    /// # Errors
    /// As [`config`].
    pub fn spec(&self) -> Result<Box<Spec>> {
        parse_config(&self.directory, &self.path)
    }

    /// The same, checked as it was then: paths in it are relative to the bundle.
    ///
    /// # Errors
    /// As [`config`]; when the root file system is gone.
    pub fn checked_config(&self) -> Result<bundle::Checked> {
        let text = read_config(&self.directory, &self.path)?;
        let loaded = bundle::parse(&text, &self.saved.bundle.join(CONFIG))?;
        Ok(bundle::check(loaded).map_err(bundle::Error::from)?)
    }
}

/// By the directory: what has its name may be another container by now.
pub(super) fn read_config(directory: &OwnedFd, path: &Path) -> Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mut text = Vec::new();
    rustix::fs::openat(directory, CONFIG, flags, Mode::empty())
        .map_err(std::io::Error::from)
        .and_then(|file| std::fs::File::from(file).read_to_end(&mut text))
        .map_err(|error| Error::io(format!("read `{}`", path.join(CONFIG).display()), &error))?;
    Ok(text)
}

/// `None` when there is none, which is what a `create` that was killed at once leaves.
pub(super) fn read_state(directory: &OwnedFd, path: &Path) -> Result<Option<Saved>> {
    // Before the file, which is complete when there is a link.
    let init = read_init(directory, path)?;
    let (pid, pid_start) = init.unwrap_or_default();
    let saved = read_file(directory, path, init)?;
    Ok(saved.map(|saved| Saved { pid, pid_start, ..saved }))
}

/// The init's process id, and when it was started; `None` when none is noted.
pub(super) fn read_init(directory: &OwnedFd, path: &Path) -> Result<Option<(i32, u64)>> {
    let mut buffer = [MaybeUninit::uninit(); 64];
    let text = match rustix::fs::readlinkat_raw(directory, INIT, &mut buffer) {
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => {
            let what = format!("read `{}`", path.join(INIT).display());
            return Err(Error::system(what, errno));
        }
        Ok((text, _)) => text,
    };
    parse_init(text).map(Some).ok_or_else(|| {
        let path = path.join(INIT);
        Error::State(format!("cannot read `{}`: it is no link of nrun's", path.display()))
    })
}

fn parse_init(text: &[u8]) -> Option<(i32, u64)> {
    let (pid, start) = str::from_utf8(text).ok()?.split_once(':')?;
    let pid = pid.parse().ok().filter(|pid| *pid > 0)?;
    Some((pid, start.parse().ok()?))
}

fn read_file(directory: &OwnedFd, path: &Path, init: Option<(i32, u64)>) -> Result<Option<Saved>> {
    let what = || format!("read `{}`", path.join(STATE).display());
    let damaged = |why: String| {
        let runs = |(pid, start): &(i32, u64)| process::is_alive(*pid, *start).unwrap_or(true);
        let init = init.filter(runs).map(|(pid, _)| pid);
        Error::Damaged { directory: path.to_owned(), why, init }
    };
    let file =
        match rustix::fs::openat(directory, STATE, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        {
            // `delete` takes the link away before.
            Err(Errno::NOENT) if read_init(directory, path)?.is_none() => return Ok(None),
            Err(Errno::NOENT) => return Err(damaged("it is not there".into())),
            opened => opened.map_err(|errno| Error::system(what(), errno))?,
        };
    let mut text = Vec::with_capacity(4096);
    let first = rustix::io::read(&file, rustix::buffer::spare_capacity(&mut text))
        .map_err(|errno| Error::system(what(), errno))?;
    // A file gives all that it has: most states are read at once.
    if first == text.capacity() {
        let rest = std::fs::File::from(file).read_to_end(&mut text);
        rest.map_err(|error| Error::io(what(), &error))?;
    }
    parse_state(&text, init.is_some())
        .map_err(|error| damaged(format!("it is no state of nrun's: {error}")))
}

/// Without an init, an empty or cut file is the trace of a `create` that was killed while it wrote, before it made anything. Any other
/// text that is not understood, a later nrun's for example, may be of a container that is there: `delete` must not forget it.
fn parse_state(
    text: &[u8],
    has_init: bool,
) -> std::result::Result<Option<Saved>, serde_json::Error> {
    match serde_json::from_slice(text) {
        Err(error) if error.is_eof() && !has_init => Ok(None),
        parsed => parsed.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_state_without_an_init_is_none_and_one_that_is_not_understood_is_an_error() {
        let parse_state = |text: &[u8]| super::parse_state(text, false);
        let whole = serde_json::to_string(&Saved { id: "c".into(), ..Saved::default() }).unwrap();
        assert_eq!(parse_state(whole.as_bytes()).unwrap().unwrap().id, "c");
        for length in 0..whole.len() {
            let cut = &whole.as_bytes()[..length];
            assert!(parse_state(cut).unwrap().is_none(), "{length}");
            assert!(super::parse_state(cut, true).is_err(), "{length}");
        }
        let later = whole.replace("\"owner\":0", "\"owner\":{\"number\":7}");
        assert_ne!(later, whole);
        assert!(parse_state(later.as_bytes()).is_err());
        assert!(parse_state(b"\0\0\0").is_err());
        // Without its namespaces, an exec would take place in those of the host.
        let unknown = whole.replace("\"namespaces\":0,", "");
        assert_ne!(unknown, whole);
        assert!(parse_state(unknown.as_bytes()).is_err());
    }

    #[test]
    fn the_link_has_the_init_and_when_it_was_started() {
        assert_eq!(parse_init(b"14726:5307550"), Some((14726, 5_307_550)));
        for other in ["", "14726", ":1", "1:", "x:1", "1:1:1", "/proc/1", "0:1", "-5:1"] {
            assert_eq!(parse_init(other.as_bytes()), None, "{other}");
        }
    }
}
