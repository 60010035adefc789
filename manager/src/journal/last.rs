//! Where the last lines of a file begin.

use super::Format;
use super::local::{self, Kind};
use memchr::{memchr_iter, memrchr_iter};
use std::io::{self, Read, Seek, SeekFrom};

/// So much is looked at once.
const BLOCK: usize = 256 * 1024;

/// Where the last lines of a file begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) offset: u64,
    /// So many there are from there.
    pub(super) lines: u64,
    /// So many are to be left out: a record may have more lines than are wanted.
    pub(super) skip: u64,
}

/// Finds so many lines, or all that there are.
pub(super) fn start(
    format: Format,
    file: &mut (impl Read + Seek),
    wanted: u64,
) -> io::Result<Start> {
    match format {
        Format::Json => of_lines(file, wanted),
        Format::Local => of_records(file, wanted),
    }
}

/// What all lines of a file of our own form are marked with: its first record says it.
pub(super) fn attributes_of(file: &mut (impl Read + Seek)) -> io::Result<Vec<u8>> {
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

/// Reads backwards, so that a long log costs no more than a short one.
fn of_lines(file: &mut (impl Read + Seek), wanted: u64) -> io::Result<Start> {
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
                return Ok(Start { offset: position + at as u64 + 1, lines: seen, skip: 0 });
            }
            seen += 1;
        }
    }
    let offset = if wanted == 0 { end } else { 0 };
    Ok(Start { offset, lines: seen, skip: 0 })
}

/// The same for records of our own form, of which the first may have more lines than are wanted.
fn of_records(file: &mut (impl Read + Seek), wanted: u64) -> io::Result<Start> {
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
    let (lines, skip) = (seen.min(wanted), seen.saturating_sub(wanted));
    Ok(Start { offset: position, lines, skip })
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
