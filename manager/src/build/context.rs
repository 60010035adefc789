//! The build context: the files that can be copied, and the Dockerfile.
//!
//! The files are somebody else's: whatever is opened by a name in them is opened under a descriptor of their root, out of which
//! no link leads. A file that the command line names is its user's own.

use super::fetch::Fetcher;
use super::git::Repository;
use super::ignore::Ignore;
use super::sources::Tree;
use super::state::is_url;
use super::workshop::Workshop;
use crate::error::{Error, Result};
use crate::registry::without_user;
use bundle::layer::{self, Accepted, Limits, Options, Whiteouts};
use rustix::fs::{FileType, Mode, OFlags, fstat};
use rustix::io::Errno;
use std::ffi::CString;
use std::fs::File;
use std::io::{Cursor, Read};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::string::FromUtf8Error;
use sys::beneath;

/// Where in the session a context is kept that comes from elsewhere.
const CONTEXT: &str = "context";
/// The names under which a Dockerfile is looked for, in this order.
const NAMES: [&str; 2] = ["Dockerfile", "Containerfile"];
/// A Dockerfile, or a list of what is ignored, is never longer.
const LARGEST: u64 = 4 << 20;
/// As much of a stream as tells an archive from a Dockerfile.
const HEAD: u64 = 512;

/// Files that can be copied.
#[derive(Debug)]
pub(super) struct Files {
    root: OwnedFd,
    /// What of them is left out.
    ignore: Ignore,
    /// What messages call them.
    name: String,
}

/// The context.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) files: Files,
    /// What messages call the Dockerfile.
    pub(super) name: String,
    /// The Dockerfile's text.
    pub(super) text: String,
}

impl Files {
    /// Opens what `--build-context` calls `name`; `at` makes its place in the session another one than those of others.
    pub(super) fn open(
        name: &str,
        path: &Path,
        at: usize,
        workshop: &Workshop<'_>,
        fetcher: &Fetcher<'_>,
    ) -> Result<Self> {
        let shown = format!("the build context `{name}`");
        let root = match remote(path, &format!("{CONTEXT}-{at}"), workshop, fetcher)? {
            None => open_root(path)?,
            Some(Streamed::Files(root)) => root,
            Some(Streamed::Text(..)) => {
                return Err(Error::refusal(format!("{shown} is no archive")));
            }
        };
        let list = read(root.as_fd(), ".dockerignore")?;
        Self::with(root, list.as_deref(), &shown)
    }

    fn with(root: OwnedFd, list: Option<&str>, name: &str) -> Result<Self> {
        let ignore = Ignore::parse(list.unwrap_or_default()).map_err(|why| {
            Error::refusal(format!("error checking context: .dockerignore: {why}"))
        })?;
        Ok(Self { root, ignore, name: name.to_owned() })
    }

    /// The files, without what is left out.
    pub(super) fn tree(&self) -> Tree<'_> {
        Tree {
            root: self.root.as_fd(),
            name: &self.name,
            ignore: Some(&self.ignore),
            exclude: None,
            owned: false,
        }
    }
}

impl Context {
    /// Opens the context that was named, and finds the Dockerfile. What comes from stdin or a URL is kept in the build's session.
    pub(super) fn open(
        context: &Path,
        file: Option<&Path>,
        workshop: &Workshop<'_>,
        fetcher: &Fetcher<'_>,
    ) -> Result<Self> {
        let is_stdin = |path: &Path| path.as_os_str() == "-";
        if is_stdin(context) && file.is_some_and(is_stdin) {
            return Err(Error::refusal(
                "invalid argument: can't use stdin for both build context and dockerfile",
            ));
        }
        let (root, is_elsewhere) = if is_stdin(context) {
            match unpacked(std::io::stdin(), "the build context from stdin", CONTEXT, workshop)? {
                Streamed::Files(root) => (root, true),
                Streamed::Text(root, text) => {
                    return Self::with(root, "Dockerfile".to_owned(), text, None);
                }
            }
        } else {
            match remote(context, CONTEXT, workshop, fetcher)? {
                None => (open_root(context)?, false),
                Some(Streamed::Files(root)) => (root, true),
                Some(Streamed::Text(root, text)) => {
                    return Self::with(root, "Dockerfile".to_owned(), text, None);
                }
            }
        };
        match file {
            Some(file) if is_stdin(file) => {
                let text = limited(std::io::stdin(), "the Dockerfile on stdin")?;
                Self::with(root, "Dockerfile".to_owned(), text, None)
            }
            // Relative to where we are, or else to the context, as with either of Docker's builders.
            Some(file) if !is_elsewhere && file.exists() => {
                let text = File::open(file).map_err(Error::io("open", file))?;
                let text = limited(text, &file.display().to_string())?;
                let beside = format!("{}.dockerignore", file.display());
                let beside = match File::open(&beside) {
                    Ok(file) => Some(limited(file, &beside)?),
                    Err(_) => None,
                };
                Self::with(root, file.display().to_string(), text, beside)
            }
            file if is_elsewhere => Self::within(root, file, "the build context"),
            file => Self::within(root, file, &context.display().to_string()),
        }
    }

