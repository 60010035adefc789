//! Pulling from a real registry: plain, with TLS, with a login.

use std::fs;
use std::io::Read as _;

use nconform::fixture::{Capture, Registry, Sandbox};
use nman::progress::{Lines, NoProgress};
use nman::pull::{Policy, PullOptions, pull};
use nman::push::{self, PushOptions};
use nman::reference::Reference;
use nman::registry::{Credentials, Tls};
use nman::store;

use crate::images::{TestImage, store};

fn options() -> PullOptions {
    PullOptions { policy: Policy::Always, ..PullOptions::default() }
}

fn login(username: &str, password: &str) -> Option<Credentials> {
    Some(Credentials::Password { username: username.into(), password: password.into() })
}

fn push(registry: &Registry, name: &str) -> Reference {
    let (_directory, source) = TestImage::two_layers().layout();
    registry.push(&source, name).parse().unwrap()
}

#[test]
fn an_image_comes_from_a_plain_registry_with_progress_and_a_name() {
    let _sandbox = Sandbox::enter();
    let registry = Registry::start();
    let reference = push(&registry, "team/app:1");
    let (_root, store) = store();

    let lines = Lines::new(Vec::new());
    let image = pull(&reference, &options(), &store, &lines).unwrap();
    let told = String::from_utf8(lines.into_inner()).unwrap();
    assert!(told.starts_with("1: Pulling from team/app\n"), "{told}");
    assert_eq!(told.matches(": Pull complete\n").count(), 2, "{told}");
    let end = format!(
        "Digest: {}\nStatus: Downloaded newer image for {reference}\n",
        image.manifest_digest
    );
    assert!(told.ends_with(&end), "{told}");

    assert_eq!(image.names, std::slice::from_ref(&reference));
    assert_eq!(image.created.as_deref(), Some("2024-01-02T03:04:05Z"));
    assert_eq!(store.find(&reference.to_string()).unwrap().id, image.id);

    let lines = Lines::new(Vec::new());
    pull(&reference, &options(), &store, &lines).unwrap();
    let told = String::from_utf8(lines.into_inner()).unwrap();
    assert_eq!(told.matches(": Already exists\n").count(), 2, "{told}");
    assert!(told.ends_with(&format!("Status: Image is up to date for {reference}\n")), "{told}");
}

#[test]
fn a_tls_registry_is_trusted_by_its_authority_only() {
    let _sandbox = Sandbox::enter();
    let registry = Registry::builder().tls().start();
    let reference = push(&registry, "app:1");
    let (_root, store) = store();

    let error = pull(&reference, &options(), &store, &NoProgress).unwrap_err();
    let expected = format!(
        "cannot pull `{reference}`: cannot make a TLS connection to `{}`: \
         its certificate is not signed by a trusted authority",
        registry.address()
    );
    assert_eq!(error.to_string(), expected);
    assert!(error.hint().unwrap().contains("/etc/nman/certs.d/"), "{:?}", error.hint());

    let tls = Tls { ca_files: vec![registry.ca_file()], ..Tls::default() };
    let with_file = PullOptions { tls, ..options() };
    pull(&reference, &with_file, &store, &NoProgress).unwrap();

    // /etc is a private copy in here.
    let directory = format!("/etc/nman/certs.d/{}", registry.address());
    fs::create_dir_all(&directory).unwrap();
    fs::copy(registry.ca_file(), format!("{directory}/ca.crt")).unwrap();
    pull(&reference, &options(), &store, &NoProgress).unwrap();
    fs::remove_dir_all(&directory).unwrap();

    let unverified = Tls { verify: false, ..Tls::default() };
    pull(&reference, &PullOptions { tls: unverified, ..options() }, &store, &NoProgress).unwrap();
}

