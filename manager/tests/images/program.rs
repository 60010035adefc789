//! The built program with a root, a home and a configuration of its own.

use std::fs;
use std::path::PathBuf;

use nconform::fixture::{Capture, Output, scratch_dir};
use nman::reference::Reference;
use nman::store::Store;
use tempfile::TempDir;

pub(crate) struct Nman {
    directory: TempDir,
}

impl Nman {
    pub(crate) fn new() -> Self {
        Self { directory: scratch_dir() }
    }

    pub(crate) fn command(&self) -> Capture {
        let path = self.directory.path();
        let search = std::env::var("PATH").unwrap_or_default();
        Capture::of(env!("CARGO_BIN_EXE_nman"))
            .env("NMAN_ROOT", path.join("root"))
            .env("NMAN_STATE", path.join("state"))
            .env("DOCKER_CONFIG", path.join("docker"))
            // Where a test may put credential helpers.
            .env("PATH", format!("{}:{search}", path.join("bin").display()))
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command().args(args).run()
    }

    pub(crate) fn store(&self) -> Store {
        Store::open(&self.directory.path().join("root")).unwrap()
    }

    /// Gives what is called `old` another name, too.
    pub(crate) fn tag(&self, old: &str, new: &str) {
        let store = self.store();
        store.tag(&store.find(old).unwrap(), &new.parse::<Reference>().unwrap()).unwrap();
    }

    /// Docker's file of logins.
    pub(crate) fn config(&self) -> PathBuf {
        self.directory.path().join("docker/config.json")
    }

    /// A program in its `PATH`.
    pub(crate) fn script(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.directory.path().join("bin").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}
