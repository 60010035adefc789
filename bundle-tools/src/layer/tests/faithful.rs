//! What an honest layer says is what is on disk.

use super::*;

#[test]
fn owners_modes_times_and_xattrs_are_those_of_the_layer() {
    let sandbox = Sandbox::new();
    let capability = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec();
    let layer = layer()
        .with(b"d", Kind::Directory, |e| (e.mode, e.uid, e.mtime.tv_sec) = (0o1777, 7, -86_400))
        .with(b"d/su", Kind::File, |e| {
            (e.mode, e.uid, e.gid, e.size) = (0o6755, 3_000_000, 12, 5);
            e.mtime = Timespec { tv_sec: -5, tv_nsec: 500_000_000 };
            e.xattrs = vec![
                (b"user.note".to_vec(), b"a\nb".to_vec()),
                (b"security.capability".to_vec(), capability.clone()),
            ];
        })
        .with(b"d/link", Kind::Symlink(b"su".to_vec()), |e| (e.uid, e.mtime.tv_sec) = (9, 77))
        .with(b"d/null", Kind::CharDevice(1, 3), |e| (e.mode, e.gid) = (0o666, 6))
        .with(b"d/pipe", Kind::Fifo, |e| (e.mode, e.uid) = (0o620, 5));
    let stats = sandbox.unpack(&layer).unwrap();
    assert_eq!((stats.entries, &stats.ignored[..], &stats.implied[..]), (5, &[][..], &[][..]));
    let meta = |name| fs::symlink_metadata(sandbox.path(name)).unwrap();
    let look = |name| (meta(name).mode() & 0o7777, meta(name).uid(), meta(name).gid());
    assert_eq!(look("d"), (0o1777, 7, 0));
    assert_eq!(meta("d").mtime(), -86_400, "filling the directory must not show");
    assert_eq!(look("d/su"), (0o6755, 3_000_000, 12), "setuid after chown");
    assert_eq!((meta("d/su").mtime(), meta("d/su").mtime_nsec()), (-5, 500_000_000));
    assert_eq!(xattr(&sandbox.path("d/su"), "user.note").unwrap(), b"a\nb");
    assert_eq!(xattr(&sandbox.path("d/su"), "security.capability").unwrap(), capability);
    assert_eq!((meta("d/link").uid(), meta("d/link").mtime()), (9, 77));
    assert_eq!(look("d/null"), (0o666, 0, 6));
    assert_eq!(meta("d/null").rdev(), rustix::fs::makedev(1, 3));
    assert!(meta("d/pipe").file_type().is_fifo());
    assert_eq!(look("d/pipe"), (0o620, 5, 0));
}

#[test]
fn the_root_entry_describes_the_root_itself() {
    let sandbox = Sandbox::new();
    let layer =
        layer().with(b"./", Kind::Directory, |e| (e.mode, e.uid) = (0o700, 4)).file("./f", "x");
    sandbox.unpack(&layer).unwrap();
    let meta = fs::metadata(sandbox.root()).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.uid(), meta.mtime()), (0o700, 4, 1_000_000_000));
}

#[test]
fn names_may_be_rooted_dotted_long_unicode_or_no_text_at_all() {
    use std::os::unix::ffi::OsStrExt as _;
    let sandbox = Sandbox::new();
    let long = "l".repeat(250);
    let layer = layer()
        .file("/rooted/file", "1")
        .file("./dotted//x", "2")
        .file(&long, "3")
        .file("ümläut/日本", "4")
        .with(b"raw\xff\xfe", Kind::File, |_| {});
    sandbox.unpack(&layer).unwrap();
    assert_eq!(sandbox.read("rooted/file"), "1");
    assert_eq!(sandbox.read("dotted/x"), "2");
    assert_eq!(sandbox.read(&long), "3");
    assert_eq!(sandbox.read("ümläut/日本"), "4");
    assert!(sandbox.root().join(std::ffi::OsStr::from_bytes(b"raw\xff\xfe")).exists());
}

