//! Messages of D-Bus: the few that we send, and what we read of the answers.
//!
//! Only what talking to systemd takes: calls with strings and properties out, and little-endian replies, errors and signals
//! in. The other side is systemd or the bus, both trusted; still every length is checked against what was received, and no
//! answer can make us allocate more than [`LIMIT`]. <https://dbus.freedesktop.org/doc/dbus-specification.html>

use crate::value::{Property, Value};

/// The longest message that is read, in bytes. Signals of a busy manager have a few kilobytes.
pub(crate) const LIMIT: usize = 4 << 20;
/// The part of a message that says how long the rest is, in bytes.
pub(crate) const PREFIX: usize = 16;

const CALL: u8 = 1;
const REPLY: u8 = 2;
const ERROR: u8 = 3;
const SIGNAL: u8 = 4;

/// Header fields by their codes.
mod field {
    pub(super) const PATH: u8 = 1;
    pub(super) const INTERFACE: u8 = 2;
    pub(super) const MEMBER: u8 = 3;
    pub(super) const ERROR_NAME: u8 = 4;
    pub(super) const REPLY_SERIAL: u8 = 5;
    pub(super) const DESTINATION: u8 = 6;
    pub(super) const SIGNATURE: u8 = 8;
}

/// A method call, but for its serial number.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) destination: &'a str,
    pub(crate) path: &'a str,
    pub(crate) interface: &'a str,
    pub(crate) member: &'a str,
    /// The types of what is in the body.
    pub(crate) signature: &'a str,
    pub(crate) body: Writer,
}

impl Call<'_> {
    /// The bytes of the message. On a connection without a bus there is no destination.
    pub(crate) fn encode(&self, serial: u32, on_bus: bool) -> Vec<u8> {
        let mut message = Writer::default();
        message.0.extend([b'l', CALL, 0, 1]);
        message.u32(u32::try_from(self.body.0.len()).unwrap_or(u32::MAX));
        message.u32(serial);
        message.array(8, |fields| {
            let mut text = |code, kind: &str, text: &str| {
                fields.align(8);
                fields.0.push(code);
                fields.signature(kind);
                fields.string(text);
            };
            text(field::PATH, "o", self.path);
            text(field::INTERFACE, "s", self.interface);
            text(field::MEMBER, "s", self.member);
            if on_bus {
                text(field::DESTINATION, "s", self.destination);
            }
            if !self.signature.is_empty() {
                fields.align(8);
                fields.0.push(field::SIGNATURE);
                fields.signature("g");
                fields.signature(self.signature);
            }
        });
        message.align(8);
        message.0.extend(&self.body.0);
        message.0
    }
}

