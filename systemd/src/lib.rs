//! Talking to systemd over D-Bus: a connection, the few messages that it takes, and the calls about units that `nrun` and `nman` make.
//!
//! Blocking, without a bus library, and only where systemd is asked for. Nothing here decides anything: what a unit is called and
//! which properties it gets is planned by whoever calls.

mod connection;
mod message;
mod unit;
mod value;

pub use connection::{Connection, Error, Result, is_running, is_user};
pub use message::{Reader, Writer};
pub use value::{Property, Value};
