//! `nman run`, from top to bottom: how a container comes about.

use crate::assemble::{disassemble, enter_private_mounts, mount_root};
use crate::attach::{self, Wish};
use crate::bundle::host::HostFacts;
use crate::bundle::rootfs::Rootfs;
use crate::bundle::{self, Inputs, user};
use crate::cli::{CreateArgs, RunArgs, SignalNumber, variable};
use crate::clock::Timestamp;
use crate::connection;
use crate::container::{
    Attachment, ContainerId, ContainerName, Containers, Dir, Guard, ImageUsed, Record, StopPolicy,
};
use crate::detach::DetachKeys;
use crate::error::{Error, Result};
use crate::monitor::{self, Assembled};
use crate::runtime::Runtime;
use crate::settings::Settings;
use crate::store::{Image, Store};
use crate::undo::Undo;
use crate::{event, health, image, rm, supervise, terminal, volume};
use oci_spec::image::ImageConfiguration;
use std::path::{Path, PathBuf};

/// Seconds between the stop signal and SIGKILL, as in Docker.
const STOP_TIMEOUT: i32 = 10;

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The container has ended with this code.
    Ended(u8),
    /// It runs in the background.
    Running(ContainerId),
}

/// Runs a command in a new container.
pub fn run(settings: &Settings, args: &RunArgs) -> Result<Outcome> {
    let RunArgs { create: args, detach, sig_proxy, detach_keys, .. } = args;
    let keys = DetachKeys::find(detach_keys.as_deref())?;
    terminal::check(args.interactive, args.tty, *detach)?;
    let env = environment(args)?;
    let host = HostFacts::probe();
    let runtime = Runtime::find(settings.runtime.as_deref())?;
    let store = Store::open(&settings.root)?;
    let image = image::obtain(&store, args.image(), args.pull, &args.registry)?;
    let record = plan_record(settings, args, &env, !detach, &image, runtime, &host)?;
    let (record, assembled) =
        Draft { settings, args, env: &env, store: &store, image: &image, host: &host }
            .create(record)?;
    let mut monitor = monitor::launch(settings, &record.id, assembled)?;
    if *detach {
        attach::until_started(&mut monitor)?;
        return Ok(Outcome::Running(record.id));
    }
    event::emit_container(settings, &record, "attach", &[]);
    let wish = Wish { stdin: args.interactive, terminal: args.tty, signals: *sig_proxy, keys };
    attach::follow(&mut monitor, wish).map(Outcome::Ended)
}

/// What a new container is made from.
struct Draft<'a> {
    settings: &'a Settings,
    args: &'a CreateArgs,
    env: &'a [(String, Option<String>)],
    store: &'a Store,
    image: &'a Image,
    host: &'a HostFacts,
}

impl Draft<'_> {
    /// Brings a container to the point where only the runtime is missing. If that fails, nothing of it stays.
    fn create(&self, record: Record) -> Result<(Record, Assembled)> {
        let containers = Containers::open(&self.settings.containers())?;
        let (record, dir, guard) = reserve(&containers, record, self.args.name.is_none())?;
        let mut undo = Undo::new();
        undo.push(|| rm::forget(self.settings, &containers, &record, &dir));
        undo.push(|| match disassemble(self.settings, &record, &dir) {
            errors if errors.is_empty() => Ok(()),
            errors => Err(Error::Several(errors)),
        });
        event::emit_container(self.settings, &record, "create", &[]);
        match self.prepare(&record, &dir) {
            Ok(()) => drop(undo),
            Err(error) => return Err(undo.after(error)),
        }
        Ok((record, Assembled { dir, guard, first: true }))
    }

    /// Fills a reserved container's directory: root file system, config.json, network.
    fn prepare(&self, record: &Record, dir: &Dir) -> Result<()> {
        enter_private_mounts()?;
        self.store.snapshots().prepare(&self.image.chain_ids, record.id.as_str())?;
        mount_root(self.settings, record, dir)?;
        let rootfs = Rootfs::open(&dir.rootfs())?;
        let identity = identity(self.args, &self.image.config, &rootfs)?;
        let mut binds = volume::binds(
            self.settings,
            dir,
            &rootfs,
            &self.args.storage.volume,
            &self.image.config,
        )?;
        binds.extend(supervise::init_bind(self.args, dir)?);
        let spec = bundle::plan(&Inputs {
            id: &record.id,
            args: self.args,
            env: self.env,
            image: &self.image.config,
            identity: &identity,
            binds: &binds,
            network: &connection::namespace(&self.args.network.mode(), dir),
            hostname: &record.network.hostname,
            window: terminal::size(),
            host: self.host,
        })?;
        rootfs.ensure_directory(&bundle::working_directory(self.args, &self.image.config)?)?;
        dir.write("config.json", &spec)?;
        health::prepare(record, dir, spec.process().as_ref())?;
        connection::connect(self.settings, record, dir)
    }
}

