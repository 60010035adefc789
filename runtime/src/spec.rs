//! `nrun spec`: a config.json to start from.

use crate::cli::Parsed;
use crate::error::{Error, Result};
use bundle::generate::{self, Options};
use std::io::Write;
use std::path::Path;

/// Writes config.json, and never over one that is there.
///
/// # Errors
/// When there is one already, or it cannot be written.
pub fn run(parsed: &Parsed) -> Result<()> {
    let path = Path::new(parsed.value("bundle").unwrap_or(".")).join("config.json");
    let ids = || (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let options = Options { rootless: parsed.is_set("rootless").then(ids), ..Options::default() };
    let text = generate::to_json(&generate::spec(options));
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    match written {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            Err(Error::State(format!("file `{}` exists. Remove it first", path.display())))
        }
        // Its text alone: what it advises an ordinary user is about containers.
        written => written.map_err(|error| {
            Error::State(Error::io(format!("write `{}`", path.display()), &error).to_string())
        }),
    }
}
