//! A container of a user without root: its network namespace is connected by a program that turns what the container sends into
//! connections of its own, as any program of the user may make them.
//!
//! One process for each container, and one for the namespace that the user's networks are in. It is known by the path of the
//! namespace, `netns` in a directory, on its command line; a file in that directory has its process id.

mod pasta;
mod slirp4netns;

use crate::container::{Dir, Record};
use crate::error::{Error, Result};
use crate::network::{Carrier, Mode, PortMapping, PortRequest, Protocol, Subnet, port};
use crate::process::{self, Process};
use crate::program::find_program;
use rustix::process::Signal;
use std::ffi::OsStr;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The address of every such container, in a network of its own: those of slirp4netns, which people know.
pub(super) const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 100);
/// The length of that network's prefix, and its way out.
const PREFIX: u8 = 24;
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

/// What the interface is called in a container.
const INTERFACE: &str = "eth0";

/// Files in the directory: the process id, what the program says, and what it publishes.
const PID: &str = "carrier.pid";
const LOG: &str = "carrier.log";
const PORTS: &str = "carrier.json";

/// How long it may take to be ready, and to end.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(2);

/// The program, if it is there.
fn find(carrier: Carrier) -> Option<PathBuf> {
    find_program(carrier.program())
}

/// The programs, the preferred one first.
const ALL: [Carrier; 2] = [Carrier::Pasta, Carrier::Slirp4netns];

/// The one to take where nothing is said.
pub(super) fn preferred() -> Option<Carrier> {
    ALL.into_iter().find(|carrier| find(*carrier).is_some())
}

/// The namespace that is connected.
fn namespace_of(place: &Path) -> PathBuf {
    place.join("netns")
}

/// Connects the namespace that is bound in the container's directory, and publishes the container's ports.
pub(super) fn connect(carrier: Carrier, record: &Record, dir: &Dir) -> Result<()> {
    let name = carrier.program();
    let program = find(carrier).ok_or_else(|| Error::Rejected {
        message: format!("cannot connect the container: there is no `{name}` in PATH"),
        hint: Some(format!("let root install the package `{}`", carrier.package())),
    })?;
    let place = dir.path();
    // What an nman that was killed has left.
    disconnect(place)?;
    let mut requests = Vec::new();
    for text in &record.network.publish {
        requests.extend(port::parse(text)?);
    }
    let published = choose_ports(carrier, &requests)?;
    let connected = start(carrier, &program, &published, place, INTERFACE).and_then(|()| {
        let ports: Vec<PortMapping> = published.into_iter().flat_map(|(_, ports)| ports).collect();
        if carrier == Carrier::Slirp4netns {
            ports.iter().try_for_each(|port| slirp4netns::publish(place, port))?;
        }
        dir.write(PORTS, &ports)
    });
    connected.inspect_err(|_| {
        // The error that is returned says more.
        let _ = disconnect(place);
    })
}

/// Connects the namespace `netns` in a directory by the first program that can, and publishes nothing.
///
/// # Errors
/// What the first of them says, or that there is none.
pub(super) fn connect_any(place: &Path, interface: &str) -> Result<()> {
    let mut failure = None;
    for carrier in ALL {
        let Some(program) = find(carrier) else { continue };
        match disconnect(place).and_then(|()| start(carrier, &program, &[], place, interface)) {
            Ok(()) => return Ok(()),
            Err(error) => drop(failure.get_or_insert(error)),
        }
    }
    Err(failure.unwrap_or_else(|| Error::Rejected {
        message: "there is neither `pasta` nor `slirp4netns` in PATH".to_owned(),
        hint: Some(format!("let root install the package `{}`", ALL[0].package())),
    }))
}

/// The network that the interface of what is connected has addresses of.
pub(super) fn subnet() -> Option<Subnet> {
    Subnet::of(ADDRESS.into(), PREFIX)
}

/// The host's ports for each request. They are free when they are looked for; the program itself says so if one is taken since.
fn choose_ports(
    carrier: Carrier,
    requests: &[PortRequest],
) -> Result<Vec<(PortRequest, Vec<PortMapping>)>> {
    let v6 = carrier == Carrier::Pasta && Path::new("/proc/net/if_inet6").exists();
    let all = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    let everywhere = if v6 { &all[..] } else { &all[..1] };
    let mut held = Vec::new();
    let mut published = Vec::new();
    for request in requests {
        if request.protocol == Protocol::Sctp {
            return Err(no_sctp(request));
        }
        if !v6 && request.host_address.is_some_and(|address| address.is_ipv6()) {
            return Err(refused(request, "there is no IPv6 here"));
        }
        let one = port::reserve(std::slice::from_ref(request), everywhere, &[])?;
        held.extend(one.sockets);
        published.push((request.clone(), one.ports));
    }
    Ok(published)
}

/// Why a port is not published without root.
fn refused(request: &PortRequest, why: &str) -> Error {
    let PortRequest { container_port, protocol, .. } = request;
    Error::refusal(format!("cannot publish port {container_port}/{protocol}: {why}"))
}

pub(super) fn no_sctp(request: &PortRequest) -> Error {
    refused(request, "without root, there is TCP and UDP")
}

