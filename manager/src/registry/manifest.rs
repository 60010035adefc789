//! Manifests and indexes, read strictly.
//!
//! A document that could be read as two kinds of thing is refused (CVE-2021-41190): whoever checked
//! or signed it may have seen the other one. Nothing here touches the network.

use oci_spec::image::{ImageIndex, ImageManifest, MediaType};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::error::{Error, printable};
use super::{Document, MAX_CONFIG};
use bundle::digest::Digest;
use bundle::layout::canonical;

/// Docker's older name for an image manifest.
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's older name for an index.
pub(super) const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI's name for an index.
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const DOCKER_LAYER_PREFIX: &str = "application/vnd.docker.image.rootfs.";
/// The annotation of a manifest that was put into OCI's words: the digest of the one that came.
const ORIGIN: &str = "dev.nman.origin.digest";

/// What a registry is told we understand, in the order of preference.
pub(super) const ACCEPT: [&str; 4] = [OCI_INDEX, OCI_MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST];

/// overlayfs takes 500 lower directories, and no real image has more layers than 127.
const MAX_LAYERS: usize = 500;

/// What a document turned out to be.
#[derive(Clone, Debug)]
pub enum Kind {
    /// Images for several platforms.
    Index(Box<ImageIndex>),
    /// One image.
    Manifest(Box<ImageManifest>),
}

/// Which members a document has, whatever it claims to be.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    #[serde(default)]
    schema_version: Option<u32>,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    manifests: Option<IgnoredAny>,
    #[serde(default)]
    config: Option<IgnoredAny>,
    #[serde(default)]
    layers: Option<IgnoredAny>,
    #[serde(default)]
    fs_layers: Option<IgnoredAny>,
}

/// Reads a manifest or an index and checks that it is one thing only, and one that can be pulled.
pub fn parse(document: &Document) -> Result<Kind, Error> {
    let kind = read(document)?;
    if let Kind::Manifest(manifest) = &kind {
        check_image(manifest).map_err(|why| invalid(document, &why))?;
    }
    Ok(kind)
}

fn invalid(document: &Document, why: &str) -> Error {
    Error::Invalid(format!("manifest `{}` {why}", document.digest))
}

/// The same for one that is only passed on: what an index has beside images, such as what a builder attests of them, is no image.
pub fn read(document: &Document) -> Result<Kind, Error> {
    let invalid = |why: &str| invalid(document, why);
    // It repeats what it does not understand.
    let malformed = |error: serde_json::Error| {
        invalid(&format!("is malformed: {}", printable(&error.to_string())))
    };

    let shape: Shape = serde_json::from_slice(&document.content).map_err(malformed)?;
    if shape.schema_version == Some(1) || shape.fs_layers.is_some() {
        return Err(invalid("has schema version 1, which is obsolete; the image must be rebuilt"));
    }
    if shape.schema_version != Some(2) {
        return Err(invalid("has no schema version 2"));
    }
    let media_type = shape.media_type.as_deref().unwrap_or(&document.media_type);
    if is_known(&document.media_type) && media_type != document.media_type {
        let outer = printable(&document.media_type);
        let inner = printable(media_type);
        return Err(invalid(&format!("is ambiguous: served as `{outer}`, it says `{inner}`")));
    }
    let is_index = match media_type {
        OCI_INDEX | DOCKER_INDEX => true,
        OCI_MANIFEST | DOCKER_MANIFEST => false,
        _ => shape.manifests.is_some(),
    };
    if shape.manifests.is_some() && (shape.config.is_some() || shape.layers.is_some()) {
        return Err(invalid("is ambiguous: it has the members of an index and of an image"));
    }
    if is_index {
        return serde_json::from_slice(&document.content)
            .map(|index| Kind::Index(Box::new(index)))
            .map_err(malformed);
    }
    let manifest: ImageManifest = serde_json::from_slice(&document.content).map_err(malformed)?;
    Ok(Kind::Manifest(Box::new(manifest)))
}

fn is_known(media_type: &str) -> bool {
    ACCEPT.contains(&media_type)
}

