//! Comparisons whose failure says what was expected and what was seen.

use std::fmt::Debug;

use serde_json::Value;

use super::case::{Finding, Verdict};

/// Both are the same.
pub(super) fn same<E, S>(what: &str, expected: &E, seen: &S) -> Verdict
where
    E: PartialEq<S> + Debug + ?Sized,
    S: Debug + ?Sized,
{
    if expected == seen {
        return Ok(());
    }
    Err(Finding::fail(format!("{what}: {expected:?}"), format!("{seen:?}")))
}

/// The value at a JSON pointer is this.
pub(super) fn has(seen: &Value, pointer: &str, expected: impl Into<Value>) -> Verdict {
    let expected = expected.into();
    let found = seen.pointer(pointer).unwrap_or(&Value::Null);
    if *found == expected {
        return Ok(());
    }
    Err(Finding::fail(format!("{pointer}: {expected}"), found.to_string()))
}

/// A condition on something that was seen.
pub(super) fn holds(condition: bool, expected: &str, seen: &(impl Debug + ?Sized)) -> Verdict {
    if condition {
        return Ok(());
    }
    Err(Finding::fail(expected, format!("{seen:?}")))
}

/// A text contains another, whatever the case of its letters.
pub(super) fn contains(what: &str, text: &str, part: &str) -> Verdict {
    if text.to_lowercase().contains(&part.to_lowercase()) {
        return Ok(());
    }
    Err(Finding::fail(format!("{what} contains {part:?}"), text.to_owned()))
}

/// The mount at a point in a probe's report; the topmost where there are several.
pub(super) fn mount_at<'a>(report: &'a Value, point: &str) -> Result<&'a Value, Finding> {
    let all = report["mounts"].as_array();
    let found = all.and_then(|all| all.iter().rev().find(|mount| mount["point"] == point));
    found.ok_or_else(|| {
        let points: Vec<&Value> = all.into_iter().flatten().map(|mount| &mount["point"]).collect();
        Finding::fail(format!("a mount at {point}"), format!("{points:?}"))
    })
}

/// Whether a mount of a report has an option, of its own or of its file system.
pub(super) fn has_option(mount: &Value, option: &str) -> bool {
    ["options", "super"]
        .iter()
        .any(|kind| mount[kind].as_array().is_some_and(|all| all.iter().any(|own| own == option)))
}

/// A mount of a report has these options.
pub(super) fn has_options(mount: &Value, options: &[&str]) -> Verdict {
    match options.iter().find(|option| !has_option(mount, option)) {
        None => Ok(()),
        Some(missing) => {
            Err(Finding::fail(format!("option {missing} of {}", mount["point"]), mount.to_string()))
        }
    }
}
