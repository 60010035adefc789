//! Terminals: handed out through a socket, or relayed in the foreground; for the container and for exec.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nconform::fixture::{BundleDir, Console, Container, Runtime, Sandbox, Terminal, tool};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use rustix::termios::{LocalModes, Termios, Winsize, tcgetattr, tcsetwinsize};
use serde_json::json;

/// A container that shows what its terminal is.
const SHOW: &str = "tty; stty size; test -t 0 && test -t 1 && test -t 2 && echo all three; \
                    stat -c '%F of %u' $(tty); echo end";

fn with_terminal(script: &str) -> BundleDir {
    BundleDir::new().set("/process/terminal", true).shell(script)
}

fn resize(terminal: &Terminal, rows: u16, columns: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal.master(), size).expect("resize the terminal");
}

/// Creates and starts a container with a terminal.
fn start<'r>(runtime: &'r Runtime, bundle: &BundleDir) -> (Container<'r>, Terminal) {
    let console = Console::listen();
    let socket = console.path().display().to_string();
    let container = runtime.create(bundle, ["--console-socket", &socket]);
    let terminal = console.receive();
    let _ = container.start().ok();
    (container, terminal)
}

fn run_in_foreground(runtime: &Runtime, slave: &OwnedFd, bundle: &BundleDir) -> Child {
    let path = bundle.path().display().to_string();
    runtime.in_foreground(slave, ["run", "--bundle", &path, &runtime.new_id()])
}

#[test]
fn the_terminal_arrives_on_the_console_socket() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = with_terminal(SHOW)
        .set("/process/consoleSize", json!({"height": 33, "width": 111}))
        .set("/process/user/uid", 1000);
    let (container, mut terminal) = start(&runtime, &bundle);
    let shown = terminal.expect("end\r\n");
    assert_eq!(
        shown,
        "/dev/pts/0\r\n33 111\r\nall three\r\ncharacter special file of 1000\r\nend\r\n"
    );
    container.wait();
}

#[test]
fn the_console_of_the_container_is_its_terminal() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let script = "stat -c %F /dev/console; echo to the console > /dev/console; read x < /dev/console; echo got $x";
    let bundle = with_terminal(script);
    let (container, mut terminal) = start(&runtime, &bundle);
    let shown = terminal.expect("to the console\r\n");
    assert!(shown.starts_with("character special file\r\n"), "{shown:?}");
    terminal.type_in("typed\n");
    terminal.expect("got typed\r\n");
    container.wait();
}

#[test]
fn a_new_size_reaches_the_container_as_a_signal() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle =
        with_terminal("trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.02; done");
    let (container, mut terminal) = start(&runtime, &bundle);
    terminal.expect("ready\r\n");
    resize(&terminal, 44, 155);
    terminal.expect("44 155\r\n");
    container.wait();
}

#[test]
fn the_terminal_controls_the_container() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = with_terminal(
        "trap 'echo interrupted; exit' INT; echo ready; while :; do sleep 0.02; done",
    );
    let (container, mut terminal) = start(&runtime, &bundle);
    terminal.expect("ready\r\n");
    terminal.type_in("\x03");
    terminal.expect("interrupted\r\n");
    container.wait();
}

#[test]
fn a_detached_run_hands_its_terminal_out() {
    let _sandbox = Sandbox::enter();
    let (runtime, console) = (Runtime::under_test(), Console::listen());
    let bundle = with_terminal("read line; echo got $line");
    let socket = console.path().display().to_string();
    let options = ["-d", "--console-socket", &socket];
    let id = runtime.new_id();
    let _ = runtime.bundle_call("run", &bundle, options, &id).run().ok();
    let mut terminal = console.receive();
    terminal.type_in("input\n");
    terminal.expect("got input\r\n");
}

