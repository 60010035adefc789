//! One layer, from its source to the disk, in one stream.
//!
//! What comes in is verified, kept as a blob, decompressed, hashed again and unpacked as it passes;
//! nothing is read twice. All of it lands in a staging directory, to be committed by the caller once
//! every digest has been found right.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use bundle::digest::{DiffId, Digest};
use bundle::layer::{self, Limits, Options, Stats, Whiteouts};

use super::Cause;
use crate::privilege::is_in_namespace;
use crate::progress::LayerProgress;
use crate::registry;
use crate::store;

/// Size of the pieces in which a blob is copied that need not be unpacked.
const CHUNK: usize = 128 << 10;

/// How layers are unpacked here: root of a user namespace makes no devices, and its overlays look for other marks.
fn options(limits: Limits) -> Options {
    let options = Options { limits, ..Options::default() };
    match is_in_namespace() {
        true => Options { whiteouts: Whiteouts::OverlayUser, devices: false, ..options },
        false => options,
    }
}

/// A layer's blob on its way in.
pub(crate) struct Incoming<'a> {
    digest: Digest,
    source: Box<dyn Read + Send + 'a>,
    /// Where the blob is kept, if it is not in the store yet.
    copy: Option<(File, &'a Path)>,
    progress: &'a dyn LayerProgress,
    cancelled: &'a AtomicBool,
    /// Why reading failed: the readers above it only say that it did.
    fault: Option<Cause>,
    ended: bool,
}

impl<'a> Incoming<'a> {
    /// Reads from `source`, which verifies, and keeps what it reads in `copy`.
    pub(crate) fn new(
        digest: Digest,
        source: Box<dyn Read + Send + 'a>,
        copy: Option<&'a Path>,
        progress: &'a dyn LayerProgress,
        cancelled: &'a AtomicBool,
    ) -> Result<Self, store::Error> {
        let copy = match copy {
            None => None,
            Some(path) => {
                Some((File::create_new(path).map_err(store::Error::file("create", path))?, path))
            }
        };
        Ok(Self { digest, source, copy, progress, cancelled, fault: None, ended: false })
    }

    /// Unpacks the layer into the empty directory `into` and checks that it is `diff_id`. What was `made_here` is nobody's attack.
    pub(crate) fn unpack(
        mut self,
        into: &Path,
        diff_id: &DiffId,
        made_here: bool,
    ) -> Result<Stats, Cause> {
        let root = File::open(into).map_err(store::Error::file("open", into))?;
        let limits = if made_here { Limits::of_own() } else { Limits::on_disk(&root) };
        let unpacked = layer::unpack(&mut self, root.as_fd(), &options(limits));
        // Whatever else is wrong, content that is not what it was promised to be comes first.
        self.drain()?;
        let stats =
            unpacked.map_err(|source| Cause::Layer { digest: self.digest.clone(), source })?;
        if stats.diff_id != *diff_id {
            return Err(Cause::WrongDiffId {
                digest: self.digest,
                expected: diff_id.clone(),
                found: stats.diff_id,
            });
        }
        Ok(stats)
    }

    /// Keeps the blob without unpacking it.
    pub(crate) fn keep(mut self) -> Result<(), Cause> {
        self.drain()
    }

    /// Reads what is left, so that the verdict on the whole is known.
    fn drain(&mut self) -> Result<(), Cause> {
        let mut buffer = vec![0; CHUNK];
        while !self.ended && self.fault.is_none() {
            // The reason of a failure is kept in `fault`.
            let _ = self.read(&mut buffer);
        }
        self.fault.take().map_or(Ok(()), Err)
    }

    fn fail(&mut self, cause: Cause) -> io::Error {
        self.fault = Some(cause);
        io::ErrorKind::Other.into()
    }
}

impl Read for Incoming<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.fault.is_some() {
            return Err(io::ErrorKind::Other.into());
        }
        if self.ended || buffer.is_empty() {
            return Ok(0);
        }
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(self.fail(Cause::Cancelled));
        }
        let count = match self.source.read(buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            Err(error) => {
                let cause = registry::Error::from_read(error, "layer", &self.digest);
                return Err(self.fail(cause.into()));
            }
        };
        if let Some((file, path)) = &mut self.copy
            && let Err(error) = file.write_all(&buffer[..count])
        {
            let cause = store::Error::file("write", path)(error);
            return Err(self.fail(cause.into()));
        }
        self.ended = count == 0;
        self.progress.advance(count as u64);
        Ok(count)
    }
}
