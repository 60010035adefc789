//! The id mappings in a mount option, `idmap=uids=0-1-10#10-11-10;gids=0-100-10`, as crun has them (crun(1), "idmap mount options").
//!
//! The checks and the planner read them by the same function: what was judged is what is written.

use oci_spec::runtime::{Linux, LinuxIdMapping, LinuxIdMappingBuilder};

/// The mappings of a mount: `containerID` is the id in its file system, `hostID` the one on the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountMappings {
    /// Of users.
    pub uids: Vec<LinuxIdMapping>,
    /// Of groups.
    pub gids: Vec<LinuxIdMapping>,
}

/// Reads what is behind `idmap=` or `ridmap=`. A range that begins with `@` counts from the ids of the container's user namespace,
/// whose mappings `linux` has.
///
/// # Errors
/// For any other form, and for a range with `@` that is not inside one mapping of the namespace: what is wrong.
pub fn parse(text: &str, linux: Option<&Linux>) -> Result<MountMappings, String> {
    let mut found = MountMappings::default();
    for part in text.split(';').filter(|part| !part.is_empty()) {
        let (list, ranges, own) = match part.split_once('=') {
            Some(("uids", ranges)) => {
                (&mut found.uids, ranges, linux.and_then(|linux| linux.uid_mappings().as_deref()))
            }
            Some(("gids", ranges)) => {
                (&mut found.gids, ranges, linux.and_then(|linux| linux.gid_mappings().as_deref()))
            }
            _ => return Err(format!("`{part}` is neither `uids=` nor `gids=` with ranges")),
        };
        for range in ranges.split('#') {
            list.push(mapping(range, own.unwrap_or_default())?);
        }
    }
    if found.uids.is_empty() || found.gids.is_empty() {
        return Err("`uids=` and `gids=` go together".to_owned());
    }
    Ok(found)
}

/// One range, `FILE-HOST-COUNT`.
fn mapping(range: &str, own: &[LinuxIdMapping]) -> Result<LinuxIdMapping, String> {
    let (relative, triplet) = match range.strip_prefix('@') {
        Some(triplet) => (true, triplet),
        None => (false, range),
    };
    let mut numbers = triplet.split('-').map(number);
    let (Some(Some(file)), Some(Some(host)), Some(Some(size)), None) =
        (numbers.next(), numbers.next(), numbers.next(), numbers.next())
    else {
        return Err(format!("`{range}` is no range `FILE-HOST-COUNT` of ids"));
    };
    let host = if relative {
        absolute(host, size, own).ok_or_else(|| {
            format!(
                "`{range}` is not inside one of the id mappings of the container's user namespace"
            )
        })?
    } else {
        host
    };
    let mapping = LinuxIdMappingBuilder::default().container_id(file).host_id(host).size(size);
    mapping.build().map_err(|error| error.to_string())
}

/// Digits only: a sign is no part of an id.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// The host's id of an id in the user namespace, where those behind it follow it there too.
fn absolute(id: u32, size: u32, own: &[LinuxIdMapping]) -> Option<u32> {
    let has = |mapping: &&LinuxIdMapping| {
        let end = u64::from(mapping.container_id()) + u64::from(mapping.size());
        mapping.container_id() <= id && u64::from(id) + u64::from(size) <= end
    };
    let mapping = own.iter().find(has)?;
    mapping.host_id().checked_add(id - mapping.container_id())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace() -> Linux {
        let json = r#"{"uidMappings": [{"containerID": 0, "hostID": 0, "size": 1}, {"containerID": 1, "hostID": 2, "size": 1000}],
            "gidMappings": [{"containerID": 0, "hostID": 5000, "size": 100}]}"#;
        serde_json::from_str(json).unwrap()
    }

    fn shown(text: &str, linux: Option<&Linux>) -> Result<[String; 2], String> {
        let lines = |list: &[LinuxIdMapping]| {
            let line = |map: &LinuxIdMapping| {
                [map.container_id(), map.host_id(), map.size()].map(|id| id.to_string()).join(" ")
            };
            list.iter().map(line).collect::<Vec<_>>().join(", ")
        };
        parse(text, linux).map(|found| [lines(&found.uids), lines(&found.gids)])
    }

    #[test]
    fn ranges_are_taken_as_they_are_written() {
        let both = |uids: &str, gids: &str| Ok([uids.to_owned(), gids.to_owned()]);
        let text = "uids=0-1-10#10-11-10;gids=0-100-10";
        assert_eq!(shown(text, None), both("0 1 10, 10 11 10", "0 100 10"));
        assert_eq!(shown("gids=0-1-1;uids=2-3-4;", None), both("2 3 4", "0 1 1"));
    }

    #[test]
    fn a_range_with_an_at_sign_counts_from_the_user_namespace() {
        let namespace = namespace();
        let found = shown("uids=@1-3-10#@0-0-1;gids=7-9-1#@0-50-50", Some(&namespace)).unwrap();
        assert_eq!(found, ["1 4 10, 0 0 1", "7 9 1, 0 5050 50"]);
    }

    #[test]
    fn what_is_no_mapping_is_told_in_words() {
        let namespace = namespace();
        for (text, words) in [
            ("", "go together"),
            ("uids=0-1-10", "go together"),
            ("gids=0-1-10", "go together"),
            ("uids=0-1-10;gids=", "`` is no range"),
            ("uids=0-1;gids=0-1-1", "`0-1` is no range"),
            ("uids=0-1-2-3;gids=0-1-1", "is no range"),
            ("uids=0--1-2;gids=0-1-1", "is no range"),
            ("uids=+0-1-2;gids=0-1-1", "is no range"),
            ("uids=0-1-4294967296;gids=0-1-1", "is no range"),
            ("pids=0-1-1", "neither `uids=` nor `gids=`"),
            ("both", "neither `uids=` nor `gids=`"),
            ("uids=@0-0-2;gids=0-1-1", "not inside one of the id mappings"),
            ("uids=@0-2000-1;gids=0-1-1", "not inside one of the id mappings"),
        ] {
            let error = shown(text, Some(&namespace)).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
        assert!(shown("uids=@0-0-1;gids=0-1-1", None).unwrap_err().contains("not inside"));
    }
}
