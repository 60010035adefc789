//! `-t`: a terminal of the test's own, typed into as a person would.

use super::screen::{Screen, resize};
use super::world::World;

fn shell(world: &World, name: &str) -> Screen {
    let parent = format!("/{}", world.cgroup());
    let mut screen = Screen::open(
        world,
        &[
            "run",
            "--rm",
            "-it",
            "--network",
            "none",
            "--cgroup-parent",
            &parent,
            "--name",
            name,
            super::world::IMAGE,
        ],
    );
    screen.expect("# ");
    screen
}

#[test]
fn a_command_in_the_background_keeps_its_terminal() {
    let world = World::new();
    world.run(&["-d", "--name", "web"], &["sleep", "1000"]).ok();
    world
        .nman([
            "exec",
            "-dt",
            "web",
            "sh",
            "-c",
            "tty > /tmp/tty; sleep 1; tty > /tmp/later; exec sh",
        ])
        .ok();
    let seen = |file: &str| world.nman(["exec", "web", "cat", file]).stdout();
    super::world::eventually("it has a terminal", || seen("/tmp/tty").starts_with("/dev/pts/"));
    super::world::eventually("it still has", || seen("/tmp/later").starts_with("/dev/pts/"));
    // The shell waits for somebody to type.
    let shells = || world.nman(["exec", "web", "ps"]).ok().stdout();
    assert!(shells().lines().any(|line| line.trim_end().ends_with(" sh")), "{}", shells());
    world.nman(["rm", "-f", "web"]).ok();
    world.assert_no_container();
}

#[test]
fn who_copies_at_a_terminal_is_told_how_much() {
    let world = World::new();
    world.nman(["create", "--name", "files", super::world::IMAGE, "true"]).ok();
    let file = world.path("file");
    std::fs::write(&file, "four").unwrap();
    let copy = ["cp", file.to_str().unwrap(), "files:/tmp/file"];
    let mut screen = Screen::open(&world, &copy);
    screen.expect("Successfully copied 4B to files:/tmp/file");
    screen.child.wait().unwrap();
    world.nman(["rm", "files"]).ok();
    world.assert_no_container();
}

#[test]
fn a_shell_has_a_terminal_of_the_right_size_and_its_keys_are_signals() {
    let world = World::new();
    let mut screen = shell(&world, "tty");
    assert!(screen.is_raw());
    screen.type_in("tty; stty size; echo $TERM\r");
    screen.expect("33 99\r\nxterm");
    // Its own line editor takes keys as keys: only once the program runs is ^C a signal.
    screen.type_in("echo begun $((1+1)); sleep 1000\r");
    screen.expect("begun 2");
    // The shell takes a moment to start it, in which the signal would be the shell's own.
    super::world::eventually("^C ends the program", || {
        screen.type_in("\x03");
        screen.shows_soon("# ")
    });
    screen.type_in("echo alive $((2+3))\r");
    screen.expect("alive 5");
    screen.type_in("exit 5\r");
    assert_eq!(screen.code(), Some(5));
    world.assert_no_container();
}

#[test]
fn a_new_window_size_reaches_the_container() {
    let world = World::new();
    let mut screen = shell(&world, "resized");
    resize(&screen.terminal, 20, 60);
    let client = rustix::process::Pid::from_child(&screen.child);
    // The kernel tells a terminal's foreground group; this one is nobody's controlling terminal.
    rustix::process::kill_process(client, rustix::process::Signal::WINCH).unwrap();
    super::world::eventually("the size is passed on", || {
        screen.type_in("stty size; echo checked $((4+4))\r");
        while !screen.shown.contains("checked 8") {
            screen.read_more("checked 8");
        }
        let shown = std::mem::take(&mut screen.shown);
        shown.contains("20 60")
    });
    screen.type_in("exit\r");
    assert_eq!(screen.code(), Some(0));
    world.assert_no_container();
}

