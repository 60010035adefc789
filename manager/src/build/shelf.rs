//! What `RUN --mount` names, laid out where a container can have it mounted: caches as volumes, secrets in memory, files as copies,
//! agents as sockets of ours; and a here-document that is a program.
//!
//! All of it is mounted in the step's own mount namespace, or lies in the build's session, and goes with it; but for the caches.

use super::context;
use super::mount::{Mount, Sharing, What};
use super::sources::Source;
use super::state::{Run, SCRIPTS, Script};
use super::workshop::{Mounted, Workshop};
use crate::cli::BuildSecret;
use crate::container::{Detail, MountKind, MountPoint, Relabel};
use crate::cp::place::{Place, Root};
use crate::cp::tree::{Copier, Owners};
use crate::error::{Error, Result};
use crate::settings::Settings;
use crate::volume::{BUILD_CACHE, VolumeLock, VolumeName, Volumes};
use bundle::digest::{ChainId, Digest};
use bundle::layer::OwnerMap;
use rustix::mount::MountFlags;
use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

/// Files that a bind mount shows, or that a cache begins with.
pub(super) enum Files<'a> {
    /// At a path of a context, as they were found.
    Listed { context: &'a context::Files, path: String, found: Source },
    /// Of other layers, by a path in them.
    Layers(Vec<ChainId>, String),
}

/// What is laid out, as long as the step takes.
#[derive(Default)]
pub(super) struct Shelf {
    /// What the container has mounted.
    pub(super) points: Vec<MountPoint>,
    /// Variables that it has besides.
    pub(super) variables: Vec<(String, String)>,
    mounted: Vec<Mounted>,
    secrets: Option<PathBuf>,
    caches: Caches,
}

/// The volumes of a command's caches.
#[derive(Default)]
struct Caches {
    /// By the places of their mounts.
    names: BTreeMap<usize, VolumeName>,
    /// Those that nobody else has meanwhile.
    locks: BTreeMap<VolumeName, VolumeLock>,
}

/// Who lays out.
pub(super) struct Layout<'a> {
    pub(super) settings: &'a Settings,
    pub(super) workshop: &'a Workshop<'a>,
    pub(super) secrets: &'a [BuildSecret],
}

