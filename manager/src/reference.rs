//! Image references: `alpine`, `localhost:5000/team/app:1.2`, `alpine@sha256:...`.
//!
//! Parsing follows Docker's `ParseNormalizedNamed` rule for rule, messages included, because
//! people and scripts already depend on which string means which image. A [`Reference`] is always
//! normalized: it has a domain, and a tag or a digest. Parsing is the only way to make one, so its
//! parts are safe to put in a URL or an annotation.

use std::fmt;
use std::str::FromStr;

use bundle::digest::Digest;

/// The registry that a name without a domain belongs to.
const DEFAULT_DOMAIN: &str = "docker.io";
/// Where Docker Hub really answers; `docker.io` itself serves a web site.
const DEFAULT_ENDPOINT: &str = "registry-1.docker.io";
/// The former name of the default domain, still found in old scripts.
const LEGACY_DOMAIN: &str = "index.docker.io";
/// The namespace of Docker Hub's own images.
const OFFICIAL_NAMESPACE: &str = "library";
const DEFAULT_TAG: &str = "latest";
const MAX_TAG: usize = 128;
const MAX_REPOSITORY: usize = 255;

/// A normalized image reference: `domain/repository[:tag][@digest]`, with a tag or a digest or both.
///
/// [`Display`](fmt::Display) is the familiar form that a user types (`alpine:latest`);
/// [`canonical`](Self::canonical) is the full one (`docker.io/library/alpine:latest`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    domain: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a string is not an image reference. The wording is Docker's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The string does not follow the grammar.
    #[error("invalid reference format: `{0}`")]
    Format(String),
    /// Repository names are lower case; tags and domains need not be.
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    Uppercase(String),
    /// 64 hexadecimal digits are an image id, never a name.
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    Identifier(String),
    /// `sha256:NAME` would be found before the image whose id it is.
    #[error(
        "invalid repository name ({0}): with a digest algorithm's name it would be taken for an image's id"
    )]
    Algorithm(String),
    /// The repository part is over 255 characters long.
    #[error("invalid reference format: repository name must not be more than 255 characters")]
    TooLong,
}

impl ParseError {
    /// What the user can do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Uppercase(name) => {
                let name = name.strip_prefix("library/").unwrap_or(name).to_lowercase();
                name.parse::<Reference>().ok().map(|_| format!("try `{name}`"))
            }
            Self::Format(text) if text.contains("://") => {
                Some("leave out the scheme: an image is named HOST[:PORT]/NAME[:TAG]".to_owned())
            }
            Self::Algorithm(_) => Some("`nman images` lists the ids that are here".to_owned()),
            _ => None,
        }
    }
}

impl Reference {
    /// The registry's name as users write it, with its port: `docker.io`, `localhost:5000`.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The `HOST[:PORT]` to connect to; only Docker Hub's differs from its domain.
    pub fn endpoint(&self) -> &str {
        if self.domain == DEFAULT_DOMAIN { DEFAULT_ENDPOINT } else { &self.domain }
    }

    /// The repository within its registry: `library/alpine`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, absent only where a digest was given without one.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest of the manifest or index, where the reference is pinned to one.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// What the registry is asked for: the digest where there is one, else the tag.
    pub fn selector(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => DEFAULT_TAG.to_owned(),
        }
    }

    /// The full form, by which the store names images: `docker.io/library/alpine:latest`.
    pub fn canonical(&self) -> String {
        self.suffixed(format!("{}/{}", self.domain, self.repository))
    }

    /// The full name without tag and digest: `docker.io/library/alpine`.
    pub fn canonical_name(&self) -> String {
        format!("{}/{}", self.domain, self.repository)
    }

    /// The same repository's image with another tag.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ParseError> {
        if !is_tag(tag) {
            return Err(ParseError::Format(tag.to_owned()));
        }
        Ok(Self { tag: Some(tag.to_owned()), digest: None, ..self.clone() })
    }

    /// The name without tag and digest as a user types it: `alpine`, `localhost:5000/app`.
    pub fn familiar_name(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return format!("{}/{}", self.domain, self.repository);
        }
        match self.repository.split_once('/') {
            Some((OFFICIAL_NAMESPACE, name)) if !name.contains('/') => name.to_owned(),
            // Without its domain it would be read as belonging to another registry.
            Some((first, _)) if first.contains('.') || first == "localhost" => {
                format!("{}/{}", self.domain, self.repository)
            }
            _ => self.repository.clone(),
        }
    }

    fn suffixed(&self, mut name: String) -> String {
        if let Some(tag) = &self.tag {
            name.push(':');
            name.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            name.push('@');
            name.push_str(&digest.to_string());
        }
        name
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.suffixed(self.familiar_name()))
    }
}

