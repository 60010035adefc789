//! What can be wrong with a profile.

/// Why a profile could not be compiled. A container whose profile gives this error is not started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The profile asks for what this kernel does not have.
    #[error(
        "cannot compile the seccomp profile (config.json /linux/seccomp{pointer}): this kernel does not have `{name}`"
    )]
    Unavailable {
        /// The action or flag, as the profile spells it.
        name: &'static str,
        /// The Linux release that brought it.
        since: &'static str,
        /// Where it stands in the profile, as a JSON pointer.
        pointer: String,
    },
    /// The profile contradicts itself or the specification.
    #[error("cannot compile the seccomp profile (config.json /linux/seccomp{pointer}): {reason}")]
    Invalid {
        /// What is wrong, and why.
        reason: String,
        /// Where it stands in the profile, as a JSON pointer.
        pointer: String,
    },
    /// The rules do not fit into one program.
    #[error(
        "cannot compile the seccomp profile (config.json /linux/seccomp/syscalls): it needs {needed} instructions or more \
         and the kernel takes {limit}"
    )]
    TooLong {
        /// A lower bound of what the rules need.
        needed: usize,
        /// The kernel's limit.
        limit: usize,
    },
}

impl Error {
    /// What the user may do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Unavailable { name, since, .. } => Some(format!(
                "`{name}` needs Linux {since} or later, built with CONFIG_SECCOMP_FILTER"
            )),
            Error::TooLong { .. } => Some(
                "rules without `args` cost next to nothing; merge or drop rules with `args`"
                    .to_owned(),
            ),
            Error::Invalid { .. } => None,
        }
    }
}
