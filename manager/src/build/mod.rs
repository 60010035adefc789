//! `nman build`: an image from a Dockerfile.
//!
//!     context      the files, and the Dockerfile
//!     dockerfile   the text -> instructions: pure
//!     stages       which stages there are, and which are needed: pure
//!     builder      each stage, instruction by instruction:
//!       state        what an instruction makes of the configuration, and what is to be done with files: pure
//!       cache        the key of a step: pure; what it has made is in the store, under that key
//!         lookup       where it is looked for
//!         format       what a cache elsewhere looks like: pure; import takes from it, export writes it
//!       sources      what COPY copies, with digests; files writes it into the image's tree
//!       fetch        what ADD names by a URL; git, if that is a repository
//!       layouts      images of image layouts that the command line names
//!       mount        RUN --mount: pure; shelf lays out what it names, agent stands for an agent of SSH; keys runs one
//!       running      RUN: a container that ends with the build
//!       workshop     mounts of layers, and what was changed in them as a layer
//!     finish       labels, the image, its names
//!     results      several platforms, and the list of what is built for them
//!       metadata     what is written about it for whoever signs or deploys it
//!       output       --squash; the files as a directory or an archive
//!       archive      the image as an archive, or in an image layout
//!
//! prune removes what builds keep for each other.
//!
//! Each step's image is in the store as soon as it is made: a build that fails or is killed leaves what it has made so far to the
//! next one, and nothing else.

mod agent;
mod archive;
mod builder;
mod cache;
mod context;
pub mod dockerfile;
mod fetch;
mod files;
mod git;
mod glob;
pub mod ignore;
mod keys;
mod layouts;
mod lookup;
mod metadata;
pub mod mount;
mod output;
mod prune;
mod report;
mod results;
mod running;
mod shelf;
mod sources;
pub mod stages;
pub mod state;
mod workshop;

pub use prune::BuilderPrune;

use crate::cli::{
    BuildArgs, BuildOutput, ContextSource, NamedContext, ProgressKind, PushArgs, RegistryArgs,
};
use crate::container::Containers;
use crate::error::{Error, Result};
use crate::event::{Kind, emit};
use crate::new_image::{self, NewImage, SOURCE_DATE_EPOCH, source_date_epoch};
use crate::pull::Called;
use crate::reference::Reference;
use crate::registry::Platform;
use crate::rm;
use crate::settings::Settings;
use crate::store::{Image, Store, key_of_held};
use crate::tag;
use crate::transfer;
use builder::{Builder, Stand, fault_in};
use bundle::digest::Digest;
use cache::export::{self, Steps};
use cache::import::Caches;
use context::{Context, Files};
use dockerfile::Dockerfile;
use fetch::Fetcher;
use keys::Agents;
use metadata::Note;
use output::Outputs;
use report::Report;
use results::Results;
use running::Runner;
use stages::{Given, Plan};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use workshop::Workshop;

/// Builds the image; what is printed of it.
pub fn build(settings: &Settings, args: &BuildArgs) -> Result<String> {
    let names: Vec<Reference> =
        args.tag.iter().map(|name| tag::target(name)).collect::<Result<_>>()?;
    export::check(args)?;
    if args.push && names.is_empty() {
        return Err(Error::Usage("tag is needed when pushing to registry".to_owned()));
    }
    let mut outputs = Outputs::open(&args.output)?;
    outputs.image |= args.load;
    clear_files(args)?;
    let store = Store::open(&settings.root)?;
    let staging = store.stage()?;
    let steps = store.hold_steps()?;
    let containers = Containers::open(&settings.containers())?;
    rm::unseen::remove_of_dead_builds(settings, &containers, &store);
    let workshop = Workshop { store: &store, staging: &staging };
    let built = carry_out(settings, args, &workshop, &names, outputs);
    drop(steps);
    let let_go = store.let_go();
    let (mut text, notes) = built?;
    let_go?;
    if args.push {
        text.push_str(&push(settings, args)?);
    }
    notes.iter().try_for_each(Note::write)?;
    Ok(text)
}

/// `--push`: every name of the result goes to its registry. What is said of it, beside the id of a quiet build.
fn push(settings: &Settings, args: &BuildArgs) -> Result<String> {
    let quiet = args.quiet || args.progress == ProgressKind::Quiet;
    let mut said = String::new();
    for name in &args.tag {
        let (image, tls) = (name.clone(), args.tls.clone());
        let push = PushArgs { image, tls, quiet, ..PushArgs::default() };
        said.push_str(&transfer::push_named(settings, &push)?);
    }
    Ok(if quiet { String::new() } else { said })
}