impl FromStr for Reference {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let malformed = || ParseError::Format(text.to_owned());
        if text.len() == 64 && text.bytes().all(is_lower_hex) {
            return Err(ParseError::Identifier(text.to_owned()));
        }
        let (domain, remainder) = split_domain(text);
        // Docker looks for upper case before other faults, so that the message is the useful one.
        let untagged = remainder.split_once(':').map_or(&*remainder, |(name, _)| name);
        if untagged.chars().any(char::is_uppercase) {
            return Err(ParseError::Uppercase(untagged.to_owned()));
        }
        let (rest, digest) = match remainder.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse().map_err(|_| malformed())?)),
            None => (&*remainder, None),
        };
        let (repository, tag) = match rest.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (rest, None),
        };
        if !is_domain(domain) || !is_repository(repository) || !tag.is_none_or(is_tag) {
            return Err(malformed());
        }
        if domain == DEFAULT_DOMAIN
            && let Some(name @ ("sha256" | "sha512")) = repository.strip_prefix("library/")
        {
            return Err(ParseError::Algorithm(name.to_owned()));
        }
        if repository.len() > MAX_REPOSITORY {
            return Err(ParseError::TooLong);
        }
        let tag = match (tag, &digest) {
            (Some(tag), _) => Some(tag.to_owned()),
            (None, Some(_)) => None,
            (None, None) => Some(DEFAULT_TAG.to_owned()),
        };
        Ok(Self { domain: domain.to_owned(), repository: repository.to_owned(), tag, digest })
    }
}

/// Splits off the domain: what stands before the first `/`, if it cannot be a path component (it
/// has a dot, a port or an upper-case letter, or is `localhost`); else the name is Docker Hub's.
fn split_domain(text: &str) -> (&str, String) {
    let (domain, remainder) = match text.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.chars().any(char::is_uppercase) =>
        {
            (first, rest)
        }
        _ => (DEFAULT_DOMAIN, text),
    };
    let domain = if domain == LEGACY_DOMAIN { DEFAULT_DOMAIN } else { domain };
    if domain == DEFAULT_DOMAIN && !remainder.contains('/') {
        return (domain, format!("{OFFICIAL_NAMESPACE}/{remainder}"));
    }
    (domain, remainder.to_owned())
}

fn is_lower_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// `host[:port]`, where host is a domain name, an IPv4 address or an IPv6 address in brackets.
fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            let hex = |byte: u8| byte.is_ascii_hexdigit() || byte == b':';
            if address.is_empty() || !address.bytes().all(hex) {
                return false;
            }
            match rest {
                "" => return true,
                _ => ("bracketed", rest.strip_prefix(':')),
            }
        }
        None => match domain.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => return domain.split('.').all(is_domain_component),
        },
    };
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    host.split('.').all(is_domain_component) && port.is_some_and(is_port)
}

fn is_domain_component(component: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    !component.is_empty()
        && component.bytes().all(inner)
        && !component.starts_with('-')
        && !component.ends_with('-')
}

fn is_repository(repository: &str) -> bool {
    repository.split('/').all(is_path_component)
}

/// Runs of `[a-z0-9]` joined by one separator each: `.`, `_`, `__` or any number of `-`.
fn is_path_component(component: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !component.starts_with(alphanumeric) || !component.ends_with(alphanumeric) {
        return false;
    }
    component.split(alphanumeric).filter(|separator| !separator.is_empty()).all(|separator| {
        matches!(separator, "." | "_" | "__") || separator.bytes().all(|b| b == b'-')
    })
}

