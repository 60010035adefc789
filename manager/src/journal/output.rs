//! Where what was read goes: our stdout and stderr, in the order of the log, in few and large writes.

use super::Stream;
use crate::error::Result;
use crate::terminal::write_out;
use rustix::stdio;

/// A write is about so large: the largest that a pipe takes at once.
const GATHERED: usize = 256 * 1024;

/// Gathers output and writes it.
#[derive(Debug)]
pub struct Output {
    stream: Stream,
    gathered: Vec<u8>,
    /// All of it goes to stderr.
    on_stderr: bool,
    /// Instead of being written: for tests.
    kept: Option<[Vec<u8>; 2]>,
}

impl Output {
    /// To our stdout and stderr.
    #[must_use]
    pub fn stdio() -> Self {
        // As much as a pipe of ours can hold goes into it at once. What is no pipe refuses, and that is as good.
        let _ = rustix::pipe::fcntl_setpipe_size(stdio::stdout(), 1 << 20);
        Self {
            stream: Stream::Stdout,
            gathered: Vec::with_capacity(GATHERED * 2),
            on_stderr: false,
            kept: None,
        }
    }

    /// To our stderr alone.
    #[must_use]
    pub fn on_stderr() -> Self {
        Self { stream: Stream::Stdout, gathered: Vec::new(), on_stderr: true, kept: None }
    }

    /// Kept in memory.
    #[cfg(test)]
    pub(super) fn kept() -> Self {
        Self {
            stream: Stream::Stdout,
            gathered: Vec::new(),
            on_stderr: false,
            kept: Some(Default::default()),
        }
    }

    #[cfg(test)]
    pub(super) fn into_kept(mut self) -> [Vec<u8>; 2] {
        self.flush().unwrap();
        self.kept.unwrap_or_default()
    }

    /// Where text of a stream is to be appended.
    pub(super) fn of(&mut self, stream: Stream) -> Result<&mut Vec<u8>> {
        if stream != self.stream || self.gathered.len() >= GATHERED {
            self.flush()?;
            self.stream = stream;
        }
        Ok(&mut self.gathered)
    }

    /// Writes what was gathered.
    pub fn flush(&mut self) -> Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        match (&mut self.kept, self.stream) {
            (Some(kept), stream) => kept[stream as usize].extend_from_slice(&self.gathered),
            (None, Stream::Stdout) if !self.on_stderr => {
                write_out(stdio::stdout(), &self.gathered)?;
            }
            (None, _) => write_out(stdio::stderr(), &self.gathered)?,
        }
        self.gathered.clear();
        Ok(())
    }
}
