//! sd_notify(3): a service manager that started the runtime hears when the container's program is ready.

use std::fs;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::Child;
use std::time::{Duration, Instant};

use nconform::fixture::{
    BundleDir, Capture, Output, Runtime, Sandbox, User, scratch_dir, unique_name,
};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tempfile::TempDir;

/// Far longer than any message takes.
const LIMIT: Duration = Duration::from_secs(60);
/// Long enough for a message that must not come.
const MOMENT: Duration = Duration::from_millis(300);

/// Whoever waits for the service to be ready.
struct Manager {
    socket: UnixDatagram,
    address: String,
    _directory: Option<TempDir>,
}

impl Manager {
    fn at_path() -> Manager {
        let directory = scratch_dir();
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        for (path, mode) in [(directory.path(), 0o755), (&path, 0o777)] {
            fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("open it to all");
        }
        Manager { socket, address: path.display().to_string(), _directory: Some(directory) }
    }

    fn abstract_name() -> Manager {
        let name = unique_name();
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let socket = UnixDatagram::bind_addr(&address).expect("a socket");
        Manager { socket, address: format!("@{name}"), _directory: None }
    }

    /// The next message, with the fds that came along.
    fn hears_within(&self, limit: Duration) -> Option<(String, Vec<OwnedFd>)> {
        self.socket.set_read_timeout(Some(limit)).expect("a limit");
        let mut text = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut slices = [IoSliceMut::new(&mut text)];
        let received =
            recvmsg(&self.socket, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC).ok()?;
        let fds = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        });
        let fds = fds.flatten().collect();
        Some((String::from_utf8_lossy(&text[..received.bytes]).into_owned(), fds))
    }

    #[track_caller]
    fn hears(&self, wanted: &str) -> Vec<OwnedFd> {
        let (text, fds) = self.hears_within(LIMIT).expect("a message");
        assert_eq!(text, wanted);
        fds
    }

    /// Ready, with this main process.
    #[track_caller]
    fn hears_of(&self, main: Pid) {
        assert!(self.hears("READY=1\n").is_empty());
        assert!(self.hears(&format!("MAINPID={}\n", main.as_raw_nonzero())).is_empty());
    }

    /// The barrier, which is open when the fd is dropped.
    #[track_caller]
    fn hears_barrier(&self) -> OwnedFd {
        let mut fds = self.hears("BARRIER=1");
        assert_eq!(fds.len(), 1, "one fd");
        fds.remove(0)
    }

    #[track_caller]
    fn hears_nothing(&self) {
        let heard = self.hears_within(MOMENT).map(|(text, _)| text);
        assert_eq!(heard, None);
    }
}

fn sleeper() -> BundleDir {
    BundleDir::new().args(["sleep", "600"])
}

fn with(call: Capture, manager: &Manager) -> Capture {
    call.env("NOTIFY_SOCKET", &manager.address)
}

/// A container that is created with the variable; the runtime deletes it in the end.
fn create(runtime: &Runtime, bundle: &BundleDir, manager: &Manager) -> String {
    let id = runtime.new_id();
    let _ = with(runtime.bundle_call("create", bundle, [""; 0], &id), manager).run().ok();
    id
}

fn start(runtime: &Runtime, id: &str, manager: &Manager) -> (Child, Output) {
    with(runtime.call(["start", id]), manager).start()
}

fn pid_of(runtime: &Runtime, id: &str) -> Option<Pid> {
    let output = runtime.call(["state", id]).run();
    let state = output.success().then(|| output.json())?;
    Pid::from_raw(state["pid"].as_i64()?.try_into().ok()?)
}

