//! What a build says of how it gets on, on stderr, in the words of Docker's own builder.

use crate::table::plain;
use bundle::digest::Digest;
use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Counts the steps and tells of them.
#[derive(Debug)]
pub(super) struct Report {
    quiet: bool,
    step: AtomicUsize,
    steps: AtomicUsize,
}

impl Report {
    /// For a build of so many steps.
    pub(super) fn new(quiet: bool, steps: usize) -> Self {
        Self { quiet, step: AtomicUsize::new(0), steps: AtomicUsize::new(steps) }
    }

    /// Whether nothing is said.
    pub(super) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Triggers of a base image come on top.
    pub(super) fn triggers(&self, count: usize) {
        if count > 0 {
            self.steps.fetch_add(count, Relaxed);
            let plural = if count == 1 { "" } else { "s" };
            self.say(&format!("# Executing {count} build trigger{plural}"));
        }
    }

    /// Steps of stages come on top that only triggers ask for.
    pub(super) fn unforeseen(&self, count: usize) {
        self.steps.fetch_add(count, Relaxed);
    }

    /// A step begins.
    pub(super) fn step(&self, text: &str) {
        let step = self.step.fetch_add(1, Relaxed) + 1;
        let text = plain(text);
        self.say(&format!("Step {step}/{} : {text}", self.steps.load(Relaxed)));
    }

    /// Another build has done it, and left it here or in a cache.
    pub(super) fn cached(&self, cache: Option<&str>) {
        let from = cache.map(|name| format!(" {name}")).unwrap_or_default();
        self.say(&format!(" ---> Using cache{from}"));
    }

    /// What there is now.
    pub(super) fn made(&self, id: &Digest) {
        self.say(&format!(" ---> {}", id.short()));
    }

    /// Something is not as it may be thought to be. It is said in any case.
    pub(super) fn warn(&self, text: &str) {
        write(&format!("WARNING: {}", plain(text)));
    }

    /// Says something.
    pub(super) fn say(&self, text: &str) {
        if !self.quiet {
            write(text);
        }
    }
}

/// That nobody reads it is no reason to stop.
fn write(text: &str) {
    let _ = std::io::stderr().write_all(format!("{text}\n").as_bytes());
}
