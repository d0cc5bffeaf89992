//! Aggregate reports to domains (RFC 7489 §7.2), where they are switched on: what came in their name is counted, each day (UTC) in a
//! file (`kept`), and when the day is over each domain gets one `letter`, through the queue as any other. They go in the hour after
//! midnight, each domain's at a time of its own, not all at once with those of all other hosts.
//!
//! A letter has the null sender, so nothing comes back, and what such letters of others come to is not told again: no loop is born.

mod kept;
mod letter;

use super::{Letter, Office, PostError};
use crate::mail::{Address, Envelope, Recipient, date};
use crate::spool::Journal;
use crate::sys::Time;
use crate::trust::aggregate::Row;
use crate::trust::aggregate::destination::destinations;
use crate::trust::aggregate::xml::Report;
use crate::trust::{Verdicts, dmarc};
use kept::{Counting, Past};
use letter::Attached;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

const DAY: i64 = 24 * 3600;

/// Reports of a day go within that many seconds of its end.
const SPREAD: u64 = 3600;

/// What is due is looked for so often; what could not be sent is tried again then.
const LOOK: Duration = Duration::from_secs(600);

/// A day whose reports could not be sent is forgotten after so many.
const MOST_DAYS: i64 = 3;

/// See the module.
#[derive(Debug)]
pub(super) struct Feedback {
    dir: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    today: i64,
    counting: Counting,
    /// Days that are over, with files.
    past: BTreeSet<i64>,
    /// By the clock that never jumps.
    next_look: Duration,
    /// A thread sends what is due.
    is_sending: bool,
}

fn day(now: Time) -> i64 {
    now.seconds().div_euclid(DAY)
}

fn organization(row: &Row) -> String {
    dmarc::organization(&row.domain).to_owned()
}

impl Feedback {
    /// With what was counted before. The journal knows which letters a crash left in it; nothing of it is delivered yet.
    pub(super) fn new(dir: PathBuf, now: Time, journal: &Journal) -> Feedback {
        let today = day(now);
        let past: BTreeSet<i64> = kept::days(&dir).into_iter().filter(|day| *day != today).collect();
        for day in &past {
            let path = dir.join(day.to_string());
            if let Err(error) = kept::settle(&path, |id| journal.waiting(id).is_some()) {
                log::error!("event=dmarc-unread file={} reason=\"{error}\"", path.display());
            }
        }
        let counting = Counting::open(dir.join(today.to_string()), organization);
        let state = State { today, counting, past, next_look: Duration::ZERO, is_sending: false };
        Feedback { dir, state: Mutex::new(state) }
    }

    /// A message came, and was refused for the policy of its author's domain, or taken.
    pub(super) fn record(&self, now: Time, verdicts: &Verdicts, is_refused: bool) {
        let Some(row) = Row::of(verdicts, is_refused) else { return };
        let Ok(key) = serde_json::to_string(&row) else { return };
        let mut state = self.turned(now);
        let had_room = state.counting.uncounted == 0;
        if let Err(error) = state.counting.add(&organization(&row), &key) {
            log::error!("event=dmarc-unwritten dir={} reason=\"{error}\"", self.dir.display());
        }
        if had_room && state.counting.uncounted > 0 {
            log::warn!("event=dmarc-full domain={}: reports of this day will not tell of all mail", row.domain);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// At this day. Another begins at midnight, or when the clock is set.
    fn turned(&self, now: Time) -> MutexGuard<'_, State> {
        let (mut state, today) = (self.lock(), day(now));
        if state.today != today {
            if let Err(error) = state.counting.sync() {
                log::error!("event=dmarc-unwritten dir={} reason=\"{error}\"", self.dir.display());
            }
            state.past = kept::days(&self.dir).into_iter().filter(|day| *day != today).collect();
            state.counting = Counting::open(self.dir.join(today.to_string()), organization);
            (state.today, state.next_look) = (today, Duration::ZERO);
        }
        state
    }
}

/// Makes durable what was counted, and has a thread send what is due. To be called now and then.
pub(super) fn tend(office: &Arc<Office>) {
    let feedback = &office.feedback;
    let mut state = feedback.turned(office.clock.now());
    if let Err(error) = state.counting.sync() {
        log::error!("event=dmarc-unwritten dir={} reason=\"{error}\"", feedback.dir.display());
    }
    if state.past.is_empty() || state.is_sending || office.clock.elapsed() < state.next_look {
        return;
    }
    (state.is_sending, state.next_look) = (true, office.clock.elapsed() + LOOK);
    drop(state);
    let ours = office.clone();
    let work = move || {
        let _sending = Sending(&ours);
        send_due(&ours);
    };
    if let Err(error) = thread::Builder::new().name("dmarc".to_owned()).spawn(work) {
        log::error!("event=no-thread name=dmarc reason=\"{error}\"");
        feedback.lock().is_sending = false;
    }
}

/// Whatever happens, another thread can be started afterwards.
struct Sending<'a>(&'a Office);

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        self.0.feedback.lock().is_sending = false;
    }
}

