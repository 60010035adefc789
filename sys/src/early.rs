//! What a program does before the C library prepares it.
//!
//! What a process runs from is changed in place: each part of the program is mapped anew, from a detached read-only mount of its own
//! file, and prctl(PR_SET_MM_MAP) has `/proc/PID/exe` lead there, which the kernel allows when nothing of the former file is
//! mapped. Afterwards the process is as one that executed that mount. That takes ten system calls, where an exec takes an address
//! space, a stack, and page faults for all of it.
//!
//! It has to be done first of all. Twelve pages of a static program that may lie anywhere hold addresses, and the C library sets them
//! right, which makes them the process's own; before, all of the program is as it is in the file. In a program that has not got further
//! than this, those pages must not be used, nor a function that is called by an address in them, as the C library's are, nor `errno`.
//! No compiler promises that of what it makes of Rust, so these are instructions.

use std::sync::atomic::{AtomicBool, Ordering};

/// Lets a program one of whose arguments is one of these words run from a read-only mount of its own file, before anything else. The
/// program has to be linked with `--entry=nrun_entry`.
///
/// Only a short cut: what begins with [`entry!`](crate::entry) still has to look at what it runs from, and to see to it in other
/// ways. On a kernel without `CONFIG_CHECKPOINT_RESTORE`, and where the descriptor of the mount has more than one digit, the program
/// executes the mount; before Linux 5.12, which has brought mount_setattr(2), and without the right to mount, it goes on as it is.
#[cfg(all(target_arch = "x86_64", target_env = "musl"))]
#[macro_export]
macro_rules! early {
    ($($word:literal),+) => {
        /// The kernel starts a program with the stack pointer at the number of arguments; above it are the arguments, a null
        /// pointer, the environment, a null pointer, and the auxiliary vector of keys and values. All other registers are zero.
        // SAFETY of the whole: memory is read along that layout and the program headers only, each part to its end. What is mapped anew
        // has the bytes it had: they are of the same file, to which nobody can write while it is executed, and nothing of it has been
        // changed in memory. Besides that, the room below the stack pointer and a flag of our own are written. The C library's entry
        // is gone to with the registers as the kernel set them.
        #[doc(hidden)]
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        extern "C" fn nrun_entry() -> ! {
            unsafe extern "C" {
                fn _start() -> !;
            }
            ::core::arch::naked_asm!(
                "mov r12, rsp",
                // Without a name of its own a program has no arguments either.
                "cmp qword ptr [rsp], 0",
                "je 90f",
                "lea rbx, [rsp + 16]",

                // Each argument after the name ...
                "20: mov rsi, [rbx]",
                "test rsi, rsi",
                "jz 90f",
                "add rbx, 8",
                // ... is compared with each word, of which the last is empty.
                "lea rdi, [rip + 80f]",
                "30: cmp byte ptr [rdi], 0",
                "je 20b",
                "mov rdx, rsi",
                "40: mov al, [rdi]",
                "cmp al, [rdx]",
                "jne 50f",
                "inc rdi",
                "inc rdx",
                "test al, al",
                "jnz 40b",
                "jmp 60f",
                // Another one: on to the next word, behind the zero of this.
                "50: cmp byte ptr [rdi], 0",
                "lea rdi, [rdi + 1]",
                "jne 50b",
                "jmp 30b",

                // The environment is behind the arguments, and the auxiliary vector behind that.
                "60: mov rax, [rbx]",
                "add rbx, 8",
                "test rax, rax",
                "jnz 60b",
                "mov r14, rbx",
                "61: mov rax, [rbx]",
                "add rbx, 8",
                "test rax, rax",
                "jnz 61b",
                "62: mov rax, [rbx]",
                "test rax, rax",
                "jz 90f",
                "cmp rax, {execfn}",
                "je 63f",
                "add rbx, 16",
                "jmp 62b",
                // The path with which we were executed. It is the last thing on the stack but for eight zeros.
                "63: mov rsi, [rbx + 8]",
                "mov rax, [rip + 81f]",
                "cmp rax, [rsi]",
                "je 90f",

                // struct prctl_mm_map, at the stack pointer from here on. The strings of arguments, environment and path lie one behind
                // the other.
                "sub rsp, 112",
                "mov [rsp + 48], r12",
                "mov [rsp + 80], rsi",
                "mov rax, [r14]",
                "test rax, rax",
                "cmovz rax, rsi",
                "mov [rsp + 72], rax",
                "mov [rsp + 64], rax",
                "mov rax, [r12 + 8]",
                "mov [rsp + 56], rax",
                "xor edi, edi",
                "mov eax, {brk}",
                "syscall",
                "mov [rsp + 40], rax",
                "mov [rsp + 32], rax",

                // open_tree(AT_FDCWD, "/proc/self/exe", flags)
                "mov rdi, {cwd}",
                "lea rsi, [rip + 82f]",
                "mov edx, {tree_flags}",
                "mov eax, {open_tree}",
                "syscall",
                "test eax, eax",
                "js 90f",
                "mov r15d, eax",

                // mount_setattr(mount, "", AT_EMPTY_PATH, struct mount_attr, its size)
                "push 0",
                "push 0",
                "push 0",
                "push {rdonly}",
                "mov edi, r15d",
                "lea rsi, [rip + 83f]",
                "mov edx, {empty_path}",
                "mov r10, rsp",
                "mov r8d, 32",
                "mov eax, {mount_setattr}",
                "syscall",
                "add rsp, 32",
                "test eax, eax",
                "jnz 75f",

                // openat(AT_FDCWD, "/proc/self/fd/N", O_RDONLY | O_CLOEXEC): its last two words, the second with the digit in it.
                "cmp r15d, 9",
                "ja 70f",
                "mov rax, [rip + 84f + 8]",
                "mov rcx, r15",
                "shl rcx, 48",
                "add rax, rcx",
                "push rax",
                "push qword ptr [rip + 84f]",
                "mov rdi, {cwd}",
                "mov rsi, rsp",
                "mov edx, {file_flags}",
                "mov eax, {openat}",
                "syscall",
                "add rsp, 16",
                "test eax, eax",
                "js 70f",
                "mov r13d, eax",

                // Each program header of 56 bytes: type, flags, offset, address, another address, size in the file, and in memory.
                "lea rbp, [rip + __ehdr_start]",
                "movzx ebx, word ptr [rbp + 56]",
                "add rbp, [rbp + 32]",
                "65: cmp dword ptr [rbp], {load}",
                "jne 68f",
                "lea rdi, [rip + __ehdr_start]",
                "add rdi, [rbp + 16]",
                "mov r8, rdi",
                "add r8, [rbp + 32]",
                // Where the code begins and ends, and the data.
                "mov ecx, [rbp + 4]",
                "test ecx, 1",
                "jz 66f",
                "mov [rsp], rdi",
                "mov [rsp + 8], r8",
                "66: test ecx, 2",
                "jz 67f",
                "mov [rsp + 16], rdi",
                "mov [rsp + 24], r8",

                // mmap(address, length, protection, MAP_PRIVATE | MAP_FIXED, file, offset), of whole pages. A header has executing as
                // its lowest bit and reading as its third, a protection the other way round.
                "67: mov esi, edi",
                "and esi, 4095",
                "sub rdi, rsi",
                "mov r9, [rbp + 8]",
                "sub r9, rsi",
                "add rsi, [rbp + 32]",
                "mov edx, ecx",
                "and edx, 2",
                "mov eax, ecx",
                "and eax, 1",
                "lea edx, [rdx + 4 * rax]",
                "shr ecx, 2",
                "and ecx, 1",
                "or edx, ecx",
                "mov r10d, {map_flags}",
                "mov r8d, r13d",
                "mov eax, {mmap}",
                "syscall",
                "test rax, rax",
                "js 69f",
                // What is behind the part in its last page is zeros, as execve(2) leaves it.
                "mov rcx, [rbp + 32]",
                "cmp rcx, [rbp + 40]",
                "je 68f",
                "lea rdi, [rip + __ehdr_start]",
                "add rdi, [rbp + 16]",
                "add rdi, rcx",
                "mov ecx, edi",
                "neg ecx",
                "and ecx, 4095",
                "xor eax, eax",
                "rep stosb",
                "68: add rbp, 56",
                "dec ebx",
                "jnz 65b",

                // prctl(PR_SET_MM, PR_SET_MM_MAP, struct prctl_mm_map, its size, 0)
                "mov qword ptr [rsp + 88], 0",
                "mov dword ptr [rsp + 96], 0",
                "mov [rsp + 100], r13d",
                "mov edi, {set_mm}",
                "mov esi, {map}",
                "mov rdx, rsp",
                "mov r10d, 104",
                "xor r8d, r8d",
                "mov eax, {prctl}",
                "syscall",
                "test eax, eax",
                "setz byte ptr [rip + {done}]",
                "jnz 69f",
                // close_range(mount, file, 0), where nothing of anybody else's lies between them
                "mov edi, r15d",
                "mov esi, r13d",
                "lea eax, [r15 + 1]",
                "cmp eax, esi",
                "jne 69f",
                "xor edx, edx",
                "mov eax, {close_range}",
                "syscall",
                "jmp 90f",

                "69: mov edi, r13d",
                "mov eax, {close}",
                "syscall",
                "cmp byte ptr [rip + {done}], 0",
                "jne 75f",

                // execveat(mount, "", arguments, environment, AT_EMPTY_PATH)
                "70: mov edi, r15d",
                "lea rsi, [rip + 83f]",
                "lea rdx, [r12 + 8]",
                "mov r10, r14",
                "mov r8d, {empty_path}",
                "mov eax, {execveat}",
                "syscall",

                "75: mov edi, r15d",
                "mov eax, {close}",
                "syscall",

                "90: mov rsp, r12",
                "xor ebp, ebp",
                "xor edx, edx",
                "jmp {start}",

                $(concat!("80: .asciz \"", $word, "\""),)+
                "83: .asciz \"\"",
                "81: .ascii \"/dev/fd/\"",
                "82: .asciz \"/proc/self/exe\"",
                // Of 16 bytes.
                "84: .asciz \"/proc/self/fd/0\"",
                execfn = const $crate::early::constant::EXECFN,
                brk = const $crate::early::constant::BRK,
                cwd = const $crate::early::constant::CWD,
                open_tree = const $crate::early::constant::OPEN_TREE,
                tree_flags = const $crate::early::constant::TREE_FLAGS,
                mount_setattr = const $crate::early::constant::MOUNT_SETATTR,
                empty_path = const $crate::early::constant::EMPTY_PATH,
                rdonly = const $crate::early::constant::RDONLY,
                openat = const $crate::early::constant::OPENAT,
                file_flags = const $crate::early::constant::FILE_FLAGS,
                load = const $crate::early::constant::LOAD,
                mmap = const $crate::early::constant::MMAP,
                map_flags = const $crate::early::constant::MAP_FLAGS,
                prctl = const $crate::early::constant::PRCTL,
                set_mm = const $crate::early::constant::SET_MM,
                map = const $crate::early::constant::MAP,
                execveat = const $crate::early::constant::EXECVEAT,
                close = const $crate::early::constant::CLOSE,
                close_range = const $crate::early::constant::CLOSE_RANGE,
                done = sym $crate::early::DONE,
                start = sym _start,
            )
        }
    };
}

