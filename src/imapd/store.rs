//! STORE (RFC 9051 §6.4.6), with UNCHANGEDSINCE (RFC 7162 §3.1.3).

use super::answer::{Answer, Done};
use super::grammar::{Flag, Set, Store, show_uids};
use super::session::Session;
use crate::mailbox::{Change, Flags, Mailbox, MailboxError, Marks, Uid};

impl Session<'_> {
    /// STORE and UID STORE.
    pub(super) fn store(&mut self, set: &Set, uid: bool, store: &Store) -> Done {
        if store.unchanged_since.is_some() {
            self.enable_condstore()?;
        }
        let messages = match self.messages(set, uid) {
            Ok(messages) => messages,
            Err(answer) => return Ok(answer),
        };
        // What others did is told first, so that the client knows what it changes.
        let tells = self.tells(false);
        let by_others = self.catch_up_some(tells, &[])?;
        let Some(selected) = self.selected.as_deref() else { return Ok(Answer::bad("no mailbox is selected")) };
        if selected.read_only {
            return Ok(Answer::no("CANNOT", "the mailbox was opened to look at it only"));
        }
        let mailbox = selected.view.mailbox().clone();
        let marks = match marks(&mailbox, &store.flags) {
            Ok(Some(marks)) => marks,
            Ok(None) => return Ok(Answer::no("LIMIT", "the folder can't have more keywords")),
            Err(error) => return Ok(error.into()),
        };
        let gone = messages.iter().any(|message| message.summary.is_none());
        let uids: Vec<Uid> = messages.iter().map(|message| message.uid).collect();
        let marked = match selected.view.mark(&uids, store.change, marks, store.unchanged_since) {
            Ok(marked) => marked,
            Err(error) => return Ok(error.into()),
        };
        if store.change != Change::Remove {
            let names =
                store.flags.iter().filter_map(|flag| if let Flag::Keyword(name) = flag { Some(name.as_str()) } else { None });
            if let Ok(account) = self.account() {
                self.server.post.marked(&account, &mailbox, &marked.done, &names.collect::<Vec<_>>());
            }
        }
        // Changes of keywords come first, then those of others, then ours; what others made of it since is theirs again.
        let ours: Vec<(Uid, u64)> = marked.done.iter().map(|uid| (*uid, marked.modseq)).collect();
        self.catch_up_but(false, &ours)?;
        let Some(selected) = self.selected.take() else { return Ok(Answer::bad("no mailbox is selected")) };
        // Silence is for what the client can know: not for what others made of the message (RFC 9051 §6.4.6).
        let is_news = |uid| tells.marks && marked.news.binary_search(&uid).is_ok();
        let is_told = |uid| by_others.binary_search_by_key(&uid, |(_, uid)| *uid).is_ok();
        let is_shown = |uid: Uid| !store.silent || is_told(uid) || is_news(uid);
        let mut done = marked.done.iter().peekable();
        let done = messages.iter().filter(|message| done.next_if_eq(&&message.uid).is_some());
        let (shown, silent): (Vec<_>, Vec<_>) =
            done.map(|message| (message.number, message.uid)).partition(|(_, uid)| is_shown(*uid));
        self.tell_marks_of(&selected, shown.into_iter(), true)?;
        if self.enabled.condstore {
            self.tell_marks_of(&selected, silent.into_iter(), false)?;
        }
        self.selected = Some(selected);
        if !marked.modified.is_empty() {
            let mut which = show_uids(&marked.modified);
            if !uid {
                let numbers = messages.iter().filter(|message| marked.modified.contains(&message.uid));
                which = super::grammar::show(numbers.map(|message| message.number..=message.number));
            }
            return Ok(Answer::ok("some were changed by others").with(format!("MODIFIED {which}")));
        }
        Ok(if gone && !uid { Answer::no("EXPUNGEISSUED", "some of these messages are gone") } else { Answer::ok("marked") })
    }
}

/// Flags as bits of this folder. None: it can't have a keyword.
pub(super) fn marks(mailbox: &Mailbox, flags: &[Flag]) -> Result<Option<Marks>, MailboxError> {
    let mut marks = Marks { flags: Flags::NONE, keywords: 0 };
    for flag in flags {
        match flag {
            Flag::System(flag) => marks.flags = marks.flags | *flag,
            Flag::Keyword(name) => match mailbox.keyword(name)? {
                Some(bit) => marks.keywords |= bit,
                None => return Ok(None),
            },
        }
    }
    Ok(Some(marks))
}
