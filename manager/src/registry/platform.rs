//! Platforms, and the choice of one image from an index.
//!
//! The choice follows containerd: operating system and architecture must be equal, of the CPU's
//! variants the highest that it can run wins.

use std::fmt;
use std::str::FromStr;

use oci_spec::image::{Descriptor, ImageConfiguration};

/// An operating system and a CPU, in Go's names: `linux/amd64`, `linux/arm/v7`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

/// The string is not `OS/ARCH[/VARIANT]`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid platform `{0}`: it must be OS/ARCH or OS/ARCH/VARIANT, such as linux/amd64")]
pub struct ParsePlatformError(String);

impl Platform {
    /// The platform of this machine.
    pub fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "x86" => "386",
            "aarch64" => "arm64",
            "powerpc64" => "ppc64le",
            "loongarch64" => "loong64",
            other => other,
        };
        Self { os: "linux".to_owned(), architecture: architecture.to_owned(), variant: level() }
    }

    /// The operating system.
    pub fn os(&self) -> &str {
        &self.os
    }

    /// The CPU's architecture.
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// The architecture's variant, where one is named.
    pub fn variant(&self) -> Option<&str> {
        self.variant.as_deref()
    }

    /// Whether an image is for this operating system and architecture, of whatever variant.
    pub fn fits(&self, config: &ImageConfiguration) -> bool {
        config.os().to_string() == self.os && config.architecture().to_string() == self.architecture
    }

    /// How well an image for `candidate` runs here: `None` not at all, else higher is better.
    fn rank(&self, candidate: &oci_spec::image::Platform) -> Option<u32> {
        let os = candidate.os().to_string();
        let architecture = candidate.architecture().to_string();
        if os != self.os || architecture != self.architecture {
            return None;
        }
        let ours = number(&architecture, self.variant.as_deref())?;
        let theirs = number(&architecture, candidate.variant().as_deref())?;
        (theirs <= ours).then_some(theirs)
    }

    /// The entry of an index that fits best, the first of equals.
    pub fn choose<'a>(&self, entries: &'a [Descriptor]) -> Option<&'a Descriptor> {
        let rank = |entry: &Descriptor| entry.platform().as_ref().and_then(|p| self.rank(p));
        let mut best: Option<(&Descriptor, u32)> = None;
        for entry in entries {
            if let Some(rank) = rank(entry)
                && best.is_none_or(|(_, highest)| rank > highest)
            {
                best = Some((entry, rank));
            }
        }
        match (best, entries) {
            (Some((entry, _)), _) => Some(entry),
            // An index made by hand around one image often leaves the platform out.
            (None, [only]) if only.platform().is_none() => Some(only),
            _ => None,
        }
    }
}

/// A variant as a number that orders the variants of its architecture; `None` if it is unknown.
fn number(architecture: &str, variant: Option<&str>) -> Option<u32> {
    let default = match architecture {
        "amd64" => 1,
        "arm" => 7,
        "arm64" => 8,
        _ => 0,
    };
    match variant {
        None | Some("") => Some(default),
        Some(variant) => variant.strip_prefix('v')?.split('.').next()?.parse().ok(),
    }
}

/// This CPU's micro-architecture level, as Go's GOAMD64 counts them.
#[cfg(target_arch = "x86_64")]
fn level() -> Option<String> {
    use std::arch::is_x86_feature_detected as has;
    let v2 = has!("sse4.2") && has!("ssse3") && has!("popcnt") && has!("cmpxchg16b");
    let v3 = v2
        && has!("avx2")
        && has!("bmi1")
        && has!("bmi2")
        && has!("f16c")
        && has!("fma")
        && has!("lzcnt")
        && has!("movbe");
    let v4 = v3
        && has!("avx512f")
        && has!("avx512bw")
        && has!("avx512cd")
        && has!("avx512dq")
        && has!("avx512vl");
    let level = match (v2, v3, v4) {
        (_, _, true) => "v4",
        (_, true, _) => "v3",
        (true, _, _) => "v2",
        _ => "v1",
    };
    Some(level.to_owned())
}

#[cfg(not(target_arch = "x86_64"))]
fn level() -> Option<String> {
    None
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Platform {
    type Err = ParsePlatformError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let part = |part: &&str| {
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        };
        let parts: Vec<&str> = text.split('/').collect();
        let (os, architecture, variant) = match parts[..] {
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some(variant.to_owned())),
            _ => return Err(ParsePlatformError(text.to_owned())),
        };
        if !parts.iter().all(part) {
            return Err(ParsePlatformError(text.to_owned()));
        }
        let architecture = match architecture {
            "x86_64" | "x86-64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Ok(Self { os: os.to_owned(), architecture: architecture.to_owned(), variant })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(platform: Option<&str>) -> Descriptor {
        let mut json = serde_json::json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": format!("sha256:{}", "0".repeat(64)),
            "size": 1,
        });
        if let Some(platform) = platform {
            let parts: Vec<&str> = platform.split('/').collect();
            json["platform"] = serde_json::json!({"os": parts[0], "architecture": parts[1]});
            if let Some(variant) = parts.get(2) {
                json["platform"]["variant"] = (*variant).into();
            }
        }
        serde_json::from_value(json).unwrap()
    }

    fn chosen(wanted: &str, offered: &[&str]) -> Option<usize> {
        let entries: Vec<_> = offered.iter().map(|platform| entry(Some(platform))).collect();
        let chosen = wanted.parse::<Platform>().unwrap().choose(&entries)?;
        entries.iter().position(|entry| std::ptr::eq(entry, chosen))
    }

    #[test]
    fn the_highest_variant_that_the_cpu_can_run_is_chosen() {
        let offered = [
            "unknown/unknown",
            "linux/amd64/v3",
            "linux/amd64",
            "linux/amd64/v2",
            "linux/arm64/v8",
        ];
        assert_eq!(chosen("linux/amd64", &offered), Some(2));
        assert_eq!(chosen("linux/amd64/v2", &offered), Some(3));
        assert_eq!(chosen("linux/amd64/v4", &offered), Some(1));
        assert_eq!(chosen("linux/arm64", &offered), Some(4));
        assert_eq!(chosen("linux/s390x", &offered), None);
        assert_eq!(chosen("linux/arm/v6", &["linux/arm/v7", "linux/arm/v5"]), Some(1));
    }

    #[test]
    fn a_single_entry_without_a_platform_is_taken_but_one_of_two_is_not() {
        let host = Platform::host();
        assert!(host.choose(&[entry(None)]).is_some());
        assert!(host.choose(&[entry(None), entry(None)]).is_none());
    }

    #[test]
    fn a_platform_is_two_or_three_plain_words() {
        assert_eq!("linux/x86_64".parse::<Platform>().unwrap().to_string(), "linux/amd64");
        for text in ["linux", "linux/", "a/b/c/d", "linux/am d64", ""] {
            assert_eq!(text.parse::<Platform>(), Err(ParsePlatformError(text.to_owned())));
        }
    }
}
