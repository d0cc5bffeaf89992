//! SORT (RFC 5256 §3, RFC 5957): texts by i;unicode-casemap, and what is equal by number.

use super::run::{self, Hit};
use crate::imapd::grammar::search::{By, Criterion};
use crate::imapd::pulse::Pulse;
use crate::mail::casemap;
use crate::mail::structure::Keys;
use crate::mailbox::{MailboxError, View};
use std::cmp::Ordering;

/// What messages are compared by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    Number(i64),
    Text(Vec<u8>),
}

/// Puts the messages in order.
pub fn sort(
    view: &View,
    hits: Vec<Hit>,
    criteria: &[Criterion],
    pulse: Option<&mut Pulse<'_>>,
) -> Result<Vec<Hit>, MailboxError> {
    let values = if criteria.iter().all(|criterion| matches!(criterion.by, By::Arrival | By::Size)) {
        hits.iter().map(|hit| values(&Keys::default(), hit, criteria)).collect()
    } else {
        run::keys(view, &hits, pulse, |keys, hit| values(&keys, hit, criteria))?
    };
    let mut rows: Vec<(Vec<Value>, Hit)> = values.into_iter().zip(hits).collect();
    rows.sort_by(|(one, hit), (other, other_hit)| compare(one, other, criteria).then_with(|| hit.number.cmp(&other_hit.number)));
    Ok(rows.into_iter().map(|(_, hit)| hit).collect())
}

fn compare(one: &[Value], other: &[Value], criteria: &[Criterion]) -> Ordering {
    let pairs = one.iter().zip(other).zip(criteria);
    let orders = pairs.map(|((one, other), criterion)| if criterion.reverse { other.cmp(one) } else { one.cmp(other) });
    orders.fold(Ordering::Equal, Ordering::then)
}

fn values(keys: &Keys, hit: &Hit, criteria: &[Criterion]) -> Vec<Value> {
    let text = |text: &str| Value::Text(casemap::key(text));
    let value = |criterion: &Criterion| match criterion.by {
        By::Arrival => Value::Number(hit.summary.date.0),
        By::Cc => text(&keys.cc.mailbox),
        By::Date => Value::Number(sent(keys, hit)),
        By::DisplayFrom => text(&keys.from.display),
        By::DisplayTo => text(&keys.to.display),
        By::From => text(&keys.from.mailbox),
        By::Size => Value::Number(i64::try_from(hit.summary.size).unwrap_or(i64::MAX)),
        By::Subject => text(&keys.base_subject),
        By::To => text(&keys.to.mailbox),
    };
    criteria.iter().map(value).collect()
}

/// Seconds since 1970 of the sent date: of the internal date, if there is none (RFC 5256 §2.2).
pub fn sent(keys: &Keys, hit: &Hit) -> i64 {
    keys.sent.map_or_else(|| hit.summary.date.0.div_euclid(1_000_000), |sent| sent.utc)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::structure::Structure;
    use crate::mailbox::{Summary, Uid};
    use crate::sys::Time;
    use proptest::prelude::*;

    fn order(headers: &[&str], criteria: &[Criterion]) -> Vec<u32> {
        let hits: Vec<Hit> = (1..)
            .zip(headers)
            .map(|(number, header)| {
                let date = Time::from_seconds(1000 - i64::from(number));
                Hit { number, summary: Summary { uid: Uid(number), size: header.len() as u64, date, ..Summary::default() } }
            })
            .collect();
        let keys = |header: &str| Structure::of(header.replace('\n', "\r\n").as_bytes()).keys;
        let mut rows: Vec<_> =
            hits.iter().zip(headers).map(|(hit, header)| (values(&keys(header), hit, criteria), hit.number)).collect();
        rows.sort_by(|one, other| compare(&one.0, &other.0, criteria).then(one.1.cmp(&other.1)));
        rows.into_iter().map(|(_, number)| number).collect()
    }

    fn by(by: By) -> Criterion {
        Criterion { by, reverse: false }
    }

    #[test]
    fn each_criterion() {
        let headers = [
            "From: Zoe <a@x>\nTo: b@x\nCc: d@x\nSubject: Re: beta\nDate: Sat, 1 Nov 2025 12:00:00 +0000\n\n",
            "From: ärger <C@x>\nSubject: ALPHA\nDate: Sat, 1 Nov 2025 12:30:00 +0200\n\n",
            "From: b@x\nTo: A@x\nSubject: [list] Beta\n\n",
        ];
        for (criterion, expected) in [
            (By::Arrival, [3, 2, 1]),
            (By::Cc, [2, 3, 1]),
            (By::Date, [3, 2, 1]),
            (By::DisplayFrom, [2, 3, 1]),
            (By::DisplayTo, [2, 3, 1]),
            (By::From, [1, 3, 2]),
            (By::Size, [3, 2, 1]),
            (By::Subject, [2, 1, 3]),
            (By::To, [2, 3, 1]),
        ] {
            assert_eq!(order(&headers, &[by(criterion)]), expected, "{criterion:?}");
        }
        // What is equal stays in the order of numbers, also if the order is turned.
        assert_eq!(order(&headers, &[Criterion { by: By::Subject, reverse: true }]), [1, 3, 2]);
        assert_eq!(order(&headers, &[by(By::Subject), by(By::Arrival)]), [2, 3, 1]);
    }

    proptest! {
        #[test]
        fn reverse_turns_what_differs(subjects in proptest::collection::vec("[ab]{0,2}", 1..8)) {
            let headers: Vec<String> = subjects.iter().map(|subject| format!("Subject: {subject}\n\n")).collect();
            let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
            let mut expected: Vec<u32> = (1..=headers.len() as u32).collect();
            expected.sort_by(|one, other| subjects[*other as usize - 1].cmp(&subjects[*one as usize - 1]));
            prop_assert_eq!(order(&headers, &[Criterion { by: By::Subject, reverse: true }]), expected);
        }
    }
}
