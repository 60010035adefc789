//! The calls that are compared.

use nconform::fixture::BundleDir;
use serde_json::json;

/// What there is before the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Given {
    /// No container: `ID` is that of nobody.
    Nothing,
    /// A bundle, for a container that does not exist yet.
    Bundle,
    Created,
    Running,
    Paused,
    Stopped,
}

/// A call. It is made in the bundle's directory.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) given: Given,
    /// `ID` stands for the container's id.
    pub(crate) args: &'static [&'static str],
    pub(crate) bundle: fn(BundleDir) -> BundleDir,
}

const fn call(name: &'static str, given: Given, args: &'static [&'static str]) -> Case {
    Case { name, given, args, bundle: |bundle| bundle }
}

/// `run ID` of a bundle that is not as it should be.
const fn run(name: &'static str, bundle: fn(BundleDir) -> BundleDir) -> Case {
    Case { name, given: Given::Bundle, args: &["run", "ID"], bundle }
}

use Given::{Created, Nothing, Paused, Running, Stopped};

pub(crate) const CASES: &[Case] = &[
    call("state of nobody", Nothing, &["state", "ID"]),
    call("start of nobody", Nothing, &["start", "ID"]),
    call("kill of nobody", Nothing, &["kill", "ID", "KILL"]),
    call("kill --all of nobody", Nothing, &["kill", "--all", "ID", "9"]),
    call("delete of nobody", Nothing, &["delete", "ID"]),
    call("delete --force of nobody", Nothing, &["delete", "--force", "ID"]),
    call("exec in nobody", Nothing, &["exec", "ID", "true"]),
    call("ps of nobody", Nothing, &["ps", "ID"]),
    call("pause of nobody", Nothing, &["pause", "ID"]),
    call("resume of nobody", Nothing, &["resume", "ID"]),
    call("events of nobody", Nothing, &["events", "--stats", "ID"]),
    call("update of nobody", Nothing, &["update", "--memory", "10000000", "ID"]),
    call("checkpoint of nobody", Nothing, &["checkpoint", "ID"]),
    call("create without an id", Nothing, &["create"]),
    call("start without an id", Nothing, &["start"]),
    call("kill without an id", Nothing, &["kill"]),
    call("exec without an id", Nothing, &["exec"]),
    call("state of two", Nothing, &["state", "a", "b"]),
    call("list with an operand", Nothing, &["list", "a"]),
    call("an unknown command", Nothing, &["nosuch"]),
    call("an unknown option", Nothing, &["create", "--nosuch", "a"]),
    call("an unknown global option", Nothing, &["--nosuch", "list"]),
    call("an option without its value", Nothing, &["create", "a", "--bundle"]),
    call("list of a root that is missing", Nothing, &["--root", "/run/nrt/nosuch", "list"]),
    call("a log in an empty format", Nothing, &["--log-format", "", "list"]),
    call("list in an unknown format", Nothing, &["list", "--format", "xml"]),
    call("a log in an unknown format", Nothing, &["--log-format", "xml", "list"]),
    call("an id with a slash", Given::Bundle, &["create", "a/b"]),
    call("an empty id", Given::Bundle, &["create", ""]),
    call("restore without images", Given::Bundle, &["restore", "--lsm-mount-context"]),
    call("create of one that exists", Created, &["create", "ID"]),
    call("run of one that exists", Created, &["run", "ID"]),
    call("exec in a created one", Created, &["exec", "ID", "true"]),
    call("checkpoint of a created one", Created, &["checkpoint", "ID"]),
    call("resume of a created one", Created, &["resume", "ID"]),
    call("delete of a created one", Created, &["delete", "ID"]),
    call("start of a running one", Running, &["start", "ID"]),
    call("delete of a running one", Running, &["delete", "ID"]),
    call("resume of a running one", Running, &["resume", "ID"]),
    call("kill with an unknown signal", Running, &["kill", "ID", "NOSUCH"]),
    call("kill with a number that is no signal", Running, &["kill", "ID", "99"]),
    call("kill with nothing but a check", Running, &["kill", "ID", "0"]),
    call("kill with a name that runc does not know", Running, &["kill", "ID", "RTMIN+3"]),
    call("exec", Running, &["exec", "ID", "true"]),
    call("exec after dashes", Running, &["exec", "ID", "--", "true"]),
    call("exec as a user by name", Running, &["exec", "-u", "root", "ID", "true"]),
    call("exec with a group by name", Running, &["exec", "-g", "root", "ID", "true"]),
    call("exec with a variable without a value", Running, &["exec", "-e", "A", "ID", "true"]),
    call(
        "exec with options that are empty",
        Running,
        &["exec", "--cwd", "", "--apparmor", "", "ID", "true"],
    ),
    call("exec as an empty user", Running, &["exec", "-u", "", "ID", "true"]),
    call("exec in a relative directory", Running, &["exec", "--cwd", "tmp", "ID", "true"]),
    call("exec of a process that is missing", Running, &["exec", "-p", "/nosuch", "ID"]),
    call(
        "exec with a console socket that is missing",
        Running,
        &["exec", "-d", "-t", "--console-socket", "/nosuch", "ID", "true"],
    ),
    call("ps in an unknown format", Running, &["ps", "-f", "xml", "ID"]),
    call("ps with an option that it lacks", Running, &["ps", "ID", "--nosuch"]),
    call("events at no interval", Running, &["events", "--interval", "0", "ID"]),
    call("update from a file that is missing", Running, &["update", "-r", "/nosuch", "ID"]),
    call("update to too few shares", Running, &["update", "--cpu-share", "1", "ID"]),
    call("exec of a status", Running, &["exec", "ID", "sh", "-c", "exit 3"]),
    call("exec of a missing program", Running, &["exec", "ID", "nosuch"]),
    call("exec of a missing path", Running, &["exec", "ID", "/nosuch"]),
    call("exec of a file that is no program", Running, &["exec", "ID", "/etc/passwd"]),
    call("exec of a directory", Running, &["exec", "ID", "/tmp"]),
    call("exec in a missing directory", Running, &["exec", "--cwd", "/nosuch", "ID", "true"]),
    call("update", Running, &["update", "--pids-limit", "20", "ID"]),
    call("update to what is no number", Running, &["update", "--memory", "much", "ID"]),
    call("exec of nothing", Running, &["exec", "ID"]),
    call("exec with a terminal that nobody takes", Running, &["exec", "-d", "-t", "ID", "true"]),
    call("pause of a paused one", Paused, &["pause", "ID"]),
    call("exec in a paused one", Paused, &["exec", "ID", "true"]),
    call("delete of a paused one", Paused, &["delete", "ID"]),
    call("start of a stopped one", Stopped, &["start", "ID"]),
    call("kill of a stopped one", Stopped, &["kill", "ID", "KILL"]),
    call("kill --all of a stopped one", Stopped, &["kill", "--all", "ID", "KILL"]),
    call("exec in a stopped one", Stopped, &["exec", "ID", "true"]),
    call("pause of a stopped one", Stopped, &["pause", "ID"]),
    call("resume of a stopped one", Stopped, &["resume", "ID"]),
    call("events of a stopped one", Stopped, &["events", "--stats", "ID"]),
    call("checkpoint of a stopped one", Stopped, &["checkpoint", "ID"]),
    call("delete of a stopped one", Stopped, &["delete", "ID"]),
    run("run", |bundle| bundle.args(["true"])),
    run("run of a status", |bundle| bundle.shell("exit 7")),
    run("run of one that a signal ends", |bundle| {
        bundle.shell("kill -9 $$").without_namespace("pid")
    }),
    run("run of a missing program", |bundle| bundle.args(["nosuch"])),
    run("run of a missing path", |bundle| bundle.args(["/nosuch"])),
    run("run of a file that is no program", |bundle| bundle.args(["/etc/passwd"])),
    run("run of a directory", |bundle| bundle.args(["/tmp"])),
    run("a working directory that is a file", |bundle| bundle.set("/process/cwd", "/etc/passwd")),
    run("a relative working directory", |bundle| bundle.set("/process/cwd", "tmp")),
    run("no arguments", |bundle| bundle.set("/process/args", json!([]))),
    run("no process", |bundle| bundle.remove("/process")),
    run("no root", |bundle| bundle.remove("/root")),
    run("a root that is missing", |bundle| bundle.set("/root/path", "nosuch")),
    run("a version that is none", |bundle| bundle.args(["true"]).set("/ociVersion", "x")),
    run("a mount source that is missing", |bundle| {
        let bind = json!({"destination": "/data", "source": "/nosuch", "options": ["bind"]});
        bundle.push("/mounts", bind)
    }),
    run("a mount without a type", |bundle| {
        bundle.push("/mounts", json!({"destination": "/data", "source": "tmpfs"}))
    }),
    run("a namespace twice", |bundle| bundle.push("/linux/namespaces", json!({"type": "ipc"}))),
    run("a host name without its namespace", |bundle| bundle.without_namespace("uts")),
    run("a sysctl of the host", |bundle| bundle.set("/linux/sysctl/vm.swappiness", "1")),
    run("no PATH", |bundle| bundle.set("/process/env", json!([])).args(["true"])),
    run("an unknown namespace", |bundle| bundle.push("/linux/namespaces", json!({"type": "x"}))),
    run("JSON that ends early", |bundle| bundle.raw_config("{")),
    run("JSON of the wrong type", |bundle| bundle.set("/process/args", "true")),
    run("no config.json", |bundle| {
        std::fs::remove_file(bundle.path().join("config.json")).expect("remove config.json");
        bundle
    }),
    call("a bundle that is missing", Given::Bundle, &["run", "--bundle", "/nosuch", "ID"]),
    Case {
        name: "a terminal that nobody takes",
        given: Given::Bundle,
        args: &["create", "ID"],
        bundle: |bundle| bundle.set("/process/terminal", true),
    },
    call(
        "a console socket without a terminal",
        Given::Bundle,
        &["create", "--console-socket", "/nosuch", "ID"],
    ),
    call("a pid file that cannot be", Given::Bundle, &["create", "--pid-file", "/nosuch/x", "ID"]),
    call("spec over a config.json", Given::Bundle, &["spec"]),
];
