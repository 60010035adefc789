//! Options of a new container, as the container has them.

use super::world::{IMAGE, World, eventually};

#[test]
fn options_of_the_process_reach_it() {
    let world = World::new();
    let (labels, cidfile) = (world.path("labels"), world.path("cid"));
    std::fs::write(&labels, "# of a file\nfrom=file\nboth=file\n").unwrap();
    let options = [
        "--name",
        "opts",
        "-h",
        "hosty",
        "--domainname",
        "dom.test",
        "--group-add",
        "video",
        "--group-add",
        "99",
        "--ulimit",
        "nofile=100:200",
        "--sysctl",
        "net.ipv4.ip_forward=1",
        "--oom-score-adj",
        "500",
        "--shm-size",
        "1m",
        "--tmpfs",
        "/scratch:size=2m,mode=700",
        "--label-file",
        labels.to_str().unwrap(),
        "--label",
        "both=line",
        "--annotation",
        "a.b=c",
        "--cidfile",
        cidfile.to_str().unwrap(),
    ];
    let script = "hostname; cat /proc/sys/kernel/domainname; id -G; ulimit -Sn; ulimit -Hn; \
        cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/ip_unprivileged_port_start; \
        cat /proc/self/oom_score_adj; grep -E ' /(dev/shm|scratch) ' /proc/mounts";
    let said = world.run(&options, &["sh", "-c", script]).ok().stdout();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(
        lines[..8],
        ["hosty", "dom.test", "0 27 99", "100", "200", "1", "0", "500"],
        "{said}"
    );
    assert!(said.contains("size=1024k") && said.contains("size=2048k,mode=700"), "{said}");
    assert!(lines.iter().any(|l| l.contains("/scratch") && l.contains("noexec,")), "{said}");
    let id = std::fs::read_to_string(&cidfile).unwrap();
    assert_eq!(world.inspect("opts", "/Id"), id.as_str());
    assert_eq!(world.inspect("opts", "/Config/Labels/from"), "file");
    assert_eq!(world.inspect("opts", "/Config/Labels/both"), "line");
    assert_eq!(world.inspect("opts", "/HostConfig/Annotations/a.b"), "c");
    let refused = world.run(&["--cidfile", cidfile.to_str().unwrap()], &["true"]).exits(125);
    assert!(refused.stderr().contains("container ID file found, make sure"), "{refused}");
    world.nman(["rm", "opts"]).ok();
    world.assert_no_container();
}

#[test]
fn a_container_that_could_not_be_started_leaves_no_file_with_its_id() {
    let world = World::new();
    let cidfile = world.path("cid");
    let option = ["--cidfile", cidfile.to_str().unwrap()];
    world.run(&option, &["nope"]).exits(127);
    assert!(!cidfile.exists());
    world.run(&[&option[..], &["-d"]].concat(), &["nope"]).exits(127);
    assert!(!cidfile.exists());
    world.run(&[&option[..], &["--rm"]].concat(), &["sh", "-c", "exit 3"]).exits(3);
    assert!(cidfile.exists());
    world.assert_no_container();
}

#[test]
fn flags_take_values_as_dockers_do() {
    let world = World::new();
    let tty = ["sh", "-c", "tty"];
    let said = world.run(&["--rm=true", "-t=false", "--init=0"], &tty).exits(1).stdout();
    assert_eq!(said, "not a tty\n");
    let id = world.run(&["-d=true", "--rm=F", "--name", "kept"], &["true"]).ok().text();
    world.nman(["wait", "kept"]).ok();
    assert_eq!(world.nman(["ps", "-aq", "--no-trunc=true"]).ok().text(), id);
    assert_eq!(world.nman(["ps", "-aq", "--no-trunc=false"]).ok().text(), id[..12]);
    let refused = world.run(&["--rm=maybe"], &["true"]).exits(125).stderr();
    let said = "nman: invalid argument \"maybe\" for \"--rm\" flag: strconv.ParseBool: parsing \"maybe\": invalid syntax\n";
    assert!(refused.starts_with(said), "{refused}");
    let help = world.nman(["run", "--help"]).ok().stdout();
    assert!(help.contains("--rm\n") && !help.contains("--rm["), "{help}");
    world.nman(["rm", "kept"]).ok();
    world.assert_no_container();
}

#[test]
fn of_an_option_that_is_given_twice_the_last_holds() {
    let world = World::new();
    let twice = ["--rm", "-w", "/etc", "-w", "/bin", "--hostname=a", "--hostname", "b"];
    assert_eq!(world.shell(&twice, "pwd; hostname").ok().stdout(), "/bin\nb\n");
    let both = ["--rm", "-e", "A=1", "-e", "B=2"];
    assert_eq!(world.shell(&both, "echo $A$B").ok().stdout(), "12\n");
    world.assert_no_container();
}

