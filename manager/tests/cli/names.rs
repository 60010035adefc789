//! Names: neighbours' by the resolver in the container's own namespace, everybody else's by the host's nameservers.

use super::world::World;
use nconform::fixture::{Capture, HostNetwork};
use nman::network::netns;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// A nameserver on the host's loopback, such as systemd-resolved's stub: every name is 192.0.2.7, and over datagrams
/// the answer to `big.test` is cut.
struct Stub {
    asked: Arc<AtomicUsize>,
}

impl Stub {
    fn start() -> Self {
        std::fs::write("/etc/resolv.conf", "nameserver 127.0.0.53\nsearch corp.test\n").unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let datagrams = UdpSocket::bind("127.0.0.53:53").unwrap();
        let connections = TcpListener::bind("127.0.0.53:53").unwrap();
        let count = Arc::clone(&asked);
        std::thread::spawn(move || {
            let mut query = [0; 512];
            while let Ok((length, client)) = datagrams.recv_from(&mut query) {
                count.fetch_add(1, Ordering::SeqCst);
                let mut answer = answer(&query[..length]);
                if query[12..length].windows(3).any(|three| three == b"big") {
                    answer.truncate(length);
                    (answer[2], answer[7]) = (answer[2] | 2, 0);
                }
                datagrams.send_to(&answer, client).unwrap();
            }
        });
        std::thread::spawn(move || {
            for stream in connections.incoming() {
                let mut stream = stream.unwrap();
                let query = receive(&mut stream);
                send(&mut stream, &answer(&query));
            }
        });
        Self { asked }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn answer(query: &[u8]) -> Vec<u8> {
    let mut answer = query.to_vec();
    (answer[2], answer[3], answer[7]) = (answer[2] | 0x80, 0x80, 1);
    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 192, 0, 2, 7]);
    answer
}

fn receive(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut message = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut message).unwrap();
    message
}

fn send(stream: &mut TcpStream, message: &[u8]) {
    stream.write_all(&u16::try_from(message.len()).unwrap().to_be_bytes()).unwrap();
    stream.write_all(message).unwrap();
}

fn query(name: &str, kind: u8) -> Vec<u8> {
    numbered(7, name, kind)
}

fn numbered(number: u8, name: &str, kind: u8) -> Vec<u8> {
    let mut message = vec![7, number, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).unwrap());
        message.extend(label.as_bytes());
    }
    message.extend([0, 0, kind, 0, 1]);
    message
}

/// Asks the container's resolver from inside; over a connection if need be.
fn ask(world: &World, container: &str, name: &str, kind: u8, stream: bool) -> Vec<u8> {
    ask_this(world, container, &query(name, kind), stream)
}

fn ask_this(world: &World, container: &str, query: &[u8], stream: bool) -> Vec<u8> {
    let pid = world.inspect(container, "/State/Pid");
    let namespace = std::fs::File::open(format!("/proc/{pid}/ns/net")).unwrap();
    let answer = netns::run_in(namespace.as_fd(), || {
        if stream {
            let mut stream = TcpStream::connect("127.0.0.11:53").unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            send(&mut stream, query);
            return Ok(receive(&mut stream));
        }
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        // Connected: an answer from another address or port than was asked is not heard.
        socket.connect("127.0.0.11:53").unwrap();
        let mut answer = vec![0; 2048];
        // A datagram may be lost; every client asks again.
        let mut try_once = || {
            socket.send(query).unwrap();
            socket.recv(&mut answer).ok()
        };
        let length = (0..15).find_map(|_| try_once()).expect("an answer");
        answer.truncate(length);
        Ok(answer)
    });
    let answer = answer.unwrap();
    assert_eq!(answer[..2], query[..2]);
    answer
}

fn code(answer: &[u8]) -> u8 {
    answer[3] & 0xf
}

fn answers(answer: &[u8]) -> u8 {
    answer[7]
}

fn address(answer: &[u8]) -> [u8; 4] {
    assert_eq!((code(answer), answers(answer)), (0, 1), "{answer:?}");
    *answer.last_chunk().unwrap()
}

