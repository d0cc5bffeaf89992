//! A mail host that may have a certificate, and knows what came by which kind of line.

use crate::common::Listening;
use pillarbox::net::tls::ServerTls;
use pillarbox::net::{Connection, Line};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub struct Host {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    _listening: Listening,
}

#[derive(Default)]
struct Shared {
    tls: Mutex<Option<ServerTls>>,
    /// What it says behind its 220 of STARTTLS, in plaintext.
    injected: Mutex<&'static str>,
    /// It offers REQUIRETLS under TLS.
    keeps_secrets: Mutex<bool>,
    /// What MAIL said.
    mails: Mutex<Vec<String>>,
    /// The name it was called by, for each message; none: not encrypted.
    given: Mutex<Vec<Option<String>>>,
}

impl Host {
    /// Without a certificate it offers no encryption.
    pub fn start(address: SocketAddr, tls: Option<ServerTls>) -> Host {
        let listener = TcpListener::bind(address).unwrap();
        let shared = Arc::new(Shared { tls: Mutex::new(tls), ..Shared::default() });
        let ours = shared.clone();
        let listening = Listening::on(listener, move |stream| ours.session(Connection::from_tcp(stream).ok()?));
        Host { address, shared, _listening: listening }
    }

    /// Has another certificate from now on, or none.
    pub fn change(&self, tls: Option<ServerTls>) {
        *self.shared.tls.lock().unwrap() = tls;
    }

    /// Says that behind its 220 of STARTTLS, as somebody on the way could.
    pub fn inject(&self, replies: &'static str) {
        *self.shared.injected.lock().unwrap() = replies;
    }

    /// Offers REQUIRETLS, where that may be said.
    pub fn keep_secrets(&self) {
        *self.shared.keeps_secrets.lock().unwrap() = true;
    }

    /// All MAIL commands so far.
    pub fn mails(&self) -> Vec<String> {
        self.shared.mails.lock().unwrap().clone()
    }

    /// For each message so far the name by which it was called; `None`: it came in plaintext.
    pub fn given(&self) -> Vec<Option<String>> {
        self.shared.given.lock().unwrap().clone()
    }
}

impl Shared {
    fn session(&self, mut connection: Connection) -> Option<()> {
        connection.set_timeout(Duration::from_secs(60));
        connection.put(b"220 host.test ESMTP\r\n").ok()?;
        let tls = self.tls.lock().unwrap().clone();
        let mut line = Vec::new();
        while let Line::Whole = connection.read_line(1000, &mut line).ok()? {
            let offers = tls.is_some() && connection.tls().is_none();
            let reply = match line.get(..4)? {
                b"EHLO" if offers => "250-host.test\r\n250 STARTTLS\r\n",
                b"EHLO" if *self.keeps_secrets.lock().unwrap() && connection.tls().is_some() => {
                    "250-host.test\r\n250 REQUIRETLS\r\n"
                }
                b"MAIL" => {
                    self.mails.lock().unwrap().push(String::from_utf8_lossy(&line).into_owned());
                    "250 ok\r\n"
                }
                b"STAR" if offers => {
                    connection.put(format!("220 go\r\n{}", *self.injected.lock().unwrap()).as_bytes()).ok()?;
                    connection.accept_tls(tls.as_ref()?).ok()?;
                    continue;
                }
                b"DATA" => {
                    connection.put(b"354 go\r\n").ok()?;
                    connection.read_dots(1 << 20, &mut std::io::sink()).ok()?;
                    let name = connection.tls().map(|tls| tls.sni.clone().unwrap_or_default());
                    self.given.lock().unwrap().push(name);
                    "250 taken\r\n"
                }
                _ => "250 ok\r\n",
            };
            connection.put(reply.as_bytes()).ok()?;
        }
        Some(())
    }
}
