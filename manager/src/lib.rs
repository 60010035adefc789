//! A daemonless container manager: images, networks, volumes and containers over any OCI runtime

mod layout;
pub mod load;
pub mod progress;
pub mod pull;
pub mod reference;
pub mod registry;
pub mod snapshot;
pub mod store;
mod unpack;
