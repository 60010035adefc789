//! config-linux.md, seccomp: what a filter says of system calls, and who is asked.

use serde_json::{Value, json};
use sys::notification::Answer;
use syscalls::Sysno;

use crate::fixture::{BundleDir, SeccompAgent};
use crate::suite::case::{Topic, crun, must, old_runc, runc};
use crate::suite::expect::{has, holds, same};
use crate::suite::trial::{Trial, fails};

/// Whichever of the two the C library makes.
const MKDIR: [&str; 2] = ["mkdir", "mkdirat"];

pub(super) const SECCOMP: Topic = Topic {
    name: "seccomp",
    title: "filters of system calls",
    section: "config-linux.md#seccomp",
    cases: &[
        must("a call with the action ERRNO fails with EPERM, others do not", |t| {
            let bundle = filtered(t, json!([{"names": MKDIR, "action": "SCMP_ACT_ERRNO"}]));
            let seen = t.attempt(bundle, &["mkdir", "getpgid"])?;
            has(&seen, "/mkdir", 1)?;
            has(&seen, "/getpgid", 0)
        })
        .rootless(),
        must("errnoRet is the errno of the call", |t| {
            let rule = json!([{"names": MKDIR, "action": "SCMP_ACT_ERRNO", "errnoRet": 38}]);
            has(&t.attempt(filtered(t, rule), &["mkdir"])?, "/mkdir", 38)
        })
        .rootless(),
        must("a call that no rule has fails with EPERM where the default action is ERRNO", |t| {
            let seen = t.attempt(all_but_mkdir(t), &["mkdir", "getpgid"])?;
            has(&seen, "/mkdir", 1)?;
            has(&seen, "/getpgid", 0)
        })
        .rootless(),
        must("defaultErrnoRet is the errno of calls that no rule has", |t| {
            let bundle = all_but_mkdir(t).set("/linux/seccomp/defaultErrnoRet", 38);
            let seen = t.attempt(bundle, &["mkdir", "getpgid"])?;
            has(&seen, "/mkdir", 38)?;
            has(&seen, "/getpgid", 0)
        })
        .rootless(),
        must("an errno of an action that returns none is refused", |t| {
            let rule = json!([{"names": MKDIR, "action": "SCMP_ACT_KILL_PROCESS", "errnoRet": 38}]);
            let output = t.run(&filtered(t, rule))?;
            fails("a failure", &output)
        })
        .rootless()
        .known(&[runc("takes no notice of it")]),
        must("a default errno of an action that returns none is refused", |t| {
            let rule = json!([{"names": MKDIR, "action": "SCMP_ACT_ERRNO"}]);
            let output = t.run(&filtered(t, rule).set("/linux/seccomp/defaultErrnoRet", 38))?;
            fails("a failure", &output)
        })
        .rootless()
        .known(&[runc("takes no notice of it")]),
        must("a rule counts only where its conditions on arguments hold", |t| {
            let rule = json!([{"names": ["socket"], "action": "SCMP_ACT_ERRNO",
                "args": [{"index": 0, "value": 2, "op": "SCMP_CMP_EQ"}]}]);
            let seen = t.attempt(filtered(t, rule), &["socket:1", "socket:2"])?;
            has(&seen, "/socket:1", 0)?;
            has(&seen, "/socket:2", 1)
        })
        .rootless(),
        must("comparisons are greater, less and unequal, too", |t| {
            for (op, value, forbidden, allowed) in [
                ("SCMP_CMP_GT", 1, "socket:2", "socket:1"),
                ("SCMP_CMP_GE", 2, "socket:2", "socket:1"),
                ("SCMP_CMP_LT", 2, "socket:1", "socket:2"),
                ("SCMP_CMP_LE", 1, "socket:1", "socket:2"),
                ("SCMP_CMP_NE", 1, "socket:2", "socket:1"),
            ] {
                let rule = json!([{"names": ["socket"], "action": "SCMP_ACT_ERRNO",
                    "args": [{"index": 0, "value": value, "op": op}]}]);
                let seen = t.attempt(filtered(t, rule), &["socket:1", "socket:2"])?;
                same(&format!("{op} {value}, {forbidden}"), &json!(1), &seen[forbidden])?;
                same(&format!("{op} {value}, {allowed}"), &json!(0), &seen[allowed])?;
            }
            Ok(())
        })
        .rootless(),
        must("a masked comparison looks at the bits of the mask", |t| {
            // `value` is the mask, and what is held against it `valueTwo`, as libseccomp has it.
            let rule = json!([{"names": ["socket"], "action": "SCMP_ACT_ERRNO",
                "args": [{"index": 0, "value": 3, "valueTwo": 2, "op": "SCMP_CMP_MASKED_EQ"}]}]);
            let seen = t.attempt(filtered(t, rule), &["socket:1", "socket:2", "socket:10"])?;
            has(&seen, "/socket:1", 0)?;
            has(&seen, "/socket:2", 1)?;
            has(&seen, "/socket:10", 1)
        })
        .rootless(),
        must("all conditions of a rule have to hold", |t| {
            // The protocol of the call is 0.
            for (protocol, errno) in [(77, 0), (0, 1)] {
                let rule = json!([{"names": ["socket"], "action": "SCMP_ACT_ERRNO", "args": [
                    {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"},
                    {"index": 2, "value": protocol, "op": "SCMP_CMP_EQ"}]}]);
                has(&t.attempt(filtered(t, rule), &["socket:1"])?, "/socket:1", errno)?;
            }
            Ok(())
        })
        .rootless(),
        must("a call with the action KILL_PROCESS ends the process with SIGSYS", |t| {
            let rule = json!([{"names": MKDIR, "action": "SCMP_ACT_KILL_PROCESS"}]);
            let output = t.run(&filtered(t, rule).args(["mkdir", "/tmp/new"]))?;
            same("exit status", &159, &output.code())
        })
        .rootless(),
        must("a call with the action KILL_THREAD, TRAP or KILL ends a program of one thread", |t| {
            for action in ["SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL", "SCMP_ACT_TRAP"] {
                let rule = json!([{"names": MKDIR, "action": action}]);
                let output = t.run(&filtered(t, rule).args(["mkdir", "/tmp/new"]))?;
                same(&format!("exit status after {action}"), &159, &output.code())?;
            }
            Ok(())
        })
        .rootless(),
        must("a call with the action TRACE fails with ENOSYS where nobody traces", |t| {
            let rule = json!([{"names": MKDIR, "action": "SCMP_ACT_TRACE"}]);
            has(&t.attempt(filtered(t, rule), &["mkdir"])?, "/mkdir", 38)
        })
        .rootless(),
        must("a call with the action LOG is carried out", |t| {
            let rule = json!([{"names": MKDIR, "action": "SCMP_ACT_LOG"}]);
            has(&t.attempt(filtered(t, rule), &["mkdir"])?, "/mkdir", 0)
        })
        .rootless(),
        must("a name that the kernel does not know is passed over", |t| {
            let rule = json!([{"names": ["call_of_tomorrow", "mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]);
            has(&t.attempt(filtered(t, rule), &["mkdir"])?, "/mkdir", 1)
        })
        .rootless(),
        must("an action that there is none of is refused", |t| {
            let rule = json!([{"names": MKDIR, "action": "SCMP_ACT_FORGET"}]);
            let output = t.run(&filtered(t, rule))?;
            fails("a failure", &output)
        })
        .rootless(),
        must("a filter is in force with and without no_new_privs", |t| {
            for no_new_privileges in [true, false] {
                let rule = json!([{"names": MKDIR, "action": "SCMP_ACT_ERRNO"}]);
                let bundle = filtered(t, rule).set("/process/noNewPrivileges", no_new_privileges);
                let seen = t.observe(bundle)?;
                has(&seen, "/seccomp", "2")?;
                has(&seen, "/noNewPrivileges", no_new_privileges)?;
            }
            Ok(())
        }),
        must("without a filter there is none", |t| has(&t.observe(t.bundle())?, "/seccomp", "0")).rootless(),
        must("a process of exec is filtered, too", |t| {
            let rule = json!([{"names": MKDIR, "action": "SCMP_ACT_ERRNO"}]);
            let bundle = filtered(t, rule).args(["sleep", "60"]);
            let live = t.start(&bundle)?;
            let output = live.try_exec(&[], &["/bin/nprobe", "try", "mkdir"])?;
            has(&crate::suite::trial::report_of(&output)?, "/mkdir", 1)
        })
        .rootless(),
        must("flags of the filter are taken", |t| {
            let rule = json!([{"names": MKDIR, "action": "SCMP_ACT_ERRNO"}]);
            let flags = json!(["SECCOMP_FILTER_FLAG_LOG"]);
            has(&t.attempt(filtered(t, rule).set("/linux/seccomp/flags", flags), &["mkdir"])?, "/mkdir", 1)
        })
        .rootless()
        .known(&[old_runc("takes no flags")]),
        must("a call with the action NOTIFY asks the agent, and returns what that answers", |t| {
            let agent = SeccompAgent::start(|_| Answer::Error(122));
            let bundle = notified(t, &agent);
            has(&t.attempt(bundle, &["mkdir"])?, "/mkdir", 122)?;
            same("calls that the agent was asked about", &1, &agent.calls().len())
        }),
        must("the agent gets the state of the container process with the filter", |t| {
            let agent = SeccompAgent::start(|_| Answer::Continue);
            let bundle = notified(t, &agent).set("/linux/seccomp/listenerMetadata", "of the test");
            t.attempt(bundle, &["mkdir"])?;
            let states = agent.states();
            let state = states.first().unwrap_or(&Value::Null);
            has(state, "/fds", json!(["seccompFd"]))?;
            has(state, "/metadata", "of the test")?;
            holds(state["ociVersion"].is_string(), "the version of the specification", state)?;
            holds(state["pid"].as_i64().is_some_and(|pid| pid > 0), "a pid", state)?;
            holds(state["state"]["id"].is_string(), "the container's id", state)
        }),
        must("a connection to the agent carries one state, and is closed after it", |t| {
            let agent = SeccompAgent::start(|_| Answer::Continue);
            let bundle = notified(t, &agent).args(["sleep", "60"]);
            let live = t.start(&bundle)?;
            live.try_exec(&[], &["/bin/nprobe", "try", "mkdir"])?;
            // One of the container and one of the process of exec.
            let rests = t.wait_for("two connections that were closed", || match agent.rests() {
                rests if rests.len() < 2 => Err(format!("{rests:?} of {:?}", agent.states())),
                rests => Ok(rests),
            })?;
            same("what came after the states", &vec![Vec::<u8>::new(); 2], &rests)?;
            same("states", &2, &agent.states().iter().filter(|state| state.is_object()).count())
        }),
        must("the path of an agent is ignored where no action is NOTIFY", |t| {
            let agent = SeccompAgent::start(|_| Answer::Continue);
            let rule = json!([{"names": MKDIR, "action": "SCMP_ACT_ERRNO"}]);
            let dead = agent.dead_path().display().to_string();
            let bundle = filtered(t, rule).set("/linux/seccomp/listenerPath", dead);
            has(&t.attempt(bundle, &["mkdir"])?, "/mkdir", 1)
        })
        .rootless()
        .known(&[crun("connects to it nevertheless")]),
        must("NOTIFY without a listenerPath is refused", |t| {
            let rule = json!([{"names": MKDIR, "action": "SCMP_ACT_NOTIFY"}]);
            let output = t.run(&filtered(t, rule))?;
            fails("a failure", &output)
        })
        .known(&[crun("takes it")]),
        must("an agent that is not there fails the container", |t| {
            let agent = SeccompAgent::start(|_| Answer::Continue);
            let bundle = notified(t, &agent)
                .set("/linux/seccomp/listenerPath", agent.dead_path().display().to_string());
            let output = t.run(&bundle)?;
            fails("a failure", &output)
        }),
    ],
};

/// Everything is allowed but what the rules say.
fn filtered(trial: &Trial, rules: Value) -> BundleDir {
    let filter = json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"]});
    trial.bundle().set("/linux/seccomp", filter).set("/linux/seccomp/syscalls", rules)
}

/// Every call of this processor is allowed by a rule, but mkdir: that has the default action, ERRNO.
fn all_but_mkdir(trial: &Trial) -> BundleDir {
    let names: Vec<&str> =
        Sysno::iter().map(|call| call.name()).filter(|name| !MKDIR.contains(name)).collect();
    filtered(trial, json!([{"names": names, "action": "SCMP_ACT_ALLOW"}]))
        .set("/linux/seccomp/defaultAction", "SCMP_ACT_ERRNO")
}

fn notified(trial: &Trial, agent: &SeccompAgent) -> BundleDir {
    filtered(trial, json!([{"names": MKDIR, "action": "SCMP_ACT_NOTIFY"}]))
        .set("/linux/seccomp/listenerPath", agent.path().display().to_string())
}
