//! Callers who are not the host's root: an ordinary user, and root of a user namespace.
//!
//! Run as root, each test makes a user of its own; run as a user, as in a delegated session of systemd's, it takes that one. What the
//! one or the other lacks is asserted to be refused.

#[path = "rootless/cgroups.rs"]
mod cgroups;
#[path = "rootless/hooks.rs"]
mod hooks;
#[path = "rootless/ids.rs"]
mod ids;
#[path = "rootless/isolation.rs"]
mod isolation;
#[path = "rootless/life.rs"]
mod life;
#[path = "rootless/namespace_root.rs"]
mod namespace_root;
#[path = "rootless/seccomp.rs"]
mod seccomp;
