//! Messages for Graylog and whoever else takes GELF: JSON objects, compressed in datagrams, or with a zero byte behind each in a stream.
//!
//! <https://go2docs.graylog.org/current/getting_in_log_data/gelf.html>. The fields are Docker's, and so is the length of a datagram.

use super::address::{Address, host_and_port};
use super::outbox::Limits;
use super::socket::Manner;
use super::{Line, host};
use crate::container::Record;
use crate::id::random_bytes;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::time::Duration;

/// What `--log-opt gelf-...` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    pub(super) address: Address,
    packing: Packing,
    retries: u32,
    delay: Duration,
}

/// How an object is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packing {
    /// In a stream.
    Zero,
    /// In datagrams, the rest as well.
    Plain,
    Gzip(Compression),
    Zlib(Compression),
}

/// The length of a datagram, in bytes: it fits into a frame of Ethernet.
const DATAGRAM: usize = 1420;
/// What a piece of a message begins with: two bytes by which it is known, eight of the message's own, its number, and how many there
/// are.
const HEAD: usize = 12;
const MAGIC: [u8; 2] = [0x1e, 0x0f];
/// Whoever receives it takes no more pieces.
const PIECES: usize = 128;

impl Options {
    /// Reads `gelf-address`, `gelf-compression-type`, `gelf-compression-level`, `gelf-tcp-max-reconnect` and
    /// `gelf-tcp-reconnect-delay`.
    pub(super) fn read(options: &BTreeMap<String, String>) -> Result<Self, String> {
        let option = |name: &str| options.get(name).map(String::as_str);
        let address = address(option("gelf-address").unwrap_or_default())?;
        let is_stream = matches!(address, Address::Tcp(_));
        let number = |name: &str, default: u32| match option(name) {
            None => Ok(default),
            Some(_) if !is_stream => Err(format!("\"{name}\" is only valid for TCP")),
            Some(text) => {
                text.parse().map_err(|_| format!("\"{name}\" must be a positive integer"))
            }
        };
        let is_packed =
            option("gelf-compression-type").is_some() || option("gelf-compression-level").is_some();
        if is_stream && is_packed {
            return Err("compression is only supported on UDP".to_owned());
        }
        let packing = match is_stream {
            true => Packing::Zero,
            false => packing(option("gelf-compression-type"), option("gelf-compression-level"))?,
        };
        Ok(Self {
            packing,
            retries: number("gelf-tcp-max-reconnect", 3)?,
            delay: Duration::from_secs(number("gelf-tcp-reconnect-delay", 1)?.into()),
            address,
        })
    }

    pub(super) fn manner(&self) -> Manner {
        match self.packing {
            Packing::Zero => Manner { rest: self.delay, ..Manner::default() },
            _ => Manner { datagram: DATAGRAM, ..Manner::default() },
        }
    }

    /// What waits. It is tried again where it is a stream: of a datagram nobody knows whether it arrives. `size` is in bytes.
    pub(super) fn limits(&self, size: u64) -> Limits {
        let retries = if self.packing == Packing::Zero { self.retries } else { 0 };
        Limits { size, count: usize::MAX, retries }
    }
}

fn address(text: &str) -> Result<Address, String> {
    if text.is_empty() {
        return Err("gelf-address is a required parameter".to_owned());
    }
    let Some((scheme, place)) = text.split_once("://").filter(|(_, place)| !place.is_empty())
    else {
        return Err(format!("gelf-address should be in form proto://address, got {text}"));
    };
    let address = match scheme {
        "udp" => Address::Udp(place.to_owned()),
        "tcp" => Address::Tcp(place.to_owned()),
        _ => return Err(format!("gelf-address {text}: endpoint needs to be TCP or UDP")),
    };
    match host_and_port(place) {
        (host, Some(port))
            if !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0) =>
        {
            Ok(address)
        }
        _ => Err(format!("gelf-address {text}: please provide it as proto://host:port")),
    }
}

