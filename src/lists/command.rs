//! What people ask of a list, in words: in the subject, or in the first line that they wrote.

use crate::mail::Address;

/// For `NAME-request`.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// To become a member.
    Subscribe,
    /// To be none any more.
    Unsubscribe,
    /// To be told what there is.
    Help,
}

/// Of a moderator.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// The post goes to all members.
    Approve,
    /// It does not, and its author hears of it.
    Reject,
    /// It does not. (Who answers spam has it sent to whom it names.)
    Discard,
}

/// Reads a command; what is none asks for help.
pub fn command(subject: &str, body: &str) -> Command {
    let known = |text: &str| {
        Some(match first_word(text).as_str() {
            "subscribe" | "join" => Command::Subscribe,
            "unsubscribe" | "leave" | "signoff" => Command::Unsubscribe,
            _ => return None,
        })
    };
    known(subject).or_else(|| known(first_line(body))).unwrap_or(Command::Help)
}

/// Reads a judgement. Only the moderator's own words count: neither what is quoted, nor the subject of an answer, which may have
/// been the post's.
pub fn judgement(subject: &str, body: &str) -> Option<Judgement> {
    let known = |text: &str| match first_word(text).as_str() {
        "approve" | "accept" => Some(Judgement::Approve),
        "reject" => Some(Judgement::Reject),
        "discard" => Some(Judgement::Discard),
        _ => None,
    };
    let whole = |text: &str| known(text).filter(|_| text.split_whitespace().count() == 1);
    whole(subject).or_else(|| known(first_line(body)))
}

/// Addresses that stand in a text.
pub fn addresses_in(text: &str) -> Vec<Address> {
    let bare = |word: &str| word.trim_matches(|char: char| "<>(),;:".contains(char)).parse().ok();
    text.split_whitespace().filter_map(bare).collect()
}

fn first_line(body: &str) -> &str {
    body.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('>')).unwrap_or_default()
}

fn first_word(text: &str) -> String {
    let word = text.split_whitespace().next().unwrap_or_default();
    word.trim_end_matches(['.', '!', ',']).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands() {
        for (subject, body, wanted) in [
            ("subscribe", "", Command::Subscribe),
            ("", "\n\n Subscribe me\n", Command::Subscribe),
            ("hello", "> subscribe\nunsubscribe.", Command::Unsubscribe),
            ("Re: subscribe", "", Command::Help),
            ("", "", Command::Help),
        ] {
            assert_eq!(command(subject, body), wanted, "{subject} {body}");
        }
    }

    #[test]
    fn judgements_are_the_moderators_own() {
        for (subject, body, wanted) in [
            ("approve", "", Some(Judgement::Approve)),
            ("Re: staff: a post waits", "\nApprove!\n\n> reject", Some(Judgement::Approve)),
            ("reject", "approve", Some(Judgement::Reject)),
            ("Re: approve", "", None),
            ("approve of my post please", "", None),
            ("", "> approve\n", None),
        ] {
            assert_eq!(judgement(subject, body), wanted, "{subject} {body}");
        }
    }

    #[test]
    fn addresses_stand_in_texts() {
        let found = addresses_in("Re: Confirm: subscribe <bob@x.test>, (c@x.test) to staff@");
        assert_eq!(found.iter().map(Address::to_string).collect::<Vec<_>>(), ["bob@x.test", "c@x.test"]);
    }
}
