//! Calls about units.

use crate::connection::{Connection, Error, Result};
use crate::message::{Reader, Writer};
use crate::value::{Property, Value};

impl Connection {
    /// Asks for a transient unit around a process. Returns the name of the job, to [`Connection::wait`] for.
    ///
    /// # Errors
    /// It is refused, or there is no answer.
    pub fn start_transient_unit(
        &mut self,
        name: &str,
        properties: &[Property],
        pid: u32,
    ) -> Result<String> {
        let mut list = properties.to_vec();
        list.push(Property::new("PIDs", Value::Array("u".into(), vec![Value::Uint32(pid)])));
        let mut body = Writer::default();
        body.string(name);
        body.string("replace");
        body.properties(&list);
        body.nothing();
        job(&self.call("StartTransientUnit", "ssa(sv)a(sa(sv))", body, "o")?)
    }

    /// Asks for the end of a unit. Returns the name of the job.
    ///
    /// # Errors
    /// It is refused, or there is no answer.
    pub fn stop_unit(&mut self, name: &str) -> Result<String> {
        let mut body = Writer::default();
        body.string(name);
        body.string("replace");
        job(&self.call("StopUnit", "ss", body, "o")?)
    }

    /// Clears away a unit that has failed.
    ///
    /// # Errors
    /// It is refused, or there is no answer.
    pub fn reset_failed_unit(&mut self, name: &str) -> Result<()> {
        let mut body = Writer::default();
        body.string(name);
        self.call("ResetFailedUnit", "s", body, "").map(drop)
    }

    /// Moves a process into a unit: `below` is a directory from the unit's own cgroup, such as `/`.
    ///
    /// # Errors
    /// It is refused, or there is no answer.
    pub fn attach_process_to_unit(&mut self, name: &str, below: &str, pid: u32) -> Result<()> {
        let mut body = Writer::default();
        body.string(name);
        body.string(below);
        body.numbers(&[pid]);
        self.call("AttachProcessesToUnit", "ssau", body, "").map(drop)
    }
}

fn job(body: &[u8]) -> Result<String> {
    Reader::new(body).string().ok_or(Error::Garbled("a job without a name"))
}
