//! Searches whose results are kept up to date (RFC 5267 §4.3): what a change of the mailbox does to them is told as ADDTO and
//! REMOVEFROM.
//!
//! Results are kept as UIDs, in their order. Only messages that came, or whose marks changed, are looked at again.

use super::program::{Context, Program};
use super::run::{self, Hit};
use super::sort::sort;
use super::{Found, Session};
use crate::imapd::answer::{Answer, Done, End};
use crate::imapd::grammar::fetch::Item;
use crate::imapd::grammar::search::{Criterion, Key, Search, Step};
use crate::imapd::grammar::{Set, show};
use crate::imapd::select::Selected;
use crate::mailbox::{Changes, Uid, View};
use std::collections::{BTreeSet, HashSet};

/// Searches of one session that are kept up to date.
const MOST: usize = 8;
/// Results of one that is sorted: to put one message in its place, all are compared.
const MOST_SORTED: usize = 5_000;

/// A search that is kept up to date.
#[derive(Debug)]
pub(in crate::imapd) struct Live {
    tag: String,
    /// The results are told as UIDs.
    uid: bool,
    /// None: in the mailbox's order.
    criteria: Vec<Criterion>,
    steps: Vec<Step>,
    charset: Option<Vec<u8>>,
    /// What is told of messages that come (RFC 5465 §7).
    fetch: Vec<Item>,
    results: Vec<u32>,
    /// What could not be looked at yet.
    pending: BTreeSet<u32>,
}

/// What is to be told of one message that came.
pub(in crate::imapd) type Wanted = (u32, Vec<Item>);

impl Session<'_> {
    /// May this search be kept up to date? No two of one tag (RFC 5267 §4.3).
    pub(super) fn may_update(&self, tag: &str, search: &Search) -> Result<(), Answer> {
        let taken = |selected: &Selected| selected.live.iter().any(|live| live.tag == tag);
        match &search.update {
            Some(_) if self.selected.as_deref().is_some_and(taken) => Err(Answer::bad("this tag names another search")),
            _ => Ok(()),
        }
    }

    /// Keeps a search up to date from now on, or tells that it will not be (RFC 5267 §4.3.1).
    pub(super) fn keep_up_to_date(
        &mut self,
        tag: &str,
        uid: bool,
        criteria: &[Criterion],
        search: &Search,
        found: &Found,
    ) -> Result<(), End> {
        let Some(fetch) = &search.update else { return Ok(()) };
        let saved = Set::Ranges(self.saved.iter().map(|uid| (uid.0, uid.0)).collect());
        let Some(selected) = self.selected.as_deref_mut() else { return Ok(()) };
        let why = match () {
            () if selected.live.len() >= MOST => Some("there are too many already"),
            () if search.steps.iter().any(is_dear) => Some("what this asks for is not looked for again"),
            () if !criteria.is_empty() && found.hits.len() > MOST_SORTED => Some("there is too much to be sorted"),
            () => None,
        };
        if let Some(why) = why {
            return self.tell(format_args!("NO [NOUPDATE \"{tag}\"] {why}"));
        }
        selected.live.push(Live {
            tag: tag.to_owned(),
            uid,
            criteria: criteria.to_vec(),
            steps: search.steps.iter().map(|step| by_uid(step, &selected.view, &saved)).collect(),
            charset: search.charset.clone(),
            fetch: fetch.clone(),
            results: found.hits.iter().map(|hit| hit.summary.uid.0).collect(),
            pending: BTreeSet::new(),
        });
        Ok(())
    }

    /// CANCELUPDATE (RFC 5267 §4.3.5).
    pub(in crate::imapd) fn cancel_update(&mut self, tags: &[Vec<u8>]) -> Done {
        let Some(selected) = self.selected.as_deref_mut() else { return Ok(Answer::bad("no mailbox is selected")) };
        selected.live.retain(|live| !tags.iter().any(|tag| tag == live.tag.as_bytes()));
        Ok(Answer::ok("they are left as they are"))
    }

    /// Tells which results are about to go with their messages: before that, while the numbers hold (RFC 5267 §4.3.4).
    pub(in crate::imapd) fn tell_lost_results(&mut self, selected: &mut Selected, gone: &[(u32, Uid)]) -> Result<(), End> {
        if selected.live.is_empty() || gone.is_empty() {
            return Ok(());
        }
        let gone: Vec<(u32, u32)> = gone.iter().rev().map(|(number, uid)| (uid.0, *number)).collect();
        for live in &mut selected.live {
            live.pending.retain(|uid| gone.binary_search_by_key(uid, |(uid, _)| *uid).is_err());
            if let Some(text) = live.remove(&gone) {
                self.tell(format_args!("{text}"))?;
            }
        }
        Ok(())
    }

    /// Looks what a change did to the results. Gives the lines to be told once the change was, and what is wanted of new
    /// messages; `from`: the number of the first of them.
    pub(in crate::imapd) fn update_results(
        &self,
        selected: &mut Selected,
        changes: &Changes,
        from: u32,
    ) -> (Vec<String>, Vec<Wanted>) {
        let (mut lines, mut wanted) = (Vec::new(), Vec::new());
        let Selected { view, live, .. } = selected;
        if live.is_empty() {
            return (lines, wanted);
        }
        let came = changes.exists.and_then(|count| view.select(&[from..=count], false).ok()).unwrap_or_default();
        let mut touched: BTreeSet<u32> = changes.marked.iter().map(|(_, uid)| uid.0).collect();
        touched.extend(came.iter().map(|message| message.uid.0));
        for live in live {
            live.pending.extend(&touched);
            let Some((text, added)) = live.look_again(view, self.server.clock.now()) else { continue };
            lines.extend(text);
            let new = came.iter().filter(|message| added.contains(&message.uid.0) && !live.fetch.is_empty());
            wanted.extend(new.map(|message| (message.number, live.fetch.clone())));
        }
        (lines, wanted)
    }
}

