//! Repositories of git that `ADD` and a build's context name, checked out by the `git` of this machine.
//!
//! What is in a repository is somebody else's, and so is the URL that a Dockerfile names. So git is started without the user's and the
//! machine's configuration, hooks and credentials, with protocols of networks only, and asks nobody anything. A password in a URL is handed
//! over in the environment: the arguments of a process are for everybody to read.

use crate::cli::TlsArgs;
use crate::error::{Error, Result};
use crate::registry::without_user;
use std::ffi::OsString;
use std::io::{self, Read};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;

/// The protocols that a repository may be had by.
const PROTOCOLS: &str = "http:https:ssh:git";
/// The one for a repository whose server has to prove who it is: a redirect may lead to another server, but not to one that proves nothing.
const VERIFIED: &str = "https";
/// As much as is kept of what git says; its servers can have it say anything.
const MOST: u64 = 64 << 10;
/// The branch that a repository says itself.
const DEFAULT: &str = "HEAD";
/// Where the commit is kept that is checked out.
const WANTED: &str = "refs/nman/wanted";
/// The name of the remote side within the one environment that knows its URL.
const REMOTE: &str = "source";
/// Answers git with what is in two variables; git adds a word to what it executes.
const ANSWER: &str = "!answer() { printf 'username=%s\\npassword=%s\\n' \"$NMAN_GIT_USER\" \"$NMAN_GIT_PASSWORD\"; }; answer";

/// `URL#REF:DIRECTORY`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// Where it is.
    url: String,
    /// A branch, a tag or a commit.
    reference: Option<String>,
    /// The directory of it that is meant.
    pub(super) directory: String,
}

/// What git is given to get at a repository.
pub(super) struct Access<'a> {
    pub(super) tls: &'a TlsArgs,
    /// The agent that has keys for SSH.
    pub(super) agent: Option<&'a Path>,
}

/// A password, or a name alone, and the host that it is for.
#[derive(Debug, PartialEq, Eq)]
struct Login {
    host: String,
    user: String,
    password: String,
}

impl Repository {
    /// Reads a word of ADD or a context: of `http://` and `https://` only what ends in `.git` is a repository.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (url, fragment) = text.split_once('#').unwrap_or((text, ""));
        let is_http = url.starts_with("http://") || url.starts_with("https://");
        let is_other = ["git://", "ssh://", "git@"].iter().any(|start| url.starts_with(start));
        if !(is_http && url.ends_with(".git") && !url.contains('?') || is_other) {
            return None;
        }
        let (reference, directory) = fragment.split_once(':').unwrap_or((fragment, ""));
        let reference = Some(reference.to_owned()).filter(|reference| !reference.is_empty());
        Some(Self { url: url.to_owned(), reference, directory: directory.to_owned() })
    }

    /// The same for a context, in which GitHub needs no scheme.
    pub(super) fn of_context(text: &str) -> Option<Self> {
        if !text.starts_with("github.com/") {
            return Self::parse(text);
        }
        let (path, fragment) = text.split_once('#').unwrap_or((text, ""));
        Self::parse(&format!("https://{}.git#{fragment}", path.trim_end_matches(".git")))
    }

    /// The URL as it may be shown.
    pub(super) fn shown(&self) -> String {
        match self.url.contains("://") {
            true => without_user(&self.url),
            false => self.url.clone(),
        }
    }

    /// Checks the commit out into an empty directory; its id. Of `.git` there is only what belongs to the commit, if that is kept.
    pub(super) fn check_out(
        &self,
        directory: &Path,
        keeps_git: bool,
        access: &Access<'_>,
    ) -> Result<String> {
        let git = Git { repository: self, directory, access };
        git.run(&["init", "--quiet", "--template="])?;
        git.fetch()?;
        git.run(&["checkout", "--quiet", "--detach", WANTED])?;
        let commit = git.run(&["rev-parse", WANTED])?;
        let inside = directory.join(".git");
        if keeps_git {
            git.run(&["remote", "add", "origin", &self.shown()])?;
            git.run(&["update-ref", "-d", WANTED])?;
            let _ = std::fs::remove_file(inside.join("FETCH_HEAD"));
        } else {
            std::fs::remove_dir_all(&inside).map_err(Error::io("remove", &inside))?;
        }
        Ok(String::from_utf8_lossy(&commit.stdout).trim().to_owned())
    }

    /// The URL without what proves who we are, and that.
    fn login(&self) -> (String, Option<Login>) {
        let whole = || (self.url.clone(), None);
        // That of SSH says as whom, which is no secret, and git has to be told.
        if !self.url.starts_with("http") {
            return whole();
        }
        let Some((scheme, rest)) = self.url.split_once("://") else { return whole() };
        let end = rest.find('/').unwrap_or(rest.len());
        let Some((proof, host)) = rest[..end].rsplit_once('@') else { return whole() };
        let (user, password) = proof.split_once(':').unwrap_or((proof, ""));
        let login = Login {
            host: format!("{scheme}://{host}"),
            user: decoded(user),
            password: decoded(password),
        };
        (without_user(&self.url), Some(login))
    }
}

