//! Posts: to all members at once, or to wait for a moderator in the journal, where nobody tries them until one has decided.

use super::super::mend::EndScan;
use super::super::outcome::Verdict;
use super::super::program;
use super::super::sealing::Onward;
use super::{Done, List, MOST_READ, not_asked, refused, start, words_of};
use crate::lists::{self, Attached, Decision, Facts, Judgement, Name, Text, judgement, token};
use crate::mail::dsn::{Notify, Return};
use crate::mail::{Act, Address, Envelope, MailDsn, Place, RcptDsn, Recipient, ReversePath, header};
use crate::mailbox::{FolderName, MailboxError};
use crate::spool::{Draft, Entry, SpoolError, SpoolId, Status};
use std::io::{self, Write};

/// Bytes of a post that its moderator gets to see; of a longer one, the header.
const MOST_SHOWN: u64 = 256 * 1024;

impl List<'_> {
    pub(super) fn post(&self, entry: &Entry, index: u32, facts: &Facts) -> Result<Done, Verdict> {
        let members = self.members()?;
        let is_member = |address: &Address| members.iter().any(|member| member.key() == address.key());
        match lists::decide(&self.settings, is_member, facts) {
            Decision::Drop(why) => Ok(Done::dropped(why)),
            Decision::Reject(why) => Err(refused(why)),
            Decision::Hold(why) => self.hold(entry, index, facts, why),
            Decision::Distribute => {
                let (draft, count) = self.distribution(entry, members)?;
                Ok(Done { drafts: draft.into_iter().collect(), text: format!("sent to {count} members"), ..Done::default() })
            }
        }
    }

    pub(super) fn members(&self) -> Result<Vec<Address>, Verdict> {
        self.files.members(&self.identity.name).map_err(|error| Verdict::own_trouble(&error))
    }

    /// The record of all copies, each under a sender that tells whose it is. None: there are no members.
    pub(super) fn distribution(&self, post: &Entry, members: Vec<Address>) -> Result<(Option<Draft>, usize), Verdict> {
        let trouble = |error: &dyn ToString| Verdict::own_trouble(&error.to_string());
        let bounces = self.files.bounces(&self.identity.name).map_err(|error| trouble(&error))?;
        let paused = bounces.paused(self.today());
        let dsn = RcptDsn { notify: Some(Notify { failure: true, ..Notify::default() }), original: None };
        let copy = |member: Address| {
            let sender = token::verp(&self.key, &self.identity, &member)?;
            Some(Recipient { dsn: dsn.clone(), sender: Some(Box::new(ReversePath(Some(sender)))), ..Recipient::from(member) })
        };
        let mut recipients: Vec<Recipient> =
            members.into_iter().filter(|member| !paused.contains(&member.key())).filter_map(copy).collect();
        let count = recipients.len();
        recipients.extend(self.archive()?);
        if recipients.is_empty() {
            return Ok((None, 0));
        }
        let own: Address = self.identity.address().parse().map_err(|_| trouble(&"the list has no address"))?;
        let envelope = Envelope {
            reverse_path: ReversePath(self.identity.other("owner").parse().ok()),
            recipients,
            dsn: MailDsn { ret: Some(Return::Headers), id: None },
            release: None,
            ..post.envelope.from(&post.envelope.reverse_path)
        };
        let mut draft = self.office.journal.begin(envelope).map_err(|error| trouble(&error))?;
        draft.write_all(format!("Delivered-To: {own}\n").as_bytes()).map_err(|error| trouble(&error))?;
        let mut onward = Onward::new(self.office, &mut draft, &self.identity.domain, true);
        let mut rewriting = Rewriting { out: &mut onward, head: Some(Vec::new()), scan: EndScan::default(), of: self };
        program::copy(&post.message, &mut rewriting).and_then(|()| rewriting.finish()).map_err(|error| trouble(&error))?;
        onward.finish(self.office);
        Ok((Some(draft), count))
    }

    /// The folder that keeps a copy.
    fn archive(&self) -> Result<Option<Recipient>, Verdict> {
        let Some((user, folder)) = &self.settings.archive else { return Ok(None) };
        let skip = |why: &str| {
            log::error!("list={} event=not-archived user={user} folder={folder:?} reason=\"{why}\"", self.identity.name);
            Ok(None)
        };
        let account = match self.office.host.account(user).map_err(|error| Verdict::own_trouble(&error))? {
            Some(account) => account,
            None => return skip("there is no such user"),
        };
        let Ok(name) = FolderName::parse(folder) else { return skip("that is no name of a folder") };
        let trouble = |error: &dyn ToString| Verdict::own_trouble(&error.to_string());
        let store = &self.office.store;
        let opened = match store.open(&account, &name) {
            Err(MailboxError::Nonexistent) => {
                let folders = store.folders(&account).map_err(|error| trouble(&error))?;
                folders.create(&name, None).map_err(|error| trouble(&error))?;
                store.open(&account, &name)
            }
            opened => opened,
        };
        let folder = opened.map_err(|error| trouble(&error))?.folder().to_owned();
        let address = Address::new(&account.name, self.identity.domain.clone()).map_err(|_| trouble(&"no address"))?;
        let place = Place { user: account.name, folder, act: Act::Deliver };
        Ok(Some(Recipient { place: Some(Box::new(place)), ..Recipient::from(address) }))
    }

    /// A record of its own that is held from the start, and letters to those who decide.
    fn hold(&self, entry: &Entry, index: u32, facts: &Facts, why: &str) -> Result<Done, Verdict> {
        let trouble = |error: &dyn ToString| Verdict::own_trouble(&error.to_string());
        let own: Address = self.identity.address().parse().map_err(|_| trouble(&"the list has no address"))?;
        let envelope = Envelope {
            recipients: vec![Recipient::from(own)],
            release: None,
            dsn: MailDsn::default(),
            ..entry.envelope.from(entry.envelope.sender(index))
        };
        let mut copy = self.office.journal.begin(envelope).map_err(|error| trouble(&error))?;
        program::copy(&entry.message, &mut copy).map_err(|error| trouble(&error))?;
        let id = copy.id();
        let mark = token::moderate(&self.key, &self.identity.name, (id.generation, id.counter));
        let author = facts.author().map(Address::to_string).unwrap_or_default();
        let mut drafts = Vec::new();
        for judge in self.settings.judges() {
            let post = attached(entry)?;
            drafts.push(self.letter(&self.identity.waits(judge, &author, &facts.subject, why, &mark, post), None)?);
        }
        drafts.push(copy);
        let held = self.outcome(id, 0, Status::Held, &waits_for(&self.identity.name));
        let text = format!("held as {id}: {why}");
        Ok(Done { drafts, settles: vec![held], held: Some(id), text })
    }

    /// A moderator's answer.
    pub(super) fn moderate(&self, entry: &Entry, mark: &str, facts: &Facts) -> Result<Done, Verdict> {
        if let Some(why) = not_asked(facts) {
            return Ok(Done::dropped(why));
        }
        let Some((generation, counter)) = token::moderated(&self.key, &self.identity.name, mark) else {
            return Ok(Done::dropped("that is no token of this list"));
        };
        let id = SpoolId { generation, counter };
        let answer = |why: &str| match facts.author() {
            Some(author) => self.answer(&self.identity.not_judged(author, why), "not judged, told"),
            None => Ok(Done::dropped(why)),
        };
        match (judgement(&facts.subject, &words_of(&entry.message)?), self.held(id)?) {
            (None, _) => answer("Your answer says neither `approve` nor `reject` in its first line. The post still waits."),
            (_, None) => answer("That post no longer waits: somebody decided before you."),
            (Some(judgement), Some(post)) => self.judge(&post, judgement),
        }
    }

    /// A post of this list, if it waits for a moderator.
    pub(super) fn held(&self, id: SpoolId) -> Result<Option<Entry>, Verdict> {
        if self.office.table().held(id) != [0] {
            return Ok(None);
        }
        match self.office.journal.peek(id) {
            Ok(entry) => Ok(Some(entry).filter(|entry| self.is_post(&entry.envelope))),
            Err(SpoolError::Unknown(_)) => Ok(None),
            Err(error) => Err(Verdict::own_trouble(&error)),
        }
    }

    /// Was it held for this list?
    pub(super) fn is_post(&self, envelope: &Envelope) -> bool {
        let own = self.identity.address().to_ascii_lowercase();
        matches!(envelope.recipients.as_slice(), [only] if only.address.key() == own)
    }

    /// The post is settled in the act that sends it to all, or its author the news.
    pub(super) fn judge(&self, post: &Entry, judgement: Judgement) -> Result<Done, Verdict> {
        let mut done = Done::default();
        let (status, text) = match judgement {
            Judgement::Approve => {
                let (draft, count) = self.distribution(post, self.members()?)?;
                done.drafts.extend(draft);
                (Status::Delivered, format!("approved {}: sent to {count} members", post.id))
            }
            Judgement::Reject => {
                done.drafts.extend(self.news(post, |author, subject| self.identity.rejected(author, subject))?);
                (Status::Failed, format!("rejected {}", post.id))
            }
            Judgement::Discard => (Status::Removed, format!("discarded {}", post.id)),
        };
        done.settles.push(self.outcome(post.id, 0, status, &text));
        Ok(Done { text, ..done })
    }

    /// A letter to who wrote a post, if that was a person.
    pub(super) fn news(&self, post: &Entry, text: impl FnOnce(&Address, &str) -> Text) -> Result<Option<Draft>, Verdict> {
        let head = super::local::head(&post.message).map_err(|error| Verdict::own_trouble(&error))?;
        let facts = Facts::of(&head, post.envelope.reverse_path.0.as_ref(), &self.identity);
        let author = facts.sender.as_ref().filter(|_| not_asked(&facts).is_none());
        author.map(|author| self.letter(&text(author, &facts.subject), None)).transpose()
    }
}

