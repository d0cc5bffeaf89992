//! What daemon and monitor say to each other: a packet each. Both sides believe nothing: a packet that is not exactly of this
//! form means nothing.
//!
//! The first byte tells what it is. The fields follow, each with its length before it, four bytes in the order of this machine.

use crate::config::Program;
use crate::host::password::Hash;
use crate::host::program::End;
use crate::host::users::Secrets;
use crate::host::{Account, ScramKeys};
use crate::sys::Open;
use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// Bytes of a question.
pub const MOST_QUESTION: usize = 64 << 10;
/// Bytes of an answer.
pub const MOST_ANSWER: usize = 96 << 10;

/// What the daemon may ask. With each comes the end of a socket for the answer.
#[derive(Clone, PartialEq, Eq)]
pub enum Question {
    /// Tells that the daemon is ready.
    Ready,
    /// [`crate::host::Host::account`].
    Account(String),
    /// [`crate::host::Host::verify`]: a name and a password.
    Verify(String, Vec<u8>),
    /// [`crate::host::Host::set_password`]: a name, the password until now, and what is kept of the new one.
    SetPassword(String, Vec<u8>, Box<Secrets>),
    /// [`crate::host::Host::scram`].
    Scram(String),
    /// [`crate::host::Host::all_have_scram`].
    AllHaveScram,
    /// [`crate::host::Host::open_mailbox`], of the user of this name; brings a descriptor.
    OpenMailbox(String, PathBuf, Open),
    /// [`crate::host::Host::open_dotlock`]; brings a descriptor.
    OpenDotlock(PathBuf, Open),
    /// [`crate::host::Host::make_folders`].
    MakeFolders(String, PathBuf),
    /// [`crate::host::Host::forward_of`].
    Forward(String),
    /// [`crate::host::Host::vacation_of`].
    Vacation(String),
    /// [`crate::host::Host::run_program`], with this environment; a second descriptor brings the message.
    RunProgram(Program, Environment),
    /// [`crate::host::Host::run_line`], with this environment; a second descriptor brings the message.
    RunLine(Named, Environment),
    /// [`crate::host::Host::open_line`]; brings a descriptor, unless what is written there is thrown away.
    OpenLine(Named),
    /// The configuration as it is now, with certificate and key.
    Reload,
    /// A socket that listens at this address of the configuration that was asked for last; brings a descriptor.
    Bind(String),
    /// That configuration is in force.
    Adopt,
}

/// A line by what it says, and whose it is: where in the file it stands may have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The user of the system in whose `.forward` it stands; none: it is of the alias file.
    pub user: Option<String>,
    /// [`crate::host::Line::text`].
    pub text: String,
}

/// Facts for a program, by name.
pub type Environment = Vec<(String, String)>;

/// More words, or facts, than there are.
const MOST_WORDS: u32 = 1024;

/// What the monitor answers. Which one belongs to which question stands there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is done. Descriptors may come with it.
    Done,
    /// Yes or no.
    Flag(bool),
    /// An account, if there is one, and whether it is in one of the files that tell who there is, in none but these.
    Account(Option<(Account, bool)>),
    /// Keys, if there are some.
    Scram(Option<ScramKeys>),
    /// What is in a file.
    Content(Vec<u8>),
    /// There is no such file.
    Nothing {
        /// When there is one, it shows in the state of its directory.
        shows: bool,
    },
    /// How a program ended, and what it wrote.
    Ran(End, Vec<u8>),
    /// It can't be done.
    Failed(Fault),
}

/// An error that can be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The system's number for it.
    number: Option<i32>,
    kind: ErrorKind,
    what: String,
}

/// The kinds of error that are told as such.
const KINDS: [ErrorKind; 10] = [
    ErrorKind::Other,
    ErrorKind::NotFound,
    ErrorKind::PermissionDenied,
    ErrorKind::AlreadyExists,
    ErrorKind::InvalidInput,
    ErrorKind::InvalidData,
    ErrorKind::TimedOut,
    ErrorKind::NotADirectory,
    ErrorKind::Unsupported,
    ErrorKind::UnexpectedEof,
];

/// More of a fault is not told.
const MOST_TOLD: usize = 8 << 10;

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Fault {
        let what = error.to_string().chars().filter(|char| *char != '\0').take(MOST_TOLD).collect();
        Fault { number: error.raw_os_error(), kind: error.kind(), what }
    }
}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> io::Error {
        match fault.number {
            Some(number) => io::Error::from_raw_os_error(number),
            None => io::Error::new(fault.kind, fault.what),
        }
    }
}

