//! Mounts: from the entries of config.json to mount operations, in their order.
//!
//! The order of the list is the order of the operations (runtime-spec, "mounts"): a later entry may lie inside an earlier
//! one. What becomes read-only only after something was mounted inside it is a step of its own at the end of its group.

use super::idmap::IdMaps;
use super::op::{Carrier, CopyUp, Mount, Op, Source, Step};
use super::{Error, binds, c_string, cgroup_mounts, legacy};
use bundle::config::mount_options::{self as options, Options};
use oci_spec::runtime::{self, Linux};
use std::borrow::Cow;
use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use sys::beneath::Target;
use sys::mount as attr;

/// What the entries of `mounts` are planned against.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The bundle: a relative bind source starts here.
    pub bundle: &'a Path,
    /// The root file system on the host: a bind source in there may be what an earlier mount brought.
    pub rootfs: &'a Path,
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
    /// The container's user namespace, which `idmap` without mappings takes them from.
    pub user_namespace: UserNamespace<'a>,
    /// There is a user namespace, the container's or the caller's, between the mounts and the host.
    pub in_user_namespace: bool,
    /// `linux` of config.json, from whose user namespace the mappings of a mount may count.
    pub linux: Option<&'a Linux>,
    /// What new file systems are labelled with.
    pub label: Option<&'a Label>,
    /// The entries that come before.
    pub earlier: &'a [Earlier],
}

/// What an entry means for those that come after it.
#[derive(Debug)]
pub struct Earlier {
    place: Target,
    /// It changes a mount that is there.
    is_change: bool,
    is_bind: bool,
    /// Nothing of the image or of a volume is in it; nor does a change of what is there bring anything.
    is_new: bool,
}

impl Earlier {
    fn of(mount: &runtime::Mount, kind: &str, options: &Options) -> Option<Self> {
        let made = matches!(kind, "tmpfs" | "cgroup" | "cgroup2") || SHARED.contains(&kind);
        Some(Self {
            place: Target::new(mount.destination().as_os_str().as_bytes()).ok()?,
            is_change: options.remount,
            is_bind: options.bind,
            is_new: options.remount || made && !options.bind && !options.copy_up,
        })
    }

    /// Whether it is at a path, or above it.
    fn covers(&self, path: &[u8]) -> bool {
        let rest = path.strip_prefix(self.place.path().to_bytes());
        rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    }
}

/// The steps of all entries of `mounts`.
#[derive(Debug)]
pub struct Planned {
    /// In the order of the entries.
    pub steps: Vec<Step>,
    /// One of them binds something to the container's `/dev`, whichever of its names config.json has for it.
    pub binds_dev: bool,
}

/// The user namespace that the mounts are made in.
#[derive(Clone, Copy, Debug)]
pub enum UserNamespace<'a> {
    /// The caller's own.
    None,
    /// A new one with these mappings.
    New(&'a IdMaps),
    /// One that is joined, by its file.
    Joined(&'a CStr),
}

/// `linux.mountLabel`, as a parameter of file systems.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// `context`, or what the annotation `run.oci.mount_context_type` says.
    pub parameter: CString,
    /// The SELinux label.
    pub label: CString,
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

impl Label {
    /// The parameter that gives it to a file system.
    pub(super) fn parameter(&self) -> (CString, Option<CString>) {
        (self.parameter.clone(), Some(self.label.clone()))
    }
}

/// Plans every mount of config.json; bind sources are added to `sources`.
///
/// # Errors
/// For an option that contradicts the mount, naming its place.
pub fn plan(
    mounts: &[runtime::Mount],
    context: &Context<'_>,
    sources: &mut Vec<Source>,
) -> Result<Planned, Error> {
    let mut steps = Vec::with_capacity(mounts.len() + 8);
    let mut earlier = Vec::with_capacity(mounts.len());
    for (i, mount) in mounts.iter().enumerate() {
        let pointer = format!("/mounts/{i}");
        let context = &Context { earlier: &earlier, ..*context };
        let mount = &*in_root(mount, context.rootfs);
        let mut options = options::parse(mount.options().as_deref().unwrap_or_default());
        let kind = mount.typ().as_deref().unwrap_or("none");
        options.bind |= kind == "bind";
        refuse_options(mount, kind, &options, &pointer)?;
        let planned = Earlier::of(mount, kind, &options);
        match kind {
            _ if options.remount => {
                steps.push(legacy::remount(mount, kind, &options, context, pointer)?);
            }
            _ if options.bind => {
                steps.push(binds::plan(mount, options, context, sources, pointer)?);
            }
            "cgroup" | "cgroup2" => {
                let options = options.of_new_file_system();
                cgroup_mounts::plan(mount, &options, context, sources, &pointer, &mut steps)?;
            }
            kind => {
                let made = file_system(mount, kind, options, context, &pointer)?;
                steps.push(Step { op: Op::Mount(Box::new(made)), pointer });
            }
        }
        earlier.extend(planned);
    }
    let binds_dev = earlier.iter().any(|entry| entry.is_bind && entry.place.path() == c"dev");
    Ok(Planned { steps, binds_dev })
}

/// The mount with a destination as the container sees it, where config.json names it by the host's path of the root (as in runc).
fn in_root<'m>(mount: &'m runtime::Mount, rootfs: &Path) -> Cow<'m, runtime::Mount> {
    let Some(inside) = binds::inside(rootfs, mount.destination()) else {
        return Cow::Borrowed(mount);
    };
    let mut mount = mount.clone();
    mount.set_destination(Path::new("/").join(OsStr::from_bytes(inside.as_bytes())));
    Cow::Owned(mount)
}

