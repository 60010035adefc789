//! The commands that are more than a few lines, and what several of them need.

pub(crate) mod attack;
pub(crate) mod engines;
pub(crate) mod run;
pub(crate) mod validation;

use std::io::IsTerminal;
use std::path::PathBuf;

use nconform::contender::Contender;
use nconform::fixture::{find_binary, find_tool};

/// Says on a terminal what is being done.
pub(crate) fn progress(text: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{text}");
    }
}

/// The runtimes that were asked for, else those that are there.
pub(crate) fn contenders(asked: &[PathBuf]) -> Result<Vec<Contender>, String> {
    let paths: Vec<PathBuf> = if asked.is_empty() {
        let ours = find_binary("nrun").ok().or_else(|| find_tool("nrun"));
        ours.into_iter().chain(["runc", "crun"].into_iter().filter_map(find_tool)).collect()
    } else {
        let resolve = |path: &PathBuf| match path.components().count() {
            1 => find_tool(&path.to_string_lossy()).unwrap_or_else(|| path.clone()),
            _ => std::path::absolute(path).unwrap_or_else(|_| path.clone()),
        };
        asked.iter().map(resolve).collect()
    };
    if paths.is_empty() {
        return Err("no runtime found: build nrun, or install runc or crun".to_owned());
    }
    paths.iter().map(|path| Contender::probe(path)).collect()
}
