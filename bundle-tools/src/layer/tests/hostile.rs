//! Layers made to write outside of the root or to smuggle something in: class H of the attack classes.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use rustix::fs::RenameFlags;

use super::*;

fn refused(layer: &Layer) -> String {
    let sandbox = Sandbox::new();
    let error = sandbox.unpack(layer).unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error}");
    error.to_string()
}

#[test]
fn names_that_climb_out_are_refused() {
    for name in ["../outside/canary", "a/../../outside/canary", "/../outside/canary", ".."] {
        let text = refused(&layer().file(name, "dead"));
        assert!(text.contains(name), "{text}");
        refused(&layer().with(name.as_bytes(), Kind::Directory, |e| e.mode = 0o777));
        refused(&layer().symlink(name, "x"));
    }
}

#[test]
fn an_absolute_name_lands_inside() {
    let sandbox = Sandbox::new();
    let outside = sandbox.outside().join("canary").display().to_string();
    sandbox.unpack(&layer().file(&outside, "dead")).unwrap();
    assert_eq!(sandbox.read(&outside[1..]), "dead");
}

#[test]
fn a_file_behind_a_symlink_to_outside_lands_inside() {
    let sandbox = Sandbox::new();
    let outside = sandbox.outside().display().to_string();
    for target in ["../outside", "../../../../outside", &outside, "/proc/self/cwd", "/proc/1/root"]
    {
        let layer = layer().symlink("s", target).file("s/canary", "dead");
        sandbox.unpack(&layer).unwrap();
        assert!(fs::symlink_metadata(sandbox.path("s")).unwrap().is_symlink());
    }
    assert_eq!(sandbox.read(&format!("{}/canary", &outside[1..])), "dead");
}

#[test]
fn an_entry_replaces_a_symlink_and_does_not_write_through_it() {
    let sandbox = Sandbox::new();
    let target = sandbox.outside().join("canary").display().to_string();
    let layer = layer()
        .symlink("file", &target)
        .file("file", "dead")
        .symlink("dir", "../outside")
        .with(b"dir", Kind::Directory, |e| (e.mode, e.uid) = (0o777, 5))
        .symlink("fifo", &target)
        .with(b"fifo", Kind::Fifo, |e| e.mode = 0o777)
        .symlink("device", &target)
        .with(b"device", Kind::CharDevice(1, 3), |e| (e.mode, e.uid) = (0o777, 5));
    sandbox.unpack(&layer).unwrap();
    assert_eq!(sandbox.read("file"), "dead");
    assert!(fs::symlink_metadata(sandbox.path("dir")).unwrap().is_dir());
}

#[test]
fn a_chain_of_symlinks_or_a_loop_does_not_lead_out() {
    let sandbox = Sandbox::new();
    let layer = layer()
        .symlink("a", "..")
        .symlink("b", "a/..")
        .symlink("c", "b/../outside")
        .file("c/canary", "dead");
    sandbox.unpack(&layer).unwrap();
    assert_eq!(sandbox.read("outside/canary"), "dead");
    let looped = super::layer().symlink("x", "y").symlink("y", "x").file("x/f", "");
    assert!(Sandbox::new().unpack(&looped).is_err());
}

#[test]
fn hard_links_reach_nothing_outside() {
    let sandbox = Sandbox::new();
    let canary = sandbox.outside().join("canary").display().to_string();
    refused(&layer().hard_link("h", "../outside/canary"));
    refused(&layer().hard_link("h", &canary));
    refused(&layer().symlink("s", "../outside").hard_link("h", "s/canary"));
    refused(&layer().dir("d").hard_link("h", "d"));
    refused(&layer().hard_link("h", "/"));
    // The canary's own count of names tells whether the link was followed.
    Sandbox::new().unpack(&layer().symlink("s", "../outside/canary").hard_link("h", "s")).unwrap();
    sandbox.unpack(&layer().symlink("s", &canary).hard_link("h", "s")).unwrap();
    // The target is a symlink: the link is one more symlink, and writing its name replaces it.
    let through = layer().symlink("s", &canary).hard_link("h", "s").file("h", "dead");
    sandbox.unpack(&through).unwrap();
    assert_eq!(sandbox.read("h"), "dead");
}

#[test]
fn the_root_itself_cannot_be_replaced() {
    refused(&layer().symlink("./", "/etc"));
    refused(&layer().symlink("a/..", "/etc"));
    refused(&layer().file(".", "x"));
}

#[test]
fn whiteouts_of_no_name_are_refused() {
    for name in [".wh.", ".wh..", ".wh...", "d/.wh...", ".wh.x/y"] {
        refused(&layer().file(name, ""));
    }
}

#[test]
fn whiteouts_and_opaque_marks_behind_a_symlink_stay_inside() {
    for whiteouts in [Whiteouts::Overlay, Whiteouts::Apply] {
        let sandbox = Sandbox::new();
        let options = Options { whiteouts, ..Options::default() };
        let outside = sandbox.outside().display().to_string();
        for target in ["../outside", &outside] {
            let layer = layer()
                .symlink("s", target)
                .file("s/.wh.canary", "")
                .file("s/.wh..wh..opq", "")
                .file(".wh.s", "");
            sandbox.unpack_with(&layer, &options).unwrap();
        }
        assert!(xattr(&sandbox.outside(), "trusted.overlay.opaque").is_none());
    }
}

