//! What can be configured, checked and with every default filled in.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Every key there is, with the tables it stands in.
pub const KEYS: &[&str] = &[
    "hostname",
    "domains",
    "users",
    "user",
    "min_uid",
    "postmaster",
    "aliases",
    "virtual",
    "alias_user",
    "lists",
    "webmail_url",
    "detail",
    "junk",
    "srs",
    "spool",
    "mail",
    "pid_file",
    "control",
    "listen.address",
    "listen.protocol",
    "listen.tls",
    "listen.proxy",
    "tls.certificate",
    "tls.key",
    "auth.plaintext",
    "auth.unauthenticate",
    "limits.sessions",
    "limits.per_service",
    "limits.per_network",
    "limits.recipients",
    "limits.errors",
    "limits.min_free",
    "limits.quota",
    "timeouts.idle",
    "timeouts.command",
    "timeouts.data",
    "timeouts.remote",
    "timeouts.program",
    "timeouts.stop",
    "smtp.max_message_size",
    "smtp.relay_networks",
    "submission.senders",
    "submission.longest_wait",
    "submission.per_hour",
    "submission.per_day",
    "screen.blocklists",
    "screen.greylist",
    "screen.greylist_wait",
    "screen.per_network",
    "screen.per_sender",
    "allow.networks",
    "allow.senders",
    "sender.user",
    "sender.addresses",
    "alternative.address",
    "alternative.to",
    "alternative.after",
    "queue.retry",
    "queue.lifetime",
    "queue.warn",
    "queue.smarthost",
    "queue.fallback",
    "queue.smtp_port",
    "queue.workers",
    "queue.per_destination",
    "route.domain",
    "route.host",
    "route.lmtp",
    "route.program",
    "route.user",
    "relay.host",
    "relay.tls",
    "relay.ca",
    "relay.login",
    "dns.servers",
    "dns.trust_ad",
    "outbound.dane",
    "outbound.mta_sts",
    "outbound.ca",
    "outbound.mta_sts_port",
    "outbound.unsubscribe",
    "trust.verify",
    "trust.dmarc",
    "trust.dmarc_reports",
    "dkim.domain",
    "dkim.selector",
    "dkim.key",
    "log.to",
    "log.level",
];

/// The whole configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The name this host gives itself in greetings and trace fields.
    pub hostname: String,
    /// Domains whose mail is delivered here, in lower case.
    pub domains: Vec<String>,
    /// Where users are found, in order; the first that knows a name decides.
    pub users: Vec<UserDatabase>,
    /// The account the daemon runs as; empty keeps the caller's.
    pub user: String,
    /// System users with a lower uid never log in.
    pub min_uid: u32,
    /// Who gets the mail for `postmaster`.
    pub postmaster: String,
    /// What names here stand for.
    pub aliases: Option<PathBuf>,
    /// What whole addresses, and all of a domain, stand for.
    pub virtual_addresses: Option<PathBuf>,
    /// As whom the commands of the alias file run.
    pub alias_user: String,
    /// Where mailing lists lie; none: in the spool.
    pub lists: Option<PathBuf>,
    /// Where browsers elsewhere find the webmail: https, without a slash at the end.
    pub webmail_url: Option<String>,
    /// Mail for `user+detail` goes to the folder of that name, if there is one.
    pub detail_folders: bool,
    /// What is done with mail for users who have taught what junk is.
    pub junk: Junk,
    /// Mail that is sent on to other hosts gets a sender of ours (see [`crate::mail::srs`]).
    pub srs: bool,
    /// Journal, state, folders.
    pub spool: PathBuf,
    /// Where each user's INBOX lies.
    pub mail: PathBuf,
    /// Where the process number is written.
    pub pid_file: Option<PathBuf>,
    /// The control socket.
    pub control: PathBuf,
    /// Where it listens.
    pub listen: Vec<Listen>,
    /// Certificate and key; made in the spool when absent.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Passwords may be sent without TLS, from anywhere.
    pub plaintext_always: bool,
    /// IMAP sessions may log out and stay (RFC 8437).
    pub unauthenticate: bool,
    /// Bounds.
    pub limits: Limits,
    /// How long to wait.
    pub timeouts: Timeouts,
    /// Bytes a message may have, in wire form.
    pub max_message_size: u64,
    /// Clients that may relay without logging in.
    pub relay_networks: Vec<Network>,
    /// Of the queue.
    pub queue: Queue,
    /// What users may send.
    pub submission: Submission,
    /// What mail from strangers must pass.
    pub screen: Screen,
    /// Whose mail need not.
    pub allow: Allow,
    /// Addresses that are users' own beside those of their mailboxes.
    pub senders: Vec<Sender>,
    /// Who gets what can't be delivered to others.
    pub alternatives: Vec<Alternative>,
    /// Domains whose mail does not go by DNS.
    pub routes: Vec<Route>,
    /// How hosts are talked to that are named here.
    pub relays: Vec<Relay>,
    /// Name servers; empty: those of /etc/resolv.conf.
    pub dns_servers: Vec<SocketAddr>,
    /// Which of them are believed to have validated what they say so of.
    pub trust_ad: Trust,
    /// How hosts are talked to that are found by DNS.
    pub outbound: Outbound,
    /// What is asked of mail from strangers.
    pub checks: Checks,
    /// What our users' mail is signed with.
    pub dkim: Vec<DkimKey>,
    /// Of the log.
    pub log: Log,
}

