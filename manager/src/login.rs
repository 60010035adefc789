//! `nman login` and `nman logout`: logins are tried before they are kept.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::cli::{LoginArgs, LogoutArgs};
use crate::error::{Error, Result};
use crate::reference::Reference;
use crate::registry::{self, Access, Credentials, HUB_KEY, Kept, Logins, Target};

/// The longest password that is read from stdin.
const MAX_PASSWORD: u64 = 64 << 10;

/// What there is to say after a login.
#[derive(Debug)]
pub struct LoggedIn {
    /// For stderr, where a password may have been seen by others.
    pub warnings: String,
}

/// `nman login`.
pub fn log_in(args: &LoginArgs) -> Result<LoggedIn> {
    let server = Server::named(args.server.as_deref())?;
    let logins = logins()?;
    let mut warnings = String::new();
    if args.password.is_some() {
        warnings
            .push_str("WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n");
    }
    let credentials = match given(args)? {
        Some(credentials) => credentials,
        None => match logins.find(&server.domain).map_err(|error| failed(&server, error))? {
            Some(stored) if args.username.is_none() => {
                say("Authenticating with existing credentials...\n");
                stored
            }
            _ => ask(args.username.as_deref())?,
        },
    };
    let access = Access {
        credentials: Some(credentials.clone()),
        tls: crate::transfer::tls(&args.registry),
    };
    Target::log_in(&server.domain, &server.endpoint, &access)
        .map_err(|error| failed(&server, error))?;
    let kept = logins.store(&server.key, &credentials).map_err(|error| failed(&server, error))?;
    if let Kept::File(path) = kept {
        warnings.push_str(&format!(
            "\nWARNING! Your credentials are stored unencrypted in '{}'.\n\
             Configure a credential helper to remove this warning.\n",
            path.display()
        ));
    }
    Ok(LoggedIn { warnings })
}

/// `nman logout`: what was done, in Docker's words.
pub fn log_out(args: &LogoutArgs) -> Result<String> {
    let server = Server::named(args.server.as_deref())?;
    let erased = logins()?.erase(&server.domain);
    let erased = erased.map_err(|error| Error::Rejected {
        message: format!("cannot log out of `{}`: {error}", server.domain),
        hint: error.hint(),
    })?;
    Ok(if erased {
        format!("Removing login credentials for {}\n", server.key)
    } else {
        format!("Not logged in to {}\n", server.key)
    })
}

/// The registry that is meant.
struct Server {
    domain: String,
    endpoint: String,
    /// Under which its login is kept.
    key: String,
}

impl Server {
    /// By its name, with or without a scheme and a path; without a name, it is Docker Hub.
    fn named(text: Option<&str>) -> Result<Self> {
        let text = text.unwrap_or("docker.io");
        let bare = text.split_once("://").map_or(text, |(_, rest)| rest);
        let host = bare.split('/').next().unwrap_or(bare);
        let is_hub = ["docker.io", "index.docker.io", "registry-1.docker.io"].contains(&host);
        let host = if is_hub { "docker.io" } else { host };
        // What may stand before a repository's name is the name of a registry. One without a dot or a port would be read as
        // a part of that name, as would one in capitals.
        let named = format!("{host}/x").parse::<Reference>().ok();
        let reference = named.filter(|reference| reference.domain() == host).ok_or_else(|| {
            Error::Usage(format!("`{text}` is not the name of a registry: it must be HOST[:PORT], with a dot or a port"))
        })?;
        Ok(Self {
            domain: host.to_owned(),
            endpoint: reference.endpoint().to_owned(),
            key: if is_hub { HUB_KEY.to_owned() } else { host.to_owned() },
        })
    }
}

fn logins() -> Result<Logins> {
    Logins::of_user().ok_or_else(|| Error::Rejected {
        message: "there is no place for logins: neither HOME nor DOCKER_CONFIG is set".to_owned(),
        hint: None,
    })
}

