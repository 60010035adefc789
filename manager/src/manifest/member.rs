//! The images that are to be in a list: from here, or as a registry has them.

use super::{descriptor, failed, mirrors, platform, platform_of, remote_name};
use crate::cli::TlsArgs;
use crate::error::{Error, Result};
use crate::reference::Reference;
use crate::registry::list::{Traits, entry};
use crate::registry::manifest::{Kind, OCI_INDEX, read};
use crate::registry::{self, Document, Mirrors, Platform, Registry as _};
use crate::store::{self, Found, Image, Store};
use crate::{pull, push};
use bundle::digest::Digest;
use bundle::platform::offered;
use oci_spec::image::Descriptor;
use serde_json::Value;

/// What is taken of an index.
#[derive(Clone, Copy)]
pub(super) enum Which<'a> {
    /// All its images.
    All,
    /// That which fits best.
    For(&'a Traits),
}

/// The entries for an image that is named, or for the images of an index.
pub(super) fn entries(
    store: &Store,
    text: &str,
    which: Which<'_>,
    tls: &TlsArgs,
) -> Result<Vec<Value>> {
    let Some(name) = remote_name(text) else {
        return match store.find_any(text) {
            Ok(Found::List(list)) => chosen(list.list.entries().to_vec(), which, text),
            Ok(Found::Image(image)) => Ok(vec![of_image(store, &image)?]),
            Err(store::Error::NoSuchImage(_)) => in_registry(text, which, tls),
            Err(error) => Err(error.into()),
        };
    };
    in_registry(name, which, tls)
}

/// The entry for an image that is here.
pub(crate) fn of_image(store: &Store, image: &Image) -> Result<Value> {
    let failed = |cause| pull::Error::new("add", image.id.to_string(), cause);
    let content = store.content(&image.manifest_digest)?.ok_or(pull::Cause::NotHere);
    let content = content.map_err(failed)?;
    let document = push::document(store, image, &content.manifest).map_err(failed)?;
    let config = store.config_document(image)?;
    Ok(descriptor(&document, &platform_of(&config)))
}

fn in_registry(text: &str, which: Which<'_>, tls: &TlsArgs) -> Result<Vec<Value>> {
    // As in Docker, what is no name was meant as an id.
    let reference: Reference = text.parse()?;
    let entries = of_repository(&reference, tls)
        .map_err(|error| failed("add", &reference.to_string(), error))?;
    match entries {
        Remote::Image(entry) => Ok(vec![entry]),
        Remote::Index(entries) => chosen(entries, which, text),
    }
}

enum Remote {
    Image(Value),
    Index(Vec<Value>),
}

fn of_repository(
    reference: &Reference,
    tls: &TlsArgs,
) -> std::result::Result<Remote, registry::Error> {
    let mirrors: Mirrors = mirrors(reference, tls)?;
    let document = mirrors.resolve(&reference.selector())?;
    let repository = reference.canonical_name();
    match read(&document)? {
        Kind::Manifest(manifest) => {
            let platform = platform(&mirrors, &manifest)?;
            Ok(Remote::Image(entry(&descriptor(&document, &platform), Some(&repository))))
        }
        Kind::Index(_) => {
            let entries = raw_entries(&document)?;
            Ok(Remote::Index(entries.iter().map(|one| entry(one, Some(&repository))).collect()))
        }
    }
}

/// The entries of an index with all that it says of them. A list says things of its own of them: they and what is in them must be objects.
fn raw_entries(document: &Document) -> std::result::Result<Vec<Value>, registry::Error> {
    let mut index = super::value(&document.content)?;
    let invalid = |why: &str| registry::Error::Invalid(why.to_owned());
    let entries = match index.get_mut("manifests").map(Value::take) {
        Some(Value::Array(entries)) => entries,
        _ => return Err(invalid("it is an index of nothing")),
    };
    let is_object = |value: Option<&Value>| value.is_none_or(|it| it.is_null() || it.is_object());
    let is_sound = |entry: &Value| {
        entry.is_object() && ["platform", "annotations"].iter().all(|key| is_object(entry.get(key)))
    };
    match entries.iter().all(is_sound) {
        true => Ok(entries),
        false => Err(invalid("it is an index with an entry that is malformed")),
    }
}