/// A number of `/proc/PID/stat`, counted from the process's state on.
fn stat(pid: &str, number: usize) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let behind_name = text.rsplit(')').next().unwrap();
    behind_name.split_whitespace().nth(number).unwrap().parse().unwrap()
}

const PARENT: usize = 1;
const USER_TIME: usize = 11;
const SYSTEM_TIME: usize = 12;

const A: u8 = 1;
const PTR: u8 = 12;
const AAAA: u8 = 28;

#[test]
fn neighbours_have_names_on_their_own_networks_only() {
    let world = World::new();
    let _stub = Stub::start();
    world.nman(["network", "create", "--subnet", "10.7.1.0/24", "one"]).ok();
    world.nman(["network", "create", "--subnet", "10.7.2.0/24", "two"]).ok();
    let start = |name: &str, options: &[&str]| {
        let options = [&["-d", "--name", name], options].concat();
        world.run(&options, &["sleep", "1000"]).ok().stdout()
    };
    let db = start("db", &["--network", "one", "--network-alias", "Store", "--ip", "10.7.1.9"]);
    start("client", &["--network", "one"]);
    start("stranger", &["--network", "two"]);
    for name in ["db", "store", "DB", &db[..12], "db.one"] {
        assert_eq!(address(&ask(&world, "client", name, A, false)), [10, 7, 1, 9], "{name}");
    }
    assert_eq!(address(&ask(&world, "client", "db", A, true)), [10, 7, 1, 9]);
    // It has no address of that kind, which is not for the outside to say.
    let none = ask(&world, "client", "db", AAAA, false);
    assert_eq!((code(&none), answers(&none)), (0, 0));
    let reverse = ask(&world, "client", "9.1.7.10.in-addr.arpa", PTR, false);
    assert!(reverse.windows(7).any(|part| part == b"\x02db\x03one"), "{reverse:?}");
    assert_eq!(code(&ask(&world, "client", "77.1.7.10.in-addr.arpa", PTR, false)), 3);
    // On another network the name is the outside's.
    assert_eq!(address(&ask(&world, "stranger", "db", A, false)), [192, 0, 2, 7]);
    let ping = world.nman(["exec", "client", "ping", "-c", "1", "-w", "5", "store"]).ok();
    assert!(ping.stdout().contains("10.7.1.9"), "{ping}");
    world.nman(["network", "connect", "--alias", "late", "one", "stranger"]).ok();
    assert_eq!(address(&ask(&world, "stranger", "db", A, false)), [10, 7, 1, 9]);
    assert_ne!(address(&ask(&world, "client", "late", A, false)), [192, 0, 2, 7]);
    world.nman(["rename", "db", "base"]).ok();
    assert_eq!(address(&ask(&world, "client", "base", A, false)), [10, 7, 1, 9]);
    let reverse = ask(&world, "client", "9.1.7.10.in-addr.arpa", PTR, false);
    assert!(reverse.windows(9).any(|part| part == b"\x04base\x03one"), "{reverse:?}");
    world.nman(["rm", "-f", "base"]).ok();
    assert_eq!(address(&ask(&world, "client", "store", A, false)), [192, 0, 2, 7]);
    world.nman(["rm", "-f", "client", "stranger"]).ok();
    world.nman(["network", "rm", "one", "two"]).ok();
    world.assert_no_container();
}

