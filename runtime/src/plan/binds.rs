//! Bind mounts: views of a directory or file of the host, with ids mapped where that is asked for.

use super::mounts::{Context, UserNamespace, may_lead_to_proc, refuse_over_proc, target};
use super::op::{Bind, Carrier, IdMapped, Inherited, MappedBy, Op, Source, Step};
use super::{Error, c_string, idmap};
use bundle::config::mount_mappings;
use bundle::config::mount_options::Options;
use oci_spec::runtime;
use rustix::mount::MountPropagationFlags as Propagation;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use sys::beneath::Target;

/// Plans a bind mount; its source is added to `sources`.
///
/// # Errors
/// For a source or a mapping that is missing, a target on /proc, or a mapping that the caller may not make.
pub(super) fn plan(
    mount: &runtime::Mount,
    options: Options,
    context: &Context<'_>,
    sources: &mut Vec<Source>,
    pointer: String,
) -> Result<Step, Error> {
    let Some(path) = mount.source() else {
        return Err(Error::new(pointer, "a bind mount needs a `source`"));
    };
    let path = context.bundle.join(path);
    let target = target(mount.destination(), &pointer)?;
    // The host's own /proc may be bound where a new one cannot be mounted, and nothing else.
    if path != Path::new("/proc") || target.path() != c"proc" {
        refuse_over_proc(&target, &pointer)?;
    }
    let id_map = id_map(mount, &options, context, &pointer)?;
    let at = format!("{pointer}/source");
    let source = sources.len();
    let no_follow = options.src_nofollow || options.copy_symlink;
    let found = match inside(context.rootfs, &path).filter(|inside| !inside.is_empty()) {
        Some(inside) => {
            // mount_setattr(2) asks for CAP_SYS_ADMIN over the file system, which the init does not have in its user namespace.
            let by_parent = !matches!(context.user_namespace, UserNamespace::None);
            let id_map = id_map.map(|id_map| IdMapped { by_parent, ..id_map });
            Source { id_map, ..Source::new(inside, options.recursive, Carrier::Root, at) }
        }
        None => Source {
            no_magic_links: path.starts_with("/proc") || path.starts_with("/dev"),
            id_map,
            ..Source::new(
                c_string(path.as_os_str().as_bytes(), &at)?,
                options.recursive,
                context.carrier,
                at,
            )
        },
    };
    sources.push(Source { no_follow, ..found });
    let mut propagation = options.propagation;
    if !propagation.first().is_some_and(|&flags| cuts_off(flags)) {
        // What was cloned on the host is a peer of the host's mounts, and so stays what an option leaves as it is: that one, or those
        // below it. It begins as the root, and what is shared from there on is shared with the host only where the root is.
        propagation.insert(0, context.propagation);
    }
    let bind = Bind {
        off_proc: may_lead_to_proc(&target, context),
        target,
        source,
        attributes: options.attributes,
        inherited: match context.user_namespace {
            UserNamespace::None => Inherited::Dropped,
            UserNamespace::New(_) | UserNamespace::Joined(_) => Inherited::Locked,
        },
        recursive: options.recursive_attributes,
        propagation,
        over_link: options.dest_nofollow,
        copy_link: options.copy_symlink,
    };
    Ok(Step { op: Op::Bind(Box::new(bind)), pointer })
}

/// Whether a change of propagation leaves no mount of a tree from which mounts would go to the host.
fn cuts_off(flags: u64) -> bool {
    let flags = Propagation::from_bits_retain(flags as u32);
    flags.contains(Propagation::REC) && !flags.contains(Propagation::SHARED)
}

/// The path in the root file system that a path of the host names, by its letters alone; empty for the root itself.
pub(super) fn inside(rootfs: &Path, path: &Path) -> Option<CString> {
    let clean = |path: &Path| Target::new(path.as_os_str().as_bytes()).ok();
    let (root, path) = (clean(rootfs)?, clean(path)?);
    let rest = path.path().to_bytes().strip_prefix(root.path().to_bytes())?;
    if !rest.is_empty() && !rest.starts_with(b"/") {
        return None;
    }
    CString::new(rest.strip_prefix(b"/").unwrap_or_default()).ok()
}

