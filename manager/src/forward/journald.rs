//! Messages for systemd's journal in its own protocol: fields, one below the other, in a datagram.
//!
//! <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>. The names of the fields are Docker's, so that filters such as
//! `journalctl CONTAINER_NAME=web` find the same.

use super::Line;
use crate::container::Record;

/// Where the journal listens.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";

/// What all messages of a container have in common, as it is sent.
#[derive(Debug)]
pub(super) struct Fields(Vec<u8>);

impl Fields {
    pub(super) fn of(record: &Record, tag: &str) -> Self {
        let mut fields = Vec::new();
        for (name, value) in [
            ("CONTAINER_ID", record.id.short()),
            ("CONTAINER_ID_FULL", record.id.as_str()),
            ("CONTAINER_NAME", record.name.as_str()),
            ("CONTAINER_TAG", tag),
            ("IMAGE_NAME", &record.image.name),
            ("SYSLOG_IDENTIFIER", tag),
        ] {
            field(&mut fields, name, value.as_bytes());
        }
        for (name, value) in &record.supervision.log.attributes {
            let name = field_name(name);
            if !name.is_empty() {
                field(&mut fields, &name, value.as_bytes());
            }
        }
        Self(fields)
    }

    /// Appends the message of a line.
    pub(super) fn write(&self, message: &mut Vec<u8>, line: Line<'_>) {
        field(message, "MESSAGE", line.text);
        field(message, "PRIORITY", &[b'0' + line.severity()]);
        field(message, "SYSLOG_TIMESTAMP", line.time.to_string().as_bytes());
        message.extend_from_slice(&self.0);
        if line.partial {
            field(message, "CONTAINER_PARTIAL_MESSAGE", b"true");
        }
    }
}

/// A field: `NAME=value`, or with its length where the value has a newline.
fn field(message: &mut Vec<u8>, name: &str, value: &[u8]) {
    message.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') {
        message.push(b'\n');
        message.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        message.push(b'=');
    }
    message.extend_from_slice(value);
    message.push(b'\n');
}

/// The name of a label or variable as the journal takes it: capitals, digits and underscores, the first no underscore and
/// no digit, 64 at most.
fn field_name(name: &str) -> String {
    let allowed =
        |char: char| if char.is_ascii_alphanumeric() { char.to_ascii_uppercase() } else { '_' };
    let name: String = name.chars().map(allowed).collect();
    name.trim_start_matches(|char: char| !char.is_ascii_uppercase()).chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::stream::Stream;

    #[test]
    fn a_line_is_a_message_with_the_fields_of_its_container() {
        let mut fields = Vec::new();
        field(&mut fields, "CONTAINER_NAME", b"web");
        field(&mut fields, "NOTE", b"two\nlines");
        let mut message = Vec::new();
        let time = Timestamp::from_unix(0, 5);
        Fields(fields).write(&mut message, Line::of(Stream::Stderr, time, b"oh \xff\n"));
        let expected = [
            &b"MESSAGE=oh \xff\nPRIORITY=3\nSYSLOG_TIMESTAMP=1970-01-01T00:00:00.000000005Z\n"[..],
            b"CONTAINER_NAME=web\nNOTE\n\x09\0\0\0\0\0\0\0two\nlines\n",
        ];
        assert_eq!(message, expected.concat());
    }

    #[test]
    fn what_goes_on_is_marked() {
        let message = |piece: &[u8]| {
            let mut message = Vec::new();
            let line = Line::of(Stream::Stdout, Timestamp::from_unix(0, 0), piece);
            Fields(Vec::new()).write(&mut message, line);
            String::from_utf8(message).unwrap()
        };
        let mark = "\nCONTAINER_PARTIAL_MESSAGE=true\n";
        let part = message(&vec![b'x'; crate::stream::LONGEST_LINE]);
        assert!(part.contains("PRIORITY=6\n") && part.ends_with(mark), "{part}");
        assert!(!message(b"the last word").contains(mark));
    }

    #[test]
    fn names_are_made_such_that_the_journal_takes_them() {
        for (name, expected) in [
            ("com.example/role", "COM_EXAMPLE_ROLE"),
            ("_private", "PRIVATE"),
            ("9lives", "LIVES"),
            ("__", ""),
            ("größe", "GR__E"),
        ] {
            assert_eq!(field_name(name), expected, "{name}");
        }
        assert_eq!(field_name(&"x".repeat(70)).len(), 64);
    }
}
