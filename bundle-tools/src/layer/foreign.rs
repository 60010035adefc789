//! What no layer of an image is compressed by, but archives that people hand in are: xz, bzip2, and lz4, which is told apart
//! to be refused by its name.

use std::io::{self, BufRead, Read};

use bzip2::bufread::MultiBzDecoder;
use lzma_rust2::XzReader;

/// A compression that the image specification does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Foreign {
    Xz,
    Bzip2,
    Lz4,
}

/// The largest dictionary that an xz stream may ask for: twice what `xz -9` makes, and what zstd's window may have.
const XZ_DICTIONARY_MIB: u32 = 128;

/// What else the decoder of xz needs, in KiB; it has to be below the step to the next larger dictionary.
const XZ_OVERHEAD: u32 = 1024;

impl Foreign {
    /// The one of a stream that starts with `head`.
    pub(super) fn sniff(head: &[u8]) -> Option<Self> {
        match head {
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            // Behind the size of its blocks comes the first of them, or the end.
            [b'B', b'Z', b'h', b'1'..=b'9', b'1', b'A', b'Y', b'&', b'S', b'Y', ..]
            | [b'B', b'Z', b'h', b'1'..=b'9', 0x17, b'r', b'E', b'8', b'P', 0x90, ..] => {
                Some(Self::Bzip2)
            }
            [0x04, 0x22, 0x4d, 0x18, ..] => Some(Self::Lz4),
            _ => None,
        }
    }

    /// The program that makes it.
    pub(super) fn program(self) -> &'static str {
        match self {
            Self::Xz => "xz",
            Self::Bzip2 => "bzip2",
            Self::Lz4 => "lz4",
        }
    }

    /// A reader of what was compressed, if that can be undone here.
    pub(super) fn decompressor<'a>(
        self,
        input: impl BufRead + Send + 'a,
    ) -> io::Result<Box<dyn Read + Send + 'a>> {
        match self {
            Self::Xz => Ok(Box::new(Xz::new(input))),
            Self::Bzip2 => Ok(Box::new(MultiBzDecoder::new(input))),
            Self::Lz4 => Err(self.refused()),
        }
    }

    /// Why it is not read.
    pub(super) fn refused(self) -> io::Error {
        let program = self.program();
        let why =
            format!("it is compressed by {program}: undo that first, with `{program} -dc FILE`");
        io::Error::new(io::ErrorKind::Unsupported, why)
    }
}

/// One stream of xz or several, with a bound to their dictionaries. The decoder goes with its first error: it would go on with
/// what it takes for the next block.
struct Xz<R: Read>(Option<XzReader<R>>);

impl<R: Read> Xz<R> {
    fn new(input: R) -> Self {
        let limit = XZ_DICTIONARY_MIB * 1024 + XZ_OVERHEAD;
        Self(Some(XzReader::new_mem_limit(input, true, limit)))
    }
}

impl<R: Read> Read for Xz<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Some(reader) = &mut self.0 else { return Err(io::ErrorKind::InvalidData.into()) };
        // No room would look like the end of a block.
        if buf.is_empty() {
            return Ok(0);
        }
        reader.read(buf).map_err(|error| {
            self.0 = None;
            match error.kind() {
                io::ErrorKind::OutOfMemory => io::Error::new(
                    io::ErrorKind::OutOfMemory,
                    format!(
                        "its dictionary of xz is larger than {XZ_DICTIONARY_MIB} MiB, the most that is taken"
                    ),
                ),
                _ => error,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;
    use crate::layer::compression::{Accepted, decoder};
    use std::io::Write as _;

    /// What a program makes of `data`.
    fn pack(program: &str, args: &[&str], data: &[u8]) -> Vec<u8> {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{program}: {error}"));
        let mut stdin = child.stdin.take().unwrap();
        let output = std::thread::scope(|scope| {
            scope.spawn(move || stdin.write_all(data).unwrap());
            child.wait_with_output().unwrap()
        });
        assert!(output.status.success(), "{program}");
        output.stdout
    }

    fn undo(data: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        decoder(data, Accepted::Archives)?.read_to_end(&mut out)?;
        Ok(out)
    }

    fn varied(length: usize) -> Vec<u8> {
        (0..length).map(|n| (n * n / 7 % 251) as u8).collect()
    }

    #[test]
    fn what_xz_and_bzip2_make_is_read_in_one_stream_and_in_several() {
        for (program, args) in [
            ("xz", &["-c"][..]),
            ("xz", &["-9", "-c"]),
            ("xz", &["-0", "--check=sha256", "-c"]),
            ("xz", &["--check=none", "--x86", "--lzma2=preset=1", "-c"]),
            ("xz", &["-T2", "--block-size=65536", "-c"]),
            ("bzip2", &["-c"]),
            ("bzip2", &["-1", "-c"]),
        ] {
            for length in [0, 1, 5, 300_000] {
                let data = varied(length);
                let packed = pack(program, args, &data);
                assert!(undo(&packed).unwrap() == data, "{program} {args:?} {length}");
            }
            let twice = [pack(program, args, b"one,"), pack(program, args, b"two")].concat();
            assert_eq!(undo(&twice).unwrap(), b"one,two", "{program} {args:?}");
        }
    }

    #[test]
    fn a_stream_that_is_cut_or_damaged_is_an_error() {
        for program in ["xz", "bzip2"] {
            let packed = pack(program, &["-c"], &varied(50_000));
            for length in [12, 20, packed.len() / 2, packed.len() - 1] {
                assert!(undo(&packed[..length]).is_err(), "{program} {length}");
            }
            for at in [packed.len() / 3, packed.len() / 2, packed.len() - 5] {
                let mut damaged = packed.clone();
                damaged[at] ^= 0x10;
                assert!(undo(&damaged).is_err(), "{program} {at}");
            }
        }
    }

    #[test]
    fn a_dictionary_that_would_need_more_memory_than_is_given_is_refused() {
        /// Where the first block's header has the size of its dictionary, and its sum.
        const AT: usize = 16;
        let small = pack("xz", &["-0", "-T1", "-c"], b"content");
        assert_eq!(
            small[12..16],
            [2, 0, 0x21, 1],
            "one filter, LZMA2, with one byte of properties"
        );
        let with_dictionary = |code: u8| {
            let mut packed = small.clone();
            packed[AT] = code;
            let mut sum = flate2::Crc::new();
            sum.update(&packed[12..20]);
            packed[20..24].copy_from_slice(&sum.sum().to_le_bytes());
            undo(&packed)
        };
        // 128 MiB, 192 MiB, and 4 GiB.
        assert_eq!(with_dictionary(30).unwrap(), b"content");
        for code in [31, 40] {
            let error = with_dictionary(code).unwrap_err().to_string();
            assert!(error.contains("dictionary of xz is larger than 128 MiB"), "{error}");
        }
    }

    #[test]
    fn a_layer_is_not_read_and_lz4_never_is() {
        for (head, program) in [
            (&b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4"[..], "xz"),
            (b"BZh91AY&SY\0\0", "bzip2"),
            (b"\x04\x22\x4d\x18\x60\x40", "lz4"),
        ] {
            let error = decoder(head, Accepted::Layers).err().unwrap().to_string();
            assert!(error.contains(&format!("compressed by {program}")), "{error}");
        }
        let error = undo(b"\x04\x22\x4d\x18\x60\x40").unwrap_err().to_string();
        assert!(error.contains("with `lz4 -dc FILE`"), "{error}");
        assert_eq!(undo(b"BZh9 is a name").unwrap(), b"BZh9 is a name");
    }
}
