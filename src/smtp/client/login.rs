//! The client's side of AUTH (RFC 4954): PLAIN (RFC 4616), and LOGIN for servers that know nothing else. The caller sees to it
//! that nobody listens.

use super::{Client, Failure, GREETING};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt;

/// Bytes of a command, CRLF included, that every server takes (RFC 5321 §4.5.3.1.4).
const MOST_COMMAND: usize = 512;

/// A name and a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    name: String,
    password: String,
}

impl Credentials {
    /// From a file: the name on its first line, the password on its second.
    pub fn parse(text: &str) -> Option<Credentials> {
        let mut lines = text.lines();
        let (name, password) = (lines.next()?, lines.next()?);
        let ok = !name.is_empty() && !password.is_empty() && !text.contains('\0') && lines.all(|line| line.trim().is_empty());
        ok.then(|| Credentials { name: name.to_owned(), password: password.to_owned() })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Credentials({:?})", self.name)
    }
}

impl Client {
    /// Logs in, or the conversation is over.
    pub(super) fn log_in(&mut self, credentials: &Credentials) -> Result<(), Failure> {
        let Credentials { name, password } = credentials;
        let plain = STANDARD.encode(format!("\0{name}\0{password}"));
        if self.extensions.auth_plain {
            let whole = format!("AUTH PLAIN {plain}\r\n");
            return match whole.len() <= MOST_COMMAND {
                true => self.prove(&[whole]),
                false => self.prove(&["AUTH PLAIN\r\n".to_owned(), plain + "\r\n"]),
            };
        }
        if self.extensions.auth_login {
            let answers = [name, password].map(|answer| STANDARD.encode(answer) + "\r\n");
            return self.prove(&[&["AUTH LOGIN\r\n".to_owned()] as &[String], &answers].concat());
        }
        Err(Failure::Login("it offers neither AUTH PLAIN nor AUTH LOGIN", None))
    }

    /// Says one line after the other, each but the last for a 334.
    fn prove(&mut self, lines: &[String]) -> Result<(), Failure> {
        for (at, line) in lines.iter().enumerate() {
            let reply = self.ask(line, "to AUTH", GREETING)?;
            let wanted = if at + 1 == lines.len() { 235 } else { 334 };
            if reply.code != wanted {
                return Err(Failure::Login("it does not take our login", Some(reply)));
            }
        }
        Ok(())
    }
}