#[test]
fn other_names_follow_the_hosts_resolv_conf() {
    let world = World::new();
    let _stub = Stub::start();
    // A server of its own in the container finds port 53 free.
    let script = "nc -u -l -p 53 >/dev/null & sleep 1000";
    world.run(&["-d", "--name", "aa", "--network", "bridge"], &["sh", "-c", script]).ok();
    assert_eq!(address(&ask(&world, "aa", "example.test", A, false)), [192, 0, 2, 7]);
    let cut = ask(&world, "aa", "big.test", A, false);
    assert_eq!((cut[2] & 2, answers(&cut)), (2, 0), "the server's own word that it was cut");
    assert_eq!(address(&ask(&world, "aa", "big.test", A, true)), [192, 0, 2, 7]);
    let seen = world.nman(["exec", "aa", "cat", "/etc/resolv.conf"]).ok().stdout();
    assert_eq!(seen, "nameserver 127.0.0.11\nsearch corp.test\noptions ndots:0\n");
    // The host changes its mind while the container runs: a server that is not there, then one that is.
    std::fs::write("/etc/resolv.conf", "nameserver 127.0.0.99\n").unwrap();
    assert_eq!(code(&ask(&world, "aa", "example.test", A, false)), 2);
    assert_eq!(code(&ask(&world, "aa", "example.test", A, true)), 2);
    std::fs::write("/etc/resolv.conf", "nameserver 127.0.0.99\nnameserver 127.0.0.53\n").unwrap();
    assert_eq!(address(&ask(&world, "aa", "example.test", A, false)), [192, 0, 2, 7]);
    assert_eq!(address(&ask(&world, "aa", "example.test", A, true)), [192, 0, 2, 7]);
    // No port of the host is taken for it.
    UdpSocket::bind("127.0.0.11:53").unwrap();
    UdpSocket::bind("10.90.0.1:53").unwrap();
    world.nman(["rm", "-f", "aa"]).ok();
    world.assert_no_container();
}

#[test]
fn nothing_leaks_out_of_an_internal_network_by_names() {
    let world = World::new();
    let stub = Stub::start();
    world.nman(["network", "create", "--internal", "--subnet", "10.7.1.0/24", "vault"]).ok();
    let options = ["-d", "--name", "aa", "--network", "vault", "-p", "8080:80"];
    world.run(&options, &["sleep", "1000"]).ok();
    assert_eq!(address(&ask(&world, "aa", "aa", A, false)), [10, 7, 1, 2]);
    for (name, stream) in [("secret.example.test", false), ("secret.example.test", true)] {
        assert_eq!(code(&ask(&world, "aa", name, A, stream)), 3);
    }
    assert_eq!(stub.asked(), 0, "a query has left an internal network");
    let routes = world.nman(["exec", "aa", "ip", "route"]).ok().stdout();
    assert!(!routes.contains("default"), "{routes}");
    assert_eq!(world.inspect("aa", "/NetworkSettings/Ports"), serde_json::json!({}));
    // Beside a network that leads out, names do, too.
    world.nman(["network", "connect", "bridge", "aa"]).ok();
    assert_eq!(address(&ask(&world, "aa", "example.test", A, false)), [192, 0, 2, 7]);
    world.nman(["rm", "-f", "aa"]).ok();
    world.nman(["network", "rm", "vault"]).ok();
    world.assert_no_container();
}

#[test]
fn a_flood_of_queries_is_bounded_and_a_neighbour_still_answered() {
    let world = World::new();
    let _stub = Stub::start();
    world.run(&["-d", "--name", "aa", "--network", "bridge"], &["sleep", "1000"]).ok();
    // A server that never answers: all of these stay outstanding.
    let _silent = UdpSocket::bind("127.0.0.98:53").unwrap();
    std::fs::write("/etc/resolv.conf", "nameserver 127.0.0.98\n").unwrap();
    let pid = world.inspect("aa", "/State/Pid");
    let namespace = std::fs::File::open(format!("/proc/{pid}/ns/net")).unwrap();
    netns::run_in(namespace.as_fd(), || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect("127.0.0.11:53").unwrap();
        for _ in 0..2000 {
            let _ = socket.send(&query("example.test", A));
        }
        Ok(())
    })
    .unwrap();
    // So do connections that ask nothing, but for those that are one too many.
    let mut connections = netns::run_in(namespace.as_fd(), || {
        Ok([(); 40].map(|()| TcpStream::connect("127.0.0.11:53").unwrap()))
    })
    .unwrap();
    let last = connections.last_mut().unwrap();
    last.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    assert_eq!(last.read(&mut [0]).expect("it is let go at once"), 0);
    // Links go with their namespace, which lives as long as it is open.
    drop(namespace);
    assert_eq!(address(&ask(&world, "aa", "aa", A, false))[..2], [10, 90]);
    let monitor = stat(&pid.to_string(), PARENT);
    let descriptors = std::fs::read_dir(format!("/proc/{monitor}/fd")).unwrap().count();
    assert!(descriptors < 150, "{descriptors} descriptors are open");
    drop(connections);
    world.nman(["rm", "-f", "aa"]).ok();
    world.assert_no_container();
}

