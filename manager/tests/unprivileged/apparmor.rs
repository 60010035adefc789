//! The AppArmor profile of containers, for users: they have it where root has loaded it.

use crate::world::World;
use nconform::fixture::{Capture, apparmor, tool};

const OURS: &str = "nman-default";
/// What is in /etc/apparmor.d where it is to be loaded at boot.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/apparmor/nman-default");

/// Alone among the tests: it unloads the profile that all others have.
#[test]
fn our_profile_is_loaded_by_root_and_confines_a_users_containers() {
    let world = World::new();
    let named = ["--security-opt", "apparmor=nman-default"];
    if !nman::bundle::host::has_apparmor() {
        world.run(&["-d", "--name", "aa"], &["true"]).ok();
        assert_eq!(world.inspect("aa", "/AppArmorProfile"), "");
        let refused = world.shell(&named, "true").exits(125);
        assert!(refused.stderr().contains("AppArmor is not enabled on this host"), "{refused}");
        world.nman(["rm", "-f", "aa"]).ok();
        return world.assert_no_container();
    }
    let load =
        || Capture::of(tool("apparmor_parser")).args(["--replace", "--skip-cache", FILE]).run();
    load().ok();
    apparmor::unload(OURS);
    let show = "cat /proc/self/attr/current";
    let said = world.shell(&[], show).ok();
    assert_eq!((said.stdout().as_str(), said.stderr().as_str()), ("unconfined\n", ""));
    let refused = world.shell(&named, "true").exits(125);
    assert!(refused.stderr().contains("hint: root loads it with any container"), "{refused}");
    let found = world.nman(["doctor", "--format", "{{.Check}}: {{.Found}}"]).stdout();
    assert!(found.contains("AppArmor without the profile of containers"), "{found}");

    load().ok();
    let script = format!("{show}; mount -t tmpfs none /tmp 2>/dev/null && echo mounts; true");
    let open = ["--cap-add", "SYS_ADMIN"];
    assert_eq!(world.shell(&open, &script).ok().stdout(), "nman-default (enforce)\n");
    let unconfined = [&open[..], &["--security-opt", "apparmor=unconfined"]].concat();
    assert_eq!(world.shell(&unconfined, &script).ok().stdout(), "unconfined\nmounts\n");
    let trap = "trap 'exit 7' TERM; while :; do sleep 0.1; done";
    world.run(&["-d", "--name", "aa"], &["sh", "-c", trap]).ok();
    assert_eq!(world.inspect("aa", "/AppArmorProfile"), OURS);
    assert_eq!(
        world.nman(["exec", "aa", "sh", "-c", show]).ok().stdout(),
        "nman-default (enforce)\n"
    );
    world.nman(["stop", "aa"]).ok();
    assert_eq!(world.nman(["wait", "aa"]).ok().text(), "7");
    world.nman(["rm", "aa"]).ok();
    world.assert_no_container();
}
