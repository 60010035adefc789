//! Reads a log: all of its files as one, from where is asked for.

use super::files::{Open, next_after, open_all};
use super::last::{self, Start};
use super::local::{self, Kind};
use super::{Entry, Format, Output, Text, json};
use crate::error::{Error, Result};
use memchr::memchr;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// So much is read at once: it stays in the processor's cache until it is written.
const BLOCK: usize = 256 * 1024;

/// What of a log is shown, and how.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Only so many lines, the last ones.
    pub tail: Option<u64>,
    /// Only what was written from then on; in the form of [`crate::clock::Timestamp`].
    pub since: Option<String>,
    /// Only what was written until then.
    pub until: Option<String>,
    /// With the time of each line.
    pub timestamps: bool,
    /// With what lines are marked with.
    pub details: bool,
}

/// The contents of one file.
enum Contents {
    File(File),
    Memory(Cursor<Vec<u8>>),
}

impl Read for Contents {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.read(buffer),
            Self::Memory(memory) => memory.read(buffer),
        }
    }
}

impl Seek for Contents {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match self {
            Self::File(file) => file.seek(to),
            Self::Memory(memory) => memory.seek(to),
        }
    }
}

/// A file that is to be read, from there on. It is not in memory before it is its turn.
struct Waiting {
    open: Open,
    offset: u64,
}

/// A file that is being read.
struct Current {
    /// Kept to find out what follows it.
    open: Open,
    contents: Contents,
}

impl Current {
    fn new(mut open: Open) -> io::Result<Self> {
        let contents = match open.decompress()? {
            Some(contents) => Contents::Memory(Cursor::new(contents)),
            None => Contents::File(open.file.try_clone()?),
        };
        Ok(Self { open, contents })
    }

    fn at(Waiting { open, offset }: Waiting) -> io::Result<Self> {
        let mut current = Self::new(open)?;
        current.contents.seek(SeekFrom::Start(offset))?;
        Ok(current)
    }
}

/// Reads a log from its oldest wanted line on.
pub struct Reader {
    path: PathBuf,
    format: Format,
    selection: Selection,
    current: Option<Current>,
    /// What comes after that.
    waiting: VecDeque<Waiting>,
    /// How long the last file was in the beginning.
    end: u64,
    buffer: Vec<u8>,
    /// So much of the buffer is filled with what has not been shown.
    filled: usize,
    /// Lines to leave out at the beginning.
    skip: u64,
    at_line_start: [bool; 2],
    attributes: Vec<u8>,
}

impl Reader {
    /// Opens the files and finds where to begin.
    pub fn open(path: &Path, format: Format, selection: Selection) -> Result<Self> {
        let mut reader = Self {
            path: path.to_owned(),
            format,
            current: None,
            waiting: VecDeque::new(),
            end: 0,
            buffer: vec![0; BLOCK],
            filled: 0,
            skip: 0,
            at_line_start: [true; 2],
            attributes: Vec::new(),
            selection,
        };
        reader.begin().map_err(Error::io("read", path))?;
        Ok(reader)
    }

