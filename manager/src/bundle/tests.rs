//! The whole of config.json for several command lines, compared with what is written down.
//!
//! `UPDATE_GOLDEN=1 cargo test` writes them anew; the difference is then reviewed like code.

use super::host::{CgroupFacts, NamespaceFacts};
use super::*;
use crate::apparmor::{self, Availability};
use crate::cli::{Cli, Command, CreateArgs};
use crate::container::ContainerId;
use crate::create::record::{Files, Wish};
use crate::device::{self, Device, cdi};
use crate::rootless::Delegation;
use crate::rootless::delegation::Manager;
use crate::settings::Settings;
use crate::store::Image;
use clap::Parser as _;
use oci_spec::runtime::{Capability, LinuxDeviceBuilder, LinuxDeviceType};

/// A host with everything, four CPUs and one memory node.
pub(crate) fn host() -> HostFacts {
    HostFacts {
        namespace: None,
        delegation: None,
        open_files: 20_000,
        hostname: "host".into(),
        capabilities: [Capability::Chown, Capability::Kill, Capability::SysAdmin].into(),
        kernel: (6, 1),
        cgroups: CgroupFacts {
            unified: false,
            memory: true,
            swap: true,
            swappiness: true,
            oom_control: true,
            cpu: true,
            realtime: true,
            cpuset: true,
            pids: true,
            io_weight: true,
            io_rate: true,
        },
        cpus: "0-3".into(),
        memory_nodes: "0".into(),
        apparmor: true,
        selinux: false,
    }
}

