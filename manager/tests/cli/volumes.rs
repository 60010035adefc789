//! Volumes and mounts, as containers see them, and what becomes of them.

use super::world::{World, entries};
use nconform::fixture::strace;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_change, unmount,
};

fn volumes(world: &World) -> Vec<String> {
    world.nman(["volume", "ls", "-q"]).ok().stdout().lines().map(str::to_owned).collect()
}

#[test]
fn an_empty_volume_is_filled_with_what_the_image_has_there() {
    let world = World::new();
    let script =
        "cat /data/text; stat -c '%a %u' /data; ls /data | tr '\\n' ' '; echo changed > /data/text";
    let said = world.shell(&["-v", "filled:/etc", "-v", "filled:/data"], script).ok().stdout();
    assert!(said.starts_with("not a program\n755 0\ngroup "), "{said}");
    // What is in it stays: a second container finds what the first one wrote.
    assert_eq!(world.shell(&["-v", "filled:/etc"], "cat /etc/text").ok().stdout(), "changed\n");
    assert_eq!(
        world.shell(&["-v", "bare:/etc:nocopy"], "ls /etc | grep -c text").exits(1).stdout(),
        "0\n"
    );
    // The image's owner and mode, though there is nothing to copy.
    assert_eq!(
        world.shell(&["-v", "owned:/volume"], "stat -c '%u %a' /volume").ok().stdout(),
        "5 751\n"
    );
    let links = "readlink /copy/sh; [ /copy/busybox -ef /copy/busybox ] && test -x /copy/busybox && echo whole";
    let said = world.shell(&["-v", "programs:/bin", "-v", "programs:/copy"], links).ok().stdout();
    assert_eq!(said, "busybox\nwhole\n");
    world.assert_no_container();
}

#[test]
fn volumes_are_made_listed_shown_and_removed() {
    let world = World::new();
    assert_eq!(world.nman(["volume", "create", "-l", "a=b", "data"]).ok().stdout(), "data\n");
    assert_eq!(world.nman(["volume", "create", "data"]).ok().stdout(), "data\n");
    let random = world.nman(["volume", "create"]).ok().stdout();
    assert_eq!(random.trim().len(), 64);
    assert_eq!(
        world.nman(["volume", "ls", "-f", "name=data"]).ok().stdout(),
        "DRIVER    VOLUME NAME\nlocal     data\n"
    );
    assert_eq!(
        world
            .nman(["volume", "ls", "--format", "{{.Name}} {{.Label \"a\"}}", "-f", "label=a=b"])
            .ok()
            .stdout(),
        "data b\n"
    );
    let shown = world.nman(["volume", "inspect", "data"]).ok().json();
    assert_eq!((&shown[0]["Driver"], &shown[0]["Labels"]["a"]), (&"local".into(), &"b".into()));
    world.run(&["--name", "user", "-v", "data:/data"], &["true"]).ok();
    let id = world.inspect("user", "/Id");
    let refused = world.nman(["volume", "rm", "data"]).exits(1);
    let line = format!("nman: remove data: volume is in use - [{}]\n", id.as_str().unwrap());
    assert!(refused.stderr().starts_with(&line), "{refused}");
    assert_eq!(world.nman(["volume", "ls", "-q", "-f", "dangling=true"]).ok().stdout(), random);
    world.nman(["rm", "-v", "user"]).ok();
    // Its own volumes went with it; one with a name stays. Only what has none is pruned without `-a`.
    let pruned = world.nman(["volume", "prune", "-f"]).ok().stdout();
    assert!(
        pruned.starts_with(&format!("Deleted Volumes:\n{random}\nTotal reclaimed space: ")),
        "{pruned}"
    );
    assert_eq!(volumes(&world), ["data"]);
    world.nman(["volume", "prune", "-af", "--filter", "label!=a"]).ok();
    assert_eq!(volumes(&world), ["data"]);
    assert_eq!(world.nman(["volume", "rm", "data"]).ok().stdout(), "data\n");
    let refused = world.nman(["volume", "rm", "data"]).exits(1);
    let said =
        "nman: get data: no such volume\n\nhint: `nman volume ls` lists those that there are\n";
    assert_eq!(refused.stderr(), said);
    world.nman(["volume", "rm", "-f", "data"]).ok();
    let refused = world.nman(["volume", "create", "a/b"]).exits(1);
    assert!(
        refused.stderr().contains("includes invalid characters for a local volume name"),
        "{refused}"
    );
    world.assert_no_container();
}

