//! What our programs and tests have left on the machine.
//!
//! A [`Survey`] lists what carries our names: cgroups, mounts, processes, interfaces and state
//! directories. `make test` takes one before the suite and compares after it, so containers that
//! somebody really runs on the machine are no leaks. Nothing is ever removed here.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::fixture::{PREFIX, cgroups};

/// Our programs: a process that runs one of them is ours.
const PROGRAMS: [&str; 4] = ["nrun", "nman", "nbundle", "nman-monitor"];
/// Directories in which our programs keep an entry for each container, or for each that failed.
const STATE: [&str; 5] =
    ["/run/nrun", "/run/nrun-failures", "/run/nman", "/var/lib/nman/containers", "/run/runc"];

/// Everything on the machine that carries our names, by kind.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Survey {
    cgroups: BTreeSet<String>,
    mounts: BTreeSet<String>,
    processes: BTreeSet<String>,
    interfaces: BTreeSet<String>,
    directories: BTreeSet<String>,
}

impl Survey {
    /// Looks at the machine as the calling thread sees it.
    #[must_use]
    pub fn take() -> Self {
        Self {
            cgroups: cgroups::all()
                .iter()
                .map(|path| path.display().to_string())
                .filter(|path| has_our_name(path))
                .collect(),
            mounts: mounts_of_this_thread().into_iter().filter(|path| has_our_name(path)).collect(),
            processes: our_processes(),
            interfaces: interfaces_of_this_thread()
                .into_iter()
                .filter(|name| is_our_interface(name))
                .collect(),
            directories: our_directories(),
        }
    }

    /// What is here now and was not there `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        self.combine(before, |now, then| now.difference(then).cloned().collect())
    }

    /// What is here and was there in the `other` survey too.
    #[must_use]
    pub fn also_in(&self, other: &Self) -> Self {
        self.combine(other, |now, then| now.intersection(then).cloned().collect())
    }

    fn combine(
        &self,
        other: &Self,
        of: impl Fn(&BTreeSet<String>, &BTreeSet<String>) -> BTreeSet<String>,
    ) -> Self {
        Self {
            cgroups: of(&self.cgroups, &other.cgroups),
            mounts: of(&self.mounts, &other.mounts),
            processes: of(&self.processes, &other.processes),
            interfaces: of(&self.interfaces, &other.interfaces),
            directories: of(&self.directories, &other.directories),
        }
    }

    /// Whether nothing of ours was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Survey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = [
            ("cgroup", &self.cgroups),
            ("mount", &self.mounts),
            ("process", &self.processes),
            ("interface", &self.interfaces),
            ("directory", &self.directories),
        ];
        for (kind, names) in kinds {
            for name in names {
                writeln!(f, "{kind} `{name}`")?;
            }
        }
        Ok(())
    }
}

/// A line of the process table.
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) parent: u32,
    /// Not a zombie.
    pub(crate) alive: bool,
    pub(crate) command: String,
}

/// All processes; those that end meanwhile are left out.
pub(crate) fn processes() -> impl Iterator<Item = Process> {
    fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        // The name, in parentheses, may itself contain spaces and parentheses.
        let (_, fields) = stat.rsplit_once(") ")?;
        let mut fields = fields.split(' ');
        let alive = !matches!(fields.next()?, "Z" | "X");
        let parent = fields.next()?.parse().ok()?;
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ").trim_end().to_owned();
        Some(Process { pid, parent, alive, command })
    })
}

/// The mount points of the calling thread's namespace. Points that repeat get a counter.
#[must_use]
pub(crate) fn mounts_of_this_thread() -> BTreeSet<String> {
    let table = fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default();
    let mut points = BTreeSet::new();
    for point in table.lines().filter_map(|line| line.split(' ').nth(4)) {
        let name = std::iter::once(point.to_owned())
            .chain((2..).map(|count| format!("{point} ({count} times)")))
            .find(|name| !points.contains(name))
            .expect("an endless iterator");
        points.insert(name);
    }
    points
}

/// The network interfaces of the calling thread's namespace.
#[must_use]
pub(crate) fn interfaces_of_this_thread() -> BTreeSet<String> {
    // Unlike /sys/class/net, this file is read in the namespace of the reader.
    let table = fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default();
    table
        .lines()
        .skip(2)
        .filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned()))
        .collect()
}

/// Bridges are `nman0` and on, a container's interface is `nm` and the beginning of its id.
fn is_our_interface(name: &str) -> bool {
    let of_container = |rest: &str| rest.len() >= 8 && rest.bytes().all(|b| b.is_ascii_hexdigit());
    name.starts_with("nman")
        || name.starts_with(PREFIX)
        || name.strip_prefix("nm").is_some_and(of_container)
}

fn has_our_name(path: &str) -> bool {
    path.split('/').any(|part| {
        part.contains(PREFIX)
            || ["nrun", "nman", "nrt"].contains(&part)
            || ["nrun-", "nman-"].iter().any(|prefix| part.starts_with(prefix))
    })
}

fn our_processes() -> BTreeSet<String> {
    let own = std::process::id();
    processes()
        .filter(|process| process.alive && process.pid != own)
        .filter(|process| {
            let directory = Path::new("/proc").join(process.pid.to_string());
            let executable = fs::read_link(directory.join("exe")).unwrap_or_default();
            let name = executable.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let groups = fs::read_to_string(directory.join("cgroup")).unwrap_or_default();
            PROGRAMS.contains(&name.trim_end_matches(" (deleted)"))
                || groups.lines().any(has_our_name)
                || process.command.contains(&format!("/{PREFIX}"))
        })
        .map(|process| format!("{} {}", process.pid, process.command))
        .collect()
}

fn our_directories() -> BTreeSet<String> {
    let entries = |parent: &Path| {
        fs::read_dir(parent).into_iter().flatten().flatten().map(|entry| entry.path())
    };
    STATE
        .iter()
        .flat_map(|parent| entries(Path::new(parent)))
        .chain(entries(&std::env::temp_dir()).filter(|path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX))
        }))
        .map(|path| path.display().to_string())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_of_ours_is_found_and_one_that_was_there_before_is_not_counted() {
        let directory = crate::fixture::scratch_dir();
        let path = directory.path().display().to_string();
        let with = Survey::take();
        assert!(with.directories.contains(&path), "{with}");
        assert!(!with.since(&with).directories.contains(&path));
        assert!(with.also_in(&with).directories.contains(&path));
        directory.close().expect("remove the directory");
        let without = Survey::take();
        assert!(with.since(&without).directories.contains(&path));
        assert!(!with.also_in(&without).directories.contains(&path));
    }

    #[test]
    fn names_are_ours_only_as_whole_parts_of_a_path() {
        assert!(has_our_name("/sys/fs/cgroup/memory/nman/0123"));
        assert!(has_our_name("/sys/fs/cgroup/nrt-12-0"));
        assert!(!has_our_name("/srv/unmanned/nrunner"));
        assert!(is_our_interface("nman0") && is_our_interface("nm0123456789ab"));
        assert!(!is_our_interface("nm-bridge") && !is_our_interface("eth0"));
    }

    #[test]
    fn the_process_table_has_this_process_with_its_parent() {
        let own = processes().find(|process| process.pid == std::process::id()).expect("own entry");
        assert!(own.alive);
        assert_eq!(own.parent, std::os::unix::process::parent_id());
    }
}
