//! Class E: ids, groups and capabilities that are not the ones that were meant, and what the image says of them.

use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use sys::wait::wait_with_usage;

use super::Verdict;
use super::cases::{not_tried, run, start};
use crate::fixture::{BundleDir, Capture, Fifo, Runtime, readable};

/// The size of a monstrous file, and how much of it a process of the runtime may have in memory at once, in KiB.
const MONSTER: u64 = 512 << 20;
const MOST_PEAK: u64 = 256 << 10;

/// Only a runtime that reads everything, byte by byte, takes longer.
const LIMIT: Duration = Duration::from_secs(60);

pub(super) fn odd_user(runtime: &Runtime) -> Verdict {
    let sleeper = BundleDir::new().args(["sleep", "600"]);
    let id = match start(runtime, &sleeper) {
        Ok(id) => id,
        Err(why) => return not_tried(why),
    };
    for user in ["-1", "4294967295", "4294967296", "0x0", "root", "0:-1", "0:4294967296"] {
        match runtime.call(["exec", "--user", user, &id, "id"]).try_run() {
            Ok(output) if output.stdout().contains("uid=") => {
                return Verdict::Broken(output.to_string());
            }
            Ok(_) => {}
            Err(why) => return not_tried(why),
        }
    }
    Verdict::Safe
}

/// The image has a user whose name is the number of another one, with the id and the groups of root.
pub(super) fn named_like_a_number(runtime: &Runtime) -> Verdict {
    let bundle = BundleDir::new()
        .with_file("etc/passwd", "1000:x:0:0:root:/root:/bin/sh\n")
        .with_file("etc/group", "1000:x:0:1000\nroot:x:0:1000\n")
        .set("/process/user/uid", 1000)
        .set("/process/user/gid", 1000);
    let ids = "id -u; id -G";
    let output = match run(runtime, &bundle.shell(ids)) {
        Ok(output) => output,
        Err(why) => return not_tried(why),
    };
    if output.success() && output.stdout() != "1000\n1000\n" {
        return Verdict::Broken(output.to_string());
    }
    let sleeper = BundleDir::new()
        .args(["sleep", "600"])
        .with_file("etc/passwd", "1000:x:0:0:root:/root:/bin/sh\n")
        .with_file("etc/group", "1000:x:0:1000\nroot:x:0:1000\n");
    let id = match start(runtime, &sleeper) {
        Ok(id) => id,
        Err(why) => return not_tried(why),
    };
    match runtime.call(["exec", "--user", "1000:1000", &id, "sh", "-c", ids]).try_run() {
        Ok(output) if output.success() && output.stdout() != "1000\n1000\n" => {
            Verdict::Broken(output.to_string())
        }
        Ok(_) => Verdict::Safe,
        Err(why) => not_tried(why),
    }
}

/// Half a gigabyte without an end of line: a runtime that wants a line of it has it all in memory.
pub(super) fn monstrous_accounts(runtime: &Runtime) -> Verdict {
    for path in ["etc/passwd", "etc/group"] {
        let bundle = BundleDir::new().with_monstrous_file(path, MONSTER);
        let call = runtime.bundle_call("run", &bundle, [""; 0], &runtime.new_id());
        let (child, _output) = call.start();
        let (pid, begin) = (Pid::from_child(&child), Instant::now());
        let ended = pidfd_open(pid, PidfdFlags::empty()).is_ok_and(|fd| readable(&fd, LIMIT));
        if !ended {
            let _ = kill_process_group(pid, Signal::KILL);
        }
        let peak = wait_with_usage(pid).map_or(0, |(_, usage)| usage.peak_kib);
        if !ended || peak > MOST_PEAK {
            let seconds = begin.elapsed().as_secs();
            return Verdict::Broken(format!(
                "{path} took {seconds} s and {peak} KiB of memory, {MOST_PEAK} are enough"
            ));
        }
    }
    Verdict::Safe
}

/// Whoever opens a FIFO waits for somebody to write, for ever.
pub(super) fn fifos_for_accounts(runtime: &Runtime) -> Verdict {
    for path in ["etc/passwd", "etc/group"] {
        let bundle = BundleDir::new();
        let fifo = Fifo::new(&bundle.rootfs().join(path));
        let ended = run(runtime, &bundle);
        if fifo.was_opened() {
            return Verdict::Broken(format!("{path} of the image, a FIFO, was opened"));
        }
        if let Err(why) = ended {
            return Verdict::Broken(why);
        }
    }
    Verdict::Safe
}

/// What of a process shows whose groups and capabilities it has.
const STATUS: &str = "grep -E '^(Groups|CapInh):' /proc/self/status";

/// The caller has groups and inheritable capabilities; the container was promised neither.
pub(super) fn groups_of_the_caller(runtime: &Runtime) -> Verdict {
    let bundle = BundleDir::new().shell(STATUS);
    let (program, root) = (runtime.program().display(), runtime.root().display());
    let words = [program.to_string(), "--root".to_owned(), root.to_string(), "run".to_owned()];
    let path = bundle.path().display().to_string();
    let output = Capture::of("setpriv")
        .args(["--groups", "4242,27", "--inh-caps", "+chown,+kill"])
        .args(words)
        .args(["--bundle", &path, &runtime.new_id()])
        .try_run();
    match output {
        Ok(output) if !output.success() => not_tried(output.to_string()),
        Ok(output) if output.text() == "Groups:\t \nCapInh:\t0000000000000000" => Verdict::Safe,
        Ok(output) => Verdict::Broken(output.to_string()),
        Err(why) => not_tried(why),
    }
}

/// What is in the environment of who calls the runtime is often a secret.
pub(super) fn environment_of_the_caller(runtime: &Runtime) -> Verdict {
    let bundle = BundleDir::new().args(["env"]);
    let call = runtime.bundle_call("run", &bundle, [""; 0], &runtime.new_id());
    match call.env("NRT_SECRET", "of the caller").try_run() {
        Ok(output) if !output.success() => not_tried(output.to_string()),
        Ok(output) if output.stdout().contains("NRT_SECRET") => Verdict::Broken(output.to_string()),
        Ok(_) => Verdict::Safe,
        Err(why) => not_tried(why),
    }
}
