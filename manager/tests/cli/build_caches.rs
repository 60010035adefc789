//! `nman build --cache-to` and `--cache-from`: what one machine has built, another takes.

use super::build::{build, context};
use super::world::{IMAGE, World, entries};
use nconform::fixture::{Capture, Output, Registry};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;

/// A command that leaves a trace in a volume, and makes something else each time.
const TRACED: &str = "RUN --mount=type=cache,target=/trace cat /proc/sys/kernel/random/uuid | tee /trace/run > /id\n";

/// Another machine: a store of its own, with the base image.
struct Fresh<'a> {
    world: &'a World,
    root: PathBuf,
}

impl<'a> Fresh<'a> {
    fn new(world: &'a World, name: &str) -> Self {
        let fresh = Self { world, root: world.path(name) };
        fresh.nman(&["load", "-i", &world.path("image.tar").display().to_string()]).ok();
        fresh
    }

    fn command(&self, args: &[&str]) -> Capture {
        self.world.command(args).env("NMAN_ROOT", &self.root)
    }

    #[track_caller]
    fn nman(&self, args: &[&str]) -> Output {
        self.command(args).run()
    }

    /// Builds; what is said of it, and how many of its steps came from where `cache` says.
    #[track_caller]
    fn build(&self, options: &[&str], context: &str, cache: &str) -> (String, usize) {
        let args = [&["build", "--network", "none"], options, &[context]].concat();
        let said = self.nman(&args).ok().stderr();
        let count = said.matches(&format!(" ---> Using cache {cache}\n")).count();
        (said, count)
    }

    /// Whether a command has run, whose trace is the volume that it had.
    fn has_run(&self) -> bool {
        !entries(&self.root.join("volumes")).iter().filter(|path| path.is_dir()).count().eq(&0)
    }

    fn id(&self, image: &str) -> String {
        self.nman(&["image", "inspect", "-f", "{{.Id}}", image]).ok().stdout()
    }

    #[track_caller]
    fn assert_whole(&self) {
        self.nman(&["system", "check"]).ok();
        assert_eq!(entries(&self.root.join("staging")), Vec::<PathBuf>::new());
    }
}

/// A context of two stages with six steps: two of them only to copy from.
fn two_stages(world: &World) -> String {
    let text = format!(
        "FROM {IMAGE} AS tools\nWORKDIR /tools\n{TRACED}\
         FROM {IMAGE}\nENV V=1\nCOPY file /file\nWORKDIR /work\nRUN echo $V > /v\nCOPY --from=tools /id /id\nLABEL a=b\n"
    );
    context(world, "context", &[("Dockerfile", &text), ("file", "content")])
}

fn id(world: &World, image: &str) -> String {
    world.nman(["image", "inspect", "-f", "{{.Id}}", image]).ok().stdout()
}

#[test]
fn another_machine_takes_all_steps_from_a_layout_and_runs_nothing() {
    let world = World::new();
    let root = two_stages(&world);
    let cache = world.path("cache").display().to_string();
    let (to, from) =
        (format!("type=local,dest={cache},mode=max"), format!("type=local,src={cache}"));
    let said = build(&world, &["-t", "app", "--cache-to", &to], &root).ok().stderr();
    assert!(said.contains(&format!("# Wrote the cache {cache}\n")), "{said}");

    let fresh = Fresh::new(&world, "fresh");
    let (said, taken) = fresh.build(&["-t", "app", "--cache-from", &from], &root, &cache);
    assert_eq!(taken, 6, "{said}");
    assert!(!fresh.has_run(), "{said}");
    assert_eq!(fresh.id("app"), id(&world, "app"));
    // They are its own now.
    let (said, taken) = fresh.build(&["-t", "app", "--cache-from", &from], &root, &cache);
    assert_eq!((taken, said.matches("Using cache\n").count()), (0, 6), "{said}");
    fresh.assert_whole();

    // As much as is the same: the other stage, and not what stands on the file.
    fs::write(world.path("context/file"), "other").unwrap();
    let changed = Fresh::new(&world, "changed");
    let (said, taken) = changed.build(&["-t", "app", "--cache-from", &from], &root, &cache);
    assert_eq!(taken, 2, "{said}");
    assert!(!changed.has_run(), "{said}");
    fs::write(world.path("context/file"), "content").unwrap();

    // By another name in the layout, and only what the result stands on: what is copied from is made again.
    let to = format!("type=local,dest={cache},tag=least");
    build(&world, &["-t", "app", "--cache-to", &to], &root).ok();
    let from = format!("type=local,src={cache},tag=least");
    let least = Fresh::new(&world, "least");
    let (said, taken) = least.build(&["-t", "app", "--cache-from", &from], &root, &cache);
    assert_eq!(taken, 3, "{said}");
    assert!(least.has_run(), "{said}");
    // And nothing where nothing is to be taken.
    let none = Fresh::new(&world, "none");
    let (said, taken) = none.build(&["--no-cache", "--cache-from", &from], &root, &cache);
    assert_eq!(taken, 0, "{said}");
    world.assert_no_container();
}