/// The mapping of a mount: its own, or that of the container's user namespace (config.md, `idmap`).
///
/// As in runc, `rbind` alone clones what is below the source and maps only the mount itself; `ridmap` maps all of it.
fn id_map(
    mount: &runtime::Mount,
    options: &Options,
    context: &Context<'_>,
    pointer: &str,
) -> Result<Option<IdMapped>, Error> {
    let uids = mount.uid_mappings().as_deref().unwrap_or_default();
    let gids = mount.gid_mappings().as_deref().unwrap_or_default();
    let own = !uids.is_empty() || !gids.is_empty();
    let by = match (own, options.idmap, &options.id_mappings) {
        (false, None, _) => return Ok(None),
        (true, ..) => MappedBy::Maps(idmap::of_mount(uids, gids)),
        (false, Some(_), Some(text)) => {
            let mappings = mount_mappings::parse(text, context.linux)
                .map_err(|message| Error::new(format!("{pointer}/options"), message))?;
            MappedBy::Maps(idmap::of_mount(&mappings.uids, &mappings.gids))
        }
        (false, Some(_), None) => match context.user_namespace {
            UserNamespace::New(maps) => MappedBy::Maps(maps.clone()),
            UserNamespace::Joined(path) => MappedBy::Namespace(path.to_owned()),
            UserNamespace::None => {
                return Err(Error::new(
                    format!("{pointer}/options"),
                    "`idmap` needs mappings, or a user namespace to take them from",
                ));
            }
        },
    };
    if context.carrier == Carrier::Path {
        // mount_setattr(2) asks for CAP_SYS_ADMIN over the file system, which is the host's.
        return Err(Error::new(
            pointer,
            "asks for an idmapped mount, which only root of the host can make",
        ));
    }
    Ok(Some(IdMapped { by, recursive: options.idmap == Some(true), by_parent: false }))
}

#[cfg(test)]
mod tests {
    use super::super::idmap::{IdMap, IdMaps};
    use super::super::mounts;
    use super::super::mounts::testing::{context, listed};
    use super::*;

