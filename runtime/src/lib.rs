//! A runc-compatible, low-level OCI runtime

pub mod cgroup;
pub mod plan;