impl Live {
    /// Looks at what may have changed. None: not now.
    fn look_again(&mut self, view: &View, now: crate::sys::Time) -> Option<(Vec<String>, HashSet<u32>)> {
        if self.pending.is_empty() {
            return Some(Default::default());
        }
        let context = Context {
            charset: self.charset.as_deref(),
            keywords: &view.keywords(),
            now,
            count: view.count().ok()?,
            last_uid: view.last_uid().ok()?,
            saved: &[],
        };
        let program = Program::new(&self.steps, &context).ok()?;
        let ranges: Vec<_> = self.pending.iter().map(|uid| *uid..=*uid).collect();
        let looked_at = view.select(&ranges, true).ok()?;
        let hits = run::search_among(view, &program, &ranges, None).ok()?;
        let fits: HashSet<u32> = hits.iter().map(|hit| hit.summary.uid.0).collect();
        let known: HashSet<u32> = self.results.iter().copied().collect();
        let lost = looked_at.iter().map(|message| (message.uid.0, message.number));
        let lost: Vec<(u32, u32)> = lost.filter(|(uid, _)| known.contains(uid) && !fits.contains(uid)).collect();
        let added: Vec<Hit> = hits.into_iter().filter(|hit| !known.contains(&hit.summary.uid.0)).collect();
        let mut lines = Vec::new();
        lines.extend(self.remove(&lost));
        let new = added.iter().map(|hit| hit.summary.uid.0).collect();
        lines.extend(self.add(view, added)?);
        self.pending.clear();
        Some((lines, new))
    }

    fn head(&self, what: &str, pairs: &[String]) -> String {
        format!("ESEARCH (TAG \"{}\"){} {what} ({})", self.tag, if self.uid { " UID" } else { "" }, pairs.join(" "))
    }

    /// Takes these out, given by UID, ascending, with their numbers.
    fn remove(&mut self, gone: &[(u32, u32)]) -> Option<String> {
        let number = |uid: u32| gone.binary_search_by_key(&uid, |(uid, _)| *uid).ok().and_then(|at| gone.get(at));
        let name = |(uid, number): (u32, u32)| if self.uid { uid } else { number };
        let found: Vec<(usize, u32)> =
            self.results.iter().enumerate().filter_map(|(at, uid)| Some((at, name(*number(*uid)?)))).collect();
        if found.is_empty() {
            return None;
        }
        let pairs = if self.criteria.is_empty() {
            vec![format!("0 {}", show(found.iter().map(|(_, name)| *name..=*name)))]
        } else {
            // The last first, so that the places of those before it hold.
            found.iter().rev().map(|(at, name)| format!("{} {name}", at + 1)).collect()
        };
        let text = self.head("REMOVEFROM", &pairs);
        self.results.retain(|uid| number(*uid).is_none());
        Some(text)
    }

