//! Requests: bytes in, something typed out. Pure.

use super::{junk, list};
use crate::delivery::Which;
use crate::mail::vacation::MOST_BYTES;
use crate::mail::{Address, Domain, ReversePath};
use crate::mailbox::FolderName;
use crate::spool::SpoolId;
use log::LevelFilter;

/// A request.
///
/// ```abnf
/// request = ( "status" / "reload" / "log" [ " " level [ " " module ] ] / "queue list" / "queue show " id / "queue flush" [ " " which ]
///           / "queue " ( "hold " / "release " / "remove " ) which / "list " list::request / "route " address / "adopt " host
///           / "mailbox list " user / ( "import " / "export " ) user / "mailbox " ( "check " / "rebuild " / "compact " ) user [ " " folder ]
///           / "junk " junk::request / "vacation " ( "show " / "off " ) user / "vacation set " user " " 1*DIGIT ) CRLF
/// which   = id / domain / sender
/// sender  = address / "<" [ address ] ">"
/// id      = 16HEXDIG "-" 1*16HEXDIG
/// level   = "off" / "error" / "warn" / "info" / "debug" / "trace"
/// module  = 1*( ALPHA / "_" / ":" )
/// host    = 1*255( ALPHA / DIGIT / "." / "-" / "_" )   ; not first a dot
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// How is the daemon?
    Status,
    /// Read the configuration again.
    Reload,
    /// What is logged?
    LogLevels,
    /// Log this from now on; of one module, or all.
    LogLevel(LevelFilter, Option<String>),
    /// What waits?
    List,
    /// All about one message.
    Show(SpoolId),
    /// Try what waits now.
    Flush(Which),
    /// Don't try it.
    Hold(Which),
    /// Try it again.
    Release(Which),
    /// Take it out.
    Remove(Which),
    /// About mailing lists.
    OfLists(list::Request),
    /// Where does this address lead?
    Route(Address),
    /// Take over the journal of another host.
    Adopt(String),
    /// Mail for this user follows.
    Import(String),
    /// Send all mail of this user.
    Export(String),
    /// About what a user takes for junk.
    OfJunk(junk::Request),
    /// With what is mail for this user answered?
    Vacation(String),
    /// With nothing any more.
    VacationOff(String),
    /// With what follows, so many bytes.
    VacationSet(String, usize),
    /// Which folders has this user?
    Folders(String),
    /// What is wrong with a mailbox of a user? None: the INBOX.
    Check(String, Option<FolderName>),
    /// Mend it.
    Rebuild(String, Option<FolderName>),
    /// Take back the room of what was removed from it.
    Compact(String, Option<FolderName>),
}

impl Command {
    /// Reads a line, without its CRLF. An error is a sentence for the one who asked.
    pub fn parse(line: &[u8]) -> Result<Command, String> {
        let text = std::str::from_utf8(line).map_err(|_| "the request is not text".to_owned())?;
        let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
        match (verb, rest) {
            ("status", "") => Ok(Command::Status),
            ("reload", "") => Ok(Command::Reload),
            ("log", "") => Ok(Command::LogLevels),
            ("log", rest) => Command::parse_log(rest),
            ("list", rest) => list::Request::parse(rest).map(Command::OfLists),
            ("route", address) => match address.parse() {
                Ok(address) => Ok(Command::Route(address)),
                Err(_) => Err("that is not an address such as user@example.org".to_owned()),
            },
            ("adopt", host) if is_host(host) => Ok(Command::Adopt(host.to_owned())),
            ("adopt", _) => Err("that is not the name of a host".to_owned()),
            ("import", user) if !user.is_empty() => Ok(Command::Import(user.to_owned())),
            ("export", user) if !user.is_empty() => Ok(Command::Export(user.to_owned())),
            ("mailbox", rest) => Command::parse_mailbox(rest),
            ("junk", rest) => junk::Request::parse(rest).map(Command::OfJunk),
            ("vacation", rest) => Command::parse_vacation(rest),
            ("queue", rest) => Command::parse_queue(rest),
            _ => Err("unknown request".to_owned()),
        }
    }

