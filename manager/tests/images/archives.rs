//! Loading what `docker save` and skopeo write.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use bundle::digest::Digest;
use flate2::Compression;
use flate2::write::GzEncoder;
use nconform::fixture::{Capture, Registry, Sandbox, scratch_dir};
use nman::load::{load, load_file};
use nman::snapshot::{Owners, mount, unmount};

use serde_json::{Value, json};

use crate::images::{Entry, TestImage, files, store};
use crate::program::Nman;

/// Has skopeo write the image as `kind:FILE:NAME`.
fn archive(image: &TestImage, directory: &Path, kind: &str, name: &str) -> PathBuf {
    let (_layout, source) = image.layout();
    let file = directory.join("image.tar");
    let target = format!("{kind}:{}:{name}", file.display());
    let skopeo = Capture::of("skopeo").args(["copy", "--quiet", "--insecure-policy"]);
    skopeo.args([&source, &target]).run().ok();
    file
}

#[test]
fn docker_and_oci_archives_load_with_their_names_and_layers() {
    let _sandbox = Sandbox::enter();
    for kind in ["docker-archive", "oci-archive"] {
        let directory = scratch_dir();
        let file = archive(&TestImage::two_layers(), directory.path(), kind, "example.org/app:1");
        let (root, store) = store();
        let images = load_file(&file, None, &store).unwrap();
        assert_eq!(images.len(), 1, "{kind}");
        assert_eq!(images[0].names, ["example.org/app:1".parse().unwrap()], "{kind}");
        assert_eq!(store.find("example.org/app:1").unwrap().id, images[0].id, "{kind}");
        assert!(files(&root.path().join("staging")).is_empty(), "{kind}");

        let prepared =
            store.snapshots().prepare(&images[0].chain_ids, "c1", &Owners::default()).unwrap();
        let target = scratch_dir();
        mount(&prepared, target.path(), None).unwrap();
        assert_eq!(fs::read_to_string(target.path().join("etc/name")).unwrap(), "upper\n");
        assert!(!target.path().join("etc/gone").exists());
        unmount(target.path()).unwrap();

        let again = load_file(&file, None, &store).unwrap();
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
        load(reader, "-", None, &store).unwrap()
    });
    assert_eq!(images[0].names, ["app:1".parse().unwrap()]);
}

#[test]
fn a_mere_tag_is_no_name() {
    let _sandbox = Sandbox::enter();
    let directory = scratch_dir();
    let file = archive(&TestImage::two_layers(), directory.path(), "oci-archive", "latest");
    let (_root, store) = store();
    let images = load_file(&file, None, &store).unwrap();
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
        let error = load(&*bytes, case, None, &store).unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot load `{case}`: ")), "{error}");
        assert!(!error.contains('\n'), "{error}");
        assert!(store.list().unwrap().is_empty(), "{case}");
        assert!(files(&root.path().join("staging")).is_empty(), "{case}");
        assert!(files(&root.path().join("images/blobs/sha256")).is_empty(), "{case}");
    }
    let (_root, store) = store();
    let error = load_file(Path::new("/nonexistent.tar"), None, &store).unwrap_err();
    let expected = "cannot load `/nonexistent.tar`: no such file or directory";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn an_archive_that_takes_a_pinned_name_for_other_content_is_refused() {
    let _sandbox = Sandbox::enter();
    let directory = scratch_dir();
    let pinned = format!("app@{}", Digest::of(b"what people trust"));
    let file = archive_for_several_called(directory.path(), &["amd64"], &pinned);
    let (_root, store) = store();
    let error = load_file(&file, None, &store).unwrap_err().to_string();
    assert!(error.contains(&format!("it calls an image `{pinned}`: the digest of")), "{error}");
    assert!(store.list().unwrap().is_empty());
    assert!(store.find(&pinned).is_err());
}

/// An archive of an image for each of these platforms under one name.
fn archive_for_several(directory: &Path, architectures: &[&str]) -> PathBuf {
    archive_for_several_called(directory, architectures, "docker.io/library/app:1")
}

fn archive_for_several_called(directory: &Path, architectures: &[&str], name: &str) -> PathBuf {
    let layout = directory.join("several");
    let blobs = layout.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let put = |media_type: &str, content: &[u8]| {
        fs::write(blobs.join(Digest::of(content).hex()), content).unwrap();
        json!({"mediaType": media_type, "digest": Digest::of(content).as_str(), "size": content.len()})
    };
    let image = TestImage::two_layers();
    for layer in &image.layers {
        put("application/octet-stream", layer);
    }
    let manifests: Vec<Value> = architectures
        .iter()
        .map(|architecture| {
            let mut config: Value = serde_json::from_slice(&image.config()).unwrap();
            config["architecture"] = (*architecture).into();
            let config = config.to_string();
            let mut manifest = image.manifest();
            manifest["config"] = put("application/vnd.oci.image.config.v1+json", config.as_bytes());
            let manifest = manifest.to_string();
            let mut entry = put("application/vnd.oci.image.manifest.v1+json", manifest.as_bytes());
            entry["platform"] = json!({"os": "linux", "architecture": architecture});
            entry
        })
        .collect();
    let media_type = "application/vnd.oci.image.index.v1+json";
    let index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests});
    let mut entry = put(media_type, index.to_string().as_bytes());
    entry["annotations"] = json!({
        "org.opencontainers.image.ref.name": "1", "io.containerd.image.name": name,
    });
    let top = json!({"schemaVersion": 2, "manifests": [entry]});
    fs::write(layout.join("index.json"), top.to_string()).unwrap();
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
    let file = directory.join("several.tar");
    let mut tar = tar::Builder::new(File::create(&file).unwrap());
    tar.append_dir_all(".", &layout).unwrap();
    tar.finish().unwrap();
    file
}