    fn begin(&mut self) -> io::Result<()> {
        let all = open_all(&self.path)?;
        self.end = all.last().map_or(Ok(0), |last| last.file.metadata().map(|it| it.len()))?;
        let Some(mut wanted) = self.selection.tail else {
            self.waiting = all.into_iter().map(|open| Waiting { open, offset: 0 }).collect();
            return Ok(());
        };
        for open in all.into_iter().rev() {
            let mut current = Current::new(open)?;
            let Start { offset, lines, skip } =
                last::start(self.format, &mut current.contents, wanted)?;
            if self.format == Format::Local && self.selection.details {
                self.attributes = last::attributes_of(&mut current.contents)?;
            }
            self.waiting.push_front(Waiting { open: current.open, offset });
            self.skip = skip;
            wanted -= lines.min(wanted);
            if wanted == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Shows everything that there was when the log was opened. Who writes faster than that is read keeps nobody reading.
    pub fn read_all(&mut self, out: &mut Output) -> Result<()> {
        self.read_files(out, self.end)
    }

    /// Shows the files, and of the last one no more than up to `end`.
    fn read_files(&mut self, out: &mut Output, end: u64) -> Result<()> {
        loop {
            if self.current.is_none() {
                let Some(next) = self.waiting.pop_front() else { break };
                self.current = Some(Current::at(next).map_err(Error::io("read", &self.path))?);
            }
            self.read_file(out, if self.waiting.is_empty() { end } else { u64::MAX })?;
            if self.waiting.is_empty() {
                break;
            }
            self.current = None;
            // What was cut off at the end of a file has no rest in the next.
            self.filled = 0;
        }
        out.flush()
    }

    /// Shows everything that there is, and goes on with the files that have come after the last one meanwhile.
    pub fn read_on(&mut self, out: &mut Output) -> Result<()> {
        if self.current.is_none() && self.waiting.is_empty() {
            self.begin().map_err(Error::io("read", &self.path))?;
        }
        loop {
            self.read_files(out, u64::MAX)?;
            let Some(current) = &self.current else { return Ok(()) };
            match next_after(&self.path, &current.open).map_err(Error::io("read", &self.path))? {
                None => return Ok(()),
                // Nothing more is written to the old one now: what is there is read first.
                Some(open) => self.waiting.push_back(Waiting { open, offset: 0 }),
            }
        }
    }

    /// Shows the rest of the current file, up to `end` if that can be written to.
    fn read_file(&mut self, out: &mut Output, end: u64) -> Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let result = self.read_blocks(&mut buffer, out, end);
        self.buffer = buffer;
        result
    }

    fn read_blocks(&mut self, buffer: &mut [u8], out: &mut Output, end: u64) -> Result<()> {
        let begin = self.rewind().map_err(Error::io("read", &self.path))?;
        let mut left = begin.map_or(u64::MAX, |begin| end.saturating_sub(begin));
        while let Some(current) = &mut self.current {
            let room = buffer
                .len()
                .min(self.filled.saturating_add(usize::try_from(left).unwrap_or(usize::MAX)));
            let read = match current.contents.read(&mut buffer[self.filled..room]) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Error::io("read", &self.path)(error)),
            };
            if read == 0 {
                break;
            }
            left -= read as u64;
            let filled = self.filled + read;
            let used = match self.format {
                Format::Json => self.show_lines(&buffer[..filled], out)?,
                Format::Local => self.show_records(&buffer[..filled], out)?,
            };
            if used == 0 && filled == buffer.len() {
                // Nothing of ours is so long: the file is damaged here.
                self.filled = 0;
                continue;
            }
            buffer.copy_within(used..filled, 0);
            self.filled = filled - used;
        }
        Ok(())
    }

    /// Goes back to where the last whole record has ended. What was there of the next is read again: a writer whose disk was
    /// full has taken it back. A file that somebody has emptied is read from its beginning: its writer appends.
    ///
    /// Returns where that is; `None` where nothing can be written.
    fn rewind(&mut self) -> io::Result<Option<u64>> {
        let filled = std::mem::take(&mut self.filled) as u64;
        let Some(Current { contents: Contents::File(file), .. }) = &mut self.current else {
            return Ok(None);
        };
        let position = file.stream_position()?.saturating_sub(filled);
        let is_there = file.metadata()?.len() >= position;
        file.seek(SeekFrom::Start(if is_there { position } else { 0 })).map(Some)
    }

    /// Shows the whole lines of a block; returns how much of it they are.
    fn show_lines(&mut self, block: &[u8], out: &mut Output) -> Result<usize> {
        let mut used = 0;
        loop {
            while let Some((entry, length)) = json::read_whole(&block[used..]) {
                self.show(&entry, out)?;
                used += length;
            }
            let Some(length) = memchr(b'\n', &block[used..]) else { break };
            let line = &block[used..used + length];
            used += length + 1;
            if let Some(entry) = json::read(line) {
                self.show(&entry, out)?;
            } else if let Some(foreign) = json::Foreign::parse(line) {
                self.show(&foreign.entry(), out)?;
            }
        }
        Ok(used)
    }

    /// The same for records of our own form.
    fn show_records(&mut self, block: &[u8], out: &mut Output) -> Result<usize> {
        let mut used = 0;
        while let Some(head) = local::head(&block[used..]) {
            let whole = local::HEAD + head.length + local::TAIL;
            let Some(record) = block.get(used..used + whole) else { break };
            used += whole;
            let text = &record[local::HEAD..whole - local::TAIL];
            match head.kind {
                Kind::Attributes => self.attributes = text.to_vec(),
                Kind::Lines(stream) => {
                    let text = self.without_skipped(text);
                    let time =
                        if self.needs_time() { head.time.to_string() } else { String::new() };
                    let attributes = std::mem::take(&mut self.attributes);
                    let entry = Entry {
                        stream,
                        time: time.as_bytes(),
                        text: Text::Plain(text),
                        attributes: &attributes,
                    };
                    let shown = self.show(&entry, out);
                    self.attributes = attributes;
                    shown?;
                }
            }
        }
        Ok(used)
    }

    fn without_skipped<'t>(&mut self, text: &'t [u8]) -> &'t [u8] {
        let mut rest = text;
        while self.skip > 0 && !rest.is_empty() {
            let end = memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
            rest = &rest[end..];
            self.skip -= 1;
        }
        rest
    }

    fn needs_time(&self) -> bool {
        self.selection.timestamps
            || self.selection.since.is_some()
            || self.selection.until.is_some()
    }

    fn show(&mut self, entry: &Entry<'_>, out: &mut Output) -> Result<()> {
        let Selection { since, until, timestamps, details, .. } = &self.selection;
        if since.as_ref().is_some_and(|since| entry.time < since.as_bytes())
            || until.as_ref().is_some_and(|until| entry.time > until.as_bytes())
        {
            return Ok(());
        }
        let out = out.of(entry.stream)?;
        if !timestamps && !details {
            match entry.text {
                Text::Plain(text) => out.extend_from_slice(text),
                Text::Line(text) => {
                    out.extend_from_slice(text);
                    out.push(b'\n');
                }
                Text::Escaped(text) => json::unescape(out, text),
            }
            return Ok(());
        }
        let text = match entry.text {
            Text::Plain(text) => Cow::Borrowed(text),
            Text::Line(text) => Cow::Owned([text, b"\n"].concat()),
            Text::Escaped(escaped) => {
                let mut text = Vec::new();
                json::unescape(&mut text, escaped);
                Cow::Owned(text)
            }
        };
        let at_start = &mut self.at_line_start[entry.stream as usize];
        for line in text.split_inclusive(|&byte| byte == b'\n') {
            if *at_start {
                if *timestamps {
                    out.extend_from_slice(entry.time);
                    out.push(b' ');
                }
                if *details {
                    out.extend_from_slice(described(entry.attributes).as_bytes());
                    out.push(b' ');
                }
            }
            out.extend_from_slice(line);
            *at_start = line.ends_with(b"\n");
        }
        Ok(())
    }
}

