//! `import` from a web server, good and bad.

use nconform::fixture::{Registry, Sandbox};

use crate::images::{Entry, TestImage};
use crate::lying::{Answer, Server};
use crate::program::Nman;

/// The gzipped archive of a root file system.
fn rootfs() -> Vec<u8> {
    TestImage::default().layer(&[Entry::File("etc/name", b"imported\n", 0o644)]).layers.remove(0)
}

#[test]
fn an_archive_is_imported_from_a_url_and_from_where_that_redirects() {
    let _sandbox = Sandbox::enter();
    let server = Server::start(|request| match &*request.path {
        "/old?x=1" => Answer::status(302).with("Location", "files/new.tar.gz"),
        "/files/new.tar.gz" => Answer::ok(rootfs()),
        _ => Answer::status(404),
    });
    let nman = Nman::new();
    let url = format!("http://jo:secret@{}/old?x=1", server.address());
    let done = nman.run(&["import", &url, "flat:1"]).ok();
    let shown = format!("http://{}/old?x=1", server.address());
    assert_eq!(done.stderr(), format!("Downloading from {shown}\n"));
    let id = nman.run(&["image", "inspect", "-f", "{{.Id}}", "flat:1"]).ok().text();
    assert_eq!(done.text(), id);
    let comment = nman.run(&["history", "--format", "{{.Comment}}", "flat:1"]).ok().text();
    assert_eq!(comment, format!("Imported from {shown}"));
    let layer = TestImage::default().layer(&[Entry::File("etc/name", b"imported\n", 0o644)]);
    let layers = nman.run(&["image", "inspect", "-f", "{{json .RootFS.Layers}}", "flat:1"]).ok();
    assert_eq!(layers.text(), format!(r#"["{}"]"#, layer.diff_ids[0]));
}

#[test]
fn what_a_server_does_not_give_is_not_imported() {
    let _sandbox = Sandbox::enter();
    let server = Server::start(|request| match &*request.path {
        "/round" => Answer::status(302).with("Location", "/round"),
        "/short" => Answer { length: Some(rootfs().len() + 1), ..Answer::ok(rootfs()) },
        "/page" => Answer::ok("<html>please log in</html>".repeat(50)),
        "/busy" => Answer::status(503),
        _ => Answer::status(404),
    });
    let nman = Nman::new();
    let host = server.address().to_owned();
    for (path, said) in [
        ("none", format!("`{host}` answered 404 Not Found")),
        ("busy", format!("`{host}` answered 503 Service Unavailable")),
        ("round", format!("cannot reach `{host}`: it redirects in circles")),
        ("short", format!("`{host}`: the connection ended before the file")),
        ("page", "cannot read the layer: ".to_owned()),
    ] {
        let url = format!("http://{host}/{path}");
        let refused = nman.run(&["import", &url, "flat:1"]).exits(1).stderr();
        let refused = refused.lines().nth(1).unwrap();
        assert!(refused.starts_with(&format!("nman: cannot import `{url}`: ")), "{refused}");
        assert!(refused.contains(&said), "{refused}");
    }
    // A busy server is asked again.
    let asked = server.requests().iter().filter(|request| request.path == "/busy").count();
    assert_eq!(asked, 3);
    let refused = nman.run(&["import", "http://127.0.0.1:1/x"]).exits(1).stderr();
    assert!(refused.ends_with("cannot reach `127.0.0.1:1`: connection refused\n"), "{refused}");
    let refused = nman.run(&["import", "https://"]).exits(1).stderr();
    assert!(refused.ends_with("cannot import `https://`: it is no URL\n"), "{refused}");
    assert_eq!(nman.run(&["images", "-q"]).ok().stdout(), "");
    assert_eq!(nman.run(&["system", "check"]).ok().text(), "No problems found");
}

#[test]
fn a_server_is_trusted_as_a_registry_is() {
    let _sandbox = Sandbox::enter();
    let registry = Registry::builder().tls().start();
    let nman = Nman::new();
    let url = format!("https://{}/none", registry.address());
    let refused = nman.run(&["import", &url]).exits(1).stderr();
    assert!(refused.contains("its certificate is not signed by a trusted authority"), "{refused}");
    assert!(refused.contains("\n\nhint: put the authority's certificate in "), "{refused}");
    let ca = registry.ca_file().display().to_string();
    for options in [&["--ca-file", &*ca][..], &["--tls-verify=false"]] {
        let refused = nman.run(&[&["import"], options, &[&*url]].concat()).exits(1).stderr();
        assert!(refused.contains("answered 404"), "{refused}");
    }
}
