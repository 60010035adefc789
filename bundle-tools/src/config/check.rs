//! Holds a parsed configuration against the runtime specification and against what runc refuses.
//!
//! Each rule is a small function in a table, with the clause that it comes from; all of them run
//! and all that they find is reported at once. A rule looks at parsed values only, so that the same
//! configuration gives the same findings on every host; what depends on the host (kernel features,
//! LSMs, what a namespace path leads to) is for the planner. `docs/strictness.md` lists where the
//! rules differ from runc's.

mod devices;
mod hooks;
mod ids;
mod lists;
mod mounts;
mod namespaces;
mod process;
mod resources;
mod seccomp;
mod sysctl;
mod tuning;
mod unprivileged;

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use oci_spec::runtime::{Linux, LinuxNamespace, LinuxNamespaceType, Process, Root, Spec};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::error::{Error, Findings, Problem};
use super::leniency::Document;
use super::scan;
use super::{Checked, Loaded};

pub use lists::plain_ranges;
pub use mounts::PROC_FILES;
pub use sysctl::sysctl_path;
pub(super) use unprivileged::unprivileged;

/// A rule: looks at the configuration and reports what is against it.
type Check = fn(&Subject<'_>, &mut Report);

/// All rules; their order is that of findings about one value.
const CHECKS: &[&[Check]] = &[
    &[version, root, process_is_given, annotations],
    namespaces::CHECKS,
    ids::CHECKS,
    mounts::CHECKS,
    sysctl::CHECKS,
    devices::CHECKS,
    resources::CHECKS,
    seccomp::CHECKS,
    hooks::CHECKS,
    tuning::CHECKS,
];

/// Checks a configuration against every rule, and that its root file system is there.
///
/// # Errors
/// Every finding, sorted by position.
pub fn check(loaded: Loaded) -> Result<Checked, Findings> {
    let Loaded { spec, bundle, source, warnings } = loaded;
    let mut report = Report::new("");
    let subject = Subject { spec: &spec };
    for rule in CHECKS.iter().copied().flatten() {
        rule(&subject, &mut report);
    }
    if let Some(process) = spec.process() {
        report.problems.extend(process::check(process, "/process"));
    }
    report.problems.extend(no_nul(&source.text, Document::Config));
    report.warnings.extend(warnings);
    let bundle = std::path::absolute(&bundle).unwrap_or(bundle);
    match rootfs(&spec, &bundle) {
        Ok(rootfs) if report.problems.is_empty() => {
            let warnings = match report.warnings.is_empty() {
                true => Vec::new(),
                false => source.findings(report.warnings).list,
            };
            Ok(Checked { spec, bundle, rootfs, warnings, source })
        }
        found => {
            report.problems.extend(found.err().flatten());
            Err(source.findings(report.problems))
        }
    }
}

/// Checks a process, whose pointers are relative to it: `/cwd`, `/rlimits/0`.
pub fn check_process(process: &Process) -> Vec<Problem> {
    process::check(process, "")
}

/// What a rule looks at.
struct Subject<'a> {
    spec: &'a Spec,
}

impl<'a> Subject<'a> {
    fn linux(&self) -> Option<&'a Linux> {
        self.spec.linux().as_ref()
    }

    /// The entry for a namespace of this type, new or joined.
    fn namespace(&self, typ: LinuxNamespaceType) -> Option<&'a LinuxNamespace> {
        let list = self.linux()?.namespaces().as_deref()?;
        list.iter().find(|namespace| namespace.typ() == typ)
    }

    fn has(&self, typ: LinuxNamespaceType) -> bool {
        self.namespace(typ).is_some()
    }

    /// Whether the container gets a new namespace of this type.
    fn has_new(&self, typ: LinuxNamespaceType) -> bool {
        self.namespace(typ).is_some_and(|namespace| joined_path(namespace).is_none())
    }
}

/// The path of a namespace to join; an empty one is none, as for every engine written in Go.
fn joined_path(namespace: &LinuxNamespace) -> Option<&Path> {
    namespace.path().as_deref().filter(|path| !path.as_os_str().is_empty())
}

/// What the rules have found.
struct Report {
    base: &'static str,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Report {
    /// `base` is put in front of every pointer.
    fn new(base: &'static str) -> Self {
        Report { base, problems: Vec::new(), warnings: Vec::new() }
    }

    fn problem(&self, pointer: &str, message: String, hint: Option<&str>) -> Problem {
        let hint = hint.map(str::to_owned);
        Problem { pointer: format!("{}{pointer}", self.base), message, hint }
    }

    fn add(&mut self, pointer: impl AsRef<str>, message: impl Into<String>) {
        self.problems.push(self.problem(pointer.as_ref(), message.into(), None));
    }

    fn add_with_hint(&mut self, pointer: &str, message: impl Into<String>, hint: &str) {
        self.problems.push(self.problem(pointer, message.into(), Some(hint)));
    }

    fn warn(&mut self, pointer: &str, message: impl Into<String>) {
        self.warnings.push(self.problem(pointer, message.into(), None));
    }
}

/// A pointer to the member `key` of the map at `map`, whatever the key is made of.
fn member(map: &str, key: &str) -> String {
    let mut pointer = map.to_owned();
    scan::push_step(&mut pointer, key);
    pointer
}

/// Of the id 2^32-1.
const NO_ID: &str = "4294967295 is not an id: it means \"unchanged\" to the kernel";

