//! The program that the suite runs inside a container: it reports what it sees as JSON.
//!
//! It is `nconform` itself under the name [`NAME`], one static file, so a container needs nothing else. What cannot be
//! seen (no /proc, say) is left out rather than made up; the program fails only when it cannot print.

mod calls;
mod facts;
mod tables;

use std::ffi::OsString;

use serde_json::{Value, json};

/// What the program is called inside a container.
pub const NAME: &str = "nprobe";

/// Whether this process was started as the probe.
#[must_use]
pub fn is_meant(argv0: &std::ffi::OsStr) -> bool {
    std::path::Path::new(argv0).file_name().is_some_and(|name| name == NAME)
}

/// What the probe prints for its arguments (without the program's name): `try CALL...` makes system calls and tells
/// what became of each, anything else reports what the process is and sees.
#[must_use]
pub fn answer(args: &[OsString]) -> Value {
    match args.first().and_then(|word| word.to_str()) {
        Some("try") => calls::attempt(&args[1..]),
        _ => facts::report(args),
    }
}

/// What `path` holds, without white space at its ends; `null` when it cannot be read.
fn text(path: &str) -> Value {
    std::fs::read_to_string(path).map_or(Value::Null, |text| json!(text.trim_end()))
}
