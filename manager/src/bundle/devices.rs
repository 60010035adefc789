//! What a container may do with devices, and the hooks that CDI's specifications bring.

use super::{Built, defaults};
use crate::container::HostConfig;
use crate::device::Found;
use crate::device::cdi::Edits;
use oci_spec::runtime::{
    Hook, HookBuilder, Hooks, LinuxDeviceCgroup, LinuxDeviceCgroupBuilder, LinuxDeviceType,
};

/// Docker's rules, then the devices that were given, then the rules that were typed. A privileged container may do anything.
pub(super) fn rules(config: &HostConfig, found: &Found) -> Built<Vec<LinuxDeviceCgroup>> {
    if config.privileged {
        return Ok(vec![LinuxDeviceCgroupBuilder::default().allow(true).access("rwm").build()?]);
    }
    let mut rules = defaults::device_rules()?;
    for device in &found.devices {
        let mut rule = LinuxDeviceCgroup::from(&device.node);
        rule.set_access(Some(device.access.clone()));
        rules.push(rule);
    }
    for text in &config.device_cgroup_rules {
        rules.extend(rule(text));
    }
    Ok(rules)
}

/// `c 10:200 rwm`, which was checked when it was typed.
fn rule(text: &str) -> Option<LinuxDeviceCgroup> {
    let mut words = text.split(' ');
    let kind = match words.next()? {
        "a" => LinuxDeviceType::A,
        "b" => LinuxDeviceType::B,
        _ => LinuxDeviceType::C,
    };
    let (major, minor) = words.next()?.split_once(':')?;
    let mut rule = LinuxDeviceCgroup::default();
    rule.set_allow(true);
    rule.set_typ(Some(kind));
    rule.set_major(major.parse().ok());
    rule.set_minor(minor.parse().ok());
    rule.set_access(words.next().map(str::to_owned));
    Some(rule)
}

/// The hooks, if there are any.
pub(super) fn hooks(edits: &Edits) -> Built<Option<Hooks>> {
    if edits.hooks.is_empty() {
        return Ok(None);
    }
    let of = |name: &str| -> Built<Option<Vec<Hook>>> {
        let wanted = edits.hooks.iter().filter(|hook| hook.hook_name == name);
        let hook = |hook: &crate::device::cdi::Hook| {
            let mut planned = HookBuilder::default().path(hook.path.clone()).build()?;
            planned.set_args(Some(hook.args.clone()).filter(|args| !args.is_empty()));
            planned.set_env(Some(hook.env.clone()).filter(|env| !env.is_empty()));
            planned.set_timeout(hook.timeout);
            Ok(planned)
        };
        let list: Vec<Hook> = wanted.map(hook).collect::<Built<_>>()?;
        Ok(Some(list).filter(|list| !list.is_empty()))
    };
    let mut hooks = Hooks::default();
    hooks.set_prestart(of("prestart")?);
    hooks.set_create_runtime(of("createRuntime")?);
    hooks.set_create_container(of("createContainer")?);
    hooks.set_start_container(of("startContainer")?);
    hooks.set_poststart(of("poststart")?);
    hooks.set_poststop(of("poststop")?);
    Ok(Some(hooks))
}
