//! pasta(1): ports are on its command line, and it writes its process id when everything is ready.

use super::{ADDRESS, GATEWAY, PID, PREFIX, namespace_of, pid_of};
use crate::network::{PortMapping, PortRequest, Protocol};
use std::ffi::OsString;
use std::path::Path;

/// The command line. The container is not to reach what listens on the host's loopback interface alone: neither by the gateway's
/// address (`--no-map-gw`), nor by its own loopback interface (`-T`, `-U`).
pub(super) fn arguments(
    place: &Path,
    interface: &str,
    published: &[(PortRequest, Vec<PortMapping>)],
) -> Vec<OsString> {
    let (address, gateway) = (ADDRESS.to_string(), GATEWAY.to_string());
    let prefix = PREFIX.to_string();
    let words = [
        "--foreground",
        "--quiet",
        "--config-net",
        "--no-map-gw",
        "-I",
        interface,
        "-a",
        &address,
        "-n",
        &prefix,
        "-g",
        &gateway,
        "-T",
        "none",
        "-U",
        "none",
    ];
    let mut words: Vec<OsString> = words.iter().map(OsString::from).collect();
    words.extend(["--pid".into(), place.join(PID).into()]);
    words.extend(["--netns".into(), namespace_of(place).into()]);
    // Without a word it publishes whatever is listened on inside (pasta(1): "Default is auto"); Debian 12's was not seen to.
    for (option, protocol) in [("-t", Protocol::Tcp), ("-u", Protocol::Udp)] {
        if published.iter().all(|(request, _)| request.protocol != protocol) {
            words.extend([option.into(), "none".into()]);
        }
    }
    words.extend(published.iter().flat_map(|(request, ports)| forward(request, ports)));
    words
}

/// The option for one published port; one without an address is published in both families at once.
fn forward(request: &PortRequest, ports: &[PortMapping]) -> Vec<OsString> {
    let option = if request.protocol == Protocol::Tcp { "-t" } else { "-u" };
    let address = request.host_address.map(|address| format!("{address}/")).unwrap_or_default();
    let spec = |port: &PortMapping| format!("{address}{}:{}", port.host_port, port.container_port);
    ports.first().map_or_else(Vec::new, |port| vec![option.into(), spec(port).into()])
}

/// Whether it is ready.
pub(super) fn is_ready(place: &Path) -> bool {
    pid_of(place).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::port;
    use std::net::Ipv4Addr;

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
    fn what_was_not_asked_for_is_not_published() {
        let line = |published: &[(PortRequest, Vec<PortMapping>)]| {
            let words = arguments(Path::new("/place"), "eth0", published);
            let words: Vec<String> =
                words.iter().map(|word| word.to_str().unwrap().to_owned()).collect();
            words.join(" ")
        };
        assert!(line(&[]).ends_with(" -t none -u none"), "{}", line(&[]));
        let request = port::parse("8080:80").unwrap().remove(0);
        let published = line(&[(request, vec!["8080:80".parse().unwrap()])]);
        assert!(published.ends_with(" -u none -t 8080:80"), "{published}");
        assert!(!published.contains("-t none"), "{published}");
    }

    #[test]
    fn the_hosts_loopback_interface_is_out_of_reach() {
        let words = arguments(Path::new("/place"), "eth0", &[]);
        let line = words.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ");
        assert!(line.contains(" --no-map-gw ") && line.contains(" -T none -U none "), "{line}");
        assert!(line.contains(" --netns /place/netns"), "{line}");
    }
}
