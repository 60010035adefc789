//! Whose ids a user's containers have, and what a user's directories are held to.

use crate::world::{IMAGE, Layers, World, end_holder};
use nconform::fixture::Capture;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

#[test]
fn the_users_ranges_are_the_containers_ids() {
    let world = World::new();
    let (first, count) = world.user.subordinate().unwrap();
    let map = world.shell(&[], "cat /proc/self/uid_map /proc/self/gid_map").ok().stdout();
    let words: Vec<&str> = map.split_whitespace().collect();
    let (own, first, count) = (world.user.uid().to_string(), first.to_string(), count.to_string());
    let one = ["0", &own, "1", "1", &first, &count];
    assert_eq!(words, [one, one].concat());
    assert_eq!(world.shell(&["-u", "65536:65536"], "id -u").ok().stdout(), "65536\n");
    // All groups that are mapped may ping.
    let range = world.shell(&[], "cat /proc/sys/net/ipv4/ping_group_range").ok().stdout();
    assert_eq!(range.split_whitespace().collect::<Vec<_>>(), ["0", "65536"]);
}

#[test]
fn without_ranges_there_is_one_id_and_a_word_about_it() {
    let world = World::without_image();
    for file in ["/etc/subuid", "/etc/subgid"] {
        let text = fs::read_to_string(file).unwrap();
        let others: String = text.lines().filter(|line| !line.starts_with("nrt:")).collect();
        fs::write(file, others).unwrap();
    }
    // An owner that there is no id for.
    let refused = world.load(&Layers::busybox(), IMAGE).exits(1);
    let said = refused.stderr();
    assert!(said.contains("WARNING: Containers have the ids of user `nrt` alone"), "{said}");
    assert!(said.contains("usermod --add-subuids"), "{said}");
    assert!(
        said.contains("`volume` belongs to 5:5, which is no id of this user namespace"),
        "{said}"
    );
    assert!(said.contains("hint: the user needs more ids"), "{said}");

    use tar::EntryType::{Directory, Regular};
    let busybox = fs::read("/bin/busybox").unwrap();
    let own = Layers::default()
        .layer(&[(Directory, "bin", 0, 0o755, b""), (Regular, "bin/busybox", 0, 0o755, &busybox)]);
    world.load(&own, "test/own").ok();
    let words = ["run", "--rm", "--network", "none", "test/own", "/bin/busybox", "id", "-u"];
    let output = world.nman(words).ok();
    assert_eq!((output.stdout(), output.stderr()), ("0\n".to_owned(), String::new()));
}

#[test]
fn without_newuidmap_it_is_said_what_to_install() {
    let world = World::without_image();
    let hidden = ["newuidmap", "newgidmap"].map(nconform::fixture::tool);
    for path in &hidden {
        rustix::mount::mount_bind("/dev/null", path).unwrap();
    }
    let output = world.nman(["images"]).ok();
    for path in &hidden {
        rustix::mount::unmount(path, rustix::mount::UnmountFlags::empty()).unwrap();
    }
    assert!(output.stderr().contains("let root install the package `uidmap`"), "{output}");
}

#[test]
fn what_newuidmap_refuses_is_told_and_leaves_nothing() {
    let world = World::without_image();
    // Of these, newuidmap knows half: the kernel would not refuse, it does.
    let (first, count) = world.user.subordinate().unwrap();
    let broken = world.user.home().join("bin");
    fs::create_dir(&broken).unwrap();
    let script = "#!/bin/sh\necho 'newuidmap: uid range not allowed' >&2\nexit 1\n";
    fs::write(broken.join("newuidmap"), script).unwrap();
    fs::set_permissions(broken.join("newuidmap"), fs::Permissions::from_mode(0o755)).unwrap();
    assert!(first > 0 && count > 0);
    let path = format!("{}:/usr/bin:/bin", broken.display());
    let output = world.command(["images"]).env("PATH", path).run().exits(1);
    assert!(output.stderr().contains("newuidmap: uid range not allowed"), "{output}");
    assert!(output.stderr().contains("hint: it has to be setuid root"), "{output}");
    assert_eq!(fs::read_to_string(world.state().join("namespace")).unwrap(), "");
}

