//! What a person searches for: `from:anna is:unread before:2026-01-31 -draft "two words"`. Pure.

use crate::mailbox::{Flags, Summary};
use jiff::civil::Date;

/// All of these must hold.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Query {
    terms: Vec<(bool, Term)>,
}

#[derive(Debug, PartialEq, Eq)]
enum Term {
    From(String),
    To(String),
    Subject(String),
    Any(String),
    Flag(Flags, bool),
    Attachment,
    Before(Date),
    /// That day or later.
    After(Date),
}

/// What is looked at of one message. Texts are in lower case.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub summary: &'a Summary,
    pub day: Date,
    pub from: &'a str,
    pub to: &'a str,
    pub subject: &'a str,
    pub has_attachment: bool,
}

impl Query {
    /// Reads what was typed. What is no known condition is a word to look for.
    pub(super) fn parse(text: &str) -> Query {
        let mut terms = Vec::new();
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            let (word, after) = word(rest);
            rest = after.trim_start();
            let (wanted, word) = match word.strip_prefix('-') {
                Some(word) if !word.is_empty() => (false, word.to_owned()),
                _ => (true, word),
            };
            if !word.is_empty() {
                terms.push((wanted, term(&word)));
            }
        }
        Query { terms }
    }

    /// Is everything wanted?
    pub(super) fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// The words for which the text of a message has to be looked at, and whether they are to be in it.
    pub(super) fn words(&self) -> impl Iterator<Item = (bool, &str)> {
        self.terms.iter().filter_map(|(wanted, term)| match term {
            Term::Any(word) => Some((*wanted, word.as_str())),
            _ => None,
        })
    }

    /// Does all hold that can be told without the text? A word that is not found here is left to be looked for.
    pub(super) fn may_match(&self, facts: &Facts<'_>) -> bool {
        self.terms.iter().all(|(wanted, term)| match term {
            Term::Any(word) => *wanted || !in_header(facts, word),
            term => term.holds(facts) == *wanted,
        })
    }

    /// The words that are wanted, or unwanted, and not in the header.
    pub(super) fn left<'a>(&'a self, facts: &Facts<'_>) -> Vec<(bool, &'a str)> {
        self.words().filter(|(_, word)| !in_header(facts, word)).collect()
    }
}

fn in_header(facts: &Facts<'_>, word: &str) -> bool {
    [facts.from, facts.to, facts.subject].iter().any(|text| text.contains(word))
}

impl Term {
    fn holds(&self, facts: &Facts<'_>) -> bool {
        match self {
            Term::From(word) => facts.from.contains(word),
            Term::To(word) => facts.to.contains(word),
            Term::Subject(word) => facts.subject.contains(word),
            Term::Any(word) => in_header(facts, word),
            Term::Flag(flag, set) => facts.summary.marks.flags.has(*flag) == *set,
            Term::Attachment => facts.has_attachment,
            Term::Before(day) => facts.day < *day,
            Term::After(day) => facts.day >= *day,
        }
    }
}

/// A word, or what stands in quotes; `from:"a b"` is one.
fn word(text: &str) -> (String, &str) {
    let (mut word, mut quoted) = (String::new(), false);
    for (at, char) in text.char_indices() {
        match char {
            '"' => quoted = !quoted,
            char if char.is_whitespace() && !quoted => return (word, text.get(at..).unwrap_or_default()),
            char => word.push(char),
        }
    }
    (word, "")
}

fn term(word: &str) -> Term {
    let word = word.to_lowercase();
    let Some((key, value)) = word.split_once(':').filter(|(_, value)| !value.is_empty()) else { return Term::Any(word) };
    let value = value.to_owned();
    match (key, value.as_str()) {
        ("from", _) => Term::From(value),
        ("to" | "cc", _) => Term::To(value),
        ("subject", _) => Term::Subject(value),
        ("has", "attachment") => Term::Attachment,
        ("is", "unread" | "unseen") => Term::Flag(Flags::SEEN, false),
        ("is", "read" | "seen") => Term::Flag(Flags::SEEN, true),
        ("is", "flagged" | "starred") => Term::Flag(Flags::FLAGGED, true),
        ("is", "answered") => Term::Flag(Flags::ANSWERED, true),
        ("before", day) => day.parse().map_or(Term::Any(word), Term::Before),
        ("after" | "since", day) => day.parse().map_or(Term::Any(word), Term::After),
        _ => Term::Any(word),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_conditions_must_hold() {
        let mut summary = Summary::default();
        summary.marks.flags = Flags::SEEN;
        let facts = Facts {
            summary: &summary,
            day: jiff::civil::date(2026, 3, 4),
            from: "anna berg <anna@b.test>",
            to: "me@here.test",
            subject: "lunch on friday?",
            has_attachment: true,
        };
        for (text, holds) in [
            ("", true),
            ("from:anna", true),
            ("From:ANNA subject:lunch", true),
            ("from:\"anna berg\"", true),
            ("from:carl", false),
            ("-from:carl", true),
            ("is:read has:attachment", true),
            ("is:unread", false),
            ("-is:unread", true),
            ("before:2026-03-04", false),
            ("before:2026-03-05 after:2026-03-04", true),
            ("after:2026-03-05", false),
            ("-lunch", false),
            ("-supper", true),
        ] {
            assert_eq!(Query::parse(text).may_match(&facts), holds, "{text}");
        }
        let query = Query::parse("lunch supper -dinner \"two words\" is:odd before:soon");
        let left: Vec<_> = query.left(&facts);
        assert_eq!(left, [(true, "supper"), (false, "dinner"), (true, "two words"), (true, "is:odd"), (true, "before:soon")]);
    }
}
