//! The files of a log, in their order.

use crate::notice;
use std::fs::File;
use std::io::{self, Read, Seek as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The ending of compressed files.
pub(super) const COMPRESSED: &str = "gz";

/// One file that was put aside.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Aside {
    pub(super) number: u64,
    pub(super) path: PathBuf,
    pub(super) compressed: bool,
}

/// Those that were put aside, the oldest first. Of a file that is being compressed, only one is listed.
pub(super) fn aside(log: &Path) -> io::Result<Vec<Aside>> {
    let (Some(directory), Some(name)) = (log.parent(), log.file_name().and_then(|n| n.to_str()))
    else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let file = path.file_name().and_then(|file| file.to_str());
        let Some(rest) = file.and_then(|file| file.strip_prefix(name)?.strip_prefix('.')) else {
            continue;
        };
        let (number, ending) = rest.split_once('.').unwrap_or((rest, ""));
        if let Ok(number) = number.parse()
            && matches!(ending, "" | COMPRESSED)
        {
            let compressed = ending == COMPRESSED;
            found.push(Aside { number, path, compressed });
        }
    }
    // The plain file is there until the compressed one is whole.
    found.sort();
    found.dedup_by_key(|aside| aside.number);
    Ok(found)
}

/// The path of a file that is put aside.
pub(super) fn aside_path(log: &Path, number: u64) -> PathBuf {
    let mut path = log.as_os_str().to_owned();
    path.push(format!(".{number}"));
    PathBuf::from(path)
}

/// A file of the log that is open.
pub(super) struct Open {
    /// Its number; for the current one, the number that it will get.
    pub(super) number: u64,
    pub(super) file: File,
    /// Where it is, if it is compressed.
    compressed: Option<PathBuf>,
}

impl Open {
    fn aside(aside: &Aside) -> io::Result<Self> {
        let file = File::open(&aside.path)?;
        let compressed = aside.compressed.then(|| aside.path.clone());
        Ok(Self { number: aside.number, file, compressed })
    }

    /// Its contents, if they are compressed; else it can be read and sought in itself. Of one that is damaged, those before the damage: it is
    /// told, and hides nothing of the other files.
    pub(super) fn decompress(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some(path) = &self.compressed else { return Ok(None) };
        let mut contents = Vec::new();
        self.file.rewind()?;
        match flate2::read::MultiGzDecoder::new(&mut self.file).read_to_end(&mut contents) {
            // The kernel's: it may be read another time.
            Err(error) if error.raw_os_error().is_some() => return Err(error),
            Err(error) => notice::note(format!(
                "a part of the log is left out: `{}` is damaged: {error}",
                path.display()
            )),
            Ok(_) => {}
        }
        Ok(Some(contents))
    }
}

/// Opens every file, the oldest first and the current one last. Nothing at all where nothing was ever written.
///
/// Looks until nothing has changed while it looked: the numbers have no gap then, and no file is missing.
pub(super) fn open_all(log: &Path) -> io::Result<Vec<Open>> {
    loop {
        let before = aside(log)?;
        let mut all = Vec::new();
        let mut lost = false;
        for aside in &before {
            match Open::aside(aside) {
                Ok(open) => all.push(open),
                Err(error) if error.kind() == io::ErrorKind::NotFound => lost = true,
                Err(error) => return Err(error),
            }
        }
        let current = match File::open(log) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let number = before.last().map_or(1, |aside| aside.number + 1);
        if lost || aside(log)?.last().map_or(1, |aside| aside.number + 1) != number {
            continue;
        }
        all.extend(current.map(|file| Open { number, file, compressed: None }));
        return Ok(all);
    }
}

/// What follows the current file of this number, once it has been put aside. `None` while it is the current one.
pub(super) fn next_after(log: &Path, current: &Open) -> io::Result<Option<Open>> {
    let same = |file: &File| -> io::Result<bool> {
        let (a, b) = (file.metadata()?, current.file.metadata()?);
        Ok((a.dev(), a.ino()) == (b.dev(), b.ino()))
    };
    match File::open(log) {
        Ok(file) if same(&file)? => return Ok(None),
        Ok(_) => {}
        // Between the renaming and the new file.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    // The oldest of those that are younger. Files that were removed before anybody has read them are lost.
    let all = open_all(log)?;
    let last = all.len().saturating_sub(1);
    let younger =
        |(at, open): (usize, Open)| (open.number > current.number || at == last).then_some(open);
    Ok(all.into_iter().enumerate().find_map(younger))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_in_the_order_of_their_numbers_and_each_once() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        for name in
            ["log", "log.9", "log.10", "log.11.gz", "log.11", "log.x", "logs.1", "log.12.gz.new"]
        {
            std::fs::write(dir.path().join(name), name).unwrap();
        }
        let numbers: Vec<(u64, bool)> =
            aside(&log).unwrap().iter().map(|aside| (aside.number, aside.compressed)).collect();
        assert_eq!(numbers, [(9, false), (10, false), (11, false)]);
        let all = open_all(&log).unwrap();
        assert_eq!(all.iter().map(|open| open.number).collect::<Vec<_>>(), [9, 10, 11, 12]);
    }

    #[test]
    fn the_next_file_is_the_oldest_of_the_younger_ones() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        std::fs::write(&log, "one").unwrap();
        let current = open_all(&log).unwrap().pop().unwrap();
        assert!(next_after(&log, &current).unwrap().is_none());
        for number in 1..4 {
            std::fs::rename(&log, aside_path(&log, number)).unwrap();
            std::fs::write(&log, "next").unwrap();
        }
        let next = next_after(&log, &current).unwrap().unwrap();
        assert_eq!(next.number, 2);
        // Removed before it was read: the next that is there.
        std::fs::remove_file(aside_path(&log, 2)).unwrap();
        assert_eq!(next_after(&log, &current).unwrap().unwrap().number, 3);
        std::fs::remove_file(aside_path(&log, 3)).unwrap();
        std::fs::remove_file(aside_path(&log, 1)).unwrap();
        assert!(next_after(&log, &current).unwrap().is_some());
    }
}
