//! `nman login` and `nman logout`, with Docker's file and with credential helpers.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use nconform::fixture::{Registry, Sandbox};

use crate::images::TestImage;
use crate::program::Nman;

/// A registry that asks for a login, and what makes a program trust it.
fn guarded() -> (Registry, String) {
    let registry = Registry::builder().tls().login("ann", "secret").start();
    let ca = registry.ca_file().display().to_string();
    (registry, ca)
}

#[test]
fn a_login_is_tried_before_it_is_kept_and_used_until_it_is_taken_away() {
    let _sandbox = Sandbox::enter();
    let (registry, ca) = guarded();
    let address = registry.address();
    let (_directory, source) = TestImage::two_layers().layout();
    let name = registry.push(&source, "app:1");
    let nman = Nman::new();

    let login = |password: &str| {
        let args = ["login", "--ca-file", &ca, "-u", "ann", "--password-stdin", &address];
        nman.command().args(args).stdin(format!("{password}\n")).run()
    };
    let refused = login("wrong").exits(1);
    let words =
        format!("nman: cannot log in to `{address}`: unauthorized: incorrect username or password");
    assert!(refused.stderr().starts_with(&words), "{refused}");
    assert!(!nman.config().exists());

    let accepted = login("secret").ok();
    assert_eq!(accepted.stdout(), "Login Succeeded\n");
    assert!(accepted.stderr().contains("stored unencrypted"), "{accepted}");
    let mode = fs::metadata(nman.config()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    nman.run(&["pull", "-q", "--ca-file", &ca, &name]).ok();
    let copy = format!("{address}/copy:1");
    nman.tag(&name, &copy);
    nman.run(&["push", "-q", "--ca-file", &ca, &copy]).ok();

    let out = nman.run(&["logout", &address]).ok();
    assert_eq!(out.stdout(), format!("Removing login credentials for {address}\n"));
    let out = nman.run(&["logout", &address]).ok();
    assert_eq!(out.stdout(), format!("Not logged in to {address}\n"));
    let denied = nman.run(&["push", "--ca-file", &ca, &copy]).exits(1);
    assert!(denied.stderr().contains("requires a login"), "{denied}");
    assert!(denied.stderr().contains(&format!("nman login {address}")), "{denied}");
}

#[test]
fn a_credential_helper_keeps_the_login_instead_of_the_file() {
    let _sandbox = Sandbox::enter();
    let (registry, ca) = guarded();
    let address = registry.address();
    let nman = Nman::new();
    nman.script(
        "docker-credential-vault",
        "#!/bin/sh\ncd \"$DOCKER_CONFIG\"\ncase $1 in store) cat >vault;; erase) rm vault;;\n\
         get) cat vault 2>&- || { echo 'credentials not found in native keychain'; exit 1; };; esac\n",
    );
    fs::create_dir_all(nman.config().parent().unwrap()).unwrap();
    fs::write(nman.config(), r#"{"credsStore": "vault", "detachKeys": "ctrl-x"}"#).unwrap();

    let told = nman.run(&["login", "--ca-file", &ca, "-u", "ann", "-p", "secret", &address]).ok();
    assert_eq!(told.stdout(), "Login Succeeded\n");
    assert!(!told.stderr().contains("unencrypted"), "{told}");
    assert!(told.stderr().contains("--password via the CLI is insecure"), "{told}");
    let config = fs::read_to_string(nman.config()).unwrap();
    assert!(config.contains("ctrl-x") && !config.contains("YW5uOnNlY3JldA"), "{config}");

    // What is known already is enough, and is tried again.
    let again = nman.run(&["login", "--ca-file", &ca, &address]).ok();
    assert!(again.stderr().contains("Authenticating with existing credentials..."), "{again}");
    nman.run(&["logout", &address]).ok();
    assert!(!nman.config().with_file_name("vault").exists());
}

#[test]
fn nobody_is_asked_where_nobody_can_answer() {
    let _sandbox = Sandbox::enter();
    let nman = Nman::new();
    for (args, words) in [
        (&["login", "r.example"][..], "cannot perform an interactive login from a non TTY device"),
        (
            &["login", "--password-stdin", "r.example"],
            "the --password-stdin option requires --username to be set",
        ),
        (
            &["login", "-p", "x", "--password-stdin", "r.example"],
            "cannot specify both --password and --password-stdin",
        ),
        (&["login", "-u", "a", "-p", "b", "no registry"], "is not the name of a registry"),
    ] {
        let output = nman.command().args(args).stdin("").run();
        assert!(!output.success() && output.stderr().contains(words), "{output}");
    }
}
