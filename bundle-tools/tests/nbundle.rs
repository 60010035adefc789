//! Drives the built `nbundle`, as root, against itself and against skopeo and umoci, with which images are exchanged.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use bundle::{
    layout::Layout,
    tarball::{Entry, Kind, TarWriter, Timespec},
};
use nconform::fixture::untried;

/// A directory of the test's own, and the program run in it.
struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run(&self, program: &str, args: &[&str]) -> Output {
        let program = if program == "nbundle" { env!("CARGO_BIN_EXE_nbundle") } else { program };
        Command::new(program)
            .args(args)
            .current_dir(self.dir.path())
            .env_remove("SOURCE_DATE_EPOCH")
            .output()
            .unwrap_or_else(|e| panic!("{program}: {e}"))
    }

    fn ok(&self, program: &str, args: &[&str]) -> String {
        let output = self.run(program, args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {args:?}: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Status, stdout and stderr of a run that is to fail.
    fn fails(&self, args: &[&str]) -> (i32, String, String) {
        let output = self.run("nbundle", args);
        assert!(!output.status.success(), "{args:?}");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    /// Everything about a tree that a layer carries, a line for each file.
    fn look(&self, tree: &str) -> String {
        let mut lines = Vec::new();
        look_into(&self.path(tree), Path::new(""), &mut lines);
        lines.sort();
        lines.join("\n")
    }
}

fn look_into(root: &Path, dir: &Path, lines: &mut Vec<String>) {
    for child in fs::read_dir(root.join(dir)).unwrap() {
        let name = dir.join(child.unwrap().file_name());
        let path = root.join(&name);
        let meta = fs::symlink_metadata(&path).unwrap();
        let (mode, uid, gid) = (meta.mode(), meta.uid(), meta.gid());
        let mut line = format!("{name:?} {mode:o} {uid}:{gid} {} {}", meta.mtime(), meta.rdev());
        if meta.is_dir() {
            look_into(root, &name, lines);
        } else {
            let target = fs::read_link(&path).unwrap_or_default();
            line += &format!(" {} {} {target:?}", meta.size(), meta.nlink());
        }
        lines.push(line + &xattrs(&path));
    }
}

/// Those that images carry.
fn xattrs(path: &Path) -> String {
    let mut names = vec![0; 4096];
    let length = rustix::fs::llistxattr(path, &mut names[..]).unwrap_or(0);
    let mut shown = Vec::new();
    for name in names[..length].split(|b| *b == 0) {
        if name.starts_with(b"user.") || name == b"security.capability" {
            let mut value = vec![0; 4096];
            let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
            shown.push(format!(" {}={:?}", name.escape_ascii(), &value[..length]));
        }
    }
    shown.sort();
    shown.concat()
}

fn entry(name: &str, kind: Kind) -> Entry {
    Entry {
        name: name.into(),
        mode: if kind == Kind::Directory { 0o755 } else { 0o644 },
        kind,
        uid: 0,
        gid: 0,
        mtime: Timespec { tv_sec: 1_000_000_000, tv_nsec: 0 },
        size: 0,
        xattrs: Vec::new(),
        extents: None,
    }
}

/// A tarball with one of everything.
fn rich_tarball(path: &Path) {
    let mut entries = vec![
        entry("./", Kind::Directory),
        entry("bin/", Kind::Directory),
        entry("bin/su", Kind::File),
        entry("bin/sh", Kind::Symlink(b"su".to_vec())),
        entry("bin/hard", Kind::HardLink(b"bin/su".to_vec())),
        entry("dev/", Kind::Directory),
        entry("dev/null", Kind::CharDevice(1, 3)),
        entry("etc/", Kind::Directory),
        entry("etc/passwd", Kind::File),
        entry("pipe", Kind::Fifo),
        entry(&"n".repeat(250), Kind::File),
        entry("ünï/", Kind::Directory),
        entry("tmp/", Kind::Directory),
    ];
    entries[2].mode = 0o4755;
    entries[2].xattrs = vec![(b"user.note".to_vec(), b"a\nb".to_vec())];
    entries[8].uid = 3_000_000;
    entries[10].mtime = Timespec { tv_sec: -86_400, tv_nsec: 0 };
    entries[12].mode = 0o1777;
    let mut tar = TarWriter::new(fs::File::create(path).unwrap());
    for mut entry in entries {
        let data = match &entry.name[..] {
            b"bin/su" => &b"#!program"[..],
            b"etc/passwd" => b"root:x:0:0:root:/root:/bin/sh\n",
            _ => b"",
        };
        entry.size = data.len() as u64;
        tar.append(&entry, data).unwrap();
    }
    tar.finish().unwrap().flush().unwrap();
}

#[test]
fn help_lists_the_commands_and_a_wrong_command_line_exits_2() {
    let bench = Bench::new();
    let help = bench.ok("nbundle", &["--help"]);
    for command in ["spec", "check", "unpack", "pack", "build", "ls", "Exit status:"] {
        assert!(help.contains(command), "{command}");
    }
    for args in [
        &["bild"][..],
        &["build", "--tag", "x"],
        &["build", "--from-busybox", "--from-tar", "x", "--tag", "x", "-o", "l"],
        &["pack", "--rootfs", ".", "--tag", "x"],
        &["pack", "--rootfs", ".", "--tag", "x", "-o", "l", "--env", "novalue"],
    ] {
        assert_eq!(bench.fails(args).0, 2, "{args:?}");
    }
}

#[test]
fn a_specification_is_written_once_and_passes_its_own_check() {
    let bench = Bench::new();
    fs::create_dir_all(bench.path("b/rootfs")).unwrap();
    bench.ok("nbundle", &["spec", "b"]);
    bench.ok("nbundle", &["check", "b"]);
    let (status, _, stderr) = bench.fails(&["spec", "b"]);
    assert_eq!((status, &stderr[..]), (1, "nbundle: cannot make `b/config.json`: file exists\n"));
}

#[test]
fn check_lists_all_faults_on_stdout_and_exits_1() {
    let bench = Bench::new();
    fs::create_dir_all(bench.path("b/rootfs")).unwrap();
    bench.ok("nbundle", &["spec", "b"]);
    let config = fs::read_to_string(bench.path("b/config.json")).unwrap();
    let broken = config
        .replace(r#""cwd": "/""#, r#""cwd": "here""#)
        .replace(r#""ociVersion": "1.3.0""#, r#""ociVersion": "9.0.0""#);
    assert_ne!(config, broken);
    fs::write(bench.path("b/config.json"), broken).unwrap();
    let (status, stdout, stderr) = bench.fails(&["check", "b"]);
    assert_eq!((status, &stderr[..]), (1, ""));
    assert_eq!(stdout.lines().count(), 2, "{stdout}");
    assert!(stdout.contains("/process/cwd") && stdout.contains("/ociVersion"), "{stdout}");
    let (status, stdout, stderr) = bench.fails(&["check", "nowhere"]);
    assert_eq!((status, &stdout[..]), (1, ""));
    assert!(stderr.starts_with("nbundle: "), "{stderr}");
}

#[test]
fn an_image_is_built_listed_unpacked_and_packed_again() {
    let bench = Bench::new();
    rich_tarball(&bench.path("rootfs.tar"));
    let built =
        bench.ok("nbundle", &["build", "--from-tar", "rootfs.tar", "--tag", "rich", "-o", "l"]);
    let list = bench.ok("nbundle", &["ls", "l"]);
    assert!(list.contains("rich") && list.contains("linux/amd64"), "{list}");
    assert!(list.contains(&built["sha256:".len()..][..12]), "{list}");
    bench.ok("nbundle", &["unpack", "--image", "l:rich", "b"]);
    bench.ok("nbundle", &["check", "b"]);
    let su = fs::metadata(bench.path("b/rootfs/bin/su")).unwrap();
    assert_eq!((su.mode() & 0o7777, su.nlink()), (0o4755, 2));
    bench.ok("nbundle", &["pack", "--rootfs", "b/rootfs", "--tag", "again", "-o", "l"]);
    bench.ok("nbundle", &["unpack", "--image", "l:again", "b2"]);
    assert_eq!(bench.look("b/rootfs"), bench.look("b2/rootfs"));
    assert!(bench.look("b/rootfs").contains("user.note"), "the comparison sees xattrs");
}

#[test]
fn the_same_tree_packs_to_the_same_digest_in_every_compression() {
    let (bench, program) = (Bench::new(), env!("CARGO_BIN_EXE_nbundle"));
    rich_tarball(&bench.path("rootfs.tar"));
    let from_stdin = "cat rootfs.tar | $0 build --from-tar - --tag rich -o l";
    bench.ok("sh", &["-c", from_stdin, program]);
    bench.ok("nbundle", &["unpack", "--image", "l", "b1"]);
    bench.ok("nbundle", &["unpack", "--image", "l", "b2"]);
    for compression in ["gzip", "zstd", "none"] {
        let pack = |bundle: &str, layout: &str| {
            let rootfs = format!("{bundle}/rootfs");
            let args = ["pack", "--rootfs", &rootfs, "--tag", "x", "-o", layout];
            let labels = [
                "--label",
                "a=1",
                "--label",
                "b=2",
                "--label",
                "c=3",
                "--annotation",
                "z=1",
                "--annotation",
                "y=2",
            ];
            bench.ok("nbundle", &[&args[..], &["--compression", compression], &labels].concat())
        };
        assert_eq!(pack("b1", "one"), pack("b2", "two"), "{compression}");
    }
    let archive = |name: &str| {
        bench.ok(
            "nbundle",
            &["pack", "--rootfs", "b1/rootfs", "--tag", "x", "--archive", name, "--time", "7"],
        );
        fs::read(bench.path(name)).unwrap()
    };
    assert_eq!(archive("1.tar"), archive("2.tar"));
}

#[test]
fn umoci_and_nbundle_unpack_our_image_to_the_same_tree() {
    let bench = Bench::new();
    rich_tarball(&bench.path("rootfs.tar"));
    bench.ok("nbundle", &["build", "--from-tar", "rootfs.tar", "--tag", "rich", "-o", "l"]);
    bench.ok("nbundle", &["unpack", "--image", "l:rich", "ours"]);
    bench.ok("nbundle", &["pack", "--rootfs", "ours/rootfs", "--tag", "packed", "-o", "l"]);
    for image in ["rich", "packed"] {
        let (source, target) = (format!("l:{image}"), format!("umoci-{image}"));
        bench.ok("umoci", &["unpack", "--image", &source, &target]);
        assert_eq!(bench.look(&format!("{target}/rootfs")), bench.look("ours/rootfs"), "{image}");
    }
}

#[test]
fn layers_that_umoci_made_are_unpacked_with_their_whiteouts() {
    let bench = Bench::new();
    rich_tarball(&bench.path("rootfs.tar"));
    bench.ok("nbundle", &["build", "--from-tar", "rootfs.tar", "--tag", "rich", "-o", "l"]);
    bench.ok("umoci", &["unpack", "--image", "l:rich", "u"]);
    fs::remove_file(bench.path("u/rootfs/pipe")).unwrap();
    fs::remove_dir_all(bench.path("u/rootfs/bin")).unwrap();
    fs::create_dir(bench.path("u/rootfs/bin")).unwrap();
    fs::write(bench.path("u/rootfs/bin/new"), "new").unwrap();
    fs::set_permissions(bench.path("u/rootfs/tmp"), fs::Permissions::from_mode(0o700)).unwrap();
    bench.ok("umoci", &["repack", "--image", "l:changed", "u"]);
    bench.ok(
        "umoci",
        &["config", "--image", "l:changed", "--config.cmd", "/bin/new", "--config.user", "7:8"],
    );
    bench.ok("nbundle", &["unpack", "--image", "l:changed", "b"]);
    assert!(!bench.path("b/rootfs/pipe").exists());
    let names: Vec<_> =
        fs::read_dir(bench.path("b/rootfs/bin")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["new"]);
    let spec = bundle::load(&bench.path("b")).unwrap();
    let spec = bundle::check(spec).unwrap();
    let process = spec.spec.process().clone().unwrap();
    assert_eq!((process.user().uid(), process.user().gid()), (7, 8));
    assert_eq!(process.args().clone().unwrap(), ["/bin/new"]);
}

#[test]
fn skopeo_reads_our_layout_and_we_read_what_it_makes_of_it() {
    let bench = Bench::new();
    rich_tarball(&bench.path("rootfs.tar"));
    let built =
        bench.ok("nbundle", &["build", "--from-tar", "rootfs.tar", "--tag", "rich", "-o", "l"]);
    assert!(bench.ok("skopeo", &["inspect", "oci:l:rich"]).contains(built.trim_end()));
    let copy = ["--insecure-policy", "copy", "-q", "oci:l:rich", "oci:copied:there"];
    bench.ok("skopeo", &copy);
    bench.ok("nbundle", &["unpack", "--image", "l:rich", "ours"]);
    bench.ok("nbundle", &["unpack", "--image", "copied:there", "theirs"]);
    assert_eq!(bench.look("ours/rootfs"), bench.look("theirs/rootfs"));
}

#[test]
fn a_busybox_image_says_what_it_is_and_its_shell_runs() {
    let bench = Bench::new();
    let build = ["build", "--from-busybox", "--tag", "small", "--package-version", "1.2-3"];
    bench.ok("nbundle", &[&build[..], &["-o", "l"]].concat());
    bench.ok("nbundle", &[&build[..], &["--archive", "small.tar"]].concat());
    bench.ok("skopeo", &["inspect", "oci-archive:small.tar:small"]);
    bench.ok("nbundle", &["unpack", "--image", "l:small", "b"]);
    let release = fs::read_to_string(bench.path("b/rootfs/etc/os-release")).unwrap();
    assert!(release.contains("nbundle") && release.contains("1.2-3"), "{release}");
    let words = bench.ok("chroot", &["b/rootfs", "/bin/sh", "-c", "echo hello | cat && whoami"]);
    assert_eq!(words, "hello\nroot\n");
    let layout = Layout::open(bench.path("l")).unwrap();
    let digest = layout.find(Some("small")).unwrap();
    bench.ok("nbundle", &[&build[..], &["-o", "l2"]].concat());
    let other = Layout::open(bench.path("l2")).unwrap().find(None).unwrap();
    assert_eq!(digest.digest(), other.digest(), "the same binary gives the same image");
}

#[test]
fn alpine_is_unpacked_as_gnu_tar_does() {
    let images = std::env::var_os("NRUN_TEST_IMAGES").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/images"),
        PathBuf::from,
    );
    let tarball = fs::read_dir(&images)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_string_lossy().contains("alpine-minirootfs"));
    let Some(tarball) = tarball else {
        return untried("no alpine-minirootfs beside the project (`NRUN_TEST_IMAGES`)");
    };
    let name = tarball.to_str().unwrap();
    let bench = Bench::new();
    bench.ok("nbundle", &["build", "--from-tar", name, "--tag", "alpine", "-o", "l"]);
    bench.ok("nbundle", &["unpack", "--image", "l", "b"]);
    fs::create_dir(bench.path("tar")).unwrap();
    bench.ok("tar", &["-xpzf", name, "--numeric-owner", "-C", "tar"]);
    assert_eq!(bench.look("b/rootfs"), bench.look("tar"));
    assert!(bench.look("tar").lines().count() > 400);
}

#[test]
fn an_image_that_cannot_be_unpacked_leaves_nothing_behind() {
    let bench = Bench::new();
    let hostile = |name: &str, change: &dyn Fn(&mut Entry)| {
        let mut bad = entry("../escape", Kind::File);
        change(&mut bad);
        let mut tar = TarWriter::new(fs::File::create(bench.path(name)).unwrap());
        tar.append(&entry("first", Kind::File), std::io::empty()).unwrap();
        tar.append(&bad, std::io::repeat(0)).unwrap();
        tar.finish().unwrap();
    };
    hostile("escape.tar", &|_| {});
    let (status, _, stderr) =
        bench.fails(&["build", "--from-tar", "escape.tar", "--tag", "x", "-o", "l"]);
    assert_eq!(status, 1);
    assert_eq!(
        stderr,
        "nbundle: layer entry `../escape` is refused: it lies outside of the root\n"
    );
    assert!(!bench.path("l").exists(), "a layout is left of it");

    hostile("hole.tar", &|e| {
        (e.name, e.kind) = (b"h".to_vec(), Kind::HardLink(b"etc/shadow".to_vec()));
    });
    bench.ok("nbundle", &["build", "--from-tar", "hole.tar", "--tag", "x", "-o", "l"]);
    let (status, _, stderr) = bench.fails(&["unpack", "--image", "l:x", "b"]);
    assert_eq!(status, 1);
    assert_eq!(
        stderr,
        "nbundle: layer entry `h` is refused: its target `etc/shadow` is not in the layer\n"
    );
    assert!(!bench.path("b").exists());
    fs::create_dir(bench.path("empty")).unwrap();
    bench.fails(&["unpack", "--image", "l:x", "empty"]);
    assert_eq!(fs::read_dir(bench.path("empty")).unwrap().count(), 0);
}

#[test]
fn a_damaged_blob_is_named_and_nothing_stays() {
    let bench = Bench::new();
    rich_tarball(&bench.path("rootfs.tar"));
    bench.ok("nbundle", &["build", "--from-tar", "rootfs.tar", "--tag", "x", "-o", "l"]);
    let layout = Layout::open(bench.path("l")).unwrap();
    let image = layout.image(&layout.find(None).unwrap(), None).unwrap();
    let layer = bundle::digest::Digest::try_from(&image.manifest.layers()[0]).unwrap();
    let path = layout.blob_path(&layer);
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.iter().position(|b| *b == b'#').unwrap();
    bytes[at] = b'?';
    fs::write(&path, bytes).unwrap();
    let (_, _, stderr) = bench.fails(&["unpack", "--image", "l", "b"]);
    assert!(
        stderr.starts_with("nbundle: cannot read the layer: content has digest `sha256:"),
        "{stderr}"
    );
    assert!(stderr.contains(layer.as_str()), "{stderr}");
    assert!(!bench.path("b").exists());
}

#[test]
fn unknown_images_and_wrong_binaries_are_one_line_and_a_hint() {
    let bench = Bench::new();
    rich_tarball(&bench.path("rootfs.tar"));
    bench.ok("nbundle", &["build", "--from-tar", "rootfs.tar", "--tag", "x", "-o", "l"]);
    let (_, _, stderr) = bench.fails(&["unpack", "--image", "l:y", "b"]);
    assert_eq!(stderr, "nbundle: no image `y` in the layout `l`\n\nhint: it has `x`\n");
    let (_, _, stderr) = bench.fails(&["unpack", "--image", "nowhere", "b"]);
    assert_eq!(stderr, "nbundle: `nowhere` is not an OCI image layout: no such directory\n");
    let (_, _, stderr) =
        bench.fails(&["build", "--from-busybox", "/usr/bin/env", "--tag", "x", "-o", "l"]);
    assert!(
        stderr.starts_with(
            "nbundle: `/usr/bin/env` cannot be used: it is dynamically linked\n\nhint: "
        ),
        "{stderr}"
    );
    let (_, _, stderr) = bench.fails(&["pack", "--rootfs", "gone", "--tag", "x", "-o", "l"]);
    assert_eq!(stderr, "nbundle: cannot open `gone`: no such file or directory\n");
}

#[test]
fn an_archive_goes_into_a_pipe_or_device_that_is_there_and_replaces_none() {
    let bench = Bench::new();
    fs::create_dir(bench.path("root")).unwrap();
    let pack = |archive: &str| {
        bench.run("nbundle", &["pack", "--rootfs", "root", "--tag", "x", "--archive", archive])
    };
    bench.ok("mkfifo", &["pipe"]);
    bench.ok("mknod", &["full", "c", "1", "7"]);
    let reader =
        Command::new("cat").arg(bench.path("pipe")).stdout(Stdio::piped()).spawn().unwrap();
    assert!(pack("pipe").status.success());
    let received = reader.wait_with_output().unwrap().stdout;
    assert!(pack("file").status.success());
    assert_eq!(received, fs::read(bench.path("file")).unwrap());
    let full = pack("full");
    let stderr = String::from_utf8_lossy(&full.stderr);
    assert!(stderr.ends_with(": no space left on device\n"), "{stderr}");
    assert_eq!(full.status.code(), Some(1));
    for name in ["pipe", "full"] {
        assert!(!fs::metadata(bench.path(name)).unwrap().is_file(), "{name} is what it was");
    }
    let (_, _, stderr) =
        bench.fails(&["pack", "--rootfs", "root", "--tag", "x", "--archive", "gone/file"]);
    assert_eq!(stderr, "nbundle: cannot make a directory in `gone`: no such file or directory\n");
}

#[test]
fn images_get_names_that_others_find_and_those_of_others_are_shown_in_one_line() {
    let bench = Bench::new();
    fs::create_dir(bench.path("root")).unwrap();
    for name in ["", "a b", "-a", "a/", "a..b", "a---b", "a\x1b[31m", "\u{e4}"] {
        let tag = format!("--tag={name}");
        let (status, _, stderr) = bench.fails(&["pack", "--rootfs", "root", &tag, "-o", "l"]);
        assert_eq!(status, 2, "{name:?}: {stderr}");
    }
    assert!(!bench.path("l").exists());
    for name in ["latest", "registry.example.com:5000/a/b:v1.2-3", "a--b@c+d"] {
        bench.ok("nbundle", &["pack", "--rootfs", "root", "--tag", name, "-o", "l"]);
        bench.ok("skopeo", &["inspect", "--raw", &format!("oci:l:{name}")]);
    }
    let layout = Layout::open(bench.path("l")).unwrap();
    layout.tag("red\x1b[31m\nline", &layout.find(Some("latest")).unwrap()).unwrap();
    let list = bench.ok("nbundle", &["ls", "l"]);
    assert!(list.contains("red\\u{1b}[31m\\nline  ") && !list.contains('\x1b'), "{list}");
    let (_, _, stderr) = bench.fails(&["unpack", "--image", "l:gone", "b"]);
    assert!(stderr.contains("`red\\u{1b}[31m\\nline`"), "{stderr}");
}

#[test]
fn an_image_that_is_damaged_does_not_keep_others_from_being_listed() {
    let bench = Bench::new();
    fs::create_dir(bench.path("root")).unwrap();
    for (name, label) in [("first", "a=1"), ("second", "a=2")] {
        let args = ["pack", "--rootfs", "root", "--tag", name, "--label", label, "-o", "l"];
        bench.ok("nbundle", &args);
    }
    let layout = Layout::open(bench.path("l")).unwrap();
    let first = layout.find(Some("first")).unwrap();
    fs::remove_file(layout.blob_path(&first.digest().as_ref().parse().unwrap())).unwrap();
    let (status, stdout, stderr) = bench.fails(&["ls", "l"]);
    assert_eq!(status, 1);
    let rows: Vec<Vec<&str>> =
        stdout.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
    let hex = &first.digest().as_ref()["sha256:".len()..];
    assert_eq!(rows[0], ["first", &hex[..12], "-", "-", "-"], "{stdout}");
    assert_eq!((rows[1][0], rows[1][2], rows[1][3]), ("second", "linux/amd64", "1"), "{stdout}");
    assert_eq!(
        stderr,
        format!(
            "nbundle: cannot tell what these images are:\n  `first`: blob `sha256:{hex}` is missing in the layout `l`\n"
        )
    );
}

#[test]
fn a_directory_that_is_no_layout_is_told_with_what_it_lacks_and_what_a_layout_is() {
    let bench = Bench::new();
    fs::create_dir(bench.path("root")).unwrap();
    bench.ok("nbundle", &["pack", "--rootfs", "root", "--tag", "x", "-o", "l"]);
    for file in ["index.json", "oci-layout"] {
        fs::remove_file(bench.path("l").join(file)).unwrap();
        for args in [&["ls", "l"][..], &["unpack", "--image", "l", "b"]] {
            let (status, stdout, stderr) = bench.fails(args);
            let words = format!(
                "nbundle: `l` is not an OCI image layout: it has no file `{file}`\n\n\
                 hint: an image layout is a directory with `oci-layout`, `index.json` and `blobs`,"
            );
            assert!(stderr.starts_with(&words), "{stderr}");
            assert_eq!((status, stdout.as_str()), (1, ""));
            assert!(!bench.path("b").exists());
        }
    }
}

#[test]
fn what_cannot_be_read_or_written_is_said_and_makes_no_layout() {
    let bench = Bench::new();
    fs::create_dir(bench.path("root")).unwrap();
    fs::write(bench.path("file"), "").unwrap();
    for (args, words) in [
        (["build", "--from-tar", "gone"], "cannot open `gone`: no such file or directory\n"),
        (
            ["build", "--from-tar", "root"],
            "cannot open `root`: is a directory\n\nhint: the command `pack`",
        ),
        (["pack", "--rootfs", "file"], "cannot open `file`: not a directory\n"),
    ] {
        let (_, _, stderr) = bench.fails(&[&args[..], &["--tag", "x", "-o", "l"]].concat());
        assert!(stderr.starts_with(&format!("nbundle: {words}")), "{stderr}");
        assert!(!bench.path("l").exists(), "{args:?}");
    }
    let (_, _, stderr) = bench.fails(&["ls", "file"]);
    assert!(stderr.contains("`file` is not an OCI image layout: it is no directory"), "{stderr}");
    let program = env!("CARGO_BIN_EXE_nbundle");
    bench.ok(program, &["pack", "--rootfs", "root", "--tag", "x", "-o", "l"]);
    let full = bench.run("sh", &["-c", &format!("{program} ls l >/dev/full")]);
    assert_eq!(
        (full.status.code(), String::from_utf8_lossy(&full.stderr).into_owned()),
        (Some(1), "nbundle: cannot write to stdout: no space left on device\n".to_owned())
    );
}

#[test]
fn as_a_user_without_privileges_an_image_is_unpacked_rootless() {
    let bench = Bench::new();
    fs::set_permissions(bench.dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    rich_tarball(&bench.path("rootfs.tar"));
    bench.ok("nbundle", &["build", "--from-tar", "rootfs.tar", "--tag", "x", "-o", "l"]);
    // Where the build directory may not be entered by others.
    fs::copy(env!("CARGO_BIN_EXE_nbundle"), bench.path("program")).unwrap();
    let args = [
        "--reuid=1234",
        "--regid=1234",
        "--clear-groups",
        "./program",
        "unpack",
        "--rootless",
        "--image",
        "l",
        "b",
    ];
    let output = bench.run("setpriv", &args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert_eq!(
        stderr,
        "nbundle: warning: `dev/null`: left out a device node: none are made here\n"
    );
    assert_eq!(fs::metadata(bench.path("b/rootfs/etc/passwd")).unwrap().uid(), 1234);
    bench.ok("nbundle", &["check", "b"]);
}

#[test]
fn bash_completes_commands_and_options() {
    let offered = |words: &[&str]| {
        nconform::fixture::completed_by_bash(Path::new(env!("CARGO_BIN_EXE_nbundle")), words)
    };
    assert_eq!(offered(&["un"]), ["unpack"]);
    assert_eq!(offered(&["pack", "--compression", ""]), ["gzip", "zstd", "none"]);
}

#[test]
fn an_error_that_cannot_be_written_is_a_failure_like_any_other() {
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_nbundle"));
    let status = command.args(["check", "/nosuch"]).stderr(full).status().unwrap();
    assert_eq!(status.code(), Some(1));
}
