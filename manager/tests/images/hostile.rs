//! Registries that lie, and what must not come of it.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nconform::fixture::Sandbox;
use nman::progress::NoProgress;
use nman::pull::{Policy, PullOptions, pull};
use nman::registry::Credentials;
use nman::store::Store;
use serde_json::json;

use crate::images::{Entry, TestImage, descriptor, files, store};
use crate::lying::{Answer, Request, Server};

fn options() -> PullOptions {
    PullOptions { policy: Policy::Always, ..PullOptions::default() }
}

/// Pulls, expects a failure that leaves nothing behind, and returns what comes after the name.
fn refused(server: &Server, options: &PullOptions) -> String {
    let (root, store) = store();
    let before = files(root.path());
    let reference = server.reference();
    let error = pull(&reference, options, &store, &NoProgress).unwrap_err().to_string();
    assert!(!error.contains('\n'), "{error}");
    let mut after = files(root.path());
    // The lock and the empty parent of sessions are no trace of this image.
    after.retain(|path| !path.ends_with("staging") && !path.ends_with("images.lock"));
    let before: Vec<_> = before.into_iter().filter(|p| !p.ends_with("images.lock")).collect();
    assert_eq!(after, before, "something was left behind");
    let prefix = format!("cannot pull `{reference}`: ");
    error.strip_prefix(&prefix).unwrap_or_else(|| panic!("{error}")).to_owned()
}

fn is_layer(request: &Request, image: &TestImage, position: usize) -> bool {
    request.path.ends_with(bundle::digest::Digest::of(&image.layers[position]).as_str())
}

#[test]
fn a_layer_with_other_content_is_refused() {
    let _sandbox = Sandbox::enter();
    let image = TestImage::two_layers();
    let other = TestImage::default().layer(&[Entry::File("evil", b"x", 0o4755)]);
    let (copy, wrong) = (image.clone(), other.layers[0].clone());
    // Padded to the right size, so that only the digest can tell.
    let mut wrong = wrong;
    wrong.resize(image.layers[1].len(), 0);
    let server = Server::with_image(image.clone(), move |request, answer| {
        if is_layer(request, &copy, 1) { Answer::ok(wrong.clone()) } else { answer }
    });
    let error = refused(&server, &options());
    let digest = bundle::digest::Digest::of(&image.layers[1]);
    let start = format!("layer `{digest}` does not match: its digest is `sha256:");
    assert!(error.starts_with(&start), "{error}");
}

#[test]
fn a_blob_that_ends_early_is_refused_and_one_that_breaks_off_is_resumed() {
    let _sandbox = Sandbox::enter();
    let image = TestImage::two_layers();
    let short = |request: &Request, answer: Answer, copy: &TestImage| {
        if !is_layer(request, copy, 0) {
            return answer;
        }
        let length = answer.body.len();
        Answer { body: answer.body[..length / 2].to_vec(), length: Some(length), ..answer }
    };
    let copy = image.clone();
    let server = Server::with_image(image.clone(), move |r, a| short(r, a, &copy));
    let error = refused(&server, &options());
    let whole = image.layers[0].len();
    let expected = format!("it has {} bytes instead of {whole}", whole / 2);
    assert!(error.ends_with(&expected), "{error}");

    let breaks = AtomicUsize::new(2);
    let copy = image.clone();
    let server = Server::with_image(image, move |request, answer| {
        let left = breaks.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        if is_layer(request, &copy, 0) && left.is_ok() {
            short(request, answer, &copy)
        } else {
            answer
        }
    });
    let (_root, store) = store();
    pull(&server.reference(), &options(), &store, &NoProgress).unwrap();
}

#[test]
fn a_blob_longer_than_it_should_be_is_refused() {
    let _sandbox = Sandbox::enter();
    let image = TestImage::two_layers();
    let copy = image.clone();
    let server = Server::with_image(image.clone(), move |request, mut answer| {
        if is_layer(request, &copy, 0) {
            answer.body.resize(answer.body.len() + (8 << 20), 0);
        }
        answer
    });
    let error = refused(&server, &options());
    let size = image.layers[0].len();
    assert!(
        error.ends_with(&format!("it has more than {size} bytes instead of {size}")),
        "{error}"
    );
}

