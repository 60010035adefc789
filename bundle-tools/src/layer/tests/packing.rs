//! Layers made from directories.

use super::*;

fn packed(root: &Path, options: &PackOptions) -> Vec<u8> {
    let mut bytes = Vec::new();
    pack(fs::File::open(root).unwrap().as_fd(), options, &mut bytes).unwrap();
    bytes
}

fn diffed(root: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    diff(fs::File::open(root).unwrap().as_fd(), &PackOptions::default(), &mut bytes)?;
    Ok(bytes)
}

fn names(bytes: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    scan(bytes, &Limits::default(), |entry| {
        names.push(String::from_utf8_lossy(&entry.name).into_owned());
    })
    .unwrap();
    names
}

fn rich() -> Layer {
    layer()
        .with(b"./", Kind::Directory, |_| {})
        .with(b"b", Kind::Directory, |e| (e.mode, e.uid) = (0o2750, 10))
        .with(b"b/\xff", Kind::File, |e| e.mode = 0o4755)
        .with(b"b/device", Kind::CharDevice(5, 1), |_| {})
        .with(b"b/pipe", Kind::Fifo, |_| {})
        .file("a", "content")
        .hard_link("c", "a")
        .symlink("d", &"x".repeat(150))
        .with(b"e", Kind::File, |e| {
            e.mtime = Timespec { tv_sec: -7, tv_nsec: 5 };
            e.gid = 3_000_000;
            e.xattrs = vec![(b"user.a".to_vec(), b"1".to_vec())];
        })
}

#[test]
fn a_tree_that_is_packed_and_unpacked_packs_to_the_same_bytes() {
    let (one, two) = (Sandbox::new(), Sandbox::new());
    one.unpack(&rich()).unwrap();
    let first = packed(&one.root(), &PackOptions::default());
    let root = fs::File::open(two.root()).unwrap();
    let stats = unpack(&first[..], root.as_fd(), &Options::default()).unwrap();
    assert_eq!(xattr(&two.path("e"), "user.a").unwrap(), b"1");
    assert!(stats.ignored.is_empty() && stats.implied.is_empty());
    assert_eq!(packed(&two.root(), &PackOptions::default()), first);
    assert_eq!(stats.diff_id.digest(), &crate::digest::Digest::of(&first));
}

#[test]
fn what_the_kernel_shows_of_itself_can_be_left_out() {
    let root = fs::File::open("/").unwrap();
    for directory in ["proc", "sys"] {
        let name = directory.as_bytes();
        let options = PackOptions { without_kernel: true, ..PackOptions::default() };
        let mut output = Vec::new();
        let packed = archive(root.as_fd(), name, name, &options, &mut output).unwrap();
        assert_eq!(packed.entries, 1, "{directory}");
    }
}

#[test]
fn with_a_fixed_time_and_owner_it_does_not_matter_when_and_by_whom_files_were_made() {
    let options = PackOptions {
        mtime: Some(Timespec::default()),
        owner: Some((0, 0)),
        ..PackOptions::default()
    };
    let (one, two) = (Sandbox::new(), Sandbox::new());
    for (sandbox, uid) in [(&one, 5), (&two, 6)] {
        sandbox
            .unpack(
                &layer()
                    .with(b"./", Kind::Directory, |_| {})
                    .with(b"f", Kind::File, |e| e.uid = uid),
            )
            .unwrap();
        fs::write(sandbox.path("f"), "x").unwrap();
    }
    assert_eq!(packed(&one.root(), &options), packed(&two.root(), &options));
    assert_ne!(
        packed(&one.root(), &PackOptions::default()),
        packed(&two.root(), &PackOptions::default())
    );
}

#[test]
fn an_upper_directory_becomes_the_layer_that_made_it() {
    let sandbox = Sandbox::new();
    let layer = layer()
        .dir("d")
        .file("d/.wh.a", "")
        .dir("o")
        .file("o/.wh..wh..opq", "")
        .file("o/new", "")
        .file(".wh.top", "");
    sandbox.unpack(&layer).unwrap();
    let names = names(&diffed(&sandbox.root()).unwrap());
    assert_eq!(names, ["d/", "d/.wh.a", "o/", "o/.wh..wh..opq", "o/new", ".wh.top"]);
}

#[test]
fn what_a_container_changed_survives_diff_and_apply() {
    let (lower, mounts) = (Sandbox::new(), tempfile::tempdir().unwrap());
    lower.unpack(&layer().dir("d").file("d/a", "1").file("d/b", "2").file("top", "4")).unwrap();
    fs::create_dir(mounts.path().join("work")).unwrap();
    fs::create_dir(mounts.path().join("m")).unwrap();
    // The upper and work directories must share a file system.
    let (u, l, w) = (mounts.path().join("upper"), lower.root(), mounts.path().join("work"));
    fs::create_dir(&u).unwrap();
    let script = format!(
        "mount -t overlay overlay -o lowerdir={},upperdir={},workdir={} {m} && cd {m} && \
         rm top d/a && rm -r d && mkdir d && echo new > d/c && mkfifo p",
        l.display(),
        u.display(),
        w.display(),
        m = mounts.path().join("m").display(),
    );
    let output =
        std::process::Command::new("unshare").args(["-m", "sh", "-c", &script]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let bytes = diffed(&u).unwrap();
    assert_eq!(names(&bytes), ["d/", "d/.wh..wh..opq", "d/c", "p", ".wh.top"]);
    let root = fs::File::open(lower.root()).unwrap();
    let options = Options { whiteouts: Whiteouts::Apply, ..Options::default() };
    unpack(&bytes[..], root.as_fd(), &options).unwrap();
    assert_eq!(lower.names(""), ["d", "p"]);
    assert_eq!(lower.names("d"), ["c"]);
}

#[test]
fn names_and_marks_that_a_layer_cannot_carry_are_refused() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path(".wh.x"), "").unwrap();
    assert!(matches!(diffed(&sandbox.root()), Err(Error::Refused { .. })));
    fs::remove_file(sandbox.path(".wh.x")).unwrap();
    fs::write(sandbox.path("meta"), "").unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(sandbox.path("meta"), "trusted.overlay.metacopy", b"", flags).unwrap();
    assert!(matches!(diffed(&sandbox.root()), Err(Error::Refused { .. })));
}

