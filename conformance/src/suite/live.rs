//! A container that a trial has created.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, WaitOptions, waitpid};
use serde_json::Value;

use super::case::Finding;
use super::trial::{Trial, report_of, succeeded};
use crate::fixture::{Output, cgroups};

/// A container, created and not yet deleted.
pub(super) struct Live<'t> {
    trial: &'t Trial,
    id: String,
    pid: Option<Pid>,
    output: Output,
}

impl<'t> Live<'t> {
    pub(super) fn new(trial: &'t Trial, id: String, pid: Option<Pid>, output: Output) -> Self {
        Self { trial, id, pid, output }
    }

    /// Its id.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// What it has written so far.
    pub(super) fn stdout(&self) -> String {
        self.output.stdout()
    }

    /// `start`, successful.
    pub(super) fn start(&self) -> Result<Output, Finding> {
        self.trial.call_ok(["start", &self.id])
    }

    /// `kill ID SIGNAL`, successful.
    pub(super) fn kill(&self, signal: &str) -> Result<Output, Finding> {
        self.trial.call_ok(["kill", &self.id, signal])
    }

    /// `delete ID`, successful.
    pub(super) fn delete(&self) -> Result<Output, Finding> {
        self.trial.call_ok(["delete", &self.id])
    }

    /// Kills it, waits for its end and deletes it.
    pub(super) fn end(&self) -> Result<(), Finding> {
        self.kill("KILL")?;
        self.wait()?;
        self.delete().map(drop)
    }

    /// What `state` prints.
    pub(super) fn state(&self) -> Result<Value, Finding> {
        let output = self.trial.call_ok(["state", &self.id])?;
        serde_json::from_str(&output.stdout())
            .map_err(|error| Finding::fail("`state` prints JSON", format!("{error}; {output}")))
    }

    /// The status in `state`.
    pub(super) fn status(&self) -> Result<String, Finding> {
        let state = self.state()?;
        let status = state["status"].as_str().map(str::to_owned);
        status.ok_or_else(|| Finding::fail("`state` has a status", state.to_string()))
    }

    /// The pid of its first process.
    pub(super) fn pid(&self) -> Result<Pid, Finding> {
        let state = self.state()?;
        let pid = state["pid"].as_i64().and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
        pid.ok_or_else(|| Finding::fail("`state` has the pid of a process", state.to_string()))
    }

    /// `exec ID ARGS...`, successful.
    pub(super) fn exec(&self, args: &[&str]) -> Result<Output, Finding> {
        succeeded(self.try_exec(&[], args)?)
    }

    /// `exec OPTIONS ID ARGS...`.
    pub(super) fn try_exec(&self, options: &[&str], args: &[&str]) -> Result<Output, Finding> {
        let words = [&["exec"], options, &[self.id.as_str()], args].concat();
        self.trial.call(words)
    }

    /// The probe's report from an `exec`.
    pub(super) fn observe(&self, options: &[&str]) -> Result<Value, Finding> {
        report_of(&succeeded(self.try_exec(options, &["/bin/nprobe"])?)?)
    }

    /// Waits until its first process has ended and gives its exit status: 128 and the number for a signal.
    pub(super) fn wait(&self) -> Result<i32, Finding> {
        let pid = self.pid.ok_or_else(|| Finding::fail("a pid file", "there is none"))?;
        let end = Instant::now() + self.trial.limit();
        loop {
            match waitpid(Some(pid), WaitOptions::NOHANG) {
                Ok(Some((_, status))) => {
                    let signal = status.terminating_signal().map(|signal| 128 + signal);
                    return Ok(status.exit_status().or(signal).unwrap_or(0));
                }
                // Not a child of ours: somebody else has waited for it, or will.
                Err(_)
                    if !std::path::Path::new(&format!("/proc/{}", pid.as_raw_nonzero()))
                        .exists() =>
                {
                    return Ok(0);
                }
                _ if Instant::now() > end => {
                    let seen = format!("container `{}` still runs", self.id);
                    return Err(Finding::fail("the container's process ends", seen));
                }
                _ => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    /// The text of a file of its cgroup: of the first that exists.
    ///
    /// On v2 its first process tells which cgroup that is: the limits may be on one below the unit's, as crun has it.
    pub(super) fn cgroup(&self, files: &[&str]) -> Result<String, Finding> {
        let unified = self.pid.filter(|_| cgroups::unified()).and_then(cgroups::unified_of);
        let text = files.iter().find_map(|file| {
            let own = unified.as_ref().and_then(|own| fs::read_to_string(own.join(file)).ok());
            own.map(|text| text.trim().to_owned()).or_else(|| cgroups::read(&self.id, file))
        });
        text.ok_or_else(|| {
            let groups = cgroups::named(&self.id);
            Finding::fail(
                format!("a cgroup with {} for the container", files.join(" or ")),
                format!("its cgroups are {groups:?}"),
            )
        })
    }
}
