//! Small images made in memory, and the OCI layout that skopeo copies them from.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use bundle::digest::Digest;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use nconform::fixture::{scratch_dir, untried};
use nman::store::Store;
use serde_json::{Value, json};
use tempfile::TempDir;

/// An image under construction: its blobs, by digest.
#[derive(Clone, Debug, Default)]
pub(crate) struct TestImage {
    /// Blobs of the layers as they are sent, lowest first.
    pub(crate) layers: Vec<Vec<u8>>,
    pub(crate) diff_ids: Vec<Digest>,
}

/// One entry of a layer.
pub(crate) enum Entry<'a> {
    Dir(&'a str, u32),
    File(&'a str, &'a [u8], u32),
}

impl TestImage {
    /// Two layers: the upper replaces one file of the lower, whites out another, hides a directory.
    pub(crate) fn two_layers() -> Self {
        let lower = [
            Entry::Dir("etc", 0o755),
            Entry::File("etc/name", b"lower\n", 0o644),
            Entry::File("etc/gone", b"lower\n", 0o644),
            Entry::Dir("data", 0o755),
            Entry::File("data/old", b"lower\n", 0o644),
            Entry::Dir("shared", 0o1777),
            Entry::File("shared/kept", b"lower\n", 0o600),
        ];
        let upper = [
            Entry::File("etc/name", b"upper\n", 0o644),
            Entry::File("etc/.wh.gone", b"", 0o644),
            Entry::Dir("data", 0o755),
            Entry::File("data/.wh..wh..opq", b"", 0o644),
            Entry::File("data/new", b"upper\n", 0o644),
            // No entry for `shared`: it must keep the lower layer's mode.
            Entry::File("shared/added", b"upper\n", 0o644),
        ];
        Self::default().layer(&lower).layer(&upper)
    }

    /// Alpine's minirootfs where it is at hand, else the machine's busybox; and the name it deserves.
    pub(crate) fn real() -> (&'static str, Self) {
        let directory = std::env::var_os("NRUN_TEST_IMAGES").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/images"),
            PathBuf::from,
        );
        let found = fs::read_dir(&directory).into_iter().flatten().flatten().map(|e| e.path());
        let is_alpine = |path: &PathBuf| path.to_string_lossy().contains("alpine-minirootfs");
        let Some(path) = found.into_iter().find(is_alpine) else {
            untried(
                "no alpine-minirootfs beside the project (`NRUN_TEST_IMAGES`): busybox instead",
            );
            let busybox = fs::read("/bin/busybox").unwrap();
            let entries = [Entry::Dir("bin", 0o755), Entry::File("bin/busybox", &busybox, 0o755)];
            return ("busybox-static", Self::default().layer(&entries));
        };
        let blob = fs::read(path).unwrap();
        let mut archive = Vec::new();
        MultiGzDecoder::new(&*blob).read_to_end(&mut archive).unwrap();
        ("alpine", Self { layers: vec![blob], diff_ids: vec![Digest::of(&archive)] })
    }

    /// Adds a gzipped layer.
    pub(crate) fn layer(mut self, entries: &[Entry<'_>]) -> Self {
        let archive = archive(entries);
        self.diff_ids.push(Digest::of(&archive));
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&archive).unwrap();
        self.layers.push(gzip.finish().unwrap());
        self
    }

    /// With layers of its own again, of five two different ones.
    pub(crate) fn with_twins(mut self) -> Self {
        for position in [0, 1, 0] {
            self.layers.push(self.layers[position].clone());
            self.diff_ids.push(self.diff_ids[position].clone());
        }
        self
    }

    pub(crate) fn config(&self) -> Vec<u8> {
        let diff_ids: Vec<_> = self.diff_ids.iter().map(Digest::as_str).collect();
        let config = json!({
            "created": "2024-01-02T03:04:05Z",
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": ["sh"], "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        config.to_string().into_bytes()
    }

    pub(crate) fn manifest(&self) -> Value {
        let layers: Vec<_> = self
            .layers
            .iter()
            .map(|layer| descriptor("application/vnd.oci.image.layer.v1.tar+gzip", layer))
            .collect();
        json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", &self.config()),
            "layers": layers,
        })
    }

    /// Writes an OCI layout in which the image is called `test`; the string is skopeo's name for it.
    pub(crate) fn layout(&self) -> (TempDir, String) {
        let directory = scratch_dir();
        let blobs = directory.path().join("blobs/sha256");
        fs::create_dir_all(&blobs).unwrap();
        let manifest = self.manifest().to_string().into_bytes();
        let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
        entry["annotations"] = json!({"org.opencontainers.image.ref.name": "test"});
        for blob in self.layers.iter().chain([&self.config(), &manifest]) {
            fs::write(blobs.join(Digest::of(blob).hex()), blob).unwrap();
        }
        let index = json!({"schemaVersion": 2, "manifests": [entry]});
        fs::write(directory.path().join("index.json"), index.to_string()).unwrap();
        let marker = r#"{"imageLayoutVersion":"1.0.0"}"#;
        fs::write(directory.path().join("oci-layout"), marker).unwrap();
        let name = format!("oci:{}:test", directory.path().display());
        (directory, name)
    }
}

pub(crate) fn descriptor(media_type: &str, blob: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": Digest::of(blob).as_str(), "size": blob.len()})
}

fn archive(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for entry in entries {
        let mut header = tar::Header::new_gnu();
        let (path, content, kind, mode) = match *entry {
            Entry::Dir(path, mode) => (path, &b""[..], tar::EntryType::Directory, mode),
            Entry::File(path, content, mode) => (path, content, tar::EntryType::Regular, mode),
        };
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        archive.append_data(&mut header, path, content).unwrap();
    }
    archive.into_inner().unwrap()
}

/// A store in a directory of its own, and the directory.
pub(crate) fn store() -> (TempDir, Store) {
    let root = scratch_dir();
    let store = Store::open(root.path()).unwrap();
    (root, store)
}

/// All files below a directory, relative to it, sorted.
pub(crate) fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.is_symlink() {
                pending.push(path.clone());
            }
            found.push(path.strip_prefix(root).unwrap().to_owned());
        }
    }
    found.sort();
    found
}
