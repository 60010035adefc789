//! Where a user calls `nman`: a home of its own, with an image in it.

use crate::saved::{archive, header};
use nconform::fixture::{Capture, Output, User, find_binary, find_tool};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The image's name.
pub(crate) const IMAGE: &str = "test/busybox";

/// Fields are dropped in this order: what the user has left running, then the user, which looks for leaks.
pub(crate) struct World {
    rest: Rest,
    pub(crate) user: User,
}

/// Ends the process that holds the user's namespace, which stays for the next command otherwise.
struct Rest {
    state: PathBuf,
}

impl World {
    /// Makes a user who has the image.
    pub(crate) fn new() -> Self {
        let world = Self::without_image();
        world.load(&Layers::busybox(), IMAGE).ok();
        world
    }

    /// Makes a user.
    pub(crate) fn without_image() -> Self {
        let user = User::with_runtime(&runtime());
        let program = user.home().join("nman");
        fs::copy(env!("CARGO_BIN_EXE_nman"), &program).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        // That of a user who is there already is everybody's, and its other tests have theirs at the same time.
        let place = if user.is_made() { user.runtime_directory() } else { user.home() };
        let rest = Rest { state: place.join("nman-state") };
        Self { rest, user }
    }

    /// Where images and containers are.
    pub(crate) fn root(&self) -> PathBuf {
        self.user.home().join(".local/share/nman")
    }

    /// Where sockets are.
    pub(crate) fn state(&self) -> &Path {
        &self.rest.state
    }

    /// `nman` with these arguments, not run yet.
    pub(crate) fn command<S: AsRef<str>>(&self, args: impl IntoIterator<Item = S>) -> Capture {
        let args = args.into_iter().map(|arg| arg.as_ref().to_owned());
        let call = self.user.call(self.user.home().join("nman")).args(args);
        call.env("NMAN_RUNTIME", self.user.program())
            .env("NMAN_STATE", self.state())
            .env("HOME", self.user.home())
            .directory("/")
    }

    /// Runs `nman` with these arguments.
    #[track_caller]
    pub(crate) fn nman<S: AsRef<str>>(&self, args: impl IntoIterator<Item = S>) -> Output {
        self.command(args).run()
    }

    /// `nman run OPTIONS IMAGE WORDS`, without a network unless the options say so.
    #[track_caller]
    pub(crate) fn run(&self, options: &[&str], words: &[&str]) -> Output {
        let mut args = vec!["run"];
        if !options.contains(&"--network") {
            args.extend(["--network", "none"]);
        }
        args.extend(options);
        args.push(IMAGE);
        args.extend(words);
        self.nman(args)
    }

    /// Runs a shell script in a container that is removed afterwards.
    #[track_caller]
    pub(crate) fn shell(&self, options: &[&str], script: &str) -> Output {
        let options: Vec<&str> = ["--rm"].iter().chain(options).copied().collect();
        self.run(&options, &["sh", "-c", script])
    }

    /// Loads an image.
    #[track_caller]
    pub(crate) fn load(&self, layers: &Layers, name: &str) -> Output {
        let archive = self.user.home().join("image.tar");
        fs::write(&archive, layers.archive(name)).unwrap();
        self.user.give(&archive);
        self.nman(["load", "-i", archive.to_str().unwrap()])
    }

    /// One value of `inspect`, by its JSON pointer.
    #[track_caller]
    pub(crate) fn inspect(&self, name: &str, pointer: &str) -> serde_json::Value {
        let all = self.nman(["inspect", name]).ok().json();
        all[0].pointer(pointer).unwrap_or_else(|| panic!("no {pointer} in {all}")).clone()
    }

    /// The process that holds the user's namespace.
    pub(crate) fn holder(&self) -> i32 {
        let text = fs::read_to_string(self.state().join("namespace")).unwrap();
        text.split(' ').next().unwrap().parse().unwrap()
    }

