//! What a file system can hold survives load, run, commit, save and load, and other tools read it in between.

use super::world::{World, entries};
use nconform::fixture::Capture;
use rustix::fs::{FileType, Gid, Mode, Uid, XattrFlags};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

/// CAP_NET_RAW, permitted and effective, in the form of the kernel's second version.
pub(crate) const CAPABILITY: [u8; 20] =
    [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// One of everything.
fn fixture(root: &Path) {
    fs::create_dir_all(root.join("odd/opaque/old")).unwrap();
    fs::create_dir(root.join("bin")).unwrap();
    let at = |name: &str| root.join("odd").join(name);
    fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    symlink("busybox", root.join("bin/sh")).unwrap();
    for name in ["gone", "caps", "setuid", "owned", "old", "first"] {
        fs::write(at(name), format!("{name}\n")).unwrap();
    }
    fs::hard_link(at("first"), at("second")).unwrap();
    symlink("/bin/busybox", at("absolute")).unwrap();
    fs::write(at(&"n".repeat(250)), "").unwrap();
    fs::write(at("Käse 日本 \u{1f9c0}"), "").unwrap();
    fs::write(root.join("odd").join(OsStr::from_bytes(b"not \xff utf-8 \n line")), "").unwrap();
    let sparse = fs::File::create(at("sparse")).unwrap();
    sparse.set_len(16 << 20).unwrap();
    let mode = Mode::from_raw_mode(0o640);
    let here = rustix::fs::CWD;
    rustix::fs::mknodat(
        here,
        at("null"),
        FileType::CharacterDevice,
        mode,
        rustix::fs::makedev(1, 3),
    )
    .unwrap();
    rustix::fs::mknodat(here, at("loop"), FileType::BlockDevice, mode, rustix::fs::makedev(7, 0))
        .unwrap();
    rustix::fs::mknodat(here, at("pipe"), FileType::Fifo, mode, 0).unwrap();
    rustix::fs::chown(at("owned"), Some(Uid::from_raw(3_000_000)), Some(Gid::from_raw(3_000_001)))
        .unwrap();
    fs::set_permissions(at("setuid"), fs::Permissions::from_mode(0o6755)).unwrap();
    fs::set_permissions(at("opaque"), fs::Permissions::from_mode(0o1777)).unwrap();
    let create = XattrFlags::empty();
    rustix::fs::setxattr(at("caps"), "security.capability", &CAPABILITY, create).unwrap();
    rustix::fs::setxattr(at("caps"), "user.note", b"any\0bytes\n", create).unwrap();
    Capture::of("touch").args(["-d", "1960-01-02 03:04:05.5"]).args([at("old")]).run().ok();
}

/// Everything that is to survive, by path; what stands in the second list is left out.
fn looks(root: &Path, except: &[&str]) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        for path in entries(&directory) {
            let stat = path.symlink_metadata().unwrap();
            if stat.is_dir() {
                pending.push(path.clone());
            }
            let relative = path.strip_prefix(root).unwrap().to_owned();
            if except.iter().any(|left_out| relative.starts_with(left_out)) {
                continue;
            }
            let mut names = vec![0; 4096];
            let length = rustix::fs::llistxattr(&path, &mut names[..]).unwrap_or(0);
            let mut xattrs: Vec<String> = names[..length]
                .split(|byte| *byte == 0)
                .filter(|name| name.starts_with(b"user.") || name.starts_with(b"security.cap"))
                .map(|name| {
                    let mut value = vec![0; 256];
                    let length = rustix::fs::lgetxattr(&path, name, &mut value[..]).unwrap();
                    format!("{}={:?}", String::from_utf8_lossy(name), &value[..length])
                })
                .collect();
            xattrs.sort();
            let size = if stat.is_dir() { 0 } else { stat.size() };
            let links = if stat.is_dir() { 0 } else { stat.nlink() };
            let link = fs::read_link(&path).unwrap_or_default();
            let look = format!(
                "{:o} {}:{} {size} {}.{} {links} {:x} {link:?} {xattrs:?}",
                stat.mode(),
                stat.uid(),
                stat.gid(),
                stat.mtime(),
                stat.mtime_nsec(),
                stat.rdev()
            );
            found.insert(relative, look);
        }
    }
    found
}