    fn parse_log(text: &str) -> Result<Command, String> {
        let (level, module) = text.split_once(' ').map_or((text, None), |(level, module)| (level, Some(module)));
        let level = level.parse().map_err(|_| "a level is off, error, warn, info, debug or trace".to_owned())?;
        let is_name = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || matches!(b, b'_' | b':'));
        match module {
            Some(name) if !is_name(name) => Err("that is not the name of a module".to_owned()),
            _ => Ok(Command::LogLevel(level, module.map(str::to_owned))),
        }
    }

    fn parse_mailbox(text: &str) -> Result<Command, String> {
        let (act, rest) = text.split_once(' ').unwrap_or((text, ""));
        let (user, folder) = match rest.split_once(' ').filter(|_| act != "list") {
            Some((user, folder)) => (user, Some(FolderName::parse(folder).map_err(|error| error.to_string())?)),
            None => (rest, None),
        };
        match act {
            "list" | "check" | "rebuild" | "compact" if user.is_empty() => Err("a user is missing".to_owned()),
            "list" => Ok(Command::Folders(user.to_owned())),
            "check" => Ok(Command::Check(user.to_owned(), folder)),
            "rebuild" => Ok(Command::Rebuild(user.to_owned(), folder)),
            "compact" => Ok(Command::Compact(user.to_owned(), folder)),
            _ => Err("unknown request".to_owned()),
        }
    }

    fn parse_vacation(text: &str) -> Result<Command, String> {
        let words: Vec<&str> = text.split(' ').collect();
        match words.as_slice() {
            [_, "", ..] | [_] => Err("a user is missing".to_owned()),
            ["show", user] => Ok(Command::Vacation((*user).to_owned())),
            ["off", user] => Ok(Command::VacationOff((*user).to_owned())),
            ["set", user, length] => match length.parse() {
                Ok(length) if length <= MOST_BYTES => Ok(Command::VacationSet((*user).to_owned(), length)),
                _ => Err("that is too long".to_owned()),
            },
            _ => Err("unknown request".to_owned()),
        }
    }

    fn parse_queue(text: &str) -> Result<Command, String> {
        let (act, what) = text.split_once(' ').unwrap_or((text, ""));
        let id = || what.parse().map_err(|()| "that is not the id of a message; see queue list".to_owned());
        match (act, what) {
            ("list", "") => Ok(Command::List),
            ("flush", "") => Ok(Command::Flush(Which::All)),
            ("flush", _) => Ok(Command::Flush(which(what)?)),
            ("show", _) => Ok(Command::Show(id()?)),
            ("hold", _) => Ok(Command::Hold(which(what)?)),
            ("release", _) => Ok(Command::Release(which(what)?)),
            ("remove", _) => Ok(Command::Remove(which(what)?)),
            _ => Err("unknown request".to_owned()),
        }
    }

    /// May somebody ask this who is neither root nor the daemon's own account? It then means only the mail of that account.
    pub fn is_for_everybody(&self) -> bool {
        matches!(
            self,
            Command::List
                | Command::Show(_)
                | Command::Remove(_)
                | Command::Import(_)
                | Command::Export(_)
                | Command::OfJunk(_)
                | Command::Vacation(_)
                | Command::VacationOff(_)
                | Command::VacationSet(..)
                | Command::Check(..)
                | Command::Rebuild(..)
                | Command::Compact(..)
        )
    }

    /// Does it change anything?
    pub fn is_act(&self) -> bool {
        if let Command::OfLists(request) = self {
            return request.is_act();
        }
        !matches!(
            self,
            Command::Status
                | Command::LogLevels
                | Command::List
                | Command::Show(_)
                | Command::Route(_)
                | Command::Folders(_)
                | Command::OfJunk(junk::Request { act: junk::Act::Show, .. })
                | Command::Vacation(_)
                | Command::Check(..)
        )
    }
}

/// A message, a domain or a sender.
fn which(text: &str) -> Result<Which, String> {
    let bare = text.strip_prefix('<').and_then(|rest| rest.strip_suffix('>'));
    match (text.parse(), Domain::parse(text), bare.unwrap_or(text).parse()) {
        (Ok(id), ..) => Ok(Which::Message(id)),
        (_, Ok(domain), _) => Ok(Which::Domain(domain)),
        (.., Ok(sender)) => Ok(Which::Sender(ReversePath(Some(sender)))),
        _ if bare == Some("") => Ok(Which::Sender(ReversePath(None))),
        _ => Err("that is neither the id of a message, nor a domain, nor a sender".to_owned()),
    }
}

