//! Volumes on disk: made whole and put in place by one rename, removed the other way round.

use super::{ANONYMOUS, BUILD_CACHE, VolumeName, mount};
use crate::clock::Timestamp;
use crate::container::make_private;
use crate::error::{Error, Result};
use crate::event::{self, Kind};
use crate::mounted;
use crate::notice;
use crate::selinux;
use crate::settings::Settings;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::de::Error as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// What begins the name of a volume that is being made, or removed. No volume's own name does.
const HALF: &str = ".half-";

/// What holds the files of a volume, in its directory.
const DATA: &str = "_data";

/// What is known of a volume, in its directory.
const RECORD: &str = "volume.json";

/// A volume.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// Its name.
    pub name: VolumeName,
    /// When it was made.
    pub created: Timestamp,
    /// Its labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Options of the driver: `type`, `device`, `o`.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
}

/// `<root>/volumes`.
#[derive(Clone, Debug)]
pub struct Volumes {
    settings: Settings,
    root: PathBuf,
}

/// A lock. Released when dropped.
#[derive(Debug)]
pub struct Lock {
    _file: fs::File,
}

impl Volumes {
    /// Those below a root directory. Nothing is made before there is one.
    #[must_use]
    pub fn of(settings: &Settings) -> Self {
        Self { settings: settings.clone(), root: settings.volumes() }
    }

    /// Where the data of a volume is.
    #[must_use]
    pub fn data(&self, name: &VolumeName) -> PathBuf {
        self.root.join(name.as_str()).join(DATA)
    }

    /// Keeps everybody else from making and removing volumes. The directory is made (mode 0700) if need be.
    pub fn lock(&self) -> Result<Lock> {
        let path = self.root.join(".lock");
        match Self::lock_file(&path) {
            Err(Error::Io { source, .. }) if is_missing(&source) => {
                make_private(&self.root)?;
                Self::lock_file(&path)
            }
            locked => locked,
        }
    }

    /// Keeps everybody else from filling a volume.
    pub fn lock_data(&self, name: &VolumeName) -> Result<Lock> {
        Self::lock_file(&self.root.join(name.as_str()).join(RECORD))
    }

    /// The same, unless somebody has done so already.
    pub fn try_lock_data(&self, name: &VolumeName) -> Result<Option<Lock>> {
        let path = self.root.join(name.as_str()).join(RECORD);
        Self::lock_file_with(&path, FlockOperation::NonBlockingLockExclusive)
    }

    fn lock_file(path: &Path) -> Result<Lock> {
        let lock = Self::lock_file_with(path, FlockOperation::LockExclusive)?;
        lock.ok_or_else(|| Error::io("lock", path)(Errno::WOULDBLOCK))
    }

