//! The OCI distribution protocol, as spoken with one host.
//!
//! Every request carries what the registry last accepted as a login; a 401 is answered once. A
//! redirect away from the host is followed without the login, even if it leads back, and the 401 of
//! where it leads is never answered: credentials stay with their registry. Everything that is
//! buffered has a limit.

use std::io::{self, Read};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use bundle::digest::{Digest, Expected, Verifier};
use ureq::config::{Config, RedirectAuthHeaders};
use ureq::http::{Method, Request, Response, StatusCode, Uri};
use ureq::tls::TlsConfig;
use ureq::{Agent, AsSendBody, Body, ResponseExt, SendBody};

use super::answer::{MAX_WAITS, begins_at, elsewhere, later, origin};
use super::auth::{self, Credentials};
use super::challenge::{self, Challenge};
use super::error::{Error, TlsFault};
use super::fault::{Fault, failure, message};
use super::hosts::Host;
use super::manifest::ACCEPT;
use super::tls::Tls;
use super::{Document, MAX_MANIFEST};

const USER_AGENT: &str = concat!("nman/", env!("CARGO_PKG_VERSION"));
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a registry may be silent within an answer.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
const MAX_REDIRECTS: u32 = 5;
/// The largest error answer that is read.
pub(super) const MAX_ERROR_ANSWER: u64 = 64 << 10;
/// Pauses before a request that failed for a passing reason is made again.
const RETRY_AFTER: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(1000)];

/// How one host is to be approached.
#[derive(Clone, Debug, Default)]
pub(super) struct Approach {
    /// What to log in with, if the host asks.
    pub(super) credentials: Option<Credentials>,
    /// How far its identity is checked.
    pub(super) tls: Tls,
    /// The repository that requests are about.
    pub(super) repository: String,
    /// What a token must allow: `repository:NAME:pull`.
    pub(super) scopes: Vec<String>,
}

/// A connection to one repository on one host.
#[derive(Debug)]
pub(super) struct Client {
    agent: Agent,
    /// `https://HOST[:PORT]`.
    base: String,
    prefix: String,
    /// The registry's name in messages.
    registry: String,
    /// What a mirror is told about whose content is wanted.
    stands_in_for: Option<String>,
    headers: Vec<(String, String)>,
    repository: String,
    scopes: Vec<String>,
    credentials: Option<Credentials>,
    /// The `Authorization` header that the registry last accepted.
    authorization: Mutex<Option<String>>,
}

/// A request, which may have to be sent more than once.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    pub(super) url: String,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) content: Content<'a>,
}

/// What a request carries.
pub(super) enum Content<'a> {
    /// Nothing, not even a length.
    None,
    /// What is in memory.
    Bytes(&'a [u8]),
    /// So many bytes of what is opened anew each time.
    Stream(u64, &'a dyn Fn() -> io::Result<Box<dyn Read + 'a>>),
}

impl Call<'_> {
    pub(super) fn get(url: String) -> Self {
        Self { method: Method::GET, url, headers: Vec::new(), content: Content::None }
    }

    /// Whether a redirect with this status means the same request elsewhere. Of one that changes something only two do: after the
    /// others it would have to be a GET (RFC 9110, section 15.4).
    fn may_be_redirected(&self, status: StatusCode) -> bool {
        matches!(self.method, Method::GET | Method::HEAD)
            || matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT)
    }
}

impl Client {
    /// Prepares to speak with a host. Nothing is sent yet, except to find out whether a host that may speak plain HTTP does.
    /// `domain` is the registry that it answers for.
    pub(super) fn connect(host: &Host, domain: &str, approach: Approach) -> Result<Self, Error> {
        let endpoint = &*host.authority;
        let is_loopback = is_loopback(endpoint);
        let mut tls = approach.tls;
        tls.verify &= !host.skip_verify;
        tls.ca_files.extend(host.ca_files.iter().cloned());
        let may_be_plain = match host.plain {
            Some(plain) => plain,
            None => is_loopback || !tls.verify,
        };
        let names = if host.is_mirror { vec![endpoint] } else { vec![domain, endpoint] };
        let agent = agent(tls.config(&names, host.client.as_ref())?, may_be_plain, is_loopback);
        let scheme = match host.plain {
            Some(true) => "http",
            None if may_be_plain => spoken_scheme(&agent, endpoint)?,
            _ => "https",
        };
        let registry = if host.is_mirror { endpoint } else { domain };
        Ok(Self {
            agent,
            base: format!("{scheme}://{endpoint}"),
            prefix: host.prefix.clone(),
            registry: registry.to_owned(),
            stands_in_for: host.is_mirror.then(|| domain.to_owned()),
            headers: host.headers.clone(),
            repository: approach.repository,
            scopes: approach.scopes,
            credentials: approach.credentials,
            authorization: Mutex::new(None),
        })
    }

