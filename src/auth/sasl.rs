//! The server's side of the SASL exchanges that carry a name and a password: PLAIN (RFC 4616) and LOGIN (a draft that
//! never became one, but clients speak it). Pure: lines in, steps out; SMTP (RFC 4954) and POP3 (RFC 5034) frame them alike.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt;

/// The longest line a client may send within an exchange, CRLF included (RFC 4954 §4).
pub const MOST_LINE: usize = 12_288;

const MOST_NAME: usize = 255;
const MOST_PASSWORD: usize = 1024;

/// What we offer.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// One message with all of it.
    Plain,
    /// The name, then the password.
    Login,
}

/// A name and a password, not yet checked.
#[derive(PartialEq, Eq)]
pub struct Credentials {
    /// As given; never empty, no NUL.
    pub name: String,
    /// As given; no NUL.
    pub password: Vec<u8>,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Send this, in base64, after `334 ` or `+ `, and read a line.
    Challenge(&'static str),
    /// The exchange is over.
    Done(Credentials),
}

/// Why an exchange failed.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum SaslError {
    /// The client sent `*`.
    Cancelled,
    /// Not base64, or not of the mechanism's form.
    Malformed,
    /// It wants to act for somebody else: log in as failed.
    Refused,
}

/// An exchange under way.
#[derive(Debug)]
pub struct Exchange {
    mechanism: Mechanism,
    name: Option<String>,
}

impl Mechanism {
    /// By its name, in any case.
    pub fn parse(name: &str) -> Option<Mechanism> {
        if name.eq_ignore_ascii_case("PLAIN") {
            Some(Mechanism::Plain)
        } else if name.eq_ignore_ascii_case("LOGIN") {
            Some(Mechanism::Login)
        } else {
            None
        }
    }
}

impl Exchange {
    /// Begins one, with the initial response if there is one: `=` stands for an empty one (RFC 4954 §4).
    pub fn begin(mechanism: Mechanism, initial: Option<&[u8]>) -> Result<(Exchange, Step), SaslError> {
        let mut exchange = Exchange { mechanism, name: None };
        let step = match (initial, mechanism) {
            (None, Mechanism::Plain) => Step::Challenge(""),
            (None, Mechanism::Login) => Step::Challenge("VXNlcm5hbWU6"),
            (Some(b"="), _) => exchange.take(b"")?,
            (Some(b""), _) => return Err(SaslError::Malformed),
            (Some(response), _) => exchange.respond(response)?,
        };
        Ok((exchange, step))
    }

    /// Takes the line the client sent after a challenge, without its CRLF.
    pub fn respond(&mut self, line: &[u8]) -> Result<Step, SaslError> {
        if line == b"*" {
            return Err(SaslError::Cancelled);
        }
        let message = STANDARD.decode(line).map_err(|_| SaslError::Malformed)?;
        self.take(&message)
    }

    fn take(&mut self, message: &[u8]) -> Result<Step, SaslError> {
        match (self.mechanism, self.name.take()) {
            (Mechanism::Plain, _) => plain(message).map(Step::Done),
            (Mechanism::Login, None) => {
                self.name = Some(name_of(message)?);
                Ok(Step::Challenge("UGFzc3dvcmQ6"))
            }
            (Mechanism::Login, Some(name)) => Ok(Step::Done(Credentials { name, password: password_of(message)? })),
        }
    }
}

/// ```abnf
/// message = [authzid] NUL authcid NUL passwd     ; RFC 4616 §2
/// ```
fn plain(message: &[u8]) -> Result<Credentials, SaslError> {
    let parts: Vec<&[u8]> = message.splitn(3, |byte| *byte == 0).collect();
    let &[acting_for, name, password] = parts.as_slice() else {
        return Err(SaslError::Malformed);
    };
    let credentials = Credentials { name: name_of(name)?, password: password_of(password)? };
    if acting_for.is_empty() || acting_for.eq_ignore_ascii_case(name) { Ok(credentials) } else { Err(SaslError::Refused) }
}

fn name_of(bytes: &[u8]) -> Result<String, SaslError> {
    let name = std::str::from_utf8(bytes).map_err(|_| SaslError::Malformed)?;
    if name.is_empty() || name.len() > MOST_NAME || name.contains('\0') { Err(SaslError::Malformed) } else { Ok(name.to_owned()) }
}

fn password_of(bytes: &[u8]) -> Result<Vec<u8>, SaslError> {
    if bytes.len() > MOST_PASSWORD || bytes.contains(&0) { Err(SaslError::Malformed) } else { Ok(bytes.to_vec()) }
}

