//! The image of all operations, and that of pods, both of busybox: an archive that every engine loads without a registry.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::pods::PAUSE;
use super::trial::IMAGE;
use crate::fixture::{BundleDir, Capture};

/// Writes the archive, in the form of `docker save`, into `directory` and returns its path.
///
/// # Panics
/// When it cannot be written.
pub(super) fn write(directory: &Path) -> PathBuf {
    let bundle = BundleDir::new();
    plant_files(&bundle.rootfs());
    let parts = directory.join("image");
    fs::create_dir(&parts).expect("make a directory");
    let tar = |file: &Path, from: &Path, names: &[&str]| {
        let words = ["--numeric-owner", "--owner=0", "--group=0", "-C"];
        let archive = Capture::of("tar").args(["-cf"]).args([file]).args(words).args([from]);
        let _ = archive.args(names).run().ok();
    };
    tar(&parts.join("layer.tar"), &bundle.rootfs(), &["."]);
    let sum = Capture::of("sha256sum").args([parts.join("layer.tar")]).run().ok().stdout();
    let digest = sum.split(' ').next().expect("a sum");
    let config = |command: &[&str]| {
        json!({
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": command, "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]},
            "history": [{"created_by": "nconform"}]
        })
    };
    let image = |config: &str, name: &str| json!({"Config": config, "RepoTags": [name], "Layers": ["layer.tar"]});
    let manifest = json!([image("config.json", IMAGE), image("pause.json", PAUSE)]);
    let documents = [
        ("manifest.json", &manifest),
        ("config.json", &config(&["sh"])),
        ("pause.json", &config(&["sleep", "86400"])),
    ];
    for (name, value) in documents {
        fs::write(parts.join(name), value.to_string()).expect("write a part of an image");
    }
    let archive = directory.join("image.tar");
    tar(&archive, &parts, &["manifest.json", "config.json", "pause.json", "layer.tar"]);
    fs::remove_dir_all(parts).expect("remove the parts");
    archive
}

/// What errors are made of: a program that nobody may execute, and one of another kind of machine.
fn plant_files(rootfs: &Path) {
    fs::write(rootfs.join("bin/forbidden"), "#!/bin/sh\n").expect("write a file");
    let alien = rootfs.join("bin/alien");
    fs::write(&alien, "no program at all\n").expect("write a file");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(alien, mode).expect("make a file executable");
}
