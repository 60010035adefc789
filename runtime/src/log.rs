//! The log that an engine reads: `--log`, `--log-format`, `--debug`.
//!
//! containerd takes the last `msg` whose `level` is the lower-case word `error` from it as the reason of a failure.

use crate::cli::Parsed;
use crate::error::{Error, Result};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::OnceLock;
use std::time::SystemTime;

/// Where messages go besides stderr.
#[derive(Debug, Default)]
pub struct Log {
    file: Option<File>,
    json: bool,
    debug: bool,
}

/// The log of this process, for warnings: they change nothing that is done and so travel with no result.
static LOG: OnceLock<Log> = OnceLock::new();

/// Shows a warning and writes it to the log.
#[expect(clippy::print_stderr, reason = "a warning is for the reader, like an error")]
pub fn warning(message: &str) {
    eprintln!("nrun: warning: {}", printable(message));
    if let Some(log) = LOG.get() {
        log.write("warning", message);
    }
}

/// Names in a message may come from an image, and must not steer the reader's terminal. Line breaks are ours: a list of findings
/// has one for each.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => shown.push(c),
            c if c.is_control() => shown.extend(c.escape_default()),
            c => shown.push(c),
        }
    }
    shown
}

impl Log {
    /// Makes this the log of the process.
    pub fn install(self) -> &'static Log {
        LOG.get_or_init(|| self)
    }

    /// Opens the log that the command line names.
    ///
    /// # Errors
    /// When it cannot be opened, or its format is unknown.
    pub fn open(parsed: &Parsed) -> Result<Log> {
        let json = match parsed.value("log-format") {
            None | Some("text") => false,
            Some("json") => true,
            Some(other) => {
                return Err(Error::Usage(format!(
                    "invalid value `{other}` for flag --log-format: it is `text` or `json`"
                )));
            }
        };
        let open = |path: &str| {
            let file = OpenOptions::new().append(true).create(true).open(path);
            file.map_err(|error| Error::io(format!("open the log `{path}`"), &error))
        };
        let file = parsed.value("log").filter(|path| !path.is_empty()).map(open).transpose()?;
        Ok(Log { file, json, debug: parsed.is_set("debug") })
    }

    /// Writes an error. Only to the file: `main` has shown it.
    pub fn error(&self, message: &str, hint: Option<&str>) {
        match hint {
            Some(hint) => self.write("error", &format!("{message} (hint: {hint})")),
            None => self.write("error", message),
        }
    }

    /// Writes what is done, if `--debug` asks for it.
    pub fn debug(&self, message: &str) {
        if self.debug {
            self.write("debug", message);
        }
    }

    /// One write per line, so that the lines of two processes do not mix. A log that cannot be written is no reason to fail.
    fn write(&self, level: &str, message: &str) {
        let Some(mut file) = self.file.as_ref() else { return };
        let time = humantime::format_rfc3339_seconds(SystemTime::now());
        let message = serde_json::Value::from(message);
        let line = if self.json {
            format!("{{\"level\":\"{level}\",\"msg\":{message},\"time\":\"{time}\"}}\n")
        } else {
            format!("time=\"{time}\" level={level} msg={message}\n")
        };
        let _ = file.write_all(line.as_bytes());
    }
}
