//! A session of a user's that ends, and the container that was started in it. Root makes the session, of the user that
//! `NMAN_TEST_SESSION_USER` names: of one who is there, as in the guest, since no systemd knows one that a sandbox has.

use crate::world::{IMAGE, Layers, World, eventually, runtime};
use nconform::fixture::{Capture, Output, scratch_dir, untried};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// That user's programs, and where it has its containers.
struct Session {
    name: String,
    place: PathBuf,
}

impl Session {
    /// The user who is there, who may linger, with the test's image loaded into a store below the directory; it is emptied by [`Session::end`].
    fn of(name: String, scratch: &Path) -> Self {
        let session = Self { name, place: scratch.to_owned() };
        fs::create_dir(scratch.join("bin")).unwrap();
        fs::set_permissions(scratch, fs::Permissions::from_mode(0o777)).unwrap();
        let programs = [(Path::new(env!("CARGO_BIN_EXE_nman")), "nman"), (&runtime(), "runtime")];
        for (from, to) in programs {
            fs::copy(from, scratch.join("bin").join(to)).unwrap();
        }
        fs::write(scratch.join("image.tar"), Layers::busybox().archive(IMAGE)).unwrap();
        Capture::of("loginctl").args(["enable-linger", &session.name]).run().ok();
        session.run("nman load -i image.tar").ok();
        session
    }

    /// Where its containers are, as variables.
    fn variables(&self) -> String {
        let place = self.place.display();
        format!("NMAN_ROOT={place}/root NMAN_STATE={place}/state NMAN_RUNTIME={place}/bin/runtime")
    }

    /// A shell script, in a session of its own.
    fn script(&self, script: &str) -> Capture {
        let place = self.place.display();
        let head =
            format!("cd {place}; export PATH={place}/bin:/usr/bin:/bin {}", self.variables());
        Capture::of("runuser").args(["-l", &self.name, "-c", &format!("{head}; {script}")])
    }

    #[track_caller]
    fn run(&self, script: &str) -> Output {
        self.script(script).run()
    }

    fn end(self) {
        self.run("nman rm -f web; nman unshare rm -rf root; rm state/namespace").ok();
    }
}

/// The user's name, where there is one.
fn user() -> Option<String> {
    std::env::var("NMAN_TEST_SESSION_USER").ok()
}

#[test]
fn a_container_and_its_monitor_outlive_the_session_that_started_them() {
    let Some(name) = user() else {
        // Without a systemd, nothing is there to move them.
        let world = World::new();
        world.run(&["-d", "--name", "web"], &["sleep", "1000"]).ok();
        let group = |pid: &str| fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        let pid = world.inspect("web", "/State/Pid").to_string();
        assert_eq!(group(&pid), group("self"));
        world.nman(["rm", "-f", "web"]).ok();
        return untried("no session of an ordinary user (`NMAN_TEST_SESSION_USER`)");
    };
    let scratch = scratch_dir();
    let session = Session::of(name, scratch.path());
    let script = format!(
        "nman run -d --name web -m 64m --network none {IMAGE} sleep 1000 && cat /proc/self/cgroup && sleep 1000"
    );
    let (mut client, output) = session.script(&script).start();
    output.wait_for(".scope");
    let said = output.stdout();
    let own = said.lines().find_map(|line| line.strip_prefix("0::/")).unwrap();
    let unit = own.rsplit('/').next().unwrap();
    assert!(unit.starts_with("session-"), "{own}");
    let id = unit.trim_start_matches("session-").trim_end_matches(".scope");
    Capture::of("loginctl").args(["terminate-session", id]).run().ok();
    let scope = Path::new("/sys/fs/cgroup").join(own);
    eventually("the session is gone", || !scope.exists());
    client.wait().unwrap();
    // Its monitor writes down how it ends, which nobody does otherwise.
    let words = "nman exec web cat /sys/fs/cgroup/memory.max && nman stop -t 1 web && nman inspect -f {{.State.ExitCode}} web";
    assert_eq!(session.run(words).ok().stdout(), "67108864\nweb\n137\n");
    session.end();
}

#[test]
fn the_users_systemd_starts_containers_by_their_policy() {
    let unit = include_str!("../../systemd/user/nman-containers.service");
    let Some(name) = user() else {
        // What it executes does so for every user.
        let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=@PREFIX@/bin/"));
        let world = World::new();
        world.run(&["-d", "--name", "web", "--restart", "always"], &["true"]).ok();
        world.nman(["stop", "web"]).ok();
        let words = start.unwrap().split(' ').skip(1);
        assert_eq!(world.nman(words).ok().stdout(), "web\n");
        world.nman(["rm", "-f", "web"]).ok();
        return untried("no session of an ordinary user (`NMAN_TEST_SESSION_USER`)");
    };
    let scratch = scratch_dir();
    let session = Session::of(name, scratch.path());
    let service = unit
        .replace("@PREFIX@", &scratch.path().display().to_string())
        .replace("Type=", &format!("Environment={}\nType=", session.variables()));
    fs::write(scratch.path().join("nman-containers.service"), service).unwrap();
    session.run("systemctl --user enable $PWD/nman-containers.service").ok();
    let words = ["run -d --name web --restart always --network none", IMAGE, "sleep 1000"];
    session.run(&format!("nman {}", words.join(" "))).ok();
    let pid = || session.run("nman inspect -f {{.State.Pid}} web").ok().stdout();
    let first = pid();
    let id = Capture::of("id").args(["-u", &session.name]).run().ok().text();
    let manager = format!("user@{id}.service");
    Capture::of("systemctl").args(["restart", &manager]).run().ok();
    eventually("it runs again", || !["0\n", &first].contains(&pid().as_str()));
    session.run("systemctl --user disable nman-containers").ok();
    session.end();
}

/// A stand-in for systemctl(1) tells of a job twice, and then of none, as it does at boot.
#[test]
fn the_users_unit_waits_for_the_network_only_while_the_system_is_about_to_reach_it() {
    let unit = include_str!("../../systemd/user/nman-containers.service");
    let wait =
        unit.lines().find_map(|line| line.strip_prefix("ExecStartPre=-timeout 90 ")).unwrap();
    let scratch = scratch_dir();
    let asked = scratch.path().join("asked");
    let systemctl = scratch.path().join("systemctl");
    let line = "7 network-online.target start waiting";
    let asks = |jobs: usize| {
        let text = format!(
            "#!/bin/sh\necho \"$*\" >>{0}\nif [ $(wc -l <{0}) -le {jobs} ]; then echo {line}; else echo No jobs listed.; fi\n",
            asked.display()
        );
        fs::write(&systemctl, text).unwrap();
        fs::set_permissions(&systemctl, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(&asked, "").unwrap();
        let path = format!("PATH={}:/usr/bin:/bin", scratch.path().display());
        Capture::of("sh").args(["-c", &format!("{path}; {wait}")]).run().ok();
        fs::read_to_string(&asked).unwrap()
    };
    let question = "list-jobs network-online.target\n";
    assert_eq!(asks(0), question);
    assert_eq!(asks(2), question.repeat(3));
}
