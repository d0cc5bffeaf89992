//! What is odd about who a message says that it is from. Pure.

use crate::mail::mailboxes::{self, Entry};
use crate::mail::words;

/// Letters of Cyrillic that look like Latin ones: a label of nothing else is meant to be taken for another.
const LOOKALIKE: &str = "асеорхуіјѕһԁӏԛԝ";

/// What a reader should know of this From, in words.
pub(super) fn warnings(from: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in mailboxes::parse(from) {
        let Entry::Mailbox(mailbox) = entry else { continue };
        let name = words::decode(&mailbox.name.unwrap_or_default());
        let ascii = words::raw(&mailbox.domain);
        let domain = idna::domain_to_unicode(&ascii).0;
        let is_like = |label: &str| !label.is_empty() && label.chars().all(|char| LOOKALIKE.contains(char));
        // A name may well have words of several alphabets, and whole words that only look Latin.
        let mut words = name.split(|char: char| !char.is_alphanumeric());
        let odd = words.find(|word| is_mixed(word)).or_else(|| domain.split('.').find(|label| is_mixed(label) || is_like(label)));
        if let Some(odd) = odd {
            let whole = if domain == ascii { domain.clone() } else { format!("{domain} ({ascii})") };
            found.push(format!(
                "In “{odd}” there are letters that look like those of another alphabet: somebody may pretend to be somebody else. It came from {whole}."
            ));
        }
        let claimed =
            name.split(|char: char| char.is_whitespace() || "<>()\"',;".contains(char)).find_map(|word| word.split_once('@'));
        if let Some((_, claimed)) = claimed.filter(|(local, claimed)| !local.is_empty() && claimed.contains('.'))
            && !claimed.eq_ignore_ascii_case(&ascii)
            && !claimed.eq_ignore_ascii_case(&domain)
        {
            found.push(format!("The sender’s name has an address of {claimed} in it; it came from {domain}."));
        }
    }
    found
}

/// Are there letters of more than one alphabet in this word?
fn is_mixed(word: &str) -> bool {
    let mut first = None;
    word.chars().filter_map(alphabet).any(|own| *first.get_or_insert(own) != own)
}

/// Those that have letters that look like one another.
fn alphabet(char: char) -> Option<u8> {
    match char {
        'a'..='z' | 'A'..='Z' | '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' | '\u{ff21}'..='\u{ff5a}' => Some(0),
        '\u{370}'..='\u{3ff}' | '\u{1f00}'..='\u{1fff}' => Some(1),
        '\u{400}'..='\u{52f}' | '\u{1c80}'..='\u{1c8f}' | '\u{a640}'..='\u{a69f}' => Some(2),
        '\u{530}'..='\u{58f}' => Some(3),
        '\u{13a0}'..='\u{13ff}' | '\u{ab70}'..='\u{abbf}' => Some(4),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_pretends_is_named() {
        for odd in [
            "p\u{430}ypal <x@far.test>",
            "service <x@p\u{430}ypal.test>",
            "service <x@xn--pypal-4ve.test>",
            "x@\u{430}\u{440}\u{440}\u{4cf}\u{435}.test",
            "\"service@paypal.test\" <x@far.test>",
            "=?utf-8?Q?p=D0=B0ypal?= <x@far.test>",
        ] {
            assert_eq!(warnings(odd.as_bytes()).len(), 1, "{odd}");
        }
        for fine in [
            "Bob <bob@far.test>",
            "J\u{f6}rg <j@gr\u{fc}n.test>",
            "\u{418}\u{432}\u{430}\u{43d} Ivanov <i@\u{43f}\u{43e}\u{447}\u{442}\u{430}.test>",
            "\"bob@far.test\" <bob@far.test>",
            "\u{3b1}-testers @ home <a@far.test>",
            "\u{441} \u{443}\u{445}\u{43e} <a@far.test>",
            "Tokyo\u{6e2f} <t@far.test>",
            "",
        ] {
            assert_eq!(warnings(fine.as_bytes()), Vec::<String>::new(), "{fine}");
        }
    }
}
