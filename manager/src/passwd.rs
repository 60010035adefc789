//! Who a container's process is: Docker's `--user` and an image's `User`, looked up in the image's own files.
//!
//! Pure: works on the text of `/etc/passwd` and `/etc/group`. Numbers are parsed strictly; an id above 2^31-1 is
//! refused wherever it comes from, because the kernel and half of user space read it as negative (class E of the
//! known attacks: a wrapped id is root).

use crate::error::{Error, Result};

/// The largest id that is accepted, as in Docker.
const LARGEST_ID: u32 = i32::MAX as u32;

/// A process's ids and home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups: the group id itself (CVE-2022-36109), then those that list the user.
    pub groups: Vec<u32>,
    /// The home directory.
    pub home: String,
}

struct User<'a> {
    name: &'a str,
    uid: &'a str,
    gid: &'a str,
    home: &'a str,
}

/// Resolves `user[:group]`, each a name or a number; the empty string is root.
///
/// A name is looked up before it is taken for a number, and a number that has an entry takes its group and home.
pub fn resolve(wanted: &str, passwd: &str, group: &str) -> Result<Identity> {
    let (user, explicit_group) = match wanted.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (wanted, None),
    };
    let number = is_number(user);
    let entry = users(passwd).find(|entry| match (user, number) {
        ("", _) => entry.uid == "0",
        (_, true) => entry.uid.parse::<u64>().ok() == user.parse().ok() && is_number(entry.uid),
        (_, false) => entry.name == user,
    });
    let mut identity = match &entry {
        Some(entry) => Identity {
            uid: id(entry.uid, "user", user)?,
            gid: id(entry.gid, "group of user", user)?,
            groups: Vec::new(),
            home: if entry.home.is_empty() { "/".to_owned() } else { entry.home.to_owned() },
        },
        None if user.is_empty() => nobody_known(0),
        None if number => nobody_known(id(user, "user", user)?),
        None => {
            return Err(Error::Rejected {
                message: format!("unable to find user {user}: no matching entries in passwd file"),
                hint: Some(
                    "give a numeric id, or a name that the image's /etc/passwd has".to_owned(),
                ),
            });
        }
    };
    let mut further = Vec::new();
    match (explicit_group, &entry) {
        (Some(wanted), _) => identity.gid = find_group(wanted, group)?,
        (None, Some(entry)) => further = memberships(entry.name, group)?,
        (None, None) => {}
    }
    identity.groups = vec![identity.gid];
    for gid in further {
        if !identity.groups.contains(&gid) {
            identity.groups.push(gid);
        }
    }
    Ok(identity)
}

/// The fields of the entry of passwd(5) or group(5) with this id.
pub(crate) fn entry(text: &str, id: u32) -> Option<Vec<&str>> {
    let entries = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
    entries.into_iter().find(|fields| fields.get(2).and_then(|id| id.parse().ok()) == Some(id))
}

/// The id of a further group: a name of the image, or a number.
pub fn group(wanted: &str, group: &str) -> Result<u32> {
    find_group(wanted, group)
}

fn nobody_known(uid: u32) -> Identity {
    let home = if uid == 0 { "/root" } else { "/" };
    Identity { uid, gid: 0, groups: Vec::new(), home: home.to_owned() }
}

fn users(passwd: &str) -> impl Iterator<Item = User<'_>> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let (name, uid, gid) = (fields.next()?, fields.nth(1)?, fields.next()?);
        let home = fields.nth(1).unwrap_or_default();
        (!name.is_empty() && !name.starts_with('#')).then_some(User { name, uid, gid, home })
    })
}

/// `(name, gid, members)`
fn groups(group: &str) -> impl Iterator<Item = (&str, &str, &str)> {
    group.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let (name, gid) = (fields.next()?, fields.nth(1)?);
        (!name.is_empty() && !name.starts_with('#'))
            .then(|| (name, gid, fields.next().unwrap_or_default()))
    })
}

