//! Deciding how a further process enters a running container.
//!
//! The same steps for privileges as the container's own process, behind the ones that enter its namespaces.

use super::hooks::ByParent;
use super::namespaces::Shape;
use super::op::{Barrier, Op, Step};
use super::{Error, Plan, attributes, c_string, console, process, seccomp};
use crate::host::Host;
use oci_spec::runtime::{Linux, LinuxSeccomp, Process};
use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use sys::namespace::Kinds;

/// What the container and the command line add to the process.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    /// The container's id.
    pub id: &'a str,
    /// The file that describes the process.
    pub document: &'static str,
    /// JSON pointer of the process in it.
    pub at: &'a str,
    /// The namespaces of the container's init that we are not in.
    pub namespaces: Kinds,
    /// The container's root file system on the host.
    pub rootfs: &'a Path,
    /// Execution domain and memory policy of the container.
    pub linux: Option<&'a Linux>,
    /// The container's seccomp profile.
    pub seccomp: Option<&'a LinuxSeccomp>,
    /// The container's annotations.
    pub annotations: &'a HashMap<String, String>,
    /// `--preserve-fds`
    pub preserve_fds: u32,
    /// Only systemd may put a process into the container's cgroup.
    pub by_systemd: bool,
    /// The container is at its limit of processes: the cgroup is entered after the last fork, by our parent. The kernel counts what is
    /// forked in a cgroup, and lets everybody move in (cgroup-v2.rst, "PID").
    pub at_limit: bool,
    /// The container's processes share a session keyring of their own.
    pub new_keyring: bool,
}

/// Plans a process in a running container.
///
/// # Errors
/// For what cannot be done, naming its place.
pub fn exec(
    process: &Process,
    host: &Host,
    options: &Options<'_>,
) -> Result<Plan, crate::error::Error> {
    let own = |error: Error| error.of_process(options.document);
    let mut steps = enter(process, host, options).map_err(own)?;
    let filter = options.seccomp.map(|profile| seccomp::compile_for(profile, host)).transpose()?;
    // The parent keeps the privileges over the host that the container's user namespace takes away.
    let (by_parent, by_child) = match host.privileged() && options.namespaces.contains(Kinds::USER)
    {
        true => (attributes::scheduling(process, options.at).map_err(own)?, Vec::new()),
        false => (Vec::new(), attributes::scheduling(process, options.at).map_err(own)?),
    };
    steps.extend(by_child);
    steps.extend(attributes::execution(options.linux, host)?);
    let rights = process::Rights::of(host, options.namespaces.contains(Kinds::USER))
        .with(Some(options.annotations));
    let mut privileges = process::privileges(process, &rights, options.at).map_err(own)?;
    if filter.is_some() && !process.no_new_privileges().unwrap_or(false) {
        process::keep_sys_admin(&mut privileges);
    }
    let first = options.preserve_fds.saturating_add(3);
    steps.push(Step { op: Op::CloseSetUp { first }, pointer: String::new() });
    steps.extend(privileges);
    steps.push(process::find_executable(process, options.at).map_err(own)?);
    steps.extend(process::last_rlimit(process, 0, options.at));
    let mut push = |op, pointer: &str| steps.push(Step { op, pointer: pointer.to_owned() });
    push(Op::Wait(Barrier::Ready), "");
    push(Op::CloseFds { first }, "");
    if let Some(filter) = filter {
        push(filter.into(), "/linux/seccomp");
    }
    steps.push(process::exec(process, options.at, &[])?);
    Ok(Plan {
        id: options.id.to_owned(),
        warnings: process::warnings(process, &rights, options.document, options.at),
        document: options.document,
        namespaces: options.namespaces,
        shape: Shape {
            clone: Kinds::NONE,
            stage: options.namespaces.contains(Kinds::PID).then_some(Kinds::NONE),
        },
        cgroup: None,
        intel_rdt: None,
        id_maps: None,
        by_parent: Vec::new(),
        scheduled_by_parent: by_parent,
        net_devices: Vec::new(),
        hooks: ByParent::default(),
        files: 0,
        sources: Vec::new(),
        steps,
    })
}

/// The steps that lead into the container: its cgroup, its namespaces, its terminal and its keyring.
fn enter(process: &Process, host: &Host, options: &Options<'_>) -> Result<Vec<Step>, Error> {
    let mut steps = Vec::with_capacity(32);
    // With the host's privileges, which the container's user namespace takes away.
    let (initial, last) = attributes::affinity(process, options.at)?;
    steps.extend(initial);
    let by_parent = options.by_systemd || options.at_limit;
    let cgroup = if by_parent { Op::Wait(Barrier::Cgroup) } else { Op::JoinCgroup };
    let cgroup = [Step { op: cgroup, pointer: String::new() }].into_iter().chain(last);
    let (first, late) = if options.at_limit { (None, Some(cgroup)) } else { (Some(cgroup), None) };
    steps.extend(first.into_iter().flatten());
    steps.extend(attributes::labels(process, host, options.at)?);
    if let Some(score) = process.oom_score_adj() {
        let op = Op::WriteProc {
            path: c"/proc/self/oom_score_adj".to_owned(),
            value: score.to_string(),
        };
        steps.push(Step { op, pointer: format!("{}/oomScoreAdj", options.at) });
    }
    steps.extend(process::rlimits(process, 0, options.at));
    let mut push = |op, pointer: &str| steps.push(Step { op, pointer: pointer.to_owned() });
    // Before anybody in the container can see us (CVE-2016-9962).
    push(Op::NotDumpable, "");
    push(Op::JoinInit { kinds: options.namespaces }, "");
    // A joined pid namespace takes effect for children only.
    if options.namespaces.contains(Kinds::PID) {
        push(Op::Fork { namespaces: Kinds::NONE }, "");
    }
    steps.extend(late.into_iter().flatten());
    let mut push = |op, pointer: &str| steps.push(Step { op, pointer: pointer.to_owned() });
    if options.namespaces.contains(Kinds::USER) {
        // The container's processes see us from here on, and its root is who we become: never traceable in between.
        push(Op::NamespaceRoot { dumpable: false }, "");
    }
    push(Op::NewSession, "");
    if !options.namespaces.contains(Kinds::MOUNT) {
        // No mount namespace has brought us below the container's root: without this we would be on the host's.
        push(Op::Chroot { path: c_string(options.rootfs.as_os_str().as_bytes(), "")? }, "");
    }
    if process.terminal().unwrap_or(false) {
        push(Op::OpenRoot, "");
        push(Op::Console(console(process, false)), &format!("{}/terminal", options.at));
    }
    if options.new_keyring {
        push(Op::Keyring(c_string(format!("_ses.{}", options.id).as_bytes(), "")?), "");
    }
    Ok(steps)
}
