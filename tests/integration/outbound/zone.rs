//! A name server whose answers a test can change, and that says, as a validating one does, which of them DNSSEC vouches for.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;

pub const A: u16 = 1;
pub const CNAME: u16 = 5;
pub const MX: u16 = 15;
pub const TXT: u16 = 16;
pub const TLSA: u16 = 52;

const SERVFAIL: u8 = 2;

/// What it says of a name and a kind of record.
#[derive(Clone)]
enum Says {
    /// These, and whether they are secure.
    Records(Vec<Vec<u8>>, bool),
    Fails,
}

type Known = Mutex<HashMap<(String, u16), Says>>;

/// Nothing it says is to be remembered. What it does not know exists not. It ends with the process.
pub struct Zone {
    pub address: SocketAddr,
    known: Arc<Known>,
}

impl Zone {
    pub fn start() -> Zone {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let zone = Zone { address: socket.local_addr().unwrap(), known: Arc::default() };
        let known = zone.known.clone();
        thread::spawn(move || {
            let mut query = [0; 1500];
            while let Ok((size, from)) = socket.recv_from(&mut query) {
                let _ = socket.send_to(&answer(&query[..size], &known), from);
            }
        });
        zone
    }

    /// Another record.
    pub fn add(&self, name: &str, kind: u16, secure: bool, data: Vec<u8>) {
        let mut known = self.known.lock().unwrap();
        match known.entry((name.to_owned(), kind)).or_insert(Says::Records(Vec::new(), secure)) {
            Says::Records(all, _) => all.push(data),
            Says::Fails => panic!("{name} fails"),
        }
    }

    /// Takes all of a kind away.
    pub fn remove(&self, name: &str, kind: u16) {
        self.known.lock().unwrap().remove(&(name.to_owned(), kind));
    }

    /// As a validating server does when signatures do not fit.
    pub fn fail(&self, name: &str, kind: u16) {
        self.known.lock().unwrap().insert((name.to_owned(), kind), Says::Fails);
    }

    /// DNSSEC vouches for a domain and its host after all.
    pub fn secure(&self, domain: &str, host: &str) {
        let mut known = self.known.lock().unwrap();
        for key in [(domain.to_owned(), MX), (host.to_owned(), A)] {
            if let Some(Says::Records(_, secure)) = known.get_mut(&key) {
                *secure = true;
            }
        }
    }

    pub fn mx(&self, domain: &str, preference: u16, host: &str, secure: bool) {
        self.add(domain, MX, secure, [&preference.to_be_bytes()[..], &wire(host)].concat());
    }

    pub fn host(&self, name: &str, address: SocketAddr, secure: bool) {
        let SocketAddr::V4(address) = address else { panic!("{address}") };
        self.add(name, A, secure, address.ip().octets().to_vec());
    }

    pub fn text(&self, name: &str, text: &str) {
        // A string has 255 bytes at most, a record several strings.
        let strings = text.as_bytes().chunks(20).flat_map(|part| [&[part.len() as u8], part].concat());
        self.add(name, TXT, false, strings.collect());
    }

    pub fn alias(&self, name: &str, target: &str, secure: bool) {
        self.add(name, CNAME, secure, wire(target));
    }
}

fn wire(name: &str) -> Vec<u8> {
    let labels = name.split('.').flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat());
    labels.chain([0]).collect()
}

fn answer(query: &[u8], known: &Known) -> Vec<u8> {
    let (mut at, mut labels) = (12, Vec::new());
    while query[at] != 0 {
        let length = usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..][..length]).to_ascii_lowercase());
        at += 1 + length;
    }
    let kind = u16::from_be_bytes([query[at + 1], query[at + 2]]);
    let question = &query[12..at + 5];
    let known = known.lock().unwrap();
    let name = labels.join(".");
    let found = [kind, CNAME].into_iter().find_map(|kind| Some((kind, known.get(&(name.clone(), kind))?.clone())));
    let (rcode, secure, kind, records) = match found {
        Some((kind, Says::Records(records, secure))) => (0, secure, kind, records),
        Some((kind, Says::Fails)) => (SERVFAIL, false, kind, Vec::new()),
        None => (0, false, kind, Vec::new()),
    };
    let mut bytes =
        [&query[..2], &[0x81, 0x80 | u8::from(secure) << 5 | rcode, 0, 1, 0, records.len() as u8, 0, 0, 0, 0]].concat();
    bytes.extend(question);
    for data in records {
        // The question's name, class IN, no time to live.
        bytes.extend([0xc0, 12]);
        bytes.extend(kind.to_be_bytes());
        bytes.extend([0, 1, 0, 0, 0, 0]);
        bytes.extend((data.len() as u16).to_be_bytes());
        bytes.extend(data);
    }
    bytes
}