pub(crate) fn parse(words: &[&str]) -> CreateArgs {
    match Cli::try_parse_from(["nman", "run"].iter().chain(words)).unwrap().command {
        Command::Run(args) => args.create,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn image(config: &str) -> Image {
    let text = format!(
        r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":[]}},"config":{config}}}"#
    );
    let digest: bundle::digest::Digest = format!("sha256:{}", "cd".repeat(32)).parse().unwrap();
    Image {
        id: digest.clone(),
        names: Vec::new(),
        manifest_digest: digest,
        origin: None,
        repo_digests: Vec::new(),
        config: serde_json::from_str(&text).unwrap(),
        layers: Vec::new(),
        diff_ids: Vec::new(),
        chain_ids: Vec::new(),
        created: None,
        health: None,
        made: None,
        size: 0,
    }
}

/// The record that a command line makes, and the warnings.
pub(crate) fn record(words: &[&str], config: &str) -> Result<(Record, Vec<String>)> {
    record_on(&host(), words, config, false)
}

/// The same on another host, for root or for a user.
pub(crate) fn record_on(
    host: &HostFacts,
    words: &[&str],
    config: &str,
    rootless: bool,
) -> Result<(Record, Vec<String>)> {
    let args = parse(words);
    let settings = Settings {
        root: "/root".into(),
        state: "/state".into(),
        runtime: None,
        debug: false,
        rootless,
    };
    let (image, files) = (image(config), Files::read(&args)?);
    let wish = Wish {
        args: &args,
        attached: true,
        image: &image,
        runtime: "/runtime".into(),
        host,
        files: &files,
    };
    let (mut record, mut warnings) = wish.plan(&settings)?;
    warnings.extend(apparmor::choose(host, &mut record, |_| Availability::Loaded)?);
    record.id = ContainerId::parse(&"ab".repeat(32)).unwrap();
    if record.config.hostname.len() == 12 {
        record.network.hostname = "abababababab".to_owned();
    }
    Ok((record, warnings))
}

fn found(privileged: bool) -> Found {
    let node = LinuxDeviceBuilder::default()
        .path("/dev/given")
        .typ(LinuxDeviceType::B)
        .major(8)
        .minor(1)
        .file_mode(0o660_u32)
        .uid(0_u32)
        .gid(6_u32)
        .build()
        .unwrap();
    if privileged {
        return Found::default();
    }
    let hook = cdi::Hook {
        hook_name: "createContainer".into(),
        path: "/bin/hook".into(),
        args: vec!["hook".into(), "go".into()],
        ..cdi::Hook::default()
    };
    let mount = cdi::Mount {
        host_path: "/usr/lib/gpu".into(),
        container_path: "/usr/lib/gpu".into(),
        options: vec!["ro".into()],
        kind: None,
    };
    let edits = cdi::Edits {
        env: vec!["GPU=1".into()],
        mounts: vec![mount],
        hooks: vec![hook],
        groups: vec![44],
        ..cdi::Edits::default()
    };
    Found { devices: vec![Device { node, access: "rw".into() }], edits }
}

/// config.json as text, with sets and maps sorted: their order means nothing.
fn planned(words: &[&str], config: &str, network: &NetworkNamespace, found: &Found) -> String {
    let (record, _) = record(words, config).unwrap();
    planned_on(&host(), &record, network, found)
}

fn planned_on(
    host: &HostFacts,
    record: &Record,
    network: &NetworkNamespace,
    found: &Found,
) -> String {
    let profile = seccomp::Profile::built_in().unwrap();
    let confined = Confinement::of(&record.host_config).seccomp != "unconfined";
    let numbers = resources::Numbers::from([("/dev/sda".to_owned(), (8, 0))]);
    let spec = plan(&Inputs {
        record,
        dir: Path::new("/dir"),
        identity: &Identity { uid: 7, gid: 8, groups: vec![8, 9], home: "/home/seven".into() },
        found,
        profile: confined.then_some(&profile),
        numbers: &numbers,
        network,
        window: Some((24, 80)),
        host,
    })
    .unwrap();
    let mut value = serde_json::to_value(&spec).unwrap();
    for set in value["process"]["capabilities"].as_object_mut().unwrap().values_mut() {
        let list = set.as_array_mut().unwrap();
        list.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
    }
    if confined {
        // The profile is a file of its own.
        assert!(value["linux"]["seccomp"]["syscalls"].as_array().unwrap().len() > 10);
        value["linux"]["seccomp"] = serde_json::json!("as in seccomp.json");
    }
    if let Some(sysctl) = value["linux"]["sysctl"].as_object_mut() {
        sysctl.sort_keys();
    }
    serde_json::to_string_pretty(&value).unwrap() + "\n"
}

fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bundle/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{} differs; UPDATE_GOLDEN=1 writes it anew", path.display());
}

/// The words of a command line that has an option and its value in each line.
fn lines(text: &str) -> Vec<&str> {
    text.lines()
        .flat_map(|line| {
            let line = line.trim();
            line.split_once(' ').map_or(vec![line], |(option, value)| vec![option, value.trim()])
        })
        .filter(|word| !word.is_empty())
        .collect()
}

#[test]
fn a_plain_command_line_gets_dockers_defaults() {
    let text = planned(&["alpine", "true"], "{}", &NetworkNamespace::New, &Found::default());
    golden("plain.json", &text);
}

#[test]
fn options_of_the_process_end_up_in_their_places() {
    let words = lines(
        "-it
        -e A=1
        -e IMG=changed
        -w /work
        --entrypoint /entry
        --domainname example.org
        --annotation org.example=yes
        --ulimit nofile=10:20
        --ulimit core=-1
        --oom-score-adj -500
        --sysctl net.ipv4.ip_forward=1
        --read-only
        --cgroup-parent /par/ent
        alpine
        a
        b",
    );
    let config = r#"{"Env":["PATH=/image","IMG=1"],"Entrypoint":["/old"],"Cmd":["old"],"WorkingDir":"/old"}"#;
    let network = NetworkNamespace::Prepared("/dir/netns".into());
    golden("process.json", &planned(&words, config, &network, &Found::default()));
}

#[test]
fn limits_end_up_in_their_places() {
    let words = lines(
        "-m 64m
        --memory-swap 128m
        --memory-reservation 32m
        --memory-swappiness 10
        --oom-kill-disable
        --cpus 1.5
        -c 512
        --cpu-rt-period 1000000
        --cpu-rt-runtime 950000
        --cpuset-cpus 0-1
        --cpuset-mems 0
        --pids-limit 100
        --blkio-weight 300
        --blkio-weight-device /dev/sda:200
        --device-read-bps /dev/sda:1mb
        --device-write-bps /dev/sda:2mb
        --device-read-iops /dev/sda:10
        --device-write-iops /dev/sda:20
        --shm-size 1m
        alpine
        true",
    );
    golden("limits.json", &planned(&words, "{}", &NetworkNamespace::New, &Found::default()));
}

#[test]
fn privileges_and_devices_end_up_in_their_places() {
    let words = lines(
        "--cap-add sys_admin
        --cap-drop CAP_KILL
        --security-opt no-new-privileges
        --security-opt apparmor=strict
        --security-opt unmask=/proc/kcore
        --security-opt mask=/etc/secret
        --device /dev/given:/dev/given:rw
        --device-cgroup-rule c 10:* rw
        --pid host
        --ipc shareable
        --uts host
        --cgroupns host
        alpine
        true",
    );
    golden("privileges.json", &planned(&words, "{}", &NetworkNamespace::New, &found(false)));
}

#[test]
fn a_privileged_container_has_no_restrictions() {
    let words = ["--privileged", "alpine", "true"];
    golden("privileged.json", &planned(&words, "{}", &NetworkNamespace::New, &found(true)));
}

#[test]
fn mounts_stand_below_what_they_are_mounted_on() {
    let words = lines(
        "-v /src/deep:/ro/deep
        -v /src:/ro:ro,rslave
        -v data:/data
        --mount type=bind,source=/one,target=/top,bind-nonrecursive
        --mount type=tmpfs,target=/memory,tmpfs-size=1m,readonly
        --tmpfs /run:exec,mode=755
        --tmpfs /dev/shm
        --ipc none
        -v /host/hosts:/etc/hosts
        alpine
        true",
    );
    let network = NetworkNamespace::Host;
    golden(
        "mounts.json",
        &planned(&words, r#"{"Volumes":{"/ro/":{},"/of/image":{}}}"#, &network, &Found::default()),
    );
}

/// Without root there is no cgroup, and the host's own is bound where a new file system cannot be mounted.
#[test]
fn a_users_container_has_what_root_of_a_user_namespace_can_make() {
    let words = ["--pid", "host", "--ipc", "host", "--oom-score-adj", "-500", "alpine", "true"];
    let (mut record, _) = record(&words, "{}").unwrap();
    record.host_config.limits.cgroup_parent.clear();
    let facts = NamespaceFacts { last_group: 4, oom_score_adj: 200, message_queues: true };
    let confined = HostFacts { namespace: Some(facts), ..host() };
    let plan = |network| planned_on(&confined, &record, &network, &Found::default());
    golden("user.json", &plan(NetworkNamespace::Host));
    assert!(plan(NetworkNamespace::New).contains("\"0 4\""), "its groups may ping");
    let facts = NamespaceFacts { last_group: 65_536, message_queues: false, ..facts };
    let other = HostFacts { namespace: Some(facts), ..host() };
    let text = planned_on(&other, &record, &NetworkNamespace::New, &Found::default());
    assert!(text.contains("gid=5") && !text.contains("/dev/mqueue"), "{text}");
}

#[test]
fn a_users_container_is_in_a_scope_of_the_users_systemd_with_what_is_delegated() {
    let delegation = Delegation {
        manager: Manager::Systemd,
        group: "/user@7.service".into(),
        controllers: ["memory".to_owned(), "pids".to_owned()].into(),
        swap: true,
    };
    let host = HostFacts { delegation: Some(delegation), ..host() };
    let of_user = |words: &[&str]| record_on(&host, words, "{}", true).unwrap();
    let words = ["--network", "none", "-m", "64m", "--cpus", "2", "alpine", "true"];
    let (record, warnings) = of_user(&words);
    assert_eq!(record.slice(), Some("user.slice"));
    let limits = &record.host_config.limits;
    assert_eq!((limits.memory, limits.nano_cpus), (64 << 20, 0));
    assert!(warnings.len() == 1 && warnings[0].contains("`cpu`"), "{warnings:?}");
    let text = planned_on(&host, &record, &NetworkNamespace::New, &Found::default());
    let group = "/user@7.service/user.slice/nman-abababababab.scope/abababab";
    assert!(text.contains(&format!("\"cgroupsPath\": \"{group}")), "{text}");
    let none = HostFacts { delegation: None, ..host.clone() };
    let (record, warnings) = record_on(&none, &words, "{}", true).unwrap();
    assert!(!record.has_cgroup() && warnings[0].contains("are ignored"), "{warnings:?}");
    let words = ["--network", "none", "--cgroup-parent", "a.slice", "alpine", "true"];
    assert_eq!(of_user(&words).0.slice(), Some("a.slice"));
    let refused = record_on(&host, &words, "{}", false).unwrap_err().to_string();
    assert!(refused.contains("root's containers are in no slice"), "{refused}");
}

#[test]
fn the_host_network_is_no_namespace_at_all() {
    let text = planned(&["alpine", "true"], "{}", &NetworkNamespace::Host, &Found::default());
    assert!(!text.contains("\"network\"") && !text.contains("ping_group_range"));
}

#[test]
fn joined_namespaces_have_places_in_the_containers_directory() {
    let words = ["--pid", "container:a", "--ipc", "container:a", "alpine", "true"];
    let text = planned(&words, "{}", &NetworkNamespace::New, &Found::default());
    for path in ["/dir/pidns", "/dir/ipcns", "/dir/shm"] {
        assert!(text.contains(path), "{path}");
    }
}

#[test]
fn a_variable_can_be_taken_away() {
    let mut env = vec![("A".to_owned(), "1".to_owned()), ("B".to_owned(), "2".to_owned())];
    change(&mut env, &[("A".into(), None), ("C".into(), Some("3".into()))]);
    assert_eq!(env, [("B".into(), "2".into()), ("C".into(), "3".into())]);
}

#[test]
fn a_device_of_a_host_is_found_for_a_container() {
    let (record, _) =
        record(&["--device", "/dev/null:/dev/nothing:r", "alpine", "true"], "{}").unwrap();
    let found = device::find(&record.host_config).unwrap();
    let rules = devices::rules(&record.host_config, &found).unwrap();
    let last = rules.last().unwrap();
    assert_eq!(
        (last.major(), last.minor(), last.access().as_deref()),
        (Some(1), Some(3), Some("r"))
    );
}
