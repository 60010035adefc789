//! What a case is: a plain record with a function, and what the function can find.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::facts::Facts;
use super::trial::{Mode, Trial};
use crate::contender::{Contender, Release};
use crate::fixture::legible;

/// How binding the clause is that a case comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    /// MUST, REQUIRED, SHALL of the specification.
    Must,
    /// SHOULD, RECOMMENDED.
    Should,
    /// Behaviour of runc that engines rely on and no specification writes down.
    Contract,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Must => "MUST",
            Self::Should => "SHOULD",
            Self::Contract => "CONTRACT",
        })
    }
}

/// Cases about one section.
#[derive(Debug)]
pub struct Topic {
    /// One word, for `--filter`.
    pub name: &'static str,
    /// What it is about.
    pub title: &'static str,
    /// The section: a file of runtime-spec with an anchor, or a page of this project's documentation.
    pub section: &'static str,
    /// The cases, in the order in which they run.
    pub cases: &'static [Case],
}

/// One thing that must hold for a runtime.
#[derive(Debug)]
pub struct Case {
    /// A sentence; unique within its topic.
    pub name: &'static str,
    /// How binding it is.
    pub level: Level,
    /// What the host must have.
    pub needs: &'static [Need],
    /// Releases that are known to fail it.
    pub known: &'static [Known],
    /// Whether it makes sense for a runtime that an ordinary user runs.
    pub rootless: bool,
    /// The cgroup driver that it says something about.
    pub driver: Driver,
    /// Does it.
    pub run: fn(&Trial) -> Verdict,
}

/// Who makes a container's cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// Whoever does.
    Any,
    /// The runtime itself.
    Cgroupfs,
    /// systemd, because the runtime asks it to.
    Systemd,
}

/// A case with a clause of level MUST.
pub(super) const fn must(name: &'static str, run: fn(&Trial) -> Verdict) -> Case {
    Case {
        name,
        level: Level::Must,
        needs: &[],
        known: &[],
        rootless: false,
        driver: Driver::Any,
        run,
    }
}

/// A case with a clause of level SHOULD.
pub(super) const fn should(name: &'static str, run: fn(&Trial) -> Verdict) -> Case {
    Case { level: Level::Should, ..must(name, run) }
}

/// A case that comes from the behaviour of runc.
pub(super) const fn contract(name: &'static str, run: fn(&Trial) -> Verdict) -> Case {
    Case { level: Level::Contract, ..must(name, run) }
}

impl Case {
    pub(super) const fn needs(self, needs: &'static [Need]) -> Self {
        Self { needs, ..self }
    }

    pub(super) const fn known(self, known: &'static [Known]) -> Self {
        Self { known, ..self }
    }

    pub(super) const fn rootless(self) -> Self {
        Self { rootless: true, ..self }
    }

    pub(super) const fn cgroupfs_only(self) -> Self {
        Self { driver: Driver::Cgroupfs, ..self }
    }

    pub(super) const fn systemd_only(self) -> Self {
        Self { driver: Driver::Systemd, ..self }
    }

    /// Why it says nothing of a runtime that is run so, whatever the host has.
    #[must_use]
    pub fn unfit(&self, mode: Mode) -> Option<&'static str> {
        match self.driver {
            Driver::Cgroupfs if mode.systemd => Some("says nothing about systemd's driver"),
            Driver::Systemd if !mode.systemd => Some("is about systemd's driver (`--systemd`)"),
            _ => (mode.rootless && !self.rootless).then_some("needs root"),
        }
    }

    /// The known failure that applies to a runtime.
    pub(super) fn known_for(
        &self,
        contender: &Contender,
        mode: Mode,
        unified: bool,
    ) -> Option<&'static Known> {
        let (product, release) = (contender.product(), contender.release());
        let applies = |known: &&Known| known.applies(release, mode, unified);
        self.known.iter().filter(|known| known.product == product).find(applies)
    }
}

/// Something that the host must have for a case to say anything.
#[derive(Debug)]
pub struct Need {
    /// A noun, for `the host has no ...`.
    pub what: &'static str,
    /// Whether it is there.
    pub is_met: fn(&Facts) -> bool,
}

/// A failure that is understood: the case is run nevertheless, and has to fail.
#[derive(Debug)]
pub struct Known {
    /// The name that the runtime gives itself.
    pub product: &'static str,
    /// The last release that is known to fail.
    pub last: Release,
    /// Only when an ordinary user runs it, or only when root does.
    pub rootless: Option<bool>,
    /// Only where every controller is on cgroup v2, or only where it is not.
    pub unified: Option<bool>,
    /// Only with systemd's cgroup driver, or only without.
    pub systemd: Option<bool>,
    /// Whether it leaves something behind, too, or that alone.
    pub leaves: bool,
    /// Why.
    pub why: &'static str,
}

impl Known {
    fn applies(&self, release: Release, mode: Mode, unified: bool) -> bool {
        let is_so = |asked: Option<bool>, so: bool| asked.is_none_or(|asked| asked == so);
        release <= self.last
            && is_so(self.rootless, mode.rootless)
            && is_so(self.unified, unified)
            && is_so(self.systemd, mode.systemd)
    }

    /// Whether this is how it is known to fail. It may never hang or crash.
    pub(super) fn covers(&self, fault: Fault) -> bool {
        fault == Fault::Wrong || self.leaves && fault == Fault::Leftover
    }

    /// Only on cgroup v1.
    pub(super) const fn on_v1(self) -> Self {
        Self { unified: Some(false), ..self }
    }