#[test]
fn one_of_everything_survives_import_run_commit_save_and_load() {
    let world = World::new();
    let root = world.path("rootfs");
    fixture(&root);
    let archive = world.path("rootfs.tar");
    let flags = ["--format=pax", "--xattrs", "--xattrs-include=*", "--sparse", "-c"];
    Capture::of("tar")
        .args(["-C"])
        .args([&root])
        .args(flags)
        .args(["-f"])
        .args([&archive])
        .args(["."])
        .run()
        .ok();
    world.nman(["import", archive.to_str().unwrap(), "odd:1"]).ok();

    let run = |options: &[&str], image: &str, script: &str| {
        let base = ["run", "--network", "none"];
        let words =
            base.iter().chain(options).copied().chain([image, "/bin/busybox", "sh", "-c", script]);
        world.nman(words)
    };
    let script = "B=/bin/busybox; $B rm /odd/gone; $B rm -r /odd/opaque; $B mkdir /odd/opaque; \
                  $B touch /odd/opaque/new; $B touch -d '1955-01-01 00:00:00' /odd/opaque/new";
    run(&["--name", "changer"], "odd:1", script).ok();
    world.nman(["commit", "changer", "odd:2"]).ok();
    world.nman(["rm", "changer"]).ok();
    let saved = world.path("odd.tar");
    world.nman(["save", "-o", saved.to_str().unwrap(), "odd:2"]).ok();
    let digest = world.nman(["image", "inspect", "-f", "{{.Id}}", "odd:2"]).ok().text();
    world.nman(["rmi", "odd:1", "odd:2"]).ok();
    world.nman(["load", "-i", saved.to_str().unwrap()]).ok();
    assert_eq!(world.nman(["image", "inspect", "-f", "{{.Id}}", "odd:2"]).ok().text(), digest);

    let lower = world
        .nman(["image", "inspect", "-f", "{{.GraphDriver.Data.LowerDir}}", "odd:2"])
        .ok()
        .text();
    let (expected, found) = (looks(&root, &[]), looks(Path::new(&lower), &[]));
    for (path, look) in &expected {
        assert_eq!(found.get(path), Some(look), "{}", path.display());
    }
    assert_eq!(found.len(), expected.len());
    let seen = run(
        &["--rm"],
        "odd:2",
        "cd /odd; /bin/busybox ls opaque; /bin/busybox ls gone; /bin/busybox stat -c %Y opaque/new",
    );
    assert_eq!(seen.stdout(), "new\n-473385600\n", "{seen}");
    assert!(seen.stderr().contains("gone: No such file"), "{seen}");

    read_by_umoci(&world, &saved, &root);
    world.assert_no_container();
}

/// What another tool makes of the same archive.
fn read_by_umoci(world: &World, saved: &Path, root: &Path) {
    let bundle = world.path("bundle");
    let layout = world.path("layout");
    fs::create_dir(&layout).unwrap();
    Capture::of("tar").args(["-C"]).args([&layout]).args(["-xf"]).args([saved]).run().ok();
    let image = format!("{}:2", layout.display());
    Capture::of("umoci").args(["unpack", "--image", &image]).args([&bundle]).run().ok();
    let unpacked = looks(&bundle.join("rootfs"), &["odd/opaque"]);
    let expected = looks(root, &["odd/opaque", "odd/gone"]);
    // The directory itself was changed by the second layer.
    for (path, look) in expected.iter().filter(|(path, _)| *path != Path::new("odd")) {
        assert_eq!(unpacked.get(path), Some(look), "{}", path.display());
    }
    assert!(!bundle.join("rootfs/odd/gone").exists());
    assert!(!bundle.join("rootfs/odd/opaque/old").exists());
}
