//! `nrun create`: from a bundle to a container that waits for `start`.
//!
//! The straight line of the runtime: load, check, probe, plan, reserve, spawn, commit. Each line's type feeds the next, and
//! each failure takes back what the lines before it left on the host.

use crate::cgroup::Cgroup;
use crate::cli::Parsed;
use crate::error::{Error, Result};
use crate::host::{Asked, Host};
use crate::id::ContainerId;
use crate::log::Log;
use crate::net_devices;
use crate::parent::{self, Handed, Init};
use crate::plan::{self, Plan};
use crate::protect;
use crate::record::{self, Saved, Slot};
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
            ..plan::Options::default()
        };
        Ok(Args {
            id,
            root: root(parsed),
            bundle: parsed.value("bundle").unwrap_or(".").into(),
            console_socket: parsed
                .value("console-socket")
                .filter(|path| !path.is_empty())
                .map(PathBuf::from),
            pid_file: parsed.value("pid-file").filter(|path| !path.is_empty()).map(PathBuf::from),
            options,
        })
    }
}

/// `--root`, or where it is by default.
pub fn root(parsed: &Parsed) -> PathBuf {
    parsed.value("root").map_or_else(record::default_root, PathBuf::from)
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
pub fn run(parsed: &Parsed, log: &Log) -> Result<()> {
    let args = Args::of(parsed, true)?;
    protect::our_executable()?;
    let checked = check(&args)?;
    let created = create(&args, &checked, None, log)?;
    created.init.go()?;
    // This process ends here and every fd with it: closing them one by one would cost a system call each.
    std::mem::forget(created);
    Ok(())
}

/// Makes the container. A terminal's master goes to `--console-socket`, or to `console` where that is not given.
///
/// # Errors
/// As [`run`].
pub fn create(
    args: &Args,
    checked: &Checked,
    console: Option<OwnedFd>,
    log: &Log,
) -> Result<Created> {
    let host = Host::probe(Asked::by(&checked.spec))?;
    let plan = plan::create(checked, &host, &args.options)?;
    warn(checked, &plan, log);
    let console = console_socket(args, checked, console)?;
    let devices = net_devices::find(&plan)?;
    let mut slot =
        Slot::reserve(&args.root, &args.id, saved(args, checked, &host, &plan), checked.text())?;
    let start = if args.options.await_start { Some(slot.listen()?) } else { None };
    let cgroup = slot.own(make_cgroup(&plan)?);
    let mut init = parent::spawn(&plan, cgroup, Handed { console, start, init: None, devices })?;
    // The pid file last: whoever waits for it may ask for the state at once.
    match slot.note_init(init.pid).and_then(|()| write_pid_file(args.pid_file.as_deref(), init.pid))
    {
        Ok(()) => slot.commit(),
        Err(error) => {
            init.kill();
            return Err(error);
        }
    }
    Ok(Created { plan, init })
}

/// What is not done as config.json has it (runtime.md, Warnings).
fn warn(checked: &Checked, plan: &Plan, log: &Log) {
    for warning in &checked.warnings {
        log.warning(&format!("{}:{warning}", checked.config_path().display()));
    }
    for warning in &plan.warnings {
        log.note(warning);
    }
}

fn make_cgroup(plan: &Plan) -> Result<Cgroup> {
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
    let checked = bundle::check(bundle::load(&args.bundle)?).map_err(bundle::Error::from)?;
    Ok(checked)
}

fn saved(args: &Args, checked: &Checked, host: &Host, plan: &Plan) -> Saved {
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
        ..Saved::default()
    }
}

/// The engine's socket for the terminal, connected before anything is made, or the caller's own: one that is not there is found out
/// first.
fn console_socket(
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
