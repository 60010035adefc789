//! `make install-built` and `make uninstall`, into a directory of the test's.

use nconform::fixture::{Capture, binary};
use std::path::{Path, PathBuf};

/// Every file below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("a directory");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn what_is_installed_is_whole_and_is_uninstalled() {
    let root = tempfile::tempdir().expect("a directory");
    let programs = binary("nman").parent().expect("a directory").display().to_string();
    let make = |target: &str| {
        let into = [format!("DESTDIR={}", root.path().display()), format!("FROM={programs}")];
        let args = ["-s", "-C", concat!(env!("CARGO_MANIFEST_DIR"), "/.."), target, "PREFIX=/usr"];
        Capture::of("make").args(args).args(&into).run().ok();
    };
    make("install-built");
    let installed = |file: &str| {
        let path = root.path().join("usr").join(file);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"))
    };
    for program in ["nrun", "nman", "nbundle", "nconform"] {
        assert!(root.path().join("usr/bin").join(program).is_file(), "{program}");
        for completion in ["bash-completion/completions/", "zsh/site-functions/_"] {
            assert!(installed(&format!("share/{completion}{program}")).contains(program));
        }
        let fish = installed(&format!("share/fish/vendor_completions.d/{program}.fish"));
        assert!(fish.contains(&format!("complete -c {program} ")), "{fish}");
    }
    assert!(installed("share/man/man8/nrun.8").contains("NRUN"));
    assert!(installed("share/man/man1/nman-run.1").contains("NMAN-RUN"));
    assert!(installed("share/doc/nman/LICENSE-MIT").contains("MIT"));
    assert!(installed("share/nman/apparmor/nman-default").contains("nman-default"));
    for kind in ["system", "user"] {
        let unit = installed(&format!("lib/systemd/{kind}/nman-containers.service"));
        assert!(unit.contains("ExecStart=/usr/bin/nman start"), "{unit}");
    }
    make("uninstall");
    assert_eq!(files(root.path()), Vec::<PathBuf>::new());
}

#[test]
fn the_licences_of_what_is_linked_are_told() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/licenses");
    let told = Capture::of(script).args(["x86_64-unknown-linux-musl"]).run().ok().text();
    let section = |title: &str| {
        let from = told.split_once(&format!("\n==== {title}")).unwrap_or_else(|| panic!("{title}"));
        from.1.split("\n==== ").next().unwrap_or_default().to_owned()
    };
    assert!(section("ring v").contains("Permission to use, copy, modify"));
    assert!(section("caps v").contains("Copyright"));
    assert_eq!(told.matches("\n==== caps v").count(), 1);
    // What runs while the programs are built, and the programs themselves, are none of them.
    for absent in ["clap_derive v", "cc v", "nrun v"] {
        assert!(!told.contains(&format!("\n==== {absent}")), "{absent}");
    }
    if std::path::Path::new("/usr/share/doc/musl/copyright").exists() {
        assert!(section("musl, the C library").contains("Rich Felker"));
    }
}
