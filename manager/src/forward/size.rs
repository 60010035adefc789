//! Sizes in the options of log drivers.

use crate::container::LogConfig;

/// Docker's `max-buffer-size`, in bytes.
const DEFAULT_BUFFER_SIZE: u64 = 1_000_000;

/// How much of what goes elsewhere waits there until it is taken, in bytes.
pub(crate) fn buffer_size(config: &LogConfig) -> u64 {
    let given = config.options.get("max-buffer-size").and_then(|text| size(text));
    // 0 is what no limit is for files: there is one here.
    given.filter(|&size| size > 0).unwrap_or(DEFAULT_BUFFER_SIZE)
}

/// A size in Docker's decimal units; -1 is no limit.
pub(crate) fn size(text: &str) -> Option<u64> {
    if text == "-1" {
        return Some(0);
    }
    let lower = text.to_ascii_lowercase();
    let number = lower.strip_suffix('b').unwrap_or(&lower);
    let (digits, unit) = match number.as_bytes().last()? {
        b'k' => (&number[..number.len() - 1], 1000.0),
        b'm' => (&number[..number.len() - 1], 1e6),
        b'g' => (&number[..number.len() - 1], 1e9),
        _ => (number, 1.0),
    };
    let size = digits.parse::<f64>().ok()? * unit;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked against the range"
    )]
    (1.0..1e18).contains(&size).then_some(size as u64)
}