/// Bytes in the order of D-Bus. Alignments count from the start, which for a body is a multiple of eight in its message.
#[derive(Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    /// `u`
    pub fn u32(&mut self, value: u32) {
        self.align(4);
        self.0.extend(value.to_le_bytes());
    }

    /// `s`, or an object path.
    pub fn string(&mut self, text: &str) {
        self.u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    fn signature(&mut self, text: &str) {
        self.0.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    /// The length before the elements does not count the padding to the first of them.
    fn array(&mut self, alignment: usize, elements: impl FnOnce(&mut Writer)) {
        self.u32(0);
        let place = self.0.len() - 4;
        self.align(alignment);
        let start = self.0.len();
        elements(self);
        let length = u32::try_from(self.0.len() - start).unwrap_or(u32::MAX);
        self.0[place..place + 4].copy_from_slice(&length.to_le_bytes());
    }

    /// `a(sv)`
    pub fn properties(&mut self, properties: &[Property]) {
        self.array(8, |list| {
            for Property { name, value } in properties {
                list.align(8);
                list.string(name);
                list.signature(&value.signature());
                list.value(value);
            }
        });
    }

    /// An empty array of structs.
    pub fn nothing(&mut self) {
        self.array(8, |_| {});
    }

    /// `au`
    pub fn numbers(&mut self, numbers: &[u32]) {
        self.array(4, |list| numbers.iter().for_each(|number| list.u32(*number)));
    }

    fn value(&mut self, value: &Value) {
        self.align(alignment(&value.signature()));
        match value {
            Value::Byte(value) => self.0.push(*value),
            Value::Bool(value) => self.u32(u32::from(*value)),
            Value::Int16(value) => self.0.extend(value.to_le_bytes()),
            Value::Uint16(value) => self.0.extend(value.to_le_bytes()),
            Value::Int32(value) => self.0.extend(value.to_le_bytes()),
            Value::Uint32(value) => self.0.extend(value.to_le_bytes()),
            Value::Int64(value) => self.0.extend(value.to_le_bytes()),
            Value::Uint64(value) => self.0.extend(value.to_le_bytes()),
            Value::Double(value) => self.0.extend(value.to_le_bytes()),
            Value::Text(text) | Value::ObjectPath(text) => self.string(text),
            Value::Array(element, values) => {
                self.array(alignment(element), |list| {
                    values.iter().for_each(|value| list.value(value));
                });
            }
            Value::Struct(fields) => fields.iter().for_each(|field| self.value(field)),
        }
    }
}

fn alignment(signature: &str) -> usize {
    match signature.bytes().next() {
        Some(b'y' | b'g' | b'v') => 1,
        Some(b'n' | b'q') => 2,
        Some(b'x' | b't' | b'd' | b'(' | b'{') => 8,
        _ => 4,
    }
}

/// What arrived, as far as it concerns us.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Received {
    /// The answer to the call with this serial number: the body and its signature.
    Reply { serial: u32, signature: String, body: Vec<u8> },
    /// The refusal of it.
    Error { serial: u32, name: String, message: String },
    /// A signal.
    Signal { member: String, body: Vec<u8> },
    /// Anything else.
    Other,
}

/// How many bytes follow the first [`PREFIX`] of a message; `None` when it is none, or too long.
pub(crate) fn rest(prefix: &[u8; PREFIX]) -> Option<usize> {
    let mut reader = Reader::new(prefix);
    let [endian, _, _, version] = reader.take(4)?.try_into().ok()?;
    if endian != b'l' || version != 1 {
        return None;
    }
    let body = reader.length()?;
    reader.u32()?;
    let fields = reader.length()?;
    let rest = fields.checked_next_multiple_of(8)?.checked_add(body)?;
    (rest <= LIMIT).then_some(rest)
}

/// Reads a whole message; `None` when it is not one.
pub(crate) fn decode(message: &[u8]) -> Option<Received> {
    let mut reader = Reader::new(message);
    let kind = reader.take(4)?[1];
    let body_length = reader.length()?;
    reader.u32()?;
    let mut fields = Fields::default();
    let end = reader.length()?.checked_add(PREFIX)?;
    while reader.at < end {
        fields.read(&mut reader)?;
    }
    reader.align(8)?;
    let body = reader.take(body_length)?.to_vec();
    let Fields { member, error, reply, signature } = fields;
    Some(match kind {
        REPLY => Received::Reply { serial: reply?, signature, body },
        ERROR => {
            let text = signature.starts_with('s').then(|| Reader::new(&body).string()).flatten();
            Received::Error { serial: reply?, name: error?, message: text.unwrap_or_default() }
        }
        SIGNAL => Received::Signal { member: member?, body },
        _ => Received::Other,
    })
}

#[derive(Default)]
struct Fields {
    member: Option<String>,
    error: Option<String>,
    reply: Option<u32>,
    signature: String,
}

impl Fields {
    fn read(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        reader.align(8)?;
        let code = reader.take(1)?[0];
        match (code, reader.signature()?.as_str()) {
            (field::MEMBER, "s") => self.member = Some(reader.string()?),
            (field::ERROR_NAME, "s") => self.error = Some(reader.string()?),
            (field::REPLY_SERIAL, "u") => self.reply = Some(reader.u32()?),
            (field::SIGNATURE, "g") => self.signature = reader.signature()?,
            (_, "s" | "o") => drop(reader.string()?),
            (_, "u") => drop(reader.u32()?),
            (_, "g") => drop(reader.signature()?),
            _ => return None,
        }
        Some(())
    }
}

