//! Subscribing and leaving, by mail. Whoever asks, what is asked happens only when the token comes back that was sent to the address
//! it is asked for.

use super::super::outcome::Verdict;
use super::{Done, List, not_asked, words_of};
use crate::lists::{self, Command, Facts, Role, command, token};
use crate::mail::Address;
use crate::spool::Entry;
use token::Wish;

impl List<'_> {
    pub(super) fn request(&self, entry: &Entry, role: &Role, facts: &Facts) -> Result<Done, Verdict> {
        if let Some(why) = not_asked(facts) {
            return Ok(Done::dropped(why));
        }
        let Some(author) = facts.author() else { return Ok(Done::dropped("nobody wrote it")) };
        // What is sent to a list is read by many, and a list must be no member of itself.
        if self.identity.has(author) || self.office.listed(author).map_err(|error| Verdict::own_trouble(&error))?.is_some() {
            return Ok(Done::dropped("it is in the name of a list"));
        }
        let asked = match role {
            Role::Subscribe => Command::Subscribe,
            Role::Unsubscribe => Command::Unsubscribe,
            Role::Request => command(&facts.subject, &words_of(&entry.message)?),
            _ => Command::Help,
        };
        let is_member = self.members()?.iter().any(|member| member.key() == author.key());
        match asked {
            Command::Help => self.answer(&lists::help(author, &self.identity, &self.settings), "sent help to"),
            Command::Subscribe if is_member => self.answer(&self.identity.already(author, true), "is a member already:"),
            Command::Subscribe if self.settings.is_closed => self.answer(&self.identity.closed(author), "is closed, told"),
            Command::Subscribe => self.ask(author, Wish::Subscribe),
            Command::Unsubscribe if !is_member => self.answer(&self.identity.already(author, false), "is no member:"),
            Command::Unsubscribe => self.ask(author, Wish::Unsubscribe),
        }
    }

    fn ask(&self, author: &Address, wish: Wish) -> Result<Done, Verdict> {
        let mark = token::confirm(&self.key, &self.identity.name, wish, author, self.today());
        let text = self.identity.ask(author, wish == Wish::Subscribe, &mark, token::DAYS);
        self.answer(&text, if wish == Wish::Subscribe { "asked to confirm subscribing" } else { "asked to confirm leaving" })
    }

    pub(super) fn confirm(&self, mark: &str, facts: &Facts) -> Result<Done, Verdict> {
        if let Some(why) = not_asked(facts) {
            return Ok(Done::dropped(why));
        }
        // Who confirms may write under another address than the one it is about, which stands in the subject then.
        let told = lists::addresses_in(&facts.subject);
        let candidates = facts.from.iter().chain(&facts.sender).chain(&told);
        let Some((wish, address)) = token::confirmed(&self.key, &self.identity.name, mark, candidates, self.today()) else {
            return Ok(Done::dropped("that is no token of this list, or an old one, or another address's"));
        };
        let (name, trouble) = (&self.identity.name, |error: std::io::Error| Verdict::own_trouble(&error));
        let (text, what) = match wish {
            Wish::Subscribe if self.settings.is_closed => (self.identity.closed(address), "is closed, told"),
            Wish::Subscribe => {
                self.files.add(name, address).map_err(trouble)?;
                (self.identity.welcome(address, &self.settings), "has a new member:")
            }
            Wish::Unsubscribe => {
                self.files.remove(name, address).map_err(trouble)?;
                (self.identity.goodbye(address), "is left by")
            }
        };
        // Of an address that answers it is known that mail gets there.
        self.files.change_bounces(name, |bounces| bounces.forget(address)).map_err(trouble)?;
        Ok(Done { drafts: vec![self.letter(&text, None)?], text: format!("{what} {address}"), ..Done::default() })
    }
}