/// The elements of an array that may be absent, with their pointers' last step.
fn elements<T>(list: &Option<Vec<T>>) -> impl Iterator<Item = (usize, &T)> {
    list.iter().flatten().enumerate()
}

/// "`ociVersion` MUST be in SemVer v2.0.0 format"; every version 1 is compatible (config.md,
/// specification version). A patch number that is left out is forgiven: runc does not look at all.
fn version(subject: &Subject<'_>, report: &mut Report) {
    let version = subject.spec.version();
    let core = version.split(['-', '+']).next().unwrap_or_default();
    let mut numbers = core.split('.').map(str::parse::<u32>);
    let major = numbers.next();
    let rest: Vec<_> = numbers.collect();
    let is_version = matches!(rest.len(), 1 | 2) && rest.iter().all(Result::is_ok);
    match major {
        Some(Ok(1)) if is_version => {}
        Some(Ok(_)) if is_version => {
            report.add("/ociVersion", format!("version `{version}` is not a version 1"));
        }
        _ if version.is_empty() => report.add("/ociVersion", "is missing"),
        _ => report.add("/ociVersion", format!("`{version}` is not a version such as `1.3.0`")),
    }
}

/// "On all other platforms, this field is REQUIRED" (config.md, root), and so is its path.
fn root(subject: &Subject<'_>, report: &mut Report) {
    match subject.spec.root().as_ref().map(Root::path) {
        None => report.add("/root", "is missing: a container needs a root file system"),
        Some(path) if path.as_os_str().is_empty() => {
            report.add("/root/path", "is missing: a container needs a root file system");
        }
        Some(_) => {}
    }
}

/// "This property is REQUIRED when start is called" (config.md, process); runc refuses to create
/// without it.
fn process_is_given(subject: &Subject<'_>, report: &mut Report) {
    if subject.spec.process().is_none() {
        report.add("/process", "is missing: a container needs a process");
    }
}

/// "Keys MUST NOT be an empty string" (config.md, annotations).
fn annotations(subject: &Subject<'_>, report: &mut Report) {
    if subject.spec.annotations().as_ref().is_some_and(|map| map.contains_key("")) {
        report.add(member("/annotations", ""), "the name of an annotation must not be empty");
    }
}

/// "A directory MUST exist at the path declared by the field" (config.md, root). As in runc, no
/// part of the path may be a symbolic link: whoever can place one would choose the root. `None` is
/// for what another rule has found.
fn rootfs(spec: &Spec, bundle: &Path) -> Result<PathBuf, Option<Problem>> {
    let path = spec.root().as_ref().map(Root::path);
    // An empty path, and one with a NUL character, have findings of their own.
    let has_own_finding = |path: &Path| {
        let bytes = path.as_os_str().as_encoded_bytes();
        bytes.is_empty() || bytes.contains(&0)
    };
    let Some(path) = path.filter(|path| !has_own_finding(path)) else { return Err(None) };
    let rootfs = lexically_clean(&bundle.join(path));
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS;
    let reason = match rustix::fs::openat2(CWD, &rootfs, flags, Mode::empty(), resolve) {
        Ok(_) => return Ok(rootfs),
        Err(Errno::NOENT) => "does not exist".to_owned(),
        Err(Errno::NOTDIR) => "is not a directory".to_owned(),
        Err(Errno::LOOP) => "is, or leads through, a symbolic link".to_owned(),
        Err(errno) => match Error::read(&rootfs, errno) {
            Error::Read { reason, .. } => format!("cannot be opened: {reason}"),
            Error::Invalid(_) => String::new(),
        },
    };
    let (rootfs, bundle) = (rootfs.display(), bundle.display());
    let message = format!("rootfs `{rootfs}` of bundle `{bundle}` {reason}");
    Err(Some(Problem { pointer: "/root/path".to_owned(), message, hint: None }))
}

/// An absolute path without `.` and `..`, by its letters alone.
pub(super) fn lexically_clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => drop(clean.pop()),
            Component::Prefix(_) | Component::RootDir | Component::CurDir => {}
        }
    }
    clean
}

/// A NUL byte would cut a string short on its way to the kernel, so that something else happens
/// than was checked (compare runc's GHSA-v95c-p5hm-xq8f). JSON can write it as `\u0000` only,
/// hence the quick look at the whole text.
pub(super) fn no_nul(text: &str, document: Document) -> Vec<Problem> {
    /// These never reach the kernel.
    const FREE: [&str; 6] = [
        "/annotations/",
        "/linux/seccomp/listenerMetadata",
        "/windows/",
        "/solaris/",
        "/vm/",
        "/zos/",
    ];
    let mut problems = Vec::new();
    if !text.contains("\\u0000") {
        return problems;
    }
    scan::walk(text, |value| {
        let free = document == Document::Config
            && FREE.iter().any(|place| value.pointer.starts_with(place));
        let in_key = value.pointer.rsplit('/').next().is_some_and(|key| key.contains('\0'));
        let in_value = value.raw.starts_with('"')
            && serde_json::from_str::<String>(value.raw).is_ok_and(|text| text.contains('\0'));
        if !free && (in_key || in_value) {
            let message = "must not contain a NUL character".to_owned();
            problems.push(Problem { pointer: value.pointer.to_owned(), message, hint: None });
        }
    });
    problems
}

/// Whether a name can be that of a file in a directory, and of nothing else.
fn is_file_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    matches!(components.next(), Some(Component::Normal(only)) if only == OsStr::new(name))
}
