//! config.md, process: command, environment, ids, capabilities, limits.

use serde_json::{Value, json};

use crate::fixture::BundleDir;
use crate::suite::case::{CRUN_LEAVES_CGROUP, Topic, contract, crun, must, runc};
use crate::suite::expect::{contains, has, holds, same};
use crate::suite::facts::OOM_MAY_SINK;
use crate::suite::trial::{Trial, exits, fails, probe_command};

pub(super) const PROCESS: Topic = Topic {
    name: "process",
    title: "command, environment, working directory, terminal, scores",
    section: "config.md#process",
    cases: &[
        must("the arguments arrive as they are, also empty ones and such with spaces", |t| {
            let words = ["", "two words", "tab\there", "*", "$HOME"];
            let seen = t.observe_with(t.bundle(), &words)?;
            has(&seen, "/args", json!(words))
        })
        .rootless(),
        must("the environment holds the configured variables and nothing of the caller's", |t| {
            let env = ["PATH=/bin", "EMPTY=", "SPACES=a b", "EQUALS=a=b=c"];
            let seen = t.observe(t.bundle().set("/process/env", json!(env)))?;
            let seen: Vec<&str> = strings(&seen["env"])
                .into_iter()
                // runc sets it from /etc/passwd, as POSIX asks of a login.
                .filter(|variable| !variable.starts_with("HOME="))
                .collect();
            same("the environment", &env[..], &seen[..])
        })
        .rootless(),
        contract("HOME is set from the image's passwd where it is not configured", |t| {
            let seen = t.observe(t.bundle().set("/process/env", json!(["PATH=/bin"])))?;
            holds(strings(&seen["env"]).contains(&"HOME=/root"), "HOME=/root", &seen["env"])
        })
        .rootless(),
        must("a relative command is looked for in the PATH of the container's environment", |t| {
            let bundle = t.bundle();
            write_script(&bundle, "opt/tool", "echo found");
            let bundle = bundle.args(["tool"]).set("/process/env", json!(["PATH=/nowhere:/opt"]));
            same("output", "found", t.run_ok(&bundle)?.text().as_str())
        })
        .rootless(),
        must("the process starts in the configured directory", |t| {
            let bundle = t.bundle();
            std::fs::create_dir_all(bundle.rootfs().join("some/where")).expect("a directory");
            let seen = t.observe(bundle.set("/process/cwd", "/some/where"))?;
            has(&seen, "/cwd", "/some/where")
        })
        .rootless(),
        must("a working directory that is not absolute is refused", |t| {
            t.refused(&t.bundle().set("/process/cwd", "some/where"), "cwd is relative").map(drop)
        })
        .rootless()
        .known(&[crun("takes it as relative to the root")]),
        contract("a working directory that is not there is made", |t| {
            let seen = t.observe(t.bundle().set("/process/cwd", "/made/for/it"))?;
            has(&seen, "/cwd", "/made/for/it")
        }),
        must("an empty list of arguments is refused", |t| {
            t.refused(&t.bundle().set("/process/args", json!([])), "args has no entry").map(drop)
        })
        .rootless(),
        must("a new session is led by the process", |t| {
            let seen = t.observe(t.bundle())?;
            has(&seen, "/session", seen["pid"].clone())
        })
        .rootless(),
        must("no_new_privs is set where it is asked for", |t| {
            has(
                &t.observe(t.bundle().set("/process/noNewPrivileges", true))?,
                "/noNewPrivileges",
                true,
            )
        })
        .rootless(),
        must("no_new_privs is not set where it is not asked for", |t| {
            has(
                &t.observe(t.bundle().set("/process/noNewPrivileges", false))?,
                "/noNewPrivileges",
                false,
            )
        })
        .rootless(),
        must("the out-of-memory score is adjusted upwards", |t| {
            has(&t.observe(t.bundle().set("/process/oomScoreAdj", 321))?, "/oomScoreAdj", "321")
        })
        .rootless(),
        must("the out-of-memory score is adjusted downwards", |t| {
            has(&t.observe(t.bundle().set("/process/oomScoreAdj", -321))?, "/oomScoreAdj", "-321")
        })
        .needs(&[OOM_MAY_SINK]),
        must("the out-of-memory score is the caller's where none is configured", |t| {
            // 0 is what a runtime would set that sets one: the caller's has to be another.
            let script = "echo 432 >/proc/self/oom_score_adj";
            has(&t.observe_after(script, t.bundle())?, "/oomScoreAdj", "432")
        })
        .rootless(),
        contract("no signal is ignored or blocked in the process", |t| {
            let bundle = t.bundle().args(["grep", "Sig[BI]", "/proc/self/status"]);
            let seen = t.run_ok(&bundle)?.text();
            // 32 and 33 are the C library's own, and posix_spawn(3) leaves them ignored.
            let others = |line: &str| {
                let mask = line.rsplit('\t').next().unwrap_or_default();
                u64::from_str_radix(mask, 16).map(|mask| mask & !(0b11 << 31))
            };
            let masks: Vec<_> = seen.lines().map(others).collect();
            holds(masks == [Ok(0), Ok(0)], "no signal but 32 and 33 in the masks", &seen)
        })
        .rootless(),
        contract("a script without an interpreter is refused at start", |t| {
            let bundle = t.bundle();
            write_file(&bundle, "bin/script", "echo no interpreter\n", 0o755);
            let output = t.run(&bundle.args(["/bin/script"]))?;
            fails("a failure", &output)?;
            contains("the message", &output.stderr(), "exec format error")
        })
        .rootless(),
    ],
};

