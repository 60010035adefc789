//! `nrun create`: from a bundle to a container that waits for `start`.
//!
//! The straight line of the runtime: load, check, probe, plan, reserve, spawn, commit. Each line's type feeds the next, and
//! each failure takes back what the lines before it left on the host.

use crate::cgroup::{Cgroup, Manager};
use crate::cli::Parsed;
use crate::error::{Error, Result};
use crate::hooks;
use crate::host::{Asked, Host};
use crate::id::ContainerId;
use crate::intel_rdt;
use crate::launch;
use crate::log;
use crate::net_devices::{self, Devices};
use crate::notify::{self, Agent};
use crate::parent::{self, Handed, Init};
use crate::pidfd_socket::{self, PidfdSocket};
use crate::plan::hooks::{Kind, listed};
use crate::plan::{self, Plan};
use crate::protect;
use crate::record::{self, Made, Saved, Slot};
use crate::rootless;
use crate::run;
use crate::sd_notify;
use bundle::Checked;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::Pid;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::SystemTime;

/// What `create` and `run` are told.
#[derive(Debug)]
pub struct Args {
    /// The container's id.
    pub id: ContainerId,
    /// `--root`
    pub root: PathBuf,
    /// `--bundle`
    pub bundle: PathBuf,
    /// `--config`
    pub config: Option<PathBuf>,
    /// `--console-socket`
    pub console_socket: Option<PathBuf>,
    /// `--pidfd-socket`
    pub pidfd_socket: Option<PathBuf>,
    /// `--pid-file`
    pub pid_file: Option<PathBuf>,
    /// What the plan depends on.
    pub options: plan::Options,
}

impl Args {
    /// Reads the command line.
    ///
    /// # Errors
    /// For an id that is none, or a number that is none.
    pub fn of(parsed: &Parsed, await_start: bool) -> Result<Args> {
        Args::for_id(
            parsed.operands.first().map(String::as_str).unwrap_or_default(),
            parsed,
            await_start,
        )
    }

    /// Reads the command line, but for the id.
    ///
    /// # Errors
    /// As [`Args::of`].
    pub fn for_id(id: &str, parsed: &Parsed, await_start: bool) -> Result<Args> {
        let (id, root) = (ContainerId::new(id)?, root(parsed));
        let listen_fds = listen_fds()?;
        let options = plan::Options {
            id: id.to_string(),
            no_pivot: parsed.is_set("no-pivot"),
            no_new_keyring: parsed.is_set("no-new-keyring"),
            listen_fds,
            preserve_fds: preserved_fds(parsed, listen_fds)?,
            await_start,
            rootless_cgroups: rootless::Cgroups::parse(parsed.value("rootless"))?,
            cgroup_manager: cgroup_manager(parsed)?,
            notify: sd_notify::address()
                .map(|_| record::notify_directory(&root, &id))
                .transpose()?,
        };
        Ok(Args {
            id,
            root,
            bundle: parsed.value("bundle").unwrap_or(".").into(),
            config: parsed.value("config").filter(|path| !path.is_empty()).map(PathBuf::from),
            console_socket: parsed
                .value("console-socket")
                .filter(|path| !path.is_empty())
                .map(PathBuf::from),
            pidfd_socket: pidfd_socket::path(parsed),
            pid_file: parsed.value("pid-file").filter(|path| !path.is_empty()).map(PathBuf::from),
            options,
        })
    }
}

/// How many sockets systemd has opened for this process (sd_listen_fds(3)): they are the container's, as with runc. All have to be
/// there: another that came by one of the numbers would be the container's too.
fn listen_fds() -> Result<u32> {
    let number = |name| std::env::var(name).ok()?.parse::<u32>().ok();
    let ours = |_: &u32| number("LISTEN_PID") == Some(std::process::id());
    let count = number("LISTEN_FDS").filter(ours).unwrap_or(0);
    match first_missing(3, count) {
        None => Ok(count),
        Some((_, fd)) => {
            Err(Error::Usage(format!("LISTEN_FDS={count}: file descriptor {fd} is not open")))
        }
    }
}

/// `--preserve-fds`: so many after those `before`. What is to be passed on has to be there: the words are runc's.
pub(crate) fn preserved_fds(parsed: &Parsed, before: u32) -> Result<u32> {
    let count = parsed.number("preserve-fds")?.unwrap_or(0);
    match first_missing(before.saturating_add(3), count) {
        None => Ok(count),
        Some((index, fd)) => Err(Error::Usage(format!(
            "unable to stat preserved-fd {index} (of {count}): stat /proc/self/fd/{fd}: no such file or directory"
        ))),
    }
}

/// The first of so many file descriptors that was not passed on to us: which one it is, and its number.
fn first_missing(first: u32, count: u32) -> Option<(u32, u32)> {
    let is_there = |fd: u32| i32::try_from(fd).is_ok_and(sys::fd::is_passed_on);
    let mut numbered = (0..count).map(|index| (index, first.saturating_add(index)));
    numbered.find(|(_, fd)| !is_there(*fd))
}

