//! Another host: takes mail, or does what the local part of a recipient says (`550@…`).

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

#[derive(Default)]
struct Seen {
    messages: Mutex<Vec<(Vec<String>, String)>>,
    connections: AtomicUsize,
    /// Closes after the final dot, having kept the message.
    forgetful: AtomicBool,
    /// Answers each command 421.
    closed: AtomicBool,
    /// Offers DSN, and nothing else.
    reports: AtomicBool,
    /// Commands MAIL and RCPT, as they came.
    envelopes: Mutex<Vec<String>>,
    /// Turns away the hundredth recipient and those after.
    most: AtomicUsize,
    /// Held: no message is answered.
    busy: Mutex<()>,
}

/// See the module.
pub(super) struct Peer {
    address: SocketAddr,
    seen: Arc<Seen>,
}

impl Peer {
    pub(super) fn start() -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen { most: AtomicUsize::new(1000), ..Seen::default() });
        let shared = seen.clone();
        // Ends with the test process.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                shared.connections.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || drop(serve(stream, &shared)));
            }
        });
        Peer { address, seen }
    }

    /// Configuration that sends there.example here.
    pub(super) fn route(&self) -> String {
        format!("[[route]]\ndomain = \"there.example\"\nhost = \"{}\"\n", self.address)
    }

    /// Recipients and text of each message, in wire form with the final dot.
    pub(super) fn messages(&self) -> Vec<(Vec<String>, String)> {
        self.seen.messages.lock().unwrap().clone()
    }

    pub(super) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// Keeps messages, but does not answer for them before this is dropped.
    pub(super) fn keep_busy(&self) -> MutexGuard<'_, ()> {
        self.seen.busy.lock().unwrap()
    }

    pub(super) fn set_forgetful(&self, forgetful: bool) {
        self.seen.forgetful.store(forgetful, Ordering::SeqCst);
    }

    pub(super) fn set_reports(&self, reports: bool) {
        self.seen.reports.store(reports, Ordering::SeqCst);
    }

    /// Commands MAIL and RCPT, as they came.
    pub(super) fn envelopes(&self) -> Vec<String> {
        self.seen.envelopes.lock().unwrap().clone()
    }

    pub(super) fn set_closed(&self, closed: bool) {
        self.seen.closed.store(closed, Ordering::SeqCst);
    }

    pub(super) fn set_most_recipients(&self, most: usize) {
        self.seen.most.store(most, Ordering::SeqCst);
    }
}

fn serve(stream: TcpStream, seen: &Seen) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let say = |text: &str| (&stream).write_all(format!("{text}\r\n").as_bytes());
    if seen.closed.load(Ordering::SeqCst) {
        return say("421 4.3.2 closed");
    }
    say("220 peer.example")?;
    let (mut recipients, mut line) = (Vec::new(), String::new());
    while reader.read_line(&mut line)? > 0 {
        let command = line.trim_end().to_owned();
        line.clear();
        if command.starts_with("MAIL") || command.starts_with("RCPT") {
            seen.envelopes.lock().unwrap().push(command.clone());
        }
        match command.get(..4).unwrap_or_default() {
            "EHLO" if seen.reports.load(Ordering::SeqCst) => say("250-peer.example\r\n250 DSN")?,
            "EHLO" => say("250-peer.example\r\n250-PIPELINING\r\n250 8BITMIME")?,
            "MAIL" => {
                recipients.clear();
                say("250 2.1.0 ok")?;
            }
            "RCPT" => {
                let address = command.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
                let code = address.get(..3).filter(|code| code.parse::<u16>().is_ok());
                match code {
                    Some(code) => say(&format!("{code} {}.1.1 no", &code[..1]))?,
                    None if recipients.len() >= seen.most.load(Ordering::SeqCst) => say("452 4.5.3 too many")?,
                    None => {
                        recipients.push(address);
                        say("250 2.1.5 ok")?;
                    }
                }
            }
            "DATA" if recipients.is_empty() => say("503 5.5.1 no")?,
            "DATA" => {
                say("354 go")?;
                let mut text = String::new();
                while !text.ends_with("\r\n.\r\n") {
                    if reader.read_line(&mut text)? == 0 {
                        return Ok(());
                    }
                }
                seen.messages.lock().unwrap().push((std::mem::take(&mut recipients), text));
                if seen.forgetful.load(Ordering::SeqCst) {
                    return Ok(());
                }
                drop(seen.busy.lock());
                say("250 2.0.0 taken")?;
            }
            "QUIT" => return say("221 bye"),
            _ => say("250 ok")?,
        }
    }
    Ok(())
}
