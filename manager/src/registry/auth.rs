//! Credentials, and the header that proves them.
//!
//! Credentials belong to one registry: they are looked up by its name, and [`Client`](super::Client)
//! sends them, and tokens made from them, to that registry and to the token server that it names
//! over the same kind of transport, never to where it redirects.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use docker_credential::{CredentialRetrievalError, DockerCredential};
use serde::Deserialize;
use ureq::Agent;

use super::challenge::Challenge;
use super::error::{Error, printable};
use crate::reference::Reference;

/// The key of Docker Hub's credentials in Docker's configuration.
const HUB_KEY: &str = "https://index.docker.io/v1/";
/// What a credential helper prints when it has nothing for a registry.
const HELPER_HAS_NONE: &str = "credentials not found in native keychain";
/// The largest answer of a token server that is read.
const MAX_TOKEN_ANSWER: u64 = 1 << 20;
/// How we name ourselves to token servers.
const CLIENT_ID: &str = "nman";

/// What proves to a registry who is asking.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A user name and a password or personal access token.
    Password {
        /// The user.
        username: String,
        /// The secret.
        password: String,
    },
    /// A refresh token, as `docker login` stores for some registries.
    IdentityToken(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { username, .. } => {
                f.debug_struct("Password").field("username", username).finish_non_exhaustive()
            }
            Self::IdentityToken(_) => f.write_str("IdentityToken(..)"),
        }
    }
}

impl Credentials {
    /// The credentials that `docker login` stored for the reference's registry, if there are any:
    /// from `$DOCKER_CONFIG/config.json` or `~/.docker/config.json`, or from the helper it names.
    pub fn stored(reference: &Reference) -> Result<Option<Self>, Error> {
        match config_path() {
            Some(path) => Self::stored_in(&path, reference.domain()),
            None => Ok(None),
        }
    }

    fn stored_in(path: &Path, domain: &str) -> Result<Option<Self>, Error> {
        let keys = if domain == "docker.io" {
            vec![HUB_KEY.to_owned(), domain.to_owned()]
        } else {
            vec![domain.to_owned(), format!("https://{domain}"), format!("http://{domain}")]
        };
        for key in keys {
            let file = match File::open(path) {
                Ok(file) => BufReader::new(file),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => {
                    let why = bundle::reason::reason(&error);
                    return Err(Error::Setup(format!("cannot read `{}`: {why}", path.display())));
                }
            };
            match docker_credential::get_credential_from_reader(file, &key) {
                Ok(DockerCredential::UsernamePassword(username, password)) => {
                    return Ok(Some(Self::Password { username, password }));
                }
                Ok(DockerCredential::IdentityToken(token)) => {
                    return Ok(Some(Self::IdentityToken(token)));
                }
                Err(error) if is_absence(&error) => {}
                Err(error) => return Err(unusable(domain, &path.display().to_string(), &error)),
            }
        }
        Ok(None)
    }
}

fn config_path() -> Option<PathBuf> {
    let directory = std::env::var_os("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".docker")))?;
    Some(directory.join("config.json"))
}

fn is_absence(error: &CredentialRetrievalError) -> bool {
    match error {
        CredentialRetrievalError::NoCredentialConfigured => true,
        CredentialRetrievalError::HelperFailure { stdout, .. } => stdout.trim() == HELPER_HAS_NONE,
        _ => false,
    }
}

/// A helper's output may hold secrets, so it is left out of the message.
fn unusable(domain: &str, path: &str, error: &CredentialRetrievalError) -> Error {
    let why = match error {
        CredentialRetrievalError::HelperCommunicationError => "the credential helper does not run",
        CredentialRetrievalError::MalformedHelperResponse => {
            "the credential helper's answer is malformed"
        }
        CredentialRetrievalError::HelperFailure { .. } => "the credential helper failed",
        CredentialRetrievalError::CredentialDecodingError => {
            "`auth` is not base64 of user:password"
        }
        CredentialRetrievalError::CredentialMismatchError => {
            "`auth` contradicts the user name or password"
        }
        _ => "the file is malformed",
    };
    Error::Setup(format!("cannot use the credentials for `{domain}` in `{path}`: {why}"))
}

/// The `Authorization` header that answers `challenge`; `None` where there is nothing to answer.
pub(super) fn authorization(
    agent: &Agent,
    registry: &str,
    repository: &str,
    challenge: &Challenge,
    credentials: Option<&Credentials>,
) -> Result<Option<String>, Error> {
    match (challenge, credentials) {
        (Challenge::Basic, Some(Credentials::Password { username, password })) => {
            Ok(Some(basic(username, password)))
        }
        (Challenge::Basic, _) => Ok(None),
        (Challenge::Bearer { realm, service }, credentials) => {
            let scope = format!("repository:{repository}:pull");
            let request = TokenRequest { realm, service: service.as_deref(), scope: &scope };
            let token = request.send(agent, registry, credentials)?;
            Ok(Some(format!("Bearer {token}")))
        }
    }
}

struct TokenRequest<'a> {
    realm: &'a str,
    service: Option<&'a str>,
    scope: &'a str,
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
}

