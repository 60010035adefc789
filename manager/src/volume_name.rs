//! A volume's name: a path component, parsed once.

use crate::id::ContainerId;
use serde::{Deserialize, Serialize};

/// The name of a volume.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct VolumeName(String);

impl VolumeName {
    /// Takes a name; the error is Docker's sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bytes = text.as_bytes();
        if bytes.len() == 1 && bytes[0].is_ascii_alphanumeric() {
            return Err(
                "volume name is too short, names should be at least two alphanumeric characters"
                    .to_owned(),
            );
        }
        let good = bytes.first().is_some_and(u8::is_ascii_alphanumeric)
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(b));
        if good && bytes.len() <= 255 {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "\"{text}\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are \
             allowed. If you intended to pass a host directory, use absolute path"
        ))
    }

    /// 64 hexadecimal digits, as a volume has that nobody has named.
    #[must_use]
    pub fn random() -> Self {
        Self(ContainerId::random().to_string())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for VolumeName {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl std::fmt::Display for VolumeName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_path_component_and_nothing_else() {
        for good in ["data", "a1", "my_vol-1.2"] {
            assert!(VolumeName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", ".hidden", "-x", "a b", "a\n"] {
            assert!(
                VolumeName::parse(bad).unwrap_err().contains("includes invalid characters"),
                "{bad}"
            );
        }
        assert!(VolumeName::parse("a").unwrap_err().contains("too short"));
        assert_eq!(VolumeName::random().as_str().len(), 64);
    }
}