#[test]
fn volumes_without_a_name_go_with_rm_and_stay_otherwise() {
    let world = World::new();
    world.shell(&["-v", "/mine"], "true").ok();
    assert!(volumes(&world).is_empty(), "--rm leaves anonymous volumes");
    world
        .run(
            &["--name", "first", "-v", "/mine", "-v", "named:/n"],
            &["sh", "-c", "echo x > /mine/file"],
        )
        .ok();
    assert_eq!(volumes(&world).len(), 3);
    let from = ["--volumes-from", "first:ro"];
    assert_eq!(world.shell(&from, "cat /mine/file").ok().stdout(), "x\n");
    world.shell(&from, "echo y > /mine/file").exits(1);
    assert_eq!(volumes(&world).len(), 3, "another container's volumes went with --rm");
    world.nman(["rm", "first"]).ok();
    assert_eq!(volumes(&world).len(), 3, "rm without -v has removed volumes");
    world.run(&["--name", "second", "-v", "/mine"], &["true"]).ok();
    world.nman(["rm", "-v", "second"]).ok();
    assert_eq!(volumes(&world).len(), 3);
    // A container that cannot be made leaves none either.
    world.run(&["-v", "/mine", "-u", "nosuch"], &["true"]).exits(125);
    assert_eq!(volumes(&world).len(), 3);
    world.assert_no_container();
}

#[test]
fn what_is_taken_over_from_another_container_is_labelled_only_where_that_is_asked_for() {
    let world = World::new();
    let volume = format!("{}:/in:ro,Z", world.path("in").display());
    world.run(&["--name", "donor", "-v", &volume], &["true"]).ok();
    assert_eq!(world.inspect("donor", "/Mounts/0/Mode"), "ro,Z");
    for (from, expected) in
        [("donor", "ro"), ("donor:rw", "ro"), ("donor:z", "z"), ("donor:Z", "Z")]
    {
        world.run(&["--name", "taker", "--volumes-from", from], &["true"]).ok();
        assert_eq!(world.inspect("taker", "/Mounts/0/Mode"), expected, "{from}");
        assert_eq!(world.inspect("taker", "/Mounts/0/RW"), false, "{from}");
        world.nman(["rm", "taker"]).ok();
    }
    world.nman(["rm", "donor"]).ok();
    world.assert_no_container();
}

#[test]
fn paths_of_the_host_are_made_or_refused_and_mounted_as_asked() {
    let world = World::new();
    let (made, tree) = (world.path("made/deep"), world.path("tree"));
    world.shell(&["-v", &format!("{}:/m", made.display())], "echo x > /m/file").ok();
    assert!(made.join("file").exists(), "a missing source of -v is made");
    let missing = format!("type=bind,source={},target=/m", world.path("none").display());
    let refused = world.shell(&["--mount", &missing], "true").exits(125);
    assert!(
        refused
            .stderr()
            .contains("invalid mount config for type \"bind\": bind source path does not exist: "),
        "{refused}"
    );
    assert!(!world.path("none").exists());
    // A file, and a directory with a mount below it.
    let below = tree.join("below");
    std::fs::create_dir_all(&below).unwrap();
    std::fs::write(tree.join("file"), "one\n").unwrap();
    mount("tmpfs", &below, "tmpfs", MountFlags::empty(), None).unwrap();
    std::fs::write(below.join("inner"), "two\n").unwrap();
    let file = format!("{}:/mounted:ro", tree.join("file").display());
    let whole = format!("{}:/tree:ro", tree.display());
    let flat = format!("type=bind,source={},target=/flat,bind-nonrecursive", tree.display());
    let top =
        format!("type=bind,source={},target=/top,readonly,bind-recursive=writable", tree.display());
    let options = ["-v", &file, "-v", &whole, "--mount", &flat, "--mount", &top];
    let script = "cat /mounted /tree/below/inner; ls /flat/below | wc -l; echo x > /tree/below/new; echo y > /top/below/new && cat /top/below/new; echo z > /top/new";
    let said = world.shell(&options, script).exits(1);
    assert_eq!(said.stdout(), "one\ntwo\n0\ny\n");
    assert_eq!(said.stderr().matches("Read-only file system").count(), 2, "{said}");
    unmount(&below, UnmountFlags::DETACH).unwrap();
    world.assert_no_container();
}