/// Only instructions for x86-64 are here, and a program with glibc's interpreter was set right by that before it begins: those execute the
/// mount, once they have begun.
#[cfg(not(all(target_arch = "x86_64", target_env = "musl")))]
#[macro_export]
macro_rules! early {
    ($($word:literal),+) => {};
}

/// Whether this process runs from a read-only mount of its file that nobody else has, and of nothing else.
pub fn runs_from_mount() -> bool {
    DONE.load(Ordering::Relaxed)
}

/// Written by [`early!`] alone, before there is any Rust. As zero it is in no page of the file, which would be mapped anew.
#[doc(hidden)]
pub static DONE: AtomicBool = AtomicBool::new(false);

/// The kernel's numbers, for [`early!`].
#[cfg(all(target_arch = "x86_64", target_env = "musl"))]
#[doc(hidden)]
pub mod constant {
    pub const EXECFN: u64 = libc::AT_EXECFN;
    pub const BRK: i64 = libc::SYS_brk;
    pub const CWD: i32 = libc::AT_FDCWD;
    pub const OPEN_TREE: i64 = libc::SYS_open_tree;
    pub const TREE_FLAGS: u32 = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC;
    pub const MOUNT_SETATTR: i64 = libc::SYS_mount_setattr;
    pub const EMPTY_PATH: i32 = libc::AT_EMPTY_PATH;
    pub const RDONLY: u64 = crate::mount::RDONLY;
    pub const OPENAT: i64 = libc::SYS_openat;
    pub const FILE_FLAGS: i32 = libc::O_RDONLY | libc::O_CLOEXEC;
    pub const LOAD: u32 = libc::PT_LOAD;
    pub const MMAP: i64 = libc::SYS_mmap;
    pub const MAP_FLAGS: i32 = libc::MAP_PRIVATE | libc::MAP_FIXED;
    pub const PRCTL: i64 = libc::SYS_prctl;
    pub const SET_MM: i32 = libc::PR_SET_MM;
    pub const MAP: i32 = libc::PR_SET_MM_MAP;
    pub const EXECVEAT: i64 = libc::SYS_execveat;
    pub const CLOSE: i64 = libc::SYS_close;
    pub const CLOSE_RANGE: i64 = libc::SYS_close_range;
}
