//! A test for each cause, on files made for it. No root is needed.

use super::format::machine;
use super::format::tests::{FOREIGN, OURS, elf_for};
use super::{Diagnosis, Subject};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

/// A root with a static program `/bin/sh`, changed by `edit`, and the diagnosis for `args`.
fn examine(args: &[&str], edit: impl FnOnce(&Path, &mut Value)) -> Option<Diagnosis> {
    let bundle = tempfile::tempdir().unwrap();
    let root = bundle.path().join("rootfs");
    for directory in ["bin", "etc", "app", "lib"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    file(&root, "bin/sh", &elf_for(OURS, ""), 0o755);
    let mut config = json!({
        "ociVersion": "1.3.0", "root": {"path": "rootfs"}, "linux": {}, "mounts": [],
        "process": {"args": args, "cwd": "/", "user": {"uid": 1000, "gid": 1000}, "env": ["PATH=/usr/bin:/bin"]},
    });
    edit(&root, &mut config);
    let spec = serde_json::from_value(config).unwrap();
    Subject::of_bundle(&spec, bundle.path(), &root).unwrap().examine()
}

fn file(root: &Path, name: &str, bytes: &[u8], mode: u32) {
    let path = root.join(name);
    fs::write(&path, bytes).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
}

#[track_caller]
fn cause(args: &[&str], edit: impl FnOnce(&Path, &mut Value)) -> String {
    examine(args, edit).expect("a diagnosis").cause
}

#[test]
fn a_program_in_which_nothing_is_wrong_has_no_diagnosis() {
    assert_eq!(examine(&["sh"], |_, _| {}), None);
    assert_eq!(examine(&["/bin/sh", "-c", "x y"], |_, _| {}), None);
    let script = |root: &Path, _: &mut Value| file(root, "app/run", b"#!/bin/sh\n", 0o755);
    assert_eq!(examine(&["/app/run"], script), None);
    let loader = |root: &Path, _: &mut Value| {
        file(root, "lib/ld-musl-x86_64.so.1", &elf_for(OURS, ""), 0o755);
        file(root, "app/run", &elf_for(OURS, "/lib/ld-musl-x86_64.so.1"), 0o755);
    };
    assert_eq!(examine(&["/app/run"], loader), None);
    let link = |root: &Path, _: &mut Value| symlink("/bin/sh", root.join("app/run")).unwrap();
    assert_eq!(examine(&["/app/run"], link), None, "an absolute link stays in the root");
}

#[test]
fn a_program_for_another_machine_is_told_with_both_machines() {
    let edit = |root: &Path, _: &mut Value| file(root, "app/run", &elf_for(FOREIGN, ""), 0o755);
    assert_eq!(
        cause(&["/app/run"], edit),
        format!(
            "`/app/run` is a program for {}, and this machine is {}",
            machine(FOREIGN),
            machine(OURS)
        )
    );
}

#[test]
fn a_missing_loader_is_told_with_the_c_library_that_it_belongs_to() {
    let missing = |loader: &'static str| {
        cause(&["/app/run"], |root, _| file(root, "app/run", &elf_for(OURS, loader), 0o755))
    };
    assert!(missing("/lib/ld-musl-x86_64.so.1").contains("is not, that of musl"));
    assert!(missing("/lib64/ld-linux-x86-64.so.2").contains("is not, that of glibc"));
}

#[test]
fn a_script_is_told_by_what_is_wrong_with_its_first_line() {
    let script = |text: &'static str| {
        cause(&["/app/run"], |root, _| file(root, "app/run", text.as_bytes(), 0o755))
    };
    assert!(script("#!/bin/bash\n").contains("its interpreter `/bin/bash` is not"));
    assert!(script("#!/bin/sh\r\necho\r\n").contains("carriage return"));
    assert!(script("echo hello\n").contains("text without a `#!` line"));
    assert!(script("").contains("is empty"));
    assert!(script("\u{1}\u{2}").contains("no format"));
    assert!(script("\u{7f}ELF").contains("only the beginning"));
}

#[test]
fn an_interpreter_is_looked_at_in_its_turn() {
    let foreign = |root: &Path, _: &mut Value| {
        file(root, "bin/python", &elf_for(FOREIGN, ""), 0o755);
        file(root, "app/run", b"#!/bin/python\n", 0o755);
    };
    let start = format!("`/bin/python` is a program for {}", machine(FOREIGN));
    assert!(cause(&["/app/run"], foreign).starts_with(&start));
    let env = |root: &Path, _: &mut Value| {
        file(root, "bin/env", &elf_for(OURS, ""), 0o755);
        file(root, "app/run", b"#!/bin/env python3\n", 0o755);
    };
    assert!(
        cause(&["/app/run"], env).contains("is run by `python3`, which no directory of PATH has")
    );
    let circle = |root: &Path, _: &mut Value| file(root, "app/run", b"#!/app/run\n", 0o755);
    let _ = examine(&["/app/run"], circle);
}

#[test]
fn a_name_that_is_not_found_is_told_by_where_it_is_or_is_not() {
    let nothing = |_: &Path, _: &mut Value| {};
    assert_eq!(cause(&["nginx"], nothing), "no directory of PATH has a program `nginx`");
    let elsewhere = |root: &Path, _: &mut Value| file(root, "app/nginx", b"", 0o755);
    assert_eq!(
        cause(&["nginx"], elsewhere),
        "`/app/nginx` is there, and its directory is not in PATH"
    );
    assert!(cause(&["sh -c true"], nothing).contains("whole command line"));
    assert_eq!(cause(&["/srv/web/run"], nothing), "the root file system has no `/srv`");
    assert_eq!(cause(&["/app/run"], nothing), "the root file system has no `/app/run`");
    let dangling = |root: &Path, _: &mut Value| symlink("/opt/run", root.join("app/run")).unwrap();
    assert_eq!(
        cause(&["/app/run"], dangling),
        "`/app/run` is a symbolic link to `/opt/run`, which is not there"
    );
}

