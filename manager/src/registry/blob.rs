//! The body of a blob, taken up again where a connection broke.

use std::io::{self, Read};
use std::thread;
use std::time::{Duration, Instant};

use ureq::http::{Response, StatusCode};
use ureq::{Body, BodyReader, ResponseExt as _};

use super::client::host_in;
use super::error::Error;
use super::fault::failure;
use super::mirrors::Mirrors;

/// How often one blob's connection may break at one host before a new byte has come.
const MAX_RESUMES: u32 = 4;
/// How long hosts of which none can be asked are waited for, and how long between two questions.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_secs(1);

/// Reads a blob of known size; a connection that breaks before its end is replaced by a request for
/// the rest, at last to the next host that has it. Nothing is verified here.
pub(super) struct Resumable<'a> {
    mirrors: &'a Mirrors,
    /// Which of them is being read from.
    position: usize,
    /// Who that is, or where it has redirected to.
    host: String,
    path: String,
    size: u64,
    offset: u64,
    /// What is still to come again before the byte at `offset` does.
    again: u64,
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
        let (answer, position) = ask(mirrors, &path, 0, position)?;
        let host = host_in(answer.get_uri()).unwrap_or_default();
        let body = reader(answer.into_body());
        Ok(Self { mirrors, position, host, path, size, offset: 0, again: 0, resumes: 0, body })
    }

    fn resume(&mut self) -> Result<(), Error> {
        let (answer, position) = ask(self.mirrors, &self.path, self.offset, self.position)?;
        self.position = position;
        self.host = host_in(answer.get_uri()).unwrap_or_default();
        // A server that knows no ranges begins again.
        let is_rest = answer.status() == StatusCode::PARTIAL_CONTENT;
        self.again = if is_rest { 0 } else { self.offset };
        self.body = reader(answer.into_body());
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

/// Asks for a blob from byte `from` on, for as long as it may help. Who has a blob has given us the manifest a moment ago, and may be
/// starting anew.
fn ask(
    mirrors: &Mirrors,
    path: &str,
    from: u64,
    position: usize,
) -> Result<(Response<Body>, usize), Error> {
    let began = Instant::now();
    loop {
        match mirrors.content(path, from, position) {
            Err(error) if error.may_pass() && began.elapsed() < PATIENCE => thread::sleep(PAUSE),
            answer => return answer,
        }
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
            let most = match usize::try_from(self.again) {
                Ok(again @ 1..) => again.min(buffer.len()),
                _ => buffer.len(),
            };
            let error = match self.body.read(&mut buffer[..most]) {
                Ok(0) if self.offset < self.size => io::ErrorKind::UnexpectedEof.into(),
                Ok(count) if self.again > 0 => {
                    self.again -= count as u64;
                    continue;
                }
                Ok(count) => {
                    self.offset += count as u64;
                    self.resumes = 0;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // All of it is here, whatever became of the connection.
                Err(_) if self.offset >= self.size => return Ok(0),
                Err(error) => error,
            };
            let ended = error.kind() == io::ErrorKind::UnexpectedEof;
            let fault = failure(&self.host, error.into());
            if fault.is_transient() && self.recover().map_err(io::Error::other)? {
                continue;
            }
            // Report a short blob as what it is: the verifier sees its end.
            return if ended { Ok(0) } else { Err(io::Error::other(fault)) };
        }
    }
}