impl Layout<'_> {
    /// Lays out what the mounts name. `files` are those that each names, by its place. In a mount namespace of its own.
    pub(super) fn lay_out(&self, run: &Run, files: &[Option<Files<'_>>]) -> Result<Shelf> {
        let caches = self.caches(&run.mounts, files)?;
        let mut shelf = Shelf { caches, ..Shelf::default() };
        for (at, (mount, files)) in run.mounts.iter().zip(files).enumerate() {
            self.mount(&mut shelf, at, mount, files.as_ref())?;
        }
        if let Some(Script { name, text }) = &run.script {
            let directory = self.workshop.emptied("script", 0o755)?;
            let path = directory.join(name);
            fs::write(&path, text).map_err(Error::io("write", &path))?;
            dress(&path, (0o755, 0, 0))?;
            shelf.points.push(bind(&directory, false, SCRIPTS));
        }
        Ok(shelf)
    }

    fn mount(
        &self,
        shelf: &mut Shelf,
        at: usize,
        mount: &Mount,
        files: Option<&Files<'_>>,
    ) -> Result<()> {
        let target = mount.target.as_str();
        let point = match (&mount.what, files) {
            (What::Cache { id, writable, .. }, _) => {
                let name = &shelf.caches.names[&at];
                let data = Volumes::of(self.settings).data(name);
                Some(Self::cache(name, &data, id, *writable, target))
            }
            (What::Bind { writable, .. }, Some(Files::Listed { context, path, found })) => {
                let point = self.listed(at, found, *writable, target)?;
                let tree = context.tree();
                match tree.find_one(path)?.digest() == found.digest() {
                    true => Some(point),
                    false => return Err(tree.has_changed()),
                }
            }
            (What::Bind { writable, .. }, Some(Files::Layers(chain, path))) => {
                let mounted = self.workshop.mount(chain, &format!("bind-{at}"))?;
                let source = place_of(&mounted, path)?;
                shelf.mounted.push(mounted);
                // All of the overlay has one label already.
                let mode = String::new();
                Some(MountPoint { mode, ..bind(&source, *writable, target) })
            }
            (What::Bind { .. }, None) => None,
            (What::Tmpfs { size }, _) => Some(tmpfs(size.as_deref(), target)?),
            (What::Secret { .. }, _) => self.secret(shelf, at, mount)?,
            (What::Ssh { look, .. }, _) => {
                let path = agent_path(self.workshop, at);
                if path.exists() {
                    dress(&path, *look)?;
                    let socket = ("SSH_AUTH_SOCK".to_owned(), target.to_owned());
                    if !shelf.variables.iter().any(|(name, _)| *name == socket.0) {
                        shelf.variables.push(socket);
                    }
                    Some(bind(&path, true, target))
                } else {
                    None
                }
            }
        };
        shelf.points.extend(point);
        Ok(())
    }

    /// The volumes of the caches, each with what it begins with, and the locks of those that are not shared.
    ///
    /// No two builds wait for each other: whoever has a lock waits only for one that comes behind it. A shared cache is locked to be filled, and
    /// so that is done before anything stays locked.
    fn caches(&self, mounts: &[Mount], files: &[Option<Files<'_>>]) -> Result<Caches> {
        let mut caches = Caches::default();
        let (mut locked, mut private) = (BTreeMap::new(), Vec::new());
        for (at, mount) in mounts.iter().enumerate() {
            let What::Cache { id, sharing, .. } = &mount.what else { continue };
            // One that begins with other files is another cache.
            let base = files[at].as_ref().map(|files| format!(" {}", files.digest()));
            let identity = format!("{id}{}", base.unwrap_or_default());
            let name = cache_name(&identity)?;
            caches.names.insert(at, name.clone());
            match sharing {
                Sharing::Shared => self.fill(&caches, at, mount, files[at].as_ref())?,
                Sharing::Locked => drop(locked.insert(name, id.as_str())),
                Sharing::Private => private.push((at, id.as_str(), identity)),
            }
        }
        self.lock(&mut caches, locked, private)?;
        for (at, mount) in mounts.iter().enumerate() {
            if !matches!(mount.what, What::Cache { sharing: Sharing::Shared, .. }) {
                self.fill(&caches, at, mount, files[at].as_ref())?;
            }
        }
        Ok(caches)
    }

    /// Takes the locks: of those that others are waited for, in the order of their names; then of those of which another one is taken instead.
    fn lock(
        &self,
        caches: &mut Caches,
        locked: BTreeMap<VolumeName, &str>,
        private: Vec<(usize, &str, String)>,
    ) -> Result<()> {
        let volumes = Volumes::of(self.settings);
        for (name, id) in locked {
            volumes.ensure(&name, labels(id), BTreeMap::new())?;
            let lock = volumes.lock_data(&name)?;
            caches.locks.insert(name, lock);
        }
        for (at, id, identity) in private {
            let mut name = cache_name(&identity)?;
            let mut count = 1;
            loop {
                volumes.ensure(&name, labels(id), BTreeMap::new())?;
                let free = !caches.locks.contains_key(&name);
                if free && let Some(lock) = volumes.try_lock_data(&name)? {
                    caches.locks.insert(name.clone(), lock);
                    break;
                }
                count += 1;
                name = cache_name(&format!("{identity} {count}"))?;
            }
            caches.names.insert(at, name);
        }
        Ok(())
    }

    /// Makes sure that a cache is there, and gives a new one its look or the files that it begins with.
    fn fill(
        &self,
        caches: &Caches,
        at: usize,
        mount: &Mount,
        files: Option<&Files<'_>>,
    ) -> Result<()> {
        let What::Cache { id, look, .. } = &mount.what else { return Ok(()) };
        let name = &caches.names[&at];
        let volumes = Volumes::of(self.settings);
        volumes.ensure(name, labels(id), BTreeMap::new())?;
        let data = volumes.data(name);
        if !is_empty(&data) {
            return Ok(());
        }
        let Some(Files::Layers(chain, path)) = files else { return dress(&data, *look) };
        let is_locked = caches.locks.contains_key(name);
        let _lock = if is_locked { None } else { Some(volumes.lock_data(name)?) };
        if !is_empty(&data) {
            return Ok(());
        }
        let mounted = self.workshop.mount(chain, &format!("cache-{at}"))?;
        let root = Root::Container { root: mounted.root.fd(), name: "what it is mounted from" };
        let source = root.source(&format!("/{path}"), true)?.place;
        // Beside it, until all of it is there: killed half-way, the cache is as empty as it was.
        let half = data.with_file_name("_filling");
        crate::snapshot::remove_tree(&half)?;
        crate::snapshot::create_directory(&half, 0o755)?;
        let there = Root::Host.destination(&format!("{}/.", half.display()))?.place;
        let owners = Owners::Kept(OwnerMap::default());
        let copied = Copier::for_build(owners, None, Box::new(|_| true)).merge_as(&source, &there);
        copied.map_err(|fault| fault.explain(path, &mount.target))?;
        fs::rename(&half, &data).map_err(Error::io("fill", &data))?;
        drop(source);
        self.workshop.clear(mounted)
    }

    fn cache(name: &VolumeName, data: &Path, id: &str, writable: bool, target: &str) -> MountPoint {
        let detail = Detail { no_copy: true, labels: labels(id), ..Detail::default() };
        MountPoint {
            kind: MountKind::Volume,
            name: name.as_str().to_owned(),
            driver: "local".to_owned(),
            detail,
            ..bind(data, writable, target)
        }
    }

    /// A copy of files of the context, without what is left out of it.
    fn listed(
        &self,
        at: usize,
        source: &Source,
        writable: bool,
        target: &str,
    ) -> Result<MountPoint> {
        let directory = self.workshop.staging.path(&format!("bind-{at}"));
        crate::snapshot::create_directory(&directory, 0o755)?;
        let there = Root::Host.destination(&format!("{}/.", directory.display()))?.place;
        let entries = &source.entries;
        let keep = Box::new(move |path: &[u8]| entries.contains_key(path));
        let mut copier = Copier::for_build(Owners::One(0, 0), None, keep);
        let (copied, path) = if source.is_directory() {
            (source.merge_as(&mut copier, &there), directory.clone())
        } else {
            let opened = there.open_directory();
            let opened = opened.map_err(Error::io("open", &directory))?;
            (copier.copy(&source.place, &opened, b"file"), directory.join("file"))
        };
        copied.map_err(|fault| fault.explain(&source.name, target))?;
        Ok(bind(&path, writable, target))
    }

    /// Writes a secret to memory, or gives it as a variable; nothing if it was not brought, and need not be.
    fn secret(&self, shelf: &mut Shelf, at: usize, mount: &Mount) -> Result<Option<MountPoint>> {
        let What::Secret { id, required, look, is_file, variable } = &mount.what else {
            return Ok(None);
        };
        let Some(secret) = self.secrets.iter().find(|secret| secret.id == *id) else {
            return match required {
                true => Err(Error::Rejected {
                    message: format!("secret {id}: not found"),
                    hint: Some(format!("`--secret id={id},src=FILE` brings it")),
                }),
                false => Ok(None),
            };
        };
        let content = secret.read()?;
        if let Some(name) = variable {
            let text = String::from_utf8(content.clone()).ok().filter(|text| !text.contains('\0'));
            let text = text.ok_or_else(|| {
                Error::refusal(format!("secret {id} cannot be the variable {name}: it is no text"))
            })?;
            shelf.variables.push((name.clone(), text));
        }
        if !is_file {
            return Ok(None);
        }
        let directory = self.workshop.staging.path("secrets");
        if shelf.secrets.is_none() {
            crate::snapshot::create_directory(&directory, 0o700)?;
            let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
            rustix::mount::mount("tmpfs", &directory, "tmpfs", flags, c"mode=0700")
                .map_err(Error::io("mount a file system in memory on", &directory))?;
            shelf.secrets = Some(directory.clone());
        }
        let path = directory.join(at.to_string());
        fs::write(&path, content).map_err(Error::io("write", &path))?;
        dress(&path, *look)?;
        Ok(Some(bind(&path, false, &mount.target)))
    }

    /// Takes away what was laid out.
    pub(super) fn clear(&self, shelf: Shelf, mounts: usize) -> Result<()> {
        for mounted in shelf.mounted {
            self.workshop.clear(mounted)?;
        }
        let copies = (0..mounts).map(|at| self.workshop.staging.path(&format!("bind-{at}")));
        let script = self.workshop.staging.path("script");
        for path in copies.chain([script]).chain(shelf.secrets.clone()) {
            if shelf.secrets.as_ref() == Some(&path) {
                crate::snapshot::unmount(&path)?;
            }
            crate::snapshot::remove_tree(&path)?;
        }
        Ok(())
    }
}

impl<'a> Files<'a> {
    /// Those at a path of a context.
    pub(super) fn listed(context: &'a context::Files, path: &str) -> Result<Self> {
        let found = context.tree().find_one(path)?;
        Ok(Self::Listed { context, path: path.to_owned(), found })
    }

    /// What they are for the step's key. Layers are what their chain says.
    pub(super) fn digest(&self) -> Digest {
        match self {
            Self::Listed { found, .. } => found.digest(),
            Self::Layers(chain, path) => {
                let top = chain.last().map_or_else(String::new, ToString::to_string);
                Digest::of(format!("{top} {path}").as_bytes())
            }
        }
    }
}

/// Where the socket is that stands for an agent.
pub(super) fn agent_path(workshop: &Workshop<'_>, at: usize) -> PathBuf {
    workshop.staging.path(&format!("ssh-{at}"))
}

fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none())
}

