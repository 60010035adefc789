//! Layers made to fill a disk or the memory.

use std::io::{self, Read};

use super::*;

fn limited(change: impl FnOnce(&mut Limits)) -> Options {
    let mut options = Options::default();
    change(&mut options.limits);
    options
}

fn refusal(layer: &Layer, options: &Options) -> String {
    let error = Sandbox::new().unpack_with(layer, options).unwrap_err();
    assert!(matches!(error, Error::Limit { .. }), "{error}");
    assert!(error.hint().is_some());
    error.to_string()
}

/// A layer with one file of `size` zeros, never held in memory.
fn zeros(size: u64) -> impl Read + Send {
    let mut header = tar::Header::new_ustar();
    header.set_path("zeros").unwrap();
    header.set_size(size);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    let header = io::Cursor::new(header.as_bytes().to_vec());
    header.chain(io::repeat(0).take(size + 1024))
}

#[test]
fn a_gigabyte_of_zeros_is_stopped_by_its_ratio() {
    let mut encoder = Compression::Gzip.encoder(Vec::new()).unwrap();
    io::copy(&mut zeros(1 << 30), &mut encoder).unwrap();
    let bomb = encoder.finish().unwrap();
    let sandbox = Sandbox::new();
    let root = fs::File::open(sandbox.root()).unwrap();
    let error = unpack(&bomb[..], root.as_fd(), &Options::default()).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("at entry `zeros`") && text.contains("400 times"), "{text}");
    assert!(fs::metadata(sandbox.path("zeros")).unwrap().len() <= (256 << 20) + (1 << 20));
    sandbox.check_outside();
}

#[test]
fn zeros_of_our_own_are_no_bomb() {
    let mut encoder = Compression::Gzip.encoder(Vec::new()).unwrap();
    io::copy(&mut zeros(300 << 20), &mut encoder).unwrap();
    let layer = encoder.finish().unwrap();
    let sandbox = Sandbox::new();
    let root = fs::File::open(sandbox.root()).unwrap();
    let options = limited(|limits| *limits = Limits::of_own());
    unpack(&layer[..], root.as_fd(), &options).unwrap();
    assert_eq!(fs::metadata(sandbox.path("zeros")).unwrap().len(), 300 << 20);
}

#[test]
fn a_large_honest_layer_is_not_taken_for_a_bomb() {
    let options = limited(|l| (l.ratio_from, l.ratio) = (1 << 20, 10));
    let sandbox = Sandbox::new();
    let root = fs::File::open(sandbox.root()).unwrap();
    // Plain: one byte in, one byte out.
    unpack(zeros(4 << 20), root.as_fd(), &options).unwrap();
}

#[test]
fn an_endless_stream_ends_at_the_limit_of_bytes() {
    let sandbox = Sandbox::new();
    let root = fs::File::open(sandbox.root()).unwrap();
    let options = limited(|l| l.bytes = 4 << 20);
    let endless = io::Cursor::new(layer().file("f", "x").bytes()).chain(io::repeat(0));
    let error = unpack(endless, root.as_fd(), &options).unwrap_err();
    assert!(matches!(error, Error::Limit { .. }), "{error}");
}

#[test]
fn a_file_that_claims_more_than_the_limit_is_refused_before_it_is_made() {
    let options = limited(|l| l.bytes = 1 << 20);
    let text = refusal(&layer().with(b"big", Kind::File, |e| e.size = (1 << 20) + 1), &options);
    assert!(text.contains("`big`"), "{text}");
}

#[test]
fn a_sparse_file_counts_in_full() {
    let dir = tempfile::tempdir().unwrap();
    fs::File::create(dir.path().join("hole")).unwrap().set_len(1 << 40).unwrap();
    let tar = std::process::Command::new("tar")
        .args(["--format=posix", "-S", "-cf", "-", "hole"])
        .current_dir(dir.path())
        .output()
        .unwrap();
    let sandbox = Sandbox::new();
    let root = fs::File::open(sandbox.root()).unwrap();
    let error = unpack(&tar.stdout[..], root.as_fd(), &Options::default()).unwrap_err();
    assert!(matches!(error, Error::Limit { .. }), "{error}");
    assert!(sandbox.names("").is_empty());
}

