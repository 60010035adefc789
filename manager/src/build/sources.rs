//! What COPY and ADD copy: the files that their words name, listed with a digest of each before anything is touched.
//!
//! Every path is resolved under a descriptor of the tree's root; links on the way, and the last one, lead to places in that tree.
//! Links within a directory that is copied are copied, not followed.

use super::ignore::{Ignore, Selection};
use crate::cp::attributes::xattrs;
use crate::cp::place::{Found, Place, Root};
use crate::error::{Error, Result};
use crate::path;
use crate::pattern;
use bundle::digest::{Algorithm, Digest, Hasher};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, statat};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};

/// What is open to read a directory.
const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The tree that is copied from.
pub(super) struct Tree<'a> {
    /// Its root.
    pub(super) root: BorrowedFd<'a>,
    /// What messages call it.
    pub(super) name: &'a str,
    /// What of it there is not, for whoever copies.
    pub(super) ignore: Option<&'a Ignore>,
    /// `--exclude`: what is left out besides, by paths from each source on; of a source that is a file, by its name.
    pub(super) exclude: Option<&'a Ignore>,
    /// Files keep their owners, which therefore count.
    pub(super) owned: bool,
}

/// One source.
#[derive(Debug)]
pub(super) struct Source {
    /// What it is called where it is copied into a directory.
    pub(super) name: String,
    /// Where it is.
    pub(super) place: Place,
    /// Its files by their paths below it, each with a digest of what it is; itself by an empty path.
    pub(super) entries: BTreeMap<Vec<u8>, Digest>,
    /// How it differs from a path in a tree.
    pub(super) kind: SourceKind,
    /// What it is for a step's key, if that is not what is in it.
    pub(super) identity: Option<String>,
}

/// What a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SourceKind {
    /// A path in a tree.
    Path,
    /// The root of a context. Where a context lies, and how that place looks, is not what it is.
    Root,
    /// A directory of which some files are copied with the directories that lead to them (`--parents`).
    WithParents,
    /// A file that was fetched from elsewhere.
    Fetched,
}

/// A directory that is being listed.
struct Level {
    directory: OwnedFd,
    path: Vec<u8>,
    names: Vec<Vec<u8>>,
    digest: Digest,
}

impl Source {
    /// Whether it is a directory, of which the contents are copied.
    pub(super) fn is_directory(&self) -> bool {
        self.place.found == Found::Directory
    }

    /// All that it is.
    pub(super) fn digest(&self) -> Digest {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(self.name.as_bytes());
        // ADD unpacks an archive of the context, and not one that was fetched.
        if self.kind == SourceKind::Fetched {
            hasher.update(b"\0fetched");
        }
        if let Some(identity) = &self.identity {
            hasher.update(b"\0");
            hasher.update(identity.as_bytes());
            return hasher.finish();
        }
        for (path, digest) in &self.entries {
            hasher.update(b"\0");
            hasher.update(path);
            hasher.update(b"\0");
            hasher.update(digest.as_str().as_bytes());
        }
        hasher.finish()
    }
}

