//! TLS to another's log: whom to take for it, and who we say we are. Only a monitor that sends its container's output this way has
//! any of it in memory.

use super::address::host_and_port;
use super::connection::{READS, wait};
use crate::certificates;
use crate::registry::TlsFault;
use rustix::event::PollFlags;
use rustix::net::{RecvFlags, recv};
use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, DigitallySignedStruct, ProtocolVersion,
    RootCertStore, SignatureScheme,
};
use std::io::{self, Read, Write as _};
use std::net::TcpStream;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// So long is waited for whoever judges our certificate.
const FOR_JUDGEMENT: Duration = Duration::from_millis(200);

/// Whom to take for the log, and who we say we are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Trust {
    /// Authorities that count beside this machine's.
    pub(super) authorities: Option<PathBuf>,
    /// Our certificate, and its key.
    pub(super) client: Option<(PathBuf, PathBuf)>,
    /// Anybody is taken for it.
    pub(super) anybody: bool,
}

impl Trust {
    /// Reads the files that it names.
    pub(super) fn terms(&self) -> Result<Terms, String> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = if self.anybody {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        } else {
            builder.with_root_certificates(self.roots()?)
        };
        let mut config = match &self.client {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let mut chain = Vec::new();
                certificates::read(certificate, &mut chain)?;
                let unfit = |error| certificates::unusable(key, &format!("{error}"));
                builder.with_client_auth_cert(chain, certificates::read_key(key)?).map_err(unfit)?
            }
        };
        let own = Arc::clone(&config.client_auth_cert_resolver);
        let asked = Arc::new(Asked { own, is_asked: AtomicBool::new(false) });
        config.client_auth_cert_resolver = Arc::<Asked>::clone(&asked);
        Ok(Terms { config: Arc::new(config), asked })
    }

    fn roots(&self) -> Result<RootCertStore, String> {
        let mut roots = Vec::new();
        for file in certificates::host_bundle().iter().chain(&self.authorities) {
            certificates::read(file, &mut roots)?;
        }
        let mut store = RootCertStore::empty();
        // One that the library does not understand is one that nobody is trusted by.
        store.add_parsable_certificates(roots);
        Ok(store)
    }
}

/// The same, read from the files that it names.
#[derive(Debug)]
pub(super) struct Terms {
    config: Arc<ClientConfig>,
    asked: Arc<Asked>,
}

/// Notes that the other side asks for our certificate: from TLS 1.3 on it judges that when the handshake has ended for us.
#[derive(Debug)]
struct Asked {
    own: Arc<dyn ResolvesClientCert>,
    is_asked: AtomicBool,
}

impl ResolvesClientCert for Asked {
    fn resolve(
        &self,
        authorities: &[&[u8]],
        schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        self.is_asked.store(true, Ordering::Relaxed);
        self.own.resolve(authorities, schemes)
    }

    fn has_certs(&self) -> bool {
        self.own.has_certs()
    }
}

/// Takes any certificate, but of somebody who has its key.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A connection, on which both sides know who the other is.
#[derive(Debug)]
pub(super) struct Stream {
    tls: ClientConnection,
    tcp: TcpStream,
}

impl Stream {
    /// Shakes hands with whoever is at `place`, until the deadline. The socket does not block.
    pub(super) fn over(
        tcp: TcpStream,
        place: &str,
        terms: &Terms,
        deadline: Instant,
    ) -> io::Result<Self> {
        let host = host_and_port(place).0.trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(host)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        terms.asked.is_asked.store(false, Ordering::Relaxed);
        let config = Arc::clone(&terms.config);
        let tls = ClientConnection::new(config, name).map_err(io::Error::other)?;
        let mut stream = Self { tls, tcp };
        while stream.tls.is_handshaking() || stream.tls.wants_write() {
            if Instant::now() > deadline {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let is_writing = stream.tls.wants_write();
            match if is_writing { stream.flush() } else { stream.hear() } {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let flags = if is_writing { PollFlags::OUT } else { PollFlags::IN };
                    wait(stream.as_fd(), flags, deadline)?;
                }
                step => step?,
            }
        }
        if terms.asked.is_asked.load(Ordering::Relaxed)
            && stream.tls.protocol_version() == Some(ProtocolVersion::TLSv1_3)
        {
            stream.await_judgement(deadline.min(Instant::now() + FOR_JUDGEMENT))?;
        }
        Ok(stream)
    }

