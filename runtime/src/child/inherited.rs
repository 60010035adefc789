//! The attributes of a bind mount: those that its options name, and those of the mount that it is a view of.

use crate::plan::op::Inherited;
use rustix::io::Errno;
use std::os::fd::BorrowedFd;
use sys::mount::{self as attr, Attributes};

/// The attributes that mount(2) replaces as one set.
const REPLACED: u64 = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC | attr::NOSYMFOLLOW;

/// Sets the attributes that were asked for on a detached tree, or on what is mounted: those of the mount alone, if there are any, and
/// then those of all that is below, since the first take away what they do not name.
pub(super) fn set_attributes(
    tree: BorrowedFd<'_>,
    asked: Option<&Attributes>,
    recursive: &Attributes,
    inherited: Inherited,
) -> Result<(), Errno> {
    if inherited == Inherited::Locked {
        let locked = locked(rustix::fs::fstatfs(tree)?.f_flags as u64);
        if asked.is_some_and(|asked| contradicts(asked, locked)) || contradicts(recursive, locked) {
            return Err(Errno::PERM);
        }
    }
    match (asked, inherited) {
        (None, _) => {}
        (Some(asked), Inherited::Locked) => attr::set_attributes(tree, asked, false)?,
        (Some(asked), Inherited::Dropped) => {
            match attr::set_attributes(tree, &replaced(asked), false) {
                // Some are locked: the source lies in a user namespace's mounts. What was asked for by name may still be possible.
                Err(Errno::PERM) => attr::set_attributes(tree, asked, false)?,
                set => set?,
            }
        }
    }
    if recursive.is_empty() { Ok(()) } else { attr::set_attributes(tree, recursive, true) }
}

/// What `MS_REMOUNT|MS_BIND` makes of the options: what they do not name is cleared. The access time stays as it is unless an
/// option sets it, and `nodiratime` alone means relatime beside it (do_reconfigure_mnt and can_change_locked_flags in the kernel).
fn replaced(asked: &Attributes) -> Attributes {
    let mut whole = Attributes { clear: asked.clear | REPLACED & !asked.set, ..*asked };
    if asked.set & attr::NODIRATIME != 0 || asked.clear & attr::ATIME_FIELD != 0 {
        whole.clear |= attr::ATIME_FIELD | attr::NODIRATIME & !asked.set;
    }
    whole
}

/// The flags of statfs(2) as attributes; all of them but `nosymfollow` can be locked.
fn locked(flags: u64) -> u64 {
    const ST_NOATIME: u64 = 1 << 10;
    const ST_NODIRATIME: u64 = 1 << 11;
    const ST_RELATIME: u64 = 1 << 12;
    let access_time = match flags & (ST_NOATIME | ST_RELATIME) {
        0 => attr::STRICTATIME,
        flags if flags & ST_NOATIME != 0 => attr::NOATIME,
        _ => attr::RELATIME,
    };
    let no_directories = if flags & ST_NODIRATIME != 0 { attr::NODIRATIME } else { 0 };
    // The lowest four are the same in both.
    flags & (attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC)
        | access_time
        | no_directories
}

/// Whether the options would clear what is set, or change the access time.
fn contradicts(asked: &Attributes, locked: u64) -> bool {
    let clears = asked.clear & !attr::ATIME_FIELD & locked != 0;
    let access_time = attr::ATIME_FIELD;
    let changes = asked.clear & access_time != 0 && asked.set & access_time != locked & access_time;
    clears || changes || asked.set & attr::NODIRATIME & !locked != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(list: &str) -> Attributes {
        let list: Vec<String> = list.split(',').map(str::to_owned).collect();
        bundle::config::mount_options::parse(&list).attributes
    }

    #[test]
    fn what_is_not_named_is_dropped() {
        let whole = replaced(&asked("ro"));
        assert_eq!(whole.set, attr::RDONLY);
        assert_eq!(whole.clear, attr::NOSUID | attr::NODEV | attr::NOEXEC | attr::NOSYMFOLLOW);
        assert_eq!(replaced(&asked("dev")).clear, REPLACED);
    }

    #[test]
    fn the_access_time_is_kept_unless_it_is_asked_for() {
        let field = attr::ATIME_FIELD | attr::NODIRATIME;
        assert_eq!(replaced(&asked("ro,norelatime")).clear & field, 0);
        assert_eq!(replaced(&asked("noatime")).clear & field, field);
        let only_directories = replaced(&asked("nodiratime"));
        assert_eq!(only_directories.clear & field, attr::ATIME_FIELD);
        assert_eq!(only_directories.set, attr::NODIRATIME, "relatime is the value 0");
    }

    #[test]
    fn what_a_user_namespace_inherits_cannot_be_contradicted() {
        const RELATIME: u64 = 1 << 12;
        let table = [
            (attr::RDONLY | RELATIME, "rw", true),
            (attr::RDONLY | RELATIME, "ro,nosuid", false),
            (RELATIME, "rw,suid,dev,exec", false),
            (attr::NOEXEC | RELATIME, "exec", true),
            (RELATIME, "relatime", false),
            (RELATIME, "noatime", true),
            (1 << 10, "relatime", true),
            (1 << 10, "noatime", false),
            (0, "strictatime", false),
            (0, "nodiratime", true),
            (1 << 10, "norelatime", false),
        ];
        for (flags, options, refused) in table {
            assert_eq!(
                contradicts(&asked(options), locked(flags)),
                refused,
                "{flags:#x} {options}"
            );
        }
    }
}
