//! Mounts of type `cgroup`: the container's cgroups under /sys/fs/cgroup, in each of the three layouts.

use super::mounts::{CgroupView, Context, Label, may_lead_to_proc, target};
use super::op::{
    Bind, Cgroups, Hierarchy, HierarchySource, Inherited, Legacy, Mount, Op, Source, Step,
};
use super::{Error, c_string, legacy};
use crate::cgroup::{self, CgroupPlan};
use bundle::config::mount_options::Options;
use oci_spec::runtime;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use sys::mount::{self as attr, Attributes};

/// How the container's cgroups are shown under /sys/fs/cgroup. In a hierarchy where it has none of its own, it is in the caller's.
pub(super) fn views(cgroup: &CgroupPlan, layout: &cgroup::Layout) -> Vec<CgroupView> {
    let root = Path::new("/sys/fs/cgroup");
    let view = |mount: &Path, controllers: &[String], path| CgroupView {
        name: mount
            .strip_prefix(root)
            .ok()
            .filter(|name| !name.as_os_str().is_empty())
            .map(|name| name.to_string_lossy().into_owned()),
        controllers: controllers.to_vec(),
        path,
    };
    let mut views: Vec<CgroupView> = cgroup
        .members
        .iter()
        .map(|member| match member.version {
            cgroup::Version::V1 => view(&member.mount, &member.controllers, member.directory()),
            cgroup::Version::V2 => view(&member.mount, &[], member.directory()),
        })
        .collect();
    let is_member = |mount: &Path| {
        cgroup.members.iter().any(|member| member.mount.as_os_str() == mount.as_os_str())
    };
    for hierarchy in layout.hierarchies().iter().filter(|one| !is_member(&one.mount)) {
        views.push(view(&hierarchy.mount, &hierarchy.controllers, hierarchy.own_directory()));
    }
    if let Some(unified) = layout.unified().filter(|one| !is_member(&one.mount)) {
        views.push(view(&unified.mount, &[], unified.own_directory()));
    }
    views
}

/// A mount of type `cgroup`: the hierarchies that the host has, each at the container's own cgroup.
///
/// On v1 that is a tmpfs with a directory for every hierarchy, which can become read-only only after they are there.
pub(super) fn plan(
    mount: &runtime::Mount,
    options: &Options,
    context: &Context<'_>,
    sources: &mut Vec<Source>,
    pointer: &str,
    steps: &mut Vec<Step>,
) -> Result<(), Error> {
    if let [view @ CgroupView { name: None, .. }] = context.cgroups {
        steps.push(unified(mount, view, options, context, sources, pointer)?);
        return Ok(());
    }
    let mut parameters = vec![(c"mode".to_owned(), Some(c"755".to_owned()))];
    parameters.extend(context.label.map(Label::parameter));
    let tmpfs = Mount {
        options: parameters,
        attributes: options.attributes.set & !attr::RDONLY,
        ordinary: true,
        ..Mount::new(target(mount.destination(), pointer)?, c"tmpfs".to_owned())
    };
    let (mut hierarchies, mut links) = (Vec::new(), Vec::new());
    for view in context.cgroups {
        let Some(name) = &view.name else { continue };
        let link = c_string(name.as_bytes(), pointer)?;
        // `cpu` and `cpuacct` where they are mounted together as `cpu,cpuacct`.
        for controller in view
            .controllers
            .iter()
            .filter(|controller| *controller != name && !controller.contains('='))
        {
            links.push((c_string(controller.as_bytes(), pointer)?, link.clone()));
        }
        hierarchies.push(Hierarchy { name: link, from: hierarchy(view, context, pointer)? });
    }
    let cgroups = Cgroups { tmpfs, hierarchies, attributes: exactly(options), links };
    steps.push(Step { op: Op::Cgroups(Box::new(cgroups)), pointer: pointer.to_owned() });
    Ok(())
}

fn hierarchy(
    view: &CgroupView,
    context: &Context<'_>,
    pointer: &str,
) -> Result<HierarchySource, Error> {
    if !context.cgroup_namespace {
        return Ok(HierarchySource::Bind(c_string(view.path.as_os_str().as_bytes(), pointer)?));
    }
    if view.controllers.is_empty() {
        return Ok(HierarchySource::Mount { kind: c"cgroup2".to_owned(), data: c"".to_owned() });
    }
    let named = view.controllers.iter().any(|controller| controller.starts_with("name="));
    let data = format!("{}{}", if named { "none," } else { "" }, view.controllers.join(","));
    Ok(HierarchySource::Mount {
        kind: c"cgroup".to_owned(),
        data: c_string(data.as_bytes(), pointer)?,
    })
}

/// Those of the options, and none that a bind mount has from the host besides.
fn exactly(options: &Options) -> Attributes {
    const ALL: u64 = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC;
    let set = options.attributes.set & ALL;
    Attributes { set, clear: ALL & !set, ..Attributes::default() }
}

