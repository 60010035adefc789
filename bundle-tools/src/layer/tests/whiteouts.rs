//! Whiteouts as overlayfs has them, and carried out in place.

use super::*;

fn lower() -> Layer {
    layer()
        .dir("d")
        .file("d/a", "1")
        .file("d/b", "2")
        .dir("d/sub")
        .file("d/sub/x", "3")
        .file("top", "4")
}

#[test]
fn overlay_whiteouts_are_devices_and_opaque_directories_carry_an_xattr() {
    let sandbox = Sandbox::new();
    let layer = layer().file("d/.wh.a", "").dir("o").file("o/.wh..wh..opq", "").file("o/new", "");
    sandbox.unpack(&layer).unwrap();
    assert!(sandbox.is_whiteout("d/a"));
    assert!(sandbox.is_opaque("o"));
    assert_eq!(sandbox.names("o"), ["new"]);
    assert!(!sandbox.is_opaque("d"));
}

#[test]
fn in_a_user_namespace_the_opaque_mark_is_a_user_xattr() {
    let sandbox = Sandbox::new();
    let options = Options { whiteouts: Whiteouts::OverlayUser, ..Options::default() };
    sandbox.unpack_with(&layer().dir("o").file("o/.wh..wh..opq", ""), &options).unwrap();
    assert_eq!(xattr(&sandbox.path("o"), "user.overlay.opaque").unwrap(), b"y");
    assert!(!sandbox.is_opaque("o"));
}

#[test]
fn a_file_that_is_whited_out_and_added_in_one_layer_is_there_in_either_order() {
    for layer in
        [layer().file(".wh.f", "").file("f", "new"), layer().file("f", "new").file(".wh.f", "")]
    {
        let overlay = Sandbox::new();
        overlay.unpack(&layer).unwrap();
        assert_eq!(overlay.read("f"), "new");
        let flat = Sandbox::new();
        flat.apply(&super::layer().file("f", "old"));
        flat.apply(&layer);
        assert_eq!(flat.read("f"), "new");
    }
}

#[test]
fn a_directory_that_is_whited_out_and_added_in_one_layer_hides_the_old_one_in_either_order() {
    for layer in [
        layer().file(".wh.d", "").dir("d").file("d/new", ""),
        layer().dir("d").file("d/new", "").file(".wh.d", ""),
        layer().file(".wh.d", "").file("d/new", ""),
        layer().file("d/new", "").file(".wh.d", ""),
    ] {
        let overlay = Sandbox::new();
        overlay.unpack(&layer).unwrap();
        assert!(overlay.is_opaque("d"));
        assert_eq!(overlay.names("d"), ["new"]);
        let flat = Sandbox::new();
        flat.apply(&lower());
        flat.apply(&layer);
        assert_eq!(flat.names("d"), ["new"]);
        assert_eq!(flat.names(""), ["d", "top"]);
    }
}

#[test]
fn applied_whiteouts_remove_what_lower_layers_left() {
    let sandbox = Sandbox::new();
    sandbox.apply(&lower());
    sandbox.apply(&layer().file("d/.wh.a", "").file("d/.wh.sub", "").file("gone/.wh.x", ""));
    assert_eq!(sandbox.names("d"), ["b"]);
    assert_eq!(sandbox.names(""), ["d", "top"]);
}

#[test]
fn an_applied_opaque_mark_spares_what_its_own_layer_wrote_before_and_after() {
    let sandbox = Sandbox::new();
    sandbox.apply(&lower());
    let layer = layer().file("d/sub/y", "").file("d/.wh..wh..opq", "").file("d/z", "");
    sandbox.apply(&layer);
    assert_eq!(sandbox.names("d"), ["sub", "z"]);
    assert_eq!(sandbox.names("d/sub"), ["y"]);
}

#[test]
fn a_whiteout_spares_nothing_for_the_sake_of_a_longer_name() {
    let sandbox = Sandbox::new();
    sandbox.apply(&lower());
    let before = sandbox.names("");
    sandbox.apply(&layer().file("db", "").file("d-", "").file(".wh.d", ""));
    let mut expected: Vec<_> = before.into_iter().filter(|name| name != "d").collect();
    expected.extend(["db".to_owned(), "d-".to_owned()]);
    expected.sort_unstable();
    assert_eq!(sandbox.names(""), expected);
}

#[test]
fn an_opaque_root_is_reported_because_overlayfs_has_no_mark_for_it() {
    let sandbox = Sandbox::new();
    let stats = sandbox.unpack(&layer().file(".wh..wh..opq", "").file("f", "")).unwrap();
    assert!(stats.opaque_root);
    let flat = Sandbox::new();
    flat.apply(&lower());
    flat.apply(&layer().file(".wh..wh..opq", "").file("f", ""));
    assert_eq!(flat.names(""), ["f"]);
}

#[test]
fn files_that_only_look_like_whiteouts_are_files() {
    let sandbox = Sandbox::new();
    sandbox.unpack(&layer().file(".white", "w").file("x.wh.y", "x").file(".whb", "b")).unwrap();
    assert_eq!(sandbox.names(""), [".whb", ".white", "x.wh.y"]);
}

#[test]
fn book_keeping_of_aufs_is_left_out() {
    let sandbox = Sandbox::new();
    let layer = layer().file(".wh..wh.aufs", "").dir(".wh..wh.plnk").file(".wh..wh.plnk/1.2", "");
    sandbox.unpack(&layer).unwrap();
    assert!(sandbox.names("").is_empty());
}

#[test]
fn overlayfs_shows_the_layers_merged() {
    let sandbox = Sandbox::new();
    let mounts = tempfile::tempdir().unwrap();
    let upper = Sandbox::new();
    sandbox.unpack(&lower()).unwrap();
    upper
        .unpack(
            &layer()
                .file("d/.wh.a", "")
                .file(".wh.top", "")
                .dir("d/sub")
                .file("d/sub/.wh..wh..opq", ""),
        )
        .unwrap();
    let script = format!(
        "mount -t overlay overlay -o lowerdir={}:{} {m} && cd {m} && find . | sort",
        upper.root().display(),
        sandbox.root().display(),
        m = mounts.path().display(),
    );
    let output =
        std::process::Command::new("unshare").args(["-m", "sh", "-c", &script]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), ".\n./d\n./d/b\n./d/sub\n");
}

#[test]
fn whiteouts_that_hide_nothing_are_dropped_once_the_layers_below_are_there() {
    let (lower, upper) = (Sandbox::new(), Sandbox::new());
    lower.unpack(&self::lower()).unwrap();
    let layer = layer()
        .file("d/.wh.a", "")
        .dir("d/sub")
        .file("d/sub/.wh..wh..opq", "")
        .file("d/sub/.wh.x", "")
        .file("d/sub/deep/.wh.y", "")
        .file("new/.wh.z", "")
        .file("new/.wh.back", "")
        .file("new/back", "5")
        .file(".wh.top", "");
    let stats = upper.unpack(&layer).unwrap();
    let open = |sandbox: &Sandbox| fs::File::open(sandbox.root()).unwrap();
    let (lower, top) = (open(&lower), open(&upper));
    drop_idle_whiteouts(top.as_fd(), &[lower.as_fd()], &stats.whiteouts).unwrap();
    assert!(upper.is_whiteout("d/a") && upper.is_whiteout("top"));
    assert_eq!(upper.names("d"), ["a", "sub"]);
    assert_eq!(upper.names("d/sub"), ["deep"]);
    assert_eq!(upper.names("d/sub/deep"), [""; 0]);
    assert_eq!(upper.names("new"), ["back"]);
    assert_eq!(upper.read("new/back"), "5");
}
