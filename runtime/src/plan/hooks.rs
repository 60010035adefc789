//! Deciding when which hook runs, with what, and in whose namespaces (runtime-spec, config.md "POSIX-platform Hooks").
//!
//! Everything that a hook is given is put together here, before the clone: only the process id in the state is filled in later.
//! `prestart` and `createRuntime` hooks are the parent's at [`Barrier::Hooks`], `createContainer` and `startContainer` hooks are
//! steps of the child, and those after the start belong to the commands `start` and `delete`, which plan them from the saved state.

use super::op::{Barrier, Op, RootPath, Step};
use super::{Builder, Error, c_string};
use oci_spec::runtime::{Hook as Listed, Hooks, Spec};
use serde::Serialize;
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use sys::exec::CStringArray;

/// Where crun's users have what hooks write: a file for each stream.
const OUTPUTS: [&str; 2] = ["run.oci.hooks.stdout", "run.oci.hooks.stderr"];

/// When a hook runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Before `createRuntime`; deprecated, and still what some engines write.
    Prestart,
    /// The namespaces and mounts are there, the root is not changed yet; in the runtime's namespaces.
    CreateRuntime,
    /// Right after, in the container's namespaces; the executable is the runtime's.
    CreateContainer,
    /// After `start` and before the program, in the container; the executable is the container's.
    StartContainer,
    /// The program was executed; in the runtime's namespaces.
    Poststart,
    /// The container is gone; in the runtime's namespaces.
    Poststop,
}

impl Kind {
    /// All of them, in the order in which they run.
    pub const ALL: [Kind; 6] = [
        Kind::Prestart,
        Kind::CreateRuntime,
        Kind::CreateContainer,
        Kind::StartContainer,
        Kind::Poststart,
        Kind::Poststop,
    ];

    /// Its name in config.json.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Prestart => "prestart",
            Kind::CreateRuntime => "createRuntime",
            Kind::CreateContainer => "createContainer",
            Kind::StartContainer => "startContainer",
            Kind::Poststart => "poststart",
            Kind::Poststop => "poststop",
        }
    }

    /// The container's status while it runs (runtime.md, "State").
    fn status(self) -> &'static str {
        match self {
            Kind::Prestart | Kind::CreateRuntime | Kind::CreateContainer => "creating",
            Kind::StartContainer => "created",
            Kind::Poststart => "running",
            Kind::Poststop => "stopped",
        }
    }

    fn of(self, hooks: &Hooks) -> &[Listed] {
        let list = match self {
            Kind::Prestart => hooks.prestart(),
            Kind::CreateRuntime => hooks.create_runtime(),
            Kind::CreateContainer => hooks.create_container(),
            Kind::StartContainer => hooks.start_container(),
            Kind::Poststart => hooks.poststart(),
            Kind::Poststop => hooks.poststop(),
        };
        list.as_deref().unwrap_or_default()
    }
}

/// The hooks of a kind, in the order of config.json.
pub fn listed(spec: &Spec, kind: Kind) -> &[Listed] {
    spec.hooks().as_ref().map(|hooks| kind.of(hooks)).unwrap_or_default()
}

/// A hook, ready to be executed.
#[derive(Clone, Debug)]
pub struct Hook {
    /// When it runs.
    pub kind: Kind,
    /// Its place among those of its kind, from 0.
    pub index: usize,
    /// Its executable, an absolute path.
    pub path: CString,
    /// Its arguments, the name in front.
    pub argv: CStringArray,
    /// Its environment; `None` is that of the container's program in a `startContainer` hook, and the runtime's own in others.
    pub env: Option<CStringArray>,
    /// Its working directory; `None` is where the container's program starts.
    pub directory: Option<CString>,
    /// How long it may run.
    pub timeout: Option<Duration>,
    /// What it reads.
    pub state: StateText,
}

/// What the parent has to do with hooks.
#[derive(Clone, Debug, Default)]
pub struct ByParent {
    /// Those of [`Barrier::Hooks`], in order.
    pub list: Vec<Hook>,
    /// Files that hooks write to, standard output first; what goes to none is kept for the error message.
    pub outputs: [Option<PathBuf>; 2],
}

