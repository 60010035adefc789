//! `nman build`: Dockerfiles of daily life, what is kept of their steps, and what a build leaves behind.

use super::world::{IMAGE, World, entries, eventually};
use bundle::digest::Digest;
use nconform::fixture::{Capture, Output};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

/// A context in the test's directory: files with their contents.
pub(crate) fn context(world: &World, name: &str, files: &[(&str, &str)]) -> String {
    let root = world.path(name);
    for (path, content) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    root.display().to_string()
}

pub(crate) fn dockerfile(steps: &str) -> String {
    format!("FROM {IMAGE}\n{steps}")
}

/// `nman build` without a network, not run yet.
pub(crate) fn command(world: &World, options: &[&str], context: &str) -> Capture {
    let args = ["build", "--network", "none"].iter().chain(options);
    world.command(args.copied().chain([context]))
}

#[track_caller]
pub(crate) fn build(world: &World, options: &[&str], context: &str) -> Output {
    command(world, options, context).run()
}

/// What a shell says in a container of an image.
#[track_caller]
pub(crate) fn shell(world: &World, image: &str, script: &str) -> String {
    world.nman(["run", "--rm", "--network", "none", image, "sh", "-c", script]).ok().stdout()
}

#[track_caller]
pub(crate) fn config(world: &World, image: &str) -> serde_json::Value {
    world.nman(["image", "inspect", "-f", "{{json .Config}}", image]).ok().json()
}

/// Nothing is left but images: no container, no mount, no session.
#[track_caller]
pub(crate) fn assert_nothing_left(world: &World) {
    assert_eq!(entries(&world.root().join("staging")), Vec::<std::path::PathBuf>::new());
    world.nman(["system", "check"]).ok();
    world.assert_no_container();
}

#[test]
fn a_build_of_several_stages_can_be_run_saved_and_loaded() {
    let world = World::new();
    let text = format!(
        "ARG BASE={IMAGE}\nFROM $BASE AS tools\nRUN mkdir /out && echo made > /out/file && chown 5:6 /out/file\n\
         FROM {IMAGE} AS unused\nRUN false\n\
         FROM tools AS more\nRUN echo more >> /out/file\n\
         FROM {IMAGE}\nCOPY --from=more /out/ /app/\nCOPY --from={IMAGE} /etc/text /app/text\n\
         ENV GREETING=hello\nCMD [\"sh\", \"-c\", \"echo $GREETING; cat /app/file\"]\n"
    );
    let context = context(&world, "context", &[("Dockerfile", &text)]);
    let built = build(&world, &["-t", "app", "-t", "app:two", "--label", "by=test"], &context).ok();
    let said = built.stderr();
    assert!(said.contains("Step 1/9 : FROM $BASE AS tools\n"), "{said}");
    assert!(
        said.contains("Successfully tagged app:latest\nSuccessfully tagged app:two\n"),
        "{said}"
    );
    assert_eq!(built.stdout(), "");
    let run = || world.nman(["run", "--rm", "--network", "none", "app"]).ok().stdout();
    assert_eq!(run(), "hello\nmade\nmore\n");
    // Files from a stage keep their owners.
    assert_eq!(
        shell(&world, "app", "stat -c %u:%g /app/file; cat /app/text"),
        "5:6\nnot a program\n"
    );
    let labels = config(&world, "app:two")["Labels"].clone();
    assert_eq!(labels, serde_json::json!({"of": "image", "by": "test"}));
    let history = world.nman(["history", "--no-trunc", "--format", "{{.CreatedBy}}", "app"]).ok();
    let history = history.stdout();
    for step in ["ENV GREETING=hello", "COPY --from=more /out/ /app/", "CMD ["] {
        assert!(history.contains(step), "{history}");
    }
    let archive = world.path("saved.tar").display().to_string();
    world.nman(["save", "-o", &archive, "app"]).ok();
    world.nman(["rmi", "-f", "app", "app:two"]).ok();
    world.nman(["load", "-i", &archive]).ok();
    assert_eq!(run(), "hello\nmade\nmore\n");
    assert_nothing_left(&world);
}