#[test]
fn the_last_of_several_entries_wins_whatever_their_types() {
    let sandbox = Sandbox::new();
    let layer = layer()
        .file("a", "old")
        .file("a", "new")
        .dir("b")
        .file("b/inside", "x")
        .file("b", "file")
        .file("c", "file")
        .dir("c")
        .file("c/inside", "x")
        .symlink("d", "c")
        .file("d", "not through the link")
        .dir("e")
        .symlink("e", "c")
        .file("e/more", "y");
    sandbox.unpack(&layer).unwrap();
    assert_eq!(sandbox.read("a"), "new");
    assert_eq!(sandbox.read("b"), "file");
    assert_eq!(sandbox.names("c"), ["inside", "more"]);
    assert!(!fs::symlink_metadata(sandbox.path("d")).unwrap().is_symlink());
    assert!(fs::symlink_metadata(sandbox.path("e")).unwrap().is_symlink());
}

#[test]
fn a_replaced_directory_is_not_written_through_the_old_one() {
    let sandbox = Sandbox::new();
    let layer = layer().dir("a").file("a/1", "").symlink("a", "b").dir("b").file("a/2", "");
    sandbox.unpack(&layer).unwrap();
    assert_eq!(sandbox.names("b"), ["2"]);
}

#[test]
fn a_name_that_leads_elsewhere_since_the_last_entry_is_looked_up_again() {
    let sandbox = Sandbox::new();
    let layer = layer().symlink("l", ".").dir("x").symlink("l/l", "x").file("l/f", "");
    sandbox.unpack(&layer).unwrap();
    assert_eq!(sandbox.names("x"), ["f"]);
}

#[test]
fn a_directory_that_a_later_entry_takes_away_needs_no_time() {
    let sandbox = Sandbox::new();
    let layer = layer().symlink("l", "x").dir("x").dir("l/d").dir("l/d/e").file("x", "");
    sandbox.unpack(&layer).unwrap();
    assert_eq!(sandbox.names(""), ["l", "x"]);
}

#[test]
fn a_tree_too_deep_to_walk_is_an_error_and_not_a_crash() {
    let sandbox = Sandbox::new();
    let mut deep = layer();
    let step = vec!["d"; 250].join("/");
    for n in 0..6 {
        let dir = if n == 0 { step.clone() } else { format!("l{}/{step}", n - 1) };
        deep = deep.dir(&dir).symlink(&format!("l{n}"), &dir);
    }
    sandbox.apply(&deep);
    let root = fs::File::open(sandbox.root()).unwrap();
    let options = Options { whiteouts: Whiteouts::Apply, ..Options::default() };
    // It depends on the limit of open files whether it is removed or not.
    let whiteout = layer().file(".wh.d", "").bytes();
    match unpack(&whiteout[..], root.as_fd(), &options) {
        Ok(_) => assert!(!sandbox.names("").contains(&"d".to_owned())),
        Err(error) => assert!(matches!(error, Error::File { action: "remove", .. }), "{error}"),
    }
    // The clean-up of the test is up to a tool that needs no fd for each level.
    std::process::Command::new("rm").arg("-rf").arg(sandbox.root()).status().unwrap();
}

#[test]
fn hard_links_share_one_file_and_replacing_a_name_spares_the_others() {
    let sandbox = Sandbox::new();
    let layer = layer()
        .file("a", "shared")
        .hard_link("b", "a")
        .hard_link("c", "/a")
        .hard_link("a", "a")
        .file("b", "own");
    sandbox.unpack(&layer).unwrap();
    assert_eq!((sandbox.read("a"), sandbox.read("b")), ("shared".into(), "own".into()));
    let inode = |name| fs::metadata(sandbox.path(name)).unwrap().ino();
    assert_eq!(inode("a"), inode("c"));
}

#[test]
fn a_hard_link_to_a_symlink_is_a_second_symlink() {
    let sandbox = Sandbox::new();
    sandbox.unpack(&layer().symlink("s", "../outside/canary").hard_link("h", "s")).unwrap();
    assert!(fs::symlink_metadata(sandbox.path("h")).unwrap().is_symlink());
}

