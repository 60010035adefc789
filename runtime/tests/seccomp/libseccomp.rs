//! libseccomp as an oracle: a small C program that is compiled when the test runs, so that nothing of the project links it.

use crate::model::{Abi, rules, value};
use oci_spec::runtime::LinuxSeccomp;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};
use sys::seccomp::Instruction;

/// The compiled program, in a directory that goes with it.
pub(crate) struct Libseccomp(tempfile::TempDir);

impl Libseccomp {
    /// Compiles it. A machine without a C compiler or libseccomp's headers fails the test: nothing is skipped.
    pub(crate) fn build() -> Libseccomp {
        let directory = tempfile::tempdir().unwrap();
        let source = directory.path().join("oracle.c");
        std::fs::write(&source, include_str!("libseccomp.c")).unwrap();
        let output = Command::new("cc")
            .args(["-O1", "-Wall", "-o"])
            .arg(directory.path().join("oracle"))
            .arg(&source)
            .arg("-lseccomp")
            .output()
            .expect("the oracle needs a C compiler (Debian: gcc)");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "the oracle needs libseccomp-dev: {errors}");
        Libseccomp(directory)
    }

    /// The program for a profile, made as runc makes it on that machine, or what libseccomp says against it.
    pub(crate) fn compile(
        &self,
        profile: &LinuxSeccomp,
        machine: u32,
    ) -> Result<Vec<Instruction>, String> {
        let mut input = String::new();
        let default = value(profile.default_action(), profile.default_errno_ret());
        // Tokens of architectures are the kernel's values, but x32's.
        writeln!(input, "default {default} {machine}").unwrap();
        for &arch in profile.architectures().iter().flatten() {
            writeln!(input, "arch {}", arch as u32).unwrap();
        }
        for rule in rules(profile) {
            let verdict = value(rule.action(), rule.errno_ret());
            let args = rule.args().as_deref().unwrap_or_default();
            for name in rule.names().iter().filter(|_| verdict != default) {
                write!(input, "rule {verdict} {name} {}", args.len()).unwrap();
                for arg in args {
                    let (index, op) = (arg.index(), arg.op() as u32);
                    let (one, two) = (arg.value(), arg.value_two().unwrap_or(0));
                    write!(input, " {index} {op} {one} {two}").unwrap();
                }
                input.push('\n');
            }
        }
        let bytes = self.run(&input)?;
        let read = |chunk: &[u8]| Instruction {
            code: u16::from_le_bytes([chunk[0], chunk[1]]),
            jt: chunk[2],
            jf: chunk[3],
            k: u32::from_le_bytes(chunk[4..8].try_into().unwrap()),
        };
        Ok(bytes.chunks_exact(8).map(read).collect())
    }

    /// The number of each name in an ABI; `None` where libseccomp does not know it there. Multiplexed i386 names have
    /// numbers of their own there, far below zero.
    pub(crate) fn numbers(&self, abi: Abi, names: &[&str]) -> Vec<Option<i64>> {
        let token = match abi {
            Abi::X32 => 0x4000_003e,
            other => other.calls().0,
        };
        let input: String = names.iter().map(|name| format!("number {token} {name}\n")).collect();
        let output = String::from_utf8(self.run(&input).unwrap()).unwrap();
        output.lines().map(|line| line.parse().ok().filter(|&number| number != -1)).collect()
    }

    fn run(&self, input: &str) -> Result<Vec<u8>, String> {
        let mut child = Command::new(self.0.path().join("oracle"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // The oracle reads all of its input before it writes, but numbers: those are few enough for a pipe.
        stdin.write_all(input.as_bytes()).unwrap();
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        match output.status.success() {
            true => Ok(output.stdout),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }
}
