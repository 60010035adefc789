//! How far a stage has got: its configuration and its arguments, and what each instruction makes of them.
//!
//! Pure. What touches files comes back as an [`Act`]; everything else is done when [`State::apply`] returns.

use super::cache::STEPS;
use super::dockerfile::{Fault, Flag, Heredoc, Instruction};
use super::mount::{self, Mount};
use super::stages::{Given, PREDEFINED, Plan, arguments, from_of};
use crate::change;
use crate::expand::{exec_form, expand, pairs, split};
use crate::path::clean;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

mod copy;

pub use copy::{Copy, Unpack};
pub(super) use copy::{file_name, is_url};

/// Where commands are looked for.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What an instruction is about besides the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Nothing that the image shows: ARG.
    Nothing,
    /// The configuration is another.
    Configured,
    /// A command is to be run.
    Run(Run),
    /// Files are to be copied.
    Copy(Copy),
    /// A directory is to be there.
    Directory(String),
}

/// RUN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The command.
    pub words: Vec<String>,
    /// The last of them is what a shell is to do.
    pub is_shell: bool,
    /// Arguments as variables of its environment.
    pub args: BTreeMap<String, String>,
    /// Proxies that nothing in the Dockerfile declares, and on which nothing depends.
    pub proxies: BTreeMap<String, String>,
    /// `--network`, if it is there.
    pub network: Option<String>,
    /// Each `--mount`
    pub mounts: Vec<Mount>,
    /// A here-document that names its interpreter, which is what `words` call.
    pub script: Option<Script>,
    /// `--security=insecure`
    pub insecure: bool,
}

/// A here-document that is a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// What it is called.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// Where a command finds a here-document that is a program.
pub const SCRIPTS: &str = "/dev/pipes";

/// A stage under way.
#[derive(Clone, Debug)]
pub struct State<'p> {
    /// The image's whole configuration, as it would be if the stage ended here.
    pub document: Value,
    args: BTreeMap<String, String>,
    command_was_set: bool,
    plan: &'p Plan,
    given: &'p Given,
}

type Result<T> = std::result::Result<T, String>;

impl<'p> State<'p> {
    /// A stage that begins with this configuration of an image, or of another stage.
    #[must_use]
    pub fn new(document: Value, plan: &'p Plan, given: &'p Given) -> Self {
        let mut document = document;
        if let Some(document) = document.as_object_mut() {
            let old = ["container", "container_config", "id", "parent", "parent_id"];
            for old in old.iter().chain(&["docker_version", STEPS]) {
                document.remove(*old);
            }
        }
        if !document["config"].is_object() {
            document["config"] = json!({});
        }
        Self { document, args: BTreeMap::new(), command_was_set: false, plan, given }
    }

    /// The same with the arguments of the stage that it begins with.
    #[must_use]
    pub fn with_args(self, args: BTreeMap<String, String>) -> Self {
        Self { args, ..self }
    }

    /// The arguments that it has by now.
    #[must_use]
    pub fn args(&self) -> &BTreeMap<String, String> {
        &self.args
    }

    /// The configuration of an image without files.
    #[must_use]
    pub fn scratch(os: &str, architecture: &str, variant: Option<&str>) -> Value {
        let mut document = json!({
            "architecture": architecture, "os": os, "created": "1970-01-01T00:00:00Z", "config": {},
            "rootfs": {"type": "layers", "diff_ids": []}, "history": [],
        });
        if let Some(variant) = variant {
            document["variant"] = variant.into();
        }
        document
    }

    /// Gives a stage the PATH that Docker gives to one whose base has none.
    pub fn provide_path(&mut self) {
        if !self.is_variable("PATH") {
            let slot = self.config().entry("Env").or_insert_with(|| json!([]));
            match slot.as_array_mut() {
                Some(list) => list.push(PATH.into()),
                None => *slot = json!([PATH]),
            }
        }
    }

