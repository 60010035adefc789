//! What a container writes: two streams, in lines.

/// One of a container's two output streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// fd 1, or the terminal
    Stdout,
    /// fd 2
    Stderr,
}

/// The longest piece of a line that becomes one entry: Docker's, so that memory stays bounded whatever is written.
pub(crate) const LONGEST_LINE: usize = 16 * 1024;
