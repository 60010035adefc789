//! `nman build`: what RUN gets besides its image, and what it may do: programs in here-documents, secrets, agents, caches, privileges.

use super::build::{assert_nothing_left, build, command, config, context, dockerfile, shell};
use super::world::{IMAGE, World, eventually};
use nconform::fixture::Capture;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Child;
use std::thread;

#[test]
fn a_here_document_with_an_interpreter_is_a_program() {
    let world = World::new();
    let text = dockerfile(
        "ARG A=arg\nRUN <<EOF\n#!/bin/sh -e\necho \"$0 $A\" > /said\n! touch /dev/pipes/x 2>/dev/null\nEOF\n\
         RUN <<'P'\n#!/bin/cat\nthe text itself\nP\n",
    );
    let context = context(&world, "context", &[("Dockerfile", &text)]);
    let said = build(&world, &["-t", "script"], &context).ok().stderr();
    assert!(said.contains("#!/bin/cat\nthe text itself\n"), "{said}");
    assert_eq!(
        shell(&world, "script", "cat /said; ls -A /dev/pipes 2>&1 | head -c 3"),
        "/dev/pipes/EOF arg\nls:"
    );
    // Another program is another step.
    let cached =
        || build(&world, &["-t", "script"], &context).ok().stderr().matches("Using cache").count();
    assert_eq!(cached(), 2);
    fs::write(world.path("context/Dockerfile"), text.replace("itself", "changed")).unwrap();
    assert_eq!(cached(), 1);
    assert_nothing_left(&world);
}

#[test]
fn a_secret_can_be_a_variable_and_is_nowhere_afterwards() {
    let world = World::new();
    let text = dockerfile(
        "RUN --mount=type=secret,id=key,env=KEY test \"$KEY\" = \"$(printf hidden%s -value)\" && test ! -e /run/secrets/key\n\
         RUN --mount=type=secret,id=key,env=KEY,target=/k test \"$KEY\" = \"$(cat /k)\"\n\
         RUN test -z \"$KEY\"\n",
    );
    let context = context(&world, "context", &[("Dockerfile", &text)]);
    let secret = world.path("secret");
    fs::write(&secret, "hidden-value").unwrap();
    let secret = format!("id=key,src={}", secret.display());
    let built = |options: &[&str]| build(&world, &[&["-t", "secret"], options].concat(), &context);
    built(&["--secret", &secret]).ok();
    assert!(!config(&world, "secret").to_string().contains("KEY"));
    // Neither the image nor its history nor the keys of its steps have it.
    let saved = world.path("secret.tar").display().to_string();
    world.nman(["save", "-o", &saved, "secret"]).ok();
    let in_root = |text: &str| {
        let root = world.root().display().to_string();
        nconform::fixture::Capture::of("grep").args(["-rlaF", text, &root, &saved]).run().stdout()
    };
    assert_eq!(in_root("hidden-value"), "");
    // Another value is no reason to run it again.
    fs::write(world.path("secret"), "other").unwrap();
    assert_eq!(built(&["--secret", &secret]).ok().stderr().matches("Using cache").count(), 3);
    fs::write(world.path("secret"), b"\xff\xfe").unwrap();
    let refused = built(&["--no-cache", "--secret", &secret]).exits(1).stderr();
    assert!(refused.contains("secret key cannot be the variable KEY: it is no text"), "{refused}");
    assert_nothing_left(&world);
}

