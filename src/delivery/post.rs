//! The one door for letters: from smtpd, from `sendmail`, and from this daemon itself.

use super::mend::{self, EndScan, Facts, Mending, Missing};
use super::sealing::Sealing;
use super::{Office, PostError, Route, Trace, local, trace};
use crate::auth::Shown;
use crate::mail::{Address, Envelope, Origin, date};
use crate::spool::{Draft, Outcome, SpoolId};
use crate::trust::Checking;
use std::io::{self, Write};
use std::sync::Arc;

/// Bytes a header may have.
const MOST_HEADER: usize = 256 * 1024;

/// Characters of a Message-ID in the log.
const LONGEST_SHOWN: usize = 250;

/// Received fields that make a loop (RFC 5321 §6.3).
const MOST_HOPS: usize = 100;

/// Where letters are handed in: one door for smtpd, sendmail, bounces.
#[derive(Debug)]
pub struct Post {
    office: Arc<Office>,
}

/// A letter being written: LF line ends, header first. Dropped without `send` it leaves nothing.
///
/// Writing never fails: what is wrong is remembered, the rest is passed over, and [`Letter::send`] tells it. So there is
/// one place where a letter can be refused.
#[derive(Debug)]
pub struct Letter {
    office: Arc<Office>,
    /// None once something was wrong.
    draft: Option<Draft>,
    wrong: Option<PostError>,
    trace: Trace,
    /// The recipient, if there is only one.
    sole: Option<Address>,
    /// What came, up to the empty line; None once the header was mended and written.
    head: Option<Vec<u8>>,
    scan: EndScan,
    facts: Facts,
    /// Whether it comes from whom it says.
    checking: Option<Box<Checking>>,
    /// It is a user's, or this daemon's, and may be signed.
    is_own: bool,
    sealing: Option<Box<Sealing>>,
}

impl Post {
    pub(super) fn new(office: Arc<Office>) -> Post {
        Post { office }
    }

    pub(super) fn office(&self) -> &Arc<Office> {
        &self.office
    }

    /// Where an address leads. An error is temporary: the users could not be looked up.
    pub fn route(&self, address: &Address) -> io::Result<Route> {
        self.office.route(address)
    }

    /// The one whose mailbox an address leads to, or `login` if that is one of several.
    pub fn owner(&self, address: &Address, login: &str) -> io::Result<Option<String>> {
        self.office.owner_of(address, login)
    }

    /// Is there room to accept mail? (Asked at MAIL; else 452 4.3.1.)
    pub fn has_room(&self) -> bool {
        self.office.journal.has_room()
    }

    /// Begins a letter.
    pub fn begin(&self, envelope: Envelope, trace: Trace) -> Result<Letter, PostError> {
        Letter::begin(&self.office, envelope, trace)
    }
}

impl Letter {
    pub(super) fn begin(office: &Arc<Office>, envelope: Envelope, trace: Trace) -> Result<Letter, PostError> {
        let sole = match (&trace.from, envelope.recipients.as_slice()) {
            (Some(_), [one]) => Some(one.address.clone()),
            _ => None,
        };
        let is_own = trace.submission && matches!(envelope.origin, Origin::User(_)) || trace.from.is_none();
        let draft = office.journal.begin(envelope)?;
        Ok(Letter {
            office: office.clone(),
            draft: Some(draft),
            wrong: None,
            trace,
            sole,
            head: Some(Vec::new()),
            scan: EndScan::default(),
            facts: Facts::default(),
            checking: None,
            is_own,
            sealing: None,
        })
    }

    /// One that this daemon writes itself; `text` gets the name that it has.
    pub(super) fn own(
        office: &Arc<Office>,
        envelope: Envelope,
        text: impl FnOnce(&str) -> io::Result<Vec<u8>>,
    ) -> Result<Letter, PostError> {
        let trace = Trace { from: None, with: String::new(), tls: None, submission: false, arrival: None };
        let mut letter = Letter::begin(office, envelope, trace)?;
        let id = letter.id().map(|id| id.to_string()).unwrap_or_default();
        let written = text(&id).and_then(|text| letter.write_all(&text));
        written.map_err(|error| PostError::Io(error.to_string()))?;
        Ok(letter)
    }

    /// Its name, known before it is sent.
    pub fn id(&self) -> Option<SpoolId> {
        self.draft.as_ref().map(Draft::id)
    }

    /// Commits, delivers what is local, wakes the queue-runner for the rest; then it is true to say 250.
    pub fn send(self) -> Result<SpoolId, PostError> {
        self.finish(Vec::new(), || ())
    }

    /// The same; does something between the commit and the first delivery.
    pub(super) fn send_then(self, committed: impl FnOnce()) -> Result<SpoolId, PostError> {
        self.finish(Vec::new(), committed)
    }

    /// The same, for a letter that is itself the outcome of another: both are committed in one act.
    pub(super) fn send_settling(self, settles: Vec<Outcome>) -> Result<SpoolId, PostError> {
        self.finish(settles, || ())
    }

    /// All that was written, for a commit together with others.
    pub(super) fn into_draft(mut self) -> Result<Draft, PostError> {
        self.close()
    }

    fn close(&mut self) -> Result<Draft, PostError> {
        if let Some(head) = self.head.take() {
            self.write_head(&head, head.len());
        }
        match (self.wrong.take(), self.draft.take()) {
            (None, Some(mut draft)) => {
                if let Some(sealing) = self.sealing.take() {
                    self.seal(*sealing, &mut draft);
                }
                Ok(draft)
            }
            (wrong, _) => Err(wrong.unwrap_or(PostError::Io("letter without draft".into()))),
        }
    }

