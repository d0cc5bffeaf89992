//! The operator's tool, and what every Unix program hands its mail to.
//!
//! `call` speaks with the daemon through its control socket, `show` puts the answers into words, `users` works on the users
//! file itself, `check` looks whether all is well, `dkim` makes keys, `dns` shows what is to be published, `transfer` brings mail in and out, `sendmail` hands in mail by SMTP through a
//! Unix socket.

mod aliases;
mod call;
mod check;
mod dkim;
mod dns;
mod junk;
mod list;
mod sendmail;
mod show;
mod transfer;
mod users;
mod vacation;

use crate::config::{self, Config};
use crate::sys::exit;
use getopts::{Options, ParsingStyle};
use serde::Serialize;
use serde_json::Value;
use show::List;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Why a program of ours fails.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    /// Of `sys::exit`.
    pub code: u8,
    /// A line for the one who called; empty: all is said.
    pub what: String,
}

impl Failure {
    fn new(code: u8, what: impl fmt::Display) -> Failure {
        Failure { code, what: what.to_string() }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::new(exit::TEMPFAIL, error)
    }
}

/// The options of sendmail that mean something here; all others are passed over.
pub const SENDMAIL_OPTIONS: &[&str] =
    &["t", "i", "oi", "f", "r", "F", "N", "R", "V", "C", "bm", "bs", "bp", "bv", "bi", "I", "q", "-"];

const USAGE: &str = "\
usage: pillarboxctl [-f FILE] COMMAND

    status                          how the daemon is
    check                           what is wrong with this host, and what to do
    log                             what is logged
    log LEVEL [MODULE]              log more or less, until it reads its configuration again
    reload                          make it read its configuration again
    queue list                      what waits to be delivered
    queue show ID                   all about one message
    queue flush [WHICH]             try now: a message (its ID), what goes to a DOMAIN or comes from a SENDER
    queue hold|release|remove WHICH don't try it; try it again; take it out
    route ADDRESS                   where mail for an address goes, and why
    aliases check                   what is wrong with the alias files
    vacation show [USER]            the reply to mail for who is away
    vacation set [USER] [--FIELD VALUE ...]    set it; the text comes from standard input
    vacation off [USER]             no more replies
    junk show [USER]                how much of what a user takes for junk is learned
    junk learn USER --junk|--good [FILE...]    learn from mbox files or messages; without, from Junk or INBOX
    junk forget USER                forget all of it
    list list                       the mailing lists
    list create NAME OWNER          make one
    list show|members|held NAME     what it is like; who is a member; which posts wait for a moderator
    list add|remove NAME ADDRESS... change its members; - reads them from standard input
    list approve|reject|discard NAME ID   let a post through; send it back; throw it away
    list delete NAME                end it
    mailbox list USER               the folders of a user
    mailbox check USER [FOLDER]     what is wrong with a mailbox
    mailbox rebuild USER [FOLDER]   mend that
    mailbox compact USER [FOLDER]   take back the room of removed messages
    import USER SOURCE [FOLDER]     bring in mail: a Maildir, mbox files, imaps://NAME@HOST
    export USER DIRECTORY [--mbox]  write all mail of a user as Maildir, or as mbox files
    dns                             the records to publish; with --check, how they differ from what is published
    dkim make DOMAIN SELECTOR       make a key to sign mail with; with --ed25519 one of that kind, else RSA
    dkim show                       what is to be published of the keys in use
    adopt HOST                      take over the mail of another host that is off for good
    user add|passwd NAME            the password comes from standard input
    user remove NAME
    user list
    sendmail ...                    hand in a message: see sendmail(8)

With --json, status, check, dns --check, log, route, import, export, vacation show, junk show, mailbox check and all that list answer in JSON.

    -f FILE    configuration file (/etc/pillarbox/pillarbox.conf)
    -h         show this help
    -V         show the version
";

