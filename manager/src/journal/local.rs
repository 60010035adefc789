//! Our own form of a log, which is little more than what was written: each record holds the lines of one read.
//!
//!     length of the text   u32, little-endian
//!     kind                 0 stdout, 1 stderr, 2 attributes of all records that follow
//!     mark                 3 bytes, always the same
//!     time                 nanoseconds since 1970, u64
//!     text                 as it was written, not necessarily UTF-8
//!     length once more     so that the last lines are found from the end

use super::Stream;
use crate::clock::Timestamp;
use std::io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom};

/// In front of the text.
pub(super) const HEAD: usize = 16;
/// Behind it.
pub(super) const TAIL: usize = 4;
const MARK: &[u8; 3] = b"nml";

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Lines.
    Lines(Stream),
    /// A JSON object.
    Attributes,
}

/// The beginning of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: Kind,
    pub(super) time: Timestamp,
    pub(super) length: usize,
}

/// Longer texts are never written: what claims to be one is damaged.
pub(super) const LONGEST: usize = 1 << 20;

/// Appends a record.
pub(super) fn write(out: &mut Vec<u8>, kind: Kind, text: &[u8], time: Timestamp) {
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes();
    let (seconds, nanos) = time.unix();
    let nanos = u64::try_from(seconds).unwrap_or(0) * 1_000_000_000 + u64::from(nanos);
    out.extend_from_slice(&length);
    out.push(match kind {
        Kind::Lines(Stream::Stdout) => 0,
        Kind::Lines(Stream::Stderr) => 1,
        Kind::Attributes => 2,
    });
    out.extend_from_slice(MARK);
    out.extend_from_slice(&nanos.to_le_bytes());
    out.extend_from_slice(text);
    out.extend_from_slice(&length);
}

/// Reads the beginning of a record; `None` where there is none, whole and undamaged.
pub(super) fn head(bytes: &[u8]) -> Option<Head> {
    let (head, _) = bytes.split_first_chunk::<HEAD>()?;
    let [a, b, c, d, kind, mark @ .., _, _, _, _, _, _, _, _] = head;
    let length = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
    let kind = match kind {
        0 => Kind::Lines(Stream::Stdout),
        1 => Kind::Lines(Stream::Stderr),
        2 => Kind::Attributes,
        _ => return None,
    };
    let nanos = u64::from_le_bytes(head[8..].try_into().ok()?);
    let time = Timestamp::from_unix(
        i64::try_from(nanos / 1_000_000_000).ok()?,
        u32::try_from(nanos % 1_000_000_000).ok()?,
    );
    (mark == MARK && length <= LONGEST).then_some(Head { kind, time, length })
}

/// Where the last whole record ends. Texts are passed over, not kept.
pub(super) fn sound_length(contents: &mut (impl Read + Seek)) -> io::Result<u64> {
    let size = contents.seek(SeekFrom::End(0))?;
    contents.seek(SeekFrom::Start(0))?;
    let mut contents = BufReader::new(contents);
    let mut sound = 0;
    loop {
        let mut start = [0; HEAD];
        match contents.read_exact(&mut start) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(sound),
            read => read?,
        }
        let Some(head) = head(&start) else { return Ok(sound) };
        let end = sound + (HEAD + head.length + TAIL) as u64;
        if end > size {
            return Ok(sound);
        }
        let mut tail = [0; TAIL];
        contents.seek_relative(i64::try_from(head.length).map_err(io::Error::other)?)?;
        contents.read_exact(&mut tail)?;
        if tail != start[..TAIL] {
            return Ok(sound);
        }
        sound = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    #[test]
    fn a_record_reads_back_as_it_was_written() {
        let time = Timestamp::parse("2024-05-01T10:00:00.123456789Z").unwrap();
        let mut out = Vec::new();
        write(&mut out, Kind::Lines(Stream::Stderr), b"a\n\xff\n", time);
        let head = head(&out).unwrap();
        assert_eq!(head, Head { kind: Kind::Lines(Stream::Stderr), time, length: 4 });
        assert_eq!(&out[HEAD..HEAD + 4], b"a\n\xff\n");
        assert_eq!(out.len(), HEAD + 4 + TAIL);
    }

    #[test]
    fn what_was_cut_off_is_found() {
        let mut out = Vec::new();
        write(&mut out, Kind::Lines(Stream::Stdout), b"one\n", Timestamp::now());
        let whole = out.len();
        write(&mut out, Kind::Lines(Stream::Stdout), b"two\n", Timestamp::now());
        assert_eq!(sound_length(&mut Cursor::new(&out)).unwrap(), out.len() as u64);
        for cut in whole..out.len() {
            let sound = sound_length(&mut Cursor::new(&out[..cut])).unwrap();
            assert_eq!(sound, whole as u64, "{cut}");
        }
        assert_eq!(head(b"\xff\xff\xff\xff\0nml\0\0\0\0\0\0\0\0"), None);
    }
}
