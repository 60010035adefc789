//! Which descriptors of the caller a container gets: those that it is told to pass on, and no others.

use std::fs;
use std::path::Path;

use crate::fixture::Output;
use crate::suite::case::{Finding, Topic, contract, crun};
use crate::suite::expect::same;
use crate::suite::trial::{Trial, exits, fails};

/// Shows what descriptors 3 and 4 hold, and whether there are further ones; 10 and 11 may be the shell's own.
const SHOW: &str =
    "cat <&3; cat <&4; for fd in 5 6 7; do [ ! -e /proc/self/fd/$fd ] || echo $fd; done";

/// What [`SHOW`] shows where descriptors 3 and 4 are passed on and 5 is not.
const SHOWN: &str = "three\nfour";

pub(super) const DESCRIPTORS: Topic = Topic {
    name: "descriptors",
    title: "descriptors that are passed on",
    section: "docs/command-line.md",
    cases: &[
        contract("none of the caller's is passed on", |t| {
            let (bundle, id) = (t.bundle().shell("ls /proc/self/fd | wc -l"), t.new_id());
            let files = Files::new(t);
            let words = ["run", "--bundle", &path(bundle.path()), &id];
            let output = exits(files.call(t, &words)?, 0)?;
            // Three standard streams, and the directory that ls reads.
            same("descriptors", "4", output.text().as_str())
        })
        .rootless(),
        contract("run --preserve-fds N passes on N from 3 on", |t| {
            let (bundle, id) = (t.bundle().shell(SHOW), t.new_id());
            let files = Files::new(t);
            let words = ["run", "--preserve-fds", "2", "--bundle", &path(bundle.path()), &id];
            same("their contents", SHOWN, exits(files.call(t, &words)?, 0)?.text().as_str())
        })
        .rootless(),
        contract("create --preserve-fds N passes on N from 3 on", |t| {
            let (bundle, id) = (t.bundle().shell(SHOW), t.new_id());
            let files = Files::new(t);
            let words = ["create", "--preserve-fds", "2", "--bundle", &path(bundle.path()), &id];
            let output = exits(files.call(t, &words)?, 0)?;
            t.call_ok(["start", &id])?;
            let shown = t.wait_for("both files", || match output.text() {
                text if text.contains("four") => Ok(text),
                text => Err(text),
            })?;
            same("their contents", SHOWN, shown.as_str())
        })
        .rootless(),
        contract("exec --preserve-fds N passes on N from 3 on", |t| {
            let bundle = t.bundle().args(["sleep", "60"]);
            let live = t.start(&bundle)?;
            let files = Files::new(t);
            let words = ["exec", "--preserve-fds", "2", live.id(), "sh", "-c", SHOW];
            same("their contents", SHOWN, exits(files.call(t, &words)?, 0)?.text().as_str())
        })
        .rootless(),
        contract("a descriptor that is to be passed on and is not there is an error", |t| {
            let (bundle, id) = (t.bundle(), t.new_id());
            let files = Files::new(t);
            let words = ["run", "--preserve-fds", "9", "--bundle", &path(bundle.path()), &id];
            let output = files.call(t, &words)?;
            fails("a failure", &output)
        })
        .rootless()
        .known(&[crun("takes no notice of it")]),
        contract("sockets that systemd has opened for the caller are passed on", |t| {
            let script =
                "echo $LISTEN_FDS $LISTEN_PID; cat <&3; [ ! -e /proc/self/fd/4 ] || echo 4";
            let (bundle, id) = (t.bundle().shell(script), t.new_id());
            let mut files = Files::new(t);
            files.script += "\nexport LISTEN_FDS=1 LISTEN_PID=$$";
            let words = ["run", "--bundle", &path(bundle.path()), &id];
            let output = exits(files.call(t, &words)?, 0)?;
            same("variables and contents", "1 1\nthree", output.text().as_str())
        })
        .rootless()
        .known(&[crun("sets no LISTEN_PID")]),
    ],
};

/// Three files, and a script that opens them as descriptors 3, 4 and 5.
struct Files {
    _directory: tempfile::TempDir,
    script: String,
}

impl Files {
    fn new(trial: &Trial) -> Self {
        let directory = trial.directory();
        let mut script = String::new();
        for (number, name) in [(3, "three"), (4, "four"), (5, "five")] {
            let file = directory.path().join(name);
            fs::write(&file, format!("{name}\n")).expect("write a file");
            script += &format!("exec {number}<'{}'\n", file.display());
        }
        Self { _directory: directory, script }
    }

    /// A call of the runtime that has these descriptors.
    fn call(&self, trial: &Trial, words: &[&str]) -> Result<Output, Finding> {
        trial.finish_call(trial.runtime().call_after(&self.script, words))
    }
}

fn path(path: &Path) -> String {
    path.display().to_string()
}
