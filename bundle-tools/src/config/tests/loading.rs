//! What a file must be to be a configuration, what is forgiven, and what a user reads.

use super::*;

/// The error of a text that cannot be parsed, without the file's name.
fn parse_error(text: impl AsRef<[u8]>) -> String {
    let error = parse(text.as_ref(), Path::new("config.json")).unwrap_err();
    error.to_string().strip_prefix("config.json:").expect("the file is named first").to_owned()
}

/// What of the full configuration is changed, to what, and the pointer and message of the finding.
const WRONG_TYPES: &[(&str, &str, &str)] = &[
    (
        r#""uid": 1,"#,
        r#""uid": «-1,"#,
        "/process/user/uid: invalid value: integer `-1`, expected u32",
    ),
    (
        r#""uid": 1,"#,
        r#""uid": «4294967296,"#,
        "/process/user/uid: invalid value: integer `4294967296`, expected u32",
    ),
    (
        r#""uid": 1,"#,
        r#""uid": «1.0,"#,
        "/process/user/uid: invalid type: floating point `1.0`, expected u32",
    ),
    (
        r#""uid": 1,"#,
        r#""uid": «"1","#,
        "/process/user/uid: invalid type: string \"1\", expected u32",
    ),
    (
        r#"["sh", "-c", "true"]"#,
        r#"["sh", «7]"#,
        "/process/args/1: invalid type: integer `7`, expected a string",
    ),
    (
        r#""oomScoreAdj": 100"#,
        r#""oomScoreAdj": «2147483648"#,
        "/process/oomScoreAdj: invalid value: integer `2147483648`, expected i32",
    ),
    (
        r#""limit": 4096"#,
        r#""limit": «9223372036854775808"#,
        "/linux/resources/memory/limit: invalid value: integer `9223372036854775808`, expected i64",
    ),
    (
        r#""shares": 2,"#,
        r#""shares": «-2,"#,
        "/linux/resources/cpu/shares: invalid value: integer `-2`, expected u64",
    ),
    (r#"{"destination": "/proc", "#, r#"«{"#, "/mounts/0: missing field `destination`"),
    (
        r#""hostname": "some-host""#,
        "\"hostname\": \"a\",\n\t\"hostname\" : «\"b\"",
        "/hostname: duplicate field `hostname`",
    ),
    (
        r#""SCMP_ACT_ALLOW""#,
        r#"«"ALLOW""#,
        "/linux/seccomp/syscalls/0/action: unknown variant `ALLOW`, expected one of ",
    ),
    (
        r#""SCMP_ARCH_X32""#,
        r#"«"SCMP_ARCH_X33""#,
        "/linux/seccomp/architectures/1: unknown variant `SCMP_ARCH_X33`, expected one of ",
    ),
    (
        r#""RLIMIT_CORE""#,
        r#"«"RLIMIT_X""#,
        "/process/rlimits/1/type: unknown variant `RLIMIT_X`, expected one of ",
    ),
    (
        r#""final": "0-3,7""#,
        r#""final": «"3..7""#,
        "/process/execCPUAffinity/final: invalid execCPUAffinity format: 3..7",
    ),
];

#[test]
fn a_value_of_the_wrong_type_is_shown_with_pointer_line_and_column() {
    for (from, to, message) in WRONG_TYPES {
        let (text, line, column) = take_mark(&changed(from, to));
        let (error, expected) = (parse_error(text), format!("{line}:{column}: {message}"));
        assert!(error.starts_with(&expected), "{error}\n is not\n{expected}");
    }
}

#[test]
fn a_text_that_is_not_json_is_shown_with_line_and_column() {
    let cases: &[(&[u8], &str)] = &[
        (b"", "1:1: is empty"),
        (b" \n\t", "1:1: is empty"),
        (b"{\n  \"ociVersion\": \"1.3.0\",\n  \"root", "3:8: the text ends within a string"),
        (b"{\n  \"ociVersion\": \"1.3.0\",\n", "3:1: the text ends within a value"),
        (b"{\n  \"a\": [1,\n 2", "3:3: the text ends within a list"),
        (b"{\n  \"a\": 1\n} {}", "3:3: trailing characters"),
        (b"{\n  \"a\": 1,\n}", "3:1: trailing comma"),
        (b"{\n  \"a\": 01\n}", "2:9: invalid number"),
        (b"{\n  'a': 1\n}", "2:3: key must be a string"),
        (b"{\n  \"\xc3\xa9\": ?\n}", "2:8: expected value"),
        (
            b"{\"hostname\": \"\x01\"}",
            "1:15: control character (\\u0000-\\u001F) found while parsing a string",
        ),
        (b"{\n  \"a\": \"\xc3\xa9\xff\"}", "2:10: byte 0xff is not valid UTF-8"),
        (b"\xef\xbb\xbf{}", "1:1: starts with a byte order mark, which JSON does not allow"),
        (b"null", "1:1: invalid type: null, expected struct Spec"),
    ];
    for (text, expected) in cases {
        assert_eq!(parse_error(text), *expected, "{}", String::from_utf8_lossy(text));
    }
}

#[test]
fn a_fault_of_the_encoding_has_a_hint() {
    for text in [&b"\xff\xfe{\0}\0"[..], b"\xef\xbb\xbf{}"] {
        let error = parse(text, Path::new("x")).unwrap_err();
        assert!(error.hint().is_some_and(|hint| hint.contains("UTF-8")), "{error}");
    }
    assert_eq!(
        parse(b"{", Path::new("x")).unwrap_err().hint().unwrap(),
        "the file may be truncated"
    );
}

#[test]
fn names_in_another_case_are_taken_as_runc_takes_them() {
    let bundle = Bundle::new();
    let mut upper = FULL.to_owned();
    scan::walk(FULL, |value| {
        let (around, _) = value.pointer.rsplit_once('/').unwrap_or_default();
        let is_member = value.key != value.range.start;
        if is_member && leniency::MAPS.iter().all(|(map, _)| *map != around) {
            let end = value.key + 1 + FULL[value.key + 1..].find('"').unwrap();
            upper[value.key..end].make_ascii_uppercase();
        }
    });
    assert!(upper.contains("\"PROCESS\"") && upper.contains("\"THROTTLEREADBPSDEVICE\""));
    let (taken, given) = (bundle.check(&upper).unwrap(), bundle.check(FULL).unwrap());
    assert_eq!(taken.spec, given.spec);
    assert_eq!(taken.text(), FULL, "what is kept of it is in the specification's spelling");
    let told = taken.warnings.iter().map(ToString::to_string);
    let told: Vec<String> = told.filter(|line| line.contains("/throttle")).collect();
    let expected = "67:34: /linux/resources/blockIO/throttleReadBpsDevice: is spelt `THROTTLEREADBPSDEVICE`, \
                    and read as `throttleReadBpsDevice`";
    assert_eq!(told.first().map(String::as_str), Some(expected), "{told:?}");

    let twice = changed("\"cpu\": {", "\"CPU\": {}, \"cpu\": {");
    let error = bundle.check(&twice).unwrap_err().to_string();
    assert!(error.ends_with("/linux/resources/cpu: duplicate field `cpu`"), "{error}");
}

#[test]
fn what_runc_forgives_is_forgiven() {
    let bundle = Bundle::new();
    let cases = [
        ("\"CAP_KILL\"", "\"CAP_KILL\", \"CAP_OF_TOMORROW\""),
        ("\"user\": {\"uid\": 1, \"gid\": 2, \"umask\": 18, \"additionalGids\": [5, 6]},", ""),
        ("{\"uid\": 1, \"gid\": 2, \"umask\": 18, \"additionalGids\": [5, 6]}", "null"),
        ("\"uid\": 1,", "\"uid\": null,"),
        ("\"readonly\": true", "\"readonly\": null"),
        ("\"org.example.key\": \"value\"", "\"org.example.key\": null"),
        ("{\"name\": \"lan0\"}", "null"),
        ("\"type\": \"b\", ", "\"type\": \"\", "),
        (
            "{\"initial\": \"0\", \"final\": \"0-3,7\"}",
            "{\"initial\": \"\", \"final\": \" 0-3, 7\"}",
        ),
        (
            "\"hostname\": \"some-host\"",
            "\"windows\": {\"layerFolders\": 7}, \"vm\": 1, \"solaris\": []",
        ),
        ("\"hostname\": \"some-host\"", "\"freebsd\": {\"devices\": 7}, \"unheardOf\": [{}]"),
        ("\"SCHED_BATCH\"", "\"SCHED_OTHER\", \"flags\": [\"SCHED_FLAG_DL_OVERRUN\"]"),
        ("\"SCHED_BATCH\"", "\"SCHED_OTHER\", \"flags\": [\"SCHED_FLAG_RESET_ON_FORK\"]"),
    ];
    for (from, to) in cases {
        let result = bundle.check(&changed(from, to));
        result.unwrap_or_else(|error| panic!("{to}: {error}"));
    }
}

#[test]
fn what_is_forgiven_is_read_as_runc_reads_it() {
    let bundle = Bundle::new();
    let text = changed("\"CAP_KILL\"", "\"CAP_OF_TOMORROW\", \"CAP_KILL\"");
    let checked = bundle.check(&text).unwrap();
    let capabilities = checked.spec.process().as_ref().unwrap().capabilities().as_ref().unwrap();
    assert_eq!(capabilities.bounding().as_ref().unwrap().len(), 1);
    let warnings: Vec<String> = checked.warnings.iter().map(Finding::to_string).collect();
    let expected =
        "10:35: /process/capabilities/bounding/0: unknown capability `CAP_OF_TOMORROW` is ignored";
    assert_eq!(warnings, [expected]);

    let loaded = bundle.parse(&changed("\"org.example.key\": \"value\"", "\"a\": null")).unwrap();
    assert_eq!(loaded.spec.annotations().as_ref().unwrap()["a"], "");

    let loaded = bundle.parse(&changed("\"final\": \"0-3,7\"", "\"final\": \" 0-3 , 7\"")).unwrap();
    let affinity = loaded.spec.process().as_ref().unwrap().exec_cpu_affinity().clone().unwrap();
    assert_eq!(affinity.cpu_affinity_final().as_deref(), Some("0-3,7"));
}

#[test]
fn forgiveness_of_one_place_does_not_hide_a_fault_of_another() {
    let text =
        changed("\"CAP_KILL\"", "\"CAP_OF_TOMORROW\"").replace("\"gid\": 2,", "\"gid\": -2,");
    let expected = "6:31: /process/user/gid: invalid value: integer `-2`, expected u32";
    assert_eq!(parse_error(text), expected);
    let text =
        changed("\"CAP_KILL\"", "\"CAP_OF_TOMORROW\"").replace("\"cwd\"", "\"args\": [], \"cwd\"");
    assert_eq!(parse_error(text), "9:13: /process/args: duplicate field `args`");
}

#[test]
fn warnings_do_not_stop_a_configuration() {
    let text = changed("\"/tmp\"", "\"tmp\"").replace("\"LINUX\"", "\"LINUX\", \"flags\": [\"X\"]");
    let checked = Bundle::new().check(&text).unwrap();
    let warnings: Vec<String> = checked.warnings.iter().map(Finding::to_string).collect();
    let expected = [
        "27:21: /mounts/2/destination: `tmp` is relative, which is deprecated; taken as `/tmp`",
        "52:49: /linux/personality/flags: no flag is supported; they are ignored",
    ];
    assert_eq!(warnings, expected);
}

#[test]
fn all_findings_are_shown_at_once_in_the_order_of_the_text() {
    let bundle = Bundle::new();
    let text = r#"{
    "ociVersion": "0.9.0",
    "linux": {
        "sysctl": {"kernel.core_pattern": "|/bin/sh"},
        "maskedPaths": ["proc/kcore"],
        "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "pid"}]
    },
    "hostname": "h",
    "process": {
        "user": {"uid": 4294967295},
        "args": [],
        "cwd": "work",
        "env": ["A=b", "C"]
    },
    "mounts": [
        {"destination": "/a", "source": "/b", "options": ["bind", "size=1\u001b[2J"]},
        {"destination": "/proc/sys", "type": "tmpfs"}
    ],
    "root": {"path": "nowhere"}
}"#;
    bundle.write(text);
    let error = Error::from(check(load(&bundle.path()).unwrap()).unwrap_err());
    let directory = bundle.path().display().to_string();
    let shown = error.to_string().replace(&directory, "/bundle");
    let expected = "\
/bundle/config.json:2:19: /ociVersion: version `0.9.0` is not a version 1
/bundle/config.json:4:43: /linux/sysctl/kernel.core_pattern: sysctl `kernel.core_pattern` is not in a separate kernel namespace
/bundle/config.json:5:25: /linux/maskedPaths/0: must be an absolute path, not `proc/kcore`
/bundle/config.json:6:69: /linux/namespaces/2/type: namespace `pid` is given more than once
/bundle/config.json:8:17: /hostname: cannot be set without a uts namespace
/bundle/config.json:10:25: /process/user/uid: 4294967295 is not an id: it means \"unchanged\" to the kernel
/bundle/config.json:11:17: /process/args: must have at least one entry: the program to run
/bundle/config.json:12:16: /process/cwd: must be an absolute path, not `work`
/bundle/config.json:13:24: /process/env/1: `C` is not `NAME=VALUE`
/bundle/config.json:16:67: /mounts/0/options/1: `size=1\\u{1b}[2J` has no effect on a bind mount
/bundle/config.json:17:25: /mounts/1/destination: `/proc/sys` is inside `/proc`
/bundle/config.json:19:22: /root/path: rootfs `/bundle/nowhere` of bundle `/bundle` does not exist";
    assert_eq!(shown, expected);
    assert_eq!(
        error.hint().unwrap(),
        "add `{\"type\": \"uts\"}` to /linux/namespaces; a bind mount takes mount flags only; \
         options of its file system are set where that is mounted"
    );
}

