//! Sizes in the three ways that Docker writes them.

const DECIMAL: [&str; 9] = ["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"];
const BINARY: [&str; 9] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"];

/// Three digits and decimal units, as in lists of images and containers: `7.8MB`.
#[must_use]
pub fn human_size(bytes: u64) -> String {
    scaled(bytes, 1000.0, &DECIMAL, 3)
}

/// Four digits and decimal units, as in `system df`, `stats` and what was reclaimed: `7.798MB`.
#[must_use]
pub fn precise_size(bytes: u64) -> String {
    scaled(bytes, 1000.0, &DECIMAL, 4)
}

/// Four digits and binary units, as for memory: `1.5MiB`.
#[must_use]
pub fn binary_size(bytes: u64) -> String {
    scaled(bytes, 1024.0, &BINARY, 4)
}

fn scaled(bytes: u64, base: f64, units: &[&str], digits: usize) -> String {
    #[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= base && unit + 1 < units.len() {
        size /= base;
        unit += 1;
    }
    format!("{}{}", significant(size, digits), units[unit])
}

/// C's `%.{digits}g` for numbers from zero to a thousand or so: no zeros at the end.
fn significant(number: f64, digits: usize) -> String {
    let rounded = format!("{number:.*e}", digits - 1);
    let exponent =
        rounded.split_once('e').and_then(|(_, text)| text.parse().ok()).unwrap_or(0_usize);
    let text = format!("{number:.*}", (digits - 1).saturating_sub(exponent));
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_dockers() {
        for (bytes, human, precise) in [
            (0, "0B", "0B"),
            (999, "999B", "999B"),
            (1234, "1.23kB", "1.234kB"),
            (7_797_760, "7.8MB", "7.798MB"),
            (9_999_000, "10MB", "9.999MB"),
            (77_977_600, "78MB", "77.98MB"),
            (999_600, "1000kB", "999.6kB"),
            (1_000_000_000, "1GB", "1GB"),
            (5_040_000_000_000, "5.04TB", "5.04TB"),
        ] {
            assert_eq!(human_size(bytes), human);
            assert_eq!(precise_size(bytes), precise);
        }
        assert_eq!(binary_size(1_572_864), "1.5MiB");
        assert_eq!(binary_size(1023), "1023B");
        assert_eq!(binary_size(25_190_400), "24.02MiB");
    }
}
