//! What only mount(2) can do, change a mount in place and a superblock flag that fsconfig(2) has no name for, and what it does in
//! one call instead of five and more: the small file systems of the kernel that every container has.

use super::mounts::{Context, Label, SHARED, UserNamespace, is_of_host, may_lead_to_proc, target};
use super::op::{Inherited, Legacy, Op, Remount, RemountTo, Step};
use super::{Error, c_string};
use bundle::config::mount_options::Options;
use oci_spec::runtime;
use std::os::unix::ffi::OsStrExt;
use sys::beneath::Target;
use sys::mount as attr;

/// `MS_SYNCHRONOUS`
const SYNCHRONOUS: u32 = 1 << 4;
/// `MS_MANDLOCK`
const MANDLOCK: u32 = 1 << 6;
/// `MS_DIRSYNC`
const DIRSYNC: u32 = 1 << 7;
/// `MS_NOSYMFOLLOW`
const NOSYMFOLLOW: u32 = 1 << 8;
/// `MS_NOATIME`
const NOATIME: u32 = 1 << 10;
/// `MS_NODIRATIME`
const NODIRATIME: u32 = 1 << 11;
/// `MS_RELATIME`
const RELATIME: u32 = 1 << 21;
/// `MS_I_VERSION`
pub(super) const I_VERSION: u32 = 1 << 23;
/// `MS_STRICTATIME`
const STRICTATIME: u32 = 1 << 24;
/// `MS_LAZYTIME`
const LAZYTIME: u32 = 1 << 25;

/// Plans the change of the mount that is at the destination already.
///
/// # Errors
/// For a NUL byte.
pub(super) fn remount(
    mount: &runtime::Mount,
    kind: &str,
    options: &Options,
    context: &Context<'_>,
    pointer: String,
) -> Result<Step, Error> {
    let target = target(mount.destination(), &pointer)?;
    let remount = Remount {
        off_proc: may_lead_to_proc(&target, context),
        inherited: match context.user_namespace {
            UserNamespace::New(_) | UserNamespace::Joined(_) if is_of_host(&target, context) => {
                Inherited::Locked
            }
            _ => Inherited::Dropped,
        },
        target,
        // A superblock that the host shares must not become read-only there.
        to: match options.bind || SHARED.contains(&kind) || kind.starts_with("cgroup") {
            true => RemountTo::Mount(options.attributes),
            false => RemountTo::FileSystem(arguments(
                mount,
                kind,
                options,
                None,
                &format!("{pointer}/options"),
            )?),
        },
        recursive: options.recursive_attributes,
        propagation: options.propagation.clone(),
    };
    Ok(Step { op: Op::Remount(Box::new(remount)), pointer })
}

/// Whether a new file system is made by mount(2).
///
/// Not where it would make a superblock read-only that others share, nor for file systems whose options may be long or have commas in
/// them, as overlayfs's do. Nor where something is done to the mount or in it afterwards: it would have to be looked up for that,
/// and an image that another container shares could have something else in its place by then.
pub(super) fn is_better(kind: &str, options: &Options, target: &Target) -> bool {
    const PAGE: usize = 4096;
    let has_mode = options.data.iter().any(|option| option.starts_with("mode="));
    let is_used = target.path() == c"dev" || !options.propagation.is_empty();
    let small = (matches!(kind, "proc" | "sysfs" | "devpts" | "mqueue")
        || kind == "tmpfs" && has_mode && !options.copy_up)
        && options.attributes.set & attr::RDONLY == 0
        && !options.data.iter().any(|option| option.contains([',', '"', '\\']))
        && options.data.iter().map(|option| option.len() + 1).sum::<usize>() < PAGE / 2;
    options.version || small && !is_used
}

/// The arguments of mount(2) for these options.
///
/// # Errors
/// For a NUL byte.
pub(super) fn arguments(
    mount: &runtime::Mount,
    kind: &str,
    options: &Options,
    label: Option<&Label>,
    pointer: &str,
) -> Result<Legacy, Error> {
    let source =
        mount.source().as_deref().map_or(kind.as_bytes(), |path| path.as_os_str().as_bytes());
    let mut data = options.data.join(",").into_bytes();
    if let Some(Label { parameter, label }) = label {
        // A label may contain commas, which is why it is quoted.
        let separator: &[u8] = if data.is_empty() { b"" } else { b"," };
        data.extend([separator, parameter.to_bytes(), b"=\"", label.to_bytes(), b"\""].concat());
    }
    Ok(Legacy {
        source: c_string(source, pointer)?,
        flags: flags(options),
        data: c_string(&data, pointer)?,
    })
}

