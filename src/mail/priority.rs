//! How much a message hurries, as its header says it: Priority and Importance (RFC 2156 §5.3.6, §5.3.4; RFC 4021), and the
//! X-Priority that many programs write. Pure.

use super::header;

/// The more urgent, the smaller.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Before others.
    Urgent,
    /// Nothing is said.
    #[default]
    Normal,
    /// After others.
    Low,
}

impl Priority {
    /// Of a header. Where fields differ, the more urgent one counts; one that says nothing in particular counts for nothing.
    pub fn of(head: &[u8]) -> Priority {
        let said = header::fields(head).filter_map(|field| {
            let value = header::unfold(head.get(field.value.clone()).unwrap_or_default()).to_ascii_lowercase();
            let word = value.split(|byte| matches!(byte, b' ' | b'\t' | b'(')).next().unwrap_or_default();
            let is = |name: &str| field.is(head, name);
            match word {
                b"urgent" if is("Priority") => Some(Priority::Urgent),
                b"non-urgent" if is("Priority") => Some(Priority::Low),
                b"high" if is("Importance") => Some(Priority::Urgent),
                b"low" if is("Importance") => Some(Priority::Low),
                b"1" | b"2" if is("X-Priority") => Some(Priority::Urgent),
                b"4" | b"5" if is("X-Priority") => Some(Priority::Low),
                _ => None,
            }
        });
        said.min().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_fields_are_read() {
        for (head, expected) in [
            ("Subject: x\n", Priority::Normal),
            ("Priority: Urgent\n", Priority::Urgent),
            ("Priority: urgent-ish\n", Priority::Normal),
            ("priority: non-urgent\n", Priority::Low),
            ("Importance:\n high (really)\n", Priority::Urgent),
            ("Importance: low\n", Priority::Low),
            ("X-Priority: 1 (Highest)\n", Priority::Urgent),
            ("X-Priority: 2\n", Priority::Urgent),
            ("X-Priority: 3\nImportance: Normal\n", Priority::Normal),
            ("X-Priority: 4\n", Priority::Low),
            ("X-Priority: 5 (Lowest)\nPriority: urgent\n", Priority::Urgent),
            ("X-Priority: 15\n", Priority::Normal),
            ("Subject: x\n\nPriority: urgent\n", Priority::Normal),
        ] {
            assert_eq!(Priority::of(head.as_bytes()), expected, "{head}");
        }
    }
}
