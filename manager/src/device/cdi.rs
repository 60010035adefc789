//! The Container Device Interface: a vendor says in a file what a device takes in a container.
//!
//! Files are JSON or YAML below `/etc/cdi` and `/var/run/cdi`; where both define a device, the second directory holds. The
//! directories are the administrator's: what they say is trusted.

use super::Device;
use crate::error::{Error, Result, reason};
use oci_spec::runtime::{LinuxDeviceBuilder, LinuxDeviceType};
use serde::Deserialize;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Where specifications lie, those that hold last.
pub const DIRECTORIES: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];

/// As much of a specification as is read.
const LARGEST_FILE: u64 = 4 << 20;

/// Whether a text is `vendor/class=name`.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let word = |text: &str, more: &[u8]| {
        text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
            && text.as_bytes().last().is_some_and(u8::is_ascii_alphanumeric)
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || more.contains(&b))
    };
    text.split_once('=').is_some_and(|(kind, name)| {
        word(name, b"_-.:")
            && kind
                .split_once('/')
                .is_some_and(|(vendor, class)| word(vendor, b"_-.") && word(class, b"_-"))
    })
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Specification {
    kind: String,
    #[serde(default)]
    devices: Vec<Named>,
    #[serde(default)]
    container_edits: Edits,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Named {
    name: String,
    #[serde(default)]
    container_edits: Edits,
}

/// What a specification changes of a container.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Edits {
    /// Variables, `NAME=VALUE`.
    pub env: Vec<String>,
    /// Devices.
    #[serde(rename = "deviceNodes")]
    pub nodes: Vec<Node>,
    /// Mounts.
    pub mounts: Vec<Mount>,
    /// Programs that the runtime executes.
    pub hooks: Vec<Hook>,
    /// Further groups of the process.
    #[serde(rename = "additionalGids", alias = "additionalGIDs")]
    pub groups: Vec<u32>,
}

/// A device; what is left out is as on the host.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Node {
    path: String,
    host_path: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    major: Option<i64>,
    minor: Option<i64>,
    file_mode: Option<u32>,
    permissions: Option<String>,
    uid: Option<u32>,
    gid: Option<u32>,
}

/// A mount.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Mount {
    /// On the host.
    pub host_path: String,
    /// In the container.
    pub container_path: String,
    /// As for mount(8).
    pub options: Vec<String>,
    /// Of the file system; a bind where there is none.
    #[serde(rename = "type")]
    pub kind: Option<String>,
}

/// A program that the runtime executes.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Hook {
    /// When: `createRuntime` and the like.
    pub hook_name: String,
    /// The program.
    pub path: String,
    /// Its arguments, its name first.
    pub args: Vec<String>,
    /// Its environment.
    pub env: Vec<String>,
    /// Seconds.
    pub timeout: Option<i64>,
}

impl Edits {
    fn add(&mut self, other: &Self) {
        self.env.extend_from_slice(&other.env);
        self.nodes.extend_from_slice(&other.nodes);
        self.mounts.extend_from_slice(&other.mounts);
        self.hooks.extend_from_slice(&other.hooks);
        self.groups.extend_from_slice(&other.groups);
    }
}

