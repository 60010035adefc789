//! Planning: from the specification and the facts of the host to the list of steps that make a container.
//!
//! Everything in here is pure (invariant I1): it opens nothing, forks nothing and asks the kernel nothing.

pub mod seccomp;
