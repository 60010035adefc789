//! Content digests: the one type that names a blob, and readers that hash what passes through them.
//!
//! A [`Digest`] exists only parsed: its algorithm is known and its hexadecimal part has the right length and case, so it can be
//! made into a file name without a further look. Content is checked while it streams ([`Verifier`]), never afterwards.

use std::{
    fmt,
    io::{self, Read},
    str::FromStr,
};

use oci_spec::image::Descriptor;
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

/// A hash algorithm that a descriptor may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// SHA-256: what every registry uses, and the only one that is written.
    Sha256,
    /// SHA-512: accepted on input.
    Sha512,
}

impl Algorithm {
    /// The name in a digest and in a layout's `blobs` directory.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    fn hex_length(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

/// `algorithm:hex`, strictly parsed.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest {
    algorithm: Algorithm,
    text: Box<str>,
}

/// Why a text is not a digest.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is not a digest: {why}")]
pub struct ParseDigestError {
    text: String,
    why: &'static str,
}

impl Digest {
    /// The SHA-256 digest of `content`.
    pub fn of(content: &[u8]) -> Self {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(content);
        hasher.finish()
    }

    /// The algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The hexadecimal part, lower case.
    pub fn hex(&self) -> &str {
        &self.text[self.algorithm.as_str().len() + 1..]
    }

    /// The whole text, `algorithm:hex`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The first 12 hexadecimal digits: the form in which a person reads it.
    pub fn short(&self) -> &str {
        &self.hex()[..12]
    }
}

impl FromStr for Digest {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = |why| ParseDigestError { text: text.to_owned(), why };
        let (name, hex) = text.split_once(':').ok_or_else(|| fail("it has no `algorithm:`"))?;
        let algorithm = match name {
            "sha256" => Algorithm::Sha256,
            "sha512" => Algorithm::Sha512,
            _ => return Err(fail("its algorithm is not sha256 or sha512")),
        };
        if hex.len() != algorithm.hex_length() {
            return Err(fail("its length is wrong"));
        }
        if !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(fail("it has a character that is not lower-case hexadecimal"));
        }
        Ok(Self { algorithm, text: text.into() })
    }
}

impl TryFrom<String> for Digest {
    type Error = ParseDigestError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl TryFrom<&Descriptor> for Digest {
    type Error = ParseDigestError;

    fn try_from(descriptor: &Descriptor) -> Result<Self, Self::Error> {
        descriptor.digest().to_string().parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.text.into()
    }
}

impl From<&Digest> for oci_spec::image::Digest {
    fn from(digest: &Digest) -> Self {
        digest.as_str().parse().expect("our digests are stricter than oci-spec's")
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

macro_rules! digest_newtype {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Digest);

        impl $name {
            /// The digest.
            pub fn digest(&self) -> &Digest {
                &self.0
            }
        }

        impl From<Digest> for $name {
            fn from(digest: Digest) -> Self {
                Self(digest)
            }
        }

        impl FromStr for $name {
            type Err = ParseDigestError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

digest_newtype! {
    /// The digest of a layer's uncompressed tar stream (`rootfs.diff_ids` of an image configuration).
    DiffId
}

digest_newtype! {
    /// The identity of a stack of layers: what the tree looks like once all of them are applied.
    /// See <https://github.com/opencontainers/image-spec/blob/main/config.md#layer-chainid>.
    ChainId
}

impl ChainId {
    /// The chain id of a stack, bottom layer first; `None` for an empty stack.
    pub fn of(layers: &[DiffId]) -> Option<Self> {
        let (first, rest) = layers.split_first()?;
        Some(rest.iter().fold(Self(first.0.clone()), |chain, layer| chain.then(layer)))
    }

    /// The chain id of this stack with `layer` on top.
    #[must_use]
    pub fn then(&self, layer: &DiffId) -> Self {
        Self(Digest::of(format!("{self} {layer}").as_bytes()))
    }
}

/// An incremental hash.
#[derive(Clone, Debug)]
pub struct Hasher {
    state: State,
    bytes: u64,
}

#[derive(Clone, Debug)]
enum State {
    Sha256(sha2::Sha256),
    Sha512(Box<sha2::Sha512>),
}

impl Hasher {
    /// A hash of nothing yet.
    pub fn new(algorithm: Algorithm) -> Self {
        let state = match algorithm {
            Algorithm::Sha256 => State::Sha256(sha2::Sha256::new()),
            Algorithm::Sha512 => State::Sha512(Box::new(sha2::Sha512::new())),
        };
        Self { state, bytes: 0 }
    }

    /// Adds `data`.
    pub fn update(&mut self, data: &[u8]) {
        self.bytes += data.len() as u64;
        match &mut self.state {
            State::Sha256(state) => state.update(data),
            State::Sha512(state) => state.update(data),
        }
    }

    /// How many bytes were added.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The digest of all that was added.
    pub fn finish(self) -> Digest {
        match self.state {
            State::Sha256(state) => render(Algorithm::Sha256, &state.finalize()),
            State::Sha512(state) => render(Algorithm::Sha512, &state.finalize()),
        }
    }
}

fn render(algorithm: Algorithm, hash: &[u8]) -> Digest {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(algorithm.as_str().len() + 1 + hash.len() * 2);
    text.push_str(algorithm.as_str());
    text.push(':');
    for byte in hash {
        text.push(char::from(HEX[usize::from(byte >> 4)]));
        text.push(char::from(HEX[usize::from(byte & 15)]));
    }
    Digest { algorithm, text: text.into() }
}

/// What content is promised to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes, where it is known.
    pub size: Option<u64>,
}

impl TryFrom<&Descriptor> for Expected {
    type Error = ParseDigestError;

    fn try_from(descriptor: &Descriptor) -> Result<Self, Self::Error> {
        Ok(Self { digest: descriptor.try_into()?, size: Some(descriptor.size()) })
    }
}

impl From<Digest> for Expected {
    fn from(digest: Digest) -> Self {
        Self { digest, size: None }
    }
}

/// Content is not what was promised. It travels inside an `io::Error` of kind `InvalidData`; see [`Mismatch::within`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// More or fewer bytes than promised.
    #[error("content of `{digest}` has {got} bytes where {expected} were expected")]
    Size {
        /// The content's promised digest.
        digest: Digest,
        /// The promised length.
        expected: u64,
        /// The bytes seen; a lower bound when there were too many.
        got: Count,
    },
    /// The right length or none promised, and another digest.
    #[error("content has digest `{got}` where `{expected}` was expected")]
    Digest {
        /// The promised digest.
        expected: Digest,
        /// The digest of what came.
        got: Digest,
    },
}

/// A number of bytes that may be a lower bound, because reading stopped there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// All there were.
    Exactly(u64),
    /// Reading stopped when there were more than this.
    MoreThan(u64),
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(n) => write!(f, "{n}"),
            Self::MoreThan(n) => write!(f, "more than {n}"),
        }
    }
}

