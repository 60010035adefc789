//! The whole of config.json for a plain and for a rich command line, compared with what is written down.
//!
//! `UPDATE_GOLDEN=1 cargo test` writes them anew; the difference is then reviewed like code.

use super::*;
use crate::cli::{Cli, Command};
use clap::Parser as _;

fn parse(words: &[&str]) -> CreateArgs {
    match Cli::try_parse_from(["nman", "run"].iter().chain(words)).unwrap().command {
        Command::Run(args) => args.create,
        other => panic!("{other:?}"),
    }
}

fn image(config: &str) -> ImageConfiguration {
    let text = format!(
        r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":[]}},"config":{config}}}"#
    );
    serde_json::from_str(&text).unwrap()
}

fn words(typed: &[&str], config: &str) -> Result<Vec<String>> {
    command(&parse(typed), &image(config))
}

/// config.json as text, with the sets of capabilities sorted: their order means nothing.
fn planned(words: &[&str], config: &str, network: &NetworkNamespace) -> String {
    let id = ContainerId::parse(&"ab".repeat(32)).unwrap();
    let args = parse(words);
    let bind = |source: &str, target: &str| Bind {
        source: source.into(),
        target: target.to_owned(),
        read_only: target == "/ro",
        propagation: "rprivate".to_owned(),
    };
    let spec = plan(&Inputs {
        id: &id,
        env: &args.process.env.clone(),
        args: &args,
        image: &image(config),
        identity: &Identity { uid: 7, gid: 8, groups: vec![8, 9], home: "/home/seven".into() },
        binds: &[bind("/src/deep", "/ro/deep"), bind("/src", "/ro"), bind("/host/shm", "/dev/shm")],
        network,
        hostname: "abababababab",
        window: Some((24, 80)),
        host: &HostFacts { open_files: 20_000, swap_limit: true, hostname: "host".into() },
    })
    .unwrap();
    let mut value = serde_json::to_value(&spec).unwrap();
    for set in value["process"]["capabilities"].as_object_mut().unwrap().values_mut() {
        let list = set.as_array_mut().unwrap();
        list.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
    }
    // The profile is a file of its own.
    assert!(value["linux"]["seccomp"]["syscalls"].as_array().unwrap().len() > 10);
    value["linux"]["seccomp"] = serde_json::json!("as in seccomp.json");
    serde_json::to_string_pretty(&value).unwrap() + "\n"
}

fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bundle/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{} differs; UPDATE_GOLDEN=1 writes it anew", path.display());
}

#[test]
fn a_plain_command_line_gets_dockers_defaults() {
    let text = planned(&["alpine", "true"], "{}", &NetworkNamespace::New);
    golden("plain.json", &text);
}

#[test]
fn every_option_ends_up_in_its_place() {
    let typed = [
        "-it",
        "-e",
        "A=1",
        "-e",
        "IMG=changed",
        "-m",
        "64m",
        "--cpus",
        "1.5",
        "--cpuset-cpus",
        "0-1",
        "-w",
        "/work",
        "--read-only",
        "--entrypoint",
        "/entry",
        "--cgroup-parent",
        "/par/ent",
        "alpine",
        "a",
        "b",
    ];
    let config = r#"{"Env":["PATH=/image","IMG=1"],"Entrypoint":["/old"],"Cmd":["old"],"WorkingDir":"/old"}"#;
    let network = NetworkNamespace::Prepared("/dir/netns".into());
    golden("rich.json", &planned(&typed, config, &network));
}

#[test]
fn entry_point_and_command_merge_as_in_docker() {
    let config = r#"{"Entrypoint":["/e","1"],"Cmd":["c"]}"#;
    assert_eq!(words(&["i"], config).unwrap(), ["/e", "1", "c"]);
    assert_eq!(words(&["i", "x", "y"], config).unwrap(), ["/e", "1", "x", "y"]);
    assert_eq!(words(&["--entrypoint", "/n", "i"], config).unwrap(), ["/n"]);
    assert_eq!(words(&["--entrypoint", "/n", "i", "x"], config).unwrap(), ["/n", "x"]);
    assert_eq!(words(&["--entrypoint", "", "i", "x"], config).unwrap(), ["x"]);
    assert!(words(&["--entrypoint", "", "i"], config).is_err());
    assert!(words(&["i"], "{}").unwrap_err().to_string().contains("no command specified"));
}

#[test]
fn the_host_network_is_no_namespace_at_all() {
    let text = planned(&["alpine", "true"], "{}", &NetworkNamespace::Host);
    assert!(!text.contains("\"network\""));
}

#[test]
fn a_working_directory_is_absolute() {
    let of = |typed: &[&str], config: &str| working_directory(&parse(typed), &image(config));
    assert_eq!(of(&["i"], "{}").unwrap(), "/");
    assert_eq!(of(&["i"], r#"{"WorkingDir":""}"#).unwrap(), "/");
    assert_eq!(of(&["-w", "/w", "i"], r#"{"WorkingDir":"/i"}"#).unwrap(), "/w");
    assert!(of(&["-w", "w", "i"], "{}").is_err());
    assert!(of(&["i"], r#"{"WorkingDir":"w"}"#).is_err());
}

#[test]
fn a_variable_can_be_taken_away() {
    let mut env = vec![("A".to_owned(), "1".to_owned()), ("B".to_owned(), "2".to_owned())];
    change(&mut env, &[("A".into(), None), ("C".into(), Some("3".into()))]);
    assert_eq!(env, [("B".into(), "2".into()), ("C".into(), "3".into())]);
}
