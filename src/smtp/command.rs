//! Commands of SMTP (RFC 5321 §4.1.1) and of the extensions we serve: bytes in, typed commands out.
//!
//! Strict where leniency would let something through that another server reads differently: a command is printable ASCII, and
//! UTF-8 only where an address can stand (RFC 6531 §3.1, §3.7.4.2).
//! Lenient where clients in the field are careless: the case of words, blanks at the end, a blank after the colon of
//! `MAIL FROM:`.

use super::reply::{self, Reply};
use crate::mail::dsn::{BadParameter, is_xtext};
use crate::mail::{Address, Body, Domain, MailDsn, RcptDsn, Release, ReversePath};
use crate::net::is_of_http;

/// A line with its CRLF may have so many bytes: 512 and what extensions add (RFC 5321 §4.5.3.1.4 and §4.1.1.11).
pub const MOST_LINE: usize = 2048;

/// The same for AUTH (RFC 4954 §4).
pub const MOST_AUTH_LINE: usize = 12_288;

/// What a command is about.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Verb {
    Helo,
    Ehlo,
    Lhlo,
    Mail,
    Rcpt,
    Data,
    Bdat,
    Rset,
    Noop,
    Quit,
    Vrfy,
    Help,
    Starttls,
    Auth,
}

/// A command with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// The client's name: one word, no more is known of it.
    Helo(&'a str),
    /// The same.
    Ehlo(&'a str),
    /// The same, in LMTP (RFC 2033 §4.1).
    Lhlo(&'a str),
    /// Begins a transaction.
    Mail(Mail),
    /// Adds a recipient.
    Rcpt(Rcpt),
    /// The message follows.
    Data,
    /// A part of the message follows (RFC 3030).
    Bdat {
        /// Its bytes; more than fits a number is the biggest number.
        size: u64,
        /// It is the last one.
        last: bool,
    },
    /// Forgets the transaction.
    Rset,
    /// Nothing.
    Noop,
    /// The end.
    Quit,
    /// Asks about somebody.
    Vrfy,
    /// Asks for help.
    Help,
    /// Asks for TLS (RFC 3207).
    Starttls,
    /// Logs in (RFC 4954).
    Auth {
        /// Its name.
        mechanism: &'a str,
        /// In base64, or `=`.
        initial: Option<&'a [u8]>,
    },
}

/// The arguments of MAIL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// Who sends, without the route.
    pub reverse_path: ReversePath,
    /// The size the client declares (RFC 1870); more than fits a number is the biggest number.
    pub size: Option<u64>,
    /// RFC 6152.
    pub body: Body,
    /// RFC 6531.
    pub utf8: bool,
    /// RFC 3461.
    pub dsn: MailDsn,
    /// RFC 8689.
    pub require_tls: bool,
    /// RFC 4865.
    pub release: Option<Release>,
}

/// The arguments of RCPT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rcpt {
    /// Who is to get it.
    pub path: ForwardPath,
    /// RFC 3461.
    pub dsn: RcptDsn,
}

/// The path of RCPT, without the route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForwardPath {
    /// `<postmaster>`, which needs no domain (RFC 5321 §4.5.1).
    Postmaster,
    /// Everybody else.
    Address(Address),
}

/// Why a line is no command.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// Control characters, or bytes beyond ASCII where none may be.
    Unreadable,
    /// Longer than its verb allows.
    TooLong,
    /// No such verb.
    Unknown,
    /// A verb of SMTP that we don't serve.
    NotImplemented,
    /// Another protocol, such as HTTP: its sender does not know to whom it speaks.
    Foreign,
    /// Arguments missing, malformed, twice, or too many.
    Arguments,
    /// Not a reverse-path.
    Sender,
    /// Not a forward-path.
    Recipient,
    /// An ESMTP parameter that we don't offer.
    Parameter,
}

impl From<BadParameter> for CommandError {
    fn from(_: BadParameter) -> CommandError {
        CommandError::Arguments
    }
}

impl CommandError {
    /// What to say.
    pub fn reply(self) -> Reply {
        match self {
            CommandError::Unreadable => reply::UNREADABLE,
            CommandError::TooLong => reply::LINE_TOO_LONG,
            CommandError::Unknown => reply::UNKNOWN,
            CommandError::NotImplemented => reply::NOT_IMPLEMENTED,
            CommandError::Foreign => reply::WRONG_PROTOCOL,
            CommandError::Arguments => reply::BAD_ARGUMENTS,
            CommandError::Sender => reply::BAD_SENDER,
            CommandError::Recipient => reply::BAD_RECIPIENT,
            CommandError::Parameter => reply::UNKNOWN_PARAMETER,
        }
    }
}