#[test]
fn directories_without_an_entry_are_made_and_reported() {
    let sandbox = Sandbox::new();
    let stats = sandbox.unpack(&layer().file("a/b/c", "x").dir("a")).unwrap();
    assert_eq!(stats.implied, [b"a/b".to_vec()]);
    assert_eq!(fs::metadata(sandbox.path("a/b")).unwrap().mode() & 0o7777, 0o755);
}

#[test]
fn an_implied_directory_looks_like_the_one_below() {
    let (lower, upper) = (Sandbox::new(), Sandbox::new());
    lower
        .unpack(&layer().with(b"tmp", Kind::Directory, |e| (e.mode, e.uid) = (0o1777, 8)))
        .unwrap();
    let stats = upper.unpack(&layer().file("tmp/x", "").file("new/y", "")).unwrap();
    let open = |sandbox: &Sandbox| fs::File::open(sandbox.root()).unwrap();
    let (lower, top) = (open(&lower), open(&upper));
    inherit(top.as_fd(), &[lower.as_fd()], &stats.implied).unwrap();
    let meta = fs::metadata(upper.path("tmp")).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.uid(), meta.mtime()), (0o1777, 8, 1_000_000_000));
    assert_eq!(fs::metadata(upper.path("new")).unwrap().mode() & 0o7777, 0o755);
}

#[test]
fn symlinked_parents_lead_to_their_target_inside_the_root() {
    let sandbox = Sandbox::new();
    let layer = layer()
        .symlink("lib", "/usr/lib")
        .file("lib/early", "target made")
        .dir("usr/lib")
        .file("lib/late", "x")
        .dir("usr/share")
        .symlink("usr/share/up", "../../usr/lib")
        .file("usr/share/up/relative", "x");
    sandbox.unpack(&layer).unwrap();
    assert!(fs::symlink_metadata(sandbox.path("lib")).unwrap().is_symlink());
    assert_eq!(sandbox.names("usr/lib"), ["early", "late", "relative"]);
}

#[test]
fn sparse_files_keep_their_holes() {
    let dir = tempfile::tempdir().unwrap();
    let file = fs::File::create(dir.path().join("sparse")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"data", 40 << 20).unwrap();
    file.set_len(64 << 20).unwrap();
    for format in ["--format=gnu", "--format=posix"] {
        let tar = std::process::Command::new("tar")
            .args([format, "-S", "-cf", "-", "sparse"])
            .current_dir(dir.path())
            .output()
            .unwrap();
        let sandbox = Sandbox::new();
        let root = fs::File::open(sandbox.root()).unwrap();
        unpack(&tar.stdout[..], root.as_fd(), &Options::default()).unwrap();
        let content = fs::read(sandbox.path("sparse")).unwrap();
        assert_eq!(content.len(), 64 << 20, "{format}");
        assert_eq!(&content[40 << 20..][..4], b"data", "{format}");
        assert!(fs::metadata(sandbox.path("sparse")).unwrap().blocks() < 2048, "{format}");
    }
}

#[test]
fn every_compression_gives_the_diff_id_of_the_plain_stream() {
    let layer = layer().file("f", &"text ".repeat(10_000));
    let plain = layer.bytes();
    for compression in [Compression::Plain, Compression::Gzip, Compression::Zstd] {
        let mut encoder = compression.encoder(Vec::new()).unwrap();
        encoder.write_all(&plain).unwrap();
        let blob = encoder.finish().unwrap();
        let sandbox = Sandbox::new();
        let root = fs::File::open(sandbox.root()).unwrap();
        let stats = unpack(&blob[..], root.as_fd(), &Options::default()).unwrap();
        assert_eq!(stats.diff_id.digest(), &crate::digest::Digest::of(&plain));
        assert_eq!(stats.bytes, plain.len() as u64);
        assert_eq!(diff_id(&blob[..], &Limits::default()).unwrap(), stats.diff_id);
    }
}

