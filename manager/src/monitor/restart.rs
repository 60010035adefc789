//! Whether a container is started again after it has ended, and how long that waits: Docker's rules, pure.

use crate::container::RestartPolicy;
use std::time::Duration;

/// Before the first restart.
const FIRST_DELAY: Duration = Duration::from_millis(100);
/// Each delay is twice the one before it, up to this.
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// A container that has run for so long counts as well: the delay begins anew.
const LONG_ENOUGH: Duration = Duration::from_secs(10);

/// What is remembered from one end of a container to the next.
#[derive(Debug, Default)]
pub struct Restarter {
    /// Ends with an exit code other than 0, in a row.
    failures: u32,
    delay: Option<Duration>,
}

/// How a container ended.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// Its exit code.
    pub code: u8,
    /// How long it ran.
    pub ran: Duration,
    /// Whether somebody has stopped it.
    pub by_hand: bool,
}

impl Restarter {
    /// How long to wait before it is started again; `None` when it is not.
    pub fn after(&mut self, policy: RestartPolicy, end: End) -> Option<Duration> {
        self.failures = if end.code == 0 { 0 } else { self.failures + 1 };
        let delay = match self.delay {
            Some(delay) if end.ran < LONG_ENOUGH => (delay * 2).min(LONGEST_DELAY),
            _ => FIRST_DELAY,
        };
        self.delay = Some(delay);
        let again = match policy {
            RestartPolicy::No => false,
            RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
            RestartPolicy::OnFailure { retries } => {
                end.code != 0 && (retries == 0 || self.failures <= retries)
            }
        };
        (again && !end.by_hand).then_some(delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(code: u8, seconds: u64) -> End {
        End { code, ran: Duration::from_secs(seconds), by_hand: false }
    }

    #[test]
    fn the_delay_doubles_up_to_a_minute_and_begins_anew_after_ten_seconds_up() {
        let mut restarter = Restarter::default();
        let mut next = |seconds| restarter.after(RestartPolicy::Always, end(0, seconds)).unwrap();
        let delays: Vec<u128> = (0..12).map(|_| next(0).as_millis()).collect();
        assert_eq!(
            delays,
            [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 60_000, 60_000]
        );
        assert_eq!(next(10).as_millis(), 100);
        assert_eq!(next(9).as_millis(), 200);
    }

    #[test]
    fn on_failure_gives_up_after_its_retries_and_counts_anew_after_a_success() {
        let mut restarter = Restarter::default();
        let policy = RestartPolicy::OnFailure { retries: 2 };
        assert!(restarter.after(policy, end(1, 0)).is_some());
        assert!(restarter.after(policy, end(1, 0)).is_some());
        assert!(restarter.after(policy, end(1, 0)).is_none());
        assert!(restarter.after(policy, end(0, 0)).is_none());
        assert!(restarter.after(policy, end(1, 0)).is_some());
        let endless = RestartPolicy::OnFailure { retries: 0 };
        assert!((0..100).all(|_| restarter.after(endless, end(1, 0)).is_some()));
    }

    #[test]
    fn what_was_stopped_by_hand_stays_stopped_and_without_a_policy_nothing_starts() {
        let mut restarter = Restarter::default();
        for policy in [
            RestartPolicy::No,
            RestartPolicy::OnFailure { retries: 0 },
            RestartPolicy::Always,
            RestartPolicy::UnlessStopped,
        ] {
            let by_hand = End { by_hand: true, ..end(1, 0) };
            assert_eq!(restarter.after(policy, by_hand), None, "{policy}");
        }
        assert_eq!(restarter.after(RestartPolicy::No, end(1, 0)), None);
    }
}