    /// The triggers that the base image has left, which are no part of what is built.
    pub fn take_triggers(&mut self) -> Vec<String> {
        let triggers = self.config().remove("OnBuild");
        let texts = triggers.as_ref().and_then(Value::as_array).into_iter().flatten();
        texts.filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// Adds labels.
    pub fn label(&mut self, labels: &[(String, String)]) {
        for (name, value) in labels {
            self.object("Labels").insert(name.clone(), value.as_str().into());
        }
    }

    /// Does what an instruction says, as far as that is done by changing the configuration.
    pub fn apply(&mut self, step: &Instruction) -> Result<Act> {
        let rest = step.rest.as_str();
        match step.word.as_str() {
            "ARG" => self.declare(step)?,
            "RUN" => return self.run(step).map(Act::Run),
            "COPY" | "ADD" => return self.copy(step).map(Act::Copy),
            "WORKDIR" => {
                let directory = self.below_workdir(&self.expanded(rest)?);
                let directory = clean(&directory);
                self.set("WorkingDir", directory.clone());
                return Ok(Act::Directory(directory));
            }
            "ENV" => self.env(rest)?,
            "LABEL" => {
                let labels = pairs("LABEL", rest, self.plan.escape)?;
                let labels: Result<Vec<_>> = labels
                    .iter()
                    .map(|(name, value)| Ok((self.expanded(name)?, self.expanded(value)?)))
                    .collect();
                self.label(&labels?);
            }
            "CMD" => {
                self.change(&step.text())?;
                self.command_was_set = true;
            }
            "ENTRYPOINT" => {
                let command = self.config().get("Cmd").cloned();
                self.change(&step.text())?;
                // It makes the base image's command void, and not the stage's own.
                if let Some(command) = command.filter(|_| self.command_was_set) {
                    self.set("Cmd", command);
                }
            }
            "EXPOSE" => {
                let ports = self.expanded(rest)?;
                // Variables may have left nothing of them.
                if !ports.trim().is_empty() {
                    self.change(&format!("EXPOSE {ports}"))?;
                }
            }
            "VOLUME" => self.volume(rest)?,
            "USER" => self.set("User", self.expanded(rest)?),
            "STOPSIGNAL" => {
                let signal = self.expanded(rest)?;
                let parsed: std::result::Result<crate::cli::SignalNumber, _> = signal.parse();
                parsed.map_err(|_| format!("Invalid signal: {signal}"))?;
                self.set("StopSignal", signal);
            }
            "SHELL" => match exec_form(rest)?.filter(|words| !words.is_empty()) {
                Some(words) => self.set("Shell", words),
                None => return Err("SHELL requires the arguments to be in JSON form".to_owned()),
            },
            "MAINTAINER" => self.document["author"] = self.expanded(rest)?.into(),
            "ONBUILD" => {
                let trigger = with_heredocs(rest, &step.heredocs);
                self.change(&format!("ONBUILD {trigger}"))?;
            }
            // HEALTHCHECK, in which variables stay as they are.
            _ => self.change(&step.text())?,
        }
        Ok(if step.word == "ARG" { Act::Nothing } else { Act::Configured })
    }

    /// The command's environment, the image's variables before the arguments of the same name.
    fn lookup(&self, name: &str) -> Option<String> {
        let variables = self.document["config"]["Env"].as_array().into_iter().flatten();
        let variables = variables.filter_map(|text| text.as_str()?.split_once('='));
        let mut own = variables.filter(|(key, _)| *key == name);
        own.next().map(|(_, value)| value.to_owned()).or_else(|| self.args.get(name).cloned())
    }

    fn expanded(&self, text: &str) -> Result<String> {
        expand(text, self.plan.escape, &|name| self.lookup(name))
    }

    /// The configuration within the document.
    pub fn config(&mut self) -> &mut Map<String, Value> {
        if !self.document["config"].is_object() {
            self.document["config"] = json!({});
        }
        self.document["config"].as_object_mut().expect("it was made one")
    }

    fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.config().insert(key.to_owned(), value.into());
    }

