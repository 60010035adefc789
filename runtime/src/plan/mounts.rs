//! Mounts: from the entries of config.json to mount operations, in their order.
//!
//! The order of the list is the order of the operations (runtime-spec, "mounts"): a later entry may lie inside an earlier
//! one. What becomes read-only only after something was mounted inside it is a step of its own at the end of its group.

use super::op::{Bind, Carrier, Cgroups, Hierarchy, HierarchySource, Mount, Op, Source, Step};
use super::options::{self, Options};
use super::{Error, c_string};
use oci_spec::runtime;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use sys::beneath::Target;
use sys::mount as attr;

/// What the entries of `mounts` are planned against.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The bundle: a relative bind source starts here.
    pub bundle: &'a Path,
    /// How bind sources are carried into the child.
    pub carrier: Carrier,
    /// Propagation of the container's mounts, which a bind cloned on the host must be given before it is attached.
    pub propagation: u64,
    /// The container's cgroups, for mounts of type `cgroup`.
    pub cgroups: &'a [CgroupView],
    /// How they reach the child: systemd makes them only when it is there.
    pub cgroup_carrier: Carrier,
    /// The container has a cgroup namespace, so that a cgroup file system mounted in it begins at its own cgroup.
    pub cgroup_namespace: bool,
}

/// A cgroup hierarchy as a container sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupView {
    /// Name of the directory below /sys/fs/cgroup; `None` when the hierarchy is mounted there itself (v2).
    pub name: Option<String>,
    /// v1 controllers, or one `name=...`; empty for v2.
    pub controllers: Vec<String>,
    /// The container's cgroup on the host.
    pub path: PathBuf,
}

/// Plans every mount of config.json; bind sources are added to `sources`.
///
/// # Errors
/// For an option that contradicts the mount, naming its place.
pub fn plan(
    mounts: &[runtime::Mount],
    context: &Context<'_>,
    sources: &mut Vec<Source>,
) -> Result<Vec<Step>, Error> {
    let mut steps = Vec::with_capacity(mounts.len() + 8);
    for (i, mount) in mounts.iter().enumerate() {
        let pointer = format!("/mounts/{i}");
        let mut options = options::parse(mount.options().as_deref().unwrap_or_default());
        let kind = mount.typ().as_deref().unwrap_or("none");
        options.bind |= kind == "bind";
        if options.remount && !options.bind {
            return Err(Error::new(
                format!("{pointer}/options"),
                "`remount` is not an option of a new mount",
            ));
        }
        if options.copy_up {
            return Err(Error::new(
                format!("{pointer}/options"),
                "`tmpcopyup` is not supported by this version of nrun",
            ));
        }
        if options.idmap.is_some()
            || mount.uid_mappings().is_some()
            || mount.gid_mappings().is_some()
        {
            return Err(Error::new(
                pointer,
                "idmapped mounts are not supported by this version of nrun",
            ));
        }
        match kind {
            _ if options.bind => steps.push(bind(mount, options, context, sources, pointer)?),
            "cgroup" | "cgroup2" => {
                cgroup(mount, &options, context, sources, &pointer, &mut steps)?;
            }
            kind => steps.push(file_system(mount, kind, options, pointer)?),
        }
    }
    Ok(steps)
}

fn target(path: &Path, pointer: &str) -> Result<Target, Error> {
    Target::new(path.as_os_str().as_bytes())
        .map_err(|_| Error::new(format!("{pointer}/destination"), "contains a NUL byte"))
}

fn bind(
    mount: &runtime::Mount,
    options: Options,
    context: &Context<'_>,
    sources: &mut Vec<Source>,
    pointer: String,
) -> Result<Step, Error> {
    let Some(path) = mount.source() else {
        return Err(Error::new(pointer, "a bind mount needs a `source`"));
    };
    let path = context.bundle.join(path);
    let target = target(mount.destination(), &pointer)?;
    // The host's own /proc may be bound where a new one cannot be mounted, and nothing else.
    if path != Path::new("/proc") || target.path() != c"proc" {
        refuse_over_proc(&target, &pointer)?;
    }
    let source = sources.len();
    sources.push(Source {
        path: c_string(path.as_os_str().as_bytes(), &format!("{pointer}/source"))?,
        recursive: options.recursive,
        carrier: context.carrier,
        pointer: format!("{pointer}/source"),
    });
    let mut propagation = options.propagation;
    if propagation.is_empty() {
        propagation.push(context.propagation);
    }
    let bind = Bind {
        off_proc: may_lead_to_proc(&target),
        target,
        source,
        attributes: options.attributes,
        recursive: options.recursive_attributes,
        propagation,
    };
    Ok(Step { op: Op::Bind(bind), pointer })
}

