//! A server that says whatever a test wants, as a registry.

use bundle::digest::Digest;
use nman::reference::Reference;
use serde_json::Value;

use crate::images::TestImage;
pub(crate) use crate::server::{Answer, Request, Server};

impl Server {
    /// Serves `image` at `app:latest`, with `alter` having the last word on every answer.
    pub(crate) fn with_image(
        image: TestImage,
        alter: impl Fn(&Request, Answer) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let manifest = image.manifest();
        Self::with_manifest(image, &manifest, alter)
    }

    /// The same with another manifest.
    pub(crate) fn with_manifest(
        image: TestImage,
        manifest: &Value,
        alter: impl Fn(&Request, Answer) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::start(Self::answers(image, manifest, alter))
    }

    /// What a registry that has only this image answers.
    pub(crate) fn answers(
        image: TestImage,
        manifest: &Value,
        alter: impl Fn(&Request, Answer) -> Answer + Send + Sync + 'static,
    ) -> impl Fn(&Request) -> Answer + Send + Sync + 'static {
        let manifest = manifest.to_string().into_bytes();
        move |request| {
            let config = image.config();
            let mut blobs = image.layers.iter().chain([&config]);
            let path = request.path.split('?').next().unwrap_or_default();
            let digest = path.rsplit('/').next().unwrap_or_default().to_owned();
            let answer = if request.path.contains("/manifests/") {
                Answer::ok(manifest.clone())
                    .with("Content-Type", "application/vnd.oci.image.manifest.v1+json")
            } else if request.path == "/v2/" {
                Answer::ok("{}")
            } else if let Some(blob) = blobs.find(|blob| Digest::of(blob).as_str() == digest) {
                Answer::ok(blob.clone())
            } else {
                Answer::status(404)
            };
            alter(request, answer)
        }
    }

    pub(crate) fn reference(&self) -> Reference {
        format!("{}/app", self.address()).parse().unwrap()
    }
}
