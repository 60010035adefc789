//! Where managers are compared: a sandbox with a registry and the daemons that they need.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bundle::layer::Compression;
use bundle::layout::Layout;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::Plan;
use super::engine::{Engine, Kind, Places};
use super::measure::children;
use crate::fixture::{
    Capture, LARGE_IMAGE, Registry, Sandbox, binary, find_tool, scratch_dir, write_large_image,
};

/// How long a daemon may take to answer, or to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Fields are dropped in this order: what uses the directory goes before it does.
pub(super) struct Arena {
    pub(super) engines: Vec<Engine>,
    pub(super) registry: Registry,
    /// What was running when measuring began.
    pub(super) daemons: BTreeSet<u32>,
    _processes: Vec<Daemon>,
    pub(super) directory: TempDir,
    _sandbox: Sandbox,
}

impl Arena {
    /// Starts everything, and has every manager pull the small image.
    pub(super) fn enter(plan: &Plan) -> Self {
        let sandbox = Sandbox::enter();
        let directory = scratch_dir();
        let path = directory.path().to_owned();
        let places = Places {
            containerd: path.join("containerd.sock"),
            docker: path.join("docker.sock"),
            directory: path.clone(),
        };
        let registry = Registry::start();
        push_small_image(&registry, &path);
        let mut engines = vec![Engine::nman(&plan.nman, &plan.runtime, &places)];
        engines.extend(Engine::podman(&places));
        engines.extend(Engine::docker(&places));
        engines.extend(Engine::ctr(&places));
        let mut processes = Vec::new();
        if engines.iter().any(|engine| matches!(engine.kind, Kind::Docker | Kind::Ctr)) {
            processes.push(containerd(&places));
        }
        if engines.iter().any(|engine| engine.kind == Kind::Docker) {
            processes.push(dockerd(&places));
        }
        let arena = Self {
            engines,
            registry,
            daemons: children(),
            _processes: processes,
            directory,
            _sandbox: sandbox,
        };
        let image = arena.image();
        for engine in &arena.engines {
            // dockerd listens long before it answers.
            let limit = Instant::now() + PATIENCE;
            while engine.kind == Kind::Docker
                && !succeeds(engine.command(["version"]))
                && Instant::now() < limit
            {
                std::thread::sleep(Duration::from_millis(100));
            }
            // A manager that cannot pull says so in the tables.
            succeeds(engine.pull(&image));
        }
        arena
    }

    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The small image: busybox.
    pub(super) fn image(&self) -> String {
        format!("{}/bench/busybox:latest", self.registry.address())
    }

    pub(super) fn ours(&self) -> &Engine {
        &self.engines[0]
    }

    /// Pushes the large image and returns its reference.
    pub(super) fn push_large_image(
        &self,
        compression: Compression,
        name: &str,
    ) -> Result<String, String> {
        let path = self.path().join(format!("large-{name}"));
        let layout = Layout::create(&path).map_err(|error| error.to_string())?;
        write_large_image(&layout, compression).map_err(|error| error.to_string())?;
        let source = format!("oci:{}:{LARGE_IMAGE}", path.display());
        let reference = self.registry.push(&source, &format!("bench/large:{name}"));
        fs::remove_dir_all(&path).map_err(|error| error.to_string())?;
        Ok(reference)
    }
}

fn succeeds(mut command: Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

fn push_small_image(registry: &Registry, directory: &Path) {
    let layout = directory.join("busybox");
    Capture::of(binary("nbundle"))
        .args(["build", "--from-busybox", "/bin/busybox", "--tag", "latest", "-o"])
        .args([&layout])
        .run()
        .ok();
    registry.push(&format!("oci:{}:latest", layout.display()), "bench/busybox:latest");
}

/// A daemon that ends when it is dropped.
struct Daemon(Child);

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

fn containerd(places: &Places) -> Daemon {
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

fn dockerd(places: &Places) -> Daemon {
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
        .args(["--log-level", "error", "--storage-driver", "overlay2"]);
    Daemon::start(command, &places.directory.join("dockerd.log"), &places.docker)
}