fn packing(kind: Option<&str>, level: Option<&str>) -> Result<Packing, String> {
    let unknown = |name: &str, value: &str| {
        format!("unknown value \"{value}\" for log opt \"{name}\" for gelf log driver")
    };
    let level = match level {
        None => Compression::fast(),
        Some("-1") => Compression::default(),
        Some(text) => match text.parse() {
            Ok(level) if level <= 9 => Compression::new(level),
            _ => return Err(unknown("gelf-compression-level", text)),
        },
    };
    match kind {
        None | Some("gzip") => Ok(Packing::Gzip(level)),
        Some("zlib") => Ok(Packing::Zlib(level)),
        Some("none") => Ok(Packing::Plain),
        Some(text) => Err(unknown("gelf-compression-type", text)),
    }
}

/// A container, as whoever takes GELF sees it.
#[derive(Debug)]
pub(super) struct Sender {
    packing: Packing,
    /// The object up to the text of a message.
    head: Vec<u8>,
    /// The rest of it from the container's own fields on.
    tail: Vec<u8>,
}

impl Sender {
    pub(super) fn new(options: &Options, record: &Record, tag: &str) -> Self {
        let fields = [
            ("_container_id", record.id.as_str()),
            ("_container_name", record.name.as_str()),
            ("_image_id", &record.image.id),
            ("_image_name", &record.image.name),
            ("_command", &record.command.join(" ")),
            ("_tag", tag),
            ("_created", &record.created.to_string()),
        ];
        Self::with_fields(options.packing, &host(), &fields, &record.supervision.log.attributes)
    }