#[test]
fn a_terminal_and_a_console_socket_go_together() {
    let sandbox = Sandbox::enter();
    let (runtime, console) = (Runtime::under_test(), Console::listen());
    let output = runtime.try_create(&with_terminal("true")).exits(1);
    assert!(output.stderr().contains("--console-socket"), "{output}");
    let socket = console.path().display().to_string();
    let call = |bundle: &BundleDir, path: &str| {
        let id = runtime.new_id();
        runtime.bundle_call("create", bundle, ["--console-socket", path], &id).run().exits(1)
    };
    let output = call(&BundleDir::new(), &socket);
    assert!(output.stderr().contains("process.terminal"), "{output}");
    let output = call(&with_terminal("true"), "/no/such/socket");
    assert!(output.stderr().contains("/no/such/socket"), "{output}");
    let without_devpts = with_terminal("true").remove("/mounts/2");
    let output = call(&without_devpts, &socket);
    assert!(output.stderr().contains("devpts"), "{output}");
    assert!(!runtime.root().join("state.json").exists());
    sandbox.assert_clean();
}

#[test]
fn run_relays_between_our_terminal_and_the_containers() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let (mut terminal, slave) = Terminal::pair();
    resize(&terminal, 21, 77);
    let cooked = tcgetattr(&slave).expect("the modes").local_modes;
    let script = "stty size; read line; echo got $line; trap 'stty size; exit 9' WINCH; echo ready; \
                  while :; do sleep 0.02; done";
    let bundle = with_terminal(script);
    let mut child = run_in_foreground(&runtime, &slave, &bundle);
    terminal.expect("21 77\r\n");
    assert!(!tcgetattr(&slave).expect("the modes").local_modes.contains(LocalModes::ECHO), "raw");
    terminal.type_in("input\n");
    terminal.expect("got input\r\n");
    terminal.expect("ready\r\n");
    resize(&terminal, 22, 88);
    let shown = terminal.expect("22 88\r\n");
    // Once by the container's terminal, and not by ours as well.
    assert_eq!(shown.matches("input").count(), 2, "{shown:?}");
    assert_eq!(child.wait().expect("wait for nrun").code(), Some(9));
    assert_eq!(tcgetattr(&slave).expect("the modes").local_modes, cooked, "as it was before");
    sandbox.assert_clean();
}

#[test]
fn a_key_that_interrupts_goes_to_the_container_and_not_to_nrun() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let (mut terminal, slave) = Terminal::pair();
    let bundle = with_terminal(
        "trap 'echo interrupted; exit 6' INT; echo ready; while :; do sleep 0.02; done",
    );
    let mut child = run_in_foreground(&runtime, &slave, &bundle);
    terminal.expect("ready\r\n");
    terminal.type_in("\x03");
    terminal.expect("interrupted\r\n");
    assert_eq!(child.wait().expect("wait for nrun").code(), Some(6));
}

#[test]
fn all_output_is_shown_before_run_returns() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let (mut terminal, slave) = Terminal::pair();
    let bundle = with_terminal("seq 1 20000; echo the end");
    let mut child = run_in_foreground(&runtime, &slave, &bundle);
    drop(slave);
    let shown = terminal.read_to_end().to_owned();
    assert_eq!(child.wait().expect("wait for nrun").code(), Some(0));
    assert!(
        shown.ends_with("20000\r\nthe end\r\n"),
        "{:?}",
        &shown[shown.len().saturating_sub(60)..]
    );
    assert_eq!(shown.lines().count(), 20001);
}

#[test]
fn output_that_goes_to_a_pipe_ends_its_lines_as_the_process_did() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let output = runtime.run(&with_terminal("echo one; test -t 1 && printf 'two\r\n'")).ok();
    assert_eq!(output.stdout(), "one\ntwo\r\n");
    let bundle = BundleDir::new().args(["sleep", "600"]);
    let container = runtime.start(&bundle);
    let output = runtime.call(["exec", "-t", container.id(), "echo", "three"]).run().ok();
    assert_eq!(output.stdout(), "three\n");
}

#[test]
fn exec_has_a_terminal_in_the_foreground() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = BundleDir::new().args(["sleep", "600"]);
    let container = runtime.start(&bundle);
    let (mut terminal, slave) = Terminal::pair();
    resize(&terminal, 19, 91);
    let script = "tty; stty size; read line; echo got $line; exit 8";
    let mut child =
        runtime.in_foreground(&slave, ["exec", "-t", container.id(), "sh", "-c", script]);
    terminal.expect("/dev/pts/0\r\n19 91\r\n");
    terminal.type_in("input\n");
    terminal.expect("got input\r\n");
    assert_eq!(child.wait().expect("wait for nrun").code(), Some(8));
}

