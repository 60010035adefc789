//! Networks with a bridge, for a user: they stand in a network namespace of the user's.

use crate::network::{HOST, Hidden, Outside, SERVER, served};
use crate::world::{IMAGE, World, eventually};
use nconform::fixture::Capture;
use nman::network::netns;
use nman::socket::connect_to;
use nman::wire;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What stands where a namespace is, and says who holds it.
fn note(world: &World) -> PathBuf {
    world.state().join("network/namespace")
}

/// The process that holds the namespace.
fn holder(world: &World) -> i32 {
    let text = fs::read_to_string(note(world)).unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

/// The process that is the namespace's way out.
fn uplink(world: &World) -> Option<i32> {
    let file = world.state().join("network/uplink/carrier.pid");
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// A container's monitor.
fn monitor(world: &World, name: &str) -> i32 {
    let id = world.inspect(name, "/Id");
    let place = world.root().join("containers").join(id.as_str().unwrap());
    let state = fs::read_to_string(place.join("state.json")).unwrap();
    let state: serde_json::Value = serde_json::from_str(&state).unwrap();
    state["monitor"].as_i64().unwrap().try_into().unwrap()
}

/// One line of `/proc/PID/status`, in kB.
fn memory(pid: i32, key: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
}

fn is_alive(pid: i32) -> bool {
    !fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default().is_empty()
}

fn kill(pid: i32) {
    nconform::fixture::Capture::of("kill").args(["-9", &pid.to_string()]).run().ok();
    eventually("it is killed", || !is_alive(pid));
}

/// The namespace is gone, with everything that held it.
#[track_caller]
fn assert_gone(world: &World, processes: &[i32]) {
    eventually("the namespace is gone", || {
        !note(world).exists() && processes.iter().all(|pid| !is_alive(*pid))
    });
    world.assert_no_container();
}

/// What a container serves whoever asks a neighbour by its name. The shell looks that up itself: the machine's static busybox cannot.
fn asked(world: &World, network: &str, name: &str) -> String {
    let script = format!(
        "ip=$(nslookup {name} | awk '/^Address/ {{ if ($NF !~ /^127/) print $NF }}'); test \"$ip\" && timeout 5 wget -qO- http://$ip/passwd"
    );
    world.shell(&["--network", network], &script).stdout()
}

/// Makes something in a container's network namespace: a socket stays there.
fn inside<T: Send>(world: &World, container: &str, make: impl FnOnce() -> T + Send) -> T {
    let pid = world.inspect(container, "/State/Pid");
    let namespace = fs::File::open(format!("/proc/{pid}/ns/net")).unwrap();
    netns::run_in(namespace.as_fd(), || Ok(make())).unwrap()
}

#[test]
fn containers_of_a_user_find_each_other_by_name_until_the_last_is_gone() {
    let world = World::new();
    let _outside = Outside::make();
    let id = world.nman(["network", "create", "back"]).ok().text();
    assert!(!note(&world).exists(), "it is made for the first container");
    let options = ["-d", "--name", "web", "--network", "back", "--network-alias", "shop"];
    world.run(&options, SERVER).ok();
    let processes = [holder(&world), uplink(&world).unwrap()];
    for name in ["web", "shop", "web.back"] {
        assert!(asked(&world, "back", name).contains("root:x:0:0"), "{name}");
    }
    world.nman(["network", "create", "--internal", "apart"]).ok();
    assert_eq!(asked(&world, "apart", "web"), "", "of another network");
    let list = world.nman(["network", "ls", "--format", "{{.Name}}"]).ok().stdout();
    assert_eq!(list, "apart\nback\nhost\nnman\nnone\n");
    assert_eq!(
        world.nman(["network", "prune", "-f"]).ok().stdout(),
        "Deleted Networks:\napart\n\n"
    );
    let found = world.nman(["network", "inspect", "back"]).ok().json();
    assert_eq!(found[0]["Id"], id);
    let members = found[0]["Containers"].as_object().unwrap();
    assert_eq!(members.values().next().unwrap()["Name"], "web");
    let refused = world.nman(["network", "rm", "back"]).exits(1);
    assert!(refused.stderr().contains("active endpoints (name:\"web\""), "{refused}");
    assert_eq!(world.nman(["system", "check"]).ok().stdout(), "No problems found\n");
    let unshared =
        world.nman(["unshare", "--rootless-netns", "cat", "/proc/net/dev"]).ok().stdout();
    assert!(unshared.contains("uplink:") && unshared.contains("br-"), "{unshared}");
    // From there it would be published, and go out, within.
    let own = world.root().ancestors().nth(3).unwrap().join("nman").display().to_string();
    let from_within = ["unshare", "--rootless-netns", &own, "start", "later"];
    world.nman(["create", "--name", "later", "--network", "back", IMAGE, "true"]).ok();
    let refused = world.nman(from_within).exits(1);
    assert!(refused.stderr().contains("from within the user's network namespace"), "{refused}");
    world.nman(["rm", "later"]).ok();
    let format = "{{.UserNetwork.Namespace}} {{.UserNetwork.Uplink}}";
    let info = world.nman(["info", "--format", format]).ok().stdout();
    assert!(info.starts_with(&format!("/proc/{}/ns/net pasta", processes[0])), "{info}");
    // Nothing of it is the host's.
    let links = fs::read_dir("/sys/class/net").unwrap();
    let links: Vec<_> = links.map(|link| link.unwrap().file_name()).collect();
    assert!(links.iter().all(|link| !link.to_string_lossy().starts_with("nm")), "{links:?}");
    world.nman(["rm", "-f", "web"]).ok();
    assert_gone(&world, &processes);
    world.nman(["network", "rm", "back"]).ok();
    let refused = world.nman(["unshare", "--rootless-netns", "true"]).exits(1);
    assert!(refused.stderr().contains("there is no network namespace"), "{refused}");
    assert_eq!(world.nman(["info", "--format", "{{.UserNetwork}}"]).ok().text(), "{ }");
}

#[test]
fn a_published_port_is_reached_from_the_host_as_long_as_the_container_runs() {
    let world = World::new();
    let _outside = Outside::make();
    let publish = ["-p", "18080:80", "-p", "127.0.0.1::81"];
    let options = [&["-d", "--name", "web", "--network", "bridge"], &publish[..]].concat();
    world.run(&options, SERVER).ok();
    let local = (Ipv4Addr::LOCALHOST, 18080);
    eventually("it answers", || served(local).is_some());
    assert!(served((HOST, 18080)).is_some());
    let ports = world.nman(["port", "web"]).ok().stdout();
    assert!(ports.contains("80/tcp -> 0.0.0.0:18080\n"), "{ports}");
    let column = world.nman(["ps", "--format", "{{.Ports}} {{.Networks}}"]).ok().stdout();
    assert!(column.contains("0.0.0.0:18080->80/tcp") && column.ends_with(" nman\n"), "{column}");
    assert_eq!(world.inspect("web", "/NetworkSettings/Ports/80~1tcp/0/HostPort"), "18080");
    assert_eq!(world.inspect("web", "/NetworkSettings/Ports/81~1tcp/0/HostIp"), "127.0.0.1");
    // Nobody listens in the container: the client hears so.
    let closed = world.inspect("web", "/NetworkSettings/Ports/81~1tcp/0/HostPort");
    let closed: u16 = closed.as_str().unwrap().parse().unwrap();
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, closed)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let error = stream.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    // Neighbours reach it at their gateway, as root's do.
    let script = "timeout 5 wget -qO- http://$(ip route | sed -n 's/default via \\([^ ]*\\).*/\\1/p'):18080/passwd";
    let neighbour = world.shell(&["--network", "bridge"], script).ok();
    assert!(neighbour.stdout().contains("root:x:0:0"), "{neighbour}");
    let other = ["--rm", "--network", "bridge", "-p", "18080:80"];
    let taken = world.run(&other, &["true"]).exits(125);
    let said = "0.0.0.0:18080 failed: port is already allocated (tcp, by container `web`)";
    assert!(taken.stderr().contains(said), "{taken}");
    world.nman(["restart", "-t", "0", "web"]).ok();
    eventually("it answers again", || served(local).is_some());
    world.nman(["stop", "-t", "0", "web"]).ok();
    assert!(TcpStream::connect(local).is_err(), "nobody listens any more");
    assert_eq!(world.nman(["port", "web"]).ok().stdout(), "");
    // Somebody else's by now.
    let listener = TcpListener::bind(local).unwrap();
    let taken = world.nman(["start", "web"]).exits(1);
    assert!(taken.stderr().contains("port is already allocated (tcp"), "{taken}");
    drop(listener);
    world.nman(["start", "web"]).ok();
    eventually("it answers in its next life", || served(local).is_some());
    world.nman(["rm", "-f", "web"]).ok();
    assert_gone(&world, &[]);
}

/// Both directions, more than any buffer on the way, and the end of each by itself.
#[test]
fn what_a_published_port_carries_arrives_whole() {
    let world = World::new();
    let _outside = Outside::make();
    let options = ["-d", "--name", "echo", "--network", "bridge", "-p", "18081:7"];
    world.run(&options, &["sleep", "1000"]).ok();
    let listener = inside(&world, "echo", || TcpListener::bind("0.0.0.0:7").unwrap());
    let echo = std::thread::spawn(move || {
        let (mut stream, peer) = listener.accept().unwrap();
        let mut back = stream.try_clone().unwrap();
        std::io::copy(&mut stream, &mut back).unwrap();
        back.shutdown(Shutdown::Write).unwrap();
        peer
    });
    let sent: Vec<u8> = (0..8_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let own = memory(monitor(&world, "echo"), "RssAnon");
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, 18081)).unwrap();
    let mut writing = stream.try_clone().unwrap();
    let copy = sent.clone();
    let writer = std::thread::spawn(move || {
        writing.write_all(&copy).unwrap();
        writing.shutdown(Shutdown::Write).unwrap();
    });
    let mut received = Vec::new();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.read_to_end(&mut received).unwrap();
    writer.join().unwrap();
    assert!(received == sent, "{} bytes of {}", received.len(), sent.len());
    // What it was passed on by is given back.
    let monitor = monitor(&world, "echo");
    eventually("the monitor is small again", || memory(monitor, "RssAnon") <= own + 256);
    let gateway = world.inspect("echo", "/NetworkSettings/Networks/nman/Gateway");
    assert_eq!(echo.join().unwrap().ip().to_string(), gateway, "who has connected");
    world.nman(["rm", "-f", "echo"]).ok();
    assert_gone(&world, &[]);
}

