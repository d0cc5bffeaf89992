//! Which messages of a folder a form means: those that were selected one by one, a run of them, or all that the page has counted.

use super::list::search;
use super::query::Query;
use super::reference::Reference;
use super::site::{Context, Form, trouble};
use crate::httpd::Status;
use crate::mailbox::{Summary, Uid, View};
use std::fmt;
use std::str::FromStr;

/// Runs that a form names: the rest of what was moved is not offered to be moved back.
const MOST_RUNS: usize = 100;

/// All messages that a page counted. With them those are meant that were there then and still are; what came since is not, nor,
/// among what was found by a search, what was changed since, for it may be there by that alone.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    validity: u32,
    /// The highest UID there was.
    last: u32,
    /// The last change there was.
    modseq: u64,
    /// How many were counted.
    pub total: usize,
}

impl Counted {
    /// Of these messages of a folder; so many were counted of them.
    pub(super) fn of(view: &View, all: &[Summary], total: usize) -> Counted {
        Counted {
            validity: view.uid_validity(),
            last: all.last().map_or(0, |summary| summary.uid.0),
            modseq: all.iter().map(|summary| summary.modseq).max().unwrap_or_default(),
            total,
        }
    }

    fn uids(self, view: &View, query: &Query) -> Result<Vec<Uid>, Status> {
        let all = view.messages().map_err(trouble)?;
        let was_so = |summary: &&Summary| summary.uid.0 <= self.last && (query.is_empty() || summary.modseq <= self.modseq);
        let uids: Vec<Uid> = all.iter().filter(was_so).map(|summary| summary.uid).collect();
        if query.is_empty() { Ok(uids) } else { search(view, &uids, query) }
    }
}

impl fmt::Display for Counted {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}-{}-{}-{}", self.validity, self.last, self.modseq, self.total)
    }
}

impl FromStr for Counted {
    type Err = ();
    fn from_str(text: &str) -> Result<Counted, ()> {
        let mut numbers = text.split('-').map(|digits| digits.parse::<u64>().map_err(drop));
        let mut next = || numbers.next().unwrap_or(Err(()));
        let small = |number: u64| u32::try_from(number).map_err(drop);
        let (validity, last, modseq, total) = (small(next()?)?, small(next()?)?, next()?, next()?);
        Ok(Counted { validity, last, modseq, total: usize::try_from(total).map_err(drop)? })
    }
}

/// What a form means, in the order of UIDs.
#[derive(Debug, Default)]
pub(super) struct Selection {
    pub uids: Vec<Uid>,
    /// Of what was counted, those that are not among them.
    pub others: usize,
    /// All that was counted is meant.
    pub is_all: bool,
}

impl Selection {
    /// `query`: what was searched for on the page of the form.
    pub(super) fn of(context: &Context<'_>, view: &View, form: &Form, query: &str) -> Result<Selection, Status> {
        let Some(counted) = form.get("all") else {
            return Ok(Selection { uids: selected(view, form)?, ..Selection::default() });
        };
        let counted: Counted = counted.parse().map_err(|()| Status::UNPROCESSABLE_CONTENT)?;
        let is_it = counted.validity == view.uid_validity();
        let uids = if is_it { counted.uids(view, &Query::parse(query))? } else { Vec::new() };
        let (session, user) = (context.session, &context.account().name);
        log::info!("session={session} webmail all selected user={user} counted={} meant={}", counted.total, uids.len());
        Ok(Selection { others: counted.total.saturating_sub(uids.len()), uids, is_all: true })
    }
}

fn selected(view: &View, form: &Form) -> Result<Vec<Uid>, Status> {
    let (mut found, mut runs) = (Vec::new(), Vec::new());
    for text in form.all("m") {
        let (first, last) = text.split_once(':').unwrap_or((text, ""));
        let Some(first) = first.parse::<Reference>().ok().and_then(|name| name.in_view(view)) else { continue };
        match last.parse() {
            Ok(last) => runs.push((first, Uid(last))),
            Err(_) => found.push(first),
        }
    }
    if !runs.is_empty() {
        runs.sort_unstable();
        let (mut runs, mut last) = (runs.into_iter().peekable(), None);
        for Summary { uid, .. } in view.messages().map_err(trouble)? {
            while let Some((_, end)) = runs.next_if(|(first, _)| *first <= uid) {
                last = last.max(Some(end));
            }
            found.extend(Some(uid).filter(|uid| Some(*uid) <= last));
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// Names of these messages for a form, `VALIDITY-FIRST:LAST` for a run of them, parted by dots. Empty: there are too many.
pub(super) fn names(validity: u32, uids: &[Uid]) -> String {
    let mut uids = uids.to_vec();
    uids.sort_unstable();
    let runs = uids.chunk_by(|one, other| one.0.checked_add(1) == Some(other.0));
    let name = |run: &[Uid]| match run {
        [one] => Reference { validity, uid: *one }.to_string(),
        [first, .., last] => format!("{}:{}", Reference { validity, uid: *first }, last.0),
        [] => String::new(),
    };
    let names: Vec<String> = runs.map(name).take(MOST_RUNS + 1).collect();
    if names.len() > MOST_RUNS { String::new() } else { names.join(".") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_have_short_names() {
        let of = |uids: &[u32]| names(7, &uids.iter().copied().map(Uid).collect::<Vec<_>>());
        assert_eq!(of(&[]), "");
        assert_eq!(of(&[9, 3, 4, 5, u32::MAX]), "7-3:5.7-9.7-4294967295");
        assert_eq!(of(&(0..100).map(|n| n * 2).collect::<Vec<_>>()).split('.').count(), 100);
        assert_eq!(of(&(0..101).map(|n| n * 2).collect::<Vec<_>>()), "");
        assert_eq!(of(&(1..10_000).collect::<Vec<_>>()), "7-1:9999");
    }

    #[test]
    fn what_was_counted_comes_back() {
        let counted = Counted { validity: 7, last: u32::MAX, modseq: u64::MAX, total: 3 };
        assert_eq!(counted.to_string().parse(), Ok(counted));
        for wrong in ["", "1-2-3", "1-2-x-4", "4294967296-2-3-4", "-1-2-3-4"] {
            assert_eq!(wrong.parse::<Counted>(), Err(()), "{wrong}");
        }
    }
}
