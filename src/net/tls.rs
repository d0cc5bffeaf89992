//! TLS (1.2 and 1.3), and every rustls type of the program.

mod binding;
mod certificate;
mod dane;
pub(crate) mod der;
mod facts;
#[cfg(test)]
mod tests;

pub use facts::Facts;

use super::TlsInfo;
use super::dns::TlsaSet;
use dane::Dane;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConnection, Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{NoServerSessionStorage, ProducesTickets, ServerConnection};
use rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, ProtocolVersion, RootCertStore, ServerConfig, SignatureScheme,
    WantsVerifier,
};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// What a client may offer by ALPN (RFC 7301) if it offers anything: one that means another protocol, as a browser does, is
/// turned away during the handshake.
const PROTOCOLS: [&[u8]; 4] = [b"smtp", b"esmtp", b"pop3", b"imap"];
/// The same, at a port for browsers.
const WEB_PROTOCOLS: [&[u8]; 1] = [b"http/1.1"];

/// The authorities that the system trusts are read again after that long.
const AUTHORITIES_HOLD: Duration = Duration::from_secs(3600);

/// The server's side: certificate and key.
#[derive(Debug, Clone)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    /// The certificate's hash (RFC 5929 §4), if it has one.
    end_point: Option<Vec<u8>>,
}

impl ServerTls {
    /// Loads certificate chain and key (PEM). An error names the file.
    pub fn load(certificate: &Path, key: &Path) -> io::Result<ServerTls> {
        let read = |path: &Path| std::fs::read(path).map_err(|error| invalid(format!("{}: {error}", path.display())));
        ServerTls::from_pem((certificate, &read(certificate)?), (key, &read(key)?))
    }

    /// The same, of what stands in these files.
    pub fn from_pem((certificate, chain): (&Path, &[u8]), (key, secret): (&Path, &[u8])) -> io::Result<ServerTls> {
        let of = |path: &Path, error: &dyn std::fmt::Display| invalid(format!("{}: {error}", path.display()));
        let chain =
            CertificateDer::pem_slice_iter(chain).collect::<Result<Vec<_>, _>>().map_err(|error| of(certificate, &error))?;
        if chain.is_empty() {
            return Err(of(certificate, &"no certificate in it"));
        }
        let end_point = chain.first().and_then(|certificate| binding::end_point(certificate));
        let secret = PrivateKeyDer::from_pem_slice(secret).map_err(|error| of(key, &error))?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(invalid)?
            .with_no_client_auth()
            .with_single_cert(chain, secret)
            .map_err(|error| of(key, &error))?;
        config.alpn_protocols = PROTOCOLS.iter().map(|name| name.to_vec()).collect();
        // Tickets keep the state with the client; a cache of sessions would keep it here.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = ring::Ticketer::new().map_err(invalid)?;
        Ok(ServerTls { config: Arc::new(config), end_point })
    }

    /// The same for browsers: by ALPN they may ask for HTTP/1.1, and for nothing else.
    pub fn for_web(&self) -> ServerTls {
        let mut config = ServerConfig::clone(&self.config);
        config.alpn_protocols = WEB_PROTOCOLS.iter().map(|name| name.to_vec()).collect();
        ServerTls { config: Arc::new(config), end_point: self.end_point.clone() }
    }

    /// Loads the self-signed pair in `dir` (`cert.pem`, `key.pem`), making what is not there (key 0600).
    pub fn self_signed(dir: &Path, hostname: &str) -> io::Result<ServerTls> {
        let (certificate, key) = certificate::ensure(dir, hostname)?;
        ServerTls::load(&certificate, &key)
    }

    /// The same, but clients can't resume sessions by tickets (RFC 8446 §2.2, RFC 5077): every handshake is a full one.
    /// Some Outlook servers abort on tickets.
    pub fn without_tickets(&self) -> ServerTls {
        let mut config = ServerConfig::clone(&self.config);
        config.ticketer = Arc::new(NoTickets);
        config.send_tls13_tickets = 0;
        ServerTls { config: Arc::new(config), end_point: self.end_point.clone() }
    }
}

/// Makes no tickets, takes none.
#[derive(Debug)]
struct NoTickets;

impl ProducesTickets for NoTickets {
    fn enabled(&self) -> bool {
        false
    }

    fn lifetime(&self) -> u32 {
        0
    }

