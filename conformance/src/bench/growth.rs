//! What stands beside a container while it is made: running ones of the same runtime and root, or mounts of the host.
//!
//! Neither is a runtime's business, so that a `create` should cost what it costs alone. The kernel has its own part in it: it
//! copies all mounts into a new mount namespace. What that is the floor shows, under the same conditions.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount};

use super::cases::{Bench, row};

/// How many mounts there are where mounts stand beside a container.
const MOUNTS: usize = 10_000;

/// A runtime that would need longer than this to start its containers is spared them, unless the bars are for it.
const PATIENCE: Duration = Duration::from_secs(15);

/// What stands beside the container that is measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Beside {
    /// Nothing
    Nothing,
    /// So many running containers
    Containers(usize),
    /// Many mounts, below this directory
    Mounts(PathBuf),
}

/// The rows of the case in the order in which they are measured, with what stands beside the container.
pub(super) fn stages(mounts: &Path) -> [(&'static str, Beside); 4] {
    [
        (row::ALONE, Beside::Nothing),
        (row::AMONG_100, Beside::Containers(100)),
        (row::AMONG_1000, Beside::Containers(1_000)),
        (row::AMONG_MOUNTS, Beside::Mounts(mounts.to_owned())),
    ]
}

impl Bench {
    /// Makes and removes what is missing and what is too much.
    ///
    /// # Errors
    /// What the runtime said when it failed to start a container, or why it is spared the attempt.
    pub(super) fn surround(&self, beside: &Beside) -> Result<(), String> {
        let (containers, mounts) = match beside {
            Beside::Nothing => (0, None),
            Beside::Containers(count) => (*count, None),
            Beside::Mounts(below) => (0, Some(below.as_path())),
        };
        if containers == 0 {
            self.remove_residents()?;
        }
        self.start_residents(containers)?;
        self.mount_below(mounts)
    }

    /// Starts containers until there are `count`. The floor starts none: what it stands beside are those of the others.
    fn start_residents(&self, count: usize) -> Result<(), String> {
        if self.is_floor {
            return Ok(());
        }
        let mut pace = self.pace.borrow_mut();
        let there = self.residents.borrow().len();
        let needed = *pace * u32::try_from(count.saturating_sub(there)).unwrap_or(u32::MAX);
        if needed > PATIENCE && !self.is_ours {
            let seconds = needed.as_secs();
            return Err(format!("left out: {count} containers would take {seconds} s to start"));
        }
        let start = Instant::now();
        for _ in there..count {
            let id = self.runtime.new_id();
            let bundle = self.sleeper.path().to_string_lossy();
            self.call(&["run", "--detach", "--bundle", &bundle, &id].map(Into::into))?;
            self.residents.borrow_mut().push(id);
        }
        if count > there {
            *pace = start.elapsed() / u32::try_from(count - there).unwrap_or(u32::MAX);
        }
        Ok(())
    }

    fn remove_residents(&self) -> Result<(), String> {
        for id in self.residents.take() {
            self.call(&["delete", "--force", &id].map(Into::into))?;
        }
        Ok(())
    }

    /// Has the mounts in this thread's mount namespace, which it may share with other contenders' threads.
    fn mount_below(&self, wanted: Option<&Path>) -> Result<(), String> {
        let failed = |what: &str, error: rustix::io::Errno| format!("cannot {what}: {error}");
        if let Some(below) = wanted.filter(|below| !is_mounted(below)) {
            mount("tmpfs", below, "tmpfs", MountFlags::empty(), None)
                .map_err(|error| failed("mount a tmpfs", error))?;
            for number in 0..MOUNTS {
                let point = below.join(number.to_string());
                fs::create_dir(&point).map_err(|error| error.to_string())?;
                mount_bind(&point, &point).map_err(|error| failed("bind a directory", error))?;
            }
        }
        let mut made = self.mounts.borrow_mut();
        match (wanted, made.take()) {
            (Some(below), _) => *made = Some(below.to_owned()),
            (None, Some(below)) if is_mounted(&below) => {
                unmount(&below, UnmountFlags::DETACH)
                    .map_err(|error| failed("remove the mounts", error))?;
            }
            (None, _) => {}
        }
        Ok(())
    }
}

/// Whether this thread's mount namespace has a mount there.
fn is_mounted(path: &Path) -> bool {
    let table = fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default();
    let path = path.to_string_lossy();
    table.lines().any(|line| line.split(' ').nth(4) == Some(path.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contender::Contender;
    use crate::fixture::{Sandbox, binary, scratch_dir};
    use crate::leaks;

    #[test]
    fn what_stands_beside_a_container_is_there_and_goes_again() {
        let sandbox = Sandbox::enter();
        let directory = scratch_dir();
        let contender = Contender::probe(&binary("nrun")).expect("nrun");
        let bench = Bench::prepare(&Contender { name: "another".to_owned(), ..contender });
        let running = || fs::read_dir(bench.runtime.root()).map_or(0, Iterator::count);
        let mounts = || leaks::mounts_of_this_thread().len();
        let (own, before) = (running(), mounts());
        bench.surround(&Beside::Containers(3)).expect("three containers");
        bench.surround(&Beside::Containers(5)).expect("two more");
        assert_eq!(running(), own + 5);
        bench.surround(&Beside::Mounts(directory.path().to_owned())).expect("mounts");
        assert_eq!((running(), mounts()), (own, before + MOUNTS + 1));
        bench.surround(&Beside::Nothing).expect("nothing");
        assert_eq!(mounts(), before);
        *bench.pace.borrow_mut() = Duration::from_secs(1);
        let why = bench.surround(&Beside::Containers(100)).expect_err("too slow");
        assert!(why.starts_with("left out: 100 containers would take 100 s"), "{why}");
        drop(bench);
        sandbox.assert_clean();
    }
}
