//! Appends to a container's log, and puts the file aside when it has grown too long.

use super::files::{COMPRESSED, aside, aside_path};
use super::local::{self, Kind};
use super::{Format, LONGEST_LINE, Stream, json};
use crate::clock::Timestamp;
use crate::container::LogConfig;
use crate::forward::Forwarder;
use memchr::{memchr, memchr_iter};
use std::fs::{File, OpenOptions};
use std::io::{self, Cursor, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The name under which `main` compresses a file that was put aside: the monitor itself stays small.
pub const COMPRESSOR: &str = "nman-compress";

/// A write gathers no more than this.
const GATHERED: u64 = 64 * 1024;

/// Appends to a container's log.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    /// `None` where nothing is kept.
    format: Option<Format>,
    max_size: u64,
    max_files: u64,
    compress: bool,
    attributes: String,
    file: File,
    size: u64,
    /// Who else is given every line.
    forwarder: Option<Forwarder>,
    /// The number that the current file will get.
    number: u64,
    /// The attributes are still to be written to the current file.
    headless: bool,
    partial: [Vec<u8>; 2],
    /// So much text waits to be written.
    gathered: u64,
    /// So much could not be.
    lost: u64,
    out: Vec<u8>,
    /// How much text each line of JSON in `out` stands for.
    texts: Vec<usize>,
    /// The pieces of `out` that go into one record of our own form.
    lines: Vec<u8>,
}

/// Where a piece of output has come from, and when.
struct Arrival {
    stream: Stream,
    time: Timestamp,
    /// The time, as it is written.
    text: String,
}

impl Arrival {
    fn now(stream: Stream) -> Self {
        let time = Timestamp::now();
        Self { stream, time, text: time.to_string() }
    }
}

impl Writer {
    /// Opens the log for appending; a restarted container's log goes on. `attributes` mark every line.
    pub fn open(path: &Path, config: &LogConfig, attributes: &str) -> io::Result<Self> {
        let format = Format::of(config);
        let file = match format {
            Some(format) => open_current(path, format)?,
            None => File::open("/dev/null")?,
        };
        let number = aside(path)?.last().map_or(1, |aside| aside.number + 1);
        Ok(Self {
            path: path.to_owned(),
            format,
            max_size: config.max_size,
            max_files: config.max_files.max(1).into(),
            compress: config.compress,
            attributes: attributes.to_owned(),
            size: file.metadata()?.len(),
            file,
            forwarder: None,
            number,
            headless: true,
            partial: [Vec::new(), Vec::new()],
            gathered: 0,
            lost: 0,
            out: Vec::new(),
            texts: Vec::new(),
            lines: Vec::new(),
        })
    }

    /// The same, which gives every line to somebody else, too.
    #[must_use]
    pub fn and_to(self, forwarder: Option<Forwarder>) -> Self {
        Self { forwarder, ..self }
    }

