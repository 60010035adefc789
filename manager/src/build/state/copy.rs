//! COPY and ADD: what their options and words say. Pure.

use super::super::dockerfile::{Heredoc, Instruction};
use super::super::git::{Repository, decoded};
use super::super::ignore::Ignore;
use super::{Result, State, unknown};
use crate::chmod::Chmod;
use crate::expand::{exec_form, expand_text, split};
use crate::path::clean;
use crate::registry::without_user;
use bundle::digest::Digest;
use serde::Serialize;

/// COPY and ADD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// Which archives are unpacked.
    pub unpack: Unpack,
    /// `--from`
    pub from: Option<String>,
    /// Paths and patterns of paths in the context, or where `from` says.
    pub sources: Vec<String>,
    /// URLs of files.
    pub urls: Vec<String>,
    /// Repositories of git.
    pub repositories: Vec<Repository>,
    /// Files whose content stands in the Dockerfile: names and contents.
    pub inline: Vec<(String, String)>,
    /// An absolute path in the image; one that ends in a slash is a directory.
    pub target: String,
    /// `--chown`
    pub owner: Option<String>,
    /// `--chmod`
    pub mode: Option<Chmod>,
    /// `--parents`: files get the directories that lead to them.
    pub parents: bool,
    /// `--exclude`
    pub exclude: Ignore,
    /// `--checksum`: what the file at the URL has to be.
    pub checksum: Option<Digest>,
    /// `--keep-git-dir`
    pub keeps_git: bool,
}

/// Which sources are unpacked if they are archives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Unpack {
    /// None: COPY, and ADD with `--unpack=false`.
    Never,
    /// Those of the context: ADD.
    Local,
    /// What a URL gives as well: ADD with `--unpack=true`.
    All,
}

impl State<'_> {
    pub(super) fn copy(&self, step: &Instruction) -> Result<Copy> {
        let word = step.word.as_str();
        let mut copy = self.options_of_copy(step)?;
        let words = exec_form(&step.rest)?.unwrap_or_else(|| split(&step.rest, self.plan.escape));
        let few = || {
            format!(
                "{word} requires at least two arguments, but only one was provided. Destination could not be determined"
            )
        };
        let (target, sources) =
            words.split_last().filter(|(_, all)| !all.is_empty()).ok_or_else(few)?;
        copy.target = self.target(&self.expanded(target)?);
        for source in sources {
            if let Some(heredoc) = step.heredocs.iter().find(|heredoc| heredoc.word == *source) {
                copy.inline.push(self.inline(heredoc)?);
                continue;
            }
            let source = self.expanded(source)?;
            match Repository::parse(&source).filter(|_| word == "ADD") {
                Some(repository) => copy.repositories.push(repository),
                None if word == "ADD" && is_url(&source) => copy.urls.push(source),
                None => copy.sources.push(source),
            }
        }
        copy.check(word)
    }

    fn options_of_copy(&self, step: &Instruction) -> Result<Copy> {
        let word = step.word.as_str();
        let adds = word == "ADD";
        let mut copy = Copy::nothing(if adds { Unpack::Local } else { Unpack::Never });
        let mut excluded = Vec::new();
        for flag in &step.flags {
            let refused = || unknown(flag, word);
            match (flag.name.as_str(), &flag.value) {
                ("from", Some(text)) if !adds => copy.from = Some(text.clone()),
                ("chown", Some(text)) => copy.owner = Some(self.expanded(text)?),
                ("chmod", Some(text)) => copy.mode = Some(Chmod::parse(&self.expanded(text)?)?),
                ("exclude", Some(text)) => excluded.push(self.expanded(text)?),
                ("checksum", Some(text)) if adds => {
                    copy.checksum = Some(checksum(&self.expanded(text)?)?);
                }
                ("parents", value) if !adds => copy.parents = truth(value).ok_or_else(refused)?,
                ("keep-git-dir", value) if adds => {
                    copy.keeps_git = truth(value).ok_or_else(refused)?;
                }
                ("unpack", value) if adds => {
                    let unpacks = truth(value).ok_or_else(refused)?;
                    copy.unpack = if unpacks { Unpack::All } else { Unpack::Never };
                }
                // Layers are made of what a step has changed anyway.
                ("link", value) if truth(value).is_some() => {}
                _ => return Err(refused()),
            }
        }
        copy.exclude = Ignore::of(&excluded)?;
        Ok(copy)
    }

    fn inline(&self, heredoc: &Heredoc) -> Result<(String, String)> {
        let text = match heredoc.expands {
            true => expand_text(&heredoc.text, self.plan.escape, &|name| self.lookup(name))?,
            false => heredoc.text.clone(),
        };
        Ok((heredoc.name.clone(), text))
    }

    /// The destination as an absolute path that ends in a slash where what was typed can only be a directory.
    fn target(&self, typed: &str) -> String {
        let is_directory = typed.ends_with('/')
            || matches!(typed, "." | "..")
            || typed.ends_with("/.")
            || typed.ends_with("/..");
        let path = clean(&self.below_workdir(typed));
        if is_directory && path != "/" { format!("{path}/") } else { path }
    }
}

impl Copy {
    /// One of nothing to nowhere, without options.
    pub(crate) fn nothing(unpack: Unpack) -> Self {
        Self {
            unpack,
            from: None,
            sources: Vec::new(),
            urls: Vec::new(),
            repositories: Vec::new(),
            inline: Vec::new(),
            target: String::new(),
            owner: None,
            mode: None,
            parents: false,
            exclude: Ignore::default(),
            checksum: None,
            keeps_git: false,
        }
    }

    /// Refuses what does not go together.
    fn check(self, word: &str) -> Result<Self> {
        let fetched = self.urls.len() + self.repositories.len();
        let count = self.sources.len() + self.inline.len() + fetched;
        if count > 1 && !self.target.ends_with('/') {
            return Err(format!(
                "When using {word} with more than one source file, the destination must be a directory and end with a /"
            ));
        }
        if self.checksum.is_some() && count > 1 {
            return Err("checksum can't be specified for multiple sources".to_owned());
        }
        if self.checksum.is_some() && self.urls.is_empty() {
            return Err("checksum can't be specified for non-HTTP(S) sources".to_owned());
        }
        if self.target.ends_with('/') {
            self.check_names()?;
        }
        Ok(self)
    }

    /// Refuses a URL that says no name for the file, which is to go into a directory.
    pub(crate) fn check_names(&self) -> Result<()> {
        match self.urls.iter().find(|url| file_name(url).is_none()) {
            Some(url) => Err(format!("cannot determine filename for source {}", without_user(url))),
            None => Ok(()),
        }
    }
}

/// What the file at a URL is called: the last name of its path, if it can be that of a file.
pub(crate) fn file_name(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    let (_, path) = rest[..end].split_once('/')?;
    let name = decoded(path.trim_end_matches('/').rsplit('/').next()?);
    (!matches!(name.as_str(), "" | "." | "..") && !name.contains(['/', '\0'])).then_some(name)
}

/// Whether a word is the URL of a file.
pub(crate) fn is_url(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

fn truth(value: &Option<String>) -> Option<bool> {
    match value.as_deref() {
        None | Some("true" | "1") => Some(true),
        Some("false" | "0") => Some(false),
        Some(_) => None,
    }
}

fn checksum(text: &str) -> Result<Digest> {
    let parsed: std::result::Result<Digest, _> = text.parse();
    parsed.map_err(|error| format!("invalid checksum {text}: {error}"))
}