/// What cannot be asked of a mount, whatever it is made by.
fn refuse_options(
    mount: &runtime::Mount,
    kind: &str,
    options: &Options,
    pointer: &str,
) -> Result<(), Error> {
    let at = format!("{pointer}/options");
    if options.copy_up && (kind != "tmpfs" || options.bind || options.remount) {
        return Err(Error::new(at, "`tmpcopyup` is for a new mount of type `tmpfs` only"));
    }
    if target(mount.destination(), pointer)?.path() == c"." && !options.remount {
        // What is mounted there would hide the root that every later path is looked up under.
        return Err(Error::new(
            format!("{pointer}/destination"),
            "is the root itself: use `root` and `linux.rootfsPropagation` for that",
        ));
    }
    Ok(())
}

pub(super) fn target(path: &Path, pointer: &str) -> Result<Target, Error> {
    Target::new(path.as_os_str().as_bytes())
        .map_err(|_| Error::new(format!("{pointer}/destination"), "contains a NUL byte"))
}

/// File systems whose superblock is the kernel's or the namespace's, and would become read-only or labelled for others too.
pub(super) const SHARED: &[&str] = &[
    "proc",
    "sysfs",
    "mqueue",
    "devpts",
    "devtmpfs",
    "debugfs",
    "tracefs",
    "securityfs",
    "configfs",
];

fn file_system(
    mount: &runtime::Mount,
    kind: &str,
    options: Options,
    context: &Context<'_>,
    pointer: &str,
) -> Result<Mount, Error> {
    let mut options = options.of_new_file_system();
    options.data = options.data.iter().flat_map(|option| apart(option)).collect();
    // Only procfs itself belongs on /proc, and a tmpfs below it would redirect what the runtime writes (class D).
    let target = target(mount.destination(), pointer)?;
    if kind != "proc" {
        refuse_over_proc(&target, pointer)?;
    }
    let at = format!("{pointer}/options");
    let is_dev = target.path() == c"dev";
    let read_only = options.attributes.set & attr::RDONLY != 0;
    // Devices are made in /dev, and later mounts may have their targets in a tmpfs.
    let read_only_last = read_only && (kind == "tmpfs" || is_dev);
    let mut parameters = Vec::new();
    if let Some(source) = mount.source() {
        let source = c_string(source.as_os_str().as_bytes(), &format!("{pointer}/source"))?;
        parameters.push((c"source".to_owned(), Some(source)));
    }
    if read_only && !read_only_last && !SHARED.contains(&kind) {
        parameters.push((c"ro".to_owned(), None));
    }
    for flag in &options.superblock {
        parameters.push((c_string(flag.as_bytes(), &at)?, None));
    }
    for data in &options.data {
        // Every devpts has been a new instance since Linux 4.7.
        if kind != "devpts" || data != "newinstance" {
            parameters.push(parameter(data, &at)?);
        }
    }
    // SELinux labels the files of proc and sysfs itself, and refuses another label for a superblock that is there already.
    let takes_label = kind == "devpts" || !SHARED.contains(&kind);
    let label = context.label.filter(|_| takes_label);
    parameters.extend(label.map(Label::parameter));
    let mut attributes = options.attributes.set;
    if read_only_last {
        attributes &= !attr::RDONLY;
    }
    let by_legacy = legacy::is_better(kind, &options, &target)
        || parameters.iter().any(|(key, value)| {
            let longest =
                value.iter().fold(key.count_bytes(), |n, value| n.max(value.count_bytes()));
            longest > LONGEST_PARAMETER
        });
    let given = |name: &str| options.data.iter().any(|option| option.starts_with(name));
    let ordinary = matches!(kind, "proc" | "sysfs") || is_dev;
    Ok(Mount {
        ordinary,
        // Where no link is followed, none leads anywhere.
        off_proc: !ordinary && may_lead_to_proc(&target, context),
        options: parameters,
        attributes,
        legacy: by_legacy
            .then(|| legacy::arguments(mount, kind, &options, label, &at))
            .transpose()?,
        inherits_mode: kind == "tmpfs" && !given("mode="),
        copy_up: options
            .copy_up
            .then(|| CopyUp { owner: !given("uid=") && !given("gid="), mode: !given("mode=") }),
        read_only_last,
        propagation: options.propagation,
        ..Mount::new(target, c_string(kind.as_bytes(), &format!("{pointer}/type"))?)
    })
}

