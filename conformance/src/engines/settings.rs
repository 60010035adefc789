//! Docker and Podman: what a container is given, seen from inside.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use crate::managers::Kind;

use super::life::MEMORY_LIMIT;
use super::trial::{Operation, Trial, operation, until};

pub(super) fn operations() -> Vec<Operation> {
    [limits(), identity(), files(), isolation(), networks()].concat()
}

/// The text of a file of a cgroup, under its name on v1 or on v2.
fn cgroup_file(t: &Trial, options: &[&str], v1: &str, v2: &str) -> Result<String, String> {
    let script = format!("cat /sys/fs/cgroup/{v1} 2>/dev/null || cat /sys/fs/cgroup/{v2}");
    Ok(t.run(options, &["sh", "-c", &script])?.ok()?.text())
}

fn one_of(seen: &str, expected: &[&str]) -> Result<(), String> {
    if expected.contains(&seen) { Ok(()) } else { Err(format!("{seen:?} is none of {expected:?}")) }
}

fn limits() -> Vec<Operation> {
    vec![
        operation("--memory", |t| {
            t.run(&["--memory", "48m"], &["sh", "-c", MEMORY_LIMIT])?.prints("50331648")
        }),
        operation("--cpus", |t| {
            let seen = cgroup_file(t, &["--cpus", "0.5"], "cpu/cpu.cfs_quota_us", "cpu.max")?;
            one_of(&seen, &["50000", "50000 100000"])
        }),
        operation("--cpu-shares", |t| {
            let seen = cgroup_file(t, &["--cpu-shares", "512"], "cpu/cpu.shares", "cpu.weight")?;
            one_of(&seen, &["512", "20"])
        }),
        operation("--cpuset-cpus", |t| {
            let options = ["--cpuset-cpus", "0"];
            one_of(&cgroup_file(t, &options, "cpuset/cpuset.cpus", "cpuset.cpus")?, &["0"])
        }),
        operation("--pids-limit stops a crowd", |t| {
            let seen = cgroup_file(t, &["--pids-limit", "12"], "pids/pids.max", "pids.max")?;
            one_of(&seen, &["12"])?;
            let script = "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14; do sleep 1 & done; echo all";
            t.run(&["--pids-limit", "8"], &["sh", "-c", script])?
                .fails_with(&["fork", "resource temporarily unavailable"])
        }),
        operation("--ulimit", |t| {
            // The shell counts blocks of 512 bytes.
            let words = ["sh", "-c", "ulimit -Sf; ulimit -Hf"];
            t.run(&["--ulimit", "fsize=51200:102400"], &words)?.prints("100\n200")
        }),
        operation("--shm-size", |t| {
            t.run(&["--shm-size", "7m"], &["df", "-k", "/dev/shm"])?.shows(&["7168"])
        }),
        operation("--oom-score-adj", |t| {
            t.run(&["--oom-score-adj", "321"], &["cat", "/proc/self/oom_score_adj"])?.prints("321")
        }),
    ]
}

fn identity() -> Vec<Operation> {
    vec![
        operation("--user by number", |t| {
            t.run(&["--user", "1234:2345"], &["sh", "-c", "id -u; id -g"])?.prints("1234\n2345")
        }),
        operation("--user by name", |t| {
            t.run(&["--user", "user"], &["sh", "-c", "id -un; id -g"])?.prints("user\n1000")
        }),
        operation("--group-add", |t| {
            t.run(&["--group-add", "777"], &["id", "-G"])?.shows(&["777"])
        }),
        operation("--cap-drop ALL --cap-add", |t| {
            let options = ["--cap-drop", "ALL", "--cap-add", "NET_BIND_SERVICE"];
            t.run(&options, &["grep", "CapEff", "/proc/self/status"])?.shows(&["0000000000000400"])
        }),
        operation("--privileged", |t| {
            let script = "mkdir -p /mnt && mount -t tmpfs x /mnt && echo mounted";
            t.run(&["--privileged"], &["sh", "-c", script])?.shows(&["mounted"])
        }),
        operation("--security-opt no-new-privileges", |t| {
            let options = ["--security-opt", "no-new-privileges"];
            t.run(&options, &["grep", "NoNewPrivs", "/proc/self/status"])?.shows(&["1"])
        }),
        operation("a filter of system calls by default", |t| {
            t.run(&[], &["grep", "Seccomp:", "/proc/self/status"])?.shows(&["2"])
        }),
        operation("--security-opt seccomp=unconfined", |t| {
            let options = ["--security-opt", "seccomp=unconfined"];
            t.run(&options, &["grep", "Seccomp:", "/proc/self/status"])?.shows(&["0"])
        }),
        operation("--userns with mapped ids", |t| {
            let options = ["--uidmap", "0:100000:65536", "--gidmap", "0:200000:65536"];
            let script = "id -u; cat /proc/self/uid_map /proc/self/gid_map";
            t.run(&options, &["sh", "-c", script])?.shows(&["0", "100000", "200000"])
        })
        .only(Kind::Podman),
    ]
}

