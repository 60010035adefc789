//! `nman manifest`: lists of images for several platforms that are kept here by name, and what a registry has under a name, before
//! anything is pulled.

mod lists;
mod member;

pub(crate) use lists::no_list;
pub use lists::{add, annotate, create, exists, push, remove, rm};

pub(crate) use member::of_image as descriptor_of;

use crate::cli::{ManifestInspectArgs, RegistryArgs, TlsArgs};
use crate::error::Result;
use crate::listing::pretty;
use crate::pull::{self, Policy};
use crate::reference::Reference;
use crate::registry::manifest::{Kind, parse};
use crate::registry::{self, Document, Mirrors, Registry as _};
use crate::settings::Settings;
use crate::store::Store;
use crate::transfer;
use oci_spec::image::ImageManifest;
use serde_json::{Value, json};
use std::io::Read as _;

type Answer<T> = std::result::Result<T, registry::Error>;

/// A list that is here, as it would be pushed; or else the manifest or the index as it stands in a registry, with `--verbose` each image's
/// with its name, digest and platform, as Docker shows them.
///
/// # Errors
/// There is no such list, and the registry does not have it, or it is none of an image.
pub fn inspect(settings: &Settings, args: &ManifestInspectArgs) -> Result<String> {
    let name = remote_name(&args.manifest);
    if name.is_none()
        && let Some(list) = Store::open(&settings.root)?.find_list(&args.manifest)?
    {
        let content = list.list.sent(list.list.format());
        return Ok(pretty(
            &value(&content).map_err(|error| failed("inspect", &args.manifest, error))?,
        ));
    }
    let reference: Reference = name.unwrap_or(&args.manifest).parse()?;
    let shown = shown(&reference, args)
        .map_err(|error| failed("inspect", &reference.to_string(), error))?;
    Ok(pretty(&shown))
}

fn failed(action: &'static str, name: &str, error: registry::Error) -> pull::Error {
    pull::Error::new(action, name.to_owned(), pull::Cause::Registry(error))
}

/// The name of an image that is said to be in a registry.
fn remote_name(text: &str) -> Option<&str> {
    text.strip_prefix("docker://")
}

/// The hosts that answer for a repository.
fn mirrors(reference: &Reference, tls: &TlsArgs) -> Answer<Mirrors> {
    let choices = RegistryArgs { tls: tls.clone(), platform: None };
    Mirrors::new(reference, &transfer::options(&choices, Policy::Always).access())
}

fn shown(reference: &Reference, args: &ManifestInspectArgs) -> Answer<Value> {
    let mirrors = mirrors(reference, &args.tls.tls())?;
    let document = mirrors.resolve(&reference.selector())?;
    // Whatever it is, it is one of an image, and says it once.
    let kind = parse(&document)?;
    if !args.verbose {
        return value(&document.content);
    }
    match kind {
        Kind::Manifest(manifest) => {
            let platform = platform(&mirrors, &manifest)?;
            let descriptor = descriptor(&document, &platform);
            verbose(&reference.to_string(), &descriptor, &document)
        }
        Kind::Index(index) => {
            let all = index.manifests().iter().map(|entry| {
                let document = mirrors.manifest(entry)?;
                let name = format!("{}@{}", reference.familiar_name(), document.digest);
                verbose(&name, &json!(entry), &document)
            });
            all.collect::<Answer<Vec<Value>>>().map(Value::Array)
        }
    }
}

/// One image as Docker's `--verbose` shows it.
fn verbose(name: &str, descriptor: &Value, document: &Document) -> Answer<Value> {
    let is_dockers = media_type(document).contains("docker");
    let member = if is_dockers { "SchemaV2Manifest" } else { "OCIManifest" };
    Ok(json!({ "Ref": name, "Descriptor": descriptor, member: value(&document.content)? }))
}

/// What an index says of one image.
fn descriptor(document: &Document, platform: &Value) -> Value {
    json!({
        "mediaType": media_type(document), "digest": document.digest.to_string(),
        "size": document.content.len(), "platform": platform,
    })
}

/// What the manifest says that it is, or else what the registry says.
fn media_type(document: &Document) -> String {
    let own = value(&document.content).ok();
    let own = own.as_ref().and_then(|own| own["mediaType"].as_str().map(str::to_owned));
    own.unwrap_or_else(|| document.media_type.clone())
}

/// What an image is for, which its configuration says.
fn platform(mirrors: &Mirrors, manifest: &ImageManifest) -> Answer<Value> {
    let mut config = Vec::new();
    let read = mirrors.blob(manifest.config())?.read_to_end(&mut config);
    read.map_err(|error| {
        registry::Error::Invalid(format!("cannot read its configuration: {error}"))
    })?;
    let config = value(&config)?;
    Ok(platform_of(&config))
}

/// The same, of the configuration.
fn platform_of(config: &Value) -> Value {
    let mut platform = json!({ "architecture": config["architecture"], "os": config["os"] });
    for key in ["variant", "os.version", "os.features"] {
        if let Some(value) = config.get(key) {
            platform[key] = value.clone();
        }
    }
    platform
}

fn value(content: &[u8]) -> Answer<Value> {
    let parsed = serde_json::from_slice(content);
    parsed.map_err(|error| registry::Error::Invalid(format!("it is malformed: {error}")))
}