fn file_system(
    mount: &runtime::Mount,
    kind: &str,
    options: Options,
    pointer: String,
) -> Result<Step, Error> {
    // Only procfs itself belongs on /proc, and a tmpfs below it would redirect what the runtime writes (class D).
    let target = target(mount.destination(), &pointer)?;
    if kind != "proc" {
        refuse_over_proc(&target, &pointer)?;
    }
    let at = format!("{pointer}/options");
    let mut parameters = Vec::new();
    if let Some(source) = mount.source() {
        let source = c_string(source.as_os_str().as_bytes(), &format!("{pointer}/source"))?;
        parameters.push((c"source".to_owned(), Some(source)));
    }
    // A superblock that other mounts share cannot become read-only for one of them.
    let shared = matches!(kind, "proc" | "sysfs" | "mqueue" | "devpts");
    if options.attributes.set & attr::RDONLY != 0 && !shared {
        parameters.push((c"ro".to_owned(), None));
    }
    for flag in &options.superblock {
        parameters.push((c_string(flag.as_bytes(), &at)?, None));
    }
    for data in &options.data {
        parameters.push(parameter(data, &at)?);
    }
    let op = Mount {
        ordinary: matches!(kind, "proc" | "sysfs") || target.path() == c"dev",
        off_proc: may_lead_to_proc(&target),
        target,
        kind: c_string(kind.as_bytes(), &format!("{pointer}/type"))?,
        options: parameters,
        attributes: options.attributes.set | options.recursive_attributes.set,
        propagation: options.propagation,
    };
    Ok(Step { op: Op::Mount(op), pointer })
}

fn parameter(data: &str, pointer: &str) -> Result<(CString, Option<CString>), Error> {
    Ok(match data.split_once('=') {
        Some((key, value)) => {
            (c_string(key.as_bytes(), pointer)?, Some(c_string(value.as_bytes(), pointer)?))
        }
        None => (c_string(data.as_bytes(), pointer)?, None),
    })
}

/// A mount of type `cgroup`: the hierarchies that the host has, each at the container's own cgroup.
///
/// On v1 that is a tmpfs with a directory for every hierarchy, which can become read-only only after they are there.
fn cgroup(
    mount: &runtime::Mount,
    options: &Options,
    context: &Context<'_>,
    sources: &mut Vec<Source>,
    pointer: &str,
    steps: &mut Vec<Step>,
) -> Result<(), Error> {
    if let [view @ CgroupView { name: None, .. }] = context.cgroups {
        steps.push(unified(mount.destination(), view, options, context, sources, pointer)?);
        return Ok(());
    }
    let tmpfs = Mount {
        target: target(mount.destination(), pointer)?,
        kind: c"tmpfs".to_owned(),
        options: vec![(c"mode".to_owned(), Some(c"755".to_owned()))],
        attributes: options.attributes.set & !attr::RDONLY,
        propagation: Vec::new(),
        ordinary: true,
        off_proc: false,
    };
    let (mut hierarchies, mut links) = (Vec::new(), Vec::new());
    for view in context.cgroups {
        let Some(name) = &view.name else { continue };
        let link = c_string(name.as_bytes(), pointer)?;
        // `cpu` and `cpuacct` where they are mounted together as `cpu,cpuacct`.
        for controller in view
            .controllers
            .iter()
            .filter(|controller| *controller != name && !controller.contains('='))
        {
            links.push((c_string(controller.as_bytes(), pointer)?, link.clone()));
        }
        hierarchies.push(Hierarchy { name: link, from: hierarchy(view, context, pointer)? });
    }
    let read_only = options.attributes.set & attr::RDONLY != 0;
    let flags = legacy_flags(options.attributes.set);
    let op = Op::Cgroups(Cgroups { tmpfs, read_only, hierarchies, flags, links });
    steps.push(Step { op, pointer: pointer.to_owned() });
    Ok(())
}