/// The tool's entry: which one it is depends on the name it is called by.
pub fn main() -> ExitCode {
    let mut words = std::env::args_os();
    let name = words.next().unwrap_or_default();
    let name = Path::new(&name).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let words: Vec<OsString> = words.collect();
    let (name, result) = match name.as_str() {
        "sendmail" => ("sendmail", sendmail::run(&words)),
        "mailq" => ("mailq", sendmail::mailq(&words)),
        "newaliases" => ("newaliases", aliases::newaliases(&words)),
        _ => ("pillarboxctl", run(&words)),
    };
    match result {
        Ok(()) => ExitCode::from(exit::OK),
        Err(failure) => {
            if !failure.what.is_empty() {
                let _ = writeln!(io::stderr(), "{name}: {}", failure.what);
            }
            ExitCode::from(failure.code)
        }
    }
}

fn run(words: &[OsString]) -> Result<(), Failure> {
    let mut options = Options::new();
    options.parsing_style(ParsingStyle::StopAtFirstFree);
    options.optflag("h", "", "").optflag("V", "", "").optopt("f", "", "", "FILE");
    let usage = |what: &str| Failure::new(exit::USAGE, format!("{what}; pillarboxctl -h tells the commands"));
    let matches = options.parse(words).map_err(|error| usage(&error.to_string()))?;
    if matches.opt_present("h") {
        return say(USAGE);
    }
    if matches.opt_present("V") {
        return say(&format!("pillarboxctl {}\n", env!("CARGO_PKG_VERSION")));
    }
    let file = matches.opt_str("f").map(PathBuf::from);
    let words: Vec<&str> = matches.free.iter().map(String::as_str).collect();
    if let Some((&"sendmail", rest)) = words.split_first() {
        let mut rest: Vec<OsString> = rest.iter().map(OsString::from).collect();
        if let Some(file) = file {
            rest.splice(0..0, ["-C".into(), file.into()]);
        }
        return sendmail::run(&rest);
    }
    let json = words.contains(&"--json");
    let plain: Vec<&str> = words.iter().copied().filter(|word| *word != "--json").collect();
    if json
        && !matches!(plain.as_slice(), ["list", rest @ ..] if list::answers(rest))
        && !matches!(
            plain.as_slice(),
            ["status" | "check" | "log"]
                | ["import" | "export" | "route", ..]
                | ["vacation" | "junk", "show", ..]
                | [_, "list", ..]
                | ["dns", "--check"]
                | ["mailbox", "check", ..]
        )
    {
        return Err(usage("--json does not go with that"));
    }
    let config = || load(file.as_deref());
    let conf_file = file.as_deref().unwrap_or(Path::new(config::DEFAULT_FILE));
    let ask = |request: &str| call::ask(&config()?.control, request);
    let show = |answer: &Value, plain: fn(&Value) -> Result<(), Failure>| if json { print_json(answer) } else { plain(answer) };
    match plain.as_slice() {
        ["status"] => show(&ask("status")?, show::status),
        ["log"] => show(&ask("log")?, show::log_levels),
        ["log", rest @ ..] if matches!(rest.len(), 1 | 2) => ask(&format!("log {}", rest.join(" "))).map(drop),
        ["check"] => check::run(file.as_deref(), json),
        ["reload"] => ask("reload").map(drop),
        ["queue", "list"] => (if json { List::Json } else { List::Plain }).print(&config()?.control, |_| true),
        ["queue", "show", id] => show::message(&ask(&format!("queue show {id}"))?),
        ["queue", "flush"] => show::flushed(&ask("queue flush")?),
        ["queue", "flush", what] => show::flushed(&ask(&format!("queue flush {what}"))?),
        ["queue", "hold", what] => show::acted(&ask(&format!("queue hold {what}"))?, "held"),
        ["queue", "release", what] => show::acted(&ask(&format!("queue release {what}"))?, "released"),
        ["queue", "remove", what] => show::acted(&ask(&format!("queue remove {what}"))?, "removed"),
        ["aliases", "check"] => aliases::check(file.as_deref()),
        ["route", address] => show(&ask(&format!("route {address}"))?, show::route),
        ["vacation", "show", rest @ ..] => {
            show(&ask(&format!("vacation show {}", vacation::user(rest, &vacation::own_name())?))?, vacation::show)
        }
        ["vacation", "off", rest @ ..] => {
            vacation::show(&ask(&format!("vacation off {}", vacation::user(rest, &vacation::own_name())?))?)
        }
        ["vacation", "set", rest @ ..] => vacation::set(&config()?, rest),
        ["junk", "show", rest @ ..] => {
            show(&ask(&format!("junk show {}", vacation::user(rest, &vacation::own_name())?))?, junk::show)
        }
        ["junk", "learn", user, kind, files @ ..] => junk::learn(&config()?, user, kind, files),
        ["junk", "forget", user] => ask(&format!("junk forget {user}")).map(drop),
        ["mailbox", "list", user] => show(&ask(&format!("mailbox list {user}"))?, show::folders),
        ["mailbox", "check", rest @ ..] if matches!(rest.len(), 1 | 2) => {
            // 1: something was found; 2: it can't be told.
            let found = ask(&format!("mailbox check {}", rest.join(" ")));
            show::findings(&found.map_err(|failure| Failure { code: 2, ..failure })?, json)
        }
        ["mailbox", "rebuild", rest @ ..] if matches!(rest.len(), 1 | 2) => {
            let rebuilt = ask(&format!("mailbox rebuild {}", rest.join(" ")));
            show::rebuilt(&rebuilt.map_err(|failure| Failure { code: 2, ..failure })?)
        }
        ["mailbox", "compact", rest @ ..] if matches!(rest.len(), 1 | 2) => {
            show::compacted(&ask(&format!("mailbox compact {}", rest.join(" ")))?)
        }
        ["list", rest @ ..] => match list::run(&config()?.control, rest, json) {
            Some(result) => result,
            None => Err(usage(&format!("`{}` is not a command", plain.join(" ")))),
        },
        ["import", user, source] => transfer::import(&config()?, user, source, None, json),
        ["import", user, source, folder] => transfer::import(&config()?, user, source, Some(folder), json),
        ["export", user, dir] => transfer::export(&config()?, user, dir, false, json),
        ["export", user, dir, "--mbox"] => transfer::export(&config()?, user, dir, true, json),
        ["dkim", "make", domain, selector] => dkim::make(conf_file, domain, selector, false),
        ["dkim", "make", domain, selector, "--ed25519"] => dkim::make(conf_file, domain, selector, true),
        ["dkim", "show"] => dns::show_keys(&config()?),
        ["dns"] => dns::run(&config()?, false, false),
        ["dns", "--check"] => dns::run(&config()?, true, json),
        ["adopt", host] => show::adopted(&ask(&format!("adopt {host}"))?),
        ["user", "list"] => show(&users::list(&config()?)?, show::names),
        ["user", "add", name] => users::add(&config()?, name),
        ["user", "passwd", name] => users::passwd(&config()?, name),
        ["user", "remove", name] => users::remove(&config()?, name),
        [] => Err(Failure::new(exit::USAGE, format!("a command is missing\n{}", USAGE.trim_end()))),
        _ => Err(usage(&format!("`{}` is not a command", plain.join(" ")))),
    }
}

fn load(file: Option<&Path>) -> Result<Config, Failure> {
    config::load(file, &[]).map_err(|report| Failure::new(exit::CONFIG, format!("the configuration can't be used\n{report}")))
}

/// Writes to standard output. A reader that goes away early, as `head` does, is no error.
fn say(text: &str) -> Result<(), Failure> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// The same, as JSON.
fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::new(exit::SOFTWARE, error))?;
    say(&format!("{text}\n"))
}
