//! Class K: a state that somebody else has written.

use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::path::Path;

use nconform::fixture::{BundleDir, Capture, Runtime, Sandbox, scratch_dir};
use serde_json::json;

/// A stranger's user id.
const STRANGER: u32 = 4321;

/// Whoever acts by a state runs its hooks, kills its init and whatever is in its cgroups, and enters its namespaces, which can be the
/// host's.
#[test]
fn a_state_that_somebody_else_has_written_is_not_acted_upon() {
    let _sandbox = Sandbox::enter();
    let (runtime, directory) = (Runtime::under_test(), scratch_dir());
    let (root, touched) = (directory.path().join("root"), directory.path().join("touched"));
    let victim = runtime.start(&BundleDir::new().args(["sleep", "100"]));
    let hook =
        json!({"path": "/bin/sh", "args": ["sh", "-c", format!("touch {}", touched.display())]});
    let forged = json!({
        "ociVersion": "1.0.2", "id": "forged", "bundle": "/", "rootfs": "/", "created": "2026-01-01T00:00:00Z", "owner": 0,
        "cgroups": {}, "namespaces": 0, "poststart": [hook], "poststop": [hook],
    });
    for container in ["forged", "dead"] {
        let place = root.join(container);
        fs::create_dir_all(&place).expect("make a directory");
        fs::write(place.join("state.json"), forged.to_string()).expect("write a state");
        let config = runtime.root().join(victim.id()).join("config.json");
        fs::copy(config, place.join("config.json")).expect("copy config.json");
        chown(&place, Some(STRANGER), Some(STRANGER)).expect("chown");
    }
    let init = fs::read_link(runtime.root().join(victim.id()).join("init")).expect("its init");
    symlink(init, root.join("forged/init")).expect("link");
    let call = |words: &[&str]| {
        let root = [Path::new("--root"), &root];
        Capture::of(runtime.program()).args(root).args(words).run()
    };
    for words in [
        &["exec", "forged", "touch", &touched.display().to_string()][..],
        &["kill", "forged", "KILL"],
        &["kill", "--all", "forged", "KILL"],
        &["pause", "forged"],
        &["update", "--pids-limit", "5", "forged"],
        &["start", "dead"],
        &["delete", "dead"],
        &["delete", "--force", "dead"],
        &["delete", "--force", "forged"],
    ] {
        let output = call(words);
        assert!(!output.success() && !touched.exists(), "{words:?}: {output}");
        output.says("belongs to, or can be written to by, another user");
    }
    assert_eq!(victim.status(), "running");
    // To look does no harm.
    assert!(call(&["list"]).ok().stdout().contains("forged"));
}