/// What makes a manifest one of a container image, rather than of a chart, a signature or a bomb.
fn check_image(manifest: &ImageManifest) -> Result<(), String> {
    let config = manifest.config();
    let is_config = match config.media_type() {
        MediaType::ImageConfig => true,
        MediaType::Other(other) => other == DOCKER_CONFIG,
        _ => false,
    };
    if !is_config {
        let kind = printable(config.media_type().as_ref());
        return Err(format!("is not a container image: its configuration is `{kind}`"));
    }
    if config.size() > MAX_CONFIG {
        let (size, limit) = (config.size(), MAX_CONFIG);
        return Err(format!("has a configuration of {size} bytes, over the limit of {limit}"));
    }
    if manifest.layers().len() > MAX_LAYERS {
        let count = manifest.layers().len();
        return Err(format!("has {count} layers, over the limit of {MAX_LAYERS}"));
    }
    for descriptor in manifest.layers() {
        if !is_layer(descriptor.media_type()) {
            let kind = printable(descriptor.media_type().as_ref());
            return Err(format!("is not a container image: it has a layer of type `{kind}`"));
        }
    }
    for descriptor in manifest.layers().iter().chain([config]) {
        Digest::try_from(descriptor).map_err(|error| format!("is malformed: {error}"))?;
    }
    Ok(())
}

/// Any tar layer: its compression is told from its first bytes, not from its type.
fn is_layer(media_type: &MediaType) -> bool {
    match media_type {
        MediaType::ImageLayer
        | MediaType::ImageLayerGzip
        | MediaType::ImageLayerZstd
        | MediaType::ImageLayerNonDistributable
        | MediaType::ImageLayerNonDistributableGzip
        | MediaType::ImageLayerNonDistributableZstd => true,
        MediaType::Other(other) => other.starts_with(DOCKER_LAYER_PREFIX),
        _ => false,
    }
}

/// An image's manifest as it is kept.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The document that the store knows the image by.
    pub document: Document,
    /// What it says.
    pub manifest: ImageManifest,
    /// What came, where that is in Docker's words and says so: it goes out again as it came, with its digest.
    pub origin: Option<Document>,
}

/// The document under which an image is kept: the one that came, or Docker's older format in OCI's
/// words, since tools that read an OCI layout see nothing else in it. Blobs stay what they are, and
/// the same document always comes out the same.
pub fn normalize(document: Document, manifest: ImageManifest) -> Result<Kept, Error> {
    let is_docker = matches!(manifest.config().media_type(), MediaType::Other(_))
        || manifest.layers().iter().any(|l| matches!(l.media_type(), MediaType::Other(_)))
        || manifest.media_type().as_ref().is_some_and(|own| *own != MediaType::ImageManifest);
    if !is_docker {
        let document = Document { media_type: OCI_MANIFEST.to_owned(), ..document };
        return Ok(Kept { document, manifest, origin: None });
    }
    // One that does not say itself what it is could not be pushed as what it came as.
    let own = manifest.media_type().as_ref().map(ToString::to_string);
    let origin = own.map(|media_type| Document { media_type, ..document });
    let mut manifest = manifest;
    let mut config = manifest.config().clone();
    config.set_media_type(MediaType::ImageConfig);
    manifest.set_config(config);
    for layer in manifest.layers_mut() {
        let media_type = oci_layer(layer.media_type());
        layer.set_media_type(media_type);
    }
    manifest.set_media_type(Some(MediaType::ImageManifest));
    if let Some(origin) = &origin {
        let mut annotations = manifest.annotations().clone().unwrap_or_default();
        annotations.insert(ORIGIN.to_owned(), origin.digest.to_string());
        manifest.set_annotations(Some(annotations));
    }
    let content = canonical(&manifest);
    let digest = Digest::of(&content);
    let document = Document { digest, media_type: OCI_MANIFEST.to_owned(), content };
    Ok(Kept { document, manifest, origin })
}

/// The digest of the document that a manifest was made from, by its own account.
#[must_use]
pub fn origin(manifest: &ImageManifest) -> Option<Digest> {
    manifest.annotations().as_ref()?.get(ORIGIN)?.parse().ok()
}