    fn lock_file_with(path: &Path, operation: FlockOperation) -> Result<Option<Lock>> {
        let mut options = fs::OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).mode(0o600).open(path);
        let file = file.map_err(Error::io("open", path))?;
        loop {
            match flock(&file, operation) {
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) => return Ok(None),
                result => {
                    let locked = result.map(|()| Some(Lock { _file: file }));
                    return locked.map_err(Error::io("lock", path));
                }
            }
        }
    }

    /// The volume of this name. Of one without a record, what is wrong is that it has none.
    pub fn find(&self, name: &str) -> Result<Volume> {
        let missing = || Error::Rejected {
            message: format!("get {name}: no such volume"),
            hint: Some("`nman volume ls` lists those that there are".to_owned()),
        };
        let name = VolumeName::parse(name).map_err(|_| missing())?;
        let directory = self.root.join(name.as_str());
        let path = directory.join(RECORD);
        let text = match fs::read(&path) {
            Err(error) if is_missing(&error) => {
                if !directory.is_dir() {
                    return Err(missing());
                }
                // A second look: it may have been made since the first one, and comes with its record.
                fs::read(&path)
            }
            read => read,
        };
        match text {
            Ok(text) => {
                serde_json::from_slice(&text).map_err(|source| Error::Damaged { path, source })
            }
            Err(error) if is_missing(&error) && directory.is_dir() => {
                let source = serde_json::Error::custom("there is no such file");
                Err(Error::Damaged { path, source })
            }
            Err(error) if is_missing(&error) => Err(missing()),
            Err(error) => Err(Error::io("read", &path)(error)),
        }
    }

    /// Every volume, by name. One that is removed meanwhile is left out; so is one whose record does not read back, which is told.
    pub fn list(&self) -> Result<Vec<Volume>> {
        let mut volumes = Vec::new();
        for name in self.names()? {
            match self.find(name.as_str()) {
                Ok(volume) => volumes.push(volume),
                Err(error @ Error::Damaged { .. }) => notice::note(format!(
                    "volume `{name}` is left out: {error} (`nman system check --repair` mends it)"
                )),
                Err(Error::Rejected { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(volumes)
    }

    /// The volumes whose records do not read back, and why.
    pub fn damaged(&self) -> Result<Vec<(VolumeName, Error)>> {
        let damage = |name: VolumeName| match self.find(name.as_str()) {
            Err(error @ Error::Damaged { .. }) => Some((name, error)),
            _ => None,
        };
        Ok(self.names()?.into_iter().filter_map(damage).collect())
    }

    /// Writes the record of such a volume anew; whether it was one still. What it was made with is lost, its data is not.
    pub fn mend(&self, name: &VolumeName) -> Result<bool> {
        let _lock = self.lock()?;
        if !matches!(self.find(name.as_str()), Err(Error::Damaged { .. })) {
            return Ok(true);
        }
        let (labels, options) = (BTreeMap::new(), BTreeMap::new());
        let volume = Volume { name: name.clone(), created: Timestamp::now(), labels, options };
        let directory = self.root.join(name.as_str());
        make_directory(&directory.join(DATA)).or_else(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => Ok(()),
            _ => Err(Error::io("make", &directory.join(DATA))(error)),
        })?;
        // The same file: whoever fills the volume has it locked.
        let path = directory.join(RECORD);
        volume.write(&path).map_err(Error::io("write", &path))?;
        Ok(true)
    }

    fn names(&self) -> Result<Vec<VolumeName>> {
        let entries = match fs::read_dir(&self.root) {
            Err(error) if is_missing(&error) => return Ok(Vec::new()),
            entries => entries.map_err(Error::io("read", &self.root))?,
        };
        let name = |entry: fs::DirEntry| VolumeName::parse(entry.file_name().to_str()?).ok();
        let mut names: Vec<VolumeName> = entries.flatten().filter_map(name).collect();
        names.sort();
        Ok(names)
    }

    /// The volume of this name, made if it is not there.
    pub fn ensure(
        &self,
        name: &VolumeName,
        labels: BTreeMap<String, String>,
        options: BTreeMap<String, String>,
    ) -> Result<Volume> {
        let _lock = self.lock()?;
        match self.find(name.as_str()) {
            // It is not there.
            Err(Error::Rejected { .. }) => {}
            found => return found,
        }
        self.sweep();
        let volume = Volume { name: name.clone(), created: Timestamp::now(), labels, options };
        let half = self.root.join(format!("{HALF}{name}"));
        let path = self.root.join(name.as_str());
        let make = || -> std::io::Result<()> {
            fs::DirBuilder::new().mode(0o700).create(&half)?;
            make_directory(&half.join(DATA))?;
            volume.write(&half.join(RECORD))?;
            fs::rename(&half, &path)
        };
        make().map_err(Error::io("make", &path))?;
        event::emit(&self.settings, Kind::Volume, "create", name.as_str(), &[("driver", "local")]);
        Ok(volume)
    }

    /// Removes a volume that nobody uses. The caller holds the lock.
    ///
    /// # Errors
    /// It cannot be removed, or something of the host's is mounted in it.
    pub fn remove(&self, name: &VolumeName) -> Result<()> {
        self.sweep();
        self.leave_mounts(name)?;
        let (path, half) = (self.root.join(name.as_str()), self.root.join(format!("{HALF}{name}")));
        match fs::rename(&path, &half) {
            Err(error) if is_missing(&error) => return Ok(()),
            result => result.map_err(Error::io("remove", &path))?,
        }
        fs::remove_dir_all(&half).map_err(Error::io("remove", &half))?;
        event::emit(&self.settings, Kind::Volume, "destroy", name.as_str(), &[("driver", "local")]);
        Ok(())
    }

    /// Sees to it that what is mounted in a volume is not emptied with it: what the driver has mounted is unmounted, where a container could
    /// not be made and we are in its mount namespace; anything else is somebody's.
    fn leave_mounts(&self, name: &VolumeName) -> Result<()> {
        if let Ok(volume) = self.find(name.as_str()) {
            mount::unmount_data(self, &volume)?;
        }
        let data = self.data(name);
        let is_empty = || fs::read_dir(&data).is_ok_and(|mut entries| entries.next().is_none());
        // Nothing can be mounted in there, and the table of mounts is as long as the host has some.
        if is_empty() && !mounted::is_mounted(&data)? {
            return Ok(());
        }
        let Ok(path) = fs::canonicalize(self.root.join(name.as_str())) else { return Ok(()) };
        match mounted::below(&mounted::table()?, &path) {
            Some(mounted) => {
                let mounted = mounted.display();
                Err(Error::WrongState {
                    message: format!(
                        "cannot remove volume `{name}`: something is mounted on `{mounted}`"
                    ),
                    hint: Some(format!("what is there would be removed, too: `umount {mounted}`")),
                })
            }
            None => Ok(()),
        }
    }

    /// Removes what a killed process left half made or half removed. The caller holds the lock.
    fn sweep(&self) {
        let Ok(entries) = fs::read_dir(&self.root) else { return };
        for entry in entries.flatten() {
            if entry.file_name().to_string_lossy().starts_with(HALF) {
                // What stays is tried again next time.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    /// What `inspect` shows, in Docker's structure.
    #[must_use]
    pub fn object(&self, volume: &Volume) -> Value {
        let Volume { name, created, labels, options } = volume;
        json!({
            "CreatedAt": created,
            "Driver": "local",
            "Labels": if labels.is_empty() { Value::Null } else { json!(labels) },
            "Mountpoint": self.data(name),
            "Name": name,
            "Options": if options.is_empty() { Value::Null } else { json!(options) },
            "Scope": "local",
        })
    }
}

/// Makes a directory for the files of a volume.
pub(super) fn make_directory(path: &Path) -> std::io::Result<()> {
    fs::DirBuilder::new().mode(0o755).create(path)?;
    // The mode of mkdir is subject to the umask.
    rustix::fs::chmod(path, rustix::fs::Mode::from_raw_mode(0o755))?;
    selinux::label_volume(path)
}

fn is_missing(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::NotFound
}

impl Volume {
    /// Whether nobody has named it.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        self.labels.contains_key(ANONYMOUS)
    }

    /// Writes its record so that it outlives a power cut: the rename behind it may, and a volume without is a damaged one.
    fn write(&self, path: &Path) -> std::io::Result<()> {
        let mut file = fs::File::create(path)?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        file.sync_data()
    }

    /// Whether it is a cache of builds.
    #[must_use]
    pub fn is_build_cache(&self) -> bool {
        self.labels.contains_key(BUILD_CACHE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volumes(dir: &Path) -> Volumes {
        let settings = Settings {
            root: dir.to_owned(),
            state: dir.to_owned(),
            runtime: None,
            debug: false,
            rootless: false,
        };
        Volumes::of(&settings)
    }

    #[test]
    fn a_volume_is_made_once_and_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let volumes = volumes(dir.path());
        let name = VolumeName::parse("data").unwrap();
        let labels = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
        volumes.ensure(&name, labels.clone(), BTreeMap::new()).unwrap();
        fs::write(volumes.data(&name).join("file"), "kept").unwrap();
        let again = volumes.ensure(&name, BTreeMap::new(), BTreeMap::new()).unwrap();
        assert_eq!(again.labels, labels);
        assert!(volumes.data(&name).join("file").exists());
        assert_eq!(volumes.list().unwrap().len(), 1);
        volumes.remove(&name).unwrap();
        assert_eq!(volumes.find("data").unwrap_err().to_string(), "get data: no such volume");
    }

    #[test]
    fn what_a_killed_process_left_is_no_volume_and_is_swept() {
        let dir = tempfile::tempdir().unwrap();
        let volumes = volumes(dir.path());
        let half = dir.path().join("volumes").join(format!("{HALF}data"));
        fs::create_dir_all(half.join("_data")).unwrap();
        assert!(volumes.list().unwrap().is_empty());
        let name = VolumeName::parse("data").unwrap();
        volumes.ensure(&name, BTreeMap::new(), BTreeMap::new()).unwrap();
        assert!(!half.exists());
    }
}
