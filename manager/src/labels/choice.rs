//! Which labels a container gets, written into its record.

use crate::bundle::Confinement;
use crate::bundle::host::HostFacts;
use crate::container::{Containers, HostConfig, Record};
use crate::error::{Error, Result};
use crate::selinux::{Context, Contexts, Labels, is_known};
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};
use std::collections::BTreeSet;

/// How many categories there are, in every policy that has them.
const CATEGORIES: u16 = 1024;

/// The categories of the files of containers without a process label: no container with one gets this pair.
const OF_UNCONFINED: (u16, u16) = (CATEGORIES - 2, CATEGORIES - 1);

/// Gives a new container its labels. What comes back is said to whoever makes it.
///
/// # Errors
/// It cannot have those that were asked for, or joins namespaces of containers that are kept apart.
pub fn choose(
    host: &HostFacts,
    containers: &Containers,
    record: &mut Record,
) -> Result<Option<String>> {
    if !host.selinux {
        return Ok(None);
    }
    let config = &record.host_config;
    let (parts, is_open) = (Confinement::of(config).labels, is_open(config));
    // As in Docker, whom it joins is asked only where nothing else has decided.
    let joined = match parts.is_empty() && !is_open {
        true => joined(containers, config)?,
        false => None,
    };
    let wish = Wish { parts: &parts, joined, is_open };
    let used = used(containers)?;
    let (labels, warning) =
        wish.decide(Contexts::of_host().as_ref(), || level(&used, draw), is_known)?;
    record.selinux = labels;
    Ok(warning)
}

/// Whether a container is let into the host so far that a label would keep it from what it is to do there: Docker's rule.
fn is_open(config: &HostConfig) -> bool {
    config.privileged || config.pid_mode == "host" || config.ipc_mode == "host"
}

/// The process label of the containers whose namespaces are joined, if they have one: who shares processes or memory with another has
/// to have its label too.
fn joined(containers: &Containers, config: &HostConfig) -> Result<Option<Context>> {
    let of = |mode: &str| -> Result<Option<Context>> {
        let Some(name) = mode.strip_prefix("container:") else { return Ok(None) };
        let labels = containers.find(name)?.record()?.selinux;
        Ok(labels.and_then(|labels| Context::parse(&labels.process)))
    };
    match (of(&config.ipc_mode)?, of(&config.pid_mode)?) {
        (Some(ipc), Some(pid)) if ipc != pid => Err(Error::Usage(
            "--ipc and --pid containers SELinux labels aren't the same".to_owned(),
        )),
        (ipc, pid) => Ok(ipc.or(pid)),
    }
}

/// The levels that containers have. One that is made at the same moment may draw the same pair of half a million.
fn used(containers: &Containers) -> Result<BTreeSet<String>> {
    let record = |id| containers.dir(&id).record().ok()?.selinux;
    let labels = containers.ids()?.into_iter().filter_map(record);
    Ok(labels.filter_map(|labels| Some(Context::parse(&labels.process)?.level)).collect())
}

/// A level with two categories that no container has. There are more of them than containers.
fn level(used: &BTreeSet<String>, mut draw: impl FnMut() -> Result<(u16, u16)>) -> Result<String> {
    loop {
        let (one, other) = draw()?;
        let (low, high) = (one.min(other), one.max(other));
        let level = format!("s0:c{low},c{high}");
        if low != high && (low, high) != OF_UNCONFINED && !used.contains(&level) {
            return Ok(level);
        }
    }
}

fn draw() -> Result<(u16, u16)> {
    let mut bytes = [0; 4];
    match getrandom(&mut bytes, GetRandomFlags::empty()) {
        Ok(4) => {}
        Ok(_) => return Err(Error::system("draw categories")(Errno::IO)),
        Err(errno) => return Err(Error::system("draw categories")(errno)),
    }
    let [a, b, c, d] = bytes;
    Ok((u16::from_ne_bytes([a, b]) % CATEGORIES, u16::from_ne_bytes([c, d]) % CATEGORIES))
}

/// What labels depend on.
struct Wish<'a> {
    /// `--security-opt label=`
    parts: &'a [String],
    /// The process label of a container whose namespaces are joined; none where a word about labels or `is_open` goes before it.
    joined: Option<Context>,
    /// It is let into the host.
    is_open: bool,
}

