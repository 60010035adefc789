//! Which process of the host has a port: found by its socket's number, for the message that says so.

use super::Protocol;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// The process that has this port, in words; `None` where that cannot be seen.
pub(super) fn of(address: SocketAddr, protocol: Protocol) -> Option<String> {
    let tables: &[&str] = match protocol {
        Protocol::Tcp => &["tcp", "tcp6"],
        Protocol::Udp => &["udp", "udp6"],
        // Its table has another form.
        Protocol::Sctp => return None,
    };
    tables.iter().find_map(|table| {
        // The thread's: it may be in another network namespace than its process.
        let text = std::fs::read_to_string(format!("/proc/thread-self/net/{table}")).ok()?;
        text.lines()
            .filter_map(parse)
            .find(|socket| socket.blocks(address))
            .and_then(|socket| process_of(socket.inode))
    })
}

/// A socket that is bound.
struct Socket {
    address: SocketAddr,
    inode: u64,
}

impl Socket {
    /// Whether who wants that address finds the port taken by it. We want IPv6 alone, while another's `[::]` may be both.
    fn blocks(&self, wanted: SocketAddr) -> bool {
        let (own, other) = (self.address.ip(), wanted.ip());
        let meet = match (own, other) {
            (IpAddr::V4(_), IpAddr::V6(_)) => false,
            (IpAddr::V6(own), IpAddr::V4(_)) => own.is_unspecified(),
            _ => own == other || own.is_unspecified() || other.is_unspecified(),
        };
        meet && self.address.port() == wanted.port()
    }
}

/// A line of /proc/net/tcp and its like: addresses are words in the processor's order, in hexadecimal.
fn parse(line: &str) -> Option<Socket> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (address, port) = words.get(1)?.split_once(':')?;
    let word = |at: usize| u32::from_str_radix(address.get(at * 8..at * 8 + 8)?, 16).ok();
    let ip: IpAddr = match address.len() {
        8 => Ipv4Addr::from(word(0)?.to_ne_bytes()).into(),
        32 => {
            let mut octets = [0; 16];
            for (at, four) in octets.chunks_exact_mut(4).enumerate() {
                four.copy_from_slice(&word(at)?.to_ne_bytes());
            }
            Ipv6Addr::from(octets).to_canonical()
        }
        _ => return None,
    };
    let port = u16::from_str_radix(port, 16).ok()?;
    Some(Socket { address: SocketAddr::new(ip, port), inode: words.get(9)?.parse().ok()? })
}

fn process_of(inode: u64) -> Option<String> {
    let wanted = format!("socket:[{inode}]");
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    processes
        .filter(|entry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit))
        .find(|entry| has(&entry.path(), &wanted))
        .map(|entry| {
            let name = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            format!("process {} ({})", entry.file_name().to_string_lossy(), name.trim_end())
        })
}

fn has(process: &Path, wanted: &str) -> bool {
    let descriptors = std::fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    descriptors
        .filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .any(|target| target.as_os_str() == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_tables_read() {
        let v4 = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1";
        let socket = parse(v4).unwrap();
        assert_eq!((socket.address, socket.inode), ("127.0.0.1:8080".parse().unwrap(), 4242));
        assert!(socket.blocks("0.0.0.0:8080".parse().unwrap()));
        assert!(!socket.blocks("127.0.0.2:8080".parse().unwrap()));
        assert!(!socket.blocks("127.0.0.1:8081".parse().unwrap()));
        assert!(!socket.blocks("[::]:8080".parse().unwrap()));
        let v6 = v4.replace("0100007F", "00000000000000000000000001000000");
        assert_eq!(parse(&v6).unwrap().address, "[::1]:8080".parse().unwrap());
        assert!(!parse(&v6).unwrap().blocks("0.0.0.0:8080".parse().unwrap()));
        let every = parse(&v4.replace("0100007F", &"0".repeat(32))).unwrap();
        assert!(every.blocks("[::1]:8080".parse().unwrap()));
        assert!(every.blocks("127.0.0.1:8080".parse().unwrap()));
        for cut in 0..v4.len() - 2 {
            assert!(parse(&v4[..cut]).is_none_or(|socket| socket.inode != 4242), "{cut}");
        }
    }
}
