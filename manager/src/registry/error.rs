//! What can go wrong between us and a registry, in the distinctions that callers and hints need.
//!
//! Text that a registry sent is cleaned before it gets into an error: it is untrusted and may end
//! up on a terminal.

use std::io;

use bundle::digest::{Digest, Mismatch};
use bundle::reason::reason;

/// The longest piece of a registry's own message that is passed on.
const MAX_MESSAGE: usize = 200;

/// Why a registry did not give what it was asked for. One line, without the image's name, which
/// [`pull`](crate::pull) puts before it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The registry answers, and has no such image.
    #[error("not found: `{registry}` answers: {what}")]
    NotFound {
        /// The registry that was asked, as the user names it.
        registry: String,
        /// What it does not have, in Docker's words.
        what: String,
    },
    /// Several hosts answer for the registry, and none gave it.
    #[error("{}", several(.0))]
    Everywhere(Vec<Error>),
    /// The registry wants a login, or does not accept the one it was given.
    #[error("{message}")]
    Denied {
        /// The registry that refused, as the user names it.
        registry: String,
        /// Whether credentials were sent at all.
        logged_in: bool,
        /// What was refused, and why.
        message: String,
    },
    /// The registry's name does not resolve.
    #[error("no such host `{0}`")]
    NoSuchHost(String),
    /// No trustworthy TLS connection could be made.
    #[error("cannot make a TLS connection to `{registry}`: {fault}")]
    Tls {
        /// The registry, as `HOST[:PORT]`.
        registry: String,
        /// What is wrong with its certificate or its protocol.
        fault: TlsFault,
    },
    /// The registry could not be talked to, or fell silent.
    #[error("cannot reach `{registry}`: {why}")]
    Unreachable {
        /// The registry, as `HOST[:PORT]`.
        registry: String,
        /// The system's or the protocol's reason.
        why: String,
        /// Whether it may work a moment later.
        transient: bool,
    },
    /// The registry answered with a status that is none of the above.
    #[error("`{registry}` answered {status}{message}")]
    Status {
        /// The registry, as `HOST[:PORT]`.
        registry: String,
        /// The HTTP status code.
        status: u16,
        /// The registry's own words, led by `: `, or nothing.
        message: String,
    },
    /// The content is not what its digest or size says.
    #[error("{object} `{digest}` does not match: {why}")]
    Mismatch {
        /// `manifest`, `config` or `layer`.
        object: &'static str,
        /// What was asked for.
        digest: Digest,
        /// What came instead.
        why: String,
    },
    /// A document is malformed, ambiguous, too big, or of a kind that is not a container image.
    #[error("{0}")]
    Invalid(String),
    /// Credentials or certificates on this machine cannot be used.
    #[error("{0}")]
    Setup(String),
}

/// What keeps a TLS connection from being trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsFault {
    /// The certificate chain ends at a certificate that is not trusted here.
    #[error("its certificate is not signed by a trusted authority")]
    UnknownIssuer,
    /// The certificate is for other names.
    #[error("its certificate is not valid for this name")]
    WrongName,
    /// The certificate's time has passed, or has not come yet.
    #[error("its certificate is expired or not yet valid")]
    Expired,
    /// The certificate is an authority's own, which must not serve as a server's.
    #[error("its certificate is an authority's certificate, not a server's")]
    CaAsServer,
    /// What answers does not speak TLS.
    #[error("the server does not speak TLS")]
    NotTls,
    /// Any other fault, in the TLS library's words.
    #[error("{0}")]
    Other(String),
}