impl Node {
    /// Fills in from the host what the specification leaves out.
    pub fn find(&self) -> Result<Device> {
        let host = self.host_path.as_deref().unwrap_or(&self.path);
        let refused = |why: &str| Error::Rejected {
            message: format!("CDI device injection failed: device node `{host}`: {why}"),
            hint: None,
        };
        let of_host =
            super::node(Path::new(host), Path::new(&self.path), "rwm").map(|device| device.node);
        let kind = match self.kind.as_deref() {
            Some("b") => Some(LinuxDeviceType::B),
            Some("c" | "u") => Some(LinuxDeviceType::C),
            Some("p") => Some(LinuxDeviceType::P),
            Some(other) => return Err(refused(&format!("unknown type `{other}`"))),
            None => of_host.as_ref().map(|node| node.typ()),
        };
        let missing = || refused("no such device, and its numbers are not given");
        let kind = kind.ok_or_else(missing)?;
        let number =
            |given: Option<i64>, of_host: Option<i64>| given.or(of_host).ok_or_else(missing);
        let mut node = LinuxDeviceBuilder::default()
            .path(PathBuf::from(&self.path))
            .typ(kind)
            .major(number(self.major, of_host.as_ref().map(|node| node.major()))?)
            .minor(number(self.minor, of_host.as_ref().map(|node| node.minor()))?)
            .build()
            .map_err(|error| refused(&error.to_string()))?;
        node.set_file_mode(self.file_mode.or_else(|| of_host.as_ref()?.file_mode()));
        node.set_uid(self.uid.or_else(|| of_host.as_ref()?.uid()));
        node.set_gid(self.gid.or_else(|| of_host.as_ref()?.gid()));
        Ok(Device { node, access: self.permissions.clone().unwrap_or_else(|| "rwm".to_owned()) })
    }
}

/// What the named devices change: once what each specification says for all of its devices, then each device.
pub fn resolve(names: &[&String], directories: &[&Path]) -> Result<Edits> {
    let specifications = load(directories)?;
    let (mut edits, mut general) = (Edits::default(), Vec::new());
    let mut unknown = Vec::new();
    for name in names {
        let (kind, device) = name.split_once('=').unwrap_or_default();
        // The directory that is read last holds.
        let found = specifications.iter().enumerate().rev().find_map(|(at, specification)| {
            let device = specification.devices.iter().find(|known| known.name == device)?;
            (specification.kind == kind).then_some((at, specification, device))
        });
        let Some((at, specification, device)) = found else {
            unknown.push(name.as_str());
            continue;
        };
        if !general.contains(&at) {
            general.push(at);
            edits.add(&specification.container_edits);
        }
        edits.add(&device.container_edits);
    }
    if unknown.is_empty() {
        return Ok(edits);
    }
    let places: Vec<String> = directories.iter().map(|path| path.display().to_string()).collect();
    Err(Error::Rejected {
        message: format!(
            "CDI device injection failed: unresolvable CDI devices {}",
            unknown.join(", ")
        ),
        hint: Some(format!(
            "a specification of the device's vendor has to be in {}",
            places.join(" or ")
        )),
    })
}

fn load(directories: &[&Path]) -> Result<Vec<Specification>> {
    let mut specifications = Vec::new();
    for directory in directories {
        let Ok(entries) = std::fs::read_dir(directory) else { continue };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            let yaml = match path.extension().and_then(|extension| extension.to_str()) {
                Some("json") => false,
                Some("yaml" | "yml") => true,
                _ => continue,
            };
            specifications.push(read(&path, yaml)?);
        }
    }
    Ok(specifications)
}

fn read(path: &Path, yaml: bool) -> Result<Specification> {
    use std::io::Read as _;
    let refused = |why: String| Error::Rejected {
        message: format!("failed to load CDI Spec `{}`: {why}", path.display()),
        hint: None,
    };
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(LARGEST_FILE).read_to_string(&mut text))
        .map_err(|error| refused(reason(&error)))?;
    let value = if yaml {
        from_yaml(&text).map_err(refused)?
    } else {
        serde_json::from_str(&text).map_err(|error| refused(error.to_string()))?
    };
    serde_json::from_value(value).map_err(|error| refused(error.to_string()))
}

/// The first document of a YAML text, as JSON.
fn from_yaml(text: &str) -> std::result::Result<Value, String> {
    let documents =
        yaml_rust2::YamlLoader::load_from_str(text).map_err(|error| error.to_string())?;
    documents.into_iter().next().map(to_json).ok_or_else(|| "it is empty".to_owned())
}

