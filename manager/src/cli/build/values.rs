//! Values of options of `nman build`.

use super::InLayout;
use crate::cli::values::key_value;
use crate::fields::fields;
use clap::ValueEnum;
use std::path::PathBuf;

/// What a step may be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Entitlement {
    /// RUN --security=insecure: all that a privileged container may
    #[value(name = "security.insecure")]
    Insecure,
    /// RUN --network=host: the host's own network, also without `--network host`
    #[value(name = "network.host")]
    HostNetwork,
}

/// `--provenance` and `--sbom`: nothing is attested, so that saying so is all that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoAttestation;

impl std::str::FromStr for NoAttestation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "false" | "0" => Ok(Self),
            _ => Err("nothing is attested of an image: there is `false` alone".to_owned()),
        }
    }
}

/// One `--secret`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildSecret {
    /// What it is called in the Dockerfile.
    pub id: String,
    /// Where it is.
    pub source: SecretSource,
}

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// In a file.
    File(PathBuf),
    /// In a variable of our environment.
    Variable(String),
}

impl BuildSecret {
    /// Its content.
    pub fn read(&self) -> crate::error::Result<Vec<u8>> {
        use crate::error::Error;
        match &self.source {
            SecretSource::File(path) => {
                std::fs::read(path).map_err(Error::io("read the secret", path))
            }
            SecretSource::Variable(name) => {
                let value = std::env::var_os(name).map(std::ffi::OsString::into_encoded_bytes);
                value.ok_or_else(|| {
                    Error::refusal(format!("secret {}: ${name} is not set", self.id))
                })
            }
        }
    }
}

pub(super) fn secret(text: &str) -> Result<BuildSecret, String> {
    let (mut id, mut file, mut variable, mut is_variable) = (None, None, None, false);
    for field in fields(text)? {
        match field.split_once('=') {
            Some(("id", value)) => id = Some(value.to_owned()),
            Some(("src" | "source", value)) => file = Some(value.to_owned()),
            Some(("env", value)) => variable = Some(value.to_owned()),
            Some(("type", kind @ ("file" | "env"))) => is_variable = kind == "env",
            _ => return Err(format!("`{field}` is none of id=, src=, env= and type=")),
        }
    }
    let id = id.filter(|id| !id.is_empty()).ok_or("a secret needs an id")?;
    let source = match (variable, file) {
        (Some(name), _) => SecretSource::Variable(name),
        (None, Some(name)) if is_variable => SecretSource::Variable(name),
        (None, Some(path)) => SecretSource::File(path.into()),
        // As with Docker, a variable of its name, and else a file.
        (None, None) if is_variable || std::env::var_os(&id).is_some() => {
            SecretSource::Variable(id.clone())
        }
        (None, None) => SecretSource::File(id.clone().into()),
    };
    Ok(BuildSecret { id, source })
}

/// `KEY=VALUE`, of the manifest.
pub(super) fn annotation(text: &str) -> Result<(String, String), String> {
    let (key, value) = key_value(text.strip_prefix("manifest:").unwrap_or(text))?;
    let other = ["index", "manifest-descriptor", "index-descriptor"];
    if let Some(kind) = other.iter().find(|kind| key.starts_with(&format!("{kind}:"))) {
        return Err(format!("annotations of an {kind} are not supported"));
    }
    Ok((key, value))
}

/// One `--build-context`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedContext {
    /// What it is called in the Dockerfile.
    pub name: String,
    /// What it is.
    pub source: ContextSource,
}

/// What a named context is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContextSource {
    /// An image, by its name.
    Image(String),
    /// A directory, or where an archive or a repository is.
    Files(PathBuf),
    /// An image in an image layout.
    Layout {
        /// As it was typed.
        text: String,
        /// The directory.
        path: PathBuf,
        /// What is meant of it.
        what: InLayout,
    },
}