#[test]
fn a_detached_exec_hands_its_terminal_out() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = BundleDir::new().args(["sleep", "600"]);
    let container = runtime.start(&bundle);
    let console = Console::listen();
    let (socket, pid_file) = (console.path(), bundle.path().join("pid"));
    let exec = ["exec", "-t", "-d", "--console-socket", socket.to_str().expect("UTF-8")];
    let pid = ["--pid-file", pid_file.to_str().expect("UTF-8")];
    let command = [container.id(), "sh", "-c", "tty; read line; echo got $line"];
    let _ = runtime.call(exec).args(pid).args(command).run().ok();
    let mut terminal = console.receive();
    terminal.expect("/dev/pts/0\r\n");
    terminal.type_in("input\n");
    terminal.expect("got input\r\n");
    // Ours since its parent ended.
    let pid = std::fs::read_to_string(pid_file).expect("a pid file").parse().expect("a pid");
    waitpid(Pid::from_raw(pid), WaitOptions::empty()).expect("reap the exec'd process");
}

#[test]
fn a_detached_exec_with_a_terminal_needs_a_console_socket() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = BundleDir::new().args(["sleep", "600"]);
    let container = runtime.start(&bundle);
    let output = runtime.call(["exec", "-t", "-d", container.id(), "sh"]).run().exits(255);
    assert!(output.stderr().contains("--console-socket"), "{output}");
}

/// Our terminal, as a shell leaves it, and what its modes are.
fn own_terminal() -> (Terminal, OwnedFd, Termios) {
    let (terminal, slave) = Terminal::pair();
    let before = tcgetattr(&slave).expect("the modes");
    (terminal, slave, before)
}

#[track_caller]
fn assert_restored(slave: &OwnedFd, before: &Termios) {
    let after = tcgetattr(slave).expect("the modes");
    let modes = |t: &Termios| {
        (t.input_modes, t.output_modes, t.control_modes, t.local_modes, t.special_codes.clone())
    };
    assert_eq!(format!("{:?}", modes(&after)), format!("{:?}", modes(before)));
}

fn is_raw(slave: &OwnedFd) -> bool {
    !tcgetattr(slave).expect("the modes").local_modes.contains(LocalModes::ECHO)
}

#[test]
fn our_terminal_is_as_it_was_however_the_container_ends() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = with_terminal(
        "trap 'exit 7' TERM; trap 'exit 8' HUP; echo ready; while :; do sleep 0.02; done",
    );
    for (signal, status) in
        [(Signal::TERM, Some(7)), (Signal::HUP, Some(8)), (Signal::INT, None), (Signal::QUIT, None)]
    {
        let (mut terminal, slave, before) = own_terminal();
        let id = runtime.new_id();
        let path = bundle.path().display().to_string();
        let mut child = runtime.in_foreground(&slave, ["run", "--bundle", &path, &id]);
        terminal.expect("ready\r\n");
        assert!(is_raw(&slave));
        // Passed on to the container, which ends of some, and of the others only when it is killed.
        kill_process(Pid::from_child(&child), signal).expect("signal nrun");
        if status.is_none() {
            // The shell may have ended of it by then.
            let _ = runtime.call(["kill", &id, "KILL"]).run();
        }
        let code = child.wait().expect("wait for nrun").code();
        assert!(status.is_none_or(|status| code == Some(status)), "{signal:?}: {code:?}");
        assert_restored(&slave, &before);
    }
    sandbox.assert_clean();
}