    fn mapped(mount: &str, context: &Context<'_>) -> Result<Option<IdMapped>, Error> {
        let mut sources = Vec::new();
        let json = format!(r#"[{{"destination": "/x", "source": "/s", "type": "bind", {mount}}}]"#);
        mounts::plan(&listed(&json), context, &mut sources)?;
        Ok(sources.remove(0).id_map)
    }

    const MAPPINGS: &str = r#""uidMappings": [{"containerID": 0, "hostID": 7, "size": 1}],
        "gidMappings": [{"containerID": 0, "hostID": 8, "size": 2}, {"containerID": 5, "hostID": 9, "size": 1}]"#;

    fn maps(uid: &str, gid: &str) -> IdMaps {
        let map = |lines: &str| IdMap { lines: lines.into(), tool: None };
        IdMaps { uid: map(uid), gid: map(gid), deny_setgroups: false }
    }

    #[test]
    fn a_mount_has_its_own_mapping_or_that_of_the_user_namespace() {
        let own = maps("0 100 10\n", "0 200 10\n");
        let base = context(&[]);
        let new = Context { user_namespace: UserNamespace::New(&own), ..base };
        let joined = Context { user_namespace: UserNamespace::Joined(c"/ns"), ..base };
        let with = |options: &str| format!(r#"{MAPPINGS}, "options": [{options}]"#);
        let by = |mount: &str, context| mapped(mount, context).unwrap().map(|id_map| id_map.by);
        let configured = Some(MappedBy::Maps(maps("0 7 1\n", "0 8 2\n5 9 1\n")));
        for context in [&base, &new, &joined] {
            assert_eq!(by(&with(r#""bind""#), context), configured);
            assert_eq!(by(&with(r#""bind", "idmap""#), context), configured);
            assert_eq!(by(r#""options": ["bind"]"#, context), None);
        }
        let idmap = r#""options": ["bind", "idmap"]"#;
        assert_eq!(by(idmap, &new), Some(MappedBy::Maps(own.clone())));
        assert_eq!(by(idmap, &joined), Some(MappedBy::Namespace(c"/ns".to_owned())));
        assert_eq!(mapped(idmap, &base).unwrap_err().pointer, "/mounts/0/options");
    }

    #[test]
    fn only_ridmap_maps_what_is_below_the_source() {
        let recursive = |options: &str| {
            let mount = format!(r#"{MAPPINGS}, "options": [{options}]"#);
            mapped(&mount, &context(&[])).unwrap().unwrap().recursive
        };
        assert!(!recursive(r#""rbind""#));
        assert!(!recursive(r#""rbind", "idmap""#));
        assert!(recursive(r#""rbind", "ridmap""#));
    }

    #[test]
    fn a_caller_without_privilege_is_told_that_ids_cannot_be_mapped() {
        let rootless = Context { carrier: Carrier::Path, ..context(&[]) };
        let error = mapped(&format!(r#"{MAPPINGS}, "options": ["bind"]"#), &rootless).unwrap_err();
        assert_eq!(error.pointer, "/mounts/0");
        assert!(error.message.contains("only root of the host"), "{error}");
    }

    #[test]
    fn a_source_in_the_root_is_looked_up_there() {
        let mut sources = Vec::new();
        for source in ["rootfs/a/b", "/bundle/./rootfs//x", "rootfs", "rootfs2/a", "rootfs/../y"] {
            let json =
                format!(r#"[{{"destination": "/x", "source": "{source}", "options": ["rbind"]}}]"#);
            mounts::plan(&listed(&json), &context(&[]), &mut sources).unwrap();
        }
        let found: Vec<_> =
            sources.iter().map(|source| (source.carrier, source.path.to_str().unwrap())).collect();
        let (root, tree) = (Carrier::Root, Carrier::Tree);
        assert_eq!(found[..2], [(root, "a/b"), (root, "x")]);
        assert!(found[2..].iter().all(|(carrier, _)| *carrier == tree), "{found:?}");
    }

    #[test]
    fn a_source_in_the_root_is_mapped_by_the_init_or_for_it_in_a_user_namespace() {
        let base = context(&[]);
        let own = maps("0 100 10\n", "0 200 10\n");
        let new = Context { user_namespace: UserNamespace::New(&own), ..base };
        let json = format!(
            r#"[{{"destination": "/x", "source": "rootfs/a", "options": ["rbind"], {MAPPINGS}}}]"#
        );
        let mut sources = Vec::new();
        for context in [&base, &new] {
            mounts::plan(&listed(&json), context, &mut sources).unwrap();
        }
        assert!(sources.iter().all(|source| source.carrier == Carrier::Root));
        let by_parent = |index: usize| sources[index].id_map.as_ref().unwrap().by_parent;
        assert_eq!([by_parent(0), by_parent(1)], [false, true]);
    }

    #[test]
    fn sources_where_links_lead_to_processes_are_resolved_without_those() {
        let mut sources = Vec::new();
        for source in ["/proc/self/fd/3", "/dev/stdin", "/srv/proc", "dev"] {
            let json =
                format!(r#"[{{"destination": "/x", "source": "{source}", "options": ["bind"]}}]"#);
            mounts::plan(&listed(&json), &context(&[]), &mut sources).unwrap();
        }
        let strict: Vec<bool> = sources.iter().map(|source| source.no_magic_links).collect();
        assert_eq!(strict, [true, true, false, false]);
    }
}
