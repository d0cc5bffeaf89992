//! The daemon's end of it: messages over the control socket. What is said there is told in `ctld`'s `transfer`.

use super::super::call;
use super::{Failure, Message};
use crate::config::Config;
use crate::sys::{Time, exit};
use ring::digest::{SHA256, digest};
use serde_json::Value;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;

/// Half of a SHA-256, in hexadecimal.
type Digest = String;

/// Were the messages kept?
pub enum Kept {
    Yes,
    /// Because of what one of them is: why.
    No(String),
}

/// What an export tells next.
pub enum Next {
    /// A folder, and how many messages follow.
    Folder(String, u64),
    Message(Message),
}

/// See the module.
pub struct Link {
    socket: BufReader<UnixStream>,
    /// How often each message is in the folder, not counting those that were found in the source.
    known: HashMap<Digest, usize>,
}

impl Link {
    /// Asks for an `import` or `export` of this user.
    pub fn begin(config: &Config, verb: &str, user: &str) -> Result<Link, Failure> {
        let mut link = Link { socket: call::begin(&config.control, &format!("{verb} {user}"))?, known: HashMap::new() };
        link.answer()?;
        Ok(link)
    }

    fn line(&mut self) -> Result<Vec<u8>, Failure> {
        let mut line = Vec::new();
        if self.socket.read_until(b'\n', &mut line)? == 0 {
            return Err(gone());
        }
        Ok(line)
    }

    fn answer(&mut self) -> Result<Value, Failure> {
        let line = self.line()?;
        call::result(&line)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let written = self.socket.get_mut().write_all(bytes);
        // If it has said why, that tells more than a broken pipe.
        written.or_else(|error| self.answer().and(Err(error.into())))
    }

    /// Goes to a folder, which is made if it is not there.
    pub fn open(&mut self, name: &str) -> Result<(), Failure> {
        if name.contains(char::is_control) {
            return Err(Failure::new(exit::DATAERR, "the name of a folder can't hold control characters"));
        }
        self.write(format!("folder {name}\r\n").as_bytes())?;
        let named = |failure: Failure| Failure::new(failure.code, format!("folder {name}: {}", failure.what));
        let there = self.answer().map_err(named)?;
        self.known.clear();
        for digest in there.as_array().into_iter().flatten().filter_map(Value::as_str) {
            *self.known.entry(digest.to_owned()).or_default() += 1;
        }
        Ok(())
    }

    /// Is it in the folder already? Each of several equal messages there stands for one.
    pub fn knows(&mut self, message: &Message) -> bool {
        let hash = digest(&SHA256, &message.content);
        let text = hash.as_ref().iter().take(16).fold(Digest::new(), |mut out, byte| {
            let _ = write!(out, "{byte:02x}");
            out
        });
        match self.known.get_mut(&text).filter(|left| **left > 0) {
            Some(left) => {
                *left -= 1;
                true
            }
            None => false,
        }
    }

    /// Sends a message into the folder; it is there after [`Link::commit`].
    pub fn send(&mut self, message: &Message) -> Result<(), Failure> {
        let words = message.flags.iter().chain(&message.keywords).fold(String::new(), |all, word| all + " " + word);
        self.write(format!("message {} {}{words}\r\n", message.content.len(), message.date.0).as_bytes())?;
        self.write(&message.content)
    }

    /// Keeps all that was sent, or nothing of it.
    pub fn commit(&mut self) -> Result<Kept, Failure> {
        self.write(b"commit\r\n")?;
        match self.answer() {
            Ok(_) => Ok(Kept::Yes),
            Err(failure) if failure.code == exit::DATAERR => Ok(Kept::No(failure.what)),
            Err(failure) => {
                let what = format!("{}; what was imported stays, and the same command goes on with the rest", failure.what);
                Err(Failure::new(failure.code, what))
            }
        }
    }

    /// What comes next in an export; none: that was all.
    pub fn next(&mut self) -> Result<Option<Next>, Failure> {
        let line = self.line()?;
        let said = call::read(&line)?;
        let words = |key: &str| {
            let words = said[key].as_array().into_iter().flatten().filter_map(Value::as_str);
            words.map(str::to_owned).collect()
        };
        if let Some(error) = said["error"].as_str() {
            return Err(Failure::new(exit::TEMPFAIL, error));
        }
        if said["end"] == true {
            return Ok(None);
        }
        if let Some(name) = said["folder"].as_str() {
            return Ok(Some(Next::Folder(name.to_owned(), said["messages"].as_u64().unwrap_or(0))));
        }
        let (Some(size), Some(date)) = (said["size"].as_u64(), said["date"].as_i64()) else {
            return Err(Failure::new(exit::SOFTWARE, "the daemon's answer makes no sense"));
        };
        let mut content = Vec::new();
        self.socket.by_ref().take(size).read_to_end(&mut content)?;
        if content.len() as u64 != size {
            return Err(gone());
        }
        Ok(Some(Next::Message(Message { content, flags: words("flags"), keywords: words("keywords"), date: Time(date) })))
    }
}

fn gone() -> Failure {
    Failure::new(exit::TEMPFAIL, "the daemon closed the connection; see its log, and try again")
}
