//! Why a program cannot be executed: what the kernel's one errno does not say.
//!
//! "no such file or directory" is said of a script whose interpreter is missing, "exec format error" of a program for another
//! machine. The file is looked at, under a root fd, the way the kernel would: found in PATH, permitted to the user, of a known
//! format, its interpreter in turn. `check` asks before a start, a failure asks after it, `explain` asks again.

mod errno;
mod format;
mod missing;
mod permission;
#[cfg(test)]
mod tests;
mod view;

pub use errno::of_failure;

use crate::plan::op::Op;
use format::Format;
use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction, Process, Spec};
use permission::Identity;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use view::{Found, Place, View, clean};

/// The most likely reason, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// Why.
    pub cause: String,
    /// What to do about it.
    pub remedy: String,
}

impl Diagnosis {
    fn new(cause: impl Into<String>, remedy: impl Into<String>) -> Diagnosis {
        Diagnosis { cause: cause.into(), remedy: remedy.into() }
    }

    /// In one line.
    pub fn hint(&self) -> String {
        format!("{}: {}", self.cause, self.remedy)
    }
}

/// A process and the files that it sees.
pub struct Subject {
    view: View,
    process: Process,
    identity: Identity,
    seccomp: Option<LinuxSeccomp>,
}

/// The kernel follows so many interpreters of interpreters.
const DEEPEST: usize = 5;

impl Subject {
    /// The process of a bundle. `None` where there is no root file system or no process to look at.
    pub fn of_bundle(spec: &Spec, bundle: &Path, rootfs: &Path) -> Option<Subject> {
        let view = View::of_bundle(spec, bundle, rootfs)?;
        Some(Subject::new(view, spec.process().clone()?, spec))
    }

    /// A process that is to be executed in a container that runs; `pid` is its init.
    pub fn of_container(spec: &Spec, process: Process, pid: i32) -> Option<Subject> {
        Some(Subject::new(View::of_process(pid)?, process, spec))
    }

    fn new(view: View, process: Process, spec: &Spec) -> Subject {
        let identity = Identity::of(&process, spec);
        let seccomp = spec.linux().as_ref().and_then(|linux| linux.seccomp().clone());
        Subject { view, process, identity, seccomp }
    }

    /// Whatever keeps the program from being executed, as far as it can be seen from outside.
    pub fn examine(&self) -> Option<Diagnosis> {
        match self.program() {
            Ok(program) => self.executable(&program, DEEPEST).or_else(|| self.filter()),
            Err(diagnosis) => Some(diagnosis),
        }
    }

    /// The file that would be executed.
    fn program(&self) -> Result<PathBuf, Diagnosis> {
        let missing = || Diagnosis::new("there is no program to execute", "set `process.args`");
        let Ok(step) = crate::plan::process::find_executable(&self.process, "/process") else {
            return Err(missing());
        };
        let Op::FindExecutable { name, candidates } = step.op else { return Err(missing()) };
        if candidates.is_empty() {
            return Err(Diagnosis::new(
                "the name of the program is empty",
                "name one in `process.args`",
            ));
        }
        let paths: Vec<PathBuf> = candidates
            .iter()
            .map(|path| self.process.cwd().join(std::ffi::OsStr::from_bytes(path.to_bytes())))
            .map(|path| clean(&path))
            .collect();
        let mut refusal = None;
        for path in &paths {
            match self.view.find(path) {
                Found::Here { file, stat, mount } => {
                    let refused = self.permission(path, &file, &stat, mount);
                    if refused.is_none() {
                        return Ok(path.clone());
                    }
                    refusal = refusal.or(refused);
                }
                Found::Covered(_) | Found::Missing(_) => {}
            }
        }
        Err(refusal.unwrap_or_else(|| self.missing(&name, &paths)))
    }

