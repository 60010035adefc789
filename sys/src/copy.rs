//! Copying and comparing memory, in place of the C library's functions.
//!
//! musl's copy with an instruction that takes thirty cycles to begin, and compare byte by byte. Most of what a program like ours copies
//! and compares are names of a few bytes: by samples a hundredth of what a `run` costs. Here up to 64 bytes are loaded as a whole and
//! then stored, from both ends, so that neither a loop nor a look at the overlap is needed; what is longer goes 32 bytes at a time,
//! from the end that is not overwritten first; and what is so long that the beginning does not matter is left to the processor.
//!
//! They are instructions because a compiler may make a call of memcpy(3) of any loop that copies. All registers that are written are the
//! caller's to save, nothing is pushed, and the direction flag is clear (System V ABI).

use std::arch::naked_asm;
use std::ffi::{c_int, c_void};

/// memcpy(3): what it asks of its caller, that the two do not overlap, it does not need.
///
/// # Safety
/// `n` bytes can be read from `from`, and written to `to`.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn memcpy(to: *mut c_void, from: *const c_void, n: usize) -> *mut c_void {
    naked_asm!("jmp {memmove}", memmove = sym memmove)
}

/// memmove(3).
///
/// # Safety
/// `n` bytes can be read from `from`, and written to `to`; they may overlap.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn memmove(to: *mut c_void, from: *const c_void, n: usize) -> *mut c_void {
    // SAFETY: each load and store is within the `n` bytes from `rsi` and `rdi`, by the comparison of `rdx` that leads to it.
    naked_asm!(
        "mov rax, rdi",
        "cmp rdx, 16",
        "jb 20f",
        "cmp rdx, 32",
        "ja 30f",
        // 16 to 32
        "movups xmm0, [rsi]",
        "movups xmm1, [rsi + rdx - 16]",
        "movups [rdi], xmm0",
        "movups [rdi + rdx - 16], xmm1",
        "ret",
        // Less than 16
        "20: cmp edx, 8",
        "jb 21f",
        "mov rcx, [rsi]",
        "mov r8, [rsi + rdx - 8]",
        "mov [rdi], rcx",
        "mov [rdi + rdx - 8], r8",
        "ret",
        "21: cmp edx, 4",
        "jb 22f",
        "mov ecx, [rsi]",
        "mov r8d, [rsi + rdx - 4]",
        "mov [rdi], ecx",
        "mov [rdi + rdx - 4], r8d",
        "ret",
        "22: test edx, edx",
        "jz 23f",
        // The first, the middle and the last of one to three.
        "movzx ecx, byte ptr [rsi]",
        "movzx r8d, byte ptr [rsi + rdx - 1]",
        "mov r10d, edx",
        "shr r10d, 1",
        "movzx r9d, byte ptr [rsi + r10]",
        "mov [rdi], cl",
        "mov [rdi + r10], r9b",
        "mov [rdi + rdx - 1], r8b",
        "23: ret",
        // 33 to 64
        "30: movups xmm2, [rsi + rdx - 32]",
        "movups xmm3, [rsi + rdx - 16]",
        "movups xmm0, [rsi]",
        "movups xmm1, [rsi + 16]",
        "cmp rdx, 64",
        "ja 40f",
        "movups [rdi], xmm0",
        "movups [rdi + 16], xmm1",
        "movups [rdi + rdx - 32], xmm2",
        "movups [rdi + rdx - 16], xmm3",
        "ret",
        // More. Whether what is written first from the beginning would still have to be read:
        "40: lea rcx, [rdi + rdx]",
        "mov r8, rdi",
        "sub r8, rsi",
        "cmp r8, rdx",
        "jb 50f",
        "cmp rdx, 2048",
        "ja 60f",
        // Forwards, until no more than the 32 at the end are left, which are in registers.
        "41: movups xmm0, [rsi]",
        "movups xmm1, [rsi + 16]",
        "movups [rdi], xmm0",
        "movups [rdi + 16], xmm1",
        "add rsi, 32",
        "add rdi, 32",
        "lea r8, [rdi + 32]",
        "cmp r8, rcx",
        "jb 41b",
        "movups [rcx - 32], xmm2",
        "movups [rcx - 16], xmm3",
        "ret",
        // Backwards, until no more than the 32 at the beginning are left.
        "50: movups xmm2, [rsi + rdx - 32]",
        "movups xmm3, [rsi + rdx - 16]",
        "movups [rdi + rdx - 32], xmm2",
        "movups [rdi + rdx - 16], xmm3",
        "sub rdx, 32",
        "cmp rdx, 32",
        "ja 50b",
        "movups [rdi], xmm0",
        "movups [rdi + 16], xmm1",
        "ret",
        "60: mov rcx, rdx",
        "rep movsb",
        "ret",
    )
}

