//! Which ids a user's namespace has: the user's own as root, behind it those that /etc/subuid and /etc/subgid give the user.
//!
//! [`Plan::new`] is pure. Only newuidmap and newgidmap (package `uidmap`) may write more than a user's own id, and they look into
//! the files themselves: what is read here decides what is asked for, not what is allowed.

use crate::error::{Error, Result, reason};
use crate::id_map::{self, Mapping};
use crate::passwd::entry;
use crate::program::find_program;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A user, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its id.
    pub uid: u32,
    /// The id of its group.
    pub gid: u32,
    /// Its name; its id where it has none.
    pub name: String,
}

impl User {
    /// Who calls. A user that /etc/passwd does not know, as one of a directory service, is who it says.
    #[must_use]
    pub fn of_caller() -> Self {
        let uid = rustix::process::geteuid().as_raw();
        let gid = rustix::process::getegid().as_raw();
        Self::of_ids(uid, gid)
    }

    /// Who root of our user namespace is outside of it.
    #[must_use]
    pub fn behind_root() -> Self {
        let outside = |map: &str| {
            id_map::outside(&fs::read_to_string(map).unwrap_or_default(), 0).unwrap_or(0)
        };
        Self::of_ids(outside("/proc/self/uid_map"), outside("/proc/self/gid_map"))
    }

    fn of_ids(uid: u32, gid: u32) -> Self {
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let said = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).ok();
        let name = name_in(&passwd, uid).map(str::to_owned).or(said);
        Self { uid, gid, name: name.unwrap_or_else(|| uid.to_string()) }
    }
}

fn name_in(passwd: &str, uid: u32) -> Option<&str> {
    entry(passwd, uid)?.first().copied()
}

/// First id and number of each range that a text like /etc/subuid has for a user, by name or by id (subuid(5)).
fn ranges(text: &str, user: &User) -> Vec<(u32, u32)> {
    let range = |line: &str| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        let (first, count) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let is_own = owner == user.name || owner == user.uid.to_string();
        (is_own && count > 0).then_some((first, count))
    };
    text.lines().filter_map(range).collect()
}

/// The user's own id as 0, and the ranges one behind the other.
fn lines(own: u32, ranges: &[(u32, u32)]) -> Vec<Mapping> {
    let mut lines = vec![Mapping { inside: 0, outside: own, size: 1 }];
    let mut inside = 1_u32;
    for &(outside, size) in ranges {
        let fits = outside.checked_add(size).is_some();
        let Some(next) = inside.checked_add(size).filter(|_| fits) else { break };
        lines.push(Mapping { inside, outside, size });
        inside = next;
    }
    lines
}

/// What is mapped, and by whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// By newuidmap and newgidmap.
    Ranges {
        /// newuidmap, and the users.
        uids: (PathBuf, Vec<Mapping>),
        /// newgidmap, and the groups.
        gids: (PathBuf, Vec<Mapping>),
    },
    /// Nothing but the user itself.
    Own {
        /// What is missing for more, and how to get it.
        lack: String,
    },
}

/// What a plan is made from.
pub(super) struct Facts<'a> {
    pub(super) user: &'a User,
    /// The text of /etc/subuid.
    pub(super) subuid: &'a str,
    /// The text of /etc/subgid.
    pub(super) subgid: &'a str,
    /// The path of newuidmap.
    pub(super) newuidmap: Option<PathBuf>,
    /// The path of newgidmap.
    pub(super) newgidmap: Option<PathBuf>,
}

