//! `.dockerignore`: which files of the context are none; and what `COPY --exclude` and `--parents` say in the same patterns.
//!
//! Pure. A pattern fits a path or any directory above it, and of the patterns that fit the last one decides.

use super::glob::Glob;
use crate::path;

/// The patterns of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ignore {
    patterns: Vec<Pattern>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    /// `!`: what fits is taken back in.
    back: bool,
    glob: Glob,
}

impl Ignore {
    /// Reads the patterns, one a line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut patterns = Vec::new();
        for (at, line) in text.lines().enumerate() {
            if line.starts_with('#') {
                continue;
            }
            let pattern = parse(line.trim()).map_err(|why| format!("line {}: {why}", at + 1))?;
            patterns.extend(pattern);
        }
        Ok(Self { patterns })
    }

    /// The patterns that were given to `--exclude`.
    pub fn of(texts: &[String]) -> Result<Self, String> {
        let patterns: Result<Vec<_>, String> = texts.iter().map(|text| parse(text)).collect();
        Ok(Self { patterns: patterns?.into_iter().flatten().collect() })
    }

    /// Whether a path, relative to the context, is left out.
    #[must_use]
    pub fn leaves_out(&self, path: &str) -> bool {
        let mut out = false;
        for pattern in &self.patterns {
            // Only one that would change the answer needs to be looked at.
            if pattern.back == out && pattern.glob.fits(path) {
                out = !pattern.back;
            }
        }
        out
    }

    /// The patterns, one a line.
    pub(super) fn text(&self) -> String {
        let line = |pattern: &Pattern| {
            let back = if pattern.back { "!" } else { "" };
            format!("{back}{}\n", pattern.glob.text())
        };
        self.patterns.iter().map(line).collect()
    }

    /// Whether something in a directory that is left out can be taken back in.
    #[must_use]
    pub fn may_take_back(&self) -> bool {
        self.patterns.iter().any(|pattern| pattern.back)
    }
}

/// One pattern; nothing for an empty line, or the context itself, which there is no build without.
fn parse(text: &str) -> Result<Option<Pattern>, String> {
    let (back, path) = match text.strip_prefix('!') {
        Some(path) => (true, path.trim()),
        None => (false, text),
    };
    let path = path::clean_relative(path);
    if back && path.is_empty() {
        return Err("illegal exclusion pattern: \"!\"".to_owned());
    }
    if path.is_empty() {
        return Ok(None);
    }
    Ok(Some(Pattern { back, glob: Glob::parse(&path)? }))
}

/// Which paths a source of `COPY --parents` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Selection {
    /// Without one, all.
    glob: Option<Glob>,
}

impl Selection {
    /// Those that fit a pattern, with all below them.
    ///
    /// # Errors
    /// The pattern is not finished.
    pub(super) fn of(path: &str) -> Result<Self, String> {
        let path = path::names(path).join("/");
        let glob = if path.is_empty() { None } else { Some(Glob::parse(&path)?) };
        Ok(Self { glob })
    }

    /// Whether a path is one of them, or below one.
    pub(super) fn has(&self, path: &str) -> bool {
        self.glob.as_ref().is_none_or(|glob| glob.fits(path))
    }

    /// Whether there may be one below a directory.
    pub(super) fn may_be_below(&self, path: &str) -> bool {
        self.glob.as_ref().is_none_or(|glob| glob.fits(path) || glob.may_fit_below(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left_out(patterns: &str, paths: &[&str]) -> Vec<bool> {
        let ignore = Ignore::parse(patterns).unwrap();
        paths.iter().map(|path| ignore.leaves_out(path)).collect()
    }

    #[test]
    fn a_pattern_fits_from_the_context_on_and_all_below_a_directory() {
        let paths = ["a", "a/b/c", "x/a", "ab"];
        assert_eq!(left_out("# a comment\n\n/a/\n", &paths), [true, true, false, false]);
        assert_eq!(left_out("a*", &paths), [true, true, false, true]);
        assert_eq!(left_out("*/a", &paths), [false, false, true, false]);
        assert_eq!(left_out("a/?/c", &paths), [false, true, false, false]);
    }

    #[test]
    fn two_stars_fit_any_number_of_directories() {
        let paths = ["x.o", "a/x.o", "a/b/x.o", "a/b"];
        assert_eq!(left_out("**/*.o", &paths), [true, true, true, false]);
        assert_eq!(left_out("a/**/x.o", &paths), [false, true, true, false]);
        assert_eq!(left_out("a/**", &paths), [false, true, true, true]);
        assert_eq!(left_out("**", &paths), [true; 4]);
        let many = format!("{}z", "**/".repeat(100));
        let deep = "a/".repeat(100) + "x";
        assert_eq!(left_out(&many, &[&deep, "a/z"]), [false, true]);
    }

    #[test]
    fn a_selection_has_what_fits_and_all_below_it_and_is_looked_for_nowhere_else() {
        let has = |pattern: &str, path: &str| Selection::of(pattern).unwrap().has(path);
        assert!(has("a/*/c", "a/b/c") && has("a/*/c", "a/b/c/d") && !has("a/*/c", "a/b"));
        assert!(has("./a/", "a") && has(".", "anything") && has("**/*.c", "x/y/z.c"));
        let below = |pattern: &str, path: &str| Selection::of(pattern).unwrap().may_be_below(path);
        assert!(below("a/b/c", "a") && below("a/*/c", "a/x") && !below("a/b/c", "b"));
        assert!(below("a/**/c", "a/x/y/z") && !below("a/**/c", "b/c"));
    }

    #[test]
    fn patterns_of_an_option_are_no_lines() {
        let ignore = Ignore::of(&["#a".to_owned(), "b".to_owned(), "!b/c".to_owned()]).unwrap();
        let out = ["#a", "b/x", "b/c"].map(|path| ignore.leaves_out(path));
        assert_eq!(out, [true, true, false]);
        assert_eq!(ignore.text(), "#a\nb\n!b/c\n");
        assert!(Ignore::of(&["!".to_owned()]).is_err());
        assert!(Ignore::of(&["[a".to_owned()]).is_err());
    }

    #[test]
    fn the_last_pattern_that_fits_decides() {
        let paths = ["README.md", "a.md", "docs/b.md", "docs/secret.md"];
        let patterns = "*.md\n!README.md\ndocs\n!docs/*.md\ndocs/secret*";
        assert_eq!(left_out(patterns, &paths), [false, true, false, true]);
        // The other way round, the exception comes too early.
        assert_eq!(left_out("!README.md\n*.md", &["README.md"]), [true]);
        assert!(Ignore::parse("a\n!").unwrap_err().starts_with("line 2:"));
        let broken = Ignore::parse("a\n!secret[\n").unwrap_err();
        assert_eq!(broken, "line 2: syntax error in pattern: secret[");
    }

    #[test]
    fn what_is_outside_of_the_context_is_nothing_in_it() {
        assert_eq!(left_out("../a\na/../../b", &["a", "b"]), [false, false]);
        assert_eq!(left_out("/../a\nx/../b", &["a", "b"]), [true, true]);
    }
}
