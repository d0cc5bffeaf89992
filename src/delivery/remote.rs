//! One try for another host: who is asked, in which order, and what became of each recipient.

use super::answers::{Unreached, milder, nobody, not_reached, secret, unreached, verdict};
use super::bounce::Kind;
use super::lanes::Lane;
use super::manner::{Manner, Need, Proof, Secure};
use super::mx::{self, Exchange};
use super::outcome::{Relay, Trouble, Verdict};
use super::sealing::OfCopies;
use super::sts::policy::Policy;
use super::survey::{Survey, survey};
use super::table::Task;
use super::{Hop, Office, list, local, outcome, runner, schedule};
use crate::config::Endpoint;
use crate::mail::{Address, Recipient, mailboxes};
use crate::smtp::client::{Answer, Client, Failure, Parcel, Target};
use crate::spool::Entry;
use std::cell::LazyCell;
use std::collections::{HashSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Recipients of one transaction: what every server must take (RFC 5321 §4.5.3.1.8).
const MOST_RECIPIENTS: usize = 100;

/// Addresses that are asked in one try.
const MOST_ADDRESSES: usize = 10;

/// After that long no further address is asked.
const LONGEST_SEARCH: Duration = Duration::from_secs(180);

/// An open conversation with the host of a hop.
#[derive(Debug)]
pub(super) struct Line {
    client: Client,
    relay: Relay,
    /// Has the host proven its name?
    is_proven: bool,
    /// What it was opened for.
    need: Need,
}

impl Line {
    /// Is it good enough for this?
    fn is_fit(&self, wanted: Wanted) -> bool {
        let is_fit = match wanted.need {
            Need::Usual => self.need != Need::Open,
            Need::Secret => self.is_proven && self.client.takes_secrets() || self.is_here(),
            Need::Open => true,
        };
        is_fit && (self.client.takes_utf8() || !wanted.utf8)
    }

    /// It leads to a store of this host.
    fn is_here(&self) -> bool {
        matches!(self.relay.address, Endpoint::Unix(_))
    }

    /// Messages sent over it.
    pub(super) fn messages(&self) -> u32 {
        self.client.transactions()
    }
}

/// Ends a conversation with courtesy.
pub(super) fn hang_up(line: Option<Line>) {
    if let Some(line) = line {
        line.client.quit();
    }
}

/// What is wanted of a line.
#[derive(Copy, Clone, Debug)]
struct Wanted {
    /// Rather one to a host that knows SMTPUTF8.
    utf8: bool,
    need: Need,
}

/// Tries one task; `line` is used, opened, and left open if it can take more. False: the host wants no more conversations
/// than it has, and the task was left to these.
pub(super) fn run(office: &Arc<Office>, hop: &Hop, task: &Task, line: &mut Option<Line>) -> bool {
    let entry = match office.recent.take(task.id).map_or_else(|| office.journal.read(task.id), Ok) {
        Ok(entry) => entry,
        Err(error) => {
            runner::unreadable(office, task, &error);
            return true;
        }
    };
    // Without room for its outcome nothing may be sent: it would be sent again.
    if let Err(error) = office.journal.reserve(task.id) {
        runner::unreadable(office, task, &error);
        return true;
    }
    let survey = match survey(&entry.message, entry.envelope.utf8) {
        Ok(survey) => survey,
        Err(error) => {
            runner::unreadable(office, task, &error.into());
            return true;
        }
    };
    let (lane, talked) = (Lane::Remote(hop.clone()), line.is_some());
    match deliver(office, hop, &entry, survey, named(&entry, &task.recipients), line) {
        Ok(verdicts) => {
            office.table().lanes.reached(&lane, office.clock.elapsed());
            outcome::conclude(office, &entry, false, verdicts);
        }
        Err(Unreached::Verdict(verdict)) => {
            let verdicts = task.recipients.iter().map(|index| (*index, verdict.clone())).collect();
            outcome::conclude(office, &entry, false, verdicts);
        }
        // Not tried; it is for the next start.
        Err(Unreached::Hop(_)) if office.is_stopping() => {
            office.table().wait(task.id, &task.recipients, office.clock.elapsed());
        }
        Err(Unreached::Hop(_)) if office.table().leave_to_others(&lane, task, talked) => return false,
        Err(Unreached::Hop(trouble)) => {
            conclude_unreached(office, &entry, task, &trouble);
            for task in rest(office, &lane, &trouble) {
                match office.journal.read(task.id) {
                    Ok(entry) => conclude_unreached(office, &entry, &task, &trouble),
                    Err(error) => runner::unreadable(office, &task, &error),
                }
            }
        }
    }
    true
}

/// What could not be reached for one reason, for one task.
pub(super) fn conclude_unreached(office: &Arc<Office>, entry: &Entry, task: &Task, trouble: &Trouble) {
    let verdict = || Verdict::Deferred(Box::new(trouble.clone()));
    outcome::conclude(office, entry, false, task.recipients.iter().map(|index| (*index, verdict())).collect());
}

/// The hop is left alone for a while; what lay ready for it was tried by this.
fn rest(office: &Office, lane: &Lane, trouble: &Trouble) -> Vec<Task> {
    let (config, now) = (office.config(), office.clock.elapsed());
    let mut table = office.table();
    let rest = schedule::rest(&config.queue, table.lanes.failures(lane) + 1);
    table.rest(lane, trouble, now, now + rest)
}

fn named<'a>(entry: &'a Entry, indices: &[u32]) -> VecDeque<(u32, &'a Recipient)> {
    let name = |index: &u32| super::recipient(entry, *index).map(|recipient| (*index, recipient));
    indices.iter().filter_map(name).collect()
}

