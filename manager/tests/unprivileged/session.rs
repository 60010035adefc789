//! A session of a user's that ends, and the container that was started in it. Root makes the session, of the user that
//! `NMAN_TEST_SESSION_USER` names: of one who is there, as in the guest, since no systemd knows one that a sandbox has.

use crate::world::{IMAGE, Layers, World, eventually, runtime};
use nconform::fixture::{Capture, Output, scratch_dir};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// That user's programs, and where it has its containers.
struct Session {
    name: String,
    place: PathBuf,
}

impl Session {
    /// A shell script, in a session of its own.
    fn script(&self, script: &str) -> Capture {
        let place = self.place.display();
        let head = format!(
            "cd {place}; export PATH={place}:/usr/bin:/bin NMAN_ROOT={place}/root NMAN_STATE={place}/state NMAN_RUNTIME={place}/runtime"
        );
        Capture::of("runuser").args(["-l", &self.name, "-c", &format!("{head}; {script}")])
    }

    #[track_caller]
    fn run(&self, script: &str) -> Output {
        self.script(script).run()
    }
}

#[test]
fn a_container_and_its_monitor_outlive_the_session_that_started_them() {
    let Ok(name) = std::env::var("NMAN_TEST_SESSION_USER") else {
        // Without a systemd, nothing is there to move them.
        let world = World::new();
        world.run(&["-d", "--name", "web"], &["sleep", "1000"]).ok();
        let group = |pid: &str| fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        let pid = world.inspect("web", "/State/Pid").to_string();
        assert_eq!(group(&pid), group("self"));
        world.nman(["rm", "-f", "web"]).ok();
        return;
    };
    let scratch = scratch_dir();
    let session = Session { name, place: scratch.path().to_owned() };
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o777)).unwrap();
    for (from, to) in [(Path::new(env!("CARGO_BIN_EXE_nman")), "nman"), (&runtime(), "runtime")] {
        fs::copy(from, scratch.path().join(to)).unwrap();
    }
    fs::write(scratch.path().join("image.tar"), Layers::busybox().archive(IMAGE)).unwrap();
    Capture::of("loginctl").args(["enable-linger", &session.name]).run().ok();
    session.run("nman load -i image.tar").ok();
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
    session.run("nman rm -f web; nman unshare rm -rf root; rm state/namespace").ok();
}
