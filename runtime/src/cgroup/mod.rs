//! Control groups: where a container's processes are counted, limited, frozen and killed.
//!
//! [`probe`] reads the host's layout once, [`plan`] decides purely which directories are made and which value goes into
//! which file, [`Cgroup::create`] does exactly that and takes it back when a step fails. Later commands need only the
//! [`Paths`] in the container's state. No module here looks at a mount table, parses a path inside a container, or skips
//! a limit that the host cannot keep: such a limit is refused, with its place in `config.json`. See docs/cgroups.md.

mod below;
mod control;
mod create;
mod device_program;
mod devices;
mod directories;
mod error;
mod files;
mod join;
mod layout;
mod location;
mod mark;
mod memory_check;
mod oom;
mod owner;
mod paths;
mod pids;
mod plan;
mod remove;
mod stats;
pub mod systemd;
mod update;
mod v1;
mod v2;

pub use create::{Cgroup, entrances};
pub use devices::{Access, Kind, Rule};
pub use error::Error;
pub use files::mounts;
pub use join::Subgroups;
pub use layout::{Hierarchy, Layout, Unified, probe};
pub use mark::Mark;
pub use memory_check::check_memory;
pub use oom::{ASK_AGAIN, OomWatch};
pub use paths::Paths;
pub use pids::pids_limit_is_given;
pub use plan::{
    CgroupPlan, Devices, Manager, Member, OnMissing, Options, Request, Version, Write, plan,
};
pub use stats::Stats;
pub use update::{Change, Former, UpdatePlan, plan_update};

#[cfg(test)]
mod tests;
