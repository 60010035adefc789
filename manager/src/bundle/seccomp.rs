//! Seccomp profiles in Docker's form: what of one holds for a container depends on its capabilities, on the architecture
//! and on the kernel. What comes out is what the runtime takes.

use crate::error::{Error, Result};
use oci_spec::runtime::{
    Arch, Capabilities, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompBuilder,
    LinuxSeccompFilterFlag, LinuxSyscall,
};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// containers-common's profile, without what is only for architectures that we are not built for.
const BUILT_IN: &str = include_str!("../seccomp.json");

/// The architecture that we are built for, by the profile's two names for it.
const ARCHITECTURE: (&str, Arch) = match cfg!(target_arch = "aarch64") {
    true => ("arm64", Arch::ScmpArchAarch64),
    false => ("amd64", Arch::ScmpArchX86_64),
};

/// A profile, with its conditions.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    default_action: LinuxSeccompAction,
    #[serde(default)]
    default_errno_ret: Option<u32>,
    #[serde(default)]
    architectures: Vec<Arch>,
    #[serde(default)]
    arch_map: Vec<ArchMap>,
    #[serde(default)]
    flags: Vec<LinuxSeccompFilterFlag>,
    #[serde(default)]
    listener_path: Option<PathBuf>,
    #[serde(default)]
    listener_metadata: Option<String>,
    #[serde(default)]
    syscalls: Vec<Rule>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchMap {
    architecture: Arch,
    #[serde(default)]
    sub_architectures: Option<Vec<Arch>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    names: Vec<String>,
    action: LinuxSeccompAction,
    #[serde(default)]
    errno_ret: Option<u32>,
    #[serde(default)]
    args: Option<Vec<LinuxSeccompArg>>,
    #[serde(default)]
    includes: Condition,
    #[serde(default)]
    excludes: Condition,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Condition {
    caps: Vec<String>,
    arches: Vec<String>,
    min_kernel: Option<String>,
}

impl Profile {
    /// The profile of a container that names none.
    pub fn built_in() -> Result<Self> {
        serde_json::from_str(BUILT_IN).map_err(|source| Error::Damaged {
            path: "the built-in seccomp profile".into(),
            source,
        })
    }

    /// The profile in a file.
    pub fn read(path: &Path) -> Result<Self> {
        let refused = |why: String| Error::Rejected {
            message: format!("opening seccomp profile ({}) failed: {why}", path.display()),
            hint: Some("a profile is a JSON file; `seccomp=unconfined` is none at all".to_owned()),
        };
        let text = std::fs::read(path).map_err(|error| refused(crate::error::reason(&error)))?;
        serde_json::from_slice(&text).map_err(|error| refused(error.to_string()))
    }

    /// What of it holds for a container with these capabilities on this kernel.
    #[must_use]
    pub fn resolve(&self, capabilities: &Capabilities, kernel: (u32, u32)) -> Option<LinuxSeccomp> {
        let holds = |rule: &&Rule| {
            let all = |condition: &Condition| Facts { capabilities, kernel }.meet(condition);
            all(&rule.includes).unwrap_or(true)
                && !Facts { capabilities, kernel }.touch(&rule.excludes)
        };
        let rules = self.syscalls.iter().filter(holds).map(Rule::resolve).collect();
        let mut seccomp = LinuxSeccompBuilder::default()
            .default_action(self.default_action)
            .syscalls::<Vec<LinuxSyscall>>(rules)
            .build()
            .ok()?;
        seccomp.set_default_errno_ret(self.default_errno_ret);
        seccomp.set_architectures(Some(self.architectures()).filter(|list| !list.is_empty()));
        seccomp.set_flags(Some(self.flags.clone()).filter(|flags| !flags.is_empty()));
        seccomp.set_listener_path(self.listener_path.clone());
        seccomp.set_listener_metadata(self.listener_metadata.clone());
        Some(seccomp)
    }

    /// Ours, and those that run on it.
    fn architectures(&self) -> Vec<Arch> {
        let mut list = self.architectures.clone();
        for map in self.arch_map.iter().filter(|map| map.architecture == ARCHITECTURE.1) {
            list.push(map.architecture);
            list.extend(map.sub_architectures.iter().flatten());
        }
        list
    }
}

impl Rule {
    fn resolve(&self) -> LinuxSyscall {
        let mut rule = LinuxSyscall::default();
        rule.set_names(self.name.iter().chain(&self.names).cloned().collect());
        rule.set_action(self.action);
        rule.set_errno_ret(self.errno_ret);
        rule.set_args(self.args.clone().filter(|args| !args.is_empty()));
        rule
    }
}

struct Facts<'a> {
    capabilities: &'a Capabilities,
    kernel: (u32, u32),
}

