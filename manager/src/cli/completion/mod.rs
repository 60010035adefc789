//! `nman completion SHELL`: a script that asks `nman` itself what could come next, so that it never goes out of date
//! and knows the names of containers.

mod propose;

pub use propose::{Candidate, Proposal, Subject, propose};

use clap::ValueEnum;

/// A shell that completes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// bash, with or without bash-completion
    Bash,
    /// zsh, in a directory of fpath as `_nman`
    Zsh,
    /// fish
    Fish,
}

impl Shell {
    /// The script to be sourced, or put where the shell looks for it.
    #[must_use]
    pub fn script(self) -> &'static str {
        match self {
            Self::Bash => include_str!("nman.bash"),
            Self::Zsh => include_str!("nman.zsh"),
            Self::Fish => include_str!("nman.fish"),
        }
    }
}
