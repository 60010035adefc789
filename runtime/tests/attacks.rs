//! Attacks that have broken container runtimes, tried on this one: a file for each class of docs/cves.md.
//!
//! Every test fails when the defence that it is about is taken out. A container that does not start is as good a defence as one
//! that starts and does no harm, so most tests ask only what became of the host.

#[path = "attacks/cgroups.rs"]
mod cgroups;
#[path = "attacks/descriptors.rs"]
mod descriptors;
#[path = "attacks/executable.rs"]
mod executable;
#[path = "attacks/identity.rs"]
mod identity;
#[path = "attacks/messages.rs"]
mod messages;
#[path = "attacks/moment.rs"]
mod moment;
#[path = "attacks/procfs.rs"]
mod procfs;
#[path = "attacks/rootfs.rs"]
mod rootfs;
#[path = "attacks/state.rs"]
mod state;