    fn encrypt(&self, _plain: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn decrypt(&self, _cipher: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

/// The client's side.
#[derive(Debug, Clone)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    /// The name to call the server by, if it is not the one it was found by.
    name: Option<String>,
    /// What was wrong with its certificate, if that is only noted.
    objection: Arc<OnceLock<String>>,
}

impl ClientTls {
    /// Encrypts, checks nobody's certificate: opportunistic (RFC 7435).
    pub fn opportunistic() -> ClientTls {
        ClientTls::judging(Judge::Nobody)
    }

    /// Talks only to who has a certificate that the TLSA records mean; `also`: names of it that are right beside their base
    /// domain, by which it is called. `None`: none of the records can be used.
    pub fn dane(records: &TlsaSet, also: &[String]) -> Option<ClientTls> {
        let tls = ClientTls::judging(Judge::Dane(Dane::new(records, also)?));
        Some(ClientTls { name: Some(records.base.clone()), ..tls })
    }

    /// Talks only to who has a certificate for the name he is called by, from an authority in the file (PEM), or from one
    /// that the system trusts.
    pub fn verifying(authorities: Option<&Path>) -> io::Result<ClientTls> {
        Ok(ClientTls::of(builder().with_root_certificates(roots(authorities)?).with_no_client_auth()))
    }

    /// For one handshake with a host whose certificate should do as with [`ClientTls::verifying`], but need not: see
    /// [`ClientTls::objection`].
    pub fn noting(authorities: Option<&Path>) -> io::Result<ClientTls> {
        let verifier = WebPkiServerVerifier::builder_with_provider(roots(authorities)?, provider()).build().map_err(invalid)?;
        let objection = Arc::default();
        let tls = ClientTls::judging(Judge::Noting(verifier, Arc::clone(&objection)));
        Ok(ClientTls { objection, ..tls })
    }

    /// Why the certificate of the host would not have done.
    pub fn objection(&self) -> Option<&str> {
        self.objection.get().map(String::as_str)
    }

    fn judging(judge: Judge) -> ClientTls {
        let verifier = Verifier { provider: provider(), judge };
        ClientTls::of(builder().dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth())
    }

    fn of(mut config: ClientConfig) -> ClientTls {
        config.resumption = Resumption::disabled();
        ClientTls { config: Arc::new(config), name: None, objection: Arc::default() }
    }
}

/// The authorities in a file (PEM), or those that the system trusts.
fn roots(authorities: Option<&Path>) -> io::Result<Arc<RootCertStore>> {
    /// To read them takes longer than a handshake.
    static SYSTEM: Mutex<Option<(Instant, Arc<RootCertStore>)>> = Mutex::new(None);
    let Some(path) = authorities else {
        let mut known = SYSTEM.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, roots)) = known.as_ref().filter(|(read, _)| read.elapsed() < AUTHORITIES_HOLD) {
            return Ok(roots.clone());
        }
        let roots = store(rustls_native_certs::load_native_certs().certs, "the system's store")?;
        *known = Some((Instant::now(), roots.clone()));
        return Ok(roots);
    };
    let found = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| invalid(format!("{}: {error}", path.display())))?;
    store(found, &path.display().to_string())
}

/// Of these authorities; `place` is where they are from.
fn store(authorities: Vec<CertificateDer<'static>>, place: &str) -> io::Result<Arc<RootCertStore>> {
    let mut roots = RootCertStore::empty();
    if roots.add_parsable_certificates(authorities).0 == 0 {
        return Err(invalid(format!("{place}: no certificate of an authority in it")));
    }
    Ok(Arc::new(roots))
}

fn builder() -> ConfigBuilder<ClientConfig, WantsVerifier> {
    match ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions() {
        Ok(builder) => builder,
        Err(error) => unreachable!("the ring provider has suites for TLS 1.2 and 1.3: {error}"),
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn invalid(error: impl ToString) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error.to_string())
}

/// Who says whether a certificate will do.
#[derive(Debug)]
enum Judge {
    /// Any will.
    Nobody,
    Dane(Dane),
    /// Any will; whether the authorities vouch for it is noted.
    Noting(Arc<WebPkiServerVerifier>, Arc<OnceLock<String>>),
}