#[test]
fn a_shared_mount_is_shared_and_others_are_not() {
    let world = World::new();
    let shared = world.path("shared");
    std::fs::create_dir_all(&shared).unwrap();
    let option = format!("{}:/s:rshared", shared.display());
    let refused = world.shell(&["-v", &option], "true").exits(125);
    assert!(refused.stderr().contains("but it is not a shared mount"), "{refused}");
    mount("tmpfs", &shared, "tmpfs", MountFlags::empty(), None).unwrap();
    mount_change(&shared, MountPropagationFlags::SHARED).unwrap();
    let script = "mkdir /s/in && mount -t tmpfs x /s/in && echo seen > /s/in/file";
    world.shell(&["--privileged", "-v", &option], script).ok();
    assert_eq!(std::fs::read_to_string(shared.join("in/file")).unwrap(), "seen\n");
    unmount(shared.join("in"), UnmountFlags::DETACH).unwrap();
    let private = format!("{}:/s", shared.display());
    world
        .shell(
            &["--privileged", "-v", &private],
            "mount -t tmpfs x /s/in && echo seen > /s/in/file",
        )
        .ok();
    assert!(!shared.join("in/file").exists(), "a mount of a container's shows on the host");
    unmount(&shared, UnmountFlags::DETACH).unwrap();
    world.assert_no_container();
}

#[test]
fn a_path_in_a_volume_never_leads_out_of_it() {
    let world = World::new();
    let outside = world.path("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("secret"), "of the host\n").unwrap();
    let script = format!(
        "mkdir -p /v/good; echo inside > /v/good/file; ln -s {0} /v/absolute; ln -s ../../../../../..{0} /v/dots; ln -s good /v/link",
        outside.display()
    );
    world.shell(&["-v", "data:/v"], &script).ok();
    let read = |path: &str| {
        let option = format!("type=volume,src=data,dst=/x,volume-subpath={path}");
        world.shell(&["--mount", &option], "cat /x/*")
    };
    assert_eq!(read("good").ok().stdout(), "inside\n");
    assert_eq!(read("link").ok().stdout(), "inside\n");
    for path in ["absolute", "dots", "none"] {
        let refused = read(path).exits(125);
        assert!(refused.stderr().contains(&format!("open path `{path}` in `data`")), "{refused}");
    }
    // What is a directory now and a link out of the volume then is never the latter.
    let root = world.nman(["volume", "inspect", "-f", "{{.Mountpoint}}", "data"]).ok().stdout();
    let root = std::path::PathBuf::from(root.trim());
    let (one, other) = (root.join("good"), root.join("absolute"));
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).unwrap();
            }
        });
        for _ in 0..10 {
            assert!(!read("good").stdout().contains("host"), "a subpath led out of the volume");
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    world.assert_no_container();
}

#[test]
fn options_of_a_volume_are_mounted_for_its_containers_only() {
    let world = World::new();
    let source = world.path("source");
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("file"), "bound\n").unwrap();
    let device = format!("device={}", source.display());
    world
        .nman(["volume", "create", "-o", "type=none", "-o", "o=bind", "-o", &device, "bound"])
        .ok();
    world
        .nman([
            "volume",
            "create",
            "-o",
            "type=tmpfs",
            "-o",
            "device=tmpfs",
            "-o",
            "o=size=1m,uid=8",
            "mem",
        ])
        .ok();
    let script = "cat /b/file; grep ' /m ' /proc/mounts | grep -c size=1024k; stat -c %u /m";
    let said = world.shell(&["-v", "bound:/b:nocopy", "-v", "mem:/m"], script).ok().stdout();
    assert_eq!(said, "bound\n1\n8\n");
    let refused = world.nman(["volume", "create", "-o", "type=tmpfs", "bad"]).exits(1);
    assert_eq!(refused.stderr(), "nman: missing required option: \"device\"\n");
    let refused = world.nman(["volume", "create", "-o", "size=1", "bad"]).exits(1);
    assert!(refused.stderr().starts_with("nman: invalid option: \"size\""), "{refused}");
    world.nman(["volume", "rm", "bound", "mem"]).ok();
    assert!(source.join("file").exists(), "removing a volume has removed what it was mounted from");
    world.assert_no_container();
}

