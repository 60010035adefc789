//! Mounts: what can be said of them without looking at the file systems.

use std::path::Path;

use oci_spec::runtime::{LinuxNamespaceType as Type, Mount};

use super::ids::{mappings, mappings_at};
use super::{Check, Report, Subject, elements, lexically_clean};
use crate::config::{mount_mappings, mount_options};

pub(super) const CHECKS: &[Check] = &[destinations, types, bind_options, links, id_mappings];

/// Files in procfs that may be covered: they only inform, and lxcfs makes versions of them for one container (runc's list).
pub const PROC_FILES: [&str; 10] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/crypto/fips_enabled",
];

/// "A mount is a bind mount if it has either `bind` or `rbind` in the options" (config.md, mounts).
pub(super) fn is_bind(mount: &Mount) -> bool {
    has_option(mount, &["bind", "rbind"])
}

/// Whether the mount is to have its ids mapped, by an option or by mappings of its own.
pub(super) fn is_id_mapped(mount: &Mount) -> bool {
    let given = |list: &Option<Vec<_>>| list.as_ref().is_some_and(|list| !list.is_empty());
    has_option(mount, &["idmap", "ridmap"])
        || id_options(mount).next().is_some()
        || given(mount.uid_mappings())
        || given(mount.gid_mappings())
}

/// The options with mappings, such as `idmap=uids=...`, with their places.
fn id_options(mount: &Mount) -> impl Iterator<Item = (usize, &str)> {
    let mappings = |(at, option)| Some((at, mount_options::id_mappings(option)?.1));
    elements(mount.options()).map(|(at, option)| (at, option.as_str())).filter_map(mappings)
}

fn has_option(mount: &Mount, names: &[&str]) -> bool {
    elements(mount.options()).any(|(_, option)| names.contains(&option.as_str()))
}

/// "`destination` (string, REQUIRED)" (config.md, mounts); a relative one is deprecated and means
/// relative to `/`. Nothing may cover procfs, because the container's own restrictions, and those
/// of the LSM, are made through it (runc's checkProcMount, CVE-2019-16884). Symbolic links are for
/// whoever mounts; here it is the path as it is written.
fn destinations(subject: &Subject<'_>, report: &mut Report) {
    for (index, mount) in elements(subject.spec.mounts()) {
        let pointer = format!("/mounts/{index}/destination");
        let destination = mount.destination();
        if destination.as_os_str().is_empty() {
            report.add(pointer, "must not be empty");
            continue;
        }
        if !destination.is_absolute() {
            let path = destination.display();
            let message = format!("`{path}` is relative, which is deprecated; taken as `/{path}`");
            report.warn(&pointer, message);
        }
        let inside = lexically_clean(destination);
        if inside == Path::new("/proc") {
            // Whether the source of a bind mount is procfs is seen on the host.
            if !is_bind(mount) && mount.typ().as_deref() != Some("proc") {
                report.add(pointer, "only procfs may be mounted on `/proc`");
            }
        } else if inside.starts_with("/proc") && !PROC_FILES.iter().any(|f| inside == Path::new(f))
        {
            report.add(pointer, format!("`{}` is inside `/proc`", destination.display()));
        }
    }
}

/// A mount needs a type to be of, or a source to bind.
fn types(subject: &Subject<'_>, report: &mut Report) {
    for (index, mount) in elements(subject.spec.mounts()) {
        let typ = mount.typ().as_deref().unwrap_or_default();
        let source = mount.source().as_deref().unwrap_or(Path::new(""));
        if is_bind(mount) {
            // An empty source would be the bundle itself, with the configuration in it.
            if source.as_os_str().is_empty() && !has_option(mount, &["remount"]) {
                report.add(format!("/mounts/{index}/source"), "is missing for a bind mount");
            }
        } else if typ == "bind" {
            let message = "a mount of type `bind` needs the option `bind` or `rbind`";
            report.add(format!("/mounts/{index}/type"), message);
        } else if typ.is_empty() && !has_option(mount, &["remount"]) {
            let message = "is missing: only a bind mount can do without";
            report.add(format!("/mounts/{index}/type"), message);
        }
    }
}

/// The kernel ignores data for the file system in a bind mount, so that `size=1g` would promise
/// what is not kept (runc: "bind mounts cannot have any filesystem-specific options applied").
fn bind_options(subject: &Subject<'_>, report: &mut Report) {
    for (index, mount) in elements(subject.spec.mounts()).filter(|(_, mount)| is_bind(mount)) {
        for (at, option) in elements(mount.options()) {
            if !mount_options::is_known(option) {
                let pointer = format!("/mounts/{index}/options/{at}");
                let message = format!("`{option}` has no effect on a bind mount");
                let hint = "a bind mount takes mount flags only; options of its file system are \
                            set where that is mounted";
                report.add_with_hint(&pointer, message, hint);
            }
        }
    }
}

/// What crun's options say of links is about bind mounts, and of a link that is copied nothing is mounted.
fn links(subject: &Subject<'_>, report: &mut Report) {
    const COPY: &str = "copy-symlink";
    const LINKS: [&str; 3] = ["src-nofollow", "dest-nofollow", COPY];
    for (index, mount) in elements(subject.spec.mounts()) {
        for (at, option) in elements(mount.options()) {
            if !LINKS.contains(&option.as_str()) {
                continue;
            }
            let pointer = format!("/mounts/{index}/options/{at}");
            if !is_bind(mount) {
                report.add(pointer, format!("`{option}` is for bind mounts only"));
            } else if option == COPY && has_option(mount, &LINKS[..2]) {
                let message = format!("`{COPY}` excludes `src-nofollow` and `dest-nofollow`");
                report.add(pointer, message);
            }
        }
    }
}

/// "If specified, it MUST be specified along with `gidMappings`"; without mappings, those of the
/// container's user namespace, "otherwise an error MUST be returned" (config.md, mounts). Only
/// bind mounts can have their ids mapped (runc).
fn id_mappings(subject: &Subject<'_>, report: &mut Report) {
    for (index, mount) in elements(subject.spec.mounts()).filter(|(_, m)| is_id_mapped(m)) {
        let pointer = format!("/mounts/{index}");
        if !is_bind(mount) {
            report.add(&pointer, "only a bind mount can have its ids mapped");
        }
        let lists = [("uidMappings", mount.uid_mappings()), ("gidMappings", mount.gid_mappings())];
        let lists = lists.map(|(name, list)| (name, list.as_deref().unwrap_or_default()));
        let given = lists.iter().filter(|(_, list)| !list.is_empty()).count();
        for (at, text) in id_options(mount) {
            let at = format!("{pointer}/options/{at}");
            match mount_mappings::parse(text, subject.linux()) {
                Err(message) => report.add(&at, message),
                Ok(_) if given > 0 => {
                    report.add(&at, "has mappings, and so have `uidMappings` or `gidMappings`");
                }
                Ok(found) => {
                    for list in [&found.uids, &found.gids] {
                        mappings_at(list, &at, &|_, _| at.clone(), report);
                    }
                }
            }
        }
        if given == 0 && id_options(mount).next().is_none() && !subject.has(Type::User) {
            let message = "`idmap` needs mappings, or a user namespace to take them from";
            report.add(format!("{pointer}/options"), message);
        }
        for (name, list) in lists {
            if given == 1 && list.is_empty() {
                let message = "is missing: uid and gid mappings go together";
                report.add(format!("{pointer}/{name}"), message);
            }
            mappings(list, &format!("{pointer}/{name}"), report);
        }
    }
}
