//! Patterns of paths, as `.dockerignore` has them: Docker's own matcher (moby/patternmatcher), without its regular expressions.
//!
//! Pure. A path is read once from its beginning to its end, with all places of the pattern that it may have reached: neither many
//! `**` nor a deep path make that long.

use crate::pattern;

/// A pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Glob {
    text: String,
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// This character.
    One(char),
    /// What `?` or a class fits, as [`pattern`] has them: any character but `/`.
    Any(String),
    /// `*`: any number of characters but `/`.
    Name,
    /// `**`: nothing, or all up to a `/`.
    Directories,
    /// `**` at the end: all that follows.
    All,
}

/// A place in a pattern: before a piece, or within what [`Piece::Directories`] has begun to take.
type Reached = (usize, bool);

impl Glob {
    /// Reads a pattern: a path in its shortest form, which may begin with `..`.
    ///
    /// # Errors
    /// A class that is not closed, or an escape of nothing.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if !pattern::is_well_formed(text) {
            return Err(format!("syntax error in pattern: {text}"));
        }
        Ok(Self { text: text.to_owned(), pieces: pieces(text) })
    }

    /// The pattern.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it fits a path, or a directory above it.
    pub(super) fn fits(&self, path: &str) -> bool {
        let mut places = Places::at_the_beginning(&self.pieces);
        for c in path.chars() {
            if c == '/' && places.are_at_the_end() {
                return true;
            }
            if !places.advance(c) {
                return false;
            }
        }
        places.are_at_the_end()
    }

    /// Whether it may fit something below a directory.
    pub(super) fn may_fit_below(&self, directory: &str) -> bool {
        let mut places = Places::at_the_beginning(&self.pieces);
        directory.chars().chain(['/']).all(|c| places.advance(c))
    }
}

fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = text;
    // Of `**` before a text without wildcards Docker only looks whether a path ends in that text.
    if let Some(end) = rest.strip_prefix("**")
        && !end.is_empty()
        && !end.starts_with('/')
        && !end.contains(['*', '?', '[', ']', '\\'])
    {
        pieces.push(Piece::All);
        rest = end;
    }
    while let Some(c) = rest.chars().next() {
        if let Some(behind) = rest.strip_prefix("**") {
            rest = behind.strip_prefix('/').unwrap_or(behind);
            pieces.push(if rest.is_empty() { Piece::All } else { Piece::Directories });
            continue;
        }
        let length = pattern::element(rest);
        let (element, behind) = rest.split_at(length);
        rest = behind;
        pieces.push(match c {
            '*' => Piece::Name,
            '?' | '[' => Piece::Any(element.to_owned()),
            '\\' => Piece::One(element.chars().nth(1).unwrap_or(c)),
            c => Piece::One(c),
        });
    }
    pieces
}

/// All places that have been reached, each once.
struct Places<'a> {
    pieces: &'a [Piece],
    reached: Vec<Reached>,
    /// In which round each place was last reached.
    rounds: Vec<[usize; 2]>,
    round: usize,
}

impl<'a> Places<'a> {
    fn at_the_beginning(pieces: &'a [Piece]) -> Self {
        let rounds = vec![[0; 2]; pieces.len() + 1];
        let mut places = Self { pieces, reached: Vec::new(), rounds, round: 1 };
        places.reach(0);
        places
    }

    /// Whether the pattern may end here.
    fn are_at_the_end(&self) -> bool {
        self.reached.contains(&(self.pieces.len(), false))
    }

    /// Goes on by a character; says whether there is still a way.
    fn advance(&mut self, c: char) -> bool {
        self.round += 1;
        for (at, _) in std::mem::take(&mut self.reached) {
            match self.pieces.get(at) {
                Some(Piece::One(one)) if *one == c => self.reach(at + 1),
                Some(Piece::Any(element))
                    if c != '/' && pattern::fits(element, c.encode_utf8(&mut [0; 4])) =>
                {
                    self.reach(at + 1);
                }
                Some(Piece::Name) if c != '/' => self.reach(at),
                Some(Piece::All) => self.reach(at),
                // Begun or not, it takes anything.
                Some(Piece::Directories) => {
                    self.mark((at, true));
                    if c == '/' {
                        self.reach(at + 1);
                    }
                }
                _ => {}
            }
        }
        !self.reached.is_empty()
    }

