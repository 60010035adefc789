//! Layers: the tar streams that an image is stacked from, written to disk ([`unpack`]) and made from it ([`pack`]).
//!
//! A layer is hostile input. Everything is done below a root fd: a path is resolved by the kernel inside that root (invariant
//! I7), the last component never through a symlink, and what exists is removed rather than written through. Caps bound what an
//! archive can claim. This is class H of the attack classes; docs/layers.md has the rules.

mod compression;
mod error;
mod foreign;
mod inherit;
mod name;
mod options;
mod pack;
mod pipe;
mod stream;
mod tree;
mod unpack;
mod xattr;

use std::{
    io::{self, BufRead as _, Read, Write},
    os::fd::BorrowedFd,
    thread,
};

pub use compression::{Accepted, Compression};
pub use error::Error;
pub use inherit::{drop_idle_whiteouts, inherit};
pub use options::{Clash, IdRange, Ignored, Limits, Options, OwnerMap, Stats, Whiteouts};
pub use pack::{PackOptions, Packed, archive, diff, export, pack};
pub use tree::is_of_kernel;

pub(crate) use compression::{fits_a_layer, peek};
pub(crate) use name::clean;
pub(crate) use stream::Decoded;
pub(crate) use unpack::weight;

use crate::{
    digest::{DiffId, Mismatch},
    tarball::{Entry, HeaderLimits, TarReader},
};

/// Unpacks a layer into the directory `root`, which nobody else should be writing to; if somebody does, what is written still
/// stays inside it.
///
/// `reader` gives the blob as it is stored: plain, gzip or zstd, told apart by its first bytes, and what else `options`
/// [accept](Options::accepted). It is read to its end, so a
/// [`Verifier`](crate::digest::Verifier) under it has had its say when this returns. On failure the directory is left half
/// written, for the caller to remove.
pub fn unpack(
    reader: impl Read + Send,
    root: BorrowedFd<'_>,
    options: &Options,
) -> Result<Stats, Error> {
    with_verdict(reader, |reader| {
        let (writer, pieces) = pipe::pipe();
        thread::scope(|scope| {
            let limits = &options.limits;
            let decoding = thread::Builder::new()
                .name("decode".to_owned())
                .spawn_scoped(scope, move || decode(reader, limits, options.accepted, writer))
                .map_err(Error::Stream)?;
            let applied = apply(pieces, root, options);
            let decoded = decoding.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            let unpack::Tally { entries, implied, whiteouts, opaque_root, ignored, ignored_more } =
                applied?;
            // Without one, the reader of the pieces has met the error.
            let (diff_id, bytes) =
                decoded.ok_or_else(|| Error::Stream(io::ErrorKind::UnexpectedEof.into()))?;
            Ok(Stats {
                diff_id,
                bytes,
                entries,
                implied,
                whiteouts,
                opaque_root,
                ignored,
                ignored_more,
            })
        })
    })
}

/// Decodes a blob to its end; its digest and length, if that was reached.
fn decode(
    reader: impl Read + Send,
    limits: &Limits,
    accepted: Accepted,
    pieces: pipe::PieceWriter,
) -> Option<(DiffId, u64)> {
    let mut decoded = Decoded::new(reader, limits, accepted).map_err(Some);
    let mut ended = false;
    pieces.run(|piece| match &mut decoded {
        Ok(stream) => {
            let n = stream.next(piece)?;
            ended = n == 0;
            Ok(n)
        }
        Err(error) => Err(error.take().unwrap_or_else(|| io::ErrorKind::Other.into())),
    });
    decoded.ok().filter(|_| ended).map(Decoded::verdict)
}

/// Carries out the entries of an archive, and reads on to the end of the stream.
fn apply(
    pieces: pipe::PieceReader,
    root: BorrowedFd<'_>,
    options: &Options,
) -> Result<unpack::Tally, Error> {
    let headers = HeaderLimits { pax: options.limits.xattrs, ..HeaderLimits::default() };
    let mut tar = TarReader::new(pieces, headers);
    let mut unpacker = unpack::Unpacker::new(root, options)?;
    while let Some(entry) = tar.next()? {
        unpacker.apply(&entry, &mut tar)?;
    }
    let tally = unpacker.finish()?;
    tar.into_inner().finish().map_err(Error::stream)?;
    Ok(tally)
}

