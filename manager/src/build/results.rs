//! What is built for several platforms, and the lists that the results are in.
//!
//! Docker has one list under each name, which is what was built last; podman adds to a list that it is told (`--manifest`). Both are had
//! here: `-t` with several platforms, and `--manifest` with any number.

use super::output::Outputs;
use crate::cli::BuildArgs;
use crate::error::{Error, Result};
use crate::event::{Kind, emit};
use crate::manifest::{descriptor_of, no_list};
use crate::reference::Reference;
use crate::registry::Platform;
use crate::registry::list::{Format, List};
use crate::save::{outgoing, spelled};
use crate::settings::Settings;
use crate::store::{Image, Occupant, Store};
use crate::tag;
use bundle::archive::Outgoing;
use bundle::digest::Digest;
use oci_spec::image::{Descriptor, MediaType};
use serde_json::{Value, json};

/// What a build is to come to.
pub(super) struct Results<'a> {
    /// What is built, in order; without a platform that was asked for, for this machine's.
    pub(super) platforms: Vec<Option<Platform>>,
    /// The names of the image, or of the list of images.
    names: &'a [Reference],
    /// The list that images are added to.
    list: Option<Reference>,
}

impl<'a> Results<'a> {
    /// What is asked for, if that can be had.
    pub(super) fn plan(
        store: &Store,
        args: &BuildArgs,
        names: &'a [Reference],
        outputs: &Outputs,
    ) -> Result<Self> {
        let list = args.manifest.as_deref().map(tag::target).transpose()?;
        if let Some(name) = &list
            && store.named_list(name)?.is_none()
            && store.named(name)?.is_some()
        {
            return Err(no_list(name));
        }
        let platforms = platforms(&args.platform);
        if platforms.len() > 1 {
            outputs.check_several()?;
        } else if let Some(name) = list.as_ref().filter(|name| names.contains(name)) {
            return Err(Error::refusal(format!(
                "`{name}` cannot be the name of the image and of the list that it is added to"
            )));
        }
        Ok(Self { platforms, names, list })
    }

    /// The names that each image gets: of several, none can have them.
    pub(super) fn names_of_each(&self) -> &[Reference] {
        if self.platforms.len() > 1 { &[] } else { self.names }
    }

    /// The directory for the files of a platform below that for all: `linux_arm_v7`, as Docker calls it.
    pub(super) fn directory(&self, platform: &Option<Platform>) -> Option<String> {
        let several = self.platforms.len() > 1;
        platform.as_ref().filter(|_| several).map(|platform| platform.to_string().replace('/', "_"))
    }

    /// Puts the images into the lists that are asked for; their names and digests.
    pub(super) fn gather(
        &self,
        settings: &Settings,
        store: &Store,
        images: &[Image],
    ) -> Result<Vec<(Reference, Digest)>> {
        let several = images.len() > 1;
        if images.is_empty() || (!several && self.list.is_none()) {
            return Ok(Vec::new());
        }
        // Until they are in a list, they have nothing else that keeps them.
        images.iter().try_for_each(|image| store.hold_image(image))?;
        let entries = self.entries(store, images)?;
        let mut lists = Vec::new();
        let own = self.names.iter().filter(|name| several && self.list.as_ref() != Some(name));
        for name in own {
            let list = store.change_list::<Error>(name, |_| Ok(with(List::default(), &entries)))?;
            lists.push((name.clone(), list.digest));
        }
        if let Some(name) = &self.list {
            let list = store.change_list(name, |occupant| match occupant {
                Occupant::List(_, list) => Ok(with(list, &entries)),
                Occupant::Nobody => Ok(with(List::default(), &entries)),
                Occupant::Other(_) => Err(no_list(name)),
            })?;
            lists.push((name.clone(), list.digest));
        }
        for (name, digest) in &lists {
            emit(settings, Kind::Image, "tag", digest.as_str(), &[("name", &name.to_string())]);
        }
        Ok(lists)
    }

