//! TLS against other configurations than ours, in memory.

use super::*;
use proptest::prelude::*;
use std::collections::VecDeque;

fn server_tls() -> ServerTls {
    static TLS: OnceLock<ServerTls> = OnceLock::new();
    let make = || {
        let dir = tempfile::tempdir().unwrap();
        ServerTls::self_signed(dir.path(), "mail.example.org").unwrap()
    };
    TLS.get_or_init(make).clone()
}

/// A wire whose other end is a rustls client that answers at once.
struct Loop {
    client: rustls::Connection,
    to_server: VecDeque<u8>,
}

impl Loop {
    fn new(config: &Arc<ClientConfig>) -> Loop {
        let name = ServerName::try_from("mail.example.org").unwrap();
        Loop { client: ClientConnection::new(config.clone(), name).unwrap().into(), to_server: VecDeque::new() }
    }

    fn say(&mut self, text: &[u8]) {
        self.client.writer().write_all(text).unwrap();
    }
}

impl Read for Loop {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.client.wants_write() {
            self.client.write_tls(&mut self.to_server)?;
        }
        self.to_server.read(buffer)
    }
}

impl Write for Loop {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut rest = bytes;
        while !rest.is_empty() {
            self.client.read_tls(&mut rest)?;
            self.client.process_new_packets().map_err(invalid)?;
        }
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn client(change: impl FnOnce(&mut ClientConfig)) -> Arc<ClientConfig> {
    let mut config = ClientConfig::clone(&ClientTls::opportunistic().config);
    change(&mut config);
    Arc::new(config)
}

fn client_of_version(version: &'static rustls::SupportedProtocolVersion) -> Arc<ClientConfig> {
    let provider = provider();
    let verifier = Arc::new(Verifier { provider: provider.clone(), judge: Judge::Nobody });
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
    Arc::new(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

#[test]
fn both_versions() {
    for (version, name, cipher) in
        [(&rustls::version::TLS12, "TLSv1.2", "TLS_ECDHE_ECDSA_"), (&rustls::version::TLS13, "TLSv1.3", "TLS_AES_")]
    {
        let mut wire = Loop::new(&client_of_version(version));
        let mut session = Session::accept(&server_tls(), &mut wire).unwrap();
        assert_eq!(session.info().version, name);
        assert!(session.info().cipher.starts_with(cipher), "{}", session.info().cipher);
        assert_eq!(session.info().sni.as_deref(), Some("mail.example.org"));
        wire.say(b"EHLO x\r\n");
        let mut buffer = [0; 5];
        assert_eq!(session.read(&mut wire, &mut buffer).unwrap(), 5);
        assert!(session.has_plaintext());
        assert_eq!(session.read(&mut wire, &mut buffer).unwrap(), 3);
        assert!(!session.has_plaintext());
        wire.client.send_close_notify();
        assert_eq!(session.read(&mut wire, &mut buffer).unwrap(), 0);
    }
}

#[test]
fn sessions_are_resumed_only_by_tickets_that_we_give() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for (tls, resumes) in [(server_tls(), true), (server_tls().without_tickets(), false)] {
            let config = client_of_version(version);
            let kinds: Vec<_> = (0..2)
                .map(|_| {
                    let mut wire = Loop::new(&config);
                    let mut session = Session::accept(&tls, &mut wire).unwrap();
                    session.write(&mut wire, b"220\r\n").unwrap();
                    wire.client.handshake_kind()
                })
                .collect();
            assert_eq!(kinds[0], Some(rustls::HandshakeKind::Full));
            assert_eq!(kinds[1] == Some(rustls::HandshakeKind::Resumed), resumes, "{version:?}");
        }
    }
}

/// A browser that was sent to our port turns away (ALPACA).
#[test]
fn another_protocol_is_turned_away() {
    let tls = server_tls();
    let offer_to = |tls: &ServerTls, names: &[&[u8]]| {
        let config = client(|config| config.alpn_protocols = names.iter().map(|name| name.to_vec()).collect());
        Session::accept(tls, &mut Loop::new(&config))
    };
    let offer = |names: &[&[u8]]| offer_to(&tls, names);
    assert!(offer(&[b"h2", b"http/1.1"]).is_err());
    assert!(offer(&[b"pop3"]).is_ok());
    assert!(offer(&[]).is_ok());
    let web = tls.for_web();
    assert!(offer_to(&web, &[b"h2", b"http/1.1"]).is_ok() && offer_to(&web, &[]).is_ok());
    assert!(offer_to(&web, &[b"imap"]).is_err());
}

#[test]
fn names_that_are_none_are_not_told() {
    for name in ["", "192.0.2.1", "2001:db8::1", "no name", "-x-", &"a".repeat(300)] {
        let mut sink = Sink(VecDeque::new());
        // There is no answer, but it gets as far as saying hello.
        assert_eq!(Session::connect(&ClientTls::opportunistic(), name, &mut sink).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }
}

/// A wire that says what it was given, whatever is said to it.
struct Sink(VecDeque<u8>);

impl Read for Sink {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn client_hello() -> Vec<u8> {
    let mut wire = Loop::new(&ClientTls::opportunistic().config);
    let mut hello = vec![0; 4096];
    let size = wire.read(&mut hello).unwrap();
    hello.truncate(size);
    hello
}

proptest! {
    #[test]
    fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..300), hello in any::<bool>(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4)) {
        let mut input = if hello { client_hello() } else { Vec::new() };
        input.extend_from_slice(&bytes);
        if !input.is_empty() {
            for (at, byte) in changes {
                let at = at.index(input.len());
                input[at] = byte;
            }
        }
        let accepted = Session::accept(&server_tls(), &mut Sink(input.clone().into()));
        prop_assert!(accepted.is_err());
        let connected = Session::connect(&ClientTls::opportunistic(), "x.example", &mut Sink(input.into()));
        prop_assert!(connected.is_err());
    }
}
