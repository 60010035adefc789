//! Our own executable, kept out of a container's reach (class A: CVE-2019-5736).
//!
//! Until its exec the container's first process is this program, and a container whose entrypoint is `/proc/self/exe` even executes
//! it: /proc/PID/exe then leads from inside the container to the file on the host, and whoever opens it for writing owns every
//! later container. So before anything of a container exists, the program runs from a detached, read-only mount of its own file: the
//! link leads to that mount, which nobody can make writable again. Who may make such a mount, on Linux 5.12 and later, has
//! changed over to it before there is any Rust, and without an exec: see [`sys::early`]. Here it is found out whether that was done;
//! if not, the program executes itself again, from the mount or, without the privilege to make one, from a sealed memfd.

use crate::error::{Error, Result};
use rustix::fs::{CWD, MemfdFlags, Mode, OFlags, SealFlags, StatVfsMountFlags};
use rustix::io::Errno;
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;
use sys::entry::Arguments;
use sys::mount::{Attributes, RDONLY};

/// The commands of which a process becomes a container's.
const COMMANDS: [&CStr; 3] = [c"create", c"exec", c"run"];

/// Known once it was found: what a process runs from is changed before `main` or by an exec.
static PROTECTED: OnceLock<()> = OnceLock::new();

const OURSELVES: &CStr = c"/proc/self/exe";

/// The program's first act. What is done before it executes itself again is done twice, so that this does not wait for the command
/// line to be understood; a word that is no command costs a little, no more. Where it cannot be done the command says so later.
pub fn at_first(arguments: Arguments) {
    if arguments.skip(1).any(|word| COMMANDS.contains(&word)) {
        let _ = our_executable();
    }
}

/// Returns when this process runs from a file that cannot be written through /proc; executes itself again otherwise.
///
/// # Errors
/// When neither a mount nor a copy can be made: nothing is started unprotected.
pub fn our_executable() -> Result<()> {
    let failed = |errno| Error::system("protect our own executable from the container", errno);
    if PROTECTED.get().is_some() {
        return Ok(());
    }
    if is_protected().map_err(failed)? {
        let _ = PROTECTED.set(());
        return Ok(());
    }
    let executable = read_only_mount().or_else(|_| sealed_copy());
    let executable = executable.map_err(|errno| match failed(errno) {
        Error::System { what, errno } if errno == Errno::ACCESS && no_memfd_is_executed() => {
            let hint = "`vm.memfd_noexec` is 2 here, so that a sealed copy cannot be executed: run nrun as root, or set it to 1 at most";
            Error::Hinted { what, errno, hint }
        }
        error => error,
    })?;
    Err(failed(sys::entry::again(executable.as_fd())))
}

/// Whether the kernel makes no memfd that could be executed (Linux 6.3).
fn no_memfd_is_executed() -> bool {
    std::fs::read("/proc/sys/vm/memfd_noexec").is_ok_and(|value| value.starts_with(b"2"))
}

/// A read-only mount, or a sealed memfd. Nothing that a caller could claim, such as an environment variable, is asked.
fn is_protected() -> std::result::Result<bool, Errno> {
    if sys::early::runs_from_mount() {
        return Ok(true);
    }
    // A path that is longer is of neither kind.
    let mut buffer = [MaybeUninit::uninit(); 64];
    let (path, _) = rustix::fs::readlinkat_raw(CWD, OURSELVES, &mut buffer)?;
    // A mount of the host's that is read-only now can be made writable while somebody holds on to what the link led to. Ours is
    // known by being detached: its path is that of its root, which no file in a mount namespace can have.
    if *path == *b"/" {
        return Ok(rustix::fs::statvfs(OURSELVES)?.f_flag.contains(StatVfsMountFlags::RDONLY));
    }
    // Only a memfd can have been sealed.
    if !path.starts_with(b"/memfd:") {
        return Ok(false);
    }
    let file = rustix::fs::open(OURSELVES, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    Ok(rustix::fs::fcntl_get_seals(&file).is_ok_and(|seals| seals.contains(SealFlags::WRITE)))
}

/// As [`sys::early`] does it, where a system call has failed there.
fn read_only_mount() -> std::result::Result<OwnedFd, Errno> {
    let tree = sys::mount::clone_tree(CWD, OURSELVES, &Attributes::default(), false)?;
    let attributes = Attributes { set: RDONLY, ..Attributes::default() };
    sys::mount::set_attributes(tree.as_fd(), &attributes, false)?;
    Ok(tree)
}

fn sealed_copy() -> std::result::Result<OwnedFd, Errno> {
    let source = rustix::fs::open(OURSELVES, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // MFD_EXEC is asked for since Linux 6.3, and unknown before.
    let copy = rustix::fs::memfd_create("nrun", flags | MemfdFlags::from_bits_retain(0x10))
        .or_else(|errno| match errno {
            Errno::INVAL => rustix::fs::memfd_create("nrun", flags),
            // Asked for without a word of executing, it would be made, and not be executed.
            errno => Err(errno),
        })?;
    let mut left = rustix::fs::fstat(&source)?.st_size.cast_unsigned();
    while left > 0 {
        match rustix::fs::sendfile(
            &copy,
            &source,
            None,
            usize::try_from(left).unwrap_or(usize::MAX),
        )? {
            0 => return Err(Errno::IO),
            sent => left -= sent as u64,
        }
    }
    rustix::fs::fcntl_add_seals(
        &copy,
        SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE,
    )?;
    Ok(copy)
}