#[test]
fn a_refusal_is_told_by_what_refuses() {
    let mode = |root: &Path, _: &mut Value| file(root, "app/run", &elf_for(OURS, ""), 0o644);
    assert!(cause(&["/app/run"], mode).starts_with("`/app/run` has mode 0644 and owner"));
    assert!(cause(&["/app/run"], mode).ends_with("user 1000 of group 1000 may not execute it"));
    let private = |root: &Path, _: &mut Value| {
        file(root, "app/run", &elf_for(OURS, ""), 0o755);
        fs::set_permissions(root.join("app"), fs::Permissions::from_mode(0o750)).unwrap();
    };
    assert_eq!(
        cause(&["/app/run"], private),
        "user 1000 of group 1000 may not search the directory `/app`"
    );
    assert_eq!(cause(&["/etc"], |_, _| {}), "`/etc` is a directory");
    assert_eq!(
        cause(&["/etc/passwd/run"], |root, _| file(root, "etc/passwd", b"", 0o755)),
        "`/etc/passwd` is not a directory"
    );
    assert_eq!(cause(&[""], |_, _| {}), "the name of the program is empty");
}

#[test]
fn a_user_of_a_user_namespace_has_the_ids_that_its_mapping_gives() {
    let edit = |root: &Path, config: &mut Value| {
        file(root, "app/run", &elf_for(OURS, ""), 0o700);
        let owner = fs::metadata(root).unwrap();
        let owner = std::os::unix::fs::MetadataExt::uid(&owner);
        config["linux"]["uidMappings"] = json!([{"containerID": 1000, "hostID": owner, "size": 1}]);
    };
    assert_eq!(examine(&["/app/run"], edit), None);
}

#[test]
fn a_mount_of_config_json_is_looked_at_as_the_container_would_see_it() {
    let hidden = |root: &Path, config: &mut Value| {
        file(root, "app/run", &elf_for(OURS, ""), 0o755);
        config["mounts"] = json!([{"destination": "/app", "type": "tmpfs", "source": "tmpfs"}]);
    };
    assert_eq!(
        cause(&["/app/run"], hidden),
        "a tmpfs is mounted on `/app` and hides what the image has there (config.json /mounts/0)"
    );
    let bound = |root: &Path, config: &mut Value| {
        let volume = root.parent().unwrap().join("volume");
        fs::create_dir(&volume).unwrap();
        file(&volume, "run", &elf_for(FOREIGN, ""), 0o755);
        config["mounts"] = json!([{"destination": "/app", "source": volume, "options": ["rbind"]}]);
    };
    assert!(cause(&["/app/run"], bound).contains(&machine(FOREIGN)));
    let through_a_link = |root: &Path, config: &mut Value| {
        let volume = root.parent().unwrap().join("volume");
        fs::create_dir(&volume).unwrap();
        file(&volume, "run", &elf_for(OURS, ""), 0o755);
        symlink("../data", root.join("app/current")).unwrap();
        config["mounts"] =
            json!([{"destination": "/data", "source": volume, "options": ["rbind"]}]);
    };
    assert_eq!(examine(&["/app/current/run"], through_a_link), None);
    let circle = |root: &Path, config: &mut Value| {
        symlink("run", root.join("app/run")).unwrap();
        config["mounts"] = json!([{"destination": "/data", "type": "tmpfs", "source": "tmpfs"}]);
    };
    assert!(cause(&["/app/run"], circle).contains("lead in a circle"));
    let noexec = |root: &Path, config: &mut Value| {
        let volume = root.join("app");
        file(root, "app/run", &elf_for(OURS, ""), 0o755);
        config["mounts"] =
            json!([{"destination": "/app", "source": volume, "options": ["bind", "noexec"]}]);
    };
    assert!(cause(&["/app/run"], noexec).contains("option `noexec` (config.json /mounts/0)"));
}

#[test]
fn a_filter_that_forbids_the_exec_is_found() {
    let profile =
        |profile: Value| move |_: &Path, config: &mut Value| config["linux"]["seccomp"] = profile;
    let allowed = json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["execve"], "action": "SCMP_ACT_ALLOW"}]});
    assert_eq!(examine(&["sh"], profile(allowed)), None);
    let default = json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]});
    assert!(cause(&["sh"], profile(default)).contains("/linux/seccomp/defaultAction"));
    let killed = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["execve"], "action": "SCMP_ACT_KILL"}]});
    assert!(cause(&["sh"], profile(killed)).contains("/linux/seccomp/syscalls/0"));
}

#[test]
fn links_of_the_image_lead_nowhere_outside_and_special_files_are_not_opened() {
    let outside = |root: &Path, _: &mut Value| {
        symlink("../../../../../../bin/true", root.join("app/run")).unwrap();
    };
    assert!(cause(&["/app/run"], outside).contains("which is not there"));
    let magic =
        |root: &Path, _: &mut Value| symlink("/proc/self/exe", root.join("app/run")).unwrap();
    assert!(cause(&["/app/run"], magic).contains("which is not there"));
    let fifo = |root: &Path, _: &mut Value| {
        let mode = rustix::fs::Mode::from_raw_mode(0o777);
        rustix::fs::mknodat(
            rustix::fs::CWD,
            root.join("app/run"),
            rustix::fs::FileType::Fifo,
            mode,
            0,
        )
        .unwrap();
    };
    let _ = examine(&["/app/run"], fifo);
}
