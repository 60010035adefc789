//! The body of a blob, taken up again where a connection broke.

use std::io::{self, Read};

use ureq::http::StatusCode;
use ureq::{Body, BodyReader};

use super::client::{Client, failure};
use super::error::Error;

/// How often one blob's connection may break.
const MAX_RESUMES: u32 = 4;

/// Reads a blob of known size; a connection that breaks before its end is replaced by a request for
/// the rest. Nothing is verified here.
pub(super) struct Resumable<'a> {
    client: &'a Client,
    path: String,
    size: u64,
    offset: u64,
    resumes: u32,
    body: BodyReader<'static>,
}

impl<'a> Resumable<'a> {
    pub(super) fn open(client: &'a Client, path: String, size: u64) -> Result<Self, Error> {
        let body = client.get(&path, 0)?.into_body();
        Ok(Self { client, path, size, offset: 0, resumes: 0, body: reader(body) })
    }

    fn resume(&mut self) -> Result<(), Error> {
        let answer = self.client.get(&self.path, self.offset)?;
        let status = answer.status();
        let mut body = reader(answer.into_body());
        // A server that knows no ranges begins again.
        if status != StatusCode::PARTIAL_CONTENT {
            let skipped = io::copy(&mut body.by_ref().take(self.offset), &mut io::sink());
            skipped.map_err(|error| failure(self.client.host(), error.into()))?;
        }
        self.body = body;
        Ok(())
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
            let fault = failure(self.client.host(), error.into());
            if !fault.is_transient() {
                return Err(io::Error::other(fault));
            }
            if self.resumes == MAX_RESUMES {
                // Report a short blob as what it is: the verifier sees its end.
                return if ended { Ok(0) } else { Err(io::Error::other(fault)) };
            }
            self.resumes += 1;
            self.resume().map_err(io::Error::other)?;
        }
    }
}