/// The one hierarchy of v2. It begins at the root of the cgroup namespace, which is the host's where the container has none of its
/// own: whoever shares the namespace of the host is to see the cgroups of the host, as with every runtime.
fn unified(
    mount: &runtime::Mount,
    view: &CgroupView,
    options: &Options,
    context: &Context<'_>,
    sources: &mut Vec<Source>,
    pointer: &str,
) -> Result<Step, Error> {
    let target = target(mount.destination(), pointer)?;
    if !context.cgroup_namespace && context.in_user_namespace {
        let off_proc = may_lead_to_proc(&target, context);
        // A user namespace may mount cgroup2 only together with a cgroup namespace of its own (cgroup_namespaces(7)), and is not
        // shown the cgroups that its user has beside the container's (CVE-2023-25809).
        let source = sources.len();
        sources.push(Source::new(
            c_string(view.path.as_os_str().as_bytes(), pointer)?,
            false,
            context.cgroup_carrier,
            pointer.to_owned(),
        ));
        let bind = Bind {
            target,
            source,
            attributes: options.attributes,
            inherited: Inherited::Locked,
            recursive: Attributes::default(),
            propagation: vec![context.propagation],
            off_proc,
            over_link: false,
            copy_link: false,
        };
        return Ok(Step { op: Op::Bind(Box::new(bind)), pointer: pointer.to_owned() });
    }
    // One superblock serves the whole host and is there: `ro` changes the mount alone, whichever call makes it (mount(2)).
    let legacy = legacy::arguments(mount, "cgroup2", options, None, pointer)?;
    let legacy = Legacy { data: c"".to_owned(), ..legacy };
    let mount = Mount {
        attributes: options.attributes.set,
        propagation: options.propagation.clone(),
        ordinary: true,
        legacy: Some(legacy).filter(|_| options.propagation.is_empty()),
        ..Mount::new(target, c"cgroup2".to_owned())
    };
    Ok(Step { op: Op::Mount(Box::new(mount)), pointer: pointer.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::super::mounts;
    use super::super::mounts::testing::{context, listed};
    use super::*;

    fn view(name: Option<&str>, controllers: &[&str], path: &str) -> CgroupView {
        CgroupView {
            name: name.map(Into::into),
            controllers: controllers.iter().map(ToString::to_string).collect(),
            path: path.into(),
        }
    }

    fn planned(json: &str, context: &Context<'_>) -> Vec<Step> {
        mounts::plan(&listed(json), context, &mut Vec::new()).unwrap().steps
    }

    #[test]
    fn a_read_only_tmpfs_of_cgroups_is_closed_after_its_hierarchies_are_there() {
        let views = [
            view(Some("cpu,cpuacct"), &["cpu", "cpuacct"], "/h/c"),
            view(Some("systemd"), &["name=systemd"], "/h/s"),
            view(Some("unified"), &[], "/h/u"),
        ];
        let json = |read_only: &str| {
            format!(
                r#"[{{"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid", "{read_only}"]}}]"#
            )
        };
        let steps = planned(&json("ro"), &context(&views));
        let recursive = planned(&json("rro"), &context(&views));
        assert_eq!(format!("{steps:?}"), format!("{recursive:?}"));
        let [Step { op: Op::Cgroups(cgroups), .. }] = &steps[..] else { panic!("{steps:?}") };
        assert_eq!(cgroups.tmpfs.attributes, attr::NOSUID, "nothing could be made in it otherwise");
        assert_eq!(cgroups.attributes.set, attr::RDONLY | attr::NOSUID);
        assert_eq!(cgroups.attributes.clear, attr::NODEV | attr::NOEXEC);
        assert_eq!(cgroups.links.len(), 2, "cpu and cpuacct");
        let data = |i: usize| match &cgroups.hierarchies[i].from {
            HierarchySource::Mount { kind, data } => {
                (kind.to_str().unwrap(), data.to_str().unwrap())
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(data(0), ("cgroup", "cpu,cpuacct"));
        assert_eq!(data(1), ("cgroup", "none,name=systemd"));
        assert_eq!(data(2), ("cgroup2", ""));
    }

    #[test]
    fn without_a_cgroup_namespace_the_containers_own_cgroup_is_bound() {
        let views = [view(Some("pids"), &["pids"], "/h/p")];
        let json = r#"[{"destination": "/sys/fs/cgroup", "type": "cgroup"}]"#;
        let context = Context { cgroup_namespace: false, ..context(&views) };
        let steps = planned(json, &context);
        assert!(matches!(&steps[0].op, Op::Cgroups(cgroups)
            if matches!(&cgroups.hierarchies[0].from, HierarchySource::Bind(path) if path.as_c_str() == c"/h/p")));
    }

    #[test]
    fn v2_begins_at_the_root_of_the_cgroup_namespace_whoever_owns_it() {
        let views = [view(None, &[], "/m/c1")];
        let json = r#"[{"destination": "/sys/fs/cgroup", "type": "cgroup", "options": ["ro"]}]"#;
        let shared = Context { cgroup_namespace: false, ..context(&views) };
        for context in [&context(&views), &shared] {
            let steps = planned(json, context);
            assert!(matches!(&steps[0].op, Op::Mount(mount)
                if mount.kind.as_c_str() == c"cgroup2" && mount.attributes == attr::RDONLY
                    && mount.legacy.as_ref().is_some_and(|legacy| u64::from(legacy.flags) == attr::RDONLY)));
        }
        // The kernel refuses that mount there.
        let user = Context { in_user_namespace: true, ..shared };
        let mut sources = Vec::new();
        let steps = mounts::plan(&listed(json), &user, &mut sources).unwrap().steps;
        assert!(matches!(&steps[0].op, Op::Bind(bind) if bind.attributes.set == attr::RDONLY));
        assert_eq!(sources[0].path.as_c_str(), c"/m/c1");
    }
}
