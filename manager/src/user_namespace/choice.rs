//! Which ids a container with a user namespace of its own gets, written into its record.

use crate::container::{Containers, HostConfig, IdMappings, Record};
use crate::error::{Error, Result};
use crate::id_map::mode::{Kept, Mode};
use crate::id_map::{self, Mapping, mappings, mode};
use crate::rootless::{Plan, User};
use crate::settings::Settings;
use std::fs;

/// How many ids a container of root's gets that does not say, and one of a user's, who has few.
const SIZE: u32 = 65_536;
const SIZE_OF_USER: u32 = 1024;

/// Whose ranges of ids in /etc/subuid and /etc/subgid root's containers may have: Podman's name, then Docker's.
const OWNERS: [&str; 2] = ["containers", "dockremap"];

/// Decides which ids a container has, and who its process is where nothing else says it. Ids that no other container has are for
/// [`choose_free`].
///
/// # Errors
/// There are not enough ids, or the mode is one that only root, or only a user, can have.
pub fn choose(settings: &Settings, record: &mut Record) -> Result<()> {
    match (wanted(record)?, settings.rootless) {
        (Mode::Private, true) => Own::of_caller().check(&record.host_config.id_mappings),
        (Mode::Host | Mode::Private | Mode::Auto(_), _) => Ok(()),
        (Mode::KeepId(_), false) => only_for_users("keep-id"),
        (Mode::NoMap, false) => only_for_users("nomap"),
        (Mode::KeepId(kept), true) => keep(record, kept),
        (Mode::NoMap, true) => {
            let own = Own::of_caller();
            let ids = own.mappings(mode::no_map(own.uids), mode::no_map(own.gids))?;
            record.host_config.id_mappings = ids;
            Ok(())
        }
    }
}

/// Gives a container of `--userns auto` the first ids that no other has. Whoever is made at the same moment would get the same: the
/// caller sees to it that nobody is, until the record is where [`Containers::list`] finds it.
///
/// # Errors
/// There are not enough ids.
pub fn choose_free(
    settings: &Settings,
    containers: &Containers,
    record: &mut Record,
) -> Result<()> {
    match (wanted(record)?, settings.rootless) {
        (Mode::Auto(size), false) => of_root(containers, &mut record.host_config, size),
        (Mode::Auto(size), true) => apart(containers, &mut record.host_config, size),
        _ => Ok(()),
    }
}

fn wanted(record: &Record) -> Result<Mode> {
    record.host_config.userns_mode.parse().map_err(Error::Usage)
}

fn only_for_users(mode: &str) -> Result<()> {
    Err(Error::Rejected {
        message: format!("{mode} is only supported in rootless mode"),
        hint: Some(
            "call nman as an ordinary user, or give `--userns auto` or `--uidmap`".to_owned(),
        ),
    })
}

/// Root's containers: ranges of /etc/subuid and /etc/subgid that no other container has.
fn of_root(containers: &Containers, config: &mut HostConfig, size: Option<u32>) -> Result<()> {
    let size = size.unwrap_or(SIZE);
    let pick = |file: &str, used: &[Mapping]| {
        let ranges = ranges(&fs::read_to_string(file).unwrap_or_default());
        free_range(&ranges, used, size).ok_or_else(|| Error::Rejected {
            message: format!("cannot find {size} unused ids for user \"{}\" in {file}", OWNERS[0]),
            hint: Some(format!("add a line such as `{}:2147483647:2147483648` to it, or give `--uidmap` and `--gidmap`", OWNERS[0])),
        })
    };
    let (uids, gids) = used(containers)?;
    config.id_mappings = IdMappings {
        uid_map: line(pick("/etc/subuid", &uids)?, size),
        gid_map: line(pick("/etc/subgid", &gids)?, size),
    };
    Ok(())
}

/// A user's container: some of the user's own that no container with ids of its own has.
fn apart(containers: &Containers, config: &mut HostConfig, size: Option<u32>) -> Result<()> {
    let own = Own::of_caller();
    let size = size.unwrap_or(SIZE_OF_USER);
    let pick = |count: u32, used: &[Mapping]| {
        free_range(&[(1, count - 1)], used, size).ok_or_else(|| Error::Rejected {
            message: format!("cannot find {size} unused ids of user `{}`", own.user.name),
            hint: Some("containers with `--userns keep-id` and `nomap` have all of them; fewer are asked for with `--userns auto:size=NUMBER`".to_owned()),
        })
    };
    let (uids, gids) = used(containers)?;
    config.id_mappings = IdMappings {
        uid_map: line(pick(own.uids, &uids)?, size),
        gid_map: line(pick(own.gids, &gids)?, size),
    };
    Ok(())
}

fn line(outside: u32, size: u32) -> Vec<String> {
    vec![Mapping { inside: 0, outside, size }.to_string()]
}

/// The ids that containers have, of users and of groups.
fn used(containers: &Containers) -> Result<(Vec<Mapping>, Vec<Mapping>)> {
    let all = containers.list()?.into_iter().map(|(record, _)| record.host_config.id_mappings);
    let (uids, gids): (Vec<_>, Vec<_>) =
        all.map(|ids| (mappings(&ids.uid_map), mappings(&ids.gid_map))).unzip();
    Ok((uids.concat(), gids.concat()))
}

