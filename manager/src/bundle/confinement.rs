//! What the options of `--security-opt` come to.

use super::defaults::{masked_paths, read_only_paths};
use crate::cli::confinement::SecurityOption;
use crate::container::HostConfig;

/// Docker's word, and AppArmor's, for no profile.
pub const UNCONFINED: &str = "unconfined";

/// How a container is confined, beside its capabilities and namespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confinement {
    /// No program gets more privileges than who executes it.
    pub no_new_privileges: bool,
    /// The cgroups can be written to.
    pub writable_cgroups: bool,
    /// `unconfined`, `builtin`, or the path of a profile.
    pub seccomp: String,
    /// The name of an AppArmor profile, or `unconfined`; `None` for the default.
    pub apparmor: Option<String>,
    /// Parts of the SELinux labels: `type:x`, or `disable`.
    pub labels: Vec<String>,
    /// What is hidden.
    pub masked: Vec<String>,
    /// What cannot be written to.
    pub read_only: Vec<String>,
}

impl Confinement {
    /// What the options come to. The last one of two holds; a privileged container has no restriction that it does not ask for.
    #[must_use]
    pub fn of(config: &HostConfig) -> Self {
        let privileged = config.privileged;
        let mut confinement = Self {
            no_new_privileges: false,
            writable_cgroups: privileged,
            seccomp: if privileged { "unconfined" } else { "builtin" }.to_owned(),
            apparmor: privileged.then(|| UNCONFINED.to_owned()),
            labels: Vec::new(),
            masked: if privileged { Vec::new() } else { masked_paths() },
            read_only: if privileged { Vec::new() } else { read_only_paths() },
        };
        // They were checked when they were typed.
        for option in config.security_opt.iter().filter_map(|text| text.parse().ok()) {
            confinement.apply(option);
        }
        confinement
    }

    fn apply(&mut self, option: SecurityOption) {
        match option {
            SecurityOption::NoNewPrivileges(value) => self.no_new_privileges = value,
            SecurityOption::WritableCgroups(value) => self.writable_cgroups = value,
            SecurityOption::Seccomp(profile) => self.seccomp = profile,
            SecurityOption::AppArmor(profile) => self.apparmor = Some(profile),
            SecurityOption::Label(part) => self.labels.push(part),
            SecurityOption::SystemPaths => {
                self.masked.clear();
                self.read_only.clear();
            }
            SecurityOption::Unmask(paths) => {
                let shown = |path: &String| paths.iter().any(|shown| covers(shown, path));
                self.masked.retain(|path| !shown(path));
                self.read_only.retain(|path| !shown(path));
            }
            SecurityOption::Mask(paths) => self.masked.extend(paths),
        }
    }
}

/// Whether an `unmask` means a path: it is the same, or ends with `*` and begins it, or means all.
fn covers(shown: &str, path: &str) -> bool {
    shown == "ALL"
        || shown.trim_end_matches('/') == path
        || shown.strip_suffix('*').is_some_and(|beginning| path.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(privileged: bool, options: &[&str]) -> Confinement {
        let security_opt = options.iter().map(|&option| option.to_owned()).collect();
        Confinement::of(&HostConfig { privileged, security_opt, ..HostConfig::default() })
    }

    #[test]
    fn paths_are_masked_and_unmasked() {
        let all = of(false, &[]).masked.len();
        assert_eq!(of(false, &["unmask=/proc/kcore"]).masked.len(), all - 1);
        assert_eq!(of(false, &["unmask=/sys/*"]).masked.len(), all - 2);
        assert_eq!(of(false, &["mask=/a:/b"]).masked.len(), all + 2);
        for options in [&["unmask=ALL"][..], &["systempaths=unconfined"]] {
            let open = of(false, options);
            assert!(open.masked.is_empty() && open.read_only.is_empty(), "{options:?}");
        }
        assert_eq!(
            of(false, &["unmask=/proc/sys"]).read_only.len(),
            of(false, &[]).read_only.len() - 1
        );
    }

    #[test]
    fn a_privileged_container_has_the_restrictions_that_it_asks_for() {
        assert_eq!(of(true, &[]).seccomp, "unconfined");
        assert_eq!(of(true, &["seccomp=builtin"]).seccomp, "builtin");
        assert_eq!(of(true, &[]).apparmor.as_deref(), Some("unconfined"));
        assert_eq!(of(true, &["apparmor=strict"]).apparmor.as_deref(), Some("strict"));
        assert_eq!(of(false, &[]).apparmor, None);
        assert_eq!(of(true, &["mask=/proc/kcore"]).masked, ["/proc/kcore"]);
        assert!(of(true, &["no-new-privileges"]).no_new_privileges);
        assert!(of(true, &[]).writable_cgroups && !of(false, &[]).writable_cgroups);
        assert!(!of(true, &["writable-cgroups=false"]).writable_cgroups);
        assert!(of(false, &["writable-cgroups"]).writable_cgroups);
    }
}
