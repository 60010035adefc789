//! Class E: ids, groups and capabilities that are not the ones that were meant.

use std::fs;

use nconform::fixture::{BundleDir, Capture, Fifo, Runtime, Sandbox};
use serde_json::{Value, json};

use crate::moment::wait_until;

#[test]
fn ids_that_are_none_are_refused_in_a_config() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    for id in ["-1", "4294967295", "4294967296", "18446744073709551616", "1.5", "\"0\""] {
        let value: Value = serde_json::from_str(id).expect("JSON");
        for field in ["/process/user/uid", "/process/user/gid", "/process/user/additionalGids"] {
            let value = if field.ends_with('s') { json!([value]) } else { value.clone() };
            let bundle = BundleDir::new().args(["id", "-u"]).set(field, value);
            let output = runtime.run(&bundle).exits(1);
            let refused = output.stdout().is_empty() && output.stderr().contains("/process/user");
            assert!(refused, "{field} {id}: {output}");
        }
    }
}

#[test]
fn ids_that_are_none_are_refused_by_exec() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let sleeper = BundleDir::new().args(["sleep", "100"]);
    let container = runtime.start(&sleeper);
    let odd = [
        "-1",
        "4294967295",
        "4294967296",
        "+0",
        " 0",
        "0 ",
        "0x0",
        "",
        "root",
        "00000000000000000000x",
    ];
    for user in odd.iter().chain(&[":", "0:", ":0", "0:-1", "0:4294967295", "0:0:0"]) {
        for flag in ["--user", "--additional-gids"] {
            let args = ["exec", flag, user, container.id(), "id"];
            let output = runtime.call(args).run().exits(255);
            assert!(output.stdout().is_empty(), "{flag} {user:?}: {output}");
        }
    }
    let file = sleeper.path().join("process.json");
    for uid in [json!(-1), json!(u32::MAX), json!(1u64 << 32)] {
        let user = json!({"uid": uid, "gid": 0});
        let process = json!({"cwd": "/", "args": ["id"], "env": ["PATH=/bin"], "user": user});
        fs::write(&file, process.to_string()).expect("write process.json");
        let args = ["exec", "--process", &file.display().to_string(), container.id()];
        let output = runtime.call(args).run().exits(255);
        assert!(output.stdout().is_empty(), "{uid}: {output}");
    }
}

#[test]
fn large_ids_are_taken_as_they_are() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let sleeper = BundleDir::new().args(["sleep", "100"]);
    let container = runtime.start(&sleeper);
    for id in ["2147483648", "4294967294"] {
        let number: u32 = id.parse().expect("a number");
        let bundle = BundleDir::new().args(["id", "-u"]).set("/process/user/uid", number);
        assert_eq!(runtime.run(&bundle).ok().text(), id);
        let args = ["exec", "--user", id, container.id(), "id", "-u"];
        assert_eq!(runtime.call(args).run().ok().text(), id);
    }
}

#[test]
fn a_monstrous_passwd_is_read_within_bounds() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = BundleDir::new().shell("echo $HOME").with_monstrous_file("etc/passwd", 1 << 30);
    // It would be killed for its memory if it were read as a whole.
    let bundle = bundle.set("/linux/resources/memory/limit", 64 << 20);
    assert_eq!(runtime.run(&bundle).ok().text(), "/");
}

#[test]
fn a_passwd_that_is_no_file_is_not_even_opened() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = BundleDir::new().shell("echo $HOME");
    let fifo = Fifo::new(&bundle.rootfs().join("etc/passwd"));
    let output = runtime.run(&bundle).ok();
    assert!(!fifo.was_opened(), "the runtime opened what is no regular file");
    assert_eq!(output.text(), "/");
}

const STATUS: &str =
    "grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp:|Seccomp_filters)' /proc/self/status";

/// What a container's own process and one in `exec` have, when a caller with groups and inheritable capabilities makes them.
fn status_in_create_and_exec(runtime: &Runtime, bundle: BundleDir) -> (String, String) {
    let bundle = bundle.shell(&format!("{STATUS}; exec sleep 100"));
    let (id, program) = (runtime.new_id(), runtime.program().display().to_string());
    let root = runtime.root().display().to_string();
    let path = bundle.path().display().to_string();
    let call = |args: &[&str]| {
        Capture::of("setpriv")
            .args(["--groups", "4242,27", "--inh-caps", "+chown,+kill"])
            .args([&program, "--root", &root])
            .args(args)
            .run()
            .ok()
    };
    let created = call(&["create", "--bundle", &path, &id]);
    let _ = runtime.call(["start", &id]).run().ok();
    let exec = call(&["exec", &id, "sh", "-c", STATUS]).stdout();
    wait_until(|| created.stdout() == exec);
    let _ = runtime.call(["delete", "--force", &id]).run().ok();
    (created.stdout(), exec)
}

#[test]
fn nothing_of_the_callers_groups_and_capabilities_gets_into_a_container() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let user = json!({"uid": 1000, "gid": 1000, "additionalGids": [5, 6]});
    let filter = json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"]});
    let bare = BundleDir::new().remove("/process/capabilities");
    let cases = [
        BundleDir::new(),
        BundleDir::new().set("/process/user", user),
        BundleDir::new().set("/process/capabilities/inheritable", json!(["CAP_KILL"])),
        bare.set("/process/noNewPrivileges", false),
        BundleDir::new().set("/linux/seccomp", filter),
    ];
    for bundle in cases {
        let process = bundle.config()["process"].clone();
        let (status, in_exec) = status_in_create_and_exec(&runtime, bundle);
        assert_eq!(status, in_exec, "a process has the same in exec");
        let field = |name: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(name));
            value.unwrap_or_default().trim().to_owned()
        };
        let groups = process["user"]["additionalGids"].as_array().map_or(0, Vec::len);
        assert_eq!(field("Groups:").split_whitespace().count(), groups, "{status}");
        let kill = process["capabilities"]["inheritable"].is_array();
        let inheritable = if kill { "0000000000000020" } else { "0000000000000000" };
        assert_eq!(field("CapInh:"), inheritable, "{status}");
        if process["capabilities"].is_null() {
            for set in ["CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
                assert_eq!(field(set), "0000000000000000", "{set} {status}");
            }
        }
    }
}
