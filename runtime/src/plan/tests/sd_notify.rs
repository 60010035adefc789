//! What a container of a caller with `NOTIFY_SOCKET` is given.

use super::{golden, hybrid, last, options, place, plan, rootless_config, user};
use crate::plan::op::{Carrier, Op};
use crate::plan::{Options, Plan};
use serde_json::{Value, json};

fn notified() -> Options {
    Options { notify: Some("/run/nrun/c1/notify".into()), ..options() }
}

fn mounted(plan: &Plan) -> usize {
    place(plan, |op| matches!(op, Op::Bind(bind) if bind.target.path() == c"run/notify"))
}

fn env(plan: &Plan) -> Vec<String> {
    let env = plan.steps.iter().find_map(|step| match &step.op {
        Op::Exec { env, .. } => Some(env.as_slice()),
        _ => None,
    });
    env.unwrap_or_default().iter().map(|entry| entry.to_string_lossy().into_owned()).collect()
}

#[test]
fn golden_a_caller_with_a_notify_socket() {
    golden("notify", &plan(&hybrid(), &notified(), |_| {}).unwrap());
}

#[test]
fn the_mount_comes_after_those_of_config_json_and_before_the_root_is_read_only() {
    let edit = |config: &mut Value| {
        let run = json!({"destination": "/run", "type": "tmpfs", "source": "tmpfs"});
        config["mounts"].as_array_mut().unwrap().push(run);
    };
    let plan = plan(&hybrid(), &notified(), edit).unwrap();
    let mounted = mounted(&plan);
    assert_eq!(last(&plan, |op| matches!(op, Op::Mount(_))) + 1, mounted);
    assert!(mounted < place(&plan, |op| matches!(op, Op::ReadOnlyRoot)));
}

#[test]
fn a_user_binds_it_by_its_path() {
    let plan = plan(&user(), &notified(), rootless_config).unwrap();
    let Op::Bind(bind) = &plan.steps[mounted(&plan)].op else { panic!("a bind") };
    assert_eq!(plan.sources[bind.source].carrier, Carrier::Path);
}

#[test]
fn the_variable_is_the_containers_own_and_has_the_place_of_another() {
    let edit = |config: &mut Value| {
        config["process"]["env"] = json!(["NOTIFY_SOCKET=/x", "NOTIFY_SOCKETS=1", "A=b"]);
    };
    let given = plan(&hybrid(), &notified(), edit).unwrap();
    assert_eq!(env(&given), ["NOTIFY_SOCKETS=1", "A=b", "NOTIFY_SOCKET=/run/notify/notify.sock"]);
    let untouched = plan(&hybrid(), &options(), edit).unwrap();
    assert_eq!(env(&untouched), ["NOTIFY_SOCKET=/x", "NOTIFY_SOCKETS=1", "A=b"]);
}

#[test]
fn without_a_mount_namespace_it_is_refused() {
    let edit = |config: &mut Value| {
        let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| namespace["type"] != "mount");
        config["mounts"] = json!([]);
        config["root"]["readonly"] = json!(false);
        config["linux"]["maskedPaths"] = json!([]);
        config["linux"]["readonlyPaths"] = json!([]);
    };
    plan(&hybrid(), &options(), edit).unwrap();
    let error = plan(&hybrid(), &notified(), edit).unwrap_err().to_string();
    assert!(error.starts_with("config.json /linux/namespaces: NOTIFY_SOCKET"), "{error}");
}
