//! Netlink attributes: a writer that pads and closes what it opens, and a reader that stops at bad lengths.

use netlink_packet_core::{NLA_F_NESTED, NLA_HEADER_SIZE, NlasIterator};

/// Appends attributes to a message under construction.
pub(crate) struct Writer<'a>(pub(crate) &'a mut Vec<u8>);

impl Writer<'_> {
    /// An attribute with these bytes, padded to four.
    pub(crate) fn bytes(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let start = self.open(kind);
        self.0.extend_from_slice(value);
        self.close(start);
        self
    }

    /// A 32-bit number in network order, as nf_tables has them.
    pub(crate) fn be32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// A zero-terminated string.
    pub(crate) fn string(&mut self, kind: u16, value: &str) -> &mut Self {
        let start = self.open(kind);
        self.0.extend_from_slice(value.as_bytes());
        self.0.push(0);
        self.close(start);
        self
    }

    /// An attribute that holds attributes.
    pub(crate) fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Writer<'_>)) -> &mut Self {
        let start = self.open(kind | NLA_F_NESTED);
        fill(&mut Writer(self.0));
        self.close(start);
        self
    }

    fn open(&mut self, kind: u16) -> usize {
        let start = self.0.len();
        self.0.extend_from_slice(&[0, 0]);
        self.0.extend_from_slice(&kind.to_ne_bytes());
        start
    }

    fn close(&mut self, start: usize) {
        let length = self.0.len() - start;
        // Nothing this program writes comes near: a published port is a message of its own.
        let length = u16::try_from(length).expect("an attribute is shorter than 64 KiB");
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.0.resize(self.0.len().next_multiple_of(NLA_HEADER_SIZE), 0);
    }
}

/// The attributes in `bytes`, kind and value, up to the first that is malformed.
pub(crate) fn iterate(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    NlasIterator::new(bytes).map_while(|attribute| {
        let attribute = attribute.ok()?;
        let (kind, length) = (attribute.kind(), usize::from(attribute.length()));
        attribute.into_inner().get(NLA_HEADER_SIZE..length).map(|value| (kind, value))
    })
}

/// The value of the first attribute of that kind.
pub(crate) fn find(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    iterate(bytes).find(|attribute| attribute.0 == kind).map(|attribute| attribute.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read_and_is_padded() {
        let mut bytes = Vec::new();
        Writer(&mut bytes).string(1, "ab").nested(2, |inner| {
            inner.be32(3, 7);
        });
        assert_eq!(bytes.len(), 8 + 12);
        assert_eq!(bytes[..8], [7, 0, 1, 0, b'a', b'b', 0, 0]);
        assert_eq!(find(find(&bytes, 2).unwrap(), 3), Some(&[0, 0, 0, 7][..]));
        assert_eq!(find(&bytes, 9), None);
    }

    #[test]
    fn a_bad_length_ends_the_walk() {
        assert_eq!(iterate(&[200, 0, 1, 0, 1, 2, 3, 4]).count(), 0);
        assert_eq!(iterate(&[1, 0, 1, 0]).count(), 0);
    }
}
