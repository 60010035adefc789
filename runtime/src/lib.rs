//! `nrun`, a runc-compatible, low-level OCI runtime.
//!
//! A file per command ([`create`] is the one to read first), [`plan`] for what is decided, [`child`] and [`parent`] for what is
//! done, [`record`] for what is kept.

pub mod args;
pub mod bare_mounts;
pub mod cgroup;
pub mod check;
pub mod checkpoint;
pub mod child;
pub mod cli;
pub mod create;
pub mod criu;
pub mod delete;
pub mod diagnosis;
pub mod error;
pub mod events;
pub mod exec;
pub mod explain;
pub mod failure;
pub mod features;
pub mod foreground;
pub mod hook;
pub mod hooks;
pub mod host;
pub mod id;
mod id_maps;
pub mod intel_rdt;
pub mod kill;
pub mod launch;
pub mod list;
pub mod log;
pub mod man;
pub mod net_devices;
pub mod netlink;
pub mod notify;
pub mod parent;
pub mod pause;
pub mod pid_file;
pub mod pidfd_socket;
pub mod plan;
pub mod plan_command;
pub mod process;
pub mod protect;
pub mod ps;
pub mod record;
pub mod restore;
pub mod rootless;
pub mod run;
pub mod sd_notify;
pub mod signal;
pub mod socket;
pub mod sources;
pub mod spec;
pub mod start;
pub mod state;
pub mod update;
pub mod wire;