/// What is done about junk.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub enum Junk {
    /// Nothing; nothing is learned.
    #[default]
    Off,
    /// It is marked.
    Mark,
    /// It is marked, and what is junk goes into the folder for that.
    File,
}

/// Where users are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserDatabase {
    /// The accounts of this host.
    System,
    /// A users file.
    File(PathBuf),
}

impl Config {
    /// The users files.
    pub fn users_files(&self) -> impl Iterator<Item = &Path> {
        self.users.iter().filter_map(|database| match database {
            UserDatabase::File(path) => Some(path.as_path()),
            UserDatabase::System => None,
        })
    }

    /// Where mailing lists lie.
    pub fn lists_dir(&self) -> PathBuf {
        self.lists.clone().unwrap_or_else(|| self.spool.join("lists"))
    }

    /// Where its Unix sockets are, the control socket among them.
    pub fn sockets(&self) -> impl Iterator<Item = &Path> {
        self.listen.iter().flat_map(Listen::sockets).chain([self.control.as_path()])
    }

    /// Are accounts of this host users?
    pub fn has_system_users(&self) -> bool {
        self.users.contains(&UserDatabase::System)
    }
}

/// One listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// The addresses.
    pub at: Vec<Endpoint>,
    /// What is spoken there.
    pub protocol: Protocol,
    /// Whether and how it is encrypted.
    pub tls: Tls,
    /// Who may connect, if any are named: proxies, that tell who connects to them (PROXY protocol).
    pub proxy: Vec<Network>,
}

impl Listen {
    /// Where its Unix sockets are.
    pub fn sockets(&self) -> impl Iterator<Item = &Path> {
        self.at.iter().filter_map(|endpoint| match endpoint {
            Endpoint::Unix(path) => Some(path.as_path()),
            Endpoint::Tcp(_) => None,
        })
    }
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// An IP address and port; port 0 takes a free one.
    Tcp(SocketAddr),
    /// A path.
    Unix(PathBuf),
}

impl fmt::Display for Endpoint {
    /// As it is written in the configuration.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp(address) => address.fmt(out),
            Endpoint::Unix(path) => write!(out, "unix:{}", path.display()),
        }
    }
}

impl Protocol {
    /// All there are.
    pub const ALL: [Protocol; 7] =
        [Protocol::Smtp, Protocol::Submission, Protocol::Lmtp, Protocol::Pop3, Protocol::Imap, Protocol::Http, Protocol::Metrics];

    /// As it is written in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Smtp => "smtp",
            Protocol::Submission => "submission",
            Protocol::Lmtp => "lmtp",
            Protocol::Pop3 => "pop3",
            Protocol::Imap => "imap",
            Protocol::Http => "http",
            Protocol::Metrics => "metrics",
        }
    }
}

impl Tls {
    /// As it is written in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Tls::None => "none",
            Tls::Starttls => "starttls",
            Tls::Implicit => "implicit",
        }
    }
}

