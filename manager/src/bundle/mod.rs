//! From an image and a command line to an OCI bundle's config.json: Docker's defaults, as a pure value.
//!
//! [`plan`] opens nothing. What it has to know from outside, such as who `--user` is in the image's own files, is
//! looked up before, in [`rootfs`] and [`host`], and passed in.

mod defaults;
pub mod host;
pub mod rootfs;
pub mod user;

use crate::cli::CreateArgs;
use crate::container::ContainerId;
use crate::error::{Error, Result};
use defaults::{device_rules, masked_paths, mount, read_only_paths};
use host::HostFacts;
use oci_spec::OciSpecError;
use oci_spec::image::ImageConfiguration;
use oci_spec::runtime::{
    LinuxBuilder, LinuxCpuBuilder, LinuxMemoryBuilder, LinuxNamespace, LinuxNamespaceBuilder,
    LinuxNamespaceType, LinuxResources, LinuxResourcesBuilder, Mount, PosixRlimitBuilder,
    PosixRlimitType, Process, ProcessBuilder, RootBuilder, Spec, SpecBuilder, UserBuilder,
};
use std::path::{Path, PathBuf};
use user::Identity;

/// What goes into a plan.
pub struct Inputs<'a> {
    /// The container.
    pub id: &'a ContainerId,
    /// What was typed.
    pub args: &'a CreateArgs,
    /// Variables of `--env-file` and `-e`, in order; without a value, they are taken away.
    pub env: &'a [(String, Option<String>)],
    /// The image's configuration.
    pub image: &'a ImageConfiguration,
    /// Who the process is.
    pub identity: &'a Identity,
    /// Directories and files of the host, sources resolved.
    pub binds: &'a [Bind],
    /// The network namespace.
    pub network: &'a NetworkNamespace,
    /// The host name.
    pub hostname: &'a str,
    /// The size of the client's terminal: rows, columns.
    pub window: Option<(u16, u16)>,
    /// Facts of the host.
    pub host: &'a HostFacts,
}

/// Something of the host's that the container sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// On the host.
    pub source: PathBuf,
    /// In the container.
    pub target: String,
    /// Read-only.
    pub read_only: bool,
    /// Propagation, such as `rprivate`.
    pub propagation: String,
}

/// Which network namespace a container gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkNamespace {
    /// The host's.
    Host,
    /// A new one, made by the runtime.
    New,
    /// One that was made and connected before.
    Prepared(PathBuf),
}

/// What a container without a PATH of its own gets, as in Docker.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Docker's limit of open files, where the host allows it.
const OPEN_FILES: u64 = 1024 * 1024;

/// The command of a container: the image's entry point and command, as `--entrypoint` and the words after the image
/// change them. An entry point on the command line makes the image's command void, as in Docker.
pub fn command(args: &CreateArgs, image: &ImageConfiguration) -> Result<Vec<String>> {
    let config = image.config().as_ref();
    let image_entrypoint = config.and_then(|config| config.entrypoint().clone());
    let image_command = config.and_then(|config| config.cmd().clone());
    let (mut words, command) = match &args.process.entrypoint {
        Some(entrypoint) if entrypoint.is_empty() => (Vec::new(), None),
        Some(entrypoint) => (vec![entrypoint.clone()], None),
        None => (image_entrypoint.unwrap_or_default(), image_command),
    };
    if args.command().is_empty() {
        words.extend(command.unwrap_or_default());
    } else {
        words.extend_from_slice(args.command());
    }
    if words.is_empty() {
        return Err(Error::Rejected {
            message: format!("no command specified for image `{}`", args.image()),
            hint: Some(
                "the image has no default command; give one after the image's name".to_owned(),
            ),
        });
    }
    Ok(words)
}

