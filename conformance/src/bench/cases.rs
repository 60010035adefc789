//! What is measured: the life of a container in steps, a `run` with and without a filter, an `exec`, crowds, and a `create` beside
//! many containers and mounts.

use std::cell::{Cell, OnceCell, RefCell};
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Pid;
use serde_json::Value;
use sys::seccomp::Instruction;
use tempfile::TempDir;

use super::FLOOR;
use super::bars::OURS;
use super::count::{self, Calls};
use super::filter;
use super::measure::{
    Measured, Purpose, Sample, call, call_at_once, cpu_so_far, peak_so_far, reap,
};
use crate::contender::Contender;
use crate::fixture::{BundleDir, Runtime, scratch_dir};

/// What podman makes of containers-common's seccomp.json for a container with the default capabilities on x86-64.
const DEFAULT_PROFILE: &str = include_str!("../../../runtime/tests/seccomp/containers-common.json");

/// The smallest limit on memory that a container must start with, in bytes.
const SMALL_LIMIT: u64 = 512 * 1024;

/// How long the machine is left alone before a call that is to find it at rest: several grace periods of RCU.
const REST: Duration = Duration::from_millis(100);

/// A unit of work that every runtime is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Case {
    /// `create`, `start` and `delete` of a container that runs `true`
    Lifecycle,
    /// `run` of a container that runs `true`
    Run,
    /// The same with the default seccomp profile of containers-common
    Seccomp,
    /// `exec` of `true` in a running container
    Exec,
    /// `run` on a machine that was left alone for a tenth of a second
    RestedRun,
    /// `exec` on such a machine
    RestedExec,
    /// 16 times `run`, in a row and at once
    Crowd16,
    /// 100 times `run`, in a row and at once
    Crowd100,
    /// `run` of a container that may have 512 KiB of memory
    Small,
    /// The filter of the default seccomp profile: to install it, and system calls under it
    Filter,
    /// `create` alone, beside 100 and 1,000 running containers, and with 10,000 mounts
    Growth,
}

/// The rows of tables that bars are about.
pub(super) mod row {
    pub(in crate::bench) const CREATE: &str = "create";
    pub(in crate::bench) const START: &str = "start";
    pub(in crate::bench) const DELETE: &str = "delete";
    pub(in crate::bench) const LIFECYCLE: &str = "create+start+delete";
    pub(in crate::bench) const RUN: &str = "run";
    pub(in crate::bench) const SECCOMP: &str = "run, seccomp profile";
    pub(in crate::bench) const EXEC: &str = "exec";
    pub(in crate::bench) const RESTED_RUN: &str = "run, after a rest";
    pub(in crate::bench) const RESTED_EXEC: &str = "exec, after a rest";
    pub(in crate::bench) const ROW_16: &str = "16 in a row";
    pub(in crate::bench) const CROWD_16: &str = "16 at once";
    pub(in crate::bench) const ROW_100: &str = "100 in a row";
    pub(in crate::bench) const CROWD_100: &str = "100 at once";
    pub(in crate::bench) const SMALL: &str = "run in 512 KiB";
    pub(in crate::bench) const ALONE: &str = "create, none beside";
    pub(in crate::bench) const AMONG_100: &str = "create, 100 running";
    pub(in crate::bench) const AMONG_1000: &str = "create, 1000 running";
    pub(in crate::bench) const AMONG_MOUNTS: &str = "create, 10000 mounts";
}

impl Case {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Lifecycle,
        Self::Run,
        Self::Seccomp,
        Self::Exec,
        Self::RestedRun,
        Self::RestedExec,
        Self::Crowd16,
        Self::Crowd100,
        Self::Small,
        Self::Filter,
        Self::Growth,
    ];

    /// What tables call what it measures, one row for each; filters have a table of their own.
    #[must_use]
    pub fn rows(self) -> &'static [&'static str] {
        match self {
            Self::Lifecycle => &[row::CREATE, row::START, row::DELETE, row::LIFECYCLE],
            Self::Run => &[row::RUN],
            Self::Seccomp => &[row::SECCOMP],
            Self::Exec => &[row::EXEC],
            Self::RestedRun => &[row::RESTED_RUN],
            Self::RestedExec => &[row::RESTED_EXEC],
            Self::Crowd16 => &[row::ROW_16, row::CROWD_16],
            Self::Crowd100 => &[row::ROW_100, row::CROWD_100],
            Self::Small => &[row::SMALL],
            Self::Filter => &[],
            Self::Growth => &[row::ALONE, row::AMONG_100, row::AMONG_1000, row::AMONG_MOUNTS],
        }
    }

    /// How often it is measured when a short case is measured `runs` times.
    pub(super) fn rounds(self, runs: usize) -> usize {
        match self {
            Self::RestedRun | Self::RestedExec => (runs / 2).max(1),
            Self::Crowd16 => (runs / 4).max(1),
            Self::Crowd100 => (runs / 10).max(1),
            Self::Small => 1,
            _ => runs,
        }
    }

    /// How often it is called for its peak alone. This warms caches up, too, and comes first.
    pub(super) fn peak_rounds(self) -> usize {
        match self {
            Self::Lifecycle | Self::Run | Self::Seccomp | Self::Exec => 3,
            _ => 1,
        }
    }

    /// The floor knows no command but `run`, and no option of a config.json but a filter that another has made of it.
    pub(super) fn suits(self, contender: &Contender) -> bool {
        let suits_floor = matches!(
            self,
            Self::Run
                | Self::Seccomp
                | Self::RestedRun
                | Self::Crowd16
                | Self::Crowd100
                | Self::Growth
        );
        contender.name != FLOOR || suits_floor
    }
}

