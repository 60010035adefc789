//! Mirrors and insecure registries, as `hosts.toml` names them.

use std::fs;

use nconform::fixture::{Capture, Registry, Sandbox};

use crate::images::TestImage;
use crate::lying::{Answer, Server};
use crate::program::Nman;

/// Writes the file of a registry. `/etc` is a private copy in a sandbox.
fn hosts(registry: &str, text: &str) {
    let directory = format!("/etc/nman/certs.d/{registry}");
    fs::create_dir_all(&directory).unwrap();
    fs::write(format!("{directory}/hosts.toml"), text).unwrap();
}

#[test]
fn the_first_mirror_that_has_the_image_gives_it_under_the_registrys_name() {
    let _sandbox = Sandbox::enter();
    let (empty, full) = (Registry::start(), Registry::start());
    let (_directory, source) = TestImage::two_layers().layout();
    full.push(&source, "team/app:1");
    // As a network answers that wants a login first.
    let page = Server::start(|_| {
        Answer::ok("\n<html>hello</html>").with("Content-Type", "text/html; charset=utf-8")
    });
    let (empty, full, page) = (empty.address(), full.address(), page.address());
    let mirrors =
        ["127.0.0.1:1", &empty, page, &full].map(|host| format!("[host.\"http://{host}\"]\n"));
    hosts("registry.invalid", &mirrors.concat());
    let nman = Nman::new();
    let told = nman.run(&["pull", "registry.invalid/team/app:1"]).ok();
    assert_eq!(told.stdout(), "registry.invalid/team/app:1\n");
    let image = nman.store().find("registry.invalid/team/app:1").unwrap();
    assert_eq!(image.names[0].domain(), "registry.invalid");

    let error = nman.run(&["pull", "registry.invalid/team/app:2"]).exits(1).stderr();
    let expected = format!(
        "nman: cannot pull `registry.invalid/team/app:2`: \
         cannot reach `127.0.0.1:1`: connection refused; \
         not found: `{empty}` answers: manifest unknown; \
         `{page}` answered with a web page instead of manifest `2`: \
         a proxy or a login page may stand in the registry's place; \
         not found: `{full}` answers: manifest unknown; \
         no such host `registry.invalid`\n"
    );
    assert!(error.starts_with(&expected), "{error}");
}

#[test]
fn a_mirror_is_not_sent_the_login_of_the_registry() {
    let _sandbox = Sandbox::enter();
    let mirror = Server::with_image(TestImage::two_layers(), |request, answer| {
        if request.path != "/v2/" && request.header("authorization").is_none() {
            return Answer::status(401).with("WWW-Authenticate", "Basic realm=\"x\"");
        }
        answer
    });
    let address = mirror.address().to_owned();
    hosts(
        "registry.invalid",
        &format!(
            "[host.\"http://{address}\"]\n[host.\"http://{address}\".header]\nx-team = \"blue\"\n"
        ),
    );
    let nman = Nman::new();
    fs::create_dir_all(nman.config().parent().unwrap()).unwrap();
    let logins =
        |name: &str| format!("{{\"auths\": {{\"{name}\": {{\"auth\": \"YW5uOnNlY3JldA==\"}}}}}}");
    fs::write(nman.config(), logins("registry.invalid")).unwrap();
    let error = nman.run(&["pull", "registry.invalid/app"]).exits(1).stderr();
    assert!(error.contains(&format!("`{address}` requires a login")), "{error}");
    let seen = mirror.requests();
    assert!(
        !seen.is_empty() && seen.iter().all(|request| request.header("authorization").is_none())
    );
    assert!(seen.iter().all(|request| request.header("x-team") == Some("blue")), "{seen:?}");
    assert!(seen.iter().all(|request| request.path.ends_with("?ns=registry.invalid")), "{seen:?}");

    // Its own it is sent.
    fs::write(nman.config(), logins(&address)).unwrap();
    nman.run(&["pull", "registry.invalid/app"]).ok();
}

