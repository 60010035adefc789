//! What was asked for when a container was made, in the structure and under the names of Docker's `inspect`.
//!
//! Everything that config.json says about limits, privileges and namespaces is planned from this, when the container is
//! made and again after an `update`; `inspect` prints it as it stands.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// What runs: Docker's `Config`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Config {
    /// `--hostname`, or what the container has in its place.
    pub hostname: String,
    /// `--domainname`
    pub domainname: String,
    /// `--user`, or the image's.
    pub user: String,
    /// Variables of the command line, then those of the image that it does not set. One without `=` is taken away.
    pub env: Vec<String>,
    /// The words after the image, or the image's.
    pub cmd: Option<Vec<String>>,
    /// `--entrypoint`, or the image's.
    pub entrypoint: Option<Vec<String>>,
    /// `--workdir`, or the image's.
    pub working_dir: String,
    /// Where the image and `-v` want volumes.
    pub volumes: BTreeMap<String, Empty>,
    /// `--stop-signal`, or the image's, as it is spelled there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
}

/// `{}`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

/// How it is confined: Docker's `HostConfig`, without what belongs to networks and to the monitor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HostConfig {
    /// `-v`, with absolute sources
    pub binds: Vec<String>,
    /// `--cidfile`
    #[serde(rename = "ContainerIDFile")]
    pub container_id_file: String,
    /// `--mount`, as [`MountPoint::asked`](super::MountPoint::asked) has it
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Value>,
    /// `--volumes-from`
    pub volumes_from: Vec<String>,
    /// `--cap-add`, in capital letters with `CAP_`
    pub cap_add: Vec<String>,
    /// `--cap-drop`
    pub cap_drop: Vec<String>,
    /// `--cgroupns`
    pub cgroupns_mode: String,
    /// `--group-add`
    pub group_add: Vec<String>,
    /// `--ipc`
    pub ipc_mode: String,
    /// `--oom-score-adj`
    pub oom_score_adj: i32,
    /// `--pid`
    pub pid_mode: String,
    /// `--privileged`
    pub privileged: bool,
    /// `--read-only`
    pub readonly_rootfs: bool,
    /// `--security-opt`
    pub security_opt: Vec<String>,
    /// `--storage-opt`
    pub storage_opt: BTreeMap<String, String>,
    /// `--tmpfs`
    pub tmpfs: BTreeMap<String, String>,
    /// `--uts`
    #[serde(rename = "UTSMode")]
    pub uts_mode: String,
    /// `--userns`
    pub userns_mode: String,
    /// The ids of the container's user namespace.
    #[serde(rename = "IDMappings")]
    pub id_mappings: IdMappings,
    /// `--shm-size`, in bytes
    pub shm_size: i64,
    /// `--sysctl`
    pub sysctls: BTreeMap<String, String>,
    /// `--annotation`
    pub annotations: BTreeMap<String, String>,
    /// `--device`, those of CDI left out
    pub devices: Vec<DeviceMapping>,
    /// `--device-cgroup-rule`
    pub device_cgroup_rules: Vec<String>,
    /// `--gpus` and CDI's devices
    pub device_requests: Vec<DeviceRequest>,
    /// `--volume-driver`
    pub volume_driver: String,
    /// Rows and columns of the terminal at which it was made; 0 without one.
    pub console_size: [u16; 2],
    /// What `update` can change.
    #[serde(flatten)]
    pub limits: Limits,
}

/// How the ids of a container's user namespace are mapped, each line as `CONTAINER:HOST:SIZE`; empty without one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct IdMappings {
    /// `--uidmap`
    pub uid_map: Vec<String>,
    /// `--gidmap`
    pub gid_map: Vec<String>,
}

/// What the container may use up: Docker's `Resources`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Limits {
    /// `--cpu-shares`
    pub cpu_shares: i64,
    /// `--memory`, in bytes
    pub memory: i64,
    /// `--cpus`, in billionths
    pub nano_cpus: i64,
    /// `--cgroup-parent`: a path, or a slice of the user's systemd; empty for a container without a cgroup
    pub cgroup_parent: String,
    /// `--blkio-weight`
    pub blkio_weight: u16,
    /// `--blkio-weight-device`
    pub blkio_weight_device: Vec<DeviceWeight>,
    /// `--device-read-bps`
    pub blkio_device_read_bps: Vec<DeviceRate>,
    /// `--device-write-bps`
    pub blkio_device_write_bps: Vec<DeviceRate>,
    /// `--device-read-iops`
    #[serde(rename = "BlkioDeviceReadIOps")]
    pub blkio_device_read_iops: Vec<DeviceRate>,
    /// `--device-write-iops`
    #[serde(rename = "BlkioDeviceWriteIOps")]
    pub blkio_device_write_iops: Vec<DeviceRate>,
    /// `--cpu-period`, in microseconds
    pub cpu_period: i64,
    /// `--cpu-quota`, in microseconds
    pub cpu_quota: i64,
    /// `--cpu-rt-period`, in microseconds
    pub cpu_realtime_period: i64,
    /// `--cpu-rt-runtime`, in microseconds
    pub cpu_realtime_runtime: i64,
    /// `--cpuset-cpus`
    pub cpuset_cpus: String,
    /// `--cpuset-mems`
    pub cpuset_mems: String,
    /// `--memory-reservation`, in bytes
    pub memory_reservation: i64,
    /// `--memory-swap`, in bytes, memory included; -1 for no limit
    pub memory_swap: i64,
    /// `--memory-swappiness`
    pub memory_swappiness: Option<i64>,
    /// `--oom-kill-disable`
    pub oom_kill_disable: Option<bool>,
    /// `--pids-limit`
    pub pids_limit: Option<i64>,
    /// `--ulimit`
    pub ulimits: Vec<Ulimit>,
}

/// A weight of one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeviceWeight {
    /// The device on the host.
    pub path: String,
    /// 10 to 1000.
    pub weight: u16,
}

/// A rate of one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeviceRate {
    /// The device on the host.
    pub path: String,
    /// Bytes or operations a second.
    pub rate: u64,
}

/// A limit of the process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Ulimit {
    /// Docker's name: `nofile`.
    pub name: String,
    /// -1 for none.
    pub hard: i64,
    /// -1 for none.
    pub soft: i64,
}

/// A device of the host in the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeviceMapping {
    /// On the host.
    pub path_on_host: String,
    /// In the container.
    pub path_in_container: String,
    /// Of `r`, `w`, `m`.
    pub cgroup_permissions: String,
}

/// Devices that something else than a path names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeviceRequest {
    /// `cdi`
    pub driver: String,
    /// How many; 0 where they are named.
    pub count: i64,
    /// Their names, such as `nvidia.com/gpu=all`.
    #[serde(rename = "DeviceIDs")]
    pub device_ids: Vec<String>,
}