/// Verbs of RFC 5321, its forerunners and extensions that are not served.
const NOT_SERVED: [&str; 8] = ["EXPN", "TURN", "ETRN", "ATRN", "SEND", "SOML", "SAML", "BURL"];

/// Verbs that may be followed by addresses.
const TAKES_UTF8: [&str; 4] = ["MAIL", "RCPT", "VRFY", "EXPN"];

impl Command<'_> {
    /// Reads a line, without its CRLF.
    ///
    /// ```abnf
    /// command = verb [1*SP arguments] *WSP
    /// ```
    pub fn parse(line: &[u8]) -> Result<Command<'_>, CommandError> {
        let line = line.trim_ascii_end();
        let printable = |text: &&str| !text.bytes().any(|byte| byte.is_ascii_control());
        let text = std::str::from_utf8(line).ok().filter(printable).ok_or(CommandError::Unreadable)?;
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        let rest = rest.trim_start();
        let is = |verb: &&str| word.eq_ignore_ascii_case(verb);
        if !text.is_ascii() && !TAKES_UTF8.iter().any(is) {
            return Err(CommandError::Unreadable);
        }
        let Some((_, verb)) = VERBS.iter().find(|(name, _)| is(name)) else {
            return Err(match () {
                () if is_of_http(word.as_bytes()) => CommandError::Foreign,
                () if NOT_SERVED.iter().any(is) => CommandError::NotImplemented,
                () => CommandError::Unknown,
            });
        };
        if line.len() + 2 > MOST_LINE && *verb != Verb::Auth {
            return Err(CommandError::TooLong);
        }
        match verb {
            Verb::Helo => client_name(rest).map(Command::Helo),
            Verb::Ehlo => client_name(rest).map(Command::Ehlo),
            Verb::Lhlo => client_name(rest).map(Command::Lhlo),
            Verb::Mail => mail(rest).map(Command::Mail),
            Verb::Rcpt => rcpt(rest).map(Command::Rcpt),
            Verb::Data => alone(rest, Command::Data),
            Verb::Bdat => bdat(rest),
            Verb::Rset => alone(rest, Command::Rset),
            Verb::Noop => Ok(Command::Noop),
            Verb::Quit => alone(rest, Command::Quit),
            Verb::Vrfy => vrfy(rest),
            Verb::Help => Ok(Command::Help),
            Verb::Starttls => alone(rest, Command::Starttls),
            Verb::Auth => auth(rest),
        }
    }

    /// Its verb.
    pub fn verb(&self) -> Verb {
        match self {
            Command::Helo(_) => Verb::Helo,
            Command::Ehlo(_) => Verb::Ehlo,
            Command::Lhlo(_) => Verb::Lhlo,
            Command::Mail(_) => Verb::Mail,
            Command::Rcpt(_) => Verb::Rcpt,
            Command::Data => Verb::Data,
            Command::Bdat { .. } => Verb::Bdat,
            Command::Rset => Verb::Rset,
            Command::Noop => Verb::Noop,
            Command::Quit => Verb::Quit,
            Command::Vrfy => Verb::Vrfy,
            Command::Help => Verb::Help,
            Command::Starttls => Verb::Starttls,
            Command::Auth { .. } => Verb::Auth,
        }
    }
}

/// The most frequent first.
const VERBS: [(&str, Verb); 14] = [
    ("MAIL", Verb::Mail),
    ("RCPT", Verb::Rcpt),
    ("DATA", Verb::Data),
    ("BDAT", Verb::Bdat),
    ("RSET", Verb::Rset),
    ("QUIT", Verb::Quit),
    ("EHLO", Verb::Ehlo),
    ("HELO", Verb::Helo),
    ("LHLO", Verb::Lhlo),
    ("NOOP", Verb::Noop),
    ("STARTTLS", Verb::Starttls),
    ("AUTH", Verb::Auth),
    ("VRFY", Verb::Vrfy),
    ("HELP", Verb::Help),
];

fn alone<'a>(rest: &str, command: Command<'a>) -> Result<Command<'a>, CommandError> {
    if rest.is_empty() { Ok(command) } else { Err(CommandError::Arguments) }
}

