//! What the running kernel was built with: its configuration, where it tells, and its modules.

use std::fs;
use std::io::Read as _;
use std::path::Path;

/// Whether the kernel has something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Built in, or loaded.
    There,
    /// As a module that is loaded when it is needed.
    Loadable,
    /// It is not.
    Absent,
    /// The kernel does not tell.
    Unknown,
}

/// What is known of the kernel's parts.
#[derive(Clone, Debug, Default)]
pub struct Kernel {
    /// The text of its configuration; empty if it does not tell.
    pub config: String,
    /// `modules.builtin` and `modules.dep`.
    pub modules: String,
    /// The names in `/sys/module`.
    pub loaded: Vec<String>,
}

impl Kernel {
    pub(super) fn probe(release: &str) -> Self {
        let directory = Path::new("/lib/modules").join(release);
        let read = |name: &str| fs::read_to_string(directory.join(name)).unwrap_or_default();
        let loaded = fs::read_dir("/sys/module").into_iter().flatten().flatten();
        Self {
            config: config(release),
            modules: read("modules.builtin") + &read("modules.dep"),
            loaded: loaded.filter_map(|entry| entry.file_name().into_string().ok()).collect(),
        }
    }

    /// Whether an option of the configuration, which makes a module of that name, is there.
    #[must_use]
    pub fn has(&self, option: &str, module: &str) -> Presence {
        let set = format!("{option}=");
        let value = self.config.lines().find_map(|line| line.strip_prefix(&set));
        let file = format!("/{module}.ko");
        let is_module = || {
            self.modules
                .lines()
                .any(|line| line.split(':').next().is_some_and(|path| path.contains(&file)))
        };
        if value == Some("y") || self.loaded.iter().any(|loaded| loaded == module) {
            Presence::There
        } else if is_module() {
            Presence::Loadable
        } else if self.config.is_empty() {
            Presence::Unknown
        } else {
            Presence::Absent
        }
    }
}

/// The kernel's own copy, or the distribution's.
fn config(release: &str) -> String {
    let mut text = String::new();
    let own = fs::File::open("/proc/config.gz").and_then(|file| {
        flate2::read::GzDecoder::new(file).take(4 << 20).read_to_string(&mut text)
    });
    if own.is_ok() {
        return text;
    }
    [format!("/boot/config-{release}"), format!("/lib/modules/{release}/config")]
        .iter()
        .find_map(|path| fs::read_to_string(path).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_that_can_be_loaded_is_as_good_as_built_in() {
        let kernel = Kernel {
            config: "CONFIG_BRIDGE=m\nCONFIG_VETH=y\nCONFIG_MACVLAN=m\n".to_owned(),
            modules: "kernel/net/bridge/bridge.ko.xz: kernel/net/llc/llc.ko\n".to_owned(),
            loaded: vec!["nf_tables".to_owned()],
        };
        assert_eq!(kernel.has("CONFIG_VETH", "veth"), Presence::There);
        assert_eq!(kernel.has("CONFIG_BRIDGE", "bridge"), Presence::Loadable);
        assert_eq!(kernel.has("CONFIG_NF_TABLES", "nf_tables"), Presence::There);
        // The option says module, and the module's file is not installed.
        assert_eq!(kernel.has("CONFIG_MACVLAN", "macvlan"), Presence::Absent);
        assert_eq!(Kernel::default().has("CONFIG_VETH", "veth"), Presence::Unknown);
    }
}
