//! Class M: a container that makes the runtime hold more and more.

use std::io::Read;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use sys::wait::wait_with_usage;

use super::Verdict;
use super::cases::not_tried;
use crate::fixture::{BundleDir, Runtime, Terminal, readable};

/// What a container prints, and how much of it a process of the runtime may have in memory at once, in KiB.
const OUTPUT: u64 = 128 << 20;
const MOST_PEAK: u64 = 64 << 10;

/// How long nobody reads: a runtime that takes everything has then taken it.
const PAUSE: Duration = Duration::from_secs(1);

/// How long a terminal may be silent.
const SILENCE: Duration = Duration::from_secs(60);

/// A container in the foreground floods its terminal, and the caller's is slow.
#[expect(clippy::zombie_processes, reason = "it is waited for together with what it used")]
pub(super) fn flood_of_output(runtime: &Runtime) -> Verdict {
    let flood = format!("head -c {OUTPUT} /dev/zero");
    let bundle = BundleDir::new().set("/process/terminal", true).shell(&flood);
    let (terminal, slave) = Terminal::pair();
    let path = bundle.path().display().to_string();
    let child = runtime.in_foreground(&slave, ["run", "--bundle", &path, &runtime.new_id()]);
    drop(slave);
    std::thread::sleep(PAUSE);
    let (printed, words) = drain(&terminal);
    let pid = Pid::from_child(&child);
    if printed < OUTPUT {
        let _ = kill_process_group(pid, Signal::KILL);
    }
    let peak = wait_with_usage(pid).map_or(0, |(_, usage)| usage.peak_kib);
    match printed {
        OUTPUT.. if peak <= MOST_PEAK => Verdict::Safe,
        OUTPUT.. => Verdict::Broken(format!(
            "{OUTPUT} bytes of output took {peak} KiB of memory, {MOST_PEAK} are enough"
        )),
        _ => not_tried(format!("only {printed} bytes came: {words}")),
    }
}

/// Reads until everybody has closed the terminal's other side: how many bytes came, and the first of them as text.
fn drain(terminal: &Terminal) -> (u64, String) {
    let (mut bytes, mut words, mut chunk) = (0, String::new(), vec![0; 64 << 10]);
    while readable(terminal.master(), SILENCE) {
        // EIO means that the other side was closed.
        let Ok(count @ 1..) = terminal.master().read(&mut chunk) else { break };
        if bytes < 1024 {
            words.push_str(&String::from_utf8_lossy(&chunk[..count.min(1024)]));
        }
        bytes += u64::try_from(count).expect("a length fits");
    }
    (bytes, words)
}