impl Tree<'_> {
    /// The sources that a word names. A pattern may fit none: that is how files are named which need not be there.
    pub(super) fn find(&self, word: &str) -> Result<Vec<Source>> {
        if !is_pattern(word) {
            return Ok(vec![self.find_one(word)?]);
        }
        let mut sources = Vec::new();
        for path in self.fitting(&path::names(word))? {
            sources.extend(self.source(&path, word)?);
        }
        Ok(sources)
    }

    /// The files that a word names, which may be a pattern, with the directories that lead to them: from the root on, or from
    /// where `/./` stands in the word. As in [`find`](Self::find), a pattern may fit none.
    pub(super) fn find_with_parents(&self, word: &str) -> Result<Option<Source>> {
        let none = || if is_pattern(word) { Ok(None) } else { Err(self.nothing(word)) };
        let path = word.trim_start_matches('/');
        let (start, selection) = path.split_once("/./").unwrap_or(("", path));
        let selection = Selection::of(selection).map_err(Error::refusal)?;
        let place = match self.locate(&path::names(start).join("/")) {
            Ok(place) if place.found == Found::Directory => place,
            Ok(_) | Err(Error::Rejected { .. }) => return none(),
            Err(error) => return Err(error),
        };
        let real = self.real(&place).map_err(self.fault(start.as_bytes()))?;
        let mut entries = BTreeMap::new();
        self.walk(&place, &real, Some(&selection), &mut entries)?;
        if entries.len() < 2 {
            return none();
        }
        Ok(Some(Source {
            name: String::new(),
            place,
            entries,
            kind: SourceKind::WithParents,
            identity: None,
        }))
    }

    /// The one source at a path, which is no pattern.
    pub(super) fn find_one(&self, path: &str) -> Result<Source> {
        let found = self.source(&path::names(path).join("/"), path)?;
        found.ok_or_else(|| self.nothing(path))
    }

    /// What is told of words that name nothing.
    pub(super) fn nothing(&self, word: &str) -> Error {
        let hint = self.ignore.filter(|ignore| ignore.leaves_out(&path::names(word).join("/")));
        Error::Rejected {
            message: format!("\"{word}\" was not found in {}", self.name),
            hint: hint.map(|_| "`.dockerignore` leaves it out".to_owned()),
        }
    }

    /// What is told of a tree that is no longer what a key says of it.
    pub(super) fn has_changed(&self) -> Error {
        Error::Rejected {
            message: format!("{} has changed while it was copied", self.name),
            hint: Some("build again".to_owned()),
        }
    }

    fn fault(&self, path: &[u8]) -> impl Fn(Errno) -> Error {
        let text = format!("read `{}` of {}", String::from_utf8_lossy(path), self.name);
        move |errno| Error::system(text.clone())(errno)
    }

    /// The paths that fit a pattern, name by name.
    fn fitting(&self, pattern: &[&str]) -> Result<Vec<String>> {
        let mut paths = vec![String::new()];
        for part in pattern {
            let mut next = Vec::new();
            for path in &paths {
                let below = |name: &str| match path.as_str() {
                    "" => name.to_owned(),
                    path => format!("{path}/{name}"),
                };
                if !part.contains(['*', '?', '[', '\\']) {
                    next.push(below(part));
                    continue;
                }
                let Ok(place) = self.locate(path) else { continue };
                let Ok(directory) = place.open_directory() else { continue };
                let names = list(&directory).map_err(self.fault(path.as_bytes()))?;
                let names = names.into_iter().filter_map(|name| String::from_utf8(name).ok());
                next.extend(
                    names.filter(|name| pattern::fits(part, name)).map(|name| below(&name)),
                );
            }
            paths = next;
        }
        Ok(paths)
    }

    fn locate(&self, path: &str) -> Result<Place> {
        let root = Root::Container { root: self.root, name: self.name };
        Ok(root.source(&format!("/{path}"), true)?.place)
    }

    /// What is at a path; nothing if it is not there, or left out.
    fn source(&self, path: &str, word: &str) -> Result<Option<Source>> {
        let place = match self.locate(path) {
            Ok(place) => place,
            Err(Error::Rejected { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        // Where links have led to is where it counts whether it is left out.
        let real = self.real(&place).map_err(self.fault(path.as_bytes()))?;
        let mut entries = BTreeMap::new();
        if place.found == Found::Directory {
            self.walk(&place, &real, None, &mut entries)?;
            let keeps = self.keeps(&real) || entries.len() > 1;
            if !keeps && !real.is_empty() {
                return Ok(None);
            }
        } else {
            let name = path.rsplit('/').next().unwrap_or_default();
            if word.ends_with('/') || !self.keeps(&real) || self.excludes(name) {
                return Ok(None);
            }
            if let Some(digest) = self.entry(&place.parent, &place.name, path.as_bytes())? {
                entries.insert(Vec::new(), digest);
            }
        }
        let name = path.rsplit('/').next().unwrap_or_default().to_owned();
        let is_root = place.found == Found::Directory && self.is_root(&real);
        let kind = if is_root { SourceKind::Root } else { SourceKind::Path };
        Ok(Some(Source { name, place, entries, kind, identity: None }))
    }

    /// Whether the directory at a path without links is the root of a context.
    fn is_root(&self, real: &str) -> bool {
        self.ignore.is_some() && real.is_empty()
    }

    fn keeps(&self, path: &str) -> bool {
        self.ignore.is_none_or(|ignore| path.is_empty() || !ignore.leaves_out(path))
    }

    fn excludes(&self, path: &str) -> bool {
        self.exclude.is_some_and(|exclude| exclude.leaves_out(path))
    }

    /// Whether something below a directory that is left out can be taken back in.
    fn may_take_back(&self) -> bool {
        [self.ignore, self.exclude].into_iter().flatten().any(Ignore::may_take_back)
    }

    /// The path of a place from the root on, without links.
    fn real(&self, place: &Place) -> std::result::Result<String, Errno> {
        if self.ignore.is_none() {
            return Ok(String::new());
        }
        let root = path_of(self.root.as_raw_fd())?;
        let parent = path_of(place.parent.as_raw_fd())?;
        let below = parent.strip_prefix(root.trim_end_matches('/')).unwrap_or(&parent);
        let whole = format!("{below}/{}", String::from_utf8_lossy(&place.name));
        Ok(path::names(&whole).join("/"))
    }

    /// Lists what is below a directory. There is no recursion: a tree may be deeper than the stack.
    fn walk(
        &self,
        place: &Place,
        real: &str,
        selection: Option<&Selection>,
        entries: &mut BTreeMap<Vec<u8>, Digest>,
    ) -> Result<()> {
        let top = place.open_directory().map_err(self.fault(&place.name))?;
        let mut first = self.level(top, Vec::new())?;
        if self.is_root(real) {
            first.digest = Digest::of(b"the root of a context");
        }
        entries.insert(Vec::new(), first.digest.clone());
        let mut levels = vec![first];
        while let Some(level) = levels.last_mut() {
            let Some(name) = level.names.pop() else {
                levels.pop();
                continue;
            };
            let child = match &level.path[..] {
                [] => name.clone(),
                path => [path, b"/", &name].concat(),
            };
            let text = String::from_utf8_lossy(&child);
            let whole = if real.is_empty() { text.to_string() } else { format!("{real}/{text}") };
            let left_out = !self.keeps(&whole) || self.excludes(&text);
            let selected = selection.is_none_or(|selection| selection.has(&text));
            let leads_on = selection.is_none_or(|selection| selection.may_be_below(&text));
            if left_out && !self.may_take_back() || !selected && !leads_on {
                continue;
            }
            let below = openat(&level.directory, &name[..], DIRECTORY, Mode::empty());
            if selected
                && !left_out
                && let Some(digest) = self.entry(&level.directory, &name, &child)?
            {
                // With the directories that lead to it, which may be left out themselves.
                for level in &levels {
                    entries.entry(level.path.clone()).or_insert_with(|| level.digest.clone());
                }
                entries.insert(child.clone(), digest);
            }
            if let Ok(below) = below {
                levels.push(self.level(below, child)?);
            }
        }
        Ok(())
    }

    fn level(&self, directory: OwnedFd, path: Vec<u8>) -> Result<Level> {
        let digest = self.opened(&directory, b"").map_err(self.fault(&path))?;
        let names = list(&directory).map_err(self.fault(&path))?;
        Ok(Level { directory, path, names, digest })
    }

    /// The digest of what an open file or directory is.
    fn opened(&self, file: &OwnedFd, content: &[u8]) -> std::result::Result<Digest, Errno> {
        Ok(describe(&fstat(file)?, self.owned, &xattrs(file)?, content))
    }

    /// The digest of what one entry is; nothing for what is not copied.
    fn entry(&self, parent: &OwnedFd, name: &[u8], path: &[u8]) -> Result<Option<Digest>> {
        let fault = self.fault(path);
        let stat = match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(None),
            stat => stat.map_err(&fault)?,
        };
        Ok(Some(match FileType::from_raw_mode(stat.st_mode) {
            FileType::Socket | FileType::Unknown => return Ok(None),
            FileType::Symlink => {
                let target = readlinkat(parent, name, Vec::new()).map_err(&fault)?;
                describe(&stat, self.owned, &[], target.as_bytes())
            }
            FileType::Directory => {
                let directory = openat(parent, name, DIRECTORY, Mode::empty()).map_err(&fault)?;
                self.opened(&directory, b"").map_err(&fault)?
            }
            FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let file = openat(parent, name, flags, Mode::empty()).map_err(&fault)?;
                let again = file.try_clone().map(File::from);
                let content = again.and_then(content).map_err(|error| {
                    Error::system(format!(
                        "read `{}` of {}",
                        String::from_utf8_lossy(path),
                        self.name
                    ))(error)
                })?;
                self.opened(&file, content.as_str().as_bytes()).map_err(&fault)?
            }
            FileType::CharacterDevice | FileType::BlockDevice => {
                describe(&stat, self.owned, &[], &stat.st_rdev.to_le_bytes())
            }
            _ => describe(&stat, self.owned, &[], b""),
        }))
    }
}

