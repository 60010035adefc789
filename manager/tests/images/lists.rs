//! `nman manifest`: lists of images for several platforms, from here and from registries, and what others read of them.

use std::fs;

use bundle::digest::Digest;
use nconform::fixture::{Capture, Registry, Sandbox, scratch_dir};
use nman::progress::NoProgress;
use nman::pull::{Policy, PullOptions, pull};
use serde_json::{Value, json};

use crate::images::TestImage;
use crate::program::Nman;

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// An image of one file that is here, called `name`, for a platform.
fn imported(nman: &Nman, name: &str, platform: &str) -> Digest {
    let directory = scratch_dir();
    fs::write(directory.path().join("platform"), platform).unwrap();
    let archive = directory.path().join("x.tar").display().to_string();
    let root = directory.path().display().to_string();
    Capture::of("tar").args(["-C", &root, "-cf", &archive, "platform"]).run().ok();
    nman.run(&["import", "--platform", platform, &archive, name]).ok();
    nman.store().find(name).unwrap().manifest_digest
}

/// What a registry has under a name.
fn raw(name: &str) -> Value {
    let name = format!("docker://{name}");
    let raw = Capture::of("skopeo").args(["inspect", "--raw", "--tls-verify=false", &name]).run();
    serde_json::from_str(&raw.ok().stdout()).unwrap()
}

/// All that a registry has under a name, which skopeo verifies as it copies it.
fn copied(name: &str) {
    let directory = scratch_dir();
    let layout = format!("oci:{}:x", directory.path().display());
    let copy = ["copy", "-q", "--all", "--insecure-policy", "--src-tls-verify=false"];
    Capture::of("skopeo").args(copy).args([&format!("docker://{name}"), &layout]).run().ok();
}

fn platforms(index: &Value) -> Vec<String> {
    let name = |entry: &Value| {
        let platform = &entry["platform"];
        let words = ["os", "architecture", "variant"].map(|key| platform[key].as_str());
        words.into_iter().flatten().collect::<Vec<_>>().join("/")
    };
    index["manifests"].as_array().unwrap().iter().map(name).collect()
}

fn inspected(nman: &Nman, list: &str) -> Value {
    serde_json::from_str(&nman.run(&["manifest", "inspect", list]).ok().stdout()).unwrap()
}

#[test]
fn a_list_of_images_from_here_and_from_a_registry_is_pushed_with_all_of_them() {
    let _sandbox = Sandbox::enter();
    let (from, to) = (Registry::start(), Registry::start());
    let (_directory, source) = TestImage::two_layers().layout();
    let remote = from.push(&source, "team/remote:1");
    let nman = Nman::new();
    let arm = imported(&nman, "arm", "linux/arm64/v8");

    let made = nman.run(&["manifest", "create", "multi", "arm"]).ok().stdout();
    assert!(made.len() == 65 && made.ends_with('\n'), "{made}");
    // Not here, and never pulled: only the list knows of it.
    nman.run(&["manifest", "add", "--annotation", "k=v", "multi", &remote]).ok();
    assert_eq!(nman.store().list().unwrap().len(), 1);
    let shown = inspected(&nman, "multi");
    assert_eq!(shown["mediaType"], OCI_INDEX);
    assert_eq!(platforms(&shown), ["linux/arm64/v8", "linux/amd64"]);
    assert_eq!(shown["manifests"][0]["digest"], arm.as_str());
    assert_eq!(shown["manifests"][1]["annotations"], json!({"k": "v"}));

    let name = format!("{}/team/multi:2", to.address());
    let file = scratch_dir();
    let digest_file = file.path().join("digest").display().to_string();
    let there = format!("docker://{name}");
    let pushed =
        nman.run(&["manifest", "push", "-q", "--digestfile", &digest_file, "multi", &there]).ok();
    assert_eq!(pushed.stderr(), "");
    assert_eq!(raw(&name), shown);
    let digest = fs::read_to_string(&digest_file).unwrap();
    assert_eq!(pushed.stdout(), format!("{digest}\n"));
    assert!(raw(&format!("{}/team/multi@{digest}", to.address())).is_object());
    copied(&name);

    // Where the blobs are in another repository of the registry, nothing is sent.
    let beside = format!("{}/team/beside:2", from.address());
    nman.run(&["manifest", "create", "alone", &format!("docker://{remote}")]).ok();
    let told = nman.run(&["manifest", "push", "alone", &beside]).ok().stderr();
    assert_eq!(told.matches(": Mounted from team/remote\n").count(), 2, "{told}");
    copied(&beside);

    // By the name of the list, as podman does; and then it is gone here.
    nman.tag("arm", "other");
    let own = format!("{}/team/own:1", to.address());
    nman.run(&["tag", "multi", &own]).ok();
    let told = nman.run(&["push", &own]).ok().stdout();
    assert_eq!(told, format!("1: digest: {digest} size: {}\n", shown.to_string().len()));
    nman.run(&["manifest", "push", "--purge", "-q", &own]).ok();
    nman.run(&["manifest", "exists", &own]).exits(1);
    nman.run(&["manifest", "exists", "multi"]).ok();
}

