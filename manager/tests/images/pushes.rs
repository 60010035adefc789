//! Pushing, to Debian's registry and to one that breaks off, and what other tools then read.

use std::sync::{Arc, Mutex};

use bundle::digest::Digest;
use nconform::fixture::{Capture, Registry, Sandbox, scratch_dir};
use nman::progress::NoProgress;
use nman::pull::{Policy, PullOptions, pull};
use nman::push::{PushOptions, push};
use nman::reference::Reference;
use nman::store::{Image, Store};
use tempfile::TempDir;

use crate::images::{TestImage, store};
use crate::lying::{Answer, Request, Server};
use crate::program::Nman;

/// A program whose store has the image of two layers, called by the returned name.
fn with_image(registry: &Registry) -> (Nman, String) {
    let (_directory, source) = TestImage::two_layers().layout();
    let name = registry.push(&source, "origin:1");
    let nman = Nman::new();
    nman.run(&["pull", "-q", &name]).ok();
    (nman, name)
}

/// A store that has pulled the image of two layers.
fn pulled(registry: &Registry) -> (TempDir, Store, Image) {
    let (_directory, source) = TestImage::two_layers().layout();
    let name: Reference = registry.push(&source, "origin:1").parse().unwrap();
    let (root, store) = store();
    let always = PullOptions { policy: Policy::Always, ..PullOptions::default() };
    let image = pull(&name, &always, &store, &NoProgress).unwrap();
    (root, store, image)
}

fn skopeo(args: &[&str]) -> nconform::fixture::Output {
    Capture::of("skopeo").args(args).run()
}

#[test]
fn what_is_pushed_has_the_digest_that_it_has_here_and_is_read_by_others() {
    let _sandbox = Sandbox::enter();
    let (from, to) = (Registry::start(), Registry::start());
    let (nman, old) = with_image(&from);
    let image = nman.store().find(&old).unwrap();
    let name = format!("{}/team/app:2", to.address());
    nman.tag(&old, &name);

    let pushed = nman.run(&["push", &name]).ok();
    let told = pushed.stderr();
    let repository = name.strip_suffix(":2").unwrap();
    assert!(told.starts_with(&format!("The push refers to repository [{repository}]\n")), "{told}");
    for diff_id in &image.diff_ids {
        assert!(told.contains(&format!("{}: Pushed\n", diff_id.digest().short())), "{told}");
    }
    let remote = format!("docker://{name}");
    let raw = skopeo(&["inspect", "--raw", "--tls-verify=false", &remote]).ok().stdout();
    assert_eq!(Digest::of(raw.as_bytes()), image.manifest_digest);
    let expected = format!("2: digest: {} size: {}\n", image.manifest_digest, raw.len());
    assert_eq!(pushed.stdout(), expected);

    // skopeo verifies every digest as it copies; what it copied comes back.
    let copied = scratch_dir();
    let layout = format!("oci:{}:x", copied.path().display());
    skopeo(&["copy", "-q", "--insecure-policy", "--src-tls-verify=false", &remote, &layout]).ok();
    let other = Nman::new();
    assert_eq!(other.run(&["pull", "-q", &name]).ok().stdout(), format!("{name}\n"));
    assert_eq!(other.store().find(&name).unwrap().id, image.id);

    let again = nman.run(&["push", &name]).ok();
    assert_eq!(again.stderr().matches(": Layer already exists\n").count(), 2, "{again}");
    assert_eq!(again.stdout(), expected);
    let quiet = nman.run(&["push", "--quiet", &name]).ok();
    assert_eq!((quiet.stdout(), quiet.stderr()), (format!("{name}\n"), String::new()));
}

#[test]
fn a_layer_that_another_repository_has_is_taken_over_there() {
    let _sandbox = Sandbox::enter();
    let registry = Registry::start();
    let (nman, old) = with_image(&registry);
    let name = format!("{}/team/copy:1", registry.address());
    nman.tag(&old, &name);
    let told = nman.run(&["push", &name]).ok().stderr();
    assert_eq!(told.matches(": Mounted from origin\n").count(), 2, "{told}");
    skopeo(&["inspect", "--tls-verify=false", &format!("docker://{name}")]).ok();
}