#[test]
fn marks_that_a_container_may_set_itself_mean_nothing_unless_the_overlay_has_them_there() {
    let sandbox = Sandbox::new();
    sandbox.unpack(&layer().dir("d").file("d/f", "x").file("e", "").file("full", "x")).unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    let mark = |name: &str, mark: &str, value: &[u8]| {
        let key = format!("user.overlay.{mark}");
        rustix::fs::setxattr(sandbox.path(name), &*key, value, flags).unwrap();
    };
    mark("d", "opaque", b"y");
    mark("e", "whiteout", b"");
    let told = |options: &PackOptions| {
        let mut bytes = Vec::new();
        let root = fs::File::open(sandbox.root()).unwrap();
        diff(root.as_fd(), options, &mut bytes).map(|_| names(&bytes))
    };
    let user = PackOptions { user_marks: true, ..PackOptions::default() };
    let believed = ["d/", "d/.wh..wh..opq", "d/f", ".wh.e", "full"];
    assert_eq!(told(&user).unwrap(), believed);
    mark("full", "redirect", b"/x");
    assert!(matches!(told(&user), Err(Error::Refused { .. })));
    assert_eq!(told(&PackOptions::default()).unwrap(), ["d/", "d/f", "e", "full"]);
}

#[test]
fn what_comes_and_goes_meanwhile_ends_no_archive() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("stays"), "here").unwrap();
    let done = AtomicBool::new(false);
    let churn = || {
        while !done.load(Ordering::Relaxed) {
            for n in 0..50 {
                let (file, directory) =
                    (sandbox.path(&format!("f{n}")), sandbox.path(&format!("d{n}")));
                fs::write(&file, vec![b'x'; 64 << 10]).unwrap();
                fs::create_dir(&directory).unwrap();
                fs::File::options().write(true).open(&file).unwrap().set_len(10).unwrap();
                fs::remove_file(&file).unwrap();
                fs::remove_dir(&directory).unwrap();
            }
        }
    };
    std::thread::scope(|scope| {
        let churning = scope.spawn(churn);
        let results: Vec<_> = (0..300)
            .map(|_| {
                let root = fs::File::open(sandbox.root()).unwrap();
                let mut bytes = Vec::new();
                export(root.as_fd(), &PackOptions::default(), &mut bytes).map(|_| bytes)
            })
            .collect();
        done.store(true, Ordering::Relaxed);
        churning.join().unwrap();
        for bytes in results {
            assert!(names(&bytes.unwrap()).contains(&"stays".to_owned()));
        }
    });
}

#[test]
fn a_file_that_became_shorter_is_filled_up_with_zeros() {
    let entry = Entry {
        name: b"f".to_vec(),
        kind: Kind::File,
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: Timespec::default(),
        size: 6,
        xattrs: Vec::new(),
        extents: None,
    };
    let mut tar = TarWriter::new(Vec::new());
    assert_eq!(tar.append_changing(&entry, &b"abc"[..]).unwrap(), 3);
    let bytes = tar.finish().unwrap();
    let sandbox = Sandbox::new();
    let root = fs::File::open(sandbox.root()).unwrap();
    unpack(&bytes[..], root.as_fd(), &Options::default()).unwrap();
    assert_eq!(sandbox.read("f"), "abc\0\0\0");
    assert!(TarWriter::new(Vec::new()).append(&entry, &b"abc"[..]).is_err());
}

#[test]
fn a_socket_is_left_out_and_reported() {
    let sandbox = Sandbox::new();
    let _socket = std::os::unix::net::UnixListener::bind(sandbox.path("s")).unwrap();
    let root = fs::File::open(sandbox.root()).unwrap();
    let packed = pack(root.as_fd(), &PackOptions::default(), std::io::sink()).unwrap();
    assert_eq!((packed.entries, packed.ignored.len()), (1, 1));
}

#[test]
fn a_path_longer_than_a_layer_can_carry_is_an_error() {
    let sandbox = Sandbox::new();
    let name = "d".repeat(250);
    let mut dir: std::os::fd::OwnedFd = fs::File::open(sandbox.root()).unwrap().into();
    for _ in 0..20 {
        rustix::fs::mkdirat(&dir, &name, rustix::fs::Mode::RWXU).unwrap();
        dir = tree::open_child(&dir, name.as_bytes()).unwrap();
    }
    let root = fs::File::open(sandbox.root()).unwrap();
    let error = pack(root.as_fd(), &PackOptions::default(), std::io::sink()).unwrap_err();
    assert!(matches!(error, Error::Limit { .. }), "{error}");
}
