//! The log that an engine reads: `--log`, `--log-format`, `--debug`.
//!
//! containerd takes the last `msg` whose `level` is the lower-case word `error` from it as the reason of a failure. The forms are
//! those of runc, which writes them with logrus. There is one log for a process, opened by `main`; debug lines are the only
//! thing that other code writes to it (invariant I5).

use crate::cli::Parsed;
use crate::error::{Error, Result};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::OnceLock;
use std::time::{Instant, SystemTime};

/// Where messages go besides stderr.
#[derive(Debug, Default)]
pub struct Log {
    file: Option<File>,
    json: bool,
    /// When the process began, if what is done is to be logged.
    debug: Option<Instant>,
}

static LOG: OnceLock<Log> = OnceLock::new();

/// Shows a line on stderr. One that nobody reads any more is no reason to fail, which `eprintln!` would.
pub fn show(line: &str) {
    let _ = std::io::stderr().write_all(format!("{}\n", printable(line)).as_bytes());
}

/// Shows a warning and writes it to the log.
pub fn warning(message: &str) {
    show(&format!("nrun: warning: {message}"));
    note(message);
}

/// Writes a warning to the log, or shows it where there is none: while a process of a container is made, an engine that keeps a log
/// gives our stderr to the container, whose output this is not.
pub fn tell(message: &str) {
    match LOG.get().filter(|log| log.file.is_some()) {
        Some(log) => log.write("warning", message),
        None => warning(message),
    }
}

/// Writes a warning to the log, if there is one: many configurations ask for what this is about, in vain and without harm.
pub fn note(message: &str) {
    if let Some(log) = LOG.get().filter(|log| log.file.is_some()) {
        log.write("warning", message);
    }
}

/// Names may come from an image, and must not steer the reader's terminal. Line breaks and tabs are ours: a list of findings, a table.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => shown.push(c),
            c if c.is_control() => shown.extend(c.escape_default()),
            c => shown.push(c),
        }
    }
    shown
}

/// Writes what was done, with the time since the start, if `--debug` asks for it. The message is made only then.
pub fn debug(message: impl FnOnce() -> String) {
    if let Some((log, since)) = LOG.get().and_then(|log| log.debug.map(|since| (log, since))) {
        let elapsed = since.elapsed().as_micros();
        log.write("debug", &format!("{} ({}.{:03} ms)", message(), elapsed / 1000, elapsed % 1000));
    }
}

impl Log {
    /// Makes this the log of the process. The first one stays.
    pub fn install(self) -> &'static Log {
        LOG.get_or_init(|| self)
    }

    /// Opens the log that the command line names. A new file gets mode 0644 within the umask, as runc's does: engines that are
    /// not root read it.
    ///
    /// # Errors
    /// When it cannot be opened, or its format is unknown.
    pub fn open(parsed: &Parsed) -> Result<Log> {
        let json = match parsed.value("log-format") {
            None | Some("text") => false,
            Some("json") => true,
            Some(other) => {
                return Err(Error::Usage(format!(
                    "invalid log-format: {other}: it is `text` or `json`"
                )));
            }
        };
        let open = |path: &str| {
            let file = OpenOptions::new().append(true).create(true).mode(0o644).open(path);
            file.map_err(|error| Error::io(format!("open the log `{path}`"), &error))
        };
        let file = parsed.value("log").filter(|path| !path.is_empty()).map(open).transpose()?;
        Ok(Log { file, json, debug: parsed.is_set("debug").then(Instant::now) })
    }

    /// Writes an error. Only to the file: `main` has shown it.
    pub fn error(&self, message: &str, hint: Option<&str>) {
        if self.file.is_none() {
            return;
        }
        match hint {
            Some(hint) => self.write("error", &format!("{message} (hint: {hint})")),
            None => self.write("error", message),
        }
    }

    /// One write per line, so that the lines of two processes do not mix. A log that cannot be written is no reason to fail.
    fn write(&self, level: &str, message: &str) {
        let time = humantime::format_rfc3339_seconds(SystemTime::now());
        let quoted = serde_json::Value::from(message);
        let line = if self.json {
            format!("{{\"level\":\"{level}\",\"msg\":{quoted},\"time\":\"{time}\"}}\n")
        } else if is_plain(message) {
            format!("time=\"{time}\" level={level} msg={message}\n")
        } else {
            format!("time=\"{time}\" level={level} msg={quoted}\n")
        };
        let _ = match self.file.as_ref() {
            Some(mut file) => file.write_all(line.as_bytes()),
            None => std::io::stderr().write_all(line.as_bytes()),
        };
    }
}

/// What logrus writes without quotes.
fn is_plain(message: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._/@^+".contains(c);
    !message.is_empty() && message.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(json: bool, message: &str) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        let log = Log { file: Some(file.reopen().unwrap()), json, debug: None };
        log.error(message, None);
        let text = std::fs::read_to_string(file.path()).unwrap();
        let time = text.find("20").unwrap();
        text.replace(&text[time..time + 20], "NOW")
    }

    #[test]
    fn a_line_is_as_logrus_writes_it() {
        assert_eq!(written(false, "lost"), "time=\"NOW\" level=error msg=lost\n");
        assert_eq!(
            written(false, "a \"b\"\nc"),
            "time=\"NOW\" level=error msg=\"a \\\"b\\\"\\nc\"\n"
        );
        assert_eq!(
            written(true, "a \"b\"\nc"),
            "{\"level\":\"error\",\"msg\":\"a \\\"b\\\"\\nc\",\"time\":\"NOW\"}\n"
        );
    }
}
