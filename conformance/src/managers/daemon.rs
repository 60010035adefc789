//! Daemons of managers, started for one run of ours with directories and sockets of their own.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::engine::Places;
use crate::fixture::find_tool;

/// How long a daemon may take to answer, or to end.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A daemon that ends when it is dropped.
pub(crate) struct Daemon(Child);

impl Daemon {
    fn start(mut command: Command, log: &Path, socket: &Path) -> Self {
        let file = fs::File::create(log).expect("a log for a daemon");
        let errors = file.try_clone().expect("a second descriptor of a log");
        command.stdin(Stdio::null()).stdout(file).stderr(errors);
        let child =
            command.spawn().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
        let mut daemon = Self(child);
        let limit = Instant::now() + PATIENCE;
        while std::os::unix::net::UnixStream::connect(socket).is_err() {
            let ended = daemon.0.try_wait().is_ok_and(|status| status.is_some());
            assert!(
                !ended && Instant::now() < limit,
                "{command:?} does not answer: {}",
                fs::read_to_string(log).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        daemon
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        let limit = Instant::now() + PATIENCE;
        while matches!(self.0.try_wait(), Ok(None)) {
            if Instant::now() > limit {
                let _ = self.0.kill();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A daemon goes with the benchmark, should that be killed.
fn daemon(name: &str) -> Command {
    let mut command = Command::new(find_tool("setpriv").unwrap_or_else(|| "setpriv".into()));
    command.args(["--pdeathsig", "KILL"]).arg(find_tool(name).unwrap_or_else(|| name.into()));
    command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command
}

/// containerd without what no test asks for.
pub(crate) fn containerd(places: &Places) -> Daemon {
    let own = places.directory.join("containerd");
    let config = places.directory.join("containerd.toml");
    let text = format!(
        "version = 2\nroot = \"{0}/root\"\nstate = \"{0}/state\"\n\
         disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.snapshotter.v1.devmapper\"]\n\
         [grpc]\naddress = \"{1}\"\n[debug]\nlevel = \"error\"\n",
        own.display(),
        places.containerd.display()
    );
    fs::write(&config, text).expect("write containerd's configuration");
    let mut command = daemon("containerd");
    command.arg("--config").arg(config);
    Daemon::start(command, &places.directory.join("containerd.log"), &places.containerd)
}

/// dockerd on that containerd, with further options.
pub(crate) fn dockerd(places: &Places, options: &[OsString]) -> Daemon {
    let own = places.directory.join("docker");
    let mut command = daemon("dockerd");
    command
        .arg("--data-root")
        .arg(own.join("root"))
        .arg("--exec-root")
        .arg(own.join("exec"))
        .arg("--pidfile")
        .arg(own.with_extension("pid"))
        .arg("--containerd")
        .arg(&places.containerd)
        .arg("-H")
        .arg(format!("unix://{}", places.docker.display()))
        .args(["--log-level", "error", "--storage-driver", "overlay2"])
        .args(options);
    Daemon::start(command, &places.directory.join("dockerd.log"), &places.docker)
}