/// Attributes as `--details` shows them: `a=1,b=2`.
fn described(attributes: &[u8]) -> String {
    let object: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(attributes).unwrap_or_default();
    let pairs =
        object.iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()));
    pairs.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::super::{Stream, Writer};
    use super::*;
    use crate::container::{LogConfig, LogDriver};

    fn shown(reader: &mut Reader) -> String {
        let mut out = Output::kept();
        reader.read_on(&mut out).unwrap();
        let [stdout, _] = out.into_kept();
        String::from_utf8(stdout).unwrap()
    }

    fn each(test: impl Fn(&Path, &mut dyn FnMut(&str), Format)) {
        for (driver, format) in
            [(LogDriver::JsonFile, Format::Json), (LogDriver::Local, Format::Local)]
        {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("log");
            let config =
                LogConfig { driver, max_size: 300, max_files: 100, ..LogConfig::default() };
            let mut writer = Writer::open(&path, &config, "").unwrap();
            test(&path, &mut |text| writer.take(Stream::Stdout, text.as_bytes()).unwrap(), format);
        }
    }

    #[test]
    fn the_last_lines_are_found_across_files_and_inside_of_records() {
        each(|path, write, format| {
            for n in 0..20 {
                write(&format!("a{n}\nb{n}\nc{n}\n"));
            }
            for tail in [0, 1, 2, 3, 4, 10, 59, 60, 61] {
                let selection = Selection { tail: Some(tail), ..Selection::default() };
                let text = shown(&mut Reader::open(path, format, selection).unwrap());
                assert_eq!(text.lines().count() as u64, tail.min(60), "{tail} {format:?}");
                assert!(tail == 0 || text.ends_with("b19\nc19\n") || text == "c19\n", "{text}");
            }
        });
    }

    #[test]
    fn what_is_being_written_or_was_cut_off_is_not_counted_among_the_last_lines() {
        each(|path, write, format| {
            write("a\nb\nc\n");
            let whole = std::fs::read(path).unwrap();
            for length in 1..whole.len() {
                std::fs::write(path, [&whole[..], &whole[..length]].concat()).unwrap();
                let selection = Selection { tail: Some(2), ..Selection::default() };
                let text = shown(&mut Reader::open(path, format, selection).unwrap());
                // Of JSON, a line may be whole already.
                let lines: Vec<&str> = text.lines().collect();
                assert!(
                    ["b c", "c a", "a b"].contains(&lines.join(" ").as_str()),
                    "{length} {text}"
                );
            }
            std::fs::write(path, &whole).unwrap();
        });
    }

    #[test]
    fn one_damaged_file_hides_none_of_the_others() {
        each(|path, write, format| {
            for n in 0..20 {
                write(&format!("{n}\n"));
            }
            let whole = shown(&mut Reader::open(path, format, Selection::default()).unwrap());
            let first = super::super::files::aside_path(path, 1);
            super::super::writer::compress(&first).unwrap();
            let compressed = PathBuf::from(format!("{}.gz", first.display()));
            let bytes = std::fs::read(&compressed).unwrap();
            for length in [0, 5, bytes.len() / 2, bytes.len() - 1] {
                std::fs::write(&compressed, &bytes[..length]).unwrap();
                let left = shown(&mut Reader::open(path, format, Selection::default()).unwrap());
                let is_known = |line: &str| whole.lines().any(|known| known == line);
                assert!(
                    left.ends_with("18\n19\n") && left.lines().all(is_known),
                    "{length} {left}"
                );
                assert!(crate::notice::take()[0].contains("log.1.gz` is damaged"));
            }
        });
    }

    #[test]
    fn a_log_that_is_emptied_is_followed_from_its_beginning() {
        each(|path, write, format| {
            write("one\ntwo\n");
            let mut reader = Reader::open(path, format, Selection::default()).unwrap();
            assert_eq!(shown(&mut reader), "one\ntwo\n");
            std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(0).unwrap();
            write("3\n");
            assert_eq!(shown(&mut reader), "3\n", "{format:?}");
        });
    }

    #[test]
    fn following_over_many_files_loses_and_doubles_nothing() {
        each(|path, write, format| {
            write("0\n");
            let mut reader = Reader::open(path, format, Selection::default()).unwrap();
            let mut text = shown(&mut reader);
            for n in 1..200 {
                write(&format!("{n}\n"));
                // Sometimes several files come between two looks.
                if n % 37 == 0 || n % 5 == 0 {
                    text.push_str(&shown(&mut reader));
                }
            }
            text.push_str(&shown(&mut reader));
            let expected: String = (0..200).map(|n| format!("{n}\n")).collect();
            assert_eq!(text, expected, "{format:?}");
        });
    }

    #[test]
    fn times_select_and_are_shown_once_a_line() {
        each(|path, write, format| {
            write("one\ntwo\n");
            std::thread::sleep(std::time::Duration::from_millis(2));
            let middle = crate::clock::Timestamp::now().to_string();
            std::thread::sleep(std::time::Duration::from_millis(2));
            write("three\n");
            let with = |selection| shown(&mut Reader::open(path, format, selection).unwrap());
            let since = Selection { since: Some(middle.clone()), ..Selection::default() };
            assert_eq!(with(since), "three\n");
            let until = Selection { until: Some(middle.clone()), ..Selection::default() };
            assert_eq!(with(until), "one\ntwo\n");
            let stamped = with(Selection { timestamps: true, ..Selection::default() });
            assert_eq!(stamped.matches("Z ").count(), 3, "{stamped}");
        });
    }

    #[test]
    fn what_is_written_after_a_log_was_opened_is_for_who_follows() {
        each(|path, write, format| {
            for tail in [None, Some(1), Some(2)] {
                write("before\n");
                let selection = Selection { tail, ..Selection::default() };
                let mut reader = Reader::open(path, format, selection).unwrap();
                // More than a file takes: what was the current one is put aside, with some of it.
                (0..100).for_each(|n| write(&format!("after {n}\n")));
                let mut out = Output::kept();
                reader.read_all(&mut out).unwrap();
                let [text, _] = out.into_kept();
                let text = String::from_utf8(text).unwrap();
                assert!(text.ends_with("before\n"), "{text}");
                let followed = shown(&mut reader);
                assert!(followed.starts_with("after 0\n") && followed.ends_with("after 99\n"));
            }
        });
    }

    #[test]
    fn details_are_what_lines_are_marked_with() {
        for (driver, format) in
            [(LogDriver::JsonFile, Format::Json), (LogDriver::Local, Format::Local)]
        {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("log");
            let config = LogConfig { driver, ..LogConfig::default() };
            let mut writer = Writer::open(&path, &config, r#"{"a":"1","b":"2"}"#).unwrap();
            writer.take(Stream::Stdout, b"x\ny\n").unwrap();
            let selection = Selection { details: true, ..Selection::default() };
            let text = shown(&mut Reader::open(&path, format, selection.clone()).unwrap());
            assert_eq!(text, "a=1,b=2 x\na=1,b=2 y\n", "{driver:?}");
            let last = Selection { tail: Some(1), ..selection };
            let text = shown(&mut Reader::open(&path, format, last).unwrap());
            assert_eq!(text, "a=1,b=2 y\n", "{driver:?}");
        }
    }
}