fn flags(options: &Options) -> u32 {
    let set = options.attributes.set;
    // The two kinds of flags have the lowest four in common.
    let mut flags = (set & (attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC)) as u32;
    let given = options.attributes.clear & attr::ATIME_FIELD != 0;
    let access_time = match set & attr::ATIME_FIELD {
        attr::NOATIME => NOATIME,
        attr::STRICTATIME => STRICTATIME,
        _ if given => RELATIME,
        _ => 0,
    };
    for (wanted, flag) in [
        (true, access_time),
        (set & attr::NODIRATIME != 0, NODIRATIME),
        (set & attr::NOSYMFOLLOW != 0, NOSYMFOLLOW),
        (options.version, I_VERSION),
    ] {
        flags |= if wanted { flag } else { 0 };
    }
    for name in &options.superblock {
        match *name {
            "sync" => flags |= SYNCHRONOUS,
            "async" => flags &= !SYNCHRONOUS,
            "dirsync" => flags |= DIRSYNC,
            "mand" => flags |= MANDLOCK,
            "nomand" => flags &= !MANDLOCK,
            "lazytime" => flags |= LAZYTIME,
            "nolazytime" => flags &= !LAZYTIME,
            _ => {}
        }
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::super::mounts;
    use super::super::mounts::testing::{context, listed};
    use super::*;

    fn planned(json: &str) -> Op {
        let steps = mounts::plan(&listed(json), &context(&[]), &mut Vec::new()).unwrap().steps;
        steps.into_iter().next().unwrap().op
    }

    #[test]
    fn a_remount_replaces_all_flags() {
        let json = r#"[{"destination": "/x", "options": ["remount", "ro", "noexec", "noatime", "lazytime", "size=1m", "rslave"]}]"#;
        let Op::Remount(remount) = planned(json) else { panic!("a remount") };
        let RemountTo::FileSystem(to) = remount.to else { panic!("the file system too") };
        assert_eq!(to.flags, 1 | 8 | NOATIME | LAZYTIME);
        assert_eq!(to.data.as_c_str(), c"size=1m");
        assert_eq!(remount.propagation, [(1 << 19) | (1 << 14)]);
    }

    #[test]
    fn a_superblock_that_others_share_is_left_alone() {
        for json in [
            r#"[{"destination": "/x", "options": ["remount", "bind", "ro"]}]"#,
            r#"[{"destination": "/sys", "type": "sysfs", "options": ["remount", "ro"]}]"#,
            r#"[{"destination": "/sys/fs/cgroup", "type": "cgroup", "options": ["remount", "ro"]}]"#,
        ] {
            let Op::Remount(remount) = planned(json) else { panic!("a remount") };
            let RemountTo::Mount(to) = remount.to else { panic!("the mount alone: {json}") };
            assert_eq!(to.set, attr::RDONLY);
        }
    }

    #[test]
    fn a_file_system_with_change_counters_is_made_by_the_old_call() {
        let json = r#"[{"destination": "/x", "type": "ext4", "source": "t", "options": ["iversion", "sync", "size=1m", "mode=700"]}]"#;
        let Op::Mount(mount) = planned(json) else { panic!("a mount") };
        let legacy = mount.legacy.expect("no parameter of fsconfig(2) says that");
        assert_eq!(legacy.flags, I_VERSION | SYNCHRONOUS);
        assert_eq!((legacy.source.as_c_str(), legacy.data.as_c_str()), (c"t", c"size=1m,mode=700"));
        let json = json.replace("\"iversion\"", "\"iversion\", \"noiversion\"");
        assert!(matches!(planned(&json), Op::Mount(mount) if mount.legacy.is_none()));
    }

    #[test]
    fn what_every_container_has_is_mounted_in_one_call() {
        let legacy = |rest: &str| match planned(&format!(r#"[{{"destination": "/x", {rest}}}]"#)) {
            Op::Mount(mount) => mount.legacy,
            op => panic!("{op:?}"),
        };
        let devpts = legacy(
            r#""type": "devpts", "source": "devpts", "options": ["nosuid", "noexec", "ptmxmode=0666"]"#,
        );
        let devpts = devpts.expect("a small file system");
        assert_eq!((devpts.flags, devpts.data.as_c_str()), (2 | 8, c"ptmxmode=0666"));
        assert!(legacy(r#""type": "tmpfs", "options": ["mode=755", "strictatime"]"#).is_some());
        for rest in [
            r#""type": "sysfs", "options": ["ro"]"#,
            r#""type": "tmpfs", "options": ["size=1m"]"#,
            r#""type": "tmpfs", "options": ["mode=755", "tmpcopyup"]"#,
            r#""type": "tmpfs", "options": ["mode=755", "ro"]"#,
            r#""type": "tmpfs", "options": ["mode=755", "mpol=bind:0,2"]"#,
            r#""type": "tmpfs", "options": ["mode=755", "rslave"]"#,
            r#""type": "overlay", "options": ["lowerdir=/a"]"#,
        ] {
            assert!(legacy(rest).is_none(), "{rest}");
        }
    }

    #[test]
    fn a_label_is_quoted() {
        let label = Label { parameter: c"context".to_owned(), label: c"u:r:t:s0:c1,c2".to_owned() };
        let list = listed(
            r#"[{"destination": "/x", "type": "tmpfs", "options": ["iversion", "size=1"]}]"#,
        );
        let options = bundle::config::mount_options::parse(list[0].options().as_deref().unwrap());
        let legacy = arguments(&list[0], "tmpfs", &options, Some(&label), "").unwrap();
        assert_eq!(legacy.data.as_c_str(), c"size=1,context=\"u:r:t:s0:c1,c2\"");
    }
}