/// A packet that is being written.
struct Writer(Vec<u8>);

impl Writer {
    fn new(tag: u8) -> Writer {
        Writer(vec![tag])
    }

    fn field(mut self, bytes: &[u8]) -> Writer {
        // More than fits into a packet is refused when it is sent.
        self.0.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_ne_bytes());
        self.0.extend(bytes);
        self
    }

    fn number(self, number: u32) -> Writer {
        self.field(&number.to_ne_bytes())
    }

    fn path(self, path: &OsStr) -> Writer {
        self.field(path.as_bytes())
    }

    fn optional(self, text: Option<&str>) -> Writer {
        match text {
            Some(text) => self.number(1).field(text.as_bytes()),
            None => self.number(0),
        }
    }

    fn texts<'a>(self, texts: impl ExactSizeIterator<Item = &'a String>) -> Writer {
        let begun = self.number(u32::try_from(texts.len()).unwrap_or(u32::MAX));
        texts.fold(begun, |begun, text| begun.field(text.as_bytes()))
    }

    fn facts(self, facts: &Environment) -> Writer {
        self.texts(facts.iter().map(|(name, _)| name)).texts(facts.iter().map(|(_, value)| value))
    }

    fn line(self, line: &Named) -> Writer {
        self.optional(line.user.as_deref()).field(line.text.as_bytes())
    }
}

/// A packet that is being read. None: it is not as it should be.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn field(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk()?;
        let (field, rest) = rest.split_at_checked(usize::try_from(u32::from_ne_bytes(*length)).ok()?)?;
        self.0 = rest;
        Some(field)
    }

    fn text(&mut self) -> Option<String> {
        let text = std::str::from_utf8(self.field()?).ok()?;
        (!text.contains('\0')).then(|| text.to_owned())
    }

    fn number(&mut self) -> Option<u32> {
        Some(u32::from_ne_bytes(self.field()?.try_into().ok()?))
    }

    fn flag(&mut self) -> Option<bool> {
        match self.number()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn path(&mut self) -> Option<PathBuf> {
        let bytes = self.field()?;
        (!bytes.contains(&0)).then(|| std::ffi::OsString::from_vec(bytes.to_vec()).into())
    }

    fn signed(&mut self) -> Option<i32> {
        Some(i32::from_ne_bytes(self.field()?.try_into().ok()?))
    }

    fn texts(&mut self) -> Option<Vec<String>> {
        let count = self.number().filter(|count| *count <= MOST_WORDS)?;
        (0..count).map(|_| self.text()).collect()
    }

    fn facts(&mut self) -> Option<Environment> {
        let (names, values) = (self.texts()?, self.texts()?);
        (names.len() == values.len()).then(|| names.into_iter().zip(values).collect())
    }

    fn line(&mut self) -> Option<Named> {
        Some(Named { user: self.optional(Reader::text)?, text: self.text()? })
    }

    fn optional<T>(&mut self, value: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        match self.flag()? {
            false => Some(None),
            true => value(self).map(Some),
        }
    }
}

/// Reads a whole packet.
fn whole<'a, T>(bytes: &'a [u8], most: usize, read: impl FnOnce(u8, &mut Reader<'a>) -> Option<T>) -> Option<T> {
    let (tag, rest) = bytes.split_first().filter(|_| bytes.len() <= most)?;
    let mut reader = Reader(rest);
    let value = read(*tag, &mut reader)?;
    reader.0.is_empty().then_some(value)
}

/// The mode of new files is the monitor's to know.
const MODE: u32 = 0o600;
const WAYS: [Open; 4] = [Open::Read, Open::Write, Open::Create(MODE), Open::CreateNew(MODE)];

fn way_number(how: Open) -> u32 {
    match how {
        Open::Read => 0,
        Open::Write => 1,
        Open::Create(_) => 2,
        Open::CreateNew(_) => 3,
    }
}