    /// How much of what was taken is not in the log, because it could not be written, or did not get to whom it was to be sent: bytes of
    /// text.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost + self.forwarder.as_ref().map_or(0, Forwarder::lost)
    }

    /// Takes what was read from a stream and writes the lines that it completes, in few writes. After an error the next may
    /// be written all the same: what the file holds is whole records.
    pub fn take(&mut self, stream: Stream, mut bytes: &[u8]) -> io::Result<()> {
        if self.format.is_none() && self.forwarder.is_none() {
            return Ok(());
        }
        let arrival = Arrival::now(stream);
        let mut written = Ok(());
        let mut partial = std::mem::take(&mut self.partial[stream as usize]);
        while !bytes.is_empty() {
            let room = LONGEST_LINE - partial.len();
            let newline = memchr(b'\n', &bytes[..bytes.len().min(room)]);
            let end = newline.map_or(bytes.len().min(room), |at| at + 1);
            let whole = newline.is_some() || end == room;
            if whole && partial.is_empty() {
                written = written.and(self.add(&bytes[..end], &arrival));
            } else {
                partial.extend_from_slice(&bytes[..end]);
                if whole {
                    written = written.and(self.add(&partial, &arrival));
                    partial.clear();
                }
            }
            bytes = &bytes[end..];
            if (self.out.len() + self.lines.len()) as u64 >= self.room() {
                written = written.and(self.flush(&arrival));
            }
        }
        self.partial[stream as usize] = partial;
        written.and(self.flush(&arrival))
    }

    /// Who else is given every line.
    pub fn forwarder(&self) -> Option<&Forwarder> {
        self.forwarder.as_ref()
    }

    /// The same, to be given its turn.
    pub fn forwarder_mut(&mut self) -> Option<&mut Forwarder> {
        self.forwarder.as_mut()
    }

    /// Writes what is left of lines that never ended.
    pub fn finish(&mut self) -> io::Result<()> {
        let mut written = Ok(());
        for stream in [Stream::Stdout, Stream::Stderr] {
            let partial = std::mem::take(&mut self.partial[stream as usize]);
            if !partial.is_empty() {
                let arrival = Arrival::now(stream);
                written = written.and(self.add(&partial, &arrival));
                written = written.and(self.flush(&arrival));
            }
        }
        written
    }

    /// So much is gathered before it is written: no more than goes into the file.
    fn room(&self) -> u64 {
        match self.max_size {
            0 => GATHERED,
            max => max.saturating_sub(self.size).min(GATHERED),
        }
    }

    fn add(&mut self, line: &[u8], arrival: &Arrival) -> io::Result<()> {
        match self.format {
            Some(Format::Json) => {
                json::write(&mut self.out, arrival.stream, line, &arrival.text, &self.attributes);
                self.texts.push(line.len());
                self.gathered += line.len() as u64;
            }
            Some(Format::Local) => {
                self.lines.extend_from_slice(line);
                self.gathered += line.len() as u64;
            }
            None => {}
        }
        let Some(forwarder) = &mut self.forwarder else { return Ok(()) };
        forwarder.send(arrival.stream, arrival.time, line)
    }

    fn flush(&mut self, arrival: &Arrival) -> io::Result<()> {
        let Arrival { stream, time, .. } = *arrival;
        if !self.lines.is_empty() {
            if self.headless && !self.attributes.is_empty() {
                // A file of our own form begins with the attributes of all of its records.
                local::write(&mut self.out, Kind::Attributes, self.attributes.as_bytes(), time);
            }
            local::write(&mut self.out, Kind::Lines(stream), &self.lines, time);
            self.lines.clear();
        }
        if self.out.is_empty() {
            return Ok(());
        }
        let text = std::mem::take(&mut self.gathered);
        let written = self.file.write_all(&self.out);
        let (length, kept) = match written {
            Ok(()) => (self.out.len(), text),
            Err(_) => self.cut_off().unwrap_or((0, 0)),
        };
        self.out.clear();
        self.texts.clear();
        self.lost += text - kept;
        self.headless &= length == 0;
        self.size += length as u64;
        written?;
        if self.max_size > 0 && self.size >= self.max_size { self.put_aside() } else { Ok(()) }
    }

    /// After a write that has failed: whole records that it has brought stay, for a follower may have shown them, and what is
    /// behind them is cut off, for it would spoil what follows. Returns how long they are, and how long their text is.
    fn cut_off(&self) -> io::Result<(usize, u64)> {
        let there = usize::try_from(self.file.metadata()?.len().saturating_sub(self.size));
        let there = &self.out[..there.unwrap_or(usize::MAX).min(self.out.len())];
        let (length, text) = match self.format {
            Some(Format::Json) => whole_lines(there, &self.texts),
            // The text is in the last record, which is not there as a whole.
            _ => {
                let sound = local::sound_length(&mut Cursor::new(there))?;
                (usize::try_from(sound).unwrap_or(there.len()), 0)
            }
        };
        if length < there.len() {
            self.file.set_len(self.size + length as u64)?;
        }
        Ok((length, text))
    }

    fn put_aside(&mut self) -> io::Result<()> {
        let Some(format) = self.format else { return Ok(()) };
        match std::fs::rename(&self.path, aside_path(&self.path, self.number)) {
            Ok(()) => self.number += 1,
            // It was put aside before, and then no new one could be opened: what came since went to the old one.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        self.file = open_current(&self.path, format)?;
        (self.size, self.headless) = (0, true);
        let removed = self.forget_old();
        if self.compress && self.max_files > 1 {
            // Whoever ends is collected by the monitor's loop. A file that stays as it is can be read as well.
            let _ = Command::new("/proc/self/exe")
                .arg0(COMPRESSOR)
                .arg(aside_path(&self.path, self.number - 1))
                .current_dir("/")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn();
        }
        removed
    }

    fn forget_old(&self) -> io::Result<()> {
        for old in aside(&self.path)? {
            // The current one counts, too.
            if old.number + self.max_files <= self.number {
                forget(&self.path, old.number)?;
            }
        }
        Ok(())
    }
}