/// ```abnf
/// bdat = "BDAT" SP 1*DIGIT [SP "LAST"]      ; RFC 3030 §2
/// ```
fn bdat(rest: &str) -> Result<Command<'_>, CommandError> {
    let (size, last) = rest.split_once(' ').map_or((rest, None), |(size, last)| (size, Some(last)));
    let size = number(size).ok_or(CommandError::Arguments)?;
    match last {
        None => Ok(Command::Bdat { size, last: false }),
        Some(word) if word.eq_ignore_ascii_case("LAST") => Ok(Command::Bdat { size, last: true }),
        Some(_) => Err(CommandError::Arguments),
    }
}

/// Does a line try to be BDAT? If it is not read, nobody knows how much follows that is no command.
pub fn is_of_bdat(line: &[u8]) -> bool {
    line.get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case(b"BDAT"))
}

/// One word. RFC 5321 §4.1.4 wants mail taken from clients whose name is no domain.
///
/// ```abnf
/// ehlo = "EHLO" SP ( Domain / address-literal )
/// ```
fn client_name(rest: &str) -> Result<&str, CommandError> {
    if rest.is_empty() || rest.len() > 255 || rest.contains(' ') { Err(CommandError::Arguments) } else { Ok(rest) }
}

/// ```abnf
/// auth = "AUTH" SP sasl-mech [SP initial-response]      ; RFC 4954 §8
/// ```
fn auth(rest: &str) -> Result<Command<'_>, CommandError> {
    let (mechanism, initial) = match rest.split_once(' ') {
        Some((mechanism, initial)) => (mechanism, Some(initial)),
        None => (rest, None),
    };
    if mechanism.is_empty() || initial.is_some_and(|response| response.is_empty() || response.contains(' ')) {
        return Err(CommandError::Arguments);
    }
    Ok(Command::Auth { mechanism, initial: initial.map(str::as_bytes) })
}

/// Nobody is verified, so no reply holds a name that the client might not be able to read.
///
/// ```abnf
/// vrfy = "VRFY" SP String [ SP "SMTPUTF8" ] CRLF    ; RFC 6531 §3.7.4.2
/// ```
fn vrfy(rest: &str) -> Result<Command<'_>, CommandError> {
    let (_, last) = rest.rsplit_once(' ').unwrap_or(("", ""));
    let with_value = after_word(last, "SMTPUTF8=").is_some();
    if rest.is_empty() || with_value { Err(CommandError::Arguments) } else { Ok(Command::Vrfy) }
}

/// ```abnf
/// mail = "MAIL FROM:" Reverse-path [SP Mail-parameters]
/// Reverse-path = Path / "<>"
/// ```
fn mail(rest: &str) -> Result<Mail, CommandError> {
    let rest = after_word(rest, "FROM:").ok_or(CommandError::Arguments)?;
    let (reverse_path, rest) = match rest.strip_prefix("<>") {
        Some(rest) => (ReversePath(None), rest),
        None => path(rest).map(|(address, rest)| (ReversePath(Some(address)), rest)).ok_or(CommandError::Sender)?,
    };
    let (body, dsn) = (Body::default(), MailDsn::default());
    let mut mail = Mail { reverse_path, size: None, body, utf8: false, dsn, require_tls: false, release: None };
    let (mut size, mut body, mut auth) = (None, None, None);
    for parameter in parameters(rest).ok_or(CommandError::Sender)? {
        let (name, value) = parameter?;
        let seen = match name {
            name if name.eq_ignore_ascii_case("SIZE") => &mut size,
            name if name.eq_ignore_ascii_case("BODY") => &mut body,
            name if name.eq_ignore_ascii_case("AUTH") => &mut auth,
            // It stands alone, and once (RFC 6531 §3.4).
            name if name.eq_ignore_ascii_case("SMTPUTF8") && value.is_none() && !mail.utf8 => {
                mail.utf8 = true;
                continue;
            }
            name if name.eq_ignore_ascii_case("SMTPUTF8") => return Err(CommandError::Arguments),
            // The same (RFC 8689 §2).
            name if name.eq_ignore_ascii_case("REQUIRETLS") && value.is_none() && !mail.require_tls => {
                mail.require_tls = true;
                continue;
            }
            name if name.eq_ignore_ascii_case("REQUIRETLS") => return Err(CommandError::Arguments),
            _ if mail.dsn.take(name, value)? || Release::take(&mut mail.release, name, value)? => continue,
            _ => return Err(CommandError::Parameter),
        };
        if seen.replace(value.ok_or(CommandError::Arguments)?).is_some() {
            return Err(CommandError::Arguments);
        }
    }
    if let Some(digits) = size {
        mail.size = Some(number(digits).ok_or(CommandError::Arguments)?);
    }
    match body {
        Some(word) if word.eq_ignore_ascii_case("8BITMIME") => mail.body = Body::EightBitMime,
        Some(word) if !word.eq_ignore_ascii_case("7BIT") => return Err(CommandError::Arguments),
        _ => {}
    }
    // Read and believed by nobody: whoever it names did not log in here (RFC 4954 §5).
    if auth.is_some_and(|value| !is_xtext(value)) {
        return Err(CommandError::Arguments);
    }
    Ok(mail)
}

