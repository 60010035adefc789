//! What needs no second namespace, and so no root: that takes the live tests.

use super::*;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Shutdown, TcpListener, TcpStream};

const LOCAL: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// A port that nobody has, and where it leads.
fn free(protocol: Protocol) -> (PortMapping, SocketAddr) {
    let any = PortRequest {
        host_address: Some(LOCAL.into()),
        host_port: super::super::HostPort::Any,
        container_port: 80,
        protocol,
    };
    let port = reserve(&[any], &[], &[]).unwrap().ports[0];
    (port, SocketAddr::from(([10, 90, 0, 2], 80)))
}

fn proxy(wanted: &[(PortMapping, SocketAddr)]) -> Result<Proxy> {
    Proxy::open(Arc::new(netns::current().unwrap()), wanted)
}

fn is_taken((port, _): &(PortMapping, SocketAddr)) -> bool {
    matches!(reserve(&[PortRequest::again(port)], &[], &[]), Err(Error::PortAllocated { .. }))
}

#[test]
fn ports_are_taken_as_long_as_they_are_wanted() {
    let (one, other, datagrams) = (free(Protocol::Tcp), free(Protocol::Tcp), free(Protocol::Udp));
    let mut proxy = proxy(&[one, datagrams]).unwrap();
    assert_eq!([one, other, datagrams].map(|port| is_taken(&port)), [true, false, true]);
    proxy.follow(None, &[other]).unwrap();
    assert_eq!([one, other, datagrams].map(|port| is_taken(&port)), [false, true, false]);
    // Another address of the container's is another place to lead to.
    let moved = (other.0, SocketAddr::from(([10, 91, 0, 2], 80)));
    proxy.follow(None, &[moved]).unwrap();
    assert_eq!(proxy.doors.iter().map(|door| door.target).collect::<Vec<_>>(), [moved.1]);
}

#[test]
fn a_port_that_somebody_has_is_told_and_the_others_are_served() {
    let listener = TcpListener::bind((LOCAL, 0)).unwrap();
    let (free, mut taken) = (free(Protocol::Tcp), free(Protocol::Tcp));
    taken.0.host_port = listener.local_addr().unwrap().port();
    let mut all = proxy(&[]).unwrap();
    let error = all.follow(None, &[taken, free]).unwrap_err();
    assert!(matches!(error, Error::PortAllocated { .. }), "{error}");
    assert!(is_taken(&free));
}

#[test]
fn nobody_is_let_in_for_whom_there_is_no_room() {
    let port = free(Protocol::Tcp);
    let mut proxy = proxy(&[port]).unwrap();
    proxy.most_streams = 0;
    let address = SocketAddr::new(IpAddr::V4(LOCAL), port.0.host_port);
    let _client = TcpStream::connect(address).unwrap();
    proxy.let_in(0);
    assert!(!proxy.open);
    let mut watched = Vec::new();
    proxy.watch(&mut watched);
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    assert_eq!(rustix::event::poll(&mut watched, Some(&now)), Ok(0), "it waits in silence");
    proxy.most_streams = 1;
    proxy.expire();
    let mut watched = Vec::new();
    proxy.watch(&mut watched);
    assert_eq!(rustix::event::poll(&mut watched, Some(&now)), Ok(1));
}

/// Two connected sockets.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((LOCAL, 0)).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

/// Passes on between a client and a listener until both sides have ended; whether that was in peace.
fn serve(client: TcpStream, listener: &TcpListener) -> bool {
    let events = epoll::create(CreateFlags::CLOEXEC).unwrap();
    client.set_nonblocking(true).unwrap();
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let server = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
    let target = listener.local_addr().unwrap();
    let mut stream = Stream::begin(&events, 1, client.into(), server, target).unwrap();
    let mut buffer = vec![0; CHUNK];
    let patience = Timespec { tv_sec: 20, tv_nsec: 0 };
    loop {
        let mut found =
            [epoll::Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }; 4];
        let count = epoll::wait(&events, &mut found, Some(&patience)).unwrap();
        if count == 0 {
            return false;
        }
        for event in &found[..count] {
            let of_server = event.data.u64() & 1 == SERVER;
            if !stream.advance(&events, 1, of_server, &mut buffer) {
                return true;
            }
        }
    }
}

