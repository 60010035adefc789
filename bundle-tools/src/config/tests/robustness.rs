//! Broken configurations: every one is answered with a position or a configuration, never a panic.

use super::*;

/// Findings must lie in the text and be one line each.
fn assert_sane(result: Result<(), Error>, text: &[u8], what: &str) {
    let Err(error) = result else { return };
    let lines = text.split(|byte| *byte == b'\n').count();
    for finding in findings(Err::<(), _>(error)) {
        assert!((1..=lines).contains(&finding.line), "{what}: {finding}");
        let line = text.split(|byte| *byte == b'\n').nth(finding.line - 1).unwrap();
        let columns = String::from_utf8_lossy(line).chars().count() + 1;
        assert!((1..=columns).contains(&finding.column), "{what}: {finding}");
        assert!(!finding.message.is_empty(), "{what}: {finding}");
        assert_eq!(finding.to_string().lines().count(), 1, "{what}: {finding}");
    }
}

/// A check that has one finding at least: the root file system is missing.
fn check_without_rootfs(loaded: Loaded) -> Result<(), Error> {
    Err(check(loaded).unwrap_err().into())
}

#[test]
fn a_configuration_cut_off_at_any_byte_is_an_error_with_a_position() {
    for end in 0..FULL.trim_end().len() {
        let text = &FULL.as_bytes()[..end];
        let result = parse(text, Path::new("config.json"));
        assert!(result.is_err(), "{end}");
        assert_sane(result.map(drop), text, &end.to_string());
    }
}

#[test]
fn any_byte_may_change_into_another() {
    let name = Path::new("/nowhere/config.json");
    let bytes = *b"\"{}[],:\\\n0-xn\0\xff";
    for at in 0..FULL.len() {
        let byte = bytes[at % bytes.len()];
        let mut text = FULL.as_bytes().to_owned();
        text[at] = byte;
        let what = format!("byte {at} is {byte:#x}");
        assert_sane(parse(&text, name).and_then(check_without_rootfs), &text, &what);
    }
}

#[test]
fn any_value_may_be_of_any_other_type() {
    let mut ranges = Vec::new();
    scan::walk(FULL, |value| ranges.push(value.range.clone()));
    let values = ["null", "-1", "1e400", "\"\"", "\"x\"", "[]", "{}", "[null]", "true"];
    for range in ranges {
        for value in values {
            let mut text = FULL.to_owned();
            text.replace_range(range.clone(), value);
            let what = format!("{} at {range:?}", &FULL[range.clone()]);
            let result = parse(text.as_bytes(), Path::new("/nowhere/config.json"));
            let result = result.and_then(check_without_rootfs);
            assert_sane(result, text.as_bytes(), &what);
        }
    }
}

#[test]
fn deep_nesting_is_no_stack_overflow() {
    let name = Path::new("config.json");
    let deep = "[".repeat(100_000);
    assert!(parse(deep.as_bytes(), name).is_err());
    let closed = format!("{deep}{}", "]".repeat(100_000));
    assert!(parse(closed.as_bytes(), name).is_err());
    // Unknown members are skipped, however deep they are.
    let unknown = format!("{{\"unknown\": {}1{}}}", "[".repeat(100), "]".repeat(100));
    assert!(parse(unknown.as_bytes(), name).is_ok());
}

#[test]
fn many_findings_cost_one_pass_over_the_text() {
    let count = 20_000;
    let env = vec!["\"x\""; count].join(",\n");
    let text = format!("{{\"process\": {{\"user\": {{}}, \"cwd\": \"/\", \"env\": [\n{env}]}}}}");
    let found = findings(Bundle::new().check(&text));
    let last = &found[found.len() - 1];
    assert_eq!((last.line, last.pointer.as_str()), (count + 1, "/process/env/19999"));
}
