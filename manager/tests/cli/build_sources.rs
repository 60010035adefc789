//! `nman build`: what COPY and ADD choose, change and fetch.

use super::build::{assert_nothing_left, build, context, dockerfile, shell};
use super::server::{Answer, Server};
use super::world::World;
use bundle::digest::Digest;
use nconform::fixture::Capture;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

/// A gzipped archive of files that belong to 5:6, one of them with a mode of its own.
fn archive(world: &World) -> Vec<u8> {
    let root = context(world, "archive", &[("inner", "inner"), ("bin/tool", "tool")]);
    fs::set_permissions(world.path("archive/bin/tool"), fs::Permissions::from_mode(0o751)).unwrap();
    let packed = world.path("files.tar.gz");
    let path = packed.display().to_string();
    let own = ["--owner=5", "--group=6", "--numeric-owner"];
    Capture::of("tar").args(own).args(["-C", &root, "-czf", &path, "inner", "bin"]).run().ok();
    fs::read(packed).unwrap()
}

#[test]
fn what_is_excluded_is_not_copied_and_parents_come_along() {
    let world = World::new();
    let steps = "COPY --exclude=*.md --exclude=sub/secret . /all/\n\
         COPY --exclude=x* d*/* /files/\n\
         COPY --parents dir/sub/y dir/x /parents/\n\
         COPY --parents ./dir/./sub/* /pivot/\n\
         COPY --parents --exclude=**/x **/*.md dir /some/\n\
         RUN mkdir /there && ln -s /../../outside /there/dir\n";
    let text = dockerfile(steps);
    let files = [
        ("Dockerfile", text.as_str()),
        (".dockerignore", "Dockerfile\n.dockerignore\n"),
        ("a.md", "a"),
        ("dir/x", "x"),
        ("dir/sub/y", "y"),
        ("dir/sub/z.md", "z"),
        ("sub/secret", "secret"),
        ("sub/open", "open"),
    ];
    let context = context(&world, "context", &files);
    let at = |name: &str| world.path(&format!("context/{name}"));
    fs::set_permissions(at("dir"), fs::Permissions::from_mode(0o711)).unwrap();
    build(&world, &["-t", "chosen"], &context).ok();
    let look = "for d in all files parents pivot some; do cd /$d; find . -type f | sort; done; stat -c %a /parents/dir";
    let expected = "./dir/sub/y\n./dir/sub/z.md\n./dir/x\n./sub/open\n./y\n./z.md\n\
        ./dir/sub/y\n./dir/x\n./sub/y\n./sub/z.md\n./a.md\n./dir/sub/y\n./dir/sub/z.md\n711\n";
    assert_eq!(shell(&world, "chosen", look), expected);
    // What is left out counts for nothing.
    let cached =
        || build(&world, &["-t", "chosen"], &context).ok().stderr().matches("Using cache").count();
    fs::write(at("sub/secret"), "other").unwrap();
    assert_eq!(cached(), 6);
    fs::set_permissions(at("dir"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(cached(), 0);
    // A link in the image leads to a place in the image.
    let escape = "FROM chosen\nCOPY --parents dir/x /there/\n";
    fs::write(at("Dockerfile"), escape).unwrap();
    fs::create_dir(world.path("outside")).unwrap();
    symlink("../outside", at("up")).unwrap();
    let refused = build(&world, &[], &context).exits(1).stderr();
    assert!(refused.contains("cannot overwrite non-directory with directory"), "{refused}");
    assert!(super::world::entries(&world.path("outside")).is_empty());
    for (word, why) in [("up/./x", "up/./x"), ("nope", "nope")] {
        fs::write(at("Dockerfile"), dockerfile(&format!("COPY --parents {word} /p/\n"))).unwrap();
        let refused = build(&world, &[], &context).exits(1).stderr();
        let expected = format!("\"{why}\" was not found in the build context");
        assert!(refused.contains(&expected), "{refused}");
    }
    assert_nothing_left(&world);
}

#[test]
fn modes_are_given_in_letters_and_archives_get_an_owner() {
    let world = World::new();
    let packed = archive(&world);
    let steps = "COPY --chmod=u=rwX,go=rX dir /dir\nCOPY --chmod=a+x,o= dir/x /x\n\
         ADD --chown=mail:video --chmod=700 files.tar.gz /owned\nADD files.tar.gz /own\n\
         ADD --unpack=false files.tar.gz /packed\n";
    let text = dockerfile(steps);
    let files = [("Dockerfile", text.as_str()), ("dir/x", "x"), ("dir/run", "run")];
    let context = context(&world, "context", &files);
    let at = |name: &str| world.path(&format!("context/{name}"));
    fs::write(at("files.tar.gz"), packed).unwrap();
    for (name, mode) in [("dir", 0o700), ("dir/x", 0o600), ("dir/run", 0o711)] {
        fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    build(&world, &["-t", "moded"], &context).ok();
    let look = "stat -c '%n %u:%g %a' /dir /dir/x /dir/run /x /owned/inner /owned/bin/tool /own/inner; test -f /packed && echo packed";
    let expected = "/dir 0:0 755\n/dir/x 0:0 644\n/dir/run 0:0 755\n/x 0:0 710\n\
        /owned/inner 8:27 644\n/owned/bin/tool 8:27 751\n/own/inner 5:6 644\npacked\n";
    assert_eq!(shell(&world, "moded", look), expected);
    assert_nothing_left(&world);
}

#[test]
fn a_file_is_added_from_a_url_and_made_again_when_it_is_another() {
    let world = World::new();
    let (packed, path) = (archive(&world), world.path("served"));
    fs::write(&path, "first").unwrap();
    let digest = Digest::of(b"first");
    let sent = packed.clone();
    let server = Server::start(move |request| match &*request.path {
        "/a/file%201?x=y" => Answer::ok(fs::read(&path).unwrap())
            .with("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
        "/old" => Answer::status(302).with("Location", "/files.tar.gz"),
        "/files.tar.gz" => Answer::ok(sent.clone()),
        _ => Answer::status(404),
    });
    let url = format!("http://{}", server.address());
    let text = dockerfile(&format!(
        "ARG URL={url}\nADD --checksum={digest} $URL/a/file%201?x=y /d/\n\
         ADD --chown=mail --chmod=u+x,g=r $URL/a/file%201?x=y /named\n\
         ADD $URL/old /packed\nADD --unpack $URL/old /unpacked\n\
         ADD $URL/old $URL/files.tar.gz /both/\n"
    ));
    let context = context(&world, "context", &[("Dockerfile", &text)]);
    let built = |options: &[&str]| {
        let own = [&["-t", "fetched"], options].concat();
        build(&world, &own, &context)
    };
    built(&[]).ok();
    let look = "cat '/d/file 1'; stat -c '%n %u:%g %a %Y' '/d/file 1' /named; stat -c %s /packed; \
        ls /both; stat -c '%u %a' /unpacked/bin/tool";
    let size = packed.len();
    let expected = format!(
        "first/d/file 1 0:0 600 784111777\n/named 8:12 740 784111777\n{size}\nfiles.tar.gz\nold\n5 751\n"
    );
    assert_eq!(shell(&world, "fetched", look), expected);
    let cached = || built(&[]).ok().stderr().matches("Using cache").count();
    assert_eq!(cached(), 5);
    fs::write(world.path("served"), "other").unwrap();
    let refused = built(&[]).exits(1).stderr();
    let expected = format!("digest mismatch {}: {digest}\n", Digest::of(b"other"));
    assert!(refused.contains(&expected), "{refused}");
    let without = text.replace(&format!("--checksum={digest} "), "");
    fs::write(world.path("context/Dockerfile"), &without).unwrap();
    // What stands behind it is made again, too.
    assert_eq!((cached(), cached()), (0, 5));
    fs::write(
        world.path("context/Dockerfile"),
        dockerfile(&format!("ADD http://jo:secret@{}/none /d/\n", server.address())),
    )
    .unwrap();
    let refused = built(&[]).exits(1).stderr();
    assert!(refused.contains(&format!("cannot add `{url}/none`: ")), "{refused}");
    assert!(refused.contains("404 Not Found") && !refused.contains("secret"), "{refused}");
    assert_nothing_left(&world);
}

#[test]
fn what_has_no_name_is_a_file_under_another_one_and_goes_into_no_directory() {
    let world = World::new();
    let server = Server::start(|_| Answer::ok("nameless"));
    let url = format!("http://{}/", server.address());
    let root = context(&world, "context", &[("Dockerfile", "")]);
    let into = |target: &str| {
        let text = dockerfile(&format!("RUN mkdir -p /tmp\nADD {url} {target}\n"));
        fs::write(world.path("context/Dockerfile"), text).unwrap();
        build(&world, &["-t", "nameless"], &root)
    };
    into("/named").ok();
    assert_eq!(shell(&world, "nameless", "cat /named"), "nameless");
    for target in ["/tmp", "/tmp/"] {
        let refused = into(target).exits(1).stderr();
        let why = format!("cannot determine filename for source {url}\n");
        assert!(refused.contains(&why), "{refused}");
    }
    assert_nothing_left(&world);
}

#[test]
fn an_archive_of_the_context_is_not_taken_for_one_that_was_fetched_nor_the_other_way_round() {
    let world = World::new();
    let packed = archive(&world);
    let root = context(&world, "context", &[]);
    let local = world.path("context/x.tar.gz");
    fs::create_dir(world.path("context")).unwrap();
    fs::write(&local, &packed).unwrap();
    // The mode of what is fetched.
    fs::set_permissions(&local, fs::Permissions::from_mode(0o600)).unwrap();
    let server = Server::start(move |_| Answer::ok(packed.clone()));
    let url = format!("http://{}/x.tar.gz", server.address());
    let look = |source: &str, target: &str| {
        let text = dockerfile(&format!("ADD {source} {target}\n"));
        fs::write(world.path("context/Dockerfile"), text).unwrap();
        build(&world, &["-t", "added"], &root).ok();
        shell(&world, "added", &format!("ls {target}"))
    };
    let (unpacked, file) = ("bin\ninner\n", "x.tar.gz\n");
    assert_eq!([look("x.tar.gz", "/a/"), look(&url, "/a/")], [unpacked, file]);
    assert_eq!([look(&url, "/b/"), look("x.tar.gz", "/b/")], [file, unpacked]);
    assert_nothing_left(&world);
}

/// A repository as plain files, for whoever logs in as jo with the password `secret`.
fn with_login(root: std::path::PathBuf) -> Server {
    Server::start(move |request| {
        if request.header("authorization") != Some("Basic am86c2VjcmV0") {
            return Answer::status(401).with("WWW-Authenticate", "Basic realm=\"git\"");
        }
        let path = request.path.split('?').next().unwrap_or_default();
        let path = path.strip_prefix("/repo.git/").unwrap_or_default();
        fs::read(root.join(path)).map_or(Answer::status(404), Answer::ok)
    })
}

#[test]
fn a_repository_is_added_at_its_commit_and_without_its_history() {
    let world = World::new();
    let source = context(&world, "source", &[("file", "one"), ("sub/deep", "deep")]);
    let git = |directory: &str, args: &[&str]| {
        let own = ["-C", directory, "-c", "user.name=t", "-c", "user.email=t@t"];
        Capture::of("git").args(own).args(args).run().ok().text()
    };
    fs::set_permissions(world.path("source/sub/deep"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("/etc/shadow", world.path("source/link")).unwrap();
    git(&source, &["init", "-q", "-b", "main"]);
    git(&source, &["add", "."]);
    git(&source, &["commit", "-q", "-m", "one"]);
    git(&source, &["tag", "v1"]);
    let first = git(&source, &["rev-parse", "HEAD"]);
    fs::write(world.path("source/file"), "two").unwrap();
    git(&source, &["commit", "-q", "-a", "-m", "two"]);
    let server = with_login(world.path("source/.git"));
    git(&source, &["update-server-info"]);
    let url = format!("http://jo:secret@{}/repo.git", server.address());
    let text = dockerfile(&format!(
        "ADD {url} /head\nADD {url}#v1 /tag\nADD {url}#{first}:sub /sub\nADD --keep-git-dir {url}#main /kept\n\
         ADD --exclude=sub --exclude=l* {url} /some\n"
    ));
    let context = context(&world, "context", &[("Dockerfile", &text)]);
    build(&world, &["-t", "cloned"], &context).ok();
    let look = "cat /head/file /tag/file; ls -A /sub /head /some; stat -c %a /sub/deep /head/file; \
        readlink /head/link; test -d /kept/.git; grep -rq secret /kept/.git || echo hidden";
    let expected = "twoone/head:\nfile\nlink\nsub\n\n/some:\nfile\n\n/sub:\ndeep\n755\n644\n/etc/shadow\nhidden\n";
    assert_eq!(shell(&world, "cloned", look), expected);
    let history = world.nman(["history", "--no-trunc", "cloned"]).ok().stdout();
    assert!(history.contains("/repo.git#v1 /tag") && !history.contains("secret"), "{history}");
    let cached =
        || build(&world, &["-t", "cloned"], &context).ok().stderr().matches("Using cache").count();
    assert_eq!(cached(), 5);
    fs::write(world.path("source/file"), "three").unwrap();
    git(&source, &["commit", "-q", "-a", "-m", "three"]);
    git(&source, &["update-server-info"]);
    assert_eq!(cached(), 0);
    for (reference, why) in [("#nope", "couldn't find remote ref nope"), (":sub", "")] {
        let text = dockerfile(&format!("ADD {url}{reference} /x\n"));
        fs::write(world.path("context/Dockerfile"), text).unwrap();
        let refused = build(&world, &[], &context).exits(1).stderr();
        let shown = format!("http://{}/repo.git", server.address());
        assert!(refused.contains(why) && !refused.contains("secret"), "{refused}");
        assert!(
            why.is_empty() || refused.contains(&format!("cannot get `{shown}`: ")),
            "{refused}"
        );
    }
    assert_nothing_left(&world);
}

#[test]
fn the_root_of_a_context_can_be_entered_by_everybody_however_the_place_looks_where_it_lies() {
    let world = World::new();
    let text = dockerfile(
        "COPY . /app/\nCOPY --chown=1000 . /owned\nCOPY --parents file /parents/\nUSER 1000\n\
         RUN --mount=type=bind,target=/src cat /app/file /owned/file /src/file && stat -c %a /src > /owned/mode\n",
    );
    let root = context(&world, "context", &[("Dockerfile", &text), ("file", "content")]);
    let look = || {
        let look = "stat -c '%u:%g %a' /app /owned; cat /owned/mode";
        assert_eq!(shell(&world, "entered", look), "0:0 755\n1000:1000 755\n755\n");
        world.nman(["image", "inspect", "-f", "{{.Id}}", "entered"]).ok().text()
    };
    let place = world.path("context");
    let name = "user.of";
    rustix::fs::setxattr(&place, name, b"it", rustix::fs::XattrFlags::empty()).unwrap();
    let local = [0o700, 0o2775, 0o755].map(|mode| {
        fs::set_permissions(&place, fs::Permissions::from_mode(mode)).unwrap();
        let said = build(&world, &["-t", "entered"], &root).ok().stderr();
        (look(), said.matches("Using cache").count())
    });
    assert_eq!(local.each_ref().map(|(_, cached)| *cached), [0, 4, 4]);
    assert!(local.iter().all(|(id, _)| *id == local[0].0), "{local:?}");

    // As `git archive` writes it: without an entry for the root.
    let packed = world.path("context.tar").display().to_string();
    Capture::of("tar").args(["-C", &root, "-cf", &packed, "Dockerfile", "file"]).run().ok();
    let args = ["build", "--no-cache", "--network", "none", "-t", "entered", "-"];
    world.command(args).stdin(fs::read(packed).unwrap()).run().ok();
    look();
    let git = |args: &[&str]| {
        let own = ["-C", &root, "-c", "user.name=t", "-c", "user.email=t@t"];
        Capture::of("git").args(own).args(args).run().ok();
    };
    git(&["init", "-q", "-b", "main"]);
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "one"]);
    git(&["update-server-info"]);
    let server = with_login(world.path("context/.git"));
    let url = format!("http://jo:secret@{}/repo.git", server.address());
    build(&world, &["--no-cache", "-t", "entered"], &url).ok();
    look();
    assert_nothing_left(&world);
}

#[test]
fn what_a_pattern_does_not_find_is_not_missed_and_directories_on_the_way_have_the_owner() {
    let world = World::new();
    let packed = archive(&world);
    let steps = "COPY --chown=55:77 dir/x yarn.lock* package-lock.json* /t/\n\
         COPY --chown=55:77 dir /p/q/r\nADD --chown=55:77 files.tar.gz /u/v\n\
         COPY --chown=55:77 --parents dir/x nope/* /w/\nCOPY --chown=55:77 dir/x /etc/x\nCOPY dir/x /z/x\n";
    let text = dockerfile(steps);
    let files = [("Dockerfile", text.as_str()), ("dir/x", "x")];
    let context = context(&world, "context", &files);
    fs::write(world.path("context/files.tar.gz"), packed).unwrap();
    build(&world, &["-t", "optional"], &context).ok();
    let look =
        "ls /t /w; stat -c '%n %u:%g' /t /t/x /p /p/q /p/q/r /u /u/v /w /w/dir /etc /etc/x /z";
    let expected = "/t:\nx\n\n/w:\ndir\n/t 55:77\n/t/x 55:77\n/p 55:77\n/p/q 55:77\n/p/q/r 55:77\n\
        /u 55:77\n/u/v 55:77\n/w 55:77\n/w/dir 55:77\n/etc 0:0\n/etc/x 55:77\n/z 0:0\n";
    assert_eq!(shell(&world, "optional", look), expected);
    for step in ["COPY nope* /t/", "COPY --parents n?pe **/*.nope /t/", "COPY dir/x nope /t/"] {
        fs::write(world.path("context/Dockerfile"), dockerfile(step)).unwrap();
        let refused = build(&world, &[], &context).exits(1).stderr();
        assert!(refused.contains("was not found in the build context"), "{refused}");
    }
    assert_nothing_left(&world);
}

#[test]
fn an_archive_takes_the_place_of_what_is_of_another_kind() {
    let world = World::new();
    let root = context(&world, "archive", &[("lib/x", "x"), ("abs", "file")]);
    let text = dockerfile(
        "RUN mkdir -p /usr/lib2 && ln -s usr/lib2 /lib && mkdir -p /abs/x\nADD files.tar /\n",
    );
    let context = context(&world, "context", &[("Dockerfile", &text)]);
    let path = world.path("context/files.tar").display().to_string();
    Capture::of("tar").args(["-C", &root, "-cf", &path, "lib", "abs"]).run().ok();
    build(&world, &["-t", "replaced"], &context).ok();
    let look = "cat /lib/x /abs; test -d /lib && test ! -L /lib && ls /usr/lib2 | wc -l";
    assert_eq!(shell(&world, "replaced", look), "xfile0\n");
    assert_nothing_left(&world);
}
