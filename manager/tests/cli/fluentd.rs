//! Log driver fluentd, with a collector of the test's own.

use super::collectors::{
    COUNTS, PATIENCE, accept, accept_tls, clear, listen, nowhere, options, server, start,
};
use super::log_drivers::said;
use super::monitor::{memory, monitor_of};
use super::world::{World, eventually};
use nconform::fixture::make_certificates;
use serde_json::{Map, Value, json};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::time::Duration;

fn bytes<const LENGTH: usize>(stream: &mut impl Read) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    stream.read_exact(&mut bytes).expect("a whole value");
    bytes
}

/// The next value of MessagePack, of the kinds that a collector is sent.
pub(crate) fn value(stream: &mut impl Read) -> Value {
    let [kind] = bytes(stream);
    let length = match kind {
        0x80..=0x8f => {
            let mut pair = || (value(stream).as_str().unwrap().to_owned(), value(stream));
            return Value::Object((0..kind & 0xf).map(|_| pair()).collect::<Map<_, _>>());
        }
        0x90..=0x9f => return (0..kind & 0xf).map(|_| value(stream)).collect(),
        0xce => return u32::from_be_bytes(bytes(stream)).into(),
        0xd7 => {
            let [kind, time @ ..] = bytes::<9>(stream);
            return json!({ "kind": kind, "time": time });
        }
        0xa0..=0xbf => usize::from(kind & 0x1f),
        0xd9 => usize::from(bytes::<1>(stream)[0]),
        0xda => usize::from(u16::from_be_bytes(bytes(stream))),
        _ => panic!("a value of the kind {kind:#x}"),
    };
    let mut text = vec![0; length];
    stream.read_exact(&mut text).expect("a whole text");
    String::from_utf8(text).unwrap().into()
}

pub(crate) fn record(stream: &mut impl Read) -> Value {
    value(stream)[2].take()
}

/// Says that a message is there.
pub(crate) fn acknowledge(stream: &mut impl Write, message: &Value) {
    let chunk = message[3]["chunk"].as_str().expect("it is asked for");
    let answer = [b"\x81\xa3ack\xb8", chunk.as_bytes()].concat();
    stream.write_all(&answer).unwrap();
}

pub(crate) fn number(record: &Value) -> u32 {
    record["log"].as_str().unwrap().strip_prefix("line ").unwrap().parse().unwrap()
}

#[test]
fn fluentd_gets_a_record_a_line_with_dockers_fields() {
    let world = World::new();
    let (listener, place) = listen();
    let collector = std::thread::spawn(move || {
        let mut stream = accept(&listener);
        (0..5).map(|_| value(&mut stream)).collect::<Vec<_>>()
    });
    let opts = [
        format!("fluentd-address={place}"),
        "labels=role".to_owned(),
        "tag=t.{{.Name}}".to_owned(),
    ];
    let options = [&["--label", "role=front"][..], &options("fluentd", &opts)].concat();
    let script =
        "echo out; sleep 0.2; echo err >&2; sleep 0.2; head -c 40000 /dev/zero | tr '\\0' x; echo";
    world.run(&options, &["sh", "-c", script]).ok();
    let mut messages = collector.join().unwrap();
    let id = world.inspect("web", "/Id");
    let now = nman::clock::Timestamp::now().unix().0;
    for (message, (source, text)) in messages.iter().zip([("stdout", "out"), ("stderr", "err")]) {
        let time = message[1].as_i64().unwrap();
        assert!((0..60).contains(&(now - time)), "{time} {now}");
        let record = json!({
            "container_id": id,
            "container_name": "/web",
            "role": "front",
            "source": source,
            "log": text,
        });
        assert_eq!(*message, json!(["t.web", time, record, {}]));
    }
    let parts = messages.split_off(2);
    let part = parts[0][2]["partial_id"].clone();
    for (part_of, (ordinal, last, length)) in
        parts.iter().zip([("1", "false", 16384), ("2", "false", 16384), ("3", "true", 7232)])
    {
        let record = &part_of[2];
        assert_eq!(record["log"].as_str().unwrap().len(), length);
        assert_eq!(record["partial_message"], "true");
        assert_eq!(record["partial_id"], part);
        assert_eq!(
            (&record["partial_ordinal"], &record["partial_last"]),
            (&json!(ordinal), &json!(last))
        );
    }
    let (stdout, stderr) = said(&world, "web");
    assert_eq!((stdout.len(), &*stderr), (40_005, "err\n"));
    clear(&world);
}

#[test]
fn fluentd_may_be_at_a_socket_of_this_machine_and_is_told_nanoseconds() {
    let world = World::new();
    let path = world.path("fluentd");
    let opts = [
        format!("fluentd-address=unix://{}", path.display()),
        "fluentd-sub-second-precision=true".to_owned(),
    ];
    let options = options("fluentd", &opts);
    let refused = world.run(&options, &["echo", "out"]).exits(125);
    refused.says(&format!("logging driver: connect to {}: No such file", path.display()));
    world.assert_no_container();
    let listener = UnixListener::bind(&path).unwrap();
    world.run(&options, &["echo", "out"]).ok();
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let message = value(&mut stream);
    assert_eq!(message[1]["kind"], 0, "{message}");
    assert_eq!(message[1]["time"].as_array().unwrap().len(), 8);
    assert_eq!(message[2]["log"], "out");
    clear(&world);
}

