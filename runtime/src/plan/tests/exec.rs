//! A further process in a container that runs.

use super::{hybrid, last, place};
use crate::plan::Plan;
use crate::plan::exec::{Options, exec};
use crate::plan::op::{Barrier, Op};
use serde_json::json;
use std::collections::HashMap;
use std::path::Path;
use sys::namespace::Kinds;

fn entering(at_limit: bool) -> Plan {
    let process = json!({"args": ["sh"], "cwd": "/", "user": {"uid": 0, "gid": 0}, "execCPUAffinity": {"final": "0"}});
    let options = Options {
        id: "c1",
        document: "process.json",
        at: "",
        namespaces: Kinds::PID.union(Kinds::MOUNT),
        rootfs: Path::new("/b/rootfs"),
        linux: None,
        seccomp: None,
        annotations: &HashMap::new(),
        preserve_fds: 2,
        by_systemd: false,
        at_limit,
        new_keyring: true,
    };
    exec(&serde_json::from_value(process).unwrap(), &hybrid(), &options).unwrap()
}

#[test]
fn the_cgroup_is_entered_first_or_at_its_limit_of_processes_after_the_last_fork() {
    let bound = |plan: &Plan| last(plan, |op| matches!(op, Op::Attribute(_)));
    let plan = entering(false);
    let fork = place(&plan, |op| matches!(op, Op::Fork { .. }));
    let joined = place(&plan, |op| matches!(op, Op::JoinCgroup));
    assert!(joined < bound(&plan) && bound(&plan) < fork);
    let plan = entering(true);
    assert!(!plan.steps.iter().any(|step| matches!(step.op, Op::JoinCgroup)));
    let joined = place(&plan, |op| matches!(op, Op::Wait(Barrier::Cgroup)));
    assert!(last(&plan, |op| matches!(op, Op::Fork { .. })) < joined);
    assert!(joined < bound(&plan), "to the cgroup's own processors");
}

#[test]
fn what_led_into_the_container_is_closed_before_a_path_of_the_process_is_looked_up() {
    let plan = entering(false);
    let close = place(&plan, |op| matches!(op, Op::CloseSetUp { first: 5 }));
    assert!(last(&plan, |op| matches!(op, Op::JoinInit { .. } | Op::Fork { .. })) < close);
    assert!(close < place(&plan, |op| matches!(op, Op::WorkingDirectory { .. })));
}
