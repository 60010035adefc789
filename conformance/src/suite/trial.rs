//! What a case gets: the runtime under test, bundles for it, and what becomes of them.
//!
//! Nothing here panics because of a runtime: whatever it does wrong comes back as a [`Finding`].

use std::cell::RefCell;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::process::Pid;
use serde_json::Value;

use super::case::{Fault, Finding, Verdict};
use super::facts::Facts;
use super::live::Live;
use super::place::Place;
use super::worker::Order;
use crate::fixture::{BundleDir, Capture, Output, Runtime, cgroups};
use crate::probe;

/// A variable in the environment of every call, which is nobody else's.
pub(super) const OF_CALLER: &str = "NCONFORM_CALLER";

/// How a runtime is run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mode {
    /// systemd makes the cgroups: `--systemd-cgroup`.
    pub systemd: bool,
    /// An ordinary user runs it.
    pub rootless: bool,
}

/// One run of one case with one runtime.
pub struct Trial {
    runtime: Runtime,
    place: Rc<Place>,
    facts: Rc<Facts>,
    limit: Duration,
    ids: RefCell<Vec<String>>,
    config: RefCell<Option<Value>>,
}

impl Trial {
    pub(super) fn new(place: Rc<Place>, facts: Rc<Facts>, order: &Order) -> Self {
        let globals: &[&str] = if order.mode.systemd { &["--systemd-cgroup"] } else { &[] };
        let runtime = place.runtime(&order.program).with_globals(globals.iter().copied());
        let (ids, config) = (RefCell::default(), RefCell::default());
        Self { runtime, place, facts, limit: order.limit, ids, config }
    }

    pub(super) fn facts(&self) -> &Facts {
        &self.facts
    }

    pub(super) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// How long one call, or one condition that is waited for, may take.
    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    /// A bundle that runs `true` and has the probe beside busybox.
    pub(super) fn bundle(&self) -> BundleDir {
        let bundle = self.place.bundle();
        let probe = bundle.rootfs().join("bin").join(probe::NAME);
        if fs::hard_link(self.place.probe(), &probe).is_err() {
            fs::copy(self.place.probe(), &probe).expect("copy the probe");
        }
        bundle
    }

    /// A new directory in which a case may put what it likes.
    pub(super) fn directory(&self) -> tempfile::TempDir {
        let directory = crate::fixture::scratch_dir();
        self.place.give(directory.path());
        directory
    }

    /// An id that no container has.
    pub(super) fn new_id(&self) -> String {
        let id = self.runtime.new_id();
        self.ids.borrow_mut().push(id.clone());
        id
    }

    /// Notes that a container is run from this configuration, for the report.
    pub(super) fn note(&self, bundle: &BundleDir) {
        *self.config.borrow_mut() = Some(bundle.config().clone());
    }

    /// The configuration that ran last, without what every bundle has.
    pub(super) fn differences(&self) -> Vec<String> {
        let config = self.config.borrow();
        config.as_ref().map_or_else(Vec::new, |config| {
            super::difference::between(self.place.bundle().config(), config)
        })
    }