/// memcmp(3).
///
/// # Safety
/// `n` bytes can be read from both.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn memcmp(one: *const c_void, other: *const c_void, n: usize) -> c_int {
    // SAFETY: `rdx` is what is left of the `n` bytes from `rdi` and `rsi`, and never more is loaded.
    naked_asm!(
        "20: cmp rdx, 8",
        "jb 30f",
        "mov rax, [rdi]",
        "mov rcx, [rsi]",
        "cmp rax, rcx",
        "jne 25f",
        "add rdi, 8",
        "add rsi, 8",
        "sub rdx, 8",
        "jmp 20b",
        // Which is less, the byte in front that differs decides: it is made the highest of the number.
        "25: bswap rax",
        "bswap rcx",
        "cmp rax, rcx",
        "sbb eax, eax",
        "or eax, 1",
        "ret",
        "30: test edx, edx",
        "jz 35f",
        "movzx eax, byte ptr [rdi]",
        "movzx ecx, byte ptr [rsi]",
        "inc rdi",
        "inc rsi",
        "dec edx",
        "sub eax, ecx",
        "jz 30b",
        "ret",
        "35: xor eax, eax",
        "ret",
    )
}

/// bcmp(3).
///
/// # Safety
/// `n` bytes can be read from both.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn bcmp(one: *const c_void, other: *const c_void, n: usize) -> c_int {
    naked_asm!("jmp {memcmp}", memcmp = sym memcmp)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of which no two near each other are the same.
    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|n| (n * 7 + n / 251) as u8).collect()
    }

    #[test]
    fn every_length_is_copied_and_nothing_beside_it() {
        for length in (0..300).chain([511, 512, 2047, 2048, 2049, 5000]) {
            for (from, to) in [(0, 0), (1, 0), (0, 3), (7, 5)] {
                let source = bytes(length + 16);
                let mut target = vec![0xAA; length + 32];
                // SAFETY: both are longer than what is copied from and to their beginnings.
                let returned = unsafe {
                    memcpy(target[to..].as_mut_ptr().cast(), source[from..].as_ptr().cast(), length)
                };
                assert_eq!(returned, target[to..].as_mut_ptr().cast());
                assert!(
                    target[to..to + length].iter().eq(&source[from..from + length]),
                    "{length}"
                );
                let beside = target[..to].iter().chain(&target[to + length..]);
                assert!(beside.copied().all(|byte| byte == 0xAA), "{length} from {from} to {to}");
            }
        }
    }

    #[test]
    fn what_overlaps_is_moved() {
        for length in (0..200).chain([2048, 2049, 4000]) {
            for (from, to) in [(40, 0), (40, 39), (39, 40), (0, 40), (0, 1), (8, 0), (0, 33)] {
                let before = bytes(length + 64);
                let mut moved = before.clone();
                let start = moved.as_mut_ptr();
                let (target, source) = (start.wrapping_add(to), start.wrapping_add(from));
                // SAFETY: 64 bytes more than `length` are there, and neither place is as far behind the beginning.
                unsafe { memmove(target.cast(), source.cast(), length) };
                let expected = (0..moved.len()).map(|at| match at.checked_sub(to) {
                    Some(n) if n < length => before[from + n],
                    _ => before[at],
                });
                assert!(moved.iter().copied().eq(expected), "{length} from {from} to {to}");
            }
        }
    }

    #[test]
    fn the_first_byte_that_differs_decides() {
        for length in 0..70 {
            let one = bytes(length);
            let compare = |other: &[u8]| {
                let (one, other) = (one.as_ptr().cast(), other.as_ptr().cast());
                // SAFETY: both are as long.
                let order = unsafe { memcmp(one, other, length) };
                // SAFETY: as above.
                (order.signum(), unsafe { bcmp(one, other, length) } != 0)
            };
            assert_eq!(compare(&one.clone()), (0, false));
            for at in 0..length {
                let mut other = one.clone();
                other[at] = other[at].wrapping_add(100);
                // What follows would decide otherwise.
                if let Some(last) = other.get_mut(at + 1..).and_then(|rest| rest.last_mut()) {
                    *last = last.wrapping_sub(100);
                }
                let expected = if one[at] < other[at] { -1 } else { 1 };
                assert_eq!(compare(&other), (expected, true), "{at} of {length}");
            }
        }
    }
}