#[test]
fn an_agent_is_forwarded_to_the_command_that_asks_for_it() {
    let world = World::new();
    let socket = world.path("agent");
    let listener = UnixListener::bind(&socket).unwrap();
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let mut request = [0; 5];
            while client.read_exact(&mut request).is_ok() {
                // SSH_AGENT_IDENTITIES_ANSWER without any.
                client.write_all(&[0, 0, 0, 5, 12, 0, 0, 0, 0]).unwrap();
            }
        }
    });
    // There is no client of the protocol in the image: where the socket is, whose, and that it is one.
    let text = dockerfile(
        "RUN --mount=type=ssh --mount=type=ssh,id=two,required,target=/two,mode=0640,uid=8 \\\n\
         echo $SSH_AUTH_SOCK > /said && test -S $SSH_AUTH_SOCK && stat -c '%u %a' $SSH_AUTH_SOCK /two >> /said\n\
         RUN test -z \"$SSH_AUTH_SOCK\"\n",
    );
    let context = context(&world, "context", &[("Dockerfile", &text)]);
    let named = format!("two={}", socket.display());
    let options = ["-t", "agent", "--ssh", "default", "--ssh", &named];
    command(&world, &options, &context).env("SSH_AUTH_SOCK", &socket).run().ok();
    let said = shell(&world, "agent", "cat /said; ls -A /run /two 2>/dev/null; true");
    assert_eq!(said, "/run/buildkit/ssh_agent.0\n0 600\n8 640\n");
    let without = ["--no-cache", "--ssh", "default"];
    let refused =
        command(&world, &without, &context).env("SSH_AUTH_SOCK", &socket).run().exits(1).stderr();
    assert!(refused.contains("no SSH key \"two\" forwarded from the client"), "{refused}");
    let refused = command(&world, &without, &context).env("SSH_AUTH_SOCK", "").run().exits(1);
    assert!(refused.stderr().contains("make sure SSH_AUTH_SOCK is set"), "{}", refused.stderr());
    let file = format!("two={context}/Dockerfile");
    let refused = build(&world, &["--ssh", &file, "--no-cache"], &context).exits(1).stderr();
    assert!(
        refused.contains("cannot forward the keys `") && refused.contains("Dockerfile"),
        "{refused}"
    );
    let refused = build(&world, &["--ssh", &format!("two={context}")], &context).exits(1).stderr();
    assert!(refused.contains("it is no socket"), "{refused}");
    // Whoever asks the build to end asks the command, although somebody stands for an agent.
    fs::write(
        world.path("context/Dockerfile"),
        dockerfile("RUN --mount=type=ssh,id=two sleep 1000\n"),
    )
    .unwrap();
    let (mut running, said) = command(&world, &["--ssh", &named], &context).start();
    eventually("the step runs", || {
        world.nman(["ps", "--no-trunc"]).ok().stdout().contains("sleep 1000")
    });
    kill_process(Pid::from_child(&running), Signal::INT).unwrap();
    assert_eq!(running.wait().unwrap().code(), Some(1), "{}", said.stderr());
    eventually("its container is gone", || world.has_no_container());
    assert_nothing_left(&world);
}

/// A program of the machine's with its libraries, where they are in `root`.
fn put_program(world: &World, root: &str, program: &str) {
    let listed = Capture::of("ldd").args([program]).run().ok().stdout();
    let libraries = listed.split_whitespace().filter(|word| word.starts_with('/'));
    for file in libraries.chain([program]) {
        let target = world.path(&format!("{root}{file}"));
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(file, target).unwrap();
    }
}

