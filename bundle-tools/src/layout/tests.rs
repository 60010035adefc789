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
    image_for(layout, note, "amd64")
}

fn image_for(layout: &Layout, note: &str, architecture: &str) -> Descriptor {
    let rootfs = RootFsBuilder::default().diff_ids(Vec::<String>::new()).build().unwrap();
    let config = ConfigBuilder::default().cmd(vec![note.to_owned()]).build().unwrap();
    let config = ImageConfigurationBuilder::default()
        .architecture(architecture)
        .rootfs(rootfs)
        .config(config)
        .build()
        .unwrap();
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
    fs::remove_file(layout.path().join("index.json")).unwrap();
    Layout::open(layout.path()).unwrap_err();
    // Whoever writes to it makes the index again.
    Layout::create(layout.path()).unwrap();
}

#[test]
fn a_layout_that_was_being_made_when_somebody_stopped_it_is_completed() {
    for left in [".index.json.new", ".oci-layout.new", "index.json"] {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("blobs/sha256")).unwrap();
        let content =
            if left.starts_with('.') { "" } else { r#"{"schemaVersion":2,"manifests":[]}"# };
        fs::write(dir.path().join(left), content).unwrap();
        let layout = Layout::create(dir.path()).unwrap();
        assert_eq!(
            Layout::open(layout.path()).unwrap().index().unwrap().manifests(),
            &[],
            "{left}"
        );
    }
}

#[test]
fn nothing_that_lies_in_a_layout_leads_a_writer_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let victim = dir.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    let path = dir.path().join("layout");
    fs::create_dir(&path).unwrap();
    for wait in [".index.json.new", ".oci-layout.new"] {
        std::os::unix::fs::symlink(&victim, path.join(wait)).unwrap();
    }
    let layout = Layout::create(&path).unwrap();
    std::os::unix::fs::symlink(&victim, path.join(".index.json.new")).unwrap();
    layout.tag("a", &image(&layout, "one")).unwrap();
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    assert!(fs::symlink_metadata(path.join("index.json")).unwrap().is_file());
    // One that would be waited for.
    let fifo = path.join(".index.json.new");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, Mode::RUSR | Mode::WUSR).unwrap();
    layout.tag("b", &image(&layout, "two")).unwrap();
    assert!(layout.find(Some("b")).is_ok());
}

#[test]
fn blobs_that_would_be_written_elsewhere_are_refused() {
    for link in ["blobs", "blobs/sha256"] {
        let (dir, layout) = empty_layout();
        let elsewhere = dir.path().join("elsewhere");
        fs::create_dir_all(elsewhere.join("sha256")).unwrap();
        let link = layout.path().join(link);
        fs::remove_dir_all(&link).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &link).unwrap();
        let error = layout.put(&b"hello"[..], None).unwrap_err().to_string();
        assert!(error.ends_with("it leads elsewhere, which a layout must not"), "{error}");
        assert_eq!(fs::read_dir(elsewhere.join("sha256")).unwrap().count(), 0);
    }
}

#[test]
fn a_layout_is_made_by_several_at_once() {
    for _ in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("layout");
        std::thread::scope(|scope| {
            let made: Vec<_> = (0..8).map(|_| scope.spawn(|| Layout::create(&path))).collect();
            made.into_iter().for_each(|made| drop(made.join().unwrap().unwrap()));
        });
    }
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
    // Of the right length, as in a layout that comes from elsewhere.
    fs::write(layout.blob_path(&digest), "hellp").unwrap();
    layout.read(&descriptor).unwrap_err();
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

/// An index of images for these platforms, each of a content of its own.
fn index_of(layout: &Layout, platforms: &[&str]) -> (Descriptor, Vec<Descriptor>) {
    let entry = |name: &&str| {
        let (os, architecture) = name.split_once('/').unwrap();
        let (architecture, variant) = architecture.split_once('/').unwrap_or((architecture, ""));
        let mut entry = image_for(layout, name, architecture);
        let platform = serde_json::json!({"os": os, "architecture": architecture});
        let mut platform: oci_spec::image::Platform = serde_json::from_value(platform).unwrap();
        platform.set_variant((!variant.is_empty()).then(|| variant.to_owned()));
        entry.set_platform(Some(platform));
        entry
    };
    let entries: Vec<Descriptor> = platforms.iter().map(entry).collect();
    let mut index = layout.index().unwrap();
    index.set_manifests(entries.clone());
    (layout.put_json(MediaType::ImageIndex, &index).unwrap(), entries)
}

