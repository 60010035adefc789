//! `nman version` and `nman info`: what this is, what it calls, and where it keeps things, under Docker's names.

use crate::apparmor::Availability;
use crate::bundle::host::HostFacts;
use crate::cli::FormatArgs;
use crate::connection::ground;
use crate::container::{Containers, LogDriver};
use crate::doctor::{self, Finding, Host, Verdict, judge};
use crate::error::Result;
use crate::listing::{binary_size, object};
use crate::network::Carrier;
use crate::rootless::Delegation;
use crate::runtime::Runtime;
use crate::selinux::Standing;
use crate::settings::Settings;
use crate::store::Store;
use serde_json::{Value, json};
use std::fmt::Write as _;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The versions of nman and of the runtime. That there is no runtime is said, not an error.
pub fn version(settings: &Settings, args: &FormatArgs) -> Result<String> {
    let found = versions(settings);
    if let Some(format) = &args.format {
        return object(format, &found);
    }
    let text = |pointer: &str| found.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    Ok(format!(
        "Client: nman\n Version:           {}\n OS/Arch:           {}/{}\n Kernel Version:    {}\n\n\
         Runtime: {}\n Version:           {}\n Path:              {}\n",
        text("/Client/Version"),
        text("/Client/Os"),
        text("/Client/Arch"),
        text("/Client/KernelVersion"),
        text("/Server/Components/1/Name"),
        text("/Server/Components/1/Version"),
        text("/Server/Components/1/Details/Path"),
    ))
}

/// There is no server: what Docker's client asks it for, nman answers itself.
fn versions(settings: &Settings) -> Value {
    let (name, path, version) = match Runtime::find(settings.runtime.as_deref()) {
        Ok(path) => {
            let runtime = Runtime::new(&path, settings);
            let version = runtime.version().unwrap_or_else(|error| error.to_string());
            (runtime.name(), path.display().to_string(), version)
        }
        Err(error) => ("none".to_owned(), String::new(), error.to_string()),
    };
    // `nrun version 0.1.0`: the name is there already.
    let short = version.strip_prefix(&name).map_or(version.as_str(), str::trim_start);
    let short = short.strip_prefix("version ").unwrap_or(short);
    let own = json!({
        "Version": VERSION,
        "Os": "linux",
        "Arch": architecture(),
        "KernelVersion": kernel(),
    });
    let mut server = own.clone();
    server["Components"] = json!([
        { "Name": "nman", "Version": VERSION },
        { "Name": name, "Version": short, "Details": { "Path": path } },
    ]);
    json!({ "Client": own, "Server": server })
}

/// Counts, places and what the host can do.
pub fn info(settings: &Settings, args: &FormatArgs) -> Result<String> {
    let host = Host::probe(settings);
    let found = facts(settings, &host)?;
    match &args.format {
        Some(format) => object(format, &found),
        None => Ok(text(&found)),
    }
}

/// What containers are limited and counted by.
struct Cgroups {
    /// Docker's word for who makes them.
    driver: &'static str,
    controllers: Vec<String>,
    swap: bool,
    warning: Option<String>,
}

impl Cgroups {
    /// A user has what is delegated.
    fn of(settings: &Settings, host: &Host) -> Self {
        let (controllers, swap) = (host.cgroups.controllers.clone(), host.cgroups.swap);
        if !settings.rootless {
            return Self { driver: "cgroupfs", controllers, swap, warning: None };
        }
        match Delegation::probe() {
            Ok(own) => {
                let finding = doctor::of_delegation(&Ok(own.clone()));
                let lack = (finding.verdict != Verdict::Good).then_some(finding.found);
                Self {
                    driver: own.manager.as_str(),
                    controllers: own.controllers,
                    swap: own.swap,
                    warning: lack.map(|found| format!("delegated cgroup: {found}")),
                }
            }
            Err(lack) => Self {
                driver: "none",
                controllers: Vec::new(),
                swap: false,
                warning: Some(format!("no delegated cgroup: {lack}")),
            },
        }
    }
}

