//! The host at the other end: takes mail by SMTP and remembers it, or answers as a test wants.

use super::listening::Listening;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What came in one transaction.
#[derive(Clone, Debug)]
pub struct Arrived {
    /// The argument of MAIL, with its parameters.
    pub from: String,
    /// Those of RCPT.
    pub to: Vec<String>,
    /// In wire form, unstuffed.
    pub message: Vec<u8>,
}

/// What to answer to a line; `None`: as a friendly host does.
type Policy = dyn Fn(&str) -> Option<String> + Send + Sync;

/// A host of its own on a loopback port.
pub struct Sink {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    _listening: Listening,
}

struct Shared {
    policy: Mutex<Arc<Policy>>,
    arrived: Mutex<Vec<Arrived>>,
    seen: Mutex<Vec<String>>,
}

impl Sink {
    /// A friendly host.
    pub fn start() -> Sink {
        Sink::with(|_| None)
    }

    /// A host that answers by `policy`, which sees `CONNECT` first, then each command line, and `.` for a message.
    pub fn with(policy: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Sink {
        Sink::at(SocketAddr::from(([127, 0, 0, 1], 0)), policy)
    }

    /// The same, at an address.
    pub fn at(address: SocketAddr, policy: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Sink {
        let listener = TcpListener::bind(address).unwrap();
        let shared = Arc::new(Shared { policy: Mutex::new(Arc::new(policy)), arrived: Mutex::default(), seen: Mutex::default() });
        let ours = shared.clone();
        let listening = Listening::on(listener, move |stream| ours.session(stream));
        Sink { address: listening.address, shared, _listening: listening }
    }

    /// Answers differently from now on.
    pub fn change(&self, policy: impl Fn(&str) -> Option<String> + Send + Sync + 'static) {
        *self.shared.policy.lock().unwrap() = Arc::new(policy);
    }

    /// All that came so far.
    pub fn arrived(&self) -> Vec<Arrived> {
        self.shared.arrived.lock().unwrap().clone()
    }

    /// How many came so far.
    pub fn count(&self) -> usize {
        self.shared.arrived.lock().unwrap().len()
    }

    /// All command lines so far, `CONNECT` for each connection.
    pub fn seen(&self) -> Vec<String> {
        self.shared.seen.lock().unwrap().clone()
    }
}

impl Shared {
    fn answer(&self, line: &str, usual: &str) -> String {
        self.seen.lock().unwrap().push(line.to_owned());
        let policy = self.policy.lock().unwrap().clone();
        policy(line).unwrap_or_else(|| usual.to_owned())
    }

    fn session(&self, stream: TcpStream) -> Option<()> {
        stream.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
        // Replies to commands that came together would wait for each other.
        stream.set_nodelay(true).ok()?;
        let mut out = stream.try_clone().ok()?;
        let mut input = BufReader::new(stream);
        let mut say = move |text: String| -> Option<bool> {
            out.write_all(format!("{text}\r\n").as_bytes()).ok()?;
            Some(text.starts_with(['2', '3']))
        };
        let (mut from, mut to) = (String::new(), Vec::new());
        if !say(self.answer("CONNECT", "220 sink.test ESMTP"))? {
            return None;
        }
        loop {
            let mut line = String::new();
            if input.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim_end();
            let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
            let usual = match verb.as_str() {
                "EHLO" => "250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE",
                "DATA" if to.is_empty() => "503 no recipients",
                "DATA" => "354 go",
                "QUIT" => "221 bye",
                _ => "250 ok",
            };
            let fine = say(self.answer(line, usual))?;
            match verb.as_str() {
                "MAIL" => (from, to) = (line.get(10..)?.to_owned(), Vec::new()),
                "RCPT" if fine => to.push(line.get(8..)?.to_owned()),
                "DATA" if fine => {
                    let message = read_message(&mut input).ok()?;
                    let answer = self.answer(".", "250 taken");
                    // Before its sender knows: what that leads to may be looked for at once.
                    if answer.starts_with('2') {
                        let to = std::mem::take(&mut to);
                        self.arrived.lock().unwrap().push(Arrived { from: from.clone(), to, message });
                    }
                    say(answer)?;
                }
                "QUIT" => return Some(()),
                _ => {}
            }
        }
    }
}

fn read_message(input: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let at = all.len();
        if input.read_until(b'\n', &mut all)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if &all[at..] == b".\r\n" {
            all.truncate(at);
            return Ok(all);
        }
        if all[at..].starts_with(b".") {
            all.remove(at);
        }
    }
}
