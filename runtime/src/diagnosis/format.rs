//! What the kernel would make of a program file: an ELF header, a `#!` line, or nothing.
//!
//! Pure: it sees bytes through a closure. The bytes are an image's, hostile like all of it: every offset and length is bounded.

/// The longest name of an interpreter that is looked at (`PATH_MAX`).
const LONGEST_NAME: usize = 4096;
/// The kernel reads this much of a `#!` line (`BINPRM_BUF_SIZE`).
const LINE: usize = 256;
/// More program headers than any linker writes.
const MOST_HEADERS: u16 = 256;

/// A program file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Nothing is in it.
    Empty,
    /// An ELF program.
    Elf {
        /// `e_machine`.
        machine: u16,
        /// The loader that it names (`PT_INTERP`); a static program has none.
        loader: Option<String>,
    },
    /// It begins like one, and ends before its headers do.
    CutElf,
    /// It has a `#!` line.
    Script {
        /// The interpreter, without a carriage return at its end.
        interpreter: String,
        /// What follows it on the line.
        argument: Option<String>,
        /// The line ends as on Windows: the kernel takes the carriage return for a part of the name.
        carriage_return: bool,
    },
    /// Text without a `#!` line.
    Text,
    /// Anything else.
    Unknown,
}

/// Reads the format. `read` gives up to so many bytes at an offset, fewer at the end of the file.
pub(super) fn of(read: &dyn Fn(u64, usize) -> Vec<u8>) -> Format {
    let head = read(0, LINE);
    if head.is_empty() {
        Format::Empty
    } else if head.starts_with(b"\x7fELF") {
        elf(&head, read).unwrap_or(Format::CutElf)
    } else if let Some(line) = head.strip_prefix(b"#!") {
        script(line)
    } else if head.iter().all(|byte| byte.is_ascii_graphic() || b" \t\r\n".contains(byte)) {
        Format::Text
    } else {
        Format::Unknown
    }
}

fn script(line: &[u8]) -> Format {
    let line = line.split(|byte| *byte == b'\n' || *byte == 0).next().unwrap_or_default();
    let carriage_return = line.ends_with(b"\r");
    let line = String::from_utf8_lossy(line);
    let line = line.trim_matches([' ', '\t', '\r']);
    let (interpreter, argument) = match line.split_once([' ', '\t']) {
        Some((interpreter, argument)) => (interpreter, Some(argument.trim().to_owned())),
        None => (line, None),
    };
    Format::Script { interpreter: interpreter.to_owned(), argument, carriage_return }
}

/// Numbers of an ELF file, in its byte order.
struct Numbers {
    big_endian: bool,
}

impl Numbers {
    fn at(&self, bytes: &[u8], offset: usize, length: usize) -> Option<u64> {
        let bytes = bytes.get(offset..offset.checked_add(length)?)?;
        let digit = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        Some(if self.big_endian {
            bytes.iter().fold(0, digit)
        } else {
            bytes.iter().rev().fold(0, digit)
        })
    }
}

/// The header and the program headers (elf(5)); `None` where they are cut.
fn elf(head: &[u8], read: &dyn Fn(u64, usize) -> Vec<u8>) -> Option<Format> {
    let wide = *head.get(4)? == 2;
    let numbers = Numbers { big_endian: *head.get(5)? == 2 };
    let machine = u16::try_from(numbers.at(head, 18, 2)?).ok()?;
    let (table, size, count) = if wide {
        (numbers.at(head, 32, 8)?, numbers.at(head, 54, 2)?, numbers.at(head, 56, 2)?)
    } else {
        (numbers.at(head, 28, 4)?, numbers.at(head, 42, 2)?, numbers.at(head, 44, 2)?)
    };
    let size = usize::try_from(size).ok()?;
    for index in 0..count.min(MOST_HEADERS.into()) {
        let header = read(table.checked_add(index * size as u64)?, size);
        const PT_INTERP: u64 = 3;
        if numbers.at(&header, 0, 4)? != PT_INTERP {
            continue;
        }
        let (offset, length) = if wide {
            (numbers.at(&header, 8, 8)?, numbers.at(&header, 32, 8)?)
        } else {
            (numbers.at(&header, 4, 4)?, numbers.at(&header, 16, 4)?)
        };
        let length = usize::try_from(length).ok()?.min(LONGEST_NAME);
        let name = read(offset, length);
        let name = name.split(|byte| *byte == 0).next().filter(|name| !name.is_empty())?;
        let loader = Some(String::from_utf8_lossy(name).into_owned());
        return Some(Format::Elf { machine, loader });
    }
    Some(Format::Elf { machine, loader: None })
}

/// Names of the machines that images are built for, by `e_machine`, with the name that images and Rust have for them.
const MACHINES: &[(u16, &str)] = &[
    (3, "x86"),
    (8, "mips"),
    (20, "powerpc"),
    (21, "powerpc64"),
    (22, "s390x"),
    (40, "arm"),
    (62, "x86_64"),
    (183, "aarch64"),
    (243, "riscv64"),
    (258, "loongarch64"),
];

