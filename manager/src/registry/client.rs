//! The OCI distribution protocol, for pulling.
//!
//! Every request carries what the registry last accepted as a login; a 401 is answered once. A
//! redirect is followed without the login, and its target's own 401 is never answered: credentials
//! stay with their registry. Everything that is buffered has a limit.

use std::io::{self, Read};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use bundle::digest::{Digest, Expected, Verifier};
use oci_spec::image::Descriptor;
use serde::Deserialize;
use ureq::config::{Config, RedirectAuthHeaders};
use ureq::http::{Response, StatusCode, Uri};
use ureq::tls::TlsConfig;
use ureq::{Agent, Body, ResponseExt};

use super::auth::{self, Credentials};
use super::blob::Resumable;
use super::challenge::{self, Challenge};
use super::error::{Error, TlsFault, printable};
use super::manifest::ACCEPT;
use super::tls::Tls;
use super::{Document, MAX_MANIFEST, Registry};
use crate::reference::Reference;

const USER_AGENT: &str = concat!("nman/", env!("CARGO_PKG_VERSION"));
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a registry may be silent within an answer.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
const MAX_REDIRECTS: u32 = 5;
/// The largest error answer that is read.
const MAX_ERROR_ANSWER: u64 = 64 << 10;
/// Pauses before a request that failed for a passing reason is made again.
const RETRY_AFTER: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(1000)];

/// How a registry is to be approached.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// What to log in with, if the registry asks.
    pub credentials: Option<Credentials>,
    /// How far its identity is checked.
    pub tls: Tls,
}

/// A connection to one repository of a registry.
#[derive(Debug)]
pub struct Client {
    agent: Agent,
    /// `https://HOST[:PORT]`.
    base: String,
    registry: String,
    repository: String,
    credentials: Option<Credentials>,
    /// The `Authorization` header that the registry last accepted.
    authorization: Mutex<Option<String>>,
}

impl Client {
    /// Prepares to pull the reference's repository. Nothing is sent yet, except to find out whether
    /// a registry that may speak plain HTTP does.
    pub fn connect(reference: &Reference, access: &Access) -> Result<Self, Error> {
        let endpoint = reference.endpoint();
        let is_loopback = is_loopback(endpoint);
        let may_be_plain = is_loopback || !access.tls.verify;
        let tls = access.tls.config(&[reference.domain(), endpoint])?;
        let agent = agent(tls, may_be_plain, is_loopback);
        let scheme = if may_be_plain { spoken_scheme(&agent, endpoint)? } else { "https" };
        Ok(Self {
            agent,
            base: format!("{scheme}://{endpoint}"),
            registry: reference.domain().to_owned(),
            repository: reference.repository().to_owned(),
            credentials: access.credentials.clone(),
            authorization: Mutex::new(None),
        })
    }

    /// GETs `path` within the repository, logging in and trying again as needed. `from` is the
    /// first byte wanted, where it is not the first of all.
    pub(super) fn get(&self, path: &str, from: u64) -> Result<Response<Body>, Error> {
        let url = format!("{}/v2/{}/{path}", self.base, self.repository);
        let mut pauses = RETRY_AFTER.into_iter();
        loop {
            let result = self.authorized(&url, from).and_then(|answer| self.checked(path, answer));
            match (result, pauses.next()) {
                (Err(error), Some(pause)) if error.is_transient() => thread::sleep(pause),
                (result, _) => return result,
            }
        }
    }

    /// Sends a request and answers a login challenge once.
    fn authorized(&self, url: &str, from: u64) -> Result<Response<Body>, Error> {
        let used = self.lock().clone();
        let response = self.send(url, from, used.as_deref())?;
        if response.status() != StatusCode::UNAUTHORIZED || !self.is_ours(response.get_uri()) {
            return Ok(response);
        }
        let headers = response.headers().get_all("www-authenticate");
        let challenge =
            challenge::strongest(headers.iter().filter_map(|value| value.to_str().ok()));
        match challenge
            .map(|challenge| self.log_in(&challenge, used.as_deref()))
            .transpose()?
            .flatten()
        {
            Some(authorization) => self.send(url, from, Some(&authorization)),
            None => Ok(response),
        }
    }

