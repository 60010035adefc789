//! Id mappings, groups and capabilities of a user's container.

use nconform::fixture::{BundleDir, User, untried};
use serde_json::json;
use std::fs;

/// The user as root, and its subordinate ids from 1 on.
fn mapped(user: &User, first: u32, count: u32) -> BundleDir {
    let mapping = |own: u32| {
        json!([{"containerID": 0, "hostID": own, "size": 1},
            {"containerID": 1, "hostID": first, "size": count}])
    };
    user.bundle()
        .set("/linux/uidMappings", mapping(user.uid()))
        .set("/linux/gidMappings", mapping(user.gid()))
}

#[test]
fn subordinate_ids_are_mapped_by_newuidmap_and_newgidmap() {
    let user = User::enter();
    let runtime = user.runtime();
    let Some((first, count)) = user.subordinate() else {
        let output = runtime.try_create(&mapped(&user, 3_000_000, 10)).exits(1);
        assert!(output.stderr().contains("newuidmap"), "{output}");
        return untried("no subordinate ids of the user's");
    };
    let bundle = mapped(&user, first, count)
        .set("/process/user", json!({"uid": 5, "gid": 6, "additionalGids": [7]}))
        .shell("id; cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups; sleep 60");
    let container = runtime.start(&bundle);
    let text = || container.output().stdout();
    while text().lines().count() < 6 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let words: Vec<String> = text().split_whitespace().map(str::to_owned).collect();
    let (uid, first_text, count) = (user.uid().to_string(), first.to_string(), count.to_string());
    let map = ["0", &uid, "1", "1", &first_text, &count];
    let wanted = [&["uid=5", "gid=6", "groups=7"][..], &map, &map, &["allow"]].concat();
    assert_eq!(words, wanted);
    let status = fs::read_to_string(format!("/proc/{}/status", container.pid().as_raw_nonzero()))
        .expect("the status");
    let on_the_host = first + 4;
    assert!(status.contains(&format!("Uid:\t{on_the_host}\t")), "{status}");
    // The process is another user's on the host; its user namespace is ours.
    let _ = container.kill("KILL").ok();
    container.wait();
    let _ = container.delete().ok();
}

#[test]
fn ids_that_are_not_the_users_are_refused_by_newuidmap_and_nothing_is_left() {
    let user = User::enter();
    let runtime = user.runtime();
    let (first, count) = user.subordinate().unwrap_or((3_000_000, 10));
    let output = runtime.try_create(&mapped(&user, first, count + 1)).exits(1);
    assert!(output.stderr().contains("newuidmap"), "{output}");
    assert!(
        output.stderr().contains("hint: ") && output.stderr().contains("/etc/subuid"),
        "{output}"
    );
    assert_eq!(fs::read_dir(runtime.root()).expect("the root").count(), 0);
}

#[test]
fn without_newuidmap_the_mapping_is_refused_by_name() {
    let user = User::enter();
    let bundle = mapped(&user, 3_000_000, 10);
    // A relative directory of PATH is whatever the caller stands in.
    let output = user
        .runtime_through(&["env", "PATH=.:/nonexistent"])
        .bundle_call("create", &bundle, [""; 0], "nrt-none")
        .directory("/usr/bin")
        .run()
        .exits(1);
    assert!(output.stderr().contains("config.json /linux/uidMappings: "), "{output}");
    assert!(output.stderr().contains("`newuidmap` (package uidmap)"), "{output}");
}

#[test]
fn groups_of_the_caller_go_where_the_mapping_lets_them() {
    let user = User::with_groups(&[4, 20]);
    let runtime = user.runtime();
    let groups = |bundle: BundleDir| {
        let bundle = bundle.shell("grep Groups /proc/self/status | cut -f2");
        runtime.run(&bundle).ok().text().split_whitespace().count()
    };
    let own =
        if user.is_made() { 2 } else { rustix::process::getgroups().expect("our groups").len() };
    assert_eq!(groups(user.bundle()), own, "setgroups(2) is denied with a mapping of one group");
    if let Some((first, count)) = user.subordinate() {
        assert_eq!(groups(mapped(&user, first, count)), 0);
    }
    let more = user.bundle().set("/process/user/additionalGids", json!([0]));
    let output = runtime.try_create(&more).exits(1);
    assert!(output.stderr().contains("cannot set any additional groups"), "{output}");
}

#[test]
fn capabilities_are_those_that_were_asked_for() {
    let user = User::enter();
    let names = json!(["CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_CHOWN", "CAP_SETPCAP"]);
    let bundle = ["bounding", "permitted", "effective"]
        .iter()
        .fold(user.bundle(), |bundle, set| {
            bundle.set(&format!("/process/capabilities/{set}"), names.clone())
        })
        .shell("grep -E 'Cap(Prm|Eff|Bnd)' /proc/self/status | cut -f2; hostname other && hostname; mount -t tmpfs x /tmp && echo mounted");
    let wanted = "0000000000201101\n0000000000201101\n0000000000201101\nother\nmounted\n";
    assert_eq!(user.runtime().run(&bundle).ok().stdout(), wanted);
}

#[test]
fn limits_within_the_users_own_are_set_and_others_named() {
    let user = User::enter();
    let runtime = user.runtime();
    let limit =
        |soft: u64, hard: u64| json!([{"type": "RLIMIT_NOFILE", "soft": soft, "hard": hard}]);
    let bundle = user
        .bundle()
        .set("/process/rlimits", limit(70, 80))
        .set("/process/oomScoreAdj", 500)
        .shell("ulimit -Sn; ulimit -Hn; cat /proc/self/oom_score_adj");
    assert_eq!(runtime.run(&bundle).ok().stdout(), "70\n80\n500\n");
    let output = runtime
        .try_create(&user.bundle().set("/process/rlimits", limit(1 << 40, 1 << 40)))
        .exits(1);
    assert!(output.stderr().contains("/process/rlimits/0"), "{output}");
    let output = runtime.try_create(&user.bundle().set("/process/oomScoreAdj", -900)).exits(1);
    assert!(output.stderr().contains("/process/oomScoreAdj"), "{output}");
}

#[test]
fn an_option_with_an_id_that_is_not_mapped_is_refused() {
    let user = User::enter();
    let bundle = user.bundle().push("/mounts/2/options", "gid=5");
    let output = user.runtime().try_create(&bundle).exits(1);
    assert!(output.stderr().contains("`gid=5` is not an id of the container"), "{output}");
}