fn files() -> Vec<Operation> {
    fn shared(t: &Trial, options: &str) -> String {
        format!("{}:/data{options}", t.scratch().display())
    }
    fn read(path: &Path) -> Result<String, String> {
        std::fs::read_to_string(path).map_err(|error| format!("`{}`: {error}", path.display()))
    }
    vec![
        operation("-v of a directory, writable", |t| {
            t.run(&["-v", &shared(t, "")], &["sh", "-c", "echo written >/data/file"])?.ok()?;
            one_of(read(&t.scratch().join("file"))?.trim(), &["written"])
        }),
        operation("-v of a directory, read-only", |t| {
            let ran = t.run(&["-v", &shared(t, ":ro")], &["touch", "/data/file"])?;
            ran.fails_with(&["read-only file system"])
        }),
        operation("-v of a named volume keeps its data", |t| {
            let volume = format!("{}-volume:/data", t.name());
            t.run(&["-v", &volume], &["sh", "-c", "echo kept >/data/file"])?.ok()?;
            t.run(&["-v", &volume], &["cat", "/data/file"])?.prints("kept")?;
            t.call(["volume", "rm", &format!("{}-volume", t.name())])?.ok().map(drop)
        }),
        operation("-v with propagation", |t| {
            let shown = "grep ' /data ' /proc/self/mountinfo";
            t.run(&["-v", &shared(t, ":rslave")], &["sh", "-c", shown])?.shows(&["/data"])
        }),
        operation("--mount of one file", |t| {
            let file = t.scratch().join("one");
            std::fs::write(&file, "one file").map_err(|error| error.to_string())?;
            let mount = format!("type=bind,source={},target=/etc/one", file.display());
            t.run(&["--mount", &mount], &["cat", "/etc/one"])?.prints("one file")
        }),
        operation("--tmpfs", |t| {
            let options = ["--tmpfs", "/scratch:size=1m,mode=1777"];
            t.run(&options, &["sh", "-c", "touch /scratch/x; df -k /scratch"])?.shows(&["1024"])
        }),
        operation("--read-only", |t| {
            t.run(&["--read-only"], &["touch", "/file"])?.fails_with(&["read-only file system"])
        }),
        operation("--device", |t| {
            let device = "/dev/zero:/dev/nought:rw";
            t.run(&["--device", device], &["sh", "-c", "head -c 3 /dev/nought | wc -c"])?
                .prints("3")
        }),
        operation("--device-cgroup-rule allows what it names", |t| {
            // /dev/fuse, and /dev/kmsg, which the rule does not name.
            let script = "mknod /a c 10 229; mknod /b c 1 11; true <>/a && echo opened; true <>/b || echo refused";
            t.run(&["--device-cgroup-rule", "c 10:229 rw"], &["sh", "-c", script])?
                .prints("opened\nrefused")
        }),
        operation("-w and -e", |t| {
            let options = ["-w", "/var", "-e", "GREETING=hello world"];
            t.run(&options, &["sh", "-c", "pwd; echo $GREETING"])?.prints("/var\nhello world")
        }),
        operation("--workdir that the image lacks is made", |t| {
            t.run(&["-w", "/new/place"], &["pwd"])?.prints("/new/place")
        })
        .only(Kind::Docker),
        operation("--entrypoint", |t| {
            t.run(&["--entrypoint", "echo"], &["from", "entry"])?.prints("from entry")
        }),
    ]
}

