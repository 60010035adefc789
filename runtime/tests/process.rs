//! The container's process: ids, capabilities, limits, environment, working directory, executable.
//!
//! What a process is, is read from inside, from its own /proc/self.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use nconform::fixture::{BundleDir, Capture, Runtime, Sandbox};
use serde_json::{Value, json};

/// The fields of /proc/self/status of a process in the container.
fn status(bundle: BundleDir) -> BTreeMap<String, String> {
    let output = Runtime::under_test().run(&bundle.args(["cat", "/proc/self/status"])).ok();
    let field = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_owned(), value.split_whitespace().collect::<Vec<_>>().join(" ")))
    };
    output.stdout().lines().filter_map(field).collect()
}

/// The five capability sets, in the order of /proc/PID/status.
fn sets(bundle: BundleDir) -> [u64; 5] {
    let status = status(bundle);
    ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]
        .map(|name| u64::from_str_radix(&status[name], 16).expect("a mask"))
}

fn with_sets(sets: &[(&str, Value)]) -> BundleDir {
    sets.iter().fold(BundleDir::new().remove("/process/capabilities"), |bundle, (set, names)| {
        bundle.set(&format!("/process/capabilities/{set}"), names.clone())
    })
}

const CHOWN: u64 = 1;
const KILL: u64 = 1 << 5;
const NET_BIND_SERVICE: u64 = 1 << 10;
const SYS_CHROOT: u64 = 1 << 18;

#[test]
fn the_five_capability_sets_of_a_user_are_those_of_the_configuration() {
    let _sandbox = Sandbox::enter();
    let names = json!(["CAP_CHOWN", "CAP_KILL"]);
    let bundle = with_sets(&[
        ("bounding", json!(["CAP_CHOWN", "CAP_KILL", "CAP_SYS_CHROOT"])),
        ("permitted", json!(["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE"])),
        ("effective", json!(["CAP_CHOWN"])),
        ("inheritable", names.clone()),
        ("ambient", names),
    ]);
    // For a user who is not root, what an exec leaves are the ambient ones (capabilities(7)).
    let bundle = bundle.set("/process/user/uid", 1000);
    let (ambient, bounding) = (CHOWN | KILL, CHOWN | KILL | SYS_CHROOT);
    assert_eq!(sets(bundle), [ambient, ambient, ambient, bounding, ambient]);
}

#[test]
fn root_gets_the_bounding_set_and_no_inheritable_or_ambient_ones() {
    let _sandbox = Sandbox::enter();
    let names = json!(["CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    let listed = ["bounding", "permitted", "effective"].map(|set| (set, names.clone()));
    let mask = KILL | NET_BIND_SERVICE;
    assert_eq!(sets(with_sets(&listed)), [0, mask, mask, mask, 0]);
}

#[test]
fn a_process_without_capabilities_has_none_at_all() {
    let _sandbox = Sandbox::enter();
    assert_eq!(sets(with_sets(&[])), [0; 5]);
    let user = with_sets(&[("bounding", json!(["CAP_KILL"]))]).set("/process/user/uid", 1000);
    assert_eq!(sets(user), [0, 0, 0, KILL, 0]);
}

#[test]
fn no_new_privileges_is_as_configured() {
    let _sandbox = Sandbox::enter();
    for (wanted, shown) in [(true, "1"), (false, "0")] {
        let bundle = BundleDir::new().set("/process/noNewPrivileges", wanted);
        assert_eq!(status(bundle)["NoNewPrivs"], shown);
    }
}

#[test]
fn ids_groups_and_umask_are_as_configured() {
    let _sandbox = Sandbox::enter();
    let user =
        json!({"uid": 1000, "gid": 1001, "additionalGids": [7, 50, 4_000_000], "umask": 0o027});
    let status = status(BundleDir::new().set("/process/user", user));
    assert_eq!(status["Uid"], "1000 1000 1000 1000");
    assert_eq!(status["Gid"], "1001 1001 1001 1001");
    assert_eq!(status["Groups"], "7 50 4000000");
    assert_eq!(status["Umask"], "0027");
}

#[test]
fn without_additional_groups_there_are_none_and_the_umask_is_022() {
    let _sandbox = Sandbox::enter();
    // A caller with groups and another umask, of which nothing must get through.
    let runtime = Runtime::under_test();
    let bundle = BundleDir::new().args(["grep", "-E", "^(Groups|Umask)", "/proc/self/status"]);
    let call = format!(
        "umask 077; exec setpriv --groups 5,6 {} --root {} run --bundle {} {}",
        runtime.program().display(),
        runtime.root().display(),
        bundle.path().display(),
        runtime.new_id(),
    );
    let output = Capture::of("sh").args(["-c", &call]).run().ok();
    let words: Vec<String> = output.stdout().split_whitespace().map(str::to_owned).collect();
    assert_eq!(words, ["Umask:", "0022", "Groups:"]);
}

#[test]
fn resource_limits_are_as_configured() {
    let _sandbox = Sandbox::enter();
    let limits = [
        ("NOFILE", "Max open files", 100, 200),
        ("CORE", "Max core file size", 0, 4096),
        ("NPROC", "Max processes", 90, 95),
        ("FSIZE", "Max file size", 1 << 20, 1 << 21),
        ("CPU", "Max cpu time", 50, 60),
        ("STACK", "Max stack size", 1 << 20, 1 << 21),
    ];
    let list: Vec<Value> = limits
        .iter()
        .map(|(name, _, soft, hard)| json!({"type": format!("RLIMIT_{name}"), "soft": soft, "hard": hard}))
        .collect();
    let bundle = BundleDir::new().set("/process/rlimits", list).args(["cat", "/proc/self/limits"]);
    let text = Runtime::under_test().run(&bundle).ok().stdout();
    for (_, title, soft, hard) in limits {
        let line = text.lines().find(|line| line.starts_with(title)).expect("a limit");
        let values: Vec<&str> = line[title.len()..].split_whitespace().take(2).collect();
        assert_eq!(values, [soft.to_string(), hard.to_string()], "{title}");
    }
}

#[test]
fn a_limit_on_open_files_may_be_lower_than_what_setting_up_takes() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    for (soft, hard) in [(5, 6), (5, 4096)] {
        let bundle = BundleDir::new()
            .set("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": soft, "hard": hard}]))
            .shell("ulimit -Sn; ulimit -Hn");
        assert_eq!(runtime.run(&bundle).ok().stdout(), format!("{soft}\n{hard}\n"));
        let container = runtime.start(&bundle);
        container.wait();
        assert_eq!(container.output().stdout(), format!("{soft}\n{hard}\n"));
    }
}