#[test]
fn a_registry_with_a_login_wants_the_right_one() {
    let _sandbox = Sandbox::enter();
    let registry = Registry::builder().tls().login("ann", "secret").start();
    let reference = push(&registry, "app:1");
    let (_root, store) = store();
    let tls = Tls { ca_files: vec![registry.ca_file()], ..Tls::default() };
    let attempt = |credentials| {
        let options = PullOptions { credentials, tls: tls.clone(), ..options() };
        pull(&reference, &options, &store, &NoProgress)
    };
    let address = registry.address();

    let error = attempt(None).unwrap_err();
    let expected = format!("cannot pull `{reference}`: `{address}` requires a login");
    assert_eq!(error.to_string(), expected);
    assert!(error.hint().unwrap().contains("nman login"), "{:?}", error.hint());

    let error = attempt(login("ann", "wrong")).unwrap_err();
    let expected = format!("cannot pull `{reference}`: `{address}` refused the login of `ann`");
    assert_eq!(error.to_string(), expected);
    assert!(error.hint().unwrap().contains("not accepted"), "{:?}", error.hint());

    attempt(login("ann", "secret")).unwrap();
}

#[test]
fn what_a_registry_does_not_have_is_one_line_and_a_hint() {
    let _sandbox = Sandbox::enter();
    let registry = Registry::start();
    push(&registry, "app:1");
    let (root, store) = store();
    for name in ["nope:latest", "app:2"] {
        let reference: Reference = format!("{}/{name}", registry.address()).parse().unwrap();
        let error = pull(&reference, &options(), &store, &NoProgress).unwrap_err();
        let address = registry.address();
        let expected =
            format!("cannot pull `{reference}`: not found: `{address}` answers: manifest unknown");
        assert_eq!(error.to_string(), expected);
        assert!(error.hint().is_some());
    }
    assert!(store.list().unwrap().is_empty());
    assert!(!root.path().join("staging").exists());
}

#[test]
fn a_registry_that_is_not_there_is_named() {
    let _sandbox = Sandbox::enter();
    let (_root, store) = store();
    let reference: Reference = "localhost:1/app".parse().unwrap();
    let error = pull(&reference, &options(), &store, &NoProgress).unwrap_err();
    let expected = "cannot pull `localhost:1/app:latest`: \
                    cannot reach `localhost:1`: connection refused";
    assert_eq!(error.to_string(), expected);

    let reference: Reference = "registry.invalid/app".parse().unwrap();
    let error = pull(&reference, &options(), &store, &NoProgress).unwrap_err();
    let expected = "cannot pull `registry.invalid/app:latest`: no such host `registry.invalid`";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn the_pull_policy_decides_who_is_asked() {
    let _sandbox = Sandbox::enter();
    let registry = Registry::start();
    let reference = push(&registry, "app:1");
    let (_root, store) = store();
    let with = |policy| {
        let options = PullOptions { policy, ..PullOptions::default() };
        pull(&reference, &options, &store, &NoProgress)
    };
    let error = with(Policy::Never).unwrap_err().to_string();
    assert!(error.ends_with("it is not in the store, and the pull policy is `never`"), "{error}");
    let id = with(Policy::Missing).unwrap().id;
    drop(registry);
    assert_eq!(with(Policy::Missing).unwrap().id, id);
    assert_eq!(with(Policy::Never).unwrap().id, id);
    // One for another platform is not the image that is asked for.
    let platform = "linux/s390x".parse().ok();
    let other = PullOptions { platform, policy: Policy::Never, ..PullOptions::default() };
    let error = pull(&reference, &other, &store, &NoProgress).unwrap_err().to_string();
    assert!(error.ends_with("no image for linux/s390x in it; it has linux/amd64"), "{error}");
    assert!(with(Policy::Always).is_err());
}

#[test]
fn an_index_gives_the_image_for_the_platform_and_can_be_found_by_its_digest() {
    let _sandbox = Sandbox::enter();
    let registry = Registry::start();
    push(&registry, "app:1");
    let address = registry.address();
    let raw = Capture::of("skopeo")
        .args(["inspect", "--raw", "--tls-verify=false", &format!("docker://{address}/app:1")])
        .run()
        .ok();
    let manifest = raw.stdout();
    let digest = bundle::digest::Digest::of(manifest.as_bytes());
    let entry = |architecture: &str| {
        serde_json::json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": digest.as_str(), "size": manifest.len(),
            "platform": {"os": "linux", "architecture": architecture},
        })
    };
    let put = |tag: &str, entries: Vec<serde_json::Value>| {
        let index = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": entries,
        });
        let kind = "Content-Type: application/vnd.oci.image.index.v1+json";
        let url = format!("http://{address}/v2/app/manifests/{tag}");
        let put = Capture::of("curl").args(["-sf", "--noproxy", "*", "-X", "PUT", "-H", kind]);
        put.args(["--data-binary", "@-", &url]).stdin(index.to_string()).run().ok();
        bundle::digest::Digest::of(index.to_string().as_bytes())
    };
    let index = put("multi", vec![entry("s390x"), entry("amd64")]);
    put("other", vec![entry("s390x")]);

    let (_root, store) = store();
    let options = PullOptions { platform: "linux/amd64".parse().ok(), ..options() };
    let multi: Reference = format!("{address}/app:multi").parse().unwrap();
    let image = pull(&multi, &options, &store, &NoProgress).unwrap();
    assert_eq!(image.manifest_digest, digest);
    assert_eq!(image.repo_digests, std::slice::from_ref(&index));
    assert_eq!(store.find(&format!("{address}/app@{index}")).unwrap().id, image.id);

    let other: Reference = format!("{address}/app:other").parse().unwrap();
    let error = pull(&other, &options, &store, &NoProgress).unwrap_err();
    let expected =
        format!("cannot pull `{other}`: no image for linux/amd64 in it; it has linux/s390x");
    assert_eq!(error.to_string(), expected);

    // One of 32 bits runs here, but is not what was asked for.
    put("narrow", vec![entry("s390x"), entry("386")]);
    let narrow: Reference = format!("{address}/app:narrow").parse().unwrap();
    assert!(pull(&narrow, &options, &store, &NoProgress).is_err());
    let unasked = PullOptions { platform: None, ..options };
    assert_eq!(pull(&narrow, &unasked, &store, &NoProgress).unwrap().manifest_digest, digest);
}

