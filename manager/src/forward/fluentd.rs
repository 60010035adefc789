//! Messages for fluentd and Fluent Bit in the forward protocol: `[tag, time, record, options]` in MessagePack.
//!
//! <https://github.com/fluent/fluentd/wiki/Forward-Protocol-Specification-v1>, message mode. The record's fields are Docker's.

use super::address::{Address, host_and_port, with_port};
use super::outbox::{Limits, Message};
use super::socket::Manner;
use super::tls::Trust;
use super::{Line, msgpack};
use crate::boolean::boolean;
use crate::container::Record;
use crate::duration;
use crate::id::{random_bytes, random_digits};
use crate::stream::Stream;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Of a host alone.
const DEFAULT_HOST: &str = "127.0.0.1";
const DEFAULT_PORT: u16 = 24224;
/// So many messages wait.
const DEFAULT_BUFFER: usize = 1 << 20;
/// From one try to the next, which grows to [`LONGEST_WAIT`].
const DEFAULT_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// The fields that every record has; a label or variable of the same name is left out.
const OWN: [&str; 4] = ["container_id", "container_name", "source", "log"];
/// How a record is a part of a line.
const PARTIAL: [&str; 4] = ["partial_message", "partial_id", "partial_ordinal", "partial_last"];

/// What `--log-opt fluentd-...` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    pub(super) address: Address,
    is_async: bool,
    count: usize,
    wait: Duration,
    retries: u32,
    has_nanoseconds: bool,
    has_receipts: bool,
    patience: Option<Duration>,
    renewal: Option<Duration>,
}

impl Options {
    /// Reads what begins with `fluentd-`.
    pub(super) fn read(options: &BTreeMap<String, String>) -> Result<Self, String> {
        let option = |name: &str| options.get(name).map_or("", String::as_str);
        let invalid = |name: &str, why: &str| format!("invalid value for {name}: {why}");
        let is_on = |name: &str| match option(name) {
            "" => Ok(false),
            text => boolean(text).map_err(|why| invalid(name, &why)),
        };
        let time = |name: &str| match option(name) {
            "" => Ok(None),
            text => duration::parse(text).map(Some).map_err(|why| invalid(name, &why)),
        };
        let given = option("fluentd-address");
        let renewal = time("fluentd-async-reconnect-interval")?.filter(|time| !time.is_zero());
        let renewals = Duration::from_millis(100)..=Duration::from_secs(10);
        if renewal.is_some_and(|renewal| !renewals.contains(&renewal)) {
            let name = "fluentd-async-reconnect-interval";
            return Err(invalid(name, "it is to be from 100ms to 10s"));
        }
        let count = match option("fluentd-buffer-limit") {
            "" => DEFAULT_BUFFER,
            text => super::size(text)
                .and_then(|count| usize::try_from(count).ok())
                .filter(|&count| count > 0)
                .ok_or_else(|| invalid("fluentd-buffer-limit", "it is to be a number, as 8k"))?,
        };
        let retries = match option("fluentd-max-retries") {
            "" => u32::MAX,
            text => text
                .parse::<u64>()
                .map(|retries| u32::try_from(retries).unwrap_or(u32::MAX))
                .map_err(|error| invalid("fluentd-max-retries", &error.to_string()))?,
        };
        Ok(Self {
            address: address(given)
                .map_err(|why| format!("invalid fluentd-address ({given}): {why}"))?,
            is_async: is_on("fluentd-async")?,
            count,
            wait: time("fluentd-retry-wait")?.unwrap_or(DEFAULT_WAIT),
            retries,
            has_nanoseconds: is_on("fluentd-sub-second-precision")?,
            has_receipts: is_on("fluentd-request-ack")?,
            patience: time("fluentd-write-timeout")?.filter(|time| !time.is_zero()),
            renewal,
        })
    }

    pub(super) fn manner(&self) -> Manner {
        let usual = Manner::default();
        Manner {
            is_required: !self.is_async,
            patience: self.patience.unwrap_or(usual.patience),
            rest: self.wait,
            longest_rest: Some(LONGEST_WAIT.max(self.wait)),
            renewal: self.renewal.filter(|_| self.is_async),
            ..usual
        }
    }

    /// What waits. `size` is in bytes.
    pub(super) fn limits(&self, size: u64) -> Limits {
        Limits { size, count: self.count, retries: self.retries }
    }
}

fn address(text: &str) -> Result<Address, String> {
    let (scheme, place) = text.split_once("://").unwrap_or(("tcp", text));
    match scheme {
        "unix" if place.trim_start_matches('/').is_empty() => Err("path is empty".to_owned()),
        "unix" => Ok(Address::Stream(PathBuf::from(place))),
        "tcp" | "tls" if place.contains('/') => Err("should not contain a path element".to_owned()),
        "tcp" => Ok(Address::Tcp(with_host(place)?)),
        "tls" => Ok(Address::Tls("tls", with_host(place)?, Trust::default())),
        _ => Err(format!("unsupported scheme: '{scheme}'; there are tcp, tls and unix")),
    }
}