impl fmt::Debug for Credentials {
    /// Never shows the password.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Credentials").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(mechanism: Mechanism, initial: Option<&str>, lines: &[&str]) -> Result<Credentials, SaslError> {
        let (mut exchange, mut step) = Exchange::begin(mechanism, initial.map(str::as_bytes))?;
        for line in lines {
            assert!(matches!(step, Step::Challenge(_)));
            step = exchange.respond(line.as_bytes())?;
        }
        match step {
            Step::Done(credentials) => Ok(credentials),
            Step::Challenge(_) => panic!("not done"),
        }
    }

    fn is(name: &str, password: &[u8]) -> Result<Credentials, SaslError> {
        Ok(Credentials { name: name.into(), password: password.into() })
    }

    #[test]
    fn plain_is_one_message() {
        let encode = |text: &str| STANDARD.encode(text);
        assert_eq!(run(Mechanism::Plain, Some("AHRpbQB0YW5zdGFhZnRhbnN0YWFm"), &[]), is("tim", b"tanstaaftanstaaf"));
        assert_eq!(run(Mechanism::Plain, None, &["AHRpbQB0YW5zdGFhZnRhbnN0YWFm"]), is("tim", b"tanstaaftanstaaf"));
        assert_eq!(run(Mechanism::Plain, Some(&encode("Tim\0tim\0x")), &[]), is("tim", b"x"));
        assert_eq!(run(Mechanism::Plain, Some(&encode("\0tim\0")), &[]), is("tim", b""));
        assert_eq!(run(Mechanism::Plain, Some(&encode("bob\0tim\0x")), &[]), Err(SaslError::Refused));
        assert_eq!(run(Mechanism::Plain, None, &["*"]), Err(SaslError::Cancelled));
        let long = encode(&format!("\0tim\0{}", "x".repeat(MOST_PASSWORD + 1)));
        for bad in [
            "=",
            "====",
            "AHRpbQB0YW5zdGFhZnRhbnN0YWF",
            "AHRp bQB0",
            "AHRpbQB0\r",
            "",
            &encode("tim"),
            &encode("\0tim"),
            &encode("\0\0x"),
            &encode("\0tim\0x\0y"),
            "AP8AeA==",
            "AHRpbQB=",
            &long,
        ] {
            assert_eq!(run(Mechanism::Plain, Some(bad), &[]), Err(SaslError::Malformed), "{bad:?}");
            assert_eq!(run(Mechanism::Plain, None, &[bad]), Err(SaslError::Malformed), "{bad:?}");
        }
    }

    #[test]
    fn login_asks_twice() {
        assert_eq!(run(Mechanism::Login, None, &["dGlt", "eA=="]), is("tim", b"x"));
        assert_eq!(run(Mechanism::Login, Some("dGlt"), &["eA=="]), is("tim", b"x"));
        assert_eq!(run(Mechanism::Login, Some("dGlt"), &[""]), is("tim", b""));
        assert_eq!(run(Mechanism::Login, None, &["dGlt", "*"]), Err(SaslError::Cancelled));
        for lines in [["", "eA=="], ["=", "eA=="], ["dGl0AA==", "eA=="], ["dGlt", "eAA="], ["dGlt", "x"]] {
            assert_eq!(run(Mechanism::Login, None, &lines), Err(SaslError::Malformed), "{lines:?}");
        }
        assert_eq!(run(Mechanism::Login, Some("="), &["eA=="]), Err(SaslError::Malformed));
    }

    #[test]
    fn the_password_is_not_shown() {
        let shown = format!("{:?}", Step::Done(Credentials { name: "tim".into(), password: b"secret".into() }));
        assert!(shown.contains("tim") && !shown.contains("secret") && !shown.contains("115"), "{shown}");
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(initial in proptest::option::of(".{0,40}"), lines in proptest::collection::vec(".{0,40}", 0..4)) {
            for mechanism in [Mechanism::Plain, Mechanism::Login] {
                if let Ok((mut exchange, _)) = Exchange::begin(mechanism, initial.as_deref().map(str::as_bytes)) {
                    for line in &lines {
                        let _ = exchange.respond(line.as_bytes());
                    }
                }
            }
        }

        #[test]
        fn what_is_sent_arrives(name in "[^\0]{1,60}", password in proptest::collection::vec(1..=255u8, 0..100)) {
            let message = [b"\0", name.as_bytes(), b"\0", &password].concat();
            let credentials = run(Mechanism::Plain, None, &[&STANDARD.encode(message)]);
            prop_assert_eq!(credentials, is(&name, &password));
        }
    }
}
