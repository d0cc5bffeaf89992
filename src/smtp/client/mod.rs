//! An outbound conversation: greeting, EHLO, STARTTLS, and any number of transactions (RFC 5321 §3, §4).
//!
//! The server is not trusted: whatever it says is bounded and cleaned, and what can't be understood is a failure of the
//! connection, which is then closed. A message counts as taken only after a whole positive reply to its final dot.

mod conversion;
mod login;
pub mod reply;
#[cfg(test)]
mod tests;
mod transaction;

pub use conversion::{is_convertible, is_international};
pub use login::Credentials;
pub use reply::{Enhanced, Reply, clean};
pub use transaction::{Answer, International, Parcel};

use crate::config::Endpoint;
use crate::mail::Recipient;
use crate::net::tls::ClientTls;
use crate::net::{Connection, Line, NetError, Registry};
use std::fmt;
use std::io;
use std::time::Duration;

/// How long a connection may take to come about.
pub const CONNECT: Duration = Duration::from_secs(30);
/// For the greeting (RFC 5321 §4.5.3.2.1), and for the reply to EHLO, HELO, STARTTLS and RSET.
pub const GREETING: Duration = Duration::from_secs(300);
/// For the reply to MAIL (RFC 5321 §4.5.3.2.2).
pub const MAIL: Duration = Duration::from_secs(300);
/// For the reply to RCPT (RFC 5321 §4.5.3.2.3).
pub const RCPT: Duration = Duration::from_secs(300);
/// For the reply to DATA (RFC 5321 §4.5.3.2.4).
pub const DATA_BEGIN: Duration = Duration::from_secs(120);
/// For each block of the message (RFC 5321 §4.5.3.2.5).
pub const DATA_BLOCK: Duration = Duration::from_secs(180);
/// For the reply to the final dot (RFC 5321 §4.5.3.2.6).
pub const DATA_END: Duration = Duration::from_secs(600);
/// For the reply to QUIT: nothing depends on it.
pub const QUIT: Duration = Duration::from_secs(5);
/// For what a server that breaks off may still say.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// For the TLS handshake.
pub const HANDSHAKE: Duration = Duration::from_secs(60);

/// Bytes of a reply line that are read; RFC 5321 §4.5.3.1.5 asks for 512, servers say more.
const REPLY_LINE: usize = 4096;

/// Whom to call, and who we are.
#[derive(Clone, Debug)]
pub struct Target<'a> {
    /// Where.
    pub address: Endpoint,
    /// It speaks LMTP (RFC 2033).
    pub lmtp: bool,
    /// The host's name, for SNI and reports.
    pub host: &'a str,
    /// The name we give ourselves.
    pub hostname: &'a str,
    /// What the line must be like.
    pub secrecy: Secrecy<'a>,
    /// Who we are to it.
    pub login: Option<&'a Credentials>,
    /// The longest wait; none of those above is longer.
    pub patience: Duration,
}