fn find_group(wanted: &str, group: &str) -> Result<u32> {
    if is_number(wanted) {
        return id(wanted, "group", wanted);
    }
    match groups(group).find(|(name, _, _)| *name == wanted) {
        Some((_, gid, _)) => id(gid, "group", wanted),
        None => Err(Error::Rejected {
            message: format!("unable to find group {wanted}: no matching entries in group file"),
            hint: Some("give a numeric id, or a name that the image's /etc/group has".to_owned()),
        }),
    }
}

fn memberships(user: &str, group: &str) -> Result<Vec<u32>> {
    groups(group)
        .filter(|(_, _, members)| members.split(',').any(|member| member.trim() == user))
        .map(|(name, gid, _)| id(gid, "group", name))
        .collect()
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn id(text: &str, what: &str, name: &str) -> Result<u32> {
    let number = text.parse().ok().filter(|id| is_number(text) && *id <= LARGEST_ID);
    number.ok_or_else(|| Error::Rejected {
        message: format!(
            "invalid id `{text}` of {what} `{name}`: uids and gids must be in range 0-{LARGEST_ID}"
        ),
        hint: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n# comment:x:5:5::/:\nmail:x:8:12:mail:/var/mail:/bin/false\n\
        1000:x:7:7::/seven:/bin/sh\nbroken\nwrapped:x:4294967296:0::/:\nminus:x:-1:0::/:\nplus:x:+5:0::/:\nhigh:x:2147483648:0::/:\n";
    const GROUP: &str = "root:x:0:root\nmail:x:12:mail\nvideo:x:27:mail,other\naudio:x:29: mail\nbad:x:4294967296:victim\n";

    fn ids(wanted: &str) -> (u32, u32, Vec<u32>) {
        let identity = resolve(wanted, PASSWD, GROUP).unwrap();
        (identity.uid, identity.gid, identity.groups)
    }

    #[test]
    fn a_user_is_found_by_name_by_number_and_by_default() {
        assert_eq!(ids(""), (0, 0, vec![0]));
        assert_eq!(ids("mail"), (8, 12, vec![12, 27, 29]));
        assert_eq!(ids("8"), (8, 12, vec![12, 27, 29]));
        assert_eq!(ids("4242"), (4242, 0, vec![0]));
        assert_eq!(resolve("mail", PASSWD, GROUP).unwrap().home, "/var/mail");
        assert_eq!(resolve("", "", "").unwrap().home, "/root");
    }

    #[test]
    fn an_explicit_group_replaces_the_supplementary_ones() {
        assert_eq!(ids("mail:video"), (8, 27, vec![27]));
        assert_eq!(ids("mail:99"), (8, 99, vec![99]));
        assert_eq!(ids(":27"), (0, 27, vec![27]));
        assert_eq!(ids("mail:"), (8, 12, vec![12, 27, 29]));
    }

    #[test]
    fn a_number_is_a_number_even_where_a_user_has_it_as_a_name() {
        assert_eq!(ids("1000"), (1000, 0, vec![0]));
    }

    #[test]
    fn ids_that_would_wrap_are_refused() {
        for wanted in [
            "2147483648",
            "4294967295",
            "4294967296",
            "18446744073709551616",
            "wrapped",
            "minus",
            "plus",
            "high",
            "0:4294967296",
            "-1",
            "+1",
            "0x0",
            " 0",
            "mail:-1",
        ] {
            assert!(resolve(wanted, PASSWD, GROUP).is_err(), "{wanted:?}");
        }
    }

    #[test]
    fn a_group_with_a_bad_id_is_an_error_for_its_member_only() {
        let passwd = "victim:x:1:1::/:\nother:x:2:2::/:\n";
        assert!(resolve("victim", passwd, GROUP).is_err());
        assert!(resolve("other", passwd, GROUP).is_ok());
    }

    #[test]
    fn an_unknown_name_has_dockers_words() {
        let error = resolve("nosuch", PASSWD, GROUP).unwrap_err();
        assert_eq!(
            error.to_string(),
            "unable to find user nosuch: no matching entries in passwd file"
        );
    }
}