/// The working directory of a container.
pub fn working_directory(args: &CreateArgs, image: &ImageConfiguration) -> Result<String> {
    let of_image = image.config().as_ref().and_then(|config| config.working_dir().clone());
    let directory =
        args.process.workdir.clone().or(of_image).filter(|directory| !directory.is_empty());
    let directory = directory.unwrap_or_else(|| "/".to_owned());
    if !directory.starts_with('/') {
        return Err(Error::Rejected {
            message: format!(
                "the working directory '{directory}' is invalid, it needs to be an absolute path"
            ),
            hint: None,
        });
    }
    Ok(directory)
}

/// Plans the whole of config.json.
pub fn plan(inputs: &Inputs<'_>) -> Result<Spec> {
    build(inputs).and_then(|spec| {
        spec.map_err(|error| Error::Rejected {
            message: format!("cannot plan config.json: {error}"),
            hint: None,
        })
    })
}

/// The outer result is ours, the inner one that of the types' builders, which fail only on a field left out.
fn build(inputs: &Inputs<'_>) -> Result<std::result::Result<Spec, OciSpecError>> {
    let mut words = command(inputs.args, inputs.image)?;
    if inputs.args.supervision.init {
        words.splice(..0, [crate::supervise::INIT.to_owned(), "--".to_owned()]);
    }
    let cwd = working_directory(inputs.args, inputs.image)?;
    let seccomp = defaults::seccomp()?;
    let assemble = || {
        let root = RootBuilder::default()
            .path("rootfs")
            .readonly(inputs.args.storage.read_only)
            .build()?;
        let linux = LinuxBuilder::default()
            .cgroups_path(format!("{}/{}", inputs.args.resources.cgroup_parent, inputs.id))
            .namespaces(namespaces(inputs.network)?)
            .resources(resources(inputs)?)
            .masked_paths(masked_paths())
            .readonly_paths(read_only_paths())
            .seccomp(seccomp)
            .build()?;
        SpecBuilder::default()
            .version("1.0.2")
            .root(root)
            .hostname(inputs.hostname)
            .process(process(inputs, words, cwd)?)
            .mounts(mounts(inputs)?)
            .linux(linux)
            .build()
    };
    Ok(assemble())
}

fn process(
    inputs: &Inputs<'_>,
    words: Vec<String>,
    cwd: String,
) -> std::result::Result<Process, OciSpecError> {
    let limit = inputs.host.open_files.min(OPEN_FILES);
    let rlimit = PosixRlimitBuilder::default()
        .typ(PosixRlimitType::RlimitNofile)
        .soft(limit)
        .hard(limit)
        .build()?;
    let mut process = ProcessBuilder::default()
        .terminal(inputs.args.tty)
        .user(process_user(inputs.identity)?)
        .args(words)
        .env(environment(inputs))
        .cwd(cwd)
        .capabilities(defaults::capabilities()?)
        .rlimits(vec![rlimit])
        .no_new_privileges(false)
        .oom_score_adj(0)
        .build()?;
    if let Some((rows, columns)) = inputs.window.filter(|_| inputs.args.tty) {
        process.set_console_size(Some(console_size(rows, columns)?));
    }
    Ok(process)
}

/// The ids of a process in the runtime's terms.
pub fn process_user(
    identity: &Identity,
) -> std::result::Result<oci_spec::runtime::User, OciSpecError> {
    UserBuilder::default()
        .uid(identity.uid)
        .gid(identity.gid)
        .additional_gids(identity.groups.clone())
        .build()
}

/// A terminal's size in the runtime's terms.
pub fn console_size(
    rows: u16,
    columns: u16,
) -> std::result::Result<oci_spec::runtime::Box, OciSpecError> {
    oci_spec::runtime::BoxBuilder::default().height(rows).width(columns).build()
}

