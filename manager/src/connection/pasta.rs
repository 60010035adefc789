//! A container of a user without root: its network namespace is connected by pasta(1), a program that turns what the container
//! sends into connections of its own, as any program of the user may make them.
//!
//! One process for each container. It is found again by the file in the container's directory that it writes its process id to
//! when everything is ready; that file, and the path of the namespace on its command line, say that it is the one. It ends by
//! itself when the container's directory goes.

use super::namespace_path;
use crate::container::{Dir, Record};
use crate::error::{Error, Result};
use crate::network::{Mode, PortMapping, PortRequest, Protocol, port};
use crate::process;
use crate::rootless::mapping::find_program;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::ffi::OsString;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The address of every such container, in a network of its own: that of slirp4netns, which people know.
pub(super) const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 100);
/// The length of that network's prefix, and its way out.
const PREFIX: &str = "24";
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

/// Files in the container's directory: its process id, what it says, and what it publishes.
const PID: &str = "pasta.pid";
const LOG: &str = "pasta.log";
const PORTS: &str = "pasta.json";

/// How long it may take to be ready, and to end.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(2);

/// The program, if it is there.
pub(super) fn find() -> Option<PathBuf> {
    find_program("pasta")
}

/// Connects the namespace that is bound in the container's directory, and publishes the container's ports.
pub(super) fn connect(record: &Record, dir: &Dir) -> Result<()> {
    let program = find().ok_or_else(|| Error::Rejected {
        message: "cannot connect the container: there is no `pasta` in PATH".to_owned(),
        hint: Some("let root install the package `passt`".to_owned()),
    })?;
    // What an nman that was killed has left.
    disconnect(dir)?;
    let mut requests = Vec::new();
    for text in &record.network.publish {
        requests.extend(port::parse(text)?);
    }
    let published = choose_ports(&requests)?;
    let mut words = arguments(&namespace_path(dir), &dir.join(PID));
    words.extend(published.iter().flat_map(|(request, ports)| forward(request, ports)));
    let ports: Vec<PortMapping> = published.into_iter().flat_map(|(_, ports)| ports).collect();
    dir.write(PORTS, &ports)?;
    start(&program, &words, dir).inspect_err(|_| {
        // The error that is returned says more.
        let _ = disconnect(dir);
    })
}

/// The host's ports for each request. They are free when they are looked for; pasta itself says so if one is taken since.
fn choose_ports(requests: &[PortRequest]) -> Result<Vec<(PortRequest, Vec<PortMapping>)>> {
    let v6 = Path::new("/proc/net/if_inet6").exists();
    let all = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    let everywhere = if v6 { &all[..] } else { &all[..1] };
    let mut held = Vec::new();
    let mut published = Vec::new();
    for request in requests {
        if request.protocol == Protocol::Sctp {
            return Err(Error::refusal(format!(
                "cannot publish port {}/sctp: without root, there is TCP and UDP",
                request.container_port
            )));
        }
        let one = port::reserve(std::slice::from_ref(request), everywhere, &[])?;
        held.extend(one.sockets);
        published.push((request.clone(), one.ports));
    }
    Ok(published)
}

/// The command line without ports. The container is not to reach what listens on the host's loopback interface alone: neither by
/// the gateway's address (`--no-map-gw`), nor by its own loopback interface (`-T`, `-U`).
fn arguments(namespace: &Path, pid: &Path) -> Vec<OsString> {
    let (address, gateway) = (ADDRESS.to_string(), GATEWAY.to_string());
    let words = [
        "--foreground",
        "--quiet",
        "--config-net",
        "--no-map-gw",
        "-I",
        "eth0",
        "-a",
        &address,
        "-n",
        PREFIX,
        "-g",
        &gateway,
        "-T",
        "none",
        "-U",
        "none",
    ];
    let mut words: Vec<OsString> = words.iter().map(OsString::from).collect();
    words.extend(["--pid".into(), pid.into(), "--netns".into(), namespace.into()]);
    words
}

/// The option for one published port; one without an address is published in both families at once.
fn forward(request: &PortRequest, ports: &[PortMapping]) -> Vec<OsString> {
    let option = if request.protocol == Protocol::Tcp { "-t" } else { "-u" };
    let address = request.host_address.map(|address| format!("{address}/")).unwrap_or_default();
    let spec = |port: &PortMapping| format!("{address}{}:{}", port.host_port, port.container_port);
    ports.first().map_or_else(Vec::new, |port| vec![option.into(), spec(port).into()])
}

