//! What is measured: the life of a container in steps, a `run`, and an `exec`.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use rustix::process::Pid;
use tempfile::TempDir;

use super::Contender;
use super::count::{Calls, count_create};
use super::measure::{Sample, call, reap};
use crate::fixture::{BundleDir, Runtime, scratch_dir};

/// A unit of work that every runtime is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// `create`, `start` and `delete` of a container that runs `true`.
    Lifecycle,
    /// `run` of a container that runs `true`.
    Run,
    /// `exec` of `true` in a running container.
    Exec,
}

impl Case {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Lifecycle, Self::Run, Self::Exec];

    /// How tables call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Lifecycle => "create+start+delete",
            Self::Run => "run",
            Self::Exec => "exec",
        }
    }
}

/// A contender with everything it needs ready: two bundles and a running container for `exec`.
pub(super) struct Bench {
    runtime: Runtime,
    short: BundleDir,
    _long: BundleDir,
    running: String,
    directory: TempDir,
}

impl Bench {
    pub(super) fn prepare(contender: &Contender) -> Self {
        let runtime = Runtime::at(&contender.program);
        let short = BundleDir::new().args(["true"]);
        let long = BundleDir::new().args(["sleep", "3600"]);
        let running = runtime.start(&long).id().to_owned();
        Self { runtime, short, _long: long, running, directory: scratch_dir() }
    }

    pub(super) fn measure(&self, case: Case) -> Sample {
        match case {
            Case::Lifecycle => self.lifecycle(),
            Case::Run => {
                let id = self.runtime.new_id();
                self.call(&["run", "--bundle", &self.short.path().to_string_lossy(), &id])
            }
            Case::Exec => self.call(&["exec", &self.running, "true"]),
        }
    }

    pub(super) fn count(&self) -> Calls {
        count_create(&self.runtime, &self.short)
    }

    fn lifecycle(&self) -> Sample {
        let id = self.runtime.new_id();
        let pid_file = self.directory.path().join("pid");
        let bundle = self.short.path().to_string_lossy();
        let pid_path = pid_file.to_string_lossy();
        let create = self.call(&["create", "--bundle", &bundle, "--pid-file", &pid_path, &id]);
        let pid = fs::read_to_string(&pid_file).expect("the pid file");
        let pid = pid.trim().parse().ok().and_then(Pid::from_raw).expect("a pid in the pid file");
        let start = self.call(&["start", &id]);
        // The container's process is this one's child now that `create` has ended.
        let init = reap(pid);
        create.and(start).and(init).and(self.call(&["delete", &id]))
    }

    fn call(&self, args: &[&str]) -> Sample {
        let root = self.runtime.root().as_os_str().to_owned();
        let args: Vec<OsString> = [OsString::from("--root"), root]
            .into_iter()
            .chain(args.iter().map(OsString::from))
            .collect();
        let errors: PathBuf = self.directory.path().join("errors");
        call(self.runtime.program(), &args, &errors)
    }
}
