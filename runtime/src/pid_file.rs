//! `--pid-file`.

use crate::error::{Error, Result};
use rustix::process::Pid;
use std::io::Write;

/// Writes a process id to a file, under a name of its own first: nobody reads half a number. What is there under that name is
/// somebody else's, and is neither written to nor taken away.
///
/// # Errors
/// When it cannot be written.
pub fn write(path: Option<&std::path::Path>, pid: Pid) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.tmp", pid.as_raw_nonzero()));
    let temporary = path.with_file_name(name);
    let write = |mut file: std::fs::File| {
        file.write_all(pid.as_raw_nonzero().to_string().as_bytes())
            .and_then(|()| std::fs::rename(&temporary, path))
            .inspect_err(|_| drop(std::fs::remove_file(&temporary)))
    };
    let written = std::fs::File::create_new(&temporary).and_then(write);
    written.map_err(|error| Error::io(format!("write the pid file `{}`", path.display()), &error))
}