    fn finish(mut self, settles: Vec<Outcome>, committed: impl FnOnce()) -> Result<SpoolId, PostError> {
        let mut draft = self.close()?;
        if let Some(checking) = self.checking.take() {
            self.judge(*checking, &mut draft)?;
        }
        let entry = draft.commit(settles)?;
        committed();
        let id = entry.id;
        log::info!(
            "msg={id} event=queued message-id={} from=<{}> recipients={} size={}",
            Shown(&self.facts.message_id.chars().take(LONGEST_SHOWN).collect::<String>()),
            Shown(&entry.envelope.reverse_path.to_string()),
            entry.envelope.recipients.len(),
            entry.message.len()
        );
        local::first_round(&self.office, &entry, &self.facts.delivered_to);
        self.office.keeper.stir();
        Ok(id)
    }

    /// Signs it. What can't be signed goes as it is: its user can't help it.
    fn seal(&self, sealing: Sealing, draft: &mut Draft) {
        match sealing.finish(u64::try_from(self.office.clock.now().seconds()).unwrap_or(0)) {
            Ok(fields) => draft.put_before(fields.as_bytes()),
            Err(reason) => log::error!("msg={} event=not-signed reason={reason:?}", draft.id()),
        }
    }

    /// Ends the checks, which takes as long as DNS takes, and puts what they came to on top.
    fn judge(&self, checking: Checking, draft: &mut Draft) -> Result<(), PostError> {
        let config = self.office.config();
        let now = self.office.clock.now().seconds();
        let mut luck = [0];
        // Without luck nobody is spared.
        let _ = getrandom::fill(&mut luck);
        let verdicts = checking.finish(&*self.office.resolver, u64::try_from(now).unwrap_or(0), luck[0] % 100);
        let refused = verdicts.refused_by().filter(|_| config.checks.obey_dmarc);
        if config.checks.report_dmarc {
            self.office.feedback.record(self.office.clock.now(), &verdicts, refused.is_some());
            self.office.keeper.stir();
        }
        let act = if refused.is_some() { "refused" } else { "taken" };
        log::info!("msg={} event=checked {} act={act}", draft.id(), verdicts.summary());
        match refused {
            Some(domain) => Err(PostError::Unwanted(domain.to_owned())),
            None => {
                draft.put_before(verdicts.field(&config.hostname).as_bytes());
                Ok(())
            }
        }
    }

    fn refuse(&mut self, wrong: PostError) {
        self.draft = None;
        self.head = None;
        self.wrong.get_or_insert(wrong);
    }

    fn put(&mut self, bytes: &[u8]) {
        if let Some(Err(error)) = self.draft.as_mut().map(|draft| draft.write_all(bytes)) {
            self.refuse(crate::spool::SpoolError::from(error).into());
        }
    }

    /// Mends the header and writes it, with what follows it in the same block.
    fn write_head(&mut self, block: &[u8], end: usize) {
        if end > MOST_HEADER {
            return self.refuse(PostError::HeaderTooBig);
        }
        let Some(id) = self.id() else { return };
        let (head, rest) = block.split_at(end.min(block.len()));
        if let Some(arrival) = self.trace.arrival.take() {
            let mut checking = Checking::new(arrival, head);
            checking.body(rest.strip_prefix(b"\n").unwrap_or(rest));
            self.checking = Some(Box::new(checking));
        }
        let mut out = Vec::with_capacity(end + 640);
        self.facts = mend::mend(head, &self.mending(id), &mut out);
        if self.facts.received >= MOST_HOPS {
            return self.refuse(PostError::Loop);
        }
        if self.is_own {
            out.extend_from_slice(rest);
            self.sealing = Sealing::begin(self.office.keyring(), &out).map(Box::new);
            return self.put(&out);
        }
        if let Some(draft) = &mut self.draft {
            draft.reserve(out.len() + rest.len());
        }
        self.put(&out);
        self.put(rest);
    }

    fn mending(&self, id: SpoolId) -> Mending {
        if self.trace.from.is_none() && !self.trace.submission {
            return Mending::default();
        }
        let config = self.office.config();
        let date = date::rfc5322(self.office.clock.now());
        let received = trace::received(&self.trace, &config.hostname, id, self.sole.as_ref(), &date);
        let missing = || Missing { date, message_id: format!("<{id}@{}>", config.hostname) };
        Mending { received, submission: self.trace.submission.then(missing), authserv_id: Some(config.hostname.clone()) }
    }
}

impl Write for Letter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(mut head) = self.head.take() else {
            if let Some(checking) = &mut self.checking {
                checking.body(bytes);
            }
            if let Some(sealing) = &mut self.sealing {
                sealing.push(bytes);
            }
            self.put(bytes);
            return Ok(bytes.len());
        };
        // Most headers come whole in the first block.
        let block = if head.is_empty() {
            bytes
        } else {
            head.extend_from_slice(bytes);
            &head
        };
        match self.scan.find(block) {
            Some(end) => self.write_head(block, end),
            None if block.len() > MOST_HEADER => self.refuse(PostError::HeaderTooBig),
            None => {
                if head.is_empty() {
                    head.extend_from_slice(bytes);
                }
                self.head = Some(head);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