#[test]
fn datagrams_find_their_way_in_and_back() {
    let world = World::new();
    let _outside = Outside::make();
    let options = ["-d", "--name", "echo", "--network", "bridge", "-p", "18082:7/udp"];
    world.run(&options, &["sleep", "1000"]).ok();
    let echo = inside(&world, "echo", || UdpSocket::bind("0.0.0.0:7").unwrap());
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((length, client)) = echo.recv_from(&mut buffer) {
            echo.send_to(&buffer[..length], client).unwrap();
        }
    });
    let client = || {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket.connect((Ipv4Addr::LOCALHOST, 18082)).unwrap();
        socket
    };
    let (one, other) = (client(), client());
    for (socket, text) in [(&one, &b"one"[..]), (&other, b"other"), (&one, b"again")] {
        let mut buffer = [0; 16];
        socket.send(text).unwrap();
        let length = socket.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], text);
    }
    world.nman(["rm", "-f", "echo"]).ok();
    assert_gone(&world, &[]);
}

/// Who asks one address of a host hears nothing that another one says.
#[test]
fn an_answer_to_a_datagram_leaves_from_the_address_that_was_asked() {
    let world = World::new();
    let _outside = Outside::make();
    let ip = |words: &str| Capture::of("ip").args(words.split(' ')).run().ok();
    for address in ["198.51.100.1/24", "198.51.100.2/24", "fd00:55::1/64", "fd00:55::2/64"] {
        let flag = if address.contains("::") { " nodad" } else { "" };
        ip(&format!("addr add {address} dev nrt0{flag}"));
    }
    world.nman(["network", "create", "--ipv6", "--subnet", "fd00:45::/64", "six"]).ok();
    let options = ["-d", "--name", "echo", "--network", "six", "-p", "18089:7/udp"];
    world.run(&options, &["sleep", "1000"]).ok();
    let echo = inside(&world, "echo", || UdpSocket::bind("[::]:7").unwrap());
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((length, client)) = echo.recv_from(&mut buffer) {
            echo.send_to(&buffer[..length], client).unwrap();
        }
    });
    for addresses in [["198.51.100.1", "198.51.100.2"], ["fd00:55::1", "fd00:55::2"]] {
        let addresses = addresses.map(|address| address.parse::<IpAddr>().unwrap());
        for own in addresses {
            // One socket asks both in turn, and then each again.
            let client = UdpSocket::bind((own, 0)).unwrap();
            client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            for asked in [addresses, addresses].concat() {
                client.send_to(b"who", (asked, 18089)).unwrap();
                let (_, from) = client.recv_from(&mut [0; 16]).unwrap();
                assert_eq!(from, (asked, 18089).into(), "asked by {own}");
            }
        }
    }
    world.nman(["rm", "-f", "echo"]).ok();
    world.nman(["network", "rm", "six"]).ok();
    assert_gone(&world, &[]);
}