#[test]
fn more_open_files_than_the_host_has_for_a_process_are_told_by_name() {
    let sandbox = Sandbox::enter();
    let most: u64 =
        std::fs::read_to_string("/proc/sys/fs/nr_open").unwrap().trim().parse().unwrap();
    for hard in [most + 1, u64::MAX] {
        let limit = json!([{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": hard}]);
        let bundle = BundleDir::new().set("/process/rlimits", limit);
        Runtime::under_test().run(&bundle).exits(1).says("/proc/sys/fs/nr_open");
    }
    sandbox.assert_clean();
}

#[test]
fn a_limit_that_cannot_be_raised_is_reported_with_its_place() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = BundleDir::new()
        .push("/process/rlimits", json!({"type": "RLIMIT_CORE", "soft": 1, "hard": 1}));
    let output = Capture::of("prlimit")
        .args(["--core=0:0", "setpriv", "--bounding-set=-sys_resource"])
        .args([runtime.program().as_os_str(), "--root".as_ref(), runtime.root().as_os_str()])
        .args(["create".as_ref(), "--bundle".as_ref(), bundle.path().as_os_str()])
        .args([runtime.new_id()])
        .run()
        .exits(1);
    assert!(output.stderr().contains("/process/rlimits/1"), "{output}");
    assert!(output.stderr().contains("hint: "), "{output}");
    sandbox.assert_clean();
}

#[test]
fn the_oom_score_is_raised() {
    let _sandbox = Sandbox::enter();
    let bundle =
        BundleDir::new().set("/process/oomScoreAdj", 321).args(["cat", "/proc/self/oom_score_adj"]);
    assert_eq!(Runtime::under_test().run(&bundle).ok().text(), "321");
}

#[test]
fn home_comes_from_the_images_passwd_unless_it_is_set() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let home = |uid: u32, env: Value| {
        let bundle = BundleDir::new()
            .set("/process/user/uid", uid)
            .set("/process/env", env)
            .args(["/bin/sh", "-c", "echo $HOME"]);
        runtime.run(&bundle).ok().text()
    };
    assert_eq!(home(0, json!([])), "/root");
    assert_eq!(home(1000, json!([])), "/home");
    assert_eq!(home(4242, json!([])), "/", "not in the passwd");
    assert_eq!(home(1000, json!(["HOME=/elsewhere"])), "/elsewhere");
}

#[test]
fn the_environment_is_the_configured_one_and_nothing_of_the_callers() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = BundleDir::new()
        .set("/process/env", json!(["A=0", "A=1", "B=two words", "EMPTY=", "HOME=", "HOME=/"]))
        .args(["/bin/busybox", "env"]);
    let id = runtime.new_id();
    let call = runtime.bundle_call("run", &bundle, [""; 0], &id).env("SECRET", "host");
    assert_eq!(call.run().ok().stdout(), "A=1\nB=two words\nEMPTY=\nHOME=/\n");
}

