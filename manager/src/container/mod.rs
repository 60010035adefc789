//! What a container is on disk.

pub mod id;
