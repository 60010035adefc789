//! The two ways to name a container: its id, 64 hexadecimal digits, and the name a person gave it.
//!
//! Both become path components and cgroup names, so both are parsed once, here, and nothing else may make one.

use rustix::rand::{GetRandomFlags, getrandom};
use serde::{Deserialize, Serialize};
use std::fmt;

/// 64 lower-case hexadecimal digits, drawn at random.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerId(String);

/// How many digits of an id are shown in tables and used as the container's host name, as Docker does.
const SHORT: usize = 12;

impl ContainerId {
    /// Draws a new id.
    ///
    /// An id whose first digits are all decimal is drawn again: as a host name it would be taken for a number.
    #[must_use]
    pub fn random() -> Self {
        loop {
            let hex = random_digits();
            if !hex[..SHORT].bytes().all(|digit| digit.is_ascii_digit()) {
                return Self(hex);
            }
        }
    }

    /// Takes exactly 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 64 && is_hex(text)).then(|| Self(text.to_owned()))
    }

    /// All 64 digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve digits.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.0[..SHORT]
    }
}

/// Whether `text` can be the beginning of an id.
#[must_use]
pub fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ContainerId {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("`{text}` is not a container id"))
    }
}

impl From<ContainerId> for String {
    fn from(id: ContainerId) -> Self {
        id.0
    }
}

/// A name in Docker's alphabet, `[a-zA-Z0-9][a-zA-Z0-9_.-]+`: never empty, never `.` or `..`, no slash.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerName(String);

/// A file name of ours must hold it, and so must a host's.
const LONGEST_NAME: usize = 128;

impl ContainerName {
    /// Takes a name, also with the slash before it that Docker shows; the error is Docker's sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let name = text.strip_prefix('/').unwrap_or(text);
        let bytes = name.as_bytes();
        let first = bytes.first().is_some_and(u8::is_ascii_alphanumeric);
        let rest =
            bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
        if first && rest && (2..=LONGEST_NAME).contains(&bytes.len()) {
            return Ok(Self(name.to_owned()));
        }
        Err(format!(
            "Invalid container name ({text}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed, in 2 to \
             {LONGEST_NAME} characters"
        ))
    }

    /// A random `adjective_noun`.
    #[must_use]
    pub fn random() -> Self {
        let [a, b] = random_bytes::<2>();
        let pick = |list: &[&'static str], at: u8| list[usize::from(at) % list.len()];
        Self(format!("{}_{}", pick(ADJECTIVES, a), pick(NOUNS, b)))
    }

    /// The same name with a random digit pair behind it, for when a random name is taken.
    #[must_use]
    pub fn varied(&self) -> Self {
        let [a, b] = random_bytes::<2>();
        Self(format!("{}{}", self.0, u16::from_le_bytes([a, b]) % 1000))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ContainerName {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl From<ContainerName> for String {
    fn from(name: ContainerName) -> Self {
        name.0
    }
}

/// 64 hexadecimal digits that nobody else has drawn.
pub(crate) fn random_digits() -> String {
    random_bytes::<32>().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes that nobody else has drawn.
pub(crate) fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0_u8; N];
    let mut filled = 0;
    // The kernel fills requests of up to 256 bytes whole once its pool is ready; before that it waits.
    while filled < N {
        filled += getrandom(&mut bytes[filled..], GetRandomFlags::empty()).unwrap_or(0);
    }
    bytes
}

const ADJECTIVES: &[&str] = &[
    "agile", "amber", "ample", "bold", "brave", "breezy", "bright", "brisk", "calm", "candid",
    "clear", "clever", "cosmic", "crisp", "curious", "daring", "deft", "eager", "early", "fair",
    "fleet", "fresh", "gentle", "glad", "golden", "grand", "hardy", "honest", "jolly", "keen",
    "kind", "lively", "lucid", "lucky", "mellow", "merry", "modest", "neat", "nimble", "noble",
    "patient", "placid", "plucky", "polite", "proud", "quick", "quiet", "rapid", "ready", "robust",
    "serene", "sharp", "silent", "sincere", "smooth", "snug", "solid", "spry", "steady", "sturdy",
    "sunny", "swift", "tidy", "vivid", "warm", "wise", "witty", "zesty",
];

const NOUNS: &[&str] = &[
    "acorn", "alder", "anchor", "badger", "beacon", "birch", "bison", "brook", "canyon", "cedar",
    "cliff", "clover", "comet", "condor", "coral", "crane", "creek", "delta", "dune", "eagle",
    "ember", "falcon", "fern", "finch", "fjord", "forest", "gale", "garnet", "glacier", "grove",
    "harbor", "hawk", "heron", "island", "jasper", "juniper", "kestrel", "lagoon", "lark",
    "linden", "lynx", "maple", "marlin", "meadow", "mesa", "otter", "pebble", "pine", "plover",
    "prairie", "quartz", "raven", "reef", "ridge", "river", "robin", "sparrow", "spruce", "summit",
    "swan", "thicket", "tundra", "valley", "walnut", "willow", "wren",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_id_parses_and_is_never_a_number_in_short() {
        for _ in 0..100 {
            let id = ContainerId::random();
            assert_eq!(ContainerId::parse(id.as_str()).as_ref(), Some(&id));
            assert!(id.short().parse::<u64>().is_err());
        }
    }

    #[test]
    fn only_sixty_four_lower_case_digits_are_an_id() {
        let good = "a".repeat(64);
        assert!(ContainerId::parse(&good).is_some());
        for bad in ["", "a", &"A".repeat(64), &"g".repeat(64), &"a".repeat(65), "../../etc"] {
            assert!(ContainerId::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn names_keep_to_dockers_alphabet() {
        for good in ["web", "web-1", "a.b_c", "0x", "/web"] {
            let name = ContainerName::parse(good).unwrap();
            assert_eq!(name.as_str(), good.trim_start_matches('/'));
        }
        for bad in [
            "",
            "a",
            ".",
            "..",
            "-web",
            "_web",
            "a/b",
            "//ab",
            "/",
            "a b",
            "a\0b",
            "ä1",
            &"a".repeat(129),
        ] {
            assert!(ContainerName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn random_names_are_valid_names() {
        for _ in 0..50 {
            let name = ContainerName::random();
            assert!(ContainerName::parse(name.as_str()).is_ok());
            assert!(ContainerName::parse(name.varied().as_str()).is_ok());
        }
    }
}
