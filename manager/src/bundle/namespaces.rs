//! Which namespaces a container has of its own, and what is set in them.

use super::{Built, Inputs, NetworkNamespace};
use crate::cli::confinement::Sharing;
use crate::container::Record;
use crate::id_map::{self, Mapping};
use crate::user_namespace;
use oci_spec::runtime::{
    LinuxIdMapping, LinuxIdMappingBuilder, LinuxNamespace, LinuxNamespaceBuilder,
    LinuxNamespaceType as Type,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where the namespace of another container is bound, in the container's own directory: what config.json names then never
/// changes, however often the other one is started again.
pub(crate) fn joined(dir: &Path, kind: &str) -> PathBuf {
    dir.join(format!("{kind}ns"))
}

/// How a mode of the record was meant; they were checked when they were typed.
pub(crate) fn sharing(mode: &str) -> Sharing {
    mode.parse().unwrap_or_default()
}

pub(super) fn plan(inputs: &Inputs<'_>) -> Built<Vec<LinuxNamespace>> {
    let config = &inputs.record.host_config;
    let new = |kind| LinuxNamespaceBuilder::default().typ(kind).build();
    let at = |kind, path: PathBuf| LinuxNamespaceBuilder::default().typ(kind).path(path).build();
    let mut namespaces = vec![new(Type::Mount)?];
    for (kind, mode, name) in [
        (Type::Uts, &config.uts_mode, "uts"),
        (Type::Ipc, &config.ipc_mode, "ipc"),
        (Type::Pid, &config.pid_mode, "pid"),
        (Type::Cgroup, &config.cgroupns_mode, "cgroup"),
    ] {
        match sharing(mode) {
            Sharing::Host => {}
            Sharing::Container(_) => namespaces.push(at(kind, joined(inputs.dir, name))?),
            Sharing::Private | Sharing::Shareable | Sharing::None => namespaces.push(new(kind)?),
        }
    }
    if !config.id_mappings.uid_map.is_empty() {
        namespaces.push(at(Type::User, user_namespace::path(inputs.dir))?);
    }
    match inputs.network {
        NetworkNamespace::Host => {}
        NetworkNamespace::New => namespaces.push(new(Type::Network)?),
        NetworkNamespace::Prepared(path) => namespaces.push(at(Type::Network, path.clone())?),
    }
    Ok(namespaces)
}

/// The mappings of the user namespace, which the runtime joins: it has to know who is who in it all the same.
pub(super) fn id_mappings(list: &[String]) -> Built<Option<Vec<LinuxIdMapping>>> {
    let mapping = |mapping: Mapping| {
        LinuxIdMappingBuilder::default()
            .container_id(mapping.inside)
            .host_id(mapping.outside)
            .size(mapping.size)
            .build()
    };
    let list: Vec<_> = id_map::mappings(list).into_iter().map(mapping).collect::<Built<_>>()?;
    Ok(Some(list).filter(|list| !list.is_empty()))
}

/// The first and the last of the groups of a container, in the order that they have outside: the kernel compares them there. It takes
/// none whose numbers in the container are the other way round.
fn range_of_all(lines: &[Mapping]) -> Option<(u32, u32)> {
    let first = lines.iter().min_by_key(|line| line.outside)?.inside;
    let last = lines.iter().max_by_key(|line| line.outside)?;
    let last = last.inside + (last.size - 1);
    (first <= last).then_some((first, last))
}

/// The host name; the host's UTS namespace keeps its own.
pub(super) fn hostname(record: &Record) -> Option<String> {
    (sharing(&record.host_config.uts_mode) != Sharing::Host)
        .then(|| record.network.hostname.clone())
}

/// Kernel parameters: Docker's, so that any user may listen on any port and use ping, the domain name, and those that were
/// asked for.
pub(super) fn sysctls(inputs: &Inputs<'_>) -> BTreeMap<String, String> {
    let config = &inputs.record.host_config;
    let mut sysctls = BTreeMap::new();
    // One that is joined has them, and may belong to another one's user namespace.
    if *inputs.network != NetworkNamespace::Host && !inputs.joins_network() {
        sysctls.insert("net.ipv4.ip_unprivileged_port_start".to_owned(), "0".to_owned());
        let range = match id_map::mappings(&config.id_mappings.gid_map).as_slice() {
            [] => {
                const LAST: u32 = 0x7fff_ffff;
                let mapped = inputs.host.namespace.map_or(LAST, |facts| facts.last_group);
                Some((0, mapped.min(LAST)))
            }
            lines => range_of_all(lines),
        };
        if let Some((first, last)) = range {
            let all = format!("{first} {last}");
            sysctls.insert("net.ipv4.ping_group_range".to_owned(), all);
        }
    }
    let domainname = &inputs.record.config.domainname;
    if !domainname.is_empty() {
        sysctls.insert("kernel.domainname".to_owned(), domainname.clone());
    }
    sysctls.extend(config.sysctls.clone());
    sysctls
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_groups_of_a_container_may_ping() {
        let range = |lines: &[&str]| {
            let lines: Vec<Mapping> = lines.iter().map(|text| text.parse().unwrap()).collect();
            range_of_all(&lines)
        };
        assert_eq!(range(&["0:200000:65536"]), Some((0, 65_535)));
        // The user's own group is the first one outside.
        assert_eq!(range(&["0:1:1000", "1000:0:1", "1001:1001:64536"]), Some((1000, 65_536)));
        assert_eq!(range(&["0:1:10", "100000:0:1"]), None);
        assert_eq!(range(&[]), None);
    }
}
