//! How a user's containers are connected: by pasta, where it is there, else by slirp4netns.

use crate::world::World;
use nconform::fixture::{Capture, scratch_dir, tool};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use rustix::mount::{UnmountFlags, mount_bind, unmount};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;
use tempfile::TempDir;

/// What these need of a host: an interface with a default route, and a tun device that everybody may open, as udev has it.
pub(crate) struct Outside(#[expect(dead_code, reason = "its device lies in it")] TempDir);

/// The host's address.
pub(crate) const HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

fn ip(words: &str) {
    Capture::of("ip").args(words.split(' ')).run().ok();
}

impl Outside {
    pub(crate) fn make() -> Self {
        ip("link add nrt0 type veth peer name nrt1");
        ip("link set nrt1 up");
        ip(&format!("addr add {HOST}/24 dev nrt0"));
        ip("link set nrt0 up");
        ip("route add default via 192.0.2.1");
        let directory = scratch_dir();
        let device = directory.path().join("tun");
        let mode = Mode::from_raw_mode(0o666);
        mknodat(CWD, &device, FileType::CharacterDevice, mode, makedev(10, 200)).unwrap();
        fs::set_permissions(&device, fs::Permissions::from_mode(0o666)).unwrap();
        mount_bind(&device, "/dev/net/tun").unwrap();
        Self(directory)
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        unmount("/dev/net/tun", UnmountFlags::empty()).unwrap();
        ip("link del nrt0");
    }
}

/// What a web server at an address says of /passwd; nothing without one.
pub(crate) fn served(address: (Ipv4Addr, u16)) -> Option<String> {
    let mut text = String::new();
    let mut stream = TcpStream::connect(address).ok()?;
    stream.write_all(b"GET /passwd HTTP/1.0\r\n\r\n").ok()?;
    // Not to its end: early versions of pasta lose that, now and then, where both sides end at once.
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let mut buffer = [0; 512];
    while !text.contains("root:x:0:0") {
        match stream.read(&mut buffer).ok()? {
            0 => return None,
            length => text.push_str(&String::from_utf8_lossy(&buffer[..length])),
        }
    }
    Some(text)
}

/// A web server on port 80.
pub(crate) const SERVER: &[&str] = &["httpd", "-f", "-p", "80", "-h", "/etc"];

#[test]
fn ports_published_by_pasta_lead_into_the_container() {
    ports_lead_into_the_container("pasta");
}

#[test]
fn ports_published_by_slirp4netns_lead_into_the_container() {
    ports_lead_into_the_container("slirp4netns");
}

fn ports_lead_into_the_container(carrier: &str) {
    let world = World::new();
    let _outside = Outside::make();
    let options =
        ["-d", "--name", "web", "--network", carrier, "-p", "18080:80", "-p", "127.0.0.1::81"];
    world.run(&options, SERVER).ok();
    let answers = || served((Ipv4Addr::LOCALHOST, 18080)).is_some();
    crate::world::eventually("it answers", answers);
    assert!(served((HOST, 18080)).is_some());
    let ports = world.nman(["port", "web", "80"]).ok().stdout();
    assert!(ports.contains("0.0.0.0:18080\n"), "{ports}");
    let column = world.nman(["ps", "--format", "{{.Ports}} {{.Networks}}"]).ok().stdout();
    assert!(
        column.contains("0.0.0.0:18080->80/tcp") && column.ends_with(&format!(" {carrier}\n")),
        "{column}"
    );
    assert_eq!(world.inspect("web", "/NetworkSettings/Ports/80~1tcp/0/HostPort"), "18080");
    assert_eq!(world.inspect("web", "/NetworkSettings/Ports/81~1tcp/0/HostIp"), "127.0.0.1");
    // The port is taken, for whoever asks.
    let taken = world.run(&["--rm", "--network", carrier, "-p", "18080:80"], &["true"]).exits(125);
    assert!(taken.stderr().contains("port is already allocated"), "{taken}");
    // Neighbours in its namespace have what it has.
    let neighbour =
        world.shell(&["--network", "container:web"], "wget -qO- http://127.0.0.1/passwd").ok();
    assert!(neighbour.stdout().contains("root:x:0:0"), "{neighbour}");
    world.nman(["restart", "-t", "0", "web"]).ok();
    crate::world::eventually("it answers again", answers);
    world.nman(["stop", "-t", "0", "web"]).ok();
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, 18080)).is_err(), "nobody listens any more");
    assert_eq!(world.nman(["port", "web"]).ok().stdout(), "");
    world.nman(["rm", "web"]).ok();
    world.assert_no_container();
}

#[test]
fn a_container_reaches_the_host_and_not_its_loopback_interface_through_pasta() {
    reaches_the_host_and_not_its_loopback_interface("pasta");
}

#[test]
fn a_container_reaches_the_host_and_not_its_loopback_interface_through_slirp4netns() {
    reaches_the_host_and_not_its_loopback_interface("slirp4netns");
}

