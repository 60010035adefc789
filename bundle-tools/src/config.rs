//! A bundle's `config.json`: read, parsed and checked before anything is done with it.
//!
//! [`load`] reads and parses, [`check()`] holds the result against the runtime specification and
//! against what runc refuses. Only `check` makes a [`Checked`], so whoever holds one need not
//! check again. Nothing here changes the host, and the only fact of it that is looked at is the
//! bundle directory with its root file system.
//!
//! A correct file has its names looked over and is parsed once, and nothing else: positions are
//! found, and what the types are too strict for is forgiven, only after a parse has failed.

mod check;
mod error;
mod leniency;
pub mod mount_mappings;
pub mod mount_options;
mod scan;
mod spelling;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Process, Spec};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use serde::de::{DeserializeOwned, IgnoredAny};

pub use check::{PROC_FILES, check, check_process, plain_ranges, sysctl_path};
pub use error::{Error, Finding, Findings, Problem};
pub use scan::Position;

use error::{Source, at_offset};
use leniency::Document;

/// The name of the configuration in a bundle.
pub const CONFIG_NAME: &str = "config.json";

/// More than any configuration needs; a larger file is refused unread.
pub const MAX_CONFIG_SIZE: u64 = 16 << 20;

/// A configuration that was parsed and not yet checked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Loaded {
    /// The configuration; too large to be passed from hand to hand.
    pub spec: Box<Spec>,
    bundle: PathBuf,
    source: Source,
    warnings: Vec<Problem>,
}

/// A configuration that passed every check. Only [`check()`] makes one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Checked {
    /// The configuration.
    pub spec: Box<Spec>,
    /// The bundle, as an absolute path.
    pub bundle: PathBuf,
    /// The root file system, as an absolute path without symbolic links.
    pub rootfs: PathBuf,
    /// What is not refused and still should be told, such as a capability that nobody knows.
    pub warnings: Vec<Finding>,
    source: Source,
}

impl Checked {
    /// The path of the configuration's file.
    pub fn config_path(&self) -> &Path {
        &self.source.path
    }

    /// The text of the file, as it was read but for the case of its properties' names.
    pub fn text(&self) -> &str {
        &self.source.text
    }

    /// Where in the file the value at a JSON pointer is, for an error that comes up later.
    pub fn position(&self, pointer: &str) -> Position {
        self.source.position(pointer)
    }

    /// Holds the configuration against what a caller without root's privileges can do.
    ///
    /// # Errors
    /// Every finding: no user namespace, an id in mount options that is not mapped, an id-mapped
    /// mount, a network device to move.
    pub fn check_unprivileged(&self) -> Result<(), Findings> {
        let problems = check::unprivileged(&self.spec);
        if problems.is_empty() { Ok(()) } else { Err(self.source.findings(problems)) }
    }
}

/// Reads and parses `config.json` of the bundle at `bundle`.
///
/// # Errors
/// [`Error::Read`] if there is no such regular file of a sane size, [`Error::Invalid`] if it is
/// not a configuration, with the line and column of the first fault.
pub fn load(bundle: &Path) -> Result<Loaded, Error> {
    load_with(bundle, None)
}

/// [`load`], from another file than the bundle's own `config.json`. Its path is relative to the current directory, and what is
/// in it is relative to the bundle.
///
/// # Errors
/// As for [`load`].
pub fn load_with(bundle: &Path, config: Option<&Path>) -> Result<Loaded, Error> {
    if let Some((path, file)) = config.is_none().then(|| open_at_its_path(bundle)).flatten() {
        let bytes = read_regular(file, &path)?;
        return Ok(parse_in(bundle.to_owned(), source(bytes, path)?)?);
    }
    let bundle = canonical(bundle).map_err(|errno| Error::read(bundle, errno))?;
    let path = config.map_or_else(|| bundle.join(CONFIG_NAME), Path::to_owned);
    let bytes = read_regular(open(&path)?, &path)?;
    Ok(parse_in(bundle, source(bytes, path)?)?)
}

/// The bundle's `config.json`, where the path that was given is where the bundle is: absolute and clean, and no symbolic link on the
/// way. That is how engines name a bundle, and nothing has to be asked for it.
fn open_at_its_path(bundle: &Path) -> Option<(PathBuf, File)> {
    let clean = bundle.is_absolute() && check::lexically_clean(bundle).as_os_str() == bundle;
    let path = clean.then(|| bundle.join(CONFIG_NAME))?;
    let resolve = ResolveFlags::NO_SYMLINKS;
    let file = rustix::fs::openat2(CWD, &path, TO_READ, Mode::empty(), resolve).ok()?;
    Some((path, file.into()))
}