#[test]
fn an_image_for_one_platform_is_not_taken_for_another_that_was_asked_for() {
    let _sandbox = Sandbox::enter();
    let registry = Registry::start();
    let reference = push(&registry, "app:1");
    let (_root, store) = store();
    let other = PullOptions { platform: "linux/s390x".parse().ok(), ..options() };
    let error = pull(&reference, &other, &store, &NoProgress).unwrap_err();
    let expected =
        format!("cannot pull `{reference}`: no image for linux/s390x in it; it has linux/amd64");
    assert_eq!(error.to_string(), expected);
    assert!(store.list().unwrap().is_empty());
}

#[test]
fn layers_compressed_with_zstd_come_in_and_go_out_as_they_are() {
    let _sandbox = Sandbox::enter();
    let mut image = TestImage::two_layers();
    for layer in &mut image.layers {
        let mut archive = Vec::new();
        flate2::read::GzDecoder::new(&layer[..]).read_to_end(&mut archive).unwrap();
        *layer = zstd::encode_all(&archive[..], 3).unwrap();
    }
    let manifest: serde_json::Value =
        serde_json::from_str(&image.manifest().to_string().replace("tar+gzip", "tar+zstd"))
            .unwrap();
    let server = crate::lying::Server::with_manifest(image, &manifest, |_, answer| answer);
    let registry = Registry::start();
    let nman = crate::program::Nman::new();
    let name = format!("{}/app:zstd", registry.address());
    nman.run(&["pull", "-q", &server.reference().to_string()]).ok();
    nman.tag(&server.reference().to_string(), &name);
    nman.run(&["push", "-q", &name]).ok();
    let image = nman.store().find(&name).unwrap();
    let copied = nconform::fixture::scratch_dir();
    let copy = Capture::of("skopeo").args(["copy", "-q", "--insecure-policy"]);
    let layout = format!("oci:{}:x", copied.path().display());
    copy.args(["--src-tls-verify=false", &format!("docker://{name}"), &layout]).run().ok();
    let kinds: Vec<_> = image.layers.iter().map(|layer| layer.media_type().to_string()).collect();
    assert!(kinds.iter().all(|kind| kind.ends_with("tar+zstd")), "{kinds:?}");
    let pinned = format!("{}/app@{}", registry.address(), image.manifest_digest);
    let other = crate::program::Nman::new();
    let pulled = other.run(&["pull", &pinned]).ok();
    assert_eq!(pulled.stdout(), format!("{pinned}\n"));
    assert_eq!(other.store().find(&pinned).unwrap().id, image.id);
}

