//! PAX extended headers: `length key=value\n` records that override fields of the header that follows them.

use std::collections::BTreeMap;

use rustix::fs::Timespec;

use super::{number, sparse::PaxSparse};

/// What the records say. A later record wins over an earlier one; an empty value takes an override back, as POSIX has it.
#[derive(Clone, Debug, Default)]
pub(super) struct Overrides {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<Timespec>,
    /// By their names, of which there may be tens of thousands.
    pub(super) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) sparse: PaxSparse,
}

const XATTR: &[u8] = b"SCHILY.xattr.";

impl Overrides {
    /// Adds the records of one extended header.
    pub(super) fn read(&mut self, mut data: &[u8]) -> Result<(), String> {
        while !data.is_empty() {
            let (key, value, rest) = split_record(data).ok_or("a malformed PAX record")?;
            self.set(key, value).ok_or_else(|| {
                format!("PAX record `{}` has a bad value", String::from_utf8_lossy(key))
            })?;
            data = rest;
        }
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        match key {
            b"path" => self.path = text(value)?,
            b"linkpath" => self.link = text(value)?,
            b"size" => self.size = optional(value, number::parse_decimal)?,
            b"uid" => self.uid = optional(value, number::parse_decimal)?,
            b"gid" => self.gid = optional(value, number::parse_decimal)?,
            b"mtime" => self.mtime = optional(value, number::parse_time)?,
            _ => {
                if let Some(name) = key.strip_prefix(XATTR) {
                    self.set_xattr(name, value)?;
                } else if let Some(name) = key.strip_prefix(b"GNU.sparse.") {
                    self.sparse.set(name, value)?;
                }
            }
        }
        Some(())
    }

    fn set_xattr(&mut self, name: &[u8], value: &[u8]) -> Option<()> {
        if name.is_empty() || name.contains(&0) {
            return None;
        }
        self.xattrs.insert(name.to_vec(), value.to_vec());
        Some(())
    }
}

/// A name cannot hold a NUL: what is behind it would be seen by us and not by the kernel.
#[expect(clippy::option_option, reason = "outer: valid, inner: set or taken back")]
fn text(value: &[u8]) -> Option<Option<Vec<u8>>> {
    if value.contains(&0) {
        return None;
    }
    Some(if value.is_empty() { None } else { Some(value.to_vec()) })
}

#[expect(clippy::option_option, reason = "outer: valid, inner: set or taken back")]
fn optional<T>(value: &[u8], parse: impl Fn(&[u8]) -> Option<T>) -> Option<Option<T>> {
    if value.is_empty() { Some(None) } else { parse(value).map(Some) }
}

/// Key, value and what follows the first record. The value may hold any bytes, line feeds included: only the length counts.
fn split_record(data: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = data.iter().take(20).position(|b| *b == b' ')?;
    let length = usize::try_from(number::parse_decimal(&data[..space])?).ok()?;
    let record = data.get(space + 1..length)?;
    let (b'\n', record) = record.split_last()? else { return None };
    let equals = record.iter().position(|b| *b == b'=')?;
    let (key, value) = (&record[..equals], &record[equals + 1..]);
    (!key.is_empty()).then_some((key, value, &data[length..]))
}

/// Appends one record to `data`.
pub(super) fn push_record(data: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    // The length counts its own digits.
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    data.extend_from_slice(length.to_string().as_bytes());
    data.push(b' ');
    data.extend_from_slice(key);
    data.push(b'=');
    data.extend_from_slice(value);
    data.push(b'\n');
}

/// Appends the record of an extended attribute.
pub(super) fn push_xattr(data: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    push_record(data, &[XATTR, name].concat(), value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(data: &[u8]) -> Result<Overrides, String> {
        let mut overrides = Overrides::default();
        overrides.read(data).map(|()| overrides)
    }

    #[test]
    fn a_binary_value_with_line_feeds_and_equal_signs_is_kept_whole() {
        let value = b"\x01\n=\x00\n12 path=/etc/shadow\n";
        let mut data = Vec::new();
        push_xattr(&mut data, b"security.capability", value);
        let overrides = read(&data).unwrap();
        let expected = BTreeMap::from([(b"security.capability".to_vec(), value.to_vec())]);
        assert_eq!(overrides.xattrs, expected);
        assert_eq!(overrides.path, None);
    }

    #[test]
    fn record_lengths_count_their_own_digits() {
        for n in 0..1200 {
            let mut data = Vec::new();
            push_record(&mut data, b"path", &vec![b'x'; n]);
            push_record(&mut data, b"uid", b"7");
            assert_eq!(read(&data).unwrap().uid, Some(7), "{n}");
        }
    }

    #[test]
    fn malformed_records_are_refused() {
        for bad in [
            &b"5"[..],
            b"99 path=x\n",
            b"9 path=xy",
            b"0 path=x\n",
            b"-1 path=x\n",
            b"99999999999999999999999 path=x\n",
            b"10 path=x\0\n",
            b"9 size=-\n",
            b"6 =xy\n",
            b"21 uid=4294967296x\n",
            b"29 size=18446744073709551615\n",
            b"28 size=9223372036854775808\n",
        ] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_last_of_many_attributes_of_one_name_counts() {
        let mut data = Vec::new();
        for n in 0..60_000_u32 {
            push_xattr(&mut data, format!("user.{}", n % 50_000).as_bytes(), &n.to_be_bytes());
        }
        // Looking through all that are known for each would take minutes.
        let xattrs = read(&data).unwrap().xattrs;
        assert_eq!(xattrs.len(), 50_000);
        assert_eq!(xattrs[&b"user.7"[..]], 50_007_u32.to_be_bytes());
    }

    #[test]
    fn an_empty_value_takes_an_override_back() {
        let mut data = Vec::new();
        push_record(&mut data, b"path", b"a");
        push_record(&mut data, b"path", b"");
        assert_eq!(read(&data).unwrap().path, None);
    }
}