#[test]
fn a_whiteout_removes_a_symlink_and_not_what_it_points_to() {
    let sandbox = Sandbox::new();
    sandbox.apply(&layer().symlink("s", "../outside").dir("d").symlink("d/s", "../../outside"));
    sandbox.apply(&layer().file(".wh.s", "").file(".wh.d", ""));
    assert!(sandbox.names("").is_empty());
}

#[test]
fn overlay_marks_cannot_be_smuggled_in() {
    let sandbox = Sandbox::new();
    let keys = [
        "trusted.overlay.opaque",
        "trusted.overlay.redirect",
        "user.overlay.opaque",
        "security.selinux",
    ];
    let layer = layer()
        .with(b"d", Kind::Directory, |e| {
            e.xattrs = keys.map(|key| (key.into(), b"y".to_vec())).to_vec();
        })
        .with(b"passwd", Kind::CharDevice(0, 0), |_| {});
    let stats = sandbox.unpack(&layer).unwrap();
    assert_eq!(stats.ignored.len(), 5, "{:?}", stats.ignored);
    for key in keys {
        assert_eq!(xattr(&sandbox.path("d"), key), None, "{key}");
    }
    assert_eq!(sandbox.names(""), ["d"]);
}

#[test]
fn devices_are_left_out_where_the_caller_wants_none() {
    let sandbox = Sandbox::new();
    let options = Options { devices: false, ..Options::default() };
    let layer = layer()
        .with(b"sda", Kind::BlockDevice(8, 0), |_| {})
        .with(b"mem", Kind::CharDevice(1, 1), |_| {})
        .with(b"pipe", Kind::Fifo, |_| {});
    let stats = sandbox.unpack_with(&layer, &options).unwrap();
    assert_eq!(sandbox.names(""), ["pipe"]);
    assert_eq!(stats.ignored.len(), 2);
}

#[test]
fn an_entry_on_an_existing_fifo_or_device_replaces_it_unopened() {
    // Opening the pipe for writing would block for ever.
    let sandbox = Sandbox::new();
    let layer = layer().with(b"p", Kind::Fifo, |_| {}).file("p", "file");
    sandbox.unpack(&layer).unwrap();
    assert_eq!(sandbox.read("p"), "file");
}

/// Ends the racer when the test is over, by a failure too.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// While a layer is unpacked, somebody swaps a directory of the root for a symlink to outside and back, again and again.
#[test]
fn a_swap_while_unpacking_leads_nowhere() {
    let sandbox = Sandbox::new();
    let root = sandbox.root();
    fs::create_dir(root.join("d")).unwrap();
    let outside = sandbox.outside();
    std::os::unix::fs::symlink(&outside, root.join("trap")).unwrap();
    let stop = AtomicBool::new(false);
    let options = Options { whiteouts: Whiteouts::Apply, ..Options::default() };
    let (mut done, swaps) = (0, AtomicU32::new(0));
    std::thread::scope(|scope| {
        let _stop = StopOnDrop(&stop);
        scope.spawn(|| {
            let dir = fs::File::open(&root).unwrap();
            while !stop.load(Ordering::Relaxed) {
                let flags = RenameFlags::EXCHANGE;
                if rustix::fs::renameat_with(&dir, "d", &dir, "trap", flags).is_ok() {
                    swaps.fetch_add(1, Ordering::Relaxed);
                } else {
                    // The layer replaced one of them; lay the trap again.
                    let _ = std::os::unix::fs::symlink(&outside, root.join("trap"));
                    let _ = fs::create_dir(root.join("d"));
                }
            }
        });
        while swaps.load(Ordering::Relaxed) < 10_000 || done == 0 {
            let mut layer = layer();
            for n in 0..10 {
                layer = layer
                    .dir("d")
                    .file("d/canary", "dead")
                    .with(b"d/su", Kind::File, |e| e.mode = 0o4777)
                    .hard_link(&format!("h{n}"), "d/canary")
                    .file(&format!("d/sub{n}/canary"), "dead")
                    .symlink("d/link", "x")
                    .with(b"d/fifo", Kind::Fifo, |e| e.mode = 0o777)
                    .file("d/.wh..wh..opq", "")
                    .file("d/.wh.canary", "");
            }
            let root = fs::File::open(sandbox.root()).unwrap();
            // It may fail, since its directories vanish; it must not leave the root.
            let result = unpack(&layer.bytes()[..], root.as_fd(), &options);
            done += u32::from(result.is_ok());
            sandbox.check_outside();
        }
    });
}

#[test]
fn a_file_that_a_link_leads_to_is_nobodys_directory() {
    let sandbox = Sandbox::new();
    let layer = layer().file("usr/f", "kept").symlink("l", "usr/f").file("l/x", "");
    let error = sandbox.unpack(&layer).unwrap_err().to_string();
    assert!(error.contains("not a directory"), "{error}");
    assert_eq!(sandbox.read("usr/f"), "kept");
}
