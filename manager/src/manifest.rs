//! `nman manifest inspect`: what a registry has under a name, before anything is pulled.

use crate::cli::{ManifestInspectArgs, RegistryArgs};
use crate::error::Result;
use crate::listing::pretty;
use crate::pull::{self, Policy};
use crate::reference::Reference;
use crate::registry::manifest::{Kind, parse};
use crate::registry::{self, Document, Mirrors, Registry as _};
use crate::transfer;
use oci_spec::image::ImageManifest;
use serde_json::{Value, json};
use std::io::Read as _;

type Answer<T> = std::result::Result<T, registry::Error>;

/// The manifest or the index as it stands there; with `--verbose` each image's with its name, digest and platform, as Docker shows them.
///
/// # Errors
/// The registry does not have it, or it is none of an image.
pub fn inspect(args: &ManifestInspectArgs) -> Result<String> {
    let reference: Reference = args.manifest.parse()?;
    let shown = shown(&reference, args).map_err(|error| {
        pull::Error::new("inspect", reference.to_string(), pull::Cause::Registry(error))
    })?;
    Ok(pretty(&shown))
}

fn shown(reference: &Reference, args: &ManifestInspectArgs) -> Answer<Value> {
    let mut tls = args.tls.clone();
    tls.tls_verify &= !args.insecure;
    let choices = RegistryArgs { tls, platform: None };
    let access = transfer::options(&choices, Policy::Always).access();
    let mirrors = Mirrors::new(reference, &access)?;
    let document = mirrors.resolve(&reference.selector())?;
    // Whatever it is, it is one of an image, and says it once.
    let kind = parse(&document)?;
    if !args.verbose {
        return value(&document.content);
    }
    match kind {
        Kind::Manifest(manifest) => {
            let platform = platform(&mirrors, &manifest)?;
            let descriptor = json!({
                "mediaType": media_type(&document), "digest": document.digest.to_string(),
                "size": document.content.len(), "platform": platform,
            });
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
    let mut platform = json!({ "architecture": config["architecture"], "os": config["os"] });
    if let Some(variant) = config.get("variant") {
        platform["variant"] = variant.clone();
    }
    Ok(platform)
}

fn value(content: &[u8]) -> Answer<Value> {
    let parsed = serde_json::from_slice(content);
    parsed.map_err(|error| registry::Error::Invalid(format!("it is malformed: {error}")))
}