#[test]
fn a_cache_in_a_registry_is_one_among_several_and_others_can_copy_it() {
    let world = World::new();
    let registry = Registry::start();
    let root = two_stages(&world);
    let name = format!("{}/team/cache:1", registry.address());
    let to = format!("type=registry,ref={name},mode=max");
    build(&world, &["-t", "app", "--cache-to", &to], &root).ok();
    let copied = format!("oci:{}:x", world.path("copied").display());
    let copy = ["copy", "-q", "--all", "--insecure-policy", "--src-tls-verify=false"];
    Capture::of("skopeo").args(copy).args([&format!("docker://{name}"), &copied]).run().ok();

    // One that nobody answers for is told of, once.
    let missing = format!("type=registry,ref={}/none:1", registry.address());
    let dead = "type=registry,ref=127.0.0.1:1/dead:1";
    for from in [name.clone(), format!("type=registry,ref={name}")] {
        let fresh = Fresh::new(&world, &format!("fresh-{}", from.len()));
        let options =
            ["-t", "app", "--cache-from", dead, "--cache-from", &missing, "--cache-from", &from];
        let (said, taken) = fresh.build(&options, &root, &name);
        assert_eq!(taken, 6, "{said}");
        assert!(!fresh.has_run(), "{said}");
        assert_eq!(fresh.id("app"), id(&world, "app"));
        assert_eq!(said.matches("WARNING: nothing is taken from cache `").count(), 2, "{said}");
        fresh.assert_whole();
    }
    // A cache is no image.
    let refused = world.nman(["pull", &name]).exits(1).stderr();
    assert!(refused.contains("no image for linux/amd64"), "{refused}");

    let failed = build(&world, &["-t", "kept", "--cache-to", "127.0.0.1:1/dead"], &root).exits(1);
    assert!(failed.stderr().contains("cannot push `127.0.0.1:1/dead:latest`"), "{failed}");
    let to = "type=registry,ref=127.0.0.1:1/dead,ignore-error=true";
    let said = build(&world, &["-t", "kept", "--cache-to", to], &root).ok().stderr();
    assert!(said.contains("WARNING: the cache was not written: cannot push"), "{said}");
    drop(registry);
    world.assert_no_container();
}

