//! What is under way between two terminals, and what is to be waited for next. Pure: nothing is read or written here.
//!
//! Neither direction ever holds more than one buffer: who takes too slowly makes the other side wait, and never us grow.

use rustix::event::{PollFlags, Timespec};
use rustix::io::Errno;

type Result<T> = std::result::Result<T, Errno>;

/// How much is read at once, and so may wait for each side.
pub(super) const BUFFER: usize = 4096;

/// How long the process's terminal is left alone while nobody has it open. The master polls as hung up all that time, and nothing
/// tells when somebody opens the other side again.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Both directions.
#[derive(Debug, Default)]
pub(super) struct Flow {
    /// Typed, and not yet taken by the process.
    typed: Vec<u8>,
    /// Printed by the process, and not yet taken by our stdout.
    printed: Vec<u8>,
    input_ended: bool,
    output_ended: bool,
    /// Nobody had the process's terminal open a moment ago: programs close theirs and open /dev/console again.
    unattended: bool,
}

/// What to wait for. A stream without flags is left out: one that is hung up would end the wait at once.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wants {
    pub(super) input: PollFlags,
    pub(super) master: PollFlags,
    pub(super) output: PollFlags,
    pub(super) at_most: Option<Timespec>,
}

impl Flow {
    pub(super) fn wants(&self) -> Wants {
        let when = |wanted: bool, flags| if wanted { flags } else { PollFlags::empty() };
        let (typed, printed) = (!self.typed.is_empty(), !self.printed.is_empty());
        let master =
            when(!self.output_ended && !printed, PollFlags::IN) | when(typed, PollFlags::OUT);
        Wants {
            input: when(!self.input_ended && !typed, PollFlags::IN),
            master: when(!self.unattended, master),
            output: when(printed, PollFlags::OUT),
            at_most: self.unattended.then_some(PAUSE),
        }
    }

    pub(super) fn typed(&self) -> &[u8] {
        &self.typed
    }

    pub(super) fn printed(&self) -> &[u8] {
        &self.printed
    }

    /// After a wait, whatever ended it: the process's terminal is worth another look.
    pub(super) fn waited(&mut self) {
        self.unattended = false;
    }

    /// What reading our input gave. EIO: our terminal is gone, or we are orphaned in the background.
    pub(super) fn input(&mut self, read: Result<&[u8]>) -> Result<()> {
        match read {
            Ok([]) | Err(Errno::IO) => self.input_ended = true,
            Ok(bytes) => self.typed.extend_from_slice(bytes),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(errno) => return Err(errno),
        }
        Ok(())
    }

    /// What writing to the process's terminal gave. What was typed is kept for who opens it next.
    pub(super) fn typed_taken(&mut self, written: Result<usize>) -> Result<()> {
        match written {
            Ok(count) => drop(self.typed.drain(..count)),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(Errno::IO) => self.unattended = true,
            Err(errno) => return Err(errno),
        }
        Ok(())
    }

    /// What reading the process's terminal gave.
    pub(super) fn output(&mut self, read: Result<&[u8]>) -> Result<()> {
        match read {
            Ok([]) => self.output_ended = true,
            Ok(bytes) => self.printed.extend_from_slice(bytes),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(Errno::IO) => self.unattended = true,
            Err(errno) => return Err(errno),
        }
        Ok(())
    }

    /// What writing to our stdout gave.
    pub(super) fn printed_taken(&mut self, written: Result<usize>) -> Result<()> {
        match written {
            Ok(count) => drop(self.printed.drain(..count)),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(errno) => return Err(errno),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: PollFlags = PollFlags::empty();

    fn wants(flow: &Flow) -> (PollFlags, PollFlags, PollFlags, bool) {
        let Wants { input, master, output, at_most } = flow.wants();
        (input, master, output, at_most.is_some())
    }

    #[test]
    fn at_first_both_sides_are_read_and_there_is_no_limit_to_the_wait() {
        assert_eq!(wants(&Flow::default()), (PollFlags::IN, PollFlags::IN, NONE, false));
    }

    #[test]
    fn what_was_printed_holds_up_the_process_and_not_what_is_typed() {
        let mut flow = Flow::default();
        flow.output(Ok(b"printed")).unwrap();
        assert_eq!(wants(&flow), (PollFlags::IN, NONE, PollFlags::OUT, false));
        flow.input(Ok(b"typed")).unwrap();
        assert_eq!(wants(&flow), (NONE, PollFlags::OUT, PollFlags::OUT, false));
        flow.printed_taken(Err(Errno::AGAIN)).unwrap();
        flow.printed_taken(Ok(5)).unwrap();
        assert_eq!(flow.printed(), b"ed");
        flow.printed_taken(Ok(2)).unwrap();
        flow.typed_taken(Err(Errno::AGAIN)).unwrap();
        flow.typed_taken(Ok(1)).unwrap();
        assert_eq!(flow.typed(), b"yped");
        assert_eq!(wants(&flow), (NONE, PollFlags::IN | PollFlags::OUT, NONE, false));
        flow.typed_taken(Ok(4)).unwrap();
        assert_eq!(wants(&flow), wants(&Flow::default()));
    }

    #[test]
    fn a_terminal_that_nobody_has_open_is_left_alone_for_one_wait_and_what_was_typed_is_kept() {
        let mut flow = Flow::default();
        flow.output(Err(Errno::IO)).unwrap();
        assert_eq!(wants(&flow), (PollFlags::IN, NONE, NONE, true));
        flow.waited();
        flow.input(Ok(b"typed")).unwrap();
        flow.typed_taken(Err(Errno::IO)).unwrap();
        assert_eq!(wants(&flow), (NONE, NONE, NONE, true));
        assert_eq!(flow.typed(), b"typed");
        flow.waited();
        assert_eq!(wants(&flow), (NONE, PollFlags::IN | PollFlags::OUT, NONE, false));
    }

    #[test]
    fn an_end_is_for_good() {
        let mut flow = Flow::default();
        flow.output(Ok(b"")).unwrap();
        flow.input(Ok(b"")).unwrap();
        flow.waited();
        assert_eq!(wants(&flow), (NONE, NONE, NONE, false));
        let mut flow = Flow::default();
        flow.input(Err(Errno::IO)).unwrap();
        assert_eq!(wants(&flow), (NONE, PollFlags::IN, NONE, false));
    }

    #[test]
    fn any_other_error_is_told() {
        let mut flow = Flow::default();
        assert_eq!(flow.input(Err(Errno::BADF)), Err(Errno::BADF));
        assert_eq!(flow.output(Err(Errno::BADF)), Err(Errno::BADF));
        assert_eq!(flow.typed_taken(Err(Errno::BADF)), Err(Errno::BADF));
        assert_eq!(flow.printed_taken(Err(Errno::PIPE)), Err(Errno::PIPE));
        assert_eq!(flow.printed_taken(Err(Errno::IO)), Err(Errno::IO));
    }
}