impl TokenRequest<'_> {
    fn send(
        &self,
        agent: &Agent,
        registry: &str,
        credentials: Option<&Credentials>,
    ) -> Result<String, Error> {
        let sent = match credentials {
            Some(Credentials::IdentityToken(token)) => {
                let mut form = vec![
                    ("grant_type", "refresh_token"),
                    ("client_id", CLIENT_ID),
                    ("scope", self.scope),
                    ("refresh_token", token),
                ];
                form.extend(self.service.map(|service| ("service", service)));
                agent.post(self.realm).send_form(form)
            }
            credentials => {
                let mut request = agent.get(self.realm).query("scope", self.scope);
                if let Some(service) = self.service {
                    request = request.query("service", service);
                }
                if let Some(Credentials::Password { username, password }) = credentials {
                    request = request
                        .query("account", username)
                        .header("Authorization", basic(username, password));
                }
                request.call()
            }
        };
        let response = sent.map_err(|error| super::client::failure(&self.host(), error))?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        let read = response.into_body().into_reader().take(MAX_TOKEN_ANSWER).read_to_end(&mut body);
        read.map_err(|error| super::client::failure(&self.host(), error.into()))?;
        match status {
            200 => self.token(&body),
            401 | 403 => Err(Error::Denied {
                registry: registry.to_owned(),
                logged_in: credentials.is_some(),
                message: format!("`{}` refused the login for `{registry}`", self.host()),
            }),
            _ => Err(Error::Status {
                registry: self.host(),
                status,
                message: super::client::message(&body),
            }),
        }
    }

    fn token(&self, body: &[u8]) -> Result<String, Error> {
        let answer: Option<TokenAnswer> = serde_json::from_slice(body).ok();
        answer
            .and_then(|answer| answer.token.or(answer.access_token))
            .filter(|token| !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic()))
            .ok_or_else(|| Error::Invalid(format!("`{}` sent no usable token", self.host())))
    }

    fn host(&self) -> String {
        let host = self.realm.split("://").nth(1).unwrap_or(self.realm);
        printable(host.split(['/', '?']).next().unwrap_or(host))
    }
}

fn basic(username: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{username}:{password}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_credentials_are_those_of_the_registry_and_of_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        let auth = |text: &str| serde_json::json!({"auth": BASE64_STANDARD.encode(text)});
        let config = serde_json::json!({"auths": {
            HUB_KEY: auth("hub:1"),
            "localhost:5000": auth("local:2"),
            "https://quay.io": {"identitytoken": "3"},
        }});
        std::fs::write(&path, config.to_string()).unwrap();
        let stored = |domain: &str| Credentials::stored_in(&path, domain).unwrap();
        let password = |username: &str, password: &str| {
            let (username, password) = (username.to_owned(), password.to_owned());
            Some(Credentials::Password { username, password })
        };
        assert_eq!(stored("docker.io"), password("hub", "1"));
        assert_eq!(stored("localhost:5000"), password("local", "2"));
        assert_eq!(stored("quay.io"), Some(Credentials::IdentityToken("3".to_owned())));
        for other in ["localhost", "localhost:5001", "io"] {
            assert_eq!(stored(other), None, "{other}");
        }
    }

    #[test]
    fn a_malformed_file_of_credentials_is_named_and_a_missing_one_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        assert_eq!(Credentials::stored_in(&path, "r").unwrap(), None);
        std::fs::write(&path, "{").unwrap();
        let error = Credentials::stored_in(&path, "r").unwrap_err().to_string();
        assert!(error.contains(path.to_str().unwrap()), "{error}");
        assert!(error.ends_with("the file is malformed"), "{error}");
    }

    #[test]
    fn secrets_do_not_show_in_debug_output() {
        let password =
            Credentials::Password { username: "user".to_owned(), password: "hunter2".to_owned() };
        let token = Credentials::IdentityToken("hunter2".to_owned());
        assert!(!format!("{password:?} {token:?}").contains("hunter2"));
    }

    #[test]
    fn a_helpers_output_is_not_repeated() {
        let failure = CredentialRetrievalError::HelperFailure {
            helper: "x".to_owned(),
            stdout: "hunter2".to_owned(),
            stderr: "hunter2".to_owned(),
        };
        assert!(!is_absence(&failure));
        assert!(!unusable("r", "config.json", &failure).to_string().contains("hunter2"));
    }
}