#[test]
fn the_terminal_is_restored_when_the_container_is_killed_and_when_we_are_told_to_end() {
    let world = World::new();
    let screen = shell(&world, "killed");
    world.nman(["kill", "killed"]).ok();
    assert_eq!(screen.code(), Some(137));
    let mut first = shell(&world, "left");
    let mut second = Screen::open(&world, &["attach", "left"]);
    second.expect("# ");
    let client = rustix::process::Pid::from_child(&second.child);
    rustix::process::kill_process(client, rustix::process::Signal::TERM).unwrap();
    assert_eq!(second.code(), Some(143));
    first.type_in("echo $((40+2))\r");
    first.expect("42\r\n");
    world.nman(["kill", "left"]).ok();
    assert_eq!(first.code(), Some(137));
    world.assert_no_container();
}

#[test]
fn exec_gets_a_terminal_too() {
    let world = World::new();
    world.run(&["-d", "--name", "host"], &["sleep", "1000"]).ok();
    let mut screen = Screen::open(&world, &["exec", "-it", "host", "sh"]);
    screen.expect("# ");
    screen.type_in("stty size\r");
    screen.expect("33 99");
    screen.type_in("exit 4\r");
    assert_eq!(screen.code(), Some(4));
    world.nman(["rm", "-f", "host"]).ok();
    world.assert_no_container();
}

#[test]
fn who_attaches_to_a_terminal_sees_its_prompt_without_a_key() {
    let world = World::new();
    let mut screen = shell(&world, "waits");
    screen.type_in("\x10\x11");
    screen.expect("read escape sequence");
    assert_eq!(screen.code(), Some(0));
    let mut screen = Screen::open(&world, &["attach", "waits"]);
    screen.expect("# ");
    screen.type_in("stty size; exit 3\r");
    screen.expect("33 99\r\n");
    assert_eq!(screen.code(), Some(3));
    world.assert_no_container();
}

#[test]
fn an_interrupt_reaches_a_terminal_that_nobody_types_into() {
    let world = World::new();
    let parent = format!("/{}", world.cgroup());
    let run =
        ["run", "--rm", "-t", "--network", "none", "--cgroup-parent", &parent, "--name", "up"];
    let script = "trap 'echo got; exit 6' INT; echo up; while :; do sleep 0.05; done";
    let words = [super::world::IMAGE, "sh", "-c", script];
    let mut screen = Screen::open_controlled(&world, &[&run[..], &words].concat());
    screen.expect("up");
    screen.type_in("\x03");
    screen.expect("got");
    assert_eq!(screen.code(), Some(6));
    // Without the proxy it is the client's.
    let mut screen =
        Screen::open_controlled(&world, &[&run[..], &["--sig-proxy=false"], &words].concat());
    screen.expect("up");
    screen.type_in("\x03");
    assert_eq!(screen.code(), Some(130));
    world.nman(["rm", "-f", "up"]).ok();
    world.assert_no_container();
}

#[test]
fn what_the_client_on_a_terminal_is_told_the_container_hears() {
    use rustix::process::{Pid, Signal, kill_process};
    let world = World::new();
    let parent = format!("/{}", world.cgroup());
    let script =
        "trap 'echo ended; exit 6' TERM; trap 'exit 7' HUP; echo up; while :; do sleep 0.05; done";
    let open = |more: &[&str]| {
        let run = ["run", "-it", "--network", "none", "--cgroup-parent", &parent, "--name", "up"];
        let words = [super::world::IMAGE, "sh", "-c", script];
        let mut screen = Screen::open(&world, &[&run[..], more, &words].concat());
        screen.expect("up");
        screen
    };
    let tell = |screen: &Screen, signal| {
        kill_process(Pid::from_child(&screen.child), signal).unwrap();
    };
    let mut screen = open(&[]);
    tell(&screen, Signal::TERM);
    screen.expect("ended");
    assert_eq!(screen.code(), Some(6));
    world.nman(["rm", "up"]).ok();
    // A terminal that is closed: nobody is left to wait for the end.
    let screen = open(&[]);
    tell(&screen, Signal::HUP);
    assert_eq!(screen.code(), Some(129));
    super::world::eventually("the container hears of it", || {
        world.inspect("up", "/State/ExitCode") == 7
    });
    world.nman(["rm", "up"]).ok();
    // Without the proxy the client alone ends.
    let screen = open(&["--sig-proxy=false"]);
    tell(&screen, Signal::TERM);
    assert_eq!(screen.code(), Some(143));
    assert_eq!(world.inspect("up", "/State/Status"), "running");
    world.nman(["rm", "-f", "up"]).ok();
    world.assert_no_container();
}

