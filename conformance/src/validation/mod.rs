//! The prebuilt programs of the OCI runtime-tools validation suite, run with runtimes one after the other.
//!
//! A program takes the runtime from the variable `RUNTIME`, runs where `runtimetest` and `rootfs-ARCH.tar.gz` lie and
//! prints TAP. It is ended when it takes too long, and what it leaves is ended and deleted, so that the next one starts
//! from nothing.

mod report;
mod tap;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{WaitOptions, wait};

pub use report::{junit, text};
pub use tap::{Ending, Tally};

use crate::contender::Contender;
use crate::fixture::{Capture, Sandbox};
use crate::leaks::processes;
use crate::sweep::kill_descendants;

/// How deep below the directory programs are looked for: `validation/NAME/NAME.t`.
const DEPTH: usize = 3;

/// How long a call that cleans up may take.
const CLEAN_UP: Duration = Duration::from_secs(20);

/// One program of the suite.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Program {
    /// Its file name without `.t`.
    pub name: String,
    /// The file.
    pub path: PathBuf,
}

/// What became of a program with a runtime.
#[derive(Debug)]
pub struct Run {
    /// How it ended.
    pub ending: Ending,
    /// How long it took.
    pub time: Duration,
}

/// All programs with all runtimes.
#[derive(Debug)]
pub struct Results {
    /// The runtimes.
    pub runtimes: Vec<Contender>,
    /// The programs.
    pub programs: Vec<Program>,
    /// For each runtime a run of each program.
    pub columns: Vec<Vec<Run>>,
}

impl Results {
    /// Whether anything has failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.columns.iter().flatten().any(|run| run.ending.is_failure())
    }
}

/// The programs below a directory, by name: executable files that end in `.t`.
///
/// # Errors
/// When the directory cannot be read, or there is none in it.
pub fn programs(directory: &Path) -> Result<Vec<Program>, String> {
    let mut found = Vec::new();
    collect(directory, DEPTH, &mut found)
        .map_err(|error| format!("cannot read `{}`: {error}", directory.display()))?;
    if found.is_empty() {
        return Err(format!(
            "`{}` has no validation programs (executable files whose name ends in `.t`)\n\n\
             hint: `make runtimetest validation-executables` in runtime-tools builds them",
            directory.display()
        ));
    }
    found.sort();
    Ok(found)
}

fn collect(directory: &Path, depth: usize, found: &mut Vec<Program>) -> std::io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let (entry, path) = entry.map(|entry| (entry.file_type(), entry.path()))?;
        if entry?.is_dir() {
            if depth > 1 {
                collect(&path, depth - 1, found)?;
            }
        } else if path.extension().is_some_and(|end| end == "t")
            && fs::metadata(&path).is_ok_and(|meta| meta.permissions().mode() & 0o111 != 0)
        {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            found.push(Program { name, path });
        }
    }
    Ok(())
}

/// Runs every program with every runtime, each at most for `limit`, telling `progress` about each.
///
/// # Panics
/// When this machine has no room for a sandbox.
#[must_use]
pub fn run(
    directory: &Path,
    programs: &[Program],
    runtimes: &[Contender],
    limit: Duration,
    progress: &(dyn Fn(&str) + Sync),
) -> Results {
    let column = |runtime: &Contender| {
        let _sandbox = Sandbox::enter();
        runtime.hide_what_it_cannot_bear();
        let run = |program: &Program| {
            progress(&format!("{}: {}", runtime.name, program.name));
            one(directory, program, runtime, limit)
        };
        programs.iter().map(run).collect::<Vec<_>>()
    };
    let column = &column;
    // A sandbox holds for the thread that has entered it.
    let columns = runtimes
        .iter()
        .map(|runtime| {
            std::thread::scope(|scope| {
                scope.spawn(move || column(runtime)).join().expect("a column")
            })
        })
        .collect();
    Results { runtimes: runtimes.to_vec(), programs: programs.to_vec(), columns }
}

fn one(directory: &Path, program: &Program, runtime: &Contender, limit: Duration) -> Run {
    let start = Instant::now();
    let output = Capture::of(&program.path)
        .directory(directory)
        .env("RUNTIME", &runtime.program)
        .limit(limit)
        .try_run();
    let time = start.elapsed();
    let ending = match output {
        Ok(output) => tap::judge(&output.stdout(), &output.stderr(), output.code()),
        Err(_) => Ending::Hung(limit),
    };
    clean_up(runtime);
    Run { ending, time }
}

/// Deletes the containers that the runtime still knows, then ends what is left of the program and removes its cgroups.
fn clean_up(runtime: &Contender) {
    let call = |args: &[&str]| {
        Capture::of(&runtime.program).args(args).limit(CLEAN_UP).try_run().map(|out| out.stdout())
    };
    for id in call(&["list", "-q"]).unwrap_or_default().split_whitespace() {
        let _ = call(&["delete", "--force", id]);
    }
    let groups = cgroups_of_descendants();
    kill_descendants(std::process::id(), &[]);
    while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
    for group in groups {
        // One that others use as well is not empty and stays.
        let _ = fs::remove_dir(group);
    }
}

/// The cgroups, other than our own, of everything below this process.
fn cgroups_of_descendants() -> BTreeSet<PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own: BTreeSet<&str> = own.lines().collect();
    let mut found = BTreeSet::new();
    for process in processes().filter(|process| process.parent == std::process::id()) {
        let table = fs::read_to_string(format!("/proc/{}/cgroup", process.pid)).unwrap_or_default();
        for line in table.lines().filter(|line| !own.contains(line)) {
            let Some(path) = line.rsplit(':').next() else { continue };
            let path = path.trim_start_matches('/');
            let roots = crate::fixture::cgroups::hierarchies();
            found.extend(roots.iter().map(|root| root.join(path)).filter(|path| path.is_dir()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_executable_files_that_end_in_t_up_to_two_directories_deep() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = |name: &str, mode: u32| {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            fs::write(&path, "").expect("a file");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode");
        };
        assert!(programs(directory.path()).is_err_and(|error| error.contains("hint:")));
        file("validation/state/state.t", 0o755);
        file("kill.t", 0o755);
        file("source.t", 0o644);
        file("runtimetest", 0o755);
        file("a/b/c/deep.t", 0o755);
        let names: Vec<String> =
            programs(directory.path()).expect("programs").into_iter().map(|p| p.name).collect();
        assert_eq!(names, ["kill", "state"]);
    }
}
