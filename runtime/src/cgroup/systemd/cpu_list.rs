//! Lists of processors and memory nodes, `0-3,7`, as the bit masks that systemd takes.

/// The highest number that is believed: far above what the kernel can be built for, far below what would fill the memory.
const HIGHEST: usize = 1 << 16;

/// The mask of a list, lowest byte first and without zeros at its end; `None` when it is not such a list, or empty.
pub(super) fn mask(list: &str) -> Option<Vec<u8>> {
    let mut mask = Vec::new();
    for range in list.split(',').map(str::trim).filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if first > last || last > HIGHEST {
            return None;
        }
        mask.resize(mask.len().max(last / 8 + 1), 0);
        (first..=last).for_each(|bit| mask[bit / 8] |= 1 << (bit % 8));
    }
    (!mask.is_empty()).then_some(mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_counted_from_the_lowest_of_the_first_byte() {
        let table: [(&str, &[u8]); 6] = [
            ("0", &[1]),
            ("0-3,7", &[0x8f]),
            ("8", &[0, 1]),
            (" 1 , 9-10,", &[2, 6]),
            ("4-7", &[0xf0]),
            ("63", &[0, 0, 0, 0, 0, 0, 0, 0x80]),
        ];
        for (list, bits) in table {
            assert_eq!(mask(list).as_deref(), Some(bits), "{list}");
        }
    }

    #[test]
    fn what_is_no_list_has_no_mask() {
        for list in
            ["", ",", "a", "3-1", "-1", "1-", "1-2-3", "99999999999999999999", "0-4294967295"]
        {
            assert_eq!(mask(list), None, "{list}");
        }
    }
}
