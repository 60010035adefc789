//! Which extended attributes of files their copies have.

use rustix::io::Errno;
use std::os::fd::OwnedFd;

/// The attribute with the capabilities that a program gets, which are worth nothing but with its owner.
pub(super) const CAPABILITY: &[u8] = b"security.capability";

/// The attributes of a file that its copies may have, in the order of their names.
pub(crate) fn xattrs(file: &OwnedFd) -> rustix::io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut names = vec![0; 64 << 10];
    let length = match rustix::fs::flistxattr(file, &mut names[..]) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => 0,
        Err(errno) => return Err(errno),
    };
    let mut value = vec![0; if length == 0 { 0 } else { 64 << 10 }];
    let mut found = Vec::new();
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let is_users = name.starts_with(b"user.") || name.starts_with(b"system.posix_acl");
        if !(is_users || name == CAPABILITY) {
            continue;
        }
        // One that has gone meanwhile is not missed.
        let Ok(length) = rustix::fs::fgetxattr(file, name, &mut value[..]) else { continue };
        found.push((name.to_vec(), value[..length].to_vec()));
    }
    found.sort_unstable();
    Ok(found)
}