impl Wish<'_> {
    /// Decides, without touching anything. As in Docker, a word about labels on the command line goes before everything else.
    fn decide(
        &self,
        contexts: Option<&Contexts>,
        level: impl FnOnce() -> Result<String>,
        is_known: impl Fn(&str) -> bool,
    ) -> Result<(Option<Labels>, Option<String>)> {
        let has_parts = !self.parts.is_empty();
        let is_disabled = match has_parts {
            true => self.parts.iter().any(|part| part == "disable"),
            false => self.is_open,
        };
        let Some(contexts) = contexts else {
            return match has_parts && !is_disabled {
                true => Err(refused(
                    &self.parts.join(","),
                    "the host's policy has no contexts for containers",
                )),
                false => Ok((None, None)),
            };
        };
        let labels = match (is_disabled, &self.joined) {
            (true, _) => unconfined(contexts),
            (false, Some(joined)) => shared(contexts, joined),
            (false, None) => self.confined(contexts, &level()?),
        };
        let unknown = [&labels.process, &labels.mount]
            .into_iter()
            .find(|label| !label.is_empty() && !is_known(label));
        match unknown {
            None => Ok((Some(labels), None)),
            Some(_) if is_disabled => Ok((None, None)),
            Some(label) if has_parts => Err(refused(label, "the host's policy does not know it")),
            Some(label) => Ok((None, Some(unknown_to_policy(label, contexts)))),
        }
    }

    /// The policy's contexts, with a level of the container's own, and what the parts say. Of two parts of a kind the last one holds.
    fn confined(&self, contexts: &Contexts, level: &str) -> Labels {
        let mut process = contexts.process.with_level(level);
        let mut mount = contexts.file.with_level(level);
        for (name, value) in self.parts.iter().filter_map(|part| part.split_once(':')) {
            let value = || value.to_owned();
            match name {
                "user" => (process.user, mount.user) = (value(), value()),
                "role" => process.role = value(),
                "type" => process.kind = value(),
                "filetype" => mount.kind = value(),
                _ => (process.level, mount.level) = (value(), value()),
            }
        }
        Labels { process: process.to_string(), mount: mount.to_string() }
    }
}

/// Without a process label; what it leaves behind belongs to no confined container.
fn unconfined(contexts: &Contexts) -> Labels {
    let (low, high) = OF_UNCONFINED;
    let mount = contexts.file.with_level(&format!("s0:c{low},c{high}"));
    Labels { process: String::new(), mount: mount.to_string() }
}

/// The label of another container, and files that both may touch.
fn shared(contexts: &Contexts, process: &Context) -> Labels {
    let file = Context { user: process.user.clone(), ..contexts.file.with_level(&process.level) };
    Labels { process: process.to_string(), mount: file.to_string() }
}

fn refused(label: &str, why: &str) -> Error {
    Error::Rejected {
        message: format!("cannot confine the container by SELinux label `{label}`: {why}"),
        hint: Some(
            "`seinfo -t` lists the types that there are; `label=disable` is no label at all"
                .to_owned(),
        ),
    }
}