/// The path of a directory without symbolic links, as the kernel tells it: in one system call for the one that we are in, else in
/// three, however deep it lies.
fn canonical(directory: &Path) -> Result<PathBuf, Errno> {
    if directory.as_os_str() == "." {
        let path = rustix::process::getcwd(Vec::new())?.into_bytes();
        // `(unreachable)` stands before one that is outside of our root.
        if path.starts_with(b"/") {
            return Ok(PathBuf::from(OsString::from_vec(path)));
        }
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(directory, flags, Mode::empty())?;
    let link = rustix::fs::readlink(format!("/proc/self/fd/{}", fd.as_raw_fd()), Vec::new())?;
    Ok(PathBuf::from(OsString::from_vec(link.into_bytes())))
}

/// Parses a configuration; `name` says where it is from, and its directory is the bundle.
///
/// # Errors
/// [`Error::Invalid`] if the text is not a configuration, with the line and column of its first
/// fault.
pub fn parse(text: &[u8], name: &Path) -> Result<Loaded, Error> {
    let bundle = name.parent().unwrap_or(Path::new("")).to_owned();
    Ok(parse_in(bundle, source(text.to_owned(), name.to_owned())?)?)
}

/// Reads, parses and checks the description of a process, as `exec --process` takes it: a file, or a pipe such as `/dev/stdin` or a
/// shell's `<(...)`, which is read to its end. With it comes what is not refused and still should be told.
///
/// # Errors
/// As for [`load`], and [`Error::Invalid`] with every finding of [`check_process`].
pub fn load_process(path: &Path) -> Result<(Process, Vec<Finding>), Error> {
    let mut source = source(read_or_receive(path)?, path.to_owned())?;
    let (process, warnings) = decode::<Process>(&mut source, Document::Process)?;
    let mut problems = check::no_nul(&source.text, Document::Process);
    problems.extend(check_process(&process));
    if problems.is_empty() {
        let warnings =
            if warnings.is_empty() { Vec::new() } else { source.findings(warnings).list };
        Ok((process, warnings))
    } else {
        Err(source.findings(problems).into())
    }
}

fn parse_in(bundle: PathBuf, mut source: Source) -> Result<Loaded, Findings> {
    let (spec, warnings) = decode::<Box<Spec>>(&mut source, Document::Config)?;
    Ok(Loaded { spec, bundle, source, warnings })
}

/// Reads a regular file of at most [`MAX_CONFIG_SIZE`].
fn read_regular(file: File, path: &Path) -> Result<Vec<u8>, Error> {
    let stat = regular(&file).map_err(|error| Error::read(path, error))?;
    read_all(file, &stat, path)
}

/// Looks that a file is a regular one: a bundle or an image may come from anywhere, with a FIFO in the file's place.
pub(crate) fn regular(file: impl AsFd) -> io::Result<rustix::fs::Stat> {
    let stat = rustix::fs::fstat(file)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(stat),
        FileType::Directory => Err(io::ErrorKind::IsADirectory.into()),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")),
    }
}

/// As [`read_regular`], or all that comes through a pipe: the caller names the file, and shells write `/dev/fd/63` for `<(command)`.
fn read_or_receive(path: &Path) -> Result<Vec<u8>, Error> {
    let file = open(path)?;
    let stat = stat(&file, path)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {}
        FileType::Fifo => rustix::fs::fcntl_setfl(&file, OFlags::empty())
            .map_err(|errno| Error::read(path, io::Error::from(errno)))?,
        _ => {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "not a regular file or pipe");
            return Err(Error::read(path, error));
        }
    }
    read_all(file, &stat, path)
}

/// Without NONBLOCK a FIFO in the file's place would hang the open, and a terminal could become the controlling one without NOCTTY.
pub(crate) const TO_READ: OFlags =
    OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

fn open(path: &Path) -> Result<File, Error> {
    let opened = rustix::fs::open(path, TO_READ, Mode::empty());
    opened.map(File::from).map_err(|errno| Error::read(path, io::Error::from(errno)))
}

fn stat(file: &File, path: &Path) -> Result<rustix::fs::Stat, Error> {
    rustix::fs::fstat(file).map_err(|errno| Error::read(path, io::Error::from(errno)))
}

