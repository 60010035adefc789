//! `-a` of `run` and `create`: what is named is attached, and nothing else.

use super::world::{IMAGE, World, eventually};

const BOTH: &str = "echo out; echo err >&2; exit 3";

#[test]
fn what_is_named_is_attached_and_nothing_else() {
    let world = World::new();
    for (options, out, err) in [
        (&["-a", "stdout"][..], "out\n", ""),
        (&["-a", "STDERR"], "", "err\n"),
        (&["--attach=Stdout", "-astderr"], "out\n", "err\n"),
        (&["-a", "stdin", "-a", "stdout"], "out\n", ""),
        (&[], "out\n", "err\n"),
    ] {
        let said = world.shell(options, BOTH).exits(3);
        assert_eq!((said.stdout().as_str(), said.stderr().as_str()), (out, err), "{options:?}");
    }
    // `-i` brings stdin, whatever is named.
    let options = ["--rm", "-i", "-a", "stdout"];
    let back = world.run_command(&options, &["cat"]).stdin("in").run().ok();
    assert_eq!(back.stdout(), "in");
    world.assert_no_container();
}

#[test]
fn who_is_attached_to_stdin_alone_feeds_the_container_and_has_its_id() {
    let world = World::new();
    // More than what is on the way can hold, and the container complains all the time.
    let input: String = (0..100_000).map(|n| format!("{n}\n")).collect();
    let options = ["-i", "-a", "stdin", "--name", "fed"];
    let script = "sleep 0.5; while read -r line; do echo $line; done; exit 7";
    let fed = world.run_command(&options, &["sh", "-c", script]).stdin(input.clone()).run().ok();
    assert_eq!(fed.text(), world.inspect("fed", "/Id").as_str().unwrap());
    assert_eq!(world.nman(["wait", "fed"]).ok().text(), "7");
    assert!(world.nman(["logs", "fed"]).ok().stdout() == input, "not all of it has arrived");
    world.nman(["rm", "fed"]).ok();
    // Without `-i` there is nothing to feed.
    let id = world.run(&["-a", "stdin", "--name", "idle"], &["sleep", "1000"]).ok().text();
    assert_eq!(world.nman(["ps", "-q", "--no-trunc"]).ok().text(), id);
    world.nman(["rm", "-f", "idle"]).ok();
    world.run(&["-i", "-a", "stdin"], &["no-such-program"]).exits(127);
    world.assert_no_container();
}

#[test]
fn the_end_of_the_container_ends_who_still_has_something_to_feed_it() {
    let world = World::new();
    let options = ["--rm", "-i", "-a", "stdin"];
    let run = world.run_command(&options, &["sh", "-c", "exit 7"]);
    let run = run.stdin(vec![b'x'; 4 << 20]).run().ok();
    assert_eq!(run.text().len(), 64);
    eventually("it has removed itself", || world.has_no_container());
    world.assert_no_container();
}

#[test]
fn the_streams_are_kept_and_shown_and_start_attaches_to_all() {
    let world = World::new();
    let create = ["create", "--network", "none", "--name", "kept", "-a", "stderr", IMAGE];
    world.nman([&create[..], &["sh", "-c", BOTH]].concat()).ok();
    let config = world.inspect("kept", "/Config");
    let attached = ["AttachStdin", "AttachStdout", "AttachStderr"].map(|name| &config[name]);
    assert_eq!(attached, [false, false, true], "{config}");
    let said = world.nman(["start", "-a", "kept"]).exits(3);
    assert_eq!((said.stdout().as_str(), said.stderr().as_str()), ("out\n", "err\n"));
    world.nman(["rm", "kept"]).ok();
    let refused = world.run(&["-a", "output"], &["true"]).exits(125).stderr();
    assert!(refused.contains("output") && refused.contains("stdout"), "{refused}");
    world.assert_no_container();
}
