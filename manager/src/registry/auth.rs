//! Credentials, and the header that proves them.
//!
//! Credentials belong to one registry: they are looked up by its name (see [`logins`](super::logins)), and a client sends
//! them, and tokens made from them, to that registry and to the token server that it names over the same kind of transport,
//! never to where it redirects.

use std::fmt;
use std::io::Read;
use std::thread;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde::Deserialize;
use ureq::http::Response;
use ureq::{Agent, Body};

use super::answer::{MAX_WAITS, later};
use super::challenge::Challenge;
use super::error::{Error, printable};
use super::fault::{failure, message};

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

/// The `Authorization` header that answers `challenge`; `None` where there is nothing to answer.
pub(super) fn authorization(
    agent: &Agent,
    registry: &str,
    scopes: &[String],
    challenge: &Challenge,
    credentials: Option<&Credentials>,
) -> Result<Option<String>, Error> {
    match (challenge, credentials) {
        (Challenge::Basic, Some(Credentials::Password { username, password })) => {
            Ok(Some(basic(username, password)))
        }
        (Challenge::Basic, _) => Ok(None),
        (Challenge::Bearer { realm, service }, credentials) => {
            let request = TokenRequest { realm, service: service.as_deref(), scopes };
            let token = request.send(agent, registry, credentials)?;
            Ok(Some(format!("Bearer {token}")))
        }
    }
}

struct TokenRequest<'a> {
    realm: &'a str,
    service: Option<&'a str>,
    scopes: &'a [String],
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
        let response = self.answer(agent, credentials)?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        let read = response.into_body().into_reader().take(MAX_TOKEN_ANSWER).read_to_end(&mut body);
        read.map_err(|error| failure(&self.host(), error.into()))?;
        match status {
            200 => self.token(&body),
            401 | 403 => Err(Error::Denied {
                registry: registry.to_owned(),
                logged_in: credentials.is_some(),
                message: format!("`{}` refused the login for `{registry}`", self.host()),
            }),
            _ => Err(Error::Status { registry: self.host(), status, message: message(&body) }),
        }
    }

    /// The server's answer, waited for as long as it wants us to, but not for ever.
    fn answer(
        &self,
        agent: &Agent,
        credentials: Option<&Credentials>,
    ) -> Result<Response<Body>, Error> {
        let mut waits = MAX_WAITS;
        loop {
            let sent = self.ask(agent, credentials);
            let response = sent.map_err(|error| failure(&self.host(), error))?;
            match later(&response).filter(|_| waits > 0) {
                Some(pause) => {
                    waits -= 1;
                    drop(response);
                    thread::sleep(pause);
                }
                None => return Ok(response),
            }
        }
    }

    fn ask(
        &self,
        agent: &Agent,
        credentials: Option<&Credentials>,
    ) -> Result<Response<Body>, ureq::Error> {
        match credentials {
            Some(Credentials::IdentityToken(token)) => {
                let scopes = self.scopes.join(" ");
                let mut form = vec![
                    ("grant_type", "refresh_token"),
                    ("client_id", CLIENT_ID),
                    ("refresh_token", token),
                ];
                form.extend((!scopes.is_empty()).then_some(("scope", &*scopes)));
                form.extend(self.service.map(|service| ("service", service)));
                agent.post(self.realm).send_form(form)
            }
            credentials => {
                let mut request = agent.get(self.realm);
                for scope in self.scopes {
                    request = request.query("scope", scope);
                }
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
    fn secrets_do_not_show_in_debug_output() {
        let password =
            Credentials::Password { username: "user".to_owned(), password: "hunter2".to_owned() };
        let token = Credentials::IdentityToken("hunter2".to_owned());
        assert!(!format!("{password:?} {token:?}").contains("hunter2"));
    }
}