fn is_tag(tag: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let first = tag.bytes().next();
    first.is_some_and(word)
        && tag.len() <= MAX_TAG
        && tag.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn parse(text: &str) -> Reference {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn names_are_normalized_as_docker_does() {
        let table = [
            ("alpine", "docker.io/library/alpine:latest", "alpine:latest"),
            ("alpine:3.20", "docker.io/library/alpine:3.20", "alpine:3.20"),
            ("grafana/grafana", "docker.io/grafana/grafana:latest", "grafana/grafana:latest"),
            ("docker.io/alpine", "docker.io/library/alpine:latest", "alpine:latest"),
            ("index.docker.io/alpine", "docker.io/library/alpine:latest", "alpine:latest"),
            ("docker.io/library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
            ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
            ("localhost:5000/x", "localhost:5000/x:latest", "localhost:5000/x:latest"),
            ("127.0.0.1:5000/x:1", "127.0.0.1:5000/x:1", "127.0.0.1:5000/x:1"),
            ("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"),
            ("[2001:db8::1]/x", "[2001:db8::1]/x:latest", "[2001:db8::1]/x:latest"),
            ("quay.io/a/b/c:t_1", "quay.io/a/b/c:t_1", "quay.io/a/b/c:t_1"),
            ("Host/x", "Host/x:latest", "Host/x:latest"),
            ("a/b__c/d---e.f", "docker.io/a/b__c/d---e.f:latest", "a/b__c/d---e.f:latest"),
        ];
        for (text, canonical, familiar) in table {
            assert_eq!(parse(text).canonical(), canonical, "{text}");
            assert_eq!(parse(text).to_string(), familiar, "{text}");
        }
    }

    #[test]
    fn a_digest_replaces_the_default_tag_but_not_a_given_one() {
        let pinned = parse(&format!("alpine@{DIGEST}"));
        assert_eq!(pinned.tag(), None);
        assert_eq!(pinned.canonical(), format!("docker.io/library/alpine@{DIGEST}"));
        let both = parse(&format!("alpine:3.20@{DIGEST}"));
        assert_eq!(both.tag(), Some("3.20"));
        assert_eq!(both.selector(), DIGEST);
    }

    #[test]
    fn canonical_and_familiar_forms_parse_back_to_the_same_reference() {
        let texts = ["alpine", "localhost:5000/x:1", "a/b", "[::1]:80/x", "library/library/x"];
        for text in texts.into_iter().chain(["docker.io/foo.bar/x", "docker.io/localhost/x"]) {
            let reference = parse(text);
            assert_eq!(parse(&reference.canonical()), reference);
            assert_eq!(parse(&reference.to_string()), reference);
        }
    }

    #[test]
    fn docker_hub_is_reached_at_its_own_endpoint() {
        assert_eq!(parse("alpine").endpoint(), "registry-1.docker.io");
        assert_eq!(parse("localhost:5000/x").endpoint(), "localhost:5000");
    }

    #[test]
    fn upper_case_in_a_name_has_dockers_message_and_a_hint() {
        let error = "Alpine:latest".parse::<Reference>().unwrap_err();
        let message =
            "invalid reference format: repository name (library/Alpine) must be lowercase";
        assert_eq!(error.to_string(), message);
        assert_eq!(error.hint().as_deref(), Some("try `alpine`"));
        assert_eq!("BAD NAME".parse::<Reference>().unwrap_err().hint(), None);
        assert_eq!(parse("alpine:LATEST").tag(), Some("LATEST"));
    }

    #[test]
    fn an_image_id_is_not_a_name() {
        let id = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(id.parse::<Reference>(), Err(ParseError::Identifier(id.to_owned())));
        for text in [DIGEST, "sha256", "sha256:1", "docker.io/library/sha512:x"] {
            let error = text.parse::<Reference>().unwrap_err();
            assert!(matches!(error, ParseError::Algorithm(_)), "{text}: {error}");
        }
        assert_eq!(parse("team/sha256:1").to_string(), "team/sha256:1");
    }

    #[test]
    fn what_is_outside_the_grammar_is_refused() {
        let long_tag = format!("a:{}", "t".repeat(129));
        let malformed = [
            "",
            ":",
            "/",
            "a/",
            "/a",
            "a//b",
            "a:",
            "a:-x",
            "a: b",
            "-a",
            "a-",
            "a_",
            "a..b",
            "a___b",
            "a._b",
            "a b",
            "a@",
            "a@sha256:12",
            "a@md5:12",
            "https://a/b",
            "a:b:c",
            "localhost:/x",
            ".io/x",
            "a-.io/x",
            "[::1/x",
            "[]/x",
            "[zz]:1/x",
            "host:5x/y",
            "é",
            "a/../b",
            "a\n",
            "a:b@c",
            &long_tag,
        ];
        for text in malformed {
            let result = text.parse::<Reference>();
            assert_eq!(result, Err(ParseError::Format(text.to_owned())), "{text:?}");
        }
        let long_name = "a".repeat(256);
        assert_eq!(format!("x.y/{long_name}").parse::<Reference>(), Err(ParseError::TooLong));
    }
}