#[test]
fn load_and_save_take_the_platform_that_was_asked_for() {
    let _sandbox = Sandbox::enter();
    let nman = Nman::new();
    let directory = scratch_dir();
    let file = archive_for_several(directory.path(), &["amd64", "arm64"]).display().to_string();
    let load = |platform: &str| nman.run(&["load", "-i", &file, "--platform", platform]);
    let architecture =
        || nman.run(&["image", "inspect", "-f", "{{.Architecture}}", "app:1"]).text();

    let refused = load("linux/s390x").exits(1).stderr();
    assert!(refused.contains("no image for linux/s390x in it; it has linux/amd64"), "{refused}");
    assert_eq!(load("linux/arm64").ok().stdout(), "Loaded image: app:1\n");
    assert_eq!(architecture(), "arm64");

    let saved = directory.path().join("saved.tar").display().to_string();
    let save = |platform: &str| nman.run(&["save", "-o", &saved, "--platform", platform, "app:1"]);
    let refused = save("linux/amd64").exits(1).stderr();
    let said = "nman: no suitable export target found for platform linux/amd64\n\nhint: `app:1` is here for linux/arm64; ";
    assert!(refused.starts_with(said), "{refused}");
    assert!(!Path::new(&saved).exists());
    save("linux/arm64").ok();

    // An archive of one image is held to it, too; an empty value is none.
    nman.run(&["rmi", "app:1"]).ok();
    let load = |platform: &str| nman.run(&["load", "-i", &saved, "--platform", platform]);
    let refused = load("linux/amd64").exits(1).stderr();
    assert!(refused.contains("no image for linux/amd64 in it; it has linux/arm64"), "{refused}");
    assert_eq!(nman.run(&["images", "-q"]).ok().stdout(), "");
    load("linux/arm64").ok();
    nman.run(&["rmi", "app:1"]).ok();
    load("").ok();
    assert_eq!(architecture(), "arm64");
    let refused = load("what").exits(1).stderr();
    assert!(refused.contains("invalid platform `what`"), "{refused}");
}

#[test]
fn manifest_inspect_shows_what_a_registry_has_and_pulls_nothing() {
    let _sandbox = Sandbox::enter();
    let registry = Registry::start();
    let directory = scratch_dir();
    archive_for_several(directory.path(), &["amd64", "arm64"]);
    let name = format!("{}/team/app:1", registry.address());
    let source = format!("oci:{}:1", directory.path().join("several").display());
    let skopeo = Capture::of("skopeo").args(["copy", "--all", "--quiet", "--insecure-policy"]);
    let target = format!("docker://{name}");
    skopeo.args(["--dest-tls-verify=false", &source, &target]).run().ok();

    let nman = Nman::new();
    let inspect = |words: &[&str]| nman.run(&[&["manifest", "inspect"], words].concat());
    let index = inspect(&[&name]).ok().json();
    let platforms: Vec<&Value> = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| &entry["platform"]["architecture"])
        .collect();
    assert_eq!(platforms, ["amd64", "arm64"]);
    let each = inspect(&["-v", &name]).ok().json();
    for (at, architecture) in ["amd64", "arm64"].into_iter().enumerate() {
        let digest = index["manifests"][at]["digest"].as_str().unwrap();
        let reference = format!("{}@{digest}", name.strip_suffix(":1").unwrap());
        assert_eq!(each[at]["Ref"], *reference);
        assert_eq!(each[at]["Descriptor"]["platform"]["architecture"], architecture);
        let single = inspect(&[&reference]).ok().json();
        assert_eq!(each[at]["OCIManifest"], single);
        let single = inspect(&["--verbose", &reference]).ok().json();
        assert_eq!(single["Descriptor"]["digest"], digest);
        assert_eq!(single["Descriptor"]["platform"]["architecture"], architecture);
    }
    let none = format!("{}/team/none:1", registry.address());
    let refused = inspect(&[&none]).exits(1).stderr();
    assert!(
        refused.starts_with(&format!("nman: cannot inspect `{none}`: not found: ")),
        "{refused}"
    );
    assert_eq!(nman.run(&["images", "-q"]).ok().stdout(), "");
}

/// Bytes that gzip makes no smaller.
fn noise(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed;
    let next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(count).collect()
}

#[test]
fn an_image_that_is_removed_while_it_is_saved_is_told_to_be() {
    let _sandbox = Sandbox::enter();
    let (nman, directory) = (Nman::new(), scratch_dir());
    // While the first of them is on its way, the other is not open yet.
    let [one, two] = [1, 2].map(|seed| noise(seed, 2 << 20));
    let image = TestImage::default().layer(&[Entry::File("one", &one, 0o644)]);
    let image = image.layer(&[Entry::File("two", &two, 0o644)]);
    let file = archive(&image, directory.path(), "docker-archive", "app:1");
    nman.run(&["load", "-q", "-i", file.to_str().unwrap()]).ok();

    let fifo = directory.path().join("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    let saving = nman.command().args(["save", "app:1", "-o"]).args([&fifo]);
    let refused = std::thread::scope(|scope| {
        let saving = scope.spawn(|| saving.run().exits(1).stderr());
        let mut archive = File::open(&fifo).unwrap();
        let mut beginning = [0; 4096];
        archive.read_exact(&mut beginning).unwrap();
        nman.run(&["rmi", "app:1"]).ok();
        std::io::copy(&mut archive, &mut std::io::sink()).unwrap();
        saving.join().unwrap()
    });
    let line =
        "nman: image `app:1` was removed while it was saved\n\nhint: the archive is not complete";
    assert!(refused.starts_with(line), "{refused}");
}