#[test]
fn arguments_arrive_as_they_are() {
    let _sandbox = Sandbox::enter();
    let bundle = BundleDir::new().args(["printf", "[%s]", "a b", "", "c\nd", "$HOME", "ü"]);
    let output = Runtime::under_test().run(&bundle).ok();
    assert_eq!(output.stdout(), "[a b][][c\nd][$HOME][ü]");
}

#[test]
fn the_working_directory_is_entered_and_made_where_it_is_missing() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    for cwd in ["/tmp", "/made/for/this"] {
        let bundle = BundleDir::new().set("/process/cwd", cwd).args(["pwd"]);
        assert_eq!(runtime.run(&bundle).ok().text(), cwd);
    }
    let bundle = BundleDir::new().set("/process/cwd", "/made").shell("stat -c '%a %u' .");
    assert_eq!(runtime.run(&bundle.set("/process/user/uid", 1000)).ok().text(), "755 0");
}

#[test]
fn a_program_is_found_in_the_path_of_the_container() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = || BundleDir::new().set("/process/env", json!(["PATH=/nowhere:/opt/tools"]));
    let here = bundle().args(["tool"]);
    fs::create_dir_all(here.rootfs().join("opt/tools")).expect("make a directory");
    let tool = here.rootfs().join("opt/tools/tool");
    fs::write(&tool, "#!/bin/sh\necho found\n").expect("write a script");
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).expect("set a mode");
    assert_eq!(runtime.run(&here).ok().text(), "found");
    let without_path = BundleDir::new().set("/process/env", json!([])).args(["true"]);
    let _ = runtime.run(&without_path).ok();
}

#[test]
fn a_program_that_cannot_be_executed_is_reported_by_create_in_the_words_that_engines_match() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    for (program, text) in [
        ("no-such-program", "executable file not found in $PATH"),
        ("/no/such/program", "no such file or directory"),
        ("/etc/passwd", "permission denied"),
        ("/etc", "is a directory: permission denied"),
    ] {
        let output = runtime.try_create(&BundleDir::new().args([program])).exits(1);
        assert!(output.stderr().contains(text), "no {text:?}; {output}");
        assert!(output.stderr().contains("/process/args"), "{output}");
        let _ = runtime.run(&BundleDir::new().args([program])).exits(1);
    }
    // However many directories PATH has.
    let short = BundleDir::new().set("/process/env", json!(["PATH=/bin"]));
    let output = runtime.try_create(&short.args(["no-such-program"])).exits(1);
    assert!(output.stderr().contains("executable file not found in $PATH"), "{output}");
    sandbox.assert_clean();
}

#[test]
fn only_the_standard_streams_are_open() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = BundleDir::new().args(["ls", "/proc/self/fd"]);
    // 3 is the directory that `ls` itself reads.
    assert_eq!(runtime.run(&bundle).ok().stdout(), "0\n1\n2\n3\n");
    let bundle = bundle.args(["sleep", "600"]);
    let container = runtime.start(&bundle);
    assert_eq!(container.exec(["ls", "/proc/self/fd"]).ok().stdout(), "0\n1\n2\n3\n");
}

#[test]
fn descriptors_that_are_to_be_preserved_are_passed_on() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = BundleDir::new().shell("cat <&3; ls /proc/self/fd | tr '\\n' ' '");
    let file = bundle.path().join("passed");
    fs::write(&file, "through 3\n").expect("write a file");
    let line = format!(
        "exec 3< {file} 4< {file}; exec {} --root {} run --preserve-fds 1 --bundle {} {}",
        runtime.program().display(),
        runtime.root().display(),
        bundle.path().display(),
        runtime.new_id(),
        file = file.display(),
    );
    let output = Capture::of("sh").args(["-c", &line]).run().ok();
    assert_eq!(output.stdout(), "through 3\n0 1 2 3 4 ", "4 is the directory that `ls` reads");
}

