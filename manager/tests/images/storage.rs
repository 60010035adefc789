//! The store and its snapshots, as the kernel and other tools see them.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use nconform::fixture::{Capture, Sandbox, scratch_dir};
use nman::progress::NoProgress;
use nman::pull::{Policy, PullOptions, pull};
use nman::reference::Reference;
use nman::snapshot::{Owners, mount, unmount};
use nman::store::{Error, Image, Removed, Store, User};

use crate::images::{Entry, TestImage, files, store};
use crate::lying::Server;

fn pulled(image: TestImage, store: &Store) -> (Server, Image) {
    let server = Server::with_image(image, |_, answer| answer);
    let options = PullOptions { policy: Policy::Always, ..PullOptions::default() };
    let image = pull(&server.reference(), &options, store, &NoProgress).unwrap();
    (server, image)
}

#[test]
fn layers_are_stacked_with_their_whiteouts_and_the_container_writes_apart() {
    let _sandbox = Sandbox::enter();
    let (root, store) = store();
    let (_server, image) = pulled(TestImage::two_layers(), &store);
    let snapshots = store.snapshots();
    let prepared = snapshots.prepare(&image.chain_ids, "c1", &Owners::default()).unwrap();
    let target = scratch_dir();
    let target = target.path();
    mount(&prepared, target, None).unwrap();
    assert_eq!(fs::read_to_string(target.join("etc/name")).unwrap(), "upper\n");
    assert!(!target.join("etc/gone").exists());
    assert!(!target.join("data/old").exists());
    assert!(target.join("data/new").exists());
    let shared = target.join("shared");
    assert!(shared.join("kept").exists() && shared.join("added").exists());
    assert_eq!(shared.metadata().unwrap().mode() & 0o7777, 0o1777);
    assert_eq!(target.metadata().unwrap().mode() & 0o7777, 0o755);

    let before = files(&root.path().join("snapshots"));
    fs::write(target.join("etc/name"), "mine\n").unwrap();
    fs::remove_file(target.join("data/new")).unwrap();
    unmount(target).unwrap();
    unmount(target).unwrap();
    assert_eq!(fs::read_to_string(prepared.upper.join("etc/name")).unwrap(), "mine\n");
    assert_eq!(snapshots.resume("c1").unwrap(), prepared);
    snapshots.remove("c1").unwrap();
    snapshots.remove("c1").unwrap();
    let mut after = files(&root.path().join("snapshots"));
    after.retain(|path| !path.starts_with("active/c1"));
    let before: Vec<_> = before.into_iter().filter(|p| !p.starts_with("active/c1")).collect();
    assert_eq!(after, before);
}

#[test]
fn a_real_distribution_runs_from_its_snapshot() {
    let _sandbox = Sandbox::enter();
    let (_root, store) = store();
    let (_server, image) = pulled(TestImage::real().1, &store);
    let prepared = store.snapshots().prepare(&image.chain_ids, "c1", &Owners::default()).unwrap();
    let target = scratch_dir();
    mount(&prepared, target.path(), None).unwrap();
    let echo = Capture::of("chroot").args([target.path()]).args(["/bin/busybox", "echo", "hello"]);
    assert_eq!(echo.run().ok().text(), "hello");
    unmount(target.path()).unwrap();
}

#[test]
fn a_stack_of_more_layers_than_fit_a_page_of_options_mounts() {
    let _sandbox = Sandbox::enter();
    let (_root, store) = store();
    let mut image = TestImage::default();
    for number in 0..120 {
        let name = format!("file-{number}");
        image = image.layer(&[Entry::File(&name, b"x", 0o644)]);
    }
    let (_server, image) = pulled(image, &store);
    let prepared = store.snapshots().prepare(&image.chain_ids, "c1", &Owners::default()).unwrap();
    let options: usize = prepared.lower.iter().map(|path| path.as_os_str().len() + 1).sum();
    assert!(options > 4096, "{options}");
    let target = scratch_dir();
    mount(&prepared, target.path(), None).unwrap();
    assert_eq!(fs::read_dir(target.path()).unwrap().count(), 120);
    unmount(target.path()).unwrap();
}

