//! The server's side of the SASL exchanges: PLAIN (RFC 4616), LOGIN (a draft that never became one, but clients speak it),
//! and SCRAM-SHA-256 with and without -PLUS (RFC 7677). Lines in, steps out; IMAP (RFC 9051), SMTP (RFC 4954) and POP3
//! (RFC 5034) frame them alike. What is claimed a [`Judge`] decides.

use super::gate::{Denied, Login};
use super::scram::{First, Waiting};
use crate::host::ScramKeys;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt;

/// The longest line a client may send within an exchange, CRLF included (RFC 4954 §4).
pub const MOST_LINE: usize = 12_288;

const MOST_NAME: usize = 255;
const MOST_PASSWORD: usize = 1024;

/// What we can do.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// One message with all of it.
    Plain,
    /// The name, then the password.
    Login,
    /// The password is proven, not told.
    ScramSha256,
    /// The same, and the proof is worth nothing on another connection.
    ScramSha256Plus,
}

const MECHANISMS: [(&str, Mechanism); 4] = [
    ("PLAIN", Mechanism::Plain),
    ("LOGIN", Mechanism::Login),
    ("SCRAM-SHA-256", Mechanism::ScramSha256),
    ("SCRAM-SHA-256-PLUS", Mechanism::ScramSha256Plus),
];

/// What the channel below gives to be bound to.
pub trait Channel {
    /// The data of a channel binding type (RFC 5056), if the channel has it.
    fn binding(&self, kind: &str) -> Option<Vec<u8>>;
    /// Is there any? Then the -PLUS mechanism is offered.
    fn can_bind(&self) -> bool;
}

/// Decides who is who.
pub trait Judge: Channel {
    /// Is this the password?
    fn password(&self, name: &str, password: &[u8]) -> Result<Login, Denied>;
    /// The keys that the password is proven by. For unknown names, too.
    fn keys(&self, name: &str) -> Result<ScramKeys, Denied>;
    /// A proof was given, right or wrong.
    fn proven(&self, name: &str, right: bool) -> Result<Login, Denied>;
}

/// A name and a password, not yet checked.
#[derive(PartialEq, Eq)]
struct Credentials {
    /// As given; never empty, no NUL.
    name: String,
    /// As given; no NUL.
    password: Vec<u8>,
}

/// What comes next.
#[derive(Debug)]
pub enum Step {
    /// Send this, which is base64 already, after `334 ` or `+ `, and read a line.
    Challenge(String),
    /// The exchange is over.
    Done(Login),
}

/// Why an exchange failed.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum SaslError {
    /// The client sent `*`.
    Cancelled,
    /// Not base64, or not of the mechanism's form.
    Malformed,
    /// It wants to act for somebody else, or is not bound to this channel: log in as failed.
    Refused,
    /// The judge has said no.
    Denied(Denied),
}

impl From<Denied> for SaslError {
    fn from(denied: Denied) -> SaslError {
        SaslError::Denied(denied)
    }
}

/// An exchange under way: what is waited for.
#[derive(Debug)]
pub struct Exchange(State);

#[derive(Debug)]
enum State {
    Plain,
    Name,
    Password(String),
    First {
        plus: bool,
    },
    Proof(Box<Waiting>),
    /// The client's word that it has seen our proof.
    Nothing(Login),
    Over,
}

impl Mechanism {
    /// By its name, in any case.
    pub fn parse(name: &str) -> Option<Mechanism> {
        MECHANISMS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, mechanism)| *mechanism)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        MECHANISMS.iter().find(|(_, mechanism)| *mechanism == self).map_or("", |(name, _)| name)
    }
}

impl Exchange {
    /// Begins one, with the initial response if there is one: `=` stands for an empty one (RFC 4954 §4).
    pub fn begin(mechanism: Mechanism, initial: Option<&[u8]>, judge: &dyn Judge) -> Result<(Exchange, Step), SaslError> {
        let mut exchange = Exchange(match mechanism {
            Mechanism::Plain => State::Plain,
            Mechanism::Login => State::Name,
            Mechanism::ScramSha256 => State::First { plus: false },
            Mechanism::ScramSha256Plus => State::First { plus: true },
        });
        let step = match (initial, mechanism) {
            (None, Mechanism::Login) => challenge("Username:"),
            (None, _) => challenge(""),
            (Some(b"="), _) => exchange.take(b"", judge)?,
            (Some(b""), _) => return Err(SaslError::Malformed),
            (Some(response), _) => exchange.respond(response, judge)?,
        };
        Ok((exchange, step))
    }

    /// Takes the line the client sent after a challenge, without its CRLF.
    pub fn respond(&mut self, line: &[u8], judge: &dyn Judge) -> Result<Step, SaslError> {
        if line == b"*" {
            return Err(SaslError::Cancelled);
        }
        let message = STANDARD.decode(line).map_err(|_| SaslError::Malformed)?;
        self.take(&message, judge)
    }