    /// A call of the runtime, whatever comes of it.
    pub(super) fn call<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
    ) -> Result<Output, Finding> {
        self.finish_call(self.runtime.call(args))
    }

    /// The same for a call that was prepared otherwise.
    pub(super) fn finish_call(&self, capture: Capture) -> Result<Output, Finding> {
        let capture = capture.env(OF_CALLER, "yes");
        let hung = |seen| Finding::fault(Fault::Hung, "the call comes to an end", seen);
        capture.limit(self.limit).try_run().map_err(hung)
    }

    /// A call of the runtime that must succeed.
    pub(super) fn call_ok<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
    ) -> Result<Output, Finding> {
        succeeded(self.call(args)?)
    }

    /// `run` of a bundle, to its end.
    pub(super) fn run(&self, bundle: &BundleDir) -> Result<Output, Finding> {
        self.run_as(bundle, &self.new_id())
    }

    /// The same under an id.
    pub(super) fn run_as(&self, bundle: &BundleDir, id: &str) -> Result<Output, Finding> {
        self.note(bundle);
        self.finish_call(self.runtime.bundle_call("run", bundle, [""; 0], id))
    }

    /// Runs a shell script in a container and gives what it prints, without white space at its ends.
    pub(super) fn shell(&self, bundle: BundleDir, script: &str) -> Result<String, Finding> {
        Ok(succeeded(self.run(&bundle.shell(script))?)?.text())
    }

    /// Runs the probe in a container and gives its report.
    pub(super) fn observe(&self, bundle: BundleDir) -> Result<Value, Finding> {
        self.probe(bundle, &[])
    }

    /// The same where the caller is another one than this process: a shell that does what `script` says first.
    pub(super) fn observe_after(&self, script: &str, bundle: BundleDir) -> Result<Value, Finding> {
        let (bundle, id) = (bundle.args(probe_command(&[])), self.new_id());
        self.note(&bundle);
        let words = [OsStr::new("run"), OsStr::new("--bundle"), bundle.path().as_os_str()];
        let call = self.runtime.call_after(script, words).args([&id]);
        report_of(&succeeded(self.finish_call(call)?)?)
    }

    /// The same with arguments for the probe.
    pub(super) fn observe_with(&self, bundle: BundleDir, words: &[&str]) -> Result<Value, Finding> {
        self.probe(bundle, words)
    }

    /// `run` of a bundle, to its end, successful.
    pub(super) fn run_ok(&self, bundle: &BundleDir) -> Result<Output, Finding> {
        succeeded(self.run(bundle)?)
    }

    /// Makes system calls in a container and gives the errno of each.
    pub(super) fn attempt(&self, bundle: BundleDir, calls: &[&str]) -> Result<Value, Finding> {
        let words: Vec<&str> = ["try"].iter().chain(calls).copied().collect();
        self.probe(bundle, &words)
    }

    fn probe(&self, bundle: BundleDir, words: &[&str]) -> Result<Value, Finding> {
        let bundle = bundle.args(probe_command(words));
        report_of(&succeeded(self.run(&bundle)?)?)
    }

    /// `create` of a bundle.
    pub(super) fn create<'t>(&'t self, bundle: &'t BundleDir) -> Result<Live<'t>, Finding> {
        self.create_with(bundle, &[])
    }

    /// The same with options.
    pub(super) fn create_with<'t>(
        &'t self,
        bundle: &'t BundleDir,
        options: &[&str],
    ) -> Result<Live<'t>, Finding> {
        let id = self.new_id();
        self.note(bundle);
        let directory = self.directory();
        let pid_file = directory.path().join("pid");
        let pid_path = pid_file.display().to_string();
        let options = [&["--pid-file", &pid_path], options].concat();
        let output = self.finish_call(self.runtime.bundle_call("create", bundle, options, &id))?;
        let output = succeeded(output)?;
        let pid = fs::read_to_string(&pid_file).ok().and_then(|text| text.trim().parse().ok());
        Ok(Live::new(self, id, pid.and_then(Pid::from_raw), output))
    }

    /// `create` and `start` of a bundle.
    pub(super) fn start<'t>(&'t self, bundle: &'t BundleDir) -> Result<Live<'t>, Finding> {
        let live = self.create(bundle)?;
        live.start()?;
        Ok(live)
    }

    /// Tries to create a container that must not come about, and looks that nothing is left of it.
    pub(super) fn refused(&self, bundle: &BundleDir, why: &str) -> Result<Output, Finding> {
        let id = self.new_id();
        self.note(bundle);
        let output = self.finish_call(self.runtime.bundle_call("create", bundle, [""; 0], &id))?;
        fails(&format!("`create` is refused: {why}"), &output)?;
        fails("nothing is left of a refused container", &self.call(["state", &id])?)?;
        Ok(output)
    }

    /// Waits until something is there; an expectation that is not met in time is a failure.
    pub(super) fn wait_for<T>(
        &self,
        expected: &str,
        mut look: impl FnMut() -> Result<T, String>,
    ) -> Result<T, Finding> {
        let end = Instant::now() + self.limit;
        loop {
            match look() {
                Ok(found) => return Ok(found),
                Err(seen) if Instant::now() > end => return Err(Finding::fail(expected, seen)),
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    /// Waits for processes of containers that have become children of this process and have ended.
    pub(super) fn reap(&self) {
        // The last of them may have closed its terminal a moment before its end.
        let end = Instant::now() + Duration::from_secs(2);
        while Instant::now() < end && !super::place::reap() {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends the trial: what the runtime leaves behind, when it has been told to delete everything, is a failure.
    pub(super) fn finish(self) -> Verdict {
        for id in self.ids.borrow().iter() {
            let _ = self.call(["delete", "--force", id]);
        }
        let left = |trial: &Self| {
            let mut left = trial.place.leftovers();
            let states = trial.ids.borrow();
            let states = states.iter().map(|id| trial.runtime.root().join(id));
            left.extend(states.filter(|path| path.exists()).map(|path| path.display().to_string()));
            left
        };
        // What was killed may need a moment to be gone, on a slow machine a longer one.
        let end = Instant::now() + (self.limit / 10).max(Duration::from_secs(2));
        let mut found = left(&self);
        while !found.is_empty() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
            found = left(&self);
        }
        for id in self.ids.borrow().iter() {
            cgroups::destroy(id);
        }
        self.runtime.forget_ids();
        self.place.sweep();
        if found.is_empty() {
            return Ok(());
        }
        Err(Finding::fault(
            Fault::Leftover,
            "nothing is left after `delete --force`",
            found.join("\n"),
        ))
    }
}

/// The command line of the probe inside a container.
pub(super) fn probe_command(words: &[&str]) -> Vec<String> {
    std::iter::once("/bin/nprobe").chain(words.iter().copied()).map(str::to_owned).collect()
}

/// The report that a probe has printed.
pub(super) fn report_of(output: &Output) -> Result<Value, Finding> {
    serde_json::from_str(&output.stdout())
        .map_err(|error| Finding::fail("the probe reports", format!("{error}; {output}")))
}

/// Passes on the output of a call that ended with 0.
pub(super) fn succeeded(output: Output) -> Result<Output, Finding> {
    exits(output, 0)
}

/// Passes on the output of a call that ended with this status.
pub(super) fn exits(output: Output, code: i32) -> Result<Output, Finding> {
    if output.code() == code {
        return Ok(output);
    }
    let fault = if output.crashed() { Fault::Crashed } else { Fault::Wrong };
    Err(Finding::fault(fault, format!("exit status {code}"), output.to_string()))
}

/// A call has been refused: it ended with an error. A crash is none, whatever it keeps from being done.
pub(super) fn fails(expected: &str, output: &Output) -> Verdict {
    if output.crashed() {
        let expected = format!("{expected}, and no crash");
        return Err(Finding::fault(Fault::Crashed, expected, output.to_string()));
    }
    if output.success() {
        return Err(Finding::fail(expected, output.to_string()));
    }
    Ok(())
}

/// A copy of this program in a directory, where containers can get at it.
pub(super) fn copy_probe(directory: &Path) -> PathBuf {
    let path = directory.join(probe::NAME);
    fs::copy("/proc/self/exe", &path).expect("copy this program");
    path
}