    /// Only on cgroup v2.
    pub(super) const fn on_v2(self) -> Self {
        Self { unified: Some(true), ..self }
    }

    /// Only where the runtime makes the cgroups itself.
    pub(super) const fn without_systemd(self) -> Self {
        Self { systemd: Some(false), ..self }
    }

    /// Only when root runs it.
    pub(super) const fn for_root(self) -> Self {
        Self { rootless: Some(false), ..self }
    }

    /// Only when an ordinary user runs it.
    pub(super) const fn for_users(self) -> Self {
        Self { rootless: Some(true), ..self }
    }
}

/// A failure wherever it is run.
const ANY: Known = Known {
    product: "",
    last: Release(0, 0, 0),
    rootless: None,
    unified: None,
    systemd: None,
    leaves: false,
    why: "",
};

/// A failure of ours that is understood: docs/known-gaps.md tells of it.
pub(super) const fn nrun(why: &'static str) -> Known {
    Known { product: "nrun", last: Release(0, 1, u32::MAX), why, ..ANY }
}

/// A failure of runc, up to the release that the cases were tried with.
pub(super) const fn runc(why: &'static str) -> Known {
    Known { product: "runc", last: Release(1, 1, 5), why, ..ANY }
}

/// A failure of every runc before 1.2.
pub(super) const fn old_runc(why: &'static str) -> Known {
    Known { product: "runc", last: Release(1, 1, u32::MAX), why, ..ANY }
}

/// A failure of crun, up to the release that the cases were tried with. Where a container fails it leaves cgroups behind, too: always
/// on v2, of some controllers on v1.
pub(super) const fn crun(why: &'static str) -> Known {
    Known { product: "crun", last: Release(1, 8, 1), leaves: true, why, ..ANY }
}

/// crun's after a failure, on cgroup v2.
pub(super) const CRUN_LEAVES_CGROUP: Known =
    crun("leaves the cgroup behind").on_v2().without_systemd().for_root();

/// What a case returns: nothing when all is as it must be.
pub(super) type Verdict = Result<(), Finding>;

/// How a runtime fails a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fault {
    /// It does something else than it must.
    Wrong,
    /// It comes to no end.
    Hung,
    /// It was brought down, or the case was.
    Crashed,
    /// It leaves something behind.
    Leftover,
}

/// Why a case did not pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "finding", rename_all = "lowercase")]
pub enum Finding {
    /// The runtime does something else than it must.
    Fail {
        /// How it does so.
        fault: Fault,
        /// What must be.
        expected: String,
        /// What is.
        seen: String,
    },
    /// The machine or the way in which the runtime is run says nothing about it.
    Skip {
        /// What is missing.
        reason: String,
    },
}

impl Finding {
    pub(super) fn fail(expected: impl Into<String>, seen: impl Into<String>) -> Self {
        Self::fault(Fault::Wrong, expected, seen)
    }

    pub(super) fn fault(
        fault: Fault,
        expected: impl Into<String>,
        seen: impl Into<String>,
    ) -> Self {
        // A runtime says what it likes.
        Self::Fail { fault, expected: legible(&expected.into()), seen: legible(&seen.into()) }
    }

    /// What it comes to when something is left behind as well, which matters more than a wrong answer.
    pub(super) fn with_leftovers(self, left: Self) -> Self {
        match (self, left) {
            (
                Self::Fail { fault: Fault::Wrong, expected, seen },
                Self::Fail { fault, expected: nothing, seen: found },
            ) => Self::fault(fault, format!("{expected}; {nothing}"), format!("{seen}\n{found}")),
            (first, _) => first,
        }
    }

    pub(super) fn skip(reason: impl Into<String>) -> Self {
        Self::Skip { reason: reason.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_runtime_says_is_shown_as_text_whatever_it_is() {
        let Finding::Fail { seen, .. } = Finding::fail("a", "\u{1b}[2J".repeat(100_000)) else {
            panic!("a failure is none");
        };
        assert!(seen.starts_with("\\u{1b}[2J") && seen.len() < 80_000, "{}", seen.len());
    }

    #[test]
    fn a_known_failure_ends_with_the_last_release_that_has_it() {
        const CASE: Case = must("x", |_| Ok(())).known(&[old_runc("not there yet"), crun("no")]);
        let known = |version: &str| {
            let contender =
                Contender { name: "x".into(), program: "x".into(), version: version.into() };
            CASE.known_for(&contender, Mode::default(), false).is_some()
        };
        assert!(known("runc version 1.1.5+ds1"));
        assert!(!known("runc version 1.2.0"));
        assert!(known("runc version 1.1.99"));
        assert!(known("crun version 1.8.1"));
        assert!(!known("crun version 1.8.2"));
        assert!(!known("nrun 0.1.0"));
    }

    #[test]
    fn a_known_failure_may_be_one_of_some_ways_to_run_it_alone() {
        const CASE: Case = must("x", |_| Ok(())).known(&[
            crun("no").for_users(),
            Known { unified: Some(true), ..crun("no") },
            Known { systemd: Some(true), ..crun("no") },
        ]);
        let contender = Contender {
            name: "x".into(),
            program: "x".into(),
            version: "crun version 1.8.1".into(),
        };
        let known = |rootless, systemd, unified| {
            CASE.known_for(&contender, Mode { rootless, systemd }, unified).is_some()
        };
        assert!(!known(false, false, false));
        for (rootless, systemd, unified) in
            [(true, false, false), (false, true, false), (false, false, true)]
        {
            assert!(known(rootless, systemd, unified), "{rootless} {systemd} {unified}");
        }
    }
}