#[test]
fn an_image_has_its_steps_with_it() {
    let world = World::new();
    let registry = Registry::start();
    let text =
        format!("FROM {IMAGE}\n{TRACED}ENV A=b\nRUN echo two > /two\nCMD [\"cat\", \"/id\"]\n");
    let root = context(&world, "context", &[("Dockerfile", &text)]);
    let name = format!("{}/team/app:1", registry.address());
    let inline = ["-t", &name, "--label", "l=m", "--cache-to", "type=inline"];
    build(&world, &inline, &root).ok();
    world.nman(["push", "-q", &name]).ok();
    let archive = world.path("app.tar").display().to_string();
    world.nman(["save", "-o", &archive, &name]).ok();

    let fresh = Fresh::new(&world, "fresh");
    let (said, taken) =
        fresh.build(&[&inline[..], &["--cache-from", &name]].concat(), &root, &name);
    assert_eq!(taken, 2, "{said}");
    assert!(!fresh.has_run(), "{said}");
    assert_eq!(fresh.id(&name), id(&world, &name));
    fresh.assert_whole();
    // What is built on it has none of them.
    let above = context(&world, "above", &[("Dockerfile", &format!("FROM {name}\nENV C=d\n"))]);
    build(&world, &["-t", "above"], &above).ok();
    world.nman(["save", "-o", &archive.replace("app", "above"), "above"]).ok();
    let has_steps = |path: &str| {
        let words = ["-aq", "dev.nman.build.steps", path];
        Capture::of("grep").args(words).run().code() == 0
    };
    assert!(has_steps(&archive) && !has_steps(&archive.replace("app", "above")));
    // As BuildKit is asked for it, too.
    let argument = ["-t", "above", "--build-arg", "BUILDKIT_INLINE_CACHE=1"];
    let said = build(&world, &argument, &above).ok().stderr();
    assert!(!said.contains("consumed"), "{said}");
    world.nman(["save", "-o", &archive.replace("app", "asked"), "above"]).ok();
    assert!(has_steps(&archive.replace("app", "asked")));

    // An image that is here will do, and no registry is asked for what it has.
    drop(registry);
    let loaded = Fresh::new(&world, "loaded");
    loaded.nman(&["load", "-i", &archive]).ok();
    let (said, taken) = loaded.build(&["-t", "app", "--cache-from", &name], &root, &name);
    assert_eq!(taken, 2, "{said}");
    assert!(!loaded.has_run() && !said.contains("WARNING"), "{said}");

    let squashed = ["--squash", "--cache-to", "type=inline"];
    let refused = build(&world, &squashed, &root).exits(1).stderr();
    assert!(refused.contains("--squash does not go with --cache-to type=inline"), "{refused}");
    world.assert_no_container();
}

#[test]
fn what_a_cache_says_is_checked_and_the_step_is_made_where_it_is_wrong() {
    let world = World::new();
    let text = format!("FROM {IMAGE}\n{TRACED}RUN echo two > /two\n");
    let root = context(&world, "context", &[("Dockerfile", &text)]);
    let cache = world.path("cache");
    let shown = cache.display().to_string();
    let to = format!("type=local,dest={shown}");
    let from = format!("type=local,src={shown}");
    build(&world, &["-t", "app", "--cache-to", &to], &root).ok();
    let blob = |digest: &str| cache.join("blobs/sha256").join(digest.trim_start_matches("sha256:"));
    let read =
        |path: PathBuf| -> Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
    let index = read(cache.join("index.json"));
    let list = read(blob(index["manifests"][0]["digest"].as_str().unwrap()));
    let manifest = |at: usize| read(blob(list["manifests"][at]["digest"].as_str().unwrap()));

    // A layer that is another one than its name says.
    let layers = manifest(0)["layers"].clone();
    let layer = blob(layers.as_array().unwrap().last().unwrap()["digest"].as_str().unwrap());
    let whole = fs::read(&layer).unwrap();
    let mut changed = whole.clone();
    *changed.last_mut().unwrap() ^= 1;
    fs::write(&layer, changed).unwrap();
    let fresh = Fresh::new(&world, "damaged");
    let (said, taken) = fresh.build(&["-t", "app", "--cache-from", &from], &root, &shown);
    let warning = format!("WARNING: nothing is taken from cache `{shown}`: ");
    assert_eq!((taken, said.matches(&warning).count()), (0, 1), "{said}");
    assert!(fresh.has_run(), "{said}");
    fresh.assert_whole();
    // As is one that an interrupted copy of the cache has cut off, until the build that has made the step again writes it.
    fs::write(&layer, "").unwrap();
    let both = ["-t", "app", "--cache-from", &from, "--cache-to", &to];
    let fresh = Fresh::new(&world, "cut");
    let (said, taken) = fresh.build(&both, &root, &shown);
    assert_eq!((taken, said.matches(&warning).count()), (0, 1), "{said}");
    build(&world, &["-t", "app", "--cache-to", &to], &root).ok();
    assert_eq!(fs::read(&layer).unwrap(), whole);
    let fresh = Fresh::new(&world, "mended");
    let (said, taken) = fresh.build(&["-t", "app", "--cache-from", &from], &root, &shown);
    assert_eq!(taken, 2, "{said}");

    // The second step under the key of the first does not stand on what that stands on.
    let mut swapped = list.clone();
    let keys = [0, 1].map(|at| list["manifests"][at]["annotations"].clone());
    swapped["manifests"][0]["annotations"] = keys[1].clone();
    swapped["manifests"][1]["annotations"] = keys[0].clone();
    let swapped = swapped.to_string();
    let digest = bundle::digest::Digest::of(swapped.as_bytes());
    fs::write(blob(digest.as_str()), &swapped).unwrap();
    let mut renamed = index.clone();
    renamed["manifests"][0]["digest"] = digest.as_str().into();
    renamed["manifests"][0]["size"] = swapped.len().into();
    fs::write(cache.join("index.json"), renamed.to_string()).unwrap();
    let fresh = Fresh::new(&world, "swapped");
    let (said, taken) = fresh.build(&["-t", "app", "--cache-from", &from], &root, &shown);
    assert_eq!(taken, 0, "{said}");
    assert!(said.contains("a step in it does not stand on what it should"), "{said}");
    assert!(fresh.has_run(), "{said}");

    world.assert_no_container();
}