#[test]
fn entries_depth_and_xattrs_are_bounded_and_the_message_names_the_entry() {
    let many = layer().file("1", "").file("2", "").file("third", "");
    assert!(refusal(&many, &limited(|l| l.entries = 2)).contains("`third`"));
    let deep = layer().file(&format!("{}f", "d/".repeat(300)), "");
    assert!(refusal(&deep, &Options::default()).contains("deeper than 256"));
    let fat = layer().with(b"fat", Kind::File, |e| {
        e.xattrs = vec![(b"user.x".to_vec(), vec![0; 2 << 20])];
    });
    let error = Sandbox::new().unpack(&fat).unwrap_err().to_string();
    assert!(error.contains("extended header of"), "{error}");
    let name = "n".repeat(5000);
    assert!(Sandbox::new().unpack(&layer().file(&name, "")).is_err());
}

#[test]
fn what_has_to_be_remembered_of_a_layer_is_bounded() {
    let many = |kind: &str| {
        let long = "d/".repeat(100);
        (0..200).fold(layer(), |layer, n| match kind {
            "directory" => layer.dir(&format!("{long}{n}")),
            "implied" => layer.file(&format!("{long}{n}/f"), ""),
            _ => layer.file(&format!("{long}.wh.{n}"), ""),
        })
    };
    for kind in ["directory", "implied", "whiteout"] {
        let error = refusal(&many(kind), &limited(|l| l.paths = 20_000));
        assert!(error.contains("too many paths"), "{kind}: {error}");
        Sandbox::new().unpack(&many(kind)).unwrap();
    }
    // What is taken away again counts no more.
    let replaced = (0..300).fold(layer(), |layer, _| layer.dir("a/b").file("a", ""));
    Sandbox::new().unpack_with(&replaced, &limited(|l| l.paths = 1000)).unwrap();
}

#[test]
fn of_what_is_left_out_the_first_is_told_and_the_rest_counted() {
    let fat = |n: usize| {
        let name = format!("f{n}");
        move |layer: Layer| {
            layer.with(name.as_bytes(), Kind::File, |e| {
                e.xattrs = (0..2000)
                    .map(|n| (format!("trusted.{n:0>80}").into_bytes(), Vec::new()))
                    .collect();
            })
        }
    };
    let layer = (0..10).fold(layer(), |layer, n| fat(n)(layer));
    let stats = Sandbox::new().unpack(&layer).unwrap();
    assert_eq!(stats.ignored.len() as u64 + stats.ignored_more, 20_000);
    assert!(stats.ignored.len() < 15_000, "{}", stats.ignored.len());
}

#[test]
fn a_truncated_layer_names_the_entry() {
    let bytes = layer().file("first", "x").with(b"cut", Kind::File, |e| e.size = 5000).bytes();
    let sandbox = Sandbox::new();
    let root = fs::File::open(sandbox.root()).unwrap();
    let error = unpack(&bytes[..3000], root.as_fd(), &Options::default()).unwrap_err();
    assert_eq!(error.to_string(), "cannot read the layer: entry `cut`: unexpected end of data");
}

#[test]
fn content_that_is_not_what_was_promised_fails_even_behind_the_archive() {
    use crate::digest::{Digest, Expected, Verifier};
    let bytes = layer().file("f", "x").bytes();
    let expected = Expected { digest: Digest::of(&bytes), size: None };
    let mut longer = bytes.clone();
    longer.push(0);
    let sandbox = Sandbox::new();
    let root = fs::File::open(sandbox.root()).unwrap();
    let verifier = Verifier::new(&longer[..], expected);
    let error = unpack(verifier, root.as_fd(), &Options::default()).unwrap_err();
    assert!(error.mismatch().is_some(), "{error}");
}

#[test]
fn a_damaged_blob_is_a_wrong_digest_and_not_a_bad_compression() {
    use crate::digest::{Digest, Expected, Verifier};
    let plain = layer().file("f", &"0123456789".repeat(500)).bytes();
    for compression in [Compression::Plain, Compression::Gzip, Compression::Zstd] {
        let mut encoder = compression.encoder(Vec::new()).unwrap();
        encoder.write_all(&plain).unwrap();
        let blob = encoder.finish().unwrap();
        let expected = Expected { digest: Digest::of(&blob), size: Some(blob.len() as u64) };
        for damage in [0, 9, blob.len() / 2, blob.len() - 1] {
            let mut damaged = blob.clone();
            damaged[damage] ^= 0x55;
            let sandbox = Sandbox::new();
            let root = fs::File::open(sandbox.root()).unwrap();
            let verifier = Verifier::new(&damaged[..], expected.clone());
            let error = unpack(verifier, root.as_fd(), &Options::default()).unwrap_err();
            assert!(error.mismatch().is_some(), "{compression:?} {damage}: {error}");
        }
    }
}