    /// Nothing is left of any container.
    #[track_caller]
    pub(crate) fn assert_no_container(&self) {
        let left: Vec<PathBuf> = [
            self.root().join("containers/names"),
            self.root().join("containers/unfinished"),
            self.root().join("snapshots/active"),
            self.state().join("containers"),
            self.state().join("runtime"),
        ]
        .iter()
        .flat_map(|directory| entries(directory))
        .collect();
        assert!(left.is_empty(), "left behind: {left:?}");
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        end_holder(&self.state);
    }
}

/// Removes a state directory, and waits for the end of the process that held the namespace for it.
pub(crate) fn end_holder(state: &Path) {
    let note = fs::read_to_string(state.join("namespace")).unwrap_or_default();
    let _ = fs::remove_dir_all(state);
    let Some((pid, _)) = note.split_once(' ') else { return };
    let process = PathBuf::from(format!("/proc/{pid}/cmdline"));
    for _ in 0..200 {
        // That of a zombie is empty.
        if fs::read(&process).unwrap_or_default().is_empty() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn runtime() -> PathBuf {
    let named = std::env::var("NMAN_TEST_RUNTIME").ok();
    named.map_or_else(
        || find_binary("nrun").expect("nrun is built"),
        |name| find_tool(&name).unwrap_or_else(|| name.into()),
    )
}

/// What is in a directory; nothing if it is not there.
pub(crate) fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// Waits until something holds: containers do things in their own time.
#[track_caller]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..600 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("after 30 s still not: {what}");
}

/// An image that is made of the machine's own busybox, and perhaps more layers.
#[derive(Clone, Default)]
pub(crate) struct Layers(Vec<Vec<u8>>);

/// An entry of a layer: its kind, name, owner and mode, and a file's content.
pub(crate) type Entry<'a> = (tar::EntryType, &'a str, u64, u32, &'a [u8]);

impl Layers {
    pub(crate) fn busybox() -> Self {
        use tar::EntryType::{Directory, Regular, Symlink};
        let busybox = fs::read("/bin/busybox").expect("busybox-static is installed");
        let passwd = b"root:x:0:0:root:/root:/bin/sh\nmail:x:8:12::/var/mail:/bin/sh\n";
        let mut entries: Vec<Entry<'_>> = vec![
            (Directory, "bin", 0, 0o755, b""),
            (Directory, "etc", 0, 0o755, b""),
            (Directory, "tmp", 0, 0o1777, b""),
            (Directory, "volume", 5, 0o751, b""),
            (Regular, "bin/busybox", 0, 0o755, &busybox),
            (Regular, "etc/passwd", 0, 0o644, passwd),
        ];
        let applets = Capture::of("/bin/busybox").args(["--list"]).run().ok().stdout();
        let names: Vec<String> = applets
            .lines()
            .filter(|name| *name != "busybox")
            .map(|name| format!("bin/{name}"))
            .collect();
        entries
            .extend(names.iter().map(|name| (Symlink, name.as_str(), 0, 0o777, &b"busybox"[..])));
        Self::default().layer(&entries)
    }

    /// One layer more.
    pub(crate) fn layer(mut self, entries: &[Entry<'_>]) -> Self {
        let mut layer = tar::Builder::new(Vec::new());
        for &(kind, name, owner, mode, content) in entries {
            let is_file = kind == tar::EntryType::Regular;
            let mut header = header(kind, if is_file { content.len() as u64 } else { 0 }, mode);
            header.set_uid(owner);
            header.set_gid(owner);
            match kind {
                tar::EntryType::Symlink => {
                    layer.append_link(&mut header, name, std::str::from_utf8(content).unwrap())
                }
                tar::EntryType::Char => {
                    header.set_device_major(1).unwrap();
                    header.set_device_minor(3).unwrap();
                    layer.append_data(&mut header, name, &b""[..])
                }
                _ => layer.append_data(&mut header, name, if is_file { content } else { b"" }),
            }
            .unwrap();
        }
        self.0.push(layer.into_inner().unwrap());
        self
    }

    /// As `docker save` writes it.
    pub(crate) fn archive(&self, name: &str) -> Vec<u8> {
        let config = serde_json::json!({
            "architecture": "amd64", "os": "linux", "created": "2024-01-01T00:00:00Z",
            "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"]},
        });
        archive(name, config, &self.0)
    }
}