#[test]
fn a_resolver_without_descriptors_takes_no_connection_for_a_while_and_is_not_busy() {
    let world = World::new();
    world.run(&["-d", "--name", "aa", "--network", "bridge"], &["sleep", "1000"]).ok();
    let pid = world.inspect("aa", "/State/Pid");
    let monitor = stat(&pid.to_string(), PARENT).to_string();
    let open = || super::world::entries(format!("/proc/{monitor}/fd").as_ref()).len() as u64;
    let limit = |descriptors| {
        let limit = Rlimit { current: Some(descriptors), maximum: Some(4096) };
        prlimit(Pid::from_raw(monitor.parse().unwrap()), Resource::Nofile, limit).unwrap();
    };
    // No further ones are to be had.
    limit(open());
    let namespace = std::fs::File::open(format!("/proc/{pid}/ns/net")).unwrap();
    let mut clients = netns::run_in(namespace.as_fd(), || {
        Ok([(); 4].map(|()| TcpStream::connect("127.0.0.11:53").unwrap()))
    })
    .unwrap();
    drop(namespace);
    clients.iter_mut().for_each(|client| send(client, &query("aa", A)));
    let computed = || stat(&monitor, USER_TIME) + stat(&monitor, SYSTEM_TIME);
    let begun = computed();
    std::thread::sleep(Duration::from_secs(2));
    assert!(computed() - begun < 20, "{} of 200", computed() - begun);
    limit(4096);
    for client in &mut clients {
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        // One that was let in before could not be told who that is, nor that there is none.
        let answer = receive(client);
        assert!(code(&answer) == 2 || address(&answer)[..2] == [10, 90], "{answer:?}");
    }
    assert_eq!(address(&ask(&world, "aa", "aa", A, true))[..2], [10, 90]);
    drop(clients);
    world.nman(["rm", "-f", "aa"]).ok();
    world.assert_no_container();
}

#[test]
fn servers_of_the_command_line_are_asked_from_the_containers_own_namespace() {
    let world = World::new();
    world.run(&["-d", "--name", "first", "--network", "bridge"], &["sleep", "1000"]).ok();
    let server = UdpSocket::bind("10.90.0.1:53").unwrap();
    let options = ["-d", "--name", "aa", "--network", "bridge", "--dns", "10.90.0.1"];
    world.run(&options, &["sleep", "1000"]).ok();
    let served = std::thread::spawn(move || {
        let mut query = [0; 512];
        let (length, client) = server.recv_from(&mut query).unwrap();
        server.send_to(&answer(&query[..length]), client).unwrap();
        client.ip().to_string()
    });
    assert_eq!(address(&ask(&world, "aa", "example.test", A, false)), [192, 0, 2, 7]);
    let own = world.inspect("aa", "/NetworkSettings/IPAddress");
    assert_eq!(own.as_str().unwrap(), served.join().unwrap());
    world.nman(["rm", "-f", "aa", "first"]).ok();
    world.assert_no_container();
}

#[test]
fn those_who_share_a_name_take_turns_to_be_the_first() {
    let world = World::new();
    world.nman(["network", "create", "--subnet", "10.7.1.0/24", "shop"]).ok();
    for name in ["one", "two"] {
        let options = ["-d", "--name", name, "--network", "shop", "--network-alias", "web"];
        world.run(&options, &["sleep", "1000"]).ok();
    }
    let last = |number| {
        let answer = ask_this(&world, "one", &numbered(number, "web", A), false);
        assert_eq!(answers(&answer), 2, "{answer:?}");
        *answer.last_chunk::<4>().unwrap()
    };
    let mut both = [last(7), last(8)];
    both.sort_unstable();
    assert_eq!(both, [[10, 7, 1, 2], [10, 7, 1, 3]]);
    world.nman(["rm", "-f", "one", "two"]).ok();
    world.nman(["network", "rm", "shop"]).ok();
    world.assert_no_container();
}