/// The init, once it runs its program.
#[track_caller]
fn running(runtime: &Runtime, id: &str) -> Pid {
    let since = Instant::now();
    loop {
        let running = pid_of(runtime, id).filter(|pid| {
            let name = fs::read_to_string(format!("/proc/{}/comm", pid.as_raw_nonzero()));
            name.is_ok_and(|name| name == "sleep\n")
        });
        match running {
            Some(pid) => return pid,
            None => assert!(since.elapsed() < LIMIT, "it never ran"),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Says it as a program of the container does: to the socket that the variable names, in the container's tree.
#[track_caller]
fn say(container: Pid, message: &[u8]) {
    let path = format!("/proc/{}/root/run/notify/notify.sock", container.as_raw_nonzero());
    let socket = UnixDatagram::unbound().expect("a socket");
    socket.send_to(message, path).expect("the container's socket takes it");
}

#[track_caller]
fn still_waits(child: &mut Child) {
    std::thread::sleep(MOMENT);
    assert_eq!(child.try_wait().expect("look after a child"), None, "it waits");
}

#[track_caller]
fn ends_with(mut child: Child, status: i32, output: &Output) {
    assert_eq!(child.wait().expect("wait for a child").code(), Some(status), "{output}");
}

/// The program says that it is ready: the manager hears of the init, and whoever waited for that ends.
#[track_caller]
fn is_passed_on(word: &[u8], init: Pid, manager: &Manager, child: Child, output: &Output) {
    say(init, word);
    manager.hears_of(init);
    drop(manager.hears_barrier());
    ends_with(child, 0, output);
}

#[test]
fn start_returns_when_the_program_is_ready_and_the_manager_knows_its_process() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    for manager in [Manager::at_path(), Manager::abstract_name()] {
        let bundle = sleeper();
        let id = create(&runtime, &bundle, &manager);
        let (mut child, output) = start(&runtime, &id, &manager);
        let init = running(&runtime, &id);
        for message in ["STATUS=nearly", "READY=0", "MAINPID=1\nFDSTORE=1", &"x".repeat(20_000)] {
            say(init, message.as_bytes());
        }
        manager.hears_nothing();
        still_waits(&mut child);
        say(init, b"STATUS=up\nREADY=1\nMAINPID=1\n");
        manager.hears_of(init);
        let barrier = manager.hears_barrier();
        still_waits(&mut child);
        drop(barrier);
        ends_with(child, 0, &output);
        manager.hears_nothing();
        let _ = runtime.call(["delete", "--force", &id]).run().ok();
        assert!(!runtime.root().join(&id).exists(), "delete leaves nothing");
    }
    sandbox.assert_clean();
}

#[test]
fn the_container_is_given_a_socket_for_all_its_users_and_a_second_one_is_not() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let manager = Manager::at_path();
    let script = "echo $NOTIFY_SOCKET; id -u; stat -c '%a %F' /run/notify /run/notify/*; touch /run/notify/x";
    // The image has links there, one of which leads out of it.
    let bundle = BundleDir::new().shell(script).set("/process/user", json!({"uid": 7, "gid": 7}));
    fs::remove_dir_all(bundle.rootfs().join("run")).expect("it has a /run");
    symlink("/var/run", bundle.rootfs().join("run")).expect("a link");
    fs::create_dir_all(bundle.rootfs().join("var")).expect("a directory");
    symlink("../../../../store", bundle.rootfs().join("var/run")).expect("a link");
    let id = runtime.new_id();
    // Whatever the caller's umask is.
    let call = runtime
        .call_after("umask 077", ["run", "--bundle", &bundle.path().display().to_string(), &id]);
    let output = with(call, &manager).run().exits(1);
    assert_eq!(
        output.stdout(),
        "/run/notify/notify.sock\n7\n755 directory\n777 socket\n",
        "{output}"
    );
    assert!(output.stderr().contains("Read-only file system"), "{output}");
    assert!(bundle.rootfs().join("store/notify").is_dir(), "the links are followed in the image");
    let without = runtime.run(&bundle).exits(1);
    assert!(without.stdout().starts_with("\n7\n"), "{without}");
    assert!(without.stderr().contains("No such file"), "{without}");
}

#[test]
fn run_in_the_foreground_passes_it_on_and_stays() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let manager = Manager::at_path();
    let id = runtime.new_id();
    let bundle = sleeper();
    let call = runtime.bundle_call("run", &bundle, [""; 0], &id);
    let (mut child, output) = with(call, &manager).start();
    let init = running(&runtime, &id);
    say(init, b"STATUS=nearly");
    manager.hears_nothing();
    say(init, b"READY=1");
    // The signals of the service are for nrun, who passes them on, and its end is the service's.
    manager.hears_of(Pid::from_child(&child));
    // Far more than a socket has room for.
    for _ in 0..2000 {
        say(init, b"WATCHDOG=1\nREADY=1");
    }
    manager.hears_nothing();
    still_waits(&mut child);
    kill_process(Pid::from_child(&child), Signal::KILL).expect("signal nrun");
    let _ = child.wait();
    kill_process(init, Signal::KILL).expect("end the init");
    let _ = runtime.call(["delete", "--force", &id]).run().ok();
    drop(output);
    sandbox.assert_clean();
}

