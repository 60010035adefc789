//! Building stages: each instruction in its turn, from the cache where that has it.

use super::agent::Forwarding;
use super::cache::export::Step;
use super::cache::history::spelled;
use super::cache::import::Caches;
use super::cache::{self, Surroundings};
use super::context::{self, Context};
use super::dockerfile::{Fault, Instruction, parse_trigger};
use super::fetch::Fetcher;
use super::files;
use super::keys::Agents;
use super::layouts;
use super::lookup::Key;
use super::mount::What;
use super::report::Report;
use super::running::Runner;
use super::shelf::{Files, Layout, agent_path};
use super::sources::{Source, Tree};
use super::stages::{Base, Given, Origin, Plan, Stage};
use super::state::{Act, Copy, Run, State, Unpack};
use super::workshop::{Layer, Workshop, apart, give_exact_modes};
use crate::cli::{BuildArgs, Entitlement, NetworkChoice, PullWhen, RegistryArgs};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::image;
use crate::network::Mode;
use crate::new_image::{NewImage, history};
use crate::proxy;
use crate::pull::Called;
use crate::registry::Platform;
use crate::settings::Settings;
use crate::store::{Image, Store};
use bundle::digest::{ChainId, Digest};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Mutex;
use sys::signals::set_mask;

/// How far a stage has got.
#[derive(Clone, Debug)]
pub(super) struct Stand {
    /// The configuration.
    pub(super) document: Value,
    /// The image here that has the layers; none as long as there are none.
    pub(super) image: Option<Image>,
    /// How many layers and entries of the history are those of the image that it begins with.
    pub(super) begins_with: (usize, usize),
    /// The arguments that it has declared, which a stage that begins with it has as well.
    pub(super) args: BTreeMap<String, String>,
}

impl Stand {
    pub(super) fn chain(&self) -> &[ChainId] {
        self.image.as_ref().map_or(&[], |image| &image.chain_ids)
    }
}

/// Where files are copied from.
enum From<'a> {
    Files(&'a context::Files),
    Layers(Vec<ChainId>),
}

/// Everything that a build has to do with.
pub(super) struct Builder<'a> {
    pub(super) settings: &'a Settings,
    pub(super) args: &'a BuildArgs,
    pub(super) store: &'a Store,
    pub(super) context: &'a Context,
    /// The files of named contexts, by their places; nothing for those that are images.
    pub(super) contexts: &'a [Option<context::Files>],
    pub(super) plan: &'a Plan,
    pub(super) given: &'a Given,
    /// How registries are reached, and the platform that is built for, if it was asked for.
    pub(super) registry: RegistryArgs,
    pub(super) workshop: &'a Workshop<'a>,
    pub(super) runner: Runner<'a>,
    pub(super) fetcher: &'a Fetcher<'a>,
    pub(super) agents: &'a Agents<'a>,
    pub(super) report: Report,
    /// SOURCE_DATE_EPOCH: the time of all that is made, which is else the time at which it is made.
    pub(super) epoch: Option<i64>,
    /// Caches elsewhere.
    pub(super) caches: Caches<'a>,
    /// The stages that are built.
    pub(super) done: BTreeMap<usize, Stand>,
    /// The steps, in order.
    pub(super) steps: Mutex<Vec<Step>>,
}

