//! Log drivers that send what a container writes to somebody else.

use super::world::{World, eventually};
use nconform::fixture::Output;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

/// What a container says on both streams, the last of it without a newline.
const SAYS: &str = "echo out; echo err >&2; printf 'no end'";

fn datagrams(path: &Path) -> UnixDatagram {
    let socket = UnixDatagram::bind(path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket
}

fn next(socket: &UnixDatagram) -> String {
    let mut buffer = vec![0; 65_536];
    let length = socket.recv(&mut buffer).expect("a message");
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

/// Messages come in the order of the loop's reads: the two streams of a container are not ordered with each other.
fn sorted(socket: &UnixDatagram, count: usize) -> Vec<String> {
    let mut messages: Vec<String> = (0..count).map(|_| next(socket)).collect();
    messages.sort();
    messages
}

pub(crate) fn said(world: &World, name: &str) -> (String, String) {
    let logs: Output = world.nman(["logs", name]).ok();
    (logs.stdout(), logs.stderr())
}

#[test]
fn syslog_gets_a_message_a_line_and_logs_shows_it_as_well() {
    let world = World::new();
    let path = world.path("log");
    let socket = datagrams(&path);
    let address = format!("syslog-address=unixgram://{}", path.display());
    let options = ["--name", "web", "--log-driver", "syslog", "--log-opt", &address];
    let more = ["--log-opt", "tag={{.Name}}", "--log-opt", "syslog-facility=local0"];
    let options = [&options[..], &more].concat();
    let before = nman_time(3);
    // Three hours ahead of UTC: a daemon reads a time without a zone as its own.
    world.run_command(&options, &["sh", "-c", SAYS]).env("TZ", "XXX-3").run().ok();
    let messages = sorted(&socket, 3);
    let after = nman_time(3);
    for (message, (priority, text)) in
        messages.iter().zip([(131, "err"), (134, "no end"), (134, "out")])
    {
        let rest = message.strip_prefix(&format!("<{priority}>")).expect(message);
        let (time, rest) = rest.split_at(15);
        assert!([&before, &after].contains(&&time[..12].to_owned()), "{time}: {before} {after}");
        let rest = rest.strip_prefix(" web[").expect(message);
        let (pid, rest) = rest.split_once("]: ").expect(message);
        assert!(pid.parse::<u32>().is_ok(), "{message}");
        assert_eq!(rest, format!("{text}\n"));
    }
    assert_eq!(said(&world, "web"), ("out\nno end".to_owned(), "err\n".to_owned()));
    assert_eq!(world.inspect("web", "/LogPath"), "");
    assert_eq!(world.inspect("web", "/HostConfig/LogConfig/Type"), "syslog");
    world.nman(["rm", "web"]).ok();
    world.assert_no_container();
}

/// The time to the minute, so many hours ahead of UTC, as syslog has it.
fn nman_time(hours: i64) -> String {
    nman::clock::Timestamp::now().civil(hours * 3600).stamp()[..12].to_owned()
}

#[test]
fn a_stream_that_breaks_is_opened_again_and_what_is_missing_is_said() {
    let world = World::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listener.local_addr().unwrap();
    let address = format!("syslog-address=tcp://{place}");
    let options = ["-d", "--name", "web", "--log-driver", "syslog", "--log-opt", &address];
    let more = ["--log-opt", "syslog-format=rfc5424", "--log-opt", "cache-disabled=true"];
    let script = "n=0; while :; do n=$((n+1)); echo line $n; sleep 0.1; done";
    world.run(&[&options[..], &more].concat(), &["sh", "-c", script]).ok();
    let first = || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        line
    };
    let line = first();
    assert!(line.starts_with("<30>1 20") && line.ends_with(" - line 1\n"), "{line}");
    let id = world.inspect("web", "/Id");
    assert!(line.contains(&format!(" {} ", &id.as_str().unwrap()[..12])), "{line}");
    // The connection is closed, and the next one is there at once.
    let number = |line: &str| line.trim_end().rsplit(' ').next().unwrap().parse::<u32>().unwrap();
    let second = number(&first());
    assert!(second > 1, "{second}");
    drop(listener);
    eventually("it is said what is missing", || {
        let error = world.inspect("web", "/State/Error");
        let error = error.as_str().unwrap();
        error.contains(&format!("tcp://{place} does not take it: Connection refused"))
            && error.ends_with(" bytes of output are lost")
    });
    assert_eq!(world.inspect("web", "/State/Status"), "running");
    let refused = world.nman(["logs", "web"]).exits(1);
    refused.says("configured logging driver does not support reading");
    refused.says("--log-opt cache-disabled");
    world.nman(["rm", "-f", "web"]).ok();
    world.assert_no_container();
}

#[test]
fn the_journal_gets_dockers_fields() {
    let world = World::new();
    // In the test's own mount namespace; the mount point is the machine's, where it has none yet.
    let made = std::fs::create_dir("/run/systemd").is_ok();
    mount("tmpfs", "/run/systemd", "tmpfs", MountFlags::empty(), None).unwrap();
    let refused = world.run(&["--log-driver", "journald"], &["true"]).exits(125);
    refused.says("failed to initialize logging driver: connect to /run/systemd/journal/socket");
    assert_eq!(world.nman(["ps", "-aq"]).ok().stdout(), "");
    std::fs::create_dir("/run/systemd/journal").unwrap();
    let socket = datagrams(Path::new("/run/systemd/journal/socket"));
    let options =
        ["--name", "web", "--log-driver", "journald", "--label", "com.example.role=front"];
    let more = ["--log-opt", "labels=com.example.role", "--log-opt", "tag=t/{{.Name}}"];
    world.run(&[&options[..], &more].concat(), &["sh", "-c", SAYS]).ok();
    let id = world.inspect("web", "/Id");
    let id = id.as_str().unwrap();
    for (message, (text, priority)) in
        sorted(&socket, 3).iter().zip([("err", 3), ("no end", 6), ("out", 6)])
    {
        let mut fields: Vec<&str> = message.lines().collect();
        let time = fields.remove(2);
        assert!(time.starts_with("SYSLOG_TIMESTAMP=20"), "{message}");
        let expected = [
            format!("MESSAGE={text}"),
            format!("PRIORITY={priority}"),
            format!("CONTAINER_ID={}", &id[..12]),
            format!("CONTAINER_ID_FULL={id}"),
            "CONTAINER_NAME=web".to_owned(),
            "CONTAINER_TAG=t/web".to_owned(),
            format!("IMAGE_NAME={}", super::world::IMAGE),
            "SYSLOG_IDENTIFIER=t/web".to_owned(),
            "COM_EXAMPLE_ROLE=front".to_owned(),
        ];
        assert_eq!(fields, expected);
    }
    assert_eq!(said(&world, "web"), ("out\nno end".to_owned(), "err\n".to_owned()));
    world.nman(["rm", "web"]).ok();
    unmount("/run/systemd", UnmountFlags::DETACH).unwrap();
    if made {
        std::fs::remove_dir("/run/systemd").unwrap();
    }
    world.assert_no_container();
}

#[test]
fn an_option_that_a_driver_does_not_have_is_refused_before_anything_is_made() {
    let world = World::new();
    let syslog = |option: &str| {
        let options = ["--log-driver", "syslog", "--log-opt", option];
        world.run(&options, &["true"]).exits(125)
    };
    syslog("syslog-address=logs").says("should be in form proto://address, got logs");
    syslog("syslog-format=x").says("invalid syslog format: `x`");
    syslog("max-size=1m").says("unknown log opt 'max-size' for syslog log driver");
    syslog("syslog-address=unix:///nowhere").says("connect to /nowhere: No such file");
    let unknown = world.run(&["--log-driver", "splunk"], &["true"]).exits(125);
    unknown.says("there are json-file, local, journald, syslog, gelf, fluentd, none");
    world.assert_no_container();
}
