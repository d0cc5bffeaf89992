//! Sessions over sockets of this host, in front of a small but whole mail system. What is said in ordinary sessions is
//! tested by the dialogues against the daemon; here are states, time, and clients that misbehave.

use super::*;
use crate::config::load::from_text;
use crate::delivery::Delivery;
use crate::host::users::Secrets;
use crate::host::{Direct, users};
use crate::mailbox::Store;
use crate::net::dns::Resolver;
use crate::net::tls::ClientTls;
use crate::net::{Line, Peer, Registry};
use crate::spool::{Journal, Options};
use crate::sys::clock::manual::ManualClock;
use crate::sys::{RealDisk, Time};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

/// A configuration with these lines.
pub(super) fn config(text: &str) -> Config {
    from_text(
        "test",
        &format!("hostname = \"mail.here.test\"\ndomains = [\"here.test\"]\n{text}"),
        Path::new("/nonexistent"),
        &[],
    )
    .unwrap()
}

struct House {
    dir: tempfile::TempDir,
    clock: Arc<ManualClock>,
    delivery: Delivery,
    registry: Registry,
    server: Arc<Server>,
}

impl House {
    fn new(change: impl FnOnce(&mut Config)) -> House {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config("");
        (config.spool, config.mail) = (dir.path().join("spool"), dir.path().join("mail"));
        change(&mut config);
        let config = Arc::new(config);
        std::fs::create_dir(&config.mail).unwrap();
        let path = dir.path().join("users");
        users::edit(&path, |text| users::add(text, "alice", &Secrets::of(b"secret").unwrap(), "")).unwrap();
        let (disk, clock) = (Arc::new(RealDisk), Arc::new(ManualClock::at(Time::from_seconds(1_800_000_000))));
        let host = Arc::new(Direct::new(disk.clone(), &[path]).unwrap());
        let options = Options { dir: config.spool.join("journal/test"), segment_size: 1 << 20, min_free: 0 };
        let journal = Journal::open(disk.clone(), clock.clone(), options).unwrap();
        let store = Store::new(disk, clock.clone(), host.clone(), journal.clone(), config.mail.clone(), config.spool.clone());
        let resolver = Arc::new(Resolver::new(clock.clone(), &[]));
        let delivery = Delivery::start(config.clone(), clock.clone(), host.clone(), journal, store, resolver.clone());
        let server = Server {
            config,
            clock: clock.clone(),
            gate: Gate::new(clock.clone(), host, ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"test")),
            post: delivery.post(),
            rates: Arc::default(),
            screen: Arc::new(Screen::new(clock.clone(), resolver, dir.path().join("greylist"))),
            tls: Some(Arc::new(ServerTls::self_signed(&dir.path().join("tls"), "mail.here.test").unwrap())),
        };
        House { dir, clock, delivery, registry: Registry::default(), server: Arc::new(server) }
    }

    fn serve(&self, protocol: Protocol, connect: impl FnOnce() -> Connection + Send + 'static) -> JoinHandle<()> {
        let (server, registry) = (self.server.clone(), self.registry.clone());
        std::thread::spawn(move || {
            let mut connection = connect();
            connection.register(&registry);
            server.serve(connection, "test", protocol, true);
        })
    }

    fn dial(&self, protocol: Protocol) -> Client<TcpStream> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let thread = self.serve(protocol, move || Connection::from_tcp(listener.accept().unwrap().0).unwrap());
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Client { out: socket.try_clone().unwrap(), replies: BufReader::new(socket), thread: Some(thread) }
    }

    fn inbox(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.path().join("mail").join(name)).unwrap_or_default()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.delivery.stop();
    }
}

struct Client<S: Read> {
    out: S,
    replies: BufReader<S>,
    thread: Option<JoinHandle<()>>,
}

