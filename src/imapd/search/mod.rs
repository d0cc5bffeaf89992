//! SEARCH (RFC 9051 §6.4.4, RFC 3501 §6.4.4), SORT and THREAD (RFC 5256), and how their results are told: ESEARCH (RFC 4731),
//! ESORT (RFC 5267), SEARCHRES (RFC 5182), PARTIAL (RFC 9394).
//!
//! * `context`: searches that are kept up to date.
//!
//! * `program`: the keys, and what they say of what is known of a message. `text`: the text of a part, to be compared.
//! * `raw`: rules messages out. `message`: reads one as far as it must be read. `run`: all of them, on several threads.
//! * `multi`: in several mailboxes.
//! * `sort`, `thread`: puts the messages in order.

mod context;
mod message;
mod multi;
mod program;
mod raw;
mod run;
mod sort;
mod text;
mod thread;

use super::answer::{Answer, Done, End, Status};
use super::grammar::search::{Algorithm, Criterion, Search};
use super::grammar::{Returns, show};
use super::pulse::Pulse;
use super::session::Session;
use crate::mailbox::View;
use crate::sys::Time;
pub(super) use context::{Live, Wanted};
use program::{Context, Program};
use run::Hit;
pub(super) use run::email_id;
use std::fmt::Write;
use std::ops::RangeInclusive;

/// What was found, and how it is to be told.
struct Found {
    hits: Vec<Hit>,
    /// The highest mod-sequence is told with them (RFC 7162 §3.1.5).
    has_modseq: bool,
}