/// Where a path in mounted layers is. Nobody but the build can change them, so that the path it has here stays true.
fn place_of(mounted: &Mounted, path: &str) -> Result<PathBuf> {
    let root = Root::Container { root: mounted.root.fd(), name: "what it is mounted from" };
    let Place { parent, name, .. } = root.source(&format!("/{path}"), true)?.place;
    let link = format!("/proc/self/fd/{}", parent.as_raw_fd());
    let parent = fs::read_link(&link).map_err(Error::io("read", Path::new(&link)))?;
    Ok(parent.join(String::from_utf8_lossy(&name).as_ref()))
}

fn cache_name(id: &str) -> Result<VolumeName> {
    let digest = Digest::of(id.as_bytes());
    VolumeName::parse(&format!("build-cache-{}", &digest.hex()[..16])).map_err(Error::refusal)
}

fn labels(id: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(BUILD_CACHE.to_owned(), id.to_owned())])
}

fn dress(path: &Path, (mode, uid, gid): (u32, u32, u32)) -> Result<()> {
    chown(path, Some(uid), Some(gid))
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
        .map_err(Error::io("set the owner of", path))
}

/// What is mounted is the build's alone, so that where SELinux keeps containers apart it is labelled for them.
fn bind(source: &Path, writable: bool, target: &str) -> MountPoint {
    MountPoint {
        kind: MountKind::Bind,
        name: String::new(),
        source: source.display().to_string(),
        destination: target.to_owned(),
        driver: String::new(),
        mode: Relabel::Shared.word().to_owned(),
        writable,
        propagation: "rprivate".to_owned(),
        detail: Detail::default(),
    }
}

fn tmpfs(size: Option<&str>, target: &str) -> Result<MountPoint> {
    let size = size.map_or_else(String::new, |size| format!(",tmpfs-size={size}"));
    let text = format!("type=tmpfs,\"target={}\"{size}", target.replace('"', "\"\""));
    crate::cli::mounts::mount(&text).map_err(Error::refusal)
}
