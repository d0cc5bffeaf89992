//! The loop of a session, and its states.
//!
//! ```text
//! stranger ──LOGIN, AUTHENTICATE──► known ──SELECT, EXAMINE──► selected ──CLOSE, UNSELECT──► known
//! ```
//!
//! The state is what the fields say: no login yet, a login, a selected mailbox. A session does one command after the other, as
//! they come; so pipelined commands can't get in each other's way (RFC 9051 §5.5).

use super::Server;
use super::answer::{Answer, Done, End, Status};
use super::grammar::{Bad, Command, Verb, parse, tag_of};
use super::input::Incoming;
use super::metadata::WatchedNotes;
use super::notify::Interests;
use super::select::Selected;
use crate::auth::Login;
use crate::mailbox::{Bell, Uid};
use crate::net::{Connection, NetError};
use std::sync::Arc;
use std::time::Duration;

/// Nobody is logged out sooner (RFC 9051 §5.4).
const LEAST_IDLE: Duration = Duration::from_secs(30 * 60);

/// One session.
#[derive(Debug)]
pub(super) struct Session<'a> {
    pub server: &'a Server,
    pub connection: Connection,
    /// Its name in the log.
    pub name: &'a str,
    pub offer_tls: bool,
    pub login: Option<Login>,
    pub selected: Option<Box<Selected>>,
    pub enabled: Enabled,
    /// What SEARCH RESULT saved (RFC 5182).
    pub saved: Vec<Uid>,
    /// What is told without being asked for; none: what IMAP itself knows.
    pub interests: Option<Box<Interests>>,
    /// Annotations that others may change.
    pub notes: Option<Box<WatchedNotes>>,
    /// Rings while it waits.
    pub bell: Option<Arc<Bell>>,
    /// Something could not be looked at.
    pub look_again: bool,
    pub scratch: String,
    faults: usize,
    commands: u64,
}

/// What the client has asked for (RFC 5161).
#[derive(Copy, Clone, Debug, Default)]
pub(super) struct Enabled {
    /// RFC 7162 §3.1
    pub condstore: bool,
    /// RFC 7162 §3.2
    pub qresync: bool,
    /// RFC 6855 §3
    pub utf8: bool,
    /// RFC 9051
    pub rev2: bool,
    /// RFC 5464 §4.1
    pub metadata: bool,
}

