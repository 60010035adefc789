//! `nman update`: other limits for containers, now and from the next start on, and another restart policy, which the monitor reads
//! when the container has ended.
//!
//! The record's limits are changed, what they make of the cgroup is planned anew, and the whole of that is written to
//! config.json and handed to the runtime of a container that runs. The runtime comes first: what it refuses is not recorded.

use crate::bundle::host::HostFacts;
use crate::bundle::{amend, resources};
use crate::cli::{LimitArgs, UpdateArgs};
use crate::container::{Containers, Record, RestartPolicy};
use crate::error::{Error, Result};
use crate::event::emit_container;
use crate::runtime::Runtime;
use crate::settings::Settings;
use oci_spec::runtime::LinuxResources;

/// Updates each of the named containers; returns the names of those that are, and what went wrong.
pub fn update(
    settings: &Settings,
    args: &UpdateArgs,
    warn: &mut dyn FnMut(&str),
) -> Result<(Vec<String>, Vec<Error>)> {
    if args.restart.is_none() && args.limits == LimitArgs::default() {
        return Err(Error::WrongState {
            message: "you must provide one or more flags when using this command".to_owned(),
            hint: Some("`nman update --help` shows them".to_owned()),
        });
    }
    let containers = Containers::open(&settings.containers())?;
    let host = HostFacts::of_caller(settings);
    let (mut done, mut errors) = (Vec::new(), Vec::new());
    for name in &args.names {
        match apply(settings, &containers, name, args, &host) {
            Ok(warnings) => {
                warnings.iter().for_each(|warning| warn(warning));
                done.push(name.clone());
            }
            Err(error) => errors.push(error),
        }
    }
    Ok((done, errors))
}

fn apply(
    settings: &Settings,
    containers: &Containers,
    name: &str,
    args: &UpdateArgs,
    host: &HostFacts,
) -> Result<Vec<String>> {
    let dir = containers.find(name)?;
    // Before the first look: of two at once, the second begins with what the first has made of the limits.
    let _changes = dir.lock_changes_to("update", name)?;
    let record = dir.record()?;
    check_policy(&record, args)?;
    if !record.has_cgroup() && args.limits != LimitArgs::default() {
        return Err(record.lacks_cgroup("limit"));
    }
    let mut limits = record.host_config.limits.clone();
    args.limits.apply(&mut limits);
    check_swap(&record.host_config.limits, args)?;
    let warnings = resources::adapt(&mut limits, host)?;
    let numbers = resources::numbers(&limits)?;
    let mut planned = resources::plan(&limits, &numbers, host, true);
    if dir.state()?.status.has_process() && record.has_cgroup() {
        Runtime::new(&record.runtime, settings).update(&record.id, &planned)?;
    }
    containers.change(&dir, |record| {
        // First what the next start reads, then what `inspect` shows and the next update begins with.
        amend(record, &dir, |spec| {
            let linux = spec.linux_mut().get_or_insert_default();
            let old: Option<&LinuxResources> = linux.resources().as_ref();
            planned.set_devices(old.and_then(|resources| resources.devices().clone()));
            linux.set_resources(Some(planned));
            true
        })?;
        record.host_config.limits = limits;
        record.supervision.restart = args.restart.unwrap_or(record.supervision.restart);
        Ok(())
    })?;
    emit_container(settings, &record, "update", &[]);
    Ok(warnings)
}

/// What removes itself when it ends is not started again.
fn check_policy(record: &Record, args: &UpdateArgs) -> Result<()> {
    if record.remove && args.restart.is_some_and(|policy| policy != RestartPolicy::No) {
        return Err(Error::refusal(format!(
            "Cannot update container {}: Restart policy cannot be updated because AutoRemove is enabled for the container",
            record.id
        )));
    }
    Ok(())
}

/// Docker's rule: a limit of memory that is raised above that of memory and swap needs both.
fn check_swap(old: &crate::container::Limits, args: &UpdateArgs) -> Result<()> {
    let memory = args.limits.memory.map_or(0, |memory| memory.0);
    if args.limits.memory_swap.is_none() && old.memory_swap > 0 && memory > old.memory_swap {
        return Err(Error::Usage(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time"
                .to_owned(),
        ));
    }
    Ok(())
}