    fn object(&mut self, key: &str) -> &mut Map<String, Value> {
        let slot = self.config().entry(key).or_insert_with(|| json!({}));
        if !slot.is_object() {
            *slot = json!({});
        }
        slot.as_object_mut().expect("it was made one")
    }

    fn change(&mut self, line: &str) -> Result<()> {
        change::apply(self.config(), &[line.to_owned()]).map_err(|error| error.to_string())
    }

    fn declare(&mut self, step: &Instruction) -> Result<()> {
        for (name, default) in arguments(step, self.plan.escape).map_err(|fault| fault.why)? {
            let value = match (self.given.args.get(&name), default) {
                (Some(given), _) => Some(given.clone()),
                (None, Some(default)) => Some(self.expanded(&default)?),
                (None, None) => self.plan.globals.get(&name).cloned(),
            };
            if let Some(value) = value {
                self.args.insert(name, value);
            }
        }
        Ok(())
    }

    fn env(&mut self, rest: &str) -> Result<()> {
        let mut set = Vec::new();
        // All of one instruction see what was there before it.
        for (name, value) in pairs("ENV", rest, self.plan.escape)? {
            let (name, value) = (self.expanded(&name)?, self.expanded(&value)?);
            if name.is_empty() {
                return Err(format!("invalid environment variable: ={value}"));
            }
            set.push((name, value));
        }
        let slot = self.config().entry("Env").or_insert_with(|| json!([]));
        if !slot.is_array() {
            *slot = json!([]);
        }
        let list = slot.as_array_mut().expect("it was made one");
        for (name, value) in set {
            let is_it = |old: &Value| {
                old.as_str().is_some_and(|old| old.split('=').next() == Some(name.as_str()))
            };
            let variable = Value::from(format!("{name}={value}"));
            match list.iter_mut().find(|old| is_it(old)) {
                Some(old) => *old = variable,
                None => list.push(variable),
            }
        }
        Ok(())
    }

    fn volume(&mut self, rest: &str) -> Result<()> {
        let paths = exec_form(rest)?.unwrap_or_else(|| split(rest, self.plan.escape));
        if paths.is_empty() {
            return Err("VOLUME requires at least one argument".to_owned());
        }
        for path in paths {
            let path = self.expanded(&path)?;
            if path.is_empty() {
                return Err("VOLUME specified can not be an empty string".to_owned());
            }
            self.object("Volumes").insert(path, json!({}));
        }
        Ok(())
    }

    fn below_workdir(&self, path: &str) -> String {
        let current = self.document["config"]["WorkingDir"].as_str().unwrap_or("/");
        if path.starts_with('/') { path.to_owned() } else { format!("{current}/{path}") }
    }

    fn run(&self, step: &Instruction) -> Result<Run> {
        let (mut network, mut mounts, mut insecure) = (None, Vec::new(), false);
        for flag in &step.flags {
            match (flag.name.as_str(), flag.value.as_deref()) {
                ("network", Some("default")) => {}
                ("network", Some(name @ ("none" | "host"))) => network = Some(name.to_owned()),
                ("security", Some("sandbox")) => insecure = false,
                ("security", Some("insecure")) => insecure = true,
                ("mount", Some(text)) => {
                    let agents = mounts.iter().filter(|mount| is_agent(mount)).count();
                    mounts.push(self.mount(text, agents)?);
                }
                _ => return Err(unknown(flag, "RUN")),
            }
        }
        let (words, script) = self.command(step)?;
        let is_shell = script.is_none() && exec_form(&step.rest)?.is_none();
        let own = |name: &&String| !self.is_variable(name);
        let args = self.args.iter().filter(|(name, _)| own(name)).map(pair).collect();
        let undeclared = |name: &&String| {
            PREDEFINED.contains(&name.as_str()) && !self.args.contains_key(*name) && own(name)
        };
        let proxies = self.given.args.iter().filter(|(name, _)| undeclared(name)).map(pair);
        let proxies = proxies.collect();
        Ok(Run { words, is_shell, args, proxies, network, mounts, script, insecure })
    }

