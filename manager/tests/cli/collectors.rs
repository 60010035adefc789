//! Log drivers over a network: what a collector of the test's own gets, whether it is there from the beginning, goes away, or is somebody
//! else.

use super::log_drivers::said;
use super::world::{IMAGE, World, eventually};
use nconform::fixture::make_certificates;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// So long a collector waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A line each tenth of a second, without an end.
pub(crate) const COUNTS: &str = "n=0; while :; do n=$((n+1)); echo line $n; sleep 0.1; done";

pub(crate) fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listener.local_addr().unwrap();
    (listener, place)
}

/// A place where nobody listens.
pub(crate) fn nowhere() -> SocketAddr {
    listen().1
}

pub(crate) fn accept(listener: &TcpListener) -> TcpStream {
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// What a server with the certificate in this directory offers; `with_client` asks for a client's, too.
pub(crate) fn server(certificates: &Path, with_client: bool) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let read = |name: &str| CertificateDer::from_pem_file(certificates.join(name)).unwrap();
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = if with_client {
        let mut roots = RootCertStore::empty();
        roots.add(read("ca.pem")).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        builder.with_client_cert_verifier(verifier.build().unwrap())
    } else {
        builder.with_no_client_auth()
    };
    let key = PrivateKeyDer::from_pem_file(certificates.join("server.key")).unwrap();
    Arc::new(builder.with_single_cert(vec![read("server.pem")], key).unwrap())
}

pub(crate) fn accept_tls(listener: &TcpListener, config: &Arc<ServerConfig>) -> impl Read {
    let tls = ServerConnection::new(Arc::clone(config)).unwrap();
    StreamOwned::new(tls, accept(listener))
}

/// Lines of a stream that may be cut off.
fn lines(stream: impl Read, count: usize) -> Vec<String> {
    BufReader::new(stream).lines().take(count).map_while(Result::ok).collect()
}

pub(crate) fn options<'a>(driver: &'a str, options: &'a [String]) -> Vec<&'a str> {
    let options = options.iter().flat_map(|option| ["--log-opt", option]);
    ["--name", "web", "--log-driver", driver].into_iter().chain(options).collect()
}

/// Starts the container in the background, for fluentd with these options; `more` are `nman`'s own.
pub(crate) fn start(world: &World, more: &[&str], opts: &[String], script: &str) {
    let options = [&["-d"][..], more, &options("fluentd", opts)].concat();
    world.run(&options, &["sh", "-c", script]).ok();
}

/// Takes the container away, and looks whether that is all of it.
pub(crate) fn clear(world: &World) {
    world.nman(["rm", "-f", "web"]).ok();
    world.assert_no_container();
}

#[test]
fn syslog_is_spoken_over_tls_with_whoever_shows_the_right_certificate() {
    let world = World::new();
    make_certificates(world.root());
    let (listener, place) = listen();
    let file = |name: &str| world.root().join(name).display().to_string();
    let address = format!("syslog-address=tcp+tls://{place}");
    let config = server(world.root(), true);
    let collector = std::thread::spawn(move || lines(accept_tls(&listener, &config), 2));
    let opts = [
        address.clone(),
        format!("syslog-tls-ca-cert={}", file("ca.pem")),
        format!("syslog-tls-cert={}", file("server.pem")),
        format!("syslog-tls-key={}", file("server.key")),
        "syslog-format=rfc5424".to_owned(),
    ];
    world.run(&options("syslog", &opts), &["sh", "-c", "echo out; sleep 0.2; echo next"]).ok();
    let got = collector.join().unwrap();
    for (line, text) in got.iter().zip(["out", "next"]) {
        let (length, message) = line.split_once(' ').unwrap();
        assert_eq!(length.parse(), Ok(message.len() + 1), "{line}");
        assert!(message.starts_with("<30>1 20") && message.ends_with(&format!(" - {text}")));
    }
    assert_eq!(got.len(), 2, "{got:?}");
    assert_eq!(said(&world, "web").0, "out\nnext\n");
    clear(&world);
}

