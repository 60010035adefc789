//! `--cache-to`: the steps of a build, for builds elsewhere.

use super::{INLINE_CACHE, format};
use crate::build::report::Report;
use crate::build::stages::{Base, Plan};
use crate::cli::{BuildArgs, CachePlace, CacheTarget};
use crate::error::{Error, Result};
use crate::progress::NoProgress;
use crate::push::{PushOptions, Sent, push_list};
use crate::reference::Reference;
use crate::registry::Access;
use crate::registry::list::{Format, List};
use crate::save::{outgoing, unsaved};
use crate::store::{self, Image, Store};
use crate::tag;
use crate::transfer;
use bundle::archive::{Outgoing, put_blobs};
use bundle::digest::Digest;
use bundle::layout::Layout;
use oci_spec::image::{Descriptor, MediaType};
use serde_json::Value;
use std::path::Path;

/// A step of a build, made or found.
#[derive(Clone, Debug)]
pub(in crate::build) struct Step {
    /// The place of its stage.
    pub(in crate::build) stage: usize,
    /// Its key.
    pub(in crate::build) key: Digest,
    /// What it has made.
    pub(in crate::build) image: Image,
}

/// All steps of a build for one platform.
#[derive(Clone, Debug, Default)]
pub(in crate::build) struct Steps {
    /// Those that the result stands on.
    below: Vec<Step>,
    /// The others.
    beside: Vec<Step>,
}

impl Steps {
    /// Tells them apart.
    pub(in crate::build) fn new(plan: &Plan, steps: Vec<Step>) -> Self {
        let mut stages: Vec<usize> = plan.order.last().copied().into_iter().collect();
        while let Some(Base::Stage(at)) = stages.last().map(|at| &plan.stages[*at].base) {
            stages.push(*at);
        }
        let (below, beside) = steps.into_iter().partition(|step| stages.contains(&step.stage));
        Self { below, beside }
    }

    /// Puts those that the result stands on into its configuration.
    pub(in crate::build) fn put_in(&self, store: &Store, document: &mut Value) -> Result<()> {
        let own = |step: &Step| Ok((step.key.clone(), store.config_document(&step.image)?));
        let steps: Vec<(Digest, Value)> = self.below.iter().map(own).collect::<Result<_>>()?;
        format::put_in(document, &steps);
        Ok(())
    }
}

/// Whether the image that is built is to have its steps in it.
pub(in crate::build) fn is_inline(args: &BuildArgs) -> bool {
    let last = args.build_arg.iter().rev().find(|(name, _)| name == INLINE_CACHE);
    let is_argument = last.is_some_and(|(_, value)| {
        value.as_ref().is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("true"))
    });
    is_argument || args.cache_to.iter().any(|target| target.place == CachePlace::Inline)
}

/// Refuses, before a long build, what cannot be written behind it.
pub(in crate::build) fn check(args: &BuildArgs) -> Result<()> {
    if args.squash && is_inline(args) {
        let message =
            "an image of one layer has no steps: --squash does not go with --cache-to type=inline";
        return Err(Error::Usage(message.to_owned()));
    }
    for target in &args.cache_to {
        if let CachePlace::Registry(name) = &target.place {
            tag::target(name)?;
        }
    }
    Ok(())
}

/// Writes the caches that are wanted.
pub(in crate::build) fn write(
    store: &Store,
    args: &BuildArgs,
    steps: &[Steps],
    report: &Report,
) -> Result<()> {
    for target in &args.cache_to {
        match write_to(store, args, target, steps, report) {
            Err(error) if target.ignore_error => {
                report.warn(&format!("the cache was not written: {error}"));
            }
            written => written?,
        }
    }
    Ok(())
}

fn write_to(
    store: &Store,
    args: &BuildArgs,
    target: &CacheTarget,
    steps: &[Steps],
    report: &Report,
) -> Result<()> {
    let index = match &target.place {
        CachePlace::Inline => return Ok(()),
        CachePlace::Registry(_) | CachePlace::Layout(..) => index(store, steps, target.all)?,
    };
    let Some(index) = index else {
        report.say("# There is no step that a cache could have");
        return Ok(());
    };
    match &target.place {
        CachePlace::Inline => {}
        CachePlace::Registry(name) => {
            let name = tag::target(name)?;
            push(store, args, &name, &index)?;
            report.say(&format!("# Wrote the cache {name}"));
        }
        CachePlace::Layout(path, tag) => {
            put(store, path, tag, index)?;
            report.say(&format!("# Wrote the cache {}", path.display()));
        }
    }
    Ok(())
}

/// The index of the steps, each once; nothing if there are none.
fn index(store: &Store, steps: &[Steps], all: bool) -> Result<Option<Vec<u8>>> {
    let mut entries: Vec<(Digest, Descriptor)> = Vec::new();
    for steps in steps {
        let beside: &[Step] = if all { &steps.beside } else { &[] };
        for step in steps.below.iter().chain(beside) {
            if !entries.iter().any(|(key, _)| *key == step.key) {
                entries.push((step.key.clone(), outgoing(store, &step.image, &[])?.manifest));
            }
        }
    }
    Ok((!entries.is_empty()).then(|| format::index(&entries)))
}

fn push(store: &Store, args: &BuildArgs, name: &Reference, index: &[u8]) -> Result<()> {
    let list = List::read(index).map_err(Error::refusal)?;
    let access = Access { credentials: None, tls: transfer::tls(&args.tls) };
    let options = PushOptions { access, ..PushOptions::default() };
    let sent = Sent { list: &list, format: Some(Format::Oci), images: true };
    push_list(name, sent, &options, store, &NoProgress)?;
    Ok(())
}

fn put(store: &Store, path: &Path, tag: &str, index: Vec<u8>) -> Result<()> {
    let layout = Layout::create(path).map_err(store::Error::from)?;
    let (size, digest) = (index.len() as u64, Digest::of(&index));
    let manifest = Descriptor::new(MediaType::ImageIndex, size, &digest);
    let all = Outgoing { manifest, index: Some(index), names: Vec::new() };
    put_blobs(store.layout(), std::slice::from_ref(&all), &layout).map_err(unsaved)?;
    layout.tag(tag, &all.manifest).map_err(store::Error::from)?;
    Ok(())
}
