//! config.json: whatever it says, it is refused in words or planned, and what is planned can be shown.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use nrun::host::{Asked, Host};
use nrun::plan::{self, Options};
use tempfile::TempDir;

/// A bundle without a configuration, and this machine as a container that asks for everything sees it.
static BUNDLE: LazyLock<TempDir> = LazyLock::new(|| {
    let bundle = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(bundle.path().join("rootfs")).expect("a directory for the root");
    bundle
});
static HOST: LazyLock<Host> = LazyLock::new(|| {
    Host::probe(Asked { seccomp: true, apparmor: true, ..Asked::default() }).expect("the facts")
});

fuzz_target!(|text: &[u8]| {
    let name: PathBuf = BUNDLE.path().join("config.json");
    let checked = match bundle::config::parse(text, &name) {
        Ok(loaded) => match bundle::check(loaded) {
            Ok(checked) => checked,
            Err(findings) => return drop(findings.to_string()),
        },
        Err(error) => return drop((error.to_string(), error.hint())),
    };
    let options = Options { id: "fuzz".to_owned(), ..Options::default() };
    match plan::create(&checked, &HOST, &options) {
        Ok(plan) => drop(plan.to_string()),
        Err(error) => drop(error.to_string()),
    }
});
