//! The uncompressed stream of a layer: decoded, hashed for its diff id and held to the limits, all in the one pass that unpacks.

use std::{
    io::{self, BufRead, Read},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{Accepted, Limits, compression};
use crate::digest::{Algorithm, DiffId, Hasher};

/// A buffer large enough that hashing runs at full speed and most files come out of one piece.
const BUFFER: usize = 128 << 10;

/// The uncompressed stream.
pub(crate) struct Decoded<'a> {
    input: Box<dyn Read + Send + 'a>,
    buffer: Box<[u8]>,
    at: usize,
    end: usize,
    hasher: Hasher,
    /// Bytes of the blob that were read so far.
    compressed: Arc<AtomicU64>,
    limits: Limits,
}

impl<'a> Decoded<'a> {
    pub(crate) fn new(
        input: impl Read + Send + 'a,
        limits: &Limits,
        accepted: Accepted,
    ) -> io::Result<Self> {
        let compressed = Arc::new(AtomicU64::new(0));
        let input = Counted { input, count: Arc::clone(&compressed) };
        Ok(Self {
            input: compression::decoder(input, accepted)?,
            buffer: Box::default(),
            at: 0,
            end: 0,
            hasher: Hasher::new(Algorithm::Sha256),
            compressed,
            limits: limits.clone(),
        })
    }

    /// The next bytes of the stream in `buffer`, hashed and held to the limits.
    pub(super) fn next(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.input.read(buffer)?;
        self.hasher.update(&buffer[..n]);
        self.check().map_err(|e| io::Error::new(io::ErrorKind::FileTooLarge, e))?;
        Ok(n)
    }

    /// The digest and the length of what has been read.
    pub(super) fn verdict(self) -> (DiffId, u64) {
        let bytes = self.hasher.bytes();
        (self.hasher.finish().into(), bytes)
    }

    /// Reads what is left, so that the whole blob has passed every check, and gives the digest and the length.
    pub(crate) fn finish(mut self) -> io::Result<(DiffId, u64)> {
        loop {
            match self.fill_buf()?.len() {
                0 => break,
                n => self.consume(n),
            }
        }
        Ok(self.verdict())
    }

    fn check(&self) -> Result<(), Exceeded> {
        let bytes = self.hasher.bytes();
        if bytes > self.limits.bytes {
            return Err(Exceeded::Bytes(self.limits.bytes));
        }
        let compressed = self.compressed.load(Ordering::Relaxed);
        if bytes > self.limits.ratio_from && bytes / self.limits.ratio > compressed {
            return Err(Exceeded::Ratio(self.limits.ratio));
        }
        Ok(())
    }
}

impl BufRead for Decoded<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.end {
            self.at = 0;
            self.end = 0;
            let mut buffer = std::mem::take(&mut self.buffer);
            if buffer.is_empty() {
                buffer = vec![0; BUFFER].into_boxed_slice();
            }
            let n = self.next(&mut buffer);
            self.buffer = buffer;
            self.end = n?;
        }
        Ok(&self.buffer[self.at..self.end])
    }

    fn consume(&mut self, n: usize) {
        self.at += n;
    }
}

impl Read for Decoded<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let data = self.fill_buf()?;
        let n = data.len().min(buf.len());
        buf[..n].copy_from_slice(&data[..n]);
        self.consume(n);
        Ok(n)
    }
}

/// A limit of the whole stream that was passed; it travels inside an `io::Error`.
#[derive(Debug, thiserror::Error)]
pub(super) enum Exceeded {
    #[error("its uncompressed content exceeds {0} bytes")]
    Bytes(u64),
    #[error("it decompresses to more than {0} times its size")]
    Ratio(u64),
}

impl Exceeded {
    pub(super) fn within(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

struct Counted<R> {
    input: R,
    count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.input.read(buf)?;
        self.count.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}
