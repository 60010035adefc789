//! `nman` for an ordinary user: each test makes one, with subordinate ids, in a sandbox of its own.
//!
//! The tests need root, to make the user; nothing that they try does.

mod files;
mod ids;
mod keep_id;
mod life;
mod limits;
mod network;
#[path = "../saved/mod.rs"]
mod saved;
mod world;
