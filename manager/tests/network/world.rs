//! The stage: a host with an up-link, the outside behind it, and containers.

use nman::id::ContainerId;
use nman::network::state::Lock;
use nman::network::{
    self, Appearance, Definition, HostFacts, Lease, NetworkName, NetworkPlan, Result, State,
    definition, ipam, netns, orphan, port,
};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use sys::namespace::{Kinds, unshare};

/// The host's address on the up-link, and the outside's.
pub(crate) const HOST: &str = "192.0.2.1";
pub(crate) const OUTSIDE: &str = "192.0.2.2";
/// The same by IPv6.
pub(crate) const HOST6: &str = "2001:db8::1";
pub(crate) const OUTSIDE6: &str = "2001:db8::2";
/// Routed to the host by the outside, but no address of the host.
pub(crate) const ELSEWHERE: &str = "203.0.113.9";

/// Long enough for any answer on one machine.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a packet that must not arrive is waited for.
const SILENCE: Duration = Duration::from_millis(400);

/// A host with an up-link; the test's own thread is in it.
pub(crate) struct World {
    pub(crate) outside: OwnedFd,
    pub(crate) root: tempfile::TempDir,
    pub(crate) state: State,
}

/// A container's namespace and what it is connected by.
pub(crate) struct Container {
    pub(crate) netns: OwnedFd,
    pub(crate) plan: NetworkPlan,
}

impl World {
    /// Puts the calling thread on a new host.
    pub(crate) fn new() -> Self {
        assert!(rustix::process::geteuid().is_root(), "these tests need root");
        unshare(Kinds::NETWORK).expect("a namespace that plays the host");
        // It begins with the machine's value, which a manager of containers may have changed.
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap();
        let outside = netns::create().unwrap();
        run("ip link set lo up");
        run("ip link add up0 type veth peer name out0");
        // By /proc, as `ip` knows namespaces by process or by name only.
        let fd = std::os::fd::AsRawFd::as_raw_fd(&outside);
        run(&format!("ip link set out0 netns /proc/{}/fd/{fd}", std::process::id()));
        run(&format!("ip addr add {HOST}/24 dev up0"));
        run(&format!("ip addr add {HOST6}/64 dev up0 nodad"));
        run("ip link set up0 up");
        inside(&outside, || {
            run("ip link set lo up");
            run(&format!("ip addr add {OUTSIDE}/24 dev out0"));
            run(&format!("ip addr add {OUTSIDE6}/64 dev out0 nodad"));
            run("ip link set out0 up");
            run(&format!("ip route add {ELSEWHERE} via {HOST}"));
        });
        run(&format!("ip route add default via {OUTSIDE}"));
        run(&format!("ip -6 route add default via {OUTSIDE6}"));
        until(|| output("ip link show up0").contains("state UP"));
        let root = tempfile::tempdir().unwrap();
        let state = State::open(&root.path().join("run")).unwrap();
        Self { outside, root, state }
    }

    /// The same host, with networks on record in a state directory of their own.
    pub(crate) fn with_another_state(&self) -> Self {
        let root = tempfile::tempdir().unwrap();
        let state = State::open(&root.path().join("run")).unwrap();
        Self { outside: self.outside.try_clone().unwrap(), root, state }
    }

    /// A network's definition; the default's is made, others must have been written.
    pub(crate) fn network(&self, name: &str) -> Definition {
        let name: NetworkName = name.parse().unwrap();
        definition::load(self.root.path(), &name, &HostFacts::probe().unwrap()).unwrap()
    }

    /// Writes a second network's definition, like the default but for bridge and subnet.
    pub(crate) fn define(&self, name: &str, bridge: &str, subnet: &str) -> Definition {
        let default = self.network("nman");
        let path =
            |name: &str| -> PathBuf { self.root.path().join(format!("networks/{name}.conflist")) };
        let text = std::fs::read_to_string(path("nman"))
            .unwrap()
            .replace("\"nman\"", &format!("{name:?}"))
            .replace("nman0", bridge)
            .replace(&default.ranges()[0].subnet.to_string(), subnet);
        std::fs::write(path(name), text).unwrap();
        self.network(name)
    }

