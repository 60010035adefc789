//! What a program does before the C library prepares it.
//!
//! Twelve pages of a static program that may lie anywhere hold addresses. The C library sets them right first of all, which writes to
//! each page, so that the kernel copies it; then it makes what belongs to a thread. A program that executes itself again does all that
//! twice, and need not: here it does so before.
//!
//! In a program that has not got further than this, those pages must not be used, nor a function that is called by an address in them,
//! as the C library's are, nor `errno`. No compiler promises that of what it makes of Rust, so these are instructions.

/// Lets a program one of whose arguments is one of these words execute itself again through a read-only mount of its own file, before
/// anything else. The program has to be linked with `--entry=nrun_entry`.
///
/// Only a short cut: what begins with [`entry!`](crate::entry) still has to look at what it runs from, and to do the same in all other
/// ways. Nothing is done in a program that was executed by a descriptor, as it is the second time; nor before Linux 6.15, which has
/// brought open_tree_attr(2); and where one of the calls fails, the program goes on as it is.
#[macro_export]
macro_rules! early {
    ($($word:literal),+) => {
        /// The kernel starts a program with the stack pointer at the number of arguments; above it are the arguments, a null
        /// pointer, the environment, a null pointer, and the auxiliary vector of keys and values. All other registers are zero.
        // SAFETY of the whole: memory is read along that layout only, each part to its end; the one thing that is written is the room
        // for an argument below the stack pointer; and the C library's entry is gone to with the registers as the kernel set them.
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

                // open_tree_attr(AT_FDCWD, "/proc/self/exe", flags, struct mount_attr, its size)
                "push 0",
                "push 0",
                "push 0",
                "push {rdonly}",
                "mov rdi, {cwd}",
                "lea rsi, [rip + 82f]",
                "mov edx, {flags}",
                "mov r10, rsp",
                "mov r8d, 32",
                "mov eax, 467",
                "syscall",
                "test eax, eax",
                "js 90f",

                // execveat(mount, "", arguments, environment, AT_EMPTY_PATH)
                "mov r15d, eax",
                "mov edi, eax",
                "lea rsi, [rip + 83f]",
                "lea rdx, [r12 + 8]",
                "mov r10, r14",
                "mov r8d, {empty_path}",
                "mov eax, {execveat}",
                "syscall",

                // That is not reached unless it failed.
                "mov edi, r15d",
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
                execfn = const $crate::early::constant::EXECFN,
                rdonly = const $crate::early::constant::RDONLY,
                cwd = const $crate::early::constant::CWD,
                flags = const $crate::early::constant::FLAGS,
                empty_path = const $crate::early::constant::EMPTY_PATH,
                execveat = const $crate::early::constant::EXECVEAT,
                close = const $crate::early::constant::CLOSE,
                start = sym _start,
            )
        }
    };
}

/// The kernel's numbers, for [`early!`].
#[doc(hidden)]
pub mod constant {
    pub const EXECFN: u64 = libc::AT_EXECFN;
    pub const RDONLY: u64 = crate::mount::RDONLY;
    pub const CWD: i32 = libc::AT_FDCWD;
    pub const FLAGS: u32 = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC;
    pub const EMPTY_PATH: i32 = libc::AT_EMPTY_PATH;
    pub const EXECVEAT: i64 = libc::SYS_execveat;
    pub const CLOSE: i64 = libc::SYS_close;
}