#[test]
fn fluentd_is_spoken_to_over_tls_if_this_machine_trusts_it() {
    let world = World::new();
    make_certificates(world.root());
    let config = server(world.root(), false);
    let (listener, place) = listen();
    let collector = std::thread::spawn(move || {
        let mut refused = accept_tls(&listener, &config);
        assert!(refused.read(&mut [0]).is_err());
        record(&mut accept_tls(&listener, &config))
    });
    let opts = [format!("fluentd-address=tls://{place}")];
    let options = options("fluentd", &opts);
    let refused = world.run(&options, &["echo", "out"]).exits(125);
    refused.says(&format!("connect to tls://{place}: its certificate is not signed by a trusted"));
    let trusting = world.run_command(&options, &["echo", "out"]);
    trusting.env("SSL_CERT_FILE", world.root().join("ca.pem").display().to_string()).run().ok();
    assert_eq!(collector.join().unwrap()["log"], "out");
    clear(&world);
}

#[test]
fn fluentd_that_comes_later_gets_everything_where_that_is_asked_for() {
    let world = World::new();
    let place = nowhere();
    let mut opts = vec![format!("fluentd-address=tcp://{place}")];
    let refused = world.run(&options("fluentd", &opts), &["sh", "-c", COUNTS]).exits(125);
    refused.says(&format!(
        "failed to initialize logging driver: connect to tcp://{place}: Connection refused"
    ));
    world.assert_no_container();
    opts.extend(["fluentd-async=true", "fluentd-retry-wait=200ms"].map(str::to_owned));
    start(&world, &[], &opts, COUNTS);
    eventually("it has something to say", || said(&world, "web").0.lines().count() > 5);
    let listener = TcpListener::bind(place).unwrap();
    let mut stream = accept(&listener);
    for expected in 1..20 {
        assert_eq!(number(&record(&mut stream)), expected);
    }
    assert_eq!(world.inspect("web", "/State/Error"), "");
    clear(&world);
}

#[test]
fn fluentd_that_does_not_acknowledge_a_message_gets_it_again() {
    let world = World::new();
    let (listener, place) = listen();
    let opts = [
        format!("fluentd-address=tcp://{place}"),
        "fluentd-request-ack=true".to_owned(),
        "fluentd-retry-wait=200ms".to_owned(),
    ];
    start(&world, &[], &opts, COUNTS);
    let mut stream = accept(&listener);
    for expected in 1..5 {
        let message = value(&mut stream);
        acknowledge(&mut stream, &message);
        assert_eq!(number(&message[2]), expected);
    }
    assert_eq!(number(&record(&mut stream)), 5);
    drop((stream, listener));
    std::thread::sleep(Duration::from_millis(500));
    let listener = TcpListener::bind(place).unwrap();
    let mut stream = accept(&listener);
    for expected in 5..15 {
        let message = value(&mut stream);
        acknowledge(&mut stream, &message);
        assert_eq!(number(&message[2]), expected);
    }
    assert_eq!(world.inspect("web", "/State/Error"), "");
    clear(&world);
}

#[test]
fn fluentd_that_never_answers_does_not_keep_a_container_from_ending() {
    let world = World::new();
    let (_listener, place) = listen();
    let opts = [format!("fluentd-address=tcp://{place}"), "fluentd-request-ack=true".to_owned()];
    world.run(&options("fluentd", &opts), &["sh", "-c", "echo out; exit 7"]).exits(7);
    let expected = format!(
        "cannot write the container's log: tcp://{place} does not take it: it is too slow; 4 bytes of output are lost"
    );
    assert_eq!(world.inspect("web", "/State/Error"), *expected);
    assert_eq!(said(&world, "web").0, "out\n");
    clear(&world);
}

#[test]
fn what_waits_for_fluentd_is_bounded_and_what_is_given_up_is_counted() {
    let world = World::new();
    let place = nowhere();
    let opts = [
        format!("fluentd-address=tcp://{place}"),
        "fluentd-async=true".to_owned(),
        "max-buffer-size=500k".to_owned(),
    ];
    let script = "sleep 1; yes $(seq -s , 1 20) | head -c 20000000; echo >/done; sleep 1000";
    start(&world, &[], &opts, script);
    let pid = monitor_of(&world, "web");
    let own = memory(pid, "RssAnon");
    eventually("everything was written, and nothing has waited for the collector", || {
        world.nman(["exec", "web", "test", "-e", "/done"]).success()
    });
    let after = memory(pid, "RssAnon");
    assert!(after <= own + 500 + 512, "{own} kB of its own before, {after} kB after");
    eventually("what is lost is counted", || {
        let error = world.inspect("web", "/State/Error");
        let error = error.as_str().unwrap();
        error.contains("Connection refused") && error.contains("; no more can wait for it; ")
    });
    clear(&world);
}