/// Builds all stages that are needed, for one platform after the other, and then what was asked for from the last of each: where one
/// fails, nothing is kept but what steps have made.
fn carry_out<'a>(
    settings: &Settings,
    args: &'a BuildArgs,
    workshop: &Workshop<'_>,
    names: &[Reference],
    mut outputs: Outputs,
) -> Result<(String, Vec<Note<'a>>)> {
    let epoch = epoch(args)?;
    let results = Results::plan(workshop.store, args, names, &outputs)?;
    let agents = &Agents::start(&args.ssh, workshop.staging)?;
    let fetcher = &Fetcher { tls: &args.tls, agent: agents.socket("default")? };
    let context = Context::open(&args.context, args.file.as_deref(), workshop, fetcher)?;
    let contexts = named_contexts(args, workshop, fetcher)?;
    let file = dockerfile::parse(&context.text).map_err(|fault| fault_in(&context.name, fault))?;
    let quiet = args.quiet || args.progress == ProgressKind::Quiet;
    let (context, contexts, file) = (&context, contexts.as_slice(), &file);
    let work =
        Work { settings, args, workshop, fetcher, agents, context, contexts, file, epoch, quiet };
    let built: Vec<(Stand, Steps)> =
        results.platforms.iter().map(|platform| work.stages(platform)).collect::<Result<_>>()?;
    let mut images = Vec::new();
    for (platform, (stand, steps)) in results.platforms.iter().zip(&built) {
        if outputs.needs_image() {
            let held = key_of_held();
            let called = match outputs.image {
                true => Called::Names(results.names_of_each()),
                // It stays until all of it is elsewhere.
                false => Called::Step(&held),
            };
            images.push(work.finish((stand, steps), called)?);
        }
        let below = results.directory(platform);
        for warning in outputs.write(workshop, stand, epoch, below.as_deref())? {
            Report::new(quiet, 0).warn(&warning);
        }
    }
    let kept = if outputs.image { images.as_slice() } else { &[] };
    let lists = results.gather(settings, workshop.store, kept)?;
    if !outputs.exports.is_empty() {
        outputs.exports.write(workshop.store, &results.outgoing(workshop.store, &images)?)?;
    }
    let steps: Vec<Steps> = built.into_iter().map(|(_, steps)| steps).collect();
    export::write(workshop.store, args, &steps, &Report::new(quiet, 0))?;
    let mut notes = Vec::new();
    if let Some(path) = &args.metadata_file {
        let result = results.described(workshop.store, &images, &lists)?;
        notes.push(Note::of_metadata(path, result, (names, &lists)));
    }
    let ids = ids(&images, &lists);
    if let (Some(path), Some(id)) = (&args.iidfile, ids.last()) {
        notes.push(Note::of_id(path, id));
    }
    let names = if outputs.image { names } else { &[] };
    Ok((tell(args, &Report::new(quiet, 0), (&images, &lists), names), notes))
}

/// What the builds for all platforms have in common.
struct Work<'a> {
    settings: &'a Settings,
    args: &'a BuildArgs,
    workshop: &'a Workshop<'a>,
    fetcher: &'a Fetcher<'a>,
    agents: &'a Agents<'a>,
    context: &'a Context,
    contexts: &'a [Option<Files>],
    file: &'a Dockerfile,
    epoch: Option<i64>,
    quiet: bool,
}