/// Docker's order: our own defaults, the image's, the command line's; a later one replaces an earlier in its place.
fn environment(inputs: &Inputs<'_>) -> Vec<String> {
    let mut env = vec![("PATH".to_owned(), DEFAULT_PATH.to_owned())];
    set(&mut env, "HOSTNAME", inputs.hostname);
    if inputs.args.tty {
        set(&mut env, "TERM", "xterm");
    }
    let of_image = inputs.image.config().as_ref().and_then(|config| config.env().as_ref());
    for variable in of_image.into_iter().flatten() {
        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
        set(&mut env, name, value);
    }
    change(&mut env, inputs.env);
    if !env.iter().any(|(name, _)| name == "HOME") {
        set(&mut env, "HOME", &inputs.identity.home);
    }
    env.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

/// Applies `-e` options to an environment: a value sets, none takes away.
pub fn change(env: &mut Vec<(String, String)>, changes: &[(String, Option<String>)]) {
    for (name, value) in changes {
        match value {
            Some(value) => set(env, name, value),
            None => env.retain(|(known, _)| known != name),
        }
    }
}

fn set(env: &mut Vec<(String, String)>, name: &str, value: &str) {
    match env.iter_mut().find(|(known, _)| known == name) {
        Some((_, old)) => value.clone_into(old),
        None => env.push((name.to_owned(), value.to_owned())),
    }
}

fn namespaces(
    network: &NetworkNamespace,
) -> std::result::Result<Vec<LinuxNamespace>, OciSpecError> {
    use LinuxNamespaceType as Type;
    let new = |kind| LinuxNamespaceBuilder::default().typ(kind).build();
    let mut namespaces = [Type::Mount, Type::Uts, Type::Ipc, Type::Pid, Type::Cgroup]
        .map(new)
        .into_iter()
        .collect::<std::result::Result<Vec<_>, _>>()?;
    match network {
        NetworkNamespace::Host => {}
        NetworkNamespace::New => namespaces.push(new(Type::Network)?),
        NetworkNamespace::Prepared(path) => namespaces
            .push(LinuxNamespaceBuilder::default().typ(Type::Network).path(path.clone()).build()?),
    }
    Ok(namespaces)
}

fn resources(inputs: &Inputs<'_>) -> std::result::Result<LinuxResources, OciSpecError> {
    let args = &inputs.args.resources;
    let mut resources = LinuxResourcesBuilder::default().devices(device_rules()?).build()?;
    if let Some(memory) = args.memory {
        let mut limits = LinuxMemoryBuilder::default().limit(memory.0);
        if inputs.host.swap_limit {
            // As Docker: as much swap as memory, unless it is said otherwise.
            limits = limits.swap(memory.0.saturating_mul(2));
        }
        resources.set_memory(Some(limits.build()?));
    }
    if args.cpus.is_some() || args.cpuset_cpus.is_some() {
        let mut cpu = LinuxCpuBuilder::default();
        if let Some(cpus) = args.cpus {
            cpu = cpu.period(crate::cli::CPU_PERIOD).quota(cpus.quota);
        }
        if let Some(set) = &args.cpuset_cpus {
            cpu = cpu.cpus(set.0.clone());
        }
        resources.set_cpu(Some(cpu.build()?));
    }
    Ok(resources)
}

fn mounts(inputs: &Inputs<'_>) -> std::result::Result<Vec<Mount>, OciSpecError> {
    let mut mounts = defaults::mounts()?;
    // A bind over a default mount, such as /dev/shm, replaces it; parents come before what is below them.
    mounts.retain(|mount| {
        !inputs.binds.iter().any(|bind| mount.destination() == Path::new(&bind.target))
    });
    let mut binds: Vec<&Bind> = inputs.binds.iter().collect();
    binds.sort_by_key(|bind| bind.target.split('/').filter(|part| !part.is_empty()).count());
    for bind in binds {
        let access = if bind.read_only { "ro" } else { "rw" };
        let source = bind.source.to_string_lossy();
        mounts.push(mount("bind", &source, &bind.target, &["rbind", access, &bind.propagation])?);
    }
    Ok(mounts)
}

#[cfg(test)]
mod tests;
