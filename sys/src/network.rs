//! Interface flags (netdevice(7)).

use crate::{Result, check};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::os::fd::AsRawFd;

/// Brings up `lo` in the calling thread's network namespace; the kernel gives it its addresses by itself.
///
/// # Errors
/// `EPERM` without CAP_NET_ADMIN in the namespace's user namespace.
pub fn loopback_up() -> Result<()> {
    // A socket of any family will do. This one is made with least effort, and by every kernel.
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    // SAFETY: `ifreq` is plain data, for which all zeroes is a valid value: an empty name and no flags.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[..2].copy_from_slice(&[b'l', b'o'].map(|letter| letter as libc::c_char));
    request.ifr_ifru.ifru_flags = i16::try_from(libc::IFF_UP).unwrap_or(1);
    // SAFETY: the socket is open, and the kernel reads one `ifreq` through the pointer, which is valid for the call.
    let ret =
        unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) };
    // The caller execs in a moment, which closes it without a call of its own.
    crate::fd::until_exec(socket);
    check(ret.into()).map(drop)
}
