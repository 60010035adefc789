//! The body of a blob, taken up again where a connection broke.

use std::io::{self, Read};

use ureq::http::StatusCode;
use ureq::{Body, BodyReader};

use super::error::Error;
use super::fault::failure;
use super::mirrors::Mirrors;

/// How often one blob's connection may break, at one host.
const MAX_RESUMES: u32 = 4;

/// Reads a blob of known size; a connection that breaks before its end is replaced by a request for
/// the rest, at last to the next host that has it. Nothing is verified here.
pub(super) struct Resumable<'a> {
    mirrors: &'a Mirrors,
    /// Which of them is being read from.
    position: usize,
    path: String,
    size: u64,
    offset: u64,
    resumes: u32,
    body: BodyReader<'static>,
}

impl<'a> Resumable<'a> {
    /// Asks the host at `position`, or the first behind it that has the blob.
    pub(super) fn open(
        mirrors: &'a Mirrors,
        path: String,
        size: u64,
        position: usize,
    ) -> Result<Self, Error> {
        let (answer, position) = mirrors.content(&path, 0, position)?;
        let body = reader(answer.into_body());
        Ok(Self { mirrors, position, path, size, offset: 0, resumes: 0, body })
    }

    fn resume(&mut self) -> Result<(), Error> {
        let (answer, position) = self.mirrors.content(&self.path, self.offset, self.position)?;
        self.position = position;
        let status = answer.status();
        let mut body = reader(answer.into_body());
        // A server that knows no ranges begins again.
        if status != StatusCode::PARTIAL_CONTENT {
            let skipped = io::copy(&mut body.by_ref().take(self.offset), &mut io::sink());
            skipped.map_err(|error| failure(self.mirrors.host(position), error.into()))?;
        }
        self.body = body;
        Ok(())
    }

    /// Goes on after a failure. False where there is nothing left to try.
    fn recover(&mut self) -> Result<bool, Error> {
        if self.resumes < MAX_RESUMES {
            self.resumes += 1;
        } else if self.position + 1 < self.mirrors.count() {
            self.position += 1;
            self.resumes = 0;
        } else {
            return Ok(false);
        }
        self.resume().map(|()| true)
    }
}

fn reader(body: Body) -> BodyReader<'static> {
    // The limit is the descriptor's size, which the verifier around this reader enforces.
    body.into_with_config().limit(u64::MAX).reader()
}

impl Read for Resumable<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let error = match self.body.read(buffer) {
                Ok(0) if self.offset < self.size => io::ErrorKind::UnexpectedEof.into(),
                Ok(count) => {
                    self.offset += count as u64;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            let ended = error.kind() == io::ErrorKind::UnexpectedEof;
            let fault = failure(self.mirrors.host(self.position), error.into());
            if fault.is_transient() && self.recover().map_err(io::Error::other)? {
                continue;
            }
            // Report a short blob as what it is: the verifier sees its end.
            return if ended { Ok(0) } else { Err(io::Error::other(fault)) };
        }
    }
}