impl Work<'_> {
    /// Builds all stages that are needed for a platform; what the last has come to.
    fn stages(&self, platform: &Option<Platform>) -> Result<(Stand, Steps)> {
        let &Self { settings, args, workshop, context, contexts, epoch, quiet, .. } = self;
        let given = given(args, platform.clone(), epoch);
        let fault = |fault| fault_in(&context.name, fault);
        let plan = stages::plan(self.file, &given).map_err(fault)?;
        state::check(&plan, &given).map_err(fault)?;
        let (store, session) = (workshop.store, workshop.staging.name());
        let report = Report::new(quiet, steps(&plan));
        if args.platform.len() > 1
            && let Some(platform) = platform
        {
            report.say(&format!("# Building for {platform}"));
        }
        let mut builder = Builder {
            settings,
            args,
            store,
            context,
            contexts,
            plan: &plan,
            given: &given,
            registry: RegistryArgs { tls: args.tls.clone(), platform: platform.clone() },
            workshop,
            runner: Runner { settings, store, args, session, quiet },
            fetcher: self.fetcher,
            agents: self.agents,
            report,
            epoch,
            caches: Caches::new(store, args, platform.clone(), quiet)?,
            done: BTreeMap::new(),
            steps: Mutex::default(),
        };
        for at in &plan.order {
            builder.stage(*at)?;
        }
        let unconsumed = plan.unconsumed(&given);
        if !unconsumed.is_empty() {
            let names = unconsumed.join(" ");
            builder.report.warn(&format!("One or more build-args [{names}] were not consumed"));
        }
        let last = plan.order.last().and_then(|at| builder.done.remove(at));
        let last = last.ok_or_else(|| Error::refusal("there is nothing to build"))?;
        let steps = builder.steps.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok((last, Steps::new(&plan, steps)))
    }

    /// The image of what was built, under its names or as what only builds hold.
    fn finish(&self, (stand, steps): (&Stand, &Steps), called: Called<'_>) -> Result<Image> {
        let &Self { settings, args, workshop, epoch, .. } = self;
        let mut new = NewImage::begin(workshop.store)?;
        let (mut document, layers) = match args.squash {
            true => output::squash(workshop, &new, stand, epoch)?,
            false => {
                let layers = stand.image.as_ref().map(|image| image.layers.clone());
                (stand.document.clone(), layers.unwrap_or_default())
            }
        };
        for label in &args.label {
            let (name, value) = label.split_once('=').unwrap_or((label, ""));
            document["config"]["Labels"][name] = value.into();
        }
        if export::is_inline(args) {
            steps.put_in(workshop.store, &mut document)?;
        }
        new.annotate(&args.annotation);
        let image = new.finish_as(&document, layers, called)?;
        let Called::Names(names) = called else { return Ok(image) };
        emit(settings, Kind::Image, "build", image.id.as_str(), &[("name", image.id.as_str())]);
        for name in names {
            emit(settings, Kind::Image, "tag", image.id.as_str(), &[("name", &name.to_string())]);
        }
        Ok(image)
    }
}

/// Opens the named contexts that are files.
fn named_contexts(
    args: &BuildArgs,
    workshop: &Workshop<'_>,
    fetcher: &Fetcher<'_>,
) -> Result<Vec<Option<Files>>> {
    let open = |(at, context): (usize, &NamedContext)| match &context.source {
        ContextSource::Image(_) | ContextSource::Layout { .. } => Ok(None),
        ContextSource::Files(path) => {
            Files::open(&context.name, path, at, workshop, fetcher).map(Some)
        }
    };
    args.build_context.iter().enumerate().map(open).collect()
}

/// The time that everything is to have: that of the build argument, or else of the variable.
fn epoch(args: &BuildArgs) -> Result<Option<i64>> {
    let mut given = args.build_arg.iter().rev().filter(|(name, _)| name == SOURCE_DATE_EPOCH);
    match given.find_map(|(_, value)| value.as_ref()) {
        Some(text) => new_image::epoch(text.as_ref()),
        None => source_date_epoch(),
    }
}

fn given(args: &BuildArgs, platform: Option<Platform>, epoch: Option<i64>) -> Given {
    // One that is passed on, and that we have not, is not given.
    let pairs =
        args.build_arg.iter().filter_map(|(name, value)| Some((name.clone(), value.clone()?)));
    // What commands make is to have the same time.
    let epoch = epoch.map(|seconds| (SOURCE_DATE_EPOCH.to_owned(), seconds.to_string()));
    Given {
        args: epoch.into_iter().chain(pairs).collect(),
        target: args.target.clone(),
        platform,
        contexts: args.build_context.clone(),
    }
}

/// How many steps there are, as far as the Dockerfile tells.
fn steps(plan: &Plan) -> usize {
    plan.order.iter().map(|at| plan.steps(*at)).sum()
}

/// Whoever reads the files is not to find what an earlier build has come to if this one fails.
fn clear_files(args: &BuildArgs) -> Result<()> {
    for path in [&args.iidfile, &args.metadata_file].into_iter().flatten() {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io("remove the file of an earlier build", path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The ids of what was built. A list is what was built where there is one.
fn ids<'a>(images: &'a [Image], lists: &'a [(Reference, Digest)]) -> Vec<&'a Digest> {
    match lists.first().filter(|_| images.len() > 1) {
        Some((_, digest)) => vec![digest],
        None => images.iter().map(|image| &image.id).collect(),
    }
}

/// Says what there is now.
fn tell(
    args: &BuildArgs,
    report: &Report,
    (images, lists): (&[Image], &[(Reference, Digest)]),
    names: &[Reference],
) -> String {
    for image in images {
        report.say(&format!("Successfully built {}", image.id.short()));
    }
    let listed = lists.iter().map(|(name, _)| name).filter(|name| !names.contains(name));
    for name in names.iter().chain(listed) {
        report.say(&format!("Successfully tagged {name}"));
    }
    // Nothing comes behind an archive.
    let is_told = report.is_quiet() && !args.output.iter().any(BuildOutput::is_stdout);
    let lines = ids(images, lists).into_iter().map(|id| format!("{id}\n"));
    if is_told { lines.collect() } else { String::new() }
}