impl<'a> Session<'a> {
    pub(super) fn new(server: &'a Server, connection: Connection, name: &'a str, offer_tls: bool) -> Session<'a> {
        Session {
            offer_tls: offer_tls && server.tls.is_some(),
            server,
            connection,
            name,
            login: None,
            selected: None,
            enabled: Enabled::default(),
            saved: Vec::new(),
            interests: None,
            notes: None,
            bell: None,
            look_again: false,
            scratch: String::new(),
            faults: 0,
            commands: 0,
        }
    }

    /// From the greeting to the close.
    pub(super) fn run(mut self) {
        let (name, peer) = (self.name, self.connection.peer().clone());
        let tls = self.connection.tls().map_or("none", |info| info.version.as_str());
        log::info!("session={name} imap connect peer={peer} tls={tls}");
        let end = match self.converse() {
            Ok(never) => match never {},
            Err(end) => end,
        };
        // What is not told any more must not hold a mailbox open.
        (self.selected, self.interests, self.notes) = (None, None, None);
        let farewell = match &end {
            End::Logout | End::Broken(_) => None,
            End::Thrown(why) => Some(*why),
            End::Lost(NetError::Timeout) => Some("you were silent for too long"),
            End::Lost(NetError::Closed) if self.connection.told_to_leave() => Some("the server is stopping"),
            End::Lost(_) => None,
        };
        if let Some(why) = farewell {
            let _ = self.tell(format_args!("BYE {why}"));
        }
        if !matches!(end, End::Broken(_)) {
            let _ = self.connection.flush();
        }
        let reason = match end {
            End::Logout => "logout".to_owned(),
            End::Thrown(why) => why.to_owned(),
            End::Broken(why) => why,
            End::Lost(error) => error.to_string(),
        };
        log::info!("session={name} imap end reason={reason:?} commands={} faults={}", self.commands, self.faults);
    }

    fn converse(&mut self) -> Result<std::convert::Infallible, End> {
        let capabilities = self.capabilities();
        let hostname = &self.server.config.hostname;
        self.tell(format_args!("OK [CAPABILITY {capabilities}] {hostname} Pillarbox is ready"))?;
        let mut command = Vec::new();
        loop {
            self.prepare_to_wait()?;
            let incoming = self.read_command(&mut command)?;
            self.commands += 1;
            self.connection.set_timeout(self.server.config.timeouts.data);
            self.connection.set_deadline(None);
            let (tag, verb, answer) = self.take(&command, incoming);
            let mut answer = match answer {
                Err(End::Logout) => {
                    self.conclude(&tag, &Answer::ok("goodbye"))?;
                    return Err(End::Logout);
                }
                answer => answer?,
            };
            if let (Status::Ok | Status::No, Some(verb)) = (answer.status, verb) {
                self.tell_news(tells_gone(verb))?;
            }
            self.tell_what_waits()?;
            if answer.status == Status::Bad {
                self.faults += 1;
                if self.faults >= self.server.config.limits.errors.max(1) {
                    self.conclude(&tag, &answer)?;
                    return Err(End::Thrown("too many errors"));
                }
            }
            if answer.status == Status::Ok && answer.code.is_empty() && matches!(verb, Some(Verb::Login | Verb::Authenticate)) {
                answer = answer.with(format!("CAPABILITY {}", self.capabilities()));
            }
            self.conclude(&tag, &answer)?;
            match verb {
                Some(Verb::Starttls) if answer.status == Status::Ok => self.secure()?,
                Some(Verb::Compress) if answer.status == Status::Ok => self.compress()?,
                Some(Verb::Unauthenticate) if answer.status == Status::Ok => self.connection.decompress()?,
                _ => {}
            }
            if command.capacity() > 8 << 10 {
                command = Vec::new();
            }
        }
    }

    /// Memory is given back before a wait that may be long; the whole command must be there in time.
    fn prepare_to_wait(&mut self) -> Result<(), End> {
        if !self.connection.has_input() {
            self.connection.flush()?;
            self.connection.shrink();
            self.selected.iter().for_each(|selected| selected.view.rest());
        }
        let timeouts = &self.server.config.timeouts;
        let patience = if self.login.is_some() { timeouts.idle.max(LEAST_IDLE) } else { timeouts.command };
        self.connection.set_deadline(Some(patience));
        if let Some(gone) = self.listens().filter(|_| !self.connection.has_input()) {
            if !self.tell_until_input(patience, gone)? {
                return Err(End::Lost(NetError::Timeout));
            }
        }
        self.connection.set_timeout(patience);
        Ok(())
    }

    /// Carries out what was read: its tag, its verb if it has one, and what it comes to.
    fn take(&mut self, command: &[u8], incoming: Incoming) -> (String, Option<Verb>, Done) {
        let Some((tag, mut cursor)) = tag_of(command) else {
            // Without a tag there is nothing to answer to (RFC 9051 §7.1.3).
            return ("*".into(), None, Ok(Answer::bad("a tag is missing")));
        };
        let tag = tag.to_owned();
        let verb = match Verb::read(&mut cursor) {
            Ok(verb) => verb,
            Err(_) if crate::net::is_of_http(tag.as_bytes()) => return (tag, None, Err(End::Thrown("this is no web server"))),
            Err(Bad(why)) => return (tag, None, Ok(Answer::bad(why))),
        };
        let mut numbers = false;
        let done = match (incoming, self.refusal(verb)) {
            (Incoming::Refused(answer), _) | (Incoming::Whole, Some(answer)) => Ok(answer),
            (Incoming::Append(head), refusal) => self.append(head, refusal),
            (Incoming::Whole, None) => match parse(verb, cursor) {
                Ok(command) => {
                    numbers = command.has_numbers();
                    self.note_own_names(&command);
                    self.obey(command, &tag)
                }
                Err(bad) => Ok(bad.into()),
            },
        };
        // The numbers in a UID SEARCH are to hold, too (RFC 7162 §3.2.10.2).
        let verb = match verb {
            Verb::Uid if numbers => Verb::Search,
            Verb::Uid => Verb::Noop,
            verb => verb,
        };
        (tag, Some(verb), done)
    }

    /// Is this verb out of place?
    fn refusal(&self, verb: Verb) -> Option<Answer> {
        let (known, selected) = (self.login.is_some(), self.selected.is_some());
        match verb {
            Verb::Capability | Verb::Noop | Verb::Logout | Verb::Id => None,
            Verb::Unauthenticate if !self.server.config.unauthenticate => Some(Answer::bad("that is switched off")),
            Verb::Starttls | Verb::Authenticate | Verb::Login => known.then(|| Answer::bad("you are logged in already")),
            Verb::CancelUpdate
            | Verb::Check
            | Verb::Close
            | Verb::Copy
            | Verb::Expunge
            | Verb::Fetch
            | Verb::Move
            | Verb::Replace
            | Verb::Search
            | Verb::Sort
            | Verb::Store
            | Verb::Thread
            | Verb::Uid
            | Verb::Unselect
                if known =>
            {
                (!selected).then(|| Answer::bad("no mailbox is selected"))
            }
            _ => (!known).then(|| Answer::bad("log in first")),
        }
    }

    fn obey(&mut self, command: Command, tag: &str) -> Done {
        match command {
            Command::Authenticate { mechanism, initial } => self.authenticate(&mechanism, initial.as_deref()),
            Command::CancelUpdate(tags) => self.cancel_update(&tags),
            Command::Capability => {
                let capabilities = self.capabilities();
                self.tell(format_args!("CAPABILITY {capabilities}"))?;
                Ok(Answer::ok("that is what I can do"))
            }
            Command::Check => self.check(),
            Command::Close => self.close(true),
            Command::Compress(algorithm) => Ok(self.may_compress(&algorithm)),
            Command::Copy { set, uid, to, moves } => self.copy(&set, uid, &to, moves),
            Command::Create { name, uses } => self.create(&name, &uses),
            Command::Delete(name) => self.delete(&name),
            Command::Enable(names) => self.enable(&names),
            Command::Esearch { sources, search } => self.esearch(tag, &sources, &search),
            Command::Expunge(set) => self.expunge(set.as_ref()),
            Command::Fetch { set, uid, items, changed_since, vanished, partial } => {
                self.fetch(&set, uid, items, changed_since, vanished, partial)
            }
            Command::GetMetadata { name, wanted } => self.metadata(&name, &wanted),
            Command::GetQuota(root) => self.get_quota(&root),
            Command::GetQuotaRoot(name) => self.get_quota_root(&name),
            Command::Id => {
                self.tell(format_args!("ID (\"name\" \"Pillarbox\" \"version\" \"{}\")", env!("CARGO_PKG_VERSION")))?;
                Ok(Answer::ok("nice to meet you"))
            }
            Command::Idle => self.idle(),
            Command::List(what) => self.list(&what),
            Command::Login { name, password } => self.log_in_plainly(&name, &password.0),
            Command::Logout => {
                self.tell(format_args!("BYE see you"))?;
                Err(End::Logout)
            }
            Command::Lsub { reference, pattern } => self.lsub(&reference, &pattern),
            Command::Namespace => {
                self.tell(format_args!("NAMESPACE ((\"\" \"/\")) NIL NIL"))?;
                Ok(Answer::ok("all of it is yours"))
            }
            Command::Noop => Ok(Answer::ok("nothing done")),
            Command::Notify(wish) => self.notify(wish.as_ref()),
            Command::Rename { from, to } => self.rename(&from, &to),
            Command::Search { uid, search } => self.search(tag, uid, &search),
            Command::Select { name, how } => self.select(&name, &how),
            Command::SetMetadata { name, values } => self.set_metadata(&name, values),
            Command::Sort { uid, criteria, search } => self.sort(tag, uid, &criteria, &search),
            Command::Starttls => Ok(self.may_start_tls()),
            Command::Status { name, items } => self.status(&name, &items),
            Command::Store { set, uid, store } => self.store(&set, uid, &store),
            Command::Subscribe { name, subscribe } => self.subscribe(&name, subscribe),
            Command::Thread { uid, algorithm, search } => self.thread(uid, algorithm, &search),
            Command::Unauthenticate => self.unauthenticate(),
            Command::Unselect => self.close(false),
        }
    }

    /// UNAUTHENTICATE (RFC 8437): the session is a stranger's again, as it was behind the greeting or the handshake.
    fn unauthenticate(&mut self) -> Done {
        if !self.connection.can_decompress() {
            // Nobody knows where commands begin again.
            return Err(End::Thrown("nothing may be sent behind UNAUTHENTICATE while compressing"));
        }
        // Each field by its name, so that one to come is thought of.
        let Session {
            server: _,
            connection: _,
            name,
            offer_tls: _,
            login,
            selected,
            enabled,
            saved,
            interests,
            notes,
            bell,
            look_again,
            scratch: _,
            faults: _,
            commands: _,
        } = self;
        log::info!("session={name} imap unauthenticate");
        (*login, *selected, *enabled, *interests, *bell) = (None, None, Enabled::default(), None, None);
        (*saved, *look_again, *notes) = (Vec::new(), false, None);
        Ok(Answer::ok("who are you?"))
    }

    /// The tagged line.
    fn conclude(&mut self, tag: &str, answer: &Answer) -> Result<(), End> {
        let Answer { status, code, text } = answer;
        let status = match status {
            Status::Ok => "OK",
            Status::No => "NO",
            Status::Bad => "BAD",
        };
        let code = if code.is_empty() { String::new() } else { format!("[{code}] ") };
        Ok(self.connection.put(format!("{tag} {status} {code}{text}\r\n").as_bytes())?)
    }

    /// May passwords be sent?
    pub(super) fn may_log_in(&self) -> bool {
        self.connection.peer().is_here() || self.connection.tls().is_some() || self.server.config.plaintext_always
    }
}

/// May numbers change at the end of this command? (RFC 9051 §7.5.1, RFC 5256 §3; commands with UIDs are others.)
fn tells_gone(verb: Verb) -> bool {
    !matches!(verb, Verb::Fetch | Verb::Store | Verb::Search | Verb::Sort | Verb::Thread)
}
