//! The lines of Docker's json-file driver:
//!
//!     {"log":"hello\n","stream":"stdout","time":"2024-05-01T10:00:00.000000000Z"}
//!
//! Written and read by hand: a general parser takes five times as long as a copy, and a log is read far more often
//! than any other document of ours. Lines that look different, such as Docker's own, go through serde.

use super::{Entry, Stream, Text};
use memchr::{memchr, memchr2};

const HEAD: &[u8] = br#"{"log":""#;
const STDOUT: &[u8] = br#"","stream":"stdout""#;
const STDERR: &[u8] = br#"","stream":"stderr""#;
const TIME: &[u8] = br#","time":""#;
const ATTRIBUTES: &[u8] = br#","attrs":"#;
const TAIL: &[u8] = b"\"}";
/// A time of ours has always the same length.
const TIME_LENGTH: usize = 30;

/// Appends an entry. Bytes that are not UTF-8 become U+FFFD.
pub(super) fn write(out: &mut Vec<u8>, stream: Stream, text: &[u8], time: &str, attributes: &str) {
    out.extend_from_slice(HEAD);
    for chunk in text.utf8_chunks() {
        escape(out, chunk.valid().as_bytes());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    out.extend_from_slice(match stream {
        Stream::Stdout => STDOUT,
        Stream::Stderr => STDERR,
    });
    if !attributes.is_empty() {
        out.extend_from_slice(ATTRIBUTES);
        out.extend_from_slice(attributes.as_bytes());
    }
    out.extend_from_slice(TIME);
    out.extend_from_slice(time.as_bytes());
    out.extend_from_slice(TAIL);
    out.push(b'\n');
}

fn escape(out: &mut Vec<u8>, text: &[u8]) {
    let mut plain = 0;
    for (at, &byte) in text.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' && byte != 0x7f {
            continue;
        }
        out.extend_from_slice(&text[plain..at]);
        plain = at + 1;
        match byte {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            byte => {
                const DIGITS: &[u8; 16] = b"0123456789abcdef";
                let digit = |nibble: u8| DIGITS[usize::from(nibble)];
                out.extend_from_slice(&[
                    b'\\',
                    b'u',
                    b'0',
                    b'0',
                    digit(byte >> 4),
                    digit(byte & 15),
                ]);
            }
        }
    }
    out.extend_from_slice(&text[plain..]);
}

/// What follows the text of a line that ends: up to its time.
const ENDED: [(Stream, &[u8]); 2] = [
    (Stream::Stdout, br#"\n","stream":"stdout","time":""#),
    (Stream::Stderr, br#"\n","stream":"stderr","time":""#),
];

/// Reads the line that a block begins with and says how long it is, if it is the most frequent kind: a whole line of
/// ours in which nothing is escaped but its end. One search finds that, and all the rest stands at a fixed distance. A line that is a
/// piece of a longer one has no such end: what is searched for ends with it.
pub(super) fn read_whole(block: &[u8]) -> Option<(Entry<'_>, usize)> {
    let rest = block.strip_prefix(HEAD)?;
    let (text, rest) = rest.split_at(memchr2(b'\\', b'\n', rest)?);
    let (stream, rest) =
        ENDED.iter().find_map(|(stream, end)| Some((*stream, rest.strip_prefix(*end)?)))?;
    let (time, rest) = rest.split_at_checked(TIME_LENGTH)?;
    let rest = rest.strip_prefix(TAIL)?.strip_prefix(b"\n")?;
    let entry = Entry { stream, time, text: Text::Line(text), attributes: b"" };
    Some((entry, block.len() - rest.len()))
}

/// Reads a line, without its newline. `None` where it does not look like one of ours.
pub(super) fn read(line: &[u8]) -> Option<Entry<'_>> {
    let rest = line.strip_prefix(HEAD)?.strip_suffix(TAIL)?;
    let (rest, time) = rest.split_at_checked(rest.len().checked_sub(TIME_LENGTH)?)?;
    let rest = rest.strip_suffix(TIME)?;
    if let Some(text) = rest.strip_suffix(STDOUT) {
        return Some(Entry {
            stream: Stream::Stdout,
            time,
            text: Text::Escaped(text),
            attributes: b"",
        });
    }
    if let Some(text) = rest.strip_suffix(STDERR) {
        return Some(Entry {
            stream: Stream::Stderr,
            time,
            text: Text::Escaped(text),
            attributes: b"",
        });
    }
    None
}

/// A line that [`read`] does not know: one with attributes, or one that somebody else has written.
#[derive(serde::Deserialize)]
pub(super) struct Foreign {
    #[serde(default)]
    log: String,
    stream: Stream,
    #[serde(default)]
    attrs: Option<serde_json::Value>,
    time: crate::clock::Timestamp,
    #[serde(skip)]
    texts: [String; 2],
}

impl Foreign {
    /// Reads a line; `None` where it is damaged: what was cut off by a full disk is not worth losing the rest for.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let mut foreign: Self = serde_json::from_slice(line).ok()?;
        let attributes = foreign.attrs.as_ref().map(ToString::to_string).unwrap_or_default();
        foreign.texts = [foreign.time.to_string(), attributes];
        Some(foreign)
    }

    pub(super) fn entry(&self) -> Entry<'_> {
        Entry {
            stream: self.stream,
            time: self.texts[0].as_bytes(),
            text: Text::Plain(self.log.as_bytes()),
            attributes: self.texts[1].as_bytes(),
        }
    }
}

