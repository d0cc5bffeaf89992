//! `sendmail` and `mailq`, as programs expect them.
//!
//! `options` reads the words, `letter` the message (from standard input, whole, before anything is sent: a program that
//! writes slowly or dies must not leave half a message behind), `addresses` finds whom it goes to, `submit` hands it in, or `leave`s it for a
//! daemon that is down, for which `dialogue` answers a caller that speaks SMTP; `pick` tells which messages of the queue are
//! meant.

mod addresses;
mod dialogue;
mod leave;
mod letter;
mod options;
mod pick;
mod submit;

use super::call::{self, unreachable_daemon};
use super::show::{self, List};
use super::{Failure, load, say};
use crate::config::{Config, Listen, Protocol};
use crate::mail::{Address, Domain, ReversePath};
use crate::net::Connection;
use crate::sys::exit;
use letter::Letter;
use nix::unistd::{User, getuid};
use options::{Mode, Options};
use std::collections::HashSet;
use std::ffi::OsString;
use std::io::{self, ErrorKind, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use submit::Unsent;

/// Called as `sendmail`.
pub fn run(words: &[OsString]) -> Result<(), Failure> {
    let options = Options::parse(words)?;
    let config = load(options.config.as_deref())?;
    match options.mode {
        Mode::Deliver => deliver(&options, &config),
        Mode::Smtp => pass_through(&config),
        Mode::List => list(List::Mailq, &options, &config),
        Mode::Flush => flush(&options, &config),
        Mode::Verify => verify(&options, &config),
        Mode::Aliases => Ok(()),
    }
}

fn list(list: List, options: &Options, config: &Config) -> Result<(), Failure> {
    list.print(&config.control, |message| pick::all_mean(&options.picks, message))
}

/// A message is tried as a whole, as by sendmail, whichever part of it was named.
fn flush(options: &Options, config: &Config) -> Result<(), Failure> {
    if options.picks.is_empty() {
        return call::ask(&config.control, "queue flush").map(drop);
    }
    let mut ids = Vec::new();
    call::ask_for_each(&config.control, "queue list", |message| {
        ids.extend(message["id"].as_str().filter(|_| pick::all_mean(&options.picks, message)).map(str::to_owned));
        Ok(())
    })?;
    ids.iter().try_for_each(|id| call::ask(&config.control, &format!("queue flush {id}")).map(drop))
}

/// `-bv`: where mail for each address would go. The daemon is asked, nothing is sent.
fn verify(options: &Options, config: &Config) -> Result<(), Failure> {
    let here = home_domain(config)?;
    let mut failed = None;
    for address in options.recipients.iter().flat_map(|word| addresses::scan(word)) {
        let address = parse(&address, &here, exit::USAGE)?;
        say(&format!("{address}: "))?;
        match call::ask(&config.control, &format!("route {address}")).and_then(|route| show::route(&route)) {
            Err(failure) if failure.code == exit::NOUSER => {
                say(&format!("{}\n", failure.what))?;
                failed = Some(Failure { what: String::new(), ..failure });
            }
            shown => shown?,
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Called as `mailq`.
pub fn mailq(words: &[OsString]) -> Result<(), Failure> {
    let options = Options::parse(words)?;
    let form = if words.iter().any(|word| word == "--json") { List::Json } else { List::Mailq };
    list(form, &options, &load(options.config.as_deref())?)
}

/// Who calls, as the system knows it.
struct Caller {
    name: String,
    full_name: String,
}

impl Caller {
    fn now() -> Caller {
        let uid = getuid();
        match User::from_uid(uid) {
            Ok(Some(user)) => {
                // By custom the field holds commas before room and telephone, and `&` for the login name.
                let gecos = user.gecos.to_string_lossy().into_owned();
                let full_name = gecos.split(',').next().unwrap_or_default().replace('&', &user.name);
                Caller { name: user.name, full_name }
            }
            _ => Caller { name: format!("uid-{uid}"), full_name: String::new() },
        }
    }
}

fn deliver(options: &Options, config: &Config) -> Result<(), Failure> {
    let caller = Caller::now();
    let here = home_domain(config)?;
    let qualify = |text: &str| addresses::qualify(text, &here);
    let own = qualify(&caller.name).unwrap_or_else(|| format!("nobody@{}", config.hostname));
    let sender = match &options.sender {
        Some(given) if matches!(given.as_str(), "" | "<>") => ReversePath(None),
        Some(given) => match addresses::scan(given).as_slice() {
            [one] => ReversePath(Some(parse(one, &here, exit::USAGE)?)),
            _ => return Err(Failure::new(exit::USAGE, format!("`{given}` is not a sender's address"))),
        },
        None => ReversePath(Some(parse(&own, &here, exit::USAGE)?)),
    };
    let mut recipients = Vec::new();
    for word in &options.recipients {
        for address in addresses::scan(word) {
            recipients.push(parse(&address, &here, exit::USAGE)?);
        }
    }
    let mut letter = Letter::read(&mut io::stdin().lock(), options.ignore_dots)?;
    if options.from_header {
        for address in letter.recipients() {
            recipients.push(parse(&address, &here, exit::DATAERR)?);
        }
    }
    // Nobody gets a message twice for being named twice.
    let mut seen = HashSet::new();
    recipients.retain(|address: &Address| seen.insert(address.to_string()));
    if recipients.is_empty() {
        return Err(Failure::new(exit::USAGE, "no recipients: name them, or use -t and say them in the message"));
    }
    let from = sender.0.as_ref().map_or(own, Address::to_string);
    letter.add_from(options.full_name.as_deref().unwrap_or(&caller.full_name), &from);
    let socket = submit_socket(config)?;
    let envelope = submit::Envelope { sender: &sender, recipients: &recipients, dsn: &options.dsn, notify: options.notify };
    match submit::submit(socket, &config.hostname, &envelope, &mut letter) {
        Ok(()) => Ok(()),
        Err(Unsent::Failed(failure)) => Err(failure),
        // Cron would not try again.
        Err(Unsent::NoDaemon(reason)) => leave::leave(config, &envelope, &mut letter).inspect_err(|_| {
            let _ = writeln!(io::stderr(), "sendmail: {}", reason.what);
        }),
    }
}

fn parse(text: &str, here: &Domain, code: u8) -> Result<Address, Failure> {
    let address = addresses::qualify(text, here).and_then(|address| address.parse().ok());
    address.ok_or_else(|| Failure::new(code, format!("`{}` is not an address", text.escape_debug())))
}

/// What is put behind a name without a domain: ours, if mail for it stays here.
fn home_domain(config: &Config) -> Result<Domain, Failure> {
    let own = config.domains.iter().find(|domain| domain.eq_ignore_ascii_case(&config.hostname));
    let name = own.or(config.domains.first()).unwrap_or(&config.hostname);
    Domain::parse(name).map_err(|_| Failure::new(exit::CONFIG, format!("`{name}` can't stand in an address")))
}

/// Where the daemon takes mail from programs of this host.
fn submit_socket(config: &Config) -> Result<&Path, Failure> {
    let listeners = config.listen.iter().filter(|listen| listen.protocol == Protocol::Submission);
    let first = listeners.flat_map(Listen::sockets).next();
    first.ok_or_else(|| Failure::new(exit::CONFIG, "the configuration has no Unix socket for submission"))
}

/// `-bs`: the caller speaks SMTP itself.
fn pass_through(config: &Config) -> Result<(), Failure> {
    let path = submit_socket(config)?;
    match UnixStream::connect(path) {
        Ok(daemon) => carry(&daemon),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => answer(config),
        Err(error) => Err(unreachable_daemon(path, &error)),
    }
}

/// The same while the daemon is down.
fn answer(config: &Config) -> Result<(), Failure> {
    let (ours, its) = UnixStream::pair()?;
    let here = home_domain(config)?;
    thread::scope(|scope| {
        let speaker = scope.spawn(|| dialogue::speak(config, here, Connection::from_unix(its)?));
        carry(&ours)?;
        speaker.join().unwrap_or_else(|_| Err(Failure::new(exit::SOFTWARE, "the dialogue broke off")))
    })
}

/// Passes on what the caller says, and what is said to it.
fn carry(server: &UnixStream) -> Result<(), Failure> {
    let mut to_server = server.try_clone()?;
    // When the server has said its last word the process ends, and this thread with it.
    thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut to_server);
        let _ = to_server.shutdown(Shutdown::Write);
    });
    let (mut from_server, mut out) = (server, io::stdout().lock());
    io::copy(&mut from_server, &mut out)?;
    out.flush()?;
    Ok(())
}