#[test]
fn who_interrupts_three_times_in_vain_is_let_go() {
    let world = World::new();
    let script = "trap 'echo heard' INT; echo up; while :; do sleep 0.05; done";
    let (mut client, output) =
        world.run_command(&["--rm", "--name", "deaf"], &["sh", "-c", script]).start();
    super::world::eventually("it is up", || output.stdout() == "up\n");
    let pid = rustix::process::Pid::from_child(&client);
    for heard in ["up\nheard\n", "up\nheard\nheard\n", ""] {
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        super::world::eventually("it is heard", || heard.is_empty() || output.stdout() == heard);
    }
    assert_eq!(client.wait().unwrap().code(), Some(1));
    super::world::eventually("it is told", || {
        output.stderr().starts_with("nman: got 3 SIGTERM/SIGINTs, forcefully exiting\n")
    });
    world.nman(["rm", "-f", "deaf"]).ok();
    world.assert_no_container();
}

#[test]
fn a_terminal_belongs_to_whoever_names_its_streams() {
    let world = World::new();
    let parent = format!("/{}", world.cgroup());
    let run = ["run", "--network", "none", "--cgroup-parent", &parent, "-it", "--name"];
    let open = |name: &str, streams: &[&str]| {
        Screen::open(&world, &[&run[..], &[name], streams, &[super::world::IMAGE]].concat())
    };
    // A container's terminal has one output, whichever of the two is named.
    for (name, output) in [("out", "stdout"), ("err", "STDERR")] {
        let mut screen = open(name, &["-a", "stdin", "-a", output]);
        screen.expect("# ");
        assert!(screen.is_raw());
        screen.type_in("stty size; echo $((40+2))\r");
        screen.expect("33 99\r\n42\r\n");
        screen.type_in("exit 5\r");
        assert_eq!(screen.code(), Some(5), "{name}");
    }
    // Who only types sees the id alone, and is let go when the container ends.
    let mut screen = open("blind", &["-a", "stdin"]);
    let id = screen.up_to("\n");
    super::world::eventually("the keys go to the container", || screen.is_raw());
    screen.type_in("echo written > /tmp/file; exit 5\r");
    super::world::eventually("it has ended", || {
        world.inspect("blind", "/State/Status") == "exited"
    });
    assert_eq!(world.inspect("blind", "/Id"), id.trim_end());
    assert_eq!(world.inspect("blind", "/State/ExitCode"), 5);
    let written = world.path("file");
    world.nman(["cp", "blind:/tmp/file", written.to_str().unwrap()]).ok();
    assert_eq!(std::fs::read_to_string(written).unwrap(), "written\n");
    assert!(!screen.shows_soon("written"), "{}", screen.shown);
    assert_eq!(screen.code(), Some(0));
    world.nman(["rm", "out", "err", "blind"]).ok();
    world.assert_no_container();
}

#[test]
fn signals_to_the_client_reach_a_container_without_a_terminal() {
    let world = World::new();
    let script = "trap 'echo got; exit 6' TERM; echo up; while :; do sleep 0.05; done";
    let (mut client, output) = world.run_command(&["--rm"], &["sh", "-c", script]).start();
    super::world::eventually("it is up", || output.stdout() == "up\n");
    let pid = rustix::process::Pid::from_child(&client);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(client.wait().unwrap().code(), Some(6));
    assert_eq!(output.stdout(), "up\ngot\n");
    world.assert_no_container();
}

