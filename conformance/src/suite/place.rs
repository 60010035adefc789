//! Where a worker runs its trials: a sandbox, as root or as an ordinary user.

use std::path::{Path, PathBuf};

use rustix::process::{WaitOptions, wait};
use tempfile::TempDir;

use super::trial::copy_probe;
use crate::fixture::{BundleDir, Runtime, Sandbox, User, scratch_dir};

/// Who runs the runtime.
enum Who {
    Root(Sandbox),
    User(Box<User>),
}

/// A corner of the machine, with a copy of the probe in it.
pub(super) struct Place {
    probe: PathBuf,
    _directory: TempDir,
    /// Last: what is above lies in it.
    who: Who,
}

impl Place {
    /// Moves the calling thread into a sandbox, for good.
    pub(super) fn enter(program: &Path, rootless: bool) -> Self {
        let who = if rootless {
            Who::User(Box::new(User::with_runtime(program)))
        } else {
            Who::Root(Sandbox::enter())
        };
        let directory = scratch_dir();
        Self { probe: copy_probe(directory.path()), _directory: directory, who }
    }

    /// The file that containers run as the probe.
    pub(super) fn probe(&self) -> &Path {
        &self.probe
    }

    /// The runtime, called by whom it is to be called by.
    pub(super) fn runtime(&self, program: &Path) -> Runtime {
        match &self.who {
            Who::Root(_) => Runtime::at(program),
            Who::User(user) => user.runtime(),
        }
    }

    /// A bundle that can be run here.
    pub(super) fn bundle(&self) -> BundleDir {
        match &self.who {
            Who::Root(_) => BundleDir::new(),
            Who::User(user) => user.bundle(),
        }
    }

    /// Makes a path the property of whoever runs the runtime.
    pub(super) fn give(&self, path: &Path) {
        if let Who::User(user) = &self.who {
            user.give(path);
        }
    }

    /// What is left of trials now, a line each.
    pub(super) fn leftovers(&self) -> Vec<String> {
        reap();
        match &self.who {
            Who::Root(sandbox) => sandbox.leftovers(),
            Who::User(user) => user.leftovers(),
        }
    }

    /// Ends what still runs, so that the next trial is not blamed for it.
    pub(super) fn sweep(&self) {
        crate::sweep::kill_descendants(std::process::id(), &[]);
        reap();
    }
}

/// Waits for what has ended: containers end up as children of this process, the subreaper. Tells whether there was something.
pub(super) fn reap() -> bool {
    let mut any = false;
    while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {
        any = true;
    }
    any
}