impl Question {
    /// As a packet.
    pub fn encode(&self) -> Vec<u8> {
        let writer = match self {
            Question::Ready => Writer::new(b'r'),
            Question::Account(name) => Writer::new(b'a').field(name.as_bytes()),
            Question::Verify(name, password) => Writer::new(b'v').field(name.as_bytes()).field(password),
            Question::SetPassword(name, old, new) => {
                let (hash, scram) = (new.hash.to_string(), new.scram.to_string());
                Writer::new(b'w').field(name.as_bytes()).field(old).field(hash.as_bytes()).field(scram.as_bytes())
            }
            Question::Scram(name) => Writer::new(b's').field(name.as_bytes()),
            Question::AllHaveScram => Writer::new(b'S'),
            Question::OpenMailbox(name, path, how) => {
                Writer::new(b'o').field(name.as_bytes()).path(path.as_os_str()).number(way_number(*how))
            }
            Question::OpenDotlock(path, how) => Writer::new(b'd').path(path.as_os_str()).number(way_number(*how)),
            Question::MakeFolders(name, path) => Writer::new(b'm').field(name.as_bytes()).path(path.as_os_str()),
            Question::Forward(name) => Writer::new(b'F').field(name.as_bytes()),
            Question::Vacation(name) => Writer::new(b'V').field(name.as_bytes()),
            Question::RunProgram(program, facts) => {
                Writer::new(b'p').texts(program.words.iter()).optional(program.user.as_deref()).facts(facts)
            }
            Question::RunLine(line, facts) => Writer::new(b'l').line(line).facts(facts),
            Question::OpenLine(line) => Writer::new(b'n').line(line),
            Question::Reload => Writer::new(b'R'),
            Question::Bind(address) => Writer::new(b'b').field(address.as_bytes()),
            Question::Adopt => Writer::new(b'A'),
        };
        writer.0
    }

    /// None: it is not of this form.
    pub fn parse(bytes: &[u8]) -> Option<Question> {
        whole(bytes, MOST_QUESTION, |tag, fields| {
            Some(match tag {
                b'r' => Question::Ready,
                b'a' => Question::Account(fields.text()?),
                b'v' => Question::Verify(fields.text()?, fields.field()?.to_vec()),
                b'w' => {
                    let (name, old) = (fields.text()?, fields.field()?.to_vec());
                    let (hash, scram) = (Hash::parse(&fields.text()?)?, ScramKeys::parse(&fields.text()?)?);
                    Question::SetPassword(name, old, Box::new(Secrets { hash, scram }))
                }
                b's' => Question::Scram(fields.text()?),
                b'S' => Question::AllHaveScram,
                b'o' => {
                    let (name, path) = (fields.text()?, fields.path()?);
                    Question::OpenMailbox(name, path, *WAYS.get(usize::try_from(fields.number()?).ok()?)?)
                }
                b'd' => Question::OpenDotlock(fields.path()?, *WAYS.get(usize::try_from(fields.number()?).ok()?)?),
                b'm' => Question::MakeFolders(fields.text()?, fields.path()?),
                b'F' => Question::Forward(fields.text()?),
                b'V' => Question::Vacation(fields.text()?),
                b'p' => {
                    let program = Program { words: fields.texts()?, user: fields.optional(Reader::text)? };
                    Question::RunProgram(program, fields.facts()?)
                }
                b'l' => Question::RunLine(fields.line()?, fields.facts()?),
                b'n' => Question::OpenLine(fields.line()?),
                b'R' => Question::Reload,
                b'b' => Question::Bind(fields.text()?),
                b'A' => Question::Adopt,
                _ => return None,
            })
        })
    }

    /// For the log: never a password.
    pub fn name(&self) -> &'static str {
        match self {
            Question::Ready => "ready",
            Question::Account(_) => "account",
            Question::Verify(..) => "verify",
            Question::SetPassword(..) => "set-password",
            Question::Scram(_) => "scram",
            Question::AllHaveScram => "all-have-scram",
            Question::OpenMailbox(..) => "open-mailbox",
            Question::OpenDotlock(..) => "open-dotlock",
            Question::MakeFolders(..) => "make-folders",
            Question::Forward(_) => "forward",
            Question::Vacation(_) => "vacation",
            Question::RunProgram(..) => "run-program",
            Question::RunLine(..) => "run-line",
            Question::OpenLine(_) => "open-line",
            Question::Reload => "reload",
            Question::Bind(_) => "bind",
            Question::Adopt => "adopt",
        }
    }
}

impl std::fmt::Debug for Question {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.name())
    }
}