    /// Comes to a piece, and to those behind it if it need not take anything.
    fn reach(&mut self, mut at: usize) {
        while self.mark((at, false)) {
            match self.pieces.get(at) {
                Some(Piece::Name | Piece::All | Piece::Directories) => at += 1,
                _ => return,
            }
        }
    }

    /// Whether the place is a new one.
    fn mark(&mut self, (at, within): Reached) -> bool {
        let round = &mut self.rounds[at][usize::from(within)];
        let is_new = *round != self.round;
        if is_new {
            *round = self.round;
            self.reached.push((at, within));
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitting<'a>(text: &str, paths: &[&'a str]) -> Vec<&'a str> {
        let glob = Glob::parse(text).unwrap();
        paths.iter().copied().filter(|path| glob.fits(path)).collect()
    }

    #[test]
    fn two_stars_within_a_name_are_dockers() {
        let paths = ["README.md", "a/f.md", "a/b/f.md", "a/f.mdx", "a/f.md/x"];
        assert_eq!(fitting("**.md", &paths), ["README.md", "a/f.md", "a/b/f.md", "a/f.md/x"]);
        assert_eq!(fitting("**y", &["y", "x/y", "xy", "x/zy", "yx"]), ["y", "x/y", "xy", "x/zy"]);
        assert_eq!(
            fitting("a**c", &["ac", "a/b/c", "ab/c", "abc", "a/b"]),
            ["ac", "a/b/c", "ab/c"]
        );
        // With a wildcard behind them they end where a name begins.
        assert_eq!(fitting("**.m?", &[".md", "a/.md", "a/f.md"]), [".md", "a/.md"]);
        assert_eq!(fitting("a**", &["a", "ab", "a/b", "b"]), ["a", "ab", "a/b"]);
        assert_eq!(fitting("a/**/**/b", &["a/b", "a/x/y/b", "ab"]), ["a/b", "a/x/y/b"]);
    }

    #[test]
    fn wildcards_and_classes_stay_within_a_name() {
        assert_eq!(fitting("a?c", &["abc", "a/c"]), ["abc"]);
        assert_eq!(fitting("a[^b]c", &["axc", "abc", "a/c"]), ["axc"]);
        assert_eq!(fitting("a*c", &["abbc", "ac", "ab/c"]), ["abbc", "ac"]);
        assert_eq!(fitting(r"\*\[x", &["*[x", "a[x"]), ["*[x"]);
        assert_eq!(fitting("../a", &["a", "x/a"]), [""; 0]);
    }

    #[test]
    fn a_pattern_that_is_not_finished_is_refused() {
        for text in ["a[b", "a[]c", "[-a]", "[a-]", "x\\", "[\\"] {
            let refused = Glob::parse(text).unwrap_err();
            assert_eq!(refused, format!("syntax error in pattern: {text}"));
        }
        for text in ["[a-c]", "[^]a]x"] {
            assert_eq!(Glob::parse(text).is_ok(), text == "[a-c]", "{text}");
        }
    }

    #[test]
    fn neither_many_stars_nor_a_deep_path_take_long() {
        let deep = format!("{}f", "a/".repeat(1000));
        for part in ["**/a/", "**/", "*/**/", "**/a*/"] {
            assert_eq!(fitting(&format!("{}zz", part.repeat(200)), &[&deep]), [""; 0]);
        }
    }

    #[test]
    fn where_there_is_no_way_on_nothing_is_looked_for() {
        let below =
            |text: &str, directory: &str| Glob::parse(text).unwrap().may_fit_below(directory);
        assert!(below("a/*/c", "a") && below("a/*/c", "a/x") && !below("a/*/c", "b"));
        assert!(below("**/c", "x/y") && !below("a", "a") && !below("a/b", "ab"));
    }
}
