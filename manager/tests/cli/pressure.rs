//! Clients whose output nobody reads, or whose input nobody takes: what else is asked of a container still happens.

use super::world::{IMAGE, World, eventually};
use nconform::fixture::Capture;
use rustix::io::{ioctl_fionbio, ioctl_fionread};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// `nman` with pipes that nobody reads, and a stdin that nobody writes to.
fn unread<S: AsRef<str>>(world: &World, args: impl IntoIterator<Item = S>) -> Child {
    Command::new(env!("CARGO_BIN_EXE_nman"))
        .args(args.into_iter().map(|arg| arg.as_ref().to_owned()))
        .env("NMAN_ROOT", world.path("root"))
        .env("NMAN_STATE", world.path("state"))
        .env("NMAN_RUNTIME", super::world::runtime())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn unread_run(world: &World, options: &[&str], script: &str) -> Child {
    let parent = format!("/{}", world.cgroup());
    let before = ["run", "--network", "none", "--cgroup-parent", &parent];
    unread(world, before.iter().chain(options).chain(&[IMAGE, "sh", "-c", script]))
}

/// Until the client's stdout holds all that it can.
#[track_caller]
fn until_full(client: &Child) {
    let stdout = client.stdout.as_ref().unwrap();
    let (mut before, mut same) = (0, 0);
    eventually("the client's stdout is full", || {
        let now = ioctl_fionread(stdout).unwrap();
        same = if now == before { same + 1 } else { 0 };
        before = now;
        now > 30_000 && same > 4
    });
}

/// What the client has written and the code that it ends with.
fn read_all(mut client: Child) -> (String, Option<i32>) {
    let mut text = String::new();
    client.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    (text, client.wait().unwrap().code())
}

#[test]
fn a_client_that_does_not_read_keeps_no_container_from_being_stopped_and_misses_nothing() {
    let world = World::new();
    let client = unread_run(&world, &["--name", "slow"], "exec yes");
    until_full(&client);
    let before = Instant::now();
    world.nman(["stop", "-t", "0", "slow"]).ok();
    assert!(before.elapsed() < Duration::from_secs(8), "{:?}", before.elapsed());
    assert_eq!(world.inspect("slow", "/State/Status"), "exited");
    let logged = world.nman(["logs", "slow"]).ok().stdout();
    let (seen, code) = read_all(client);
    assert_eq!((seen.len(), code), (logged.len(), Some(137)));
    world.nman(["rm", "slow"]).ok();
    world.assert_no_container();
}

#[test]
fn a_client_that_does_not_read_keeps_no_container_from_being_started_again() {
    let world = World::new();
    let script = "trap 'exit 3' TERM; yes & while :; do sleep 0.1; done";
    let options = ["--name", "again", "--restart", "on-failure:1"];
    let client = unread_run(&world, &options, script);
    until_full(&client);
    world.nman(["exec", "again", "kill", "1"]).ok();
    eventually("it was started again", || world.inspect("again", "/RestartCount") == 1);
    assert_eq!(read_all(client).1, Some(3));
    world.nman(["rm", "-f", "again"]).ok();
    world.assert_no_container();
}

#[test]
fn who_outlives_the_init_and_writes_on_does_not_keep_the_container_from_ending() {
    let world = World::new();
    let mut client = unread_run(
        &world,
        &["--name", "left", "--pid", "host"],
        "yes & yes & yes & sleep 0.5; exit 4",
    );
    // More than the kernel keeps for it: it is let go.
    eventually("it has ended", || {
        let state = world.nman(["inspect", "left"]);
        state.success() && state.json()[0].pointer("/State/Status").unwrap() == "exited"
    });
    assert_eq!(world.inspect("left", "/State/ExitCode"), 4);
    client.kill().unwrap();
    client.wait().unwrap();
    world.nman(["rm", "left"]).ok();
    world.assert_no_container();
}

fn send(client: &Child, signal: Signal) {
    kill_process(Pid::from_child(client), signal).unwrap();
}

/// Says that it is up, and ends with 6 when it is told to.
const LISTENS: &str = "trap 'echo got >&2; exit 6' TERM; echo up >&2; while :; do sleep 0.05; done";

#[track_caller]
fn until_up(world: &World, name: &str) {
    eventually("it is up", || world.nman(["logs", name]).stderr().contains("up"));
}

#[test]
fn a_signal_arrives_although_the_container_takes_no_stdin() {
    let world = World::new();
    let mut client = unread_run(&world, &["-i", "--name", "full"], LISTENS);
    until_up(&world, "full");
    let mut stdin = client.stdin.take().unwrap();
    // Ends when the client does.
    let writer = std::thread::spawn(move || while stdin.write_all(&[b'y'; 65536]).is_ok() {});
    // Everything on the way is full when nothing more is taken, which cannot be seen from outside.
    std::thread::sleep(Duration::from_millis(500));
    send(&client, Signal::TERM);
    assert_eq!(client.wait().unwrap().code(), Some(6));
    writer.join().unwrap();
    world.nman(["rm", "full"]).ok();
    world.assert_no_container();
}

#[test]
fn what_a_container_does_not_take_is_not_read_either() {
    let world = World::new();
    let client = unread_run(&world, &["-i", "--name", "full"], LISTENS);
    until_up(&world, "full");
    let mut stdin = client.stdin.as_ref().unwrap();
    ioctl_fionbio(stdin, true).unwrap();
    // Pipes, a socket and a few chunks hold some hundred KiB: without a bound, memory would hold it all.
    let (mut taken, mut refused) = (0, 0);
    while refused < 100 && taken < 64 << 20 {
        match stdin.write(&[b'y'; 65536]) {
            Ok(length) => (taken, refused) = (taken + length, 0),
            Err(_) => {
                refused += 1;
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
    assert!(taken < 4 << 20, "{taken}");
    world.nman(["rm", "-f", "full"]).ok();
    let _ = read_all(client);
    world.assert_no_container();
}

#[test]
fn a_signal_arrives_although_nobody_reads_the_output() {
    let world = World::new();
    let script = format!("yes & {LISTENS}");
    for options in [&["--name", "mute"][..], &["-i", "--name", "mute"]] {
        let client = unread_run(&world, options, &script);
        until_full(&client);
        send(&client, Signal::TERM);
        eventually("it has ended", || world.inspect("mute", "/State/ExitCode") == 6);
        let logged = world.nman(["logs", "mute"]).ok().stdout();
        let (seen, code) = read_all(client);
        assert_eq!((seen.len(), code), (logged.len(), Some(6)));
        world.nman(["rm", "mute"]).ok();
    }
    world.assert_no_container();
}

#[test]
fn a_client_leaves_when_told_to_although_its_container_has_ended_and_nobody_reads() {
    let world = World::new();
    let mut client = unread_run(&world, &["--rm", "--name", "over"], "exec yes");
    until_full(&client);
    world.nman(["stop", "-t", "0", "over"]).ok();
    send(&client, Signal::TERM);
    assert_eq!(client.wait().unwrap().code(), Some(143));
    world.assert_no_container();
}

#[test]
fn a_signal_to_exec_arrives_although_nobody_reads_its_output() {
    let world = World::new();
    world.run(&["-d", "--name", "host"], &["sleep", "1000"]).ok();
    let script = "trap 'touch /got; kill %1; exit 6' TERM; yes & while :; do sleep 0.05; done";
    let client = unread(&world, ["exec", "host", "sh", "-c", script]);
    until_full(&client);
    send(&client, Signal::TERM);
    eventually("it has got it", || world.nman(["exec", "host", "test", "-e", "/got"]).success());
    assert_eq!(read_all(client).1, Some(6));
    let mut client = unread(&world, ["exec", "host", "sh", "-c", "exec yes"]);
    until_full(&client);
    send(&client, Signal::TERM);
    // Once for the command, and then for the client itself.
    eventually("it has left", || {
        send(&client, Signal::TERM);
        client.try_wait().unwrap().is_some()
    });
    assert_eq!(client.wait().unwrap().code(), Some(143));
    world.nman(["rm", "-f", "host"]).ok();
    world.assert_no_container();
}

#[test]
fn every_signal_that_can_be_caught_is_passed_on_where_there_is_no_terminal() {
    let world = World::new();
    // WINCH is a size only where there is a terminal; RTMIN+3 is the stop signal of systemd.
    let numbers = "1 2 3 4 5 6 7 8 10 11 12 14 15 16 18 20 21 22 24 25 26 27 28 29 30 31 34 37 64";
    let script = "for n in $SIGNALS; do trap \"echo $n\" $n; done; trap 'exit 7' 12; echo up; \
                  while :; do sleep 0.02; done";
    let signals = format!("SIGNALS={numbers}");
    let mut attached = Vec::new();
    let options = ["--name", "all", "-e", &signals];
    attached.push(world.run_command(&options, &["sh", "-c", script]).start());
    eventually("it is up", || attached[0].1.stdout() == "up\n");
    attached.push(world.command(["attach", "all"]).start());
    eventually("the second client is attached", || {
        send_number(&attached[0].0, "1");
        attached[1].1.stdout().ends_with("1\n")
    });
    for (at, number) in numbers.split(' ').filter(|number| *number != "12").enumerate() {
        let before = attached[0].1.stdout().len();
        send_number(&attached[at % 2].0, number);
        eventually(&format!("signal {number} arrives"), || {
            attached[0].1.stdout()[before..].lines().any(|line| line == number)
        });
    }
    send_number(&attached[0].0, "12");
    for (client, _) in &mut attached {
        assert_eq!(client.wait().unwrap().code(), Some(7));
    }
    world.nman(["rm", "all"]).ok();
    world.assert_no_container();
}

fn send_number(client: &Child, number: &str) {
    let pid = client.id().to_string();
    let script = format!("kill -{number} {pid}");
    nconform::fixture::Capture::of("/bin/bash").args(["-c", &script]).run().ok();
}

#[test]
fn what_the_last_stream_holds_is_read_to_its_end_when_the_other_has_ended() {
    let world = World::new();
    let script = "until [ -e /go ]; do sleep 0.05; done; head -c 60000 /dev/zero >&2";
    let (mut client, output) = world.run_command(&["--name", "one"], &["sh", "-c", script]).start();
    eventually("it runs", || world.nman(["inspect", "one"]).success());
    eventually("it runs", || world.inspect("one", "/State/Running") == true);
    let monitor = super::monitor::monitor_of(&world, "one");
    let monitor = Pid::from_raw(i32::try_from(monitor).unwrap()).unwrap();
    // So it comes late, and finds all of it at once.
    kill_process(monitor, Signal::STOP).unwrap();
    let init = world.inspect("one", "/State/Pid");
    world.nman(["exec", "one", "touch", "/go"]).ok();
    eventually("it has ended", || {
        let status = std::fs::read_to_string(format!("/proc/{init}/status")).unwrap();
        status.contains("State:\tZ")
    });
    kill_process(monitor, Signal::CONT).unwrap();
    client.wait().unwrap();
    assert_eq!(output.stderr().len(), 60_000);
    world.nman(["rm", "one"]).ok();
    world.assert_no_container();
}

/// Hundredths of a second that a process has computed so far.
fn computed(pid: &str) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn who_cannot_be_let_in_for_want_of_descriptors_waits_and_keeps_nobody_busy() {
    let world = World::new();
    world.run(&["-d", "--name", "few"], &["sleep", "1000"]).ok();
    let init = world.inspect("few", "/State/Pid");
    let stat = std::fs::read_to_string(format!("/proc/{init}/stat")).unwrap();
    let monitor = stat.rsplit(')').next().unwrap().split_whitespace().nth(1).unwrap().to_owned();
    let open = || super::world::entries(format!("/proc/{monitor}/fd").as_ref()).len();
    let limit = |descriptors| {
        let pid = Pid::from_raw(monitor.parse().unwrap());
        let limit = Rlimit { current: Some(descriptors), maximum: Some(4096) };
        prlimit(pid, Resource::Nofile, limit).unwrap();
    };
    limit(16);
    let before = open();
    let attach = || world.command(["attach", "--no-stdin", "few"]).start();
    let mut clients: Vec<_> = (0..16).map(|_| attach()).collect();
    eventually("there are no more descriptors to be had", || open() == 16);
    let begun = computed(&monitor);
    std::thread::sleep(Duration::from_secs(2));
    assert!(computed(&monitor) - begun < 20, "{} of 200", computed(&monitor) - begun);
    limit(4096);
    eventually("all are let in", || open() == before + clients.len());
    world.nman(["kill", "few"]).ok();
    for (client, said) in &mut clients {
        assert_eq!(client.wait().unwrap().code(), Some(137), "{said}");
    }
    world.nman(["rm", "few"]).ok();
    world.assert_no_container();
}

#[test]
fn what_runs_on_keeps_nothing_open_that_whoever_started_it_has_open() {
    let world = World::new();
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    // Passed on to every child, as a shell passes on what it has opened.
    let passed = rustix::io::dup(&writer).unwrap();
    rustix::io::fcntl_setfd(&passed, rustix::io::FdFlags::empty()).unwrap();
    world.run(&["-d", "--name", "bg"], &["sleep", "1000"]).ok();
    world.nman(["exec", "-d", "bg", "sleep", "1000"]).ok();
    drop((passed, writer));
    let mut fds = [rustix::event::PollFd::new(&reader, rustix::event::PollFlags::IN)];
    let patience = rustix::event::Timespec { tv_sec: 5, tv_nsec: 0 };
    assert_eq!(rustix::event::poll(&mut fds, Some(&patience)), Ok(1), "somebody has it open");
    world.nman(["rm", "-f", "bg"]).ok();
    world.assert_no_container();
}

/// The code with which `nman` ends whose stderr, or stdout, is on a full disk; a signal is none.
fn code_when_full(world: &World, args: &[&str], is_stderr: bool) -> Option<i32> {
    let full = || Stdio::from(std::fs::File::options().write(true).open("/dev/full").unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_nman"));
    command
        .args(args)
        .env("NMAN_ROOT", world.path("root"))
        .env("NMAN_STATE", world.path("state"))
        .env("NMAN_RUNTIME", super::world::runtime())
        .stdin(Stdio::null())
        .stdout(if is_stderr { Stdio::null() } else { full() })
        .stderr(if is_stderr { full() } else { Stdio::null() });
    command.status().unwrap().code()
}

#[test]
fn a_stderr_that_takes_nothing_changes_no_exit_code_and_keeps_no_container_from_running() {
    let world = World::new();
    let parent = format!("/{}", world.cgroup());
    for (args, code) in [
        (&["rm", "nosuch"][..], 1),
        // Told, and no failure.
        (&["rm", "-f", "nosuch"], 0),
        (&["foo"], 1),
        (&["run", "--bad"], 125),
    ] {
        assert_eq!(code_when_full(&world, args, true), Some(code), "{args:?}");
    }
    let run = |network: &[&str], script: &str| {
        let before = ["run", "--rm", "--cgroup-parent", &parent];
        let args = [&before[..], network, &[IMAGE, "sh", "-c", script]].concat();
        code_when_full(&world, &args, true)
    };
    let warned = ["--network", "host", "-p", "80:80"];
    assert_eq!(run(&warned, "exit 4"), Some(4), "it was warned of, and ran");
    assert_eq!(run(&["--network", "none"], "echo x >&2; exit 3"), Some(1));
    // The container goes by itself: its client has left.
    eventually("it is gone", || world.has_no_container());
    world.assert_no_container();
}

#[test]
fn help_that_cannot_be_written_is_a_failure_and_help_that_nobody_reads_is_none() {
    let world = World::new();
    for args in [&["--help"][..], &["run", "--help"], &["--version"], &["ps"]] {
        assert_eq!(code_when_full(&world, args, false), Some(1), "{args:?}");
    }
    for args in [&["--help"][..], &["events", "--since", "1", "--until", "0s"]] {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(env!("CARGO_BIN_EXE_nman"));
        command.args(args).env("NMAN_ROOT", world.path("root"));
        let output = command.env("NMAN_STATE", world.path("state")).stdout(writer).output();
        let output = output.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.as_str()), (Some(0), ""), "{args:?}");
    }
}

/// Puts the containers, of which there is none yet, onto a small disk of their own.
fn small_disk(world: &World) -> std::path::PathBuf {
    let containers = world.root().join("containers");
    let _ = std::fs::remove_dir_all(&containers);
    std::fs::create_dir_all(&containers).unwrap();
    let flags = rustix::mount::MountFlags::empty();
    let limits = Some(c"size=16m,nr_inodes=200");
    rustix::mount::mount("tmpfs", &containers, "tmpfs", flags, limits).unwrap();
    containers
}

fn leave(disk: &std::path::Path) {
    rustix::mount::unmount(disk, rustix::mount::UnmountFlags::DETACH).unwrap();
}

#[test]
fn a_container_on_a_disk_without_room_can_be_entered_paused_and_stopped() {
    let world = World::new();
    let disk = small_disk(&world);
    for name in ["one", "two", "three"] {
        world.run(&["-d", "--name", name, "--restart", "always"], &["sleep", "1000"]).ok();
    }
    // No file more, and no byte more.
    let is_made = |number: i32| std::fs::write(disk.join(format!("filler-{number}")), "").is_ok();
    let made = (0..).take_while(|number| is_made(*number)).count();
    assert_eq!(world.nman(["exec", "one", "echo", "hi"]).ok().stdout(), "hi\n");
    world.nman(["pause", "one"]).ok();
    assert_eq!(world.inspect("one", "/State/Status"), "paused");
    world.nman(["unpause", "one"]).ok();
    world.nman(["stop", "-t", "0", "one"]).ok();
    world.nman(["kill", "two"]).ok();
    // Its policy would have started it again by then.
    std::thread::sleep(Duration::from_millis(500));
    let running = || world.nman(["ps", "--format", "{{.Names}}"]).ok().stdout();
    assert_eq!(running(), "three\n");
    (0..made).for_each(|number| {
        std::fs::remove_file(disk.join(format!("filler-{number}"))).unwrap();
    });
    world.nman(["start", "one"]).ok();
    assert_eq!(running().lines().count(), 2);
    world.nman(["rm", "-f", "one", "two", "three"]).ok();
    leave(&disk);
    world.assert_no_container();
}

#[test]
fn a_container_on_a_disk_that_cannot_be_written_can_be_entered_and_stopped() {
    let world = World::new();
    let disk = small_disk(&world);
    for name in ["one", "two", "three"] {
        world.run(&["-d", "--name", name], &["sleep", "1000"]).ok();
    }
    let place = disk.to_str().unwrap();
    let mount = |options: &[&str]| drop(Capture::of("mount").args(options).run().ok());
    mount(&["--bind", place, place]);
    mount(&["-o", "remount,bind,ro", place]);
    assert_eq!(world.nman(["exec", "one", "echo", "hi"]).ok().stdout(), "hi\n");
    let said = world.nman(["stop", "-t", "0", "one"]).ok().stderr();
    assert!(said.contains("read-only file system: its restart policy may start"), "{said}");
    world.nman(["kill", "two"]).ok();
    // It is ended, and its directory is not removed.
    let said = world.nman(["rm", "-f", "three"]).exits(1).stderr();
    assert!(said.contains("read-only file system"), "{said}");
    leave(&disk);
    assert_eq!(world.nman(["ps", "-q"]).ok().stdout(), "");
    world.nman(["rm", "one", "two", "three"]).ok();
    leave(&disk);
    world.assert_no_container();
}

#[test]
fn a_small_stack_is_made_larger_or_refused() {
    let world = World::new();
    let run = |limit: &str| {
        let before = ["-c", &format!("ulimit {limit} 64; exec \"$@\""), "sh"];
        world.run_command_by("bash", &before, &["--rm"], &["echo", "there"]).run()
    };
    assert_eq!(run("-S -s").ok().stdout(), "there\n");
    // Where the hard limit may be raised there is no need to refuse.
    let refused = run("-s");
    if !refused.success() {
        let refused = refused.exits(125);
        refused.says(
            "nman: the stack of a process may have 64 KiB here (`ulimit -s`), and nman needs ",
        );
    }
    world.assert_no_container();
}
