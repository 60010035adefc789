//! seccomp as a process in the container sees it. What the filters are is tested by `seccomp_oracle`.

use nconform::fixture::{BundleDir, Output, Runtime, Sandbox};
use serde_json::{Value, json};

const ENOSYS: i32 = 38;
const EPERM: i32 = 1;

/// Everything is allowed but one system call. Where a machine has it only with a directory's descriptor, it is that.
fn denying(name: &str, action: &str, errno: Option<i32>) -> Value {
    let mut rule = json!({"names": [name, format!("{name}at")], "action": action});
    if let Some(errno) = errno {
        rule["errnoRet"] = errno.into();
    }
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
        "syscalls": [rule]
    })
}

fn bundle(profile: Value) -> BundleDir {
    BundleDir::new().set("/linux/seccomp", profile)
}

#[track_caller]
fn assert_denied(output: &Output, text: &str) {
    assert!(output.stderr().contains(text), "no {text:?}; {output}");
    assert_ne!(output.code(), 0, "{output}");
}

#[test]
fn a_rule_is_in_force_with_and_without_new_privileges_for_root_and_for_users() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    for no_new_privileges in [true, false] {
        for uid in [0, 1000] {
            let bundle = bundle(denying("mkdir", "SCMP_ACT_ERRNO", Some(ENOSYS)))
                .set("/process/noNewPrivileges", no_new_privileges)
                .set("/process/user/uid", uid)
                .shell("grep -E '^(Seccomp|NoNewPrivs|CapEff|CapPrm):' /proc/self/status; mkdir /tmp/x");
            let output = runtime.run(&bundle).exits(1);
            assert_denied(&output, "Function not implemented");
            let status = output.stdout();
            assert!(status.contains("Seccomp:\t2"), "{status}");
            let bit = u8::from(no_new_privileges);
            assert!(status.contains(&format!("NoNewPrivs:\t{bit}")), "{status}");
            // CAP_SYS_ADMIN, which installs the filter, is not left over.
            let mask = if uid == 0 { "0000000020000420" } else { "0000000000000000" };
            assert_eq!(status.matches(mask).count(), 2, "{status}");
        }
    }
}

#[test]
fn the_errno_is_eperm_where_the_profile_gives_none() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    for errno in [None, Some(EPERM)] {
        let bundle = bundle(denying("mkdir", "SCMP_ACT_ERRNO", errno)).args(["mkdir", "/tmp/x"]);
        assert_denied(&runtime.run(&bundle), "Operation not permitted");
    }
}

#[test]
fn a_rule_may_depend_on_an_argument() {
    let _sandbox = Sandbox::enter();
    let mut profile = denying("kill", "SCMP_ACT_ERRNO", Some(ENOSYS));
    profile["syscalls"][0]["args"] = json!([{"index": 1, "value": 10, "op": "SCMP_CMP_EQ"}]);
    let bundle =
        bundle(profile).shell("trap : USR1 USR2; kill -USR2 $$ && echo sent; kill -USR1 $$");
    let output = Runtime::under_test().run(&bundle).exits(1);
    assert_eq!(output.stdout(), "sent\n");
    assert_denied(&output, "Function not implemented");
}

#[test]
fn what_an_allow_list_does_not_name_is_denied() {
    let _sandbox = Sandbox::enter();
    let mut names: Vec<String> =
        syscalls::Sysno::iter().map(|call| call.name().to_owned()).collect();
    names.push("newfstatat".to_owned()); // the crate has the kernel's own name of it for aarch64
    names.retain(|name| !["mkdir", "mkdirat", "sethostname"].contains(&name.as_str()));
    let profile = json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": ENOSYS,
        "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}]
    });
    let bundle = bundle(profile).shell("ls / > /dev/null && echo listed; mkdir /tmp/x");
    let output = Runtime::under_test().run(&bundle).exits(1);
    assert_eq!(output.stdout(), "listed\n");
    assert_denied(&output, "Function not implemented");
}

#[test]
fn a_process_that_is_killed_ends_with_sigsys() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    for action in ["SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"] {
        let bundle = bundle(denying("mkdir", action, None)).args(["mkdir", "/tmp/x"]);
        let _ = runtime.run(&bundle).exits(128 + 31);
    }
}

#[test]
fn exec_is_filtered_like_the_container() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    for no_new_privileges in [true, false] {
        let bundle = bundle(denying("mkdir", "SCMP_ACT_ERRNO", Some(ENOSYS)))
            .set("/process/noNewPrivileges", no_new_privileges)
            .args(["sleep", "600"]);
        let container = runtime.start(&bundle);
        assert_denied(&container.exec(["mkdir", "/tmp/x"]), "Function not implemented");
        let user = runtime.call(["exec", "-u", "1000", container.id(), "mkdir", "/tmp/x"]).run();
        assert_denied(&user, "Function not implemented");
        let process = json!({"args": ["mkdir", "/tmp/x"], "cwd": "/", "user": {"uid": 0, "gid": 0}, "env": ["PATH=/bin"]});
        let file = bundle.path().join("process.json");
        std::fs::write(&file, process.to_string()).expect("write process.json");
        let path = file.to_str().expect("UTF-8");
        let from_file = runtime.call(["exec", "--process", path, container.id()]).run();
        assert_denied(&from_file, "Function not implemented");
    }
}

#[test]
fn the_filter_does_not_hinder_the_runtime_itself() {
    let _sandbox = Sandbox::enter();
    // What is used on the way to the program, up to the last call before it.
    let names = [
        "mount",
        "pivot_root",
        "setuid",
        "setresuid",
        "setgroups",
        "capset",
        "prctl",
        "close_range",
        "sendmsg",
        "recvfrom",
        "umask",
        "fchdir",
        "chdir",
    ];
    let mut profile = denying("mkdir", "SCMP_ACT_ERRNO", None);
    profile["syscalls"][0]["names"] = json!(names);
    let _ = Runtime::under_test().run(&bundle(profile)).ok();
}

/// It dies of that without a word: it may not even write, nor end.
#[test]
fn a_profile_that_forbids_execve_is_told_and_is_no_status_of_the_program() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let denied = bundle(json!({"defaultAction": "SCMP_ACT_ERRNO"}));
    for options in [&[][..], &["-d"]] {
        let id = runtime.new_id();
        let call = runtime.bundle_call("run", &denied, options.iter().copied(), &id);
        let output = call.run().exits(1);
        output.says("its process was killed before it could execute the program");
        output.says("hint: the seccomp profile does not allow `execve`");
        assert!(!runtime.root().join(&id).exists());
    }
    let container = runtime.create(&denied, [""; 0]);
    let file = denied.path().join("pid");
    for detached in [&[][..], &["-d"]] {
        let exec = ["exec", "--pid-file", file.to_str().expect("UTF-8")];
        let output = runtime.call(exec).args(detached).args([container.id(), "true"]).run();
        output.exits(255).says("its process was killed before it could execute the program");
        assert!(!file.exists(), "whoever has that process id by then is somebody else");
    }
    let _ = container.delete().ok();
    sandbox.assert_clean();
}

#[test]
fn a_profile_that_cannot_be_compiled_starts_nothing() {
    let sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = bundle(denying("mkdir", "SCMP_ACT_NOTIFY", None));
    let output = runtime.try_create(&bundle).exits(1);
    assert!(output.stderr().contains("seccomp"), "{output}");
    sandbox.assert_clean();
}
