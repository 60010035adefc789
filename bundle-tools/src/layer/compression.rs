//! How a layer's blob is compressed: told by its first bytes, since media types have been wrong in the field.

use std::io::{self, BufRead, Read, Write};

use oci_spec::image::MediaType;

use super::foreign::Foreign;

/// A layer's compression.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// None.
    Plain,
    /// gzip, possibly of several members.
    #[default]
    Gzip,
    /// Zstandard, possibly of several frames.
    Zstd,
}

/// The longest magic number that is looked at.
const MAGIC: usize = 10;

/// The largest window that a zstd frame may ask for: 128 MiB, which is what `zstd --long` makes and its decoder takes.
const ZSTD_WINDOW_LOG: u32 = 27;

impl Compression {
    /// The compression of a stream that starts with `head`.
    pub fn sniff(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            // A frame, or a skippable frame in front of one.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::Plain,
        }
    }

    /// The media type of a layer of this compression.
    pub fn media_type(self) -> MediaType {
        match self {
            Self::Plain => MediaType::ImageLayer,
            Self::Gzip => MediaType::ImageLayerGzip,
            Self::Zstd => MediaType::ImageLayerZstd,
        }
    }

    /// A writer that compresses into `output`. The same input gives the same output: no time, name or system in the header.
    pub fn encoder<W: Write>(self, output: W) -> io::Result<Encoder<W>> {
        Ok(Encoder(match self {
            Self::Plain => Encoding::Plain(output),
            Self::Gzip => Encoding::Gzip(
                flate2::GzBuilder::new()
                    .mtime(0)
                    .operating_system(255)
                    .write(output, flate2::Compression::new(6)),
            ),
            Self::Zstd => Encoding::Zstd(zstd::stream::write::Encoder::new(output, 3)?),
        }))
    }
}

/// By what a stream may be compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Accepted {
    /// What the image specification has for layers: gzip, zstd, or nothing.
    #[default]
    Layers,
    /// Also xz and bzip2, as archives are that people hand in.
    Archives,
}

/// A reader of the uncompressed content of `input`.
pub(crate) fn decoder<'a>(
    input: impl Read + Send + 'a,
    accepted: Accepted,
) -> io::Result<Box<dyn Read + Send + 'a>> {
    let (head, input) = peek(input)?;
    let (compression, foreign) = (Compression::sniff(&head), Foreign::sniff(&head));
    let buffered = |input| io::BufReader::with_capacity(64 << 10, input);
    match (foreign, accepted) {
        (Some(foreign), Accepted::Layers) => Err(foreign.refused()),
        (Some(foreign), Accepted::Archives) => foreign.decompressor(buffered(input)),
        (None, _) if compression == Compression::Plain => Ok(Box::new(input)),
        (None, _) => decompressor(compression, buffered(input)),
    }
}

fn decompressor<'a>(
    compression: Compression,
    input: impl BufRead + Send + 'a,
) -> io::Result<Box<dyn Read + Send + 'a>> {
    match compression {
        Compression::Plain => Ok(Box::new(input)),
        Compression::Gzip => Ok(Box::new(flate2::bufread::MultiGzDecoder::new(input))),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            Ok(Box::new(decoder))
        }
    }
}

/// The first bytes of a stream, and the whole of it.
pub(crate) fn peek<R: Read>(mut input: R) -> io::Result<(Vec<u8>, impl Read + use<R>)> {
    let mut head = Vec::with_capacity(MAGIC);
    input.by_ref().take(MAGIC as u64).read_to_end(&mut head)?;
    Ok((head.clone(), io::Cursor::new(head).chain(input)))
}

/// Whether a stream that starts with `head` can be a layer's blob as it is.
pub(crate) fn fits_a_layer(head: &[u8]) -> bool {
    Foreign::sniff(head).is_none()
}

/// A compressing writer; [`finish`](Self::finish) it, or the end is missing.
pub struct Encoder<W: Write>(Encoding<W>);

enum Encoding<W: Write> {
    Plain(W),
    Gzip(flate2::write::GzEncoder<W>),
    Zstd(zstd::stream::write::Encoder<'static, W>),
}

impl<W: Write> Encoder<W> {
    /// Writes the end of the compressed stream and gives the writer back.
    pub fn finish(self) -> io::Result<W> {
        match self.0 {
            Encoding::Plain(output) => Ok(output),
            Encoding::Gzip(encoder) => encoder.finish(),
            Encoding::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Encoding::Plain(output) => output.write(buf),
            Encoding::Gzip(encoder) => encoder.write(buf),
            Encoding::Zstd(encoder) => encoder.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Encoding::Plain(output) => output.flush(),
            Encoding::Gzip(encoder) => encoder.flush(),
            Encoding::Zstd(encoder) => encoder.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compress(compression: Compression, data: &[u8]) -> Vec<u8> {
        let mut encoder = compression.encoder(Vec::new()).unwrap();
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn decompress(data: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        decoder(data, Accepted::Layers)?.read_to_end(&mut out)?;
        Ok(out)
    }

    const ALL: [Compression; 3] = [Compression::Plain, Compression::Gzip, Compression::Zstd];

    #[test]
    fn content_of_any_length_survives_every_compression() {
        for compression in ALL {
            for length in [0, 1, 3, 4, 5, 100_000] {
                let data = vec![b'x'; length];
                let packed = compress(compression, &data);
                assert_eq!(decompress(&packed).unwrap(), data, "{compression:?} {length}");
            }
        }
    }

    #[test]
    fn several_members_or_frames_are_one_stream() {
        for compression in [Compression::Gzip, Compression::Zstd] {
            let twice = [compress(compression, b"one,"), compress(compression, b"two")].concat();
            assert_eq!(decompress(&twice).unwrap(), b"one,two", "{compression:?}");
        }
    }

    #[test]
    fn the_table_of_contents_of_zstd_chunked_is_skipped() {
        // zstd:chunked ends in skippable frames, which say where each file is.
        let mut blob = compress(Compression::Zstd, b"content");
        blob.extend_from_slice(&[0x50, 0x2a, 0x4d, 0x18, 5, 0, 0, 0, b't', b'a', b'b', b'l', b'e']);
        assert_eq!(decompress(&blob).unwrap(), b"content");
    }

    #[test]
    fn a_truncated_stream_is_an_error() {
        for compression in [Compression::Gzip, Compression::Zstd] {
            let packed = compress(compression, &[7; 10_000]);
            assert!(decompress(&packed[..packed.len() - 3]).is_err(), "{compression:?}");
        }
    }

    #[test]
    fn a_gzip_header_says_nothing_about_when_and_where_it_was_made() {
        let packed = compress(Compression::Gzip, b"x");
        assert_eq!(&packed[..4], [0x1f, 0x8b, 8, 0]);
        assert_eq!(&packed[4..8], [0; 4], "time");
        assert_eq!(packed[9], 255, "system");
    }

    #[test]
    fn a_zstd_frame_that_wants_gigabytes_of_window_is_refused() {
        // Magic, a frame header with window descriptor 2^31, and an empty last block.
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 0x01, 0x00, 0x00];
        assert!(decompress(&frame).is_err());
    }
}
