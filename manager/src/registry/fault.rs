//! What went wrong, told from the HTTP library's errors and from a registry's own words.

use std::io;

use serde::Deserialize;

use super::error::{Error, TlsFault, printable};

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
pub(super) struct Fault {
    #[serde(default)]
    pub(super) code: String,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct Faults {
    errors: Vec<Fault>,
}

impl Fault {
    pub(super) fn first(body: &[u8]) -> Option<Self> {
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
    fn a_registrys_message_is_quoted_if_it_has_one() {
        let body = br#"{"errors":[{"code":"TOOMANYREQUESTS","message":"slow\u001b[2J down."}]}"#;
        assert_eq!(message(body), ": slow [2J down");
        assert_eq!(message(br#"{"errors":[{"code":"DENIED"}]}"#), ": DENIED");
        assert_eq!(message(b"<html>"), "");
    }
}
