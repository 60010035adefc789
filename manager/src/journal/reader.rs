//! Reads a log: all of its files as one, from where is asked for.

use super::files::{Open, next_after, open_all};
use super::local::{self, Kind};
use super::{Entry, Format, Output, Text, json};
use crate::error::{Error, Result};
use memchr::{memchr, memchr_iter, memrchr_iter};
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
}

/// Reads a log from its oldest wanted line on.
pub struct Reader {
    path: PathBuf,
    format: Format,
    selection: Selection,
    files: VecDeque<Current>,
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
            files: VecDeque::new(),
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
        let Some(mut wanted) = self.selection.tail else {
            self.files = all.into_iter().map(Current::new).collect::<io::Result<_>>()?;
            return Ok(());
        };
        for open in all.into_iter().rev() {
            let mut current = Current::new(open)?;
            let (start, lines, skip) = match self.format {
                Format::Json => start_of_last_lines(&mut current.contents, wanted)?,
                Format::Local => start_of_last_records(&mut current.contents, wanted)?,
            };
            if self.format == Format::Local && self.selection.details {
                self.attributes = attributes_of(&mut current.contents)?;
            }
            current.contents.seek(SeekFrom::Start(start))?;
            self.files.push_front(current);
            self.skip = skip;
            wanted -= lines.min(wanted);
            if wanted == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Shows everything that there is.
    pub fn read_all(&mut self, out: &mut Output) -> Result<()> {
        while !self.files.is_empty() {
            self.read_file(out)?;
            if self.files.len() == 1 {
                break;
            }
            self.files.pop_front();
            // What was cut off at the end of a file has no rest in the next.
            self.filled = 0;
        }
        out.flush()
    }

    /// The same, and goes on with the files that have come after the last one meanwhile.
    pub fn read_on(&mut self, out: &mut Output) -> Result<()> {
        if self.files.is_empty() {
            self.begin().map_err(Error::io("read", &self.path))?;
        }
        loop {
            self.read_all(out)?;
            let Some(current) = self.files.front() else { return Ok(()) };
            match next_after(&self.path, &current.open).map_err(Error::io("read", &self.path))? {
                None => return Ok(()),
                // Nothing more is written to the old one now: what is there is read first.
                Some(next) => {
                    self.files
                        .push_back(Current::new(next).map_err(Error::io("read", &self.path))?);
                }
            }
        }
    }

    /// Shows the rest of the first file.
    fn read_file(&mut self, out: &mut Output) -> Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let result = self.read_blocks(&mut buffer, out);
        self.buffer = buffer;
        result
    }

    fn read_blocks(&mut self, buffer: &mut [u8], out: &mut Output) -> Result<()> {
        self.rewind().map_err(Error::io("read", &self.path))?;
        while let Some(current) = self.files.front_mut() {
            let read = match current.contents.read(&mut buffer[self.filled..]) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Error::io("read", &self.path)(error)),
            };
            if read == 0 {
                break;
            }
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
    fn rewind(&mut self) -> io::Result<()> {
        let filled = std::mem::take(&mut self.filled) as u64;
        let Some(current) = self.files.front_mut() else { return Ok(()) };
        let Contents::File(file) = &mut current.contents else { return Ok(()) };
        let position = file.stream_position()?.saturating_sub(filled);
        let is_there = file.metadata()?.len() >= position;
        file.seek(SeekFrom::Start(if is_there { position } else { 0 })).map(drop)
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

/// What all lines of a file of our own form are marked with: its first record says it.
fn attributes_of(file: &mut (impl Read + Seek)) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(0))?;
    let mut start = Vec::new();
    file.by_ref().take(local::HEAD as u64).read_to_end(&mut start)?;
    let mut text = Vec::new();
    if let Some(head) = local::head(&start)
        && head.kind == Kind::Attributes
    {
        file.by_ref().take(head.length as u64).read_to_end(&mut text)?;
    }
    Ok(text)
}

/// Where the last lines of a file begin: `(offset, how many there are from there, how many to leave out)`. Reads
/// backwards, so that a long log costs no more than a short one.
fn start_of_last_lines(file: &mut (impl Read + Seek), wanted: u64) -> io::Result<(u64, u64, u64)> {
    let end = file.seek(SeekFrom::End(0))?;
    let (mut position, mut seen) = (end, 0);
    let mut block = Vec::new();
    while position > 0 {
        let length = position.min(BLOCK as u64);
        position -= length;
        file.seek(SeekFrom::Start(position))?;
        block.clear();
        file.by_ref().take(length).read_to_end(&mut block)?;
        for at in memrchr_iter(b'\n', &block) {
            // Every newline but the one at the very end begins a line; the one there ends the last.
            if seen == wanted {
                return Ok((position + at as u64 + 1, seen, 0));
            }
            seen += 1;
        }
    }
    if wanted == 0 { Ok((end, 0, 0)) } else { Ok((0, seen, 0)) }
}

/// The same for records of our own form, of which the first may have more lines than are wanted.
fn start_of_last_records(
    file: &mut (impl Read + Seek),
    wanted: u64,
) -> io::Result<(u64, u64, u64)> {
    let size = file.seek(SeekFrom::End(0))?;
    let (mut position, mut seen) = (size, 0);
    while position > 0 && seen < wanted {
        let Some((head, record)) = record_before(file, position)? else {
            // The last one is being written, or was cut off. Farther on, what comes after the damage is all there is.
            let sound = if position == size { local::sound_length(file)? } else { size };
            if sound == size {
                break;
            }
            position = sound;
            continue;
        };
        position -= (record.len() + local::TAIL) as u64;
        if matches!(head.kind, Kind::Lines(_)) {
            let text = &record[local::HEAD..];
            let unended = u64::from(!text.is_empty() && !text.ends_with(b"\n"));
            seen += memchr_iter(b'\n', text).count() as u64 + unended;
        }
    }
    Ok((position, seen.min(wanted), seen.saturating_sub(wanted)))
}

/// The record that ends there, without its tail; `None` where none does.
fn record_before(
    file: &mut (impl Read + Seek),
    end: u64,
) -> io::Result<Option<(local::Head, Vec<u8>)>> {
    let mut tail = [0; local::TAIL];
    let Some(at) = end.checked_sub(local::TAIL as u64) else { return Ok(None) };
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut tail)?;
    let length = u32::from_le_bytes(tail) as usize;
    let start = at.checked_sub((local::HEAD + length) as u64);
    let Some(start) = start.filter(|_| length <= local::LONGEST) else { return Ok(None) };
    file.seek(SeekFrom::Start(start))?;
    let mut record = vec![0; local::HEAD + length];
    file.read_exact(&mut record)?;
    Ok(local::head(&record).filter(|head| head.length == length).map(|head| (head, record)))
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
