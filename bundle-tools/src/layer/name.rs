//! Names of entries, made into paths below the root.

use super::Error;

/// What an entry's last component says about lower layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Marker<'a> {
    /// `.wh..wh..opq`: the directory hides what lower layers have in it.
    Opaque,
    /// `.wh.NAME`: lower layers' NAME is gone.
    Whiteout(&'a [u8]),
    /// `.wh..wh.*`: book-keeping of aufs that means nothing here.
    Aufs,
}

const WHITEOUT: &[u8] = b".wh.";
const AUFS: &[u8] = b".wh..wh.";

/// The clean relative path of a name: no empty, `.` or `..` component and no leading slash; empty for the root itself.
///
/// `a/../b` is `b`, as in Go's `path.Clean`, and a path that would climb over the root is refused rather than bent.
pub(crate) fn clean(name: &[u8], depth: usize) -> Result<Vec<u8>, Error> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in name.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                if parts.pop().is_none() {
                    return Err(Error::refused(name, "it lies outside of the root"));
                }
            }
            _ => parts.push(part),
        }
    }
    if parts.len() > depth {
        return Err(Error::limit(name, format!("its path is deeper than {depth} directories")));
    }
    Ok(parts.join(&b'/'))
}

/// The parent and the last component of a clean path that is not empty.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|b| *b == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&[], path),
    }
}

/// The marker that a clean path is, if it is one. Only the exact prefix counts: `.white` is a file.
pub(super) fn marker(path: &[u8]) -> Result<Option<Marker<'_>>, Error> {
    let (parent, name) = split(path);
    for part in parent.split(|b| *b == b'/') {
        if part.starts_with(AUFS) {
            return Ok(Some(Marker::Aufs));
        }
        if part.starts_with(WHITEOUT) {
            return Err(Error::refused(path, "a whiteout has nothing in it"));
        }
    }
    match name {
        b".wh..wh..opq" => Ok(Some(Marker::Opaque)),
        _ if name.starts_with(AUFS) => Ok(Some(Marker::Aufs)),
        _ => match name.strip_prefix(WHITEOUT) {
            None => Ok(None),
            Some(b"" | b"." | b"..") => {
                Err(Error::refused(path, "it is a whiteout of no file name"))
            }
            Some(hidden) => Ok(Some(Marker::Whiteout(hidden))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_relative_and_never_climb() {
        for (name, path) in [
            ("a/b", "a/b"),
            ("./a//b/", "a/b"),
            ("/etc/passwd", "etc/passwd"),
            ("a/../b", "b"),
            ("./", ""),
            ("a/..", ""),
        ] {
            assert_eq!(clean(name.as_bytes(), 8).unwrap(), path.as_bytes(), "{name}");
        }
        for bad in ["..", "../a", "/../a", "a/../../b", "a/b/../../../c"] {
            assert!(matches!(clean(bad.as_bytes(), 8), Err(Error::Refused { .. })), "{bad}");
        }
        assert!(matches!(clean(b"a/b/c", 2), Err(Error::Limit { .. })));
    }

    #[test]
    fn whiteouts_are_recognised_by_their_exact_prefix() {
        let whiteout = |name| Some(Marker::Whiteout(name));
        assert_eq!(marker(b"a/.wh.b").unwrap(), whiteout(b"b"));
        assert_eq!(marker(b".wh.b").unwrap(), whiteout(b"b"));
        assert_eq!(marker(b".wh.wh.b").unwrap(), whiteout(b"wh.b"));
        assert_eq!(marker(b"a/.wh..wh..opq").unwrap(), Some(Marker::Opaque));
        assert_eq!(marker(b".wh..wh.plnk/x").unwrap(), Some(Marker::Aufs));
        assert_eq!(marker(b".wh..wh.aufs").unwrap(), Some(Marker::Aufs));
        for file in [&b"a/.whb"[..], b".white", b"x.wh.b", b"wh.b"] {
            assert_eq!(marker(file).unwrap(), None);
        }
        for bad in [&b".wh."[..], b".wh..", b"a/.wh...", b".wh.x/y"] {
            assert!(marker(bad).is_err(), "{bad:?}");
        }
    }
}
