use std::io::Write as _;

use oci_spec::image::{
    ConfigBuilder, ImageConfigurationBuilder, ImageManifestBuilder, RootFsBuilder,
};

use super::*;
use crate::digest::Mismatch;

fn empty_layout() -> (tempfile::TempDir, Layout) {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::create(dir.path().join("layout")).unwrap();
    (dir, layout)
}

fn files(layout: &Layout) -> Vec<String> {
    let output = std::process::Command::new("find")
        .args([".", "-type", "f"])
        .current_dir(layout.path())
        .output()
        .unwrap();
    let mut files: Vec<String> =
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    files.sort();
    files
}

/// A manifest without layers, stored.
fn image(layout: &Layout, note: &str) -> Descriptor {
    let rootfs = RootFsBuilder::default().diff_ids(Vec::<String>::new()).build().unwrap();
    let config = ConfigBuilder::default().cmd(vec![note.to_owned()]).build().unwrap();
    let config =
        ImageConfigurationBuilder::default().rootfs(rootfs).config(config).build().unwrap();
    let config = layout.put_json(MediaType::ImageConfig, &config).unwrap();
    let manifest = ImageManifestBuilder::default()
        .schema_version(2_u32)
        .media_type(MediaType::ImageManifest)
        .config(config)
        .layers(Vec::new())
        .build()
        .unwrap();
    layout.put_json(MediaType::ImageManifest, &manifest).unwrap()
}

#[test]
fn a_new_layout_is_one_that_can_be_opened_and_made_again() {
    let (_dir, layout) = empty_layout();
    assert_eq!(files(&layout), ["./index.json", "./oci-layout"]);
    Layout::open(layout.path()).unwrap();
    Layout::create(layout.path()).unwrap();
}

#[test]
fn a_directory_with_other_things_in_it_is_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("thesis.tex"), "").unwrap();
    assert!(matches!(Layout::create(dir.path()), Err(Error::NotALayout { .. })));
    let error = Layout::open(dir.path().join("nowhere")).unwrap_err().to_string();
    assert!(error.ends_with("nowhere` is not an OCI image layout: no such directory"), "{error}");
    fs::write(dir.path().join("oci-layout"), r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
    assert!(Layout::open(dir.path()).is_err());
}

#[test]
fn a_blob_is_stored_under_its_digest_and_read_back() {
    let (_dir, layout) = empty_layout();
    let (digest, size) = layout.put(&b"hello"[..], None).unwrap();
    assert_eq!((&digest, size), (&Digest::of(b"hello"), 5));
    assert!(layout.contains(&digest));
    layout.put(&b"hello"[..], Some(digest.clone().into())).unwrap();
    let descriptor = Descriptor::new(MediaType::ImageLayer, size, &digest);
    assert_eq!(layout.read(&descriptor).unwrap(), b"hello");
}

#[test]
fn nothing_is_stored_of_a_blob_that_is_not_what_was_expected() {
    let (_dir, layout) = empty_layout();
    let before = files(&layout);
    let expected = Expected { digest: Digest::of(b"hello"), size: Some(5) };
    for content in [&b"hellp"[..], b"hell", b"hello!"] {
        let error = layout.put(content, Some(expected.clone())).unwrap_err();
        let Error::Blob { source, .. } = &error else { panic!("{error}") };
        assert!(Mismatch::within(source).is_some(), "{error}");
    }
    drop(layout.writer(None).unwrap().write_all(b"abandoned"));
    assert_eq!(files(&layout), before);
}

#[test]
fn a_damaged_blob_is_noticed_when_it_is_read_and_mended_when_it_is_stored_again() {
    let (_dir, layout) = empty_layout();
    let (digest, size) = layout.put(&b"hello"[..], None).unwrap();
    fs::write(layout.blob_path(&digest), "hel").unwrap();
    let descriptor = Descriptor::new(MediaType::ImageLayer, size, &digest);
    let error = layout.read(&descriptor).unwrap_err().to_string();
    assert!(error.contains("has 3 bytes where 5 were expected"), "{error}");
    layout.put(&b"hello"[..], None).unwrap();
    assert_eq!(layout.read(&descriptor).unwrap(), b"hello");
    fs::remove_file(layout.blob_path(&digest)).unwrap();
    assert!(matches!(layout.read(&descriptor), Err(Error::MissingBlob { .. })));
}

#[test]
fn a_document_of_gigabytes_is_not_read() {
    let (_dir, layout) = empty_layout();
    let huge = Descriptor::new(MediaType::ImageConfig, 8 << 30, &Digest::of(b""));
    assert!(matches!(layout.read(&huge), Err(Error::Document { .. })));
}

