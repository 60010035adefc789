//! Archives that xz and bzip2 have compressed: `load`, `import` and `cp -` read them, told by their first bytes.

use super::world::{IMAGE, World};
use nconform::fixture::Capture;
use std::fs;
use std::path::{Path, PathBuf};

/// The file as each of the two programs compresses it.
fn compressed(file: &Path) -> [PathBuf; 2] {
    ["xz", "bzip2"].map(|program| {
        let packed = Capture::of("sh").args(["-c", r#"exec "$1" -c <"$2" >"$2.$1.tar""#, "sh"]);
        packed.args([program]).args([file]).run().ok();
        PathBuf::from(format!("{}.{program}.tar", file.display()))
    })
}

#[test]
fn images_are_loaded_and_imported_from_archives_of_xz_and_bzip2() {
    let world = World::new();
    let root = world.path("root.tar");
    world.nman(["create", "--name", "source", IMAGE, "true"]).ok();
    world.nman(["export", "-o", root.to_str().unwrap(), "source"]).ok();
    world.nman(["rm", "source"]).ok();
    let [xz, bzip2] = compressed(&world.path("image.tar"));
    for archive in [&xz, &bzip2] {
        world.nman(["rmi", IMAGE]).ok();
        let said = world.command(["load"]).stdin(fs::read(archive).unwrap()).run().ok().stdout();
        assert_eq!(said, "Loaded image: test/busybox:latest\n");
    }
    let said = world.nman(["load", "-i", xz.to_str().unwrap()]).ok().stdout();
    assert_eq!(said, "Loaded image: test/busybox:latest\n");

    let by_file = |archive: &Path| world.nman(["import", archive.to_str().unwrap(), "flat"]).ok();
    let layer = |name: &str| world.inspect(name, "/RootFS/Layers/0");
    by_file(&root);
    let plain = layer("flat");
    for archive in compressed(&root) {
        by_file(&archive);
        assert_eq!(layer("flat"), plain, "{}", archive.display());
        let stdin = fs::read(&archive).unwrap();
        world.command(["import", "-", "piped"]).stdin(stdin).run().ok();
        assert_eq!(layer("piped"), plain, "{}", archive.display());
        let ran = ["run", "--rm", "--network", "none", "piped", "busybox", "echo", "ran"];
        assert_eq!(world.nman(ran).ok().stdout(), "ran\n");
    }
    // The layer is one that every registry and every other tool takes.
    let saved = world.path("saved.tar");
    world.nman(["save", "--format", "oci", "-o", saved.to_str().unwrap(), "piped"]).ok();
    let manifest = Capture::of("skopeo").args(["inspect", "--raw"]);
    let manifest = manifest.args([format!("oci-archive:{}", saved.display())]).run().ok().json();
    assert_eq!(manifest["layers"][0]["mediaType"], "application/vnd.oci.image.layer.v1.tar+gzip");
    world.assert_no_container();
}

#[test]
fn cp_reads_archives_of_xz_and_bzip2_from_stdin() {
    let world = World::new();
    world.nman(["create", "--name", "still", IMAGE, "true"]).ok();
    let here = world.path("here");
    fs::create_dir(&here).unwrap();
    let plain = world.path("plain.tar");
    for (at, content) in ["by xz", "by bzip2"].into_iter().enumerate() {
        fs::write(here.join("file"), content).unwrap();
        let tar = Capture::of("tar").args([Path::new("-cf"), &plain, Path::new("-C"), &here]);
        tar.args(["file"]).run().ok();
        let stdin = fs::read(&compressed(&plain)[at]).unwrap();
        world.command(["cp", "-", "still:/tmp"]).stdin(stdin).run().ok();
        let back = world.path("back");
        world.nman(["cp", "still:/tmp/file", back.to_str().unwrap()]).ok();
        assert_eq!(fs::read_to_string(back).unwrap(), content);
    }
    // What is cut is no archive, and lz4 nobody undoes here.
    let cut = &fs::read(&compressed(&plain)[0]).unwrap()[..60];
    let error = world.command(["cp", "-", "still:/tmp"]).stdin(cut).run().exits(1).stderr();
    assert!(error.starts_with("nman: cannot copy `-`: cannot read the layer: "), "{error}");
    let lz4 = b"\x04\x22\x4d\x18\x60\x40";
    let error = world.command(["cp", "-", "still:/tmp"]).stdin(*lz4).run().exits(1).stderr();
    assert!(error.contains("it is compressed by lz4"), "{error}");
    let error = world.command(["import", "-"]).stdin(*lz4).run().exits(1).stderr();
    assert!(error.contains("cannot import `-`: it is compressed by lz4"), "{error}");
    world.nman(["rm", "still"]).ok();
    world.assert_no_container();
}