/// What is written down of a post that waits.
pub(super) fn waits_for(list: &Name) -> String {
    format!("waits for a moderator of {list}")
}

/// All of it, or what there is room for.
fn attached(entry: &Entry) -> Result<Attached, Verdict> {
    let mut text = start(&entry.message, MOST_READ)?;
    let is_secret = entry.envelope.require_tls;
    if entry.message.len() <= MOST_SHOWN {
        return Ok(Attached { media: "message/rfc822", text, is_secret });
    }
    text.truncate(header::end(&text));
    Ok(Attached { media: "text/rfc822-headers", text, is_secret })
}

/// Passes a post on, with the header that members get.
struct Rewriting<'a, 'b, W> {
    out: &'a mut W,
    /// What came of the header; none once it was written.
    head: Option<Vec<u8>>,
    scan: EndScan,
    of: &'a List<'b>,
}

impl<W: Write> Rewriting<'_, '_, W> {
    fn put(&mut self, block: &[u8], end: usize) -> io::Result<()> {
        let (head, rest) = block.split_at(end.min(block.len()));
        let List { office, identity, settings, .. } = self.of;
        self.out.write_all(&lists::rewrite(head, identity, settings, office.config().webmail_url.as_deref()))?;
        self.out.write_all(rest)
    }

    /// At the end: a message may be a header alone.
    fn finish(mut self) -> io::Result<()> {
        self.head.take().map_or(Ok(()), |head| self.put(&head, head.len()))
    }
}

impl<W: Write> Write for Rewriting<'_, '_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(mut head) = self.head.take() else { return self.out.write_all(bytes).map(|()| bytes.len()) };
        head.extend_from_slice(bytes);
        match self.scan.find(&head) {
            Some(end) => self.put(&head, end)?,
            // The post came through a door that takes no longer header.
            None => self.head = Some(head),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
