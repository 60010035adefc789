//! Options about privileges, devices and namespaces.

use crate::cli::confinement::{
    SecurityOption, Sharing, capability, cgroupns_mode, device_rule, ipc_mode, pid_mode, sysctl,
    userns_mode, uts_mode,
};
use crate::id_map::Mapping;
use clap::Args;

/// What keeps the container apart from the host, and what does not.
#[derive(Clone, Debug, Default, Args)]
pub struct SecurityArgs {
    /// Add a capability, or ALL
    #[arg(long, value_name = "CAPABILITY", value_parser = capability)]
    pub cap_add: Vec<String>,
    /// Take away a capability, or ALL
    #[arg(long, value_name = "CAPABILITY", value_parser = capability)]
    pub cap_drop: Vec<String>,
    /// seccomp=FILE|unconfined|builtin, apparmor=PROFILE|unconfined, label=..., no-new-privileges, writable-cgroups, unmask=PATHS, mask=PATHS, systempaths=unconfined
    #[arg(long, value_name = "OPTION", value_parser = security_option)]
    pub security_opt: Vec<String>,
    /// Give it every capability and every device, and hide nothing of the kernel's
    #[arg(long)]
    pub privileged: bool,
    /// Give it a device of the host, a directory of devices, or one of CDI's such as vendor.com/class=name
    #[arg(long, value_name = "HOST[:CONTAINER[:rwm]]")]
    pub device: Vec<crate::device::Wish>,
    /// Allow making and using devices, such as 'c 10:200 rwm'
    #[arg(long, value_name = "RULE", value_parser = device_rule)]
    pub device_cgroup_rule: Vec<String>,
    /// Give it GPUs by way of CDI: all, a number, or device=0,1
    #[arg(long, value_name = "GPUS")]
    pub gpus: Option<crate::device::Gpus>,
    /// Set a kernel parameter of the container's namespaces
    #[arg(long, value_name = "NAME=VALUE", value_parser = sysctl)]
    pub sysctl: Vec<(String, String)>,
    /// PID namespace: host, or container:NAME
    #[arg(long, value_name = "MODE", value_parser = pid_mode)]
    pub pid: Option<Sharing>,
    /// IPC namespace: private, shareable, none, host, or container:NAME
    #[arg(long, value_name = "MODE", value_parser = ipc_mode)]
    pub ipc: Option<Sharing>,
    /// UTS namespace: host
    #[arg(long, value_name = "MODE", value_parser = uts_mode)]
    pub uts: Option<Sharing>,
    /// User namespace: host, auto[:size=NUMBER] for ids that no other container has, or, without root, keep-id[:uid=NUMBER,gid=NUMBER] for your own and nomap for all others
    #[arg(long, value_name = "MODE", value_parser = userns_mode)]
    pub userns: Option<String>,
    /// Map user ids of the container to those of the host, in a user namespace of its own
    #[arg(long, value_name = "CONTAINER:HOST[:SIZE]")]
    pub uidmap: Vec<Mapping>,
    /// Map group ids [default: as --uidmap]
    #[arg(long, value_name = "CONTAINER:HOST[:SIZE]", requires = "uidmap")]
    pub gidmap: Vec<Mapping>,
    /// Cgroup namespace: host or private
    #[arg(long, value_name = "MODE", value_parser = cgroupns_mode)]
    pub cgroupns: Option<Sharing>,
}

/// It is checked here and kept as it was typed: that is what `inspect` shows.
fn security_option(text: &str) -> Result<String, String> {
    text.parse::<SecurityOption>().map(|_| text.to_owned())
}