    /// Puts these in their places. None: not now.
    fn add(&mut self, view: &View, added: Vec<Hit>) -> Option<Vec<String>> {
        if added.is_empty() {
            return Some(Vec::new());
        }
        let name = |hit: &Hit| hit.name(self.uid);
        let new: HashSet<u32> = added.iter().map(|hit| hit.summary.uid.0).collect();
        if self.criteria.is_empty() {
            let pairs = [format!("0 {}", show(added.iter().map(|hit| name(hit)..=name(hit))))];
            self.results.extend(new);
            self.results.sort_unstable();
            return Some(vec![self.head("ADDTO", &pairs)]);
        }
        let ranges: Vec<_> = self.results.iter().chain(&new).map(|uid| *uid..=*uid).collect::<Vec<_>>();
        let mut ranges = ranges;
        ranges.sort_unstable_by_key(|range| *range.start());
        let all = view.select(&ranges, true).ok()?;
        let all = all.into_iter().filter_map(|message| Some(Hit { number: message.number, summary: message.summary? }));
        let sorted = sort(view, all.collect(), &self.criteria, None).ok()?;
        // One that is gone already keeps its place until that is told.
        let order = with_gone(&self.results, sorted.iter().map(|hit| hit.summary.uid.0));
        let names: std::collections::HashMap<u32, u32> = sorted.iter().map(|hit| (hit.summary.uid.0, name(hit))).collect();
        let mut pairs: Vec<(usize, Vec<u32>)> = Vec::new();
        for (at, uid) in order.iter().enumerate().filter(|(_, uid)| new.contains(uid)) {
            let name = names.get(uid).copied().unwrap_or_default();
            match pairs.last_mut() {
                Some((from, names)) if *from + names.len() == at => names.push(name),
                _ => pairs.push((at, vec![name])),
            }
        }
        self.results = order;
        let pairs: Vec<String> =
            pairs.iter().map(|(at, names)| format!("{} {}", at + 1, show(names.iter().map(|name| *name..=*name)))).collect();
        Some(vec![self.head("ADDTO", &pairs)])
    }
}

/// A new order, into which those of the old one that it lacks are put behind those they stood behind.
fn with_gone(before: &[u32], now: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut order: Vec<u32> = now.collect();
    let known: HashSet<u32> = order.iter().copied().collect();
    for (at, uid) in before.iter().enumerate().filter(|(_, uid)| !known.contains(uid)) {
        let behind = at.checked_sub(1).and_then(|at| before.get(at));
        let place = behind.and_then(|behind| order.iter().position(|uid| uid == behind)).map_or(0, |place| place + 1);
        order.insert(place, *uid);
    }
    order
}

/// Can what a key asks for change without an event, or does it take reading messages again?
fn is_dear(step: &Step) -> bool {
    matches!(step, Step::Key(Key::Body(_) | Key::Text(_) | Key::Older(_) | Key::Younger(_)))
}

/// Numbers and `$` mean what they mean now, whatever changes (RFC 5267 §4.3).
fn by_uid(step: &Step, view: &View, saved: &Set) -> Step {
    match step {
        Step::Key(Key::Numbers(Set::Saved) | Key::Uids(Set::Saved)) => Step::Key(Key::Uids(saved.clone())),
        Step::Key(Key::Numbers(set)) => {
            let count = view.count().unwrap_or_default();
            let named = view.select(&set.ranges(count), false).unwrap_or_default();
            Step::Key(Key::Uids(Set::Ranges(named.iter().map(|message| (message.uid.0, message.uid.0)).collect())))
        }
        step => step.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_keeps_its_place() {
        assert_eq!(with_gone(&[1, 2, 3], [3, 4, 1].into_iter()), [3, 4, 1, 2]);
        assert_eq!(with_gone(&[1, 2, 3], [4, 3].into_iter()), [1, 2, 4, 3]);
        assert_eq!(with_gone(&[], [4, 3].into_iter()), [4, 3]);
    }
}
