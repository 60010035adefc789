use std::{fs, os::fd::AsFd as _, path::Path, process::Command};

use oci_spec::image::MediaType;

use super::*;
use crate::{
    digest::Digest,
    image::Builder,
    layer::{Compression, PackOptions},
    layout::{Document, Error as LayoutError},
    tarball::{Entry, Kind, TarWriter, Timespec},
};

struct Fixture {
    dir: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("rootfs")).unwrap();
        fs::write(dir.path().join("rootfs/hello"), "hello").unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    /// A layout with one image named `test`.
    fn source(&self) -> Layout {
        let layout = Layout::create(self.path("source")).unwrap();
        let mut builder = Builder::new(&layout);
        let root = fs::File::open(self.path("rootfs")).unwrap();
        builder.pack(root.as_fd(), &PackOptions::default(), Compression::Gzip, "test").unwrap();
        let image = builder.finish().unwrap();
        layout.tag("test", &image).unwrap();
        layout
    }

    fn skopeo(&self, format: &str, file: &str) -> Vec<u8> {
        let target = format!("{format}:{}:example.org/thing:1", self.path(file).display());
        let source = format!("oci:{}:test", self.path("source").display());
        let output = Command::new("skopeo")
            .args(["--insecure-policy", "copy", "-q", &source, &target])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        fs::read(self.path(file)).unwrap()
    }

    fn target(&self) -> Layout {
        Layout::create(self.path("target")).unwrap()
    }
}

fn load_all(archive: &[u8], layout: &Layout) -> Result<Vec<Loaded>, Error> {
    load(archive, layout, &Limits::default())
}

fn blobs(layout: &Layout) -> usize {
    fs::read_dir(layout.path().join("blobs/sha256")).unwrap().count()
}

fn entry(name: &str, kind: Kind, size: usize) -> Entry {
    Entry {
        name: name.as_bytes().to_vec(),
        kind,
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: Timespec::default(),
        size: size as u64,
        xattrs: Vec::new(),
        extents: None,
    }
}

fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = TarWriter::new(Vec::new());
    for (name, data) in members {
        writer.append(&entry(name, Kind::File, data.len()), *data).unwrap();
    }
    writer.finish().unwrap()
}

fn hello_is_in(layout: &Layout, loaded: &Loaded, dir: &Path) {
    let image = layout.image(&loaded.descriptor, None).unwrap();
    let root = fs::File::open(dir).unwrap();
    for layer in image.manifest.layers() {
        let blob = layout.blob(layer).unwrap();
        layer::unpack(blob, root.as_fd(), &layer::Options::default()).unwrap();
    }
    assert_eq!(fs::read_to_string(dir.join("hello")).unwrap(), "hello");
}

#[test]
fn an_archive_of_skopeo_in_either_format_is_loaded() {
    let fixture = Fixture::new();
    fixture.source();
    for (format, name) in
        [("oci-archive", "example.org/thing:1"), ("docker-archive", "example.org/thing:1")]
    {
        let archive = fixture.skopeo(format, format);
        let target = Layout::create(fixture.path(&format!("{format}.layout"))).unwrap();
        let loaded = load_all(&archive, &target).unwrap();
        assert_eq!(loaded.len(), 1, "{format}");
        assert_eq!(loaded[0].names, [name], "{format}");
        assert_eq!(blobs(&target), 3, "{format}: what no image refers to is removed");
        let out = tempfile::tempdir().unwrap();
        hello_is_in(&target, &loaded[0], out.path());
    }
}

#[test]
fn a_compressed_archive_is_loaded_and_a_second_time_too() {
    let fixture = Fixture::new();
    let source = fixture.source();
    for compression in [Compression::Gzip, Compression::Zstd] {
        let mut encoder = compression.encoder(Vec::new()).unwrap();
        save(&source, &mut encoder).unwrap();
        let archive = encoder.finish().unwrap();
        let target = fixture.target();
        let loaded = load_all(&archive, &target).unwrap();
        assert_eq!(loaded[0].names, ["test"]);
        assert_eq!(loaded[0].descriptor.digest(), source.find(Some("test")).unwrap().digest());
        assert_eq!(blobs(&target), 3);
    }
}