#[test]
fn a_container_knows_itself_by_its_full_name_and_its_short_one() {
    let world = World::new();
    for options in
        [&["--hostname", "web", "--domainname", "example.org"][..], &["-h", "web.example.org"]]
    {
        let options = [&["--rm", "--network", "bridge"], options].concat();
        let said = world.shell(&options, "hostname -f; tail -1 /etc/hosts").ok().stdout();
        let (full, line) = said.split_once('\n').unwrap();
        assert_eq!(full, "web.example.org");
        assert!(line.ends_with("\tweb.example.org web\n"), "{line}");
    }
    world.assert_no_container();
}

#[test]
fn the_stop_signal_is_shown_as_it_was_typed() {
    let world = World::new();
    let create = |name: &str, option: &[&str]| {
        let before = ["create", "--network", "none", "--name", name];
        world.nman(before.iter().chain(option).chain(&[IMAGE]).copied()).ok();
    };
    create("int", &["--stop-signal", "SIGINT"]);
    create("none", &[]);
    assert_eq!(world.inspect("int", "/Config/StopSignal"), "SIGINT");
    let config = world.inspect("none", "/Config");
    assert!(config.get("StopSignal").is_none(), "{config}");
    world.nman(["rm", "int", "none"]).ok();
    world.assert_no_container();
}

#[test]
fn privileges_are_taken_and_given() {
    let world = World::new();
    let status = "grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/self/status | tr -d '\\t'; wc -c < /etc/text";
    let options = [
        "--cap-drop",
        "all",
        "--cap-add",
        "net_admin",
        "--security-opt",
        "no-new-privileges",
        "--security-opt",
        "seccomp=unconfined",
        "--security-opt",
        "mask=/etc/text",
    ];
    let said = world.shell(&options, status).ok().stdout();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines, ["CapEff:0000000000001000", "NoNewPrivs:1", "Seccomp:0", "0"]);
    let script = "mount -t tmpfs x /tmp && grep Seccomp: /proc/self/status; grep ' /sys ' /proc/mounts; \
        dd if=/proc/kcore bs=1 count=1 2>/dev/null | wc -c; ls /dev | wc -l";
    let said = world.shell(&["--privileged"], script).ok().stdout();
    assert!(said.starts_with("Seccomp:\t0\n") && said.contains("sysfs rw,"), "{said}");
    let devices = |said: &str| said.lines().last().unwrap().trim().parse::<u32>().unwrap();
    let plain = world.shell(&[], "ls /dev | wc -l").ok().stdout();
    assert!(devices(&said) > devices(&plain), "no devices of the host: {said}");
    world.assert_no_container();
}

#[test]
fn the_cgroups_can_be_written_to_by_who_asks_for_it() {
    let world = World::new();
    // On v1 each hierarchy is a mount of its own, below one that holds them.
    let script = "p=/sys/fs/cgroup; [ -d $p/pids ] && p=$p/pids; mkdir $p/inner && rmdir $p/inner";
    world.shell(&["--security-opt", "writable-cgroups=true"], script).ok();
    world.shell(&["--privileged"], script).ok();
    for options in [&[][..], &["--privileged", "--security-opt", "writable-cgroups=false"]] {
        let refused = world.shell(options, script).exits(1).stderr();
        assert!(refused.contains("Read-only file system"), "{refused}");
    }
    world.assert_no_container();
}

#[test]
fn a_seccomp_profile_of_a_file_holds_and_a_bad_one_is_named() {
    let world = World::new();
    let file = world.path("profile.json");
    let profile = r#"{"defaultAction":"SCMP_ACT_ALLOW","archMap":[{"architecture":"SCMP_ARCH_X86_64"}],
        "syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":95}]}"#;
    std::fs::write(&file, profile).unwrap();
    let option = format!("seccomp={}", file.display());
    let refused = world.shell(&["--security-opt", &option], "mkdir /new").exits(1);
    assert!(refused.stderr().to_lowercase().contains("not supported"), "{refused}");
    std::fs::write(&file, "{").unwrap();
    let refused = world.shell(&["--security-opt", &option], "true").exits(125);
    assert!(refused.stderr().contains("opening seccomp profile"), "{refused}");
    world.assert_no_container();
}