#[test]
fn a_configuration_with_other_content_is_refused() {
    let _sandbox = Sandbox::enter();
    let image = TestImage::two_layers();
    let config = bundle::digest::Digest::of(&image.config());
    let length = image.config().len();
    let server = Server::with_image(image, move |request, answer| {
        let is_config = request.path.ends_with(config.as_str());
        if is_config { Answer::ok(vec![b' '; length]) } else { answer }
    });
    let error = refused(&server, &options());
    assert!(error.starts_with("config `sha256:"), "{error}");
}

#[test]
fn a_layer_that_is_not_the_one_the_configuration_names_is_refused() {
    let _sandbox = Sandbox::enter();
    let mut image = TestImage::two_layers();
    image.diff_ids[1] = bundle::digest::Digest::of(b"another");
    let server = Server::with_image(image, |_, answer| answer);
    let error = refused(&server, &options());
    assert!(error.contains("does not match: its uncompressed digest is `sha256:"), "{error}");
}

#[test]
fn a_manifest_with_another_digest_than_asked_for_is_refused() {
    let _sandbox = Sandbox::enter();
    // It says truly what it sends, which is not what was asked for.
    let server = Server::with_image(TestImage::two_layers(), |_, answer| {
        let sent = bundle::digest::Digest::of(&answer.body);
        answer.with("Docker-Content-Digest", sent.as_str())
    });
    let digest = bundle::digest::Digest::of(b"another");
    let reference = format!("{}/app@{digest}", server.address()).parse().unwrap();
    let (_root, store) = store();
    let error = pull(&reference, &options(), &store, &NoProgress).unwrap_err().to_string();
    assert!(
        error.contains(&format!("manifest `{digest}` does not match: its digest is")),
        "{error}"
    );

    let server = Server::with_image(TestImage::two_layers(), move |request, answer| {
        if request.path.contains("/manifests/") {
            answer.with("Docker-Content-Digest", bundle::digest::Digest::of(b"another").as_str())
        } else {
            answer
        }
    });
    assert!(refused(&server, &options()).contains("does not match"));
}

#[test]
fn an_ambiguous_manifest_is_refused() {
    let _sandbox = Sandbox::enter();
    let image = TestImage::two_layers();
    let mut manifest = image.manifest();
    manifest["manifests"] = json!([descriptor("application/vnd.oci.image.manifest.v1+json", b"x")]);
    let server = Server::with_manifest(image, &manifest, |_, answer| answer);
    let error = refused(&server, &options());
    assert!(error.contains("is ambiguous"), "{error}");
}

#[test]
fn an_endless_manifest_is_not_read_to_its_end() {
    let _sandbox = Sandbox::enter();
    let server = Server::with_image(TestImage::two_layers(), |request, answer| {
        if request.path.contains("/manifests/") {
            Answer { body: vec![b' '; 8 << 20], length: Some(1 << 40), ..answer }
        } else {
            answer
        }
    });
    let error = refused(&server, &options());
    assert_eq!(error, "manifest `latest` is larger than the limit of 4 MiB");
}

