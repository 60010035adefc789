//! config.md, POSIX-platform hooks: which run, where, when, with what, and what comes of their failure.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::process::write_script;
use crate::fixture::BundleDir;
use crate::suite::case::{Finding, Topic, contract, crun, must, runc};
use crate::suite::expect::{contains, has, holds, same};
use crate::suite::trial::{OF_CALLER, Trial, fails, succeeded};

/// Hooks that run before the container's process, in the order of the specification.
const BEFORE: [&str; 4] = ["prestart", "createRuntime", "createContainer", "startContainer"];

pub(super) const HOOKS: Topic = Topic {
    name: "hooks",
    title: "hooks",
    section: "config.md#posix-platform-hooks",
    cases: &[
        must("hooks run in the order of the specification", |t| {
            let trace = Trace::new(t);
            let mut bundle = trace.mounted(t.bundle());
            for kind in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
                bundle = bundle.push(&format!("/hooks/{kind}"), trace.hook(kind, ""));
            }
            // Slow, so that a runtime which does not wait for it always shows that.
            let bundle = bundle.push("/hooks/startContainer", trace.late_hook("startContainer"));
            let live = t.create(&bundle)?;
            same("hooks of create", "prestart createRuntime createContainer", trace.text().as_str())?;
            live.start()?;
            t.wait_for("poststart", || if trace.text().contains("poststart") { Ok(()) } else { Err(trace.text()) })?;
            let text = trace.text();
            holds(text.contains("startContainer poststart"), "startContainer, then poststart", &text)?;
            live.wait()?;
            holds(!trace.text().contains("poststop"), "no poststop before delete", &trace.text())?;
            live.delete()?;
            contains("the trace", &trace.text(), "poststart poststop")
        })
        .rootless()
        .known(&[
            runc("runs poststart at the end of create"),
            crun("runs poststart without waiting for startContainer"),
        ]),
        must("several hooks of a kind run in the order of their list", |t| {
            let trace = Trace::new(t);
            let mut bundle = t.bundle();
            for name in ["one", "two", "three"] {
                bundle = bundle.push("/hooks/createRuntime", trace.hook(name, ""));
            }
            t.create(&bundle)?;
            same("the trace", "one two three", trace.text().as_str())
        })
        .rootless(),
        must("hooks get the container's state on standard input", |t| {
            let trace = Trace::new(t);
            let bundle = t
                .bundle()
                .set("/annotations", json!({"org.example": "yes"}))
                .push("/hooks/createRuntime", trace.keep_input("create"))
                .push("/hooks/poststop", trace.keep_input("stop"));
            let live = t.create(&bundle)?;
            let state = trace.input("create")?;
            has(&state, "/id", live.id())?;
            has(&state, "/bundle", bundle.path().display().to_string())?;
            has(&state, "/annotations/org.example", "yes")?;
            holds(state["pid"].as_i64().is_some_and(|pid| pid > 0), "a pid", &state)?;
            holds(["creating", "created"].contains(&state["status"].as_str().unwrap_or_default()), "status creating or created", &state)?;
            live.start()?;
            live.wait()?;
            live.delete()?;
            has(&trace.input("stop")?, "/status", "stopped")
        })
        .rootless(),
        must("the state of createRuntime has the status `creating`", |t| {
            let trace = Trace::new(t);
            let bundle = t.bundle().push("/hooks/createRuntime", trace.keep_input("state"));
            t.create(&bundle)?;
            has(&trace.input("state")?, "/status", "creating")
        })
        .rootless()
        .known(&[crun("says created")]),
        must("a hook has its own arguments and environment and nothing of the caller's", |t| {
            let trace = Trace::new(t);
            let out = trace.path("seen");
            let hook = json!({
                "path": "/bin/sh",
                "args": ["named", "-c", format!("echo $0 $1 >{0}; env >>{0}", out.display()), "zero", "first argument"],
                "env": ["ONLY=this", "PATH=/usr/bin:/bin"]
            });
            let bundle = t.bundle().push("/hooks/createRuntime", hook);
            t.create(&bundle)?;
            let seen = fs::read_to_string(&out).unwrap_or_default();
            contains("what the hook saw", &seen, "zero first argument")?;
            contains("its environment", &seen, "ONLY=this")?;
            holds(!seen.contains(OF_CALLER), "nothing of the caller's environment", &seen)
        })
        .rootless(),
        must("hooks of the runtime and after start run in the caller's namespaces", |t| {
            const KINDS: [&str; 4] = ["prestart", "createRuntime", "poststart", "poststop"];
            let trace = Trace::new(t);
            let mut bundle = t.bundle();
            for kind in KINDS {
                bundle = bundle.push(&format!("/hooks/{kind}"), trace.hook("x", &trace.namespaces(kind)));
            }
            let live = t.start(&bundle)?;
            live.wait()?;
            t.wait_for("poststart", || if trace.path("poststart").exists() { Ok(()) } else { Err(trace.text()) })?;
            live.delete()?;
            for kind in KINDS {
                let seen = trace.seen(kind);
                for (own, seen) in own_namespaces().iter().zip(&seen) {
                    same(&format!("a namespace of the {kind} hook"), own, seen)?;
                }
                same("the namespaces that were seen", &NAMESPACES.len(), &seen.len())?;
            }
            Ok(())
        })
        .rootless(),
        must("createContainer runs in the container's namespaces, before its root is entered", |t| {
            let trace = Trace::new(t);
            let bundle = t.bundle();
            // The container's /proc is there, and still below the root's own place.
            let look = format!("{}; ls {}/proc >{}", trace.namespaces("seen"), bundle.rootfs().display(), trace.path("proc").display());
            let bundle = bundle.push("/hooks/createContainer", trace.hook("x", &look));
            t.create(&bundle)?;
            let seen = trace.seen("seen");
            same("the namespaces that were seen", &NAMESPACES.len(), &seen.len())?;
            for (own, seen) in own_namespaces().iter().zip(&seen) {
                holds(own != seen, &format!("another namespace than {own}"), seen)?;
            }
            let mounts = fs::read_to_string(trace.path("proc")).unwrap_or_default();
            holds(mounts.contains("self"), "the mounts of the container below its root", &mounts)
        })
        .rootless(),
        must("startContainer runs in the container, with a path of the container", |t| {
            let bundle = t.bundle();
            let own = "for kind in mnt net pid; do readlink /proc/self/ns/$kind; done";
            write_script(&bundle, "hook", &format!("cat >/tmp/state; ({own}) >/tmp/where"));
            let bundle = bundle
                .push("/hooks/startContainer", json!({"path": "/hook", "env": ["PATH=/bin"]}))
                .shell(&format!("[ \"$({own})\" = \"$(cat /tmp/where)\" ] && cat /tmp/state"));
            let output = succeeded(t.run(&bundle)?)?;
            let state: Value = serde_json::from_str(&output.stdout()).unwrap_or_default();
            holds(state["id"].is_string() && state["status"].is_string(), "a state", &output.to_string())
        })
        .rootless(),
        must("a hook that fails before start fails the create, and the container is gone", |t| {
            for kind in &BEFORE[..3] {
                let trace = Trace::new(t);
                let bundle = t.bundle().push(&format!("/hooks/{kind}"), trace.hook("x", "exit 3"));
                t.refused(&bundle, &format!("the {kind} hook failed"))?;
            }
            Ok(())
        })
        .rootless(),
        must("poststop hooks run after a create that a hook has failed", |t| {
            let trace = Trace::new(t);
            let bundle = t
                .bundle()
                .push("/hooks/createRuntime", trace.hook("create", "exit 3"))
                .push("/hooks/poststop", trace.hook("poststop", ""));
            t.refused(&bundle, "the createRuntime hook failed")?;
            contains("the trace", &trace.text(), "poststop")
        })
        .rootless()
        .known(&[crun("does not run them")]),
        must("a startContainer hook that fails keeps the process from being run", |t| {
            let bundle = t.bundle();
            write_script(&bundle, "hook", "exit 3");
            let bundle = bundle.push("/hooks/startContainer", json!({"path": "/hook"})).shell("echo ran");
            let output = t.run(&bundle)?;
            fails("a failure", &output)?;
            holds(!output.stdout().contains("ran"), "no output", &output.to_string())
        })
        .rootless(),
        must("a poststart hook that fails is told, and poststop hooks run", |t| {
            let trace = Trace::new(t);
            let bundle = t
                .bundle()
                .args(["sleep", "60"])
                .push("/hooks/poststart", trace.hook("poststart", "exit 3"))
                .push("/hooks/poststop", trace.hook("poststop", ""));
            // Runtimes differ in whether the container lives on: up to 1.2 the specification asked for a warning, 1.3 for an error.
            let id = t.new_id();
            let create = t.finish_call(t.runtime().bundle_call("create", &bundle, [""; 0], &id))?;
            let start = t.call(["start", &id])?;
            let _ = t.call(["kill", &id, "KILL"])?;
            let _ = t.call(["delete", "--force", &id])?;
            let is_told = !create.success() || !start.success() || !start.stderr().trim().is_empty();
            holds(is_told && !create.crashed() && !start.crashed(), "an error, or a warning", &start.to_string())?;
            contains("the trace", &trace.text(), "poststart")?;
            contains("the trace", &trace.text(), "poststop")
        })
        .rootless()
        .known(&[crun("tells nothing of it")]),
        must("a poststop hook that fails is a warning: the container is deleted and the others run", |t| {
            let trace = Trace::new(t);
            let bundle = t
                .bundle()
                .push("/hooks/poststop", trace.hook("one", "exit 3"))
                .push("/hooks/poststop", trace.hook("two", ""));
            let live = t.start(&bundle)?;
            live.wait()?;
            let _ = t.call(["delete", live.id()])?;
            same("the trace", "one two", trace.text().as_str())?;
            let state = t.call(["state", live.id()])?;
            fails("no container", &state)
        })
        .rootless()
        .known(&[runc("stops at the hook that fails")]),
        must("a hook that takes longer than its timeout is ended, and fails the create", |t| {
            let bundle = t.bundle().push("/hooks/createRuntime", json!({"path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1}));
            t.refused(&bundle, "the hook has a timeout of 1 s").map(drop)
        })
        .rootless(),
        must("a timeout that is not greater than zero is refused", |t| {
            // One that reads its input: a runtime that takes it has no other reason to fail.
            let hook = json!({"path": "/bin/cat", "timeout": 0});
            let bundle = t.bundle().push("/hooks/createRuntime", hook);
            t.refused(&bundle, "it must be greater than zero").map(drop)
        })
        .rootless()
        .known(&[crun("takes it for none")]),
        contract("a hook that does not read a long state does no harm", |t| {
            // More than a pipe holds: the runtime cannot write it all.
            let bundle = t
                .bundle()
                .set("/annotations", json!({"org.example.long": "x".repeat(100_000)}))
                .push("/hooks/createRuntime", json!({"path": "/bin/true"}));
            t.create(&bundle).map(drop)
        })
        .rootless(),
        must("a hook that is not there fails the create", |t| {
            let bundle = t.bundle().push("/hooks/createRuntime", json!({"path": "/no/such/hook"}));
            t.refused(&bundle, "the hook does not exist").map(drop)
        })
        .rootless(),
        must("a hook whose path is not absolute is refused", |t| {
            // It reads its input, for the same reason.
            let bundle = t.bundle().push("/hooks/createRuntime", json!({"path": "cat"}));
            t.refused(&bundle, "the path must be absolute").map(drop)
        })
        .rootless()
        .known(&[crun("looks for it in PATH")]),
    ],
};

/// The kinds of namespaces of which every bundle has one of its own.
const NAMESPACES: [&str; 4] = ["mnt", "net", "uts", "ipc"];

/// The namespaces of the caller.
fn own_namespaces() -> [String; 4] {
    NAMESPACES.map(|kind| {
        let link = fs::read_link(format!("/proc/thread-self/ns/{kind}")).unwrap_or_default();
        link.to_string_lossy().into_owned()
    })
}

/// A directory in which hooks leave their traces.
struct Trace(tempfile::TempDir);

impl Trace {
    fn new(trial: &Trial) -> Self {
        Self(trial.directory())
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    /// The bundle with the directory bound to its own path, so that a hook inside reaches it as well.
    fn mounted(&self, bundle: BundleDir) -> BundleDir {
        let point = self.0.path().display().to_string();
        bundle.push("/mounts", super::files::bind(Path::new(&point), &point, &["bind"]))
    }

    /// A hook that adds a word to the trace, reads its input and then does something.
    fn hook(&self, word: &str, script: &str) -> Value {
        let file = self.path("trace");
        json!({
            "path": "/bin/sh",
            "args": ["sh", "-c", format!("echo {word} >>{}; cat >/dev/null; {script}", file.display())],
            "env": ["PATH=/usr/bin:/bin"]
        })
    }

    /// A hook that adds a word to the trace after a second.
    fn late_hook(&self, word: &str) -> Value {
        let script = format!("sleep 1; echo {word} >>{}", self.path("trace").display());
        json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]})
    }

    /// A hook that keeps what it reads.
    fn keep_input(&self, name: &str) -> Value {
        let script = format!("cat >{}", self.path(name).display());
        json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]})
    }

    /// A script that writes down the namespaces of whoever runs it.
    fn namespaces(&self, name: &str) -> String {
        let file = self.path(name);
        let kinds = NAMESPACES.join(" ");
        format!(
            "for kind in {kinds}; do readlink /proc/self/ns/$kind; done >{0}.new; mv {0}.new {0}",
            file.display()
        )
    }

    /// The namespaces that such a script has found.
    fn seen(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn input(&self, name: &str) -> Result<Value, Finding> {
        let text = fs::read_to_string(self.path(name)).unwrap_or_default();
        serde_json::from_str(&text).map_err(|_| Finding::fail("a state as JSON", text))
    }

    /// The words, with spaces between them.
    fn text(&self) -> String {
        let text = fs::read_to_string(self.path("trace")).unwrap_or_default();
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}
