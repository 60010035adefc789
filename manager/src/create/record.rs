//! From a command line and an image to a container's record.

use crate::bundle::host::HostFacts;
use crate::bundle::{Confinement, resources};
use crate::cgroup::{DEFAULT_PARENT, is_slice};
use crate::cli::confinement::{Sharing, is_of_ipc};
use crate::cli::{CreateArgs, SignalNumber, StandardStream, variable};
use crate::clock::Timestamp;
use crate::connection;
use crate::container::{
    Attached, Attachment, Config, ContainerId, ContainerName, DeviceRequest, Empty, HostConfig,
    IdMappings, ImageUsed, Limits, MountKind, MountPoint, Record, StopPolicy,
};
use crate::device;
use crate::error::{Error, Result};
use crate::id_map::mode::Mode as UserMode;
use crate::network::Mode;
use crate::path;
use crate::rootless;
use crate::settings::Settings;
use crate::store::Image;
use crate::supervise;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Seconds between the stop signal and SIGKILL, as in Docker.
const STOP_TIMEOUT: i32 = 10;

/// What the files say that the command line names.
pub(crate) struct Files {
    env: Vec<(String, Option<String>)>,
    labels: Vec<(String, String)>,
}

impl Files {
    pub(crate) fn read(args: &CreateArgs) -> Result<Self> {
        let text = |path: &Path| std::fs::read_to_string(path).map_err(Error::io("read", path));
        let (mut env, mut labels) = (Vec::new(), Vec::new());
        for path in &args.process.env_file {
            env.extend(variables_of(path)?);
        }
        for path in &args.process.label_file {
            labels.extend(pairs(&text(path)?, path, label)?);
        }
        Ok(Self { env, labels })
    }
}

/// The variables of an environment file.
pub(crate) fn variables_of(path: &Path) -> Result<Vec<(String, Option<String>)>> {
    let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
    variables(&text, path)
}

/// The lines of an environment file. A variable without a value that we have not either is left out.
fn variables(text: &str, path: &Path) -> Result<Vec<(String, Option<String>)>> {
    let mut env = pairs(text, path, variable)?;
    env.retain(|(_, value)| value.is_some());
    Ok(env)
}

/// A line of a file of labels. Unlike a variable, one without a value is empty: our environment has no say in it.
fn label(line: &str) -> std::result::Result<(String, String), String> {
    let (name, value) = line.split_once('=').unwrap_or((line, ""));
    if name.is_empty() {
        return Err(format!("no variable name on line '{line}'"));
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// The lines of a file, without comments and empty ones, each read by `read`.
fn pairs<T>(
    text: &str,
    path: &Path,
    read: impl Fn(&str) -> std::result::Result<(String, T), String>,
) -> Result<Vec<(String, T)>> {
    let mut pairs = Vec::new();
    // Some editors mark the byte order of a text that has none.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |why: &str| Error::Usage(format!("{}:{}: {why}", path.display(), number + 1));
        let (name, value) = read(line).map_err(|why| wrong(&why))?;
        if name.contains(char::is_whitespace) {
            return Err(wrong(&format!("variable '{name}' contains whitespaces")));
        }
        pairs.push((name, value));
    }
    Ok(pairs)
}

/// What `-a` names, if it names anything.
fn named(streams: &[StandardStream]) -> Option<Attached> {
    let has = |stream| streams.contains(&stream);
    (!streams.is_empty()).then(|| Attached {
        stdin: has(StandardStream::Stdin),
        stdout: has(StandardStream::Stdout),
        stderr: has(StandardStream::Stderr),
    })
}

/// What a record is made from.
pub(crate) struct Wish<'a> {
    pub(crate) args: &'a CreateArgs,
    pub(crate) attached: bool,
    pub(crate) image: &'a Image,
    pub(crate) runtime: PathBuf,
    pub(crate) host: &'a HostFacts,
    pub(crate) files: &'a Files,
}