fn isolation() -> Vec<Operation> {
    vec![
        operation("--hostname", |t| t.run(&["--hostname", "box"], &["hostname"])?.prints("box")),
        operation("the program is the first of its pid namespace", |t| {
            t.run(&[], &["sh", "-c", "echo $$"])?.prints("1")
        }),
        operation("--pid host", |t| {
            let own = std::fs::read_link("/proc/self/ns/pid").map_err(|error| error.to_string())?;
            let own = own.display().to_string();
            t.run(&["--pid", "host"], &["readlink", "/proc/self/ns/pid"])?.prints(&own)
        }),
        operation("--pid container:", |t| {
            t.sleeper(&[])?;
            let name = format!("container:{}", t.name());
            let second = format!("{}-second", t.name());
            let mut words = t.run_words(&["--rm", "--pid", &name], &["ps"]);
            let place = words.iter().position(|word| *word == t.name()).ok_or("no name")?;
            words[place] = &second;
            t.call(&words)?.shows(&["sleep 600"])
        }),
        operation("--ipc host", |t| {
            let own = std::fs::read_link("/proc/thread-self/ns/ipc").map_err(|e| e.to_string())?;
            let own = own.display().to_string();
            t.run(&["--ipc", "host"], &["readlink", "/proc/self/ns/ipc"])?.prints(&own)
        }),
        operation("--sysctl", |t| {
            let options = ["--sysctl", "net.ipv4.ip_default_ttl=77"];
            t.run(&options, &["cat", "/proc/sys/net/ipv4/ip_default_ttl"])?.prints("77")
        }),
        operation("--cgroupns private", |t| {
            let ran = t.run(&["--cgroupns", "private"], &["cat", "/proc/self/cgroup"])?.ok()?;
            let text = ran.text();
            if text.lines().any(|line| line.ends_with(":/")) { Ok(()) } else { Err(text) }
        }),
        operation("masked paths show nothing", |t| {
            t.run(&[], &["sh", "-c", "cat /proc/timer_list /proc/kcore | wc -c"])?.prints("0")
        }),
        operation("--security-opt systempaths=unconfined", |t| {
            let options = ["--security-opt", "systempaths=unconfined"];
            t.run(&options, &["sh", "-c", "mount | grep -c ' /proc/'; true"])?.prints("0")
        }),
        operation("--init reaps", |t| {
            t.run(&["--init"], &["sh", "-c", "echo $$; exit 6"])?.exits(6).map(drop)
        })
        .only(Kind::Docker),
    ]
}

/// What an HTTP server on loopback answers, as this thread's network namespace reaches it.
fn fetch(port: u16) -> std::io::Result<String> {
    let patience = Some(Duration::from_secs(5));
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(patience)?;
    stream.write_all(b"GET /page HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn networks() -> Vec<Operation> {
    vec![
        operation("--network none has loopback alone", |t| {
            t.run(&["--network", "none"], &["ls", "/sys/class/net"])?.prints("lo")
        }),
        operation("--network host", |t| {
            let own = std::fs::read_link("/proc/thread-self/ns/net").map_err(|e| e.to_string())?;
            let own = own.display().to_string();
            t.run(&["--network", "host"], &["readlink", "/proc/self/ns/net"])?.prints(&own)
        }),
        operation("-p publishes a port", |t| {
            // A port of its own for each runtime: a proxy may outlive its container for a moment.
            let number =
                t.name().bytes().fold(0, |sum, byte| (sum * 31 + u32::from(byte)) % 10_000);
            let port = u16::try_from(20_000 + number).map_err(|error| error.to_string())?;
            let script = "echo served >/tmp/page; exec httpd -f -p 80 -h /tmp";
            t.start(&["-p", &format!("127.0.0.1:{port}:80")], &["sh", "-c", script])?;
            until(|| match fetch(port) {
                Ok(page) if page.ends_with("served\n") => Ok(()),
                Ok(page) => Err(format!("port {port} says {page:?}")),
                Err(error) => Err(format!("port {port}: {error}")),
            })
        }),
    ]
}