#[test]
fn devices_of_the_host_and_of_cdi_are_in_the_container() {
    let world = World::new();
    let specification = "cdiVersion: '0.6.0'\nkind: nvidia.com/gpu\ndevices:\n- name: all\n  containerEdits:\n    \
        deviceNodes:\n    - path: /dev/gpu0\n      hostPath: /dev/zero\n    env: [GPU=yes]\n\
        containerEdits:\n  mounts:\n  - hostPath: /etc/hostname\n    containerPath: /gpu/host\n    options: [ro]\n";
    std::fs::create_dir_all("/etc/cdi").unwrap();
    std::fs::write("/etc/cdi/gpu.yaml", specification).unwrap();
    let options = [
        "--device",
        "/dev/null:/dev/nothing:r",
        "--device-cgroup-rule",
        "c 1:5 r",
        "--gpus",
        "all",
    ];
    let script = "test -c /dev/nothing && dd if=/dev/gpu0 bs=4 count=1 2>/dev/null | wc -c; echo $GPU; test -e /gpu/host && echo mounted; \
        (echo x > /dev/nothing) 2>/dev/null || echo refused";
    let said = world.shell(&options, script).ok().stdout();
    assert_eq!(said.split_whitespace().collect::<Vec<_>>(), ["4", "yes", "mounted"], "{said}");
    let refused = world.shell(&["--device", "vendor.com/nic=0"], "true").exits(125);
    let line = "nman: CDI device injection failed: unresolvable CDI devices vendor.com/nic=0\n";
    assert!(refused.stderr().starts_with(line), "{refused}");
    let refused = world.shell(&["--device", "/dev/no-such"], "true").exits(125);
    assert!(
        refused
            .stderr()
            .contains("adding custom device \"/dev/no-such\": no such file or directory"),
        "{refused}"
    );
    world.assert_no_container();
}

#[test]
fn namespaces_are_shared_with_the_host_and_with_other_containers() {
    let world = World::new();
    let options = ["--pid", "host", "--uts", "host", "--cgroupns", "host"];
    let script =
        format!("test -d /proc/{} && hostname; readlink /proc/self/ns/cgroup", std::process::id());
    let said = world.shell(&options, &script).ok().stdout();
    let own = std::fs::read_link("/proc/thread-self/ns/cgroup").unwrap();
    let host = rustix_nodename();
    assert_eq!(said, format!("{host}\n{}\n", own.display()));
    let donor = ["-d", "--name", "donor", "--ipc", "shareable", "--shm-size", "3m"];
    world.run(&donor, &["sh", "-c", "echo shared > /dev/shm/file; exec sleep 1000"]).ok();
    eventually("the donor has written", || {
        world.nman(["exec", "donor", "cat", "/dev/shm/file"]).stdout() == "shared\n"
    });
    let joined = ["--pid", "container:donor", "--ipc", "container:donor"];
    let script = "cat /dev/shm/file; cat /proc/1/comm; echo back > /dev/shm/back";
    assert_eq!(world.shell(&joined, script).ok().stdout(), "shared\nsleep\n");
    assert_eq!(world.nman(["exec", "donor", "cat", "/dev/shm/back"]).ok().stdout(), "back\n");
    world.run(&["-d", "--name", "private"], &["sleep", "1000"]).ok();
    let refused = world.shell(&["--ipc", "container:private"], "true").exits(125);
    assert!(refused.stderr().contains("non-shareable IPC"), "{refused}");
    world.nman(["rm", "-f", "donor", "private"]).ok();
    let refused = world.shell(&["--pid", "container:donor"], "true").exits(125);
    assert!(refused.stderr().contains("No such container: donor"), "{refused}");
    let none = world.shell(&["--ipc", "none"], "grep -c ' /dev/shm ' /proc/mounts").exits(1);
    assert_eq!(none.stdout(), "0\n");
    world.assert_no_container();
}

fn rustix_nodename() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_owned()
}

#[test]
fn what_this_host_cannot_do_is_said() {
    let world = World::new();
    let said = world.shell(&["--security-opt", "label=type:x_t"], "echo runs").ok();
    assert_eq!(said.stdout(), "runs\n");
    assert!(said.stderr().starts_with("WARNING: SELinux is not enabled"), "{said}");
    world.assert_no_container();
}