impl<S: Read + Write> Client<S> {
    /// Sends and reads the last line of each of so many replies; fewer if the other side closes.
    fn say(&mut self, text: &str, replies: usize) -> Vec<String> {
        self.out.write_all(text.as_bytes()).unwrap();
        let mut last = Vec::new();
        while last.len() < replies {
            let mut line = String::new();
            if self.replies.read_line(&mut line).unwrap_or(0) == 0 {
                break;
            }
            if line.as_bytes().get(3) == Some(&b' ') {
                last.push(line.trim_end_matches("\r\n").to_owned());
            }
        }
        last
    }

    /// One command, one reply, which must begin so.
    fn expect(&mut self, text: &str, reply: &str) {
        let said = self.say(text, 1);
        assert!(said.first().is_some_and(|line| line.starts_with(reply)), "{text:?}: {said:?}, not {reply}");
    }

    /// The other side has closed, and its thread is done.
    fn expect_end(&mut self) {
        let mut rest = Vec::new();
        let _ = self.replies.read_to_end(&mut rest);
        assert_eq!(String::from_utf8_lossy(&rest), "");
        self.thread.take().unwrap().join().unwrap();
    }
}

const ENVELOPE: &str = "MAIL FROM:<carol@sender.test>\r\nRCPT TO:<alice@here.test>\r\n";

#[test]
fn each_state_has_its_verbs() {
    let house = House::new(|config| config.limits.errors = 1000);
    let mut client = house.dial(Protocol::Smtp);
    client.expect("", "220 mail.here.test ESMTP");
    for line in ["MAIL FROM:<a@b>", "RCPT TO:<a@b>", "DATA", "STARTTLS", "AUTH PLAIN"] {
        client.expect(&format!("{line}\r\n"), "503 5.5.1");
    }
    client.expect("HELO x\r\n", "250 mail.here.test");
    for line in ["RCPT TO:<a@b>", "DATA"] {
        client.expect(&format!("{line}\r\n"), "503 5.5.1");
    }
    assert_eq!(client.say(ENVELOPE, 2).len(), 2);
    for line in ["MAIL FROM:<a@b>", "STARTTLS", "AUTH PLAIN"] {
        client.expect(&format!("{line}\r\n"), "503 5.5.1");
    }
    client.expect("DATA\r\n", "354 ");
    client.expect("Subject: x\r\n\r\nx\r\n.\r\n", "250 2.0.0 Ok: queued as ");
    client.expect("DATA\r\n", "503 5.5.1");
    client.expect("QUIT\r\n", "221 2.0.0");
    client.expect_end();
    assert!(house.inbox("alice").contains(" with SMTP id "), "{}", house.inbox("alice"));
}

#[test]
fn who_does_not_wait_is_not_served() {
    let house = House::new(|_| ());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    socket.write_all(b"EHLO x\r\n").unwrap();
    let (accepted, _) = listener.accept().unwrap();
    while accepted.peek(&mut [0]).unwrap() == 0 {}
    let thread = house.serve(Protocol::Smtp, move || Connection::from_tcp(accepted).unwrap());
    let mut client = Client { out: socket.try_clone().unwrap(), replies: BufReader::new(socket), thread: Some(thread) };
    client.expect("", "554 5.5.0");
    client.expect_end();

    let mut client = house.dial(Protocol::Smtp);
    client.expect("", "220 ");
    client.expect("EHLO x\r\n", "250 ");
    let replies = client.say(&format!("{ENVELOPE}DATA\r\nSubject: early\r\n\r\n.\r\nMAIL FROM:<evil@b>\r\n"), 9);
    assert_eq!(replies.iter().map(|line| &line[..3]).collect::<Vec<_>>(), ["250", "250", "503"]);
    client.expect_end();
    assert_eq!(house.inbox("alice"), "");
}