/// `HOST:PORT`, of which either may be missing.
fn with_host(place: &str) -> Result<String, String> {
    let place = with_port("fluentd-address", place, DEFAULT_PORT)?;
    Ok(if host_and_port(&place).0.is_empty() { format!("{DEFAULT_HOST}{place}") } else { place })
}

/// A container, as fluentd sees it.
#[derive(Debug)]
pub(super) struct Sender {
    has_nanoseconds: bool,
    has_receipts: bool,
    tag: String,
    /// The fields of every record, as they are sent, but those of [`OWN`] that differ, and how many they are.
    fields: Vec<u8>,
    count: usize,
    /// Of both streams: the line that has begun.
    begun: [Option<Begun>; 2],
}

/// A line that comes in parts.
#[derive(Debug)]
struct Begun {
    id: String,
    /// Of the last part, from 1 on.
    ordinal: u32,
}

impl Sender {
    pub(super) fn new(options: &Options, record: &Record, tag: String) -> Self {
        let name = format!("/{}", record.name.as_str());
        let own = [("container_id", record.id.as_str()), ("container_name", &name)];
        Self::with_fields(options, &own, &record.supervision.log.attributes, tag)
    }

    fn with_fields(
        options: &Options,
        own: &[(&str, &str)],
        attributes: &BTreeMap<String, String>,
        tag: String,
    ) -> Self {
        let marks = attributes.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let marks = marks.filter(|(name, _)| !OWN.contains(name) && !PARTIAL.contains(name));
        let (mut fields, mut count) = (Vec::new(), 0);
        for (name, value) in own.iter().copied().chain(marks) {
            field(&mut fields, name, value.as_bytes());
            count += 1;
        }
        Self {
            has_nanoseconds: options.has_nanoseconds,
            has_receipts: options.has_receipts,
            tag,
            fields,
            count,
            begun: [None, None],
        }
    }

    /// Makes the message of a line.
    pub(super) fn write(&mut self, message: &mut Message, line: Line<'_>) {
        let part = self.part(line);
        let out = &mut message.bytes;
        msgpack::array(out, 4);
        msgpack::text(out, self.tag.as_bytes());
        let (seconds, nanos) = line.time.unix();
        let seconds = u32::try_from(seconds).unwrap_or(0);
        if self.has_nanoseconds {
            let [a, b, c, d] = seconds.to_be_bytes();
            let [e, f, g, h] = nanos.to_be_bytes();
            // An `EventTime`.
            msgpack::extension(out, 0, [a, b, c, d, e, f, g, h]);
        } else {
            msgpack::number(out, seconds);
        }
        msgpack::map(out, self.count + 2 + part.as_ref().map_or(0, |_| PARTIAL.len()));
        out.extend_from_slice(&self.fields);
        let source: &[u8] = match line.stream {
            Stream::Stdout => b"stdout",
            Stream::Stderr => b"stderr",
        };
        field(out, "source", source);
        field(out, "log", line.text);
        if let Some((id, ordinal)) = part {
            let last = if line.partial { "false" } else { "true" };
            for (name, value) in PARTIAL.into_iter().zip(["true", &id, &ordinal.to_string(), last])
            {
                field(out, name, value.as_bytes());
            }
        }
        if !self.has_receipts {
            msgpack::map(out, 0);
            return;
        }
        message.receipt = STANDARD.encode(random_bytes::<16>()).into_bytes();
        msgpack::map(out, 1);
        field(out, "chunk", &message.receipt);
    }

    /// Which part of which line it is, if it is one.
    fn part(&mut self, line: Line<'_>) -> Option<(String, u32)> {
        let begun = &mut self.begun[line.stream as usize];
        if line.partial && begun.is_none() {
            *begun = Some(Begun { id: random_digits(), ordinal: 0 });
        }
        let part = begun.as_mut().map(|begun| {
            begun.ordinal += 1;
            (begun.id.clone(), begun.ordinal)
        });
        if !line.partial {
            *begun = None;
        }
        part
    }
}

fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    msgpack::text(out, name.as_bytes());
    msgpack::text(out, value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::stream::LONGEST_LINE;

    fn options(pairs: &[(&str, &str)]) -> Result<Options, String> {
        let pairs =
            pairs.iter().map(|(key, value)| (format!("fluentd-{key}"), (*value).to_owned()));
        Options::read(&pairs.collect())
    }

    fn sender(pairs: &[(&str, &str)]) -> Sender {
        let attributes = [("role", "front"), ("log", "no"), ("partial_id", "no")];
        let attributes = attributes.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let own = [("container_id", "c0"), ("container_name", "/web")];
        let attributes = BTreeMap::from(attributes);
        Sender::with_fields(&options(pairs).unwrap(), &own, &attributes, "tag".to_owned())
    }

    fn sent(sender: &mut Sender, text: &[u8]) -> Message {
        let mut message = Message::default();
        let time = Timestamp::from_unix(0x5041_0203, 7);
        sender.write(&mut message, Line::of(Stream::Stderr, time, text));
        message
    }

    const RECORD: &[u8] = b"\xaccontainer_id\xa2c0\xaecontainer_name\xa4/web\xa4role\xa5front\
        \xa6source\xa6stderr\xa3log\xa5oh \xff!";

    #[test]
    fn a_line_is_a_record_with_the_fields_of_its_container() {
        let message = sent(&mut sender(&[]), b"oh \xff!\n");
        let expected = [b"\x94\xa3tag\xce\x50\x41\x02\x03\x85", RECORD, b"\x80"].concat();
        assert_eq!(message.bytes, expected);
        assert_eq!(message.receipt, b"");
    }

    #[test]
    fn times_have_nanoseconds_and_messages_a_receipt_where_that_is_asked_for() {
        let pairs = [("sub-second-precision", "true"), ("request-ack", "true")];
        let message = sent(&mut sender(&pairs), b"oh \xff!\n");
        let head = b"\x94\xa3tag\xd7\x00\x50\x41\x02\x03\x00\x00\x00\x07\x85";
        let option = [b"\x81\xa5chunk\xb8", &*message.receipt].concat();
        assert_eq!(message.bytes, [head, RECORD, &option].concat());
        assert_eq!(message.receipt.len(), 24);
    }

    #[test]
    fn parts_of_a_line_are_numbered_and_the_last_is_marked() {
        let mut sender = sender(&[]);
        let part = vec![b'x'; LONGEST_LINE];
        let tails: Vec<String> = [&part[..], &part, b"end\n", b"next\n"]
            .into_iter()
            .map(|text| {
                let text = String::from_utf8_lossy(&sent(&mut sender, text).bytes).into_owned();
                text.split_once("partial_message")
                    .map(|(_, tail)| tail.to_owned())
                    .unwrap_or_default()
            })
            .collect();
        let id = &tails[0].split_once("partial_id").unwrap().1[4..][..64];
        assert!(!tails[0].contains("front"));
        for (tail, (ordinal, last)) in tails.iter().zip([(1, "false"), (2, "false"), (3, "true")]) {
            for expected in [id, &format!("partial_ordinal\u{fffd}{ordinal}"), last] {
                assert!(tail.contains(expected), "{expected}: {tail:?}");
            }
        }
        assert_eq!(tails[3], "");
    }

    #[test]
    fn addresses_are_those_that_docker_takes() {
        let address = |text| options(&[("address", text)]).map(|options| options.address);
        let tls = Address::Tls("tls", "logs:24224".to_owned(), Trust::default());
        for (text, expected) in [
            ("", Address::Tcp("127.0.0.1:24224".to_owned())),
            ("logs", Address::Tcp("logs:24224".to_owned())),
            ("logs:1", Address::Tcp("logs:1".to_owned())),
            (":1", Address::Tcp("127.0.0.1:1".to_owned())),
            ("tcp://[fe80::1]", Address::Tcp("[fe80::1]:24224".to_owned())),
            ("tls://logs", tls),
            ("unix:///run/fluentd", Address::Stream("/run/fluentd".into())),
        ] {
            assert_eq!(address(text), Ok(expected), "{text}");
        }
        for (text, part) in [
            ("udp://logs", "invalid fluentd-address (udp://logs): unsupported scheme: 'udp'"),
            ("tcp://logs/x", "should not contain a path element"),
            ("unix://", "path is empty"),
            ("logs:x", "`x` is not a port"),
        ] {
            let said = address(text).unwrap_err();
            assert!(said.contains(part), "{text}: {said}");
        }
    }

    #[test]
    fn options_are_those_that_docker_takes() {
        let read = options(&[]).unwrap();
        let manner = read.manner();
        assert_eq!((manner.is_required, manner.rest), (true, Duration::from_secs(1)));
        let limits = Limits { size: 9, count: 1 << 20, retries: u32::MAX };
        assert_eq!(read.limits(9), limits);
        let pairs = [
            ("async", "1"),
            ("async-reconnect-interval", "200ms"),
            ("buffer-limit", "8k"),
            ("max-retries", "4294967296"),
            ("retry-wait", "500ms"),
            ("write-timeout", "3s"),
        ];
        let read = options(&pairs).unwrap();
        let manner = read.manner();
        assert!(!manner.is_required);
        assert_eq!(manner.renewal, Some(Duration::from_millis(200)));
        assert_eq!(
            (manner.rest, manner.patience),
            (Duration::from_millis(500), Duration::from_secs(3))
        );
        assert_eq!(read.limits(9), Limits { size: 9, count: 8000, retries: u32::MAX });
        for (name, value) in [
            ("async", "maybe"),
            ("async-reconnect-interval", "20s"),
            ("buffer-limit", "many"),
            ("max-retries", "-1"),
            ("retry-wait", "1"),
        ] {
            let said = options(&[(name, value)]).unwrap_err();
            assert!(said.starts_with(&format!("invalid value for fluentd-{name}: ")), "{said}");
        }
    }
}
