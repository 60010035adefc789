//! What a container writes, as it is sent to somebody else's log: a line is a message.
//!
//!     --log-driver journald   systemd's journal, with Docker's fields
//!     --log-driver syslog     a syslog daemon: this machine's, or one that `syslog-address` names
//!
//! A destination that does not take a message makes the container wait for a second at most. Then it is left alone for a
//! while, and what comes meanwhile does not get there: the container's own copy, which `logs` shows, has it all.

mod journald;
mod socket;
mod syslog;

use crate::clock::Timestamp;
use crate::container::{LogConfig, LogDriver, Record};
use crate::error::{Error, Result};
use crate::stream::{LONGEST_LINE, Stream};
use socket::{Address, Socket};
use std::io;
use std::path::PathBuf;

/// Whom messages go to, and in which form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// systemd's journal
    Journald,
    /// A syslog daemon
    Syslog(syslog::Options),
}

impl Destination {
    /// That of a container's log; `None` where nobody else is given it.
    ///
    /// # Errors
    /// What is wrong with an option, in Docker's words where it has some.
    pub fn of(config: &LogConfig) -> std::result::Result<Option<Self>, String> {
        Ok(match config.driver {
            LogDriver::Journald => Some(Self::Journald),
            LogDriver::Syslog => Some(Self::Syslog(syslog::Options::read(&config.options)?)),
            LogDriver::JsonFile | LogDriver::Local | LogDriver::None => None,
        })
    }

    fn address(&self) -> Address {
        match self {
            Self::Journald => Address::Datagram(PathBuf::from(journald::SOCKET)),
            Self::Syslog(options) => options.address.clone(),
        }
    }
}

/// A line of a container's output.
#[derive(Clone, Copy, Debug)]
struct Line<'a> {
    stream: Stream,
    time: Timestamp,
    /// Without the newline that ends it.
    text: &'a [u8],
    /// It goes on in the next message.
    partial: bool,
}

impl<'a> Line<'a> {
    /// Of a piece of output: it ends with a newline, unless it is the container's last word, or of a line that is too long.
    fn of(stream: Stream, time: Timestamp, piece: &'a [u8]) -> Self {
        let whole = piece.strip_suffix(b"\n");
        let partial = whole.is_none() && piece.len() >= LONGEST_LINE;
        Self { stream, time, text: whole.unwrap_or(piece), partial }
    }

    /// syslog(3)'s: information, or an error for what came by stderr.
    fn severity(&self) -> u8 {
        match self.stream {
            Stream::Stdout => 6,
            Stream::Stderr => 3,
        }
    }
}

/// Sends a container's output on.
#[derive(Debug)]
pub struct Forwarder {
    form: Form,
    socket: Socket,
    message: Vec<u8>,
}

#[derive(Debug)]
enum Form {
    Journald(journald::Fields),
    Syslog(syslog::Sender),
}

impl Forwarder {
    /// Connects to where a container's output goes; `None` where it goes nowhere else.
    ///
    /// # Errors
    /// Nobody is there: a container is not started then, as with Docker.
    pub fn open(record: &Record) -> Result<Option<Self>> {
        let failed = |reason: String, hint: Option<&str>| Error::Rejected {
            message: format!("failed to initialize logging driver: {reason}"),
            hint: hint.map(str::to_owned),
        };
        let config = &record.supervision.log;
        let destination = Destination::of(config).map_err(|reason| failed(reason, None))?;
        let Some(destination) = destination else { return Ok(None) };
        let tag = tag(record).unwrap_or_else(|| record.id.short().to_owned());
        let socket = Socket::open(destination.address()).map_err(|reason| {
            failed(reason, Some("is it running? `--log-driver local` needs nobody else"))
        })?;
        let form = match destination {
            Destination::Journald => Form::Journald(journald::Fields::of(record, &tag)),
            Destination::Syslog(options) => Form::Syslog(syslog::Sender::new(&options, tag)),
        };
        Ok(Some(Self { form, socket, message: Vec::new() }))
    }

    /// Sends a piece of output: a line with its newline, or what is only a part of one.
    ///
    /// # Errors
    /// It did not get there.
    pub fn send(&mut self, stream: Stream, time: Timestamp, piece: &[u8]) -> io::Result<()> {
        let line = Line::of(stream, time, piece);
        self.message.clear();
        match &self.form {
            Form::Journald(fields) => fields.write(&mut self.message, line),
            Form::Syslog(sender) => sender.write(&mut self.message, line),
        }
        self.socket.send(&self.message)
    }
}

/// The container's tag, where `--log-opt tag` gives one: a template, of which the fields are known that say something here.
#[must_use]
pub fn tag(record: &Record) -> Option<String> {
    let template = record.supervision.log.options.get("tag")?;
    let values = [
        ("{{.ID}}", record.id.short()),
        ("{{.FullID}}", record.id.as_str()),
        ("{{.Name}}", record.name.as_str()),
        ("{{.ImageName}}", &record.image.name),
        ("{{.ImageFullID}}", &record.image.id),
        ("{{.DaemonName}}", "nman"),
    ];
    let fill = |tag: String, (field, value): &(&str, &str)| tag.replace(field, value);
    Some(values.iter().fold(template.clone(), fill))
}