/// Text of a URL with the characters that `%XX` stands for.
pub(super) fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        // A sign is no digit, although numbers can have one.
        let digits = behind.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let code = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match code.filter(|_| *first == b'%') {
            Some(code) => {
                bytes.push(code);
                rest = &behind[2..];
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

struct Git<'a> {
    repository: &'a Repository,
    directory: &'a Path,
    access: &'a Access<'a>,
}

impl Git<'_> {
    /// Gets the commit, and nothing that it came from where the other side can do that.
    fn fetch(&self) -> Result<()> {
        let wanted = self.repository.reference.as_deref().unwrap_or(DEFAULT);
        let one = format!("+{wanted}:{WANTED}");
        if self.run(&["fetch", "--quiet", "--no-tags", "--depth=1", REMOTE, &one]).is_ok() {
            return Ok(());
        }
        // Servers of plain files know no depth, and many give no commit by its id alone.
        let is_commit =
            matches!(wanted.len(), 40 | 64) && wanted.bytes().all(|b| b.is_ascii_hexdigit());
        if !is_commit {
            return self.run(&["fetch", "--quiet", "--no-tags", REMOTE, &one]).map(drop);
        }
        self.run(&["fetch", "--quiet", REMOTE, "+refs/heads/*:refs/remotes/origin/*"])?;
        self.run(&["update-ref", WANTED, wanted]).map(drop)
    }

    fn run(&self, args: &[&str]) -> Result<Output> {
        let shown = self.repository.shown();
        let cannot = |why: &str| format!("cannot get `{shown}`: {why}");
        let output = output(self.command(args)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::Rejected {
                message: cannot("git is not installed"),
                hint: Some("install git, or get the files before the build".to_owned()),
            },
            _ => Error::system(format!("run git for `{shown}`"))(error),
        })?;
        if output.status.success() {
            return Ok(output);
        }
        Err(Error::refusal(cannot(&crate::table::plain(&complaint(&output.stderr)))))
    }

    fn command(&self, args: &[&str]) -> Command {
        let (url, login) = self.repository.login();
        let mut settings: Vec<(String, String)> = vec![
            (format!("remote.{REMOTE}.url"), url.clone()),
            ("core.hooksPath".to_owned(), "/dev/null".to_owned()),
            ("gc.auto".to_owned(), "0".to_owned()),
            ("init.defaultBranch".to_owned(), "main".to_owned()),
        ];
        let mut command = Command::new("git");
        let mut kept: Vec<(OsString, OsString)> = Vec::new();
        for name in super::stages::PREDEFINED.iter().chain(&["PATH"]) {
            kept.extend(std::env::var_os(name).map(|value| (name.into(), value)));
        }
        command.args(args).current_dir(self.directory).env_clear().envs(kept);
        command.stdin(Stdio::null());
        command.env("HOME", self.directory).env("GIT_CONFIG_NOSYSTEM", "1");
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_TERMINAL_PROMPT", "0");
        let is_verified = self.access.tls.tls_verify && url.starts_with("https://");
        let protocols = if is_verified { VERIFIED } else { PROTOCOLS };
        command.env("GIT_ALLOW_PROTOCOL", protocols).env("LC_ALL", "C");
        command.env(
            "GIT_SSH_COMMAND",
            "ssh -F none -o BatchMode=yes -o IdentityFile=none -o ForwardAgent=no",
        );
        if let Some(agent) = self.access.agent {
            command.env("SSH_AUTH_SOCK", agent);
        }
        if let Some(file) = &self.access.tls.ca_file {
            command.env("GIT_SSL_CAINFO", file);
        }
        if !self.access.tls.tls_verify {
            command.env("GIT_SSL_NO_VERIFY", "1");
        }
        if let Some(Login { host, user, password }) = login {
            // For this host only: one that it redirects to is not answered.
            settings.push((format!("credential.{host}.helper"), ANSWER.to_owned()));
            command.env("NMAN_GIT_USER", user).env("NMAN_GIT_PASSWORD", password);
        }
        command.env("GIT_CONFIG_COUNT", settings.len().to_string());
        for (at, (key, value)) in settings.into_iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{at}"), key);
            command.env(format!("GIT_CONFIG_VALUE_{at}"), value);
        }
        command
    }
}

