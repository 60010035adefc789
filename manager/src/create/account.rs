//! `--userns keep-id`: the user is in /etc/passwd and /etc/group of its container, as Podman has it, where the image does not know
//! its id. What is written is in the container's own layer, under its root's descriptor.

use crate::bundle::rootfs::Rootfs;
use crate::container::{MountPoint, Record};
use crate::error::Result;
use crate::id_map::mode::{Kept, Mode};
use crate::passwd::entry;
use crate::rootless::User;
use std::fs;
use std::path::Path;

/// Somebody whom the files are to know.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Account {
    uid: u32,
    gid: u32,
    name: String,
    group: String,
    /// What is said of it, the fifth field of passwd(5).
    comment: String,
    home: String,
}

impl Account {
    /// The line of passwd(5).
    fn user(&self) -> String {
        let Self { uid, gid, name, comment, home, .. } = self;
        format!("{name}:*:{uid}:{gid}:{comment}:{home}:/bin/sh\n")
    }

    /// The line of group(5).
    fn group(&self) -> String {
        format!("{}:x:{}:{}\n", self.group, self.gid, self.name)
    }
}

/// The host's files.
struct Host {
    passwd: String,
    group: String,
}

/// Adds the user, if the container is to have it, to those of the files that the image has.
pub(super) fn provide(record: &Record, rootfs: &Rootfs) -> Result<()> {
    let Ok(Mode::KeepId(kept)) = record.host_config.userns_mode.parse() else { return Ok(()) };
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let host = Host { passwd: read("/etc/passwd"), group: read("/etc/group") };
    let place = Place { mounts: &record.mounts, directory: &record.config.working_dir };
    let account = plan(&User::behind_root(), kept, &host, &place);
    for (path, name, id, line) in [
        ("/etc/passwd", &account.name, account.uid, account.user()),
        ("/etc/group", &account.group, account.gid, account.group()),
    ] {
        // Not over a file of somebody's own.
        if has_mount_at(&record.mounts, path) {
            continue;
        }
        if let Some(text) = rootfs.read(path)?
            && let Some(addition) = addition(&text, name, id, &line)
        {
            rootfs.append(path, &addition)?;
        }
    }
    Ok(())
}

/// What to append to a file that knows neither the name nor the id.
fn addition(text: &str, name: &str, id: u32, line: &str) -> Option<String> {
    let has_name = text.lines().any(|line| line.split(':').next() == Some(name));
    if has_name || entry(text, id).is_some() {
        return None;
    }
    let lead = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    Some(format!("{lead}{line}"))
}

/// What the home directory depends on.
struct Place<'a> {
    mounts: &'a [MountPoint],
    /// The container's working directory; it may be empty.
    directory: &'a str,
}

/// Who it is: on the host, unless it is given other ids. It is at home where it is on the host, if something is mounted there, and
/// in the working directory otherwise.
fn plan(user: &User, kept: Kept, host: &Host, place: &Place<'_>) -> Account {
    let (uid, gid) = (kept.uid.unwrap_or(user.uid), kept.gid.unwrap_or(user.gid));
    let work = Some(place.directory).filter(|path| !path.is_empty()).unwrap_or("/").to_owned();
    if kept != Kept::default() {
        return Account {
            uid,
            gid,
            name: uid.to_string(),
            group: gid.to_string(),
            comment: "container user".to_owned(),
            home: work,
        };
    }
    let known = entry(&host.passwd, uid);
    let field = |at: usize| known.as_ref().and_then(|fields| fields.get(at)).copied();
    // One that passwd(5) does not know is the environment's word.
    let is_name = |name: &&str| !name.is_empty() && !name.contains([':', '\n', ',']);
    let name = Some(user.name.as_str()).filter(is_name);
    let group = entry(&host.group, gid).and_then(|fields| fields.first().copied());
    let group = group.filter(is_name);
    let home = field(5).filter(|home| has_mount_at(place.mounts, home));
    Account {
        uid,
        gid,
        name: name.map_or_else(|| uid.to_string(), str::to_owned),
        group: group.map_or_else(|| gid.to_string(), str::to_owned),
        comment: field(4).unwrap_or_default().to_owned(),
        home: home.map_or(work, str::to_owned),
    }
}