/// What a listener speaks.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Mail from other hosts.
    Smtp,
    /// Mail from our users.
    Submission,
    /// LMTP: mail for users of this host from another server (RFC 2033).
    Lmtp,
    /// POP3.
    Pop3,
    /// IMAP.
    Imap,
    /// HTTP: webmail.
    Http,
    /// HTTP: health and counters, for those who watch the daemon.
    Metrics,
}

/// How a listener is encrypted.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Not at all.
    None,
    /// When the client asks for it.
    Starttls,
    /// From the first byte.
    Implicit,
}

/// A network in CIDR notation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Any address in it.
    pub address: IpAddr,
    /// Leading bits that count.
    pub bits: u8,
}

impl Network {
    /// Is the address in it? An IPv4 address written as an IPv6 one is an IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let same = |ours: u128, theirs: u128, width: u32| {
            let ignored = width.saturating_sub(u32::from(self.bits));
            ours.checked_shr(ignored).unwrap_or(0) == theirs.checked_shr(ignored).unwrap_or(0)
        };
        match (self.address.to_canonical(), address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => same(u32::from(ours).into(), u32::from(theirs).into(), 32),
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => same(ours.into(), theirs.into(), 128),
            _ => false,
        }
    }
}

/// Bounds on what clients may use.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Sessions in all.
    pub sessions: usize,
    /// Sessions of one service (protocol), so that one that is flooded leaves room for the others.
    pub per_service: usize,
    /// Sessions of one client network (IPv4 /32, IPv6 /64); loopback is not counted.
    pub per_network: usize,
    /// Recipients of one message.
    pub recipients: usize,
    /// Errors before a session is ended.
    pub errors: usize,
    /// Bytes of disk that must stay free.
    pub min_free: u64,
    /// Bytes of mail a user may keep; zero: any.
    pub quota: u64,
}

/// How long to wait for a peer.
#[derive(Clone, Debug, PartialEq)]
pub struct Timeouts {
    /// POP3: between commands.
    pub idle: Duration,
    /// SMTP: between commands.
    pub command: Duration,
    /// Between blocks of a message.
    pub data: Duration,
    /// For another host, at each step, if RFC 5321 §4.5.3.2 does not want it shorter.
    pub remote: Duration,
    /// For a program that takes a message.
    pub program: Duration,
    /// At the end, for messages that are arriving.
    pub stop: Duration,
}

/// How the queue is worked off.
#[derive(Clone, Debug, PartialEq)]
pub struct Queue {
    /// Waiting times between tries; the last repeats.
    pub retry: Vec<Duration>,
    /// After that long the sender gets a report.
    pub lifetime: Duration,
    /// After that long the sender is told of the delay; zero: never.
    pub warn: Duration,
    /// `host:port` for all mail; none: by DNS.
    pub smarthost: Option<(String, u16)>,
    /// `host:port` for what no host of its domain can be reached for.
    pub fallback: Option<(String, u16)>,
    /// The port asked at MX hosts.
    pub smtp_port: u16,
    /// Delivery threads.
    pub workers: usize,
    /// Connections to one destination.
    pub per_destination: usize,
}

/// What users who have logged in may send.
#[derive(Clone, Debug, PartialEq)]
pub struct Submission {
    /// Under any address; else under their own.
    pub any_sender: bool,
    /// For how long a message may be kept back (RFC 4865); zero: that is not offered.
    pub longest_wait: Duration,
    /// Recipients of one user within an hour; zero: any number.
    pub per_hour: u64,
    /// The same within a day.
    pub per_day: u64,
}

/// What mail from strangers must pass.
#[derive(Clone, Debug, PartialEq)]
pub struct Screen {
    /// DNS zones of blocklists (RFC 5782), in lower case.
    pub blocklists: Vec<String>,
    /// Who was never here before is asked to come again.
    pub greylist: bool,
    /// After that long.
    pub greylist_wait: Duration,
    /// Recipients within an hour, of one client network; zero: any number.
    pub per_network: u64,
    /// The same of one sender.
    pub per_sender: u64,
}

/// Whose mail need not pass it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Allow {
    /// Clients.
    pub networks: Vec<Network>,
    /// Addresses, and domains for all addresses there; in lower case.
    pub senders: Vec<String>,
}

