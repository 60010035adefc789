//! What is listed and how; what is said about a command line that makes no sense; completion.

use super::world::{IMAGE, World};
use nconform::fixture::{Capture, binary, scratch_dir};
use nman::clock::Timestamp;
use std::fs::{Permissions, copy, set_permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

/// Containers with these names, made one after the other; none of them runs any more.
fn world_with(containers: &[(&str, &[&str], &[&str])]) -> World {
    let world = World::new();
    for (name, options, words) in containers {
        let options = [&["--name", name], *options].concat();
        world.run(&options, words);
    }
    world
}

#[test]
fn ps_filters_as_docker_does() {
    let world = world_with(&[
        ("one", &["--label", "tier=web", "-v", "data:/data"], &["true"]),
        ("two", &["--label", "tier=db"], &["sh", "-c", "exit 3"]),
        ("three", &[], &["true"]),
    ]);
    let names = |args: &[&str]| {
        let args = [&["ps", "--format", "{{.Names}}"], args].concat();
        world.nman(args).ok().stdout().lines().map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    let id = world.nman(["ps", "-aq", "--filter", "name=two"]).ok().stdout();
    let id = id.trim();
    for (args, expected) in [
        (&[][..], ""),
        (&["-a"], "three two one"),
        (&["-l"], "three"),
        (&["-n", "2"], "three two"),
        (&["-n", "-1", "-a"], "three two one"),
        (&["-a", "-f", "name=^t"], "three two"),
        (&["-a", "--filter", "label=tier"], "two one"),
        (&["-a", "--filter", "label=tier=db"], "two"),
        (&["-a", "--filter", "exited=3"], "two"),
        (&["--filter", "status=exited", "--filter", "name=one"], "one"),
        (&["--filter", "status=running"], ""),
        (&["-a", "--filter", "name=^/one$"], "one"),
        (&["-a", "--filter", "name=/two"], "two"),
        (&["-a", "--filter", "before=two"], "one"),
        (&["-a", "--filter", "since=one"], "three two"),
        (&["-a", "--filter", &format!("id={id}")], "two"),
        (&["-a", "--filter", "volume=data"], "one"),
        (&["-a", "--filter", "volume=/data"], "one"),
        (&["-a", "--filter", "network=none"], "three two one"),
        (&["-a", "--filter", "network=other"], ""),
        (&["-a", "--filter", &format!("ancestor={IMAGE}")], "three two one"),
        (&["-a", "--filter", "ancestor=no/such"], ""),
        (&["-a", "--filter", "is-task=true"], ""),
        (&["-a", "--filter", "health=none", "--filter", "name=one"], "one"),
        (&["-a", "--filter", "publish=80"], ""),
    ] {
        assert_eq!(names(args), expected, "{args:?}");
    }
    for (filter, text) in [
        ("nmae=x", "invalid filter 'nmae'\n\nhint: did you mean `name`?"),
        ("status=gone", "invalid filter 'status=gone'"),
        ("before=nosuch", "No such container: nosuch"),
    ] {
        let refused = world.nman(["ps", "--filter", filter]).exits(1);
        assert!(refused.stderr().starts_with(&format!("nman: {text}")), "{refused}");
    }
    world.nman(["rm", "one", "two", "three"]).ok();
}

#[test]
fn ps_shows_every_field_that_docker_has() {
    let world = world_with(&[(
        "fields",
        &["--label", "a.b-c=1", "-v", "data:/data", "-v", "/tmp:/host"],
        &["sh", "-c", "echo 12345 >/file; exit 4"],
    )]);
    let format = "{{.ID}}|{{.Image}}|{{.Command}}|{{.State}}|{{.Names}}|{{.Label \"a.b-c\"}}|{{.Networks}}|{{.LocalVolumes}}";
    let line = world.nman(["container", "ls", "-a", "--format", format]).ok().stdout();
    let (id, rest) = line.split_once('|').unwrap();
    assert_eq!(id.len(), 12);
    assert_eq!(rest, format!("{IMAGE}|\"sh -c echo 12345 >/…\"|exited|fields|1|none|2\n"));
    // The third mount is the image's own volume, without a name that anybody gave it.
    let mounts = world.nman(["container", "list", "-a", "--format", "{{.Mounts}}"]).ok().stdout();
    assert!(mounts.contains("data") && mounts.contains("/tmp"), "{mounts}");
    let table = world.nman(["ps", "-as"]).ok().stdout();
    assert!(table.starts_with("CONTAINER ID   IMAGE"), "{table}");
    // What it takes on disk, as `system df` counts: a block for the file, whatever size blocks have.
    assert!(table.contains("kB (virtual "), "{table}");
    let wide = world.nman(["ps", "-a", "--no-trunc"]).ok().stdout();
    assert!(wide.contains("echo 12345 >/file; exit 4\""), "{wide}");
    let table = r#"table {{.Names}}\t{{.Label "a.b-c"}}"#;
    assert_eq!(
        world.nman(["ps", "-a", "--format", table]).ok().stdout(),
        "NAMES     b c\nfields    1\n"
    );
    let object = world.nman(["ps", "-a", "--format", "json"]).ok().json();
    for field in ["CreatedAt", "RunningFor", "Ports", "Status", "Size", "Labels"] {
        assert!(object[field].is_string(), "{object}");
    }
    let refused = world.nman(["ps", "--format", "{{.Nmaes}}"]).exits(1);
    assert!(refused.stderr().contains("can't evaluate field Nmaes"), "{refused}");
    assert!(refused.stderr().contains("hint: did you mean `.Names`?"), "{refused}");
    world.nman(["rm", "fields"]).ok();
}

#[test]
fn a_slip_on_the_command_line_names_what_was_meant() {
    let world = World::new();
    for (args, code, text) in [
        (
            &["rnu", "x"][..],
            1,
            "nman: 'rnu' is not a nman command.\n\nhint: did you mean `nman run`? see `nman --help`\n",
        ),
        (
            &["run", "--memmory", "1g", "x"],
            125,
            "nman: unknown flag: --memmory\n\nhint: did you mean `--memory`? see `nman run --help`\n",
        ),
        (
            &["rm"],
            1,
            "nman: \"nman rm\" requires at least 1 argument.\n\nhint: see `nman rm --help`\n",
        ),
    ] {
        assert_eq!(world.nman(args).exits(code).stderr(), text);
    }
    for args in [&["--help"][..], &["help"], &[]] {
        let help = world.nman(args).ok().stdout();
        assert!(help.contains("\nManagement Commands:\n  builder "), "{help}");
    }
    assert!(world.nman(["help", "run"]).ok().stdout().contains("Usage: nman run"));
    for flag in ["-v", "--version"] {
        assert!(world.nman([flag]).ok().stdout().starts_with("nman 0."));
    }
}

#[test]
fn shells_complete_commands_flags_and_names() {
    let world = world_with(&[("completed", &[], &["true"])]);
    let asked = world.nman(["__complete", "--", "rm", "comp"]).ok().stdout();
    assert!(asked.starts_with(&format!("completed\t{IMAGE}, Exited (0)")), "{asked}");
    let bin = std::path::Path::new(env!("CARGO_BIN_EXE_nman")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let shell = |program: &str, script: &str| {
        Capture::of(program)
            .args(["-c", script])
            .env("PATH", &path)
            .env("NMAN_ROOT", world.root())
            .env("NMAN_STATE", world.state())
            .env("HOME", world.path(""))
            .run()
            .ok()
            .stdout()
    };
    let bash = |line: &str| {
        shell(
            "bash",
            &format!(
                "source <(nman completion bash); COMP_LINE='{line}'; COMP_POINT=${{#COMP_LINE}}; _nman; \
                 printf '%s\\n' \"${{COMPREPLY[@]}}\""
            ),
        )
    };
    assert_eq!(bash("nman ru"), "run\n");
    assert_eq!(bash("nman rm comp"), "completed\n");
    assert_eq!(bash("nman run --cpuset-c"), "--cpuset-cpus\n");
    // The shell has split at the colon: only what is behind it is put in.
    assert_eq!(bash("nman rmi test/busybox:l"), "latest\n");
    let fish =
        |line: &str| shell("fish", &format!("nman completion fish | source; complete -C '{line}'"));
    assert!(fish("nman rm comp").starts_with("completed"), "{}", fish("nman rm comp"));
    assert!(fish("nman ru").starts_with("run\t"), "{}", fish("nman ru"));
    // Before the first letter of a name, too.
    assert!(fish("nman rm ").starts_with("completed"), "{}", fish("nman rm "));
    let zsh = shell(
        "zsh",
        "autoload -Uz compinit; compinit -u -D; source <(nman completion zsh)
         _describe() { print -l -- \"${(@P)2}\" }
         words=(nman rm comp); CURRENT=3; _nman",
    );
    assert!(zsh.starts_with("completed:"), "{zsh}");
    world.nman(["rm", "completed"]).ok();
}

#[test]
fn info_and_version_answer_what_scripts_ask_docker_for() {
    let world = world_with(&[("counted", &[], &["true"])]);
    let info = |format: &str| world.nman(["info", "-f", format]).ok().stdout();
    assert_eq!(
        info("{{.Containers}} {{.ContainersRunning}} {{.ContainersStopped}} {{.Images}}"),
        "1 0 1 1\n"
    );
    assert_eq!(info("{{.Driver}} {{.OSType}}"), "overlayfs linux\n");
    assert_eq!(info("{{.DockerRootDir}}").trim(), world.root().to_str().unwrap());
    assert!(["1\n", "2\n"].contains(&info("{{.CgroupVersion}}").as_str()));
    assert_eq!(info("{{.Plugins.Log}}"), "[json-file local journald syslog gelf fluentd none]\n");
    let text = world.nman(["info"]).ok().stdout();
    assert!(text.contains("Plugins:\n Volume: local\n Network: bridge host "), "{text}");
    assert!(text.starts_with("Containers: 1\n Running: 0\n"), "{text}");
    let version = |format: &str| world.nman(["version", "--format", format]).ok().stdout();
    assert_eq!(version("{{.Client.Version}}"), version("{{.Server.Version}}"));
    assert!(
        version("{{(index .Server.Components 1).Name}}")
            .starts_with(|c: char| c.is_ascii_alphabetic())
    );
    assert!(world.nman(["version"]).ok().stdout().contains("\nRuntime: "));
    world.nman(["rm", "counted"]).ok();
}

#[test]
fn the_doctor_says_what_is_missing_and_how_to_get_it() {
    let world = World::new();
    let healthy = world.nman(["doctor"]).ok().stdout();
    assert!(healthy.starts_with("CHECK "), "{healthy}");
    assert!(healthy.contains("\noverlayfs "), "{healthy}");
    let sick = world.nman(["--runtime", "no-such-runtime", "doctor"]).exits(1).stdout();
    assert!(
        sick.contains("Needed: containers do not run without\n  runtime: put `nrun` beside"),
        "{sick}"
    );
    let objects = world
        .nman(["--runtime", "no-such-runtime", "doctor", "--format", "json"])
        .exits(1)
        .stdout();
    let runtime = objects.lines().find(|line| line.contains("\"Check\":\"runtime\"")).unwrap();
    assert!(runtime.contains("\"Status\":\"missing\""), "{runtime}");
    // It has only looked: not even the directories of a root that is not there are made.
    let nowhere = world.path("nowhere");
    world.nman(["--root", nowhere.to_str().unwrap(), "doctor"]);
    assert!(!nowhere.exists());
}

#[test]
fn who_is_not_root_and_names_roots_directories_is_told_so() {
    // The directory that the program was built in may be closed to others.
    let directory = scratch_dir();
    set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    let program = directory.path().join("nman");
    for name in ["nman", "nrun"] {
        copy(binary(name), directory.path().join(name)).unwrap();
    }
    let program = program.to_str().unwrap();
    for command in [&["ps"][..], &["run", "--rm", IMAGE], &["images"], &["volume", "ls"]] {
        let call = ["--reuid=1000", "--regid=1000", "--clear-groups", program, "--root", "/nman"];
        let args = [&call[..], &["--state", "/nman"], command].concat();
        let said = Capture::of("setpriv").args(args).run().stderr();
        assert!(
            said.contains("cannot make `/nman`: permission denied\n\nhint: without root, "),
            "{command:?}: {said}"
        );
    }
    let world = World::new();
    let refused = world.nman(["--root", "/proc/nman", "ps"]).exits(1).stderr();
    assert!(!refused.contains("without root"), "root is not told so: {refused}");
}

#[test]
fn lists_have_the_form_that_dockers_configuration_names_unless_one_is_typed() {
    let world = world_with(&[("one", &[], &["true"])]);
    let docker = world.path("docker");
    std::fs::create_dir(&docker).unwrap();
    let write = |config: &str| std::fs::write(docker.join("config.json"), config).unwrap();
    let nman = |words: &[&str]| world.command(words).env("DOCKER_CONFIG", &docker).run();
    write(
        r#"{"psFormat": "mine {{.Names}}", "imagesFormat": "table {{.Tag}}", "volumesFormat": "v"}"#,
    );
    assert_eq!(nman(&["ps", "-a"]).ok().stdout(), "mine one\n");
    assert_eq!(nman(&["images"]).ok().stdout(), "TAG\nlatest\n");
    assert_eq!(nman(&["volume", "ls"]).ok().stdout(), "v\n");
    assert_eq!(nman(&["ps", "-aq"]).ok().text().len(), 12);
    assert!(nman(&["ps", "-a", "--format", "table"]).ok().stdout().starts_with("CONTAINER ID "));
    write(r#"{"psFormat": "{{.Nmaes}}"}"#);
    let refused = nman(&["ps"]).exits(1).stderr();
    let said = format!(
        "nman: `psFormat` in `{}`: template parsing error: ",
        docker.join("config.json").display()
    );
    assert!(refused.starts_with(&said) && refused.contains("\n\nhint: did you mean"), "{refused}");
    world.nman(["rm", "-v", "one"]).ok();
    world.assert_no_container();
}

#[test]
fn what_dockers_configuration_keeps_from_prunes_stays() {
    let world = World::new();
    let docker = world.path("docker");
    std::fs::create_dir(&docker).unwrap();
    std::fs::write(docker.join("config.json"), r#"{"pruneFilters": ["label!=keep"]}"#).unwrap();
    let prune = |words: &[&str]| {
        let words = [words, &["prune", "-f"]].concat();
        world.command(words).env("DOCKER_CONFIG", &docker).run().ok().stdout()
    };
    for name in ["kept", "lost"] {
        let label = if name == "kept" { "keep" } else { "other" };
        world.nman(["volume", "create", "--label", label, name]).ok();
        world.nman(["network", "create", "--label", label, name]).ok();
        world.run(&["--name", name, "--label", label], &["true"]).ok();
    }
    assert_eq!(prune(&["network"]), "Deleted Networks:\nlost\n\n");
    assert_eq!(prune(&["container"]).lines().count(), 4);
    assert_eq!(world.nman(["ps", "-a", "--format", "{{.Names}}"]).ok().stdout(), "kept\n");
    let typed = ["volume", "prune", "-af"];
    world.command(typed).env("DOCKER_CONFIG", &docker).run().ok();
    assert_eq!(world.nman(["volume", "ls", "-q", "-f", "label=keep"]).ok().stdout(), "kept\n");
    assert_eq!(world.nman(["volume", "ls", "-q", "-f", "name=lost"]).ok().stdout(), "");
    let all = ["system", "prune", "-af", "--volumes"];
    world.command(all).env("DOCKER_CONFIG", &docker).run().ok();
    assert_eq!(world.nman(["ps", "-a", "--format", "{{.Names}}"]).ok().stdout(), "kept\n");
    // What is typed comes before it.
    let typed = ["container", "prune", "-f", "--filter", "label=keep"];
    world.command(typed).env("DOCKER_CONFIG", &docker).run().ok();
    assert_eq!(world.nman(["ps", "-aq"]).ok().stdout(), "");
    world.nman(["network", "rm", "kept"]).ok();
    world.assert_no_container();
}

#[test]
fn a_time_without_a_zone_is_what_a_clock_shows_here() {
    let world = World::new();
    world.run(&["-d", "--name", "fresh"], &["sh", "-c", "echo said; sleep 1000"]).ok();
    world.run(&["--name", "ended"], &["true"]).ok();
    world.nman(["network", "create", "young"]).ok();
    // Half an hour ago, on a clock that is two hours ahead and on one that is five hours behind.
    let ago = Timestamp::now().before(Duration::from_secs(1800));
    let [ahead, behind] = [7200, -18_000].map(|offset| ago.civil(offset).to_string());
    let until = format!("until={ahead}");
    for kind in ["container", "network", "image"] {
        let words = [kind, "prune", "-f", "--filter", &until];
        let pruned = world.command(words).env("TZ", "HERE-2").run().ok();
        assert!(!pruned.stdout().contains("Deleted"), "{kind}: {pruned}");
    }
    let old = world.command(["network", "ls", "-q", "-f", &until, "-f", "name=young"]);
    assert_eq!(old.env("TZ", "HERE-2").run().ok().stdout(), "");
    let listed = |words: &[&str]| world.command(words).env("TZ", "THERE5").run().ok().stdout();
    assert_eq!(listed(&["logs", "--since", &behind, "fresh"]), "said\n");
    assert_eq!(listed(&["logs", "--until", &behind, "fresh"]), "");
    let told = listed(&["events", "--since", "24h", "--until", &behind]);
    assert_eq!(told, "", "nothing happened so early");
    world.nman(["network", "rm", "young"]).ok();
    world.nman(["rm", "-f", "fresh", "ended"]).ok();
    world.assert_no_container();
}

#[test]
fn of_ps_q_is_stronger_than_a_format_and_of_no_other_list() {
    let world = World::new();
    let id = world.run(&["-d", "--name", "web"], &["sleep", "1000"]).ok().text();
    let told = "WARNING: Ignoring custom format, because both --format and --quiet are set.\n";
    for format in ["{{.Names}}", "table {{.Names}}", "json"] {
        let listed = world.nman(["ps", "-q", "--format", format]).ok();
        assert_eq!((listed.text(), listed.stderr()), (id[..12].to_owned(), told.to_owned()));
    }
    let images = world.nman(["images", "-q", "--format", "table {{.Repository}}"]).ok();
    assert_eq!(images.stdout(), "REPOSITORY\ntest/busybox\n", "{images}");
    world.nman(["rm", "-f", "web"]).ok();
    world.assert_no_container();
}

#[test]
fn a_template_finds_what_dockers_structures_have() {
    let world = World::new();
    world.run(&["--name", "one"], &["true"]).ok();
    let of = |words: &[&str], format: &str| {
        world.nman([words, &["--format", format]].concat()).ok().stdout()
    };
    let container = |format: &str| of(&["inspect", "one"], format);
    let id = container("{{.Id}}");
    for (format, expected) in [
        ("{{.ID}}", id.as_str()),
        ("[{{.Config.StopSignal}}]{{.Config.OnBuild}}{{.Config.Shell}}", "[][][]\n"),
        ("[{{.NetworkSettings.Bridge}}{{.NetworkSettings.SandboxID}}]", "[]\n"),
        ("{{range .NetworkSettings.Networks}}{{.Links}}{{end}}", "[]\n"),
        ("{{.HostConfig.NanoCPUs}} {{.HostConfig.CPUShares}} {{.HostConfig.DNS}}", "0 0 []\n"),
        ("{{.HostConfig.LogConfig}} {{.HostConfig.Links}}", "{local map[]} []\n"),
        ("{{.State.Health}} {{.Config.Healthcheck}}", "<nil> <nil>\n"),
    ] {
        assert_eq!(container(format), expected, "{format}");
    }
    let image = |format: &str| of(&["image", "inspect", "test/busybox"], format);
    assert_eq!(image("{{.ID}}"), image("{{.Id}}"));
    assert_eq!(image("[{{.Variant}}{{.Config.StopSignal}}]{{.Config.OnBuild}}"), "[][]\n");
    let network = |format: &str| of(&["network", "inspect", "bridge"], format);
    assert_eq!(network("{{.ID}}"), network("{{.Id}}"));
    world.nman(["rm", "one"]).ok();
    world.assert_no_container();
}

#[test]
fn networks_are_listed_by_age_labels_and_parts_of_an_id() {
    let world = World::new();
    let id = world.nman(["network", "create", "--label", "tier=front", "web"]).ok().text();
    for (filter, found) in
        [("label!=tier", false), ("until=24h", false), ("until=2100-01-01", true)]
    {
        let names = world.nman(["network", "ls", "--format", "{{.Name}}", "-f", filter]).ok();
        assert!(names.stdout().contains("none\n"), "what nobody has made is of no time: {names}");
        assert_eq!(names.stdout().contains("web\n"), found, "{filter}: {names}");
    }
    let part = format!("id={}", &id[9..30]);
    assert_eq!(world.nman(["network", "ls", "-q", "-f", &part]).ok().text(), &id[..12]);
    let wrong = world.nman(["network", "ls", "-f", "type=odd"]).exits(1);
    assert!(wrong.stderr().contains("`builtin` or `custom`"), "{wrong}");
    world.nman(["network", "rm", "web"]).ok();
}
