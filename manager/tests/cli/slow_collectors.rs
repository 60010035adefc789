//! Collectors that are slow, silent, or away for a while: what they hold up, and what comes of the lines that wait for them.

use super::collectors::{COUNTS, accept, clear, listen, nowhere, options, start};
use super::fluentd::{acknowledge, number, record, value};
use super::log_drivers::said;
use super::world::{World, eventually};
use rustix::mount::{UnmountFlags, mount_bind, unmount};
use std::net::{TcpListener, UdpSocket};
use std::time::{Duration, Instant};

/// A container that sends receipts are asked for.
fn with_receipts(place: impl std::fmt::Display) -> Vec<String> {
    vec![
        format!("fluentd-address=tcp://{place}"),
        "fluentd-request-ack=true".to_owned(),
        "fluentd-retry-wait=200ms".to_owned(),
    ]
}

#[test]
fn a_collector_that_is_slow_holds_nothing_up_for_long_and_what_it_does_not_take_is_counted() {
    let world = World::new();
    let (listener, place) = listen();
    let collector = std::thread::spawn(move || {
        let mut stream = accept(&listener);
        let mut taken = 0;
        loop {
            // Nothing comes any more. An acknowledgement that nobody has read resets the connection.
            if !stream.peek(&mut [0]).is_ok_and(|length| length > 0) {
                return taken;
            }
            let message = value(&mut stream);
            std::thread::sleep(Duration::from_millis(500));
            taken += number(&message[2]).min(1);
            acknowledge(&mut stream, &message);
        }
    });
    let opts = with_receipts(place);
    let script = "for n in $(seq 200); do echo line $n; done; sleep 1000";
    start(&world, &[], &opts, script);
    std::thread::sleep(Duration::from_secs(1));
    let begun = Instant::now();
    world.nman(["kill", "web"]).ok();
    world.nman(["wait", "web"]).ok();
    // Five seconds for what waits, and some for the machine.
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    let error = world.inspect("web", "/State/Error");
    let error = error.as_str().unwrap();
    let reason = format!("tcp://{place} does not take it: it is too slow; ");
    let lost = error.split_once(&reason).expect(error).1;
    let lost = lost.strip_suffix(" bytes of output are lost").expect(error);
    let all: usize = (1..=200).map(|n| format!("line {n}\n").len()).sum();
    let taken: u32 = collector.join().unwrap();
    // Of the last one nobody here knows that it was taken.
    let sum = |taken: u32| (1..=taken).map(|n| format!("line {n}\n").len()).sum::<usize>();
    let left = all - lost.parse::<usize>().unwrap();
    assert!(
        left == sum(taken) || left == sum(taken - 1),
        "{taken} were taken, {left} bytes of {all}"
    );
    assert!((5..=30).contains(&taken), "{taken}");
    clear(&world);
}

#[test]
fn a_container_is_signalled_and_killed_at_once_while_its_collector_takes_nothing() {
    let world = World::new();
    let (listener, place) = listen();
    let opts = [format!("fluentd-address=tcp://{place}"), "fluentd-write-timeout=1m".to_owned()];
    // Far more than the sockets hold.
    let script = "trap 'echo >/asked' USR1; yes $(seq -s , 1 2000) | head -c 30000000; echo >/done; \
        while :; do sleep 0.1; done";
    start(&world, &[], &opts, script);
    let _silent = accept(&listener);
    let is_there = |file: &str| world.nman(["exec", "web", "test", "-e", file]).success();
    eventually("it is not kept from writing", || is_there("/done"));
    let begun = Instant::now();
    world.nman(["kill", "-s", "USR1", "web"]).ok();
    eventually("the signal has arrived", || is_there("/asked"));
    world.nman(["kill", "web"]).ok();
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    let error = world.inspect("web", "/State/Error");
    assert!(error.as_str().unwrap().ends_with(" bytes of output are lost"), "{error}");
    clear(&world);
}

#[test]
fn a_collector_may_take_its_time_to_acknowledge_and_gets_each_record_once() {
    let world = World::new();
    let (listener, place) = listen();
    let opts = with_receipts(place);
    start(&world, &[], &opts, COUNTS);
    let mut stream = accept(&listener);
    let message = value(&mut stream);
    acknowledge(&mut stream, &message);
    assert_eq!(number(&message[2]), 1);
    drop((stream, listener));
    std::thread::sleep(Duration::from_millis(300));
    let listener = TcpListener::bind(place).unwrap();
    let mut stream = accept(&listener);
    for expected in 2..6 {
        let message = value(&mut stream);
        assert_eq!(number(&message[2]), expected);
        std::thread::sleep(Duration::from_millis(2500));
        acknowledge(&mut stream, &message);
    }
    assert_eq!(world.inspect("web", "/State/Error"), "");
    clear(&world);
}

