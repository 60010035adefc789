//! Networks: CNI definitions on disk, addresses leased from files, and links, routes and firewall elements
//! made over netlink in this process.
//!
//! [`plan::plan`] is pure and decides everything; [`apply::apply`] walks its flat list of steps after it has
//! written the list down, and undoes it in reverse when a step fails; [`apply::remove`] undoes a recorded list at
//! any time, also after a crash or when the container's namespace is gone. Nothing here spawns a program but [`plugin`],
//! for plug-ins that are not built in.

mod amend;
pub mod apply;
mod borrowed;
pub mod definition;
pub mod dns;
pub mod endpoint;
mod error;
mod firewall;
pub mod host;
pub mod ipam;
mod link;
mod name;
pub mod names;
mod netlink;
pub mod netns;
pub mod orphan;
pub mod plan;
mod plugin;
pub mod port;
pub mod resolver;
pub mod state;
mod subnet;
pub mod survey;

pub use amend::{publish, reroute};
pub use apply::{
    apply, apply_locked, check_link, check_plugins, create_namespace, reload, remove,
    remove_with_namespace, restore_rules, set_loopback_up, tidy, tidy_locked,
};
pub use definition::Definition;
pub use endpoint::{Endpoint, Wishes};
pub use error::{Error, Result};
pub use firewall::foreign::dropping_chains;
pub use host::HostFacts;
pub use ipam::Lease;
pub use name::{Carrier, InterfaceName, Mode, NetworkName};
pub use plan::{Appearance, MacAddress, NetworkPlan, Step, plan};
pub use plugin::check as check_plugin;
pub use port::{HostPort, PortMapping, PortRequest, Protocol};
pub use state::State;
pub use subnet::Subnet;