#[test]
fn of_an_image_alone_commands_are_taken_that_its_history_tells_all_of() {
    let world = World::new();
    let steps = |variable: &str| {
        format!(
            "FROM {IMAGE}\nARG A=1\nENV V={variable}\nWORKDIR /work\nRUN cat /proc/sys/kernel/random/uuid > /id\n\
             COPY file /file\nRUN cat /proc/sys/kernel/random/uuid > /after\n"
        )
    };
    let root = context(&world, "context", &[("Dockerfile", &steps("1")), ("file", "content")]);
    let layout = world.path("plain").display().to_string();
    let output = format!("type=oci,dest={layout},tar=false");
    build(&world, &["-t", "app:latest", "-o", &output, "-o", "type=image"], &root).ok();
    let from = format!("type=local,src={layout}");
    let ids = |fresh: Option<&Fresh<'_>>| {
        ["/id", "/after"].map(|path| {
            let words = ["run", "--rm", "--network", "none", "app", "cat", path];
            let ran = match fresh {
                Some(fresh) => fresh.nman(&words),
                None => world.nman(words),
            };
            ran.ok().stdout()
        })
    };
    let own = ids(None);
    let fresh = Fresh::new(&world, "fresh");
    let options = ["-t", "app", "--cache-from", &from];
    let (said, taken) = fresh.build(&options, &root, &layout);
    // The file is the same, with its time, and so is its layer.
    assert_eq!(taken, 3, "{said}");
    assert_eq!(ids(Some(&fresh)), own);
    fs::write(world.path("context/file"), "other").unwrap();
    let changed = Fresh::new(&world, "changed");
    let (said, taken) = changed.build(&options, &root, &layout);
    assert_eq!(taken, 2, "{said}");
    let taken = ids(Some(&changed));
    assert!(taken[0] == own[0] && taken[1] != own[1], "{taken:?} {own:?}");
    fresh.assert_whole();
    // Another argument makes another command; and what a variable stood for is not guessed.
    let other = Fresh::new(&world, "other");
    let (said, taken) =
        other.build(&[&options[..], &["--build-arg", "A=2"]].concat(), &root, &layout);
    assert_eq!(taken, 1, "{said}");
    fs::write(world.path("context/Dockerfile"), steps("$A")).unwrap();
    build(&world, &["-t", "app:latest", "-o", &output], &root).ok();
    let (said, taken) = other.build(&options, &root, &layout);
    assert_eq!(taken, 0, "{said}");
    world.assert_no_container();
}

