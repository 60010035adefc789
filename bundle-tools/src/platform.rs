//! Platforms, and the choice of one image from an index.
//!
//! The only rule for this: whoever takes an image out of an index asks here. Names and choice follow containerd (its package `platforms`): other names of an architecture and a variant without its `v` are
//! understood, of the CPU's variants the highest that it can run wins.

use std::fmt;
use std::str::FromStr;

use oci_spec::image::{Descriptor, ImageConfiguration};

use crate::tarball::printable;

/// An operating system and a CPU, in Go's names: `linux/amd64`, `linux/arm/v7`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

/// Go's names of the architectures that Linux runs on.
const ARCHITECTURES: [&str; 11] = [
    "386", "amd64", "arm", "arm64", "loong64", "mips64", "mips64le", "ppc64", "ppc64le", "riscv64",
    "s390x",
];

/// The string is not `OS/ARCH[/VARIANT]`, nor a part of that which tells the rest.
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

    /// Whether an image runs here, by its own account. Many an image for Armv6 says nothing of its variant: that is no reason
    /// to refuse it.
    pub fn fits(&self, config: &ImageConfiguration) -> bool {
        let variant = config.variant().clone().unwrap_or_default();
        let (architecture, variant) = normal(&config.architecture().to_string(), &variant);
        if config.os().to_string() != self.os || architecture != self.architecture {
            return false;
        }
        let Some(theirs) = variant else { return true };
        self.variant.as_ref() == Some(&theirs) || self.runs(&architecture, Some(&theirs)).is_some()
    }

    /// The same for a machine of this platform on which nobody has asked for one: it runs programs of 32 bits, too.
    pub fn runs_image(&self, config: &ImageConfiguration) -> bool {
        self.fits(config) || self.of_32_bits().is_some_and(|narrow| narrow.fits(config))
    }

    /// The platform of 32 bits whose programs this one runs, too.
    fn of_32_bits(&self) -> Option<Self> {
        let (architecture, variant) = match &*self.architecture {
            "amd64" => ("386", None),
            "arm64" => ("arm", Some("v8".to_owned())),
            _ => return None,
        };
        Some(Self { os: self.os.clone(), architecture: architecture.to_owned(), variant })
    }

    /// How well an image for `candidate` runs here: `None` not at all, else higher is better.
    fn rank(&self, candidate: &oci_spec::image::Platform) -> Option<(u32, u32)> {
        let variant = candidate.variant().clone().unwrap_or_default();
        let (architecture, variant) = normal(&candidate.architecture().to_string(), &variant);
        if candidate.os().to_string() != self.os || architecture != self.architecture {
            return None;
        }
        self.runs(&architecture, variant.as_deref())
    }

    /// The variant of our architecture as numbers, if it runs here.
    fn runs(&self, architecture: &str, variant: Option<&str>) -> Option<(u32, u32)> {
        let ours = number(architecture, self.variant.as_deref())?;
        let theirs = number(architecture, variant)?;
        runs(ours, theirs).then_some(theirs)
    }

    /// The entry of an index that fits best, the first of equals.
    pub fn choose<'a>(&self, entries: &'a [Descriptor]) -> Option<&'a Descriptor> {
        let rank = |entry: &Descriptor| entry.platform().as_ref().and_then(|p| self.rank(p));
        let mut best: Option<(&Descriptor, (u32, u32))> = None;
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

    /// The best for a machine of this platform on which nobody has asked for one.
    pub fn choose_runnable<'a>(&self, entries: &'a [Descriptor]) -> Option<&'a Descriptor> {
        self.choose(entries).or_else(|| self.of_32_bits()?.choose(entries))
    }
}

/// What an image is for, by its own account, for a message.
pub fn name(config: &ImageConfiguration) -> String {
    let variant = config.variant().iter().map(|variant| format!("/{variant}")).collect::<String>();
    printable(format!("{}/{}{variant}", config.os(), config.architecture()).as_bytes())
}

/// What [`offered`] says of an index that names no platform.
pub const UNNAMED: &str = "none that is named";

/// What an index offers, for the message that none of it fits.
pub fn offered(entries: &[Descriptor]) -> String {
    let names: Vec<String> = entries
        .iter()
        .filter_map(|entry| entry.platform().as_ref())
        .filter(|platform| platform.os().to_string() != "unknown")
        .map(|platform| {
            let base = format!("{}/{}", platform.os(), platform.architecture());
            let name = match platform.variant() {
                Some(variant) => format!("{base}/{variant}"),
                None => base,
            };
            printable(name.as_bytes())
        })
        .take(20)
        .collect();
    if names.is_empty() { UNNAMED.to_owned() } else { names.join(", ") }
}

