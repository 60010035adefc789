//! What `RUN --mount` names, laid out where a container can have it mounted: caches as volumes, secrets in memory, files as copies.
//!
//! All of it is mounted in the step's own mount namespace, or lies in the build's session, and goes with it; but for the caches.

use super::mount::{Mount, What};
use super::workshop::{Mounted, Workshop};
use crate::cli::BuildSecret;
use crate::container::{Detail, MountKind, MountPoint};
use crate::cp::place::{Place, Root};
use crate::cp::tree::{Copier, Owners};
use crate::error::{Error, Result};
use crate::settings::Settings;
use crate::volume::{VolumeLock, VolumeName, Volumes};
use bundle::digest::{ChainId, Digest};
use rustix::mount::MountFlags;
use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

/// The label of a volume that is a cache of builds; its value is the cache's id.
const CACHE: &str = "dev.nman.build.cache";

/// Files that a bind mount shows.
pub(super) enum Files {
    /// Of the context, as they were found.
    Listed(super::sources::Source),
    /// Of other layers, by a path in them.
    Layers(Vec<ChainId>, String),
}

/// What is laid out, as long as the step takes.
#[derive(Default)]
pub(super) struct Shelf {
    /// What the container has mounted.
    pub(super) points: Vec<MountPoint>,
    mounted: Vec<Mounted>,
    secrets: Option<PathBuf>,
    _locks: Vec<VolumeLock>,
}

/// Who lays out.
pub(super) struct Layout<'a> {
    pub(super) settings: &'a Settings,
    pub(super) workshop: &'a Workshop<'a>,
    pub(super) secrets: &'a [BuildSecret],
}

impl Layout<'_> {
    /// Lays out what the mounts name. `files` are those of the bind mounts, in their order. In a mount namespace of its own.
    pub(super) fn lay_out(&self, mounts: &[Mount], files: Vec<Files>) -> Result<Shelf> {
        let mut shelf = Shelf { _locks: self.lock(mounts)?, ..Shelf::default() };
        let mut files = files.into_iter();
        for (at, mount) in mounts.iter().enumerate() {
            let target = mount.target.as_str();
            let point = match &mount.what {
                What::Cache { id, look, writable, .. } => {
                    Some(self.cache(id, *look, *writable, target)?)
                }
                What::Bind { writable, .. } => match files.next() {
                    Some(Files::Listed(source)) => {
                        Some(self.listed(at, &source, *writable, target)?)
                    }
                    Some(Files::Layers(chain, path)) => {
                        let mounted = self.workshop.mount(&chain, &format!("bind-{at}"))?;
                        let source = place_of(&mounted, &path)?;
                        shelf.mounted.push(mounted);
                        Some(bind(&source, *writable, target))
                    }
                    None => None,
                },
                What::Tmpfs { size } => Some(tmpfs(size.as_deref(), target)?),
                What::Secret { id, required, look } => self
                    .secret(&mut shelf, at, id, *required, *look)?
                    .map(|path| bind(&path, false, target)),
            };
            shelf.points.extend(point);
        }
        Ok(shelf)
    }

    /// The caches that one build at a time may have, in an order in which no two builds wait for each other.
    fn lock(&self, mounts: &[Mount]) -> Result<Vec<VolumeLock>> {
        let locked = mounts.iter().filter_map(|mount| match &mount.what {
            What::Cache { id, locked: true, .. } => Some(id.as_str()),
            _ => None,
        });
        let mut ids: Vec<&str> = locked.collect();
        ids.sort_unstable();
        ids.dedup();
        let volumes = Volumes::open(self.settings)?;
        let lock = |id: &str| {
            let name = cache_name(id)?;
            volumes.ensure(&name, labels(id), BTreeMap::new())?;
            volumes.lock_data(&name)
        };
        ids.into_iter().map(lock).collect()
    }

    fn cache(
        &self,
        id: &str,
        look: (u32, u32, u32),
        writable: bool,
        target: &str,
    ) -> Result<MountPoint> {
        let volumes = Volumes::open(self.settings)?;
        let name = cache_name(id)?;
        volumes.ensure(&name, labels(id), BTreeMap::new())?;
        let data = volumes.data(&name);
        let is_new = fs::read_dir(&data).is_ok_and(|mut entries| entries.next().is_none());
        if is_new {
            dress(&data, look)?;
        }
        let source = data.display().to_string();
        let detail = Detail { no_copy: true, labels: labels(id), ..Detail::default() };
        let kind = MountKind::Volume;
        Ok(MountPoint {
            kind,
            name: name.as_str().to_owned(),
            driver: "local".to_owned(),
            detail,
            ..bind(Path::new(&source), writable, target)
        })
    }

    /// A copy of files of the context, without what is left out of it.
    fn listed(
        &self,
        at: usize,
        source: &super::sources::Source,
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
            (copier.merge_as(&source.place, &there), directory.clone())
        } else {
            let opened = there.open_directory();
            let opened = opened.map_err(Error::io("open", &directory))?;
            (copier.copy(&source.place, &opened, b"file"), directory.join("file"))
        };
        copied.map_err(|fault| fault.explain(&source.name, target))?;
        Ok(bind(&path, writable, target))
    }

    /// Writes a secret to memory; nothing if it was not given, and need not be.
    fn secret(
        &self,
        shelf: &mut Shelf,
        at: usize,
        id: &str,
        required: bool,
        look: (u32, u32, u32),
    ) -> Result<Option<PathBuf>> {
        let Some(secret) = self.secrets.iter().find(|secret| secret.id == id) else {
            return match required {
                true => Err(Error::Rejected {
                    message: format!("secret {id}: not found"),
                    hint: Some(format!("`--secret id={id},src=FILE` brings it")),
                }),
                false => Ok(None),
            };
        };
        let content = secret.read()?;
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
        dress(&path, look)?;
        Ok(Some(path))
    }

    /// Takes away what was laid out.
    pub(super) fn clear(&self, shelf: Shelf, mounts: usize) -> Result<()> {
        for mounted in shelf.mounted {
            self.workshop.clear(mounted)?;
        }
        let copies = (0..mounts).map(|at| self.workshop.staging.path(&format!("bind-{at}")));
        for path in copies.chain(shelf.secrets.clone()) {
            if shelf.secrets.as_ref() == Some(&path) {
                crate::snapshot::unmount(&path)?;
            }
            match fs::remove_dir_all(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io("remove", &path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl Files {
    /// What they are for the step's key. Layers are what their chain says.
    pub(super) fn digest(&self) -> Digest {
        match self {
            Self::Listed(source) => source.digest(),
            Self::Layers(chain, path) => {
                let top = chain.last().map_or_else(String::new, ToString::to_string);
                Digest::of(format!("{top} {path}").as_bytes())
            }
        }
    }
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
    BTreeMap::from([(CACHE.to_owned(), id.to_owned())])
}

fn dress(path: &Path, (mode, uid, gid): (u32, u32, u32)) -> Result<()> {
    chown(path, Some(uid), Some(gid))
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
        .map_err(Error::io("set the owner of", path))
}

fn bind(source: &Path, writable: bool, target: &str) -> MountPoint {
    MountPoint {
        kind: MountKind::Bind,
        name: String::new(),
        source: source.display().to_string(),
        destination: target.to_owned(),
        driver: String::new(),
        mode: String::new(),
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
