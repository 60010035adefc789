//! The log that an engine reads: `--log`, `--log-format`, `--debug`.
//!
//! containerd takes the last `msg` whose `level` is the lower-case word `error` from it as the reason of a failure.

use crate::cli::Parsed;
use crate::error::{Error, Result};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::time::SystemTime;

/// Where messages go besides stderr.
#[derive(Debug, Default)]
pub struct Log {
    file: Option<File>,
    json: bool,
    debug: bool,
}

impl Log {
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

    /// Tells what was not done, though it was asked for: in the file, or on stderr where there is none. An engine that keeps a log
    /// gives stderr to the container, whose output this is not.
    #[expect(clippy::print_stderr, reason = "a warning is no result, and the command goes on")]
    pub fn warning(&self, message: &str) {
        match self.file {
            Some(_) => self.write("warning", message),
            None => eprintln!("nrun: warning: {message}"),
        }
    }

    /// Notes what many configurations ask for in vain: in the file only.
    pub fn note(&self, message: &str) {
        self.write("warning", message);
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