#[test]
fn our_terminal_is_as_it_was_when_the_program_cannot_be_executed() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = with_terminal("true");
    let script = bundle.rootfs().join("bin/broken");
    std::fs::write(&script, "#!/no/such/interpreter\n").expect("write a script");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, mode).expect("make it executable");
    let bundle = bundle.args(["broken"]);
    let (mut terminal, slave, before) = own_terminal();
    let mut child = run_in_foreground(&runtime, &slave, &bundle);
    assert_eq!(child.wait().expect("wait for nrun").code(), Some(1));
    assert_restored(&slave, &before);
    // Shown after it was restored: with a carriage return before each line feed.
    terminal.expect("no such file or directory\r\n\r\nhint: ");

    let bundle = BundleDir::new().args(["sleep", "600"]);
    std::fs::copy(&script, bundle.rootfs().join("bin/broken")).expect("copy a script");
    let container = runtime.start(&bundle);
    let (mut terminal, slave, before) = own_terminal();
    let mut child = runtime.in_foreground(&slave, ["exec", "-t", container.id(), "broken"]);
    assert_eq!(child.wait().expect("wait for nrun").code(), Some(255));
    assert_restored(&slave, &before);
    terminal.expect("no such file or directory\r\n");
    let _ = runtime.call(["delete", "--force", container.id()]).run().ok();
    sandbox.assert_clean();
}

#[test]
fn our_terminal_is_as_it_was_when_exec_is_told_to_end() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = BundleDir::new().args(["sleep", "600"]);
    let container = runtime.start(&bundle);
    let (mut terminal, slave, before) = own_terminal();
    let script = "echo ready; while :; do sleep 0.02; done";
    let mut child =
        runtime.in_foreground(&slave, ["exec", "-t", container.id(), "sh", "-c", script]);
    terminal.expect("ready\r\n");
    assert!(is_raw(&slave));
    kill_process(Pid::from_child(&child), Signal::TERM).expect("signal nrun");
    assert_eq!(child.wait().expect("wait for nrun").code(), Some(128 + 15));
    assert_restored(&slave, &before);
}

/// As any program that is asked for at a terminal: without this it would change the terminal under the shell, and find its input at
/// an end.
#[test]
fn a_run_in_the_background_stops_until_the_shell_brings_it_to_the_foreground() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let (mut terminal, slave, before) = own_terminal();
    let bundle = with_terminal("echo ready; read x; echo got $x; exit 3");
    let script = r#"
        set -m
        "$@" &
        for _ in $(seq 1200); do
            jobs >jobs
            if grep -q Stopped jobs; then echo it is stopped; break; fi
            sleep 0.05
        done
        fg %1 >/dev/null
        echo status $?"#;
    let path = bundle.path().display().to_string();
    let stream = || Stdio::from(slave.try_clone().expect("duplicate a descriptor"));
    let mut shell = Command::new(tool("setsid"))
        .args(["--ctty", "--wait", "bash", "-c", script, "bash"])
        .arg(runtime.program())
        .arg("--root")
        .arg(runtime.root())
        .args(["run", "--bundle", &path, &runtime.new_id()])
        .current_dir(bundle.path())
        .stdin(stream())
        .stdout(stream())
        .stderr(stream())
        .spawn()
        .expect("a shell on a terminal");
    let seen = terminal.expect("ready\r\n");
    assert!(seen.ends_with("it is stopped\r\nready\r\n"), "{seen:?}");
    terminal.type_in("words\r");
    let seen = terminal.expect("status 3\r\n");
    assert!(seen.contains("\r\ngot words\r\n"), "{seen:?}");
    assert!(shell.wait().expect("wait for the shell").success());
    assert_restored(&slave, &before);
}

#[test]
fn a_program_that_opens_the_console_again_is_seen_and_gets_what_was_typed_meanwhile() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let reopen = "exec 0<&- 1>&- 2>&-; sleep 1; exec 0</dev/console 1>/dev/console 2>&1";
    let output = runtime.run(&with_terminal(&format!("{reopen}; seq 1 20000; echo END"))).ok();
    assert!(output.stdout().ends_with("\n20000\nEND\n"), "{output}");
    assert_eq!(output.stdout().lines().count(), 20001);

    let (mut terminal, slave) = Terminal::pair();
    let script = format!("stty -echo; echo ready; {reopen}; read x; echo got $x; read x; echo $x");
    let bundle = with_terminal(&script);
    let mut child = run_in_foreground(&runtime, &slave, &bundle);
    terminal.expect("ready\r\n");
    std::thread::sleep(Duration::from_millis(400));
    terminal.type_in("early\n");
    terminal.expect("got early\r\n");
    terminal.type_in("late\n");
    terminal.expect("late\r\n");
    assert_eq!(child.wait().expect("wait for nrun").code(), Some(0));
}

