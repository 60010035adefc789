//! The encoding of Protocol Buffers, as far as criu's messages need it.
//!
//! Four messages are written and one is read, all of numbers, strings and messages in them: a library for that would be larger
//! than everything else that checkpoint and restore do (docs/dependencies.md). Reading is total: any bytes give fields or an
//! error, unknown fields are skipped.

/// A message that is being written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message(Vec<u8>);

const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const BYTES: u32 = 2;
const FIXED32: u32 = 5;

impl Message {
    /// Adds a `bool`.
    pub fn switch(&mut self, field: u32, on: bool) -> &mut Message {
        self.unsigned(field, on.into())
    }

    /// Adds an `int32` or an enum. Negative ones take ten bytes, as numbers of 64 bits.
    pub fn number(&mut self, field: u32, value: i32) -> &mut Message {
        self.unsigned(field, i64::from(value).cast_unsigned())
    }

    /// Adds a `uint32` or `uint64`.
    pub fn unsigned(&mut self, field: u32, value: u64) -> &mut Message {
        self.varint((field << 3 | VARINT).into());
        self.varint(value);
        self
    }

    /// Adds a `string` or `bytes`.
    pub fn bytes(&mut self, field: u32, value: &[u8]) -> &mut Message {
        self.varint((field << 3 | BYTES).into());
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    /// Adds a string, if there is one.
    pub fn string(&mut self, field: u32, value: Option<&str>) -> &mut Message {
        if let Some(value) = value {
            self.bytes(field, value.as_bytes());
        }
        self
    }

    /// Adds a message.
    pub fn message(&mut self, field: u32, value: &Message) -> &mut Message {
        self.bytes(field, &value.0)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Seven bits a byte, the lowest first; the eighth says that more follow.
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

/// The value of a field that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A number, an enum or a `bool`.
    Number(u64),
    /// A string, bytes or a message.
    Bytes(&'a [u8]),
    /// Of a kind that no message of criu's has.
    Other,
}

impl<'a> Value<'a> {
    /// As `int32`; 0 if it is something else.
    pub fn number(self) -> i32 {
        match self {
            Value::Number(value) => value as u32 as i32,
            _ => 0,
        }
    }

    /// As bytes; none if it is something else.
    pub fn bytes(self) -> &'a [u8] {
        match self {
            Value::Bytes(value) => value,
            _ => &[],
        }
    }

    /// As text, with what is no UTF-8 replaced, up to a NUL: criu's own strings end there, and its messages come with what follows.
    pub fn text(self) -> String {
        let text = self.bytes().split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(text).into_owned()
    }
}

/// The fields of a message with their numbers, in their order; `None` when the bytes are no message.
pub fn fields(mut bytes: &[u8]) -> Option<Vec<(u32, Value<'_>)>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = take_varint(&mut bytes)?;
        let value = match (key & 7) as u32 {
            VARINT => Value::Number(take_varint(&mut bytes)?),
            BYTES => {
                let length = usize::try_from(take_varint(&mut bytes)?).ok()?;
                Value::Bytes(take(&mut bytes, length)?)
            }
            FIXED64 => take(&mut bytes, 8).map(|_| Value::Other)?,
            FIXED32 => take(&mut bytes, 4).map(|_| Value::Other)?,
            _ => return None,
        };
        fields.push((u32::try_from(key >> 3).ok()?, value));
    }
    Some(fields)
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = take(bytes, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_those_of_the_format() {
        // The examples of the format's own documentation: 150 in field 1, "testing" in field 2.
        let mut message = Message::default();
        message.unsigned(1, 150).string(2, Some("testing")).string(3, None);
        assert_eq!(message.as_bytes(), b"\x08\x96\x01\x12\x07testing");
        let mut outer = Message::default();
        outer.message(3, &message).switch(4, true).number(5, -1);
        assert_eq!(
            outer.as_bytes(),
            b"\x1a\x0c\x08\x96\x01\x12\x07testing\x20\x01\x28\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"
        );
    }

    #[test]
    fn what_is_written_can_be_read() {
        let mut message = Message::default();
        message.number(1, -7).unsigned(200, u64::MAX).bytes(3, b"\0\xff").switch(4, false);
        let fields = fields(message.as_bytes()).unwrap();
        assert_eq!(fields[0].1.number(), -7);
        assert_eq!(fields[1], (200, Value::Number(u64::MAX)));
        assert_eq!(fields[2], (3, Value::Bytes(b"\0\xff")));
        assert_eq!(fields[3], (4, Value::Number(0)));
    }

    #[test]
    fn text_ends_where_criu_s_does() {
        assert_eq!(Value::Bytes(b"vdso: U\0\0\0").text(), "vdso: U");
        assert_eq!(Value::Bytes(b"").text(), "");
    }

    #[test]
    fn no_bytes_make_the_reader_fail_in_another_way() {
        for bytes in [
            &b"\x80"[..],
            b"\x08",
            b"\x12\x05abc",
            b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01a",
            b"\x0b",
            b"\x09abc",
            &[0xff; 40],
        ] {
            assert_eq!(fields(bytes), None, "{bytes:?}");
        }
        assert_eq!(fields(b"\x0d1234\x1112345678").unwrap().len(), 2);
        assert_eq!(fields(b""), Some(Vec::new()));
    }
}
