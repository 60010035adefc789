//! `nman create`, and the first half of `nman run`: a container with everything but a process.
//!
//!     obtain     the image, from the store or its registry
//!     record     everything that was asked for, as a value: pure, but for what other containers' records say
//!     find       devices, profiles and files that the record names
//!     reserve    the container's directory, its name, its lock and ids of its own; the record is in it
//!     prepare    a layer of its own, volumes, config.json

mod account;
mod mount_points;
pub(crate) mod record;

use crate::assemble::{disassemble, enter_private_mounts, mount_root};
use crate::bundle::host::HostFacts;
use crate::bundle::rootfs::Rootfs;
use crate::bundle::{self, Confinement, Inputs, resources, seccomp};
use crate::cli::CreateArgs;
use crate::connection;
use crate::container::{Containers, Dir, Guard, Mark, MountKind, Record};
use crate::error::{Error, Result};
use crate::forget::{Volumes, forget};
use crate::monitor::Assembled;
use crate::runtime::Runtime;
use crate::settings::Settings;
use crate::store::{self, Image, Store};
use crate::undo::Undo;
use crate::volume::place;
use crate::{
    apparmor, device, event, health, image, labels, notice, passwd, rm, supervise, terminal,
    user_namespace, volume,
};
use ::bundle::digest::ChainId;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// A container that is there, locked by us, and that nothing runs in.
#[derive(Debug)]
pub struct Created {
    /// What it was made from.
    pub record: Record,
    dir: Dir,
    guard: Guard,
}

/// Makes a container. `attached` says whether its stdin ends with the first client; `warn` is told what this host cannot do.
pub fn create(
    settings: &Settings,
    args: &CreateArgs,
    attached: bool,
    warn: &mut dyn FnMut(&str),
) -> Result<Created> {
    let (runtime, containers, store) = prepare(settings)?;
    let obtain =
        || image::obtain(settings, &store, args.image(), args.pull, args.quiet, &args.registry);
    let mut image = obtain()?;
    let files = record::Files::read(args)?;
    loop {
        let foreign = image::foreign(&image, &args.registry);
        let order =
            Order { args, files: &files, attached, image, runtime: runtime.clone(), build: None };
        if let Some((created, warnings)) = make(settings, &containers, &store, order)? {
            warnings.iter().chain(&foreign).for_each(|warning| warn(warning));
            return Ok(created);
        }
        // Somebody has removed it meanwhile: it is another one by now, comes from its registry again, or is not there.
        image = obtain()?;
    }
}

/// Makes the container of a step of the build whose session is called `build`. `image` has the layers that the step stands on, and
/// what the step is given of a configuration.
pub(crate) fn create_for_build(
    settings: &Settings,
    args: &CreateArgs,
    image: Image,
    build: String,
) -> Result<Created> {
    let (runtime, containers, store) = prepare(settings)?;
    let files = record::Files::read(args)?;
    let id = image.id.to_string();
    let order = Order { args, files: &files, attached: true, image, runtime, build: Some(build) };
    let made = make(settings, &containers, &store, order)?;
    let (created, warnings) = made.ok_or(store::Error::NoSuchImage(id))?;
    // The same for each of its steps.
    warnings.into_iter().for_each(notice::note);
    // It is removed when it ends, if by then the build is not there to look at it.
    created.dir.set(Mark::Kept)?;
    Ok(created)
}

/// What a container is made with, once what unfinished ones have left is gone.
fn prepare(settings: &Settings) -> Result<(PathBuf, Containers, Store)> {
    let runtime = Runtime::find(settings.runtime.as_deref())?;
    let containers = Containers::open(&settings.containers())?;
    rm::unseen::remove_unfinished(settings, &containers);
    Ok((runtime, containers, Store::open(&settings.root)?))
}

/// What a container is made by.
struct Order<'a> {
    args: &'a CreateArgs,
    files: &'a record::Files,
    attached: bool,
    image: Image,
    runtime: PathBuf,
    build: Option<String>,
}