impl Answer {
    /// As a packet.
    pub fn encode(&self) -> Vec<u8> {
        let writer = match self {
            Answer::Done => Writer::new(b'd'),
            Answer::Flag(flag) => Writer::new(b'f').number(u32::from(*flag)),
            Answer::Account(None) => Writer::new(b'a').number(0),
            Answer::Account(Some((account, is_in_file))) => {
                let known = Writer::new(b'a')
                    .number(1)
                    .field(account.name.as_bytes())
                    .number(account.uid)
                    .number(account.gid)
                    .number(u32::from(*is_in_file));
                match &account.home {
                    Some(home) => known.number(1).path(home.as_os_str()),
                    None => known.number(0),
                }
            }
            Answer::Scram(None) => Writer::new(b's').number(0),
            Answer::Scram(Some(keys)) => Writer::new(b's').number(1).field(keys.to_string().as_bytes()),
            Answer::Content(bytes) => Writer::new(b'c').field(bytes),
            Answer::Nothing { shows } => Writer::new(b'n').number(u32::from(*shows)),
            Answer::Ran(end, said) => {
                let (how, number) = match end {
                    End::Exit(status) => (0, *status),
                    End::Signal(signal) => (1, *signal),
                    End::Late => (2, 0),
                };
                Writer::new(b'x').number(how).field(&number.to_ne_bytes()).field(said)
            }
            Answer::Failed(Fault { number, kind, what }) => {
                let kind = KINDS.iter().position(|known| known == kind).unwrap_or(0);
                let failed = Writer::new(b'e').number(u32::try_from(kind).unwrap_or(0)).field(what.as_bytes());
                match number {
                    Some(number) => failed.number(1).field(&number.to_ne_bytes()),
                    None => failed.number(0),
                }
            }
        };
        writer.0
    }