#[test]
fn of_an_index_the_image_for_this_machine_is_added_or_that_which_is_asked_for_or_all() {
    let _sandbox = Sandbox::enter();
    let registry = Registry::start();
    let nman = Nman::new();
    for platform in ["linux/amd64", "linux/arm64", "linux/s390x"] {
        let name = platform.split('/').next_back().unwrap();
        imported(&nman, name, platform);
    }
    let all = ["linux/amd64", "linux/arm64", "linux/s390x"];
    nman.run(&["manifest", "create", "all", "amd64", "arm64", "s390x"]).ok();
    let name = format!("{}/all:1", registry.address());
    nman.run(&["manifest", "push", "-q", "all", &name]).ok();
    for source in ["all", &name] {
        let of = |args: &[&str]| {
            nman.run(&["manifest", "create", "--amend", "x"]).ok();
            nman.run(&[&["manifest", "add"], args, &["x", source]].concat()).ok();
            let shown = platforms(&inspected(&nman, "x"));
            nman.run(&["manifest", "rm", "x"]).ok();
            shown
        };
        assert_eq!(of(&["--arch", "arm64"]), ["linux/arm64"], "{source}");
        assert_eq!(of(&["--all"]), all, "{source}");
        if cfg!(target_arch = "x86_64") {
            assert_eq!(of(&[]), ["linux/amd64"], "{source}");
        }
    }
    nman.run(&["manifest", "create", "y", "--all", &name]).ok();
    assert_eq!(platforms(&inspected(&nman, "y")), all);
    let none = nman.run(&["manifest", "add", "--arch", "riscv64", "y", &name]).exits(1).stderr();
    assert!(none.contains("no image for linux/riscv64 in it; it has linux/amd64"), "{none}");
}

#[test]
fn what_a_list_says_of_an_image_can_be_changed_and_an_image_be_taken_out() {
    let _sandbox = Sandbox::enter();
    let nman = Nman::new();
    let digest = imported(&nman, "one", "linux/amd64");
    imported(&nman, "two", "linux/arm64");
    nman.run(&["manifest", "create", "--annotation", "of=list", "x", "one", "two"]).ok();
    let traits = ["--os", "freebsd", "--arch", "arm", "--variant", "v7", "--os-version", "14"];
    let features = ["--features", "neon,vfp", "--annotation", "a=b"];
    let annotate = [&["manifest", "annotate"], &traits[..], &features[..]].concat();
    nman.run(&[&annotate[..], &["x", digest.as_str()]].concat()).ok();
    nman.run(&["manifest", "annotate", "--variant", "v8", "x", "two"]).ok();
    nman.run(&["manifest", "annotate", "--index", "--annotation", "k=v", "x"]).ok();
    let shown = inspected(&nman, "x");
    let expected = json!({
        "architecture": "arm", "os": "freebsd", "variant": "v7", "os.version": "14",
        "features": ["neon", "vfp"],
    });
    assert_eq!(shown["manifests"][0]["platform"], expected);
    assert_eq!(shown["manifests"][0]["annotations"], json!({"a": "b"}));
    assert_eq!(shown["manifests"][1]["platform"]["variant"], "v8");
    assert_eq!(shown["annotations"], json!({"of": "list", "k": "v"}));
    nman.run(&["manifest", "remove", "x", digest.as_str()]).ok();
    assert_eq!(platforms(&inspected(&nman, "x")), ["linux/arm64/v8"]);
    nman.run(&["manifest", "remove", "x", "two"]).ok();
    assert_eq!(inspected(&nman, "x")["manifests"], json!([]));
}