#[test]
fn a_container_comes_to_networks_and_leaves_them_with_its_ports() {
    let world = World::new();
    let _outside = Outside::make();
    world.nman(["network", "create", "--subnet", "10.44.0.0/24", "one"]).ok();
    world.nman(["network", "create", "--internal", "other"]).ok();
    let options =
        ["-d", "--name", "web", "--network", "one", "--ip", "10.44.0.9", "-p", "18083:80"];
    world.run(&options, SERVER).ok();
    let local = (Ipv4Addr::LOCALHOST, 18083);
    eventually("it answers", || served(local).is_some());
    assert_eq!(world.inspect("web", "/NetworkSettings/Networks/one/IPAddress"), "10.44.0.9");
    assert_eq!(asked(&world, "other", "web"), "");
    world.nman(["network", "connect", "--alias", "shop", "other", "web"]).ok();
    assert!(asked(&world, "other", "shop").contains("root:x:0:0"));
    world.nman(["network", "disconnect", "one", "web"]).ok();
    assert!(TcpStream::connect(local).is_err(), "an internal network publishes nothing");
    world.nman(["network", "connect", "one", "web"]).ok();
    assert!(served(local).is_some(), "it is back");
    // From one network that publishes to another.
    world.nman(["network", "connect", "nman", "web"]).ok();
    world.nman(["network", "disconnect", "one", "web"]).ok();
    assert!(served(local).is_some(), "the other one has it");
    world.nman(["rm", "-f", "web"]).ok();
    assert_gone(&world, &[]);
    // One that begins alone.
    world.run(&["-d", "--name", "lone", "-p", "18083:80"], SERVER).ok();
    world.nman(["network", "disconnect", "none", "lone"]).ok();
    world.nman(["network", "connect", "one", "lone"]).ok();
    assert!(served(local).is_some());
    assert!(asked(&world, "one", "lone").contains("root:x:0:0"));
    let namespace = fs::read_link(format!("/proc/{}/ns/net", holder(&world))).unwrap();
    world.nman(["network", "disconnect", "one", "lone"]).ok();
    assert_gone_but_for(&world);
    eventually("the monitor has let go of it", || {
        let files = fs::read_dir(format!("/proc/{}/fd", monitor(&world, "lone"))).unwrap();
        let mut files = files.flatten().filter_map(|file| fs::read_link(file.path()).ok());
        files.all(|file| file != namespace)
    });
    world.nman(["rm", "-f", "lone"]).ok();
    world.nman(["network", "rm", "one", "other"]).ok();
    assert_gone(&world, &[]);
}