fn start(program: &Path, words: &[OsString], dir: &Dir) -> Result<()> {
    let path = dir.join(LOG);
    let log = fs::File::create(&path).map_err(Error::io("write", &path))?;
    let copy = log.try_clone().map_err(Error::io("write", &path))?;
    let mut child = Command::new(program)
        .args(words)
        .stdin(Stdio::null())
        .stdout(copy)
        .stderr(log)
        .current_dir("/")
        // A key that interrupts the client of `run` is not meant for it.
        .process_group(0)
        .spawn()
        .map_err(Error::system(format!("start `{}`", program.display())))?;
    let begun = Instant::now();
    while pid_of(dir).is_none() {
        let ended = child.try_wait().map_err(Error::system("wait for `pasta`"))?;
        if ended.is_some() || begun.elapsed() > PATIENCE {
            return Err(gave_up(&mut child, &fs::read_to_string(&path).unwrap_or_default()));
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// Why it did not become ready, in its own words.
fn gave_up(child: &mut Child, log: &str) -> Error {
    // Refused when it has ended.
    let _ = child.kill();
    let _ = child.wait();
    let words = said(log).unwrap_or("it does not become ready, and does not say why");
    Error::Rejected {
        message: format!("cannot connect the container with `pasta`: {words}"),
        hint: hint(words).map(str::to_owned),
    }
}

/// The last line that is about the matter: it complains of syslog first where there is none.
fn said(log: &str) -> Option<&str> {
    let mut lines = log.lines().rev().map(str::trim);
    lines.find(|line| !line.is_empty() && !line.contains("to syslog"))
}

fn hint(words: &str) -> Option<&'static str> {
    if words.contains("/dev/net/tun") || words.contains("tun device") {
        return Some(
            "every user must be able to open /dev/net/tun: let root run `chmod 666 /dev/net/tun`",
        );
    }
    let offline = ["interface not usable", "routable interface", "nterface"];
    offline.iter().any(|known| words.contains(known)).then_some(
        "pasta needs an interface of the host with a default route: give `--network none` or `--network host` without one",
    )
}

/// Ends it, and forgets what it published. It is no error if it is not there.
pub(super) fn disconnect(dir: &Dir) -> Result<()> {
    if let Some(pid) = pid_of(dir).and_then(Pid::from_raw)
        && let Ok(opened) = pidfd_open(pid, PidfdFlags::empty())
        // The id may have been used again before it was opened.
        && is_ours(dir, pid.as_raw_nonzero().get())
    {
        // Refused when it has ended meanwhile.
        let _ = pidfd_send_signal(&opened, Signal::KILL);
        let begun = Instant::now();
        while process::is_alive(pid.as_raw_nonzero().get()) && begun.elapsed() < PATIENCE {
            std::thread::sleep(PAUSE);
        }
    }
    for name in [PID, PORTS] {
        let path = dir.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io("remove", &path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The process id that it has written, with a line's end: before that it is not ready.
fn pid_of(dir: &Dir) -> Option<i32> {
    fs::read_to_string(dir.join(PID)).ok()?.strip_suffix('\n')?.parse().ok()
}

fn is_ours(dir: &Dir, pid: i32) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let namespace = namespace_path(dir);
    line.split(|byte| *byte == 0).any(|word| word == namespace.as_os_str().as_bytes())
}

/// The ports that it publishes for a container, if that is connected by it.
#[must_use]
pub fn published(record: &Record, dir: &Dir) -> Vec<PortMapping> {
    if !matches!(record.network.network.parse(), Ok(Mode::Pasta)) {
        return Vec::new();
    }
    let text = fs::read(dir.join(PORTS)).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarded(text: &str, host: u16) -> String {
        let request = port::parse(text).unwrap().remove(0);
        let PortRequest { container_port, protocol, .. } = request;
        let host_address = request.host_address.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
        let port = PortMapping { host_address, host_port: host, container_port, protocol };
        let words: Vec<String> = forward(&request, &[port, port])
            .iter()
            .map(|word| word.to_str().unwrap().to_owned())
            .collect();
        words.join(" ")
    }

    #[test]
    fn a_published_port_is_an_option() {
        assert_eq!(forwarded("8080:80", 8080), "-t 8080:80");
        assert_eq!(forwarded("53/udp", 41_000), "-u 41000:53");
        assert_eq!(forwarded("127.0.0.1:8080:80", 8080), "-t 127.0.0.1/8080:80");
        assert_eq!(forwarded("[::1]:8080:80", 8080), "-t ::1/8080:80");
    }

    #[test]
    fn the_hosts_loopback_interface_is_out_of_reach() {
        let words = arguments(Path::new("/c/netns"), Path::new("/c/pasta.pid"));
        let line = words.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ");
        assert!(line.contains(" --no-map-gw ") && line.contains(" -T none -U none "), "{line}");
        assert!(line.ends_with(" --pid /c/pasta.pid --netns /c/netns"), "{line}");
    }

    #[test]
    fn what_it_says_of_syslog_is_not_the_reason() {
        let log = "Failed to send 20 bytes to syslog\nCouldn't open network namespace /x\nFailed to send 3 bytes to syslog\n";
        assert_eq!(said(log), Some("Couldn't open network namespace /x"));
        assert_eq!(said("Failed to send 20 bytes to syslog\n"), None);
        assert!(
            hint("Failed to open() /dev/net/tun: Permission denied").unwrap().contains("chmod")
        );
    }
}
