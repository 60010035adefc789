//! Token servers, passing faults, and registries that are not encrypted.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use nconform::fixture::{Capture, Sandbox};
use nman::progress::NoProgress;
use nman::pull::{Policy, PullOptions, pull};
use nman::registry::{Credentials, Tls};
use serde_json::json;

use crate::images::{TestImage, store};
use crate::lying::{Answer, Request, Server};

fn options() -> PullOptions {
    PullOptions { policy: Policy::Always, ..PullOptions::default() }
}

/// A registry with a token server at `/token`: `token` answers there, `accepts` judges what comes
/// with every other request.
fn with_tokens(
    token: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    accepts: impl Fn(&Request, &str) -> bool + Send + Sync + 'static,
) -> Server {
    let realm = Arc::new(OnceLock::<String>::new());
    let known = Arc::clone(&realm);
    let server = Server::with_image(TestImage::two_layers(), move |request, answer| {
        if request.path.starts_with("/token") {
            return token(request);
        }
        let login = request.header("authorization").unwrap_or_default();
        if request.path != "/v2/" && !accepts(request, login) {
            let realm = known.get().map_or("", String::as_str);
            let challenge = format!("Bearer realm=\"{realm}\",service=\"test\"");
            return Answer::status(401).with("WWW-Authenticate", &challenge);
        }
        answer
    });
    realm.set(format!("http://{}/token", server.address())).unwrap();
    server
}

#[test]
fn a_token_is_had_without_a_login_where_the_registry_allows_it() {
    let _sandbox = Sandbox::enter();
    let server = with_tokens(
        |_| Answer::ok(json!({"access_token": "T"}).to_string()),
        |_, login| login == "Bearer T",
    );
    let (_root, store) = store();
    pull(&server.reference(), &options(), &store, &NoProgress).unwrap();
    let requests = server.requests();
    let asked: Vec<_> = requests.iter().filter(|r| r.path.starts_with("/token")).collect();
    assert_eq!(asked.len(), 1, "a token serves for the whole pull: {asked:?}");
    assert!(asked[0].header("authorization").is_none());
    assert!(asked[0].path.contains("service=test"), "{}", asked[0].path);
}

#[test]
fn an_identity_token_is_exchanged_for_an_access_token() {
    let _sandbox = Sandbox::enter();
    let server = with_tokens(
        |request| {
            let fields = ["grant_type=refresh_token", "refresh_token=SECRET", "service=test"];
            let has_all = fields.iter().all(|field| request.body.contains(field));
            if has_all {
                Answer::ok(json!({"token": "T"}).to_string())
            } else {
                Answer::status(401)
            }
        },
        |_, login| login == "Bearer T",
    );
    let credentials = Some(Credentials::IdentityToken("SECRET".to_owned()));
    let (_root, store) = store();
    let with_token = PullOptions { credentials, ..options() };
    pull(&server.reference(), &with_token, &store, &NoProgress).unwrap();
    assert!(pull(&server.reference(), &options(), &store, &NoProgress).is_err());
}

#[test]
fn a_token_that_expires_within_a_pull_is_renewed() {
    let _sandbox = Sandbox::enter();
    let given = AtomicUsize::new(0);
    let server = with_tokens(
        move |_| {
            let number = given.fetch_add(1, Ordering::SeqCst);
            Answer::ok(json!({"token": format!("T{number}")}).to_string())
        },
        |request, login| {
            let is_old = request.path.contains("/manifests/");
            login == if is_old { "Bearer T0" } else { "Bearer T1" }
        },
    );
    let (_root, store) = store();
    pull(&server.reference(), &options(), &store, &NoProgress).unwrap();
    let tokens = server.requests().iter().filter(|r| r.path.starts_with("/token")).count();
    assert_eq!(tokens, 2, "layers that come in side by side share a renewed token");
}

