use super::*;
use crate::bundle::tests::record;

fn of(words: &[&str], config: &str) -> Record {
    record(words, config).unwrap().0
}

fn refused(words: &[&str], config: &str) -> String {
    record(words, config).unwrap_err().to_string()
}

#[test]
fn an_environment_file_has_comments_and_names_its_bad_line() {
    let path = Path::new("env");
    let env = variables("# c\n\nA=1\n  B=x y\nNMAN_SURELY_UNSET\n", path).unwrap();
    assert_eq!(env, [("A".into(), Some("1".into())), ("B".into(), Some("x y".into()))]);
    let marked = variables("\u{feff}A=1\r\nB=2\r\n", path).unwrap();
    assert_eq!(marked, [("A".into(), Some("1".into())), ("B".into(), Some("2".into()))]);
    let error = variables("A=1\nB C=1\n", path).unwrap_err();
    assert_eq!(error.to_string(), "env:2: variable 'B C' contains whitespaces");
}

#[test]
fn a_label_of_a_file_has_no_value_but_its_own() {
    let labels = pairs("# c\nPATH\n  a=b=c\nd=\n", Path::new("labels"), label).unwrap();
    let expected = [("PATH", ""), ("a", "b=c"), ("d", "")];
    assert_eq!(labels, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert!(pairs("=x\n", Path::new("labels"), label).is_err());
}

#[test]
fn a_stop_signal_is_kept_as_it_was_typed() {
    let signal = |words: &[&str], config: &str| {
        let record = of(words, config);
        (record.stop.signal, record.config.stop_signal)
    };
    assert_eq!(signal(&["i", "c"], "{}"), (15, None));
    assert_eq!(signal(&["i", "c"], r#"{"StopSignal":"SIGQUIT"}"#), (3, Some("SIGQUIT".into())));
    let typed = ["--stop-signal", "int", "i", "c"];
    assert_eq!(signal(&typed, r#"{"StopSignal":"SIGQUIT"}"#), (2, Some("int".into())));
}

#[test]
fn entry_point_and_command_merge_as_in_docker() {
    let config = r#"{"Entrypoint":["/e","1"],"Cmd":["c"]}"#;
    let words = |words: &[&str]| of(words, config).command;
    assert_eq!(words(&["i"]), ["/e", "1", "c"]);
    assert_eq!(words(&["i", "x", "y"]), ["/e", "1", "x", "y"]);
    assert_eq!(words(&["--entrypoint", "/n", "i"]), ["/n"]);
    assert_eq!(words(&["--entrypoint", "/n", "i", "x"]), ["/n", "x"]);
    assert_eq!(words(&["--entrypoint", "", "i", "x"]), ["x"]);
    assert!(refused(&["--entrypoint", "", "i"], config).contains("no command specified"));
    assert!(refused(&["i"], "{}").contains("no command specified"));
}

#[test]
fn a_working_directory_is_absolute() {
    let directory = |words: &[&str], config: &str| of(words, config).config.working_dir;
    assert_eq!(directory(&["i", "c"], "{}"), "");
    assert_eq!(directory(&["-w", "/w", "i", "c"], r#"{"WorkingDir":"/i"}"#), "/w");
    assert_eq!(directory(&["-w", "/a/../b//c/.", "i", "c"], "{}"), "/b/c");
    assert_eq!(directory(&["i", "c"], r#"{"WorkingDir":"/i/"}"#), "/i");
    assert!(refused(&["-w", "w", "i", "c"], "{}").contains("needs to be an absolute path"));
    assert!(refused(&["i", "c"], r#"{"WorkingDir":"w"}"#).contains("'w' is invalid"));
}

#[test]
fn variables_of_the_command_line_come_before_the_images() {
    let config = r#"{"Env":["A=image","B=image"]}"#;
    assert_eq!(
        of(&["-e", "C=1", "-e", "A=1", "-e", "C=2", "i", "c"], config).config.env,
        ["C=2", "A=1", "B=image"]
    );
    let unset = of(&["-e", "NMAN_SURELY_UNSET", "i", "c"], "{}");
    assert_eq!(unset.config.env, ["NMAN_SURELY_UNSET"], "it is taken away");
}

#[test]
fn of_what_is_given_twice_for_one_name_the_last_holds() {
    let words = ["--ulimit", "nofile=5:6", "--ulimit", "core=0", "--ulimit", "nofile=7:8"];
    let twice = ["--tmpfs", "/t:size=1m", "--tmpfs", "/t:size=2m", "i", "c"];
    let record = of(&[&words[..], &twice].concat(), "{}");
    let limits: Vec<_> =
        record.host_config.limits.ulimits.iter().map(|one| (&*one.name, one.soft)).collect();
    assert_eq!(limits, [("core", 0), ("nofile", 7)]);
    let modes: Vec<_> = record.mounts.iter().map(|point| &*point.mode).collect();
    assert_eq!(modes, ["size=2m"]);
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    for (words, why) in [
        (&["--uts", "host", "-h", "x"][..], "conflicting options: hostname and the UTS mode"),
        (&["--network", "host", "--sysctl", "net.x=1"], "with the host's network"),
        (&["--ipc", "host", "--sysctl", "kernel.shmmax=1"], "with the host's IPC namespace"),
        (&["-v", "/a:/x", "--tmpfs", "/x/"], "Duplicate mount point: /x"),
        (&["--cpus", "9"], "Range of CPUs is from 0.01 to 4.00"),
    ] {
        let words = [words, &["i", "c"]].concat();
        assert!(refused(&words, "{}").contains(why), "{why}");
    }
}

#[test]
fn ports_that_the_hosts_network_has_anyway_are_a_warning() {
    for published in ["-p80:80", "-P"] {
        let (_, warnings) = record(&["--network", "host", published, "i", "c"], "{}").unwrap();
        assert_eq!(warnings, ["Published ports are discarded when using host network mode"]);
    }
}

#[test]
fn a_label_without_selinux_is_a_warning() {
    let (_, warnings) = record(&["--security-opt", "label=type:x", "i", "c"], "{}").unwrap();
    assert_eq!(warnings, ["SELinux is not enabled on this host. Label type:x discarded."]);
    let (_, warnings) = record(&["--security-opt", "label=disable", "i", "c"], "{}").unwrap();
    assert!(warnings.is_empty());
}

#[test]
fn volumes_of_the_image_are_anonymous_unless_something_is_mounted_there() {
    let config = r#"{"Volumes":{"/a":{},"/b/../c/":{}}}"#;
    let mounts = of(&["-v", "data:/a", "i", "c"], config).mounts;
    assert_eq!((mounts[0].name.as_str(), mounts[0].detail.anonymous), ("data", false));
    assert_eq!(mounts[0].source, "/root/volumes/data/_data");
    assert_eq!((mounts[1].destination.as_str(), mounts[1].name.len()), ("/c", 64));
    assert!(mounts[1].detail.anonymous);
    for bad in
        [r#"{"Volumes":{"/host:/b":{}}}"#, r#"{"Volumes":{"rel":{}}}"#, r#"{"Volumes":{"/..":{}}}"#]
    {
        assert!(refused(&["i", "c"], bad).contains("the image has a bad volume"), "{bad}");
    }
}

#[test]
fn everything_that_was_asked_for_is_recorded_under_dockers_names() {
    let words = [
        "--memory",
        "64m",
        "--cpus",
        "1.5",
        "--pid",
        "host",
        "--device",
        "/dev/null",
        "--gpus",
        "all",
        "--ulimit",
        "nofile=1:2",
        "--security-opt",
        "no-new-privileges",
        "-v",
        "/a:/b:ro",
        "i",
        "c",
    ];
    let json = serde_json::to_value(of(&words, "{}").host_config).unwrap();
    for (pointer, value) in [
        ("/Memory", serde_json::json!(64 << 20)),
        ("/NanoCpus", 1_500_000_000_i64.into()),
        ("/PidMode", "host".into()),
        ("/Devices/0/PathInContainer", "/dev/null".into()),
        ("/DeviceRequests/0/DeviceIDs/0", "nvidia.com/gpu=all".into()),
        ("/Ulimits/0/Hard", 2.into()),
        ("/SecurityOpt/0", "no-new-privileges".into()),
        ("/Binds/0", "/a:/b:ro".into()),
        ("/IpcMode", "private".into()),
    ] {
        assert_eq!(json.pointer(pointer), Some(&value), "{pointer}");
    }
}

#[test]
fn root_has_bridges_and_no_network_of_a_user() {
    for word in ["pasta", "slirp4netns"] {
        let said = refused(&["--network", word, "i", "c"], "{}");
        assert_eq!(said, format!("network mode `{word}` is for users without root"));
    }
}
