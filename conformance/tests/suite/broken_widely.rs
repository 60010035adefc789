//! Broken runtimes that several cases are about.

/// A runtime that is broken in a way that several cases are about, or that takes both to bring about.
#[derive(Clone, Copy)]
pub(crate) struct Wide {
    /// What it does to config.json, as a jq program.
    pub(crate) config: &'static str,
    /// What it does with its command line, as shell.
    pub(crate) commands: &'static str,
    /// The cases that must fail by it.
    pub(crate) cases: &'static [&'static str],
}

const fn broken_config(config: &'static str, cases: &'static [&'static str]) -> Wide {
    Wide { config, commands: "no)", cases }
}

const fn broken_command(commands: &'static str, cases: &'static [&'static str]) -> Wide {
    Wide { config: ".", commands, cases }
}

/// See [`Wide`].
pub(crate) const BROKEN_WIDELY: &[Wide] = &[
    broken_command(
        r#"create) "$real" "$@"; exit 0"#,
        &[
            "configuration: a bundle without config.json",
            "configuration: a config.json that is not JSON",
            "configuration: a config.json without ociVersion",
            "configuration: a value of another type",
            "configuration: a config.json without a root",
            "root: a root that is not there",
            "mounts: a bind whose source is not there",
            "mounts: a file system that the kernel does not know",
            "process: a working directory that is not absolute",
            "process: an empty list of arguments",
            "terminal: a terminal without a console socket",
            "rlimits: a limit that nobody knows",
            "hostname: a host name without a namespace",
            "hooks: a hook that fails before start",
            "hooks: a hook that takes longer",
            "hooks: a hook that is not there",
            "hooks: a hook whose path is not absolute",
            "namespaces: a path that is no namespace",
            "namespaces: a path of a namespace of another type",
            "namespaces: a type that nobody knows",
            "time-namespace: offsets without",
            "user-namespace: mappings without",
            "devices: another file in the place",
            "devices: a device of a type that there is none",
            "net-devices: a device that is not there",
            "net-devices: a device without a network namespace",
            "net-devices: two devices of one name",
            "cpu: a processor that is not there",
            "controllers: a size of huge pages",
            "sysctl: a parameter whose namespace",
            "sysctl: a parameter of the whole machine",
            "operations: an id that is in use",
            "command-line: an id with a slash",
        ],
    ),
    broken_command(
        r#"run) "$real" "$@"; exit 0"#,
        &[
            "process: a script without an interpreter",
            "rlimits: a soft limit above",
            "scheduling: a priority beyond",
            "scheduling: a policy that there is none of",
            "scheduling: a class of I/O that there is none",
            "hooks: a startContainer hook that fails",
            "memory-policy: a mode that there is none",
            "sysctl: a parameter that there is none",
            "seccomp: a default errno of",
            "seccomp: a call with the action KILL_PROCESS",
            "seccomp: a call with the action KILL_THREAD",
            "seccomp: an action that there is none",
            "seccomp: NOTIFY without",
            "seccomp: an agent that is not there",
            "rootfs-propagation: a propagation that there is none",
            "labels: a profile that is not loaded",
            "command-line: run exits with",
            "command-line: a command that is not there",
            "command-line: --log-format json",
            "descriptors: a descriptor that is to be passed",
        ],
    ),
    broken_config(
        "if .linux.tomorrow then del(.root) else . end",
        &["configuration: a property that is not known"],
    ),
    broken_config(
        r#"if .annotations["org.example.unknown"] then del(.root) else . end"#,
        &["configuration: an annotation that is not"],
    ),
    broken_config(".root.readonly = true", &["root: a writable root"]),
    broken_config(
        r#".process.args |= map(sub("/../../marker"; "/../marker/.."))"#,
        &["root: the root of the container is"],
    ),
    broken_config(r#".root.path = "rootfs""#, &["root: an absolute path"]),
    broken_config(
        r#".mounts |= (if .[-1].destination == "/outer/inner" then .[:-2] + [.[-1], .[-2]] else . end)"#,
        &["mounts: mounts are made in the order"],
    ),
    broken_config(
        r#".mounts |= map(select(.destination | IN("/made/on/the/way", "/out/deep") | not))"#,
        &["mounts: a mount point that is not there", "mounts: a destination that leads out"],
    ),
    broken_config(
        r#".mounts |= map(select(.options // [] | (index("bind") or index("rbind")) | not))"#,
        &["mounts: a directory is bound", "mounts: a file is bound"],
    ),
    broken_config(
        r#"(.mounts[].options // empty) |= map(select(test("^rno") | not))"#,
        &["mounts: rnosuid, rnodev", "mounts: rnoatime"],
    ),
    broken_config(
        r#"(.mounts[].options // empty) |= map(sub("^ro$"; "rro"))"#,
        &["mounts: ro without the r"],
    ),
    broken_config(r#"(.mounts[].options // empty) -= ["noatime"]"#, &["mounts: access times"]),
    broken_config(r#".process.env += ["HOME=/nowhere"]"#, &["process: HOME is set"]),
    broken_config(
        r#".process.env |= map(select(startswith("PATH=") | not))"#,
        &["process: a relative command"],
    ),
    broken_config(r#".process.cwd = "/""#, &["process: a working directory that is not there"]),
    broken_config(
        r#".process.args |= ["/bin/sh", "-c", "\"$@\"; exit $?", "sh"] + ."#,
        &["process: a new session", "namespaces: the process is the first"],
    ),
    broken_config(
        r#".process.args |= ["/bin/sh", "-c", "trap \"\" USR1; exec \"$@\"", "sh"] + ."#,
        &["process: no signal is ignored"],
    ),
    broken_config(
        "del(.process.oomScoreAdj)",
        &["process: the out-of-memory score is adjusted downwards"],
    ),
    broken_config(
        ".process.terminal = false",
        &[
            "terminal: standard input, output",
            "terminal: /dev/console",
            "terminal: the process has the terminal as",
            "terminal: what is typed",
        ],
    ),
    broken_config(".process.user.umask //= 0", &["user: the umask is 0022"]),
    broken_config(".process.user.uid = 0", &["user: an id that no user"]),
    broken_config(
        r#".process.capabilities.bounding += ["CAP_KILL"]"#,
        &["capabilities: root has what"],
    ),
    broken_config(
        ".process.capabilities.inheritable = .process.capabilities.ambient",
        &["capabilities: an ambient capability"],
    ),
    broken_command(
        r#"create|run|exec|kill|state) exec "$real" "$@" 2>/dev/null"#,
        &[
            "capabilities: a capability that nobody",
            "state: the message about",
            "command-line: kill of a container that has stopped",
            "exec: a command that is not there",
            "exec: a command that may not",
            "exec: a container that is not there",
        ],
    ),
    broken_config("del(.process.scheduler.nice)", &["scheduling: the nice value"]),
    broken_command(
        r#"exec) for word; do case $word in *.json) jq "del(.scheduler, .execCPUAffinity) | .args |= .[:1]" "$word" >"$word.new" && cat "$word.new" >"$word";; esac; done"#,
        &["scheduling: a process of exec", "scheduling: an exec ends up", "exec: a process.json"],
    ),
    broken_config("del(.process.ioPriority)", &["scheduling: the idle class of I/O"]),
    broken_config(
        "del(.process.apparmorProfile)",
        &["labels: the process is confined", "labels: a process of exec"],
    ),
    broken_command("run) hostname nrt-changed", &["hostname: the caller keeps"]),
    broken_config("del(.hooks.createRuntime)", &["hooks: the state of createRuntime"]),
    broken_config(".hooks.poststop |= .[:1]", &["hooks: a poststop hook that fails"]),
    broken_command(
        r#"create) ! grep -q org.example.long "$bundle/config.json" || exit 1"#,
        &["hooks: a hook that does not read"],
    ),
    broken_config(
        r#".mounts |= map(select(.destination != "/proc"))"#,
        &["default-filesystems: /proc is a proc"],
    ),
    broken_config(
        r#".mounts |= map(select(.destination | IN("/sys", "/dev/pts", "/dev/mqueue") | not))"#,
        &[
            "default-filesystems: /sys is",
            "default-filesystems: /dev/pts is",
            "default-filesystems: /dev/mqueue is",
        ],
    ),
    broken_config(
        r#".linux.namespaces -= [{"type": "pid"}]"#,
        &["default-filesystems: /proc shows"],
    ),
    broken_config(
        r#".mounts |= map(select(.type != "cgroup"))"#,
        &["default-filesystems: the cgroups that"],
    ),
    broken_config(
        r#".linux.namespaces |= (. + [{"type": "ipc"}] | unique_by(.type))"#,
        &["namespaces: a namespace that is not in"],
    ),
    Wide {
        config: r#".linux.namespaces -= [{"type": "network"}]"#,
        commands: "run) ip link add nrt-a type veth peer name nrt-b 2>/dev/null",
        cases: &["namespaces: a new network namespace has"],
    },
    broken_config(
        r#".linux.namespaces -= [{"type": "cgroup"}]"#,
        &["namespaces: a new cgroup namespace"],
    ),
    broken_config("del(.linux.namespaces[].path)", &["namespaces: the namespaces of another"]),
    broken_config(
        r#".linux.namespaces -= [{"type": "time"}]"#,
        &["time-namespace: the process is in"],
    ),
    broken_config(
        ".linux.uidMappings[0].hostID = 200000",
        &["user-namespace: ids are mapped", "user-namespace: the process is its user"],
    ),
    broken_config("del(.process.capabilities)", &["user-namespace: capabilities are"]),
    broken_config(
        "del(.mounts[].uidMappings, .mounts[].gidMappings)",
        &["idmapped-mounts: an idmapped bind takes", "idmapped-mounts: what is written"],
    ),
    broken_config("del(.linux.devices)", &["devices: a block device", "devices: a device outside"]),
    broken_config(
        r#".mounts += [{"destination": "/dev", "type": "bind", "source": "/usr/share", "options": ["bind", "ro"]}]"#,
        &[
            "default-devices: null, zero",
            "default-devices: ptmx",
            "default-devices: fd, stdin",
            "default-devices: in a user namespace",
        ],
    ),
    broken_config(
        r#"(.mounts[] | select(.destination == "/dev") | .options) += ["nodev"]"#,
        &["default-devices: the default devices"],
    ),
    broken_config("del(.linux.netDevices)", &["net-devices: a device keeps"]),
    broken_config("del(.linux.cgroupsPath)", &["cgroups-path: a relative path"]),
    broken_command(
        r#"start) "$real" "$@"; pid=$("$real" "$1" "$2" state "$last" | jq .pid); while IFS=: read -r _ names path; do for top in /sys/fs/cgroup/${names#name=} /sys/fs/cgroup/unified /sys/fs/cgroup; do echo "$pid" >"$top$path/cgroup.procs"; done; done </proc/self/cgroup 2>/dev/null; exit 0"#,
        &["cgroups-path: without a path"],
    ),
    broken_config(".linux.resources.devices |= .[:1]", &["device-rules: a wildcard"]),
    broken_config(
        r#".linux.resources.devices[].access = "rwm""#,
        &["device-rules: the right to read"],
    ),
    broken_config(
        "del(.linux.resources.memory)",
        &["memory: the reservation", "memory: the limit of memory and swap"],
    ),
    broken_config(".linux.resources.memory.limit = 67108864", &["memory: a limit of -1"]),
    broken_command(r#"update) "$real" "$@"; exit 0"#, &["memory: checkBeforeUpdate"]),
    broken_config(
        "del(.linux.resources.cpu)",
        &["cpu: shares", "cpu: the process runs on", "cpu: memory comes", "cpu: the idle class"],
    ),
    broken_config("del(.linux.resources.pids)", &["pids: the limit is"]),
    broken_config("del(.linux.resources.blockIO)", &["block-io: the weight is given to BFQ"]),
    broken_config(
        r#".linux.memoryPolicy //= {"mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": []}"#,
        &["memory-policy: without a policy"],
    ),
    broken_config("del(.linux.sysctl)", &["sysctl: a name with slashes"]),
    broken_config(
        "del(.linux.seccomp)",
        &[
            "seccomp: a call that no rule has",
            "seccomp: a name that the kernel",
            "seccomp: a filter is in force",
            "seccomp: a process of exec",
            "seccomp: flags of the filter",
            "seccomp: a call with the action NOTIFY",
            "seccomp: the agent gets",
            "seccomp: a connection to the agent",
        ],
    ),
    broken_config(
        r#".linux.seccomp.syscalls[]?.args[]?.op = "SCMP_CMP_EQ""#,
        &["seccomp: comparisons are", "seccomp: a masked comparison"],
    ),
    broken_config(
        r#".linux.seccomp.syscalls[]?.action |= sub("LOG"; "ERRNO")"#,
        &["seccomp: a call with the action LOG"],
    ),
    broken_config(
        r#".linux.seccomp //= {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]}"#,
        &["seccomp: without a filter"],
    ),
    broken_config("del(.linux.rootfsPropagation)", &["rootfs-propagation: an unbindable"]),
    broken_config(
        "del(.linux.maskedPaths)",
        &["masked-paths: a masked directory", "masked-paths: a path in /proc"],
    ),
    broken_config(
        "del(.linux.readonlyPaths)",
        &["readonly-paths: a file that", "readonly-paths: /proc/sys"],
    ),
    broken_command(
        r#"run) for path in $(jq -r ".linux.maskedPaths[]?, .linux.readonlyPaths[]?" "$bundle/config.json"); do case $path in /proc/*) ;; *) [ -e "$bundle/rootfs$path" ] || exit 1;; esac; done"#,
        &[
            "masked-paths: a masked path that is not",
            "readonly-paths: a read-only path that is not",
        ],
    ),
    broken_config("del(.linux.personality)", &["personality: the domain LINUX is"]),
    broken_command(
        r#"state) "$real" "$@" | jq ".pid = 7 | del(.status, .rootfs)"; exit"#,
        &[
            "state: a created container",
            "state: the status goes",
            "state: the pid is that",
            "state: the pid of a stopped",
            "state: the state has rootfs",
            "command-line: the pid file",
        ],
    ),
    broken_command(
        r#"start) jq -e .process "$("$real" "$1" "$2" state "$last" | jq -r .bundle)/config.json" >/dev/null || exit 1"#,
        &["operations: changes of config.json"],
    ),
    broken_command(
        r#"kill) "$real" "$@" KILL 2>/dev/null; exit 0"#,
        &[
            "operations: killing a container that is not",
            "command-line: kill of a signal",
            "command-line: kill without a signal",
        ],
    ),
    broken_command("kill) exit 0", &["operations: a container that is only"]),
    broken_command(
        r#"delete) exec "$real" "$1" "$2" delete --force "$last""#,
        &[
            "operations: deleting a container that runs",
            "operations: deleting a container that is not",
        ],
    ),
    broken_command(
        r#"delete) exec "$real" "$1" "$2" delete "$last""#,
        &["command-line: delete --force of", "command-line: delete --force ends"],
    ),
    broken_command(
        r#"features) echo "{}"; exit 0"#,
        &[
            "features: the versions",
            "features: options of",
            "features: the namespaces",
            "features: capabilities",
            "features: actions",
            "features: support of cgroups",
            "features: annotations",
            "features: support of idmapped",
        ],
    ),
    broken_command(
        r#"run|exec) exec "$real" "$@" </dev/null"#,
        &["command-line: run passes", "exec: standard input"],
    ),
    broken_command(
        r#"run) exec "$real" "$1" "$2" run --bundle "$bundle" "$last""#,
        &["command-line: run --detach"],
    ),
    broken_command(
        r#"run) case " $* " in *" --no-pivot "*) exit 1;; esac"#,
        &["command-line: --no-pivot"],
    ),
    broken_command("run) cd /", &["command-line: the bundle is the current"]),
    broken_command(
        r#"list|events|spec) echo "{}"; exit 0"#,
        &["command-line: list --format", "command-line: events", "command-line: spec"],
    ),
    broken_command(
        r#"run) exec 3</etc/passwd; exec "$real" "$1" "$2" run --preserve-fds 1 --bundle "$bundle" "$last""#,
        &["descriptors: none of the"],
    ),
    broken_command(
        r#"exec) set -- "$@"; root=$1 at=$2; shift 3; while ! [ "${1#nrt-}" != "$1" ]; do shift; done; exec "$real" "$root" "$at" exec "$@""#,
        &[
            "terminal: an exec with a terminal",
            "descriptors: exec --preserve-fds",
            "exec: --env adds",
            "exec: --user sets",
            "exec: --additional-gids",
            "exec: --cap",
            "exec: no_new_privs",
            "exec: --detach",
        ],
    ),
    broken_command(
        r#"exec) set -- "$@"; root=$1 at=$2; shift 3; while ! [ "${1#nrt-}" != "$1" ]; do shift; done; top=$("$real" "$root" "$at" state "$1" | jq -r .rootfs); shift; exec chroot "$top" "$@""#,
        &[
            "exec: the process is in the container's namespaces",
            "exec: the process is in the container's cgroups",
            "exec: environment, directory",
        ],
    ),
    broken_command(
        r#"exec) ! "$real" "$1" "$2" state "$4" 2>/dev/null | grep -q created || exit 1"#,
        &["exec: a container that is only created"],
    ),
    broken_command(
        r#"exec) "$real" "$@"; exit 0"#,
        &["exec: a container that has stopped", "exec: a paused container"],
    ),
    broken_command(r#"exec) [ "$last" != -t ] || exit 1"#, &["exec: the id comes before"]),
    broken_config(
        "del(.linux.resources)",
        &[
            "block-io: the weight is the configured",
            "block-io: the weight for a device",
            "controllers: a limit of huge pages",
            "controllers: the class of network",
            "controllers: the priority of network",
            "controllers: a limit of an RDMA",
            "controllers: files of cgroup v2",
            "controllers: files of several",
            "cgroup-view: a mount of cgroups shows",
        ],
    ),
    broken_config(
        r#"(.mounts[].options // empty) -= ["ro"]"#,
        &["cgroup-view: a mount of cgroups with the option ro"],
    ),
];