impl Plan {
    /// Looks, and decides.
    #[must_use]
    pub fn probe(user: &User) -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        Self::new(Facts {
            user,
            subuid: &read("/etc/subuid"),
            subgid: &read("/etc/subgid"),
            newuidmap: find_program("newuidmap"),
            newgidmap: find_program("newgidmap"),
        })
    }

    pub(super) fn new(facts: Facts<'_>) -> Self {
        let user = facts.user;
        let (uids, gids) = (ranges(facts.subuid, user), ranges(facts.subgid, user));
        let lacking: Vec<&str> = [("/etc/subuid", &uids), ("/etc/subgid", &gids)]
            .iter()
            .filter_map(|(file, ranges)| ranges.is_empty().then_some(*file))
            .collect();
        if !lacking.is_empty() {
            let lack = format!(
                "no range of ids for user `{name}` in {}: let root run `usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {name}`, with ids that nobody else has",
                lacking.join(" and "),
                name = user.name
            );
            return Self::Own { lack };
        }
        match (facts.newuidmap, facts.newgidmap) {
            (Some(newuidmap), Some(newgidmap)) => Self::Ranges {
                uids: (newuidmap, lines(user.uid, &uids)),
                gids: (newgidmap, lines(user.gid, &gids)),
            },
            _ => Self::Own {
                lack: "there is no `newuidmap` or no `newgidmap`: let root install the package `uidmap`"
                    .to_owned(),
            },
        }
    }

    /// Gives a process of ours, which has just made a user namespace, its ids.
    ///
    /// # Errors
    /// One of the programs refuses, or the kernel does.
    pub(super) fn write(&self, user: &User, pid: u32) -> Result<()> {
        match self {
            Self::Ranges { uids, gids } => {
                call(&uids.0, pid, &uids.1, "/etc/subuid")?;
                call(&gids.0, pid, &gids.1, "/etc/subgid")
            }
            Self::Own { .. } => {
                let write = |file: &str, text: &str| {
                    let path = format!("/proc/{pid}/{file}");
                    fs::write(&path, text).map_err(Error::io("write", Path::new(&path)))
                };
                // Else nobody without privileges may map a group (user_namespaces(7)).
                write("setgroups", "deny")?;
                write("uid_map", &format!("0 {} 1", user.uid))?;
                write("gid_map", &format!("0 {} 1", user.gid))
            }
        }
    }
}

fn call(program: &Path, pid: u32, lines: &[Mapping], file: &str) -> Result<()> {
    let numbers = lines.iter().flat_map(|line| [line.inside, line.outside, line.size]);
    let failed = |why: &str| Error::Rejected {
        message: format!("cannot map the ids of {file} with `{}`: {why}", program.display()),
        hint: Some(format!(
            "it has to be setuid root, or have the file capability cap_setuid or cap_setgid, and no other user may have the ids that {file} gives you"
        )),
    };
    let output = Command::new(program)
        .arg(pid.to_string())
        .args(numbers.map(|number| number.to_string()))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| failed(&reason(&error)))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(failed(said.lines().next().unwrap_or("it does not say why")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> User {
        User { uid: 1000, gid: 100, name: "eve".to_owned() }
    }

    fn facts<'a>(user: &'a User, subuid: &'a str, subgid: &'a str) -> Facts<'a> {
        let program = |name: &str| Some(Path::new("/usr/bin").join(name));
        let (newuidmap, newgidmap) = (program("newuidmap"), program("newgidmap"));
        Facts { user, subuid, subgid, newuidmap, newgidmap }
    }

    #[test]
    fn the_user_is_root_and_its_ranges_come_behind_it_without_a_gap() {
        let user = user();
        let subuid = "bob:100000:65536\neve:165536:65536\n1000:300000:10\neve:1:0\neve:x:1\n";
        let Plan::Ranges { uids, gids } = Plan::new(facts(&user, subuid, "eve:5000:3\n")) else {
            panic!("both files have a range")
        };
        let texts = |lines: &[Mapping]| lines.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(texts(&uids.1), ["0:1000:1", "1:165536:65536", "65537:300000:10"]);
        assert_eq!(texts(&gids.1), ["0:100:1", "1:5000:3"]);
        assert_eq!(uids.0, Path::new("/usr/bin/newuidmap"));
    }

    #[test]
    fn what_is_missing_for_more_ids_is_said_with_what_to_do() {
        let user = user();
        let lack = |facts| match Plan::new(facts) {
            Plan::Own { lack } => lack,
            other @ Plan::Ranges { .. } => panic!("{other:?}"),
        };
        let none = lack(facts(&user, "bob:1:1\n", ""));
        assert!(
            none.starts_with("no range of ids for user `eve` in /etc/subuid and /etc/subgid: "),
            "{none}"
        );
        assert!(none.contains("usermod --add-subuids") && none.contains(" eve`"), "{none}");
        let one = lack(facts(&user, "eve:100000:65536\n", ""));
        assert!(one.starts_with("no range of ids for user `eve` in /etc/subgid: "), "{one}");
        let ranges = "eve:100000:65536\n";
        let programs = lack(Facts { newgidmap: None, ..facts(&user, ranges, ranges) });
        assert!(programs.contains("package `uidmap`"), "{programs}");
    }

    #[test]
    fn ranges_that_leave_the_numbers_are_left_out() {
        assert_eq!(lines(5, &[(u32::MAX, 2)]).len(), 1);
        assert_eq!(lines(5, &[(10, u32::MAX - 20), (1, 100)]).len(), 2);
    }

    #[test]
    fn a_user_has_the_name_that_passwd_gives_its_id() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\neve:x:1000:100::/home/eve:/bin/sh\n";
        assert_eq!(name_in(passwd, 1000), Some("eve"));
        assert_eq!(name_in(passwd, 100), None);
    }
}
