//! `bench/floor.c`, built where a compiler is there: the contender that nobody can beat.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::Contender;
use crate::fixture::{find_tool, scratch_dir};

/// What tables and `--runtime` call it.
pub const FLOOR: &str = "floor";

const SOURCE: &str = include_str!("../../../bench/floor.c");

/// The program and the directory that it is in, which must outlive it.
#[derive(Debug)]
pub struct Floor {
    directory: TempDir,
}

impl Floor {
    /// Compiles it.
    ///
    /// # Errors
    /// When there is no C compiler, or with what the compiler says.
    ///
    /// # Panics
    /// When there is no directory for it.
    pub fn build() -> Result<Self, String> {
        let compiler = find_tool("cc").ok_or("`cc` is missing: it would build bench/floor.c")?;
        let directory = scratch_dir();
        let source = directory.path().join("floor.c");
        std::fs::write(&source, SOURCE).expect("write floor.c");
        let output = Command::new(compiler)
            .args(["-O2", "-static", "-o"])
            .args([&directory.path().join(FLOOR), &source])
            .output()
            .map_err(|error| format!("cannot run `cc`: {error}"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(format!("cannot build bench/floor.c: {}", said.trim_end()));
        }
        Ok(Self { directory })
    }

    /// As one of those that are measured.
    ///
    /// # Errors
    /// When it does not run.
    pub fn contender(&self) -> Result<Contender, String> {
        Contender::probe(&self.program())
    }

    fn program(&self) -> std::path::PathBuf {
        Path::new(self.directory.path()).join(FLOOR)
    }
}

#[cfg(test)]
mod tests {
    use super::super::filter;
    use super::*;
    use crate::fixture::{BundleDir, Runtime, Sandbox, cgroups};
    use sys::seccomp::Instruction;

    #[test]
    fn the_floor_runs_the_container_of_the_benchmark_and_leaves_nothing() {
        let sandbox = Sandbox::enter();
        let floor = Floor::build().expect("a C compiler");
        let runtime = Runtime::at(floor.program());
        let bundle = BundleDir::new();
        // Its program is always `true`: one that looks around takes its place.
        let shown = "ls /proc /dev; cat /proc/self/cgroup /proc/mounts; hostname";
        let script = format!("#!/bin/sh\n{{ {shown}; }} >/tmp/seen\n");
        let truth = bundle.rootfs().join("bin/true");
        std::fs::remove_file(&truth).expect("remove `true`");
        std::fs::write(&truth, script).expect("write another");
        std::fs::set_permissions(&truth, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .expect("make it executable");
        let id = runtime.new_id();
        let path = bundle.path().display().to_string();
        let _ = runtime.call(["run", "--bundle", &path, &id]).run().ok();
        let seen = std::fs::read_to_string(bundle.rootfs().join("tmp/seen")).expect("a look");
        for expected in ["\n1\n", "\nnull\n", &format!("/{id}\n"), "/proc/sys ", "\nsandbox\n"] {
            assert!(seen.contains(expected), "{expected:?} is missing: {seen}");
        }
        assert_eq!(cgroups::named(&id), Vec::<std::path::PathBuf>::new());
        sandbox.assert_clean();
    }

    #[test]
    fn the_floor_installs_the_filter_that_it_is_lent() {
        let _sandbox = Sandbox::enter();
        let floor = Floor::build().expect("a C compiler");
        // BPF_RET, whatever the call is: the program cannot even be executed.
        let kill = Instruction { code: 0x06, jt: 0, jf: 0, k: sys::seccomp::RET_KILL_PROCESS };
        let directory = scratch_dir();
        let file = directory.path().join("filter");
        std::fs::write(&file, filter::bytes(&[kill])).expect("write a file");
        let runtime = Runtime::at(floor.program());
        let (bundle, id) = (BundleDir::new(), runtime.new_id());
        let (path, file) = (bundle.path().display().to_string(), file.display().to_string());
        let plain = runtime.call(["run", "--bundle", &path, &runtime.new_id()]).run().ok();
        assert_eq!(plain.stderr(), "");
        let killed = 128 + rustix::process::Signal::SYS.as_raw();
        let _ =
            runtime.call(["run", "--filter", &file, "--bundle", &path, &id]).run().exits(killed);
        assert_eq!(cgroups::named(&id), Vec::<std::path::PathBuf>::new());
    }
}