#[test]
fn copies_go_where_they_are_to_and_belong_to_whom_they_are_to() {
    let world = World::new();
    let steps = "WORKDIR /work/here\n\
         COPY a.txt renamed\nCOPY *.txt into/\nCOPY dir new\nCOPY dir /etc\nCOPY a.txt .\n\
         COPY --chown=mail:video --chmod=0640 a.txt /owned/\nCOPY --chown=7 dir /seven\n\
         COPY <<EOF <<'RAW' /inline/\n$FROM_IMAGE\nEOF\n$FROM_IMAGE\nRAW\n\
         ADD files.tar.gz /unpacked\nADD plain.gz /plain.gz\nCOPY files.tar.gz /packed\nCOPY link /followed\nUSER mail\n";
    let text = dockerfile(steps);
    let files = [
        ("Dockerfile", text.as_str()),
        ("a.txt", "a"),
        ("b.txt", "b"),
        ("dir/x", "x"),
        ("dir/sub/y", "y"),
        ("archive/inner", "inner"),
        ("plain.gz", "not compressed"),
    ];
    let context = context(&world, "context", &files);
    let at = |name: &str| world.path(&format!("context/{name}"));
    fs::set_permissions(at("dir/x"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::set_permissions(at("dir"), fs::Permissions::from_mode(0o711)).unwrap();
    symlink("y", at("dir/sub/link")).unwrap();
    symlink("dir/x", at("link")).unwrap();
    rustix::fs::chown(at("a.txt"), Some(rustix::fs::Uid::from_raw(99)), None).unwrap();
    let archive = at("files.tar.gz").display().to_string();
    Capture::of("tar")
        .args(["-C", &at("archive").display().to_string(), "-czf", &archive, "inner"])
        .run()
        .ok();
    build(&world, &["-t", "copied"], &context).ok();
    let look = "cd /work/here; cat renamed a.txt into/a.txt into/b.txt new/sub/y /etc/x; echo; \
        stat -c '%n %u:%g %a' renamed new new/x /etc /owned /owned/a.txt /seven /seven/sub; \
        readlink new/sub/link; cat /inline/EOF /inline/RAW /unpacked/inner /plain.gz; echo; \
        [ -f /packed ] && [ ! -L /followed ] && cat /followed";
    let expected = "aaabyx\n\
        renamed 0:0 644\nnew 0:0 711\nnew/x 0:0 4755\n/etc 0:0 755\n/owned 8:27 755\n\
        /owned/a.txt 8:27 640\n/seven 7:7 711\n/seven/sub 7:7 755\n\
        y\nyes\n$FROM_IMAGE\ninnernot compressed\nx";
    assert_eq!(shell(&world, "copied", look), expected);
    assert_eq!(shell(&world, "copied", "pwd; id -u"), "/work/here\n8\n");
    assert_nothing_left(&world);
}

#[test]
fn arguments_and_variables_reach_commands_and_the_image_as_they_should() {
    let world = World::new();
    let text = format!(
        "ARG GLOBAL=g\nFROM {IMAGE}\nRUN test -z \"$GLOBAL\"\nARG GLOBAL\nARG A=default\nARG B=$A-b\n\
         ENV E=${{A:-none}} F=${{NOPE:-none}}\nRUN echo $GLOBAL $A $B $E $F $http_proxy > /said\n\
         ENV A=image\nSHELL [\"/bin/sh\", \"-ec\"]\nRUN echo $A >> /said; false || true\nEXPOSE 80\nVOLUME /data\n\
         RUN mkdir /data && echo kept > /data/file\nSTOPSIGNAL SIGINT\nHEALTHCHECK NONE\nENTRYPOINT [\"cat\"]\nCMD [\"/said\"]\n"
    );
    let context = context(&world, "context", &[("Containerfile", &text)]);
    let options = [
        "-t",
        "args",
        "--build-arg",
        "A=given",
        "--build-arg",
        "http_proxy=p",
        "--build-arg",
        "X=1",
    ];
    let said = build(&world, &options, &context).ok().stderr();
    assert!(said.contains("WARNING: One or more build-args [X] were not consumed\n"), "{said}");
    let out = world.nman(["run", "--rm", "--network", "none", "args"]).ok().stdout();
    assert_eq!(out, "g given given-b given none p\nimage\n");
    let config = config(&world, "args");
    assert_eq!(
        config["Env"],
        serde_json::json!(["PATH=/bin", "FROM_IMAGE=yes", "E=given", "F=none", "A=image"])
    );
    assert_eq!(config["StopSignal"], "SIGINT");
    // What was written to a volume by a step is the image's.
    let data = ["run", "--rm", "--network", "none", "--entrypoint", "cat", "args", "/data/file"];
    assert_eq!(world.nman(data).ok().stdout(), "kept\n");
    assert_nothing_left(&world);
}

#[test]
fn a_step_is_taken_from_an_earlier_build_until_what_it_depends_on_changes() {
    let world = World::new();
    let text = dockerfile(
        "ARG V=1\nWORKDIR /w\nCOPY file .\nRUN cat /proc/sys/kernel/random/uuid > id; echo $V\nLABEL a=b\n",
    );
    let context =
        context(&world, "context", &[("Dockerfile", &text), ("file", "1"), ("other", "1")]);
    let cached = |options: &[&str]| {
        let options: Vec<&str> = ["-t", "kept"].iter().chain(options).copied().collect();
        build(&world, &options, &context).ok().stderr().matches(" ---> Using cache\n").count()
    };
    let id = || world.nman(["image", "inspect", "-f", "{{.Id}}", "kept"]).ok().text();
    assert_eq!(cached(&[]), 0);
    let first = id();
    assert_eq!((cached(&[]), id()), (3, first.clone()));
    // What is not copied counts for nothing, and neither does a time.
    fs::write(world.path("context/other"), "2").unwrap();
    fs::write(world.path("context/file"), "1").unwrap();
    assert_eq!((cached(&[]), id()), (3, first.clone()));
    assert_eq!(cached(&["--build-arg", "V=2"]), 2);
    fs::write(world.path("context/file"), "2").unwrap();
    assert_eq!(cached(&[]), 1);
    assert_eq!(cached(&["--no-cache"]), 0);
    assert_ne!(id(), first);
    // What steps have made is not listed, and goes with `image prune` but for what the image stands on.
    let listed = world.nman(["images", "-q", "--no-trunc", "-f", "reference=kept"]).ok().text();
    assert_eq!(listed, id());
    world.nman(["image", "prune", "-f"]).ok();
    assert_eq!(cached(&[]), 3);
    world.nman(["rmi", "kept"]).ok();
    assert_eq!(cached(&[]), 0);
    assert_nothing_left(&world);
}

#[test]
fn what_builds_have_kept_is_removed_by_itself() {
    let world = World::new();
    let text = format!(
        "FROM {IMAGE} AS one\nRUN --mount=type=cache,id=c,target=/c echo x >> /c/x && wc -l < /c/x > /made\n\
         FROM {IMAGE}\nRUN echo two > /two\nCOPY --from=one /made /made\n"
    );
    let context = context(&world, "context", &[("Dockerfile", &text)]);
    let cached =
        || build(&world, &["-t", "kept"], &context).ok().stderr().matches("Using cache").count();
    let prune = |options: &[&str]| {
        world.nman([&["builder", "prune", "-f"], options].concat()).ok().stdout()
    };
    let nothing = "Total reclaimed space: 0B\n";
    let caches = || world.nman(["volume", "ls", "-q", "-f", "label=dev.nman.build.cache"]).ok();
    assert_eq!((cached(), cached()), (0, 3));
    // What no image stands on, if it is old enough.
    assert_eq!(prune(&["--filter", "until=24h"]), nothing);
    assert_eq!(cached(), 3);
    let said = prune(&[]);
    assert!(said.starts_with("Deleted build cache objects:\nsha256:"), "{said}");
    assert!(!said.ends_with(nothing), "{said}");
    assert_eq!(caches().text().lines().count(), 1);
    // Made again with the cache, it is another file: that of its second time.
    assert_eq!(cached(), 1);
    let made = || shell(&world, "kept", "cat /made");
    assert_eq!(made().trim(), "2");
    // Everything goes, also what the image stands on, which stays itself.
    let said = prune(&["--all"]);
    assert!(said.contains("\nbuild-cache-"), "{said}");
    assert_eq!(caches().text(), "");
    assert_eq!(made().trim(), "2");
    world.nman(["system", "check"]).ok();
    assert_eq!((cached(), made().trim()), (0, "1"));
    assert_eq!(prune(&["--filter", "until=24h", "-a"]), nothing);
    // A build that is under way may need any of it.
    let lock = fs::File::open(world.root().join("build.lock")).unwrap();
    lock.lock_shared().unwrap();
    let held = world.nman(["buildx", "prune", "-af"]).ok();
    assert_eq!(held.stdout(), nothing);
    assert!(held.stderr().contains("a build is under way"), "{}", held.stderr());
    world.nman(["volume", "create", "unused"]).ok();
    let held = world.nman(["volume", "prune", "-af"]).ok();
    assert!(held.stdout().starts_with("Deleted Volumes:\nunused\n\nTotal"), "{}", held.stdout());
    assert!(held.stderr().contains("a build is under way"), "{}", held.stderr());
    assert_eq!(caches().text().lines().count(), 1);
    drop(lock);
    assert_eq!(cached(), 3);
    let said = world.nman(["volume", "prune", "-af"]).ok();
    assert!(said.stdout().starts_with("Deleted Volumes:\nbuild-cache-"), "{}", said.stdout());
    assert_eq!((caches().text(), said.stderr()), (String::new(), String::new()));
    let refused = world.nman(["builder", "prune", "-f", "--filter", "name=x"]).exits(1).stderr();
    assert!(refused.contains("invalid filter 'name'"), "{refused}");
    world.nman(["rmi", "kept"]).ok();
    prune(&["-a"]);
    assert_nothing_left(&world);
}

#[test]
fn a_stage_that_no_image_stands_on_is_kept_until_it_is_pruned() {
    let world = World::new();
    let text = format!(
        "FROM {IMAGE} AS one\nRUN echo made > /made\nFROM scratch\nCOPY --from=one /made /made\n"
    );
    let context = context(&world, "context", &[("Dockerfile", &text)]);
    let cached =
        || build(&world, &["-t", "kept"], &context).ok().stderr().matches("Using cache").count();
    assert_eq!((cached(), cached()), (0, 2));
    let freed = world.nman(["image", "prune", "-f"]).ok().stdout();
    assert!(!freed.contains("reclaimed space: 0B"), "{freed}");
    world.nman(["system", "check"]).ok();
    // The same again has the same content, which is all that the second stage depends on.
    assert_eq!(cached(), 1);
    assert_nothing_left(&world);
}

#[test]
fn a_step_that_fails_says_which_and_leaves_nothing() {
    let world = World::new();
    let text = dockerfile("RUN echo fine\n\nRUN echo loud; \\\n  exit 7\n");
    let context =
        context(&world, "context", &[("Dockerfile", &text), ("wrong", "FROM x\nRUM make\n")]);
    std::fs::write(world.path("context/list"), dockerfile("RUN [\"echo\", it]\n")).unwrap();
    let list = world.path("context/list").display().to_string();
    let failed = build(&world, &["-f", &list], &context).exits(1).stderr();
    assert!(failed.contains("code: 127\n\nhint: a shell has read the list, as it is"), "{failed}");
    let failed = build(&world, &["-t", "never"], &context).exits(1).stderr();
    assert!(failed.contains("loud\n"), "{failed}");
    let expected = "Dockerfile:4: RUN echo loud;   exit 7: The command '/bin/sh -c echo loud;   exit 7' returned a non-zero code: 7\n";
    assert!(failed.contains(expected), "{failed}");
    // Quiet, it says what the command has said all the same.
    let quiet =
        build(&world, &["-q", "--iidfile", world.path("id").to_str().unwrap()], &context).exits(1);
    assert!(
        quiet.stderr().starts_with("loud\n") && quiet.stdout().is_empty(),
        "{}",
        quiet.stderr()
    );
    assert!(!world.path("id").exists());
    world.nman(["image", "inspect", "never"]).exits(1);
    let file = world.path("context/wrong").display().to_string();
    let wrong = build(&world, &["-f", &file], &context).exits(1).stderr();
    assert!(
        wrong.contains("wrong:2: unknown instruction: RUM\n\nhint: did you mean `RUN`?"),
        "{wrong}"
    );
    // What cannot be right is told before the first step.
    fs::write(&file, dockerfile("RUN true\nRUN --mount=type=gpu,target=/x true")).unwrap();
    let refused = build(&world, &["-f", &file], &context).exits(1).stderr();
    let expected =
        "wrong:3: RUN --mount=type=gpu,target=/x true: RUN --mount=type=gpu is not supported\n";
    assert!(refused.starts_with("nman: ") && refused.ends_with(expected), "{refused}");
    fs::write(&file, dockerfile("RUN [\"/nope\"]")).unwrap();
    build(&world, &["-f", &file], &context).exits(1);
    fs::write(&file, dockerfile("COPY nope /x")).unwrap();
    let missing = build(&world, &["-f", &file], &context).exits(1).stderr();
    assert!(missing.contains("\"nope\" was not found in the build context"), "{missing}");
    assert_nothing_left(&world);
}

#[test]
fn what_is_ignored_is_not_there_and_links_lead_to_nothing_outside() {
    let world = World::new();
    let steps = "COPY . /all\nRUN mkdir /target && ln -s /../../../../outside /escape && ln -s /target /inside\n\
         COPY --chmod=0600 kept.txt /escape/file\nCOPY dir /inside\n";
    let text = dockerfile(steps);
    let files = [
        ("Dockerfile", text.as_str()),
        (".dockerignore", "# all but\n*.txt\n!kept.txt\n.dockerignore\nDockerfile\n"),
        ("kept.txt", "kept"),
        ("left.txt", "left"),
        ("dir/deep.txt", "deep"),
        ("dir/other", "other"),
    ];
    let context = context(&world, "context", &files);
    let outside = world.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "secret").unwrap();
    let at = |name: &str| world.path(&format!("context/{name}"));
    symlink(outside.join("secret"), at("absolute")).unwrap();
    symlink("../outside", at("up")).unwrap();
    build(&world, &["-t", "contained"], &context).ok();
    let look = "cd /all; find . | sort; readlink up; cat /outside/file; ls /target";
    let expected = "./absolute\n./dir\n./dir/deep.txt\n./dir/other\n./kept.txt\n./up\n../outside\nkeptdeep.txt\nother\n";
    let expected = format!(".\n{expected}");
    assert_eq!(shell(&world, "contained", look), expected);
    assert_eq!(entries(&outside).len(), 1, "nothing was written outside");
    for step in
        ["COPY absolute /x", "COPY up/secret /x", "COPY ../outside/secret /x", "COPY left.txt /x"]
    {
        fs::write(at("Dockerfile"), dockerfile(step)).unwrap();
        let refused = build(&world, &[], &context).exits(1).stderr();
        assert!(refused.contains("was not found in the build context"), "{step}: {refused}");
    }
    assert_nothing_left(&world);
}

#[test]
fn what_a_command_has_mounted_is_no_part_of_the_image_and_caches_stay() {
    let world = World::new();
    let text = format!(
        "FROM {IMAGE} AS tools\nRUN mkdir /tools && echo tool > /tools/tool && ln -s /tools/tool /link\n\
         FROM {IMAGE}\nARG N=1\n\
         RUN --mount=target=/ctx,rw --mount=type=bind,from=tools,source=/tools,target=/t --mount=from=tools,source=link,target=/l \\\n\
         --mount=type=tmpfs,target=/tmp/mem,size=1m --mount=type=secret,id=key --mount=type=secret,id=none,target=/none \\\n\
         --mount=type=cache,target=/cache,sharing=locked,uid=5,mode=0700 \\\n\
         cat /ctx/file /t/tool /l /run/secrets/key > /said && ls /ctx >> /said && test ! -e /none && echo $N >> /cache/runs && \\\n\
         cat /cache/runs >> /said && stat -c '%u %a' /cache >> /said && echo lost > /ctx/lost && ! touch /t/x 2>/dev/null && grep -q tmpfs /proc/mounts\n"
    );
    let files = [
        ("Dockerfile", text.as_str()),
        ("file", "file\n"),
        (".dockerignore", "left\n"),
        ("left", ""),
    ];
    let context = context(&world, "context", &files);
    let secret = world.path("secret");
    fs::write(&secret, "hidden\n").unwrap();
    let secret = format!("id=key,src={}", secret.display());
    let build = |options: &[&str]| {
        let own = ["-t", "mounted", "--secret", secret.as_str()];
        build(&world, &[&own, options].concat(), &context)
    };
    build(&[]).ok();
    let said = "file\ntool\ntool\nhidden\nDockerfile\nfile\n1\n5 700\n";
    assert_eq!(
        shell(&world, "mounted", "cat /said; ls -A /cache /t /ctx /run/secrets 2>/dev/null; true"),
        said
    );
    assert!(!world.path("context/lost").exists());
    // Nothing has changed, or only what is no part of it; then the cache is as it was left.
    assert_eq!(build(&[]).ok().stderr().matches("Using cache").count(), 2);
    build(&["--build-arg", "N=2"]).ok();
    assert_eq!(shell(&world, "mounted", "sed -n '7,8p' /said"), "1\n2\n");
    fs::write(world.path("context/file"), "other\n").unwrap();
    assert_eq!(build(&[]).ok().stderr().matches("Using cache").count(), 1);
    let caches =
        world.nman(["volume", "ls", "-q", "--filter", "label=dev.nman.build.cache=/cache"]).ok();
    assert_eq!(caches.stdout().lines().count(), 1);
    let without = text.replace("id=none", "id=none,required");
    fs::write(world.path("context/Dockerfile"), without).unwrap();
    let missing = build(&["--no-cache"]).exits(1).stderr();
    assert!(missing.contains("secret none: not found"), "{missing}");
    assert_nothing_left(&world);
}

#[test]
fn triggers_of_a_base_image_are_carried_out_once() {
    let world = World::new();
    let text = dockerfile("ONBUILD COPY file /file\nONBUILD RUN echo more >> /file\n");
    let base = context(&world, "base", &[("Dockerfile", &text)]);
    build(&world, &["-t", "base"], &base).ok();
    let context = context(
        &world,
        "context",
        &[("Dockerfile", "FROM base\nRUN echo last >> /file\n"), ("file", "first\n")],
    );
    let said = build(&world, &["-t", "built"], &context).ok().stderr();
    assert!(said.contains("# Executing 2 build triggers\nStep 2/4 : COPY file /file\n"), "{said}");
    assert_eq!(shell(&world, "built", "cat /file"), "first\nmore\nlast\n");
    assert!(config(&world, "built")["OnBuild"].is_null());
    assert_nothing_left(&world);
}

#[test]
fn triggers_take_files_from_stages_that_nothing_else_names() {
    let world = World::new();
    let text = dockerfile(
        "ONBUILD COPY --from=builder /made /copied\nONBUILD RUN --mount=From=nowhere,from=BUILDER,target=/b cp /b/made /run-copied\n",
    );
    let base = context(&world, "base", &[("Dockerfile", &text)]);
    build(&world, &["-t", "base"], &base).ok();
    let text = format!(
        "FROM {IMAGE} AS seed\nRUN echo made > /made\nFROM {IMAGE} AS unused\nRUN false\n\
         FROM seed AS builder\nRUN echo more >> /made\nFROM base\nRUN cat /copied /run-copied > /all\n"
    );
    let context = context(&world, "context", &[("Dockerfile", &text)]);
    let said = build(&world, &["-t", "built"], &context).ok().stderr();
    assert!(said.contains("Step 1/2 : FROM base\n"), "{said}");
    assert!(said.contains("# Executing 2 build triggers\nStep 6/8 : COPY"), "{said}");
    assert_eq!(shell(&world, "built", "cat /all"), "made\nmore\nmade\nmore\n");
    assert_nothing_left(&world);
}

#[test]
fn a_dockerfile_and_a_context_come_from_stdin_too() {
    let world = World::new();
    let args = ["build", "-q", "--network", "none", "-t", "piped", "-"];
    let built =
        world.command(args).stdin(dockerfile("RUN <<EOF\necho one\necho two > /two\nEOF\n")).run();
    let id = built.ok().text();
    assert_eq!(world.nman(["image", "inspect", "-f", "{{.Id}}", "piped"]).ok().text(), id);
    assert_eq!(shell(&world, "piped", "cat /two"), "two\n");
    let text = dockerfile("COPY dir/file /file\n");
    let root = context(&world, "context", &[("sub/Dockerfile", &text), ("dir/file", "content")]);
    let archive = world.path("context.tar.gz").display().to_string();
    Capture::of("tar").args(["-C", &root, "-czf", &archive, "."]).run().ok();
    let args = ["build", "--network", "none", "-t", "packed", "-f", "sub/Dockerfile", "-"];
    world.command(args).stdin(fs::read(archive).unwrap()).run().ok();
    assert_eq!(shell(&world, "packed", "cat /file"), "content");
    assert_nothing_left(&world);
}

#[test]
fn a_build_that_is_killed_leaves_nothing_that_runs_and_what_it_has_made() {
    let world = World::new();
    let text = dockerfile("RUN echo first > /first\nRUN echo begun; sleep 1000\n");
    let context = context(&world, "context", &[("Dockerfile", &text)]);
    let holds = || {
        let index = fs::read_to_string(world.root().join("images/index.json")).unwrap();
        index.contains(Digest::of(b"held by builds").as_str())
    };
    for (options, signal) in
        [(&["--network", "none"][..], Signal::KILL), (&["--network", "bridge"], Signal::INT)]
    {
        let args = ["build", "-t", "killed"].iter().chain(options);
        let (mut running, said) = world.command(args.copied().chain([context.as_str()])).start();
        eventually("the second step runs", || {
            world.nman(["ps", "--no-trunc"]).ok().stdout().contains("sleep 1000")
        });
        kill_process(Pid::from_child(&running), signal).unwrap();
        let status = running.wait().unwrap();
        if signal == Signal::INT {
            // It has cleared up itself.
            assert_eq!(status.code(), Some(1), "{}", said.stderr());
            assert!(said.stderr().contains("sleep 1000: interrupted\n"), "{}", said.stderr());
            assert!(entries(&world.root().join("staging")).is_empty());
        }
        // What one holds that was killed the next one lets go of.
        assert_eq!(holds(), signal == Signal::KILL);
        eventually("its container is gone", || world.has_no_container());
    }
    // What was whole is taken by the next build, which clears up as well.
    fs::write(world.path("context/Dockerfile"), dockerfile("RUN echo first > /first\n")).unwrap();
    let said = build(&world, &["-t", "after"], &context).ok().stderr();
    assert!(said.contains(" ---> Using cache\n"), "{said}");
    assert_nothing_left(&world);
}

#[test]
fn two_builds_at_once_come_to_what_each_would_alone() {
    let world = World::new();
    let text =
        dockerfile("RUN echo same > /same; sleep 0.3\nCOPY file /file\nRUN cat /file /same\n");
    let one = context(&world, "one", &[("Dockerfile", &text), ("file", "one\n")]);
    let two = context(&world, "two", &[("Dockerfile", &text), ("file", "two\n")]);
    std::thread::scope(|scope| {
        let builds = [("one", &one), ("two", &two), ("three", &one)];
        let commands = builds.map(|(name, context)| command(&world, &["-t", name], context));
        let threads = commands.map(|command| scope.spawn(move || command.run().ok()));
        // Neither of them is disturbed by somebody who tidies up.
        world.nman(["image", "prune", "-f"]).ok();
        world.nman(["container", "prune", "-f"]).ok();
        threads.into_iter().for_each(|thread| drop(thread.join().unwrap()));
    });
    for (name, said) in [("one", "one\nsame\n"), ("two", "two\nsame\n"), ("three", "one\nsame\n")] {
        assert_eq!(shell(&world, name, "cat /file /same"), said);
    }
    assert_nothing_left(&world);
}

#[test]
fn arguments_are_inherited_and_what_a_command_reaches_counts() {
    let world = World::new();
    let text = format!(
        "FROM {IMAGE} AS base\nARG SETTING=one\nFROM base\nRUN echo \"s=$SETTING\" > /s\n\
         ARG HTTP_PROXY\nRUN echo \"p=$HTTP_PROXY\" > /p\n"
    );
    let context = context(&world, "context", &[("Dockerfile", &text)]);
    let cached = |proxy: &str, host: &str| {
        let proxy = format!("HTTP_PROXY={proxy}");
        let options = ["-t", "reached", "--build-arg", &proxy, "--add-host", host];
        build(&world, &options, &context).ok().stderr().matches("Using cache").count()
    };
    assert_eq!(cached("http://one", "foo:1.2.3.4"), 0);
    assert_eq!(shell(&world, "reached", "cat /s /p"), "s=one\np=http://one\n");
    assert_eq!(cached("http://one", "foo:1.2.3.4"), 2);
    assert_eq!(cached("http://two", "foo:1.2.3.4"), 1);
    assert_eq!(cached("http://two", "foo:5.6.7.8"), 0);
    assert_eq!(shell(&world, "reached", "cat /p"), "p=http://two\n");
    assert_nothing_left(&world);
}