/// Of several recipients those whom the header does not name, if it names others: copies for them are hidden.
fn hidden(entry: &Entry, recipients: &VecDeque<(u32, &Recipient)>) -> io::Result<HashSet<u32>> {
    if recipients.len() < 2 {
        return Ok(HashSet::new());
    }
    let named = mailboxes::recipients(&local::head(&entry.message)?);
    let named: HashSet<String> = named.iter().map(Address::key).collect();
    Ok(recipients.iter().filter(|(_, one)| !named.contains(&one.address.key())).map(|(index, _)| *index).collect())
}

/// Sends one message to all these recipients, in as many transactions as it takes. Those whom its header does not name are in none
/// with those whom it does (RFC 5321 §7.2).
fn deliver(
    office: &Office,
    hop: &Hop,
    entry: &Entry,
    survey: Survey,
    mut left: VecDeque<(u32, &Recipient)>,
    line: &mut Option<Line>,
) -> Result<Vec<(u32, Verdict)>, Unreached> {
    let (mut verdicts, mut signing) = (Vec::new(), OfCopies::default());
    let hidden = hidden(entry, &left).map_err(|error| Unreached::Verdict(Verdict::own_trouble(&error)))?;
    left.make_contiguous().sort_by_key(|(index, _)| hidden.contains(index));
    while let Some((first, Recipient { sender, .. })) = left.front().copied() {
        let goes_with = |(index, recipient): &&(u32, &Recipient)| {
            hidden.contains(index) == hidden.contains(&first) && recipient.sender == *sender
        };
        let together = left.iter().take(MOST_RECIPIENTS).take_while(goes_with).count();
        let envelope = sender.as_deref().map(|sender| entry.envelope.from(sender));
        let now: Vec<(u32, &Recipient)> = left.drain(..together).collect();
        let recipients: Vec<&Recipient> = now.iter().map(|(_, recipient)| *recipient).collect();
        let own = match list::signed_copy(office, entry, first, &mut signing) {
            Ok(own) => own,
            Err(error) => {
                verdicts.extend(now.iter().map(|(index, _)| (*index, Verdict::own_trouble(&error))));
                continue;
            }
        };
        let parcel = Parcel {
            envelope: envelope.as_ref().unwrap_or(&entry.envelope),
            recipients: &recipients,
            size: survey.size + own.message.len() - entry.message.len(),
            eight_bit: survey.eight_bit,
            utf8: survey.utf8,
            require_tls: false,
            message: &own.message,
        };
        let Sent { answers, relay, report } = match send(office, hop, &parcel, survey.need(&entry.envelope), line) {
            Ok(sent) => sent,
            // Of those that were sent before, all is known: only the rest was not tried.
            Err(unreached) if verdicts.is_empty() => return Err(unreached),
            Err(unreached) => {
                let verdict = match unreached {
                    Unreached::Hop(trouble) => Verdict::Deferred(trouble),
                    Unreached::Verdict(verdict) => verdict,
                };
                verdicts.extend(now.iter().chain(&left).map(|(index, _)| (*index, verdict.clone())));
                break;
            }
        };
        for ((index, recipient), answer) in now.into_iter().zip(answers) {
            match verdict(answer, &relay, report) {
                Some(verdict) => verdicts.push((index, verdict)),
                None => left.push_back((index, recipient)),
            }
        }
    }
    verdicts.sort_by_key(|(index, _)| *index);
    Ok(verdicts)
}

