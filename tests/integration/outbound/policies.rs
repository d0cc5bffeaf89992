//! A host that hands out a policy by HTTPS, or something else.

use crate::common::Listening;
use pillarbox::net::tls::ServerTls;
use pillarbox::net::{Connection, Line};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub struct PolicyHost {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    _listening: Listening,
}

struct Shared {
    tls: ServerTls,
    /// All that it says; empty: it says nothing, and does not close.
    answer: String,
    /// What it was asked for, and of which host.
    asked: Mutex<Vec<String>>,
}

/// A whole answer.
pub fn answer(status: &str, kind: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// One with a policy that holds for a day.
pub fn policy(mode: &str, mx: &[&str]) -> String {
    let names: String = mx.iter().map(|name| format!("mx: {name}\r\n")).collect();
    answer("200 OK", "text/plain; charset=us-ascii", &format!("version: STSv1\r\nmode: {mode}\r\n{names}max_age: 86400\r\n"))
}

impl PolicyHost {
    pub fn start(address: SocketAddr, tls: ServerTls, answer: String) -> PolicyHost {
        let listener = TcpListener::bind(address).unwrap();
        let shared = Arc::new(Shared { tls, answer, asked: Mutex::default() });
        let ours = shared.clone();
        let listening = Listening::on(listener, move |stream| ours.session(Connection::from_tcp(stream).ok()?));
        PolicyHost { address, shared, _listening: listening }
    }

    /// Paths so far, each with the name by which the host was called.
    pub fn asked(&self) -> Vec<String> {
        self.shared.asked.lock().unwrap().clone()
    }
}

impl Shared {
    fn session(&self, mut connection: Connection) -> Option<()> {
        connection.set_timeout(Duration::from_secs(60));
        connection.accept_tls(&self.tls).ok()?;
        let (mut line, mut first) = (Vec::new(), None);
        while let Line::Whole = connection.read_line(1000, &mut line).ok()? {
            if line.is_empty() {
                break;
            }
            first.get_or_insert(String::from_utf8_lossy(&line).into_owned());
        }
        let name = connection.tls()?.sni.clone().unwrap_or_default();
        self.asked.lock().unwrap().push(format!("{name} {}", first?.split(' ').nth(1)?));
        if self.answer.is_empty() {
            // Until the other side closes.
            return connection.read_line(1000, &mut line).ok().map(drop);
        }
        connection.put(self.answer.as_bytes()).ok()?;
        connection.flush().ok()
    }
}
