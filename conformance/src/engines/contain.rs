//! Running ourselves again as part of a pid namespace whose end is the end of every daemon, shim and container in it.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::fixture::{cgroups, find_tool, unique_name};

/// The first process waits for orphans while it waits for us: a monitor that has ended must not look alive.
const FIRST_PROCESS: &str = r#""$@" & wait $!"#;

/// Executes this program with `args` and the name for cgroups, whose meaning is the caller's affair, in namespaces of its own,
/// and removes what is left of those cgroups afterwards.
///
/// # Errors
/// When it cannot be executed or does not end in time.
pub fn contain(args: &[OsString], limit: Duration) -> Result<ExitStatus, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let unshare = find_tool("unshare").ok_or("`unshare` is missing: it is part of util-linux")?;
    let name = unique_name();
    let setpriv = find_tool("setpriv").ok_or("`setpriv` is missing: it is part of util-linux")?;
    // Should this process be killed, so is everything that it contains.
    let mut child = Command::new(setpriv)
        .args(["--pdeathsig", "KILL"])
        .arg(unshare)
        .args(["--pid", "--fork", "--kill-child=KILL", "--mount", "--mount-proc"])
        .args(["sh", "-c", FIRST_PROCESS, "first"])
        .arg(program)
        .args(args)
        .arg(&name)
        .stdin(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|error| format!("cannot run `unshare`: {error}"))?;
    let ended = wait_within(&mut child, limit);
    if ended.is_none() {
        let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
    }
    // A paused container does not die before it is thawed, and keeps the pid namespace from ending.
    cgroups::destroy(&name);
    let _ = child.wait();
    ended.ok_or_else(|| format!("the engines are not done after {} s", limit.as_secs()))
}

fn wait_within(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let end = Instant::now() + limit;
    while Instant::now() < end {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    None
}
