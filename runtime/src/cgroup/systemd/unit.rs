//! Which unit a container gets, and where it lies: `linux.cgroupsPath` in the form `slice:prefix:name`, as runc reads it.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::super::devices::Rule;
use super::super::plan::Request;
use super::super::{Error, Layout, below};
use super::{Facts, annotation, properties};
use ::systemd::Property;

const POINTER: &str = "/linux/cgroupsPath";
/// The cgroup below the unit's own in which the container's processes are to be, as crun has it.
const SUBGROUP: &str = "run.oci.systemd.subgroup";
/// The longest name of a unit, in bytes (systemd.unit(5)).
const LONGEST: usize = 255;

/// A container's unit, as its state keeps it.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Unit {
    /// Its name: `docker-1f2e.scope`.
    pub name: String,
    /// It belongs to the user's manager, not to the system's.
    #[serde(default)]
    pub user: bool,
    /// The cgroup below its own in which the container is, from its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subgroup: Option<PathBuf>,
}

/// Everything that systemd is told.
#[derive(Clone, Debug, PartialEq)]
pub struct UnitPlan {
    /// The unit.
    pub unit: Unit,
    /// The slice that it is put into.
    pub slice: String,
    /// Its cgroup, from the root of each hierarchy.
    pub path: PathBuf,
    /// What it is started with.
    pub properties: Vec<Property>,
    /// What is set when the container's own set-up is done: which devices may be used.
    pub devices: Vec<Property>,
}

impl UnitPlan {
    /// The container's cgroup, from the root of each hierarchy: the unit's own or the one below it.
    pub fn directory(&self) -> PathBuf {
        match &self.unit.subgroup {
            Some(below) => self.path.join(below),
            None => self.path.clone(),
        }
    }
}

impl fmt::Display for UnitPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let manager = if self.unit.user { "user" } else { "system" };
        writeln!(f, "unit {} of the {manager}'s systemd", self.unit.name)?;
        self.properties.iter().try_for_each(|property| writeln!(f, "  {property}"))?;
        if !self.devices.is_empty() {
            writeln!(f, "unit when it is ready")?;
        }
        self.devices.iter().try_for_each(|property| writeln!(f, "  {property}"))
    }
}

/// Decides what systemd is told about a container. `rules` are its device rules; `None` where nobody can keep any.
pub(in super::super) fn plan(
    request: &Request<'_>,
    layout: &Layout,
    facts: Option<&Facts>,
    rules: Option<&[Rule]>,
) -> Result<UnitPlan, Error> {
    let facts = facts.ok_or(Error::NoSystemd)?;
    facts.check()?;
    let unified = matches!(layout, Layout::Unified(_));
    if facts.user && !unified {
        let why = "on cgroup v1 a user's systemd has no rights over cgroups";
        return Err(Error::refused("let systemd make the cgroup", POINTER, why));
    }
    let Name { slice, scope } = Name::parse(request.path, request.id, facts.user)?;
    let path = facts.control_group.join(expand(&slice)?).join(&scope);
    let subgroup = below::named(request.annotations, SUBGROUP)?;
    let none = oci_spec::runtime::LinuxResources::default();
    let resources = request.resources.unwrap_or(&none);
    let mut list = properties::of_container(request.id, &slice, unified);
    list.extend(properties::of_resources(resources, unified, facts.version)?);
    list.extend(properties::at_start_only(resources, facts.version)?);
    if let Some(annotations) = request.annotations {
        // Last, so that they count over ours.
        list.extend(annotation::properties(annotations)?);
    }
    Ok(UnitPlan {
        unit: Unit { name: scope, user: facts.user, subgroup },
        slice,
        path: below_root(&path),
        properties: list,
        devices: rules.map(|rules| properties::of_devices(rules, unified)).unwrap_or_default(),
    })
}

fn below_root(path: &Path) -> PathBuf {
    path.components().filter(|component| matches!(component, Component::Normal(_))).collect()
}

/// A slice and the name of a scope in it.
#[derive(Debug, Eq, PartialEq)]
struct Name {
    slice: String,
    scope: String,
}