impl Session<'_> {
    /// SEARCH and UID SEARCH.
    pub(super) fn search(&mut self, tag: &str, uid: bool, search: &Search) -> Done {
        if search.charset.is_some() && self.enabled.utf8 {
            // RFC 6855 §3
            return Ok(Answer::bad("after ENABLE UTF8=ACCEPT there is one character set"));
        }
        if let Err(answer) = self.may_update(tag, search) {
            return Ok(answer);
        }
        self.note_modseq(search)?;
        let found = match self.find(search) {
            Ok(found) => found,
            Err(answer) => return Ok(self.failed(search, answer)),
        };
        let returns = match search.returns {
            // IMAP4rev2 knows no other answer.
            None if self.enabled.rev2 => Some(Returns { all: true, ..Returns::default() }),
            returns => returns,
        };
        match returns {
            None => self.tell_numbers("SEARCH", &found, uid)?,
            Some(returns) => self.tell_extended(&format!("TAG \"{tag}\""), &found, uid, returns)?,
        }
        self.keep_up_to_date(tag, uid, &[], search, &found)?;
        Ok(Answer::ok("searched"))
    }

    /// SORT and UID SORT.
    pub(super) fn sort(&mut self, tag: &str, uid: bool, criteria: &[Criterion], search: &Search) -> Done {
        if let Err(answer) = self.may_update(tag, search) {
            return Ok(answer);
        }
        self.note_modseq(search)?;
        let sorted = self.find(search).and_then(|mut found| {
            let (view, mut pulse) = self.selected_view()?;
            found.hits = sort::sort(view, found.hits, criteria, Some(&mut pulse))?;
            Ok(found)
        });
        let found = match sorted {
            Ok(found) => found,
            Err(answer) => return Ok(self.failed(search, answer)),
        };
        match search.returns {
            None => self.tell_numbers("SORT", &found, uid)?,
            Some(returns) => self.tell_extended(&format!("TAG \"{tag}\""), &found, uid, returns)?,
        }
        self.keep_up_to_date(tag, uid, criteria, search, &found)?;
        Ok(Answer::ok("sorted"))
    }

    /// THREAD and UID THREAD.
    pub(super) fn thread(&mut self, uid: bool, algorithm: Algorithm, search: &Search) -> Done {
        self.note_modseq(search)?;
        let threads = self.find(search).and_then(|found| {
            let (view, mut pulse) = self.selected_view()?;
            let messages = run::keys(view, &found.hits, Some(&mut pulse), thread::Message::new)?;
            let names: Vec<u32> = found.hits.iter().map(|hit| hit.name(uid)).collect();
            Ok(thread::threads(algorithm, &messages).show(&names))
        });
        match threads {
            Ok(threads) => {
                let space = if threads.is_empty() { "" } else { " " };
                self.tell(format_args!("THREAD{space}{threads}"))?;
                Ok(Answer::ok("threaded"))
            }
            Err(answer) => Ok(answer),
        }
    }

    /// Who asks for mod-sequences knows of them (RFC 7162 §3.1).
    fn note_modseq(&mut self, search: &Search) -> Result<(), End> {
        if search.has_modseq() { self.enable_condstore() } else { Ok(()) }
    }

    /// What is searched, and who waits for it.
    fn selected_view(&mut self) -> Result<(&View, Pulse<'_>), Answer> {
        let Session { selected, connection, server, .. } = self;
        let selected = selected.as_ref().ok_or_else(|| Answer::bad("no mailbox is selected"))?;
        Ok((&selected.view, Pulse::new(connection, &*server.clock)))
    }

    fn find(&mut self, search: &Search) -> Result<Found, Answer> {
        let (saved, now) = (self.saved.iter().map(|uid| uid.0..=uid.0).collect::<Vec<_>>(), self.server.clock.now());
        let (view, mut pulse) = self.selected_view()?;
        find_in(view, search, now, &saved, &mut pulse)
    }

    /// RFC 5182 §2.1: what is saved is lost then.
    fn failed(&mut self, search: &Search, answer: Answer) -> Answer {
        if answer.status == Status::No && search.returns.is_some_and(|returns| returns.save) {
            self.saved.clear();
        }
        answer
    }

    /// `SEARCH` or `SORT` with numbers, and the highest mod-sequence of them (RFC 7162 §3.1.6).
    fn tell_numbers(&mut self, what: &str, found: &Found, uid: bool) -> Result<(), End> {
        let mut text = what.to_owned();
        found.hits.iter().for_each(|hit| {
            let _ = write!(text, " {}", hit.name(uid));
        });
        if let Some(highest) = found.hits.iter().map(|hit| hit.summary.modseq).max().filter(|_| found.has_modseq) {
            let _ = write!(text, " (MODSEQ {highest})");
        }
        self.tell(format_args!("{text}"))
    }

    /// `ESEARCH` (RFC 4731 §3.1, RFC 5267 §3), and what is saved (RFC 5182 §2.4). `of`: which search's result it is, of which
    /// mailbox.
    fn tell_extended(&mut self, of: &str, found: &Found, uid: bool, returns: Returns) -> Result<(), End> {
        let hits = &found.hits;
        let (first, last) = (hits.first().filter(|_| returns.min), hits.last().filter(|_| returns.max));
        let part = returns.partial.map(|partial| (partial, hits.get(partial.of(hits.len())).unwrap_or_default()));
        let few = (returns.min || returns.max || part.is_some()) && !returns.all && !returns.count;
        let told: Vec<&Hit> = match part {
            _ if !few => hits.iter().collect(),
            None => first.into_iter().chain(last).collect(),
            Some((_, part)) => first.into_iter().chain(last).chain(part).collect(),
        };
        if returns.save {
            self.saved = run::uids(told.iter().copied());
            self.saved.dedup();
        }
        let mut text = format!("ESEARCH ({of}){}", if uid { " UID" } else { "" });
        if let Some(first) = first {
            let _ = write!(text, " MIN {}", first.name(uid));
        }
        if let Some(last) = last {
            let _ = write!(text, " MAX {}", last.name(uid));
        }
        if returns.count {
            let _ = write!(text, " COUNT {}", hits.len());
        }
        if returns.all && !hits.is_empty() {
            let _ = write!(text, " ALL {}", show(hits.iter().map(|hit| hit.name(uid)..=hit.name(uid))));
        }
        if let Some((partial, part)) = part {
            let part = show(part.iter().map(|hit| hit.name(uid)..=hit.name(uid)));
            let _ = write!(text, " PARTIAL ({partial} {})", if part.is_empty() { "NIL" } else { &part });
        }
        if let Some(highest) = told.iter().map(|hit| hit.summary.modseq).max().filter(|_| found.has_modseq) {
            let _ = write!(text, " MODSEQ {highest}");
        }
        // Who only saves is told nothing.
        if few || returns.all || returns.count { self.tell(format_args!("{text}")) } else { Ok(()) }
    }
}

fn find_in(
    view: &View,
    search: &Search,
    now: Time,
    saved: &[RangeInclusive<u32>],
    pulse: &mut Pulse<'_>,
) -> Result<Found, Answer> {
    let context = Context {
        charset: search.charset.as_deref(),
        keywords: &view.keywords(),
        now,
        count: view.count()?,
        last_uid: view.last_uid()?,
        saved,
    };
    let program = Program::new(&search.steps, &context)
        .map_err(|_| Answer::no("BADCHARSET (US-ASCII UTF-8)", "nobody knows this character set"))?;
    Ok(Found { hits: run::search(view, &program, pulse)?, has_modseq: search.has_modseq() })
}

impl Hit {
    /// What the client calls it by.
    fn name(&self, uid: bool) -> u32 {
        if uid { self.summary.uid.0 } else { self.number }
    }
}
