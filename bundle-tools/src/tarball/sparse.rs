//! Sparse files in their four encodings: old GNU headers, and GNU's PAX versions 0.0, 0.1 and 1.0.
//!
//! Each gives a list of runs of data. [`check`] holds every list to the same rules before anything is written: in order, apart,
//! inside the file, and exactly as long in sum as the data that follows.

use super::{Extent, number};

/// The records of `GNU.sparse.*`.
#[derive(Clone, Debug, Default)]
pub(super) struct PaxSparse {
    pub(super) name: Option<Vec<u8>>,
    pub(super) real_size: Option<u64>,
    /// The runs of versions 0.0 and 0.1.
    pub(super) map: Vec<Extent>,
    has_map: bool,
    pending_offset: Option<u64>,
    major: Option<u64>,
}

/// Where a file's map is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// In the records.
    InHeader,
    /// At the start of the data.
    InData,
}

impl PaxSparse {
    pub(super) fn set(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        match key {
            b"name" => {
                if value.contains(&0) {
                    return None;
                }
                self.name = Some(value.to_vec());
            }
            b"size" | b"realsize" => self.real_size = Some(number::parse_decimal(value)?),
            b"major" => self.major = Some(number::parse_decimal(value)?),
            b"offset" => self.pending_offset = Some(number::parse_decimal(value)?),
            b"numbytes" => {
                let offset = self.pending_offset.take()?;
                self.has_map = true;
                self.map.push(Extent { offset, length: number::parse_decimal(value)? });
            }
            b"map" => {
                self.has_map = true;
                self.map = parse_pairs(value)?;
            }
            _ => {}
        }
        Some(())
    }

    pub(super) fn version(&self) -> Option<Version> {
        match self.major {
            Some(1) => Some(Version::InData),
            _ if self.has_map => Some(Version::InHeader),
            _ => None,
        }
    }
}

fn parse_pairs(text: &[u8]) -> Option<Vec<Extent>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    let numbers: Option<Vec<u64>> = text.split(|b| *b == b',').map(number::parse_decimal).collect();
    let numbers = numbers?;
    let (pairs, []) = numbers.as_chunks::<2>() else { return None };
    Some(pairs.iter().map(|[offset, length]| Extent { offset: *offset, length: *length }).collect())
}

/// The runs in an old GNU header or its extension block. An empty slot ends the list.
pub(super) fn parse_gnu(slots: &[tar::GnuSparseHeader], into: &mut Vec<Extent>) -> Option<()> {
    for slot in slots.iter().take_while(|slot| slot.offset[0] != 0) {
        let offset = u64::try_from(number::parse(&slot.offset)?).ok()?;
        let length = u64::try_from(number::parse(&slot.numbytes)?).ok()?;
        into.push(Extent { offset, length });
    }
    Some(())
}

/// Whether `extents` describe a file of `size` bytes of which `stored` are in the archive.
pub(super) fn check(extents: &[Extent], size: u64, stored: u64) -> Result<(), &'static str> {
    let mut end = 0;
    let mut sum = 0_u64;
    for extent in extents {
        if extent.offset < end {
            return Err("the sparse map is out of order");
        }
        end = extent.offset.checked_add(extent.length).ok_or("the sparse map overflows")?;
        sum += extent.length;
    }
    if end > size {
        return Err("the sparse map reaches past the end of the file");
    }
    if sum != stored {
        return Err("the sparse map does not match the data");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(offset: u64, length: u64) -> Extent {
        Extent { offset, length }
    }

    #[test]
    fn maps_that_lie_are_refused() {
        assert!(check(&[extent(0, 10), extent(100, 5)], 200, 15).is_ok());
        assert!(check(&[], 200, 0).is_ok());
        assert!(check(&[extent(10, 10), extent(5, 5)], 200, 15).is_err());
        assert!(check(&[extent(0, 10), extent(5, 5)], 200, 15).is_err());
        assert!(check(&[extent(198, 10)], 200, 10).is_err());
        assert!(check(&[extent(u64::MAX, 10)], 200, 10).is_err());
        assert!(check(&[extent(0, 10)], 200, 9).is_err());
    }

    #[test]
    fn pax_maps_come_as_a_list_or_as_pairs_of_records() {
        let mut list = PaxSparse::default();
        list.set(b"map", b"0,10,100,5").unwrap();
        let mut records = PaxSparse::default();
        for (key, value) in
            [("offset", "0"), ("numbytes", "10"), ("offset", "100"), ("numbytes", "5")]
        {
            records.set(key.as_bytes(), value.as_bytes()).unwrap();
        }
        assert_eq!(list.map, records.map);
        assert_eq!(list.version(), Some(Version::InHeader));
        assert!(PaxSparse::default().set(b"map", b"0,10,100").is_none());
        assert!(PaxSparse::default().set(b"numbytes", b"10").is_none());
    }
}