pub(super) const USER: Topic = Topic {
    name: "user",
    title: "ids, groups and umask",
    section: "config.md#posix-platform-user",
    cases: &[
        must("user and group id are the configured ones, all four of each", |t| {
            let seen = t.observe(as_user(t, &json!({"uid": 1000, "gid": 1001})))?;
            has(&seen, "/uids", json!([1000, 1000, 1000, 1000]))?;
            has(&seen, "/gids", json!([1001, 1001, 1001, 1001]))
        }),
        must("additional groups are the configured ones and no others", |t| {
            let user = json!({"uid": 0, "gid": 0, "additionalGids": [5, 10, 20]});
            has(&t.observe(as_user(t, &user))?, "/groups", json!([5, 10, 20]))
        }),
        must("without additional groups there are none of the caller's", |t| {
            // Root has none of its own on many machines.
            let script = "set -- setpriv --groups 4242 \"$@\"";
            let bundle = as_user(t, &json!({"uid": 1000, "gid": 1000}));
            let seen = t.observe_after(script, bundle)?;
            let groups = seen["groups"].as_array().cloned().unwrap_or_default();
            // The group itself may be listed.
            holds(groups.iter().all(|group| *group == 1000), "no group but 1000", &groups)
        }),
        must("the umask is the configured one", |t| {
            let user = json!({"uid": 0, "gid": 0, "umask": 0o027});
            has(&t.observe(t.bundle().set("/process/user", user))?, "/umask", "0027")
        })
        .rootless(),
        contract("the umask is 0022 where none is configured", |t| {
            has(&t.observe(t.bundle())?, "/umask", "0022")
        })
        .rootless(),
        must("an id that no user has is taken", |t| {
            let seen = t.observe(as_user(t, &json!({"uid": 54321, "gid": 54322})))?;
            has(&seen, "/uids/0", 54321)?;
            has(&seen, "/gids/0", 54322)
        }),
    ],
};

pub(super) const CAPABILITIES: Topic = Topic {
    name: "capabilities",
    title: "the five sets",
    section: "config.md#linux-process",
    cases: &[
        must("the five sets are the configured ones", |t| {
            let bounding = ["CAP_CHOWN", "CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_MKNOD"];
            let sets = json!({
                "bounding": bounding, "permitted": &bounding[..4], "effective": &bounding[..3],
                "inheritable": &bounding[..3], "ambient": &bounding[..2]
            });
            // The permitted set of root after an exec is the bounding set: another user's shows the configured one.
            let bundle = as_user(t, &json!({"uid": 1000, "gid": 1000}))
                .set("/process/capabilities", sets.clone());
            let seen = t.observe(bundle)?;
            // What a program without file capabilities keeps over execve(2) is the ambient set.
            for (set, expected) in [
                ("bounding", &sets["bounding"]),
                ("inheritable", &sets["inheritable"]),
                ("ambient", &sets["ambient"]),
                ("permitted", &sets["ambient"]),
                ("effective", &sets["ambient"]),
            ] {
                has(&seen, &format!("/capabilities/{set}"), expected.clone())?;
            }
            Ok(())
        }),
        must("root has what the bounding set allows", |t| {
            let sets = json!({"bounding": ["CAP_CHOWN", "CAP_MKNOD"], "permitted": ["CAP_CHOWN", "CAP_MKNOD"],
                "effective": ["CAP_CHOWN", "CAP_MKNOD"]});
            let seen = t.observe(t.bundle().set("/process/capabilities", sets.clone()))?;
            has(&seen, "/capabilities/effective", sets["bounding"].clone())?;
            has(&seen, "/capabilities/bounding", sets["bounding"].clone())
        })
        .rootless(),
        must("without capabilities in the configuration there are none", |t| {
            let seen = t.observe(t.bundle().set("/process/capabilities", json!({})))?;
            for set in ["bounding", "permitted", "effective", "inheritable", "ambient"] {
                has(&seen, &format!("/capabilities/{set}"), json!([]))?;
            }
            Ok(())
        })
        .rootless(),
        must("an ambient capability that is not inheritable is not raised in silence", |t| {
            let sets = json!({"bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"],
                "effective": ["CAP_KILL"], "ambient": ["CAP_KILL"]});
            let bundle = as_user(t, &json!({"uid": 1000, "gid": 1000}))
                .set("/process/capabilities", sets)
                .args(probe_command(&[]));
            let output = t.run(&bundle)?;
            // Either is right: an error, or a process without it.
            if !output.success() {
                return fails("an error", &output);
            }
            let seen: Value = serde_json::from_str(&output.stdout()).unwrap_or_default();
            has(&seen, "/capabilities/ambient", json!([]))
        }),
        contract("a capability that nobody knows is ignored with a warning", |t| {
            let bundle = t
                .bundle()
                .set("/process/capabilities/bounding", json!(["CAP_KILL", "CAP_OF_TOMORROW"]))
                .args(probe_command(&[]));
            let output = exits(t.run(&bundle)?, 0)?;
            contains("standard error", &output.stderr(), "CAP_OF_TOMORROW")
        })
        .known(&[crun("refuses the container")]),
    ],
};