    /// The Dockerfile is one of the context's files.
    fn within(root: OwnedFd, file: Option<&Path>, context: &str) -> Result<Self> {
        let names: Vec<String> = match file {
            Some(file) => vec![file.display().to_string()],
            None => NAMES.map(str::to_owned).to_vec(),
        };
        for name in &names {
            if let Some(text) = read(root.as_fd(), name)? {
                let beside = read(root.as_fd(), &format!("{name}.dockerignore"))?;
                return Self::with(root, name.clone(), text, beside);
            }
        }
        Err(Error::Rejected {
            message: format!(
                "cannot find a Dockerfile: there is no `{}` in {context}",
                names.join("` or `")
            ),
            hint: Some("`-f FILE` names another one".to_owned()),
        })
    }

    /// A list beside the Dockerfile, of its name, comes before the context's own.
    fn with(root: OwnedFd, name: String, text: String, beside: Option<String>) -> Result<Self> {
        let list = match beside {
            Some(list) => Some(list),
            None => read(root.as_fd(), ".dockerignore")?,
        };
        let files = Files::with(root, list.as_deref(), "the build context")?;
        Ok(Self { files, name, text })
    }
}

/// What a stream has brought.
enum Streamed {
    /// An archive, unpacked.
    Files(OwnedFd),
    /// A Dockerfile, and a directory without files.
    Text(OwnedFd, String),
}

/// What a context is that is not here: a repository, an archive or a Dockerfile alone, kept under `name` in the session. Nothing for a path.
fn remote(
    context: &Path,
    name: &str,
    workshop: &Workshop<'_>,
    fetcher: &Fetcher<'_>,
) -> Result<Option<Streamed>> {
    let text = context.to_string_lossy();
    if context.exists() {
        return Ok(None);
    }
    if let Some(repository) = Repository::of_context(&text) {
        let directory = workshop.emptied(name, 0o755)?;
        fetcher.check_out(&repository, false, &directory)?;
        let root = open_root(&directory)?;
        let below = repository.directory.trim_matches('/');
        let path = CString::new(if below.is_empty() { "." } else { below });
        let path = path.map_err(|_| Error::refusal("a path cannot contain a NUL byte"))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let opened = beneath::open(root.as_fd(), &path, flags, Mode::empty());
        let failed = Error::system(format!("open `{below}` of `{}`", repository.shown()));
        return opened.map(|root| Some(Streamed::Files(root))).map_err(failed);
    }
    if !is_url(&text) {
        return Ok(None);
    }
    let shown = format!("the build context at `{}`", without_user(&text));
    let download = fetcher.open(&text, "build from")?;
    unpacked(download, &shown, name, workshop).map(Some)
}

/// Unpacks a stream that is an archive, or takes it for a Dockerfile.
fn unpacked(
    mut stream: impl Read + Send,
    shown: &str,
    name: &str,
    workshop: &Workshop<'_>,
) -> Result<Streamed> {
    let mut head = Vec::new();
    let read = stream.by_ref().take(HEAD).read_to_end(&mut head);
    read.map_err(Error::system(format!("read {shown}")))?;
    let is_archive = looks_like_an_archive(&head);
    let all = Cursor::new(head).chain(stream);
    let root = open_root(&workshop.emptied(name, 0o755)?)?;
    if !is_archive {
        return Ok(Streamed::Text(root, limited(all, shown)?));
    }
    let options = Options {
        whiteouts: Whiteouts::None,
        owners: false,
        devices: false,
        accepted: Accepted::Archives,
        limits: Limits::on_disk(&root),
        ..Options::default()
    };
    layer::unpack(all, root.as_fd(), &options).map_err(|error| Error::Rejected {
        message: format!("cannot unpack {shown}: {error}"),
        hint: error.hint(),
    })?;
    Ok(Streamed::Files(root))
}

fn open_root(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| match errno {
        Errno::NOENT => Error::refusal(format!(
            "unable to prepare context: path \"{}\" not found",
            path.display()
        )),
        Errno::NOTDIR => Error::refusal(format!(
            "unable to prepare context: context must be a directory: {}",
            path.display()
        )),
        errno => Error::io("open", path)(errno),
    })
}

/// Whether a stream brings an archive: a header of tar, or the beginning of what compresses one.
fn looks_like_an_archive(head: &[u8]) -> bool {
    let magic: [&[u8]; 4] = [b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"];
    magic.iter().any(|magic| head.starts_with(magic))
        || layer::is_archive(Cursor::new(head.to_vec()))
}

/// A text file of the context, if it has one. Where it lies, no link leads out of the context.
fn read(root: BorrowedFd<'_>, name: &str) -> Result<Option<String>> {
    let refused =
        |why: &str| Error::refusal(format!("cannot read `{name}` of the build context: {why}"));
    let path = name.trim_start_matches('/');
    let path = CString::new(path).map_err(|_| refused("a path cannot contain a NUL byte"))?;
    // A pipe would make a blocking open wait for ever.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = match beneath::open(root, &path, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(errno) => {
            return Err(Error::system(format!("read `{name}` of the build context"))(errno));
        }
    };
    let stat =
        fstat(&file).map_err(Error::system(format!("read `{name}` of the build context")))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(refused("it is not a regular file"));
    }
    limited(File::from(file), name).map(Some)
}