impl Wish<'_> {
    /// The record, and what this host cannot do of it.
    pub(crate) fn plan(&self, settings: &Settings) -> Result<(Record, Vec<String>)> {
        let args = self.args;
        let id = ContainerId::random();
        let mut host_config = self.host_config();
        let without = match settings.rootless {
            true => fit_user(&mut host_config.limits, self.host)?,
            false => refuse_slice(&host_config.limits).map(|()| None)?,
        };
        let mut warnings = resources::adapt(&mut host_config.limits, self.host)?;
        warnings.extend(without);
        self.check(&host_config, &mut warnings)?;
        let mode = if settings.rootless {
            self.network_of_user(&mut warnings)?
        } else {
            network_of_root(args.network.mode())?
        };
        let mode = connection::resolve(settings, mode)?;
        let wanted = args.process.hostname.as_deref();
        let hostname = connection::hostname(settings, wanted, &mode, &id, self.host)?;
        let config = self.config(&hostname)?;
        let signal = config.stop_signal.as_deref();
        let signal =
            signal.and_then(|text| text.parse().ok()).map_or(15, |SignalNumber(number)| number);
        let labels = self.labels();
        let env = [&self.files.env[..], &args.process.env].concat();
        let record = Record {
            id,
            name: args.name.clone().unwrap_or_else(ContainerName::random),
            created: Timestamp::now(),
            image: ImageUsed { name: args.image().to_owned(), id: self.image.id.to_string() },
            command: command(&config, args.image())?,
            attachment: Attachment {
                terminal: args.tty,
                stdin: args.interactive,
                stdin_once: self.attached,
                named: named(&args.attach),
            },
            remove: args.supervision.rm,
            runtime: self.runtime.clone(),
            stop: StopPolicy {
                signal,
                timeout: args.supervision.stop_timeout.unwrap_or(STOP_TIMEOUT),
            },
            supervision: supervise::plan(supervise::Inputs {
                args: &args.supervision,
                health: self.image.health.clone(),
                labels: &labels,
                env: &env,
            })?,
            labels,
            network: args.network.wish(&mode, hostname, &self.image.config)?,
            mounts: self.mounts(settings)?,
            config,
            host_config,
            apparmor: None,
            selinux: None,
            build: None,
        };
        Ok((record, warnings))
    }

    fn labels(&self) -> BTreeMap<String, String> {
        let of_image =
            self.image.config.config().as_ref().and_then(|config| config.labels().clone());
        let mut labels: BTreeMap<String, String> =
            of_image.unwrap_or_default().into_iter().collect();
        labels.extend(self.files.labels.iter().cloned());
        for label in &self.args.process.label {
            let (key, value) = label.split_once('=').unwrap_or((label, ""));
            labels.insert(key.to_owned(), value.to_owned());
        }
        labels
    }

    fn config(&self, hostname: &str) -> Result<Config> {
        let (args, process) = (self.args, &self.args.process);
        let of_image = self.image.config.config().clone().unwrap_or_default();
        // An entry point on the command line makes the image's command void, as in Docker.
        let (entrypoint, of_image_cmd) = match process.entrypoint.as_deref() {
            Some("") => (None, None),
            Some(entrypoint) => (Some(vec![entrypoint.to_owned()]), None),
            None => (of_image.entrypoint().clone(), of_image.cmd().clone()),
        };
        let cmd = Some(args.command().to_vec()).filter(|words| !words.is_empty());
        let directory = process.workdir.clone().or_else(|| of_image.working_dir().clone());
        let volumes = of_image.volumes().clone().unwrap_or_default();
        let signal = self.args.supervision.stop_signal.as_ref().map(|signal| signal.text.clone());
        let signal = signal.or_else(|| of_image.stop_signal().clone());
        let anonymous =
            args.storage.volume.iter().filter(|typed| {
                typed.point.kind == MountKind::Volume && typed.point.name.is_empty()
            });
        let anonymous = anonymous.map(|typed| typed.point.destination.clone());
        Ok(Config {
            hostname: hostname.to_owned(),
            domainname: process.domainname.clone().unwrap_or_default(),
            user: process.user.clone().or_else(|| of_image.user().clone()).unwrap_or_default(),
            env: self.environment(of_image.env().as_deref().unwrap_or_default()),
            cmd: cmd.or(of_image_cmd),
            entrypoint,
            working_dir: working_directory(directory.as_deref().unwrap_or_default())?,
            volumes: volumes.into_iter().chain(anonymous).map(|path| (path, Empty {})).collect(),
            stop_signal: signal.filter(|signal| !signal.is_empty()),
        })
    }

    /// The command line's variables, those of its files before them, then the image's that are not among them.
    fn environment(&self, of_image: &[String]) -> Vec<String> {
        let mut env: Vec<String> = Vec::new();
        let name = |variable: &str| variable.split('=').next().unwrap_or_default().to_owned();
        for (variable, value) in self.files.env.iter().chain(&self.args.process.env) {
            let text =
                value.as_ref().map_or(variable.clone(), |value| format!("{variable}={value}"));
            match env.iter_mut().find(|known| name(known) == *variable) {
                Some(known) => *known = text,
                None => env.push(text),
            }
        }
        let more = of_image
            .iter()
            .filter(|variable| !env.iter().any(|known| name(known) == name(variable)));
        let more: Vec<String> = more.cloned().collect();
        env.extend(more);
        env
    }

    fn host_config(&self) -> HostConfig {
        let args = self.args;
        let mode =
            |sharing: &Option<Sharing>| sharing.as_ref().map_or(String::new(), ToString::to_string);
        let (mut devices, mut names) = (Vec::new(), Vec::new());
        for wish in &args.security.device {
            match wish {
                device::Wish::Path(mapping) => devices.push(mapping.clone()),
                device::Wish::Cdi(name) => names.push(name.clone()),
            }
        }
        names.extend(args.security.gpus.iter().flat_map(|gpus| gpus.0.iter().cloned()));
        let request = DeviceRequest { driver: "cdi".to_owned(), count: 0, device_ids: names };
        let tmpfs =
            args.storage.tmpfs.iter().map(|point| (point.destination.clone(), point.mode.clone()));
        HostConfig {
            binds: args
                .storage
                .volume
                .iter()
                .filter(|typed| {
                    !(typed.point.kind == MountKind::Volume && typed.point.name.is_empty())
                })
                .map(|typed| typed.text.clone())
                .collect(),
            container_id_file: args
                .cidfile
                .as_ref()
                .map_or(String::new(), |path| path.display().to_string()),
            mounts: args.storage.mount.iter().map(MountPoint::asked).collect(),
            volumes_from: args.storage.volumes_from.clone(),
            // Who makes it has looked at the terminal.
            console_size: [0, 0],
            volume_driver: args.storage.volume_driver.clone().unwrap_or_default(),
            cap_add: args.security.cap_add.clone(),
            cap_drop: args.security.cap_drop.clone(),
            cgroupns_mode: args.security.cgroupns.clone().unwrap_or_default().to_string(),
            group_add: args.process.group_add.clone(),
            ipc_mode: args.security.ipc.clone().unwrap_or_default().to_string(),
            oom_score_adj: args.resources.oom_score_adj.unwrap_or(0),
            pid_mode: mode(&args.security.pid),
            privileged: args.security.privileged,
            readonly_rootfs: args.storage.read_only,
            security_opt: args.security.security_opt.clone(),
            storage_opt: BTreeMap::new(),
            tmpfs: tmpfs.collect(),
            uts_mode: mode(&args.security.uts),
            userns_mode: self.userns_mode(),
            id_mappings: IdMappings {
                uid_map: args.security.uidmap.iter().map(ToString::to_string).collect(),
                gid_map: self.gid_map(),
            },
            shm_size: args.storage.shm_size.map_or(64 << 20, |size| size.0),
            sysctls: args.security.sysctl.iter().cloned().collect(),
            annotations: args.process.annotation.iter().cloned().collect(),
            devices,
            device_cgroup_rules: args.security.device_cgroup_rule.clone(),
            device_requests: if request.device_ids.is_empty() { Vec::new() } else { vec![request] },
            limits: self.limits(),
        }
    }

    fn userns_mode(&self) -> String {
        let security = &self.args.security;
        let private = if security.uidmap.is_empty() { "" } else { "private" };
        security.userns.clone().unwrap_or_else(|| private.to_owned())
    }

    /// Groups are mapped as users are, unless it is said otherwise.
    fn gid_map(&self) -> Vec<String> {
        let security = &self.args.security;
        let map = if security.gidmap.is_empty() { &security.uidmap } else { &security.gidmap };
        map.iter().map(ToString::to_string).collect()
    }

    /// What `--network` comes to without root.
    fn network_of_user(&self, warnings: &mut Vec<String>) -> Result<Mode> {
        let args = &self.args.network;
        let asked = args.network.first().map(|choice| choice.mode.clone());
        let publishes = args.publish_all || !args.publish.is_empty();
        let (mode, warning) = rootless::network(asked, publishes, connection::carrier())?;
        warnings.extend(warning);
        Ok(mode)
    }

    /// A user namespace does not go with everything.
    fn check_user_namespace(&self, config: &HostConfig) -> Result<()> {
        let refuse = |message: &str| Err(Error::Usage(message.to_owned()));
        let mapped = !config.id_mappings.uid_map.is_empty();
        let mode: UserMode = config.userns_mode.parse().map_err(Error::Usage)?;
        match mode {
            UserMode::Private if mapped => {}
            UserMode::Private => {
                return refuse("--userns private needs the ids: give --uidmap, or --userns auto");
            }
            _ if mapped => {
                let name = config.userns_mode.split(':').next().unwrap_or_default();
                return refuse(&format!("--userns {name} and --uidmap contradict each other"));
            }
            _ => {}
        }
        let args = self.args;
        let typed = args.storage.volume.iter().map(|typed| &typed.point);
        let maps = args.storage.mount.iter().chain(typed).any(|point| point.detail.id_map);
        if maps && self.host.namespace.is_some() {
            return refuse("mount option idmap needs root: the file system is the host's");
        }
        if mode == UserMode::Host {
            return match maps {
                false => Ok(()),
                true => refuse(
                    "mount option idmap needs a user namespace: give --userns auto or --uidmap",
                ),
            };
        }
        // In a user namespace, the host's are another one's with and without.
        if self.host.namespace.is_some() {
            return Ok(());
        }
        if config.privileged {
            return refuse(
                "privileged mode is incompatible with user namespaces. You must run the container in the host namespace when running privileged mode",
            );
        }
        if config.pid_mode == "host" {
            return refuse("cannot share the host PID namespace when user namespaces are enabled");
        }
        if args.network.mode() == crate::network::Mode::Host {
            return refuse(
                "cannot share the host's network namespace when user namespaces are enabled",
            );
        }
        Ok(())
    }

    fn limits(&self) -> Limits {
        let args = &self.args.resources;
        let mut limits = Limits {
            cgroup_parent: args.cgroup_parent.clone(),
            blkio_weight_device: args.blkio_weight_device.clone(),
            blkio_device_read_bps: args.device_read_bps.clone(),
            blkio_device_write_bps: args.device_write_bps.clone(),
            blkio_device_read_iops: args.device_read_iops.clone(),
            blkio_device_write_iops: args.device_write_iops.clone(),
            memory_swappiness: args.memory_swappiness.filter(|value| *value >= 0),
            oom_kill_disable: Some(args.oom_kill_disable),
            ulimits: last_of_each(&args.ulimit, |ulimit| &ulimit.name),
            ..Limits::default()
        };
        args.limits.apply(&mut limits);
        limits
    }

    /// Options that contradict each other, in Docker's words.
    fn check(&self, config: &HostConfig, warnings: &mut Vec<String>) -> Result<()> {
        let refuse = |message: String| Err(Error::Usage(message));
        let args = self.args;
        if config.uts_mode == "host"
            && (args.process.hostname.is_some() || args.process.domainname.is_some())
        {
            return refuse("conflicting options: hostname and the UTS mode".to_owned());
        }
        self.check_user_namespace(config)?;
        let host_network = args.network.mode() == Mode::Host;
        let shares_with = match args.network.mode() {
            Mode::Host => Some("the host's network: it would change the host"),
            Mode::Namespace(_) => {
                Some("a network namespace that is there already: it would change that")
            }
            _ => None,
        };
        for name in config.sysctls.keys() {
            if let Some(with) = shares_with.filter(|_| name.starts_with("net.")) {
                return refuse(format!("sysctl '{name}' is not allowed with {with}"));
            }
            if is_of_ipc(name) && config.ipc_mode == "host" {
                return refuse(format!(
                    "sysctl '{name}' is not allowed with the host's IPC namespace: it would change the host"
                ));
            }
        }
        if host_network && (args.network.publish_all || !args.network.publish.is_empty()) {
            warnings.push("Published ports are discarded when using host network mode".to_owned());
        }
        if !self.host.selinux {
            let confinement = Confinement::of(config);
            for label in confinement.labels.iter().filter(|label| *label != "disable") {
                warnings
                    .push(format!("SELinux is not enabled on this host. Label {label} discarded."));
            }
        }
        Ok(())
    }
}