/// A contender with everything it needs: its bundles, and a running container once `exec` is measured.
pub(super) struct Bench {
    pub(super) runtime: Runtime,
    pub(super) is_floor: bool,
    pub(super) is_ours: bool,
    short: BundleDir,
    filtered: BundleDir,
    small: BundleDir,
    pub(super) sleeper: BundleDir,
    running: OnceCell<Result<String, String>>,
    purpose: Cell<Purpose>,
    /// The containers that run beside what is measured, how long one took to start, and where mounts were made.
    pub(super) residents: RefCell<Vec<String>>,
    pub(super) pace: RefCell<Duration>,
    pub(super) mounts: RefCell<Option<PathBuf>>,
    directory: TempDir,
}

impl Bench {
    pub(super) fn prepare(contender: &Contender) -> Self {
        let profile: Value = serde_json::from_str(DEFAULT_PROFILE).expect("a profile in JSON");
        Self {
            runtime: Runtime::at(&contender.program),
            is_floor: contender.name == FLOOR,
            is_ours: contender.name == OURS,
            short: BundleDir::new(),
            filtered: BundleDir::new().set("/linux/seccomp", profile),
            small: BundleDir::new().set("/linux/resources/memory/limit", SMALL_LIMIT),
            sleeper: BundleDir::new().args(["sleep", "3600"]),
            running: OnceCell::new(),
            purpose: Cell::new(Purpose::Time),
            residents: RefCell::default(),
            pace: RefCell::default(),
            mounts: RefCell::default(),
            directory: scratch_dir(),
        }
    }

    /// A sample for each row of the case; of [`Case::Growth`] one for the row whose surroundings are there.
    pub(super) fn measure(&self, case: Case, purpose: Purpose) -> Result<Vec<Sample>, String> {
        self.purpose.set(purpose);
        self.take(case)
    }

    fn take(&self, case: Case) -> Result<Vec<Sample>, String> {
        match case {
            Case::Lifecycle => self.lifecycle(),
            Case::Run => Ok(vec![self.call(&self.run_of(&self.short))?]),
            Case::Seccomp => Ok(vec![self.call(&self.filtered_run()?)?]),
            Case::Exec => Ok(vec![self.call(&["exec", self.running()?, "true"].map(Into::into))?]),
            Case::RestedRun => self.rested(Case::Run),
            Case::RestedExec => self.rested(Case::Exec),
            Case::Crowd16 => self.crowd(16),
            Case::Crowd100 => self.crowd(100),
            Case::Small => Ok(vec![self.call(&self.run_of(&self.small))?]),
            Case::Filter => Ok(Vec::new()),
            // The floor makes a container in one go; little of it is not what others do in `create`.
            Case::Growth if self.is_floor => self.take(Case::Run),
            Case::Growth => Ok(vec![self.lifecycle()?[0]]),
        }
    }

    /// The same when nobody has entered or left a cgroup for a while, as on a machine on which little happens: to stop all forks and
    /// exits for that takes a grace period of RCU then.
    fn rested(&self, case: Case) -> Result<Vec<Sample>, String> {
        if case == Case::Exec {
            // Which starts the container when it is asked for the first time.
            self.running()?;
        }
        std::thread::sleep(REST);
        self.take(case)
    }

    /// System calls of `create`, `run` and `exec`, and how large the filter of the default profile is.
    pub(super) fn count(&self) -> Result<Counts, String> {
        let traced = |args: &[OsString]| count::trace(&self.runtime, args, || ());
        let run = Some(traced(&self.run_of(&self.short))?.0);
        if self.is_floor {
            return Ok(Counts { run, ..Counts::default() });
        }
        let filtered = traced(&self.run_of(&self.filtered))?.1;
        Ok(Counts {
            create: Some(count::trace_create(&self.runtime, &self.short)?),
            run,
            exec: Some(traced(&["exec", self.running()?, "true"].map(Into::into))?.0),
            filter: count::filter_length(&filtered),
        })
    }