impl Mismatch {
    /// The mismatch that `error` carries, if that is what it is.
    pub fn within(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

impl From<Mismatch> for io::Error {
    fn from(mismatch: Mismatch) -> Self {
        Self::new(io::ErrorKind::InvalidData, mismatch)
    }
}

/// A running hash, held to a promise if there is one.
#[derive(Clone, Debug)]
pub(crate) struct Check {
    expected: Option<Expected>,
    hasher: Hasher,
}

impl Check {
    /// With no promise the digest is a SHA-256.
    pub(crate) fn new(expected: Option<Expected>) -> Self {
        let algorithm = expected.as_ref().map_or(Algorithm::Sha256, |e| e.digest.algorithm());
        Self { expected, hasher: Hasher::new(algorithm) }
    }

    /// The promised digest, for a message.
    pub(crate) fn name(&self) -> Option<String> {
        self.expected.as_ref().map(|expected| expected.digest.to_string())
    }

    /// Adds `data`; fails as soon as there is too much of it, so that an endless stream is not read to its end.
    pub(crate) fn update(&mut self, data: &[u8]) -> Result<(), Mismatch> {
        self.hasher.update(data);
        match &self.expected {
            Some(Expected { digest, size: Some(size) }) if self.hasher.bytes() > *size => {
                let (digest, expected) = (digest.clone(), *size);
                Err(Mismatch::Size { digest, expected, got: Count::MoreThan(expected) })
            }
            _ => Ok(()),
        }
    }

    /// The digest and the length at the end of the content, if they are the promised ones.
    pub(crate) fn finish(&self) -> Result<(Digest, u64), Mismatch> {
        let bytes = self.hasher.bytes();
        if let Some(Expected { digest, size: Some(size) }) = &self.expected
            && *size != bytes
        {
            let (digest, expected) = (digest.clone(), *size);
            return Err(Mismatch::Size { digest, expected, got: Count::Exactly(bytes) });
        }
        let got = self.hasher.clone().finish();
        match &self.expected {
            Some(Expected { digest, .. }) if *digest != got => {
                Err(Mismatch::Digest { expected: digest.clone(), got })
            }
            _ => Ok((got, bytes)),
        }
    }
}

/// A reader that passes content on and fails at its end, or as soon as it is too long, if it is not what was promised.
///
/// The last bytes reach the caller before the verdict does: nothing read through it may be trusted until it has returned 0.
#[derive(Debug)]
pub struct Verifier<R> {
    inner: R,
    check: Check,
}

impl<R: Read> Verifier<R> {
    /// Holds what `inner` yields to `expected`.
    pub fn new(inner: R, expected: Expected) -> Self {
        Self { inner, check: Check::new(Some(expected)) }
    }

    /// Reads what is left and checks it.
    pub fn finish(mut self) -> io::Result<()> {
        io::copy(&mut self, &mut io::sink()).map(drop)
    }
}

impl<R: Read> Read for Verifier<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let n = self.inner.read(buf)?;
        if n == 0 {
            self.check.finish()?;
        } else {
            self.check.update(&buf[..n])?;
        }
        Ok(n)
    }
}

