//! The program's own words: results on stdout, everything else on stderr. Only here is anything printed.
//!
//! The standard library's macros panic when a write fails, and a full disk below a log file, or a reader that has gone, would
//! end a command halfway.

use nman::cli::Global;
use nman::error::{Error, Result};
use nman::table::plain;
use std::ffi::OsStr;
use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::sync::OnceLock;

/// What stands behind the program's name in the commands that we advise: the directories that this one was given, which the next
/// would not find.
static PLACES: OnceLock<String> = OnceLock::new();

/// Notes the directories that were given as options. Those of the environment are there for the next command as well.
pub(crate) fn note_places(global: &Global) {
    let option = |name: &str, variable: &str, given: &Option<std::path::PathBuf>| {
        let given = given
            .as_deref()
            .filter(|path| std::env::var_os(variable).as_deref().map(Path::new) != Some(path));
        given.map_or_else(String::new, |path| format!("{name} {} ", quoted(path.as_os_str())))
    };
    let _ = PLACES.set(
        option("--root", "NMAN_ROOT", &global.root)
            + &option("--state", "NMAN_STATE", &global.state),
    );
}

/// A word as a shell reads it back.
fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@%".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.into_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// A text whose commands work on the directories that this one works on.
pub(crate) fn placed(text: &str) -> String {
    let places = PLACES.get().map_or("", String::as_str);
    text.replace("`nman ", &format!("`nman {places}"))
}

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
    tell(&format!("WARNING: {}\n", plain(&placed(text))));
}

/// Why a command could not do its work, and what to do about it.
pub(crate) fn error(text: &str, hint: Option<&str>) {
    for line in text.lines() {
        tell(&format!("nman: {}\n", plain(&placed(line))));
    }
    if let Some(hint) = hint {
        tell(&format!("\nhint: {}\n", plain(&placed(hint))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_is_advised_has_the_directories_as_a_shell_reads_them() {
        assert_eq!(quoted(OsStr::new("/var/lib/nman-2")), "/var/lib/nman-2");
        assert_eq!(quoted(OsStr::new("/tmp/a b'c")), r"'/tmp/a b'\''c'");
        assert_eq!(quoted(OsStr::new("")), "''");
        let root = Some("/r".into());
        note_places(&Global { root, state: None, runtime: None, debug: false });
        assert_eq!(placed("`nman rm x` or `nrun y`"), "`nman --root /r rm x` or `nrun y`");
    }
}