#[test]
fn the_end_of_a_container_that_has_closed_its_terminal_is_seen() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let output = runtime.run(&with_terminal("echo one; exec 0<&- 1>&- 2>&-; sleep 0.5; exit 4"));
    assert_eq!(output.exits(4).stdout(), "one\n");
}

/// What a stdout may be, each with its reader.
fn outlets() -> [(&'static str, Box<dyn Read>, OwnedFd); 3] {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    // What a program may open only by the descriptor that it was given.
    let (ours, socket) = UnixStream::pair().expect("a pair of sockets");
    let (terminal, slave) = Terminal::pair();
    let master = terminal.master().try_clone().expect("duplicate a descriptor");
    [
        ("pipe", Box::new(reader), writer.into()),
        ("socket", Box::new(ours), socket.into()),
        ("terminal", Box::new(master), slave),
    ]
}

/// Runs nrun without a controlling terminal.
fn run_into(runtime: &Runtime, stdout: &OwnedFd, bundle: &BundleDir, id: &str) -> Child {
    Command::new(tool("setsid"))
        .arg(runtime.program())
        .arg("--root")
        .arg(runtime.root())
        .args(["run", "--bundle"])
        .args([bundle.path(), id.as_ref()])
        .stdin(Stdio::piped())
        .stdout(stdout.try_clone().expect("duplicate a descriptor"))
        .spawn()
        .expect("run nrun")
}

#[track_caller]
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < end, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn has_room(stdout: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(stdout, PollFlags::OUT)];
    poll(&mut fds, Some(&Timespec::default())).expect("poll a descriptor");
    fds[0].revents().contains(PollFlags::OUT)
}

fn has_stopped(runtime: &Runtime, id: &str) -> bool {
    runtime.call(["state", id]).run().ok().json()["status"] == "stopped"
}

/// All lines until the other side is closed: a terminal says so by EIO.
fn lines(mut reader: Box<dyn Read>) -> Vec<String> {
    let mut bytes = Vec::new();
    let _ = reader.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).lines().map(|line| line.trim_end().to_owned()).collect()
}

#[test]
fn all_output_is_shown_though_stdout_does_not_block_and_is_read_late() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = with_terminal("seq 1 100000; echo END");
    for (outlet, reader, stdout) in outlets() {
        let flags = fcntl_getfl(&stdout).expect("the flags");
        fcntl_setfl(&stdout, flags | OFlags::NONBLOCK).expect("set a flag");
        let mut child = run_into(&runtime, &stdout, &bundle, &runtime.new_id());
        eventually("stdout is full", || !has_room(&stdout));
        std::thread::sleep(Duration::from_millis(100));
        drop(stdout);
        let lines = lines(reader);
        assert_eq!(child.wait().expect("wait for nrun").code(), Some(0), "{outlet}");
        assert_eq!(lines.len(), 100_001, "{outlet}");
        assert_eq!(lines[99_999..], ["100000", "END"], "{outlet}");
    }
}

#[test]
fn the_size_is_that_of_our_stdout_where_that_is_our_only_terminal() {
    let (_sandbox, bundle) = (Sandbox::enter(), with_terminal("stty size"));
    let (runtime, (mut terminal, slave)) = (Runtime::under_test(), Terminal::pair());
    resize(&terminal, 44, 99);
    run_into(&runtime, &slave, &bundle, &runtime.new_id()).wait().expect("wait for nrun");
    terminal.expect("44 99\r\n");
}