/// The user is in the container who it is on the host, and that is who its process is, unless the command line or the image says
/// another.
fn keep(record: &mut Record, kept: Kept) -> Result<()> {
    let own = Own::of_caller();
    let (uid, gid) = (kept.uid.unwrap_or(own.user.uid), kept.gid.unwrap_or(own.user.gid));
    let (uids, gids) = (own.part(own.uids, kept.size)?, own.part(own.gids, kept.size)?);
    let ids = own.mappings(mode::keep_id(uids, uid), mode::keep_id(gids, gid))?;
    record.host_config.id_mappings = ids;
    if record.config.user.is_empty() {
        record.config.user = format!("{uid}:{gid}");
    }
    Ok(())
}

/// The namespace that we are in.
struct Own {
    user: User,
    /// How many ids there are from 0 on, of users and of groups.
    uids: u32,
    gids: u32,
}

impl Own {
    fn of_caller() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        Self {
            user: User::behind_root(),
            uids: id_map::count(&read("/proc/self/uid_map")),
            gids: id_map::count(&read("/proc/self/gid_map")),
        }
    }

    /// The user's own id and `size` others, of `count` ids; all where it is not said.
    fn part(&self, count: u32, size: Option<u32>) -> Result<u32> {
        let others = count.saturating_sub(1);
        match size {
            None => Ok(count),
            Some(size) if size <= others => Ok(size + 1),
            Some(size) => Err(Error::Rejected {
                message: format!(
                    "cannot map {size} ids: user `{}` has {others} beside its own",
                    self.user.name
                ),
                hint: Some(
                    "give a smaller `--userns keep-id:size=NUMBER`, or let root add to the user's lines in /etc/subuid and /etc/subgid"
                        .to_owned(),
                ),
            }),
        }
    }

    /// What was typed: with a root, and nothing that is not there to be mapped.
    fn check(&self, ids: &IdMappings) -> Result<()> {
        let (uids, gids) = (mappings(&ids.uid_map), mappings(&ids.gid_map));
        for (lines, count) in [(&uids, self.uids), (&gids, self.gids)] {
            if let Some(line) = lines.iter().find(|line| line.outside + line.size > count) {
                return Err(Error::Rejected {
                    message: format!(
                        "cannot map `{line}`: user `{}` has the ids 0 to {}",
                        self.user.name,
                        count - 1
                    ),
                    hint: Some("without root, 0 on the host's side is the user itself, and 1 and up are its ranges of /etc/subuid and /etc/subgid".to_owned()),
                });
            }
        }
        self.mappings(uids, gids).map(drop)
    }

    /// A container is set up by root of its namespace: there has to be one.
    fn mappings(&self, uids: Vec<Mapping>, gids: Vec<Mapping>) -> Result<IdMappings> {
        let has_root = |lines: &[Mapping]| lines.iter().any(|line| line.inside == 0);
        if has_root(&uids) && has_root(&gids) {
            let texts = |lines: Vec<Mapping>| lines.iter().map(ToString::to_string).collect();
            return Ok(IdMappings { uid_map: texts(uids), gid_map: texts(gids) });
        }
        let hint = match Plan::probe(&self.user) {
            Plan::Own { lack } => lack,
            Plan::Ranges { .. } => "these ids count from the next user namespace on: stop all containers, and remove the file `namespace` in the state directory, which `nman info` shows".to_owned(),
        };
        let (message, hint) = match self.uids > 1 && self.gids > 1 {
            true => (
                "cannot make a user namespace for the container: it has no id 0".to_owned(),
                "map one: a container is set up by its root".to_owned(),
            ),
            false => (
                format!(
                    "cannot make a user namespace for the container: user `{}` has no ids but its own, and it needs one for root",
                    self.user.name
                ),
                hint,
            ),
        };
        Err(Error::Rejected { message, hint: Some(hint) })
    }
}

/// First id and number of each range that containers may have.
fn ranges(text: &str) -> Vec<(u32, u32)> {
    let range = |line: &str| {
        let mut fields = line.split(':');
        let owner = fields.next()?;
        let (first, count) =
            (fields.next()?.parse().ok()?, fields.next()?.trim().parse::<u64>().ok()?);
        OWNERS.contains(&owner).then_some((first, u32::try_from(count).unwrap_or(u32::MAX)))
    };
    text.lines().filter_map(range).collect()
}

fn free_range(ranges: &[(u32, u32)], used: &[Mapping], size: u32) -> Option<u32> {
    let overlaps = |first: u32| {
        used.iter().find(|other| {
            first < other.outside.saturating_add(other.size)
                && other.outside < first.saturating_add(size)
        })
    };
    ranges.iter().find_map(|(start, count)| {
        let end = start.saturating_add(*count);
        let mut first = *start;
        while first.checked_add(size)? <= end {
            match overlaps(first) {
                None => return Some(first),
                Some(other) => first = other.outside.checked_add(other.size)?,
            }
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_the_containers_user() {
        assert_eq!(
            ranges("root:1:2\ncontainers:100:200\nbroken\ndockremap:5:6\n"),
            [(100, 200), (5, 6)]
        );
    }

    #[test]
    fn a_range_is_free_if_no_other_container_has_an_id_of_it() {
        let used = |list: &[&str]| -> Vec<Mapping> {
            list.iter().map(|text| text.parse().unwrap()).collect()
        };
        assert_eq!(free_range(&[(100, 30)], &[], 10), Some(100));
        assert_eq!(free_range(&[(100, 30)], &used(&["0:100:10"]), 10), Some(110));
        assert_eq!(free_range(&[(100, 30)], &used(&["0:105:10"]), 10), Some(115));
        assert_eq!(free_range(&[(100, 30)], &used(&["0:100:30"]), 10), None);
        assert_eq!(free_range(&[(100, 5), (200, 10)], &[], 10), Some(200));
        assert_eq!(free_range(&[], &[], 10), None);
    }
}
