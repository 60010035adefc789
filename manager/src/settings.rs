//! Where this invocation keeps its data and its state, and which runtime it calls.
//!
//! Resolved once from flags and environment; everything below takes it by reference and reads no environment
//! of its own.

use std::path::PathBuf;

/// The global options, resolved.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Images, layers, container records: survives a reboot. Default `/var/lib/nman`.
    pub root: PathBuf,
    /// Sockets, leases, the runtime's state: gone after a reboot. Default `/run/nman`.
    pub state: PathBuf,
    /// What `--runtime` said: a name to look up or a path.
    pub runtime: Option<String>,
    /// Pass `--debug` on to the runtime and keep the monitor's own messages.
    pub debug: bool,
}

impl Settings {
    /// One directory per container, with its record and its bundle.
    #[must_use]
    pub fn containers(&self) -> PathBuf {
        self.root.join("containers")
    }

    /// One directory per named volume.
    #[must_use]
    pub fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }

    /// The state root that is passed to the runtime.
    #[must_use]
    pub fn runtime_root(&self) -> PathBuf {
        self.state.join("runtime")
    }
}