#[test]
fn the_detach_keys_leave_a_container_and_attach_comes_back() {
    let world = World::new();
    let mut screen = shell(&world, "left");
    screen.type_in("x=kept\r");
    screen.expect("# ");
    // One of the keys alone is passed on: the shell's own history, here empty.
    screen.type_in("\x10\x10\x11");
    screen.expect("read escape sequence");
    assert_eq!(screen.code(), Some(0));
    let mut one = Screen::open(&world, &["attach", "--detach-keys", "ctrl-a,d", "left"]);
    let mut other = Screen::open(&world, &["attach", "left"]);
    one.type_in("\r");
    one.expect("# ");
    other.expect("# ");
    one.type_in("echo $x\r");
    one.expect("kept\r\n");
    // Everybody who is attached sees the same.
    other.expect("kept\r\n");
    one.type_in("\x01d");
    one.expect("read escape sequence");
    assert_eq!(one.code(), Some(0));
    other.type_in("exit 3\r");
    assert_eq!(other.code(), Some(3));
    world.assert_no_container();
}

#[test]
fn a_command_goes_on_when_who_has_detached_from_it_led_the_terminals_session() {
    let world = World::new();
    world.run(&["-d", "--name", "host"], &["sleep", "1000"]).ok();
    let script = "echo begun; until [ -e /go ]; do sleep 0.1; done; echo more; touch /done";
    // Whoever holds the terminal from then on takes its time to leave the session.
    let mut screen = Screen::open_controlled_by(
        &world,
        &[
            "strace",
            "-DDD",
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            "inject=setsid:delay_enter=300000",
        ],
        &["exec", "-it", "host", "sh", "-c", script],
    );
    screen.expect("begun");
    screen.type_in("\x10\x11");
    screen.expect("read escape sequence");
    assert!(screen.child.wait().unwrap().success());
    std::thread::sleep(std::time::Duration::from_millis(600));
    world.nman(["exec", "host", "touch", "/go"]).ok();
    super::world::eventually("it has gone on", || {
        world.nman(["exec", "host", "test", "-e", "/done"]).success()
    });
    super::world::eventually(
        "who has held its terminal is gone, and the command collected",
        || {
            let _ = rustix::process::wait(rustix::process::WaitOptions::NOHANG);
            world.sandbox.leftovers().iter().all(|line| !line.contains("nman-drain"))
                && world.nman(["top", "host"]).stdout().lines().count() == 2
        },
    );
    // strace, which collects the command first, takes a moment.
    super::world::eventually("the container is gone", || {
        while let Ok(Some(_)) = rustix::process::wait(rustix::process::WaitOptions::NOHANG) {}
        world.nman(["rm", "-f", "host"]).success()
    });
    world.assert_no_container();
}

#[test]
fn a_command_that_was_detached_from_goes_on() {
    let world = World::new();
    world.run(&["-d", "--name", "host"], &["sleep", "1000"]).ok();
    let script = "echo begun; until [ -e /go ]; do sleep 0.1; done; echo more; touch /done";
    let mut screen = Screen::open(&world, &["exec", "-it", "host", "sh", "-c", script]);
    screen.expect("begun");
    screen.type_in("\x10\x11");
    screen.expect("read escape sequence");
    assert_eq!(screen.code(), Some(0));
    world.nman(["exec", "host", "touch", "/go"]).ok();
    super::world::eventually("it has gone on", || {
        world.nman(["exec", "host", "test", "-e", "/done"]).success()
    });
    // Whoever has no parent any more is collected by the nearest subreaper, which is this test.
    super::world::eventually("the command and who has held its terminal are gone", || {
        let _ = rustix::process::wait(rustix::process::WaitOptions::NOHANG);
        world.sandbox.leftovers().iter().all(|line| !line.contains("nman-drain"))
            && world.nman(["top", "host"]).stdout().lines().count() == 2
    });
    world.nman(["rm", "-f", "host"]).ok();
    world.assert_no_container();
}