/// `--cgroup-manager`, or `--systemd-cgroup`, which is runc's word for one of its values.
fn cgroup_manager(parsed: &Parsed) -> Result<Manager> {
    match parsed.value("cgroup-manager") {
        None | Some("cgroupfs") if parsed.is_set("systemd-cgroup") => Ok(Manager::Systemd),
        None | Some("cgroupfs") => Ok(Manager::Cgroupfs),
        Some("systemd") => Ok(Manager::Systemd),
        Some("disabled") => Ok(Manager::Disabled),
        Some(other) => Err(Error::Usage(format!(
            "invalid value `{other}` for flag --cgroup-manager: it must be cgroupfs, systemd or disabled"
        ))),
    }
}

/// `--root`, or where it is by default.
pub fn root(parsed: &Parsed) -> PathBuf {
    parsed.value("root").map_or_else(rootless::default_root, PathBuf::from)
}

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
    let mut created = create(&args, &checked, None)?;
    if let Err(error) = created.init.go() {
        created.init.end(Some(&created.made.cgroup()));
        run::remove(created.made)?;
        return Err(error);
    }
    // This process ends here and every fd with it: closing them one by one would cost a system call each.
    std::mem::forget(created);
    Ok(())
}

/// Makes the container. A terminal's master goes to `--console-socket`, or to `console` where that is not given.
///
/// # Errors
/// As [`run`].
pub fn create(args: &Args, checked: &Checked, console: Option<OwnedFd>) -> Result<Created> {
    let asked = Asked::by(&checked.spec).with_options(&args.options);
    let host = Host::probe(asked)?;
    let plan = plan::create(checked, &host, &args.options)?;
    warn(checked, &plan);
    log::debug(|| format!("host asked and container planned: {} steps", plan.steps.len()));
    let outside = Outside::reach(args, checked, &plan, console)?;
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
}

impl Outside {
    fn reach(
        args: &Args,
        checked: &Checked,
        plan: &Plan,
        console: Option<OwnedFd>,
    ) -> Result<Outside> {
        Ok(Outside {
            console: console_socket(args, checked, console)?,
            pidfd: PidfdSocket::connect(args.pidfd_socket.as_deref())?,
            agent: agent(args, plan)?,
            devices: net_devices::find(plan)?,
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
    let Outside { console, pidfd, agent, devices } = outside;
    let start = if args.options.await_start { Some(slot.listen()?) } else { None };
    if let Some(class) = &plan.intel_rdt {
        slot.own_class(intel_rdt::Group::create(class)?, class.make);
    }
    let cgroup = slot.own(make_cgroup(plan)?);
    log::debug(|| format!("cgroup made: {} directories", cgroup.paths().all().len()));
    let mut init = parent::spawn(plan, cgroup, Handed { console, start, init: None, devices })?;
    // The pid file last: whoever waits for it may ask for the state at once.
    let noted = slot
        .classify(init.pid)
        .and_then(|()| slot.note_init(init.pid))
        .and_then(|()| agent.as_ref().map_or(Ok(()), |agent| agent.watch(init.socket.as_fd())))
        .and_then(|()| {
            pidfd.map_or(Ok(()), |to| to.send(pidfd_socket::Kind::Init, init.pidfd.as_fd()))
        })
        .and_then(|()| write_pid_file(args.pid_file.as_deref(), init.pid));
    match noted {
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

/// Reaches the seccomp agent before anything is made. It gets one listener by each connection, so that `create`, after which
/// another process goes on, only looks whether there is one.
fn agent(args: &Args, plan: &Plan) -> Result<Option<Agent>> {
    match plan.listener() {
        None => Ok(None),
        Some(listener) if args.options.await_start => notify::check(listener).map(|()| None),
        Some(listener) => Agent::connect(listener).map(Some),
    }
}

pub(crate) fn make_cgroup(plan: &Plan) -> Result<Cgroup> {
    match &plan.cgroup {
        Some(planned) => Ok(Cgroup::create(planned)?),
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
        (Some(path), true) => connect(path, "console socket").map(Some),
    }
}

/// Connects to a socket of the engine's; `what` names it in an error.
///
/// # Errors
/// When nobody listens there.
pub fn connect(path: &std::path::Path, what: &str) -> Result<OwnedFd> {
    connect_stream(path).map_err(|errno| {
        Error::system(format!("connect to the {what} `{}`", path.display()), errno)
    })
}

/// The same, for who has words of its own for a failure.
///
/// # Errors
/// When nobody listens there.
pub fn connect_stream(path: &std::path::Path) -> std::result::Result<OwnedFd, Errno> {
    let (family, kind) = (AddressFamily::UNIX, SocketType::STREAM);
    let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

/// Writes a process id to a file, under another name first: nobody reads half a number.
///
/// # Errors
/// When it cannot be written.
pub fn write_pid_file(path: Option<&std::path::Path>, pid: Pid) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    let temporary = path.with_file_name(name);
    // A link or FIFO that somebody left under that name is not written through.
    let _ = std::fs::remove_file(&temporary);
    let written = std::fs::File::create_new(&temporary)
        .and_then(|mut file| file.write_all(pid.as_raw_nonzero().to_string().as_bytes()))
        .and_then(|()| std::fs::rename(&temporary, path))
        .inspect_err(|_| drop(std::fs::remove_file(&temporary)));
    written.map_err(|error| Error::io(format!("write the pid file `{}`", path.display()), &error))
}
