//! `-t`: a terminal of the test's own, typed into as a person would.

use super::world::World;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

/// A terminal with `nman` on it.
struct Screen {
    master: File,
    terminal: OwnedFd,
    child: Child,
    shown: String,
}

impl Screen {
    fn open(world: &World, args: &[&str]) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let terminal = ioctl_tiocgptpeer(&master, flags).unwrap();
        resize(&terminal, 33, 99);
        let end = || Stdio::from(terminal.try_clone().unwrap());
        let child = Command::new(env!("CARGO_BIN_EXE_nman"))
            .args(args)
            .env("NMAN_ROOT", world.path("root"))
            .env("NMAN_STATE", world.path("state"))
            .env("NMAN_RUNTIME", super::world::runtime())
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .process_group(0)
            .spawn()
            .unwrap();
        Self { master: File::from(master), terminal, child, shown: String::new() }
    }

    fn type_in(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
    }

    /// Reads until `text` is shown.
    #[track_caller]
    fn expect(&mut self, text: &str) {
        while !self.shown.contains(text) {
            self.read_more(text);
        }
        self.shown.clear();
    }

    /// Reads for as long as more comes within a moment; whether `text` is shown then.
    fn shows_soon(&mut self, text: &str) -> bool {
        let moment = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        while poll(&mut [PollFd::new(&self.master, PollFlags::IN)], Some(&moment)).unwrap() > 0 {
            self.read_more(text);
        }
        self.shown.contains(text)
    }

    #[track_caller]
    fn read_more(&mut self, wanted: &str) {
        let mut buffer = [0; 4096];
        let patience = Timespec { tv_sec: 60, tv_nsec: 0 };
        let ready = poll(&mut [PollFd::new(&self.master, PollFlags::IN)], Some(&patience)).unwrap();
        assert!(ready > 0, "no `{wanted}` on the screen, but:\n{}", self.shown);
        let length = self.master.read(&mut buffer).unwrap();
        self.shown.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }

    fn is_raw(&self) -> bool {
        !tcgetattr(&self.terminal).unwrap().local_modes.contains(LocalModes::ICANON)
    }

    fn code(mut self) -> Option<i32> {
        let code = self.child.wait().unwrap().code();
        assert!(!self.is_raw(), "the terminal was left raw");
        code
    }
}

fn resize(terminal: &OwnedFd, rows: u16, columns: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).unwrap();
}

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
    let screen = shell(&world, "left");
    let client = rustix::process::Pid::from_child(&screen.child);
    rustix::process::kill_process(client, rustix::process::Signal::TERM).unwrap();
    assert_eq!(screen.code(), Some(143));
    world.nman(["rm", "-f", "left"]).ok();
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
