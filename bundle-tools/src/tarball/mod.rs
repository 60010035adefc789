//! The tar format, read and written as a stream: ustar, GNU and PAX, with sparse files.
//!
//! The `tar` crate lends the header's layout and the entry types. Framing and extended headers are ours, because the crate reads
//! an extended header of any length into memory, splits PAX records at line feeds (so that a binary xattr breaks them), knows
//! neither a negative time nor PAX sparse files. Where formats disagree we read as Go's `archive/tar` does, since that is what
//! the other engines see. Nothing here touches a file system.

mod number;
mod pax;
mod read;
mod sparse;
mod write;

use std::{fmt, io};

pub use read::TarReader;
pub use rustix::fs::Timespec;
pub use write::TarWriter;

use crate::reason::reason;

/// The unit of the format.
const BLOCK: usize = 512;

/// One member of an archive, without its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name as it stands in the archive; any bytes but NUL.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky (`0o7777`).
    pub mode: u32,
    /// The owner's user id.
    pub uid: u32,
    /// The owner's group id.
    pub gid: u32,
    /// The time of the last change of the content.
    pub mtime: Timespec,
    /// The length of a file's content, holes included.
    pub size: u64,
    /// Extended attributes by full name (`user.x`).
    pub xattrs: Vec<Xattr>,
    /// Where a sparse file has data; `None` when all of it is.
    pub extents: Option<Vec<Extent>>,
}

/// An extended attribute: its full name and its value.
pub type Xattr = (Vec<u8>, Vec<u8>);

/// The type of an entry and what only that type has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link with its target, any bytes but NUL.
    Symlink(Vec<u8>),
    /// A further name of an earlier entry.
    HardLink(Vec<u8>),
    /// A character device, major and minor.
    CharDevice(u32, u32),
    /// A block device, major and minor.
    BlockDevice(u32, u32),
    /// A named pipe.
    Fifo,
}

/// A run of data in a sparse file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Where it starts in the file.
    pub offset: u64,
    /// Its length.
    pub length: u64,
}

/// Bounds on what a header may claim, so that a hostile archive cannot fill the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderLimits {
    /// The longest name or link target, in bytes.
    pub name: usize,
    /// The longest PAX header, in bytes; it bounds an entry's xattrs too.
    pub pax: usize,
    /// The most runs of data in one sparse file.
    pub extents: usize,
}

impl Default for HeaderLimits {
    fn default() -> Self {
        // PATH_MAX without its NUL; 64 KiB of xattrs are all that Linux keeps, in a name and a value each.
        Self { name: 4095, pax: 1 << 20, extents: 1 << 18 }
    }
}

/// What is wrong with an archive.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TarError {
    /// The stream under the archive failed or ended early.
    #[error("{}", read_failure(.entry.as_deref(), .source))]
    Read {
        /// The entry in which it happened, if one was open.
        entry: Option<String>,
        /// The failure.
        source: io::Error,
    },
    /// A header makes no sense, or claims more than the limits allow.
    #[error("{}: {why}", place(.entry.as_deref(), *.offset))]
    Header {
        /// The entry, if its name was known by then.
        entry: Option<String>,
        /// Where the header starts in the uncompressed stream.
        offset: u64,
        /// What is wrong with it.
        why: String,
    },
}

fn read_failure(entry: Option<&str>, source: &io::Error) -> String {
    match entry {
        Some(name) => format!("entry `{name}`: {}", reason(source)),
        None => reason(source),
    }
}

fn place(entry: Option<&str>, offset: u64) -> String {
    match entry {
        Some(name) => format!("entry `{name}`"),
        None => format!("header at byte {offset}"),
    }
}

/// A name of any bytes in a form that is fit for a message: one line, no control characters.
pub fn printable(name: &[u8]) -> String {
    const LONGEST: usize = 200;
    let shown = &name[..name.len().min(LONGEST)];
    let mut text = String::with_capacity(shown.len());
    for chunk in shown.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() { text.extend(c.escape_default()) } else { text.push(c) }
        }
        for byte in chunk.invalid() {
            let _ = fmt::Write::write_fmt(&mut text, format_args!("\\x{byte:02x}"));
        }
    }
    if name.len() > LONGEST {
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests;
