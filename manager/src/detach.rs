//! The keys that leave a container without ending it: Docker's `--detach-keys`, ctrl-p and ctrl-q by default.

use crate::error::{Error, Result};
use crate::preferences;

/// Docker's default.
const DEFAULT: [u8; 2] = [16, 17];

/// A sequence of keys, as a terminal sends them. An empty one is never typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetachKeys(Vec<u8>);

impl DetachKeys {
    /// What was asked for, else what Docker's own configuration says, else the default.
    pub fn find(asked: Option<&str>) -> Result<Self> {
        match asked.map(str::to_owned).or_else(|| preferences::text("detachKeys")) {
            Some(text) => Self::parse(&text),
            None => Ok(Self(DEFAULT.to_vec())),
        }
    }

    /// Reads a list of keys: a letter, or `ctrl-` and one of `a-z @ [ \ ] ^ _`, with commas between.
    pub fn parse(text: &str) -> Result<Self> {
        let key = |name: &str| match name.as_bytes() {
            [key] => Some(*key),
            [b'c', b't', b'r', b'l', b'-', key] => match key {
                b'a'..=b'z' => Some(key - b'a' + 1),
                b'@' | b'[' | b'\\' | b']' | b'^' | b'_' => Some(key - b'@'),
                _ => None,
            },
            // As Docker's own parser: nothing typed, nothing to watch for.
            _ => None,
        };
        if text.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let keys: Option<Vec<u8>> = text.split(',').map(key).collect();
        keys.map(Self).ok_or_else(|| {
            Error::Usage(format!(
                "invalid detach keys ({text}) provided: each is a letter, or `ctrl-` and one of a-z, @, [, \\, ], ^ and _"
            ))
        })
    }
}

/// Watches what is typed for the keys.
#[derive(Debug)]
pub struct Watcher {
    keys: Vec<u8>,
    /// How many of them were typed last: held back until it is clear what follows.
    typed: usize,
}

impl Watcher {
    /// Nothing is typed yet.
    #[must_use]
    pub fn new(keys: DetachKeys) -> Self {
        Self { keys: keys.0, typed: 0 }
    }

    /// What of `input` is for the container, and whether the keys were typed. What comes after them is dropped.
    pub fn pass(&mut self, input: &[u8]) -> (Vec<u8>, bool) {
        let mut out = Vec::with_capacity(input.len() + self.typed);
        if self.keys.is_empty() {
            out.extend_from_slice(input);
            return (out, false);
        }
        for &byte in input {
            // The longest beginning of the keys that what was typed, and this, ends with.
            while self.typed > 0 && self.keys[self.typed] != byte {
                let shorter = self.shorter();
                out.extend_from_slice(&self.keys[..self.typed - shorter]);
                self.typed = shorter;
            }
            if self.keys[self.typed] == byte {
                self.typed += 1;
            } else {
                out.push(byte);
            }
            if self.typed == self.keys.len() {
                self.typed = 0;
                return (out, true);
            }
        }
        (out, false)
    }

    /// The next shorter beginning of the keys with which what is held back ends.
    fn shorter(&self) -> usize {
        let held = &self.keys[..self.typed];
        (0..self.typed).rev().find(|&length| held.ends_with(&self.keys[..length])).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_in_dockers_syntax() {
        let keys = |text: &str| DetachKeys::parse(text).map(|keys| keys.0).ok();
        assert_eq!(keys("ctrl-p,ctrl-q"), Some(vec![16, 17]));
        assert_eq!(keys("a,b,ctrl-a"), Some(vec![b'a', b'b', 1]));
        assert_eq!(
            keys("ctrl-@,ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_"),
            Some(vec![0, 27, 28, 29, 30, 31])
        );
        for wrong in ["ctrl-P", "ab", "ctrl-", "ctrl-1", "a,,b"] {
            assert_eq!(keys(wrong), None, "{wrong}");
        }
    }

    fn typed(keys: &str, pieces: &[&[u8]]) -> (Vec<u8>, bool) {
        let mut watcher = Watcher::new(DetachKeys::parse(keys).unwrap());
        let mut passed = Vec::new();
        for piece in pieces {
            let (out, detached) = watcher.pass(piece);
            passed.extend(out);
            if detached {
                return (passed, true);
            }
        }
        (passed, false)
    }

    #[test]
    fn the_keys_are_found_across_reads_and_everything_else_is_passed_on() {
        assert_eq!(typed("ctrl-p,ctrl-q", &[b"ab\x10", b"\x11zz"]), (b"ab".to_vec(), true));
        assert_eq!(
            typed("ctrl-p,ctrl-q", &[b"\x10x\x10", b"\x10\x11"]),
            (b"\x10x\x10".to_vec(), true)
        );
        assert_eq!(typed("a,a,b", &[b"aaab"]), (b"a".to_vec(), true));
        assert_eq!(typed("a,b,a,c", &[b"ababac"]), (b"ab".to_vec(), true));
        assert_eq!(typed("", &[b"\x10\x11"]), (b"\x10\x11".to_vec(), false));
    }
}