    /// Whether the user may execute a file.
    fn permission(
        &self,
        path: &Path,
        file: &std::os::fd::OwnedFd,
        stat: &rustix::fs::Stat,
        mount: Option<&Place>,
    ) -> Option<Diagnosis> {
        let shown = path.display();
        if is_directory(stat) {
            return Some(Diagnosis::new(
                format!("`{shown}` is a directory"),
                "name a program in it",
            ));
        }
        if let Some(directory) = self.unsearchable(path) {
            return Some(self.closed(&directory));
        }
        if !self.identity.may_execute(stat) {
            return Some(Diagnosis::new(
                format!(
                    "`{shown}` has mode {:04o} and owner {}:{}, and {} may not execute it",
                    stat.st_mode & 0o7777,
                    stat.st_uid,
                    stat.st_gid,
                    self.identity
                ),
                "`chmod a+x` it in the image, or change `process.user`",
            ));
        }
        if let Some(place) = mount.filter(|place| place.noexec) {
            return Some(Diagnosis::new(
                format!(
                    "`{shown}` is on a mount with the option `noexec` (config.json {})",
                    place.pointer
                ),
                "take out that option, or put the program elsewhere",
            ));
        }
        view::is_noexec(file).then(|| {
            Diagnosis::new(
                format!("`{shown}` is on a file system that is mounted with `noexec`"),
                "keep root file systems and volumes with programs on one without it",
            )
        })
    }

    /// Of what is in the way ([`Self::unsearchable`]).
    fn closed(&self, directory: &Path) -> Diagnosis {
        if let Found::Here { stat, .. } = self.view.find(directory)
            && !is_directory(&stat)
        {
            return Diagnosis::new(
                format!("`{}` is not a directory", directory.display()),
                "correct the path: nothing lies below a file",
            );
        }
        Diagnosis::new(
            format!("{} may not search the directory `{}`", self.identity, directory.display()),
            "give the directory the `x` bit for that user, or change `process.user`",
        )
    }

    /// The outermost directory above a path that the user may not pass, or the file in the place of one.
    fn unsearchable(&self, path: &Path) -> Option<PathBuf> {
        let above: Vec<&Path> = path.ancestors().skip(1).collect();
        let closed = |directory: &&&Path| match self.view.find(directory) {
            Found::Here { stat, .. } => !is_directory(&stat) || !self.identity.may_search(&stat),
            _ => false,
        };
        above.iter().rev().find(closed).map(|directory| (**directory).to_owned())
    }

    /// Whether the kernel can execute what a file contains.
    fn executable(&self, path: &Path, depth: usize) -> Option<Diagnosis> {
        let file = self.view.open(path)?;
        let read = |offset: u64, length: usize| {
            let mut bytes = vec![0; length];
            let mut filled = 0;
            while let Ok(count @ 1..) =
                file.read_at(&mut bytes[filled..], offset.saturating_add(filled as u64))
            {
                filled += count;
            }
            bytes.truncate(filled);
            bytes
        };
        let shown = path.display();
        match format::of(&read) {
            Format::Elf { machine, .. } if !format::is_ours(machine) => Some(Diagnosis::new(
                format!(
                    "`{shown}` is a program for {}, and this machine is {}",
                    format::machine(machine),
                    std::env::consts::ARCH
                ),
                "take the image for this machine, or register an emulator for the other one (binfmt_misc)",
            )),
            Format::Elf { loader: Some(loader), .. } => self.loader(path, &loader),
            Format::Elf { .. } => None,
            Format::CutElf => Some(Diagnosis::new(
                format!("`{shown}` is a program of which only the beginning is there"),
                "unpack or copy it again",
            )),
            Format::Empty => {
                Some(Diagnosis::new(format!("`{shown}` is empty"), "unpack or copy it again"))
            }
            Format::Script { interpreter, argument, carriage_return } => {
                self.script(path, &interpreter, argument.as_deref(), carriage_return, depth)
            }
            Format::Text => Some(Diagnosis::new(
                format!(
                    "`{shown}` is text without a `#!` line, which a shell would run and the kernel does not"
                ),
                "begin it with `#!/bin/sh`",
            )),
            Format::Unknown => Some(Diagnosis::new(
                format!("`{shown}` is in no format that the kernel executes"),
                "is it a program at all?",
            )),
        }
    }