fn read_all(file: File, stat: &rustix::fs::Stat, path: &Path) -> Result<Vec<u8>, Error> {
    let fail = |error: io::Error| Error::read(path, error);
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    let size = usize::try_from(size.min(MAX_CONFIG_SIZE)).unwrap_or(0);
    let mut bytes = Vec::with_capacity(size + 1);
    let room = || rustix::io::read(&file, rustix::buffer::spare_capacity(&mut bytes));
    let first = rustix::io::retry_on_intr(room).map_err(|errno| fail(errno.into()))?;
    let is_regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    // One read of a file that is as long as it was said to be. It may grow while it is read, so the limit holds for what is read.
    if !is_regular || first != size {
        let left = MAX_CONFIG_SIZE + 1 - first as u64;
        file.take(left).read_to_end(&mut bytes).map_err(fail)?;
    }
    if bytes.len() as u64 > MAX_CONFIG_SIZE {
        return Err(fail(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 16 MiB")));
    }
    Ok(bytes)
}

/// JSON is UTF-8 (RFC 8259, section 8.1); the first byte that is not is the finding.
fn source(bytes: Vec<u8>, path: PathBuf) -> Result<Source, Findings> {
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Source { path, text }),
        Err(error) => {
            let offset = error.utf8_error().valid_up_to();
            let byte = error.as_bytes()[offset];
            let message = format!("byte 0x{byte:02x} is not valid UTF-8");
            let hint = "JSON files are UTF-8; the file may be in another encoding";
            Err(at_offset(&path, error.as_bytes(), offset, message, Some(hint)))
        }
    }
}

/// Respells names and parses strictly; only if that fails, forgives what runc forgives and finds the fault's place.
fn decode<T: DeserializeOwned>(
    source: &mut Source,
    document: Document,
) -> Result<(T, Vec<Problem>), Findings> {
    let mut warnings = spelling::correct(&mut source.text);
    match serde_json::from_str(&source.text) {
        Ok(value) => Ok((value, warnings)),
        Err(error) if !error.is_data() => Err(syntax_finding(source, &error)),
        // A value is wrong; what follows may still not be JSON.
        Err(_) => {
            let (value, more) = decode_leniently(source, document)?;
            warnings.extend(more);
            Ok((value, warnings))
        }
    }
}

#[cold]
fn decode_leniently<T: DeserializeOwned>(
    source: &Source,
    document: Document,
) -> Result<(T, Vec<Problem>), Findings> {
    if let Err(error) = serde_json::from_str::<IgnoredAny>(&source.text) {
        return Err(syntax_finding(source, &error));
    }
    let (text, warnings) = leniency::forgive(&source.text, document);
    match serde_json::from_str(&text) {
        Ok(value) => Ok((value, warnings)),
        Err(error) => Err(source.findings(vec![type_problem(&text, &error)])),
    }
}

fn syntax_finding(source: &Source, error: &serde_json::Error) -> Findings {
    let Source { path, text } = source;
    let bytes = text.as_bytes();
    if text.starts_with('\u{feff}') {
        let message = "starts with a byte order mark, which JSON does not allow".to_owned();
        let hint = "save the file as UTF-8 without a byte order mark";
        return at_offset(path, bytes, 0, message, Some(hint));
    }
    if text.trim_ascii().is_empty() {
        return at_offset(path, bytes, 0, "is empty".to_owned(), None);
    }
    if error.is_eof() {
        let message = plain_message(error).replace("EOF while parsing", "the text ends within");
        return at_offset(path, bytes, bytes.len(), message, Some("the file may be truncated"));
    }
    let offset = last_taken(text, error);
    at_offset(path, bytes, offset, plain_message(error), None)
}

/// Where the last byte is that the parser took before it failed: its column counts the bytes of the line up to that one.
fn last_taken(text: &str, error: &serde_json::Error) -> usize {
    let lines = text.split_inclusive('\n').take(error.line().saturating_sub(1));
    lines.map(str::len).sum::<usize>() + error.column().saturating_sub(1)
}

/// A value of the wrong type, or an object with a missing or doubled member.
fn type_problem(text: &str, error: &serde_json::Error) -> Problem {
    let mut pointer = scan::pointer_at(text, last_taken(text, error));
    let message = plain_message(error);
    if let Some(list) = message.strip_prefix("invalid execCPUAffinity format: ") {
        // oci-spec looks at such a list when the object around it was read: it is found by what it says.
        scan::walk(text, |value| {
            let says = || serde_json::from_str::<&str>(value.raw).is_ok_and(|raw| raw == list);
            if value.pointer.contains("/execCPUAffinity/") && says() {
                value.pointer.clone_into(&mut pointer);
            }
        });
    }
    let doubled = message.strip_prefix("duplicate field `").and_then(|m| m.strip_suffix('`'));
    if let Some(name) = doubled {
        scan::push_step(&mut pointer, name);
    }
    Problem { pointer, message, hint: None }
}

/// The message without the position that is put at its end.
fn plain_message(error: &serde_json::Error) -> String {
    let text = error.to_string();
    sys::mid_sentence(text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message))
}