    fn mount(&self, text: &str, agents: usize) -> Result<Mount> {
        let expanded = self.expanded(text)?;
        // Which stages are built was decided before variables had values.
        if from_of(text) != from_of(&expanded) {
            return Err(
                "'from' doesn't support variable expansion, define alias stage instead".to_owned()
            );
        }
        mount::parse(&expanded, &self.below_workdir(""), agents)
    }

    /// The command, and the here-document that it calls if it does.
    fn command(&self, step: &Instruction) -> Result<(Vec<String>, Option<Script>)> {
        match exec_form(&step.rest)? {
            Some(words) if words.is_empty() => return Err("RUN has no command".to_owned()),
            Some(words) => return Ok((words, None)),
            None => {}
        }
        let only = only_heredoc(&step.rest, &step.heredocs);
        if let Some(only) = only.filter(|only| only.text.starts_with("#!")) {
            let script = Script { name: only.name.clone(), text: only.text.clone() };
            return Ok((vec![format!("{SCRIPTS}/{}", only.name)], Some(script)));
        }
        let shell = self.document["config"]["Shell"].as_array().into_iter().flatten();
        let mut words: Vec<String> = shell.filter_map(Value::as_str).map(str::to_owned).collect();
        if words.is_empty() {
            words = vec!["/bin/sh".to_owned(), "-c".to_owned()];
        }
        // The shell's business are here-documents, but for one that is all there is.
        words.push(match only {
            Some(only) => only.text.clone(),
            None => with_heredocs(&step.rest, &step.heredocs),
        });
        Ok((words, None))
    }

    fn is_variable(&self, name: &str) -> bool {
        let variables = self.document["config"]["Env"].as_array().into_iter().flatten();
        let mut names = variables.filter_map(|text| text.as_str()?.split('=').next());
        names.any(|own| own == name)
    }
}

fn pair((name, value): (&String, &String)) -> (String, String) {
    (name.clone(), value.clone())
}

fn unknown(flag: &Flag, word: &str) -> String {
    match &flag.value {
        Some(value) => format!("{word} --{}={value} is not supported", flag.name),
        None => format!("{word} --{} is not supported", flag.name),
    }
}

fn is_agent(mount: &Mount) -> bool {
    matches!(mount.what, mount::What::Ssh { .. })
}

/// What is wrong with the first instruction of the needed stages that cannot be right, whatever comes before it: that is told before
/// anything is made. What depends on variables is known when their turn has come.
pub fn check(plan: &Plan, given: &Given) -> std::result::Result<(), Fault> {
    let steps = plan.order.iter().flat_map(|at| &plan.stages[*at].steps);
    for step in steps.filter(|step| !step.has_variables()) {
        // In which directory, the image says: in any but the root, of which some things are refused.
        let image = json!({"config": {"WorkingDir": "/somewhere"}});
        let applied = State::new(image, plan, given).apply(step);
        applied.map_err(|why| Fault::new(step.line, format!("{}: {why}", step.title())))?;
    }
    Ok(())
}

/// A here-document that is all there is.
fn only_heredoc<'h>(rest: &str, heredocs: &'h [Heredoc]) -> Option<&'h Heredoc> {
    match heredocs {
        [only] if only.word == rest.trim() => Some(only),
        _ => None,
    }
}

fn with_heredocs(rest: &str, heredocs: &[Heredoc]) -> String {
    let bodies = heredocs.iter().map(|heredoc| format!("\n{}{}", heredoc.text, heredoc.name));
    format!("{rest}{}", bodies.collect::<String>())
}

#[cfg(test)]
mod tests;
