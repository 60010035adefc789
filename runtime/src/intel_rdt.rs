//! `linux.intelRdt`: a class of cache and memory bandwidth for the container, through the resctrl file system.
//!
//! [`probe`] reads what is mounted and which classes there are, [`plan`] decides purely, [`Group`] is what the container has of it.
//! The rules are those of runtime-spec 1.3 (config-linux.md, IntelRdt): a class that the configuration names outlives the
//! container, one that bears the container's id goes with it.
//! <https://www.kernel.org/doc/html/latest/filesystems/resctrl.html>

mod stats;

pub use stats::Stats;

use crate::error::{Error, Result};
use crate::plan;
use oci_spec::runtime::{Linux, LinuxIntelRdt};
use rustix::fs::{AtFlags, CWD};
use rustix::io::Errno;
use rustix::process::Pid;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

const POINTER: &str = "/linux/intelRdt";
const DEFAULT: &str = "/sys/fs/resctrl";
const MAGIC: u64 = 0x0765_5821;
/// Directories of the file system that are no classes.
const RESERVED: [&str; 3] = ["info", "mon_groups", "mon_data"];
/// The class that `/` stands for.
const ROOT_CLASS: &str = "/";

/// What planning has to know.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Facts {
    /// Where the file system is mounted.
    pub root: PathBuf,
    /// L3 cache can be divided.
    pub cache: bool,
    /// Memory bandwidth can be divided.
    pub bandwidth: bool,
    /// Each class with its schemata, `/` for the default one.
    pub classes: BTreeMap<String, String>,
}

/// Looks for the file system; `None` where it is not mounted.
///
/// # Errors
/// When it is there and cannot be read.
pub fn probe() -> Result<Option<Facts>> {
    mount_point().map(|root| read(&root)).transpose()
}

/// At its usual place, or wherever the table of mounts has it.
fn mount_point() -> Option<PathBuf> {
    let default = rustix::fs::statfs(DEFAULT).ok()?;
    if u64::try_from(default.f_type) == Ok(MAGIC) {
        return Some(DEFAULT.into());
    }
    let table = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    table.lines().find_map(mounted_at)
}

/// The mount point, if a line of mountinfo is about resctrl. Spaces in it are escaped, and no administrator has one there.
fn mounted_at(line: &str) -> Option<PathBuf> {
    let (mount, source) = line.split_once(" - ")?;
    let kind = source.split(' ').next()?;
    (kind == "resctrl").then(|| mount.split(' ').nth(4).map(PathBuf::from)).flatten()
}

/// Reads the facts of the file system at `root`.
fn read(root: &Path) -> Result<Facts> {
    let failed = |path: &Path, error: &std::io::Error| {
        Error::io(format!("read `{}` (config.json {POINTER})", path.display()), error)
    };
    let mut classes = BTreeMap::new();
    let mut note = |name: String, directory: &Path| {
        let path = directory.join("schemata");
        match std::fs::read_to_string(&path) {
            Ok(text) => drop(classes.insert(name, text)),
            // It is a file, or went meanwhile.
            Err(error)
                if matches!(error.kind(), ErrorKind::NotADirectory | ErrorKind::NotFound) => {}
            Err(error) => return Err(failed(&path, &error)),
        }
        Ok(())
    };
    note(ROOT_CLASS.to_owned(), root)?;
    for entry in std::fs::read_dir(root).map_err(|error| failed(root, &error))? {
        let entry = entry.map_err(|error| failed(root, &error))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !RESERVED.contains(&name.as_str()) {
            note(name, &entry.path())?;
        }
    }
    let has = |name: &str| root.join("info").join(name).exists();
    // With code and data prioritisation, L3 is two.
    let cache = has("L3") || has("L3CODE");
    Ok(Facts { root: root.to_owned(), cache, bandwidth: has("MB"), classes })
}

/// What is done for a container.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GroupPlan {
    /// Where the file system is mounted.
    pub root: PathBuf,
    /// The class is made.
    pub make: bool,
    /// What is written to its `schemata`, all lines at once; empty for nothing.
    pub schemata: String,
    /// What the container has in the end.
    pub group: Group,
}

impl fmt::Display for GroupPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Group { directory, own, monitoring } = &self.group;
        let make = if self.make { "make " } else { "" };
        let with = if *own { ", removed with the container" } else { "" };
        writeln!(f, "{make}resource class {}{with}", directory.display())?;
        self.schemata.lines().try_for_each(|line| writeln!(f, "  {line}"))?;
        match monitoring {
            Some(path) => writeln!(f, "make monitoring group {}", path.display()),
            None => Ok(()),
        }
    }
}