/// Puts a user's container where cgroups are delegated, or takes away what it cannot have where none are, and says so.
fn fit_user(limits: &mut Limits, host: &HostFacts) -> Result<Option<String>> {
    let Some(own) = &host.delegation else {
        return Ok(resources::do_without(limits, DEFAULT_PARENT));
    };
    limits.cgroup_parent = own.parent(&limits.cgroup_parent)?;
    Ok(None)
}

/// Root's containers have their cgroups made by the runtime, wherever systemd is.
fn refuse_slice(limits: &Limits) -> Result<()> {
    if is_slice(&limits.cgroup_parent) {
        let parent = &limits.cgroup_parent;
        return Err(Error::Rejected {
            message: format!(
                "cannot put the container's cgroup below `{parent}`: root's containers are in no slice of systemd"
            ),
            hint: Some("give an absolute path, or leave it out".to_owned()),
        });
    }
    Ok(())
}

/// Root has bridges, and has no use for a program that does without.
fn network_of_root(mode: Mode) -> Result<Mode> {
    if let Mode::User(carrier) = mode {
        return Err(Error::Rejected {
            message: format!("network mode `{}` is for users without root", carrier.program()),
            hint: Some("leave --network out for a network with a bridge".to_owned()),
        });
    }
    Ok(mode)
}

