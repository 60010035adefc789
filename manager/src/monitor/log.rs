//! The container's output on disk, in the lines of Docker's json-file driver:
//!
//!     {"log":"hello\n","stream":"stdout","time":"2024-05-01T10:00:00.000000000Z"}
//!
//! A line longer than 16 KiB is split, as Docker splits it, so that memory stays bounded whatever a container
//! writes. Bytes that are not UTF-8 become U+FFFD.

use crate::clock::Timestamp;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// The longest piece of a line that becomes one entry.
const LONGEST_LINE: usize = 16 * 1024;

/// One of a container's two output streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// fd 1, or the terminal
    Stdout,
    /// fd 2
    Stderr,
}

/// One line of the file.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry<'a> {
    /// The text, with its newline if the piece ends a line.
    pub log: Cow<'a, str>,
    /// Which stream it came from.
    pub stream: Stream,
    /// When it was read.
    pub time: String,
}

/// Appends to a container's log.
#[derive(Debug)]
pub struct Log {
    file: File,
    partial: [Vec<u8>; 2],
    out: Vec<u8>,
}

impl Log {
    /// Opens the log for appending; a restarted container's log goes on.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        Ok(Self { file, partial: [Vec::new(), Vec::new()], out: Vec::new() })
    }

    /// Takes what was read from a stream and writes the lines that it completes, in one write.
    pub fn take(&mut self, stream: Stream, mut bytes: &[u8]) -> io::Result<()> {
        let time = Timestamp::now().to_string();
        self.out.clear();
        let partial = &mut self.partial[stream as usize];
        while !bytes.is_empty() {
            let room = LONGEST_LINE - partial.len();
            let newline = bytes.iter().take(room).position(|&byte| byte == b'\n');
            let end = newline.map_or(bytes.len().min(room), |at| at + 1);
            partial.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end..];
            if newline.is_some() || partial.len() == LONGEST_LINE {
                write_entry(&mut self.out, partial, stream, &time)?;
                partial.clear();
            }
        }
        self.file.write_all(&self.out)
    }

    /// Writes what is left of lines that never ended.
    pub fn finish(&mut self) -> io::Result<()> {
        let time = Timestamp::now().to_string();
        self.out.clear();
        for stream in [Stream::Stdout, Stream::Stderr] {
            let partial = std::mem::take(&mut self.partial[stream as usize]);
            if !partial.is_empty() {
                write_entry(&mut self.out, &partial, stream, &time)?;
            }
        }
        self.file.write_all(&self.out)
    }
}

fn write_entry(out: &mut Vec<u8>, line: &[u8], stream: Stream, time: &str) -> io::Result<()> {
    let entry = Entry { log: String::from_utf8_lossy(line), stream, time: time.to_owned() };
    serde_json::to_writer(&mut *out, &entry)?;
    out.push(b'\n');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(pieces: &[(Stream, &[u8])]) -> Vec<(String, Stream)> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = Log::open(&path).unwrap();
        for (stream, bytes) in pieces {
            log.take(*stream, bytes).unwrap();
        }
        log.finish().unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        text.lines()
            .map(|line| serde_json::from_str::<Entry<'_>>(line).unwrap())
            .map(|entry| (entry.log.into_owned(), entry.stream))
            .collect()
    }

    #[test]
    fn a_line_is_one_entry_however_it_arrives() {
        let entries = written(&[
            (Stream::Stdout, b"hel"),
            (Stream::Stderr, b"oops\n"),
            (Stream::Stdout, b"lo\nwor"),
            (Stream::Stdout, b"ld"),
        ]);
        assert_eq!(
            entries,
            [
                ("oops\n".to_owned(), Stream::Stderr),
                ("hello\n".to_owned(), Stream::Stdout),
                ("world".to_owned(), Stream::Stdout),
            ]
        );
    }

    #[test]
    fn a_line_without_end_is_split_and_never_lost() {
        let long = vec![b'x'; LONGEST_LINE * 2 + 5];
        let entries = written(&[(Stream::Stdout, &long)]);
        let lengths: Vec<usize> = entries.iter().map(|(text, _)| text.len()).collect();
        assert_eq!(lengths, [LONGEST_LINE, LONGEST_LINE, 5]);
    }

    #[test]
    fn bytes_that_are_not_text_are_replaced() {
        assert_eq!(written(&[(Stream::Stdout, b"a\xffb\n")])[0].0, "a\u{fffd}b\n");
    }
}