/// The container's class and monitoring group, as its state keeps them.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// The directory of the class.
    pub directory: PathBuf,
    /// The class is the container's own, and is removed with it.
    pub own: bool,
    /// The directory of the container's monitoring group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitoring: Option<PathBuf>,
}

/// As [`plan`], for what config.json may have.
///
/// # Errors
/// As [`plan`].
pub fn plan_for(
    linux: Option<&Linux>,
    id: &str,
    facts: Option<&Facts>,
) -> std::result::Result<Option<GroupPlan>, plan::Error> {
    let rdt = linux.and_then(|linux| linux.intel_rdt().as_ref());
    rdt.map(|rdt| plan(rdt, id, facts)).transpose()
}

/// Decides which class a container gets and what is written to it.
///
/// # Errors
/// When the file system or a resource is not there, or the class is not as the configuration says.
pub fn plan(
    rdt: &LinuxIntelRdt,
    id: &str,
    facts: Option<&Facts>,
) -> std::result::Result<GroupPlan, plan::Error> {
    let refuse = |field: &str, why: String| Err(plan::Error::at(format!("{POINTER}{field}"), why));
    let Some(facts) = facts else {
        return refuse(
            "",
            "needs the `resctrl` file system, which is not mounted on this host".into(),
        );
    };
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let (cache, bandwidth) = (given(rdt.l3_cache_schema()), given(rdt.mem_bw_schema()));
    if cache.is_some() && !facts.cache {
        return refuse("/l3CacheSchema", "this host cannot divide its L3 cache".into());
    }
    if bandwidth.is_some() && !facts.bandwidth {
        return refuse("/memBwSchema", "this host cannot divide its memory bandwidth".into());
    }
    let named = given(rdt.clos_id());
    let class = named.as_deref().unwrap_or(id);
    if RESERVED.contains(&class) {
        return refuse("/closID", format!("`{class}` is no class of the resctrl file system"));
    }
    let found = facts.classes.get(class);
    let more = rdt.schemata().iter().flatten().filter(|line| !line.is_empty());
    let lines: Vec<&String> = cache.iter().chain(&bandwidth).chain(more).collect();
    if named.is_some() && lines.is_empty() && found.is_none() {
        let why = format!("there is no class `{class}`, and no schema to make it with");
        return refuse("/closID", why);
    }
    if let (Some(_), Some(found)) = (&named, found) {
        for (schema, field) in [(&cache, "/l3CacheSchema"), (&bandwidth, "/memBwSchema")] {
            if let Some(schema) = schema.as_ref().filter(|schema| !agrees(schema, found)) {
                let why = format!("`{schema}` is not what class `{class}` has: {}", brief(found));
                return refuse(field, why);
            }
        }
    }
    let directory = match class {
        ROOT_CLASS => facts.root.clone(),
        class => facts.root.join(class),
    };
    let monitored = rdt.enable_monitoring().unwrap_or(false);
    let monitoring = monitored.then(|| directory.join("mon_groups").join(id));
    let make = found.is_none();
    Ok(GroupPlan {
        root: facts.root.clone(),
        make,
        schemata: lines.iter().map(|line| format!("{line}\n")).collect(),
        group: Group { directory, own: named.is_none() && make, monitoring },
    })
}

fn brief(schemata: &str) -> String {
    let lines: Vec<String> = schemata.lines().map(|line| format!("`{}`", line.trim())).collect();
    lines.join(", ")
}

/// Whether a class has this schema: for each cache that it names the same value, however it is written.
fn agrees(schema: &str, found: &str) -> bool {
    let Some((resource, wanted)) = schema.split_once(':') else { return false };
    let line = found.lines().filter_map(|line| line.split_once(':'));
    let line = line.into_iter().find(|(name, _)| name.trim() == resource.trim());
    let Some((_, values)) = line else { return false };
    let pairs = |text: &str| -> Vec<(String, String)> {
        let pair = |pair: &str| {
            let (cache, value) = pair.split_once('=')?;
            let value = value.trim().trim_start_matches("0x").to_ascii_lowercase();
            let value = value.trim_start_matches('0').to_owned();
            Some((cache.trim().to_owned(), value))
        };
        text.split(';').filter_map(pair).collect()
    };
    let (wanted, values) = (pairs(wanted), pairs(values));
    !wanted.is_empty() && wanted.iter().all(|pair| values.contains(pair))
}

