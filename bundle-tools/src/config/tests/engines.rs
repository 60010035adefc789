//! Configurations of the shapes that engines write, with the zeros and empty values that come of
//! their types: each must be taken without a finding.

use super::*;

/// As Docker writes them: a hook under /proc, zeros for what is not limited, an unset console size.
const DOCKER: &str = r#"{
    "ociVersion": "1.0.2-dev",
    "process": {
        "terminal": true,
        "consoleSize": {"height": 0, "width": 0},
        "user": {"uid": 0, "gid": 0, "additionalGids": [0, 1, 2, 3, 4, 6, 10, 11, 20, 26, 27]},
        "args": ["sh"],
        "env": ["PATH=/usr/local/sbin:/usr/sbin:/sbin:/bin", "HOSTNAME=5f4d", "TERM=xterm"],
        "cwd": "/",
        "capabilities": {"bounding": ["CAP_CHOWN"], "effective": ["CAP_CHOWN"], "permitted": ["CAP_CHOWN"]},
        "apparmorProfile": "docker-default",
        "oomScoreAdj": 0
    },
    "root": {"path": "rootfs"},
    "hostname": "5f4d",
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
         "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
         "options": ["ro", "nosuid", "noexec", "nodev"]},
        {"destination": "/etc/hosts", "type": "bind", "source": "/var/lib/hosts",
         "options": ["rbind", "rprivate"]}
    ],
    "hooks": {"prestart": [{"path": "/proc/512/exe", "args": ["libnetwork-setkey", "-exec-root=/var/run/docker"]}]},
    "linux": {
        "sysctl": {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"},
        "resources": {
            "devices": [
                {"allow": false, "access": "rwm"},
                {"allow": true, "type": "c", "major": 1, "minor": 5, "access": "rwm"},
                {"allow": false, "type": "c", "major": 10, "minor": 229, "access": "rwm"}
            ],
            "memory": {"disableOOMKiller": false},
            "cpu": {"shares": 0},
            "pids": {"limit": 0},
            "blockIO": {"weight": 0}
        },
        "cgroupsPath": "system.slice:docker:5f4d",
        "namespaces": [{"type": "mount"}, {"type": "network"}, {"type": "uts"}, {"type": "pid"},
                       {"type": "ipc"}, {"type": "cgroup"}],
        "seccomp": {
            "defaultAction": "SCMP_ACT_ERRNO",
            "defaultErrnoRet": 1,
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
            "syscalls": [
                {"names": ["accept", "a_call_of_tomorrow"], "action": "SCMP_ACT_ALLOW"},
                {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
                {"names": ["clone"], "action": "SCMP_ACT_ALLOW",
                 "args": [{"index": 0, "value": 2114060288, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]}
            ]
        },
        "maskedPaths": ["/proc/asound", "/proc/acpi"],
        "readonlyPaths": ["/proc/bus", "/proc/sys"]
    }
}"#;

/// As containerd's CRI plug-in writes them for Kubernetes: namespaces of the sandbox by path, host
/// users off with the mappings beside the path, swap equal to the limit.
const CRI: &str = r#"{
    "ociVersion": "1.2.1",
    "process": {
        "user": {"uid": 65535, "gid": 65535, "additionalGids": [65535]},
        "args": ["/pause"],
        "cwd": "/",
        "noNewPrivileges": true,
        "oomScoreAdj": -998
    },
    "root": {"path": "rootfs", "readonly": true},
    "mounts": [
        {"destination": "/dev/shm", "type": "bind", "source": "/run/shm", "options": ["rbind", "ro", "nosuid", "noexec", "nodev"]},
        {"destination": "/var/run/secrets", "type": "bind", "source": "/var/lib/kubelet/x", "options": ["rbind", "rprivate", "rro"],
         "uidMappings": [{"containerID": 0, "hostID": 65536, "size": 65536}],
         "gidMappings": [{"containerID": 0, "hostID": 65536, "size": 65536}]}
    ],
    "annotations": {"io.kubernetes.cri.sandbox-id": "", "org.systemd.property.CollectMode": "'inactive-or-failed'"},
    "linux": {
        "uidMappings": [{"containerID": 0, "hostID": 65536, "size": 65536}],
        "gidMappings": [{"containerID": 0, "hostID": 65536, "size": 65536}],
        "resources": {
            "devices": [{"allow": false, "access": "rwm"}],
            "memory": {"limit": 134217728, "swap": 134217728},
            "cpu": {"shares": 2, "quota": -1, "period": 100000, "cpus": "", "mems": ""},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 0}, {"pageSize": "1GB", "limit": 0}],
            "unified": {"memory.oom.group": "1", "memory.swap.max": "0"}
        },
        "cgroupsPath": "kubepods-besteffort-pod1.slice:cri-containerd:2",
        "namespaces": [{"type": "pid"}, {"type": "ipc", "path": "/proc/99/ns/ipc"}, {"type": "mount"},
                       {"type": "uts", "path": "/proc/99/ns/uts"}, {"type": "cgroup"},
                       {"type": "network", "path": "/var/run/netns/cni-1"},
                       {"type": "user", "path": "/proc/99/ns/user"}],
        "rootfsPropagation": "rslave",
        "maskedPaths": null,
        "readonlyPaths": []
    }
}"#;

/// As Podman writes them: the host's procfs bound for `--pid=host`, device nodes with the type's
/// bits in their mode.
const PODMAN: &str = r#"{
    "ociVersion": "1.0.2-dev",
    "process": {
        "user": {"uid": 0, "gid": 0, "umask": 18},
        "args": ["sh"],
        "env": ["container=podman", "HOME="],
        "cwd": "/",
        "capabilities": {"bounding": ["CAP_KILL"]},
        "rlimits": [{"type": "RLIMIT_NPROC", "hard": 4194304, "soft": 4194304},
                    {"type": "RLIMIT_NOFILE", "hard": 18446744073709551615, "soft": 1024}]
    },
    "root": {"path": "rootfs"},
    "hostname": "1f",
    "mounts": [
        {"destination": "/proc", "type": "bind", "source": "/proc", "options": ["rbind", "nosuid", "noexec", "nodev"]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["rprivate", "nosuid", "ro"]},
        {"destination": "/run", "type": "tmpfs", "source": "tmpfs", "options": ["rprivate", "noswap", "tmpcopyup"]},
        {"destination": "/dev/shm", "type": "bind", "source": "/run/shm", "options": ["bind", "rprivate", "nosuid"]}
    ],
    "linux": {
        "resources": {"pids": {"limit": 2048}},
        "cgroupsPath": "machine.slice:libpod:1f",
        "namespaces": [{"type": "network", "path": "/run/netns/netns-1"}, {"type": "uts"}, {"type": "mount"}],
        "devices": [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 8630, "uid": 0, "gid": 0}]
    }
}"#;

#[test]
fn configurations_of_engines_are_taken() {
    let bundle = Bundle::new();
    for (engine, text) in [("docker", DOCKER), ("cri", CRI), ("podman", PODMAN)] {
        let checked = bundle.check(text).unwrap_or_else(|error| panic!("{engine}: {error}"));
        assert_eq!(checked.warnings, [], "{engine}");
    }
}