    /// None: it is not of this form.
    pub fn parse(bytes: &[u8]) -> Option<Answer> {
        whole(bytes, MOST_ANSWER, |tag, fields| {
            Some(match tag {
                b'd' => Answer::Done,
                b'f' => Answer::Flag(fields.flag()?),
                b'a' => Answer::Account(fields.optional(|fields| {
                    let (name, uid, gid, is_in_file) = (fields.text()?, fields.number()?, fields.number()?, fields.flag()?);
                    Some((Account { name, uid, gid, home: fields.optional(Reader::path)? }, is_in_file))
                })?),
                b's' => Answer::Scram(fields.optional(|fields| ScramKeys::parse(&fields.text()?))?),
                b'c' => Answer::Content(fields.field()?.to_vec()),
                b'n' => Answer::Nothing { shows: fields.flag()? },
                b'x' => {
                    let end = match (fields.number()?, fields.signed()?) {
                        (0, status) => End::Exit(status),
                        (1, signal) => End::Signal(signal),
                        (2, 0) => End::Late,
                        _ => return None,
                    };
                    Answer::Ran(end, fields.field()?.to_vec())
                }
                b'e' => {
                    let kind = *KINDS.get(usize::try_from(fields.number()?).ok()?)?;
                    let what = fields.text()?;
                    let number = fields.optional(Reader::signed)?;
                    Answer::Failed(Fault { number, kind, what })
                }
                _ => return None,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HASH: &str = "$argon2id$v=19$m=16384,t=2,p=1$c29tZXNhbHQxMjM0NTY3OA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    fn path() -> impl Strategy<Value = PathBuf> {
        "[^\0]{0,40}".prop_map(PathBuf::from)
    }

    fn questions() -> impl Strategy<Value = Question> {
        let name = || "[^\0]{0,40}";
        prop_oneof![
            Just(Question::Ready),
            Just(Question::AllHaveScram),
            Just(Question::Reload),
            Just(Question::Adopt),
            name().prop_map(Question::Account),
            name().prop_map(Question::Scram),
            name().prop_map(Question::Bind),
            (name(), any::<Vec<u8>>()).prop_map(|(name, password)| Question::Verify(name, password)),
            (name(), any::<Vec<u8>>(), any::<[u8; 4]>()).prop_map(|(name, old, new)| {
                let hash = Hash::parse(HASH).unwrap();
                let scram = ScramKeys::fake(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &new), "x");
                Question::SetPassword(name, old, Box::new(Secrets { hash, scram }))
            }),
            (name(), path(), 0..4usize).prop_map(|(name, path, how)| Question::OpenMailbox(name, path, WAYS[how])),
            (path(), 0..4usize).prop_map(|(path, how)| Question::OpenDotlock(path, WAYS[how])),
            (name(), path()).prop_map(|(name, path)| Question::MakeFolders(name, path)),
            name().prop_map(Question::Forward),
            name().prop_map(Question::Vacation),
            (
                proptest::collection::vec(name(), 0..5),
                proptest::option::of(name()),
                proptest::collection::vec((name(), name()), 0..5)
            )
                .prop_map(|(words, user, facts)| Question::RunProgram(Program { words, user }, facts)),
            (proptest::option::of(name()), name()).prop_map(|(user, text)| Question::OpenLine(Named { user, text })),
            (proptest::option::of(name()), name(), proptest::collection::vec((name(), name()), 0..5))
                .prop_map(|(user, text, facts)| Question::RunLine(Named { user, text }, facts)),
        ]
    }

    fn answers() -> impl Strategy<Value = Answer> {
        let account = ("[^\0]{0,40}", any::<u32>(), any::<u32>(), proptest::option::of(path()), any::<bool>())
            .prop_map(|(name, uid, gid, home, is_in_file)| (Account { name, uid, gid, home }, is_in_file));
        let keys = (1..9u32, proptest::collection::vec(any::<u8>(), 1..20)).prop_map(|(iterations, salt)| {
            let iterations = std::num::NonZeroU32::new(iterations).unwrap();
            ScramKeys { salt, iterations, stored: [1; 32], server: [2; 32] }
        });
        let fault = (proptest::option::of(any::<i32>()), 0..KINDS.len(), "[^\0]{0,40}").prop_map(|(number, kind, what)| Fault {
            number,
            kind: KINDS[kind],
            what,
        });
        prop_oneof![
            Just(Answer::Done),
            any::<bool>().prop_map(Answer::Flag),
            proptest::option::of(account).prop_map(Answer::Account),
            proptest::option::of(keys).prop_map(Answer::Scram),
            any::<Vec<u8>>().prop_map(Answer::Content),
            any::<bool>().prop_map(|shows| Answer::Nothing { shows }),
            (0..3, any::<i32>(), any::<Vec<u8>>()).prop_map(|(how, number, said)| match how {
                0 => Answer::Ran(End::Exit(number), said),
                1 => Answer::Ran(End::Signal(number), said),
                _ => Answer::Ran(End::Late, said),
            }),
            fault.prop_map(Answer::Failed),
        ]
    }

    proptest! {
        #[test]
        fn what_is_said_is_understood_and_nothing_shorter_or_longer(question in questions(), answer in answers(), more: u8) {
            let packet = question.encode();
            prop_assert!(Question::parse(&packet) == Some(question));
            for cut in 0..packet.len() {
                prop_assert!(Question::parse(&packet[..cut]).is_none());
            }
            prop_assert!(Question::parse(&[&packet[..], &[more]].concat()).is_none());
            let packet = answer.encode();
            prop_assert_eq!(Answer::parse(&packet), Some(answer));
            for cut in 0..packet.len() {
                prop_assert_eq!(Answer::parse(&packet[..cut]), None);
            }
            prop_assert!(Answer::parse(&[&packet[..], &[more]].concat()).is_none());
        }

        /// Whatever is understood of garbage says the same again.
        #[test]
        fn garbage_is_read_without_harm(bytes: Vec<u8>, question in questions(), at: prop::sample::Index, byte: u8) {
            let mut bent = question.encode();
            let at = at.index(bent.len());
            bent[at] = byte;
            for packet in [&bytes, &bent] {
                if let Some(question) = Question::parse(packet) {
                    prop_assert_eq!(&question.encode(), packet);
                }
                if let Some(answer) = Answer::parse(packet) {
                    prop_assert_eq!(Answer::parse(&answer.encode()), Some(answer));
                }
            }
        }
    }

    #[test]
    fn errors_stay_what_they_are() {
        let again = |error: io::Error| {
            let told = Answer::parse(&Answer::Failed(error.into()).encode()).unwrap();
            let Answer::Failed(fault) = told else { panic!("{told:?}") };
            io::Error::from(fault)
        };
        assert_eq!(again(io::Error::from_raw_os_error(libc::ELOOP)).raw_os_error(), Some(libc::ELOOP));
        let told = again(io::Error::new(ErrorKind::InvalidData, "not for \u{fc}s"));
        assert_eq!((told.kind(), told.to_string().as_str()), (ErrorKind::InvalidData, "not for \u{fc}s"));
        assert!(again(io::Error::other("\u{fc}".repeat(100_000))).to_string().len() <= 2 * MOST_TOLD);
        assert!(Question::parse(&Question::Account("x".repeat(MOST_QUESTION)).encode()).is_none());
    }

    #[test]
    fn no_password_is_shown() {
        assert!(!format!("{:?}", Question::Verify("alice".into(), b"secret".to_vec())).contains("secret"));
    }
}