impl Builder<'_> {
    /// Builds a stage of which all that it needs is built.
    pub(super) fn stage(&mut self, at: usize) -> Result<()> {
        let stage = &self.plan.stages[at];
        self.report.step(&stage.from.text());
        let mut stand = self.base(at, stage).map_err(|error| self.at(&stage.from, &error))?;
        if let Some(image) = &stand.image {
            self.report.made(&image.id);
        }
        let mut state = State::new(stand.document.take(), self.plan, self.given)
            .with_args(std::mem::take(&mut stand.args));
        state.provide_path();
        let triggers = state.take_triggers();
        let fault = |fault| self.fault(fault);
        let triggers: Result<Vec<Instruction>> = triggers
            .iter()
            .map(|text| parse_trigger(text, self.plan.escape, stage.from.line).map_err(fault))
            .collect();
        let triggers = triggers?;
        self.provide(at, &triggers)?;
        self.report.triggers(triggers.len());
        for step in triggers.iter().chain(&stage.steps) {
            self.report.step(&step.text());
            let done = self.step(at, step, &mut state, &mut stand);
            done.map_err(|error| self.at(step, &error))?;
        }
        stand.args.clone_from(state.args());
        stand.document = state.document;
        self.done.insert(at, stand);
        Ok(())
    }

    /// Builds the stages that triggers take files from, with what those need: the triggers are in an image, and the plan has not seen them.
    fn provide(&mut self, at: usize, triggers: &[Instruction]) -> Result<()> {
        let named = |trigger| self.plan.origins(at, trigger, self.given);
        let with_needs = |stage| self.plan.needed(stage, self.given);
        let needed: Vec<usize> = triggers.iter().flat_map(named).flat_map(with_needs).collect();
        for stage in needed {
            if !self.done.contains_key(&stage) {
                self.report.unforeseen(self.plan.steps(stage));
                self.stage(stage)?;
            }
        }
        Ok(())
    }

    fn base(&self, at: usize, stage: &Stage) -> Result<Stand> {
        let (name, platform) = match &stage.base {
            Base::Stage(at) => return Ok(self.done[at].clone()),
            Base::Scratch => return Ok(self.scratch()),
            Base::Context(name) => return self.of_files(at, name, &stage.from.text()),
            Base::Image { name, platform } => (name, platform),
        };
        let mut registry = self.registry.clone();
        if let Some(text) = platform {
            let parsed: std::result::Result<Platform, _> = text.parse();
            registry.platform = Some(parsed.map_err(|error| Error::refusal(error.to_string()))?);
        }
        let image = self.obtain(name, &registry)?;
        if let Some(warning) = image::foreign(&image, &registry) {
            self.report.warn(&warning);
        }
        self.on(image)
    }

    fn scratch(&self) -> Stand {
        let host = Platform::host();
        let platform = self.registry.platform.as_ref().unwrap_or(&host);
        // The variant of this machine's CPU is nothing that a file from scratch needs.
        let variant = self.registry.platform.as_ref().and_then(Platform::variant);
        let document = State::scratch(platform.os(), platform.architecture(), variant);
        Stand { document, image: None, begins_with: (0, 0), args: BTreeMap::new() }
    }

    /// A stage that begins with the files of a named context.
    fn of_files(&self, at: usize, name: &str, by: &str) -> Result<Stand> {
        let scratch = self.scratch();
        let copy = Copy {
            from: Some(name.to_owned()),
            sources: vec![".".to_owned()],
            target: "/".to_owned(),
            ..Copy::nothing(Unpack::Never)
        };
        let image = self.copy(at, &copy, &scratch.document, &scratch, by)?;
        self.on(image)
    }

    /// A stage that begins with an image.
    fn on(&self, image: Image) -> Result<Stand> {
        let document = self.store.config_document(&image)?;
        let history = document["history"].as_array().map_or(0, Vec::len);
        let begins_with = (image.layers.len(), history);
        Ok(Stand { document, image: Some(image), begins_with, args: BTreeMap::new() })
    }

    fn obtain(&self, name: &str, registry: &RegistryArgs) -> Result<Image> {
        let contexts = &self.args.build_context;
        let platform = registry.platform.as_ref();
        if let Some(image) = layouts::obtain(self.store, contexts, name, platform)? {
            return Ok(image);
        }
        let when = if self.args.pull { PullWhen::Always } else { PullWhen::Missing };
        let quiet = self.report.is_quiet();
        let image = image::obtain(self.settings, self.store, name, when, quiet, registry)?;
        // From now on nobody takes it from us.
        self.store.hold_image(&image)?;
        Ok(image)
    }

    /// One instruction.
    fn step(
        &self,
        at: usize,
        step: &Instruction,
        state: &mut State<'_>,
        stand: &mut Stand,
    ) -> Result<()> {
        // What it stands on, before the instruction has changed anything.
        let act = state.apply(step).map_err(Error::refusal)?;
        let document = &state.document;
        let image = match act {
            Act::Nothing | Act::Configured => {
                let created = document["created"].as_str().unwrap_or_default().to_owned();
                let entry = history(&created, &step.text(), None, true);
                note(&mut state.document, entry);
                return Ok(());
            }
            Act::Run(run) => self.run(at, &run, document, stand)?,
            Act::Copy(copy) => self.copy(at, &copy, document, stand, &step.text())?,
            Act::Directory(path) => self.directory(at, &path, document, stand, &step.text())?,
        };
        self.report.made(&image.id);
        state.document = self.store.config_document(&image)?;
        stand.image = Some(image);
        Ok(())
    }

    fn run(&self, at: usize, run: &Run, document: &Value, stand: &Stand) -> Result<Image> {
        let network = self.runner.network(run)?;
        self.check_allowed(run, network.as_ref())?;
        let files = self.named(at, run)?;
        let digests: Vec<Digest> = files.iter().flatten().map(Files::digest).collect();
        let around = Surroundings { network: network.as_ref(), hosts: &self.args.add_host };
        let digest = cache::of_run(document, run, around, &digests, self.epoch);
        let key = Key { stage: at, digest };
        let by = &spelled(run, around);
        if let Some(found) = self.cached(&key, stand, self.told(run, document, stand, by))? {
            return Ok(found);
        }
        let base = stand.image.as_ref().ok_or_else(|| {
            Error::refusal(
                "there is nothing that could be run: the stage is from scratch, and has no files",
            )
        })?;
        let new = NewImage::begin(self.store)?;
        let (settings, workshop) = (self.settings, self.workshop);
        let layout = Layout { settings, workshop, secrets: &self.args.secret };
        // What asks us to end is for whoever is attached to the container: the build then fails, and clears up behind it.
        let before = set_mask(&proxy::asking_to_end());
        // The threads of these must not be asked either; and they would keep the step's mounts if they were made among them.
        let agents = self.agents(run);
        let step = || {
            // But it ends a build that is still waiting for a cache, or that copies what may be large.
            let blocked = set_mask(&before);
            let mut shelf = layout.lay_out(run, &files)?;
            set_mask(&blocked);
            let given = (std::mem::take(&mut shelf.points), std::mem::take(&mut shelf.variables));
            let layer = self.runner.run(run, (base, document), given, &new, self.epoch)?;
            layout.clear(shelf, run.mounts.len())?;
            Ok(layer)
        };
        let layer = agents.and_then(|_agents| apart(step));
        set_mask(&before);
        let layer = layer?;
        self.keep(new, &key, document, stand, layer, by)
    }

    /// That the command line allows a command what takes it out of its confinement: the Dockerfile may be anybody's.
    fn check_allowed(&self, run: &Run, network: Option<&NetworkChoice>) -> Result<()> {
        let is_of_host = |network: Option<&NetworkChoice>| {
            network.is_some_and(|choice| choice.mode == Mode::Host)
        };
        let reaches_host = is_of_host(network) && !is_of_host(self.args.network.as_ref());
        for (entitlement, is_asked, name) in [
            (Entitlement::Insecure, run.insecure, "security.insecure"),
            (Entitlement::HostNetwork, reaches_host, "network.host"),
        ] {
            if is_asked && !self.args.allow.contains(&entitlement) {
                return Err(Error::Rejected {
                    message: format!("{name} is not allowed"),
                    hint: Some(format!("`--allow {name}` allows it")),
                });
            }
        }
        Ok(())
    }

    /// The files that each mount of a command names.
    fn named(&self, at: usize, run: &Run) -> Result<Vec<Option<Files<'_>>>> {
        let mut files = Vec::new();
        for mount in &run.mounts {
            let (from, source, of_context) = match &mount.what {
                What::Bind { from, source, .. } => (from, source, true),
                What::Cache { from, source, .. } => (from, source, false),
                _ => {
                    files.push(None);
                    continue;
                }
            };
            files.push(match self.origin(at, from.as_deref())? {
                From::Layers(chain) => Some(Files::Layers(chain, source.clone())),
                From::Files(files) if of_context => Some(Files::listed(files, source)?),
                From::Files(_) if from.is_some() => {
                    return Err(Error::refusal("a cache cannot begin with files of a context"));
                }
                From::Files(_) => None,
            });
        }
        Ok(files)
    }

    /// Sockets that stand for the agents that a command asks for.
    fn agents(&self, run: &Run) -> Result<Vec<Forwarding>> {
        let mut agents = Vec::new();
        for (at, mount) in run.mounts.iter().enumerate() {
            let What::Ssh { id, required, .. } = &mount.what else { continue };
            match self.agents.socket(id)? {
                Some(socket) => {
                    let path = agent_path(self.workshop, at);
                    agents.push(Forwarding::begin(&socket, path)?);
                }
                None if *required => {
                    return Err(Error::Rejected {
                        message: format!("no SSH key \"{id}\" forwarded from the client"),
                        hint: Some(format!("`--ssh {id}` forwards an agent that has one")),
                    });
                }
                None => {}
            }
        }
        Ok(agents)
    }

    fn directory(
        &self,
        at: usize,
        path: &str,
        document: &Value,
        stand: &Stand,
        by: &str,
    ) -> Result<Image> {
        let key = Key { stage: at, digest: cache::of_directory(document, path, self.epoch) };
        let is_plain = by.strip_prefix("WORKDIR ").is_some_and(|word| word == path);
        let told = if is_plain { self.told_if_timeless(document, stand, by) } else { None };
        if let Some(found) = self.cached(&key, stand, told)? {
            return Ok(found);
        }
        let new = NewImage::begin(self.store)?;
        let layer = apart(|| {
            give_exact_modes();
            let here = self.workshop.mount(stand.chain(), "layer")?;
            here.root.ensure_directory(path)?;
            let layer = self.workshop.pack(&new, &here, self.epoch)?;
            self.workshop.clear(here)?;
            Ok(layer)
        })?;
        self.keep(new, &key, document, stand, layer, by)
    }

    /// COPY and ADD. The sources are looked at first: what they are decides whether they have to be copied.
    fn copy(
        &self,
        at: usize,
        copy: &Copy,
        document: &Value,
        stand: &Stand,
        by: &str,
    ) -> Result<Image> {
        let from = self.origin(at, copy.from.as_deref())?;
        let fetched = self.fetched(copy)?;
        apart(|| {
            give_exact_modes();
            let mounted = match &from {
                From::Layers(chain) => Some(self.workshop.mount(chain, "from")?),
                From::Files(_) => None,
            };
            let exclude = Some(&copy.exclude);
            let files = match &from {
                From::Files(files) => files,
                From::Layers(_) => &self.context.files,
            };
            let tree = match &mounted {
                Some(mounted) => {
                    let name = copy.from.as_deref().unwrap_or_default();
                    Tree { root: mounted.root.fd(), name, ignore: None, exclude, owned: true }
                }
                None => Tree { exclude, ..files.tree() },
            };
            let default = match mounted {
                Some(_) => files::Default::Kept,
                None => files::Default::Root,
            };
            let own = self.sources(&tree, copy)?;
            let own_digests: Vec<Digest> = own.iter().map(Source::digest).collect();
            let sources: Vec<Source> = fetched.into_iter().chain(own).collect();
            if sources.is_empty() {
                // Patterns that fit nothing are passed over beside other sources, not alone.
                return Err(tree.nothing(&copy.sources.join(" ")));
            }
            check_count(&sources, copy)?;
            let digests: Vec<Digest> = sources.iter().map(Source::digest).collect();
            let kept = default == files::Default::Kept;
            let digest = cache::of_copy(document, copy, &digests, kept, self.epoch);
            let key = Key { stage: at, digest };
            let image = match self.cached(&key, stand, None)? {
                Some(found) => found,
                None => {
                    let new = NewImage::begin(self.store)?;
                    let here = self.workshop.mount(stand.chain(), "layer")?;
                    files::copy(&here.root, &sources, copy, default)?;
                    let layer = self.workshop.pack(&new, &here, self.epoch)?;
                    self.workshop.clear(here)?;
                    // Of layers nobody can change anything meanwhile.
                    if let From::Files(_) = from {
                        self.check_unchanged(&tree, copy, &own_digests)?;
                    }
                    self.keep(new, &key, document, stand, layer, by)?
                }
            };
            drop(sources);
            mounted.map_or(Ok(()), |mounted| self.workshop.clear(mounted))?;
            Ok(image)
        })
    }

    /// What `from` names; without one, the context.
    fn origin(&self, at: usize, from: Option<&str>) -> Result<From<'_>> {
        let Some(from) = from else { return Ok(From::Files(&self.context.files)) };
        Ok(match self.plan.origin(at, from, self.given) {
            Origin::Stage(stage) => {
                let stand = self.done.get(&stage).ok_or_else(|| {
                    Error::refusal(format!(
                        "stage `{from}` has not been built: nothing has named it"
                    ))
                })?;
                From::Layers(stand.chain().to_vec())
            }
            Origin::Image(name) => From::Layers(self.obtain(&name, &self.registry)?.chain_ids),
            Origin::Context(at) => {
                From::Files(self.contexts[at].as_ref().unwrap_or(&self.context.files))
            }
        })
    }

    fn sources(&self, tree: &Tree<'_>, copy: &Copy) -> Result<Vec<Source>> {
        let mut sources = Vec::new();
        if !copy.inline.is_empty() {
            sources.extend(self.inline(copy)?);
        }
        for word in &copy.sources {
            match copy.parents {
                true => sources.extend(tree.find_with_parents(word)?),
                false => sources.extend(tree.find(word)?),
            }
        }
        Ok(sources)
    }

    /// What is added from elsewhere, fetched.
    fn fetched(&self, copy: &Copy) -> Result<Vec<Source>> {
        let mut sources = Vec::new();
        let directory = |at: usize| self.workshop.emptied(&format!("fetched-{at}"), 0o755);
        for url in &copy.urls {
            let directory = directory(sources.len())?;
            sources.push(self.fetcher.file(url, copy.checksum.as_ref(), &directory)?);
        }
        for repository in &copy.repositories {
            let directory = directory(sources.len())?;
            let wish = (copy.keeps_git, &copy.exclude);
            sources.push(self.fetcher.repository(repository, wish, &directory)?);
        }
        Ok(sources)
    }

    /// Files whose content stands in the Dockerfile, written where they can be copied from.
    fn inline(&self, copy: &Copy) -> Result<Vec<Source>> {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = self.workshop.emptied("inline", 0o700)?;
        let root = std::fs::File::open(&directory).map_err(Error::io("open", &directory))?;
        let mut sources = Vec::new();
        for (name, text) in &copy.inline {
            let path = directory.join(name);
            let mode = std::fs::Permissions::from_mode(0o644);
            let written = std::fs::write(&path, text);
            written
                .and_then(|()| std::fs::set_permissions(&path, mode))
                .map_err(Error::io("write", &path))?;
            let root = std::os::fd::AsFd::as_fd(&root);
            let tree =
                Tree { root, name: "the Dockerfile", ignore: None, exclude: None, owned: false };
            sources.push(tree.find_one(name)?);
        }
        Ok(sources)
    }

    /// A file that has changed while it was copied is not what the key says.
    fn check_unchanged(&self, tree: &Tree<'_>, copy: &Copy, digests: &[Digest]) -> Result<()> {
        let again = self.sources(tree, copy)?;
        match again.iter().map(Source::digest).eq(digests.iter().cloned()) {
            true => Ok(()),
            false => Err(tree.has_changed()),
        }
    }

    /// Puts what a step has made into the store, under its key.
    fn keep(
        &self,
        new: NewImage<'_>,
        key: &Key,
        document: &Value,
        stand: &Stand,
        layer: Option<Layer>,
        by: &str,
    ) -> Result<Image> {
        let mut document = document.clone();
        let created =
            self.epoch.map_or_else(Timestamp::now, |seconds| Timestamp::from_unix(seconds, 0));
        let created = created.to_string();
        document["created"] = created.clone().into();
        note(&mut document, history(&created, by, None, layer.is_none()));
        let mut layers = stand.image.as_ref().map_or_else(Vec::new, |image| image.layers.clone());
        if let Some((descriptor, diff_id)) = layer {
            layers.push(descriptor);
            if let Some(ids) = document["rootfs"]["diff_ids"].as_array_mut() {
                ids.push(diff_id.to_string().into());
            }
        }
        let image = new.finish_as(&document, layers, Called::Step(&key.digest))?;
        self.record(key, &image);
        Ok(image)
    }

    fn at(&self, step: &Instruction, error: &Error) -> Error {
        let (name, line, title) = (&self.context.name, step.line, step.title());
        Error::Rejected { message: format!("{name}:{line}: {title}: {error}"), hint: error.hint() }
    }

    fn fault(&self, fault: Fault) -> Error {
        fault_in(&self.context.name, fault)
    }
}

/// A fault of the Dockerfile, as it is told.
pub(super) fn fault_in(name: &str, fault: Fault) -> Error {
    Error::Rejected { message: format!("{name}:{}: {}", fault.line, fault.why), hint: fault.hint }
}

/// Adds an entry to a configuration's history.
pub(super) fn note(document: &mut Value, entry: Value) {
    match document["history"].as_array_mut() {
        Some(history) => history.push(entry),
        None => document["history"] = json!([entry]),
    }
}

/// Several files need a directory, also if one word names them.
fn check_count(sources: &[Source], copy: &Copy) -> Result<()> {
    if sources.len() > 1 && !copy.target.ends_with('/') {
        return Err(Error::refusal(format!(
            "there are {} files to copy: the destination `{}` must be a directory and end with a /",
            sources.len(),
            copy.target
        )));
    }
    Ok(())
}
