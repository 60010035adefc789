//! Layers unpacked into real directories. As root; the canary outside of each root must stay as it was.

use std::{
    fs,
    io::Write as _,
    os::{
        fd::AsFd,
        unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use super::*;
use crate::tarball::{Entry, Kind, TarWriter, Timespec};

/// A root to unpack into, beside a canary that must not change.
struct Sandbox {
    dir: tempfile::TempDir,
}

impl Sandbox {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("root")).unwrap();
        fs::create_dir(dir.path().join("outside")).unwrap();
        fs::write(dir.path().join("outside/canary"), "alive").unwrap();
        Self { dir }
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    fn outside(&self) -> PathBuf {
        self.dir.path().join("outside")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    fn unpack_with(&self, layer: &Layer, options: &Options) -> Result<Stats, Error> {
        let root = fs::File::open(self.root()).unwrap();
        let result = unpack(&layer.bytes()[..], root.as_fd(), options);
        self.check_outside();
        result
    }

    fn unpack(&self, layer: &Layer) -> Result<Stats, Error> {
        self.unpack_with(layer, &Options::default())
    }

    fn apply(&self, layer: &Layer) -> Stats {
        let options = Options { whiteouts: Whiteouts::Apply, ..Options::default() };
        self.unpack_with(layer, &options).unwrap()
    }

    fn check_outside(&self) {
        let names: Vec<_> =
            fs::read_dir(self.outside()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["canary"], "something was written outside of the root");
        let canary = self.outside().join("canary");
        assert_eq!(fs::read_to_string(&canary).unwrap(), "alive");
        let meta = fs::metadata(&canary).unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.uid(), meta.nlink()), (0o644, 0, 1));
        let all: Vec<_> = fs::read_dir(self.dir.path()).unwrap().collect();
        assert_eq!(all.len(), 2);
    }

    fn names(&self, dir: &str) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.path(dir))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn is_whiteout(&self, name: &str) -> bool {
        let meta = fs::symlink_metadata(self.path(name)).unwrap();
        meta.file_type().is_char_device() && meta.rdev() == 0
    }

    fn is_opaque(&self, name: &str) -> bool {
        xattr(&self.path(name), "trusted.overlay.opaque").as_deref() == Some(b"y")
    }
}

fn xattr(path: &Path, key: &str) -> Option<Vec<u8>> {
    let mut value = Vec::with_capacity(256);
    rustix::fs::lgetxattr(path, key, rustix::buffer::spare_capacity(&mut value)).ok()?;
    Some(value)
}

/// An archive in the making.
#[derive(Default)]
struct Layer(Vec<(Entry, Vec<u8>)>);

impl Layer {
    fn with(mut self, name: &[u8], kind: Kind, change: impl FnOnce(&mut Entry)) -> Self {
        let mut entry = Entry {
            name: name.to_vec(),
            mode: if kind == Kind::Directory { 0o755 } else { 0o644 },
            kind,
            uid: 0,
            gid: 0,
            mtime: Timespec { tv_sec: 1_000_000_000, tv_nsec: 0 },
            size: 0,
            xattrs: Vec::new(),
            extents: None,
        };
        change(&mut entry);
        let data = vec![b'.'; usize::try_from(entry.size).unwrap()];
        self.0.push((entry, data));
        self
    }

    fn file(mut self, name: &str, content: &str) -> Self {
        self = self.with(name.as_bytes(), Kind::File, |e| e.size = content.len() as u64);
        self.0.last_mut().unwrap().1 = content.into();
        self
    }

    fn dir(self, name: &str) -> Self {
        self.with(name.as_bytes(), Kind::Directory, |_| {})
    }

    fn symlink(self, name: &str, target: &str) -> Self {
        self.with(name.as_bytes(), Kind::Symlink(target.into()), |_| {})
    }

    fn hard_link(self, name: &str, target: &str) -> Self {
        self.with(name.as_bytes(), Kind::HardLink(target.into()), |_| {})
    }

    fn bytes(&self) -> Vec<u8> {
        let mut writer = TarWriter::new(Vec::new());
        for (entry, data) in &self.0 {
            writer.append(entry, &data[..]).unwrap();
        }
        writer.finish().unwrap()
    }
}

fn layer() -> Layer {
    Layer::default()
}

mod damaged;
mod faithful;
mod hostile;
mod limits;
mod packing;
mod whiteouts;

#[test]
fn an_archive_is_known_by_the_header_that_it_begins_with() {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(1);
    builder.append_data(&mut header, "x", &b"y"[..]).unwrap();
    let plain = builder.into_inner().unwrap();
    let gzip = |content: &[u8]| {
        let mut encoder = Compression::Gzip.encoder(Vec::new()).unwrap();
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    };
    assert!(is_archive(&plain[..]) && is_archive(&gzip(&plain)[..]));
    // A compressed text, a text, nothing, the end of an archive, and a header that is damaged.
    let text = vec![b'a'; 2048];
    let damaged = [b"z", &plain[1..]].concat();
    for other in [gzip(&text), text, Vec::new(), vec![0; 1024], damaged] {
        assert!(!is_archive(&other[..]));
    }
}
