//! `nman version` and `nman info`: what this is, what it calls, and where it keeps things.

use crate::container::{Containers, Status};
use crate::error::Result;
use crate::runtime::Runtime;
use crate::settings::Settings;
use crate::store::Store;

/// The versions of nman and of the runtime. That there is no runtime is said, not an error.
pub fn version(settings: &Settings) -> Result<String> {
    let runtime = match Runtime::find(settings.runtime.as_deref()) {
        Ok(path) => Runtime::new(&path, settings).version()?,
        Err(error) => error.to_string(),
    };
    Ok(format!("nman version {}\nruntime: {runtime}\n", env!("CARGO_PKG_VERSION")))
}

/// Counts and places.
pub fn info(settings: &Settings) -> Result<String> {
    let containers = Containers::open(&settings.containers())?.list()?;
    let running = containers.iter().filter(|(_, state)| state.status == Status::Running).count();
    let images = Store::open(&settings.root)?.list()?.len();
    let runtime = match Runtime::find(settings.runtime.as_deref()) {
        Ok(path) => path.display().to_string(),
        Err(error) => error.to_string(),
    };
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    Ok(format!(
        "Containers: {}\n Running: {running}\n Stopped: {}\nImages: {images}\nStorage: overlayfs\nRoot: {}\n\
         State: {}\nRuntime: {runtime}\nCgroups: {}\nKernel: {kernel}\nVersion: {}\n",
        containers.len(),
        containers.len() - running,
        settings.root.display(),
        settings.state.display(),
        cgroups(),
        env!("CARGO_PKG_VERSION"),
    ))
}

fn cgroups() -> &'static str {
    use std::path::Path;
    match Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        true => "v2",
        false if Path::new("/sys/fs/cgroup/unified").exists() => "v1 with a v2 hierarchy",
        false => "v1",
    }
}
