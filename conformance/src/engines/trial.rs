//! What an operation works with: an engine that uses one runtime, and a container name of its own.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::fixture::{Capture, Output};
use crate::managers::Kind;
use crate::managers::engine::{Engine, Places};

/// The image of all containers.
pub(super) const IMAGE: &str = "localhost/nconform/busybox:test";

/// How long one call of an engine may take, and how long an operation waits for a condition.
const LIMIT: Duration = Duration::from_secs(40);

/// An engine that uses one runtime.
pub(super) struct Client {
    pub(super) engine: Engine,
    /// What every `run` is given, so that it uses the runtime.
    pub(super) options: Vec<String>,
    /// The cgroup that containers are in, by its name in every hierarchy.
    pub(super) cgroup: String,
}

/// Something that an engine asks a runtime for.
#[derive(Clone)]
pub(super) struct Operation {
    pub(super) name: &'static str,
    pub(super) body: fn(&Trial) -> Result<(), String>,
    /// Only this engine can do it.
    only: Option<Kind>,
}

impl Operation {
    pub(super) fn suits(&self, kind: Kind) -> bool {
        self.only.is_none_or(|only| only == kind)
    }

    pub(super) fn only(self, kind: Kind) -> Self {
        Self { only: Some(kind), ..self }
    }
}

pub(super) fn operation(name: &'static str, body: fn(&Trial) -> Result<(), String>) -> Operation {
    Operation { name, body, only: None }
}

/// One operation under way. Its container is removed when it is dropped.
pub(super) struct Trial<'a> {
    client: &'a Client,
    name: String,
    places: &'a Places,
    /// Whether a container may be there when the operation is over.
    left: AtomicBool,
}

impl<'a> Trial<'a> {
    pub(super) fn new(client: &'a Client, name: &str, places: &'a Places) -> Self {
        Self { client, name: name.to_owned(), places, left: AtomicBool::new(false) }
    }

    /// The name of its container.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn kind(&self) -> Kind {
        self.client.engine.kind
    }

    /// A directory of its own that containers can be given.
    pub(super) fn scratch(&self) -> PathBuf {
        super::scratch_of(self.places, &self.name)
    }

    /// Any call of the engine.
    pub(super) fn call<S: AsRef<std::ffi::OsStr>>(
        &self,
        words: impl IntoIterator<Item = S>,
    ) -> Result<Ran, String> {
        self.finish(self.client.engine.capture(words))
    }

    /// The same with something to read.
    pub(super) fn call_with(&self, stdin: &str, words: &[&str]) -> Result<Ran, String> {
        self.finish(self.client.engine.capture(words).stdin(stdin))
    }

    /// The same on a terminal, which script(1) makes.
    pub(super) fn call_on_terminal(&self, stdin: &str, words: &[&str]) -> Result<Ran, String> {
        let line = self.client.engine.command_line(words);
        let line: Vec<String> = line.iter().map(|word| quote(word)).collect();
        let script = Capture::of("script")
            .args(["-qec", &format!("stty -echo; {}", line.join(" ")), "/dev/null"])
            .env("TERM", "xterm");
        self.finish(script.stdin(stdin))
    }

    fn finish(&self, capture: Capture) -> Result<Ran, String> {
        capture.limit(LIMIT).try_run().map(Ran)
    }

    /// The words of `run OPTIONS IMAGE COMMAND` with this operation's container and runtime.
    pub(super) fn run_words<'w>(
        &'w self,
        options: &[&'w str],
        command: &[&'w str],
    ) -> Vec<&'w str> {
        self.left.store(true, Ordering::Relaxed);
        let own = self.client.options.iter().map(String::as_str);
        let mut words = vec!["run"];
        words.extend(own);
        match self.kind() {
            Kind::Ctr => {
                words.extend(options);
                words.extend([IMAGE, &self.name]);
            }
            _ => {
                words.extend(["--name", &self.name]);
                words.extend(options);
                words.push(IMAGE);
            }
        }
        words.extend(command);
        words
    }

    /// `run --rm`, to its end.
    pub(super) fn run(&self, options: &[&str], command: &[&str]) -> Result<Ran, String> {
        let options = [&["--rm"], options].concat();
        let (cgroup, before) = (self.cgroup(), self.left.load(Ordering::Relaxed));
        let ran = self.call(self.run_words(&self.with_cgroup(&options, &cgroup), command))?;
        self.left.store(before, Ordering::Relaxed);
        Ok(ran)
    }

    /// `run -d`; the container runs when it returns.
    pub(super) fn start(&self, options: &[&str], command: &[&str]) -> Result<(), String> {
        let options = [&["-d"], options].concat();
        let cgroup = self.cgroup();
        self.call(self.run_words(&self.with_cgroup(&options, &cgroup), command))?.ok().map(drop)
    }

    /// A container that runs for as long as the operation takes.
    pub(super) fn sleeper(&self, options: &[&str]) -> Result<(), String> {
        self.start(options, &["sleep", "600"])
    }

    /// The cgroup that all containers are in.
    pub(super) fn cgroup_parent(&self) -> String {
        format!("/{}", self.client.cgroup)
    }

    fn cgroup(&self) -> String {
        format!("{}/{}", self.cgroup_parent(), self.name)
    }

    /// ctr has no parent of all its cgroups.
    fn with_cgroup<'w>(&self, options: &[&'w str], cgroup: &'w str) -> Vec<&'w str> {
        match self.kind() {
            Kind::Ctr => [options, &["--cgroup", cgroup]].concat(),
            _ => options.to_vec(),
        }
    }

    /// A field of `inspect`, by Go template.
    pub(super) fn inspect(&self, field: &str) -> Result<String, String> {
        let format = format!("{{{{{field}}}}}");
        Ok(self.call(["inspect", "--format", &format, &self.name])?.ok()?.text())
    }

    /// Waits until a field of `inspect` has a value.
    pub(super) fn wait_for(&self, field: &str, expected: &str) -> Result<(), String> {
        until(|| {
            let value = self.inspect(field)?;
            if value == expected {
                Ok(())
            } else {
                Err(format!("{field} is {value:?}, not {expected:?}"))
            }
        })
    }

    /// A megabyte of output comes out of the engine as the program wrote it.
    pub(super) fn passes_a_megabyte(&self) -> Result<(), String> {
        let ran = self.run(&[], &["sh", "-c", "yes 0123456 | head -c 1000000"])?.ok()?;
        match ran.text().len() {
            999_999..=1_000_000 => Ok(()),
            length => Err(format!("{length} bytes came")),
        }
    }
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        if !*self.left.get_mut() {
            return;
        }
        let words: Vec<Vec<&str>> = match self.kind() {
            Kind::Ctr => vec![
                vec!["tasks", "resume", &self.name],
                vec!["tasks", "rm", "-f", &self.name],
                vec!["containers", "rm", &self.name],
            ],
            // Podman would wait ten seconds for a process that takes no notice of SIGTERM; Docker kills at once.
            Kind::Podman => vec![vec!["rm", "-f", "-t", "0", "-v", &self.name]],
            _ => vec![vec!["rm", "-f", "-v", &self.name]],
        };
        for words in words {
            let _ = self.call(words);
        }
    }
}