#[test]
fn an_archive_that_leaves_its_root_is_refused() {
    let _sandbox = Sandbox::enter();
    // tar's own builder refuses to make such a name, so it is patched in.
    let plain = TestImage::default().layer(&[Entry::File("aa/bb/canary", b"x", 0o644)]);
    let mut archive = Vec::new();
    let mut gzip = flate2::read::GzDecoder::new(&*plain.layers[0]);
    std::io::Read::read_to_end(&mut gzip, &mut archive).unwrap();
    archive[..5].copy_from_slice(b"../..");
    let sum: u32 = archive[..512].iter().map(|b| u32::from(*b)).sum::<u32>()
        - archive[148..156].iter().map(|b| u32::from(*b)).sum::<u32>()
        + 8 * u32::from(b' ');
    archive[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut image = TestImage::default();
    image.diff_ids.push(bundle::digest::Digest::of(&archive));
    image.layers.push(archive);
    let server = Server::with_image(image, |_, answer| answer);
    let error = refused(&server, &options());
    assert!(error.starts_with("layer `sha256:"), "{error}");
}

/// A registry that wants a login, gives out a token, and redirects every blob to `elsewhere`.
fn redirecting(image: TestImage, elsewhere: String) -> Server {
    let realm = std::sync::Arc::new(std::sync::OnceLock::<String>::new());
    let known = std::sync::Arc::clone(&realm);
    let server = Server::with_image(image, move |request, answer| {
        let realm = known.get().map_or("", String::as_str);
        if request.path.starts_with("/token") {
            return match request.header("authorization") {
                Some(_) => Answer::ok(json!({"token": "SECRETTOKEN"}).to_string()),
                None => Answer::status(401),
            };
        }
        if request.header("authorization") != Some("Bearer SECRETTOKEN") {
            let challenge = format!("Bearer realm=\"{realm}\",service=\"test\"");
            return Answer::status(401).with("WWW-Authenticate", &challenge);
        }
        if request.path.contains("/blobs/") {
            return Answer::status(307).with("Location", &format!("{elsewhere}{}", request.path));
        }
        answer
    });
    realm.set(format!("http://{}/token", server.address())).unwrap();
    server
}

fn ann() -> PullOptions {
    let credentials =
        Credentials::Password { username: "ann".to_owned(), password: "SECRETPASSWORD".to_owned() };
    PullOptions { credentials: Some(credentials), ..options() }
}

#[test]
fn a_redirect_to_another_host_carries_neither_token_nor_password() {
    let _sandbox = Sandbox::enter();
    let image = TestImage::two_layers();
    let elsewhere = Server::with_image(image.clone(), |_, answer| answer);
    let server = redirecting(image, format!("http://{}", elsewhere.address()));
    let (_root, store) = store();
    pull(&server.reference(), &ann(), &store, &NoProgress).unwrap();

    let seen = elsewhere.requests();
    assert!(seen.iter().any(|request| request.path.contains("/blobs/")), "{seen:?}");
    assert!(seen.iter().all(|request| request.header("authorization").is_none()), "{seen:?}");
    let token = server.requests().into_iter().find(|r| r.path.starts_with("/token")).unwrap();
    assert!(token.path.contains("scope=repository"), "{}", token.path);
}

#[test]
fn where_a_redirect_leads_is_named_when_nobody_answers_there() {
    let _sandbox = Sandbox::enter();
    for (elsewhere, why) in
        [("127.0.0.1:1", "connection refused"), ("content.invalid", "there is no such host")]
    {
        let server = redirecting(TestImage::two_layers(), format!("http://{elsewhere}"));
        let error = refused(&server, &ann());
        let address = server.address();
        let expected = format!("cannot reach `{elsewhere}`: {why} (`{address}` redirects there)");
        assert_eq!(error, expected);
    }
}

#[test]
fn a_redirect_within_the_host_keeps_the_login() {
    let _sandbox = Sandbox::enter();
    let realm = std::sync::Arc::new(std::sync::OnceLock::<String>::new());
    let known = std::sync::Arc::clone(&realm);
    let server = Server::with_image(TestImage::two_layers(), move |request, answer| {
        let realm = known.get().map_or("", String::as_str);
        if request.path.starts_with("/token") {
            return Answer::ok(json!({"token": "SECRETTOKEN"}).to_string());
        }
        if request.header("authorization") != Some("Bearer SECRETTOKEN") {
            let challenge = format!("Bearer realm=\"{realm}\",service=\"test\"");
            return Answer::status(401).with("WWW-Authenticate", &challenge);
        }
        // Once each: what is asked for with the mark is what there is.
        if request.path.contains("/blobs/") && !request.path.contains("moved") {
            return Answer::status(302).with("Location", &format!("{}?moved=1", request.path));
        }
        answer
    });
    realm.set(format!("http://{}/token", server.address())).unwrap();
    let (_root, store) = store();
    pull(&server.reference(), &ann(), &store, &NoProgress).unwrap();
    assert!(server.requests().iter().any(|request| request.path.contains("moved")));
}

#[test]
fn a_redirect_that_leads_back_has_lost_the_login_and_one_without_end_is_an_error() {
    let _sandbox = Sandbox::enter();
    let image = TestImage::two_layers();
    let home = std::sync::Arc::new(std::sync::OnceLock::<String>::new());
    let known = std::sync::Arc::clone(&home);
    let elsewhere = Server::start(move |request| {
        let home = known.get().map_or("", String::as_str);
        Answer::status(307).with("Location", &format!("http://{home}/back{}", request.path))
    });
    let server = redirecting(image.clone(), format!("http://{}", elsewhere.address()));
    home.set(server.address().to_owned()).unwrap();
    refused(&server, &ann());
    let back: Vec<_> =
        server.requests().into_iter().filter(|request| request.path.starts_with("/back")).collect();
    assert!(!back.is_empty());
    assert!(back.iter().all(|request| request.header("authorization").is_none()), "{back:?}");

    let circle = Server::with_image(image, |request, answer| {
        if request.path.contains("/blobs/") {
            return Answer::status(307).with("Location", &request.path);
        }
        answer
    });
    let error = refused(&circle, &options());
    assert!(error.contains("redirect"), "{error}");
}

#[test]
fn a_challenge_from_where_a_redirect_leads_is_not_answered() {
    let _sandbox = Sandbox::enter();
    let image = TestImage::two_layers();
    let thief = Server::start(|request| {
        if request.path.starts_with("/token") {
            return Answer::ok(json!({"token": "x"}).to_string());
        }
        let host = request.header("host").unwrap_or_default();
        let challenge = format!("Bearer realm=\"http://{host}/token\"");
        Answer::status(401).with("WWW-Authenticate", &challenge)
    });
    let server = redirecting(image, format!("http://{}", thief.address()));
    let error = refused(&server, &ann());
    let (there, here) = (thief.address(), server.address());
    assert_eq!(error, format!("`{there}` answered 401 to what `{here}` redirects there"));
    let seen = thief.requests();
    assert!(!seen.is_empty());
    assert!(seen.iter().all(|request| request.header("authorization").is_none()), "{seen:?}");
    assert!(seen.iter().all(|request| request.path.contains("/blobs/")), "{seen:?}");
}

#[test]
fn a_refused_token_is_a_refused_login() {
    let _sandbox = Sandbox::enter();
    let image = TestImage::two_layers();
    let server = redirecting(image, "http://127.0.0.1:1".to_owned());
    let error = refused(&server, &options());
    let address = server.address();
    assert_eq!(error, format!("`{address}` refused the login for `{address}`"));
}

#[test]
#[ignore = "not a test: the process that the next one kills"]
fn a_pull_that_is_killed() {
    let root = std::env::var_os("NMAN_TEST_ROOT").expect("run by another test only");
    let reference = std::env::var("NMAN_TEST_REFERENCE").unwrap().parse().unwrap();
    let store = Store::open(root.as_ref()).unwrap();
    let _ = pull(&reference, &options(), &store, &NoProgress);
}

#[test]
fn a_killed_pull_leaves_a_session_that_the_next_one_sweeps() {
    let _sandbox = Sandbox::enter();
    let (root, store) = store();
    let image = TestImage::two_layers();
    let copy = image.clone();
    let stalling = Server::with_image(image.clone(), move |request, answer| {
        if is_layer(request, &copy, 1) {
            loop {
                std::thread::park();
            }
        }
        answer
    });
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "hostile::a_pull_that_is_killed", "--ignored"])
        .env("NMAN_TEST_ROOT", root.path())
        .env("NMAN_TEST_REFERENCE", stalling.reference().to_string())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let staging = root.path().join("staging");
    let unpacked =
        || staging.is_dir() && files(&staging).iter().any(|path| path.ends_with("shared/kept"));
    while !unpacked() {
        assert!(child.try_wait().unwrap().is_none(), "the pull ended by itself");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(unpacked());
    assert!(store.list().unwrap().is_empty());
    // Killed between two renames of its commit, it would also leave a blob that nothing leads to.
    let orphan = root.path().join("images/blobs/sha256").join("0".repeat(64));
    std::fs::write(&orphan, "whole").unwrap();

    let server = Server::with_image(image, |_, answer| answer);
    pull(&server.reference(), &options(), &store, &NoProgress).unwrap();
    assert!(files(&staging).is_empty());
    assert!(!orphan.exists());
    assert_eq!(store.list().unwrap().len(), 1);
}
