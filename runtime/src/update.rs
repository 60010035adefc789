//! `nrun update`: changes the limits of a container.
//!
//! What is asked for is laid over what the container has, the difference is written, and the result is kept in the state's
//! config.json: the next update starts from it.

mod merge;
mod resources;

use crate::args;
use crate::cgroup::{self, Change, systemd};
use crate::cli::Parsed;
use crate::error::{Error, Result};
use crate::id::ContainerId;
use crate::intel_rdt;
use crate::log;
use crate::record::{self, Record};
use crate::state::Status;
use oci_spec::runtime::LinuxResources;
use serde_json::Value;

/// Changes the limits. All of them, or none.
///
/// # Errors
/// When the container does not run, a limit is none, or cannot be set.
pub fn run(parsed: &Parsed) -> Result<()> {
    let id = ContainerId::new(&parsed.operands[0])?;
    let root = args::root(parsed);
    record::peek(&root, &id)?;
    // Before the lock is taken: whoever writes to our standard input may take long.
    let (asked, warnings) = resources::asked(parsed)?;
    let record = Record::open(&root, &id)?;
    let class = intel_rdt::Change::asked(
        record.saved.intel_rdt.as_ref(),
        parsed.value("l3-cache-schema"),
        parsed.value("mem-bw-schema"),
    )?;
    if Status::of(&record.saved, record.awaits_start())? == Status::Stopped {
        return Err(Error::State(format!("cannot update container `{id}`: container not running")));
    }
    warnings.iter().for_each(|warning| log::warning(warning));
    let mut config = record.config()?;
    let old = config.pointer(POINTER).cloned().unwrap_or_default();
    let new = merge::merge(&old, &asked);
    keep(&mut config, new.clone());
    // Limits that are in force and nowhere noted would mislead the next update.
    record.prepare_config(&config)?;
    // The class first: what it was is known in one word, should the limits be refused.
    let former = class.as_ref().map(intel_rdt::Change::make).transpose()?;
    let kept = apply(&record, &old, &new, &asked)
        .and_then(|before| record.replace_config().inspect_err(|_| before.put_back(&record)));
    kept.inspect_err(|_| {
        if let (Some(class), Some(former)) = (&class, &former) {
            class.take_back(former);
        }
    })
}

/// Where a container's limits are in its config.json.
const POINTER: &str = "/linux/resources";

/// The limits as they were.
struct Before {
    files: cgroup::Former,
    /// For systemd's unit, where there is one.
    resources: LinuxResources,
}

impl Before {
    /// What failed is told, and not what cannot be put back then.
    fn put_back(self, record: &Record) {
        let _ = self.files.put_back();
        if let Some(unit) = &record.saved.unit {
            let _ = systemd::set_resources(unit, &self.resources, unified(record));
        }
    }
}

fn unified(record: &Record) -> bool {
    record.saved.cgroups.legacy().is_empty()
}

fn apply(record: &Record, old: &Value, new: &Value, asked: &Value) -> Result<Before> {
    let place = |pointer: &str| merge::in_document(asked, new, pointer);
    let typed = (resources::typed(old).unwrap_or_default(), resources::typed(new)?);
    Ok(change(record, typed, asked).map_err(|error| error.in_document(&place))?)
}

fn change(
    record: &Record,
    (mut old, mut new): (LinuxResources, LinuxResources),
    asked: &Value,
) -> std::result::Result<Before, cgroup::Error> {
    let own = record.cgroup();
    if record.saved.unit.is_some() {
        systemd::round_quota(&mut old);
        systemd::round_quota(&mut new);
    }
    let change = Change {
        old: &old,
        new: &new,
        asked: &|pointer| resources::names(asked, pointer),
        in_unit: record.saved.unit.is_some(),
    };
    let plan = cgroup::plan_update(&change, own.paths(), &own.controllers()?)?;
    if (change.asked)("/memory/limit") || (change.asked)("/memory/swap") {
        cgroup::check_memory(change.new, own.paths())?;
    }
    // systemd first: it writes to the files, too, and not all that we do.
    let unit = record.saved.unit.as_ref();
    unit.map_or(Ok(()), |unit| systemd::set_resources(unit, change.new, unified(record)))?;
    let files = own.update(&plan).inspect_err(|_| {
        // The files have their former values again; what systemd says is of less use than why they have.
        let _ = unit.map(|unit| systemd::set_resources(unit, change.old, unified(record)));
    })?;
    Ok(Before { files, resources: old })
}

fn keep(config: &mut Value, resources: Value) {
    if let Value::Object(config) = config {
        let linux = config.entry("linux").or_insert_with(|| Value::Object(Default::default()));
        if let Value::Object(linux) = linux {
            linux.insert("resources".into(), resources);
        }
    }
}
