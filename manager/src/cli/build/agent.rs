//! Values of `nman build --ssh`.

use crate::error::{Error, Result};
use std::os::unix::fs::FileTypeExt as _;
use std::path::PathBuf;

/// One `--ssh`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildAgent {
    /// What it is called in the Dockerfile.
    pub id: String,
    /// Its socket, or files of keys; without any it is that of `SSH_AUTH_SOCK`.
    paths: Vec<PathBuf>,
}

/// What stands behind an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentPlace {
    /// One that somebody runs.
    Running,
    /// Files of keys, for which one is to be run.
    Keys(Vec<PathBuf>),
}

impl std::str::FromStr for BuildAgent {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (id, paths) = match text.split_once('=') {
            Some((id, paths)) => (id, paths.split(',').map(PathBuf::from).collect()),
            None => (text, Vec::new()),
        };
        if id.is_empty() || paths.iter().any(|path| path.as_os_str().is_empty()) {
            return Err("it is neither `default` nor ID=SOCKET or ID=KEY,...".to_owned());
        }
        Ok(Self { id: id.to_owned(), paths })
    }
}

impl BuildAgent {
    /// Whether there is an agent, or one is to be run.
    pub fn place(&self) -> Result<AgentPlace> {
        for path in &self.paths {
            let there = std::fs::metadata(path).map_err(Error::io("find the agent at", path))?;
            match there.file_type() {
                kind if kind.is_file() => {}
                kind if kind.is_socket() && self.paths.len() == 1 => {
                    return Ok(AgentPlace::Running);
                }
                _ => return Err(no_agent(path)),
            }
        }
        Ok(match self.paths.is_empty() {
            true => AgentPlace::Running,
            false => AgentPlace::Keys(self.paths.clone()),
        })
    }

    /// Where an agent listens that somebody runs.
    pub fn socket(&self) -> Result<PathBuf> {
        let own = || std::env::var_os("SSH_AUTH_SOCK").filter(|path| !path.is_empty());
        let socket = self.paths.first().cloned().or_else(|| own().map(PathBuf::from));
        let socket = socket.ok_or_else(|| {
            Error::refusal("invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set")
        })?;
        let there = std::fs::metadata(&socket).map_err(Error::io("find the agent at", &socket))?;
        match there.file_type().is_socket() {
            true => Ok(socket),
            false => Err(no_agent(&socket)),
        }
    }
}

fn no_agent(path: &std::path::Path) -> Error {
    Error::Rejected {
        message: format!("cannot forward `{}`: it is no socket", path.display()),
        hint: Some("what is forwarded is one socket of an agent, or files of keys".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_has_an_id_and_may_have_a_socket_or_keys() {
        let parsed = |text: &str| text.parse::<BuildAgent>();
        assert_eq!(parsed("default").unwrap().paths, Vec::<PathBuf>::new());
        assert_eq!(parsed("k=/run/a=b").unwrap().paths, [PathBuf::from("/run/a=b")]);
        assert_eq!(parsed("k=a,b").unwrap().paths, ["a", "b"].map(PathBuf::from));
        for wrong in ["", "k=", "=x", "k=a,"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_file_is_a_key_and_one_socket_an_agent() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("key"), "").unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        let place = |names: &[&str]| {
            let paths = names.iter().map(|name| at(name)).collect();
            BuildAgent { id: "default".to_owned(), paths }.place()
        };
        assert_eq!(place(&[]).unwrap(), AgentPlace::Running);
        assert_eq!(place(&["socket"]).unwrap(), AgentPlace::Running);
        assert_eq!(place(&["key", "key"]).unwrap(), AgentPlace::Keys(vec![at("key"), at("key")]));
        for wrong in [&["."][..], &["socket", "key"], &["none"]] {
            assert!(place(wrong).is_err(), "{wrong:?}");
        }
    }
}
