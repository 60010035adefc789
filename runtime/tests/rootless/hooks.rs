//! Hooks of a user's container: they have no more rights than the user.

use nconform::fixture::{User, scratch_dir};
use serde_json::{Value, json};
use std::fs;

const OUTSIDE: [&str; 4] = ["prestart", "createRuntime", "poststart", "poststop"];

#[test]
fn hooks_are_the_users_own_and_those_of_the_container_are_in_its_user_namespace() {
    let user = User::enter();
    let runtime = user.runtime();
    let directory = scratch_dir();
    user.give(directory.path());
    let file = |kind: &str| directory.path().join(kind);
    let hook = |to: &str| -> Value {
        let script =
            format!("cat > /dev/null; id -u > {to}; grep CapEff /proc/self/status >> {to}");
        json!([{"path": "/bin/busybox", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]}])
    };
    let kinds = OUTSIDE.iter().copied().chain(["createContainer"]);
    let bundle = kinds.clone().fold(user.bundle().args(["true"]), |bundle, kind| {
        bundle.set(&format!("/hooks/{kind}"), hook(&file(kind).display().to_string()))
    });
    let bundle = bundle.set("/hooks/startContainer", hook("/tmp/startContainer"));
    let container = runtime.start(&bundle);
    container.wait();
    let _ = container.delete().ok();
    let said = |path: &std::path::Path| {
        let text =
            fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    for kind in OUTSIDE {
        assert_eq!(said(&file(kind)), [&user.uid().to_string(), "CapEff:", "0000000000000000"]);
    }
    assert_eq!(said(&file("createContainer"))[0], "0");
    assert_eq!(said(&bundle.rootfs().join("tmp/startContainer"))[0], "0");
}

#[test]
fn a_hook_that_fails_leaves_nothing() {
    let user = User::enter();
    let runtime = user.runtime();
    let hook = json!([{"path": "/bin/busybox", "args": ["false"]}]);
    let output = runtime.try_create(&user.bundle().set("/hooks/createRuntime", hook)).exits(1);
    output.says("createRuntime hook");
    let left = fs::read_dir(runtime.root()).expect("the root").flatten();
    let left: Vec<_> = left
        .map(|entry| entry.file_name())
        .filter(|name| !name.to_string_lossy().starts_with('.'))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
