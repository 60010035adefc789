//! A table: for every check one change of a valid configuration that it finds, with the pointer,
//! the place and the words, and a change next to it that is valid.

use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceType as Type};

use super::*;

struct Fault {
    /// What of the full configuration is changed.
    from: &'static str,
    /// To what it can be changed without a finding.
    valid: &'static str,
    /// To what it cannot, with `«` before the place of the finding.
    invalid: &'static str,
    pointer: &'static str,
    message: &'static str,
}

macro_rules! faults {
    ($($name:ident: $from:literal, $valid:literal, $invalid:literal => $pointer:literal, $message:literal;)*) => {
        const FAULTS: &[(&str, Fault)] = &[$((stringify!($name), Fault {
            from: $from, valid: $valid, invalid: $invalid, pointer: $pointer, message: $message,
        })),*];
    };
}

faults! {
    version_2: r#""1.3.0""#, r#""1.0.2-dev""#, r#"«"2.0.0""#
        => "/ociVersion", "version `2.0.0` is not a version 1";
    version_0: r#""1.3.0""#, r#""1.3.0+dev""#, r#"«"0.1.0""#
        => "/ociVersion", "version `0.1.0` is not a version 1";
    version_words: r#""1.3.0""#, r#""1.0.0-rc5""#, r#"«"1.x""#
        => "/ociVersion", "`1.x` is not a version such as `1.3.0`";
    version_empty: r#""1.3.0""#, r#""1.0""#, r#"«"""#
        => "/ociVersion", "is missing";
    root_path: r#""rootfs", "readonly""#, r#""./x/../rootfs/", "readonly""#, r#"«"", "readonly""#
        => "/root/path", "is missing: a container needs a root file system";
    annotation: r#""org.example.key": "value""#, r#""x": """#, r#""": «"value""#
        => "/annotations/", "the name of an annotation must not be empty";

    args: r#"["sh", "-c", "true"]"#, r#"[""]"#, r#"«[]"#
        => "/process/args", "must have at least one entry: the program to run";
    cwd_relative: r#""/root""#, r#""/""#, r#"«"root""#
        => "/process/cwd", "must be an absolute path, not `root`";
    cwd_empty: r#""/root""#, r#""/..""#, r#"«"""#
        => "/process/cwd", "must not be empty";
    env_no_equals: r#""EMPTY=""#, r#""A=B=C""#, r#"«"EMPTY""#
        => "/process/env/1", "`EMPTY` is not `NAME=VALUE`";
    env_no_name: r#""EMPTY=""#, r#""_=""#, r#"«"=x""#
        => "/process/env/1", "`=x` has no name";
    umask: r#""umask": 18"#, r#""umask": 511"#, r#""umask": «512"#
        => "/process/user/umask", "must be at most 511 (octal 777), not 512";
    uid_unmapped: r#""uid": 1,"#, r#""uid": 106,"#, r#""uid": «107,"#
        => "/process/user/uid", "uid 107 is not in /linux/uidMappings";
    gid_unmapped: r#""gid": 2,"#, r#""gid": 199,"#, r#""gid": «200,"#
        => "/process/user/gid", "gid 200 is not in /linux/gidMappings";
    groups_unmapped: "[5, 6]", "[199]", "[5, «4000]"
        => "/process/user/additionalGids/1", "gid 4000 is not in /linux/gidMappings";
    rlimit_twice: r#"{"type": "RLIMIT_CORE""#, r#"{"type": "RLIMIT_AS""#, r#"{"type": «"RLIMIT_NOFILE""#
        => "/process/rlimits/1/type", "`RLIMIT_NOFILE` is given more than once";
    rlimit_soft: r#""soft": 1024"#, r#""soft": 2048"#, r#""soft": «2049"#
        => "/process/rlimits/0/soft", "the soft limit 2049 is above the hard limit 2048";
    oom_score_high: r#""oomScoreAdj": 100"#, r#""oomScoreAdj": 1000"#, r#""oomScoreAdj": «1001"#
        => "/process/oomScoreAdj", "must be from -1000 to 1000, not 1001";
    oom_score_low: r#""oomScoreAdj": 100"#, r#""oomScoreAdj": -1000"#, r#""oomScoreAdj": «-1001"#
        => "/process/oomScoreAdj", "must be from -1000 to 1000, not -1001";
    console_height: r#""height": 25"#, r#""height": 65535"#, r#""height": «65536"#
        => "/process/consoleSize/height", "must be at most 65535, not 65536";
    console_width: r#""width": 80"#, r#""width": 0"#, r#""width": «70000"#
        => "/process/consoleSize/width", "must be at most 65535, not 70000";
    nice: r#""nice": 5"#, r#""nice": -20"#, r#""nice": «20"#
        => "/process/scheduler/nice", "must be from -20 to 19, not 20";
    priority: r#""nice": 5"#, r#""priority": 0"#, r#""priority": «1"#
        => "/process/scheduler/priority", "is for `SCHED_FIFO` and `SCHED_RR`, not for `SCHED_BATCH`";
    deadline: r#""nice": 5"#, r#""deadline": 0"#, r#""deadline": «7"#
        => "/process/scheduler/deadline", "is for `SCHED_DEADLINE`, not for `SCHED_BATCH`";
    realtime_priority: r#""SCHED_BATCH", "nice": 5"#, r#""SCHED_RR", "priority": 99"#, r#""SCHED_FIFO", "priority": «100"#
        => "/process/scheduler/priority", "must be from 1 to 99, not 100";
    deadline_runtime: r#""SCHED_BATCH", "nice": 5"#, r#""SCHED_DEADLINE", "runtime": 1024, "deadline": 1024"#,
        r#""SCHED_DEADLINE", "deadline": 4096, "runtime": «1023"#
        => "/process/scheduler/runtime", "must be at least 1024 ns, not 1023";
    deadline_before_runtime: r#""SCHED_BATCH", "nice": 5"#,
        r#""SCHED_DEADLINE", "runtime": 2048, "deadline": 4096, "period": 4096"#,
        r#""SCHED_DEADLINE", "runtime": 2048, "deadline": «2047"#
        => "/process/scheduler/deadline", "must not be below the runtime of 2048 ns, as 2047 is";
    period_before_deadline: r#""SCHED_BATCH", "nice": 5"#,
        r#""SCHED_DEADLINE", "runtime": 2048, "deadline": 4096, "period": 0"#,
        r#""SCHED_DEADLINE", "runtime": 2048, "deadline": 4096, "period": «4095"#
        => "/process/scheduler/period", "must not be below the deadline of 4096 ns, as 4095 is";
    affinity_number: r#""initial": "0""#, r#""initial": "65536""#, r#""initial": «"65537""#
        => "/process/execCPUAffinity/initial", "`65537` is not a list such as `0-3,7` of CPUs up to 65536";
    affinity_order: r#""final": "0-3,7""#, r#""final": "3-3""#, r#""final": «"3-2""#
        => "/process/execCPUAffinity/final", "`3-2` is not a list such as `0-3,7` of CPUs up to 65536";
    io_priority: r#""priority": 4"#, r#""priority": 7"#, r#""priority": «8"#
        => "/process/ioPriority/priority", "must be from 0 to 7, not 8";

    namespace_twice: r#"{"type": "cgroup"}, "#, "", r#"{"type": «"pid"}, "#
        => "/linux/namespaces/5/type", "namespace `pid` is given more than once";
    namespace_path: r#""/run/netns/x""#, r#""""#, r#"«"run/netns/x""#
        => "/linux/namespaces/4/path", "must be an absolute path, not `run/netns/x`";
    hostname_long: r#""some-host""#, r#""0123456789012345678901234567890123456789012345678901234567890123""#,
        r#"«"01234567890123456789012345678901234567890123456789012345678901234""#
        => "/hostname", "is longer than 64 bytes: 65";
    domainname_long: r#""some-domain""#, r#""""#,
        r#"«"01234567890123456789012345678901234567890123456789012345678901234""#
        => "/domainname", "is longer than 64 bytes: 65";
    masked_path: r#""/proc/kcore""#, r#""/x", "/y""#, r#""/x", «"y""#
        => "/linux/maskedPaths/1", "must be an absolute path, not `y`";
    read_only_path: r#"["/proc/sys"]"#, "[]", r#"[«"proc/sys"]"#
        => "/linux/readonlyPaths/0", "must be an absolute path, not `proc/sys`";
    propagation: r#""rslave""#, r#""unbindable""#, r#"«"rbind""#
        => "/linux/rootfsPropagation",
           "`rbind` is not one of `shared`, `slave`, `private`, `unbindable`, or one of these with an `r` in front";
    propagation_prefix: r#""rslave""#, r#""""#, r#"«"r""#
        => "/linux/rootfsPropagation",
           "`r` is not one of `shared`, `slave`, `private`, `unbindable`, or one of these with an `r` in front";
    time_clock: r#""monotonic": {"#, r#""boottime": {"#, r#""realtime": «{"#
        => "/linux/timeOffsets/realtime", "clock `realtime` is neither `monotonic` nor `boottime`";
    time_nanosecs: "999999999", "0", "«1000000000"
        => "/linux/timeOffsets/monotonic/nanosecs", "must be below 1000000000, not 1000000000";
    net_device: r#""eth0": {"#, r#""eth0.100": {"#, r#""eth/0": «{"#
        => "/linux/netDevices/eth~10", "`eth/0` is not a name of a network device";
    net_device_name: r#""lan0""#, r#""eth%d""#, r#"«"a-name-too-long!""#
        => "/linux/netDevices/eth0/name", "`a-name-too-long!` is not a name for a network device";

    mapping_empty: r#""size": 7}"#, r#""size": 8}"#, r#""size": «0}"#
        => "/linux/uidMappings/1/size", "must not be 0";
    mapping_overlap: r#""containerID": 100,"#, r#""containerID": 500,"#, r#""containerID": «99,"#
        => "/linux/uidMappings/1/containerID", "the range overlaps that of entry 0";
    mapping_overlap_host: r#""hostID": 5000"#, r#""hostID": 1100"#, r#""hostID": «1050"#
        => "/linux/uidMappings/1/hostID", "the range overlaps that of entry 0";
    mapping_end: r#""hostID": 5000"#, r#""hostID": 4294967288"#, r#""hostID": «4294967289"#
        => "/linux/uidMappings/1/hostID", "the range goes past the last id, 4294967294";

    mount_destination: r#""/data""#, r#""data""#, r#"«"""#
        => "/mounts/1/destination", "must not be empty";
    mount_in_proc: r#""/tmp""#, r#""/proc/meminfo""#, r#"«"/x/..//proc/./sys""#
        => "/mounts/2/destination", "`/x/..//proc/./sys` is inside `/proc`";
    mount_on_proc: r#""/tmp""#, r#""/process""#, r#"«"/proc/""#
        => "/mounts/2/destination", "only procfs may be mounted on `/proc`";
    bind_on_proc: r#""/data""#, r#""/proc""#, r#"«"proc/1""#
        => "/mounts/1/destination", "`proc/1` is inside `/proc`";
    bind_source: r#""source": "/srv", "options": ["rbind","#, r#""source": ".", "options": ["rbind","#,
        r#""source": «"", "options": ["rbind","#
        => "/mounts/1/source", "is missing for a bind mount";
    bind_option: r#""rprivate"]"#, r#""rro", "defaults"]"#, r#""rro", «"size=1g"]"#
        => "/mounts/1/options/3", "`size=1g` has no effect on a bind mount";
    bind_type: r#""none", "source": "/srv", "options": ["rbind", "ro", "rprivate"]"#,
        r#""bind", "source": "/srv", "options": ["ro", "bind"]"#,
        r#"«"bind", "source": "/srv", "options": ["ro"]"#
        => "/mounts/1/type", "a mount of type `bind` needs the option `bind` or `rbind`";
    mount_type: r#""type": "tmpfs""#, r#""type": "unheard-of""#, r#""type": «"""#
        => "/mounts/2/type", "is missing: only a bind mount can do without";
    idmap_of_tmpfs: r#"{"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["size=64k","#,
        r#"{"destination": "/tmp", "type": "bind", "source": "tmpfs", "options": ["idmap", "bind","#,
        r#"«{"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["idmap","#
        => "/mounts/2", "only a bind mount can have its ids mapped";
    idmap_one_list: r#""gidMappings": [{"containerID": 0, "hostID": 400, "size": 10}]"#,
        r#""gidMappings": [{"containerID": 9, "hostID": 9, "size": 1}]"#, r#""gidMappings": «[]"#
        => "/mounts/3/gidMappings", "is missing: uid and gid mappings go together";
    idmap_size: r#""hostID": 400, "size": 10"#, r#""hostID": 400, "size": 1"#,
        r#""hostID": 400, "size": «0"#
        => "/mounts/3/gidMappings/0/size", "must not be 0";
    idmap_option: r#""rprivate"]"#, r#""idmap=uids=0-1-2;gids=@5-9-1"]"#, r#"«"idmap=uids=0-1"]"#
        => "/mounts/1/options/2", "`0-1` is no range `FILE-HOST-COUNT` of ids";
    idmap_option_overlap: r#""rprivate"]"#, r#""ridmap=uids=0-1-2#2-7-1;gids=0-1-2"]"#,
        r#"«"ridmap=uids=0-1-2#1-7-1;gids=0-1-2"]"#
        => "/mounts/1/options/2", "the range overlaps that of entry 0";
    idmap_twice: r#""options": ["bind", "idmap"]"#, r#""options": ["bind", "ridmap"]"#,
        r#""options": ["bind", «"idmap=uids=0-1-2;gids=0-1-2"]"#
        => "/mounts/3/options/1", "has mappings, and so have `uidMappings` or `gidMappings`";
    link_options: r#""rprivate"]"#, r#""src-nofollow", "dest-nofollow"]"#, r#""src-nofollow", «"copy-symlink"]"#
        => "/mounts/1/options/3", "`copy-symlink` excludes `src-nofollow` and `dest-nofollow`";
    link_of_tmpfs: r#""nosuid"]"#, r#""nodev"]"#, r#"«"dest-nofollow"]"#
        => "/mounts/2/options/1", "`dest-nofollow` is for bind mounts only";

    sysctl_host: r#""kernel.shmmax": "#, r#""fs.mqueue.queues_max": "#, r#""kernel.core_pattern": «"#
        => "/linux/sysctl/kernel.core_pattern",
           "sysctl `kernel.core_pattern` is not in a separate kernel namespace";
    sysctl_hostname: r#""kernel.shmmax": "#, r#""kernel.domainname": "#, r#""kernel.hostname": «"#
        => "/linux/sysctl/kernel.hostname",
           "sysctl `kernel.hostname` conflicts with the field `hostname`";
    sysctl_escape: r#""kernel.shmmax": "#, r#""net/ipv4/conf/a.b/rp_filter": "#, r#""net.//.kernel.core_pattern": «"#
        => "/linux/sysctl/net.~1~1.kernel.core_pattern",
           "`net.//.kernel.core_pattern` is not the name of a kernel parameter";

    device_path: r#""/dev/fuse""#, r#""/x""#, r#"«"dev/fuse""#
        => "/linux/devices/0/path", "must be an absolute path, not `dev/fuse`";
    device_type: r#""type": "c""#, r#""type": "u""#, r#""type": «"a""#
        => "/linux/devices/0/type", "`a` is no type of device node";
    device_major: r#""major": 10"#, r#""major": 4095"#, r#""major": «4096"#
        => "/linux/devices/0/major", "must be from 0 to 4095, not 4096";
    device_minor: r#""minor": 229"#, r#""minor": 1048575"#, r#""minor": «-1"#
        => "/linux/devices/0/minor", "must be from 0 to 1048575, not -1";
    device_numbers: r#""major": 10, "minor": 229"#, r#""major": 0, "minor": 1"#, r#""major": «0"#
        => "/linux/devices/0/major", "a device of type `c` needs its numbers";
    device_user: r#"438, "uid": 0, "gid""#, r#"438, "uid": 4294967294, "gid""#, r#"438, "uid": «4294967295, "gid""#
        => "/linux/devices/0/uid", "4294967295 is not an id: it means \"unchanged\" to the kernel";
    device_group: r#"438, "uid": 0, "gid": 0"#, r#"438, "uid": 0, "gid": 4294967294"#, r#"438, "uid": 0, "gid": «4294967295"#
        => "/linux/devices/0/gid", "4294967295 is not an id: it means \"unchanged\" to the kernel";
    rule_type: r#""type": "b", "major": 8"#, r#""type": "a", "major": 8"#, r#""type": «"u", "major": 8"#
        => "/linux/resources/devices/1/type", "`u` is not one of `a`, `b`, `c`";
    rule_access: r#""rwm""#, r#""mr""#, r#"«"rx""#
        => "/linux/resources/devices/0/access", "`rx` is not made of `r`, `w` and `m`";
    rule_access_empty: r#""rwm""#, r#""w""#, r#"«"""#
        => "/linux/resources/devices/0/access", "must not be empty: it is made of `r`, `w` and `m`";
    rule_minor: r#""minor": -1"#, r#""minor": 0"#, r#""minor": «-2"#
        => "/linux/resources/devices/1/minor", "must be from -1 to 1048575, not -2";

    cgroups_path: r#""/a/b""#, r#""system.slice:nrun:a..b""#, r#"«"/a/../../b""#
        => "/linux/cgroupsPath", "`/a/../../b` must not contain `..`";
    memory_negative: r#""reservation": 2048"#, r#""reservation": -1"#, r#""reservation": «-2"#
        => "/linux/resources/memory/reservation",
           "must be a number of bytes, or -1 for no limit, not -2";
    memory_swap: r#""swap": 8192"#, r#""swap": 4096"#, r#""swap": «4095"#
        => "/linux/resources/memory/swap",
           "is memory and swap together, so 4095 cannot be below the limit 4096";
    swappiness: r#""swappiness": 60"#, r#""swappiness": 100"#, r#""swappiness": «101"#
        => "/linux/resources/memory/swappiness", "must be from 0 to 100, not 101";
    cpu_period: r#""period": 100000"#, r#""period": 0"#, r#""period": «999"#
        => "/linux/resources/cpu/period", "must be from 1000 to 1000000 µs, not 999";
    cpu_burst: r#""burst": 10000"#, r#""burst": 20000"#, r#""burst": «20001"#
        => "/linux/resources/cpu/burst", "20001 is above the quota 20000";
    cpu_idle: r#""idle": 1"#, r#""idle": 0"#, r#""idle": «2"#
        => "/linux/resources/cpu/idle", "must be 0 or 1, not 2";
    cpus: r#""cpus": "0-3,7""#, r#""cpus": """#, r#""cpus": «"0..3""#
        => "/linux/resources/cpu/cpus", "`0..3` is not a list such as `0-3,7`";
    mems: r#""mems": "0""#, r#""mems": "0,1""#, r#""mems": «"1-0""#
        => "/linux/resources/cpu/mems", "`1-0` is not a list such as `0-3,7`";
    weight: r#""weight": 500"#, r#""weight": 10"#, r#""weight": «9"#
        => "/linux/resources/blockIO/weight", "must be from 10 to 1000, not 9";
    weight_device: r#"{"major": 8, "minor": 1, "weight": 700}"#,
        r#"{"major": 8, "minor": 1, "leafWeight": 1000}"#, r#"«{"major": 8, "minor": 1}"#
        => "/linux/resources/blockIO/weightDevice/0", "needs a `weight` or a `leafWeight`";
    throttle_device: r#""minor": 2,"#, r#""minor": 0,"#, r#""minor": «-1,"#
        => "/linux/resources/blockIO/throttleReadBpsDevice/0/minor", "must not be negative: -1";
    huge_page_size: r#""2MB""#, r#""64KB""#, r#"«"../2MB""#
        => "/linux/resources/hugepageLimits/0/pageSize",
           "`../2MB` is not a size such as `64KB`, `2MB` or `1GB`";
    network_priority: r#""eth1""#, r#""lo""#, r#"«"eth1 5\neth2""#
        => "/linux/resources/network/priorities/0/name", "`eth1 5\neth2` is not a name of a network device";
    rdma_limit: r#"{"hcaHandles": 3}"#, r#"{"hcaObjects": 3}"#, "«{}"
        => "/linux/resources/rdma/mlx5_1", "has neither `hcaHandles` nor `hcaObjects`";
    rdma: r#""mlx5_1": {"#, r#""rxe3": {"#, r#""mlx5_1 hca_handle=9": «{"#
        => "/linux/resources/rdma/mlx5_1 hca_handle=9",
           "`mlx5_1 hca_handle=9` is not a name of an RDMA device";
    unified: r#""memory.high": "#, r#""io.max": "#, r#""../memory.high": «"#
        => "/linux/resources/unified/..~1memory.high",
           "`../memory.high` is not the name of a file in a control group";

    seccomp_default: r#""defaultAction": "SCMP_ACT_ERRNO",
      "defaultErrnoRet": 38"#, r#""defaultAction": "SCMP_ACT_LOG""#, r#""defaultAction": «"SCMP_ACT_NOTIFY""#
        => "/linux/seccomp/defaultAction", "`SCMP_ACT_NOTIFY` cannot be the default action";
    seccomp_errno: r#""defaultErrnoRet": 38"#, r#""defaultErrnoRet": 4095"#, r#""defaultErrnoRet": «4096"#
        => "/linux/seccomp/defaultErrnoRet", "must be at most 4095, not 4096";
    seccomp_trace: r#""errnoRet": 7"#, r#""errnoRet": 65535"#, r#""errnoRet": «65536"#
        => "/linux/seccomp/syscalls/2/errnoRet", "must be at most 65535, not 65536";
    seccomp_errno_of_allow: r#""action": "SCMP_ACT_ALLOW""#,
        r#""action": "SCMP_ACT_ERRNO", "errnoRet": 1"#, r#""action": "SCMP_ACT_ALLOW", "errnoRet": «1"#
        => "/linux/seccomp/syscalls/0/errnoRet", "action `SCMP_ACT_ALLOW` returns no error number";
    seccomp_names: r#"["read"]"#, r#"["no_such_call"]"#, r#"«[]"#
        => "/linux/seccomp/syscalls/0/names", "must have at least one entry";
    seccomp_name: r#"["read"]"#, r#"["read", "write"]"#, r#"["read", «""]"#
        => "/linux/seccomp/syscalls/0/names/1", "must not be empty";
    seccomp_index: r#""index": 5"#, r#""index": 0"#, r#""index": «6"#
        => "/linux/seccomp/syscalls/2/args/0/index", "must be from 0 to 5, not 6";
    seccomp_listener: r#""listenerPath": "/run/agent",
      "listenerMetadata": "m","#, r#""listenerPath": "agent","#, r#""listenerPath": «"","#
        => "/linux/seccomp/listenerPath", "is missing: a rule has the action `SCMP_ACT_NOTIFY`";

    hook_path: r#""/bin/hook""#, r#""/x""#, r#"«"hook""#
        => "/hooks/createRuntime/0/path", "must be an absolute path, not `hook`";
    deprecated_hook_path: r#""/bin/prestart""#, r#""/""#, r#"«"""#
        => "/hooks/prestart/0/path", "must be an absolute path, not ``";
    hook_timeout: r#""timeout": 30"#, r#""timeout": 1"#, r#""timeout": «0"#
        => "/hooks/createRuntime/0/timeout", "must be greater than 0 seconds, not 0";

    rdt_class: r#""closID": "group""#, r#""closID": "/""#, r#""closID": «"../x""#
        => "/linux/intelRdt/closID", "`../x` is not a name of a class";
    rdt_l3: r#""L3:0=f""#, r#""""#, r#"«"L3:0=f\nMB:0=1""#
        => "/linux/intelRdt/l3CacheSchema", "`L3:0=f\nMB:0=1` is not one line";
    rdt_memory: r#""MB:0=20""#, r#""""#, r#"«"L3:0=20""#
        => "/linux/intelRdt/memBwSchema", "`L3:0=20` is not one line that starts with `MB:`";
    rdt_schemata: r#"["L2:0=f"]"#, "[]", r#"[«"a\nb"]"#
        => "/linux/intelRdt/schemata/0", "`a\nb` is not one line";
    nodes_missing: r#""nodes": "0-1""#, r#""nodes": "1""#, r#""nodes": «"""#
        => "/linux/memoryPolicy/nodes", "mode `MPOL_BIND` needs a node";
    nodes_list: r#""nodes": "0-1""#, r#""nodes": "0, 1""#, r#""nodes": «"all""#
        => "/linux/memoryPolicy/nodes", "`all` is not a list such as `0-3,7`";
    nodes_unwanted: r#""MPOL_BIND", "nodes": "0-1""#, r#""MPOL_LOCAL", "nodes": """#,
        r#""MPOL_LOCAL", "nodes": «"0-1""#
        => "/linux/memoryPolicy/nodes", "mode `MPOL_LOCAL` takes no nodes";
    node_flags: r#"["MPOL_F_STATIC_NODES"]"#, r#"["MPOL_F_RELATIVE_NODES"]"#,
        r#"«["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"]"#
        => "/linux/memoryPolicy/flags",
           "`MPOL_F_STATIC_NODES` and `MPOL_F_RELATIVE_NODES` exclude each other";

    nul: r#""/root""#, r#""/\\u0000""#, r#"«"/\u0000x""#
        => "/process/cwd", "must not contain a NUL character";
    nul_in_key: r#""memory.high": "#, r#""memory.low": "#, r#""memory\u0000": «"#
        => "/linux/resources/unified/memory\0", "must not contain a NUL character";
}

