//! Loading what `docker save` and skopeo write.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use nconform::fixture::{Capture, Sandbox, scratch_dir};
use nman::load::{load, load_file};
use nman::registry::Platform;
use nman::snapshot::{mount, unmount};

use crate::images::{Entry, TestImage, files, store};

/// Has skopeo write the image as `kind:FILE:NAME`.
fn archive(image: &TestImage, directory: &Path, kind: &str, name: &str) -> PathBuf {
    let (_layout, source) = image.layout();
    let file = directory.join("image.tar");
    let target = format!("{kind}:{}:{name}", file.display());
    let skopeo = Capture::of("skopeo").args(["copy", "--quiet", "--insecure-policy"]);
    skopeo.args([&source, &target]).run().ok();
    file
}

fn platform() -> Platform {
    "linux/amd64".parse().unwrap()
}

#[test]
fn docker_and_oci_archives_load_with_their_names_and_layers() {
    let _sandbox = Sandbox::enter();
    for kind in ["docker-archive", "oci-archive"] {
        let directory = scratch_dir();
        let file = archive(&TestImage::two_layers(), directory.path(), kind, "example.org/app:1");
        let (root, store) = store();
        let images = load_file(&file, &platform(), &store).unwrap();
        assert_eq!(images.len(), 1, "{kind}");
        assert_eq!(images[0].names, ["example.org/app:1".parse().unwrap()], "{kind}");
        assert_eq!(store.find("example.org/app:1").unwrap().id, images[0].id, "{kind}");
        assert!(files(&root.path().join("staging")).is_empty(), "{kind}");

        let prepared = store.snapshots().prepare(&images[0].chain_ids, "c1").unwrap();
        let target = scratch_dir();
        mount(&prepared, target.path()).unwrap();
        assert_eq!(fs::read_to_string(target.path().join("etc/name")).unwrap(), "upper\n");
        assert!(!target.path().join("etc/gone").exists());
        unmount(target.path()).unwrap();

        let again = load_file(&file, &platform(), &store).unwrap();
        assert_eq!(again[0].id, images[0].id, "{kind}");
        assert_eq!(store.list().unwrap().len(), 1, "{kind}");
    }
}

#[test]
fn a_compressed_archive_loads_through_a_pipe() {
    let _sandbox = Sandbox::enter();
    let directory = scratch_dir();
    let file = archive(&TestImage::two_layers(), directory.path(), "docker-archive", "app:1");
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&fs::read(file).unwrap()).unwrap();
    let bytes = gzip.finish().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let (_root, store) = store();
    let images = std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut writer = writer;
            writer.write_all(&bytes).unwrap();
        });
        load(reader, "-", &platform(), &store).unwrap()
    });
    assert_eq!(images[0].names, ["app:1".parse().unwrap()]);
}

#[test]
fn a_mere_tag_is_no_name() {
    let _sandbox = Sandbox::enter();
    let directory = scratch_dir();
    let file = archive(&TestImage::two_layers(), directory.path(), "oci-archive", "latest");
    let (_root, store) = store();
    let images = load_file(&file, &platform(), &store).unwrap();
    assert!(images[0].names.is_empty());
    assert_eq!(store.find(images[0].id.short()).unwrap().id, images[0].id);
}

#[test]
fn what_is_not_an_image_archive_is_refused_in_one_line() {
    let _sandbox = Sandbox::enter();
    let directory = scratch_dir();
    let good = archive(&TestImage::two_layers(), directory.path(), "docker-archive", "app:1");
    let good = fs::read(good).unwrap();
    let mut altered = TestImage::two_layers();
    altered.diff_ids[0] = bundle::digest::Digest::of(b"another");
    let (layout, _) = altered.layout();
    let wrong_diff_id = directory.path().join("wrong.tar");
    let mut tar = tar::Builder::new(File::create(&wrong_diff_id).unwrap());
    tar.append_dir_all(".", layout.path()).unwrap();
    tar.finish().unwrap();
    let rootfs = TestImage::default().layer(&[Entry::File("etc/name", b"x", 0o644)]);

    let cases: [(&str, Vec<u8>); 5] = [
        ("empty", Vec::new()),
        ("text", b"not an archive\n".repeat(100)),
        ("rootfs", rootfs.layers[0].clone()),
        ("truncated", good[..good.len() / 2].to_vec()),
        ("wrong diff id", fs::read(&wrong_diff_id).unwrap()),
    ];
    for (case, bytes) in cases {
        let (root, store) = store();
        let error = load(&*bytes, case, &platform(), &store).unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot load `{case}`: ")), "{error}");
        assert!(!error.contains('\n'), "{error}");
        assert!(store.list().unwrap().is_empty(), "{case}");
        assert!(files(&root.path().join("staging")).is_empty(), "{case}");
        assert!(files(&root.path().join("images/blobs/sha256")).is_empty(), "{case}");
    }
    let (_root, store) = store();
    let error = load_file(Path::new("/nonexistent.tar"), &platform(), &store).unwrap_err();
    let expected = "cannot load `/nonexistent.tar`: no such file or directory";
    assert_eq!(error.to_string(), expected);
}