#[test]
fn servers_of_the_command_line_are_asked_on_an_internal_network_too() {
    let world = World::new();
    world.nman(["network", "create", "--internal", "--subnet", "10.7.1.0/24", "vault"]).ok();
    let inside = ["-d", "--network", "vault"];
    world.run(&[&inside[..], &["--name", "server"]].concat(), &["sleep", "1000"]).ok();
    let pid = world.inspect("server", "/State/Pid");
    let namespace = std::fs::File::open(format!("/proc/{pid}/ns/net")).unwrap();
    let server =
        netns::run_in(namespace.as_fd(), || Ok(UdpSocket::bind("10.7.1.2:53").unwrap())).unwrap();
    drop(namespace);
    let options = [&inside[..], &["--name", "aa", "--dns", "10.7.1.2"]].concat();
    world.run(&options, &["sleep", "1000"]).ok();
    let served = std::thread::spawn(move || {
        let mut query = [0; 512];
        let (length, client) = server.recv_from(&mut query).unwrap();
        server.send_to(&answer(&query[..length]), client).unwrap();
    });
    assert_eq!(address(&ask(&world, "aa", "example.test", A, false)), [192, 0, 2, 7]);
    served.join().unwrap();
    world.nman(["rm", "-f", "aa", "server"]).ok();
    world.nman(["network", "rm", "vault"]).ok();
    world.assert_no_container();
}

#[test]
fn an_answer_of_somebody_else_is_not_taken() {
    let world = World::new();
    world.run(&["-d", "--name", "aa", "--network", "bridge"], &["sleep", "1000"]).ok();
    std::fs::write("/etc/resolv.conf", "nameserver 127.0.0.53\n").unwrap();
    let (server, liar) =
        (UdpSocket::bind("127.0.0.53:53").unwrap(), UdpSocket::bind("127.0.0.54:53").unwrap());
    let served = std::thread::spawn(move || {
        let mut query = [0; 512];
        let (length, client) = server.recv_from(&mut query).unwrap();
        let honest = answer(&query[..length]);
        let mut lie = honest.clone();
        *lie.last_mut().unwrap() = 66;
        // From another address; from the right one with another number; about another name.
        liar.send_to(&lie, client).unwrap();
        let mut other_number = lie.clone();
        other_number[0] ^= 1;
        server.send_to(&other_number, client).unwrap();
        let mut other_name = lie;
        other_name[13] = b'X';
        server.send_to(&other_name, client).unwrap();
        server.send_to(&honest, client).unwrap();
        query[..2].to_vec()
    });
    assert_eq!(address(&ask(&world, "aa", "example.test", A, false)), [192, 0, 2, 7]);
    assert_ne!(served.join().unwrap(), [7, 7], "the number is the resolver's own");
    world.nman(["rm", "-f", "aa"]).ok();
    world.assert_no_container();
}

/// A nameserver that has no answer, and says so by this code.
fn start_refusing(place: &'static str, code: u8) {
    let refuse = move |query: &[u8]| {
        let mut answer = query.to_vec();
        (answer[2], answer[3]) = (answer[2] | 0x80, 0x80 | code);
        answer
    };
    let datagrams = UdpSocket::bind(place).unwrap();
    let connections = TcpListener::bind(place).unwrap();
    std::thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((length, client)) = datagrams.recv_from(&mut query) {
            datagrams.send_to(&refuse(&query[..length]), client).unwrap();
        }
    });
    std::thread::spawn(move || {
        for stream in connections.incoming() {
            let mut stream = stream.unwrap();
            let query = receive(&mut stream);
            send(&mut stream, &refuse(&query));
        }
    });
}

#[test]
fn not_every_name_waits_for_a_server_that_is_down() {
    let world = World::new();
    let _stub = Stub::start();
    let _silent = UdpSocket::bind("127.0.0.98:53").unwrap();
    let servers = "nameserver 127.0.0.98\nnameserver 127.0.0.53\n";
    std::fs::write("/etc/resolv.conf", servers).unwrap();
    world.run(&["-d", "--name", "aa", "--network", "bridge"], &["sleep", "1000"]).ok();
    assert_eq!(address(&ask(&world, "aa", "first.test", A, false)), [192, 0, 2, 7]);
    let begun = Instant::now();
    for stream in [false, true, false] {
        assert_eq!(address(&ask(&world, "aa", "next.test", A, stream)), [192, 0, 2, 7]);
    }
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    world.nman(["rm", "-f", "aa"]).ok();
    world.assert_no_container();
}