#[test]
fn a_collector_that_shows_another_certificate_gets_nothing() {
    let world = World::new();
    make_certificates(world.root());
    let config = server(world.root(), false);
    let (listener, place) = listen();
    let collector = std::thread::spawn(move || {
        [lines(accept_tls(&listener, &config), 1), lines(accept_tls(&listener, &config), 1)]
    });
    let mut opts = vec![format!("syslog-address=tcp+tls://{place}")];
    let refused = world.run(&options("syslog", &opts), &["echo", "out"]).exits(125);
    refused.says(&format!(
        "failed to initialize logging driver: connect to tcp+tls://{place}: its certificate is not signed by a trusted authority"
    ));
    world.assert_no_container();
    opts.push("syslog-tls-skip-verify=true".to_owned());
    world.run(&options("syslog", &opts), &["echo", "out"]).ok();
    let [before, after] = collector.join().unwrap();
    assert_eq!(before, [""; 0]);
    assert!(after[0].starts_with("<30>") && after[0].ends_with("]: out"), "{after:?}");
    opts.push("syslog-tls-ca-cert=/nowhere/ca.pem".to_owned());
    world.nman(["rm", "web"]).ok();
    opts[1] = "syslog-tls-skip-verify=false".to_owned();
    let refused = world.run(&options("syslog", &opts), &["echo", "out"]).exits(125);
    refused.says("cannot use the certificates in `/nowhere/ca.pem`: no such file or directory");
    world.assert_no_container();
}

#[test]
fn a_collector_that_wants_a_certificate_and_gets_none_is_told_of_before_a_container_is_started() {
    let world = World::new();
    make_certificates(world.root());
    let config = server(world.root(), true);
    let (listener, place) = listen();
    let collector = std::thread::spawn(move || lines(accept_tls(&listener, &config), 1));
    let opts = [
        format!("syslog-address=tcp+tls://{place}"),
        format!("syslog-tls-ca-cert={}", world.root().join("ca.pem").display()),
    ];
    let refused = world.run(&options("syslog", &opts), &["echo", "out"]).exits(125);
    refused.says(&format!(
        "failed to initialize logging driver: connect to tcp+tls://{place}: it does not accept who we are: received fatal alert: CertificateRequired"
    ));
    world.assert_no_container();
    assert_eq!(collector.join().unwrap(), [""; 0]);
}

#[test]
fn what_was_sent_to_a_collector_that_then_refuses_us_is_counted() {
    let world = World::new();
    make_certificates(world.root());
    let config = server(world.root(), true);
    let (listener, place) = listen();
    let collector = std::thread::spawn(move || {
        let mut stream = accept(&listener);
        let mut tls = ServerConnection::new(config).unwrap();
        tls.read_tls(&mut stream).unwrap();
        tls.process_new_packets().unwrap();
        while tls.wants_write() {
            tls.write_tls(&mut stream).unwrap();
        }
        // Our certificate is looked at late.
        std::thread::sleep(Duration::from_secs(1));
        assert!(tls.complete_io(&mut stream).is_err());
    });
    let opts = [
        format!("syslog-address=tcp+tls://{place}"),
        format!("syslog-tls-ca-cert={}", world.root().join("ca.pem").display()),
    ];
    let options = [&["-d"][..], &options("syslog", &opts)].concat();
    world.run(&options, &["sh", "-c", COUNTS]).ok();
    eventually("it is told why nothing arrives", || {
        let error = world.inspect("web", "/State/Error");
        error.as_str().unwrap().contains("it does not accept who we are: ")
    });
    collector.join().unwrap();
    world.nman(["kill", "web"]).ok();
    let error = world.inspect("web", "/State/Error");
    let expected = format!("; {} bytes of output are lost", said(&world, "web").0.len());
    assert!(error.as_str().unwrap().ends_with(&expected), "{error}: not {expected}");
    clear(&world);
}

/// The objects of a stream that is cut at zero bytes.
fn objects(stream: TcpStream, count: usize) -> Vec<Value> {
    let pieces = BufReader::new(stream).split(0).take(count);
    pieces.map(|piece| serde_json::from_slice(&piece.unwrap()).unwrap()).collect()
}

#[test]
fn gelf_comes_in_datagrams_with_dockers_fields() {
    let world = World::new();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let opts = [
        format!("gelf-address=udp://{}", socket.local_addr().unwrap()),
        "labels=role".to_owned(),
        "tag=t/{{.Name}}".to_owned(),
    ];
    let options = [&["--label", "role=front"][..], &options("gelf", &opts)].concat();
    let script = "echo out; echo; sleep 0.2; echo err >&2";
    world.run(&options, &["sh", "-c", script]).ok();
    let mut buffer = vec![0; 65_536];
    for (text, level) in [("out", 6), ("err", 3)] {
        let length = socket.recv(&mut buffer).unwrap();
        assert_eq!(buffer[..2], [0x1f, 0x8b], "it is compressed unless it is said otherwise");
        let mut object: Value =
            serde_json::from_reader(flate2::read::GzDecoder::new(&buffer[..length])).unwrap();
        let time = object["timestamp"].take().as_f64().unwrap();
        let now = nman::clock::Timestamp::now().unix().0;
        assert!((0..60).contains(&(now - time as i64)), "{time} {now}");
        let created = object["_created"].take();
        assert!(created.as_str().unwrap().starts_with("20"), "{created}");
        let host = rustix::system::uname();
        let expected = serde_json::json!({
            "version": "1.1",
            "host": host.nodename().to_str().unwrap(),
            "short_message": text,
            "timestamp": null,
            "level": level,
            "_container_id": world.inspect("web", "/Id"),
            "_container_name": "web",
            "_image_id": world.inspect("web", "/Image"),
            "_image_name": IMAGE,
            "_command": format!("sh -c {script}"),
            "_tag": "t/web",
            "_created": null,
            "_role": "front",
        });
        assert_eq!(object, expected);
    }
    assert_eq!(said(&world, "web"), ("out\n\n".to_owned(), "err\n".to_owned()));
    clear(&world);
}

