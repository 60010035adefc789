//! The commands that are more than a few lines, and what several of them need.

pub(crate) mod attack;
pub(crate) mod engines;
pub(crate) mod run;
pub(crate) mod validation;

use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use bundle::reason::reason;
use nconform::contender::Contender;
use nconform::fixture::{find_binary, find_tool};
use serde::Serialize;

/// Says on a terminal what is being done.
pub(crate) fn progress(text: &str) {
    if io::stderr().is_terminal() {
        tell(&format!("\r\x1b[K{text}"));
    }
}

/// Tells something beside the result. Nobody hears of it where that cannot be written.
pub(crate) fn tell(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Prints a result. A reader that has gone away has seen enough.
pub(crate) fn print(text: impl fmt::Display) -> Result<(), String> {
    let mut stdout = io::stdout().lock();
    match write!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("cannot write to stdout: {}", reason(&error)))
        }
        _ => Ok(()),
    }
}

/// Plain data as JSON, as it is printed and written.
pub(crate) fn json(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).expect("plain data always serialises") + "\n"
}

/// A file for results. It is opened before minutes are spent on them, and what it held stays until they are there.
pub(crate) struct ResultFile {
    path: PathBuf,
    file: File,
}

impl ResultFile {
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let file = File::options().write(true).create(true).truncate(false).open(path);
        let file = file.map_err(|error| failed_to_write(path, &error))?;
        Ok(Self { path: path.to_owned(), file })
    }

    pub(crate) fn write(mut self, text: &str) -> Result<(), String> {
        // A pipe has no length.
        let _ = self.file.set_len(0);
        self.file.write_all(text.as_bytes()).map_err(|error| failed_to_write(&self.path, &error))
    }
}

fn failed_to_write(path: &Path, error: &io::Error) -> String {
    format!("cannot write `{}`: {}", path.display(), reason(error))
}

/// A runtime by its name: nrun as it was built with this program, where it was.
fn find(name: &str) -> Option<PathBuf> {
    let ours = (name == "nrun").then(|| find_binary(name).ok()).flatten();
    ours.or_else(|| find_tool(name))
}

/// The runtimes that were asked for, else those that are there.
pub(crate) fn contenders(asked: &[PathBuf]) -> Result<Vec<Contender>, String> {
    let paths: Vec<PathBuf> = if asked.is_empty() {
        ["nrun", "runc", "crun"].into_iter().filter_map(find).collect()
    } else {
        let resolve = |path: &PathBuf| match path.components().count() {
            1 => find(&path.to_string_lossy()).unwrap_or_else(|| path.clone()),
            _ => std::path::absolute(path).unwrap_or_else(|_| path.clone()),
        };
        asked.iter().map(resolve).collect()
    };
    if paths.is_empty() {
        return Err("no runtime found: build nrun, or install runc or crun".to_owned());
    }
    let mut found =
        paths.iter().map(|path| Contender::probe(path)).collect::<Result<Vec<_>, _>>()?;
    Contender::tell_apart(&mut found);
    Ok(found)
}