fn to_json(yaml: yaml_rust2::Yaml) -> Value {
    use yaml_rust2::Yaml;
    match yaml {
        Yaml::Boolean(value) => value.into(),
        Yaml::Integer(value) => value.into(),
        Yaml::Real(ref text) | Yaml::String(ref text) => match (&yaml, yaml.as_f64()) {
            (Yaml::Real(_), Some(number)) => number.into(),
            _ => text.clone().into(),
        },
        Yaml::Array(list) => list.into_iter().map(to_json).collect(),
        Yaml::Hash(map) => {
            let key = |key: Yaml| match key {
                Yaml::Integer(number) => number.to_string(),
                Yaml::Boolean(value) => value.to_string(),
                other => other.into_string().unwrap_or_default(),
            };
            Value::Object(
                map.into_iter().map(|(name, value)| (key(name), to_json(value))).collect(),
            )
        }
        Yaml::Alias(_) | Yaml::Null | Yaml::BadValue => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YAML: &str = r#"
cdiVersion: "0.6.0"
kind: vendor.com/gpu
devices:
  - name: "0"
    containerEdits:
      deviceNodes:
        - path: /dev/gpu0
          hostPath: /dev/null
      additionalGids: [44]
  - name: all
    containerEdits:
      env: [ALL=1]
containerEdits:
  env:
    - GENERAL=1
  mounts:
    - hostPath: /usr/lib
      containerPath: /usr/lib/gpu
      options: [ro, nosuid]
  hooks:
    - hookName: createContainer
      path: /bin/ldconfig
      args: [ldconfig, -r]
"#;

    #[test]
    fn names_are_vendor_class_and_device() {
        for good in ["vendor.com/gpu=0", "nvidia.com/gpu=GPU-1:0", "a/b=c"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["/dev/x", "a=b", "a/b", "a/b=", "/b=c", "a/=c", "a/b=c d", "../x/b=c", "a/b=-"]
        {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn a_specification_in_yaml_or_json_says_what_a_device_takes() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("a.yaml"), YAML).unwrap();
        let json = r#"{"cdiVersion":"0.6.0","kind":"other.com/nic","devices":[{"name":"x","containerEdits":{"env":["X=1"]}}]}"#;
        std::fs::write(directory.path().join("b.json"), json).unwrap();
        std::fs::write(directory.path().join("c.txt"), "no specification").unwrap();
        let names =
            ["vendor.com/gpu=0", "vendor.com/gpu=all", "other.com/nic=x"].map(str::to_owned);
        let edits = resolve(&names.iter().collect::<Vec<_>>(), &[directory.path()]).unwrap();
        assert_eq!(edits.env, ["GENERAL=1", "ALL=1", "X=1"], "what is general is said once");
        assert_eq!(edits.mounts[0].options, ["ro", "nosuid"]);
        assert_eq!(edits.hooks[0].hook_name, "createContainer");
        assert_eq!(edits.groups, [44]);
        let device = edits.nodes[0].find().unwrap();
        assert_eq!((device.node.major(), device.node.minor()), (1, 3));
        assert_eq!(device.node.path(), Path::new("/dev/gpu0"));
    }

    #[test]
    fn the_later_directory_holds() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for (directory, value) in [(&first, "1"), (&second, "2")] {
            let json = format!(
                r#"{{"kind":"v/c","devices":[{{"name":"x","containerEdits":{{"env":["X={value}"]}}}}]}}"#
            );
            std::fs::write(directory.path().join("a.json"), json).unwrap();
        }
        let name = "v/c=x".to_owned();
        let edits = resolve(&[&name], &[first.path(), second.path()]).unwrap();
        assert_eq!(edits.env, ["X=2"]);
    }

    #[test]
    fn what_is_unknown_or_damaged_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let name = "v/c=x".to_owned();
        let error = resolve(&[&name], &[directory.path()]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "CDI device injection failed: unresolvable CDI devices v/c=x"
        );
        std::fs::write(directory.path().join("bad.yaml"), "kind: [").unwrap();
        let error = resolve(&[&name], &[directory.path()]).unwrap_err();
        assert!(error.to_string().contains("bad.yaml"), "{error}");
    }
}
