//! What a try came to: the journal learns it, the table, the log, and if need be the sender.

use super::bounce::Kind;
use super::report::{self, report};
use super::schedule::{self, Next, Progress};
use super::{Office, PostError, alternative, clerk, runner};
use crate::auth::Shown;
use crate::config::Endpoint;
use crate::smtp::client::clean;
use crate::spool::{Entry, Outcome, Status};
use crate::sys::counters;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The other host of a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Relay {
    /// Its name, or its literal.
    pub(super) host: String,
    /// Where it was.
    pub(super) address: Endpoint,
    /// How the line to it was encrypted, and what it proved its name by; none: it was not.
    pub(super) tls: Option<String>,
}

impl fmt::Display for Relay {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Endpoint::Tcp(address) => write!(out, "{}[{}]:{}", self.host, address.ip(), address.port()),
            unix => unix.fmt(out),
        }
    }
}

/// What is said of a try: why a recipient was not served or, in a report of success, how it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    /// Enhanced status code (RFC 3463).
    pub(super) status: String,
    /// A sentence for the sender.
    pub(super) reason: String,
    /// What the system said, for the log.
    pub(super) detail: Option<String>,
    /// The other host, if one was talked to.
    pub(super) relay: Option<Relay>,
    /// What it said; clean, on one line.
    pub(super) reply: Option<String>,
}

impl Trouble {
    /// Something that no other host said.
    pub(super) fn own(status: &str, reason: &str) -> Box<Trouble> {
        let (status, reason) = (status.to_owned(), reason.to_owned());
        Box::new(Trouble { status, reason, detail: None, relay: None, reply: None })
    }

    /// With what the system said; cleaned, for it goes into logs and reports.
    pub(super) fn because(mut self: Box<Self>, detail: &impl ToString) -> Box<Trouble> {
        self.detail = Some(clean(detail.to_string().as_bytes()));
        self
    }

    /// With the host it happened at.
    pub(super) fn at(mut self: Box<Self>, relay: &Relay) -> Box<Trouble> {
        self.relay = Some(relay.clone());
        self
    }

    /// With what that host said.
    pub(super) fn saying(mut self: Box<Self>, reply: &impl ToString) -> Box<Trouble> {
        self.reply = Some(reply.to_string());
        self
    }
}

impl fmt::Display for Trouble {
    /// One line, without the relay.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.reply, &self.detail) {
            (Some(reply), _) => out.write_str(reply),
            (None, Some(detail)) => write!(out, "{} {} ({detail})", self.status, self.reason),
            (None, None) => write!(out, "{} {}", self.status, self.reason),
        }
    }
}

/// What a try came to, for one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Somebody else has it.
    Delivered {
        /// Who, and what they said to it.
        said: Box<Trouble>,
        /// What senders hear of it from us who wanted to; none: they hear it from there.
        report: Option<Kind>,
    },
    /// Not now.
    Deferred(Box<Trouble>),
    /// Never.
    Failed(Box<Trouble>),
}

impl Verdict {
    /// One of our domains, but nobody of that name (any more).
    pub(super) fn no_user() -> Verdict {
        Verdict::Failed(Trouble::own("5.1.1", "There is no mailbox of that name here."))
    }

    /// Something here does not work.
    pub(super) fn own_trouble(detail: &impl ToString) -> Verdict {
        let reason = "This host could not find out where the address leads.";
        Verdict::Deferred(Trouble::own("4.3.0", reason).because(detail))
    }
}

/// A recipient and what is said of it.
pub(super) type Case = (u32, Box<Trouble>);

