//! The cgroups of a running container as the kernel shows them: v1, v2, or both at once. Only ever read.
//!
//! Where they are is a question to `/proc`, not to the runtime: a container may have been moved, and a runtime with
//! systemd's driver chooses other names.

use crate::process::text;
use std::fs;
use std::path::{Path, PathBuf};

/// The cgroup below which a container has its own, if nothing is said.
pub const DEFAULT_PARENT: &str = "/nman";

/// Whether the parent of a cgroup is a slice: everything else is a path, or nothing.
pub(crate) fn is_slice(parent: &str) -> bool {
    parent.ends_with(".slice") && !parent.starts_with('/')
}

/// Where a process's cgroups are mounted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups {
    /// The directory on v2.
    unified: Option<PathBuf>,
    /// Controllers of v1, and the directory of each.
    controllers: Vec<(String, PathBuf)>,
}

/// What its lines say: the names of controllers, of which v2 has none there, and a path from the root of the hierarchy.
fn lines(groups: &str) -> impl Iterator<Item = (&str, &str)> {
    groups.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'))
}

fn unified(groups: &str) -> Option<&str> {
    lines(groups).find(|(names, _)| names.is_empty()).map(|(_, path)| path)
}

/// The cgroup of a process on v2, from the root of the hierarchy; ours for `self`.
pub(crate) fn unified_of(pid: impl std::fmt::Display) -> Option<PathBuf> {
    unified(&text(pid, "cgroup")?).map(PathBuf::from)
}

/// What a container uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Nanoseconds of CPU time.
    pub cpu: u64,
    /// Bytes of memory, without what the kernel would give back at once.
    pub memory: u64,
    /// The limit of that; `None` for none.
    pub memory_limit: Option<u64>,
    /// Processes and threads.
    pub pids: u64,
    /// Bytes read from block devices.
    pub read: u64,
    /// Bytes written to them.
    pub written: u64,
}

impl Groups {
    /// Those of a process; `None` when it has ended.
    #[must_use]
    pub fn of(pid: i32) -> Option<Self> {
        Self::mounted(&text(pid, "cgroup")?)
    }

    fn mounted(groups: &str) -> Option<Self> {
        let mounts = text("self", "mountinfo")?;
        Some(Self::find(groups, &mounts))
    }

    /// Of those of a process, the one that counts its memory; `None` when it has ended.
    ///
    /// It is looked for where every distribution mounts it, and only if it is not there in the table of mounts, which is as long as the
    /// host has mounts.
    #[must_use]
    pub fn of_memory(pid: i32) -> Option<Self> {
        let groups = text(pid, "cgroup")?;
        Self::find_memory(&groups, Path::new("/sys/fs/cgroup")).or_else(|| Self::mounted(&groups))
    }

    /// From the text of `/proc/PID/cgroup` and where cgroups are mounted.
    fn find_memory(groups: &str, root: &Path) -> Option<Self> {
        let v1 = lines(groups).find(|(names, _)| names.split(',').any(|name| name == "memory"));
        let mut found = Self::default();
        match v1 {
            Some((names, path)) => {
                let directory = root.join(names).join(path.strip_prefix('/')?);
                found.controllers.push(("memory".to_owned(), directory));
            }
            None => {
                found.unified = Some(root.join(unified(groups)?.strip_prefix('/')?));
            }
        }
        let there = found.file("memory", "memory.oom_control", "memory.events")?.exists();
        there.then_some(found)
    }

    /// From the text of `/proc/PID/cgroup` and `/proc/self/mountinfo`.
    fn find(groups: &str, mounts: &str) -> Self {
        let mut found = Self::default();
        for (controllers, path) in lines(groups) {
            let place =
                |wanted: Option<&str>| mounts.lines().find_map(|mount| place(mount, wanted, path));
            if controllers.is_empty() {
                found.unified = place(None);
            } else {
                for controller in controllers.split(',') {
                    if let Some(directory) = place(Some(controller)) {
                        found.controllers.push((controller.to_owned(), directory));
                    }
                }
            }
        }
        found
    }

    /// The file of a controller: under its name on v1, else under the one on v2.
    #[must_use]
    pub fn file(&self, controller: &str, v1: &str, v2: &str) -> Option<PathBuf> {
        let own = self.controllers.iter().find(|(name, _)| name == controller);
        match own {
            Some((_, directory)) => Some(directory.join(v1)),
            None => self.unified.as_ref().map(|directory| directory.join(v2)),
        }
    }

    /// Whether a controller is one of v1 here.
    #[must_use]
    pub fn is_v1(&self, controller: &str) -> bool {
        self.controllers.iter().any(|(name, _)| name == controller)
    }

    /// How many processes the kernel has killed for want of memory.
    #[must_use]
    pub fn oom_kills(&self) -> u64 {
        let path = self.file("memory", "memory.oom_control", "memory.events");
        path.and_then(|path| keyed(&read(&path), "oom_kill")).unwrap_or(0)
    }