/// Reserves the container's place and name; a random name that is taken is drawn again.
fn reserve(
    containers: &Containers,
    mut record: Record,
    random: bool,
) -> Result<(Record, Dir, Guard)> {
    loop {
        match containers.reserve(&record) {
            Ok((dir, guard)) => return Ok((record, dir, guard)),
            Err(Error::NameTaken { .. }) if random => record.name = record.name.varied(),
            Err(error) => return Err(error),
        }
    }
}

fn plan_record(
    settings: &Settings,
    args: &CreateArgs,
    env: &[(String, Option<String>)],
    stdin_once: bool,
    image: &Image,
    runtime: PathBuf,
    host: &HostFacts,
) -> Result<Record> {
    let config = image.config.config().as_ref();
    let mut labels: std::collections::BTreeMap<String, String> =
        config.and_then(|config| config.labels().clone()).unwrap_or_default().into_iter().collect();
    for label in &args.process.label {
        let (key, value) = label.split_once('=').unwrap_or((label, ""));
        labels.insert(key.to_owned(), value.to_owned());
    }
    let of_image = config.and_then(|config| config.stop_signal().as_deref());
    let signal = args
        .supervision
        .stop_signal
        .or_else(|| of_image?.parse::<SignalNumber>().ok())
        .map_or(15, |signal| signal.0);
    let supervision = supervise::plan(supervise::Inputs {
        args: &args.supervision,
        health: image.health.clone(),
        labels: &labels,
        env,
    })?;
    let id = ContainerId::random();
    let mode = connection::resolve(settings, args.network.mode())?;
    let wanted = args.process.hostname.as_deref();
    let hostname = connection::hostname(settings, wanted, &mode, &id, host)?;
    Ok(Record {
        id,
        name: args.name.clone().unwrap_or_else(ContainerName::random),
        created: Timestamp::now(),
        image: ImageUsed { name: args.image().to_owned(), id: image.id.to_string() },
        command: bundle::command(args, &image.config)?,
        attachment: Attachment { terminal: args.tty, stdin: args.interactive, stdin_once },
        remove: args.supervision.rm,
        runtime,
        stop: StopPolicy { signal, timeout: args.supervision.stop_timeout.unwrap_or(STOP_TIMEOUT) },
        labels,
        supervision,
        network: args.network.wish(&mode, hostname, &image.config)?,
    })
}

fn identity(
    args: &CreateArgs,
    image: &ImageConfiguration,
    rootfs: &Rootfs,
) -> Result<user::Identity> {
    let of_image = image.config().as_ref().and_then(|config| config.user().clone());
    let wanted = args.process.user.clone().or(of_image).unwrap_or_default();
    look_up(&wanted, rootfs)
}

/// Finds out who `--user` is, in the container's own files.
pub fn look_up(wanted: &str, rootfs: &Rootfs) -> Result<user::Identity> {
    let passwd = rootfs.read("/etc/passwd")?.unwrap_or_default();
    let group = rootfs.read("/etc/group")?.unwrap_or_default();
    user::resolve(wanted, &passwd, &group)
}

/// Variables of the files, then of the command line.
fn environment(args: &CreateArgs) -> Result<Vec<(String, Option<String>)>> {
    let mut env = Vec::new();
    for path in &args.process.env_file {
        env.extend(variables_of(path)?);
    }
    env.extend(args.process.env.iter().cloned());
    Ok(env)
}

/// The variables of an environment file.
pub fn variables_of(path: &Path) -> Result<Vec<(String, Option<String>)>> {
    let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
    variables(&text, path)
}

/// The lines of an environment file. A variable without a value that we have not either is left out.
fn variables(text: &str, path: &Path) -> Result<Vec<(String, Option<String>)>> {
    let mut env = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |why: &str| Error::Usage(format!("{}:{}: {why}", path.display(), number + 1));
        let (name, value) = variable(line).map_err(|why| wrong(&why))?;
        if name.contains(char::is_whitespace) {
            return Err(wrong(&format!("variable '{name}' contains whitespaces")));
        }
        if value.is_some() {
            env.push((name, value));
        }
    }
    Ok(env)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_file_has_comments_and_names_its_bad_line() {
        let path = Path::new("env");
        let env = variables("# c\n\nA=1\n  B=x y\nNMAN_SURELY_UNSET\n", path).unwrap();
        assert_eq!(env, [("A".into(), Some("1".into())), ("B".into(), Some("x y".into()))]);
        let error = variables("A=1\nB C=1\n", path).unwrap_err();
        assert_eq!(error.to_string(), "env:2: variable 'B C' contains whitespaces");
    }
}