impl ByParent {
    /// None yet, and the files of the annotations.
    ///
    /// # Errors
    /// As [`outputs`].
    pub fn new(spec: &Spec) -> Result<ByParent, Error> {
        Ok(ByParent { list: Vec::new(), outputs: outputs(spec.annotations().as_ref())? })
    }
}

/// The container's state as JSON, in two parts: the process id goes between them.
#[derive(Clone, Debug)]
pub struct StateText {
    /// Up to the process id.
    pub before: Vec<u8>,
    /// From there on.
    pub after: Vec<u8>,
}

/// What a hook, or a seccomp agent, is told of a container.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// `ociVersion` of config.json.
    pub version: &'a str,
    /// The container's id.
    pub id: &'a str,
    /// The bundle, an absolute path.
    pub bundle: &'a Path,
    /// The annotations of config.json.
    pub annotations: Option<&'a HashMap<String, String>>,
}

/// The state (runtime.md, "State"), in the order of runc's.
#[derive(Serialize)]
struct State<'a> {
    #[serde(rename = "ociVersion")]
    version: &'a str,
    id: &'a str,
    status: &'a str,
    #[serde(skip_serializing_if = "is_none")]
    pid: u32,
    bundle: &'a Path,
    #[serde(skip_serializing_if = "no_annotations")]
    annotations: Option<&'a HashMap<String, String>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
fn is_none(pid: &u32) -> bool {
    *pid == 0
}

fn no_annotations(annotations: &Option<&HashMap<String, String>>) -> bool {
    annotations.is_none_or(HashMap::is_empty)
}

impl Subject<'_> {
    /// The state as a JSON value; a `pid` of 0 is left out.
    pub fn state(&self, status: &str, pid: u32) -> serde_json::Value {
        let Subject { version, id, bundle, annotations } = *self;
        let state = State { version, id, status, pid, bundle, annotations };
        serde_json::to_value(state).expect("strings and a number have a JSON form")
    }

    /// The state with the place of the process id left open, unless the container has none any more.
    fn text(&self, status: &str) -> StateText {
        let cut = |text: String, at: usize, rest: usize| StateText {
            before: text.as_bytes()[..at].to_vec(),
            after: text.as_bytes()[rest..].to_vec(),
        };
        // No string before it can contain this: quotes are escaped inside of strings.
        const PID: &str = "\"pid\":1,";
        let text = self.state(status, u32::from(status != "stopped")).to_string();
        match text.find(PID) {
            Some(at) => cut(text, at + PID.len() - 2, at + PID.len() - 1),
            None => StateText { before: text.into_bytes(), after: Vec::new() },
        }
    }
}

/// Plans the hooks of a kind.
///
/// # Errors
/// For strings with NUL bytes, naming their place.
pub fn plan(
    kind: Kind,
    list: &[Listed],
    subject: &Subject<'_>,
    directory: Option<&Path>,
) -> Result<Vec<Hook>, Error> {
    let plan = |(index, hook)| one(kind, index, hook, subject, directory);
    list.iter().enumerate().map(plan).collect()
}

fn one(
    kind: Kind,
    index: usize,
    hook: &Listed,
    subject: &Subject<'_>,
    directory: Option<&Path>,
) -> Result<Hook, Error> {
    let at = |field: &str| format!("/hooks/{}/{index}/{field}", kind.name());
    let path = c_string(hook.path().as_os_str().as_bytes(), &at("path"))?;
    let array = |strings: &[String], field: &str| {
        CStringArray::new(strings.iter().map(String::as_str))
            .map_err(|_| Error::new(at(field), "contains a NUL byte"))
    };
    let argv = match hook.args().as_deref().unwrap_or_default() {
        [] => CStringArray::new([path.as_bytes()])
            .map_err(|_| Error::new(at("path"), "contains a NUL byte"))?,
        args => array(args, "args")?,
    };
    let env = match hook.env() {
        Some(env) => Some(array(env, "env")?),
        // What no specification says, as in runc: a hook in the runtime's namespaces inherits, and engines' hooks find their
        // programs by that PATH; what runs inside the container finds the environment of its program.
        None if kind != Kind::CreateContainer => None,
        None => Some(array(&[], "env")?),
    };
    let directory = directory.map(|path| c_string(path.as_os_str().as_bytes(), "")).transpose()?;
    let timeout = hook.timeout().and_then(|seconds| u64::try_from(seconds).ok());
    let timeout = timeout.map(Duration::from_secs);
    Ok(Hook {
        kind,
        index,
        path,
        argv,
        env,
        directory,
        timeout,
        state: subject.text(kind.status()),
    })
}

