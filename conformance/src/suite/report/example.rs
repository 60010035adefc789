//! A small run for the tests of reports: two runtimes, two cases, every outcome.

use std::time::Duration;

use crate::contender::Contender;
use crate::suite::results::Row;
use crate::suite::{Outcome, Record, Results, TOPICS};

pub(super) fn results() -> Results {
    let record = |outcome| Record { outcome, config: vec!["/a = \"<&>\"".to_owned()], millis: 12 };
    let runtime = |name: &str| Contender {
        name: name.to_owned(),
        program: format!("/bin/{name}").into(),
        version: format!("{name} version 1"),
    };
    let fail = Outcome::Fail { expected: "a".to_owned(), seen: "<b> & \"c\"".to_owned() };
    let known = Outcome::KnownFailure {
        why: "it is like that".to_owned(),
        expected: "a".to_owned(),
        seen: "b".to_owned(),
    };
    let skip = Outcome::Skip { reason: "the host has no wheels".to_owned() };
    let row =
        |number: usize, records| Row { topic: TOPICS[0], case: &TOPICS[0].cases[number], records };
    Results {
        host: "a host".to_owned(),
        mode: "as root".to_owned(),
        runtimes: vec![runtime("one"), runtime("two")],
        rows: vec![
            row(0, vec![record(Outcome::Pass), record(fail)]),
            row(1, vec![record(known), record(skip)]),
        ],
        elapsed: Duration::from_secs(3),
    }
}