#[test]
fn a_wrong_value_names_the_option_and_what_would_be_right() {
    let world = World::new();
    for (options, expected) in [
        (
            &["--cap-add", "nosuch"][..],
            "for \"--cap-add\" flag: unknown capability: \"CAP_NOSUCH\"",
        ),
        (
            &["--security-opt", "nosuch"],
            "for \"--security-opt\" flag: invalid --security-opt: \"nosuch\"",
        ),
        (&["--ulimit", "files=1"], "invalid ulimit type: files"),
        (&["--sysctl", "kernel.core_pattern=x"], "sysctl 'kernel.core_pattern=x' is not allowed"),
        (&["--pid", "none"], "for \"--pid\" flag: invalid PID mode"),
        (&["--blkio-weight", "5"], "Range of blkio weight is from 10 to 1000"),
        (&["--cpu-period", "5"], "CPU cfs period can not be less than 1ms"),
        (&["--cpus", "4096"], "Range of CPUs is from 0.01 to"),
        (&["--cpuset-cpus", "4096"], "Requested CPUs are not available - requested 4096"),
        (
            &["-m", "64m", "--memory-swap", "32m"],
            "Minimum memoryswap limit should be larger than memory limit",
        ),
        (&["--memory-swappiness", "101"], "valid memory swappiness range is 0-100"),
        (&["--mount", "type=nosuch,target=/x"], "mount type unknown: \"nosuch\""),
        (&["--tmpfs", "/x:nosuch"], "invalid tmpfs option \"nosuch\""),
        (&["--storage-opt", "size=1g"], "--storage-opt is supported only for overlay over xfs"),
        (&["--device", "dev"], "dev is not an absolute path"),
        (&["--group-add", "nosuch"], "unable to find group nosuch"),
        (&["--volumes-from", "nosuch"], "No such container: nosuch"),
        (&["-h", "-"], "a host name is made of"),
    ] {
        let refused = world.shell(options, "true").exits(125);
        assert!(refused.stderr().starts_with("nman: "), "{refused}");
        assert!(refused.stderr().contains(expected), "no `{expected}` in {refused}");
    }
    world.assert_no_container();
}

#[test]
fn aliases_of_other_tools_are_known() {
    let world = World::new();
    let source = world.path("source");
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("file"), "seen\n").unwrap();
    let mount = format!("{}:/mnt:ro", source.display());
    let options =
        ["--mem", "64m", "--cpu", "1", "--cpuset", "0", "--net", "none", "--mount", &mount];
    let args = ["run", "--rm", "--quiet"];
    let args = args.iter().chain(&options).chain(&[IMAGE, "cat", "/mnt/file"]).copied();
    assert_eq!(world.nman(args).ok().stdout(), "seen\n");
    world.assert_no_container();
}

#[test]
fn an_option_that_is_empty_is_not_given_and_one_may_begin_with_a_dash() {
    let world = World::new();
    let empty = ["--name", "", "-h", "", "--platform=", "--ip", "", "--cidfile", "", "--pull", ""];
    let more = ["--cpuset-cpus", "", "--stop-signal=", "--user", "", "-e", "-x=1", "-l", "-y=2"];
    let said = world.run(&[&empty[..], &more, &["--rm"]].concat(), &["env"]).ok().stdout();
    let of = |name: &str| said.lines().find_map(|line| line.strip_prefix(name));
    assert_eq!((of("-x="), of("HOSTNAME=").map(str::len)), (Some("1"), Some(12)), "{said}");
    let refused = world.run(&["-l", ""], &["true"]).exits(125);
    assert!(refused.stderr().contains("invalid label '': empty name"), "{refused}");
    world.assert_no_container();
}

#[test]
fn a_read_only_container_cannot_write_the_files_that_are_put_into_its_etc() {
    let world = World::new();
    let script = "for f in hosts hostname resolv.conf; do echo x >> /etc/$f && echo written; done";
    let said = world.shell(&["--read-only"], script).exits(1);
    assert_eq!(said.stdout(), "", "{said}");
    assert_eq!(world.shell(&[], script).ok().stdout(), "written\n".repeat(3));
    world.assert_no_container();
}

#[test]
fn the_hosts_message_queues_are_there_whether_or_not_the_host_has_mounted_them() {
    let world = World::new();
    world.shell(&["--ipc", "host"], "grep ' /dev/mqueue mqueue ' /proc/mounts").ok();
    world.assert_no_container();
}

#[test]
fn the_platform_that_is_asked_for_is_the_images_with_its_variant() {
    let world = World::new();
    let archive = world.path("root.tar");
    let archive = archive.to_str().unwrap();
    world.nman(["create", "--name", "source", IMAGE, "true"]).ok();
    world.nman(["export", "-o", archive, "source"]).ok();
    world.nman(["rm", "source"]).ok();
    world.nman(["import", "--platform", "linux/arm/v7", archive, "foreign:1"]).ok();
    let run = |platform: &[&str]| {
        let words = ["run", "--rm", "--network", "none", "--pull", "never"];
        world.nman([&words[..], platform, &["foreign:1", "true"]].concat())
    };
    for asked in ["linux/arm/v7", "linux/arm", "linux/arm/v8"] {
        assert_eq!(run(&["--platform", asked]).ok().stderr(), "", "{asked}");
    }
    let refused = run(&["--platform", "linux/arm/v6"]).exits(125);
    let why = "no image for linux/arm/v6 in it; it has linux/arm/v7";
    assert!(refused.stderr().contains(why), "{refused}");
    let warned = run(&[]).ok();
    let warning = "WARNING: The requested image's platform (linux/arm/v7) does not match the detected host platform (";
    assert!(warned.stderr().starts_with(warning), "{warned}");
    world.assert_no_container();
}