/// The files that annotations name for what hooks write, standard output first.
///
/// # Errors
/// For a path that is not absolute: it would depend on where the command is run.
pub fn outputs(
    annotations: Option<&HashMap<String, String>>,
) -> Result<[Option<PathBuf>; 2], Error> {
    let mut paths = [None, None];
    for (path, name) in paths.iter_mut().zip(OUTPUTS) {
        let Some(value) = annotations.and_then(|annotations| annotations.get(name)) else {
            continue;
        };
        if !value.starts_with('/') {
            let message = format!("must be an absolute path, not `{}`", value.escape_debug());
            return Err(Error::new(format!("/annotations/{name}"), message));
        }
        *path = Some(PathBuf::from(value));
    }
    Ok(paths)
}

/// Where the root is to be found while hooks of the create phase run: at the path that config.json gives, as with runc.
/// Such hooks make changes to it, in the container's mount namespace and by that path.
pub(super) fn root_path(spec: &Spec, rootfs: &CStr) -> Result<Option<RootPath>, Error> {
    let early = [Kind::Prestart, Kind::CreateRuntime, Kind::CreateContainer];
    if early.iter().all(|kind| listed(spec, *kind).is_empty()) {
        return Ok(None);
    }
    let path = Path::new(std::ffi::OsStr::from_bytes(rootfs.to_bytes()));
    path_and_above(path, "/root/path").map(Some)
}

/// Whether the container's own process executes hooks before it has its root.
pub(super) fn are_executed_while_creating(spec: &Spec) -> bool {
    !listed(spec, Kind::CreateContainer).is_empty()
}

/// A path of the host and the directories above it.
pub(super) fn path_and_above(path: &Path, pointer: &str) -> Result<RootPath, Error> {
    let text = |path: &Path| c_string(path.as_os_str().as_bytes(), pointer);
    let above: Result<Vec<CString>, Error> = path.ancestors().map(text).collect();
    Ok(RootPath { path: text(path)?, above: above? })
}

