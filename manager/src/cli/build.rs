//! `nman build`

use super::create::{CGROUP_PARENT, cgroup_parent};
use super::values::variable;
use super::{LimitArgs, NetworkChoice, RegistryArgs, Size};
use crate::container::Ulimit;
use crate::network::dns::HostEntry;
use clap::{ArgAction, Args, ValueEnum};
use std::path::PathBuf;

/// `nman build`
#[derive(Clone, Debug, Default, Args)]
pub struct BuildArgs {
    /// Name of the image; may be given several times
    #[arg(short, long, value_name = "REPOSITORY[:TAG]")]
    pub tag: Vec<String>,
    /// Dockerfile, or `-` for stdin [default: Dockerfile or Containerfile in the context]
    #[arg(short, long, value_name = "FILE|-")]
    pub file: Option<PathBuf>,
    /// Give an ARG of the Dockerfile a value, or pass on one of our variables
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = variable)]
    pub build_arg: Vec<(String, Option<String>)>,
    /// Stage to build [default: the last one]
    #[arg(long, value_name = "STAGE")]
    pub target: Option<String>,
    /// Take no step from earlier builds
    #[arg(long)]
    pub no_cache: bool,
    /// Pull the images of FROM even if they are here
    #[arg(long)]
    pub pull: bool,
    /// Print the image's id alone
    #[arg(short, long)]
    pub quiet: bool,
    /// Set a label of the image
    #[arg(long, value_name = "KEY[=VALUE]")]
    pub label: Vec<String>,
    /// Network of the steps that run something: none, host, bridge, or a network's name [default: bridge]
    #[arg(long, value_name = "NETWORK")]
    pub network: Option<NetworkChoice>,
    /// How it is shown how the build gets on
    #[arg(long, value_enum, value_name = "KIND", default_value_t)]
    pub progress: ProgressKind,
    /// Write the image's id to this file
    #[arg(long, value_name = "FILE")]
    pub iidfile: Option<PathBuf>,
    /// Add a line to /etc/hosts of the steps that run something; the address may be host-gateway
    #[arg(long, value_name = "NAME:ADDRESS")]
    pub add_host: Vec<HostEntry>,
    /// Limits of the steps that run something.
    #[command(flatten)]
    pub limits: LimitArgs,
    /// Set a limit of their processes, such as nofile=1024:2048
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    pub ulimit: Vec<Ulimit>,
    /// Size of their /dev/shm [default: 64m]
    #[arg(long, value_name = "SIZE")]
    pub shm_size: Option<Size>,
    /// Cgroup below which they get their own
    #[arg(long, value_name = "PATH", value_parser = cgroup_parent, default_value = CGROUP_PARENT)]
    pub cgroup_parent: String,
    /// Accepted for compatibility: no container of a build stays
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value = "true", default_missing_value = "true")]
    pub rm: bool,
    /// Accepted for compatibility: no container of a build stays
    #[arg(long)]
    pub force_rm: bool,
    /// Bring a file, or a variable of ours, that RUN --mount=type=secret may have
    #[arg(long, value_name = "id=ID[,src=FILE|,env=NAME]", value_parser = secret)]
    pub secret: Vec<BuildSecret>,
    /// Forward an agent for SSH to RUN --mount=type=ssh: default for that of SSH_AUTH_SOCK, or its socket
    #[arg(long, value_name = "default|ID[=SOCKET]")]
    pub ssh: Vec<BuildAgent>,
    /// Allow what steps ask for that takes them out of their confinement
    #[arg(long, value_enum, value_name = "ENTITLEMENT", value_delimiter = ',')]
    pub allow: Vec<Entitlement>,
    /// How registries are reached.
    #[command(flatten)]
    pub registry: RegistryArgs,
    /// Directory of the files that can be copied; `-` for a Dockerfile or an archive of such a directory on stdin
    #[arg(value_name = "PATH|-")]
    pub context: PathBuf,
}

/// How it is shown how a build gets on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ProgressKind {
    /// As it is best
    #[default]
    Auto,
    /// A line for each step, and all output
    #[value(alias = "tty")]
    Plain,
    /// Not at all
    Quiet,
}

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

fn secret(text: &str) -> Result<BuildSecret, String> {
    let (mut id, mut source) = (None, None);
    for field in super::mounts::fields(text)? {
        match field.split_once('=') {
            Some(("id", value)) => id = Some(value.to_owned()),
            Some(("src" | "source", value)) => source = Some(SecretSource::File(value.into())),
            Some(("env", value)) => source = Some(SecretSource::Variable(value.to_owned())),
            Some(("type", "file" | "env")) => {}
            _ => return Err(format!("`{field}` is none of id=, src=, env= and type=")),
        }
    }
    let id = id.filter(|id| !id.is_empty()).ok_or("a secret needs an id")?;
    // As with Docker, a variable of its name, and else a file.
    let source = source.unwrap_or_else(|| match std::env::var_os(&id) {
        Some(_) => SecretSource::Variable(id.clone()),
        None => SecretSource::File(id.clone().into()),
    });
    Ok(BuildSecret { id, source })
}