/// Appends what escaped text stands for.
pub(super) fn unescape(out: &mut Vec<u8>, text: &[u8]) {
    // Nearly every line has one escape, the newline at its end.
    if let Some(line) = text.strip_suffix(b"\\n")
        && memchr(b'\\', line).is_none()
    {
        out.extend_from_slice(line);
        out.push(b'\n');
        return;
    }
    let mut rest = text;
    while let Some(at) = memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        rest = escaped(out, &rest[at + 1..]);
    }
    out.extend_from_slice(rest);
}

/// One escape, after its backslash; returns what follows it. What is none is left out.
fn escaped<'a>(out: &mut Vec<u8>, rest: &'a [u8]) -> &'a [u8] {
    let Some((&kind, rest)) = rest.split_first() else { return rest };
    let byte = match kind {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'f' => 12,
        b'u' => return code_point(out, rest),
        byte => byte,
    };
    out.push(byte);
    rest
}

fn code_point<'a>(out: &mut Vec<u8>, rest: &'a [u8]) -> &'a [u8] {
    let Some((first, mut rest)) = hex(rest) else { return rest };
    let mut code = first;
    if (0xd800..0xdc00).contains(&first)
        && let Some((second, after)) = rest.strip_prefix(b"\\u").and_then(hex)
        && (0xdc00..0xe000).contains(&second)
    {
        code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        rest = after;
    }
    let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    rest
}

fn hex(text: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, rest) = text.split_at_checked(4)?;
    let digits = std::str::from_utf8(digits).ok()?;
    Some((u32::from_str_radix(digits, 16).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME_TEXT: &str = "2024-05-01T10:00:00.000000000Z";

    fn line(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out, Stream::Stderr, text, TIME_TEXT, "");
        assert_eq!(out.pop(), Some(b'\n'));
        out
    }

    #[test]
    fn what_is_written_is_json_for_everybody_and_reads_back_as_it_was() {
        for text in [
            "hello\n",
            "",
            "\n",
            "a\tb\r\n",
            "\"quoted\" \\n\n",
            "\u{1}\u{7f}\u{1f}x",
            "äöü €𝄞\n",
            "\\\n",
            "\\\\n",
        ] {
            let line = line(text.as_bytes());
            let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
            assert_eq!(value["log"], text);
            assert_eq!((&value["stream"], &value["time"]), (&"stderr".into(), &TIME_TEXT.into()));
            let entry = read(&line).unwrap();
            assert_eq!((entry.stream, entry.time), (Stream::Stderr, TIME_TEXT.as_bytes()));
            let Text::Escaped(escaped) = entry.text else { panic!("{entry:?}") };
            let mut back = Vec::new();
            unescape(&mut back, escaped);
            assert_eq!(String::from_utf8(back).unwrap(), text);
        }
    }

    #[test]
    fn bytes_that_are_not_text_are_replaced() {
        let value: serde_json::Value = serde_json::from_slice(&line(b"a\xffb\n")).unwrap();
        assert_eq!(value["log"], "a\u{fffd}b\n");
    }

    #[test]
    fn lines_that_others_have_written_are_read_too() {
        let docker = br#"{"log":"\u003cb\u003e \ud834\udd1e\n","stream":"stdout","attrs":{"k":"v"},"time":"2024-05-01T10:00:00.5Z"}"#;
        assert_eq!(read(docker), None);
        let foreign = Foreign::parse(docker).unwrap();
        let entry = foreign.entry();
        assert_eq!(entry.text, Text::Plain("<b> 𝄞\n".as_bytes()));
        assert_eq!(entry.time, b"2024-05-01T10:00:00.500000000Z");
        assert_eq!(entry.attributes, br#"{"k":"v"}"#);
        let mut out = Vec::new();
        unescape(&mut out, br"\u003cb\u003e \ud834\udd1e\n");
        assert_eq!(out, "<b> 𝄞\n".as_bytes());
        assert!(Foreign::parse(br#"{"log":"cut of"#).is_none());
    }

    #[test]
    fn lines_are_marked_with_attributes() {
        let mut out = Vec::new();
        write(&mut out, Stream::Stdout, b"x\n", TIME_TEXT, r#"{"a":"1"}"#);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\"log\":\"x\\n\",\"stream\":\"stdout\",\"attrs\":{\"a\":\"1\"},\"time\":\"2024-05-01T10:00:00.000000000Z\"}\n"
        );
    }
}