/// Whether something is mounted on a directory or above it: the user's home is there then.
fn has_mount_at(mounts: &[MountPoint], path: &str) -> bool {
    let path = Path::new(path);
    let covers = |point: &MountPoint| {
        let place = Path::new(&point.destination);
        place != Path::new("/") && path.starts_with(place)
    };
    path.is_absolute() && mounts.iter().any(covers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::{Detail, MountKind};

    fn host() -> Host {
        Host {
            passwd: "root:x:0:0:root:/root:/bin/sh\neve:x:1000:100:Eve,,,:/home/eve:/bin/bash\n"
                .to_owned(),
            group: "users:x:100:\n".to_owned(),
        }
    }

    fn user() -> User {
        User { uid: 1000, gid: 100, name: "eve".to_owned() }
    }

    fn mounted(at: &str) -> MountPoint {
        MountPoint {
            kind: MountKind::Bind,
            name: String::new(),
            source: "/x".to_owned(),
            destination: at.to_owned(),
            driver: String::new(),
            mode: String::new(),
            writable: true,
            propagation: String::new(),
            detail: Detail::default(),
        }
    }

    fn lines(kept: Kept, mounts: &[&str], directory: &str) -> (String, String) {
        let mounts: Vec<MountPoint> = mounts.iter().map(|at| mounted(at)).collect();
        let account = plan(&user(), kept, &host(), &Place { mounts: &mounts, directory });
        (account.user(), account.group())
    }

    #[test]
    fn the_user_is_at_home_where_its_home_is_mounted() {
        let home = |mounts: &[&str], directory: &str| {
            let (line, _) = lines(Kept::default(), mounts, directory);
            line.split(':').nth(5).unwrap().to_owned()
        };
        assert_eq!(home(&[], ""), "/");
        assert_eq!(home(&[], "/srv"), "/srv");
        for mount in ["/home/eve", "/home"] {
            assert_eq!(home(&[mount], "/srv"), "/home/eve");
        }
        for mount in ["/", "/home/eve/src", "/home/evelyn"] {
            assert_eq!(home(&[mount], "/srv"), "/srv");
        }
    }

    #[test]
    fn an_entry_has_podmans_fields() {
        let (user, group) = lines(Kept::default(), &[], "/srv");
        assert_eq!(user, "eve:*:1000:100:Eve,,,:/srv:/bin/sh\n");
        assert_eq!(group, "users:x:100:eve\n");
        let kept = Kept { uid: Some(200), gid: Some(210), size: None };
        let (user, group) = lines(kept, &["/home/eve"], "");
        assert_eq!(user, "200:*:200:210:container user:/:/bin/sh\n");
        assert_eq!(group, "210:x:210:200\n");
    }

    #[test]
    fn a_name_that_would_be_more_than_one_field_is_not_taken() {
        let user = User { uid: 7, gid: 8, name: "root:x:0:0\nx".to_owned() };
        let place = Place { mounts: &[], directory: "" };
        let account = plan(&user, Kept::default(), &host(), &place);
        assert_eq!(account.user(), "7:*:7:8::/:/bin/sh\n");
        assert_eq!(account.group(), "8:x:8:7\n");
    }

    #[test]
    fn a_file_that_knows_the_name_or_the_id_stays_as_it_is() {
        let addition = |text| addition(text, "eve", 1000, "LINE\n");
        assert_eq!(addition("app:x:1000:1000::/:\n"), None);
        assert_eq!(addition("eve:x:7:7::/:\n"), None);
        assert_eq!(addition("root:x:0:0::/:\n").unwrap(), "LINE\n");
        assert_eq!(addition("root:x:0:0::/:").unwrap(), "\nLINE\n");
        assert_eq!(addition("").unwrap(), "LINE\n");
    }
}