#[test]
fn a_list_keeps_the_blobs_of_its_images_until_it_goes() {
    let _sandbox = Sandbox::enter();
    let registry = Registry::start();
    let nman = Nman::new();
    let digest = imported(&nman, "one", "linux/amd64");
    nman.run(&["manifest", "create", "x", "one"]).ok();
    nman.run(&["manifest", "create", "empty"]).ok();
    let blob = || nman.store().layout().blob_path(&digest).exists();

    // Without a name it is in a list, and so not dangling.
    nman.run(&["rmi", "one"]).ok();
    assert!(blob());
    assert!(nman.store().list().unwrap().is_empty());
    nman.run(&["image", "prune", "-f"]).ok();
    nman.run(&["system", "check"]).ok();
    let name = format!("{}/kept:1", registry.address());
    nman.run(&["manifest", "push", "-q", "x", &name]).ok();
    copied(&name);

    // What a list was before is not kept.
    nman.run(&["manifest", "remove", "x", digest.as_str()]).ok();
    assert!(!blob());
    let listed = nman.run(&["images", "--format", "{{.Repository}}:{{.Tag}}"]).ok().stdout();
    let mut listed: Vec<_> = listed.lines().collect();
    listed.sort_unstable();
    assert_eq!(listed, ["empty:latest", "x:latest"]);
    // They have the same content, and are two.
    assert_eq!(nman.run(&["rmi", "x"]).ok().stdout(), "Untagged: x:latest\n");
    nman.run(&["manifest", "exists", "empty"]).ok();
    let gone = nman.run(&["manifest", "rm", "empty"]).ok().stdout();
    assert!(gone.starts_with("Untagged: empty:latest\nDeleted: sha256:"), "{gone}");
    nman.run(&["system", "check"]).ok();
}

#[test]
fn the_name_of_a_list_stands_for_its_image_for_this_machine() {
    let _sandbox = Sandbox::enter();
    let nman = Nman::new();
    imported(&nman, "one", "linux/amd64");
    imported(&nman, "two", "linux/arm64");
    nman.run(&["manifest", "create", "x", "two", "one"]).ok();
    let (one, two) = (nman.store().find("one").unwrap(), nman.store().find("two").unwrap());
    let store = nman.store();
    let for_platform = |name: &str| {
        store.find_for("x", Some(&name.parse().unwrap())).map(|chosen| chosen.image.id).ok()
    };
    let all = || ["linux/amd64", "linux/arm64", "linux/s390x"].map(for_platform);
    let expected = [Some(one.id.clone()), Some(two.id.clone()), None];
    assert_eq!(all(), expected);
    // They are in the list whether or not they have names.
    nman.run(&["rmi", "one", "two"]).ok();
    assert!(store.list().unwrap().is_empty());
    assert_eq!(all(), expected);
    assert!(!store.snapshots().contains(&two.chain_ids[0]));
    let platform = "linux/arm64".parse().ok();
    let options = PullOptions { platform, policy: Policy::Never, ..PullOptions::default() };
    let again = pull(&"x".parse().unwrap(), &options, &store, &NoProgress).unwrap();
    assert_eq!((&again.id, again.names.len()), (&two.id, 0));
    assert!(store.snapshots().contains(&two.chain_ids[0]));
    nman.run(&["image", "prune", "-f"]).ok();
    assert_eq!(store.list().unwrap().len(), 1, "it is in a list, and so not dangling");
    let saved = scratch_dir();
    let archive = saved.path().join("x.tar").display().to_string();
    if cfg!(target_arch = "x86_64") {
        nman.run(&["save", "-o", &archive, "x"]).ok();
        let other = Nman::new();
        other.run(&["load", "-i", &archive]).ok();
        assert_eq!(other.store().list().unwrap()[0].id, one.id);
    }
    nman.run(&["image", "prune", "-af"]).ok();
    assert!(nman.store().lists().unwrap().is_empty());
    nman.run(&["system", "check"]).ok();
}

/// An image that was pulled in Docker's words, and its name.
fn with_image_of_dockers_kind(registry: &Registry) -> (Nman, String) {
    let (_directory, source) = TestImage::two_layers().layout();
    let name = format!("{}/docker:1", registry.address());
    let there = format!("docker://{name}");
    let copy = ["copy", "-q", "--insecure-policy", "--dest-tls-verify=false", "--format", "v2s2"];
    Capture::of("skopeo").args(copy).args([&source, &there]).run().ok();
    let nman = Nman::new();
    nman.run(&["pull", "-q", &name]).ok();
    (nman, name)
}

