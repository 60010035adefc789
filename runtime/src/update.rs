//! `nrun update`: changes the limits of a container.
//!
//! What is asked for is laid over what the container has, the difference is written, and the result is kept in the state's
//! config.json: the next update starts from it.

mod resources;

use crate::cgroup::{self, Change};
use crate::cli::Parsed;
use crate::create;
use crate::error::{Error, Result};
use crate::id::ContainerId;
use crate::log;
use crate::record::{self, Record};
use crate::state::Status;
use serde_json::Value;

/// Changes the limits. All of them, or none.
///
/// # Errors
/// When the container does not run, a limit is none, or cannot be set.
pub fn run(parsed: &Parsed) -> Result<()> {
    let id = ContainerId::new(&parsed.operands[0])?;
    let root = create::root(parsed);
    record::peek(&root, &id)?;
    // Before the lock is taken: whoever writes to our standard input may take long.
    let (asked, warnings) = resources::asked(parsed)?;
    refuse_intel_rdt(parsed)?;
    let record = Record::open(&root, &id)?;
    if Status::of(&record.saved, record.awaits_start())? == Status::Stopped {
        return Err(Error::State(format!("cannot update container `{id}`: container not running")));
    }
    warnings.iter().for_each(|warning| log::warning(warning));
    let mut config = record.config()?;
    let old = config.pointer(POINTER).cloned().unwrap_or_default();
    let new = resources::merge(&old, &asked);
    apply(&record, &old, &new, &asked)?;
    keep(&mut config, new);
    record.replace_config(&config)
}

/// Where a container's limits are in its config.json.
const POINTER: &str = "/linux/resources";

fn apply(record: &Record, old: &Value, new: &Value, asked: &Value) -> Result<()> {
    let own = record.cgroup();
    let change = Change {
        old: &resources::typed(old).unwrap_or_default(),
        new: &resources::typed(new)?,
        asked: &|pointer| resources::names(asked, pointer),
    };
    let plan = cgroup::plan_update(&change, own.paths(), &own.controllers()?)?;
    Ok(own.update(&plan)?)
}

fn keep(config: &mut Value, resources: Value) {
    if let Value::Object(config) = config {
        let linux = config.entry("linux").or_insert_with(|| Value::Object(Default::default()));
        if let Value::Object(linux) = linux {
            linux.insert("resources".into(), resources);
        }
    }
}

/// Cache and bandwidth allocation, in runc's words for a host without it.
fn refuse_intel_rdt(parsed: &Parsed) -> Result<()> {
    let given = |name| parsed.value(name).is_some_and(|schema| !schema.is_empty());
    for (name, text) in [
        ("l3-cache-schema", "Intel RDT/CAT: l3 cache schema is not enabled"),
        ("mem-bw-schema", "Intel RDT/MBA: memory bandwidth schema is not enabled"),
    ] {
        if given(name) {
            return Err(Error::Usage(text.into()));
        }
    }
    Ok(())
}
