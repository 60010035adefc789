//! A terminal of a test's own.

use super::world::{World, runtime};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

/// A terminal with `nman` on it.
pub(crate) struct Screen {
    pub(crate) master: File,
    pub(crate) terminal: OwnedFd,
    pub(crate) child: Child,
    pub(crate) shown: String,
}

impl Screen {
    /// On a terminal whose keys are no signals: it is nobody's controlling terminal.
    pub(crate) fn open(world: &World, args: &[&str]) -> Self {
        let mut nman = Command::new(env!("CARGO_BIN_EXE_nman"));
        nman.args(args).process_group(0);
        Self::show(world, nman)
    }

    /// On a terminal of its own, so that ^C interrupts.
    pub(crate) fn open_controlled(world: &World, args: &[&str]) -> Self {
        Self::open_controlled_by(world, &[], args)
    }

    /// The same, started by another program with its arguments.
    pub(crate) fn open_controlled_by(world: &World, before: &[&str], args: &[&str]) -> Self {
        let mut nman = Command::new("setsid");
        nman.args(["--ctty", "--wait"]).args(before).arg(env!("CARGO_BIN_EXE_nman")).args(args);
        Self::show(world, nman)
    }

    fn show(world: &World, mut nman: Command) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let terminal = ioctl_tiocgptpeer(&master, flags).unwrap();
        resize(&terminal, 33, 99);
        let end = || Stdio::from(terminal.try_clone().unwrap());
        let child = nman
            .env("NMAN_ROOT", world.path("root"))
            .env("NMAN_STATE", world.path("state"))
            .env("NMAN_RUNTIME", runtime())
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        Self { master: File::from(master), terminal, child, shown: String::new() }
    }

    pub(crate) fn type_in(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
    }

    /// Reads until `text` is shown.
    #[track_caller]
    pub(crate) fn expect(&mut self, text: &str) {
        while !self.shown.contains(text) {
            self.read_more(text);
        }
        self.shown.clear();
    }

    /// Reads up to `text`, and returns what was shown before it.
    #[track_caller]
    pub(crate) fn up_to(&mut self, text: &str) -> String {
        loop {
            if let Some((before, after)) = self.shown.split_once(text) {
                let before = before.to_owned();
                self.shown = after.to_owned();
                return before;
            }
            self.read_more(text);
        }
    }

    /// Reads for as long as more comes within a moment; whether `text` is shown then.
    pub(crate) fn shows_soon(&mut self, text: &str) -> bool {
        let moment = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        while poll(&mut [PollFd::new(&self.master, PollFlags::IN)], Some(&moment)).unwrap() > 0 {
            self.read_more(text);
        }
        self.shown.contains(text)
    }

    #[track_caller]
    pub(crate) fn read_more(&mut self, wanted: &str) {
        let mut buffer = [0; 4096];
        let patience = Timespec { tv_sec: 60, tv_nsec: 0 };
        let ready = poll(&mut [PollFd::new(&self.master, PollFlags::IN)], Some(&patience)).unwrap();
        assert!(ready > 0, "no `{wanted}` on the screen, but:\n{}", self.shown);
        let length = self.master.read(&mut buffer).unwrap();
        self.shown.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }

    pub(crate) fn is_raw(&self) -> bool {
        !tcgetattr(&self.terminal).unwrap().local_modes.contains(LocalModes::ICANON)
    }

    pub(crate) fn code(mut self) -> Option<i32> {
        let code = self.child.wait().unwrap().code();
        assert!(!self.is_raw(), "the terminal was left raw");
        code
    }
}

pub(crate) fn resize(terminal: &OwnedFd, rows: u16, columns: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).unwrap();
}