#[test]
fn all_tags_of_a_repository_are_pushed_and_pulled() {
    let _sandbox = Sandbox::enter();
    let registry = Registry::start();
    let (nman, old) = with_image(&registry);
    let repository = format!("{}/many", registry.address());
    for tag in ["a", "b", "c"] {
        nman.tag(&old, &format!("{repository}:{tag}"));
    }
    let told = nman.run(&["push", "--all-tags", &repository]).ok().stdout();
    let tags: Vec<_> = told.lines().filter_map(|line| line.split(": digest: ").next()).collect();
    assert_eq!(tags, ["a", "b", "c"], "{told}");

    let other = Nman::new();
    let pulled = other.run(&["pull", "-a", &repository]).ok();
    assert_eq!(pulled.stdout(), format!("{repository}\n"));
    assert_eq!(other.store().list().unwrap()[0].names.len(), 3);

    let wrong = nman.run(&["push", "-a", &format!("{repository}:a")]);
    assert!(wrong.stderr().contains("tag can't be used with --all-tags/-a"), "{wrong}");
    let missing = nman.run(&["push", &format!("{repository}:nope")]).exits(1);
    let words = format!("An image does not exist locally with the tag: {repository}");
    assert!(missing.stderr().contains(&words), "{missing}");
}

#[test]
fn a_list_of_tags_without_end_is_not_read_to_its_end() {
    let _sandbox = Sandbox::enter();
    let page = serde_json::json!({ "name": "app", "tags": vec!["a"; 100_000] }).to_string();
    let server = Server::start(move |request| match &*request.path {
        "/v2/" => Answer::ok("{}"),
        _ => Answer::ok(page.clone()).with("Link", "</v2/app/tags/list?last=a>; rel=\"next\""),
    });
    let name = format!("{}/app", server.address());
    let error = Nman::new().run(&["pull", "-a", &name]).exits(1).stderr();
    assert!(error.contains("it lists more than 250000 tags"), "{error}");
    let pages = server.requests().iter().filter(|r| r.path.contains("/tags/list")).count();
    assert_eq!(pages, 3);
}

#[test]
fn an_image_of_buildah_makes_the_round() {
    let _sandbox = Sandbox::enter();
    let registry = Registry::start();
    let work = scratch_dir();
    let storage = work.path().display().to_string();
    let buildah = |args: &[&str]| {
        let global = ["--root", &format!("{storage}/root"), "--runroot", &format!("{storage}/run")]
            .map(str::to_owned);
        Capture::of("buildah").args(global).args(["--storage-driver", "vfs"]).args(args).run().ok()
    };
    let container = buildah(&["from", "scratch"]).text();
    buildah(&["copy", &container, "/bin/busybox", "/bin/busybox"]);
    buildah(&["config", "--cmd", "/bin/busybox true", &container]);
    buildah(&["commit", "--format", "docker", &container, "made"]);
    let name = format!("{}/made:1", registry.address());
    buildah(&["push", "--tls-verify=false", "made", &format!("docker://{name}")]);

    let nman = Nman::new();
    nman.run(&["pull", "-q", &name]).ok();
    let back = format!("{}/back:1", registry.address());
    nman.tag(&name, &back);
    nman.run(&["push", "-q", &back]).ok();
    buildah(&["pull", "-q", "--tls-verify=false", &format!("docker://{back}")]);
    let listed = buildah(&["images", "--format", "{{.Name}}:{{.Tag}}"]).stdout();
    assert!(listed.contains(&back), "{listed}");
}