/// Makes the container; what this host cannot do for it comes with it. `None` if the image has been removed meanwhile.
fn make(
    settings: &Settings,
    containers: &Containers,
    store: &Store,
    order: Order<'_>,
) -> Result<Option<(Created, Vec<String>)>> {
    let Order { args, files, attached, image, runtime, build } = order;
    let host = HostFacts::of_caller(settings);
    let wish = record::Wish { args, attached, image: &image, runtime, host: &host, files };
    let (mut record, mut warnings) = wish.plan(settings)?;
    let (rows, columns) = terminal::size().unwrap_or_default();
    record.host_config.console_size = [rows, columns];
    record.build = build;
    mount_points::resolve_references(containers, &mut record)?;
    user_namespace::choose(settings, &mut record)?;
    warnings.extend(apparmor::choose(&host, &mut record, apparmor::find)?);
    warnings.extend(labels::choose(&host, containers, &mut record)?);
    let parts = Parts::find(&record)?;
    let cidfile = args.cidfile.as_deref().map(IdFile::create).transpose()?;
    let draft = Draft { settings, containers, store, image, host, parts };
    let Some(created) = draft.create(record, args.name.is_none())? else { return Ok(None) };
    if let Some(file) = cidfile {
        file.finish(&created.record)?;
    }
    Ok(Some((created, warnings)))
}

/// `nman create`: the container's id.
pub fn create_only(
    settings: &Settings,
    args: &CreateArgs,
    warn: &mut dyn FnMut(&str),
) -> Result<String> {
    let created = create(settings, args, true, warn)?;
    let id = &created.record.id;
    Containers::open(&settings.containers())?.finished(id)?;
    Ok(id.to_string())
}

impl Created {
    /// Gives it what it has while it runs, and has not otherwise. If that fails, nothing of the container stays.
    pub fn assemble(self, settings: &Settings) -> Result<(Record, Assembled)> {
        let Self { record, dir, guard } = self;
        let assembled = apparmor::provide(&record)
            .and_then(|()| place::mount_all(settings, &record, &dir))
            .and_then(|()| place::join(settings, &record, &dir))
            .and_then(|()| connection::connect(settings, &record, &dir));
        match assembled {
            Ok(()) => Ok((record, Assembled { dir, guard, first: true })),
            Err(error) => {
                let containers = Containers::open(&settings.containers())?;
                Err(undo(settings, &containers, &record, &dir).after(error))
            }
        }
    }
}

/// What takes away a container that could not be made.
fn undo<'a>(
    settings: &'a Settings,
    containers: &'a Containers,
    record: &'a Record,
    dir: &'a Dir,
) -> Undo<'a> {
    let mut undo = Undo::new();
    undo.push(move || forget(settings, containers, record, Volumes::Remove));
    undo.push(move || match disassemble(settings, record, dir) {
        errors if errors.is_empty() => Ok(()),
        errors => Err(Error::Several(errors)),
    });
    undo
}

/// What the record names and the host has.
struct Parts {
    found: device::Found,
    profile: Option<seccomp::Profile>,
    numbers: resources::Numbers,
}

impl Parts {
    fn find(record: &Record) -> Result<Self> {
        let config = &record.host_config;
        for point in record.mounts.iter().filter(|point| point.kind == MountKind::Bind) {
            if !point.detail.create_source
                && let Err(errno) = rustix::fs::stat(point.source.as_str())
            {
                return Err(place::missing_source(point, errno));
            }
        }
        let profile = match Confinement::of(config).seccomp.as_str() {
            "unconfined" => None,
            "builtin" => Some(seccomp::Profile::built_in()?),
            path => Some(seccomp::Profile::read(Path::new(path))?),
        };
        let numbers = resources::numbers(&config.limits)?;
        Ok(Self { found: device::find(config)?, profile, numbers })
    }
}

/// What a new container is made from.
struct Draft<'a> {
    settings: &'a Settings,
    containers: &'a Containers,
    store: &'a Store,
    image: Image,
    host: HostFacts,
    parts: Parts,
}