    fn lifecycle(&self) -> Result<Vec<Sample>, String> {
        let id = self.runtime.new_id();
        let (mut create, pid) = self.call_for_pid("create", &self.short, &id)?;
        let spent = cpu_so_far(pid);
        create.peak_kib = create.peak_kib.max(peak_so_far(pid));
        let start = self.call(&["start", &id].map(Into::into))?;
        // The container's process is this one's child now that `create` has ended.
        let init = reap(pid);
        let delete = self.call(&["delete", &id].map(Into::into))?;
        let all = create.and(start).and(init).and(delete);
        create.cpu += spent;
        let start = Sample {
            cpu: start.cpu + init.cpu.saturating_sub(spent),
            wall: start.wall + init.wall,
            ..start
        };
        Ok(vec![create, start, delete, all])
    }

    /// What a container's filter is when the default profile is asked for.
    pub(super) fn installed_filter(&self) -> Result<Vec<Instruction>, String> {
        let profile = self.filtered.config()["linux"]["seccomp"].clone();
        let bundle = BundleDir::new().args(["sleep", "3600"]).set("/linux/seccomp", profile);
        let id = self.runtime.new_id();
        let (_, pid) = self.call_for_pid("create", &bundle, &id)?;
        self.call(&["start", &id].map(Into::into))?;
        let filter = filter::filter_of(pid);
        self.call(&["delete", "--force", &id].map(Into::into))?;
        filter
    }

    /// Makes a container with a command that takes a bundle, and returns the pid of its first process, too.
    fn call_for_pid(
        &self,
        command: &str,
        bundle: &BundleDir,
        id: &str,
    ) -> Result<(Sample, Pid), String> {
        let file = self.directory.path().join("pid");
        let (bundle, path) = (bundle.path().to_string_lossy(), file.to_string_lossy());
        let args = [command, "--bundle", &bundle, "--pid-file", &path, id];
        let sample = self.call(&args.map(Into::into))?;
        let text = fs::read_to_string(&file).map_err(|error| format!("the pid file: {error}"))?;
        let pid = text.trim().parse().ok().and_then(Pid::from_raw);
        Ok((sample, pid.ok_or("no pid in the pid file")?))
    }

    fn crowd(&self, size: usize) -> Result<Vec<Sample>, String> {
        let calls: Vec<Vec<OsString>> =
            (0..2 * size).map(|_| self.with_root(&self.run_of(&self.short))).collect();
        let (first, second) = calls.split_at(size);
        let mut row = Sample::default();
        for args in first {
            row = row.and(call(self.purpose.get(), self.runtime.program(), args, &self.errors())?);
        }
        Ok(vec![
            row,
            call_at_once(self.purpose.get(), self.runtime.program(), second, &self.errors())?,
        ])
    }

    /// The container for `exec`, started when it is needed first.
    fn running(&self) -> Result<&str, String> {
        let start = || {
            let id = self.runtime.new_id();
            let path = self.sleeper.path().to_string_lossy();
            self.call(&["create", "--bundle", &path, &id].map(Into::into))?;
            self.call(&["start", &id].map(Into::into))?;
            Ok(id)
        };
        self.running.get_or_init(start).as_deref().map_err(Clone::clone)
    }

    /// `run` with the default profile. The floor compiles nothing, and takes the filter that it was lent.
    fn filtered_run(&self) -> Result<Vec<OsString>, String> {
        let mut args = self.run_of(&self.filtered);
        if self.is_floor {
            let file = self.filter_file();
            if !file.exists() {
                return Err("nobody has made a filter of the profile".to_owned());
            }
            args.splice(1..1, ["--filter".into(), file.into()]);
        }
        Ok(args)
    }

    /// Keeps a filter for the floor, as the kernel takes it.
    pub(super) fn lend(&self, filter: &[Instruction]) {
        fs::write(self.filter_file(), filter::bytes(filter)).expect("write a file");
    }

    fn filter_file(&self) -> PathBuf {
        self.directory.path().join("filter")
    }

    fn run_of(&self, bundle: &BundleDir) -> Vec<OsString> {
        let path = bundle.path().as_os_str().to_owned();
        vec!["run".into(), "--bundle".into(), path, self.runtime.new_id().into()]
    }

    pub(super) fn call(&self, args: &[OsString]) -> Measured {
        call(self.purpose.get(), self.runtime.program(), &self.with_root(args), &self.errors())
    }

    fn with_root(&self, args: &[OsString]) -> Vec<OsString> {
        let root = self.runtime.root().as_os_str().to_owned();
        [vec!["--root".into(), root], args.to_vec()].concat()
    }

    fn errors(&self) -> PathBuf {
        self.directory.path().join("errors")
    }
}

/// What was counted of one runtime.
#[derive(Debug, Default, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Of one `create`.
    pub create: Option<Calls>,
    /// Of one `run` of `true`.
    pub run: Option<Calls>,
    /// Of one `exec` of `true`.
    pub exec: Option<Calls>,
    /// Instructions of the filter that the default seccomp profile becomes.
    pub filter: Option<usize>,
}
