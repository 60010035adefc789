//! Values of options of `nman build`.

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
    /// Accepted for compatibility: RUN --network=host needs no permission
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

/// One `--ssh`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildAgent {
    /// What it is called in the Dockerfile.
    pub id: String,
    /// Its socket; that of `SSH_AUTH_SOCK` without one.
    socket: Option<PathBuf>,
}

impl std::str::FromStr for BuildAgent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (id, socket) = match text.split_once('=') {
            Some((id, socket)) => (id, Some(socket)),
            None => (text, None),
        };
        if id.is_empty() || socket.is_some_and(str::is_empty) {
            return Err("it is neither `default` nor ID=SOCKET".to_owned());
        }
        Ok(Self { id: id.to_owned(), socket: socket.map(PathBuf::from) })
    }
}

impl BuildAgent {
    /// Where the agent listens.
    pub fn socket(&self) -> crate::error::Result<PathBuf> {
        use crate::error::Error;
        use std::os::unix::fs::FileTypeExt as _;
        let own = || std::env::var_os("SSH_AUTH_SOCK").filter(|path| !path.is_empty());
        let socket = self.socket.clone().or_else(|| own().map(PathBuf::from));
        let socket = socket.ok_or_else(|| {
            Error::refusal("invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set")
        })?;
        let there = std::fs::metadata(&socket).map_err(Error::io("find the agent at", &socket))?;
        if !there.file_type().is_socket() {
            return Err(Error::Rejected {
                message: format!("cannot forward `{}`: it is no socket", socket.display()),
                hint: Some("keys are forwarded by an agent: `ssh-add KEY` gives it one".to_owned()),
            });
        }
        Ok(socket)
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

/// One `--output`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildOutput {
    /// An image, as without the option.
    Image,
    /// The files, in a directory.
    Directory(PathBuf),
    /// An archive of the files; `-` for stdout.
    Archive(PathBuf),
}

impl std::str::FromStr for BuildOutput {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "-" {
            return Ok(Self::Archive(text.into()));
        }
        let (mut kind, mut dest) = (None, None);
        let fields = fields(text)?;
        if let [path] = &fields[..]
            && !path.contains('=')
        {
            return Ok(Self::Directory(path.into()));
        }
        for field in fields {
            match field.split_once('=') {
                Some(("type", value)) => kind = Some(value.to_owned()),
                Some(("dest", value)) if !value.is_empty() => dest = Some(PathBuf::from(value)),
                _ => return Err(format!("`{field}` is neither type= nor dest=")),
            }
        }
        match (kind.as_deref(), dest) {
            (Some("local"), Some(dest)) => Ok(Self::Directory(dest)),
            (Some("local"), None) => Err("dest is required for local exporter".to_owned()),
            (Some("tar"), dest) => Ok(Self::Archive(dest.unwrap_or_else(|| "-".into()))),
            (Some("image" | "docker"), None) => Ok(Self::Image),
            (Some(kind), _) => {
                Err(format!("type={kind} is not supported: `nman save` writes an image to a file"))
            }
            (None, _) => Err("type is required for output".to_owned()),
        }
    }
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
            Some((scheme @ ("oci-layout" | "target"), _)) => {
                return Err(format!("{scheme}:// is not supported"));
            }
            _ => ContextSource::Files(value.into()),
        };
        Ok(Self { name: name.to_owned(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_an_image_a_directory_or_an_archive() {
        let parsed = |text: &str| text.parse::<BuildOutput>();
        assert_eq!(parsed("out"), Ok(BuildOutput::Directory("out".into())));
        assert_eq!(parsed("-"), Ok(BuildOutput::Archive("-".into())));
        assert_eq!(parsed("type=local,dest=a"), Ok(BuildOutput::Directory("a".into())));
        assert_eq!(parsed("type=tar,\"dest=a,b\""), Ok(BuildOutput::Archive("a,b".into())));
        assert_eq!(parsed("type=tar"), Ok(BuildOutput::Archive("-".into())));
        assert_eq!(parsed("type=image"), Ok(BuildOutput::Image));
        for (text, why) in [
            ("type=local", "dest is required"),
            ("type=oci,dest=x", "type=oci is not supported"),
            ("dest=x", "type is required"),
            ("type=tar,x=y", "neither type= nor dest="),
        ] {
            assert!(parsed(text).unwrap_err().contains(why), "{text}");
        }
    }

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
        for wrong in ["x", "=x", "x=", "x=-", "x=oci-layout://y"] {
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

    #[test]
    fn an_agent_has_an_id_and_may_have_a_socket() {
        let parsed = |text: &str| text.parse::<BuildAgent>();
        assert_eq!(parsed("default").unwrap().socket, None);
        assert_eq!(parsed("k=/run/a=b").unwrap().socket, Some("/run/a=b".into()));
        assert!(parsed("").is_err() && parsed("k=").is_err() && parsed("=x").is_err());
    }
}
