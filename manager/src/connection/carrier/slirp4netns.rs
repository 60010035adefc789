//! slirp4netns(1): ports are published by requests on a socket of its own, in JSON, one request a connection. IPv4 alone.

use super::{ADDRESS, namespace_of};
use crate::error::{Error, Result};
use crate::network::PortMapping;
use rustix::fs::{Mode, OFlags, open};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Its socket, in the directory. It is started there: the whole path may be longer than that of a socket can be.
pub(super) const SOCKET: &str = "slirp.sock";

/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The command line. What listens on the host's loopback interface alone is not to be reached.
pub(super) fn arguments(place: &Path, interface: &str) -> Vec<OsString> {
    let words = [
        "--configure",
        "--mtu=65520",
        "--disable-host-loopback",
        "--enable-sandbox",
        "--enable-seccomp",
        "--api-socket",
        SOCKET,
        "--netns-type=path",
    ];
    let mut words: Vec<OsString> = words.iter().map(OsString::from).collect();
    words.extend([namespace_of(place).into(), interface.into()]);
    words
}

/// Whether it answers, which it does when the interface is there.
pub(super) fn is_ready(place: &Path) -> bool {
    ask(place, &json!({"execute": "list_hostfwd"})).is_ok()
}

/// Publishes a port of the container.
///
/// # Errors
/// It refuses, as when somebody else has the port by now.
pub(super) fn publish(place: &Path, port: &PortMapping) -> Result<()> {
    let request = forward(port);
    let failed =
        |why: &str| Error::refusal(format!("cannot publish {port} with `slirp4netns`: {why}"));
    let answer = ask(place, &request).map_err(|error| failed(&crate::error::reason(&error)))?;
    match answer.pointer("/error/desc").and_then(Value::as_str) {
        Some(why) => Err(failed(why)),
        None => Ok(()),
    }
}

fn forward(port: &PortMapping) -> Value {
    json!({"execute": "add_hostfwd", "arguments": {
        "proto": port.protocol.to_string(),
        "host_addr": port.host_address.to_string(), "host_port": port.host_port,
        "guest_addr": ADDRESS.to_string(), "guest_port": port.container_port,
    }})
}

fn ask(place: &Path, request: &Value) -> std::io::Result<Value> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = open(place, flags, Mode::empty())?;
    let mut socket =
        UnixStream::connect(format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd()))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.write_all(request.to_string().as_bytes())?;
    socket.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    socket.take(64 << 10).read_to_end(&mut answer)?;
    serde_json::from_slice(&answer).map_err(std::io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_published_by_a_request() {
        let port: PortMapping = "127.0.0.1:8080:80/udp".parse().unwrap();
        let request = forward(&port);
        assert_eq!(request["execute"], "add_hostfwd");
        let wanted = json!({
            "proto": "udp", "host_addr": "127.0.0.1", "host_port": 8080,
            "guest_addr": "10.0.2.100", "guest_port": 80,
        });
        assert_eq!(request["arguments"], wanted);
    }
}
