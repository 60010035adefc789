//! Who a container runs as: an image's `User` looked up in the image's own `/etc/passwd` and `/etc/group`.
//!
//! Those files are hostile: they are found inside the root, must be regular files, and are read up to a bound (CVE-2026-47262).
//! A number is an id only if all of it is one, below 2^32-1 (CVE-2024-40635, CVE-2026-30892).

use std::{
    fs::File,
    io::{self, Read},
    os::fd::BorrowedFd,
};

use rustix::{
    fs::{Mode, ResolveFlags},
    io::Errno,
};

use crate::{
    config::{TO_READ, regular},
    reason::reason,
};

/// The ids of a container's process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// The other groups that the user is a member of.
    pub additional_gids: Vec<u32>,
    /// The home directory, if the user has an entry.
    pub home: Option<String>,
}

/// Why there is no such user.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// The text is neither an id nor a name that the image knows.
    #[error("user `{text}` is not usable: {why}")]
    Unknown {
        /// The text.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// A database could not be read.
    #[error("cannot read `/etc/{name}` in the image: {}", reason(.source))]
    Database {
        /// Which one.
        name: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// The largest database that is read.
const MAX_DATABASE: u64 = 1 << 20;

impl User {
    /// Looks up `text` (`USER`, `USER:GROUP`, each a name or a number; empty for root) in the root file system `root`.
    pub fn find(text: &str, root: BorrowedFd<'_>) -> Result<Self, UserError> {
        let passwd = read(root, "passwd")?;
        let group = read(root, "group")?;
        Self::look_up(text, &passwd, &group)
    }

    fn look_up(text: &str, passwd: &str, group: &str) -> Result<Self, UserError> {
        let unknown = |why: String| UserError::Unknown { text: text.to_owned(), why };
        let (user, wanted_group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let user = if user.is_empty() { "0" } else { user };
        let id = parse_id(user).map_err(&unknown)?;
        let account = passwd.lines().filter_map(Account::parse).find(|account| match id {
            Some(uid) => account.uid == uid,
            None => account.name == user,
        });
        let uid = match (id, &account) {
            (Some(uid), _) => uid,
            (None, Some(account)) => account.uid,
            (None, None) => return Err(unknown(format!("the image has no user `{user}`"))),
        };
        let home = account.as_ref().map(|account| account.home.to_owned());
        if let Some(wanted) = wanted_group.filter(|wanted| !wanted.is_empty()) {
            // A group that is asked for is the only one.
            let gid = match parse_id(wanted).map_err(&unknown)? {
                Some(gid) => gid,
                None => groups(group)
                    .find(|(name, ..)| *name == wanted)
                    .map(|(_, gid, _)| gid)
                    .ok_or_else(|| unknown(format!("the image has no group `{wanted}`")))?,
            };
            return Ok(Self { uid, gid, additional_gids: Vec::new(), home });
        }
        let Some(account) = account else {
            return Ok(Self { uid, home, ..Self::default() });
        };
        let is_member = |members: &str| members.split(',').any(|name| name == account.name);
        let additional_gids = groups(group)
            .filter(|(_, gid, members)| *gid != account.gid && is_member(members))
            .map(|(_, gid, _)| gid)
            .collect();
        Ok(Self { uid, gid: account.gid, additional_gids, home })
    }
}

struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl<'a> Account<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, uid, gid, _, home, ..] = fields[..] else { return None };
        let (uid, gid) = (parse_id(uid).ok()??, parse_id(gid).ok()??);
        Some(Self { name, uid, gid, home })
    }
}

/// Name, id and members of the groups that are well formed.
fn groups(text: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    text.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, gid, members] = fields[..] else { return None };
        Some((name, parse_id(gid).ok()??, members))
    })
}

/// The id that a text is; `None` for a name. All digits that are no id are an error, and never a name.
fn parse_id(text: &str) -> Result<Option<u32>, String> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse::<u32>() {
        Ok(id) if id != u32::MAX => Ok(Some(id)),
        _ => Err(format!("`{text}` is not between 0 and 4294967294")),
    }
}

fn read(root: BorrowedFd<'_>, name: &'static str) -> Result<String, UserError> {
    let failed = |source| UserError::Database { name, source };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let path = format!("etc/{name}");
    let fd = match rustix::fs::openat2(root, path, TO_READ, Mode::empty(), resolve) {
        Ok(fd) => fd,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(String::new()),
        Err(error) => return Err(failed(error.into())),
    };
    regular(&fd).map_err(failed)?;
    let mut bytes = Vec::new();
    File::from(fd).take(MAX_DATABASE + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_DATABASE {
        return Err(failed(io::Error::other(format!("it is larger than {MAX_DATABASE} bytes"))));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::fd::AsFd};

    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:Web:/srv/www:/bin/sh\nbad\n\
                          evil:x:4294967296:0::/:\n12:x:77:77::/:\n";
    const GROUP: &str = "root:x:0:\nweb:x:34:\nlog:x:4:web,root\nadm:x:5:web\n";

    fn look_up(text: &str) -> Result<User, String> {
        User::look_up(text, PASSWD, GROUP).map_err(|e| e.to_string())
    }

    fn ids(text: &str) -> (u32, u32, Vec<u32>) {
        let user = look_up(text).unwrap();
        (user.uid, user.gid, user.additional_gids)
    }

    #[test]
    fn users_and_groups_are_names_or_numbers() {
        assert_eq!(ids(""), (0, 0, vec![4]));
        assert_eq!(ids("web"), (33, 34, vec![4, 5]));
        assert_eq!(ids("33"), (33, 34, vec![4, 5]));
        assert_eq!(ids("web:log"), (33, 4, vec![]));
        assert_eq!(ids("1000"), (1000, 0, vec![]));
        assert_eq!(ids("1000:1001"), (1000, 1001, vec![]));
        assert_eq!(ids(":log"), (0, 4, vec![]));
        assert_eq!(look_up("web").unwrap().home.unwrap(), "/srv/www");
    }

    #[test]
    fn a_number_is_an_id_even_if_somebody_is_called_like_it() {
        assert_eq!(ids("12"), (12, 0, vec![]));
    }

    #[test]
    fn ids_that_do_not_fit_are_refused_and_never_wrapped() {
        for text in ["4294967295", "4294967296", "-1", "0:4294967295", "99999999999999999999"] {
            let error = look_up(text).unwrap_err();
            assert!(error.contains("is not between 0 and 4294967294"), "{error}");
        }
        assert!(look_up("evil").unwrap_err().contains("has no user `evil`"));
        assert!(look_up("web:none").unwrap_err().contains("has no group `none`"));
    }

    #[test]
    fn databases_that_are_huge_or_pipes_or_links_out_are_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::File::open(dir.path()).unwrap();
        let find = || User::find("root", root.as_fd()).map_err(|e| e.to_string());
        assert!(find().unwrap_err().contains("has no user `root`"));
        fs::create_dir(dir.path().join("etc")).unwrap();
        let passwd = dir.path().join("etc/passwd");
        std::os::unix::fs::symlink("/etc/passwd", &passwd).unwrap();
        assert!(find().is_err(), "the host's file must not be read");
        fs::remove_file(&passwd).unwrap();
        let status = std::process::Command::new("mkfifo").arg(&passwd).status().unwrap();
        assert!(status.success());
        assert!(find().unwrap_err().ends_with("not a regular file"));
        fs::remove_file(&passwd).unwrap();
        fs::File::create(&passwd).unwrap().set_len(1 << 30).unwrap();
        assert!(find().unwrap_err().ends_with("it is larger than 1048576 bytes"));
    }
}