/// The most bytes that fsconfig(2) takes of a name or value: layers of an overlay may need more. mount(2) takes a page for all of them.
const LONGEST_PARAMETER: usize = 255;

/// The parameters in one option: mount(2), to which other runtimes give it as it is, has them apart at each comma. One that is quoted or
/// escaped belongs to a value, and so does one before a digit (`mpol=bind:0,2`, as tmpfs itself has it).
fn apart(option: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for part in option.split(',') {
        match parts.last_mut() {
            Some(before)
                if option.contains(['"', '\\'])
                    || part.starts_with(|c: char| c.is_ascii_digit()) =>
            {
                before.extend([",", part]);
            }
            _ if part.is_empty() => {}
            _ => parts.push(part.to_owned()),
        }
    }
    parts
}

fn parameter(data: &str, pointer: &str) -> Result<(CString, Option<CString>), Error> {
    Ok(match data.split_once('=') {
        Some((key, value)) => {
            (c_string(key.as_bytes(), pointer)?, Some(c_string(value.as_bytes(), pointer)?))
        }
        None => (c_string(data.as_bytes(), pointer)?, None),
    })
}

/// Whether a link of the image, or of a volume, could bring a mount to a procfs. It could not below a /dev or /sys in which only what
/// earlier mounts have made anew is on the way, and need not where the bundle says /proc by name.
pub(super) fn may_lead_to_proc(target: &Target, context: &Context<'_>) -> bool {
    let path = target.path().to_bytes();
    let top = path.split(|&byte| byte == b'/').next().unwrap_or_default();
    match top {
        b"proc" => return false,
        b"dev" | b"sys" => {}
        _ => return true,
    }
    let mut top_is_new = false;
    for entry in context.earlier.iter().filter(|entry| entry.covers(path)) {
        if !entry.is_new {
            return true;
        }
        top_is_new |= entry.place.path().to_bytes() == top;
    }
    !top_is_new
}

/// Whether what is mounted at a place has its flags from the host: it is of the root, or of a bind mount, by the last of the earlier
/// entries there or above it.
pub(super) fn is_of_host(target: &Target, context: &Context<'_>) -> bool {
    let path = target.path().to_bytes();
    let last = context.earlier.iter().rev().find(|entry| !entry.is_change && entry.covers(path));
    last.is_none_or(|entry| entry.is_bind)
}