#[test]
fn a_signal_reaches_the_container_while_nobody_reads_its_output_which_is_kept() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = with_terminal("trap 'exit 7' TERM; seq 1 100000 & while :; do sleep 0.02; done");
    for (outlet, reader, stdout) in outlets() {
        let flags = fcntl_getfl(&stdout).expect("the flags");
        let id = runtime.new_id();
        let mut child = run_into(&runtime, &stdout, &bundle, &id);
        eventually("stdout is full", || !has_room(&stdout));
        std::thread::sleep(Duration::from_millis(100));
        kill_process(Pid::from_child(&child), Signal::TERM).expect("signal nrun");
        eventually(outlet, || has_stopped(&runtime, &id));
        assert!(child.try_wait().expect("wait for nrun").is_none(), "{outlet}: it has output left");
        assert_eq!(fcntl_getfl(&stdout).expect("the flags"), flags, "{outlet}: the caller's");
        drop(stdout);
        let lines = lines(reader);
        assert_eq!(child.wait().expect("wait for nrun").code(), Some(7), "{outlet}");
        let numbers: Vec<String> = (1..=lines.len()).map(|number| number.to_string()).collect();
        let whole = lines.len() - 1;
        assert_eq!(lines[..whole], numbers[..whole], "{outlet}");
    }
    sandbox.assert_clean();
}

#[test]
fn a_terminal_whose_output_nobody_wants_any_more_hangs_up_and_the_container_goes_on() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = with_terminal("trap 'exit 7' HUP; seq 1 100000; while :; do sleep 0.02; done");
    for (outlet, mut reader, stdout) in outlets() {
        let mut child = run_into(&runtime, &stdout, &bundle, &runtime.new_id());
        drop(stdout);
        reader.read_exact(&mut [0; 8]).expect("the first lines");
        drop(reader);
        assert_eq!(child.wait().expect("wait for nrun").code(), Some(7), "{outlet}");
    }
    sandbox.assert_clean();
}

#[test]
fn the_end_of_our_terminal_is_not_that_of_the_container() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let (mut terminal, slave) = Terminal::pair();
    let script = "trap 'sleep 0.2; exit 7' HUP; echo ready; while :; do sleep 0.02; done";
    let bundle = with_terminal(script);
    let mut child = run_in_foreground(&runtime, &slave, &bundle);
    terminal.expect("ready\r\n");
    drop((terminal, slave));
    assert_eq!(child.wait().expect("wait for nrun").code(), Some(7));
    sandbox.assert_clean();
}

#[test]
fn a_second_signal_gives_up_output_that_nobody_reads() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = with_terminal("trap 'exit 7' TERM; seq 1 100000 & while :; do sleep 0.02; done");
    let (_reader, writer) = std::io::pipe().expect("a pipe");
    let (stdout, id) = (writer.into(), runtime.new_id());
    let mut child = run_into(&runtime, &stdout, &bundle, &id);
    eventually("stdout is full", || !has_room(&stdout));
    kill_process(Pid::from_child(&child), Signal::TERM).expect("signal nrun");
    eventually("the container has ended", || has_stopped(&runtime, &id));
    std::thread::sleep(Duration::from_millis(100));
    kill_process(Pid::from_child(&child), Signal::TERM).expect("signal nrun");
    let mut status = None;
    eventually("nrun has ended", || {
        status = child.try_wait().expect("wait for nrun");
        status.is_some()
    });
    assert_eq!(status.and_then(|status| status.code()), Some(7));
    sandbox.assert_clean();
}

#[test]
fn input_that_the_container_does_not_read_holds_up_nothing_else() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = with_terminal(
        "stty raw -echo; trap 'echo told; exit 7' TERM; echo ready; while :; do sleep 0.02; done",
    );
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    let stdout = writer.into();
    let mut child = run_into(&runtime, &stdout, &bundle, &runtime.new_id());
    drop(stdout);
    let mut ready = [0; 5];
    reader.read_exact(&mut ready).expect("read the output");
    let mut stdin = child.stdin.take().expect("a pipe to nrun");
    let typing = std::thread::spawn(move || while stdin.write_all(&[b'x'; 4096]).is_ok() {});
    std::thread::sleep(Duration::from_millis(500));
    kill_process(Pid::from_child(&child), Signal::TERM).expect("signal nrun");
    assert_eq!(lines(Box::new(reader)), ["", "told"]);
    assert_eq!(child.wait().expect("wait for nrun").code(), Some(7));
    typing.join().expect("the one who types");
}