/// Takes a message apart; `None` where it ends too early.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Of a body.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(taken)
    }

    fn align(&mut self, to: usize) -> Option<()> {
        self.take(self.at.next_multiple_of(to) - self.at).map(drop)
    }

    /// A number.
    pub fn u32(&mut self) -> Option<u32> {
        self.align(4)?;
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(self.u32()?).ok()
    }

    /// A string or an object path.
    pub fn string(&mut self) -> Option<String> {
        let length = self.length()?;
        let text = String::from_utf8(self.take(length)?.to_vec()).ok()?;
        self.take(1)?;
        Some(text)
    }

    /// A type, in D-Bus's letters.
    pub fn signature(&mut self) -> Option<String> {
        let length = usize::from(self.take(1)?[0]);
        let text = String::from_utf8(self.take(length)?.to_vec()).ok()?;
        self.take(1)?;
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call() -> Vec<u8> {
        let mut body = Writer::default();
        body.string("a.scope");
        body.properties(&[
            Property::new("Delegate", Value::Bool(true)),
            Property::new("PIDs", Value::Array("u".into(), vec![Value::Uint32(7)])),
            Property::new("MemoryMax", Value::Uint64(1 << 30)),
        ]);
        body.nothing();
        let call = Call {
            destination: "org.example",
            path: "/a",
            interface: "org.example.I",
            member: "M",
            signature: "sa(sv)a(sa(sv))",
            body,
        };
        call.encode(5, true)
    }

    #[test]
    fn a_call_has_the_bytes_that_the_specification_gives_it() {
        let mut body = Writer::default();
        body.properties(&[Property::new("B", Value::Uint64(0x0102))]);
        #[rustfmt::skip]
        let expected = [
            // The length of the array; its elements start at a multiple of eight, which is not counted.
            24, 0, 0, 0, 0, 0, 0, 0,
            1, 0, 0, 0, b'B', 0, 1, b't', 0, 0, 0, 0, 0, 0, 0, 0,
            2, 1, 0, 0, 0, 0, 0, 0,
        ];
        assert_eq!(body.0.len(), expected.len());
        assert_eq!(body.0, expected);
    }

    #[test]
    fn a_message_says_how_long_it_is() {
        let message = call();
        let prefix = message[..PREFIX].try_into().unwrap();
        assert_eq!(rest(&prefix), Some(message.len() - PREFIX));
        assert_eq!(decode(&message), Some(Received::Other), "a call is none of our answers");
    }

    #[test]
    fn cut_or_changed_messages_are_refused_and_never_read_past_their_end() {
        let mut reply = Writer::default();
        reply.0.extend([b'l', REPLY, 0, 1]);
        reply.u32(8);
        reply.u32(9);
        reply.array(8, |fields| {
            fields.0.push(field::REPLY_SERIAL);
            fields.signature("u");
            fields.u32(5);
            fields.align(8);
            fields.0.push(field::SIGNATURE);
            fields.signature("g");
            fields.signature("o");
        });
        reply.align(8);
        reply.string("/x/");
        let whole = Received::Reply {
            serial: 5,
            signature: "o".into(),
            body: [3, 0, 0, 0, b'/', b'x', b'/', 0].to_vec(),
        };
        assert_eq!(decode(&reply.0), Some(whole));
        for length in 0..reply.0.len() {
            assert_eq!(decode(&reply.0[..length]), None, "{length} bytes of it");
        }
        for place in 0..reply.0.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut changed = reply.0.clone();
                changed[place] = value;
                // Whatever it is now: there is an answer, and no panic.
                let _ = decode(&changed);
                let _ = rest(changed[..PREFIX].try_into().unwrap());
            }
        }
    }

    #[test]
    fn a_message_that_claims_to_be_huge_is_not_read() {
        let mut prefix = [0; PREFIX];
        prefix[..4].copy_from_slice(&[b'l', REPLY, 0, 1]);
        prefix[4..8].copy_from_slice(&(5_u32 << 20).to_le_bytes());
        assert_eq!(rest(&prefix), None);
        prefix[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        prefix[12..].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(rest(&prefix), None);
        prefix[0] = b'B';
        assert_eq!(rest(&prefix), None, "the other byte order");
    }
}
