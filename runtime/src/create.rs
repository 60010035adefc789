//! `nrun create`: from a bundle to a container that waits for `start`.
//!
//! The straight line of the runtime: load, check, probe, plan, reserve, spawn, commit. Each line's type feeds the next, and
//! each failure takes back what the lines before it left on the host.

use crate::args::Args;
use crate::cgroup::{Cgroup, Mark};
use crate::cli::Parsed;
use crate::delete;
use crate::error::{Error, Result};
use crate::hooks;
use crate::host::{Asked, Host};
use crate::intel_rdt;
use crate::interrupt::Interrupt;
use crate::launch;
use crate::log;
use crate::net_devices::{self, Devices};
use crate::notify::{self, Agent};
use crate::parent::{self, Handed, Init};
use crate::pid_file;
use crate::pidfd_socket::{self, PidfdSocket};
use crate::plan::hooks::{Kind, listed};
use crate::plan::{self, Plan};
use crate::protect;
use crate::record::{Made, Saved, Slot};
use crate::rootless;
use crate::socket;
use bundle::Checked;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::SystemTime;

/// A container that is set up: its init waits for the answer to `Ready`, and its state is on disk.
#[derive(Debug)]
pub struct Created {
    /// The plan that its init follows.
    pub plan: Plan,
    /// Its init.
    pub init: Init,
    /// What is on disk.
    pub made: Made,
    /// Who takes the listener of its filter; `create` leaves that to `start`.
    pub agent: Option<Agent>,
    /// Where it says that it is ready; `create` leaves that to `start`, too.
    pub notify: Option<OwnedFd>,
}

/// Makes the container and returns when it waits for `start`.
///
/// # Errors
/// Whatever is wrong with the bundle, the host, or a step. Nothing is left then.
pub fn run(parsed: &Parsed) -> Result<()> {
    let args = Args::of(parsed, true)?;
    protect::our_executable()?;
    let checked = check(&args)?;
    let mut created = create(&args, &checked, None, None)?;
    if let Err(error) = created.init.go(&created.plan) {
        end(&args, &mut created.init, &created.made);
        delete::remove_made(created.made);
        return Err(error);
    }
    // This process ends here and every fd with it: closing them one by one would cost a system call each.
    std::mem::forget(created);
    Ok(())
}

/// Ends the init of a container that is not to be after all.
pub(crate) fn end(args: &Args, init: &mut Init, made: &Made) {
    init.end(Some(&made.cgroup()));
    pid_file::take_back(args.pid_file.as_deref(), init.pid);
}

/// Makes the container. A terminal's master goes to `--console-socket`, or to `console` where that is not given. An `interrupt` takes it
/// back before it is ready, and while its hooks run.
///
/// # Errors
/// As [`run`].
pub fn create(
    args: &Args,
    checked: &Checked,
    console: Option<OwnedFd>,
    interrupt: Option<Interrupt>,
) -> Result<Created> {
    let asked = Asked::by(&checked.spec).with_options(&args.options);
    let host = Host::probe(asked)?;
    let plan = plan::create(checked, &host, &args.options)?;
    warn(checked, &plan);
    log::debug(|| format!("host asked and container planned: {} steps", plan.steps.len()));
    let outside = Outside::reach(args, checked, &plan, console, interrupt)?;
    let mut slot =
        Slot::reserve(&args.root, &args.id, saved(args, checked, &host, &plan), checked.text())?;
    log::debug(|| format!("state directory of container `{}` made and locked", args.id));
    let made = slot
        .prepare_notify(args.options.await_start)
        .and_then(|notify| Ok((make(args, &plan, &mut slot, outside)?, notify)));
    match made {
        Ok(((init, agent), notify)) => {
            Ok(Created { plan, init, made: slot.commit(), agent, notify })
        }
        Err(error) => {
            hooks::poststop(&slot.undo());
            Err(error)
        }
    }
}

/// What is not done as config.json has it: a capability that nobody knows, or that nrun does not have itself.
fn warn(checked: &Checked, plan: &Plan) {
    for warning in &checked.warnings {
        log::tell(&format!("{}:{warning}", checked.config_path().display()));
    }
    plan.warnings.iter().for_each(|warning| log::note(warning));
}

/// Those outside who wait for something of the container: each is reached before anything is made.
struct Outside {
    console: Option<OwnedFd>,
    pidfd: Option<PidfdSocket>,
    agent: Option<Agent>,
    devices: Option<Devices>,
    interrupt: Option<Interrupt>,
}

impl Outside {
    fn reach(
        args: &Args,
        checked: &Checked,
        plan: &Plan,
        console: Option<OwnedFd>,
        interrupt: Option<Interrupt>,
    ) -> Result<Outside> {
        Ok(Outside {
            console: console_socket(args, checked, console)?,
            pidfd: PidfdSocket::connect(args.pidfd_socket.as_deref())?,
            agent: agent(args, plan)?,
            devices: net_devices::find(plan)?,
            interrupt,
        })
    }
}