impl Builder<'_> {
    fn hooks_of(&self, kind: Kind, directory: Option<&Path>) -> Result<Vec<Hook>, Error> {
        let spec = self.spec();
        let subject = Subject {
            version: spec.version(),
            id: &self.options.id,
            bundle: &self.checked.bundle,
            annotations: spec.annotations().as_ref(),
        };
        plan(kind, listed(spec, kind), &subject, directory)
    }

    /// The hooks of the create phase: after the last mount that config.json asks for, which they may change, and before the
    /// host's file system, which they need, is out of reach.
    pub(super) fn create_hooks(&mut self) -> Result<(), Error> {
        let bundle = &self.checked.bundle;
        for kind in [Kind::Prestart, Kind::CreateRuntime] {
            let hooks = self.hooks_of(kind, Some(bundle))?;
            self.hooks.list.extend(hooks);
        }
        if !self.hooks.list.is_empty() {
            self.push(Op::Wait(Barrier::Hooks), "/hooks");
        }
        let hooks = self.hooks_of(Kind::CreateContainer, Some(&self.checked.rootfs))?;
        self.push_hooks(hooks);
        let labels = std::mem::take(&mut self.labels_after_hooks);
        self.steps.extend(labels);
        let elsewhere = |step: &Step| matches!(step.op, Op::Root { at: Some(_), .. });
        if self.steps.iter().any(elsewhere) {
            self.push(Op::RootOver, "/root/path");
        }
        Ok(())
    }

    /// The hooks of the start phase. The image provides their executables, so each takes all the steps that the program itself
    /// takes from here on, the filter among them: nothing in the container runs with more rights than its program.
    pub(super) fn start_hooks(&mut self) -> Result<(), Error> {
        let hooks = self.hooks_of(Kind::StartContainer, None)?;
        if hooks.is_empty() {
            return Ok(());
        }
        self.push_hooks(hooks);
        // They may take long: whoever started the container is told that its init has outlived them.
        self.push(Op::Wait(Barrier::Hooked), "/hooks/startContainer");
        Ok(())
    }

    fn push_hooks(&mut self, hooks: Vec<Hook>) {
        self.steps.extend(hooks.into_iter().map(|hook| Step {
            pointer: format!("/hooks/{}/{}", hook.kind.name(), hook.index),
            op: Op::Hook(Box::new(hook)),
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject<'a>(annotations: &'a HashMap<String, String>) -> Subject<'a> {
        Subject {
            version: "1.3.0",
            id: "c1",
            bundle: Path::new("/b"),
            annotations: Some(annotations),
        }
    }

    fn filled(text: &StateText, pid: &str) -> serde_json::Value {
        let text = [&text.before, pid.as_bytes(), &text.after].concat();
        serde_json::from_slice(&text).unwrap()
    }

    #[test]
    fn the_state_has_the_fields_of_the_specification_whatever_the_annotations_say() {
        let tricky = HashMap::from([("\"pid\":1,".to_owned(), "\",\"pid\":1,\"".to_owned())]);
        let state = filled(&subject(&tricky).text("creating"), "4711");
        assert_eq!(state["pid"], 4711);
        assert_eq!(state["ociVersion"], "1.3.0");
        assert_eq!(state["id"], "c1");
        assert_eq!(state["status"], "creating");
        assert_eq!(state["bundle"], "/b");
        assert_eq!(state["annotations"]["\"pid\":1,"], "\",\"pid\":1,\"");
    }

    #[test]
    fn a_stopped_container_has_no_process() {
        let text = subject(&HashMap::new()).text("stopped");
        let state = filled(&text, "");
        assert_eq!(
            state,
            serde_json::json!({"ociVersion": "1.3.0", "id": "c1", "status": "stopped", "bundle": "/b"})
        );
    }

    #[test]
    fn arguments_are_the_path_where_there_are_none_and_the_environment_is_what_is_given() {
        let hook = |json: &str, kind| {
            let hook = serde_json::from_str(json).unwrap();
            one(kind, 0, &hook, &subject(&HashMap::new()), None).unwrap()
        };
        let bare = hook(r#"{"path": "/bin/x"}"#, Kind::Poststart);
        assert_eq!(bare.argv.as_slice(), [c"/bin/x".to_owned()]);
        assert!(bare.env.is_none(), "it inherits");
        let empty = |hook: Hook| hook.env.is_some_and(|env| env.as_slice().is_empty());
        assert!(empty(hook(r#"{"path": "/bin/x", "env": []}"#, Kind::Poststart)));
        assert!(empty(hook(r#"{"path": "/bin/x"}"#, Kind::CreateContainer)));
        assert_eq!(bare.timeout, None);
        let full = r#"{"path": "/bin/x", "args": ["y", "z"], "env": ["A=B"], "timeout": 3}"#;
        let full = hook(full, Kind::StartContainer);
        assert_eq!(full.argv.as_slice(), [c"y".to_owned(), c"z".to_owned()]);
        assert_eq!(full.env.unwrap().as_slice(), [c"A=B".to_owned()]);
        assert_eq!(full.timeout, Some(Duration::from_secs(3)));
        assert!(hook(r#"{"path": "/bin/x"}"#, Kind::StartContainer).env.is_none());
    }

    #[test]
    fn output_goes_to_absolute_paths_only() {
        let with =
            |path: &str| HashMap::from([("run.oci.hooks.stderr".to_owned(), path.to_owned())]);
        assert_eq!(outputs(Some(&with("/x"))).unwrap(), [None, Some("/x".into())]);
        let error = outputs(Some(&with("x"))).unwrap_err();
        assert_eq!(error.pointer, "/annotations/run.oci.hooks.stderr");
        assert_eq!(outputs(None).unwrap(), [None, None]);
    }
}