/// The namespace goes with the last that is connected, though containers run.
#[track_caller]
fn assert_gone_but_for(world: &World) {
    eventually("the namespace is gone", || !note(world).exists());
}

/// A server on the host that nobody has to listen for.
fn host_says() -> u16 {
    let listener = TcpListener::bind((HOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = stream.and_then(|mut stream| stream.write_all(b"host\n"));
        }
    });
    port
}

#[test]
fn the_way_out_is_mended_by_whoever_connects_next() {
    let world = World::new();
    let _outside = Outside::make();
    let port = host_says();
    world.nman(["network", "create", "--internal", "inner"]).ok();
    world.run(&["-d", "--name", "web", "--network", "bridge"], SERVER).ok();
    let before = holder(&world);
    // The client ends its side when the answer is there: see docs/rootless.md.
    let ask = format!("sleep 1 | timeout 5 nc host.containers.internal {port}; true");
    let reached = || world.nman(["exec", "web", "sh", "-c", &ask]).stdout();
    assert_eq!(reached(), "host\n");
    assert_eq!(world.shell(&["--network", "inner"], &ask).stdout(), "", "it is internal");
    kill(uplink(&world).unwrap());
    let check = world.nman(["system", "check"]).exits(1);
    assert!(check.stdout().contains("has no way out"), "{check}");
    assert_eq!(reached(), "");
    assert!(asked(&world, "bridge", "web").contains("root:x:0:0"), "by a second container");
    assert_eq!(reached(), "host\n", "the first one has it too");
    assert_eq!(holder(&world), before, "it is the same namespace");
    kill(uplink(&world).unwrap());
    world.nman(["network", "reload"]).ok();
    assert_eq!(reached(), "host\n");
    world.nman(["rm", "-f", "web"]).ok();
    world.nman(["network", "rm", "inner"]).ok();
    assert_gone(&world, &[before]);
}

