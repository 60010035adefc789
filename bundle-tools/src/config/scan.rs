//! Where each value of a JSON text is: used only after something was found wrong, so that a
//! correct `config.json` is parsed once and never scanned.
//!
//! The text is one that `serde_json` has accepted as JSON, or a prefix of it is. On anything else
//! the scan stops early; it never panics, never recurses and never allocates by the input's depth
//! beyond one small frame per open container.

use std::collections::HashMap;
use std::ops::Range;

/// A place in a text, counted from 1; columns count characters, as editors do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The character in the line.
    pub column: usize,
}

impl Position {
    /// The position of the byte at `offset`, or of the end of the text if it is shorter.
    pub(super) fn of(text: &[u8], offset: usize) -> Self {
        Counter::new(text).advance(offset)
    }
}

/// Counts lines and columns forward, so that many sorted offsets cost one pass over the text.
pub(super) struct Counter<'a> {
    text: &'a [u8],
    offset: usize,
    position: Position,
}

impl<'a> Counter<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Counter { text, offset: 0, position: Position { line: 1, column: 1 } }
    }

    /// The position of `offset`, which must not lie before the offset asked for last.
    pub(super) fn advance(&mut self, offset: usize) -> Position {
        let end = offset.clamp(self.offset, self.text.len().max(self.offset));
        for byte in &self.text[self.offset..end] {
            match byte {
                b'\n' => {
                    self.position.line += 1;
                    self.position.column = 1;
                }
                // A continuation byte belongs to the character already counted.
                0x80..=0xbf => {}
                _ => self.position.column += 1,
            }
        }
        self.offset = end;
        self.position
    }
}

/// One value of a JSON text, reported when its end has been read: containers after their contents.
pub(super) struct Value<'a> {
    /// The JSON pointer of the value (RFC 6901).
    pub(super) pointer: &'a str,
    /// The value itself, as it is written.
    pub(super) raw: &'a str,
    /// Where the value is.
    pub(super) range: Range<usize>,
    /// Where its key is if it is a member of an object, else where the value is.
    pub(super) key: usize,
}

struct Container {
    object: bool,
    start: usize,
    key: usize,
    pointer_len: usize,
    next_index: usize,
}

/// No property of a configuration is as deep. Values that are deeper still are skipped, because
/// their pointers would cost the square of the depth; `serde_json` has the same limit for values
/// that it keeps.
const MAX_DEPTH: usize = 128;

/// Calls `visit` for each value of `text`, in the order in which they end.
pub(super) fn walk(text: &str, mut visit: impl FnMut(&Value<'_>)) {
    let mut report = |depth, pointer: &str, range: Range<usize>, key| {
        if depth <= MAX_DEPTH {
            let raw = text.get(range.clone()).unwrap_or_default();
            visit(&Value { pointer, raw, range, key });
        }
    };
    let mut cursor = Cursor { bytes: text.as_bytes(), at: 0 };
    let mut pointer = String::new();
    let mut open: Vec<Container> = Vec::new();
    cursor.skip_space();
    let mut key = cursor.at;
    while let Some(byte) = cursor.peek() {
        let start = cursor.at;
        if matches!(byte, b'{' | b'[') {
            let pointer_len = pointer.len();
            open.push(Container { object: byte == b'{', start, key, pointer_len, next_index: 0 });
            cursor.at += 1;
        } else {
            cursor.skip_scalar();
            report(open.len(), &pointer, start..cursor.at, key);
        }
        while let Some(container) = cursor.close(&mut open) {
            pointer.truncate(container.pointer_len);
            report(open.len(), &pointer, container.start..cursor.at, container.key);
        }
        let depth = open.len();
        let Some(container) = open.last_mut() else { return };
        pointer.truncate(container.pointer_len);
        let Some((at, step)) = cursor.next_member(text, container) else { return };
        key = at;
        if depth <= MAX_DEPTH {
            push_step(&mut pointer, &step);
        }
    }
}

/// The offset of the value at each of `pointers`, or of the nearest value around it that exists.
///
/// Where a key occurs twice the last one counts, as it does for every JSON parser that takes such
/// a text.
pub(super) fn locate<'p>(
    text: &str,
    pointers: impl Iterator<Item = &'p str> + Clone,
) -> HashMap<&'p str, usize> {
    let mut offsets: HashMap<&str, Option<usize>> = HashMap::new();
    for pointer in pointers.clone() {
        offsets.extend(ancestors(pointer).map(|around| (around, None)));
    }
    walk(text, |value| {
        if let Some(offset) = offsets.get_mut(value.pointer) {
            *offset = Some(value.range.start);
        }
    });
    let nearest = |pointer| ancestors(pointer).find_map(|around| offsets.get(around).copied()?);
    pointers.map(|pointer| (pointer, nearest(pointer).unwrap_or(0))).collect()
}

/// The JSON pointer of the value that a parser was at when it gave up after taking the byte at `offset`: a value that begins behind
/// that byte, of which it took nothing because it is of the wrong kind, or else the innermost one that the byte belongs to.
pub(super) fn pointer_at(text: &str, offset: usize) -> String {
    let mut cursor = Cursor { bytes: text.as_bytes(), at: offset.saturating_add(1) };
    cursor.skip_space();
    let (mut around, mut behind) = (None, None);
    walk(text, |value| {
        if value.range.start == cursor.at {
            behind = Some(value.pointer.to_owned());
        }
        if around.is_none() && value.range.contains(&offset) {
            around = Some(value.pointer.to_owned());
        }
    });
    behind.or(around).unwrap_or_default()
}