fn reaches_the_host_and_not_its_loopback_interface(carrier: &str) {
    let world = World::new();
    let _outside = Outside::make();
    let answer = |listener: TcpListener| {
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let _ = stream.and_then(|mut stream| stream.write_all(b"host\n"));
            }
        });
        port
    };
    let open = answer(TcpListener::bind((HOST, 0)).unwrap());
    let hidden = answer(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    let options = ["--network", carrier];
    // The shell stays, for a container's first process is deaf to the signal of `timeout`. It ends its side when the answer is there: of a
    // connection whose client has ended its own first, pasta may repeat what was sent (docs/rootless.md).
    let ask = |name: &str| format!("sleep 1 | timeout 5 nc {name} {open}; true");
    let reached = world.shell(&options, &ask(&HOST.to_string()));
    assert_eq!(reached.stdout(), "host\n");
    for address in ["127.0.0.1", "10.0.2.2"] {
        let output = world.shell(&options, &format!("timeout 1 nc {address} {hidden}; true"));
        assert_eq!(output.stdout(), "", "the host's loopback interface is reached by {address}");
    }
    // By its name as well, and by Podman's, which nobody has to ask for.
    let gate = ["--network", carrier, "--add-host", "gate:host-gateway"];
    for name in ["gate", "host.containers.internal", "host.docker.internal"] {
        let reached = world.shell(&gate, &ask(name));
        assert_eq!(reached.stdout(), "host\n", "{name}: {reached}");
        let output = world.shell(&gate, &format!("timeout 1 nc {name} {hidden}; true"));
        assert_eq!(output.stdout(), "", "the host's loopback interface is reached by {name}");
    }
    let own =
        world.shell(&options, "ip -4 -o addr show dev eth0; grep $(hostname) /etc/hosts").ok();
    assert!(
        own.stdout().contains("10.0.2.100/24") && own.stdout().contains("10.0.2.100\t"),
        "{own}"
    );
    world.assert_no_container();
}

/// Without a word about networks a container is connected.
#[test]
fn pasta_is_the_network_of_a_user_who_names_none() {
    let world = World::new();
    let _outside = Outside::make();
    let script = "cat /etc/resolv.conf /etc/hosts";
    let output = world.nman(["run", "--rm", crate::world::IMAGE, "sh", "-c", script]).ok();
    assert!(output.stdout().contains("nameserver 127.0.0.11"), "{output}");
    assert!(output.stdout().contains("10.0.2.100\t"), "{output}");
    world.assert_no_container();
}

#[test]
fn what_pasta_says_of_a_failure_is_told_and_nothing_is_left() {
    let world = World::new();
    // No interface has a default route.
    let output = world.run(&["--network", "pasta"], &["true"]).exits(125);
    assert!(output.stderr().contains("cannot connect the container with `pasta`: "), "{output}");
    assert!(output.stderr().contains("hint: "), "{output}");
    world.assert_no_container();
}

/// A name at which there is no program that can be executed.
pub(crate) struct Hidden(std::path::PathBuf);

impl Hidden {
    pub(crate) fn hide(name: &str) -> Self {
        let path = tool(name);
        mount_bind("/dev/null", &path).unwrap();
        Self(path)
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        unmount(&self.0, UnmountFlags::empty()).unwrap();
    }
}

#[test]
fn without_pasta_there_is_no_network_and_a_word_about_it() {
    let world = World::new();
    let hidden = (Hidden::hide("pasta"), Hidden::hide("slirp4netns"));
    let image = crate::world::IMAGE;
    let output = world.nman(["run", "--rm", image, "ls", "/sys/class/net"]).ok();
    assert_eq!(output.stdout(), "lo\n");
    assert!(output.stderr().contains("`pasta` (package passt)"), "{output}");
    for options in [&["-p", "80"][..], &["--network", "pasta"]] {
        let words = [&["run", "--rm"], options, &[image, "true"]].concat();
        let output = world.nman(words).exits(125);
        assert!(output.stderr().contains("there is no `pasta` in PATH"), "{output}");
        assert!(output.stderr().contains("package `passt`"), "{output}");
    }
    // Neighbours need no program.
    let output = world.nman(["run", "--rm", "--network", "bridge", image, "ip", "addr"]).ok();
    assert!(output.stdout().contains(" eth0"), "{output}");
    assert!(
        output.stderr().contains("reach nothing outside: there is neither `pasta`"),
        "{output}"
    );
    // The other one is as good.
    drop(hidden.1);
    let _outside = Outside::make();
    let output = world.nman(["run", "--rm", image, "cat", "/etc/hosts"]).ok();
    assert!(output.stdout().contains("10.0.2.100\t"), "{output}");
    assert_eq!(output.stderr(), "");
    world.assert_no_container();
}

#[test]
fn a_low_port_is_refused_with_what_root_can_do() {
    let world = World::new();
    let _outside = Outside::make();
    let output = world.run(&["--network", "pasta", "-p", "80:80"], &["true"]).exits(125);
    assert!(output.stderr().contains("bind for 0.0.0.0:80 failed: permission denied"), "{output}");
    assert!(output.stderr().contains("net.ipv4.ip_unprivileged_port_start"), "{output}");
    world.assert_no_container();
}

#[test]
fn a_namespace_by_its_path_is_one_of_the_users_own() {
    let world = World::new();
    world.run(&["-d", "--name", "aa"], &["sleep", "1000"]).ok();
    let own = format!("ns:/proc/{}/ns/net", world.inspect("aa", "/State/Pid"));
    let script = "readlink /proc/self/ns/net";
    let inside = world.nman(["exec", "aa", "sh", "-c", script]).ok().stdout();
    assert_eq!(world.shell(&["--network", &own], script).ok().stdout(), inside);
    let refused = world.run(&["--rm", "--network", "ns:/proc/self/ns/net"], &["true"]).exits(125);
    refused.says("cannot join the network namespace /proc/self/ns/net: operation not permitted");
    refused.says("`nman unshare` leads there");
    world.nman(["rm", "-f", "aa"]).ok();
}