/// The command of a container: entry point and command.
fn command(config: &Config, image: &str) -> Result<Vec<String>> {
    let words = config.entrypoint.iter().chain(&config.cmd).flatten().cloned();
    let words: Vec<String> = words.collect();
    if words.is_empty() {
        return Err(Error::Rejected {
            message: format!("no command specified for image `{image}`"),
            hint: Some(
                "the image has no default command; give one after the image's name".to_owned(),
            ),
        });
    }
    Ok(words)
}

fn working_directory(directory: &str) -> Result<String> {
    if directory.is_empty() {
        return Ok(String::new());
    }
    if directory.starts_with('/') {
        // `/a/..` is `/`, whether or not there is an `/a`.
        return Ok(path::clean(directory));
    }
    Err(Error::Rejected {
        message: format!(
            "the working directory '{directory}' is invalid, it needs to be an absolute path"
        ),
        hint: None,
    })
}

/// As in Docker, an option that is repeated for one name holds as it was given last.
pub(super) fn last_of_each<T: Clone>(given: &[T], name: impl Fn(&T) -> &str) -> Vec<T> {
    let is_last =
        |at: usize, one: &T| !given[at + 1..].iter().any(|other| name(other) == name(one));
    let last = given.iter().enumerate().filter(|(at, one)| is_last(*at, one));
    last.map(|(_, one)| one.clone()).collect()
}

#[cfg(test)]
mod tests;