#[test]
fn a_configuration_without_its_required_parts_is_told_what_is_missing() {
    let found = findings(Bundle::new().check("{}"));
    let shown: Vec<String> = found.iter().map(Finding::to_string).collect();
    let expected = [
        "1:1: /ociVersion: is missing",
        "1:1: /root: is missing: a container needs a root file system",
        "1:1: /process: is missing: a container needs a process",
    ];
    assert_eq!(shown, expected);
}

#[test]
fn the_root_file_system_must_be_a_directory_that_no_symbolic_link_leads_to() {
    let bundle = Bundle::new();
    std::fs::write(bundle.path().join("file"), "").unwrap();
    std::os::unix::fs::symlink("rootfs", bundle.path().join("link")).unwrap();
    std::os::unix::fs::symlink(".", bundle.path().join("here")).unwrap();
    let directory = bundle.path().display().to_string();
    let cases = [
        ("none", "none` of bundle `BUNDLE` does not exist"),
        ("file", "file` of bundle `BUNDLE` is not a directory"),
        ("link", "link` of bundle `BUNDLE` is, or leads through, a symbolic link"),
        ("here/rootfs", "here/rootfs` of bundle `BUNDLE` is, or leads through, a symbolic link"),
    ];
    for (path, expected) in cases {
        let text = changed("\"path\": \"rootfs\"", &format!("\"path\": \"{path}\""));
        let found = findings(bundle.check(&text));
        assert_eq!(found.len(), 1, "{found:?}");
        let message = found[0].message.replace(&directory, "BUNDLE");
        assert_eq!(message, format!("rootfs `BUNDLE/{expected}"));
        assert_eq!((found[0].line, found[0].column), (20, 20));
    }
    let text = changed("\"path\": \"rootfs\"", "\"path\": \"root\\u0000fs\"");
    let found = findings(bundle.check(&text));
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].message, "must not contain a NUL character");

    let absolute = bundle.path().join("rootfs");
    for path in ["rootfs", "./x/../rootfs/.", absolute.to_str().unwrap()] {
        let text = changed("\"path\": \"rootfs\"", &format!("\"path\": \"{path}\""));
        assert_eq!(bundle.check(&text).unwrap().rootfs, absolute, "{path}");
    }
}