#[test]
fn a_namespace_whose_holder_was_killed_is_found_with_a_monitor() {
    let world = World::new();
    let _outside = Outside::make();
    world.run(&["-d", "--name", "web", "--network", "bridge"], SERVER).ok();
    let name = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
    let before = name(holder(&world));
    kill(holder(&world));
    assert!(asked(&world, "bridge", "web").contains("root:x:0:0"));
    assert_eq!(name(holder(&world)), before);
    // With the monitor killed as well nobody has it, and the container is cut off.
    kill(monitor(&world, "web"));
    kill(holder(&world));
    let check = world.nman(["system", "check"]).exits(1);
    assert!(check.stdout().contains("the user's network namespace is gone"), "{check}");
    world.nman(["rm", "-f", "web"]).ok();
    assert_gone(&world, &[]);
    world.run(&["-d", "--name", "web", "--network", "bridge"], SERVER).ok();
    assert!(asked(&world, "bridge", "web").contains("root:x:0:0"), "a new one is made");
    world.nman(["rm", "-f", "web"]).ok();
    assert_gone(&world, &[]);
}

/// They would make two namespaces, or take each other's away.
#[test]
fn containers_that_begin_and_end_at_once_have_one_namespace() {
    let world = World::new();
    let _outside = Outside::make();
    for _ in 0..3 {
        let begun: Vec<_> = (0..4)
            .map(|_| {
                let words = ["run", "--rm", "--network", "bridge", crate::world::IMAGE];
                let words = words.iter().chain(&["readlink", "/sys/class/net/eth0"]);
                world.command(words).start()
            })
            .collect();
        for (mut child, output) in begun {
            assert!(child.wait().unwrap().success(), "{}", output.stdout());
        }
        assert_gone(&world, &[]);
    }
}

#[test]
fn what_takes_an_interface_of_the_host_is_refused() {
    let world = World::new();
    for driver in ["macvlan", "ipvlan"] {
        let output = world.nman(["network", "create", "-d", driver, "lan"]).exits(1);
        assert!(output.stderr().contains(&format!("cannot use driver `{driver}`")), "{output}");
        assert!(output.stderr().contains("hint: "), "{output}");
    }
    let options = ["--rm", "--network", "bridge", "-p", "80/sctp"];
    let output = world.run(&options, &["true"]).exits(125);
    assert!(output.stderr().contains("without root, there is TCP and UDP"), "{output}");
    let output = world.run(&["--rm", "--network", "missing"], &["true"]).exits(125);
    assert!(output.stderr().contains("network `missing` not found"), "{output}");
    assert_gone(&world, &[]);
}