#[test]
fn of_an_image_alone_a_command_is_not_taken_for_one_that_had_more_or_other_words() {
    let world = World::new();
    let allowed = ["--allow", "security.insecure"];
    let (host, other) = (["--add-host", "foo:1.2.3.4"], ["--add-host", "foo:1.2.3.5"]);
    let hosts = "RUN cat /etc/hosts > /hosts";
    for (at, (built, had, asked, with, count)) in [
        ("RUN --security=insecure echo > /x", &allowed[..], "RUN echo > /x", &[][..], 0),
        (
            "RUN --mount=type=tmpfs,target=/t echo > /t/x; ls /t > /x",
            &[],
            "RUN echo > /t/x; ls /t > /x",
            &[],
            0,
        ),
        (hosts, &host, hosts, &[], 0),
        (hosts, &host, hosts, &other, 0),
        (hosts, &host, hosts, &host, 1),
        ("RUN [\"touch\", \"/a\", \"b\"]", &[], "RUN [\"touch\", \"/a b\"]", &[], 0),
        ("RUN [\"touch\", \"/a\", \"b\"]", &[], "RUN [\"touch\", \"/a\", \"b\"]", &[], 1),
        ("RUN [\"touch\", \"/a b\"]", &[], "RUN [\"touch\", \"/a\", \"b\"]", &[], 0),
        ("RUN [\"touch\", \"/a b\"]", &[], "RUN [\"touch\", \"/a b\"]", &[], 1),
    ]
    .into_iter()
    .enumerate()
    {
        // Where the directory of one is missing, the command fails by itself.
        let text = |step: &str| format!("FROM {IMAGE}\nENV A=b\nRUN mkdir -p /t\n{step}\n");
        let root = context(&world, "context", &[("Dockerfile", &text(built))]);
        let layout = world.path(&format!("plain-{at}")).display().to_string();
        let output = format!("type=oci,dest={layout},tar=false");
        build(&world, &[&["-t", "app:latest", "-o", &output], had].concat(), &root).ok();
        fs::write(world.path("context/Dockerfile"), text(asked)).unwrap();
        let fresh = Fresh::new(&world, &format!("fresh-{at}"));
        let from = format!("type=local,src={layout}");
        let options = [&["--cache-from", &from], with].concat();
        let (said, taken) = fresh.build(&options, &root, &layout);
        // The one before it has nothing of its own, save hosts.
        let before = usize::from(had == with || had == allowed);
        assert!(!said.contains("WARNING"), "{said}");
        assert_eq!(taken, before + count, "{built} {asked}: {said}");
    }
    world.assert_no_container();
}

#[test]
fn of_an_image_alone_nothing_is_taken_that_stood_on_another_configuration() {
    let world = World::new();
    world.nman(["create", "--name", "holder", "--network", "none", IMAGE, "true"]).ok();
    let files = world.path("files.tar").display().to_string();
    world.nman(["export", "-o", &files, "holder"]).ok();
    world.nman(["rm", "holder"]).ok();
    let fresh = Fresh::new(&world, "fresh");
    let base =
        context(&world, "base", &[("Dockerfile", &format!("FROM {IMAGE}\nARG V\nENV V=$V\n"))]);
    let built = |value: &str| {
        let argument = format!("V={value}");
        ["build", "--network", "none", "-t", "built", "--build-arg", &argument, &base]
            .map(str::to_owned)
    };
    let imported = |value: &str| {
        let change = format!("ENV V={value} PATH=/bin");
        ["import", "--change", &change, &files, "imported"].map(str::to_owned)
    };
    for (name, one, two) in [
        ("built", built("1").to_vec(), built("2").to_vec()),
        ("imported", imported("1").to_vec(), imported("2").to_vec()),
    ] {
        let text = format!("FROM {name}\nRUN echo $V > /v\n");
        let root = context(&world, name, &[("Dockerfile", &text)]);
        let layout = world.path(&format!("{name}-layout")).display().to_string();
        world.nman(one).ok();
        let output = format!("type=oci,dest={layout},tar=false");
        build(&world, &["-t", "app:latest", "-o", &output], &root).ok();
        fresh.nman(&two.iter().map(String::as_str).collect::<Vec<_>>()).ok();
        let from = format!("type=local,src={layout}");
        let (said, taken) = fresh.build(&["-t", "app", "--cache-from", &from], &root, &layout);
        assert!(taken == 0 && !said.contains("WARNING"), "{said}");
        let ran = fresh.nman(&["run", "--rm", "--network", "none", "app", "cat", "/v"]).ok();
        assert_eq!(ran.stdout(), "2\n");
    }
    fresh.assert_whole();
    world.assert_no_container();
}