/// A registry that takes blobs in and whose second piece arrives by half before it says that it is overloaded.
fn breaking(kept: Arc<Mutex<Vec<u8>>>) -> impl Fn(&Request) -> Answer + Send + Sync + 'static {
    let faults = Mutex::new(0);
    move |request| {
        let mut kept = kept.lock().unwrap();
        let standing = |answer: Answer, kept: &[u8]| {
            let range = format!("0-{}", kept.len().saturating_sub(1));
            // A path of its own or one beside what was asked for: both are a URI reference.
            let location = if kept.is_empty() { "1" } else { "/v2/app/blobs/uploads/1" };
            answer.with("Location", location).with("Range", &range)
        };
        let begins = request.header("content-range").and_then(|range| range.split('-').next());
        match (&*request.method, &*request.path) {
            ("GET", "/v2/") => Answer::ok("{}"),
            ("HEAD", _) => Answer::status(404),
            ("POST", _) => {
                kept.clear();
                standing(Answer::status(202), &kept)
            }
            ("GET", _) => standing(Answer::status(204), &kept),
            ("PATCH", _) if begins != Some(&*kept.len().to_string()) => Answer::status(416),
            ("PATCH", _) if !kept.is_empty() && *faults.lock().unwrap() == 0 => {
                *faults.lock().unwrap() += 1;
                kept.extend_from_slice(&request.content[..request.content.len() / 2]);
                Answer::status(503)
            }
            ("PATCH", _) => {
                kept.extend_from_slice(&request.content);
                standing(Answer::status(202), &kept)
            }
            ("PUT", path) if path.contains("digest=") => {
                kept.extend_from_slice(&request.content);
                let whole = path.ends_with(Digest::of(&kept).as_str());
                Answer::status(if whole { 201 } else { 400 })
            }
            ("PUT", _) => Answer::status(201),
            _ => Answer::status(405),
        }
    }
}

#[test]
fn a_large_layer_is_sent_in_pieces_and_goes_on_where_it_broke_off() {
    let _sandbox = Sandbox::enter();
    let registry = Registry::start();
    let (_root, store, image) = pulled(&registry);

    let server = Server::start(breaking(Arc::default()));
    let name = server.reference();
    store.tag(&image, &name).unwrap();
    let chunk = image.layers[0].size() / 3;
    // One layer after the other would be another test: the server has one upload.
    let options = PushOptions { chunk, parallel: 1, ..PushOptions::default() };
    push(&name, &options, &store, &NoProgress).unwrap();
    let requests = server.requests();
    let pieces = requests.iter().filter(|request| request.method == "PATCH").count();
    assert!(pieces > 4, "{pieces} pieces");
    let asked = requests.iter().filter(|r| r.method == "GET" && r.path.contains("uploads"));
    assert_eq!(asked.count(), 1, "how far it has come is asked once");
    let begun = requests.iter().filter(|request| request.method == "POST").count();
    assert_eq!(begun, 3, "two layers and a configuration, none from the beginning again");
}

/// A registry that lets its user push to `app`, and knows of no right to read another repository.
fn narrow(request: &Request) -> Answer {
    let host = request.header("host").unwrap_or_default();
    let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"it\"");
    match (&*request.method, &*request.path) {
        ("GET", path) if path.starts_with("/token") && path.contains("other") => {
            Answer::status(403)
        }
        ("GET", path) if path.starts_with("/token") => Answer::ok(r#"{"token":"t"}"#),
        _ if request.header("authorization").is_none() => {
            Answer::status(401).with("WWW-Authenticate", &challenge)
        }
        ("GET", "/v2/") => Answer::ok("{}"),
        ("HEAD", _) => Answer::status(404),
        ("POST", path) if path.contains("mount=") => Answer::status(403),
        ("POST", _) => Answer::status(202).with("Location", "/v2/app/blobs/uploads/1"),
        ("PUT", _) => Answer::status(201),
        _ => Answer::status(405),
    }
}

#[test]
fn a_layer_that_may_not_be_taken_over_from_another_repository_is_sent() {
    let _sandbox = Sandbox::enter();
    let registry = Registry::start();
    let (_root, store, image) = pulled(&registry);

    let server = Server::start(narrow);
    let other = format!("{}/other:1", server.address()).parse().unwrap();
    store.tag(&image, &other).unwrap();
    store.tag(&image, &server.reference()).unwrap();
    push(&server.reference(), &PushOptions::default(), &store, &NoProgress).unwrap();
    let requests = server.requests();
    let of = |method: &str, part: &str| {
        let is = |request: &&Request| request.method == method && request.path.contains(part);
        requests.iter().filter(is).count()
    };
    assert_eq!(of("POST", "mount="), 3, "two layers and the configuration are asked for");
    assert_eq!(of("PUT", "digest="), 3, "and sent");
}