    /// Writes a network with both families.
    pub(crate) fn define_dual(&self, name: &str, bridge: &str, v4: &str, v6: &str) -> Definition {
        let mut definition = self.define(name, bridge, v4);
        let path = self.root.path().join(format!("networks/{name}.conflist"));
        let mut list: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let ipam = &mut list["plugins"][0]["ipam"];
        ipam["ranges"].as_array_mut().unwrap().push(serde_json::json!([{ "subnet": v6 }]));
        ipam["routes"].as_array_mut().unwrap().push(serde_json::json!({ "dst": "::/0" }));
        std::fs::write(&path, list.to_string()).unwrap();
        definition = self.network(definition.name.as_str());
        definition
    }

    /// Plans a new container on a network.
    pub(crate) fn plan(&self, definition: &Definition, ports: &[&str]) -> NetworkPlan {
        self.plan_for(&ContainerId::random(), definition, ports)
    }

    /// Plans a container's first interface, on a network.
    pub(crate) fn plan_for(
        &self,
        container: &ContainerId,
        definition: &Definition,
        ports: &[&str],
    ) -> NetworkPlan {
        self.plan_locked(container, definition, ports, &self.state.lock().unwrap())
    }

    fn plan_locked(
        &self,
        container: &ContainerId,
        definition: &Definition,
        ports: &[&str],
        lock: &Lock,
    ) -> NetworkPlan {
        let strays = orphan::strays(&self.state, lock).unwrap();
        let lease: Lease = ipam::reserve(&self.state, definition, container, &[], &strays).unwrap();
        let ports: Vec<_> =
            ports.iter().map(|text| text.parse::<network::PortMapping>().unwrap()).collect();
        let mut host = HostFacts::probe().unwrap();
        host.probe_ipv6().unwrap();
        host.probe_bridge(&definition.bridge().unwrap().name).unwrap();
        let appearance = Appearance { names: vec!["somebody".to_owned()], ..Appearance::default() };
        network::plan(definition, &lease, &appearance, &ports, &host).unwrap()
    }

    /// Connects a new container to a network.
    pub(crate) fn try_connect(&self, definition: &Definition, ports: &[&str]) -> Result<Container> {
        let netns = netns::create()?;
        let lock = self.state.lock()?;
        let plan = self.plan_locked(&ContainerId::random(), definition, ports, &lock);
        network::apply_locked(&self.state, &plan, netns.as_fd(), &lock)?;
        Ok(Container { netns, plan })
    }

    /// Connects a new container to the default network.
    pub(crate) fn connect(&self, ports: &[&str]) -> Container {
        self.try_connect(&self.network("nman"), ports).unwrap()
    }

    /// Everything on the host that a connection changes.
    pub(crate) fn snapshot(&self) -> String {
        let witnesses =
            ["ip -o -d link", "ip -4 -o addr", "ip -4 route show table all", "nft list ruleset"];
        let records = self.root.path().join("run/network/connected");
        let mut seen: Vec<String> = witnesses.map(|witness| settled(&output(witness))).to_vec();
        seen.push(std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap());
        seen.extend(
            std::fs::read_dir(records)
                .unwrap()
                .map(|entry| format!("{:?}", entry.unwrap().file_name())),
        );
        let names = self.root.path().join("run/network/names/nman/somebody");
        seen.extend(
            std::fs::read_dir(names)
                .into_iter()
                .flatten()
                .map(|name| format!("somebody is {:?}", name.unwrap().file_name())),
        );
        seen.join("\n")
    }
}

/// What `ip` says, without what changes by itself a moment after a link is made: its carrier, and timers.
fn settled(text: &str) -> String {
    let mut kept = Vec::new();
    for line in text.lines() {
        let line =
            line.replace("NO-CARRIER,", "").replace(",LOWER_UP", "").replace(" linkdown", "");
        let words: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).collect();
        let timer = |word: &str| word == "state" || word.ends_with("_timer");
        let steady =
            (0..words.len()).filter(|&at| !timer(words[at]) && (at == 0 || !timer(words[at - 1])));
        kept.push(steady.map(|at| words[at]).collect::<Vec<_>>().join(" "));
    }
    kept.join("\n")
}

impl Container {
    pub(crate) fn address(&self) -> IpAddr {
        self.plan.addresses[0].address
    }

    pub(crate) fn address6(&self) -> IpAddr {
        self.plan.addresses[1].address
    }