impl Facts<'_> {
    fn has(&self, capability: &str) -> bool {
        let name = capability.strip_prefix("CAP_").unwrap_or(capability);
        name.parse().is_ok_and(|capability| self.capabilities.contains(&capability))
    }

    /// Whether everything that a rule asks for is there; `None` where it asks for nothing.
    fn meet(&self, condition: &Condition) -> Option<bool> {
        let Condition { caps, arches, min_kernel } = condition;
        if caps.is_empty() && arches.is_empty() && min_kernel.is_none() {
            return None;
        }
        Some(
            caps.iter().all(|name| self.has(name))
                && (arches.is_empty() || arches.iter().any(|name| name == ARCHITECTURE.0))
                && min_kernel.as_deref().is_none_or(|least| self.is_at_least(least)),
        )
    }

    /// Whether anything is there that a rule is not for.
    fn touch(&self, condition: &Condition) -> bool {
        condition.caps.iter().any(|name| self.has(name))
            || condition.arches.iter().any(|name| name == ARCHITECTURE.0)
            || condition.min_kernel.as_deref().is_some_and(|least| self.is_at_least(least))
    }

    fn is_at_least(&self, version: &str) -> bool {
        let (major, minor) = version.split_once('.').unwrap_or((version, "0"));
        match (major.parse::<u32>(), minor.parse::<u32>()) {
            (Ok(major), Ok(minor)) => self.kernel >= (major, minor),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::Capability;

    fn action(profile: &LinuxSeccomp, name: &str) -> Option<LinuxSeccompAction> {
        let rules = profile.syscalls().as_ref().unwrap();
        let rule = rules.iter().find(|rule| rule.names().iter().any(|known| known == name))?;
        Some(rule.action())
    }

    #[test]
    fn a_capability_brings_the_system_calls_that_it_is_for() {
        let profile = Profile::built_in().unwrap();
        let plain = profile.resolve(&Capabilities::new(), (6, 1)).unwrap();
        assert_eq!(action(&plain, "bpf"), Some(LinuxSeccompAction::ScmpActErrno));
        let admin = Capabilities::from([Capability::SysAdmin]);
        let admin = profile.resolve(&admin, (6, 1)).unwrap();
        assert_eq!(action(&admin, "bpf"), Some(LinuxSeccompAction::ScmpActAllow));
        assert_eq!(action(&admin, "init_module"), Some(LinuxSeccompAction::ScmpActErrno));
    }

    #[test]
    fn a_profile_of_dockers_form_is_resolved() {
        let text = r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":1,
            "archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]},{"architecture":"SCMP_ARCH_ARM"}],
            "syscalls":[{"name":"old","action":"SCMP_ACT_ALLOW"},
                {"names":["ptrace"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"4.8"}},
                {"names":["future"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"99.0"}},
                {"names":["arm"],"action":"SCMP_ACT_ALLOW","includes":{"arches":["arm"]}},
                {"names":["not"],"action":"SCMP_ACT_ALLOW","excludes":{"arches":["amd64"]}}]}"#;
        let profile: Profile = serde_json::from_str(text).unwrap();
        let profile = profile.resolve(&Capabilities::new(), (6, 1)).unwrap();
        let names: Vec<&str> = profile
            .syscalls()
            .iter()
            .flatten()
            .flat_map(|rule| rule.names())
            .map(String::as_str)
            .collect();
        assert_eq!(names, ["old", "ptrace"]);
        assert_eq!(profile.architectures().as_ref().unwrap().len(), 2);
        assert_eq!(profile.default_errno_ret(), Some(1));
    }

    #[test]
    fn a_bad_profile_is_named() {
        let error = Profile::read(Path::new("/no/such/profile.json")).unwrap_err().to_string();
        assert_eq!(
            error,
            "opening seccomp profile (/no/such/profile.json) failed: no such file or directory"
        );
    }
}
