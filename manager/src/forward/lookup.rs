//! Where the name of a collector leads to. It is looked up before the container is started. If that has failed, and the container is started
//! all the same, or if nobody is there any more, it is looked up again. A thread of its own does so: a name server that does not answer keeps
//! the C library for as long as it likes, and nothing else of the container.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Instant;

/// What the C library needs for an answer, and some more.
const STACK: usize = 256 * 1024;

type Answer = io::Result<Vec<SocketAddr>>;

/// The places that a name leads to, once it was looked up.
#[derive(Debug, Default)]
pub(super) struct Lookup {
    places: Vec<SocketAddr>,
    /// Nobody was there.
    is_doubted: bool,
    /// Where the answer comes that is asked for.
    asked: Option<Receiver<Answer>>,
}

impl Lookup {
    /// Where it leads to.
    pub(super) fn places(&self) -> &[SocketAddr] {
        &self.places
    }

    /// Nobody was there: the name is to be looked up again, as it may lead elsewhere by now.
    pub(super) fn doubt(&mut self) {
        self.is_doubted = true;
    }

    /// Whether it is known where it leads to. Otherwise it is looked up, and the answer waited for until the deadline. What was known is
    /// not forgotten for want of an answer.
    pub(super) fn ask(&mut self, place: &str, deadline: Instant) -> io::Result<bool> {
        let is_known = !self.places.is_empty();
        // An address leads nowhere else.
        if is_known && (!self.is_doubted || place.parse::<SocketAddr>().is_ok()) {
            return Ok(true);
        }
        if let Ok(address) = place.parse() {
            self.places = vec![address];
            return Ok(true);
        }
        let asked = match self.asked.take() {
            Some(asked) => asked,
            None => begin(place.to_owned())?,
        };
        match asked.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Err(_)) if is_known => {}
            Ok(answer) => self.places = answer?,
            Err(RecvTimeoutError::Timeout) => {
                self.asked = Some(asked);
                return Ok(false);
            }
            Err(RecvTimeoutError::Disconnected) => return Err(io::ErrorKind::BrokenPipe.into()),
        }
        self.is_doubted = false;
        Ok(true)
    }
}

fn begin(place: String) -> io::Result<Receiver<Answer>> {
    let (answer, asked) = sync_channel(1);
    let thread = std::thread::Builder::new().stack_size(STACK);
    // Nobody may want to hear of it any more.
    thread.spawn(move || drop(answer.send(look_up(&place))))?;
    Ok(asked)
}

fn look_up(place: &str) -> Answer {
    let found: Vec<SocketAddr> = place.to_socket_addrs()?.collect();
    if found.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_doubted_name_is_looked_up_again_and_not_forgotten_for_want_of_an_answer() {
        let later = || Instant::now() + Duration::from_secs(60);
        let mut lookup = Lookup::default();
        assert!(lookup.ask("localhost:7", later()).unwrap());
        assert!(lookup.ask("localhost:9", later()).unwrap());
        assert!(lookup.places().iter().all(|place| place.port() == 7));
        lookup.doubt();
        assert!(lookup.ask("no port", later()).unwrap());
        assert!(lookup.places().iter().all(|place| place.port() == 7));
        lookup.doubt();
        assert!(lookup.ask("localhost:9", later()).unwrap());
        assert!(lookup.places().iter().all(|place| place.port() == 9));
    }
}
