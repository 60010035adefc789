//! One image, as the store knows it.

use bundle::digest::{ChainId, DiffId, Digest};
use oci_spec::image::{Descriptor, ImageConfiguration, ImageManifest};

use super::health::HealthCheck;
use crate::clock::Timestamp;
use crate::reference::Reference;

/// An image whose manifest, configuration and layers are in the store.
#[derive(Clone, Debug)]
pub struct Image {
    /// The digest of its configuration: what `docker images` shows as its id.
    pub id: Digest,
    /// What it is called here; an image that lost its name to a newer one has none.
    pub names: Vec<Reference>,
    /// The digest of its manifest.
    pub manifest_digest: Digest,
    /// The digest of the manifest that its own was made from, where that came in Docker's words.
    pub origin: Option<Digest>,
    /// The digests by which registries know it: those of the indexes or manifests it came from.
    pub repo_digests: Vec<Digest>,
    /// Its configuration.
    pub config: ImageConfiguration,
    /// Its HEALTHCHECK, an extension of Docker's to the configuration.
    pub health: Option<HealthCheck>,
    /// Its layers' blobs, lowest first.
    pub layers: Vec<Descriptor>,
    /// The digests of its layers' archives, lowest first.
    pub diff_ids: Vec<DiffId>,
    /// The names of its layers' snapshots, lowest first.
    pub chain_ids: Vec<ChainId>,
    /// When it was made, by its own account, in the format of RFC 3339.
    pub created: Option<String>,
    /// When `commit` or `import` made it here. Its own account then has a time that the same content always has.
    pub made: Option<Timestamp>,
    /// The size of its layers, unpacked.
    pub size: u64,
}

impl Image {
    /// Whether a list means it by this digest: that of its manifest, or of the one that it came with.
    #[must_use]
    pub fn goes_by(&self, digest: &str) -> bool {
        let mut own = std::iter::once(&self.manifest_digest).chain(&self.origin);
        own.any(|own| own.as_str() == digest)
    }

    /// When it was made, as far as anybody knows.
    #[must_use]
    pub fn time(&self) -> Option<Timestamp> {
        self.made.or_else(|| Timestamp::parse_known(self.created.as_deref()?))
    }
}

/// A manifest with its configuration, read and found to fit each other.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    pub(crate) manifest: ImageManifest,
    pub(crate) config: ImageConfiguration,
    pub(crate) health: Option<HealthCheck>,
    pub(crate) diff_ids: Vec<DiffId>,
    pub(crate) chain_ids: Vec<ChainId>,
}

impl Content {
    /// Reads a configuration and checks that it is one for `manifest`. The error is a clause that
    /// goes after the configuration's name.
    pub(crate) fn new(manifest: ImageManifest, config: &[u8]) -> Result<Self, String> {
        let health = HealthCheck::of_image(config);
        let config: ImageConfiguration =
            serde_json::from_slice(config).map_err(|error| format!("is malformed: {error}"))?;
        let parsed: Result<Vec<DiffId>, _> =
            config.rootfs().diff_ids().iter().map(|text| text.parse()).collect();
        let diff_ids = parsed.map_err(|error| format!("is malformed: {error}"))?;
        let (named, present) = (diff_ids.len(), manifest.layers().len());
        if named != present {
            return Err(format!("names {named} layers, and its manifest {present}"));
        }
        let mut chain_ids: Vec<ChainId> = Vec::with_capacity(diff_ids.len());
        for diff_id in &diff_ids {
            let chain = match chain_ids.last() {
                Some(below) => below.then(diff_id),
                None => ChainId::from(diff_id.digest().clone()),
            };
            chain_ids.push(chain);
        }
        Ok(Self { manifest, config, health, diff_ids, chain_ids })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn content(layers: usize, diff_ids: &[String]) -> Result<Content, String> {
        let blob = json!({"mediaType": "x", "digest": Digest::of(b"x").as_str(), "size": 1});
        let manifest = json!({"schemaVersion": 2, "config": blob, "layers": vec![&blob; layers]});
        let config = json!({
            "architecture": "amd64", "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        Content::new(serde_json::from_value(manifest).unwrap(), config.to_string().as_bytes())
    }

    #[test]
    fn the_chain_id_of_each_layer_covers_all_below_it() {
        let ids: Vec<String> = [b"a", b"b"].iter().map(|c| Digest::of(*c).to_string()).collect();
        let content = content(2, &ids).unwrap();
        assert_eq!(content.chain_ids[0].to_string(), ids[0]);
        assert_eq!(content.chain_ids.last(), ChainId::of(&content.diff_ids).as_ref());
    }

    #[test]
    fn a_configuration_as_docker_writes_it_is_read() {
        let config = json!({
            "architecture": "amd64", "os": "linux", "docker_version": "20.10.23", "container": "ab",
            "created": "2024-01-27T00:30:48.743965523Z",
            "config": {
                "Hostname": "", "Domainname": "", "User": "", "AttachStdin": false, "Tty": false,
                "Env": ["PATH=/bin"], "Cmd": ["/bin/sh"], "Image": "sha256:ab", "Volumes": null,
                "ExposedPorts": null, "WorkingDir": "", "Entrypoint": null, "OnBuild": null,
                "Labels": null, "Healthcheck": {"Test": ["NONE"]}, "Shell": ["/bin/sh"],
            },
            "container_config": {"Cmd": null},
            "history": [{"created": "2024-01-27T00:30:48Z", "empty_layer": true}],
            "rootfs": {"type": "layers", "diff_ids": []},
        });
        let manifest = json!({
            "schemaVersion": 2, "layers": [],
            "config": {"mediaType": "x", "digest": Digest::of(b"x").as_str(), "size": 1},
        });
        let manifest = serde_json::from_value(manifest).unwrap();
        let content = Content::new(manifest, config.to_string().as_bytes()).unwrap();
        let read = content.config.config().as_ref().unwrap();
        assert_eq!(read.cmd().as_deref(), Some(&["/bin/sh".to_owned()][..]));
        assert!(read.volumes().as_ref().is_none_or(Vec::is_empty));
    }

    #[test]
    fn a_configuration_for_another_number_of_layers_is_refused() {
        let error = content(2, &[Digest::of(b"a").to_string()]).unwrap_err();
        assert_eq!(error, "names 1 layers, and its manifest 2");
        assert!(content(1, &["sha256:12".to_owned()]).unwrap_err().starts_with("is malformed"));
    }
}
