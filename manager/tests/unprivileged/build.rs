//! A user's builds: who owns what in the image, and whose the files are that come out of it.

use crate::world::{IMAGE, World};
use nconform::fixture::Capture;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixListener;

#[test]
fn an_image_is_built_and_its_files_are_the_users() {
    let world = World::new();
    let context = world.user.home().join("context");
    fs::create_dir(&context).unwrap();
    let text = format!(
        "FROM {IMAGE} AS made\nRUN <<EOF\n#!/bin/sh -e\nmkdir /made && echo made > /made/file && chown 5:6 /made/file\nEOF\n\
         ADD --chown=mail files.tar /made/unpacked/\nCOPY --chmod=u=rw,go=r --chown=7:8 file /made/copied\n\
         RUN --mount=type=secret,id=key,env=KEY --mount=type=ssh test -n \"$KEY\" && test -S $SSH_AUTH_SOCK\n\
         RUN stat -c '%u:%g %a' /made/file /made/unpacked/inner /made/copied > /made/owners\n\
         FROM scratch\nCOPY --from=made /made /\n"
    );
    let at = |name: &str| context.join(name);
    for (name, content) in [("Dockerfile", text.as_str()), ("file", "copied"), ("inner", "inner")] {
        fs::write(at(name), content).unwrap();
    }
    let directory = context.display().to_string();
    let packed = ["-C", &directory, "--owner=5", "--group=6", "-cf"];
    Capture::of("tar").args(packed).args([at("files.tar").to_str().unwrap(), "inner"]).run().ok();
    let _agent = UnixListener::bind(at("agent")).unwrap();
    for name in ["", "Dockerfile", "file", "inner", "files.tar", "agent"] {
        world.user.give(&at(name));
    }
    let out = world.user.home().join("out");
    let output = out.display().to_string();
    let agent = format!("default={}", at("agent").display());
    let secret = format!("id=key,src={directory}/file");
    let built = |options: &[&str]| {
        let own = ["build", "--network", "none", "--ssh", &agent, "--secret", &secret];
        let words: Vec<&str> = own.iter().chain(options).copied().chain([&*directory]).collect();
        world.nman(words)
    };
    built(&["-t", "built", "-o", "type=image", "-o", &output]).ok();
    assert_eq!(fs::read_to_string(out.join("owners")).unwrap(), "5:6 644\n8:12 644\n7:8 644\n");
    let owner = |name: &str| fs::metadata(out.join(name)).unwrap().uid();
    let user = world.user.uid();
    assert_eq!([owner(""), owner("file"), owner("unpacked/inner")], [user; 3]);
    let again = built(&["--squash", "-t", "squashed"]).ok().stderr();
    assert_eq!(again.matches("Using cache").count(), 6, "{again}");
    world.assert_no_container();
    assert!(crate::world::entries(&world.root().join("staging")).is_empty());
}
