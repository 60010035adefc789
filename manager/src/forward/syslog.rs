//! Messages for a syslog daemon, in one of the forms that Docker knows.
//!
//!     (none)         <30>Nov 29 12:00:00 TAG[PID]: text          what programs write to /dev/log
//!     rfc3164        <30>Nov 29 12:00:00 HOST TAG[PID]: text
//!     rfc5424        <30>1 2026-11-29T12:00:00+01:00 HOST TAG PID TAG - text
//!     rfc5424micro   the same with microseconds
//!
//! Each ends with a newline, by which a stream is cut into messages (RFC 6587, 3.4.2). Over TLS those of RFC 5424 have their length in
//! front (RFC 5425, 4.3).

use super::address::{Address, with_port};
use super::tls::Trust;
use super::{Line, host};
use crate::boolean::boolean;
use crate::clock::Civil;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// By their numbers (RFC 5424, 6.2.1).
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp", "", "", "", "", "local0", "local1", "local2", "local3", "local4", "local5", "local6",
    "local7",
];

/// `daemon`
const DEFAULT_FACILITY: u8 = 3;
/// Of UDP and TCP, with TLS and without.
const DEFAULT_PORT: u16 = 514;

/// What `--log-opt syslog-...` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    pub(super) address: Address,
    facility: u8,
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Local,
    Rfc3164,
    Rfc5424 { micro: bool },
}

impl Options {
    /// Reads `syslog-address`, `syslog-facility`, `syslog-format` and `syslog-tls-...`.
    pub(super) fn read(options: &BTreeMap<String, String>) -> Result<Self, String> {
        let option = |name: &str| options.get(name).map_or("", String::as_str);
        let trust = trust(options)?;
        Ok(Self {
            address: address(option("syslog-address"), trust)?,
            facility: facility(option("syslog-facility"))?,
            format: format(option("syslog-format"))?,
        })
    }

    /// Whether each message has its length in front of it.
    fn is_counted(&self) -> bool {
        matches!((&self.address, self.format), (Address::Tls(..), Format::Rfc5424 { .. }))
    }
}

/// Options count whatever the address is: one without TLS needs none of them, as with Docker.
fn trust(options: &BTreeMap<String, String>) -> Result<Trust, String> {
    let file = |name: &str| match options.get(name) {
        None => Ok(None),
        Some(path) if path.starts_with('/') => Ok(Some(PathBuf::from(path))),
        Some(path) => Err(format!("{name}: `{path}` is not an absolute path")),
    };
    let client = match (file("syslog-tls-cert")?, file("syslog-tls-key")?) {
        (None, None) => None,
        (Some(certificate), Some(key)) => Some((certificate, key)),
        _ => return Err("syslog-tls-cert and syslog-tls-key are given together".to_owned()),
    };
    let anybody = match options.get("syslog-tls-skip-verify").map(String::as_str) {
        None => false,
        Some("") => true,
        Some(value) => {
            boolean(value).map_err(|error| format!("syslog-tls-skip-verify: {error}"))?
        }
    };
    Ok(Trust { authorities: file("syslog-tls-ca-cert")?, client, anybody })
}

fn address(text: &str, trust: Trust) -> Result<Address, String> {
    const OPTION: &str = "syslog-address";
    if text.is_empty() {
        return Ok(Address::Syslog);
    }
    let Some((scheme, place)) = text.split_once("://").filter(|(_, place)| !place.is_empty())
    else {
        return Err(format!("syslog-address should be in form proto://address, got {text}"));
    };
    match scheme {
        "unix" => Ok(Address::Stream(PathBuf::from(place))),
        "unixgram" => Ok(Address::Datagram(PathBuf::from(place))),
        "udp" => Ok(Address::Udp(with_port(OPTION, place, DEFAULT_PORT)?)),
        "tcp" => Ok(Address::Tcp(with_port(OPTION, place, DEFAULT_PORT)?)),
        "tcp+tls" => Ok(Address::Tls("tcp+tls", with_port(OPTION, place, DEFAULT_PORT)?, trust)),
        _ => Err(format!(
            "syslog-address {text}: unsupported scheme `{scheme}`; there are unix, unixgram, udp, tcp and tcp+tls"
        )),
    }
}

