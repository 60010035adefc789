//! The system calls that rustix does not have, those that it marks unsafe, and what more than one program asks of the system with
//! several of them (`process`, `beneath`, `directory`, `exec`).
//!
//! This is the only crate of the workspace that may contain `unsafe` (invariant I4). Every function here is safe to
//! call: where the kernel's rule cannot be expressed in types, the module says who upholds it and checks it in debug
//! builds. Nothing in here allocates after a `clone`, logs, or resolves a path outside a directory fd it was given.

pub mod beneath;
pub mod bpf;
pub mod clock;
pub mod clone;
#[cfg(all(target_arch = "x86_64", target_env = "musl"))]
mod copy;
pub mod datagram;
pub mod directory;
pub mod early;
pub mod entry;
pub mod exec;
pub mod execution;
pub mod fd;
pub mod heap;
pub mod ids;
pub mod init;
pub mod keyring;
pub mod memory;
pub mod mount;
pub mod namespace;
pub mod network;
pub mod notification;
pub mod process;
pub mod ptrace;
pub mod scheduling;
pub mod seccomp;
pub mod selinux;
pub mod signals;
pub mod wait;

/// The error type of every call in this crate: a bare errno, because the callers know the object and the reason.
pub type Result<T> = std::result::Result<T, rustix::io::Errno>;

/// The text of an errno as the C library has it, with a small letter in front, as it stands in the middle of a message:
/// `no such file or directory`, but `I/O error`. Engines match some of these texts.
pub fn text(errno: rustix::io::Errno) -> String {
    mid_sentence(&std::io::Error::from(errno).to_string())
}

/// The same of what the standard library says of an error, whose number is left out with whatever follows it.
pub fn mid_sentence(text: &str) -> String {
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    match (chars.next(), chars.clone().next()) {
        (Some(first), Some(second)) if second.is_lowercase() => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => text.to_owned(),
    }
}

/// Turns the return value of a raw system call into a result.
fn check(ret: libc::c_long) -> Result<libc::c_long> {
    if ret == -1 { Err(last_errno()) } else { Ok(ret) }
}

/// The calling thread's errno.
fn last_errno() -> rustix::io::Errno {
    rustix::io::Errno::from_io_error(&std::io::Error::last_os_error())
        .expect("errno was set by a failed call")
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    #[test]
    fn the_text_of_an_errno_begins_with_a_small_letter_unless_it_is_an_acronym() {
        assert_eq!(super::text(Errno::NOENT), "no such file or directory");
        assert_eq!(super::text(Errno::PERM), "operation not permitted");
        assert_eq!(super::text(Errno::IO), "I/O error");
        assert_eq!(super::mid_sentence("RTNETLINK answers"), "RTNETLINK answers");
        assert_eq!(super::mid_sentence(""), "");
    }
}