#[test]
fn images_of_dockers_kind_make_a_list_of_dockers_kind_with_the_digests_that_they_came_with() {
    let _sandbox = Sandbox::enter();
    let registry = Registry::start();
    let (nman, name) = with_image_of_dockers_kind(&registry);
    let digest = nman.store().find(&name).unwrap().origin.expect("it came in Docker's words");
    nman.run(&["manifest", "create", "x", &name]).ok();
    // Neither the name nor what was made of it is needed for that.
    nman.run(&["rmi", &name]).ok();
    let list = format!("{}/list:1", registry.address());
    nman.run(&["manifest", "push", "-q", "x", &list]).ok();
    let shown = raw(&list);
    assert_eq!(shown["mediaType"], DOCKER_INDEX);
    assert_eq!(shown["manifests"][0]["digest"], digest.as_str());
    copied(&list);
    nman.run(&["manifest", "push", "-q", "-f", "oci", "x", &list]).ok();
    assert_eq!(raw(&list)["mediaType"], OCI_INDEX);
    let other = Nman::new();
    other.run(&["pull", "-q", &list]).ok();
    assert_eq!(other.store().find(&list).unwrap().origin, Some(digest));
}

#[test]
fn what_only_a_list_keeps_of_an_image_of_dockers_kind_is_saved_under_the_lists_name() {
    let _sandbox = Sandbox::enter();
    let registry = Registry::start();
    let (nman, name) = with_image_of_dockers_kind(&registry);
    let id = nman.store().find(&name).unwrap().id;
    nman.run(&["manifest", "create", "x", &name]).ok();
    nman.run(&["rmi", &name]).ok();
    let saved = scratch_dir();
    for format in ["oci-archive", "docker-archive"] {
        let archive = saved.path().join(format).display().to_string();
        nman.run(&["save", "--format", format, "-o", &archive, "x"]).ok();
        let other = Nman::new();
        other.run(&["load", "-i", &archive]).ok();
        assert_eq!(other.store().find("x").unwrap().id, id, "{format}");
        nman.run(&["rmi", id.as_str()]).ok();
    }
    nman.run(&["manifest", "exists", "x"]).ok();
    nman.run(&["system", "check"]).ok();
}

#[test]
fn what_a_list_has_not_here_comes_from_the_repository_that_it_notes_and_the_name_stays_the_lists() {
    let _sandbox = Sandbox::enter();
    let registry = Registry::start();
    let (_directory, source) = TestImage::two_layers().layout();
    let remote = registry.push(&source, "remote:1");
    let nman = Nman::new();
    imported(&nman, "other", "linux/s390x");
    // The registry has something under the names of both lists, which nobody has asked for.
    let [noted, foreign] = ["noted:1", "foreign:1"].map(|name| registry.push(&source, name));
    nman.run(&["manifest", "create", &noted, "other", &format!("docker://{remote}")]).ok();
    nman.run(&["manifest", "create", &foreign, "other"]).ok();
    let before = inspected(&nman, &noted);
    let (store, options) = (nman.store(), PullOptions::default());
    let got = |name: &str| pull(&name.parse().unwrap(), &options, &store, &NoProgress);
    if cfg!(target_arch = "x86_64") {
        let image = got(&noted).unwrap();
        assert!(image.names.is_empty() && store.snapshots().contains(&image.chain_ids[0]));
        assert_eq!(store.find(&noted).unwrap().id, image.id);
    }
    assert_eq!(inspected(&nman, &noted), before);
    let refused = got(&foreign).unwrap_err().to_string();
    assert!(refused.contains("no image for linux/"), "{refused}");
    assert!(refused.ends_with(" in it; it has linux/s390x"), "{refused}");
    let refused = nman.run(&["create", &foreign, "true"]).exits(1).stderr();
    assert!(refused.contains(" in it; it has linux/s390x"), "{refused}");
    nman.run(&["manifest", "exists", &foreign]).ok();
    // Who asks the registry has what the registry has.
    nman.run(&["pull", "-q", &foreign]).ok();
    nman.run(&["manifest", "exists", &foreign]).exits(1);
}

