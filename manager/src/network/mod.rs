//! Networks: CNI definitions on disk, addresses leased from files, and links, routes and firewall elements
//! made over netlink in this process.
//!
//! [`plan::plan`] is pure and decides everything; [`apply::apply`] walks its flat list of steps after it has
//! written the list down, and undoes it in reverse when a step fails; [`apply::remove`] undoes a recorded list at
//! any time, also after a crash or when the container's namespace is gone. Nothing here spawns a program.

pub mod apply;
pub mod definition;
pub mod dns;
mod error;
mod firewall;
pub mod host;
pub mod ipam;
mod name;
mod netlink;
pub mod netns;
pub mod plan;
pub mod port;
pub mod state;
mod subnet;

pub use apply::{apply, remove, restore_rules};
pub use definition::Definition;
pub use error::{Error, Result};
pub use firewall::foreign::dropping_chains;
pub use host::HostFacts;
pub use ipam::Lease;
pub use name::{InterfaceName, Mode, NetworkName};
pub use plan::{NetworkPlan, Step, plan};
pub use port::{HostPort, PortMapping, PortRequest, Protocol};
pub use state::State;
pub use subnet::Subnet;