/// It becomes part of a path.
fn is_host(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (1..=255).contains(&text.len()) && !text.starts_with('.') && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::junk::Kind;

    #[test]
    fn requests() {
        let id: SpoolId = "57a3b1c09d3e1f22-2a".parse().unwrap();
        for (line, command) in [
            ("status", Command::Status),
            ("log", Command::LogLevels),
            ("log debug", Command::LogLevel(LevelFilter::Debug, None)),
            ("log off mailbox::lock", Command::LogLevel(LevelFilter::Off, Some("mailbox::lock".to_owned()))),
            ("queue list", Command::List),
            ("queue show 57a3b1c09d3e1f22-2a", Command::Show(id)),
            ("queue flush", Command::Flush(Which::All)),
            ("queue flush 57a3b1c09d3e1f22-2a", Command::Flush(Which::Message(id))),
            ("queue flush away.test", Command::Flush(Which::Domain(Domain::parse("away.test").unwrap()))),
            ("queue hold <>", Command::Hold(Which::Sender(ReversePath(None)))),
            ("queue release 57a3b1c09d3e1f22-2a", Command::Release(Which::Message(id))),
            ("queue remove a@b.test", Command::Remove(Which::Sender(ReversePath(Some("a@b.test".parse().unwrap()))))),
            ("queue remove <a@b.test>", Command::Remove(Which::Sender(ReversePath(Some("a@b.test".parse().unwrap()))))),
            ("queue flush b\u{fc}cher.test", Command::Flush(Which::Domain(Domain::parse("b\u{fc}cher.test").unwrap()))),
            ("route j\u{f6}rg@b\u{fc}cher.test", Command::Route("j\u{f6}rg@b\u{fc}cher.test".parse().unwrap())),
            ("mailbox list alice", Command::Folders("alice".to_owned())),
            ("mailbox check alice", Command::Check("alice".to_owned(), None)),
            ("mailbox rebuild al A/b c", Command::Rebuild("al".to_owned(), FolderName::parse("A/b c").ok())),
            ("mailbox compact al A/b c", Command::Compact("al".to_owned(), FolderName::parse("A/b c").ok())),
            ("import alice", Command::Import("alice".to_owned())),
            ("export alice", Command::Export("alice".to_owned())),
            ("junk show al", Command::OfJunk(junk::Request { user: "al".to_owned(), act: junk::Act::Show })),
            ("junk teach al good", Command::OfJunk(junk::Request { user: "al".to_owned(), act: junk::Act::Teach(Kind::Good) })),
            ("vacation show alice", Command::Vacation("alice".to_owned())),
            ("vacation off alice", Command::VacationOff("alice".to_owned())),
            ("vacation set alice 12", Command::VacationSet("alice".to_owned(), 12)),
            ("adopt old.test", Command::Adopt("old.test".to_owned())),
            ("route \"a b\"@c.test", Command::Route("\"a b\"@c.test".parse().unwrap())),
        ] {
            assert_eq!(Command::parse(line.as_bytes()), Ok(command), "{line}");
        }
        for line in [
            "",
            " ",
            "status x",
            "queue",
            "queue show",
            "queue show x",
            "queue hold",
            "queue hold ",
            "queue remove <",
            "queue remove <a.test>",
            "queue remove a@",
            "QUEUE LIST",
            "log loud",
            "log debug ",
            "log debug a b",
            "log debug A",
            "route",
            "route a",
            "import",
            "export ",
            "mailbox",
            "mailbox list",
            "mailbox list ",
            "junk",
            "junk show",
            "junk show a b",
            "junk learn a",
            "junk learn a ham",
            "junk teach  good",
            "vacation",
            "vacation show",
            "vacation off ",
            "vacation show a b",
            "vacation set a",
            "vacation set a 99999",
            "vacation set a -1",
            "mailbox check ",
            "mailbox check a ",
            "mailbox rebuild",
            "mailbox compact a b//c",
            "adopt ..",
            "adopt a/b",
            "\u{0}",
        ] {
            assert!(Command::parse(line.as_bytes()).is_err(), "{line}");
        }
        assert!(Command::parse(b"\xff\xfe").is_err());
    }
}
