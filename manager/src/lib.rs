//! A daemonless container manager: images, networks, volumes and containers over any OCI runtime

pub mod container;
pub mod network;
