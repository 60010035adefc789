//! Engines on top of a runtime: containerd's ctr, Docker and Podman are asked for everything that they ask a runtime for.
//!
//! Every operation is done once for each runtime. The first runtime is the yardstick, runc by default: what it passes, the
//! others must pass. What it fails comes from the machine or from the engine, and judges nobody. Engines lose races of their own on
//! a loaded machine: what a runtime fails once and then passes each time is shown with what was said, and is not held against it.
//! Daemons and containers live in namespaces of their own, a pid namespace among them, so that nothing outlives a run, however it
//! ends.

mod contain;
mod ctr;
mod errors;
mod image;
mod life;
mod pods;
mod report;
mod settings;
mod trial;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use rustix::process::set_child_subreaper;

use crate::contender::Contender;
use crate::fixture::{Sandbox, scratch_dir};
use crate::managers::Kind;
use crate::managers::daemon::{Daemon, PATIENCE, containerd, dockerd};
use crate::managers::engine::{Engine, Places};

pub use contain::contain;
pub use report::Report;

use report::{Outcome, Table, passed_by_the_yardstick};
use trial::{Client, IMAGE, Operation, Trial};

/// How often an operation must pass that failed with a runtime, and with the yardstick did not.
const AGAIN: usize = 2;

/// What is driven by whom.
#[derive(Debug)]
pub struct Plan {
    /// The runtimes; the first is the yardstick.
    pub runtimes: Vec<Contender>,
    /// The engines.
    pub engines: Vec<Kind>,
    /// Only operations whose name contains this.
    pub filter: String,
    /// How the names of all cgroups begin: whoever contains the run removes them.
    pub name: String,
}

/// Programs without which an engine cannot be tried, and the package that each is in.
const NEEDS: [(Kind, &[&str]); 3] = [
    (Kind::Ctr, &["ctr", "containerd"]),
    (Kind::Docker, &["dockerd", "containerd", "iptables", "docker"]),
    (Kind::Podman, &["podman", "conmon"]),
];

/// What is missing on this machine for the engines of a plan.
#[must_use]
pub fn missing(engines: &[Kind]) -> Vec<&'static str> {
    let needed = NEEDS.iter().filter(|(kind, _)| engines.contains(kind));
    let common = ["busybox", "script", "tar", "sha256sum", "unshare"];
    let mut names: Vec<&str> =
        needed.flat_map(|(_, programs)| programs.iter().copied()).chain(common).collect();
    names.retain(|name| crate::fixture::find_tool(name).is_none());
    names.dedup();
    names
}