    fn with_fields(
        packing: Packing,
        host: &str,
        fields: &[(&str, &str)],
        attributes: &BTreeMap<String, String>,
    ) -> Self {
        let mut object: Map<String, Value> =
            fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
        for (name, value) in attributes {
            let mark = if name.starts_with('_') { "" } else { "_" };
            object.insert(format!("{mark}{name}"), value.as_str().into());
        }
        let head = format!(r#"{{"version":"1.1","host":{},"short_message":"#, Value::from(host));
        let tail = Value::Object(object).to_string().replacen('{', ",", 1);
        Self { packing, head: head.into_bytes(), tail: tail.into_bytes() }
    }

    /// Appends the message of a line, in datagrams one behind the other. Nothing, if it says nothing: a message must have a text.
    ///
    /// # Errors
    /// It would need too many datagrams.
    pub(super) fn write(&self, message: &mut Vec<u8>, line: Line<'_>) -> io::Result<()> {
        if line.text.is_empty() {
            return Ok(());
        }
        let mut object = self.head.clone();
        serde_json::to_writer(&mut object, &String::from_utf8_lossy(line.text))?;
        let (seconds, nanos) = line.time.unix();
        let (millis, level) = (nanos / 1_000_000, line.severity());
        write!(object, r#","timestamp":{seconds}.{millis:03},"level":{level}"#)?;
        object.extend_from_slice(&self.tail);
        let packed = match self.packing {
            Packing::Zero => {
                object.push(0);
                message.append(&mut object);
                return Ok(());
            }
            Packing::Plain => object,
            Packing::Gzip(level) => {
                let mut encoder = GzEncoder::new(Vec::new(), level);
                encoder.write_all(&object)?;
                encoder.finish()?
            }
            Packing::Zlib(level) => {
                let mut encoder = ZlibEncoder::new(Vec::new(), level);
                encoder.write_all(&object)?;
                encoder.finish()?
            }
        };
        cut(message, &packed, random_bytes())
    }
}

/// Appends a message in datagrams, each but the last [`DATAGRAM`] long: as it is if it fits in one, else in pieces.
fn cut(datagrams: &mut Vec<u8>, message: &[u8], id: [u8; 8]) -> io::Result<()> {
    if message.len() <= DATAGRAM {
        datagrams.extend_from_slice(message);
        return Ok(());
    }
    let pieces = message.chunks(DATAGRAM - HEAD);
    let count = pieces.len();
    let (Ok(last), true) = (u8::try_from(count), count <= PIECES) else {
        let said = format!("a message of {} bytes is too long for GELF", message.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, said));
    };
    for (number, piece) in (0..last).zip(pieces) {
        datagrams.extend_from_slice(&MAGIC);
        datagrams.extend_from_slice(&id);
        datagrams.extend_from_slice(&[number, last]);
        datagrams.extend_from_slice(piece);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::stream::Stream;
    use std::io::Read as _;

    fn options(pairs: &[(&str, &str)]) -> Result<Options, String> {
        let pairs = pairs.iter().map(|(key, value)| (format!("gelf-{key}"), (*value).to_owned()));
        Options::read(&pairs.collect())
    }

    fn sender(packing: Packing) -> Sender {
        let attributes = [("role", "front"), ("_own", "1")];
        let attributes = attributes.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let fields = [("_container_name", "web"), ("_command", "say \"no\"")];
        Sender::with_fields(packing, "host", &fields, &BTreeMap::from(attributes))
    }

    fn sent(packing: Packing, stream: Stream, text: &[u8]) -> Vec<u8> {
        let time = Timestamp::from_unix(1_385_053_862, 307_299_999);
        let mut message = Vec::new();
        sender(packing).write(&mut message, Line::of(stream, time, text)).unwrap();
        message
    }

    const EXPECTED: &str = concat!(
        r#"{"version":"1.1","host":"host","short_message":"a \"b\" \ufffd","#,
        r#""timestamp":1385053862.307,"level":3,"_container_name":"web","_command":"say \"no\"","#,
        r#""_own":"1","_role":"front"}"#
    );

    fn expected() -> String {
        EXPECTED.replace("\\ufffd", "\u{fffd}")
    }

    #[test]
    fn a_line_is_an_object_with_the_fields_of_its_container() {
        let object = sent(Packing::Plain, Stream::Stderr, b"a \"b\" \xff\n");
        assert_eq!(String::from_utf8(object.clone()).unwrap(), expected());
        let value: Value = serde_json::from_slice(&object).unwrap();
        assert_eq!(value["timestamp"], 1_385_053_862.307);
        let stdout: Value =
            serde_json::from_slice(&sent(Packing::Plain, Stream::Stdout, b"x\n")).unwrap();
        assert_eq!(stdout["level"], 6);
    }

    #[test]
    fn in_a_stream_a_zero_byte_ends_an_object_and_is_nowhere_in_it() {
        let message = sent(Packing::Zero, Stream::Stderr, b"a \"b\" \xff\n");
        assert_eq!(message, [expected().as_bytes(), b"\0"].concat());
        let message = sent(Packing::Zero, Stream::Stdout, b"zero \0\n");
        assert_eq!(message.iter().position(|&byte| byte == 0), Some(message.len() - 1));
    }

    #[test]
    fn datagrams_are_compressed_in_the_form_that_is_asked_for() {
        let line = b"a \"b\" \xff\n";
        let gzip = sent(Packing::Gzip(Compression::fast()), Stream::Stderr, line);
        assert_eq!(gzip[..2], [0x1f, 0x8b]);
        let mut text = String::new();
        flate2::read::GzDecoder::new(&*gzip).read_to_string(&mut text).unwrap();
        assert_eq!(text, expected());
        let zlib = sent(Packing::Zlib(Compression::default()), Stream::Stderr, line);
        assert_eq!(zlib[0], 0x78);
        text.clear();
        flate2::read::ZlibDecoder::new(&*zlib).read_to_string(&mut text).unwrap();
        assert_eq!(text, expected());
    }

    #[test]
    fn an_empty_line_is_no_message() {
        assert_eq!(sent(Packing::Zero, Stream::Stdout, b"\n"), b"");
    }

    #[test]
    fn a_message_that_is_too_long_for_a_datagram_comes_in_pieces() {
        let message: Vec<u8> = (0..=255).cycle().take(DATAGRAM).collect();
        let mut datagrams = Vec::new();
        cut(&mut datagrams, &message, *b"identity").unwrap();
        assert_eq!(datagrams, message);
        let message: Vec<u8> = (0..=255).cycle().take(2 * (DATAGRAM - HEAD) + 1).collect();
        let mut datagrams = Vec::new();
        cut(&mut datagrams, &message, *b"identity").unwrap();
        let datagrams: Vec<&[u8]> = datagrams.chunks(DATAGRAM).collect();
        assert_eq!(datagrams.len(), 3);
        assert_eq!(datagrams[0][..HEAD], *b"\x1e\x0fidentity\x00\x03");
        assert_eq!(datagrams[1][..HEAD], *b"\x1e\x0fidentity\x01\x03");
        assert_eq!(datagrams[2], [b"\x1e\x0fidentity\x02\x03", &message[2816..]].concat());
        let together = datagrams.iter().flat_map(|datagram| &datagram[HEAD..]);
        assert!(together.eq(&message));
        let longest = PIECES * (DATAGRAM - HEAD);
        let fits = cut(&mut Vec::new(), &vec![0; longest], [0; 8]);
        assert!(fits.is_ok() && cut(&mut Vec::new(), &vec![0; longest + 1], [0; 8]).is_err());
    }

    #[test]
    fn options_are_those_that_docker_takes() {
        let udp = ("address", "udp://logs:12201");
        let read = options(&[udp]).unwrap();
        assert_eq!(read.packing, Packing::Gzip(Compression::fast()));
        assert_eq!((read.manner().datagram, read.limits(9).retries), (DATAGRAM, 0));
        let read = options(&[udp, ("compression-type", "zlib"), ("compression-level", "-1")]);
        assert_eq!(read.unwrap().packing, Packing::Zlib(Compression::default()));
        assert_eq!(options(&[udp, ("compression-type", "none")]).unwrap().packing, Packing::Plain);
        let tcp = ("address", "tcp://[fe80::1]:12201");
        let read = options(&[tcp]).unwrap();
        assert_eq!((read.packing, read.delay), (Packing::Zero, Duration::from_secs(1)));
        assert_eq!((read.limits(9).size, read.limits(9).retries), (9, 3));
        let read = options(&[tcp, ("tcp-max-reconnect", "0"), ("tcp-reconnect-delay", "7")]);
        let read = read.unwrap();
        assert_eq!((read.retries, read.manner().rest), (0, Duration::from_secs(7)));
    }

    #[test]
    fn what_docker_refuses_is_refused() {
        let (udp, tcp) = (("address", "udp://logs:1"), ("address", "tcp://logs:1"));
        for (pairs, part) in [
            (&[][..], "gelf-address is a required parameter"),
            (&[("address", "logs:1")], "should be in form proto://address, got logs:1"),
            (&[("address", "http://logs:1")], "needs to be TCP or UDP"),
            (&[("address", "udp://logs")], "please provide it as proto://host:port"),
            (&[("address", "udp://:1")], "please provide it as proto://host:port"),
            (&[udp, ("compression-type", "lz4")], "unknown value \"lz4\""),
            (&[udp, ("compression-level", "10")], "unknown value \"10\""),
            (&[udp, ("tcp-max-reconnect", "1")], "is only valid for TCP"),
            (&[tcp, ("compression-type", "none")], "compression is only supported on UDP"),
            (&[tcp, ("tcp-reconnect-delay", "-1")], "must be a positive integer"),
        ] {
            let said = options(pairs).unwrap_err();
            assert!(said.contains(part), "{pairs:?}: {said}");
        }
    }
}
