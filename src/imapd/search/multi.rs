//! ESEARCH: a search in several mailboxes, each of which is told of on its own (RFC 7377).

use super::{Found, Pulse, find_in};
use crate::imapd::answer::{Answer, Done, End};
use crate::imapd::grammar::search::Search;
use crate::imapd::grammar::{Filter, Returns};
use crate::imapd::scope::Scope;
use crate::imapd::session::Session;
use crate::mailbox::{FolderName, Kind, MailboxError};
use crate::net::NetError;

/// Mailboxes in one search.
const MOST_MAILBOXES: usize = 5_000;

impl Session<'_> {
    /// ESEARCH. Which mailbox is selected does not change; of what has no hits nothing is told.
    pub(in crate::imapd) fn esearch(&mut self, tag: &str, sources: &[Filter], search: &Search) -> Done {
        let returns = search.returns.unwrap_or(Returns { all: true, ..Returns::default() });
        let scopes: Vec<Scope> = sources.iter().filter_map(|source| self.scope(source)).collect();
        let in_selected = scopes.len() < sources.len();
        match () {
            () if in_selected && self.selected.is_none() => return Ok(Answer::bad("no mailbox is selected")),
            () if returns.save && !scopes.is_empty() => {
                return Ok(Answer::bad("only what is in the selected mailbox can be saved"));
            }
            // RFC 7377 §2.2: only the selected one is kept up to date.
            () if search.update.is_some() && self.selected.is_none() => return Ok(Answer::bad("no mailbox is selected")),
            () if search.charset.is_some() && self.enabled.utf8 => {
                // RFC 6855 §3
                return Ok(Answer::bad("after ENABLE UTF8=ACCEPT there is one character set"));
            }
            () => {}
        }
        if let Err(answer) = self.may_update(tag, search) {
            return Ok(answer);
        }
        self.note_modseq(search)?;
        if in_selected {
            let found = match self.find(search) {
                Ok(found) => found,
                Err(answer) => return Ok(self.failed(search, answer)),
            };
            if let Some((name, validity)) = self.selected.as_deref().map(|own| (own.name.clone(), own.view.uid_validity())) {
                self.tell_found(tag, &name, validity, &found, returns)?;
            }
            self.keep_up_to_date(tag, true, &[], search, &found)?;
        } else if search.update.is_some() {
            self.tell(format_args!("NO [NOUPDATE \"{tag}\"] the selected mailbox is not among these"))?;
        }
        let names = match self.names_in(&scopes, in_selected) {
            Ok(names) => names,
            Err(answer) => return Ok(answer),
        };
        let mut answer = Answer::ok("searched");
        for name in names {
            match self.find_elsewhere(&name, search)? {
                Ok((validity, found)) => self.tell_found(tag, &name, validity, &found, returns)?,
                Err(error) => answer = error,
            }
        }
        Ok(answer)
    }

    /// The mailboxes that are to be searched beside the selected one, each once.
    fn names_in(&self, scopes: &[Scope], in_selected: bool) -> Result<Vec<FolderName>, Answer> {
        if scopes.is_empty() {
            return Ok(Vec::new());
        }
        let selected = self.selected.as_deref().filter(|_| in_selected).map(|selected| &selected.name);
        let listed = self.folders()?.list()?.into_iter();
        let mailboxes = listed.filter(|listed| matches!(listed.kind, Kind::Mailbox(_)) && Some(&listed.name) != selected);
        let names: Vec<FolderName> =
            mailboxes.filter(|listed| scopes.iter().any(|scope| scope.has(listed))).map(|listed| listed.name).collect();
        // RFC 7377 §2.4
        if names.len() > MOST_MAILBOXES { Err(Answer::no("LIMIT", "these are too many mailboxes")) } else { Ok(names) }
    }

    /// Searches a mailbox that need not be selected.
    fn find_elsewhere(&mut self, name: &FolderName, search: &Search) -> Result<Result<(u32, Found), Answer>, End> {
        let Session { connection, server, .. } = self;
        let mut pulse = Pulse::new(connection, &*server.clock);
        if !pulse.beats() {
            return Err(End::Lost(NetError::Closed));
        }
        let view = match self.account() {
            Ok(account) => self.server.store.open(&account, name).and_then(|mailbox| mailbox.view()),
            Err(answer) => return Ok(Err(answer)),
        };
        let nothing = Found { hits: Vec::new(), has_modseq: false };
        let view = match view {
            Ok(view) => view,
            // It went away meanwhile.
            Err(MailboxError::Nonexistent | MailboxError::Gone) => return Ok(Ok((0, nothing))),
            Err(error) => return Ok(Err(error.into())),
        };
        let mut pulse = Pulse::new(&mut self.connection, &*self.server.clock);
        let found = find_in(&view, search, self.server.clock.now(), &[], &mut pulse);
        Ok(found.map(|found| (view.uid_validity(), found)))
    }

    /// `ESEARCH` with where it is about (RFC 7377 §2.1).
    fn tell_found(&mut self, tag: &str, name: &FolderName, validity: u32, found: &Found, returns: Returns) -> Result<(), End> {
        let of = format!("TAG \"{tag}\" MAILBOX {} UIDVALIDITY {validity}", String::from_utf8_lossy(&self.show_name(name)));
        if found.hits.is_empty() {
            // Only what is saved is another then.
            self.saved = if returns.save { Vec::new() } else { std::mem::take(&mut self.saved) };
            return Ok(());
        }
        self.tell_extended(&of, found, true, returns)
    }
}
