//! `memory.checkBeforeUpdate`: a limit below what is in use is refused.
//!
//! v1's kernel refuses it by itself where it cannot reclaim enough; v2's takes it and kills. With this field both refuse, before
//! anything is changed.

use std::path::Path;

use oci_spec::runtime::LinuxResources;

use super::v1::MEMORY;
use super::{Error, Paths, files};

/// Compares the new limits of an update with what the container uses, where the configuration asks for it. Use that cannot be read is no
/// obstacle, as in runc.
///
/// # Errors
/// A limit that is not above the use.
pub fn check_memory(resources: &LinuxResources, paths: &Paths) -> Result<(), Error> {
    let Some(memory) = resources.memory() else { return Ok(()) };
    if memory.check_before_update() != Some(true) {
        return Ok(());
    }
    let v1 = paths.controller("memory");
    let Some(directory) = v1.or(paths.unified()) else { return Ok(()) };
    let [usage, with_swap] = match v1 {
        Some(_) => ["memory.usage_in_bytes", "memory.memsw.usage_in_bytes"],
        // v2 counts swap apart: the specification's sum is at least the memory.
        None => ["memory.current", "memory.current"],
    };
    let limits = [(memory.swap(), with_swap, "swap"), (memory.limit(), usage, "limit")];
    for (limit, file, field) in limits {
        let Some(limit) = limit.and_then(|limit| u64::try_from(limit).ok()) else { continue };
        match read(directory, file) {
            Some(used) if limit != 0 && limit <= used => {
                let what = format!("set the memory limit {limit}");
                let why = format!("{used} bytes are in use, and `checkBeforeUpdate` is set");
                return Err(Error::refused(what, format!("{MEMORY}/{field}"), why).in_resources());
            }
            _ => {}
        }
    }
    Ok(())
}

fn read(directory: &Path, file: &str) -> Option<u64> {
    files::read(directory, file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, v1: bool) -> Result<(), String> {
        let directory = tempfile::tempdir().unwrap();
        let names = if v1 { &["usage_in_bytes", "memsw.usage_in_bytes"][..] } else { &["current"] };
        for name in names {
            std::fs::write(directory.path().join(format!("memory.{name}")), "1000\n").unwrap();
        }
        let mut paths = Paths::default();
        let controllers = if v1 { vec!["memory".to_owned()] } else { Vec::new() };
        paths.insert(&controllers, directory.path());
        let resources = serde_json::from_str(&format!(r#"{{"memory": {json}}}"#)).unwrap();
        check_memory(&resources, &paths).map_err(|error| error.to_string())
    }

    #[test]
    fn a_limit_that_is_not_above_the_use_is_refused_where_that_is_asked_for() {
        for v1 in [true, false] {
            let error = check(r#"{"limit": 1000, "checkBeforeUpdate": true}"#, v1).unwrap_err();
            assert!(error.contains("/memory/limit): 1000 bytes are in use"), "{error}");
            let swap = r#"{"limit": 500, "swap": 600, "checkBeforeUpdate": true}"#;
            assert!(check(swap, v1).unwrap_err().contains("/memory/swap"));
            for taken in [
                r#"{"limit": 1001, "checkBeforeUpdate": true}"#,
                r#"{"limit": -1, "swap": -1, "checkBeforeUpdate": true}"#,
                r#"{"limit": 0, "checkBeforeUpdate": true}"#,
                r#"{"limit": 10, "checkBeforeUpdate": false}"#,
                r#"{"limit": 10}"#,
            ] {
                assert_eq!(check(taken, v1), Ok(()), "{taken}");
            }
        }
    }

    #[test]
    fn use_that_cannot_be_read_is_no_obstacle() {
        let json = r#"{"memory": {"limit": 1, "checkBeforeUpdate": true}}"#;
        let resources = serde_json::from_str(json).unwrap();
        assert!(check_memory(&resources, &Paths::default()).is_ok());
    }
}
