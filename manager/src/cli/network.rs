//! `nman network` and its commands.

use super::create::{address, alias, fields_of, gw_priority, ipv4, ipv6, link_local, mac_address};
use crate::listing::ListArgs;
use crate::network::{MacAddress, NetworkName, Subnet, Wishes};
use clap::{Args, Subcommand};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `nman network`
#[derive(Debug, Subcommand)]
pub enum NetworkCommand {
    /// Make a network
    Create(NetworkCreateArgs),
    /// List networks
    #[command(visible_alias = "list")]
    Ls(ListArgs),
    /// Show everything that is known about networks, as JSON
    Inspect(NetworkInspectArgs),
    /// Remove networks
    #[command(visible_alias = "remove")]
    Rm(NetworkRmArgs),
    /// Remove every network that no container is to be on
    Prune(NetworkPruneArgs),
    /// Put a container onto a network, at once if it runs
    Connect(NetworkConnectArgs),
    /// Take a container off a network
    Disconnect(NetworkDisconnectArgs),
    /// Restore the host's rules, switches and bridges, after something took them away
    Reload,
}

/// `nman network create`
#[derive(Clone, Debug, Args)]
pub struct NetworkCreateArgs {
    /// bridge, or the type of a CNI plug-in, such as macvlan
    #[arg(short, long, value_name = "DRIVER", default_value = "bridge")]
    pub driver: String,
    /// Subnet, such as 10.1.0.0/24; once for each family
    #[arg(long, value_name = "CIDR")]
    pub subnet: Vec<Subnet>,
    /// Gateway of a subnet
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    pub gateway: Vec<IpAddr>,
    /// Part of a subnet that containers get addresses from
    #[arg(long, value_name = "CIDR")]
    pub ip_range: Vec<Subnet>,
    /// An address of a subnet that no container gets
    #[arg(long, value_name = "NAME=ADDRESS", value_parser = named_address)]
    pub aux_address: Vec<(String, IpAddr)>,
    /// Give containers IPv6 addresses, too
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false",
          default_missing_value = "true", action = clap::ArgAction::Set)]
    pub ipv6: bool,
    /// Give containers IPv4 addresses
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "true",
          default_missing_value = "true", action = clap::ArgAction::Set)]
    pub ipv4: bool,
    /// Let nothing out of the network
    #[arg(long)]
    pub internal: bool,
    /// Accepted for compatibility: every network is attachable
    #[arg(long)]
    pub attachable: bool,
    /// local; there is no other
    #[arg(long, value_name = "SCOPE", value_parser = ["local"], default_value = "local", hide = true)]
    pub scope: String,
    /// Accepted for compatibility: addresses are leased by host-local
    #[arg(long, value_name = "DRIVER", value_parser = ["default", "host-local"], default_value = "default", hide = true)]
    pub ipam_driver: String,
    /// Set a label
    #[arg(long, value_name = "KEY[=VALUE]")]
    pub label: Vec<String>,
    /// Option of the driver: mtu, isolate, parent, or one of Docker's
    #[arg(short, long = "opt", value_name = "KEY=VALUE")]
    pub options: Vec<String>,
    /// Name
    #[arg(value_name = "NETWORK")]
    pub name: NetworkName,
}

/// `nman network inspect`
#[derive(Debug, Args)]
pub struct NetworkInspectArgs {
    /// Print what a Go template makes of each network
    #[arg(short, long, value_name = "FORMAT")]
    pub format: Option<String>,
    /// Accepted for compatibility
    #[arg(short, long)]
    pub verbose: bool,
    /// Names or ids
    #[arg(required = true, value_name = "NETWORK")]
    pub names: Vec<String>,
}

/// `nman network rm`
#[derive(Debug, Args)]
pub struct NetworkRmArgs {
    /// A network that does not exist is not an error
    #[arg(short, long)]
    pub force: bool,
    /// Names or ids
    #[arg(required = true, value_name = "NETWORK")]
    pub names: Vec<String>,
}

/// `nman network prune`
#[derive(Debug, Args)]
pub struct NetworkPruneArgs {
    /// Do not ask
    #[arg(short, long)]
    pub force: bool,
    /// Remove only what fits: label, label!, until
    #[arg(long, value_name = "KEY=VALUE")]
    pub filter: Vec<String>,
}

/// `nman network connect`
#[derive(Debug, Args)]
pub struct NetworkConnectArgs {
    /// A further name of the container on the network
    #[arg(long, value_name = "NAME", value_parser = alias)]
    pub alias: Vec<String>,
    /// IPv4 address of the container
    #[arg(long, value_name = "ADDRESS", value_parser = ipv4)]
    pub ip: Option<Ipv4Addr>,
    /// IPv6 address of the container
    #[arg(long, value_name = "ADDRESS", value_parser = ipv6)]
    pub ip6: Option<Ipv6Addr>,
    /// Link address of the container
    #[arg(long, value_name = "ADDRESS", value_parser = mac_address)]
    pub mac_address: Option<MacAddress>,
    /// A link-local address more of the container's interface
    #[arg(long, value_name = "ADDRESS", value_parser = link_local)]
    pub link_local_ip: Vec<IpAddr>,
    /// Of the network with the highest number is the container's default route
    #[arg(long, value_name = "NUMBER", value_parser = gw_priority, allow_hyphen_values = true, default_value_t)]
    pub gw_priority: i64,
    /// Option of the driver; Docker's name the interface or set its parameters
    #[arg(long, value_name = "KEY=VALUE", value_parser = driver_opts)]
    pub driver_opt: Vec<Wishes>,
    /// Name or id
    #[arg(value_name = "NETWORK")]
    pub network: NetworkName,
    /// Name or id
    #[arg(value_name = "CONTAINER")]
    pub container: String,
}

impl NetworkConnectArgs {
    /// What is asked for.
    #[must_use]
    pub fn wishes(&self) -> Wishes {
        let driver_opts = self.driver_opt.iter().flat_map(|wishes| wishes.driver_opts.clone());
        Wishes {
            aliases: self.alias.clone(),
            ip: self.ip,
            ip6: self.ip6,
            mac: self.mac_address,
            link_local: self.link_local_ip.clone(),
            gw_priority: self.gw_priority,
            driver_opts: driver_opts.collect(),
        }
    }
}

/// Some `KEY=VALUE`, separated as those of `--network`.
fn driver_opts(text: &str) -> Result<Wishes, String> {
    let mut wishes = Wishes::default();
    fields_of(text)?.iter().try_for_each(|field| wishes.add_driver_opt(field))?;
    Ok(wishes)
}

/// `nman network disconnect`
#[derive(Debug, Args)]
pub struct NetworkDisconnectArgs {
    /// Also from a network whose definition is gone
    #[arg(short, long)]
    pub force: bool,
    /// Name or id
    #[arg(value_name = "NETWORK")]
    pub network: String,
    /// Name or id
    #[arg(value_name = "CONTAINER")]
    pub container: String,
}

fn named_address(text: &str) -> Result<(String, IpAddr), String> {
    let (name, address) = text.split_once('=').unwrap_or(("", text));
    let address = address.parse().map_err(|_| format!("`{address}` is not an IP address"))?;
    Ok((name.to_owned(), address))
}
