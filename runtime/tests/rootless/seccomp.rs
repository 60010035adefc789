//! Seccomp agents of who may not trace a process of the runtime.

use nconform::fixture::{BundleDir, SeccompAgent, User};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use sys::notification::{Answer, Notification};

/// "No medium found": no container gets that from a real mkdir(2).
const ENOMEDIUM: i32 = 123;

fn no_medium(_: &Notification) -> Answer {
    Answer::Error(ENOMEDIUM)
}

fn asking(user: &User, agent: &SeccompAgent, further: &Value) -> BundleDir {
    user.give(agent.path().parent().expect("a directory"));
    let rule = json!({"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"});
    user.bundle().set(
        "/linux/seccomp",
        json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "architectures": ["SCMP_ARCH_X86_64"],
            "listenerPath": agent.path(),
            "syscalls": [rule, further]
        }),
    )
}

/// Some rule, which leaves sendmsg alone.
fn harmless() -> Value {
    json!({"names": ["swapon"], "action": "SCMP_ACT_ERRNO"})
}

#[test]
fn the_agent_of_an_ordinary_user_decides_for_run_start_exec_and_hooks() {
    let user = User::enter();
    let (runtime, agent) = (user.runtime(), SeccompAgent::start(no_medium));
    let bundle = asking(&user, &agent, &harmless());
    let output = runtime.run(&bundle.args(["mkdir", "/tmp/x"])).exits(1);
    assert!(output.stderr().contains("No medium found"), "{output}");
    assert_eq!((agent.states().len(), agent.calls().len()), (1, 1));

    let agent = SeccompAgent::start(no_medium);
    let hook = json!({"path": "/bin/busybox", "args": ["sh", "-c", "! mkdir /tmp/hook"]});
    let script = "mkdir /tmp/x; ls /proc/self/fd | tr '\\n' ' '; sleep 60";
    let bundle =
        asking(&user, &agent, &harmless()).push("/hooks/startContainer", hook).shell(script);
    let container = runtime.start(&bundle);
    let end = Instant::now() + Duration::from_secs(60);
    while container.output().stdout() != "0 1 2 3 " {
        assert!(Instant::now() < end, "{}", container.output());
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(container.output().stderr().contains("No medium found"), "{}", container.output());
    assert_eq!(agent.states().len(), 2, "one for the hook, one for the program");
    let output = container.exec(["mkdir", "/tmp/y"]).exits(1);
    assert!(output.stderr().contains("No medium found"), "{output}");
    let states = agent.states();
    assert_eq!(states.len(), 3, "{states:?}");
    assert_eq!(states[1]["pid"], container.pid().as_raw_nonzero().get());
    assert_eq!(states[2]["state"]["status"], "running");
}

#[test]
fn a_profile_under_which_the_listener_cannot_be_sent_is_refused() {
    let user = User::enter();
    let (runtime, agent) = (user.runtime(), SeccompAgent::start(no_medium));
    let denied = json!({"names": ["sendmsg"], "action": "SCMP_ACT_ERRNO"});
    let output = runtime.try_create(&asking(&user, &agent, &denied)).exits(1);
    for words in ["/linux/seccomp/listenerPath", "sendmsg"] {
        assert!(output.stderr().contains(words), "{output}");
    }
    assert_eq!(agent.states().len(), 0);
}
