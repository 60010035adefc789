//! The agents for SSH that a build forwards: those that somebody runs, and for files of keys OpenSSH's own, one for as long as the build takes.
//!
//! It is `ssh-agent` that reads keys and signs with them, and `ssh-add` that asks for a passphrase, on the terminal: nothing of either is ours.
//! What keeps such an agent is a pipe from here. It ends with us, however we end, and the agent with it.

use crate::cli::{AgentPlace, BuildAgent};
use crate::error::{Error, Result};
use crate::socket::Address;
use crate::store::Staging;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Run by the agent: gives it the keys, says so, and ends it when nobody holds our end of the pipe any more. Whoever asks the build to end does not
/// mean this: it ends behind it.
const KEEPER: &str =
    "ssh-add -q \"$@\" && trap '' HUP INT TERM && echo && cat; kill \"$SSH_AGENT_PID\"";

/// All agents that a build forwards.
pub(super) struct Agents<'a> {
    asked: &'a [BuildAgent],
    own: BTreeMap<&'a str, Own>,
}

/// An agent of the build's own.
struct Own {
    keeper: Child,
    socket: Address,
}

impl<'a> Agents<'a> {
    /// Starts those for files of keys.
    pub(super) fn start(asked: &'a [BuildAgent], staging: &Staging) -> Result<Self> {
        let mut own = BTreeMap::new();
        for (at, agent) in asked.iter().enumerate() {
            // The first of an id counts.
            let is_first = asked.iter().position(|other| other.id == agent.id) == Some(at);
            if let AgentPlace::Keys(files) = agent.place()?
                && is_first
            {
                let path = staging.path(&format!("keys-{at}"));
                // Of any length: neither `ssh-agent` nor `ssh` goes round the limit of a socket's address.
                let socket = Address::of(&path).map_err(Error::io("listen at", &path))?;
                own.insert(agent.id.as_str(), Own::start(&files, socket)?);
            }
        }
        Ok(Self { asked, own })
    }

    /// Where the agent of this id listens; nothing, if none was asked for.
    pub(super) fn socket(&self, id: &str) -> Result<Option<PathBuf>> {
        if let Some(own) = self.own.get(id) {
            return Ok(Some(own.socket.path().to_owned()));
        }
        self.asked.iter().find(|agent| agent.id == id).map(BuildAgent::socket).transpose()
    }
}

impl Own {
    fn start(files: &[PathBuf], socket: Address) -> Result<Self> {
        let absolute = |file: &PathBuf| std::path::absolute(file).map_err(Error::io("find", file));
        let files: Vec<PathBuf> = files.iter().map(absolute).collect::<Result<_>>()?;
        let keeper = Command::new("ssh-agent")
            .arg("-a")
            .arg(socket.path())
            .args(["sh", "-c", KEEPER, "sh"])
            .args(&files)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| Error::Rejected {
                message: format!("cannot start `ssh-agent` for keys: {error}"),
                hint: Some(
                    "OpenSSH's programs for clients have it; or forward an agent by its socket"
                        .to_owned(),
                ),
            })?;
        let mut own = Self { keeper, socket };
        match own.is_ready() {
            true => Ok(own),
            false => Err(own.failure(&files)),
        }
    }

    /// Waits until the agent has the keys.
    fn is_ready(&mut self) -> bool {
        let mut line = String::new();
        let stdout = self.keeper.stdout.take();
        stdout.is_some_and(|stdout| {
            BufReader::new(stdout).read_line(&mut line).is_ok_and(|read| read > 0)
        })
    }

    /// Why it has not: in the words of the programs.
    fn failure(&mut self, files: &[PathBuf]) -> Error {
        let mut why = Vec::new();
        if let Some(stderr) = &mut self.keeper.stderr {
            let _ = stderr.take(1 << 12).read_to_end(&mut why);
        }
        let why = String::from_utf8_lossy(&why);
        let why = why.lines().next().unwrap_or("it says nothing").trim();
        let names: Vec<String> = files.iter().map(|file| format!("`{}`", shown(file))).collect();
        Error::Rejected {
            message: format!("cannot forward the keys {}: {why}", names.join(", ")),
            hint: Some(
                "a file of a private key, or the socket of an agent, is forwarded".to_owned(),
            ),
        }
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

impl Drop for Own {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}