#[test]
fn a_layer_that_an_image_has_twice_is_sent_once() {
    let _sandbox = Sandbox::enter();
    let image = TestImage::two_layers().with_twins();
    let from = Server::with_image(image, |_, answer| answer);
    let nman = Nman::new();
    nman.run(&["pull", "-q", &from.reference().to_string()]).ok();
    let to = Server::start(narrow);
    let name = to.reference().to_string();
    nman.tag(&from.reference().to_string(), &name);
    let told = nman.run(&["push", &name]).ok().stderr();
    assert_eq!(told.matches(": Pushed\n").count(), 5, "{told}");
    let requests = to.requests();
    let sent = requests
        .iter()
        .filter(|request| request.method == "PUT" && request.path.contains("digest="));
    assert_eq!(sent.count(), 3, "two layers and the configuration");
}

#[test]
fn a_platform_that_is_asked_for_has_to_be_that_of_the_image() {
    let _sandbox = Sandbox::enter();
    let registry = Registry::start();
    let (nman, name) = with_image(&registry);
    let id = nman.run(&["images", "-q"]).ok().text();
    for words in [&["push"][..], &["history"], &["image", "inspect"], &["rmi"]] {
        let refused = nman.run(&[words, &["--platform", "linux/arm64", &name]].concat()).exits(1);
        let said = format!(
            "nman: image with reference {name} was found but its platform (linux/amd64) does not match the \
             specified platform (linux/arm64)\n"
        );
        assert!(refused.stderr().contains(&said), "{words:?}: {refused}");
        assert_eq!(nman.run(&["images", "-q"]).ok().text(), id, "{words:?}");
        nman.run(&[words, &["--platform", "linux/amd64", &name]].concat()).ok();
    }
    assert_eq!(nman.run(&["images", "-q"]).ok().text(), "");
}

#[test]
fn a_digest_that_was_pulled_is_a_row_of_its_own_only_without_a_tag_of_its_repository() {
    let _sandbox = Sandbox::enter();
    let registry = Registry::start();
    let (nman, name) = with_image(&registry);
    let rows = || {
        let listed = nman.run(&["images", "--format", "{{.Repository}} {{.Tag}}"]).ok();
        listed.stdout().replace(&registry.address(), "R")
    };
    assert_eq!(rows(), "R/origin 1\n");
    let pinned =
        nman.run(&["image", "inspect", "-f", "{{index .RepoDigests 0}}", &name]).ok().text();
    let both = format!("{name}@{}", pinned.split_once('@').unwrap().1);
    for digest in [&pinned, &both] {
        nman.run(&["pull", "-q", digest]).ok();
        assert_eq!(rows(), "R/origin 1\n", "{digest}");
    }
    // They go with the last tag of their repository, as with Docker.
    let gone = nman.run(&["rmi", &name]).ok().stdout();
    assert_eq!(gone.lines().filter(|line| line.starts_with("Untagged: ")).count(), 3, "{gone}");
    assert_eq!(rows(), "");
    nman.run(&["pull", "-q", &pinned]).ok();
    assert_eq!(rows(), "R/origin <none>\n");
}

#[test]
fn a_layer_that_is_damaged_here_is_named_as_that() {
    let _sandbox = Sandbox::enter();
    let registry = Registry::start();
    let (nman, name) = with_image(&registry);
    let image = nman.store().find(&name).unwrap();
    let layer = Digest::try_from(&image.layers[0]).unwrap();
    let path = nman.store().layout().blob_path(&layer);
    let mut content = std::fs::read(&path).unwrap();
    *content.last_mut().unwrap() ^= 1;
    std::fs::write(&path, content).unwrap();
    let other = Registry::start();
    let name = format!("{}/other:1", other.address());
    nman.tag(&format!("{}/origin:1", registry.address()), &name);
    let refused = nman.run(&["push", &name]).exits(1).stderr();
    let said = format!(
        "cannot push `{name}`: layer `{layer}` in the image store is damaged: content has digest"
    );
    assert!(refused.contains(&said), "{refused}");
    assert!(refused.contains("hint: `nman system check --repair` removes what"), "{refused}");
}