    /// What was built, as it goes elsewhere: the image, or an index of the images for several platforms.
    pub(super) fn outgoing(&self, store: &Store, images: &[Image]) -> Result<Outgoing> {
        if let [image] = images {
            return outgoing(store, image, self.names);
        }
        let list = with(List::default(), &self.entries(store, images)?);
        let content = list.sent(Format::Oci);
        let (size, digest) = (content.len() as u64, Digest::of(&content));
        let manifest = Descriptor::new(MediaType::ImageIndex, size, &digest);
        Ok(Outgoing { manifest, index: Some(content), names: spelled(self.names) })
    }

    /// What stands for all that was built, as a registry is sent it, and the digest of its configuration: an image, which is the last one where
    /// there is no list of several. A list has no configuration.
    pub(super) fn described(
        &self,
        store: &Store,
        images: &[Image],
        lists: &[(Reference, Digest)],
    ) -> Result<Option<(Value, Option<Digest>)>> {
        if images.len() > 1
            && let Some((name, _)) = lists.first()
            && let Some(list) = store.named_list(name)?
        {
            let format = list.list.format();
            let content = list.list.sent(format);
            let descriptor = json!({
                "mediaType": format.media_type(), "digest": Digest::of(&content).as_str(),
                "size": content.len(),
            });
            return Ok(Some((descriptor, None)));
        }
        let last = self.entries(store, images)?.pop().zip(images.last());
        Ok(last.map(|(descriptor, image)| (descriptor, Some(image.id.clone()))))
    }

    /// What a list says of the images.
    fn entries(&self, store: &Store, images: &[Image]) -> Result<Vec<Value>> {
        let described =
            self.platforms.iter().zip(images).map(|(platform, image)| {
                Ok(entry(descriptor_of(store, image)?, platform.as_ref()))
            });
        described.collect()
    }
}

/// Each platform once; without any, one build for whatever the Dockerfile says.
fn platforms(asked: &[Platform]) -> Vec<Option<Platform>> {
    let mut platforms: Vec<Option<Platform>> = Vec::new();
    for platform in asked {
        if !platforms.iter().flatten().any(|known| known == platform) {
            platforms.push(Some(platform.clone()));
        }
    }
    if platforms.is_empty() {
        platforms.push(None);
    }
    platforms
}

/// What a list says of an image: that it is for the platform that it was built for. Its configuration may have another, as with
/// `FROM --platform=$BUILDPLATFORM`, and counts where nobody has asked for one.
fn entry(mut descriptor: Value, platform: Option<&Platform>) -> Value {
    if let Some(platform) = platform {
        let mut said = json!({ "architecture": platform.architecture(), "os": platform.os() });
        if let Some(variant) = platform.variant() {
            said["variant"] = variant.into();
        }
        descriptor["platform"] = said;
    }
    descriptor
}

/// The list with the images in it. One that was built for the same platform before is another state of the same thing, which whoever
/// pulls the list would be given in place of the new one.
fn with(mut list: List, entries: &[Value]) -> List {
    entries.iter().for_each(|entry| list.replace(entry.clone()));
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_platform_is_built_once_and_what_nobody_asks_for_once_too() {
        let asked: Vec<Platform> = ["linux/amd64", "arm64", "linux/arm64"]
            .iter()
            .map(|name| name.parse().unwrap())
            .collect();
        let shown: Vec<_> = platforms(&asked).iter().flatten().map(ToString::to_string).collect();
        assert_eq!(shown, ["linux/amd64", "linux/arm64"]);
        assert_eq!(platforms(&[]), [None]);
    }

    #[test]
    fn each_of_several_has_a_directory_of_its_own() {
        let asked: Vec<Platform> =
            ["linux/amd64", "linux/arm/v7"].iter().map(|name| name.parse().unwrap()).collect();
        let results = |count: usize| Results {
            platforms: platforms(&asked[..count]),
            names: &[],
            list: None,
        };
        let arm = Some(asked[1].clone());
        assert_eq!(results(2).directory(&arm).as_deref(), Some("linux_arm_v7"));
        assert_eq!(results(1).directory(&arm), None);
    }
}
