//! Writes an archive to a stream: ustar headers, and PAX records for what does not fit into them.
//!
//! The bytes depend on the entries alone, so that the same tree gives the same digest.

use std::io::{self, Read, Write};

use super::{BLOCK, Entry, Kind, number, pax};

/// An archive that is being written.
#[derive(Debug)]
pub struct TarWriter<W> {
    output: W,
}

/// The largest number in an octal field of 7 and of 11 digits.
const MAX_SMALL: u64 = 0o7_777_777;
const MAX_LARGE: u64 = 0o77_777_777_777;

impl<W: Write> TarWriter<W> {
    /// Writes an archive to `output`.
    pub fn new(output: W) -> Self {
        Self { output }
    }

    /// Appends `entry`, with exactly `entry.size` bytes of `data` if it is a file. Holes are not kept: `extents` is not looked at.
    pub fn append(&mut self, entry: &Entry, data: impl Read) -> io::Result<()> {
        match self.append_changing(entry, data)? {
            0 => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// The same for a file that others may change meanwhile: what is missing in `data`, since it became shorter than it was when its
    /// size was asked for, is filled up with zeros, as GNU tar does. How many those are.
    pub fn append_changing(&mut self, entry: &Entry, data: impl Read) -> io::Result<u64> {
        let size = if entry.kind == Kind::File { entry.size } else { 0 };
        let mut records = Vec::new();
        let header = encode(entry, size, &mut records);
        if !records.is_empty() {
            self.output.write_all(pax_header(records.len() as u64).as_bytes())?;
            self.output.write_all(&records)?;
            self.pad(records.len() as u64)?;
        }
        self.output.write_all(header.as_bytes())?;
        let copied = io::copy(&mut data.take(size), &mut self.output)?;
        io::copy(&mut io::repeat(0).take(size - copied), &mut self.output)?;
        self.pad(size)?;
        Ok(size - copied)
    }

    /// Ends the archive.
    pub fn finish(mut self) -> io::Result<W> {
        self.output.write_all(&[0; 2 * BLOCK])?;
        Ok(self.output)
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        let rest = size.next_multiple_of(BLOCK as u64) - size;
        io::copy(&mut io::repeat(0).take(rest), &mut self.output).map(drop)
    }
}

fn encode(entry: &Entry, size: u64, records: &mut Vec<u8>) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    let ustar = header.as_ustar_mut().expect("a new ustar header");
    set_text(&mut ustar.name, &entry.name, b"path", records);
    let (flag, link, device) = match &entry.kind {
        Kind::File => (b'0', None, None),
        Kind::HardLink(target) => (b'1', Some(target), None),
        Kind::Symlink(target) => (b'2', Some(target), None),
        Kind::CharDevice(major, minor) => (b'3', None, Some((*major, *minor))),
        Kind::BlockDevice(major, minor) => (b'4', None, Some((*major, *minor))),
        Kind::Directory => (b'5', None, None),
        Kind::Fifo => (b'6', None, None),
    };
    ustar.typeflag = [flag];
    if let Some(target) = link {
        set_text(&mut ustar.linkname, target, b"linkpath", records);
    }
    set_octal(&mut ustar.mode, u64::from(entry.mode & 0o7777));
    set_number(&mut ustar.uid, u64::from(entry.uid), MAX_SMALL, b"uid", records);
    set_number(&mut ustar.gid, u64::from(entry.gid), MAX_SMALL, b"gid", records);
    set_number(&mut ustar.size, size, MAX_LARGE, b"size", records);
    let seconds = u64::try_from(entry.mtime.tv_sec).ok().filter(|n| *n <= MAX_LARGE);
    set_octal(&mut ustar.mtime, seconds.unwrap_or(0));
    if seconds.is_none() || entry.mtime.tv_nsec != 0 {
        pax::push_record(records, b"mtime", number::format_time(entry.mtime).as_bytes());
    }
    // No format has a record for device numbers; what Linux can have (12 and 20 bits) fits.
    let (major, minor) = device.unwrap_or_default();
    set_octal(&mut ustar.dev_major, u64::from(major));
    set_octal(&mut ustar.dev_minor, u64::from(minor));
    for (name, value) in &entry.xattrs {
        pax::push_xattr(records, name, value);
    }
    header.set_cksum();
    header
}

fn pax_header(size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    let ustar = header.as_ustar_mut().expect("a new ustar header");
    let name = b"PaxHeaders/entry";
    ustar.name[..name.len()].copy_from_slice(name);
    ustar.typeflag = [b'x'];
    set_octal(&mut ustar.mode, 0o644);
    set_octal(&mut ustar.uid, 0);
    set_octal(&mut ustar.gid, 0);
    set_octal(&mut ustar.size, size);
    set_octal(&mut ustar.mtime, 0);
    header.set_cksum();
    header
}

/// A name that fits and is ASCII goes into the header alone; any other into a record, with its start in the header for readers
/// that know no records. (PAX says that a record is UTF-8; every reader that matters takes any bytes.)
fn set_text(field: &mut [u8; 100], text: &[u8], key: &[u8], records: &mut Vec<u8>) {
    let n = text.len().min(field.len());
    field[..n].copy_from_slice(&text[..n]);
    if text.len() > field.len() || !text.is_ascii() {
        pax::push_record(records, key, text);
    }
}

fn set_number(field: &mut [u8], value: u64, max: u64, key: &[u8], records: &mut Vec<u8>) {
    if value <= max {
        set_octal(field, value);
    } else {
        set_octal(field, 0);
        pax::push_record(records, key, value.to_string().as_bytes());
    }
}

/// Zero-padded octal with a NUL behind it.
fn set_octal(field: &mut [u8], value: u64) {
    let width = field.len() - 1;
    let text = format!("{value:0width$o}");
    field[..width].copy_from_slice(text.as_bytes());
    field[width] = 0;
}