#[test]
fn an_image_without_layers_has_an_empty_root() {
    let _sandbox = Sandbox::enter();
    let (_root, store) = store();
    let (_server, image) = pulled(TestImage::default(), &store);
    let prepared = store.snapshots().prepare(&image.chain_ids, "c1", &Owners::default()).unwrap();
    let target = scratch_dir();
    mount(&prepared, target.path(), None).unwrap();
    assert_eq!(fs::read_dir(target.path()).unwrap().count(), 0);
    unmount(target.path()).unwrap();
}

#[test]
fn an_opaque_root_hides_every_lower_layer() {
    let _sandbox = Sandbox::enter();
    let (_root, store) = store();
    let image = TestImage::default()
        .layer(&[Entry::File("old", b"x", 0o644)])
        .layer(&[Entry::File(".wh..wh..opq", b"", 0o644), Entry::File("new", b"x", 0o644)]);
    let (_server, image) = pulled(image, &store);
    let prepared = store.snapshots().prepare(&image.chain_ids, "c1", &Owners::default()).unwrap();
    let target = scratch_dir();
    mount(&prepared, target.path(), None).unwrap();
    assert!(target.path().join("new").exists());
    assert!(!target.path().join("old").exists());
    unmount(target.path()).unwrap();
}

#[test]
fn a_whiteout_that_hides_nothing_is_no_file_that_cannot_be_looked_at() {
    let _sandbox = Sandbox::enter();
    let (_root, store) = store();
    let image = TestImage::default()
        .layer(&[Entry::Dir("a", 0o755), Entry::File("a/old", b"x", 0o644)])
        .layer(&[
            Entry::Dir("a", 0o755),
            Entry::File("a/.wh..wh..opq", b"", 0o644),
            Entry::File("a/.wh.old", b"", 0o644),
            Entry::Dir("b", 0o755),
            Entry::File("b/.wh.none", b"", 0o644),
        ]);
    let (_server, image) = pulled(image, &store);
    let prepared = store.snapshots().prepare(&image.chain_ids, "c1", &Owners::default()).unwrap();
    let target = scratch_dir();
    mount(&prepared, target.path(), None).unwrap();
    for directory in ["a", "b"] {
        assert_eq!(fs::read_dir(target.path().join(directory)).unwrap().count(), 0, "{directory}");
    }
    unmount(target.path()).unwrap();
}

#[test]
fn other_users_cannot_reach_the_layers() {
    let _sandbox = Sandbox::enter();
    let (root, store) = store();
    let (_server, image) = pulled(TestImage::two_layers(), &store);
    store.snapshots().prepare(&image.chain_ids, "c1", &Owners::default()).unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&root.path().join("images")), 0o700);
    assert_eq!(mode(&root.path().join("snapshots")), 0o700);
    assert_eq!(mode(&root.path().join("snapshots/active/c1")), 0o700);
    assert_eq!(mode(store.snapshots().files(&image.chain_ids[0]).parent().unwrap()), 0o700);
}

#[test]
fn skopeo_and_umoci_read_the_store() {
    let _sandbox = Sandbox::enter();
    let (_root, store) = store();
    let (server, image) = pulled(TestImage::two_layers(), &store);
    let name = server.reference().canonical();
    let layout = format!("oci:{}:{name}", store.layout().path().display());
    let seen = Capture::of("skopeo").args(["inspect", &layout]).run().ok().json();
    assert_eq!(seen["Digest"], image.manifest_digest.as_str());
    let copy = scratch_dir();
    let target = format!("dir:{}", copy.path().display());
    let skopeo = Capture::of("skopeo").args(["copy", "--quiet", "--insecure-policy"]);
    skopeo.args([&layout, &target]).run().ok();
    let list =
        Capture::of("umoci").args(["ls", "--layout"]).args([store.layout().path()]).run().ok();
    assert_eq!(list.text(), name);
}