#[test]
fn an_index_leads_to_the_image_of_the_platform() {
    let (_dir, layout) = empty_layout();
    let platforms =
        ["linux/s390x", "unknown/unknown", "linux/amd64/v2", "linux/x86_64", "linux/386"];
    let (index, entries) = index_of(&layout, &platforms);
    let chosen = |asked: &str| {
        let image = layout.image(&index, Some(&asked.parse().unwrap())).unwrap();
        entries.iter().position(|entry| entry.digest() == image.descriptor.digest()).unwrap()
    };
    assert_eq!(chosen("linux/s390x"), 0);
    assert_eq!(chosen("linux/amd64/v3"), 2);
    assert_eq!(chosen("linux/amd64"), 3);
    let error = layout.image(&index, Some(&"linux/riscv64".parse().unwrap())).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("no image for linux/riscv64 in `sha256:"), "{text}");
    assert!(
        text.ends_with("it has linux/s390x, linux/amd64/v2, linux/x86_64, linux/386"),
        "{text}"
    );
}

#[test]
fn a_machine_of_64_bits_takes_an_image_of_32_where_nobody_has_asked() {
    let (_dir, layout) = empty_layout();
    let (index, entries) = index_of(&layout, &["linux/s390x", "linux/386"]);
    let image = layout.image(&index, None).unwrap();
    assert_eq!(image.descriptor.digest(), entries[1].digest());
    layout.image(&index, Some(&"linux/amd64".parse().unwrap())).unwrap_err();
    // One that is not in an index is taken as it is, unless another one is asked for.
    layout.image(&entries[0], None).unwrap();
    let error = layout.image(&entries[0], Some(&"linux/arm64".parse().unwrap())).unwrap_err();
    assert!(error.to_string().ends_with("it has linux/s390x"), "{error}");
}

#[test]
fn what_is_no_regular_file_is_not_waited_for() {
    let (_dir, layout) = empty_layout();
    let name = layout.path().join("index.json");
    fs::remove_file(&name).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &name, Mode::RUSR).unwrap();
    let error = layout.find(None).unwrap_err().to_string();
    assert!(error.ends_with("index.json`: not a regular file"), "{error}");
    let blob = image(&layout, "one");
    let path = layout.blob_path(&Digest::try_from(&blob).unwrap());
    fs::remove_file(&path).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, Mode::RUSR).unwrap();
    layout.document(&blob).unwrap_err();
}

#[test]
fn of_thousands_of_names_a_few_are_told() {
    let (_dir, layout) = empty_layout();
    let image = image(&layout, "one");
    for number in 0..12 {
        layout.tag(&format!("n{number}"), &image).unwrap();
    }
    let hint = layout.find(Some("x")).unwrap_err().hint().unwrap();
    assert!(hint.starts_with("it has `n0`, `n1`,"), "{hint}");
    assert!(hint.ends_with("`n9`, and 2 more"), "{hint}");
}

#[test]
fn a_configuration_with_another_number_of_layers_is_refused() {
    let (_dir, layout) = empty_layout();
    let descriptor = image(&layout, "one");
    let Document::Manifest(mut manifest) = layout.document(&descriptor).unwrap() else { panic!() };
    manifest.set_layers(vec![Descriptor::new(MediaType::ImageLayer, 0, &Digest::of(b""))]);
    let descriptor = layout.put_json(MediaType::ImageManifest, &manifest).unwrap();
    let error = layout.image(&descriptor, None).unwrap_err().to_string();
    assert!(error.contains("1 layers and its configuration 0 diff ids"), "{error}");
}

#[test]
fn what_a_document_says_is_repeated_without_control_characters() {
    let text = r#"{"schemaVersion":2,"manifests":[{"mediaType":"a","digest":"x:\u001b[31mred\u007f\n","size":1}]}"#;
    let error = Document::parse(text.as_bytes(), None, "a\nname").unwrap_err().to_string();
    assert!(error.contains("is not valid") && error.contains("[31mred"), "{error}");
    assert!(!error.contains(char::is_control), "{error:?}");
}