/// Whether a word is a pattern of paths.
fn is_pattern(word: &str) -> bool {
    word.contains(['*', '?', '['])
}

/// What an entry is, without its time.
fn describe(stat: &Stat, owned: bool, xattrs: &[(Vec<u8>, Vec<u8>)], content: &[u8]) -> Digest {
    let owner = if owned { (stat.st_uid, stat.st_gid) } else { (0, 0) };
    let mut text = format!("{:o} {} {} ", stat.st_mode, owner.0, owner.1).into_bytes();
    for (name, value) in xattrs {
        text.extend(format!("{} {} ", name.len(), value.len()).into_bytes());
        text.extend([&name[..], value].concat());
    }
    text.extend_from_slice(content);
    Digest::of(&text)
}

fn content(mut file: File) -> std::io::Result<Digest> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut buffer = vec![0; 128 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            length => hasher.update(&buffer[..length]),
        }
    }
}

fn path_of(fd: i32) -> std::result::Result<String, Errno> {
    let path = rustix::fs::readlink(format!("/proc/self/fd/{fd}"), Vec::new())?;
    Ok(path.to_string_lossy().into_owned())
}

/// The names in a directory, in no order that means anything but the same each time: the last comes first off the end.
fn list(directory: &OwnedFd) -> std::result::Result<Vec<Vec<u8>>, Errno> {
    let mut names = sys::directory::names(directory)?;
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::fd::AsFd as _;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    struct Files {
        directory: tempfile::TempDir,
        root: OwnedFd,
    }

    fn files() -> Files {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        fs::create_dir_all(root.join("docs/deep")).unwrap();
        for name in ["a.txt", "b.txt", "docs/c.txt", "docs/deep/d.md"] {
            fs::write(root.join(name), name).unwrap();
        }
        fs::write(directory.path().join("secret"), "host").unwrap();
        let root = rustix::fs::open(&root, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty());
        Files { directory, root: root.unwrap() }
    }

    impl Files {
        fn find(&self, ignore: &str, word: &str) -> Result<Vec<Source>> {
            let ignore = Ignore::parse(ignore).unwrap();
            let tree = Tree {
                root: self.root.as_fd(),
                name: "the build context",
                ignore: Some(&ignore),
                exclude: None,
                owned: false,
            };
            tree.find(word)
        }

        /// What is found with these patterns of `--exclude`, with `--parents` or without.
        fn chosen(&self, exclude: &[&str], parents: bool, word: &str) -> Result<Vec<String>> {
            let exclude: Vec<String> = exclude.iter().map(ToString::to_string).collect();
            let exclude = Ignore::of(&exclude).unwrap();
            let tree = Tree {
                root: self.root.as_fd(),
                name: "the build context",
                ignore: None,
                exclude: Some(&exclude),
                owned: false,
            };
            let sources = match parents {
                true => tree.find_with_parents(word)?.into_iter().collect(),
                false => tree.find(word)?,
            };
            let paths = sources
                .iter()
                .flat_map(|source| source.entries.keys().map(|path| (source.name.as_str(), path)));
            let shown =
                paths.map(|(name, path)| format!("{name}:{}", String::from_utf8_lossy(path)));
            Ok(shown.collect())
        }

        fn names(&self, ignore: &str, word: &str) -> Vec<String> {
            self.find(ignore, word).unwrap().into_iter().map(|source| source.name).collect()
        }

        fn paths(&self, ignore: &str, word: &str) -> Vec<String> {
            let sources = self.find(ignore, word).unwrap();
            let paths = sources[0].entries.keys();
            paths.map(|path| String::from_utf8(path.clone()).unwrap()).collect()
        }

        fn at(&self, name: &str) -> std::path::PathBuf {
            self.directory.path().join("root").join(name)
        }
    }

    #[test]
    fn patterns_name_what_fits_and_is_not_left_out() {
        let files = files();
        assert_eq!(files.names("", "*.txt"), ["a.txt", "b.txt"]);
        assert_eq!(files.names("b*", "/*.txt"), ["a.txt"]);
        assert_eq!(files.names("", "d*/[a-c].txt"), ["c.txt"]);
        assert_eq!(files.names("", "../../a.txt"), ["a.txt"]);
        assert!(files.names("", "*.nope").is_empty() && files.names("a*", "[a].txt").is_empty());
        let error = files.find("a.txt", "a.txt").unwrap_err();
        assert_eq!(error.to_string(), "\"a.txt\" was not found in the build context");
        assert_eq!(error.hint().as_deref(), Some("`.dockerignore` leaves it out"));
        assert!(files.find("", "a.txt/").is_err());
    }

    #[test]
    fn a_directory_is_what_is_in_it_and_not_left_out() {
        let files = files();
        let all = ["", "a.txt", "b.txt", "docs", "docs/c.txt", "docs/deep", "docs/deep/d.md"];
        assert_eq!(files.paths("", "."), all);
        assert_eq!(files.paths("docs", "."), ["", "a.txt", "b.txt"]);
        // What is taken back in brings the way to it.
        let back = ["", "docs", "docs/deep", "docs/deep/d.md"];
        assert_eq!(files.paths("*\n!docs/deep/d.md", "."), back);
        assert_eq!(files.paths("**/*.md", "docs"), ["", "c.txt", "deep"]);
        assert!(files.find("docs", "docs").is_err());
    }

    #[test]
    fn what_is_excluded_counts_from_each_source_on() {
        let files = files();
        let chosen = |exclude: &[&str], word: &str| files.chosen(exclude, false, word);
        assert_eq!(chosen(&["a*"], "*.txt").unwrap(), ["b.txt:"]);
        assert_eq!(chosen(&["deep", "x"], "docs").unwrap(), ["docs:", "docs:c.txt"]);
        assert_eq!(
            chosen(&["**", "!deep/*.md"], "docs").unwrap(),
            ["docs:", "docs:deep", "docs:deep/d.md"]
        );
        assert!(chosen(&["docs"], "docs").is_ok_and(|found| found.len() == 4));
        assert!(chosen(&["*.txt"], "a.txt").is_err());
    }

    #[test]
    fn parents_are_those_from_the_root_or_from_the_dot_on() {
        let files = files();
        let chosen = |word: &str| files.chosen(&["b*"], true, word);
        assert_eq!(
            chosen("docs/deep/d.md").unwrap(),
            [":", ":docs", ":docs/deep", ":docs/deep/d.md"]
        );
        assert_eq!(chosen("./docs/./deep").unwrap(), [":", ":deep", ":deep/d.md"]);
        assert_eq!(chosen("/docs/./*.txt").unwrap(), [":", ":c.txt"]);
        assert_eq!(chosen("**/*.txt").unwrap(), [":", ":a.txt", ":docs", ":docs/c.txt"]);
        assert!(chosen("docs/*.md").unwrap().is_empty() && chosen("nope/./*").unwrap().is_empty());
        for nothing in ["nope", "a.txt/./x", "nope/./x", "b.txt"] {
            let refused = chosen(nothing).unwrap_err().to_string();
            assert_eq!(refused, format!("\"{nothing}\" was not found in the build context"));
        }
        symlink("../..", files.at("docs/up")).unwrap();
        // The link leads to the root of the context and no further.
        assert!(chosen("docs/up/./secret").is_err());
        assert_eq!(chosen("docs/up/./a.txt").unwrap(), [":", ":a.txt"]);
    }

    #[test]
    fn links_lead_to_places_in_the_context_and_are_copied_within_directories() {
        let files = files();
        symlink("/a.txt", files.at("inside")).unwrap();
        symlink("../secret", files.at("outside")).unwrap();
        symlink(files.directory.path().join("secret"), files.at("docs/absolute")).unwrap();
        symlink("docs", files.at("way")).unwrap();
        let digest = |word: &str| files.find("", word).unwrap()[0].entries[&Vec::new()].clone();
        assert_eq!(digest("inside"), digest("a.txt"));
        assert!(files.find("", "outside").is_err());
        assert!(files.find("", "docs/absolute").is_err());
        assert!(files.paths("", "docs").contains(&"absolute".to_owned()));
        assert_eq!(digest("way/c.txt"), digest("docs/c.txt"));
        // What a link leads to is left out if its own path is.
        assert!(files.find("docs", "way/c.txt").is_err());
        assert!(files.find("a.txt", "inside").is_err());
    }

    #[test]
    fn the_digest_is_of_names_contents_modes_and_attributes_and_not_of_times() {
        let files = files();
        let digest = || files.find("", "docs").unwrap()[0].digest();
        let first = digest();
        fs::write(files.at("docs/c.txt"), "docs/c.txt").unwrap();
        assert_eq!(digest(), first);
        fs::set_permissions(files.at("docs/c.txt"), fs::Permissions::from_mode(0o600)).unwrap();
        let moded = digest();
        assert_ne!(moded, first);
        let path = files.at("docs/deep");
        rustix::fs::setxattr(&path, "user.of", b"it", rustix::fs::XattrFlags::empty()).unwrap();
        let marked = digest();
        assert_ne!(marked, moded);
        rustix::fs::removexattr(&path, "user.of").unwrap();
        assert_eq!(digest(), moded);
        fs::write(files.at("docs/c.txt"), "other").unwrap();
        assert_ne!(digest(), moded);
        let [local, fetched] = [SourceKind::Path, SourceKind::Fetched]
            .map(|kind| Source { kind, ..files.find("", "a.txt").unwrap().remove(0) }.digest());
        assert_ne!(local, fetched);
    }
}