/// Refuses to cover /proc, and anything below it that the kernel or the runtime takes at its word (CVE-2019-16884, CVE-2019-19921).
pub(super) fn refuse_over_proc(target: &Target, pointer: &str) -> Result<(), Error> {
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
pub(super) mod testing {
    use super::*;

    pub(in crate::plan) fn listed(json: &str) -> Vec<runtime::Mount> {
        serde_json::from_str(json).unwrap()
    }

    pub(in crate::plan) fn context(cgroups: &[CgroupView]) -> Context<'_> {
        Context {
            bundle: Path::new("/bundle"),
            rootfs: Path::new("/bundle/rootfs"),
            carrier: Carrier::Tree,
            propagation: 0x8_4000,
            cgroups,
            cgroup_carrier: Carrier::Tree,
            cgroup_namespace: true,
            user_namespace: UserNamespace::None,
            in_user_namespace: false,
            linux: None,
            label: None,
            earlier: &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{context, listed};
    use super::*;

    fn planned(json: &str) -> Result<(Vec<Step>, Vec<Source>), Error> {
        let mut sources = Vec::new();
        plan(&listed(json), &context(&[]), &mut sources).map(|planned| (planned.steps, sources))
    }

    #[test]
    fn one_option_may_hold_several_parameters() {
        assert_eq!(apart("size=1m,mode=700,,huge=never,"), ["size=1m", "mode=700", "huge=never"]);
        assert_eq!(apart("mpol=bind:0,2,size=1m"), ["mpol=bind:0,2", "size=1m"]);
        for whole in ["lowerdir=/a\\,b:/c", "context=\"a:b:c:s0:c1,c2\"", "size=1m"] {
            assert_eq!(apart(whole), [whole]);
        }
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
    fn a_destination_by_the_hosts_path_of_the_root_is_that_in_the_container() {
        let target = |destination: &str| {
            let json = format!(r#"[{{"destination": "{destination}", "type": "tmpfs"}}]"#);
            match planned(&json)?.0.remove(0).op {
                Op::Mount(mount) => Ok(mount.target.path().to_str().unwrap().to_owned()),
                op => panic!("{op:?}"),
            }
        };
        for (destination, inside) in [
            ("/bundle/rootfs/data/x", "data/x"),
            ("/bundle/./rootfs//data/../x", "x"),
            ("/bundle/rootfs2/x", "bundle/rootfs2/x"),
            ("/bundle/x", "bundle/x"),
        ] {
            assert_eq!(target(destination).map_err(|error: Error| error.message).unwrap(), inside);
        }
        assert_eq!(target("/bundle/rootfs/proc/x").unwrap_err().pointer, "/mounts/0/destination");
        assert_eq!(target("/bundle/rootfs").unwrap_err().pointer, "/mounts/0/destination");
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
    fn the_superblock_is_read_only_only_where_it_is_the_containers_own() {
        let has_ro = |json: &str| match &planned(json).unwrap().0[0].op {
            Op::Mount(mount) => mount.options.iter().any(|(key, _)| key.as_c_str() == c"ro"),
            op => panic!("{op:?}"),
        };
        assert!(has_ro(r#"[{"destination": "/t", "type": "ext4", "options": ["ro"]}]"#));
        assert!(!has_ro(r#"[{"destination": "/sys", "type": "sysfs", "options": ["ro"]}]"#));
    }

    #[test]
    fn what_later_steps_fill_becomes_read_only_last() {
        let planned = |mount: &str| {
            let json = format!(r#"[{{{mount}, "options": ["ro", "nosuid"]}}]"#);
            match planned(&json).unwrap().0.remove(0).op {
                Op::Mount(mount) => (mount.read_only_last, mount.attributes),
                op => panic!("{op:?}"),
            }
        };
        for mount in [
            r#""destination": "/t", "type": "tmpfs""#,
            r#""destination": "/dev", "type": "devtmpfs""#,
        ] {
            assert_eq!(planned(mount), (true, attr::NOSUID), "{mount}");
        }
        let at_once = planned(r#""destination": "/t", "type": "ext4""#);
        assert_eq!(at_once, (false, attr::NOSUID | attr::RDONLY));
    }

    #[test]
    fn a_tmpfs_has_the_mode_of_what_it_covers_unless_an_option_gives_one() {
        let planned = |options: &str| {
            let json = format!(
                r#"[{{"destination": "/t", "type": "tmpfs", "options": ["size=1m" {options}]}}]"#
            );
            match planned(&json).unwrap().0.remove(0).op {
                Op::Mount(mount) => (mount.inherits_mode, mount.copy_up),
                op => panic!("{op:?}"),
            }
        };
        assert_eq!(planned(""), (true, None));
        assert_eq!(planned(r#", "mode=755""#), (false, None));
        let copy_up = |owner, mode| Some(CopyUp { owner, mode });
        assert_eq!(planned(r#", "tmpcopyup""#), (true, copy_up(true, true)));
        assert_eq!(planned(r#", "tmpcopyup", "uid=3", "mode=1""#), (false, copy_up(false, false)));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_place() {
        for (mount, pointer) in [
            (r#""destination": "/", "type": "tmpfs""#, "/mounts/0/destination"),
            (r#""destination": "/x/..", "source": "/s", "type": "bind""#, "/mounts/0/destination"),
            (
                r#""destination": "/x", "type": "ext4", "options": ["tmpcopyup"]"#,
                "/mounts/0/options",
            ),
            (
                r#""destination": "/x", "source": "/s", "options": ["bind", "tmpcopyup"]"#,
                "/mounts/0/options",
            ),
        ] {
            assert_eq!(planned(&format!("[{{{mount}}}]")).unwrap_err().pointer, pointer, "{mount}");
        }
    }

    #[test]
    fn only_file_systems_of_the_containers_own_are_labelled() {
        let label = Label { parameter: c"context".to_owned(), label: c"a:b:c:s0".to_owned() };
        let context = Context { label: Some(&label), ..context(&[]) };
        let labelled = |kind: &str| {
            let json = format!(r#"[{{"destination": "/x", "type": "{kind}"}}]"#);
            match plan(&listed(&json), &context, &mut Vec::new()).unwrap().steps.remove(0).op {
                Op::Mount(mount) => mount.options.contains(&label.parameter()),
                op => panic!("{op:?}"),
            }
        };
        assert!(labelled("tmpfs") && labelled("overlay") && labelled("devpts"));
        assert!(!labelled("proc") && !labelled("sysfs") && !labelled("mqueue"));
    }
}
