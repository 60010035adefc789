//! Patterns for names as Go's `path.Match` has them, by which Docker compares: `*` and `?` stand for anything but `/`, `[a-z]` and `[^a-z]` for
//! a character, and `\` takes its meaning from the next one. A pattern that is not finished fits nothing.

/// Whether a text fits a pattern, from its beginning to its end.
#[must_use]
pub(crate) fn fits(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    // Where the last star was, and how far into the text it reaches: one more on each failure behind it. What an earlier one reaches
    // makes no difference: the last can take up as much.
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < text.len() {
        if pattern.get(p) == Some(&'*') {
            star = Some((p, n));
            p += 1;
            continue;
        }
        if let Some(next) = one_fits(&pattern, p, text[n]) {
            (p, n) = (next, n + 1);
            continue;
        }
        let Some((at, reached)) = star.filter(|(_, reached)| text[*reached] != '/') else {
            return false;
        };
        star = Some((at, reached + 1));
        (p, n) = (at + 1, reached + 1);
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// Whether every class is closed and every escape is of something, by Go's rules (`path.Match`).
#[must_use]
pub(crate) fn is_well_formed(pattern: &str) -> bool {
    let mut characters = pattern.chars().peekable();
    // One character of a class, which `]` and `-` are not.
    let one = |characters: &mut std::iter::Peekable<std::str::Chars<'_>>| match characters.next() {
        Some('\\') => characters.next().is_some(),
        Some(c) => c != ']' && c != '-',
        None => false,
    };
    while let Some(c) = characters.next() {
        match c {
            '\\' if characters.next().is_none() => return false,
            '[' => {
                characters.next_if_eq(&'^');
                loop {
                    if !one(&mut characters) {
                        return false;
                    }
                    if characters.next_if_eq(&'-').is_some() && !one(&mut characters) {
                        return false;
                    }
                    if characters.next_if_eq(&']').is_some() {
                        break;
                    }
                }
            }
            _ => {}
        }
    }
    true
}

/// How many bytes the first element of a pattern has that is well formed: a character, an escaped one, or a class.
#[must_use]
pub(crate) fn element(pattern: &str) -> usize {
    let mut characters = pattern.chars();
    match characters.next() {
        Some('\\') => {
            characters.next();
        }
        Some('[') => {
            while let Some(c) = characters.next() {
                match c {
                    '\\' => {
                        characters.next();
                    }
                    ']' => break,
                    _ => {}
                }
            }
        }
        _ => {}
    }
    pattern.len() - characters.as_str().len()
}

/// Where the pattern goes on if its next element fits the character.
fn one_fits(pattern: &[char], at: usize, c: char) -> Option<usize> {
    match pattern.get(at)? {
        '?' => (c != '/').then_some(at + 1),
        '\\' => (pattern.get(at + 1) == Some(&c)).then_some(at + 2),
        '[' => class(pattern, at + 1, c),
        literal => (*literal == c).then_some(at + 1),
    }
}

fn class(pattern: &[char], mut at: usize, c: char) -> Option<usize> {
    let negated = pattern.get(at) == Some(&'^');
    at += usize::from(negated);
    let (mut found, mut first) = (false, true);
    loop {
        let mut low = *pattern.get(at)?;
        if low == ']' && !first {
            return (found != negated).then_some(at + 1);
        }
        first = false;
        if low == '\\' {
            at += 1;
            low = *pattern.get(at)?;
        }
        let mut high = low;
        if pattern.get(at + 1) == Some(&'-') && pattern.get(at + 2).is_some_and(|c| *c != ']') {
            at += 2;
            high = pattern[at];
        }
        found |= (low..=high).contains(&c);
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn patterns_match_as_in_go() {
        for (pattern, text, expected) in [
            ("alpine", "alpine", true),
            ("alp*", "alpine", true),
            ("alp*", "alpine/x", false),
            ("*/app:*", "team/app:1", true),
            ("*/app:*", "a/team/app:1", false),
            ("*a*/c", "xa/ya/c", false),
            ("*:la?est", "alpine:latest", true),
            ("a?b", "a/b", false),
            ("bb:[1-3]", "bb:2", true),
            ("bb:[^1-3]", "bb:2", false),
            ("[]a]", "]", true),
            ("[a", "a", false),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b", "ac", false),
            ("*", "", true),
            ("a", "", false),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn many_stars_take_no_longer_than_one() {
        assert!(!fits(&"*a".repeat(1000), &"a".repeat(999)));
    }
}
