//! What runtime-spec has and this version does not do: refused by name before anything is made, never skipped.

use super::Error;
use oci_spec::runtime::{Process, Spec};

/// Refuses a config.json that asks for one of them.
pub(super) fn refuse(spec: &Spec) -> Result<(), Error> {
    if let Some(process) = spec.process() {
        refuse_process("/process", process)?;
    }
    match asked(spec).first() {
        None => Ok(()),
        Some((pointer, what)) => {
            Err(Error::new(*pointer, format!("{what}, which this version of nrun cannot do")))
        }
    }
}

/// Refuses a process, at the pointer `at`, that asks for one of them.
pub(super) fn refuse_process(at: &str, process: &Process) -> Result<(), Error> {
    let set = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
    let asked = [
        (set(process.apparmor_profile()), "apparmorProfile", "an AppArmor profile"),
        (set(process.selinux_label()), "selinuxLabel", "an SELinux label"),
        (process.io_priority().is_some(), "ioPriority", "an I/O priority"),
        (process.scheduler().is_some(), "scheduler", "a scheduling policy"),
        (process.exec_cpu_affinity().is_some(), "execCPUAffinity", "CPU affinity"),
    ];
    match asked.iter().find(|(present, ..)| *present) {
        None => Ok(()),
        Some((_, field, what)) => Err(Error::new(
            format!("{at}/{field}"),
            format!("asks for {what}, which this version of nrun cannot do"),
        )),
    }
}

fn asked(spec: &Spec) -> Vec<(&'static str, &'static str)> {
    let mut asked = Vec::new();
    let mut note = |present: bool, pointer, what| {
        if present {
            asked.push((pointer, what));
        }
    };
    if let Some(linux) = spec.linux() {
        note(linux.intel_rdt().is_some(), "/linux/intelRdt", "asks for cache allocation");
        note(linux.personality().is_some(), "/linux/personality", "asks for a personality");
        note(linux.memory_policy().is_some(), "/linux/memoryPolicy", "asks for a memory policy");
        note(
            linux.net_devices().as_ref().is_some_and(|devices| !devices.is_empty()),
            "/linux/netDevices",
            "asks for network devices",
        );
    }
    asked
}
