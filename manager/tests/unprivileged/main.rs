//! `nman` for an ordinary user: each test makes one, with subordinate ids, in a sandbox of its own.
//!
//! The tests need root, to make the user; nothing that they try does. As another user than root, `cgroups` has what is delegated to
//! that one.

mod apparmor;
mod bridges;
mod build;
mod cgroups;
mod files;
mod ids;
mod keep_id;
mod life;
mod limits;
mod network;
#[path = "../saved/mod.rs"]
mod saved;
mod session;
mod world;