#[test]
fn a_layer_that_an_image_has_twice_is_fetched_once() {
    let _sandbox = Sandbox::enter();
    let image = TestImage::two_layers().with_twins();
    let server = crate::lying::Server::with_image(image.clone(), |_, answer| answer);
    let (_root, store) = store();
    let lines = Lines::new(Vec::new());
    let pulled = pull(&server.reference(), &options(), &store, &lines).unwrap();
    for layer in &image.layers {
        let digest = bundle::digest::Digest::of(layer);
        let asked = |request: &&crate::lying::Request| request.path.ends_with(digest.as_str());
        assert_eq!(server.requests().iter().filter(asked).count(), 1, "{digest}");
    }
    let told = String::from_utf8(lines.into_inner()).unwrap();
    assert_eq!(told.matches(": Pull complete\n").count(), 5, "{told}");
    // Each is unpacked for what it is above another stack.
    let snapshots = store.snapshots();
    assert!(pulled.chain_ids.iter().all(|chain| snapshots.contains(chain)));
    let top = snapshots.files(pulled.chain_ids.last().unwrap());
    assert_eq!(fs::read_to_string(top.join("etc/gone")).unwrap(), "lower\n");
}

#[test]
fn a_docker_schema_2_image_is_kept_as_an_oci_one_and_has_its_own_digest_wherever_it_goes() {
    let _sandbox = Sandbox::enter();
    let registry = Registry::start();
    let (_directory, source) = TestImage::two_layers().layout();
    let destination = format!("docker://{}/app:1", registry.address());
    let copy = Capture::of("skopeo").args(["copy", "--quiet", "--insecure-policy"]);
    copy.args(["--format", "v2s2", "--dest-tls-verify=false", &source, &destination]).run().ok();
    let skopeo = |args: &[&str]| Capture::of("skopeo").args(["inspect"]).args(args).run().ok();
    let original = skopeo(&["--raw", "--tls-verify=false", &destination]).stdout();
    assert!(original.contains("vnd.docker.distribution.manifest.v2+json"), "{original}");
    let digest = bundle::digest::Digest::of(original.as_bytes());

    let (_root, store) = store();
    let reference: Reference = format!("{}/app:1", registry.address()).parse().unwrap();
    let image = pull(&reference, &options(), &store, &NoProgress).unwrap();
    assert_eq!(image.repo_digests, std::slice::from_ref(&digest));
    assert_eq!(
        store.find(&format!("{}@{digest}", reference.familiar_name())).unwrap().id,
        image.id
    );
    let layout = format!("oci:{}:{}", store.layout().path().display(), reference.canonical());
    let kept = skopeo(&["--raw", &layout]).json();
    assert_eq!(kept["mediaType"], "application/vnd.oci.image.manifest.v1+json");
    assert_eq!(kept["layers"][0]["mediaType"], "application/vnd.oci.image.layer.v1.tar+gzip");
    assert_eq!(skopeo(&[&layout]).json()["Digest"], image.manifest_digest.as_str());

    let again = Lines::new(Vec::new());
    assert_eq!(pull(&reference, &options(), &store, &again).unwrap().id, image.id);
    let told = String::from_utf8(again.into_inner()).unwrap();
    assert_eq!(told.matches(": Already exists\n").count(), 2, "{told}");
    assert!(told.contains("Status: Image is up to date for "), "{told}");

    let other = Registry::start();
    let target: Reference = format!("{}/mirrored:1", other.address()).parse().unwrap();
    store.tag(&image, &target).unwrap();
    // Which takes away all that nothing leads to.
    store.prune::<store::Error>(|_| Ok(store::Stock::default()), false).unwrap();
    let pushed = push::push(&target, &PushOptions::default(), &store, &NoProgress).unwrap();
    assert_eq!((pushed.digest, pushed.size), (digest, original.len() as u64));
    let there = skopeo(&["--raw", "--tls-verify=false", &format!("docker://{target}")]).stdout();
    assert_eq!(there, original);
}
