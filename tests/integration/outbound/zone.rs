//! A name server whose answers a test can change, and that says, as a validating one does, which of them DNSSEC vouches for.
//! What does not fit into a datagram it tells by TCP.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;

pub const A: u16 = 1;
pub const CNAME: u16 = 5;
pub const MX: u16 = 15;
pub const TXT: u16 = 16;
pub const TLSA: u16 = 52;

pub const SERVFAIL: u8 = 2;
pub const NXDOMAIN: u8 = 3;

/// The longest datagram it sends.
const UDP_SIZE: usize = 1232;

/// What it says of a name and a kind of record.
#[derive(Clone)]
enum Says {
    /// These, and whether they are secure.
    Records(Vec<Vec<u8>>, bool),
    Wrong(Wrong),
}

/// What may be wrong with an answer.
#[derive(Clone)]
pub enum Wrong {
    /// It is no more than this code.
    Code(u8),
    /// There is none.
    Silent,
    /// It is cut (RFC 1035 §4.1.1), by TCP too.
    Cut,
    /// It holds this, as an answer to another question.
    Question(Vec<u8>),
    /// It holds this, as a record of another name.
    Owner(Vec<u8>),
}

type Known = Mutex<HashMap<(String, u16), Says>>;

/// Nothing it says is to be remembered. Of what it does not know there are no records. It ends with the process.
pub struct Zone {
    pub address: SocketAddr,
    known: Arc<Known>,
}

impl Zone {
    pub fn start() -> Zone {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
                break (udp, tcp);
            }
        };
        let zone = Zone { address: udp.local_addr().unwrap(), known: Arc::default() };
        let (known, by_tcp) = (zone.known.clone(), zone.known.clone());
        thread::spawn(move || {
            let mut query = [0; 1500];
            while let Ok((size, from)) = udp.recv_from(&mut query) {
                let Some(mut bytes) = answer(&query[..size], &known) else { continue };
                if bytes.len() > UDP_SIZE {
                    // Cut (RFC 1035 §4.1.1): the question alone.
                    bytes.truncate(question_end(&bytes));
                    bytes[2] |= 2;
                    bytes[6..8].fill(0);
                }
                let _ = udp.send_to(&bytes, from);
            }
        });
        thread::spawn(move || tcp.incoming().flatten().for_each(|stream| drop(serve(stream, &by_tcp))));
        zone
    }

    /// Another record.
    pub fn add(&self, name: &str, kind: u16, secure: bool, data: Vec<u8>) {
        let mut known = self.known.lock().unwrap();
        match known.entry((name.to_owned(), kind)).or_insert(Says::Records(Vec::new(), secure)) {
            Says::Records(all, _) => all.push(data),
            Says::Wrong(_) => panic!("{name} is wrong"),
        }
    }

    /// Takes all of a kind away.
    pub fn remove(&self, name: &str, kind: u16) {
        self.known.lock().unwrap().remove(&(name.to_owned(), kind));
    }

    /// As a validating server does when signatures do not fit.
    pub fn fail(&self, name: &str, kind: u16) {
        self.wrong(name, kind, Wrong::Code(SERVFAIL));
    }

    /// Something is wrong with what it says.
    pub fn wrong(&self, name: &str, kind: u16, how: Wrong) {
        self.known.lock().unwrap().insert((name.to_owned(), kind), Says::Wrong(how));
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
        self.add(domain, MX, secure, exchange(preference, host));
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

/// What an MX record holds.
pub fn exchange(preference: u16, host: &str) -> Vec<u8> {
    [&preference.to_be_bytes()[..], &wire(host)].concat()
}

fn wire(name: &str) -> Vec<u8> {
    let labels = name.split('.').filter(|label| !label.is_empty());
    let labels = labels.flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat());
    labels.chain([0]).collect()
}

/// One question by TCP (RFC 1035 §4.2.2).
fn serve(mut stream: TcpStream, known: &Known) -> io::Result<()> {
    let mut size = [0; 2];
    stream.read_exact(&mut size)?;
    let mut query = vec![0; u16::from_be_bytes(size).into()];
    stream.read_exact(&mut query)?;
    let bytes = answer(&query, known).unwrap_or_default();
    stream.write_all(&[&u16::try_from(bytes.len()).unwrap().to_be_bytes(), &bytes[..]].concat())
}

/// Where the only question of a message ends.
fn question_end(message: &[u8]) -> usize {
    let mut at = 12;
    while message[at] != 0 {
        at += 1 + usize::from(message[at]);
    }
    at + 5
}

fn answer(query: &[u8], known: &Known) -> Option<Vec<u8>> {
    let end = question_end(query);
    let (mut at, mut labels) = (12, Vec::new());
    while query[at] != 0 {
        let length = usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..][..length]).to_ascii_lowercase());
        at += 1 + length;
    }
    let kind = u16::from_be_bytes([query[end - 4], query[end - 3]]);
    let known = known.lock().unwrap();
    let name = labels.join(".");
    let found = [kind, CNAME].into_iter().find_map(|kind| Some((kind, known.get(&(name.clone(), kind))?.clone())));
    let (kind, says) = found.unwrap_or((kind, Says::Records(Vec::new(), false)));
    let (mut code, mut secure, mut cut, mut question) = (0, false, 0, query[12..end].to_vec());
    // The question's name.
    let mut owner = vec![0xc0, 12];
    let records = match says {
        Says::Records(records, vouched) => {
            secure = vouched;
            records
        }
        Says::Wrong(Wrong::Code(other)) => {
            code = other;
            Vec::new()
        }
        Says::Wrong(Wrong::Silent) => return None,
        Says::Wrong(Wrong::Cut) => {
            cut = 2;
            Vec::new()
        }
        Says::Wrong(Wrong::Question(record)) => {
            question = [&wire("other.test"), &query[end - 4..end]].concat();
            vec![record]
        }
        Says::Wrong(Wrong::Owner(record)) => {
            owner = wire("other.test");
            vec![record]
        }
    };
    let mut bytes = [&query[..2], &[0x81 | cut, 0x80 | u8::from(secure) << 5 | code, 0, 1]].concat();
    bytes.extend(u16::try_from(records.len()).unwrap().to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend(question);
    for data in records {
        // Class IN, no time to live.
        bytes.extend(&owner);
        bytes.extend(kind.to_be_bytes());
        bytes.extend([0, 1, 0, 0, 0, 0]);
        bytes.extend((data.len() as u16).to_be_bytes());
        bytes.extend(data);
    }
    Some(bytes)
}
