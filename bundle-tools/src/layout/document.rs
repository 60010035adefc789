//! Manifests, indexes and configurations, and the way from a name to the image for a platform.

use oci_spec::image::{
    Arch, Descriptor, ImageConfiguration, ImageIndex, ImageManifest, MediaType, Os,
    PlatformBuilder, ToDockerV2S2,
};
use serde_json::Value;

use super::{Error, Layout};
use crate::{
    digest::DiffId,
    platform::{self, Platform},
};

/// How deep indexes may nest.
const MAX_NESTING: u32 = 8;

/// What a descriptor of an image leads to.
#[derive(Clone, Debug)]
pub enum Document {
    /// One image.
    Manifest(Box<ImageManifest>),
    /// Images for several platforms.
    Index(Box<ImageIndex>),
}

impl Document {
    /// Reads a manifest or an index, in OCI's or in Docker's form; `name` is for messages.
    ///
    /// One that could be read as both is refused (CVE-2021-41190), and so is one whose `mediaType` contradicts its content or the
    /// media type it was referred to by, `promised`.
    pub fn parse(bytes: &[u8], promised: Option<&MediaType>, name: &str) -> Result<Self, Error> {
        let bad = |why: String| Error::Document { name: name.to_owned(), why };
        let value: Value = serde_json::from_slice(bytes).map_err(|e| bad(e.to_string()))?;
        let has = |key: &str| value.get(key).is_some_and(|field| !field.is_null());
        let is_index = has("manifests");
        if is_index && (has("layers") || has("config")) {
            return Err(bad("it is a manifest and an index at once".to_owned()));
        }
        if value.get("schemaVersion").and_then(Value::as_u64) != Some(2) {
            return Err(bad("its `schemaVersion` is not 2".to_owned()));
        }
        let own = value.get("mediaType").and_then(Value::as_str).map(MediaType::from);
        for media_type in own.iter().chain(promised) {
            let says_index = is_of(media_type, &MediaType::ImageIndex);
            let says_manifest = is_of(media_type, &MediaType::ImageManifest);
            if !says_index && !says_manifest {
                return Err(bad(format!("its media type `{media_type}` is not an image's")));
            }
            if says_index != is_index {
                return Err(bad(format!("its content is not of its media type `{media_type}`")));
            }
        }
        if is_index {
            serde_json::from_value(value).map(|i| Self::Index(Box::new(i)))
        } else {
            serde_json::from_value(value).map(|m| Self::Manifest(Box::new(m)))
        }
        .map_err(|e| bad(e.to_string()))
    }
}

fn is_of(media_type: &MediaType, oci: &MediaType) -> bool {
    media_type == oci || oci.to_docker_v2s2().is_ok_and(|docker| docker == media_type.as_ref())
}

/// An image for one platform.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its manifest's descriptor.
    pub descriptor: Descriptor,
    /// Its manifest.
    pub manifest: ImageManifest,
    /// Its configuration.
    pub config: ImageConfiguration,
    /// The diff ids of its layers, bottom first; as many as the manifest has layers.
    pub diff_ids: Vec<DiffId>,
}

impl Layout {
    /// What `descriptor` leads to.
    pub fn document(&self, descriptor: &Descriptor) -> Result<Document, Error> {
        let bytes = self.read(descriptor)?;
        Document::parse(&bytes, Some(descriptor.media_type()), descriptor.digest().as_ref())
    }

    /// The image that `descriptor` leads to, with its configuration: for the platform that somebody has asked for, and for no other,
    /// else the one of an index that runs on this machine best.
    pub fn image(&self, descriptor: &Descriptor, asked: Option<&Platform>) -> Result<Image, Error> {
        let mut descriptor = descriptor.clone();
        for _ in 0..MAX_NESTING {
            match self.document(&descriptor)? {
                Document::Manifest(manifest) => {
                    let image = self.complete(descriptor, *manifest)?;
                    return match asked {
                        Some(wanted) if !wanted.fits(&image.config) => Err(Error::NoPlatform {
                            digest: image.descriptor.digest().to_string(),
                            wanted: wanted.to_string(),
                            offered: platform::name(&image.config),
                        }),
                        _ => Ok(image),
                    };
                }
                Document::Index(index) => descriptor = choose(&descriptor, &index, asked)?.clone(),
            }
        }
        Err(Error::document(&descriptor, "indexes nest too deep"))
    }

    /// Reads the configuration of an image and checks that the two belong together.
    pub fn complete(
        &self,
        descriptor: Descriptor,
        manifest: ImageManifest,
    ) -> Result<Image, Error> {
        let config: ImageConfiguration = self.read_json(manifest.config())?;
        let diff_ids = config.rootfs().diff_ids();
        if diff_ids.len() != manifest.layers().len() {
            return Err(Error::document(
                &descriptor,
                format!(
                    "it has {} layers and its configuration {} diff ids",
                    manifest.layers().len(),
                    diff_ids.len()
                ),
            ));
        }
        let diff_ids = diff_ids.iter().map(|id| id.parse()).collect::<Result<_, _>>()?;
        Ok(Image { descriptor, manifest, config, diff_ids })
    }
}

fn choose<'i>(
    descriptor: &Descriptor,
    index: &'i ImageIndex,
    asked: Option<&Platform>,
) -> Result<&'i Descriptor, Error> {
    let host = Platform::host();
    let chosen = match asked {
        Some(platform) => platform.choose(index.manifests()),
        None => host.choose_runnable(index.manifests()),
    };
    chosen.ok_or_else(|| Error::NoPlatform {
        digest: descriptor.digest().to_string(),
        wanted: asked.unwrap_or(&host).to_string(),
        offered: platform::offered(index.manifests()),
    })
}

/// What an image that is made here is for: this program's platform, of whatever variant.
pub fn host_platform() -> oci_spec::image::Platform {
    let arch = match std::env::consts::ARCH {
        "x86_64" => Arch::Amd64,
        "aarch64" => Arch::ARM64,
        other => Arch::Other(other.to_owned()),
    };
    PlatformBuilder::default()
        .os(Os::Linux)
        .architecture(arch)
        .build()
        .expect("all that a platform needs is set")
}