/// Everything that the slot takes back.
fn make(
    args: &Args,
    plan: &Plan,
    slot: &mut Slot,
    outside: Outside,
) -> Result<(Init, Option<Agent>)> {
    let Outside { console, pidfd, agent, devices, interrupt } = outside;
    if let Some(class) = &plan.intel_rdt {
        slot.own_class(intel_rdt::Group::create(class)?, class.make);
    }
    let cgroup = make_cgroup(plan, slot.mark())?;
    // The last fd before the child's end of its socket: what lies between two that are kept takes a call to close.
    let start = args.options.await_start.then(|| slot.listen());
    let cgroup = slot.own(cgroup);
    log::debug(|| format!("cgroup made: {} directories", cgroup.paths().all().len()));
    let start = start.transpose()?;
    let mut init =
        parent::spawn(plan, cgroup, Handed { console, start, init: None, devices, interrupt })?;
    match announce(args, slot, &init, agent.as_ref(), pidfd) {
        Ok(()) => {
            log::debug(|| {
                format!(
                    "init: closing the pipe to signal completion: container `{}` is created",
                    args.id
                )
            });
            Ok((init, agent))
        }
        Err(error) => {
            init.end(slot.cgroup());
            Err(error)
        }
    }
}

/// Writes down which process the init is, and tells those who wait for it.
fn announce(
    args: &Args,
    slot: &mut Slot,
    init: &Init,
    agent: Option<&Agent>,
    pidfd: Option<PidfdSocket>,
) -> Result<()> {
    slot.classify(init.pid)?;
    slot.note_init(init.pid)?;
    if let Some(agent) = agent {
        agent.watch(init.socket.as_fd())?;
    }
    if let Some(socket) = pidfd {
        socket.send(pidfd_socket::Kind::Init, init.pidfd.as_fd())?;
    }
    // Last: whoever waits for the file may ask for the state at once.
    pid_file::write(args.pid_file.as_deref(), init.pid)
}

/// Reaches the seccomp agent before anything is made. It gets one listener by each connection, so that `create`, after which
/// another process goes on, only looks whether there is one.
fn agent(args: &Args, plan: &Plan) -> Result<Option<Agent>> {
    match plan.listener() {
        None => Ok(None),
        Some(listener) if args.options.await_start => notify::check(listener).map(|()| None),
        Some(listener) => Agent::connect(listener).map(Some),
    }
}

pub(crate) fn make_cgroup(plan: &Plan, mark: Mark) -> Result<Cgroup> {
    match &plan.cgroup {
        Some(planned) => Ok(Cgroup::create(planned, mark)?),
        None => Ok(Cgroup::open(crate::cgroup::Paths::default())),
    }
}

/// The bundle's config.json, parsed and free of findings.
///
/// # Errors
/// Every finding.
pub fn check(args: &Args) -> Result<Checked> {
    let loaded = bundle::load_with(&args.bundle, args.config.as_deref())?;
    let checked = bundle::check(loaded).map_err(bundle::Error::from)?;
    rootless::check(&checked)?;
    for path in [&checked.bundle, &checked.rootfs] {
        if path.to_str().is_none() {
            return Err(Error::State(format!(
                "cannot use `{}`: a container's state, which is JSON, has no way to name a path that is not UTF-8",
                path.as_os_str().as_bytes().escape_ascii()
            )));
        }
    }
    log::debug(|| format!("`{}` read and checked", checked.config_path().display()));
    Ok(checked)
}

pub(crate) fn saved(args: &Args, checked: &Checked, host: &Host, plan: &Plan) -> Saved {
    let now = sys::clock::now().unwrap_or_else(|_| SystemTime::now());
    Saved {
        oci_version: checked.spec.version().clone(),
        id: args.id.to_string(),
        bundle: checked.bundle.clone(),
        rootfs: checked.rootfs.clone(),
        created: humantime::format_rfc3339_nanos(now).to_string(),
        annotations: checked.spec.annotations().clone().unwrap_or_default(),
        owner: host.uid,
        cgroups: plan.cgroup.as_ref().map(crate::cgroup::CgroupPlan::paths).unwrap_or_default(),
        no_new_keyring: args.options.no_new_keyring,
        namespaces: plan.namespaces.bits(),
        unit: plan.cgroup.as_ref().and_then(|cgroup| Some(cgroup.unit.as_ref()?.unit.clone())),
        intel_rdt: plan.intel_rdt.as_ref().map(|class| class.group.clone()),
        poststart: listed(&checked.spec, Kind::Poststart).to_vec(),
        poststop: listed(&checked.spec, Kind::Poststop).to_vec(),
        start_hooks: launch::has_hooks(plan),
        listener: plan.listener().cloned(),
        notify: args.options.notify.is_some(),
        ..Saved::default()
    }
}

/// The engine's socket for the terminal, connected before anything is made, or the caller's own: one that is not there is found out
/// first.
pub(crate) fn console_socket(
    args: &Args,
    checked: &Checked,
    console: Option<OwnedFd>,
) -> Result<Option<OwnedFd>> {
    let terminal =
        checked.spec.process().as_ref().is_some_and(|process| process.terminal().unwrap_or(false));
    match (&args.console_socket, terminal) {
        (None, true) if console.is_none() => Err(Error::Usage(
            "cannot allocate tty if nrun will detach without setting --console-socket".into(),
        )),
        (Some(_), false) => Err(Error::Usage(
            "cannot use --console-socket: `process.terminal` is not set in config.json".into(),
        )),
        (None, _) => Ok(console),
        (Some(path), true) => socket::connect(path, "console socket").map(Some),
    }
}
