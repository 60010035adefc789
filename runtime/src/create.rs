//! `nrun create`: from a bundle to a container that waits for `start`.
//!
//! The straight line of the runtime: load, check, probe, plan, reserve, spawn, commit. Each line's type feeds the next, and
//! each failure takes back what the lines before it left on the host.

use crate::cgroup::{Cgroup, Manager};
use crate::cli::Parsed;
use crate::error::{Error, Result};
use crate::host::{Asked, Host};
use crate::id::ContainerId;
use crate::intel_rdt;
use crate::log;
use crate::parent::{self, Handed, Init};
use crate::plan::{self, Plan};
use crate::protect;
use crate::record::{Saved, Slot};
use crate::rootless;
use bundle::Checked;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::Pid;
use std::io::Write;
use std::os::fd::OwnedFd;
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
        let id = ContainerId::new(id)?;
        let options = plan::Options {
            id: id.to_string(),
            no_pivot: parsed.is_set("no-pivot"),
            no_new_keyring: parsed.is_set("no-new-keyring"),
            preserve_fds: parsed.number("preserve-fds")?.unwrap_or(0),
            await_start,
            rootless_cgroups: rootless::Cgroups::parse(parsed.value("rootless"))?,
            cgroup_manager: cgroup_manager(parsed)?,
        };
        Ok(Args {
            id,
            root: root(parsed),
            bundle: parsed.value("bundle").unwrap_or(".").into(),
            config: parsed.value("config").filter(|path| !path.is_empty()).map(PathBuf::from),
            console_socket: parsed
                .value("console-socket")
                .filter(|path| !path.is_empty())
                .map(PathBuf::from),
            pid_file: parsed.value("pid-file").filter(|path| !path.is_empty()).map(PathBuf::from),
            options,
        })
    }
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
}

/// Makes the container and returns when it waits for `start`.
///
/// # Errors
/// Whatever is wrong with the bundle, the host, or a step. Nothing is left then.
pub fn run(parsed: &Parsed) -> Result<()> {
    let args = Args::of(parsed, true)?;
    protect::our_executable()?;
    let checked = check(&args)?;
    let created = create(&args, &checked, None)?;
    created.init.go()?;
    // This process ends here and every fd with it: closing them one by one would cost a system call each.
    std::mem::forget(created);
    Ok(())
}

/// Makes the container. A terminal's master goes to `--console-socket`, or to `console` where that is not given.
///
/// # Errors
/// As [`run`].
pub fn create(args: &Args, checked: &Checked, console: Option<OwnedFd>) -> Result<Created> {
    let asked = Asked::by(&checked.spec).with_manager(args.options.cgroup_manager);
    let host = Host::probe(asked)?;
    let plan = plan::create(checked, &host, &args.options)?;
    log::debug(|| format!("host asked and container planned: {} steps", plan.steps.len()));
    let console = console_socket(args, checked, console)?;
    let mut slot =
        Slot::reserve(&args.root, &args.id, saved(args, checked, &host, &plan), checked.text())?;
    log::debug(|| format!("state directory of container `{}` made and locked", args.id));
    let start = if args.options.await_start { Some(slot.listen()?) } else { None };
    if let Some(class) = &plan.intel_rdt {
        slot.own_class(intel_rdt::Group::create(class)?, class.make);
    }
    let cgroup = slot.own(make_cgroup(&plan)?);
    log::debug(|| format!("cgroup made: {} directories", cgroup.paths().all().len()));
    let init = parent::spawn(&plan, cgroup, Handed { console, start, init: None })?;
    // The pid file last: whoever waits for it may ask for the state at once.
    let noted = slot
        .classify(init.pid)
        .and_then(|()| slot.note_init(init.pid))
        .and_then(|()| write_pid_file(args.pid_file.as_deref(), init.pid));
    match noted {
        Ok(()) => slot.commit(),
        Err(error) => {
            init.kill();
            return Err(error);
        }
    }
    log::debug(|| format!("container `{}` is created", args.id));
    Ok(Created { plan, init })
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
    log::debug(|| format!("`{}` read and checked", checked.config_path().display()));
    Ok(checked)
}

pub(crate) fn saved(args: &Args, checked: &Checked, host: &Host, plan: &Plan) -> Saved {
    Saved {
        oci_version: checked.spec.version().clone(),
        id: args.id.to_string(),
        bundle: checked.bundle.clone(),
        rootfs: checked.rootfs.clone(),
        created: humantime::format_rfc3339_nanos(SystemTime::now()).to_string(),
        annotations: checked.spec.annotations().clone().unwrap_or_default(),
        owner: host.uid,
        cgroups: plan.cgroup.as_ref().map(crate::cgroup::CgroupPlan::paths).unwrap_or_default(),
        no_new_keyring: args.options.no_new_keyring,
        namespaces: plan.namespaces.bits(),
        unit: plan.cgroup.as_ref().and_then(|cgroup| Some(cgroup.unit.as_ref()?.unit.clone())),
        intel_rdt: plan.intel_rdt.as_ref().map(|class| class.group.clone()),
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
        (Some(path), true) => connect(path).map(Some),
    }
}

/// Connects to a console socket.
///
/// # Errors
/// When nobody listens there.
pub fn connect(path: &std::path::Path) -> Result<OwnedFd> {
    let connected = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .and_then(|socket| rustix::net::connect(&socket, &SocketAddrUnix::new(path)?).map(|()| socket));
    connected.map_err(|errno| {
        Error::system(format!("connect to the console socket `{}`", path.display()), errno)
    })
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
        .and_then(|()| std::fs::rename(&temporary, path));
    written.map_err(|error| Error::io(format!("write the pid file `{}`", path.display()), &error))
}