#[test]
fn each_direction_ends_by_itself_and_nothing_is_lost() {
    let listener = TcpListener::bind((LOCAL, 0)).unwrap();
    let (mut outside, client) = pair();
    // More than all buffers hold, to a server that reads nothing until it has sent as much itself.
    let sent: Vec<u8> = (0..4_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let (to_client, to_server) = (sent.clone(), sent.clone());
    std::thread::scope(|scope| {
        let relay = scope.spawn(|| serve(client, &listener));
        let inside = scope.spawn(|| {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(&to_client).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut read = Vec::new();
            stream.read_to_end(&mut read).unwrap();
            read
        });
        let mut read = Vec::new();
        outside.read_to_end(&mut read).unwrap();
        assert!(read == sent, "{} bytes reached the client", read.len());
        outside.write_all(&to_server).unwrap();
        outside.shutdown(Shutdown::Write).unwrap();
        let read = inside.join().unwrap();
        assert!(read == sent, "{} bytes reached the server", read.len());
        assert!(relay.join().unwrap());
    });
}

#[test]
fn a_client_of_nobody_is_reset() {
    let listener = TcpListener::bind((LOCAL, 0)).unwrap();
    let gone = listener.local_addr().unwrap();
    drop(listener);
    let (mut outside, client) = pair();
    let events = epoll::create(CreateFlags::CLOEXEC).unwrap();
    let client = OwnedFd::from(client);
    stream::refuse_unless_served(&client);
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let server = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
    if let Ok(mut stream) = Stream::begin(&events, 1, client, server, gone) {
        let mut found =
            [epoll::Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }; 1];
        epoll::wait(&events, &mut found, None).unwrap();
        assert!(!stream.advance(&events, 1, true, &mut [0; 16]));
    }
    let error = outside.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn an_answer_that_is_followed_by_a_reset_reaches_the_client() {
    let listener = TcpListener::bind((LOCAL, 0)).unwrap();
    let (mut outside, client) = pair();
    std::thread::scope(|scope| {
        let relay = scope.spawn(|| serve(client, &listener));
        let inside = scope.spawn(|| {
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut [0]).unwrap();
            stream.write_all(b"too large").unwrap();
            // With the rest unread, this is a reset.
        });
        let mut writing = outside.try_clone().unwrap();
        let upload = scope.spawn(move || writing.write_all(&vec![0; 64 << 20]));
        inside.join().unwrap();
        let mut answer = [0; 9];
        outside.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"too large");
        assert!(relay.join().unwrap(), "it is over for the relay, too");
        assert!(upload.join().unwrap().is_err(), "nobody takes the rest");
    });
}

#[test]
fn a_client_that_breaks_off_is_no_end_for_the_server() {
    let listener = TcpListener::bind((LOCAL, 0)).unwrap();
    let (mut outside, client) = pair();
    std::thread::scope(|scope| {
        let relay = scope.spawn(|| serve(client, &listener));
        let (mut stream, _) = listener.accept().unwrap();
        outside.write_all(b"half").unwrap();
        stream.read_exact(&mut [0; 4]).unwrap();
        stream::refuse_unless_served(&OwnedFd::from(outside));
        let error = stream.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        assert!(relay.join().unwrap());
    });
}

/// A proxy that has one connection under way, to a server that has written so much and ended.
fn ended_with(length: usize) -> (Proxy, TcpStream) {
    let listener = TcpListener::bind((LOCAL, 0)).unwrap();
    let mut proxy = proxy(&[]).unwrap();
    let (outside, client) = pair();
    client.set_nonblocking(true).unwrap();
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let server = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
    let target = listener.local_addr().unwrap();
    let stream = Stream::begin(&proxy.events, 1, client.into(), server, target).unwrap();
    proxy.streams.insert(1, stream);
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.write_all(&vec![7; length]);
    });
    (proxy, outside)
}

#[test]
fn what_a_container_says_before_it_ends_reaches_who_takes_it() {
    let (proxy, mut outside) = ended_with(16 << 20);
    let end = std::thread::spawn(|| proxy.end());
    let mut read = Vec::new();
    outside.read_to_end(&mut read).unwrap();
    assert_eq!(read.len(), 16 << 20);
    end.join().unwrap();
}

#[test]
fn who_does_not_take_it_is_not_left_with_what_looks_whole() {
    let (proxy, mut outside) = ended_with(64 << 20);
    let begun = Instant::now();
    proxy.end();
    assert!(begun.elapsed() >= LAST_WORDS);
    let error = outside.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}