#[test]
fn gelf_that_is_too_long_for_a_datagram_comes_in_pieces() {
    let world = World::new();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let address = format!("gelf-address=udp://{}", socket.local_addr().unwrap());
    let opts = [address, "gelf-compression-type=none".to_owned()];
    world.run(&options("gelf", &opts), &["sh", "-c", "echo $(seq -s , 1 1000)"]).ok();
    let mut pieces = Vec::new();
    let mut buffer = [0; 2048];
    loop {
        let length = socket.recv(&mut buffer).unwrap();
        assert_eq!(buffer[..2], [0x1e, 0x0f]);
        let (number, count) = (buffer[10] as usize, buffer[11] as usize);
        assert_eq!(number, pieces.len());
        pieces.push(buffer[12..length].to_vec());
        if pieces.len() == count {
            break;
        }
    }
    let object: Value = serde_json::from_slice(&pieces.concat()).unwrap();
    let text = object["short_message"].as_str().unwrap();
    assert!(text.starts_with("1,2,3,") && text.ends_with(",999,1000"), "{text}");
    assert!(pieces.len() > 2, "{}", pieces.len());
    clear(&world);
}

#[test]
fn gelf_waits_for_a_collector_that_comes_back_and_gives_up_one_that_does_not() {
    let world = World::new();
    let place = nowhere();
    let opts = [
        format!("gelf-address=tcp://{place}"),
        "gelf-tcp-max-reconnect=3".to_owned(),
        "cache-disabled=true".to_owned(),
    ];
    let options = [&["-d"][..], &options("gelf", &opts)].concat();
    let refused = world.run(&options, &["sh", "-c", COUNTS]).exits(125);
    refused.says(&format!("connect to tcp://{place}: Connection refused"));
    world.assert_no_container();
    let listener = TcpListener::bind(place).unwrap();
    world.run(&options, &["sh", "-c", COUNTS]).ok();
    let number = |object: &Value| -> u32 {
        object["short_message"].as_str().unwrap().strip_prefix("line ").unwrap().parse().unwrap()
    };
    let first = objects(accept(&listener), 3);
    drop(listener);
    // It is away for longer than it takes to notice.
    std::thread::sleep(Duration::from_millis(500));
    let listener = TcpListener::bind(place).unwrap();
    let stream = accept(&listener);
    let second = objects(stream, 20);
    let second: Vec<u32> = second.iter().map(number).collect();
    assert_eq!(number(&first[0]), 1);
    // What was written to the connection before it was closed is gone, and nothing else.
    assert!(second[0] <= 8, "{second:?}");
    assert!(second.windows(2).all(|pair| pair[1] == pair[0] + 1), "{second:?}");
    assert_eq!(world.inspect("web", "/State/Error"), "");
    drop(listener);
    eventually("it is given up", || {
        let error = world.inspect("web", "/State/Error");
        let error = error.as_str().unwrap();
        error.contains(&format!("tcp://{place} does not take it: Connection refused"))
            && error.ends_with(" bytes of output are lost")
    });
    assert_eq!(world.inspect("web", "/State/Status"), "running");
    clear(&world);
}

#[test]
fn a_collector_that_moves_is_found_where_its_name_leads_to_by_then() {
    let world = World::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let move_to = |address: &str| {
        std::fs::write("/etc/hosts", format!("{address} collector.test\n")).unwrap();
    };
    move_to("127.0.0.1");
    let opts = [
        format!("gelf-address=tcp://collector.test:{port}"),
        "gelf-tcp-max-reconnect=100".to_owned(),
    ];
    let options = [&["-d"][..], &options("gelf", &opts)].concat();
    world.run(&options, &["sh", "-c", COUNTS]).ok();
    objects(accept(&listener), 3);
    let elsewhere = TcpListener::bind(("127.0.0.2", port)).unwrap();
    move_to("127.0.0.2");
    drop(listener);
    objects(accept(&elsewhere), 3);
    assert_eq!(world.inspect("web", "/State/Error"), "");
    clear(&world);
}