fn facts(settings: &Settings, host: &Host) -> Result<Value> {
    let containers = Containers::open(&settings.containers())?.list()?;
    let count = |wanted: &str| {
        containers.iter().filter(|(_, state)| state.status.as_str() == wanted).count()
    };
    let running = containers.iter().filter(|(_, state)| state.status.is_up()).count();
    let paused = count("paused");
    let cgroups = Cgroups::of(settings, host);
    let controllers = |name: &str| cgroups.controllers.iter().any(|own| own == name);
    let warning = |finding: &Finding| {
        (finding.verdict == Verdict::Missing)
            .then(|| format!("{}: {}", finding.check, finding.found))
    };
    let (runtime, path) = match &host.runtime {
        Ok((path, _)) => (Runtime::new(path, settings).name(), path.display().to_string()),
        Err(_) => (String::new(), String::new()),
    };
    let mut runtimes = serde_json::Map::new();
    runtimes.insert(runtime.clone(), json!({ "path": path }));
    Ok(json!({
        "Containers": containers.len(),
        "ContainersRunning": running - paused,
        "ContainersPaused": paused,
        "ContainersStopped": containers.len() - running,
        "Images": Store::open(&settings.root)?.list()?.len(),
        "ServerVersion": VERSION,
        "Driver": "overlayfs",
        "DriverStatus": [["Backing Filesystem", filesystem(host.storage.kind)]],
        "Plugins": plugins(settings),
        "LoggingDriver": LogDriver::default().as_str(),
        "CgroupDriver": cgroups.driver,
        "CgroupVersion": host.cgroups.version.to_string(),
        "MemoryLimit": controllers("memory"),
        "SwapLimit": cgroups.swap,
        "CPUShares": controllers("cpu"),
        "CPUSet": controllers("cpuset"),
        "PidsLimit": controllers("pids"),
        "IPv4Forwarding": host.forwarding,
        "DefaultRuntime": runtime,
        "Runtimes": runtimes,
        "SecurityOptions": security_options(settings, host),
        "KernelVersion": host.release,
        "OperatingSystem": operating_system(),
        "OSType": "linux",
        "Architecture": machine(),
        "NCPU": std::thread::available_parallelism().map_or(1, usize::from),
        "MemTotal": memory(),
        "Name": HostFacts::probe().hostname,
        "UserNetwork": user_network(settings),
        "DockerRootDir": settings.root,
        "StateDir": settings.state,
        "Warnings": judge(host).iter().filter_map(warning).chain(cgroups.warning).collect::<Vec<_>>(),
    }))
}

/// The words that options take. Networks on an interface of the host are root's.
fn plugins(settings: &Settings) -> Value {
    let networks: &[&str] = match settings.rootless {
        true => &["bridge", "host", "none"],
        false => &["bridge", "host", "ipvlan", "macvlan", "none"],
    };
    json!({
        "Volume": ["local"],
        "Network": networks,
        "Log": LogDriver::ALL.map(LogDriver::as_str),
    })
}

/// The namespace that a user's networks stand in, and the process that is its way out; of root's there is none.
fn user_network(settings: &Settings) -> Value {
    if !settings.rootless {
        return Value::Null;
    }
    let (namespace, uplink) = ground::describe(settings);
    json!({
        "Namespace": namespace.unwrap_or_default(),
        "Uplink": uplink.map(Carrier::program).unwrap_or_default(),
    })
}

/// Docker's words for what keeps containers apart from the host.
fn security_options(settings: &Settings, host: &Host) -> Vec<&'static str> {
    let confines = host.apparmor.as_ref().is_some_and(Availability::is_given);
    let labels = matches!(host.selinux, Some(Standing::Enforced | Standing::Permissive));
    let has_cgroups = host.namespaces.iter().any(|kind| kind == "cgroup");
    let mut options = vec!["name=seccomp,profile=builtin"];
    options.extend(confines.then_some("name=apparmor"));
    options.extend(labels.then_some("name=selinux"));
    options.extend(settings.rootless.then_some("name=rootless"));
    options.extend(has_cgroups.then_some("name=cgroupns"));
    options
}