/// Addresses of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// Whose.
    pub user: String,
    /// Addresses, and domains for all addresses there; in lower case.
    pub addresses: Vec<String>,
}

/// Who gets what can't be delivered to somebody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alternative {
    /// Whose mail: an address, or a domain for all addresses there; in lower case.
    pub address: String,
    /// Who gets it instead: an address.
    pub to: String,
    /// At this age also what is not given up; none: only what is.
    pub after: Option<Duration>,
}

impl Alternative {
    /// Is it for this address in this domain, both in lower case?
    pub fn is_for(&self, address: &str, domain: &str) -> bool {
        self.address == address || self.address == domain
    }
}

/// Where a domain's mail goes, whatever DNS says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// In lower case.
    pub domain: String,
    /// Where its mail goes.
    pub via: Via,
}

/// Where the mail of a domain goes that has a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Via {
    /// A name or address, and a port.
    Host(String, u16),
    /// A store that speaks LMTP.
    Lmtp(Site),
    /// To a program of this host.
    Program(Arc<Program>),
}

/// Where a server is, as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Site {
    /// A name or address, and a port.
    Host(String, u16),
    /// A socket of this host.
    Unix(PathBuf),
}

/// A program that takes messages.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Program {
    /// Its path and its arguments.
    pub words: Vec<String>,
    /// Who runs it.
    pub user: Option<String>,
}

/// How a host is talked to that the smarthost, the fallback or a route names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relay {
    /// Name or address, as it is named there.
    pub host: String,
    /// Port.
    pub port: u16,
    /// What it must prove.
    pub tls: RelayTls,
    /// Authorities that may vouch for it (PEM); none: those of the system.
    pub ca: Option<PathBuf>,
    /// The file with our name and password.
    pub login: Option<PathBuf>,
}

/// How a relay is encrypted.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum RelayTls {
    /// If it can, whoever it is.
    May,
    /// By STARTTLS, whoever it is.
    Encrypt,
    /// By STARTTLS, with a certificate that is valid for its name.
    Verify,
    /// From the first byte, with such a certificate (RFC 8314 §3.3).
    Implicit,
}

/// How hosts are talked to that nothing is said of here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outbound {
    /// As their TLSA records want it (RFC 7672).
    pub dane: bool,
    /// As the policies of their domains want it (RFC 8461).
    pub mta_sts: bool,
    /// Authorities that may vouch for hosts by such policies, and for those that the policies are fetched from (PEM); none:
    /// those of the system.
    pub ca: Option<PathBuf>,
    /// The port asked for policies.
    pub mta_sts_port: u16,
    /// Where the links of mailing lists may lead by which users leave with one click.
    pub unsubscribe: Reach,
}

/// Which addresses are called that a stranger chose.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// None.
    Nowhere,
    /// Those that anybody can reach.
    Internet,
    /// Those of this host and its networks, too.
    Anywhere,
}

/// How mail from strangers is checked (see [`crate::trust`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checks {
    /// By SPF, DKIM and DMARC.
    pub verify: bool,
    /// What its author's domain wants refused is refused; else it is only marked.
    pub obey_dmarc: bool,
    /// Domains that want to hear each day of what came in their name do (RFC 7489 §7.2).
    pub report_dmarc: bool,
}

/// A key that mail of a domain is signed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DkimKey {
    /// In lower case.
    pub domain: String,
    /// Under which its other half is published.
    pub selector: String,
    /// Its file (PEM).
    pub key: PathBuf,
}

/// Which name servers are believed when they say that they have validated an answer (the AD bit, RFC 4035 §3.2.3).
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Those of this host: nobody sits between them and us. Others if resolv.conf says `options trust-ad` (resolv.conf(5)).
    Local,
    /// All.
    Always,
    /// None.
    Never,
}

/// Where log lines go.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// To syslog; else to standard error.
    pub syslog: bool,
    /// The least important level that is written.
    pub level: log::LevelFilter,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_no_bits_is_everybody_of_its_family() {
        let all = |address: &str| Network { address: address.parse().unwrap(), bits: 0 };
        let (v4, v6) = ("192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap());
        assert!(all("0.0.0.0").contains(v4) && !all("0.0.0.0").contains(v6));
        assert!(all("1::").contains(v6) && !all("1::").contains(v4));
    }
}
