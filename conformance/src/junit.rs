//! JUnit XML, as build servers read it.

use std::fmt::Write;
use std::time::Duration;

/// Tests that belong together.
#[derive(Debug)]
pub(crate) struct Suite {
    /// What they are called together.
    pub(crate) name: String,
    /// The tests, in order.
    pub(crate) tests: Vec<Test>,
}

/// One test.
#[derive(Debug)]
pub(crate) struct Test {
    /// The group that it is shown in, with dots between its parts.
    pub(crate) class: String,
    /// What it is called.
    pub(crate) name: String,
    /// How long it took.
    pub(crate) time: Duration,
    /// How it ended.
    pub(crate) ending: Ending,
}

/// How a test ended.
#[derive(Debug)]
pub(crate) enum Ending {
    /// Well.
    Passed,
    /// It was not run, or does not count; with the reason.
    Skipped(String),
    /// Not well.
    Failed {
        /// In one line.
        why: String,
        /// As long as it takes.
        details: String,
    },
}

impl Suite {
    fn count(&self, wanted: fn(&Ending) -> bool) -> usize {
        self.tests.iter().filter(|test| wanted(&test.ending)).count()
    }
}

/// The whole document.
pub(crate) fn document(name: &str, suites: &[Suite]) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(out, "<testsuites name=\"{}\">", escape(name));
    for suite in suites {
        let time: Duration = suite.tests.iter().map(|test| test.time).sum();
        let _ = writeln!(
            out,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" skipped=\"{}\" errors=\"0\" time=\"{:.3}\">",
            escape(&suite.name),
            suite.tests.len(),
            suite.count(|ending| matches!(ending, Ending::Failed { .. })),
            suite.count(|ending| matches!(ending, Ending::Skipped(_))),
            time.as_secs_f64()
        );
        for test in &suite.tests {
            let _ = write!(
                out,
                "    <testcase classname=\"{}\" name=\"{}\" time=\"{:.3}\"",
                escape(&test.class),
                escape(&test.name),
                test.time.as_secs_f64()
            );
            let _ = match &test.ending {
                Ending::Passed => writeln!(out, "/>"),
                Ending::Skipped(why) => {
                    writeln!(out, "><skipped message=\"{}\"/></testcase>", escape(why))
                }
                Ending::Failed { why, details } => writeln!(
                    out,
                    "><failure message=\"{}\">{}</failure></testcase>",
                    escape(why),
                    escape(details)
                ),
            };
        }
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

/// Text for a place between tags or quotes. Control characters that XML 1.0 cannot hold show as U+FFFD.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(character),
            _ if character.is_control() || matches!(character, '\u{fffe}' | '\u{ffff}') => {
                out.push(char::REPLACEMENT_CHARACTER);
            }
            _ => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_xml_cannot_hold_is_replaced() {
        assert_eq!(escape("a<b>&\"\u{1b}[1m\0"), "a&lt;b&gt;&amp;&quot;\u{fffd}[1m\u{fffd}");
    }
}