fn hierarchy(
    view: &CgroupView,
    context: &Context<'_>,
    pointer: &str,
) -> Result<HierarchySource, Error> {
    if !context.cgroup_namespace {
        return Ok(HierarchySource::Bind(c_string(view.path.as_os_str().as_bytes(), pointer)?));
    }
    if view.controllers.is_empty() {
        return Ok(HierarchySource::Mount { kind: c"cgroup2".to_owned(), data: c"".to_owned() });
    }
    let named = view.controllers.iter().any(|controller| controller.starts_with("name="));
    let data = format!("{}{}", if named { "none," } else { "" }, view.controllers.join(","));
    Ok(HierarchySource::Mount {
        kind: c"cgroup".to_owned(),
        data: c_string(data.as_bytes(), pointer)?,
    })
}

/// `MOUNT_ATTR_*` bits as the `MS_*` bits of mount(2); the two have the lowest four in common.
fn legacy_flags(attributes: u64) -> u32 {
    (attributes & (attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC)) as u32
}

/// The one hierarchy of v2.
fn unified(
    at: &Path,
    view: &CgroupView,
    options: &Options,
    context: &Context<'_>,
    sources: &mut Vec<Source>,
    pointer: &str,
) -> Result<Step, Error> {
    let target = target(at, pointer)?;
    if !context.cgroup_namespace {
        let source = sources.len();
        sources.push(Source {
            path: c_string(view.path.as_os_str().as_bytes(), pointer)?,
            recursive: false,
            carrier: context.cgroup_carrier,
            pointer: pointer.to_owned(),
        });
        let bind = Bind {
            target,
            source,
            attributes: options.attributes,
            recursive: options.recursive_attributes,
            propagation: vec![context.propagation],
            off_proc: false,
        };
        return Ok(Step { op: Op::Bind(bind), pointer: pointer.to_owned() });
    }
    let op = Mount {
        target,
        kind: c"cgroup2".to_owned(),
        options: Vec::new(),
        attributes: options.attributes.set,
        propagation: Vec::new(),
        ordinary: false,
        off_proc: false,
    };
    Ok(Step { op: Op::Mount(op), pointer: pointer.to_owned() })
}

/// Whether a link of the image could bring a mount to a procfs. It could not where only the kernel's file systems and our own /dev
/// are on the way, and need not where the bundle says /proc by name.
fn may_lead_to_proc(target: &Target) -> bool {
    let path = target.path().to_bytes();
    ![&b"proc"[..], b"sys", b"dev"]
        .iter()
        .any(|top| path.strip_prefix(*top).is_some_and(|rest| rest.is_empty() || rest[0] == b'/'))
}