fn facility(text: &str) -> Result<u8, String> {
    if text.is_empty() {
        return Ok(DEFAULT_FACILITY);
    }
    let by_name = FACILITIES.iter().position(|&name| name == text);
    let by_number = || text.parse().ok().filter(|&number| number < FACILITIES.len());
    let number = by_name.or_else(by_number).and_then(|number| u8::try_from(number).ok());
    number.ok_or_else(|| format!("invalid syslog facility: `{text}`"))
}

fn format(text: &str) -> Result<Format, String> {
    match text {
        "" => Ok(Format::Local),
        "rfc3164" => Ok(Format::Rfc3164),
        "rfc5424" => Ok(Format::Rfc5424 { micro: false }),
        "rfc5424micro" => Ok(Format::Rfc5424 { micro: true }),
        _ => Err(format!("invalid syslog format: `{text}`")),
    }
}

/// A container, as a syslog daemon sees it.
#[derive(Debug)]
pub(super) struct Sender {
    facility: u8,
    format: Format,
    is_counted: bool,
    tag: String,
    host: String,
    pid: u32,
}

impl Sender {
    pub(super) fn new(options: &Options, tag: String) -> Self {
        Self {
            facility: options.facility,
            format: options.format,
            is_counted: options.is_counted(),
            tag,
            host: host(),
            pid: std::process::id(),
        }
    }

    /// Appends the message of a line. A daemon takes times without a zone as its own.
    pub(super) fn write(&self, message: &mut Vec<u8>, line: Line<'_>) {
        let offset = sys::clock::offset_from_utc(line.time.unix().0);
        let head = self.head(line.severity(), &line.time.civil(offset), offset);
        if self.is_counted {
            let length = head.len() + line.text.len() + 1;
            message.extend_from_slice(format!("{length} ").as_bytes());
        }
        message.extend_from_slice(head.as_bytes());
        message.extend_from_slice(line.text);
        message.push(b'\n');
    }