#[test]
fn what_waits_is_kept_while_its_container_is_started_again() {
    let world = World::new();
    let place = nowhere();
    let opts = [
        format!("fluentd-address=tcp://{place}"),
        "fluentd-async=true".to_owned(),
        "fluentd-retry-wait=200ms".to_owned(),
    ];
    let script = "n=$(cat /n 2>/dev/null || echo 0); n=$((n+1)); echo $n >/n; echo line $n; exit 1";
    start(&world, &["--restart", "on-failure:4"], &opts, script);
    eventually("it was started again", || {
        world.inspect("web", "/RestartCount").as_u64().unwrap() > 1
    });
    let listener = TcpListener::bind(place).unwrap();
    let collector = std::thread::spawn(move || {
        let mut stream = accept(&listener);
        (0..5).map(|_| record(&mut stream)).collect::<Vec<_>>()
    });
    world.nman(["wait", "web"]).ok();
    let records = collector.join().unwrap();
    let lines = records.iter().filter(|record| record["source"] == "stdout");
    assert_eq!(lines.map(number).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert_eq!(world.inspect("web", "/State/Error"), "");
    clear(&world);
}

#[test]
fn what_waits_is_sent_for_the_last_time_when_a_container_is_stopped_between_two_lives() {
    let world = World::new();
    let place = nowhere();
    let opts = [format!("fluentd-address=tcp://{place}"), "fluentd-async=true".to_owned()];
    let options = [&["-d", "--restart", "always"][..], &options("fluentd", &opts)].concat();
    world.run(&options, &["echo", "line 1"]).ok();
    eventually("it rests", || {
        world.inspect("web", "/RestartCount").as_u64().unwrap() > 4
            && world.inspect("web", "/State/Status") == "restarting"
    });
    world.nman(["stop", "web"]).ok();
    let error = world.inspect("web", "/State/Error");
    let all = said(&world, "web").0.len();
    assert!(all >= 5 * "line 1\n".len(), "{all}");
    let expected = format!("Connection refused (os error 111); {all} bytes of output are lost");
    assert!(error.as_str().unwrap().ends_with(&expected), "{error}");
    clear(&world);
}

#[test]
fn a_name_that_cannot_be_looked_up_holds_nothing_up() {
    let world = World::new();
    let resolver = world.path("resolv.conf");
    std::fs::write(&resolver, "nameserver 127.0.0.1\noptions timeout:5 attempts:1\n").unwrap();
    // In the test's own namespaces.
    mount_bind(&resolver, "/etc/resolv.conf").unwrap();
    let server = UdpSocket::bind("127.0.0.1:53").unwrap();
    let opts = [
        "fluentd-address=tcp://collector.test".to_owned(),
        "fluentd-async=true".to_owned(),
        "fluentd-retry-wait=100ms".to_owned(),
    ];
    let begun = Instant::now();
    start(&world, &[], &opts, COUNTS);
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    server.set_nonblocking(true).unwrap();
    while server.recv(&mut [0; 512]).is_ok() {}
    eventually("it is looked up again", || server.recv(&mut [0; 512]).is_ok());
    let begun = Instant::now();
    let before = said(&world, "web").0.lines().count();
    eventually("its log goes on", || said(&world, "web").0.lines().count() > before + 5);
    world.nman(["kill", "web"]).ok();
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    world.nman(["rm", "web"]).ok();
    unmount("/etc/resolv.conf", UnmountFlags::DETACH).unwrap();
    world.assert_no_container();
}

#[test]
fn a_container_is_not_kept_for_long_by_name_servers_that_say_nothing_of_its_collector() {
    let world = World::new();
    let _silent = UdpSocket::bind("127.0.0.53:53").unwrap();
    std::fs::write("/etc/resolv.conf", "nameserver 127.0.0.53\noptions timeout:60\n").unwrap();
    let opts = ["fluentd-address=tcp://collector.test:24224".to_owned()];
    let begun = Instant::now();
    let refused = world.run(&options("fluentd", &opts), &["true"]).exits(125);
    refused.says("look up tcp://collector.test:24224: no name server has answered within 10 s");
    assert!(begun.elapsed() >= Duration::from_secs(10), "{:?}", begun.elapsed());
    // Less than the C library takes.
    assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
    world.assert_no_container();
}