/// What a command comes to, with the beginning of what it says.
fn output(mut command: Command) -> io::Result<Output> {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (stdout, stderr) = thread::scope(|scope| {
        let stderr = scope.spawn(|| beginning(stderr));
        let stdout = beginning(stdout);
        (stdout, stderr.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    let status = child.wait()?;
    Ok(Output { status, stdout: stdout?, stderr: stderr? })
}

/// The beginning of a stream, which is read to its end: whoever writes it would else wait, or be killed.
fn beginning(stream: Option<impl Read>) -> io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    if let Some(mut stream) = stream {
        stream.by_ref().take(MOST).read_to_end(&mut kept)?;
        io::copy(&mut stream, &mut io::sink())?;
    }
    Ok(kept)
}

/// The first line of what git has said that is about the failure: others follow from it, or say what may be done with a terminal.
fn complaint(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said).into_owned();
    let is_other = |line: &str| {
        let line = line.trim().to_ascii_lowercase();
        line.is_empty() || line.starts_with("warning:") || line.starts_with("hint:")
    };
    let first = text.lines().find(|line| !is_other(line)).unwrap_or("git has failed");
    first.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_told_from_files() {
        let parsed = |text: &str| {
            let found = Repository::parse(text)?;
            Some((found.url, found.reference.unwrap_or_default(), found.directory))
        };
        let some = |url: &str, reference: &str, directory: &str| {
            Some((url.to_owned(), reference.to_owned(), directory.to_owned()))
        };
        let url = "https://host/a/b.git";
        assert_eq!(parsed(url), some(url, "", ""));
        assert_eq!(parsed(&format!("{url}#v1:sub/dir")), some(url, "v1", "sub/dir"));
        assert_eq!(parsed(&format!("{url}#:sub")), some(url, "", "sub"));
        assert_eq!(parsed("git@host:a/b#main"), some("git@host:a/b", "main", ""));
        assert_eq!(parsed("ssh://git@host/a"), some("ssh://git@host/a", "", ""));
        let context = Repository::of_context("github.com/a/b#v1:c").unwrap();
        let expected = Repository::parse("https://github.com/a/b.git#v1:c").unwrap();
        assert_eq!(context, expected);
        for file in ["https://host/a.tar", "https://host/a?x=.git", "a/b.git", "/a.git"] {
            assert_eq!(parsed(file), None, "{file}");
        }
    }

    #[test]
    fn a_password_is_in_no_argument_and_in_no_message() {
        let repository = Repository::parse("https://jo:s%40crt@host:8/a.git").unwrap();
        let login = Login {
            host: "https://host:8".to_owned(),
            user: "jo".to_owned(),
            password: "s@crt".to_owned(),
        };
        assert_eq!(repository.login(), ("https://host:8/a.git".to_owned(), Some(login)));
        assert_eq!(repository.shown(), "https://host:8/a.git");
        let access = Access { tls: &TlsArgs::default(), agent: None };
        let git = Git { repository: &repository, directory: Path::new("/"), access: &access };
        let command = git.command(&["fetch", REMOTE]);
        assert!(!command.get_args().any(|word| word.to_string_lossy().contains("crt")));
        let ssh = Repository::parse("ssh://git@host/a").unwrap();
        assert_eq!(ssh.login(), ("ssh://git@host/a".to_owned(), None));
    }

    #[test]
    fn a_server_that_proves_who_it_is_sends_nobody_to_one_that_does_not() {
        let protocols = |url: &str, tls_verify| {
            let repository = Repository::parse(url).unwrap();
            let tls = TlsArgs { tls_verify, ..TlsArgs::default() };
            let access = Access { tls: &tls, agent: None };
            let git = Git { repository: &repository, directory: Path::new("/"), access: &access };
            let command = git.command(&["fetch", REMOTE]);
            let mut own = command.get_envs().filter(|(name, _)| *name == "GIT_ALLOW_PROTOCOL");
            own.next().and_then(|(_, value)| value?.to_str().map(str::to_owned)).unwrap()
        };
        assert_eq!(protocols("https://jo:x@h/a.git", true), "https");
        for (url, tls_verify) in [("https://h/a.git", false), ("http://h/a.git", true)] {
            assert_eq!(protocols(url, tls_verify), PROTOCOLS, "{url}");
        }
    }

    #[test]
    fn the_beginning_of_what_is_said_is_kept_and_all_of_it_read() {
        let mut command = Command::new("sh");
        command.args(["-c", "yes out | head -c 200000; yes err | head -c 300000 >&2; exit 3"]);
        let output = output(command).unwrap();
        assert_eq!((output.stdout.len(), output.stderr.len()), (64 << 10, 64 << 10));
        assert!(output.stderr.starts_with(b"err\n"));
        assert_eq!(output.status.code(), Some(3));
    }

    #[test]
    fn what_git_complains_of_first_is_told() {
        let said = b"Warning: Permanently added 'h'\n\nssh: connect to host h port 22: Connection refused\r\n\
            fatal: Could not read from remote repository.\n\nand the repository exists.\n";
        assert_eq!(complaint(said), "ssh: connect to host h port 22: Connection refused");
        assert_eq!(complaint(b""), "git has failed");
    }

    #[test]
    fn codes_stand_for_characters() {
        let pairs = [("a%20b", "a b"), ("100%", "100%"), ("%zz%41", "%zzA"), ("%+5", "%+5")];
        for (text, expected) in pairs {
            assert_eq!(decoded(text), expected);
        }
    }
}