    fn head(&self, severity: u8, time: &Civil, offset: i64) -> String {
        let Self { tag, host, pid, .. } = self;
        let priority = self.facility * 8 + severity;
        match self.format {
            Format::Local => format!("<{priority}>{} {tag}[{pid}]: ", time.stamp()),
            Format::Rfc3164 => format!("<{priority}>{} {host} {tag}[{pid}]: ", time.stamp()),
            Format::Rfc5424 { micro } => {
                let time = time.rfc3339(offset, if micro { 6 } else { 0 });
                format!("<{priority}>1 {time} {host} {tag} {pid} {tag} - ")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::stream::Stream;

    fn options(pairs: &[(&str, &str)]) -> Result<Options, String> {
        let pairs = pairs.iter().map(|(key, value)| (format!("syslog-{key}"), (*value).to_owned()));
        Options::read(&pairs.collect())
    }

    #[test]
    fn addresses_are_those_that_docker_takes() {
        let address = |text| options(&[("address", text)]).map(|options| options.address);
        for (text, expected) in [
            ("", Address::Syslog),
            ("unix:///dev/log", Address::Stream("/dev/log".into())),
            ("unixgram:///dev/log", Address::Datagram("/dev/log".into())),
            ("udp://logs", Address::Udp("logs:514".to_owned())),
            ("tcp://logs:601", Address::Tcp("logs:601".to_owned())),
            ("tcp+tls://logs", Address::Tls("tcp+tls", "logs:514".to_owned(), Trust::default())),
            ("tcp://[fe80::1]", Address::Tcp("[fe80::1]:514".to_owned())),
            ("tcp://[fe80::1]:601", Address::Tcp("[fe80::1]:601".to_owned())),
        ] {
            assert_eq!(address(text), Ok(expected), "{text}");
        }
        for (text, part) in [
            ("logs", "proto://address, got logs"),
            ("udp://", "proto://address"),
            ("tcp://logs:x", "`x` is not a port"),
            ("http://logs", "unsupported scheme `http`"),
        ] {
            let said = address(text).unwrap_err();
            assert!(said.contains(part), "{text}: {said}");
        }
    }

    #[test]
    fn whom_to_trust_is_said_by_options() {
        let trust = |pairs: &[(&str, &str)]| {
            let pairs = [&[("address", "tcp+tls://logs")], pairs].concat();
            options(&pairs).map(|options| match options.address {
                Address::Tls(_, _, trust) => trust,
                other => panic!("{other}"),
            })
        };
        let pairs = [("tls-ca-cert", "/ca"), ("tls-cert", "/cert"), ("tls-key", "/key")];
        let expected = Trust {
            authorities: Some("/ca".into()),
            client: Some(("/cert".into(), "/key".into())),
            anybody: false,
        };
        assert_eq!(trust(&pairs), Ok(expected));
        for (value, expected) in [("true", true), ("1", true), ("", true), ("false", false)] {
            let anybody = trust(&[("tls-skip-verify", value)]).map(|trust| trust.anybody);
            assert_eq!(anybody, Ok(expected), "{value}");
        }
        for (pair, part) in [
            (("tls-cert", "/cert"), "are given together"),
            (("tls-ca-cert", "ca.pem"), "syslog-tls-ca-cert: `ca.pem` is not an absolute path"),
            (("tls-skip-verify", "maybe"), "syslog-tls-skip-verify: strconv.ParseBool"),
        ] {
            let said = trust(&[pair]).unwrap_err();
            assert!(said.contains(part), "{pair:?}: {said}");
        }
    }

    #[test]
    fn over_tls_a_message_of_rfc_5424_has_its_length_in_front() {
        let sent = |address, format| {
            let options = options(&[("address", address), ("format", format)]).unwrap();
            let line = "grün\n".as_bytes();
            let line = Line::of(Stream::Stdout, Timestamp::from_unix(0, 0), line);
            let mut message = Vec::new();
            Sender::new(&options, "web".to_owned()).write(&mut message, line);
            String::from_utf8(message).unwrap()
        };
        for format in ["rfc5424", "rfc5424micro"] {
            let message = sent("tcp+tls://logs", format);
            let (length, rest) = message.split_once(' ').unwrap();
            assert_eq!(length.parse(), Ok(rest.len()), "{message}");
            assert!(rest.starts_with("<30>1 ") && rest.ends_with("grün\n"), "{message}");
            assert!(sent("tcp://logs", format).starts_with("<30>1 "));
        }
        assert!(sent("tcp+tls://logs", "rfc3164").starts_with("<30>"));
    }

    #[test]
    fn facilities_have_names_and_numbers() {
        let facility = |text| options(&[("facility", text)]).map(|options| options.facility);
        for (text, expected) in [("", 3), ("kern", 0), ("local7", 23), ("16", 16)] {
            assert_eq!(facility(text), Ok(expected), "{text}");
        }
        for text in ["local8", "24", "-1"] {
            assert!(facility(text).is_err(), "{text}");
        }
        assert!(options(&[("format", "rfc1")]).is_err());
    }

    #[test]
    fn each_form_is_as_its_readers_expect_it() {
        let time = Timestamp::parse("2026-11-09T11:02:03.000456789Z").unwrap();
        for (format, expected) in [
            ("", "<134>Nov  9 13:02:03 web[7]: "),
            ("rfc3164", "<134>Nov  9 13:02:03 host web[7]: "),
            ("rfc5424", "<134>1 2026-11-09T13:02:03+02:00 host web 7 web - "),
            ("rfc5424micro", "<134>1 2026-11-09T13:02:03.000456+02:00 host web 7 web - "),
        ] {
            let options = options(&[("facility", "local0"), ("format", format)]).unwrap();
            let mut sender = Sender::new(&options, "web".to_owned());
            (sender.host, sender.pid) = ("host".to_owned(), 7);
            assert_eq!(sender.head(6, &time.civil(7200), 7200), expected);
        }
    }
}