/// Does everything, calling `progress` before each operation. The process is in another working directory afterwards.
///
/// # Panics
/// When not root, or when a daemon does not start.
#[must_use]
pub fn drive(plan: &Plan, progress: &(dyn Fn(&str) + Sync)) -> Report {
    let _sandbox = Sandbox::enter();
    // Shims and monitors go to the first process of the pid namespace, which waits for them.
    set_child_subreaper(None).expect("cease to be a subreaper");
    let directory = scratch_dir();
    // Root of a user namespace has to get through to its root file system.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(directory.path(), open).expect("open a directory to all");
    // conmon makes a file `oom` in the directory that it was started in.
    std::env::set_current_dir(directory.path()).expect("enter the scratch directory");
    let places = Places::below(directory.path());
    let archive = image::write(directory.path());
    progress("starting daemons");
    let _daemons = start_daemons(plan, &places);
    let tables = std::thread::scope(|scope| {
        let workers: Vec<_> = (plan.engines.iter())
            .map(|kind| {
                let (places, archive) = (&places, &archive);
                scope.spawn(move || try_engine(plan, *kind, places, archive, progress))
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().expect("an engine's worker")).collect()
    });
    Report::new(&plan.runtimes, tables)
}

fn start_daemons(plan: &Plan, places: &Places) -> Vec<Daemon> {
    let mut daemons = Vec::new();
    let docker = plan.engines.contains(&Kind::Docker);
    if docker || plan.engines.contains(&Kind::Ctr) {
        daemons.push(containerd(places));
    }
    if docker {
        let mut options = vec![OsString::from("--cgroup-parent"), format!("/{}", plan.name).into()];
        for (index, runtime) in plan.runtimes.iter().enumerate() {
            let path = runtime.program.display();
            options
                .extend(["--add-runtime".into(), format!("{}={path}", registered(index)).into()]);
        }
        daemons.push(dockerd(places, &options));
    }
    daemons
}

/// What dockerd calls a runtime: `runc` is a name that it has already.
fn registered(index: usize) -> String {
    format!("under-test-{index}")
}

fn client(plan: &Plan, kind: Kind, index: usize, places: &Places) -> Option<Client> {
    let path = plan.runtimes[index].program.clone();
    let parent = format!("/{}", plan.name);
    let word = |text: &str| text.to_owned();
    let (engine, options) = match kind {
        Kind::Docker => (Engine::docker(places), vec![word("--runtime"), registered(index)]),
        Kind::Podman => {
            let configuration = pods::write_configuration(&places.directory);
            let engine = Engine::podman(places, &path)
                .map(|engine| engine.with_env("CONTAINERS_CONF", configuration));
            // A `run` with a limit of its own has none of the configuration's.
            let limits = pods::LIMITS.iter().flat_map(|limit| ["--ulimit", limit]).map(word);
            (engine, [word("--cgroup-parent"), parent].into_iter().chain(limits).collect())
        }
        Kind::Ctr => {
            let options = vec![word("--runc-binary"), path.display().to_string()];
            (Engine::ctr(places), options)
        }
        Kind::Nman => return None,
    };
    Some(Client { engine: engine?, options, cgroup: plan.name.clone() })
}

fn try_engine(
    plan: &Plan,
    kind: Kind,
    places: &Places,
    archive: &Path,
    progress: &(dyn Fn(&str) + Sync),
) -> Table {
    let operations: Vec<Operation> = match kind {
        Kind::Ctr => ctr::operations(),
        _ => [life::operations(), settings::operations(), pods::operations(), errors::operations()]
            .concat(),
    };
    let clients: Vec<Client> =
        (0..plan.runtimes.len()).filter_map(|index| client(plan, kind, index, places)).collect();
    let version = clients.first().map(|client| client.engine.version.clone()).unwrap_or_default();
    let mut table = Table::new(kind, version);
    if let Some(first) = clients.first()
        && let Err(why) = load_image(first, archive)
    {
        table.push("load the image", vec![Outcome::Failed(why); plan.runtimes.len()]);
        return table;
    }
    for (number, operation) in operations.iter().enumerate() {
        if !operation.name.contains(&plan.filter) || !operation.suits(kind) {
            continue;
        }
        let mut outcomes: Vec<Outcome> = Vec::new();
        for (index, client) in clients.iter().enumerate() {
            let runtime = &plan.runtimes[index].name;
            progress(&format!("{} with {runtime}: {}", kind.name(), operation.name));
            let attempt = |attempt: usize| {
                let name = format!("{}-{number}-{index}-{attempt}", kind.name());
                try_once(operation, &Trial::new(client, &name, places))
            };
            let first = attempt(0);
            let a_fault = first.failed() && passed_by_the_yardstick(&outcomes);
            outcomes.push(if a_fault { first.unless((1..=AGAIN).map(attempt)) } else { first });
        }
        table.push(operation.name, outcomes);
    }
    table
}

fn try_once(operation: &Operation, trial: &Trial) -> Outcome {
    let start = Instant::now();
    match (operation.body)(trial) {
        Ok(()) => Outcome::Passed(start.elapsed()),
        Err(why) => Outcome::Failed(why),
    }
}

/// dockerd listens long before it answers.
fn load_image(client: &Client, archive: &Path) -> Result<(), String> {
    let file = archive.display().to_string();
    let words: Vec<&str> = match client.engine.kind {
        Kind::Ctr => vec!["images", "import", &file],
        _ => vec!["load", "-i", &file],
    };
    let limit = Instant::now() + PATIENCE;
    let answers = |words: &[&str]| {
        let mut command = client.engine.command(words);
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        quiet.status().is_ok_and(|status| status.success())
    };
    while !answers(&["version"]) && Instant::now() < limit {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let output = client.engine.capture(&words).try_run()?;
    if output.success() { Ok(()) } else { Err(format!("cannot load `{IMAGE}`: {output}")) }
}

/// The directory of an engine's scratch files.
fn scratch_of(places: &Places, name: &str) -> PathBuf {
    let path = places.directory.join("scratch").join(name);
    std::fs::create_dir_all(&path).expect("make a scratch directory");
    path
}