    pub(crate) fn disconnect(&self, world: &World) {
        network::remove(&world.state, &self.plan, None).unwrap();
        ipam::release(&world.state, &self.plan.network, &self.plan.container).unwrap();
    }

    pub(crate) fn serve(&self, port: u16) -> TcpListener {
        inside(&self.netns, || serve(port))
    }

    pub(crate) fn bind_udp(&self, port: u16) -> UdpSocket {
        inside(&self.netns, || bind_udp(port))
    }
}

/// Calls `action` in a namespace. Sockets that it makes stay in it, wherever they are used.
pub(crate) fn inside<T: Send>(netns: &OwnedFd, action: impl FnOnce() -> T + Send) -> T {
    netns::run_in(netns.as_fd(), || Ok(action())).unwrap()
}

pub(crate) fn serve6(port: u16) -> TcpListener {
    let listener = TcpListener::bind(("::", port)).unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

pub(crate) fn serve(port: u16) -> TcpListener {
    let listener = TcpListener::bind(("0.0.0.0", port)).unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

pub(crate) fn bind_udp(port: u16) -> UdpSocket {
    let socket = UdpSocket::bind(("0.0.0.0", port)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

#[expect(clippy::needless_pass_by_value, reason = "called with literals and addresses alike")]
pub(crate) fn to(address: impl ToString, port: u16) -> SocketAddr {
    SocketAddr::new(address.to_string().parse().unwrap(), port)
}

/// Whether a connection to that address is made.
pub(crate) fn reaches(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, SILENCE).is_ok()
}

/// Connects from a namespace (or from here) and says something both ways; returns the client that the server saw.
pub(crate) fn converse(
    from: Option<&OwnedFd>,
    address: SocketAddr,
    server: &TcpListener,
) -> IpAddr {
    let connect = || {
        TcpStream::connect_timeout(&address, PATIENCE).unwrap_or_else(|e| panic!("{address}: {e}"))
    };
    let mut client = match from {
        Some(netns) => inside(netns, connect),
        None => connect(),
    };
    let mut accepted = None;
    until(|| {
        accepted = server.accept().ok();
        accepted.is_some()
    });
    let (mut served, peer) = accepted.unwrap();
    served.set_nonblocking(false).unwrap();
    for (writer, reader) in [(&mut client, &mut served)] {
        for stream in [&*writer, &*reader] {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
        }
        let mut heard = [0; 4];
        writer.write_all(b"ping").unwrap();
        reader.read_exact(&mut heard).unwrap();
        reader.write_all(b"pong").unwrap();
        writer.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"pong");
    }
    peer.ip()
}

/// As [`converse`], by datagrams.
pub(crate) fn converse_udp(
    from: Option<&OwnedFd>,
    address: SocketAddr,
    server: &UdpSocket,
) -> IpAddr {
    let client = match from {
        Some(netns) => inside(netns, || bind_udp(0)),
        None => bind_udp(0),
    };
    // Connected: an answer from another address than was asked is not heard.
    client.connect(address).unwrap();
    client.send(b"ping").unwrap();
    let mut heard = [0; 4];
    let (_, peer) = server.recv_from(&mut heard).unwrap();
    server.send_to(b"pong", peer).unwrap();
    client.recv(&mut heard).unwrap();
    assert_eq!(&heard, b"pong");
    peer.ip()
}

/// Runs a command line that must succeed.
pub(crate) fn run(line: &str) {
    output(line);
}

/// Runs a command line that must succeed, for what it prints.
pub(crate) fn output(line: &str) -> String {
    let mut words = line.split_whitespace();
    let result = Command::new(words.next().unwrap())
        .args(words)
        .output()
        .unwrap_or_else(|e| panic!("{line}: {e}"));
    assert!(result.status.success(), "{line}: {}", String::from_utf8_lossy(&result.stderr));
    String::from_utf8(result.stdout).unwrap()
}

/// Waits until something that is under way is done.
pub(crate) fn until(mut done: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while !done() {
        assert!(std::time::Instant::now() < deadline, "waited in vain");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A free-standing reservation of host ports, as the command line makes it.
pub(crate) fn reserve(spec: &str) -> Result<port::Reservation> {
    port::reserve(&port::parse(spec)?, &["0.0.0.0".parse().unwrap()], &[])
}
