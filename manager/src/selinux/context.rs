//! SELinux's contexts, and those that the host's policy has for containers. Pure, but for [`Contexts::of_host`].

use std::fmt;
use std::path::{Path, PathBuf};

/// A context as it is written: `user:role:type:level`. Only a policy with levels has the last part, which may contain colons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// Whom it is of: `system_u`.
    pub user: String,
    /// In which role: `system_r`, of files `object_r`.
    pub role: String,
    /// What the policy's rules name: `container_t`.
    pub kind: String,
    /// Sensitivity and categories: `s0:c1,c2`; empty where the policy has none.
    pub level: String,
}

impl Context {
    /// Reads one; `None` if a part is missing or empty.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(4, ':').map(str::to_owned);
        let (user, role, kind) = (parts.next()?, parts.next()?, parts.next()?);
        let level = parts.next().unwrap_or_default();
        let is_whole = ![&user, &role, &kind].iter().any(|part| part.is_empty());
        is_whole.then_some(Self { user, role, kind, level })
    }

    /// The same with another level, where the policy has levels.
    #[must_use]
    pub fn with_level(&self, level: &str) -> Self {
        let level = if self.level.is_empty() { "" } else { level };
        Self { level: level.to_owned(), ..self.clone() }
    }
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.user, self.role, self.kind)?;
        if self.level.is_empty() { Ok(()) } else { write!(f, ":{}", self.level) }
    }
}

/// The level of files that all containers share.
pub(super) const SHARED: &str = "s0";

/// What a policy gives containers, as container-selinux writes it down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contexts {
    /// Of processes.
    pub process: Context,
    /// Of files.
    pub file: Context,
    /// Of the files of images, which containers read and execute below their own.
    pub read_only: Context,
    /// The file that says so.
    pub path: PathBuf,
}

/// Where a distribution has them for all policies; it comes first.
const FOR_ALL: &str = "/usr/share/containers/selinux/contexts";

impl Contexts {
    /// Those of the host's policy; `None` where it has none for containers.
    #[must_use]
    pub fn of_host() -> Option<Self> {
        let read = |path: &Path| std::fs::read_to_string(path).ok();
        let path = Path::new(FOR_ALL);
        if let Some(text) = read(path) {
            return Self::parse(&text, path);
        }
        let config = read(Path::new("/etc/selinux/config")).unwrap_or_default();
        let path = PathBuf::from(format!("/etc/selinux/{}/contexts/lxc_contexts", policy(&config)));
        Self::parse(&read(&path)?, &path)
    }

    /// Lines such as `process = "system_u:system_r:container_t:s0"`.
    fn parse(text: &str, path: &Path) -> Option<Self> {
        let value = |wanted: &str| {
            let mut lines = assignments(text).filter(|(name, _)| *name == wanted);
            Context::parse(lines.next()?.1.trim_matches('"'))
        };
        let file = value("file")?;
        Some(Self {
            process: value("process")?,
            read_only: value("ro_file").unwrap_or_else(|| file.clone()),
            file,
            path: path.to_owned(),
        })
    }
}

/// The policy that /etc/selinux/config names; libselinux takes `targeted` where it names none.
fn policy(config: &str) -> &str {
    let named =
        assignments(config).filter(|(name, value)| *name == "SELINUXTYPE" && !value.is_empty());
    named.last().map_or("targeted", |(_, value)| value.trim_matches('"'))
}

/// The lines `name = value` of a text, without comments.
fn assignments(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';']));
    lines.filter_map(|line| line.split_once('=')).map(|(name, value)| (name.trim(), value.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_has_three_parts_or_four() {
        let text = "system_u:system_r:container_t:s0:c1,c2";
        let context = Context::parse(text).unwrap();
        assert_eq!((context.kind.as_str(), context.level.as_str()), ("container_t", "s0:c1,c2"));
        assert_eq!(context.to_string(), text);
        assert_eq!(context.with_level(SHARED).to_string(), "system_u:system_r:container_t:s0");
        let without = Context::parse("u:r:t").unwrap();
        assert_eq!(without.with_level("s0:c1").to_string(), "u:r:t", "its policy has no levels");
        for wrong in ["", "u:r", "u::t", ":r:t:s0"] {
            assert_eq!(Context::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_policys_contexts_of_containers_are_found() {
        let text = "# of containers\n process=\"u:r:c_t:s0\" \ncontent = \"u:object_r:x_t:s0\"\nfile = \"u:object_r:f_t:s0\"\n";
        let found = Contexts::parse(text, Path::new("/file")).unwrap();
        assert_eq!((found.process.kind.as_str(), found.file.kind.as_str()), ("c_t", "f_t"));
        assert_eq!(found.read_only, found.file);
        let more = format!("{text}ro_file = \"u:object_r:ro_t:s0\"\n");
        assert_eq!(Contexts::parse(&more, Path::new("/file")).unwrap().read_only.kind, "ro_t");
        assert_eq!(Contexts::parse("process = \"u:r:c_t:s0\"\n", Path::new("/file")), None);
        let broken = "process = \"c_t\"\nfile = \"u:object_r:f_t:s0\"\n";
        assert_eq!(Contexts::parse(broken, Path::new("/file")), None);
    }

    #[test]
    fn the_policy_is_the_one_that_is_configured() {
        assert_eq!(policy("SELINUX=enforcing\n# SELINUXTYPE=no\nSELINUXTYPE=default\n"), "default");
        assert_eq!(policy("SELINUXTYPE = \"mls\"\n"), "mls");
        assert_eq!(policy("SELINUX=disabled\nSELINUXTYPE=\n"), "targeted");
    }
}
