//! Pushing a list: first its images, from here or from the registry that has them, then the list, so that nobody sees one whose
//! images are not there.

use std::collections::{BTreeSet, HashSet};

use bundle::digest::Digest;
use oci_spec::image::{Descriptor, ImageManifest};

use super::{PushOptions, Pushed, Sending, sources};
use crate::progress::{NoProgress, Progress};
use crate::pull::{Cause, Error};
use crate::reference::Reference;
use crate::registry::list::{Format, List};
use crate::registry::manifest::{self, Kind};
use crate::registry::{self, Document, Mirrors, Registry as _, Target};
use crate::store::{Store, blobs_of};

/// A list, and how much of it is sent how.
#[derive(Clone, Copy, Debug)]
pub struct Sent<'a> {
    /// The list.
    pub list: &'a List,
    /// In whose words; in those that suit it, if not given.
    pub format: Option<Format>,
    /// Whether its images are sent, too.
    pub images: bool,
}

/// An image that is to be sent.
struct Member {
    document: Document,
    manifest: ImageManifest,
    /// Where it comes from, if it is not here.
    origin: Option<(Reference, Mirrors)>,
}

/// Sends a list to where `reference` says.
pub fn push_list(
    reference: &Reference,
    sent: Sent<'_>,
    options: &PushOptions,
    store: &Store,
    progress: &dyn Progress,
) -> Result<Pushed, Error> {
    try_push(reference, sent, options, store, progress)
        .map_err(|cause| Error::new("push", reference.to_string(), cause))
}

fn try_push(
    reference: &Reference,
    sent: Sent<'_>,
    options: &PushOptions,
    store: &Store,
    progress: &dyn Progress,
) -> Result<Pushed, Cause> {
    let members: Vec<Member> = match sent.images {
        true => sent
            .list
            .descriptors()
            .map(|(descriptor, source)| member(&descriptor, source, options, store))
            .collect::<Result<_, _>>()?,
        false => Vec::new(),
    };
    let repositories = repositories(reference, &members, store)?;
    let target = Target::connect(reference, &options.access, &repositories)?;
    // What several images have is sent with the first.
    let mut seen = HashSet::new();
    for Member { document, manifest, origin } in &members {
        let origin = origin.as_ref().map(|(_, mirrors)| mirrors);
        let sending = Sending { target: &target, store, origin, sources: &repositories, options };
        let layers = manifest.layers().iter();
        let new = layers.filter_map(|layer| Some((layer.clone(), Digest::try_from(layer).ok()?)));
        let new = new.filter(|(_, digest)| seen.insert(digest.clone()));
        let (layers, names): (Vec<Descriptor>, Vec<Digest>) = new.unzip();
        sending.layers(&layers, &names, progress)?;
        sending.blob(manifest.config(), &NoProgress)?;
        target.manifest(document.digest.as_str(), &document.media_type, &document.content)?;
    }
    let format = sent.format.unwrap_or_else(|| sent.list.format());
    let content = sent.list.sent(format);
    target.manifest(&reference.selector(), format.media_type(), &content)?;
    Ok(Pushed { digest: Digest::of(&content), size: content.len() as u64 })
}

/// The manifest of an image of the list, byte for byte.
fn member(
    descriptor: &Descriptor,
    source: Option<&str>,
    options: &PushOptions,
    store: &Store,
) -> Result<Member, Cause> {
    let (document, origin) = match source {
        None => (store.layout().manifest(descriptor)?, None),
        Some(source) => {
            let source: Reference = source
                .parse()
                .map_err(|_| registry::Error::Invalid(format!("`{source}` is no repository")))?;
            let mirrors = Mirrors::new(&source, &options.access)?;
            (mirrors.manifest(descriptor)?, Some((source, mirrors)))
        }
    };
    // What it is served as is what the list says that it is.
    let document = Document { media_type: descriptor.media_type().to_string(), ..document };
    let Kind::Manifest(manifest) = manifest::read(&document)? else {
        let why = format!("`{}` is an index within an index", document.digest);
        return Err(registry::Error::Invalid(why).into());
    };
    for blob in blobs_of(&manifest) {
        Digest::try_from(blob).map_err(|error| registry::Error::Invalid(error.to_string()))?;
    }
    Ok(Member { document, manifest: *manifest, origin })
}

/// Other repositories of the same registry that have, or are likely to have, layers of the images.
fn repositories(
    reference: &Reference,
    members: &[Member],
    store: &Store,
) -> Result<Vec<String>, Cause> {
    let origins = members.iter().filter_map(|member| member.origin.as_ref());
    let origins = origins
        .map(|(source, _)| source)
        .filter(|source| source.domain() == reference.domain())
        .filter(|source| source.repository() != reference.repository())
        .map(|source| source.repository().to_owned());
    let layers: Vec<Descriptor> =
        members.iter().flat_map(|member| member.manifest.layers()).cloned().collect();
    let mut all: BTreeSet<String> = origins.collect();
    all.extend(sources(reference, &layers, &store.list()?));
    Ok(all.into_iter().collect())
}
