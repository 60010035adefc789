//! What ADD and a build's context name by a URL, fetched into the build's session.

use super::git::{Access, Repository};
use super::ignore::Ignore;
use super::sources::{Source, SourceKind, Tree};
use super::state::file_name;
use super::workshop::{Workshop, apart};
use crate::cli::TlsArgs;
use crate::error::{Error, Result};
use crate::registry::{self, Download, without_user};
use crate::transfer;
use bundle::digest::{Algorithm, Digest, Hasher};
use rustix::fs::{Mode, Timespec, Timestamps, futimens};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// As much as is read at once.
const CHUNK: usize = 128 << 10;
/// What a file is called whose URL says nothing; it is copied under a name that the Dockerfile says.
const UNNAMED: &str = "__unnamed__";

/// Who fetches.
pub(super) struct Fetcher<'a> {
    pub(super) tls: &'a TlsArgs,
    /// The agent that has keys for SSH.
    pub(super) agent: Option<PathBuf>,
}

impl Fetcher<'_> {
    /// The file at a URL, for nobody but root to read, as old as its server says.
    pub(super) fn file(
        &self,
        url: &str,
        checksum: Option<&Digest>,
        directory: &Path,
    ) -> Result<Source> {
        let name = file_name(url).unwrap_or_else(|| UNNAMED.to_owned());
        let path = directory.join(&name);
        let shown = without_user(url);
        let mut download = self.open(url, "add")?;
        let modified = download.modified().unwrap_or(0);
        let mut options = File::options();
        let file = options.write(true).create_new(true).mode(0o600).open(&path);
        let mut file = file.map_err(Error::io("write", &path))?;
        let algorithm = checksum.map_or(Algorithm::Sha256, Digest::algorithm);
        let mut hasher = Hasher::new(algorithm);
        let mut buffer = vec![0; CHUNK];
        loop {
            let read = download.read(&mut buffer);
            let length = read.map_err(Error::system(format!("add `{shown}`")))?;
            if length == 0 {
                break;
            }
            hasher.update(&buffer[..length]);
            file.write_all(&buffer[..length]).map_err(Error::io("write", &path))?;
        }
        let found = hasher.finish();
        if let Some(expected) = checksum.filter(|expected| **expected != found) {
            return Err(Error::refusal(format!("digest mismatch {found}: {expected}")));
        }
        let time = Timespec { tv_sec: modified, tv_nsec: 0 };
        futimens(&file, &Timestamps { last_access: time, last_modification: time })
            .map_err(Error::io("set the time of", &path))?;
        let source = find(directory, &name, &shown, None)?;
        Ok(Source { kind: SourceKind::Fetched, ..source })
    }

    /// The content at a URL; `action` is what messages say of it.
    pub(super) fn open(&self, url: &str, action: &str) -> Result<Download> {
        let shown = without_user(url);
        Download::open(url, &transfer::tls(self.tls)).map_err(|error| Error::Rejected {
            message: format!("cannot {action} `{shown}`: {error}"),
            // Others speak of registries.
            hint: error.hint().filter(|_| matches!(error, registry::Error::Tls { .. })),
        })
    }

    /// The directory of a repository that is meant. What it is for a step's key is its commit, with what is asked of it: of `.git` no two
    /// are alike.
    pub(super) fn repository(
        &self,
        repository: &Repository,
        (keeps_git, exclude): (bool, &Ignore),
        directory: &Path,
    ) -> Result<Source> {
        let commit = self.check_out(repository, keeps_git, directory)?;
        let shown = repository.shown();
        let source = find(directory, &repository.directory, &shown, Some(exclude))?;
        if !source.is_directory() {
            return Err(Error::refusal(format!(
                "cannot add `{shown}`: `{}` is no directory of it",
                repository.directory
            )));
        }
        let wish = (&repository.directory, exclude.text());
        let identity = format!("{commit} {keeps_git} {wish:?}");
        Ok(Source { identity: Some(identity), ..source })
    }

    /// Checks a repository out; the commit's id.
    pub(super) fn check_out(
        &self,
        repository: &Repository,
        keeps_git: bool,
        directory: &Path,
    ) -> Result<String> {
        let access = Access { tls: self.tls, agent: self.agent.as_deref() };
        // A thread of its own, whose umask is nobody else's affair: modes of a commit are 0644 and 0755.
        apart(|| {
            rustix::process::umask(Mode::WGRP | Mode::WOTH);
            repository.check_out(directory, keeps_git, &access)
        })
    }
}

fn find(directory: &Path, path: &str, name: &str, exclude: Option<&Ignore>) -> Result<Source> {
    let root = File::open(directory).map_err(Error::io("open", directory))?;
    let tree = Tree { root: root.as_fd(), name, ignore: None, exclude, owned: false };
    tree.find_one(path)
}

impl Workshop<'_> {
    /// A directory of the session that is empty, whatever was in it.
    pub(super) fn emptied(&self, name: &str, mode: u32) -> Result<PathBuf> {
        let directory = self.staging.path(name);
        crate::snapshot::remove_tree(&directory)?;
        crate::snapshot::create_directory(&directory, mode)?;
        Ok(directory)
    }
}
