//! Where a test runs `nman`: a sandbox with directories, an image and a cgroup that nothing else uses.

use crate::saved::{archive, header};
use nconform::fixture::{Capture, Output, Sandbox, cgroups, find_binary, scratch_dir, unique_name};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The image's name.
pub(crate) const IMAGE: &str = "test/busybox";

/// Fields are dropped in this order: containers, their cgroup, files, and then the sandbox looks for leaks.
pub(crate) struct World {
    containers: Containers,
    directory: TempDir,
    pub(crate) sandbox: Sandbox,
}

/// Removes what a failed test has left running, so that its failure is the one that is reported.
struct Containers {
    root: PathBuf,
    state: PathBuf,
    parent: String,
}

impl World {
    /// Enters a sandbox and loads the image.
    pub(crate) fn new() -> Self {
        let sandbox = Sandbox::enter();
        let directory = scratch_dir();
        let containers = Containers {
            root: directory.path().join("root"),
            state: directory.path().join("state"),
            parent: unique_name(),
        };
        let world = Self { containers, directory, sandbox };
        let archive = world.path("image.tar");
        std::fs::write(&archive, archive_of_busybox()).unwrap();
        world.nman(["load", "-i", archive.to_str().unwrap()]).ok();
        world
    }

    /// A path in the test's own directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Where images and containers are.
    pub(crate) fn root(&self) -> &Path {
        &self.containers.root
    }

    /// Where sockets and leases are.
    pub(crate) fn state(&self) -> &Path {
        &self.containers.state
    }

    /// Below this cgroup the test's containers have theirs.
    pub(crate) fn cgroup(&self) -> &str {
        &self.containers.parent
    }

    /// `nman` with these arguments, not run yet.
    pub(crate) fn command<S: AsRef<str>>(&self, args: impl IntoIterator<Item = S>) -> Capture {
        self.containers.command(args)
    }

    /// `nman run` as [`World::run_command`] has it, started by another program with these arguments before it.
    pub(crate) fn run_command_by(
        &self,
        program: &str,
        before: &[&str],
        options: &[&str],
        words: &[&str],
    ) -> Capture {
        let ours = before.iter().chain([&env!("CARGO_BIN_EXE_nman")]).map(ToString::to_string);
        self.containers.capture(program, ours.chain(self.run_args(options, words)))
    }

    /// `nman` with these arguments, started by another program with those before it, not run yet.
    pub(crate) fn command_by(&self, program: &str, before: &[&str], args: &[&str]) -> Capture {
        let ours = before.iter().chain([&env!("CARGO_BIN_EXE_nman")]).map(ToString::to_string);
        self.containers.capture(program, ours.chain(self.containers.below_parent(args)))
    }

    /// Runs `nman` with these arguments.
    #[track_caller]
    pub(crate) fn nman<S: AsRef<str>>(&self, args: impl IntoIterator<Item = S>) -> Output {
        self.command(args).run()
    }

    /// `nman run OPTIONS IMAGE WORDS`, without a network unless the options say so, not run yet.
    pub(crate) fn run_command(&self, options: &[&str], words: &[&str]) -> Capture {
        self.containers.capture(env!("CARGO_BIN_EXE_nman"), self.run_args(options, words))
    }

    fn run_args(&self, options: &[&str], words: &[&str]) -> Vec<String> {
        let mut args = vec!["run"];
        if !options.contains(&"--network") {
            args.extend(["--network", "none"]);
        }
        args.extend(options);
        args.push(IMAGE);
        args.extend(words);
        self.containers.below_parent(args)
    }

    /// Runs it.
    #[track_caller]
    pub(crate) fn run(&self, options: &[&str], words: &[&str]) -> Output {
        self.run_command(options, words).run()
    }

    /// The runtime, but that it takes some seconds for one of its commands; meanwhile there is a file `begun`.
    pub(crate) fn slow_runtime(&self, command: &str, seconds: u32) -> String {
        let rest = self.rest(command, seconds);
        self.program_as_runtime(&format!("{rest}\nexec {} \"$@\"", runtime()))
    }

    /// The same, but that it takes them when it has done the command.
    pub(crate) fn runtime_slow_to_end(&self, command: &str, seconds: u32) -> String {
        let rest = self.rest(command, seconds);
        self.program_as_runtime(&format!("{} \"$@\"\ncode=$?\n{rest}\nexit $code", runtime()))
    }

    fn rest(&self, command: &str, seconds: u32) -> String {
        let begun = self.path("begun").display().to_string();
        format!(
            "for word; do [ \"$word\" != {command} ] || {{ : >{begun}; sleep {seconds}; rm {begun}; }}; done"
        )
    }

    fn program_as_runtime(&self, script: &str) -> String {
        let path = self.path("slow-runtime");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path.display().to_string()
    }

    /// Runs a shell script in a container that is removed afterwards.
    #[track_caller]
    pub(crate) fn shell(&self, options: &[&str], script: &str) -> Output {
        let options: Vec<&str> = ["--rm"].iter().chain(options).copied().collect();
        self.run(&options, &["sh", "-c", script])
    }

    /// One value of `inspect`, by its JSON pointer.
    #[track_caller]
    pub(crate) fn inspect(&self, name: &str, pointer: &str) -> serde_json::Value {
        let all = self.nman(["inspect", name]).ok().json();
        all[0].pointer(pointer).unwrap_or_else(|| panic!("no {pointer} in {all}")).clone()
    }

    /// Whether there is no container, nor one that is being removed: its directory goes last.
    pub(crate) fn has_no_container(&self) -> bool {
        let others = ["lock", "names", "unfinished"];
        let all = entries(&self.root().join("containers"));
        all.iter().all(|path| others.iter().any(|other| path.ends_with(other)))
    }