/// `pointer` itself, then the pointers of the values around it up to the whole document.
fn ancestors(pointer: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(pointer), |inner| Some(&inner[..inner.rfind('/')?]))
}

/// Appends one step to a JSON pointer, escaped as RFC 6901 demands.
pub(super) fn push_step(pointer: &mut String, step: &str) {
    pointer.push('/');
    for character in step.chars() {
        match character {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            other => pointer.push(other),
        }
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn skip_scalar(&mut self) {
        if self.peek() == Some(b'"') {
            self.skip_string();
            return;
        }
        // One byte is always taken, so that the walk moves on whatever the text is.
        self.at += 1;
        while self.peek().is_some_and(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b)) {
            self.at += 1;
        }
    }

    fn skip_string(&mut self) {
        self.at += 1;
        while let Some(byte) = self.peek() {
            self.at += if byte == b'\\' { 2 } else { 1 };
            if byte == b'"' {
                break;
            }
        }
        self.at = self.at.min(self.bytes.len());
    }

    /// Takes the innermost open container off, with its bracket, if it ends here.
    fn close(&mut self, open: &mut Vec<Container>) -> Option<Container> {
        self.skip_space();
        let bracket = if open.last()?.object { b'}' } else { b']' };
        if self.peek() != Some(bracket) {
            return None;
        }
        self.at += 1;
        open.pop()
    }

    /// Moves to the next member's value; gives where its key is and its step in a pointer.
    fn next_member(&mut self, text: &str, container: &mut Container) -> Option<(usize, String)> {
        if self.peek() == Some(b',') {
            self.at += 1;
            self.skip_space();
        }
        let start = self.at;
        if !container.object {
            let index = container.next_index;
            container.next_index += 1;
            return Some((start, index.to_string()));
        }
        if self.peek() != Some(b'"') {
            return None;
        }
        self.skip_string();
        let key = serde_json::from_str(text.get(start..self.at)?).ok()?;
        self.skip_space();
        if self.peek() != Some(b':') {
            return None;
        }
        self.at += 1;
        self.skip_space();
        Some((start, key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "{\n  \"a\": [1, {\"b\": null}],\n  \"é\": \"ü\", \"c/d~\": -1.5e3,\n  \"a\": 2\n}";

    fn at(text: &str, pointer: &str) -> (usize, usize) {
        let offset = locate(text, [pointer].into_iter())[pointer];
        let Position { line, column } = Position::of(text.as_bytes(), offset);
        (line, column)
    }

    #[test]
    fn a_pointer_leads_to_the_line_and_column_of_its_value() {
        assert_eq!(at(TEXT, ""), (1, 1));
        assert_eq!(at(TEXT, "/a/1/b"), (2, 18));
        assert_eq!(at(TEXT, "/é"), (3, 8));
        assert_eq!(at(TEXT, "/c~1d~0"), (3, 21), "columns count characters, not bytes");
    }

    #[test]
    fn of_a_key_that_occurs_twice_the_last_counts() {
        assert_eq!(at(TEXT, "/a"), (4, 8));
    }

    #[test]
    fn a_value_that_is_not_there_is_placed_at_what_is_around_it() {
        assert_eq!(at(TEXT, "/a/1/x/y"), (2, 12));
        assert_eq!(at(TEXT, "/nowhere"), (1, 1));
        assert_eq!(at("", "/x"), (1, 1));
    }

    #[test]
    fn where_a_parser_gave_up_is_a_value_behind_that_place_or_around_it() {
        let text = r#"{"a": [1, {"b": null}], "c": {"d": "x"}}"#;
        let at = |taken: &str| pointer_at(text, text.find(taken).unwrap() + taken.len() - 1);
        for (taken, pointer) in [
            (r#""a":"#, "/a"),
            ("[", "/a/0"),
            ("1, ", "/a/1"),
            ("null", "/a/1/b"),
            ("null}", "/a/1"),
            (r#""c""#, ""),
            (r#"{"d""#, "/c"),
            (r#""x""#, "/c/d"),
            (r#""x"}}"#, ""),
        ] {
            assert_eq!(at(taken), pointer, "{taken}");
        }
        assert_eq!(pointer_at("", 7), "");
    }

    #[test]
    fn values_are_visited_once_each_with_their_text() {
        let mut seen = Vec::new();
        walk(TEXT, |value| {
            assert_eq!(&TEXT[value.range.clone()], value.raw);
            seen.push(value.pointer.to_owned());
        });
        assert_eq!(seen, ["/a/0", "/a/1/b", "/a/1", "/a", "/é", "/c~1d~0", "/a", ""]);
    }

    #[test]
    fn text_that_is_not_json_ends_the_scan_without_a_panic() {
        let mutants = (0..TEXT.len()).filter(|end| TEXT.is_char_boundary(*end));
        for end in mutants {
            walk(&TEXT[..end], |_| ());
            walk(&TEXT[end..], |_| ());
        }
        for text in
            ["]", "}", ",", "{]", "[}", "{\"a\"}", "{\"a\" 1}", "\"\\", "[é", "[[[[", "{\"\\x\":1}"]
        {
            walk(text, |_| ());
        }
    }

    #[test]
    fn values_below_the_greatest_depth_are_skipped_and_the_scan_goes_on_after_them() {
        let deep = format!("[{}1{}, 2]", "[".repeat(200_000), "]".repeat(200_000));
        let mut pointers = Vec::new();
        walk(&deep, |value| pointers.push(value.pointer.to_owned()));
        assert_eq!(pointers.len(), MAX_DEPTH + 2);
        assert_eq!(pointers[0], "/0".repeat(MAX_DEPTH));
        assert_eq!(pointers[MAX_DEPTH..], ["/1", ""]);
    }
}