#[test]
fn what_is_no_list_or_is_there_is_refused_in_podmans_words() {
    let _sandbox = Sandbox::enter();
    let nman = Nman::new();
    let digest = imported(&nman, "image", "linux/amd64");
    let id = nman.run(&["manifest", "create", "x"]).ok().stdout();
    let refused = |args: &[&str], words: &str| {
        let told = nman.run(&[&["manifest"], args].concat()).exits(1).stderr();
        assert!(told.contains(words), "{args:?}: {told}");
    };
    let taken = format!(
        "image name \"x:latest\" is already associated with image \"{}\": that name is already in use",
        id.trim()
    );
    refused(&["create", "x"], &taken);
    refused(&["create", "image"], "image name \"image:latest\" is already associated with image");
    refused(&["create", "-a", "image"], "image:latest: image is not a manifest list");
    refused(&["add", "image", "image"], "image:latest: image is not a manifest list");
    refused(&["add", "none", "image"], "No such manifest: none");
    refused(&["rm", "none"], "No such manifest: none");
    refused(&["rm", "image"], "image:latest: image is not a manifest list");
    refused(&["push", "none"], "No such manifest: none");
    let absent = format!("no image with digest {digest} in manifest list x");
    refused(&["remove", "x", digest.as_str()], &absent);
    refused(&["annotate", "--arch", "arm", "x", "image"], &absent);
    nman.run(&["manifest", "exists", "image"]).exits(1);
    nman.run(&["manifest", "exists", "x"]).ok();
    assert!(nman.store().find("image").is_ok());
    // One of this name that comes in takes it.
    nman.tag("image", "x");
    nman.run(&["manifest", "exists", "x"]).exits(1);
    assert_eq!(nman.store().lists().unwrap()[0].names, []);
}

#[test]
fn what_a_list_alone_keeps_is_checked_and_one_that_does_not_read_back_is_given_up() {
    let _sandbox = Sandbox::enter();
    let nman = Nman::new();
    imported(&nman, "one", "linux/amd64");
    let layer: Digest =
        nman.store().find("one").unwrap().layers[0].digest().to_string().parse().unwrap();
    nman.run(&["manifest", "create", "x", "one"]).ok();
    nman.run(&["rmi", "one"]).ok();
    fs::write(nman.store().layout().blob_path(&layer), "damaged").unwrap();
    let told = nman.run(&["system", "check"]).exits(1).stdout();
    assert!(told.contains(&format!("blob `{layer}` of manifest list `x:latest`")), "{told}");
    // To pull what has the list's name would replace the list.
    assert!(!told.contains("nman pull x"), "{told}");
    let member = inspected(&nman, "x")["manifests"][0]["digest"].as_str().unwrap().to_owned();
    assert!(told.contains(&format!("`nman manifest remove x:latest {member}`")), "{told}");
    nman.run(&["manifest", "remove", "x", &member]).ok();
    nman.run(&["system", "check"]).ok();
    nman.run(&["rmi", "x"]).ok();
    nman.run(&["system", "check"]).ok();

    nman.run(&["manifest", "create", "empty"]).ok();
    imported(&nman, "two", "linux/amd64");
    let id = nman.run(&["manifest", "create", "y", "two"]).ok().stdout();
    let digest: Digest = format!("sha256:{}", id.trim()).parse().unwrap();
    fs::write(nman.store().layout().blob_path(&digest), "{}").unwrap();
    let listed = nman.run(&["images", "-q"]).ok();
    assert_eq!(listed.stdout().lines().count(), 2, "{listed}");
    assert!(
        listed.stderr().contains("manifest list `y:latest` is left out: manifest list"),
        "{listed}"
    );
    let told = nman.run(&["system", "check"]).exits(1).stdout();
    assert!(told.contains("manifest list `y:latest`"), "{told}");
    assert!(told.contains("`nman manifest rm y:latest`") && !told.contains("nman pull"), "{told}");
    nman.run(&["system", "check", "--repair"]).ok();
    nman.run(&["system", "check"]).ok();
    nman.run(&["manifest", "exists", "y"]).exits(1);
    let id = nman.run(&["manifest", "create", "w", "two"]).ok().stdout();
    let z: Digest = format!("sha256:{}", id.trim()).parse().unwrap();
    fs::write(nman.store().layout().blob_path(&z), "{}").unwrap();
    nman.run(&["manifest", "rm", "w"]).ok();
    nman.run(&["system", "check"]).ok();
    nman.run(&["manifest", "exists", "empty"]).ok();
}