/// What came of a transaction.
struct Sent {
    /// To each recipient.
    answers: Vec<Answer>,
    relay: Relay,
    /// What it leaves to us to report.
    report: Option<Kind>,
}

/// One transaction, over the open line if it is still alive. Where SMTPUTF8 is needed, and the host at the other end does not
/// know it, another of the hop may (RFC 6531 §3.2).
fn send(office: &Office, hop: &Hop, parcel: &Parcel<'_>, need: Need, line: &mut Option<Line>) -> Result<Sent, Unreached> {
    let wanted = Wanted { utf8: parcel.is_international(), need };
    let is_report = parcel.envelope.reverse_path.0.is_none();
    // Twice at most: a fresh line is never stale.
    loop {
        let mut open = match line.take() {
            Some(open) if open.is_fit(wanted) => open,
            other => {
                hang_up(other);
                match call(office, hop, wanted) {
                    // A report is rather not kept secret than lost (RFC 8689 §5).
                    Err(Unreached::Verdict(Verdict::Failed(_))) if need == Need::Secret && is_report => {
                        call(office, hop, Wanted { need: Need::Usual, ..wanted })?
                    }
                    called => called?,
                }
            }
        };
        let require_tls = need == Need::Secret && open.is_proven && open.client.takes_secrets();
        let answers = open.client.send(&Parcel { require_tls, ..*parcel });
        if open.client.was_stale() {
            continue;
        }
        let (relay, report) = (open.relay.clone(), report_of(hop, open.client.reports()));
        match open.client.is_usable() {
            true => *line = Some(open),
            false => open.client.quit(),
        }
        return Ok(Sent { answers, relay, report });
    }
}

/// What we report of mail that a host of this hop has taken, which may send reports itself. By LMTP it is in its mailbox then
/// (RFC 2033 §1).
fn report_of(hop: &Hop, reports: bool) -> Option<Kind> {
    match hop {
        _ if reports => None,
        Hop::Lmtp(_) => Some(Kind::Delivered),
        _ => Some(Kind::Relayed),
    }
}

/// A conversation with a host of the hop; where none can be had, with the one for such cases.
fn call(office: &Office, hop: &Hop, wanted: Wanted) -> Result<Line, Unreached> {
    let fallback = office.config().queue.fallback.clone();
    match (reach(office, hop, wanted), hop, fallback) {
        (Err(Unreached::Hop(trouble)), Hop::Domain(_), Some((host, port))) if !office.is_stopping() => {
            reach(office, &Hop::Host(host, port), wanted).map_err(|_| Unreached::Hop(trouble))
        }
        (reached, ..) => reached,
    }
}

/// The first host of a hop that talks to us and, if that is wanted and can be had, knows SMTPUTF8. What is secret must not go to
/// one that does not keep it so (RFC 8689 §4.2.1).
fn reach(office: &Office, hop: &Hop, wanted: Wanted) -> Result<Line, Unreached> {
    let (mut without, mut unfit) = (None, None);
    let found = ask_all(office, hop, wanted.need, |line| match line.is_fit(wanted) {
        true => Some(line),
        false if !line.is_fit(Wanted { utf8: false, ..wanted }) => {
            let reason =
                format!("It is secret, and the host {} does not keep it so: it does not offer REQUIRETLS.", line.relay.host);
            unfit = Some(Trouble::own("5.7.30", &reason).at(&line.relay));
            line.client.quit();
            None
        }
        false if without.is_none() => {
            without = Some(line);
            None
        }
        false => {
            line.client.quit();
            None
        }
    });
    match (found, without, unfit) {
        (Err(_), Some(line), _) => Ok(line),
        // For other mail the hop may do: it does not rest.
        (Err(Unreached::Hop(trouble)), None, _) if wanted.need == Need::Secret => {
            Err(Unreached::Verdict(Verdict::Deferred(trouble)))
        }
        (Err(Unreached::Verdict(_)), None, Some(trouble)) => Err(Unreached::Verdict(Verdict::Failed(trouble))),
        (found, without, _) => {
            hang_up(without);
            found
        }
    }
}

