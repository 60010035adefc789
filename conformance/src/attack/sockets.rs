//! Class K: what somebody else on the machine gets at while a container waits to be started.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::Verdict;
use super::cases::{not_tried, start};
use crate::fixture::{BundleDir, Capture, Runtime, scratch_dir, unique_name};

/// The state root, which the runtime makes itself where everybody may go: a stranger must find nothing there to read, to write
/// to or to connect to.
pub(super) fn open_state(runtime: &Runtime) -> Verdict {
    let directory = scratch_dir();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
    let (root, id) = (directory.path().join("state"), unique_name());
    let call = |words: &[&Path]| {
        Capture::of(runtime.program()).args([Path::new("--root"), &root]).args(words).try_run()
    };
    let bundle = BundleDir::new().args(["sleep", "600"]);
    let created = call(&["create".as_ref(), "--bundle".as_ref(), bundle.path(), Path::new(&id)]);
    let found = Capture::of("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "find"])
        .args([&root])
        .args(["(", "-type", "d", "-writable", "-o", "!", "-type", "d"])
        .args(["(", "-readable", "-o", "-writable", ")", ")", "-ls"])
        .try_run();
    let _ = call(&["delete".as_ref(), "--force".as_ref(), Path::new(&id)]);
    match (created, found) {
        (Ok(created), _) if !created.success() => not_tried(created.to_string()),
        (Ok(_), Ok(found)) if found.stdout().is_empty() => Verdict::Safe,
        (Ok(_), Ok(found)) => Verdict::Broken(format!("a stranger gets at\n{}", found.text())),
        (Err(why), _) | (_, Err(why)) => not_tried(why),
    }
}

/// A socket with an abstract name is in reach of every container that has the host's network, whatever its user is.
pub(super) fn abstract_sockets(runtime: &Runtime) -> Verdict {
    let before = abstract_names();
    let bundle = BundleDir::new().without_namespace("network").args(["sleep", "600"]);
    let created = runtime.bundle_call("create", &bundle, [""; 0], &runtime.new_id()).try_run();
    let waiting = abstract_names();
    match created.and_then(|created| start(runtime, &bundle).map(|_| created)) {
        Ok(created) if !created.success() => not_tried(created.to_string()),
        Ok(_) => match waiting.union(&abstract_names()).find(|name| !before.contains(*name)) {
            Some(name) => Verdict::Broken(format!("it listens on the abstract name {name}")),
            None => Verdict::Safe,
        },
        Err(why) => not_tried(why),
    }
}

/// The abstract names of the network namespace of this thread, in which `@` stands for the first byte (proc_net(5)).
fn abstract_names() -> BTreeSet<String> {
    let table = fs::read_to_string("/proc/thread-self/net/unix").unwrap_or_default();
    let name = |line: &str| line.split_ascii_whitespace().nth(7).map(str::to_owned);
    table.lines().filter_map(name).filter(|name| name.starts_with('@')).collect()
}