#[test]
fn what_save_writes_is_the_same_every_time_and_skopeo_reads_it() {
    let fixture = Fixture::new();
    let source = fixture.source();
    let write = || {
        let mut bytes = Vec::new();
        save(&source, &mut bytes).unwrap();
        bytes
    };
    assert_eq!(write(), write());
    fs::write(fixture.path("saved.tar"), write()).unwrap();
    let output = Command::new("skopeo")
        .args(["inspect", &format!("oci-archive:{}:test", fixture.path("saved.tar").display())])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_docker_archive_may_link_a_layer_and_compress_it() {
    let fixture = Fixture::new();
    let layer = tar(&[("hello", b"hello")]);
    let config = format!(
        r#"{{"os":"linux","architecture":"amd64","rootfs":{{"type":"layers","diff_ids":["{0}","{0}"]}}}}"#,
        Digest::of(&layer)
    );
    let mut encoder = Compression::Gzip.encoder(Vec::new()).unwrap();
    std::io::Write::write_all(&mut encoder, &layer).unwrap();
    let zipped = encoder.finish().unwrap();
    let manifest =
        r#"[{"Config":"c.json","RepoTags":["a:1","b:2"],"Layers":["1/layer.tar","2/layer.tar"]}]"#;
    let mut writer = TarWriter::new(Vec::new());
    writer.append(&entry("1/layer.tar", Kind::File, zipped.len()), &zipped[..]).unwrap();
    let link = Kind::Symlink(b"../1/layer.tar".to_vec());
    writer.append(&entry("2/layer.tar", link, 0), std::io::empty()).unwrap();
    writer.append(&entry("c.json", Kind::File, config.len()), config.as_bytes()).unwrap();
    writer
        .append(&entry("manifest.json", Kind::File, manifest.len()), manifest.as_bytes())
        .unwrap();
    let archive = writer.finish().unwrap();
    let target = fixture.target();
    let loaded = load_all(&archive, &target).unwrap();
    assert_eq!(loaded[0].names, ["a:1", "b:2"]);
    let out = tempfile::tempdir().unwrap();
    hello_is_in(&target, &loaded[0], out.path());
}

#[test]
fn a_layer_that_is_not_the_one_of_the_configuration_is_refused_and_nothing_stays() {
    let fixture = Fixture::new();
    let layer = tar(&[("hello", b"hello")]);
    let config = format!(
        r#"{{"os":"linux","architecture":"amd64","rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
        Digest::of(b"another")
    );
    let manifest = br#"[{"Config":"c.json","RepoTags":null,"Layers":["layer.tar"]}]"#;
    let archive =
        tar(&[("layer.tar", &layer), ("c.json", config.as_bytes()), ("manifest.json", manifest)]);
    let target = fixture.target();
    let error = load_all(&archive, &target).unwrap_err();
    assert!(matches!(error, Error::DiffId { .. }), "{error}");
    assert_eq!(blobs(&target), 0);
}

#[test]
fn a_blob_of_an_oci_archive_must_have_the_digest_of_its_name() {
    let fixture = Fixture::new();
    let name = format!("blobs/sha256/{}", Digest::of(b"good").hex());
    let target = fixture.target();
    let error = load_all(&tar(&[(&name, b"evil")]), &target).unwrap_err();
    assert!(matches!(&error, Error::Layout(LayoutError::Blob { .. })), "{error}");
    assert_eq!(blobs(&target), 0);
}

#[test]
fn what_is_no_image_archive_is_refused_with_a_hint_and_nothing_stays() {
    let fixture = Fixture::new();
    let target = fixture.target();
    for (archive, words) in [
        (tar(&[("etc/passwd", b"root")]), "neither `index.json` nor `manifest.json`"),
        (tar(&[("repositories", b"{}")]), "before 1.10"),
        (tar(&[("manifest.json", b"[]")]), "lists no image"),
        (tar(&[("manifest.json", b"{")]), "manifest.json: "),
        (
            tar(&[("manifest.json", br#"[{"Config":"../../etc/shadow","Layers":[]}]"#)]),
            "outside of the root",
        ),
        (tar(&[("manifest.json", br#"[{"Config":"gone","Layers":[]}]"#)]), "no member `gone`"),
    ] {
        let error = load_all(&archive, &target).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(blobs(&target), 0, "{words}");
    }
    let truncated = &tar(&[("index.json", &[b' '; 4000])])[..1000];
    let error = load_all(truncated, &target).unwrap_err().to_string();
    assert_eq!(error, "cannot read the archive: entry `index.json`: unexpected end of data");
    assert_eq!(blobs(&target), 0);
}

#[test]
fn blobs_that_were_there_before_stay_when_an_archive_fails() {
    let fixture = Fixture::new();
    let target = fixture.target();
    target.put(&b"mine"[..], None).unwrap();
    let name = format!("blobs/sha256/{}", Digest::of(b"mine").hex());
    assert!(load_all(&tar(&[(&name, b"mine"), ("x", b"y")]), &target).is_err());
    assert!(target.contains(&Digest::of(b"mine")));
    assert_eq!(blobs(&target), 1);
}

#[test]
fn an_index_goes_with_its_images_and_a_name_is_in_a_layout_once() {
    let fixture = Fixture::new();
    let source = fixture.source();
    let image = source.find(Some("test")).unwrap();
    let index = serde_json::json!({
        "schemaVersion": 2, "mediaType": MediaType::ImageIndex.to_string(), "manifests": [
            {"mediaType": image.media_type().to_string(), "digest": image.digest().to_string(), "size": image.size()},
        ],
    });
    let content = index.to_string().into_bytes();
    let size = content.len() as u64;
    let manifest = Descriptor::new(MediaType::ImageIndex, size, &Digest::of(&content));
    let name = |tag: &str| Name {
        full: format!("example.org/x:{tag}"),
        familiar: format!("x:{tag}"),
        tag: tag.to_owned(),
    };
    let several = Outgoing { manifest, index: Some(content), names: vec![name("1")] };
    let one = Outgoing { manifest: image, index: None, names: vec![name("1"), name("2")] };

    let mut archive = Vec::new();
    write(&source, std::slice::from_ref(&several), Form::Oci, &mut archive).unwrap();
    let loaded = load_all(&archive, &fixture.target()).unwrap();
    assert_eq!(loaded[0].names, ["example.org/x:1"]);
    assert_eq!(loaded[0].descriptor.digest(), several.manifest.digest());
    let refused = write(&source, std::slice::from_ref(&several), Form::Docker, Vec::new());
    assert!(refused.unwrap_err().to_string().contains("is an index"));

    let target = Layout::create(fixture.path("placed")).unwrap();
    let names = || {
        let index = target.index().unwrap();
        let named = |one: &Descriptor| {
            let names = one.annotations().as_ref().unwrap();
            (names[crate::layout::REF_NAME].clone(), one.digest().clone())
        };
        index.manifests().iter().map(named).collect::<Vec<_>>()
    };
    place(&source, std::slice::from_ref(&several), &target).unwrap();
    assert_eq!(names(), [("1".to_owned(), several.manifest.digest().clone())]);
    place(&source, std::slice::from_ref(&one), &target).unwrap();
    let digest = one.manifest.digest();
    assert_eq!(names(), ["1", "2"].map(|tag| (tag.to_owned(), digest.clone())));
    // What an interrupted copy of the layout has left of a blob is made whole, and so is what has the right length and another content.
    for damage in [|_: Vec<u8>| b"cut".to_vec(), |whole: Vec<u8>| vec![b'x'; whole.len()]] {
        for blob in fs::read_dir(fixture.path("placed/blobs/sha256")).unwrap() {
            let path = blob.unwrap().path();
            fs::write(&path, damage(fs::read(&path).unwrap())).unwrap();
        }
        place(&source, std::slice::from_ref(&one), &target).unwrap();
        let Document::Manifest(manifest) = target.document(&one.manifest).unwrap() else {
            panic!()
        };
        for blob in manifest.layers().iter().chain([manifest.config()]) {
            std::io::copy(&mut target.blob(blob).unwrap(), &mut std::io::sink()).unwrap();
        }
    }
    // Without a name it is there once.
    let nameless = Outgoing { names: Vec::new(), ..one };
    for _ in 0..2 {
        place(&source, std::slice::from_ref(&nameless), &target).unwrap();
        assert_eq!(target.index().unwrap().manifests().len(), 3);
    }
}

#[test]
fn members_of_which_there_are_too_many_to_be_remembered_are_refused() {
    let fixture = Fixture::new();
    let names: Vec<String> = (0..100).map(|at| format!("{at}/{}", "x".repeat(90))).collect();
    let members: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b""[..])).collect();
    let mut writer = TarWriter::new(Vec::new());
    for at in 0..100 {
        let link = Kind::Symlink(vec![b'y'; 90]);
        writer.append(&entry(&format!("link-{at}"), link, 0), std::io::empty()).unwrap();
    }
    let links = writer.finish().unwrap();
    let target = fixture.target();
    for archive in [tar(&members), links] {
        let refused = |paths| {
            let limits = Limits { paths, ..Limits::default() };
            load(&archive[..], &target, &limits).unwrap_err().to_string()
        };
        assert!(refused(10_000).contains("need too much memory"), "{}", refused(10_000));
        assert!(!refused(30_000).contains("need too much memory"), "{}", refused(30_000));
        assert_eq!(blobs(&target), 0);
    }
}
