//! Settings of cache and memory placement, and of the execution domain.

use oci_spec::runtime::{MemoryPolicyFlagType as Flag, MemoryPolicyModeType as Mode};

use super::lists::plain_ranges;
use super::{Check, Report, Subject, elements};

pub(super) const CHECKS: &[Check] = &[intel_rdt, memory_policy, personality];

/// The class's name becomes that of a directory, except that `/` is the root class; schemata are
/// lines, and "`memBwSchema` MUST start with `MB:`" (config-linux.md, intelRdt).
fn intel_rdt(subject: &Subject<'_>, report: &mut Report) {
    let Some(rdt) = subject.linux().and_then(|linux| linux.intel_rdt().as_ref()) else { return };
    const POINTER: &str = "/linux/intelRdt";
    let class = rdt.clos_id().as_deref().unwrap_or_default();
    if matches!(class, "." | "..") || (class.len() > 1 && class.contains('/')) {
        report.add(format!("{POINTER}/closID"), format!("`{class}` is not a name of a class"));
    }
    let one_line = |text: &str| !text.contains('\n');
    if let Some(schema) = rdt.l3_cache_schema().as_deref().filter(|schema| !one_line(schema)) {
        report.add(format!("{POINTER}/l3CacheSchema"), format!("`{schema}` is not one line"));
    }
    if let Some(schema) = rdt.mem_bw_schema().as_deref().filter(|schema| !schema.is_empty())
        && !(one_line(schema) && schema.starts_with("MB:"))
    {
        let message = format!("`{schema}` is not one line that starts with `MB:`");
        report.add(format!("{POINTER}/memBwSchema"), message);
    }
    for (index, schema) in elements(rdt.schemata()).filter(|(_, schema)| !one_line(schema)) {
        report.add(format!("{POINTER}/schemata/{index}"), format!("`{schema}` is not one line"));
    }
}

/// Which modes want nodes, which runc checks, and which flags go with what (set_mempolicy(2)).
fn memory_policy(subject: &Subject<'_>, report: &mut Report) {
    let policy = subject.linux().and_then(|linux| linux.memory_policy().as_ref());
    let Some(policy) = policy else { return };
    const POINTER: &str = "/linux/memoryPolicy";
    let nodes = policy.nodes().as_deref().unwrap_or_default();
    let mode = policy.mode();
    match (mode, plain_ranges(nodes).map(|ranges| ranges.len())) {
        (_, None) => {
            let message = format!("`{nodes}` is not a list such as `0-3,7`");
            report.add(format!("{POINTER}/nodes"), message);
        }
        (Mode::MpolDefault | Mode::MpolLocal, Some(1..)) => {
            report.add(format!("{POINTER}/nodes"), format!("mode `{mode}` takes no nodes"));
        }
        (Mode::MpolDefault | Mode::MpolLocal | Mode::MpolPreferred, _) | (_, Some(1..)) => {}
        (_, Some(0)) => {
            report.add(format!("{POINTER}/nodes"), format!("mode `{mode}` needs a node"));
        }
    }
    let has = |flag| policy.flags().as_ref().is_some_and(|flags| flags.contains(&flag));
    if has(Flag::MpolFStaticNodes) && has(Flag::MpolFRelativeNodes) {
        let message = "`MPOL_F_STATIC_NODES` and `MPOL_F_RELATIVE_NODES` exclude each other";
        report.add(format!("{POINTER}/flags"), message);
    }
    if has(Flag::MpolFNumaBalancing) && !matches!(mode, Mode::MpolBind | Mode::MpolPreferredMany) {
        let message = format!(
            "`MPOL_F_NUMA_BALANCING` is for `MPOL_BIND` and `MPOL_PREFERRED_MANY`, not for `{mode}`"
        );
        report.add(format!("{POINTER}/flags"), message);
    }
}

/// "Currently no flag values are supported" (config-linux.md, personality); runc goes on without.
fn personality(subject: &Subject<'_>, report: &mut Report) {
    let personality = subject.linux().and_then(|linux| linux.personality().as_ref());
    let flags = personality.and_then(|personality| personality.flags().as_ref());
    if flags.is_some_and(|flags| !flags.is_empty()) {
        report.warn("/linux/personality/flags", "no flag is supported; they are ignored");
    }
}