#[test]
fn a_server_that_only_one_interface_reaches_is_asked_there() {
    let world = World::new();
    let host = HostNetwork::connect(&world.sandbox);
    let add = |address: &str, link: &str| {
        Capture::of("ip").args(["addr", "add", address, "dev", link, "nodad"]).run().ok();
    };
    add("fe80::1/64", HostNetwork::UPLINK);
    host.world().run(|| add("fe80::53/64", "world0"));
    host.world().serve(|ready| {
        let server = UdpSocket::bind("[::]:53").unwrap();
        ready();
        let mut query = [0; 512];
        while let Ok((length, client)) = server.recv_from(&mut query) {
            server.send_to(&answer(&query[..length]), client).unwrap();
        }
    });
    let servers = format!("nameserver fe80::53%{}\n", HostNetwork::UPLINK);
    std::fs::write("/etc/resolv.conf", servers).unwrap();
    world.run(&["-d", "--name", "aa", "--network", "bridge"], &["sleep", "1000"]).ok();
    assert_eq!(address(&ask(&world, "aa", "example.test", A, false)), [192, 0, 2, 7]);
    world.nman(["rm", "-f", "aa"]).ok();
    drop(host);
    world.assert_no_container();
}

#[test]
fn a_server_that_has_no_answer_is_followed_by_the_next() {
    const REFUSED: u8 = 5;
    let world = World::new();
    let _stub = Stub::start();
    start_refusing("127.0.0.97:53", REFUSED);
    // Whoever connects to it is never let in.
    let _silent = TcpListener::bind("127.0.0.98:53").unwrap();
    world.run(&["-d", "--name", "aa", "--network", "bridge"], &["sleep", "1000"]).ok();
    for before in ["127.0.0.97", "127.0.0.98"] {
        let servers = format!("nameserver {before}\nnameserver 127.0.0.53\n");
        std::fs::write("/etc/resolv.conf", servers).unwrap();
        for stream in [false, true] {
            let answer = ask(&world, "aa", "example.test", A, stream);
            assert_eq!(address(&answer), [192, 0, 2, 7], "after {before}, stream: {stream}");
        }
    }
    // The last one's word is passed on as it is.
    std::fs::write("/etc/resolv.conf", "nameserver 127.0.0.97\n").unwrap();
    for stream in [false, true] {
        assert_eq!(code(&ask(&world, "aa", "example.test", A, stream)), REFUSED);
    }
    world.nman(["rm", "-f", "aa"]).ok();
    world.assert_no_container();
}

#[test]
fn a_client_that_breaks_off_keeps_nobody_busy() {
    let world = World::new();
    let server = TcpListener::bind("127.0.0.98:53").unwrap();
    std::fs::write("/etc/resolv.conf", "nameserver 127.0.0.98\n").unwrap();
    world.run(&["-d", "--name", "aa", "--network", "bridge"], &["sleep", "1000"]).ok();
    let pid = world.inspect("aa", "/State/Pid").to_string();
    let monitor = stat(&pid, PARENT).to_string();
    let time = || stat(&monitor, USER_TIME) + stat(&monitor, SYSTEM_TIME);
    let before = time();
    let (is_asked, asked) = channel();
    let left = std::thread::spawn(move || {
        let mut stream = server.accept().unwrap().0;
        receive(&mut stream);
        is_asked.send(()).unwrap();
        // Nothing more comes before the resolver lets go of it.
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    });
    let namespace = std::fs::File::open(format!("/proc/{pid}/ns/net")).unwrap();
    netns::run_in(namespace.as_fd(), move || {
        let mut client = TcpStream::connect("127.0.0.11:53").unwrap();
        send(&mut client, &query("example.test", A));
        asked.recv().unwrap();
        // Closed so, it is reset.
        rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
        Ok(())
    })
    .unwrap();
    drop(namespace);
    left.join().unwrap();
    // In hundredths of a second.
    let spent = time() - before;
    assert!(spent < 50, "{spent}");
    world.nman(["rm", "-f", "aa"]).ok();
    world.assert_no_container();
}
