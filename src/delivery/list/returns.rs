//! What came back of members' copies.

use super::super::outcome::Verdict;
use super::{Done, List, MOST_READ, start};
use crate::lists::{Facts, Noted, token};
use crate::mail::{Address, status};
use crate::spool::Entry;
use std::io;

impl List<'_> {
    /// A report of a member's copy.
    pub(super) fn returned(&self, entry: &Entry, index: u32, mark: &str, facts: &Facts) -> Result<Done, Verdict> {
        if let Some(why) = not_failed(entry, facts)? {
            return Ok(Done::dropped(why));
        }
        let members = self.members()?;
        let Some(member) = token::returned(&self.key, &self.identity, mark, members.iter()) else {
            return Ok(Done::dropped("that is no member's, or not our mark"));
        };
        let (by, limit) = (format!("{}/{index}", entry.id), self.settings.bounces);
        let name = &self.identity.name;
        let noted = self.files.change_bounces(name, |bounces| bounces.note(member, self.today(), &by, limit));
        Ok(match noted.map_err(|error| Verdict::own_trouble(&error))? {
            Noted::Passed => Done::dropped(&format!("mail for {member} came back, which is known")),
            Noted::Counted(days) => {
                Done { text: format!("mail for {member} came back, on {days} days of {limit}"), ..Done::default() }
            }
            Noted::Paused(days) => {
                let text = self.identity.probe(member, days, crate::lists::PAUSE);
                let sender = token::probe(&self.key, &self.identity, member);
                let drafts = vec![self.letter(&text, sender)?];
                Done { drafts, text: format!("mail for {member} came back, on {days} days: paused"), ..Done::default() }
            }
        })
    }

    /// A probe came back: its member is one no more. Only when that is settled is it forgotten: a crash before must not keep the
    /// owner from hearing of it.
    pub(super) fn probe_returned(&self, entry: &Entry, mark: &str, facts: &Facts) -> Result<Done, Verdict> {
        if let Some(why) = not_failed(entry, facts)? {
            return Ok(Done::dropped(why));
        }
        let trouble = |error: io::Error| Verdict::own_trouble(&error);
        let Some(member) = self.probed(mark).map_err(trouble)? else {
            return Ok(Done::dropped("no such probe is out"));
        };
        self.files.remove(&self.identity.name, &member).map_err(trouble)?;
        let mut done = Done { text: format!("mail for {member} and a probe came back: removed"), ..Done::default() };
        for owner in &self.settings.owners {
            done.drafts.push(self.letter(&self.identity.removed(owner, &member), None)?);
        }
        Ok(done)
    }

    /// Whose probe it is.
    fn probed(&self, mark: &str) -> io::Result<Option<Address>> {
        let bounces = self.files.bounces(&self.identity.name)?;
        Ok(token::probed(&self.key, &self.identity, mark, bounces.probed()).cloned())
    }

    /// After the act.
    pub(super) fn forget_probed(&self, mark: &str) {
        let name = &self.identity.name;
        let forgotten = self.probed(mark).and_then(|member| match member {
            // A probe that did not come back is no member's to forget.
            Some(member) if !self.files.members(name)?.iter().any(|one| one.key() == member.key()) => {
                self.files.change_bounces(name, |bounces| bounces.forget(&member)).map(drop)
            }
            _ => Ok(()),
        });
        if let Err(error) = forgotten {
            log::warn!("list={name} event=not-forgotten reason=\"{error}\"");
        }
    }
}

/// Why it is no report of a failure, if so. What is no report may be the answer of a program that says its owner is away.
fn not_failed(entry: &Entry, facts: &Facts) -> Result<Option<&'static str>, Verdict> {
    if facts.sender.is_some() {
        return Ok(Some("a report has no sender"));
    }
    let told = status::told(&start(&entry.message, MOST_READ)?);
    Ok((!told.iter().any(status::Told::is_failure)).then_some("it tells of no failure"))
}
