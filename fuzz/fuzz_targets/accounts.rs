//! /etc/passwd and /etc/group of an image: a number is that user, and no name that the image lacks is found.
#![no_main]

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::sync::LazyLock;

use bundle::image::User;
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

static ROOT: LazyLock<TempDir> = LazyLock::new(|| {
    let root = tempfile::tempdir().expect("a directory");
    fs::create_dir(root.path().join("etc")).expect("a directory");
    root
});

fuzz_target!(|data: (&str, &[u8], &[u8])| {
    let (text, passwd, group) = data;
    fs::write(ROOT.path().join("etc/passwd"), passwd).expect("a file");
    fs::write(ROOT.path().join("etc/group"), group).expect("a file");
    let root = File::open(ROOT.path()).expect("the root");
    match User::find(text, root.as_fd()) {
        Ok(user) => {
            let wanted = text.split(':').next().unwrap_or_default();
            if let Ok(id) = wanted.parse::<u32>() {
                assert_eq!(user.uid, id, "{text:?}");
            }
            assert!(user.uid != u32::MAX && user.gid != u32::MAX, "{text:?}: {user:?}");
        }
        Err(error) => drop(error.to_string()),
    }
});
