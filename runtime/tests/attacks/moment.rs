//! Moments of an attack.

use std::time::Duration;

/// Waits for something that is about to happen; whether it has is asserted by who waits.
pub(crate) fn wait_until(mut happened: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if happened() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