#[test]
fn a_name_moves_to_the_image_that_was_tagged_last() {
    let (_dir, layout) = empty_layout();
    let (one, two) = (image(&layout, "one"), image(&layout, "two"));
    assert!(layout.find(None).is_err());
    layout.tag("a", &one).unwrap();
    assert_eq!(layout.find(None).unwrap().digest(), one.digest());
    layout.tag("b", &one).unwrap();
    layout.tag("a", &two).unwrap();
    assert_eq!(layout.find(Some("a")).unwrap().digest(), two.digest());
    assert_eq!(layout.find(Some("b")).unwrap().digest(), one.digest());
    let error = layout.find(Some("c")).unwrap_err();
    assert!(error.to_string().starts_with("no image `c` in the layout"), "{error}");
    assert_eq!(error.hint().unwrap(), "it has `b`, `a`");
    assert!(layout.untag("b").unwrap());
    assert!(!layout.untag("b").unwrap());
}

#[test]
fn writers_at_the_same_time_lose_no_name() {
    let (_dir, layout) = empty_layout();
    let one = image(&layout, "one");
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (layout, one) = (&layout, &one);
            scope.spawn(move || {
                for n in 0..5 {
                    layout.tag(&format!("{thread}-{n}"), one).unwrap();
                }
            });
        }
    });
    assert_eq!(layout.index().unwrap().manifests().len(), 20);
}

#[test]
fn a_document_that_could_be_two_things_is_refused() {
    let parse = |text: &str, promised: Option<&MediaType>| {
        Document::parse(text.as_bytes(), promised, "test").map(|_| ())
    };
    let manifest = r#""config":{"mediaType":"application/vnd.oci.image.config.v1+json","size":2,"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"},"layers":[]"#;
    let whole = format!(r#"{{"schemaVersion":2,{manifest}}}"#);
    parse(&whole, None).unwrap();
    parse(&whole, Some(&MediaType::ImageManifest)).unwrap();
    let docker = MediaType::from("application/vnd.docker.distribution.manifest.v2+json");
    parse(&whole, Some(&docker)).unwrap();
    assert!(parse(&whole, Some(&MediaType::ImageIndex)).is_err());
    assert!(parse(&whole, Some(&MediaType::ImageLayer)).is_err());
    assert!(parse(&format!(r#"{{"schemaVersion":2,"manifests":[],{manifest}}}"#), None).is_err());
    assert!(parse(&format!(r#"{{"schemaVersion":1,{manifest}}}"#), None).is_err());
    let lying = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json",{manifest}}}"#
    );
    assert!(parse(&lying, None).is_err());
    assert!(parse("[1]", None).is_err());
    assert!(parse("{", None).is_err());
}

#[test]
fn an_index_leads_to_the_image_of_the_platform() {
    let (_dir, layout) = empty_layout();
    let mut one = image(&layout, "one");
    let mut two = image(&layout, "two");
    let host = host_platform();
    let mut other = host.clone();
    other.set_architecture("s390x".into());
    one.set_platform(Some(other.clone()));
    two.set_platform(Some(host.clone()));
    let mut index = layout.index().unwrap();
    index.set_manifests(vec![one.clone(), two.clone()]);
    let index = layout.put_json(MediaType::ImageIndex, &index).unwrap();
    assert_eq!(layout.image(&index, &host).unwrap().descriptor.digest(), two.digest());
    assert_eq!(layout.image(&index, &other).unwrap().descriptor.digest(), one.digest());
    other.set_architecture("riscv64".into());
    let error = layout.image(&index, &other).unwrap_err().to_string();
    assert!(error.contains("has no image for linux/riscv64"), "{error}");
}

#[test]
fn a_configuration_with_another_number_of_layers_is_refused() {
    let (_dir, layout) = empty_layout();
    let descriptor = image(&layout, "one");
    let Document::Manifest(mut manifest) = layout.document(&descriptor).unwrap() else { panic!() };
    manifest.set_layers(vec![Descriptor::new(MediaType::ImageLayer, 0, &Digest::of(b""))]);
    let descriptor = layout.put_json(MediaType::ImageManifest, &manifest).unwrap();
    let error = layout.image(&descriptor, &host_platform()).unwrap_err().to_string();
    assert!(error.contains("1 layers and its configuration 0 diff ids"), "{error}");
}

#[test]
fn what_a_document_says_is_repeated_without_control_characters() {
    let text = r#"{"schemaVersion":2,"manifests":[{"mediaType":"a","digest":"x:\u001b[31mred\u007f\n","size":1}]}"#;
    let error = Document::parse(text.as_bytes(), None, "a\nname").unwrap_err().to_string();
    assert!(error.contains("is not valid") && error.contains("[31mred"), "{error}");
    assert!(!error.contains(char::is_control), "{error:?}");
}