/// Refuses to cover /proc, and anything below it that the kernel or the runtime takes at its word (CVE-2019-16884, CVE-2019-19921).
fn refuse_over_proc(target: &Target, pointer: &str) -> Result<(), Error> {
    let path = format!("/{}", target.path().to_string_lossy());
    let covers = path == "/proc" || path.starts_with("/proc/");
    if !covers || bundle::config::PROC_FILES.contains(&path.as_str()) {
        return Ok(());
    }
    Err(Error::new(
        format!("{pointer}/destination"),
        format!(
            "`{path}` cannot be mounted because it is inside /proc: only a mount of type `proc` may be there"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounts(json: &str) -> Vec<runtime::Mount> {
        serde_json::from_str(json).unwrap()
    }

    fn context(cgroups: &[CgroupView]) -> Context<'_> {
        Context {
            bundle: Path::new("/bundle"),
            carrier: Carrier::Tree,
            propagation: 0x8_4000,
            cgroups,
            cgroup_carrier: Carrier::Tree,
            cgroup_namespace: true,
        }
    }

    fn planned(json: &str) -> Result<(Vec<Step>, Vec<Source>), Error> {
        let mut sources = Vec::new();
        plan(&mounts(json), &context(&[]), &mut sources).map(|steps| (steps, sources))
    }

    #[test]
    fn a_relative_bind_source_starts_in_the_bundle() {
        let (_, sources) =
            planned(r#"[{"destination": "/x", "source": "data", "options": ["rbind", "ro"]}]"#)
                .unwrap();
        assert_eq!(sources[0].path, c"/bundle/data".to_owned());
        assert!(sources[0].recursive);
    }

    #[test]
    fn nothing_may_cover_proc() {
        for (destination, kind) in [
            ("/proc", "tmpfs"),
            ("/proc", "bind"),
            ("/proc/self", "tmpfs"),
            ("/proc/sys", "bind"),
            ("/x/../proc/sysrq-trigger", "bind"),
            ("proc//1", "tmpfs"),
        ] {
            let json = format!(
                r#"[{{"destination": "{destination}", "source": "/s", "type": "{kind}"}}]"#
            );
            let error = planned(&json).unwrap_err();
            assert_eq!(error.pointer, "/mounts/0/destination", "{destination}");
        }
        planned(r#"[{"destination": "/proc/meminfo", "source": "/s", "type": "bind"}]"#).unwrap();
        planned(r#"[{"destination": "/proc", "source": "proc", "type": "proc"}]"#).unwrap();
        planned(r#"[{"destination": "/proc", "source": "/proc", "type": "none", "options": ["rbind"]}]"#).unwrap();
    }

    #[test]
    fn a_read_only_tmpfs_of_cgroups_is_closed_after_its_hierarchies_are_there() {
        let views = [
            CgroupView {
                name: Some("cpu,cpuacct".into()),
                controllers: vec!["cpu".into(), "cpuacct".into()],
                path: "/h/c".into(),
            },
            CgroupView {
                name: Some("systemd".into()),
                controllers: vec!["name=systemd".into()],
                path: "/h/s".into(),
            },
            CgroupView { name: Some("unified".into()), controllers: vec![], path: "/h/u".into() },
        ];
        let json = r#"[{"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid", "ro"]}]"#;
        let steps = plan(&mounts(json), &context(&views), &mut Vec::new()).unwrap();
        let [Step { op: Op::Cgroups(cgroups), .. }] = &steps[..] else { panic!("{steps:?}") };
        assert!(cgroups.read_only);
        assert_eq!(cgroups.tmpfs.attributes, attr::NOSUID, "nothing could be made in it otherwise");
        assert_eq!(cgroups.flags, (attr::RDONLY | attr::NOSUID) as u32);
        assert_eq!(cgroups.links.len(), 2, "cpu and cpuacct");
        let data = |i: usize| match &cgroups.hierarchies[i].from {
            HierarchySource::Mount { kind, data } => {
                (kind.to_str().unwrap(), data.to_str().unwrap())
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(data(0), ("cgroup", "cpu,cpuacct"));
        assert_eq!(data(1), ("cgroup", "none,name=systemd"));
        assert_eq!(data(2), ("cgroup2", ""));
    }

    #[test]
    fn without_a_cgroup_namespace_the_containers_own_cgroup_is_bound() {
        let views = [CgroupView {
            name: Some("pids".into()),
            controllers: vec!["pids".into()],
            path: "/h/p".into(),
        }];
        let json = r#"[{"destination": "/sys/fs/cgroup", "type": "cgroup"}]"#;
        let context = Context { cgroup_namespace: false, ..context(&views) };
        let steps = plan(&mounts(json), &context, &mut Vec::new()).unwrap();
        assert!(matches!(&steps[0].op, Op::Cgroups(cgroups)
            if matches!(&cgroups.hierarchies[0].from, HierarchySource::Bind(path) if path.as_c_str() == c"/h/p")));
    }

    #[test]
    fn the_superblock_is_read_only_only_where_it_is_the_containers_own() {
        let has_ro = |json: &str| match &planned(json).unwrap().0[0].op {
            Op::Mount(mount) => mount.options.iter().any(|(key, _)| key.as_c_str() == c"ro"),
            op => panic!("{op:?}"),
        };
        assert!(has_ro(r#"[{"destination": "/t", "type": "tmpfs", "options": ["ro"]}]"#));
        assert!(!has_ro(r#"[{"destination": "/sys", "type": "sysfs", "options": ["ro"]}]"#));
    }
}