#[test]
fn an_image_is_found_by_name_id_prefix_and_digest() {
    let _sandbox = Sandbox::enter();
    let (_root, store) = store();
    let (server, image) = pulled(TestImage::two_layers(), &store);
    let repository = format!("{}/app", server.address());
    for text in [
        server.reference().to_string(),
        repository.clone(),
        format!("{repository}@{}", image.manifest_digest),
        image.id.to_string(),
        image.id.hex().to_owned(),
        image.id.short().to_owned(),
        image.id.as_str()[..19].to_owned(),
        image.manifest_digest.to_string(),
    ] {
        let found = store.find(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(found.id, image.id, "{text}");
    }
    for text in ["nope", "", "sha256:", &format!("{repository}:other")] {
        let error = store.find(text).unwrap_err().to_string();
        assert!(error.starts_with("No such image: "), "{error}");
    }
}

#[test]
fn an_image_goes_with_its_last_name_and_layers_in_use_stay() {
    let _sandbox = Sandbox::enter();
    let (root, store) = store();
    let (server, image) = pulled(TestImage::two_layers(), &store);
    let nobody = |_: &Image, _: Option<&[Reference]>| Ok::<_, Error>(Vec::new());
    let alias = "alias:1".parse().unwrap();
    store.tag(&image, &alias).unwrap();
    assert_eq!(store.find("alias:1").unwrap().names, [server.reference(), alias.clone()]);
    let error = store.remove(image.id.short(), false, nobody).unwrap_err().to_string();
    assert!(error.contains("(must be forced)"), "{error}");

    assert_eq!(store.remove("alias:1", false, nobody).unwrap(), [Removed::Untagged(alias)]);
    store.snapshots().prepare(&image.chain_ids, "c1", &Owners::default()).unwrap();
    let name = server.reference();
    let removed = store.remove(&name.to_string(), false, nobody).unwrap();
    assert_eq!(removed, [Removed::Untagged(name), Removed::Deleted(image.id)]);
    assert!(store.list().unwrap().is_empty());
    assert!(files(&root.path().join("images/blobs/sha256")).is_empty());
    assert!(image.chain_ids.iter().all(|chain| store.snapshots().contains(chain)));
}

#[test]
fn who_uses_an_image_is_asked_while_nobody_can_change_the_store() {
    let _sandbox = Sandbox::enter();
    let (root, store) = store();
    let (server, image) = pulled(TestImage::two_layers(), &store);
    let is_locked = || {
        let lock = fs::File::open(root.path().join("images.lock")).unwrap();
        matches!(lock.try_lock_shared(), Err(fs::TryLockError::WouldBlock))
    };
    let user = |_: &Image, _: Option<&[Reference]>| {
        assert!(is_locked());
        Ok::<_, Error>(vec![User { container: "c0ffee".to_owned(), running: false }])
    };
    let error = store.remove(&server.reference().to_string(), false, user).unwrap_err();
    assert!(error.to_string().contains("container c0ffee is using"), "{error}");
    let all = store.prune(
        |images| {
            assert!(is_locked());
            Ok::<_, Error>(images)
        },
        true,
    );
    let (gone, freed) = all.unwrap();
    assert_eq!((gone.images.len(), &gone.images[0].id), (1, &image.id));
    assert!(freed > 0 && store.list().unwrap().is_empty());
}

#[test]
fn a_digest_takes_away_no_name_but_its_own() {
    let _sandbox = Sandbox::enter();
    let (_root, store) = store();
    let (server, image) = pulled(TestImage::two_layers(), &store);
    let nobody = |_: &Image, _: Option<&[Reference]>| Ok::<_, Error>(Vec::new());
    let other: Reference = "other:1".parse().unwrap();
    store.tag(&image, &other).unwrap();
    let repository = server.reference().canonical_name();
    let pinned: Reference = format!("{repository}@{}", image.manifest_digest).parse().unwrap();
    for force in [false, true] {
        let removed = store.remove(&pinned.to_string(), force, nobody).unwrap();
        assert_eq!(removed, [Removed::Untagged(pinned.clone())]);
        assert_eq!(store.find("other:1").unwrap().names, [server.reference(), other.clone()]);
    }

    // Pulled by its digest, too, it goes with the last tag of that repository.
    store.tag(&image, &pinned).unwrap();
    store.remove("other:1", false, nobody).unwrap();
    let name = server.reference();
    let removed = store.remove(&name.to_string(), false, nobody).unwrap();
    let expected = [Removed::Untagged(name), Removed::Untagged(pinned), Removed::Deleted(image.id)];
    assert_eq!(removed, expected);
    assert!(store.list().unwrap().is_empty());
}

#[test]
fn layers_that_were_lost_are_unpacked_again_from_their_blobs() {
    let _sandbox = Sandbox::enter();
    let (_root, store) = store();
    let (server, image) = pulled(TestImage::two_layers(), &store);
    let lost = store.snapshots().files(&image.chain_ids[1]);
    fs::remove_dir_all(lost.parent().unwrap()).unwrap();
    let asked = server.requests().len();
    pull(&server.reference(), &PullOptions::default(), &store, &NoProgress).unwrap();
    assert!(lost.join("data/new").exists());
    assert_eq!(server.requests().len(), asked);
    assert_eq!(store.list().unwrap().len(), 1);
}

#[test]
fn what_is_left_of_a_layer_whose_record_is_gone_or_empty_is_replaced() {
    let _sandbox = Sandbox::enter();
    for left in [None, Some("")] {
        let (root, store) = store();
        let (server, image) = pulled(TestImage::two_layers(), &store);
        let files_of = store.snapshots().files(&image.chain_ids[1]);
        let record = files_of.with_file_name("layer.json");
        match left {
            None => fs::remove_file(record).unwrap(),
            Some(text) => fs::write(record, text).unwrap(),
        }
        fs::remove_dir_all(files_of.join("data")).unwrap();
        pull(&server.reference(), &PullOptions::default(), &store, &NoProgress).unwrap();
        assert!(files_of.join("data/new").exists(), "{left:?}");
        assert!(files(&root.path().join("staging")).is_empty(), "{left:?}");
    }
}

#[test]
fn a_layer_that_is_removed_by_halves_does_not_count_as_unpacked() {
    let _sandbox = Sandbox::enter();
    let (root, store) = store();
    // Where the newest file of a directory is the first that is found in it.
    Capture::of("mount").args(["-t", "tmpfs", "none"]).args([root.path()]).run().ok();
    let store = Store::open(store.layout().path().parent().unwrap()).unwrap();
    let (server, image) = pulled(TestImage::two_layers(), &store);
    let files_of = store.snapshots().files(&image.chain_ids[1]);
    let aside = root.path().join("aside");
    fs::rename(&files_of, &aside).unwrap();
    fs::rename(&aside, &files_of).unwrap();
    let stuck = files_of.join("stuck");
    fs::create_dir(&stuck).unwrap();
    Capture::of("mount").args(["-t", "tmpfs", "none"]).args([&stuck]).run().ok();
    let nobody = |_: &Image, _: Option<&[Reference]>| Ok::<_, Error>(Vec::new());
    store.remove(&server.reference().to_string(), true, nobody).unwrap_err();
    assert!(files_of.exists());
    assert!(!store.snapshots().contains(&image.chain_ids[1]));
    Capture::of("umount").args([&stuck]).run().ok();

    pull(&server.reference(), &PullOptions::default(), &store, &NoProgress).unwrap();
    assert!(files_of.join("data/new").exists());
    assert!(!stuck.exists());
    Capture::of("umount").args(["-l"]).args([root.path()]).run().ok();
}

#[test]
fn two_pulls_of_one_image_at_once_both_succeed() {
    let _sandbox = Sandbox::enter();
    let (root, store) = store();
    let server = Server::with_image(TestImage::two_layers(), |_, answer| answer);
    let options = PullOptions { policy: Policy::Always, ..PullOptions::default() };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| pull(&server.reference(), &options, &store, &NoProgress).unwrap());
        }
    });
    assert_eq!(store.list().unwrap().len(), 1);
    assert!(files(&root.path().join("staging")).is_empty());
}
