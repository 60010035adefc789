//! Archives of images as `docker save` writes them, for the tests of several programs.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// An image with this configuration, which is given the layers' digests, and these layers, under `name:latest`.
pub(crate) fn archive(name: &str, mut config: Value, layers: &[Vec<u8>]) -> Vec<u8> {
    let diff_ids: Vec<String> =
        layers.iter().map(|layer| format!("sha256:{}", hex(layer))).collect();
    config["rootfs"] = json!({ "type": "layers", "diff_ids": diff_ids });
    let config = config.to_string().into_bytes();
    let config_name = format!("{}.json", hex(&config));
    let names: Vec<String> = (0..layers.len()).map(|at| format!("layer{at}.tar")).collect();
    let manifest = json!([{
        "Config": config_name, "RepoTags": [format!("{name}:latest")], "Layers": names,
    }]);
    let manifest = manifest.to_string().into_bytes();
    let mut archive = tar::Builder::new(Vec::new());
    let layers = names.iter().map(String::as_str).zip(layers);
    let others = [(config_name.as_str(), &config), ("manifest.json", &manifest)];
    for (name, content) in layers.chain(others) {
        let mut header = header(tar::EntryType::Regular, content.len() as u64, 0o644);
        archive.append_data(&mut header, name, content.as_slice()).unwrap();
    }
    archive.into_inner().unwrap()
}

/// The header of an entry that is root's.
pub(crate) fn header(kind: tar::EntryType, size: u64, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(mode);
    header
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
