//! What the pattern of `${NAME#pattern}`, `${NAME%pattern}` and `${NAME/pattern/replacement}` takes out of a value.
//!
//! Pure. Patterns are those of Docker's Dockerfile reference: `*` for any characters, `?` for one, and either without its meaning
//! behind an escape; brackets are characters like others.

/// A pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern(Vec<Element>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Element {
    /// Any characters, or none.
    Any,
    /// One character, whichever it is.
    One,
    Literal(char),
}

/// How much is taken where a pattern fits in several ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    Shortest,
    Longest,
}

impl Pattern {
    /// Reads a pattern in which `escape` takes the meaning from the next character.
    pub(super) fn parse(text: &str, escape: char) -> Result<Self, String> {
        let mut elements = Vec::new();
        let mut characters = text.chars();
        while let Some(c) = characters.next() {
            elements.push(match c {
                '*' => Element::Any,
                '?' => Element::One,
                c if c == escape => match characters.next() {
                    // The last two mean something to the substitution that the pattern stands in.
                    Some(c @ ('*' | '?' | '}' | '/')) => Element::Literal(c),
                    Some(c) if c == escape => Element::Literal(c),
                    other => {
                        let other = other.map(String::from).unwrap_or_default();
                        return Err(format!(
                            "invalid pattern ({text}) in substitution: invalid escape '{escape}{other}'"
                        ));
                    }
                },
                c => Element::Literal(c),
            });
        }
        Ok(Self(elements))
    }

    /// The value without what the pattern fits at its beginning.
    pub(super) fn without_prefix(&self, value: &str, reach: Reach) -> String {
        let value: Vec<char> = value.chars().collect();
        let taken = self.length(&value, reach).unwrap_or(0);
        value[taken..].iter().collect()
    }

    /// The value without what the pattern fits at its end.
    pub(super) fn without_suffix(&self, value: &str, reach: Reach) -> String {
        let backwards: Vec<char> = value.chars().rev().collect();
        let pattern = Self(self.0.iter().rev().copied().collect());
        let taken = pattern.length(&backwards, reach).unwrap_or(0);
        backwards[taken..].iter().rev().collect()
    }

    /// The value with a replacement for the first part that the pattern fits, as long as it can be; or for each such part.
    pub(super) fn replace(&self, value: &str, replacement: &str, each: bool) -> String {
        let value: Vec<char> = value.chars().collect();
        let (mut out, mut at) = (String::new(), 0);
        let mut open = !self.0.is_empty();
        loop {
            let found = if open { self.length(&value[at..], Reach::Longest) } else { None };
            match found.filter(|length| *length > 0 || value.is_empty()) {
                Some(length) => {
                    out.push_str(replacement);
                    at += length;
                    open = each && length > 0;
                }
                None => {
                    let Some(c) = value.get(at) else { return out };
                    out.push(*c);
                    at += 1;
                }
            }
        }
    }

    /// How many of the first characters the pattern fits. All its elements that a character may be about are followed at once, so
    /// that many stars take no longer than one.
    fn length(&self, text: &[char], reach: Reach) -> Option<usize> {
        let mut reached = vec![false; self.0.len() + 1];
        reached[0] = true;
        self.skip_stars(&mut reached);
        let mut found = None;
        for length in 0..=text.len() {
            if reached[self.0.len()] {
                found = Some(length);
                if reach == Reach::Shortest {
                    break;
                }
            }
            let Some(c) = text.get(length) else { break };
            let mut next = vec![false; reached.len()];
            for (at, element) in self.0.iter().enumerate().filter(|(at, _)| reached[*at]) {
                match element {
                    Element::Any => next[at] = true,
                    Element::One => next[at + 1] = true,
                    Element::Literal(own) => next[at + 1] |= own == c,
                }
            }
            self.skip_stars(&mut next);
            reached = next;
        }
        found
    }

    /// A star may stand for nothing.
    fn skip_stars(&self, reached: &mut [bool]) {
        for (at, element) in self.0.iter().enumerate() {
            if reached[at] && *element == Element::Any {
                reached[at + 1] = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text, '\\').unwrap()
    }

    #[test]
    fn the_shortest_or_the_longest_beginning_or_end_is_taken() {
        let value = "foo/bar/foo.tar";
        for (text, shortest, longest) in [
            ("*/", "bar/foo.tar", "foo.tar"),
            ("f?o/", "bar/foo.tar", "bar/foo.tar"),
            ("*", value, ""),
            ("", value, value),
            ("bar", value, value),
            ("[f]", value, value),
        ] {
            assert_eq!(pattern(text).without_prefix(value, Reach::Shortest), shortest, "{text}");
            assert_eq!(pattern(text).without_prefix(value, Reach::Longest), longest, "{text}");
        }
        for (text, shortest, longest) in [
            ("/*", "foo/bar", "foo"),
            (".t?r", "foo/bar/foo", "foo/bar/foo"),
            ("*", value, ""),
            ("o*", "foo/bar/fo", "f"),
            ("foo", value, value),
        ] {
            assert_eq!(pattern(text).without_suffix(value, Reach::Shortest), shortest, "{text}");
            assert_eq!(pattern(text).without_suffix(value, Reach::Longest), longest, "{text}");
        }
    }

    #[test]
    fn the_first_or_each_part_that_fits_is_replaced() {
        for (text, value, first, each) in [
            ("a", "banana", "bXnana", "bXnXnX"),
            ("a?a", "banana", "bXna", "bXna"),
            ("n*", "banana", "baX", "baX"),
            ("*", "", "X", "X"),
            ("", "abc", "abc", "abc"),
            ("z", "abc", "abc", "abc"),
            ("ä", "äö", "Xö", "Xö"),
        ] {
            assert_eq!(pattern(text).replace(value, "X", false), first, "{text} {value}");
            assert_eq!(pattern(text).replace(value, "X", true), each, "{text} {value}");
        }
    }

    #[test]
    fn an_escape_takes_the_meaning_from_what_has_one_and_else_is_refused() {
        assert_eq!(pattern("\\*").without_prefix("*a", Reach::Longest), "a");
        assert_eq!(pattern("\\*").without_prefix("ba", Reach::Longest), "ba");
        assert_eq!(pattern("a\\\\").without_prefix("a\\b", Reach::Longest), "b");
        assert_eq!(pattern("\\}\\/").without_prefix("}/b", Reach::Longest), "b");
        let refused = Pattern::parse("a\\b", '\\').unwrap_err();
        assert_eq!(refused, "invalid pattern (a\\b) in substitution: invalid escape '\\b'");
        assert!(Pattern::parse("a\\", '\\').is_err());
    }

    #[test]
    fn many_stars_take_no_longer_than_one() {
        let value = "a".repeat(2000);
        assert_eq!(
            pattern(&("*a".repeat(500) + "b")).without_prefix(&value, Reach::Longest),
            value
        );
    }
}