#[test]
fn a_bundle_is_loaded_by_its_true_path() {
    let bundle = Bundle::new();
    bundle.write(FULL);
    let outside = tempfile::tempdir().unwrap();
    let link = outside.path().join("link");
    std::os::unix::fs::symlink(bundle.path(), &link).unwrap();
    for path in [link.clone(), link.join("."), bundle.path(), bundle.path().join("rootfs/..")] {
        let checked = check(load(&path).unwrap()).unwrap();
        assert_eq!(checked.bundle, bundle.path(), "{}", path.display());
        assert_eq!(checked.rootfs, bundle.path().join("rootfs"));
        assert_eq!(checked.config_path(), bundle.config());
        assert_eq!(checked.position("/mounts/1/source"), Position { line: 26, column: 56 });
    }
    std::fs::rename(bundle.config(), outside.path().join("elsewhere.json")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("elsewhere.json"), bundle.config()).unwrap();
    assert_eq!(check(load(&bundle.path()).unwrap()).unwrap().bundle, bundle.path());
}

#[test]
fn a_file_that_cannot_be_a_configuration_is_not_read() {
    let bundle = Bundle::new();
    let shown = |path: &Path| {
        let text = load(path).unwrap_err().to_string();
        text.replace(&bundle.path().display().to_string(), "BUNDLE")
    };
    let missing = "cannot read `BUNDLE/config.json`: no such file or directory";
    assert_eq!(shown(&bundle.path()), missing);
    assert!(load(&bundle.path()).unwrap_err().hint().is_some());
    let no_bundle = "cannot read `BUNDLE/nowhere`: no such file or directory";
    assert_eq!(shown(&bundle.path().join("nowhere")), no_bundle);

    std::fs::create_dir(bundle.config()).unwrap();
    assert_eq!(shown(&bundle.path()), "cannot read `BUNDLE/config.json`: is a directory");
    std::fs::remove_dir(bundle.config()).unwrap();

    let mode = Mode::RUSR | Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, bundle.config(), FileType::Fifo, mode, 0).unwrap();
    assert_eq!(shown(&bundle.path()), "cannot read `BUNDLE/config.json`: not a regular file");
    std::fs::remove_file(bundle.config()).unwrap();

    let file = File::create(bundle.config()).unwrap();
    file.set_len(MAX_CONFIG_SIZE + 1).unwrap();
    assert_eq!(shown(&bundle.path()), "cannot read `BUNDLE/config.json`: larger than 16 MiB");
}

