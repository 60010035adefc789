//! `ps`: the processes of a container, through ps(1) or as JSON.

use nconform::fixture::{BundleDir, Container, Runtime, Sandbox};

fn sleepers() -> BundleDir {
    BundleDir::new().shell("sleep 61 & sleep 62 & echo ready; sleep 63")
}

fn start<'r>(runtime: &'r Runtime, bundle: &BundleDir) -> Container<'r> {
    let container = runtime.start(bundle);
    container.output().wait_for("ready");
    // The shell becomes the last of the three, and its children are shells for a moment, too.
    let sleeps = |pid: &i64| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
        name.is_ok_and(|name| name == "sleep\n")
    };
    for _ in 0..1000 {
        let pids = pids(runtime, &container);
        if pids.len() == 3 && pids.iter().all(sleeps) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    container
}

#[track_caller]
fn pids(runtime: &Runtime, container: &Container<'_>) -> Vec<i64> {
    let json = runtime.call(["ps", "--format", "json", container.id()]).run().ok().json();
    json.as_array().expect("an array").iter().map(|pid| pid.as_i64().expect("a pid")).collect()
}

#[test]
fn json_is_the_list_of_process_ids() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = sleepers();
    let container = start(&runtime, &bundle);
    let found = pids(&runtime, &container);
    assert_eq!(found.len(), 3);
    assert!(found.contains(&i64::from(container.pid().as_raw_nonzero().get())));
    for form in [&["ps", "--format=json"][..], &["ps", "-f", "json"], &["ps", "-format", "json"]] {
        let output = runtime.call(form).args([container.id()]).run().ok().stdout();
        let wanted: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(output, format!("[{}]\n", wanted.join(",")));
    }
}

#[test]
fn the_table_has_the_lines_of_ps_about_the_container() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = sleepers();
    let container = start(&runtime, &bundle);
    let table = runtime.call(["ps", container.id()]).run().ok().stdout();
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 4, "{table}");
    let titles: Vec<&str> = lines[0].split_whitespace().collect();
    assert_eq!(titles, ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]);
    for text in ["sleep 61", "sleep 62", "sleep 63"] {
        assert!(lines.iter().any(|line| line.contains(text)), "{table}");
    }
    let own = runtime.call(["ps", container.id(), "-e", "-o", "pid,comm"]).run().ok().stdout();
    let lines: Vec<&str> = own.lines().collect();
    assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), ["PID", "COMMAND"]);
    assert_eq!(lines.len(), 4, "{own}");
    assert_eq!(lines.iter().filter(|line| line.ends_with(" sleep")).count(), 3, "{own}");
}

#[test]
fn what_ps_complains_of_is_passed_on() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = sleepers();
    let container = start(&runtime, &bundle);
    for (args, words) in [
        (&["-o", "comm"][..], "couldn't find PID field in ps output"),
        (&["-Q"][..], "unsupported SysV option"),
    ] {
        let output = runtime.call(["ps", container.id()]).args(args).run().exits(1);
        assert!(output.stderr().contains(words), "{output}");
    }
    let output = runtime.call(["ps", "--format", "yaml", container.id()]).run().exits(1);
    assert!(output.stderr().contains("invalid format option"), "{output}");
    let output = runtime.call(["ps", "nobody"]).run().exits(1);
    assert!(output.stderr().contains("container does not exist"), "{output}");
}

#[test]
fn processes_that_were_executed_and_paused_are_listed() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = sleepers();
    let container = start(&runtime, &bundle);
    let (mut exec, _) = runtime.call(["exec", container.id(), "sleep", "64"]).start();
    for _ in 0..1000 {
        // Before that, the runtime itself is in the container's cgroup.
        let table = runtime.call(["ps", container.id()]).run().ok().stdout();
        if table.lines().any(|line| line.ends_with(" sleep 64")) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let _ = runtime.call(["pause", container.id()]).run().ok();
    assert_eq!(pids(&runtime, &container).len(), 4);
    let _ = runtime.call(["delete", "--force", container.id()]).run().ok();
    assert_eq!(exec.wait().expect("wait for exec").code(), Some(137));
}

#[test]
fn a_stopped_container_has_none() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = BundleDir::new();
    let container = runtime.start(&bundle);
    container.wait();
    let json = runtime.call(["ps", "--format", "json", container.id()]).run().ok().stdout();
    assert_eq!(json, "null\n");
    let table = runtime.call(["ps", container.id()]).run().ok().stdout();
    assert_eq!(table.lines().count(), 1, "{table}");
}