    /// The URL of `path` within the repository.
    pub(super) fn url(&self, path: &str) -> String {
        let mut url = format!("{}{}/{}/{path}", self.base, self.prefix, self.repository);
        if let Some(registry) = &self.stands_in_for {
            url.push(if path.contains('?') { '&' } else { '?' });
            url.push_str("ns=");
            url.push_str(registry);
        }
        url
    }

    /// GETs `path` within the repository from byte `from` on. The answer is a 206 that begins there, or begins at the first byte: a
    /// server need not know ranges, and one that refuses this range (416) or sends another is asked for the whole.
    pub(super) fn get_from(&self, path: &str, from: u64) -> Result<Response<Body>, Error> {
        let mut call = Call::get(self.url(path));
        if from > 0 {
            call.headers.push(("Range", format!("bytes={from}-")));
            let wanted =
                [StatusCode::OK, StatusCode::PARTIAL_CONTENT, StatusCode::RANGE_NOT_SATISFIABLE];
            let answer = self.call(&call, &wanted)?;
            match answer.status() {
                StatusCode::OK => return Ok(answer),
                StatusCode::PARTIAL_CONTENT if begins_at(&answer, from) => return Ok(answer),
                _ => call.headers.clear(),
            }
        }
        self.call(&call, &[StatusCode::OK])
    }

    /// Asks whether the host lets us in, logging in if it wants that.
    pub(super) fn ping(&self) -> Result<(), Error> {
        let prefix = if self.prefix.is_empty() { "/v2" } else { &self.prefix };
        let call = Call::get(format!("{}{prefix}/", self.base));
        self.call(&call, &[StatusCode::OK]).map(drop)
    }

    /// Makes a request, logging in and trying again as needed, and takes any answer but the `wanted` for an error.
    pub(super) fn call(
        &self,
        call: &Call<'_>,
        wanted: &[StatusCode],
    ) -> Result<Response<Body>, Error> {
        let mut waits = MAX_WAITS;
        again(|| self.attempt(call, wanted, &mut waits))
    }

    /// Makes a request, and `take`s what comes in answer, all of it again where the connection breaks on the way.
    pub(super) fn whole<T>(
        &self,
        call: &Call<'_>,
        take: impl Fn(Response<Body>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut waits = MAX_WAITS;
        again(|| take(self.attempt(call, &[StatusCode::OK], &mut waits)?))
    }

    /// [`call`](Self::call) for what must not be repeated blindly.
    pub(super) fn once(
        &self,
        call: &Call<'_>,
        wanted: &[StatusCode],
    ) -> Result<Response<Body>, Error> {
        self.attempt(call, wanted, &mut { MAX_WAITS })
    }

    /// Makes a request, and waits as long as the host wants, but not more than `waits` times.
    fn attempt(
        &self,
        call: &Call<'_>,
        wanted: &[StatusCode],
        waits: &mut u32,
    ) -> Result<Response<Body>, Error> {
        loop {
            let answer = self.authorized(call)?;
            if wanted.contains(&answer.status()) {
                return Ok(answer);
            }
            match later(&answer).filter(|_| *waits > 0) {
                Some(pause) => {
                    *waits -= 1;
                    drop(answer);
                    thread::sleep(pause);
                }
                None => return Err(self.refusal(call, answer)),
            }
        }
    }

    /// Sends a request and answers a login challenge once.
    fn authorized(&self, call: &Call<'_>) -> Result<Response<Body>, Error> {
        let used = self.lock().clone();
        let response = self.send(call, used.as_deref())?;
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
            Some(authorization) => self.send(call, Some(&authorization)),
            None => Ok(response),
        }
    }