    /// Waits until the other side has refused us, or has given us a ticket, as most do who have not. Whoever says nothing until the deadline
    /// may do either.
    fn await_judgement(&mut self, deadline: Instant) -> io::Result<()> {
        while self.tls.tls13_tickets_received() == 0 && Instant::now() < deadline {
            match self.hear() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    wait(self.as_fd(), PollFlags::IN, deadline)?;
                }
                step => step?,
            }
        }
        Ok(())
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.tcp.as_fd()
    }

    /// Takes some of a message, once what was taken before is on its way.
    pub(super) fn send(&mut self, message: &[u8]) -> io::Result<usize> {
        self.flush()?;
        self.tls.writer().write(message)
    }

    /// Sends what was taken.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.tcp)?;
        }
        Ok(())
    }

    /// Reads what the other side says. What it says to no purpose is not read for long.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        for _ in 0..READS {
            match self.tls.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
            if self.tls.read_tls(&mut self.tcp)? == 0 {
                return Ok(0);
            }
            self.process()?;
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Reads what belongs to the handshake.
    fn hear(&mut self) -> io::Result<()> {
        if self.tls.read_tls(&mut self.tcp)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.process()
    }

    /// Reads what has come, without waiting, and forgets it. Whether the other side has closed the connection.
    ///
    /// # Errors
    /// It has refused us: nothing was taken that was sent.
    pub(super) fn is_closed(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 4096];
        for _ in 0..READS {
            match self.tls.read_tls(&mut Arrived(&self.tcp)) {
                Ok(length) if length > 0 => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Ok(_) | Err(_) => return Ok(true),
            }
            match self.process() {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(error),
                Err(_) => return Ok(true),
                Ok(()) => {}
            }
            while let Ok(length) = self.tls.reader().read(&mut buffer) {
                if length == 0 {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn process(&mut self) -> io::Result<()> {
        let processed = self.tls.process_new_packets();
        processed.map(drop).map_err(|error| {
            // It is told why.
            let _ = self.tls.write_tls(&mut self.tcp);
            if is_refusal(&error) {
                let said = format!("it does not accept who we are: {error}");
                return io::Error::new(io::ErrorKind::PermissionDenied, said);
            }
            io::Error::new(io::ErrorKind::InvalidData, TlsFault::from(&error))
        })
    }
}

/// Whether it is what the other side says of our certificate, or of there being none.
fn is_refusal(error: &rustls::Error) -> bool {
    use AlertDescription::{
        AccessDenied, BadCertificate, CertificateExpired, CertificateRequired, CertificateRevoked,
        CertificateUnknown, DecryptError, HandshakeFailure, NoCertificate, UnknownCA,
        UnsupportedCertificate,
    };
    let rustls::Error::AlertReceived(alert) = error else { return false };
    let refusals = [
        AccessDenied,
        BadCertificate,
        CertificateExpired,
        CertificateRequired,
        CertificateRevoked,
        CertificateUnknown,
        DecryptError,
        HandshakeFailure,
        NoCertificate,
        UnknownCA,
        UnsupportedCertificate,
    ];
    refusals.contains(alert)
}

impl Drop for Stream {
    /// The other side is told that this is the end, if it can take that at once.
    fn drop(&mut self) {
        self.tls.send_close_notify();
        let _ = self.flush();
    }
}

/// What has arrived on a socket.
struct Arrived<'a>(&'a TcpStream);

impl Read for Arrived<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(recv(self.0, buffer, RecvFlags::DONTWAIT)?.0)
    }
}