/// A writer that hashes what it passes on.
#[derive(Debug)]
pub struct HashWriter<W> {
    inner: W,
    hasher: Hasher,
}

impl<W: io::Write> HashWriter<W> {
    /// Hashes with SHA-256 what is written to `inner`.
    pub fn new(inner: W) -> Self {
        Self { inner, hasher: Hasher::new(Algorithm::Sha256) }
    }

    /// The writer, the digest and the number of bytes.
    pub fn finish(self) -> (W, Digest, u64) {
        let bytes = self.hasher.bytes();
        (self.inner, self.hasher.finish(), bytes)
    }
}

impl<W: io::Write> io::Write for HashWriter<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(buf)?;
        self.hasher.update(&buf[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn expected(content: &[u8]) -> Expected {
        Expected { digest: Digest::of(content), size: Some(content.len() as u64) }
    }

    fn read_all(content: &[u8], expected: Expected) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        Verifier::new(content, expected).read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn only_lower_case_hexadecimal_of_the_right_length_is_a_digest() {
        assert_eq!(EMPTY.parse::<Digest>().unwrap(), Digest::of(b""));
        for bad in [
            "",
            "sha256",
            "sha256:",
            "sha1:da39a3ee5e6b4b0d3255bfef95601890afd80709",
            "sha256:../../../../../../../../../../../../../../../../../../../etc/pass",
            &EMPTY.to_uppercase(),
            &EMPTY[..70],
            &format!("{EMPTY}0"),
            &EMPTY.replace('e', "E"),
            &format!(" {EMPTY}"),
        ] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }

    #[test]
    fn sha512_content_is_verified_too() {
        let mut hasher = Hasher::new(Algorithm::Sha512);
        hasher.update(b"abc");
        let digest = hasher.finish();
        assert!(digest.hex().starts_with("ddaf35a193617abacc417349ae204131"));
        let digest: Digest = digest.as_str().parse().unwrap();
        assert_eq!(read_all(b"abc", digest.into()).unwrap(), b"abc");
    }

    #[test]
    fn the_chain_id_of_the_specification_example_is_a_fold() {
        let layers: Vec<DiffId> = [b"a", b"b", b"c"].map(|c| Digest::of(c).into()).to_vec();
        let ab = Digest::of(format!("{} {}", layers[0], layers[1]).as_bytes());
        let abc = Digest::of(format!("{ab} {}", layers[2]).as_bytes());
        assert_eq!(ChainId::of(&layers).unwrap().digest(), &abc);
        assert_eq!(ChainId::of(&layers[..1]).unwrap().digest(), layers[0].digest());
        assert!(ChainId::of(&[]).is_none());
    }

    #[test]
    fn verified_content_passes_unchanged() {
        assert_eq!(read_all(b"hello", expected(b"hello")).unwrap(), b"hello");
    }

    #[test]
    fn wrong_content_names_both_digests() {
        let error = read_all(b"hellp", expected(b"hello")).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(Digest::of(b"hello").as_str()), "{text}");
        assert!(text.contains(Digest::of(b"hellp").as_str()), "{text}");
        assert!(matches!(Mismatch::within(&error), Some(Mismatch::Digest { .. })));
    }

    #[test]
    fn short_and_long_content_name_the_sizes() {
        let short = read_all(b"hell", expected(b"hello")).unwrap_err().to_string();
        assert!(short.contains("has 4 bytes where 5 were expected"), "{short}");
        let long = read_all(b"hello!", expected(b"hello")).unwrap_err().to_string();
        assert!(long.contains("has more than 5 bytes where 5 were expected"), "{long}");
    }

    #[test]
    fn an_endless_stream_is_not_read_to_its_end() {
        let verifier = Verifier::new(io::repeat(0), expected(b"hello"));
        assert!(verifier.finish().is_err());
    }
}