#[test]
fn a_local_process_is_known_and_need_not_wait() {
    let house = House::new(|_| ());
    let (socket, other) = UnixStream::pair().unwrap();
    let mut client = Client { out: socket.try_clone().unwrap(), replies: BufReader::new(socket), thread: None };
    let script = format!("EHLO localhost\r\n{ENVELOPE}DATA\r\nSubject: piped\r\n\r\ntext\r\n.\r\nQUIT\r\n");
    client.out.write_all(script.as_bytes()).unwrap();
    client.thread = Some(house.serve(Protocol::Submission, move || Connection::from_unix(other).unwrap()));
    let replies = client.say("", 7);
    assert_eq!(replies.iter().map(|line| &line[..3]).collect::<Vec<_>>(), ["220", "250", "250", "250", "354", "250", "221"]);
    client.expect_end();
    let inbox = house.inbox("alice");
    assert!(
        inbox.contains("from localhost (uid ") && inbox.contains("\nMessage-ID: ") && inbox.contains(" with ESMTP "),
        "{inbox}"
    );
    let me = login::of_peer(&Peer::Unix { uid: nix::unistd::getuid().as_raw(), pid: 1 }, Protocol::Submission);
    assert!(me.is_some_and(|name| !name.is_empty()));
    let nameless = Peer::Unix { uid: 3_999_999_999, pid: 1 };
    assert_eq!(login::of_peer(&nameless, Protocol::Submission), Some("uid-3999999999".into()));
    assert_eq!(login::of_peer(&nameless, Protocol::Lmtp), None);
}

#[test]
fn faults_and_idling_end_a_session_and_a_message_forgives_them() {
    let house = House::new(|config| config.limits.errors = 3);
    let mut client = house.dial(Protocol::Smtp);
    client.expect("", "220 ");
    client.expect("EHLO x\r\n", "250 ");
    client.expect("FOO\r\n", "500 ");
    client.expect("FOO\r\n", "500 ");
    assert_eq!(client.say(&format!("{ENVELOPE}DATA\r\n"), 3).len(), 3);
    client.expect("\r\n.\r\n", "250 ");
    client.expect("FOO\r\n", "500 ");
    client.expect("FOO\r\n", "500 ");
    client.expect("FOO\r\n", "421 4.7.0");
    client.expect_end();

    let mut client = house.dial(Protocol::Smtp);
    client.expect("", "220 ");
    let replies = client.say(&"NOOP\r\n".repeat(150), 150);
    assert_eq!(replies.len(), 101);
    assert!(replies[100].starts_with("421 4.7.0"));
    client.expect_end();
}

#[test]
fn logging_in_and_failing_to() {
    let house = House::new(|_| ());
    let mut client = house.dial(Protocol::Submission);
    client.expect("", "220 ");
    client.expect("EHLO x\r\n", "250 AUTH SCRAM-SHA-256 PLAIN LOGIN");
    client.expect("MAIL FROM:<alice@here.test>\r\n", "530 5.7.0");
    client.expect("AUTH CRAM-MD5\r\n", "504 5.5.4");
    client.expect("AUTH PLAIN\r\n", "334 ");
    client.expect("*\r\n", "501 5.7.0");
    client.expect("AUTH LOGIN\r\n", "334 VXNlcm5hbWU6");
    client.expect(&format!("{}\r\n", "A".repeat(13_000)), "500 5.5.6");
    client.expect("AUTH PLAIN AGFsaWNlAHdyb25n\r\n", "535 5.7.8");
    client.expect("AUTH PLAIN AG5vYm9keQB3cm9uZw==\r\n", "535 5.7.8");
    client.expect("AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n", "235 2.7.0");
    client.expect("AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n", "503 5.5.1");
    client.expect("MAIL FROM:<alice@here.test>\r\n", "250 ");
    client.expect("RCPT TO:<bob@elsewhere.test>\r\n", "250 ");
    client.expect("QUIT\r\n", "221 ");
    client.expect_end();
    let users = house.dir.path().join("users");
    std::fs::remove_file(users).unwrap();
    let mut client = house.dial(Protocol::Submission);
    client.expect("", "220 ");
    client.expect("EHLO x\r\n", "250 ");
    client.expect("AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n", "454 4.7.0");
    client.expect("QUIT\r\n", "221 ");
    let mut client = house.dial(Protocol::Smtp);
    client.expect("", "220 ");
    client.expect("EHLO x\r\n", "250 ");
    client.expect("MAIL FROM:<>\r\n", "250 ");
    client.expect("RCPT TO:<alice@here.test>\r\n", "451 4.3.0");
}