#[test]
fn files_of_keys_are_forwarded_by_an_agent_that_ends_with_the_build() {
    let world = World::new();
    let key = world.path("key").display().to_string();
    let generate = ["-q", "-t", "ed25519", "-N", "", "-C", "of the test", "-f", &key];
    Capture::of("ssh-keygen").args(generate).run().ok();
    let public = fs::read_to_string(world.path("key.pub")).unwrap();
    put_program(&world, "context/root", "/usr/bin/ssh-add");
    let text = dockerfile(
        "COPY root /\nRUN --mount=type=ssh,required /usr/bin/ssh-add -L > /keys; /usr/bin/ssh-add -D && exit 1; true\n",
    );
    let context = context(&world, "context", &[("Dockerfile", &text)]);
    let named = format!("default={key}");
    build(&world, &["-t", "keys", "--ssh", &named], &context).ok();
    assert_eq!(shell(&world, "keys", "cat /keys"), public);
    // Also where the path of its socket does not fit into an address.
    let long = world.path(&format!("{}/root", "long".repeat(25)));
    let there = |args: &[&str]| world.command(args).env("NMAN_ROOT", &long).run().ok();
    there(&["load", "-i", &world.path("image.tar").display().to_string()]);
    there(&["build", "--network", "none", "-t", "keys", "--ssh", &named, &context]);
    let said = there(&["run", "--rm", "--network", "none", "keys", "cat", "/keys"]).stdout();
    assert_eq!(said, public);
    // Killed at any time, it leaves none.
    let sleeping = dockerfile("RUN --mount=type=ssh sleep 1000\n");
    fs::write(world.path("context/Dockerfile"), sleeping).unwrap();
    for signal in [Signal::KILL, Signal::INT] {
        let (mut running, _) = command(&world, &["--ssh", &named], &context).start();
        let ps = || world.nman(["ps", "--no-trunc"]).ok().stdout();
        eventually("the step runs", || ps().contains("sleep 1000"));
        kill_process(Pid::from_child(&running), signal).unwrap();
        running.wait().unwrap();
        eventually("its container is gone", || world.has_no_container());
        let pattern = format!("ssh-agent -a {}", world.root().display());
        let agents = || Capture::of("pgrep").args(["-f", &pattern]).run().stdout();
        eventually("its agent is gone", || agents().is_empty());
    }
    build(
        &world,
        &["-t", "after"],
        &super::build::context(&world, "after", &[("Dockerfile", &dockerfile(""))]),
    )
    .ok();
    assert_nothing_left(&world);
}

#[test]
fn a_cache_begins_with_files_of_a_stage_and_is_ones_own_while_it_is_private() {
    let world = World::new();
    let text = format!(
        "FROM {IMAGE} AS seed\nRUN mkdir /seed && echo seed > /seed/file && chown 5:6 /seed/file && chmod 711 /seed\n\
         FROM {IMAGE}\nARG N=1\n\
         RUN --mount=type=cache,target=/c,from=seed,source=/seed --mount=type=cache,target=/empty,mode=0700 \\\n\
         echo $N >> /c/file && cat /c/file > /said && stat -c '%u:%g %a' /c/file /c /empty >> /said\n"
    );
    let context = context(&world, "context", &[("Dockerfile", &text)]);
    build(&world, &["-t", "cache"], &context).ok();
    let said = || shell(&world, "cache", "cat /said");
    assert_eq!(said(), "seed\n1\n5:6 644\n0:0 711\n0:0 700\n");
    build(&world, &["-t", "cache", "--build-arg", "N=2"], &context).ok();
    assert!(said().starts_with("seed\n1\n2\n"), "{}", said());
    // Other files to begin with are another cache.
    fs::write(world.path("context/Dockerfile"), text.replace("echo seed", "echo other")).unwrap();
    build(&world, &["-t", "cache"], &context).ok();
    assert!(said().starts_with("other\n1\n5:6"), "{}", said());

    let text = dockerfile(
        "ARG N\nRUN --mount=type=cache,target=/p,sharing=private \\\n\
         cat /p/had 2>/dev/null; echo $N >> /p/had; if [ $N = wait ]; then echo waiting; sleep 1000; fi; cp /p/had /had\n",
    );
    fs::write(world.path("context/Dockerfile"), text).unwrap();
    let with =
        |n: &str| ["-t".to_owned(), "own".to_owned(), "--build-arg".to_owned(), format!("N={n}")];
    let built = |n: &str| {
        let options = with(n);
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        build(&world, &options, &context).ok();
        shell(&world, "own", "cat /had")
    };
    assert_eq!(built("one"), "one\n");
    let args = ["build", "--network", "none", "--build-arg", "N=wait", context.as_str()];
    let (mut running, _said) = world.command(args).start();
    eventually("the first has the cache", || {
        world.nman(["ps", "--no-trunc"]).ok().stdout().contains("sleep 1000")
    });
    assert_eq!(built("two"), "two\n", "it has one of its own");
    running.kill().unwrap();
    running.wait().unwrap();
    eventually("its container is gone", || world.has_no_container());
    assert_eq!(built("three"), "one\nwait\nthree\n");
    assert_nothing_left(&world);
}