#[test]
fn the_last_word_before_the_end_counts_and_the_status_is_returned() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let manager = Manager::at_path();
    let id = runtime.new_id();
    let bundle = sleeper();
    let call = runtime.bundle_call("run", &bundle, [""; 0], &id);
    let (child, output) = with(call, &manager).start();
    let (run, init) = (Pid::from_child(&child), running(&runtime, &id));
    // Stopped, it finds both at once.
    kill_process(run, Signal::STOP).expect("stop nrun");
    say(init, b"READY=1");
    kill_process(init, Signal::KILL).expect("end the init");
    kill_process(run, Signal::CONT).expect("let nrun go on");
    manager.hears_of(run);
    ends_with(child, 137, &output);
    assert!(!runtime.root().join(&id).exists(), "run leaves nothing");
    sandbox.assert_clean();
}

#[test]
fn run_detached_waits_as_start_does() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let manager = Manager::abstract_name();
    let id = runtime.new_id();
    let bundle = sleeper();
    let call = runtime.bundle_call("run", &bundle, ["--detach"], &id);
    let (mut child, output) = with(call, &manager).start();
    let init = running(&runtime, &id);
    still_waits(&mut child);
    is_passed_on(b"READY=1\n", init, &manager, child, &output);
    let _ = runtime.call(["delete", "--force", &id]).run().ok();
    sandbox.assert_clean();
}

#[test]
fn nobody_waits_for_a_program_that_has_ended() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let manager = Manager::at_path();
    let bundle = BundleDir::new().shell("exit 3");
    let id = create(&runtime, &bundle, &manager);
    let _ = with(runtime.call(["start", &id]), &manager).run().ok();
    let _ = runtime.call(["delete", &id]).run().ok();
    let id = runtime.new_id();
    let detached = runtime.bundle_call("run", &bundle, ["--detach"], &id);
    let _ = with(detached, &manager).run().ok();
    let _ = runtime.call(["delete", &id]).run().ok();
    let foreground = runtime.bundle_call("run", &bundle, [""; 0], &runtime.new_id());
    let _ = with(foreground, &manager).run().exits(3);
    manager.hears_nothing();
    assert_eq!(fs::read_dir(runtime.root()).expect("the root").count(), 0, "nothing is left");
    sandbox.assert_clean();
}

#[test]
fn start_refuses_what_cannot_be_and_the_container_stays_created() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let manager = Manager::at_path();
    let bundle = sleeper();
    let without = runtime.create(&bundle, [""; 0]);
    let refused = with(runtime.call(["start", without.id()]), &manager).run().exits(1);
    let text = "with NOTIFY_SOCKET, which it was created without: no such file or directory";
    assert!(refused.stderr().contains(text), "{refused}");
    assert_eq!(without.status(), "created");
    let _ = without.start().ok();
    let id = create(&runtime, &bundle, &manager);
    for (address, why) in [
        ("/nowhere/notify", "no such file or directory"),
        ("@nobody", "connection refused"),
        ("vsock:2:1", "address family not supported"),
    ] {
        let refused = runtime.call(["start", &id]).env("NOTIFY_SOCKET", address).run().exits(1);
        let text =
            format!("cannot reach the service manager at `{address}` (NOTIFY_SOCKET): {why}");
        assert!(refused.stderr().contains(&text), "{refused}");
        assert_eq!(runtime.call(["state", &id]).run().ok().json()["status"], "created");
    }
    // Who does not have the variable does not wait.
    let _ = runtime.call(["start", &id]).run().ok();
}

#[test]
fn run_goes_on_without_a_manager_that_cannot_be_reached() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = BundleDir::new().shell("echo \"[$NOTIFY_SOCKET]\"; exit 5");
    let call = runtime.bundle_call("run", &bundle, [""; 0], &runtime.new_id());
    let output = call.env("NOTIFY_SOCKET", "/nowhere").run().exits(5);
    assert_eq!(output.stdout(), "[]\n");
    let warning = "nrun: warning: the container runs without NOTIFY_SOCKET: cannot reach";
    assert!(output.stderr().starts_with(warning), "{output}");
    let call = runtime.bundle_call("run", &bundle, [""; 0], &runtime.new_id());
    let output = call.env("NOTIFY_SOCKET", "").run().exits(5);
    assert_eq!((output.stdout().as_str(), output.stderr().as_str()), ("[]\n", ""));
    sandbox.assert_clean();
}