fn failed(server: &Server, error: registry::Error) -> Error {
    let hint = error.hint();
    let why = match error {
        registry::Error::Denied { .. } => "unauthorized: incorrect username or password".to_owned(),
        error => error.to_string(),
    };
    Error::Rejected { message: format!("cannot log in to `{}`: {why}", server.domain), hint }
}

/// What the command line says.
fn given(args: &LoginArgs) -> Result<Option<Credentials>> {
    let usage = |text: &str| Error::Usage(text.to_owned());
    let password = match (&args.password, args.password_stdin) {
        (Some(_), true) => {
            return Err(usage(
                "conflicting options: cannot specify both --password and --password-stdin",
            ));
        }
        (Some(password), false) => password.clone(),
        (None, true) if args.username.is_none() => {
            return Err(usage("the --password-stdin option requires --username to be set"));
        }
        (None, true) => password_from_stdin()?,
        (None, false) => return Ok(None),
    };
    let Some(username) = args.username.clone() else {
        return ask_with(None, Some(password)).map(Some);
    };
    if password.is_empty() {
        return Err(usage("password is empty"));
    }
    Ok(Some(Credentials::Password { username, password }))
}

fn password_from_stdin() -> Result<String> {
    let mut text = String::new();
    let read = io::stdin().take(MAX_PASSWORD).read_to_string(&mut text);
    read.map_err(Error::system("read the password from stdin"))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn ask(username: Option<&str>) -> Result<Credentials> {
    ask_with(username.map(str::to_owned), None)
}

/// Asks a person for what is missing.
fn ask_with(username: Option<String>, password: Option<String>) -> Result<Credentials> {
    if !io::stdin().is_terminal() {
        return Err(Error::Usage(
            "cannot perform an interactive login from a non TTY device".to_owned(),
        ));
    }
    let username = match username {
        Some(username) => username,
        None => answer_to("Username: ")?,
    };
    let password = match password {
        Some(password) => password,
        None => {
            let echo = Echo::off()?;
            let password = answer_to("Password: ");
            drop(echo);
            say("\n");
            password?
        }
    };
    if username.is_empty() || password.is_empty() {
        return Err(Error::Usage("username and password must not be empty".to_owned()));
    }
    Ok(Credentials::Password { username, password })
}

fn answer_to(question: &str) -> Result<String> {
    say(question);
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).map_err(Error::system("read from the terminal"))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// A question belongs to the person, not to the output.
fn say(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Keeps the terminal from showing what is typed.
struct Echo(rustix::termios::Termios);

impl Echo {
    fn off() -> Result<Self> {
        let failed = || Error::system("hide what is typed");
        let before = tcgetattr(io::stdin()).map_err(failed())?;
        let mut without = before.clone();
        without.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &without).map_err(failed())?;
        Ok(Self(before))
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_with_or_without_a_scheme_and_docker_hub_by_default() {
        let named =
            |text| Server::named(text).map(|server| (server.domain, server.endpoint, server.key));
        let hub = ("docker.io".to_owned(), "registry-1.docker.io".to_owned(), HUB_KEY.to_owned());
        for text in [None, Some("docker.io"), Some(HUB_KEY), Some("registry-1.docker.io")] {
            assert_eq!(named(text).unwrap(), hub, "{text:?}");
        }
        for text in ["r.example:5000", "https://r.example:5000", "http://r.example:5000/v2/"] {
            let (domain, _, key) = named(Some(text)).unwrap();
            assert_eq!((&*domain, &*key), ("r.example:5000", "r.example:5000"), "{text}");
        }
        for text in ["", "nodot", "a b", "r.example:x", "u@r.example"] {
            assert!(named(Some(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn a_refused_login_has_dockers_words() {
        let server = Server::named(Some("r.example")).unwrap();
        let error = registry::Error::Denied {
            registry: "r.example".into(),
            logged_in: true,
            message: "x".into(),
        };
        let text = failed(&server, error).to_string();
        assert_eq!(
            text,
            "cannot log in to `r.example`: unauthorized: incorrect username or password"
        );
    }
}
