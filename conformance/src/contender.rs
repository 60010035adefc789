//! A runtime binary that is compared or put to the test: who it says it is, and what it must not see of a machine.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bundle::tarball::printable;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount,
};
use sys::namespace::{self, Kinds};

use crate::fixture::{Capture, find_tool};

/// The unified hierarchy of a hybrid machine: crun takes it for a sign of v2 and then fails.
const HYBRID_MOUNT: &str = "/sys/fs/cgroup/unified";

/// How long a runtime may take to say its version.
const PATIENCE: Duration = Duration::from_secs(20);

/// A runtime to measure or to test.
#[derive(Debug, Clone)]
pub struct Contender {
    /// What the tables call it: the file name of the program, with a number for a further one of that name.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// The first line of its `--version`.
    pub version: String,
}

impl Contender {
    /// The runtime at `program`.
    ///
    /// # Errors
    /// When it does not answer to `--version`, in time.
    pub fn probe(program: &Path) -> Result<Self, String> {
        Self::probe_within(program, PATIENCE)
    }

    fn probe_within(program: &Path, limit: Duration) -> Result<Self, String> {
        let failed = |why: String| format!("cannot use runtime `{}`: {why}", program.display());
        if program.components().count() == 1 && find_tool(&program.to_string_lossy()).is_none() {
            return Err(failed("it is not in PATH".to_owned()));
        }
        let call = Capture::of(program).args(["--version"]).limit(limit);
        let output = call.try_run().map_err(failed)?;
        if !output.success() {
            return Err(failed(output.to_string()));
        }
        let version = output.stdout();
        let version = printable(version.lines().next().unwrap_or_default().as_bytes());
        if version.trim().is_empty() {
            return Err(failed("`--version` prints nothing".to_owned()));
        }
        Ok(Self {
            name: program.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            program: program.to_owned(),
            version,
        })
    }

    /// Numbers those of one name, as two builds of a runtime have it: `nrun`, `nrun-2`.
    pub fn tell_apart(all: &mut [Self]) {
        for index in 1..all.len() {
            let (before, rest) = all.split_at_mut(index);
            let own = rest[0].name.clone();
            let is_taken = |name: &str| before.iter().any(|other| other.name == name);
            let mut number = 1;
            while is_taken(&rest[0].name) {
                number += 1;
                rest[0].name = format!("{own}-{number}");
            }
        }
    }

    /// The name that the program gives itself, whatever its file is called: the first word of its version.
    #[must_use]
    pub fn product(&self) -> &str {
        self.version.split(' ').next().unwrap_or_default()
    }

    /// The numbers of its version.
    #[must_use]
    pub fn release(&self) -> Release {
        Release::of(&self.version)
    }

    /// Has the kernel read the program from its disk when it is executed next, as it does on every machine that did not build it: what
    /// was just written lies in memory in larger pieces, which are mapped as a whole, and would show in the peak of its memory.
    pub fn read_anew(&self) {
        // Where that cannot be done, on a file system in memory for one, there is nothing that it would change.
        let _ = std::fs::File::open(&self.program).and_then(|file| {
            file.sync_all()?;
            Ok(rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?)
        });
    }

    /// Takes away from the calling thread, for good, the mounts of the machine that this runtime cannot bear: crun
    /// refuses a hybrid machine unless it cannot see the v2 mount. Nothing happens for other runtimes and machines.
    ///
    /// An empty file system stands in its place: crun makes its directories there all the same, two or three for each container, and
    /// they would pile up below the mount of the machine, where nobody sees them. That mounts are shared is given up first: as systemd
    /// sets machines up, theirs would be unmounted too.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn hide_what_it_cannot_bear(&self) {
        let is_crun = self.product() == "crun" || self.name.contains("crun");
        if is_crun && Path::new(HYBRID_MOUNT).is_dir() {
            namespace::unshare(Kinds::MOUNT).expect("make a mount namespace");
            mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
                .expect("keep mounts to ourselves");
            unmount(HYBRID_MOUNT, UnmountFlags::DETACH).expect("hide the v2 hierarchy");
            mount("tmpfs", HYBRID_MOUNT, "tmpfs", MountFlags::empty(), None)
                .expect("put an empty directory there");
        }
    }
}

/// Major, minor and patch number of a version; what follows them does not count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release(pub u32, pub u32, pub u32);