/// A variant's major and minor number, which order the variants of its architecture; `None` if it is unknown.
fn number(architecture: &str, variant: Option<&str>) -> Option<(u32, u32)> {
    let Some(variant) = variant else {
        let default = match architecture {
            "amd64" => 1,
            "arm" => 7,
            "arm64" => 8,
            _ => 0,
        };
        return Some((default, 0));
    };
    let digits = variant.strip_prefix('v')?;
    let (major, minor) = digits.split_once('.').unwrap_or((digits, "0"));
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Whether a CPU of variant `ours` runs what is made for `theirs`. Armv9.N has what Armv8.(N+5) has.
fn runs(ours: (u32, u32), theirs: (u32, u32)) -> bool {
    theirs <= if ours.0 == 9 && theirs.0 == 8 { (8, ours.1 + 5) } else { ours }
}

/// Go's name of an architecture, and its variant where that says something.
fn normal(architecture: &str, variant: &str) -> (String, Option<String>) {
    let (architecture, variant) = (architecture.to_ascii_lowercase(), variant.to_ascii_lowercase());
    let (architecture, variant) = match (&*architecture, &*variant) {
        ("x86_64" | "x86-64", variant) => ("amd64", variant),
        ("i386", _) => ("386", ""),
        ("aarch64", variant) => ("arm64", variant),
        ("armhf", _) => ("arm", "v7"),
        ("armel", _) => ("arm", "v6"),
        (architecture, variant) => (architecture, variant),
    };
    let is_number = variant.starts_with(|first: char| first.is_ascii_digit());
    let variant = if is_number { format!("v{variant}") } else { variant.to_owned() };
    (architecture.to_owned(), Some(variant).filter(|variant| !variant.is_empty()))
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
        let is_architecture = |part: &str| ARCHITECTURES.contains(&&*normal(part, "").0);
        let host = Self::host().architecture;
        let (os, architecture, variant) = match parts[..] {
            [architecture] if is_architecture(architecture) => ("linux", architecture, ""),
            ["linux"] => ("linux", &*host, ""),
            [architecture, variant] if is_architecture(architecture) => {
                ("linux", architecture, variant)
            }
            [os, architecture] => (os, architecture, ""),
            [os, architecture, variant] => (os, architecture, variant),
            _ => return Err(ParsePlatformError(text.to_owned())),
        };
        if !parts.iter().all(part) {
            return Err(ParsePlatformError(text.to_owned()));
        }
        let (architecture, variant) = normal(architecture, variant);
        Ok(Self { os: os.to_ascii_lowercase(), architecture, variant })
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
        assert_eq!(chosen("linux/arm/7", &["linux/arm/8", "linux/arm/6", "linux/arm"]), Some(2));
        let minor = ["linux/arm64/v8.1", "linux/arm64/v8.5", "linux/arm64/v8.6", "linux/arm64/8"];
        assert_eq!(chosen("linux/arm64/v8.5", &minor), Some(1));
        assert_eq!(chosen("linux/arm64/v9", &minor), Some(1));
        assert_eq!(chosen("linux/arm64", &minor), Some(3));
    }

    #[test]
    fn an_image_fits_where_its_variant_runs_and_where_it_names_none() {
        let fits = |wanted: &str, architecture: &str, variant: Option<&str>| {
            let mut json = serde_json::json!({
                "os": "linux", "architecture": architecture,
                "rootfs": {"type": "layers", "diff_ids": []},
            });
            if let Some(variant) = variant {
                json["variant"] = variant.into();
            }
            let config = serde_json::from_value(json).unwrap();
            wanted.parse::<Platform>().unwrap().fits(&config)
        };
        assert!(!fits("linux/arm/v6", "arm", Some("v7")));
        assert!(fits("linux/arm/v7", "arm", Some("v6")));
        assert!(fits("linux/arm/v6", "arm", None));
        assert!(
            fits("linux/arm64", "arm64", Some("v8")) && fits("linux/arm64/v8", "aarch64", None)
        );
        assert!(!fits("linux/arm64/v8", "arm64", Some("v9")));
        assert!(!fits("linux/amd64", "amd64", Some("v3")) && fits("linux/amd64/v3", "amd64", None));
        assert!(
            fits("linux/mips64/odd", "mips64", Some("odd")) && !fits("linux/s390x", "amd64", None)
        );
    }

    #[test]
    fn a_cpu_of_64_bits_has_one_of_32_in_it() {
        let of = |name: &str| name.parse::<Platform>().unwrap().of_32_bits();
        assert_eq!(of("linux/amd64/v3").unwrap().to_string(), "linux/386");
        let entries = [entry(Some("linux/arm/v9")), entry(Some("linux/arm/v6"))];
        let chosen = of("linux/arm64").unwrap().choose(&entries).unwrap().clone();
        assert_eq!(chosen.platform(), entries[1].platform());
        assert_eq!(of("linux/s390x"), None);
    }

    #[test]
    fn a_part_of_a_platform_may_tell_the_rest() {
        for (text, name) in [
            ("arm64", "linux/arm64"),
            ("aarch64/V8", "linux/arm64/v8"),
            ("arm/7", "linux/arm/v7"),
            ("Linux/armhf", "linux/arm/v7"),
            ("linux/i386", "linux/386"),
            ("linux/x86_64/v2", "linux/amd64/v2"),
        ] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), name, "{text}");
        }
        assert_eq!(
            "linux".parse::<Platform>().unwrap().architecture(),
            Platform::host().architecture()
        );
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
        for text in ["windows", "linux/", "a/b/c/d", "linux/am d64", ""] {
            assert_eq!(text.parse::<Platform>(), Err(ParsePlatformError(text.to_owned())));
        }
    }
}