/// Those of an index that are to be taken.
fn chosen(entries: Vec<Value>, which: Which<'_>, name: &str) -> Result<Vec<Value>> {
    let is_index = |entry: &Value| {
        let kind = entry["mediaType"].as_str().unwrap_or_default();
        kind == OCI_INDEX || kind.contains("manifest.list")
    };
    if entries.iter().any(is_index) {
        return Err(Error::refusal(format!("cannot add `{name}`: it is an index of indexes")));
    }
    let traits = match which {
        Which::All => return Ok(entries),
        Which::For(traits) => traits,
    };
    let descriptors: Vec<Descriptor> =
        entries.iter().filter_map(|entry| serde_json::from_value(entry.clone()).ok()).collect();
    let wanted = wanted(traits)?;
    let best = match traits.architecture.is_some() || traits.os.is_some() {
        true => wanted.choose(&descriptors),
        false => wanted.choose_runnable(&descriptors),
    };
    let Some(best) = best else {
        let offered = offered(&descriptors);
        return Err(Error::Rejected {
            message: format!("cannot add `{name}`: no image for {wanted} in it; it has {offered}"),
            hint: Some("`nman manifest add` takes another one with --os, --arch and --variant, and all with --all".to_owned()),
        });
    };
    let digest = Digest::try_from(best).map_err(|error| Error::refusal(error.to_string()))?;
    Ok(entries.into_iter().filter(|entry| entry["digest"] == digest.as_str()).take(1).collect())
}

/// The platform of an image that is to be said to have these traits: this machine's, as far as they say nothing.
fn wanted(traits: &Traits) -> Result<Platform> {
    let host = Platform::host();
    let architecture = traits.architecture.as_deref();
    let variant = match (&traits.variant, architecture) {
        (Some(variant), _) => Some(variant.as_str()),
        (None, None) => host.variant(),
        (None, Some(_)) => None,
    };
    let (os, architecture) =
        (traits.os.as_deref().unwrap_or(host.os()), architecture.unwrap_or(host.architecture()));
    let variant = variant.map(|variant| format!("/{variant}")).unwrap_or_default();
    let name = format!("{os}/{architecture}{variant}");
    name.parse()
        .map_err(|error: bundle::platform::ParsePlatformError| Error::refusal(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn index() -> Vec<Value> {
        ["amd64", "arm64", "s390x"]
            .iter()
            .map(|architecture| {
                json!({
                    "mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 1,
                    "digest": Digest::of(architecture.as_bytes()).as_str(),
                    "platform": {"os": "linux", "architecture": architecture},
                })
            })
            .collect()
    }

    #[test]
    fn of_an_index_one_image_is_taken_or_all() {
        assert_eq!(chosen(index(), Which::All, "x").unwrap(), index());
        let traits = Traits { architecture: Some("arm64".to_owned()), ..Traits::default() };
        assert_eq!(chosen(index(), Which::For(&traits), "x").unwrap(), [index()[1].clone()]);
        let other = Traits { architecture: Some("riscv64".to_owned()), ..Traits::default() };
        let error = chosen(index(), Which::For(&other), "x").unwrap_err().to_string();
        assert_eq!(
            error,
            "cannot add `x`: no image for linux/riscv64 in it; it has linux/amd64, linux/arm64, linux/s390x"
        );
    }

    #[test]
    fn an_index_whose_entries_are_no_objects_is_refused() {
        let entries = |manifests: Value| {
            let content = json!({"schemaVersion": 2, "manifests": manifests}).to_string();
            let content = content.into_bytes();
            let digest = Digest::of(&content);
            raw_entries(&Document { digest, media_type: OCI_INDEX.to_owned(), content })
        };
        let with = |key: &str, value: Value| {
            let mut index = index();
            index[1][key] = value;
            Value::Array(index)
        };
        assert_eq!(entries(index().into()).unwrap(), index());
        assert_eq!(entries(with("platform", Value::Null)).unwrap().len(), 3);
        let list = json!(["x"]);
        for bad in [
            json!({}),
            json!([list]),
            with("platform", list.clone()),
            with("annotations", list.clone()),
        ] {
            assert!(matches!(entries(bad), Err(registry::Error::Invalid(_))));
        }
    }

    #[test]
    fn an_index_of_indexes_is_refused() {
        let mut nested = index();
        nested[0]["mediaType"] = OCI_INDEX.into();
        let error = chosen(nested, Which::All, "x").unwrap_err().to_string();
        assert_eq!(error, "cannot add `x`: it is an index of indexes");
    }

    #[test]
    fn a_list_of_what_is_not_said_has_this_machines_platform() {
        assert_eq!(wanted(&Traits::default()).unwrap(), Platform::host());
        let arm = Traits { architecture: Some("arm".to_owned()), ..Traits::default() };
        assert_eq!(wanted(&arm).unwrap().to_string(), "linux/arm");
        let arm = Traits { variant: Some("v6".to_owned()), ..arm };
        assert_eq!(wanted(&arm).unwrap().to_string(), "linux/arm/v6");
    }
}
