//! Class G: what the stages of the runtime tell each other, and what they are told.

use nconform::fixture::{BundleDir, Runtime, Sandbox};
use rustix::net::{
    AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, send, socket_with,
};

#[test]
fn id_mappings_of_any_length_are_taken_or_refused_in_one_line() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    for count in [340u32, 341, 5_000] {
        let bundle = BundleDir::with_id_mappings(count).args(["wc", "-l", "/proc/self/uid_map"]);
        let output = runtime.run(&bundle);
        // 340 is the kernel's bound (user_namespaces(7)), but these are longer than the page that it reads.
        let message = output.exits(1).stderr();
        let line = message.lines().next().unwrap_or_default();
        assert!(line.len() < 500 && line.contains("appings"), "{count} mappings: {message}");
    }
    assert!(
        std::fs::read_dir(runtime.root()).expect("the state directory").next().is_none(),
        "something was left"
    );
}

#[test]
fn noise_on_the_start_socket_starts_nothing_and_harms_nothing() {
    let _sandbox = Sandbox::enter();
    let runtime = Runtime::under_test();
    let bundle = BundleDir::new().shell("echo started; exec sleep 100");
    let container = runtime.create(&bundle, [""; 0]);
    let path = runtime.root().join(container.id()).join("start");
    for noise in [&b""[..], b"x", b"gg", b"g\0", &[0xff; 12], &[0; 4096]] {
        let socket =
            socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .expect("a socket");
        connect(&socket, &SocketAddrUnix::new(&path).expect("an address")).expect("connect");
        let _ = send(&socket, noise, SendFlags::NOSIGNAL);
        drop(socket);
        assert_eq!(container.status(), "created", "after {} bytes of noise", noise.len());
    }
    assert_eq!(container.output().stdout(), "");
    let _ = container.start().ok();
    assert_eq!(container.status(), "running");
}

/// The same numbers in every run, so that a failure can be had again.
struct Noise(u64);

impl Noise {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).expect("it is below a usize")
    }
}

#[test]
fn a_damaged_config_never_makes_the_runtime_panic() {
    let _sandbox = Sandbox::enter();
    let (runtime, bundle) = (Runtime::under_test(), BundleDir::new());
    let whole = std::fs::read(bundle.path().join("config.json")).expect("config.json");
    let (mut noise, path) = (Noise(0x9e37_79b9_7f4a_7c15), bundle.path().display().to_string());
    let tokens: &[&[u8]] = &[
        b"null",
        b"-1",
        b"1e999",
        b"18446744073709551616",
        b"[]",
        b"{}",
        b"\"\"",
        b"\"\\u0000\"",
        b"\xff",
        b"\"\\ud800\"",
    ];
    for round in 0..150 {
        let mut text = whole.clone();
        for _ in 0..=noise.below(3) {
            let at = noise.below(text.len());
            match noise.below(4) {
                0 => text.truncate(at.max(1)),
                1 => text[at] = u8::try_from(noise.below(256)).expect("a byte"),
                2 => drop(text.drain(at..(at + noise.below(40)).min(text.len()))),
                _ => {
                    let token = tokens[noise.below(tokens.len())];
                    let end = (at + noise.below(12)).min(text.len());
                    drop(text.splice(at..end, token.iter().copied()));
                }
            }
            if text.is_empty() {
                text.push(b' ');
            }
        }
        std::fs::write(bundle.path().join("config.json"), &text).expect("write config.json");
        let output = runtime.call(["plan", "--bundle", &path]).run();
        let shown = String::from_utf8_lossy(&text);
        assert!(
            output.code() <= 1 && !output.stderr().contains("panicked"),
            "round {round}: {output}\n{shown}"
        );
    }
}