    /// Nothing is left of any container: no directory, no layer, no lease, no socket, no cgroup, no process.
    #[track_caller]
    pub(crate) fn assert_no_container(&self) {
        let left: Vec<PathBuf> = [
            self.containers.root.join("containers/names"),
            self.containers.root.join("containers/unfinished"),
            self.containers.root.join("snapshots/active"),
            self.containers.state.join("containers"),
            self.containers.state.join("runtime"),
            self.containers.state.join("network/connected"),
        ]
        .iter()
        .flat_map(|directory| entries(directory))
        .chain(cgroups::named(self.cgroup()).iter().flat_map(|group| sub_groups(group)))
        .collect();
        assert!(left.is_empty(), "left behind: {left:?}");
        self.sandbox_is_clean();
    }

    /// The test's own parent cgroup is no leak of a container. Bridges stay until they are pruned, and the kernel takes
    /// a container's links away in its own time.
    #[track_caller]
    fn sandbox_is_clean(&self) {
        let own = format!("cgroup `{}", "/sys/fs/cgroup");
        self.nman(["network", "prune", "-f"]).ok();
        let left = || -> Vec<String> {
            let all = self.sandbox.leftovers().into_iter();
            all.filter(|line| !line.starts_with(&own)).collect()
        };
        let is_link = |line: &String| line.starts_with("interface `nm");
        eventually("the containers' links are gone", || !left().iter().any(is_link));
        assert_eq!(left(), Vec::<String>::new(), "left behind");
    }
}

impl Containers {
    fn command<S: AsRef<str>>(&self, args: impl IntoIterator<Item = S>) -> Capture {
        self.capture(env!("CARGO_BIN_EXE_nman"), self.below_parent(args))
    }

    /// A new container's cgroup is below the test's own: nman's would stay behind, for all tests share it.
    fn below_parent<S: AsRef<str>>(&self, args: impl IntoIterator<Item = S>) -> Vec<String> {
        let mut args: Vec<String> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        if args
            .first()
            .is_some_and(|command| ["run", "create", "build"].contains(&command.as_str()))
        {
            args.splice(1..1, ["--cgroup-parent".to_owned(), format!("/{}", self.parent)]);
        }
        args
    }

    fn capture<S: AsRef<str>>(&self, program: &str, args: impl IntoIterator<Item = S>) -> Capture {
        Capture::of(program)
            .env("NMAN_ROOT", &self.root)
            .env("NMAN_STATE", &self.state)
            .env("NMAN_RUNTIME", runtime())
            .args(args.into_iter().map(|arg| arg.as_ref().to_owned()))
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let ids = self.command(["ps", "-aq"]).run().stdout();
            let args = ["rm", "-f"].into_iter().chain(ids.lines());
            let _ = self.command(args).run();
        }
        cgroups::destroy(&self.parent);
    }
}

/// What is said of a container that is not there.
pub(crate) fn no_such_container(name: &str) -> String {
    format!(
        "nman: No such container: {name}\n\nhint: `nman ps -a` lists those that there are; root and every user have their own\n"
    )
}

pub(crate) fn runtime() -> String {
    std::env::var("NMAN_TEST_RUNTIME").unwrap_or_else(|_| {
        find_binary("nrun").map_or_else(|_| "runc".to_owned(), |path| path.display().to_string())
    })
}

/// What is in a directory; nothing if it is not there.
pub(crate) fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn sub_groups(group: &Path) -> Vec<PathBuf> {
    entries(group).into_iter().filter(|path| path.is_dir()).collect()
}

/// A `docker save` archive of an image that is made of the machine's own busybox.
fn archive_of_busybox() -> Vec<u8> {
    let busybox = std::fs::read("/bin/busybox").expect("busybox-static is installed");
    let mut layer = tar::Builder::new(Vec::new());
    for (directory, mode) in
        [("bin", 0o755), ("etc", 0o755), ("root", 0o700), ("tmp", 0o1777), ("volume", 0o751)]
    {
        let mut header = header(tar::EntryType::Directory, 0, mode);
        header.set_uid(if directory == "volume" { 5 } else { 0 });
        layer.append_data(&mut header, directory, &b""[..]).unwrap();
    }
    let mut file = |name: &str, content: &[u8], mode| {
        let mut header = header(tar::EntryType::Regular, content.len() as u64, mode);
        layer.append_data(&mut header, name, content).unwrap();
    };
    file("bin/busybox", &busybox, 0o755);
    file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nmail:x:8:12::/var/mail:/bin/sh\n", 0o644);
    file("etc/group", b"root:x:0:\nmail:x:12:\nvideo:x:27:mail\n", 0o644);
    file("etc/text", b"not a program\n", 0o644);
    let applets = Capture::of("/bin/busybox").args(["--list"]).run().ok().stdout();
    for applet in applets.lines().filter(|applet| *applet != "busybox") {
        let mut header = header(tar::EntryType::Symlink, 0, 0o777);
        layer.append_link(&mut header, format!("bin/{applet}"), "busybox").unwrap();
    }
    let layer = layer.into_inner().unwrap();
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "created": "2024-01-01T00:00:00Z",
        "config": {
            "Env": ["PATH=/bin", "FROM_IMAGE=yes"], "Cmd": ["sh"], "Labels": {"of": "image"},
            "Volumes": {"/volume": {}},
        },
    });
    archive(IMAGE, config, &[layer])
}

/// Waits until something holds: containers do things in their own time.
#[track_caller]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..600 {
        if holds() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("after 30 s still not: {what}");
}