fn start(
    carrier: Carrier,
    program: &Path,
    published: &[(PortRequest, Vec<PortMapping>)],
    place: &Path,
    interface: &str,
) -> Result<()> {
    let words = match carrier {
        Carrier::Pasta => pasta::arguments(place, interface, published),
        Carrier::Slirp4netns => slirp4netns::arguments(place, interface),
    };
    let path = place.join(LOG);
    let log = fs::File::create(&path).map_err(Error::io("write", &path))?;
    let copy = log.try_clone().map_err(Error::io("write", &path))?;
    let mut child = Command::new(program)
        .args(words)
        .stdin(Stdio::null())
        .stdout(copy)
        .stderr(log)
        .current_dir(place)
        // A key that interrupts the client of `run` is not meant for it.
        .process_group(0)
        .spawn()
        .map_err(Error::system(format!("start `{}`", program.display())))?;
    if carrier == Carrier::Slirp4netns {
        let path = place.join(PID);
        fs::write(&path, format!("{}\n", child.id())).map_err(Error::io("write", &path))?;
    }
    let is_ready = || match carrier {
        Carrier::Pasta => pasta::is_ready(place),
        Carrier::Slirp4netns => slirp4netns::is_ready(place),
    };
    let begun = Instant::now();
    while !is_ready() {
        let ended = child.try_wait().map_err(Error::system("wait for what connects it"))?;
        if ended.is_some() || begun.elapsed() > PATIENCE {
            let log = fs::read_to_string(&path).unwrap_or_default();
            return Err(gave_up(carrier, &mut child, &log));
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// Why it did not become ready, in its own words.
fn gave_up(carrier: Carrier, child: &mut Child, log: &str) -> Error {
    // Refused when it has ended.
    let _ = child.kill();
    let _ = child.wait();
    let words = said(log).unwrap_or("it does not become ready, and does not say why");
    Error::Rejected {
        message: format!("cannot connect the container with `{}`: {words}", carrier.program()),
        hint: hint(words).map(str::to_owned),
    }
}

/// The last line that is about the matter: pasta complains of syslog first where there is none.
fn said(log: &str) -> Option<&str> {
    let mut lines = log.lines().rev().map(str::trim);
    lines.find(|line| !line.is_empty() && !line.contains("to syslog"))
}

fn hint(words: &str) -> Option<&'static str> {
    // The words of pasta, of its releases until 2023, and of slirp4netns.
    if ["tun device", "tun socket", "/dev/net/tun"].iter().any(|said| words.contains(said)) {
        return Some(
            "every user must be able to open /dev/net/tun: let root run `modprobe tun; chmod 666 /dev/net/tun`; `--network none` and `--network host` do without",
        );
    }
    words.contains("nterface").then_some(
        "pasta needs an interface of the host with a default route: give `--network none` or `--network host` without one",
    )
}

/// Ends it, and forgets what it published. It is no error if it is not there.
pub(super) fn disconnect(place: &Path) -> Result<()> {
    let noted = pid_of(place);
    // One whose process id was not written down in time is looked for.
    let lost = noted.is_none() && place.join(LOG).exists();
    let pids = if lost { process::all() } else { noted.into_iter().collect() };
    pids.into_iter().for_each(|pid| end(place, pid));
    for name in [PID, PORTS, slirp4netns::SOCKET, LOG] {
        let path = place.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io("remove", &path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Kills a process and waits for its end, if it is one that connects the namespace.
fn end(place: &Path, number: i32) {
    let Some(carrier) = Process::open(number, |_| is_ours(place, number)) else { return };
    // Refused when it has ended meanwhile.
    let _ = carrier.send(Signal::KILL);
    let begun = Instant::now();
    while process::is_alive(number) && begun.elapsed() < PATIENCE {
        std::thread::sleep(PAUSE);
    }
}

/// The process id that was written down, with a line's end.
fn pid_of(place: &Path) -> Option<i32> {
    fs::read_to_string(place.join(PID)).ok()?.strip_suffix('\n')?.parse().ok()
}

/// The process that connects a namespace.
pub(super) fn process(place: &Path) -> Option<i32> {
    pid_of(place).filter(|&pid| is_ours(place, pid))
}

/// The program that connects a namespace, by the name that it was started under.
pub(super) fn program(place: &Path) -> Option<Carrier> {
    let line = fs::read(format!("/proc/{}/cmdline", process(place)?)).ok()?;
    let first = line.split(|byte| *byte == 0).next()?;
    let name = Path::new(OsStr::from_bytes(first)).file_name()?;
    ALL.into_iter().find(|carrier| name == carrier.program())
}

fn is_ours(place: &Path, pid: i32) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let namespace = namespace_of(place);
    line.split(|byte| *byte == 0).any(|word| word == namespace.as_os_str().as_bytes())
}

/// The ports that it publishes for a container, if that is connected by one.
#[must_use]
pub fn published(record: &Record, dir: &Dir) -> Vec<PortMapping> {
    if !matches!(record.network.network.parse(), Ok(Mode::User(_))) {
        return Vec::new();
    }
    let text = fs::read(dir.join(PORTS)).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_syslog_is_not_the_reason() {
        let log = "Failed to send 20 bytes to syslog\nCouldn't open network namespace /x\nFailed to send 3 bytes to syslog\n";
        assert_eq!(said(log), Some("Couldn't open network namespace /x"));
        assert_eq!(said("Failed to send 20 bytes to syslog\n"), None);
        let refused = hint("Failed to open() /dev/net/tun: Permission denied");
        assert_eq!(hint("Failed to open tun socket in namespace"), refused);
        assert!(refused.unwrap().contains("chmod"));
    }

    #[test]
    fn one_family_alone_is_published_by_slirp4netns() {
        let request = |text: &str| port::parse(text).unwrap();
        let refused = choose_ports(Carrier::Slirp4netns, &request("[::1]::80")).unwrap_err();
        assert!(refused.to_string().contains("no IPv6"), "{refused}");
        let refused = choose_ports(Carrier::Pasta, &request("80/sctp")).unwrap_err();
        assert!(refused.to_string().contains("TCP and UDP"), "{refused}");
        let chosen = choose_ports(Carrier::Slirp4netns, &request("127.0.0.1::80")).unwrap();
        assert_eq!(chosen[0].1.len(), 1);
    }
}
