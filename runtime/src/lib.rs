//! `nrun`, a runc-compatible, low-level OCI runtime.
//!
//! A file per command ([`create`] is the one to read first), [`plan`] for what is decided, [`child`] and [`parent`] for what is
//! done, [`record`] for what is kept.

pub mod cgroup;
pub mod check;
pub mod child;
pub mod cli;
pub mod create;
pub mod delete;
pub mod error;
pub mod exec;
pub mod failure;
pub mod features;
pub mod foreground;
pub mod host;
pub mod id;
pub mod kill;
pub mod list;
pub mod log;
pub mod net_devices;
pub mod netlink;
pub mod parent;
pub mod pause;
pub mod plan;
pub mod plan_command;
pub mod process;
pub mod protect;
pub mod ps;
pub mod record;
pub mod run;
pub mod signal;
pub mod spec;
pub mod start;
pub mod state;
pub mod update;
pub mod wire;
