//! `--pidfd-socket`: whoever listens gets an fd of exactly the process that was made.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use nconform::fixture::{BundleDir, Runtime, Sandbox};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{Pid, WaitOptions, waitpid};

/// A socket in a bundle.
struct Listener(UnixListener, PathBuf);

impl Listener {
    fn new(bundle: &BundleDir) -> Listener {
        let path = bundle.path().join("pidfd.socket");
        Listener(UnixListener::bind(&path).expect("listen on a socket"), path)
    }

    fn flag(&self) -> String {
        format!("--pidfd-socket={}", self.1.display())
    }

    /// The name that came, and the fd: it has been sent when the command has returned.
    fn receive(&self) -> (String, OwnedFd) {
        self.0.set_nonblocking(true).expect("not to wait");
        let (stream, _) = self.0.accept().expect("a connection");
        let mut name = [0; 64];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut slices = [IoSliceMut::new(&mut name)];
        let received = recvmsg(&stream, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC);
        let length = received.expect("a message").bytes;
        let fds = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        });
        let mut fds: Vec<OwnedFd> = fds.flatten().collect();
        assert_eq!(fds.len(), 1, "one fd");
        (String::from_utf8_lossy(&name[..length]).into_owned(), fds.remove(0))
    }
}

/// The process that a pidfd is of, as the kernel tells it.
fn process(pidfd: &OwnedFd) -> i64 {
    use std::os::fd::AsRawFd;
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd()));
    let info = info.expect("about an fd");
    let pid = info.lines().find_map(|line| line.strip_prefix("Pid:")).expect("a pidfd");
    pid.trim().parse().expect("a number")
}

#[test]
fn create_and_run_send_the_init() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    for command in [&["create"][..], &["run", "--detach"]] {
        let bundle = BundleDir::new().args(["sleep", "600"]);
        let listener = Listener::new(&bundle);
        let id = runtime.new_id();
        let options = command[1..].iter().map(ToString::to_string).chain([listener.flag()]);
        let _ = runtime.bundle_call(command[0], &bundle, options, &id).run().ok();
        let (name, pidfd) = listener.receive();
        let state = runtime.call(["state", &id]).run().ok().json();
        assert_eq!((name.as_str(), state["pid"].as_i64()), ("standard", Some(process(&pidfd))));
        sys::signals::send(pidfd.as_fd(), 9).expect("kill it");
        let _ = runtime.call(["delete", "--force", &id]).run().ok();
    }
}

#[test]
fn exec_sends_its_process() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = BundleDir::new().args(["sleep", "600"]);
    let container = runtime.start(&bundle);
    let listener = Listener::new(&bundle);
    let pid_file = bundle.path().join("pid");
    let pid_flag = format!("--pid-file={}", pid_file.display());
    let exec = ["exec", "-d", &listener.flag(), &pid_flag, container.id(), "sleep", "600"];
    let _ = runtime.call(exec).run().ok();
    let (name, pidfd) = listener.receive();
    let pid: i32 = std::fs::read_to_string(pid_file).expect("a pid file").parse().expect("a pid");
    assert_eq!((name.as_str(), process(&pidfd)), ("setns", i64::from(pid)));
    sys::signals::send(pidfd.as_fd(), 9).expect("kill it");
    waitpid(Pid::from_raw(pid), WaitOptions::empty()).expect("ours since its parent ended");
}

#[test]
fn a_socket_where_nobody_listens_is_found_out_before_anything_is_made() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = BundleDir::new().args(["sleep", "600"]);
    let id = runtime.new_id();
    let flag = ["--pidfd-socket", "/no/such/socket"];
    let output = runtime.bundle_call("create", &bundle, flag, &id).run().exits(1);
    assert!(output.stderr().contains("connect to the pidfd socket `/no/such/socket`"), "{output}");
    assert!(!runtime.root().join(&id).exists());
    let container = runtime.start(&bundle);
    let output = runtime.call(["exec"]).args(flag).args([container.id(), "true"]).run().exits(255);
    assert!(output.stderr().contains("/no/such/socket"), "{output}");
    let _ = runtime.call(["delete", "--force", container.id()]).run().ok();
    sandbox.assert_clean();
}