/// Writes the uncompressed content of an archive.
pub(crate) fn decompress(
    archive: impl Read + Send,
    limits: &Limits,
    output: &mut dyn Write,
) -> Result<(), Error> {
    let mut stream = Decoded::new(archive, limits, Accepted::Archives).map_err(Error::stream)?;
    loop {
        let piece = stream.fill_buf().map_err(Error::stream)?;
        if piece.is_empty() {
            return Ok(());
        }
        output.write_all(piece).map_err(|error| Error::file("write", b"archive", error))?;
        let length = piece.len();
        stream.consume(length);
    }
}

fn open<'a>(
    reader: impl Read + Send + 'a,
    limits: &Limits,
) -> Result<TarReader<Decoded<'a>>, Error> {
    let stream = Decoded::new(reader, limits, Accepted::Layers).map_err(Error::stream)?;
    let headers = HeaderLimits { pax: limits.xattrs, ..HeaderLimits::default() };
    Ok(TarReader::new(stream, headers))
}

/// How much is read of a layer that could not be decoded, to learn whether it was the right one.
const MAX_POST_MORTEM: u64 = 1 << 30;

/// Calls `work`; if it fails on content that makes no sense, reads on to hear whether the content was even the promised one. That
/// is then the failure: a damaged blob is a wrong digest, not a bad compression.
fn with_verdict<R: Read, T>(
    mut reader: R,
    work: impl FnOnce(&mut R) -> Result<T, Error>,
) -> Result<T, Error> {
    work(&mut reader).map_err(|error| {
        let senseless = matches!(error, Error::Stream(_) | Error::Archive(_));
        if !senseless || error.mismatch().is_some() {
            return error;
        }
        match io::copy(&mut reader.take(MAX_POST_MORTEM), &mut io::sink()) {
            Err(verdict) if Mismatch::within(&verdict).is_some() => Error::Stream(verdict),
            _ => error,
        }
    })
}

/// Reads a layer to its end without unpacking it, calls `visit` for each entry, and gives the diff id.
pub fn scan(
    reader: impl Read + Send,
    limits: &Limits,
    mut visit: impl FnMut(&Entry),
) -> Result<DiffId, Error> {
    with_verdict(reader, |reader| {
        let mut tar = open(reader, limits)?;
        while let Some(entry) = tar.next()? {
            name::clean(&entry.name, limits.depth)?;
            visit(&entry);
        }
        tar.into_inner().finish().map(|(diff_id, _)| diff_id).map_err(Error::stream)
    })
}

/// Whether a file begins as a tar archive does, compressed in any way that is [accepted](Accepted::Archives) or not at all.
pub fn is_archive(file: impl Read + Send) -> bool {
    let mut block = [0u8; 512];
    let Ok(mut decoded) = compression::decoder(file, Accepted::Archives) else { return false };
    if decoded.read_exact(&mut block).is_err() {
        return false;
    }
    // The sum of a header's bytes, in which its own eight count as spaces.
    let sum: u32 = block
        .iter()
        .enumerate()
        .map(|(at, byte)| match at {
            148..156 => u32::from(b' '),
            _ => u32::from(*byte),
        })
        .sum();
    let text = String::from_utf8_lossy(&block[148..156]);
    let text = text.trim_matches(['\0', ' ']);
    u32::from_str_radix(text, 8) == Ok(sum)
}

/// The diff id of a layer: the digest of its uncompressed stream. Nothing is written; the limits hold.
pub fn diff_id(reader: impl Read + Send, limits: &Limits) -> Result<crate::digest::DiffId, Error> {
    with_verdict(reader, |reader| {
        let stream = Decoded::new(reader, limits, Accepted::Layers).map_err(Error::stream)?;
        stream.finish().map(|(diff_id, _)| diff_id).map_err(Error::stream)
    })
}

#[cfg(test)]
mod tests;