/// `DIR`, `DIR:TAG`, `DIR@DIGEST` or `DIR:TAG@DIGEST`, of which the digest counts, behind `oci-layout://`.
fn in_layout(text: &str) -> Result<(PathBuf, InLayout), String> {
    let (named, digest) = match text.rsplit_once('@') {
        Some((named, digest)) => {
            let parsed = digest.parse().map_err(|_| format!("`{digest}` is no digest"))?;
            (named, Some(InLayout::Digest(parsed)))
        }
        None => (text, None),
    };
    let (path, what) = match named.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, InLayout::Tag(tag.to_owned())),
        _ => (named, InLayout::Latest),
    };
    let what = digest.unwrap_or(what);
    match path.is_empty() || what == InLayout::Tag(String::new()) {
        true => Err("oci-layout:// is followed by DIR[:TAG|@DIGEST]".to_owned()),
        false => Ok((path.into(), what)),
    }
}

impl std::str::FromStr for NamedContext {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("it is not NAME=VALUE")?;
        if name.is_empty() || value.is_empty() || value == "-" {
            return Err("it is not NAME=VALUE".to_owned());
        }
        let source = match value.split_once("://") {
            Some(("docker-image", image)) => ContextSource::Image(image.to_owned()),
            Some(("oci-layout", layout)) => {
                let (path, what) = in_layout(layout)?;
                ContextSource::Layout { text: value.to_owned(), path, what }
            }
            Some(("target", _)) => return Err("target:// is not supported".to_owned()),
            _ => ContextSource::Files(value.into()),
        };
        Ok(Self { name: name.to_owned(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_have_names_and_annotations_keys() {
        let parsed = |text: &str| text.parse::<NamedContext>();
        let image = parsed("base=docker-image://alpine:3").unwrap();
        assert_eq!(image.source, ContextSource::Image("alpine:3".to_owned()));
        let files = parsed("src=../x=y").unwrap();
        assert_eq!(
            (files.name.as_str(), files.source),
            ("src", ContextSource::Files("../x=y".into()))
        );
        for (text, path, what) in [
            ("../a", "../a", InLayout::Latest),
            ("/a:1/b", "/a:1/b", InLayout::Latest),
            ("/a:1", "/a", InLayout::Tag("1".to_owned())),
        ] {
            let text = format!("oci-layout://{text}");
            let source = ContextSource::Layout { text: text.clone(), path: path.into(), what };
            assert_eq!(parsed(&format!("base={text}")).unwrap().source, source);
        }
        for named in ["/a", "/a:1"] {
            let digest = format!("base=oci-layout://{named}@sha256:{}", "0".repeat(64));
            let ContextSource::Layout { what: InLayout::Digest(_), path, .. } =
                parsed(&digest).unwrap().source
            else {
                panic!("{digest}")
            };
            assert_eq!(path, PathBuf::from("/a"));
        }
        for wrong in [
            "x",
            "=x",
            "x=",
            "x=-",
            "x=target://y",
            "x=oci-layout://",
            "x=oci-layout://y:",
            "x=oci-layout://y@1",
        ] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
        let pair = |key: &str, value: &str| Ok((key.to_owned(), value.to_owned()));
        assert_eq!(annotation("a=b=c"), pair("a", "b=c"));
        assert_eq!(annotation("manifest:a="), pair("a", ""));
        assert!(annotation("a").is_err() && annotation("index:a=b").is_err());
    }

    #[test]
    fn a_secret_is_a_variable_where_it_says_so_and_else_a_file() {
        let source = |text: &str| secret(text).unwrap().source;
        let variable = |name: &str| SecretSource::Variable(name.to_owned());
        assert_eq!(source("id=x,src=f"), SecretSource::File("f".into()));
        assert_eq!(source("id=x,type=file,source=f"), SecretSource::File("f".into()));
        assert_eq!(source("id=x,env=V"), variable("V"));
        assert_eq!(source("src=V,type=env,id=x"), variable("V"));
        // Whether it is set or not: a file of that name is another thing.
        assert_eq!(source("type=env,id=NMAN_NOT_SET"), variable("NMAN_NOT_SET"));
        assert_eq!(source("id=NMAN_NOT_SET"), SecretSource::File("NMAN_NOT_SET".into()));
        assert_eq!(source("id=PATH"), variable("PATH"));
        let error = secret("type=env,id=NMAN_NOT_SET").unwrap().read().unwrap_err();
        assert_eq!(error.to_string(), "secret NMAN_NOT_SET: $NMAN_NOT_SET is not set");
        assert!(secret("type=env").is_err() && secret("id=x,type=gpu").is_err());
    }
}