#[test]
fn the_configuration_that_is_changed_is_valid() {
    let checked = Bundle::new().check(FULL).unwrap();
    assert_eq!(checked.warnings, []);
}

#[test]
fn each_check_finds_its_fault_and_says_where() {
    let bundle = Bundle::new();
    for (name, fault) in FAULTS {
        let text = changed(fault.from, fault.invalid);
        let (text, line, column) = take_mark(&text);
        let result = bundle.check(&text);
        assert!(result.is_err(), "{name}: nothing found");
        let found = findings(result);
        let [finding] = found.as_slice() else { panic!("{name}: {found:#?}") };
        assert_eq!(finding.pointer, fault.pointer, "{name}");
        assert_eq!(finding.message, fault.message, "{name}");
        assert_eq!((finding.line, finding.column), (line, column), "{name}");
    }
}

#[test]
fn no_check_finds_a_fault_in_the_valid_neighbour() {
    let bundle = Bundle::new();
    for (name, fault) in FAULTS {
        let checked = bundle.check(&changed(fault.from, fault.valid));
        checked.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

/// What is found in the full configuration after a change of its namespaces; the lines and columns
/// are those of the full one.
fn found_with_namespaces(change: impl FnOnce(&mut Vec<LinuxNamespace>)) -> Vec<String> {
    let bundle = Bundle::new();
    let mut loaded = bundle.parse(FULL).unwrap();
    let linux = loaded.spec.linux_mut().as_mut().unwrap();
    change(linux.namespaces_mut().as_mut().unwrap());
    let findings = check(loaded).map(drop).err().map(|findings| findings.list);
    findings.unwrap_or_default().iter().map(Finding::to_string).collect()
}

#[test]
fn what_needs_a_namespace_is_found_when_that_is_missing() {
    let expected: &[(Type, &[&str])] = &[
        (Type::Pid, &[]),
        (Type::Cgroup, &[]),
        (
            Type::Uts,
            &[
                "21:15: /hostname: cannot be set without a uts namespace",
                "22:17: /domainname: cannot be set without a uts namespace",
            ],
        ),
        (
            Type::Ipc,
            &["46:61: /linux/sysctl/kernel.shmmax: sysctl `kernel.shmmax` cannot be set without \
               a namespace of type `ipc`"],
        ),
        (
            Type::Network,
            &[
                "46:39: /linux/sysctl/net.ipv4.ip_forward: sysctl `net.ipv4.ip_forward` cannot be \
                 set without a namespace of type `network`",
                "51:19: /linux/netDevices: cannot be moved without a network namespace",
            ],
        ),
        (
            Type::Mount,
            &[
                "20:42: /root/readonly: needs a mount namespace",
                "24:13: /mounts: cannot be made without a mount namespace",
                "49:20: /linux/maskedPaths: cannot be applied without a mount namespace",
                "50:22: /linux/readonlyPaths: cannot be applied without a mount namespace",
            ],
        ),
        (
            Type::User,
            &[
                "43:20: /linux/uidMappings: cannot be set without a user namespace",
                "44:20: /linux/gidMappings: cannot be set without a user namespace",
            ],
        ),
        (Type::Time, &["45:20: /linux/timeOffsets: cannot be set without a time namespace"]),
    ];
    for (typ, expected) in expected {
        let found = found_with_namespaces(|list| list.retain(|entry| entry.typ() != *typ));
        assert_eq!(found, *expected, "{typ}");
    }
}

#[test]
fn offsets_are_for_a_new_time_namespace_only() {
    let found = found_with_namespaces(|list| {
        for namespace in list {
            namespace.set_path(Some("/x".into()));
        }
    });
    let expected =
        "45:20: /linux/timeOffsets: cannot be set for a time namespace that is joined by its path";
    assert_eq!(found, [expected], "all else may be joined, mappings beside it too");
}

#[test]
fn sysctls_of_users_need_a_user_namespace() {
    let text = changed("\"kernel.shmmax\"", "\"user.max_user_namespaces\"");
    let bundle = Bundle::new();
    bundle.check(&text).unwrap();
    let text = text.replace(", {\"type\": \"user\"}", "");
    let found = findings(bundle.check(&text));
    let pointers: Vec<&str> = found.iter().map(|finding| finding.pointer.as_str()).collect();
    let sysctl = "/linux/sysctl/user.max_user_namespaces";
    assert_eq!(pointers, ["/linux/uidMappings", "/linux/gidMappings", sysctl]);
}

#[test]
fn a_new_user_namespace_needs_mappings() {
    let bundle = Bundle::new();
    let mut loaded = bundle.parse(FULL).unwrap();
    let linux = loaded.spec.linux_mut().as_mut().unwrap();
    linux.set_uid_mappings(None).set_gid_mappings(Some(Vec::new()));
    let found = findings(check(loaded).map_err(Error::from));
    let pointers: Vec<&str> = found.iter().map(|finding| finding.pointer.as_str()).collect();
    assert_eq!(pointers, ["/linux/uidMappings", "/linux/gidMappings"]);
}

#[test]
fn an_id_mapped_mount_needs_mappings_or_a_user_namespace_to_take_them_from() {
    let bundle = Bundle::new();
    let config = |namespace: &str| {
        let mappings = r#"[{"containerID": 0, "hostID": 0, "size": 1}]"#;
        let mappings = format!(r#""uidMappings": {mappings}, "gidMappings": {mappings}"#);
        let mappings = if namespace.is_empty() { "" } else { &format!(", {mappings}") };
        format!(
            r#"{{"ociVersion": "1.3.0", "root": {{"path": "rootfs"}},
                 "process": {{"args": ["x"], "cwd": "/"}},
                 "mounts": [{{"destination": "/a", "source": "/b", "options": ["bind", "ridmap"]}}],
                 "linux": {{"namespaces": [{{"type": "mount"}}{namespace}]{mappings}}}}}"#
        )
    };
    bundle.check(&config(r#", {"type": "user"}"#)).unwrap();
    let found = findings(bundle.check(&config("")));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].pointer, "/mounts/0/options");
    assert_eq!(found[0].message, "`idmap` needs mappings, or a user namespace to take them from");
}

#[test]
fn metadata_for_an_agent_needs_an_agent() {
    let text = changed("\"listenerPath\": \"/run/agent\",", "");
    let found = findings(Bundle::new().check(&text));
    let shown: Vec<String> =
        found.iter().map(|f| format!("{}: {}", f.pointer, f.message)).collect();
    assert_eq!(shown.len(), 2);
    assert!(shown[1].starts_with("/linux/seccomp/listenerMetadata: cannot be set"), "{shown:?}");
}

#[test]
fn a_map_has_at_most_340_entries() {
    let bundle = Bundle::new();
    for (count, is_valid) in [(338, true), (339, false)] {
        let more: String = (0..count)
            .map(|n| {
                format!(r#", {{"containerID": {0}, "hostID": {0}, "size": 1}}"#, 100_000 + 2 * n)
            })
            .collect();
        let text = changed(r#""size": 7}"#, &format!(r#""size": 7}}{more}"#));
        let result = bundle.check(&text);
        assert_eq!(result.is_ok(), is_valid, "{count}");
    }
}

#[test]
fn the_id_that_means_unchanged_is_no_id() {
    let text = r#"{"user": {"uid": 4294967295, "gid": 4294967295, "additionalGids": [0, 4294967295]},
        "args": ["x"], "cwd": "/"}"#;
    let process = serde_json::from_str(text).unwrap();
    let pointers: Vec<String> = check_process(&process).into_iter().map(|p| p.pointer).collect();
    assert_eq!(pointers, ["/user/uid", "/user/gid", "/user/additionalGids/1"]);
}

#[test]
fn the_size_of_a_console_that_is_not_there_is_ignored() {
    let text = changed("\"terminal\": true", "\"terminal\": false");
    Bundle::new().check(&text.replace("\"height\": 25", "\"height\": 70000")).unwrap();
}

#[test]
fn nul_is_refused_only_where_the_kernel_would_see_it() {
    let bundle = Bundle::new();
    for (from, to) in [("key\": \"value\"", "key\": \"\\u0000\""), ("\"m\"", "\"\\u0000\"")] {
        bundle.check(&changed(from, to)).unwrap();
    }
}

#[test]
fn an_unprivileged_caller_is_told_what_it_cannot_do() {
    let bundle = Bundle::new();
    let text = changed("\"size=64k\"", "\"gid=200\"");
    let found = bundle.check(&text).unwrap().check_unprivileged().unwrap_err();
    let shown: Vec<String> = found.list.iter().map(Finding::to_string).collect();
    let expected = [
        "27:77: /mounts/2/options/0: `gid=200` is not an id of the container's user namespace",
        "28:5: /mounts/3: only root can have the ids of a mount mapped",
        "51:19: /linux/netDevices: only root can move network devices",
    ];
    assert_eq!(shown, expected);
    let options = crate::generate::Options { rootless: Some((1000, 1000)), cgroup_namespace: true };
    let rootless = crate::generate::to_json(&crate::generate::spec(options));
    bundle.check(&rootless).unwrap().check_unprivileged().unwrap();
    let root = crate::generate::to_json(&crate::generate::spec(Default::default()));
    let found = bundle.check(&root).unwrap().check_unprivileged().unwrap_err();
    assert_eq!(found.list.len(), 1);
    assert!(found.to_string().ends_with("without which only root can make a container"), "{found}");
}