#[test]
fn what_a_privileged_container_leaves_in_the_directory_goes_with_it() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let manager = Manager::at_path();
    let all = ["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"];
    let mut bundle = BundleDir::new().shell(
        "mount -o remount,rw /run/notify && mkdir -p /run/notify/a/b && ln -s /etc /run/notify/c && \
         mv /run/notify/notify.sock /run/notify/d && ln -s d /run/notify/notify.sock",
    );
    for set in ["bounding", "effective", "permitted"] {
        bundle = bundle.set(&format!("/process/capabilities/{set}"), json!(all));
    }
    let id = create(&runtime, &bundle, &manager);
    let (child, output) = start(&runtime, &id, &manager);
    ends_with(child, 0, &output);
    let left = runtime.root().join(&id).join("notify");
    assert!(left.join("a/b").is_dir() && left.join("c").is_symlink(), "it could write; {output}");
    let _ = runtime.call(["delete", &id]).run().ok();
    assert!(!runtime.root().join(&id).exists(), "delete leaves nothing");
    assert!(fs::metadata("/etc").is_ok());
}

#[test]
fn a_create_that_fails_leaves_nothing() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let manager = Manager::at_path();
    let bundle = BundleDir::new().args(["/no/such/program"]);
    for command in ["create", "run"] {
        let call = runtime.bundle_call(command, &bundle, [""; 0], &runtime.new_id());
        let _ = with(call, &manager).run().exits(1);
    }
    assert_eq!(fs::read_dir(runtime.root()).expect("the root").count(), 0);
    sandbox.assert_clean();
}

#[test]
fn a_user_namespace_is_no_hindrance() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let manager = Manager::at_path();
    let mapping = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    let bundle = sleeper()
        .push("/linux/namespaces", json!({"type": "user"}))
        .set("/linux/uidMappings", mapping.clone())
        .set("/linux/gidMappings", mapping);
    // Whoever mounts there makes the place for it, in an image that is the container's.
    chown(bundle.rootfs().join("run"), Some(100_000), Some(100_000)).expect("change an owner");
    let id = create(&runtime, &bundle, &manager);
    let (child, output) = start(&runtime, &id, &manager);
    let init = running(&runtime, &id);
    is_passed_on(b"READY=1", init, &manager, child, &output);
    let _ = runtime.call(["delete", "--force", &id]).run().ok();
    sandbox.assert_clean();
}

#[test]
fn an_ordinary_user_has_it_too() {
    let user = User::enter();
    let runtime = user.runtime();
    let manager = Manager::at_path();
    let bundle = user.bundle().args(["sleep", "600"]);
    let id = create(&runtime, &bundle, &manager);
    let (child, output) = start(&runtime, &id, &manager);
    let init = running(&runtime, &id);
    is_passed_on(b"READY=1", init, &manager, child, &output);
    let _ = runtime.call(["delete", "--force", &id]).run().ok();
    assert!(!runtime.root().join(&id).exists(), "delete leaves nothing");
}

#[test]
fn a_terminal_in_the_foreground_does_not_keep_it_from_being_heard() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let manager = Manager::at_path();
    let id = runtime.new_id();
    let bundle = sleeper().set("/process/terminal", true);
    let call = runtime.bundle_call("run", &bundle, [""; 0], &id);
    let (child, output) = with(call, &manager).start();
    let init = running(&runtime, &id);
    say(init, b"READY=1");
    manager.hears_of(Pid::from_child(&child));
    kill_process(init, Signal::KILL).expect("end the init");
    ends_with(child, 137, &output);
}

#[test]
fn it_cannot_be_checkpointed() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let manager = Manager::at_path();
    let bundle = sleeper();
    let id = create(&runtime, &bundle, &manager);
    let _ = runtime.call(["start", &id]).run().ok();
    let output = runtime.call(["checkpoint", &id]).run().exits(1);
    assert!(output.stderr().contains("it was created with NOTIFY_SOCKET"), "{output}");
}