    /// Answers a challenge, unless another thread did so since `used` was read.
    fn log_in(&self, challenge: &Challenge, used: Option<&str>) -> Result<Option<String>, Error> {
        let mut current = self.lock();
        if current.as_deref() == used {
            let credentials = self.credentials.as_ref();
            *current = auth::authorization(
                &self.agent,
                &self.registry,
                &self.repository,
                challenge,
                credentials,
            )?;
        }
        Ok(current.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.authorization.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, url: &str, from: u64, login: Option<&str>) -> Result<Response<Body>, Error> {
        let mut request = self.agent.get(url);
        if url.contains("/manifests/") {
            request = request.header("Accept", ACCEPT.join(", "));
        }
        if from > 0 {
            request = request.header("Range", format!("bytes={from}-"));
        }
        if let Some(login) = login {
            request = request.header("Authorization", login);
        }
        request.call().map_err(|error| failure(self.host(), error))
    }

    /// Turns an answer that is not content into an error.
    fn checked(&self, path: &str, answer: Response<Body>) -> Result<Response<Body>, Error> {
        let status = answer.status();
        if matches!(status, StatusCode::OK | StatusCode::PARTIAL_CONTENT) {
            return Ok(answer);
        }
        let host = match answer.get_uri().authority() {
            Some(authority) => authority.to_string(),
            None => self.host().to_owned(),
        };
        let mut body = Vec::new();
        // The status says enough where the body cannot be read.
        let _ = answer.into_body().into_reader().take(MAX_ERROR_ANSWER).read_to_end(&mut body);
        let fault = Fault::first(&body);
        Err(match (status, fault) {
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => self.denied(status),
            (StatusCode::NOT_FOUND, Some(fault)) => Error::NotFound(match &*fault.code {
                "NAME_UNKNOWN" => format!("repository `{}` unknown", self.repository),
                _ if path.starts_with("manifests/") => "manifest unknown".to_owned(),
                _ => format!("`{path}` unknown"),
            }),
            _ => Error::Status { registry: host, status: status.as_u16(), message: message(&body) },
        })
    }

    fn denied(&self, status: StatusCode) -> Error {
        let registry = &self.registry;
        let token = self.lock().as_deref().is_some_and(|login| login.starts_with("Bearer "));
        let message = match &self.credentials {
            _ if token || status == StatusCode::FORBIDDEN => {
                format!("`{registry}` denies access to `{}`", self.repository)
            }
            Some(Credentials::Password { username, .. }) => {
                format!("`{registry}` refused the login of `{username}`")
            }
            Some(Credentials::IdentityToken(_)) => format!("`{registry}` refused the login"),
            None => format!("`{registry}` requires a login"),
        };
        let logged_in = self.credentials.is_some();
        Error::Denied { registry: registry.clone(), logged_in, message }
    }

    /// Whether an answer came from the registry itself, not from where it redirected.
    fn is_ours(&self, uri: &Uri) -> bool {
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        format!("{}://{authority}", uri.scheme_str().unwrap_or_default()) == self.base
    }

    /// The registry's `HOST[:PORT]`.
    pub(super) fn host(&self) -> &str {
        self.base.split_once("://").map_or(&*self.base, |(_, host)| host)
    }

    /// Reads a manifest, not more than the limit, and verifies it against what is known of it.
    fn document(&self, selector: &str, size: Option<u64>) -> Result<Document, Error> {
        let answer = self.get(&format!("manifests/{selector}"), 0)?;
        let header = |name: &str| {
            let value = answer.headers().get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let media_type = header("content-type");
        let media_type = media_type.split(';').next().unwrap_or_default().trim().to_owned();
        let promised: Option<Digest> = header("docker-content-digest").parse().ok();

        let limit = size.unwrap_or(MAX_MANIFEST).min(MAX_MANIFEST);
        let mut content = Vec::new();
        let mut body = answer.into_body().into_reader().take(limit + 1);
        body.read_to_end(&mut content).map_err(|error| failure(self.host(), error.into()))?;
        if content.len() as u64 > MAX_MANIFEST {
            return Err(Error::Invalid(format!(
                "manifest `{selector}` is larger than the limit of {} MiB",
                MAX_MANIFEST >> 20
            )));
        }
        let asked: Option<Digest> = selector.parse().ok();
        // A tag's digest is only what the registry says, but then it must be true.
        let expected = match asked.clone().or(promised) {
            Some(digest) => Expected { digest, size },
            None => Expected { digest: Digest::of(&content), size },
        };
        let digest = expected.digest.clone();
        Verifier::new(&*content, expected)
            .finish()
            .map_err(|error| Error::from_read(error, "manifest", &digest))?;
        Ok(Document { digest, media_type, content })
    }
}

impl Registry for Client {
    fn resolve(&self, selector: &str) -> Result<Document, Error> {
        self.document(selector, None)
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Document, Error> {
        let mut document =
            self.document(&digest_of(descriptor)?.to_string(), Some(descriptor.size()))?;
        if document.media_type.is_empty() {
            document.media_type = descriptor.media_type().to_string();
        }
        Ok(document)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Error> {
        let digest = digest_of(descriptor)?;
        let size = descriptor.size();
        let body = Resumable::open(self, format!("blobs/{digest}"), size)?;
        Ok(Box::new(Verifier::new(body, Expected { digest, size: Some(size) })))
    }
}

fn digest_of(descriptor: &Descriptor) -> Result<Digest, Error> {
    Digest::try_from(descriptor).map_err(|error| Error::Invalid(error.to_string()))
}

fn agent(tls: TlsConfig, may_be_plain: bool, is_loopback: bool) -> Agent {
    let builder = Config::builder()
        .tls_config(tls)
        .https_only(!may_be_plain)
        .http_status_as_error(false)
        .max_redirects(MAX_REDIRECTS)
        .redirect_auth_headers(RedirectAuthHeaders::Never)
        .user_agent(USER_AGENT)
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_per_read(Some(READ_TIMEOUT));
    // A proxy's idea of `localhost` is not ours.
    if is_loopback { builder.proxy(None).build().into() } else { builder.build().into() }
}

/// Whether `HOST[:PORT]` is this machine, by name or address; names are not looked up.
fn is_loopback(endpoint: &str) -> bool {
    if let Some((address, _)) = endpoint.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    }
    let host = endpoint.split(':').next().unwrap_or(endpoint);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Finds out which of the two a registry speaks that need not speak TLS. A certificate that is not
/// trusted is no reason to go on in plain text.
fn spoken_scheme(agent: &Agent, endpoint: &str) -> Result<&'static str, Error> {
    let ping = |scheme: &str| {
        let result = agent.get(format!("{scheme}://{endpoint}/v2/")).call();
        result.map(drop).map_err(|error| failure(endpoint, error))
    };
    let fault = match ping("https") {
        Ok(()) => return Ok("https"),
        Err(fault @ (Error::Tls { fault: TlsFault::NotTls, .. } | Error::Unreachable { .. })) => {
            fault
        }
        Err(fault) => return Err(fault),
    };
    match (ping("http"), fault) {
        (Ok(()), _) => Ok("http"),
        (Err(error), Error::Tls { .. }) => Err(error),
        (Err(_), fault) => Err(fault),
    }
}

/// Our error for one of the HTTP library's.
pub(super) fn failure(registry: &str, error: ureq::Error) -> Error {
    let registry = registry.to_owned();
    let unreachable = |why: &str, transient| Error::Unreachable {
        registry: registry.clone(),
        why: why.to_owned(),
        transient,
    };
    match error {
        ureq::Error::HostNotFound => Error::NoSuchHost(registry),
        ureq::Error::Rustls(error) => Error::Tls { registry, fault: TlsFault::from(&error) },
        ureq::Error::Tls(why) => Error::Tls { registry, fault: TlsFault::Other(why.to_owned()) },
        ureq::Error::Timeout(_) => unreachable("it does not answer in time", true),
        ureq::Error::RequireHttpsOnly(url) => unreachable(
            &format!("it refers to `{}`, which is not encrypted", printable(&url)),
            false,
        ),
        ureq::Error::TooManyRedirects => unreachable("it redirects in circles", false),
        ureq::Error::ConnectionFailed => unreachable("the connection failed", false),
        ureq::Error::Io(error) => {
            match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(inner) => Error::Tls { registry, fault: TlsFault::from(inner) },
                None if is_lookup_failure(&error) => Error::NoSuchHost(registry),
                None => unreachable(&bundle::reason::reason(&error), is_passing(error.kind())),
            }
        }
        other => unreachable(&printable(&other.to_string()), false),
    }
}

/// The C library's resolver has no error kind of its own.
fn is_lookup_failure(error: &io::Error) -> bool {
    error.raw_os_error().is_none() && error.to_string().contains("failed to lookup address")
}

fn is_passing(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut, UnexpectedEof, WouldBlock,
    };
    let passing =
        [BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut, UnexpectedEof, WouldBlock];
    passing.contains(&kind)
}

impl From<&rustls::Error> for TlsFault {
    fn from(error: &rustls::Error) -> Self {
        use rustls::CertificateError as Bad;
        match error {
            rustls::Error::InvalidCertificate(bad) => match bad {
                Bad::UnknownIssuer => Self::UnknownIssuer,
                Bad::NotValidForName | Bad::NotValidForNameContext { .. } => Self::WrongName,
                Bad::Expired
                | Bad::ExpiredContext { .. }
                | Bad::NotValidYet
                | Bad::NotValidYetContext { .. } => Self::Expired,
                Bad::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
                    Self::CaAsServer
                }
                other => Self::Other(printable(&other.to_string())),
            },
            rustls::Error::InvalidMessage(_) => Self::NotTls,
            other => Self::Other(printable(&other.to_string())),
        }
    }
}