    fn take(&mut self, message: &[u8], judge: &dyn Judge) -> Result<Step, SaslError> {
        let (state, step) = match std::mem::replace(&mut self.0, State::Over) {
            State::Plain => {
                let Credentials { name, password } = plain(message)?;
                return Ok(Step::Done(judge.password(&name, &password)?));
            }
            State::Name => (State::Password(name_of(message)?), challenge("Password:")),
            State::Password(name) => return Ok(Step::Done(judge.password(&name, &password_of(message)?)?)),
            State::First { plus } => {
                let first = First::read(message, plus, judge)?;
                let keys = judge.keys(&first.name)?;
                let (answer, waiting) = first.answer(keys, &nonce()?);
                (State::Proof(Box::new(waiting)), challenge(&answer))
            }
            State::Proof(waiting) => {
                let verdict = waiting.check(message)?;
                let login = judge.proven(&waiting.name, verdict.right)?;
                (State::Nothing(login), challenge(&verdict.answer))
            }
            State::Nothing(login) if message.is_empty() => return Ok(Step::Done(login)),
            State::Nothing(_) | State::Over => return Err(SaslError::Malformed),
        };
        self.0 = state;
        Ok(step)
    }
}

fn challenge(text: &str) -> Step {
    Step::Challenge(STANDARD.encode(text))
}

/// What goes on the client's nonce: 144 bits.
fn nonce() -> Result<String, SaslError> {
    let mut random = [0; 18];
    getrandom::fill(&mut random).map_err(|_| Denied::Temporary)?;
    Ok(STANDARD.encode(random))
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
    use std::cell::RefCell;

    /// Lets everybody in, and remembers with which password.
    #[derive(Default)]
    struct Fake {
        password: RefCell<Vec<u8>>,
    }

    impl Channel for Fake {
        fn binding(&self, _: &str) -> Option<Vec<u8>> {
            None
        }
        fn can_bind(&self) -> bool {
            false
        }
    }

    impl Judge for Fake {
        fn password(&self, name: &str, password: &[u8]) -> Result<Login, Denied> {
            *self.password.borrow_mut() = password.to_vec();
            Ok(Login::of(name))
        }
        fn keys(&self, name: &str) -> Result<ScramKeys, Denied> {
            if name == "broken" { Err(Denied::Temporary) } else { Ok(ScramKeys::of(b"pencil").unwrap()) }
        }
        fn proven(&self, name: &str, right: bool) -> Result<Login, Denied> {
            if right { Ok(Login::of(name)) } else { Err(Denied::Credentials) }
        }
    }

    type Told = (String, Vec<u8>);

    fn run(mechanism: Mechanism, initial: Option<&str>, lines: &[&str]) -> Result<Told, SaslError> {
        let judge = Fake::default();
        let (mut exchange, mut step) = Exchange::begin(mechanism, initial.map(str::as_bytes), &judge)?;
        for line in lines {
            assert!(matches!(step, Step::Challenge(_)));
            step = exchange.respond(line.as_bytes(), &judge)?;
        }
        match step {
            Step::Done(login) => Ok((login.account().name.clone(), judge.password.take())),
            Step::Challenge(_) => panic!("not done"),
        }
    }

    fn is(name: &str, password: &[u8]) -> Result<Told, SaslError> {
        Ok((name.into(), password.into()))
    }

    #[test]
    fn scram_takes_three_messages() {
        let judge = Fake::default();
        for (password, initial) in [("pencil", true), ("pencil", false), ("Pencil", true)] {
            let first = STANDARD.encode("n,,n=user,r=abc");
            let (mut exchange, step) = if initial {
                Exchange::begin(Mechanism::ScramSha256, Some(first.as_bytes()), &judge).unwrap()
            } else {
                let (mut exchange, step) = Exchange::begin(Mechanism::ScramSha256, None, &judge).unwrap();
                assert!(matches!(step, Step::Challenge(text) if text.is_empty()));
                let step = exchange.respond(first.as_bytes(), &judge).unwrap();
                (exchange, step)
            };
            let Step::Challenge(answer) = step else { panic!("done") };
            let answer = String::from_utf8(STANDARD.decode(answer).unwrap()).unwrap();
            let last = crate::auth::scram::last_of_client(password, "n=user,r=abc", &answer);
            match exchange.respond(STANDARD.encode(last).as_bytes(), &judge) {
                Err(error) => assert_eq!((error, password), (SaslError::Denied(Denied::Credentials), "Pencil")),
                Ok(Step::Challenge(proof)) => {
                    assert!(STANDARD.decode(proof).unwrap().starts_with(b"v="));
                    assert!(matches!(exchange.respond(b"", &judge), Ok(Step::Done(login)) if login.account().name == "user"));
                    assert!(matches!(exchange.respond(b"", &judge), Err(SaslError::Malformed)));
                }
                Ok(done) => panic!("{done:?}"),
            }
        }
        let first = |text: &str| {
            let response = STANDARD.encode(text);
            Exchange::begin(Mechanism::ScramSha256, Some(response.as_bytes()), &judge).map(drop)
        };
        assert_eq!(first("n,,n=broken,r=abc"), Err(SaslError::Denied(Denied::Temporary)));
        assert_eq!(first("n,a=root,n=user,r=abc"), Err(SaslError::Refused));
        assert_eq!(first("n,,n=user"), Err(SaslError::Malformed));
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
        let shown = format!("{:?}", Credentials { name: "tim".into(), password: b"secret".into() });
        assert!(shown.contains("tim") && !shown.contains("secret") && !shown.contains("115"), "{shown}");
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(initial in proptest::option::of(".{0,40}"), lines in proptest::collection::vec(".{0,40}", 0..4)) {
            let judge = Fake::default();
            for (_, mechanism) in MECHANISMS {
                if let Ok((mut exchange, _)) = Exchange::begin(mechanism, initial.as_deref().map(str::as_bytes), &judge) {
                    for line in &lines {
                        let _ = exchange.respond(line.as_bytes(), &judge);
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