#[test]
fn a_process_may_come_through_a_pipe() {
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    let text = format!(r#"{{"args": ["id"], "cwd": "/{}"}}"#, "x".repeat(100_000));
    let writing = std::thread::spawn(move || {
        std::io::Write::write_all(&mut File::from(writer), text.as_bytes())
    });
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader));
    let (process, _) = load_process(Path::new(&path)).unwrap();
    assert_eq!(process.cwd().as_os_str().len(), 100_001);
    writing.join().unwrap().unwrap();
    let error = load_process(Path::new("/dev/zero")).unwrap_err().to_string();
    assert_eq!(error, "cannot read `/dev/zero`: not a regular file or pipe");
}

#[test]
fn a_process_is_loaded_and_checked_by_itself() {
    let bundle = Bundle::new();
    let path = bundle.path().join("process.json");
    let load = |text: &str| {
        std::fs::write(&path, text).unwrap();
        load_process(&path)
    };
    let valid = r#"{"args": ["id"], "cwd": "/", "user": {"uid": 7},
        "capabilities": {"bounding": ["CAP_KILL", "CAP_OF_TOMORROW"], "ambient": null}}"#;
    let (process, warnings) = load(valid).unwrap();
    assert_eq!(process.user().uid(), 7);
    let told: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("unknown capability `CAP_OF_TOMORROW` is ignored"), "{told:?}");

    let shown = |text: &str| {
        let error = load(text).unwrap_err().to_string();
        error.replace(&path.display().to_string(), "FILE")
    };
    let expected = "FILE:1:2: /args: must have at least one entry: the program to run\n\
                    FILE:1:10: /cwd: must be an absolute path, not `tmp`";
    assert_eq!(shown(r#" {"cwd": "tmp"}"#), expected);
    let expected = "FILE:1:19: /user/uid: invalid value: integer `-1`, expected u32";
    assert_eq!(shown(r#"{"user": {"uid" : -1}}"#), expected);
    let expected = "FILE:1:24: /cwd: must not contain a NUL character";
    assert_eq!(shown(r#"{"args": ["x"], "cwd": "/\u0000"}"#), expected);
}
