//! bpf(2), as far as device rules of cgroup v2 need it: load a program of type `cgroup_device`, attach it to a cgroup,
//! find what is attached, detach it.
//!
//! The programs are made elsewhere, as plain values; the kernel's verifier is what judges them. Nothing here keeps a
//! pointer after the call: every buffer is borrowed for the duration of one system call.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::{Result, check};

/// One eBPF instruction, in the kernel's layout (`struct bpf_insn`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Instruction {
    /// Class, operation and source of the second operand.
    pub code: u8,
    /// The destination register in the low four bits, the source register in the high four.
    pub registers: u8,
    /// How many instructions a jump skips, or the offset of a load.
    pub offset: i16,
    /// The constant operand.
    pub immediate: i32,
}

const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const PROG_DETACH: libc::c_int = 9;
const PROG_GET_FD_BY_ID: libc::c_int = 13;
const PROG_QUERY: libc::c_int = 16;

const TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
/// `BPF_F_ALLOW_MULTI`: programs of the cgroup and of its ancestors all have to allow an access, and sub-cgroups may
/// have programs of their own.
const ALLOW_MULTI: u32 = 2;
/// A cgroup holds at most 64 programs of one kind (`BPF_CGROUP_MAX_PROGS`).
const MAX_PROGRAMS: usize = 64;

#[repr(C)]
struct Load {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
}

#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    attach_type: u32,
    flags: u32,
}

#[repr(C)]
struct Query {
    target: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    ids: u64,
    count: u32,
    padding: u32,
}

#[repr(C)]
struct ById {
    id: u32,
    next: u32,
    open_flags: u32,
}

/// Runs one bpf(2) command on `attributes`, a structure of the layout that the command expects.
fn bpf<T>(command: libc::c_int, attributes: &mut T) -> Result<libc::c_long> {
    // SAFETY: `attributes` is a live, exclusively borrowed `repr(C)` value and the size passed is its own, so the kernel
    // reads and writes inside it only. The addresses that the callers in this file put into it belong to buffers that
    // outlive the call, with the lengths beside them.
    let ret = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>())
    };
    check(ret)
}

/// Wraps a file descriptor that a bpf(2) command just returned.
fn owned(fd: libc::c_long) -> OwnedFd {
    let fd = libc::c_int::try_from(fd).expect("a file descriptor fits an int");
    // SAFETY: the kernel has just made this descriptor for us (close-on-exec) and nothing else knows its number.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    u32::try_from(fd.as_raw_fd()).expect("an open descriptor is not negative")
}

/// Loads a program that decides on accesses to devices (`BPF_PROG_TYPE_CGROUP_DEVICE`).
///
/// Fails with `EINVAL` or `EACCES` for a program that the verifier rejects, and with `EPERM` without `CAP_BPF` and
/// `CAP_NET_ADMIN` (or `CAP_SYS_ADMIN`) in the initial user namespace.
pub fn load_device_program(program: &[Instruction]) -> Result<OwnedFd> {
    let license = c"Apache";
    let mut name = [0; 16];
    name[..12].copy_from_slice(b"nrun_devices");
    let mut attributes = Load {
        program_type: TYPE_CGROUP_DEVICE,
        instruction_count: u32::try_from(program.len()).map_err(|_| rustix::io::Errno::TOOBIG)?,
        instructions: program.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
        name,
    };
    bpf(PROG_LOAD, &mut attributes).map(owned)
}

/// Attaches a device program to a cgroup, beside what is already attached there.
pub fn attach_device_program(cgroup: impl AsFd, program: impl AsFd) -> Result<()> {
    let mut attributes = Attach {
        target: number(cgroup.as_fd()),
        program: number(program.as_fd()),
        attach_type: ATTACH_CGROUP_DEVICE,
        flags: ALLOW_MULTI,
    };
    bpf(PROG_ATTACH, &mut attributes).map(drop)
}

/// Detaches one device program from a cgroup.
pub fn detach_device_program(cgroup: impl AsFd, program: impl AsFd) -> Result<()> {
    let mut attributes = Attach {
        target: number(cgroup.as_fd()),
        program: number(program.as_fd()),
        attach_type: ATTACH_CGROUP_DEVICE,
        flags: 0,
    };
    bpf(PROG_DETACH, &mut attributes).map(drop)
}

/// The device programs that are attached to a cgroup itself, its ancestors' left out.
pub fn device_programs(cgroup: impl AsFd) -> Result<Vec<OwnedFd>> {
    let mut ids = [0_u32; MAX_PROGRAMS];
    let mut attributes = Query {
        target: number(cgroup.as_fd()),
        attach_type: ATTACH_CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        ids: ids.as_mut_ptr() as u64,
        count: MAX_PROGRAMS as u32,
        padding: 0,
    };
    bpf(PROG_QUERY, &mut attributes)?;
    let count = attributes.count as usize;
    ids[..count.min(MAX_PROGRAMS)].iter().filter_map(|id| program_by_id(*id).transpose()).collect()
}

/// Opens a program by its id; `None` when it has gone since its id was read.
fn program_by_id(id: u32) -> Result<Option<OwnedFd>> {
    match bpf(PROG_GET_FD_BY_ID, &mut ById { id, next: 0, open_flags: 0 }) {
        Ok(fd) => Ok(Some(owned(fd))),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}