#[test]
fn a_registry_that_is_overloaded_is_asked_again_but_not_for_ever() {
    let _sandbox = Sandbox::enter();
    let refusals = |count: usize| {
        let left = AtomicUsize::new(count);
        Server::with_image(TestImage::two_layers(), move |request, answer| {
            let busy = request.path.contains("/manifests/")
                && left
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
                    .is_ok();
            let body = json!({"errors": [{"code": "TOOMANYREQUESTS", "message": "slow down"}]});
            if busy { Answer { status: 429, ..Answer::ok(body.to_string()) } } else { answer }
        })
    };
    let (_root, store) = store();
    pull(&refusals(2).reference(), &options(), &store, &NoProgress).unwrap();
    let server = refusals(3);
    let error = pull(&server.reference(), &options(), &store, &NoProgress).unwrap_err();
    let address = server.address();
    let expected =
        format!("cannot pull `{address}/app:latest`: `{address}` answered 429: slow down");
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_registry_that_says_when_to_come_again_is_obeyed() {
    let _sandbox = Sandbox::enter();
    let left = AtomicUsize::new(4);
    let server = Server::with_image(TestImage::two_layers(), move |request, answer| {
        let busy = request.path.contains("/manifests/")
            && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
        // The first at once, by a date that has gone by.
        let wait =
            if left.load(Ordering::SeqCst) == 0 { "1" } else { "Sun, 06 Nov 1994 08:49:37 GMT" };
        if busy { Answer::status(429).with("Retry-After", wait) } else { answer }
    });
    let (_root, store) = store();
    let begun = std::time::Instant::now();
    pull(&server.reference(), &options(), &store, &NoProgress).unwrap();
    assert!(begun.elapsed() >= std::time::Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[test]
fn a_token_server_that_says_when_to_come_again_is_obeyed() {
    let _sandbox = Sandbox::enter();
    let left = AtomicUsize::new(4);
    let server = with_tokens(
        move |_| {
            let (one_less, order) = (|n: usize| n.checked_sub(1), Ordering::SeqCst);
            match left.fetch_update(order, order, one_less) {
                Ok(1) => Answer::status(429).with("Retry-After", "1"),
                Ok(_) => Answer::status(429).with("Retry-After", "Sun, 06 Nov 1994 08:49:37 GMT"),
                Err(_) => Answer::ok(json!({"token": "T"}).to_string()),
            }
        },
        |_, login| login == "Bearer T",
    );
    let (_root, store) = store();
    let begun = std::time::Instant::now();
    pull(&server.reference(), &options(), &store, &NoProgress).unwrap();
    assert!(begun.elapsed() >= std::time::Duration::from_secs(1), "{:?}", begun.elapsed());

    let server = with_tokens(
        |_| Answer::status(429).with("Retry-After", "0"),
        |_, login| login == "Bearer T",
    );
    let error = pull(&server.reference(), &options(), &store, &NoProgress).unwrap_err();
    assert!(error.to_string().ends_with("answered 429"), "{error}");
}

#[test]
fn only_loopback_may_speak_plain_http_without_being_allowed_to() {
    let _sandbox = Sandbox::enter();
    Capture::of("ip").args(["address", "add", "10.9.9.9/32", "dev", "lo"]).run().ok();
    let image = TestImage::two_layers();
    let manifest = image.manifest();
    let server = Server::start_at("10.9.9.9:0", Server::answers(image, &manifest, |_, a| a));
    let credentials =
        Some(Credentials::Password { username: "ann".to_owned(), password: "SECRET".to_owned() });
    let (_root, store) = store();
    let reference = server.reference();
    let strict = PullOptions { credentials, ..options() };
    let error = pull(&reference, &strict, &store, &NoProgress).unwrap_err();
    assert!(error.to_string().ends_with("the server does not speak TLS"), "{error}");
    assert!(error.hint().unwrap().contains("--tls-verify=false"));
    assert!(server.requests().is_empty());

    let tls = Tls { verify: false, ..Tls::default() };
    pull(&reference, &PullOptions { tls, ..strict }, &store, &NoProgress).unwrap();
}