impl Draft<'_> {
    /// Makes the container, if the image is still there. If that fails, nothing of it stays.
    fn create(&self, record: Record, random: bool) -> Result<Option<Created>> {
        // Until the record is there, which keeps it from then on.
        let Some(held) = self.store.hold(&self.image)? else { return Ok(None) };
        let (record, dir, guard, changes) = self.reserve(record, random)?;
        drop(held);
        event::emit_container(self.settings, &record, "create", &[]);
        let prepared = self.prepare(&record, &dir);
        drop(changes);
        match prepared {
            Ok(()) => Ok(Some(Created { record, dir, guard })),
            Err(error) => Err(undo(self.settings, self.containers, &record, &dir).after(error)),
        }
    }

    /// Reserves the container's place, name and ids; a random name that is taken is drawn again.
    fn reserve(&self, mut record: Record, random: bool) -> Result<(Record, Dir, Guard, OwnedFd)> {
        loop {
            let complete = |record: &mut Record| {
                user_namespace::choose_free(self.settings, self.containers, record)
            };
            match self.containers.reserve_with(&mut record, complete) {
                Ok((dir, guard, changes)) => return Ok((record, dir, guard, changes)),
                Err(Error::NameTaken { .. }) if random => record.name = record.name.varied(),
                Err(error) => return Err(error),
            }
        }
    }

    /// Fills a reserved container's directory: layers, volumes, config.json.
    fn prepare(&self, record: &Record, dir: &Dir) -> Result<()> {
        enter_private_mounts(record, dir)?;
        self.prepare_layers(record, &self.image.chain_ids, record.id.as_str())?;
        self.prepare_images(record)?;
        mount_root(self.settings, record, dir)?;
        let rootfs = Rootfs::open(&dir.rootfs())?;
        account::provide(record, &rootfs)?;
        let identity = identity(record, &rootfs)?;
        volume::provide(self.settings, record, dir, &rootfs)?;
        let network = record.network.network.parse()?;
        let spec = bundle::plan(&Inputs {
            record,
            dir: dir.path(),
            identity: &identity,
            found: &self.parts.found,
            profile: self.parts.profile.as_ref(),
            numbers: &self.parts.numbers,
            network: &connection::namespace(&network, dir),
            window: terminal::size(),
            host: &self.host,
        })?;
        if !record.config.working_dir.is_empty() {
            let directory = &record.config.working_dir;
            user_namespace::as_root_of(record, || rootfs.ensure_directory(directory))?;
        }
        dir.write_bundle(record, &spec)?;
        supervise::provide_init(record, dir)?;
        health::prepare(record, dir, spec.process().as_ref())
    }

    /// A snapshot whose chain lasts as the record does: without it nothing says what the container stands on.
    fn prepare_layers(&self, record: &Record, chain: &[ChainId], key: &str) -> Result<()> {
        let snapshots = self.store.snapshots();
        snapshots.prepare(chain, key, &user_namespace::layer_owners(record))?;
        if !record.remove {
            snapshots.make_last(key)?;
        }
        Ok(())
    }

    /// Layers of the container's own over the images that it mounts, which keep them from being removed meanwhile.
    fn prepare_images(&self, record: &Record) -> Result<()> {
        for (at, point) in record.mounts.iter().enumerate() {
            if point.kind == MountKind::Image {
                let image = self.store.find(&point.name)?;
                let key = place::image_key(record, at);
                self.prepare_layers(record, &image.chain_ids, &key)?;
            }
        }
        Ok(())
    }
}

fn identity(record: &Record, rootfs: &Rootfs) -> Result<passwd::Identity> {
    let mut identity = look_up(&record.config.user, rootfs)?;
    if !record.host_config.group_add.is_empty() {
        let groups = rootfs.read("/etc/group")?.unwrap_or_default();
        for name in &record.host_config.group_add {
            let group = passwd::group(name, &groups)?;
            if !identity.groups.contains(&group) {
                identity.groups.push(group);
            }
        }
    }
    Ok(identity)
}

/// Finds out who `--user` is, in the container's own files.
pub fn look_up(wanted: &str, rootfs: &Rootfs) -> Result<passwd::Identity> {
    let passwd = rootfs.read("/etc/passwd")?.unwrap_or_default();
    let group = rootfs.read("/etc/group")?.unwrap_or_default();
    let mut identity = passwd::resolve(wanted, &passwd, &group)?;
    if crate::privilege::denies_groups() {
        // Its own group is all that there is; those that were asked for are refused by the runtime.
        identity.groups.clear();
    }
    Ok(identity)
}

/// The file that is to hold the container's id; it is removed again if there will be no container.
struct IdFile<'a> {
    path: &'a Path,
    file: std::fs::File,
    done: bool,
}

impl<'a> IdFile<'a> {
    fn create(path: &'a Path) -> Result<Self> {
        match std::fs::OpenOptions::new().write(true).create_new(true).open(path) {
            Ok(file) => Ok(Self { path, file, done: false }),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                Err(Error::Rejected {
                    message: format!(
                        "container ID file found, make sure the other container isn't running or delete {}",
                        path.display()
                    ),
                    hint: None,
                })
            }
            Err(error) => Err(Error::io("create the container ID file", path)(error)),
        }
    }

    fn finish(mut self, record: &Record) -> Result<()> {
        self.file
            .write_all(record.id.as_str().as_bytes())
            .map_err(Error::io("write", self.path))?;
        self.done = true;
        Ok(())
    }
}

impl Drop for IdFile<'_> {
    fn drop(&mut self) {
        if !self.done {
            // The error that brought us here says more.
            let _ = std::fs::remove_file(self.path);
        }
    }
}