#[test]
fn sockets_that_systemd_has_opened_are_passed_on_before_those() {
    let _sandbox = Sandbox::enter();
    let script = "echo $LISTEN_FDS $LISTEN_PID; cat <&3; cat <&4; ls /proc/self/fd | tr '\\n' ' '";
    let bundle = BundleDir::new().shell(script);
    let files = ["one", "two", "three"].map(|name| bundle.path().join(name).display().to_string());
    for file in &files {
        fs::write(file, format!("{}\n", &file[file.len() - 3..])).expect("write a file");
    }
    let run_with = |sockets: &str, pid: &str, preserved: &str| {
        let script = format!(
            r#"export LISTEN_PID={pid} LISTEN_FDS={sockets}; exec 3<"$0" 4<"$1" 5<"$2"; shift 2; exec "$@""#
        );
        let runtime = Runtime::under_test().launched_by(
            [&["sh", "-c", &script][..], &files.each_ref().map(String::as_str)].concat(),
        );
        let id = runtime.new_id();
        runtime.bundle_call("run", &bundle, ["--preserve-fds", preserved], &id).run()
    };
    let run = |pid: &str, preserved: &str| run_with("1", pid, preserved);
    assert_eq!(run("$$", "1").ok().stdout(), "1 1\none\ntwo\n0 1 2 3 4 5 ");
    // Meant for somebody else, they are no more than any fd.
    assert_eq!(run("1", "2").ok().stdout(), "\none\ntwo\n0 1 2 3 4 5 ");
    let output = run("$$", "3").exits(1);
    assert!(output.stderr().contains("preserved-fd 2 (of 3): stat /proc/self/fd/6"), "{output}");
    // Of sockets that are not there, the container would wait on what is none of them.
    for sockets in ["4", "4294967295"] {
        let words = format!("LISTEN_FDS={sockets}: file descriptor 6 is not open");
        run_with(sockets, "$$", "0").exits(1).says(&words);
    }
}

#[test]
fn signals_are_neither_blocked_nor_ignored() {
    let _sandbox = Sandbox::enter();
    let status = status(BundleDir::new());
    // 32 and 33 belong to the C library: musl's posix_spawn, which this test uses, ignores them.
    let of_the_caller = 0b11 << 31;
    for name in ["SigBlk", "SigIgn"] {
        let mask = u64::from_str_radix(&status[name], 16).expect("a mask");
        assert_eq!(mask & !of_the_caller, 0, "{name}");
    }
}

#[test]
fn what_the_caller_ignores_is_not_ignored_in_the_container() {
    let _sandbox = Sandbox::enter();
    let script =
        r#"trap '' HUP INT QUIT USR1 USR2 PIPE ALRM TERM CHLD TSTP TTIN TTOU XFSZ; exec "$@""#;
    let runtime = Runtime::under_test().launched_by(["sh", "-c", script, "sh"]);
    let trapped = BundleDir::new().shell("trap 'echo heard' HUP; kill -HUP $$");
    assert_eq!(runtime.run(&trapped).ok().text(), "heard");
    let looking = BundleDir::new().args(["grep", "SigIgn", "/proc/self/status"]);
    let ignored = runtime.run(&looking).ok().text();
    let mask =
        ignored.split_whitespace().nth(1).and_then(|mask| u64::from_str_radix(mask, 16).ok());
    assert_eq!(mask.map(|mask| mask & !(0b11 << 31)), Some(0), "{ignored}");
}

#[test]
fn the_process_leads_a_session_of_its_own() {
    let _sandbox = Sandbox::enter();
    let bundle = BundleDir::new().shell("cut -d' ' -f5,6 /proc/1/stat");
    assert_eq!(Runtime::under_test().run(&bundle).ok().text(), "1 1", "process group and session");
}

#[test]
fn the_session_keyring_is_new_unless_it_is_to_be_kept() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = BundleDir::new().remove("/linux/maskedPaths").args(["cat", "/proc/keys"]);
    let keys = |options: &[&str]| {
        let id = runtime.new_id();
        let text = runtime.bundle_call("run", &bundle, options, &id).run().ok().stdout();
        text.contains(&format!("_ses.{id}"))
    };
    assert!(keys(&[]));
    assert!(!keys(&["--no-new-keyring"]));
}

#[test]
fn streams_that_belong_to_root_can_be_reopened_by_the_containers_user() {
    let _sandbox = Sandbox::enter();
    let bundle = BundleDir::new().set("/process/user/uid", 1000).shell("echo again > /dev/stdout");
    assert_eq!(Runtime::under_test().run(&bundle).ok().stdout(), "again\n");
}
