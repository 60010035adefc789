//! What a container costs nman itself, in counts that do not depend on the machine's speed.

use super::build::{context, dockerfile};
use super::world::{IMAGE, World};

/// System calls of `nman run --rm --network none IMAGE true`, and of the container's monitor, for an image with a volume. On a host with nine v1
/// hierarchies they are 489 to 496 and 592 to 600: a wait that is interrupted makes more, and so does one that is over when it begins.
const MOST_CALLS: [usize; 2] = [508, 609];

/// What strace(1) wrote of one `nman run`, and which of its processes are which.
struct Trace {
    lines: Vec<String>,
    client: String,
    monitor: String,
}

impl Trace {
    /// Of a container that runs `true` and is removed.
    fn of_a_run(world: &World, options: &[&str]) -> Self {
        let log = world.path("strace");
        let strace = ["-f", "-q", "-o", log.to_str().unwrap()];
        let options: Vec<&str> = ["--rm"].iter().chain(options).copied().collect();
        world.run_command_by("strace", &strace, &options, &["true"]).run().ok();
        let text = std::fs::read_to_string(&log).unwrap();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let process = |line: &String| line.split(' ').next().unwrap_or_default().to_owned();
        let begins = |line: &&String| line.contains("execve(\"/proc/self/exe\", [\"nman-monitor\"");
        let monitor = process(lines.iter().find(begins).expect("a monitor"));
        Self { client: process(&lines[0]), monitor, lines }
    }

    /// The system calls of a process, with what they were given, as far as it is nman.
    fn calls(&self, process: &str) -> Vec<&str> {
        let own =
            self.lines.iter().filter_map(|line| line.strip_prefix(process)?.strip_prefix(' '));
        let is_call = |text: &&str| {
            let name = text.split('(').next().unwrap_or_default();
            !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        own.map(str::trim_start).filter(is_call).collect()
    }

    /// What was executed.
    fn executed(&self) -> Vec<&str> {
        let programs = self.lines.iter().filter_map(|line| {
            let (_, rest) = line.split_once(" execve(\"")?;
            rest.split('"').next()
        });
        programs.collect()
    }
}

#[test]
fn a_run_makes_few_system_calls_and_its_monitor_looks_at_no_table_of_mounts() {
    let world = World::new();
    // The first one makes directories.
    let _first = Trace::of_a_run(&world, &[]);
    let trace = Trace::of_a_run(&world, &[]);
    let own = [trace.calls(&trace.client), trace.calls(&trace.monitor)];
    let counts = own.each_ref().map(Vec::len);
    assert!(counts.iter().all(|count| *count > 100), "too few to be true: {counts:?}");
    for (count, most) in counts.iter().zip(MOST_CALLS) {
        assert!(*count <= most, "{counts:?} system calls, {MOST_CALLS:?} are the bar");
    }
    for call in own.iter().flatten() {
        assert!(!call.contains("mountinfo\"") && !call.contains("/proc/mounts\""), "{call}");
    }
    // Of a runtime that has said nothing, nothing is read.
    assert!(!own[1].iter().any(|call| call.starts_with("open(") && call.contains("runtime.log\"")));
    world.assert_no_container();
}

#[test]
fn a_published_port_costs_no_process_and_two_threads_of_the_client() {
    let world = World::new();
    let bridge = ["--network", "nman", "-p", "8080:80"];
    let _first = Trace::of_a_run(&world, &bridge);
    let with = Trace::of_a_run(&world, &bridge);
    let without = Trace::of_a_run(&world, &[]);
    assert_eq!(with.executed(), without.executed());
    let threads = |trace: &Trace| {
        let is_thread = |call: &&str| call.contains("CLONE_THREAD");
        trace.calls(&trace.client).into_iter().filter(is_thread).count()
    };
    // One makes the namespace and sets its loopback interface up, the other connects it.
    assert_eq!([threads(&with), threads(&without)], [2, 0]);
    // Of more queues the kernel would take all but one away again, and wait for each end.
    let calls = with.calls(&with.client);
    let made = calls.iter().find(|call| call.starts_with("sendto(") && call.contains("\"veth\""));
    assert!(made.expect("a pair").contains("IFLA_NUM_TX_QUEUES}, 1"), "{made:?}");
    world.assert_no_container();
}

#[test]
fn a_file_of_a_stage_is_read_once_for_the_key_and_once_for_the_copy() {
    let world = World::new();
    let text = dockerfile(&format!("COPY --from={IMAGE} /etc/text /copied\n"));
    let root = context(&world, "context", &[("Dockerfile", &text)]);
    let log = world.path("strace").display().to_string();
    let strace = ["-f", "-q", "-e", "trace=openat", "-o", &log];
    let args = ["build", "--network", "none", &root];
    world.command_by("strace", &strace, &args).run().ok();
    let log = std::fs::read_to_string(&log).unwrap();
    let opened: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("\"text\", O_RDONLY") && !line.contains("O_DIRECTORY"))
        .collect();
    assert_eq!(opened.len(), 2, "{opened:#?}");
    world.assert_no_container();
}