impl Name {
    fn parse(path: Option<&Path>, id: &str, user: bool) -> Result<Name, Error> {
        let text = path.map(Path::to_string_lossy).unwrap_or_default();
        let default = if user { "user.slice" } else { "system.slice" };
        let (slice, prefix, name) = match text.split(':').collect::<Vec<_>>()[..] {
            [""] => ("", "nrun", id),
            [slice, prefix, name] => (slice, prefix, name),
            _ => {
                let why = "for systemd it is expected to be of the form `slice:prefix:name`";
                return Err(Error::refused(format!("use the cgroup `{text}`"), POINTER, why));
            }
        };
        let slice = if slice.is_empty() { default } else { slice }.to_owned();
        let scope = format!("{prefix}-{name}.scope");
        let refuse = |why: &str| {
            let what = format!("name the container's unit `{scope}`");
            Err(Error::refused(what, POINTER, why))
        };
        if name.ends_with(".slice") {
            return refuse("a slice takes no processes: the unit of a container is a scope");
        }
        if name.is_empty() {
            return refuse("its name is empty");
        }
        if scope.len() > LONGEST || !scope.bytes().all(is_unit_byte) {
            return refuse("a unit's name has at most 255 letters, digits and `:-_.\\@`");
        }
        Ok(Name { slice, scope })
    }
}

fn is_unit_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte)
}

/// The cgroup of a slice: `a-b.slice` lies in `a.slice`, and `-.slice` is the root (systemd.slice(5)).
fn expand(slice: &str) -> Result<PathBuf, Error> {
    let refuse = || {
        let why = "a slice is `-.slice`, or names joined by `-` and `.slice`";
        Error::refused(format!("use the slice `{slice}`"), POINTER, why)
    };
    let stem = slice.strip_suffix(".slice").ok_or_else(refuse)?;
    if stem == "-" {
        return Ok(PathBuf::new());
    }
    if slice.len() > LONGEST || !slice.bytes().all(is_unit_byte) {
        return Err(refuse());
    }
    let mut path = PathBuf::new();
    for (end, _) in stem.match_indices('-').chain([(stem.len(), "")]) {
        path.push(format!("{}.slice", &stem[..end]));
    }
    if stem.split('-').any(str::is_empty) { Err(refuse()) } else { Ok(path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(path: &str) -> Result<(String, String), String> {
        let name = Name::parse(Some(Path::new(path)), "web", false);
        name.map(|name| (name.slice, name.scope)).map_err(|error| error.to_string())
    }

    fn pair(slice: &str, scope: &str) -> Result<(String, String), String> {
        Ok((slice.into(), scope.into()))
    }

    #[test]
    fn the_path_has_three_parts_of_which_the_slice_may_be_empty() {
        assert_eq!(name("machine.slice:libpod:1f"), pair("machine.slice", "libpod-1f.scope"));
        assert_eq!(name(":docker:1f"), pair("system.slice", "docker-1f.scope"));
        assert_eq!(name(""), pair("system.slice", "nrun-web.scope"));
        let user = Name::parse(None, "web", true).unwrap();
        assert_eq!(user.slice, "user.slice");
    }

    #[test]
    fn what_is_no_name_of_a_scope_is_refused_at_its_place() {
        for path in
            ["/docker/1f", "a.slice:b", "a:b:c:d", "a.slice:b:c.slice", "::x/y", "a:b:", "::a b"]
        {
            let error = name(path).unwrap_err();
            assert!(error.contains("(config.json /linux/cgroupsPath)"), "{path}: {error}");
        }
        assert!(name(&format!("::{}", "x".repeat(250))).is_err());
    }

    #[test]
    fn a_slice_lies_in_the_slices_that_its_name_begins_with() {
        let expanded = |slice: &str| expand(slice).map(|path| path.display().to_string()).ok();
        let table = [
            ("system.slice", Some("system.slice")),
            ("a-b-c.slice", Some("a.slice/a-b.slice/a-b-c.slice")),
            ("-.slice", Some("")),
            (".slice", None),
            ("a--b.slice", None),
            ("-a.slice", None),
            ("a-.slice", None),
            ("a/b.slice", None),
            ("..slice", Some("..slice")),
            ("a.service", None),
            ("slice", None),
        ];
        for (slice, path) in table {
            assert_eq!(expanded(slice).as_deref(), path, "{slice}");
        }
    }
}