fn limited(file: impl Read, name: &str) -> Result<String> {
    let mut text = Vec::new();
    let read = file.take(LARGEST + 1).read_to_end(&mut text);
    read.map_err(Error::system(format!("read {name}")))?;
    if text.len() as u64 > LARGEST {
        return Err(Error::refusal(format!("cannot read {name}: it is larger than 4 MiB")));
    }
    String::from_utf8(text).map_err(|error| not_utf8(name, &error))
}

/// That a file is no text, and from which line on.
fn not_utf8(name: &str, error: &FromUtf8Error) -> Error {
    let (bytes, good) = (error.as_bytes(), error.utf8_error().valid_up_to());
    let line = 1 + bytes[..good].iter().filter(|byte| **byte == b'\n').count();
    let is_utf16 = [[0xff, 0xfe], [0xfe, 0xff]].iter().any(|mark| bytes.starts_with(mark));
    Error::Rejected {
        message: format!("cannot read {name}: line {line} is not UTF-8"),
        hint: is_utf16
            .then(|| "it is UTF-16, as PowerShell writes files: save it as UTF-8".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::TlsArgs;
    use crate::store::Store;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// Opens a context of files that are here.
    fn open(root: &Path, file: Option<&Path>) -> Result<Context> {
        let store = tempfile::tempdir().unwrap();
        let store = Store::open(store.path()).unwrap();
        let staging = store.stage().unwrap();
        let workshop = Workshop { store: &store, staging: &staging };
        let fetcher = Fetcher { tls: &TlsArgs::default(), agent: None };
        Context::open(root, file, &workshop, &fetcher)
    }

    #[test]
    fn the_dockerfile_is_found_by_its_names_with_the_list_that_is_its_own() {
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("files");
        fs::create_dir(&root).unwrap();
        let open = |file: Option<&str>| open(&root, file.map(Path::new));
        let error = open(None).unwrap_err().to_string();
        assert!(error.contains("no `Dockerfile` or `Containerfile`"), "{error}");
        fs::write(root.join("Containerfile"), "FROM c").unwrap();
        assert_eq!(open(None).unwrap().text, "FROM c");
        fs::write(root.join("Dockerfile"), "FROM d").unwrap();
        fs::write(root.join(".dockerignore"), "all").unwrap();
        let context = open(None).unwrap();
        assert_eq!((context.name.as_str(), context.text.as_str()), ("Dockerfile", "FROM d"));
        assert!(context.files.ignore.leaves_out("all"));
        fs::write(root.join("Dockerfile.dockerignore"), "own").unwrap();
        let context = open(None).unwrap();
        assert!(context.files.ignore.leaves_out("own") && !context.files.ignore.leaves_out("all"));
        // By a path from here, or from the context.
        let other = root.join("Containerfile");
        assert_eq!(open(other.to_str()).unwrap().text, "FROM c");
        assert_eq!(open(Some("Containerfile")).unwrap().text, "FROM c");
    }

    #[test]
    fn links_in_the_context_lead_to_nothing_outside() {
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("files");
        fs::create_dir(&root).unwrap();
        fs::write(parent.path().join("outside"), "FROM outside").unwrap();
        symlink(parent.path().join("outside"), root.join("Dockerfile")).unwrap();
        assert!(open(&root, None).is_err());
        fs::remove_file(root.join("Dockerfile")).unwrap();
        symlink("../outside", root.join("Dockerfile")).unwrap();
        assert!(open(&root, None).is_err());
        let fifo = root.join("Containerfile");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, Mode::RUSR).unwrap();
        let error = open(&root, None).unwrap_err().to_string();
        assert!(error.contains("it is not a regular file"), "{error}");
    }

    #[test]
    fn an_archive_is_told_from_a_dockerfile() {
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(1);
        archive.append_data(&mut header, "x", &b"y"[..]).unwrap();
        assert!(looks_like_an_archive(&archive.into_inner().unwrap()));
        assert!(looks_like_an_archive(b"\x1f\x8bwhatever"));
        for text in [&b"FROM x\n"[..], b"", b"# comment"] {
            assert!(!looks_like_an_archive(text));
        }
    }

    #[test]
    fn a_dockerfile_that_is_no_text_is_told_with_its_line() {
        let refused = |bytes: &[u8]| limited(bytes, "Dockerfile").unwrap_err();
        let error = refused(b"FROM x\nRUN \xe4\n");
        assert_eq!(error.to_string(), "cannot read Dockerfile: line 2 is not UTF-8");
        assert_eq!(error.hint(), None);
        assert!(refused(b"\xff\xfeF\0").hint().unwrap().contains("UTF-16"));
        assert_eq!(limited(&b"FROM \xc3\xa4"[..], "x").unwrap(), "FROM \u{e4}");
    }
}
