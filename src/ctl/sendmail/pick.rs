//! Which messages of the queue are meant: `-qI`, `-qR`, `-qS`, and with `!` all others.

use serde_json::Value;

/// One of these flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pick {
    part: Part,
    /// Must be in it, whatever the case.
    text: String,
    /// Must not.
    not: bool,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Part {
    Id,
    Recipient,
    Sender,
}

impl Pick {
    /// What follows `-q`: `Iid`, `!Rexample.org`. None: it is none of these.
    pub fn parse(flag: &str) -> Option<Pick> {
        let (not, flag) = flag.strip_prefix('!').map_or((false, flag), |rest| (true, rest));
        let part = match flag.chars().next()? {
            'I' => Part::Id,
            'R' => Part::Recipient,
            'S' => Part::Sender,
            _ => return None,
        };
        Some(Pick { part, text: flag.get(1..)?.to_ascii_lowercase(), not }).filter(|pick| !pick.text.is_empty())
    }

    /// Does it mean this message, as the daemon lists it?
    fn means(&self, message: &Value) -> bool {
        let has = |value: &Value| value.as_str().is_some_and(|text| text.to_ascii_lowercase().contains(&self.text)) != self.not;
        match self.part {
            Part::Id => has(&message["id"]),
            Part::Sender => has(&message["sender"]),
            Part::Recipient => message["recipients"].as_array().into_iter().flatten().any(|recipient| has(&recipient["address"])),
        }
    }
}

/// As sendmail has it: of the flags of one kind any will do, and each kind that is there counts.
pub fn all_mean(picks: &[Pick], message: &Value) -> bool {
    [Part::Id, Part::Recipient, Part::Sender].into_iter().all(|part| {
        let mut of_part = picks.iter().filter(|pick| pick.part == part).peekable();
        of_part.peek().is_none() || of_part.any(|pick| pick.means(message))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn flags_mean_parts_of_messages() {
        let message = json!({ "id": "57a3b1c09d3e1f22-2a", "sender": "Alice@here.test",
            "recipients": [{ "address": "x@away.test" }, { "address": "y@other.test" }] });
        for (flags, meant) in [
            ("", true),
            ("I57A3", true),
            ("I-2b", false),
            ("Raway", true),
            ("!Raway", true),
            ("!Rtest", false),
            ("Rnowhere", false),
            ("Salice@HERE", true),
            ("!Salice", false),
            ("Rnowhere Rother", true),
            ("Raway Sbob", false),
            ("Raway Sbob Salice", true),
        ] {
            let picks: Vec<Pick> = flags.split_whitespace().map(|flag| Pick::parse(flag).unwrap()).collect();
            assert_eq!(all_mean(&picks, &message), meant, "{flags}");
        }
        for flag in ["", "30m", "R", "!R", "!", "Qx", "Gx", "f", "\u{e4}"] {
            assert_eq!(Pick::parse(flag), None, "{flag}");
        }
    }
}