#[test]
fn both_families_are_carried_and_published() {
    let world = World::new();
    let _outside = Outside::make();
    world.nman(["network", "create", "--ipv6", "--subnet", "fd00:44::/64", "six"]).ok();
    let options = ["-d", "--name", "web", "--network", "six", "-p", "18085:81"];
    world.run(&options, &["sleep", "1000"]).ok();
    let listener = inside(&world, "web", || TcpListener::bind("[::]:81").unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = stream.and_then(|mut stream| stream.write_all(b"six\n"));
        }
    });
    for address in ["[::1]:18085", "127.0.0.1:18085"] {
        let mut text = [0; 4];
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"six\n", "{address}");
    }
    let names = world.shell(&["--network", "six"], "nslookup -type=aaaa web").stdout();
    assert!(names.contains("fd00:44::"), "{names}");
    world.nman(["rm", "-f", "web"]).ok();
    world.nman(["network", "rm", "six"]).ok();
    assert_gone(&world, &[]);
}

/// Somebody may be at work on the namespace for long: a way out is waited for, and plug-ins have a minute each.
#[test]
fn a_monitor_does_not_wait_for_who_is_at_work_on_the_namespace() {
    let world = World::new();
    let _outside = Outside::make();
    world.run(&["-d", "--name", "web", "--network", "bridge", "-p", "18088:80"], SERVER).ok();
    let id = world.inspect("web", "/Id");
    let socket = world.state().join("containers").join(id.as_str().unwrap()).join("network");
    let at_work = fs::File::open(note(&world)).unwrap();
    at_work.lock().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    // As `network connect` asks it to publish what is on record.
    std::thread::spawn(move || {
        let monitor = connect_to(&socket).unwrap();
        let _ = tell.send(wire::get(monitor.as_fd(), &mut Vec::new()).map(<[u8]>::to_vec));
    });
    let answer = told.recv_timeout(Duration::from_secs(20));
    assert_eq!(answer, Ok(Some(b"done".to_vec())), "it has its turn as ever");
    assert!(served((Ipv4Addr::LOCALHOST, 18088)).is_some());
    assert!(world.nman(["network", "ls"]).ok().stdout().contains("bridge"));
    let begun = Instant::now();
    world.nman(["stop", "-t", "0", "web"]).ok();
    assert!(begun.elapsed() < Duration::from_secs(20), "its end waits for a moment only");
    assert_eq!(world.inspect("web", "/State/Status"), "exited");
    world.nman(["rm", "web"]).ok();
    drop(at_work);
    // What is at work there takes it away if it connects nobody.
    world.shell(&["--network", "bridge"], "true").ok();
    assert_gone(&world, &[]);
}

/// Of the other program there is a way out as well.
#[test]
fn slirp4netns_is_a_way_out_where_pasta_is_none() {
    let world = World::new();
    let _hidden = Hidden::hide("pasta");
    let _outside = Outside::make();
    let port = host_says();
    let ask = format!("sleep 1 | timeout 5 nc host.containers.internal {port}; true");
    let reached = world.shell(&["--network", "bridge", "-p", "18086:80"], &ask);
    assert_eq!(reached.stdout(), "host\n", "{reached}");
    assert_gone(&world, &[]);
}

/// The host's loopback interface is as far away as from any container.
#[test]
fn containers_on_bridges_do_not_reach_the_hosts_loopback_interface() {
    let world = World::new();
    let _outside = Outside::make();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = stream.and_then(|mut stream| stream.write_all(b"hidden\n"));
        }
    });
    let script = format!(
        "for address in 127.0.0.1 10.0.2.2 10.0.2.100 $(ip route | awk '/default/ {{ print $3 }}'); do timeout 1 nc $address {port}; done; true"
    );
    assert_eq!(world.shell(&["--network", "bridge"], &script).ok().stdout(), "");
    assert_gone(&world, &[]);
}

/// Their network namespaces belong to user namespaces below the user's.
#[test]
fn containers_with_ids_of_their_own_are_on_networks_too() {
    let world = World::new();
    let _outside = Outside::make();
    let options =
        ["-d", "--name", "web", "--userns", "keep-id", "--network", "bridge", "-p", "18087:8080"];
    world.run(&options, &["httpd", "-f", "-p", "8080", "-h", "/etc"]).ok();
    eventually("it answers", || served((Ipv4Addr::LOCALHOST, 18087)).is_some());
    world.nman(["rm", "-f", "web"]).ok();
    assert_gone(&world, &[]);
}