#[test]
fn headers_of_the_file_stay_with_their_host_where_a_push_is_redirected() {
    let _sandbox = Sandbox::enter();
    let registry = Registry::start();
    let (_directory, source) = TestImage::two_layers().layout();
    let origin = registry.push(&source, "origin:1");
    let nman = Nman::new();
    nman.run(&["pull", "-q", &origin]).ok();
    for (status, follows) in [(302, false), (307, true)] {
        let thief = Server::start(|_| Answer::status(404));
        let elsewhere = thief.address().to_owned();
        let server = Server::start(move |request| match &*request.method {
            "POST" => {
                let location = format!("http://{elsewhere}/steal");
                Answer::status(status).with("Location", &location)
            }
            "HEAD" => Answer::status(404),
            _ => Answer::ok("{}"),
        });
        let address = server.address();
        let text = format!("server = \"http://{address}\"\n[header]\nx-secret = \"TOPSECRET\"\n");
        hosts(address, &text);
        let name = format!("{address}/app:1");
        nman.tag(&origin, &name);
        nman.run(&["push", &name]).exits(1);
        assert!(server.requests().iter().any(|r| r.header("x-secret") == Some("TOPSECRET")));
        let seen = thief.requests();
        assert_eq!(!seen.is_empty(), follows, "{status}: {seen:?}");
        assert!(seen.iter().all(|r| r.header("x-secret").is_none()), "{status}: {seen:?}");
        assert!(seen.iter().all(|r| r.method == "POST"), "{status}: {seen:?}");
    }
}

#[test]
fn a_blob_that_the_mirror_cannot_finish_comes_from_the_next() {
    let _sandbox = Sandbox::enter();
    let image = TestImage::two_layers();
    let whole = Server::with_image(image.clone(), |_, answer| answer);
    // Whatever is asked of it, a layer ends after ten bytes.
    let broken = Server::with_image(image, |request, mut answer| {
        let continues = request.header("range").is_some();
        if request.path.contains("/blobs/") && answer.body.len() > 10 {
            let length = answer.body.len();
            answer.body.truncate(10);
            answer.length = Some(length);
            if continues {
                return Answer::status(503);
            }
        }
        answer
    });
    hosts(
        "registry.invalid",
        &format!("[host.\"http://{}\"]\n[host.\"http://{}\"]\n", broken.address(), whole.address()),
    );
    let nman = Nman::new();
    nman.run(&["pull", "registry.invalid/app"]).ok();
    let continued = whole.requests().into_iter().filter(|r| r.path.contains("/blobs/"));
    let ranges: Vec<_> = continued.map(|r| r.header("range").map(str::to_owned)).collect();
    assert!(ranges.iter().all(|range| range.as_deref() == Some("bytes=10-")), "{ranges:?}");
    assert_eq!(ranges.len(), 3, "two layers and the configuration");
}

#[test]
fn a_blob_that_is_not_what_its_digest_says_comes_from_the_next() {
    let _sandbox = Sandbox::enter();
    let image = TestImage::two_layers();
    let whole = Server::with_image(image.clone(), |_, answer| answer);
    let wrong = Server::with_image(image, |request, mut answer| {
        if request.path.contains("/blobs/") {
            let last = answer.body.len() - 1;
            answer.body[last] ^= 1;
        }
        answer
    });
    let host = |server: &Server| format!("[host.\"http://{}\"]\n", server.address());
    let nman = Nman::new();
    hosts("registry.invalid", &host(&wrong));
    let error = nman.run(&["pull", "registry.invalid/app"]).exits(1).stderr();
    assert!(error.contains(" does not match: its digest is "), "{error}");
    assert!(error.contains("; no such host `registry.invalid`"), "{error}");
    hosts("registry.invalid", &(host(&wrong) + &host(&whole)));
    nman.run(&["pull", "registry.invalid/app"]).ok();
    let blobs = |server: &Server| {
        server.requests().iter().filter(|request| request.path.contains("/blobs/")).count()
    };
    assert_eq!((blobs(&wrong), blobs(&whole)), (4, 3), "the configuration was asked for twice");
    nman.run(&["system", "check"]).ok();
}

#[test]
fn an_insecure_registry_is_one_that_the_file_names() {
    let _sandbox = Sandbox::enter();
    Capture::of("ip").args(["address", "add", "10.9.9.9/32", "dev", "lo"]).run().ok();
    let image = TestImage::two_layers();
    let manifest = image.manifest();
    let server = Server::start_at("10.9.9.9:0", Server::answers(image, &manifest, |_, a| a));
    let (address, nman) = (server.address().to_owned(), Nman::new());
    let name = format!("{address}/app");
    let refused = nman.run(&["pull", &name]).exits(1);
    assert!(refused.stderr().contains("the server does not speak TLS"), "{refused}");

    hosts(&address, &format!("server = \"http://{address}\"\n"));
    nman.run(&["pull", "-q", &name]).ok();
    hosts(&address, "skip_verify = true\n");
    nman.run(&["pull", "-q", &name]).ok();

    hosts(&address, "skip_verify = maybe\n");
    let error = nman.run(&["pull", &name]).exits(1).stderr();
    let file = format!("/etc/nman/certs.d/{address}/hosts.toml");
    assert!(error.contains(&format!("cannot use `{file}`: line 1")), "{error}");
}