impl Group {
    /// Makes the class and the monitoring group. On failure nothing is left that was not there before.
    ///
    /// # Errors
    /// When the kernel refuses: too many classes, or a schema that it cannot have.
    pub fn create(plan: &GroupPlan) -> Result<Group> {
        let Group { directory, monitoring, .. } = &plan.group;
        let mut made = Made(Vec::new());
        if plan.make {
            made.directory(directory, &plan.root)?;
        }
        if !plan.schemata.is_empty() {
            write(&directory.join("schemata"), &plan.schemata, &plan.root)?;
        }
        if let Some(monitoring) = monitoring {
            made.directory(monitoring, &plan.root)?;
        }
        made.0.clear();
        Ok(plan.group.clone())
    }

    /// Puts a process into the class and the monitoring group.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn add(&self, pid: Pid) -> Result<()> {
        let pid = pid.as_raw_nonzero().to_string();
        for directory in [Some(&self.directory), self.monitoring.as_ref()].into_iter().flatten() {
            write(&directory.join("tasks"), &pid, self.root())?;
        }
        Ok(())
    }

    /// The class is the root or a directory in it.
    fn root(&self) -> &Path {
        if self.directory.join("info").exists() {
            return &self.directory;
        }
        self.directory.parent().unwrap_or(&self.directory)
    }

    /// Removes what is the container's own. What is gone is removed.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn remove(&self) -> Result<()> {
        let own = self.own.then_some(&self.directory);
        self.monitoring.as_ref().into_iter().chain(own).try_for_each(|path| {
            match rustix::fs::unlinkat(CWD, path, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => Ok(()),
                Err(errno) => Err(Error::system(format!("remove `{}`", path.display()), errno)),
            }
        })
    }
}

/// New schemata for a running container's class (`update`).
#[derive(Debug)]
pub struct Change<'g> {
    group: &'g Group,
    schemata: String,
}

impl<'g> Change<'g> {
    /// What is asked for; `None` for nothing. An empty schema is none.
    ///
    /// # Errors
    /// In runc's words, when the host cannot divide the resource, or the container was created without a class.
    pub fn asked(
        group: Option<&'g Group>,
        cache: Option<&str>,
        bandwidth: Option<&str>,
    ) -> Result<Option<Change<'g>>> {
        let given = |text: &Option<&str>| text.is_some_and(|text| !text.is_empty());
        if !given(&cache) && !given(&bandwidth) {
            return Ok(None);
        }
        let facts = match group {
            Some(group) => read(group.root())?,
            None => probe()?.unwrap_or_default(),
        };
        let refuse = |text: &str| Err(Error::State(text.to_owned()));
        if given(&cache) && !facts.cache {
            return refuse("Intel RDT/CAT: l3 cache schema is not enabled");
        }
        if given(&bandwidth) && !facts.bandwidth {
            return refuse("Intel RDT/MBA: memory bandwidth schema is not enabled");
        }
        let Some(group) = group else {
            return refuse("updating a non-existent Intel RDT configuration is not supported");
        };
        let lines = [cache, bandwidth].into_iter().flatten().filter(|line| !line.is_empty());
        Ok(Some(Change { group, schemata: lines.map(|line| format!("{line}\n")).collect() }))
    }

    /// Writes them.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn make(&self) -> Result<Former> {
        let path = self.group.directory.join("schemata");
        let former = Former(std::fs::read_to_string(&path).unwrap_or_default());
        write(&path, &self.schemata, self.group.root()).map(|()| former)
    }

    /// Writes what was there before, as far as the kernel takes it.
    pub fn take_back(&self, former: &Former) {
        let _ = write(&self.group.directory.join("schemata"), &former.0, self.group.root());
    }
}

/// The schemata of a class before a [`Change`].
pub struct Former(String);

/// Directories made so far, removed again when dropped.
struct Made(Vec<PathBuf>);

impl Made {
    fn directory(&mut self, path: &Path, root: &Path) -> Result<()> {
        let made = std::fs::create_dir(path);
        made.map_err(|error| failed(&format!("make `{}`", path.display()), root, &error))?;
        self.0.push(path.to_owned());
        Ok(())
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for path in self.0.iter().rev() {
            let _ = std::fs::remove_dir(path);
        }
    }
}

fn write(path: &Path, value: &str, root: &Path) -> Result<()> {
    let what = || format!("write {value:?} to `{}`", path.display());
    std::fs::write(path, value).map_err(|error| failed(&what(), root, &error))
}

/// resctrl explains its last refusal in a file.
fn failed(what: &str, root: &Path, error: &std::io::Error) -> Error {
    let status = std::fs::read_to_string(root.join("info/last_cmd_status")).unwrap_or_default();
    let why = match status.trim() {
        "" | "ok" => String::new(),
        status => format!("; the kernel says `{status}`"),
    };
    Error::io(format!("{what} (config.json {POINTER}{why})"), error)
}

#[cfg(test)]
mod tests;