#[test]
fn what_is_mounted_in_a_volume_is_not_emptied_with_it() {
    let world = World::new();
    let source = world.path("source");
    std::fs::create_dir(&source).unwrap();
    let file = source.join("file");
    std::fs::write(&file, "precious").unwrap();
    // A volume without a name goes with its container, and that one cannot be made: in its first half, and in its second.
    let volume = |device: &str| {
        format!(
            "type=volume,dst=/{device},volume-opt=type=none,volume-opt=o=bind,volume-opt=device={}",
            world.path(device).display()
        )
    };
    let (first, missing) = (volume("source"), volume("missing"));
    for options in [vec!["-w", "/bin/busybox/x"], vec!["--mount", &missing]] {
        let options = [&["--mount", first.as_str()], &options[..]].concat();
        let said = world.run(&options, &["true"]).exits(125).stderr();
        assert!(!said.contains("but not all that it had"), "{said}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
        assert_eq!(volumes(&world), Vec::<String>::new());
    }
    // What somebody of the host has mounted there is somebody's.
    world.nman(["volume", "create", "disk"]).ok();
    let data = world.root().join("volumes/disk/_data");
    mount_bind(&source, &data).unwrap();
    let said = world.nman(["volume", "rm", "disk"]).exits(1).stderr();
    assert!(said.contains("cannot remove volume `disk`: something is mounted on"), "{said}");
    world.nman(["volume", "create", "other"]).ok();
    let pruned = world.nman(["volume", "prune", "--all", "--force"]).ok();
    assert!(pruned.stderr().contains("WARNING: cannot remove volume `disk`"), "{pruned}");
    assert_eq!(volumes(&world), ["disk"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
    unmount(&data, UnmountFlags::empty()).unwrap();
    world.nman(["volume", "rm", "disk"]).ok();
    world.assert_no_container();
}

#[test]
fn an_image_is_mounted_read_only_and_kept_while_it_is_used() {
    let world = World::new();
    let mount =
        format!("type=image,source={},target=/other,image-subpath=etc", super::world::IMAGE);
    let options = ["--name", "holder", "--mount", &mount];
    let said = world.run(&options, &["sh", "-c", "cat /other/text; echo x > /other/text"]).exits(1);
    assert_eq!(said.stdout(), "not a program\n");
    assert!(said.stderr().contains("Read-only file system"), "{said}");
    world.nman(["rm", "holder"]).ok();
    assert!(entries(&world.path("root/snapshots/active")).is_empty());
    world.assert_no_container();
}

#[test]
fn a_volume_that_binds_a_directory_with_ours_in_it_keeps_no_container() {
    let world = World::new();
    let around = world.path("").display().to_string();
    for (name, how) in [("alone", "bind,ro,nosuid"), ("whole", "rbind")] {
        let device = format!("device={around}");
        let words = ["-o", "type=none", "-o", &device, "-o", &format!("o={how}")];
        world.nman([&["volume", "create"], &words[..], &[name]].concat()).ok();
        let volume = format!("{name}:/around");
        let seen = world.shell(&["-v", &volume], "ls /around; touch /around/written").stdout();
        assert!(seen.contains("image.tar"), "{name}: {seen}");
        assert_eq!(world.path("written").exists(), how == "rbind", "{name}");
        assert_eq!(world.nman(["ps", "-aq"]).ok().stdout(), "", "{name}");
        world.nman(["volume", "rm", name]).ok();
    }
    world.assert_no_container();
}

#[test]
fn what_is_mounted_below_a_bound_volume_is_in_it_by_rbind_alone() {
    let world = World::new();
    let (outer, inner) = (world.path("outer"), world.path("outer/inner"));
    std::fs::create_dir_all(&inner).unwrap();
    rustix::mount::mount("tmpfs", &inner, "tmpfs", rustix::mount::MountFlags::empty(), None)
        .unwrap();
    std::fs::write(inner.join("deep"), "").unwrap();
    let device = format!("device={}", outer.display());
    for (how, seen) in [("bind", ""), ("rbind", "deep\n")] {
        let words = ["-o", "type=none", "-o", &device, "-o", &format!("o={how}")];
        world.nman([&["volume", "create"], &words[..], &["outer"]].concat()).ok();
        assert_eq!(world.shell(&["-v", "outer:/x"], "ls /x/inner").ok().stdout(), seen, "{how}");
        world.nman(["volume", "rm", "outer"]).ok();
    }
    rustix::mount::unmount(&inner, rustix::mount::UnmountFlags::empty()).unwrap();
    world.assert_no_container();
}

#[test]
fn flags_of_what_is_mounted_in_a_container_stay() {
    let world = World::new();
    let words = ["-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=noexec,nosuid,size=1m"];
    world.nman([&["volume", "create"], &words[..], &["careful"]].concat()).ok();
    let source = world.path("source");
    std::fs::create_dir(&source).unwrap();
    let flags = rustix::mount::MountFlags::NOEXEC | rustix::mount::MountFlags::NODEV;
    rustix::mount::mount("tmpfs", &source, "tmpfs", flags, None).unwrap();
    let bind = format!("{}:/bind", source.display());
    let script = "cp /bin/busybox /vol && ! /vol/busybox true; grep -E ' /(vol|bind|read-only) ' /proc/mounts; ! touch /read-only/x";
    let read_only = format!("{}:/read-only:ro", source.display());
    let options = ["-v", "careful:/vol", "-v", &bind, "-v", &read_only];
    let seen = world.shell(&options, script).ok().stdout();
    let of = |path: &str| {
        let line = seen.lines().find(|line| line.contains(&format!(" {path} "))).unwrap();
        line.split(' ').nth(3).unwrap().split(',').map(str::to_owned).collect::<Vec<_>>()
    };
    for (path, flags) in [
        ("/vol", ["rw", "noexec", "nosuid"]),
        ("/bind", ["rw", "noexec", "nodev"]),
        ("/read-only", ["ro", "noexec", "nodev"]),
    ] {
        let has = |flag: &&str| of(path).iter().any(|own| own == flag);
        assert!(flags.iter().all(has), "{path}: {seen}");
    }
    rustix::mount::unmount(&source, rustix::mount::UnmountFlags::empty()).unwrap();
    world.nman(["volume", "rm", "careful"]).ok();
    world.assert_no_container();
}

#[test]
fn what_mount_asked_for_is_shown_as_docker_shows_it() {
    let world = World::new();
    let bind = world.path("bind").display().to_string();
    std::fs::create_dir(&bind).unwrap();
    let options = [
        format!("type=bind,src={bind},dst=/bind,readonly,bind-propagation=rslave"),
        "type=volume,src=data,dst=/data,volume-label=a=b,volume-nocopy".to_owned(),
        "type=tmpfs,dst=/tmpfs,tmpfs-mode=700,tmpfs-size=1m".to_owned(),
    ];
    let mut args = vec!["--name", "some"];
    options.iter().for_each(|option| args.extend(["--mount", option]));
    world.run(&args, &["true"]).ok();
    let shown = world.inspect("some", "/HostConfig/Mounts");
    let expected = serde_json::json!([
        {"Type": "bind", "Source": bind, "Target": "/bind", "ReadOnly": true,
         "BindOptions": {"Propagation": "rslave"}},
        {"Type": "volume", "Source": "data", "Target": "/data",
         "VolumeOptions": {"NoCopy": true, "Labels": {"a": "b"}}},
        {"Type": "tmpfs", "Target": "/tmpfs", "TmpfsOptions": shown[2]["TmpfsOptions"]},
    ]);
    assert_eq!(shown, expected);
    world.run(&["--name", "none"], &["true"]).ok();
    let form = "{{json .HostConfig.Mounts}}";
    assert_eq!(world.nman(["inspect", "-f", form, "none"]).ok().text(), "null");
    world.nman(["rm", "-v", "some", "none"]).ok();
    world.assert_no_container();
}

#[test]
fn a_volume_that_could_not_be_filled_is_as_empty_as_it_was() {
    let world = World::new();
    let text = "mkdir -p /data/sub && dd if=/dev/zero of=/data/sub/big bs=1k count=600 2>/dev/null && echo text > /data/text && chmod 1750 /data";
    world.run(&["--name", "maker"], &["sh", "-c", text]).ok();
    world.nman(["commit", "maker", "filler"]).ok();
    world.nman(["rm", "maker"]).ok();
    // The image's files fit, but not with what else is there.
    let volumes = world.path("root/volumes");
    std::fs::create_dir_all(&volumes).unwrap();
    mount("tmpfs", &volumes, "tmpfs", MountFlags::empty(), c"size=1m").unwrap();
    std::fs::write(volumes.join(".hog"), vec![0; 700 << 10]).unwrap();
    let run = |script: &str| {
        let words = ["--rm", "--network", "none", "-v", "v1:/data", "filler", "sh", "-c", script];
        world.nman([&["run"][..], &words].concat())
    };
    let refused = run("true").exits(125).stderr();
    assert!(refused.contains("into volume `v1`: no space left on device"), "{refused}");
    assert_eq!(entries(&volumes.join("v1/_data")), [] as [std::path::PathBuf; 0]);
    assert_eq!(entries(&volumes.join("v1")).len(), 2, "nothing else takes room");
    std::fs::remove_file(volumes.join(".hog")).unwrap();
    // Nor does what a killed process has begun.
    std::fs::create_dir(volumes.join("v1/_filling")).unwrap();
    std::fs::write(volumes.join("v1/_filling/text"), "half").unwrap();
    let said = run("cat /data/text; stat -c '%s' /data/sub/big; stat -c %a /data").ok().stdout();
    assert_eq!(said, "text\n614400\n1750\n");
    assert_eq!(entries(&volumes.join("v1")).len(), 2);
    unmount(&volumes, UnmountFlags::DETACH).unwrap();
    world.assert_no_container();
}

#[test]
fn a_volume_without_a_record_is_told_and_mended_or_removed() {
    let world = World::new();
    world.shell(&["-v", "kept:/kept"], "echo content > /kept/file").ok();
    let directory = world.path("root/volumes/kept");
    let wreck = || std::fs::remove_file(directory.join("volume.json")).unwrap();
    wreck();
    let listed = world.nman(["volume", "ls", "-q"]).ok();
    assert_eq!(listed.stdout(), "");
    assert!(listed.stderr().contains("volume `kept` is left out: cannot read `"), "{listed}");
    for line in ["create kept", "inspect kept", "rm kept"] {
        let args = ["volume"].into_iter().chain(line.split(' ')).collect::<Vec<_>>();
        let refused = world.nman(&args).exits(1).stderr();
        assert!(refused.contains("volume.json`: there is no such file\n"), "{refused}");
        assert!(refused.contains("hint: `nman system check --repair` writes it"), "{refused}");
    }
    let refused = world.run(&["-v", "kept:/kept"], &["true"]).exits(125).stderr();
    assert!(refused.contains("volume.json`: there is no such file\n"), "{refused}");
    let said = world.nman(["system", "check"]).exits(1).stdout();
    assert!(said.starts_with("damaged: volume kept: "), "{said}");
    world.nman(["system", "check", "--repair"]).ok();
    assert_eq!(world.shell(&["-v", "kept:/kept"], "cat /kept/file").ok().text(), "content");
    // Nor does it need the directory for its files.
    std::fs::remove_dir_all(directory.join("_data")).unwrap();
    wreck();
    world.nman(["system", "check", "--repair"]).ok();
    assert_eq!(world.shell(&["-v", "kept:/kept"], "ls -A /kept").ok().text(), "");
    wreck();
    world.nman(["volume", "rm", "-f", "kept"]).ok();
    assert!(!directory.exists());
    assert_eq!(world.nman(["system", "check"]).ok().stdout(), "No problems found\n");
    world.assert_no_container();
}

#[test]
fn the_record_of_a_volume_is_on_the_disk_before_it_is_one() {
    let world = World::new();
    let (root, state) = (world.path("root"), world.path("state"));
    let place = ["--root", root.to_str().unwrap(), "--state", state.to_str().unwrap()];
    let args = [&place[..], &["volume", "create", "kept"]].concat();
    let options = ["-y", "-f", "-e", "trace=fdatasync,rename,renameat,renameat2"];
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_nman"));
    let (made, calls) = strace(&options, program, &args);
    made.ok();
    let at = |what: &str| calls.iter().position(|call| call.contains(what));
    let synced = at("/volumes/.half-kept/volume.json>) = 0");
    let named = at("/volumes/.half-kept\", ");
    assert!(synced.is_some() && synced < named, "{calls:#?}");
}
