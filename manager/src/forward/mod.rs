//! What a container writes, as it is sent to somebody else's log: a line is a message.
//!
//!     --log-driver journald   systemd's journal, with Docker's fields
//!     --log-driver syslog     a syslog daemon: this machine's, or one that `syslog-address` names
//!     --log-driver gelf       Graylog, or whoever else takes its form
//!     --log-driver fluentd    fluentd, or whoever else speaks its forward protocol
//!
//! What a destination does not take at once waits, within limits, and the container's next output is not read for a second at most.
//! A destination that does not take a message at all is left alone for a while. What comes meanwhile waits, too, where the driver is
//! one that tries again; else it does not get there: the container's own copy, which `logs` shows, has it all.

mod address;
mod connection;
mod fluentd;
mod gelf;
mod journald;
mod lookup;
mod msgpack;
mod outbox;
mod size;
mod socket;
mod syslog;
mod tls;

use crate::clock::Timestamp;
use crate::container::{LogConfig, LogDriver, Record};
use crate::error::{Error, Result};
use crate::stream::{LONGEST_LINE, Stream};
use address::Address;
use outbox::{Limits, Message, Outbox};
use rustix::event::PollFlags;
pub(crate) use size::size;
use socket::{Manner, Socket};
use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::Instant;

/// Whom messages go to, and in which form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// systemd's journal
    Journald,
    /// A syslog daemon
    Syslog(syslog::Options),
    /// Whoever takes GELF
    Gelf(gelf::Options),
    /// fluentd
    Fluentd(fluentd::Options),
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
            LogDriver::Gelf => Some(Self::Gelf(gelf::Options::read(&config.options)?)),
            LogDriver::Fluentd => Some(Self::Fluentd(fluentd::Options::read(&config.options)?)),
            LogDriver::JsonFile | LogDriver::Local | LogDriver::None => None,
        })
    }

    fn address(&self) -> Address {
        match self {
            Self::Journald => Address::Datagram(PathBuf::from(journald::SOCKET)),
            Self::Syslog(options) => options.address.clone(),
            Self::Gelf(options) => options.address.clone(),
            Self::Fluentd(options) => options.address.clone(),
        }
    }

    fn manner(&self) -> Manner {
        match self {
            Self::Journald | Self::Syslog(_) => Manner::default(),
            Self::Gelf(options) => options.manner(),
            Self::Fluentd(options) => options.manner(),
        }
    }

    /// How much may wait until it is taken.
    fn limits(&self, config: &LogConfig) -> Limits {
        let size = size::buffer_size(config);
        match self {
            Self::Journald | Self::Syslog(_) => Limits { size, count: usize::MAX, retries: 0 },
            Self::Gelf(options) => options.limits(size),
            Self::Fluentd(options) => options.limits(size),
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
    outbox: Outbox,
    message: Message,
    /// So much output no message could be made of, in bytes.
    unsent: u64,
}

#[derive(Debug)]
enum Form {
    Journald(journald::Fields),
    Syslog(syslog::Sender),
    Gelf(gelf::Sender),
    Fluentd(fluentd::Sender),
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
        let socket = Socket::open(destination.address(), destination.manner());
        let socket = socket.map_err(|reason| {
            failed(reason, Some("is it running? `--log-driver local` needs nobody else"))
        })?;
        let form = match &destination {
            Destination::Journald => Form::Journald(journald::Fields::of(record, &tag)),
            Destination::Syslog(options) => Form::Syslog(syslog::Sender::new(options, tag)),
            Destination::Gelf(options) => Form::Gelf(gelf::Sender::new(options, record, &tag)),
            Destination::Fluentd(options) => {
                Form::Fluentd(fluentd::Sender::new(options, record, tag))
            }
        };
        let outbox = Outbox::new(socket, destination.limits(config));
        Ok(Some(Self { form, outbox, message: Message::default(), unsent: 0 }))
    }

    /// Sends a piece of output: a line with its newline, or what is only a part of one.
    ///
    /// # Errors
    /// It, or something before it, did not get there.
    pub fn send(&mut self, stream: Stream, time: Timestamp, piece: &[u8]) -> io::Result<()> {
        let line = Line::of(stream, time, piece);
        let message = &mut self.message;
        (message.text, message.receipt) = (piece.len() as u64, Vec::new());
        message.bytes.clear();
        let mut made = Ok(());
        match &mut self.form {
            Form::Journald(fields) => fields.write(&mut message.bytes, line),
            Form::Syslog(sender) => sender.write(&mut message.bytes, line),
            Form::Gelf(sender) => made = sender.write(&mut message.bytes, line),
            Form::Fluentd(sender) => sender.write(message, line),
        }
        match made {
            Ok(()) if message.bytes.is_empty() => Ok(()),
            Ok(()) => self.outbox.send(message),
            Err(error) => {
                self.unsent += message.text;
                Err(error)
            }
        }
    }

    /// Whether somebody is there who has not taken everything yet.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.outbox.is_behind()
    }

    /// Until when nothing more is to be sent, because what was sent is not taken yet.
    #[must_use]
    pub fn held_until(&self) -> Option<Instant> {
        self.outbox.held_until()
    }

    /// What is waited for: [`Forwarder::turn`] is to be called when it is ready.
    #[must_use]
    pub fn watch(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        self.outbox.watch()
    }

    /// When [`Forwarder::turn`] is to be called, if not before.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.outbox.due()
    }

    /// A turn of the loop begins: sends what was not taken yet, if it is time to. The turn may take a second from now on.
    ///
    /// # Errors
    /// It is given up.
    pub fn turn(&mut self) -> io::Result<()> {
        self.outbox.turn()
    }

    /// The container has ended: the turn may take five seconds from now on, [`Forwarder::finish`] included.
    pub fn begin_last_turn(&mut self) {
        self.outbox.begin_last_turn();
    }

    /// Sends what was not taken yet for the last time.
    ///
    /// # Errors
    /// Some of it is given up.
    pub fn finish(&mut self) -> io::Result<()> {
        self.outbox.finish()
    }

    /// How much of what was to be sent did not get there, and will not: bytes of output.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.unsent + self.outbox.lost()
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

/// The name of this machine.
fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
