//! HOME, from the passwd file of the image: untrusted, and read with bounds.

use rustix::fs::{FileType, Mode, OFlags};
use std::ffi::CString;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;

/// How much of the file is read: far more than any real one has, and little enough for any container (class E).
const LIMIT: u64 = 1 << 20;

/// `HOME=` and the home directory of `uid`, or `/` where the container does not say: what runc sets. Called inside the root.
pub(super) fn home(uid: u32) -> Option<CString> {
    let home = open().and_then(|file| find(BufReader::new(file.take(LIMIT)), uid));
    let mut entry = b"HOME=".to_vec();
    entry.extend_from_slice(home.as_deref().unwrap_or(b"/"));
    CString::new(entry).ok()
}

/// Never waits: a FIFO is opened without a writer, and then not read. A device is not even opened, for some act on that, such as
/// a watchdog, and an image's may be any: the container's device rules are not in force yet.
fn open() -> Option<File> {
    let kind = FileType::from_raw_mode(rustix::fs::stat(c"/etc/passwd").ok()?.st_mode);
    if kind != FileType::RegularFile {
        return None;
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open(c"/etc/passwd", flags, Mode::empty()).ok()?;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&file).ok()?.st_mode);
    (kind == FileType::RegularFile).then(|| File::from(file))
}

/// The sixth field of the first line whose third is `uid` (passwd(5)).
fn find(passwd: impl BufRead, uid: u32) -> Option<Vec<u8>> {
    for line in passwd.split(b'\n') {
        let line = line.ok()?;
        let mut fields = line.split(|&byte| byte == b':').skip(2);
        let number = fields
            .next()
            .and_then(|field| std::str::from_utf8(field).ok())
            .and_then(|text| text.parse().ok());
        if number == Some(uid) {
            let home = fields.nth(2)?;
            let absolute = std::ffi::OsStr::from_bytes(home).as_bytes().starts_with(b"/");
            return absolute.then(|| home.to_vec());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::find;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\nbroken\n:::\nweb:x:1000:1000::/srv/web:/bin/false\nodd:x:7:7::relative:\n";

    #[test]
    fn the_home_of_a_user_is_the_sixth_field() {
        assert_eq!(find(PASSWD, 0).as_deref(), Some(&b"/root"[..]));
        assert_eq!(find(PASSWD, 1000).as_deref(), Some(&b"/srv/web"[..]));
    }

    #[test]
    fn an_unknown_user_or_a_relative_home_is_none() {
        assert_eq!(find(PASSWD, 4242), None);
        assert_eq!(find(PASSWD, 7), None);
        assert_eq!(find(&b""[..], 0), None);
    }
}
