//! Manifests and indexes as a registry serves them: one kind of thing, or refused in words.
#![no_main]

use bundle::digest::Digest;
use libfuzzer_sys::fuzz_target;
use nman::registry::Document;
use nman::registry::manifest::parse;

const TYPES: [&str; 5] = [
    "",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];

fuzz_target!(|data: (u8, &[u8])| {
    let media_type = TYPES[usize::from(data.0) % TYPES.len()].to_owned();
    let document = Document { digest: Digest::of(data.1), media_type, content: data.1.to_vec() };
    if let Err(error) = parse(&document) {
        let words = error.to_string();
        assert!(!words.contains(|letter: char| letter.is_control()), "{words:?}");
    }
});
