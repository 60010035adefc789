//! The names that end up as path components, interface names and firewall keys: parsed once, here.
//!
//! A name that passes can be joined to a path or written into a netlink attribute without another look.

use super::error::Error;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The longest interface name that the kernel takes (IFNAMSIZ less its zero byte).
const INTERFACE_LONGEST: usize = 15;
/// Long enough for people, short enough for a file name with a suffix.
const NETWORK_LONGEST: usize = 64;

/// A network's name: `[a-zA-Z0-9][a-zA-Z0-9_.-]*`, as the CNI specification has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NetworkName(String);

/// A network interface's name, 1 to 15 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InterfaceName(String);

/// What `--network` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A namespace with nothing but a loopback interface.
    None,
    /// The host's own namespace.
    Host,
    /// A namespace of its own, whose traffic a program carries for a user without root.
    User(Carrier),
    /// Another container's namespace, by that container's name or id.
    Container(String),
    /// A namespace that somebody else has made, by the absolute path of a file; Podman's `ns:PATH`.
    Namespace(PathBuf),
    /// A network by name.
    Network(NetworkName),
}

/// A program that connects a container without root. Its name is Podman's word for the mode, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// pasta(1)
    Pasta,
    /// slirp4netns(1)
    Slirp4netns,
}

impl Carrier {
    /// The program's name.
    #[must_use]
    pub fn program(self) -> &'static str {
        match self {
            Self::Pasta => "pasta",
            Self::Slirp4netns => "slirp4netns",
        }
    }

    /// Debian's package that has it.
    #[must_use]
    pub fn package(self) -> &'static str {
        match self {
            Self::Pasta => "passt",
            Self::Slirp4netns => "slirp4netns",
        }
    }
}

/// What stands before the path of a namespace.
const NAMESPACE: &str = "ns:";

/// The names that `--network` takes for the built-in bridge network; `bridge` is Docker's word for it.
const DEFAULT_NETWORK: [&str; 3] = ["bridge", "default", super::definition::DEFAULT_NAME];

impl FromStr for NetworkName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        let rest = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
        if first && rest && text.len() <= NETWORK_LONGEST {
            return Ok(Self(text.to_owned()));
        }
        let reason = format!(
            "only [a-zA-Z0-9][a-zA-Z0-9_.-]* up to {NETWORK_LONGEST} characters is allowed"
        );
        Err(Error::Invalid { what: "network name", text: text.to_owned(), reason })
    }
}

impl FromStr for InterfaceName {
    type Err = Error;

    /// The kernel's own rule (`dev_valid_name`), and nothing that is not printable ASCII, `%` (the kernel would
    /// put a number there) or `+` and `*` (wildcards of firewalls).
    fn from_str(text: &str) -> Result<Self, Error> {
        let plain = text.bytes().all(|b| b.is_ascii_graphic() && !b"/:%+*".contains(&b));
        if plain
            && !matches!(text, "" | "." | ".." | "all" | "default")
            && text.len() <= INTERFACE_LONGEST
        {
            return Ok(Self(text.to_owned()));
        }
        let reason = format!(
            "1 to {INTERFACE_LONGEST} printable characters without `/`, `:`, `%`, `+`, `*`"
        );
        Err(Error::Invalid { what: "interface name", text: text.to_owned(), reason })
    }
}

impl FromStr for Mode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "none" => Ok(Self::None),
            "host" => Ok(Self::Host),
            "pasta" => Ok(Self::User(Carrier::Pasta)),
            "slirp4netns" => Ok(Self::User(Carrier::Slirp4netns)),
            name if DEFAULT_NETWORK.contains(&name) => Ok(Self::default()),
            name if name.starts_with(NAMESPACE) => match PathBuf::from(&name[NAMESPACE.len()..]) {
                // Whoever opens it, when the container is started, stands in another directory.
                path if path.is_absolute() => Ok(Self::Namespace(path)),
                _ => Err(Error::Invalid {
                    what: "network mode",
                    text: text.to_owned(),
                    reason: "an absolute path has to follow, such as ns:/run/netns/NAME".into(),
                }),
            },
            name => match name.strip_prefix("container:") {
                Some("") => Err(Error::Invalid {
                    what: "network mode",
                    text: text.to_owned(),
                    reason: "invalid container format container:<name|id>".into(),
                }),
                Some(container) => Ok(Self::Container(container.to_owned())),
                None => Ok(Self::Network(name.parse()?)),
            },
        }
    }
}

impl Default for Mode {
    /// The built-in bridge network.
    fn default() -> Self {
        Self::Network(NetworkName(super::definition::DEFAULT_NAME.to_owned()))
    }
}

macro_rules! text_newtype {
    ($name:ident) => {
        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl TryFrom<String> for $name {
            type Error = String;
            fn try_from(text: String) -> Result<Self, String> {
                text.parse().map_err(|error: Error| error.to_string())
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }
    };
}
text_newtype!(NetworkName);
text_newtype!(InterfaceName);

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Host => f.write_str("host"),
            Self::User(carrier) => f.write_str(carrier.program()),
            Self::Container(container) => write!(f, "container:{container}"),
            Self::Namespace(path) => write!(f, "{NAMESPACE}{}", path.display()),
            Self::Network(name) => name.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_their_directory_are_refused() {
        for bad in ["", ".", "..", "../x", "a/b", "-a", "_a", "a\0", "a b", "ä", &"a".repeat(65)] {
            assert!(bad.parse::<NetworkName>().is_err(), "{bad:?}");
        }
        for good in ["nman", "a", "web.1_x-y", &"a".repeat(64)] {
            assert!(good.parse::<NetworkName>().is_ok(), "{good:?}");
        }
    }

    #[test]
    fn interface_names_follow_the_kernels_rule() {
        for bad in
            ["", ".", "..", "a/b", "a:1", "a%d", "a b", "nm+", "all", "default", &"a".repeat(16)]
        {
            assert!(bad.parse::<InterfaceName>().is_err(), "{bad:?}");
        }
        assert!("nman0".parse::<InterfaceName>().is_ok());
        assert!("a".repeat(15).parse::<InterfaceName>().is_ok());
    }

    #[test]
    fn modes_have_dockers_words() {
        assert_eq!("none".parse::<Mode>().unwrap(), Mode::None);
        for word in ["pasta", "slirp4netns"] {
            assert_eq!(word.parse::<Mode>().unwrap().to_string(), word);
        }
        assert_eq!("host".parse::<Mode>().unwrap(), Mode::Host);
        for word in DEFAULT_NETWORK {
            assert_eq!(word.parse::<Mode>().unwrap(), Mode::default());
        }
        assert_eq!("web".parse::<Mode>().unwrap().to_string(), "web");
        assert_eq!("container:a".parse::<Mode>().unwrap().to_string(), "container:a");
        assert_eq!("ns:/run/netns/a".parse::<Mode>().unwrap().to_string(), "ns:/run/netns/a");
        for bad in ["../web", "container:", "a:b", "ns:", "ns:run/netns/a"] {
            assert!(bad.parse::<Mode>().is_err(), "{bad}");
        }
    }
}