/// The lines of `docker info` that mean something without a daemon.
fn text(found: &Value) -> String {
    let mut text = String::new();
    let of_containers = [
        ("Containers", "Containers"),
        (" Running", "ContainersRunning"),
        (" Paused", "ContainersPaused"),
        (" Stopped", "ContainersStopped"),
        ("Images", "Images"),
        ("Server Version", "ServerVersion"),
        ("Storage Driver", "Driver"),
    ];
    lines(&mut text, found, &of_containers);
    let _ = writeln!(text, " Backing Filesystem: {}", shown(&found["DriverStatus"][0][1]));
    let of_drivers = [
        ("Logging Driver", "LoggingDriver"),
        ("Cgroup Driver", "CgroupDriver"),
        ("Cgroup Version", "CgroupVersion"),
    ];
    lines(&mut text, found, &of_drivers);
    text.push_str("Plugins:\n");
    for kind in ["Volume", "Network", "Log"] {
        let names: Vec<String> = items(&found["Plugins"][kind]).map(shown).collect();
        let _ = writeln!(text, " {kind}: {}", names.join(" "));
    }
    lines(&mut text, found, &[("Default Runtime", "DefaultRuntime")]);
    text.push_str("Security Options:\n");
    for option in items(&found["SecurityOptions"]).map(shown) {
        let name =
            option.strip_prefix("name=").unwrap_or(&option).split(',').next().unwrap_or_default();
        let _ = writeln!(text, " {name}");
    }
    let of_machine = [
        ("Kernel Version", "KernelVersion"),
        ("Operating System", "OperatingSystem"),
        ("OSType", "OSType"),
        ("Architecture", "Architecture"),
        ("CPUs", "NCPU"),
    ];
    lines(&mut text, found, &of_machine);
    let memory = binary_size(found["MemTotal"].as_u64().unwrap_or(0));
    let _ = writeln!(text, "Total Memory: {memory}");
    if let Some(namespace) = found["UserNetwork"]["Namespace"].as_str() {
        let or_none =
            |text: &str| if text.is_empty() { "none".to_owned() } else { text.to_owned() };
        let uplink = found["UserNetwork"]["Uplink"].as_str().unwrap_or_default();
        let _ = writeln!(text, "Network Namespace: {}", or_none(namespace));
        let _ = writeln!(text, " Uplink: {}", or_none(uplink));
    }
    let of_places = [("Name", "Name"), ("Root Dir", "DockerRootDir"), ("State Dir", "StateDir")];
    lines(&mut text, found, &of_places);
    for warning in items(&found["Warnings"]) {
        let _ = writeln!(text, "WARNING: {} (`nman doctor` says what to do)", shown(warning));
    }
    text
}

/// A line for each field, under its name in Docker's text.
fn lines(text: &mut String, found: &Value, fields: &[(&str, &str)]) {
    for (line, field) in fields {
        let _ = writeln!(text, "{line}: {}", shown(&found[*field]));
    }
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn kernel() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

fn machine() -> String {
    rustix::system::uname().machine().to_string_lossy().into_owned()
}

/// Go's name of the processor's kind.
fn architecture() -> String {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
    .to_owned()
}

fn operating_system() -> String {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or("Linux", |name| name.trim_matches('"')).to_owned()
}

fn memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// The names of the file systems that people keep images on.
fn filesystem(kind: u64) -> &'static str {
    match kind {
        0xef53 => "extfs",
        0x5846_5342 => "xfs",
        0x9123_683e => "btrfs",
        0x0102_1994 => "tmpfs",
        0x2fc1_2fc1 => "zfs",
        0xf2f5_2010 => "f2fs",
        0x794c_7630 => "overlayfs",
        _ => "unknown",
    }
}