/// How a line is encrypted.
#[derive(Copy, Clone, Debug)]
pub enum Secrecy<'a> {
    /// Not at all.
    None,
    /// If the server offers it. If the handshake fails, that is logged and a fresh connection goes without (RFC 7435).
    May(&'a ClientTls),
    /// By STARTTLS, or there is no conversation.
    Must(&'a ClientTls),
    /// From the first byte.
    Implicit(&'a ClientTls),
}

/// Why a conversation came to an end, or never began. With a [`Failure`] the connection is of no more use.
#[derive(Debug)]
pub enum Failure {
    /// The network, or the other end closed.
    Net(&'static str, NetError),
    /// The TLS handshake.
    Tls(NetError),
    /// A reply that ends the conversation: 421 anywhere, a refusal before a transaction.
    Reply(&'static str, Reply),
    /// What came is no SMTP reply, or not one that can be given here.
    Garbled(&'static str, &'static str),
    /// The message could not be read from the spool.
    Spool(io::Error),
    /// We reached ourselves.
    Ourselves,
    /// It can't encrypt, and must.
    Plain,
    /// It does not take our login.
    Login(&'static str, Option<Reply>),
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Net(stage, error) => write!(out, "{error} {stage}"),
            Failure::Tls(error) => write!(out, "{error} in the TLS handshake"),
            Failure::Reply(stage, reply) => write!(out, "refused {stage}: {reply}"),
            Failure::Garbled(stage, why) => write!(out, "{why} {stage}"),
            Failure::Spool(error) => write!(out, "spool: {error}"),
            Failure::Ourselves => out.write_str("the host at the other end is this one"),
            Failure::Plain => out.write_str("it offers no encryption"),
            Failure::Login(why, None) => out.write_str(why),
            Failure::Login(why, Some(reply)) => write!(out, "{why}: {reply}"),
        }
    }
}

/// What a server offers (RFC 5321 §4.1.1.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// RFC 2920.
    pub pipelining: bool,
    /// RFC 1870; `Some(0)`: no limit told.
    pub size: Option<u64>,
    /// RFC 6152.
    pub eight_bit: bool,
    /// RFC 6531.
    pub utf8: bool,
    /// RFC 3207.
    pub starttls: bool,
    /// RFC 8689.
    pub require_tls: bool,
    /// RFC 3461.
    pub dsn: bool,
    /// RFC 3030.
    pub chunking: bool,
    /// Recipients of one transaction (RFC 9422, RCPTMAX).
    pub most_recipients: Option<usize>,
    /// Domains of these (RFC 9422, RCPTDOMAINMAX).
    pub most_domains: Option<usize>,
    /// Transactions of one conversation (RFC 9422, MAILMAX).
    pub most_transactions: Option<u32>,
    /// RFC 4954: AUTH PLAIN.
    pub auth_plain: bool,
    /// AUTH LOGIN.
    pub auth_login: bool,
}

impl Extensions {
    /// From the reply to EHLO; unknown keywords and odd parameters are passed over.
    pub fn of(reply: &Reply) -> Extensions {
        let mut found = Extensions::default();
        for line in reply.lines.iter().skip(1) {
            let mut words = line.split_ascii_whitespace();
            match words.next().unwrap_or_default().to_ascii_uppercase().as_str() {
                "PIPELINING" => found.pipelining = true,
                "SIZE" => found.size = Some(words.next().and_then(|digits| digits.parse().ok()).unwrap_or(0)),
                "8BITMIME" => found.eight_bit = true,
                "SMTPUTF8" => found.utf8 = true,
                "STARTTLS" => found.starttls = true,
                "REQUIRETLS" => found.require_tls = true,
                "DSN" => found.dsn = true,
                "CHUNKING" => found.chunking = true,
                "LIMITS" => words.for_each(|limit| found.limit(limit)),
                "AUTH" => {
                    found.auth_plain |= words.clone().any(|word| word.eq_ignore_ascii_case("PLAIN"));
                    found.auth_login |= words.any(|word| word.eq_ignore_ascii_case("LOGIN"));
                }
                _ => {}
            }
        }
        // The one can't be had without the other (RFC 6531 §3.1).
        found.utf8 &= found.eight_bit;
        found
    }

    /// ```abnf
    /// limits-name-value = limits-name ["=" limits-value]      ; RFC 9422 §4
    /// ```
    /// A limit of nothing would mean that the host takes no mail, and does not count.
    fn limit(&mut self, limit: &str) {
        let (name, value) = limit.split_once('=').unwrap_or((limit, ""));
        let value = value.parse().ok().filter(|value: &u32| *value > 0);
        let count = value.and_then(|value| usize::try_from(value).ok());
        match name.to_ascii_uppercase().as_str() {
            "RCPTMAX" => self.most_recipients = count,
            "RCPTDOMAINMAX" => self.most_domains = count,
            "MAILMAX" => self.most_transactions = value,
            _ => {}
        }
    }

    /// Which of these recipients may be in a transaction with the first one.
    fn of_one_transaction(&self, recipients: &[&Recipient]) -> Vec<bool> {
        let (mut count, mut domains) = (0, Vec::new());
        let may = |recipient: &&Recipient| {
            let domain = self.most_domains.map(|most| (most, recipient.address.domain().key()));
            let is_within = match &domain {
                Some((most, domain)) => domains.contains(domain) || domains.len() < *most,
                None => true,
            };
            let may = is_within && self.most_recipients.is_none_or(|most| count < most);
            if may {
                count += 1;
                domains.extend(domain.map(|(_, domain)| domain).filter(|domain| !domains.contains(domain)));
            }
            may
        };
        recipients.iter().map(may).collect()
    }
}

/// A conversation that has got past its greetings. Dropped, it is closed without QUIT.
#[derive(Debug)]
pub struct Client {
    connection: Connection,
    /// LMTP is spoken (RFC 2033).
    lmtp: bool,
    extensions: Extensions,
    /// The longest wait.
    patience: Duration,
    /// A transaction was begun and not brought to its end: RSET comes first.
    unfinished: bool,
    /// Nothing more can be said.
    broken: bool,
    /// Transactions so far.
    transactions: u32,
    /// The server has replied to the MAIL of the last one.
    answered: bool,
}

impl Client {
    /// Connects, greets, encrypts, logs in, each as the target wants it.
    pub fn open(target: &Target<'_>, registry: &Registry) -> Result<Client, Failure> {
        match (Client::begin(target, registry), target.secrecy) {
            (Err(Failure::Tls(error)), Secrecy::May(_)) => {
                log::warn!("relay={}[{}] event=tls-failed reason=\"{error}\"", target.host, target.address);
                Client::begin(&Target { secrecy: Secrecy::None, ..target.clone() }, registry)
            }
            (other, _) => other,
        }
    }

    fn begin(target: &Target<'_>, registry: &Registry) -> Result<Client, Failure> {
        let within = CONNECT.min(target.patience);
        let connection = match &target.address {
            Endpoint::Tcp(address) => Connection::connect(*address, within),
            Endpoint::Unix(path) => Connection::connect_unix(path, within),
        };
        let mut connection = connection.map_err(|error| Failure::Net("while connecting", error))?;
        connection.register(registry);
        let mut client = Client {
            connection,
            lmtp: target.lmtp,
            extensions: Extensions::default(),
            patience: target.patience,
            unfinished: false,
            broken: false,
            transactions: 0,
            answered: false,
        };
        if let Secrecy::Implicit(tls) = target.secrecy {
            client.encrypt(tls, target.host)?;
        }
        client.greet(target.hostname)?;
        match target.secrecy {
            Secrecy::May(tls) => drop(client.start_tls(tls, target)?),
            Secrecy::Must(tls) if !client.start_tls(tls, target)? => return Err(Failure::Plain),
            Secrecy::None | Secrecy::Must(_) | Secrecy::Implicit(_) => {}
        }
        if let Some(credentials) = target.login {
            client.log_in(credentials)?;
        }
        Ok(client)
    }

    fn greet(&mut self, hostname: &str) -> Result<(), Failure> {
        let banner = self.reply("at the greeting", GREETING)?;
        if banner.code != 220 {
            return Err(unwanted("at the greeting", banner));
        }
        // A store beside us may well have our name.
        if !self.lmtp && names(&banner, hostname) {
            return Err(Failure::Ourselves);
        }
        self.introduce(hostname)
    }

    /// STARTTLS; false if the server does not want it.
    fn start_tls(&mut self, tls: &ClientTls, target: &Target<'_>) -> Result<bool, Failure> {
        if !self.extensions.starttls || self.ask("STARTTLS\r\n", "to STARTTLS", GREETING)?.code != 220 {
            return Ok(false);
        }
        self.encrypt(tls, target.host)?;
        // What was said in plaintext does not count any more (RFC 3207 §4.2).
        self.extensions = Extensions::default();
        self.introduce(target.hostname)?;
        Ok(true)
    }

    fn encrypt(&mut self, tls: &ClientTls, host: &str) -> Result<(), Failure> {
        self.wait(HANDSHAKE);
        self.connection.start_tls(tls, host).map_err(Failure::Tls)
    }

    /// EHLO; HELO for hosts that don't know it (RFC 5321 §3.2). In LMTP LHLO, and nothing else (RFC 2033 §4.1).
    fn introduce(&mut self, hostname: &str) -> Result<(), Failure> {
        let (verb, stage) = if self.lmtp { ("LHLO", "to LHLO") } else { ("EHLO", "to EHLO") };
        let reply = self.ask(&format!("{verb} {hostname}\r\n"), stage, GREETING)?;
        if reply.is_positive() {
            self.extensions = Extensions::of(&reply);
            return Ok(());
        }
        if self.lmtp || !reply.is_permanent() {
            return Err(unwanted(stage, reply));
        }
        let reply = self.ask(&format!("HELO {hostname}\r\n"), "to HELO", GREETING)?;
        if reply.is_positive() { Ok(()) } else { Err(unwanted("to HELO", reply)) }
    }

    /// Is the connection encrypted?
    pub fn is_encrypted(&self) -> bool {
        self.connection.tls().is_some()
    }

    /// How it is, if it is.
    pub fn cipher(&self) -> Option<String> {
        self.connection.tls().map(|tls| format!("{} {}", tls.version, tls.cipher))
    }

    /// Does the server send the reports that were asked for?
    pub fn reports(&self) -> bool {
        self.extensions.dsn
    }

    /// Does the server take addresses and headers in UTF-8?
    pub fn takes_utf8(&self) -> bool {
        self.extensions.utf8
    }

    /// Does it keep what is secret so, on its way from there?
    pub fn takes_secrets(&self) -> bool {
        self.extensions.require_tls
    }

    /// Transactions so far.
    pub fn transactions(&self) -> u32 {
        self.transactions
    }

    /// Can another message be sent?
    pub fn is_usable(&self) -> bool {
        let most = self.extensions.most_transactions;
        !self.broken && most.is_none_or(|most| self.transactions < most)
    }

    /// Did a connection that was kept from an earlier message turn out to be gone before this one was begun? Then it was
    /// not tried at all.
    pub fn was_stale(&self) -> bool {
        self.broken && !self.answered && self.transactions > 1
    }

    /// Says QUIT and closes (RFC 5321 §4.1.1.10).
    pub fn quit(mut self) {
        if !self.broken {
            let _ = self.ask("QUIT\r\n", "to QUIT", QUIT);
        }
    }

    fn put(&mut self, bytes: &[u8], stage: &'static str) -> Result<(), Failure> {
        self.connection.put(bytes).map_err(|error| Failure::Net(stage, error))
    }

    fn ask(&mut self, command: &str, stage: &'static str, within: Duration) -> Result<Reply, Failure> {
        self.hear_nothing(stage)?;
        self.wait(within);
        self.put(command.as_bytes(), stage)?;
        self.reply(stage, within)
    }

    /// What comes next may take so long, or as long as we are told to wait at most.
    fn wait(&mut self, within: Duration) {
        let within = within.min(self.patience);
        self.connection.set_timeout(within);
        self.connection.set_deadline(Some(within));
    }

    /// Before something is said that is to be answered: a reply that is there already answers nothing. Taken for an answer,
    /// it would put each later one in the wrong place, and the last of them says who has the message.
    fn hear_nothing(&mut self, stage: &'static str) -> Result<(), Failure> {
        if !self.connection.input_pending() {
            return Ok(());
        }
        // A 421 says why it goes (RFC 5321 §3.8).
        self.reply(stage, LAST_WORDS)?;
        Err(Failure::Garbled(stage, "reply to nothing that was asked"))
    }

    /// Reads a whole reply; what was queued is sent first. 421 may come at any time (RFC 5321 §3.8).
    fn reply(&mut self, stage: &'static str, within: Duration) -> Result<Reply, Failure> {
        self.wait(within);
        let mut parser = reply::Parser::default();
        let mut line = Vec::new();
        loop {
            match self.connection.read_line(REPLY_LINE, &mut line) {
                Ok(Line::Whole) => {}
                Ok(Line::TooLong) => return Err(Failure::Garbled(stage, "reply line too long")),
                Ok(Line::Malformed) => return Err(Failure::Garbled(stage, "malformed reply line")),
                Err(NetError::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
                    return Err(Failure::Garbled(stage, "reply line without end"));
                }
                Err(error) => return Err(Failure::Net(stage, error)),
            }
            match parser.push(&line) {
                Ok(None) => {}
                Ok(Some(reply)) if reply.code == 421 => return Err(Failure::Reply(stage, reply)),
                Ok(Some(reply)) => return Ok(reply),
                Err(reply::Garbled(why)) => return Err(Failure::Garbled(stage, why)),
            }
        }
    }
}

/// A reply that can't be gone on with: a refusal, or nonsense.
fn unwanted(stage: &'static str, reply: Reply) -> Failure {
    if reply.is_temporary() || reply.is_permanent() {
        Failure::Reply(stage, reply)
    } else {
        Failure::Garbled(stage, "unexpected reply")
    }
}

/// Does the first word of a greeting name this host?
fn names(banner: &Reply, hostname: &str) -> bool {
    let first = banner.lines.first().and_then(|line| line.split_ascii_whitespace().next());
    first.is_some_and(|word| word.trim_end_matches('.').eq_ignore_ascii_case(hostname))
}