/// What the manifest that is kept as `kept` was made from, if that is `document`: an annotation alone can say anything.
#[must_use]
pub fn as_origin(document: Document, kept: &Digest) -> Option<Document> {
    let document = Document { media_type: String::new(), ..document };
    let Ok(Kind::Manifest(manifest)) = parse(&document) else { return None };
    let made = normalize(document, *manifest).ok()?;
    made.origin.filter(|_| made.document.digest == *kept)
}

fn oci_layer(media_type: &MediaType) -> MediaType {
    let MediaType::Other(docker) = media_type else { return media_type.clone() };
    match (docker.contains(".foreign."), docker.rsplit('.').next()) {
        (false, Some("gzip")) => MediaType::ImageLayerGzip,
        (false, Some("zstd")) => MediaType::ImageLayerZstd,
        (false, _) => MediaType::ImageLayer,
        (true, Some("gzip")) => MediaType::ImageLayerNonDistributableGzip,
        (true, Some("zstd")) => MediaType::ImageLayerNonDistributableZstd,
        (true, _) => MediaType::ImageLayerNonDistributable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn descriptor(media_type: &str) -> Value {
        json!({"mediaType": media_type, "digest": format!("sha256:{}", "0".repeat(64)), "size": 2})
    }

    fn image() -> Value {
        json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor("application/vnd.oci.image.config.v1+json"),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip")],
        })
    }

    fn parse_as(served: &str, content: &str) -> Result<Kind, String> {
        let content = content.as_bytes().to_vec();
        let document =
            Document { digest: Digest::of(&content), media_type: served.to_owned(), content };
        parse(&document).map_err(|error| error.to_string())
    }

    #[test]
    fn an_image_and_an_index_are_told_apart() {
        let image = image().to_string();
        assert!(matches!(parse_as(OCI_MANIFEST, &image), Ok(Kind::Manifest(_))));
        let index =
            json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}).to_string();
        assert!(matches!(parse_as(OCI_INDEX, &index), Ok(Kind::Index(_))));
        let untyped = json!({"schemaVersion": 2, "manifests": []}).to_string();
        assert!(matches!(parse_as("application/json", &untyped), Ok(Kind::Index(_))));
    }

    #[test]
    fn a_document_that_is_both_image_and_index_is_refused() {
        let mut both = image();
        both["manifests"] = json!([]);
        let error = parse_as(OCI_MANIFEST, &both.to_string()).unwrap_err();
        assert!(error.contains("is ambiguous: it has the members"), "{error}");
    }

    #[test]
    fn a_document_that_contradicts_its_content_type_is_refused() {
        let error = parse_as(OCI_INDEX, &image().to_string()).unwrap_err();
        assert!(error.contains("is ambiguous: served as"), "{error}");
    }

    #[test]
    fn what_is_malformed_is_repeated_without_control_characters() {
        let mut strange = image();
        strange["config"]["digest"] = json!("sha256:\u{1b}[31mred\u{7f}\nline");
        let error = parse_as(OCI_MANIFEST, &strange.to_string()).unwrap_err();
        assert!(error.contains("is malformed") && error.contains("[31mred"), "{error}");
        assert!(!error.contains(char::is_control), "{error:?}");
    }

    #[test]
    fn a_repeated_member_is_refused() {
        let twice = image().to_string().replacen("\"layers\"", "\"layers\":[],\"layers\"", 1);
        let error = parse_as(OCI_MANIFEST, &twice).unwrap_err();
        assert!(error.contains("duplicate field"), "{error}");
    }

    #[test]
    fn what_is_not_a_container_image_is_named() {
        let mut chart = image();
        chart["config"] = descriptor("application/vnd.cncf.helm.config.v1+json");
        let error = parse_as(OCI_MANIFEST, &chart.to_string()).unwrap_err();
        assert!(error.contains("its configuration is `application/vnd.cncf.helm"), "{error}");
        let old = json!({"schemaVersion": 1, "fsLayers": []}).to_string();
        assert!(parse_as("", &old).unwrap_err().contains("obsolete"));
    }

    #[test]
    fn digests_that_we_cannot_verify_are_refused() {
        let mut weak = image();
        weak["layers"][0]["digest"] = "md5:d41d8cd98f00b204e9800998ecf8427e".into();
        assert!(parse_as(OCI_MANIFEST, &weak.to_string()).is_err());
    }

    fn normalized(content: &str) -> Kept {
        let content = content.as_bytes().to_vec();
        let document =
            Document { digest: Digest::of(&content), media_type: String::new(), content };
        match parse(&document) {
            Ok(Kind::Manifest(manifest)) => normalize(document, *manifest).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn docker_schema_2_is_an_image_and_is_put_into_ocis_words() {
        let docker = json!({
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST,
            "config": descriptor(DOCKER_CONFIG),
            "layers": [
                descriptor("application/vnd.docker.image.rootfs.diff.tar.gzip"),
                descriptor("application/vnd.docker.image.rootfs.diff.tar"),
                descriptor("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"),
            ],
        });
        let Kept { document, manifest, origin } = normalized(&docker.to_string());
        assert_eq!(document.digest, Digest::of(&document.content));
        assert_eq!(document.media_type, OCI_MANIFEST);
        assert_eq!(*manifest.config().media_type(), MediaType::ImageConfig);
        let types: Vec<_> = manifest.layers().iter().map(|layer| layer.media_type()).collect();
        let expected = [
            &MediaType::ImageLayerGzip,
            &MediaType::ImageLayer,
            &MediaType::ImageLayerNonDistributableGzip,
        ];
        assert_eq!(types, expected);

        let came = origin.expect("what came is kept, too");
        assert_eq!(
            (came.content.as_slice(), &*came.media_type),
            (docker.to_string().as_bytes(), DOCKER_MANIFEST)
        );
        assert_eq!(super::origin(&manifest), Some(came.digest.clone()));
        let found = as_origin(came.clone(), &document.digest).unwrap();
        assert_eq!((found.digest, &*found.media_type), (came.digest.clone(), DOCKER_MANIFEST));
        assert!(
            as_origin(document.clone(), &document.digest).is_none(),
            "it was made from nothing"
        );
        assert!(as_origin(came, &Digest::of(b"another")).is_none());
        let kept: serde_json::Value = serde_json::from_slice(&document.content).unwrap();
        assert!(normalized(&kept.to_string()).origin.is_none(), "once is enough");
    }

    #[test]
    fn the_same_comes_out_the_same_whatever_annotations_it_has() {
        let annotations = json!({"a": "1", "b": "2", "c": "3", "d": "4", "e": "5"});
        let mut docker = image();
        docker["mediaType"] = DOCKER_MANIFEST.into();
        docker["config"]["mediaType"] = DOCKER_CONFIG.into();
        docker["annotations"] = annotations.clone();
        docker["layers"][0]["annotations"] = annotations;
        let docker = docker.to_string();
        let first = normalized(&docker);
        for _ in 0..32 {
            let again = normalized(&docker);
            assert_eq!(again.document.content, first.document.content);
            let origin = again.origin.unwrap();
            assert!(as_origin(origin, &first.document.digest).is_some());
        }
        let kept: Value = serde_json::from_slice(&first.document.content).unwrap();
        assert_eq!(kept["annotations"]["a"], "1");
    }

    #[test]
    fn what_does_not_say_itself_what_it_is_goes_out_in_ocis_words() {
        let mut docker = image();
        docker.as_object_mut().unwrap().remove("mediaType");
        docker["config"]["mediaType"] = DOCKER_CONFIG.into();
        let Kept { document, manifest, origin } = normalized(&docker.to_string());
        assert!(origin.is_none() && super::origin(&manifest).is_none());
        assert_eq!(document.media_type, OCI_MANIFEST);
        assert_eq!(*manifest.config().media_type(), MediaType::ImageConfig);
    }

    #[test]
    fn an_oci_manifest_is_kept_byte_for_byte() {
        let spaced = serde_json::to_string_pretty(&image()).unwrap();
        let Kept { document, origin, .. } = normalized(&spaced);
        assert!(origin.is_none());
        assert_eq!(document.content, spaced.as_bytes());
        assert_eq!(document.digest, Digest::of(spaced.as_bytes()));
    }
}