/// How long the whole lines are that a piece of JSON begins with, and how long their text is.
fn whole_lines(piece: &[u8], texts: &[usize]) -> (usize, u64) {
    let mut whole = (0, 0);
    for (end, text) in memchr_iter(b'\n', piece).zip(texts) {
        whole = (end + 1, whole.1 + *text as u64);
    }
    whole
}

/// Opens the current file, and mends what a full disk has cut off there.
fn open_current(path: &Path, format: Format) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let file = options.read(true).append(true).create(true).mode(0o600).open(path)?;
    let size = file.metadata()?.len();
    if size == 0 {
        return Ok(file);
    }
    match format {
        Format::Json => {
            let mut last = [0];
            file.read_exact_at(&mut last, size - 1)?;
            if last != *b"\n" {
                (&file).write_all(b"\n")?;
            }
        }
        Format::Local if !ends_well(&file, size)? => {
            file.set_len(local::sound_length(&mut &file)?)?;
        }
        Format::Local => {}
    }
    Ok(file)
}

/// Whether a file of our own form ends with a whole record.
fn ends_well(file: &File, size: u64) -> io::Result<bool> {
    let mut tail = [0; local::TAIL];
    let Some(end) = size.checked_sub(local::TAIL as u64) else { return Ok(false) };
    file.read_exact_at(&mut tail, end)?;
    let length = u64::from(u32::from_le_bytes(tail));
    let Some(start) = size.checked_sub(length + (local::HEAD + local::TAIL) as u64) else {
        return Ok(false);
    };
    let mut head = [0; local::HEAD];
    file.read_exact_at(&mut head, start)?;
    Ok(local::head(&head).is_some_and(|head| head.length as u64 == length))
}

