//! The manual pages and `docs/man` say what the definition of the command line says. `make man` writes them anew.

use clap::{Arg, Command, CommandFactory as _};
use std::path::{Path, PathBuf};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/man")
}

/// The file name and the text of the page of each command: `nman-container-ls.1`.
fn pages() -> Vec<(String, String)> {
    let mut root = nman::cli::Cli::command().disable_help_subcommand(true);
    root.build();
    let mut pages = Vec::new();
    collect(&root, "nman", &mut pages);
    pages
}

fn collect(command: &Command, name: &str, pages: &mut Vec<(String, String)>) {
    // The renderer takes the name of the page for that of the command.
    let static_name: &'static str = Box::leak(name.to_owned().into_boxed_str());
    // The variables of the options that every command takes are on the first page alone.
    let is_elsewhere = |argument: &Arg| name != "nman" && argument.is_global_set();
    let named = command.clone().name(static_name).bin_name(name.replace('-', " "));
    let named =
        named.mut_args(
            |argument| {
                if is_elsewhere(&argument) { argument.hide_env(true) } else { argument }
            },
        );
    let mut text = Vec::new();
    let date = String::new();
    clap_mangen::Man::new(named)
        .title(name.to_uppercase())
        .section("1")
        .date(date)
        .source(format!("nman {}", env!("CARGO_PKG_VERSION")))
        .manual("Containers")
        .render(&mut text)
        .unwrap();
    pages.push((format!("{name}.1"), String::from_utf8(text).unwrap()));
    for inner in command.get_subcommands().filter(|command| !command.is_hide_set()) {
        collect(inner, &format!("{name}-{}", inner.get_name()), pages);
    }
}

#[test]
fn manual_pages_match_the_command_line() {
    let pages = pages();
    let is_ours = |name: &str| name == "nman.1" || name.starts_with("nman-");
    let there = std::fs::read_dir(directory()).unwrap();
    let there: Vec<String> = there
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter(|name| is_ours(name))
        .collect();
    if std::env::var_os("UPDATE_MAN").is_some() {
        for name in &there {
            std::fs::remove_file(directory().join(name)).unwrap();
        }
        for (name, text) in &pages {
            std::fs::write(directory().join(name), text).unwrap();
        }
        return;
    }
    for (name, text) in &pages {
        let found = std::fs::read_to_string(directory().join(name)).unwrap_or_default();
        assert!(found == *text, "docs/man/{name} is out of date: run `make man`");
    }
    let extra: Vec<_> =
        there.iter().filter(|name| !pages.iter().any(|(page, _)| page == *name)).collect();
    assert!(extra.is_empty(), "pages of no command: {extra:?}: run `make man`");
}

#[test]
fn manual_pages_are_roff_that_a_reader_takes_without_a_warning() {
    for (name, text) in pages().into_iter().filter(|(name, _)| name.len() < 14) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let read = nconform::fixture::Capture::of("groff")
            .args(["-man", "-Tutf8", "-ww", "-z"])
            .args([file.path()])
            .run()
            .ok();
        assert_eq!(read.stderr(), "", "{name}");
    }
}