/// Tries until it works, for as long as a loaded machine may need.
pub(super) fn until<T>(mut attempt: impl FnMut() -> Result<T, String>) -> Result<T, String> {
    let limit = Instant::now() + LIMIT;
    loop {
        match attempt() {
            Err(_) if Instant::now() < limit => std::thread::sleep(Duration::from_millis(50)),
            result => return result,
        }
    }
}

fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A call of an engine that has ended.
#[derive(Debug)]
pub(super) struct Ran(Output);

impl Ran {
    pub(super) fn exits(self, code: i32) -> Result<Self, String> {
        if self.0.code() == code {
            Ok(self)
        } else {
            Err(format!("expected status {code}: {}", self.0))
        }
    }

    pub(super) fn ok(self) -> Result<Self, String> {
        self.exits(0)
    }

    /// It failed, and said one of these, in any case.
    pub(super) fn fails_with(self, any_of: &[&str]) -> Result<(), String> {
        let said = format!("{}{}", self.0.stdout(), self.0.stderr()).to_lowercase();
        if self.0.success() {
            return Err(format!("it should have failed: {}", self.0));
        }
        if any_of.iter().any(|words| said.contains(words)) {
            return Ok(());
        }
        Err(format!("expected one of {any_of:?}: {}", self.0))
    }

    /// It ended well and printed exactly this.
    pub(super) fn prints(self, expected: &str) -> Result<(), String> {
        let ran = self.ok()?;
        if ran.text() == expected {
            Ok(())
        } else {
            Err(format!("expected {expected:?}: {}", ran.0))
        }
    }

    /// It ended well and printed all of these, among else.
    pub(super) fn shows(self, all_of: &[&str]) -> Result<(), String> {
        let ran = self.ok()?;
        let text = ran.text();
        match all_of.iter().find(|words| !text.contains(**words)) {
            None => Ok(()),
            Some(words) => Err(format!("{words:?} is missing: {}", ran.0)),
        }
    }

    /// Standard output without white space at its ends; a terminal's carriage returns are left out.
    pub(super) fn text(&self) -> String {
        self.0.stdout().replace('\r', "").trim().to_owned()
    }

    pub(super) fn error_text(&self) -> String {
        self.0.stderr().trim().to_owned()
    }
}
