//! Where managers are compared: a sandbox with a registry and the daemons that they need.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bundle::layer::Compression;
use bundle::layout::Layout;
use tempfile::TempDir;

use super::Plan;
use super::daemon::{Daemon, PATIENCE, containerd, dockerd};
use super::engine::{Engine, Kind, Places};
use super::measure::children;
use crate::fixture::{
    Capture, LARGE_IMAGE, Registry, Sandbox, binary, scratch_dir, write_large_image,
};

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
        let places = Places::below(&path);
        let registry = Registry::start();
        push_small_image(&registry, &path);
        let mut engines = vec![Engine::nman(&plan.nman, &plan.runtime, &places)];
        engines.extend(Engine::podman(&places, Path::new("runc")));
        engines.extend(Engine::docker(&places));
        engines.extend(Engine::ctr(&places));
        let mut processes = Vec::new();
        if engines.iter().any(|engine| matches!(engine.kind, Kind::Docker | Kind::Ctr)) {
            processes.push(containerd(&places));
        }
        if engines.iter().any(|engine| engine.kind == Kind::Docker) {
            processes.push(dockerd(&places, &[]));
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
