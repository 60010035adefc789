//! Lists of CPUs and of memory nodes, such as `0-3,7`.

use std::ops::RangeInclusive;

/// The highest number that a plain list may have, as in runc: no kernel has that many processors or nodes, and the mask of a
/// list stays below 8 KiB.
const HIGHEST: u32 = 65_536;

/// The ranges of a plain list, of which the masks of sched_setaffinity(2) and set_mempolicy(2) are made; `None` if it is not
/// such a list. Spaces and empty entries mean nothing, as in runc.
pub fn plain_ranges(list: &str) -> Option<Vec<RangeInclusive<u32>>> {
    let entries = list.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    let range = |entry: &str| {
        let (first, last) = entry.split_once('-').unwrap_or((entry, entry));
        let in_order = is_range(entry, |_| false);
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        (in_order && last <= HIGHEST).then_some(first..=last)
    };
    entries.map(range).collect()
}

/// Whether a cpuset file takes the list: the kernel's bitmap_parselist(), which has `N` for the
/// last one, `all`, and `0-31:2/8` for two of each eight.
pub(super) fn is_cpuset_list(list: &str) -> bool {
    let is_last = |end: &str| end == "N";
    list.split([',', ' ', '\t', '\n']).filter(|entry| !entry.is_empty()).all(|entry| {
        let (range, stride) = entry.split_once(':').unzip();
        let stride_ok = stride.is_none_or(|stride| {
            stride.split_once('/').is_some_and(|(used, of)| is_number(used) && is_number(of))
        });
        let range = range.unwrap_or(entry);
        stride_ok && (range == "all" || is_range(range, is_last))
    })
}

fn is_range(entry: &str, is_other_end: impl Fn(&str) -> bool) -> bool {
    let is_end = |end: &str| is_number(end) || is_other_end(end);
    let Some((first, last)) = entry.split_once('-') else { return is_end(entry) };
    let in_order = match (first.parse::<u32>(), last.parse::<u32>()) {
        (Ok(first), Ok(last)) => first <= last,
        _ => true,
    };
    is_end(first) && is_end(last) && in_order
}

fn is_number(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && text.parse::<u32>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_list_has_numbers_and_ranges() {
        for (list, ranges) in [
            ("", vec![]),
            (" , ", vec![]),
            ("0", vec![0..=0]),
            ("0-3, 7,", vec![0..=3, 7..=7]),
            ("3-3", vec![3..=3]),
            ("65536", vec![65_536..=65_536]),
        ] {
            assert_eq!(plain_ranges(list), Some(ranges), "{list}");
        }
        for list in
            ["a", "-", "1-", "-1", "3-0", "0-3:1/2", "all", "65537", "0-99999999999", "+1", "0-3-4"]
        {
            assert_eq!(plain_ranges(list), None, "{list}");
        }
    }

    #[test]
    fn a_cpuset_list_is_what_the_kernel_takes() {
        for list in
            ["", "0", "0-3,7", "0-3 7\n", "0-31:2/8", "all", "all:1/2", "N", "0-N", "4-N:1/2"]
        {
            assert!(is_cpuset_list(list), "{list}");
        }
        for list in ["x", "3-0", "0-3:2", "0-3:2/", ":1/2", "0..3", "0-3\\u0000", "-1", "0;1"] {
            assert!(!is_cpuset_list(list), "{list}");
        }
    }
}