#[test]
fn of_a_list_a_platform_is_one_image_for_whoever_takes_one() {
    let _sandbox = Sandbox::enter();
    let registry = Registry::start();
    let nman = Nman::new();
    let [arm, s390x] = ["linux/arm64", "linux/s390x"].map(|platform| {
        let name = platform.split('/').next_back().unwrap();
        imported(&nman, name, platform);
        nman.store().find(name).unwrap()
    });
    let list = format!("{}/list:1", registry.address());
    nman.run(&["manifest", "create", &list, "arm64", "s390x"]).ok();
    let platform = ["--platform", "linux/s390x"];
    let of = |words: &[&str]| nman.run(&[words, &platform[..], &[&list]].concat());
    let inspect = of(&["image", "inspect", "-f", "{{.Id}}"]).ok().text();
    assert_eq!(inspect, s390x.id.as_str());
    let history = of(&["history", "-q", "--no-trunc"]).ok().stdout();
    assert!(history.starts_with(s390x.id.as_str()), "{history}");
    let saved = scratch_dir();
    let archive = saved.path().join("x.tar").display().to_string();
    of(&["save", "-o", &archive]).ok();
    let other = Nman::new();
    other.run(&["load", "-i", &archive]).ok();
    assert_eq!(other.store().find(&list).unwrap().id, s390x.id);
    of(&["push", "-q"]).ok();
    assert_eq!(raw(&list)["config"]["digest"], s390x.id.as_str());
    // What has not got one says what it has.
    let riscv = ["--platform", "linux/riscv64"];
    for words in [&["history"][..], &["image", "inspect"], &["push"], &["save", "-o", &archive]] {
        let told = nman.run(&[words, &riscv, &[&list]].concat()).exits(1).stderr();
        let expected = "no image for linux/riscv64 of it is here; it has linux/arm64, linux/s390x";
        assert!(told.contains(expected), "{words:?}: {told}");
    }
    for words in [&["inspect"][..], &["history"]] {
        let told = nman.run(&[words, &[&list]].concat()).exits(1).stderr();
        assert!(told.contains(&format!("`nman manifest inspect {list}`")), "{words:?}: {told}");
    }
    // A list goes as a whole.
    let refused = of(&["rmi"]).exits(1).stderr();
    assert!(refused.contains("nman manifest remove"), "{refused}");
    nman.run(&["manifest", "exists", &list]).ok();
    let before = format!("before={list}");
    let listed = nman.run(&["images", "-q", "--no-trunc", "--filter", &before]).ok().stdout();
    assert!(listed.contains(arm.id.as_str()), "{listed}");
}

#[test]
fn the_id_of_a_list_is_taken_wherever_its_name_is() {
    let _sandbox = Sandbox::enter();
    let registry = Registry::start();
    let nman = Nman::new();
    imported(&nman, "one", "linux/amd64");
    imported(&nman, "two", "linux/arm64");
    let list = format!("{}/list:1", registry.address());
    nman.run(&["manifest", "create", &list, "two"]).ok();
    let id = || {
        let format = ["images", "--no-trunc", "--format", "{{.ID}}", &list];
        nman.run(&format).ok().text()
    };
    let by_id = id();
    nman.run(&["manifest", "add", &by_id, "one"]).ok();
    assert_eq!(platforms(&inspected(&nman, &list)), ["linux/arm64", "linux/amd64"]);
    let short = id()[7..19].to_owned();
    let arm = nman.store().find("two").unwrap().id;
    let inspect = ["image", "inspect", "-f", "{{.Id}}", "--platform", "linux/arm64", &short];
    assert_eq!(nman.run(&inspect).ok().text(), arm.as_str());
    nman.run(&["manifest", "push", "-q", &short]).ok();
    assert_eq!(platforms(&raw(&list)), ["linux/arm64", "linux/amd64"]);
    nman.run(&["manifest", "create", "nameless"]).ok();
    let nameless = nman.run(&["manifest", "inspect", "nameless"]).ok();
    assert!(nameless.stdout().contains("manifests"));
    nman.tag("one", "nameless");
    let gone = nman.store().lists().unwrap().into_iter().find(|list| list.names.is_empty());
    let gone = gone.unwrap().digest;
    let refused = nman.run(&["manifest", "push", gone.as_str()]).exits(1).stderr();
    assert!(refused.contains("has no name"), "{refused}");
    let refused = nman.run(&["manifest", "add", gone.as_str(), "one"]).exits(1).stderr();
    assert!(refused.contains("has no name"), "{refused}");
}
