//! `nrun man`: the manual, as the binary itself knows it.

use crate::cli::{self, Parsed};
use crate::error::{Error, Result};
use std::path::Path;

/// The page of the command that is named, or the first one; with `--output`, nothing, and every page as a file.
///
/// # Errors
/// For a command that does not exist; when a page cannot be written.
pub fn run(parsed: &Parsed) -> Result<String> {
    let command = parsed.operands.first().map(|name| cli::command(name)).transpose()?;
    let Some(directory) = parsed.value("output") else {
        return Ok(cli::manual_page(command));
    };
    std::fs::create_dir_all(directory)
        .map_err(|error| Error::io(format!("make the directory `{directory}`"), &error))?;
    for (name, text) in cli::manual_pages() {
        let path = Path::new(directory).join(name);
        std::fs::write(&path, text)
            .map_err(|error| Error::io(format!("write `{}`", path.display()), &error))?;
    }
    Ok(String::new())
}