    /// Answers a challenge, unless another thread did so since `used` was read.
    fn log_in(&self, challenge: &Challenge, used: Option<&str>) -> Result<Option<String>, Error> {
        let mut current = self.lock();
        if current.as_deref() == used {
            let credentials = self.credentials.as_ref();
            let ask = |scopes| {
                auth::authorization(&self.agent, &self.registry, scopes, challenge, credentials)
            };
            *current = match ask(&self.scopes) {
                // A server may refuse everything for the sake of one other repository, which can be done without.
                Err(Error::Denied { .. }) if self.scopes.len() > 1 => ask(&self.scopes[..1])?,
                answer => answer?,
            };
        }
        Ok(current.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.authorization.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a request, and sends it on to where it is redirected. Not left to the library, which takes the login away
    /// from a redirect within the host, too, and lets configured headers go anywhere.
    fn send(&self, call: &Call<'_>, login: Option<&str>) -> Result<Response<Body>, Error> {
        let mut url = call.url.clone();
        let mut ours = true;
        for _ in 0..MAX_REDIRECTS {
            ours = ours && url.parse().is_ok_and(|uri| self.is_ours(&uri));
            let answer = self.send_to(&url, call, login.filter(|_| ours), ours)?;
            match elsewhere(&answer, &url) {
                Some(next) if call.may_be_redirected(answer.status()) => url = next,
                _ => return Ok(answer),
            }
        }
        Err(failure(self.host(), ureq::Error::TooManyRedirects))
    }

    fn send_to(
        &self,
        url: &str,
        call: &Call<'_>,
        login: Option<&str>,
        ours: bool,
    ) -> Result<Response<Body>, Error> {
        let malformed = |error: ureq::http::Error| failure(self.host(), error.into());
        let mut request = Request::builder().method(call.method.clone()).uri(url);
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        // Not to where a request may have been sent on: what is configured is meant for this host.
        if ours {
            for (name, value) in &self.headers {
                request = request.header(name, value);
            }
            if let Some(login) = login {
                request = request.header("Authorization", login);
            }
        }
        let answer = match &call.content {
            Content::None => self.run(request.body(()).map_err(malformed)?),
            Content::Bytes(bytes) => self.run(request.body(*bytes).map_err(malformed)?),
            Content::Stream(length, open) => {
                let mut reader = open().map_err(|error| Error::source(&error))?;
                let request = request.header("Content-Length", length.to_string());
                let body = SendBody::from_reader(&mut reader);
                self.run(request.body(body).map_err(malformed)?)
            }
        };
        answer.map_err(|error| self.failed_at(url, error))
    }

    /// Our error for one of the HTTP library's at a URL, which need not be the host's own: a firewall that does not let us to where the
    /// registry has its content is not the registry's fault.
    fn failed_at(&self, url: &str, error: ureq::Error) -> Error {
        // That is about what the registry has said, and nobody else was asked.
        let is_ours = matches!(error, ureq::Error::RequireHttpsOnly(_));
        let uri: Option<Uri> = url.parse().ok();
        let elsewhere = uri.filter(|uri| !is_ours && !self.is_ours(uri));
        let elsewhere = elsewhere.and_then(|uri| host_in(&uri));
        let Some(host) = elsewhere else { return failure(self.host(), error) };
        let why = |why: &str| format!("{why} (`{}` redirects there)", self.registry);
        match failure(&host, error) {
            Error::Unreachable { registry, why: words, transient } => {
                Error::Unreachable { registry, why: why(&words), transient }
            }
            Error::NoSuchHost(registry) => {
                let why = why("there is no such host");
                Error::Unreachable { registry, why, transient: false }
            }
            // Whom to trust is looked up by our host's name.
            Error::Tls { fault, .. } => Error::Tls { registry: self.host().to_owned(), fault },
            other => other,
        }
    }

    /// Lets the library send a request, and follow no redirect.
    fn run(&self, request: Request<impl AsSendBody>) -> Result<Response<Body>, ureq::Error> {
        let how = self.agent.configure_request(request).max_redirects(0);
        self.agent.run(how.max_redirects_will_error(false).build())
    }

    /// Turns an answer that is not what was wanted into an error.
    fn refusal(&self, call: &Call<'_>, answer: Response<Body>) -> Error {
        let status = answer.status();
        let is_ours = self.is_ours(answer.get_uri());
        let host = host_in(answer.get_uri()).unwrap_or_else(|| self.host().to_owned());
        let mut body = Vec::new();
        // The status says enough where the body cannot be read.
        let _ = answer.into_body().into_reader().take(MAX_ERROR_ANSWER).read_to_end(&mut body);
        match (status, Fault::first(&body)) {
            // Where it redirects to may be a store of files, or a proxy on the way to that, which know of no login.
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, fault)
                if is_ours || fault.is_some() =>
            {
                self.denied(status)
            }
            (StatusCode::NOT_FOUND, Some(fault)) => {
                let what = match &*fault.code {
                    "NAME_UNKNOWN" => format!("repository {} unknown", self.repository),
                    _ if call.url.contains("/manifests/") => "manifest unknown".to_owned(),
                    _ => format!("{} unknown", call.url.rsplit('/').next().unwrap_or_default()),
                };
                Error::NotFound { registry: self.registry.clone(), what }
            }
            _ => {
                let to_what = match is_ours {
                    true => String::new(),
                    false => format!(" to what `{}` redirects there", self.registry),
                };
                let message = to_what + &message(&body);
                Error::Status { registry: host, status: status.as_u16(), message }
            }
        }
    }

    fn denied(&self, status: StatusCode) -> Error {
        let registry = &self.registry;
        let token = self.lock().as_deref().is_some_and(|login| login.starts_with("Bearer "));
        let message = match &self.credentials {
            _ if token || status == StatusCode::FORBIDDEN => {
                format!("`{registry}` denied access to `{}`", self.repository)
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

    /// Whether a URL is one of the host itself, not of where it redirected.
    fn is_ours(&self, uri: &Uri) -> bool {
        let ours = self.base.parse().ok().and_then(|base| origin(&base));
        ours.is_some() && origin(uri) == ours
    }

    /// The host's `HOST[:PORT]`.
    pub(super) fn host(&self) -> &str {
        self.base.split_once("://").map_or(&*self.base, |(_, host)| host)
    }

    /// Reads a manifest, not more than the limit, and verifies it against what is known of it.
    pub(super) fn document(&self, selector: &str, size: Option<u64>) -> Result<Document, Error> {
        let mut call = Call::get(self.url(&format!("manifests/{selector}")));
        call.headers.push(("Accept", ACCEPT.join(", ")));
        let limit = size.unwrap_or(MAX_MANIFEST).min(MAX_MANIFEST);
        let what = format!("manifest `{selector}`");
        let (headers, content) = self.whole(&call, |answer| {
            let headers = answer.headers().clone();
            Ok((headers, self.read(answer, limit + 1, MAX_MANIFEST, &what)?))
        })?;
        let header = |name: &str| {
            let value = headers.get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let media_type = header("content-type");
        let media_type = media_type.split(';').next().unwrap_or_default().trim().to_owned();
        let promised: Option<Digest> = header("docker-content-digest").parse().ok();
        if media_type == "text/html" && content.trim_ascii_start().starts_with(b"<") {
            return Err(Error::Invalid(format!(
                "`{}` answered with a web page instead of {what}: a proxy or a login page may stand in the registry's place",
                self.host()
            )));
        }
        let asked: Option<Digest> = selector.parse().ok();
        // A tag's digest is only what the registry says, but then it must be true.
        let expected = match asked.or(promised) {
            Some(digest) => Expected { digest, size },
            None => Expected { digest: Digest::of(&content), size },
        };
        let digest = expected.digest.clone();
        Verifier::new(&*content, expected)
            .finish()
            .map_err(|error| Error::from_read(error, "manifest", &digest))?;
        Ok(Document { digest, media_type, content })
    }

    /// Reads an answer, but not more than `most`; more than `limit` is an error.
    pub(super) fn read(
        &self,
        answer: Response<Body>,
        most: u64,
        limit: u64,
        what: &str,
    ) -> Result<Vec<u8>, Error> {
        let mut content = Vec::new();
        let url = answer.get_uri().to_string();
        let mut body = answer.into_body().into_reader().take(most);
        body.read_to_end(&mut content).map_err(|error| self.failed_at(&url, error.into()))?;
        if content.len() as u64 > limit {
            let limit = limit >> 20;
            return Err(Error::Invalid(format!("{what} is larger than the limit of {limit} MiB")));
        }
        Ok(content)
    }
}

/// `HOST[:PORT]` of a URL, without a user.
pub(super) fn host_in(uri: &Uri) -> Option<String> {
    let host = uri.host()?;
    Some(uri.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

/// Does something again that failed for a passing reason, after a pause each.
pub(super) fn again<T>(mut attempt: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    let mut pauses = RETRY_AFTER.into_iter();
    loop {
        match (attempt(), pauses.next()) {
            (Err(error), Some(pause)) if error.is_transient() => thread::sleep(pause),
            (result, _) => return result,
        }
    }
}

pub(super) fn agent(tls: TlsConfig, may_be_plain: bool, is_loopback: bool) -> Agent {
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
pub(super) fn is_loopback(endpoint: &str) -> bool {
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
    fn a_login_and_configured_headers_stay_with_their_host() {
        let mut host = Host::origin("127.0.0.1:1");
        host.plain = Some(true);
        let client = Client::connect(&host, "r.example", Approach::default()).unwrap();
        for (url, ours) in [
            ("http://127.0.0.1:1/v2/app/blobs/uploads/x", true),
            ("https://127.0.0.1:1/v2/", false),
            ("http://user@127.0.0.1:1/v2/", false),
            ("http://127.0.0.1:2/v2/", false),
            ("http://127.0.0.1:1.evil.example/v2/", false),
        ] {
            assert_eq!(url.parse().is_ok_and(|uri| client.is_ours(&uri)), ours, "{url}");
        }
    }

    #[test]
    fn a_mirror_is_told_whose_content_is_wanted() {
        let mut host = Host::origin("127.0.0.1:1");
        (host.plain, host.is_mirror) = (Some(true), true);
        let approach = Approach { repository: "library/x".to_owned(), ..Approach::default() };
        let client = Client::connect(&host, "docker.io", approach).unwrap();
        let expected = "http://127.0.0.1:1/v2/library/x/manifests/1?ns=docker.io";
        assert_eq!(client.url("manifests/1"), expected);
    }
}