/// Whether a process waits for the lock of a file.
fn waits_for_a_lock(process: &Child) -> bool {
    let id = process.id().to_string();
    let locks = fs::read_to_string("/proc/locks").unwrap();
    let mut waiting = locks.lines().filter(|line| line.contains("-> FLOCK"));
    waiting.any(|line| line.split_whitespace().any(|word| word == id))
}

#[test]
fn who_waits_for_a_cache_ends_when_asked_keeps_nobody_waiting_and_sees_what_has_changed() {
    let world = World::new();
    let cache = "--mount=type=cache,from=seed,source=/seed,id=one,target=/one";
    let other = "--mount=type=cache,id=other,target=/other,sharing=locked";
    // Nothing is in the cache, so that everybody who has it fills it.
    let text = format!(
        "FROM {IMAGE} AS seed\nRUN mkdir /seed\n\
         FROM {IMAGE} AS holds\nRUN {cache},sharing=locked sleep 1000\n\
         FROM {IMAGE} AS waits\nRUN {cache} {other} true\n\
         FROM {IMAGE} AS free\nRUN {other} true\n\
         FROM {IMAGE} AS bound\nRUN {cache},sharing=locked --mount=source=file,target=/file cat /file\n"
    );
    let context = context(&world, "context", &[("Dockerfile", &text), ("file", "first")]);
    build(&world, &["--target", "seed"], &context).ok();
    let start = |stage: &str| command(&world, &["--target", stage], &context).start();
    let (mut holds, _said) = start("holds");
    eventually("the first has the cache", || {
        world.nman(["ps", "--no-trunc"]).ok().stdout().contains("sleep 1000")
    });
    let (mut waits, said) = start("waits");
    eventually("the second waits for it", || waits_for_a_lock(&waits));
    build(&world, &["--target", "free"], &context).ok();
    kill_process(Pid::from_child(&waits), Signal::TERM).unwrap();
    eventually("it has ended", || waits.try_wait().unwrap().is_some());
    assert_eq!(waits.wait().unwrap().signal(), Some(15), "{}", said.stderr());
    let (mut bound, said) = start("bound");
    eventually("the third waits for it", || waits_for_a_lock(&bound));
    fs::write(world.path("context/file"), "other").unwrap();
    kill_process(Pid::from_child(&holds), Signal::INT).unwrap();
    assert_eq!(holds.wait().unwrap().code(), Some(1));
    assert_eq!(bound.wait().unwrap().code(), Some(1));
    let refused = said.stderr();
    assert!(refused.contains("the build context has changed while it was copied"), "{refused}");
    eventually("no container is left", || world.has_no_container());
    assert_nothing_left(&world);
}

#[test]
fn privileges_are_given_only_where_they_are_allowed() {
    let world = World::new();
    let text = dockerfile(
        "RUN --security=insecure grep CapEff /proc/self/status > /with\nRUN grep CapEff /proc/self/status > /without\n",
    );
    let context = context(&world, "context", &[("Dockerfile", &text)]);
    let refused = build(&world, &[], &context).exits(1).stderr();
    assert!(refused.contains("security.insecure is not allowed"), "{refused}");
    assert!(refused.contains("hint: `--allow security.insecure` allows it"), "{refused}");
    build(&world, &["-t", "allowed", "--allow", "security.insecure,network.host"], &context).ok();
    let said = shell(&world, "allowed", "cat /with /without");
    let capabilities: Vec<u64> = said
        .lines()
        .map(|line| u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap())
        .collect();
    let sys_admin = 1 << 21;
    assert_eq!([capabilities[0] & sys_admin, capabilities[1] & sys_admin], [sys_admin, 0]);
    // Nor is the host's network, unless the command line has it for all steps.
    fs::write(world.path("context/Dockerfile"), dockerfile("RUN --network=host true\n")).unwrap();
    let refused = build(&world, &["--allow", "security.insecure"], &context).exits(1).stderr();
    assert!(refused.contains("network.host is not allowed"), "{refused}");
    assert!(refused.contains("hint: `--allow network.host` allows it"), "{refused}");
    build(&world, &["--allow", "network.host"], &context).ok();
    world.nman(["build", "--no-cache", "--network", "host", &context]).ok();
    assert_nothing_left(&world);
}
