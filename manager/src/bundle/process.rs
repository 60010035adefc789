//! The process: ids, environment, limits, privileges.

use super::{Built, Confinement, Inputs, capabilities};
use crate::container::Ulimit;
use crate::passwd::Identity;
use crate::{oom_score, supervise};
use oci_spec::runtime::{
    Capabilities, PosixRlimit, PosixRlimitBuilder, PosixRlimitType, Process, ProcessBuilder,
    UserBuilder,
};

/// What a container without a PATH of its own gets, as in Docker.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Docker's limit of open files, where the host allows it.
const OPEN_FILES: u64 = 1024 * 1024;

pub(super) fn plan(
    inputs: &Inputs<'_>,
    confinement: &Confinement,
    set: &Capabilities,
) -> Built<Process> {
    let record = inputs.record;
    let directory = Some(record.config.working_dir.as_str()).filter(|path| !path.is_empty());
    let mut identity = inputs.identity.clone();
    for group in &inputs.found.edits.groups {
        if !identity.groups.contains(group) {
            identity.groups.push(*group);
        }
    }
    let mut process = ProcessBuilder::default()
        .terminal(record.attachment.terminal)
        .user(process_user(&identity)?)
        .args(supervise::command(record))
        .env(environment(inputs))
        .cwd(directory.unwrap_or("/"))
        .capabilities(capabilities::sets(set))
        .rlimits(limits(inputs)?)
        .no_new_privileges(confinement.no_new_privileges)
        .oom_score_adj(oom_score_adj(inputs))
        .build()?;
    if let Some((rows, columns)) = inputs.window.filter(|_| record.attachment.terminal) {
        process.set_console_size(Some(console_size(rows, columns)?));
    }
    process.set_apparmor_profile(record.apparmor.clone());
    let label = record.selinux.as_ref().map(|labels| labels.process.clone());
    process.set_selinux_label(label.filter(|label| !label.is_empty()));
    Ok(process)
}

fn oom_score_adj(inputs: &Inputs<'_>) -> i32 {
    let asked = inputs.record.host_config.oom_score_adj;
    inputs.host.namespace.map_or(asked, |facts| oom_score::had(asked, facts.oom_score_adj))
}

fn limits(inputs: &Inputs<'_>) -> Built<Vec<PosixRlimit>> {
    let number = |limit: i64| u64::try_from(limit).unwrap_or(u64::MAX);
    let limit =
        |kind, soft, hard| PosixRlimitBuilder::default().typ(kind).soft(soft).hard(hard).build();
    let asked = &inputs.record.host_config.limits.ulimits;
    let mut limits = Vec::new();
    if !asked.iter().any(|limit| limit.name == "nofile") {
        let files = inputs.host.open_files.min(OPEN_FILES);
        limits.push(limit(PosixRlimitType::RlimitNofile, files, files)?);
    }
    for Ulimit { name, soft, hard } in asked {
        if let Ok(kind) = format!("RLIMIT_{}", name.to_uppercase()).parse() {
            limits.push(limit(kind, number(*soft), number(*hard))?);
        }
    }
    Ok(limits)
}

/// The ids of a process in the runtime's terms.
pub fn process_user(identity: &Identity) -> Built<oci_spec::runtime::User> {
    UserBuilder::default()
        .uid(identity.uid)
        .gid(identity.gid)
        .additional_gids(identity.groups.clone())
        .build()
}

/// A terminal's size in the runtime's terms.
pub fn console_size(rows: u16, columns: u16) -> Built<oci_spec::runtime::Box> {
    oci_spec::runtime::BoxBuilder::default().height(rows).width(columns).build()
}

/// Docker's order: our own defaults, the image's, the command line's; a later one replaces an earlier in its place.
fn environment(inputs: &Inputs<'_>) -> Vec<String> {
    let record = inputs.record;
    let mut env = vec![("PATH".to_owned(), DEFAULT_PATH.to_owned())];
    set(&mut env, "HOSTNAME", &record.network.hostname);
    if record.attachment.terminal {
        set(&mut env, "TERM", "xterm");
    }
    for variable in record.config.env.iter().chain(&inputs.found.edits.env) {
        match variable.split_once('=') {
            Some((name, value)) => set(&mut env, name, value),
            None => env.retain(|(known, _)| known != variable),
        }
    }
    if !env.iter().any(|(name, _)| name == "HOME") {
        set(&mut env, "HOME", &inputs.identity.home);
    }
    env.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

/// Applies `-e` options to an environment: a value sets, none takes away.
pub fn change(env: &mut Vec<(String, String)>, changes: &[(String, Option<String>)]) {
    for (name, value) in changes {
        match value {
            Some(value) => set(env, name, value),
            None => env.retain(|(known, _)| known != name),
        }
    }
}

fn set(env: &mut Vec<(String, String)>, name: &str, value: &str) {
    match env.iter_mut().find(|(known, _)| known == name) {
        Some((_, old)) => value.clone_into(old),
        None => env.push((name.to_owned(), value.to_owned())),
    }
}