#[test]
fn a_state_directory_of_somebody_else_is_refused() {
    let world = World::without_image();
    let foreign = world.user.home().join("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::set_permissions(&foreign, fs::Permissions::from_mode(0o777)).unwrap();
    let call = || world.command(["--state", foreign.to_str().unwrap(), "ps"]).run();
    let output = call().exits(1);
    assert!(output.stderr().contains("another user"), "{output}");
    world.user.give(&foreign);
    call().exits(1);
    fs::set_permissions(&foreign, fs::Permissions::from_mode(0o700)).unwrap();
    call().ok();
    end_holder(&foreign);
}

#[test]
fn without_a_variable_state_is_in_the_sessions_run_directory_or_in_tmp_for_the_user_alone() {
    let world = World::without_image();
    let path = std::path::PathBuf::from(format!("/tmp/nman-{}", world.user.uid()));
    let run = std::path::PathBuf::from(format!("/run/user/{}", world.user.uid()));
    assert!(!path.exists(), "it is somebody's already: {}", path.display());
    let program = world.user.home().join("nman");
    let call = |words: &[&str]| {
        let call = world.user.call("env").args(["-u", "XDG_RUNTIME_DIR"]).args([&program]);
        call.args(words).directory("/").run()
    };
    if world.user.is_made() {
        let output = call(&["ps"]);
        let stat = fs::metadata(&path).map(|stat| (stat.uid(), stat.permissions().mode() & 0o777));
        end_holder(&path);
        output.ok();
        assert_eq!(stat.unwrap(), (world.user.uid(), 0o700));
        // Somebody else's, whatever its name is.
        fs::create_dir_all(&run).unwrap();
        assert_eq!(state_directory(&call(&["info"]).ok().stdout()), path);
        end_holder(&path);
        world.user.give(&run);
    }
    // As cron and `su` have it while the user is logged in.
    assert_eq!(state_directory(&call(&["info"]).ok().stdout()), run.join("nman"));
    if world.user.is_made() {
        end_holder(&run.join("nman"));
    }
}

fn state_directory(info: &str) -> std::path::PathBuf {
    info.lines().find_map(|line| line.strip_prefix("State Dir: ")).unwrap().into()
}

/// Whoever becomes root with a user's environment works on root's images, not in the user's directories.
#[test]
fn roots_directories_are_not_the_environments() {
    let world = World::without_image();
    let output = Capture::of(env!("CARGO_BIN_EXE_nman"))
        .args(["info", "--format", "{{.DockerRootDir}} {{.StateDir}}"])
        .env("HOME", world.user.home())
        .env("XDG_DATA_HOME", world.user.home())
        .env("XDG_RUNTIME_DIR", world.user.runtime_directory())
        .run()
        .ok();
    assert_eq!(output.stdout(), "/var/lib/nman /run/nman\n");
    assert!(!world.user.home().join("nman/images").exists());
}

/// What belongs to the user's further ids can be reached, and removed, from in there alone.
#[test]
fn unshare_runs_a_command_as_root_of_the_users_namespace() {
    let world = World::new();
    world.shell(&["-v", "data:/volume"], "touch /volume/file").ok();
    let file = world.root().join("volumes/data/_data/file");
    let file = file.to_str().unwrap();
    let script = "id -u; stat -c %u \"$0\"; chown 5 \"$0\" && rm \"$0\"; mount -t tmpfs none /mnt && echo mounted";
    let output = world.nman(["unshare", "sh", "-c", script, file]).ok();
    assert_eq!(output.stdout(), "0\n0\nmounted\n");
    let again = world.user.home().join("nman");
    let nman = |words: &[&str]| {
        let words = [&["unshare", again.to_str().unwrap()], words].concat();
        world.nman(words).ok().stdout()
    };
    assert_eq!(nman(&["volume", "ls", "-q"]), "data\n");
    let run = ["run", "--rm", "--network", "none", IMAGE, "id", "-u"];
    assert_eq!(nman(&run), "0\n");
    world.nman(["unshare", "sh", "-c", "exit 3"]).exits(3);
    let missing = world.nman(["unshare", "/no/such"]).exits(1).stderr();
    assert!(missing.contains("cannot execute `/no/such`: no such file or directory"), "{missing}");
    // For root the variable that is set in there is one like any other.
    let root = Capture::of(env!("CARGO_BIN_EXE_nman"))
        .args(["unshare", "true"])
        .env("NMAN_IN_USER_NAMESPACE", "1")
        .run()
        .exits(1);
    assert!(root.stderr().contains("root has none"), "{root}");
    world.assert_no_container();
}
