//! Root of a user namespace: id 0 and every capability, and no privilege over the host.

use nconform::fixture::{BundleDir, Capture, Runtime, User};
use serde_json::json;

/// `unshare` with a user namespace alone, and with mounts of its own.
const NAMESPACES: [&[&str]; 2] =
    [&["unshare", "--map-root-user"], &["unshare", "--map-root-user", "--mount"]];

fn each(test: impl Fn(&User, &Runtime)) {
    let user = User::enter();
    for words in NAMESPACES {
        test(&user, &user.runtime_through(words));
    }
}

/// What root would run, but for the group of terminals, which is not mapped.
fn bundle(user: &User) -> BundleDir {
    let bundle = BundleDir::new().set(
        "/mounts/2/options",
        json!(["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
    );
    user.give(bundle.path());
    bundle
}

#[test]
fn a_bundle_of_roots_runs() {
    each(|user, runtime| {
        let script = "id -u; cat /proc/self/uid_map; hostname; echo x > /dev/null; head -c 1 /dev/zero | wc -c; \
                      ls /sys/class/net; cat /proc/self/oom_score_adj; grep CapEff /proc/self/status | cut -f2";
        let bundle = bundle(user).set("/process/oomScoreAdj", 400).shell(script);
        let text = runtime.run(&bundle).ok().stdout();
        let words: Vec<&str> = text.split_whitespace().collect();
        let own = user.uid().to_string();
        let wanted = ["0", "0", &own, "1", "sandbox", "1", "lo", "400", "0000000020000420"];
        assert_eq!(words, wanted);
    });
}

#[test]
fn its_life_is_that_of_any_container() {
    // The commands after `create` come from outside of that namespace, as those of an engine may.
    let user = User::enter();
    let runtime = user.runtime_through(NAMESPACES[1]);
    let bundle = bundle(&user).args(["sleep", "60"]);
    let container = runtime.start(&bundle);
    assert_eq!(container.status(), "running");
    let _ = container.kill("KILL").ok();
    container.wait();
    let _ = container.delete().ok();
}

#[test]
fn a_user_namespace_within_it_is_made() {
    each(|user, runtime| {
        let itself = json!([{"containerID": 7, "hostID": 0, "size": 1}]);
        let bundle = bundle(user)
            .push("/linux/namespaces", json!({"type": "user"}))
            .set("/linux/uidMappings", json!([{"containerID": 0, "hostID": 0, "size": 1}]))
            .set("/linux/gidMappings", itself)
            .set("/process/user/gid", 7)
            .shell("id -u; id -g; ls -d /dev/null");
        let output = runtime.run(&bundle);
        // Group 0 is not there, as which the runtime sets the container up.
        assert_eq!(output.code(), 1, "{output}");
        let itself = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
        let bundle = bundle.set("/linux/gidMappings", itself).set("/process/user/gid", 0);
        assert_eq!(runtime.run(&bundle).ok().stdout(), "0\n0\n/dev/null\n");
    });
}

#[test]
fn a_group_of_terminals_that_is_not_mapped_is_explained() {
    each(|user, runtime| {
        let bundle = BundleDir::new();
        user.give(bundle.path());
        let output = runtime.try_create(&bundle).exits(1);
        assert!(output.stderr().contains("config.json /mounts/2"), "{output}");
        assert!(output.stderr().contains("must be ones of the user namespace"), "{output}");
    });
}

#[test]
fn limits_of_cgroups_are_refused_where_none_is_delegated() {
    each(|user, runtime| {
        let bundle = bundle(user).set("/linux/resources/pids/limit", 37);
        if user.has_cgroups() {
            let _ = runtime.run(&bundle).ok();
            return;
        }
        let output = runtime.try_create(&bundle).exits(1);
        assert!(output.stderr().contains("rootless needs no limits"), "{output}");
    });
}

#[test]
fn groups_that_the_namespace_denies_are_refused() {
    each(|user, runtime| {
        let bundle = bundle(user).set("/process/user/additionalGids", json!([0]));
        let output = runtime.try_create(&bundle).exits(1);
        assert!(output.stderr().contains("denies setgroups"), "{output}");
    });
}

#[test]
fn a_proc_of_which_parts_are_masked_is_explained() {
    let user = User::enter();
    // One of a chroot on the machine would be visible in full.
    for line in std::fs::read_to_string("/proc/self/mounts").unwrap().lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        if fields[2] == "proc" && fields[1] != "/proc" {
            Capture::of("umount").args(["-l", fields[1]]).run().ok();
        }
    }
    // What a user namespace takes over from the one above is locked: only that counts.
    let masked =
        "mount --bind /dev/null /proc/version && exec unshare --map-root-user --mount \"$@\"";
    let words = [NAMESPACES[1], &["sh", "-c", masked, "sh"]].concat();
    let output = user.runtime_through(&words).try_create(&bundle(&user)).exits(1);
    assert!(output.stderr().contains("config.json /mounts/0"), "{output}");
    assert!(output.stderr().contains("only where one is visible in full"), "{output}");
}
