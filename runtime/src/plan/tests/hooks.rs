//! Where hooks stand among the steps.

use super::{hybrid, last, options, place, plan};
use crate::plan::Plan;
use crate::plan::attributes::Attribute;
use crate::plan::hooks::Kind;
use crate::plan::op::{Barrier, Op};
use serde_json::{Value, json};

/// Every kind of hook, and a profile that asks an agent.
fn hooked(config: &mut Value) {
    let hook =
        |path: &str| json!([{"path": path}, {"path": path, "args": ["x", "y"], "timeout": 3}]);
    config["hooks"] = json!({
        "prestart": hook("/host/prestart"), "createRuntime": hook("/host/create-runtime"),
        "createContainer": hook("/host/create-container"), "startContainer": hook("/bin/start"),
        "poststart": hook("/host/poststart"), "poststop": hook("/host/poststop"),
    });
    config["process"]["terminal"] = json!(true);
    config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
        "listenerPath": "/run/agent", "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]});
}

/// The plan says how long a filter is, which is another length for each machine.
#[cfg(target_arch = "x86_64")]
#[test]
fn golden_hooks_and_an_agent() {
    super::golden("hooks", &plan(&hybrid(), &options(), hooked).unwrap());
}

#[test]
fn hooks_of_the_create_phase_come_after_the_last_mount_and_before_the_terminal_and_the_pivot() {
    let plan = plan(&hybrid(), &options(), hooked).unwrap();
    let parents = place(&plan, |op| matches!(op, Op::Wait(Barrier::Hooks)));
    let is_of = |op: &Op, kind| matches!(op, Op::Hook(hook) if hook.kind == kind);
    let own = place(&plan, |op| is_of(op, Kind::CreateContainer));
    let over = place(&plan, |op| matches!(op, Op::RootOver));
    assert!(last(&plan, |op| matches!(op, Op::Mount(_) | Op::Device(_))) < parents);
    assert!(parents < own && last(&plan, |op| is_of(op, Kind::CreateContainer)) < over);
    assert!(over < place(&plan, |op| matches!(op, Op::Console(_))));
    assert!(over < place(&plan, |op| matches!(op, Op::Pivot { .. })));
}

#[test]
fn labels_of_the_program_are_not_those_of_hooks_of_the_create_phase() {
    let labels = |edit: fn(&mut Value)| {
        plan(&hybrid(), &options(), |config| {
            edit(config);
            config["process"]["apparmorProfile"] = json!("acme");
            config["process"]["selinuxLabel"] = json!("a:b:c:s0");
        })
        .unwrap()
    };
    let is_exec = |op: &Op| matches!(op, Op::Attribute(Attribute::Label(label)) if label.path.to_bytes().ends_with(b"/exec"));
    let plan = labels(hooked);
    let own = last(&plan, |op| matches!(op, Op::Hook(hook) if hook.kind == Kind::CreateContainer));
    // While procfs is still the host's.
    assert!(own < place(&plan, is_exec));
    assert!(last(&plan, is_exec) < place(&plan, |op| matches!(op, Op::RootOver)));
    assert_eq!(plan.steps.iter().filter(|step| is_exec(&step.op)).count(), 2);
    // Without such a hook, and in a mount namespace of somebody else's, before anything of that is entered.
    let early = |plan: &Plan| {
        last(plan, is_exec)
            < place(plan, |op| matches!(op, Op::Propagation { .. } | Op::Root { .. }))
    };
    assert!(early(&labels(|_| {})));
    assert!(early(&labels(|config| {
        hooked(config);
        for namespace in config["linux"]["namespaces"].as_array_mut().unwrap() {
            if namespace["type"] == "mount" {
                namespace["path"] = json!("/proc/1/ns/mnt");
            }
        }
    })));
}

#[test]
fn hooks_of_the_start_phase_have_the_program_s_ids_and_come_before_nothing_but_its_last_steps() {
    let plan = plan(&hybrid(), &options(), hooked).unwrap();
    let is_start = |op: &Op| matches!(op, Op::Hook(hook) if hook.kind == Kind::StartContainer);
    assert!(place(&plan, |op| matches!(op, Op::AwaitStart)) < place(&plan, is_start));
    assert!(last(&plan, |op| matches!(op, Op::Capabilities(_))) < place(&plan, is_start));
    let after = &plan.steps[last(&plan, is_start) + 1..];
    let [told, close, seccomp, exec] = after else { panic!("{plan}") };
    assert!(matches!(told.op, Op::Wait(Barrier::Hooked)));
    assert!(matches!(close.op, Op::CloseFds { .. }));
    assert!(matches!(seccomp.op, Op::Seccomp { .. }));
    assert!(matches!(exec.op, Op::Exec { .. }));
}

#[test]
fn without_early_hooks_the_root_goes_over_the_host_s_at_once() {
    let only = |kind: &str| {
        let edit = |config: &mut Value| config["hooks"][kind] = json!([{"path": "/x"}]);
        let plan = plan(&hybrid(), &options(), edit).unwrap();
        let moved = plan.steps.iter().any(|step| matches!(step.op, Op::RootOver));
        (moved, plan.steps.iter().any(|step| matches!(&step.op, Op::Root { at: Some(_), .. })))
    };
    for kind in ["prestart", "createRuntime", "createContainer"] {
        assert_eq!(only(kind), (true, true), "{kind}");
    }
    for kind in ["startContainer", "poststart", "poststop"] {
        assert_eq!(only(kind), (false, false), "{kind}");
    }
}

#[test]
fn who_cannot_take_the_listener_is_sent_it_or_told_so_before_anything_is_made() {
    let host = crate::host::Host { capabilities: 1 << 21, ..hybrid() };
    let ruled = |default: &str, rules: Value| {
        plan(&host, &options(), |config: &mut Value| {
            hooked(config);
            config["linux"]["seccomp"]["defaultAction"] = json!(default);
            let all = config["linux"]["seccomp"]["syscalls"].as_array_mut().unwrap();
            all.extend(rules.as_array().unwrap().iter().cloned());
        })
    };
    let rule = |action: &str| json!({"names": ["read", "sendmsg"], "action": action});
    let condition = json!([{"index": 0, "value": 5, "op": "SCMP_CMP_EQ"}]);
    let sometimes =
        |action: &str| json!({"names": ["sendmsg"], "action": action, "args": condition});
    let (allow, deny, ask) = ("SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_NOTIFY");
    for (default, rules) in [
        (allow, json!([])),
        (deny, json!([rule(allow)])),
        (deny, json!([sometimes(allow), rule("SCMP_ACT_LOG")])),
        // Redundant: the first that is something else counts.
        (deny, json!([rule(deny), rule(allow)])),
    ] {
        let plan = ruled(default, rules.clone()).unwrap_or_else(|error| panic!("{rules}: {error}"));
        let _ = place(&plan, |op| matches!(op, Op::Seccomp { sent: true, .. }));
    }
    for (default, rules) in [
        (deny, json!([])),
        (allow, json!([rule(deny)])),
        (allow, json!([rule(ask)])),
        (allow, json!([sometimes(ask)])),
        (deny, json!([sometimes(allow)])),
        (deny, json!([sometimes(ask), rule(allow)])),
    ] {
        let error = ruled(default, rules).unwrap_err().to_string();
        let words = ["/linux/seccomp/listenerPath", "CAP_SYS_PTRACE", "sendmsg"];
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }
    // With the capability, what the profile says of sendmsg does not matter.
    let plan = plan(&hybrid(), &options(), hooked).unwrap();
    let _ = place(&plan, |op| matches!(op, Op::Seccomp { sent: false, .. }));
}