/// Asks the hosts of a hop one after the other until one talks to us whom `choose` takes.
fn ask_all(office: &Office, hop: &Hop, need: Need, mut choose: impl FnMut(Line) -> Option<Line>) -> Result<Line, Unreached> {
    let config = office.config();
    let manner = Manner::of(office, hop).map_err(Unreached::Hop)?;
    let begun = office.clock.elapsed();
    let exchanges = mx::exchanges(&office.resolver, hop, &config.hostname, config.queue.smtp_port).map_err(unreached)?;
    let policy = LazyCell::new(|| match hop {
        Hop::Domain(domain) => office.policies.of(domain, &config),
        Hop::Host(..) | Hop::Lmtp(_) | Hop::Literal(_) | Hop::Program(_) => None,
    });
    let (mut worst, mut asked) = (None, 0);
    for exchange in &exchanges {
        let (addresses, secure) = match look_up(office, &manner, exchange, need, || policy.clone()) {
            Ok(found) => found,
            Err(unreached) => {
                worst = Some(milder(worst, unreached));
                continue;
            }
        };
        for address in addresses {
            let late = asked > 0 && office.clock.elapsed() - begun > LONGEST_SEARCH;
            if asked == MOST_ADDRESSES || late || office.is_stopping() {
                return Err(worst.unwrap_or_else(|| Unreached::Hop(Trouble::own("4.3.2", "This host is being shut down."))));
            }
            let mut relay = Relay { host: exchange.host.clone(), address, tls: None };
            if let Err(trouble) = office.hosts().ask(&relay.address, office.clock.elapsed()) {
                log::debug!("relay={relay} event=not-asked hop={hop} reason=\"{trouble}\"");
                worst = Some(milder(worst, Unreached::Hop(trouble)));
                continue;
            }
            asked += 1;
            let target = Target {
                address: relay.address.clone(),
                lmtp: matches!(hop, Hop::Lmtp(_)),
                host: &exchange.host,
                hostname: &config.hostname,
                secrecy: secure.secrecy(),
                login: manner.login.as_ref(),
                patience: config.timeouts.remote,
            };
            match Client::open(&target, &office.outbound) {
                Ok(client) => {
                    office.hosts().answered(&relay.address);
                    relay.tls = client.cipher().map(|cipher| format!("{cipher}, {}", secure.proof));
                    log::info!("relay={relay} event=connected hop={hop} tls=\"{}\"", relay.tls.as_deref().unwrap_or("none"));
                    if let Some(why) = secure.objection(client.is_encrypted()) {
                        log::warn!("relay={relay} event=sts-testing hop={hop} reason=\"{why}\"");
                    }
                    let is_proven = client.is_encrypted() && secure.proof != Proof::Nothing;
                    if let Some(line) = choose(Line { client, relay, is_proven, need }) {
                        return Ok(line);
                    }
                }
                // The hosts after us in the list would give it to us (RFC 5321 §5.1).
                Err(Failure::Ourselves) => return Err(worst.unwrap_or(unreached(mx::ourselves(&hop.to_string())))),
                Err(failure) => {
                    log::info!("relay={relay} event=not-reached hop={hop} reason=\"{failure}\" wanted=\"{}\"", secure.proof);
                    let unreached = secret(not_reached(&relay, &failure, secure.proof), need);
                    note(office, &relay, &failure, &unreached);
                    worst = Some(milder(worst, unreached));
                }
            }
        }
    }
    Err(worst.unwrap_or_else(|| nobody(hop)))
}

/// Where a host is, and what the line to it must be like.
fn look_up(
    office: &Office,
    manner: &Manner,
    exchange: &Exchange,
    need: Need,
    policy: impl FnOnce() -> Option<Policy>,
) -> Result<(Vec<Endpoint>, Secure), Unreached> {
    if let Some(path) = &exchange.socket {
        return Ok((vec![Endpoint::Unix(path.clone())], manner.line()));
    }
    let addresses = mx::addresses(&office.resolver, exchange).map_err(|why| unreached(mx::no_answer(&exchange.host, &why)))?;
    let secure = manner.toward(office, exchange, &addresses, need, policy);
    let secure = secure.map_err(|trouble| secret(Unreached::Hop(trouble), need))?;
    let endpoint = |ip| Endpoint::Tcp(SocketAddr::new(ip, exchange.port));
    Ok((addresses.data.into_iter().map(endpoint).collect(), secure))
}

/// Remembers whether a host that would not talk to us was there at all.
fn note(office: &Office, relay: &Relay, failure: &Failure, unreached: &Unreached) {
    let (config, now) = (office.config(), office.clock.elapsed());
    let mut hosts = office.hosts();
    match (failure, unreached) {
        // Our own doing says nothing of it.
        (Failure::Net(..), Unreached::Hop(_)) if office.is_stopping() => {}
        (Failure::Net(..), Unreached::Hop(trouble)) => {
            hosts.failed(&relay.address, trouble, now, |failures| schedule::rest(&config.queue, failures));
        }
        _ => hosts.answered(&relay.address),
    }
}
