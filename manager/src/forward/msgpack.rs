//! What fluentd's forward protocol needs of MessagePack, appended to a message.
//!
//! <https://github.com/msgpack/msgpack/blob/master/spec.md>

/// Begins an array of so many items.
pub(super) fn array(out: &mut Vec<u8>, length: u8) {
    debug_assert!(length < 16, "a longer one has another form");
    out.push(0x90 | (length & 0xf));
}

/// Begins a map of so many pairs.
pub(super) fn map(out: &mut Vec<u8>, length: usize) {
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length), _) if length < 16 => out.push(0x80 | length),
        (_, Ok(length)) => {
            out.push(0xde);
            out.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            out.push(0xdf);
            out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
        }
    }
}

/// A text; whether it is one of UTF-8 is not looked at.
pub(super) fn text(out: &mut Vec<u8>, text: &[u8]) {
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length), _) if length < 32 => out.push(0xa0 | length),
        (Ok(length), _) => out.extend_from_slice(&[0xd9, length]),
        (_, Ok(length)) => {
            out.push(0xda);
            out.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            out.push(0xdb);
            out.extend_from_slice(&length.to_be_bytes());
        }
    }
    out.extend_from_slice(&text[..length as usize]);
}

/// A number of 32 bits.
pub(super) fn number(out: &mut Vec<u8>, number: u32) {
    out.push(0xce);
    out.extend_from_slice(&number.to_be_bytes());
}

/// Eight bytes of a type that the application knows.
pub(super) fn extension(out: &mut Vec<u8>, kind: u8, bytes: [u8; 8]) {
    out.extend_from_slice(&[0xd7, kind]);
    out.extend_from_slice(&bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out);
        out
    }

    #[test]
    fn lengths_have_the_forms_of_the_specification() {
        assert_eq!(written(|out| array(out, 4)), [0x94]);
        assert_eq!(written(|out| map(out, 15)), [0x8f]);
        assert_eq!(written(|out| map(out, 16)), [0xde, 0, 16]);
        assert_eq!(written(|out| map(out, 70_000)), [0xdf, 0, 1, 0x11, 0x70]);
        assert_eq!(written(|out| text(out, b"")), [0xa0]);
        assert_eq!(written(|out| text(out, b"le")), *b"\xa2le");
        for (length, head) in [
            (31, &[0xbf][..]),
            (32, &[0xd9, 32]),
            (255, &[0xd9, 255]),
            (256, &[0xda, 1, 0]),
            (65_535, &[0xda, 0xff, 0xff]),
            (65_536, &[0xdb, 0, 1, 0, 0]),
        ] {
            let long = vec![b'x'; length];
            assert_eq!(written(|out| text(out, &long)), [head, &long].concat(), "{length}");
        }
    }

    #[test]
    fn numbers_and_extensions_have_their_forms() {
        assert_eq!(written(|out| number(out, 0x0102_0304)), [0xce, 1, 2, 3, 4]);
        let expected = [0xd7, 0, 1, 2, 3, 4, 5, 6, 7, 8];
        assert_eq!(written(|out| extension(out, 0, [1, 2, 3, 4, 5, 6, 7, 8])), expected);
    }
}
