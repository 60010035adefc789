//! Class E: ids, groups and capabilities that are not the ones that were meant.

use std::fs::{self, File};

use nconform::fixture::{BundleDir, Capture, Runtime, Sandbox};
use serde_json::{Value, json};

use crate::host::{Fifo, wait_until};

#[test]
fn ids_that_are_none_are_refused_and_large_ones_are_taken_as_they_are() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let sleeper = BundleDir::new().args(["sleep", "100"]);
    let container = runtime.start(&sleeper);
    for id in ["-1", "4294967295", "4294967296", "18446744073709551616", "1.5", "\"0\""] {
        let value: Value = serde_json::from_str(id).expect("JSON");
        for field in ["/process/user/uid", "/process/user/gid", "/process/user/additionalGids"] {
            let value = if field.ends_with('s') { json!([value]) } else { value.clone() };
            let output =
                runtime.run(&BundleDir::new().args(["id", "-u"]).set(field, value)).exits(1);
            assert!(
                output.stdout().is_empty() && output.stderr().contains("/process/user"),
                "{field} {id}: {output}"
            );
        }
    }
    for user in [
        "-1",
        "4294967295",
        "4294967296",
        "+0",
        " 0",
        "0 ",
        "0x0",
        "",
        ":",
        "0:",
        ":0",
        "0:-1",
        "0:4294967295",
        "root",
        "00000000000000000000x",
    ] {
        let output =
            runtime.call(["exec", "--user", user, container.id(), "id", "-u"]).run().exits(255);
        assert!(output.stdout().is_empty(), "{user:?}: {output}");
        let output = runtime
            .call(["exec", "--additional-gids", user, container.id(), "id", "-G"])
            .run()
            .exits(255);
        assert!(output.stdout().is_empty(), "{user:?}: {output}");
    }
    let file = sleeper.path().join("process.json");
    for uid in [json!(-1), json!(u32::MAX), json!(1u64 << 32)] {
        let process = json!({"cwd": "/", "args": ["id", "-u"], "env": ["PATH=/bin"], "user": {"uid": uid, "gid": 0}});
        fs::write(&file, process.to_string()).expect("write process.json");
        let output = runtime
            .call(["exec", "--process", &file.display().to_string(), container.id()])
            .run()
            .exits(255);
        assert!(output.stdout().is_empty(), "{uid}: {output}");
    }
    for id in ["2147483648", "4294967294"] {
        let number: u32 = id.parse().expect("a number");
        assert_eq!(
            runtime
                .run(&BundleDir::new().args(["id", "-u"]).set("/process/user/uid", number))
                .ok()
                .text(),
            id
        );
        assert_eq!(
            runtime.call(["exec", "--user", id, container.id(), "id", "-u"]).run().ok().text(),
            id
        );
    }
}

#[test]
fn a_monstrous_passwd_is_read_within_bounds() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = BundleDir::new().shell("echo $HOME");
    let passwd = bundle.rootfs().join("etc/passwd");
    File::create(&passwd).and_then(|file| file.set_len(1 << 30)).expect("make a sparse file");
    // It would be killed for its memory if it were read as a whole.
    let bundle = bundle.set("/linux/resources/memory/limit", 64 << 20);
    assert_eq!(runtime.run(&bundle).ok().text(), "/");
}

#[test]
fn a_passwd_that_is_no_file_is_not_even_opened() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = BundleDir::new().shell("echo $HOME");
    let passwd = bundle.rootfs().join("etc/passwd");
    fs::remove_file(&passwd).expect("remove passwd");
    let fifo = Fifo::new(&passwd);
    let output = runtime.run(&bundle).ok();
    assert!(!fifo.was_opened(), "the runtime opened what is no regular file");
    assert_eq!(output.text(), "/");
}

const STATUS: &str =
    "grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp:|Seccomp_filters)' /proc/self/status";

#[test]
fn nothing_of_the_callers_groups_and_capabilities_gets_into_a_container() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let cases = [
        BundleDir::new(),
        BundleDir::new()
            .set("/process/user", json!({"uid": 1000, "gid": 1000, "additionalGids": [5, 6]})),
        BundleDir::new().set("/process/capabilities/inheritable", json!(["CAP_KILL"])),
        BundleDir::new().remove("/process/capabilities").set("/process/noNewPrivileges", false),
        BundleDir::new().set(
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"]}),
        ),
    ];
    for bundle in cases {
        let capabilities = bundle.config()["process"]["capabilities"].clone();
        let groups =
            bundle.config()["process"]["user"]["additionalGids"].as_array().map_or(0, Vec::len);
        let bundle = bundle.shell(&format!("{STATUS}; exec sleep 100"));
        let (id, program) = (runtime.new_id(), runtime.program().display().to_string());
        let (root, path) =
            (runtime.root().display().to_string(), bundle.path().display().to_string());
        let created = Capture::of("setpriv")
            .args([
                "--groups",
                "4242,27",
                "--inh-caps",
                "+chown,+kill",
                &program,
                "--root",
                &root,
                "create",
                "--bundle",
                &path,
                &id,
            ])
            .run()
            .ok();
        let _ = runtime.call(["start", &id]).run().ok();
        let exec = Capture::of("setpriv")
            .args([
                "--groups",
                "4242",
                "--inh-caps",
                "+chown,+kill",
                &program,
                "--root",
                &root,
                "exec",
                &id,
                "sh",
                "-c",
                STATUS,
            ])
            .run()
            .ok();
        wait_until(|| created.stdout() == exec.stdout());
        let status = created.stdout();
        assert_eq!(status, exec.stdout(), "a process has the same in exec");
        let field = |name: &str| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .unwrap_or_default()
                .trim()
                .to_owned()
        };
        assert_eq!(field("Groups:").split_whitespace().count(), groups, "{status}");
        let inheritable = if capabilities["inheritable"].is_array() {
            "0000000000000020"
        } else {
            "0000000000000000"
        };
        assert_eq!(field("CapInh:"), inheritable, "{status}");
        if capabilities.is_null() {
            for set in ["CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
                assert_eq!(field(set), "0000000000000000", "{set} {status}");
            }
        }
        let _ = runtime.call(["delete", "--force", &id]).run().ok();
    }
}
