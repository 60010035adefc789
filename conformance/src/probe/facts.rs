//! What a process is and sees, read from /proc and by system calls.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use rustix::process::getrlimit;
use serde_json::{Map, Value, json};

use super::tables::{LIMITS, capabilities};
use super::text;

/// Everything, as one object. A key is left out, or `null`, where the container shows nothing of it.
pub(super) fn report(args: &[OsString]) -> Value {
    let status = status();
    let ids = |key: &str| -> Vec<u32> { numbers(status.get(key)) };
    let caps = |key: &str| status.get(key).map(|mask| capabilities(mask));
    let stat = stat_fields();
    let field = |number: usize| -> Option<i64> { stat.get(number.checked_sub(3)?)?.parse().ok() };
    let mut all = json!({
        "args": args.iter().map(lossy).collect::<Vec<_>>(),
        "env": std::env::vars_os().map(|(name, value)| format!("{}={}", lossy(&name), lossy(&value))).collect::<Vec<_>>(),
        "cwd": std::env::current_dir().ok().map(|path| path.display().to_string()),
        "pid": std::process::id(),
        "ppid": field(4),
        // 0 where the leader is outside the pid namespace.
        "session": field(6),
        "uids": ids("Uid"),
        "gids": ids("Gid"),
        "groups": ids("Groups"),
        "umask": status.get("Umask"),
        "capabilities": {
            "inheritable": caps("CapInh"), "permitted": caps("CapPrm"), "effective": caps("CapEff"),
            "bounding": caps("CapBnd"), "ambient": caps("CapAmb")
        },
        "noNewPrivileges": status.get("NoNewPrivs").map(|value| value == "1"),
        "seccomp": status.get("Seccomp"),
        "seccompFilters": status.get("Seccomp_filters"),
        "nice": field(19),
        "realtimePriority": field(40),
        "policy": field(41),
    });
    let more = json!({
        "limits": limits(),
        "namespaces": links("/proc/self/ns"),
        "mounts": mounts(),
        "devices": devices(),
        "fds": links("/proc/self/fd"),
        "hostname": text("/proc/sys/kernel/hostname"),
        "domainname": text("/proc/sys/kernel/domainname"),
        "oomScoreAdj": text("/proc/self/oom_score_adj"),
        "affinity": status.get("Cpus_allowed_list"),
        "personality": text("/proc/self/personality"),
        "memoryPolicy": memory_policy(),
        "timeOffsets": text("/proc/self/timens_offsets"),
        "uidMap": text("/proc/self/uid_map"),
        "gidMap": text("/proc/self/gid_map"),
        "setgroups": text("/proc/self/setgroups"),
        "cgroup": text("/proc/self/cgroup"),
        "apparmor": text("/proc/self/attr/apparmor/current"),
        "interfaces": interfaces(),
        "terminal": terminal(),
    });
    if let (Value::Object(all), Value::Object(more)) = (&mut all, more) {
        all.extend(more);
    }
    all
}

fn lossy(text: &OsString) -> String {
    String::from_utf8_lossy(text.as_bytes()).into_owned()
}

fn numbers(text: Option<&String>) -> Vec<u32> {
    text.map(|text| text.split_whitespace().filter_map(|word| word.parse().ok()).collect())
        .unwrap_or_default()
}

/// /proc/self/status as keys and values.
fn status() -> BTreeMap<String, String> {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(key, value)| (key.to_owned(), value.trim().to_owned()))
        .collect()
}

/// The fields of /proc/self/stat from the third on.
fn stat_fields() -> Vec<String> {
    let text = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = text.rsplit_once(") ").map_or("", |(_, fields)| fields);
    fields.split_whitespace().map(str::to_owned).collect()
}

/// Soft and hard value of every limit; `null` means unlimited.
fn limits() -> Value {
    let all = LIMITS.iter().map(|(name, resource)| {
        let limit = getrlimit(*resource);
        ((*name).to_owned(), json!([limit.current, limit.maximum]))
    });
    Value::Object(all.collect::<Map<_, _>>())
}

/// The links in a directory, by name.
fn links(directory: &str) -> Value {
    let Ok(entries) = fs::read_dir(directory) else { return Value::Null };
    let mut all = BTreeMap::new();
    for entry in entries.flatten() {
        // The descriptor that this very listing holds is gone by the time that it is looked at.
        if let Ok(target) = fs::read_link(entry.path()) {
            if target.to_string_lossy().starts_with("/proc/") && directory.ends_with("/fd") {
                continue;
            }
            all.insert(
                entry.file_name().to_string_lossy().into_owned(),
                target.display().to_string(),
            );
        }
    }
    json!(all)
}

/// The mount table, outermost first.
fn mounts() -> Value {
    let Ok(table) = fs::read_to_string("/proc/self/mountinfo") else { return Value::Null };
    let words = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
    let all = table.lines().filter_map(|line| {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mount: Vec<&str> = mount.split(' ').collect();
        let filesystem: Vec<&str> = filesystem.split(' ').collect();
        Some(json!({
            "root": mount.get(3)?, "point": mount.get(4)?, "options": words(mount.get(5)?),
            "propagation": mount.get(6..).unwrap_or_default(),
            "type": filesystem.first()?, "source": filesystem.get(1)?,
            "super": words(filesystem.get(2).unwrap_or(&""))
        }))
    });
    Value::Array(all.collect())
}

/// What /dev holds: kind, numbers, mode and owner of nodes, targets of links.
fn devices() -> Value {
    let Ok(entries) = fs::read_dir("/dev") else { return Value::Null };
    let mut all = BTreeMap::new();
    for entry in entries.flatten() {
        let Ok(meta) = fs::symlink_metadata(entry.path()) else { continue };
        let kind = meta.file_type();
        let word = match () {
            () if kind.is_char_device() => "c",
            () if kind.is_block_device() => "b",
            () if kind.is_fifo() => "p",
            () if kind.is_symlink() => "link",
            () if kind.is_dir() => "directory",
            () => "file",
        };
        let target = fs::read_link(entry.path()).ok().map(|path| path.display().to_string());
        all.insert(
            entry.file_name().to_string_lossy().into_owned(),
            json!({
                "type": word, "target": target,
                "major": rustix::fs::major(meta.rdev()), "minor": rustix::fs::minor(meta.rdev()),
                "mode": format!("{:04o}", meta.mode() & 0o7777), "uid": meta.uid(), "gid": meta.gid()
            }),
        );
    }
    json!(all)
}

/// The policy of the first mapping, which is the process's own where nothing else was asked for.
fn memory_policy() -> Option<String> {
    let maps = fs::read_to_string("/proc/self/numa_maps").ok()?;
    maps.lines().next()?.split(' ').nth(1).map(str::to_owned)
}

fn interfaces() -> Value {
    let Ok(table) = fs::read_to_string("/proc/self/net/dev") else { return Value::Null };
    let names = table.lines().skip(2).filter_map(|line| Some(line.split_once(':')?.0.trim()));
    json!(names.collect::<Vec<_>>())
}

/// Rows and columns where standard input is a terminal.
fn terminal() -> Value {
    rustix::termios::tcgetwinsize(rustix::stdio::stdin())
        .map_or(Value::Null, |size| json!({"height": size.ws_row, "width": size.ws_col}))
}