impl Release {
    /// The first numbers with a dot between them in a text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let word = text
            .split(' ')
            .map(|word| word.trim_start_matches('v'))
            .find(|word| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.'));
        let word = word.unwrap_or_default();
        let end = word.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(word.len());
        let mut numbers = word[..end].split('.').map(|part| part.parse().unwrap_or(0));
        let mut next = || numbers.next().unwrap_or(0);
        Self(next(), next(), next())
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::fixture::untried;

    #[test]
    fn a_runtime_that_does_not_say_its_version_is_none() {
        let directory = tempfile::tempdir().expect("a directory");
        let hangs = directory.path().join("hangs");
        std::fs::write(&hangs, "#!/bin/sh\nsleep 60\n").expect("a script");
        std::fs::set_permissions(&hangs, PermissionsExt::from_mode(0o755)).expect("a mode");
        let why = Contender::probe_within(&hangs, Duration::from_millis(100));
        assert!(why.as_ref().is_err_and(|why| why.contains("still runs after")), "{why:?}");
        std::fs::write(&hangs, "#!/bin/sh\nprintf 'odd \\033[2J 1.0\\nmore\\n'\n")
            .expect("a script");
        let odd = Contender::probe(&hangs).expect("a runtime");
        assert_eq!((odd.version.as_str(), odd.product()), ("odd \\u{1b}[2J 1.0", "odd"));
        let why = Contender::probe(&find_tool("false").expect("false"));
        assert!(why.as_ref().is_err_and(|why| why.contains("exit status: 1")), "{why:?}");
    }

    #[test]
    fn two_builds_of_a_runtime_have_names_of_their_own() {
        let contender = |program: &str| Contender {
            name: program.rsplit('/').next().unwrap_or_default().to_owned(),
            program: program.into(),
            version: String::new(),
        };
        let mut all = ["/old/nrun", "/usr/bin/runc", "/new/nrun", "/newer/nrun"].map(contender);
        Contender::tell_apart(&mut all);
        assert_eq!(all.map(|one| one.name), ["nrun", "runc", "nrun-2", "nrun-3"]);
        // Whatever a file itself is called.
        let mut all = ["/a/nrun", "/b/nrun-2", "/c/nrun"].map(contender);
        Contender::tell_apart(&mut all);
        assert_eq!(all.map(|one| one.name), ["nrun", "nrun-2", "nrun-3"]);
    }

    #[test]
    fn what_crun_makes_in_the_place_of_the_v2_hierarchy_is_gone_with_the_one_who_ran_it() {
        if !rustix::process::geteuid().is_root() || !Path::new(HYBRID_MOUNT).is_dir() {
            untried("no root on a hybrid machine, as which crun would not run");
            return;
        }
        let crun = Contender {
            name: "crun".into(),
            program: "/usr/bin/crun".into(),
            version: "crun version 1.8.1".into(),
        };
        let kind = || rustix::fs::statfs(HYBRID_MOUNT).expect("a file system").f_type;
        // As on a machine that systemd has set up.
        let machine = std::thread::spawn(move || {
            namespace::unshare(Kinds::MOUNT).expect("a mount namespace");
            let shared = MountPropagationFlags::SHARED | MountPropagationFlags::REC;
            mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
                .expect("mounts of its own");
            mount_change("/", shared).expect("shared mounts");
            let before = kind();
            let hidden = std::thread::spawn(move || {
                crun.hide_what_it_cannot_bear();
                std::fs::create_dir(format!("{HYBRID_MOUNT}/nrt-left")).expect("a directory");
                kind()
            });
            assert_ne!(hidden.join().expect("crun's view"), before);
            assert_eq!(kind(), before, "the machine's own mount is gone");
            unmount(HYBRID_MOUNT, UnmountFlags::DETACH).expect("what lies below it");
            Path::new(HYBRID_MOUNT).join("nrt-left").exists()
        });
        assert!(!machine.join().expect("a machine"), "the directory is left below the mount");
    }

    #[test]
    fn the_numbers_of_a_version_are_found_whatever_surrounds_them() {
        for (text, release) in [
            ("runc version 1.1.5+ds1", Release(1, 1, 5)),
            ("crun version 1.8.1", Release(1, 8, 1)),
            ("nrun 0.1.0", Release(0, 1, 0)),
            ("runtime v2.10-rc.3 of 2026", Release(2, 10, 0)),
            ("no version", Release::default()),
        ] {
            assert_eq!(Release::of(text), release, "{text}");
        }
        assert!(Release(1, 10, 0) > Release(1, 9, 9));
    }
}
