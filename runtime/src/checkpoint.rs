//! `nrun checkpoint`: writes a running container to disk, with criu, and removes it.

use crate::args;
use crate::cgroup::Manager;
use crate::cli::Parsed;
use crate::criu::options::{self, Directories};
use crate::criu::rpc::{self, Kind, Options, field};
use crate::criu::{Conversation, Criu, Launch, Notice, mounts, namespaces, stdio};
use crate::delete;
use crate::error::{Error, Result};
use crate::host::{Asked, Host};
use crate::id::ContainerId;
use crate::plan::namespaces::Namespaces;
use crate::plan::{self, Plan};
use crate::record::Record;
use crate::state::Status;
use bundle::Checked;
use std::os::fd::OwnedFd;

/// The annotation that names a configuration file of criu's.
pub(crate) const CRIU_CONFIG: &str = "org.criu.config";

/// Writes the container to disk. It is gone afterwards, but with `--leave-running` and `--pre-dump`.
///
/// # Errors
/// When it does not run, or criu cannot: it runs on then.
pub fn run(parsed: &Parsed) -> Result<()> {
    let id = ContainerId::new(&parsed.operands[0])?;
    let root = args::root(parsed);
    let record = Record::open(&root, &id)?;
    refuse_state(&record)?;
    refuse_notify(&record)?;
    let page_server = options::page_server(parsed)?;
    let status_fd = options::status_fd(parsed)?;
    let pre_dump = parsed.is_set("pre-dump");
    let config_file = record.saved.annotations.get(CRIU_CONFIG).map(String::as_str);
    let mut options = Options { page_server, ..options::common(parsed, config_file)? };
    let directories = Directories::open(parsed, "dump.log", true)?;
    if let Some(parent) = options::parent(parsed, &directories.images_path)? {
        options.string(field::PARENT_IMG, parent).number(field::TRACK_MEM, 1);
    }
    let criu = Criu::find(parsed.value("criu"))?;
    criu.require(pre_dump, parsed.is_set("lazy-pages"))?;
    directories.set(&mut options)?;
    let checked = record.checked_config()?;
    describe(&record, &checked, parsed, &mut options)?;
    if !pre_dump {
        let plan = plan_of(&record, &checked)?;
        refuse_listener(&plan)?;
        options.mounts = mounts::for_dump(&mounts::external(&plan)?, record.saved.pid)?;
        stdio::note(&directories.images, record.saved.pid)?;
    }
    let kind = if pre_dump { Kind::PreDump } else { Kind::Dump };
    dump(&criu, kind, &id, &options, status_fd).map_err(|error| directories.explain(error))?;
    if pre_dump || parsed.is_set("leave-running") { Ok(()) } else { delete::remove(record) }
}

fn refuse_state(record: &Record) -> Result<()> {
    let status = Status::of(&record.saved, record.awaits_start())?;
    let paths = &record.saved.cgroups;
    let refused = match status {
        Status::Creating | Status::Created | Status::Stopped => {
            format!("Container cannot be checkpointed in {} state", status.as_str())
        }
        // criu knows of one freezer, v1's where there is one, and waits for ever for what the other has frozen.
        Status::Paused if paths.unified().is_some() && paths.controller("freezer").is_some() => {
            "resume it first: on a host with v1 and v2 cgroups criu cannot take a paused one"
                .to_owned()
        }
        Status::Running | Status::Paused => return Ok(()),
    };
    Err(Error::State(format!("cannot checkpoint container `{}`: {refused}", record.saved.id)))
}

/// Its mount is of a directory that a restored container would not have.
fn refuse_notify(record: &Record) -> Result<()> {
    match &record.saved {
        saved if saved.notify => Err(Error::State(format!(
            "cannot checkpoint container `{}`: it was created with NOTIFY_SOCKET",
            saved.id
        ))),
        _ => Ok(()),
    }
}

/// The fd by which an agent answers for the filter is in the agent, and no restore could give it another.
fn refuse_listener(plan: &Plan) -> Result<()> {
    match plan.listener() {
        None => Ok(()),
        Some(_) => Err(Error::State(format!(
            "cannot checkpoint container `{}`: its filter notifies an agent (config.json /linux/seccomp/listenerPath)",
            plan.id
        ))),
    }
}

/// What criu has to know of the container itself.
fn describe(
    record: &Record,
    checked: &Checked,
    parsed: &Parsed,
    options: &mut Options,
) -> Result<()> {
    let saved = &record.saved;
    options.pid = Some(saved.pid);
    options
        .string(field::ROOT, saved.rootfs.to_string_lossy())
        .switch(field::LEAVE_RUNNING, parsed.is_set("leave-running"));
    // A frozen cgroup holds still what would fork away from a list of processes.
    let freezer = saved.cgroups.controller("freezer").or(saved.cgroups.unified());
    if let Some(freezer) = freezer {
        options.string(field::FREEZE_CGROUP, freezer.to_string_lossy());
    }
    let namespaces = Namespaces::of(checked.spec.linux().as_ref()).map_err(Error::Plan)?;
    namespaces::leave_out(&namespaces, saved.pid, options)
}

/// The plan that the container was made by: it knows what was mounted from outside.
fn plan_of(record: &Record, checked: &Checked) -> Result<Plan> {
    let saved = &record.saved;
    let cgroup_manager = if saved.unit.is_some() { Manager::Systemd } else { Manager::default() };
    let options = plan::Options {
        id: saved.id.clone(),
        no_new_keyring: saved.no_new_keyring,
        cgroup_manager,
        ..plan::Options::default()
    };
    let asked = Asked::by(&checked.spec).with_options(&options);
    plan::create(checked, &Host::probe(asked)?, &options)
}

fn dump(
    criu: &Criu,
    kind: Kind,
    id: &ContainerId,
    options: &Options,
    status_fd: Option<OwnedFd>,
) -> Result<()> {
    let what = format!("checkpoint container `{id}`");
    let request = rpc::request(kind, options);
    let mut dumping = Dumping { status_fd };
    criu.run(&request, kind, &what, &Launch::default(), &mut dumping).map(drop)
}

/// Our part of a dump.
struct Dumping {
    /// `--status-fd`
    status_fd: Option<OwnedFd>,
}

impl Conversation for Dumping {
    /// Pages can be fetched from `status-ready` on; who waits for that reads a zero byte, and then the end.
    fn notice(&mut self, notice: Notice) -> Result<()> {
        if let Some(fd) = self.status_fd.take_if(|_| notice.script == "status-ready") {
            let _ = rustix::io::write(fd, &[0]);
        }
        Ok(())
    }
}