pub(super) const LIMITS: Topic = Topic {
    name: "rlimits",
    title: "resource limits of the process",
    section: "config.md#posix-process",
    cases: &[
        must("soft and hard limits are the configured ones", |t| {
            let limits = json!([
                {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
                {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
                {"type": "RLIMIT_FSIZE", "soft": 1_048_576, "hard": 2_097_152},
                {"type": "RLIMIT_STACK", "soft": 4_194_304, "hard": 8_388_608},
                {"type": "RLIMIT_CPU", "soft": 100, "hard": 200},
                {"type": "RLIMIT_MSGQUEUE", "soft": 1024, "hard": 2048}
            ]);
            let seen = t.observe(t.bundle().set("/process/rlimits", limits.clone()))?;
            for limit in limits.as_array().into_iter().flatten() {
                let name = limit["type"].as_str().unwrap_or_default();
                has(&seen, &format!("/limits/{name}"), json!([limit["soft"], limit["hard"]]))?;
            }
            Ok(())
        })
        .rootless(),
        must("every limit of getrlimit(2) can be set", |t| {
            let seen = t.observe(t.bundle().remove("/process/rlimits"))?;
            let all = seen["limits"].as_object().cloned().unwrap_or_default();
            // Less than what is in force can always be set; what there is none of has no less. All of it is finite: not everything that
            // reads JSON has integers of 64 bits.
            let most = |value: &Value| value.as_u64().unwrap_or(u64::MAX).min(1 << 40);
            let less = |value: &Value| most(value) - (most(value) / 4).max(1).min(most(value));
            let limits: Vec<Value> = all
                .iter()
                .map(|(name, pair)| json!({"type": name, "soft": less(&pair[0]), "hard": most(&pair[1])}))
                .collect();
            let again = t.observe(t.bundle().set("/process/rlimits", limits))?;
            for (name, pair) in &all {
                has(&again, &format!("/limits/{name}"), json!([less(&pair[0]), most(&pair[1])]))?;
            }
            Ok(())
        })
        .rootless(),
        must("a limit that nobody knows is refused", |t| {
            let limit = json!([{"type": "RLIMIT_TOMORROW", "soft": 1, "hard": 1}]);
            t.refused(&t.bundle().set("/process/rlimits", limit), "the limit is unknown").map(drop)
        })
        .rootless()
        .known(&[CRUN_LEAVES_CGROUP]),
        must("a soft limit above the hard one is refused", |t| {
            let limit = json!([{"type": "RLIMIT_NOFILE", "soft": 200, "hard": 100}]);
            let output = t.run(&t.bundle().set("/process/rlimits", limit))?;
            fails("a failure", &output)
        })
        .rootless()
        .known(&[CRUN_LEAVES_CGROUP]),
        must("a limit that is set twice is refused", |t| {
            let limit = json!({"type": "RLIMIT_NOFILE", "soft": 100, "hard": 100});
            let bundle = t.bundle().set("/process/rlimits", json!([limit, limit]));
            t.refused(&bundle, "duplicates must be an error").map(drop)
        })
        .rootless()
        .known(&[
            runc("takes the last of them"),
            crun("takes the last of them"),
        ]),
    ],
};

fn as_user(trial: &Trial, user: &Value) -> BundleDir {
    trial.bundle().set("/process/user", user.clone())
}

/// The strings of an array.
pub(super) fn strings(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Writes a file into a bundle's root.
pub(super) fn write_file(bundle: &BundleDir, path: &str, text: &str, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    let path = bundle.rootfs().join(path);
    std::fs::create_dir_all(path.parent().expect("a directory")).expect("make a directory");
    std::fs::write(&path, text).expect("write a file");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("set a mode");
}

/// Writes a shell script into a bundle's root.
pub(super) fn write_script(bundle: &BundleDir, path: &str, script: &str) {
    write_file(bundle, path, &format!("#!/bin/sh\n{script}\n"), 0o755);
}
