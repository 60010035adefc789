//! The program's own words: results on stdout, everything else on stderr. Only here is anything printed.
//!
//! The standard library's macros panic when a write fails, and a full disk below a log file, or a reader that has gone, would
//! end a command halfway.

use nman::error::{Error, Result};
use nman::table::plain;
use std::io::{ErrorKind, Write as _};

/// Prints data. A reader that has gone, as in `nman ps | head -1`, has seen enough.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(Error::system("write to stdout")),
    }
}

/// Tells something beside the data. That it cannot be told is no reason to stop, and there is nobody to hear of it.
pub(crate) fn tell(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// What does not keep a command from doing its work, but is not what was asked for.
pub(crate) fn warn(text: &str) {
    tell(&format!("WARNING: {}\n", plain(text)));
}

/// Why a command could not do its work, and what to do about it.
pub(crate) fn error(text: &str, hint: Option<&str>) {
    for line in text.lines() {
        tell(&format!("nman: {}\n", plain(line)));
    }
    if let Some(hint) = hint {
        tell(&format!("\nhint: {}\n", plain(hint)));
    }
}