/// ```abnf
/// rcpt = "RCPT TO:" ( "<Postmaster@" Domain ">" / "<Postmaster>" / Forward-path ) [SP Rcpt-parameters]
/// ```
fn rcpt(rest: &str) -> Result<Rcpt, CommandError> {
    let rest = after_word(rest, "TO:").ok_or(CommandError::Arguments)?;
    let (path, rest) = match after_word(rest, "<postmaster>") {
        Some(rest) => (ForwardPath::Postmaster, rest),
        None => path(rest).map(|(address, rest)| (ForwardPath::Address(address), rest)).ok_or(CommandError::Recipient)?,
    };
    let mut rcpt = Rcpt { path, dsn: RcptDsn::default() };
    for parameter in parameters(rest).ok_or(CommandError::Recipient)? {
        let (name, value) = parameter?;
        if !rcpt.dsn.take(name, value)? {
            return Err(CommandError::Parameter);
        }
    }
    Ok(rcpt)
}

/// What follows a word, in any case, and one blank.
fn after_word<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let found = text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    let rest = text.get(word.len()..).filter(|_| found)?;
    // A blank between path and parameters is not ours to eat.
    Some(if word.ends_with(':') { rest.strip_prefix(' ').unwrap_or(rest) } else { rest })
}

/// A path at the start, and the rest. The source route is read over (RFC 5321 §4.1.1.3, appendix C).
///
/// ```abnf
/// Path  = "<" [ A-d-l ":" ] Mailbox ">"
/// A-d-l = At-domain *( "," At-domain )
/// At-domain = "@" Domain
/// ```
fn path(text: &str) -> Option<(Address, &str)> {
    let mut rest = text.strip_prefix('<')?;
    while let Some(route) = rest.strip_prefix('@') {
        let end = match route.find(']') {
            Some(end) if route.starts_with('[') => end + 1,
            _ => route.find([',', ':'])?,
        };
        Domain::parse(route.get(..end)?).ok()?;
        rest = route.get(end..)?;
        rest = match rest.strip_prefix(',') {
            Some(next) if next.starts_with('@') => next,
            Some(_) => return None,
            None => rest.strip_prefix(':').filter(|mailbox| !mailbox.starts_with('@'))?,
        };
    }
    let (address, rest) = Address::parse_prefix(rest).ok()?;
    Some((address, rest.strip_prefix('>')?))
}

/// A keyword and its value.
type Parameter<'a> = (&'a str, Option<&'a str>);

/// The ESMTP parameters behind a path. None: what follows the path is not set off by a blank.
///
/// ```abnf
/// esmtp-param   = esmtp-keyword ["=" esmtp-value]
/// esmtp-keyword = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-")
/// esmtp-value   = 1*(%d33-60 / %d62-126 / UTF8-non-ascii)      ; RFC 6531 §3.3
/// ```
fn parameters(rest: &str) -> Option<impl Iterator<Item = Result<Parameter<'_>, CommandError>>> {
    if !rest.is_empty() && !rest.starts_with(' ') {
        return None;
    }
    Some(rest.split(' ').filter(|word| !word.is_empty()).map(|word| {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word, None),
        };
        let name_ok =
            name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') && !name.is_empty() && !name.starts_with('-');
        let value_ok = value.is_none_or(|value| !value.is_empty() && !value.contains('='));
        if name_ok && value_ok { Ok((name, value)) } else { Err(CommandError::Arguments) }
    }))
}

/// `1*DIGIT`; more than fits is as much as fits.
fn number(digits: &str) -> Option<u64> {
    let all = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