impl Error {
    /// What the user can do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound { .. } => {
                Some("check the name and the tag; the registry does not have this one".to_owned())
            }
            // The last is the registry itself.
            Self::Everywhere(errors) => errors.iter().rev().find_map(Self::hint),
            Self::Denied { logged_in: true, registry, .. } => {
                Some(format!("the user name or password stored for `{registry}` is not accepted"))
            }
            Self::Denied { logged_in: false, registry, .. } => Some(format!(
                "the image may not exist, or `{registry}` needs a login: \
                 `nman login {registry}` stores one"
            )),
            Self::NoSuchHost(_) => {
                Some("check the spelling of the registry and the machine's DNS settings".to_owned())
            }
            Self::Tls { registry, fault } => fault.hint(registry),
            Self::Unreachable { why, .. } if why == "connection refused" => Some(
                "check that the registry runs, and its port; mirrors are named in \
                 /etc/nman/certs.d/HOST/hosts.toml"
                    .to_owned(),
            ),
            Self::Status { status: 429, .. } => Some(
                "it limits how much is pulled from here: try again later, or log in with \
                 `nman login`, which may raise the limit"
                    .to_owned(),
            ),
            Self::Mismatch { .. } => {
                Some("the registry or a proxy on the way altered the content; try again".to_owned())
            }
            _ => None,
        }
    }

    /// The error of several hosts that were asked in turn.
    pub(super) fn of_all(errors: Vec<Self>) -> Option<Self> {
        (!errors.is_empty()).then(|| Self::of_several(errors))
    }

    /// The same of one at least.
    pub(crate) fn of_several(mut errors: Vec<Self>) -> Self {
        match errors.pop() {
            Some(only) if errors.is_empty() => only,
            last => {
                errors.extend(last);
                Self::Everywhere(errors)
            }
        }
    }

    /// What was to be sent could not be read.
    pub(super) fn source(error: &io::Error) -> Self {
        Self::Setup(format!("cannot read what is to be sent: {}", reason(error)))
    }

    /// What an error means that came while `object` was read through a verifier.
    pub(crate) fn from_read(error: io::Error, object: &'static str, digest: &Digest) -> Self {
        if let Some(mismatch) = Mismatch::within(&error) {
            let why = match mismatch {
                Mismatch::Digest { got, .. } => format!("its digest is `{got}`"),
                Mismatch::Size { expected, got, .. } => {
                    format!("it has {got} bytes instead of {expected}")
                }
            };
            return Self::Mismatch { object, digest: digest.clone(), why };
        }
        error.downcast().unwrap_or_else(|error| {
            Self::Invalid(format!("cannot read {object} `{digest}`: {}", reason(&error)))
        })
    }

    /// Whether the same request may succeed a moment later.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { transient, .. } => *transient,
            Self::Status { status, .. } => matches!(status, 429 | 500 | 502 | 503 | 504),
            _ => false,
        }
    }

    /// Whether it may be over soon at a host that has answered before, so that it is worth to wait for that.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Everywhere(errors) => errors.iter().any(Self::may_pass),
            // It says that it is asked too often.
            Self::Status { status: 429, .. } => false,
            other => other.is_transient(),
        }
    }
}

fn several(errors: &[Error]) -> String {
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

impl TlsFault {
    fn hint(&self, registry: &str) -> Option<String> {
        match self {
            Self::UnknownIssuer => Some(format!(
                "put the authority's certificate in /etc/nman/certs.d/{registry}/ca.crt"
            )),
            Self::NotTls => {
                Some("if the registry speaks plain HTTP, pass --tls-verify=false".into())
            }
            Self::CaAsServer => {
                Some("issue the server a certificate of its own, without `CA:TRUE`".into())
            }
            Self::WrongName | Self::Expired | Self::Other(_) => None,
        }
    }
}

/// Makes text from a registry fit for an error line: printable, on one line, and short.
pub(super) fn printable(text: &str) -> String {
    let mut clean: String = text
        .chars()
        .map(|c| if c.is_control() || is_invisible(c) { ' ' } else { c })
        .take(MAX_MESSAGE)
        .collect();
    clean.truncate(clean.trim_end_matches(['.', ' ']).len());
    clean.trim_start().to_owned()
}

/// Characters that reorder or hide what stands around them on a terminal.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registrys_message_cannot_write_escape_sequences_or_more_lines() {
        assert_eq!(printable("bad\u{1b}[31m\nthing\u{202e}. "), "bad [31m thing");
        assert_eq!(printable(&"x".repeat(1000)).len(), MAX_MESSAGE);
    }

    #[test]
    fn who_has_answered_before_is_waited_for_when_it_cannot_be_asked() {
        let refused = || Error::Unreachable {
            registry: "r".to_owned(),
            why: "connection refused".to_owned(),
            transient: false,
        };
        let status =
            |status| Error::Status { registry: "r".to_owned(), status, message: String::new() };
        for passing in [refused(), status(503), Error::Everywhere(vec![status(403), refused()])] {
            assert!(passing.may_pass(), "{passing}");
        }
        for lasting in [status(403), status(429), Error::Everywhere(vec![status(403), status(404)])]
        {
            assert!(!lasting.may_pass(), "{lasting}");
        }
        assert!(!refused().is_transient(), "at first contact it is an answer");
        assert!(status(429).hint().unwrap().contains("nman login"));
    }

    #[test]
    fn each_tls_fault_that_has_a_cure_names_it() {
        let error = |fault| Error::Tls { registry: "r:5000".to_owned(), fault };
        let hint = error(TlsFault::UnknownIssuer).hint().unwrap();
        assert!(hint.ends_with("/etc/nman/certs.d/r:5000/ca.crt"), "{hint}");
        assert!(error(TlsFault::NotTls).hint().unwrap().contains("--tls-verify=false"));
        assert_eq!(error(TlsFault::Expired).hint(), None);
    }
}