    /// Every process in it and in the groups below it.
    #[must_use]
    pub fn processes(&self) -> Vec<i32> {
        let directory = self.unified.iter().chain(self.controllers.iter().map(|(_, path)| path));
        let mut all: Vec<i32> =
            directory.flat_map(|directory| processes_below(directory)).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// What is used now.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let text = |controller, v1, v2| {
            self.file(controller, v1, v2).map(|path| read(&path)).unwrap_or_default()
        };
        let cpu = text("cpuacct", "cpuacct.usage", "cpu.stat");
        let cpu = if self.is_v1("cpuacct") {
            number(&cpu)
        } else {
            keyed(&cpu, "usage_usec").map(|usage| usage * 1000)
        };
        let stat = text("memory", "memory.stat", "memory.stat");
        let inactive =
            keyed(&stat, "total_inactive_file").or_else(|| keyed(&stat, "inactive_file"));
        let memory =
            number(&text("memory", "memory.usage_in_bytes", "memory.current")).unwrap_or(0);
        let limit = number(&text("memory", "memory.limit_in_bytes", "memory.max"));
        let blocks = text("blkio", "blkio.throttle.io_service_bytes", "io.stat");
        let (read, written) =
            if self.is_v1("blkio") { service_bytes(&blocks) } else { io_stat(&blocks) };
        Usage {
            cpu: cpu.unwrap_or(0),
            memory: memory.saturating_sub(inactive.unwrap_or(0)),
            // v1 says "none" by the largest multiple of a page.
            memory_limit: limit.filter(|&limit| limit < 1 << 60),
            pids: number(&text("pids", "pids.current", "pids.current")).unwrap_or(0),
            read,
            written,
        }
    }
}

/// Where a cgroup's path is, if this line of mountinfo is the mount that it is looked for in.
fn place(mount: &str, controller: Option<&str>, path: &str) -> Option<PathBuf> {
    let (own, of_system) = mount.split_once(" - ")?;
    let mut own = own.split(' ').skip(3);
    let (root, point) = (own.next()?, own.next()?);
    let mut of_system = of_system.split(' ');
    let (kind, options) = (of_system.next()?, of_system.nth(1)?);
    let fits = match controller {
        None => kind == "cgroup2",
        Some(name) => kind == "cgroup" && options.split(',').any(|option| option == name),
    };
    let below = Path::new(path).strip_prefix(root).ok()?;
    fits.then(|| Path::new(point).join(below))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// The value of a line `key value`.
fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// `8:0 Read 4096` of v1.
fn service_bytes(text: &str) -> (u64, u64) {
    let sum = |word: &str| {
        text.lines()
            .filter_map(|line| {
                let mut words = line.split(' ').skip(1);
                (words.next()? == word).then(|| words.next()?.parse::<u64>().ok())?
            })
            .sum()
    };
    (sum("Read"), sum("Write"))
}

/// `8:0 rbytes=4096 wbytes=0 ...` of v2.
fn io_stat(text: &str) -> (u64, u64) {
    let sum = |key: &str| {
        text.split_whitespace().filter_map(|word| word.strip_prefix(key)?.parse::<u64>().ok()).sum()
    };
    (sum("rbytes="), sum("wbytes="))
}

pub(crate) fn processes_below(directory: &Path) -> Vec<i32> {
    let mut found: Vec<i32> = read(&directory.join("cgroup.procs"))
        .lines()
        .filter_map(|line| line.parse().ok())
        .collect();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(processes_below(&entry.path()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
30 25 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
31 25 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
32 25 0:28 /outer /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
";

    #[test]
    fn cgroups_are_found_on_v1_v2_and_both() {
        let groups = Groups::find("5:memory:/nman/x\n4:cpu,cpuacct:/outer/x\n0::/nman/x\n", MOUNTS);
        assert_eq!(groups.unified.as_deref(), Some(Path::new("/sys/fs/cgroup/unified/nman/x")));
        let file =
            |controller| groups.file(controller, "one", "two").unwrap().display().to_string();
        assert_eq!(file("memory"), "/sys/fs/cgroup/memory/nman/x/one");
        assert_eq!(file("cpuacct"), "/sys/fs/cgroup/cpu,cpuacct/x/one");
        assert_eq!(file("pids"), "/sys/fs/cgroup/unified/nman/x/two");
        let only_v2 = Groups::find("0::/a\n", MOUNTS);
        assert_eq!(
            only_v2.file("memory", "one", "two").unwrap(),
            Path::new("/sys/fs/cgroup/unified/a/two")
        );
    }

    #[test]
    fn the_group_of_memory_is_found_where_it_usually_is_and_nowhere_else() {
        let root = tempfile::tempdir().unwrap();
        let find = |groups: &str| Groups::find_memory(groups, root.path());
        let (v1, v2) = ("5:memory:/nman/x\n0::/nman/x\n", "0::/nman/x\n");
        assert_eq!(
            [find(v1), find(v2), find("4:pids:/nman/x\n"), find("")],
            [None, None, None, None]
        );
        for (directory, file) in
            [("memory/nman/x", "memory.oom_control"), ("nman/x", "memory.events")]
        {
            let directory = root.path().join(directory);
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join(file), "oom_kill 3\n").unwrap();
        }
        let (v1, v2) = (find(v1).unwrap(), find(v2).unwrap());
        assert_eq!([v1.is_v1("memory"), v2.is_v1("memory")], [true, false]);
        assert_eq!([v1.oom_kills(), v2.oom_kills()], [3, 3]);
        // That of another hierarchy that is mounted there.
        assert_eq!(find("5:memory:/outer/x\n0::/nman/x\n"), None);
    }

    #[test]
    fn a_cgroup_beside_the_root_of_a_mount_is_not_below_it() {
        let controllers =
            |path: &str| Groups::find(&format!("4:cpu,cpuacct:{path}\n"), MOUNTS).controllers.len();
        assert_eq!([controllers("/outer/x"), controllers("/outer2/x")], [2, 0]);
    }

    #[test]
    fn counters_are_read_in_both_forms() {
        assert_eq!(keyed("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", "oom_kill"), Some(3));
        assert_eq!(service_bytes("8:0 Read 10\n8:0 Write 5\n8:16 Read 1\nTotal 16\n"), (11, 5));
        assert_eq!(io_stat("8:0 rbytes=10 wbytes=5 rios=1\n8:16 rbytes=1 wbytes=0\n"), (11, 5));
    }
}