#[test]
fn bytes_behind_the_archive_belong_to_the_diff_id() {
    let mut bytes = layer().file("f", "x").bytes();
    bytes.resize(bytes.len() + 300_000, 0);
    let sandbox = Sandbox::new();
    let root = fs::File::open(sandbox.root()).unwrap();
    let stats = unpack(&bytes[..], root.as_fd(), &Options::default()).unwrap();
    assert_eq!(stats.diff_id.digest(), &crate::digest::Digest::of(&bytes));
}

#[test]
fn without_owners_all_is_the_callers_and_read_only_directories_can_be_filled() {
    let sandbox = Sandbox::new();
    let options = Options { owners: false, ..Options::default() };
    let layer = layer().with(b"d", Kind::Directory, |e| (e.mode, e.uid) = (0o555, 1000)).with(
        b"d/f",
        Kind::File,
        |e| e.uid = 1000,
    );
    sandbox.unpack_with(&layer, &options).unwrap();
    let meta = fs::metadata(sandbox.path("d")).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.uid()), (0o555, 0));
    assert_eq!(fs::metadata(sandbox.path("d/f")).unwrap().uid(), 0);
}

#[test]
fn one_owner_for_all_goes_before_those_of_the_layer() {
    let sandbox = Sandbox::new();
    let layer = layer().dir("d").file("d/file", "x").symlink("link", "d");
    let options = Options { owner: Some((7, 8)), ..Options::default() };
    sandbox.unpack_with(&layer, &options).unwrap();
    for name in ["d", "d/file", "link"] {
        let meta = fs::symlink_metadata(sandbox.path(name)).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (7, 8), "{name}");
    }
}

#[test]
fn the_owner_is_right_in_a_setgid_directory_too() {
    let sandbox = Sandbox::new();
    let layer = layer()
        .with(b"d", Kind::Directory, |e| (e.mode, e.gid) = (0o2755, 50))
        .file("d/f", "")
        .dir("d/sub")
        .symlink("d/l", "x");
    sandbox.unpack(&layer).unwrap();
    for name in ["d/f", "d/sub", "d/l"] {
        assert_eq!(fs::symlink_metadata(sandbox.path(name)).unwrap().gid(), 0, "{name}");
    }
    assert_eq!(fs::metadata(sandbox.path("d/sub")).unwrap().permissions().mode() & 0o7777, 0o755);
}

#[test]
fn files_of_an_archive_have_their_modes_below_a_directory_with_a_default_acl() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("a")).unwrap();
    // u::rwx,g::---,o::--- as the kernel has it: a version, then tag, permissions and id of each.
    let entries: [(u16, u16); 3] = [(1, 7), (4, 0), (0x20, 0)];
    let mut acl = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions) in entries {
        acl.extend([tag.to_le_bytes(), permissions.to_le_bytes()].concat());
        acl.extend(u32::MAX.to_le_bytes());
    }
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(sandbox.path("a"), "system.posix_acl_default", &acl, flags).unwrap();
    let options = Options { whiteouts: Whiteouts::None, ..Options::default() };
    sandbox.unpack_with(&layer().file("a/f", "x"), &options).unwrap();
    assert_eq!(fs::metadata(sandbox.path("a/f")).unwrap().permissions().mode() & 0o7777, 0o644);
}

#[test]
fn what_is_of_another_kind_is_replaced_or_refused() {
    let archive = layer().dir("lib").file("lib/x", "x").file("abs", "file");
    for (clash, replaced) in [(Clash::Replaced, true), (Clash::Refused, false)] {
        let sandbox = Sandbox::new();
        fs::create_dir_all(sandbox.path("usr/lib")).unwrap();
        std::os::unix::fs::symlink("usr/lib", sandbox.path("lib")).unwrap();
        fs::create_dir_all(sandbox.path("abs/below")).unwrap();
        let options = Options { whiteouts: Whiteouts::None, clash, ..Options::default() };
        assert_eq!(sandbox.unpack_with(&archive, &options).is_ok(), replaced);
        assert_eq!(fs::symlink_metadata(sandbox.path("lib")).unwrap().is_dir(), replaced);
        assert_eq!(sandbox.path("abs").is_file(), replaced);
        assert_eq!(fs::read_dir(sandbox.path("usr/lib")).unwrap().count(), 0);
    }
}
