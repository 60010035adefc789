//! Layers with damaged headers: whatever they say, there is no panic, nothing outside, and an end.

use super::*;

/// Numbers without a source of chance, so that a failure can be repeated.
struct Sequence(u64);

impl Sequence {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % below as u64).unwrap()
    }
}

fn rich() -> Layer {
    layer()
        .dir("a")
        .file("a/f", "content")
        .with("l".repeat(200).as_bytes(), Kind::Symlink(vec![b't'; 200]), |e| {
            e.mtime.tv_sec = -1;
            e.xattrs = vec![(b"user.x".to_vec(), b"y".to_vec())];
        })
        .hard_link("h", "a/f")
        .symlink("s", "../outside")
        .file("s/canary", "dead")
        .file("a/.wh.f", "")
        .file("a/.wh..wh..opq", "")
        .with(b"p", Kind::Fifo, |_| {})
}

#[test]
fn a_layer_with_a_changed_byte_and_a_right_checksum_does_no_harm() {
    let original = rich().bytes();
    let headers: Vec<usize> = (0..original.len())
        .step_by(512)
        .filter(|at| original[at + 257..].starts_with(b"ustar"))
        .collect();
    assert!(headers.len() >= 10);
    let mut sequence = Sequence(0x2545_f491_4f6c_dd1d);
    let options = Options {
        devices: false,
        limits: Limits { bytes: 1 << 20, ..Limits::default() },
        ..Options::default()
    };
    Sandbox::new().unpack_with(&rich(), &options).unwrap();
    let mut unpacked = 0;
    for round in 0..600 {
        let mut bytes = original.clone();
        let start = headers[sequence.next(headers.len())];
        for _ in 0..=sequence.next(3) {
            let interesting =
                [b'/', b'.', b'0', b'1', b'2', b'5', b'7', b'x', b'L', b'S', 0, 0x80, 0xff];
            bytes[start + sequence.next(512)] = interesting[sequence.next(interesting.len())];
        }
        let mut header = tar::Header::from_byte_slice(&bytes[start..start + 512]).clone();
        header.set_cksum();
        bytes[start..start + 512].copy_from_slice(header.as_bytes());
        let sandbox = Sandbox::new();
        let root = fs::File::open(sandbox.root()).unwrap();
        let whiteouts = if round % 2 == 0 { Whiteouts::Overlay } else { Whiteouts::Apply };
        let options = Options { whiteouts, ..options.clone() };
        unpacked += u32::from(unpack(&bytes[..], root.as_fd(), &options).is_ok());
        sandbox.check_outside();
    }
    assert!((300..600).contains(&unpacked), "{unpacked} of 600: the changes do not reach the code");
}

#[test]
fn a_layer_cut_off_anywhere_does_no_harm() {
    let bytes = rich().bytes();
    for length in (0..bytes.len()).step_by(97) {
        let sandbox = Sandbox::new();
        let root = fs::File::open(sandbox.root()).unwrap();
        let _ = unpack(&bytes[..length], root.as_fd(), &Options::default());
        sandbox.check_outside();
    }
}
