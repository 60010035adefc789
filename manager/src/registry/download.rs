//! A file of any web server, for `import` and `build`: the same trust and the same limits as at a registry, and nothing of its protocol.

use std::io::{self, Read};
use std::time::UNIX_EPOCH;

use bundle::reason::reason;
use ureq::http::{Uri, header::LAST_MODIFIED};
use ureq::{Agent, Body, BodyReader};

use super::client::{MAX_ERROR_ANSWER, again, agent, is_loopback};
use super::error::Error;
use super::fault::{failure, message};
use super::tls::Tls;

/// A file while it comes in. Its end is an error unless all came that the server has announced.
pub(crate) struct Download {
    host: String,
    modified: Option<i64>,
    body: BodyReader<'static>,
}

impl Download {
    /// Asks for `http://...` or `https://...`, following a few redirects. One from `https` to `http` is refused, unless the server
    /// need not be verified.
    pub(crate) fn open(url: &str, tls: &Tls) -> Result<Self, Error> {
        let uri: Uri = url.parse().map_err(|_| Error::Invalid("it is no URL".to_owned()))?;
        let authority = uri.authority().filter(|authority| !authority.host().is_empty());
        let Some(authority) = authority else {
            return Err(Error::Invalid("it is no URL: it names no host".to_owned()));
        };
        let host = without_user(authority.as_str()).to_owned();
        let is_plain = uri.scheme_str() == Some("http");
        let config = tls.config(&[&host], None)?;
        let agent = agent(config, is_plain || !tls.verify, is_loopback(&host));
        again(|| Self::ask(&agent, url, &host))
    }

    fn ask(agent: &Agent, url: &str, host: &str) -> Result<Self, Error> {
        let answer = agent.get(url).call().map_err(|error| failure(host, error))?;
        let status = answer.status();
        let modified = answer.headers().get(LAST_MODIFIED);
        let modified = modified.and_then(|date| seconds(date.to_str().ok()?));
        let body = answer.into_body();
        if status.is_success() {
            return Ok(Self { host: host.to_owned(), modified, body: unlimited(body) });
        }
        let mut words = Vec::new();
        // The status says enough where the body cannot be read.
        let _ = body.into_reader().take(MAX_ERROR_ANSWER).read_to_end(&mut words);
        let words = match message(&words) {
            words if words.is_empty() => {
                status.canonical_reason().map_or_else(String::new, |reason| format!(" {reason}"))
            }
            words => words,
        };
        Err(Error::Status { registry: host.to_owned(), status: status.as_u16(), message: words })
    }
}

impl Download {
    /// When the file was changed last, in seconds since 1970, if the server says that.
    pub(crate) fn modified(&self) -> Option<i64> {
        self.modified
    }
}

/// A date of HTTP (RFC 9110, section 5.6.7) in seconds since 1970.
fn seconds(date: &str) -> Option<i64> {
    let since = httpdate::parse_http_date(date).ok()?.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok()
}

/// How large it may be is for whoever reads it to say.
fn unlimited(body: Body) -> BodyReader<'static> {
    body.into_with_config().limit(u64::MAX).reader()
}

/// A URL, or what names its host, without what may be a password in it.
pub(crate) fn without_user(url: &str) -> String {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), url),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}{host}{path}")
}

impl Read for Download {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.body.read(buffer).map_err(|error| {
            let why = match error.kind() {
                io::ErrorKind::Interrupted => return error,
                io::ErrorKind::UnexpectedEof => "the connection ended before the file".to_owned(),
                _ => reason(&error),
            };
            io::Error::other(format!("`{}`: {why}", self.host))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown() {
        for (url, shown) in [
            ("https://a:b@h:1/x@y?z", "https://h:1/x@y?z"),
            ("http://h/x", "http://h/x"),
            ("https://a:b@c@h", "https://h"),
            ("a@h:1", "h:1"),
            ("http://h?a=b@c", "http://h?a=b@c"),
        ] {
            assert_eq!(without_user(url), shown, "{url}");
        }
    }

    #[test]
    fn dates_are_read_in_each_of_their_forms() {
        for date in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(seconds(date), Some(784_111_777), "{date}");
        }
        assert_eq!(seconds("yesterday"), None);
    }

    #[test]
    fn what_names_no_host_is_refused_before_anything_is_asked() {
        for url in ["http://", "http:///x", "https://a b/"] {
            let refused = Download::open(url, &Tls::default()).err().unwrap().to_string();
            assert!(refused.starts_with("it is no URL"), "{url}: {refused}");
        }
    }
}