/// Certificates that no authority vouches for; that the peer has its key is checked in any case.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    judge: Judge,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        sent: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match &self.judge {
            Judge::Nobody => {}
            Judge::Dane(dane) => dane.check(certificate, sent, now, &self.provider.signature_verification_algorithms)?,
            Judge::Noting(authorities, objection) => {
                if let Err(error) = authorities.verify_server_cert(certificate, sent, name, ocsp, now) {
                    let _ = objection.set(error.to_string());
                }
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// One encrypted connection, over a wire that it is lent for each act.
#[derive(Debug)]
pub(super) struct Session {
    connection: rustls::Connection,
    info: TlsInfo,
    /// Decrypted bytes that nobody has read yet.
    ready: usize,
}

impl Session {
    /// The server's handshake.
    pub(super) fn accept(tls: &ServerTls, wire: &mut (impl Read + Write)) -> io::Result<Session> {
        let connection = ServerConnection::new(tls.config.clone()).map_err(invalid)?;
        let mut session = Session::begin(connection.into(), wire)?;
        session.info.bindings = session.bindings(tls);
        Ok(session)
    }

    /// What a login can be bound to. Only of TLS 1.3: before it that takes an extended master secret (RFC 7677 §4).
    fn bindings(&self, tls: &ServerTls) -> Vec<(&'static str, Vec<u8>)> {
        if self.connection.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
            return Vec::new();
        }
        let exporter = binding::exporter(&self.connection).map(|data| ("tls-exporter", data));
        let end_point = tls.end_point.clone().map(|data| ("tls-server-end-point", data));
        exporter.into_iter().chain(end_point).collect()
    }

    /// The client's handshake. `name` is told to the server (SNI) if it is a host name.
    pub(super) fn connect(tls: &ClientTls, name: &str, wire: &mut (impl Read + Write)) -> io::Result<Session> {
        let name = tls.name.as_deref().unwrap_or(name);
        let name = name.strip_suffix('.').unwrap_or(name);
        // For an address no name is sent, so any address stands for "no name".
        let name =
            ServerName::try_from(name.to_owned()).unwrap_or(ServerName::IpAddress(IpAddr::V4(Ipv4Addr::UNSPECIFIED).into()));
        let connection = ClientConnection::new(tls.config.clone(), name).map_err(invalid)?;
        Session::begin(connection.into(), wire)
    }

    fn begin(connection: rustls::Connection, wire: &mut (impl Read + Write)) -> io::Result<Session> {
        let info = TlsInfo { version: String::new(), cipher: String::new(), sni: None, bindings: Vec::new() };
        let mut session = Session { connection, info, ready: 0 };
        while session.connection.is_handshaking() {
            session.send(wire)?;
            if session.connection.is_handshaking() && session.take_in(wire)? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        session.send(wire)?;
        session.info = info_of(&session.connection);
        Ok(session)
    }

    pub(super) fn info(&self) -> &TlsInfo {
        &self.info
    }

    /// Are there decrypted bytes?
    pub(super) fn has_plaintext(&self) -> bool {
        self.ready > 0
    }

    /// Reads decrypted bytes, from the wire only if there are none yet; 0 at the end. A connection that ends without
    /// close_notify ends no less: each protocol here says for itself when a message is whole.
    pub(super) fn read(&mut self, wire: &mut (impl Read + Write), buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.connection.reader().read(buffer) {
                Ok(read) => {
                    self.ready = self.ready.saturating_sub(read);
                    return Ok(read);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                Err(error) => return Err(error),
            }
            self.take_in(wire)?;
        }
    }

    /// Reads once from the wire and decrypts what is whole. Gives the bytes read, 0 at the end.
    pub(super) fn take_in(&mut self, wire: &mut (impl Read + Write)) -> io::Result<usize> {
        let read = self.connection.read_tls(wire)?;
        match self.connection.process_new_packets() {
            Ok(state) => {
                self.ready = state.plaintext_bytes_to_read();
                // Answers of TLS itself: key updates, alerts.
                if !self.connection.is_handshaking() {
                    self.send(wire)?;
                }
                Ok(read)
            }
            Err(error) => {
                // The alert tells the peer why; that it can't be sent does not matter any more.
                let _ = self.send(wire);
                Err(invalid(error))
            }
        }
    }

    /// Encrypts and writes all of it.
    pub(super) fn write(&mut self, wire: &mut (impl Read + Write), bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = self.connection.writer().write(rest)?;
            rest = rest.get(taken..).unwrap_or_default();
            self.send(wire)?;
        }
        Ok(())
    }

    /// Sends close_notify, if the handshake came to an end.
    pub(super) fn say_goodbye(&mut self, wire: &mut (impl Read + Write)) {
        self.connection.send_close_notify();
        let _ = self.send(wire);
    }

    /// Writes what TLS wants to have written.
    fn send(&mut self, wire: &mut impl Write) -> io::Result<()> {
        while self.connection.wants_write() {
            if self.connection.write_tls(wire)? == 0 {
                return Err(ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }
}

fn info_of(connection: &rustls::Connection) -> TlsInfo {
    let version = match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2".to_owned(),
        Some(ProtocolVersion::TLSv1_3) => "TLSv1.3".to_owned(),
        other => format!("{other:?}"),
    };
    let cipher = connection
        .negotiated_cipher_suite()
        .and_then(|suite| suite.suite().as_str())
        .map(|name| name.replacen("TLS13_", "TLS_", 1))
        .unwrap_or_default();
    let sni = match connection {
        rustls::Connection::Server(server) => server.server_name().map(str::to_owned),
        rustls::Connection::Client(_) => None,
    };
    TlsInfo { version, cipher, sni, bindings: Vec::new() }
}
