//! HTML: one page that needs nothing else, dark or light as the reader's browser is.

use std::fmt::Write;

use super::address;
use crate::junit::escape;
use crate::suite::{Outcome, Record, Results, Totals};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The outcomes, with what the page calls them.
const OUTCOMES: [(&str, &str); 5] = [
    ("pass", "passed"),
    ("fail", "failed"),
    ("unexpected", "passed, though known to fail"),
    ("known", "known failures"),
    ("skip", "skipped"),
];

/// The report as a page.
#[must_use]
pub fn html(results: &Results) -> String {
    let mut out = String::from("<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n");
    out.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    let _ = writeln!(out, "<title>Conformance of OCI runtimes</title>\n<style>\n{STYLE}</style>");
    head(&mut out, results);
    filters(&mut out, results);
    for topic in results.topics() {
        section(&mut out, results, topic);
    }
    let _ = writeln!(
        out,
        "<p id=\"nothing\" hidden>Nothing is like that.</p>\n<script>\n{SCRIPT}</script>\n</html>"
    );
    out
}

fn head(out: &mut String, results: &Results) {
    let _ = writeln!(
        out,
        "<header><h1>Conformance of OCI runtimes</h1>\n<p>{} cases, {}, {}; {:.1} s</p></header>",
        results.rows.len(),
        escape(&results.mode),
        escape(&results.host),
        results.elapsed.as_secs_f64()
    );
    out.push_str("<div class=\"runtimes\">\n");
    for (index, runtime) in results.runtimes.iter().enumerate() {
        let counts = counts(results.totals(index, None));
        let _ = writeln!(
            out,
            "<div class=\"runtime\"><h2>{}</h2><p>{}<br><code>{}</code></p><div class=\"bar\">",
            escape(&runtime.name),
            escape(&runtime.version),
            escape(&runtime.program.display().to_string())
        );
        for ((word, title), count) in OUTCOMES.iter().zip(counts) {
            if count > 0 {
                let _ = write!(
                    out,
                    "<i class=\"{word}\" style=\"flex-grow:{count}\" title=\"{count} {title}\"></i>"
                );
            }
        }
        out.push_str("</div><ul>");
        for ((word, title), count) in OUTCOMES.iter().zip(counts) {
            if count > 0 {
                let _ = write!(out, "<li class=\"{word}\"><b>{count}</b> {title}</li>");
            }
        }
        out.push_str("</ul></div>\n");
    }
    out.push_str("</div>\n");
}

/// In the order of [`OUTCOMES`].
fn counts(totals: Totals) -> [usize; 5] {
    [totals.passed, totals.failed, totals.unexpected, totals.known, totals.skipped]
}

fn filters(out: &mut String, results: &Results) {
    out.push_str(
        "<form id=\"filters\"><label>Topic <select id=\"topic\"><option value=\"\">all</option>",
    );
    for topic in results.topics() {
        let _ = write!(out, "<option>{}</option>", topic.name);
    }
    out.push_str("</select></label><label>Outcome <select id=\"outcome\"><option value=\"\">all</option><option value=\"not-pass\">all but passed</option>");
    for (word, title) in OUTCOMES {
        let _ = write!(out, "<option value=\"{word}\">{title}</option>");
    }
    out.push_str(
        "</select></label><label>Text <input id=\"text\" type=\"search\"></label></form>\n",
    );
}

fn section(out: &mut String, results: &Results, topic: &crate::suite::Topic) {
    let _ = write!(
        out,
        "<section data-topic=\"{0}\"><h3>{0} <small>{1}",
        topic.name,
        escape(topic.title)
    );
    // What runc does beyond the specification is written down in this project's own pages.
    match address(topic) {
        None => drop(write!(out, " · {}", topic.section)),
        Some(address) => drop(write!(out, " · <a href=\"{address}\">{}</a>", topic.section)),
    }
    out.push_str("</small></h3>\n<table><thead><tr><th>case<th>level");
    for runtime in &results.runtimes {
        let _ = write!(out, "<th>{}", escape(&runtime.name));
    }
    out.push_str("</thead><tbody>\n");
    for row in results.rows.iter().filter(|row| row.topic.name == topic.name) {
        let words: Vec<&str> = row.records.iter().map(|record| record.outcome.word()).collect();
        let _ =
            write!(out, "<tr data-outcomes=\"{}\"><td>{}", words.join(" "), escape(row.case.name));
        for (runtime, record) in results.runtimes.iter().zip(&row.records) {
            details(out, &runtime.name, record);
        }
        let _ =
            write!(out, "<td class=\"level\">{}", format!("{:?}", row.case.level).to_lowercase());
        for (record, word) in row.records.iter().zip(words) {
            let _ = write!(
                out,
                "<td><span class=\"{word}\" title=\"{} ms\">{word}</span>",
                record.millis
            );
        }
        out.push('\n');
    }
    out.push_str("</tbody></table></section>\n");
}

/// What there is to say where a case has not passed.
fn details(out: &mut String, runtime: &str, record: &Record) {
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    match &record.outcome {
        Outcome::Pass => return,
        Outcome::Skip { reason } => pairs.push(("skipped", reason)),
        Outcome::UnexpectedPass { why } => pairs.push(("known", why)),
        Outcome::Fail { expected, seen } => {
            pairs.extend([("expected", expected.as_str()), ("seen", seen)]);
        }
        Outcome::KnownFailure { why, expected, seen } => {
            pairs.extend([("known", why.as_str()), ("expected", expected), ("seen", seen)]);
        }
    }
    let word = record.outcome.word();
    let _ = write!(
        out,
        "<details><summary>{} <span class=\"{word}\">{word}</span></summary><dl>",
        escape(runtime)
    );
    for (label, text) in pairs {
        let _ = write!(out, "<dt>{label}<dd>{}", escape(text));
    }
    if !record.config.is_empty() {
        let _ = write!(out, "<dt>config.json<dd>{}", escape(&record.config.join("\n")));
    }
    out.push_str("</dl></details>");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::report::example::results;

    #[test]
    fn the_page_shows_every_outcome_and_loads_nothing() {
        let page = html(&results());
        assert!(page.contains("<dt>seen<dd>&lt;b&gt; &amp; &quot;c&quot;"), "{page}");
        assert!(page.contains("<tr data-outcomes=\"pass fail\">"), "{page}");
        assert!(page.contains("<dt>known<dd>it is like that"), "{page}");
        assert!(page.contains("<dt>config.json<dd>/a = &quot;&lt;&amp;&gt;&quot;"), "{page}");
        for loaded in ["src=", "<link", "@import", "url("] {
            assert!(!page.contains(loaded), "{loaded} in the page");
        }
    }
}
