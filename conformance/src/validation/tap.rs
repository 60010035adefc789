//! Reading TAP: what a validation program says of its own tests.

use std::time::Duration;

/// The tests of one program.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// `ok`.
    pub passed: usize,
    /// `not ok`, but a TODO.
    pub todo: usize,
    /// `ok # SKIP`.
    pub skipped: usize,
    /// `not ok`.
    pub failed: usize,
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// All its tests passed or were skipped, and at least one passed.
    Passed(Tally),
    /// All its tests were skipped.
    Skipped(Tally),
    /// Some test failed, or it ended otherwise than it had planned.
    Failed {
        /// What its tests came to until then.
        tally: Tally,
        /// What went wrong, a line each.
        why: Vec<String>,
    },
    /// It was ended after this long.
    Hung(Duration),
}

impl Ending {
    /// Whether a run with it has failed.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::Failed { .. } | Self::Hung(_))
    }
}

/// What the output and the exit status of a program come to; 128 and more is a signal.
pub(super) fn judge(stdout: &str, stderr: &str, code: i32) -> Ending {
    let mut tally = Tally::default();
    let (mut why, mut plan) = (Vec::new(), None);
    // Lines of subtests and diagnostics are indented.
    for line in stdout.lines() {
        if let Some(count) = line.strip_prefix("1..") {
            plan = count.split_whitespace().next().and_then(|count| count.parse::<usize>().ok());
        } else if line.starts_with("Bail out!") {
            why.push(line.to_owned());
        } else if let Some(rest) = line.strip_prefix("not ok") {
            if directive(rest, "todo") {
                tally.todo += 1;
            } else {
                tally.failed += 1;
                why.push(line.to_owned());
            }
        } else if let Some(rest) = line.strip_prefix("ok").filter(|rest| is_result(rest)) {
            *if directive(rest, "skip") { &mut tally.skipped } else { &mut tally.passed } += 1;
        }
    }
    let seen = tally.passed + tally.todo + tally.skipped + tally.failed;
    match plan {
        Some(plan) if plan != seen => why.push(format!("{plan} tests planned, {seen} seen")),
        None if seen == 0 => why.push("no TAP".to_owned()),
        _ => {}
    }
    match code {
        0 => {}
        129.. => why.push(format!("ended by signal {}", code - 128)),
        _ => why.push(format!("exit status {code}")),
    }
    if why.is_empty() {
        // `1..0` is a plan to skip everything.
        let all_skipped = tally.passed + tally.todo == 0;
        return if all_skipped { Ending::Skipped(tally) } else { Ending::Passed(tally) };
    }
    why.extend(stderr.lines().rev().find(|line| !line.trim().is_empty()).map(str::to_owned));
    Ending::Failed { tally, why }
}

/// What follows `ok` in a result: nothing, or a space.
fn is_result(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with(' ')
}

fn directive(rest: &str, name: &str) -> bool {
    let Some((_, text)) = rest.split_once('#') else { return false };
    text.trim_start().to_lowercase().starts_with(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_may_come_last_and_diagnostics_do_not_count() {
        let text = "TAP version 13\nok 1 - a\n  ---\n  not ok\n  ...\nok 2 # SKIP no\nok 3\n1..3\n";
        let tally = Tally { passed: 2, skipped: 1, ..Tally::default() };
        assert_eq!(judge(text, "", 0), Ending::Passed(tally));
        assert_eq!(judge("1..0 # nothing here\n", "", 0), Ending::Skipped(Tally::default()));
        assert!(!judge("1..1\nnot ok 1 # TODO later\n", "", 0).is_failure());
    }

    #[test]
    fn what_is_missing_or_ends_badly_fails() {
        let why = |text: &str, stderr: &str, code| match judge(text, stderr, code) {
            Ending::Failed { why, .. } => why.join("; "),
            other => format!("{other:?}"),
        };
        assert_eq!(why("1..2\nok 1\n", "", 0), "2 tests planned, 1 seen");
        assert_eq!(why("", "cannot do it\n\n", 1), "no TAP; exit status 1; cannot do it");
        assert_eq!(why("1..1\nok 1\n", "", 137), "ended by signal 9");
        assert_eq!(why("1..1\nnot ok 1 - x\n", "", 0), "not ok 1 - x");
        assert_eq!(why("ok 1\nBail out! no\n", "", 0), "Bail out! no");
    }
}
