//! Layers: an archive is unpacked or refused, and nothing beside the root changes.
#![no_main]

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use bundle::layer::{Accepted, Limits, Options, Whiteouts, unpack};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [first, archive @ ..] = data else { return };
    let world = tempfile::tempdir().expect("a directory");
    let (root, beside) = (world.path().join("root"), world.path().join("beside"));
    fs::create_dir(&root).expect("a root");
    fs::create_dir(&beside).expect("its neighbour");
    fs::write(beside.join("file"), "as it was").expect("a file");
    let before = picture(&beside);
    let options = Options {
        whiteouts: [Whiteouts::Overlay, Whiteouts::OverlayUser, Whiteouts::Apply, Whiteouts::None]
            [usize::from(*first) % 4],
        owners: false,
        devices: false,
        accepted: if *first & 4 == 0 { Accepted::Layers } else { Accepted::Archives },
        limits: Limits { bytes: 1 << 20, entries: 64, depth: 16, ..Limits::default() },
        ..Options::default()
    };
    let opened = File::open(&root).expect("the root");
    match unpack(archive, opened.as_fd(), &options) {
        Ok(stats) => drop(format!("{stats:?}")),
        Err(error) => drop((error.to_string(), error.hint())),
    }
    assert_eq!(picture(&beside), before, "the neighbour");
    let names: Vec<_> = fs::read_dir(world.path()).expect("the world").flatten().collect();
    assert_eq!(names.len(), 2, "{names:?}");
    make_removable(&root);
});

/// What a directory and its file look like.
fn picture(directory: &Path) -> (String, Vec<(u32, u32, u64, i64)>) {
    let file = directory.join("file");
    let look = |path: &Path| {
        let stat = fs::symlink_metadata(path).expect("it is there");
        (stat.mode(), stat.uid(), stat.nlink(), stat.mtime())
    };
    (fs::read_to_string(&file).expect("the file"), vec![look(&file), look(directory)])
}

/// Directories without permissions keep an ordinary user from removing what is below them.
fn make_removable(directory: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let _ = fs::set_permissions(directory, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            make_removable(&entry.path());
        }
    }
}
