//! A stream from the thread that makes it to the one that uses it, in a few large pieces that go round.
//!
//! Decoding a layer and writing its files take about as long; side by side, the longer of the two is what a layer takes. What
//! is under way is bounded, so a slow disk holds the network up, as it would in one thread.

use std::{
    io::{self, BufRead, Read},
    sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
};

/// The size of a piece: it is still in the cache of the processor when it is hashed.
const PIECE: usize = 128 << 10;
/// How many there are. One is being filled and one read; the others even out.
const PIECES: usize = 6;

/// The end that fills pieces.
pub(super) struct PieceWriter {
    full: SyncSender<io::Result<Piece>>,
    empty: Receiver<Vec<u8>>,
}

/// The end that reads them.
pub(super) struct PieceReader {
    full: Receiver<io::Result<Piece>>,
    empty: Sender<Vec<u8>>,
    piece: Piece,
    at: usize,
    state: State,
}

#[derive(Default)]
struct Piece {
    bytes: Vec<u8>,
    length: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Ended,
    Failed,
}

/// The two ends.
pub(super) fn pipe() -> (PieceWriter, PieceReader) {
    let (full_in, full_out) = sync_channel(PIECES);
    let (empty_in, empty_out) = channel();
    for _ in 0..PIECES {
        // The other end is in scope: this cannot fail.
        let _ = empty_in.send(vec![0; PIECE]);
    }
    let reader = PieceReader {
        full: full_out,
        empty: empty_in,
        piece: Piece::default(),
        at: 0,
        state: State::Open,
    };
    (PieceWriter { full: full_in, empty: empty_out }, reader)
}

impl PieceWriter {
    /// Passes on what `fill` puts into one piece after the other, until that is nothing, or nobody reads any more. An error is
    /// passed on, too.
    pub(super) fn run(self, mut fill: impl FnMut(&mut [u8]) -> io::Result<usize>) {
        while let Ok(mut bytes) = self.empty.recv() {
            let piece = match fill(&mut bytes) {
                Ok(0) => return,
                Ok(length) => Ok(Piece { bytes, length }),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let failed = piece.is_err();
            if self.full.send(piece).is_err() || failed {
                return;
            }
        }
    }
}

impl PieceReader {
    /// Reads what is left.
    pub(super) fn finish(mut self) -> io::Result<()> {
        loop {
            match self.fill_buf()?.len() {
                0 => return Ok(()),
                n => self.consume(n),
            }
        }
    }
}

impl BufRead for PieceReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.piece.length {
            self.at = 0;
            let used = std::mem::take(&mut self.piece);
            if !used.bytes.is_empty() {
                // The writer may have come to its end.
                let _ = self.empty.send(used.bytes);
            }
            match self.state {
                State::Ended => return Ok(&[]),
                State::Failed => return Err(io::ErrorKind::Other.into()),
                State::Open => {}
            }
            match self.full.recv() {
                Ok(Ok(piece)) => self.piece = piece,
                Ok(Err(error)) => {
                    self.state = State::Failed;
                    return Err(error);
                }
                Err(_) => self.state = State::Ended,
            }
        }
        Ok(&self.piece.bytes[self.at..self.piece.length])
    }

    fn consume(&mut self, n: usize) {
        self.at += n;
    }
}

impl Read for PieceReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let data = self.fill_buf()?;
        let n = data.len().min(buf.len());
        buf[..n].copy_from_slice(&data[..n]);
        self.consume(n);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn what_goes_in_comes_out_in_order() {
        let data: Vec<u8> = (0..10 * PIECE + 7).map(|n| (n % 251) as u8).collect();
        let (writer, mut reader) = pipe();
        let mut out = Vec::new();
        thread::scope(|scope| {
            let mut input = &data[..];
            scope.spawn(move || writer.run(|piece| input.read(piece)));
            reader.read_to_end(&mut out).unwrap();
        });
        assert!(out == data);
        assert_eq!(reader.fill_buf().unwrap(), b"");
    }

    #[test]
    fn an_error_comes_after_what_was_before_it_and_is_not_forgotten() {
        let (writer, mut reader) = pipe();
        let mut left = 3;
        writer.run(|piece| {
            left -= 1;
            if left == 0 { Err(io::Error::other("broken")) } else { Ok(piece.len()) }
        });
        let mut out = Vec::new();
        assert_eq!(reader.read_to_end(&mut out).unwrap_err().to_string(), "broken");
        assert_eq!(out.len(), 2 * PIECE);
        assert!(reader.fill_buf().is_err());
    }

    #[test]
    fn a_writer_whose_reader_is_gone_stops() {
        let (writer, reader) = pipe();
        drop(reader);
        writer.run(|piece| Ok(piece.len()));
    }
}