/// The name of a machine.
pub(super) fn machine(number: u16) -> String {
    let known = MACHINES.iter().find(|(known, _)| *known == number);
    known.map_or(format!("machine {number}"), |(_, name)| (*name).to_owned())
}

/// Whether programs for a machine run here without an emulator.
pub(super) fn is_ours(number: u16) -> bool {
    let ours = std::env::consts::ARCH;
    let name = machine(number);
    // 64-bit kernels of these run 32-bit programs, too.
    name == ours || matches!((ours, name.as_str()), ("x86_64", "x86") | ("aarch64", "arm"))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The machine that this is built for, and the 32-bit one whose programs it runs; one whose it does not run.
    pub(in super::super) const OURS: u16 = if cfg!(target_arch = "aarch64") { 183 } else { 62 };
    const OURS_32: u16 = if cfg!(target_arch = "aarch64") { 40 } else { 3 };
    pub(in super::super) const FOREIGN: u16 = if cfg!(target_arch = "aarch64") { 62 } else { 183 };

    /// A 64-bit little-endian ELF file for a machine, with a loader if there is a name.
    pub(in super::super) fn elf_for(machine: u16, loader: &str) -> Vec<u8> {
        let mut file = vec![0; 64 + 56];
        file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        file[16] = 2;
        file[18..20].copy_from_slice(&machine.to_le_bytes());
        file[32] = 64;
        file[54] = 56;
        file[56] = 1;
        file[64] = if loader.is_empty() { 1 } else { 3 };
        file[64 + 8] = 120;
        file[64 + 32] = loader.len() as u8 + 1;
        file.extend_from_slice(loader.as_bytes());
        file.push(0);
        file
    }

    fn read(bytes: &[u8]) -> Format {
        of(&|offset, length| {
            let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
            bytes[from..from.saturating_add(length).min(bytes.len())].to_vec()
        })
    }

    fn script_of(interpreter: &str, argument: Option<&str>, carriage_return: bool) -> Format {
        let argument = argument.map(str::to_owned);
        Format::Script { interpreter: interpreter.to_owned(), argument, carriage_return }
    }

    #[test]
    fn a_machine_and_a_loader_are_read_from_a_header() {
        let loader = "/lib/ld-linux-aarch64.so.1";
        let elf = Format::Elf { machine: 183, loader: Some(loader.to_owned()) };
        assert_eq!(read(&elf_for(183, loader)), elf);
        assert_eq!(read(&elf_for(62, "")), Format::Elf { machine: 62, loader: None });
        assert_eq!((machine(183).as_str(), machine(9999).as_str()), ("aarch64", "machine 9999"));
        assert!(is_ours(OURS) && is_ours(OURS_32) && !is_ours(FOREIGN));
    }

    #[test]
    fn a_big_endian_header_of_32_bits_is_read() {
        let mut file = vec![0; 52 + 32];
        file[..7].copy_from_slice(b"\x7fELF\x01\x02\x01");
        file[19] = 20;
        file[31] = 52;
        file[43] = 32;
        file[45] = 1;
        file[55] = 3;
        file[59] = 84;
        file[71] = 6;
        file.extend_from_slice(b"/ld.1\0");
        assert_eq!(read(&file), Format::Elf { machine: 20, loader: Some("/ld.1".to_owned()) });
    }

    #[test]
    fn a_file_that_is_cut_anywhere_is_told_and_never_read_past_its_end() {
        let whole = elf_for(62, "/lib64/ld-linux-x86-64.so.2");
        for length in 4..120 {
            assert_eq!(read(&whole[..length]), Format::CutElf, "{length}");
        }
        for hostile in [0_usize, 32, 54, 56, 64 + 8, 64 + 32] {
            let mut file = whole.clone();
            file.iter_mut().skip(hostile.max(8)).take(8).for_each(|byte| *byte = 0xff);
            let _ = read(&file);
        }
    }

    #[test]
    fn a_script_names_its_interpreter_and_argument() {
        assert_eq!(read(b"#!/bin/sh\necho"), script_of("/bin/sh", None, false));
        assert_eq!(
            read(b"#! /usr/bin/env  node -x\n"),
            script_of("/usr/bin/env", Some("node -x"), false)
        );
        assert_eq!(read(b"#!/bin/sh\r\necho\r\n"), script_of("/bin/sh", None, true));
        assert_eq!(read(b"#!/usr/bin/env bash\r\n"), script_of("/usr/bin/env", Some("bash"), true));
        assert_eq!(read(b"#!/bin/sh"), script_of("/bin/sh", None, false));
    }

    #[test]
    fn what_is_no_program_is_told_apart() {
        assert_eq!(read(b""), Format::Empty);
        assert_eq!(read(b"echo hello\n"), Format::Text);
        assert_eq!(read(b"\x01\x02\x03"), Format::Unknown);
    }
}