/// A registry's own account of what is wrong, by the distribution specification.
#[derive(Deserialize)]
struct Fault {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct Faults {
    errors: Vec<Fault>,
}

impl Fault {
    fn first(body: &[u8]) -> Option<Self> {
        let faults: Faults = serde_json::from_slice(body).ok()?;
        faults.errors.into_iter().next()
    }
}

/// The registry's own words, led by `: `, or nothing.
pub(super) fn message(body: &[u8]) -> String {
    let fault = Fault::first(body);
    let text = fault.map(|fault| if fault.message.is_empty() { fault.code } else { fault.message });
    match text.map(|text| printable(&text)) {
        Some(text) if !text.is_empty() => format!(": {text}"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_itself_is_loopback() {
        for endpoint in ["localhost", "localhost:5000", "127.0.0.1", "127.9.9.9:1", "[::1]:5000"] {
            assert!(is_loopback(endpoint), "{endpoint}");
        }
        for endpoint in ["localhost.example.org", "10.0.0.1:5000", "127.0.0.1.nip.io", "[::2]:1"] {
            assert!(!is_loopback(endpoint), "{endpoint}");
        }
    }

    #[test]
    fn a_registrys_message_is_quoted_if_it_has_one() {
        let body = br#"{"errors":[{"code":"TOOMANYREQUESTS","message":"slow\u001b[2J down."}]}"#;
        assert_eq!(message(body), ": slow [2J down");
        assert_eq!(message(br#"{"errors":[{"code":"DENIED"}]}"#), ": DENIED");
        assert_eq!(message(b"<html>"), "");
    }
}