#[test]
fn nobody_is_waited_for_for_ever() {
    let house = House::new(|config| config.timeouts.command = Duration::from_millis(200));
    let mut client = house.dial(Protocol::Smtp);
    client.expect("", "220 ");
    client.expect("", "421 4.4.2");
    client.expect_end();

    let house = House::new(|_| ());
    let mut client = house.dial(Protocol::Smtp);
    client.expect("", "220 ");
    client.expect("EHLO x\r\n", "250 ");
    client.expect("MAIL FROM:<>\r\n", "250 ");
    house.clock.advance(Duration::from_secs(3600));
    let replies = client.say("RCPT TO:<alice@here.test>\r\n", 2);
    assert!(replies.last().is_some_and(|line| line.starts_with("421 4.4.2")), "{replies:?}");
    client.expect_end();
}

#[test]
fn who_is_told_to_leave_says_goodbye() {
    let house = House::new(|_| ());
    let mut client = house.dial(Protocol::Smtp);
    client.expect("", "220 ");
    client.expect("EHLO x\r\n", "250 ");
    house.registry.tell_all_to_leave();
    client.expect("", "421 4.3.2");
    client.expect_end();
}

#[test]
fn a_refused_message_leaves_nothing_and_the_session_goes_on() {
    let house = House::new(|config| config.max_message_size = 1000);
    let mut client = house.dial(Protocol::Smtp);
    client.expect("", "220 ");
    client.expect("EHLO x\r\n", "250 ");
    for (text, reply) in [("a\nb\r\n.\r\n", "550 5.6.0"), (&format!("{}\r\n.\r\n", "x".repeat(1000)), "552 5.3.4")] {
        assert_eq!(client.say(&format!("{ENVELOPE}DATA\r\n"), 3).len(), 3);
        client.expect(text, reply);
    }
    client.expect("MAIL FROM:<> SIZE=1001\r\n", "552 5.3.4");
    assert_eq!(client.say(&format!("{ENVELOPE}RCPT TO:<Alice@HERE.test>\r\nRCPT TO:<postmaster>\r\nDATA\r\n"), 5).len(), 5);
    client.expect("\r\nwhole\r\n.\r\n", "250 ");
    client.expect("QUIT\r\n", "221 ");
    client.expect_end();
    assert_eq!(house.inbox("alice").matches("whole").count(), 1);
}

#[test]
fn nothing_survives_starttls() {
    let house = House::new(|_| ());
    let mut client = house.dial(Protocol::Submission);
    client.expect("", "220 ");
    client.expect("EHLO x\r\n", "250 ");
    client.expect("STARTTLS\r\nEHLO evil\r\nMAIL FROM:<evil@b>\r\n", "503 5.5.0");
    client.expect("NOOP\r\n", "250 2.0.0");
    client.expect("AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n", "235 ");
    client.expect("STARTTLS\r\n", "220 ");
    let mut secure = Connection::from_tcp(client.out.try_clone().unwrap()).unwrap();
    secure.start_tls(&ClientTls::opportunistic(), "mail.here.test").unwrap();
    let mut line = Vec::new();
    let talk = [
        ("MAIL FROM:<alice@here.test>", "503 5.5.1 Say hello first"),
        ("HELO x", "250 mail.here.test at your service"),
        ("STARTTLS", "503 5.5.1 TLS is already in use"),
        ("MAIL FROM:<alice@here.test>", "530 5.7.0 Log in first"),
        ("QUIT", "221 2.0.0 Goodbye"),
    ];
    for (command, reply) in talk {
        secure.put(format!("{command}\r\n").as_bytes()).unwrap();
        secure.flush().unwrap();
        assert_eq!(secure.read_line(1000, &mut line).unwrap(), Line::Whole);
        assert_eq!(String::from_utf8_lossy(&line), reply);
    }
    client.thread.take().unwrap().join().unwrap();
}
