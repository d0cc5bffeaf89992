//! A host that fails in one way, at one step, until it is mended; then it takes mail like any other.

use crate::common::{Listening, fixed_port, wait_for};
use nix::sys::socket::{setsockopt, sockopt};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Bytes of a big message that it reads before it fails.
pub const PART: usize = 100_000;

/// At which step it fails.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// It does not listen.
    Connect,
    Greeting,
    /// LHLO, where that is spoken.
    Ehlo,
    /// EHLO is refused, and HELO fails.
    Helo,
    Starttls,
    /// STARTTLS is accepted, and what follows fails.
    Handshake,
    Mail,
    /// RCPT for `second`, that is.
    Rcpt,
    Data,
    /// In the middle of the message, which is big then.
    Body,
    /// The reply to the message.
    Dot,
    /// In LMTP, the reply that is for `second`.
    Each,
    Quit,
}

/// How it fails. The texts go out as they are.
#[derive(Copy, Clone, Debug)]
pub enum How {
    /// Says that, and goes on.
    Say(&'static str),
    /// Says that, and closes.
    Leave(&'static str),
    /// Says that, and resets the connection.
    Reset(&'static str),
    /// Says that, and nothing more, until the other side closes.
    Stall(&'static str),
    /// Says nothing, and reads no more for ten seconds.
    Deaf,
    /// Says that, a byte each second.
    Drip(&'static str),
    /// Says that over and over.
    Flood(&'static str),
}

/// What it offers.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Dialect {
    Plain,
    Pipelining,
    Chunking,
    Starttls,
    /// LMTP (RFC 2033): each recipient has a reply of its own to the message.
    Lmtp,
}

impl Dialect {
    fn offer(self) -> &'static str {
        match self {
            Dialect::Plain => "250-sink.test\r\n250-8BITMIME\r\n250 SIZE\r\n",
            Dialect::Pipelining | Dialect::Lmtp => "250-sink.test\r\n250-PIPELINING\r\n250 8BITMIME\r\n",
            Dialect::Chunking => "250-sink.test\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 8BITMIME\r\n",
            Dialect::Starttls => "250-sink.test\r\n250-STARTTLS\r\n250 8BITMIME\r\n",
        }
    }
}

/// A message that came whole, its final dot included.
#[derive(Clone, Debug)]
pub struct Given {
    /// The local parts of its recipients.
    pub to: Vec<String>,
    /// It was told so.
    pub taken: bool,
}

/// See the module.
pub struct Server {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    listening: Option<Listening>,
}

struct Shared {
    failure: (At, How),
    dialect: Dialect,
    failing: AtomicBool,
    connections: Mutex<usize>,
    given: Mutex<Vec<Given>>,
}

impl Server {
    pub fn start(at: At, how: How, dialect: Dialect) -> Server {
        let shared = Shared {
            failure: (at, how),
            dialect,
            failing: AtomicBool::new(true),
            connections: Mutex::default(),
            given: Mutex::default(),
        };
        let mut server = Server { address: SocketAddr::from(([127, 0, 0, 1], 0)), shared: Arc::new(shared), listening: None };
        if at == At::Connect {
            server.address.set_port(fixed_port());
        } else {
            server.listen();
        }
        server
    }

    fn listen(&mut self) {
        let listener = wait_for("a port to listen at", 20, || TcpListener::bind(self.address).ok());
        self.address = listener.local_addr().unwrap();
        if self.shared.failure.0 == At::Body {
            // Else the rest of the message could be on its way before it speaks.
            setsockopt(&listener, sockopt::RcvBuf, &16_384).unwrap();
        }
        let shared = self.shared.clone();
        self.listening = Some(Listening::on(listener, move |stream| shared.session(stream)));
    }

    /// From now on it does what it should.
    pub fn mend(&mut self) {
        if self.shared.failing.swap(false, Ordering::SeqCst) && self.shared.failure.0 == At::Connect {
            self.listen();
        }
    }

    pub fn connections(&self) -> usize {
        *self.shared.connections.lock().unwrap()
    }

    /// All that came.
    pub fn given(&self) -> Vec<Given> {
        self.shared.given.lock().unwrap().clone()
    }
}

/// One conversation.
struct Line<'a> {
    shared: &'a Shared,
    out: TcpStream,
    input: BufReader<TcpStream>,
}

impl Shared {
    fn session(&self, stream: TcpStream) -> Option<()> {
        *self.connections.lock().unwrap() += 1;
        stream.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
        stream.set_nodelay(true).ok()?;
        Line { shared: self, out: stream.try_clone().ok()?, input: BufReader::new(stream) }.talk()
    }

    /// It has no keys: mended, it offers no STARTTLS any more.
    fn offer(&self) -> &'static str {
        match self.dialect {
            Dialect::Starttls if !self.failing.load(Ordering::SeqCst) => Dialect::Plain.offer(),
            dialect => dialect.offer(),
        }
    }

    fn fails(&self, at: At) -> bool {
        self.failing.load(Ordering::SeqCst) && self.failure.0 == at
    }
}

impl Line<'_> {
    fn talk(&mut self) -> Option<()> {
        self.answer(At::Greeting, "220 sink.test ESMTP\r\n")?;
        let (mut begun, mut to) = (false, Vec::new());
        loop {
            let mut line = String::new();
            if self.input.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim_end();
            match line.split([' ', ':']).next().unwrap_or_default() {
                "LHLO" | "EHLO" if (line.starts_with('L')) != (self.shared.dialect == Dialect::Lmtp) => {
                    self.say("500 what?\r\n")?
                }
                "EHLO" if self.shared.fails(At::Helo) => self.say("502 what?\r\n")?,
                "LHLO" | "EHLO" => drop(self.answer(At::Ehlo, self.shared.offer())?),
                "HELO" => drop(self.answer(At::Helo, "250 sink.test\r\n")?),
                "STARTTLS" => {
                    self.answer(At::Starttls, "220 go\r\n")?;
                    self.answer(At::Handshake, "")?;
                }
                "MAIL" => {
                    to.clear();
                    begun = self.answer(At::Mail, "250 ok\r\n")?;
                }
                "RCPT" if !begun => self.say("503 from whom?\r\n")?,
                "RCPT" => {
                    let whom = line.split(['<', '@']).nth(1)?.to_owned();
                    let step = if whom == "second" { At::Rcpt } else { At::Connect };
                    if self.answer(step, "250 ok\r\n")? {
                        to.push(whom);
                    }
                }
                "DATA" if to.is_empty() => self.say("503 for whom?\r\n")?,
                "DATA" => {
                    if self.answer(At::Data, "354 go\r\n")? {
                        if self.shared.fails(At::Body) {
                            io::copy(&mut self.input.by_ref().take(PART as u64), &mut io::sink()).ok()?;
                            self.answer(At::Body, "")?;
                        }
                        self.read_message().ok()?;
                        self.take(&mut to)?;
                    }
                }
                "BDAT" => {
                    let size: u64 = line.split(' ').nth(1)?.parse().ok()?;
                    io::copy(&mut self.input.by_ref().take(size), &mut io::sink()).ok()?;
                    if to.is_empty() { self.say("503 for whom?\r\n")? } else { self.take(&mut to)? }
                }
                "QUIT" => {
                    self.answer(At::Quit, "221 bye\r\n")?;
                    return Some(());
                }
                _ => self.say("250 ok\r\n")?,
            }
        }
    }

    fn take(&mut self, to: &mut Vec<String>) -> Option<()> {
        let to = std::mem::take(to);
        let each = if self.shared.dialect == Dialect::Lmtp { to.into_iter().map(|one| vec![one]).collect() } else { vec![to] };
        let step = |to: &[String]| if to == ["second"] && self.shared.fails(At::Each) { At::Each } else { At::Dot };
        // Whoever hears 250 must find it here.
        let given: Vec<(At, Given)> = each
            .into_iter()
            .map(|to| {
                let at = step(&to);
                (at, Given { to, taken: !self.shared.fails(at) })
            })
            .collect();
        self.shared.given.lock().unwrap().extend(given.iter().map(|(_, given)| given.clone()));
        given.iter().try_for_each(|(at, _)| self.answer(*at, "250 taken\r\n").map(drop))
    }

    /// The usual answer, or a failure; `None`: it is over. Tells whether it was the usual one.
    fn answer(&mut self, at: At, usual: &str) -> Option<bool> {
        let text = match self.shared.failure.1 {
            _ if !self.shared.fails(at) => usual,
            How::Say(text) => text,
            How::Leave(text) => {
                self.say(text)?;
                return None;
            }
            How::Reset(text) => {
                self.say(text)?;
                let _ = setsockopt(&self.out, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 });
                return None;
            }
            How::Stall(text) => {
                self.say(text)?;
                return self.hang();
            }
            How::Deaf => {
                thread::sleep(Duration::from_secs(10));
                return None;
            }
            How::Drip(text) => {
                for byte in text.chars() {
                    self.say(byte.encode_utf8(&mut [0; 4]))?;
                    thread::sleep(Duration::from_secs(1));
                }
                return Some(false);
            }
            How::Flood(text) => {
                // No client listens for so long.
                (0..10_000_000 / text.len()).try_for_each(|_| self.say(text))?;
                return self.hang();
            }
        };
        self.say(text)?;
        Some(text == usual)
    }

    fn say(&mut self, text: &str) -> Option<()> {
        self.out.write_all(text.as_bytes()).ok()
    }

    /// Until the other side closes.
    fn hang<T>(&mut self) -> Option<T> {
        let _ = io::copy(&mut self.input, &mut io::sink());
        None
    }

    fn read_message(&mut self) -> io::Result<()> {
        loop {
            let mut line = Vec::new();
            if self.input.read_until(b'\n', &mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if line == b".\r\n" {
                return Ok(());
            }
        }
    }
}
