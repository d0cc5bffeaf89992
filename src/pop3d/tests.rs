//! Sessions over real sockets.

mod attacks;
mod login;
mod maildrop;

use super::*;
use crate::host::{Account, Host};
use crate::mailbox::Ledger;
use crate::net::tls::ClientTls;
use crate::net::{Line, NetError, Registry};
use crate::spool::{Outcome, SpoolError};
use crate::sys::{Disk, File, Open, RealDisk, SystemClock};
use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

/// alice and bob, whose password is `secret`.
#[derive(Debug)]
struct TwoUsers(Arc<dyn Disk>);

impl TwoUsers {
    fn made(name: &str) -> Option<Account> {
        ["alice", "bob"].contains(&name).then(|| Account {
            name: name.to_owned(),
            uid: nix::unistd::geteuid().as_raw(),
            gid: nix::unistd::getegid().as_raw(),
            home: None,
        })
    }
}

impl Host for TwoUsers {
    fn account(&self, name: &str) -> io::Result<Option<Account>> {
        Ok(TwoUsers::made(name))
    }
    fn verify(&self, name: &str, password: &[u8]) -> io::Result<Option<Account>> {
        if name == "broken" {
            return Err(io::Error::other("unreadable"));
        }
        Ok(TwoUsers::made(name).filter(|_| password == b"secret" || password == b" two  words "))
    }
    fn open_mailbox(&self, _: &Account, _: &Path, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        self.0.open(path, how)
    }
    fn make_folders(&self, _: &Account, _: &Path, path: &Path) -> io::Result<()> {
        self.0.make_dir(path, 0o2770)
    }
    fn reload(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Has nothing delivered, so nothing is settled.
#[derive(Debug)]
struct NoLedger;

impl Ledger for NoLedger {
    fn settle(&self, _: &[Outcome]) -> Result<(), SpoolError> {
        Ok(())
    }
    fn name(&self) -> Vec<u8> {
        Vec::new()
    }
    fn has_peers(&self) -> bool {
        false
    }
}

/// A server, its directories, and who is connected.
struct House {
    dir: tempfile::TempDir,
    server: Server,
    registry: Registry,
}

impl House {
    fn new() -> House {
        House::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Config)) -> House {
        let dir = tempfile::tempdir().unwrap();
        let (mail, spool) = (dir.path().join("mail"), dir.path().join("spool"));
        std::fs::create_dir_all(&mail).unwrap();
        std::fs::create_dir_all(&spool).unwrap();
        let text = "hostname = \"mail.here.test\"\ndomains = [\"here.test\"]\n[limits]\nerrors = 100\n";
        let mut config = crate::config::load::from_text("test", text, dir.path(), &[]).unwrap();
        change(&mut config);
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let host: Arc<dyn Host> = Arc::new(TwoUsers(disk.clone()));
        let gate = Gate::new(clock.clone(), host.clone(), ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"test"));
        let store = Store::new(disk, clock.clone(), host, Arc::new(NoLedger), mail, spool);
        let tls = Some(Arc::new(ServerTls::self_signed(dir.path(), "mail.here.test").unwrap()));
        House { dir, server: Server { config: Arc::new(config), clock, gate, store, tls }, registry: Registry::default() }
    }

    /// Where alice's mail is.
    fn mbox(&self) -> std::path::PathBuf {
        self.dir.path().join("mail/alice")
    }

    fn serve(&self, mut connection: Connection, offer_tls: bool, implicit: bool) -> JoinHandle<()> {
        connection.register(&self.registry);
        let server = self.server.clone();
        std::thread::spawn(move || {
            if implicit {
                connection.accept_tls(server.tls.as_ref().unwrap()).unwrap();
            }
            server.serve(connection, "t", offer_tls);
        })
    }

    /// Over TCP, with STLS on offer; the greeting is read.
    fn client(&self) -> Client {
        self.client_at(true, false)
    }

    fn client_at(&self, offer_tls: bool, implicit: bool) -> Client {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut connection = Connection::connect(listener.local_addr().unwrap(), Duration::from_secs(5)).unwrap();
        let thread = self.serve(Connection::from_tcp(listener.accept().unwrap().0).unwrap(), offer_tls, implicit);
        connection.set_timeout(Duration::from_secs(20));
        if implicit {
            connection.start_tls(&ClientTls::opportunistic(), "mail.here.test").unwrap();
        }
        Client { connection, thread: Some(thread) }.greeted()
    }

    fn unix_client(&self) -> Client {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let thread = self.serve(Connection::from_unix(theirs).unwrap(), true, false);
        Client { connection: Connection::from_unix(ours).unwrap(), thread: Some(thread) }.greeted()
    }

    fn logged_in(&self) -> Client {
        let mut client = self.client();
        client.log_in();
        client
    }
}

/// The other end of a session.
struct Client {
    connection: Connection,
    thread: Option<JoinHandle<()>>,
}

impl Client {
    fn greeted(mut self) -> Client {
        assert_eq!(self.line(), "+OK mail.here.test POP3 server ready");
        self
    }

    fn send(&mut self, bytes: &[u8]) {
        self.connection.put(bytes).unwrap();
        self.connection.flush().unwrap();
    }

    fn try_line(&mut self) -> Result<String, NetError> {
        let mut line = Vec::new();
        assert_eq!(self.connection.read_line(10_000, &mut line)?, Line::Whole);
        Ok(String::from_utf8(line).unwrap())
    }

    #[track_caller]
    fn line(&mut self) -> String {
        self.try_line().unwrap()
    }

    /// Sends a command and gives the first line of the reply.
    #[track_caller]
    fn ask(&mut self, command: &str) -> String {
        self.send(format!("{command}\r\n").as_bytes());
        self.line()
    }

    #[track_caller]
    fn expect(&mut self, command: &str, start: &str) {
        let reply = self.ask(command);
        assert!(reply.starts_with(start), "{command:?} got {reply:?}, not {start:?}");
    }

    /// The rest of a multi-line reply, as it is on the wire, without the final dot.
    #[track_caller]
    fn rest(&mut self) -> Vec<String> {
        std::iter::from_fn(|| Some(self.line()).filter(|line| line != ".")).collect()
    }

    #[track_caller]
    fn ask_for_lines(&mut self, command: &str) -> Vec<String> {
        self.expect(command, "+OK");
        self.rest()
    }

    #[track_caller]
    fn log_in(&mut self) {
        self.expect("USER alice", "+OK");
        self.expect("PASS secret", "+OK");
    }

    fn start_tls(&mut self) {
        self.connection.start_tls(&ClientTls::opportunistic(), "mail.here.test").unwrap();
    }

    /// The server has closed and its thread has ended well.
    #[track_caller]
    fn ended(mut self) {
        assert!(matches!(self.try_line(), Err(NetError::Closed)));
        self.joined();
    }

    /// Closes without a word.
    fn hang_up(self) {
        let Client { connection, mut thread } = self;
        drop(connection);
        thread.take().unwrap().join().unwrap();
    }

    fn joined(&mut self) {
        self.thread.take().unwrap().join().unwrap();
    }
}
