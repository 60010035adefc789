//! The fixtures themselves, tried with a runtime that is known to work: runc.

use nconform::fixture::{BundleDir, Console, Runtime, Sandbox, cgroups, tool};
use nconform::leaks::Survey;

fn runc() -> Runtime {
    Runtime::at(tool("runc"))
}

#[test]
fn a_container_goes_through_its_whole_life() {
    let sandbox = Sandbox::enter();
    let (runtime, bundle) = (runc(), BundleDir::new().shell("echo hello; exec sleep 60"));
    let container = runtime.create(&bundle, [""; 0]);
    assert_eq!(container.status(), "created");
    assert!(!cgroups::named(container.id()).is_empty());
    let _ = container.start().ok();
    assert_eq!(container.exec(["id", "-u"]).ok().text(), "0");
    let _ = container.kill("KILL").ok();
    container.wait();
    assert_eq!(container.status(), "stopped");
    assert_eq!(container.output().stdout(), "hello\n");
    let _ = container.delete().ok();
    sandbox.assert_clean();
}

#[test]
fn run_passes_output_and_exit_status_on() {
    let _sandbox = Sandbox::enter();
    let output = runc().run(&BundleDir::new().shell("echo out; echo err >&2; exit 7")).exits(7);
    assert_eq!((output.stdout().as_str(), output.stderr().as_str()), ("out\n", "err\n"));
}

#[test]
fn what_a_test_forgets_is_cleaned_up_with_the_runtime() {
    let sandbox = Sandbox::enter();
    let (runtime, bundle) = (runc(), BundleDir::new().args(["sleep", "60"]));
    let id = runtime.start(&bundle).id().to_owned();
    let left = sandbox.leftovers().join("\n");
    assert!(left.contains("process") && left.contains(&format!("/{id}`")), "{left}");
    let survey = Survey::take().to_string();
    let finds =
        |kind: &str| survey.lines().any(|line| line.starts_with(kind) && line.contains(&id));
    assert!(finds("cgroup `"), "no cgroup of {id}: {survey}");
    assert!(survey.contains(" sleep 60`"), "no process of {id}: {survey}");
    drop(runtime);
    sandbox.assert_clean();
}

#[test]
#[should_panic(expected = "the test left behind:\n  process")]
fn a_process_that_outlives_its_test_fails_it() {
    let sandbox = Sandbox::enter();
    let (mut child, _output) = nconform::fixture::Capture::of("sleep").args(["60"]).start();
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| sandbox.assert_clean()));
    child.kill().and_then(|()| child.wait()).expect("end the sleeper");
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn a_terminal_arrives_on_the_console_socket() {
    let _sandbox = Sandbox::enter();
    let (runtime, console) = (runc(), Console::listen());
    let bundle = BundleDir::new().args(["cat"]).set("/process/terminal", true);
    let socket = console.path().display().to_string();
    let container = runtime.create(&bundle, ["--console-socket", &socket]);
    let mut terminal = console.receive();
    let _ = container.start().ok();
    terminal.type_in("ping\n");
    terminal.expect("ping\r\nping\r\n");
    terminal.type_in("\x04");
    container.wait();
}