/// Makes all this so. `local`: tries for mailboxes here have a schedule of their own.
pub(super) fn conclude(office: &Arc<Office>, entry: &Entry, local: bool, verdicts: Vec<(u32, Verdict)>) {
    if verdicts.is_empty() {
        return;
    }
    let (mut delivered, mut deferred, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for (index, verdict) in verdicts {
        match verdict {
            Verdict::Delivered { said, report } => delivered.push((index, report, said)),
            Verdict::Deferred(trouble) => deferred.push((index, trouble)),
            Verdict::Failed(trouble) => failed.push((index, trouble)),
        }
    }
    taken(office, entry, delivered);
    let expired = wait(office, entry, local, deferred);
    give_up(office, entry, failed, expired);
}

/// Somebody else has taken it. Senders who wanted to know get to hear of those who will not tell them themselves.
fn taken(office: &Arc<Office>, entry: &Entry, delivered: Vec<(u32, Option<Kind>, Box<Trouble>)>) {
    // One try goes one way: all have the same kind.
    let Some(kind) = delivered.first().map(|(_, kind, _)| kind.unwrap_or(Kind::Relayed)) else { return };
    counters::RECIPIENTS_RELAYED.add(delivered.len());
    // A program has no line that waits for the next message, and must not run again.
    let by_line = delivered.iter().all(|(.., said)| said.relay.is_some());
    let (mut cases, mut unreported) = (Vec::new(), Vec::new());
    for (index, report, said) in delivered {
        let tls = said.relay.as_ref().and_then(|relay| relay.tls.as_deref()).unwrap_or("none");
        tell(office, entry, index, &format!("delivered tls=\"{tls}\""), said.relay.as_ref(), &said.to_string());
        if report.is_some() && report::wishes(entry, index).success {
            unreported.push((index, said.clone()));
        }
        cases.push((index, said));
    }
    let indices: Vec<u32> = cases.iter().map(|(index, _)| *index).collect();
    let mut outcomes = outcomes(office, entry, texts(&cases), &Status::Delivered);
    if !unreported.is_empty() {
        match report(office, entry, kind, &unreported, outcomes.clone()) {
            Ok(()) => outcomes.clear(),
            // Better no report than the message twice.
            Err(error) => log::error!("msg={} event=report-unsent reason=\"{error}\"", entry.id),
        }
    }
    match by_line {
        _ if outcomes.is_empty() => {}
        true => office.clerk.note(office, outcomes),
        false => _ = clerk::settle(office, outcomes),
    }
    office.table().settled(entry.id, &indices);
    office.keeper.stir();
}

/// Puts what was deferred back to wait, and warns the sender when it takes long. Gives those whose time is over.
fn wait(office: &Arc<Office>, entry: &Entry, local: bool, deferred: Vec<Case>) -> Vec<Case> {
    if deferred.is_empty() {
        return deferred;
    }
    let (config, now) = (office.config(), office.clock.now());
    let waiting = office.journal.waiting(entry.id).map(|unsettled| unsettled.waiting).unwrap_or_default();
    let (mut expired, mut late, mut again) = (Vec::new(), Vec::new(), Vec::new());
    for (index, trouble) in deferred {
        let before = waiting.iter().find(|one| one.index == index);
        let tries = before.map_or(0, |one| one.tries).saturating_add(1);
        let progress = Progress {
            age: schedule::age(&config.queue, local, tries, entry.begins(), now),
            tries,
            warned: before.is_some_and(|one| one.warned) || !report::wishes(entry, index).delay,
        };
        // Of an age that is not reached yet.
        let turn = alternative::time_of(office, entry, index).map(|after| after.saturating_sub(progress.age));
        match schedule::next(&config.queue, local, progress) {
            Next::GiveUp => expired.push((index, trouble)),
            Next::Retry(_) if turn == Some(Duration::ZERO) => expired.push((index, trouble)),
            Next::Retry(after) => {
                let after = turn.map_or(after, |turn| after.min(turn));
                let event = format!("deferred next={:.0}", after.as_secs_f32());
                tell(office, entry, index, &event, trouble.relay.as_ref(), &trouble.to_string());
                if schedule::is_late(&config.queue, progress) {
                    late.push((index, trouble.clone()));
                }
                again.push((index, after, text(&trouble)));
            }
        }
    }
    let mut outcomes: Vec<Outcome> = Vec::new();
    for (index, after, text) in &again {
        let status = Status::Deferred { until: now + *after };
        match outcomes.last_mut() {
            Some(last) if last.status == status && last.text == *text => last.recipients.push(*index),
            _ => outcomes.push(Outcome { id: entry.id, recipients: vec![*index], status, time: now, text: text.clone() }),
        }
    }
    if let Err(error) = office.journal.settle(&outcomes) {
        // After a crash it would be tried too early, nothing worse.
        log::warn!("msg={} event=deferral-unwritten reason=\"{error}\"", entry.id);
    }
    counters::RECIPIENTS_DEFERRED.add(again.len());
    if !late.is_empty() {
        warn(office, entry, late);
    }
    let elapsed = office.clock.elapsed();
    let mut table = office.table();
    for (index, after, _) in &again {
        table.defer(entry.id, &[*index], elapsed + *after);
    }
    drop(table);
    office.runner.wake();
    office.keeper.stir();
    expired
}

fn warn(office: &Arc<Office>, entry: &Entry, late: Vec<Case>) {
    let until = entry.begins() + office.config().queue.lifetime;
    let settles = outcomes(office, entry, texts(&late), &Status::Warned);
    match report(office, entry, Kind::Delayed { until }, &late, settles) {
        Ok(()) => {}
        Err(error) => log::warn!("msg={} event=warning-unsent reason=\"{error}\"", entry.id),
    }
}

/// Settles what failed and tells the sender, in one act; but what another receiver is set for goes there.
fn give_up(office: &Arc<Office>, entry: &Entry, failed: Vec<Case>, expired: Vec<Case>) {
    let (mut diverted, failed) = alternative::part(office, entry, failed);
    let (late, expired) = alternative::part(office, entry, expired);
    diverted.extend(late);
    if let Err(error) = alternative::divert(office, entry, &diverted) {
        unwritten(office, entry, &alternative::indices(&diverted), &error);
    }
    let all: Vec<Case> = failed.iter().chain(&expired).cloned().collect();
    if all.is_empty() {
        return;
    }
    let mut settles = outcomes(office, entry, texts(&failed), &Status::Failed);
    settles.extend(outcomes(office, entry, texts(&expired), &Status::Expired));
    let told: Vec<Case> = all.iter().filter(|(index, _)| report::wishes(entry, *index).failure).cloned().collect();
    let only_expired = !told.iter().any(|(index, _)| failed.iter().any(|(other, _)| other == index));
    let result = match told.is_empty() {
        true => office.journal.settle(&settles).map_err(PostError::from),
        false => report(office, entry, Kind::Failed { expired: only_expired }, &told, settles),
    };
    let indices: Vec<u32> = all.iter().map(|(index, _)| *index).collect();
    if let Err(error) = result {
        return unwritten(office, entry, &indices, &error);
    }
    counters::RECIPIENTS_FAILED.add(all.len());
    for (cases, event) in [(&failed, "failed"), (&expired, "expired")] {
        for (index, trouble) in cases {
            tell(office, entry, *index, event, trouble.relay.as_ref(), &trouble.to_string());
        }
    }
    office.table().settled(entry.id, &indices);
    office.keeper.stir();
}

/// What was decided could not be written down: it is for another try.
fn unwritten(office: &Office, entry: &Entry, indices: &[u32], error: &PostError) {
    log::error!("msg={} event=failure-unwritten reason=\"{error}\"", entry.id);
    let due = office.clock.elapsed() + runner::OWN_TROUBLE;
    office.table().wait(entry.id, indices, due);
    office.runner.wake();
}

fn texts(cases: &[Case]) -> Vec<(u32, String)> {
    cases.iter().map(|(index, trouble)| (*index, text(trouble))).collect()
}

/// What the journal keeps: with the relay. Words of our own name its host already.
fn text(trouble: &Trouble) -> String {
    match (&trouble.relay, &trouble.reply) {
        (Some(relay), Some(reply)) => format!("{relay}: {reply}"),
        (Some(relay), None) => format!("{}: {trouble}", relay.address),
        (None, Some(reply)) => format!("{} It said: {reply}", trouble.reason),
        (None, None) => trouble.to_string(),
    }
}

/// Recipients with the same text stand on one line of the log.
fn outcomes(office: &Office, entry: &Entry, cases: Vec<(u32, String)>, status: &Status) -> Vec<Outcome> {
    let mut found: Vec<Outcome> = Vec::new();
    for (index, text) in cases {
        match found.iter_mut().find(|outcome| outcome.text == text) {
            Some(outcome) => outcome.recipients.push(index),
            None => found.push(Outcome {
                id: entry.id,
                recipients: vec![index],
                status: status.clone(),
                time: office.clock.now(),
                text,
            }),
        }
    }
    found.iter_mut().for_each(|outcome| outcome.recipients.sort_unstable());
    found
}

/// One line of the log; with the id, its lines tell the whole story of a message.
fn tell(office: &Office, entry: &Entry, index: u32, event: &str, relay: Option<&Relay>, text: &str) {
    let Some(address) = super::address(entry, index) else { return };
    let delay = office.clock.now().since(entry.time).as_secs_f32();
    let relay = relay.map_or_else(|| "none".to_owned(), Relay::to_string);
    let (text, address) = (text.replace('"', "'"), address.to_string());
    let address = Shown(&address);
    log::info!("msg={} event={event} to=<{address}> relay={relay} reply=\"{text}\" delay={delay:.1}", entry.id);
}