fn send_due(office: &Arc<Office>) {
    let past = office.feedback.lock().past.clone();
    for day in past {
        let path = office.feedback.dir.join(day.to_string());
        let left = match send_day(office, day, &path) {
            Ok(left) => left,
            Err(error) => {
                log::error!("event=dmarc-unread file={} reason=\"{error}\"", path.display());
                1
            }
        };
        if office.is_stopping() {
            return;
        }
        let is_old = self::day(office.clock.now()) - day > MOST_DAYS;
        if left > 0 && is_old {
            log::warn!("event=dmarc-given-up day={day} domains={left}");
        }
        if left == 0 || is_old {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    log::error!("event=dmarc-unread file={} reason=\"{error}\"", path.display());
                }
                _ => drop(office.feedback.lock().past.remove(&day)),
            }
        }
    }
}

/// Sends what is due of a day. Gives how many domains are left.
fn send_day(office: &Arc<Office>, day: i64, path: &std::path::Path) -> std::io::Result<usize> {
    let (mut past, mut left) = (Past::open(path)?, 0);
    for (domain, rows) in std::mem::take(&mut past.unsent) {
        let due = Time::from_seconds((day + 1) * DAY) + Duration::from_secs(offset(&office.config().hostname, &domain));
        if office.is_stopping() || office.clock.now() < due {
            left += 1;
            continue;
        }
        if let Err(why) = send(office, &mut past, day, &domain, &rows) {
            log::warn!("event=dmarc-deferred domain={domain} reason=\"{why}\"");
            left += 1;
        }
    }
    Ok(left)
}

/// The same for one domain at each try, another for each host.
fn offset(hostname: &str, domain: &str) -> u64 {
    u64::from(crc32c::crc32c(format!("{hostname} {domain}").as_bytes())) % SPREAD
}

/// Sends the report of a domain. An error says why it must be tried again.
fn send(office: &Arc<Office>, past: &mut Past, day: i64, domain: &str, rows: &[(Row, u64)]) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    if !office.config().checks.report_dmarc {
        // It was switched off meanwhile.
        return past.sent(domain).map_err(text);
    }
    let found = destinations(&*office.resolver, domain)?;
    for (uri, why) in &found.ignored {
        let uri = crate::smtp::client::clean(uri.as_bytes());
        log::info!("event=dmarc-ignored domain={domain} to=\"{uri}\" reason=\"{why}\"");
    }
    let hostname = &office.config().hostname;
    let (begin, end) = (day * DAY, (day + 1) * DAY - 1);
    let report = Report {
        organization: hostname,
        email: &format!("postmaster@{}", office.first_domain().to_ascii()),
        id: &format!("{begin}.{domain}@{hostname}"),
        begin,
        end,
        domain,
        rows,
    };
    let attached = Attached::of(&report).map_err(text)?;
    let mut to: Vec<Address> = Vec::new();
    for destination in found.to {
        match destination.most {
            Some(most) if attached.size() > most => {
                let size = attached.size();
                log::info!(
                    "event=dmarc-ignored domain={domain} to=<{}> reason=\"{size} bytes are too many\"",
                    destination.address
                );
            }
            _ => to.push(destination.address),
        }
    }
    let Some(first) = to.first() else {
        log::info!("event=dmarc-unwanted domain={domain}");
        return past.sent(domain).map_err(text);
    };
    let recipients = to.iter().cloned().map(Recipient::from).collect();
    let envelope = Envelope { recipients, ..Envelope::own(Recipient::from(first.clone())) };
    let date = date::rfc5322(office.clock.now());
    let letter = Letter::own(office, envelope, |id| Ok(attached.letter(&report, &to, id, &date)));
    let letter = letter.map_err(|error| error.to_string())?;
    let id = letter.id().ok_or("no letter")?;
    past.sending(domain, id).map_err(text)?;
    let mut noted = Ok(());
    match letter.send_then(|| noted = past.sent(domain)) {
        Ok(id) => log::info!("msg={id} event=dmarc-report domain={domain} rows={}", rows.len()),
        // The next start knows. Till then rather none than two.
        Err(PostError::Uncertain) => log::error!("event=dmarc-uncertain domain={domain} id={id}"),
        Err(error) => {
            past.unsent(domain).map_err(text)?;
            return Err(error.to_string());
        }
    }
    if let Err(error) = noted {
        log::error!("msg={id} event=dmarc-unwritten dir={} reason=\"{error}\"", office.feedback.dir.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