    fn loader(&self, path: &Path, loader: &str) -> Option<Diagnosis> {
        if !matches!(self.view.find(&self.below_cwd(loader)), Found::Missing(_)) {
            return None;
        }
        let library = if loader.contains("musl") {
            ", that of musl: it was built on a system such as Alpine"
        } else if loader.contains("ld-linux") {
            ", that of glibc: it was built on a system such as Debian or Fedora"
        } else {
            ""
        };
        Some(Diagnosis::new(
            format!("`{}` is there, and its loader `{loader}` is not{library}", path.display()),
            "add the C library that it was built for to the image, or link it statically",
        ))
    }

    fn script(
        &self,
        path: &Path,
        interpreter: &str,
        argument: Option<&str>,
        carriage_return: bool,
        depth: usize,
    ) -> Option<Diagnosis> {
        let shown = path.display();
        let bare = argument.is_none();
        let is_env = interpreter.rsplit('/').next() == Some("env");
        if carriage_return && (bare || is_env) {
            return Some(Diagnosis::new(
                format!(
                    "the first line of the script `{shown}` ends with a carriage return, as on Windows: its interpreter would be called `{}\\r`",
                    argument.filter(|_| is_env).unwrap_or(interpreter)
                ),
                format!("give it Unix line ends: `sed -i 's/\\r$//'` or `dos2unix`, on `{shown}`"),
            ));
        }
        let target = self.below_cwd(interpreter);
        if let Found::Missing(_) = self.view.find(&target) {
            return Some(Diagnosis::new(
                format!(
                    "the script `{shown}` is there, and its interpreter `{interpreter}` is not"
                ),
                "add the interpreter to the image, or change the `#!` line",
            ));
        }
        if is_env
            && let Some(program) = argument.and_then(|argument| {
                argument.split(' ').find(|word| !word.starts_with('-') && !word.contains('='))
            })
        {
            let mut process = self.process.clone();
            process.set_args(Some(vec![program.to_owned()]));
            if let Ok(crate::plan::op::Step { op: Op::FindExecutable { candidates, .. }, .. }) =
                crate::plan::process::find_executable(&process, "/process")
            {
                let gone = |path: &std::ffi::CString| {
                    let path = self.below_cwd(&path.to_string_lossy());
                    matches!(self.view.find(&path), Found::Missing(_))
                };
                if candidates.iter().all(gone) {
                    return Some(Diagnosis::new(
                        format!(
                            "the script `{shown}` is run by `{program}`, which no directory of PATH has"
                        ),
                        "add it to the image, or its directory to PATH in `process.env`",
                    ));
                }
            }
        }
        match self.view.find(&target) {
            Found::Here { file, stat, mount } => self
                .permission(&target, &file, &stat, mount)
                .or_else(|| depth.checked_sub(1).and_then(|depth| self.executable(&target, depth))),
            _ => None,
        }
    }

    fn below_cwd(&self, path: &str) -> PathBuf {
        clean(&self.process.cwd().join(path))
    }

    /// Whether the seccomp profile lets the exec through that comes after it is installed.
    fn filter(&self) -> Option<Diagnosis> {
        let profile = self.seccomp.as_ref()?;
        let rules = profile.syscalls().as_deref().unwrap_or_default();
        let applies = |rule: &&oci_spec::runtime::LinuxSyscall| {
            rule.names().iter().any(|name| name == "execve")
                && rule.args().as_ref().is_none_or(Vec::is_empty)
                && rule.action() != profile.default_action()
        };
        let (action, place) = match rules.iter().position(|rule| applies(&rule)) {
            Some(index) => (rules[index].action(), format!("/linux/seccomp/syscalls/{index}")),
            None => (profile.default_action(), "/linux/seccomp/defaultAction".to_owned()),
        };
        use LinuxSeccompAction::{ScmpActAllow, ScmpActLog, ScmpActNotify, ScmpActTrace};
        if matches!(action, ScmpActAllow | ScmpActLog | ScmpActNotify | ScmpActTrace) {
            return None;
        }
        Some(Diagnosis::new(
            format!(
                "the seccomp profile does not allow `execve`, which the start needs (config.json {place}: `{action}`)"
            ),
            "allow `execve` in the profile",
        ))
    }
}

fn is_directory(stat: &rustix::fs::Stat) -> bool {
    rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Directory
}