fn unknown_to_policy(label: &str, contexts: &Contexts) -> String {
    format!(
        "SELinux is enabled, but its policy does not know `{label}`, as containers are labelled by `{}`: the container is not confined by it. \
         Install a policy for containers such as container-selinux, or give `--security-opt label=disable`.",
        contexts.path.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::tests::record;
    use crate::container::{ContainerId, ContainerName};

    fn contexts() -> Contexts {
        let context = |text| Context::parse(text).unwrap();
        Contexts {
            process: context("system_u:system_r:container_t:s0"),
            file: context("system_u:object_r:container_file_t:s0"),
            read_only: context("system_u:object_r:container_ro_file_t:s0"),
            path: "/contexts".into(),
        }
    }

    type Decision = Result<(Option<Labels>, Option<String>)>;

    fn decided(parts: &[&str], is_open: bool, joined: Option<&str>) -> Decision {
        let parts: Vec<String> = parts.iter().map(ToString::to_string).collect();
        let joined = joined.and_then(Context::parse);
        let is_known = |label: &str| !label.contains("nosuch");
        let wish = Wish { parts: &parts, joined, is_open };
        wish.decide(Some(&contexts()), || Ok("s0:c1,c2".to_owned()), is_known)
    }

    #[track_caller]
    fn gets(parts: &[&str], is_open: bool, process: &str, mount: &str) {
        let expected = Labels { process: process.to_owned(), mount: mount.to_owned() };
        assert_eq!(decided(parts, is_open, None).unwrap(), (Some(expected), None), "{parts:?}");
    }

    const PROCESS: &str = "system_u:system_r:container_t:s0:c1,c2";
    const MOUNT: &str = "system_u:object_r:container_file_t:s0:c1,c2";
    const MOUNT_UNCONFINED: &str = "system_u:object_r:container_file_t:s0:c1022,c1023";

    #[test]
    fn a_container_has_the_policys_contexts_with_categories_of_its_own() {
        gets(&[], false, PROCESS, MOUNT);
    }

    #[test]
    fn parts_replace_those_of_the_policy() {
        gets(&["type:x_t"], false, "system_u:system_r:x_t:s0:c1,c2", MOUNT);
        gets(&["filetype:x_t"], false, PROCESS, "system_u:object_r:x_t:s0:c1,c2");
        gets(&["role:x_r"], false, "system_u:x_r:container_t:s0:c1,c2", MOUNT);
        gets(
            &["user:x_u", "level:s0:c9", "level:s0:c7,c8"],
            false,
            "x_u:system_r:container_t:s0:c7,c8",
            "x_u:object_r:container_file_t:s0:c7,c8",
        );
    }

    #[test]
    fn what_is_let_into_the_host_has_no_process_label_unless_it_asks_for_one() {
        gets(&[], true, "", MOUNT_UNCONFINED);
        gets(&["disable"], false, "", MOUNT_UNCONFINED);
        gets(&["type:x_t", "disable"], false, "", MOUNT_UNCONFINED);
        gets(&["type:x_t"], true, "system_u:system_r:x_t:s0:c1,c2", MOUNT);
    }

    #[test]
    fn who_joins_another_has_its_label_unless_it_asks_for_another() {
        let theirs = "their_u:system_r:their_t:s0:c7,c8";
        let (labels, _) = decided(&[], false, Some(theirs)).unwrap();
        let expected = Labels {
            process: theirs.to_owned(),
            mount: "their_u:object_r:container_file_t:s0:c7,c8".to_owned(),
        };
        assert_eq!(labels, Some(expected));
    }

    #[test]
    fn who_joins_two_that_have_other_labels_is_asked_only_where_that_decides() {
        let root = tempfile::tempdir().unwrap();
        let containers = Containers::open(root.path()).unwrap();
        let one = |id: &str| ContainerId::parse(&id.repeat(32)).unwrap();
        for (id, level) in [("aa", "s0:c1,c2"), ("bb", "s0:c3,c4")] {
            let (mut record, _) = record(&["image", "true"], "{}").unwrap();
            (record.id, record.name) = (one(id), ContainerName::parse(id).unwrap());
            let process = format!("system_u:system_r:container_t:{level}");
            record.selinux = Some(Labels { process, mount: MOUNT.to_owned() });
            containers.reserve(&record).unwrap();
        }
        let mut host = crate::bundle::tests::host();
        host.selinux = true;
        let chosen = |options: &[&str], pid: &str, ipc: &str| {
            let (mut record, _) = record(&[options, &["image", "true"]].concat(), "{}").unwrap();
            record.host_config.pid_mode = format!("container:{}", one(pid));
            record.host_config.ipc_mode = format!("container:{}", one(ipc));
            choose(&host, &containers, &mut record)
        };
        let refused = chosen(&[], "aa", "bb").unwrap_err().to_string();
        assert!(refused.contains("SELinux labels aren't the same"), "{refused}");
        chosen(&[], "aa", "aa").unwrap();
        chosen(&["--privileged"], "aa", "bb").unwrap();
        chosen(&["--security-opt", "label=disable"], "aa", "bb").unwrap();
    }

    #[test]
    fn a_label_that_was_asked_for_is_had_or_refused() {
        for (parts, label) in
            [("type:nosuch_t", "nosuch_t"), ("filetype:nosuch_t", "object_r:nosuch_t")]
        {
            let refused = decided(&[parts], false, None).unwrap_err().to_string();
            assert!(refused.contains(label) && refused.ends_with("does not know it"), "{refused}");
        }
        let parts = ["type:x_t".to_owned()];
        let wish = Wish { parts: &parts, joined: None, is_open: false };
        let level = || -> Result<String> { panic!("categories were drawn") };
        let refused = wish.decide(None, level, |_| true).unwrap_err().to_string();
        assert!(refused.ends_with("`type:x_t`: the host's policy has no contexts for containers"));
    }

    #[test]
    fn a_policy_without_types_for_containers_gives_no_label() {
        let none = |parts: &[String], contexts: Option<&Contexts>| {
            let wish = Wish { parts, joined: None, is_open: false };
            let (labels, warning) =
                wish.decide(contexts, || Ok("s0:c1,c2".to_owned()), |_| false).unwrap();
            assert_eq!(labels, None);
            warning
        };
        assert_eq!(none(&[], None), None);
        let warning = none(&[], Some(&contexts())).unwrap();
        assert!(warning.contains("does not know `system_u:system_r:container_t:s0:c1,c2`"));
        for contexts in [None, Some(&contexts())] {
            assert_eq!(none(&["disable".to_owned()], contexts), None);
        }
    }

    #[test]
    fn categories_are_two_that_nobody_else_has() {
        let used = BTreeSet::from(["s0:c3,c4".to_owned()]);
        let mut drawn = [(7, 7), (4, 3), (1023, 1022), (9, 5)].into_iter();
        let level = level(&used, || Ok(drawn.next().unwrap())).unwrap();
        assert_eq!(level, "s0:c5,c9");
        for _ in 0..100 {
            let (one, other) = draw().unwrap();
            assert!(one < 1024 && other < 1024);
        }
    }
}
