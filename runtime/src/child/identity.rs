//! Ids, capabilities, limits: what the process may do.

use crate::plan::op::Capabilities;
use rustix::fs::{FileType, OFlags, Stat};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Gid, Pid, Resource, Rlimit, Uid};
use rustix::stdio;
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set,
    configure_capability_in_ambient_set, remove_capability_from_bounding_set, set_capabilities,
    set_keep_capabilities, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};
use std::ffi::CStr;
use std::os::fd::BorrowedFd;

/// Root of the user namespace. The change of ids makes the process's /proc entry root's, whom the namespace may not have. With
/// `dumpable` it is taken back, because something is still written there; without, nobody who is in the namespace already
/// can trace us, not for a single instruction (CVE-2016-9962).
pub(super) fn namespace_root(dumpable: bool) -> Result<(), Errno> {
    let (uid, gid) = (Uid::ROOT, Gid::ROOT);
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)?;
    if dumpable {
        rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable)
    } else {
        not_dumpable()
    }
}

/// Until the exec this process is the runtime, with the runtime's executable: nobody in a shared pid namespace may open it
/// through /proc/PID/exe or attach to it (CVE-2016-9962, CVE-2019-5736).
pub(super) fn not_dumpable() -> Result<(), Errno> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
}

pub(crate) fn rlimit(
    pid: Option<Pid>,
    resource: Resource,
    soft: Option<u64>,
    hard: Option<u64>,
) -> Result<(), Errno> {
    rustix::process::prlimit(pid, resource, Rlimit { current: soft, maximum: hard }).map(drop)
}

/// A kernel without keyrings has none to leak. One that is there under this name and may not be changed is left as it is.
pub(super) fn keyring(name: &CStr) -> Result<(), Errno> {
    match sys::keyring::join_session(name) {
        Err(Errno::NOSYS) => return Ok(()),
        joined => joined?,
    }
    match sys::keyring::let_user_search_session() {
        Err(Errno::ACCESS) => Ok(()),
        allowed => allowed,
    }
}

/// Drops what is not kept, up to the last capability that the kernel knows, which it tells by EINVAL for the next: a list of
/// our own would leave newer ones in (capabilities(7)).
pub(super) fn bounding(keep: u64) -> Result<(), Errno> {
    for number in 0..u64::BITS {
        let bit = CapabilitySet::from_bits_retain(1 << number);
        if keep & bit.bits() != 0 {
            continue;
        }
        match remove_capability_from_bounding_set(bit) {
            Err(Errno::INVAL) => break,
            // Without CAP_SETPCAP nothing can be taken away, and without it in the bounding set there is nothing to gain.
            Err(Errno::PERM) if !rustix::thread::capability_is_in_bounding_set(bit)? => {}
            dropped => dropped?,
        }
    }
    Ok(())
}

/// Streams that are not ours yet are given away, so that /dev/stdout can be opened; a socket or a read-only file system that refuses is
/// no reason to fail.
pub(super) fn standard_streams(uid: u32) -> Result<(), Errno> {
    for fd in [stdio::stdin(), stdio::stdout(), stdio::stderr()] {
        let Ok(stat) = rustix::fs::fstat(fd) else { continue };
        if stat.st_uid == uid || !may_be_given(fd, &stat) {
            continue;
        }
        match rustix::fs::fchown(fd, Some(Uid::from_raw(uid)), None) {
            Err(Errno::INVAL | Errno::PERM | Errno::ROFS) => {}
            given => given?,
        }
    }
    Ok(())
}

/// Whose owner may be another is a pipe, a socket or a terminal, or a file that may be written to anyway: who owns what was handed in to
/// be read opens it again to write, through /proc/self/fd. Directories and devices, such as /dev/null, are shared by everybody.
fn may_be_given(fd: BorrowedFd<'_>, stat: &Stat) -> bool {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Fifo | FileType::Socket => true,
        FileType::RegularFile => {
            let writable = OFlags::WRONLY | OFlags::RDWR;
            rustix::fs::fcntl_getfl(fd).is_ok_and(|flags| flags.intersects(writable))
        }
        FileType::CharacterDevice => rustix::termios::isatty(fd),
        _ => false,
    }
}

/// Groups first, the user last: it is the user id that the right to change the others hangs on. The permitted capabilities are kept
/// across the change, to be cut down to the container's own afterwards. Groups are always set: those of whoever started us
/// are never inherited (CVE-2022-2989), but where the user namespace lets nobody give them up, or an annotation asks for it.
pub(super) fn user(
    uid: u32,
    gid: u32,
    groups: Option<&[u32]>,
    may_be_denied: bool,
) -> Result<(), Errno> {
    // The kernel drops them only when the last id that is 0 goes away.
    if uid != 0 {
        set_keep_capabilities(true)?;
    }
    if let Some(groups) = groups {
        let list: Vec<Gid> = groups.iter().map(|&gid| Gid::from_raw(gid)).collect();
        match set_thread_groups(&list) {
            Err(Errno::PERM) if may_be_denied && groups.is_empty() => {}
            set => set?,
        }
    }
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)?;
    // A change of ids makes the process what fs.suid_dumpable says.
    if uid == Uid::ROOT { Ok(()) } else { not_dumpable() }
}

pub(super) fn capabilities(sets: &Capabilities) -> Result<(), Errno> {
    let set = CapabilitySet::from_bits_retain;
    let all = CapabilitySets {
        effective: set(sets.effective),
        permitted: set(sets.permitted),
        inheritable: set(sets.inheritable),
    };
    set_capabilities(None, all)?;
    // The kernel keeps the ambient set within the inheritable one, so that an empty one has emptied it.
    if sets.inheritable != 0 {
        clear_ambient_capability_set()?;
    }
    for bit in (0..u64::BITS).map(|number| 1u64 << number).filter(|bit| sets.ambient & bit != 0) {
        configure_capability_in_ambient_set(set(bit), true)?;
    }
    Ok(())
}