/// Removes a file that was put aside, also while it is being compressed: the plain one first, whose absence tells the
/// compressor that nobody wants the other either. One that was killed has left what it had not finished.
fn forget(log: &Path, number: u64) -> io::Result<()> {
    let plain = aside_path(log, number);
    let compressed = compressed_path(&plain);
    for path in [&plain, &compressed, &unfinished_path(&compressed)] {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn compressed_path(plain: &Path) -> PathBuf {
    let mut path = plain.as_os_str().to_owned();
    path.push(format!(".{COMPRESSED}"));
    PathBuf::from(path)
}

fn unfinished_path(compressed: &Path) -> PathBuf {
    let mut path = compressed.as_os_str().to_owned();
    path.push(".new");
    PathBuf::from(path)
}

/// Compresses a file that was put aside. The compressed one appears whole, also after a power cut, and then the other goes; if that one
/// has been removed meanwhile, so is this.
pub(super) fn compress(path: &Path) -> io::Result<()> {
    let mut plain = File::open(path)?;
    let target = compressed_path(path);
    let unfinished = unfinished_path(&target);
    let mut options = OpenOptions::new();
    let out = options.write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::fast());
    let copied = io::copy(&mut plain, &mut encoder).and_then(|_| encoder.finish());
    let synced = copied.and_then(|out| out.sync_data());
    if let Err(error) = synced.and_then(|()| std::fs::rename(&unfinished, &target)) {
        let _ = std::fs::remove_file(&unfinished);
        return Err(error);
    }
    std::fs::remove_file(path).or_else(|_| std::fs::remove_file(&target))
}

#[cfg(test)]
mod tests {
    use super::super::{Reader, Selection};
    use super::*;
    use crate::container::LogDriver;

    fn config(driver: LogDriver, max_size: u64, max_files: u32) -> LogConfig {
        LogConfig { driver, max_size, max_files, ..LogConfig::default() }
    }

    fn shown(path: &Path, format: Format) -> (String, String) {
        let mut out = crate::journal::Output::kept();
        let mut reader = Reader::open(path, format, Selection::default()).unwrap();
        reader.read_all(&mut out).unwrap();
        let [stdout, stderr] = out.into_kept();
        (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
    }

    #[test]
    fn a_line_is_one_entry_however_it_arrives() {
        for (driver, format) in
            [(LogDriver::JsonFile, Format::Json), (LogDriver::Local, Format::Local)]
        {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("log");
            let mut log = Writer::open(&path, &config(driver, 0, 1), "").unwrap();
            for (stream, bytes) in [
                (Stream::Stdout, &b"hel"[..]),
                (Stream::Stderr, b"oops\n"),
                (Stream::Stdout, b"lo\nwor"),
                (Stream::Stdout, b"ld"),
            ] {
                log.take(stream, bytes).unwrap();
            }
            assert_eq!(shown(&path, format), ("hello\n".to_owned(), "oops\n".to_owned()));
            log.finish().unwrap();
            assert_eq!(shown(&path, format), ("hello\nworld".to_owned(), "oops\n".to_owned()));
        }
    }

    #[test]
    fn a_line_without_end_is_split_and_never_lost() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = Writer::open(&path, &config(LogDriver::JsonFile, 0, 1), "").unwrap();
        log.take(Stream::Stdout, &vec![b'x'; LONGEST_LINE * 2 + 5]).unwrap();
        log.finish().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let lengths: Vec<usize> = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .map(|value| value["log"].as_str().unwrap().len())
            .collect();
        assert_eq!(lengths, [LONGEST_LINE, LONGEST_LINE, 5]);
    }

    #[test]
    fn files_are_put_aside_and_the_oldest_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = Writer::open(&path, &config(LogDriver::Local, 1000, 3), "").unwrap();
        for n in 0..100 {
            log.take(Stream::Stdout, format!("{n} {}\n", "x".repeat(100)).as_bytes()).unwrap();
        }
        let names: Vec<String> = aside(&path)
            .unwrap()
            .iter()
            .map(|aside| aside.path.file_name().unwrap().to_str().unwrap().to_owned())
            .collect();
        assert_eq!(names.len(), 2, "{names:?}");
        let (stdout, _) = shown(&path, Format::Local);
        let lines: Vec<&str> = stdout.lines().collect();
        assert!(lines.len() >= 16 && lines.len() < 30, "{}", lines.len());
        assert!(lines.last().unwrap().starts_with("99 "));
        // In order, and none is missing in between.
        let first: usize = lines[0].split(' ').next().unwrap().parse().unwrap();
        assert_eq!(first, 100 - lines.len());
        // One that is opened again goes on with the numbers.
        drop(log);
        let mut log = Writer::open(&path, &config(LogDriver::Local, 1000, 3), "").unwrap();
        for _ in 0..20 {
            log.take(Stream::Stdout, &[b'y'; 200]).unwrap();
        }
        log.finish().unwrap();
        assert!(shown(&path, Format::Local).0.ends_with("yyyy"));
    }

    #[test]
    fn what_was_put_aside_can_be_compressed_and_read_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = Writer::open(&path, &config(LogDriver::JsonFile, 500, 9), "").unwrap();
        for n in 0..20 {
            log.take(Stream::Stdout, format!("{n}\n").as_bytes()).unwrap();
        }
        let before = shown(&path, Format::Json);
        for old in aside(&path).unwrap() {
            compress(&old.path).unwrap();
        }
        assert!(aside(&path).unwrap().iter().all(|aside| aside.compressed));
        assert_eq!(shown(&path, Format::Json), before);
        assert_eq!(before.0.lines().count(), 20);
    }

    #[test]
    fn pieces_of_a_long_line_stay_what_they_are_beside_others() {
        for (driver, format) in
            [(LogDriver::JsonFile, Format::Json), (LogDriver::Local, Format::Local)]
        {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("log");
            let mut log = Writer::open(&path, &config(driver, 0, 1), "").unwrap();
            let long = "z".repeat(2 * LONGEST_LINE + 1);
            for (stream, text) in [
                (Stream::Stdout, long.as_str()),
                (Stream::Stderr, "oops\n"),
                (Stream::Stdout, "end\nunended"),
            ] {
                log.take(stream, text.as_bytes()).unwrap();
            }
            log.finish().unwrap();
            let mut again = Writer::open(&path, &config(driver, 0, 1), "").unwrap();
            again.take(Stream::Stderr, b"started again\n").unwrap();
            let expected = (format!("{long}end\nunended"), "oops\nstarted again\n".to_owned());
            assert!(shown(&path, format) == expected, "{format:?}");
        }
    }

    #[test]
    fn an_old_file_goes_in_whichever_form_the_compressor_has_left_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let killed = ["log.1", "log.1.gz.new"];
        for forms in [&["log.1"][..], &["log.1.gz"], &["log.1", "log.1.gz"], &killed, &[]] {
            for form in forms {
                std::fs::write(dir.path().join(form), "old").unwrap();
            }
            forget(&path, 1).unwrap();
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "{forms:?}");
        }
        assert!(compress(&aside_path(&path, 1)).is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing half made");
    }

    #[test]
    fn what_a_full_disk_has_cut_off_does_not_spoil_what_follows() {
        for (driver, format) in
            [(LogDriver::JsonFile, Format::Json), (LogDriver::Local, Format::Local)]
        {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("log");
            let config = config(driver, 0, 1);
            Writer::open(&path, &config, "").unwrap().take(Stream::Stdout, b"one\ntwo\n").unwrap();
            Writer::open(&path, &config, "").unwrap().take(Stream::Stdout, b"lost\n").unwrap();
            let length = std::fs::metadata(&path).unwrap().len();
            OpenOptions::new().write(true).open(&path).unwrap().set_len(length - 3).unwrap();
            Writer::open(&path, &config, "").unwrap().take(Stream::Stdout, b"three\n").unwrap();
            assert_eq!(shown(&path, format).0, "one\ntwo\nthree\n", "{driver:?}");
        }
    }

    #[test]
    fn what_could_not_be_written_is_counted_and_does_not_spoil_what_follows() {
        for (driver, format) in
            [(LogDriver::JsonFile, Format::Json), (LogDriver::Local, Format::Local)]
        {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("log");
            let mut log = Writer::open(&path, &config(driver, 0, 1), "{}").unwrap();
            log.take(Stream::Stdout, b"one\n").unwrap();
            let full = File::options().write(true).open("/dev/full").unwrap();
            let sound = std::mem::replace(&mut log.file, full);
            assert!(log.take(Stream::Stdout, b"lost\nhal").is_err());
            log.file = sound;
            assert_eq!(log.lost(), 5);
            log.take(Stream::Stdout, b"f\ntwo\n").unwrap();
            assert_eq!(shown(&path, format).0, "one\nhalf\ntwo\n", "{driver:?}");
        }
    }

    #[test]
    fn of_a_write_that_failed_half_way_whole_records_stay() {
        for (driver, expected) in [
            (LogDriver::JsonFile, ("one\ntwo\n\u{fffd}\u{fffd}\n", 7)),
            (LogDriver::Local, ("one\n", 0)),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("log");
            let mut log = Writer::open(&path, &config(driver, 0, 1), "{}").unwrap();
            log.take(Stream::Stdout, b"one\n").unwrap();
            // As `take` leaves it for a disk that takes all but the last ten bytes.
            let arrival = Arrival::now(Stream::Stdout);
            for line in [&b"two\n"[..], b"\xff\xff\n", b"three\n"] {
                log.add(line, &arrival).unwrap();
            }
            if driver == LogDriver::Local {
                local::write(&mut log.out, Kind::Lines(Stream::Stdout), &log.lines, arrival.time);
            }
            let came = log.out.len() - 10;
            (&log.file).write_all(&log.out[..came]).unwrap();
            let (length, text) = log.cut_off().unwrap();
            assert_eq!(text, expected.1, "{driver:?}");
            assert_eq!(path.metadata().unwrap().len(), log.size + length as u64, "{driver:?}");
            assert_eq!(shown(&path, Format::of(&config(driver, 0, 1)).unwrap()).0, expected.0);
        }
    }
}
